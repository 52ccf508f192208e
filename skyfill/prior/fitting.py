"""Fit beam, noise and calibration to the observed part of a map.

The map is multiplied by an apodised window w and its pseudo-spectrum taken by plain sums over
pixels. Its expectation is known exactly, aliasing included: a product of two harmonics is a sum of
harmonics, so the coupling of l and l' is that of the *sampled* window's own plain spectrum up to
l + l' (`harmonics.coupling`). White noise adds the mean of w² times its spectrum at every l.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import interpolate, optimize

from skyfill import harmonics
from skyfill.healpix.arrays import pair_of
from skyfill.healpix.stokes import nside_of
from skyfill.holes import distance_to_edge
from skyfill.holes.windows import rising
from skyfill.prior.model import ARCMIN, LCDM, MOST, Prior, lcdm
from skyfill.prior.quality import Quality

__all__ = ["Pseudo", "fit"]

Map = NDArray[np.float64]

#: Prior uncertainty of the calibration of the power (Planck's releases differ by 2%).
_CALIBRATION = 0.03
#: Further starting points of the descent: factors to the likely beam and noise.
_ELSEWHERE = ({"fwhm": 4.0}, {"fwhm": 10.0}, {"fwhm": 2.0, "noise_uk_arcmin": 0.05})
#: Misfit of impossible parameters: finite, because the optimiser takes differences.
_IMPOSSIBLE = 1e30
#: Widths of the window's soft edge, radians, or in pixels where these are wide: the first that
#: leaves this share of what is observed.
_EDGES = np.radians([1.0, 0.5, 0.25, 0.1])
_EDGE_PIXELS = 2.7
_LEFT = 0.5
#: Multipoles that are fitted, over Nside, and at most: what a map's noise is known from.
_REACH = 3.5
_LAST = 2500
#: Logarithmic bins up to 2 Nside; beyond, a bin has Nside over this many multipoles.
_BINS = 60
_WIDE = 16
#: The free part: knots to an Nside, its second differences (roughness) in units of one, where it
#: begins in units of the fitted spectrum, and how much likelier it must make the sky to be kept.
_KNOTS = 8
_BEND = 2.0
_FAINT = 1e-2
_BETTER = 10.0
#: A bin's own power is of multipoles up to this factor away.
_NEAR = 1.3
#: Multipoles of the window that matter where nothing is aliased.
_SMOOTH = 1500


@dataclass(frozen=True)
class Pseudo:
    """The binned pseudo-spectrum of a windowed map, and what the model expects of it.

    Attributes
    ----------
    edges
        ``(nbin + 1,)`` first multipole of each bin; the last one ends the last bin.
    data
        ``(nbin,)``, µK²: mean of Σ_m |ã_lm|² / (2l + 1) over a bin, with weights 2l + 1.
    response
        ``(nbin, lmax + 1)``: what a bin gets of the spectrum of the signal on the map.
    white
        What every bin gets of a white spectrum, ⟨w²⟩.
    freedom
        ``(nbin,)``: degrees of freedom ν = (2l + 1) ⟨w²⟩² / ⟨w⁴⟩, summed over the bin.
    """

    edges: NDArray[np.int64]
    data: Map
    response: Map
    white: float
    freedom: Map

    @classmethod
    def of(cls, values: Map, observed: NDArray[np.bool_], lmax: int, threads: int) -> Pseudo:
        """Measure; the arguments are those of `fit`, with the largest multipole of the signal."""
        nside = nside_of(values, "the map to fit")
        window = _window(observed)
        last = min(int(_REACH * nside), _LAST)
        area = 4 * math.pi / values.size
        clean = np.where(window > 0, values, 0.0) * window
        pseudo = area**2 * harmonics.cl_of(harmonics.adjoint(clean, lmax=last, threads=threads))
        aliased = last + lmax > _REACH * nside
        lmax = lmax if aliased else min(lmax, last + _SMOOTH)
        reach = last + lmax if aliased else min(last + lmax, _SMOOTH)
        own = area**2 * harmonics.cl_of(harmonics.adjoint(window, lmax=reach, threads=threads))
        edges = _edges(nside, last)
        modes = 2.0 * np.arange(last + 1) + 1
        count = np.add.reduceat(modes, edges[:-1])
        square = window**2
        mean_square = float(np.mean(square))
        return cls(
            edges,
            np.add.reduceat(modes * pseudo, edges[:-1]) / count,
            harmonics.coupling(own, edges, lmax=lmax),
            mean_square,
            count * mean_square**2 / float(np.mean(square**2)),
        )

    def expected(self, prior: Prior) -> Map:
        """Give what a prior expects of every bin, ``(nbin,)``, µK²."""
        lmax = self.response.shape[1] - 1
        white = prior.noise_cl + prior.white_beyond(lmax)
        return np.asarray(self.response @ prior.signal_cl(lmax) + self.white * white)

    def misfit(self, expected: Map) -> Map:
        """Give minus the logarithm of the likelihood of every bin, zero where it fits exactly."""
        ratio = self.data / expected
        return np.asarray(0.5 * self.freedom * (ratio - 1 - np.log(ratio)))

    def quality(self, prior: Prior, fitted: int) -> Quality:
        """Say how well a prior with so many fitted parameters describes the bins."""
        return Quality.of(self.data, self.expected(prior), self.freedom, self.edges, fitted)

    def trusting(self, prior: Prior) -> Pseudo:
        """Count of a bin's freedom what is its own: power that leaked from afar is shared.

        The window couples all multipoles a little. Where a beam has taken the sky's power, bins
        hold little else than what the brightest ones leave there, all of them the same.
        """
        lmax = self.response.shape[1] - 1
        signal = prior.signal_cl(lmax)
        own = np.empty(self.data.size)
        for number, row in enumerate(self.response):
            low, high = self.edges[number] / _NEAR, self.edges[number + 1] * _NEAR
            here = slice(int(low), int(high) + 1)
            own[number] = row[here] @ signal[here]
        white = self.white * (prior.noise_cl + prior.white_beyond(lmax))
        return replace(self, freedom=self.freedom * ((own + white) / self.expected(prior)) ** 2)


def _window(observed: NDArray[np.bool_]) -> Map:
    """Soften the edges as much as the mask allows."""
    if observed.all():
        return np.ones(observed.size)
    distance = distance_to_edge(observed, of_observed=True)
    pixel = math.sqrt(4 * math.pi / observed.size)
    least = _LEFT * float(np.mean(observed))
    window = observed.astype(np.float64)
    for width in np.unique(np.maximum(_EDGES, _EDGE_PIXELS * pixel))[::-1]:
        soft = window * rising(distance, float(width), "C1")
        if np.mean(soft**2) >= least:
            return soft
    return window


def _edges(nside: int, last: int) -> NDArray[np.int64]:
    """Divide the multipoles from 2 to the last one into bins."""
    turn = min(2 * nside, last)
    fine = np.geomspace(2, turn + 1, _BINS).astype(np.int64)
    wide = np.arange(turn + 1, last + 2, max(nside // _WIDE, 1))
    return np.unique(np.concatenate([fine, wide]))


def fit(
    values: NDArray[np.float64],
    observed: NDArray[np.bool_],
    *,
    cl: ArrayLike | None = None,
    fwhm: float | None = None,
    noise_uk_arcmin: float | None = None,
    pixel_window: bool | None = None,
    threads: int = 0,
) -> Prior:
    """Fit beam, noise and calibration to the observed part of a map.

    The pseudo-spectrum of the map in an apodised window is compared with what the model expects of
    it (`Pseudo`) by the likelihood of Γ-distributed bins (Hamimeche & Lewis 2008, eq. 8), between
    l = 2 and 3.5 nside (2500 at most).

    Parameters
    ----------
    values
        ``(npix,)``, µK, RING, without monopole and dipole. Unobserved pixels are not read; missing
        pixels (NaN) count as unobserved.
    observed
        ``(npix,)``, RING, True where observed.
    cl
        Spectrum of the sky, µK²; Planck-2018 ΛCDM if not given.
    fwhm, noise_uk_arcmin
        Fixed if given, fitted if None. If one of them is fitted, the calibration of the signal's
        power is fitted as well, within the few per cent to which maps are calibrated.
    pixel_window
        Whether to multiply the beam by the pixel window. If None, a given beam is multiplied, and
        for a fitted one both are tried and the better is kept, since not every map has a pixel
        window.
    threads
        Threads of the transforms.

    Returns
    -------
    The prior; ``fitted`` names the fitted numbers.

    Raises
    ------
    ValueError
        No pixel is observed.
    """
    values, observed = pair_of(values, observed, taker="prior.fit")
    nside = nside_of(values, "values")
    observed = observed & np.isfinite(values)
    known = Prior(  # which checks them
        nside,
        lcdm() if cl is None else np.asarray(cl, dtype=np.float64),
        fwhm=0.0 if fwhm is None else fwhm,
        noise_uk_arcmin=0.0 if noise_uk_arcmin is None else noise_uk_arcmin,
    )
    theory = known.cl
    if theory.size < 3 or not theory[2:].any():
        raise ValueError("C_l must have power at l = 2 and beyond, to fit anything")
    free = {"fwhm": fwhm is None, "noise_uk_arcmin": noise_uk_arcmin is None}
    free["calibration"] = any(free.values())
    names = tuple(name for name, is_free in free.items() if is_free)
    either = fwhm is None and pixel_window is None
    assumed = {
        "cl": cl is None,
        "pixel_window": pixel_window is None and not either,
        "calibration": not names,
    }
    start = Prior(
        nside,
        theory,
        known.fwhm,
        known.noise_uk_arcmin,
        pixel_window is not False,
        theory=LCDM if cl is None else Prior.theory,
        fitted=(*names, "pixel_window") if either else names,
        assumed=tuple(name for name, is_assumed in assumed.items() if is_assumed),
    )
    if not observed.any():
        raise ValueError("no pixel is observed: there is nothing to fit a prior to")
    if not names:
        return start
    lmax = min(int(MOST * nside), theory.size - 1)
    pseudo = Pseudo.of(values, observed, lmax, threads)
    windows = (True, False) if either else (start.pixel_window,)
    search = _Search(pseudo, start, names, windows, math.sqrt(4 * math.pi / values.size))
    found = search.best()
    pseudo = pseudo.trusting(found)
    search = replace(search, pseudo=pseudo)
    found = search.best()
    found = replace(found, quality=pseudo.quality(found, len(names)))
    if found.quality and found.quality.verdict != "good":
        freer = search.with_free_part(found)
        if freer.quality and freer.quality.pte > _BETTER * found.quality.pte:
            return freer
    return found


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
        found = self._descend()
        # A good fit reaches half of this; a descent may end in a local minimum.
        if found[0] > self.pseudo.data.size:
            others = [self._descend(**factors) for factors in _ELSEWHERE]
            found = min([found, *others], key=lambda each: each[0])
        return self._model(found[1], window=found[2])

    def _model(self, parameters: Map, *, window: bool) -> Prior:
        found = dict(zip(self.names, np.exp(parameters).tolist(), strict=True))
        return replace(self.start, pixel_window=window, **found)

    def _misfit(self, parameters: Map, window: bool) -> float:
        found = dict(zip(self.names, parameters, strict=True))
        if np.any(parameters < -30) or np.any(parameters > 12):
            return _IMPOSSIBLE
        if found.get("fwhm", 0.0) > math.log(math.pi):
            return _IMPOSSIBLE
        prior = self._model(parameters, window=window)
        known = 0.5 * (math.log(prior.calibration) / _CALIBRATION) ** 2
        return known + float(np.sum(self.pseudo.misfit(self.pseudo.expected(prior))))

    def _descend(self, **factors: float) -> tuple[float, Map, bool]:
        """Find the best parameters and window, starting from the guesses times factors."""
        # The power of the last bin limits the noise; the pixel size suggests the beam.
        ceiling = math.sqrt(self.pseudo.data[-1] / self.pseudo.white) / ARCMIN
        guesses = {
            "fwhm": math.log(2 * self.pixel),
            "noise_uk_arcmin": math.log(0.3 * ceiling),
            "calibration": 0.0,
        }
        steps = {"fwhm": -0.5, "noise_uk_arcmin": -1.0, "calibration": 0.1}
        first = np.array([guesses[n] + math.log(factors.get(n, 1.0)) for n in self.names])
        simplex = np.vstack([first, first + np.diag([steps[n] for n in self.names])])
        options = {"xatol": 1e-3, "fatol": 1e-2, "initial_simplex": simplex}
        fits = []
        for window in self.windows:
            fit = optimize.minimize(self._misfit, first, (window,), "Nelder-Mead", options=options)
            fits.append((float(fit.fun), fit.x, window))
        return min(fits, key=lambda each: each[0])

    def with_free_part(self, found: Prior) -> Prior:
        """Add power of a free form to a fitted prior: exp of a spline in l, all fitted jointly."""
        nside, lmax = found.nside, self.pseudo.response.shape[1] - 1
        last = min(3 * nside, lmax)
        knots = np.unique(np.append(np.arange(2, last, max(nside // _KNOTS, 4)), last))
        ell = np.arange(2, last + 1)
        spline = interpolate.make_interp_spline(knots, np.eye(knots.size))(ell)
        count = len(self.names)

        def extra(parameters: Map) -> Map:
            power = np.zeros(lmax + 1)
            power[2 : last + 1] = np.exp(np.clip(spline @ parameters[count:], -60, 60))
            return power

        def model(parameters: Map) -> Prior:
            whole = self._model(parameters[:count], window=found.pixel_window)
            return replace(whole, extra_cl=extra(parameters))

        def rest(parameters: Map) -> Map:
            prior = model(parameters)
            expected = self.pseudo.expected(prior)
            away = np.sign(self.pseudo.data - expected) * np.sqrt(2 * self.pseudo.misfit(expected))
            bend = np.diff(parameters[count:], 2) / _BEND
            return np.concatenate([away, bend, [math.log(prior.calibration) / _CALIBRATION]])

        total = found.signal_cl(lmax) + found.white_cl
        begin = np.concatenate(
            [
                np.log([getattr(found, name) for name in self.names]),
                np.log(_FAINT * np.maximum(total[knots], 1e-12 * total.max())),
            ]
        )
        low = np.concatenate([np.full(count, -30.0), np.full(knots.size, -60.0)])
        high = np.concatenate([np.full(count, 12.0), np.full(knots.size, 60.0)])
        begin = np.clip(begin, low + 1e-6, high - 1e-6)
        best = optimize.least_squares(rest, begin, bounds=(low, high), x_scale=1.0)
        prior = model(best.x)
        prior = replace(prior, fitted=(*found.fitted, "extra_cl"))
        return replace(prior, quality=self.pseudo.quality(prior, count + knots.size))
