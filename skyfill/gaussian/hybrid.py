"""Approximate the posterior covariance of wide holes in T, Q and U by the prior's.

T is tapered in bands as alone (`skyfill.gaussian.bands`). P has nothing to taper: EE is nearly
white up to l = 1000, so the variance behind an edge does not grow with depth. With D_k = (taper of
T, 1, 1) and the spectra scaled on both sides by the roots of the shares of T and P,

    B = σ² W⁻¹ + Σ_k D_k Y C_k Yᵀ D_k,   Σ_k C_k = C,

is positive, and needs the transforms of spin 2 once, not once a band.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skyfill.gaussian.bands import FAINT, POWER, SHARE
from skyfill.gaussian.vectors import Vector
from skyfill.harmonics import JointCovariance
from skyfill.healpix.jit import compiled
from skyfill.tapers import bands_of

__all__ = ["Hybrid"]

Map = NDArray[np.float64]
Alm = NDArray[np.complex128]

#: Share of the prior's power of P beside T. With a larger one more iterations are needed: shares of
#: T and P must suit each other. Alone, P has all of it.
_SHARE_OF_P = 0.1


class Hybrid:
    """The matrix B defined in this module; vectors are arrays.

    Parameters
    ----------
    covariance
        Covariance between the pixels of the wide holes.
    depth
        ``(n,)``, distance of each pixel of T from the observed sky, radians.
    """

    def __init__(self, covariance: JointCovariance, depth: Map) -> None:
        self._covariance = covariance
        cl, self._joint = covariance.signal_cl, len(covariance.spins) == 2
        share = _SHARE_OF_P if self._joint else 1.0
        self._polar = share * cl[-2:, -2:]
        self._ones = [np.ones(len(weights)) for weights in covariance.weights]
        self._bands: list[tuple[Map, Map, Map]] = []
        if not (self._joint and depth.size):
            return
        faint = FAINT * covariance.area * covariance.variance[0]
        for part, taper in bands_of(cl.shape[-1] - 1, float(depth.max())):
            power = SHARE * part * cl[0, 0]
            holds = np.flatnonzero(power > faint)
            if holds.size:
                factor = np.minimum(depth / taper, 1.0) ** POWER
                last = holds[-1] + 1
                cross = (SHARE * share) ** 0.5 * part * cl[0, 1:]
                self._bands.append((power[:last], cross[:, :last], factor.astype(np.float32)))

    def apply(self, values: Vector) -> Vector:
        """Compute B v, ``(n,)``."""
        covariance = self._covariance
        out = covariance.noise * values
        polar, rings = covariance.parts[-1], covariance.rings[-1]
        seen = None
        if len(self._ones[-1]):
            lmax = self._polar.shape[-1] - 1
            seen = rings.adjoint(values[polar].reshape(2, -1), self._ones[-1], lmax)
            (total,) = covariance.sphere.mixed([seen], self._polar)
        for power, cross, taper in self._bands:
            here = covariance.parts[0]
            alm = covariance.rings[0].adjoint(values[here], taper, power.size - 1)
            if seen is None:
                alm = covariance.rings[0].filtered(alm, power)
            else:
                _mix(alm, power, cross, seen, total)
            out[here] += covariance.rings[0].synthesis(alm, taper)
        if seen is not None:
            out[polar] += rings.synthesis(total, self._ones[-1]).ravel()
        return out


@compiled
def _mix(alm: Alm, power: Map, cross: Map, seen: Alm, total: Alm) -> None:
    """Add TE, TB times alm of T to the total of E, B; give TT alm + TE E + TB B in place of alm."""
    short, long = power.size - 1, 0
    while (long + 1) * (long + 2) // 2 < seen.shape[1]:
        long += 1
    for m in range(short + 1):
        at = m * (2 * short + 1 - m) // 2
        place = m * (2 * long + 1 - m) // 2
        for ell in range(m, short + 1):
            t, e, b = alm[at + ell], seen[0, place + ell], seen[1, place + ell]
            total[0, place + ell] += cross[0, ell] * t
            total[1, place + ell] += cross[1, ell] * t
            alm[at + ell] = power[ell] * t + cross[0, ell] * e + cross[1, ell] * b
