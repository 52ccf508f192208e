"""Loops of the diffusive fill: equations between neighbouring pixels at each level.

The arrays are fields of `skyfill.diffuse.fill._Level`, whole or for some pixels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import prange

from skyfill.healpix.jit import parallel
from skyfill.healpix.pixel import neighbour_xyf, nest2ring, nest2xyf, xyf2nest
from skyfill.healpix.ranks import chosen, rank

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Slots = NDArray[np.int32]
    Counts = NDArray[np.int8]

__all__ = ["DAMPING", "TEMPERATURE", "Field", "connect", "first_children", "flag_holes", "to_ring"]

# Best damping of Jacobi steps with eight neighbours. The mean of the neighbours multiplies waves
# shorter than four pixels by -1/2 to 1/4, so a damped step reduces them to at most a third.
DAMPING = 8.0 / 9.0


@parallel
def flag_holes(nside: int, observed: NDArray[np.bool_], out: NDArray[np.bool_]) -> None:
    """Flag the NESTED pixels that are not observed."""
    for p in prange(out.size):
        out[p] = not observed[nest2ring(nside, int(np.int64(p)))]


@parallel
def connect(
    nside: int,
    pixels: Slots,
    bits: NDArray[np.uint64],
    before: Slots,
    around: Slots,
) -> None:
    """Give the neighbours' positions in the list; -1 for known ones, -2 for missing ones."""
    for p in prange(pixels.size):
        face, x, y = nest2xyf(nside, pixels[p])
        for k in range(8):
            f, i, j = neighbour_xyf(nside, face, x, y, k)
            around[p, k] = rank(bits, before, xyf2nest(nside, f, i, j)) if f >= 0 else -2


@parallel
def _add_known(
    nside: int,
    pixels: Slots,
    around: Slots,
    sky: NDArray[Any],
    ring: bool,
    degree: Counts,
    known: Floats,
) -> None:
    """Count all neighbours, and sum the known ones."""
    for p in prange(pixels.size):
        face, x, y = nest2xyf(nside, pixels[p])
        degree[p] = 0
        known[p] = 0.0
        for k in range(8):
            if around[p, k] > -2:
                degree[p] += 1
            if around[p, k] == -1:
                f, i, j = neighbour_xyf(nside, face, x, y, k)
                q = xyf2nest(nside, f, i, j)
                known[p] += sky[nest2ring(nside, q) if ring else q]


@parallel
def _coarsen(
    nside: int, bits: NDArray[np.uint64], sky: NDArray[Any], ring: bool, out: Floats
) -> None:
    """Take the mean of the known children; NaN if there is none."""
    for p in prange(out.size):
        total = 0.0
        n = 0
        for k in range(4):
            q = 4 * int(np.int64(p)) + k
            if not chosen(bits, q):
                total += sky[nest2ring(nside, q) if ring else q]
                n += 1
        out[p] = total / n if n else math.nan


@parallel
def first_children(pixels: Slots, bits: NDArray[np.uint64], before: Slots, children: Slots) -> None:
    """Give the positions of first children in the finer list."""
    for p in prange(pixels.size):
        children[p] = rank(bits, before, 4 * int(pixels[p]))


@parallel
def _inherit(pixels: Slots, sky: Floats, x: Floats) -> None:
    """Give pixels the values of their parents."""
    for p in prange(pixels.size):
        x[p] = sky[pixels[p] >> 2]


@parallel
def _square(x: Floats, before: Floats) -> None:
    """Put the squared difference into ``before``."""
    for p in prange(x.size):
        before[p] = (x[p] - before[p]) ** 2


@parallel
def to_ring(
    nside: int, pixels: Slots, bits: NDArray[np.uint64], before: Slots, x: Floats, out: Floats
) -> None:
    """Reorder values of NESTED pixels to RING order."""
    for p in prange(pixels.size):
        out[rank(bits, before, nest2ring(nside, pixels[p]))] = x[p]


@parallel
def _relax(around: Slots, first: int, degree: Counts, rhs: Floats, x: Floats, out: Floats) -> None:
    """Step towards the mean of the neighbours; all arrays but x start at pixel ``first``."""
    for p in prange(rhs.size):
        total = rhs[p]
        for k in range(8):
            if around[p, k] >= 0:
                total += x[around[p, k]]
        out[p] = x[first + p] + DAMPING * (total / degree[p] - x[first + p])


@parallel
def _residual(
    around: Slots, first: int, degree: Counts, rhs: Floats, x: Floats, out: Floats
) -> None:
    """Give the residual of the equations; arguments as for `_relax`."""
    for p in prange(rhs.size):
        total = rhs[p] - degree[p] * x[first + p]
        for k in range(8):
            if around[p, k] >= 0:
                total += x[around[p, k]]
        out[p] = total


@parallel
def _restrict(children: Slots, fine: Floats, out: Floats) -> None:
    """Sum the children: the mean, times 4 because the coarse pixels' spacing is twice as wide."""
    for p in prange(out.size):
        c = children[p]
        out[p] = fine[c] + fine[c + 1] + fine[c + 2] + fine[c + 3]


@parallel
def _prolong(around: Slots, first: int, children: Slots, coarse: Floats, out: Floats) -> None:
    """Add the bilinear interpolation of a coarse correction, zero at known pixels."""
    for p in prange(children.size):
        # neighbours SW, W, NW, N, NE, E, SE, S; child 0 lies to the south, 1 east, 2 west, 3 north
        for child in range(4):
            one = 4 if child & 1 else 0
            two = 2 if child & 2 else 6
            corner = (7, 5, 1, 3)[child]
            total = 9.0 * coarse[first + p]
            if around[p, one] >= 0:
                total += 3.0 * coarse[around[p, one]]
            if around[p, two] >= 0:
                total += 3.0 * coarse[around[p, two]]
            if around[p, corner] >= 0:
                total += coarse[around[p, corner]]
            out[children[p] + child] += total / 16.0


@parallel
def _links(around: Slots, out: Floats) -> None:
    """Give the coefficients of unknown neighbours in the equations, ``(n, 8)``; 0 for others."""
    for p in prange(len(around)):
        for k in range(8):
            out[p, k] = -1.0 if around[p, k] >= 0 else 0.0


class Field(NamedTuple):
    """The loops over one kind of field. Those of spin 2 take the directions of pixels as well."""

    dtype: type[np.float64 | np.complex128]
    turned: bool
    """Whether the numbers refer to the axes of each pixel."""
    add_known: Callable[..., None]
    coarsen: Callable[..., None]
    inherit: Callable[..., None]
    square: Callable[..., None]
    links: Callable[..., None]
    relax: Callable[..., None]
    residual: Callable[..., None]
    restrict: Callable[..., None]
    prolong: Callable[..., None]


TEMPERATURE = Field(
    np.float64,
    False,
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
"""T, of spin 0."""
