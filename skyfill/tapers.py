"""Divide a spectrum into bands, each tapered towards the edge of a hole over its own depth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["bands_of"]

Array = NDArray[np.float64]

#: Lower edge of the first band in units of lmax.
_FIRST = 0.2
#: Lower edge of each further band in units of the edge above.
_NEXT = 0.1
#: Bands with tapers longer than this many depths are merged with the last band.
_SHALLOW = 10


def bands_of(
    lmax: int, depth: float, *, taper: float = 0.25, at: Array | None = None, most: int = 9
) -> list[tuple[Array, float]]:
    """Divide the multipoles into bands, the highest first.

    Parameters
    ----------
    lmax
        Largest multipole.
    depth
        Depth of the deepest pixel, radians. Bands with much longer tapers are merged.
    taper
        Depth of a taper, in wavelengths at the middle of the band.
    at
        Multipoles at which the shares are evaluated, any shape; 0 to lmax if None.
    most
        Largest number of bands.

    Returns
    -------
    For each band its share of C_l, with the shape of ``at``, and the depth of its taper, radians.
    The shares add up to one.
    """
    ell = np.log2(np.maximum(np.arange(lmax + 1) if at is None else at, 1))
    width = -np.log2(_NEXT)
    rest = np.ones(ell.shape)
    bands: list[tuple[Array, float]] = []
    edge = _FIRST * lmax
    reach = taper * 2 * np.pi / max(1.25 * edge, 1.0)
    while edge > 3 and len(bands) < most - 1:
        below = taper * 2 * np.pi / (edge * _NEXT**0.5)
        if below > _SHALLOW * depth:
            break
        share = rest * np.sin(0.5 * np.pi * np.clip((ell - np.log2(edge)) / width + 0.5, 0, 1)) ** 2
        bands.append((share, reach))
        rest, reach = rest - share, below
        edge *= _NEXT
    return [*bands, (rest, reach)]
