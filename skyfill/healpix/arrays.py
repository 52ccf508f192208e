"""Convert maps and masks of users of healpy and astropy to the library's form.

Inside the library a map is (npix,) float32 or float64, RING, NaN where missing, and a mask (npix,)
bool, True where observed. Functions of three components take a leading Stokes axis (see
`skyfill.healpix.stokes`). Every public function converts its maps and masks here, so that lists,
integers, masked arrays, UNSEEN and quantities mean the same everywhere. An array that already has
the library's form is not copied. A caller's array is never changed.

Arrays do not record their ordering: all are taken to be RING.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.healpix.checks import check_angle, in_radians
from skyfill.healpix.jit import by_pieces
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
    "size_in_uk",
]

Map = NDArray[Any]

UNSEEN = -1.6375e30
"""Value of missing pixels in HEALPix arrays."""

MASK_ROUNDING = 1e-4
"""Largest deviation of a mask's numbers from 0 and 1: programs round masks when they transform them
and back."""

#: UNSEEN is recognised to this relative accuracy, as healpy does.
_UNSEEN_ROUNDING = 1e-5
#: Pixels that are compared at a time: few enough for the processor's cache.
_PART = 2**18
#: Units of CMB temperature that pysm3 and others define and astropy does not convert.
_CMB_UNITS = {"K": 1e6, "mK": 1e3, "uK": 1.0, "muK": 1.0, "µK": 1.0}
_CMB_UNIT = re.compile(r"(?P<unit>K|mK|uK|muK|µK)_?(?i:CMB)")


def as_map(values: ArrayLike, what: str = "values", *, taker: str = "", whole: bool = True) -> Map:
    """Return a map of one component in the library's form.

    Parameters
    ----------
    values
        One map in RING order, (npix,) or (1, npix): a list or an array of numbers of any kind and
        byte order; a masked array (masked is missing); a `skyfill.SkyMap`; or an astropy Quantity
        in K, mK, µK or K_CMB, which is converted to µK. NaN, inf and UNSEEN (-1.6375e30) are
        missing.
    what
        Name of the argument, for error messages.
    taker
        Name of the calling function, for the error message about three components.
    whole
        Whether the map must cover the whole sky. If not, values of some pixels, (n,), are accepted.

    Returns
    -------
        ``(npix,)``, float32 if ``values`` is float32, else float64; NaN where missing. If nothing
        has to be converted, ``values`` itself.

    Raises
    ------
    ValueError
        ``values`` has several maps or three components, is not an array of real numbers, or is not
        in a unit of CMB temperature.

    """
    raw, factor = _plain(values, what)
    raw = one_component(_array(raw, what), what, taker)
    if whole:
        nside_of(raw, what)
    return _map(raw, factor, what)


def as_stokes_map(values: ArrayLike, what: str = "values") -> Map:
    """Return a map of one component or three (I, Q, U) in the library's form.

    Parameters
    ----------
    values
        As for `as_map`, (npix,), (1, npix) or (3, npix).
    what
        Name of the argument, for error messages.

    Returns
    -------
        The map, in the shape of ``values``; otherwise as for `as_map`.

    Raises
    ------
    ValueError
        The leading axis does not have the length 1 or 3; or as for `as_map`.

    """
    raw, factor = _plain(values, what)
    raw = _array(raw, what)
    sky_shape(raw, what)
    return _map(raw, factor, what)


def _map(raw: NDArray[Any], factor: float, what: str) -> Map:
    """Convert an array to the library's dtypes, with NaN for missing values."""
    masked = np.ma.getmaskarray(raw) if isinstance(raw, np.ma.MaskedArray) else None
    array = np.ma.getdata(raw)
    if array.dtype.kind == "b":
        raise ValueError(
            f"{what}: it holds True and False, so it is a mask and not a map; give the map first, "
            "then the mask"
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
    if factor != 1.0:  # after UNSEEN is replaced: its multiple would look like a temperature
        result = np.multiply(result, factor)
    return result


def as_mask(observed: ArrayLike, what: str = "observed", *, taker: str = "") -> NDArray[np.bool_]:
    """Return a mask of one component in the library's form.

    Parameters
    ----------
    observed
        One mask in RING order, (npix,) or (1, npix), True or 1 where observed: a list or an array
        of bool, of the integers 0 and 1, or of floats that are 0 and 1 to within 1e-5. Pixels
        without a value (masked, NaN, inf, UNSEEN) are unobserved.
    what
        Name of the argument, for error messages.
    taker
        Name of the calling function, for the error message about three components.

    Returns
    -------
        ``(npix,)`` bool, True where observed. If nothing has to be converted, `observed` itself.

    Raises
    ------
    ValueError
        `observed` has several masks or three components, values between 0 and 1 (an apodised
        mask), or values outside of 0 to 1.

    """
    raw = one_component(_mask_numbers(observed, what), what, taker)
    nside_of(raw, what)
    return _mask(raw, what)


def as_stokes_mask(observed: ArrayLike, what: str = "observed") -> NDArray[np.bool_]:
    """Return a mask for one component or three (I, Q, U) in the library's form.

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
        The leading axis does not have the length 1 or 3; or as for `as_mask`.

    """
    raw = _mask_numbers(observed, what)
    sky_shape(raw, what)
    return _mask(raw, what)


def _mask_numbers(observed: ArrayLike, what: str) -> NDArray[Any]:
    """Return the numbers of a mask as an array, without unit or wrapper."""
    if _is_sky(observed):
        raise ValueError(
            f"{what}: it is a SkyMap, whose numbers are temperatures; read a mask with "
            "skyfill.read_mask"
        )
    raw, _ = _plain(observed, what, temperature=False)
    return _array(raw, what)


def _mask(raw: NDArray[Any], what: str) -> NDArray[np.bool_]:
    """Convert an array of any number of components to bool."""
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
    """Convert zeros and ones to bool; raise ValueError for other values."""
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
            f"{what}: it holds {low:.6g} to {high:.6g}, so it is not a mask of 0 and 1; give the "
            "map first, then the mask, or compare it with a number: mask > 0.5"
        )
    if between:
        raise ValueError(
            f"{what}: it holds values between 0 and 1 (apodised?); say which pixels are observed: "
            "mask > 0.5"
        )
    return result


