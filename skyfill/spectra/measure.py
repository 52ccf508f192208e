"""Compare the power spectrum of skies with a theory, bin by bin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.healpix.arrays import as_skies
from skyfill.healpix.checks import check_whole
from skyfill.healpix.stokes import nside_of, one_component
from skyfill.holes.windows import window_of
from skyfill.prior import Prior
from skyfill.spectra.bandpowers import checked_ranges, range_test
from skyfill.spectra.binning import Binning, averaged, bin_edges
from skyfill.spectra.comparison import SpectrumComparison
from skyfill.spectra.debiasing import Response, debiased, refuse_another
from skyfill.spectra.estimators import CutSky, Estimator, FullSky
from skyfill.spectra.expectation import expectation

__all__ = ["checked_share", "compare"]

Map = NDArray[np.float64]


def compare(
    values: ArrayLike | Iterable[ArrayLike],
    theory: Prior | ArrayLike,
    *,
    lmax: int | None = None,
    bins: int | Binning | Sequence[int] | NDArray[np.int64] | None = None,
    observed: ArrayLike | None = None,
    apodize: float = 0.0,
    apodization: Literal["C1", "C2"] = "C2",
    ranges: Iterable[Sequence[int]] | None = None,
    prior_share: ArrayLike | None = None,
    response: Response | None = None,
    settings: Mapping[str, str | float] | None = None,
    threads: int = 0,
) -> SpectrumComparison:
    """Measure the spectrum of one or several whole skies and compare it with a theory.

    `FullSky` measures the whole sky. With a mask, `CutSky` also measures the observed part.
    `docs/spectra.md` says when to use which.

    Parameters
    ----------
    values
        ``(npix,)``, µK, RING: a whole sky. Or several realizations, which are averaged:
        ``(n, npix)``, or an iterable of ``(npix,)``, of which one is held at a time.
    theory
        A prior; or ``(>= lmax + 1,)`` C_ell in µK² from ell = 0, with beam, pixel window and noise.
        From C_ell, beam and noise cannot be corrected for in D_ell. With a mask, give C_ell to
        3 nside - 1, since the mask brings in power from beyond lmax.
    lmax
        Largest ell; 2 nside if None. Beyond, equal pixel weights lose accuracy.
    bins
        Width of all bins; or ``default``, ``linear`` (30 wide), ``log`` or ``planck``; or the first
        ell of each bin and one past the last. See `bin_edges`.
    observed
        ``(npix,)``, RING: True or 1 where observed; or weights of 0 or more, such as an apodised
        mask, of which a common factor does not matter.
    apodize, apodization
        Width (radians) and kind of the soft edge of a mask of 0 and 1, see `apodized`.
    ranges
        Lowest and highest ell of each χ²; 2 to 29, 30 to lmax and all if None.
    prior_share
        ``(nbin,)``: share of the power of each bin of the filled sky that follows from the prior,
        see `skyfill.fidelity.prior_share`. If not given, and if the skies are realizations of one
        map, with the same values where observed, it is measured from their differences.
    response
        Response of the fill of one sky, in these bins, from `response_of`; the result then has
        its debiased bins, see `debias`.
    settings
        Further information to keep in the result.
    threads
        Threads of the transforms of the masked sky; 0 for all cores.

    Returns
    -------
        Bins of the whole sky and, with a mask, of the observed part, with χ² tests.

    Raises
    ------
    ValueError
        Pixels are missing; lmax is beyond 3 nside - 1 or beyond the theory; the theory is not
        positive and finite from ell = 2; bins or ranges are out of order or outside 2 ... lmax; the
        mask has another Nside, leaves nothing, or too little for these bins; or weights are
        negative or apodised again; or ``prior_share`` has another number of bins; or ``response``
        is of other bins, another Nside or another theory, or given for several skies.

    Examples
    --------
    >>> import skyfill
    >>> prior = skyfill.Prior(32, skyfill.lcdm(), fwhm=0.05, noise_uk_arcmin=100.0)
    >>> sky = skyfill.prior.draw(prior, seed=1, index=0)
    >>> observed = skyfill.simulate_mask(32, seed=1, n_holes=10)
    >>> found = skyfill.spectra.compare(sky, prior, observed=observed)
    >>> found.lmax, found.full.cl.shape == found.cut.cl.shape
    (64, True)
    >>> [test.ell_min for test in found.cut_tests]
    [2, 33, 2]

    """
    skies = as_skies(values, taker="spectra.compare")
    first = next(skies, None)
    if first is None:
        raise ValueError("the spectrum needs a sky, none was given")
    nside = nside_of(first, "values")
    lmax = 2 * nside if lmax is None else check_whole(lmax, "lmax")
    if not 2 <= lmax < 3 * nside:
        raise ValueError(f"lmax must be from 2 to 3 Nside - 1 = {3 * nside - 1}, got {lmax}")
    expected = expectation(theory, nside, lmax, threads=threads)
    edges = bin_edges(bins, lmax)
    ell = averaged(np.arange(lmax + 1), edges)
    wanted = checked_ranges(ranges, ell, lmax)
    if response is not None:
        of_response = response.expected
        refuse_another(
            (response.edges, edges),
            (response.nside, nside),
            (
                (of_response.signal_cl, np.array(of_response.white_cl)),
                (expected.signal_cl, np.array(expected.white_cl)),
            ),
        )
    estimators: list[Estimator] = [FullSky(expected, edges)]
    about = dict(settings or {})
    if observed is not None:
        observed = one_component(np.asanyarray(observed), "observed", "spectra.compare")
        theirs = nside_of(observed, "observed")
        if theirs != nside:
            raise ValueError(f"the sky has Nside {nside}, the mask has Nside {theirs}; give a pair")
        window, weighted = window_of(observed, apodize, apodization)
        edge = f"{apodization}, {np.degrees(apodize):g} deg" if apodize else "none"
        behind = CutSky(window, expected, edges, threads=threads)
        estimators.append(behind)
        about |= {
            "coupling": behind.library,
            "mask_mean": float(window.mean()),
            "apodization": "as given: the mask holds weights" if weighted else edge,
        }

    shared = _Shared(first, observed if prior_share is None else None)
    measured: list[list[NDArray[np.float64]]] = [[] for _ in estimators]
    sky: Map | None = first
    while sky is not None:
        _check_whole(sky, nside)
        for estimator, found in zip(estimators, measured, strict=True):
            found.append(estimator.powers(sky))
        shared.add(sky)
        sky = next(skies, None)

    if response is not None and len(measured[0]) > 1:
        raise ValueError(
            f"a response is of one filled sky, got {len(measured[0])}; debias each (`debias`)"
        )
    bands = [e.band_powers(found) for e, found in zip(estimators, measured, strict=True)]
    if prior_share is None:
        known = shared.share(estimators[0], measured[0], bands[0].theory)
    else:
        known = checked_share(prior_share, edges.size - 1)
    bands[0] = replace(bands[0], prior_share=known)
    tests = [tuple(range_test(band, pair, ell, edges) for pair in wanted) for band in bands]
    every = np.arange(lmax + 1)
    return SpectrumComparison(
        ell_min=edges[:-1],
        ell_max=edges[1:] - 1,
        ell=ell,
        full=bands[0],
        cut=bands[1] if observed is not None else None,
        full_tests=tests[0],
        cut_tests=tests[1] if observed is not None else (),
        theory_cl=expected.total_cl,
        theory_dl=every * (every + 1) / (2 * np.pi) * expected.sky_cl,
        lmax=lmax,
        nside=nside,
        realizations=len(measured[0]),
        settings=about,
        debiased=None if response is None else debiased(measured[0][0], response),
    )


class _Shared:
    """Realizations of one map: what they share is observed, and what differs is the prior's."""

    def __init__(self, first: Map, observed: NDArray[np.generic] | None) -> None:
        self._seen = None if observed is None else np.asarray(observed) > 0
        self._known = first[self._seen] if self._seen is not None else first[:0]
        self._total = np.zeros_like(first, dtype=np.float64)
        self._number = 0

    def add(self, sky: Map) -> None:
        """Add a sky to the sum, unless it has other values where observed."""
        if self._seen is None:
            return
        if not np.array_equal(sky[self._seen], self._known):
            self._seen = None
            return
        self._total += sky
        self._number += 1

    def share(
        self, estimator: Estimator, measured: list[NDArray[np.float64]], theory: NDArray[np.float64]
    ) -> NDArray[np.float64] | None:
        """Give the power of the differences over the theory's; None for other skies.

        The mean square of the distances of n skies from their mean is the mean of their powers
        minus the power of their mean; n / (n - 1) times that is without bias.
        """
        n = self._number
        if self._seen is None or n < 2 or bool(np.all(self._seen)):
            return None
        apart = np.mean(measured, axis=0) - estimator.powers(self._total / n)
        return np.asarray(np.clip(n / (n - 1) * apart / theory, 0.0, 1.0))


def checked_share(
    prior_share: ArrayLike, bins: int, what: str = "prior_share"
) -> NDArray[np.float64]:
    """Check the shares that a caller gives."""
    share = np.asarray(prior_share, dtype=np.float64)
    if share.shape != (bins,) or not np.all((share >= 0) & (share <= 1)):
        raise ValueError(
            f"{what} must be a number from 0 to 1 for each of {bins} bins, got an array of "
            f"shape {share.shape}"
        )
    return share


def _check_whole(sky: Map, nside: int) -> None:
    """Refuse a sky of another Nside, or with missing pixels."""
    theirs = nside_of(sky, "values")
    if theirs != nside:
        raise ValueError(f"realizations must have one Nside, got {nside} and {theirs}")
    missing = int(sky.size - np.count_nonzero(np.isfinite(sky)))
    if missing:
        raise ValueError(
            f"the spectrum needs a whole sky, {missing} pixels are missing; fill them first "
            "(skyfill inpaint)"
        )
