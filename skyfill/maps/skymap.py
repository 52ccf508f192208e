"""Read sky maps from FITS files: their values, and where these stand in the file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skyfill.brief import card
from skyfill.healpix.picture import thumbnail
from skyfill.maps.column import equal
from skyfill.maps.reading import Frame, Read, read_file
from skyfill.maps.sentinels import find_sentinel
from skyfill.maps.units import parse_unit, stokes_of, unit_in_uk

#: Most characters of a name in a repr.
_NAME = 60

__all__ = ["SkyMap", "known_pixels", "read_map", "refuse_flattened"]

#: Pixels that are looked at or converted together: their copies stay small at any Nside.
_PART = 1 << 18


@dataclass(frozen=True, eq=False)
class SkyMap:
    """One column of a map file, with what is needed to write it back."""

    values: NDArray[Any] = field(repr=False)
    """``(npix,)``, µK, RING, NaN where missing; float64, or float32 after ``single=True``."""
    nside: int
    path: Path
    column: str
    column_index: int
    """Number of the column, from 0, not counting a column that lists pixels."""
    hdu: int
    unit: str
    """Unit of the numbers in the file, read from it or given by the caller."""
    unit_to_uk: float
    """Size of this unit in µK."""
    nest: bool
    """Whether the file is in NESTED order."""
    coord: str | None
    """Frame: G (Galactic), E (ecliptic) or C (equatorial); None if the file does not say."""
    dtype: np.dtype[Any]
    """Type of the numbers in the file, big-endian."""
    partial: bool
    """Whether the file stores only a part of the sky."""
    unknown_frame: str | None = None
    """Header cards of a frame that is not understood; `coord` is then None."""
    flattened: bool = False
    """Whether the file is a multi-order map read at one resolution; it cannot be written back."""
    columns: tuple[str, ...] = ()
    """Names of all columns of the table, except a column that lists pixels."""

    def __repr__(self) -> str:
        missing, name = self.n_missing, self.path.name
        name = name if len(name) <= _NAME else f"{name[: _NAME - 3]}..."
        holes = f", {missing} missing" if missing else ""
        return (
            f"SkyMap({name}: {self.column[:_NAME]}, Nside {self.nside}, {self.unit}"
            f"{', NESTED in the file' if self.nest else ''}{holes})"
        )

    def _repr_html_(self) -> str:
        """Show the map in a notebook."""
        seen = self.values[~np.isnan(self.values)]
        rows = {
            "column": f"{self.column}, of {len(self.columns) or 1}",
            "Nside": self.nside,
            "order, unit in the file": f"{'NESTED' if self.nest else 'RING'}, {self.unit}",
            "frame": self.coord or "not named",
            "missing": f"{self.n_missing} of {self.values.size} pixels",
            "rms": f"{seen.std():.4g} µK" if seen.size else "none",
        }
        return card(self.path.name, rows, lambda: thumbnail(self.values))

    @property
    def frame(self) -> Frame:
        """The frame, with the header cards of an unknown one."""
        return Frame(self.coord, self.unknown_frame)

    @property
    def stokes(self) -> str | None:
        """Stokes parameter, from the column names: "T", "Q", "U", ...; None if they do not say."""
        return stokes_of(self.column, self.columns)

    @property
    def n_missing(self) -> int:
        """Number of pixels without a value."""
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
        Unit of the numbers, for a file that names none.
    single
        Keep float32 values of a float32 file, which takes half the memory. The conversion to µK
        then rounds in float32.
    hdu
        The table, by number of its HDU from 0 (the primary one) or by its name (EXTNAME); the first
        table with a HEALPix map if None.
    missing
        One or more values that mean "no data" in this file, in its unit, to the rounding of
        float32. NaN, infinity, UNSEEN and the values that the header names (BAD_DATA, TNULLn,
        BLANK) always mean "no data".
    nside
        Resolution at which to read a multi-order map with cells of several sizes. The pixels of a
        larger cell get its value; a pixel with smaller cells gets their mean.
    frame
        Frame of a file that names none or an unknown one: G, E, C or a word for it.
    like
        Another map, or the path of a mask, that must have the same Nside and frame. If neither the
        file nor `unit` gives a unit, the unit of that map is assumed, with a warning.

    Returns
    -------
        The map, in µK and RING order, with the unit, ordering and frame of its file.

    Raises
    ------
    ValueError
        The file is damaged or holds no map of a temperature, or it holds a value far outside the
        others that seems to mean "no data"; the message says what is wrong and what to do. Also if
        `unit` or `frame` contradicts the file, or if Nside or frame differs from that of `like`.
    OSError
        The file cannot be read.

    Examples
    --------
    >>> import numpy as np, skyfill
    >>> skyfill.write_map("sky.fits", np.full(12 * 16**2, 42.0), unit="K_CMB")
    >>> sky = skyfill.read_map("sky.fits")
    >>> sky.nside, sky.unit, sky.values.shape
    (16, 'K_CMB', (3072,))
    >>> round(float(sky.values.mean()), 3)  # µK, whatever the file has
    42.0

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
            f"{read} holds numbers up to {max(-low, high):.0e} {name}, too large for temperatures; "
            "put UNSEEN (-1.6375e30) where nothing is observed"
        )
    values = read.ring(values)
    if largest > float(
        np.finfo(values.dtype).max
    ):  # values that other programs write for "no data"
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
    """Find the pixels with a value in a column of a HEALPix FITS file, of any unit.

    Parameters
    ----------
    path, field, hdu, missing, nside, frame, like
        As for `read_map`.

    Returns
    -------
        ``(npix,)``, RING, true where the pixel has a value.

    Raises
    ------
    ValueError
        The file is damaged or holds no map, or its Nside or frame differs from that of `like`.
    OSError
        The file cannot be read.

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
    """Read a column; refuse an empty one, a mask, and unknown values for missing data."""
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
    """Refuse a value that seems to mean "no data" but is not known as such."""
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
    """Write a number with more and more digits."""
    yield from (f"{value:.{digits}g}" for digits in (6, 9, 17))


def _unit_of(read: Read, given: str | None, like: SkyMap | None) -> str:
    """Find the unit of a map: that of the file, the given one, or that of another map."""
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
            raise ValueError(f"{read} is in {own} ({key}), not in {given}; drop `unit`, or, {mend}")
        return own
    if own:
        parsed = parse_unit(own)
        if parsed is not None and parsed.power == 1:
            return own
        what = "a variance" if parsed is not None and parsed.power == 2 else "not a CMB temperature"
        raise ValueError(
            f"{read} is in {own} ({key}), {what}; choose another column by `field`, convert the"
            f" map, or, {mend}"
        )
    if like is None:
        raise ValueError(f"{read} has no unit ({key}); pass `unit` K, mK or uK")
    warnings.warn(
        f"{read} has no unit ({key}); {like.unit}, the unit of {like.path}, is assumed",
        stacklevel=3,
    )
    return like.unit


def refuse_flattened(sky: SkyMap) -> None:
    """Refuse a map read from a multi-order file with cells of several sizes.

    `write_filled` cannot write such a file back.

    Raises
    ------
    ValueError
        The map was read from such a file.
    """
    if sky.flattened:
        raise ValueError(
            f"{sky.path}: a multi-order map with cells of several sizes cannot be written back in "
            "its form; write the filled sky with skyfill.write_map, or flatten the file first "
            "with ligo-skymap-flatten"
        )
