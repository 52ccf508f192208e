"""HEALPix arithmetic of one pixel, compiled: for use inside other kernels.

Every pixel has three names: its RING index, its NESTED index, and ``(face, x, y)``, the base
pixel and the column and row inside it.  All conversions here pass through the last one.  The
arithmetic is that of Gorski et al. 2005 (ApJ 622, 759) and of the HEALPix C++ library, whose
results (and healpy's) it reproduces.  Nothing is checked.

Directions are ``(z, s, phi)``: cosine and sine of the colatitude, longitude in radians.  Carrying
the sine keeps its precision near the poles, where ``1 - z`` has none.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from skyfill.healpix.jit import compiled, inner

if TYPE_CHECKING:
    from numpy.typing import NDArray

HALF_PI = 0.5 * math.pi
TWO_PI = 2.0 * math.pi

# Ring and longitude of the southern corner of each face, in units of nside and of pi/4.
_FACE_RING = np.array([2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4])
_FACE_PHI = np.array([1, 3, 5, 7, 0, 2, 4, 6, 1, 3, 5, 7])

# Steps to the eight neighbours, in healpy's order SW, W, NW, N, NE, E, SE, S.
_STEP_X = np.array([-1, -1, 0, 1, 1, 1, 0, -1])
_STEP_Y = np.array([0, 1, 1, 1, 0, -1, -1, -1])

# The face beyond each side of a face; rows S, SE, E, SW, (itself), NE, W, NW, N; -1 where three
# faces meet and there is none.
_FACE_BEYOND = np.array(
    [
        [8, 9, 10, 11, -1, -1, -1, -1, 10, 11, 8, 9],
        [5, 6, 7, 4, 8, 9, 10, 11, 9, 10, 11, 8],
        [-1, -1, -1, -1, 5, 6, 7, 4, -1, -1, -1, -1],
        [4, 5, 6, 7, 11, 8, 9, 10, 11, 8, 9, 10],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
        [1, 2, 3, 0, 0, 1, 2, 3, 5, 6, 7, 4],
        [-1, -1, -1, -1, 7, 4, 5, 6, -1, -1, -1, -1],
        [3, 0, 1, 2, 3, 0, 1, 2, 4, 5, 6, 7],
        [2, 3, 0, 1, -1, -1, -1, -1, 0, 1, 2, 3],
    ]
)
# How the axes turn there (columns: northern, equatorial, southern face): bit 0 flips x, bit 1
# flips y, bit 2 exchanges them.
_TURN_BEYOND = np.array(
    [
        [0, 0, 3],
        [0, 0, 6],
        [0, 0, 0],
        [0, 0, 5],
        [0, 0, 0],
        [5, 0, 0],
        [0, 0, 0],
        [6, 0, 0],
        [3, 0, 0],
    ]
)


# --- (face, x, y) <-> NESTED ------------------------------------------------------------------


@inner
def _spread(v: int) -> int:
    """Move bit i to bit 2i."""
    v = (v | (v << 16)) & 0x0000FFFF0000FFFF
    v = (v | (v << 8)) & 0x00FF00FF00FF00FF
    v = (v | (v << 4)) & 0x0F0F0F0F0F0F0F0F
    v = (v | (v << 2)) & 0x3333333333333333
    return (v | (v << 1)) & 0x5555555555555555


@inner
def _collect(v: int) -> int:
    """Move bit 2i to bit i, dropping the odd bits: the inverse of ``_spread``."""
    v = v & 0x5555555555555555
    v = (v | (v >> 1)) & 0x3333333333333333
    v = (v | (v >> 2)) & 0x0F0F0F0F0F0F0F0F
    v = (v | (v >> 4)) & 0x00FF00FF00FF00FF
    v = (v | (v >> 8)) & 0x0000FFFF0000FFFF
    return (v | (v >> 16)) & 0x00000000FFFFFFFF


@inner
def nest2xy(inner: int) -> tuple[int, int]:
    """Split a NESTED index within a base pixel into (x, y)."""
    return _collect(inner), _collect(inner >> 1)


@inner
def nest2xyf(nside: int, ipix: int) -> tuple[int, int, int]:
    """Split a NESTED index into (face, x, y)."""
    face = ipix // (nside * nside)
    inner = ipix - face * nside * nside
    return face, _collect(inner), _collect(inner >> 1)


@inner
def xyf2nest(nside: int, face: int, x: int, y: int) -> int:
    """Join (face, x, y) to a NESTED index; inverse of ``nest2xyf``."""
    return face * nside * nside + _spread(x) + (_spread(y) << 1)


# --- (face, x, y) <-> RING --------------------------------------------------------------------


@compiled
def ring_start(nside: int, ring: int) -> tuple[int, int, int]:
    """Give a ring's first pixel, its number of pixels, and 1 if these start half a pixel in."""
    if ring < nside:
        return 2 * ring * (ring - 1), 4 * ring, 1
    if ring <= 3 * nside:
        start = 2 * nside * (nside - 1) + (ring - nside) * 4 * nside
        return start, 4 * nside, 1 - ((ring - nside) & 1)
    south = 4 * nside - ring
    return 12 * nside * nside - 2 * south * (south + 1), 4 * south, 1


