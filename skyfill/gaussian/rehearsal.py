"""Compute the scalars of a solve in advance, on a sky drawn from the prior.

Conjugate gradients compute their scalars from the data, so their result is not linear in the data.
The scalars of another sky serve as well: both skies excite the same modes, and with thousands of
pixels along the edges of holes the scalars vary little between skies. A lower resolution would be
cheaper but fails: if its pixels do not resolve the edges, it misses the largest eigenvalue, and the
iterations diverge.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skyfill import harmonics
from skyfill.gaussian.loops import Course
from skyfill.gaussian.solver import Solver

__all__ = ["drawn", "rehearse"]

Map = NDArray[np.float64]

_SEED = 0x5F119
#: Number of pixels for which random numbers are drawn at a time.
_AT_ONCE = 2**22
#: Iterations before the scalars are recorded.
_BEFORE = 2


def rehearse(
    solver: Solver, *, iterations: int, corrections: int | None = None, threads: int = 0
) -> NDArray[np.float64]:
    """Record a `Course` for `Solver.improve` with the same arguments.

    ``threads`` is the number of threads of the synthesis of the drawn sky, 0 for all cores.

    Returns
    -------
    ``(n,)``, the numbers of the course; they depend only on the solver and the arguments.
    """
    course = Course()
    filled = drawn(
        *(solver.nside, solver.signal_cl, solver.noise_cl, solver.noise_variance), threads=threads
    )
    filled[solver.holes] = 0.0
    # Polish starts from an approximate fill; a few iterations on the drawn sky imitate it.
    filled[solver.holes] = solver.improve(filled, iterations=_BEFORE, corrections=0)
    solver.improve(filled, iterations=iterations, corrections=corrections, course=course)
    return np.array(course.numbers)


def drawn(
    nside: int,
    signal_cl: Map,
    noise_cl: float,
    noise_variance: Map | None = None,
    *,
    threads: int = 0,
) -> Map:
    """Draw a sky with a fixed seed; ``noise_variance``, µK², replaces the white noise."""
    lmax, npix = signal_cl.size - 1, 12 * nside**2
    rng = np.random.default_rng(_SEED)
    alm = rng.standard_normal((lmax + 1) * (lmax + 2)).view(np.complex128) * 0.5**0.5
    alm[: lmax + 1] = alm[: lmax + 1].real * 2**0.5
    sky = harmonics.synthesis(harmonics.almxfl(alm, np.sqrt(signal_cl)), nside, threads=threads)
    rms: Map | float = np.sqrt(noise_cl * npix / (4 * np.pi))
    for start in range(0, npix, _AT_ONCE):
        part = sky[start : start + _AT_ONCE]
        if noise_variance is not None:
            rms = np.sqrt(noise_variance[start : start + _AT_ONCE])
        part += rms * rng.standard_normal(part.size)
    return sky
