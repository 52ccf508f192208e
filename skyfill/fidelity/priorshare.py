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
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.healpix.arrays import as_mask
from skyfill.healpix.checks import check_whole
from skyfill.healpix.stokes import nside_of
from skyfill.inpaint import Inpainter
from skyfill.prior import Prior, draw
from skyfill.spectra import FullSky, bin_edges, expectation
from skyfill.spectra.binning import Binning, averaged

__all__ = ["prior_share"]

#: Seed of the drawn sky and of its realizations.
_SEED = 0x5FA1


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

    nside = nside_of(observed, "observed")
    lmax = 2 * nside if lmax is None else check_whole(lmax, "lmax")
    edges = bin_edges(bins, lmax)
    estimator = FullSky(expectation(prior, nside, lmax), edges)
    powers = []
    last = filler.realization(0)
    for index in range(1, number):
        fill = filler.realization(index)
        apart = np.zeros(observed.size)
        apart[filler.holes] = (fill - last) / math.sqrt(2)
        powers.append(estimator.powers(apart))
        last = fill
    theory = averaged(prior.total_cl(lmax), edges)
    return np.asarray(np.clip(np.mean(powers, axis=0) / theory, 0.0, 1.0))
