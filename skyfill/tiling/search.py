"""The loops that find hole pixels and the tiles nearest to them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import prange

from skyfill._jit import compiled, parallel
from skyfill._pixels import TWO_PI, neighbours_nest, nest2ring, pix2zsphi_nest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Flags = NDArray[np.bool_]


@parallel
def any_child(nside: int, holes: Flags, parent_nside: int, out: Flags) -> None:
    """Flag the NESTED pixels of ``parent_nside`` that touch a True pixel of a RING map."""
    children = (nside // parent_nside) ** 2
    for p in prange(out.size):
        first = int(np.int64(p)) * children
        out[p] = False
        for child in range(first, first + children):
            if holes[nest2ring(nside, child)]:
                out[p] = True
                break


@compiled
def label(nside: int, pixels: Integers, labels: Integers, queue: Integers, around: Integers) -> int:
    """Label the connected sets of NESTED pixels with numbers, and return how many there are.

    ``labels`` is a map of -1; ``queue`` is as long as ``pixels``; ``around`` has room for 8.
    """
    for i in range(pixels.size):
        labels[pixels[i]] = -2
    n = 0
    for i in range(pixels.size):
        if labels[pixels[i]] != -2:
            continue
        labels[pixels[i]] = n
        queue[0] = pixels[i]
        head, tail = 0, 1
        while head < tail:
            neighbours_nest(nside, queue[head], around)
            head += 1
            for k in range(8):
                p = around[k]
                if p >= 0 and labels[p] == -2:
                    labels[p] = n
                    queue[tail] = p
                    tail += 1
        n += 1
    return n


@parallel
def nearest_centre(
    nside: int,
    pixels: Integers,
    columns: Integers,
    starts: Integers,
    car: bool,
    owner: Integers,
    distance: Floats,
) -> None:
    """Find the grid point nearest to each NESTED pixel, and how far off-centre its tile shows it.

    Row r of the grid has columns[r] points at colatitude r pi / (rows - 1), the first at longitude
    zero; starts[r] counts the points before it. The distance is the larger of |u| and |v|.
    """
    last = columns.size - 1
    for p in prange(pixels.size):
        z, s, phi = pix2zsphi_nest(nside, pixels[p])
        row = int(math.atan2(s, z) * (last / math.pi) + 0.5)
        n = columns[row]
        column = int(phi * (n / TWO_PI) + 0.5) % n
        owner[p] = starts[row] + column
        theta = row * math.pi / last
        east = phi - column * (TWO_PI / n)
        a = z * math.cos(theta) + s * math.sin(theta) * math.cos(east)
        b = s * math.sin(east)
        c = z * math.sin(theta) - s * math.cos(theta) * math.cos(east)
        if car:
            distance[p] = max(abs(math.atan2(b, a)), abs(math.asin(min(1.0, max(-1.0, c)))))
        else:
            distance[p] = max(abs(b), abs(c)) / a if a > 0.0 else math.inf
