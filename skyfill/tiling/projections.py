"""Loops that compute the positions of tile pixels on the sphere.

A tile pixel (column x, row y) lies at u = (x0 - x) step to the east and v = (y - y0) step to the
north of the tile's reference point: on the tangent plane for TAN, as native longitude and latitude
for CAR (Calabretta & Greisen 2002, A&A 395, 1077, sections 5.1.3 and 5.2.3).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import prange

from skyfill.healpix.jit import compiled, parallel
from skyfill.healpix.pixel import TWO_PI, longitude

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]


@compiled
def deproject(
    axes: Floats, step: float, origin: Floats, car: bool, x: float, y: float
) -> tuple[float, float, float]:
    """Give the direction of a tile pixel, a unit vector."""
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
    """Give column and row of a unit vector (i, j, k); NaN if the projection cannot show it."""
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
    """Give the directions of all pixels of tiles in ``out``, (ntile, ny, nx, 3)."""
    ntile, ny, nx, _ = out.shape
    for k in prange(ntile * ny):
        t = int(np.int64(k)) // ny
        row = int(np.int64(k)) - t * ny
        for x in range(nx):
            i, j, z = deproject(axes[t], step[t], origin[t], car[t], x, row)
            out[t, row, x, 0] = i
            out[t, row, x, 1] = j
            out[t, row, x, 2] = z


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
