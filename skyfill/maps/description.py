"""Describe a map file from its headers."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from astropy.io.fits import VerifyError

from skyfill.brief import brief
from skyfill.maps.checksum import is_right
from skyfill.maps.hdu import Hdu, finish, open_fits, walk
from skyfill.maps.multiorder import orders
from skyfill.maps.table import SkyTable, find_table, sky_tables

__all__ = ["Checksums", "ColumnInfo", "MapInfo", "TableInfo", "add_up", "describe"]

# Cards about the layout of the bytes, and cards that `describe` gives in fields of their own.
_STRUCTURE = re.compile(
    r"XTENSION|SIMPLE|BITPIX|NAXIS\d*|[PG]COUNT|TFIELDS|THEAP|EXTEND|T[A-Z]{3,4}\d+|CHECKSUM|DATASUM"
    r"|PIXTYPE|ORDERING|COORDSYS|NSIDE|FIRSTPIX|LASTPIX|INDXSCHM|OBJECT|HISTORY|COMMENT|CONTINUE|"
)


@dataclass(frozen=True)
class ColumnInfo:
    """Description of a column."""

    __repr__ = brief

    name: str
    unit: str
    dtype: str


@dataclass(frozen=True)
class TableInfo:
    """Description of a table of sky maps."""

    __repr__ = brief

    hdu: int
    nside: int
    """Resolution; for a multi-order map that of its highest order."""
    npix: int
    """Number of stored pixels."""
    partial: bool
    ordering: str | None
    coord: str | None
    unknown_frame: str | None
    """Header cards of a frame that is not understood, or that contradict each other."""
    orders: tuple[int, int] | None
    """Lowest and highest order of the cells of a multi-order map, None for other maps."""
    columns: tuple[ColumnInfo, ...]
    keywords: Mapping[str, object]
    """All other keywords, including the provenance that skyfill writes."""
    history: tuple[str, ...]


@dataclass(frozen=True)
class MapInfo:
    """Description of the sky maps of a file."""

    __repr__ = brief

    path: Path
    tables: tuple[TableInfo, ...]


@dataclass(frozen=True)
class Checksums:
    """Result of verifying the checksums of a file."""

    __repr__ = brief

    right: tuple[int, ...]
    """HDUs that agree with their CHECKSUM and DATASUM."""
    wrong: tuple[int, ...]
    """HDUs that do not agree."""

    def __str__(self) -> str:
        if self.wrong:
            return f"WRONG in HDU {', '.join(map(str, self.wrong))}"
        return "right" if self.right else "none"


def add_up(path: str | os.PathLike[str]) -> Checksums:
    """Read a whole file and verify the checksums in its headers, if it has any.

    Parameters
    ----------
    path
        A FITS file, plain, gzip or bzip2.

    Raises
    ------
    ValueError
        The file is not a complete FITS file.
    OSError
        The file cannot be read.

    """
    path = Path(path)
    with open_fits(path) as stream:
        sums = {}
        for hdu in walk(stream, path):
            sums[hdu.index] = is_right(stream, hdu)
        finish(stream, hdu)
    return Checksums(
        tuple(index for index, right in sums.items() if right),
        tuple(index for index, right in sums.items() if right is False),
    )


def describe(path: str | os.PathLike[str]) -> MapInfo:
    """Describe the sky maps of a file from its headers, and the cells of multi-order maps.

    Parameters
    ----------
    path
        A FITS file, plain, gzip or bzip2.

    Raises
    ------
    ValueError
        The file has no HEALPix table, or is not a complete FITS file.
    OSError
        The file cannot be read.

    """
    path = Path(path)
    with open_fits(path) as stream:
        tables = tuple(_table_info(stream, table) for table in sky_tables(stream, path))
        if not tables:
            find_table(stream, path)  # raises, with a description of what the file holds
    return MapInfo(path, tables)


def _table_info(stream: BinaryIO, table: SkyTable) -> TableInfo:
    of_cells = orders(stream, table) if table.multiorder and table.pixel is not None else None
    return TableInfo(
        hdu=table.hdu.index,
        nside=table.nside if of_cells is None else 1 << of_cells[1],
        npix=table.stored(table.fields[0]),
        partial=table.partial,
        ordering=table.ordering,
        coord=table.coord,
        unknown_frame=table.unknown_frame,
        orders=of_cells,
        columns=tuple(
            ColumnInfo(
                column.name,
                column.unit or table.unit(column)[0],
                column.dtype.name if column.numeric else "other",
            )
            for column in table.fields
        ),
        keywords=MappingProxyType(_keywords(table.hdu)),
        history=tuple(str(line) for line in table.hdu.header.get("HISTORY", ())),
    )


def _keywords(hdu: Hdu) -> dict[str, object]:
    """Collect the keywords that do not describe the layout; unparsable ones as text."""
    keywords: dict[str, object] = {}
    for card in hdu.header.cards:  # by index, since astropy interprets some broken keys as patterns
        if not _STRUCTURE.fullmatch(card.keyword) and card.keyword not in keywords:
            try:
                keywords[card.keyword] = card.value
            except VerifyError:
                keywords[card.keyword] = ""
    return keywords
