"""HEALPix pixels: directions, neighbours, ordering.

Each function works on arrays, in parallel, and its result does not depend on the number of
threads.  The arithmetic of one pixel, for use in other kernels, is in ``skyfill.healpix.pixel``.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numba import prange

from skyfill.healpix.checks import check_nside
from skyfill.healpix.jit import by_parts, compiled, parallel
from skyfill.healpix.pixel import (
    _FACE_PHI,
    _FACE_RING,
    ang2pix_ring,
    neighbours_nest,
    neighbours_ring,
    nest2ring,
    pix2zsphi_nest,
    pix2zsphi_ring,
    ring2nest,
)
from skyfill.healpix.stokes import by_component, sky_shape

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "check_pixels",
    "face_rings",
    "neighbours",
    "nest_to_ring",
    "pixel_directions",
    "pixel_radius",
    "pixels_towards",
    "reorder",
    "ring_pixels",
    "ring_table",
    "ring_to_nest",
]

Scalar = TypeVar("Scalar", bound=np.generic)


#: Pixels that take less time than starting a thread.
_FEW = 50_000


@compiled
def _directions(nside: int, ipix: NDArray[np.int64], nest: bool, out: NDArray[np.float64]) -> None:
    for i in range(ipix.size):
        z, s, phi = pix2zsphi_nest(nside, ipix[i]) if nest else pix2zsphi_ring(nside, ipix[i])
        out[i, 0] = s * math.cos(phi)
        out[i, 1] = s * math.sin(phi)
        out[i, 2] = z


@compiled  # called often, for few pixels: on one thread
def _towards(nside: int, directions: NDArray[np.float64], out: NDArray[np.int64]) -> None:
    for i in range(out.size):
        x, y, z = directions[i, 0], directions[i, 1], directions[i, 2]
        out[i] = ang2pix_ring(nside, z, math.sqrt(x * x + y * y), math.atan2(y, x))


@parallel
def _neighbours(nside: int, ipix: NDArray[np.int64], nest: bool, out: NDArray[np.int64]) -> None:
    for i in prange(ipix.size):
        if nest:
            neighbours_nest(nside, ipix[i], out[i])
        else:
            neighbours_ring(nside, ipix[i], out[i])


@parallel
def _reorder_to_nest(nside: int, values: NDArray[Any], out: NDArray[Any]) -> None:
    for i in prange(values.size):
        out[i] = values[nest2ring(nside, int(np.int64(i)))]


@parallel
def _reorder_to_ring(nside: int, values: NDArray[Any], out: NDArray[Any]) -> None:
    for i in prange(values.size):
        out[i] = values[ring2nest(nside, int(np.int64(i)))]


@compiled
def _convert(nside: int, ipix: NDArray[np.int64], nest: bool, out: NDArray[np.int64]) -> None:
    for i in range(ipix.size):
        out[i] = nest2ring(nside, ipix[i]) if nest else ring2nest(nside, ipix[i])


def check_pixels(nside: int, ipix: ArrayLike) -> NDArray[np.int64]:
    """Return pixel indices as an array, or raise ValueError if one is out of range for Nside."""
    pixels = np.ascontiguousarray(np.atleast_1d(ipix), dtype=np.int64)
    npix = 12 * nside**2
    if pixels.size and (pixels.min() < 0 or pixels.max() >= npix):
        raise ValueError(f"pixel indices at Nside {nside} run from 0 to {npix - 1}")
    return pixels


def pixel_directions(nside: int, ipix: ArrayLike, nest: bool = False) -> NDArray[np.float64]:
    """Point at the centres of pixels.

    Parameters
    ----------
    nside
        Resolution.
    ipix
        ``(n,)``, pixel indices, RING, or NESTED with ``nest``.
    nest
        Ordering of the indices.

    Returns
    -------
    ``(n, 3)``, unit vectors.

    Raises
    ------
    ValueError
        If an index is not a pixel of this Nside.
    """
    pixels = check_pixels(check_nside(nside), ipix)
    out = np.empty((pixels.size, 3))
    by_parts(
        pixels.size, lambda part: _directions(nside, pixels[part], nest, out[part]), least=_FEW
    )
    return out


def pixels_towards(nside: int, directions: ArrayLike) -> NDArray[np.int64]:
    """Find the pixels that directions lie in.

    Parameters
    ----------
    nside
        Resolution.
    directions
        ``(n, 3)``, unit vectors.

    Returns
    -------
    ``(n,)``, RING.

    Raises
    ------
    ValueError
        If the shape is not (n, 3).
    """
    vectors = np.ascontiguousarray(directions, dtype=np.float64)
    if vectors.ndim != 2 or vectors.shape[1] != 3:
        raise ValueError(f"directions must be (n, 3), got {vectors.shape}")
    out = np.empty(len(vectors), dtype=np.int64)
    _towards(check_nside(nside), vectors, out)
    return out


def neighbours(nside: int, ipix: ArrayLike, nest: bool = False) -> NDArray[np.int64]:
    """List the eight pixels around each pixel.

    Parameters
    ----------
    nside
        Resolution.
    ipix
        ``(n,)``, pixel indices, RING, or NESTED with ``nest``.
    nest
        Ordering of the indices, in and out.

    Returns
    -------
    ``(n, 8)``, the neighbours SW, W, NW, N, NE, E, SE, S. Pixels at a corner where three faces meet
    lack one neighbour, for which there is -1.

    Raises
    ------
    ValueError
        If an index is not a pixel of this Nside.
    """
    pixels = check_pixels(check_nside(nside), ipix)
    out = np.empty((pixels.size, 8), dtype=np.int64)
    _neighbours(nside, pixels, nest, out)
    return out


def nest_to_ring(nside: int, ipix: ArrayLike) -> NDArray[np.int64]:
    """Convert NESTED to RING indices, (n,) to (n,); ValueError if one is out of range."""
    pixels = check_pixels(check_nside(nside), ipix)
    out = np.empty_like(pixels)
    by_parts(pixels.size, lambda part: _convert(nside, pixels[part], True, out[part]), least=_FEW)
    return out


def ring_to_nest(nside: int, ipix: ArrayLike) -> NDArray[np.int64]:
    """Convert RING to NESTED indices, (n,) to (n,); ValueError if one is out of range."""
    pixels = check_pixels(check_nside(nside), ipix)
    out = np.empty_like(pixels)
    by_parts(pixels.size, lambda part: _convert(nside, pixels[part], False, out[part]), least=_FEW)
    return out


def reorder(values: NDArray[Scalar], nest_in: bool, nest_out: bool) -> NDArray[Scalar]:
    """Convert a map from one ordering to another.

    Parameters
    ----------
    values
        (npix,), (1, npix) or (3, npix), any dtype that numba supports (numbers and booleans).
    nest_in, nest_out
        Orderings of the input and the output.

    Returns
    -------
    A copy in the shape of ``values``, also if the orderings agree.

    Raises
    ------
    ValueError
        If npix is not 12 nside^2, or the leading axis holds neither 1 nor 3 components.
    """
    nside = sky_shape(values, "values").nside
    if nest_in == nest_out:
        return values.copy()
    return by_component(lambda each: _reordered(nside, each, nest_in), values)


def _reordered(nside: int, values: NDArray[Any], nest_in: bool) -> NDArray[Any]:
    """Convert one component to the other ordering."""
    out = np.empty(values.shape, values.dtype.newbyteorder("="))
    source = np.ascontiguousarray(values, dtype=out.dtype)
    (_reorder_to_ring if nest_in else _reorder_to_nest)(nside, source, out)
    return out


def pixel_radius(nside: int) -> float:
    """Give the largest distance from a pixel's centre to its border, in radians."""
    equator = math.pi / (4.0 * nside)
    edge = 1.0 - (1.0 - 1.0 / nside) ** 2 / 3.0
    sines = math.sqrt((1.0 - 4.0 / 9.0) * (1.0 - edge * edge))
    return math.acos(2.0 / 3.0 * edge + sines * math.cos(equator))


