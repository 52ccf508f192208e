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

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from skyfill.harmonics.covariance import excess
from skyfill.harmonics.spheres import DuccSphere, Sphere, Vector
from skyfill.healpix.stokes import nside_of

__all__ = ["SPINS", "JointCovariance"]

Map = NDArray[np.float64]
Pixels = NDArray[np.int64]

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
        ``(k, k, lmax + 1)``, symmetric: spectra of T, E, B (k = 3) or of E, B (k = 2), in the
        square of the units of the vectors. Those of E and B below l = 2 are not read.
    variance
        Noise variance of a pixel with weight one, for each field: of T and of Q (or U), or of Q.
    pixels
        For each field its pixels ``(n,)``, RING, increasing. If not given, the whole sphere.
    sphere
        Transforms, which decide what vectors are; if not given, ducc0's on all cores.
    """

    def __init__(
        self,
        weights: Map,
        signal_cl: Map,
        variance: Sequence[float],
        *,
        pixels: Sequence[Pixels] | None = None,
        sphere: Sphere | None = None,
    ) -> None:
        nside = nside_of(weights, "weights")
        self.sphere = sphere = sphere or DuccSphere(nside)
        self.spins = SPINS[len(signal_cl)]
        self.area = 4 * np.pi / weights.size
        self.variance = tuple(variance)
        self.signal_cl = _without_low(signal_cl, self.spins)
        self.gain = self._gain(nside)
        sigma = np.repeat(np.sqrt(self.variance), [2 if spin else 1 for spin in self.spins])
        self._precise = self.area * self.gain / (sigma[:, None] * sigma)[:, :, None]
        self.rings = []
        """For each field its transforms."""
        self.parts: list[slice] = []
        """For each field its slice of a vector."""
        self.weights: list[Vector] = []
        """For each field the weights of its pixels."""
        at, first, noise = [], 0, []
        for number, spin in enumerate(self.spins):
            chosen = None if pixels is None else pixels[number]
            mine = weights if chosen is None else weights[chosen]
            planes = 2 if spin else 1
            self.rings.append(sphere.pixels(chosen, spin=spin))
            self.weights.append(sphere.vector(mine))
            self.parts.append(slice(first, first + planes * mine.size))
            index = np.arange(weights.size) if chosen is None else chosen
            base = weights.size * sum(2 if each else 1 for each in self.spins[:number])
            at += [base + plane * weights.size + index for plane in range(planes)]
            noise += [self.variance[number] / mine] * planes
            first += planes * mine.size
        self.noise: Vector = sphere.vector(np.concatenate(noise))
        """Variance of the noise of each element of a vector."""
        self._at: Vector | None = None if pixels is None else sphere.vector(np.concatenate(at))

    def _gain(self, nside: int) -> Map:
        scale = np.repeat(np.sqrt(self.variance), [2 if spin else 1 for spin in self.spins])
        c = np.moveaxis(self.signal_cl / (self.area * scale[:, None] * scale)[:, :, None], 2, 0)
        beyond = 1 + excess(len(c) - 1, nside)[:, None, None]
        gain = np.linalg.solve(np.eye(len(scale)) + beyond * c, c)
        return np.ascontiguousarray(np.moveaxis((gain + gain.swapaxes(1, 2)) / 2, 0, 2))

    def apply(self, values: Vector) -> Vector:
        """Give Σ v, ``(n,)``."""
        out = self.filtered(values, self.signal_cl, None)
        out += self.noise * values
        return out

    def inverse(self, values: Vector) -> Vector:
        """Give Σ⁻¹ v, ``(n,)``."""
        out = self.filtered(values, self._precise, self.weights)
        out *= -1.0
        out += values / self.noise
        return out

    def inverse_of(self, other: JointCovariance, values: Vector) -> Vector:
        """Give Σ⁻¹ v at these pixels, ``(n,)``, for a v of the whole sphere.

        Parameters
        ----------
        other
            The same covariance on the whole sphere.
        values
            v, a vector of ``other``.
        """
        alm = other.analysed(values, other.weights, self._precise.shape[-1] - 1)
        out = self.synthesised(self.sphere.mixed(alm, self._precise), self.weights)
        out *= -1.0
        out += (values if self._at is None else values[self._at]) / self.noise
        return out

    @property
    def at(self) -> Vector:
        """Index of the elements among the vectors of the whole sphere."""
        return self.sphere.vector(np.arange(len(self.noise))) if self._at is None else self._at

    def filtered(self, values: Vector, matrix: Map, factors: Sequence[Vector] | None) -> Vector:
        """Give F Y f Yᵀ F v, ``(n,)``, with f ``(k, k, lmax + 1)`` and F of each field's pixels."""
        alm = self.analysed(values, factors, matrix.shape[-1] - 1)
        return self.synthesised(self.sphere.mixed(alm, matrix), factors)

    def analysed(self, values: Vector, factors: Sequence[Vector] | None, lmax: int) -> list[Vector]:
        """Give Yᵀ F v: alm of T, ``(nalm,)``, and of E and B, ``(2, nalm)``."""
        out = []
        for number, spin in enumerate(self.spins):
            mine = values[self.parts[number]]
            factor = self._factor(number, factors)
            mine = mine.reshape(2, -1) if spin else mine
            out.append(self.rings[number].adjoint(mine, factor, lmax))
        return out

    def synthesised(self, alm: Sequence[Vector], factors: Sequence[Vector] | None) -> Vector:
        """Give F Y a, ``(n,)``."""
        out = 0.0 * self.noise
        for number, each in enumerate(alm):
            sky = self.rings[number].synthesis(each, self._factor(number, factors))
            out[self.parts[number]] = sky.reshape(-1)
        return out

    def _factor(self, number: int, factors: Sequence[Vector] | None) -> Vector:
        return 0.0 * self.weights[number] + 1.0 if factors is None else factors[number]


def _without_low(signal_cl: Map, spins: Sequence[int]) -> Map:
    """Set the spectra of E and B to zero below l = 2, where spin 2 has no modes."""
    out = signal_cl.copy()
    first = 1 if spins[0] == 0 else 0
    out[first:, :, :2] = 0.0
    out[:, first:, :2] = 0.0
    return out