@inner
def pixel_ring(nside: int, ipix: int) -> int:
    """Give the ring, 1 to 4 nside - 1 from the north, of a RING index."""
    npix = 12 * nside * nside
    cap = 2 * nside * (nside - 1)
    if ipix < cap:
        return (1 + int(math.sqrt(1.5 + 2 * ipix))) >> 1
    if ipix < npix - cap:
        return (ipix - cap) // (4 * nside) + nside
    return 4 * nside - ((1 + int(math.sqrt(2 * (npix - ipix) - 0.5))) >> 1)


@inner
def ring2xyf(nside: int, ipix: int) -> tuple[int, int, int]:
    """Split a RING index into (face, x, y)."""
    ring = pixel_ring(nside, ipix)
    start, length, shifted = ring_start(nside, ring)
    i = ipix - start
    quarter = length >> 2
    if ring < nside:
        face = i // quarter
    elif ring > 3 * nside:
        face = i // quarter + 8
    else:
        row = ring - nside
        down = (i - ((row + 1) >> 1) + nside) // nside
        up = (i - ((2 * nside + 1 - row) >> 1) + nside) // nside
        face = (up | 4) if up == down else (up if up < down else down + 8)
    along = 2 * i - _FACE_PHI[face] * quarter + shifted
    if along >= 2 * nside:
        along -= 8 * nside
    down_ring = ring - _FACE_RING[face] * nside + 1
    return face, (along - down_ring) >> 1, (-along - down_ring) >> 1


@inner
def xyf2ring(nside: int, face: int, x: int, y: int) -> int:
    """Join (face, x, y) to a RING index; inverse of ``ring2xyf``."""
    ring = _FACE_RING[face] * nside - x - y - 1
    start, length, shifted = ring_start(nside, ring)
    i: int = (_FACE_PHI[face] * (length >> 2) + x - y - shifted) >> 1
    return start + (i + length if i < 0 else i)


@compiled
def ring2nest(nside: int, ipix: int) -> int:
    """Turn a RING index into the NESTED one."""
    face, x, y = ring2xyf(nside, ipix)
    return xyf2nest(nside, face, x, y)


@compiled
def nest2ring(nside: int, ipix: int) -> int:
    """Turn a NESTED index into the RING one."""
    face, x, y = nest2xyf(nside, ipix)
    return xyf2ring(nside, face, x, y)


# --- directions -------------------------------------------------------------------------------


@inner
def xyf2zsphi(nside: int, face: int, x: int, y: int) -> tuple[float, float, float]:
    """Give the direction (z, s, phi) of a pixel's centre."""
    ring = _FACE_RING[face] * nside - x - y - 1
    along = _FACE_PHI[face] * min(ring, nside, 4 * nside - ring) + x - y
    if nside <= ring <= 3 * nside:
        z = (2 * nside - ring) * 2.0 / (3.0 * nside)
        s = math.sqrt((1.0 - z) * (1.0 + z))
        if along < 0:
            along += 8 * nside
        return z, s, along * (0.5 * HALF_PI / nside)
    north = min(ring, 4 * nside - ring)
    t = north * north / (3.0 * nside * nside)  # 1 - |z|
    z = 1.0 - t if ring < nside else t - 1.0
    return z, math.sqrt(t * (2.0 - t)), along * (0.5 * HALF_PI / north)


