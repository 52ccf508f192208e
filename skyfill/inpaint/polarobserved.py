"""What is observed of a map of T, Q and U, or of Q and U, behind its masks."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.healpix.arrays import as_map
from skyfill.holes import UnusableSkyError, holes_to_fill
from skyfill.prior import PolarizedPrior

__all__ = ["components_of", "known_pixels", "observed_pixels", "power_over_prior"]

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


def power_over_prior(
    skies: Sequence[Map], seen: Mask, prior: PolarizedPrior, noise: Map | None
) -> tuple[float, float]:
    """Compare the power of the observed Q and U with that of the prior.

    Parameters
    ----------
    skies
        Q and U, ``(npix,)``, µK.
    seen
        ``(npix,)``, True where they are observed.
    prior
        The prior.
    noise
        ``(3, npix)``, QQ, QU and UU of the noise of each pixel, µK²; None for that of the prior.

    Returns
    -------
    The ratio of the two, and its standard error.
    """
    power = sum(float(np.mean(np.square(sky[seen]))) for sky in skies)
    cl = prior.signal_cl()
    modes = (2 * np.arange(cl.shape[2]) + 1) / (4 * np.pi)
    white = prior.white_cl[1] * seen.size / (4 * np.pi)
    if noise is not None:
        white = float(noise[[0, 2]][:, seen].mean())
    expected = float(modes @ (cl[1, 1] + cl[2, 2])) + 2 * white
    spread = float((modes**2 / np.maximum(4 * np.pi * modes, 1)) @ (cl[1, 1] ** 2 + cl[2, 2] ** 2))
    if expected <= 0:
        return math.inf, 0.0  # a prior without power and noise describes no sky
    error = math.sqrt(2 * (spread + 2 * white**2 / seen.size) / seen.mean()) / expected
    return power / expected, error
