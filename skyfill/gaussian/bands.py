"""Approximate the posterior covariance of wide holes: what the prior says, tapered to the edges.

Σ_hh, the prior's covariance, is the inverse of the holes' precision deep inside a hole. Near an
edge the data tell what is there, on scales larger than the distance to the edge, and Σ_hh is too
large by up to signal over noise: thousands. So the prior is taken apart into bands of multipoles,
each tapered over its own wavelength,

    B = σ² W⁻¹ + 0.4 Σ_k D_k Y C_k Yᵀ D_k,   D_k = min(1, depth / depth_k)^0.8,   Σ_k C_k = C.

The power of a taper lies between those of the edge of a half plane: behind it a sky of C_l ~ l^-α
is known to a variance that grows like depth^(α - 1), α = 2 at low l and more in the damping tail.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skyfill.harmonics import Covariance
from skyfill.tapers import bands_of

__all__ = ["TaperedBands"]

Map = NDArray[np.float64]

#: Power of a taper.
_POWER = 0.8
#: Share of the prior's power in B: a little less than all costs fewer iterations than all.
_SHARE = 0.4
#: What is fainter than this against the noise is left to the noise.
_FAINT = 0.1


class TaperedBands:
    """B of this module.

    Parameters
    ----------
    covariance
        Of the map, between the pixels of the holes.
    depth
        ``(n,)`` distance of each pixel from the observed sky, radians.
    most
        Number of bands at most.
    """

    def __init__(self, covariance: Covariance, depth: Map, *, most: int = 9) -> None:
        self._covariance = covariance
        self._noise = covariance.variance / covariance.weights
        cl = covariance.signal_cl
        self._bands = []
        for share, taper in bands_of(cl.size - 1, float(depth.max()), most=most):
            power = _SHARE * share * cl
            holds = np.flatnonzero(power > _FAINT * covariance.area * covariance.variance)
            if holds.size:
                # Powers take longer than the transforms of low multipoles: they are kept.
                factor = np.minimum(depth / taper, 1.0) ** _POWER
                self._bands.append((power[: holds[-1] + 1], factor.astype(np.float32)))

    def apply(self, values: Map) -> Map:
        """Give B v, ``(n,)``."""
        out = self._noise * values
        for cl, factor in self._bands:
            out += self._covariance.tapered(values, cl, factor)
        return out