@compiled
def pix2zsphi_ring(nside: int, ipix: int) -> tuple[float, float, float]:
    """Give the direction (z, s, phi) of a RING pixel."""
    face, x, y = ring2xyf(nside, ipix)
    return xyf2zsphi(nside, face, x, y)


@compiled
def pix2zsphi_nest(nside: int, ipix: int) -> tuple[float, float, float]:
    """Give the direction (z, s, phi) of a NESTED pixel."""
    face, x, y = nest2xyf(nside, ipix)
    return xyf2zsphi(nside, face, x, y)


@inner
def zsphi2xyf(nside: int, z: float, s: float, phi: float) -> tuple[int, int, int]:
    """Find the pixel (face, x, y) that holds a direction."""
    quadrants = phi / HALF_PI
    quadrants -= 4.0 * math.floor(0.25 * quadrants)
    if quadrants >= 4.0:  # a tiny negative phi rounds up to the full circle
        quadrants = 0.0
    if abs(z) <= 2.0 / 3.0:
        a = nside * (0.5 + quadrants)
        b = nside * z * 0.75
        up, down = int(a - b), int(a + b)
        face_up, face_down = up // nside, down // nside
        if face_up == face_down:
            face = face_up | 4
        else:
            face = face_up if face_up < face_down else face_down + 8
        return face, down - face_down * nside, nside - 1 - (up - face_up * nside)
    face = int(quadrants)
    part = quadrants - face
    # nside sqrt(3 (1 - |z|)), written so that it keeps its precision at the poles
    rings = nside * s * math.sqrt(3.0 / (1.0 + abs(z)))
    p = min(int(part * rings), nside - 1)
    m = min(int((1.0 - part) * rings), nside - 1)
    if z > 0.0:
        return face, nside - 1 - m, nside - 1 - p
    return face + 8, p, m


@compiled
def ang2pix_ring(nside: int, z: float, s: float, phi: float) -> int:
    """Find the RING pixel that holds a direction."""
    face, x, y = zsphi2xyf(nside, z, s, phi)
    return xyf2ring(nside, face, x, y)


@compiled
def ang2pix_nest(nside: int, z: float, s: float, phi: float) -> int:
    """Find the NESTED pixel that holds a direction."""
    face, x, y = zsphi2xyf(nside, z, s, phi)
    return xyf2nest(nside, face, x, y)


# --- neighbours -------------------------------------------------------------------------------


@inner
def neighbour_xyf(nside: int, face: int, x: int, y: int, which: int) -> tuple[int, int, int]:
    """Step to one of the eight neighbours; face -1 where it does not exist."""
    x += _STEP_X[which]
    y += _STEP_Y[which]
    side = 4
    if x < 0:
        x += nside
        side -= 1
    elif x >= nside:
        x -= nside
        side += 1
    if y < 0:
        y += nside
        side -= 3
    elif y >= nside:
        y -= nside
        side += 3
    if side == 4:
        return face, x, y
    turn = _TURN_BEYOND[side, face >> 2]
    if turn & 1:
        x = nside - 1 - x
    if turn & 2:
        y = nside - 1 - y
    if turn & 4:
        x, y = y, x
    return _FACE_BEYOND[side, face], x, y


@compiled
def neighbours_ring(nside: int, ipix: int, out: NDArray[np.int64]) -> None:
    """Write the eight RING neighbours of a RING pixel into ``out``; -1 where there is none."""
    face, x, y = ring2xyf(nside, ipix)
    for k in range(8):
        f, i, j = neighbour_xyf(nside, face, x, y, k)
        out[k] = xyf2ring(nside, f, i, j) if f >= 0 else -1


@compiled
def neighbours_nest(nside: int, ipix: int, out: NDArray[np.int64]) -> None:
    """Write the eight NESTED neighbours of a NESTED pixel into ``out``; -1 where there is none."""
    face, x, y = nest2xyf(nside, ipix)
    for k in range(8):
        f, i, j = neighbour_xyf(nside, face, x, y, k)
        out[k] = xyf2nest(nside, f, i, j) if f >= 0 else -1


# --- bilinear interpolation between rings -----------------------------------------------------


