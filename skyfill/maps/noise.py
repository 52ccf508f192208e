"""Read the noise in every pixel of a map, given as a standard deviation or a variance.

Files hold a standard deviation, a variance (Planck's II_COV, in K_CMB^2), an inverse variance
(1/K^2), or a number of observations. The unit of the column tells which, then its name. Numbers of
observations are refused, because the noise of one observation is not in the file.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skyfill.maps.reading import Read, read_file
from skyfill.maps.sentinels import find_sentinel
from skyfill.maps.skymap import SkyMap
from skyfill.maps.units import Noise, Unit, noise_of_name, parse_unit, stokes_of

__all__ = ["read_noise"]

_KINDS: dict[int, Noise] = {1: "rms", 2: "variance", -2: "inverse variance"}
_POWERS: dict[Noise, int] = {kind: power for power, kind in _KINDS.items()}
_SPELLED = {1: "uK", 2: "uK^2", -2: "1/uK^2"}
_WORDS: dict[Noise, str] = {
    "rms": "a standard deviation",
    "variance": "a variance",
    "inverse variance": "an inverse variance",
    "weights": "weights",
    "hits": "a number of observations",
}


def read_noise(
    path: str | os.PathLike[str],
    *,
    field: int | str = 0,
    unit: str | None = None,
    hdu: int | str | None = None,
    missing: float | Sequence[float] | None = None,
    variance: bool = False,
    frame: str | None = None,
    like: SkyMap | None = None,
) -> NDArray[np.float64]:
    """Read the standard deviation of the noise in every pixel from a HEALPix FITS file.

    A column in K is read as a standard deviation, in K^2 as a variance, in 1/K^2 as an inverse
    variance. If the file names no unit, the column's name tells: II_COV, VAR, STD, RMS, IVAR, ...

    Parameters
    ----------
    path
        The file: RING or NESTED, full sky or partial, plain or gzip.
    field
        The column, by number from 0 or by name.
    unit
        Unit of the numbers, for a file that names none: "uK", "uK^2", "1/uK^2".
    hdu, missing
        As for `skyfill.read_map`.
    variance
        The numbers are a variance, for a file whose unit and name do not say so. `unit` may then be
        that of the standard deviation.
    frame
        Frame of a file that names none or an unknown one: G, E, C or a word for it.
    like
        The map, which must have the same Nside and frame. If neither the file nor `unit` gives a
        unit, the unit of the map is assumed, with a warning.

    Returns
    -------
        ``(npix,)``, the standard deviation in µK, RING, NaN where missing.

    Raises
    ------
    ValueError
        The column does not hold noise of a temperature map, or counts observations; its unit, its
        name, `unit` and `variance` contradict each other; or the file is damaged.
    OSError
        The file cannot be read.

    """
    read = read_file(Path(path), field, hdu=hdu, missing=missing, frame=frame, like=like)
    _refuse_other_columns(read, by_name=isinstance(field, str) and not field.isdecimal())
    scale, kind = _scale_of(read, unit, like, variance=variance)
    values = _without_sentinel(read)
    low = float(np.fmin.reduce(values, initial=np.inf))
    if low == np.inf:
        raise ValueError(f"{read} has no valid pixel at all")
    if low < 0:
        raise ValueError(
            f"{read} holds {low:.6g}, and {_WORDS[kind]} is not negative; choose another column by"
            " `field`"
        )
    values = read.ring(values).astype(np.float64, copy=False)
    if kind != "rms":
        np.sqrt(values, out=values)
    if kind == "inverse variance":
        with np.errstate(divide="ignore"):
            np.reciprocal(values, out=values)
        values[np.isinf(values)] = np.nan  # a weight of 0: the noise is unknown there
    values *= scale
    return values


def _without_sentinel(read: Read) -> NDArray[Any]:
    """Set a value that seems to mean "no data" to NaN, with a warning."""
    values = read.values
    found = find_sentinel(values)
    negative = np.unique(values[values < 0])
    if found is None and negative.size != 1:
        return values
    value = float(negative[0]) if found is None else found.value
    here = values == value
    rest = values[~here & ~np.isnan(values)]
    low, high = (float(limit(rest, initial=np.nan)) for limit in (np.fmin.reduce, np.fmax.reduce))
    warnings.warn(
        f"{read}: {np.count_nonzero(here)} pixels hold exactly {value:.9g}, while the others lie"
        f" between {low:.4g} and {high:.4g}; it is taken for missing data",
        stacklevel=3,
    )
    cleared: NDArray[Any] = np.where(here, np.nan, values)
    return cleared


def _refuse_other_columns(read: Read, *, by_name: bool) -> None:
    """Refuse noise of polarization, and a map if another column holds its noise."""
    name = read.column.name
    stokes = stokes_of(name, [other.name for other in read.table.fields])
    if stokes not in (None, "T", "TT"):
        raise ValueError(
            f"{read} is the noise of Stokes {stokes}, not of temperature; choose another column by"
            " `field`"
        )
    if by_name or noise_of_name(name) is not None:
        return
    for other in read.table.fields:
        fits = stokes_of(other.name) in (None, "T", "TT")
        if fits and noise_of_name(other.name) in _POWERS:
            raise ValueError(
                f"{read} is not named as noise, but column {other.name!r} is; pass "
                f"`field={other.name!r}`"
            )


@dataclass(frozen=True)
class _Said:
    """What kind of noise a column holds, and what says so."""

    unit: Unit
    words: str


def _scale_of(
    read: Read, given: str | None, like: SkyMap | None, *, variance: bool
) -> tuple[float, Noise]:
    """Find the kind of noise in a column, and the factor to µK."""
    named = noise_of_name(read.column.name)
    said = _said(read, given, named, variance=variance)
    if said is None:
        kind: Noise = "variance" if variance else named or "rms"
        _refuse_without_unit(read, kind, known=like is not None)
        if like is None:  # polarization has been refused already
            raise ValueError(f"{read} has no unit")
        power = _POWERS[kind]
        spelled = {1: like.unit, 2: f"({like.unit})^2", -2: f"1/({like.unit})^2"}[power]
        warnings.warn(
            f"{read} has no unit (TUNIT{read.column.number}); its numbers are taken for"
            f" {_WORDS[kind]} in {spelled}, as {like.path} is in {like.unit}",
            stacklevel=3,
        )
        return like.unit_to_uk, kind
    kind = _KINDS[said.unit.power]
    contrary = "variance" if variance else named
    if contrary == "weights" and kind == "inverse variance":
        contrary = None
    if contrary is not None and contrary != kind:
        by = "`variance=True` says" if variance else "its name says"
        mend = _mend_unit(read)
        if given is not None and not variance and contrary in _POWERS:
            mend = f"pass `unit='{_SPELLED[_POWERS[contrary]]}'`, say, or rename the column"
        raise ValueError(
            f"{read} is {_WORDS[kind]} by its unit, {said.words}, and {by} {_WORDS[contrary]};"
            f" {mend}"
        )
    return float(said.unit.uk ** (1 / said.unit.power)), kind


def _said(read: Read, given: str | None, named: Noise | None, *, variance: bool) -> _Said | None:
    """Find the unit, from the file or the caller; None if neither gives one."""
    own, key = read.table.unit(read.column)
    if key not in ("its name", f"TUNIT{read.column.number}") and named not in (None, "rms"):
        own = ""  # the header's unit for all columns is that of the map
    asked = None if given is None else _noise_unit(read, given)
    if own:
        unit = parse_unit(own)
        if unit is None or unit.power not in _KINDS:
            if named == "hits" or noise_of_name(own) == "hits":
                _refuse_hits(read)
            raise ValueError(
                f"{read} is in {own} ({key}), not a unit of noise; choose another column by "
                f"`field`, or {_mend_unit(read)}"
            )
        if asked is not None and asked != unit:
            raise ValueError(
                f"{read} is in {own} ({key}) and not in {given}; drop `unit`, or {_mend_unit(read)}"
            )
        return _Said(unit, f"{own} ({key})")
    if asked is None:
        return None
    if asked.power == 1 and variance:  # the unit of the standard deviation
        return _Said(Unit(asked.uk**2, 2), f"{given} squared")
    if asked.power == 1 and named == "variance":
        return _Said(Unit(asked.uk**2, 2), f"{given} squared")
    return _Said(asked, f"{given} (`unit`)")


def _noise_unit(read: Read, given: str) -> Unit:
    """Parse a unit given by the caller."""
    unit = parse_unit(given)
    if unit is None or unit.power not in _KINDS:
        raise ValueError(
            f"{read}: {given!r} is not a unit of noise; pass `unit` K, mK or uK, `unit='uK^2'`"
            " or `unit='1/uK^2'`"
        )
    return unit


def _refuse_without_unit(read: Read, kind: Noise, *, known: bool) -> None:
    """Refuse numbers that cannot be interpreted without a unit."""
    named = noise_of_name(read.column.name)
    integers = read.column.dtype.kind in "iu"
    whole = integers and (read.column.scale, read.column.zero) == (1.0, 0.0)
    if kind == "hits" or (kind == "rms" and whole):
        _refuse_hits(read)
    if kind == "rms" and named is None and _counts(read.values):
        raise ValueError(
            f"{read} has no unit (TUNIT{read.column.number}) and holds whole numbers, like counts "
            "of observations; pass `unit` K, mK or uK if it is the standard deviation, or give"
            " sigma_0 / sqrt(N_obs) as a map"
        )
    if kind in ("weights", "inverse variance"):
        raise ValueError(
            f"{read} is {_WORDS[kind]} without a unit (TUNIT{read.column.number}); pass"
            " `unit='1/uK^2'` if it is an inverse variance, or give sigma_0 / sqrt(weight) as a map"
        )
    if not known:
        raise ValueError(
            f"{read} has no unit (TUNIT{read.column.number}); pass `unit` K, mK or uK,"
            " `unit='uK^2'` if it is a variance"
        )


def _counts(values: NDArray[np.floating]) -> bool:
    """Tell whether values are whole numbers, with more than one distinct value."""
    known = values[~np.isnan(values)]
    return bool(known.size and (known == np.rint(known)).all() and known.min() < known.max())


def _refuse_hits(read: Read) -> None:
    raise ValueError(
        f"{read} counts observations, which does not say how large the noise is; give"
        " sigma_0 / sqrt(N_obs) as a map, with the noise sigma_0 of one observation"
    )


def _mend_unit(read: Read) -> str:
    """Say how to correct a header."""
    key = f"TUNIT{read.column.number}"
    return (
        "if the header is wrong, set it, in Python: astropy.io.fits.setval("
        f"{str(read.table.path)!r}, {key!r}, value='uK', ext={read.table.hdu.index})"
    )
