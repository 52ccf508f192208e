"""Invert the precision matrix of each small hole directly.

Σ⁻¹ couples pixels over a few correlation lengths of the noise-filtered sky, so the coupling between
holes is weak. The Cholesky factors of the diagonal blocks, one per hole, nearly invert the whole
matrix.
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

#: Points of the kernel's table per pixel; cubic interpolation between them is accurate to 1e-7.
_FINE = 32
#: Relative increase of the diagonal if a block is not positive definite; ten times as much at each
#: further attempt.
_RIDGE = 1e-5
#: Columns of a large hole that one thread fills in one call, long and short ones alike.
_FILLED = 500


def affordable(
    sizes: NDArray[np.int64], *, memory: float = 1.5e9, operations: float = 2e11
) -> NDArray[np.bool_]:
    """Choose the holes that get a block: the smallest, within limits of memory and operations.

    Parameters
    ----------
    sizes
        ``(nhole,)``, number of pixels of each hole.
    memory
        Limit for all factors, bytes.
    operations
        Limit for all factorisations, multiplications.

    Returns
    -------
    ``(nhole,)``, True for the chosen holes.
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
        Covariance of the map; its weights, gain and variance define Σ⁻¹.
    nside
        Nside of the map.
    pixels
        ``(n,)``, RING: the pixels of the covariance.
    holes
        For each hole the indices of its pixels in ``pixels``.
    threads
        Number of holes that are factored at the same time; 0 for the number of cores. The factors
        do not depend on it.
    kept
        Cache for the factors.
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
        # One call for all holes: starting its threads takes longer than the work on a small hole.
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
        """Return the packed lower triangles: half the memory, and faster to traverse."""
        packed = self._kept.array(
            "factors", self._packed, dtype=np.float32, shape=(int(self._cuts[-1]),)
        )
        return np.split(packed, self._cuts[1:-1])

    def _packed(self) -> NDArray[np.float32]:
        """Compute the packed triangles, several at the same time."""
        out = np.empty(self._cuts[-1], dtype=np.float32)

        def make(k: int, each: Each) -> None:
            _pack(self._factor(k, each), out[self._cuts[k] : self._cuts[k + 1]])

        for_each(self._sizes, make, threads=self._threads)
        return out

    def _factor(self, k: int, each: Each) -> Map:
        """Factor (Σ⁻¹)_hh of one hole; the factor is the lower triangle, the upper is not set."""
        size = int(self._sizes[k])
        directions = np.ascontiguousarray(self._directions[k].T)
        weights = self._covariance.weights[self.holes[k]]
        scales = 1 / self._step, 1 / self._covariance.variance
        # The upper triangle is never written, so for a large hole it takes no memory.
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
            # Signal over noise is so large that the table's interpolation error matters.
            ridge = max(10 * ridge, _RIDGE)

    def solve(self, values: Map) -> Map:
        """Solve each hole's block for its part of ``values``; ``(n,)``, zero outside the holes."""
        out = np.zeros_like(values)
        for hole, factor in zip(self.holes, self._factors, strict=True):
            right = values[hole].astype(np.float32)
            solution, _ = linalg.lapack.spptrs(hole.size, factor, right, lower=1)
            out[hole] = solution.ravel()
        return out

    def variance(self) -> Map:
        """Compute the variance of each pixel given all pixels outside its hole, ``(n,)``, µK².

        This is the posterior variance if the coupling between holes is neglected. NaN outside the
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
    """Return an upper bound of the largest chord within a hole."""
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
    """Fill the lower triangle with (w_p δ_pq - w_p w_q K(θ_pq)) / σ².

    ``table[1]`` is K(0). ``directions`` is ``(3, n)``; ``columns`` are the first column to fill and
    the step to the next. Each column first stores chords, then angles, then K, in separate loops:
    the compiler vectorises the first and the last.
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
