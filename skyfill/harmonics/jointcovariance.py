"""Apply the covariance of a map of several Stokes parameters, and its inverse.

The fields of a map are T, of spin 0, and P, of spin 2, which is Q and U. Products of two fields of
equal spin have spin 0, so the pixel weights that make Yᵀ W Y = 1 / a exact for T, with a the pixel
area, make it exact for P as well, if Q and U of a pixel share one weight. With C_l the matrix of
the spectra of T, E and B, σ the standard deviation of the noise of each of them, and
c_l = C_l / (a σ σᵀ), the covariance and its inverse are

    Σ = Y C Yᵀ + σ² W⁻¹,   Σ⁻¹ = σ⁻¹ [W - a W Y g Yᵀ W] σ⁻¹,   g_l = c_l (1 + c_l)⁻¹.

C_l is never inverted, so a sky without B modes is no special case.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from functools import partial

import numpy as np
from numpy.typing import NDArray

from skyfill.harmonics.covariance import empty_like, excess, in_pieces, noisy_into
from skyfill.harmonics.spheres import DuccSphere, Sphere, Vector
from skyfill.healpix.stokes import nside_of

__all__ = ["SPINS", "JointCovariance"]

Map = NDArray[np.float64]
Pixels = NDArray[np.int64]

#: Part of the bound on products of harmonics that noise bears, in units of noise over signal.
_BORNE = 0.25

SPINS = {1: (0,), 2: (2,), 3: (0, 2)}
"""Spins of the fields, by the number of components: T; Q and U; T, Q and U."""


class JointCovariance:
    """Σ and Σ⁻¹ between some pixels, with vectors of all Stokes parameters.

    A vector holds the components one after another: T, Q, U; or Q, U. The pixels of Q and U are
    the same, those of T may be others.

    Parameters
    ----------
    weights
        ``(npix,)``, RING: from `pixel_weights`.
    signal_cl
        ``(k, k, n)``, symmetric: spectra of T, E, B (k = 3) or of E, B (k = 2), in the square of
        the units of the vectors. Those of E and B below l = 2 are not read.
    variance
        Noise variance of a pixel with weight one, for each field: of T and of Q (or U), or of Q.
    pixels
        For each field its pixels ``(n,)``, RING, increasing. If not given, the whole sphere.
    lmax
        For each field its largest multipole: its transforms end there, and spectra beyond count as
        zero. If not given, n - 1 for all.
    sphere
        Transforms, which decide what vectors are; if not given, ducc0's on all cores.

    Attributes
    ----------
    size
        Length of a vector.
    """

    def __init__(
        self,
        weights: Map,
        signal_cl: Map,
        variance: Sequence[float],
        *,
        pixels: Sequence[Pixels] | None = None,
        lmax: Sequence[int] | None = None,
        sphere: Sphere | None = None,
    ) -> None:
        nside = nside_of(weights, "weights")
        self.sphere = sphere = sphere or DuccSphere(nside)
        self.spins = SPINS[len(signal_cl)]
        self.area = 4 * np.pi / weights.size
        self.variance = tuple(variance)
        self.planes = [2 if spin else 1 for spin in self.spins]
        """For each field the number of its components."""
        self.lmax = tuple(lmax or [signal_cl.shape[2] - 1] * len(self.spins))
        ends = np.cumsum(self.planes)
        self.rows = [slice(end - n, end) for end, n in zip(ends, self.planes, strict=True)]
        """For each field its rows of the spectra."""
        self._nside = nside
        self._take(signal_cl)
        self.rings = []
        """For each field its transforms."""
        self.parts: list[slice] = []
        """For each field its slice of a vector."""
        self.weights: list[Vector] = []
        """For each field the weights of its pixels."""
        first = 0
        for number, planes in enumerate(self.planes):
            chosen = None if pixels is None else pixels[number]
            mine = weights if chosen is None else weights[chosen]
            self.rings.append(sphere.pixels(chosen, spin=self.spins[number]))
            self.weights.append(sphere.vector(mine))
            self.parts.append(slice(first, first + planes * mine.size))
            first += planes * mine.size
        self.size = first
        self._pixels = pixels

    def _take(self, signal_cl: Map) -> None:
        """Take a signal, and what follows from it."""
        self.signal_cl = self._within(signal_cl)
        self.gain = self._gain(self._nside)
        sigma = np.repeat(np.sqrt(self.variance), self.planes)
        self._precise = self.area * self.gain / (sigma[:, None] * sigma)[:, :, None]

    def with_signal(self, signal_cl: Map) -> JointCovariance:
        """Give the covariance between the same pixels for another signal, ``(k, k, n)``."""
        new = copy(self)
        new._take(signal_cl)  # noqa: SLF001 - it is of this class
        return new

    def _within(self, signal_cl: Map) -> Map:
        """Set spectra to zero where a field has no multipoles: E and B have none below l = 2."""
        out = signal_cl[:, :, : max(self.lmax) + 1].copy()
        ell = np.arange(out.shape[2])
        for spin, here, lmax in zip(self.spins, self.rows, self.lmax, strict=True):
            nothing = (ell > lmax) | (ell < spin)
            out[here, :, nothing] = 0.0
            out[:, here, nothing] = 0.0
        return out

    def _gain(self, nside: int) -> Map:
        scale = np.repeat(np.sqrt(self.variance), self.planes)
        c = np.moveaxis(self.signal_cl / (self.area * scale[:, None] * scale)[:, :, None], 2, 0)
        beyond = np.ones((len(c), len(scale)))
        for here, lmax in zip(self.rows, self.lmax, strict=True):
            loud = np.max([c[:, row, row] for row in range(here.start, here.stop)], axis=0)
            loud = loud[: lmax + 1]
            # c⁻¹ >= diag(1 / c) / 2 bears part of the bound, and without it the inverse is better.
            borne = _BORNE / np.maximum(loud, 1e-300)
            more = np.maximum(excess(loud, nside) - borne, 0.0)[:, None]
            beyond[: len(more), here] += more
        gain = np.linalg.solve(np.eye(len(scale)) + c * beyond[:, None, :], c)
        return np.ascontiguousarray(np.moveaxis((gain + gain.swapaxes(1, 2)) / 2, 0, 2))

    def apply(self, values: Vector) -> Vector:
        """Give Σ v, ``(n,)``."""
        return self.filtered(values, self.signal_cl, out=self.noisy(values))

    def noisy(self, values: Vector) -> Vector:
        """Give σ² W⁻¹ v, ``(n,)``."""
        out = empty_like(values, self.size)
        for number, part in enumerate(self.parts):
            out[part] = self.noisy_of(number, values[part])
        return out

    def noisy_of(self, number: int, values: Vector) -> Vector:
        """Give σ² W⁻¹ v of one field, for its part of a vector."""
        out = empty_like(values, len(values))
        weights, variance = self.weights[number], self.variance[number]
        for start in range(0, len(values), max(len(weights), 1)):
            here = slice(start, start + len(weights))
            noisy_into(out[here], values[here], weights, variance)
        return out

    def inverse(self, values: Vector) -> Vector:
        """Give Σ⁻¹ v, ``(n,)``."""
        return self.inverse_of(self.wiener(values), values)

    def wiener(self, values: Vector, *, onto: list[Vector] | None = None) -> list[Vector]:
        """Give a σ⁻¹ g Yᵀ W σ⁻¹ v, alm of each field, for a v that is zero at all other pixels.

        They are added to ``onto``, if that is given: those of a v at other pixels.
        """
        alm = self.analysed(values, self.weights)
        alm = self.sphere.mixed(alm, self._precise, overwrite=True)
        if onto is None:
            return alm
        for mine, more in zip(onto, alm, strict=True):
            mine += more
        return onto

    def inverse_of(self, alm: list[Vector], values: Vector) -> Vector:
        """Give Σ⁻¹ v at these pixels, ``(n,)``, for a v at any pixels.

        Parameters
        ----------
        alm
            `wiener` of v, by the same covariance between the pixels where it is not zero.
        values
            v at these pixels.
        """
        return self._whitened(self.synthesised(alm, self.weights), values)

    def between(self, to: int, of: int, values: Vector) -> Vector:
        """Give (Σ⁻¹)_tf v at the pixels of field t, for a v at those of field f.

        Parameters
        ----------
        to, of
            Numbers of t and f.
        values
            v, the part of f of a vector.
        """
        shaped = values.reshape(2, -1) if self.spins[of] else values
        alm = self.rings[of].adjoint(shaped, self.weights[of], self.lmax[of])
        matrix = self._precise[self.rows[to], self.rows[of]]
        (mine,) = self.sphere.mixed([alm], matrix, [self.lmax[to]])
        out = self.rings[to].synthesis(mine, self.weights[to]).reshape(-1)
        out *= -1.0
        if to == of:
            count = len(self.weights[to])
            for plane in range(self.planes[to]):
                here = slice(plane * count, (plane + 1) * count)
                out[here] += self.weights[to] * values[here] / self.variance[to]
        return out

    def _components(self) -> Iterator[tuple[int, slice]]:
        """Give the number of the field, and the slice of a vector, of each component."""
        for number, (part, planes) in enumerate(zip(self.parts, self.planes, strict=True)):
            count = (part.stop - part.start) // planes
            for plane in range(planes):
                yield number, slice(part.start + plane * count, part.start + (plane + 1) * count)

    def _whitened(self, smooth: Vector, values: Vector) -> Vector:
        """Give W v / σ² minus a vector, in place of that."""
        for number, here in self._components():
            mine, variance = smooth[here], self.variance[number]
            given = self.weights[number], values[here], variance, mine
            in_pieces(mine, partial(_less, mine, *given))
        return smooth

    @property
    def at(self) -> Vector:
        """Index of the elements among the vectors of the whole sphere."""
        if self._pixels is None:
            return self.sphere.vector(np.arange(self.size))
        npix = 12 * self._nside**2
        every = zip(self._pixels, self.planes, strict=True)
        rows = [chosen for chosen, planes in every for _ in range(planes)]
        return self.sphere.vector(np.concatenate([k * npix + row for k, row in enumerate(rows)]))

    def filtered(self, values: Vector, matrix: Map, *, out: Vector | None = None) -> Vector:
        """Give Y f Yᵀ v, ``(n,)``, with f ``(k, k, n)``; add it to ``out``, if that is given."""
        plain = [None] * len(self.spins)
        alm = self.sphere.mixed(self.analysed(values, plain), matrix, overwrite=True)
        return self.synthesised(alm, plain, out=out, add=out is not None)

    def analysed(self, values: Vector, factors: Sequence[Vector | None]) -> list[Vector]:
        """Give Yᵀ F v, with F of each field's pixels: alm of T ``(nalm,)``, of P ``(2, nalm)``."""
        out = []
        for number, (factor, spin) in enumerate(zip(factors, self.spins, strict=True)):
            mine = values[self.parts[number]]
            mine = mine.reshape(2, -1) if spin else mine
            out.append(self.rings[number].adjoint(mine, factor, self.lmax[number]))
        return out

    def synthesised(
        self,
        alm: Sequence[Vector],
        factors: Sequence[Vector | None],
        *,
        out: Vector | None = None,
        add: bool = False,
    ) -> Vector:
        """Give F Y a, ``(n,)``; in ``out``, or added to it, if that is given."""
        if out is None:
            out = empty_like(self.weights[0], self.size)
        for number, (each, factor) in enumerate(zip(alm, factors, strict=True)):
            mine = out[self.parts[number]]
            mine = mine.reshape(2, -1) if self.spins[number] else mine
            self.rings[number].synthesis(each, factor, out=mine, add=add)
        return out


def _less(
    smooth: Vector, weights: Vector, values: Vector, variance: float, out: Vector, here: slice
) -> None:
    """Give W v / σ² minus s in a piece."""
    some = weights[here] * values[here]
    some /= variance
    some -= smooth[here]
    out[here] = some
