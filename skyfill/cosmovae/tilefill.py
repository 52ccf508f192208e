"""Fill holes by a network that knows nothing but tiles, as CosmoVAE is.

Neither a prior nor a coarse level: what is larger than a tile it does not know, and each tile has
a latent sample of its own, so that where two overlap the blend averages them. What the published
design loses by that on the sphere, this shows (docs/cosmovae.md).
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
from skyfill.progress import Progress, Silent
from skyfill.tiling import Layout, Paster, blending

__all__ = ["TileEngine", "TileFill"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Share of the interpolation weight that must be observed for a tile pixel to count as data.
_KNOWN = 0.9
#: Share of a tile's side that is margin: holes lie within it.
_MARGIN = 1 / 8
#: Share of a tile's side that is not pasted at all: there the network sees too little around it.
_GUARD = 1 / 16
#: Mean number of tiles over a point of a wide hole.
_COVER = 2.0
#: Tiles that are cut at once.
_AT_ONCE = 64


class TileEngine(Protocol):
    """Fill tiles ``(n, ny, nx)``, µK; by the latent mean, or by samples of a seed."""

    def __call__(
        self,
        tiles: NDArray[Any],
        observed: Mask,
        *,
        seed: tuple[int, ...] | None = None,
        first: int = 0,
    ) -> NDArray[np.float32]:
        """Fill tiles; ``first`` is the number of the first of them."""


class TileFill:
    """Holes of maps that share a mask.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, True where observed.
    engine
        What fills tiles.
    side
        Pixels along a tile.
    pixel_arcmin
        Side, or height, of its pixels.
    boxes
        Whether tiles are twice as wide as high with as many pixels, as Cartesian tiles of the paper
        are, in plate carrée about their own middle; squares in gnomonic projection if not.
    holes
        ``(npix,)``, RING: the unobserved pixels to be filled; all if not given.
    progress
        Told of every tile.

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
        self._progress = progress or Silent()
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
    """Interpolate tiles to twice as many columns."""
    wide = np.repeat(tiles, 2, axis=2)
    wide[..., 2::2] += 0.25 * (tiles[..., :-1] - tiles[..., 1:])
    wide[..., 1:-1:2] += 0.25 * (tiles[..., 1:] - tiles[..., :-1])
    return wide
