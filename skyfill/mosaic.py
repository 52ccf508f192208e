"""Find the posterior mean of a map from tiles and a coarse solve of the whole sphere.

Tiles know nothing of scales larger than themselves. The prior splits exactly into s = s_L + s_H
with independent spectra h_l C_l and (1 - h_l) C_l, so E[s|d] = m_L + W_H (d - M m_L) with
m_L = E[s_L|d]: the coarse level solves for m_L on a degraded map, tiles do the rest. Holes that are
small against a tile are filled first, from tiles with the whole C_l, which their surroundings show
better than a degraded map does; the coarse level and the wide holes then take them as data. What
is left of their error is the gather's; a step towards the exact mean of the sphere takes it out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from skyfill import blending, harmonics, tiling
from skyfill._checks import nside_of
from skyfill._progress import Progress, Silent
from skyfill.flatsky import coarse_share
from skyfill.gaussian import CoarseModel, Solver, degrade, freed, unpinned
from skyfill.masks import grow, hole_reach
from skyfill.prior import Prior
from skyfill.tiling import Layout

__all__ = ["FlatEngine", "Mosaic", "MosaicConfig"]

#: HEALPix pixels around holes that are gathered twice where no polish follows.
_NEAR = 8.0
#: Steps of polish where every hole is polished.
_POLISH = 4

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]


class TileMean(Protocol):
    """Posterior means of tiles ``(ntile, side, side)``, µK."""

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
        Exact iterations at the end, see `skyfill.gaussian.Solver.improve`; None for 4 up to
        ``polished_nside``, where they cost little, and 1 beyond.
    polished
        Radius of the largest hole that is polished beyond ``polished_nside``: there the tiles' own
        error is small, and wide holes would take twice the memory. In smaller maps, where tiles
        are curved, every hole is polished.
    polished_nside
        Largest resolution at which every hole is polished.
    near
        Observed pixels this far from a hole (in HEALPix pixels) are gathered a second time; 0 for
        one pass only, None for 8 where no polish follows and 0 where one does.
    threshold
        Share of the interpolation weight that must be observed for a tile pixel to count as data.
    coarse_nside
        Largest resolution of the coarse level; 0 for none: tiles have the whole C_l.
    whole_nside
        Maps of this resolution or below, whose tiles would be curved, are solved as a whole.
    tolerance
        Distance to the exact mean at which the coarse solve stops, in units of the map's rms; a
        tenth of it where maps are solved as a whole.
    """

    side: int = 128
    pixel: float = 0.75
    guard: int = 24
    margin: int = 32
    cover: float = 1.2
    small: float = 20.0
    polish: int | None = None
    polished: float = 100.0
    polished_nside: int = 512
    near: float | None = None
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


