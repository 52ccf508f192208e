"""Read sky maps from FITS files and write them back with every observed pixel as it was.

Inside the library a map is (npix,), µK, RING, NaN where missing. This module is the border: files
keep their own unit, dtype, ordering, frame, other columns and header cards.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from skyfill.files.atomic import check_ending
from skyfill.healpix import nest_to_ring, reorder
from skyfill.healpix.arrays import as_map, as_mask
from skyfill.healpix.checks import check_frame
from skyfill.healpix.stokes import nside_of, nside_of_length, one_component
from skyfill.maps.column import Column, equal
from skyfill.maps.description import Checksums, ColumnInfo, MapInfo, TableInfo, add_up, describe
from skyfill.maps.frames import frame_of_word
from skyfill.maps.hdu import open_fits, pieces
from skyfill.maps.multiorder import at_one_order
from skyfill.maps.reading import Frame, Place, Read, check_alike, place_of, read_file
from skyfill.maps.rows import layout
from skyfill.maps.sentinels import find_sentinel
from skyfill.maps.table import UNSEEN, find_table
from skyfill.maps.units import parse_unit, stokes_of, unit_in_uk
from skyfill.maps.writing import Card, Numbers, edit, new_table, replaced, save

__all__ = [
    "FILL_CARDS",
    "FILL_PRIOR",
    "Checksums",
    "ColumnInfo",
    "MapInfo",
    "Place",
    "SkyMap",
    "TableInfo",
    "add_up",
    "check_alike",
    "describe",
    "frame_of_word",
    "known_pixels",
    "place_of",
    "read_map",
    "refuse_flattened",
    "unit_in_uk",
    "write_filled",
    "write_map",
]

FILL_CARDS = (
    "SFSEED",
    "SFMETHOD",
    "SFFILL",
    "SFLIKE",
    "SFFILLED",
    "SFHOLES",
    "SFCHECK",
    "SFDIPOLE",
    "SFCL",
    "SFBEAM",
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
    "SFDIST",
    "SFCONV",
    "SFMODEL",
    "SFSHA256",
    "SFMODELS",
)
"""Keywords that say how a map was filled."""
FILL_PRIOR = "SKYFILL_PRIOR"
"""EXTNAME of the table that holds the prior of a filled map."""
_FRAME_COMMENT = "Ecliptic, Galactic or Celestial"
#: Pixels that are looked at or converted together: their copies stay small at any Nside.
_PART = 1 << 18


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
    unknown_frame: str | None = None
    """The cards that name the frame, where they cannot be understood; then `coord` is None."""
    flattened: bool = False
    """Whether the file is a multi-order map, read at one resolution; it cannot be written back."""
    columns: tuple[str, ...] = ()
    """Names of all columns of the table, without the one that lists pixels."""

    @property
    def frame(self) -> Frame:
        """The frame, and how the file names one that is unknown."""
        return Frame(self.coord, self.unknown_frame)

    @property
    def stokes(self) -> str | None:
        """Stokes parameter by the names of columns: "T", "Q", "U", ...; None where none says it."""
        return stokes_of(self.column, self.columns)

    @property
    def n_missing(self) -> int:
        """Count the pixels without a value."""
        return int(np.count_nonzero(np.isnan(self.values)))


def read_map(
    path: str | os.PathLike[str],
    *,
    field: int | str = 0,
    unit: str | None = None,
    single: bool = False,
    hdu: int | str | None = None,
    missing: float | Sequence[float] | None = None,
    nside: int | None = None,
    frame: str | None = None,
    like: SkyMap | str | os.PathLike[str] | None = None,
) -> SkyMap:
    """Read one column of a HEALPix FITS file.

    Parameters
    ----------
    path
        The file: RING, NESTED or multi-order (NUNIQ), full sky or partial, plain, gzip or bzip2.
    field
        The column, by number from 0 or by name.
    unit
        The unit of its numbers where the file names none.
    single
        Keep float32 where the file has no more, in half the memory: what that loses is as much as
        the file has lost.
    hdu
        The table, by number of its HDU from 0 (the primary one) or by its name (EXTNAME); the first
        table with a sky where it is not given.
    missing
        A value, or several, that mean "no data" in this file, in its unit, to the rounding of
        float32. NaN, infinity, UNSEEN and what the header names (BAD_DATA, TNULLn, BLANK) do so
        anyway.
    nside
        Resolution at which to read a multi-order map whose cells have several: a larger cell gives
        its value to its pixels, of smaller ones a pixel gets the mean.
    frame
        The frame where the file names none or an unknown one: G, E, C or a word for it.
    like
        A map that was read, or the path of a mask: Nside and frame must be the same. Where neither
        the file nor `unit` gives a unit, that of the map is taken, with a warning.

    Raises
    ------
    ValueError
        The file is not what it should be, or holds a value far outside the others that seems to
        mean "no data"; the message says what, and how to mend it. Also where `unit` or `frame`
        contradicts the file, or the file does not go with `like`.
    OSError
        It cannot be read.

    """
    path = Path(path)
    read = _read_values(
        path,
        field,
        hdu=hdu,
        missing=missing,
        nside=nside,
        single=single,
        frame=frame,
        like=like,
    )
    values, column, table = read.values, read.column, read.table
    name = _unit_of(read, unit, like if isinstance(like, SkyMap) else None)
    factor = unit_in_uk(name)
    low, high = (float(limit(values, initial=0.0)) for limit in (np.fmin.reduce, np.fmax.reduce))
    largest = max(-low, high) * factor
    if np.isinf(largest):
        raise ValueError(
            f"{read} holds numbers up to {max(-low, high):.0e} {name}, no temperatures; put UNSEEN"
            " (-1.6375e30) where nothing is observed"
        )
    values = read.ring(values)
    if largest > float(np.finfo(values.dtype).max):  # such as other programs put where nothing is
        values = values.astype(np.float64)
    values *= factor
    return SkyMap(
        values=values,
        nside=read.nside,
        path=path,
        column=column.name,
        column_index=table.fields.index(column),
        hdu=table.hdu.index,
        unit=name,
        unit_to_uk=factor,
        nest=table.nest,
        coord=read.frame.coord,
        dtype=column.dtype,
        partial=table.partial,
        unknown_frame=read.frame.unknown,
        flattened=read.found.flattened,
        columns=tuple(other.name for other in table.fields),
    )


def known_pixels(
    path: str | os.PathLike[str],
    *,
    field: int | str = 0,
    hdu: int | str | None = None,
    missing: float | Sequence[float] | None = None,
    nside: int | None = None,
    frame: str | None = None,
    like: SkyMap | str | os.PathLike[str] | None = None,
) -> NDArray[np.bool_]:
    """Find the pixels in which a column of a HEALPix FITS file has a value, whatever its unit.

    Parameters
    ----------
    path, field, hdu, missing, nside, frame, like
        As for `read_map`.

    Returns
    -------
        (npix,), RING, true where there is a value.

    Raises
    ------
    ValueError
        The file is not what it should be, or does not go with `like`.
    OSError
        It cannot be read.

    """
    read = _read_values(
        Path(path),
        field,
        hdu=hdu,
        missing=missing,
        nside=nside,
        single=True,
        frame=frame,
        like=like,
    )
    known: NDArray[np.bool_] = read.ring(~np.isnan(read.values))
    return known


def _read_values(path: Path, field: int | str, **options: Any) -> Read:  # noqa: ANN401
    """Read a column that is not empty, not a mask, and has no unknown word for missing values."""
    read = read_file(path, field, **options)
    values = read.values
    ends = float(np.fmin.reduce(values)), float(np.fmax.reduce(values))
    if np.isnan(ends[0]):
        raise ValueError(f"{read} has no valid pixel at all")
    _refuse_sentinel(read, ends)
    low, high = min(ends[0], 0.0), max(ends[1], 0.0)
    if (low, high) == (0.0, 1.0) and np.isin(values[~np.isnan(values)], (0.0, 1.0)).all():
        raise ValueError(
            f"{read} holds 0 and 1 only, so it is a mask; give the map first, then the mask"
        )
    return read


def _refuse_sentinel(read: Read, ends: tuple[float, float]) -> None:
    """Refuse a value that seems to mean "no data" and is not known to."""
    found = find_sentinel(read.values, ends)
    if found is None:
        return
    value = next(text for text in _spellings(found.value) if equal(float(text), found.value))
    hold = "1 pixel holds" if found.count == 1 else f"{found.count} pixels hold exactly"
    raise ValueError(
        f"{read}: {hold} {value}, while the others lie between {found.low:.4g} and"
        f" {found.high:.4g}; pass `missing={value}` if that means no data, otherwise put UNSEEN"
        " (-1.6375e30) there"
    )


def _spellings(value: float) -> Iterator[str]:
    """Spell a number in more and more digits."""
    yield from (f"{value:.{digits}g}" for digits in (6, 9, 17))


def _unit_of(read: Read, given: str | None, like: SkyMap | None) -> str:
    """Decide on the unit of a map: the file's own, the given one, or that of another map."""
    path, column = read.table.path, read.column
    own, key = read.table.unit(column)
    where = f"{str(path)!r}, 'TUNIT{column.number}', value='uK', ext={read.table.hdu.index}"
    mend = f"if the header is wrong, set it, in Python: astropy.io.fits.setval({where})"
    if given is not None:
        try:
            factor = unit_in_uk(given)
        except ValueError as error:
            raise ValueError(f"{read}: {error}") from None
        if not own:
            return given
        parsed = parse_unit(own)
        if parsed is None or parsed != (factor, 1):
            raise ValueError(
                f"{read} is in {own} ({key}) and not in {given}; drop `unit`, or, {mend}"
            )
        return own
    if own:
        parsed = parse_unit(own)
        if parsed is not None and parsed.power == 1:
            return own
        what = "a variance" if parsed is not None and parsed.power == 2 else "no CMB temperature"
        raise ValueError(
            f"{read} is in {own} ({key}), {what}; choose another column by `field`, convert the"
            f" map, or, {mend}"
        )
    if like is None:
        raise ValueError(f"{read} has no unit ({key}); pass `unit` K, mK or uK")
    warnings.warn(
        f"{read} has no unit ({key}); its numbers are taken for {like.unit}, the unit of"
        f" {like.path}",
        stacklevel=3,
    )
    return like.unit


