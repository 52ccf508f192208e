"""Loops that move values between sphere and tiles."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import prange

from skyfill.healpix.jit import compiled, parallel
from skyfill.healpix.pixel import (
    ang2pix_ring,
    interpolate_ring,
    longitude,
    pix2zsphi_nest,
    ring2nest,
)
from skyfill.tiling.projections import deproject, project, row_angles
from skyfill.tiling.splines import bilinear_value, spline_value

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Flags = NDArray[np.bool_]


@compiled
def by_cell(cell: Integers, starts: Integers, order: Integers) -> None:
    """Order elements by their cell, ``(n,)``; ``starts``, where those of each begin, moves on."""
    for i in range(cell.size):
        order[starts[cell[i]]] = i
        starts[cell[i]] += 1


@parallel
def cut_bilinear(  # noqa: C901 - four pixels, four branches
    nside: int,
    rings: Floats,
    axes: Floats,
    step: Floats,
    origin: Floats,
    car: Flags,
    values: NDArray[Any],
    observed: Flags,
    nest: bool,
    scratch: Floats,
    tiles: NDArray[Any],
    weights: NDArray[Any],
) -> None:
    """Interpolate between the observed ones of the four pixels around each tile pixel.

    An empty ``observed`` means that every pixel is observed; ``weights`` is then not written. The
    rows of all tiles are divided into equal blocks. Each block uses its own part of ``scratch``,
    (nblock, 3, nx).
    """
    ntile, ny, nx = tiles.shape
    nblock = scratch.shape[0]
    whole = observed.size == 0
    for block in prange(nblock):
        b = int(np.int64(block))
        z, s, phi = scratch[b, 0], scratch[b, 1], scratch[b, 2]
        for k in range(b * ntile * ny // nblock, (b + 1) * ntile * ny // nblock):
            t = k // ny
            y = k - t * ny
            row_angles(axes[t], step[t], origin[t], car[t], y, scratch[b])
            for x in range(nx):
                p0, p1, p2, p3, w0, w1, w2, w3 = interpolate_ring(nside, rings, z[x], s[x], phi[x])
                if nest:
                    p0, p1 = ring2nest(nside, p0), ring2nest(nside, p1)
                    p2, p3 = ring2nest(nside, p2), ring2nest(nside, p3)
                if not whole:
                    w0 *= observed[p0]
                    w1 *= observed[p1]
                    w2 *= observed[p2]
                    w3 *= observed[p3]
                # a missing pixel's value must not be read: zero times NaN is NaN
                total = 0.0
                if w0 > 0.0:
                    total += w0 * values[p0]
                if w1 > 0.0:
                    total += w1 * values[p1]
                if w2 > 0.0:
                    total += w2 * values[p2]
                if w3 > 0.0:
                    total += w3 * values[p3]
                if whole:
                    tiles[t, y, x] = total
                else:
                    weight = w0 + w1 + w2 + w3
                    tiles[t, y, x] = total / weight if weight > 0.0 else 0.0
                    weights[t, y, x] = weight


@parallel
def cut_nearest(
    nside: int,
    axes: Floats,
    step: Floats,
    origin: Floats,
    car: Flags,
    values: NDArray[Any],
    nest: bool,
    tiles: NDArray[Any],
) -> None:
    """Copy the pixel in which each tile pixel's centre lies."""
    ntile, ny, nx = tiles.shape
    for k in prange(ntile * ny):
        t = int(np.int64(k)) // ny
        row = int(np.int64(k)) - t * ny
        for x in range(nx):
            i, j, z = deproject(axes[t], step[t], origin[t], car[t], x, row)
            p = ang2pix_ring(nside, z, math.sqrt(i * i + j * j), longitude(i, j))
            tiles[t, row, x] = values[ring2nest(nside, p) if nest else p]


