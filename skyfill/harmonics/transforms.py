"""Transform parts of maps, harmonics, spectra and correlations into each other.

Maps are ``(npix,)`` float64 in RING order; alm are ``((lmax + 1)(lmax + 2) / 2,)`` complex128 in
healpy's order (m-major, m >= 0). Whole maps are transformed in `skyfill.harmonics.sphere`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any

import ducc0
import numpy as np
from numba import prange
from numpy.typing import NDArray

from skyfill.harmonics.ringmodes import adjoint_on, scratch, synthesis_on
from skyfill.harmonics.sphere import lmax_of, rings
from skyfill.healpix.checks import check_nside
from skyfill.healpix.jit import by_parts, by_pieces, compiled, parallel

__all__ = [
    "Rings",
    "accumulate",
    "almxfl",
    "cl_of",
    "correlation",
    "correlations",
    "coupling",
    "coupling_pol",
    "filtered",
    "mixed",
    "spin2_window",
    "truncated",
]

Alm = NDArray[np.complex128]
Map = NDArray[np.float64]
Factor = NDArray[Any]  # float32 or float64

#: Approximate number of pixels in the rings that `Rings` transforms at a time.
_PIXELS = 2**24
#: Number of pixels, or coefficients, for which another thread is worth while.
_MANY = 2**18
#: Angles at which a sum over multipoles takes less time than starting a thread.
_FEW = 64


def filtered(alm: Alm, fl: Map) -> Alm:
    """Multiply a_lm by f_l in place; ``fl`` is ``(lmax + 1,)``."""
    parts = alm.view(np.float64).reshape(-1, 2)
    _striped(alm.size, lambda first, step: _almxfl(parts, fl, parts, first, step))
    return alm


class Rings:
    """Transforms of maps that are known, or needed, only at some pixels.

    Only the rings of these pixels are transformed: a band of ±14° takes a sixth of the time of the
    whole sphere.

    Parameters
    ----------
    nside
        Resolution.
    pixels
        ``(n,)`` pixel numbers, RING, increasing.
    spin
        0; or 2, for Q and U: vectors are then ``(2, n)``, with one factor for both, and alm are
        ``(2, nalm)``, E and B.
    threads
        Number of threads; 0 for all cores.
    """

    filtered = staticmethod(filtered)

    def __init__(
        self, nside: int, pixels: NDArray[np.int64], *, spin: int = 0, threads: int = 0
    ) -> None:
        table = {key: np.asarray(value) for key, value in rings(check_nside(nside)).items()}
        first = table["ringstart"].astype(np.int64)
        ring = np.searchsorted(first, pixels, side="right") - 1
        used = np.unique(ring)
        length = table["nphi"].astype(np.int64)
        index = pixels - first[ring]
        # Rings are transformed together with their mirror images, some at a time.
        depth = np.minimum(used, first.size - 1 - used)
        depth, inverse = np.unique(depth, return_inverse=True)
        pixels_of = np.cumsum(np.bincount(inverse, length[used], depth.size))
        group = (pixels_of // _PIXELS)[inverse].astype(np.int64)
        self._blocks: list[tuple[dict[str, Any], list[slice]]] = []
        size = 1
        for number in range(int(group.max(initial=-1)) + 1):
            mine = used[group == number]
            stop = np.cumsum(length[mine])
            geometry: dict[str, Any] = {key: table[key][mine] for key in ("theta", "phi0", "nphi")}
            geometry["ringstart"] = (stop - length[mine]).astype(np.uint64)
            parts = []
            for run in np.split(mine, np.flatnonzero(np.diff(mine) > 1) + 1) if mine.size else []:
                part = slice(*np.searchsorted(ring, [run[0], run[-1] + 1]))
                where = np.searchsorted(mine, ring[part])
                index[part] += (stop - length[mine])[where]
                parts.append(part)
            if parts:
                self._blocks.append((geometry, parts))
                size = max(size, int(stop[-1]))
        self._index = index.astype(np.int32)  # positions among the pixels of some rings
        self._planes = 2 if spin else 1
        self._size = size
        self._options = {"spin": spin, "threads": threads}

    @cached_property
    def _ones(self) -> Factor:
        return np.ones(self._index.size)

    def adjoint(self, values: Map, factor: Factor | None, lmax: int) -> Alm:
        """Give Yᵀ F v, with v ``(n,)`` zero outside the pixels; F = 1 if there is no factor."""
        factor = self._ones if factor is None else factor
        rows = values.reshape(self._planes, -1)
        size = (lmax + 1) * (lmax + 2) // 2 if not self._blocks else 0
        total: Alm = np.zeros((self._planes, size), complex)
        with scratch(self._planes, self._size) as planes:
            for geometry, parts in self._blocks:
                sky = planes[:, : _pixels_of(geometry)]
                by_pieces(sky.shape[1], partial(_clear, sky))
                for row, padded in zip(rows, sky, strict=True):
                    for part in parts:
                        given = row[part], factor[part], self._index[part]
                        by_pieces(len(given[0]), partial(_spread_piece, *given, padded))
                alm = adjoint_on(geometry, sky, lmax=lmax, **self._options)
                total = np.add(total, alm, out=total) if total.size else alm
        return self._shaped(total)

    def synthesis(
        self, alm: Alm, factor: Factor | None, *, out: Map | None = None, add: bool = False
    ) -> Map:
        """Give F Y a at the pixels, ``(n,)``, with the diagonal F ``(n,)``, or F = 1.

        It is written to ``out``, or added to it, if that is given.
        """
        lmax = lmax_of(alm)
        alm = alm.reshape(self._planes, -1)
        factor = self._ones if factor is None else factor
        if out is None:
            out = self._shaped(np.empty((self._planes, factor.size)))
        rows = out.reshape(self._planes, -1)
        with scratch(self._planes, self._size) as planes:
            for geometry, parts in self._blocks:
                sky = planes[:, : _pixels_of(geometry)]
                synthesis_on(geometry, alm, lmax=lmax, out=sky, **self._options)
                for plane, row in zip(sky, rows, strict=True):
                    for part in parts:
                        given = factor[part], self._index[part], row[part], add
                        by_pieces(len(given[0]), partial(_collect_piece, plane, *given))
        return out

    def _shaped(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Give one row without its leading axis, which vectors of spin 0 do not have."""
        return rows if self._planes == 2 else np.asarray(rows[0])


