"""Find the posterior mean of a map from tiles and a coarse solve of the whole sphere.

Tiles know nothing of scales larger than themselves. The prior splits exactly into s = s_L + s_H
with independent spectra h_l C_l and (1 - h_l) C_l, so E[s|d] = m_L + W_H (d - M m_L) with
m_L = E[s_L|d]: the coarse level solves for m_L on a degraded map, tiles do the rest. Holes that are
small are filled first, and are data to the coarse level and to the wide ones, as their surroundings
show them better than a degraded map does: by their blocks where the exact solver is there for the
polish at the end, else from tiles with the whole C_l. What is left of the error is the gather's,
the borders of tiles and the coarse pixels': steps towards the exact mean of the sphere take it out.
Up to `MosaicConfig.polished_nside` they are of all holes together, beyond of the wide ones, on
whose rings alone they are taken, and then of the small ones.

Every scalar of the solves that conjugate gradients would take from the map is that of a sky which
depends on mask and prior alone (`skyfill.gaussian.Course`): the mean is linear in the map.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill import harmonics
from skyfill.files.cache import Kept
from skyfill.flatsky import coarse_share
from skyfill.gaussian import (
    Certificate,
    CoarseModel,
    Course,
    Polish,
    Solver,
    degrade,
    drawn,
    freed,
)
from skyfill.gaussian.blocks import affordable
from skyfill.healpix.arrays import as_mask
from skyfill.healpix.stokes import nside_of
from skyfill.holes import grow
from skyfill.holes.runs import Runs
from skyfill.mosaic.tileset import (
    FlatEngine,
    MosaicConfig,
    TileMean,
    TileSet,
    pixel_size,
    plan_tiles,
)
from skyfill.prior import Prior
from skyfill.progress import Progress, Silent

__all__ = [
    "FlatEngine",
    "Mosaic",
    "MosaicConfig",
    "TileMean",
    "count_tiles",
    "planned_regions",
    "usual_polish",
    "wide_holes",
]

#: HEALPix pixels around holes that are gathered twice where no polish follows.
_NEAR = 8.0
#: Steps of polish where every hole is polished, how much less exact the coarse level is then, and
#: steps where wide holes are.
_POLISH, _ROUGH, _WIDE_POLISH = 8, 6.0, 5
#: Distance at which the coarse level of a map has not converged, in units of the tolerance at which
#: that of a drawn sky ended.
_SLACK = 3.0

#: Relative residual of a tile beyond which it has not converged: over four times the largest of
#: healthy runs (docs/measured.md, "Convergence").
_UNSOLVED = 0.1

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Mosaic:
    """Posterior mean of maps that share a mask and a prior; linear in the map.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, True where observed.
    prior
        What the maps are made of.
    holes
        ``(npix,)``, RING: the unobserved pixels to be filled, all if not given. Where not every
        hole is polished, tiles are made for them and what is near them alone.
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
    kept
        Where what mask and prior alone decide is kept, and looked for.

    Attributes
    ----------
    whole
        Whether maps are solved as a whole, without tiles and their engine.
    polish
        Exact iterations at the end; none where the whole is exact, or memory too small.
    certificate
        Of the last mean, where maps are solved as a whole.
    trouble
        What has not converged in the last mean; None where all has.
    """

    def __init__(
        self,
        observed: ArrayLike,
        prior: Prior,
        engine: FlatEngine,
        *,
        holes: Mask | None = None,
        marginal: bool = True,
        config: MosaicConfig | None = None,
        threads: int = 0,
        progress: Progress | None = None,
        kept: Kept | None = None,
    ) -> None:
        observed = as_mask(observed, taker="Mosaic")
        self._observed = observed
        self._holes = holes
        self.certificate: Certificate | None = None
        self.trouble: str | None = None
        self._kept = kept or Kept()
        self._prior = prior
        self._signal = freed(prior.signal_cl()) if marginal else prior.signal_cl()
        self._config = config or MosaicConfig()
        self._threads = threads
        self._progress = progress or Silent()
        self._nside = nside_of(observed, "observed")
        self._sets: dict[str, TileSet] = {}
        self._coarse: Solver | None = None
        self._course: Map | None = None
        self._polisher: Polish | None = None
        self.polish = 0
        self.whole = self._nside <= self._config.whole_nside
        if self.whole:
            return
        every = self._nside <= self._config.polished_nside
        polish = usual_polish(self._nside, self._config)
        self._near = None if holes is None or every else _near(observed, holes, self._config)
        if polish:
            self._polisher = self._prepared(polish, every=every)
        self._progress.stage("plan")
        small, wide = _small_and_wide(observed, self._config, self._near)
        blocks = np.zeros_like(observed)
        if self._polisher is not None:
            self.polish = polish
            blocks[self._polisher.small] = True
            small &= ~blocks
            wide &= ~blocks
        kept = self._kept.of(observed, np.packbits(blocks), self._config)
        kept = kept if self._near is None else kept.of(np.packbits(self._near))
        blocks |= observed
        self._seen = blocks | small  # but for wide holes
        again = None
        near = self._config.near
        if near is None:
            near = 0.0 if self.polish else _NEAR
        if near:
            again = ~grow(observed, near * pixel_size(self._nside))
        coarse = self._config.coarse_nside > 0
        for name, holes, seen, share in (
            ("small", small, blocks, False),
            ("wide", wide, self._seen, coarse),
        ):
            if holes.any():
                self._sets[name] = TileSet(
                    *(holes, seen, None if again is None else again & seen),
                    *(prior, engine, self._config),
                    share=share,
                    kept=kept.of(name),
                )
        tiles = [f"{tiles} for {name} holes" for name, tiles in self._sets.items()]
        self._progress.done(", ".join(tiles))

    def _prepared(self, steps: int, *, every: bool) -> Polish | None:
        """Prepare polish; None where there is no memory for it."""
        self._progress.stage("prepare")
        try:
            polish = Polish(
                self._observed,
                signal_cl=self._signal,
                noise_cl=self._prior.white_cl,
                steps=steps,
                every=every,
                near=self._near,
                threads=self._threads,
                kept=self._kept,
                progress=self._progress,
            )
        except MemoryError:
            self._progress.done("no polish: this machine has too little memory for it")
            return None
        self._progress.done(str(polish))
        return polish

    def mean(self, values: Map, *, overwrite: bool = False) -> Map:
        """Give the posterior mean in the holes.

        Parameters
        ----------
        values
            ``(npix,)``, µK, RING; monopole and dipole small against it; holes are not read.
        overwrite
            Whether it may be changed, which saves a copy.

        Returns
        -------
        ``(nhole,)``, µK, in RING order.
        """
        self.trouble = self.certificate = None
        if self._polisher is not None:
            self._polisher.rehearse()  # before the copy, which it would keep waiting in memory
        work = values if overwrite else values.copy()
        work[~self._observed] = 0.0
        if self.whole:
            return self._solve(work)
        if self._polisher is not None and self._polisher.small.size:
            # Nearer to the exact mean than from tiles, and sooner.
            self._progress.stage("blocks")
            self._polisher.fill_small(work)
            self._progress.done(f"{self._polisher.small.size} pixels")
        if "small" in self._sets:
            self._fill("small", work)
        if "wide" in self._sets:
            large = self._large_scales(work) if self._config.coarse_nside else np.zeros(1, complex)
            # Not kept as a map: to make it twice costs little.
            for part, sky in harmonics.parts_of(large, self._nside, threads=self._threads):
                work[part] -= sky
            if self._near is not None:  # what no tile fills keeps the large scales
                work[~(self._seen | self._near)] = 0.0
            self._fill("wide", work)
            for part, sky in harmonics.parts_of(large, self._nside, threads=self._threads):
                work[part] += sky
        if self._polisher is not None:
            self._note(self._polisher.finish(work))
        return np.asarray(work[~self._observed if self._holes is None else self._holes])

    def tile_regions(self) -> NDArray[np.int64]:
        """Divide the holes that have tiles among these, each pixel to that with most weight.

        The borders between such regions are where an error of tiles shows
        (`skyfill.fidelity.border_seams`). It takes some seconds at Nside 2048, and is done anew at
        every call.

        Returns
        -------
        ``(npix,)``, RING: number of the tile; -1 where nothing is filled from tiles: where
        observed, in small holes that are solved as blocks, and on maps solved as a whole.
        """
        regions = np.full(self._observed.size, -1, dtype=np.int64)
        count = 0
        for tiles in self._sets.values():
            pixels, owners = tiles.regions(self._holes)
            regions[pixels] = np.where(owners < 0, -1, owners + count)
            count = int(regions.max(initial=count - 1)) + 1
        return regions

    def _solve(self, values: Map) -> Map:
        """Give the exact mean in the holes."""
        self._progress.stage("whole sky")
        if self._coarse is None:
            self._coarse = Solver(
                self._observed,
                signal_cl=self._signal,
                noise_cl=self._prior.white_cl,
                threads=self._threads,
            )
        solution = self._coarse.mean(
            values, tolerance=0.1 * self._config.tolerance, progress=self._progress
        )
        self.certificate = solution.certificate
        self._progress.done(str(solution.certificate))
        if not solution.certificate.converged:
            self.trouble = f"the exact mean ({solution.certificate})"
        return solution.fill if self._holes is None else solution.fill[self._holes[~self._observed]]

    def _fill(self, name: str, values: Map) -> None:
        """Fill the holes of a set of tiles, and note whether that has converged."""
        left = self._sets[name].fill(values, self._progress, f"{name} holes")
        if not left <= _UNSOLVED:
            self._note(f"tiles of {name} holes, with a relative residual of {left:.2g}")

    def _note(self, trouble: str | None) -> None:
        """Note what has not converged, if anything."""
        self.trouble = "; ".join(filter(None, (self.trouble, trouble))) or None

    def _large_scales(self, values: Map) -> NDArray[np.complex128]:
        """Give m_L, the mean of the large scales, as harmonics."""
        self._progress.stage("coarse level")
        nside = min(self._config.coarse_nside, max(self._nside // 4, 128), self._nside // 2)
        coarse, share = degrade(values, self._seen, nside)
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
                kept=self._kept,
            )
        every = self._polisher is not None and self._nside <= self._config.polished_nside
        tolerance = self._config.tolerance * (_ROUGH if every else 1.0)
        if self._course is None:
            self._course = self._rehearsed(self._coarse, model, tolerance)
        solution = self._coarse.mean(
            coarse,
            tolerance=_SLACK * tolerance,
            course=Course(self._course),
            progress=self._progress,
        )
        told = ""
        if not solution.certificate.converged:  # a map so unlike the prior
            solution = self._coarse.mean(coarse, tolerance=tolerance, progress=self._progress)
            told = ", not along the prior's course, which led astray"
        lmax = model.window.size - 1
        tile = self._config.side * self._config.pixel * pixel_size(self._nside)
        h = coarse_share(np.arange(lmax + 1, dtype=float), tile)
        last = int(np.flatnonzero(h > 1e-9)[-1])
        alm = harmonics.almxfl(solution.whitened, h * model.window * signal[: lmax + 1])
        self._progress.done(f"nside {nside}, l up to {last}, {solution.certificate}{told}")
        if not solution.certificate.converged:
            self._note(f"the coarse level ({solution.certificate})")
        return harmonics.truncated(alm, last)

    def _rehearsed(self, solver: Solver, model: CoarseModel, tolerance: float) -> Map:
        """Give the course of the coarse level: that of a sky drawn from its model."""

        def make() -> Map:
            course = Course()
            sky = drawn(model.nside, model.signal_cl, model.noise_cl)
            solver.mean(sky, tolerance=tolerance, course=course)
            return np.array(course.numbers)

        known = self._kept.of(
            self._observed, np.packbits(self._seen), model.signal_cl, model.noise_cl, tolerance
        )
        return known.of_prior().array("course", make, dtype=np.float64, shape=(-1,))


def planned_regions(
    observed: ArrayLike,
    prior: Prior,
    *,
    polished: bool = True,
    threads: int = 0,
    progress: Progress | None = None,
) -> NDArray[np.int64] | None:
    """Plan the tiles of a fill again, without filling: as `Mosaic.tile_regions` gives them.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, True where observed; all else was filled.
    prior
        That of the fill.
    polished
        Whether exact iterations followed; if none did, small holes had tiles, not blocks.
    threads
        Of the transforms; 0 for all.
    progress
        Told of every stage.

    Returns
    -------
    ``(npix,)``, RING; None where no hole has tiles, as on maps that are solved as a whole, and
    where memory is too small to tell which holes have.
    """
    observed = as_mask(observed, taker="mosaic.planned_regions")
    config = MosaicConfig() if polished else MosaicConfig(polish=0)
    if nside_of(observed, "observed") <= config.whole_nside:
        return None
    plan = Mosaic(observed, prior, _no_engine, config=config, threads=threads, progress=progress)
    if polished and not plan.polish:
        return None
    listener = progress or Silent()
    listener.stage("tile borders")
    regions = plan.tile_regions()
    count = int(np.count_nonzero(np.bincount(regions[regions >= 0])))
    listener.done(f"{count} tiles" if count else "no tiles")
    return regions if count else None


def _no_engine(
    cl: Map,  # noqa: ARG001
    *,
    side: int,  # noqa: ARG001
    pixel: float,  # noqa: ARG001
    share: bool,  # noqa: ARG001
    sky_pixel: float,  # noqa: ARG001
    guard: int,  # noqa: ARG001
) -> TileMean:
    """Stand in for an engine where tiles are planned, and none is filled."""

    def mean(tiles: NDArray[np.float64], observed: Mask) -> NDArray[np.float32]:  # noqa: ARG001
        raise ValueError("these tiles were planned to be looked at, not to be filled")

    return mean


def usual_polish(nside: int, config: MosaicConfig) -> int:
    """Give the exact iterations at the end: what is asked for, or what pays at an Nside."""
    if config.polish is not None:
        return config.polish
    return _POLISH if nside <= config.polished_nside else _WIDE_POLISH


def count_tiles(
    observed: Mask,
    holes: Runs,
    config: MosaicConfig,
    *,
    polished: bool,
    wanted: Mask | None = None,
) -> dict[str, int]:
    """Count the tiles of ``small`` and of ``wide`` holes that a `Mosaic` would fill.

    If it polishes, nearly: small holes next to wide ones have tiles, not blocks; how near, only the
    prior says. Of all holes, those ``wanted`` are filled.
    """
    regions, sizes = holes.regions
    wide = _wide_runs(holes, _small_radius(holes.nside, config))
    if wanted is not None and holes.nside > config.polished_nside:
        near = Runs.of(_near(observed, wanted, config))
        of = np.searchsorted(holes.first, near.first, side="right") - 1
        touched = np.zeros(sizes.size, np.bool_)
        touched[regions[of]] = True
        sizes = np.where(touched, sizes, observed.size)  # too many for a block
        holes, regions, wide = near, regions[of], wide[of]
    blocks = affordable(sizes)[regions] & polished
    tiles, seen = {}, observed.copy()
    holes.paint(blocks, seen)
    for name, chosen in (("small", ~wide & ~blocks), ("wide", wide & ~blocks)):
        if chosen.any():
            tiles[name] = plan_tiles(holes.some(chosen), seen, config)[1].size
        holes.paint(~wide | blocks, seen)
    return tiles


def _near(observed: Mask, holes: Mask, config: MosaicConfig) -> Mask:
    """Mark the unobserved pixels among and around some holes that tell what is in them."""
    nside = nside_of(observed, "observed")
    near = ~grow(~holes, config.rim * pixel_size(nside))
    near &= ~observed
    return near


def _small_and_wide(observed: Mask, config: MosaicConfig, near: Mask | None) -> tuple[Mask, Mask]:
    """Tell holes that are small against a tile from others; of both, what is ``near`` if given."""
    wide = wide_holes(observed, _small_radius(nside_of(observed, "observed"), config))
    small = ~(observed | wide)
    if near is not None:
        small &= near
        wide &= near
    return small, wide


def _small_radius(nside: int, config: MosaicConfig) -> float:
    """Give the largest radius of a small hole, radians."""
    return config.small * config.pixel * pixel_size(nside)


def wide_holes(observed: ArrayLike, radius: float) -> NDArray[np.bool_]:
    """Mark the pixels of the holes that do not fit into a disc about their centre.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, True where observed.
    radius
        Of the disc, radians. A hole's centre is the mean of the directions of its pixels.

    Returns
    -------
    ``(npix,)``, RING.
    """
    seen = as_mask(observed, taker="mosaic.wide_holes")
    holes = Runs.of(seen, False)
    marked = np.zeros_like(seen)
    holes.paint(_wide_runs(holes, radius), marked)
    return marked


def _wide_runs(holes: Runs, radius: float) -> Mask:
    """Tell which runs are of wide holes."""
    _, chords = holes.discs()
    wide: Mask = chords > 2 * math.sin(min(radius, math.pi) / 2)
    return wide[holes.regions[0]]
