"""Apply the covariance of a map, and its inverse.

With exact pixel weights w and l up to 1.5 nside, Yᵀ W Y a = 1 with a the inverse pixel area, and
the covariance of a signal and of noise of variance σ² / w,

    Σ = Y C Yᵀ + σ² W⁻¹,

has the exact inverse

    Σ⁻¹ = [W - (4π/npix) W Y g Yᵀ W] / σ²,   g_l = C_l / (C_l + 4π σ² / npix).

The weights differ from one by 4e-4 rms, and by 15% next to the corners of base pixels. The noise
variance differs from that of white noise by as much.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress
from copy import copy

import numpy as np
from numpy.typing import NDArray

from skyfill.harmonics.spheres import DuccSphere, Pixels, Sphere, Vector
from skyfill.healpix.jit import by_pieces
from skyfill.healpix.stokes import nside_of

__all__ = ["Covariance", "empty_like", "excess", "in_pieces", "noisy_into"]

Map = NDArray[np.float64]

#: Number of pixels whose products are in memory at a time.
_AT_ONCE = 2**22
#: Bytes from which the command has fresh memory taken for a vector (`cli.main`). Free memory of the
#: heap, 3 GiB for T, Q and U of Nside 2048, would stand unused beside it.
_LARGE = 2**30


#: Products of harmonics l, l' with l + l' > 3 nside are wrong by at most (these, the second times
#: the part of l + l' beyond 3 nside) / nside on average: dense, spin 0 and 2, nside 16 and 32, with
#: 15% to spare for power laws, and 1% for a peak of a hundred times their power.
_WRONG, _WORSE = 0.07, 0.08
#: Least bound: the exact weights are known to some 1e-7.
_LEAST = 1e-6


def excess(loud: Map, nside: int) -> Map:
    """Bound Yᵀ W Y 4π/npix - 1 by a diagonal matrix, the smaller where there is more signal.

    Up to lmax = 1.5 nside the bound is zero. Beyond, harmonics l and l' are not orthogonal if
    l + l' > 3 nside: with products D_ll' and any p_l > 0, D <= diag(Σ_l' |D_ll'| p_l' / p_l)
    (Schur's test). With g = c / (1 + (1 + bound) c) in place of c / (1 + c) the inverse Σ⁻¹ is
    positive, and wrong by a factor of up to 1 + bound c for what signal over noise c has. The roots
    of c as p make this factor alike at all l: with one bound for all, the bright multipoles below
    1.5 nside would pay for the faint ones above. The products are taken as those of their
    neighbours, half of which vanish, so c must be smooth.

    Parameters
    ----------
    loud
        ``(lmax + 1,)``, signal over noise.
    nside
        Nside of the maps.
    """
    ell = np.arange(loud.size)
    first = np.maximum(3 * nside + 1 - ell, 0)  # l' from here on
    hit = first < loud.size
    bound = np.zeros(loud.size)
    if not hit.any():
        return bound
    root = np.sqrt(np.maximum(loud, 1e-12 * float(loud[hit].max()) + 1e-300))
    over, weighted = (np.cumsum(each[::-1])[::-1][first[hit]] for each in (root, ell * root))
    # Every other product vanishes, but perhaps not the first of them.
    wrong = _WRONG * (over + root[first[hit]]) + _WORSE * (
        weighted / nside + (ell[hit] / nside - 3) * over
    )
    bound[hit] = np.maximum(wrong / (nside * root[hit]), _LEAST)
    return bound


def empty_like(vector: Vector, size: int) -> Vector:
    """Give a vector of some length, of the kind of another one."""
    if not isinstance(vector, np.ndarray):
        return vector.new_empty(size)
    if 8 * size >= _LARGE:
        _trim()
    return np.empty(size)


def _trim() -> None:
    """Give memory that is free within the heap back to the system, where the library is glibc."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def in_pieces(vector: Vector, work: Callable[[slice], None]) -> None:
    """Call `work` for pieces of a vector."""
    if isinstance(vector, np.ndarray):
        by_pieces(len(vector), work)
    else:
        for start in range(0, len(vector), _AT_ONCE):
            work(slice(start, start + _AT_ONCE))


def noisy_into(out: Vector, values: Vector, weights: Vector, variance: float) -> None:
    """Write σ² W⁻¹ v to a vector."""

    def piece(here: slice) -> None:
        some = variance / weights[here]
        some *= values[here]
        out[here] = some

    in_pieces(out, piece)


class Covariance:
    """Σ and Σ⁻¹ between some pixels.

    Parameters
    ----------
    weights
        ``(npix,)``, RING: from `pixel_weights`.
    signal_cl
        ``(lmax + 1,)``, µK²; the inverse is only approximate beyond lmax = 1.5 nside.
    variance
        Noise variance of a pixel with weight one, µK².
    pixels
        Pixels ``(n,)``, RING, increasing, on which both operators act: Σ_pp and (Σ⁻¹)_pp. If not
        given, the whole sphere; only then are the operators inverse to each other.
    sphere
        Transforms, which decide what vectors are; if not given, ducc0's on all cores.
    rings
        Transforms to and from the pixels, if there are any yet.
    """

    def __init__(
        self,
        weights: Map,
        signal_cl: Map,
        variance: float,
        *,
        pixels: NDArray[np.int64] | None = None,
        sphere: Sphere | None = None,
        rings: Pixels | None = None,
    ) -> None:
        self._nside = nside = nside_of(weights, "weights")
        self.sphere = sphere = sphere or DuccSphere(nside)
        self.variance = variance
        self.weights: Vector = sphere.vector(weights if pixels is None else weights[pixels])
        self.area = 4 * np.pi / weights.size
        self.signal_cl, self.gain = signal_cl, self._gain(signal_cl)
        self.rings = sphere.pixels(pixels) if rings is None else rings

    def _gain(self, signal_cl: Map) -> Map:
        white = self.area * self.variance
        more = excess(signal_cl / white, self._nside)
        return np.asarray(signal_cl / (signal_cl * (1 + more) + white))

    def apply(self, values: Vector) -> Vector:
        """Give Σ v, ``(n,)``."""
        return self.tapered(values, self.signal_cl, None, into=self.noisy(values))

    def noisy(self, values: Vector) -> Vector:
        """Give σ² W⁻¹ v, ``(n,)``."""
        out = empty_like(values, len(values))
        noisy_into(out, values, self.weights, self.variance)
        return out

    def inverse(self, values: Vector) -> Vector:
        """Give Σ⁻¹ v, ``(n,)``."""
        return self.inverse_of(self.wiener(values), values)

    def wiener(
        self, values: Vector, *, at: Covariance | None = None, onto: Vector | None = None
    ) -> Vector:
        """Give g Yᵀ W v, ``(nalm,)``, for a v that is zero except at some pixels.

        Parameters
        ----------
        values
            v at these pixels, or at those of ``at``.
        at
            Covariance between the pixels of v, if they are others; its signal is not read.
        onto
            The result for a v at other pixels, to which this one is added.
        """
        at = at or self
        alm = at.rings.adjoint(values, at.weights, self.gain.size - 1)
        alm = self.rings.filtered(alm, self.gain)
        if onto is None:
            return alm
        onto += alm
        return onto

    def inverse_of(self, alm: Vector, values: Vector | None) -> Vector:
        """Give Σ⁻¹ v at these pixels, ``(n,)``, for a v at any pixels.

        Parameters
        ----------
        alm
            `wiener` of v.
        values
            v at these pixels; None if it is zero there.
        """
        return self._inverse(self.rings.synthesis(alm, self.weights), values)

    def with_signal(self, signal_cl: Map) -> Covariance:
        """Give the covariance between the same pixels for another signal, ``(lmax + 1,)``."""
        new = copy(self)
        new.signal_cl, new.gain = signal_cl, self._gain(signal_cl)
        return new

    def _inverse(self, smooth: Vector, values: Vector | None) -> Vector:
        """Give Σ⁻¹ v from W Y g Yᵀ W v, which is overwritten."""

        def less(here: slice) -> None:
            some = smooth[here]
            some *= -self.area
            if values is not None:
                some += self.weights[here] * values[here]
            some /= self.variance

        in_pieces(smooth, less)
        return smooth

    def tapered(
        self, values: Vector, fl: Map, factor: Vector | None, *, into: Vector | None = None
    ) -> Vector:
        """Give F Y f Yᵀ F v, ``(n,)``, with a diagonal F, ``(n,)``, or 1, and f, ``(lmax + 1,)``.

        It is added to ``into``, if that is given.
        """
        alm = self.rings.adjoint(values, factor, fl.size - 1)
        return self.rings.synthesis(
            self.rings.filtered(alm, fl), factor, out=into, add=into is not None
        )
