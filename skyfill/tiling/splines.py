"""Interpolate between the pixels of a tile: cubic B-splines and bilinear."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import prange

from skyfill.healpix.jit import compiled, parallel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

POLE = math.sqrt(3.0) - 2.0
HORIZON = 28  # the pole to this power is 1e-16


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
    pole = POLE
    for y in range(ny):
        first = 0.0
        for k in range(HORIZON, -1, -1):
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
    # the recursion of the rows, for all columns at once
    ny, nx = tile.shape
    pole = POLE
    for x in range(nx):
        first = 0.0
        for k in range(HORIZON, -1, -1):
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
def spline_value(coefficients: Floats, x: float, y: float) -> float:
    """Evaluate a cubic B-spline at 0 <= x <= nx - 1 and 0 <= y <= ny - 1."""
    ny, nx = coefficients.shape
    i = int(x)
    j = int(y)
    a0, a1, a2, a3 = _spline_weights(x - i)
    b0, b1, b2, b3 = _spline_weights(y - j)
    i0, i2, i3 = _mirror(i - 1, nx), _mirror(i + 1, nx), _mirror(i + 2, nx)
    j0, j2, j3 = _mirror(j - 1, ny), _mirror(j + 1, ny), _mirror(j + 2, ny)
    c = coefficients
    value: float = (
        b0 * (a0 * c[j0, i0] + a1 * c[j0, i] + a2 * c[j0, i2] + a3 * c[j0, i3])
        + b1 * (a0 * c[j, i0] + a1 * c[j, i] + a2 * c[j, i2] + a3 * c[j, i3])
        + b2 * (a0 * c[j2, i0] + a1 * c[j2, i] + a2 * c[j2, i2] + a3 * c[j2, i3])
        + b3 * (a0 * c[j3, i0] + a1 * c[j3, i] + a2 * c[j3, i2] + a3 * c[j3, i3])
    )
    return value


@compiled
def bilinear_value(grid: Floats, x: float, y: float) -> float:
    """Interpolate a grid at 0 <= x <= nx - 1 and 0 <= y <= ny - 1."""
    ny, nx = grid.shape
    i = min(int(x), nx - 2)
    j = min(int(y), ny - 2)
    s = x - i
    t = y - j
    value: float = (1.0 - t) * ((1.0 - s) * grid[j, i] + s * grid[j, i + 1]) + t * (
        (1.0 - s) * grid[j + 1, i] + s * grid[j + 1, i + 1]
    )
    return value
