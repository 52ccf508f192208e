"""Take maps and masks as users of healpy and astropy hold them.

Inside the library a map is (npix,) float32 or float64, RING, NaN where missing, and a mask (npix,)
bool, True where observed; with a leading Stokes axis where a function takes three components (see
`skyfill.healpix.stokes`). Every public function that takes one converts it here, so that lists,
integers, masked arrays, UNSEEN and quantities mean the same everywhere. Arrays that have the
library's form already are passed on without a copy; a caller's array is never changed.

An array does not know its order: all are taken as RING.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.healpix.checks import check_angle, in_radians
from skyfill.healpix.stokes import nside_of, one_component, same_sky, sky_shape

__all__ = [
    "MASK_ROUNDING",
    "UNSEEN",
    "as_map",
    "as_mask",
    "as_skies",
    "as_stokes_map",
    "as_stokes_mask",
    "as_sums",
    "check_angles",
    "pair_of",
]

Map = NDArray[Any]

UNSEEN = -1.6375e30
"""What HEALPix arrays hold in missing pixels."""

MASK_ROUNDING = 1e-4
"""How far from 0 and 1 the numbers of a mask may be: what programs leave of them after a transform
and back."""

#: UNSEEN is recognised to this relative accuracy, as healpy does.
_UNSEEN_ROUNDING = 1e-5
#: Pixels that are looked at together: what is compared stays in the processor's cache.
_PART = 2**18
#: Units of CMB temperature that astropy does not convert: those that pysm3 and others define.
_CMB_UNITS = {"K": 1e6, "mK": 1e3, "uK": 1.0, "muK": 1.0, "µK": 1.0}
_CMB_UNIT = re.compile(r"(?P<unit>K|mK|uK|muK|µK)_?(?i:CMB)")


def as_map(values: ArrayLike, what: str = "values", *, taker: str = "", whole: bool = True) -> Map:
    """Return a map of one component as the library holds it.

    Parameters
    ----------
    values
        One map in RING order, (npix,) or (1, npix): a list or an array of numbers of any kind and
        byte order; a masked array (masked is missing); a `skyfill.SkyMap`; or an astropy Quantity
        of K, mK, µK or K_CMB, which is converted to µK. NaN, inf and UNSEEN (-1.6375e30) are
        missing.
    what
        Name of the argument, for error messages.
    taker
        The function that takes one component, for the refusal of three.
    whole
        Whether it must be a whole sky; if not, (n,) values of some pixels will do.

    Returns
    -------
        (npix,), float32 where that was given, else float64; NaN where missing. It is `values`
        itself where nothing had to be converted.

    Raises
    ------
    ValueError
        It is no such map: several of them, three components, numbers that are no numbers, another
        unit.

    """
    raw, factor = _plain(values, what)
    raw = one_component(_array(raw, what), what, taker)
    if whole:
        nside_of(raw, what)
    return _map(raw, factor, what)


def as_stokes_map(values: ArrayLike, what: str = "values") -> Map:
    """Return a map of one component or three (I, Q, U) as the library holds it.

    Parameters
    ----------
    values
        As for `as_map`, (npix,), (1, npix) or (3, npix).
    what
        Name of the argument, for error messages.

    Returns
    -------
        In the shape of `values`; else as `as_map` returns it.

    Raises
    ------
    ValueError
        It is no such map; for one, its leading axis has another length.

    """
    raw, factor = _plain(values, what)
    raw = _array(raw, what)
    sky_shape(raw, what)
    return _map(raw, factor, what)


def _map(raw: NDArray[Any], factor: float, what: str) -> Map:
    """Give an array of one component or several the library's types and missing values."""
    masked = np.ma.getmaskarray(raw) if isinstance(raw, np.ma.MaskedArray) else None
    array = np.ma.getdata(raw)
    if array.dtype.kind == "b":
        raise ValueError(
            f"{what}: it holds True and False, as masks do, and no map; give the map first, then "
            "the mask"
        )
    kind = np.float32 if array.dtype.type in (np.float32, np.float16) else np.float64
    if factor != 1.0:
        kind = np.float64
    result = np.ascontiguousarray(array, dtype=kind)
    ours = not np.may_share_memory(result, array)
    if masked is not None and masked.any():
        result = result if ours else result.copy()
        result[masked] = np.nan
        ours = True
    result = _without_sentinels(result, ours=ours)
    if factor != 1.0:  # after UNSEEN is gone: a multiple of it would pass for a temperature
        result = np.multiply(result, factor)
    return result


