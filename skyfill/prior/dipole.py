"""Fit the monopole and dipole of a map's observed part."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from skyfill import harmonics
from skyfill.harmonics.spheres import DeviceSphere, Vector
from skyfill.healpix import pixel_directions
from skyfill.healpix.stokes import nside_of
from skyfill.prior.model import Prior

__all__ = ["Dipole"]

#: Largest multipole whose power is counted where a mask mixes it with monopole and dipole.
_COUPLED = 256
#: χ² of four degrees of freedom above which a prior is contradicted: a chance of 4e-10.
_UNLIKELY = 50.0

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Dipole:
    """Monopole and dipole of the observed sky, which the prior does not describe.

    Sums over pixels of 1, x, y, z and their products are multipoles up to 2. Fitting and removing
    are therefore transforms to lmax 1 and 2, which is the fastest way.
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
        """Fit monopole and dipole to the observed part of a map; give them as a whole map."""
        return harmonics.synthesis(self.alm(values), self._nside, threads=self._threads)

    def alm(self, values: NDArray[np.floating]) -> NDArray[np.complex128]:
        """Fit monopole and dipole as `of` does; give their harmonics, ``(3,)``."""

        def seen(part: slice) -> NDArray[np.floating]:
            return np.where(self._observed[part], values[part], 0.0)

        return self._fitted(harmonics.adjoint_of(seen, self._nside, lmax=1, threads=self._threads))

    def alm_on(self, sphere: DeviceSphere, values: Vector) -> Vector:
        """Fit as `alm` does on a device; ``values`` are finite there, and the result is, too."""
        seen = values * sphere.vector(self._observed)
        return sphere.vector(self._fitted(sphere.array(sphere.adjoint(seen, 1))))

    def _fitted(self, sums: NDArray[np.complex128]) -> NDArray[np.complex128]:
        """Fit monopole and dipole to the sums of observed pixels times harmonics up to l = 1."""
        a00, a10, a11 = sums
        z, xy = self._vector(a10, a11)
        right = np.array([a00.real * math.sqrt(4 * math.pi), xy.real, xy.imag, z])
        # If too few pixels are observed to separate them, the smallest solution is used.
        one, *vector = np.linalg.lstsq(self._normal, right, rcond=1e-8)[0]
        return np.array(
            [
                one * math.sqrt(4 * math.pi),
                vector[2] * math.sqrt(4 * math.pi / 3),
                complex(-vector[0], vector[1]) * math.sqrt(2 * math.pi / 3),
            ]
        )

    def at(self, alm: NDArray[np.complex128], pixels: NDArray[np.int64]) -> Map:
        """Compute a monopole and dipole, from `alm`, at some pixels, ``(n,)``, RING."""
        mono, z, xy = alm
        x, y, up = pixel_directions(self._nside, pixels).T
        first = math.sqrt(3 / (4 * math.pi)) * z.real * up
        second = -math.sqrt(3 / (2 * math.pi)) * (xy.real * x - xy.imag * y)
        return np.asarray(mono.real / math.sqrt(4 * math.pi) + first + second)

    def contradiction(
        self, values: NDArray[np.floating], prior: Prior, *, noise_variance: Map | None = None
    ) -> str | None:
        """Say how monopole and dipole of the observed sky contradict C_0 and C_1 of a prior.

        The sums of the observed sky times 1, z, x and y are compared with their covariance, to
        which other multipoles contribute through the mask, by χ² of four degrees of freedom.

        Parameters
        ----------
        values
            ``(npix,)``, µK, RING; unobserved pixels are not read.
        prior
            Prior of the map.
        noise_variance
            ``(npix,)``, µK²: noise in each pixel, in place of the prior's.

        Returns
        -------
        A sentence; None if they agree.
        """
        white: Map | float = prior.white_cl * values.size / (4 * math.pi)
        if noise_variance is not None:
            white = noise_variance + prior.aliased_cl * values.size / (4 * math.pi)
        lmax = min(prior.lmax, _COUPLED)
        signal = prior.signal_cl(lmax)
        data = np.where(self._observed, values, 0.0)
        weights, moments, images = [], [], []
        for unit in np.eye(4):
            mono, z, x, y = unit
            alm = np.array([mono, z, (x + 1j * y) / math.sqrt(2)])
            weight = harmonics.synthesis(alm, self._nside, threads=self._threads)
            weight *= self._observed
            weights.append(weight)
            moments.append(float(weight @ data))
            images.append(harmonics.adjoint(weight, lmax=lmax, threads=self._threads))
        covariance = np.empty((4, 4))
        for row in range(4):
            seen = harmonics.almxfl(images[row], signal)
            noisy = white * weights[row]
            for column in range(4):
                # m-major: the first lmax + 1 have m = 0, the others stand for m and -m
                each = (np.conj(images[column]) * seen).real
                total = 2 * float(each.sum()) - float(each[: lmax + 1].sum())
                covariance[row, column] = total + float(noisy @ weights[column])
        chi2 = float(moments @ np.linalg.pinv(covariance, rcond=1e-10, hermitian=True) @ moments)
        if chi2 < _UNLIKELY:
            return None
        low = self.alm(values)
        monopole = abs(low[0]) / math.sqrt(4 * math.pi)
        dipole = math.sqrt(3 / (4 * math.pi) * (abs(low[1]) ** 2 + 2 * abs(low[2]) ** 2))
        return (
            f"the observed sky has a monopole of {monopole:.3g} µK and a dipole of {dipole:.3g} µK,"
            f" which C_0 and C_1 of the prior do not allow (chi² {chi2:.3g} of 4)"
        )

    def parts(self, alm: NDArray[np.complex128]) -> Iterator[tuple[slice, Map]]:
        """Give the map of `alm` in parts, which avoids a second map in memory."""
        return harmonics.parts_of(alm, self._nside, threads=self._threads)
