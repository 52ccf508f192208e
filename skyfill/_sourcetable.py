"""Read the table that a file of sources holds, whatever its format."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path

import numpy as np
from astropy import units
from astropy.table import Table

from skyfill._angles import angle_unit
from skyfill._sourcewords import is_position
from skyfill._textfile import content, text_of

__all__ = ["read_tables"]

#: Formats that tell themselves by their first lines or by a phrase, and astropy's names of them.
_BY_SIGHT = (
    (r"\A# %ECSV", ("ascii.ecsv",)),
    (r"Byte-by-byte Description", ("ascii.mrt", "ascii.cds")),
    (r"\A#\s+1\s+\w+", ("ascii.sextractor",)),
    (r"\A\s*\\begin", ("ascii.latex",)),
    (r"(?i)\A\s*<(?:!doctype html|html|table)", ("ascii.html",)),
)
_COMMENT = ("#", "%", "!", "//")
_TROUBLE = (ValueError, TypeError, IndexError, KeyError, OSError, AttributeError, Warning)


def read_tables(path: Path) -> tuple[str, list[Table]]:
    """Read all tables of a file; gzip is undone.

    Returns
    -------
        What the file is, and its tables. Columns of text without names are col1, col2, ...;
        circles of DS9 are columns ra, dec and radius, degrees.

    Raises
    ------
    ValueError
        It cannot be read as a table.
    OSError
        It cannot be read.

    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    data = content(path)
    endings = [ending.lower() for ending in path.suffixes if ending.lower() != ".gz"][-1:]
    kind = "text"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of units and headers that astropy does not know
            if data.startswith(b"SIMPLE") or endings in ([".fits"], [".fit"], [".fts"]):
                kind = "FITS"
                return kind, _from_fits(data)
            if b"<VOTABLE" in data[:10_000]:
                kind = "VOTable"
                return kind, [Table.read(io.BytesIO(data), format="votable")]
            text = text_of(data)
            if text is None:
                raise ValueError("neither text nor FITS nor VOTable")
            if endings == [".reg"] or text.startswith("# Region file"):
                kind = "DS9 regions"
                return kind, [_from_regions(text)]
            if _is_ipac(text):
                kind = "IPAC"
                return kind, [Table.read(text.splitlines(), format="ascii.ipac")]
            for sign, kinds in _BY_SIGHT:
                if re.search(sign, text[:100_000]):
                    kind = kinds[0].removeprefix("ascii.")
                    return kind, [_first_that_reads(text, kinds)]
            return kind, [_from_text(text)]
    except _TROUBLE as error:
        why = str(error).strip().splitlines() or ["unknown"]
        raise ValueError(f"{path}: cannot be read as a table ({kind}): {why[0]}") from error


def _from_fits(data: bytes) -> list[Table]:
    from astropy.io import fits

    warnings.filterwarnings("error", message=".*truncated")  # the caller puts it back
    try:
        with fits.open(io.BytesIO(data)) as hdus:
            tables = [
                Table.read(hdu, format="fits")
                for hdu in hdus
                if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)
            ]
    except (Warning, fits.VerifyError) as error:
        raise ValueError(str(error)) from error
    if not tables:
        raise ValueError("no table in it")
    return tables


def _first_that_reads(text: str, kinds: tuple[str, ...]) -> Table:
    for kind in kinds[:-1]:
        try:
            return Table.read(text.splitlines(), format=kind)
        except _TROUBLE:
            continue
    return Table.read(text.splitlines(), format=kinds[-1])


def _is_ipac(text: str) -> bool:
    """Tell IPAC's tables, which have bars in the lines of names, by the rows without bars below.

    Raises
    ------
    ValueError
        A row has something under a bar: astropy drops it, a minus sign for one.

    """
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("\\")]
    rows = [line for line in lines if not line.startswith("|")]
    if not lines or not lines[0].startswith("|") or not rows:
        return False
    bars = [place for place, letter in enumerate(lines[0]) if letter == "|"]
    for row in rows:
        if any(row[place : place + 1].strip() for place in bars):
            raise ValueError(f"the row {row.strip()[:40]!r} has something under the bars")
    return True


