"""The two loops of the exact solver, see `skyfill.gaussian.solver`."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.harmonics import Covariance
from skyfill.healpix.jit import compiled
from skyfill.progress import Progress

__all__ = ["Course", "Inner", "Outer", "rms"]

Map = NDArray[np.float64]

#: Smallest number of iterations from which the remaining distance is estimated.
_FEWEST = 3
#: Growth of the residual above which corrections stop, because they diverge.
_WORSE = 10.0
#: Square of the residual, in units of the first, below which only rounding is left.
_ROUNDING = 1e-24


class Course:
    """The scalars of a solve: step lengths, and decisions whether to continue.

    Conjugate gradients compute these scalars from the data, so their result is not linear in the
    data. With the scalars of another solve the result is linear: the same polynomial of the same
    operators is applied to all data.

    Parameters
    ----------
    numbers
        Scalars of the solve to follow. If not given, the scalars of this solve are recorded in
        `numbers`.
    """

    def __init__(self, numbers: ArrayLike | None = None) -> None:
        self._follows = numbers is not None
        self.numbers: list[float] = [] if numbers is None else np.asarray(numbers, float).tolist()
        self._at = 0

    def take(self, own: float, over: float = 1.0) -> float:
        """Return the next recorded scalar, or record and return ``own / over``."""
        if not self._follows:
            self.numbers.append(float(own / over))
            return self.numbers[-1]
        self._at += 1
        return self.numbers[self._at - 1]


class Model(Protocol):
    """The part of a `Solver` that the loops use."""

    holes: NDArray[np.int64]
    #: Approximation of Σ with a known inverse: on the whole sphere, and between hole pixels.
    sky: Covariance
    inner: Covariance

    def precondition(self, values: Map) -> Map:
        """Apply an approximate inverse of ``inner.inverse``."""

    def covariance(self, y: Map) -> tuple[NDArray[np.complex128], Map]:
        """Compute Yᵀ y and Σ y exactly."""

    def size(self, rest: Map) -> float:
        """Compute the rms of a residual."""


@compiled
def _dot(a: Map, b: Map) -> float:
    """Compute a dot product without BLAS, whose idle threads would slow down the transforms."""
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@compiled
def _advance(x: Map, rest: Map, direction: Map, image: Map, step: float) -> float:
    """Take a step along a direction, in one pass through memory; return the direction's rms."""
    total = 0.0
    for i in range(x.size):
        x[i] += step * direction[i]
        rest[i] -= step * image[i]
        total += direction[i] * direction[i]
    return math.sqrt(total / x.size)


@compiled
def _turn(direction: Map, z: Map, factor: float) -> None:
    """Replace the direction by z + factor * direction."""
    for i in range(z.size):
        direction[i] = z[i] + factor * direction[i]


def rms(values: Map) -> float:
    """Compute the root mean square."""
    return float(np.sqrt(_dot(values, values) / values.size))


