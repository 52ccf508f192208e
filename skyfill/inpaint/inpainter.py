"""Fill the holes of a map: the pipeline from map and mask to a whole sky.

A fill method gives, for a map with holes, a mean of what can be in them. Where that mean is linear
in the data and knows the prior, a sample of the posterior is z + W (d - M z) with z a sky drawn
from the prior (Hoffman & Ribak 1991): z is drawn once for the whole sphere, so tiles that overlap
agree, and its small scales come straight from the harmonics at the pixel centres.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.cosmovae.tilefill import TileFill
from skyfill.files.cache import Kept
from skyfill.gaussian import Certificate, ConvergenceWarning, Solver, freed
from skyfill.healpix.arrays import as_map, as_mask
from skyfill.healpix.checks import check_seed, check_whole, device_name
from skyfill.healpix.stokes import nside_of
from skyfill.holes import MOST_MISSING, find_holes, holes_to_fill, regions_with
from skyfill.inpaint.engines import published_fills, tile_engine
from skyfill.inpaint.methods import (
    DIPOLES,
    FILLS,
    METHODS,
    ConvergenceError,
    Diffuse,
    Exact,
    Fill,
    Polished,
    check_words,
    held_to_noise,
    noise_variance,
    refuse_flat,
)
from skyfill.mosaic import Mosaic, MosaicConfig
from skyfill.prior import (
    ARCMIN,
    WRONG_ORDER,
    Given,
    Plausibility,
    Prior,
    UnlikelyPriorError,
    as_given,
    judge,
    wrong_order,
)
from skyfill.prior.dipole import Dipole
from skyfill.prior.latent import latent_seed, latent_sky
from skyfill.progress import Progress, Silent

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

#: Share of the signal's variance below which noise hardly helps a fill to converge, and one with
#: which all that was tried did.
_NOISE_FREE, _SOME_NOISE = 2e-3, 0.01

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Inpainter:
    """Fill one map, once or many times, and others of its mask (`with_map`).

    Parameters
    ----------
    values
        ``(npix,)``, µK, RING; NaN, inf, UNSEEN or masked where missing. A Quantity is converted to
        µK. An array of float64 or float32 is not copied: do not change it afterwards.
    observed
        ``(npix,)``, RING, True or 1 where observed: bool, or 0 and 1. Missing pixels are added to
        the holes, with a warning.
    holes
        Which holes are filled: ``all``, or ``enclosed``, those in an observed patch, which leaves
        the sky around it as it is (`skyfill.masks.enclosed_holes`). If not given: all, and where
        more than 60% of the sky is missing this must be said.
    footprint
        ``(npix,)``, RING, True inside: only holes there are filled.
    method
        ``vae``, ``gaussian`` (the exact posterior, see `skyfill.gaussian`), ``diffuse``, or
        ``cosmovae``, the published network alone (`skyfill.tilefill`).
    prior
        What the map is made of: a whole `Prior`, or a `skyfill.prior.Given`, of which the rest is
        fitted to the observed sky; all of it if not given. ``diffuse`` uses it to polish only,
        ``cosmovae`` not at all.
    trust_prior
        Whether to fill, with a warning, where the observed sky contradicts the prior.
    noise_rms
        ``(npix,)``, µK, RING: standard deviation of the noise in each pixel, in place of the
        prior's white noise, which is not fitted then, but the mean of the map if it is not given;
        for ``gaussian``. Where the map is missing, in holes only, its median holds.
    fill
        ``data``: realizations hold noise in the holes like the noise around them; ``signal``: none.
    dipole
        What becomes of monopole and dipole, which are fitted to the observed sky, taken out and put
        back. ``marginalise``: what the fit leaves open is open in the holes, too. ``fit``: it is
        taken for the truth, which biases l < 20. ``diffuse`` has the fit and no more.
    polish
        Exact iterations after ``vae`` or ``diffuse``; if not given, none after ``diffuse``, and
        what `MosaicConfig.polish` says after ``vae``.
    tolerance
        Distance to the exact mean at which ``gaussian`` stops, in units of the rms of the map.
    seed
        Of the realizations: an integer, 0 or more.
    weights
        File of weights for ``vae``, see ``network``, or for ``cosmovae``; of the
        latter several, of which realizations take turns, and the mean is the first's.
    network
        Whether a network goes on where the fixed steps on a tile end. If not given: where
        ``weights`` are; the steps alone do without.
    accept
        Whether a fill that has not converged is given, with a `ConvergenceWarning`, not refused.
    refine
        Fixed steps on each tile and pass, at most.
    device, batch_size, threads
        Where and how tiles are filled, as many at once as free memory allows if not given; they
        change nothing but rounding.
    config
        How the sphere is divided into tiles.
    cache
        Folder in which what mask and prior alone decide is kept, and looked for.
    progress
        Told of every stage.

    Attributes
    ----------
    holes
        ``(npix,)``, RING, True where the map is filled.
    observed
        ``(npix,)``, RING, True where there are data; what is neither this nor a hole stays as it
        is.
    converged
        Whether the last fill is as near to what its method aims at as it should be; None before
        there is one, and of ``cosmovae``, which aims at nothing.
    unconverged
        How many fills have not converged, and were accepted.
    certificate
        How exact the last fill is, where one of the whole sphere was solved for; else None.
    prior
        The prior in use; None for a method that has none.
    plausibility
        How the observed sky compares with the prior; None for a method that has none.
    polish
        Exact iterations in use.
    card
        The model card of the weights in use; None where no network is used.

    Raises
    ------
    ValueError
        Map, mask, noise map and prior do not fit, nothing is observed or nothing is missing, or so
        much that it must be said what to fill; a number cannot be meant, or the method, device or
        weights are not available.
    UnlikelyPriorError
        A ValueError: the observed sky contradicts the prior, or is smooth in the other pixel order.
    """

    def __init__(
        self,
        values: ArrayLike,
        observed: ArrayLike,
        *,
        method: str = "vae",
        prior: Prior | Given | None = None,
        trust_prior: bool = False,
        noise_rms: ArrayLike | None = None,
        holes: str | None = None,
        footprint: ArrayLike | None = None,
        fill: str = "data",
        dipole: str = "marginalise",
        polish: int | None = None,
        accept: bool = False,
        tolerance: float = 3e-3,
        seed: int = 0,
        weights: str | Path | Sequence[str | Path] | None = None,
        network: bool | None = None,
        refine: int = 40,
        device: str = "auto",
        batch_size: int | None = None,
        threads: int = 0,
        config: MosaicConfig | None = None,
        cache: str | Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        check_words(method, fill, dipole, polish)
        values = as_map(values, taker="Inpainter")
        observed = as_mask(observed, taker="Inpainter")
        noise_rms = None if noise_rms is None else as_map(noise_rms, "noise_rms", taker="Inpainter")
        footprint = (
            None if footprint is None else as_mask(footprint, "footprint", taker="Inpainter")
        )
        _check_counts(threads=(threads, 0), polish=(polish, 0), refine=(refine, 0))
        _check_counts(batch_size=(batch_size, 1))
        _check_tolerance(tolerance)
        device = device_name(device)
        if method != "gaussian" and noise_rms is not None:
            raise ValueError(f"{method} knows nothing of a noise map; use method gaussian")
        self._anew = partial(
            Inpainter,
            observed=observed,
            method=method,
            prior=prior,
            trust_prior=trust_prior,
            noise_rms=noise_rms,
            holes=holes,
            footprint=footprint,
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
            progress=progress,
        )
        self._trust_prior = trust_prior
        self._progress = progress or Silent()
        self._seed = latent_seed(check_seed(seed))
        self._threads = threads
        self._data_like = fill == "data"
        self._mask = observed
        self._accept = accept
        self.certificate: Certificate | None = None
        self.converged: bool | None = None
        self.unconverged = 0
        seen = ~find_holes(values, observed)
        self.observed = seen = observed if np.array_equal(seen, observed) else seen  # one mask less
        self.holes = holes_to_fill(seen, holes=holes, footprint=footprint)
        share = float(self.holes.mean())
        if share > MOST_MISSING:
            warnings.warn(
                f"{share:.1%} of the sky is filled: most of what comes out is the prior, not data",
                stacklevel=2,
            )
        some = None if np.count_nonzero(self.holes) == np.count_nonzero(~seen) else self.holes
        #: Of what a method fills, that which is asked for; None where it is the same.
        self._chosen: Mask | None = None
        #: What no method reads, where that is more than the holes.
        self._unread = None if some is None else ~seen
        self.card: ModelCard | None = None
        self._dipole = Dipole(seen, threads=threads)
        self._marginal = dipole == "marginalise"
        self._take(values)
        self._stochastic = method != "diffuse"
        self._single = method == "diffuse" and not polish
        informed = method in ("vae", "gaussian") or bool(polish)
        self._noise_variance = noise_variance(noise_rms, seen)
        given = held_to_noise(as_given(prior), self._noise_variance, seen)
        complete = given.complete(nside_of(values, "values"))
        self._fits = complete is None
        self._kept = Kept(cache, fitted=self._fits)
        self.prior = complete if informed else None
        if self.prior is None and informed:
            refuse_flat(values, seen)
            self._progress.stage("prior")
            self.prior = given.fitted_to(self._data(), seen, threads=threads)
            self._progress.done(describe_prior(self.prior))
        self.plausibility = self._judge(seen)
        self._fill: Fill
        self._ensemble: list[TileFill] = []
        self.polish = polish or 0
        files = [weights] if isinstance(weights, str | Path) else list(weights or ())
        if method == "cosmovae":
            self._ensemble, self.card = published_fills(
                seen, some, files, device, batch_size, self._progress
            )
            self._fill = self._ensemble[0]
        elif method == "vae":
            learned = bool(files) if network is None else network
            engine, self.card = tile_engine(files, learned, refine, device, batch_size, threads)
            config = config or MosaicConfig()
            if polish is not None:
                config = replace(config, polish=polish)
            self._fill = mosaic = Mosaic(
                seen,
                self._known_prior(),
                engine,
                holes=some,
                marginal=self._marginal,
                config=config,
                threads=threads,
                progress=self._progress,
                kept=self._kept,
            )
            self.polish = mosaic.polish
            if mosaic.whole:
                self.card = None
        elif method == "gaussian":
            solver = self._solver(seen)
            self._fill = Exact(solver, tolerance=tolerance, progress=self._progress)
        else:
            self._fill = self._diffusion(seen, some, polish)
        if some is not None and isinstance(self._fill, Exact | Polished):
            self._chosen = some[~seen]

    def _diffusion(self, seen: Mask, some: Mask | None, polish: int | None) -> Fill:
        """Prepare ``diffuse``."""
        if polish:
            first = Diffuse(seen, progress=self._progress)
            solver = self._solver(seen)
            return Polished(first, solver, iterations=polish, progress=self._progress)
        if some is None:
            return Diffuse(seen, progress=self._progress)
        # Regions without a pixel to be filled have no part in the others' equations.
        within = regions_with(~seen, some)
        self._chosen = some[within]
        return Diffuse(~within, progress=self._progress)

    def with_map(self, values: ArrayLike, *, seed: int = 0) -> Inpainter:
        """Give the same for another map: its fills are, bit by bit, those of a new `Inpainter`.

        What mask and prior alone decide is shared, which takes no time again. Where the map misses
        other pixels, or the prior was fitted to the map before, there is nothing to share.

        Parameters
        ----------
        values
            ``(npix,)``, µK, RING; NaN where missing.
        seed
            Of its realizations.

        Raises
        ------
        ValueError
            As of a new one.
        """
        values = as_map(values, taker="Inpainter")
        fitted = self.prior is not None and self._fits
        alike = values.shape == self.holes.shape
        alike = alike and np.array_equal(self._mask & ~np.isnan(values), self.observed)
        if fitted or not alike:
            return self._anew(values, seed=seed)
        find_holes(values, self._mask)  # warns of what the map misses
        other = copy.copy(self)
        other.certificate = other.converged = None
        other.unconverged = 0
        other._seed = latent_seed(check_seed(seed))  # noqa: SLF001 - it is of this class
        other._take(values)  # noqa: SLF001
        other.plausibility = other._judge(self.observed)  # noqa: SLF001
        return other

    def _judge(self, seen: Mask) -> Plausibility | None:
        """Compare the observed sky with the prior; refuse, or warn, where they disagree."""
        if self.prior is None:
            if wrong_order(self._values, seen):
                if not self._trust_prior:
                    raise UnlikelyPriorError(
                        f"{WRONG_ORDER}. To fill all the same, pass `trust_prior=True`"
                    )
                warnings.warn(WRONG_ORDER, stacklevel=4)
            return None
        found = judge(self._data(), seen, self.prior, noise_variance=self._noise_variance)
        if found.verdict == "refused" and not self._trust_prior:
            raise UnlikelyPriorError(
                f"the prior does not describe the observed sky: {found}. To fill all the same,"
                " pass `trust_prior=True`"
            )
        if found.verdict in ("doubtful", "refused"):
            warnings.warn(f"the prior may not describe the observed sky: {found}", stacklevel=4)
        return found

    def _take(self, values: Map) -> None:
        """Keep a map, as it is, and its monopole and dipole apart."""
        self._values = values
        self._low = self._dipole.alm(values)

    def _restored(self, fill: Map) -> Map:
        """Put monopole and dipole back into a fill, which is changed."""
        for part, low in self._dipole.parts(self._low):
            first = int(np.count_nonzero(self.holes[: part.start]))
            chosen = low[self.holes[part]]
            fill[first : first + chosen.size] += chosen
        return fill

    def _data(self, latent: Map | None = None) -> Map:
        """Give the map without monopole and dipole, less a latent sky (changed); 0 if missing."""
        # Neighbours' means of numbers that the file has as float32 need no better ones.
        kind = self._values.dtype if self._single else np.float64
        out = np.zeros(self._values.size, kind) if latent is None else latent
        for part, low in self._dipole.parts(self._low):
            np.subtract(low, self._values[part], out=low)
            out[part] += low
            np.negative(out[part], out=out[part])
        if self._unread is None:
            out[self.holes] = 0.0
        else:
            out[self._unread] = 0.0
        return out

    def _filled(self, data: Map) -> Map:
        """Fill the holes of a map, which may be changed, and note whether that has converged."""
        fill = self._fill.mean(data, overwrite=True)
        self.certificate = self._fill.certificate
        trouble = self._fill.trouble
        if trouble is None and not np.all(np.isfinite(fill)):
            trouble = "its numbers have overflowed"
        self.converged = trouble is None
        self.unconverged += not self.converged
        if trouble is not None:
            message = f"the fill has not converged: {trouble}{self._cause()}"
            if not self._accept:
                raise ConvergenceError(f"{message}; or take it as it is: `accept=True`")
            warnings.warn(message, ConvergenceWarning, stacklevel=3)
        return fill if self._chosen is None else fill[self._chosen]

    def _cause(self) -> str:
        """Say why a fill may not converge and what mends it, as far as prior and method tell."""
        words = "; pass a larger `tolerance`" if isinstance(self._fill, Exact) else ""
        if self.prior is None:
            return words
        cl, area = self.prior.signal_cl(), 4 * math.pi / self.holes.size
        signal = float(np.sum((2 * np.arange(cl.size) + 1) * cl)) / (4 * math.pi)
        noise = self.prior.white_cl / area
        if self._noise_variance is not None:
            noise = float(np.median(self._noise_variance))
        if noise > _NOISE_FREE * signal:
            return words
        some = math.sqrt(_SOME_NOISE * signal * area) / ARCMIN
        return (
            f"; it is taken to be nearly free of noise, so that every pixel counts: give the noise"
            f" that it has (`noise_uk_arcmin={some:.2g}` is {_SOME_NOISE:.0%} of its variance)"
            f"{words.replace('; pass', ', or')}"
        )

    def _solver(self, seen: Mask) -> Solver:
        prior = self._known_prior()
        self._progress.stage("prepare")
        signal = prior.signal_cl()
        if self._marginal:
            signal = freed(signal)
        variance = self._noise_variance
        if variance is not None:
            variance = variance + prior.aliased_cl * seen.size / (4 * math.pi)
        solver = Solver(
            seen,
            signal_cl=signal,
            noise_cl=prior.white_cl,
            noise_variance=variance,
            threads=self._threads,
            kept=self._kept,
        )
        self._progress.done(str(solver))
        return solver

    @property
    def stochastic(self) -> bool:
        """Whether `realization` gives posterior samples, not the same fill again."""
        return self._stochastic

    def mean(self) -> Map:
        """Give the posterior mean (or the one fill of a method that has no posterior).

        Returns
        -------
        ``(nhole,)``, µK, in RING order of `holes`.

        Raises
        ------
        ConvergenceError
            A ValueError: the fill has not converged, and ``accept`` is False.
        """
        return self._restored(self._filled(self._data()))

    def realization(self, index: int = 0) -> Map:
        """Draw a sample of the posterior: full power in the holes.

        Parameters
        ----------
        index
            Which sample; with the seed it says all.

        Returns
        -------
        ``(nhole,)``, µK, in RING order of `holes`.

        Raises
        ------
        ConvergenceError
            A ValueError: the fill has not converged, and ``accept`` is False.
        ValueError
            The method has no posterior.
        """
        index = check_seed(index, what="index")
        if not self._stochastic:
            raise ValueError(
                "diffuse has no realizations; use `method='vae'`, or its one fill (`mean`)"
            )
        if self._ensemble:
            member = self._ensemble[index % len(self._ensemble)]
            self.converged = None
            return self._restored(member.sample(self._data(), (self._seed, index)))
        self._progress.stage("latent sky")
        sky, in_holes = latent_sky(
            self._known_prior(),
            self.holes,
            seed=(self._seed, index),
            noise_variance=self._noise_variance,
            data_like=self._data_like,
            dipole=None if self._marginal else self._dipole,
            threads=self._threads,
        )
        self._progress.done(f"seed {self._seed}, index {index}")
        in_holes += self._filled(self._data(sky))
        return self._restored(in_holes)

    def std(self) -> Map:
        """Give the standard deviation of realizations where it is known exactly.

        In small holes, solved as blocks, it follows from the prior, as far as holes do not see each
        other; what the fit of the dipole leaves open is not in it.

        Returns
        -------
        ``(nhole,)``, µK, in RING order of `holes`; NaN where only realizations tell.
        """
        if not isinstance(self._fill, Exact):
            return np.full(int(self.holes.sum()), np.nan)
        variance = self._fill.solver.variance()
        if self._chosen is not None:
            variance = variance[self._chosen]
        if not self._data_like:
            if self._noise_variance is None:
                noise = self._known_prior().noise_cl * self.holes.size / (4 * math.pi)
                variance = variance - noise
            else:
                variance = variance - self._noise_variance[self.holes]
        return np.sqrt(np.maximum(variance, 0.0))

    def tile_regions(self) -> NDArray[np.int64] | None:
        """Divide holes among the tiles that fill them, each pixel to that with most weight.

        Returns
        -------
        ``(npix,)``, RING: number of the tile, -1 where nothing is filled from tiles; None where
        that is everywhere, as for another method than ``vae``, and up to Nside 128.
        """
        if not isinstance(self._fill, Mosaic) or self._fill.whole:
            return None
        regions = self._fill.tile_regions()
        return regions if np.any(regions >= 0) else None

    def _known_prior(self) -> Prior:
        if self.prior is None:
            raise ValueError("the method has no prior")
        return self.prior


def _check_counts(**counts: tuple[int | None, int]) -> None:
    """Refuse what is no whole number, or less than its least; None is not looked at."""
    for name, (count, least) in counts.items():
        if count is not None:
            check_whole(count, name, least=least)


def _check_tolerance(tolerance: object) -> None:
    """Refuse a distance that cannot be reached, or that is no number."""
    real = isinstance(tolerance, float | int | np.number) and not isinstance(tolerance, bool)
    if not (real and 0 < float(tolerance) <= 1):  # type: ignore[arg-type]
        raise ValueError(f"tolerance must be a number above 0 and at most 1, got {tolerance!r}")


def describe_prior(prior: Prior) -> str:
    """Say in one line what a prior is, and where each of its numbers is from."""
    beam, effective = (math.degrees(x) * 60 for x in (prior.fwhm, prior.effective_fwhm))
    within = f", {effective:.2f} with the pixel window" if prior.pixel_window else ""
    return (
        f"{prior.theory} ({prior.origin('cl')}), beam {beam:.2f} arcmin ({prior.origin('fwhm')}"
        f"{within}), noise {prior.noise_uk_arcmin:.1f} uK.arcmin"
        f" ({prior.origin('noise_uk_arcmin')}), power x {prior.calibration:.3f}"
        f" ({prior.origin('calibration')}), pixel window {'yes' if prior.pixel_window else 'no'}"
        f" ({prior.origin('pixel_window')})"
    )
