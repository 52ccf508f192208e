"""Correct a preconditioner for monopole and dipole, where the prior forbids them.

A prior without monopole and dipole (C_0 = C_1 = 0, like ΛCDM's) constrains them to zero on the
whole sky, up to the noise. This couples all holes, but the preconditioner treats holes separately
(blocks) or without the sky around (bands). These four modes would be eigenvalues of up to signal
over noise, 10⁴, and rounding would bring them back during the iterations. So Q is split,

    Q_hh = Q'_hh + V e Vᵀ,   V = (W Y)_hl, l < 2,

where Q' is that of a prior with C_0 = C_1 = C_2. Let B be an approximate inverse of Q'_hh. By
Woodbury's identity, B - B V (e⁻¹ + Vᵀ B V)⁻¹ Vᵀ B is an approximate inverse of Q_hh.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from skyfill.gaussian.vectors import Vector, project_out
from skyfill.harmonics import Covariance
from skyfill.healpix import pixel_directions

__all__ = ["Pinned", "freed", "unpinned"]

Map = NDArray[np.float64]

#: Prior standard deviation of an unconstrained monopole around the fit, in units of the map's. It
#: is large against the uncertainty left by the observed sky: ten times as much changes fills by
#: 0.03 µK. It is small enough for float64, with a variance of 10⁸ times the noise's.
_WIDE = 0.3


def freed(signal_cl: Map) -> Map:
    """Return the spectrum of a sky whose monopole and dipole are unconstrained."""
    cl = signal_cl.copy()
    cl[:2] += 4 * np.pi * _WIDE**2 * float(np.sum((2 * np.arange(cl.size) + 1) * cl) / (4 * np.pi))
    return cl


def unpinned(signal_cl: Map) -> Map:
    """Return the spectrum with C_0 and C_1 replaced by C_2."""
    cl = signal_cl.copy()
    cl[:2] = cl[min(2, cl.size - 1)]
    return cl


class Pinned:
    """The corrected preconditioner defined in this module.

    Parameters
    ----------
    free
        Applies B, the preconditioner for the `unpinned` spectrum.
    covariance
        Covariance between the pixels of the holes.
    nside
        Nside of the map.
    pixels
        ``(n,)``, RING: the pixels of the holes.
    """

    def __init__(
        self,
        free: Callable[[Vector], Vector],
        covariance: Covariance,
        nside: int,
        pixels: NDArray[np.int64],
    ) -> None:
        self._free = free
        sphere = covariance.sphere
        cl = unpinned(covariance.signal_cl)[:2]
        gain = cl / (cl + covariance.area * covariance.variance)
        strength = covariance.area / covariance.variance * (gain - covariance.gain[:2])
        strength = np.repeat(strength, (1, 3)[: cl.size])
        forbidden = strength > 0
        modes = _first_harmonics(nside, pixels)[: cl.size**2][forbidden]
        modes *= sphere.array(covariance.weights)
        known = [sphere.array(free(sphere.vector(mode))) for mode in modes]
        found = np.array(known).reshape(-1, pixels.size)
        between = np.diag(1 / strength[forbidden]) + found @ modes.T
        self._known = sphere.vector(found)
        self._inverse = sphere.vector(np.asarray(np.linalg.inv(between), dtype=np.float64))

    def apply(self, values: Vector) -> Vector:
        """Apply an approximation of (Q_hh)⁻¹, ``(n,)``."""
        out = self._free(values)
        project_out(out, values, self._known, self._inverse)
        return out


def _first_harmonics(nside: int, pixels: NDArray[np.int64]) -> Map:
    """Compute the real harmonics of l = 0 and 1, ``(4, n)``."""
    directions = pixel_directions(nside, pixels).T
    norm = np.sqrt(np.array([[1.0], [3.0], [3.0], [3.0]]) / (4 * np.pi))
    return np.asarray(norm * np.vstack([np.ones(pixels.size), directions]))
