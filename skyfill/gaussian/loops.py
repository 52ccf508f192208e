"""The two loops of the exact solver, see `skyfill.gaussian.solver`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.gaussian.distance import FEWEST, Path, ahead_of
from skyfill.gaussian.vectors import (
    Vector,
    add,
    advance,
    copied,
    dot,
    rms,
    turn,
    zeros_like,
)
from skyfill.progress import Progress

__all__ = ["Course", "Holes", "Inner", "Outer", "improve", "lengths", "solve"]

Map = NDArray[np.float64]

#: Share of the allowed distance that is granted to the inner loop in the first solve, and in
#: corrections. What converges slowly is seen late: with 1 and 0.2 a fill of a deep map was 1.3
#: times the allowed distance away.
_INNER = 0.7
_SHARE = 0.15
#: Accuracy of the inner loop in a correction, in units of the correction.
_RELATIVE = 0.1
#: It is tightened, by the factor below, if a larger share of a correction than this is to come.
_SLOW = 0.8
_QUICKER = 0.3
#: Iterations of the first solve beyond which corrections are solved more accurately from the start,
#: by the factor below: what they leave there would bring the outer loop to a halt.
_MANY = 100
_ACCURATE = 0.3
#: Smallest number of iterations of a later solve of a patient loop, in units of those of the first.
_PATIENCE = 0.2
#: From so many corrections on, the distance is estimated from their lengths, too: each may be
#: small, and the sum of those to come large.
_LONG = 9
#: Ends of that tightening: accuracy in units of the correction, and share. Beyond them the outer
#: loop takes as many corrections.
_FINEST = 3e-3
_LEAST_SHARE = 0.03
#: Growth of the residual above which corrections stop, because they diverge. It need not fall at
#: every correction, and was seen to grow tenfold.
_WORSE = 1e3
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


class Inverse(Protocol):
    """The part of a covariance that the inner loop uses."""

    def inverse(self, values: Vector) -> Vector:
        """Give Σ⁻¹ v."""


class Precision(Inverse, Protocol):
    """The part of a covariance that the loops use."""

    def wiener(self, values: Vector, *, onto: Any = None) -> Any:  # noqa: ANN401 (of its own kind)
        """Give the alm from which `inverse_of` follows, added to those of a v at other pixels."""

    def inverse_of(self, alm: Any, values: Vector) -> Vector:  # noqa: ANN401
        """Give Σ⁻¹ v at these pixels, for a v at any pixels, from its alm."""


class InHoles(Protocol):
    """The part of a `Solver` that the inner loop uses."""

    @property
    def parts(self) -> Sequence[slice]:
        """Slices of vectors of hole pixels whose distances are measured apart: T, and Q with U."""

    @property
    def inner(self) -> Inverse:
        """Approximation of Σ with a known inverse, between hole pixels."""

    def precondition(self, values: Vector) -> Vector:
        """Apply an approximate inverse of ``inner.inverse``."""


class Model(InHoles, Protocol):
    """The part of a `Solver` that the loops use."""

    #: Index of the hole pixels among the vectors of the whole sphere.
    at: Vector

    @property
    def sky(self) -> Precision:
        """Approximation of Σ with a known inverse, on the whole sphere."""

    @property
    def inner(self) -> Precision:
        """The same between hole pixels."""

    @property
    def filled(self) -> Sequence[int]:
        """Numbers of the fields of which ``parts`` are the holes."""

    def covariance(self, y: Vector, *, out: Vector | None = None) -> tuple[Vector, Vector]:
        """Compute Yᵀ y and Σ y exactly; add Σ y to ``out``, if that is given."""

    def sizes(self, rest: Vector) -> Sequence[float]:
        """Compute the rms of each field of a residual."""

    def size(self, sizes: Sequence[float]) -> float:
        """Compute the rms of a residual from those of its fields."""


def lengths(model: InHoles, values: Vector) -> Map:
    """Compute the rms of each part of a vector of hole pixels."""
    return np.array([rms(values[part]) for part in model.parts])


class Holes(Protocol):
    """What solves for the holes with the approximate Q: `Inner`, or one that alternates."""

    #: Iterations that are left, and taken.
    left: int
    taken: int

    def solve(
        self, right: Vector, start: Vector | None = None, *, allowed: float, relative: float = 0.0
    ) -> tuple[Vector, Map]:
        """Solve Q_hh x = right, see `Inner.solve`."""


class Inner:
    """Solve for the holes with the approximate Q, and count the iterations.

    Parameters
    ----------
    model, progress, limit, course
        What is solved, what receives every step, the largest number of iterations, and the scalars
        to record or to follow.
    patient
        Whether later solves take at least a fifth of the iterations of the first. Where these are
        many, the first few of a later one are short, and would be mistaken for convergence.
    wary
        Whether later solves are also taken to converge no faster than the first.

    Attributes
    ----------
    left, taken
        Iterations that are left, and taken.
    rate, fewest
        Factor by which an iteration is known to shrink the distance, and least number of iterations
        of a solve.
    """

    def __init__(
        self,
        model: InHoles,
        progress: Progress,
        limit: int,
        course: Course,
        *,
        patient: bool = False,
        wary: bool = False,
    ) -> None:
        self._model = model
        self._patient, self._wary = patient or wary, wary
        self.rate, self.fewest = 0.0, FEWEST
        self._progress = progress
        self._course = course
        self.left = limit
        self.taken = 0
        self.move: tuple[float, Vector] | None = None
        """Length and direction of the last step; None if only rounding was left."""

    def solve(
        self, right: Vector, start: Vector | None = None, *, allowed: float, relative: float = 0.0
    ) -> tuple[Vector, Map]:
        """Solve Q_hh x = right by conjugate gradients.

        Parameters
        ----------
        right
            ``(nhole,)``; overwritten by its residual.
        start
            ``(nhole,)``, starting point; zero if not given.
        allowed, relative
            Distance from the solution at which to stop: in µK, and in units of the rms of x. The
            larger one applies, and must be met by each of the model's parts.

        Returns
        -------
        x, and the estimated rms distance of each part from the solution, µK (`Path.ahead`).
        """
        precision, precondition = self._model.inner.inverse, self._model.precondition
        take = self._course.take
        x, rest = zeros_like(right) if start is None else copied(start), right
        if start is not None:
            rest -= precision(x)
        z = precondition(rest)
        direction = copied(z)
        rho = dot(rest, z)
        parts = self._model.parts
        distance = np.full(len(parts), np.inf)
        path = Path(len(parts))
        size = first = rho
        self.move = None
        for _ in range(self.left):
            if take(rho <= _ROUNDING * first):
                self.move = None
                return x, np.zeros(len(parts))
            image = precision(direction)
            step = take(rho, dot(direction, image))
            self.move = step, direction
            moved = [
                abs(step) * advance(x[part], rest[part], direction[part], image[part], step)
                for part in parts
            ]
            path.add(moved, rho, size)
            self.left -= 1
            self.taken += 1
            self._progress.advance()
            distance = path.ahead(self.rate)
            met = len(path) >= self.fewest and all(
                away <= max(allowed, relative * rms(x[part]))
                for away, part in zip(distance, parts, strict=True)
            )
            if take(not self.left or met):
                break
            z = precondition(rest)
            rho, last = dot(rest, z), rho
            turned = take(rho, last)
            turn(direction, z, turned)
            size = rho + turned**2 * size
        if self._patient:
            self.fewest = max(self.fewest, math.ceil(_PATIENCE * len(path)))
            self._patient = False
        if self._wary:
            whole = lengths(self._model, x)
            shrunk = np.divide(distance, whole, out=np.ones(len(parts)), where=whole > 0)
            self.rate = min(float(np.max(shrunk)), 1.0) ** (1 / max(len(path), 1))
            self._wary = False
        return x, distance


class Outer:
    """Solve d + x = Σ y on the whole sphere, with x zero outside the holes and y zero inside.

    Conjugate gradients reduce the residual r = d + x - Σ y; x and r are updated, y is not kept.
    The preconditioner is the inner loop, which differs slightly from step to step, so each step is
    explicitly made conjugate to the one before.

    Parameters
    ----------
    model
        The solver.
    filled
        d + x, which is overwritten: whole maps are what takes memory.
    y
        Its product with the approximate Q, which is overwritten.
    course
        The scalars to record or to follow.

    Attributes
    ----------
    fill
        x, ``(nhole,)``.
    rest
        r, on the whole sphere.
    sizes
        The rms of each field of d + x before the corrections.
    moves
        Length of each correction so far, of each part.
    coming
        What the last correction left: the distance to its own solution, and the factor of that
        correction that later ones would add, of each part, with it. None before the first.
    """

    def __init__(self, model: Model, filled: Vector, y: Vector, course: Course) -> None:
        self.model = model
        self.course = course
        self.fill: Vector = filled[model.at]
        self.sizes = model.sizes(filled)
        # What the inner loop left in y is an error of y: with it, steps are not those of conjugate
        # gradients, and the outer loop can halt far from the mean.
        y[model.at] = 0
        y *= -1.0  # so that Σ y is subtracted where d + x is, with no map besides
        whitened, self.rest = model.covariance(y, out=filled)
        self.whitened = -whitened
        self._alm: Any = None
        self._step: Vector | None = None
        self._direction: Vector = None
        self._image: Vector = None
        self._curvature = 1.0
        self.moves: list[Map] = []
        self.coming: tuple[Map, Map, Vector] | None = None
        self._least = np.inf

    @property
    def steps(self) -> int:
        """Number of corrections so far."""
        return len(self.moves)

    @cached_property
    def rests(self) -> Sequence[float]:
        """The rms of each field of r; computed on demand: one correction skips it."""
        return self.model.sizes(self.rest)

    @property
    def residual(self) -> float:
        """The rms of r in units of that of d + x."""
        return self.model.size(self.rests) / (self.model.size(self.sizes) or 1.0)

    def correction(self, inner: Holes, allowed: float, relative: float) -> tuple[Vector, Map]:
        """Compute a correction from the residual.

        Returns
        -------
        The correction of x, ``(nhole,)``, and the estimated rms error of each of its parts.
        """
        s = self.model
        self._alm = s.sky.wiener(self.rest)
        right = s.inner.inverse_of(self._alm, self.rest[s.at])
        return inner.solve(-right, allowed=allowed, relative=relative)

    def advance(self, step: Vector) -> Map:
        """Apply a correction; return the share of each part that is to come, all 0 to stop."""
        s = self.model
        before, nothing = self.rests, np.zeros(len(s.parts))
        z = s.sky.inverse_of(s.inner.wiener(step, onto=self._alm), self.rest)
        self._alm = None
        z[s.at] = 0
        if self._step is not None:
            conjugate = self.course.take(-dot(z, self._image), self._curvature)
            add(z, self._direction, conjugate)
            step = step + conjugate * self._step
        alm, image = s.covariance(z)
        image[s.at] -= step
        curvature = dot(z, image)
        if self.course.take(curvature <= 0):
            return nothing
        length = self.course.take(dot(z, self.rest), curvature)
        add(self.rest, image, -length)
        self.fill += length * step
        self.whitened += length * alm
        self._step, self._direction, self._image = step, z, image
        self._curvature = curvature
        self.moves.append(abs(length) * lengths(s, step))
        del self.rests  # they are others
        sizes = s.size(before), s.size(self.rests)
        self._least = min(self._least, *sizes)
        if self.course.take(sizes[1] > _WORSE * self._least):
            return nothing
        # The residual rises and falls where much is left, so the length has a say, too.
        left = [
            max(self.rests[field] / before[field], abs(1 - length)) if before[field] else 0.0
            for field in s.filled
        ]
        return np.minimum(left, 1.0)


def solve(
    model: Model,
    work: Vector,
    start: Vector | None,
    inner: Holes,
    course: Course,
    *,
    allowed: float,
    first: float = _INNER,
    share: float = _SHARE,
) -> tuple[Outer, Map]:
    """Solve for the posterior mean by both loops.

    Parameters
    ----------
    model
        The solver.
    work
        The data, zero in the holes; overwritten.
    start
        Starting point in the holes; zero if not given.
    inner, course
        The inner loop, and the scalars to record or to follow.
    allowed
        Estimated rms distance of each part at which to stop, µK.
    first, share
        Shares of it that the inner loop may leave in the first solve, and in a correction.

    Returns
    -------
    The outer loop, and the estimated rms distance of each part of the fill to the mean, µK.
    """
    outer, distance = _begun(model, work, start, inner, course, first * allowed)
    relative = (_ACCURATE if inner.taken > _MANY else 1.0) * _RELATIVE
    return outer, go_on(outer, inner, distance, allowed=allowed, share=share, relative=relative)


def _begun(
    model: Model,
    work: Vector,
    start: Vector | None,
    inner: Holes,
    course: Course,
    allowed: float,
) -> tuple[Outer, Map]:
    """Fill by the inner loop; give the outer loop, and the estimated distances of the fill."""
    alm = model.sky.wiener(work)
    right = -model.inner.inverse_of(alm, work[model.at])
    fill, distance = inner.solve(right, start, allowed=allowed)
    work[model.at] = fill
    y = model.sky.inverse_of(model.inner.wiener(fill, onto=alm), work)
    del alm, right, fill  # vectors are what takes memory
    return Outer(model, work, y, course), distance


def go_on(
    outer: Outer,
    inner: Holes,
    distance: Map,
    *,
    allowed: float,
    share: float = _SHARE,
    relative: float = _RELATIVE,
) -> Map:
    """Correct a fill until it is near enough.

    Parameters
    ----------
    outer, inner
        The loops.
    distance
        Estimated rms distance of each part of the fill to the mean, µK.
    allowed, share
        As for `solve`.
    relative
        Accuracy of a correction, in units of it.

    Returns
    -------
    The estimated distances of the corrected fill.
    """
    model, take = outer.model, outer.course.take
    far = inner.left > 0 and (outer.steps == 0 or bool(np.any(distance > allowed)))
    while take(far):
        step, left = outer.correction(inner, share * allowed, relative)
        ahead = outer.advance(step)
        if ahead.max() > _SLOW:  # the inner loop may be too inaccurate
            relative = max(_QUICKER * relative, min(_FINEST, relative))
            share = max(_QUICKER * share, min(_LEAST_SHARE, share))
        if take(not ahead.any()):
            break
        distance = left + lengths(model, step) * ahead
        if outer.steps >= _LONG:
            distance = np.maximum(distance, [ahead_of(each) for each in np.transpose(outer.moves)])
        outer.coming = left, ahead, step
        far = inner.left > 0 and bool(np.any(distance > allowed))
    return distance


def improve(
    model: Model,
    filled: Vector,
    inner: Inner,
    course: Course,
    *,
    corrections: int,
    inner_steps: int,
    resolved: bool,
    enough: float,
) -> tuple[Vector, float]:
    """Improve a fill by iterations of the inner loop, then by corrections of the outer loop.

    Parameters
    ----------
    model
        The solver; its holes are one part.
    filled
        The map with the fill in its holes; not changed.
    inner, course
        The inner loop, limited to the iterations before the corrections; and the scalars to record
        or to follow.
    corrections
        Largest number of corrections.
    inner_steps
        Largest number of inner iterations of a correction.
    resolved
        Whether the pixels resolve the sky, so that the inner loop is nearly exact.
    enough
        Estimated distance to the mean at which corrections end early, µK.

    Returns
    -------
    The fill, ``(nhole,)``, and its estimated rms distance to the mean, µK.
    """
    alm, fill = model.sky.wiener(filled), filled[model.at]
    step, (left,) = inner.solve(-model.inner.inverse_of(alm, fill), allowed=0.0)
    if math.isinf(left):  # too few steps for an estimate: use the length of the step
        left = rms(step)
    fill = fill + step
    if not corrections:
        return fill, left
    filled = copied(filled)
    filled[model.at] = fill
    y = model.sky.inverse_of(model.inner.wiener(step, onto=alm), filled)
    outer = Outer(model, filled, y, course)
    del filled, y, alm
    for number in range(1, corrections + 1):
        inner.left = inner_steps
        step, (ahead,) = outer.correction(inner, 0.0, _RELATIVE)
        if resolved and number == corrections:
            # The last correction is added in full: its length is right to a few per cent.
            outer.fill += step
            left = rms(step)
            continue
        moved = rms(step) * outer.advance(step)[0]
        left = moved + (ahead if math.isfinite(ahead) else rms(step))
        if course.take(not resolved and left <= enough):
            break
    return outer.fill, left
