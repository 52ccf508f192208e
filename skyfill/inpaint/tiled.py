"""``vae``: tiles, a coarse level and polish; at low Nside one exact solve of the whole sphere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skyfill.flatsky import TileField
from skyfill.gaussian.blocks import affordable
from skyfill.gaussian.memory import block_bytes, fits, polish_bytes, solve_bytes, wide_bytes
from skyfill.harmonics import device_for
from skyfill.holes.runs import Runs
from skyfill.inpaint.exact import ExactMethod, exact_bytes
from skyfill.inpaint.fills import PROGRAM, Method, Pace, Setup
from skyfill.inpaint.options import FillOptions
from skyfill.mosaic import (
    FlatEngine,
    Mosaic,
    TileMean,
    count_tiles,
    polishes_wide,
    tiles_bytes,
    usual_polish,
)
from skyfill.prior import Prior
from skyfill.vae.memory import LEFT, MOST_CPU, TORCH, batch_bytes

if TYPE_CHECKING:
    from skyfill.vae import ModelCard

__all__ = ["TileMethod"]

Mask = NDArray[np.bool_]
Sizes = NDArray[np.int64]

#: Relative residual of the probe tiles at which the steps of `TileFiller` end. Single tiles can
#: have ten times as much; their error in the holes is then a few per cent.
_GOOD = 5e-4
#: Run time that polish of wide holes adds to the first map and to each further map.
_WIDE = Pace(transforms=0.36), Pace(transforms=0.12)
#: Nside of a cell in units of the map's.
_CELL = 1 / 64
#: Tiles per cell that contains both holes and data.
_A_CELL = 1.5


class TileMethod(Method):
    """``vae``."""

    batch = MOST_CPU
    paces = Pace(5.0, 0.33, 0.0, 5.6), Pace(1.0, 0.17, 0.003, 5.6)

    @property
    def _whole(self) -> bool:
        """Whether the whole sphere is solved at once, without tiles."""
        return self.nside <= self.options.mosaic.whole_nside

    @property
    def _every(self) -> bool:
        """Whether all holes are polished together."""
        return self.mapped or self.nside <= self.options.mosaic.polished_nside

    @property
    def _wide(self) -> bool:
        """Whether wide holes are polished on their own rings."""
        return not self._every and polishes_wide(self.nside, self.options.mosaic)

    @property
    def _solves(self) -> bool:
        """Whether polish is as large as an exact solve: of all holes, above its usual Nside."""
        return self.mapped and self.nside > self.options.mosaic.polished_nside

    @property
    def exact(self) -> bool:
        """Whether the method solves for all unobserved pixels: if they are polished together."""
        return self._every

    def polish(self, holes: int) -> int:
        """Return the number of exact iterations at the end; 0 if memory is too small for them."""
        if self._whole or not fits(self.nside, holes):
            return 0
        return usual_polish(self.nside, self.options.mosaic)

    def count_tiles(self, observed: Mask, holes: Mask | None, polish: int) -> dict[str, int]:
        """Count the tiles."""
        if self._whole:
            return {}
        runs, config = Runs.of(observed, False), self.options.mosaic
        wanted = None if self._every else holes
        return count_tiles(observed, runs, config, polished=bool(polish), wanted=wanted)

    def guess_tiles(self, observed: Mask, holes: Runs) -> dict[str, int]:
        """Estimate the number of tiles from the cells that contain both holes and data."""
        cell = max(int(holes.nside * _CELL), 1)
        data = Runs.of(observed).degraded(cell)
        both = np.intersect1d(holes.degraded(cell).pixels(), data.pixels(), assume_unique=True)
        return {"wide": math.ceil(_A_CELL * both.size)}

    def prepare(self, setup: Setup) -> tuple[Mosaic, ModelCard | None]:
        """Prepare the mosaic and the engine that fills its tiles."""
        engine, card = tile_engine(self.options)
        mosaic = Mosaic(
            setup.observed,
            setup.known_prior,
            engine,
            holes=setup.holes,
            marginal=self.options.marginal,
            noise_variance=setup.noise_variance,
            config=self.options.mosaic,
            threads=self.options.threads,
            progress=setup.progress,
            kept=setup.kept,
            device=device_for(self.options.device),
        )
        return mosaic, None if mosaic.whole else card

    def stages(self, sizes: Sizes, tiles: Mapping[str, int]) -> list[str]:
        """Name the stages."""
        if self._whole:
            return ["latent sky", "whole sky"]
        polish = bool(self.polish(int(sizes.sum())))
        stages = ["prepare"] * polish + ["plan", "latent sky"]
        stages += ["blocks"] * (polish and bool(affordable(sizes, nside=self.nside).any()))
        stages += ["small holes"] * ("small" in tiles)
        stages += ["coarse level", "wide holes"] * ("wide" in tiles)
        return stages + ["polish"] * polish

    def memory(self, sizes: Sizes, tiles: Mapping[str, int]) -> float:
        """Estimate the peak memory, bytes: that of the largest stage."""
        if self._whole:
            return exact_bytes(self.nside, sizes) + TORCH
        holes, side = int(sizes.sum()), self.options.mosaic.side
        work = batch_bytes(self.options.batch_size or MOST_CPU, side)
        mosaic = tiles_bytes(self.nside, holes, sum(tiles.values()), side=side)
        tiling = PROGRAM + TORCH + mosaic + work
        if not self.polish(holes):
            return tiling
        small = sizes[affordable(sizes, nside=self.nside)]
        law = wide_bytes if "wide" in tiles and self._wide else polish_bytes
        if self._solves:
            law = solve_bytes
        solver = 8.0 * 12 * self.nside**2 + block_bytes(small)[0]
        polishing = PROGRAM + TORCH + LEFT + law(self.nside, holes, small)
        return max(tiling + solver, polishing)

    def seconds(
        self,
        maps: int,
        tiles: Mapping[str, int],
        polish: int,
        sizes: Sizes | None = None,
        prior: Prior | None = None,
    ) -> float:
        """Estimate the run time of this number of maps, seconds."""
        if self._whole:
            exact = ExactMethod(self.options, self.nside)
            return exact.seconds(maps, tiles, polish, sizes, prior)
        total = super().seconds(maps, tiles, polish)
        if polish and self._solves:
            return total + ExactMethod(self.options, self.nside).seconds(maps, tiles, polish)
        if not polish or "wide" not in tiles or not self._wide:
            return total
        first, further = (pace.seconds(self.nside, 0) for pace in _WIDE)
        return total + first + (maps - 1) * further


def tile_engine(options: FillOptions) -> tuple[FlatEngine, ModelCard | None]:
    """Build the engine that fills tiles, with or without the network; this imports torch."""
    from skyfill import vae

    vae.pick_device(options.device, threads=options.threads)
    if len(options.files) > 1:
        raise ValueError("vae uses one file of weights, only cosmovae several; pass one")
    learned = bool(options.files) if options.network is None else options.network
    network, card = vae.load(*options.files) if learned else (None, None)

    def engine(field: TileField, *, guard: int) -> TileMean:
        return vae.TileFiller(
            network,
            field,
            guard=guard,
            refine=options.refine,
            tolerance=_GOOD,
            batch_size=options.batch_size,
            device=options.device,
        )

    return engine, card
