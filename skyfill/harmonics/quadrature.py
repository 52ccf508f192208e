"""Pixel weights with which sums over pixels are exact integrals.

Σ_p w_p f(p) 4π/npix is the integral of f for every f with l up to 3 nside - 1, so products of two
harmonics up to 1.5 nside are orthonormal on the pixels: Yᵀ W Y 4π/npix = 1. The weights with this
property that are nearest to one are w = 1 + Y u. Conjugate gradients solve (Yᵀ Y) u =
Yᵀ (w_exact - 1) for u. These are healpy's full weights (Reinecke 2018). Since w has the symmetry of
the pixels, it contains only harmonics of even l and of m = 0, 4, 8, ..., and a quarter of the
northern rings determines it.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

import ducc0
import numpy as np
from numpy.typing import NDArray

from skyfill.files.cache import Kept, cache_folder
from skyfill.harmonics.sphere import rings as rings_of
from skyfill.healpix.checks import check_nside

__all__ = ["pixel_weights", "quadrature_lmax", "shared_weights"]

#: Weights in use, by Nside: those of Nside 2048 take 0.4 GB, and T and P have the same.
_SHARED: WeakValueDictionary[int, NDArray[np.float64]] = WeakValueDictionary()

#: Largest error of the integral of a harmonic, relative to the norm of the constant.
_TOLERANCE = 3e-8
_MAX_ITERATIONS = 60


def quadrature_lmax(nside: int) -> int:
    """Give the largest lmax that has weights near one: 1.5 nside, or nside below nside 8."""
    return 3 * nside // 2 if nside >= 8 else nside


def pixel_weights(
    nside: int, *, lmax: int | None = None, cache: bool = True, threads: int = 0
) -> NDArray[np.float64]:
    """Give the quadrature weights of every pixel.

    Parameters
    ----------
    nside
        Resolution.
    lmax
        Largest l of the harmonics that are orthonormal under the weights; at most, and by default,
        `quadrature_lmax`.
    cache
        Whether to cache the weights on disk (`cache_folder`; about ``npix`` / 2 bytes). A damaged
        file is replaced.
    threads
        Threads of the transforms.

    Returns
    -------
    ``(npix,)``, RING, near one.

    Raises
    ------
    ValueError
        ``lmax`` is beyond `quadrature_lmax`.
    """
    check_nside(nside)
    largest = quadrature_lmax(nside)
    lmax = largest if lmax is None else lmax
    if not 0 <= lmax <= largest:
        raise ValueError(f"weights of nside {nside} reach lmax {largest}, not {lmax}")
    part = (
        Kept(cache_folder() if cache else None)
        .of(nside, lmax)
        .array(
            f"pixel_weights_n{nside}_l{lmax}",
            lambda: _solve(nside, 2 * lmax, threads).astype(np.float32),
            dtype=np.float32,
            shape=(nside * (nside + 1) // 2 + nside * nside,),
        )
    )
    return _unfold(1.0 + part.astype(np.float64), nside)


def shared_weights(nside: int, *, threads: int = 0) -> NDArray[np.float64]:
    """Give `pixel_weights` as one array, for all that hold them at a time; it is not changed."""
    weights = _SHARED.get(nside)
    if weights is None:
        weights = _SHARED[nside] = pixel_weights(nside, threads=threads)
    return weights


def _solve(nside: int, degree: int, threads: int) -> NDArray[np.float64]:
    """Give w - 1 on the first quarter of the northern rings and the equator."""
    rings: dict[str, Any] = {k: np.asarray(v)[: 2 * nside] for k, v in rings_of(nside).items()}
    quarter = rings["nphi"].astype(np.int64) // 4
    start = np.concatenate([[0], np.cumsum(quarter)])
    # A map of period 90° equals a map on rings of a quarter of the pixels; m = 4k becomes m = k.
    maps: dict[str, Any] = {
        "nphi": quarter.astype(np.uint64),
        "phi0": 4 * rings["phi0"],
        "ringstart": start[:-1].astype(np.uint64),
        "nthreads": threads,
    }
    m = np.arange(0, degree + 1, 4)
    count = degree + 1 - m
    legendre: dict[str, Any] = {
        "lmax": degree,
        "theta": rings["theta"],
        "spin": 0,
        "mval": m.astype(np.uint64),
        "mstart": (np.cumsum(count) - count - m).astype(np.uint64),
        "nthreads": threads,
    }
    ell = np.concatenate([np.arange(first, degree + 1) for first in m])
    even = ell % 2 == 0
    twice = np.repeat(np.where(m == 0, 1.0, 2.0), count) * even
    # Pixels that a pixel represents: four quarters times two hemispheres, one at the equator.
    many = np.repeat(np.where(np.arange(2 * nside) < 2 * nside - 1, 8.0, 4.0), quarter)

    def synthesis(a: NDArray[np.float64]) -> NDArray[np.float64]:
        leg = ducc0.sht.alm2leg(alm=(a * even).astype(np.complex128)[None], **legendre)
        return np.asarray(ducc0.sht.leg2map(leg=leg, **maps)[0])

    def adjoint(values: NDArray[np.float64]) -> NDArray[np.float64]:
        leg = ducc0.sht.map2leg(map=(many * values)[None], mmax=m.size - 1, **maps)
        return np.asarray(ducc0.sht.leg2alm(leg=leg, **legendre)[0].real * even)

    norm = 12 * nside**2 / np.sqrt(4 * np.pi)
    rest = -adjoint(np.ones(start[-1]))
    rest[0] += norm
    u, direction = np.zeros_like(rest), rest.copy()
    rho = float(np.sum(twice * rest**2))
    for _ in range(_MAX_ITERATIONS):
        if np.abs(rest).max() <= _TOLERANCE * norm:
            break
        image = adjoint(synthesis(direction))
        curvature = float(np.sum(twice * direction * image))
        if curvature <= 0:  # the rest is rounding, without effect on pixels
            break
        step = rho / curvature
        u += step * direction
        rest -= step * image
        rho, last = float(np.sum(twice * rest**2)), rho
        direction *= rho / last
        direction += rest
    return synthesis(u)


def _unfold(part: NDArray[np.float64], nside: int) -> NDArray[np.float64]:
    """Repeat the quarters of the northern rings and mirror them south."""
    length = np.asarray(rings_of(nside)["nphi"]).astype(np.int64)
    stop = np.cumsum(length)
    out = np.empty(12 * nside**2)
    first = 0
    for ring in range(2 * nside):
        quarter = length[ring] // 4
        row = np.tile(part[first : first + quarter], 4)
        first += quarter
        out[stop[ring] - length[ring] : stop[ring]] = row
        mirror = 4 * nside - 2 - ring
        out[stop[mirror] - length[mirror] : stop[mirror]] = row
    return out
