"""The pixels of an image on the sky: their directions and areas, from the WCS of its header."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from skyfill.brief import brief
from skyfill.maps.wcs import sky_wcs

__all__ = ["Grid"]

Map = NDArray[np.float64]

#: Largest distance between the pixels of two images that count as the same, pixels: rounding of
#: CRPIX and CDELT in text is far below, a shift of one pixel far above.
_SAME = 0.01
#: Pixels along a side at which two WCS are compared.
_COMPARED = 5
#: Largest ratio of a pixel's height and width, either way, that is handled: CAR at declination 82.
_LONGEST = 8.0


@dataclass(frozen=True)
class Grid:
    """The pixels of an image on the sky.

    Attributes
    ----------
    wcs
        World coordinates of the two axes of the sky.
    shape
        ``(ny, nx)``.
    """

    __repr__ = brief

    wcs: WCS
    shape: tuple[int, int]

    @classmethod
    def of(cls, wcs: object, shape: tuple[int, ...]) -> Grid:
        """Make the grid of an image from its WCS or its header.

        Parameters
        ----------
        wcs
            An ``astropy.wcs.WCS`` or a FITS header with one; other axes than those of the sky are
            dropped.
        shape
            ``(ny, nx)`` of the image.

        Raises
        ------
        ValueError
            It has no axes of the sky.
        """
        sky = sky_wcs(wcs)
        return cls(sky, (int(shape[0]), int(shape[1])))

    def directions(self, rows: NDArray[Any], columns: NDArray[Any]) -> Map:
        """Give unit vectors, ``(3, n)``, at pixel positions, ``(n,)`` each; NaN beyond the sky."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            world = self.wcs.wcs_pix2world(np.stack([columns, rows], axis=1).astype(float), 0)
        lon, lat = np.radians(world[:, self.wcs.wcs.lng]), np.radians(world[:, self.wcs.wcs.lat])
        return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])

    def sides(self, rows: NDArray[Any], columns: NDArray[Any]) -> tuple[Map, Map]:
        """Give the height and the width of pixels, ``(n,)`` each, radians."""
        up = self.directions(rows + 0.5, columns) - self.directions(rows - 0.5, columns)
        along = self.directions(rows, columns + 0.5) - self.directions(rows, columns - 0.5)
        return np.linalg.norm(up, axis=0), np.linalg.norm(along, axis=0)

    def areas(self, rows: NDArray[Any], columns: NDArray[Any]) -> Map:
        """Give the solid angles of pixels, ``(n,)``, steradian."""
        up = self.directions(rows + 0.5, columns) - self.directions(rows - 0.5, columns)
        along = self.directions(rows, columns + 0.5) - self.directions(rows, columns - 0.5)
        return np.asarray(np.linalg.norm(np.cross(up, along, axis=0), axis=0))

    def stretch(self, row: float, column: float) -> tuple[int, int]:
        """Give powers of two by which blocks of pixels are taller or wider to be about square.

        Raises
        ------
        ValueError
            The pixel is so long that no such block is square.
        """
        (height,), (width,) = self.sides(np.array([row]), np.array([column]))
        ratio = height / width
        if not 1 / _LONGEST <= ratio <= _LONGEST:
            raise ValueError(
                f"pixels around row {row:.0f}, column {column:.0f} are {max(ratio, 1 / ratio):.0f}"
                " times as long as wide, too near a pole of this projection; mask the hole's"
                " surroundings out, or reproject the image around the pole (reproject, ZEA)"
            )
        steps = round(float(np.log2(ratio)))
        return 2 ** max(-steps, 0), 2 ** max(steps, 0)

    def difference(self, other: Grid) -> str:
        """Say in words how another grid differs; an empty string if it is the same."""
        if self.shape != other.shape:
            mine, its = (f"{nx} x {ny}" for ny, nx in (self.shape, other.shape))
            return f"{its} pixels, not {mine}"
        kinds = [[name[:4] for name in grid.wcs.wcs.ctype] for grid in (self, other)]
        if kinds[0] != kinds[1]:
            return f"the axes {' and '.join(kinds[1])}, not {' and '.join(kinds[0])}"
        ny, nx = self.shape
        rows, columns = (
            x.ravel()
            for x in np.meshgrid(
                np.linspace(0, ny - 1, _COMPARED), np.linspace(0, nx - 1, _COMPARED)
            )
        )
        apart = np.linalg.norm(
            self.directions(rows, columns) - other.directions(rows, columns), axis=0
        )
        height, width = self.sides(rows, columns)
        off = apart / np.minimum(height, width)
        if np.isfinite(off).any() and np.nanmax(off) > _SAME:
            return f"another WCS: its pixels lie up to {np.nanmax(off):.3g} pixels away"
        return ""
