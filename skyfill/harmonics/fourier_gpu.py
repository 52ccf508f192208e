"""The kernels of the Fourier stage in Triton: folding, reading and writing rings on a GPU.

They do what the methods of the same names in `fourier` do on a CPU. A program takes some
consecutive numbers of one ring. Orders m = k + jn of a ring with the phase π/n carry e^{iπk/n}
(-1)^j, and so does the conjugate of m = jn - k; the polar rings multiply it with the chirp
e^{iπk²/n}. Angles are reduced in integers.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = [
    "fold_equator",
    "fold_poles",
    "read_equator",
    "read_poles",
    "take_poles",
    "write_poles",
]

#: Numbers that a program takes.
_BLOCK = 512


@triton.jit
def _turn(number, n):
    """Give cosine and sine of π number/n, for unsigned integers and n even.

    The angle is reduced to an eighth of the circle in integers. The polynomials are those of
    fdlibm's kernels (Sun Microsystems 1993), to less than a unit in the last place.
    """
    n = n.to(tl.uint32)
    number = number % (2 * n)
    quarter = (2 * number + n // 2) // n
    rest = (2 * number).to(tl.int32) - (quarter * n).to(tl.int32)
    y = rest.to(tl.float64) / n.to(tl.float64) * 1.5707963267948966
    z = y * y
    s = z * 1.58969099521155010221e-10 - 2.50507602534068634195e-08
    s = z * s + 2.75573137070700676789e-06
    s = z * s - 1.98412698298579493134e-04
    s = z * s + 8.33333333332248946124e-03
    s = z * s - 1.66666666666666324348e-01
    s = y + y * z * s
    c = z * -1.13596475577881948265e-11 + 2.08757232129817482790e-09
    c = z * c - 2.75573143513906633035e-07
    c = z * c + 2.48015872894767294178e-05
    c = z * c - 1.38888888888741095749e-03
    c = z * c + 4.16666666666666019037e-02
    c = 1.0 - (0.5 * z - z * z * c)
    swapped = quarter % 2 == 1
    cosine = tl.where(swapped, s, c)
    sine = tl.where(swapped, c, s)
    # Quarters 1 and 2 have a negative cosine, 2 and 3 a negative sine.
    turned = quarter % 4
    return (
        tl.where((turned == 1) | (turned == 2), -cosine, cosine),
        tl.where(turned >= 2, -sine, sine),
    )


@triton.jit
def _belt_ring(row, nside, rings, width):
    """Give where the orders of a ring of the belt begin, counted in complex numbers."""
    ring = nside + row
    south = ring > 2 * nside
    pair = tl.where(south, 4 * nside - ring - 1, ring - 1)
    return (tl.where(south, rings, 0) + pair).to(tl.int64) * width, pair


def fold_equator(leg: Tensor, folded: Tensor, mlim: Tensor, nside: int, lmax: int) -> None:
    """Fold the orders of the rings nside ... 3 nside, ``(2 nside + 1, 2 nside + 1)``."""
    rows = 2 * nside + 1
    _fold_equator[(triton.cdiv(rows, _BLOCK), rows)](
        torch.view_as_real(leg),
        torch.view_as_real(folded),
        mlim,
        nside,
        lmax,
        leg.shape[1],
        leg.shape[2],
        BLOCK=_BLOCK,
    )


@triton.jit(do_not_specialize=["nside", "lmax", "rings", "width"])
def _fold_equator(leg, folded, mlim, nside, lmax, rings, width, BLOCK: tl.constexpr):
    row = tl.program_id(1)
    k = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    begin, pair = _belt_ring(row, nside, rings, width)
    last = tl.minimum(lmax, tl.load(mlim + pair))
    n = 4 * nside
    wanted = k <= 2 * nside
    shifted = row % 2 == 0
    flip = tl.where(shifted, -1.0, 1.0).to(tl.float64)
    sign = flip * flip
    real = tl.zeros([BLOCK], tl.float64)
    imag = tl.zeros([BLOCK], tl.float64)
    base = 0
    while base <= last:
        m = base + k
        inside = wanted & (m <= last)
        here = leg + 2 * (begin + m)
        real += sign * tl.load(here, mask=inside, other=0.0)
        imag += sign * tl.load(here + 1, mask=inside, other=0.0)
        sign = sign * flip
        m = base + n - k
        inside = wanted & (m <= last)
        here = leg + 2 * (begin + m)
        real += sign * tl.load(here, mask=inside, other=0.0)
        imag -= sign * tl.load(here + 1, mask=inside, other=0.0)
        base += n
    c, s = _turn(tl.where(shifted, k, 0).to(tl.uint32), n)
    to = folded + 2 * (row.to(tl.int64) * (2 * nside + 1) + k)
    tl.store(to, real * c - imag * s, mask=wanted)
    tl.store(to + 1, real * s + imag * c, mask=wanted)


def read_equator(spectrum: Tensor, leg: Tensor, nside: int, lmax: int) -> None:
    """Read the orders of the rings nside ... 3 nside from their real transforms."""
    rows = 2 * nside + 1
    _read_equator[(triton.cdiv(lmax + 1, _BLOCK), rows)](
        torch.view_as_real(spectrum),
        torch.view_as_real(leg),
        nside,
        lmax,
        leg.shape[1],
        leg.shape[2],
        BLOCK=_BLOCK,
    )


@triton.jit(do_not_specialize=["nside", "lmax", "rings", "width"])
def _read_equator(spectrum, leg, nside, lmax, rings, width, BLOCK: tl.constexpr):
    row = tl.program_id(1)
    m = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    begin, _pair = _belt_ring(row, nside, rings, width)
    n = 4 * nside
    wanted = m <= lmax
    k = m % n
    mirrored = k > 2 * nside
    k = tl.where(mirrored, n - k, k)
    here = spectrum + 2 * (row.to(tl.int64) * (2 * nside + 1) + k)
    real = tl.load(here, mask=wanted, other=0.0)
    imag = tl.load(here + 1, mask=wanted, other=0.0)
    imag = tl.where(mirrored, -imag, imag)
    c, s = _turn(tl.where(row % 2 == 0, m, 0).to(tl.uint32), n)
    to = leg + 2 * (begin + m)
    tl.store(to, real * c + imag * s, mask=wanted)
    tl.store(to + 1, imag * c - real * s, mask=wanted)
    # The equator is its own mirror image: it is counted in the north only.
    to += 2 * rings.to(tl.int64) * width
    zero = tl.zeros([BLOCK], tl.float64)
    tl.store(to, zero, mask=wanted & (row == nside))
    tl.store(to + 1, zero, mask=wanted & (row == nside))


def fold_poles(leg: Tensor, work: Tensor, rings: Any, lmax: int) -> None:
    """Fold the orders of the polar rings, times the chirp, into rows padded with zeros."""
    _fold_poles[(triton.cdiv(rings.longest, _BLOCK), rings.nside - 1)](
        torch.view_as_real(leg),
        torch.view_as_real(work),
        rings.mlim,
        rings.offsets,
        rings.lengths,
        lmax,
        leg.shape[1],
        leg.shape[2],
        BLOCK=_BLOCK,
    )


@triton.jit(do_not_specialize=["lmax", "rings", "width"])
def _fold_poles(leg, work, mlim, offsets, lengths, lmax, rings, width, BLOCK: tl.constexpr):
    row = tl.program_id(1)
    k = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    length = tl.load(lengths + row)
    if tl.program_id(0) * BLOCK < length:
        last = tl.minimum(lmax, tl.load(mlim + row))
        n = 4 * (row + 1)
        wanted = k < n
        north = leg + 2 * row.to(tl.int64) * width
        across = 2 * rings.to(tl.int64) * width
        real = tl.zeros([BLOCK], tl.float64)
        imag = tl.zeros([BLOCK], tl.float64)
        sign = (tl.load(mlim + row) * 0 + 1).to(tl.float64)
        base = 0
        while base <= last:
            # North + i south.
            m = base + k
            inside = wanted & (m <= last)
            here = north + 2 * m
            real += sign * tl.load(here, mask=inside, other=0.0)
            imag += sign * tl.load(here + 1, mask=inside, other=0.0)
            imag += sign * tl.load(here + across, mask=inside, other=0.0)
            real -= sign * tl.load(here + across + 1, mask=inside, other=0.0)
            sign = -sign
            m = base + n - k
            inside = wanted & (m <= last)
            here = north + 2 * m
            real += sign * tl.load(here, mask=inside, other=0.0)
            imag -= sign * tl.load(here + 1, mask=inside, other=0.0)
            imag += sign * tl.load(here + across, mask=inside, other=0.0)
            real += sign * tl.load(here + across + 1, mask=inside, other=0.0)
            base += n
        number = k.to(tl.uint32)
        c, s = _turn(number * (number + 1), n)
        to = work + 2 * (tl.load(offsets + row) + k)
        tl.store(to, real * c - imag * s, mask=k < length)
        tl.store(to + 1, real * s + imag * c, mask=k < length)


def read_poles(work: Tensor, leg: Tensor, rings: Any, lmax: int) -> None:
    """Read the orders of the polar rings from the transforms of north + i south."""
    _read_poles[(triton.cdiv(lmax + 1, _BLOCK), rings.nside - 1)](
        torch.view_as_real(work),
        torch.view_as_real(leg),
        rings.mlim,
        rings.offsets,
        lmax,
        leg.shape[1],
        leg.shape[2],
        BLOCK=_BLOCK,
    )


@triton.jit(do_not_specialize=["lmax", "rings", "width"])
def _read_poles(work, leg, mlim, offsets, lmax, rings, width, BLOCK: tl.constexpr):
    row = tl.program_id(1)
    m = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    n = 4 * (row + 1)
    k = m % n
    wanted = m <= lmax
    inside = m <= tl.minimum(lmax, tl.load(mlim + row))
    begin = work + 2 * tl.load(offsets + row)
    here = begin + 2 * k
    there = begin + 2 * ((n - k) % n)
    real = tl.load(here, mask=inside, other=0.0)
    imag = tl.load(here + 1, mask=inside, other=0.0)
    other_real = tl.load(there, mask=inside, other=0.0)
    other_imag = tl.load(there + 1, mask=inside, other=0.0)
    number = k.to(tl.uint32)
    c, s = _turn(number * number, n)
    # Z_k, and the conjugate of Z_{n-k}, whose chirp is the same.
    z_real = real * c + imag * s
    z_imag = imag * c - real * s
    w_real = other_real * c + other_imag * s
    w_imag = other_real * s - other_imag * c
    c, s = _turn(m.to(tl.uint32), n)
    north_real = 0.5 * (z_real + w_real)
    north_imag = 0.5 * (z_imag + w_imag)
    south_real = 0.5 * (z_imag - w_imag)
    south_imag = 0.5 * (w_real - z_real)
    to = leg + 2 * (row.to(tl.int64) * width + m)
    tl.store(to, north_real * c + north_imag * s, mask=wanted)
    tl.store(to + 1, north_imag * c - north_real * s, mask=wanted)
    to += 2 * rings.to(tl.int64) * width
    tl.store(to, south_real * c + south_imag * s, mask=wanted)
    tl.store(to + 1, south_imag * c - south_real * s, mask=wanted)


def write_poles(work: Tensor, sky: Tensor, rings: Any) -> None:
    """Write the rows of the polar rings, times the chirp, into the map."""
    longest = 4 * (rings.nside - 1)
    _write_poles[(triton.cdiv(longest, _BLOCK), rings.nside - 1)](
        torch.view_as_real(work), sky, rings.offsets, sky.numel(), BLOCK=_BLOCK
    )


@triton.jit(do_not_specialize=["npix"])
def _write_poles(work, sky, offsets, npix, BLOCK: tl.constexpr):
    row = tl.program_id(1)
    j = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    ring = (row + 1).to(tl.int64)
    inside = j < 4 * ring
    here = work + 2 * (tl.load(offsets + row) + j)
    real = tl.load(here, mask=inside, other=0.0)
    imag = tl.load(here + 1, mask=inside, other=0.0)
    number = j.to(tl.uint32)
    c, s = _turn(number * number, 4 * (row + 1))
    tl.store(sky + 2 * ring * (ring - 1) + j, real * c - imag * s, mask=inside)
    tl.store(sky + npix - 2 * ring * (ring + 1) + j, real * s + imag * c, mask=inside)


def take_poles(sky: Tensor, work: Tensor, rings: Any) -> None:
    """Read the polar rings of a map, times the conjugate chirp, into rows padded with zeros."""
    _take_poles[(triton.cdiv(rings.longest, _BLOCK), rings.nside - 1)](
        sky,
        torch.view_as_real(work),
        rings.offsets,
        rings.lengths,
        sky.numel(),
        BLOCK=_BLOCK,
    )


@triton.jit(do_not_specialize=["npix"])
def _take_poles(sky, work, offsets, lengths, npix, BLOCK: tl.constexpr):
    row = tl.program_id(1)
    j = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    length = tl.load(lengths + row)
    if tl.program_id(0) * BLOCK < length:
        ring = (row + 1).to(tl.int64)
        inside = j < 4 * ring
        north = tl.load(sky + 2 * ring * (ring - 1) + j, mask=inside, other=0.0)
        south = tl.load(sky + npix - 2 * ring * (ring + 1) + j, mask=inside, other=0.0)
        number = j.to(tl.uint32)
        c, s = _turn(number * number, 4 * (row + 1))
        to = work + 2 * (tl.load(offsets + row) + j)
        tl.store(to, north * c + south * s, mask=j < length)
        tl.store(to + 1, south * c - north * s, mask=j < length)
