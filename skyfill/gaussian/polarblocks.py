"""The precision matrix of Q and U in each small hole, as a function of directions.

With ξ_± the correlation functions of g_l (`skyfill.harmonics.jointcovariance`) and γ_i the angle at
pixel i from south towards east of the great circle through i and j (Kamionkowski, Kosowsky &
Stebbins 1997), the complex field P = Q + iU has

    <P_i P_j*> = ξ_+ exp 2i(γ_i - γ_j),   <P_i P_j> = ξ_- exp 2i(γ_i + γ_j).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from skyfill.gaussian.blocks import (
    Filler,
    Gained,
    affordable,
    angles_within,
    interpolated,
    spacing,
    steps_of,
)
from skyfill.gaussian.vectors import Vector
from skyfill.harmonics import DeviceSphere, correlations
from skyfill.healpix import pixel_directions
from skyfill.healpix.jit import compiled

__all__ = ["MEMORY", "PolarKernel", "affordable_pol"]

MEMORY = 2e9
"""Bytes of the blocks of P: a hole has four times the bytes in P that it has in T."""

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Multiplications of their factorisations: eight times those of T.
_OPERATIONS = 4e11

#: Square of the projected separation below which two pixels are one, or antipodes: their phase
#: would be rounding.
_SAME = 1e-20


class PolarKernel:
    """(Σ⁻¹)_hh of Q and U between the pixels of each hole.

    Parameters
    ----------
    gained
        Gain of E and B, ``(2, 2, lmax + 1)``, area, and the variance of the noise of Q.
    weights
        ``(n,)``, pixel weights of the pixels of P.
    nside
        Nside of the map.
    pixels
        ``(n,)``, RING: the pixels of P in vectors.
    holes
        For each hole the indices of its pixels in ``pixels``.

    Attributes
    ----------
    holes, sizes, count, deciding
        As of `skyfill.gaussian.blocks.Kernel`, for vectors of Q, then U.
    """

    def __init__(
        self,
        gained: Gained,
        weights: Map,
        nside: int,
        pixels: NDArray[np.int64],
        holes: list[NDArray[np.int64]],
    ) -> None:
        self.holes = [np.concatenate([hole, hole + pixels.size]) for hole in holes]
        self.sizes = np.array([hole.size for hole in self.holes])
        self.count = 2 * pixels.size
        self._variance = gained.variance
        every = np.concatenate(holes)
        cuts = np.cumsum([hole.size for hole in holes])[:-1]
        directions = pixel_directions(nside, pixels[every])
        self._directions = np.split(directions, cuts)
        self._weights = np.split(weights[every], cuts)
        self._step = spacing(gained.area)
        cosine = np.cos(angles_within(self._directions, self._step))
        ee, bb, eb = gained.gain[0, 0], gained.gain[1, 1], gained.gain[0, 1]
        sums = (ee + bb, 2), (ee - bb, -2), (2 * eb, -2)
        self._table: Map = gained.area * np.array([correlations(cl, cosine, n) for cl, n in sums])
        self.deciding = (
            *(self.sizes, directions, weights[every], self._table, self._step, self._variance),
        )

    def filler(self, k: int) -> Filler:
        """Give what fills the columns of a hole's matrix: the first one, and the step."""
        directions = np.ascontiguousarray(self._directions[k].T)
        scales = 1 / self._step, 1 / self._variance

        def fill(matrix: Map, columns: tuple[int, int]) -> None:
            _fill(directions, self._weights[k], self._table, scales, columns, matrix)

        return fill

    def padded(self, chosen: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Give the elements of some holes as rows of one length, and which of them are real."""
        sizes = self.sizes[chosen] // 2
        one = np.arange(int(sizes.max())) < sizes[:, None]
        pixels = np.zeros((2, *one.shape), np.int64)
        for plane, mine in enumerate(pixels):
            mine[one] = np.concatenate(
                [np.split(self.holes[k], 2)[plane] for k in chosen]  # Q, then U
            )
        return np.hstack(list(pixels)), np.hstack([one, one])

    def matrices(self, chosen: NDArray[np.int64], sphere: DeviceSphere) -> Vector:
        """Fill the matrices of some holes on a device, as `filler` does."""
        real = np.split(self.padded(chosen)[1], 2, axis=1)[0]
        directions, weights = np.zeros((*real.shape, 3)), np.zeros(real.shape)
        directions[..., 0] = 1.0  # of the padding, whose weights are zero
        directions[real] = np.concatenate([self._directions[k] for k in chosen])
        weights[real] = np.concatenate([self._weights[k] for k in chosen])
        way, own = sphere.vector(directions), sphere.vector(weights)
        apart = [way[:, :, None, k] - way[:, None, :, k] for k in range(3)]
        at = steps_of(sum(each * each for each in apart), self._step)
        ((a, b), (c, d)) = (_phases(way[:, :, None], apart), _phases(way[:, None, :], apart))
        plus, *minus = (interpolated(table, at) for table in sphere.vector(self._table))
        # Times the phases: a + ib at pixel i, c + id at pixel j, conjugate for plus.
        re_plus, im_plus = plus * (a * c + b * d), plus * (b * c - a * d)
        re, im = a * c - b * d, b * c + a * d
        re_minus, im_minus = minus[0] * re - minus[1] * im, minus[0] * im + minus[1] * re
        factor = own[:, :, None] * own[:, None, :] * (-0.5 / self._variance)
        m = real.shape[1]
        out = factor.new_zeros((len(real), 2 * m, 2 * m))
        out[:, :m, :m] = factor * (re_plus + re_minus)
        out[:, m:, :m] = factor * (im_plus + im_minus)
        out[:, :m, m:] = out[:, m:, :m].mT
        out[:, m:, m:] = factor * (re_plus - re_minus)
        twice = own.repeat(1, 2)
        out.diagonal(dim1=1, dim2=2).add_(twice / self._variance)
        return out


def _phases(n: Vector, apart: list[Vector]) -> tuple[Vector, Vector]:
    """Give real and imaginary part of exp 2iγ at pixels ``n`` for separations, as `_phase` does."""
    x, y, z = apart
    rho = (n[..., 0] ** 2 + n[..., 1] ** 2).sqrt()
    south = (n[..., 0] * n[..., 2] * x + n[..., 1] * n[..., 2] * y) / rho - rho * z
    east = (n[..., 0] * y - n[..., 1] * x) / rho
    square = south * south + east * east
    one = square < _SAME
    square = square.masked_fill(one, 1.0)
    real = ((south * south - east * east) / square).masked_fill_(one, 1.0)
    return real, (2 * south * east / square).masked_fill_(one, 0.0)


@compiled
def _interpolated(table: Map, at: float) -> float:
    """Evaluate a table by Lagrange's cubic (Abramowitz & Stegun 25.2.13); ``table[1]`` is at 0."""
    k = min(int(at), table.size - 4)
    t = at - k
    value: float = (
        table[k] * (-t * (t - 1) * (t - 2) / 6)
        + table[k + 1] * ((t * t - 1) * (t - 2) / 2)
        - table[k + 2] * (t * (t + 1) * (t - 2) / 2)
        + table[k + 3] * (t * (t * t - 1) / 6)
    )
    return value


@compiled
def _phase(directions: Map, i: int, x: float, y: float, z: float) -> complex:
    """Give exp 2iγ at pixel i for the separation (x, y, z)."""
    nx, ny, nz = directions[0, i], directions[1, i], directions[2, i]
    rho = math.sqrt(nx * nx + ny * ny)
    south = (nx * nz * x + ny * nz * y) / rho - rho * z
    east = (nx * y - ny * x) / rho
    square = south * south + east * east
    if square < _SAME:
        return complex(1.0, 0.0)
    return complex((south * south - east * east) / square, 2 * south * east / square)


@compiled
def _pair(
    directions: Map, i: int, j: int, table: Map, inverse_step: float
) -> tuple[complex, complex]:
    """Give <P_i P_j*> and <P_i P_j>."""
    x = directions[0, i] - directions[0, j]
    y = directions[1, i] - directions[1, j]
    z = directions[2, i] - directions[2, j]
    at = 2 * math.asin(min(0.5 * math.sqrt(x * x + y * y + z * z), 1.0)) * inverse_step
    mine, theirs = _phase(directions, i, x, y, z), _phase(directions, j, x, y, z)
    plus = _interpolated(table[0], at) * mine * theirs.conjugate()
    minus = complex(_interpolated(table[1], at), _interpolated(table[2], at))
    return plus, minus * mine * theirs


@compiled
def _fill(
    directions: Map,
    weights: Map,
    table: Map,
    scales: tuple[float, float],
    columns: tuple[int, int],
    out: Map,
) -> None:
    """Fill the lower triangle with (w_p δ_pq - w_p w_q K_pq) / σ², of Q, then U.

    ``table`` holds ξ_+ and the real and imaginary part of ξ_-; ``directions`` is ``(3, n)``.
    """
    inverse_step, precision = scales
    n = weights.size
    for column in range(columns[0], 2 * n, columns[1]):
        j, of_q = column % n, column < n
        for i in range(0 if of_q else j, n):
            plus, minus = _pair(directions, i, j, table, inverse_step)
            factor = -0.5 * weights[i] * weights[j] * precision
            own = weights[i] * precision if i == j else 0.0
            if not of_q:
                out[n + i, n + j] = factor * (plus.real - minus.real) + own
                continue
            out[n + i, j] = factor * (plus.imag + minus.imag)  # U_i Q_j
            if i >= j:
                out[i, j] = factor * (plus.real + minus.real) + own


def affordable_pol(sizes: NDArray[np.int64]) -> Mask:
    """Choose the holes that get a block of Q and U, as `affordable` does.

    ``sizes`` are numbers of pixels, ``(nhole,)``.
    """
    return affordable(2 * sizes, memory=MEMORY, operations=_OPERATIONS)
