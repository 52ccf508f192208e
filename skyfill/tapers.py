"""Divide a spectrum into bands, each with the depth over which it is tapered to a hole's edge."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["bands_of"]

Array = NDArray[np.float64]

#: Lower edge of the first band in units of lmax.
_FIRST = 0.2
#: Lower edge of each further band in units of the edge above.
_NEXT = 0.1
#: Multipole down to which bands are divided: one for the few below costs more than it saves.
_LOWEST = 6
#: Bands whose tapers would reach further than this many depths are one with the last.
_SHALLOW = 10


def bands_of(
    lmax: int, depth: float, *, taper: float = 0.25, at: Array | None = None
) -> list[tuple[Array, float]]:
    """Divide the multipoles.

    Parameters
    ----------
    lmax
        Largest multipole.
    depth
        Of the deepest pixel, radians: a band whose taper would reach much further is none.
    taper
        Depth of a taper, in wavelengths of the band's middle.
    at
        The multipoles where the shares are wanted, any shape; 0 to lmax if not given.

    Returns
    -------
    Pairs of a band's share of C_l, of the shape of ``at``, and the depth of its taper, radians; the
    shares add up to one.
    """
    ell = np.log2(np.maximum(np.arange(lmax + 1) if at is None else at, 1))
    width = -np.log2(_NEXT)
    rest = np.ones(ell.shape)
    bands = []
    edge = _FIRST * lmax
    reach = taper * 2 * np.pi / max(1.25 * edge, 1.0)
    while edge > _LOWEST:
        below = taper * 2 * np.pi / (edge * _NEXT**0.5)
        if below > _SHALLOW * depth:
            break
        share = rest * np.sin(0.5 * np.pi * np.clip((ell - np.log2(edge)) / width + 0.5, 0, 1)) ** 2
        bands.append((share, reach))
        rest, reach = rest - share, below
        edge *= _NEXT
    return [*bands, (rest, reach)]
