"""Fill a field that is not Gaussian: in the space where a transform makes it nearly so.

The observed field is x = T(g) + n, with T from `skyfill.transforms`, g a Gaussian field of unknown
spectrum and n the noise of the map. g is filled, and T gives the field in the holes. Noise is added
there, in the map itself: the transform of noisy values would turn their noise into small-scale
power of g.

With noise, T is expanded about an estimate ĝ in every observed pixel, which gives data for g with
noise that is Gaussian again, y = ĝ + (x - T(ĝ)) / T'(ĝ), of standard deviation σ / T'(ĝ). ĝ comes
from the Wiener filter of the linear fill.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import fields, replace
from functools import partial
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill import harmonics
from skyfill.brief import card
from skyfill.healpix.arrays import as_map, as_mask
from skyfill.healpix.checks import check_seed
from skyfill.healpix.picture import thumbnail
from skyfill.holes import find_holes
from skyfill.inpaint.choice import choose_method
from skyfill.inpaint.exact import takes_long
from skyfill.inpaint.fieldspectrum import fitted_spectrum
from skyfill.inpaint.fills import ConvergenceError, noise_variance
from skyfill.inpaint.inpainter import Inpainter
from skyfill.inpaint.options import FILLS, NETWORKS, FillOptions
from skyfill.prior import ARCMIN, Given, NoiseEstimate, Prior
from skyfill.prior.dipole import Dipole
from skyfill.progress import Progress, listening
from skyfill.transforms import (
    TRANSFORMS,
    Transform,
    fitted_transform,
    in_unit,
    signal_sample,
)

__all__ = ["TransformedInpainter"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Noise variance as a share of the map's, below which a map counts as free of noise.
_NOISE_FREE = 1e-5
#: The same, above which a shift cannot be fitted: at a hundredth it comes out 20 to 50% too large.
_SIGNIFICANT = 1e-3
#: Least standard deviation of the noise of g, in units of its own: of an exact fill, and of others.
#: With less than these an exact fill takes much longer, and `vae` is far from the mean. An exact
#: fill that would take long with the first has the second.
_FLOORS = 0.01, 0.03
#: Largest noise of g in units of its median: such pixels count for little already.
_CEILING = 5.0
#: Standard deviation to which g is scaled, in place of µK.
_SCALE = 100.0
#: Standard deviations of noise by which values may be below the bound of a field.
_BELOW = 5.5
#: Seed of the fills to which the spectrum is fitted, so that it depends on the map alone.
_SEED = 0x5EC7
#: Number of realizations from which the variance of g is taken where it is not known.
_DRAWS = 20
#: Separates the noise in the holes from other random numbers with the same seed.
_TAG = 0x7F0E
#: Tolerance of the linear fill for the first guess of g, which is far less accurate itself.
_ROUGH = 0.03
#: Largest multipole of the Wiener filter, in units of Nside: beyond, sums over pixels are no
#: integrals.
_REACH = 2


class TransformedInpainter(Inpainter):
    """Fill one map of a field that a transform makes nearly Gaussian.

    It has the attributes of `Inpainter`. Certificate and plausibility are those of the transformed
    field; ``prior``, ``noise`` and ``card`` are None, since the prior is not that of the map.

    Parameters
    ----------
    values
        ``(npix,)``, µK, RING; NaN, inf, UNSEEN or masked where missing.
    observed
        ``(npix,)``, RING, True or 1 where observed.
    transform
        ``log``, ``asinh`` or ``rank``, see `skyfill.transforms`.
    shift
        Added to the field before log or asinh, µK: minus the field's lower bound, 1 for a density
        contrast. If not given, it is fitted to the observed values; ``log`` refuses to fit it where
        the noise matters.
    prior
        A `skyfill.prior.Given` with ``cl="map"``: the spectrum is that of the transformed field,
        so it is fitted. It holds ``noise_uk_arcmin``, the white noise of the map, 0 for none,
        unless there is a noise map.
    noise_rms
        ``(npix,)``, µK, RING: standard deviation of the noise in each pixel, in place of white
        noise.
    fill
        ``data``: realizations have noise in the holes; ``signal``: none.
    seed
        Seed of the realizations.
    threads, progress
        As for `Inpainter`.
    options
        Other arguments of `Inpainter`: method, holes, footprint, tolerance, ...

    Attributes
    ----------
    inner
        The `Inpainter` of the transformed field, with its prior; the unit is a hundredth of the
        field's standard deviation.
    transform
        The transform in use.
    noise_std
        Standard deviation of the noise in a pixel, µK, a mean over the sky.
    noise_share
        Variance of the noise over that of the observed map.

    Raises
    ------
    ValueError
        As for `Inpainter`; or transform, shift, spectrum and noise do not fit together.
    """

    def __init__(  # its parts are those of `inner`, so that of Inpainter is not called
        self,
        values: ArrayLike,
        observed: ArrayLike,
        *,
        transform: str,
        shift: float | None = None,
        prior: Prior | Given | None = None,
        noise_rms: ArrayLike | NoiseEstimate | None = None,
        fill: str = "data",
        seed: int = 0,
        threads: int = 0,
        progress: Progress | None = None,
        **options: Any,  # noqa: ANN401 (see Inpainter for their types)
    ) -> None:
        if fill not in FILLS:
            raise ValueError(f"fill {fill!r} is unknown; choose one of {', '.join(FILLS)}")
        given = _refuse(prior, noise_rms, transform, options)
        values = as_map(values, taker="TransformedInpainter")
        observed = as_mask(observed, taker="TransformedInpainter")
        seen = ~find_holes(values, observed)
        if not seen.any():
            raise ValueError("no pixel is observed: there is nothing to transform")
        listener = listening(progress)
        self._like = fill
        self._own_seed = check_seed(seed)
        self._values = values
        listener.stage("transform")
        words = {**options, "threads": threads, "seed": seed, "progress": progress}
        self._another = partial(
            TransformedInpainter,
            observed=observed,
            transform=transform,
            shift=shift,
            prior=prior,
            noise_rms=noise_rms,
            fill=fill,
            **{name: value for name, value in words.items() if name != "seed"},
        )
        self._pixel_noise = noise = _noise_of(given, noise_rms, values, seen)
        variance = float(np.var(values[seen]))
        self.noise_std = math.sqrt(float(np.mean(noise[seen] if noise.ndim else noise)))
        self.noise_share = share = self.noise_std**2 / variance if variance else 0.0
        if transform == "log" and shift is None and share > _SIGNIFICANT:
            raise ValueError(
                f"noise is {share:.1%} of the map's variance, which a fitted shift would take for"
                " part of the field: give the field's lower bound, with its sign changed, as"
                " `shift`"
            )
        if share > _NOISE_FREE:
            self.transform = _with_noise(transform, values[seen], self.noise_std, shift)
        else:
            self.transform = fitted_transform(transform, values[seen], shift=shift)
        listener.done(f"{self.transform}, noise {share:.2g} of the variance")
        if transform == "rank":
            warnings.warn(
                "rank knows the field between its least and its largest observed value; beyond, it"
                " continues in a straight line, so that the tails of the fill are a guess",
                stacklevel=2,
            )
        if share > _NOISE_FREE:
            guess = _denoised(values, observed, given, noise_rms, words)
            data, spread = _linearised(self.transform, values, guess, noise, seen)
        else:
            data = np.where(seen, self.transform.inverse(np.where(seen, values, np.nan)), np.nan)
            spread = np.zeros(values.size)
        self._unit = _SCALE / float(np.std(data[seen]))
        data, spread = data * self._unit, spread * self._unit
        level = math.sqrt(float(np.mean(spread[seen] ** 2)))
        least, rough = (each * _SCALE for each in _FLOORS)

        def solved(prior: Prior, least: float) -> Prior:
            pixel = math.sqrt(4 * math.pi / data.size) / ARCMIN
            return replace(prior, noise_uk_arcmin=max(level, least) * pixel)

        def inpaint(prior: Prior, least: float, **more: Any) -> Inpainter:  # noqa: ANN401
            prior = solved(prior, least)
            mapped = None if np.ptp(spread) == 0 else np.maximum(spread, least)
            more = {**words, "noise_rms": mapped, "prior": prior, "fill": "signal", **more}
            return Inpainter(data, observed, **more)

        prior = fitted_spectrum(
            *(data, seen, level),
            lambda guess: inpaint(guess, rough, seed=_SEED, accept=True, trust_prior=True),
            threads=threads,
        )
        exact = _method(words, seen, mapped=bool(np.ptp(spread))) == "gaussian"
        if not exact or takes_long(seen, solved(prior, least)):
            least = rough
        self.inner = inpaint(prior, least)
        self.holes, self.observed = self.inner.holes, self.inner.observed
        self.options, self.choice = self.inner.options, self.inner.choice
        self.polish, self.plausibility = self.inner.polish, self.inner.plausibility
        self.prior = self.noise = self.card = None
        self._follow()

    def __repr__(self) -> str:
        return f"TransformedInpainter({self.transform}, {self.inner!r})"

    def _repr_html_(self) -> str:
        """Show the map with its holes, and the transform, in a notebook."""
        rows = {
            "transform": self.transform,
            "noise": f"{self.noise_std:.4g} µK in a pixel",
            "method": self.choice,
            "observed": f"{self.observed.mean():.2%} of the sky",
            "to fill": f"{self.holes.mean():.2%}, {int(self.holes.sum())} pixels",
        }
        return card("TransformedInpainter", rows, lambda: thumbnail(self._values, self.observed))

    @property
    def stochastic(self) -> bool:
        """Whether `realization` draws posterior samples: always."""
        return True

    def _follow(self) -> None:
        """Take over what the last fill of the transformed field says of itself."""
        self.certificate = self.inner.certificate
        self.converged, self.unconverged = self.inner.converged, self.inner.unconverged

    def with_map(self, values: ArrayLike, *, seed: int = 0) -> TransformedInpainter:
        """Return a filler of another map, whose transform and spectrum are its own.

        Parameters
        ----------
        values
            ``(npix,)``, µK, RING; NaN where missing.
        seed
            Seed of its realizations.
        """
        return self._another(values=values, seed=seed)

    def tile_regions(self) -> NDArray[np.int64] | None:
        """Map each hole pixel to the tile with the largest weight in it, as `Inpainter`."""
        return self.inner.tile_regions()

    def realization(self, index: int = 0) -> Map:
        """Draw a sample of the posterior.

        Parameters
        ----------
        index
            Index of the sample; seed and index determine it.

        Returns
        -------
        ``(nhole,)``, µK, in RING order of the holes.

        Raises
        ------
        ConvergenceError
            A ValueError: the fill has not converged, and ``accept`` is False.
        """
        drawn = self.transform.of(self._of_inner(index) / self._unit)
        if self._like == "data" and self.noise_std:
            random = np.random.default_rng([self._own_seed, index, _TAG])
            drawn += self._noise_in_holes() * random.standard_normal(drawn.size)
        return drawn

    def mean(self) -> Map:
        """Compute the posterior mean of the field, ``(nhole,)``, µK, in RING order of the holes.

        It is the mean of T(g) over the normal distribution of g in each pixel, not T of the mean.
        The variance of g is exact in small holes, and from 20 realizations elsewhere.

        Raises
        ------
        ConvergenceError
            A ValueError: the fill has not converged, and ``accept`` is False.
        """
        mean, variance = self._moments()
        return self.transform.mean(mean, variance)

    def quantiles(self, *shares: float) -> Map:
        """Compute quantiles of the field without noise, in its own unit.

        Parameters
        ----------
        shares
            Probabilities between 0 and 1: 0.16, 0.84.

        Returns
        -------
        ``(n, nhole)``, µK, in RING order of the holes.

        Raises
        ------
        ValueError
            A probability is not between 0 and 1, or the fill has not converged.
        """
        if not all(0 < share < 1 for share in shares):
            raise ValueError(f"quantiles are probabilities between 0 and 1, got {shares}")
        mean, variance = self._moments()
        scores = [NormalDist().inv_cdf(share) for share in shares]
        return np.array([self.transform.of(mean + score * np.sqrt(variance)) for score in scores])

    def std(self) -> Map:
        """Return NaN, ``(nhole,)``: the standard deviation must be estimated from realizations."""
        return np.full(int(self.holes.sum()), np.nan)

    def whole(self, fill: Map) -> Map:
        """Return the map with a fill in its holes, ``(npix,)``, µK, RING."""
        whole = self._values.astype(np.float64)
        whole[~self.observed] = np.nan
        whole[self.holes] = fill
        return whole

    def formula(self, unit: float = 1.0) -> str:
        """Return the formula of the transform, g of x, for a map in a unit of this size in µK."""
        return in_unit(self.transform, unit)

    def _moments(self) -> tuple[Map, Map]:
        """Compute mean and variance of g in the holes, ``(nhole,)``."""
        mean = self._of_inner(None)
        variance = self.inner.std() ** 2
        unknown = np.isnan(variance)
        if unknown.any():
            squares = np.zeros(mean.size)
            for index in range(_DRAWS):
                squares += (self._of_inner(index) - mean) ** 2
            variance[unknown] = squares[unknown] / _DRAWS
        return mean / self._unit, variance / self._unit**2

    def _of_inner(self, index: int | None) -> Map:
        """Compute a realization, or the mean, of the scaled g."""
        try:
            return self.inner.mean() if index is None else self.inner.realization(index)
        except ConvergenceError:
            raise ConvergenceError(
                f"the fill of the transformed field has not converged ({self.inner.certificate});"
                " pass a larger `tolerance`, or the map's noise if it has more than was given"
                " (`noise_uk_arcmin`); to accept it nevertheless, pass `accept=True`"
            ) from None
        finally:
            self._follow()

    def _noise_in_holes(self) -> Map:
        """Return the standard deviation of the noise in the holes, ``(nhole,)`` or a number."""
        noise = self._pixel_noise
        return np.sqrt(noise[self.holes] if noise.ndim else noise)


def _method(words: dict[str, Any], observed: Mask, *, mapped: bool) -> str:
    """Name the method with which the transformed field is filled."""
    names = {field.name for field in fields(FillOptions)}
    options = FillOptions(**{name: words[name] for name in names & words.keys()})
    return choose_method(options, observed, mapped=mapped).method


def _refuse(
    prior: Prior | Given | None,
    noise_rms: ArrayLike | NoiseEstimate | None,
    transform: str,
    options: dict[str, Any],
) -> Given:
    """Refuse what contradicts a transform; return the prior that is given."""
    if transform not in TRANSFORMS:
        raise ValueError(
            f"transform {transform!r} is unknown; choose one of {', '.join(TRANSFORMS)}"
        )
    if not isinstance(prior, Given) or prior.cl is None or not isinstance(prior.cl, str):
        raise ValueError(
            f"`transform={transform!r}` needs the spectrum of the transformed field, fitted to the"
            " map by `cl='map'`; a spectrum of the field itself, or that of the CMB, which"
            " is Gaussian already, does not fit"
        )
    for name in ("fwhm", "beam", "pixel_window"):
        if getattr(prior, name) is not None:
            raise ValueError(
                f"the beam of a map is not that of its transform: drop `{name}`; the spectrum that"
                " is fitted holds beam and pixels"
            )
    if isinstance(noise_rms, str | NoiseEstimate):
        raise ValueError(  # noqa: TRY004 (as for all arguments)
            "the noise of a transformed field is not estimated from the sky: give a noise map, or"
            " `noise_uk_arcmin`"
        )
    if transform == "rank" and noise_rms is not None:
        raise ValueError(
            "`transform='rank'` takes white noise (`noise_uk_arcmin`): with a noise map use"
            " `transform='log'` or `transform='asinh'`"
        )
    if noise_rms is None and prior.noise_uk_arcmin is None:
        raise ValueError(
            f"`transform={transform!r}` needs the noise of the map: `noise_uk_arcmin`, 0 if it has"
            " none, or a noise map (`noise_rms`); a field that is not Gaussian has power of its own"
            " at small scales, which a fit would take for noise"
        )
    if options.get("method") in ("diffuse", *NETWORKS):
        raise ValueError(
            f"{options['method']} has no spectrum of the transformed field: use `method='gaussian'`"
            " or `method='vae'`, or drop `transform`"
        )
    if options.get("dipole") == "prior":
        raise ValueError("monopole and dipole of a transformed field are fitted: drop `dipole`")
    return prior


def _per_pixel(pixels: int) -> float:
    """Return the white noise, µK·arcmin, of a unit standard deviation in each pixel."""
    return math.sqrt(4 * math.pi / pixels) / ARCMIN


def _noise_of(
    given: Given, noise_rms: ArrayLike | NoiseEstimate | None, values: Map, seen: Mask
) -> Map:
    """Return the variance of the noise, µK², of each pixel or of all."""
    if noise_rms is not None and not isinstance(noise_rms, NoiseEstimate):
        known = noise_variance(as_map(noise_rms, "noise_rms", taker="TransformedInpainter"), seen)
        return np.asarray(known)
    return np.asarray(((given.noise_uk_arcmin or 0.0) / _per_pixel(values.size)) ** 2)


def _with_noise(name: str, values: Map, noise: float, shift: float | None) -> Transform:
    """Choose the transform of a field from its values with noise."""
    sample = signal_sample(values, noise)
    if name != "log" or shift is None:
        return fitted_transform(name, sample, shift=shift)
    least = float(values.min()) + shift
    if least < -_BELOW * noise:
        raise ValueError(
            f"`transform='log'` needs x + shift above 0, and the least observed value is"
            f" {-least / noise:.1f} standard deviations of the noise below: pass a larger `shift`,"
            " or `transform='asinh'` or `transform='rank'`, which take every value"
        )
    return fitted_transform(name, sample[sample + shift > 0], shift=shift)


def _denoised(
    values: Map,
    observed: Mask,
    given: Given,
    noise_rms: ArrayLike | NoiseEstimate | None,
    words: dict[str, Any],
) -> Map:
    """Estimate the field without noise on the whole sphere, ``(npix,)``, µK.

    The Wiener filter of a sky whose holes hold the posterior mean is the mean of its signal
    everywhere, for a Gaussian field with white noise.
    """
    words = words | {"tolerance": _ROUGH, "accept": True, "trust_prior": True}
    with warnings.catch_warnings():  # of a guess: the fill itself is judged
        warnings.simplefilter("ignore")
        linear = Inpainter(values, observed, prior=given, noise_rms=noise_rms, **words)
        sky = linear.whole(linear.mean())
    sky[np.isnan(sky)] = float(np.mean(values[linear.observed]))
    prior, threads = linear.prior, words["threads"]
    if prior is None:
        raise ValueError("the method has no prior")
    low = Dipole(np.ones(sky.size, np.bool_), threads=threads).of(sky)
    lmax = min(_REACH * prior.nside, prior.lmax)
    signal = prior.signal_cl(lmax)
    area = 4 * math.pi / sky.size
    alm = harmonics.adjoint(sky - low, lmax=lmax, threads=threads) * area
    kept = signal / np.maximum(signal + prior.white_cl, 1e-300)
    smooth = harmonics.synthesis(harmonics.almxfl(alm, kept), prior.nside, threads=threads)
    return np.asarray(low + smooth)


def _linearised(
    transform: Transform, values: Map, guess: Map, noise: Map, seen: Mask
) -> tuple[Map, Map]:
    """Return data for g, ``(npix,)``, NaN where missing, and the noise in them.

    Where the guess is outside the field's range, it is taken to the nearest that g is likely to
    have: four standard deviations from its mean. The noise is at least half of its median, which
    gives up a little of what the brightest pixels tell, so that the solver converges.
    """
    with np.errstate(invalid="ignore"):
        near = transform.inverse(guess)
    inside = near[np.isfinite(near) & seen]
    middle, spread = float(np.median(inside)), float(np.std(inside))
    near = np.clip(np.nan_to_num(near, nan=-math.inf), middle - 4 * spread, middle + 4 * spread)
    root, slope = np.sqrt(noise), transform.slope(near)
    usual = float(np.median((root / slope)[seen]))
    slope = np.maximum(slope, root / (_CEILING * usual))
    data = np.where(seen, near + (values - transform.of(near)) / slope, np.nan)
    return data, np.maximum(root / slope, usual / 2)
