"""The standard deviation of realizations: exact where it is known, from samples elsewhere."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from skyfill.inpaint.inpainter import Inpainter

__all__ = ["Spread"]

Map = NDArray[np.float64]


class Spread:
    """Uncertainty of the fills of one map, accumulated without storing the realizations.

    Parameters
    ----------
    fitter
        The `Inpainter` of the map.

    Attributes
    ----------
    count
        Number of realizations so far.

    Examples
    --------
    >>> import skyfill
    >>> sky = skyfill.simulate_sky(16, seed=1, fwhm=0.1, noise_uk_arcmin=500)
    >>> prior = skyfill.Prior(16, skyfill.lcdm(), fwhm=0.1, noise_uk_arcmin=500)
    >>> observed = skyfill.simulate_mask(16, kind="band", seed=1, half_width=0.2)
    >>> fitter = skyfill.Inpainter(sky, observed, method="gaussian", prior=prior)
    >>> spread = skyfill.inpaint.Spread(fitter)
    >>> for index in range(4):
    ...     spread.add(fitter.realization(index))
    >>> spread.map().shape
    (3072,)
    """

    def __init__(self, fitter: Inpainter) -> None:
        self.count = 0
        self._fitter = fitter
        self._mean: Map | float = 0.0
        self._squares: Map | float = 0.0

    @cached_property
    def _exact(self) -> Map:
        return self._fitter.std()

    @property
    def known(self) -> bool:
        """Whether the standard deviation is known in every hole pixel without realizations."""
        return bool(np.all(np.isfinite(self._exact)))

    def add(self, fill: Map) -> None:
        """Add a realization, ``(nhole,)``, µK, to mean and variance (Welford 1962)."""
        self.count += 1
        away = fill - self._mean
        self._mean = self._mean + away / self.count
        self._squares = self._squares + away * (fill - self._mean)

    def std(self) -> Map:
        """Return the standard deviation in the holes, ``(nhole,)``, µK.

        Where it is not known exactly, it is estimated from the n realizations with the divisor
        n - 1; NaN for fewer than two.
        """
        drawn = np.asarray(np.nan)
        if self.count > 1:
            drawn = np.sqrt(np.asarray(self._squares) / (self.count - 1))
        return np.where(np.isfinite(self._exact), self._exact, drawn)

    def map(self) -> Map:
        """Return the standard deviation as a map.

        Returns
        -------
        ``(npix,)``, µK, RING: zero where observed, NaN where neither observed nor filled.
        """
        out = np.where(self._fitter.observed, 0.0, np.nan)
        out[self._fitter.holes] = self.std()
        return out
