"""Approximate the posterior covariance of wide holes: what the prior says, tapered to the edges.

Σ_hh, the prior's covariance, is the inverse of the holes' precision deep inside a hole. Near an
edge the data tell what is there, on scales larger than the distance to the edge, and Σ_hh is too
large by up to signal over noise: thousands. So the prior is taken apart into octaves, each tapered
over its own wavelength,

    B = σ² W⁻¹ + 0.3 Σ_k D_k Y C_k Yᵀ D_k,   D_k = min(1, depth / depth_k),   Σ_k C_k = C.

As a preconditioner it takes conjugate gradients there in less than half of the iterations of Σ_hh.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skyfill.harmonics import Covariance

__all__ = ["TaperedBands", "octaves"]

Map = NDArray[np.float64]

#: Highest edge between octaves in units of nside.
_FIRST = 0.8
#: Depth of the first taper in half wavelengths of its octave's middle; of each next one, this
#: factor shorter in its own half wavelengths.
_TAPER, _SHORTER = 1.5, 0.86
#: Share of the prior's power in B: a little less than all costs fewer iterations than all.
_SHARE = 0.3
#: What is fainter than this against the noise is left to the noise.
_FAINT = 0.1


def octaves(lmax: int, nside: int, depth: float) -> list[tuple[Map, float]]:
    """Divide the multipoles.

    Parameters
    ----------
    lmax, nside
        Largest multipole and resolution.
    depth
        Of the deepest pixel, radians: octaves whose tapers reach further are one.

    Returns
    -------
    Pairs of an octave's share of C_l, ``(lmax + 1,)``, and the depth of its taper, radians; the
    shares add up to one.
    """
    ell = np.log2(np.maximum(np.arange(lmax + 1), 1))
    rest = np.ones(lmax + 1)
    bands = []
    edge, middle, taper = min(_FIRST * nside, 0.6 * lmax), 1.25, _TAPER
    while edge > 15 and taper * np.pi / (middle * edge) < 2 * depth:
        share = rest * np.sin(0.5 * np.pi * np.clip(ell - np.log2(edge) + 0.5, 0, 1)) ** 2
        bands.append((share, taper * np.pi / (middle * edge)))
        rest = rest - share
        # Below the first octaves, where transforms cost little for their multipoles, wider ones do.
        edge /= 2 if len(bands) < 3 else 3
        middle, taper = 1.5, taper * _SHORTER
    return [*bands, (rest, taper * np.pi / max(1.2 * edge, 2.0))]


class TaperedBands:
    """B of this module.

    Parameters
    ----------
    covariance
        Of the map, between the pixels of the holes.
    depth
        ``(n,)`` distance of each pixel from the observed sky, radians.
    nside
        Resolution.
    """

    def __init__(self, covariance: Covariance, depth: Map, nside: int) -> None:
        self._covariance = covariance
        self._depth = depth
        self._noise = covariance.variance / covariance.weights
        cl = covariance.signal_cl
        self._bands = []
        for share, taper in octaves(cl.size - 1, nside, float(depth.max())):
            power = _SHARE * share * cl
            holds = np.flatnonzero(power > _FAINT * covariance.area * covariance.variance)
            if holds.size:
                self._bands.append((power[: holds[-1] + 1], taper))

    def apply(self, values: Map) -> Map:
        """Give B v, ``(n,)``."""
        out = self._noise * values
        for cl, taper in self._bands:
            factor = np.minimum(self._depth / taper, 1.0)
            out += self._covariance.tapered(values, cl, factor)
        return out
