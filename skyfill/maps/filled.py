"""Write sky maps to FITS files: filled ones like the file they were read from, or new ones."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from skyfill.files.atomic import check_ending
from skyfill.healpix import nest_to_ring, reorder
from skyfill.healpix.arrays import as_map, as_mask
from skyfill.healpix.checks import check_frame
from skyfill.healpix.stokes import nside_of, nside_of_length, one_component
from skyfill.maps.column import Column
from skyfill.maps.hdu import open_fits, pieces
from skyfill.maps.multiorder import at_one_order
from skyfill.maps.rows import layout
from skyfill.maps.skymap import SkyMap, refuse_flattened
from skyfill.maps.table import UNSEEN, find_table
from skyfill.maps.units import unit_in_uk
from skyfill.maps.writing import Card, Numbers, edit, new_table, replaced, save

__all__ = ["FILL_CARDS", "FILL_PRIOR", "write_filled", "write_map"]

FILL_CARDS = (
    "SFSEED",
    "SFMETHOD",
    "SFAUTO",
    "SFFILL",
    "SFLIKE",
    "SFFILLED",
    "SFHOLES",
    "SFCHECK",
    "SFDIPOLE",
    "SFCL",
    "SFBEAM",
    "SFBEAMF",
    "SFBEAMSH",
    "SFNOISE",
    "SFNOIMAP",
    "SFCALIB",
    "SFPIXWIN",
    "SFORIGIN",
    "SFFITTED",
    "SFPOLISH",
    "SFITER",
    "SFCORR",
    "SFRESID",
    "SFLOCAL",
    "SFDIST",
    "SFCONV",
    "SFMODEL",
    "SFSHA256",
    "SFMODELS",
    "SFSTOKES",
    "SFNOISEP",
    "SFORIGP",
    "SFCALIBP",
    "SFBB",
    "SFCHI2EE",
    "SFDOFEE",
    "SFCHI2BB",
    "SFDOFBB",
    "SFPOWERP",
    "SFFILLEP",
    "SFRESIDT",
    "SFRESIDP",
    "SFDISTT",
    "SFDISTP",
)
"""Header keywords that record how a map was filled."""
FILL_PRIOR = "SKYFILL_PRIOR"
"""EXTNAME of the table that holds the prior of a filled map."""
_FRAME_COMMENT = "Ecliptic, Galactic or Celestial"
#: Pixels that are looked at or converted together: their copies stay small at any Nside.
_PART = 1 << 18


def write_filled(
    path: str | os.PathLike[str],
    sky: SkyMap,
    fill: ArrayLike,
    holes: ArrayLike,
    *,
    provenance: Mapping[str, Card] | None = None,
    history: Sequence[str] = (),
    attached: tuple[str, bytes] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a copy of a map's file with its holes filled and nothing else changed.

    The input is copied byte for byte: pixels outside the holes, other columns, other HDUs and
    header cards are bit-identical. A partial sky changes its form only if a hole contains pixels
    that the file does not list. If the filled sky is complete, it is written as a full sky with one
    pixel a row. Otherwise it stays partial: the old rows come first, then rows of the new pixels,
    whose numbers are added to the list of pixels. Other columns hold UNSEEN in new rows. Header
    cards of an earlier fill (`FILL_CARDS`) and the table of its prior (`FILL_PRIOR`) are removed.

    Parameters
    ----------
    path
        The file to write, compressed if its name ends in .gz. It may be the input, with
        `overwrite`.
    sky
        The map from `read_map`; its file is read again.
    fill
        ``(npix,)``, µK, RING, of which only the values in the holes are used; or these values
        alone, ``(nhole,)``. They must be finite.
    holes
        ``(npix,)``, RING, true where `fill` is written.
    provenance
        Keywords to set in the header of the table, each with value and comment.
    history
        Lines to append as HISTORY.
    attached
        EXTNAME and bytes of an HDU to append; it replaces an HDU of the same name.
    overwrite
        Whether an existing file may be replaced.

    Raises
    ------
    ValueError
        The input has changed since it was read, a fill value is not finite, the column's dtype
        cannot hold it, or the input is a multi-order map that was read at one resolution.
    OSError
        The input cannot be read or the output cannot be written.

    """
    check_ending(path, "map")
    holes = as_mask(holes, "holes", taker="write_filled")
    fill = as_map(fill, "fill", taker="write_filled", whole=False)
    alone = fill.shape == (np.count_nonzero(holes),)
    if holes.shape != sky.values.shape or not (alone or fill.shape == holes.shape):
        raise ValueError(
            f"fill and holes must be {sky.values.shape}, got {fill.shape} and {holes.shape}"
        )
    lost = sum(np.count_nonzero(~np.isfinite(part)) for part in _in_holes(fill, holes))
    if lost:
        raise ValueError(f"{sky.path}: the fill is not finite in {lost} pixels")
    refuse_flattened(sky)
    with open_fits(sky.path) as stream:
        table = find_table(stream, sky.path, sky.hdu)
        if table.multiorder:
            table = at_one_order(stream, table, sky.nside) or table
        column = table.column(sky.column_index)
        if (column.name, table.nside, table.nest) != (sky.column, sky.nside, sky.nest):
            raise ValueError(f"{sky.path}: the file has changed since it was read; start again")
        stored = _encoded(column, fill, holes, sky.unit_to_uk)
        if sky.nest:
            whole_sky = np.zeros(holes.shape, stored.dtype)
            whole_sky[holes] = stored
            holes = reorder(holes, nest_in=False, nest_out=True)
            first = 0
            for start in range(0, holes.size, _PART):
                pixels = start + np.flatnonzero(holes[start : start + _PART])
                stored[first : first + pixels.size] = whole_sky[nest_to_ring(sky.nside, pixels)]
                first += pixels.size
            del whole_sky

        whole = layout(stream, table, column, holes)
        where = None if table.pixel is None and not table.partial else np.flatnonzero(holes)
        hdu = table.hdu
        tail = hdu.start + hdu.integer("NAXIS1") * hdu.integer("NAXIS2"), hdu.start + hdu.size

        def data() -> Iterator[bytes]:
            first = 0
            for rows, pixels in whole.rows():
                cells = whole.column.of(rows)
                select = holes[pixels].reshape(cells.shape)
                if where is None or isinstance(pixels, slice):  # in order
                    count = int(np.count_nonzero(select))
                    cells[select] = stored[first : first + count]
                    first += count
                else:
                    cells[select] = stored[np.searchsorted(where, pixels[select.ravel()])]
                yield rows.tobytes()
            yield from pieces(stream, sky.path, *tail)  # what variable-length columns point to

        before: dict[str, Card] = dict.fromkeys(FILL_CARDS, (None, ""))
        keywords = before | _frame_card(sky, table.coord) | dict(provenance or {})
        cards = edit(whole.cards, keywords, history)
        size = whole.size + tail[1] - tail[0]
        new = attached or (FILL_PRIOR, b"")
        content = partial(replaced, stream, hdu, cards, data, size, attached=new)
        save(path, content, overwrite=overwrite)


