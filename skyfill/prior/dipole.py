"""Fit the monopole and dipole of a map's observed part."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from skyfill import harmonics
from skyfill.healpix.stokes import nside_of

__all__ = ["Dipole"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Dipole:
    """Monopole and dipole of the observed sky, which no prior speaks of.

    Sums over pixels of 1, x, y, z and their products are multipoles up to 2, so that fitting and
    removing are transforms of lmax 1 and 2, the fastest way over a map.
    """

    def __init__(self, observed: Mask, *, threads: int) -> None:
        self._observed = observed
        self._nside = nside_of(observed, "observed")
        self._threads = threads
        a00, a10, a20, a11, a21, a22 = harmonics.adjoint(observed, lmax=2, threads=threads)
        one = a00.real * math.sqrt(4 * math.pi)
        z, xy = self._vector(a10, a11)
        zz = (a20.real * math.sqrt(16 * math.pi / 5) + one) / 3
        zxy = -np.conj(a21) * math.sqrt(8 * math.pi / 15)
        square = np.conj(a22) * math.sqrt(32 * math.pi / 15)  # (x + iy)²
        xx, yy = (one - zz + square.real) / 2, (one - zz - square.real) / 2
        self._normal = np.array(
            [
                [one, xy.real, xy.imag, z],
                [xy.real, xx, square.imag / 2, zxy.real],
                [xy.imag, square.imag / 2, yy, zxy.imag],
                [z, zxy.real, zxy.imag, zz],
            ]
        )

    @staticmethod
    def _vector(a10: complex, a11: complex) -> tuple[float, complex]:
        """Turn sums of conjugate harmonics into sums of z and x + iy."""
        sums = -np.conj(a11) * math.sqrt(8 * math.pi / 3)
        return a10.real * math.sqrt(4 * math.pi / 3), complex(sums)

    def of(self, values: NDArray[np.floating]) -> Map:
        """Fit them to the observed part of a map, which may be NaN elsewhere; give a whole map."""
        return harmonics.synthesis(self.alm(values), self._nside, threads=self._threads)

    def alm(self, values: NDArray[np.floating]) -> NDArray[np.complex128]:
        """Fit them as `of` does; give their harmonics, ``(3,)``."""
        a00, a10, a11 = harmonics.adjoint(
            values, lmax=1, observed=self._observed, threads=self._threads
        )
        z, xy = self._vector(a10, a11)
        right = np.array([a00.real * math.sqrt(4 * math.pi), xy.real, xy.imag, z])
        # A sky too small to tell them apart gets the smallest that fit.
        one, *vector = np.linalg.lstsq(self._normal, right, rcond=1e-8)[0]
        return np.array(
            [
                one * math.sqrt(4 * math.pi),
                vector[2] * math.sqrt(4 * math.pi / 3),
                complex(-vector[0], vector[1]) * math.sqrt(2 * math.pi / 3),
            ]
        )

    def parts(self, alm: NDArray[np.complex128]) -> Iterator[tuple[slice, Map]]:
        """Give the map of `alm` part by part: a map of its own would be as large as the sky's."""
        return harmonics.parts_of(alm, self._nside, threads=self._threads)
