"""Read sky maps from FITS files and write them back with every observed pixel as it was.

Inside the library a map is (npix,), µK, RING, NaN where missing. This module is the border: files
keep their own unit, dtype, ordering, frame, other columns and header cards.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from skyfill._arrays import as_map, as_mask
from skyfill._checks import check_frame, nside_of
from skyfill._describe import Checksums, ColumnInfo, MapInfo, TableInfo, add_up, describe
from skyfill._files import check_ending
from skyfill._fits import finish, open_fits, pieces
from skyfill._fits_write import Card, edit, new_table, replaced, save
from skyfill._skytable import UNSEEN, find_table
from skyfill.healpix import reorder

__all__ = [
    "Checksums",
    "ColumnInfo",
    "MapInfo",
    "SkyMap",
    "TableInfo",
    "add_up",
    "describe",
    "read_map",
    "unit_in_uk",
    "write_filled",
    "write_map",
]

_UNIT = re.compile(
    r"(?P<prefix>|m|u|mu|micro|µ|μ) ?K(?:elvin)?"
    r"(?:[ _,({]*(?i:cmb|thermo(?:dynamic)?)(?: temperature)?[)}]*)?"
)
_FACTORS = {"": 1e6, "m": 1e3}  # every other prefix is micro


@dataclass(frozen=True, eq=False)
class SkyMap:
    """One column of a map file, and what it takes to write it back."""

    values: NDArray[Any] = field(repr=False)
    """(npix,), µK, RING, NaN where missing; float64, or float32 if so wished of such a file."""
    nside: int
    path: Path
    column: str
    column_index: int
    """Number of the column, from 0, without the one that lists pixels."""
    hdu: int
    unit: str
    """The unit of the numbers in the file, as there or as given."""
    unit_to_uk: float
    """µK in one such unit."""
    nest: bool
    """Whether the file is in NESTED order."""
    coord: str | None
    """Frame: G, E, C (equatorial), None where the file does not say."""
    dtype: np.dtype[Any]
    """Type of a number in the file, big-endian."""
    partial: bool
    """Whether the file stores only a part of the sky."""

    @property
    def n_missing(self) -> int:
        """Count the pixels without a value."""
        return int(np.count_nonzero(np.isnan(self.values)))


def unit_in_uk(unit: str) -> float:
    """Return how many µK one `unit` is.

    Parameters
    ----------
    unit
        Kelvin, mK or µK in the spellings of map files: K, K_CMB, Kcmb, mK, "mK,thermodynamic",
        uK_CMB, muK, microK, µK.

    Raises
    ------
    ValueError
        It is none of them; antenna temperatures (K_RJ) and brightness (MJy/sr) are none.

    """
    match = _UNIT.fullmatch(unit.strip())
    if match is None:
        raise ValueError(f"{unit!r} is no CMB temperature unit; pass `unit` K, mK or uK")
    return _FACTORS.get(match["prefix"], 1.0)


def read_map(
    path: str | os.PathLike[str],
    *,
    field: int | str = 0,
    unit: str | None = None,
    single: bool = False,
) -> SkyMap:
    """Read one column of a HEALPix FITS file.

    Parameters
    ----------
    path
        The file: RING or NESTED, full sky or partial, plain or gzip.
    field
        The column, by number from 0 or by name.
    unit
        The unit of its numbers; needed where the file has none, and stronger than the file's.
    single
        Keep float32 where the file has no more, in half the memory: what that loses is as much as
        the file has lost.

    Raises
    ------
    ValueError
        The file is not what it should be; the message says what, and how to mend it.
    OSError
        It cannot be read.

    """
    path = Path(path)
    with open_fits(path) as stream:
        table = find_table(stream, path)
        column = table.column(field)
        nest = table.nest
        values = table.read(stream, column, single=single)
        finish(stream, table.hdu)
    low, high = (float(limit(values, initial=0.0)) for limit in (np.fmin.reduce, np.fmax.reduce))
    if np.isnan(values).all():
        raise ValueError(f"{path}: column {column.name!r} has no valid pixel at all")
    if (low, high) == (0.0, 1.0) and np.isin(values[~np.isnan(values)], (0.0, 1.0)).all():
        raise ValueError(
            f"{path}: column {column.name!r} holds 0 and 1 only, so it is a mask;"
            " give the map first, then the mask"
        )
    name = unit or column.unit
    if not name:
        raise ValueError(
            f"{path}: column {column.name!r} has no unit (TUNIT{column.number});"
            " pass `unit` K, mK or uK"
        )
    try:
        factor = unit_in_uk(name)
    except ValueError as error:
        raise ValueError(f"{path}: column {column.name!r}: {error}") from None
    if nest:
        values = reorder(values, nest_in=True, nest_out=False)
    largest = max(-low, high) * factor
    if np.isinf(largest):
        raise ValueError(
            f"{path}: column {column.name!r} holds numbers up to {max(-low, high):.0e} {name}, no"
            " temperatures; put UNSEEN (-1.6375e30) where nothing is observed"
        )
    if largest > float(np.finfo(values.dtype).max):  # such as other programs put where nothing is
        values = values.astype(np.float64)
    values *= factor
    return SkyMap(
        values=values,
        nside=table.nside,
        path=path,
        column=column.name,
        column_index=table.fields.index(column),
        hdu=table.hdu.index,
        unit=name,
        unit_to_uk=factor,
        nest=nest,
        coord=table.coord,
        dtype=column.dtype,
        partial=table.partial,
    )


def write_filled(
    path: str | os.PathLike[str],
    sky: SkyMap,
    fill: ArrayLike,
    holes: ArrayLike,
    *,
    provenance: Mapping[str, Card] | None = None,
    history: Sequence[str] = (),
    overwrite: bool = False,
) -> None:
    """Write the file of a map again, with its holes filled and nothing else changed.

    The input is copied byte for byte: pixels outside the holes, other columns, other HDUs and
    header cards come back bit for bit. Only a partial sky changes its form: it becomes a full one
    with one pixel in a row, whose values are as they were, and UNSEEN in the other columns where
    they had no pixel.

    Parameters
    ----------
    path
        The file to write, compressed where its name ends in .gz; may be the input, with
        `overwrite`.
    sky
        The map as it was read; its file is read again.
    fill
        (npix,), µK, RING, of which only the values in the holes are used; or these alone, (nhole,).
        They must be finite.
    holes
        (npix,), RING, true where `fill` shall stand.
    provenance
        Keywords to set in the header of the table: value and comment.
    history
        Lines to append as HISTORY.
    overwrite
        Whether a file that is already there may be replaced.

    Raises
    ------
    ValueError
        The input has changed since it was read, a fill value is not finite, or the column's dtype
        cannot hold it.
    OSError
        The input cannot be read or the output cannot be written.

    """
    check_ending(path, "map")
    holes = as_mask(holes, "holes")
    fill = as_map(fill, "fill", whole=False)
    alone = fill.shape == (np.count_nonzero(holes),)
    if holes.shape != sky.values.shape or not (alone or fill.shape == holes.shape):
        raise ValueError(
            f"fill and holes must be {sky.values.shape}, got {fill.shape} and {holes.shape}"
        )
    chosen = fill if alone else fill[holes]
    if not np.isfinite(chosen).all():
        raise ValueError(
            f"{sky.path}: the fill is not finite in {(~np.isfinite(chosen)).sum()} pixels"
        )
    with open_fits(sky.path) as stream:
        table = find_table(stream, sky.path)
        column = table.column(sky.column_index)
        if (column.name, table.nside, table.nest) != (sky.column, sky.nside, sky.nest):
            raise ValueError(f"{sky.path}: the file has changed since it was read; start again")
        stored = column.encode(chosen / sky.unit_to_uk)
        del chosen
        if sky.nest:
            whole_sky = np.zeros(holes.shape, column.dtype.newbyteorder("="))
            whole_sky[holes] = stored
            holes = reorder(holes, nest_in=False, nest_out=True)
            stored = reorder(whole_sky, nest_in=False, nest_out=True)[holes]
            del whole_sky

        whole = table.full_sky(stream, column)
        hdu = table.hdu
        tail = hdu.start + hdu.integer("NAXIS1") * hdu.integer("NAXIS2"), hdu.start + hdu.size

        def data() -> Iterator[bytes]:
            at = first = 0
            for rows in whole.rows():
                cells = whole.column.of(rows)
                select = holes[at : at + cells.size].reshape(cells.shape)
                count = int(np.count_nonzero(select))
                cells[select] = stored[first : first + count]
                at, first = at + cells.size, first + count
                yield rows.tobytes()
            yield from pieces(stream, sky.path, *tail)  # what variable-length columns point to

        cards = edit(whole.cards, provenance or {}, history)
        size = whole.size + tail[1] - tail[0]
        content = partial(replaced, stream, hdu, cards, data, size)
        save(path, content, overwrite=overwrite)


def write_map(
    path: str | os.PathLike[str],
    values: ArrayLike | Mapping[str, ArrayLike],
    *,
    column: str = "TEMPERATURE",
    unit: str = "uK_CMB",
    nest: bool = False,
    coord: str | None = "G",
    dtype: DTypeLike = np.float32,
    provenance: Mapping[str, Card] | None = None,
    history: Sequence[str] = (),
    overwrite: bool = False,
) -> None:
    """Write maps to a new full-sky HEALPix FITS file; the inverse of `read_map`.

    Parameters
    ----------
    path
        The file to write, compressed where its name ends in .gz.
    values
        (npix,), µK, RING, NaN where missing; or several such by the names of their columns.
    column
        Name of the column where there is one map.
    unit
        Unit in the file, to which µK are converted; "" for numbers without unit, as masks are.
    nest
        Whether to write in NESTED order.
    coord
        Frame for COORDSYS: G, E, C, or None to leave it open.
    dtype
        Type in the file: float32, float64, uint8, int16, int32 or int64.
    provenance
        Further keywords: value and comment.
    history
        Lines of HISTORY.
    overwrite
        Whether a file that is already there may be replaced.

    Raises
    ------
    ValueError
        The maps have no or different Nside, or `dtype` cannot hold their values.
    OSError
        The file cannot be written.

    """
    check_ending(path, "map")
    coord = check_frame(coord)
    maps = values if isinstance(values, Mapping) else {column: values}
    scale = 1.0 / unit_in_uk(unit) if unit else 1.0
    kind = np.dtype(dtype)
    stored = {name: _stored(name, value, kind, scale, nest) for name, value in maps.items()}
    npix, *others = {raw.size for raw in stored.values()}
    if others:
        raise ValueError(f"{path}: maps in one file must have one Nside, got {npix}, {others}")
    nside = nside_of(npix, str(path))
    coverage: dict[str, Card] = {
        "PIXTYPE": ("HEALPIX", "HEALPIX pixelisation"),
        "ORDERING": ("NESTED" if nest else "RING", "Pixel ordering scheme, either RING or NESTED"),
        **({"COORDSYS": (coord, "Ecliptic, Galactic or Celestial")} if coord else {}),
        "NSIDE": (nside, "Resolution parameter of HEALPIX"),
        "FIRSTPIX": (0, "First pixel # (0 based)"),
        "LASTPIX": (npix - 1, "Last pixel # (0 based)"),
        "INDXSCHM": ("IMPLICIT", "Indexing: IMPLICIT or EXPLICIT"),
        "OBJECT": ("FULLSKY", "Sky coverage, either FULLSKY or PARTIAL"),
    }
    content = partial(
        new_table,
        stored,
        unit=unit,
        repeat=1024 if npix % 1024 == 0 else 1,  # as all map files have it, small ones apart
        keywords={**coverage, **(provenance or {})},
        history=history,
    )
    save(path, content, overwrite=overwrite)


def _stored(
    name: str, values: ArrayLike, dtype: np.dtype[Any], scale: float, nest: bool
) -> NDArray[Any]:
    """Convert a map to the numbers of a file, in its order."""
    numbers = values if isinstance(values, np.ndarray) else np.asarray(values)
    if numbers.dtype.kind not in "biu" or isinstance(values, np.ma.MaskedArray):
        numbers = as_map(values, f"column {name!r}")
    elif numbers.ndim != 1:
        raise ValueError(
            f"column {name!r}: it has the shape {numbers.shape}; give one map, (npix,)"
        )
    raw = np.empty(numbers.shape, dtype)
    for start in range(0, numbers.shape[0], 2**22):
        part = numbers[start : start + 2**22]
        if dtype.kind == "f":
            part = part * scale
            part = np.where(np.isfinite(part), part, UNSEEN)
        elif not (np.isfinite(part).all() and np.array_equal(part, part.astype(dtype))):
            raise ValueError(f"column {name!r}: {dtype.name} cannot hold these values")
        raw[start : start + 2**22] = part.astype(dtype)
    return reorder(raw, nest_in=False, nest_out=True) if nest else raw
