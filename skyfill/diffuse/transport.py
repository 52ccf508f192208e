"""Loops of the diffusive fill of Q and U: neighbours are turned into the axes of each pixel.

Q and U refer to the meridian of their own pixel, so the numbers of neighbours cannot be averaged;
near a pole not even roughly. P = Q + iU of a neighbour is carried along the great circle between
the two pixels: with γ the angle of this circle at a pixel, from south towards east, P at j has in
the axes of i the value exp 2i(γ_i - γ_j) P_j. Coarse levels are carried likewise.

The arrays are those of `skyfill.diffuse.laplace`; ``towards`` holds the directions of the pixels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import prange

from skyfill.diffuse.laplace import DAMPING, Field
from skyfill.healpix.jit import compiled, parallel
from skyfill.healpix.pixel import (
    neighbour_xyf,
    nest2ring,
    nest2xyf,
    pix2zsphi_nest,
    xyf2nest,
)
from skyfill.healpix.ranks import chosen

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Numbers = NDArray[np.complex128]
    Slots = NDArray[np.int32]
    Counts = NDArray[np.int8]

__all__ = ["POLARIZATION", "place"]

#: Product of four projected separations below which two pixels are one, or antipodes; at Nside 8192
#: that of neighbours at a pole is 1e-32.
_SAME = 1e-60


@compiled
def _direction(nside: int, pixel: int) -> tuple[float, float, float]:
    """Give the direction of a NESTED pixel."""
    z, s, phi = pix2zsphi_nest(nside, pixel)
    return s * math.cos(phi), s * math.sin(phi), z


@compiled
def _turn(a: tuple[float, float, float], b: tuple[float, float, float]) -> complex:
    """Give what turns P at b into the axes of a: exp 2i(γ_a - γ_b), without any angle."""
    along = a[0] * b[0] + a[1] * b[1]
    across = a[0] * b[1] - a[1] * b[0]
    # South and east components at each end; a direction and its opposite are one for spin 2.
    at_a = complex(a[2] * along - (a[0] * a[0] + a[1] * a[1]) * b[2], across)
    at_b = complex(b[2] * along - (b[0] * b[0] + b[1] * b[1]) * a[2], -across)
    once = at_a * at_b.conjugate()
    twice = once * once
    size = math.hypot(twice.real, twice.imag)
    return twice / size if size > _SAME else complex(1.0, 0.0)


@compiled
def _at(towards: Floats, k: int) -> tuple[float, float, float]:
    """Give one of the directions."""
    return towards[k, 0], towards[k, 1], towards[k, 2]


@parallel
def _place(nside: int, pixels: Slots, towards: Floats) -> None:
    """Give the directions of pixels."""
    for p in prange(pixels.size):
        towards[p, 0], towards[p, 1], towards[p, 2] = _direction(nside, pixels[p])


@parallel
def _add_known(
    nside: int,
    pixels: Slots,
    around: Slots,
    sky: NDArray[Any],
    ring: bool,
    degree: Counts,
    known: Numbers,
) -> None:
    """Count all neighbours, and sum the known ones."""
    for p in prange(pixels.size):
        face, x, y = nest2xyf(nside, pixels[p])
        here = _direction(nside, pixels[p])
        degree[p] = 0
        known[p] = 0.0
        for k in range(8):
            if around[p, k] > -2:
                degree[p] += 1
            if around[p, k] == -1:
                f, i, j = neighbour_xyf(nside, face, x, y, k)
                q = xyf2nest(nside, f, i, j)
                value = sky[nest2ring(nside, q) if ring else q]
                known[p] += _turn(here, _direction(nside, q)) * value


@parallel
def _coarsen(
    nside: int, bits: NDArray[np.uint64], sky: NDArray[Any], ring: bool, out: Numbers
) -> None:
    """Take the mean of the known children; NaN if there is none."""
    for p in prange(out.size):
        here = _direction(nside // 2, int(np.int64(p)))
        total = complex(0.0, 0.0)
        n = 0
        for k in range(4):
            q = 4 * int(np.int64(p)) + k
            if not chosen(bits, q):
                value = sky[nest2ring(nside, q) if ring else q]
                total += _turn(here, _direction(nside, q)) * value
                n += 1
        out[p] = total / n if n else complex(math.nan, math.nan)


@parallel
def _inherit(pixels: Slots, towards: Floats, sky: Numbers, x: Numbers) -> None:
    """Give pixels the values of their parents."""
    nside = round(math.sqrt(sky.size / 12))
    for p in prange(pixels.size):
        parent = pixels[p] >> 2
        x[p] = _turn(_at(towards, p), _direction(nside, parent)) * sky[parent]


@parallel
def _square(x: Numbers, before: Numbers) -> None:
    """Put the squared modulus of the difference into ``before``."""
    for p in prange(x.size):
        away = x[p] - before[p]
        before[p] = away.real * away.real + away.imag * away.imag


@parallel
def _links(around: Slots, towards: Floats, out: NDArray[np.complex128]) -> None:
    """Give the coefficients of unknown neighbours in the equations, ``(n, 8)``; 0 for others."""
    for p in prange(len(around)):
        for k in range(8):
            q = around[p, k]
            out[p, k] = -_turn(_at(towards, p), _at(towards, q)) if q >= 0 else complex(0.0, 0.0)


@parallel
def _relax(
    around: Slots,
    towards: Floats,
    first: int,
    degree: Counts,
    rhs: Numbers,
    x: Numbers,
    out: Numbers,
) -> None:
    """Step towards the mean of the neighbours; rhs and out start at pixel ``first``."""
    for p in prange(rhs.size):
        here = _at(towards, first + p)
        total = rhs[p]
        for k in range(8):
            q = around[p, k]
            if q >= 0:
                total += _turn(here, _at(towards, q)) * x[q]
        out[p] = x[first + p] + DAMPING * (total / degree[p] - x[first + p])


@parallel
def _residual(
    around: Slots,
    towards: Floats,
    first: int,
    degree: Counts,
    rhs: Numbers,
    x: Numbers,
    out: Numbers,
) -> None:
    """Give the residual of the equations; arguments as for `_relax`."""
    for p in prange(rhs.size):
        here = _at(towards, first + p)
        total = rhs[p] - degree[p] * x[first + p]
        for k in range(8):
            q = around[p, k]
            if q >= 0:
                total += _turn(here, _at(towards, q)) * x[q]
        out[p] = total


@parallel
def _restrict(children: Slots, towards: Floats, finer: Floats, fine: Numbers, out: Numbers) -> None:
    """Sum the children, as `skyfill.diffuse.laplace.restrict` does."""
    for p in prange(out.size):
        here = _at(towards, p)
        total = complex(0.0, 0.0)
        for k in range(4):
            c = children[p] + k
            total += _turn(here, _at(finer, c)) * fine[c]
        out[p] = total


@parallel
def _prolong(
    around: Slots,
    towards: Floats,
    finer: Floats,
    first: int,
    children: Slots,
    coarse: Numbers,
    x: Numbers,
) -> None:
    """Add the bilinear interpolation of a coarse correction, zero at known pixels."""
    for p in prange(children.size):
        for child in range(4):
            here = _at(finer, children[p] + child)
            one = 4 if child & 1 else 0
            two = 2 if child & 2 else 6
            corner = (7, 5, 1, 3)[child]
            total = 9.0 * _turn(here, _at(towards, first + p)) * coarse[first + p]
            q = around[p, one]
            if q >= 0:
                total += 3.0 * _turn(here, _at(towards, q)) * coarse[q]
            q = around[p, two]
            if q >= 0:
                total += 3.0 * _turn(here, _at(towards, q)) * coarse[q]
            q = around[p, corner]
            if q >= 0:
                total += _turn(here, _at(towards, q)) * coarse[q]
            x[children[p] + child] += total / 16.0


POLARIZATION = Field(
    np.complex128,
    True,
    _add_known,
    _coarsen,
    _inherit,
    _square,
    _links,
    _relax,
    _residual,
    _restrict,
    _prolong,
)
"""P = Q + iU, of spin 2."""


def place(nside: int, pixels: Slots) -> Floats:
    """Give the directions of NESTED pixels, ``(n, 3)``."""
    towards = np.empty((pixels.size, 3))
    _place(nside, pixels, towards)
    return towards
