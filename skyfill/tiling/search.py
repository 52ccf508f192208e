"""Loops that find the tiles nearest to hole pixels, and tiles with observed pixels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import prange

from skyfill.healpix.jit import compiled, parallel
from skyfill.healpix.pixel import TWO_PI, interpolate_ring, longitude, pix2zsphi_ring, ring_start
from skyfill.tiling.projections import deproject

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int32]
    Integers = NDArray[np.int64]
    Flags = NDArray[np.bool_]


@compiled
def nearest_points(
    nside: int,
    first: Indices,
    stop: Indices,
    columns: Integers,
    starts: Integers,
    car: bool,
    wanted: Flags,
) -> float:
    """Mark the grid point nearest to each pixel; give the largest distance from its tile's centre.

    Row r of the grid has columns[r] points at colatitude r pi / (rows - 1), the first at longitude
    zero; starts[r] counts the points before it. The distance is max(|u|, |v|). The pixels are
    RING, in runs.
    """
    last = columns.size - 1
    far = 0.0
    for i in range(first.size):
        z, s, phi = pix2zsphi_ring(nside, int(np.int64(first[i])))
        row = int(math.atan2(s, z) * (last / math.pi) + 0.5)
        n = columns[row]
        theta = row * math.pi / last
        grid = math.cos(theta), math.sin(theta), TWO_PI / n
        # Along a ring |u| grows away from the tile's meridian while this is positive; |v| is
        # largest at an end or on the meridian.
        a, b = z * grid[0], s * grid[1]
        plain = min(a, a * math.cos(0.5 * grid[2])) + b > 0.0
        low = int(np.int64(first[i]))
        while low < stop[i]:
            _, _, phi = pix2zsphi_ring(nside, low)
            column = int(phi * (n / TWO_PI) + 0.5)
            wanted[starts[row] + column % n] = True
            high, middle = _share(nside, low, int(np.int64(stop[i])), n, column)
            far = max(far, _off_centre(nside, low, grid, column, car))
            far = max(far, _off_centre(nside, high - 1, grid, column, car))
            inner = (middle, min(middle + 2, high)) if plain else (low + 1, high - 1)
            for p in range(inner[0], inner[1]):
                far = max(far, _off_centre(nside, p, grid, column, car))
            low = high
    return far


@compiled
def _share(nside: int, low: int, stop: int, n: int, column: int) -> tuple[int, int]:
    """Give the end of the pixels whose nearest column is ``column``, and the column's middle."""
    _, _, phi = pix2zsphi_ring(nside, low)
    step = TWO_PI / n
    if low + 1 < stop:
        _, _, beside = pix2zsphi_ring(nside, low + 1)
        step = beside - phi
    high = low + 1 + int(((column + 0.5) * (TWO_PI / n) - phi) / step)
    high = min(max(high, low + 1), stop)
    while high < stop and int(pix2zsphi_ring(nside, high)[2] * (n / TWO_PI) + 0.5) == column:
        high += 1
    while int(pix2zsphi_ring(nside, high - 1)[2] * (n / TWO_PI) + 0.5) != column:
        high -= 1
    middle = low + int(max(column * (TWO_PI / n) - phi, 0.0) / step)
    return high, min(middle, high)


@compiled
def _off_centre(
    nside: int, p: int, grid: tuple[float, float, float], column: int, car: bool
) -> float:
    """Give max(|u|, |v|) of a pixel in the tile of a column."""
    z, s, phi = pix2zsphi_ring(nside, p)
    cosine, sine, spacing = grid
    east = phi - column * spacing
    a = z * cosine + s * sine * math.cos(east)
    b = s * math.sin(east)
    c = z * sine - s * cosine * math.cos(east)
    if car:
        return max(abs(math.atan2(b, a)), abs(math.asin(min(1.0, max(-1.0, c)))))
    return max(abs(b), abs(c)) / a if a > 0.0 else math.inf


