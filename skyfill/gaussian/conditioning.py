"""Estimate in advance how many iterations a solve takes, from the depth of the map.

Two things slow a solve. Signal that the inner loop leaves out, beyond 2 Nside or by the bound of
`skyfill.harmonics.excess`, is left to corrections, whose number grows with the root of the
condition number, as for any conjugate gradients. And a sky that is smooth and nearly free of noise
is determined deep into a wide hole, farther than the bands of the preconditioner reach. The wider
the beam, the less of it they reach, and the more the iterations follow signal over noise. There,
wide holes are divided into segments, and only the corrections count.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from skyfill.harmonics.covariance import excess

__all__ = ["USUAL", "are_slow", "divided", "expected"]

Map = NDArray[np.float64]

#: Harmonics up to this l over Nside are as many as there are pixels.
_MODES = math.sqrt(12.0)
#: Corrections for the root of the condition number. This and the numbers below are fits to solves
#: at Nside 64 and 128, of beams of 0 to 5.8 pixels: docs/scripts/iterations.py --grid.
_CORRECTIONS = 2.4
#: Iterations for each correction, and at the start, of blocks alone.
_BLOCKS = 3.0
#: Iterations for each correction of wide holes in a sky that is rough or noisy.
_ROUGH = 8.0
#: More of them where the sky is smooth, for a signal over noise of one at 1.5 Nside.
_SMOOTH = 13.0
#: Power of the signal over noise at 1.5 Nside with which they grow.
_POWER = 0.35
#: Fall of the signal from Nside to 2 Nside below which the sky is rough, and the scale of the
#: logarithm beyond.
_FALL = (8.0, 40.0)
#: Iterations of wide holes at least: a number, and more for signal over noise in a pixel (rms),
#: with a power.
_DEEP = (10.0, 0.52, 1.5)
#: Iterations of segments, in the first solve and in each further correction.
_SEGMENTS = 25.0, 9.0
#: Iterations with bands, in all and for each correction, above which segments are quicker: to
#: prepare these takes as long as some eighty iterations, and in a rough sky they are no better.
_SLOW = 200.0, 25.0
#: Largest number of iterations, the default of `Solver.mean`.
_MOST = 2000.0

USUAL = 25.0
"""Iterations of a map that its pixels resolve, with the noise of Planck and wide holes."""


def expected(signal_cl: Map, noise_cl: float, nside: int, *, wide: bool) -> tuple[float, float]:
    """Estimate iterations and corrections of a solve with bands and the default tolerance.

    The iterations are within a factor of 2.5 where docs/exact.md measures them.

    Parameters
    ----------
    signal_cl
        ``(lmax + 1,)``, µK², with beam and pixel window.
    noise_cl
        White noise, µK², with the signal that is added to it.
    nside
        Nside of the map.
    wide
        Whether a hole is too large for a block.
    """
    ell = np.arange(signal_cl.size)
    # More harmonics than pixels: the others are like noise.
    beyond = ell > _MODES * nside
    folded = float(np.sum((2 * ell[beyond] + 1) * signal_cl[beyond])) / (12 * nside**2)
    loud = signal_cl / max(noise_cl + folded, 1e-12 * float(signal_cl.max()) + 1e-300)
    inner, outer = loud[: 2 * nside + 1], loud[2 * nside + 1 :]
    left = max(float(np.max(excess(inner, nside) * inner)), float(outer.max(initial=0.0)))
    corrections = max(1.0, _CORRECTIONS * math.sqrt(1 + left) - (_CORRECTIONS - 1))
    if not wide:
        return min(_BLOCKS * (corrections + 1), _MOST), corrections
    first, middle, last = (_at(loud, k * nside // 2) for k in (2, 3, 4))
    fall, scale = _FALL
    steep = math.log(max(first / max(last, 1e-300), fall) / fall) / math.log(scale)
    each = _ROUGH + _SMOOTH * min(steep, 1.0) ** 1.5 * middle**_POWER
    modes = (2 * ell + 1)[2:]  # monopole and dipole may be free
    contrast = math.sqrt(float(modes @ loud[2:]) / (12 * nside**2))
    least, more, rate = _DEEP
    return min(max(each * corrections, least + more * contrast**rate), _MOST), corrections


def are_slow(iterations: float, corrections: float) -> bool:
    """Tell whether bands take so many iterations that segments are quicker."""
    most, each = _SLOW
    return iterations > most and iterations > each * corrections


def divided(corrections: float) -> float:
    """Estimate the iterations if wide holes are divided into segments, from the corrections."""
    first, further = _SEGMENTS
    return min(first + further * (corrections - 1), _MOST)


def _at(loud: Map, ell: int) -> float:
    """Give signal over noise at a multipole; zero beyond the last."""
    return float(loud[ell]) if ell < loud.size else 0.0
