"""Tell from a map's numbers whether its pixels are in RING or in NESTED order."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.healpix import nest_to_ring
from skyfill.healpix.arrays import pair_of
from skyfill.healpix.stokes import nside_of

__all__ = ["WRONG_ORDER", "reordered", "wrong_order"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]
Pixels = NDArray[np.int64]

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
    scatter, sums = np.zeros((3, 2)), np.zeros(2)
    for order, pixels in enumerate(_blocks(nside)):
        whole = observed[pixels].all(axis=1)
        block = values[pixels[whole]].astype(np.float64)
        mean = block.mean(axis=1)
        power = 1e-300 + np.mean((block - mean[:, None]) ** 2, axis=1)
        if order == 0:
            sums[:] = mean.sum(), (mean**2 + power).sum()
        scatter[order] = np.log(power).sum(), mean.size
    logs, count = scatter.T
    if count.min() < _FEWEST:
        return False
    own, nested, ring = np.exp(logs / count)
    # A Galactic plane is also smooth along RING order, but then most of the sky is not rough as
    # read.
    rough = own > _ROUGH * max(sums[1] / count[0] - (sums[0] / count[0]) ** 2, 0.0)
    return bool((rough and nested < _SMOOTHER * own) or ring < _SMOOTHER * own)


@lru_cache(maxsize=1)
def _blocks(nside: int) -> tuple[Pixels, Pixels, Pixels]:
    """List the pixels of some blocks of 4 x 4, ``(n, 16)`` each, RING.

    First as they are; then of NESTED numbers that were taken for RING; then of RING numbers that
    were taken for NESTED.
    """
    count = 12 * (nside // 4) ** 2
    chosen = np.arange(0, count, max(1, count // _SAMPLE))
    nested = 16 * chosen[:, None] + np.arange(16)
    ring = nest_to_ring(nside, nested.ravel())
    return ring.reshape(nested.shape), nested, nest_to_ring(nside, ring).reshape(nested.shape)
