"""What is observed of a map of T, Q and U, or of Q and U, behind its masks."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.healpix.arrays import as_map
from skyfill.holes import UnusableSkyError, holes_to_fill

__all__ = ["components_of", "known_pixels", "observed_pixels"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]


def components_of(values: ArrayLike, *, single: bool) -> list[Map]:
    """Check a map of T, Q and U, or of Q and U, and give its components.

    Parameters
    ----------
    values
        ``(3, npix)`` or ``(2, npix)``, µK, RING, or a list of such maps.
    single
        Whether a component may stay in float32.

    Raises
    ------
    ValueError
        The shape is another one.
    """
    listed = values if isinstance(values, list | tuple) else np.asarray(values)
    if len(listed) not in (2, 3) or any(np.ndim(sky) != 1 for sky in listed):
        raise ValueError(
            f"values must be (3, npix), T, Q and U, or (2, npix), Q and U, got {np.shape(listed)}"
        )
    skies = [np.asarray(sky, dtype=None if single else np.float64) for sky in listed]
    return [as_map(sky, taker="PolarizedInpainter") for sky in skies]


def known_pixels(skies: Sequence[Map], masks: Sequence[Mask]) -> list[Mask]:
    """Combine masks and missing values: of T, if it is there, and of P.

    Parameters
    ----------
    skies
        The components, ``(npix,)``, NaN where missing.
    masks
        ``(npix,)``, True where observed: of T and of P, or one for both.
    """
    q, u = (np.isfinite(sky) for sky in skies[-2:])
    seen = [masks[-1] & q & u]
    return [masks[0] & np.isfinite(skies[0]), *seen] if len(skies) == 3 else seen


def observed_pixels(skies: Sequence[Map], masks: Sequence[Mask]) -> list[Mask]:
    """Give `known_pixels`, and warn of those that the map misses where a mask is 1.

    Raises
    ------
    UnusableSkyError
        A field has no observed pixel or too large a hole, or there is no hole at all.
    """
    q, u = (np.isfinite(sky) for sky in skies[-2:])
    odd = int(np.count_nonzero((q != u) & masks[-1]))
    if odd:
        warnings.warn(
            f"{odd} pixels have only one of Q and U: both count as missing there", stacklevel=4
        )
    seen = known_pixels(skies, masks)
    names = ("T", "P")[-len(seen) :]
    for name, mask, known in zip(names, [masks[0], masks[-1]][-len(seen) :], seen, strict=True):
        missing = int(np.count_nonzero(mask & ~known)) - (odd if name == "P" else 0)
        if missing:
            warnings.warn(
                f"{name} is missing where the mask is 1, in {missing} of its pixels: they are"
                " filled as well",
                stacklevel=4,
            )
        if not known.any():
            raise UnusableSkyError(f"no pixel of {name} is observed: nothing is known of it")
        if not known.all():
            holes_to_fill(known)  # refuses too large a hole
    if all(each.all() for each in seen):
        raise UnusableSkyError("no pixel is missing in T, Q or U: there is nothing to fill")
    return seen
