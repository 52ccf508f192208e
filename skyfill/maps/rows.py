"""Lay out the rows of a table that gets more pixels than it had."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from skyfill.maps.column import WIDTHS, Column
from skyfill.maps.hdu import PIECE
from skyfill.maps.table import SkyTable
from skyfill.maps.writing import Card, edit

__all__ = ["Layout", "Pixels", "layout"]

Pixels = slice | NDArray[np.int64]
"""The pixels of some rows, in the file's ordering."""

_COVERAGE = {
    "INDXSCHM": "Indexing: IMPLICIT or EXPLICIT",
    "OBJECT": "Sky coverage, either FULLSKY or PARTIAL",
    "FIRSTPIX": "First pixel # (0 based)",
    "LASTPIX": "Last pixel # (0 based)",
    "OBS_NPIX": "Pixels stored",
    "GRAIN": "Indexing: 0 IMPLICIT, 1 EXPLICIT",
}


@dataclass(frozen=True)
class Layout:
    """A table to be written."""

    cards: tuple[bytes, ...]
    column: Column
    """The filled column, at its new place."""
    rows: Callable[[], Iterator[tuple[NDArray[np.uint8], Pixels]]]
    """Function that yields the rows, in writable pieces of ``(nrow, bytes of a row)``, with their
    pixels."""
    size: int
    """Number of bytes of all rows."""


def layout(stream: BinaryIO, table: SkyTable, column: Column, holes: NDArray[np.bool_]) -> Layout:
    """Lay out a table with a place for each filled pixel.

    A table that already has all of them is not changed. If the filled sky is complete, it gets one
    pixel a row, in order and without a list. If it is still partial, rows of the new pixels follow
    the old ones, and the table gets a list of pixels if it had none and the pixels are not a range.
    In the new rows the other columns are missing: UNSEEN, TNULLn, or 0 for integers without TNULLn.

    Parameters
    ----------
    stream, table, column
        The table, and the column that is filled.
    holes
        ``(npix,)``, in the file's ordering, true for filled pixels.

    Raises
    ------
    ValueError
        The table needs new rows, but has columns that cannot be split into pixels.

    """
    hdu = table.hdu
    rows = hdu.integer("NAXIS2")
    size = hdu.integer("NAXIS1") * rows
    if table.pixel is None and not table.partial:
        return Layout(hdu.cards, column, lambda: _whole(stream, table, column), size)
    listed = np.zeros(table.npix, np.bool_)
    for _, pixels in _own(stream, table, column):
        listed[pixels] = True
    new = np.flatnonzero(holes & ~listed)
    if not new.size:
        return Layout(hdu.cards, column, lambda: _own(stream, table, column), size)
    others = [other for other in hdu.columns if other.repeat != column.repeat]
    if hdu.integer("PCOUNT", 0) or (others and column.repeat != 1):
        raise ValueError(
            f"{table.path}: cannot add pixels to a partial sky with columns of variable or"
            " different lengths; write the whole sky with healpy.write_map first"
        )
    listed |= holes
    if listed.all() and not table.offset:
        return _completed(stream, table, column)
    if table.pixel is None and _is_range(listed):
        return _extended(stream, table, column, new)
    return _listed(stream, table, column, new)


def _is_range(listed: NDArray[np.bool_]) -> bool:
    """Tell whether pixels are a range without gaps."""
    first, last = int(np.argmax(listed)), listed.size - int(np.argmax(listed[::-1]))
    return bool(listed[first:last].all())


def _whole(
    stream: BinaryIO, table: SkyTable, column: Column
) -> Iterator[tuple[NDArray[np.uint8], Pixels]]:
    """Read the rows of a full sky in order."""
    at = 0
    for rows in table.hdu.rows(stream):
        count = len(rows) * column.repeat
        yield rows, slice(at, at + count)
        at += count


def _own(
    stream: BinaryIO, table: SkyTable, column: Column
) -> Iterator[tuple[NDArray[np.uint8], Pixels]]:
    """Read the rows of any table, and list their pixels."""
    row = 0
    for rows in table.hdu.rows(stream):
        yield rows, table.pixels(rows, row, column)
        row += len(rows)


def _moved(columns: list[Column], repeat: int) -> tuple[list[Column], int]:
    """Place columns side by side with one pixel a row; return them and the bytes of a row."""
    moved: list[Column] = []
    length = 0
    for old in columns:
        width = old.width // repeat
        new = replace(
            old, number=len(moved) + 1, repeat=old.repeat // repeat, offset=length, width=width
        )
        moved.append(new)
        length += width
    return moved, length


