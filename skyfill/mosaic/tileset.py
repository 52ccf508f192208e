"""Fill some holes of a map from overlapping tiles."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from skyfill import tiling
from skyfill.files.cache import Kept
from skyfill.healpix import pixel_directions
from skyfill.healpix.stokes import nside_of
from skyfill.holes.runs import Runs
from skyfill.prior import Prior
from skyfill.progress import Progress
from skyfill.tiling import Layout, blending

__all__ = ["FlatEngine", "MosaicConfig", "TileMean", "TileSet", "pixel_size", "plan_tiles"]

#: Tiles that are cut at once.
_AT_ONCE = 256
#: Pixels of the map that tiles are pasted to at once.
_PIXELS = 2**23

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]


class TileMean(Protocol):
    """Posterior means of tiles ``(ntile, side, side)``, µK.

    One that goes by steps has an attribute ``left``: the largest relative residual since it was
    last set to zero.
    """

    def __call__(self, tiles: NDArray[Any], observed: Mask) -> NDArray[np.float32]:
        """Fill tiles."""


@dataclass(frozen=True)
class MosaicConfig:
    """Say how the sphere is divided; lengths are in tile pixels unless said.

    Attributes
    ----------
    side
        Of a tile.
    pixel
        Of a tile, in units of the HEALPix pixel.
    guard
        Pixels around a tile that are not used: its periodic images must not feel each other, nor
        a hole that is cut by the border.
    margin
        Least distance of a hole pixel from the border of a tile that fills it.
    cover
        Mean number of tiles, less their margins, over a point of a wide hole.
    small
        Largest radius of a hole that is filled with the whole C_l, before wide ones; 0 for none.
    polish
        Exact iterations at the end, see `skyfill.gaussian.Polish`; None for 8 up to
        ``polished_nside``, where they cost little, and 5 beyond.
    polished_nside
        Largest resolution at which all holes are polished together, with corrections. Beyond it
        wide holes are polished without corrections, on whose rings alone the steps are taken; small
        ones are filled by their blocks again.
    near
        Observed pixels this far from a hole (in HEALPix pixels) are gathered a second time; 0 for
        one pass only, None for 8 where no polish follows and 0 where one does.
    rim
        Where not every hole is to be filled: other unobserved pixels this far from one that is (in
        HEALPix pixels) have tiles, too, so that polish finds there what a hole can see.
    threshold
        Share of the interpolation weight that must be observed for a tile pixel to count as data.
    coarse_nside
        Largest resolution of the coarse level; 0 for none: tiles have the whole C_l.
    whole_nside
        Maps of this resolution or below, whose tiles would be curved, are solved as a whole.
    tolerance
        Distance to the exact mean at which the coarse solve stops, in units of the map's rms; six
        times as much where polish of every hole follows, a tenth where maps are solved as a whole.
    """

    side: int = 128
    pixel: float = 0.75
    guard: int = 20
    margin: int = 24
    cover: float = 1.2
    small: float = 20.0
    polish: int | None = None
    polished_nside: int = 512
    near: float | None = None
    rim: float = 64.0
    threshold: float = 0.9
    coarse_nside: int = 256
    whole_nside: int = 128
    tolerance: float = 3e-2


class FlatEngine(Protocol):
    """What a mosaic asks for: posterior means on flat tiles of a given prior."""

    def __call__(
        self, cl: Map, *, side: int, pixel: float, share: bool, sky_pixel: float, guard: int
    ) -> TileMean:
        """Prepare for tiles: the arguments are those of `skyfill.flatsky.TileField.of`."""


class TileSet:
    """The tiles over some holes, and how they are filled."""

    def __init__(
        self,
        holes: Mask,
        seen: Mask,
        again: Mask | None,
        prior: Prior,
        engine: FlatEngine,
        config: MosaicConfig,
        *,
        share: bool,
        kept: Kept | None = None,
    ) -> None:
        nside = nside_of(holes, "holes")
        sky_pixel = pixel_size(nside)
        pixel = config.pixel * sky_pixel
        self._seen = seen
        self._holes = holes
        self._threshold = config.threshold
        self._layouts, self._useful = plan_tiles(holes, seen, config, kept)
        self._reach = math.sqrt(2) * config.side * pixel
        cl = np.append(prior.total_cl(), prior.white_cl)
        self._mean = engine(
            cl, side=config.side, pixel=pixel, share=share, sky_pixel=sky_pixel, guard=config.guard
        )
        self._kept = (kept or Kept()).of_prior()
        self._window = blending.window((config.side, config.side), guard=config.guard + 1)
        self._again = again

    def __str__(self) -> str:
        return f"{self._useful.size} tiles"

    def fill(self, values: Map, progress: Progress, name: str) -> float:
        """Write the posterior mean into the holes of ``values``.

        Gives the largest relative residual of a tile, 0 where the engine tells none.
        """
        engine: Any = self._mean
        if getattr(engine, "scalars", self) is None:
            self._prepare(values)
        told = hasattr(engine, "left")
        if told:
            engine.left = 0.0
        passes = 1 if self._again is None else 2
        progress.stage(name, passes * self._useful.size)
        tiles = np.zeros((len(self._layouts), *self._window.shape), dtype=np.float32)
        data: NDArray[Any] = values
        for number in range(passes):
            # The second pass gathers what the first has missed, so that the gather's smoothing is
            # felt by the residual only.
            if number and self._again is not None:
                data = np.zeros(values.size, dtype=np.float32)  # as precise as the tiles
                for pixels, pasted in self._pasted(tiles, self._again):
                    data[pixels] = np.nan_to_num(values[pixels] - pasted)
            for some, cut, weight in self._cuts(data):
                known = weight >= self._threshold
                tiles[some] = self._mean(np.where(known, tiles[some] + cut, 0.0), known)
                progress.advance(some.size)
        del data
        filled = 0
        for pixels, pasted in self._pasted(tiles, self._holes):
            values[pixels] = np.nan_to_num(pasted)
            filled += pixels.size
        left = float(engine.left) if told else 0.0
        progress.done(f"{self}, {filled} pixels")
        return left

    def owners(self, pixels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Find the tile that has most weight at each RING pixel, ``(n,)``; -1 beyond all tiles."""
        if not self._layouts:
            return np.full(pixels.size, -1, dtype=np.int64)
        return tiling.owners(self._layouts, pixels, window=self._window)

    def regions(self, among: Mask | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Give the hole pixels, RING, of ``among`` alone if given, and their `owners`."""
        pixels = np.flatnonzero(self._holes if among is None else self._holes & among)
        return pixels, self.owners(pixels)

    def _prepare(self, values: Map) -> None:
        """Show the engine some of the masks: what it makes of them serves all tiles and maps."""
        engine: Any = self._mean

        def make() -> NDArray[np.float64]:
            number = min(engine.probes, self._useful.size)
            some = self._useful[np.linspace(0, self._useful.size - 1, number).astype(int)]
            _, weight = tiling.cut(values, self._seen, [self._layouts[i] for i in some])
            engine.prepare(weight >= self._threshold)
            return np.zeros((0, engine.terms)) if engine.scalars is None else engine.scalars

        if self._useful.size:
            engine.scalars = self._kept.of(*engine.deciding).array(
                "steps", make, dtype=np.float64, shape=(-1, engine.terms)
            )

    def _cuts(self, data: NDArray[Any]) -> Iterator[tuple[NDArray[np.int64], Map, Map]]:
        """Cut tiles, the next ones while these are being filled."""

        def cut(part: slice) -> tuple[NDArray[np.int64], Map, Map]:
            some = self._useful[part]
            return some, *tiling.cut(data, self._seen, [self._layouts[i] for i in some])

        with ThreadPoolExecutor(1) as ahead:
            parts = _batches(self._useful.size)
            coming = [ahead.submit(cut, part) for part in parts[:1]]
            for part in parts[1:]:
                now = coming.pop().result()
                coming.append(ahead.submit(cut, part))
                yield now
            for last in coming:
                yield last.result()

    def _pasted(
        self, tiles: NDArray[np.float32], wanted: Mask
    ) -> Iterator[tuple[NDArray[np.int64], Map]]:
        """Paste tiles, some pixels at a time: which, and their values, NaN beyond all tiles.

        These are rings next to each other, which only tiles nearby can reach.
        """
        nside = nside_of(wanted, "wanted")
        lat = np.radians([layout.lat_deg for layout in self._layouts])
        for start in range(0, wanted.size, _PIXELS):
            pixels = np.flatnonzero(wanted[start : start + _PIXELS]) + start
            if not pixels.size:
                continue
            north, south = np.arcsin(pixel_directions(nside, pixels[[0, -1]])[:, 2])
            near = np.flatnonzero((lat < north + self._reach) & (lat > south - self._reach))
            if near.size == len(self._layouts):
                yield pixels, tiling.paste(tiles, self._layouts, pixels, window=self._window)[0]
            elif near.size:
                paster = tiling.Paster(nside, pixels)
                for part in _batches(near.size):
                    some = near[part]
                    paster.add(tiles[some], [self._layouts[i] for i in some], self._window)
                yield pixels, paster.result()[0]
            else:
                yield pixels, np.full(pixels.size, np.nan)


def plan_tiles(
    holes: Mask | Runs, seen: Mask, config: MosaicConfig, kept: Kept | None = None
) -> tuple[list[Layout], NDArray[np.int64]]:
    """Give the tiles over some holes, and which of them see anything; ``kept`` is of these."""
    nside = nside_of(seen, "observed")
    pixel = config.pixel * pixel_size(nside)
    arcmin = math.degrees(pixel) * 60

    def make() -> Map:
        layouts, useful = _worth_it(
            tiling.plan(
                holes,
                side=config.side,
                pixel_arcmin=arcmin,
                margin=config.margin * pixel,
                cover=config.cover,
            ),
            seen,
            config,
            config.side * pixel,
        )
        sees = np.isin(np.arange(len(layouts)), useful)
        centres = np.reshape([(tile.lon_deg, tile.lat_deg) for tile in layouts], (-1, 2))
        return np.column_stack([centres, sees])

    tiles = (kept or Kept()).array("tiles", make, dtype=np.float64, shape=(-1, 3))
    shape = (config.side, config.side)
    layouts = [Layout(nside, lon, lat, shape, arcmin) for lon, lat, _ in tiles.tolist()]
    return layouts, np.flatnonzero(tiles[:, 2])


def _worth_it(
    layouts: tuple[Layout, ...], seen: Mask, config: MosaicConfig, side: float
) -> tuple[list[Layout], NDArray[np.int64]]:
    """Drop tiles that neither see anything nor overlap with one that does.

    Deep in a wide hole the mean is that of the coarse level; a tile without data is zero, and
    is there for the others to fade into.
    """
    sees = tiling.sees(seen, layouts, guard=config.guard, threshold=config.threshold)
    lon, lat = np.radians([(layout.lon_deg, layout.lat_deg) for layout in layouts]).T
    centre = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], -1)
    kept = sees.copy()
    if sees.any():
        apart, _ = KDTree(centre[sees]).query(centre)
        kept |= apart < math.sqrt(2) * side
    return [layouts[i] for i in np.flatnonzero(kept)], np.flatnonzero(sees[kept])


def _batches(n: int) -> list[slice]:
    return [slice(i, i + _AT_ONCE) for i in range(0, n, _AT_ONCE)]


def pixel_size(nside: int) -> float:
    """Give the root of a HEALPix pixel's area, radians."""
    return math.sqrt(4 * math.pi / 12) / nside