def as_mask(observed: ArrayLike, what: str = "observed", *, taker: str = "") -> NDArray[np.bool_]:
    """Return a mask of one component as the library holds it.

    Parameters
    ----------
    observed
        One mask in RING order, (npix,) or (1, npix), True or 1 where observed: a list or an array
        of bool, of the integers 0 and 1, or of floats that are 0 and 1 to within 1e-5. Pixels
        without a value (masked, NaN, inf, UNSEEN) are unobserved.
    what
        Name of the argument, for error messages.
    taker
        The function that takes one component, for the refusal of three.

    Returns
    -------
        (npix,) bool, True where observed. It is `observed` itself where that is such an array.

    Raises
    ------
    ValueError
        It is no such mask: several of them, three components, values between 0 and 1 (an apodised
        mask), others.

    """
    raw = one_component(_mask_numbers(observed, what), what, taker)
    nside_of(raw, what)
    return _mask(raw, what)


def as_stokes_mask(observed: ArrayLike, what: str = "observed") -> NDArray[np.bool_]:
    """Return a mask for one component or three (I, Q, U) as the library holds it.

    Parameters
    ----------
    observed
        As for `as_mask`, (npix,), (1, npix) or (3, npix).
    what
        Name of the argument, for error messages.

    Returns
    -------
        In the shape of `observed`, bool, True where observed.

    Raises
    ------
    ValueError
        It is no such mask; for one, its leading axis has another length.

    """
    raw = _mask_numbers(observed, what)
    sky_shape(raw, what)
    return _mask(raw, what)


def _mask_numbers(observed: ArrayLike, what: str) -> NDArray[Any]:
    """Take the numbers out of what a mask is held in."""
    if _is_sky(observed):
        raise ValueError(
            f"{what}: it is a SkyMap, whose numbers are temperatures; read a mask with "
            "skyfill.read_mask"
        )
    raw, _ = _plain(observed, what, temperature=False)
    return _array(raw, what)


def _mask(raw: NDArray[Any], what: str) -> NDArray[np.bool_]:
    """Give an array of one component or several the library's type of a mask."""
    masked = np.ma.getmaskarray(raw) if isinstance(raw, np.ma.MaskedArray) else None
    array = np.ma.getdata(raw)
    if array.dtype.kind == "b":
        result = np.ascontiguousarray(array)
    else:
        flat = None if masked is None else masked.reshape(-1)
        result = _from_numbers(array.reshape(-1), flat, what).reshape(array.shape)
    return result & ~masked if masked is not None and masked.any() else result


def pair_of(
    values: ArrayLike, observed: ArrayLike, *, taker: str = ""
) -> tuple[Map, NDArray[np.bool_]]:
    """Return a map and its mask, one component each; ValueError where their Nside differ."""
    sky, seen = as_map(values, taker=taker), as_mask(observed, taker=taker)
    return sky, same_sky(sky, seen)


def _from_numbers(
    array: NDArray[Any], masked: NDArray[np.bool_] | None, what: str
) -> NDArray[np.bool_]:
    """Turn zeros and ones into a mask, or say what else there is."""
    result = np.empty(array.size, np.bool_)
    low, high, between = 0.0, 1.0, False
    for start in range(0, array.size, _PART):
        here = slice(start, start + _PART)
        part = array[here]
        if part.dtype.kind == "f":
            part = part.astype(np.float64)
            unknown = ~np.isfinite(part) | _is_unseen(part)
        else:
            unknown = np.zeros(part.size, np.bool_)
        if masked is not None:
            unknown |= masked[here]
        ones = np.abs(part - 1.0) <= MASK_ROUNDING
        if not (ones | (np.abs(part) <= MASK_ROUNDING) | unknown).all():
            known = part[~unknown]
            low, high = min(low, float(known.min())), max(high, float(known.max()))
            between = True
        result[here] = ones & ~unknown
    if low < -MASK_ROUNDING or high > 1 + MASK_ROUNDING:
        raise ValueError(
            f"{what}: it holds {low:.6g} to {high:.6g}, so it is no mask of 0 and 1; give the map "
            "first, then the mask, or compare it with a number: mask > 0.5"
        )
    if between:
        raise ValueError(
            f"{what}: it holds values between 0 and 1 (apodised?); say which pixels are observed: "
            "mask > 0.5"
        )
    return result


def _is_sky(values: object) -> bool:
    """Tell a `skyfill.SkyMap`, whose room lies higher than this one."""
    return hasattr(values, "unit_to_uk") and hasattr(values, "values")


def _plain(values: object, what: str, *, temperature: bool = True) -> tuple[Any, float]:
    """Take the numbers out of a SkyMap or a Quantity; give what they are multiplied with for µK."""
    if _is_sky(values):
        return values.values, 1.0  # type: ignore[attr-defined]
    unit = getattr(values, "unit", None)
    if unit is None or not hasattr(values, "to_value"):
        return values, 1.0
    number = values.value  # type: ignore[attr-defined]
    # astropy's own masked quantities keep their mask apart.
    if hasattr(number, "unmasked"):
        number = np.ma.array(number.unmasked, mask=number.mask)
    if not temperature:
        if str(unit):
            raise ValueError(f"{what}: a mask has no unit, got {unit}")
        return number, 1.0
    return number, _in_uk(unit, what)


