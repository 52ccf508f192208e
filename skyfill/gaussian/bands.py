"""Approximate the posterior covariance of wide holes by the prior's, tapered towards the edges.

Deep inside a hole, the inverse of the holes' precision is Σ_hh, the prior's covariance. Near an
edge, the data constrain scales larger than the distance to the edge, and Σ_hh is too large by up to
signal over noise, a factor of thousands. So the prior is divided into bands of multipoles, each
tapered over its own wavelength,

    B = σ² W⁻¹ + 0.4 Σ_k D_k Y C_k Yᵀ D_k,   D_k = min(1, depth / depth_k)^0.8,   Σ_k C_k = C.

The exponent 0.8 is a compromise between multipoles. Behind the edge of a half plane, a sky of
C_l ~ l^-α has a posterior variance that grows like depth^(α - 1), with α = 2 at low l and more in
the damping tail; D_k enters squared.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skyfill.gaussian.vectors import Vector
from skyfill.harmonics import Covariance
from skyfill.tapers import bands_of

__all__ = ["FAINT", "POWER", "SHARE", "TaperedBands"]

Map = NDArray[np.float64]

POWER = 0.8
"""Exponent of a taper."""
SHARE = 0.4
"""Share of the prior's power in B; with the whole power more iterations are needed."""
FAINT = 2.0
"""Multipoles with signal over noise below this are left out: σ² is near enough there. With 0.1 most
fills take as many iterations, and more time; with 10, up to a fifth more iterations."""


class TaperedBands:
    """The matrix B defined in this module.

    Parameters
    ----------
    covariance
        Covariance of the map between the pixels of the holes.
    depth
        ``(n,)``, distance of each pixel from the observed sky, radians.
    most
        Largest number of bands.
    """

    def __init__(self, covariance: Covariance, depth: Map, *, most: int = 9) -> None:
        self._covariance = covariance
        cl = covariance.signal_cl
        self._bands = []
        for share, taper in bands_of(cl.size - 1, float(depth.max()), most=most):
            power = SHARE * share * cl
            holds = np.flatnonzero(power > FAINT * covariance.area * covariance.variance)
            if holds.size:
                # Stored: the exponentiation takes longer than transforms of low multipoles.
                factor = np.minimum(depth / taper, 1.0) ** POWER
                stored = covariance.sphere.vector(factor.astype(np.float32))
                self._bands.append((power[: holds[-1] + 1], stored))

    def apply(self, values: Vector) -> Vector:
        """Compute B v, ``(n,)``."""
        out = self._covariance.noisy(values)
        for cl, factor in self._bands:
            self._covariance.tapered(values, cl, factor, into=out)
        return out
