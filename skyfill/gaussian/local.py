"""Fill few small holes from their surroundings, without transforms of the whole sphere.

Given the points d_c around a hole (`skyfill.gaussian.surroundings`), the hole is Gaussian with mean
Σ_hc Σ_cc⁻¹ d_c and covariance Σ_hh - Σ_hc Σ_cc⁻¹ Σ_ch. One Cholesky factor of Σ, with the hole's
pixels last, gives both:

    L = (L_cc  0  )     Σ_hc Σ_cc⁻¹ = L_hc L_cc⁻¹,   covariance L_hh L_hhᵀ
        (L_hc  L_hh),

Σ is the covariance of the prior, without approximation: signal as a function of distance, and the
noise of each pixel. So means and draws are exact for the data that they use. What data farther away
would add is the difference between the covariance for these points and for wider ones.

Holes with eight or more pixels between them are filled and drawn each for itself.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from skyfill.files.cache import Kept
from skyfill.gaussian.cholesky import Each, factorise, for_each, regress
from skyfill.gaussian.solution import Certificate
from skyfill.gaussian.surroundings import Reach, groups, surroundings
from skyfill.harmonics import correlation
from skyfill.healpix import nside_of, pixel_directions, ring_to_nest
from skyfill.healpix.jit import compiled
from skyfill.holes.runs import Runs

__all__ = ["EXCESS", "Local", "NotLocalError", "local_bytes", "local_work", "worthwhile"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]
Sizes = NDArray[np.int64]
Pixels = NDArray[np.int64]

EXCESS = 0.01
"""Largest excess of the squared error over that of the exact mean."""
#: Smallest Nside: below, a solve on the whole sphere takes a second.
_LEAST = 512
#: Multiplications of a solve on the whole sphere, over Nside³ (10 s on two cores at Nside 1024).
_WHOLE = 150.0
#: Multiplications in the time of one covariance of two pixels.
_ELEMENT = 10.0
#: Limit for the weights and factors of all holes, bytes.
_MEMORY = 1.5e9
#: Largest share of the sky in holes; if more is missing, monopole and dipole are not well known.
_SHARE = 0.01
#: Holes with fewer than twice as many pixels between them are filled together.
_APART = 4
#: Steps of the covariance's table per pixel.
_FINE = 32
#: Share of a covariance's trace that is rounding, and is no excess.
_ROUNDING = 1e-7
_REACH = Reach()


class NotLocalError(ValueError):
    """The surroundings of a hole do not determine it well enough."""


def worthwhile(nside: int, sizes: Sizes) -> bool:
    """Tell whether holes of these sizes, ``(n,)`` pixels, take less time than the whole sphere."""
    if nside < _LEAST or not sizes.size or sizes.sum() > _SHARE * 12 * nside**2:
        return False
    return local_work(sizes) <= _WHOLE * nside**3 and local_bytes(sizes) <= _MEMORY


def local_work(sizes: Sizes) -> float:
    """Estimate the multiplications for holes of these sizes, ``(n,)`` pixels."""
    kinds, number = np.unique(sizes, return_counts=True)
    points = np.array([_REACH.points(float(size)) for size in kinds])
    pixels, both = 3 * points + kinds, points + kinds
    work = both**3 / 6 + kinds * points**2 / 2 + _ELEMENT * pixels**2 / 2
    return float(number @ work)


def local_bytes(sizes: Sizes) -> float:
    """Estimate the memory of weights and factors of holes of these sizes, bytes."""
    kinds, number = np.unique(sizes, return_counts=True)
    points = np.array([_REACH.points(float(size)) for size in kinds])
    return float(8.0 * number @ (kinds * (points + kinds)))


class Local:
    """Compute posterior means and draws of maps that share a mask with few small holes.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, True where observed.
    signal_cl
        ``(lmax + 1,)``, spectrum of the signal on the map, with beam and pixel window, µK².
    variance
        Variance of the noise in each pixel, µK²: a number, or ``(npix,)``, RING, read in the holes
        too.
    reach
        How far the surroundings reach.
    excess
        Largest excess of the squared error of the signal over that of the exact mean.
    threads
        Number of holes whose matrices are factored at the same time; 0 for all cores. The result
        does not depend on it.
    kept
        Cache for arrays that depend only on mask and prior.

    Raises
    ------
    NotLocalError
        The squared error exceeds the exact one by more than ``excess``, in the largest or the
        smallest hole.

    Attributes
    ----------
    holes
        ``(n,)``, RING: the pixels that are filled.
    points
        ``(n,)``, RING: the pixels that `mean` reads.
    count
        Number of holes that are filled separately.
    certificate
        The accuracy: estimated from wider surroundings of the largest and the smallest hole.
    """

    def __init__(
        self,
        observed: Mask,
        *,
        signal_cl: Map,
        variance: Map | float,
        reach: Reach = _REACH,
        excess: float = EXCESS,
        threads: int = 0,
        kept: Kept | None = None,
    ) -> None:
        self.nside = nside = nside_of(observed, "observed")
        self._variance, self._threads, self._observed = variance, threads, observed
        area = 4 * math.pi / observed.size
        self._step = math.sqrt(area) / _FINE
        runs = Runs.of(observed, False)
        self.holes = runs.pixels()
        labels = np.repeat(runs.regions[0].astype(np.int64), runs.sizes)
        nested = ring_to_nest(nside, self.holes)
        of = groups(nside, nested, labels, _APART)
        order = np.argsort(of, kind="stable")
        self._holes = np.split(order, np.flatnonzero(np.diff(of[order])) + 1)
        self.count = len(self._holes)
        sizes = np.array([hole.size for hole in self._holes])
        around = [surroundings(nside, nested[hole], observed, reach) for hole in self._holes]
        # the extreme holes once more, with wider surroundings
        judges = sorted({int(np.argmax(sizes)), int(np.argmin(sizes))})
        wide = [
            surroundings(nside, nested[self._holes[k]], observed, reach.wider()) for k in judges
        ]
        self._tasks = [
            (self.holes[hole], *points)
            for hole, points in zip(
                [*self._holes, *(self._holes[k] for k in judges)], [*around, *wide], strict=True
            )
        ]
        self._points = around
        self.points = np.unique(np.concatenate([p.ravel() for both in around for p in both]))
        table = self._table(signal_cl)
        self._kept = (kept or Kept()).of(observed, table, variance, reach).needing("prior")
        shapes = [(h.size, len(c) + f.size) for h, c, f in self._tasks]
        self._cuts = np.append(0, np.cumsum([h * (n + h) for h, n in shapes]))
        packed = self._kept.array(
            "surroundings",
            lambda: self._packed(table),
            dtype=np.float64,
            shape=(int(self._cuts[-1]),),
        )
        parts = [
            packed[start:stop].reshape(h, n + h)
            for start, stop, (h, n) in zip(self._cuts[:-1], self._cuts[1:], shapes, strict=True)
        ]
        self._weights = [
            (part[:, :n], part[:, n:]) for part, (_, n) in zip(parts, shapes, strict=True)
        ]
        self.certificate = self._judged(judges, excess)
        del self._tasks, self._weights[self.count :]

    def _table(self, signal_cl: Map) -> Map:
        """Tabulate the signal's covariance at multiples of the step of a chord, from -1 on."""
        chord = 0.0
        for hole, coarse, fine in self._tasks:
            every = pixel_directions(self.nside, np.concatenate([hole, fine, coarse.ravel()]))
            chord = max(chord, 2 * float(np.linalg.norm(every - every[0], axis=1).max()))
        steps = np.arange(math.ceil(min(chord, 2.0) / self._step) + 4) - 1
        half = np.minimum(steps * self._step / 2, 1.0)
        return correlation(signal_cl, 1 - 2 * half * half)

    def _packed(self, table: Map) -> Map:
        """Compute the weights of each task, followed by the factor of its covariance."""
        out = np.empty(self._cuts[-1])
        rows = np.array([len(c) + f.size + h.size for h, c, f in self._tasks])

        def make(k: int, each: Each) -> None:
            hole, coarse, fine = self._tasks[k]
            pixels = np.concatenate([coarse.ravel(), fine, hole])
            variance = np.broadcast_to(self._variance, self._observed.shape)[pixels]
            matrix = np.empty((rows[k], rows[k]), order="F")
            directions = np.ascontiguousarray(pixel_directions(self.nside, pixels).T)
            work = np.empty(pixels.size)
            _fill(directions, variance, len(coarse), table, 1 / self._step, work, matrix)
            if not factorise(matrix, each):
                raise NotLocalError("the covariance around a hole is not positive definite")
            n = rows[k] - hole.size
            regress(matrix, n)
            own = out[self._cuts[k] : self._cuts[k + 1]].reshape(hole.size, rows[k])
            own[:, :n] = matrix[n:, :n]
            own[:, n:] = np.tril(matrix[n:, n:])

        for_each(rows, make, threads=self._threads)
        return out

    def _judged(self, judges: list[int], excess: float) -> Certificate:
        """Compare the errors of some holes with those for wider surroundings."""
        worst, distance = 0.0, 0.0
        for number, k in enumerate(judges):
            hole = self.holes[self._holes[k]]
            own, wide = (
                float(np.mean(np.einsum("ij,ij->i", root, root)))
                for root in (self._weights[k][1], self._weights[self.count + number][1])
            )
            noise = float(np.mean(np.broadcast_to(self._variance, self._observed.shape)[hole]))
            more = max(own - wide - _ROUNDING * own, 0.0)
            worst = max(worst, more / max(wide - noise, _ROUNDING * wide))
            distance = max(distance, math.sqrt(more))
        if worst > excess:
            raise NotLocalError(
                f"the squared error in a hole would be {worst:.1%} above that of the exact mean"
            )
        return Certificate(0, 0, 0.0, distance, converged=True, excess=worst)

    def __str__(self) -> str:
        """Summarise the holes and their surroundings."""
        points = sum(len(c) + f.size for c, f in self._points) / self.count
        holes = "hole" if self.count == 1 else "holes"
        return f"{self.count} {holes}, each from some {points:.0f} points around it"

    def mean(self, values: Map) -> Map:
        """Compute the mean in the holes, ``(n,)``, from a map, ``(npix,)``, RING, µK."""
        out = np.empty(self.holes.size)
        for hole, (coarse, fine), (weights, _) in zip(
            self._holes, self._points, self._weights, strict=True
        ):
            known = np.concatenate([values[coarse].mean(axis=1), values[fine]])
            # einsum, since the rounding of BLAS depends on its number of threads
            out[hole] = np.einsum("ij,j->i", weights, known)
        return out

    def scatter(self, normals: Map, less: Map | float = 0.0) -> Map:
        """Turn normal numbers, ``(n,)``, into a draw minus its mean, ``(n,)``, µK.

        Parameters
        ----------
        normals
            ``(n,)``, independent and of variance one.
        less
            Noise that the draw is without: a variance, µK², or one for each hole pixel, ``(n,)``.
        """
        out = np.empty(self.holes.size)
        roots = self._whole if not np.any(less) else self._without(less)
        for hole, root in zip(self._holes, roots, strict=True):
            out[hole] = np.einsum("ij,j->i", root, normals[hole])
        return out

    @property
    def _whole(self) -> list[Map]:
        """Factors of the posterior covariances, with noise."""
        return [root for _, root in self._weights]

    def _without(self, less: Map | float) -> list[Map]:
        """Give symmetric roots of the covariances without some noise."""
        if self._bare is None or not np.array_equal(self._bare[0], less):
            noise = np.broadcast_to(less, self.holes.shape)
            roots = []
            for hole, root in zip(self._holes, self._whole, strict=True):
                values, vectors = np.linalg.eigh(root @ root.T - np.diag(noise[hole]))
                roots.append((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)
            self._bare = less, roots
        return self._bare[1]

    _bare: tuple[Map | float, list[Map]] | None = None

    @cached_property
    def variance(self) -> Map:
        """Variance of a draw in the holes, with noise, ``(n,)``, µK²."""
        out = np.empty(self.holes.size)
        for hole, root in zip(self._holes, self._whole, strict=True):
            out[hole] = np.einsum("ij,ij->i", root, root)
        return out


@compiled
def _fill(
    directions: Map,
    variance: Map,
    means: int,
    table: Map,
    scale: float,
    work: Map,
    out: Map,
) -> None:
    """Fill the lower triangle with the covariance of points, of which the first are means of four.

    ``table[1]`` is the covariance at chord zero, ``scale`` one over the table's step. Of
    ``directions``, ``(3, m)``, the first four belong to the first mean, and so on. ``work`` holds
    one column, ``(m,)``.
    """
    for j in range(out.shape[0]):
        members = 4 if j < means else 1
        begin = 4 * j if j < means else 3 * means + j
        for i in range(begin, work.size):
            work[i] = 0.0
        own = 0.0
        for b in range(begin, begin + members):
            own += variance[b]
            for i in range(begin, work.size):
                x = directions[0, i] - directions[0, b]
                y = directions[1, i] - directions[1, b]
                z = directions[2, i] - directions[2, b]
                s = math.sqrt(x * x + y * y + z * z) * scale
                k = min(int(s), table.size - 4)
                t = s - k
                # Lagrange's cubic through the points k - 1 ... k + 2 (Abramowitz & Stegun 25.2.13)
                work[i] += (
                    table[k] * (-t * (t - 1) * (t - 2) / 6)
                    + table[k + 1] * ((t * t - 1) * (t - 2) / 2)
                    - table[k + 2] * (t * (t + 1) * (t - 2) / 2)
                    + table[k + 3] * (t * (t * t - 1) / 6)
                )
        for i in range(j, out.shape[0]):
            if i < means:
                total = work[4 * i] + work[4 * i + 1] + work[4 * i + 2] + work[4 * i + 3]
                out[i, j] = total / (4 * members)
            else:
                out[i, j] = work[3 * means + i] / members
        out[j, j] += own / (members * members)
