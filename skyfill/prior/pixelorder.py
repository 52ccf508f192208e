"""Tell from a map's numbers whether its pixels are in RING or in NESTED order."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.healpix.arrays import pair_of
from skyfill.healpix.jit import compiled
from skyfill.healpix.pixel import nest2ring
from skyfill.healpix.stokes import nside_of

__all__ = ["WRONG_ORDER", "reordered", "wrong_order"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

WRONG_ORDER = (
    "the numbers are smooth in the other pixel order, so the file's keyword ORDERING (RING or"
    " NESTED) is probably wrong: set it right"
)
"""What is wrong with such a map, and the mend."""
#: Number of blocks of 4 x 4 pixels, all observed, below which nothing is said.
_FEWEST = 40
#: Number of blocks of 4 x 4 pixels that are examined.
_SAMPLE = 1 << 14
#: The other order is right if the scatter in a block is smaller in it by this factor.
_SMOOTHER = 0.8
#: NESTED numbers taken for RING scatter in a block by more than this share of the map's variance.
_ROUGH = 0.5


def wrong_order(values: ArrayLike, observed: ArrayLike) -> bool:
    """Tell whether a map is smooth in the other pixel order but not in its own.

    Parameters
    ----------
    values
        ``(npix,)``, assumed to be in RING order. Unobserved pixels are not read.
    observed
        ``(npix,)``.
    """
    return reordered(*pair_of(values, observed, taker="prior.wrong_order"))


def reordered(values: NDArray[np.floating], observed: Mask) -> bool:
    """Do as `wrong_order` for a map and a mask that are known to be such."""
    nside = nside_of(values, "values")
    if nside < 8:
        return False
    blocks = 12 * (nside // 4) ** 2
    scatter, sums = np.zeros((3, 2)), np.zeros(2)
    _orders(nside, values, observed, max(1, blocks // _SAMPLE), scatter, sums)
    logs, count = scatter.T
    if count.min() < _FEWEST:
        return False
    own, nested, ring = np.exp(logs / count)
    # A Galactic plane is also smooth along RING order, but then most of the sky is not rough as
    # read.
    rough = own > _ROUGH * max(sums[1] / count[0] - (sums[0] / count[0]) ** 2, 0.0)
    return bool((rough and nested < _SMOOTHER * own) or ring < _SMOOTHER * own)


@compiled
def _orders(
    nside: int, values: NDArray[np.floating], observed: Mask, step: int, scatter: Map, sums: Map
) -> None:
    """Sum the logarithm of the scatter in blocks of 4 x 4 pixels: as read, and reordered.

    Row 0 is of the map as it was read; row 1 of NESTED numbers that were taken for RING; row 2 of
    RING numbers that were taken for NESTED. The sums are of means, and of squares, of row 0.
    """
    block, pixels = np.empty(16), np.empty((3, 16), np.int64)
    for parent in range(0, 12 * (nside // 4) ** 2, step):
        for child in range(16):
            pixels[1, child] = 16 * parent + child
            pixels[0, child] = nest2ring(nside, pixels[1, child])
            pixels[2, child] = nest2ring(nside, pixels[0, child])
        for order in range(3):
            mean = 0.0
            whole = True
            for child in range(16):
                pixel = pixels[order, child]
                whole = whole and observed[pixel]
                block[child] = values[pixel] if observed[pixel] else 0.0
                mean += block[child] / 16
            if whole:
                power = 1e-300
                for child in range(16):
                    power += (block[child] - mean) ** 2 / 16
                if order == 0:
                    sums[0] += mean
                    sums[1] += mean**2 + power
                scatter[order, 0] += math.log(power)
                scatter[order, 1] += 1