def _in_holes(fill: NDArray[Any], holes: NDArray[np.bool_]) -> Iterator[NDArray[Any]]:
    """Give the values of a fill in the holes, in order and piece by piece."""
    if fill.shape != holes.shape:  # it has no others
        yield from (fill[start : start + _PART] for start in range(0, fill.size, _PART))
        return
    for start in range(0, holes.size, _PART):
        part = slice(start, start + _PART)
        yield fill[part][holes[part]]


def _encoded(
    column: Column, fill: NDArray[Any], holes: NDArray[np.bool_], unit_to_uk: float
) -> NDArray[Any]:
    """Convert a fill in the holes, (nhole,), to elements of a column as they are stored."""
    ends = [end for part in _in_holes(fill, holes) if part.size for end in (part.min(), part.max())]
    # The column's range is checked for all values at once, so that the message names all of them.
    column.encode(np.array(ends, fill.dtype) / unit_to_uk)
    stored = np.empty(np.count_nonzero(holes), column.dtype)
    first = 0
    for part in _in_holes(fill, holes):
        stored[first : first + part.size] = column.encode(part / unit_to_uk)
        first += part.size
    return stored


def _frame_card(sky: SkyMap, named: str | None) -> dict[str, Card]:
    """Give the COORDSYS card for a frame that the caller gave and the file does not name."""
    return {"COORDSYS": (sky.coord, _FRAME_COMMENT)} if sky.coord and named is None else {}


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
    attached: tuple[str, bytes] | None = None,
    overwrite: bool = False,
) -> None:
    """Write maps to a new full-sky HEALPix FITS file; the inverse of `read_map`.

    Parameters
    ----------
    path
        The file to write, compressed if its name ends in .gz.
    values
        ``(npix,)``, µK, RING, NaN where missing; or several such maps in a dict, by column name.
    column
        Name of the column if one map is given.
    unit
        Unit in the file; µK are converted to it. "" for numbers without a unit, such as masks.
    nest
        Whether to write in NESTED order.
    coord
        Frame for COORDSYS: G, E, C, or None to write no frame.
    dtype
        Type in the file: float32, float64, uint8, int16, int32 or int64.
    provenance
        Further keywords, each with value and comment.
    history
        Lines of HISTORY.
    attached
        EXTNAME and bytes of an HDU to append after the maps.
    overwrite
        Whether an existing file may be replaced.

    Raises
    ------
    ValueError
        The maps are not HEALPix maps of one Nside, or `dtype` cannot hold their values.
    OSError
        The file exists, or cannot be written.

    Examples
    --------
    >>> import numpy as np, skyfill
    >>> skyfill.write_map("ones.fits", np.ones(12 * 16**2))
    >>> skyfill.describe("ones.fits").tables[0].columns[0].unit
    'uK_CMB'

    """
    check_ending(path, "map")
    coord = check_frame(coord)
    maps = values if isinstance(values, Mapping) else {column: values}
    scale = 1.0 / unit_in_uk(unit) if unit else 1.0
    kind = np.dtype(dtype)
    stored = {}
    for name, value in maps.items():
        what = f"values[{name!r}]" if maps is values else "values"
        stored[name] = _stored(name, value, kind, scale, nest, what)
    counts = {numbers.size for numbers in stored.values()}  # one component in each column
    nside, *others = sorted({nside_of_length(count, str(path)) for count in counts})
    if others:
        raise ValueError(
            f"{path}: maps in one file must have one Nside, got {nside} and {others[0]}"
        )
    npix = 12 * nside**2
    coverage: dict[str, Card] = {
        "PIXTYPE": ("HEALPIX", "HEALPIX pixelisation"),
        "ORDERING": ("NESTED" if nest else "RING", "Pixel ordering scheme, either RING or NESTED"),
        **({"COORDSYS": (coord, _FRAME_COMMENT)} if coord else {}),
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
        repeat=1024 if npix % 1024 == 0 else 1,  # the usual form of map files, except small ones
        keywords={**coverage, **(provenance or {})},
        history=history,
        attached=attached,
    )
    save(path, content, overwrite=overwrite)


def _stored(
    name: str, values: ArrayLike, dtype: np.dtype[Any], scale: float, nest: bool, what: str
) -> Numbers:
    """Convert a map to the numbers of a file, in its order, as they are asked for."""
    numbers = values if isinstance(values, np.ndarray) else np.asarray(values)
    if numbers.dtype.kind not in "biu" or isinstance(values, np.ma.MaskedArray):
        numbers = as_map(values, what, taker="write_map")
    else:
        numbers = one_component(numbers, what, "write_map")
    size = len(numbers)
    if dtype.kind != "f":
        for start in range(0, size, _PART):
            part = numbers[start : start + _PART]
            if not (np.isfinite(part).all() and np.array_equal(part, part.astype(dtype))):
                raise ValueError(f"column {name!r}: {dtype.name} cannot hold these values")
    nside = nside_of(numbers, what) if nest else 0

    def converted(start: int, stop: int) -> NDArray[Any]:
        pixels = nest_to_ring(nside, np.arange(start, stop)) if nest else slice(start, stop)
        part = numbers[pixels]
        if dtype.kind == "f":
            part = part * scale
            part = np.where(np.isfinite(part), part, UNSEEN)
        return part.astype(dtype)

    return Numbers(dtype, size, converted)