def _is_sky(values: object) -> bool:
    """Recognise a `skyfill.SkyMap`, which this package cannot import."""
    return hasattr(values, "unit_to_uk") and hasattr(values, "values")


def _plain(values: object, what: str, *, temperature: bool = True) -> tuple[Any, float]:
    """Return the numbers of a SkyMap or a Quantity, and the factor that converts them to µK."""
    if _is_sky(values):
        return values.values, 1.0  # type: ignore[attr-defined]
    unit = getattr(values, "unit", None)
    if unit is None or not hasattr(values, "to_value"):
        return values, 1.0
    number = values.value  # type: ignore[attr-defined]
    # astropy's masked quantities store their mask separately.
    if hasattr(number, "unmasked"):
        number = np.ma.array(number.unmasked, mask=number.mask)
    if not temperature:
        if str(unit):
            raise ValueError(f"{what}: a mask has no unit, got {unit}")
        return number, 1.0
    return number, _in_uk(unit, what)


def _in_uk(unit: Any, what: str) -> float:  # noqa: ANN401 (astropy ships no types)
    """Return the size of an astropy unit in µK."""
    try:
        return float(unit.to("uK"))
    except ValueError:  # astropy's UnitsError is one
        pass
    named = _CMB_UNIT.fullmatch(str(unit).strip())
    if named is None:
        said = str(unit) or "no unit at all (dimensionless)"
        raise ValueError(
            f"{what}: a quantity in {said} is not a CMB temperature; convert it to K, mK or uK"
        )
    return _CMB_UNITS[named["unit"]]


def size_in_uk(values: object, what: str = "values") -> float | None:
    """Return the size in µK of a map's own unit; None for an array without one.

    Parameters
    ----------
    values
        The map: a SkyMap (in µK), a Quantity, or numbers.
    what
        Name of the argument, for error messages.

    Raises
    ------
    ValueError
        The unit is not one of CMB temperature.
    """
    if _is_sky(values):
        return 1.0
    unit = getattr(values, "unit", None)
    return None if unit is None or not hasattr(values, "to_value") else _in_uk(unit, what)


