"""Invert the precision of small holes directly, each for itself.

Σ⁻¹ couples pixels over some few correlation lengths of the noise-filtered sky, so holes hardly see
each other: the Cholesky factors of the diagonal blocks, one per hole, nearly invert the whole.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from skyfill.files.cache import Kept
from skyfill.gaussian.cholesky import Each, factorise, for_each, invert
from skyfill.harmonics import Covariance, correlation
from skyfill.healpix import pixel_directions
from skyfill.healpix.jit import compiled

__all__ = ["HoleBlocks", "affordable"]

Map = NDArray[np.float64]

#: Points of the kernel's table per pixel; cubic interpolation between them is good to 1e-7.
_FINE = 32
#: Added to the diagonal, in units of it, where that is not enough; ten times as much, and so on.
_RIDGE = 1e-5
#: Columns that are filled at a time, long and short ones: what threads share of a large hole.
_FILLED = 500


def affordable(
    sizes: NDArray[np.int64], *, memory: float = 1.5e9, operations: float = 2e11
) -> NDArray[np.bool_]:
    """Choose the holes that are worth a block: the smallest, within memory and operations.

    Parameters
    ----------
    sizes
        ``(nhole,)`` numbers of pixels.
    memory
        Bytes of all factors.
    operations
        Multiplications of all factorisations.
    """
    order = np.argsort(sizes, kind="stable")
    n = sizes[order].astype(np.float64)
    fits = (np.cumsum(2 * n * (n + 1)) <= memory) & (np.cumsum(n**3 / 6) <= operations)
    chosen = np.zeros(sizes.size, dtype=bool)
    chosen[order[fits]] = True
    return chosen


class HoleBlocks:
    """(Σ⁻¹)_hh of each hole and its Cholesky factor.

    Parameters
    ----------
    covariance
        Of the map; its weights, gain and variance make Σ⁻¹.
    nside
        Resolution.
    pixels
        ``(n,)``, RING: what the covariance is of.
    holes
        For each hole the positions of its pixels within ``pixels``.
    threads
        How many holes are factored at the same time; 0 for as many as there are cores. The factors
        do not depend on it.
    kept
        Where factors are kept, and looked for.
    """

    def __init__(
        self,
        covariance: Covariance,
        nside: int,
        pixels: NDArray[np.int64],
        holes: list[NDArray[np.int64]],
        *,
        threads: int = 0,
        kept: Kept | None = None,
    ) -> None:
        self.holes = holes
        self._threads = threads
        self._covariance = covariance
        # All at once: a call that starts threads takes longer than a hole of some pixels.
        every = np.concatenate(holes)
        self._sizes = sizes = np.array([hole.size for hole in holes])
        directions = pixel_directions(nside, pixels[every])
        self._directions = np.split(directions, np.cumsum(sizes)[:-1])
        self._cuts = np.append(0, np.cumsum(sizes * (sizes + 1) // 2))
        size = max(_diameter(each) for each in self._directions)
        self._step = math.sqrt(covariance.area) / _FINE
        points = math.ceil(2 * math.asin(min(size / 2, 1.0)) / self._step) + 4
        angle = (np.arange(points) - 1) * self._step
        self._table: Map = covariance.area * correlation(covariance.gain, np.cos(angle))
        weights = covariance.weights[every]
        self._kept = (kept or Kept()).of(
            sizes, directions, weights, self._table, self._step, covariance.variance
        )

    @cached_property
    def _factors(self) -> list[NDArray[np.float32]]:
        """Give the lower triangles, packed: half the memory, and faster to go through."""
        packed = self._kept.array(
            "factors", self._packed, dtype=np.float32, shape=(int(self._cuts[-1]),)
        )
        return np.split(packed, self._cuts[1:-1])

    def _packed(self) -> NDArray[np.float32]:
        """Make them, some at the same time."""
        out = np.empty(self._cuts[-1], dtype=np.float32)

        def make(k: int, each: Each) -> None:
            _pack(self._factor(k, each), out[self._cuts[k] : self._cuts[k + 1]])

        for_each(self._sizes, make, threads=self._threads)
        return out

    def _factor(self, k: int, each: Each) -> Map:
        """Give the lower Cholesky factor of (Σ⁻¹)_hh of one hole; the upper triangle is not set."""
        size = int(self._sizes[k])
        directions = np.ascontiguousarray(self._directions[k].T)
        weights = self._covariance.weights[self.holes[k]]
        scales = 1 / self._step, 1 / self._covariance.variance
        # The upper triangle is never written: for a large hole it takes no memory.
        matrix = np.empty((size, size), order="F")
        parts = -(-size // _FILLED)
        ridge = 0.0

        def fill(part: int) -> None:
            _fill(directions, weights, self._table, scales, (part, parts), matrix)

        while True:
            each(fill, range(parts))
            if ridge:
                matrix[np.diag_indices(size)] *= 1 + ridge
            if factorise(matrix, each):
                return matrix
            # Signal over noise is so large that the table's interpolation shows.
            ridge = max(10 * ridge, _RIDGE)

    def solve(self, values: Map) -> Map:
        """Solve for each hole; ``(n,)``, zero outside the holes."""
        out = np.zeros_like(values)
        for hole, factor in zip(self.holes, self._factors, strict=True):
            right = values[hole].astype(np.float32)
            solution, _ = linalg.lapack.spptrs(hole.size, factor, right, lower=1)
            out[hole] = solution.ravel()
        return out

    def variance(self) -> Map:
        """Give the variance of each pixel given all others outside its hole, ``(n,)``.

        That is the posterior variance, µK², as far as holes do not see each other; NaN outside the
        holes.
        """
        out = np.full(self._covariance.weights.size, np.nan)

        def invert_one(k: int, each: Each) -> None:
            matrix = self._factor(k, each)
            invert(matrix)
            out[self.holes[k]] = matrix.diagonal()

        for_each(self._sizes, invert_one, threads=self._threads)
        return out


def _diameter(directions: Map) -> float:
    """Bound the largest chord within a hole."""
    return 2 * float(np.linalg.norm(directions - directions[0], axis=1).max())


@compiled
def _fill(
    directions: Map,
    weights: Map,
    table: Map,
    scales: tuple[float, float],
    columns: tuple[int, int],
    out: Map,
) -> None:
    """Fill the lower triangle with (w_p δ_pq - w_p w_q K(θ_pq)) / σ²; table[1] is at zero.

    ``directions`` is ``(3, n)``; ``columns`` are the first to fill and the step to the next. A
    column itself holds what is on the way from directions to K, in loops so short that the first
    and the last work on several entries at once.
    """
    inverse_step, precision = scales
    for j in range(columns[0], weights.size, columns[1]):
        column = out[:, j]
        for i in range(j, weights.size):
            x = directions[0, i] - directions[0, j]
            y = directions[1, i] - directions[1, j]
            z = directions[2, i] - directions[2, j]
            column[i] = min(0.5 * math.sqrt(x * x + y * y + z * z), 1.0)
        for i in range(j, weights.size):
            column[i] = 2 * math.asin(column[i]) * inverse_step
        for i in range(j, weights.size):
            k = min(int(column[i]), table.size - 4)
            t = column[i] - k
            # Lagrange's cubic through the points k - 1 ... k + 2 (Abramowitz & Stegun 25.2.13)
            kernel = (
                table[k] * (-t * (t - 1) * (t - 2) / 6)
                + table[k + 1] * ((t * t - 1) * (t - 2) / 2)
                - table[k + 2] * (t * (t + 1) * (t - 2) / 2)
                + table[k + 3] * (t * (t * t - 1) / 6)
            )
            column[i] = -weights[i] * weights[j] * kernel * precision
        column[j] += weights[j] * precision


@compiled
def _pack(factor: Map, out: NDArray[np.float32]) -> None:
    """Write a lower triangle column by column, as LAPACK packs it."""
    place = 0
    for j in range(factor.shape[0]):
        for i in range(j, factor.shape[0]):
            out[place] = factor[i, j]
            place += 1
