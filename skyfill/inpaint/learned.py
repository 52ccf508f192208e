"""``pconv``, ``vaeac`` and ``context-encoder``: other published networks, for comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from skyfill.cosmovae.tilefill import USUAL_BATCH, TileEngine
from skyfill.inpaint.published import PublishedMethod

if TYPE_CHECKING:
    from skyfill.vae import ModelCard

__all__ = ["LearnedMethod", "SingleMethod"]


class LearnedMethod(PublishedMethod):
    """``vaeac``: a network of `skyfill.baselines` that draws fills."""

    def _engine(self, file: Path) -> tuple[TileEngine, ModelCard]:
        from skyfill import baselines

        network, card = baselines.load(file, model=self.options.method)
        engine = baselines.BaselineFiller(
            network,
            card,
            device=self.options.device,
            batch_size=self.options.batch_size or USUAL_BATCH,
        )
        return engine, card

    def _files(self) -> Sequence[Path]:
        if not self.options.files:
            raise ValueError(
                f"no weights of {self.options.method} are shipped; train them with skyfill train"
                f" (`model='{self.options.method}'`), and pass `weights`"
            )
        return self.options.files


class SingleMethod(LearnedMethod):
    """``pconv`` and ``context-encoder``: networks that have one fill of a tile."""

    stochastic = False
