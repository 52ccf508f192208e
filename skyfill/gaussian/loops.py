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

#: Iterations without which no guess is made of how far there is to go.
_FEWEST = 3
#: Growth of the residual that says that corrections do more harm than good.
_WORSE = 10.0
#: Share of the first residual's square that is rounding.
_ROUNDING = 1e-24


class Course:
    """What the loops decide on the way: lengths of steps, and whether to go on.

    Conjugate gradients take it from their own data, so that what they give is not linear in these.
    Along the course of another solve they are: whatever the data, the same polynomial of the same
    operators is applied.

    Parameters
    ----------
    numbers
        Of the solve to follow; none if not given, then `numbers` are recorded.
    """

    def __init__(self, numbers: ArrayLike | None = None) -> None:
        self._follows = numbers is not None
        self.numbers: list[float] = [] if numbers is None else np.asarray(numbers, float).tolist()
        self._at = 0

    def take(self, own: float, over: float = 1.0) -> float:
        """Give a quotient of the course: the data's own, if there is none to follow."""
        if not self._follows:
            self.numbers.append(float(own / over))
            return self.numbers[-1]
        self._at += 1
        return self.numbers[self._at - 1]


class Model(Protocol):
    """What the loops ask of a `Solver`."""

    holes: NDArray[np.int64]
    #: Nearly Σ, with its inverse, on the whole sphere and between the pixels of the holes.
    sky: Covariance
    inner: Covariance

    def precondition(self, values: Map) -> Map:
        """Apply nearly the inverse of ``inner.inverse``."""

    def covariance(self, y: Map) -> tuple[NDArray[np.complex128], Map]:
        """Give Yᵀ y and Σ y, exactly."""

    def size(self, rest: Map) -> float:
        """Give the rms of a residual."""


@compiled
def _dot(a: Map, b: Map) -> float:
    """Multiply without BLAS, whose idle threads spin while the transforms' need the cores."""
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@compiled
def _advance(x: Map, rest: Map, direction: Map, image: Map, step: float) -> float:
    """Go a step along a direction, once through memory; give the rms of the direction."""
    total = 0.0
    for i in range(x.size):
        x[i] += step * direction[i]
        rest[i] -= step * image[i]
        total += direction[i] * direction[i]
    return math.sqrt(total / x.size)


@compiled
def _turn(direction: Map, z: Map, factor: float) -> None:
    """Make z + factor times the direction the next one."""
    for i in range(z.size):
        direction[i] = z[i] + factor * direction[i]


def rms(values: Map) -> float:
    """Give the root of the mean square."""
    return float(np.sqrt(_dot(values, values) / values.size))


def _ahead(moves: list[float]) -> float:
    """Guess how far there is to go from how far one has come, all in equal numbers of steps.

    The last third of the way against the third before, q to one: if it goes on like this, there are
    q / (1 - q) times the last third to go. Steps of conjugate gradients hardly ever turn back, so
    moves are added in quadrature; short looks, without this, take a pause for the end.
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
    """Solve for the holes with the nearly exact Q; counts its iterations."""

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
            ``(nhole,)``: where to begin; at zero if not given.
        allowed, relative
            Stop at this distance from the solution, µK, or in units of the rms of x.

        Returns
        -------
        x, and its estimated rms distance from the solution (`_ahead`).
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
    """Make d, with its holes filled by x, equal Σ y with y zero in the holes.

    Conjugate gradients on what is left of it, r = d + x - Σ y, on the whole sphere; x and y change
    together, in place. The preconditioner is the inner loop, which is not quite the same at every
    step, so a step is made conjugate to the one before explicitly.
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
        """The rms of r in units of that of d; what a single correction does not ask for."""
        return self._model.size(self._rest) / self._scale

    @cached_property
    def _scale(self) -> float:
        return self._model.size(self._filled) or 1.0

    def correction(self, inner: Inner, allowed: float, relative: float) -> tuple[Map, Map, float]:
        """Give what x lacks, what y lacks beside what follows of it, and how well x is known."""
        s = self._model
        z = s.sky.inverse(self._rest)
        step, left = inner.solve(-(z + self._y)[s.holes], allowed=allowed, relative=relative)
        return step, z, left

    def advance(self, step: Map, z: Map) -> float:
        """Go along a correction; give the factor by which the residual shrinks, 0 to stop."""
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
