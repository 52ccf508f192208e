"""The loops between sphere and tiles.

A tile pixel (column x, row y) lies at u = (x0 - x) step to the east and v = (y - y0) step to the
north of the tile's reference point: on the tangent plane for TAN, as native longitude and latitude
for CAR (Calabretta & Greisen 2002, A&A 395, 1077, sections 5.1.3 and 5.2.3).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import prange

from skyfill._jit import compiled, parallel
from skyfill._pixels import (
    TWO_PI,
    ang2pix_ring,
    interpolate_ring,
    longitude,
    neighbours_nest,
    nest2ring,
    pix2zsphi_nest,
    ring2nest,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Flags = NDArray[np.bool_]

SPLINE_POLE = math.sqrt(3.0) - 2.0
SPLINE_HORIZON = 28  # the pole to this power is 1e-16


# --- projections ------------------------------------------------------------------------------


@compiled
def deproject(
    axes: Floats, step: float, origin: Floats, car: bool, x: float, y: float
) -> tuple[float, float, float]:
    """Point at a tile pixel: a unit vector."""
    u = (origin[0] - x) * step
    v = (y - origin[1]) * step
    if car:
        a = math.cos(v) * math.cos(u)
        b = math.cos(v) * math.sin(u)
        c = math.sin(v)
    else:
        a = 1.0 / math.sqrt(1.0 + u * u + v * v)
        b = u * a
        c = v * a
    return (
        a * axes[0, 0] + b * axes[1, 0] + c * axes[2, 0],
        a * axes[0, 1] + b * axes[1, 1] + c * axes[2, 1],
        a * axes[0, 2] + b * axes[1, 2] + c * axes[2, 2],
    )


@compiled
def project(
    axes: Floats, step: float, origin: Floats, car: bool, nx: int, i: float, j: float, k: float
) -> tuple[float, float]:
    """Find the column and row of a unit vector (i, j, k); NaN where the tile cannot show it."""
    a = i * axes[0, 0] + j * axes[0, 1] + k * axes[0, 2]
    b = i * axes[1, 0] + j * axes[1, 1] + k * axes[1, 2]
    c = i * axes[2, 0] + j * axes[2, 1] + k * axes[2, 2]
    if car:
        u = math.atan2(b, a)
        middle = (origin[0] - 0.5 * (nx - 1)) * step
        u -= TWO_PI * math.floor((u - middle) / TWO_PI + 0.5)
        v = math.asin(min(1.0, max(-1.0, c)))
    elif a > 0.0:
        u = b / a
        v = c / a
    else:
        return math.nan, math.nan
    return origin[0] - u / step, origin[1] + v / step


@parallel
def deproject_all(axes: Floats, step: Floats, origin: Floats, car: Flags, out: Floats) -> None:
    """Point at all pixels of tiles: ``out`` is (ntile, ny, nx, 3)."""
    ntile, ny, nx, _ = out.shape
    for k in prange(ntile * ny):
        t = int(np.int64(k)) // ny
        row = int(np.int64(k)) - t * ny
        for x in range(nx):
            i, j, z = deproject(axes[t], step[t], origin[t], car[t], x, row)
            out[t, row, x, 0] = i
            out[t, row, x, 1] = j
            out[t, row, x, 2] = z


# --- sphere to tiles --------------------------------------------------------------------------


@compiled
def row_angles(axes: Floats, step: float, origin: Floats, car: bool, y: int, out: Floats) -> None:
    """Write (z, s, phi) of a tile's row into ``out``, (3, nx)."""
    # Two simple loops, so that the compiler turns each into vector instructions.
    if car:
        for x in range(out.shape[1]):
            out[0, x], out[1, x], out[2, x] = deproject(axes, step, origin, True, x, y)
    else:
        for x in range(out.shape[1]):
            out[0, x], out[1, x], out[2, x] = deproject(axes, step, origin, False, x, y)
    for x in range(out.shape[1]):
        i, j, z = out[0, x], out[1, x], out[2, x]
        out[0, x] = z
        out[1, x] = math.sqrt(i * i + j * j)
        out[2, x] = longitude(i, j)


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

    An empty ``observed`` means that every pixel is. The rows of all tiles are dealt out in equal
    blocks, each of which works in its own part of ``scratch``, (nblock, 3, nx).
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
                # a missing pixel's value must not be touched: zero times NaN is NaN
                total = 0.0
                if w0 > 0.0:
                    total += w0 * values[p0]
                if w1 > 0.0:
                    total += w1 * values[p1]
                if w2 > 0.0:
                    total += w2 * values[p2]
                if w3 > 0.0:
                    total += w3 * values[p3]
                weight = w0 + w1 + w2 + w3
                if whole:
                    weight = 1.0
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


# --- cubic B-splines --------------------------------------------------------------------------


@compiled
def _mirror(i: int, n: int) -> int:
    if i < 0:
        return -i
    if i >= n:
        return 2 * (n - 1) - i
    return i


@compiled
def _spline_rows(tile: Floats) -> None:
    ny, nx = tile.shape
    pole = SPLINE_POLE
    for y in range(ny):
        first = 0.0
        for k in range(SPLINE_HORIZON, -1, -1):
            first = pole * first + tile[y, _mirror(k % (2 * nx - 2), nx)]
        tile[y, 0] = first
        for x in range(1, nx):
            tile[y, x] += pole * tile[y, x - 1]
        last = tile[y, nx - 1] + pole * tile[y, nx - 2]
        tile[y, nx - 1] = last * pole / (pole * pole - 1.0)
        for x in range(nx - 2, -1, -1):
            tile[y, x] = pole * (tile[y, x + 1] - tile[y, x])


