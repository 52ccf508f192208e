"""Calibrate errors by the scatter of simulated skies: how many, how coarse, how far averaged."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from skyfill.healpix import reorder

__all__ = ["COARSE", "SEED", "degraded", "skies_at", "smoothed"]

Map = NDArray[np.float64]

COARSE = 32
"""Nside of the skies from which the errors of bins up to this ell are calibrated."""
SEED = 0x5FC0
"""Seed of these skies: the errors of a spectrum are the same each time."""
#: Number of simulated skies up to an Nside. 800 leave an error of 2.5%. At higher Nside they are so
#: few that they take little more time than the coupling matrix.
_SKIES = ((32, 800), (128, 64), (512, 16), (2**29, 12))
#: Neighbouring bins are averaged until their errors have this relative error.
_CHANCE = 0.05


def skies_at(nside: int) -> int:
    """Give the number of skies that are simulated at an Nside."""
    return next(number for limit, number in _SKIES if nside <= limit)


def smoothed(factors: Map, skies: int) -> Map:
    """Average the squares of factors over so many bins that chance is `_CHANCE`."""
    side = math.ceil((0.5 / (_CHANCE**2 * skies) - 1) / 2)
    bins = np.arange(factors.size)
    near = np.abs(np.subtract.outer(bins, bins)) <= side
    return np.asarray(np.sqrt(near @ factors**2 / near.sum(axis=1)))


def degraded(window: Map, nside: int) -> Map:
    """Average weights over coarser pixels."""
    nest = reorder(window, nest_in=False, nest_out=True).reshape(12 * nside**2, -1).mean(axis=1)
    return reorder(nest, nest_in=True, nest_out=False)
