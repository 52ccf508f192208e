"""Approximate the posterior covariance of wide holes in T, Q and U by the prior's.

T is tapered in bands as alone (`skyfill.gaussian.bands`). P has nothing to taper: EE is nearly
white up to l = 1000, so the variance behind an edge does not grow with depth. Deep inside a hole it
is that of the prior, C. A field at the edge is half E and half B once it ends there: its variance
is that of the noise, N. P takes the geometric mean of the two, C (1 + C/N)^-1/2. With D_k = (taper
of T, 1, 1) and the spectra scaled on both sides by the roots of the shares of T, E and B,

    B = σ² W⁻¹ + Σ_k D_k Y C_k Yᵀ D_k,   Σ_k C_k = C,

is positive, and needs the transforms of spin 2 once, not once a band.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skyfill.gaussian.bands import FAINT, POWER, SHARE
from skyfill.gaussian.vectors import Vector, copied
from skyfill.harmonics import JointCovariance
from skyfill.tapers import bands_of

__all__ = ["Hybrid"]

Map = NDArray[np.float64]

#: Multipoles of P with signal over noise below this are left out: σ² is near enough to the inverse
#: of the precision there, and at the noise of Planck hardly a multipole is left.
_FAINT_OF_P = 4.0


class Hybrid:
    """The matrix B defined in this module.

    Parameters
    ----------
    covariance
        Covariance between the pixels of the wide holes.
    depth
        ``(n,)``, distance of each pixel of T from the observed sky, radians.
    """

    def __init__(self, covariance: JointCovariance, depth: Map) -> None:
        self._covariance = covariance
        cl, joint = covariance.signal_cl, len(covariance.spins) == 2
        over = cl[[-2, -1], [-2, -1]] / (covariance.area * covariance.variance[-1])
        seen = np.flatnonzero(np.max(over, axis=0) > _FAINT_OF_P)
        last = int(seen[-1]) if seen.size and len(covariance.weights[-1]) else -1
        root = (1 + over[:, : last + 1]) ** -0.25  # of the shares of E and B
        self._polar = root[:, None] * cl[-2:, -2:, : last + 1] * root
        vector = covariance.sphere.vector
        self._bands: list[tuple[Map, Map, Vector]] = []
        if not (joint and depth.size):
            return
        faint = FAINT * covariance.area * covariance.variance[0]
        for part, taper in bands_of(cl.shape[-1] - 1, float(depth.max())):
            power = SHARE * part * cl[0, 0]
            holds = np.flatnonzero(power > faint)
            if holds.size:
                factor = np.minimum(depth / taper, 1.0) ** POWER
                end = holds[-1] + 1
                cross = SHARE**0.5 * root * (part * cl[0, 1:])[:, : last + 1]
                stored = vector(factor.astype(np.float32))
                self._bands.append((power[:end], cross[:, :end], stored))

    def apply(self, values: Vector) -> Vector:
        """Compute B v, ``(n,)``."""
        covariance, lmax = self._covariance, self._polar.shape[-1] - 1
        out = covariance.noisy(values)
        polar, rings = covariance.parts[-1], covariance.rings[-1]
        sphere = covariance.sphere
        seen: Vector = np.zeros((2, 0), np.complex128)
        total: Vector = seen
        if lmax >= 0:
            seen = rings.adjoint(values[polar].reshape(2, -1), None, lmax)
            (total,) = sphere.mixed([seen], self._polar)
        for power, cross, taper in self._bands:
            here = covariance.parts[0]
            alm = covariance.rings[0].adjoint(values[here], taper, power.size - 1)
            mine = covariance.rings[0].filtered(copied(alm), power)
            for factor, other, whole in zip(cross, seen, total, strict=True):
                sphere.accumulate(other, factor, mine)
                sphere.accumulate(alm, factor, whole)
            covariance.rings[0].synthesis(mine, taper, out=out[here], add=True)
        if lmax >= 0:
            rings.synthesis(total, None, out=out[polar].reshape(2, -1), add=True)
        return out
