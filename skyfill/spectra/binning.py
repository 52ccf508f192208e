"""Choose the bins of a spectrum.

Edges are the first ell of each bin, then one past the last ell: ``(nbin + 1,)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BINNINGS",
    "Binning",
    "bin_edges",
    "default_edges",
    "linear_edges",
    "log_edges",
    "planck_edges",
]

Edges = NDArray[np.int64]
Binning = Literal["default", "linear", "log", "planck"]
BINNINGS: tuple[Binning, ...] = ("default", "linear", "log", "planck")

LINEAR_WIDTH = 30
LOG_PER_DECADE = 12
# The file COM_PowerSpect_CMB-TT-binned_R3.01 names centres only. Bins of 30 multipoles from 30 on,
# the last one cut at 2508, where Planck's spectrum ends, have means of ell, weighted by
# ell (ell + 1), that agree with all 83 centres to 5e-6, which is how they are rounded; weights of
# 2 ell + 1 miss the first by 1.5 and equal weights by 3.2. Below 30 Planck gives every ell.
PLANCK_FIRST = 30
"""Multipole at which Planck's first bin begins."""
PLANCK_WIDTH = 30
"""Multipoles in each of Planck's bins; the last one has fewer."""
PLANCK_LAST = 2508
"""Multipole at which Planck's spectrum ends."""


def default_edges(lmax: int) -> Edges:
    """Choose bins from ell = 2: about a quarter of ell wide, and never wider than 30 (or lmax/40).

    Returns
    -------
        ``(nbin + 1,)``: the first ell of each bin, then lmax + 1.

    """
    widest = max(30, lmax // 40)
    edges = [2]
    while edges[-1] <= lmax:
        edges.append(edges[-1] + min(max(2, edges[-1] // 4), widest))
    if len(edges) > 2 and lmax + 1 - edges[-2] < (edges[-1] - edges[-2]) / 2:
        del edges[-2]  # a narrow rest at the end joins the last bin
    edges[-1] = lmax + 1
    return np.array(edges, dtype=np.int64)


def linear_edges(lmax: int, width: int = LINEAR_WIDTH) -> Edges:
    """Choose bins of equal width from ell = 2; the last one may be narrower.

    Raises
    ------
    ValueError
        The width is below 1.

    """
    if width < 1:
        raise ValueError(f"the width of a bin must be 1 or more, got {width}")
    return np.append(np.arange(2, lmax + 1, width, dtype=np.int64), lmax + 1)


def log_edges(lmax: int, per_decade: int = LOG_PER_DECADE) -> Edges:
    """Choose bins of equal width in log(ell) from ell = 2, rounded to whole ells.

    Raises
    ------
    ValueError
        There would be less than one bin a decade.

    """
    if per_decade < 1:
        raise ValueError(f"there must be 1 bin a decade or more, got {per_decade}")
    count = max(1, round(per_decade * np.log10((lmax + 1) / 2)))
    return np.unique(np.rint(np.geomspace(2, lmax + 1, count + 1)).astype(np.int64))


def planck_edges(lmax: int) -> Edges:
    """Choose the bins of the Planck 2018 TT spectrum (Planck 2018 V): 83 from ell = 30 to 2508.

    Every ell below 30 is its own bin. Nothing lies beyond 2508; a smaller lmax cuts the last bin.

    """
    end = min(lmax, PLANCK_LAST) + 1
    single = np.arange(2, min(PLANCK_FIRST, end), dtype=np.int64)
    wide = np.arange(PLANCK_FIRST, end, PLANCK_WIDTH, dtype=np.int64)
    return np.concatenate([single, wide, [end]])


def bin_edges(bins: int | Binning | Sequence[int] | Edges | None, lmax: int) -> Edges:
    """Convert a width, the name of a binning or edges to edges within 2 ... lmax + 1.

    Parameters
    ----------
    bins
        Width of all bins; or one of `BINNINGS`; or the first ell of each bin and one past the last
        ell; `default_edges` if None.
    lmax
        Largest ell.

    Raises
    ------
    ValueError
        The name is unknown, or edges do not rise or lie outside 2 ... lmax + 1.

    """
    if bins is None:
        return default_edges(lmax)
    if isinstance(bins, str):
        named = {
            "default": default_edges,
            "linear": linear_edges,
            "log": log_edges,
            "planck": planck_edges,
        }
        if bins not in named:
            raise ValueError(f"bins must be one of {', '.join(named)}, got {bins!r}")
        return named[bins](lmax)
    if isinstance(bins, int | np.integer):
        return linear_edges(lmax, int(bins))
    edges = np.asarray(bins, dtype=np.int64)
    inside = edges.ndim == 1 and edges.size > 1 and edges[0] >= 2 and edges[-1] <= lmax + 1
    if not inside or np.any(np.diff(edges) < 1):
        raise ValueError(f"edges of bins must rise within 2 ... lmax + 1 = {lmax + 1}")
    return edges


def summed(per_ell: NDArray[np.number], edges: Edges, axis: int = 0) -> NDArray[np.float64]:
    """Sum over each bin, along an axis that begins at ell = 0."""
    within = np.take(per_ell, np.arange(edges[-1]), axis=axis).astype(np.float64)
    return np.asarray(np.add.reduceat(within, edges[:-1], axis=axis))


def averaged(per_ell: NDArray[np.number], edges: Edges) -> NDArray[np.float64]:
    """Average over each bin, along the first axis, with weights 2 ell + 1."""
    modes = 2.0 * np.arange(per_ell.shape[0]) + 1
    weighted = per_ell * modes.reshape(-1, *[1] * (per_ell.ndim - 1))
    count = summed(modes, edges)
    return np.asarray(summed(weighted, edges) / count.reshape(-1, *[1] * (per_ell.ndim - 1)))
