"""Read the table that a file of sources holds, whatever its format."""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units
from astropy.table import Table

from skyfill.files.packing import kind_of
from skyfill.files.text import content, text_of
from skyfill.holes.angles import angle_unit
from skyfill.holes.sourcewords import is_position

__all__ = ["read_tables"]

#: Formats that tell themselves by their first lines or by a phrase.
_BY_SIGHT = (
    (r"\A# %ECSV", "ecsv"),
    (r"Byte-by-byte Description", "mrt"),
    (r"\A#\s+1\s+\w+", "sextractor"),
    (r"\A\s*\\begin", "latex"),
    (r"(?i)\A\s*<(?:!doctype html|html|table)", "html"),
)
_FORMATS = {"mrt": ("ascii.mrt", "ascii.cds")}
_COMMENT = ("#", "%", "!", "//")
_TROUBLE: tuple[type[Exception], ...] = (ValueError, TypeError, IndexError, KeyError, OSError)
_TROUBLE += (AttributeError, Warning, ImportError)  # astropy needs more for HTML
#: Lines of region files, which may have another name or no first line.
_REGION = re.compile(
    r"^(?:\w+ *; *)?[-+]?(?:circle|ellipse|annulus|box|polygon|point) *\(", re.MULTILINE
)


def read_tables(path: Path) -> tuple[str, list[Table]]:
    """Read all tables of a file; gzip and bzip2 are undone.

    Returns
    -------
        What the file is, and its tables. Columns of text without names are col1, col2, ...;
        circles of DS9 are columns ra, dec and radius, degrees.

    Raises
    ------
    ValueError
        It cannot be read as a table.
    OSError
        The file cannot be read.

    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    data = content(path)
    packed = (".gz", ".bz2")
    endings = [ending.lower() for ending in path.suffixes if ending.lower() not in packed]
    kind = _kind(data, *endings[-1:])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of units and headers that astropy does not know
            return kind, _READERS.get(kind, _by_astropy(kind))(data)
    except _TROUBLE as error:
        why = str(error).strip().splitlines() or ["unknown"]
        raise ValueError(f"{path}: cannot be read as a table ({kind}): {why[0]}") from error


def _kind(data: bytes, ending: str = "") -> str:
    """Tell what a file is by what it holds, or else by the ending of its name."""
    if data.startswith(b"SIMPLE") or ending in (".fits", ".fit", ".fts"):
        return "FITS"
    if b"<VOTABLE" in data[:10_000]:
        return "VOTable"
    text = text_of(data) or ""
    if text.startswith("#CRTF"):
        return "CRTF regions"
    if ending == ".reg" or text.startswith("# Region file") or _REGION.search(text):
        return "DS9 regions"
    rows = [line for line in text.splitlines() if line.strip() and not line.startswith("\\")]
    if rows and rows[0].startswith("|") and not all(row.startswith("|") for row in rows):
        return "IPAC"
    return next((kind for sign, kind in _BY_SIGHT if re.search(sign, text[:100_000])), "text")


def _text(data: bytes) -> str:
    """Decode a text, or say what the file is instead."""
    text = text_of(data)
    if text is None:
        known = kind_of(data[:600])
        raise ValueError(f"it is {known[0]}" if known else "neither text nor FITS nor VOTable")
    return text


def _by_astropy(kind: str) -> Callable[[bytes], list[Table]]:
    """Read formats that astropy knows, by the names that it has for them."""

    def read(data: bytes) -> list[Table]:
        formats = _FORMATS.get(kind, (f"ascii.{kind}",))
        return [_first_that_reads(_text(data), formats)]

    return read


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


def _from_votable(data: bytes) -> list[Table]:
    """Read all tables, and note for each column the frame that its COOSYS names."""
    from astropy.io import votable

    whole = votable.parse(io.BytesIO(data), verify="ignore")
    systems: dict[str, Any] = {}
    resources = list(whole.resources)
    for resource in resources:
        resources += resource.resources
    for each in (whole, *resources):
        systems |= {system.ID: system for system in each.coordinate_systems}
    only = next(iter(systems.values())) if len(systems) == 1 else None
    tables = []
    for source in whole.iter_tables():
        table = source.to_table()
        for field in source.fields:
            system = systems.get(field.ref, only)
            name = field.ID if field.ID in table.colnames else field.name
            if system is not None and name in table.colnames:
                words = str(system.system or "").replace("eq_FK", "FK").replace("ecl_FK5", "ecl")
                key = "RADESYS" if words.startswith(("FK", "ICRS")) else "COORDSYS"
                table[name].meta |= {key: words, "EQUINOX": str(system.equinox or "")}
        tables.append(table)
    return tables


def _first_that_reads(text: str, kinds: tuple[str, ...]) -> Table:
    for kind in kinds[:-1]:
        try:
            return Table.read(text.splitlines(), format=kind)
        except _TROUBLE:
            continue
    return Table.read(text.splitlines(), format=kinds[-1])


def _from_ipac(data: bytes) -> list[Table]:
    """Read IPAC's tables, whose rows must leave the columns of the bars empty.

    astropy drops what stands there, a minus sign for one.
    """
    text = _text(data)
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("\\")]
    bars = [place for place, letter in enumerate(lines[0]) if letter == "|"]
    for row in (line for line in lines if not line.startswith("|")):
        if any(row[place : place + 1].strip() for place in bars):
            raise ValueError(f"the row {row.strip()[:40]!r} has something under the bars")
    return [Table.read(text.splitlines(), format="ascii.ipac")]


def _from_regions(data: bytes, kind: str) -> list[Table]:
    """Read circles of DS9 or CASA, and refuse whatever else is there."""
    try:
        from regions import CircleSkyRegion, Regions
    except ModuleNotFoundError as error:
        raise ValueError("needs the package regions: pip install regions") from error
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = Regions.parse(_text(data), format=kind)
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
    return [table]


# --- text ---------------------------------------------------------------------------------------


def _from_text(data: bytes) -> list[Table]:
    """Read columns with or without names: white space, commas, semicolons, tabs or bars.

    Above the numbers may stand, as in VizieR's files, a line of names, one of units and one of
    dashes; or names in the last lines of comments.
    """
    from astropy.io import ascii as tables

    lines = [line.strip("\r\n ") for line in _text(data).splitlines()]
    comments = [line.lstrip("#%!/ \t") for line in lines if line.startswith(_COMMENT)]
    rows = [line for line in lines if line.strip() and not line.startswith(_COMMENT)]
    # the frames of TOPCAT's and of restructured text
    rows = [row for row in rows if not re.fullmatch(r"\+[-=+]+\+|=[= ]+=", row)]
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
    _refuse_ragged(rows, mark, count)
    if not rows:
        return [Table(names=names)]
    if mark == "\t":  # astropy strips white space, and with it an empty last cell
        mark, rows = "\x01", [row.replace("\t", "\x01") for row in rows]
    # the fast reader takes 1,5 for 15
    table = tables.read(
        rows, format="no_header", guess=False, fast_reader=False, delimiter=mark, names=names
    )
    table.meta["comments"] = comments
    for name, word in zip(names, unit_words, strict=False):
        table[name].unit = units.Unit(word, parse_strict="silent")
    return [table]


def _refuse_ragged(rows: list[str], mark: str, count: int) -> None:
    """Refuse rows with more or fewer cells than there are columns."""
    for number, row in enumerate(rows, 1):
        found = len(_cells(row, mark))
        if found != count:
            raise ValueError(
                f"row {number} has {found} columns and not {count}: {row[:40]!r}; put quotes"
                " around words with a space in them, and take out lines that are no rows"
            )


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
        cells = next(csv.reader([line], delimiter=mark, skipinitialspace=True), [])
        return [cell.strip().strip('"') for cell in cells]
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


_READERS: dict[str, Callable[[bytes], list[Table]]] = {
    "FITS": _from_fits,
    "VOTable": _from_votable,
    "DS9 regions": partial(_from_regions, kind="ds9"),
    "CRTF regions": partial(_from_regions, kind="crtf"),
    "IPAC": _from_ipac,
    "text": _from_text,
}
