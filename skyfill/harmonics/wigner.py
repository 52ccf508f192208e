"""Wigner functions of spin 2 on the rings of a HEALPix map: the plan, and the sums on a CPU.

d_± stands for d^l_{m,±2}(θ), x for cos θ, and l begins at l_0 = max(m, 2). The recurrence in l
(Kostelec & Rockmore 2008, J. Fourier Anal. Appl. 14, 145), scaled to two multiplications and two
additions for each of d_+ and d_-, is with d_± = α_l p_±

    p_±(l+1) = (a_l x ∓ b_l) p_±(l) + p_±(l-1)
    α_{l+1} = -α_{l-1} G_l / G_{l+1},   G_l = √((l² - m²)(l² - 4)) / l
    a_l = (2l + 1) α_l / (α_{l+1} G_{l+1}),   b_l = a_l 2m / (l (l + 1))

With F_± = E ± iB, w_l = -½ √((2l + 1)/4π) α_l and σ = (-1)^{l+m}, the orders Q_m and U_m are

    Q = P_+ + P_-,   U = -i (P_+ - P_-)
    north P_+ = Σ w p_- F_+,  P_- = Σ w p_+ F_-;  south P_+ = Σ σ w p_+ F_+,  P_- = Σ σ w p_- F_-

and the transpose has the same form. Signs are those of ducc0 and healpy. As for spin 0
(`legendre`), the plan follows every recurrence with an exponent apart to the l at which it first
matters, and what depends on (m, l) lies at ``first[m] + l - l_0``.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import lru_cache

import numpy as np
from numba import prange
from numpy.typing import NDArray

from skyfill.harmonics.legendre import (
    DIGITS,
    NEVER,
    STEP,
    TILE,
    TOGETHER,
    cosines,
    last_orders,
    split,
)
from skyfill.healpix.jit import parallel, parallel_beyond

__all__ = ["Plan", "adjoint_sums", "packed", "plan", "size", "sums", "unpacked"]

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]

#: Orders above which the sums are parallel: for fewer, waking threads takes longer.
_MANY = 256


@dataclass(frozen=True)
class Plan:
    """Tables for the functions of spin 2 to ``lmax`` on the rings of ``nside``.

    A plan serves every smaller lmax. Ring pairs are those of `legendre.Plan`.
    """

    nside: int
    lmax: int
    rings: int
    """Number of ring pairs, padded to a multiple of `legendre.TILE`."""
    x: Floats
    """``(rings,)`` cos θ of the northern ring."""
    first: NDArray[np.int64]
    """``(lmax + 2,)`` where the l of each order begin; the last is their number."""
    a: Floats
    """``(nl,)`` a_l."""
    b: Floats
    """``(nl,)`` b_l."""
    weight: Floats
    """``(nl,)`` w_l."""
    start: NDArray[np.int32]
    """``(lmax + 1, rings / 8)`` l - l_0 at which the sums start, a multiple of `STEP`; `NEVER`."""
    plus: Floats
    """``(lmax + 1, rings)`` p_+ there."""
    plus_before: Floats
    """``(lmax + 1, rings)`` p_+ at the l before."""
    minus: Floats
    """``(lmax + 1, rings)`` p_- there."""
    minus_before: Floats
    """``(lmax + 1, rings)`` p_- at the l before."""
    mlim: NDArray[np.int32]
    """``(rings,)`` largest order that matters on the ring; -1 if none does."""


def size(lmax: int) -> int:
    """Give the number of (m, l) in the tables, with their padding."""
    return int(_first(lmax)[-1])


def _first(lmax: int) -> NDArray[np.int64]:
    first = np.zeros(lmax + 2, dtype=np.int64)
    np.cumsum(-(-_count(lmax) // STEP) * STEP, out=first[1:])
    return first


def _count(lmax: int) -> NDArray[np.int64]:
    """Give the number of l of each order."""
    count: NDArray[np.int64] = np.maximum(lmax + 1 - np.maximum(np.arange(lmax + 1), 2), 0)
    return count


@lru_cache(maxsize=1)
def plan(nside: int, lmax: int) -> Plan:
    """Make the tables for ``nside`` and multipoles to ``lmax``."""
    used = 2 * nside
    rings = -(-used // TILE) * TILE
    x = np.zeros(rings)
    x[:used] = cosines(nside)
    first = _first(lmax)
    a, b, weight = np.zeros((3, first[-1]))
    _coefficients(first, a, b, weight)
    start = np.full((lmax + 1, rings // TOGETHER), NEVER, dtype=np.int32)
    plus, plus_before, minus, minus_before = np.zeros((4, lmax + 1, rings))
    _starts(
        used,
        x,
        first,
        a,
        b,
        weight,
        *_norms(lmax),
        *_halves(nside),
        start,
        plus,
        plus_before,
        minus,
        minus_before,
    )
    mlim = last_orders(start, _count(lmax), used)
    return Plan(
        nside,
        lmax,
        rings,
        x,
        first,
        a,
        b,
        weight,
        start,
        plus,
        plus_before,
        minus,
        minus_before,
        mlim,
    )


def _halves(nside: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Give log2 of cos θ/2 and sin θ/2, each in two parts; their squares are rational."""
    with localcontext() as context:
        context.prec = DIGITS
        twice = 2 * Decimal(2).ln()
        cosine, sine = [], []
        for i in range(1, 2 * nside + 1):
            if i < nside:
                below, whole = i * i, 6 * nside**2
            else:
                below, whole = 2 * i - nside, 6 * nside
            sine.append((Decimal(below) / Decimal(whole)).ln() / twice)
            cosine.append((Decimal(whole - below) / Decimal(whole)).ln() / twice)
        return *split(cosine), *split(sine)


