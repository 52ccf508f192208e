"""Transform between maps and spherical harmonics, and between spectra and correlations.

Maps are ``(npix,)`` float64 in RING order; alm are ``((lmax + 1)(lmax + 2) / 2,)`` complex128 in
healpy's order (m-major, m >= 0). The transforms are ducc0's (Reinecke & Seljebotn 2013).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import ducc0
import numpy as np
from numba import prange
from numpy.typing import NDArray

from skyfill._checks import check_nside, nside_of
from skyfill._jit import compiled, parallel

__all__ = [
    "Rings",
    "adjoint",
    "almxfl",
    "analysis",
    "cl_of",
    "correlation",
    "coupling",
    "lmax_of",
    "synthesis",
    "truncated",
]

Alm = NDArray[np.complex128]
Map = NDArray[np.float64]


@lru_cache(maxsize=4)
def _rings(nside: int) -> dict[str, Any]:
    return dict(ducc0.healpix.Healpix_Base(nside, "RING").sht_info())


class Rings:
    """Transforms of maps that are known, or wanted, at some pixels only.

    Only the rings that these pixels lie on are transformed: a band of ±14° costs a sixth of the
    sphere.

    Parameters
    ----------
    nside
        Resolution.
    pixels
        ``(n,)`` pixel numbers, RING, increasing.
    threads
        Number of threads; 0 for all there are.
    scratch
        The attribute of that name of another one, of at least these pixels, to save memory: the
        two cannot work at once.

    Attributes
    ----------
    scratch
        ``(1, n)``: what syntheses write to.
    """

    def __init__(
        self,
        nside: int,
        pixels: NDArray[np.int64],
        *,
        threads: int = 0,
        scratch: Map | None = None,
    ) -> None:
        table = _rings(check_nside(nside))
        first = np.asarray(table["ringstart"], dtype=np.int64)
        ring = np.searchsorted(first, pixels, side="right") - 1
        used = np.unique(ring)
        length = np.asarray(table["nphi"])[used].astype(np.int64)
        start = np.concatenate([[0], np.cumsum(length)])
        self._geometry = {
            "theta": np.asarray(table["theta"])[used],
            "phi0": np.asarray(table["phi0"])[used],
            "nphi": np.asarray(table["nphi"])[used],
            "ringstart": start[:-1].astype(np.uint64),
            "spin": 0,
            "nthreads": threads,
        }
        self._index = pixels - first[ring] + start[np.searchsorted(used, ring)]
        size = int(start[-1])
        self.scratch: Map = np.empty((1, size)) if scratch is None else scratch[:, :size]
        self._padded = np.zeros((1, size))  # zero but at the pixels, always

    def filtered(self, values: Map, fl: Map, factor: Map) -> Map:
        """Give F Y f Yᵀ F v.

        Parameters
        ----------
        values
            ``(n,)``: v, zero outside the pixels.
        fl
            ``(lmax + 1,)``: f.
        factor
            ``(n,)``: the diagonal F.
        """
        lmax = fl.size - 1
        long = values.size > _LONG
        _SPREAD[long](values, factor, self._index, self._padded[0])
        alm = ducc0.sht.adjoint_synthesis(map=self._padded, lmax=lmax, mmax=lmax, **self._geometry)[
            0
        ]
        _almxfl(alm, fl, alm)
        ducc0.sht.synthesis(alm=alm[None], map=self.scratch, lmax=lmax, mmax=lmax, **self._geometry)
        out = np.empty(values.size)
        _COLLECT[long](self.scratch[0], factor, self._index, out)
        return out


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
    out = np.empty(alm.shape, dtype=np.complex128)
    _almxfl(np.ascontiguousarray(alm, dtype=np.complex128), factor, out)
    return out


def _spread(values: Map, factor: Map, index: NDArray[np.int64], out: Map) -> None:
    for i in prange(index.size):
        out[index[i]] = factor[i] * values[i]


def _collect(values: Map, factor: Map, index: NDArray[np.int64], out: Map) -> None:
    for i in prange(index.size):
        out[i] = factor[i] * values[index[i]]


# Threads that wait for work spin for some milliseconds and hold the cores that the transforms' own
# threads need: loops that take no longer than that run on one thread.
_SPREAD = {False: compiled(_spread), True: parallel(_spread)}
_COLLECT = {False: compiled(_collect), True: parallel(_collect)}
_LONG = 2_000_000


@compiled
def _almxfl(alm: Alm, factor: Map, out: Alm) -> None:
    lmax = factor.size - 1
    for m in range(lmax + 1):
        start = m * (2 * lmax + 1 - m) // 2
        for ell in range(m, lmax + 1):
            out[start + ell] = alm[start + ell] * factor[ell]


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


@parallel
def _legendre(x: Map, out: Map) -> None:
    """Fill out[i, l] = P_l(x[i])."""
    for i in prange(x.size):
        out[i, 0] = 1.0
        if out.shape[1] > 1:
            out[i, 1] = x[i]
        for ell in range(2, out.shape[1]):
            out[i, ell] = (
                (2 * ell - 1) * x[i] * out[i, ell - 1] - (ell - 1) * out[i, ell - 2]
            ) / ell


@parallel
def _correlation(cl: Map, x: Map, out: Map) -> None:
    for i in prange(x.size):
        before, last = 1.0, x[i]
        total = cl[0] + (3.0 * cl[1] * last if cl.size > 1 else 0.0)
        for ell in range(2, cl.size):
            before, last = last, ((2 * ell - 1) * x[i] * last - (ell - 1) * before) / ell
            total += (2 * ell + 1) * cl[ell] * last
        out[i] = total / (4 * np.pi)


def correlation(cl: Map, cosine: Map) -> Map:
    """Give the correlation function of a spectrum, Σ (2l + 1) C_l P_l(cos θ) / 4π.

    Parameters
    ----------
    cl
        ``(lmax + 1,)``.
    cosine
        ``(n,)`` cosines of the angles.
    """
    out = np.empty(cosine.size)
    _correlation(np.ascontiguousarray(cl), np.ascontiguousarray(cosine), out)
    return out


def coupling(mask_cl: Map, edges: NDArray[np.int64], *, lmax: int) -> Map:
    """Give the response of a masked sky's binned pseudo-spectrum to the sky's spectrum.

    The mean of Σ_m |ã_lm|² / (2l + 1), averaged over a bin with weights 2l + 1, is this matrix
    times C_l. The mask couples multipoles by the product of correlation functions, ξ(θ) ξ_w(θ)
    (Hivon et al. 2002, eq. A31, in real space), taken on Gauss-Legendre nodes: no 3j symbol.

    Parameters
    ----------
    mask_cl
        ``(any,)`` spectrum of the mask, Σ_m |w_lm|² / (2l + 1).
    edges
        ``(nbin + 1,)`` first multipole of each bin; the last one ends the last bin.
    lmax
        Largest multipole of the sky that may leak into the bins.

    Returns
    -------
    ``(nbin, lmax + 1)``; the pseudo-spectrum is not divided by the sky fraction.
    """
    nodes = (int(edges[-1]) + lmax + mask_cl.size) // 2 + 1
    x = np.cos(ducc0.misc.GL_thetas(nodes))
    weight = np.asarray(ducc0.misc.GL_weights(nodes, 1))
    modes = 2.0 * np.arange(max(lmax + 1, mask_cl.size, int(edges[-1]))) + 1
    ends = edges[:-1]
    count = np.add.reduceat(modes[: edges[-1]], ends)
    response = np.zeros((ends.size, lmax + 1))
    table = np.empty((256, modes.size))
    for start in range(0, nodes, 256):
        part = slice(start, min(start + 256, nodes))
        p = table[: part.stop - part.start]
        _legendre(x[part], p)
        p *= modes  # (2l + 1) P_l
        mask = p[:, : mask_cl.size] @ mask_cl / (4 * np.pi)
        bins = np.add.reduceat(p[:, : edges[-1]], ends, axis=1) / count
        bins *= (weight[part] * mask)[:, None] / (4 * np.pi)
        response += bins.T @ p[:, : lmax + 1]
    return response