def _array(values: object, what: str) -> NDArray[Any]:
    """Return an array of numbers or truth values, masked or not, in this machine's byte order."""
    try:
        array = values if isinstance(values, np.ma.MaskedArray) else np.asarray(values)
    except (TypeError, ValueError):  # lists of different lengths, or of quantities
        raise ValueError(f"{what}: it is not an array of numbers; give one map, (npix,)") from None
    if array.dtype.names:
        raise ValueError(
            f"{what}: it is a table with columns {', '.join(array.dtype.names)}; give one of them"
        )
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{what}: it holds {array.dtype.name}, not real numbers")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _is_unseen(part: NDArray[Any]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.abs(part - UNSEEN) <= _UNSEEN_ROUNDING * abs(UNSEEN)
    return found


def _least_and_most(values: NDArray[Any]) -> tuple[float, float]:
    """Give the smallest and the largest value that is no NaN."""
    flat = values.reshape(-1) if values.flags.c_contiguous else values.ravel()
    found: list[tuple[float, float]] = []

    def look(here: slice) -> None:
        part = flat[here]
        found.append((np.fmin.reduce(part), np.fmax.reduce(part)))

    by_pieces(flat.size, look)
    return np.fmin.reduce([low for low, _ in found]), np.fmax.reduce([high for _, high in found])


def _without_sentinels(values: NDArray[Any], *, ours: bool) -> NDArray[Any]:
    """Replace UNSEEN and inf by NaN; a caller's array is copied first if it has any."""
    # Most maps have neither. The smallest and the largest value show that without a copy.
    low, high = _least_and_most(values)
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
        The range, radians, both inclusive, with a tolerance for rounding.

    """
    try:
        angles = np.atleast_1d(np.asarray(in_radians(values, what), dtype=np.float64))
    except (TypeError, ValueError):
        raise ValueError(f"{what} must be one angle or several, in radians") from None
    if angles.ndim != 1:
        raise ValueError(f"{what} must be one-dimensional, (n,), got the shape {angles.shape}")
    slack = 1e-9  # for rounding: np.radians(90) is exactly π/2, sums of angles are not
    wrong = ~((angles >= least - slack) & (angles <= most + slack))
    if wrong.any():
        check_angle(float(angles[wrong][0]), what, least=least, most=most)
    return angles


def as_skies(
    values: ArrayLike | Iterable[ArrayLike], what: str = "values", *, taker: str = ""
) -> Iterator[Map]:
    """Yield one map or several, one at a time, each converted by `as_map`.

    Parameters
    ----------
    values
        One map, as for `as_map`; an array (n, npix) of n maps of one component, such as
        realizations; or any iterable of maps, which are held one at a time. Here (3, npix) means
        three realizations of one component; three components of one sky are (1, 3, npix).
    what
        Name of the argument, for error messages.
    taker
        Name of the calling function, for the error message about three components.

    """
    if _is_sky(values) or (isinstance(values, list | tuple) and values and _is_number(values[0])):
        yield as_map(values, what, taker=taker)  # type: ignore[arg-type]
        return
    if isinstance(values, np.ndarray) and values.ndim not in (2, 3):
        yield as_map(values, what, taker=taker)
        return
    if not isinstance(values, Iterable):
        raise ValueError(  # noqa: TRY004 (ValueError, like all errors here)
            f"{what}: it is not a map; give (npix,), or several"
        )
    for number, each in enumerate(values):
        yield as_map(each, f"{what}[{number}]", taker=taker)


def _is_number(value: object) -> bool:
    return np.ndim(value) == 0 and not _is_sky(value)  # type: ignore[arg-type]


def as_sums(
    values: ArrayLike, what: str = "values", *, taker: str = "", stokes: bool = False
) -> NDArray[Any]:
    """Return a map, or a mask that is used as zeros and ones in sums and cuts.

    It is converted by `as_map` or `as_mask`; with ``stokes`` by `as_stokes_map` or
    `as_stokes_mask`.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind == "b":
        return as_stokes_mask(values, what) if stokes else as_mask(values, what, taker=taker)
    return as_stokes_map(values, what) if stokes else as_map(values, what, taker=taker)
