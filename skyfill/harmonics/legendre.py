"""Associated Legendre functions on the rings of a HEALPix map: the plan, and the sums on a CPU.

The recurrence is that of Ishioka (2018, J. Meteorol. Soc. Japan 96, 241), as in ducc0: two
multiplications and additions for two multipoles. With ε_l = √((l² - m²)/(4 l² - 1)) and λ_lm the
orthonormal function with e^{imφ} taken out,

    λ_{m+2k+1} = x α_k p_k,   p_{k+1} = (a_k x² + b_k) p_k + p_{k-1},   p_0 = λ_mm, p_{-1} = 0

where x = cos θ. North and south are a pair of rings; E and O are the parts of an order m that are
even and odd in x:

    E = Σ_k p_k α_k (ε_{l+1} a_l + ε_{l+2} a_{l+2}),   O = x Σ_k p_k α_k a_{l+1},   l = m + 2k
    north E + O, south E - O

λ_mm underflows near the poles. So the plan follows every recurrence with an exponent apart, and
keeps the k at which it first matters, with p_k and p_{k-1} there. The sums start there and need no
scaling. Everything that depends on (m, k) lies at ``first[m] + k``; every order's share is padded
to a multiple of `STEP`, and the rings to a multiple of `TILE`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import lru_cache

import numpy as np
from numba import prange
from numpy.typing import NDArray

from skyfill.healpix.jit import parallel, parallel_beyond

__all__ = ["NEVER", "STEP", "TILE", "Plan", "adjoint_sums", "packed", "plan", "sums", "unpacked"]

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]

#: Steps of the recurrence between two looks at where it starts.
STEP = 8
#: Neighbouring rings that start together.
TOGETHER = 8
#: Rings that a warp of the GPU takes at a time; the number of rings is padded to a multiple.
TILE = 256
#: Start of rings on which an order never matters.
NEVER = 2**30
#: Orders above which the sums are parallel: for fewer, waking threads takes longer.
_MANY = 256
#: log2 of the size from which on p_k matters: its contribution is lost in a double beside 1.
_MATTERS = -64
#: log2 of the factor by which numbers too small for a double are scaled up in the plan.
_SCALE = 800
#: Binary digits after the point in the leading part of a logarithm: m < 2^15 times it is exact.
_POINT = 32
#: Decimal digits of the logarithms, of which a double would keep too few after m times them.
_DIGITS = 34


@dataclass(frozen=True)
class Plan:
    """Tables for the Legendre functions to ``lmax`` on the rings of ``nside``.

    A plan serves every smaller lmax. Ring pair r = 0 is next to the poles; the equator, r = 2 nside
    - 1, is its own mirror image.
    """

    nside: int
    lmax: int
    rings: int
    """Number of ring pairs, padded to a multiple of `TILE`."""
    x: Floats
    """``(rings,)`` cos θ of the northern ring."""
    x2: Floats
    """``(rings,)`` its square."""
    first: NDArray[np.int64]
    """``(lmax + 2,)`` where the k of each order begin; the last is their number."""
    a: Floats
    """``(nk,)`` a_k."""
    b: Floats
    """``(nk,)`` b_k."""
    even: Floats
    """``(nk,)`` α_k ε_{l+1}."""
    next_even: Floats
    """``(nk,)`` α_k ε_{l+2}."""
    odd: Floats
    """``(nk,)`` α_k."""
    start: NDArray[np.int32]
    """``(lmax + 1, rings / 8)`` k at which the sums start: a multiple of `STEP`, or `NEVER`."""
    p: Floats
    """``(lmax + 1, rings)`` p_k there."""
    before: Floats
    """``(lmax + 1, rings)`` p_{k-1} there."""
    mlim: NDArray[np.int32]
    """``(rings,)`` largest order that matters on the ring, -1 on rings that are padding."""


@lru_cache(maxsize=1)
def plan(nside: int, lmax: int) -> Plan:
    """Make the tables for ``nside`` and multipoles to ``lmax``."""
    used = 2 * nside
    rings = -(-used // TILE) * TILE
    ring = np.arange(1, used + 1, dtype=np.float64)
    x = np.zeros(rings)
    x[:used] = np.where(
        ring < nside, 1.0 - ring * ring / (3.0 * nside**2), (4.0 * nside - 2.0 * ring) / (3 * nside)
    )
    count = (lmax - np.arange(lmax + 1)) // 2 + 1
    first = np.zeros(lmax + 2, dtype=np.int64)
    np.cumsum(-(-count // STEP) * STEP, out=first[1:])
    tables = np.zeros((5, first[-1]))
    _coefficients(first, *tables)
    start = np.full((lmax + 1, rings // TOGETHER), NEVER, dtype=np.int32)
    p, before = np.zeros((2, lmax + 1, rings))
    _starts(used, x, first, tables[0], tables[1], *_norms(lmax), *_sines(nside), start, p, before)
    alive = np.repeat(start[:, : -(-used // TOGETHER)] < count[:, None], TOGETHER, axis=1)[:, :used]
    mlim = np.full(rings, -1, dtype=np.int32)
    mlim[:used] = lmax - np.argmax(alive[::-1], axis=0)
    a, b, even, next_even, odd = tables
    return Plan(
        nside,
        lmax,
        rings,
        x,
        x * x,
        first,
        a,
        b,
        even,
        next_even,
        odd,
        start,
        p,
        before,
        mlim,
    )


def _split(logs: list[Decimal]) -> tuple[Floats, Floats]:
    """Divide logarithms in base 2 into a part with few digits, and the rest."""
    unit = Decimal(2) ** -_POINT
    whole = [(value / unit).to_integral_value() for value in logs]
    high = np.array([float(value) for value in whole]) * 2.0**-_POINT
    low = np.array([float(log - value * unit) for log, value in zip(logs, whole, strict=True)])
    return high, low


def _sines(nside: int) -> tuple[Floats, Floats]:
    """Give log2 sin θ of the northern rings and the equator in two parts; sin² θ is rational."""
    with localcontext() as context:
        context.prec = _DIGITS
        twice = 2 * Decimal(2).ln()
        logs = []
        for i in range(1, 2 * nside + 1):
            if i < nside:
                square = Decimal(i * i * (6 * nside**2 - i * i)) / Decimal(9 * nside**4)
            else:
                square = Decimal(9 * nside**2 - (4 * nside - 2 * i) ** 2) / Decimal(9 * nside**2)
            logs.append(square.ln() / twice)
        return _split(logs)


def _norms(lmax: int) -> tuple[Floats, Floats]:
    """Give log2 √((2m+1)!! / (4π (2m)!!)) in two parts."""
    with localcontext() as context:
        context.prec = _DIGITS
        twice = 2 * Decimal(2).ln()
        square = 1 / (4 * Decimal("3.141592653589793238462643383279502884"))
        logs = []
        for m in range(lmax + 1):
            if m:
                square *= Decimal(2 * m + 1) / Decimal(2 * m)
            logs.append(square.ln() / twice)
        return _split(logs)


@parallel
def _coefficients(
    first: NDArray[np.int64], a: Floats, b: Floats, even: Floats, next_even: Floats, odd: Floats
) -> None:
    for m in prange(first.size - 1):
        base = first[m]
        last = alpha = 0.0
        for k in range(first[m + 1] - base):
            # Squares of ε at l + 1 ... l + 4; integers up to 2^53 are exact.
            low = m + 2 * k + 1
            e1 = (low * low - m * m) / (4.0 * low * low - 1.0)
            low += 1
            e2 = (low * low - m * m) / (4.0 * low * low - 1.0)
            low += 1
            e3 = (low * low - m * m) / (4.0 * low * low - 1.0)
            if k == 0:
                alpha = 1.0 / np.sqrt(e1)
                after = np.sqrt(e1 / (e2 * e3))
            else:
                low = m + 2 * k
                e0 = (low * low - m * m) / (4.0 * low * low - 1.0)
                after = -last * np.sqrt(e1 * e0 / (e2 * e3))
            a[base + k] = alpha / (after * np.sqrt(e2 * e3))
            b[base + k] = -a[base + k] * (e2 + e1)
            even[base + k] = alpha * np.sqrt(e1)
            next_even[base + k] = alpha * np.sqrt(e2)
            odd[base + k] = alpha
            last, alpha = alpha, after


@parallel
def _starts(  # noqa: C901 (8 rings step together, each with a scale of its own)
    used: int,
    x: Floats,
    first: NDArray[np.int64],
    a: Floats,
    b: Floats,
    norm: Floats,
    norm_rest: Floats,
    sine: Floats,
    sine_rest: Floats,
    start: NDArray[np.int32],
    p: Floats,
    before: Floats,
) -> None:
    """Follow the recurrence of 8 rings together until one of them matters."""
    for m in prange(first.size - 1):
        base, count = first[m], first[m + 1] - first[m]
        x2 = np.zeros(8)
        now = np.zeros(8)
        old = np.zeros(8)
        begun = np.zeros(8)
        begun_old = np.zeros(8)
        largest = np.zeros(8)
        scale = np.zeros(8, dtype=np.int64)
        for group in range((used + 7) // 8):
            here = min(8, used - 8 * group)
            for r in range(8):
                now[r] = old[r] = x2[r] = 0.0
                scale[r] = 0
            for r in range(here):
                ring = 8 * group + r
                x2[r] = x[ring] * x[ring]
                high = norm[m] + m * sine[ring]  # exact
                whole = np.floor(high)
                low = high - whole + (norm_rest[m] + m * sine_rest[ring])
                if whole < -400:
                    scale[r] = int((-whole - 400 + 799) // 800)
                now[r] = 2.0**low * 2.0 ** (whole + 800 * scale[r])
                if m % 2:
                    now[r] = -now[r]
            for k in range(0, count, 8):
                for r in range(8):
                    begun[r], begun_old[r], largest[r] = now[r], old[r], 0.0
                for u in range(8):
                    factor, shift = a[base + k + u], b[base + k + u]
                    for r in range(8):
                        largest[r] = max(largest[r], abs(now[r]))
                        following = (factor * x2[r] + shift) * now[r] + old[r]
                        old[r] = now[r]
                        now[r] = following
                matters = False
                for r in range(8):
                    if scale[r] == 0 and largest[r] > 2.0**-64:
                        matters = True
                if matters:
                    start[m, group] = k
                    for r in range(here):
                        # What is scaled twice is 0 as a double; in 8 rings it never matters.
                        if scale[r] < 2:
                            unit = 1.0 if scale[r] == 0 else 2.0**-800
                            p[m, 8 * group + r] = begun[r] * unit
                            before[m, 8 * group + r] = begun_old[r] * unit
                    break
                for r in range(8):
                    if scale[r] > 0 and abs(now[r]) > 2.0**400:
                        now[r] *= 2.0**-800
                        old[r] *= 2.0**-800
                        scale[r] -= 1


def packed(tables: Plan, alm: Complexes, lmax: int) -> Floats:
    """Give ``(nk, 4)``, the factors of p_k in E and O, each real and imaginary."""
    out = np.zeros((tables.first[-1], 4))
    _pack(lmax)(lmax, tables.first, tables.even, tables.next_even, tables.odd, alm, out)
    return out


@parallel_beyond(_MANY)
def _pack(
    lmax: int,
    first: NDArray[np.int64],
    even: Floats,
    next_even: Floats,
    odd: Floats,
    alm: Complexes,
    out: Floats,
) -> None:
    for m in prange(lmax + 1):
        at = m * (2 * lmax + 1 - m) // 2
        for k in range((lmax - m) // 2 + 1):
            ell, i = m + 2 * k, first[m] + k
            value = even[i] * alm[at + ell]
            if ell + 2 <= lmax:
                value += next_even[i] * alm[at + ell + 2]
            out[i, 0] = value.real
            other = odd[i] * alm[at + ell + 1] if ell + 1 <= lmax else 0j
            out[i, 2] = other.real
            if m:
                out[i, 1] = value.imag
                out[i, 3] = other.imag


def unpacked(tables: Plan, found: Floats, lmax: int) -> Complexes:
    """Turn ``(nk, 4)`` sums over rings into alm: the transpose of `packed`."""
    alm = np.empty((lmax + 1) * (lmax + 2) // 2, dtype=np.complex128)
    _unpack(lmax)(lmax, tables.first, tables.even, tables.next_even, tables.odd, found, alm)
    return alm


@parallel_beyond(_MANY)
def _unpack(
    lmax: int,
    first: NDArray[np.int64],
    even: Floats,
    next_even: Floats,
    odd: Floats,
    found: Floats,
    alm: Complexes,
) -> None:
    for m in prange(lmax + 1):
        at = m * (2 * lmax + 1 - m) // 2
        for k in range((lmax - m) // 2 + 1):
            ell, i = m + 2 * k, first[m] + k
            real, imaginary = even[i] * found[i, 0], even[i] * found[i, 1]
            if k:
                real += next_even[i - 1] * found[i - 1, 0]
                imaginary += next_even[i - 1] * found[i - 1, 1]
            alm[at + ell] = complex(real, imaginary)
            if ell + 1 <= lmax:
                alm[at + ell + 1] = complex(odd[i] * found[i, 2], odd[i] * found[i, 3])


def sums(tables: Plan, coefficients: Floats, lmax: int, leg: Complexes) -> None:
    """Sum over multipoles: fill ``leg[north or south, ring, m]`` for m up to ``lmax``."""
    _sums(lmax)(
        lmax,
        tables.x,
        tables.first,
        tables.a,
        tables.b,
        tables.start,
        tables.p,
        tables.before,
        coefficients,
        leg,
    )


@parallel_beyond(_MANY)
def _sums(
    lmax: int,
    x: Floats,
    first: NDArray[np.int64],
    a: Floats,
    b: Floats,
    start: NDArray[np.int32],
    p: Floats,
    before: Floats,
    coefficients: Floats,
    leg: Complexes,
) -> None:
    for m in prange(lmax + 1):
        base, count = first[m], (lmax - m) // 2 + 1
        for ring in range(x.size):
            now, old, x2 = p[m, ring], before[m, ring], x[ring] * x[ring]
            s0 = s1 = s2 = s3 = 0.0
            for i in range(base + start[m, ring // 8], base + count):
                s0 += now * coefficients[i, 0]
                s1 += now * coefficients[i, 1]
                s2 += now * coefficients[i, 2]
                s3 += now * coefficients[i, 3]
                following = (a[i] * x2 + b[i]) * now + old
                old = now
                now = following
            leg[0, ring, m] = complex(s0 + x[ring] * s2, s1 + x[ring] * s3)
            leg[1, ring, m] = complex(s0 - x[ring] * s2, s1 - x[ring] * s3)


def adjoint_sums(tables: Plan, leg: Complexes, lmax: int) -> Floats:
    """Sum over rings, the transpose of `sums`: give ``(nk, 4)``."""
    out = np.zeros((tables.first[-1], 4))
    _adjoint_sums(lmax)(
        lmax,
        tables.x,
        tables.first,
        tables.a,
        tables.b,
        tables.start,
        tables.p,
        tables.before,
        leg,
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
    p: Floats,
    before: Floats,
    leg: Complexes,
    out: Floats,
) -> None:
    for m in prange(lmax + 1):
        base, count = first[m], (lmax - m) // 2 + 1
        for ring in range(x.size):
            if start[m, ring // 8] >= count:
                continue
            now, old, x2 = p[m, ring], before[m, ring], x[ring] * x[ring]
            both = leg[0, ring, m] + leg[1, ring, m]
            difference = x[ring] * (leg[0, ring, m] - leg[1, ring, m])
            for i in range(base + start[m, ring // 8], base + count):
                out[i, 0] += now * both.real
                out[i, 1] += now * both.imag
                out[i, 2] += now * difference.real
                out[i, 3] += now * difference.imag
                following = (a[i] * x2 + b[i]) * now + old
                old = now
                now = following
