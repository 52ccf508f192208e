"""The standard deviation of realizations: exact where it is known, from samples elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from skyfill.healpix.checks import check_whole
from skyfill.inpaint.inpainter import Inpainter
from skyfill.inpaint.polarized import PolarizedInpainter

__all__ = ["PolarizedSpread", "Spread", "relative_error"]

Map = NDArray[np.float64]


def relative_error(count: int) -> float:
    """Give the relative error of a standard deviation from so many realizations, in a pixel.

    It is 1 / √(2 (n - 1)), of Gaussian numbers.

    Parameters
    ----------
    count
        Number n of realizations.

    Raises
    ------
    ValueError
        There are fewer than two.

    Examples
    --------
    >>> from skyfill.inpaint import relative_error
    >>> round(relative_error(16), 3)
    0.183
    """
    return 1 / math.sqrt(2 * (check_whole(count, "count", least=2) - 1))


class _Moments:
    """Mean and variance of numbers that come one after the other (Welford 1962)."""

    def __init__(self) -> None:
        self.count = 0
        self._mean: Map | float = 0.0
        self._squares: Map | float = 0.0

    def add(self, numbers: Map) -> None:
        """Add numbers to mean and variance."""
        self.count += 1
        away = numbers - self._mean
        self._mean = self._mean + away / self.count
        self._squares = self._squares + away * (numbers - self._mean)

    def std(self) -> Map:
        """Return the standard deviation, with the divisor n - 1; NaN for fewer than two."""
        if self.count > 1:
            return np.sqrt(np.asarray(self._squares) / (self.count - 1))
        return np.asarray(np.nan)


class PolarizedSpread:
    """Uncertainty of the fills of one map of T, Q and U, from realizations that are not stored.

    Parameters
    ----------
    fitter
        The `PolarizedInpainter` of the map.
    """

    def __init__(self, fitter: PolarizedInpainter) -> None:
        self._fitter = fitter
        self._moments = [_Moments() for _ in fitter.holes]
        self._first: list[Map] = []
        self._apart: list[Map] | None = None

    @property
    def count(self) -> int:
        """Number of realizations so far."""
        return self._moments[0].count

    def add(self, fills: Sequence[Map]) -> None:
        """Add a realization: for each component ``(nhole,)``, µK."""
        if self.count == 0:
            self._first = [np.array(fill) for fill in fills]
        elif self._apart is None:
            pairs = zip(fills, self._first, strict=True)
            self._apart, self._first = [fill - first for fill, first in pairs], []
        for moments, fill in zip(self._moments, fills, strict=True):
            moments.add(fill)

    def maps(self) -> list[Map]:
        """Return the standard deviation of each component as a map.

        Returns
        -------
        For each component ``(npix,)``, µK, RING: zero where observed, NaN in holes for fewer than
        two realizations.
        """
        out = []
        for moments, hole in zip(self._moments, self._fitter.holes, strict=True):
            out.append(np.zeros(hole.size))
            out[-1][hole] = moments.std()
        return out

    def difference(self) -> list[Map] | None:
        """Return the second realization minus the first: what the observed sky does not decide.

        Returns
        -------
        For each component ``(npix,)``, µK, RING, zero where observed; None for fewer than two
        realizations.
        """
        if self._apart is None:
            return None
        out = [np.zeros(hole.size) for hole in self._fitter.holes]
        for values, apart, hole in zip(out, self._apart, self._fitter.holes, strict=True):
            values[hole] = apart
        return out


class Spread:
    """Uncertainty of the fills of one map, accumulated without storing the realizations.

    Parameters
    ----------
    fitter
        The `Inpainter` of the map.

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
        self._fitter = fitter
        self._moments = _Moments()

    @property
    def count(self) -> int:
        """Number of realizations so far."""
        return self._moments.count

    @cached_property
    def _exact(self) -> Map:
        return self._fitter.std()

    @property
    def known(self) -> bool:
        """Whether the standard deviation is known in every hole pixel without realizations."""
        return bool(np.all(np.isfinite(self._exact)))

    def add(self, fill: Map) -> None:
        """Add a realization, ``(nhole,)``, µK, to mean and variance (Welford 1962)."""
        self._moments.add(fill)

    def std(self) -> Map:
        """Return the standard deviation in the holes, ``(nhole,)``, µK.

        Where it is not known exactly, it is estimated from the n realizations with the divisor
        n - 1; NaN for fewer than two.
        """
        return np.where(np.isfinite(self._exact), self._exact, self._moments.std())

    def map(self) -> Map:
        """Return the standard deviation as a map.

        Returns
        -------
        ``(npix,)``, µK, RING: zero where observed, NaN where neither observed nor filled.
        """
        out = np.where(self._fitter.observed, 0.0, np.nan)
        out[self._fitter.holes] = self.std()
        return out