@compiled
def longitude(x: float, y: float) -> float:
    """Give the angle of (x, y) in [0, 2 pi].

    The arctangent of the Cephes library (Moshier 1989, atan.c), exact to 3e-16, written without
    branches: unlike libm's atan2 the compiler can do it for four points at once.
    """
    a, b = abs(x), abs(y)
    t = min(a, b) / max(max(a, b), 1e-300)
    high = t > 0.66
    t = (t - 1.0) / (t + 1.0) if high else t
    u = t * t
    p = -8.750608600031904122785e-1
    p = p * u - 1.615753718733365076637e1
    p = p * u - 7.500855792314704667340e1
    p = p * u - 1.228866684490136173410e2
    p = p * u - 6.485021904942025371773e1
    q = u + 2.485846490142306297962e1
    q = q * u + 1.650270098316988542046e2
    q = q * u + 4.328810604912902668951e2
    q = q * u + 4.853903996359136964868e2
    q = q * u + 1.945506571482613964425e2
    phi = t + t * u * p / q
    phi = phi + 0.5 * HALF_PI if high else phi
    phi = HALF_PI - phi if b > a else phi
    phi = math.pi - phi if x < 0.0 else phi
    return phi if y >= 0.0 else TWO_PI - phi


@inner
def _between(start: int, length: int, t: float) -> tuple[int, int, float]:
    """Give the pixels of a ring around t, in pixels from its first one, and the second's weight."""
    i = math.floor(t)
    w = t - i
    j = i + 1
    if i < 0:
        i += length
    elif i >= length:  # the longitude has rounded up to 2 pi
        i -= length
    if j >= length:
        j -= length
    return start + i, start + j, w


@compiled
def interpolate_ring(
    nside: int, rings: NDArray[np.float64], z: float, s: float, phi: float
) -> tuple[int, int, int, int, float, float, float, float]:
    """Give the four RING pixels around a direction and their weights, as healpy does.

    ``rings`` is ``healpix.ring_table(nside)``; phi lies in [0, 2 pi].
    """
    last = 4 * nside - 1
    if abs(z) <= 2.0 / 3.0:
        above = int(nside * (2.0 - 1.5 * z))
    else:
        above = int(nside * s * math.sqrt(3.0 / (1.0 + abs(z))))
        if z < 0.0:
            above = last - above
    # colatitude below the upper ring, from its sine: rings are close, the series is exact to 1e-15
    d = s * rings[above, 1] - z * rings[above, 2]
    u = d * d
    if nside < 32:
        d = math.asin(d)
    else:
        d += d * u * (1.0 / 6.0 + u * (3.0 / 40.0 + u * (15.0 / 336.0)))
    below = d * rings[above, 3]
    rest = 1.0 - below
    turn = phi * (1.0 / TWO_PI)
    if nside <= above < 3 * nside:  # both rings have 4 nside pixels: the common case, kept short
        length = 4 * nside
        start = 2 * nside * (nside - 1) + (above - nside) * length
        half = 0.5 - 0.5 * ((above - nside) & 1)
        p0, p1, w = _between(start, length, turn * length - half)
        p2, p3, v = _between(start + length, length, turn * length - (0.5 - half))
        return p0, p1, p2, p3, (1 - w) * rest, w * rest, (1 - v) * below, v * below
    if above > 0:
        start, length, shifted = ring_start(nside, above)
        p0, p1, w = _between(start, length, turn * length - 0.5 * shifted)
    if above < last:
        start, length, shifted = ring_start(nside, above + 1)
        p2, p3, v = _between(start, length, turn * length - 0.5 * shifted)
    if above == 0:  # the four pixels around a pole share the area beyond the last ring
        pole = 0.25 * rest
        p0, p1 = (p2 + 2) & 3, (p3 + 2) & 3
        return p0, p1, p2, p3, pole, pole, (1 - v) * below + pole, v * below + pole
    if above == last:
        pole = 0.25 * below
        first = 12 * nside * nside - 4
        p2, p3 = first + ((p0 - first + 2) & 3), first + ((p1 - first + 2) & 3)
        return p0, p1, p2, p3, (1 - w) * rest + pole, w * rest + pole, pole, pole
    return p0, p1, p2, p3, (1 - w) * rest, w * rest, (1 - v) * below, v * below
