"""Solve for the holes of T and of P in turn, each given the other.

The precision of T, given P on the whole sky, is the block Q_TT of the joint precision: that of a
scalar sky with the spectrum TT - TE² / (EE + N_P). Likewise for P. To solve, in turn,

    Q_TT x_T = r_T - Q_TP x_P,   Q_PP x_P = r_P - Q_PT x_T

(block Gauss-Seidel) leads to the joint solution, since Q is positive. Where the noise of P is high,
P takes few iterations, and is not made to take those of T.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from skyfill.gaussian.loops import Course, Inner
from skyfill.gaussian.vectors import Vector, copied, rms, zeros_like
from skyfill.harmonics import JointCovariance
from skyfill.progress import Progress

__all__ = ["Alternation", "given_the_other"]

Map = NDArray[np.float64]

#: Accuracy of a field's solve, in units of its move in this sweep: a sweep reduces the distance by
#: a factor of 5 to 12 on wide bands, so more would be lost in the next.
_RELATIVE = 0.1
#: Share of the allowed distance that is granted to a field's solve; the rest is for the sweeps.
_SHARE = 0.3
#: Largest ratio of the moves of two sweeps from which the remaining distance is estimated.
_SLOWEST = 0.95
#: Largest number of sweeps in a solve.
_SWEEPS = 30


class _Field:
    """One field, as `Inner` takes it."""

    parts: Sequence[slice] = (slice(None),)

    def __init__(
        self, joint: JointCovariance, number: int, precondition: Callable[[Vector], Vector]
    ) -> None:
        self._joint, self._number, self._apply = joint, number, precondition

    @property
    def inner(self) -> _Field:
        """Itself: Q_ff."""
        return self

    def inverse(self, values: Vector) -> Vector:
        """Give Q_ff v."""
        return self._joint.between(self._number, self._number, values)

    def precondition(self, values: Vector) -> Vector:
        """Apply an approximate inverse of Q_ff."""
        return self._apply(values)


class Alternation:
    """Solve Q_hh x = r by turns, and count the iterations; used as `loops.Inner` is.

    Parameters
    ----------
    joint
        The joint covariance between the pixels of the holes.
    preconditions
        For each field what applies an approximate inverse of Q_ff.
    progress, limit, course
        As of `loops.Inner`.

    Attributes
    ----------
    left, taken
        Iterations, of all fields, that are left and taken.
    move
        For each field the length and direction of the last step, or None.
    """

    def __init__(
        self,
        joint: JointCovariance,
        preconditions: Sequence[Callable[[Vector], Vector]],
        progress: Progress,
        limit: int,
        course: Course,
    ) -> None:
        self._joint, self._course = joint, course
        fields = [_Field(joint, number, each) for number, each in enumerate(preconditions)]
        self._inners = [Inner(field, progress, limit, course) for field in fields]
        self._rates = np.full(len(fields), np.nan)
        self.left = limit
        self.taken = 0
        self.counts = [0] * len(fields)
        """Iterations of each field."""

    @property
    def move(self) -> list[tuple[float, Vector] | None]:
        """For each field the length and direction of its last step."""
        return [inner.move for inner in self._inners]

    def solve(
        self, right: Vector, start: Vector | None = None, *, allowed: float, relative: float = 0.0
    ) -> tuple[Vector, Map]:
        """Solve Q_hh x = right, as `Inner.solve` does."""
        joint, take = self._joint, self._course.take
        x, rest = zeros_like(right) if start is None else copied(start), right
        if start is not None:
            rest -= joint.inverse(x)
        count = len(self._inners)
        before, distance = np.full(count, np.nan), np.full(count, np.inf)
        for _ in range(_SWEEPS):
            moved = np.zeros(count)
            for number, part in enumerate(joint.parts):
                step, distance[number] = self._turn(number, rest[part], _SHARE * allowed)
                x[part] += step
                other = 1 - number
                rest[joint.parts[other]] -= joint.between(other, number, step)
                moved[number] = rms(step)
            ratio = np.full(count, np.nan)
            np.divide(moved, before, where=before > 0, out=ratio)
            ratio = np.minimum(ratio, _SLOWEST)
            self._rates = np.where(np.isfinite(ratio), ratio, self._rates)
            before = moved
            more = moved * self._rates / (1 - self._rates)
            distance = distance + np.where(np.isfinite(more), more, np.inf)
            met = all(
                away <= max(allowed, relative * rms(x[part]))
                for away, part in zip(distance, joint.parts, strict=True)
            )
            if take(met or not self.left):
                break
        return x, distance

    def _turn(self, number: int, right: Vector, allowed: float) -> tuple[Vector, float]:
        """Solve for one field, whose residual takes the place of ``right``, and count."""
        inner = self._inners[number]
        inner.left, taken = self.left, inner.taken
        step, away = inner.solve(right, allowed=allowed, relative=_RELATIVE)
        self.left = inner.left
        self.taken += inner.taken - taken
        self.counts[number] = inner.taken
        return step, float(away[0])


def given_the_other(cl: Map, area: float, variance: Sequence[float]) -> tuple[Map, Map]:
    """Give the spectrum of T given a whole P, and those of E and B given a whole T."""
    cross, polar = cl[0, 1:], cl[1:, 1:]
    noisy = np.moveaxis(polar, 2, 0) + area * variance[1] * np.eye(2)
    known = np.linalg.solve(noisy, cross.T[:, :, None])[:, :, 0]
    tt = cl[0, 0] - np.sum(known.T * cross, axis=0)
    return tt, polar - cross[:, None] * cross / (cl[0, 0] + area * variance[0])
