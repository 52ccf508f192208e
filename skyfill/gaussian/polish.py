"""Bring a fill that is nearly right to the exact mean, in a few steps that are linear in the map."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skyfill._checks import nside_of
from skyfill._kept import Kept
from skyfill._progress import Progress
from skyfill.gaussian.loops import Course
from skyfill.gaussian.rehearsal import rehearse
from skyfill.gaussian.solver import Solver

__all__ = ["Polish"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Polish:
    """Steps towards the exact mean of maps that share a mask and a prior.

    Parameters
    ----------
    observed, signal_cl, noise_cl, threads, kept
        As for `Solver`.
    steps
        Of the inner loop, see `Solver.improve`.
    every
        Whether all holes are polished together, with corrections by the outer loop. If not, the
        wide ones are, on whose rings alone the steps are taken, and then the small ones, each by
        its block: so many pixels resolve the sky, or the small ones have corrections.
    near
        ``(npix,)``, RING: unobserved pixels that are polished, if not all; the others are taken as
        they are.
    progress
        Told of every stage.

    Raises
    ------
    MemoryError
        There is no memory for it, not for the small holes alone.

    Attributes
    ----------
    small
        ``(n,)``, RING: pixels of the small holes.
    """

    def __init__(
        self,
        observed: Mask,
        *,
        signal_cl: Map,
        noise_cl: float,
        steps: int,
        every: bool,
        near: Mask | None,
        threads: int,
        kept: Kept,
        progress: Progress,
    ) -> None:
        self._progress, self._every = progress, every
        prior: dict[str, Any] = {"signal_cl": signal_cl, "noise_cl": noise_cl, "threads": threads}
        #: Solvers, the arguments of their `Solver.improve`, and the course that each follows.
        self._stages: list[tuple[Solver, dict[str, int], NDArray[np.float64]]] = []

        def add(solver: Solver, steps: dict[str, int], seen: Mask, **only: Any) -> None:
            known = kept.of(seen, signal_cl, noise_cl, steps, only).of_prior()
            numbers = known.array(
                "course",
                lambda: rehearse(seen, **prior, **steps, **only),
                dtype=np.float64,
                shape=(-1,),
            )
            self._stages.append((solver, steps, numbers))

        if every:
            self._first = Solver(observed, **prior, kept=kept)
            if self._first.holes.size:
                add(self._first, {"iterations": steps}, observed)
        else:
            self._first = Solver(observed, **prior, only="small", among=near, kept=kept)
        self.small = self._first.small
        if every:
            return
        seen = observed.copy()
        seen[self.small] = True
        if near is not None:
            seen |= ~near
        if not seen.all():
            weights = self._first.sky.weights
            wide = Solver(seen, **prior, only="wide", weights=weights, kept=kept)
            add(wide, {"iterations": steps, "corrections": 0}, seen, only="wide")
        if self.small.size and not self._first.resolved:
            add(self._first, {"iterations": 1}, observed, only="small")

    def __str__(self) -> str:
        """Say in a few words what was prepared."""
        return str(self._stages[0][0] if self._stages and not self._every else self._first)

    def fill_small(self, values: Map) -> None:
        """Fill the small holes as if all others held what is in ``values``, which is changed."""
        values[self.small] = 0.0
        values[self.small] = self._first.small_fill(values)

    def finish(self, values: Map) -> str | None:
        """Polish the holes of a filled map, which is changed; say what is far from its end."""
        self._progress.stage("polish", sum(steps["iterations"] for _, steps, _ in self._stages))
        trouble = None
        for solver, steps, numbers in self._stages:
            values[solver.holes] = solver.improve(
                values, **steps, course=Course(numbers), progress=self._progress
            )
            trouble = trouble or solver.unpolished()
        if not self._every and self._first.resolved:
            self.fill_small(values)
        self._progress.done()
        return trouble
