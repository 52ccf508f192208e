"""The two loops of the exact solver, see `skyfill.gaussian.solver`."""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.gaussian.vectors import Vector, advance, copied, dot, rms, turn, zeros_like
from skyfill.harmonics import Covariance
from skyfill.progress import Progress

__all__ = ["Course", "Inner", "Outer"]

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

    #: Index of the hole pixels among the vectors of the whole sphere.
    at: Vector
    #: Approximation of Σ with a known inverse: on the whole sphere, and between hole pixels.
    sky: Covariance
    inner: Covariance

    def precondition(self, values: Vector) -> Vector:
        """Apply an approximate inverse of ``inner.inverse``."""

    def covariance(self, y: Vector) -> tuple[Vector, Vector]:
        """Compute Yᵀ y and Σ y exactly."""

    def size(self, rest: Vector) -> float:
        """Compute the rms of a residual."""


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
        self, right: Vector, start: Vector | None = None, *, allowed: float, relative: float = 0.0
    ) -> tuple[Vector, float]:
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
        x = zeros_like(right) if start is None else copied(start)
        rest = copied(right) if start is None else right - precision(x)
        z = precondition(rest)
        direction = copied(z)
        rho = dot(rest, z)
        distance = np.inf
        moves: list[float] = []
        first = rho
        for _ in range(self.left):
            if take(rho <= _ROUNDING * first):
                return x, 0.0
            image = precision(direction)
            step = take(rho, dot(direction, image))
            moves.append(abs(step) * advance(x, rest, direction, image, step))
            self.left -= 1
            self.taken += 1
            self._progress.advance()
            distance = _ahead(moves)
            if take(not self.left or distance <= max(allowed, relative * rms(x))):
                break
            z = precondition(rest)
            rho, last = dot(rest, z), rho
            turn(direction, z, take(rho, last))
        return x, distance


class Outer:
    """Solve d + x = Σ y on the whole sphere, with x zero outside the holes and y zero inside.

    Conjugate gradients reduce the residual r = d + x - Σ y; x and y are updated together, in place.
    The preconditioner is the inner loop, which differs slightly from step to step, so each step is
    explicitly made conjugate to the one before.
    """

    def __init__(self, model: Model, filled: Vector, y: Vector, course: Course) -> None:
        self._model = model
        self._course = course
        self._filled = filled
        self._y = y
        self.whitened, image = model.covariance(y)
        self._rest = filled - image
        self._step: Vector | None = None
        self._direction: Vector = None
        self._image: Vector = None
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

    def correction(
        self, inner: Inner, allowed: float, relative: float
    ) -> tuple[Vector, Vector, float]:
        """Compute a correction from the residual.

        Returns
        -------
        The correction of x, ``(nhole,)``; the part of y's correction that does not follow from it,
        ``(npix,)``; and the estimated rms error of the first.
        """
        s = self._model
        z = s.sky.inverse(self._rest)
        step, left = inner.solve(-(z + self._y)[s.at], allowed=allowed, relative=relative)
        return step, z, left

    def advance(self, step: Vector, z: Vector) -> float:
        """Apply a correction; return the factor by which the residual shrank, 0 to stop."""
        s = self._model
        before = self.residual
        padded = zeros_like(z)
        padded[s.at] = step
        z += s.sky.inverse(padded)
        if self._step is not None:
            conjugate = self._course.take(-dot(z, self._image), self._curvature)
            z += conjugate * self._direction
            step = step + conjugate * self._step
        alm, image = s.covariance(z)
        image[s.at] -= step
        curvature = dot(z, image)
        if self._course.take(curvature <= 0):
            return 0.0
        length = self._course.take(dot(z, self._rest), curvature)
        self._rest -= length * image
        self._y += length * z
        self._filled[s.at] += length * step
        self.whitened += length * alm
        self._step, self._direction, self._image = step, z, image
        self._curvature = curvature
        self.steps += 1
        self.residual = s.size(self._rest) / self._scale
        self._least = min(self._least, before, self.residual)
        if self._course.take(self.residual > _WORSE * self._least):
            return 0.0
        return min(self.residual / before, 1.0) if before else 0.0