class Mosaic:
    """Posterior mean of maps that share a mask and a prior; linear in the map.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, True where observed.
    prior
        What the maps are made of.
    engine
        What fills tiles.
    marginal
        Whether monopole and dipole can be anything; if not, the prior's are none.
    config
        How the sphere is divided.
    threads
        Of the transforms; 0 for all.
    progress
        Told of every stage.

    Attributes
    ----------
    polish
        Exact iterations at the end; none where the whole is exact, or memory too small.
    """

    def __init__(
        self,
        observed: Mask,
        prior: Prior,
        engine: FlatEngine,
        *,
        marginal: bool = True,
        config: MosaicConfig | None = None,
        threads: int = 0,
        progress: Progress | None = None,
    ) -> None:
        self._observed = observed
        self._prior = prior
        self._signal = freed(prior.signal_cl()) if marginal else prior.signal_cl()
        self._config = config or MosaicConfig()
        self._threads = threads
        self._progress = progress or Silent()
        self._nside = nside_of(observed.size, "mask")
        self._sets: dict[str, _TileSet] = {}
        self._coarse: Solver | None = None
        self._polisher: Solver | None = None
        self.polish = 0
        if self._nside <= self._config.whole_nside:
            return
        reach = hole_reach(observed)
        every = self._nside <= self._config.polished_nside
        polish = self._config.polish
        if polish is None:
            polish = _POLISH if every else 1
        if polish:
            radius = math.inf if every else self._config.polished * self._tile_pixel
            self._prepare_polish(polish, _wider(reach, radius))
        self._progress.stage("plan")
        wide = _wider(reach, self._config.small * self._tile_pixel)
        del reach
        small = ~observed & ~wide
        self._small = small
        again = np.zeros_like(observed)
        near = self._config.near
        if near is None:
            near = 0.0 if self.polish else _NEAR
        if near:
            again = ~grow(observed, near * _pixel_size(self._nside))
        coarse = self._config.coarse_nside > 0
        for name, holes, seen, share in (
            ("small", small, observed, False),
            ("wide", wide, observed | small, coarse),
        ):
            if holes.any():
                self._sets[name] = _TileSet(
                    holes, seen, again & seen, prior, engine, self._config, share=share
                )
        tiles = [f"{tiles} for {name} holes" for name, tiles in self._sets.items()]
        self._progress.done(", ".join(tiles))

    def _prepare_polish(self, polish: int, left: Mask) -> None:
        """Prepare the solver for all but the holes that are left out."""
        self._progress.stage("prepare")
        given = self._observed | left
        signal = self._signal
        if left.any():
            # Small holes must not make up for the monopole of a wide one's error.
            signal = unpinned(signal)
        if given.all():
            self._progress.done("nothing to polish")
            return
        try:
            self._polisher = Solver(
                given, signal_cl=signal, noise_cl=self._prior.white_cl, threads=self._threads
            )
        except MemoryError:
            self._progress.done("no polish: this machine has too little memory for it")
            return
        self.polish = polish
        self._progress.done(str(self._polisher))

    @property
    def _tile_pixel(self) -> float:
        return self._config.pixel * _pixel_size(self._nside)

    def mean(self, values: Map) -> Map:
        """Give the posterior mean in the holes.

        Parameters
        ----------
        values
            ``(npix,)``, µK, RING; monopole and dipole small against it; holes are not read.

        Returns
        -------
        ``(nhole,)``, µK, in RING order.
        """
        work = np.where(self._observed, values, 0.0)
        if self._nside <= self._config.whole_nside:
            self._progress.stage("whole sky")
            if self._coarse is None:
                self._coarse = Solver(
                    self._observed,
                    signal_cl=self._signal,
                    noise_cl=self._prior.white_cl,
                    threads=self._threads,
                )
            solution = self._coarse.mean(
                work, tolerance=0.1 * self._config.tolerance, progress=self._progress
            )
            self._progress.done(str(solution.certificate))
            return solution.fill
        if "small" in self._sets:
            self._sets["small"].fill(work, self._progress, "small holes")
        if "wide" in self._sets:
            large = self._large_scales(work) if self._config.coarse_nside else 0.0
            work -= large
            self._sets["wide"].fill(work, self._progress, "wide holes")
            work += large
            del large  # a whole map
        if self._polisher is not None:
            self._progress.stage("polish", self.polish)
            work[self._polisher.holes] = self._polisher.improve(
                work, iterations=self.polish, progress=self._progress
            )
            self._progress.done()
        return np.asarray(work[~self._observed])

    def _large_scales(self, values: Map) -> Map:
        """Give m_L, the mean of the large scales, on the whole map."""
        self._progress.stage("coarse level")
        seen = self._observed | self._small
        nside = min(self._config.coarse_nside, max(self._nside // 4, 128), self._nside // 2)
        coarse, share = degrade(values, seen, nside)
        signal = self._signal
        model = CoarseModel.of(
            nside, fine_nside=self._nside, signal_cl=signal, noise_cl=self._prior.white_cl
        )
        if self._coarse is None:
            self._coarse = Solver(
                share >= 0.5,
                signal_cl=model.signal_cl,
                noise_cl=model.noise_cl,
                threads=self._threads,
            )
        solution = self._coarse.mean(
            coarse, tolerance=self._config.tolerance, progress=self._progress
        )
        lmax = model.window.size - 1
        tile = self._config.side * self._config.pixel * _pixel_size(self._nside)
        h = coarse_share(np.arange(lmax + 1, dtype=float), tile)
        last = int(np.flatnonzero(h > 1e-9)[-1])
        alm = harmonics.almxfl(solution.whitened, h * model.window * signal[: lmax + 1])
        large = harmonics.synthesis(
            harmonics.truncated(alm, last), self._nside, threads=self._threads
        )
        self._progress.done(f"nside {nside}, l up to {last}, {solution.certificate}")
        return large


class _TileSet:
    """The tiles over some holes, and how they are filled."""

    def __init__(
        self,
        holes: Mask,
        seen: Mask,
        again: Mask,
        prior: Prior,
        engine: FlatEngine,
        config: MosaicConfig,
        *,
        share: bool,
    ) -> None:
        nside = nside_of(holes.size, "mask")
        sky_pixel = _pixel_size(nside)
        pixel = config.pixel * sky_pixel
        self._seen = seen
        self._holes = np.flatnonzero(holes)
        self._threshold = config.threshold
        layouts = tiling.plan(
            holes,
            side=config.side,
            pixel_arcmin=math.degrees(pixel) * 60,
            margin=config.margin * pixel,
            cover=config.cover,
        )
        self._layouts, self._useful = self._worth_it(layouts, config, config.side * pixel)
        cl = np.append(prior.total_cl(), prior.white_cl)
        self._mean = engine(
            cl, side=config.side, pixel=pixel, share=share, sky_pixel=sky_pixel, guard=config.guard
        )
        self._window = blending.window((config.side, config.side), guard=config.guard + 1)
        self._again = np.flatnonzero(again)

    def __str__(self) -> str:
        return f"{self._useful.size} tiles"

    def _worth_it(
        self, layouts: tuple[Layout, ...], config: MosaicConfig, side: float
    ) -> tuple[list[Layout], NDArray[np.int64]]:
        """Drop tiles that neither see anything nor overlap with one that does.

        Deep in a wide hole the mean is that of the coarse level; a tile without data is zero, and
        is there for the others to fade into.
        """
        inner = slice(config.guard, -config.guard or None)
        mask = self._seen.astype(np.float32)
        sees = np.zeros(len(layouts), dtype=bool)
        for part in _batches(len(layouts)):
            weight, _ = tiling.cut(mask, None, layouts[part])
            sees[part] = (weight[:, inner, inner] >= config.threshold).any(axis=(1, 2))
        lon, lat = np.radians([(layout.lon_deg, layout.lat_deg) for layout in layouts]).T
        centre = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], -1)
        kept = sees.copy()
        if sees.any():
            apart, _ = KDTree(centre[sees]).query(centre)
            kept |= apart < math.sqrt(2) * side
        return [layouts[i] for i in np.flatnonzero(kept)], np.flatnonzero(sees[kept])

    def fill(self, values: Map, progress: Progress, name: str) -> None:
        """Write the posterior mean into the holes of ``values``."""
        passes = 2 if self._again.size else 1
        progress.stage(name, passes * self._useful.size)
        tiles = np.zeros((len(self._layouts), *self._window.shape), dtype=np.float32)
        data = values
        for number in range(passes):
            # The second pass gathers what the first has missed, so that the gather's smoothing is
            # felt by the residual only.
            if number:
                data = np.zeros_like(values)
                pasted = self._paste(tiles, self._again)
                data[self._again] = np.nan_to_num(values[self._again] - pasted)
            for part in _batches(self._useful.size):
                some = self._useful[part]
                cut, weight = tiling.cut(data, self._seen, [self._layouts[i] for i in some])
                known = weight >= self._threshold
                tiles[some] = self._mean(np.where(known, tiles[some] + cut, 0.0), known)
                progress.advance(some.size)
        values[self._holes] = np.nan_to_num(self._paste(tiles, self._holes))
        progress.done(f"{self}, {self._holes.size} pixels")

    def _paste(self, tiles: NDArray[np.float32], pixels: NDArray[np.int64]) -> Map:
        if not self._layouts:
            return np.full(pixels.size, np.nan)
        return tiling.paste(tiles, self._layouts, pixels, window=self._window)[0]


def _batches(n: int, size: int = 256) -> list[slice]:
    return [slice(i, i + size) for i in range(0, n, size)]


def _pixel_size(nside: int) -> float:
    return math.sqrt(4 * math.pi / 12) / nside


def _wider(reach: Map, radius: float) -> Mask:
    """Mark the pixels of the holes that do not fit into a disc of a given radius."""
    wide: Mask = reach > 2 * math.sin(min(radius, math.pi) / 2)
    return wide