@compiled
def meets(
    cells: Floats,
    c: int,
    t: int,
    near: Floats,
    slack: Floats,
    axes: Floats,
    step: Floats,
    origin: Floats,
    car: Flags,
    centres: Floats,
    ny: int,
    nx: int,
) -> bool:
    """Tell whether cell c of pixels can lie under tile t; arguments as for `add_tiles`."""
    i, j, k = cells[c, 0], cells[c, 1], cells[c, 2]
    if i * centres[t, 0] + j * centres[t, 1] + k * centres[t, 2] < near[t]:
        return False
    x, y = project(axes[t], step[t], origin[t], car[t], nx, i, j, k)
    return not max(-x, x - (nx - 1), -y, y - (ny - 1)) > slack[t]


@compiled
def add_tile(
    tile: Floats,
    window: Floats,
    cubic: bool,
    axes: Floats,
    step: float,
    origin: Floats,
    car: bool,
    directions: Floats,
    first: int,
    total: Floats,
    weight: Floats,
) -> None:
    """Add a windowed tile to the pixels ``first`` and following, whose ``directions`` are given."""
    ny, nx = tile.shape
    for p in range(directions.shape[0]):
        x, y = project(
            axes, step, origin, car, nx, directions[p, 0], directions[p, 1], directions[p, 2]
        )
        if 0.0 <= x <= nx - 1 and 0.0 <= y <= ny - 1:
            w = bilinear_value(window, x, y)
            if w > 0.0:
                value = spline_value(tile, x, y) if cubic else bilinear_value(tile, x, y)
                total[first + p] += w * value
                weight[first + p] += w


@parallel
def add_tiles(
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
    tiles: Floats,
    window: Floats,
    cubic: bool,
    scratch: Floats,
    total: Floats,
    weight: Floats,
) -> None:
    """Add windowed tiles to the pixels under them.

    ``pixels`` are NESTED and sorted. Cell c holds those from bounds[c] to bounds[c + 1] and lies
    around the unit vector cells[c]. It meets tile t only if cells[c] . centres[t] >= near[t] and
    its centre lies less than slack[t] pixels outside the tile. Cells are divided into blocks, each
    with its part of ``scratch``, (nblock, largest cell, 3). A cell adds tiles in their order, so
    the sums do not depend on the number of threads.
    """
    ntile, ny, nx = tiles.shape
    ncell = cells.shape[0]
    nblock = scratch.shape[0]
    for block in prange(nblock):
        b = int(np.int64(block))
        for c in range(b * ncell // nblock, (b + 1) * ncell // nblock):
            first = bounds[c]
            count = bounds[c + 1] - first
            ready = False
            for t in range(ntile):
                if not meets(cells, c, t, near, slack, axes, step, origin, car, centres, ny, nx):
                    continue
                if not ready:
                    for p in range(count):
                        z, s, phi = pix2zsphi_nest(nside, pixels[first + p])
                        scratch[b, p, 0] = s * math.cos(phi)
                        scratch[b, p, 1] = s * math.sin(phi)
                        scratch[b, p, 2] = z
                    ready = True
                add_tile(
                    tiles[t],
                    window,
                    cubic,
                    axes[t],
                    step[t],
                    origin[t],
                    car[t],
                    scratch[b, :count],
                    first,
                    total,
                    weight,
                )


@parallel
def heaviest_tiles(
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
    window: Floats,
    heaviest: Floats,
    owners: Integers,
) -> None:
    """Find the tile with the largest window weight at each pixel; the first of equal ones.

    ``heaviest`` receives the weights and starts at 0; ``owners`` receives the tiles and starts at
    -1. The other arguments are as for `add_tiles`.
    """
    ny, nx = window.shape
    for cell in prange(cells.shape[0]):
        c = int(np.int64(cell))
        for t in range(centres.shape[0]):
            if not meets(cells, c, t, near, slack, axes, step, origin, car, centres, ny, nx):
                continue
            for p in range(bounds[c], bounds[c + 1]):
                # inline in both walks: as a function of its own it costs a tenth of the time
                z, s, phi = pix2zsphi_nest(nside, pixels[p])
                i, j = s * math.cos(phi), s * math.sin(phi)
                x, y = project(axes[t], step[t], origin[t], car[t], nx, i, j, z)
                if not (0.0 <= x <= nx - 1 and 0.0 <= y <= ny - 1):
                    continue
                weight = bilinear_value(window, x, y)
                if weight > heaviest[p]:
                    heaviest[p] = weight
                    owners[p] = t
