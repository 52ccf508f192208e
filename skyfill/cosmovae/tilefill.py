"""Fill holes on the sphere with a network for single tiles, such as CosmoVAE.

There is no prior and no coarse level, so scales larger than a tile are unknown. Each tile has its
own latent sample, and blending averages the samples where tiles overlap. This module measures what
the published design loses on the sphere (docs/cosmovae.md).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill import tiling
from skyfill.gaussian import Certificate
from skyfill.healpix.arrays import as_mask
from skyfill.healpix.stokes import nside_of
from skyfill.progress import Progress, listening
from skyfill.tiling import Layout, Paster, blending

__all__ = ["USUAL_BATCH", "TileEngine", "TileFill"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Share of the interpolation weight that must be observed for a tile pixel to count as data.
_KNOWN = 0.9
#: Share of a tile's side that is margin. Holes do not reach into it.
_MARGIN = 1 / 8
#: Share of a tile's side that is not pasted: the network knows too little around these pixels.
_GUARD = 1 / 16
#: Mean number of tiles over a point of a wide hole.
_COVER = 2.0
#: Number of tiles cut at once.
_AT_ONCE = 64
#: Default number of tiles that the network fills at once.
USUAL_BATCH = 8


class TileEngine(Protocol):
    """Fill tiles ``(n, ny, nx)``, µK, by the latent mean or by samples of a seed."""

    def __call__(
        self,
        tiles: NDArray[Any],
        observed: Mask,
        *,
        seed: tuple[int, ...] | None = None,
        first: int = 0,
    ) -> NDArray[np.float32]:
        """Fill tiles; ``first`` is the index of the first tile."""


class TileFill:
    """Holes of maps that share a mask.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, True where observed.
    engine
        Fills tiles, for example a `CosmoFiller`.
    side
        Pixels along a tile.
    pixel_arcmin
        Side of a tile pixel; its height if ``boxes``.
    boxes
        Whether tiles are like the Cartesian tiles of the paper: twice as wide as high with as many
        pixels, in plate carrée about their own middle. If not, squares in gnomonic projection.
    holes
        ``(npix,)``, RING, True in the unobserved pixels to be filled; all if not given.
    progress
        Listener, informed of every tile.

    Attributes
    ----------
    certificate, trouble
        None: the network makes no claim.
    """

    certificate: Certificate | None = None
    trouble: str | None = None

    def __init__(
        self,
        observed: ArrayLike,
        engine: TileEngine,
        *,
        side: int,
        pixel_arcmin: float,
        boxes: bool = False,
        holes: Mask | None = None,
        progress: Progress | None = None,
    ) -> None:
        observed = as_mask(observed, taker="cosmovae.TileFill")
        self._observed, self._engine, self._boxes = observed, engine, boxes
        holes = ~observed if holes is None else holes
        self._holes = np.flatnonzero(holes)
        self._progress = listening(progress)
        self._progress.stage("plan")
        layouts: tuple[Layout, ...] = tiling.plan(
            holes,
            side=side,
            pixel_arcmin=pixel_arcmin,
            margin=_MARGIN * side * math.radians(pixel_arcmin / 60),
            projection="CAR" if boxes else "TAN",
            cover=_COVER,
        )
        shape = (side, 2 * side if boxes else side)
        self._layouts = [replace(layout, shape=shape) for layout in layouts]
        self._window = blending.window(shape, guard=round(_GUARD * side))
        self._progress.done(f"{len(self._layouts)} tiles")

    def mean(self, values: Map, *, overwrite: bool = False) -> Map:  # noqa: ARG002
        """Give the fill of the latent mean, ``(nhole,)`` in RING order."""
        return self.sample(values, None)

    def sample(self, values: Map, seed: tuple[int, ...] | None) -> Map:
        """Give the fill of a latent sample for each tile, ``(nhole,)`` in RING order."""
        self._progress.stage("tiles", len(self._layouts))
        paster = Paster(nside_of(values, "values"), self._holes)
        for start in range(0, len(self._layouts), _AT_ONCE):
            some = self._layouts[start : start + _AT_ONCE]
            tiles, weight = tiling.cut(values, self._observed, some)
            known = weight >= _KNOWN
            if self._boxes:
                known = known[..., ::2] & known[..., 1::2]
                tiles = 0.5 * (tiles[..., ::2] + tiles[..., 1::2])
            filled = self._engine(tiles, known, seed=seed, first=start)
            paster.add(_doubled(filled) if self._boxes else filled, some, self._window)
            self._progress.advance(len(some))
        self._progress.done(f"{len(self._layouts)} tiles, {self._holes.size} pixels")
        return paster.result()[0]


def _doubled(tiles: NDArray[np.float32]) -> NDArray[np.float32]:
    """Interpolate tiles to twice the number of columns."""
    wide = np.repeat(tiles, 2, axis=2)
    wide[..., 2::2] += 0.25 * (tiles[..., :-1] - tiles[..., 1:])
    wide[..., 1:-1:2] += 0.25 * (tiles[..., 1:] - tiles[..., :-1])
    return wide
