"""Solve a hole of an image densely from its context: mean, draws and standard deviation.

In geostatistics this is kriging. Given the data d_c around a hole (`skyfill.images.context`), its
pixels are Gaussian with mean Σ_hc Σ_cc⁻¹ d_c and covariance Σ_hh - Σ_hc Σ_cc⁻¹ Σ_ch, as in
`skyfill.gaussian.local`. Σ has the signal's covariance at the great-circle distance of two pixels,
and the noise of each pixel: nothing is taken for flat, and noise may vary from pixel to pixel.

The mean over a block of pixels is the mean over its four quarters. A quarter is a point at its
centre, and its extent multiplies the spectrum by a window, averaged over directions. The average is
right up to the fourth power of the quarter's side over the wavelength.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from skyfill.gaussian.cholesky import Each, factorise, for_each
from skyfill.harmonics import correlation
from skyfill.healpix.jit import compiled
from skyfill.images.context import Context, Reach, context
from skyfill.images.grid import Grid
from skyfill.images.noise import Noise

__all__ = ["Kriging", "Solved", "Task"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]
Pixels = NDArray[np.int64]
Sizes = NDArray[np.int64]

#: Steps of the covariance's table per pixel. The beam spans two pixels or more, and the table is
#: interpolated by cubics.
_FINE = 8
#: Directions of a wave, over an eighth of a turn, over which the window of a quarter is averaged.
_DIRECTIONS = 8


class Task(NamedTuple):
    """A hole with its context."""

    hole: Pixels
    """``(n, 2)``, rows and columns."""
    context: Context

    @property
    def size(self) -> int:
        """Number of rows of the matrix."""
        return len(self.hole) + self.context.level.size


@dataclass(frozen=True)
class Solved:
    """A hole's posterior.

    Attributes
    ----------
    mean, std
        ``(n,)``, µK: the mean, and the standard deviation of a draw, with noise.
    draws
        ``(count, n)``, µK: constrained realizations, with noise.
    noise
        ``(n,)``, µK²: noise variance of the hole's pixels.
    misfit
        Sum of the squares of the decorrelated context, which is `points` on average.
    points
        Number of data of the context.
    """

    mean: Map
    std: Map
    draws: Map
    noise: Map
    misfit: float
    points: int


class Kriging:
    """Solve holes of an image one by one.

    Parameters
    ----------
    grid
        Where the pixels are.
    signal_cl
        ``(lmax + 1,)``, spectrum of the signal in the image, with the beam, µK².
    noise
        Noise of the pixels.
    pixel
        Side of a pixel, radians: the smaller of height and width.
    """

    def __init__(self, grid: Grid, signal_cl: Map, noise: Noise, pixel: float) -> None:
        self._grid, self._cl, self._noise = grid, signal_cl, noise
        self._pixel, self._step = pixel, pixel / _FINE
        self._tables: Map = np.zeros((0, 0, 0))

    def tasks(self, holes: list[Pixels], observed: Mask, reach: Reach) -> list[Task]:
        """Find the contexts of holes, and tabulate the covariance for their distances."""
        tasks, chord, side = [], 0.0, 0.0
        for hole in holes:
            middle = hole.mean(axis=0)
            found = context(hole, observed, reach, self._grid.stretch(*middle))
            tasks.append(Task(hole, found))
            pixels = np.concatenate([hole, found.corner, found.corner + found.sides])
            every = self._grid.directions(pixels[:, 0], pixels[:, 1])
            chord = max(chord, 2 * float(np.linalg.norm(every - every[:, :1], axis=0).max()))
            heights, widths = self._grid.sides(*np.rint(middle)[:, None].astype(np.int64))
            side = max(side, heights[0] * found.stretch[0], widths[0] * found.stretch[1])
        self._tabulate(min(chord, 2.0), side, reach.levels)
        return tasks

    def _tabulate(self, chord: float, side: float, levels: int) -> None:
        """Tabulate the covariance of quarters of all levels at multiples of a step from -1 on."""
        steps = np.arange(math.ceil(chord / self._step) + 4) - 1
        if steps.size <= self._tables.shape[2] and levels < self._tables.shape[0]:
            return
        half = np.minimum(steps * self._step / 2, 1.0)
        cosine = 1 - 2 * half * half
        ell = np.arange(self._cl.size)
        windows = [_window(ell, side, 2 ** max(level - 1, 0)) for level in range(levels + 1)]
        self._tables = np.empty((levels + 1, levels + 1, steps.size))
        for one in range(levels + 1):
            for two in range(one + 1):
                made = correlation(self._cl * windows[one] * windows[two], cosine)
                self._tables[one, two] = self._tables[two, one] = made

    def solve(
        self,
        tasks: list[Task],
        image: NDArray[np.floating[Any]],
        normals: Callable[[int, int], Map],
        *,
        threads: int = 0,
        solved: Callable[[int], None],
    ) -> list[Solved]:
        """Solve holes, several at the same time.

        Parameters
        ----------
        tasks
            From `tasks`.
        image
            ``(ny, nx)``, µK.
        normals
            Gives normal numbers for the draws of a hole, ``(count, n)``, from its index and n.
        threads
            Number of holes in work at a time; 0 for all cores. The result does not depend on it.
        solved
            Called after each hole with its index.

        Raises
        ------
        ValueError
            The covariance is not positive definite: the noise is too low for the beam.
        """
        out: dict[int, Solved] = {}

        def make(k: int, each: Each) -> None:
            out[k] = self._one(tasks[k], image, lambda n: normals(k, n), each)
            solved(k)

        for_each(np.array([task.size for task in tasks]), make, threads=threads)
        return [out[k] for k in range(len(tasks))]

    def _one(
        self,
        task: Task,
        image: NDArray[np.floating[Any]],
        normals: Callable[[int], Map],
        each: Each,
    ) -> Solved:
        around, hole = task.context, task.hole
        n = around.level.size
        places, starts = _quarters(around, hole)
        level = np.concatenate([around.level, np.zeros(len(hole), np.int64)])
        own = self._noise.of_pixels(hole)
        variance = np.concatenate([self._noise.of_blocks(around), own])
        matrix = np.empty((task.size, task.size), order="F")
        directions = np.ascontiguousarray(self._grid.directions(places[:, 0], places[:, 1]))
        _fill(directions, starts, level, variance, self._tables, 1 / self._step, matrix)
        if not factorise(matrix, each):
            raise ValueError(
                "the covariance around a hole is not positive definite: the noise is too low for a"
                " beam that spans so many pixels; give the noise of the image"
                " (`noise_uk_arcmin`, `ivar`)"
            )
        known = around.means(image)
        white = solve_triangular(matrix[:n, :n], known, lower=True, check_finite=False)
        # einsum, since the rounding of BLAS depends on its number of threads
        mean = np.einsum("ij,j->i", matrix[n:, :n], white)
        root = np.tril(matrix[n:, n:])
        draws = mean + np.einsum("ij,kj->ki", root, normals(len(hole)))
        std = np.sqrt(np.einsum("ij,ij->i", root, root))
        return Solved(mean, std, draws, own, float(white @ white), n)


def _window(ell: Sizes, side: float, pixels: int) -> Map:
    """Give the window of a square of so many pixels along a side, averaged over directions."""
    angle = (np.arange(_DIRECTIONS) + 0.5) / _DIRECTIONS * np.pi / 4
    total = np.zeros(ell.size)
    for cos, sin in zip(np.cos(angle), np.sin(angle), strict=True):
        total += _dirichlet(ell * cos * side, pixels) * _dirichlet(ell * sin * side, pixels)
    return np.asarray(total / angle.size)


def _dirichlet(phase: Map, count: int) -> Map:
    """Give the mean of exp(i k x) over equidistant points around zero; phase is k times a step."""
    half = np.maximum(phase / 2, 1e-9)
    return np.asarray(np.sin(count * half) / (count * np.sin(half)))


def _quarters(around: Context, hole: Pixels) -> tuple[Map, Sizes]:
    """Give the centres of quarters of blocks, then the pixels; and where those of each begin."""
    single = around.level == 0
    count = np.where(single, 1, 4)
    sides = around.sides
    offsets = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]]) / 4
    middle = around.corner + (sides - 1) / 2
    places = middle[:, None, :] + offsets * sides[:, None, :]
    places[single] = middle[single][:, None, :]
    keep = np.arange(4) < count[:, None]
    starts = np.concatenate([[0], np.cumsum(np.append(count, np.ones(len(hole), np.int64)))])
    return np.concatenate([places[keep], hole]), starts.astype(np.int64)


@compiled
def _fill(
    directions: Map,
    starts: Sizes,
    level: Sizes,
    variance: Map,
    tables: Map,
    scale: float,
    out: Map,
) -> None:
    """Fill the lower triangle with the covariance of means over points.

    ``starts``, ``(n + 1,)``: the first point of each mean; ``directions``, ``(3, m)``: points;
    ``level``, ``variance``, ``(n,)``: of the means; ``tables[a, b, 1]``: covariance of levels a and
    b at chord zero; ``scale``: one over the tables' step.
    """
    last = tables.shape[2] - 4
    for j in range(out.shape[0]):
        for i in range(j, out.shape[0]):
            total = 0.0
            for b in range(starts[j], starts[j + 1]):
                for a in range(starts[i], starts[i + 1]):
                    x = directions[0, a] - directions[0, b]
                    y = directions[1, a] - directions[1, b]
                    z = directions[2, a] - directions[2, b]
                    s = math.sqrt(x * x + y * y + z * z) * scale
                    k = min(int(s), last)
                    t = s - k
                    # Lagrange's cubic through k - 1 ... k + 2 (Abramowitz & Stegun 25.2.13)
                    total += (
                        tables[level[i], level[j], k] * (-t * (t - 1) * (t - 2) / 6)
                        + tables[level[i], level[j], k + 1] * ((t * t - 1) * (t - 2) / 2)
                        - tables[level[i], level[j], k + 2] * (t * (t + 1) * (t - 2) / 2)
                        + tables[level[i], level[j], k + 3] * (t * (t * t - 1) / 6)
                    )
            out[i, j] = total / ((starts[i + 1] - starts[i]) * (starts[j + 1] - starts[j]))
        out[j, j] += variance[j]
