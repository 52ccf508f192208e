"""The Legendre stage in Triton: the sums of `legendre`, on a GPU.

A program is one warp. It takes one order m and 256 rings, 8 to a lane, in registers. The recurrence
factors and the alm are the same for all lanes. The adjoint adds over the lanes by halving: in every
exchange a lane gives away the half of its sums that it does not keep. So 32 sums (8 k times even
and odd, real and imaginary) take 31 exchanges, and every lane ends with one of them. A program
walks over every fourth tile of rings and adds to its own partial sums. Nothing is added
atomically.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from skyfill.harmonics.legendre import STEP, TILE

__all__ = ["adjoint_sums", "exchange", "pack", "sums", "unpack"]

#: Numbers that a program turns from alm into factors, or back.
_BLOCK = 256


def pack(tables: dict[str, Tensor], alm: Tensor, lmax: int) -> Tensor:
    """Give ``(nk, 4)``, the factors of p_k in E and O, each real and imaginary."""
    first = tables["first"]
    out = torch.empty(len(tables["a"]), 4, dtype=torch.float64, device=alm.device)
    grid = (triton.cdiv(lmax // 2 + STEP, _BLOCK), lmax + 1)
    _pack[grid](
        torch.view_as_real(alm),
        tables["even"],
        tables["next_even"],
        tables["odd"],
        first,
        out,
        lmax,
        STEP=STEP,
        BLOCK=_BLOCK,
    )
    return out


@triton.jit(do_not_specialize=["lmax"])
def _pack(alm, even, next_even, odd, first, out, lmax, STEP: tl.constexpr, BLOCK: tl.constexpr):
    m = tl.program_id(1)
    k = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    padded = ((lmax - m) // 2 + STEP) // STEP * STEP
    base = tl.load(first + m)
    at = (m * (2 * lmax + 1 - m) // 2).to(tl.int64)
    ell = m + 2 * k
    inside = k < padded
    e = tl.load(even + base + k, mask=inside, other=0.0)
    f = tl.load(next_even + base + k, mask=inside, other=0.0)
    g = tl.load(odd + base + k, mask=inside, other=0.0)
    here = alm + 2 * (at + ell)
    real = e * tl.load(here, mask=ell <= lmax, other=0.0)
    real += f * tl.load(here + 4, mask=ell + 2 <= lmax, other=0.0)
    imag = e * tl.load(here + 1, mask=ell <= lmax, other=0.0)
    imag += f * tl.load(here + 5, mask=ell + 2 <= lmax, other=0.0)
    odd_real = g * tl.load(here + 2, mask=ell + 1 <= lmax, other=0.0)
    odd_imag = g * tl.load(here + 3, mask=ell + 1 <= lmax, other=0.0)
    to = out + 4 * (base + k)
    tl.store(to, real, mask=inside)
    tl.store(to + 1, tl.where(m > 0, imag, 0.0), mask=inside)
    tl.store(to + 2, odd_real, mask=inside)
    tl.store(to + 3, tl.where(m > 0, odd_imag, 0.0), mask=inside)


def unpack(tables: dict[str, Tensor], found: Tensor, lmax: int) -> Tensor:
    """Add ``(parts, nk, 4)`` partial sums and turn them into alm."""
    alm = torch.empty((lmax + 1) * (lmax + 2) // 2, dtype=torch.complex128, device=found.device)
    grid = (triton.cdiv(lmax // 2 + 1, _BLOCK), lmax + 1)
    _unpack[grid](
        found,
        tables["even"],
        tables["next_even"],
        tables["odd"],
        tables["first"],
        torch.view_as_real(alm),
        lmax,
        found.stride(0),
        PARTS=found.shape[0],
        BLOCK=_BLOCK,
    )
    return alm


@triton.jit(do_not_specialize=["lmax"])
def _unpack(
    found,
    even,
    next_even,
    odd,
    first,
    alm,
    lmax,
    stride,
    PARTS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    m = tl.program_id(1)
    k = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    base = tl.load(first + m)
    at = (m * (2 * lmax + 1 - m) // 2).to(tl.int64)
    ell = m + 2 * k
    inside = ell <= lmax
    earlier = inside & (k > 0)
    e = tl.load(even + base + k, mask=inside, other=0.0)
    f = tl.load(next_even + base + k - 1, mask=earlier, other=0.0)
    g = tl.load(odd + base + k, mask=inside, other=0.0)
    from_here = found + 4 * (base + k)
    real = tl.zeros([BLOCK], tl.float64)
    imag = tl.zeros([BLOCK], tl.float64)
    last_real = tl.zeros([BLOCK], tl.float64)
    last_imag = tl.zeros([BLOCK], tl.float64)
    odd_real = tl.zeros([BLOCK], tl.float64)
    odd_imag = tl.zeros([BLOCK], tl.float64)
    for _ in tl.static_range(PARTS):
        real += tl.load(from_here, mask=inside, other=0.0)
        imag += tl.load(from_here + 1, mask=inside, other=0.0)
        odd_real += tl.load(from_here + 2, mask=inside, other=0.0)
        odd_imag += tl.load(from_here + 3, mask=inside, other=0.0)
        last_real += tl.load(from_here - 4, mask=earlier, other=0.0)
        last_imag += tl.load(from_here - 3, mask=earlier, other=0.0)
        from_here += stride
    to = alm + 2 * (at + ell)
    tl.store(to, e * real + f * last_real, mask=inside)
    tl.store(to + 1, e * imag + f * last_imag, mask=inside)
    tl.store(to + 2, g * odd_real, mask=ell + 1 <= lmax)
    tl.store(to + 3, g * odd_imag, mask=ell + 1 <= lmax)


def sums(
    tables: dict[str, Tensor], coefficients: Tensor, mlim: Tensor, leg: Tensor, lmax: int
) -> None:
    """Sum over multipoles: fill ``leg[north or south, ring, m]`` for m up to ``lmax``.

    Orders beyond those that matter anywhere in a tile of rings are left as they are.
    """
    rings, width = leg.shape[1:]
    grid = (rings // TILE, lmax + 1)
    _sums[grid](
        tables["x"],
        tables["x2"],
        mlim,
        tables["first"],
        tables["a"],
        tables["b"],
        tables["start"],
        tables["p"],
        tables["before"],
        coefficients,
        torch.view_as_real(leg),
        lmax,
        width,
        rings,
        TILE=TILE,
        STEP=STEP,
        num_warps=1,
    )


@triton.jit
def _sum_steps(a, b, c, now, old, x2, s0, s1, s2, s3, STEP: tl.constexpr):
    for u in tl.static_range(STEP):
        s0 += now * tl.load(c + 4 * u)
        s1 += now * tl.load(c + 4 * u + 1)
        s2 += now * tl.load(c + 4 * u + 2)
        s3 += now * tl.load(c + 4 * u + 3)
        following = (tl.load(a + u) * x2 + tl.load(b + u)) * now + old
        old = now
        now = following
    return now, old, s0, s1, s2, s3


@triton.jit(do_not_specialize=["lmax", "width"])
def _sums(
    x_of,
    x2_of,
    mlim,
    first,
    a,
    b,
    start,
    p,
    before,
    coefficients,
    leg,
    lmax,
    width,
    rings,
    TILE: tl.constexpr,
    STEP: tl.constexpr,
):
    m = tl.program_id(1)
    ring = tl.program_id(0) * TILE + tl.arange(0, TILE)
    if m <= tl.max(tl.load(mlim + ring), 0):
        count = (lmax - m) // 2 + 1
        begin = tl.load(start + m * (rings // STEP) + ring // STEP)
        base = tl.load(first + m)
        x2 = tl.load(x2_of + ring)
        at = m.to(tl.int64) * rings + ring
        k = tl.min(begin, 0)
        last = tl.max(tl.where(begin < count, begin, -1), 0)
        now = tl.zeros([TILE], tl.float64)
        old = tl.zeros([TILE], tl.float64)
        s0 = tl.zeros([TILE], tl.float64)
        s1 = tl.zeros([TILE], tl.float64)
        s2 = tl.zeros([TILE], tl.float64)
        s3 = tl.zeros([TILE], tl.float64)
        while k <= last:
            fresh = begin == k
            now = tl.where(fresh, tl.load(p + at, mask=fresh, other=0.0), now)
            old = tl.where(fresh, tl.load(before + at, mask=fresh, other=0.0), old)
            i = base + k
            now, old, s0, s1, s2, s3 = _sum_steps(
                a + i, b + i, coefficients + 4 * i, now, old, x2, s0, s1, s2, s3, STEP
            )
            k += STEP
        while k < count:
            i = base + k
            now, old, s0, s1, s2, s3 = _sum_steps(
                a + i, b + i, coefficients + 4 * i, now, old, x2, s0, s1, s2, s3, STEP
            )
            k += STEP
        x = tl.load(x_of + ring)
        north = leg + 2 * (ring.to(tl.int64) * width + m)
        south = north + 2 * rings.to(tl.int64) * width
        tl.store(north, s0 + x * s2)
        tl.store(north + 1, s1 + x * s3)
        tl.store(south, s0 - x * s2)
        tl.store(south + 1, s1 - x * s3)


def adjoint_sums(
    tables: dict[str, Tensor], mlim: Tensor, leg: Tensor, lmax: int, parts: int
) -> Tensor:
    """Sum over rings, the transpose of `sums`: give ``(parts, nk, 4)`` partial sums."""
    rings, width = leg.shape[1:]
    parts = min(parts, rings // TILE)
    out = torch.empty(parts, len(tables["a"]), 4, dtype=torch.float64, device=leg.device)
    _halved_sums[(parts, lmax + 1)](
        tables["x"],
        tables["x2"],
        mlim,
        tables["first"],
        tables["a"],
        tables["b"],
        tables["start"],
        tables["p"],
        tables["before"],
        torch.view_as_real(leg),
        out,
        lmax,
        width,
        rings,
        out.stride(0),
        TILE=TILE,
        STEP=STEP,
        num_warps=1,
    )
    return out


@triton.jit
def exchange(low, high, lane, DISTANCE: tl.constexpr):
    """Add over pairs of lanes: the upper lane of a pair keeps ``high``, the lower one ``low``."""
    upper = (lane & DISTANCE) != 0
    sent = tl.where(upper, low, high)
    return tl.where(upper, high, low) + tl.gather(sent, lane ^ DISTANCE, 0)


@triton.jit
def _halved_step(a, b, nows, olds, x2s, v0s, v1s, v2s, v3s, lane):
    """Do one step: give the next numbers, and in every lane one of four sums over its rings."""
    s0 = nows[0] * v0s[0]
    s1 = nows[0] * v1s[0]
    s2 = nows[0] * v2s[0]
    s3 = nows[0] * v3s[0]
    for r in tl.static_range(1, 8):
        s0 += nows[r] * v0s[r]
        s1 += nows[r] * v1s[r]
        s2 += nows[r] * v2s[r]
        s3 += nows[r] * v3s[r]
    factor = tl.load(a)
    shift = tl.load(b)
    following = ()
    for r in tl.static_range(8):
        following = following + ((factor * x2s[r] + shift) * nows[r] + olds[r],)
    low = exchange(s0, s1, lane, 16)
    high = exchange(s2, s3, lane, 16)
    return following, nows, exchange(low, high, lane, 8)


@triton.jit(do_not_specialize=["lmax", "width"])
def _halved_sums(
    x_of,
    x2_of,
    mlim,
    first,
    a,
    b,
    start,
    p,
    before,
    leg,
    out,
    lmax,
    width,
    rings,
    stride,
    TILE: tl.constexpr,
    STEP: tl.constexpr,
):
    part = tl.program_id(0)
    m = tl.program_id(1)
    parts = tl.num_programs(0)
    lane = tl.arange(0, 32)
    count = (lmax - m) // 2 + 1
    base = tl.load(first + m)
    # Bits of the lane, from the highest: imaginary, odd, and the bits of k from the lowest.
    kind = ((lane >> 4) & 1) + 2 * ((lane >> 3) & 1)
    step = ((lane >> 2) & 1) + 2 * ((lane >> 1) & 1) + 4 * (lane & 1)
    to = out + part.to(tl.int64) * stride + 4 * (base + step) + kind
    k = 0
    while k < count:
        tl.store(to + 4 * k, tl.zeros([32], tl.float64))
        k += STEP
    tile = part
    while tile < rings // TILE:
        whole = tile * TILE + tl.arange(0, TILE)
        if m <= tl.max(tl.load(mlim + whole), 0):
            begins = tl.load(start + m * (rings // STEP) + whole // STEP)
            k = tl.min(begins, 0)
            last = tl.max(tl.where(begins < count, begins, -1), 0)
            row = m.to(tl.int64) * rings
            x2s = ()
            v0s = ()
            v1s = ()
            v2s = ()
            v3s = ()
            nows = ()
            olds = ()
            for r in tl.static_range(8):
                ring = tile * TILE + r * 32 + lane
                x = tl.load(x_of + ring)
                north = leg + 2 * (ring.to(tl.int64) * width + m)
                south = north + 2 * rings.to(tl.int64) * width
                north_real = tl.load(north)
                north_imag = tl.load(north + 1)
                south_real = tl.load(south)
                south_imag = tl.load(south + 1)
                x2s = x2s + (tl.load(x2_of + ring),)
                v0s = v0s + (north_real + south_real,)
                v1s = v1s + (north_imag + south_imag,)
                v2s = v2s + (x * (north_real - south_real),)
                v3s = v3s + (x * (north_imag - south_imag),)
                nows = nows + (tl.zeros([32], tl.float64),)
                olds = olds + (tl.zeros([32], tl.float64),)
            while k < count:
                if k <= last:
                    begun = ()
                    begun_old = ()
                    for r in tl.static_range(8):
                        ring = tile * TILE + r * 32 + lane
                        fresh = tl.load(start + m * (rings // STEP) + ring // STEP) == k
                        now = tl.load(p + row + ring, mask=fresh, other=0.0)
                        old = tl.load(before + row + ring, mask=fresh, other=0.0)
                        begun = begun + (tl.where(fresh, now, nows[r]),)
                        begun_old = begun_old + (tl.where(fresh, old, olds[r]),)
                    nows = begun
                    olds = begun_old
                i = base + k
                nows, olds, w0 = _halved_step(
                    a + i, b + i, nows, olds, x2s, v0s, v1s, v2s, v3s, lane
                )
                nows, olds, w1 = _halved_step(
                    a + i + 1, b + i + 1, nows, olds, x2s, v0s, v1s, v2s, v3s, lane
                )
                y0 = exchange(w0, w1, lane, 4)
                nows, olds, w0 = _halved_step(
                    a + i + 2, b + i + 2, nows, olds, x2s, v0s, v1s, v2s, v3s, lane
                )
                nows, olds, w1 = _halved_step(
                    a + i + 3, b + i + 3, nows, olds, x2s, v0s, v1s, v2s, v3s, lane
                )
                y1 = exchange(w0, w1, lane, 4)
                z0 = exchange(y0, y1, lane, 2)
                nows, olds, w0 = _halved_step(
                    a + i + 4, b + i + 4, nows, olds, x2s, v0s, v1s, v2s, v3s, lane
                )
                nows, olds, w1 = _halved_step(
                    a + i + 5, b + i + 5, nows, olds, x2s, v0s, v1s, v2s, v3s, lane
                )
                y0 = exchange(w0, w1, lane, 4)
                nows, olds, w0 = _halved_step(
                    a + i + 6, b + i + 6, nows, olds, x2s, v0s, v1s, v2s, v3s, lane
                )
                nows, olds, w1 = _halved_step(
                    a + i + 7, b + i + 7, nows, olds, x2s, v0s, v1s, v2s, v3s, lane
                )
                y1 = exchange(w0, w1, lane, 4)
                z1 = exchange(y0, y1, lane, 2)
                tl.store(to + 4 * k, tl.load(to + 4 * k) + exchange(z0, z1, lane, 1))
                k += STEP
        tile += parts
