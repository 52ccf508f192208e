"""``diffuse``: repeated neighbour means, alone or followed by exact iterations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skyfill.diffuse import diffuse_bytes, diffuse_holes
from skyfill.gaussian import Certificate
from skyfill.holes import regions_with
from skyfill.inpaint.exact import Polished, exact_bytes
from skyfill.inpaint.fills import PROGRAM, Fill, Method, Pace, Setup
from skyfill.progress import Progress

if TYPE_CHECKING:
    from skyfill.vae import ModelCard

__all__ = ["Diffuse", "DiffuseMethod"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]
Sizes = NDArray[np.int64]


class Diffuse:
    """Replace hole pixels by the mean of their neighbours until nothing changes (Laplace fill).

    Parameters
    ----------
    observed
        ``(npix,)``, RING, True where observed.
    progress
        Receives the stages.
    chosen
        ``(nmissing,)``: True for the unobserved pixels to return; all if not given.
    """

    polish = 0

    def __init__(self, observed: Mask, *, progress: Progress, chosen: Mask | None = None) -> None:
        self.certificate: Certificate | None = None
        self.trouble: str | None = None
        self._observed = observed
        self._progress = progress
        self._chosen = chosen

    def mean(self, values: Map, *, overwrite: bool = False) -> Map:  # noqa: ARG002
        """Compute the Laplace fill of the holes."""
        self._progress.stage("diffuse")
        fill = diffuse_holes(values, self._observed)
        self._progress.done()
        return fill if self._chosen is None else fill[self._chosen]


class DiffuseMethod(Method):
    """``diffuse``."""

    stochastic = False
    paces = Pace(2.0, 0.12, 0.04), Pace(0.5, 0.1, 0.04)

    @property
    def informed(self) -> bool:
        """Whether the method needs a prior: only for polishing."""
        return bool(self.options.polish)

    @property
    def unmapped(self) -> str | None:
        """Why a noise map is of no use, and what to change: only polish uses it."""
        if self.options.polish:
            return None
        return "diffuse without polish does not use the noise; pass `polish`, or drop `noise_rms`"

    @property
    def exact(self) -> bool:
        """Whether the method solves for all unobserved pixels: only when polishing."""
        return bool(self.options.polish)

    @property
    def single(self) -> bool:
        """Whether float32 is precise enough: it is for means of neighbours, not for polishing."""
        return not self.options.polish

    def polish(self, holes: int) -> int:  # noqa: ARG002
        """Return the number of exact iterations at the end."""
        return self.options.polish or 0

    def prepare(self, setup: Setup) -> tuple[Fill, ModelCard | None]:
        """Prepare the Laplace fill, and the exact solver if the fill is polished."""
        seen, some = setup.observed, setup.holes
        if self.options.polish:
            fill = Polished(
                Diffuse(seen, progress=setup.progress),
                setup.solver(),
                iterations=self.options.polish,
                progress=setup.progress,
                chosen=setup.chosen,
            )
            return fill, None
        if some is None:
            return Diffuse(seen, progress=setup.progress), None
        # Unobserved regions without a pixel to fill do not affect the other regions.
        within = regions_with(~seen, some)
        return Diffuse(~within, progress=setup.progress, chosen=some[within]), None

    def stages(self, sizes: Sizes, tiles: Mapping[str, int]) -> list[str]:  # noqa: ARG002
        """Name the stages."""
        return ["prepare", "diffuse", "polish"] if self.options.polish else ["diffuse"]

    def memory(self, sizes: Sizes, tiles: Mapping[str, int]) -> float:  # noqa: ARG002
        """Estimate the peak memory, bytes."""
        alone = PROGRAM + diffuse_bytes(self.nside, int(sizes.sum()))
        return max(alone, exact_bytes(self.nside, sizes)) if self.options.polish else alone
