"""Find the HEALPix table of a FITS file and know which pixel each of its numbers belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from skyfill._checks import MAX_NSIDE, check_nside, nside_of
from skyfill._fits import PIECE, Hdu, walk
from skyfill._fits_column import Column
from skyfill._fits_write import edit
from skyfill._frames import frame_of_cards

__all__ = ["UNSEEN", "FullSky", "SkyTable", "find_table", "missing", "sky_tables"]

UNSEEN = -1.6375e30
"""What HEALPix files hold in missing pixels; it stays in files, arrays have NaN."""

_PART = 1 << 16  # pixels that are decoded at a time
_EXACT = {"b1", "u1", "i2", "f4"}  # float32 holds their numbers
_PIXEL_NAMES = {"PIXEL", "PIXELS", "PIX", "IPIX", "HPIX", "HPXINDEX"}


def missing(values: NDArray[np.float64], *, sentinel: float = UNSEEN) -> NDArray[np.bool_]:
    """Tell which values are missing: not finite, or UNSEEN to within a rounding of any program."""
    # Written -1.6375e30, -1.63750e+30 or as float32, it differs in the eighth digit.
    near = np.abs(values - sentinel) <= 1e-5 * abs(sentinel)
    return near | ~np.isfinite(values)


@dataclass(frozen=True)
class FullSky:
    """A table with one element for each pixel of the sky, as it is to be written."""

    cards: tuple[bytes, ...]
    column: Column
    """The column that was asked for, where it now lies."""
    rows: Callable[[], Iterator[NDArray[np.uint8]]]
    """Starts to read the rows, in pieces of (nrow, bytes of a row) that may be changed."""
    size: int
    """Bytes of all rows."""


@dataclass(frozen=True)
class SkyTable:
    """A binary table with sky maps as columns."""

    hdu: Hdu
    fields: tuple[Column, ...]
    """The columns, without the one that lists pixels."""
    pixel: Column | None
    """The column that lists pixels (explicit indexing), None where all or a range is stored."""
    nside: int

    @property
    def path(self) -> Path:
        """The file."""
        return self.hdu.path

    @property
    def npix(self) -> int:
        """Pixels of the whole sky."""
        return 12 * self.nside**2

    @property
    def ordering(self) -> str | None:
        """RING or NESTED; None where the header does not say."""
        value = self.hdu.text("ORDERING").upper()
        return {"RING": "RING", "NESTED": "NESTED", "NEST": "NESTED"}.get(value)

    @property
    def nest(self) -> bool:
        """Whether pixels are in NESTED order; ValueError where the header does not say."""
        if self.ordering is None:
            raise ValueError(
                f"{self.path}: no ORDERING keyword that says RING or NESTED; set it, in Python:"
                f" astropy.io.fits.setval({str(self.path)!r}, 'ORDERING', value='RING',"
                f" ext={self.hdu.index})"
            )
        return self.ordering == "NESTED"

    @property
    def coord(self) -> str | None:
        """Frame: G, E or C; None where the header does not say."""
        return frame_of_cards(self.hdu.text)[0]

    @property
    def unknown_frame(self) -> str | None:
        """The cards that name a frame, where they cannot be understood."""
        return frame_of_cards(self.hdu.text)[1]

    @property
    def sentinel(self) -> float:
        """What stands in the file's missing pixels."""
        value = self.hdu.number("BAD_DATA", UNSEEN)
        return value if abs(value) <= np.finfo(np.float32).max else UNSEEN

    @property
    def partial(self) -> bool:
        """Whether the file lists its pixels, or stores only FIRSTPIX to LASTPIX."""
        if self.pixel is not None:
            return True
        stored = self.stored(self.fields[0])
        first, last = (self.hdu.integer(key, 0) for key in ("FIRSTPIX", "LASTPIX"))
        return stored != self.npix and stored == last - first + 1

    def stored(self, column: Column) -> int:
        """Count the elements that the file has in a column."""
        return self.hdu.integer("NAXIS2") * column.repeat

    def column(self, field: int | str) -> Column:
        """Return a column by its number from 0 or its name, upper or lower case.

        Raises
        ------
        ValueError
            There is no such column, or it does not hold a sky.

        """
        names = [column.name.upper() for column in self.fields]
        if isinstance(field, str) and field.upper() in names:
            number = names.index(field.upper())
        elif str(field).isdigit():
            number = int(field)
        else:
            number = len(names)
        if number >= len(names):
            known = ", ".join(f"{i} {column.name}" for i, column in enumerate(self.fields))
            raise ValueError(f"{self.path}: no column {field!r}; pass `field` with one of: {known}")
        column = self.fields[number]
        if not column.numeric:
            raise ValueError(
                f"{self.path}: column {column.name!r} has type {column.form}, which holds no sky"
            )
        count = self.stored(column)
        if count > self.npix or (count < self.npix and not self.partial) or not count:
            raise ValueError(
                f"{self.path}: column {column.name!r} has {count} pixels,"
                f" Nside {self.nside} has {self.npix}"
            )
        return column

    def pixels(self, rows: NDArray[np.uint8], row: int, column: Column) -> NDArray[np.int64]:
        """List the pixels, in the file's ordering, of the elements of a column.

        Parameters
        ----------
        rows
            Some rows, (nrow, bytes of a row).
        row
            Number of the first of them in the table.
        column
            The column.

        """
        if self.pixel is None:
            first = self.hdu.integer("FIRSTPIX", 0) if self.partial else 0
            start = first + row * column.repeat
            return np.arange(start, start + len(rows) * column.repeat)
        if self.pixel.repeat != column.repeat:
            raise ValueError(
                f"{self.path}: column {column.name!r} has {column.repeat} elements in a row,"
                f" {self.pixel.name!r} {self.pixel.repeat}"
            )
        listed = self.pixel.decode(self.pixel.of(rows)).ravel()
        if not (listed.min() >= 0 and listed.max() < self.npix):
            raise ValueError(
                f"{self.path}: {self.pixel.name} lists pixels {listed.min():.0f} to"
                f" {listed.max():.0f}, Nside {self.nside} has 0 to {self.npix - 1}"
            )
        return listed.astype(np.int64)

    def read(self, stream: BinaryIO, column: Column, *, single: bool = False) -> NDArray[Any]:
        """Read a column as (npix,), file's unit and ordering, NaN where missing.

        Float64, or with ``single`` float32 where that holds whatever the file does.
        """
        plain = (column.scale, column.zero) == (1.0, 0.0) and column.dtype.str[1:] in _EXACT
        values = np.full(self.npix, np.nan, np.float32 if single and plain else np.float64)
        seen = np.zeros(self.npix if self.partial else 0, np.bool_)
        row = 0
        for rows in self._parts(stream, column):
            part = column.decode(column.of(rows)).ravel()
            part[missing(part)] = np.nan
            if self.sentinel != UNSEEN:
                part[missing(part, sentinel=self.sentinel)] = np.nan
            if self.partial:
                listed = self.pixels(rows, row, column)
                values[listed] = part
                seen[listed] = True
            else:  # a slice is faster than an index
                values[row * column.repeat : (row + len(rows)) * column.repeat] = part
            row += len(rows)
        if self.partial and np.count_nonzero(seen) != self.stored(column):
            raise ValueError(f"{self.path}: a pixel is listed twice")
        return values

    def _parts(self, stream: BinaryIO, column: Column) -> Iterator[NDArray[np.uint8]]:
        """Read the rows in parts whose numbers, in float64, stay in the processor's cache."""
        step = max(1, _PART // column.repeat)
        for rows in self.hdu.rows(stream):
            for start in range(0, len(rows), step):
                yield rows[start : start + step]

    def full_sky(self, stream: BinaryIO, column: Column) -> FullSky:
        """Return the table with all pixels: as it is, or completed by missing ones.

        A file that lists its pixels, those of `column`, becomes one with one pixel a row and
        without list; the other columns are then missing in the new rows: UNSEEN, TNULLn, or 0 in
        integers without TNULLn.
        """
        hdu = self.hdu
        if not self.partial:
            length = hdu.integer("NAXIS1") * hdu.integer("NAXIS2")
            return FullSky(hdu.cards, column, lambda: hdu.rows(stream), length)
        if hdu.integer("PCOUNT", 0) or any(
            other.repeat != column.repeat for other in self.fields if column.repeat != 1
        ):
            raise ValueError(f"{self.path}: cannot complete a partial sky with such columns")
        return self._completed(stream, column)

    def _completed(self, stream: BinaryIO, column: Column) -> FullSky:
        moved: list[Column] = []  # the columns without the list, one pixel a row
        length = 0
        for old in self.fields:
            width = old.width // column.repeat
            repeat = old.repeat // column.repeat
            moved.append(
                replace(old, number=len(moved) + 1, repeat=repeat, offset=length, width=width)
            )
            length += width

        stored = self.stored(column)
        records = np.empty((stored, length), np.uint8)
        record_of = np.full(self.npix, -1, np.int32)
        row = at = 0
        for rows in self.hdu.rows(stream):
            listed = self.pixels(rows, row, column)
            here = slice(at, at + listed.size)
            record_of[listed] = np.arange(here.start, here.stop, dtype=np.int32)
            for old, new in zip(self.fields, moved, strict=True):
                new.raw(records[here])[:] = old.raw(rows).reshape(-1, new.width)
            row += len(rows)
            at = here.stop

        blank = np.zeros((1, length), np.uint8)
        for new in moved:
            if new.dtype.kind == "f":
                new.of(blank)[:] = new.encode(np.array([self.sentinel]))
            elif new.dtype.kind == "i" or new.form == "B":
                new.of(blank)[:] = new.encode(np.zeros(1)) if new.null is None else new.null

        def rows_of_all() -> Iterator[NDArray[np.uint8]]:
            step = max(1, PIECE // length)
            for start in range(0, self.npix, step):
                record = record_of[start : start + step]
                out = np.repeat(blank, record.size, axis=0)
                known = record >= 0
                out[known] = records[record[known]]
                yield out

        cards = self._completed_cards(moved, length, one_a_row=column.repeat == 1)
        new = moved[self.fields.index(column)]
        return FullSky(cards, new, rows_of_all, length * self.npix)

    def _completed_cards(
        self, moved: list[Column], length: int, *, one_a_row: bool
    ) -> tuple[bytes, ...]:
        """Renumber the keywords of columns and say that the sky is full."""
        number = {old.number: new.number for old, new in zip(self.fields, moved, strict=True)}
        cards = []
        for card in self.hdu.cards:
            key = card[:8].rstrip().upper().decode("ascii", "replace")
            name, digits = key.rstrip("0123456789"), key[len(key.rstrip("0123456789")) :]
            if name.startswith("T") and digits and int(digits) <= len(self.hdu.columns):
                if int(digits) not in number or (name == "TDIM" and not one_a_row):
                    continue
                card = f"{name}{number[int(digits)]}".ljust(8).encode() + card[8:]
            cards.append(card)
        keywords = {f"TFORM{new.number}": (f"{new.repeat}{new.form}", "") for new in moved}
        structure = {
            "NAXIS1": (length, "length of dimension 1"),
            "NAXIS2": (self.npix, "length of dimension 2"),
            "TFIELDS": (len(moved), "number of table fields"),
        }
        coverage = {
            "INDXSCHM": ("IMPLICIT", "Indexing: IMPLICIT or EXPLICIT"),
            "OBJECT": ("FULLSKY", "Sky coverage, either FULLSKY or PARTIAL"),
            "FIRSTPIX": (0, "First pixel # (0 based)"),
            "LASTPIX": (self.npix - 1, "Last pixel # (0 based)"),
        }
        older = {"OBS_NPIX": (self.npix, "Pixels stored"), "GRAIN": (0, "Indexing: IMPLICIT")}
        coverage |= {key: card for key, card in older.items() if key in self.hdu.header}
        return edit(cards, {**keywords, **structure, **coverage})


def find_table(stream: BinaryIO, path: Path) -> SkyTable:
    """Find the first table of a file that holds a sky.

    Raises
    ------
    ValueError
        There is none, or what says its Nside is wrong.

    """
    for table in sky_tables(stream, path):
        return table
    found = ", ".join(f"HDU {hdu.index} {_kind(hdu)}" for hdu in walk(stream, path))
    raise ValueError(f"{path}: no HEALPix map in it, but {found}")


def sky_tables(stream: BinaryIO, path: Path) -> Iterator[SkyTable]:
    """Go through the tables of a file that hold a sky."""
    for hdu in walk(stream, path):
        if not (hdu.is_table and hdu.columns):
            continue
        first = hdu.columns[0]
        fields = hdu.columns
        pixel = None
        scheme = hdu.text("INDXSCHM").upper()
        listed = scheme == "EXPLICIT" or (not scheme and first.name.upper() in _PIXEL_NAMES)
        if listed and first.dtype.kind == "i":
            pixel, fields = first, fields[1:]
        count = hdu.integer("NAXIS2") * first.repeat
        if hdu.text("NSIDE"):
            nside = check_nside(hdu.integer("NSIDE"), what=f"{path}: keyword NSIDE")
        elif any(hdu.text(key) for key in ("ORDERING", "PIXTYPE")):
            nside = nside_of(count, str(path))
        else:
            continue
        for column in fields:
            if column.repeat > 12 * MAX_NSIDE**2:  # a row of it would fill any memory
                raise ValueError(
                    f"{path}: damaged header, column {column.name!r} has {column.repeat} elements"
                    " in a row, more than any sky; fetch the file again"
                )
        if fields:
            yield SkyTable(hdu, fields, pixel, nside)


def _kind(hdu: Hdu) -> str:
    """Say what an HDU is, for a message."""
    axes = hdu.axes
    if hdu.text("XTENSION").endswith("TABLE"):
        return f"a table of {axes[-1] if axes else 0} rows"
    return f"an image of {' x '.join(map(str, axes))} pixels" if axes else "is empty"
