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
from skyfill.harmonics import transforms
from skyfill.harmonics.transforms import Rings

__all__ = ["Covariance"]

Map = NDArray[np.float64]


class _Sphere:
    """Transforms of whole maps, with the methods of `Rings`."""

    def __init__(self, nside: int, threads: int) -> None:
        self._nside = nside
        self._threads = threads

    def synthesis(self, alm: NDArray[np.complex128]) -> Map:
        return transforms.synthesis(alm, self._nside, threads=self._threads)

    def filtered(self, values: Map, fl: Map, factor: Map) -> Map:
        alm = transforms.adjoint(values * factor, lmax=fl.size - 1, threads=self._threads)
        out = transforms.synthesis(transforms.almxfl(alm, fl), self._nside, threads=self._threads)
        out *= factor
        return out


class Covariance:
    """Σ and Σ⁻¹ between some pixels.

    Parameters
    ----------
    weights
        ``(npix,)``, RING: from `pixel_weights`.
    signal_cl
        ``(lmax + 1,)``, lmax at most 1.5 nside, µK².
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
        ell = np.arange(signal_cl.size) / nside
        doubt = np.where(ell > 1.5, 0.15 * np.clip(2 * (ell - 1), 0, 1), 0)
        self.gain = signal_cl / (signal_cl * (1 + doubt) + self.area * variance)
        self._rings = (
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
        smooth += self.weights * values
        smooth /= self.variance
        return smooth

    def synthesis(self, alm: NDArray[np.complex128]) -> Map:
        """Give Y a at the pixels, ``(n,)``."""
        return self._rings.synthesis(alm)

    def tapered(self, values: Map, fl: Map, factor: Map) -> Map:
        """Give F Y f Yᵀ F v with a diagonal F, all ``(n,)`` but f, ``(lmax + 1,)``."""
        return self._rings.filtered(values, fl, factor)
