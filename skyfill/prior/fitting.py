"""Fit beam, noise, calibration and, where needed, a free spectrum to the observed part of a map."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from skyfill.healpix.arrays import pair_of
from skyfill.healpix.stokes import nside_of
from skyfill.prior.beam import Beam
from skyfill.prior.freespectrum import FreeSpectrum, without_floor
from skyfill.prior.model import ARCMIN, LCDM, MOST, Prior, lcdm
from skyfill.prior.patches import Patches
from skyfill.prior.pseudospectrum import Pseudo
from skyfill.prior.quality import Quality

__all__ = ["FROM_MAP", "assess", "fit"]

Map = NDArray[np.float64]

FROM_MAP = "fitted to the map"
"""Name of a spectrum that is itself fitted to the observed sky."""
#: Prior uncertainty of the calibration of the power (Planck's releases differ by 2%).
_CALIBRATION = 0.03
#: Further starting points of the descent: factors to the likely beam and noise.
_ELSEWHERE = ({"fwhm": 4.0}, {"fwhm": 10.0}, {"fwhm": 2.0, "noise_uk_arcmin": 0.05})
#: Misfit of impossible parameters: finite, because the optimiser takes differences.
_IMPOSSIBLE = 1e30
#: Second differences of the logarithm of a free spectrum: their rms, a priori.
_BEND = 2.0
#: Share of the fitted spectrum below which an additional free part costs nothing.
_FAINT = 1e-2
#: Above, it costs the square of its logarithm in units of this, so that it is there only where
#: needed.
_SPARING = 2.0
#: A free part is kept if it raises the probability of the misfit by this factor.
_BETTER = 10.0
#: Largest number of priors that a descent tries; most end after some seventy.
_TRIES = 300
#: Largest number of steps of a joint fit; maps that a spectrum describes need some twenty.
_STEPS = 60
#: Number of fits of a spectrum of free form: each tells the next what leaks from bin to bin.
_ROUNDS = 4
#: Smallest share of the sky in the apodised window that the pseudo-spectrum needs for the fit.
_ENOUGH_SKY = 0.3


def fit(
    values: NDArray[np.float64],
    observed: NDArray[np.bool_],
    *,
    cl: ArrayLike | Literal["map"] | None = None,
    fwhm: float | None = None,
    noise_uk_arcmin: float | None = None,
    pixel_window: bool | None = None,
    beam: Beam | None = None,
    threads: int = 0,
) -> Prior:
    """Fit beam, noise and calibration to the observed part of a map.

    The pseudo-spectrum of the map in an apodised window is compared with what the model expects of
    it (`Pseudo`) by the likelihood of Γ-distributed bins (Hamimeche & Lewis 2008, eq. 8), between
    l = 2 and 3.5 nside (2500 at most). If the misfit is too large, a smooth positive spectrum is
    added to the model (``extra_cl``) and fitted with the rest. If the apodised window leaves less
    than 0.3 of the sky, the pixels of compact patches decide instead (`Patches`).

    Parameters
    ----------
    values
        ``(npix,)``, µK, RING, without monopole and dipole. Unobserved pixels are not read; missing
        pixels (NaN) count as unobserved.
    observed
        ``(npix,)``, RING, True where observed.
    cl
        Spectrum of the sky, µK²; Planck-2018 ΛCDM if not given. With ``"map"`` the spectrum itself
        is fitted, as a smooth positive function of l: for fields that are not the CMB. It is that
        of the map, beam and pixels included, unless ``fwhm`` is given.
    fwhm, noise_uk_arcmin
        Fixed if given, fitted if None. If one of them is fitted, the calibration of the signal's
        power is fitted as well, within the few per cent to which maps are calibrated.
    pixel_window
        Whether to multiply the beam by the pixel window. If None, a given beam is multiplied, and
        for a fitted one both are tried and the better is kept, since not every map has a pixel
        window.
    beam
        A tabulated beam in place of the Gaussian; it is not fitted.
    threads
        Threads of the transforms.

    Returns
    -------
    The prior; ``fitted`` names the fitted numbers, and ``quality`` says how well it describes the
    observed sky.

    Raises
    ------
    ValueError
        No pixel is observed.
    """
    values, observed = pair_of(values, observed, taker="prior.fit")
    nside = nside_of(values, "values")
    observed = observed & np.isfinite(values)
    start, names = _start(nside, cl, fwhm, noise_uk_arcmin, pixel_window, beam)
    if not observed.any():
        raise ValueError("no pixel is observed: there is nothing to fit a prior to")
    if not names and start.theory != FROM_MAP:
        return start
    pseudo = Pseudo.of(values, observed, min(int(MOST * nside), start.cl.size - 1), threads)
    windows = (True, False) if "pixel_window" in start.fitted else (start.pixel_window,)
    patches = Patches.of(values, observed)
    search = _Search(pseudo, start, names, windows, math.sqrt(4 * math.pi / values.size))
    if start.theory == FROM_MAP:
        return search.from_map(patches)
    found = search.best()
    search = replace(search, pseudo=pseudo.trusting(found))
    found = search.best()
    quality = search.pseudo.quality(found, len(names), patches)
    found = replace(found, quality=quality)
    little = pseudo.sky < _ENOUGH_SKY
    # Bins that hold little else than what leaked into them fit anything.
    misled = quality.pte >= Quality.DOUBTFUL and Quality.far(quality.whitened)
    if patches is not None and (little or misled):
        other = search.by_patches(patches, found)
        other = replace(other, quality=search.pseudo.quality(other, len(names), patches))
        if little or (other.quality and other.quality.verdict == "good"):
            return other
    if found.quality and found.quality.pte < Quality.DOUBTFUL:
        freer = search.with_free_part(found, patches)
        if freer.quality and freer.quality.pte > _BETTER * found.quality.pte:
            return freer
    return found


def assess(
    values: NDArray[np.float64],
    observed: NDArray[np.bool_],
    prior: Prior,
    *,
    threads: int = 0,
) -> tuple[Pseudo, Quality]:
    """Compare the spectrum of the observed sky with a prior that need not be fitted to it.

    Parameters
    ----------
    values, observed, threads
        As for `fit`.
    prior
        The prior.

    Returns
    -------
    The binned spectrum, and how well the prior describes it.

    Raises
    ------
    ValueError
        No pixel is observed, or the prior has another Nside.
    """
    values, observed = pair_of(values, observed, taker="prior.assess")
    observed = observed & np.isfinite(values)
    nside = nside_of(values, "values")
    if prior.nside != nside:
        raise ValueError(f"the prior has Nside {prior.nside}, the map has Nside {nside}")
    if not observed.any():
        raise ValueError("no pixel is observed: there is nothing to compare a prior with")
    pseudo = Pseudo.of(values, observed, min(int(MOST * nside), prior.cl.size - 1), threads)
    pseudo = pseudo.trusting(prior, free=prior.theory == FROM_MAP)
    if prior.quality is not None:
        return pseudo, prior.quality
    return pseudo, pseudo.quality(prior, 0, Patches.of(values, observed))


def _start(
    nside: int,
    cl: ArrayLike | Literal["map"] | None,
    fwhm: float | None,
    noise_uk_arcmin: float | None,
    pixel_window: bool | None,
    beam: Beam | None,
) -> tuple[Prior, tuple[str, ...]]:
    """Check what is given; name the numbers to fit."""
    own = isinstance(cl, str)
    if own and cl != "map":
        raise ValueError(f"cl must be a spectrum, or 'map' to fit one to the map, got {cl!r}")
    theory = lcdm() if cl is None else np.ones(int(MOST * nside) + 1) if own else cl
    known = Prior(  # which checks them
        nside,
        np.asarray(theory, dtype=np.float64),
        fwhm=0.0 if fwhm is None else fwhm,
        noise_uk_arcmin=0.0 if noise_uk_arcmin is None else noise_uk_arcmin,
        beam=beam,
    )
    if known.cl.size < 3 or not known.cl[2:].any():
        raise ValueError("C_l must have power at l = 2 and beyond, to fit anything")
    known_beam = fwhm is not None or beam is not None
    free = {"fwhm": not known_beam and not own, "noise_uk_arcmin": noise_uk_arcmin is None}
    free["calibration"] = any(free.values()) and not own
    names = tuple(name for name, is_free in free.items() if is_free)
    either = free["fwhm"] and pixel_window is None
    assumed = {
        "cl": cl is None,
        "fwhm": own and not known_beam,
        "pixel_window": pixel_window is None and not either,
        "calibration": not free["calibration"],
    }
    window = pixel_window is not False
    if own and pixel_window is None:  # a spectrum of the map holds it, unless there is a beam
        window = known_beam
    start = Prior(
        nside,
        known.cl,
        known.fwhm,
        known.noise_uk_arcmin,
        window,
        theory=LCDM if cl is None else FROM_MAP if own else Prior.theory,
        fitted=(*["cl"][: int(own)], *names, *["pixel_window"][: int(either)]),
        assumed=tuple(name for name, is_assumed in assumed.items() if is_assumed),
        beam=known.beam,
    )
    return start, names


@dataclass(frozen=True)
class _Search:
    """The parameters of a prior, and the way to the best of them."""

    pseudo: Pseudo
    start: Prior
    names: tuple[str, ...]
    windows: tuple[bool, ...]
    pixel: float

    def best(self) -> Prior:
        """Find the parameters that fit best."""
        cost = self.pseudo.cost
        found = self._descend(cost, self._guess())
        # A good fit reaches half of this; a descent may end in a local minimum.
        if found[0] > self.pseudo.data.size:
            others = [self._descend(cost, self._guess(**factors)) for factors in _ELSEWHERE]
            found = min([found, *others], key=lambda each: each[0])
        return self._model(found[1], window=found[2])

    def by_patches(self, patches: Patches, found: Prior) -> Prior:
        """Find the parameters that fit the patches best, from those that fit the bins best."""
        begin = np.log([max(getattr(found, name), 1e-12) for name in self.names])
        _, parameters, window = self._descend(patches.misfit, begin)
        return self._model(parameters, window=window)

    def _model(self, parameters: Map, *, window: bool) -> Prior:
        found = dict(zip(self.names, np.exp(parameters).tolist(), strict=True))
        return replace(self.start, pixel_window=window, **found)

    def _guess(self, **factors: float) -> Map:
        """Guess the parameters, times factors."""
        # The power of the last bin limits the noise; the pixel size suggests the beam.
        ceiling = math.sqrt(self.pseudo.data[-1] / self.pseudo.white) / ARCMIN
        guesses = {
            "fwhm": math.log(2 * self.pixel),
            "noise_uk_arcmin": math.log(0.3 * ceiling),
            "calibration": 0.0,
        }
        return np.array([guesses[n] + math.log(factors.get(n, 1.0)) for n in self.names])

    def _descend(self, cost: Callable[[Prior], float], first: Map) -> tuple[float, Map, bool]:
        """Find the best parameters and window, starting from a guess."""

        def misfit(parameters: Map, window: bool) -> float:
            found = dict(zip(self.names, parameters, strict=True))
            if np.any(parameters < -30) or np.any(parameters > 12):
                return _IMPOSSIBLE
            if found.get("fwhm", 0.0) > math.log(math.pi):
                return _IMPOSSIBLE
            prior = self._model(parameters, window=window)
            known = 0.5 * (math.log(prior.calibration) / _CALIBRATION) ** 2
            return known + cost(prior)

        steps = {"fwhm": -0.5, "noise_uk_arcmin": -1.0, "calibration": 0.1}
        simplex = np.vstack([first, first + np.diag([steps[n] for n in self.names])])
        options = {"xatol": 1e-3, "fatol": 1e-2, "initial_simplex": simplex, "maxfev": _TRIES}
        fits = []
        for window in self.windows:
            fit = optimize.minimize(misfit, first, (window,), "Nelder-Mead", options=options)
            fits.append((float(fit.fun), fit.x, window))
        return min(fits, key=lambda each: each[0])

    def with_free_part(self, found: Prior, patches: Patches | None) -> Prior:
        """Add a free spectrum to a fitted prior, and fit all parameters jointly."""
        free = FreeSpectrum.of(found.nside, self.pseudo.response.shape[1] - 1)
        total = found.signal_cl(free.lmax) + found.white_cl
        faint = np.log(_FAINT * np.maximum(total[free.knots], 1e-12 * total.max()))

        def model(parameters: Map, knots: Map) -> Prior:
            whole = self._model(parameters, window=found.pixel_window)
            return replace(whole, extra_cl=free.at(knots))

        excess = self.pseudo.data - self.pseudo.expected(found)
        begin = np.maximum(faint, self.pseudo.logs(excess, free.knots))
        prior = self._joint(found, begin, model, faint)
        # What leaks from a bright free part is not known before there is one.
        search = replace(self, pseudo=self.pseudo.trusting(prior))
        begin = np.log(np.maximum(prior.extra_cl[free.knots], 1e-30))
        prior = search._joint(prior, begin, model, faint)  # noqa: SLF001
        prior = without_floor(prior, "extra_cl", free, whitens="noise_uk_arcmin" in self.names)
        prior = replace(prior, fitted=(*found.fitted, "extra_cl"))
        count = len(self.names) + free.knots.size
        return replace(prior, quality=search.pseudo.quality(prior, count, patches))

    def from_map(self, patches: Patches | None) -> Prior:
        """Fit the spectrum itself, as a free one, and the noise."""
        start, pseudo = self.start, self.pseudo
        free = FreeSpectrum.of(start.nside, start.cl.size - 1)
        kept = np.maximum(start.transfer(free.lmax)[free.knots], 1e-4)
        white = 0.9 * float(pseudo.data.min()) if self.names else 0.0
        if self.names:
            start = replace(start, noise_uk_arcmin=math.sqrt(white / pseudo.white) / ARCMIN)
        begin = pseudo.logs(np.maximum(pseudo.data - white, 1e-2 * pseudo.data), free.knots)
        begin -= np.log(kept)

        def model(parameters: Map, knots: Map) -> Prior:
            whole = self._model(parameters, window=start.pixel_window)
            return replace(whole, cl=free.at(knots))

        search = self
        for _ in range(_ROUNDS):
            prior = search._joint(start, begin, model)
            prior = without_floor(prior, "cl", free, whitens=bool(self.names))
            # What leaks from a free spectrum is not known before there is one.
            search = replace(self, pseudo=pseudo.trusting(prior, free=True))
            least = 1e-3 * prior.noise_cl / kept + 1e-300
            start, begin = prior, np.log(np.maximum(prior.cl[free.knots], least))
        count = len(self.names) + free.knots.size
        return replace(prior, quality=search.pseudo.quality(prior, count, patches))

    def _joint(
        self,
        start: Prior,
        begin: Map,
        model: Callable[[Map, Map], Prior],
        faint: Map | float = math.inf,
    ) -> Prior:
        """Fit parameters and knots jointly by damped Gauss-Newton steps.

        ``faint`` holds the logarithms above which knots cost something.
        """
        count, pseudo = len(self.names), self.pseudo

        def rest(parameters: Map) -> Map:
            knots = parameters[count:]
            prior = model(parameters[:count], knots)
            expected = pseudo.expected(prior)
            away = np.sign(pseudo.data - expected) * np.sqrt(2 * pseudo.misfit(expected))
            bend = np.diff(knots, 2) / _BEND
            cost = np.maximum(knots - faint, 0.0) / _SPARING
            known = math.log(prior.calibration) / _CALIBRATION
            return np.concatenate([away, bend, cost, [known]])

        first = np.log([max(getattr(start, name), 1e-12) for name in self.names])
        low = np.repeat([-30.0, -80.0], [count, begin.size])
        most = [math.log(math.pi) if name == "fwhm" else 12.0 for name in self.names]
        high = np.concatenate([most, np.full(begin.size, 80.0)])
        first = np.clip(np.concatenate([first, begin]), low + 1e-6, high - 1e-6)
        best = optimize.least_squares(rest, first, bounds=(low, high), max_nfev=_STEPS)
        return model(best.x[:count], best.x[count:])
