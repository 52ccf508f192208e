"""Find the HEALPix table of a FITS file and the pixel of each of its numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from skyfill.healpix.arrays import UNSEEN
from skyfill.healpix.checks import MAX_NSIDE, check_nside
from skyfill.healpix.stokes import nside_of_length
from skyfill.maps.column import Column, equal
from skyfill.maps.frames import frame_of_cards
from skyfill.maps.hdu import Hdu, walk
from skyfill.maps.pixellist import (
    check_name,
    is_pixel_name,
    order_of_word,
    pixel_column,
    refuse_hidden_list,
    said_ordering,
    uniq_column,
)
from skyfill.maps.units import parse_unit, stated_unit, unit_in_name

__all__ = ["UNSEEN", "SkyTable", "find_table", "missing", "sky_tables"]

_PART = 1 << 16  # pixels decoded at a time
_EXACT = {"b1", "u1", "i2", "f4"}  # integer types whose numbers float32 can hold
_LARGEST_SINGLE = 1 << 24  # beyond, float32 does not represent every pixel number

#: Keywords of the resolution; DESI writes the second.
_NSIDE_KEYS = ("NSIDE", "HPXNSIDE")
#: Small numbers of maps in a row for which a full sky has as many numbers as one map of another
#: Nside.
_FEW_IN_ROW = (4, 16, 64)
#: Keywords that give the unit of all columns if TUNITn is missing.
_UNIT_KEYS = ("BUNIT", "UNITS", "UNIT", "TEMPUNIT")
_HIGHEST_ORDER = 29  # highest order whose pixel numbers fit into 64 bits
#: Keywords with the number that means "missing". Planck and healpy write BAD_DATA; one of the
#: others with the value 0 may count pixels instead.
_BAD_KEYS = ("BAD_DATA", "BADVALUE", "BADVAL", "FILLVAL", "NODATA", "MISSVAL", "UNSEEN")
_HIGHEST = float(np.finfo(np.float32).max)


def missing(values: NDArray[np.float64], *, sentinel: float = UNSEEN) -> NDArray[np.bool_]:
    """Tell which values are missing: not finite, or UNSEEN to the rounding of any program."""
    # written as -1.6375e30, -1.63750e+30 or float32, UNSEEN differs in the eighth digit
    if sentinel == UNSEEN:
        near = np.abs(values - sentinel) <= 1e-5 * abs(sentinel)
    else:
        near = equal(values, sentinel)
    return near | ~np.isfinite(values)


@dataclass(frozen=True)
class SkyTable:
    """A binary table with sky maps as columns."""

    hdu: Hdu
    primary: Hdu
    """The first HDU of the file, whose keywords apply if the table lacks them."""
    fields: tuple[Column, ...]
    """The columns, except one that lists pixels."""
    pixel: Column | None
    """The column that lists pixels; None if the rows are all pixels or a range of them."""
    nside: int
    """Resolution; for a multi-order map the largest that its numbers allow."""
    multiorder: bool = False
    """Whether the listed numbers include the order of each pixel (NUNIQ)."""
    offset: int = 0
    """Offset of the listed numbers from pixel numbers: 4 Nside² for NUNIQ numbers of one order."""

    @property
    def path(self) -> Path:
        """The file."""
        return self.hdu.path

    @property
    def npix(self) -> int:
        """Number of pixels of the whole sky."""
        return 12 * self.nside**2

    def text(self, key: str) -> str:
        """Return the value of a keyword of the table, else of the first HDU; "" if none has it."""
        return self.hdu.text(key) or self.primary.text(key)

    def integer(self, key: str, default: int) -> int:
        """Return the value of an integer keyword of the table, or of the first HDU."""
        return (self.hdu if self.hdu.text(key) else self.primary).integer(key, default)

    @property
    def ordering(self) -> str | None:
        """RING, NESTED or NUNIQ (multi-order); None if the header does not say."""
        if self.multiorder or self.offset:
            return "NUNIQ"
        return order_of_word(said_ordering(self.hdu, self.primary))

    @property
    def nest(self) -> bool:
        """Whether pixels are in NESTED order; ValueError if the header does not say."""
        if self.ordering is None:
            raise ValueError(
                f"{self.path}: no ORDERING keyword that says RING or NESTED; set it, in Python:"
                f" astropy.io.fits.setval({str(self.path)!r}, 'ORDERING', value='RING',"
                f" ext={self.hdu.index})"
            )
        return self.ordering != "RING"

    @cached_property
    def _frame(self) -> tuple[str | None, str | None]:
        own = frame_of_cards(self.hdu.text)
        return own if any(own) else frame_of_cards(self.primary.text)

    @property
    def coord(self) -> str | None:
        """Frame: G, E or C; None if the header names no frame or an unknown one."""
        return self._frame[0]

    @property
    def unknown_frame(self) -> str | None:
        """The cards of an unknown frame, or that contradict each other; None if there are none."""
        return self._frame[1]

    @property
    def sentinel(self) -> float:
        """The value that marks missing pixels in the file."""
        for key in _BAD_KEYS:
            for hdu in (self.hdu, self.primary):
                value = hdu.number(key, np.nan)
                if abs(value) <= _HIGHEST and (value or key == _BAD_KEYS[0]):
                    return value
        return UNSEEN

    @property
    def partial(self) -> bool:
        """Whether the file stores only a part of the sky."""
        return self.stored(self.fields[0]) != self.npix and (
            self.pixel is not None or self._is_range(self.fields[0])
        )

    def _is_range(self, column: Column) -> bool:
        """Whether the rows are the pixels from FIRSTPIX to LASTPIX."""
        first, last = (self.integer(key, 0) for key in ("FIRSTPIX", "LASTPIX"))
        stored = self.stored(column)
        return stored == last - first + 1 and first >= 0 and last < self.npix

    def unit(self, column: Column) -> tuple[str, str]:
        """Return the unit of a column, "" for none, and the place in the file that states it.

        TUNITn comes first, then the column's name ("T [mK]" or T_uK), then BUNIT and similar
        keywords if they hold a unit of temperature.
        """
        own = stated_unit(column.unit)
        if own or not column.numeric:
            return own, f"TUNIT{column.number}"
        in_name = unit_in_name(column.name)
        if in_name:
            return in_name, "its name"
        for key in _UNIT_KEYS:
            if parse_unit(self.text(key)):
                return self.text(key), key
        return "", f"TUNIT{column.number}"

    def stored(self, column: Column) -> int:
        """Count the elements of a column."""
        return self.hdu.integer("NAXIS2") * column.repeat

    def column(self, field: int | str) -> Column:
        """Return a column by its number from 0 or its name, upper or lower case.

        Raises
        ------
        ValueError
            There is no such column, or it is not a HEALPix map.

        """
        if self.pixel is None and (self.multiorder or self._scheme == "EXPLICIT"):
            known = ", ".join(column.name for column in self.fields)
            card, name = ("ORDERING", "UNIQ") if self.multiorder else ("INDXSCHM", "PIXEL")
            raise ValueError(
                f"{self.path}: {card} says {self.text(card)}, but no column lists the pixels; the "
                f"columns are: {known}; rename the column that lists them to {name}"
            )
        bounds = self.integer("FIRSTPIX", 0), self.integer("LASTPIX", 0)
        if self.pixel is not None and not self.multiorder and bounds == (1, self.npix):
            raise ValueError(
                f"{self.path}: FIRSTPIX = 1 and LASTPIX = {self.npix} say that {self.pixel.name}"
                " counts pixels from 1, HEALPix counts them from 0; subtract 1 from the list and"
                " the cards"
            )
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
                f"{self.path}: column {column.name!r} has type {column.form}, which cannot hold a "
                "map"
            )
        count = self.stored(column)
        if count > self.npix or (count < self.npix and not self.partial) or not count:
            raise ValueError(
                f"{self.path}: column {column.name!r} has {count} pixels,"
                f" Nside {self.nside} has {self.npix}{self._mend(column, count)}"
            )
        return column

    def _mend(self, column: Column, count: int) -> str:
        """Explain how to correct a column with the wrong number of pixels."""
        rows = self.hdu.integer("NAXIS2")
        if count > self.npix and rows == self.npix:
            return (
                f"; it has {column.repeat} numbers for each pixel: give each of them a column of"
                " its own"
            )
        if count > self.npix or self.pixel is not None or column.repeat != 1:
            return ""
        whole = [other.name for other in self.fields if other.form in "BIJK"]
        if whole and len(self.fields) > 1:
            which = whole[0] if len(whole) == 1 else f"one of {', '.join(whole)}"
            return f"; if {which} lists the pixels of a partial sky, give it the name PIXEL"
        return (
            "; a partial sky needs FIRSTPIX and LASTPIX, if its rows are all pixels from one to"
            " another, or a column PIXEL that lists them"
        )

    @property
    def _scheme(self) -> str:
        return self.text("INDXSCHM").upper()

    def pixels(self, rows: NDArray[np.uint8], row: int, column: Column) -> NDArray[np.int64]:
        """Give the pixels, in the file's ordering, of the elements of a column.

        Parameters
        ----------
        rows
            Some rows, ``(nrow, bytes of a row)``.
        row
            Number in the table of the first of these rows.
        column
            The column.

        """
        first = self.integer("FIRSTPIX", 0) if self.partial and self._is_range(column) else 0
        start = first + row * column.repeat
        implied = np.arange(start, start + len(rows) * column.repeat)
        if self.pixel is None:
            return implied
        listed = self.listed(rows, column)
        if not (listed.min() >= 0 and listed.max() < self.npix):
            raise ValueError(
                f"{self.path}: {self.pixel.name} lists pixels {listed.min():.0f} to"
                f" {listed.max():.0f}, Nside {self.nside} has 0 to {self.npix - 1}"
            )
        whole = self.stored(column) == self.npix
        rows_say = self._scheme == "IMPLICIT" and (whole or self._is_range(column))
        if rows_say and (listed != implied).any():
            raise ValueError(
                f"{self.path}: INDXSCHM says IMPLICIT, yet column {self.pixel.name!r} lists the"
                " pixels in another order; if the list is right, set it, in Python:"
                f" astropy.io.fits.setval({str(self.path)!r}, 'INDXSCHM', value='EXPLICIT',"
                f" ext={self.hdu.index})"
            )
        return listed

    def listed(self, rows: NDArray[np.uint8], column: Column) -> NDArray[np.int64]:
        """Return the listed pixel numbers of the elements of a column."""
        pixel = self.pixel
        if pixel is None or pixel.repeat != column.repeat:
            raise ValueError(
                f"{self.path}: column {column.name!r} has {column.repeat} elements in a row,"
                f" {pixel.name if pixel else 'no list'!r} {pixel.repeat if pixel else 0}"
            )
        try:
            numbers = pixel.whole(pixel.of(rows)).ravel() - self.offset
        except ValueError as error:
            raise ValueError(
                f"{self.path}: {error}, so it does not list pixels; correct the list, or rename "
                "the column if it is not a list of pixels"
            ) from None
        if pixel.form == "E" and numbers.size and numbers.max() > _LARGEST_SINGLE:
            raise ValueError(
                f"{self.path}: column {pixel.name!r} lists pixels up to {numbers.max()} in "
                "float32, which rounds such numbers; write the list as integers"
            )
        return numbers

    def read(
        self,
        stream: BinaryIO,
        column: Column,
        *,
        single: bool = False,
        sentinels: Sequence[float] = (),
    ) -> NDArray[Any]:
        """Read a column as ``(npix,)``, in the file's unit and ordering, NaN where missing.

        The type is float64; with ``single`` it is float32 if that can hold the numbers of the file.
        Values that the header calls missing and `sentinels` become NaN.
        """
        values = np.full(self.npix, np.nan, self.dtype(column, single=single))
        seen = np.zeros(0 if self.pixel is None else self.npix, np.bool_)
        row = 0
        for rows, part in self.parts(stream, column, sentinels):
            if self.pixel is not None:
                listed = self.pixels(rows, row, column)
                values[listed] = part
                seen[listed] = True
            else:  # a slice is faster than an index
                start = row * column.repeat
                if self.partial:
                    start += self.integer("FIRSTPIX", 0)
                values[start : start + part.size] = part
            row += len(rows)
        if self.pixel is not None and np.count_nonzero(seen) != self.stored(column):
            raise ValueError(f"{self.path}: a pixel is listed twice in column {self.pixel.name!r}")
        return values

    def dtype(self, column: Column, *, single: bool) -> type[np.floating]:
        """Return float32 if it is wanted and can hold the numbers of a column, else float64."""
        plain = (column.scale, column.zero) == (1.0, 0.0) and column.dtype.str[1:] in _EXACT
        return np.float32 if single and plain else np.float64

    def parts(
        self, stream: BinaryIO, column: Column, sentinels: Sequence[float] = ()
    ) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float64]]]:
        """Read the rows, and the column's numbers in them, NaN where missing.

        The pieces are short, so that their float64 numbers stay in the processor's cache.
        """
        step = max(1, _PART // column.repeat)
        unlike = {self.sentinel, *sentinels} - {UNSEEN}
        for piece in self.hdu.rows(stream):
            for start in range(0, len(piece), step):
                rows = piece[start : start + step]
                part = column.decode(column.of(rows)).ravel()
                part[missing(part)] = np.nan
                for sentinel in unlike:
                    part[missing(part, sentinel=sentinel)] = np.nan
                yield rows, part


def find_table(stream: BinaryIO, path: Path, hdu: int | str | None = None) -> SkyTable:
    """Find the first HEALPix table of a file, or the one in a given HDU.

    Parameters
    ----------
    stream, path
        The file.
    hdu
        Number from 0, the primary HDU, or name (EXTNAME, upper or lower case); None for the first
        HEALPix table.

    Raises
    ------
    ValueError
        There is no such table, or its Nside is invalid.

    """
    for table in sky_tables(stream, path, hdu):
        return table
    hdus = list(walk(stream, path))
    found = ", ".join(f"HDU {other.index}{_name(other)} {_kind(other)}" for other in hdus)
    if any(other.text("ZTABLE") == "True" for other in hdus):
        raise ValueError(
            f"{path}: a table that fpack has compressed (ZTABLE); expand it first: funpack {path}"
        )
    if hdu is not None:
        raise ValueError(f"{path}: no HEALPix map in HDU {hdu!r}; pass `hdu` with one of: {found}")
    raise ValueError(f"{path}: no HEALPix map in it, but {found}")


def sky_tables(stream: BinaryIO, path: Path, wanted: int | str | None = None) -> Iterator[SkyTable]:
    """Iterate over the HEALPix tables of a file, or examine only a given HDU."""
    primary = None
    for hdu in walk(stream, path):
        primary = primary or hdu
        if (wanted is None or _is(hdu, wanted)) and hdu.is_table and hdu.columns:
            table = _sky_table(stream, hdu, primary)
            if table is not None:
                yield table


def _sky_table(stream: BinaryIO, hdu: Hdu, primary: Hdu) -> SkyTable | None:
    """Return an HDU as a HEALPix table; None if it is not one."""
    said = said_ordering(hdu, primary)
    multiorder = order_of_word(said) == "NUNIQ" or not said
    pixel = uniq_column(hdu) if multiorder else None
    multiorder = multiorder and (pixel is not None or bool(said))
    if not multiorder:
        pixel = pixel_column(stream, hdu, primary)
        check_name(hdu, pixel, order_of_word(said))
    fields = tuple(column for column in hdu.columns if column is not pixel)
    if not fields:
        return None
    if multiorder:
        nside = 1 << _HIGHEST_ORDER if hdu.text("ORDERING") or pixel is not None else 0
    else:
        nside = _nside(hdu, primary, hdu.integer("NAXIS2") * fields[0].repeat, pixel)
    if not nside:
        return None
    if pixel is None and not multiorder:
        refuse_hidden_list(stream, hdu, primary, nside)
    for column in fields:
        if column.repeat > 12 * MAX_NSIDE**2:  # one row would exceed any memory
            raise ValueError(
                f"{hdu.path}: damaged header, column {column.name!r} has {column.repeat} elements"
                " in a row, more than any map; fetch the file again"
            )
    return SkyTable(hdu, primary, fields, pixel, nside, multiorder)


def _nside(hdu: Hdu, primary: Hdu, count: int, pixel: Column | None) -> int:
    """Return the Nside of a table with this number of pixels; 0 if it may not be a map."""
    own = any(hdu.text(key) for key in ("NSIDE", "ORDERING", "PIXTYPE"))
    for key, source in ((key, source) for key in _NSIDE_KEYS for source in (hdu, primary)):
        if source.text(key):
            nside = check_nside(source.integer(key), what=f"{hdu.path}: keyword {key}", of_map=True)
            # NSIDE of the first HDU or of a catalogue may not belong to this table.
            fits = own or pixel is not None or count == 12 * nside**2
            return nside if fits else 0
    if not own and not any(primary.text(key) for key in ("ORDERING", "PIXTYPE")):
        return 0
    if pixel is not None:
        raise ValueError(
            f"{hdu.path}: no NSIDE keyword, and a list of pixels does not determine it; set it, in"
            f" Python: astropy.io.fits.setval({str(hdu.path)!r}, 'NSIDE', value=...,"
            f" ext={hdu.index})"
        )
    repeat = hdu.columns[0].repeat
    if own and repeat in _FEW_IN_ROW and _is_sky(count // repeat):
        raise ValueError(
            f"{hdu.path}: no NSIDE keyword, and {repeat} numbers in a row may be {repeat} pixels,"
            f" or {repeat} maps; set it, in Python: astropy.io.fits.setval({str(hdu.path)!r},"
            f" 'NSIDE', value=..., ext={hdu.index})"
        )
    try:
        return nside_of_length(count, str(hdu.path))
    except ValueError:
        if own:
            raise
        return 0


def _is_sky(count: int) -> bool:
    """Tell whether this is the number of pixels of some Nside."""
    try:
        return nside_of_length(count, "") > 0
    except ValueError:
        return False


def _is(hdu: Hdu, wanted: int | str) -> bool:
    if isinstance(wanted, str) and hdu.text("EXTNAME").upper() == wanted.strip().upper():
        return True
    return str(wanted).strip() == str(hdu.index)


def _name(hdu: Hdu) -> str:
    name = hdu.text("EXTNAME")
    return f" {name!r}" if name else ""


def _kind(hdu: Hdu) -> str:
    """Describe an HDU for a message."""
    axes = hdu.axes
    if hdu.text("ZIMAGE") == "True":
        return "a compressed image"
    if hdu.is_table and len(hdu.columns) == 1 and order_of_word(hdu.text("ORDERING")) == "NUNIQ":
        return "a coverage map (MOC) without values"
    if hdu.text("XTENSION").endswith("TABLE"):
        kind = "a table" if hdu.text("XTENSION") == "BINTABLE" else "an ASCII table"
        said = f"{kind} of {axes[-1] if axes else 0} rows"
        if hdu.is_table and len(hdu.columns) == 1 and is_pixel_name(hdu.columns[0]):
            said += " that lists pixels and has no values"
        return said
    if not axes:
        return "is empty"
    said = f"an image of {' x '.join(map(str, axes))} pixels"
    if len(axes) > 1 and re.match(r"(RA|GLON|ELON|SLON)-", hdu.text("CTYPE1").upper()):
        return (
            f"{said} on a flat projection (skyfill inpaint fills it as it is; a mask of a HEALPix"
            " map is brought to its pixels by `reproject=True`, other images by"
            " skyfill.tiling.paste_image)"
        )
    # A single row with a HEALPix number of pixels is a map.
    as_map = len(axes) == 1 and _is_sky(axes[0])
    return f"{said} (a map as an image: write it as a table, by healpy.write_map)" * as_map or said
