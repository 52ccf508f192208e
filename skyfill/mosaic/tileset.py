"""Fill some holes of a map from overlapping tiles."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from skyfill import harmonics, tiling
from skyfill.files.cache import Kept
from skyfill.flatsky import TileField
from skyfill.healpix import pixel_directions
from skyfill.healpix.stokes import nside_of
from skyfill.holes.runs import Runs
from skyfill.mosaic.config import MosaicConfig
from skyfill.prior import ARCMIN, Prior
from skyfill.progress import Progress
from skyfill.tiling import Layout, blending

if TYPE_CHECKING:
    from skyfill.harmonics.spheres import Vector
    from skyfill.tiling.resident import ResidentTiles

__all__ = [
    "AT_ONCE",
    "FlatEngine",
    "TileMean",
    "TileSet",
    "pixel_size",
    "plan_tiles",
    "tile_field",
    "tiles_bytes",
]

#: Number of tiles that are cut at once.
AT_ONCE = 256
#: Number of map pixels into which tiles are pasted at once.
_PIXELS = 2**23
#: Bytes per map pixel, measured (docs/measured.md, "Memory").
_MAP = 21.0
#: Bytes per hole pixel.
_HOLE = 8.0
#: Step between levels of the noise, in octaves of the variance: a finer one would change the
#: weights of the data by less than the interpolation onto tiles does.
_STEP = 0.5
#: Bytes per tile while it is cut.
_CUT = 1.0e6
#: Bytes per pixel of a tile while it is pasted.
_PASTED = 64.0

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]


class TileMean(Protocol):
    """Compute posterior means of tiles ``(ntile, side, side)``, µK.

    An iterative implementation has an attribute ``left``: the largest relative residual since
    ``left`` was last set to zero. One that works on a device may have a method ``on_device``: the
    same for tensors there.
    """

    def __call__(self, tiles: NDArray[Any], observed: Mask) -> NDArray[np.float32]:
        """Fill the tiles."""


class FlatEngine(Protocol):
    """Build a `TileMean` for flat tiles of a given prior."""

    def __call__(self, field: TileField, *, guard: int) -> TileMean:
        """Prepare for tiles; ``guard`` pixels along each border are not used."""


class TileSet:
    """The tiles over some holes, with the engines that fill them.

    There is one engine, or, if the noise varies (``noise_variance``, µK²), one for each level of
    it. The level of a tile is the median over its observed pixels, to within 9% of the rms.

    Maps are arrays, or tensors on ``device``. Tiles of tensors are cut, filled and pasted there,
    unless their data are gathered twice, or memory is too small.
    """

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
        noise_variance: Map | None = None,
        kept: Kept | None = None,
        device: Any = None,  # noqa: ANN401 (a device of torch)
    ) -> None:
        nside = self._nside = nside_of(holes, "holes")
        self._device = device
        self._guard = config.guard
        self._seen = seen
        self._holes = holes
        self._threshold = config.threshold
        self._layouts, self._useful = plan_tiles(holes, seen, config, kept)
        self._reach = math.sqrt(2) * config.side * config.pixel * pixel_size(nside)
        self._levels, variances = self._sorted_by_noise(noise_variance)
        priors = [prior] if variances is None else [_with_noise(prior, one) for one in variances]
        self._engines = [
            engine(tile_field(one, config, share=share), guard=config.guard) for one in priors
        ]
        self._kept = (kept or Kept()).needing("prior")
        self._window = blending.window((config.side, config.side), guard=config.guard + 1)
        self._again = again

    def __str__(self) -> str:
        return f"{self._useful.size} tiles"

    def fill(self, values: Vector, progress: Progress, name: str) -> float:
        """Write the posterior mean into the holes of ``values``.

        Returns
        -------
        The largest relative residual of a tile; 0 if the engine does not report one.
        """
        engines: list[Any] = list(self._engines)
        for engine, some in zip(engines, self._parts(), strict=True):
            if getattr(engine, "scalars", self) is None:
                self._prepare(engine, some)
        told = hasattr(engines[0], "left")
        for engine in engines if told else []:
            engine.left = 0.0
        if isinstance(values, np.ndarray):
            self._fill_here(values, progress, name)
        elif self._resident is not None:
            self._fill_there(self._resident, values, progress, name)
        else:
            here = np.array(values.cpu().numpy())
            self._fill_here(here, progress, name)
            values.copy_(values.new_tensor(here))
        return float(np.max([engine.left for engine in engines])) if told else 0.0  # keeps NaN

    def _parts(self) -> list[NDArray[np.int64]]:
        """Give the useful tiles of each engine."""
        return [self._useful[self._levels == level] for level in range(len(self._engines))]

    def _fill_here(self, values: Map, progress: Progress, name: str) -> None:
        """Fill as `fill` does on the CPU."""
        passes = 1 if self._again is None else 2
        progress.stage(name, passes * self._useful.size)
        tiles = np.zeros((len(self._layouts), *self._window.shape), dtype=np.float32)
        data: NDArray[Any] = values
        for number in range(passes):
            # The second pass gathers the residual of the first, so that the smoothing of the
            # interpolation affects only the residual.
            if number and self._again is not None:
                data = np.zeros(values.size, dtype=np.float32)  # the precision of the tiles
                for pixels, pasted in self._pasted(tiles, self._again):
                    data[pixels] = np.nan_to_num(values[pixels] - pasted)
            for engine, part in zip(self._engines, self._parts(), strict=True):
                for some, cut, weight in self._cuts(data, part):
                    known = weight >= self._threshold
                    tiles[some] = engine(np.where(known, tiles[some] + cut, 0.0), known)
                    progress.advance(some.size)
        del data
        filled = 0
        for pixels, pasted in self._pasted(tiles, self._holes):
            values[pixels] = np.nan_to_num(pasted)
            filled += pixels.size
        progress.done(f"{self}, {filled} pixels")

    @cached_property
    def _resident(self) -> ResidentTiles | None:
        """The tiles on the device; None if they are cut and pasted on the CPU."""
        able = all(hasattr(engine, "on_device") for engine in self._engines)
        if self._device is None or self._again is not None or not able or not self._useful.size:
            return None
        from skyfill.tiling.resident import ResidentTiles, resident_bytes

        holes, side = int(np.count_nonzero(self._holes)), self._window.shape[0]
        need = resident_bytes(self._nside, holes, self._useful.size, side=side, guard=self._guard)
        free = harmonics.free_memory(self._device)
        if need > free:
            warnings.warn(
                f"{self} need {need / 1e9:.1f} GB on {self._device}, and {free / 1e9:.1f} GB are"
                " free there: they are cut and pasted on the CPU",
                stacklevel=4,
            )
            return None
        return ResidentTiles(
            self._layouts,
            self._useful,
            observed=self._seen,
            wanted=self._holes,
            nside=self._nside,
            guard=self._guard,
            window=self._window,
            threshold=self._threshold,
            device=self._device,
        )

    def _fill_there(
        self, resident: ResidentTiles, values: Vector, progress: Progress, name: str
    ) -> None:
        """Fill as `fill` does on the device: one pass."""
        progress.stage(name, self._useful.size)
        tiles = values.new_zeros(0)
        for level, engine in enumerate(self._engines):
            mine = np.flatnonzero(self._levels == level)
            for part in _batches(mine.size):
                some = mine[part]
                cut, known = resident.cut(values, some)
                found = engine.on_device(cut, known)  # type: ignore[attr-defined]
                if not len(tiles):
                    tiles = found.new_zeros((self._useful.size, *found.shape[1:]))
                tiles[values.new_tensor(some).long()] = found  # via float64, exact
                progress.advance(some.size)
        resident.paste(tiles, values)
        progress.done(f"{self}, {np.count_nonzero(self._holes)} pixels")

    def owners(self, pixels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Find the tile with the largest weight at RING pixels, ``(n,)``; -1 outside all tiles."""
        if not self._layouts:
            return np.full(pixels.size, -1, dtype=np.int64)
        return tiling.owners(self._layouts, pixels, window=self._window)

    def regions(self, among: Mask | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the hole pixels, RING (only those in ``among`` if given), and their `owners`."""
        pixels = np.flatnonzero(self._holes if among is None else self._holes & among)
        return pixels, self.owners(pixels)

    def _sorted_by_noise(
        self, noise_variance: Map | None
    ) -> tuple[NDArray[np.int64], list[float] | None]:
        """Give the level of each useful tile, and the noise variance of each level, µK²."""
        number = self._useful.size
        if noise_variance is None or not number:
            return np.zeros(number, dtype=np.int64), None
        medians = np.concatenate(
            [
                [
                    np.median(one[known])
                    for one, known in zip(cut, weight >= self._threshold, strict=True)
                ]
                for _, cut, weight in self._cuts(noise_variance, self._useful)
            ]
        )
        steps = np.rint(np.log2(medians / np.median(medians)) / _STEP)
        found, levels = np.unique(steps, return_inverse=True)
        return levels, [float(np.median(medians) * 2 ** (_STEP * step)) for step in found]

    def _prepare(self, engine: Any, tiles: NDArray[np.int64]) -> None:  # noqa: ANN401
        """Prepare an engine's steps on a sample of its tiles' masks; they serve all maps."""

        def make() -> NDArray[np.float64]:
            number = min(engine.probes, tiles.size)
            some = tiles[np.linspace(0, tiles.size - 1, number).astype(int)]
            nothing = np.zeros(self._seen.size)
            _, weight = tiling.cut(nothing, self._seen, [self._layouts[i] for i in some])
            engine.prepare(weight >= self._threshold)
            return np.zeros((0, engine.terms)) if engine.scalars is None else engine.scalars

        if tiles.size:
            kept = self._kept if len(self._engines) == 1 else self._kept.of(tiles)
            engine.scalars = kept.of(*engine.deciding).array(
                "steps", make, dtype=np.float64, shape=(-1, engine.terms)
            )

    def _cuts(
        self, data: NDArray[Any], tiles: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], Map, Map]]:
        """Cut tiles in batches; the next batch is cut while the current one is filled."""

        def cut(part: slice) -> tuple[NDArray[np.int64], Map, Map]:
            some = tiles[part]
            return some, *tiling.cut(data, self._seen, [self._layouts[i] for i in some])

        with ThreadPoolExecutor(1) as ahead:
            parts = _batches(tiles.size)
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
        """Paste tiles, some pixels at a time; yield pixels and values, NaN outside all tiles.

        Each part consists of neighbouring rings, so that only the tiles nearby are needed.
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


def _with_noise(prior: Prior, variance: float) -> Prior:
    """Give the prior with white noise of a variance in each pixel, µK²."""
    per_pixel = 4 * math.pi / (12 * prior.nside**2)
    return replace(prior, noise_uk_arcmin=math.sqrt(variance * per_pixel) / ARCMIN)


def plan_tiles(
    holes: Mask | Runs, seen: Mask, config: MosaicConfig, kept: Kept | None = None
) -> tuple[list[Layout], NDArray[np.int64]]:
    """Plan the tiles over some holes.

    Returns
    -------
    The tiles, and the indices of those that contain observed pixels; ``kept`` caches both.
    """
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
    """Drop tiles without observed pixels, unless they overlap with a tile that has some.

    Deep in a wide hole the mean is that of the coarse level, and a tile without data is zero. It is
    needed only where tiles with data are blended into it.
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
    return [slice(i, i + AT_ONCE) for i in range(0, n, AT_ONCE)]


def tile_field(prior: Prior, config: MosaicConfig, *, share: bool) -> TileField:
    """Return the prior of the tiles of a mosaic.

    Parameters
    ----------
    prior
        Prior of the map.
    config
        How the sphere is divided into tiles.
    share
        Whether the large scales have been subtracted by a coarse level.
    """
    sky_pixel = pixel_size(prior.nside)
    return TileField.of(
        np.append(prior.total_cl(), prior.white_cl),
        side=config.side,
        pixel=config.pixel * sky_pixel,
        share=share,
        sky_pixel=sky_pixel,
    )


def tiles_bytes(nside: int, holes: int, tiles: int, *, side: int) -> float:
    """Estimate the peak memory of filling from tiles, bytes, without program and engine.

    Parameters
    ----------
    nside
        Nside of the map.
    holes
        Number of hole pixels.
    tiles
        Number of tiles, float32.
    side
        Side of a tile, pixels.
    """
    work = _CUT * min(tiles, AT_ONCE) + _PASTED * min(holes, _PIXELS)
    return _MAP * 12 * nside**2 + _HOLE * holes + 4.0 * side**2 * tiles + work


def pixel_size(nside: int) -> float:
    """Return the square root of a HEALPix pixel's area, radians."""
    return math.sqrt(4 * math.pi / 12) / nside
