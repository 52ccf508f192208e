"""Apply the covariance of a map, and its inverse.

With exact pixel weights w and l up to 1.5 nside, Yᵀ W Y a = 1 with a the inverse pixel area, and
the covariance of a signal and of noise of variance σ² / w,

    Σ = Y C Yᵀ + σ² W⁻¹,

has the exact inverse

    Σ⁻¹ = [W - (4π/npix) W Y g Yᵀ W] / σ²,   g_l = C_l / (C_l + 4π σ² / npix).

The weights differ from one by 4e-4 rms and by 15% next to the corners of base pixels, which is how
far this noise is from being white.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skyfill._checks import nside_of
from skyfill.harmonics.sphere import adjoint_of, parts_of
from skyfill.harmonics.transforms import Rings, almxfl

__all__ = ["Covariance"]

Map = NDArray[np.float64]

#: Pixels of which products are held at a time.
_AT_ONCE = 2**22


def _excess(lmax: int, nside: int) -> Map:
    """Bound what the eigenvalues of Yᵀ W Y 4π/npix exceed one by.

    Nothing to lmax = 1.5 nside; beyond, products of harmonics whose l add up to more than 3 nside
    are not exact: 1.4% at 1.625 nside, 2.8% at 1.75, 6.4% at 2 nside (dense, nside 16 and 32).
    Gains lowered by it keep Σ⁻¹ positive.
    """
    ell = np.arange(lmax + 1)
    beyond = max(lmax / nside - 1.5, 0.0)
    return np.where(ell + lmax > 3 * nside, 0.14 * beyond, 0.0)


class _Sphere:
    """Transforms of whole maps, with the methods of `Rings`."""

    def __init__(self, nside: int, threads: int) -> None:
        self._nside = nside
        self._threads = threads

    def filtered(self, values: Map, fl: Map, factor: Map) -> Map:
        alm = adjoint_of(
            lambda part: values[part] * factor[part],
            self._nside,
            lmax=fl.size - 1,
            threads=self._threads,
        )
        out = np.empty(values.size)
        for part, sky in parts_of(almxfl(alm, fl), self._nside, threads=self._threads):
            np.multiply(sky, factor[part], out=out[part])
        return out


class Covariance:
    """Σ and Σ⁻¹ between some pixels.

    Parameters
    ----------
    weights
        ``(npix,)``, RING: from `pixel_weights`.
    signal_cl
        ``(lmax + 1,)``, µK²; beyond lmax = 1.5 nside (to 2 nside) the inverse is nearly one only.
    variance
        Noise of a pixel of weight one, µK².
    pixels
        The pixels ``(n,)``, RING, increasing, that both operators act on: Σ_pp and (Σ⁻¹)_pp. The
        whole sphere if not given; only then is one the inverse of the other.
    threads
        Of the transforms.
    """

    def __init__(
        self,
        weights: Map,
        signal_cl: Map,
        variance: float,
        *,
        pixels: NDArray[np.int64] | None = None,
        threads: int = 0,
    ) -> None:
        nside = nside_of(weights.size, "the weights")
        self.signal_cl = signal_cl
        self.variance = variance
        self.weights = weights if pixels is None else weights[pixels]
        self.area = 4 * np.pi / weights.size
        self.gain = signal_cl / (
            signal_cl * (1 + _excess(signal_cl.size - 1, nside)) + self.area * variance
        )
        self._rings: Rings | _Sphere = (
            _Sphere(nside, threads) if pixels is None else Rings(nside, pixels, threads=threads)
        )

    def apply(self, values: Map) -> Map:
        """Give Σ v, ``(n,)``."""
        signal = self.tapered(values, self.signal_cl, np.ones_like(values))
        return signal + self.variance / self.weights * values

    def inverse(self, values: Map) -> Map:
        """Give Σ⁻¹ v, ``(n,)``."""
        smooth = self.tapered(values, self.gain, self.weights)
        smooth *= -self.area
        for start in range(0, values.size, _AT_ONCE):
            here = slice(start, start + _AT_ONCE)
            smooth[here] += self.weights[here] * values[here]
        smooth /= self.variance
        return smooth

    def tapered(self, values: Map, fl: Map, factor: Map) -> Map:
        """Give F Y f Yᵀ F v with a diagonal F, all ``(n,)`` but f, ``(lmax + 1,)``."""
        return self._rings.filtered(values, fl, factor)
