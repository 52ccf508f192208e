"""Find the scalars of a solve before there is a map: those of a sky drawn from the prior.

Conjugate gradients take their scalars from the data, and are then not linear in these. Those of
another sky serve as well: both excite the same modes, and holes with thousands of pixels along
their edges leave little to chance. A lower resolution would be cheaper, and does not do: where the
edge is finer than its pixels, the largest eigenvalue is missed, and steps grow beyond bounds.
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
#: Pixels of which random numbers are drawn at a time.
_AT_ONCE = 2**22
#: Steps before the rehearsal begins.
_BEFORE = 2


def rehearse(
    solver: Solver, *, iterations: int, corrections: int | None = None
) -> NDArray[np.float64]:
    """Give the numbers of a `Course` for `Solver.improve`, with the same arguments.

    Returns
    -------
    ``(n,)``; they depend on the solver and the arguments alone.
    """
    course = Course()
    filled = drawn(solver.nside, solver.signal_cl, solver.noise_cl)
    filled[solver.holes] = 0.0
    # What a fill leaves is not like the sky: some steps of the sky's own take its place.
    filled[solver.holes] = solver.improve(filled, iterations=_BEFORE, corrections=0)
    solver.improve(filled, iterations=iterations, corrections=corrections, course=course)
    return np.array(course.numbers)


def drawn(nside: int, signal_cl: Map, noise_cl: float) -> Map:
    """Draw a sky, always the same."""
    lmax, npix = signal_cl.size - 1, 12 * nside**2
    rng = np.random.default_rng(_SEED)
    alm = rng.standard_normal((lmax + 1) * (lmax + 2)).view(np.complex128) * 0.5**0.5
    alm[: lmax + 1] = alm[: lmax + 1].real * 2**0.5
    sky = harmonics.synthesis(harmonics.almxfl(alm, np.sqrt(signal_cl)), nside)
    rms = np.sqrt(noise_cl * npix / (4 * np.pi))
    for start in range(0, npix, _AT_ONCE):
        part = sky[start : start + _AT_ONCE]
        part += rms * rng.standard_normal(part.size)
    return sky
