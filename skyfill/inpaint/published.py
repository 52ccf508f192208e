"""``cosmovae``: the published network without further steps, for comparison."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skyfill.cosmovae.tilefill import USUAL_BATCH, TileEngine, TileFill
from skyfill.gaussian import Certificate
from skyfill.inpaint.fills import PROGRAM, Fill, Method, Pace, Setup
from skyfill.mosaic import AT_ONCE, tiles_bytes
from skyfill.vae.memory import MOST_CPU, TORCH, batch_bytes

if TYPE_CHECKING:
    from skyfill.vae import ModelCard

__all__ = ["Ensemble", "PublishedMethod"]

Map = NDArray[np.float64]
Sizes = NDArray[np.int64]


class Ensemble:
    """Fills of one or several networks: samples use them in turn, the mean uses the first."""

    certificate: Certificate | None = None
    trouble: str | None = None
    polish = 0

    def __init__(self, members: list[TileFill]) -> None:
        self._members = members

    def mean(self, values: Map, *, overwrite: bool = False) -> Map:
        """Compute the first network's fill of the latent mean, ``(nhole,)`` in RING order."""
        return self._members[0].mean(values, overwrite=overwrite)

    def sample(self, values: Map, seed: int, index: int) -> Map:
        """Compute a fill with one latent sample per tile, ``(nhole,)`` in RING order."""
        return self._members[index % len(self._members)].sample(values, (seed, index))


class PublishedMethod(Method):
    """``cosmovae``."""

    batch = USUAL_BATCH
    paces = Pace(5.0, 0.2, 0.0, 50.0), Pace(1.0, 0.2, 0.0, 50.0)

    @property
    def informed(self) -> bool:
        """Whether the method needs a prior: never."""
        return False

    @property
    def unmapped(self) -> str | None:
        """Why the method accepts no noise map: the network cannot use one."""
        return (
            f"{self.options.method} does not accept a noise map; use vae or gaussian, or drop"
            " `noise_rms`"
        )

    def _engine(self, file: Path) -> tuple[TileEngine, ModelCard]:
        """Load the network of a file; this imports torch."""
        from skyfill import cosmovae

        network, card = cosmovae.load(file)
        engine = cosmovae.CosmoFiller(
            network,
            card,
            device=self.options.device,
            batch_size=self.options.batch_size or USUAL_BATCH,
        )
        return engine, card

    def _files(self) -> Sequence[Path]:
        """Give the files of weights: those of the options, else the shipped one."""
        from skyfill import cosmovae

        return self.options.files or cosmovae.shipped()

    def prepare(self, setup: Setup) -> tuple[Fill, ModelCard | None]:
        """Load the networks and plan the tiles of each; this imports torch."""
        members, cards = [], []
        for file in self._files():
            engine, card = self._engine(file)
            about = card.training
            trained = about.get("nside")
            if trained not in (None, self.nside):
                warnings.warn(
                    f"{card.name} was trained at Nside {trained}, the map has Nside {self.nside}; "
                    f"train weights with skyfill train (`model='{self.options.method}'`)",
                    stacklevel=3,
                )
            boxes = about["projection"] == "cartesian"
            members.append(
                TileFill(
                    setup.observed,
                    engine,
                    holes=setup.holes,
                    side=about["size"],
                    pixel_arcmin=600 / about["size"] if boxes else about["pixel_arcmin"],
                    boxes=boxes,
                    progress=setup.progress,
                )
            )
            cards.append(card)
        return Ensemble(members), cards[0]

    def stages(self, sizes: Sizes, tiles: Mapping[str, int]) -> list[str]:  # noqa: ARG002
        """Name the stages."""
        return ["plan", "tiles"]

    def memory(self, sizes: Sizes, tiles: Mapping[str, int]) -> float:  # noqa: ARG002
        """Estimate the peak memory, bytes: that of a mosaic of `AT_ONCE` tiles."""
        side = self.options.mosaic.side
        work = batch_bytes(self.options.batch_size or MOST_CPU, side)
        return (
            PROGRAM + TORCH + tiles_bytes(self.nside, int(sizes.sum()), AT_ONCE, side=side) + work
        )
