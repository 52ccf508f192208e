"""Find the column of a table that lists pixels, and the order of pixels that a header names."""

from __future__ import annotations

import re
from typing import BinaryIO

import numpy as np

from skyfill.maps.column import Column
from skyfill.maps.hdu import Hdu

__all__ = [
    "check_name",
    "is_pixel_name",
    "order_of_word",
    "pixel_column",
    "refuse_hidden_list",
    "said_ordering",
    "uniq_column",
]

_PEEK = 1 << 12  # rows examined to see whether a column lists pixels
#: Names of columns that list pixels, without separators: PIXEL, IPIX, HPX_INDEX,
#: healpix_id, HPIX64, PIX_NEST, nest_ipix, ring_index and the like.
_NUMBER = r"(INDEX|INDICES|IDX|ID|NUM|NUMBER|NO|NR|CELL)"
_PIXEL_NAME = re.compile(
    rf"(I|H|HP|HPX|HEAL|HEALPIX)?(PIX|PIXEL|PIXELS){_NUMBER}?|HP{_NUMBER}|(HPX|HEALPIX){_NUMBER}?"
)
_IN_ORDER = re.compile(rf"(NESTED|NEST|RING){_NUMBER}|I?P(NESTED|NEST|RING)")
#: Names that mean a list of pixels only with INDXSCHM = 'EXPLICIT' in the header.
_LIST_NAMES = {"INDEX", "INDICES", "IDX", "ID", "NUMBER"}
_UNIQ_NAME = re.compile(r"N?UNIQ(UE)?(ID|INDEX|PIX|PIXEL)?")
_ORDER_NAME = re.compile(r"(NEST(?:ED)?|RING)\d*$|^(NEST(?:ED)?|RING)")
#: Other cards that name the order: logical ones (true for NESTED) and words. DESI has HPXNEST.
_NEST_KEYS = ("HPXNEST", "HPX_NEST", "NESTED", "NEST", "ISNEST")
_ORDER_KEYS = ("SCHEME", "PIXORDER", "HPXORDER", "ORDER", "HPXSCHEM", "HPX_ORDER")
_LIST_FORMS = set("BIJKED")


def said_ordering(hdu: Hdu, primary: Hdu) -> str:
    """Return the header's word for the order of the pixels, "" if there is none.

    Raises
    ------
    ValueError
        Two cards of the header contradict each other.

    """
    said = hdu.text("ORDERING") or primary.text("ORDERING")
    for source in (hdu, primary):
        others = {key: source.text(key) for key in _ORDER_KEYS if order_of_word(source.text(key))}
        for key in _NEST_KEYS:
            if source.text(key) in {"True", "False"}:
                others[key] = "NESTED" if source.text(key) == "True" else "RING"
        for key, word in others.items():
            if source is hdu and order_of_word(said) not in (None, order_of_word(word)):
                raise ValueError(
                    f"{hdu.path}: HDU {hdu.index} says ORDERING = {said!r}, and {key} ="
                    f" {source.text(key)!r}; delete the wrong card"
                )
            said = said or word
    return said


def order_of_word(text: str) -> str | None:
    """Interpret a header's word for the order of pixels; None if it is unknown."""
    word = re.sub(r"[^A-Z]", "", text.upper())
    for start, ordering in (("RING", "RING"), ("NEST", "NESTED"), ("NUNIQ", "NUNIQ")):
        if word.startswith(start):
            return ordering
    return "NUNIQ" if word.startswith("UNIQ") else None


def uniq_column(hdu: Hdu) -> Column | None:
    """Find the column that lists pixels of several orders."""
    able = [column for column in hdu.columns if column.form in _LIST_FORMS]
    names = {"UNIQ", "NUNIQ"}  # UNIQUE_ID may be a column of a catalogue
    if order_of_word(hdu.text("ORDERING")) == "NUNIQ":
        names |= {_letters(column) for column in able if _UNIQ_NAME.fullmatch(_letters(column))}
    return next((column for column in able if _letters(column) in names), None)


