"""Fill Q and U, or T, Q and U, jointly with ``gaussian`` or ``vae``, or apart with ``diffuse``.

A realization is z + W (d - M z), as in `skyfill.inpaint.inpainter`, with z a sky of T, Q and U that
is drawn jointly from the prior, and W the joint posterior mean.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache as once
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill import harmonics
from skyfill.diffuse import diffuse_polarization
from skyfill.files.cache import Kept
from skyfill.gaussian.jointsolver import JointSolver
from skyfill.gaussian.memory import check_joint_memory
from skyfill.gaussian.nested import NestedSolver
from skyfill.gaussian.solution import Certificate
from skyfill.harmonics import DeviceSphere
from skyfill.harmonics.spheres import Vector
from skyfill.healpix.arrays import as_mask
from skyfill.healpix.checks import check_seed, check_whole
from skyfill.healpix.stokes import nside_of
from skyfill.holes import UnusableSkyError
from skyfill.inpaint.agreement import judged_pol, judged_quality, judged_t
from skyfill.inpaint.choice import Choice, choose_stokes
from skyfill.inpaint.fills import held_to_noise, refuse_flat, unconverged
from skyfill.inpaint.inpainter import Inpainter
from skyfill.inpaint.jointmean import joint_solver
from skyfill.inpaint.options import AUTO, FillOptions, check_tolerance
from skyfill.inpaint.polarnoise import aliased, latent_polarization, noise_of_fields
from skyfill.inpaint.polarobserved import (
    components_of,
    known_pixels,
    observed_pixels,
)
from skyfill.inpaint.turns import Turns, engine_of, refuse_of_turns
from skyfill.prior import (
    ARCMIN,
    Given,
    Plausibility,
    PolarizedPrior,
    Prior,
    Quality,
    SkySpectra,
    as_given,
    fit_polarization,
)
from skyfill.prior.dipole import Dipole
from skyfill.prior.latent import latent_seed, latent_sky
from skyfill.progress import Progress, listening

if TYPE_CHECKING:
    from skyfill.vae import ModelCard

__all__ = ["POLARIZED_METHODS", "PolarizedInpainter"]

POLARIZED_METHODS = ("gaussian", "diffuse", "vae")
"""Methods that fill Q and U."""

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]


def _check(method: str, fill: str, dipole: str, way: str) -> None:
    """Refuse options that do not exist with Q and U."""
    if method not in (*POLARIZED_METHODS, AUTO):
        known = ", ".join(POLARIZED_METHODS[:-1]) + f" or {POLARIZED_METHODS[-1]}"
        raise ValueError(f"`method` must be {known} with Q and U, got {method!r}")
    if fill not in ("data", "signal"):
        raise ValueError(f"fill must be data or signal, got {fill!r}")
    if dipole not in ("marginalise", "prior"):
        raise ValueError(f"dipole must be marginalise or prior with Q and U, got {dipole!r}")
    if way not in ("joint", "alternate"):
        raise ValueError(f"way must be joint or alternate, got {way!r}")


def _choice(
    asked: FillOptions, seen: Sequence[Mask], engine: FillOptions | None, *, mapped: bool
) -> Choice:
    """Choose the method if it is left open."""
    if asked.method == AUTO and engine is not None:
        return Choice("vae", "engine is an option of vae")
    fields = dict(zip("TP"[-len(seen) :], seen, strict=True))
    return choose_stokes(asked, fields, mapped=mapped)


class PolarizedInpainter:
    """Fill one map of T, Q and U, or of Q and U, once or many times, and others (`with_map`).

    Parameters
    ----------
    values
        ``(3, npix)``, T, Q and U, or ``(2, npix)``, Q and U; µK, RING, NaN where missing, U with
        the sign of HEALPix. A pixel without Q or without U is missing in both. A list of maps may
        hold them in float32 for ``diffuse``.
    observed
        ``(npix,)``, RING, True where observed.
    observed_pol
        ``(npix,)``, RING: the mask of Q and U; ``observed`` if None.
    method
        ``gaussian``: the exact joint posterior; ``vae``: the same by turns of T, filled by its
        mosaic of tiles, network and polish, and of P, which is solved exactly and has no network,
        for T with Q and U, with white noise; ``diffuse``: means of neighbours, of Q and U with
        parallel transport, and of T as `skyfill.Inpainter` fills it. ``diffuse`` has no prior and
        no realizations. ``auto`` chooses between the first two (`skyfill.inpaint.choose_stokes`);
        ``choice`` says which and why.
    prior
        A `PolarizedPrior`; or the prior of T, whole or partly given, to which EE, BB and TE of
        ΛCDM, or of ``spectra``, and the noise of P are added. Missing numbers are fitted to T;
        without T the beam is needed.
    spectra
        TT, EE, BB and TE of the sky; of ΛCDM, lensed and without tensor modes, if None.
    noise_pol_uk_arcmin
        White noise of Q, and of U, µK·arcmin. If None, it is the mean of ``noise_variance``;
        without that it is fitted to the observed Q and U with their calibration; where too little
        is observed, or nothing is to be fitted, it is √2 times that of T. ``diffuse`` refuses it.
    noise_variance
        Noise of each pixel, µK², RING, in place of the white noise of the prior: ``(4, npix)``, II,
        QQ, QU and UU; ``(3, npix)``, QQ, QU and UU; ``(npix,)``, II alone, or, for a map of Q and
        U, that of both. Missing numbers are allowed in holes and replaced by the median.
        ``diffuse`` refuses it.
    way
        ``joint``: T and P are solved together; ``alternate``: in turn, each given the other, which
        has the same result (`skyfill.gaussian.jointsolver.JointSolver`). ``vae`` alternates.
    trust_prior
        Whether to fill, with a warning, if the observed sky contradicts the prior.
    fill
        ``data``: realizations have noise in the holes; ``signal``: they have none.
    dipole
        ``marginalise``: monopole and dipole of T are fitted, subtracted, and added back to the
        fill, with their uncertainty; ``prior``: they have the C_0 and C_1 of the prior.
    tolerance
        Distance to the exact mean at which the solve stops, for T and for P in units of the rms of
        its own map.
    accept
        Whether a fill that has not converged is returned, with a warning.
    seed
        Seed of the realizations. T is the same sky as without polarization.
    threads, device
        Number of threads, 0 for all there are; where the exact solver, and for ``vae`` T's engine,
        work (`harmonics.device_for`).
    cache
        Folder of a cache for arrays that depend only on masks and prior.
    engine
        Options of T's engine for ``vae``: weights, device and others, `skyfill.inpaint.FillOptions`
        of that method; those by which it fills T alone if None. ``fill``, ``dipole``, ``threads``,
        ``cache`` and, unless it is ``auto``, ``device`` are those of this inpainter.
    progress
        Receives the stages.

    Attributes
    ----------
    choice
        The method and, after ``auto``, the reason for it.
    observed
        For each component ``(npix,)``, RING, True where there are data.
    holes
        For each component ``(npix,)``, RING, True where it is filled.
    prior
        The prior in use; None for ``diffuse``.
    plausibility
        How the observed T compares with the prior; None without T or without a prior.
    power_pol
        Power of the observed Q and U over that of the prior; None for ``diffuse``.
    quality_pol
        How well the prior describes EE and BB of the observed sky, by name; empty for ``diffuse``.
    certificates
        Accuracy of the last fill, of ``T`` and of ``P``; empty for ``diffuse``.
    converged
        Whether the last fill has converged; None before the first.
    unconverged
        Number of accepted fills that have not converged.
    way
        ``joint`` or ``alternate``: how T and P are solved.
    card
        Model card of the network of T; None if no network is used.

    Raises
    ------
    ValueError
        Map, masks and prior do not fit together, or a field has no observed pixel.
    UnlikelyPriorError
        A ValueError: the observed sky contradicts the prior.
    MemoryError
        The machine has too little memory.
    """

    def __init__(
        self,
        values: ArrayLike,
        observed: ArrayLike,
        *,
        observed_pol: ArrayLike | None = None,
        method: str = "gaussian",
        prior: PolarizedPrior | Prior | Given | None = None,
        spectra: SkySpectra | None = None,
        noise_pol_uk_arcmin: float | None = None,
        noise_variance: ArrayLike | None = None,
        way: Literal["joint", "alternate"] = "joint",
        trust_prior: bool = False,
        fill: str = "data",
        dipole: str = "marginalise",
        tolerance: float = 3e-3,
        accept: bool = False,
        seed: int = 0,
        threads: int = 0,
        device: str = FillOptions.device,
        cache: str | Path | None = None,
        engine: FillOptions | None = None,
        progress: Progress | None = None,
    ) -> None:
        _check(method, fill, dipole, way)
        check_whole(threads, "threads")
        check_tolerance(tolerance)
        if method == "diffuse" and (noise_variance is not None or noise_pol_uk_arcmin is not None):
            name = "noise_pol_uk_arcmin" if noise_variance is None else "noise_variance"
            raise ValueError(
                f"diffuse does not use the noise; drop `{name}`, or use `method='gaussian'`"
            )
        self._skies = components_of(values, single=method == "diffuse")
        self._has_t = len(self._skies) == 3
        masks = [as_mask(observed, taker="PolarizedInpainter")]
        if observed_pol is not None:
            masks.append(as_mask(observed_pol, "observed_pol", taker="PolarizedInpainter"))
        if any(mask.shape != self._skies[0].shape for mask in masks):
            raise UnusableSkyError("map and masks must have one Nside")
        self._masks = masks
        self._seen = observed_pixels(self._skies, masks)
        asked = FillOptions(method, tolerance=tolerance, device=device)
        mapped = noise_variance is not None
        self.choice = _choice(asked, self._seen, engine, mapped=mapped)
        self.method = method = self.choice.method
        self._anew = partial(
            PolarizedInpainter,
            observed=observed,
            observed_pol=observed_pol,
            method=method,
            prior=prior,
            spectra=spectra,
            noise_pol_uk_arcmin=noise_pol_uk_arcmin,
            noise_variance=noise_variance,
            way=way,
            trust_prior=trust_prior,
            fill=fill,
            dipole=dipole,
            tolerance=tolerance,
            accept=accept,
            threads=threads,
            device=device,
            cache=cache,
            engine=engine,
            progress=progress,
        )
        self._device = harmonics.device_for(FillOptions(device=device).device)
        self.observed = [self._seen[0]] * self._has_t + [self._seen[-1]] * 2
        self.holes = [~self._seen[0]] * self._has_t + [~self._seen[-1]] * 2
        self._noise = noise_of_fields(noise_variance, self._seen)
        self.card: ModelCard | None = None
        self._engine: FillOptions | None = None
        if method == "vae":
            own = engine_of(engine)
            refuse_of_turns(self._seen, self._noise, own)
            where = device if device != FillOptions.device else own.device
            self._engine = replace(
                own, fill=fill, dipole=dipole, threads=threads, cache=cache, device=where
            )
        elif engine is not None:
            raise ValueError(f"only `method='vae'` takes options of an engine, got {method}")
        elif method == "gaussian" and self._device is None:  # before the prior takes memory
            count = sum(int(np.count_nonzero(each)) for each in self.holes)
            nothing = np.empty(0, np.int64)
            check_joint_memory(nside_of(masks[0], "observed"), len(self._skies), count, nothing)
        self._options = (trust_prior, fill, tolerance, accept, threads)
        self._marginal = dipole == "marginalise"
        self._progress = listening(progress)
        self._seed = latent_seed(check_seed(seed))
        self.certificates: dict[str, Certificate] = {}
        self.converged: bool | None = None
        self.unconverged = 0
        both = len(self._seen) == 2 and not any(x.all() for x in self._seen)
        self._way: Literal["joint", "alternate"] = way if both else "joint"
        self.way: str = self._way
        self._fits = False
        self.prior: PolarizedPrior | None = None
        self.plausibility: Plausibility | None = None
        self.power_pol: float | None = None
        self.quality_pol: dict[str, Quality] = {}
        #: Harmonics of monopole and dipole of T, where there is T and a prior.
        self._low = np.zeros(3, np.complex128)
        self._dipole: Dipole | None = None
        #: The maps of `_fields`, on the device of the solver.
        self._there: list[Vector] | None = None
        self._of_t: Inpainter | None = None
        if method == "diffuse":
            if self._has_t and not self._seen[0].all():
                self._of_t = Inpainter(
                    self._skies[0],
                    self._seen[0],
                    method="diffuse",
                    trust_prior=trust_prior,
                    dipole=dipole,
                    threads=threads,
                    progress=progress,
                )
            return
        self._prepare(prior, noise_pol_uk_arcmin, spectra, cache)

    def _prepare(
        self,
        given: PolarizedPrior | Prior | Given | None,
        noise: float | None,
        spectra: SkySpectra | None,
        cache: str | Path | None,
    ) -> None:
        """Complete and judge the prior, and prepare the exact solver."""
        threads = self._options[4]
        if self._has_t:
            self._dipole = Dipole(self._seen[0], threads=threads)
            self._low = self._dipole.alm(self._skies[0])
        self.prior = prior = self._prior_of(given, noise, spectra)
        self._judge_sky(prior)
        kept = Kept(cache, passing=["prior"] if self._fits else [])
        self._solver: Callable[[], JointSolver | NestedSolver | Turns]
        if self._engine is not None:
            turns = Turns(
                self._seen, prior, options=self._engine, kept=kept, progress=self._progress
            )
            self._solver, self.way, self.card = lambda: turns, turns.way, turns.card
            return
        # Prepared by the first fill; maps with the same masks and prior share it (`with_map`).
        self._solver = once(
            partial(
                joint_solver,
                self._seen,
                prior,
                noise_variance=self._with_aliases(prior),
                marginal=self._marginal,
                way=self._way,
                threads=threads,
                kept=kept,
                device=self._device,
            )
        )

    def _judge_sky(self, prior: PolarizedPrior) -> None:
        """Compare the observed sky with the prior; raise or warn if they disagree."""
        trust_prior = self._options[0]
        if self._dipole is not None:
            self.plausibility = judged_t(
                self._skies[0],
                self._bare(),
                self._seen[0],
                prior.temperature,
                self._noise[0],
                dipole=None if self._marginal else self._dipole,
                trust_prior=trust_prior,
            )
        own = self._with_aliases(prior)[-1]
        self.power_pol = judged_pol(
            self._skies[-2:], self._seen[-1], prior, own, trust_prior=trust_prior
        )
        self.quality_pol = judged_quality(
            self._skies[-2:], self._seen[-1], prior, threads=self._options[4]
        )

    def with_map(self, values: ArrayLike, *, seed: int = 0) -> PolarizedInpainter:
        """Return an inpainter for another map; its fills are bit-identical to those of a new one.

        What depends only on masks and prior is shared: the geometry, the blocks of small holes and
        the solver. It is computed again if the new map misses other pixels, or if a part of the
        prior was fitted to the previous map.

        Parameters
        ----------
        values
            As for `PolarizedInpainter`.
        seed
            Seed of its realizations.

        Raises
        ------
        ValueError
            As for a new `PolarizedInpainter`.
        """
        skies = components_of(values, single=self.method == "diffuse")
        alike = len(skies) == len(self._skies) and skies[0].shape == self._skies[0].shape
        if alike:
            alike = all(map(np.array_equal, known_pixels(skies, self._masks), self._seen))
        if self._fits or not alike:
            return self._anew(values, seed=seed)
        other = copy.copy(self)
        other._take(skies, seed)  # noqa: SLF001 - it is of this class
        return other

    def _take(self, skies: list[Map], seed: int) -> None:
        """Take another map that misses the same pixels."""
        observed_pixels(skies, self._masks)  # warns of pixels missing in the map
        self._skies, self._seed = skies, latent_seed(check_seed(seed))
        self.certificates, self.converged, self.unconverged = {}, None, 0
        if self._of_t is not None:
            self._of_t = self._of_t.with_map(skies[0])
        if self.prior is not None:
            if self._dipole is not None:
                self._low = self._dipole.alm(skies[0])
            self._judge_sky(self.prior)

    @property
    def stochastic(self) -> bool:
        """Whether `realization` draws posterior samples."""
        return self.method != "diffuse"

    def _with_aliases(self, prior: PolarizedPrior) -> list[Map | None]:
        """Add signal that the pixels do not resolve to the noise of each pixel."""
        return [aliased(own, prior) for own in self._noise]

    def _prior_of(
        self,
        prior: PolarizedPrior | Prior | Given | None,
        noise: float | None,
        spectra: SkySpectra | None,
    ) -> PolarizedPrior:
        """Complete the prior: of T by a fit, of P by the spectra that belong to T's and a fit."""
        nside = nside_of(self._seen[0], "observed")
        if isinstance(prior, PolarizedPrior):
            if prior.temperature.nside != nside:
                raise ValueError(
                    f"the prior has Nside {prior.temperature.nside}, the map has Nside {nside}"
                )
            return prior
        given, noise = self._held(as_given(prior), noise, spectra)
        known = given.complete(nside)
        self._fits = known is None or (noise is None and given.fit)
        if known is None and not self._has_t:
            raise ValueError("Q and U alone: the beam cannot be fitted; give `fwhm` or `beam`")
        if known is None:
            refuse_flat(self._skies[0], self._seen[0])
            self._progress.stage("prior")
            known = given.fitted_to(self._bare(), self._seen[0], threads=self._options[4])
            self._progress.done("fitted to T")
        found = PolarizedPrior.of(known, noise, spectra=spectra)
        if noise is None and given.fit:
            self._progress.stage("prior of P")
            skies = np.array(self._skies[-2:])
            fitted = fit_polarization(skies, self._seen[-1], found, threads=self._options[4])
            self._progress.done("not fitted" if fitted is None else "fitted to Q and U")
            found = found if fitted is None else fitted
        if not self._has_t and noise is None and not (found.fitted_pol or known.noise_uk_arcmin):
            raise ValueError(
                "the noise of Q and U is not known, and it is not fitted; give"
                " `noise_pol_uk_arcmin`"
            )
        return found

    def _held(
        self, given: Given, noise: float | None, spectra: SkySpectra | None
    ) -> tuple[Given, float | None]:
        """Add the spectrum of T, and the mean noise of maps of the noise, to what is given."""
        if spectra is not None:
            if given.cl is not None or given.base is not None:
                raise ValueError("`prior` and the four spectra both give that of T; drop one")
            given = replace(given, cl=spectra.tt, theory=spectra.theory)
        if self._has_t:
            given = held_to_noise(given, self._noise[0], self._seen[0])
        elif given.base is None and given.noise_uk_arcmin is None:
            given = replace(given, noise_uk_arcmin=0.0)  # of T, which is not there
        if noise is None and self._noise[-1] is not None:
            power = self._noise[-1][[0, 2]][:, self._seen[-1]].mean()
            noise = math.sqrt(float(power) * 4 * math.pi / self._seen[-1].size) / ARCMIN
        return given, noise

    def _bare(self) -> Map:
        """Return T without its fitted monopole and dipole, 0 where missing."""
        return np.where(self._seen[0], self._skies[0] - self._low_map(), 0.0)

    def _low_map(self) -> Map:
        """Return the fitted monopole and dipole of T, ``(npix,)``; not kept, as it costs little."""
        nside = nside_of(self._seen[0], "observed")
        return harmonics.synthesis(self._low, nside, threads=self._options[4])

    def mean(self) -> list[Map]:
        """Compute the posterior mean, or the single fill of ``diffuse``.

        Returns
        -------
        For each component ``(nhole,)``, µK, in RING order of its `holes`.

        Raises
        ------
        ConvergenceError
            A ValueError: the fill has not converged, and ``accept`` is False.
        """
        if not self.stochastic:
            return self._diffused()
        return self._solved(self._data())

    def realization(self, index: int = 0) -> list[Map]:
        """Draw a sample of the joint posterior, with full power in the holes.

        Parameters
        ----------
        index
            Index of the sample; seed and index determine it.

        Returns
        -------
        For each component ``(nhole,)``, µK, in RING order of its `holes`.

        Raises
        ------
        ConvergenceError
            A ValueError: the fill has not converged, and ``accept`` is False.
        ValueError
            The method draws no samples (``diffuse``).
        """
        index = check_seed(index, what="index")
        if self.prior is None:
            raise ValueError(
                "diffuse has no realizations; use `method='gaussian'`, or its single fill (`mean`)"
            )
        _, fill, _, _, threads = self._options
        self._progress.stage("latent sky")
        prior, seed = self.prior, (self._seed, index)
        sphere = self._on_device()
        latent, own = latent_polarization(
            prior,
            self.holes[-1],
            seed=seed,
            noise_variance=self._with_aliases(prior)[-1],
            data_like=fill == "data",
            threads=threads,
            sphere=sphere,
        )
        drawn = [latent]
        if self._has_t:
            t, t_holes = latent_sky(
                prior.temperature,
                self.holes[0],
                seed=seed,
                noise_variance=self._noise[0],
                data_like=fill == "data",
                threads=threads,
                sphere=sphere,
            )
            drawn, own = [t, latent], [t_holes, *own]
        self._progress.done(f"index {index}")
        data = self._data(drawn)
        del drawn, latent  # several maps, which the solve may need
        if self._has_t:
            del t
        found = self._solved(data)
        if sphere is not None:
            own = [sphere.array(each) for each in own]
        return [mine + more for mine, more in zip(found, own, strict=True)]

    def _diffused(self) -> list[Map]:
        """Fill T, and then Q and U, with the means of their neighbours."""
        out = [] if not self._has_t else [np.empty(0)]
        if self._of_t is not None:
            out = [self._of_t.mean()]
        self._progress.stage("diffuse Q and U")
        out += list(diffuse_polarization(self._skies[-2:], self._seen[-1]))
        self._progress.done()
        self.converged = all(bool(np.all(np.isfinite(each))) for each in out)
        return out

    def _on_device(self) -> DeviceSphere | None:
        """Give the transforms of the exact solver if they are a device's; maps stay there, too."""
        sphere = None if self._device is None else self._solver().sphere
        return sphere if isinstance(sphere, DeviceSphere) else None

    def _data(self, latent: Sequence[Vector] = ()) -> list[Vector]:
        """Return T, and Q with U, without a monopole and dipole set aside, and without z."""
        if (sphere := self._on_device()) is not None:
            self._there = self._there or [sphere.vector(each) for each in self._fields()]
            none = [0.0] * len(self._there)
            return [sky - z for sky, z in zip(self._there, latent or none, strict=True)]
        fields = self._fields()
        for sky, z in zip(fields, latent, strict=False):
            sky -= z
        return fields

    def _fields(self) -> list[Map]:
        """Copy T, and Q with U, without a monopole and dipole set aside."""
        t, p = [sky.copy() for sky in self._skies[:-2]], np.array(self._skies[-2:])
        if t and self._marginal:
            t[0] -= self._low_map()
        return [*t, p]

    def _solved(self, fields: list[Vector]) -> list[Map]:
        """Solve for the mean, add monopole and dipole back, and record whether it converged.

        The list of the data is emptied, since the solver needs their memory.
        """
        _, _, tolerance, accept, _ = self._options
        if self._engine is None:
            self._progress.stage("exact mean")
        found = self._solver().mean(
            fields, tolerance=tolerance, progress=self._progress, overwrite=True
        )
        self.certificates, self.converged = found.certificates, found.converged
        words = "; ".join(f"{name}: {each}" for name, each in found.certificates.items())
        if self._engine is None:
            self._progress.done(words)
        out = [*found.fills[:-1], *found.fills[-1]]
        if not found.converged or not all(np.all(np.isfinite(each)) for each in out):
            self.converged = False
            self.unconverged += 1
            unconverged(f"{words}; pass a larger `tolerance`", accept=accept)
        if self._has_t and self._marginal:
            out[0] = out[0] + self._low_map()[self.holes[0]]
        return out

    def whole(self, fills: Sequence[Map]) -> Map:
        """Return the map with a fill in its holes, ``(k, npix)``, µK, RING."""
        out = np.array(self._skies)
        for sky, hole, fill in zip(out, self.holes, fills, strict=True):
            sky[hole] = fill
        return out
