"""Transform between maps and spherical harmonics, and between spectra and correlations.

Maps are ``(npix,)`` float64 in RING order; alm are ``((lmax + 1)(lmax + 2) / 2,)`` complex128 in
healpy's order (m-major, m >= 0). The transforms are ducc0's (Reinecke & Seljebotn 2013).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import ducc0
import numpy as np
from numpy.typing import NDArray

from skyfill._checks import check_nside, nside_of
from skyfill._jit import compiled

__all__ = [
    "adjoint",
    "almxfl",
    "analysis",
    "cl_of",
    "couple",
    "lmax_of",
    "synthesis",
    "truncated",
]

Alm = NDArray[np.complex128]
Map = NDArray[np.float64]


@lru_cache(maxsize=4)
def _rings(nside: int) -> dict[str, Any]:
    return dict(ducc0.healpix.Healpix_Base(nside, "RING").sht_info())


def lmax_of(alm: Alm) -> int:
    """Give the largest multipole of a set of alm with mmax = lmax."""
    return int(np.sqrt(2 * alm.shape[-1] + 0.25) - 1.5 + 1e-6)


def synthesis(alm: Alm, nside: int, *, threads: int = 0) -> Map:
    """Sum harmonics on the pixel centres, Y a (healpy's ``alm2map``).

    Parameters
    ----------
    alm
        ``(nalm,)``, mmax = lmax.
    nside
        Resolution of the map.
    threads
        Number of threads; 0 for all there are.
    """
    check_nside(nside)
    lmax = lmax_of(alm)
    return np.asarray(
        ducc0.sht.synthesis(
            alm=np.ascontiguousarray(alm, dtype=np.complex128)[None],
            spin=0,
            lmax=lmax,
            mmax=lmax,
            nthreads=threads,
            **_rings(nside),
        )[0]
    )


def adjoint(values: Map, *, lmax: int, threads: int = 0) -> Alm:
    """Apply the transpose of `synthesis`, Yᵀ d: a plain sum over pixels, without weights."""
    nside = nside_of(values.size, "the map to transform")
    return np.asarray(
        ducc0.sht.adjoint_synthesis(
            map=np.ascontiguousarray(values, dtype=np.float64)[None],
            spin=0,
            lmax=lmax,
            mmax=lmax,
            nthreads=threads,
            **_rings(nside),
        )[0]
    )


def analysis(values: Map, *, lmax: int, iterations: int = 0, threads: int = 0) -> Alm:
    """Give the alm of a map (healpy's ``map2alm`` with equal weights).

    Parameters
    ----------
    values
        ``(npix,)``, RING, no missing pixel.
    lmax
        Largest multipole; equal weights are good to 1% below 1.5 nside only when iterated.
    iterations
        Jacobi iterations, each one more pair of transforms.
    threads
        Number of threads; 0 for all there are.
    """
    nside = nside_of(values.size, "the map to transform")
    area = 4 * np.pi / values.size
    alm = area * adjoint(values, lmax=lmax, threads=threads)
    for _ in range(iterations):
        rest = values - synthesis(alm, nside, threads=threads)
        alm += area * adjoint(rest, lmax=lmax, threads=threads)
    return alm


def almxfl(alm: Alm, fl: NDArray[np.float64]) -> Alm:
    """Multiply a_lm by f_l; ``fl`` beyond its end counts as zero."""
    lmax = lmax_of(alm)
    factor = np.zeros(lmax + 1)
    n = min(lmax + 1, fl.size)
    factor[:n] = fl[:n]
    out = np.empty_like(alm)
    start = 0
    for m in range(lmax + 1):
        stop = start + lmax + 1 - m
        out[start:stop] = alm[start:stop] * factor[m:]
        start = stop
    return out


def truncated(alm: Alm, lmax: int) -> Alm:
    """Keep the multipoles up to ``lmax``."""
    old = lmax_of(alm)
    starts = [m * (2 * old + 1 - m) // 2 for m in range(lmax + 1)]
    return np.concatenate([alm[s + m : s + lmax + 1] for m, s in enumerate(starts)])


def cl_of(alm: Alm) -> NDArray[np.float64]:
    """Give the spectrum of a set of alm, Σ_m |a_lm|² / (2l + 1)."""
    lmax = lmax_of(alm)
    power = np.abs(alm) ** 2
    cl = power[: lmax + 1].copy()
    start = lmax + 1
    for m in range(1, lmax + 1):
        stop = start + lmax + 1 - m
        cl[m:] += 2 * power[start:stop]
        start = stop
    return np.asarray(cl / (2 * np.arange(lmax + 1) + 1))


@compiled
def _legendre_sum(coefficients: Map, x: Map, out: Map) -> None:
    """Fill out[i] = Σ_l coefficients[l] P_l(x[i])."""
    lmax = coefficients.size - 1
    for i in range(x.size):
        before, now = 1.0, x[i]
        total = coefficients[0]
        if lmax > 0:
            total += coefficients[1] * now
        for ell in range(2, lmax + 1):
            before, now = now, ((2 * ell - 1) * x[i] * now - (ell - 1) * before) / ell
            total += coefficients[ell] * now
        out[i] = total


@compiled
def _legendre_project(values: Map, x: Map, out: Map) -> None:
    """Fill out[l] = Σ_i values[i] P_l(x[i])."""
    lmax = out.size - 1
    for ell in range(lmax + 1):
        out[ell] = 0.0
    for i in range(x.size):
        before, now = 1.0, x[i]
        out[0] += values[i]
        if lmax > 0:
            out[1] += values[i] * now
        for ell in range(2, lmax + 1):
            before, now = now, ((2 * ell - 1) * x[i] * now - (ell - 1) * before) / ell
            out[ell] += values[i] * now


@lru_cache(maxsize=2)
def _nodes(n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    theta = ducc0.misc.GL_thetas(n)
    weights = ducc0.misc.GL_weights(n, 1)
    return np.cos(theta), np.asarray(weights) / (2 * np.pi)


def couple(cl: NDArray[np.float64], mask_cl: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the mean spectrum of a masked sky: the pseudo-C_l of a field with spectrum ``cl``.

    The coupling is a product of correlation functions, ξ(θ) ξ_w(θ), taken on Gauss-Legendre nodes
    (Hivon et al. 2002, eq. A31, in real space), so it costs lmax² and no 3j symbol.

    Parameters
    ----------
    cl
        ``(lmax + 1,)`` spectrum of the whole sky.
    mask_cl
        ``(any,)`` spectrum of the mask, Σ_m |w_lm|² / (2l + 1); up to 2 lmax where it matters.

    Returns
    -------
    ``(lmax + 1,)`` mean of Σ_m |ã_lm|² / (2l + 1), not divided by the sky fraction.
    """
    x, weight = _nodes((2 * cl.size + mask_cl.size) // 2 + 1)
    field, mask = np.empty(x.size), np.empty(x.size)
    _legendre_sum((2 * np.arange(cl.size) + 1) / (4 * np.pi) * cl, x, field)
    _legendre_sum((2 * np.arange(mask_cl.size) + 1) / (4 * np.pi) * mask_cl, x, mask)
    out = np.empty(cl.size)
    _legendre_project(2 * np.pi * weight * field * mask, x, out)
    return out
