"""Positions of the tiles of a data set, and cutting them from maps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill import tiling
from skyfill.brief import brief
from skyfill.healpix.arrays import pair_of
from skyfill.healpix.checks import check_nside, check_whole
from skyfill.tiling import Layout
from skyfill.tiling.layout import frames

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = ["PROJECTIONS", "TileGeometry"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

PROJECTIONS = ("cartesian", "gnomonic")

#: Height of a Cartesian tile, degrees of latitude; its width is twice as many of longitude.
_HEIGHT = 10.0
#: Usual spacing of their centres in longitude and latitude, degrees.
_SPACING = (360 / 47, 2.0)
#: Smallest observed interpolation weight for which a tile pixel has a value.
_WHOLE = 0.999


@dataclass(frozen=True)
class TileGeometry:
    """Grid of tiles on the sky.

    Attributes
    ----------
    nside
        Resolution of the map.
    size
        Pixels along each side of a tile.
    projection
        ``cartesian``: boxes of longitude ±10° and latitude ±5° at any latitude, as in the paper,
        with pixels twice as wide as high. ``gnomonic``: squares.
    pixel_arcmin
        Side of a pixel of a gnomonic tile.
    spacing_deg
        Spacing of the centres in longitude and latitude. For Cartesian tiles this is their distance
        in the projected map, for gnomonic tiles their largest distance on the sky. The default for
        gnomonic tiles is half a side. For Cartesian tiles it gives 86 rows of 47, the paper's 4,042
        in all. (The paper only says "equally spaced"; its 3,320 clean and 772 masked tiles are 50
        more.)
    coord
        Frame of the map: G, C or E.

    Raises
    ------
    ValueError
        For an unknown projection, a tile of fewer than 4 pixels, or no positive spacing.
    """

    __repr__ = brief

    nside: int
    size: int = 400
    projection: str = "cartesian"
    pixel_arcmin: float = 1.5
    spacing_deg: tuple[float, float] | None = None
    coord: str = "G"

    def __post_init__(self) -> None:
        if self.projection not in PROJECTIONS:
            raise ValueError(
                f"projection {self.projection!r} is unknown; choose one of {', '.join(PROJECTIONS)}"
            )
        object.__setattr__(self, "nside", check_nside(self.nside))  # accepts a float such as 64.0
        check_whole(self.size, "size", least=4)
        spacing = self.spacing_deg or (1.0, 1.0)
        if not all(0 < x <= 90 for x in spacing):
            raise ValueError(
                f"a spacing of {spacing} degrees is impossible; give a number above 0 and up to 90"
            )
        self.layout(0.0, 0.0)

    def centres(self) -> tuple[Map, Map]:
        """Give longitudes and latitudes of all tiles, degrees."""
        if self.projection == "cartesian":
            across, up = self.spacing_deg or _SPACING
            lat = np.linspace(-85, 85, round(170 / up) + 1)
            lon = np.arange(columns := round(360 / across)) * (360 / columns)
            return np.tile(lon, lat.size), np.repeat(lat, lon.size).astype(np.float64)
        half = self.size * self.pixel_arcmin / 120
        across, up = self.spacing_deg or (half, half)
        lat = np.linspace(-90, 90, math.ceil(180 / up - 1e-9) + 1)
        counts = np.ceil(360 * np.cos(np.radians(lat)) / across - 1e-9).clip(1).astype(int)
        lon = np.concatenate([np.arange(n) * (360 / n) for n in counts])
        return np.asarray(lon, np.float64), np.repeat(lat, counts)

    def layout(self, lon: float, lat: float) -> Layout:
        """Give the layout from which a tile is cut; a Cartesian tile keeps every second column."""
        if self.projection == "gnomonic":
            size = (self.size, self.size)
            return Layout(self.nside, lon, lat, size, self.pixel_arcmin, "TAN", self.coord)
        # A box of longitude and latitude has its reference point on the equator. The offset is
        # slightly smaller, so that rounding does not move a tile over the pole.
        below = lat * self.size / _HEIGHT * (1 - 1e-12)
        return Layout(
            self.nside,
            lon,
            0.0,
            (self.size, 2 * self.size),
            60 * _HEIGHT / self.size,
            "CAR",
            self.coord,
            (-0.5, -below),
        )

    def header(self, lon: float, lat: float) -> Header:
        """Give the FITS header of a tile, with its WCS."""
        header = self.layout(lon, lat).header()
        if self.projection == "cartesian":
            header["CRPIX1"] = 0.5 * (self.size + 1)
            header["CDELT1"] *= 2
        return header

    def cut(
        self, values: ArrayLike, observed: ArrayLike, lon: Map, lat: Map
    ) -> tuple[NDArray[np.float32], Mask]:
        """Cut tiles of a map and its mask.

        Parameters
        ----------
        values
            ``(npix,)``, RING; NaN where missing.
        observed
            ``(npix,)``, RING.
        lon, lat
            ``(n,)`` degrees.

        Returns
        -------
        Interpolated tiles, ``(n, size, size)`` float32, in the map's unit, NaN where the map has
        no value; and, in the same shape, whether the mask's nearest pixel is observed.
        """
        values, observed = pair_of(values, observed, taker="TileGeometry.cut")
        layouts = [self.layout(*centre) for centre in zip(lon.tolist(), lat.tolist(), strict=True)]
        known = np.isfinite(values)
        tiles, weights = tiling.cut(values, None if known.all() else known, layouts)
        step = (slice(None), slice(None), slice(None, None, tiles.shape[2] // self.size))
        tiles, weights = tiles[step], weights[step]
        seen = tiling.cut_nearest(observed, layouts)[step] & (weights > _WHOLE)
        return np.where(weights > _WHOLE, tiles, np.nan).astype(np.float32), seen

    def pixel(self, lat: float) -> tuple[float, float]:
        """Give height and width of a pixel in the middle of a tile, radians on the sky."""
        if self.projection == "gnomonic":
            return (math.radians(self.pixel_arcmin / 60),) * 2
        height = math.radians(_HEIGHT / self.size)
        return height, 2 * height * math.cos(math.radians(lat))

    def discs(self, lon: Map, lat: Map) -> tuple[Map, Map]:
        """Give discs that hold the tiles: middles ``(n, 3)`` and radii ``(n,)``, radians."""
        where = frames([self.layout(*centre) for centre in zip(lon, lat, strict=True)])
        return np.asarray(where.centre), np.asarray(where.radius)