@lru_cache(maxsize=8)
def ring_pixels(nside: int) -> NDArray[np.int64]:
    """Tabulate the pixels of the rings, as `pixel.ring_start` gives them.

    (3, 4 nside): first pixel, number of pixels, and 1 if these start half a pixel in. Column 0 is
    no ring, and has zeros.
    """
    ring = np.arange(4 * nside)
    quarter = np.minimum(np.minimum(ring, 4 * nside - ring), nside)
    length = 4 * quarter
    first = np.cumsum(length) - length
    shifted = (quarter < nside) | ((ring - nside) % 2 == 0)
    table = np.stack([first, length, shifted & (ring > 0)]).astype(np.int64)
    table.setflags(write=False)
    return table


def face_rings(nside: int, face: int) -> tuple[NDArray[np.int64], int]:
    """Tabulate where the pixels of a base pixel lie on the rings.

    Returns
    -------
    table
        (3, 4 nside): first pixel of the ring, number of its pixels, and a sum. To this add x - y of
        a pixel of the base pixel, and halve it: that is its RING index, or, if it is before the
        ring's first pixel, lacks the number of its pixels.
    ring
        The ring of x = y = 0. That of any pixel is this minus x + y.
    """
    first, length, shifted = ring_pixels(nside)
    total = 2 * first + int(_FACE_PHI[face]) * (length >> 2) - shifted
    return np.stack([first, length, total]), int(_FACE_RING[face]) * nside - 1


@lru_cache(maxsize=8)
def ring_table(nside: int) -> NDArray[np.float64]:
    """Tabulate the rings for `pixel.interpolate_ring`.

    The first and the last row are the poles. (4 nside + 1, 4): colatitude in radians, its cosine
    and sine, 1 / (distance to the next ring).
    """
    ring = np.arange(4 * nside + 1)
    north = np.minimum(ring, 4 * nside - ring)
    t = north**2 / (3.0 * nside**2)  # 1 - |z| in the polar caps
    belt = (2 * nside - north) * 2.0 / (3.0 * nside)
    z = np.where(north < nside, 1.0 - t, belt)
    s = np.sqrt(np.where(north < nside, t * (2.0 - t), (1.0 - belt) * (1.0 + belt)))
    z = np.where(ring > 2 * nside, -z, z)
    theta = np.arctan2(s, z)
    table = np.stack([theta, z, s, 1.0 / np.diff(theta, append=np.inf)], axis=-1)
    table.setflags(write=False)
    return table
