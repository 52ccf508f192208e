"""Find the scalars of a solve before there is a map: those of a sky drawn from the prior.

Conjugate gradients take their scalars from the data, and are then not linear in these. Those of
another sky serve as well: both excite the same modes, and holes with thousands of pixels along
their edges leave little to chance. So does another resolution: with beam and noise the same in
pixels, edges look the same to the precision and to its preconditioner, and a few steps do not ask
for more. At Nside 1024, ending at 5 steps, scalars of the map itself leave 1.6 uK, those of a sky
at Nside 512 1.5 (docs/measured.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skyfill import harmonics
from skyfill._checks import nside_of
from skyfill.gaussian.loops import Course
from skyfill.gaussian.pinned import unpinned
from skyfill.gaussian.solver import Solver
from skyfill.healpix import nest_to_ring, ring_to_nest

__all__ = ["drawn", "rehearse"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Resolution of the rehearsal, where half of the map's is more.
_LARGEST = 512
_SEED = 0x5F119
#: Steps before the rehearsal begins.
_BEFORE = 6


def rehearse(
    observed: Mask,
    *,
    signal_cl: Map,
    noise_cl: float,
    iterations: int,
    corrections: int | None = None,
    **options: Any,
) -> NDArray[np.float64]:
    """Give the numbers of a `Course` for `Solver.improve`.

    Parameters
    ----------
    observed, signal_cl, noise_cl
        Of the solver that is to follow it.
    iterations, corrections
        Of the `improve` that is to follow it.
    options
        Further ones of the solver.

    Returns
    -------
    ``(n,)``; they depend on the arguments alone.
    """
    nside = nside_of(observed.size, "the map to fill")
    ratio = max(nside // min(nside // 2, _LARGEST), 1)
    seen = _degraded(observed, ratio)
    if ratio == 1 or seen.all() or not seen.any():
        ratio, seen = 1, observed
    # In pixels the same beam and noise; monopole and dipole are what they are.
    ell = ratio * np.arange(min(-(-signal_cl.size // ratio), 3 * nside // ratio))
    cl = ratio**2 * np.interp(ell, np.arange(signal_cl.size), signal_cl)
    cl[:2] = ratio**2 * signal_cl[:2]
    solver = Solver(seen, signal_cl=cl, noise_cl=ratio**2 * noise_cl, **options)
    course = Course()
    filled = drawn(nside // ratio, cl, ratio**2 * noise_cl)
    filled[solver.holes] = 0.0
    # What a fill leaves is not like the sky: some steps of the sky's own take its place.
    filled[solver.holes] = solver.improve(filled, iterations=_BEFORE, corrections=0)
    solver.improve(filled, iterations=iterations, corrections=corrections, course=course)
    return np.array(course.numbers)


def drawn(nside: int, signal_cl: Map, noise_cl: float) -> Map:
    """Draw a sky, always the same, with a monopole and dipole as bright as the quadrupole."""
    lmax, npix = signal_cl.size - 1, 12 * nside**2
    rng = np.random.default_rng(_SEED)
    alm = rng.standard_normal((lmax + 1) * (lmax + 2)).view(np.complex128) * 0.5**0.5
    alm[: lmax + 1] = alm[: lmax + 1].real * 2**0.5
    sky = harmonics.synthesis(harmonics.almxfl(alm, np.sqrt(unpinned(signal_cl))), nside)
    sky += np.sqrt(noise_cl * npix / (4 * np.pi)) * rng.standard_normal(npix)
    return sky


def _degraded(observed: Mask, ratio: int) -> Mask:
    """Mark the pixels of a lower resolution of which more than half is observed."""
    nside = nside_of(observed.size, "the map to fill")
    half = nside // ratio
    children = np.zeros(12 * half**2, np.int64)
    for start in range(0, observed.size, 2**24):
        holes = start + np.flatnonzero(~observed[start : start + 2**24])
        children += np.bincount(ring_to_nest(nside, holes) // ratio**2, minlength=children.size)
    seen = np.ones(children.size, np.bool_)
    seen[nest_to_ring(half, np.flatnonzero(2 * children >= ratio**2))] = False
    return seen
