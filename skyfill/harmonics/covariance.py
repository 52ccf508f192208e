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

from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skyfill.harmonics.sphere import adjoint_of, parts_of
from skyfill.harmonics.transforms import Rings, filtered
from skyfill.healpix.stokes import nside_of

__all__ = ["Covariance"]

Alm = NDArray[np.complex128]
Map = NDArray[np.float64]
Factor = NDArray[Any]  # float32 or float64

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

    def adjoint(self, values: Map, factor: Factor, lmax: int) -> Alm:
        return adjoint_of(
            lambda part: values[part] * factor[part],
            self._nside,
            lmax=lmax,
            threads=self._threads,
        )

    def synthesis(self, alm: Alm, factor: Factor) -> Map:
        out = np.empty(factor.size)
        for part, sky in parts_of(alm, self._nside, threads=self._threads):
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
        self._nside = nside = nside_of(weights, "weights")
        self.variance = variance
        self.weights = weights if pixels is None else weights[pixels]
        self.area = 4 * np.pi / weights.size
        self.signal_cl, self.gain = signal_cl, self._gain(signal_cl)
        self._pixels = pixels
        self._rings: Rings | _Sphere = (
            _Sphere(nside, threads) if pixels is None else Rings(nside, pixels, threads=threads)
        )

    def _gain(self, signal_cl: Map) -> Map:
        excess = _excess(signal_cl.size - 1, self._nside)
        return np.asarray(signal_cl / (signal_cl * (1 + excess) + self.area * self.variance))

    def apply(self, values: Map) -> Map:
        """Give Σ v, ``(n,)``."""
        signal = self.tapered(values, self.signal_cl, np.ones_like(values))
        return signal + self.variance / self.weights * values

    def inverse(self, values: Map) -> Map:
        """Give Σ⁻¹ v, ``(n,)``."""
        return self._inverse(self.tapered(values, self.gain, self.weights), values)

    def inverse_of(self, other: Covariance, values: Map) -> Map:
        """Give what a map v that is zero but at other pixels has at these in Σ⁻¹ v, ``(n,)``.

        Parameters
        ----------
        other
            The same covariance on the whole sphere, or between pixels that are none of these.
        values
            v, at the pixels of ``other``.
        """
        alm = other._rings.adjoint(values, other.weights, self.gain.size - 1)
        smooth = self._rings.synthesis(filtered(alm, self.gain), self.weights)
        if other._pixels is not None:
            smooth *= -self.area / self.variance
            return smooth
        return self._inverse(smooth, values if self._pixels is None else values[self._pixels])

    def with_signal(self, signal_cl: Map) -> Covariance:
        """Give the covariance of another signal, ``(lmax + 1,)``, between the same pixels."""
        new = copy(self)
        new.signal_cl, new.gain = signal_cl, self._gain(signal_cl)
        return new

    def _inverse(self, smooth: Map, values: Map) -> Map:
        """Give Σ⁻¹ v from W Y g Yᵀ W v, which is overwritten."""
        smooth *= -self.area
        for start in range(0, values.size, _AT_ONCE):
            here = slice(start, start + _AT_ONCE)
            smooth[here] += self.weights[here] * values[here]
        smooth /= self.variance
        return smooth

    def tapered(self, values: Map, fl: Map, factor: Factor) -> Map:
        """Give F Y f Yᵀ F v with a diagonal F, all ``(n,)`` but f, ``(lmax + 1,)``."""
        alm = self._rings.adjoint(values, factor, fl.size - 1)
        return self._rings.synthesis(filtered(alm, fl), factor)