def _blank(table: SkyTable, columns: list[Column], length: int) -> NDArray[np.uint8]:
    """Return a row in which all columns are missing."""
    blank = np.zeros((1, length), np.uint8)
    for new in columns:
        if new.sentinel is not None:
            new.of(blank)[:] = new.sentinel
        elif new.dtype.kind == "f":
            new.of(blank)[:] = new.encode(np.array([table.sentinel]))
        elif new.dtype.kind == "i" or new.form == "B":
            new.of(blank)[:] = new.encode(np.zeros(1)) if new.null is None else new.null
    return blank


def _copied(
    rows: NDArray[np.uint8], olds: list[Column], news: list[Column], length: int, repeat: int
) -> NDArray[np.uint8]:
    """Copy the cells of columns to rows of one pixel."""
    out = np.zeros((len(rows) * repeat, length), np.uint8)
    for old, new in zip(olds, news, strict=True):
        new.raw(out)[:] = old.raw(rows).reshape(-1, new.width)
    return out


def _completed(stream: BinaryIO, table: SkyTable, column: Column) -> Layout:
    """Lay out all pixels in order, one a row, without list."""
    olds = list(table.fields)
    news, length = _moved(olds, column.repeat)
    records = np.empty((table.stored(column), length), np.uint8)
    record_of = np.full(table.npix, -1, np.int32)
    at = 0
    for rows, pixels in _own(stream, table, column):
        copied = _copied(rows, olds, news, length, column.repeat)
        records[at : at + len(copied)] = copied
        record_of[pixels] = np.arange(at, at + len(copied), dtype=np.int32)
        at += len(copied)
    blank = _blank(table, news, length)

    def rows_of_all() -> Iterator[tuple[NDArray[np.uint8], Pixels]]:
        step = max(1, PIECE // length)
        for start in range(0, table.npix, step):
            record = record_of[start : start + step]
            out = np.repeat(blank, record.size, axis=0)
            known = record >= 0
            out[known] = records[record[known]]
            yield out, slice(start, start + record.size)

    numbers = {old.number: new for old, new in zip(olds, news, strict=True)}
    cards = _renumbered(table, numbers, length, table.npix, one_a_row=column.repeat == 1)
    cover = {"INDXSCHM": "IMPLICIT", "OBJECT": "FULLSKY", "FIRSTPIX": 0, "LASTPIX": table.npix - 1}
    cards = _covering(table, cards, cover, {"OBS_NPIX": table.npix, "GRAIN": 0})
    return Layout(cards, numbers[column.number], rows_of_all, length * table.npix)


def _extended(stream: BinaryIO, table: SkyTable, column: Column, new: NDArray[np.int64]) -> Layout:
    """Lay out a longer range of pixels, one a row."""
    olds = list(table.hdu.columns)
    news, length = _moved(olds, column.repeat)
    blank = _blank(table, news, length)
    begin = table.integer("FIRSTPIX", 0)

    def rows_of_range() -> Iterator[tuple[NDArray[np.uint8], Pixels]]:
        yield from _empty(blank, new[new < begin])
        for rows, pixels in _own(stream, table, column):
            yield _copied(rows, olds, news, length, column.repeat), pixels
        yield from _empty(blank, new[new > begin])

    count = table.stored(column) + new.size
    first = min(begin, int(new[0]))
    numbers = {old.number: new for old, new in zip(olds, news, strict=True)}
    cards = _renumbered(table, numbers, length, count, one_a_row=column.repeat == 1)
    cover = {
        "INDXSCHM": "IMPLICIT",
        "OBJECT": "PARTIAL",
        "FIRSTPIX": first,
        "LASTPIX": first + count - 1,
    }
    cards = _covering(table, cards, cover, {"OBS_NPIX": count})
    return Layout(cards, numbers[column.number], rows_of_range, length * count)


def _listed(stream: BinaryIO, table: SkyTable, column: Column, new: NDArray[np.int64]) -> Layout:
    """Lay out the old rows, then one row for each new pixel, with a list of pixels."""
    olds = list(table.hdu.columns)
    pixel, numbers, length = _with_list(table, column, int(new[-1]))
    copied = [old for old in olds if numbers[old.number] is not pixel]
    placed = [numbers[old.number] for old in copied]
    same = pixel == table.pixel
    blank = _blank(table, placed, length)

    def rows_of_some() -> Iterator[tuple[NDArray[np.uint8], Pixels]]:
        for rows, pixels in _own(stream, table, column):
            if same:
                yield rows, pixels
                continue
            out = _copied(rows, copied, placed, length, column.repeat)
            _number(pixel, out, np.asarray(pixels) + table.offset)
            yield out, pixels
        for out, pixels in _empty(blank, new):
            _number(pixel, out, pixels + table.offset)
            yield out, pixels

    count = table.stored(column) + new.size
    cards = _renumbered(table, numbers, length, count, one_a_row=column.repeat == 1)
    if table.pixel is None:
        form: dict[str, Card] = {
            "TTYPE1": (pixel.name, "pixel number, 0 based"),
            "TFORM1": (f"1{pixel.form}", ""),
        }
        cards = edit(cards, form)
    elif not _holds(table.pixel, int(new[-1]) + table.offset):
        dropped = {f"{key}{pixel.number}" for key in ("TSCAL", "TZERO", "TNULL", "TDISP")}
        cards = tuple(card for card in cards if card[:8].decode("latin-1").strip() not in dropped)
    whole = count == table.npix
    cover: dict[str, object] = {"INDXSCHM": "EXPLICIT", "OBJECT": "FULLSKY" if whole else "PARTIAL"}
    known: dict[str, object] = {"GRAIN": 1, "OBS_NPIX": count}
    if table.pixel is None:  # the pixels are no longer a range
        cover["OBS_NPIX"] = count
    known["FIRSTPIX"] = min(table.integer("FIRSTPIX", 0), int(new[0]))
    known["LASTPIX"] = max(table.integer("LASTPIX", 0), int(new[-1]))
    cards = _covering(table, cards, cover, known)
    return Layout(cards, numbers[column.number], rows_of_some, length * count)


def _with_list(table: SkyTable, column: Column, last: int) -> tuple[Column, dict[int, Column], int]:
    """Place all columns one pixel a row, with a list that can hold a pixel number.

    Returns
    -------
        The list; the new place of each column, by its old number; the bytes of a row.

    """
    olds = list(table.hdu.columns)
    form = "J" if table.npix + table.offset < 1 << 31 else "K"
    width = WIDTHS[form] * column.repeat
    if table.pixel is None:
        listing = Column("PIXEL", 0, form, column.repeat, 0, width)
        (pixel, *news), length = _moved([listing, *olds], column.repeat)
        return pixel, {old.number: new for old, new in zip(olds, news, strict=True)}, length
    place = olds.index(table.pixel)
    listing = table.pixel
    if not _holds(listing, last + table.offset):
        listing = Column(listing.name, 0, form, column.repeat, 0, width, listing.unit)
    news, length = _moved([*olds[:place], listing, *olds[place + 1 :]], column.repeat)
    return news[place], {old.number: new for old, new in zip(olds, news, strict=True)}, length


def _empty(
    blank: NDArray[np.uint8], pixels: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Make rows for pixels in which all columns are missing."""
    step = max(1, PIECE // blank.shape[1])
    for start in range(0, pixels.size, step):
        part = pixels[start : start + step]
        yield np.repeat(blank, part.size, axis=0), part


def _holds(column: Column, number: int) -> bool:
    """Tell whether a column of pixel numbers can hold a given number."""
    if column.scale != 1.0 or not column.zero.is_integer():
        return False
    if column.dtype.kind == "f":
        return number < 1 << np.finfo(column.dtype).nmant and column.sentinel is None
    limits = np.iinfo(column.dtype)
    return limits.min <= number - int(column.zero) <= limits.max and column.null is None


def _number(column: Column, rows: NDArray[np.uint8], pixels: NDArray[np.int64]) -> None:
    """Put pixel numbers into the list of some rows of one pixel."""
    if column.form == "K" and column.zero == 2.0**63:  # beyond the range of float64 or int64
        stored = (pixels.view(np.uint64) ^ np.uint64(1 << 63)).view(np.int64)
    else:
        stored = pixels - int(column.zero)
    column.of(rows)[:, 0] = stored


def _renumbered(
    table: SkyTable, numbers: dict[int, Column], length: int, rows: int, *, one_a_row: bool
) -> tuple[bytes, ...]:
    """Renumber the keywords of columns and set those of the layout."""
    cards = []
    total = len(table.hdu.columns)
    for card in table.hdu.cards:
        key = card[:8].rstrip().upper().decode("ascii", "replace")
        name, digits = key.rstrip("0123456789"), key[len(key.rstrip("0123456789")) :]
        if name.startswith("T") and digits and int(digits) <= total:
            if int(digits) not in numbers or (name == "TDIM" and not one_a_row):
                continue
            card = f"{name}{numbers[int(digits)].number}".ljust(8).encode() + card[8:]
        cards.append(card)
    forms = {f"TFORM{new.number}": (f"{new.repeat}{new.form}", "") for new in numbers.values()}
    count = max(new.number for new in numbers.values())
    structure = {
        "NAXIS1": (length, "length of dimension 1"),
        "NAXIS2": (rows, "length of dimension 2"),
        "TFIELDS": (count, "number of table fields"),
    }
    return edit(cards, {**forms, **structure})


def _covering(
    table: SkyTable, cards: tuple[bytes, ...], cover: dict[str, object], known: dict[str, object]
) -> tuple[bytes, ...]:
    """Set the cards of the sky coverage: `cover` always, `known` if the header has the card."""
    present = {key: value for key, value in known.items() if table.hdu.text(key)}
    said = {**cover, **present}
    return edit(cards, {key: (value, _COVERAGE[key]) for key, value in said.items()})
