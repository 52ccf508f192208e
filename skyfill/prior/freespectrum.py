"""A smooth positive spectrum of free form, to be fitted to a map."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import interpolate

from skyfill.prior.model import ARCMIN, Prior

__all__ = ["FreeSpectrum", "without_floor"]

Map = NDArray[np.float64]

#: Largest distance of the knots in units of Nside.
_KNOTS = 1 / 8
#: Largest distance of the knots in units of l.
_KNOTS_LOW = 0.4
#: Last knot in units of Nside; beyond, the spectrum falls on as it did before.
_KNOTS_TO = 3


@dataclass(frozen=True)
class FreeSpectrum:
    """A smooth positive spectrum: the exponential of a cubic spline through knots.

    Attributes
    ----------
    knots
        ``(nknot,)``, multipoles; ever farther apart, until their distance is Nside/8.
    spline
        ``(last - 1, nknot)``: from the knots to the multipoles from 2 to the last knot.
    lmax
        Last multipole of the spectrum.
    """

    knots: NDArray[np.int64]
    spline: Map
    lmax: int

    @classmethod
    def of(cls, nside: int, lmax: int) -> FreeSpectrum:
        """Choose the knots of a spectrum up to a multipole."""
        last = min(_KNOTS_TO * nside, lmax)
        chosen, wide = [2], max(nside * _KNOTS, 4.0)
        while chosen[-1] < last:
            chosen.append(chosen[-1] + max(int(min(_KNOTS_LOW * chosen[-1], wide)), 1))
        chosen[-1] = last
        knots = np.array(chosen)
        # Evenly spaced in the spline's own coordinate: steps of it are steps of the prior.
        place = np.interp(np.arange(2, last + 1), knots, np.arange(knots.size))
        spline = interpolate.make_interp_spline(np.arange(knots.size), np.eye(knots.size))
        return cls(knots, np.asarray(spline(place)), lmax)

    def at(self, logs: Map) -> Map:
        """Give the spectrum whose logarithm has these values at the knots, ``(lmax + 1,)``."""
        last = int(self.knots[-1])
        power = np.zeros(self.lmax + 1)
        inner = np.clip(self.spline @ logs, -80, 80)
        power[2 : last + 1] = np.exp(inner)
        if last < self.lmax:
            slope = min((logs[-1] - logs[-2]) / (last - int(self.knots[-2])), 0.0)
            beyond = np.arange(1, self.lmax - last + 1)
            power[last + 1 :] = np.exp(np.clip(inner[-1] + slope * beyond, -80, 80))
        return power


def without_floor(prior: Prior, name: str, free: FreeSpectrum, *, whitens: bool) -> Prior:
    """Count as noise what is white in a free spectrum; the solvers know it as such."""
    if not whitens:
        return prior
    power = getattr(prior, name)
    last = int(free.knots[-1]) + 1
    kept = prior.transfer(free.lmax) if name == "cl" else np.ones(free.lmax + 1)
    floor = float(np.min((power * kept)[2:last]))
    rest = np.maximum(power - floor / np.maximum(kept, 1e-300), 0.0)
    rest[:2] = 0.0
    # The pixels keep their variance.
    modes = 2 * np.arange(free.lmax + 1) + 1
    white = prior.noise_cl + float(modes @ ((power - rest) * kept)) / (12 * prior.nside**2)
    return replace(prior, noise_uk_arcmin=math.sqrt(white) / ARCMIN, **{name: rest})
