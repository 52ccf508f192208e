"""Improve an approximate fill towards the exact mean, by iterations that are linear in the map."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skyfill.files.cache import Kept
from skyfill.gaussian.loops import Course
from skyfill.gaussian.rehearsal import rehearse
from skyfill.gaussian.solver import Solver
from skyfill.gaussian.vectors import Vector, alike
from skyfill.progress import Progress

__all__ = ["Polish"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Difference, in units of the map's rms, that large scales leave which were taken off and put back.
_ROUNDING = 1e-9


class Polish:
    """Iterations towards the exact mean, for maps that share a mask and a prior.

    Parameters
    ----------
    observed, signal_cl, noise_cl, noise_variance, threads, kept, device
        As for `Solver`; a noise variance is only for ``every``.
    steps
        Number of iterations of the inner loop, see `Solver.improve`.
    every
        Whether all holes are polished together, with corrections by the outer loop. If not, wide
        holes are polished first, on their own rings only and without corrections. Small holes are
        then filled by their blocks, or, if the pixels do not resolve the sky, with corrections.
    wide
        Whether wide holes are polished at all.
    near
        ``(npix,)``, RING. If given and ``every`` is False, only small holes with at least one of
        these pixels are polished. Wide holes are not polished then: the unobserved pixels beyond
        ``near`` have no values that could serve as data.
    progress
        Receives the stages.

    Raises
    ------
    MemoryError
        Memory is too small even for the small holes.

    Attributes
    ----------
    small
        ``(n,)``, RING: pixels of the small holes.

    Maps are arrays, or tensors on any device.
    """

    def __init__(
        self,
        observed: Mask,
        *,
        signal_cl: Map,
        noise_cl: float,
        noise_variance: Map | None = None,
        steps: int,
        every: bool,
        wide: bool = True,
        near: Mask | None,
        threads: int,
        kept: Kept,
        progress: Progress,
        device: str | None = None,
    ) -> None:
        self._progress, self._every, self._wide, self._near = progress, every, wide, near
        self._observed, self._kept, self._steps = observed, kept, steps
        self._prior: dict[str, Any] = {
            "signal_cl": signal_cl,
            "noise_cl": noise_cl,
            "noise_variance": noise_variance,
            "threads": threads,
            "device": device,
        }
        some: dict[str, Any] = {} if every else {"only": "small", "among": near}
        self._first = Solver(observed, **self._prior, **some, kept=kept)
        self.small = self._first.small
        self.sphere = self._first.sphere
        self._told = ""
        self._filled: Vector | None = None
        self.distance = math.inf
        """Largest estimated rms distance to the mean of a stage of `finish`, µK."""

    def rehearse(self) -> None:
        """Record the courses that `finish` follows, once; this takes about as long as a polish."""
        if "_stages" not in self.__dict__:
            self._progress.stage("rehearsal")
            self._progress.done(f"{len(self._stages)} courses")

    @cached_property
    def _stages(self) -> list[tuple[Solver, dict[str, Any], NDArray[np.float64]]]:
        """The solvers, each with its arguments of `Solver.improve` and its course."""
        stages = []

        def add(solver: Solver, seen: Mask, **steps: int) -> None:
            prior = [self._prior["signal_cl"], self._prior["noise_cl"]]
            if self._prior["noise_variance"] is not None:
                prior.append(self._prior["noise_variance"])
            known = self._kept.of(seen, *prior, self._every, steps).needing("prior")
            numbers = known.array(
                "course",
                lambda: rehearse(solver, threads=self._prior["threads"], **steps),
                dtype=np.float64,
                shape=(-1,),
            )
            stages.append((solver, steps, numbers))

        if self._every:
            add(self._first, self._observed, iterations=self._steps)
            return stages
        seen = self._observed.copy()
        seen[self.small] = True
        if self._wide and self._near is None and not seen.all():
            weights = self._first.weights
            try:
                wide = Solver(seen, **self._prior, only="wide", weights=weights, kept=self._kept)
            except MemoryError:
                self._told = "wide holes are not polished: this machine has too little memory"
            else:
                add(wide, seen, iterations=self._steps, corrections=0)
        if self.small.size and not self._first.resolved:
            add(self._first, self._observed, iterations=1)
        return stages

    def __str__(self) -> str:
        """Summarise the prepared solver."""
        return str(self._first)

    def fill_small(self, values: Vector) -> None:
        """Fill the small holes in place, taking the values in all other pixels as data."""
        small = self._small_in(values)
        values[small] = 0.0
        values[small] = fill = self._first.small_fill(values)
        # If the other holes are zero, the later update needs only their final values.
        empty = bool(self._stages)
        if empty:
            empty = not bool((values[_holes_in(values, self._stages[0][0])] != 0).any())
        self._filled = fill if empty else None

    def _fill_again(self, values: Vector) -> None:
        """Fill the small holes again, after the other holes."""
        filled, small = self._filled, self._small_in(values)
        rounding = _ROUNDING * self._first.rms
        if filled is None or not self._stages or not alike(values[small], filled, rounding):
            self.fill_small(values)
            return
        ((wide, *_),) = self._stages
        if type(wide.sphere) is not type(self.sphere):  # one of them had too little memory
            self.fill_small(values)
            return
        values[small] += self._first.small_change(wide, values[_holes_in(values, wide)])

    def _small_in(self, values: Vector) -> Vector:
        """Return the index of the small holes in an array or in a tensor."""
        return self.small if isinstance(values, np.ndarray) else self._small_at

    @cached_property
    def _small_at(self) -> Vector:
        return self._first.sphere.vector(self.small)

    def finish(self, values: Vector) -> str | None:
        """Polish the holes of a filled map in place; return what has not converged, else None."""
        self.rehearse()
        self._progress.stage("polish", self._steps)
        trouble, told = None, self._told
        lefts: list[float] = []
        for solver, steps, numbers in self._stages:
            fill = solver.improve(values, **steps, course=Course(numbers), progress=self._progress)
            if solver.unpolished():  # the map is too unlike the prior: use its own scalars
                fill = solver.improve(values, **steps, progress=self._progress)
                told = "computed again without the prior's course, which did not converge"
            values[_holes_in(values, solver)] = fill
            trouble = trouble or solver.unpolished()
            lefts.append(solver.left)
        self.distance = max(lefts, default=math.inf)
        if not self._every and self._first.resolved:
            self._fill_again(values)
        self._progress.done(told)
        return trouble


def _holes_in(values: Vector, solver: Solver) -> Vector:
    """Return the index of a solver's holes in an array or in a tensor."""
    return solver.holes if isinstance(values, np.ndarray) else solver.at