def _from_regions(text: str) -> Table:
    """Read circles of DS9, and refuse whatever else is there."""
    try:
        from regions import CircleSkyRegion, Regions
    except ModuleNotFoundError as error:
        raise ValueError("needs the package regions: pip install regions") from error
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = Regions.parse(text, format="ds9")
    skipped = [str(warning.message) for warning in caught if "skipping" in str(warning.message)]
    if skipped:
        raise ValueError(skipped[0].removesuffix(", skipping."))
    if not found:
        raise ValueError("there are no regions in it")
    others = {type(r).__name__ for r in found if not isinstance(r, CircleSkyRegion)}
    if others:
        words = ", ".join(sorted(name.removesuffix("SkyRegion") for name in others))
        pixels = " (pixels of an image)" * ("PixelRegion" in words)
        raise ValueError(f"only circles on the sky can be masked, there are {words}{pixels}")
    if any(not region.meta.get("include", 1) for region in found):
        raise ValueError("excluded circles (-circle) cannot be masked; take them out")
    centres = [region.center.icrs for region in found]
    table = Table(
        {
            "ra": [centre.ra.deg for centre in centres],
            "dec": [centre.dec.deg for centre in centres],
            "radius": [region.radius.to_value("deg") for region in found],
        },
        dtype=[np.float64] * 3,
    )
    for name in table.colnames:
        table[name].unit = "deg"
    return table


# --- text ---------------------------------------------------------------------------------------


def _from_text(text: str) -> Table:
    """Read columns with or without names: white space, commas, semicolons, tabs or bars.

    Above the numbers may stand, as in VizieR's files, a line of names, one of units and one of
    dashes; or names in the last lines of comments.
    """
    from astropy.io import ascii as tables

    lines = [line.strip("\r\n ") for line in text.splitlines()]
    comments = [line.lstrip("#%!/ \t") for line in lines if line.startswith(_COMMENT)]
    rows = [line for line in lines if line.strip() and not line.startswith(_COMMENT)]
    if not rows:
        raise ValueError("there are no rows in it")
    if all(row.startswith("|") for row in rows):
        rows = [row.strip("|") for row in rows]
    mark = next((mark for mark in "\t;|," if mark in rows[0]), " ")
    if mark == " ":
        rows = [row.partition(" #")[0] for row in rows]
    names, unit_words, rows = _headed(rows, mark)
    count = len(_cells(rows[0], mark)) if rows else len(names)
    if not names:
        names = _names_in(comments, count, mark)
    if len(names) != count:
        raise ValueError(f"{len(names)} names for {count} columns")
    names = [name or f"col{number}" for number, name in enumerate(names, 1)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"two columns are called {twice!r}")
    if not rows:
        return Table(names=names)
    if mark == "\t":  # astropy strips white space, and with it an empty last cell
        mark, rows = "\x01", [row.replace("\t", "\x01") for row in rows]
    # the fast reader takes 1,5 for 15
    table = tables.read(
        rows, format="no_header", guess=False, fast_reader=False, delimiter=mark, names=names
    )
    for name, word in zip(names, unit_words, strict=False):
        table[name].unit = units.Unit(word, parse_strict="silent")
    return table


def _headed(rows: list[str], mark: str) -> tuple[list[str], list[str], list[str]]:
    """Take the lines of names, units and dashes off."""
    if _has_numbers(rows[0], mark):
        return [], [], rows
    names, *rows = rows
    unit_words: list[str] = []
    ruled = [_is_ruled(row) for row in rows[:2]]
    if ruled[1:] == [True] or (rows and not any(ruled) and _are_units(_cells(rows[0], mark))):
        unit_words = _cells(rows.pop(0), mark)
    return _cells(names, mark), unit_words, rows[any(ruled) :]


def _cells(line: str, mark: str) -> list[str]:
    """Split a line; a unit in brackets belongs to the name before it."""
    if mark != " ":
        return [cell.strip().strip('"') for cell in line.split(mark)]
    words = re.findall(r'"[^"]*"|\S+', re.sub(r"\s+(?=[\[(])", "", line))
    return [word.strip('"') for word in words]


def _has_numbers(line: str, mark: str) -> bool:
    """Tell a row of a table from names, by a number or a sexagesimal word in it."""
    word = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+|(?:[:hd°\s]\s*\d+.*))?|nan"
    return any(re.fullmatch(word, cell, re.IGNORECASE) for cell in _cells(line, mark))


def _is_ruled(line: str) -> bool:
    return re.fullmatch(r"[-=\s;|,]*[-=]{2,}[-=\s;|,]*", line) is not None


def _are_units(cells: list[str]) -> bool:
    return any(map(angle_unit, cells)) and not _has_numbers(",".join(cells), ",")


def _names_in(comments: list[str], count: int, mark: str) -> list[str]:
    """Find the names of columns in the last comments; col1, col2, ... where there are none."""
    for line in reversed(comments):
        for cells in (_cells(line, mark), _cells(line, " "), _cells(line, ",")):
            if len(cells) == count and is_position(cells):
                return cells
    if any(is_position(re.findall(r"\w+", line)) for line in comments):
        raise ValueError(
            f"the comments name positions, but no line of them names its {count} columns one by one"
        )
    return [f"col{number}" for number in range(1, count + 1)]
