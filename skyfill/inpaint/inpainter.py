"""Fill the holes of a map: the pipeline from map and mask to a whole sky.

A fill method computes a mean map W d in the holes. If W is linear and is the posterior mean of the
prior, then z + W (d - M z) is a sample of the posterior, with z a sky drawn from the prior (Hoffman
& Ribak 1991). z is drawn once for the whole sphere, so overlapping tiles agree. Its small scales
are synthesised from the harmonics at the pixel centres.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.brief import card
from skyfill.files.cache import Kept
from skyfill.gaussian import Certificate, ConvergenceWarning
from skyfill.gaussian.vectors import Vector, finite
from skyfill.healpix.arrays import as_map, as_mask
from skyfill.healpix.checks import check_seed
from skyfill.healpix.picture import thumbnail
from skyfill.healpix.stokes import nside_of
from skyfill.holes import MOST_MISSING, find_holes, holes_to_fill
from skyfill.holes.masks import holes_of
from skyfill.inpaint.agreement import describe_prior, judged
from skyfill.inpaint.choice import Choice, choose_method
from skyfill.inpaint.fills import (
    ConvergenceError,
    Fill,
    Setup,
    estimated_noise,
    given_noise,
    held_to_noise,
    noise_variance,
    refuse_flat,
    slow,
    unconverged,
)
from skyfill.inpaint.methods import Ensemble, Exact, Surrounded, method_of
from skyfill.inpaint.observed import ObservedMap
from skyfill.inpaint.options import AUTO, DIPOLES, FILLS, METHODS, FillOptions
from skyfill.mosaic import Mosaic, MosaicConfig
from skyfill.prior import Given, NoiseEstimate, Prior, as_given
from skyfill.prior.dipole import Dipole
from skyfill.prior.latent import latent_seed, latent_sky
from skyfill.progress import Progress, listening

if TYPE_CHECKING:
    from skyfill.vae import ModelCard

__all__ = [
    "DIPOLES",
    "FILLS",
    "METHODS",
    "ConvergenceError",
    "ConvergenceWarning",
    "Fill",
    "Inpainter",
    "describe_prior",
]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Inpainter:
    """Fill one map, once or many times, and other maps with the same mask (`with_map`).

    Parameters
    ----------
    values
        ``(npix,)``, µK, RING; NaN, inf, UNSEEN or masked where missing. A Quantity is converted to
        µK. An array of float64 or float32 is not copied: do not change it afterwards.
    observed
        ``(npix,)``, RING, True or 1 where observed: bool, or 0 and 1. Missing pixels are added to
        the holes, with a warning.
    holes
        Which holes are filled: ``all``, or ``enclosed``, only holes inside an observed patch, so
        that the sky around the patch is not filled (`skyfill.masks.enclosed_holes`). If not given:
        all. Required if more than 60% of the sky is missing.
    footprint
        ``(npix,)``, RING, True inside: only holes there are filled.
    method
        ``gaussian`` (the exact posterior, see `skyfill.gaussian`), ``vae`` (near it, quicker on
        large maps), ``diffuse``, ``cosmovae``, the published network without further steps
        (`skyfill.tilefill`), or one of `skyfill.baselines`. ``auto`` chooses between the first two
        (`skyfill.inpaint.choose_method`); ``choice`` says which and why.
    prior
        Prior of the map: a whole `Prior`, or a `skyfill.prior.Given`, whose missing parts are
        fitted to the observed sky. If not given, all parts are fitted. ``diffuse`` uses the prior
        only for polishing, ``cosmovae`` never.
    trust_prior
        Whether to fill, with a warning, if the observed sky contradicts the prior.
    noise_rms
        ``(npix,)``, µK, RING: standard deviation of the noise in each pixel. It replaces the
        prior's white noise, which is then not fitted: if not given, it is the mean of this map.
        Missing values are allowed in holes and replaced by the median. ``auto``: estimated from
        the observed sky (`skyfill.prior.estimate_noise`), and used only if it varies by more than
        chance; ``noise`` says what was found. Or a `skyfill.prior.NoiseEstimate` made before.
    fill
        ``data``: realizations have noise in the holes like the noise around them; ``signal``:
        realizations have no noise in the holes.
    dipole
        Treatment of monopole and dipole. ``marginalise``: they are fitted to the observed sky,
        subtracted, and added back to the fill; the fit's uncertainty is carried into the holes.
        ``fit``: the same, but the fit is taken as exact, which biases l < 20 and costs 15 to 76% in
        squared error (`docs/how-it-works.md`). ``prior``: nothing is
        fitted or subtracted; monopole and dipole have the C_0 and C_1 of the prior, for simulations
        and for fields whose C_0 and C_1 are known. A sky whose monopole or dipole contradicts them
        is refused. ``diffuse`` uses ``fit``, unless ``prior`` is given with ``polish``.
    polish
        Number of exact iterations after ``vae`` or ``diffuse``. Default: none after ``diffuse``,
        `MosaicConfig.polish` after ``vae``.
    tolerance
        Distance to the exact mean at which ``gaussian`` stops, in units of the rms of the map. From
        Nside 512 on, few small holes are filled from the pixels around them, which takes less time;
        their squared error may exceed the exact one by 1%. A tolerance below the default solves
        them, too, on the whole sphere.
    seed
        Seed of the realizations: an integer, 0 or more.
    weights
        File of weights for ``vae`` (see ``network``) or ``cosmovae``. ``cosmovae`` accepts several
        files: realizations use them in turn, and the mean uses the first.
    network
        Whether ``vae`` applies a network after the fixed steps on a tile. Default: only if
        ``weights`` is given.
    accept
        Whether a fill that has not converged is returned, with a `ConvergenceWarning`, instead of
        refused.
    refine
        Largest number of fixed steps on each tile and pass.
    device, batch_size, threads
        Device of the tiles and of the exact solver (`harmonics.device_for`), number of tiles per
        batch (default: as many as free memory allows) and number of threads. They change only the
        rounding.
    config
        How the sphere is divided into tiles.
    cache
        Folder of a cache for arrays that depend only on mask and prior.
    progress
        Receives the stages.

    Attributes
    ----------
    holes
        ``(npix,)``, RING, True where the map is filled.
    observed
        ``(npix,)``, RING, True where there are data. Pixels outside both masks are not filled.
    options
        The keywords above, as a `FillOptions`, with the method that ``auto`` became.
    choice
        The method and, after ``auto``, the reason for it.
    converged
        Whether the last fill has converged. None before the first fill, and for realizations of
        ``cosmovae``, which have no convergence criterion.
    unconverged
        Number of accepted fills that have not converged.
    certificate
        Accuracy of the last fill, for methods that solve for the whole sphere; else None.
    prior
        The prior in use; None for a method without one.
    plausibility
        How the observed sky compares with the prior; None for a method without one.
    noise
        The estimate of the noise if ``noise_rms`` is ``auto`` or an estimate; else None.
    polish
        Number of exact iterations in use.
    card
        The model card of the weights in use; None if no network is used.

    Raises
    ------
    ValueError
        Map, mask, noise map and prior do not fit together; no pixel is observed, or none is
        missing; more than 60% of the sky is missing and ``holes`` is not given; a number is out of
        range; or the method, device or weights are not available.
    UnlikelyPriorError
        A ValueError: the observed sky contradicts the prior, or it is smooth in the other pixel
        order.
    """

    def __init__(
        self,
        values: ArrayLike,
        observed: ArrayLike,
        *,
        method: str = FillOptions.method,
        prior: Prior | Given | None = None,
        trust_prior: bool = FillOptions.trust_prior,
        noise_rms: ArrayLike | NoiseEstimate | None = None,
        holes: str | None = None,
        footprint: ArrayLike | None = None,
        fill: str = FillOptions.fill,
        dipole: str = FillOptions.dipole,
        polish: int | None = None,
        accept: bool = FillOptions.accept,
        tolerance: float = FillOptions.tolerance,
        seed: int = 0,
        weights: str | Path | Sequence[str | Path] | None = None,
        network: bool | None = None,
        refine: int = FillOptions.refine,
        device: str = FillOptions.device,
        batch_size: int | None = None,
        threads: int = FillOptions.threads,
        config: MosaicConfig | None = None,
        cache: str | Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        options = FillOptions(
            method=method,
            trust_prior=trust_prior,
            holes=holes,
            fill=fill,
            dipole=dipole,
            polish=polish,
            accept=accept,
            tolerance=tolerance,
            weights=weights,
            network=network,
            refine=refine,
            device=device,
            batch_size=batch_size,
            threads=threads,
            config=config,
            cache=cache,
        )
        values = as_map(values, taker="Inpainter")
        observed = as_mask(observed, taker="Inpainter")
        known_rms, self.noise, self._estimates = given_noise(noise_rms, taker="Inpainter")
        footprint = (
            None if footprint is None else as_mask(footprint, "footprint", taker="Inpainter")
        )
        nside = nside_of(values, "values")
        self.choice = _choice(options, values, observed, mapped=noise_rms is not None)
        self.options = options = self.choice.applied(options)
        self._method = method_of(options, nside)
        if noise_rms is not None and self._method.unmapped is not None:
            raise ValueError(self._method.unmapped)
        self._anew = partial(
            Inpainter.of,
            observed=observed,
            options=options,
            prior=prior,
            noise_rms=noise_rms,
            footprint=footprint,
            progress=progress,
        )
        self._progress = listening(progress)
        self._seed = latent_seed(check_seed(seed))
        self._mask = observed
        self.certificate: Certificate | None = None
        self.converged: bool | None = None
        self.unconverged = 0
        seen = ~find_holes(values, observed)
        self.observed = seen = observed if np.array_equal(seen, observed) else seen  # one mask less
        self.holes = holes_to_fill(seen, holes=holes, footprint=footprint)
        share = float(self.holes.mean())
        if share > MOST_MISSING:
            warnings.warn(
                f"{share:.1%} of the sky is filled: most of the result is prior, not data",
                stacklevel=2,
            )
        some = None if np.count_nonzero(self.holes) == np.count_nonzero(~seen) else self.holes
        unread = None if some is None else ~seen
        self._sky = ObservedMap(
            values,
            Dipole(seen, threads=threads),
            holes=self.holes,
            unread=unread,
            removes_dipole=options.removes_dipole,
            single=self._method.single,
        )
        if self._estimates:
            self.noise = self._estimate(as_given(prior))
            known_rms = self.noise.rms if self.noise.used else None
        self._noise_variance = noise_variance(known_rms, seen)
        if known_rms is not None:
            self._method = method_of(options, nside, mapped=True)
            self._sky.single = self._method.single
        self._fits, self.prior = self._prior_of(prior)
        self.plausibility = judged(self._sky, seen, self.prior, self._noise_variance, options)
        setup = Setup(
            observed=seen,
            holes=some,
            prior=self.prior,
            noise_variance=self._noise_variance,
            options=options,
            kept=Kept(options.cache, passing=["prior"] if self._fits else []),
            progress=self._progress,
        )
        self._fill: Fill
        self.card: ModelCard | None
        self._fill, self.card = self._method.prepare(setup)
        self.polish = self._fill.polish
        if isinstance(self._fill, Surrounded):
            self._sky.points = self._fill.solver.points
        elif isinstance(self._fill, Exact | Mosaic):
            self._sky.sphere = self._fill.sphere

    def __repr__(self) -> str:
        nside = nside_of(self.holes, "holes")
        return (
            f"Inpainter({self.options.method}, Nside {nside}, {self.holes.mean():.2%} of the sky"
            " to fill)"
        )

    def _repr_html_(self) -> str:
        """Show the map with its holes, and the prior in use, in a notebook."""
        rows = {
            "method": self.choice,
            "Nside": nside_of(self.holes, "holes"),
            "observed": f"{self.observed.mean():.2%} of the sky",
            "to fill": f"{self.holes.mean():.2%}, {int(self.holes.sum())} pixels",
            "prior": "none" if self.prior is None else describe_prior(self.prior),
        }
        if self.plausibility is not None:
            rows["check"] = f"{self.plausibility.verdict}: {self.plausibility}"
        if self.certificate is not None:
            rows["last fill"] = self.certificate
        return card("Inpainter", rows, lambda: thumbnail(self._sky.values, self.observed))

    @classmethod
    def of(
        cls,
        values: ArrayLike,
        observed: ArrayLike,
        options: FillOptions,
        *,
        prior: Prior | Given | None = None,
        noise_rms: ArrayLike | NoiseEstimate | None = None,
        footprint: ArrayLike | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Inpainter:
        """Build an `Inpainter` from a record of options.

        Parameters
        ----------
        values, observed, prior, noise_rms, footprint, seed, progress
            As for `Inpainter`.
        options
            How the map is filled.

        Raises
        ------
        ValueError
            As for `Inpainter`, or ``options`` is not a `FillOptions`.
        """
        if not isinstance(options, FillOptions):
            raise ValueError(  # noqa: TRY004 (as for all arguments)
                f"options must be a skyfill.inpaint.FillOptions, got {type(options).__name__};"
                " pass keywords to Inpainter itself"
            )
        return cls(
            values,
            observed,
            prior=prior,
            noise_rms=noise_rms,
            footprint=footprint,
            seed=seed,
            progress=progress,
            **vars(options),
        )

    def _estimate(self, given: Given) -> NoiseEstimate:
        """Estimate the noise from the observed sky, with a prior fitted for that."""
        if given.complete(nside_of(self._sky.values, "values")) is None:
            refuse_flat(self._sky.values, self.observed)
        self._progress.stage("noise map")
        found = estimated_noise(
            given, self._sky.data(), self.observed, threads=self.options.threads
        )
        self._progress.done(str(found))
        return found

    def _prior_of(self, prior: Prior | Given | None) -> tuple[bool, Prior | None]:
        """Return whether the prior is fitted to the map, and the prior; None if none is needed."""
        seen = self.observed
        given = held_to_noise(as_given(prior), self._noise_variance, seen)
        complete = given.complete(nside_of(seen, "observed"))
        if not self._method.informed:
            return complete is None, None
        if complete is not None:
            return False, complete
        refuse_flat(self._sky.values, seen)
        self._progress.stage("prior")
        fitted = given.fitted_to(self._sky.bare(), seen, threads=self.options.threads)
        self._progress.done(describe_prior(fitted))
        return True, fitted

    def with_map(self, values: ArrayLike, *, seed: int = 0) -> Inpainter:
        """Return an `Inpainter` for another map; its fills are bit-identical to those of a new one.

        Arrays that depend only on mask and prior are shared, which saves time. They are computed
        again if the new map misses other pixels, or if the prior was fitted to the previous map.

        Parameters
        ----------
        values
            ``(npix,)``, µK, RING; NaN where missing.
        seed
            Seed of its realizations.

        Raises
        ------
        ValueError
            As for a new `Inpainter`.
        """
        values = as_map(values, taker="Inpainter")
        fitted = self.prior is not None and self._fits
        alike = values.shape == self.holes.shape
        alike = alike and np.array_equal(self._mask & ~np.isnan(values), self.observed)
        if fitted or self._estimates or not alike:
            return self._anew(values, seed=seed)
        holes_of(values, self._mask)  # warns of pixels missing in the map
        other = copy.copy(self)
        other.certificate = other.converged = None
        other.unconverged = 0
        other._seed = latent_seed(check_seed(seed))  # noqa: SLF001 - it is of this class
        other._sky = self._sky.with_values(values)  # noqa: SLF001
        other.plausibility = judged(
            other._sky,  # noqa: SLF001
            self.observed,
            self.prior,
            self._noise_variance,
            self.options,
        )
        return other

    def _filled(self, data: Vector) -> Vector:
        """Fill the holes of a map, which may be changed, and record whether the fill converged."""
        fill = self._fill.mean(data, overwrite=True)
        self.certificate = self._fill.certificate
        trouble = self._fill.trouble
        if trouble is None and not finite(fill):
            trouble = "its numbers have overflowed"
        self.converged = trouble is None
        self.unconverged += not self.converged
        if trouble is not None:
            solved = isinstance(self._fill, Exact)
            cause = slow(self.prior, self._noise_variance, self.holes.size, solved=solved)
            unconverged(f"{trouble}{cause}", accept=self.options.accept)
        return fill

    @property
    def stochastic(self) -> bool:
        """Whether `realization` draws posterior samples."""
        return self._method.stochastic

    def mean(self) -> Map:
        """Compute the posterior mean (or the single fill of a method without a posterior).

        Returns
        -------
        ``(nhole,)``, µK, in RING order of `holes`.

        Raises
        ------
        ConvergenceError
            A ValueError: the fill has not converged, and ``accept`` is False.
        """
        return self._sky.restored(self._filled(self._sky.data()))

    def realization(self, index: int = 0) -> Map:
        """Draw a sample of the posterior, with full power in the holes.

        Parameters
        ----------
        index
            Index of the sample; seed and index determine it.

        Returns
        -------
        ``(nhole,)``, µK, in RING order of `holes`.

        Raises
        ------
        ConvergenceError
            A ValueError: the fill has not converged, and ``accept`` is False.
        ValueError
            The method draws no samples (``stochastic``).
        """
        index = check_seed(index, what="index")
        if not self.stochastic:
            raise ValueError(
                f"{self.options.method} has no realizations; use `method='vae'`, or its `mean`"
            )
        if isinstance(self._fill, Ensemble):
            self.converged = None
            return self._sky.restored(self._fill.sample(self._sky.data(), self._seed, index))
        if isinstance(self._fill, Surrounded):
            drawn = self._filled(self._sky.data())
            drawn += self._fill.scatter(self._seed, index)
            return self._sky.restored(drawn)
        self._progress.stage("latent sky")
        sky, in_holes = latent_sky(
            self._known_prior(),
            self.holes,
            seed=(self._seed, index),
            noise_variance=self._noise_variance,
            data_like=self.options.fill == "data",
            dipole=self._sky.dipole if self.options.dipole == "fit" else None,
            threads=self.options.threads,
            sphere=self._sky.sphere,
        )
        self._progress.done(f"seed {self._seed}, index {index}")
        in_holes += self._filled(self._sky.data(sky))
        return self._sky.restored(in_holes)

    def std(self) -> Map:
        """Return the standard deviation of realizations where it is known exactly.

        In small holes, which are solved as blocks, it follows from the prior, if the correlation
        between holes is neglected. It does not include the uncertainty of the dipole fit.

        Returns
        -------
        ``(nhole,)``, µK, in RING order of `holes`; NaN where it must be estimated from
        realizations.
        """
        if not isinstance(self._fill, Exact | Surrounded):
            return np.full(int(self.holes.sum()), np.nan)
        variance = self._fill.variance()
        if self.options.fill == "signal":
            if self._noise_variance is None:
                noise = self._known_prior().noise_cl * self.holes.size / (4 * math.pi)
                variance = variance - noise
            else:
                variance = variance - self._noise_variance[self.holes]
        return np.sqrt(np.maximum(variance, 0.0))

    @property
    def outside(self) -> Mask | None:
        """``(npix,)``, RING, True where neither observed nor filled; None without such pixels."""
        outside: Mask = ~(self.observed | self.holes)
        return outside if outside.any() else None

    def whole(self, fill: Map) -> Map:
        """Return the map with a fill in its holes.

        Parameters
        ----------
        fill
            ``(nhole,)``, µK, in RING order of `holes`, from `mean` or `realization`.

        Returns
        -------
        ``(npix,)``, µK, RING; NaN where neither observed nor filled.
        """
        whole = self._sky.values.astype(np.float64)
        whole[~self.observed] = np.nan
        whole[self.holes] = fill
        return whole

    def tile_regions(self) -> NDArray[np.int64] | None:
        """Map each hole pixel to the tile with the largest weight in it.

        Returns
        -------
        ``(npix,)``, RING: number of the tile, -1 where no tile is used. None if no tile is used at
        all: for methods other than ``vae``, and up to Nside 128.
        """
        if not isinstance(self._fill, Mosaic) or self._fill.whole:
            return None
        regions = self._fill.tile_regions()
        return regions if np.any(regions >= 0) else None

    def _known_prior(self) -> Prior:
        if self.prior is None:
            raise ValueError("the method has no prior")
        return self.prior


def _choice(options: FillOptions, values: Map, observed: Mask, *, mapped: bool) -> Choice:
    """Choose the method if the options leave it open."""
    if options.method != AUTO or values.shape != observed.shape:  # that is refused below
        return Choice(options.method, None)
    return choose_method(options, observed & ~np.isnan(values), mapped=mapped)
