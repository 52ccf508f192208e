"""How far a fill is from the exact one of the same draw, its worst pixels included.

A mean square hides what is wrong with few pixels: a rectangle along the border of a tile, off by
ten times the rms, adds a per cent to it where it is one pixel in ten thousand. So the far end of
the distribution of |difference| is told, too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from skyfill.fidelity.figures import Figure
from skyfill.healpix.arrays import as_map

__all__ = ["tail"]

#: Shares of the pixels that are nearer than the figure says, by its name.
_POINTS = {"exact_99_uk": 0.99, "exact_999_uk": 0.999}


def tail(fill: ArrayLike, exact: ArrayLike) -> dict[str, Figure]:
    """Measure how far a fill is from the exact fill of the same draw.

    Parameters
    ----------
    fill
        ``(n,)``, µK: the pixels of the holes, of one realization or of the mean.
    exact
        ``(n,)``, µK: the same pixels of the exact one, by ``method="gaussian"``: the mean, or the
        realization with the same seed and index, which begins with the same random sky.

    Returns
    -------
    ``exact_rms_uk``, the rms of the difference; ``exact_99_uk`` and ``exact_999_uk``, which 99% and
    99.9% of the pixels stay below; ``exact_worst_uk``, the largest. None has a verdict: how much
    does harm is for the use to say.

    Raises
    ------
    ValueError
        There is no pixel, one lacks a value, or they are not as many.
    """
    if not np.size(fill) or not np.size(exact):
        raise ValueError("there is no pixel to compare; give those of the holes")
    fill, exact = (
        as_map(fill, "fill", taker="fidelity.tail", whole=False),
        as_map(exact, "exact", taker="fidelity.tail", whole=False),
    )
    if fill.shape != exact.shape:
        raise ValueError(
            f"the fill has {fill.size} pixels and the exact one {exact.size}; give those of the"
            " same holes"
        )
    away = np.abs(np.subtract(fill, exact, dtype=np.float64))
    missing = int(np.count_nonzero(~np.isfinite(away)))
    if missing:
        raise ValueError(
            f"fill and exact fill miss {missing} of {fill.size} pixels; give those of the holes"
            " that both fill"
        )
    found = {"exact_rms_uk": float(np.sqrt(np.mean(away**2)))}
    points = np.quantile(away, list(_POINTS.values()))
    found |= dict(zip(_POINTS, points.tolist(), strict=True))
    found["exact_worst_uk"] = float(away.max())
    return {name: Figure(value) for name, value in found.items()}
