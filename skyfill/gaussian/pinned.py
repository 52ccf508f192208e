"""Take out of a preconditioner the few modes that all holes share and the prior forbids.

A prior without monopole and dipole (C_0 = C_1 = 0, as ΛCDM's) puts their sums over the sky at zero,
up to the noise. Blocks and bands see one hole each, or none of the sky around: to conjugate
gradients these four modes would be eigenvalues of up to signal over noise, 10⁴, each found again
and again as rounding lets it in. So Q is split,

    Q_hh = Q'_hh + V e Vᵀ,   V = (W Y)_hl, l < 2,

Q' being that of a prior with C_2 there, and B, nearly the inverse of Q'_hh, becomes by Woodbury's
identity B - B V (e⁻¹ + Vᵀ B V)⁻¹ Vᵀ B, nearly the inverse of Q_hh.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from skyfill.harmonics import Covariance
from skyfill.healpix import pixel_directions
from skyfill.healpix.jit import compiled

__all__ = ["Pinned", "freed", "unpinned"]

Map = NDArray[np.float64]

#: Standard deviation of a free monopole in units of the map's, beside what was fitted: wide against
#: what the observed sky leaves open (ten times wider changes fills by 0.03 µK), and narrow enough
#: for its variance over the noise's, 10⁸, to be told from infinity in rounding.
_WIDE = 0.3


def freed(signal_cl: Map) -> Map:
    """Give the spectrum of a sky whose monopole and dipole can be anything."""
    cl = signal_cl.copy()
    cl[:2] += 4 * np.pi * _WIDE**2 * float(np.sum((2 * np.arange(cl.size) + 1) * cl) / (4 * np.pi))
    return cl


def unpinned(signal_cl: Map) -> Map:
    """Give the spectrum with a monopole and dipole as bright as the quadrupole."""
    cl = signal_cl.copy()
    cl[:2] = cl[min(2, cl.size - 1)]
    return cl


class Pinned:
    """The preconditioner of this module.

    Parameters
    ----------
    free
        Applies B, made for the spectrum that is `unpinned`.
    covariance
        Between the pixels of the holes.
    nside
        Resolution.
    pixels
        ``(n,)``, RING: these pixels.
    """

    def __init__(
        self,
        free: Callable[[Map], Map],
        covariance: Covariance,
        nside: int,
        pixels: NDArray[np.int64],
    ) -> None:
        self._free = free
        cl = unpinned(covariance.signal_cl)[:2]
        gain = cl / (cl + covariance.area * covariance.variance)
        strength = covariance.area / covariance.variance * (gain - covariance.gain[:2])
        strength = np.repeat(strength, (1, 3)[: cl.size])
        forbidden = strength > 0
        modes = _first_harmonics(nside, pixels)[: cl.size**2][forbidden] * covariance.weights
        self._known = np.array([free(mode) for mode in modes]).reshape(-1, pixels.size)
        between = np.diag(1 / strength[forbidden]) + self._known @ modes.T
        self._inverse = np.asarray(np.linalg.inv(between), dtype=np.float64)

    def apply(self, values: Map) -> Map:
        """Apply nearly (Q_hh)⁻¹, ``(n,)``."""
        out = self._free(values)
        _take_out(out, values, self._known, self._inverse)
        return out


def _first_harmonics(nside: int, pixels: NDArray[np.int64]) -> Map:
    """Give the real harmonics of l = 0 and 1, ``(4, n)``."""
    directions = pixel_directions(nside, pixels).T
    norm = np.sqrt(np.array([[1.0], [3.0], [3.0], [3.0]]) / (4 * np.pi))
    return np.asarray(norm * np.vstack([np.ones(pixels.size), directions]))


@compiled
def _take_out(out: Map, values: Map, modes: Map, inverse: Map) -> None:
    """Subtract modesᵀ (inverse (modes values)): no BLAS, as in the loops."""
    count = inverse.shape[0]
    products = np.zeros(count)
    for i in range(values.size):
        for k in range(count):
            products[k] += modes[k, i] * values[i]
    factors = np.zeros(count)
    for k in range(count):
        for j in range(count):
            factors[k] += inverse[k, j] * products[j]
    for i in range(values.size):
        for k in range(count):
            out[i] -= factors[k] * modes[k, i]
