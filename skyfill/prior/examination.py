"""Fit the prior of a map where needed, and examine how well it describes the observed sky."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from skyfill.brief import brief
from skyfill.healpix.arrays import pair_of
from skyfill.prior.dipole import Dipole
from skyfill.prior.fitting import assess
from skyfill.prior.given import Given, as_given
from skyfill.prior.model import Prior
from skyfill.prior.plausibility import Plausibility, judge
from skyfill.prior.pseudospectrum import Pseudo
from skyfill.prior.quality import Quality

__all__ = ["Examined", "examine"]


@dataclass(frozen=True, eq=False)
class Examined:
    """A prior, and how well it describes the observed sky.

    Attributes
    ----------
    prior
        The prior, with ``quality``.
    spectrum
        The binned spectrum of the observed sky.
    quality
        How well the prior describes that spectrum, and the pixels of small patches.
    check
        The comparison of variances that every fill begins with.
    """

    __repr__ = brief

    prior: Prior
    spectrum: Pseudo
    quality: Quality
    check: Plausibility


def examine(
    values: ArrayLike,
    observed: ArrayLike,
    prior: Prior | Given | None = None,
    *,
    threads: int = 0,
) -> Examined:
    """Fit the prior of a map where needed, and examine how well it describes the observed sky.

    Parameters
    ----------
    values
        ``(npix,)``, µK, RING, with any monopole and dipole. Unobserved pixels are not read.
    observed
        ``(npix,)``, RING, True where observed.
    prior
        A whole prior, a partly given one, or None to fit beam and noise.
    threads
        Threads of the transforms; 0 for all cores.

    Raises
    ------
    ValueError
        No pixel is observed, the observed sky is constant, or the prior has another Nside.

    Examples
    --------
    >>> import numpy as np, skyfill
    >>> sky = skyfill.simulate_sky(32, seed=1, fwhm=0.08, noise_uk_arcmin=500)
    >>> found = skyfill.prior.examine(sky, np.ones(sky.size, bool))
    >>> found.quality.verdict
    'good'

    """
    values, observed = pair_of(values, observed, taker="prior.examine")
    observed = observed & np.isfinite(values)
    if not observed.any():
        raise ValueError("no pixel is observed: there is nothing to fit a prior to")
    if np.ptp(values[observed]) == 0:
        raise ValueError("the observed sky is constant: there is nothing to fit a prior to")
    clean = np.where(observed, values, 0.0)
    dipole = Dipole(observed, threads=threads)
    clean -= np.where(observed, dipole.of(clean), 0.0)
    given = as_given(prior)
    known = given.complete(int(np.sqrt(clean.size // 12)))
    if known is None:
        known = given.fitted_to(clean, observed, threads=threads)
    else:  # how well it described another map is of no interest
        known = replace(known, quality=None)
    spectrum, quality = assess(clean, observed, known, threads=threads)
    known = replace(known, quality=quality)
    return Examined(known, spectrum, quality, judge(clean, observed, known))
