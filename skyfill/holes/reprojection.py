"""Bring masks of other frames, Nside and projections to the pixels of a map, on the safe side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.healpix import neighbours, pixel_directions, pixels_towards
from skyfill.healpix.arrays import MASK_ROUNDING, as_mask
from skyfill.healpix.checks import MAX_NSIDE, check_nside
from skyfill.healpix.grid import ring_to_nest
from skyfill.healpix.stokes import nside_of
from skyfill.holes.weights import frame_letter
from skyfill.maps.wcs import columns_of_a_turn, sky_wcs, turn_to_sky

__all__ = ["reproject_mask"]

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

#: Points along a side of a pixel at which the given mask is looked up: 16 in all.
_ALONG = 4
#: Points looked up at a time.
_AT_ONCE = 1 << 20


def reproject_mask(
    observed: ArrayLike,
    nside: int,
    coord: str,
    *,
    frame: str | None = None,
    wcs: Any = None,  # noqa: ANN401 (a WCS or a header of astropy)
) -> Mask:
    """Bring a mask to the pixels of a map of another frame, Nside or projection.

    A pixel is observed only if all of it is: 16 points, spread evenly over it, fall in observed
    pixels of the given mask, and it contains the centre of no masked one. So no hole is lost,
    however small, and holes grow by up to a pixel. A masked strip along a pixel's edge that is
    narrower than an eighth of it may be missed.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, with `frame`; or an image ``(ny, nx)`` with `wcs`: true or 1 where
        observed. The sky beyond an image is unobserved.
    nside
        Resolution of the map.
    coord
        Frame of the map: G (Galactic), C (equatorial) or E (ecliptic), or a word for it.
    frame
        The same, of a HEALPix mask.
    wcs
        ``astropy.wcs.WCS``, or a header with one, of an image, which says its frame.

    Returns
    -------
        ``(12 nside²,)``, RING, true where observed.

    Raises
    ------
    ValueError
        A frame or `nside` is not valid, the mask has other values than 0 and 1, neither or both of
        `frame` and `wcs` are given, or the WCS has no axes of the sky.

    Examples
    --------
    >>> import numpy as np, skyfill
    >>> celestial = skyfill.discs(32, [1.0], [0.5], 0.1)
    >>> galactic = skyfill.masks.reproject_mask(celestial, 16, "G", frame="C")
    >>> bool(galactic.mean() <= celestial.mean())
    True

    """
    nside, coord = check_nside(nside), frame_letter(coord)
    if (frame is None) == (wcs is None):
        raise ValueError("give `frame` for a HEALPix mask, or wcs for an image: one of them")
    if wcs is None:
        given: _Sky | _Image = _Sky(observed, frame_letter(str(frame)), coord)
    else:
        given = _Image(observed, wcs, coord)
    seen = np.ones(12 * nside**2, np.bool_)
    for pixels in _parts(np.arange(seen.size)):
        seen[pixels] = given.at(pixel_directions(nside, pixels))
    for centres in given.masked():
        seen[pixels_towards(nside, centres)] = False
    # What masks a part of a pixel reaches the centre of a neighbour, or has its own centre there.
    near = np.zeros_like(seen)
    for pixels in _parts(np.flatnonzero(~seen)):
        around = neighbours(nside, pixels)
        near[around[around >= 0]] = True
    along = min(_ALONG, MAX_NSIDE // nside)
    for pixels in _parts(np.flatnonzero(near & seen), along**2):
        inner = ring_to_nest(nside, pixels)[:, np.newaxis] * along**2 + np.arange(along**2)
        points = pixel_directions(along * nside, inner.ravel(), nest=True)
        seen[pixels] = given.at(points).reshape(inner.shape).all(axis=1)
    return seen


def _parts(pixels: NDArray[np.int64], each: int = 1) -> Iterator[NDArray[np.int64]]:
    """Divide pixels into parts of a limited number of points."""
    step = max(1, _AT_ONCE // each)
    for start in range(0, pixels.size, step):
        yield pixels[start : start + step]


class _Sky:
    """A HEALPix mask in a frame of its own."""

    def __init__(self, observed: ArrayLike, frame: str, coord: str) -> None:
        self._mask = as_mask(observed, taker="reproject_mask")
        self._nside = nside_of(self._mask, "`observed`")
        self._turn = np.eye(3)
        if frame != coord:
            import healpy  # takes a second to load

            self._turn = healpy.Rotator(coord=[coord, frame]).mat

    def at(self, directions: Floats) -> Mask:
        """Tell whether points, ``(n, 3)`` in the frame of the map, are observed."""
        # einsum is several times faster than @, whose threads cost more than three products
        there = np.einsum("ij,kj->ik", directions, self._turn)
        return np.asarray(self._mask[pixels_towards(self._nside, there)])

    def masked(self) -> Iterator[Floats]:
        """Yield the centres of masked pixels, ``(n, 3)`` in the frame of the map."""
        for pixels in _parts(np.flatnonzero(~self._mask)):
            yield np.einsum("ij,jk->ik", pixel_directions(self._nside, pixels), self._turn)


class _Image:
    """A mask in the pixels of an image."""

    def __init__(self, observed: ArrayLike, wcs: Any, coord: str) -> None:  # noqa: ANN401
        self._mask = _of_image(observed)
        self._wcs = sky_wcs(wcs)
        self._turn = turn_to_sky(self._wcs, coord)
        self._columns = columns_of_a_turn(self._wcs)

    def at(self, directions: Floats) -> Mask:
        """Tell whether points, ``(n, 3)`` in the frame of the map, are observed."""
        x, y, z = np.einsum("ij,kj->ki", directions, self._turn)
        lon, lat = np.degrees(np.arctan2(y, x)), np.degrees(np.arcsin(np.clip(z, -1, 1)))
        angles = np.empty((lon.size, 2))
        angles[:, self._wcs.wcs.lng], angles[:, self._wcs.wcs.lat] = lon, lat
        with np.errstate(invalid="ignore"):
            column, row = self._wcs.wcs_world2pix(angles, 0).T
        if self._columns is not None:  # the first column is at 0, to half a pixel
            column = (column + 0.5) % self._columns - 0.5
        ny, nx = self._mask.shape
        with np.errstate(invalid="ignore"):
            inside = (row > -0.5) & (row < ny - 0.5) & (column > -0.5) & (column < nx - 0.5)
        seen = np.zeros(lon.size, np.bool_)
        rows, columns = (np.rint(each[inside]).astype(np.int64) for each in (row, column))
        seen[inside] = self._mask[rows, columns]
        return seen

    def masked(self) -> Iterator[Floats]:
        """Yield the centres of masked pixels beside observed ones, in the frame of the map.

        Within a masked region larger than a pixel of the map `at` finds the others.
        """
        from scipy import ndimage

        inner = ndimage.binary_erosion(~self._mask, border_value=1)
        edge = np.flatnonzero(~self._mask & ~inner)
        for pixels in _parts(edge):
            row, column = np.divmod(pixels, self._mask.shape[1])
            angles = np.radians(self._wcs.wcs_pix2world(np.stack([column, row], axis=1), 0))
            lon, lat = angles[:, self._wcs.wcs.lng], angles[:, self._wcs.wcs.lat]
            flat = np.cos(lat)
            there = np.stack([flat * np.cos(lon), flat * np.sin(lon), np.sin(lat)], axis=1)
            known = np.isfinite(there).all(axis=1)
            yield np.einsum("ij,jk->ik", there[known], self._turn)


def _of_image(observed: ArrayLike) -> Mask:
    """Return the mask of an image as booleans."""
    values: NDArray[Any] = np.asarray(np.ma.filled(np.ma.asarray(observed), 0))
    if values.ndim != 2 or values.dtype.kind not in "biuf":
        raise ValueError(f"`observed` of an image must be (ny, nx), got {values.shape}")
    if values.dtype.kind == "b":
        return values
    values = np.nan_to_num(values)
    near = np.rint(values)
    if not (np.isin(near, (0, 1)).all() and (np.abs(values - near) <= MASK_ROUNDING).all()):
        raise ValueError(
            f"`observed` holds {values.min():.6g} to {values.max():.6g}, so it is not a mask of 0"
            " and 1; pass the pixels that are observed, observed > 0.9 for weights"
        )
    return np.asarray(near == 1)
