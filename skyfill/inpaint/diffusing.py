"""``diffuse``: neighbour means, alone or with exact steps behind them."""

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
    """Neighbour means until they stand still: what people use today.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, True where observed.
    progress
        Told of every stage.
    chosen
        ``(nmissing,)``: which of the unobserved pixels are given; all if not given.
    """

    polish = 0

    def __init__(self, observed: Mask, *, progress: Progress, chosen: Mask | None = None) -> None:
        self.certificate: Certificate | None = None
        self.trouble: str | None = None
        self._observed = observed
        self._progress = progress
        self._chosen = chosen

    def mean(self, values: Map, *, overwrite: bool = False) -> Map:  # noqa: ARG002
        """Give the Laplace fill of the holes."""
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
        """Whether it needs a prior: to polish."""
        return bool(self.options.polish)

    @property
    def exact(self) -> bool:
        """Whether it solves for all unobserved pixels: where it polishes."""
        return bool(self.options.polish)

    @property
    def single(self) -> bool:
        """Whether float32 suffices: neighbours' means of such numbers need no better ones."""
        return not self.options.polish

    def polish(self, holes: int) -> int:  # noqa: ARG002
        """Give the exact iterations at the end."""
        return self.options.polish or 0

    def prepare(self, setup: Setup) -> tuple[Fill, ModelCard | None]:
        """Prepare it, and the solver where it polishes."""
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
        # Regions without a pixel to be filled have no part in the others' equations.
        within = regions_with(~seen, some)
        return Diffuse(~within, progress=setup.progress, chosen=some[within]), None

    def stages(self, sizes: Sizes, tiles: Mapping[str, int]) -> list[str]:  # noqa: ARG002
        """Name the stages."""
        return ["prepare", "diffuse", "polish"] if self.options.polish else ["diffuse"]

    def memory(self, sizes: Sizes, tiles: Mapping[str, int]) -> float:  # noqa: ARG002
        """Estimate the peak, bytes."""
        alone = PROGRAM + diffuse_bytes(self.nside, int(sizes.sum()))
        return max(alone, exact_bytes(self.nside, sizes)) if self.options.polish else alone
