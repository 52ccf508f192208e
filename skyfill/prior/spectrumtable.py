"""Read the columns of a table that holds a spectrum: text, ECSV or FITS."""

from __future__ import annotations

import io
import re
import warnings
from collections import Counter
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skyfill.files.text import content, text_of
from skyfill.prior.spectrumwords import BIN_EDGES, L_NAMES, compact, in_uk2, is_known, meaning

__all__ = ["ADVICE", "Columns", "read_columns"]

ADVICE = "a spectrum is a table with columns l and C_l, text or FITS"
_COMMENT_MARKS = "#%!;"


@dataclass(frozen=True, eq=False)
class Columns:
    """The columns of a file, before they are interpreted."""

    numbers: list[NDArray[np.float64]]
    names: list[str]
    """Name of each column, empty if it has none; no entries if the file has no names."""
    units: list[str]
    comments: str
    fits: bool = False

    def label(self, which: int) -> str:
        """Name a column, or give its number from 0 if it has no name."""
        return repr(self.names[which]) if self.names and self.names[which] else str(which)


def read_columns(path: Path, hdu: int | str | None) -> Columns:
    """Read all columns of a table of any format."""
    data = content(path)
    if data.startswith(b"SIMPLE"):
        return _from_fits(path, data, hdu)
    if hdu is not None:
        raise ValueError(f"{path}: `hdu={hdu!r}` is for FITS files")
    text = text_of(data)
    if text is None:
        raise ValueError(f"{path}: neither text nor FITS; {ADVICE}")
    return _from_ecsv(path, text) if text.startswith("# %ECSV") else _from_text(path, text)


def _from_fits(path: Path, data: bytes, chosen: int | str | None) -> Columns:
    """Read the columns of the one table that holds a spectrum, binary or ASCII."""
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyUserWarning

    trouble: tuple[type[Exception], ...] = (OSError, ValueError, TypeError, IndexError, KeyError)
    trouble += (AttributeError, AstropyUserWarning, fits.VerifyError)
    try:
        with warnings.catch_warnings():
            # warnings about unusual headers do not concern the numbers
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message=".*truncated")
            with fits.open(io.BytesIO(data)) as hdus:
                tables = {
                    number: hdu
                    for number, hdu in enumerate(hdus)
                    if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)
                }
                if chosen is not None:
                    which = hdus.index_of(chosen)
                    tables = {which: tables[which]}
                counts = Counter(hdu.name for hdu in tables.values())
                found = {
                    hdu.name if hdu.name and counts[hdu.name] == 1 else number: columns
                    for number, hdu in tables.items()
                    if (columns := _of_hdu(hdu)).numbers
                }
    except trouble as error:
        why = str(error).strip().splitlines() or ["unknown"]
        raise ValueError(f"{path}: no readable FITS table ({why[0]}); {ADVICE}") from None
    if not found:
        raise ValueError(f"{path}: no readable FITS table (none of numbers); {ADVICE}")
    if len(found) > 1:
        named = {name: t for name, t in found.items() if any(meaning(n) for n in t.names)}
        if len(named) != 1:
            names = ", ".join(map(str, found))
            raise ValueError(
                f"{path}: {len(found)} tables may hold the spectrum ({names}); pass"
                f" `hdu={next(iter(named or found))!r}` or another one"
            )
        found = named
    return next(iter(found.values()))


def _of_hdu(hdu: Any) -> Columns:  # noqa: ANN401
    """Read the columns of numbers of a table."""
    if str(hdu.header.get("PIXTYPE", "")).upper() == "HEALPIX" and "ORDERING" in hdu.header:
        raise ValueError("a HEALPix map, not its spectrum")
    numbers, names, units = [], [], []
    for column in hdu.columns:
        values = np.asarray(hdu.data[column.name])
        if values.dtype.kind in "iuf":
            numbers.append(np.array(values, dtype=np.float64).ravel())
            names.append(column.name)
            units.append(str(column.unit or ""))
    if len({values.size for values in numbers}) > 1:
        raise ValueError("columns of different lengths")
    if numbers and not numbers[0].size:
        raise ValueError("no rows")
    comments = [str(line) for key in ("COMMENT", "HISTORY") for line in hdu.header.get(key, [])]
    return Columns(numbers, names, units, "\n".join(comments), fits=True)