def _ahead(moves: list[float]) -> float:
    """Estimate the remaining distance from the lengths of the steps so far.

    Let q be the length of the last third of the steps over that of the third before. If the steps
    keep shrinking by q, the remaining distance is q / (1 - q) times the last third. The steps of
    conjugate gradients are nearly orthogonal, so they are added in quadrature. Estimates from fewer
    steps would mistake a few short steps for convergence.
    """
    third = -(-len(moves) // 3)
    if len(moves) < _FEWEST:
        return np.inf
    last, earlier = (
        float(np.linalg.norm(part)) for part in (moves[-third:], moves[-2 * third : -third])
    )
    q = min(last / earlier, 0.95) if earlier else 0.0
    return last * max(q, 0.1) / (1 - q)


class Inner:
    """Solve for the holes with the approximate Q, and count the iterations."""

    def __init__(self, model: Model, progress: Progress, limit: int, course: Course) -> None:
        self._model = model
        self._progress = progress
        self._course = course
        self.left = limit
        self.taken = 0

    def solve(
        self, right: Map, start: Map | None = None, *, allowed: float, relative: float = 0.0
    ) -> tuple[Map, float]:
        """Solve Q_hh x = right by conjugate gradients.

        Parameters
        ----------
        right
            ``(nhole,)``.
        start
            ``(nhole,)``, starting point; zero if not given.
        allowed, relative
            Distance from the solution at which to stop: in µK, and in units of the rms of x. The
            larger one applies.

        Returns
        -------
        x, and its estimated rms distance from the solution, µK (`_ahead`).
        """
        precision, precondition = self._model.inner.inverse, self._model.precondition
        take = self._course.take
        x = np.zeros_like(right) if start is None else np.array(start, dtype=np.float64)
        rest = right.copy() if start is None else right - precision(x)
        z = precondition(rest)
        direction = z.copy()
        rho = _dot(rest, z)
        distance = np.inf
        moves: list[float] = []
        first = rho
        for _ in range(self.left):
            if take(rho <= _ROUNDING * first):
                return x, 0.0
            image = precision(direction)
            step = take(rho, _dot(direction, image))
            moves.append(abs(step) * _advance(x, rest, direction, image, step))
            self.left -= 1
            self.taken += 1
            self._progress.advance()
            distance = _ahead(moves)
            if take(not self.left or distance <= max(allowed, relative * rms(x))):
                break
            z = precondition(rest)
            rho, last = _dot(rest, z), rho
            _turn(direction, z, take(rho, last))
        return x, distance


class Outer:
    """Solve d + x = Σ y on the whole sphere, with x zero outside the holes and y zero inside.

    Conjugate gradients reduce the residual r = d + x - Σ y; x and y are updated together, in place.
    The preconditioner is the inner loop, which differs slightly from step to step, so each step is
    explicitly made conjugate to the one before.
    """

    def __init__(self, model: Model, filled: Map, y: Map, course: Course) -> None:
        self._model = model
        self._course = course
        self._filled = filled
        self._y = y
        self.whitened, image = model.covariance(y)
        self._rest = filled - image
        self._step: Map | None = None
        self._direction = self._image = np.empty(0)
        self._curvature = 1.0
        self.steps = 0
        self._least = np.inf

    @cached_property
    def residual(self) -> float:
        """The rms of r in units of that of d + x; computed on demand: one correction skips it."""
        return self._model.size(self._rest) / self._scale

    @cached_property
    def _scale(self) -> float:
        return self._model.size(self._filled) or 1.0

    def correction(self, inner: Inner, allowed: float, relative: float) -> tuple[Map, Map, float]:
        """Compute a correction from the residual.

        Returns
        -------
        The correction of x, ``(nhole,)``; the part of y's correction that does not follow from it,
        ``(npix,)``; and the estimated rms error of the first.
        """
        s = self._model
        z = s.sky.inverse(self._rest)
        step, left = inner.solve(-(z + self._y)[s.holes], allowed=allowed, relative=relative)
        return step, z, left

    def advance(self, step: Map, z: Map) -> float:
        """Apply a correction; return the factor by which the residual shrank, 0 to stop."""
        s = self._model
        before = self.residual
        padded = np.zeros_like(z)
        padded[s.holes] = step
        z += s.sky.inverse(padded)
        if self._step is not None:
            conjugate = self._course.take(-_dot(z, self._image), self._curvature)
            z += conjugate * self._direction
            step = step + conjugate * self._step
        alm, image = s.covariance(z)
        image[s.holes] -= step
        curvature = _dot(z, image)
        if self._course.take(curvature <= 0):
            return 0.0
        length = self._course.take(_dot(z, self._rest), curvature)
        self._rest -= length * image
        self._y += length * z
        self._filled[s.holes] += length * step
        self.whitened += length * alm
        self._step, self._direction, self._image = step, z, image
        self._curvature = curvature
        self.steps += 1
        self.residual = s.size(self._rest) / self._scale
        self._least = min(self._least, before, self.residual)
        if self._course.take(self.residual > _WORSE * self._least):
            return 0.0
        return min(self.residual / before, 1.0) if before else 0.0
