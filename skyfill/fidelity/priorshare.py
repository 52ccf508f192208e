"""Measure how much of a filled sky's spectrum follows from the prior.

A realization is the posterior mean plus a random sky of the posterior's covariance, zero where
observed. For a right prior the two are independent, so their powers add up to the prior's, and the
second is the part that no observed pixel decides. The covariance of the posterior does not depend
on the data. So it is measured on a sky that is drawn from the prior, from the difference of two
realizations, whose power is twice that part.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.healpix.arrays import as_map, as_mask
from skyfill.healpix.checks import check_whole
from skyfill.healpix.stokes import nside_of
from skyfill.holes.windows import window_of
from skyfill.inpaint import Inpainter
from skyfill.prior import Prior, draw
from skyfill.spectra import FullSky, bin_edges, expectation
from skyfill.spectra.binning import Binning, averaged
from skyfill.spectra.estimators import PseudoSky

__all__ = ["Differences", "prior_share"]

#: Seed of the drawn sky and of its realizations.
_SEED = 0x5FA1


class Differences:
    """Differences of realizations of one map: what the observed pixels do not decide.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, True where observed.
    prior
        Prior of the fill; None if no share is asked for.
    lmax, bins
        As for `skyfill.spectra.compare`.
    most
        Number of differences whose spectra are measured; all if None.
    patch
        ``(npix,)``, RING, True where observed or filled, if that is a part of the sky. The share is
        then that of its pseudo-spectrum: of the patch times a mask of 0 and 1, or weights.
    threads
        Threads of the transforms of a patch; 0 for all cores.

    Attributes
    ----------
    first
        ``(npix,)``, RING: the second realization minus the first, zero where observed, NaN where
        neither observed nor filled; None before there are two.
    edges
        ``(nbin + 1,)``: the first ell of each bin, then one past the last; None without a prior.

    Raises
    ------
    ValueError
        As for `skyfill.spectra.compare`.

    Examples
    --------
    >>> import skyfill
    >>> prior = skyfill.Prior(16, skyfill.lcdm(), fwhm=0.1, noise_uk_arcmin=300.0)
    >>> observed = skyfill.simulate_mask(16, kind="band", seed=1, half_width=0.2)
    >>> sky = skyfill.prior.draw(prior, seed=1)
    >>> fitter = skyfill.Inpainter(sky, observed, method="gaussian", prior=prior)
    >>> apart = skyfill.fidelity.Differences(observed, prior)
    >>> for index in range(3):
    ...     apart.add(fitter.whole(fitter.realization(index)))
    >>> apart.first[observed].any(), apart.share.min() >= 0
    (np.False_, np.True_)
    """

    def __init__(
        self,
        observed: ArrayLike,
        prior: Prior | None,
        *,
        lmax: int | None = None,
        bins: int | Binning | Sequence[int] | NDArray[np.int64] | None = None,
        most: int | None = None,
        patch: ArrayLike | None = None,
        threads: int = 0,
    ) -> None:
        self._observed = as_mask(observed, taker="fidelity.Differences")
        self._most = most
        self._measure: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None
        self._there = np.ones(self._observed.size, dtype=bool)
        self.edges: NDArray[np.int64] | None = None
        if prior is not None:
            nside = nside_of(self._observed, "observed")
            lmax = 2 * nside if lmax is None else check_whole(lmax, "lmax")
            self.edges = bin_edges(bins, lmax)
            expected = expectation(prior, nside, lmax, threads=threads)
            if patch is None:
                theory = averaged(prior.total_cl(lmax), self.edges)
                whole = FullSky(expected, self.edges)
                self._measure = lambda apart: whole.powers(apart) / theory
            else:
                window = window_of(patch)[0]
                self._there = window > 0
                self._measure = PseudoSky(window, expected, self.edges, threads=threads).share
        self._last: NDArray[np.float64] | None = None
        self._shares: list[NDArray[np.float64]] = []
        self.first: NDArray[np.float64] | None = None

    def add(self, sky: ArrayLike) -> None:
        """Add a realization, ``(npix,)``, µK, RING, NaN where neither observed nor filled."""
        values = as_map(sky, "sky", taker="fidelity.Differences")
        if values.shape != self._observed.shape:
            raise ValueError("the sky must have the Nside of the mask")
        last, self._last = self._last, values
        wanted = self._measure is not None and len(self._shares) != self._most
        if last is None or not (wanted or self.first is None):
            return
        apart = np.where(self._observed, 0.0, values - last)
        if self.first is None:
            self.first = apart
        known = np.all(np.isfinite(apart[self._there]))
        if self._measure is not None and wanted and known:
            self._shares.append(self._measure(np.where(self._there, apart, 0.0) / math.sqrt(2)))

    @property
    def share(self) -> NDArray[np.float64] | None:
        """``(nbin,)``, 0 to 1: the share of each bin that follows from the prior (`prior_share`).

        A posterior mean lacks it. None before there are two realizations, without a prior, and for
        a part of the sky whose ``patch`` was not given.
        """
        if not self._shares:
            return None
        return np.asarray(np.clip(np.mean(self._shares, axis=0), 0.0, 1.0))


def prior_share(
    prior: Prior,
    observed: ArrayLike,
    *,
    lmax: int | None = None,
    bins: int | Binning | Sequence[int] | NDArray[np.int64] | None = None,
    realizations: int = 2,
    threads: int = 0,
    **options: Any,  # noqa: ANN401 (see Inpainter for their types)
) -> NDArray[np.float64]:
    """Give the share of the power of each bin that follows from the prior, in a filled sky.

    If the truth has a fraction more power than the prior, a filled sky has 1 - share times this
    fraction more.

    Parameters
    ----------
    prior
        Prior of the fill.
    observed
        ``(npix,)``, RING, True where observed; all other pixels are filled.
    lmax, bins
        As for `skyfill.spectra.compare`.
    realizations
        Number of fills, 2 or more. With n of them, the share of a bin of ν modes has a relative
        error of about √(2 / (ν (n - 1))), over the square root of the share.
    threads
        Threads of the transforms.
    options
        Other arguments of `skyfill.Inpainter`: ``method``, ``noise_rms``, ``dipole``, ...

    Returns
    -------
    ``(nbin,)``, from 0, where all is observed, to 1.

    Raises
    ------
    ValueError
        As for `skyfill.Inpainter` and `skyfill.spectra.compare`; or there are fewer than two
        realizations, or nothing to fill.

    Examples
    --------
    >>> import skyfill
    >>> prior = skyfill.Prior(16, skyfill.lcdm(), fwhm=0.1, noise_uk_arcmin=300.0)
    >>> observed = skyfill.simulate_mask(16, kind="band", seed=1, half_width=0.2)
    >>> share = skyfill.fidelity.prior_share(prior, observed, bins=[2, 9, 33], method="gaussian")
    >>> bool(share[0] < share[1] < 1 - observed.mean() + 0.1)
    True
    """
    observed = as_mask(observed, taker="fidelity.prior_share")
    number = check_whole(realizations, "realizations", least=2)
    noise_rms = options.get("noise_rms")
    sky = draw(prior, seed=_SEED, aliased=noise_rms is None, threads=threads)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*of the sky is filled")  # the share says it better
        filler = Inpainter(
            np.where(observed, sky, np.nan),
            observed,
            prior=prior,
            holes="all",
            trust_prior=True,
            seed=_SEED,
            threads=threads,
            **options,
        )

    found = Differences(observed, prior, lmax=lmax, bins=bins)
    for index in range(number):
        found.add(filler.whole(filler.realization(index)))
    return cast("NDArray[np.float64]", found.share)  # there are two or more
