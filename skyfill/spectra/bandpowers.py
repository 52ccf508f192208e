"""Binned spectrum with its theory and errors, and χ² tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from skyfill.brief import brief

__all__ = ["BandPowers", "RangeTest"]

Bins = NDArray[np.float64]
COUNTED = (
    "chi2 of the cut sky tests the theory; that of a filled sky counts the prior's part as data"
)
"""What the chi2 of the cut sky and of a filled sky are."""
LOW = 30
"""The ell at which Planck's low-ell and high-ell likelihoods meet."""


@dataclass(frozen=True)
class RangeTest:
    """χ² of the bins of a range of ell.

    Attributes
    ----------
    low, high
        The requested range, both ends inclusive.
    ell_min, ell_max
        First and last ell of the bins used: those with their mean ell in the range, below high + 1.
    bins
        Number of bins, equal to the degrees of freedom.
    chi2
        Residual · covariance⁻¹ · residual.
    pte
        Probability to exceed it.
    """

    __repr__ = brief

    low: int
    high: int
    ell_min: int
    ell_max: int
    bins: int
    chi2: float
    pte: float


@dataclass(frozen=True, eq=False)
class BandPowers:
    """Binned C_ell of a sky and its theory; arrays are ``(nbin,)`` unless stated otherwise.

    Attributes
    ----------
    cl
        Estimate, the mean over realizations, µK².
    theory
        The theory, as the estimator would measure it, µK².
    noise
        The noise included in `theory`, µK².
    covariance
        ``(nbin, nbin)`` of `cl` over skies drawn from the theory, µK⁴.
    sigma_signal
        Cosmic variance: the standard deviation of `cl` over skies without noise, µK².
    modes
        Effective number of modes.
    dl_per_cl
        Ratio of the theory's D_ell of the sky to its C_ell in the map, in the bin; NaN if the beam
        leaves no signal.
    scatter
        Standard deviation of one realization about the mean, µK²; None for a single one.
    windows
        ``(nbin, any)``: response of each bin to the spectrum of the signal at each ell, from
        ell = 0. Of a filled sky: the average over the bin, as if its holes were observed.
    prior_share
        Of a filled sky: the share of the bin's power that follows from the prior and not from the
        observed pixels; None if it is unknown, or if nothing follows from the prior.
    """

    __repr__ = brief

    cl: Bins
    theory: Bins
    noise: Bins
    covariance: NDArray[np.float64]
    sigma_signal: Bins
    modes: Bins
    dl_per_cl: Bins
    scatter: Bins | None
    windows: NDArray[np.float64] | None = None
    prior_share: Bins | None = None

    @property
    def sigma(self) -> Bins:
        """Standard deviation of `cl` over skies drawn from the theory, µK²."""
        return np.sqrt(np.diagonal(self.covariance))

    @property
    def error(self) -> Bins:
        """Error of the measurement, µK².

        A filled sky whose truth has a fraction more power than the prior has only 1 - `prior_share`
        of this fraction more. So the error is `sigma` over that. It is `sigma` where nothing
        follows from the prior, and infinite where all does.
        """
        if self.prior_share is None:
            return self.sigma
        own = np.maximum(1 - self.prior_share, 0.0)
        return np.where(own > 0, self.sigma / np.where(own > 0, own, 1.0), np.inf)

    @property
    def sigma_noise(self) -> Bins:
        """Share of the noise: sigma² = sigma_signal² + sigma_noise², µK²."""
        return np.sqrt(np.maximum(self.sigma**2 - self.sigma_signal**2, 0.0))

    @property
    def ratio(self) -> Bins:
        """Sky over theory."""
        return self.cl / self.theory

    @property
    def residual(self) -> Bins:
        """Sky minus theory in units of `sigma`."""
        return (self.cl - self.theory) / self.sigma

    @property
    def dl(self) -> Bins:
        """D_ell of the sky: noise subtracted, divided by beam² and window², µK²."""
        return (self.cl - self.noise) * self.dl_per_cl

    @property
    def dl_theory(self) -> Bins:
        """The theory's D_ell, binned, µK²."""
        return (self.theory - self.noise) * self.dl_per_cl

    @property
    def dl_sigma(self) -> Bins:
        """Standard deviation of `dl` over skies drawn from the theory, µK²."""
        return self.sigma * self.dl_per_cl

    @property
    def dl_error(self) -> Bins:
        """Error of `dl` as a measurement, from `error`, µK²."""
        return self.error * self.dl_per_cl

    def columns(self) -> dict[str, Bins]:
        """Give all quantities with one number a bin, by their names in tables."""
        names = ("modes", "cl", "theory", "noise", "sigma", "sigma_signal", "sigma_noise")
        named = {name: np.asarray(getattr(self, name)) for name in names}
        if self.scatter is not None:
            named["scatter"] = self.scatter
        more = ["ratio", "residual", "dl", "dl_theory", "dl_sigma"]
        if self.prior_share is not None:
            more += ["prior_share", "error", "dl_error"]
        return named | {name: np.asarray(getattr(self, name)) for name in more}

    def test(self, chosen: NDArray[np.bool_]) -> tuple[float, float]:
        """Give χ² and its probability to exceed for some bins, with their covariance."""
        off = (self.cl - self.theory)[chosen]
        chi2 = float(off @ np.linalg.solve(self.covariance[np.ix_(chosen, chosen)], off))
        return chi2, float(stats.chi2.sf(chi2, off.size))


def default_ranges(ell: Bins, lmax: int) -> list[tuple[int, int]]:
    """Give the ranges 2 to 29, 30 to lmax and all, if they contain bins and differ."""
    parts = [(2, min(LOW - 1, lmax)), (LOW, lmax)]
    parts = [pair for pair in parts if np.any(within(ell, *pair))]
    return [*parts, (2, lmax)] if len(parts) > 1 else parts


def within(ell: Bins, low: int, high: int) -> NDArray[np.bool_]:
    """Tell which mean ells are from low to below high + 1, so that adjacent ranges share no bin."""
    return np.asarray((ell >= low) & (ell < high + 1))


def checked_ranges(
    ranges: Iterable[Sequence[int]] | None, ell: Bins, lmax: int
) -> list[tuple[int, int]]:
    """Refuse ranges without bins; use the defaults if none are given."""
    if ranges is None:
        return default_ranges(ell, lmax)
    wanted = []
    for low, high in ranges:
        if not 2 <= low <= high <= lmax:
            raise ValueError(f"a range must rise within 2 ... lmax = {lmax}, got {low} to {high}")
        if not np.any(within(ell, low, high)):
            raise ValueError(
                f"the range {low} to {high} holds the mean ell of no bin; widen it, or make the "
                "bins narrower"
            )
        wanted.append((int(low), int(high)))
    return wanted


def range_test(
    band: BandPowers, pair: tuple[int, int], ell: NDArray[np.float64], edges: NDArray[np.int64]
) -> RangeTest:
    """Test the bins whose mean ell is in a range."""
    low, high = pair
    chosen = within(ell, low, high)
    inside = np.flatnonzero(chosen)
    chi2, pte = band.test(chosen)
    return RangeTest(
        low=low,
        high=high,
        ell_min=int(edges[inside[0]]),
        ell_max=int(edges[inside[-1] + 1]) - 1,
        bins=inside.size,
        chi2=chi2,
        pte=pte,
    )