def _norms(lmax: int) -> tuple[Floats, Floats]:
    """Give log2 √((2n)! / ((n + k)! (n - k)!)), n = max(m, 2), k = min(m, 2), in two parts."""
    with localcontext() as context:
        context.prec = DIGITS
        twice = 2 * Decimal(2).ln()
        square = Decimal(1)
        logs = []
        for m in range(lmax + 1):
            if m < 2:
                logs.append(Decimal(6 if m == 0 else 4).ln() / twice)
                continue
            if m > 2:
                square *= Decimal(2 * m * (2 * m - 1)) / Decimal((m + 2) * (m - 2))
            logs.append(square.ln() / twice)
        return split(logs)


@parallel
def _coefficients(first: NDArray[np.int64], a: Floats, b: Floats, weight: Floats) -> None:
    for m in prange(first.size - 1):
        base = first[m]
        last = 0.0
        alpha = after = 1.0
        # Integers and their products up to 2^53 are exact.
        ell = max(float(m), 2.0)
        g = 0.0
        for k in range(first[m + 1] - base):
            following = ell + 1.0
            g_after = (
                np.sqrt((following - m) * (following + m))
                * np.sqrt((following - 2.0) * (following + 2.0))
                / following
            )
            if k:
                after = -last * g / g_after
            a[base + k] = (2.0 * ell + 1.0) * alpha / (after * g_after)
            b[base + k] = a[base + k] * (2.0 * m) / (ell * following)
            weight[base + k] = -0.5 * np.sqrt((2.0 * ell + 1.0) / (4.0 * np.pi)) * alpha
            last, alpha = alpha, after
            ell, g = following, g_after