def _pixels_of(geometry: dict[str, Any]) -> int:
    """Count the pixels of rings that lie one after the other."""
    return int(geometry["ringstart"][-1] + geometry["nphi"][-1])


def _clear(planes: Map, here: slice) -> None:
    planes[:, here] = 0.0


def _spread_piece(
    values: Map, factor: Factor, index: NDArray[np.int32], out: Map, here: slice
) -> None:
    _spread(values[here], factor[here], index[here], out)


def _collect_piece(
    values: Map, factor: Factor, index: NDArray[np.int32], out: Map, add: bool, here: slice
) -> None:
    _collect(values, factor[here], index[here], out[here], add)


def almxfl(alm: Alm, fl: NDArray[np.float64]) -> Alm:
    """Multiply a_lm by f_l; ``fl`` beyond its end counts as zero."""
    lmax = lmax_of(alm)
    factor = np.zeros(lmax + 1)
    n = min(lmax + 1, fl.size)
    factor[:n] = fl[:n]
    out = np.empty(alm.shape, dtype=np.complex128)
    alm = np.ascontiguousarray(alm, dtype=np.complex128)
    given, made = (each.view(np.float64).reshape(-1, 2) for each in (alm, out))
    _striped(alm.size, lambda first, step: _almxfl(given, factor, made, first, step))
    return out


