"""Draw skies from a prior."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from skyfill import harmonics
from skyfill.healpix.checks import check_seed
from skyfill.healpix.jit import compiled
from skyfill.prior.model import Prior
from skyfill.prior.normals import normal_numbers

__all__ = ["alm_of_cl", "draw", "draw_of_cl", "draw_signal", "draw_white", "streams"]

#: Multipoles of which random numbers are drawn at a time.
_ROWS = 512


@compiled
def _pack(
    normals: NDArray[np.float64],
    first: int,
    last: int,
    lmax: int,
    root: NDArray[np.float64],
    alm: NDArray[np.complex128],
) -> None:
    """Put normal numbers, drawn multipole by multipole, into m-major alm of spectrum root²."""
    for ell in range(first, last):
        base = ell * ell - first * first
        alm[ell] = root[ell] * normals[base]
        for m in range(1, ell + 1):
            index = m * (2 * lmax + 1 - m) // 2 + ell
            scale = root[ell] * 0.7071067811865476
            alm[index] = complex(scale * normals[base + 2 * m - 1], scale * normals[base + 2 * m])


def draw(
    prior: Prior,
    *,
    seed: int,
    index: int = 0,
    lmax: int | None = None,
    aliased: bool = False,
    threads: int = 0,
) -> NDArray[np.float64]:
    """Draw a whole sky, signal and noise, from the prior.

    Multipoles are drawn in order, so a seed gives the same sky at every resolution, up to the
    smaller lmax. The noise has its own stream of random numbers.

    Parameters
    ----------
    prior
        The model of the sky.
    seed, index
        Seed and index of the sky; together they determine it. Different indices are independent.
    lmax
        Largest multipole, ``prior.lmax`` if None.
    aliased
        Whether to add the signal that the pixels do not resolve, as white noise.
    threads
        Threads of the transform; they change the result only by rounding.

    Returns
    -------
    ``(npix,)``, µK, RING.
    """
    sky = draw_signal(prior, seed=seed, index=index, lmax=lmax, threads=threads)
    white = prior.white_cl if aliased else prior.noise_cl
    if white:
        rms = math.sqrt(white * sky.size / (4 * math.pi))
        for part, unit in draw_white(sky.size, seed=seed, index=index, threads=threads):
            sky[part] += rms * unit
    return sky


def draw_signal(
    prior: Prior, *, seed: int, index: int = 0, lmax: int | None = None, threads: int = 0
) -> NDArray[np.float64]:
    """Draw only the signal of `draw`, with the same arguments."""
    lmax = prior.lmax if lmax is None else lmax
    random = np.random.default_rng(streams(seed, index)[0])
    return draw_of_cl(prior.signal_cl(lmax), prior.nside, random, threads=threads)


def draw_of_cl(
    cl: NDArray[np.float64], nside: int, random: np.random.Generator, *, threads: int = 0
) -> NDArray[np.float64]:
    """Draw a Gaussian sky from a spectrum, ``(lmax + 1,)``, µK²; give it as ``(npix,)``, µK."""
    return harmonics.synthesis(alm_of_cl(cl, random), nside, threads=threads)


def alm_of_cl(cl: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.complex128]:
    """Draw Gaussian alm from a spectrum, ``(lmax + 1,)``, multipole by multipole."""
    lmax = cl.size - 1
    alm = np.empty((lmax + 1) * (lmax + 2) // 2, dtype=np.complex128)
    root = np.sqrt(cl)
    for first in range(0, lmax + 1, _ROWS):
        last = min(first + _ROWS, lmax + 1)
        _pack(random.standard_normal(last**2 - first**2), first, last, lmax, root, alm)
    return alm


def draw_white(
    npix: int, *, seed: int, index: int = 0, threads: int = 0
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Draw the normal numbers of the white part of `draw`, in parts: slice and numbers."""
    start = 0
    for numbers in normal_numbers(streams(seed, index)[1], npix, threads=threads):
        yield slice(start, start + numbers.size), numbers
        start += numbers.size


def streams(seed: int, index: int, *, count: int = 2) -> list[np.random.SeedSequence]:
    """Give the streams of a sky: of T, of its noise, then of E and B with Q and U's noise."""
    words = [check_seed(seed), check_seed(index, what="index")]
    return np.random.SeedSequence(words).spawn(count)
