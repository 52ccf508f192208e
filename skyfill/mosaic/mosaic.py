"""Compute the posterior mean of a map from tiles and a coarse solve of the whole sphere.

A tile has no scales larger than itself. The prior splits exactly into s = s_L + s_H with
independent spectra h_l C_l and (1 - h_l) C_l, so E[s|d] = m_L + W_H (d - M m_L) with
m_L = E[s_L|d]. The coarse level solves for m_L on a degraded map; the tiles compute W_H.

Small holes are filled first and are then treated as data by the coarse level and by the wide holes:
their surroundings constrain them better than a degraded map does. They are filled by their blocks
if the exact solver is prepared for polish, else from tiles with the whole C_l.

The remaining error comes from the interpolation onto tiles, from the borders of tiles and from the
coarse pixels. Polish reduces it by iterations towards the exact mean of the sphere. Up to
`MosaicConfig.polished_nside` it treats all holes together; above, first the wide holes, on their
own rings only, then the small ones.

The mean is linear in the map. Conjugate gradients would take scalars from the map; here they are
recorded on a sky that depends only on mask and prior (`skyfill.gaussian.Course`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill import harmonics
from skyfill.files.cache import Kept
from skyfill.flatsky import TileField, coarse_share
from skyfill.gaussian import (
    Certificate,
    CoarseModel,
    Course,
    Degraded,
    Polish,
    Solver,
    degrade,
    drawn,
    freed,
)
from skyfill.gaussian.vectors import Vector, add, copied, like
from skyfill.harmonics import DeviceSphere
from skyfill.healpix.arrays import as_mask
from skyfill.healpix.stokes import nside_of
from skyfill.holes import grow
from skyfill.mosaic.config import MosaicConfig
from skyfill.mosaic.division import near_holes, polishes_wide, small_and_wide, usual_polish
from skyfill.mosaic.tileset import FlatEngine, TileMean, TileSet, pixel_size
from skyfill.prior import Prior
from skyfill.progress import Progress, listening

__all__ = [
    "Mosaic",
    "planned_regions",
]

#: Without polish: distance from a hole, in HEALPix pixels, within which data are gathered twice.
_NEAR = 8.0
#: The same where polish leaves out the wide holes: 8 pixels would double the time of their tiles.
_NEAR_LARGE = 4.0
#: Factor on the coarse level's tolerance in that case.
_ROUGH = 6.0
#: Distance above which the coarse level of a map has not converged, in units of the tolerance used
#: for the drawn sky.
_SLACK = 3.0

#: Relative residual above which a tile has not converged: over four times the largest value in
#: converged runs (docs/measured.md, "Convergence").
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
        Prior of the maps.
    holes
        ``(npix,)``, RING: True for the unobserved pixels to fill; all if not given. Above
        ``config.polished_nside``, tiles cover only these pixels and their surroundings.
    engine
        Builds the function that fills tiles.
    marginal
        Whether monopole and dipole are unconstrained; if not, they have the prior's spectrum.
    noise_variance
        ``(npix,)``, RING, µK²: variance of the noise in each pixel, in place of the prior's white
        noise. Each tile then has white noise of its own, and all holes are polished together at
        every Nside.
    config
        How the sphere is divided into tiles.
    threads
        Number of threads of the transforms; 0 for all cores.
    progress
        Receives the stages.
    kept
        Cache for arrays that depend only on mask and prior.
    device
        Torch device of the coarse level and of polish; None for the CPU.

    Attributes
    ----------
    whole
        Whether maps are solved without tiles and their engine.
    polish
        Number of exact iterations at the end; 0 if maps are solved without tiles, or if memory is
        too small.
    certificate
        Accuracy of the last mean, if maps are solved without tiles; else None.
    trouble
        The part of the last mean that has not converged; None if all has.
    """

    def __init__(
        self,
        observed: ArrayLike,
        prior: Prior,
        engine: FlatEngine,
        *,
        holes: Mask | None = None,
        marginal: bool = True,
        noise_variance: Map | None = None,
        config: MosaicConfig | None = None,
        threads: int = 0,
        progress: Progress | None = None,
        kept: Kept | None = None,
        device: str | None = None,
    ) -> None:
        observed = as_mask(observed, taker="Mosaic")
        self._observed = observed
        self._holes = holes
        self.certificate: Certificate | None = None
        self.trouble: str | None = None
        self._kept = kept or Kept()
        self._prior = prior
        self._marginal = marginal
        self._noise = noise_variance
        self._signal = freed(prior.signal_cl()) if marginal else prior.signal_cl()
        self._config = config or MosaicConfig()
        self._threads = threads
        self._device = device
        self._progress = listening(progress)
        self._nside = nside_of(observed, "observed")
        self._sets: dict[str, TileSet] = {}
        self._coarse: Solver | None = None
        self._course: Map | None = None
        self._polisher: Polish | None = None
        self._degraded: Degraded | None = None
        self.polish = 0
        self.whole = self._nside <= self._config.whole_nside
        if self.whole:
            return
        every = self._every = (
            self._nside <= self._config.polished_nside or noise_variance is not None
        )
        polish = usual_polish(self._nside, self._config)
        self._near = None if holes is None or every else near_holes(observed, holes, self._config)
        if polish:
            self._polisher = self._prepared(polish, every=every)
        self._progress.stage("plan")
        small, wide = small_and_wide(observed, self._config, self._near)
        blocks = np.zeros_like(observed)
        if self._polisher is not None:
            self.polish = polish
            blocks[self._polisher.small] = True
            small &= ~blocks
            wide &= ~blocks
        kept = self._kept.of(observed, np.packbits(blocks), self._config)
        kept = kept if self._near is None else kept.of(np.packbits(self._near))
        blocks |= observed
        self._seen = blocks | small  # all pixels except wide holes
        again = None
        near = self._config.near
        if near is None:
            near = _NEAR
            if self.polish:
                wide_too = every or polishes_wide(self._nside, self._config)
                near = 0.0 if wide_too else _NEAR_LARGE
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
                    noise_variance=noise_variance,
                    kept=kept.of(name),
                    device=None if self.sphere is None else self.sphere.device,
                )
        tiles = [f"{tiles} for {name} holes" for name, tiles in self._sets.items()]
        self._progress.done(", ".join(tiles))

    def _prepared(self, steps: int, *, every: bool) -> Polish | None:
        """Prepare polish; None if memory is too small for it."""
        self._progress.stage("prepare")
        try:
            polish = Polish(
                self._observed,
                signal_cl=self._signal,
                noise_cl=self._prior.white_cl,
                noise_variance=self._total_noise(),
                steps=steps,
                every=every,
                wide=polishes_wide(self._nside, self._config),
                near=self._near,
                threads=self._threads,
                device=self._device,
                kept=self._kept,
                progress=self._progress,
            )
        except MemoryError:
            self._progress.done("no polish: this machine has too little memory for it")
            return None
        self._progress.done(str(polish))
        return polish

    def _total_noise(self) -> Map | None:
        """Variance of noise and aliased signal in each pixel, µK²; None if the noise is white."""
        if self._noise is None:
            return None
        return self._noise + self._prior.aliased_cl * self._noise.size / (4 * np.pi)

    @property
    def sphere(self) -> DeviceSphere | None:
        """The transforms on a device where maps are filled there, as tensors."""
        sphere = None if self._polisher is None else self._polisher.sphere
        return sphere if isinstance(sphere, DeviceSphere) else None

    def mean(self, values: Vector, *, overwrite: bool = False) -> Vector:
        """Compute the posterior mean in the holes.

        Parameters
        ----------
        values
            ``(npix,)``, µK, RING, with negligible monopole and dipole; holes are not read. An
            array, or a tensor if there is a `sphere`.
        overwrite
            Whether ``values`` may be changed, which saves a copy.

        Returns
        -------
        ``(nhole,)``, µK, in RING order: an array or a tensor, as ``values``.
        """
        self.trouble = self.certificate = None
        if self._polisher is not None:
            self._polisher.rehearse()  # before the copy is made, to keep the peak memory low
        work = self._begun(values, overwrite=overwrite)
        work[self._at(~self._observed)] = 0.0
        if self.whole:
            return self._solve(work)
        if self._polisher is not None and self._polisher.small.size:
            # Blocks are closer to the exact mean than tiles, and faster.
            self._progress.stage("blocks")
            self._polisher.fill_small(work)
            self._progress.done(f"{self._polisher.small.size} pixels")
        if "small" in self._sets:
            self._fill("small", work)
        if "wide" in self._sets:
            large = self._large_scales(work) if self._config.coarse_nside else np.zeros(1, complex)
            self._add(work, large, -1)
            if self._near is not None:  # unobserved pixels without tiles: only the large scales
                work[self._at(~(self._seen | self._near))] = 0.0
            self._fill("wide", work)
            self._add(work, large, 1)
        if self._polisher is not None:
            self._note(self._polisher.finish(work))
        return like(values, work[self._filled])

    def again(self, values: Vector) -> Vector:
        """Compute the posterior mean in the holes from one that is near, by polish alone.

        Parameters
        ----------
        values
            As for `mean`, with the near fill in the holes; may be changed.

        Returns
        -------
        As for `mean`. `trouble` remains what it was, with what polish adds to it. Where maps are
        not polished, this is `mean`.
        """
        work = self._begun(values, overwrite=True)
        if self.whole:
            self.trouble = None
            return self._solve(work, start=work[self._at(~self._observed)])
        if self._polisher is None:
            return self.mean(work, overwrite=True)
        self._note(self._polisher.finish(work))
        return like(values, work[self._filled])

    @property
    def _filled(self) -> Vector:
        """Index of the pixels that are filled."""
        return self._at(~self._observed if self._holes is None else self._holes)

    def _begun(self, values: Vector, *, overwrite: bool) -> Vector:
        """Return the map, on the device if there is one."""
        if self.sphere is None:
            return values if overwrite else values.copy()
        work = values
        if isinstance(values, np.ndarray):
            work = self.sphere.vector(np.asarray(values, dtype=np.float64))
        return work if overwrite else copied(work)

    def _at(self, mask: Mask) -> Vector:
        """Return a mask as what indexes the map: an array, or a tensor."""
        return mask if self.sphere is None else self.sphere.vector(mask)

    def _add(self, work: Vector, large: NDArray[np.complex128], sign: int) -> None:
        """Add or subtract large scales; not kept as a map, since synthesis costs little."""
        if self.sphere is not None:
            work.add_(self.sphere.synthesis(self.sphere.vector(large)), alpha=sign)
            return
        for part, sky in harmonics.parts_of(large, self._nside, threads=self._threads):
            add(work[part], sky, float(sign))

    @property
    def distance(self) -> float:
        """Estimated rms distance of the last mean to the exact one, µK; infinite if not known."""
        if self.certificate is not None:
            return self.certificate.distance
        return math.inf if self._polisher is None else self._polisher.distance

    def tile_regions(self) -> NDArray[np.int64]:
        """Map each hole pixel to the tile with the largest weight in it.

        Errors of tiles show at the borders between these regions
        (`skyfill.fidelity.border_seams`). Every call computes the regions again, which takes some
        seconds at Nside 2048.

        Returns
        -------
        ``(npix,)``, RING: number of the tile; -1 where no tile is used: in observed pixels, in
        small holes that are solved as blocks, and in maps solved without tiles.
        """
        regions = np.full(self._observed.size, -1, dtype=np.int64)
        count = 0
        for tiles in self._sets.values():
            pixels, owners = tiles.regions(self._holes)
            regions[pixels] = np.where(owners < 0, -1, owners + count)
            count = int(regions.max(initial=count - 1)) + 1
        return regions

    def _solve(self, values: Vector, start: Vector | None = None) -> Vector:
        """Compute the exact mean in the holes."""
        self._progress.stage("whole sky")
        if self._coarse is None:
            self._coarse = Solver.for_prior(
                self._observed,
                self._prior,
                marginal=self._marginal,
                noise_variance=self._noise,
                threads=self._threads,
                device=self._device,
            )
        solution = self._coarse.mean(
            values, start=start, tolerance=0.1 * self._config.tolerance, progress=self._progress
        )
        self.certificate = solution.certificate
        self._progress.done(str(solution.certificate))
        if not solution.certificate.converged:
            self.trouble = f"the exact mean ({solution.certificate})"
        return solution.fill if self._holes is None else solution.fill[self._holes[~self._observed]]

    def _fill(self, name: str, values: Vector) -> None:
        """Fill the holes of a set of tiles, and record whether the tiles converged."""
        left = self._sets[name].fill(values, self._progress, f"{name} holes")
        if not left <= _UNSOLVED:
            self._note(f"tiles of {name} holes, with a relative residual of {left:.2g}")

    def _note(self, trouble: str | None) -> None:
        """Record what has not converged, if anything."""
        self.trouble = "; ".join(filter(None, (self.trouble, trouble))) or None

    def _large_scales(self, values: Vector) -> NDArray[np.complex128]:
        """Compute m_L, the mean of the large scales, as harmonics."""
        self._progress.stage("coarse level")
        nside = min(self._config.coarse_nside, max(self._nside // 4, 128), self._nside // 2)
        if self.sphere is None:
            coarse, share = degrade(values, self._seen, nside)
        else:
            self._degraded = self._degraded or Degraded(self._seen, nside, self.sphere)
            coarse, share = self.sphere.array(self._degraded(values)), self._degraded.share
        signal = self._signal
        model = CoarseModel.of(
            nside, fine_nside=self._nside, signal_cl=signal, noise_cl=self._prior.white_cl
        )
        if self._coarse is None:
            self._coarse = Solver(
                share >= 0.5,
                signal_cl=model.signal_cl,
                noise_cl=model.noise_cl,
                noise_variance=self._coarse_noise(model, share),
                threads=self._threads,
                kept=self._kept,
                device=self._device,
            )
        every = self._polisher is not None and self._every
        tolerance = self._config.tolerance * (_ROUGH if every else 1.0)
        if self._course is None:
            self._course = self._rehearsed(self._coarse, model, tolerance)
        # On a fixed course the distance to the mean is proportional to the map's amplitude.
        bright = max(float(np.std(coarse[share >= 0.5])) / self._coarse.rms, 1.0)
        solution = self._coarse.mean(
            coarse,
            tolerance=_SLACK * bright * tolerance,
            whitened=True,
            course=Course(self._course),
            progress=self._progress,
        )
        told = ""
        if not solution.certificate.converged:  # the map is too unlike the prior
            solution = self._coarse.mean(
                coarse, tolerance=tolerance, whitened=True, progress=self._progress
            )
            told = ", computed again without the prior's course, which did not converge"
        lmax = min(model.window.size - 1, harmonics.lmax_of(solution.whitened))
        tile = self._config.side * self._config.pixel * pixel_size(self._nside)
        h = coarse_share(np.arange(lmax + 1, dtype=float), tile)
        last = int(np.flatnonzero(h > 1e-9)[-1])
        alm = harmonics.almxfl(solution.whitened, h * model.window[: lmax + 1] * signal[: lmax + 1])
        self._progress.done(f"nside {nside}, l up to {last}, {solution.certificate}{told}")
        if not solution.certificate.converged:
            self._note(f"the coarse level ({solution.certificate})")
        return harmonics.truncated(alm, last)

    def _coarse_noise(self, model: CoarseModel, share: Map) -> Map | None:
        """Variance of noise and aliased signal in each coarse pixel, µK²."""
        fine = self._total_noise()
        if fine is None:
            return None
        mean, _ = degrade(fine, self._seen, model.nside)
        beyond = (model.noise_cl - self._prior.white_cl) * share.size / (4 * np.pi)
        return mean * (share.size / fine.size) + beyond

    def _rehearsed(self, solver: Solver, model: CoarseModel, tolerance: float) -> Map:
        """Return the course of the coarse level, recorded on a sky drawn from its model."""

        def make() -> Map:
            course = Course()
            sky = drawn(
                *(model.nside, model.signal_cl, model.noise_cl, solver.noise_variance),
                threads=self._threads,
            )
            solver.mean(sky, tolerance=tolerance, course=course)
            return np.array(course.numbers)

        known = self._kept.of(
            self._observed, np.packbits(self._seen), model.signal_cl, model.noise_cl, tolerance
        )
        if solver.noise_variance is not None:
            known = known.of(solver.noise_variance)
        return known.needing("prior").array("course", make, dtype=np.float64, shape=(-1,))


def planned_regions(
    observed: ArrayLike,
    prior: Prior,
    *,
    polished: bool = True,
    threads: int = 0,
    progress: Progress | None = None,
) -> NDArray[np.int64] | None:
    """Plan the tiles of an earlier fill again, and return their `Mosaic.tile_regions`.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, True where observed; all other pixels were filled.
    prior
        Prior of the fill.
    polished
        Whether the fill was polished. Without polish, small holes had tiles, not blocks.
    threads
        Number of threads of the transforms; 0 for all cores.
    progress
        Receives the stages.

    Returns
    -------
    ``(npix,)``, RING. None if no hole has tiles, for example on maps solved without tiles, or if
    memory is too small to find out which holes have tiles.
    """
    observed = as_mask(observed, taker="mosaic.planned_regions")
    config = MosaicConfig() if polished else MosaicConfig(polish=0)
    if nside_of(observed, "observed") <= config.whole_nside:
        return None
    plan = Mosaic(observed, prior, _no_engine, config=config, threads=threads, progress=progress)
    if polished and not plan.polish:
        return None
    listener = listening(progress)
    listener.stage("tile borders")
    regions = plan.tile_regions()
    count = int(np.count_nonzero(np.bincount(regions[regions >= 0])))
    listener.done(f"{count} tiles" if count else "no tiles")
    return regions if count else None


def _no_engine(field: TileField, *, guard: int) -> TileMean:  # noqa: ARG001
    """Replace the engine when tiles are planned but not filled."""

    def mean(tiles: NDArray[np.float64], observed: Mask) -> NDArray[np.float32]:  # noqa: ARG001
        raise ValueError("these tiles are planned only; no engine fills them")

    return mean