def _from_ecsv(path: Path, text: str) -> Columns:
    """Read the columns of numbers of an ECSV table."""
    from astropy.table import Table

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of units that astropy does not know
            table = Table.read(text.splitlines(), format="ascii.ecsv")
        kept = [column for column in table.columns.values() if column.dtype.kind in "iuf"]
        values = [np.ma.filled(np.ma.asarray(c).astype(np.float64), np.nan) for c in kept]
        numbers = [np.array(column).ravel() for column in values]
    except (ValueError, TypeError, KeyError) as error:
        why = str(error).strip().splitlines() or ["unknown"]
        raise ValueError(f"{path}: no readable ECSV table ({why[0]}); {ADVICE}") from None
    if not numbers:
        raise ValueError(f"{path}: no numbers found; {ADVICE}")
    comments = "\n".join(map(str, table.meta.get("comments", [])))
    return Columns(numbers, [c.name for c in kept], [str(c.unit or "") for c in kept], comments)


def _from_text(path: Path, text: str) -> Columns:
    """Read a table of numbers that follows any number of lines of text."""
    before: list[tuple[str, bool]] = []
    rows: dict[int, str] = {}  # keyed by line number
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].strip()
        commented = line.lstrip()[:1] in {*_COMMENT_MARKS}
        two = [_number(word) for word in [*_words(words), "", ""][:2]]
        if words and not commented and (rows or None not in two):
            rows[number] = words
        elif not rows and line.strip():
            before.append((line.strip().lstrip(_COMMENT_MARKS).strip(), commented))
    if not rows:
        raise ValueError(f"{path}: no numbers found; {ADVICE}")
    # astropy's fast reader reads 1,5 as 15, and its slow one does not accept 1.0D+03.
    first = next(iter(rows.values()))
    mark = next((mark for mark in ";," if mark in first), None)
    table = [[_number(word.strip()) for word in row.split(mark)] for row in rows.values()]
    for place, cells in zip(rows, table, strict=True):
        if len(cells) != len(table[0]) or None in cells[:2]:
            raise ValueError(
                f"{path}: line {place} is not a pair of numbers, or not as long as the first; "
                f"{ADVICE}"
            )
    numbers = list(np.array(table, dtype=np.float64).T)  # None becomes NaN
    names, units = _named(path, before, len(numbers))
    return Columns(numbers, names, units, "\n".join(line for line, _ in before))


def _number(word: str) -> float | None:
    """Read a number, also Fortran's 1.0D+03 and 1.0-103; None for anything else."""
    try:
        return float(re.sub(r"(?<=[\d.])(?:[dD]|(?=[+-]))", "e", word))
    except ValueError:
        return None


def _words(line: str) -> list[str]:
    return [word for word in re.split(r"[,;\s]+", line) if word]


def _named(path: Path, before: list[tuple[str, bool]], count: int) -> tuple[list[str], list[str]]:
    """Find names and units of the columns in the lines before the numbers."""
    for line, commented in reversed(before):
        for cells in _cells(line):
            kept = cells
            if len(cells) > count:  # names followed by a remark
                kept = cells[:count] if all(map(is_known, cells[:count])) else []
            names, units = zip(*map(_name_and_unit, kept), strict=True) if kept else ((), ())
            of_l = any(compact(name) in {*L_NAMES, *chain(*BIN_EDGES)} for name in names)
            meanings = [meaning(name) for name in names]
            all_known = all(map(is_known, names))
            of_tt = all_known and any(m and m[1] for m in meanings)
            fits = len(names) == count or (len(names) > 1 and of_l and all_known)
            if fits and (of_l or of_tt or (not commented and any(meanings))):
                none = [""] * (count - len(names))  # the last columns may have no names
                return [*names, *none], [*units, *none]
    if before and not before[-1][1] and count > 2:
        raise ValueError(
            f"{path}: the line before the numbers names none of their {count} columns:"
            f" {before[-1][0][:60]!r}; name them, as in 'ell TT EE', or put # before that line"
        )
    return [], [""] * count


def _cells(line: str) -> list[list[str]]:
    """Split a line of names in every plausible way."""
    ways = [line.split(mark) for mark in ";,\t" if mark in line]
    glued = re.sub(r"\s+(?=[\[(])", "", line)  # a unit in brackets belongs to the preceding name
    return [[cell.strip(" \t\"'") for cell in way] for way in [*ways, _words(glued)]]


def _name_and_unit(cell: str) -> tuple[str, str]:
    """Split the unit from a name: C_l [uK^2], C_l(K^2)."""
    match = re.fullmatch(r"(.+?)\s*([\[(].*[\])]\S*)", cell)
    if match:
        inner = match[2].strip("[]() ")
        if re.match(r"[\[(](?:[munµμk]|mu|micro|M)?[ -]?(?:K|Jy|erg|W)(?![a-z])", match[2]):
            return match[1], inner  # it may not be a unit of a spectrum, which is checked later
        for unit in (match[2], inner):
            if in_uk2(unit) is not None and inner != "1":
                return match[1], unit
    return cell, ""