def _in_uk(unit: Any, what: str) -> float:  # noqa: ANN401 (astropy ships no types)
    """Return how many µK an astropy unit is."""
    try:
        return float(unit.to("uK"))
    except ValueError:  # astropy's UnitsError is one
        pass
    named = _CMB_UNIT.fullmatch(str(unit).strip())
    if named is None:
        said = str(unit) or "no unit at all (dimensionless)"
        raise ValueError(
            f"{what}: a quantity of {said} is no CMB temperature; convert it to K, mK or uK"
        )
    return _CMB_UNITS[named["unit"]]


def _array(values: object, what: str) -> NDArray[Any]:
    """Return an array of numbers or truth values, masked or not, in this machine's byte order."""
    try:
        array = values if isinstance(values, np.ma.MaskedArray) else np.asarray(values)
    except (TypeError, ValueError):  # lists of different lengths, or of quantities
        raise ValueError(f"{what}: it is no array of numbers; give one map, (npix,)") from None
    if array.dtype.names:
        raise ValueError(
            f"{what}: it is a table with columns {', '.join(array.dtype.names)}; give one of them"
        )
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{what}: it holds {array.dtype.name}, no real numbers")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _is_unseen(part: NDArray[Any]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.abs(part - UNSEEN) <= _UNSEEN_ROUNDING * abs(UNSEEN)
    return found


def _without_sentinels(values: NDArray[Any], *, ours: bool) -> NDArray[Any]:
    """Put NaN for UNSEEN and inf; in a copy, if there are any and the array is a caller's."""
    # Most maps have none: the smallest and the largest number tell, in a pass without a copy.
    low, high = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
    if not (low <= UNSEEN * (1 - _UNSEEN_ROUNDING) or np.isinf(high)):
        return values
    result = values if ours else values.copy()
    flat = result.reshape(-1)  # a view: the array is contiguous
    for start in range(0, flat.size, _PART):
        part = flat[start : start + _PART]
        part[np.isinf(part) | _is_unseen(part)] = np.nan
    return result


def check_angles(
    values: ArrayLike, what: str, *, least: float = 0.0, most: float = math.pi
) -> NDArray[np.float64]:
    """Return angles in radians, (n,), or raise ValueError if one is outside of a range.

    Parameters
    ----------
    values
        One angle or several, radians; or an astropy Quantity of angles.
    what
        Name of the argument, for error messages.
    least, most
        The range, radians, both inclusive; more by a rounding is taken.

    """
    try:
        angles = np.atleast_1d(np.asarray(in_radians(values, what), dtype=np.float64))
    except (TypeError, ValueError):
        raise ValueError(f"{what} must be one angle or several, in radians") from None
    if angles.ndim != 1:
        raise ValueError(f"{what} must be one-dimensional, (n,), got the shape {angles.shape}")
    slack = 1e-9  # of arithmetic: np.radians(90) is π/2 to the last bit, its sums are not
    wrong = ~((angles >= least - slack) & (angles <= most + slack))
    if wrong.any():
        check_angle(float(angles[wrong][0]), what, least=least, most=most)
    return angles


def as_skies(
    values: ArrayLike | Iterable[ArrayLike], what: str = "values", *, taker: str = ""
) -> Iterator[Map]:
    """Give one map, or several one after the other, each as `as_map` returns it.

    Parameters
    ----------
    values
        One map, as for `as_map`; an array (n, npix) of n maps of one thing, such as realizations;
        or anything that gives maps, which are held one at a time. Here (3, npix) is three
        realizations of one component; three components of one sky are (1, 3, npix).
    what
        Name of the argument, for error messages.
    taker
        The function that takes one component, for the refusal of three.

    """
    if _is_sky(values) or (isinstance(values, list | tuple) and values and _is_number(values[0])):
        yield as_map(values, what, taker=taker)  # type: ignore[arg-type]
        return
    if isinstance(values, np.ndarray) and values.ndim not in (2, 3):
        yield as_map(values, what, taker=taker)
        return
    if not isinstance(values, Iterable):
        raise ValueError(  # noqa: TRY004 (as what is no map is everywhere)
            f"{what}: it is no map; give (npix,), or several"
        )
    for number, each in enumerate(values):
        yield as_map(each, f"{what}[{number}]", taker=taker)


def _is_number(value: object) -> bool:
    return np.ndim(value) == 0 and not _is_sky(value)  # type: ignore[arg-type]


def as_sums(
    values: ArrayLike, what: str = "values", *, taker: str = "", stokes: bool = False
) -> NDArray[Any]:
    """Return a map, or a mask to be summed or cut as zeros and ones.

    As `as_map` and `as_mask` do; with ``stokes`` as `as_stokes_map` and `as_stokes_mask` do.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind == "b":
        return as_stokes_mask(values, what) if stokes else as_mask(values, what, taker=taker)
    return as_stokes_map(values, what) if stokes else as_map(values, what, taker=taker)