def pixel_column(stream: BinaryIO, hdu: Hdu, primary: Hdu) -> Column | None:
    """Find the column that lists pixels; None if there is none."""
    able = [column for column in hdu.columns if column.form in _LIST_FORMS]
    scheme = (hdu.text("INDXSCHM") or primary.text("INDXSCHM")).upper()
    named = [column for column in able if is_pixel_name(column)]
    if scheme == "EXPLICIT":
        first = hdu.columns[0]
        standard = [first] if first.dtype.kind in "iu" and first in able else []
        for choice in (named, [c for c in able if _letters(c) in _LIST_NAMES], standard):
            if choice:
                return _the_one(hdu, choice)
        return None
    # The rows may be the pixels whatever the column's name is, so its numbers are examined.
    named = [column for column in named if _lists_pixels(stream, hdu, column)]
    return _the_one(hdu, named) if named else None


def refuse_hidden_list(stream: BinaryIO, hdu: Hdu, primary: Hdu, nside: int) -> None:
    """Refuse a full sky without INDXSCHM in which a column lists all pixels in another order.

    Either the rows follow that column, or it holds pixel numbers of the other ordering.
    """
    if hdu.text("INDXSCHM") or primary.text("INDXSCHM"):
        return
    npix = 12 * nside**2
    for column in hdu.columns:
        able = column.form in _LIST_FORMS and not column.unit and len(hdu.columns) > 1
        able = able and hdu.integer("NAXIS2") * column.repeat == npix
        if not able or not _lists_pixels(stream, hdu, column):
            continue
        seen = np.zeros(npix, np.bool_)
        at = 0
        ordered = True
        for rows in hdu.rows(stream):
            try:
                numbers = column.whole(column.of(rows)).ravel()
            except ValueError:
                break
            if numbers.min() < 0 or numbers.max() >= npix:
                break
            ordered &= bool((numbers == np.arange(at, at + numbers.size)).all())
            seen[numbers] = True
            at += numbers.size
        if at == npix and seen.all() and not ordered:
            raise ValueError(
                f"{hdu.path}: column {column.name!r} lists all pixels in another order than the"
                " rows; if the rows follow it, give it the name PIXEL, otherwise say so, in Python:"
                f" astropy.io.fits.setval({str(hdu.path)!r}, 'INDXSCHM', value='IMPLICIT',"
                f" ext={hdu.index})"
            )


def check_name(hdu: Hdu, pixel: Column | None, ordering: str | None) -> None:
    """Refuse a list of pixels whose name contradicts the order in the header."""
    name = "" if pixel is None else re.sub(r"[^A-Z0-9]", "", pixel.name.upper())
    match = _ORDER_NAME.search(name)
    if match and ordering not in (None, order_of_word(match[1] or match[2])):
        raise ValueError(
            f"{hdu.path}: ORDERING says {ordering}, the name of the list of pixels,"
            f" {pixel.name if pixel else ''!r}, another order; correct the one that is wrong"
        )


def _the_one(hdu: Hdu, columns: list[Column]) -> Column:
    """Return the only column that may list pixels, or the one with the standard name."""
    standard = [column for column in columns if _letters(column) in {"PIXEL", "PIXELS"}]
    choice = standard or columns
    if len(choice) > 1:
        names = ", ".join(column.name for column in choice)
        raise ValueError(
            f"{hdu.path}: {names} may each list the pixels; give the right one the name PIXEL"
        )
    return choice[0]


def _lists_pixels(stream: BinaryIO, hdu: Hdu, column: Column) -> bool:
    """Tell whether the first numbers of a column are distinct integers of 0 or more."""
    rows = next(hdu.rows(stream), None) if column.width else None
    if rows is None or not rows.size:
        return False
    try:
        numbers = column.whole(column.of(rows[:_PEEK]))
    except ValueError:
        return False
    ordered = np.sort(numbers, axis=None)
    return bool(ordered[0] >= 0 and (np.diff(ordered) > 0).all())


def is_pixel_name(column: Column) -> bool:
    """Tell whether a column has the name of a list of pixels."""
    name = re.sub(r"[^A-Z0-9]", "", column.name.upper()).rstrip("0123456789")
    return bool(
        _IN_ORDER.fullmatch(name)
        or _PIXEL_NAME.fullmatch(_letters(column))
        or _PIXEL_NAME.fullmatch(re.sub(r"^(NESTED|NEST|RING)", "", name))
    )


def _letters(column: Column) -> str:
    """Return a column's name in capitals, without separators, order and Nside."""
    name = re.sub(r"[^A-Z0-9]", "", column.name.upper())
    return re.sub(r"(?<=.)(NESTED|NEST|RING)?\d*$", "", name)
