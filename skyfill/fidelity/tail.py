"""Distance of a fill from the exact fill of the same seed, including the worst pixels.

A mean square hides errors of few pixels: if one pixel in ten thousand is off by ten times the rms,
it adds one per cent. So high percentiles of |difference| are given as well.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from skyfill.fidelity.figures import Figure
from skyfill.healpix.arrays import as_map

__all__ = ["tail"]

#: Shares of the pixels whose difference is below the figure, by its name.
_POINTS = {"exact_99_uk": 0.99, "exact_999_uk": 0.999}


def tail(fill: ArrayLike, exact: ArrayLike) -> dict[str, Figure]:
    """Measure the distance of a fill from the exact fill of the same seed.

    Parameters
    ----------
    fill
        ``(n,)``, µK: pixels of the holes, from one realization or from the mean.
    exact
        ``(n,)``, µK: the same pixels of the exact fill (``method="gaussian"``): the mean, or the
        realization with the same seed and index, which uses the same random sky.

    Returns
    -------
    ``exact_rms_uk``, the rms of the difference; ``exact_99_uk`` and ``exact_999_uk``, the 99% and
    99.9% quantiles of its modulus; ``exact_worst_uk``, its largest modulus. They have no verdict,
    because the tolerable error depends on the use.

    Raises
    ------
    ValueError
        There is no pixel, a value is missing, or the numbers of pixels differ.
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