def refuse_flattened(sky: SkyMap) -> None:
    """Refuse to fill a file whose cells have several sizes: `write_filled` cannot write it back.

    Raises
    ------
    ValueError
        The map was read from such a file.
    """
    if sky.flattened:
        raise ValueError(
            f"{sky.path}: a multi-order map cannot be written back as it was, with cells of several"
            " sizes; write the filled sky with skyfill.write_map, or flatten the file first with"
            " ligo-skymap-flatten"
        )


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
    """Write the file of a map again, with its holes filled and nothing else changed.

    The input is copied byte for byte: pixels outside the holes, other columns, other HDUs and
    header cards come back bit for bit. Only a partial sky with holes at pixels that it has no place
    for changes its form. If that makes it whole, it becomes a full one with one pixel in a row.
    Otherwise it stays partial: the rows as they were, then those of the new pixels, with their
    numbers in the list of pixels. Other columns hold UNSEEN in new rows. What the header says of an
    earlier fill (`FILL_CARDS`), and the table of its prior (`FILL_PRIOR`), are left out.

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
    attached
        EXTNAME and bytes of an HDU to put last, in place of any other of that name.
    overwrite
        Whether a file that is already there may be replaced.

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
    """Give the card for a frame that the caller has given, as the file names none."""
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
    attached
        EXTNAME and bytes of an HDU to put behind the maps.
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
        repeat=1024 if npix % 1024 == 0 else 1,  # as all map files have it, small ones apart
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
