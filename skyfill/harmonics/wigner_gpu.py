"""The Legendre stage of spin 2 in Triton: the sums of `wigner`, on a GPU.

As in `legendre_gpu` a program is one warp, which takes one order m and some rings in registers; a
ring needs twice the registers here, so a lane has 4. The adjoint adds over the lanes by halving:
8 l with four sums each take 31 exchanges. Nothing is added atomically.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from skyfill.harmonics.legendre import STEP
from skyfill.harmonics.legendre_gpu import exchange

__all__ = ["adjoint_sums", "pack", "sums", "unpack"]

#: Rings that a warp takes at a time in `sums`; the padded number of rings is a multiple.
TOGETHER = 128
#: The same in `adjoint_sums`, which names its 4 to a lane.
_TILE = 128
#: Numbers that a program turns from alm into factors, or back.
_BLOCK = 256


def pack(tables: dict[str, Tensor], alm: Tensor, lmax: int) -> Tensor:
    """Give ``(nl, 4)``, w F_+ and w F_- each real and imaginary, of E and B, ``(2, nalm)``."""
    out = torch.empty(len(tables["a"]), 4, dtype=torch.float64, device=alm.device)
    grid = (triton.cdiv(lmax + STEP, _BLOCK), lmax + 1)
    _pack[grid](
        torch.view_as_real(alm),
        tables["weight"],
        tables["first"],
        out,
        lmax,
        alm.shape[1],
        STEP=STEP,
        BLOCK=_BLOCK,
    )
    return out


@triton.jit(do_not_specialize=["lmax", "nalm"])
def _pack(alm, weight, first, out, lmax, nalm, STEP: tl.constexpr, BLOCK: tl.constexpr):
    m = tl.program_id(1)
    k = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    low = tl.maximum(m, 2)
    padded = (tl.maximum(lmax + 1 - low, 0) + STEP - 1) // STEP * STEP
    base = tl.load(first + m)
    at = (m * (2 * lmax + 1 - m) // 2).to(tl.int64)
    ell = low + k
    inside = ell <= lmax
    w = tl.load(weight + base + k, mask=inside, other=0.0)
    e = alm + 2 * (at + ell)
    b = e + 2 * nalm.to(tl.int64)
    e_real = tl.load(e, mask=inside, other=0.0)
    e_imag = tl.load(e + 1, mask=inside & (m > 0), other=0.0)
    b_real = tl.load(b, mask=inside, other=0.0)
    b_imag = tl.load(b + 1, mask=inside & (m > 0), other=0.0)
    to = out + 4 * (base + k)
    tl.store(to, w * (e_real - b_imag), mask=k < padded)
    tl.store(to + 1, w * (e_imag + b_real), mask=k < padded)
    tl.store(to + 2, w * (e_real + b_imag), mask=k < padded)
    tl.store(to + 3, w * (e_imag - b_real), mask=k < padded)


def unpack(tables: dict[str, Tensor], found: Tensor, lmax: int) -> Tensor:
    """Add ``(parts, nl, 4)`` partial sums and turn them into E and B, ``(2, nalm)``."""
    nalm = (lmax + 1) * (lmax + 2) // 2
    alm = torch.empty(2, nalm, dtype=torch.complex128, device=found.device)
    grid = (triton.cdiv(lmax + 1, _BLOCK), lmax + 1)
    _unpack[grid](
        found,
        tables["weight"],
        tables["first"],
        torch.view_as_real(alm),
        lmax,
        nalm,
        found.stride(0),
        PARTS=found.shape[0],
        BLOCK=_BLOCK,
    )
    return alm


@triton.jit(do_not_specialize=["lmax", "nalm"])
def _unpack(
    found, weight, first, alm, lmax, nalm, stride, PARTS: tl.constexpr, BLOCK: tl.constexpr
):
    m = tl.program_id(1)
    # Below l = 2 zeros are written.
    ell = m + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    base = tl.load(first + m)
    at = (m * (2 * lmax + 1 - m) // 2).to(tl.int64)
    inside = (ell >= 2) & (ell <= lmax)
    i = base + ell - tl.maximum(m, 2)
    w = tl.load(weight + i, mask=inside, other=0.0)
    from_here = found + 4 * i
    s0 = tl.zeros([BLOCK], tl.float64)
    s1 = tl.zeros([BLOCK], tl.float64)
    s2 = tl.zeros([BLOCK], tl.float64)
    s3 = tl.zeros([BLOCK], tl.float64)
    for _ in tl.static_range(PARTS):
        s0 += tl.load(from_here, mask=inside, other=0.0)
        s1 += tl.load(from_here + 1, mask=inside, other=0.0)
        s2 += tl.load(from_here + 2, mask=inside, other=0.0)
        s3 += tl.load(from_here + 3, mask=inside, other=0.0)
        from_here += stride
    e = alm + 2 * (at + ell)
    b = e + 2 * nalm.to(tl.int64)
    tl.store(e, w * (s0 + s2), mask=ell <= lmax)
    tl.store(e + 1, tl.where(m > 0, w * (s1 + s3), 0.0), mask=ell <= lmax)
    tl.store(b, w * (s1 - s3), mask=ell <= lmax)
    tl.store(b + 1, tl.where(m > 0, w * (s2 - s0), 0.0), mask=ell <= lmax)


def sums(
    tables: dict[str, Tensor],
    coefficients: Tensor,
    mlim: Tensor,
    leg_q: Tensor,
    leg_u: Tensor,
    lmax: int,
) -> None:
    """Sum over multipoles: fill ``leg[north or south, ring, m]`` of Q and U up to ``lmax``.

    Orders beyond those that matter anywhere in a tile of rings are left as they are.
    """
    rings, width = leg_q.shape[1:]
    _sums[(rings // TOGETHER, lmax + 1)](
        tables["x"],
        mlim,
        tables["first"],
        tables["a"],
        tables["b"],
        tables["start"],
        tables["plus"],
        tables["plus_before"],
        tables["minus"],
        tables["minus_before"],
        coefficients,
        torch.view_as_real(leg_q),
        torch.view_as_real(leg_u),
        lmax,
        width,
        rings,
        TILE=TOGETHER,
        STEP=STEP,
        num_warps=1,
    )


@triton.jit
def _sum_step(
    a, b, c, up, up_old, down, down_old, x, n0, n1, n2, n3, s0, s1, s2, s3, ODD: tl.constexpr
):
    c0 = tl.load(c)
    c1 = tl.load(c + 1)
    c2 = tl.load(c + 2)
    c3 = tl.load(c + 3)
    n0 += down * c0
    n1 += down * c1
    n2 += up * c2
    n3 += up * c3
    if ODD:
        s0 -= up * c0
        s1 -= up * c1
        s2 -= down * c2
        s3 -= down * c3
    else:
        s0 += up * c0
        s1 += up * c1
        s2 += down * c2
        s3 += down * c3
    factor = tl.load(a)
    shift = tl.load(b)
    up_next = (factor * x - shift) * up + up_old
    down_next = (factor * x + shift) * down + down_old
    return up_next, up, down_next, down, n0, n1, n2, n3, s0, s1, s2, s3


@triton.jit
def _sum_steps(
    a, b, c, up, up_old, down, down_old, x, n0, n1, n2, n3, s0, s1, s2, s3, STEP: tl.constexpr
):
    for u in tl.static_range(STEP):
        up, up_old, down, down_old, n0, n1, n2, n3, s0, s1, s2, s3 = _sum_step(
            a + u,
            b + u,
            c + 4 * u,
            up,
            up_old,
            down,
            down_old,
            x,
            n0,
            n1,
            n2,
            n3,
            s0,
            s1,
            s2,
            s3,
            u % 2 == 1,
        )
    return up, up_old, down, down_old, n0, n1, n2, n3, s0, s1, s2, s3


@triton.jit(do_not_specialize=["lmax", "width"])
def _sums(
    x_of,
    mlim,
    first,
    a,
    b,
    start,
    plus,
    plus_before,
    minus,
    minus_before,
    coefficients,
    leg_q,
    leg_u,
    lmax,
    width,
    rings,
    TILE: tl.constexpr,
    STEP: tl.constexpr,
):
    m = tl.program_id(1)
    ring = tl.program_id(0) * TILE + tl.arange(0, TILE)
    if m <= tl.max(tl.load(mlim + ring), 0):
        count = lmax + 1 - tl.maximum(m, 2)
        begin = tl.load(start + m * (rings // STEP) + ring // STEP)
        base = tl.load(first + m)
        x = tl.load(x_of + ring)
        at = m.to(tl.int64) * rings + ring
        k = tl.min(begin, 0)
        last = tl.max(tl.where(begin < count, begin, -1), 0)
        up = tl.zeros([TILE], tl.float64)
        up_old = tl.zeros([TILE], tl.float64)
        down = tl.zeros([TILE], tl.float64)
        down_old = tl.zeros([TILE], tl.float64)
        n0 = tl.zeros([TILE], tl.float64)
        n1 = tl.zeros([TILE], tl.float64)
        n2 = tl.zeros([TILE], tl.float64)
        n3 = tl.zeros([TILE], tl.float64)
        s0 = tl.zeros([TILE], tl.float64)
        s1 = tl.zeros([TILE], tl.float64)
        s2 = tl.zeros([TILE], tl.float64)
        s3 = tl.zeros([TILE], tl.float64)
        while k <= last:
            fresh = begin == k
            up = tl.where(fresh, tl.load(plus + at, mask=fresh, other=0.0), up)
            up_old = tl.where(fresh, tl.load(plus_before + at, mask=fresh, other=0.0), up_old)
            down = tl.where(fresh, tl.load(minus + at, mask=fresh, other=0.0), down)
            down_old = tl.where(fresh, tl.load(minus_before + at, mask=fresh, other=0.0), down_old)
            i = base + k
            up, up_old, down, down_old, n0, n1, n2, n3, s0, s1, s2, s3 = _sum_steps(
                a + i,
                b + i,
                coefficients + 4 * i,
                up,
                up_old,
                down,
                down_old,
                x,
                n0,
                n1,
                n2,
                n3,
                s0,
                s1,
                s2,
                s3,
                STEP,
            )
            k += STEP
        while k < count:
            i = base + k
            up, up_old, down, down_old, n0, n1, n2, n3, s0, s1, s2, s3 = _sum_steps(
                a + i,
                b + i,
                coefficients + 4 * i,
                up,
                up_old,
                down,
                down_old,
                x,
                n0,
                n1,
                n2,
                n3,
                s0,
                s1,
                s2,
                s3,
                STEP,
            )
            k += STEP
        # (-1)^(l + m) at the first l, which is 2 for m = 1.
        sigma = tl.where(m == 1, -1.0, 1.0).to(tl.float64)
        north = 2 * (ring.to(tl.int64) * width + m)
        south = north + 2 * rings.to(tl.int64) * width
        tl.store(leg_q + north, n0 + n2)
        tl.store(leg_q + north + 1, n1 + n3)
        tl.store(leg_u + north, n1 - n3)
        tl.store(leg_u + north + 1, n2 - n0)
        tl.store(leg_q + south, sigma * (s0 + s2))
        tl.store(leg_q + south + 1, sigma * (s1 + s3))
        tl.store(leg_u + south, sigma * (s1 - s3))
        tl.store(leg_u + south + 1, sigma * (s2 - s0))


def adjoint_sums(
    tables: dict[str, Tensor],
    mlim: Tensor,
    leg_q: Tensor,
    leg_u: Tensor,
    lmax: int,
    parts: int,
) -> Tensor:
    """Sum over rings, the transpose of `sums`: give ``(parts, nl, 4)`` partial sums."""
    rings, width = leg_q.shape[1:]
    parts = min(parts, rings // _TILE)
    out = torch.empty(parts, len(tables["a"]), 4, dtype=torch.float64, device=leg_q.device)
    _halved_sums[(parts, lmax + 1)](
        tables["x"],
        mlim,
        tables["first"],
        tables["a"],
        tables["b"],
        tables["start"],
        tables["plus"],
        tables["plus_before"],
        tables["minus"],
        tables["minus_before"],
        torch.view_as_real(leg_q),
        torch.view_as_real(leg_u),
        out,
        lmax,
        width,
        rings,
        out.stride(0),
        TILE=_TILE,
        STEP=STEP,
        num_warps=1,
    )
    return out


@triton.jit
def _halved_step(a, b, ups, up_olds, downs, down_olds, xs, ns, ss, lane, ODD: tl.constexpr):
    """Do one step: give the next numbers, and in every lane one of four sums over its rings."""
    s0 = downs[0] * ns[0][0]
    s1 = downs[0] * ns[0][1]
    s2 = ups[0] * ns[0][2]
    s3 = ups[0] * ns[0][3]
    for r in tl.static_range(1, 4):
        s0 += downs[r] * ns[r][0]
        s1 += downs[r] * ns[r][1]
        s2 += ups[r] * ns[r][2]
        s3 += ups[r] * ns[r][3]
    for r in tl.static_range(4):
        if ODD:
            s0 -= ups[r] * ss[r][0]
            s1 -= ups[r] * ss[r][1]
            s2 -= downs[r] * ss[r][2]
            s3 -= downs[r] * ss[r][3]
        else:
            s0 += ups[r] * ss[r][0]
            s1 += ups[r] * ss[r][1]
            s2 += downs[r] * ss[r][2]
            s3 += downs[r] * ss[r][3]
    factor = tl.load(a)
    shift = tl.load(b)
    up_next = ()
    down_next = ()
    for r in tl.static_range(4):
        up_next = up_next + ((factor * xs[r] - shift) * ups[r] + up_olds[r],)
        down_next = down_next + ((factor * xs[r] + shift) * downs[r] + down_olds[r],)
    low = exchange(s0, s1, lane, 16)
    high = exchange(s2, s3, lane, 16)
    return up_next, ups, down_next, downs, exchange(low, high, lane, 8)


@triton.jit
def _halved_steps(a, b, ups, up_olds, downs, down_olds, xs, ns, ss, lane):
    """Do two steps: give the next numbers, and in every lane one of eight sums."""
    ups, up_olds, downs, down_olds, w0 = _halved_step(
        a, b, ups, up_olds, downs, down_olds, xs, ns, ss, lane, False
    )
    ups, up_olds, downs, down_olds, w1 = _halved_step(
        a + 1, b + 1, ups, up_olds, downs, down_olds, xs, ns, ss, lane, True
    )
    return ups, up_olds, downs, down_olds, exchange(w0, w1, lane, 4)


@triton.jit(do_not_specialize=["lmax", "width"])
def _halved_sums(
    x_of,
    mlim,
    first,
    a,
    b,
    start,
    plus,
    plus_before,
    minus,
    minus_before,
    leg_q,
    leg_u,
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
    count = lmax + 1 - tl.maximum(m, 2)
    base = tl.load(first + m)
    sigma = tl.where(m == 1, -1.0, 1.0).to(tl.float64)
    # Bits of the lane, from the highest: imaginary, F_-, and the bits of l from the lowest.
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
            xs = ()
            ns = ()
            ss = ()
            ups = ()
            up_olds = ()
            downs = ()
            down_olds = ()
            for r in tl.static_range(4):
                ring = tile * TILE + r * 32 + lane
                north = 2 * (ring.to(tl.int64) * width + m)
                south = north + 2 * rings.to(tl.int64) * width
                q_real = tl.load(leg_q + north)
                q_imag = tl.load(leg_q + north + 1)
                u_real = tl.load(leg_u + north)
                u_imag = tl.load(leg_u + north + 1)
                ns = ns + ((q_real - u_imag, q_imag + u_real, q_real + u_imag, q_imag - u_real),)
                q_real = sigma * tl.load(leg_q + south)
                q_imag = sigma * tl.load(leg_q + south + 1)
                u_real = sigma * tl.load(leg_u + south)
                u_imag = sigma * tl.load(leg_u + south + 1)
                ss = ss + ((q_real - u_imag, q_imag + u_real, q_real + u_imag, q_imag - u_real),)
                xs = xs + (tl.load(x_of + ring),)
                ups = ups + (tl.zeros([32], tl.float64),)
                up_olds = up_olds + (tl.zeros([32], tl.float64),)
                downs = downs + (tl.zeros([32], tl.float64),)
                down_olds = down_olds + (tl.zeros([32], tl.float64),)
            earlier = tl.load(to + 4 * k, mask=(lane >= 0) & (k < count), other=0.0)
            while k < count:
                if k <= last:
                    up_begun = ()
                    up_begun_old = ()
                    down_begun = ()
                    down_begun_old = ()
                    for r in tl.static_range(4):
                        ring = tile * TILE + r * 32 + lane
                        at = row + ring
                        fresh = tl.load(start + m * (rings // STEP) + ring // STEP) == k
                        value = tl.load(plus + at, mask=fresh, other=0.0)
                        up_begun = up_begun + (tl.where(fresh, value, ups[r]),)
                        value = tl.load(plus_before + at, mask=fresh, other=0.0)
                        up_begun_old = up_begun_old + (tl.where(fresh, value, up_olds[r]),)
                        value = tl.load(minus + at, mask=fresh, other=0.0)
                        down_begun = down_begun + (tl.where(fresh, value, downs[r]),)
                        value = tl.load(minus_before + at, mask=fresh, other=0.0)
                        down_begun_old = down_begun_old + (tl.where(fresh, value, down_olds[r]),)
                    ups = up_begun
                    up_olds = up_begun_old
                    downs = down_begun
                    down_olds = down_begun_old
                i = base + k
                ups, up_olds, downs, down_olds, y0 = _halved_steps(
                    a + i, b + i, ups, up_olds, downs, down_olds, xs, ns, ss, lane
                )
                ups, up_olds, downs, down_olds, y1 = _halved_steps(
                    a + i + 2, b + i + 2, ups, up_olds, downs, down_olds, xs, ns, ss, lane
                )
                z0 = exchange(y0, y1, lane, 2)
                ups, up_olds, downs, down_olds, y0 = _halved_steps(
                    a + i + 4, b + i + 4, ups, up_olds, downs, down_olds, xs, ns, ss, lane
                )
                ups, up_olds, downs, down_olds, y1 = _halved_steps(
                    a + i + 6, b + i + 6, ups, up_olds, downs, down_olds, xs, ns, ss, lane
                )
                z1 = exchange(y0, y1, lane, 2)
                tl.store(to + 4 * k, earlier + exchange(z0, z1, lane, 1))
                k += STEP
                # Asked for a turn ahead, what was summed before is there when it is wanted.
                earlier = tl.load(to + 4 * k, mask=(lane >= 0) & (k < count), other=0.0)
        tile += parts
