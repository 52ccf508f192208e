"""Fit the noise and the calibration of Q and U to the observed part of a map.

As for T (`skyfill.prior.fitting`), the map is multiplied by an apodised window and its
pseudo-spectra taken by plain sums over pixels, whose expectation is known exactly: the window mixes
EE + BB within itself and EE - BB within itself (`harmonics.coupling_pol`), and white noise adds the
mean of w² times its spectrum to each of EE and BB. The fit is to EE + BB. BB alone is never fitted:
it is the prior's, and what is found of it says how well the prior describes the sky.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from skyfill import harmonics
from skyfill.brief import brief
from skyfill.healpix.arrays import as_map, as_mask
from skyfill.healpix.stokes import nside_of
from skyfill.prior.model import ARCMIN, MOST
from skyfill.prior.polarized import PolarizedPrior
from skyfill.prior.pseudospectrum import Windowed
from skyfill.prior.quality import Quality

__all__ = ["PolarPseudo", "assess_polarization", "fit_polarization"]

Map = NDArray[np.float64]

#: Prior uncertainty of the calibration of the power of P: that of T's, and polarization efficiency.
_CALIBRATION = 0.03
#: Degrees of freedom, of all bins together, that a fit needs: its noise is then known to 3%.
_ENOUGH = 500
#: Smallest power of the noise that is tried, in units of all the power of the last bins.
_LEAST = 1e-8
#: Largest power of the noise that is tried, in the same units.
_MOST = 4.0
#: Starting points of the descent, in the same units.
_STARTS = (0.9, 0.1, 1e-3)
#: The calibrations that are tried, logarithm of the power.
_WIDEST = 0.5


@dataclass(frozen=True)
class PolarPseudo:
    """The binned pseudo-spectra EE and BB of windowed Q and U, and what a prior expects of them.

    Attributes
    ----------
    windowed
        The window, and its bins.
    data
        ``(2, nbin)``, µK²: mean of Σ_m |ã_lm|² / (2l + 1) over a bin, of E and of B.
    plus, minus
        ``(nbin, lmax + 1)``: responses to EE + BB and to EE - BB, see `harmonics.coupling_pol`.
    """

    __repr__ = brief

    windowed: Windowed
    data: Map
    plus: Map
    minus: Map

    @classmethod
    def of(
        cls, values: Map, observed: NDArray[np.bool_], lmax: int, *, threads: int = 0
    ) -> PolarPseudo:
        """Measure Q and U, ``(2, npix)``, with the largest multipole of their signal."""
        nside = nside_of(observed, "the mask of Q and U")
        windowed = Windowed.of(observed, nside, lmax, threads)
        window = windowed.window
        clean = np.where(window > 0, values, 0.0) * window

        def part(rows: slice) -> Map:
            return np.asarray(clean[:, rows])

        alm = harmonics.adjoint_of(part, nside, lmax=windowed.last, spin=2, threads=threads)
        data = np.array([windowed.binned(each) for each in alm])
        plus, minus = harmonics.coupling_pol(windowed.cl, windowed.edges, lmax=windowed.lmax)
        return cls(windowed, data, plus, minus)

    @property
    def modes(self) -> Map:
        """``(nbin,)``: degrees of freedom of EE, and of BB."""
        return self.windowed.modes * self.windowed.share

    def expected(self, prior: PolarizedPrior) -> Map:
        """Give what a prior expects of EE and of BB, ``(2, nbin)``, µK²."""
        signal, _, beyond = self._signal(prior)
        return signal + self.windowed.white * (prior.noise_pol_cl + beyond)

    def _signal(self, prior: PolarizedPrior) -> tuple[Map, Map, float]:
        """Give the signal's part of EE and BB, ``(2, nbin)``, that which is a bin's own, and white.

        The white part is the spectrum of the signal beyond ``lmax``.
        """
        size = self.plus.shape[1]
        ee, bb = (np.pad(cl[:size], (0, max(size - cl.size, 0))) for cl in prior.map_cl)
        total, apart = self.plus @ (ee + bb), self.minus @ (ee - bb)
        own = np.empty_like(self.data)
        for at, (plus, minus) in enumerate(zip(self.plus, self.minus, strict=True)):
            here = self.windowed.near(at)
            both = (plus[here] + minus[here]) / 2
            own[:, at] = both @ ee[here], both @ bb[here]
        signal = np.array([(total + apart) / 2, (total - apart) / 2])
        return signal, own, prior.white_beyond_pol(size - 1)

    def freedom(self, prior: PolarizedPrior) -> Map:
        """Give the degrees of freedom of EE and of BB, ``(2, nbin)``: those of a bin's own power.

        Power that came from afar, or from E to B, is shared by many bins.
        """
        signal, own, beyond = self._signal(prior)
        white = self.windowed.white * (prior.noise_pol_cl + beyond)
        return np.asarray(self.modes * ((own + white) / (signal + white)) ** 2)

    def quality(self, prior: PolarizedPrior) -> dict[str, Quality]:
        """Say how well a prior describes the bins, for EE and BB."""
        expected, freedom = self.expected(prior), self.freedom(prior)
        fitted = int(bool(prior.fitted_pol))  # two parameters, of two spectra
        known = float(freedom.sum() / (2 * self.modes.sum()))
        return {
            name: replace(
                Quality.of(data, mean, count, self.windowed.edges, fitted), known=max(known, 0.5)
            )
            for name, data, mean, count in zip(
                ("EE", "BB"), self.data, expected, freedom, strict=True
            )
        }

    def as_dict(self, prior: PolarizedPrior) -> dict[str, list[float] | list[int]]:
        """Give the bins in types that JSON has: ranges, power and expected power, µK²."""
        expected = self.expected(prior) / self.windowed.white
        out: dict[str, list[float] | list[int]] = {
            "ell_min": self.windowed.edges[:-1].tolist(),
            "ell_max": (self.windowed.edges[1:] - 1).tolist(),
        }
        for name, data, mean in zip(
            ("ee", "bb"), self.data / self.windowed.white, expected, strict=True
        ):
            out |= {name: data.tolist(), f"{name}_expected": mean.tolist()}
        return out

    @property
    def enough(self) -> bool:
        """Whether the bins hold enough modes to fit the noise."""
        return bool(2 * self.modes.sum() >= _ENOUGH)

    def fit(self, prior: PolarizedPrior) -> PolarizedPrior:
        """Fit noise and calibration of Q and U to EE + BB.

        The likelihood of EE + BB of a bin is that of a Γ-distributed number with the degrees of
        freedom that the variances of EE and BB leave it.
        """
        data = self.data.sum(axis=0)
        signal, own, beyond = self._signal(prior)
        # The noise that gives all the power of the last bins.
        most = float(np.max(self.data[:, -3:])) / self.windowed.white

        def white_of(parameters: Map) -> float:
            noise, power = np.exp(parameters).tolist()
            return float(self.windowed.white * (most * noise + power * beyond))

        def freedom_of(parameters: Map) -> Map:
            """Freedom of EE + BB, which a descent must not change: without any, all would fit."""
            white, power = white_of(parameters), math.exp(parameters[1])
            parts = power * signal + white
            freedom = self.modes * ((power * own + white) / parts) ** 2
            return np.asarray(parts.sum(axis=0) ** 2 / np.sum(parts**2 / freedom, axis=0))

        def cost(parameters: Map, freedom: Map) -> float:
            parts = math.exp(parameters[1]) * signal + white_of(parameters)
            ratio = data / parts.sum(axis=0)
            known = 0.5 * (float(parameters[1]) / _CALIBRATION) ** 2
            return known + float(np.sum(0.5 * freedom * (ratio - 1 - np.log(ratio))))

        def descend(start: Map, freedom: Map) -> Map:
            bounds = [(math.log(_LEAST), math.log(_MOST)), (-_WIDEST, _WIDEST)]
            options = {"xatol": 1e-4, "fatol": 1e-3}
            found = optimize.minimize(
                cost, start, (freedom,), "Nelder-Mead", bounds=bounds, options=options
            )
            return np.asarray(found.x)

        starts = [np.array([math.log(noise), 0.0]) for noise in _STARTS]
        found = [descend(start, 2 * self.modes) for start in starts]
        best = min(found, key=lambda each: cost(each, 2 * self.modes))
        best = descend(best, freedom_of(best))
        white, power = np.exp(best).tolist()
        return replace(
            prior,
            noise_pol_uk_arcmin=math.sqrt(most * white) / ARCMIN,
            calibration_pol=prior.calibration_of_pol * power,
            fitted_pol=("noise_pol_uk_arcmin", "calibration_pol"),
        )


def fit_polarization(
    values: ArrayLike, observed: ArrayLike, prior: PolarizedPrior, *, threads: int = 0
) -> PolarizedPrior | None:
    """Fit the noise and the calibration of Q and U to their observed EE + BB.

    Beam, pixel window and spectra are those of the prior. The calibration is that of T within 3% of
    the power.

    Parameters
    ----------
    values
        ``(2, npix)``, Q and U, µK, RING. Unobserved pixels are not read.
    observed
        ``(npix,)``, RING, True where Q and U are observed.
    prior
        The prior, whose noise and calibration of Q and U are replaced.
    threads
        Threads of the transforms; 0 for all cores.

    Returns
    -------
    The prior, with `PolarizedPrior.quality_pol`; None if the observed sky has too few modes.

    Raises
    ------
    ValueError
        Map, mask and prior do not have one Nside.
    """
    pseudo = _measured(values, observed, prior, threads)
    if not pseudo.enough:
        return None
    found = pseudo.fit(prior)
    return replace(found, quality_pol=pseudo.quality(found))


def assess_polarization(
    values: ArrayLike, observed: ArrayLike, prior: PolarizedPrior, *, threads: int = 0
) -> tuple[PolarPseudo, dict[str, Quality]]:
    """Compare EE and BB of the observed sky with a prior; arguments as for `fit_polarization`.

    Returns
    -------
    The binned pseudo-spectra, and how well the prior describes EE and BB.

    Raises
    ------
    ValueError
        Map, mask and prior do not have one Nside.
    """
    pseudo = _measured(values, observed, prior, threads)
    return pseudo, pseudo.quality(prior)


def _measured(
    values: ArrayLike, observed: ArrayLike, prior: PolarizedPrior, threads: int
) -> PolarPseudo:
    """Check map and mask, and take their pseudo-spectra."""
    skies = np.asarray(values, dtype=np.float64)
    if skies.ndim != 2 or len(skies) != 2:
        raise ValueError(f"values must be Q and U, (2, npix), got {skies.shape}")
    skies = np.array([as_map(sky, taker="fit_polarization") for sky in skies])
    seen = as_mask(observed, taker="fit_polarization")
    nside = prior.temperature.nside
    if seen.size != skies.shape[1] or nside_of(seen, "observed") != nside:
        raise ValueError(f"map and mask must have the Nside of the prior, {nside}")
    seen = seen & np.isfinite(skies).all(axis=0)
    if not seen.any():
        raise ValueError("no pixel is observed: there is nothing to fit a prior to")
    lmax = min(int(MOST * nside), max(prior.ee.size, prior.bb.size) - 1)
    return PolarPseudo.of(skies, seen, lmax, threads=threads)
