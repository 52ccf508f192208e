"""Write down once which numbers cutting and pasting of tiles take, and with which weights.

The numbers are those of `skyfill.tiling.kernels`, computed by the same functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import prange

from skyfill.healpix import pixel_directions, pixel_radius, ring_table, ring_to_nest
from skyfill.healpix.jit import parallel
from skyfill.healpix.pixel import interpolate_ring, pix2zsphi_nest
from skyfill.tiling.cutting import BLOCKS
from skyfill.tiling.kernels import meets
from skyfill.tiling.layout import Layout, frames
from skyfill.tiling.pasting import CELL, reach
from skyfill.tiling.projections import project, row_angles
from skyfill.tiling.splines import bilinear_value

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Flags = NDArray[np.bool_]

__all__ = ["PADDED", "CutTable", "PasteTable", "cut_table", "paste_tables"]

PADDED = (1, 2)
"""Mirrored columns and rows before and after a tile: cubic splines reach so far beyond it."""
#: Number of map pixels of a `PasteTable`.
_PIXELS = 2**23
#: What `_walk` writes where it only counts.
_NOTHING: tuple[Any, ...] = (
    np.empty((0, 0), np.int32),
    *(np.empty(0, np.int32) for _ in range(2)),
    np.empty((2, 0), np.float32),
    np.empty(0, np.float32),
)


class CutTable(NamedTuple):
    """How tiles are cut from a map.

    Attributes
    ----------
    pixels
        ``(ntile, n, n, 4)`` int32, RING: pixels around each tile pixel within the guard.
    shares
        The same shape, float32: their weights, which add up to one; zero for unobserved pixels, and
        where the tile pixel does not count as data.
    known
        ``(ntile, n, n)``: whether it counts as data.
    """

    pixels: NDArray[np.int32]
    shares: NDArray[np.float32]
    known: NDArray[np.bool_]


class PasteTable(NamedTuple):
    """How tiles are pasted onto some pixels.

    Attributes
    ----------
    pixels
        ``(n,)``, RING.
    place
        ``(entries,)`` int32: position among these pixels.
    base
        ``(entries,)`` int32: the first of the 4 by 4 spline coefficients, in tiles padded by
        `PADDED`.
    along
        ``(2, entries)`` float32: column and row beyond the second of the coefficients.
    share
        ``(entries,)`` float32: weight of the tile; the weights of a pixel add up to one, with those
        of tiles that are left out because they are zero.
    layers
        ``(k + 1,)``: first entry of each layer. A layer has at most one entry for each pixel, and
        layers follow the order of the tiles.
    """

    pixels: Integers
    place: NDArray[np.int32]
    base: NDArray[np.int32]
    along: NDArray[np.float32]
    share: NDArray[np.float32]
    layers: Integers


def cut_table(
    observed: Flags, layouts: Sequence[Layout], *, nside: int, guard: int, threshold: float
) -> CutTable:
    """Write down how `tiling.cut` cuts tiles of one shape.

    Parameters
    ----------
    observed
        ``(npix,)``, RING.
    layouts
        The tiles.
    nside
        Resolution of the map.
    guard
        Number of outermost pixels on each side that are left out.
    threshold
        Observed share of the weight from which a tile pixel counts as data.
    """
    ny, nx = layouts[0].shape
    shape = (len(layouts), ny - 2 * guard, nx - 2 * guard)
    table = CutTable(
        np.empty((*shape, 4), np.int32), np.empty((*shape, 4), np.float32), np.empty(shape, bool)
    )
    _write_cuts(
        nside,
        ring_table(nside),
        *frames(layouts).grid,
        observed,
        guard,
        threshold,
        np.empty((BLOCKS, 3, nx)),
        *table,
    )
    return table


def paste_tables(
    wanted: Flags,
    layouts: Sequence[Layout],
    useful: Integers,
    *,
    nside: int,
    window: Floats,
) -> Iterator[PasteTable]:
    """Write down how `tiling.paste` blends tiles, some neighbouring pixels at a time.

    Parameters
    ----------
    wanted
        ``(npix,)``, RING, True where pixels are wanted.
    layouts
        The tiles, of one shape.
    useful
        ``(n,)``: the tiles that are not zero. Entries point to these, in this order.
    nside
        Resolution of the map.
    window
        ``(ny, nx)``, weight of each tile pixel.
    """
    slots = np.full(len(layouts), -1, np.int64)
    slots[useful] = np.arange(useful.size)
    where = frames(layouts)
    cell_nside = max(1, nside // CELL)
    near, slack = reach(where, pixel_radius(cell_nside))
    for start in range(0, wanted.size, _PIXELS):
        ring = np.flatnonzero(wanted[start : start + _PIXELS]) + start
        if not ring.size:
            continue
        nest = ring_to_nest(nside, ring)
        order = np.argsort(nest, kind="stable")
        ring, nest = ring[order], nest[order]
        cell = nest // (nside // cell_nside) ** 2
        first = np.flatnonzero(np.diff(cell, prepend=-1))
        bounds = np.append(first, cell.size)
        cells = pixel_directions(cell_nside, cell[first], nest=True)
        geometry = (nside, nest, bounds, cells, near, slack, *where.grid, where.centre, slots)
        counts, totals = np.zeros(nest.size, np.int64), np.zeros(nest.size)
        _walk(*geometry, window, False, counts, totals, *_NOTHING)
        # Entry r of a pixel goes to layer r; a layer holds its pixels in their order.
        sizes = [int(np.count_nonzero(counts > r)) for r in range(int(counts.max(initial=0)))]
        layers = np.cumsum([0, *sizes]).astype(np.int64)
        entries = int(layers[-1])
        places = np.full((len(sizes), nest.size), -1, np.int32)
        for r, begin in enumerate(layers[:-1]):
            has = np.flatnonzero(counts > r)
            places[r, has] = np.arange(begin, begin + has.size)
        table = PasteTable(
            ring,
            np.empty(entries, np.int32),
            np.empty(entries, np.int32),
            np.empty((2, entries), np.float32),
            np.empty(entries, np.float32),
            layers,
        )
        _walk(*geometry, window, True, counts, totals, places, *table[1:5])
        yield table


@parallel
def _write_cuts(
    nside: int,
    rings: Floats,
    axes: Floats,
    step: Floats,
    origin: Floats,
    car: Flags,
    observed: Flags,
    guard: int,
    threshold: float,
    scratch: Floats,
    pixels: NDArray[np.int32],
    shares: NDArray[np.float32],
    known: Flags,
) -> None:
    """Fill a `CutTable`; ``scratch`` is ``(nblock, 3, nx)``."""
    ntile, ny, nx = known.shape
    nblock = scratch.shape[0]
    for block in prange(nblock):
        b = int(np.int64(block))
        z, s, phi = scratch[b, 0], scratch[b, 1], scratch[b, 2]
        for k in range(b * ntile * ny // nblock, (b + 1) * ntile * ny // nblock):
            t = k // ny
            y = k - t * ny
            row_angles(axes[t], step[t], origin[t], car[t], y + guard, scratch[b])
            for x in range(nx):
                p0, p1, p2, p3, w0, w1, w2, w3 = interpolate_ring(
                    nside, rings, z[x + guard], s[x + guard], phi[x + guard]
                )
                w0 *= observed[p0]
                w1 *= observed[p1]
                w2 *= observed[p2]
                w3 *= observed[p3]
                weight = w0 + w1 + w2 + w3
                good = weight >= threshold
                known[t, y, x] = good
                over = 1.0 / weight if good else 0.0
                pixels[t, y, x, 0] = p0
                pixels[t, y, x, 1] = p1
                pixels[t, y, x, 2] = p2
                pixels[t, y, x, 3] = p3
                shares[t, y, x, 0] = w0 * over
                shares[t, y, x, 1] = w1 * over
                shares[t, y, x, 2] = w2 * over
                shares[t, y, x, 3] = w3 * over


@parallel
def _walk(
    nside: int,
    pixels: Integers,
    bounds: Integers,
    cells: Floats,
    near: Floats,
    slack: Floats,
    axes: Floats,
    step: Floats,
    origin: Floats,
    car: Flags,
    centres: Floats,
    slots: Integers,
    window: Floats,
    writing: bool,
    counts: Integers,
    totals: Floats,
    places: NDArray[np.int32],
    place: NDArray[np.int32],
    base: NDArray[np.int32],
    along: NDArray[np.float32],
    share: NDArray[np.float32],
) -> None:
    """Count the tiles over each pixel that have a slot, and add the weights of all; or write them.

    Writing fills a `PasteTable`: ``places[r, p]`` is the place of entry r of pixel p, and is used
    up. The arguments before ``slots`` are as for `skyfill.tiling.kernels.add_tiles`.
    """
    ny, nx = window.shape
    wide, high = nx + PADDED[0] + PADDED[1], ny + PADDED[0] + PADDED[1]
    for cell in prange(cells.shape[0]):
        c = int(np.int64(cell))
        for t in range(centres.shape[0]):
            if writing and slots[t] < 0:
                continue
            if not meets(cells, c, t, near, slack, axes, step, origin, car, centres, ny, nx):
                continue
            for p in range(bounds[c], bounds[c + 1]):
                z, s, phi = pix2zsphi_nest(nside, pixels[p])
                i, j = s * np.cos(phi), s * np.sin(phi)
                x, y = project(axes[t], step[t], origin[t], car[t], nx, i, j, z)
                if not (0.0 <= x <= nx - 1 and 0.0 <= y <= ny - 1):
                    continue
                w = bilinear_value(window, x, y)
                if not w > 0.0:
                    continue
                if not writing:
                    totals[p] += w
                    counts[p] += slots[t] >= 0
                    continue
                r = 0
                while places[r, p] < 0:
                    r += 1
                e = places[r, p]
                places[r, p] = -1
                column, row = int(x), int(y)
                place[e] = p
                base[e] = (slots[t] * high + row) * wide + column
                along[0, e] = x - column
                along[1, e] = y - row
                share[e] = w / totals[p]