@parallel
def _starts(  # noqa: C901 (8 rings step together, each with scales of its own)
    used: int,
    x: Floats,
    first: NDArray[np.int64],
    a: Floats,
    b: Floats,
    weight: Floats,
    norm: Floats,
    norm_rest: Floats,
    cosine: Floats,
    cosine_rest: Floats,
    sine: Floats,
    sine_rest: Floats,
    start: NDArray[np.int32],
    plus: Floats,
    plus_before: Floats,
    minus: Floats,
    minus_before: Floats,
) -> None:
    """Follow both recurrences of 8 rings together until one of them matters.

    Numbers 0 to 7 are p_+ of the rings, 8 to 15 p_-.
    """
    for m in prange(first.size - 1):
        base, count = first[m], first[m + 1] - first[m]
        cos_theta = np.zeros(16)
        sign = np.ones(16)
        sign[:8] = -1.0
        now = np.zeros(16)
        old = np.zeros(16)
        begun = np.zeros(16)
        begun_old = np.zeros(16)
        largest = np.zeros(16)
        scale = np.zeros(16, dtype=np.int64)
        for group in range((used + 7) // 8):
            here = min(8, used - 8 * group)
            now[:] = 0.0
            old[:] = 0.0
            cos_theta[:] = 0.0
            scale[:] = 0
            for r in range(16):
                if r % 8 >= here:
                    continue
                ring = 8 * group + r % 8
                cos_theta[r] = x[ring]
                # d_± begin as cos^|m±2| sin^|m∓2| of θ/2.
                up = float(m + 2) if r < 8 else abs(float(m) - 2.0)
                down = abs(float(m) - 2.0) if r < 8 else float(m + 2)
                high = norm[m] + up * cosine[ring] + down * sine[ring]  # exact
                whole = np.floor(high)
                low = high - whole
                low += norm_rest[m] + up * cosine_rest[ring] + down * sine_rest[ring]
                if whole < -400:
                    scale[r] = int((-whole - 400 + 799) // 800)
                now[r] = 2.0**low * 2.0 ** (whole + 800 * scale[r])
                # The sign is (-1)^m, but d^2_{1,2} is positive.
                if m % 2 and (m > 1 or r >= 8):
                    now[r] = -now[r]
            for k in range(0, count, 8):
                for r in range(16):
                    begun[r], begun_old[r], largest[r] = now[r], old[r], 0.0
                for u in range(8):
                    i = base + k + u
                    size_here = abs(weight[i])
                    for r in range(16):
                        largest[r] = max(largest[r], size_here * abs(now[r]))
                        following = (a[i] * cos_theta[r] + sign[r] * b[i]) * now[r] + old[r]
                        old[r] = now[r]
                        now[r] = following
                matters = False
                for r in range(16):
                    if scale[r] == 0 and largest[r] > 2.0**-64:
                        matters = True
                if matters:
                    start[m, group] = k
                    for r in range(16):
                        # What is scaled twice is 0 as a double; in 8 rings it never matters.
                        if r % 8 >= here or scale[r] >= 2:
                            continue
                        unit = 1.0 if scale[r] == 0 else 2.0**-800
                        ring = 8 * group + r % 8
                        if r < 8:
                            plus[m, ring] = begun[r] * unit
                            plus_before[m, ring] = begun_old[r] * unit
                        else:
                            minus[m, ring] = begun[r] * unit
                            minus_before[m, ring] = begun_old[r] * unit
                    break
                for r in range(16):
                    if scale[r] > 0 and abs(now[r]) > 2.0**400:
                        now[r] *= 2.0**-800
                        old[r] *= 2.0**-800
                        scale[r] -= 1


def packed(tables: Plan, alm: Complexes, lmax: int) -> Floats:
    """Give ``(nl, 4)``, w F_+ and w F_- each real and imaginary, of E and B, ``(2, nalm)``."""
    out = np.zeros((tables.first[-1], 4))
    _pack(lmax)(lmax, tables.first, tables.weight, alm, out)
    return out


@parallel_beyond(_MANY)
def _pack(lmax: int, first: NDArray[np.int64], weight: Floats, alm: Complexes, out: Floats) -> None:
    for m in prange(lmax + 1):
        at = m * (2 * lmax + 1 - m) // 2
        low = np.int64(m) if m > 2 else np.int64(2)
        for ell in range(low, lmax + 1):
            i = first[m] + ell - low
            e, b, w = alm[0, at + ell], alm[1, at + ell], weight[i]
            e_imag, b_imag = (e.imag, b.imag) if m else (0.0, 0.0)
            out[i, 0] = w * (e.real - b_imag)
            out[i, 1] = w * (e_imag + b.real)
            out[i, 2] = w * (e.real + b_imag)
            out[i, 3] = w * (e_imag - b.real)


def unpacked(tables: Plan, found: Floats, lmax: int) -> Complexes:
    """Turn ``(nl, 4)`` sums over rings into E and B: the transpose of `packed`."""
    alm = np.zeros((2, (lmax + 1) * (lmax + 2) // 2), dtype=np.complex128)
    _unpack(lmax)(lmax, tables.first, tables.weight, found, alm)
    return alm


@parallel_beyond(_MANY)
def _unpack(
    lmax: int, first: NDArray[np.int64], weight: Floats, found: Floats, alm: Complexes
) -> None:
    for m in prange(lmax + 1):
        at = m * (2 * lmax + 1 - m) // 2
        low = np.int64(m) if m > 2 else np.int64(2)
        for ell in range(low, lmax + 1):
            i = first[m] + ell - low
            w, f = weight[i], found[i]
            e_imag = w * (f[1] + f[3]) if m else 0.0
            b_imag = w * (f[2] - f[0]) if m else 0.0
            alm[0, at + ell] = complex(w * (f[0] + f[2]), e_imag)
            alm[1, at + ell] = complex(w * (f[1] - f[3]), b_imag)


def sums(tables: Plan, coefficients: Floats, lmax: int, leg_q: Complexes, leg_u: Complexes) -> None:
    """Sum over multipoles: fill ``leg[north or south, ring, m]`` of Q and U up to ``lmax``."""
    _sums(lmax)(
        lmax,
        tables.x,
        tables.first,
        tables.a,
        tables.b,
        tables.start,
        tables.plus,
        tables.plus_before,
        tables.minus,
        tables.minus_before,
        coefficients,
        leg_q,
        leg_u,
    )


@parallel_beyond(_MANY)
def _sums(
    lmax: int,
    x: Floats,
    first: NDArray[np.int64],
    a: Floats,
    b: Floats,
    start: NDArray[np.int32],
    plus: Floats,
    plus_before: Floats,
    minus: Floats,
    minus_before: Floats,
    coefficients: Floats,
    leg_q: Complexes,
    leg_u: Complexes,
) -> None:
    for m in prange(lmax + 1):
        base, count = first[m], lmax + 1 - (np.int64(m) if m > 2 else np.int64(2))
        for ring in range(x.size):
            up, up_old = plus[m, ring], plus_before[m, ring]
            down, down_old = minus[m, ring], minus_before[m, ring]
            n0 = n1 = n2 = n3 = s0 = s1 = s2 = s3 = 0.0
            # (-1)^(l + m) where the sums start, which is an even number of steps from l_0.
            sigma = -1.0 if m == 1 else 1.0
            for i in range(base + start[m, ring // 8], base + count):
                c0, c1 = coefficients[i, 0], coefficients[i, 1]
                c2, c3 = coefficients[i, 2], coefficients[i, 3]
                n0 += down * c0
                n1 += down * c1
                n2 += up * c2
                n3 += up * c3
                s0 += sigma * up * c0
                s1 += sigma * up * c1
                s2 += sigma * down * c2
                s3 += sigma * down * c3
                sigma = -sigma
                following = (a[i] * x[ring] - b[i]) * up + up_old
                up_old, up = up, following
                following = (a[i] * x[ring] + b[i]) * down + down_old
                down_old, down = down, following
            leg_q[0, ring, m] = complex(n0 + n2, n1 + n3)
            leg_u[0, ring, m] = complex(n1 - n3, n2 - n0)
            leg_q[1, ring, m] = complex(s0 + s2, s1 + s3)
            leg_u[1, ring, m] = complex(s1 - s3, s2 - s0)


def adjoint_sums(tables: Plan, leg_q: Complexes, leg_u: Complexes, lmax: int) -> Floats:
    """Sum over rings, the transpose of `sums`: give ``(nl, 4)``."""
    out = np.zeros((tables.first[-1], 4))
    _adjoint_sums(lmax)(
        lmax,
        tables.x,
        tables.first,
        tables.a,
        tables.b,
        tables.start,
        tables.plus,
        tables.plus_before,
        tables.minus,
        tables.minus_before,
        leg_q,
        leg_u,
        out,
    )
    return out


@parallel_beyond(_MANY)
def _adjoint_sums(
    lmax: int,
    x: Floats,
    first: NDArray[np.int64],
    a: Floats,
    b: Floats,
    start: NDArray[np.int32],
    plus: Floats,
    plus_before: Floats,
    minus: Floats,
    minus_before: Floats,
    leg_q: Complexes,
    leg_u: Complexes,
    out: Floats,
) -> None:
    for m in prange(lmax + 1):
        base, count = first[m], lmax + 1 - (np.int64(m) if m > 2 else np.int64(2))
        for ring in range(x.size):
            if start[m, ring // 8] >= count:
                continue
            up, up_old = plus[m, ring], plus_before[m, ring]
            down, down_old = minus[m, ring], minus_before[m, ring]
            sigma = -1.0 if m == 1 else 1.0
            q, u = leg_q[0, ring, m], leg_u[0, ring, m]
            n0, n1, n2, n3 = q.real - u.imag, q.imag + u.real, q.real + u.imag, q.imag - u.real
            q, u = sigma * leg_q[1, ring, m], sigma * leg_u[1, ring, m]
            s0, s1, s2, s3 = q.real - u.imag, q.imag + u.real, q.real + u.imag, q.imag - u.real
            sigma = 1.0
            for i in range(base + start[m, ring // 8], base + count):
                out[i, 0] += down * n0 + sigma * up * s0
                out[i, 1] += down * n1 + sigma * up * s1
                out[i, 2] += up * n2 + sigma * down * s2
                out[i, 3] += up * n3 + sigma * down * s3
                sigma = -sigma
                following = (a[i] * x[ring] - b[i]) * up + up_old
                up_old, up = up, following
                following = (a[i] * x[ring] + b[i]) * down + down_old
                down_old, down = down, following