@compiled
def _spline_columns(tile: Floats) -> None:
    # the recursion of the rows, run for all columns side by side
    ny, nx = tile.shape
    pole = SPLINE_POLE
    for x in range(nx):
        first = 0.0
        for k in range(SPLINE_HORIZON, -1, -1):
            first = pole * first + tile[_mirror(k % (2 * ny - 2), ny), x]
        tile[0, x] = first
    for y in range(1, ny):
        for x in range(nx):
            tile[y, x] += pole * tile[y - 1, x]
    for x in range(nx):
        last = tile[ny - 1, x] + pole * tile[ny - 2, x]
        tile[ny - 1, x] = last * pole / (pole * pole - 1.0)
    for y in range(ny - 2, -1, -1):
        for x in range(nx):
            tile[y, x] = pole * (tile[y + 1, x] - tile[y, x])


@parallel
def spline_coefficients(tiles: Floats) -> None:
    """Turn samples into cubic B-spline coefficients, in place, mirrored at the borders.

    Unser 1999, IEEE Signal Processing Magazine 16, 22, box 2.
    """
    for t in prange(tiles.shape[0]):
        _spline_rows(tiles[t])
        _spline_columns(tiles[t])
        for y in range(tiles.shape[1]):
            for x in range(tiles.shape[2]):
                tiles[t, y, x] *= 36.0


@compiled
def _spline_weights(t: float) -> tuple[float, float, float, float]:
    """Give the cubic B-spline's weights at t in [0, 1) of the samples at -1, 0, 1 and 2."""
    r = 1.0 - t
    return (
        r * r * r / 6.0,
        2.0 / 3.0 - 0.5 * t * t * (2.0 - t),
        2.0 / 3.0 - 0.5 * r * r * (2.0 - r),
        t * t * t / 6.0,
    )


@compiled
def spline_value(coefficients: Floats, x: float, y: float) -> Any:
    """Evaluate a cubic B-spline at 0 <= x <= nx - 1 and 0 <= y <= ny - 1."""
    ny, nx = coefficients.shape
    i = int(x)
    j = int(y)
    a0, a1, a2, a3 = _spline_weights(x - i)
    b0, b1, b2, b3 = _spline_weights(y - j)
    i0, i2, i3 = _mirror(i - 1, nx), _mirror(i + 1, nx), _mirror(i + 2, nx)
    j0, j2, j3 = _mirror(j - 1, ny), _mirror(j + 1, ny), _mirror(j + 2, ny)
    c = coefficients
    return (
        b0 * (a0 * c[j0, i0] + a1 * c[j0, i] + a2 * c[j0, i2] + a3 * c[j0, i3])
        + b1 * (a0 * c[j, i0] + a1 * c[j, i] + a2 * c[j, i2] + a3 * c[j, i3])
        + b2 * (a0 * c[j2, i0] + a1 * c[j2, i] + a2 * c[j2, i2] + a3 * c[j2, i3])
        + b3 * (a0 * c[j3, i0] + a1 * c[j3, i] + a2 * c[j3, i2] + a3 * c[j3, i3])
    )


@compiled
def bilinear_value(grid: Floats, x: float, y: float) -> Any:
    """Interpolate a grid at 0 <= x <= nx - 1 and 0 <= y <= ny - 1."""
    ny, nx = grid.shape
    i = min(int(x), nx - 2)
    j = min(int(y), ny - 2)
    s = x - i
    t = y - j
    return (1.0 - t) * ((1.0 - s) * grid[j, i] + s * grid[j, i + 1]) + t * (
        (1.0 - s) * grid[j + 1, i] + s * grid[j + 1, i + 1]
    )


# --- tiles to sphere --------------------------------------------------------------------------


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

    ``pixels`` are NESTED and sorted; cell c holds those from bounds[c] to bounds[c + 1] and lies
    around the unit vector cells[c]. It meets tile t only if cells[c] . centres[t] >= near[t] and
    its centre lies less than slack[t] pixels outside the tile. Cells are dealt out in blocks, each
    with its part of ``scratch``, (nblock, largest cell, 3); a cell takes the tiles in their order,
    so that each sum is the same whatever the threads.
    """
    ntile, ny, nx = tiles.shape
    ncell = cells.shape[0]
    nblock = scratch.shape[0]
    for block in prange(nblock):
        b = int(np.int64(block))
        for c in range(b * ncell // nblock, (b + 1) * ncell // nblock):
            first = bounds[c]
            count = bounds[c + 1] - first
            i, j, k = cells[c, 0], cells[c, 1], cells[c, 2]
            ready = False
            for t in range(ntile):
                if i * centres[t, 0] + j * centres[t, 1] + k * centres[t, 2] < near[t]:
                    continue
                x, y = project(axes[t], step[t], origin[t], car[t], nx, i, j, k)
                if max(-x, x - (nx - 1), -y, y - (ny - 1)) > slack[t]:
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


# --- planning ---------------------------------------------------------------------------------


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
    """Number the connected sets of NESTED pixels and return how many there are.

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
