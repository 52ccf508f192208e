"""``gaussian``: the exact posterior mean, and exact iterations after another method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skyfill.gaussian import Certificate, Solver
from skyfill.gaussian.blocks import affordable
from skyfill.gaussian.memory import solve_bytes
from skyfill.inpaint.fills import PROGRAM, Fill, Method, Pace, Setup
from skyfill.progress import Progress

if TYPE_CHECKING:
    from skyfill.vae import ModelCard

__all__ = ["Exact", "ExactMethod", "Polished", "exact_bytes"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]
Sizes = NDArray[np.int64]


class Exact:
    """The posterior mean itself.

    Parameters
    ----------
    solver
        Solver prepared for the mask.
    tolerance
        Distance to the exact mean at which the solve stops, in units of the rms of the map.
    progress
        Receives the stages.
    chosen
        ``(nmissing,)``: True for the unobserved pixels to return; all if not given.
    """

    polish = 0

    def __init__(
        self, solver: Solver, *, tolerance: float, progress: Progress, chosen: Mask | None = None
    ) -> None:
        self.solver = solver
        self.certificate: Certificate | None = None
        self.trouble: str | None = None
        self._tolerance = tolerance
        self._progress = progress
        self._chosen = chosen

    def mean(self, values: Map, *, overwrite: bool = False) -> Map:  # noqa: ARG002
        """Solve for the posterior mean, and store the certificate."""
        self._progress.stage("exact mean")
        solution = self.solver.mean(values, tolerance=self._tolerance, progress=self._progress)
        self.certificate = solution.certificate
        self._progress.done(str(self.certificate))
        converged = self.certificate.converged
        self.trouble = None if converged else f"the exact mean ({self.certificate})"
        return solution.fill if self._chosen is None else solution.fill[self._chosen]

    def variance(self) -> Map:
        """Return the variance of realizations in the holes, µK²; NaN where it is unknown."""
        variance = self.solver.variance()
        return variance if self._chosen is None else variance[self._chosen]


class Polished:
    """Another method's fill, improved by a fixed number of exact iterations.

    Parameters
    ----------
    first
        The other fill; it must cover all unobserved pixels.
    solver
        Solver prepared for the mask.
    iterations
        Number of exact iterations.
    progress
        Receives the stages.
    chosen
        As for `Exact`.
    """

    def __init__(
        self,
        first: Fill,
        solver: Solver,
        *,
        iterations: int,
        progress: Progress,
        chosen: Mask | None = None,
    ) -> None:
        self.certificate: Certificate | None = None
        self.trouble: str | None = None
        self.polish = iterations
        self._first = first
        self._solver = solver
        self._progress = progress
        self._chosen = chosen

    def mean(self, values: Map, *, overwrite: bool = False) -> Map:
        """Fill the holes, then polish the fill."""
        filled = values if overwrite else values.copy()
        filled[self._solver.holes] = self._first.mean(values)
        self._progress.stage("polish", self.polish)
        fill = self._solver.improve(filled, iterations=self.polish, progress=self._progress)
        self._progress.done()
        self.trouble = self._solver.unpolished()
        return fill if self._chosen is None else fill[self._chosen]


class ExactMethod(Method):
    """``gaussian``."""

    paces = Pace(3.0, 0.5, 0.8), Pace(1.0, 0.4, 0.65)

    @property
    def exact(self) -> bool:
        """Whether the method solves for all unobserved pixels: always."""
        return True

    def prepare(self, setup: Setup) -> tuple[Fill, ModelCard | None]:
        """Prepare the solver."""
        fill = Exact(
            setup.solver(),
            tolerance=self.options.tolerance,
            progress=setup.progress,
            chosen=setup.chosen,
        )
        return fill, None

    def stages(self, sizes: Sizes, tiles: Mapping[str, int]) -> list[str]:  # noqa: ARG002
        """Name the stages."""
        return ["prepare", "latent sky", "exact mean"]

    def memory(self, sizes: Sizes, tiles: Mapping[str, int]) -> float:  # noqa: ARG002
        """Estimate the peak memory, bytes."""
        return exact_bytes(self.nside, sizes)


def exact_bytes(nside: int, sizes: Sizes) -> float:
    """Estimate the peak memory of an exact fill of holes of these sizes, bytes."""
    return PROGRAM + solve_bytes(nside, int(sizes.sum()), sizes[affordable(sizes, nside=nside)])