@compiled
def _covered(
    nside: int,
    rings: Floats,
    first: Indices,
    stop: Indices,
    begin: Integers,
    centre: Floats,
    radius: float,
) -> bool:
    """Tell whether runs cover every pixel centre in a disc, with some false negatives."""
    z, s = centre[2], math.hypot(centre[0], centre[1])
    phi = math.atan2(centre[1], centre[0])
    phi = phi + TWO_PI if phi < 0.0 else phi
    theta = math.atan2(s, z)
    cosine = math.cos(radius)
    low, high = 0, 4 * nside
    while low < high:
        middle = (low + high) // 2
        if rings[middle, 0] < theta - radius:
            low = middle + 1
        else:
            high = middle
    ring = max(low, 1)
    while ring < 4 * nside and rings[ring, 0] <= theta + radius:
        start, length, _ = ring_start(nside, ring)
        t = s * rings[ring, 2]
        d = cosine - z * rings[ring, 1]
        half = math.acos(max(d / t, -1.0)) if d < t else 0.0
        _, _, origin = pix2zsphi_ring(nside, start)
        west = math.floor((phi - half - origin) * (length / TWO_PI)) - 1
        east = math.ceil((phi + half - origin) * (length / TWO_PI)) + 1
        if east - west >= length:
            west, east = 0, length - 1
        # A stretch across the beginning of the ring is split into two.
        west, east = (west + length, east + length) if west < 0 else (west, east)
        low, high = begin[ring], begin[ring + 1]
        if east < length:
            if not _held(start + west, start + east, low, high, first, stop):
                return False
        elif not (
            _held(start + west, start + length - 1, low, high, first, stop)
            and _held(start, start + east - length, low, high, first, stop)
        ):
            return False
        ring += 1
    return True


@compiled
def _held(west: int, east: int, low: int, high: int, first: Indices, stop: Indices) -> bool:
    """Tell whether a run from number ``low`` to ``high`` holds all pixels from west to east."""
    end = high
    while low < high:
        middle = (low + high) // 2
        if stop[middle] <= east:
            low = middle + 1
        else:
            high = middle
    return low < end and first[low] <= west


@parallel
def sees(
    nside: int,
    rings: Floats,
    dark: tuple[Indices, Indices, Integers],
    discs: tuple[Floats, Floats],
    grid: tuple[Floats, Floats, Floats, Flags],
    shape: tuple[int, int, int],
    observed: Flags,
    threshold: float,
    out: Flags,
) -> None:
    """Tell which tiles have a pixel with enough observed weight (see `cut_bilinear`).

    ``dark`` are the unobserved pixels in runs. ``discs`` hold the pixels from which tiles are cut.
    The last entry of ``shape`` is the number of border pixels that are ignored. A coarse grid is
    searched before a finer one, because most tiles with data have some at a corner.
    """
    ny, nx, guard = shape
    least = np.float32(threshold)
    axes, step, origin, car = grid
    for tile in prange(out.size):
        t = int(np.int64(tile))
        out[t] = False
        if _covered(nside, rings, dark[0], dark[1], dark[2], discs[0][t], discs[1][t]):
            continue
        stride = 16
        while stride and not out[t]:
            for y in range(guard, ny - guard, stride):
                for x in range(guard, nx - guard, stride):
                    i, j, z = deproject(axes[t], step[t], origin[t], car[t], x, y)
                    p0, p1, p2, p3, w0, w1, w2, w3 = interpolate_ring(
                        nside, rings, z, math.sqrt(i * i + j * j), longitude(i, j)
                    )
                    w0 *= observed[p0]
                    w1 *= observed[p1]
                    w2 *= observed[p2]
                    w3 *= observed[p3]
                    if np.float32(w0 + w1 + w2 + w3) >= least:
                        out[t] = True
                        break
                if out[t]:
                    break
            stride //= 4
