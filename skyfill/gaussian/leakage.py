"""The B modes of what a fill of Q and U still lacks.

A fill that is a small fraction of the rms of P away from the exact mean may be far from it in B,
which is a hundred times fainter than E on large scales. So the power of B in the step that is still
to come is compared with that of the prior.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from skyfill.gaussian.solution import LEAKAGE_BINS
from skyfill.harmonics import cl_of

__all__ = ["allowed_leakage", "leakage", "of_one_percent"]

Map = NDArray[np.float64]

#: Largest power of B that may be still to come, in units of BB and noise.
_ALLOWED = 0.01


def leakage(
    alm: NDArray[np.complex128], bb: Map, noise_cl: float
) -> tuple[tuple[float, ...], float]:
    """Compare the B modes of what is still to come with those of the prior.

    Parameters
    ----------
    alm
        ``(nalm,)``, B of the step that is still to come, µK.
    bb
        ``(n,)``, spectrum of B on the map, µK².
    noise_cl
        Spectrum of the noise of B, µK².

    Returns
    -------
    For each of `LEAKAGE_BINS` that the alm have, the power of B over that of ``bb``, or over that
    of the noise where ``bb`` is zero; and the largest power in units of what is allowed, 1% of BB
    and noise.
    """
    cl = cl_of(alm)
    modes = 2 * np.arange(cl.size) + 1.0
    signal = np.zeros(cl.size)
    signal[: bb.size] = bb[: cl.size]
    shares, worst = [], 0.0
    for first, last in LEAKAGE_BINS:
        here = slice(first, last + 1)
        if first >= cl.size:
            break
        power = float(modes[here] @ cl[here])
        of_b, noise = float(modes[here] @ signal[here]), float(modes[here].sum()) * noise_cl
        shares.append(power / (of_b or noise or 1.0))
        worst = max(worst, power / (_ALLOWED * (of_b + noise) or 1.0))
    return tuple(shares), worst


def of_one_percent(shares: Sequence[float]) -> float:
    """Give the largest share of `leakage` in units of 1%, whatever the noise."""
    return max(shares, default=0.0) / _ALLOWED


def allowed_leakage(bb: Map, noise_cl: float, bins: int) -> tuple[float, ...]:
    """Give the largest shares that `leakage` allows, for the first so many of `LEAKAGE_BINS`.

    1% of BB and noise, over BB; over the noise where BB is zero.
    """
    found = []
    for first, last in LEAKAGE_BINS[:bins]:
        modes = 2 * np.arange(first, last + 1) + 1.0
        signal = np.zeros(modes.size)
        here = bb[first : last + 1]
        signal[: here.size] = here
        of_b, noise = float(modes @ signal), float(modes.sum()) * noise_cl
        found.append(_ALLOWED * (of_b + noise) / (of_b or noise or 1.0))
    return tuple(found)
