"""Loops that move Q and U between sphere and tiles, turned into the axes of the tile and back.

Q and U of a map refer to south and east at each pixel. On a tile of gnomonic projection they refer
to south and east at its reference point c, carried to each point n along the great circle:

    s' = s - (s . n) / (1 + c . n) (c + n),   e^{2iκ} = (s' . e_θ + i s' . e_φ)²,
    P_tile = e^{-2iκ} P_sky,

with s south at c and P = Q + iU. On a tile of plate carrée they refer to its own meridians. No
angle is computed, so the poles are not special.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import prange

from skyfill.healpix.jit import compiled, parallel
from skyfill.healpix.pixel import interpolate_ring, pix2zsphi_nest, pix2zsphi_ring, ring2nest
from skyfill.tiling.projections import deproject, project, row_angles
from skyfill.tiling.splines import bilinear_value, spline_value

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Flags = NDArray[np.bool_]

__all__ = ["add_tiles", "cut_bilinear", "turns"]

#: Distance from a pole, radians, below which a point has the meridian of longitude zero. Centres of
#: HEALPix pixels are farther away; that of a tile may lie on the pole but for rounding.
_POLE = 1e-7
#: Squared length below which the meridian of a plate carrée tile has no direction, at its own pole.
_NOWHERE = 1e-20


@compiled
def _turn(axes: Floats, car: bool, z: float, s: float, cosine: float, sine: float) -> complex:
    """Give e^{2iκ} at colatitude (z, s) and longitude (cosine, sine)."""
    if s < _POLE:
        cosine, sine = 1.0, 0.0
    # components of the tile's south, which is minus its third axis, along south and east at n
    theta = s * axes[2, 2] - z * (cosine * axes[2, 0] + sine * axes[2, 1])
    phi = sine * axes[2, 0] - cosine * axes[2, 1]
    if not car:
        i, j = s * cosine, s * sine
        along = -(i * axes[2, 0] + j * axes[2, 1] + z * axes[2, 2])
        share = along / (1.0 + i * axes[0, 0] + j * axes[0, 1] + z * axes[0, 2])
        theta -= share * (z * (cosine * axes[0, 0] + sine * axes[0, 1]) - s * axes[0, 2])
        phi -= share * (cosine * axes[0, 1] - sine * axes[0, 0])
    size = theta * theta + phi * phi
    if size < _NOWHERE:
        return complex(1.0, 0.0)
    return complex((theta * theta - phi * phi) / size, 2.0 * theta * phi / size)


@compiled
def _turned(
    axes: Floats, car: bool, nside: int, pixel: int, stored: int, values: NDArray[Any]
) -> complex:
    """Give Q + iU of a RING pixel, stored at an index, in the axes of a tile."""
    z, s, phi = pix2zsphi_ring(nside, pixel)
    turn = _turn(axes, car, z, s, math.cos(phi), math.sin(phi))
    return complex(values[0, stored], values[1, stored]) * turn.conjugate()


@parallel
def cut_bilinear(
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
    """Turn Q and U of the four pixels around each tile pixel, then interpolate between them.

    ``values`` are ``(2, npix)``, ``tiles`` ``(ntile, 2, ny, nx)``, ``weights`` ``(ntile, ny, nx)``;
    the other arguments are those of `kernels.cut_bilinear`.
    """
    ntile, _, ny, nx = tiles.shape
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
                total = complex(0.0, 0.0)
                weight = 0.0
                for p, w in ((p0, w0), (p1, w1), (p2, w2), (p3, w3)):
                    stored = ring2nest(nside, p) if nest else p
                    if w > 0.0 and (whole or observed[stored]):
                        weight += w
                        total += w * _turned(axes[t], car[t], nside, p, stored, values)
                if not whole:
                    weights[t, y, x] = weight
                    total = total / weight if weight > 0.0 else complex(0.0, 0.0)
                tiles[t, 0, y, x] = total.real
                tiles[t, 1, y, x] = total.imag


@compiled
def _add_tile(
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
    """Add a windowed tile of Q and U, turned back, to pixels of given ``directions``."""
    _, ny, nx = tile.shape
    for p in range(directions.shape[0]):
        i, j, k = directions[p, 0], directions[p, 1], directions[p, 2]
        x, y = project(axes, step, origin, car, nx, i, j, k)
        if 0.0 <= x <= nx - 1 and 0.0 <= y <= ny - 1:
            w = bilinear_value(window, x, y)
            if w > 0.0:
                s = math.hypot(i, j)
                turn = _turn(axes, car, k, s, i / s, j / s)
                if cubic:
                    here = complex(spline_value(tile[0], x, y), spline_value(tile[1], x, y))
                else:
                    here = complex(bilinear_value(tile[0], x, y), bilinear_value(tile[1], x, y))
                here *= turn
                total[0, first + p] += w * here.real
                total[1, first + p] += w * here.imag
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
    """Add windowed tiles of Q and U to the pixels under them, as `kernels.add_tiles` does for T.

    ``tiles`` are ``(ntile, 2, ny, nx)``, ``total`` is ``(2, n)``.
    """
    ntile, _, ny, nx = tiles.shape
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
                _add_tile(
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
def turns(
    axes: Floats,
    step: Floats,
    origin: Floats,
    car: Flags,
    out: NDArray[np.complex128],
) -> None:
    """Give e^{2iκ} at the centres of the pixels of tiles in ``out``, ``(ntile, ny, nx)``."""
    ntile, ny, nx = out.shape
    for k in prange(ntile * ny):
        t = int(np.int64(k)) // ny
        y = int(np.int64(k)) - t * ny
        for x in range(nx):
            i, j, z = deproject(axes[t], step[t], origin[t], car[t], x, y)
            s = math.hypot(i, j)
            out[t, y, x] = _turn(axes[t], car[t], z, s, i / max(s, _POLE), j / max(s, _POLE))