def _striped(size: int, work: Callable[[int, int], None]) -> None:
    """Call ``work(first, step)`` for every step-th m from each first one, in several threads."""
    number = max(size // _MANY, 1)

    def some(part: slice) -> None:
        for k in range(part.start, part.stop):
            work(k, number)

    by_parts(number, some, least=1)


@compiled
def _spread(values: Map, factor: Map, index: NDArray[np.int32], out: Map) -> None:
    for i in range(index.size):
        out[index[i]] = factor[i] * values[i]


@compiled
def _collect(values: Map, factor: Map, index: NDArray[np.int32], out: Map, add: bool) -> None:
    for i in range(index.size):
        found = factor[i] * values[index[i]]
        out[i] = out[i] + found if add else found


@compiled
def _almxfl(alm: Map, factor: Map, out: Map, first: int, step: int) -> None:
    """Multiply real and imaginary parts, ``(nalm, 2)``: quicker than complex numbers."""
    lmax = factor.size - 1
    for m in range(first, lmax + 1, step):
        start = m * (2 * lmax + 1 - m) // 2
        for ell in range(m, lmax + 1):
            out[start + ell, 0] = alm[start + ell, 0] * factor[ell]
            out[start + ell, 1] = alm[start + ell, 1] * factor[ell]


def mixed(
    alm: Sequence[Alm],
    matrix: NDArray[np.float64],
    lmax: Sequence[int] | None = None,
    *,
    overwrite: bool = False,
) -> list[Alm]:
    """Multiply the vector of alm of each l and m by a matrix that depends on l.

    Parameters
    ----------
    alm
        Fields: ``(nalm,)``, or ``(2, nalm)`` of spin 2. They may end at different multipoles.
    matrix
        ``(rows, columns, n)``, with a column for each row of the alm; zero from l = n on.
    lmax
        Largest multipole of each field of the result. If not given, fields are as those of ``alm``,
        and the matrix is square.
    overwrite
        Whether the result takes the place of the alm; not with ``lmax``.

    Returns
    -------
    The fields; with ``lmax``, the last one takes the rows that the others, of one row, leave.
    """
    if lmax is None:
        count = sum(len(np.atleast_2d(each)) for each in alm)
        if matrix.shape[:2] != (count, count):  # the loops check no bounds
            raise ValueError(f"{count} rows of alm need {count} x {count}, got {matrix.shape}")
        out = list(alm) if overwrite else [np.empty_like(each) for each in alm]
        _mix_into(out, alm, np.ascontiguousarray(matrix))
        return out
    rows = [row for each in alm for row in np.atleast_2d(each)]
    counts = [1] * (len(lmax) - 1) + [len(matrix) - len(lmax) + 1]
    sizes = [(last + 1) * (last + 2) // 2 for last in lmax]
    out = [
        np.zeros(size if count == 1 else (count, size), np.complex128)
        for count, size in zip(counts, sizes, strict=True)
    ]
    into = [row for each in out for row in np.atleast_2d(each)]
    for factors, target in zip(matrix, into, strict=True):
        for factor, source in zip(factors, rows, strict=True):
            accumulate(source, factor, target)
    return out


def _mix_into(out: Sequence[Alm], alm: Sequence[Alm], matrix: NDArray[np.float64]) -> None:
    """Multiply T with E and B, or E and B, by a square matrix, in one pass over the memory."""
    last_t = lmax_of(alm[0]) if alm[0].ndim == 1 else -1
    last_p = lmax_of(alm[-1]) if alm[-1].ndim > 1 else -1
    given = (*_planes(alm), *_planes(out), matrix, last_t, last_p)
    size = max(each.shape[-1] for each in alm)
    _striped(size, lambda first, step: _mix(*given, first, step))


def _planes(alm: Sequence[Alm]) -> tuple[Map, Map, Map]:
    """Give T, E and B as real and imaginary parts, ``(nalm, 2)``, empty where there is none."""
    rows = [row.view(np.float64).reshape(-1, 2) for each in alm for row in np.atleast_2d(each)]
    nothing = np.empty((0, 2))
    t = rows[0] if alm[0].ndim == 1 else nothing
    return (t, *rows[-2:]) if alm[-1].ndim > 1 else (t, nothing, nothing)


@compiled
def _mix(
    t: Map,
    e: Map,
    b: Map,
    into_t: Map,
    into_e: Map,
    into_b: Map,
    matrix: NDArray[np.float64],
    last_t: int,
    last_p: int,
    first: int,
    step: int,
) -> None:
    """Multiply real and imaginary parts, ``(nalm, 2)``, up to the last l of T, and of E and B."""
    top = matrix.shape[2] - 1
    both = min(last_t, last_p, top)
    own = matrix.shape[0] - 2
    for m in range(first, max(last_t, last_p) + 1, step):
        at_t, at_p = m * (2 * last_t + 1 - m) // 2, m * (2 * last_p + 1 - m) // 2
        for ell in range(m, both + 1):
            for part in range(2):
                x, y, z = t[at_t + ell, part], e[at_p + ell, part], b[at_p + ell, part]
                into_t[at_t + ell, part] = (
                    matrix[0, 0, ell] * x + matrix[0, 1, ell] * y + matrix[0, 2, ell] * z
                )
                into_e[at_p + ell, part] = (
                    matrix[1, 0, ell] * x + matrix[1, 1, ell] * y + matrix[1, 2, ell] * z
                )
                into_b[at_p + ell, part] = (
                    matrix[2, 0, ell] * x + matrix[2, 1, ell] * y + matrix[2, 2, ell] * z
                )
        begin = max(both + 1, m)
        for ell in range(begin, last_t + 1):
            factor = matrix[0, 0, ell] if ell <= top else 0.0
            for part in range(2):
                into_t[at_t + ell, part] = factor * t[at_t + ell, part]
        for ell in range(begin, last_p + 1):
            for part in range(2):
                if ell <= top:
                    y, z = e[at_p + ell, part], b[at_p + ell, part]
                    into_e[at_p + ell, part] = (
                        matrix[own, own, ell] * y + matrix[own, own + 1, ell] * z
                    )
                    into_b[at_p + ell, part] = (
                        matrix[own + 1, own, ell] * y + matrix[own + 1, own + 1, ell] * z
                    )
                else:
                    into_e[at_p + ell, part] = into_b[at_p + ell, part] = 0.0


def accumulate(source: Alm, factor: Map, target: Alm) -> None:
    """Add f_l a_lm to other alm, in place, up to the lowest of the three last multipoles.

    Parameters
    ----------
    source, target
        ``(nalm,)``, each with its own lmax.
    factor
        ``(n,)``, f_l.
    """
    if factor.any():
        factor, lmax, into = np.ascontiguousarray(factor), lmax_of(source), lmax_of(target)
        _striped(
            min(source.size, target.size),
            lambda first, step: _accumulate(source, factor, target, lmax, into, first, step),
        )


@compiled
def _accumulate(
    source: Alm, factor: Map, target: Alm, lmax: int, into: int, first: int, step: int
) -> None:
    last = min(lmax, into, factor.size - 1)
    for m in range(first, last + 1, step):
        start, place = m * (2 * lmax + 1 - m) // 2, m * (2 * into + 1 - m) // 2
        for ell in range(m, last + 1):
            target[place + ell] += factor[ell] * source[start + ell]


def truncated(alm: Alm, lmax: int) -> Alm:
    """Give the coefficients up to ``lmax``."""
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
def _legendre_rows(x: Map, out: Map) -> None:
    for i in range(x.size):
        out[i, 0] = 1.0
        if out.shape[1] > 1:
            out[i, 1] = x[i]
        for ell in range(2, out.shape[1]):
            out[i, ell] = (
                (2 * ell - 1) * x[i] * out[i, ell - 1] - (ell - 1) * out[i, ell - 2]
            ) / ell


def _legendre(x: Map, out: Map) -> None:
    """Fill out[i, l] = P_l(x[i])."""
    by_parts(x.size, lambda part: _legendre_rows(x[part], out[part]), least=_FEW)


@compiled
def _correlation(cl: Map, x: Map, out: Map) -> None:
    for i in range(x.size):
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
    cl, x = np.ascontiguousarray(cl), np.ascontiguousarray(cosine)
    out = np.empty(x.size)
    by_parts(x.size, lambda part: _correlation(cl, x[part], out[part]), least=_FEW)
    return out


@parallel
def _wigner(cl: Map, x: Map, n: int, out: Map) -> None:
    """Sum (2l + 1) C_l d^l_2n(θ) / 4π, n = 2, -2 or 0, by recurrence upwards in l."""
    product = 2 * n
    for i in prange(x.size):
        last = ((1 + x[i] * n / 2) / 2) ** 2 if n else math.sqrt(6.0) / 4 * (1 - x[i] * x[i])
        before, total, root = 0.0, 0.0, 0.0
        for ell in range(2, cl.size):
            total += (2 * ell + 1) * cl[ell] * last
            up = ell + 1.0
            after = math.sqrt((up * up - 4) * (up * up - n * n))
            new = (2 * ell + 1) * (ell * up * x[i] - product) * last - up * root * before
            before, last, root = last, new / (ell * after), after
        out[i] = total / (4 * math.pi)


@parallel
def _wigner_table(x: Map, n: int, out: Map) -> None:
    """Fill out[i, l] = d^l_2n(θ), n = 2 or -2, by the recurrence of `_wigner`."""
    product = 2 * n
    for i in prange(x.size):
        last = ((1 + x[i] * n / 2) / 2) ** 2
        before, root = 0.0, 0.0
        out[i, :2] = 0.0
        for ell in range(2, out.shape[1]):
            out[i, ell] = last
            up = ell + 1.0
            after = math.sqrt((up * up - 4) * (up * up - n * n))
            new = (2 * ell + 1) * (ell * up * x[i] - product) * last - up * root * before
            before, last, root = last, new / (ell * after), after


def correlations(cl: Map, cosine: Map, n: int) -> Map:
    """Give Σ (2l + 1) C_l d^l_2n(θ) / 4π, a correlation function of fields of spin 2.

    With EE + BB and n = 2 it is ξ₊, with EE - BB and n = -2 it is ξ₋ (Kamionkowski et al. 1997);
    with -TE and n = 0 it is the correlation of T with Q along the connecting great circle.

    Parameters
    ----------
    cl
        ``(lmax + 1,)``; not read below l = 2.
    cosine
        ``(n,)`` cosines of the angles.
    n
        2, -2 or 0.
    """
    out = np.empty(cosine.size)
    _wigner(np.ascontiguousarray(cl), np.ascontiguousarray(cosine), n, out)
    return out


def coupling(mask_cl: Map, edges: NDArray[np.int64], *, lmax: int) -> Map:
    """Give the response of a masked sky's binned pseudo-spectrum to the sky's spectrum.

    The mean of Σ_m |ã_lm|² / (2l + 1), averaged over a bin with weights 2l + 1, is this matrix
    times C_l. The mask couples multipoles by the product of correlation functions, ξ(θ) ξ_w(θ)
    (Hivon et al. 2002, eq. A31, in real space), on Gauss-Legendre nodes, without 3j symbols.

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
    return _coupled(mask_cl, edges, lmax, _legendre)


def coupling_pol(mask_cl: Map, edges: NDArray[np.int64], *, lmax: int) -> tuple[Map, Map]:
    """Give the responses of the binned pseudo-spectra of a masked Q and U, as `coupling` for T.

    The first is that of EE + BB to the EE + BB of the sky, the second that of EE - BB to its
    EE - BB: M⁺⁺ + M⁻⁻ and M⁺⁺ - M⁻⁻ of Kogut et al. (2003, ApJS 148, 161, appendix A), here by the
    products ξ₊ ξ_w and ξ₋ ξ_w of correlation functions (Chon et al. 2004, MNRAS 350, 914).

    Parameters
    ----------
    mask_cl, edges, lmax
        As for `coupling`. Q and U have one mask.

    Returns
    -------
    Two ``(nbin, lmax + 1)``, zero below l = 2.
    """

    def table(n: int) -> Callable[[Map, Map], None]:
        return lambda x, out: _wigner_table(x, n, out)

    plus, minus = (_coupled(mask_cl, edges, lmax, table(n)) for n in (2, -2))
    return plus, minus


def _coupled(
    mask_cl: Map, edges: NDArray[np.int64], lmax: int, functions: Callable[[Map, Map], None]
) -> Map:
    """Sum the products of a mask's correlation function and two others over all angles."""
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
        if functions is not _legendre:
            functions(x[part], p)
            p *= modes
        bins = np.add.reduceat(p[:, : edges[-1]], ends, axis=1) / count
        bins *= (weight[part] * mask)[:, None] / (4 * np.pi)
        response += bins.T @ p[:, : lmax + 1]
    return response


def spin2_window(window: Map) -> Map:
    """Give what a symmetric beam of b_l, ``(lmax + 1,)``, does to E and B at every l.

    The profile of the beam, Σ (2l + 1) b_l P_l / 4π, acts on P with the axes that are carried along
    great circles, so its transform is that with d^l_22 in place of P_l (Challinor et al. 2000,
    Phys. Rev. D 62, 123002). At l it depends only on b_l up to there. For a Gaussian it is b_l
    exp(2σ²).
    """
    nodes = window.size
    x = np.cos(ducc0.misc.GL_thetas(nodes))
    profile = np.asarray(ducc0.misc.GL_weights(nodes, 1)) * correlation(window, x)
    out = np.zeros(window.size)
    table = np.empty((256, window.size))
    for start in range(0, nodes, 256):
        part = slice(start, min(start + 256, nodes))
        d = table[: part.stop - part.start]
        _wigner_table(x[part], 2, d)
        out += profile[part] @ d
    return out
