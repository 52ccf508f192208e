"""Invert the precision matrix of each small hole directly.

Σ⁻¹ couples pixels over a few correlation lengths of the noise-filtered sky, so the coupling between
holes is weak. The Cholesky factors of the diagonal blocks, one per hole, nearly invert the whole
matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from skyfill.files.cache import Kept
from skyfill.gaussian.cholesky import Each, factorise, for_each, invert
from skyfill.gaussian.vectors import Vector, zeros_like
from skyfill.harmonics import Covariance, DeviceSphere, correlation
from skyfill.healpix import pixel_directions
from skyfill.healpix.jit import by_parts, compiled
from skyfill.holes import grow, label_holes

__all__ = [
    "Blocks",
    "DeviceBlocks",
    "Filler",
    "Gained",
    "HoleBlocks",
    "Kernel",
    "affordable",
    "angles_within",
    "interpolated",
    "labels_of",
    "spacing",
    "steps_of",
]

Map = NDArray[np.float64]
Filler = Callable[[Map, tuple[int, int]], None]

#: Holes closer to each other than twice this over lmax, about seven pixels, share a block.
_APART = 2 * np.pi
#: Points of the kernel's table per pixel; cubic interpolation between them is accurate to 1e-7.
_FINE = 32
#: Relative increase of the diagonal if a block is not positive definite; ten times as much at each
#: further attempt.
_RIDGE = 1e-5
#: Holes share an array on a device if the largest is larger than the smallest by at most one part
#: in this number, or by this number of pixels.
_PADDED = 8
#: Elements of such an array.
_ELEMENTS = 2**26
#: Multiplications of the transforms that blocks save, over Nside³: a solve by bands takes some
#: hundred iterations more. At Nside 64 it takes as long as 1e9 multiplications of a factorisation.
_BANDS = 4000.0
#: Multiplications of blocks that are always affordable, about a second. Bands are poor on the
#: smallest spheres, where holes are as wide as the sky, above all without noise.
_ALWAYS = 1e10
#: Elements of the factors that one thread solves with in one go, 8 MB.
_RUN = 2**21
#: Columns of a large hole that one thread fills in one call, long and short ones alike.
_FILLED = 500


def labels_of(
    observed: NDArray[np.bool_], pixels: NDArray[np.int64], lmax: int, kept: Kept
) -> NDArray[np.int32]:
    """Label hole pixels by their hole, from 1; holes that are close to each other have one label.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, True where observed.
    pixels
        ``(nhole,)``, RING: those that are not.
    lmax
        Largest multipole of the signal, which says what is close.
    kept
        Cache for what depends only on the mask.

    Returns
    -------
    ``(nhole,)``.
    """
    apart = _APART / (lmax + 1)
    labels: NDArray[np.int32] = kept.of(apart).array(
        "labels",
        lambda: label_holes(grow(observed, apart)).labels[pixels],
        dtype=np.int32,
        shape=pixels.shape,
    )
    return labels


def affordable(
    sizes: NDArray[np.int64],
    *,
    nside: int | None = None,
    memory: float = 1.5e9,
    operations: float = 2e11,
) -> NDArray[np.bool_]:
    """Choose the holes that get a block: the smallest, within limits of memory and operations.

    Parameters
    ----------
    sizes
        ``(nhole,)``, number of pixels of each hole.
    nside
        Nside of the map. If given, factorisations are also limited to the time of a solve by bands,
        whose transforms grow as Nside³; this is the lower limit below Nside 369.
    memory
        Limit for all factors, bytes.
    operations
        Limit for all factorisations, multiplications.

    Returns
    -------
    ``(nhole,)``, True for the chosen holes.
    """
    if nside is not None:
        operations = min(operations, max(_BANDS * nside**3, _ALWAYS))
    order = np.argsort(sizes, kind="stable")
    n = sizes[order].astype(np.float64)
    fits = (np.cumsum(2 * n * (n + 1)) <= memory) & (np.cumsum(n**3 / 6) <= operations)
    chosen = np.zeros(sizes.size, dtype=bool)
    chosen[order[fits]] = True
    return chosen


class Gained(NamedTuple):
    """The part of a `Covariance` that defines a kernel."""

    gain: Map
    area: float
    variance: float


class Blocks(Protocol):
    """A kernel, as `HoleBlocks` uses it."""

    #: For each hole the elements of a vector that belong to it, and how many they are.
    holes: list[NDArray[np.int64]]
    sizes: NDArray[np.int64]
    #: Length of a vector, and all that decides about the factors.
    count: int
    deciding: tuple[Any, ...]

    def filler(self, k: int) -> Filler:
        """Give what fills the columns of a hole's matrix: the first one, and the step."""

    def padded(self, chosen: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Give the elements of some holes as rows of one length, and which of them are real."""

    def matrices(self, chosen: NDArray[np.int64], sphere: DeviceSphere) -> Vector:
        """Give their matrices on a device, ``(hole, n, n)``; zero where padded."""


class Kernel:
    """(Σ⁻¹)_hh between the pixels of each hole, as a function of their distance.

    Parameters
    ----------
    covariance
        Covariance of the map; its gain, area and variance define Σ⁻¹.
    weights
        ``(n,)``, pixel weights of its pixels.
    nside
        Nside of the map.
    pixels
        ``(n,)``, RING: the pixels of the covariance.
    holes
        For each hole the indices of its pixels in ``pixels``.

    Attributes
    ----------
    table, step
        The kernel at multiples of ``step`` radians, from -``step`` on.
    variance
        Variance of the noise, µK².
    directions, weights
        For each hole ``(size, 3)`` unit vectors, and ``(size,)``.
    """

    def __init__(
        self,
        covariance: Covariance | Gained,
        weights: Map,
        nside: int,
        pixels: NDArray[np.int64],
        holes: list[NDArray[np.int64]],
    ) -> None:
        self.holes = holes
        self.sizes = sizes = np.array([hole.size for hole in holes])
        self.count = pixels.size
        self.variance = covariance.variance
        # One call for all holes: starting its threads takes longer than the work on a small hole.
        every = np.concatenate(holes)
        directions = pixel_directions(nside, pixels[every])
        cuts = np.cumsum(sizes)[:-1]
        self.directions = np.split(directions, cuts)
        self.weights = np.split(weights[every], cuts)
        self.step = spacing(covariance.area)
        angle = angles_within(self.directions, self.step)
        self.table: Map = covariance.area * correlation(covariance.gain, np.cos(angle))
        self.deciding = (sizes, directions, weights[every], self.table, self.step, self.variance)

    def filler(self, k: int) -> Filler:
        """Give what fills the columns of a hole's matrix: the first one, and the step."""
        directions = np.ascontiguousarray(self.directions[k].T)
        scales = 1 / self.step, 1 / self.variance

        def fill(matrix: Map, columns: tuple[int, int]) -> None:
            flat = matrix.ravel(order="F")  # the same type for one pixel and for many
            _fill(directions, self.weights[k], self.table, scales, columns, flat)

        return fill

    def padded(self, chosen: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Give the elements of some holes as rows of one length, and which of them are real."""
        sizes = self.sizes[chosen]
        real = np.arange(int(sizes.max())) < sizes[:, None]
        pixels = np.zeros(real.shape, np.int64)
        pixels[real] = np.concatenate([self.holes[k] for k in chosen])
        return pixels, real

    def matrices(self, chosen: NDArray[np.int64], sphere: DeviceSphere) -> Vector:
        """Fill (w_p δ_pq - w_p w_q K(θ_pq)) / σ² on a device, as `filler` does."""
        real = self.padded(chosen)[1]
        directions, weights = np.zeros((*real.shape, 3)), np.zeros(real.shape)
        directions[real] = np.concatenate([self.directions[k] for k in chosen])
        weights[real] = np.concatenate([self.weights[k] for k in chosen])
        way, own = sphere.vector(directions), sphere.vector(weights)
        square = sum((way[:, :, None, k] - way[:, None, :, k]).square_() for k in range(3))
        value = interpolated(sphere.vector(self.table), steps_of(square, self.step))
        value *= -own[:, :, None] * own[:, None, :]
        value.diagonal(dim1=1, dim2=2).add_(own)
        return value.div_(self.variance)


def steps_of(square: Vector, step: float) -> Vector:
    """Turn squares of chords into angles in units of a table's step, in place."""
    return square.sqrt_().mul_(0.5).clamp_(max=1.0).asin_().mul_(2 / step)


def interpolated(table: Vector, at: Vector) -> Vector:
    """Evaluate a table on a device by Lagrange's cubic, as `_fill` does; ``table[1]`` is at 0."""
    k = at.long().clamp_(max=len(table) - 4)
    t = at - k
    value = table[k] * (-t * (t - 1) * (t - 2) / 6)
    value += table[k + 1] * ((t * t - 1) * (t - 2) / 2)
    value -= table[k + 2] * (t * (t + 1) * (t - 2) / 2)
    value += table[k + 3] * (t * (t * t - 1) / 6)
    return value


class HoleBlocks:
    """(Σ⁻¹)_hh of each hole and its Cholesky factor.

    Parameters
    ----------
    kernel
        The blocks' elements.
    threads
        Number of holes that are factored at the same time; 0 for the number of cores. The factors
        do not depend on it.
    kept
        Cache for the factors.
    """

    def __init__(self, kernel: Blocks, *, threads: int = 0, kept: Kept | None = None) -> None:
        self.kernel = kernel
        self._threads = threads
        self._cuts = np.append(0, np.cumsum(kernel.sizes * (kernel.sizes + 1) // 2))
        self._kept = (kept or Kept()).of(*kernel.deciding)

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
            factor = self._factor(k, each).ravel(order="F")
            _pack(factor, out[self._cuts[k] : self._cuts[k + 1]])

        for_each(self.kernel.sizes, make, threads=self._threads)
        return out

    def _factor(self, k: int, each: Each) -> Map:
        """Factor (Σ⁻¹)_hh of one hole; the factor is the lower triangle, the upper is not set."""
        size = int(self.kernel.sizes[k])
        # The upper triangle is never written, so for a large hole it takes no memory.
        matrix = np.empty((size, size), order="F")
        parts = -(-size // _FILLED)
        ridge = 0.0

        fill = self.kernel.filler(k)
        while True:
            each(lambda part: fill(matrix, (part, parts)), range(parts))
            if ridge:
                matrix[np.diag_indices(size)] *= 1 + ridge
            if factorise(matrix, each):
                return matrix
            # Signal over noise is so large that the table's interpolation error matters.
            ridge = max(10 * ridge, _RIDGE)

    def solve(self, values: Map) -> Map:
        """Solve each hole's block for its part of ``values``; ``(n,)``, zero outside the holes."""
        out = np.zeros_like(values)
        factors = self._factors
        # Runs of holes whose factors take about as much memory, which is what a solve goes through.
        count = int(self._cuts[-1]) // _RUN + 1
        ends = np.searchsorted(self._cuts, self._cuts[-1] * np.arange(count + 1) / count)

        def solve(part: slice) -> None:
            for k in range(ends[part.start], ends[part.stop]):
                hole = self.kernel.holes[k]
                right = values[hole].astype(np.float32)
                solution, _ = linalg.lapack.spptrs(hole.size, factors[k], right, lower=1)
                out[hole] = solution.ravel()

        by_parts(count, solve, least=1)
        return out

    def variance(self) -> Map:
        """Compute the variance of each pixel given all pixels outside its hole, ``(n,)``, µK².

        This is the posterior variance if the coupling between holes is neglected. NaN outside the
        holes.
        """
        out = np.full(self.kernel.count, np.nan)

        def invert_one(k: int, each: Each) -> None:
            matrix = self._factor(k, each)
            invert(matrix)
            out[self.kernel.holes[k]] = matrix.diagonal()

        for_each(self.kernel.sizes, invert_one, threads=self._threads)
        return out


class DeviceBlocks:
    """The inverse of (Σ⁻¹)_hh of each hole, on a device.

    Holes of about the same size share one array, so that a few products of matrices and vectors
    serve thousands of holes.

    Parameters
    ----------
    kernel
        The blocks' elements.
    sphere
        Where the vectors are.
    """

    def __init__(self, kernel: Blocks, sphere: DeviceSphere) -> None:
        self.kernel = kernel
        self._sphere = sphere

    @cached_property
    def _groups(self) -> list[tuple[Vector, Vector, Vector]]:
        """For each group its pixels, which of them are real, and the inverses in float32."""
        order = np.argsort(self.kernel.sizes, kind="stable")
        sizes = self.kernel.sizes[order]
        groups = []
        first = 0
        while first < order.size:
            most = sizes[first] + max(sizes[first] // _PADDED, _PADDED)
            last = int(np.searchsorted(sizes, most, side="right"))
            last = min(last, first + max(_ELEMENTS // int(sizes[last - 1]) ** 2, 1))
            groups.append(self._inverses(order[first:last]))
            first = last
        return groups

    def _inverses(self, chosen: NDArray[np.int64]) -> tuple[Vector, Vector, Vector]:
        """Compute the inverses of some holes' blocks."""
        import torch

        pixels, real = self.kernel.padded(chosen)
        matrix = self.kernel.matrices(chosen, self._sphere)
        diagonal = matrix.diagonal(dim1=1, dim2=2)
        diagonal += self._sphere.vector(np.where(real, 0.0, 1.0))  # 1 for the padding
        given, ridge = diagonal.clone(), 0.0
        while True:
            factor, failed = torch.linalg.cholesky_ex(matrix)
            bad = failed > 0
            if not bad.any():
                break
            ridge = max(10 * ridge, _RIDGE)
            diagonal[bad] = given[bad] * (1 + ridge)
        unit = torch.eye(real.shape[1], dtype=factor.dtype, device=factor.device)
        root = torch.linalg.solve_triangular(factor, unit.expand_as(factor), upper=False)
        inverse = (root.mT @ root).float()
        return self._sphere.vector(pixels), self._sphere.vector(real), inverse

    def solve(self, values: Vector) -> Vector:
        """Solve each hole's block for its part of ``values``; ``(n,)``, zero outside the holes."""
        out = zeros_like(values)
        for pixels, real, inverse in self._groups:
            right = (values[pixels] * real).float()
            found = (inverse @ right[..., None])[..., 0]
            out[pixels[real]] = found[real].double()
        return out


def spacing(area: float) -> float:
    """Return the step of a kernel's table for pixels of this area, radians."""
    return math.sqrt(area) / _FINE


def angles_within(directions: list[Map], step: float) -> Map:
    """Return the angles of a kernel's table, from -``step`` on, for holes with these pixels."""
    size = max(_diameter(each) for each in directions)
    points = math.ceil(2 * math.asin(min(size / 2, 1.0)) / step) + 4
    return np.asarray((np.arange(points) - 1) * step, dtype=np.float64)


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

    ``table[1]`` is K(0). ``directions`` is ``(3, n)``, ``out`` ``(n²,)``, one column after the
    other; ``columns`` are the first column to fill and
    the step to the next. Each column first stores chords, then angles, then K, in separate loops:
    the compiler vectorises the first and the last.
    """
    inverse_step, precision = scales
    for j in range(columns[0], weights.size, columns[1]):
        column = out[j * weights.size : (j + 1) * weights.size]
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
    """Write the lower triangle of ``(n²,)`` columns one after the other, as LAPACK packs it."""
    place = 0
    first = 0  # of the column, in ``factor``
    size = int(math.sqrt(factor.size) + 0.5)
    for j in range(size):
        for i in range(j, size):
            out[place] = factor[first + i]
            place += 1
        first += size
