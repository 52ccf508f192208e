"""Position and geometry of a tile on the sky, with its directions and its FITS WCS."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from skyfill.brief import brief
from skyfill.healpix.checks import check_nside, check_whole
from skyfill.tiling.projections import deproject_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.io.fits import Header
    from astropy.wcs import WCS
    from numpy.typing import NDArray

__all__ = ["Frames", "Layout", "frames"]

AXES = {"G": ("GLON", "GLAT"), "C": ("RA--", "DEC-"), "E": ("ELON", "ELAT")}


@dataclass(frozen=True)
class Layout:
    """A square grid of pixels on the sky, north up and east to the left.

    Attributes
    ----------
    nside
        Resolution of the map that the tile is cut from and pasted onto.
    lon_deg, lat_deg
        Reference point, degrees, in the map's own frame: the tile's centre unless ``offset`` says
        otherwise.
    shape
        ``(ny, nx)``, pixels.
    pixel_arcmin
        Side of a pixel at the reference point.
    projection
        ``"TAN"``, gnomonic, or ``"CAR"``, plate carrée about the reference point: oblique, so that
        tiles look the same at the poles as at the equator.
    coord
        Frame of the map, ``"G"``, ``"C"`` or ``"E"``. It is only used in the FITS header.
    offset
        (columns, rows) from the tile's centre to the reference point. ``lat_deg=0`` with an offset
        gives a box of longitude and latitude.

    Raises
    ------
    ValueError
        For a projection or frame not listed above, an empty tile, or one larger than the sky.

    """

    __repr__ = brief

    nside: int
    lon_deg: float
    lat_deg: float
    shape: tuple[int, int]
    pixel_arcmin: float
    projection: str = "TAN"
    coord: str = "G"
    offset: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nside", check_nside(self.nside))  # accepts a float such as 64.0
        for pixels in self.shape:
            check_whole(pixels, "shape")
        if not abs(self.lon_deg) <= 720:
            raise ValueError(f"longitude {self.lon_deg} is not between -720 and 720 degrees")
        if self.projection not in {"TAN", "CAR"}:
            raise ValueError(f"projection {self.projection!r} is not known: use TAN or CAR")
        if self.coord not in AXES:
            raise ValueError(f"frame {self.coord!r} is not known: use G, C or E")
        if not -90 <= self.lat_deg <= 90:
            raise ValueError(f"latitude {self.lat_deg} is not between -90 and 90 degrees")
        if min(self.shape) < 4 or not 0 < self.pixel_arcmin < math.inf:
            raise ValueError(f"no tile has {self.shape} pixels of {self.pixel_arcmin} arcmin")
        ny, nx = self.shape
        height = (ny / 2 + abs(self.offset[1])) * self.pixel_arcmin / 60
        if self.projection == "CAR" and (height > 90 or nx * self.pixel_arcmin / 60 > 360):
            raise ValueError("a CAR tile ends at 90 degrees from its equator and goes round once")

    @property
    def step(self) -> float:
        """Side of a pixel at the reference point, in radians."""
        return math.radians(self.pixel_arcmin / 60)

    @property
    def origin(self) -> tuple[float, float]:
        """Column and row of the reference point, counted from zero."""
        ny, nx = self.shape
        return 0.5 * (nx - 1) + self.offset[0], 0.5 * (ny - 1) + self.offset[1]

    @property
    def radius(self) -> float:
        """Radius of the disc around `centre` that holds the whole tile, in radians."""
        return _extent(self.shape, self.step, self.projection, self.offset)[1]

    @property
    def centre(self) -> NDArray[np.float64]:
        """(3,), unit vector of the middle of the tile."""
        axis: NDArray[np.float64] = frames([self]).centre[0]
        return axis

    @property
    def wcs(self) -> WCS:
        """The same grid as an astropy WCS."""
        from astropy.wcs import WCS

        return WCS(self.header())

    def header(self) -> Header:
        """Write the grid as FITS header cards (Calabretta & Greisen 2002)."""
        from astropy.io.fits import Header

        x, y = self.origin
        lon, lat = AXES[self.coord]
        tan = self.projection == "TAN"
        header = Header()
        header["NSIDE"] = (self.nside, "HEALPix resolution of the map")
        header["CTYPE1"] = f"{lon}-{self.projection}"
        header["CTYPE2"] = f"{lat}-{self.projection}"
        header["CUNIT1"] = "deg"
        header["CUNIT2"] = "deg"
        header["CRPIX1"] = x + 1
        header["CRPIX2"] = y + 1
        header["CDELT1"] = -self.pixel_arcmin / 60
        header["CDELT2"] = self.pixel_arcmin / 60
        # At the north pole of a CAR tile, "up" is along the reference meridian for FITS, but along
        # the opposite one here, as it is just south of the pole.
        turn = 180.0 if not tan and self.lat_deg == 90 else 0.0
        header["CRVAL1"] = self.lon_deg + turn
        header["CRVAL2"] = self.lat_deg
        # The pole lies in the tile's upward direction. For CAR that is native longitude 0 in the
        # north and 180 in the south.
        header["LONPOLE"] = 180.0 if tan or self.lat_deg < 0 else 0.0
        header["LATPOLE"] = self.lat_deg if tan else 90.0 - abs(self.lat_deg)
        if self.coord == "C":
            header["RADESYS"] = "ICRS"
        return header

    def directions(self) -> NDArray[np.float64]:
        """Give the directions of the tile's pixels, ``(ny, nx, 3)``, unit vectors."""
        out = np.empty((*self.shape, 3))
        deproject_all(*frames([self]).grid, out[None])
        return out


class Frames(NamedTuple):
    """Layouts as arrays for the kernels.

    Attributes
    ----------
    axes
        (n, 3, 3): reference point, east and north as rows.
    step
        ``(n,)``, radians per pixel.
    origin
        ``(n, 2)``, column and row of the reference point.
    car
        ``(n,)``, whether the projection is CAR.
    centre, radius
        ``(n, 3)`` and (n,): disc that holds the tile.

    """

    axes: NDArray[np.float64]
    step: NDArray[np.float64]
    origin: NDArray[np.float64]
    car: NDArray[np.bool_]
    centre: NDArray[np.float64]
    radius: NDArray[np.float64]

    @property
    def grid(
        self,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """The first four fields, which give the positions of pixels."""
        return self.axes, self.step, self.origin, self.car

    def part(self, which: slice) -> Frames:
        """Select some of the tiles."""
        return Frames._make(array[which] for array in self)


def frames(layouts: Sequence[Layout]) -> Frames:
    """Collect layouts of equal shape, any number of them, into arrays.

    Raises
    ------
    ValueError
        If their shapes or resolutions differ.

    """
    if len({(layout.shape, layout.nside) for layout in layouts}) > 1:
        raise ValueError("the layouts of one batch must share their shape and Nside")
    table = np.array([(t.lon_deg, t.lat_deg, t.step, *t.origin) for t in layouts]).reshape(-1, 5)
    lon, lat = np.radians(table[:, :2].T)
    sin_lon, cos_lon, sin_lat, cos_lat = np.sin(lon), np.cos(lon), np.sin(lat), np.cos(lat)
    axes = np.empty((len(layouts), 3, 3))
    axes[:, 0] = np.stack([cos_lat * cos_lon, cos_lat * sin_lon, sin_lat], axis=-1)
    axes[:, 1] = np.stack([-sin_lon, cos_lon, np.zeros_like(lon)], axis=-1)
    axes[:, 2] = np.stack([-sin_lat * cos_lon, -sin_lat * sin_lon, cos_lat], axis=-1)
    extent = [_extent(t.shape, t.step, t.projection, t.offset) for t in layouts]
    native = np.array([middle for middle, _ in extent]).reshape(-1, 3)
    return Frames(
        axes=axes,
        step=np.ascontiguousarray(table[:, 2]),
        origin=np.ascontiguousarray(table[:, 3:]),
        car=np.array([t.projection == "CAR" for t in layouts], dtype=np.bool_),
        centre=np.einsum("ni,nij->nj", native, axes),
        radius=np.array([radius for _, radius in extent]),
    )


@lru_cache(maxsize=64)
def _extent(
    shape: tuple[int, int], step: float, projection: str, offset: tuple[float, float]
) -> tuple[tuple[float, ...], float]:
    """Give the native direction of a tile's centre and the radius of the disc that contains it."""
    ny, nx = shape
    x, y = np.meshgrid(np.arange(nx + 1) - 0.5, np.arange(ny + 1) - 0.5)
    # the farthest point lies on the rim, unless the tile holds the antipode of its own middle
    rim = np.concatenate([np.stack([x[i], y[i]], -1) for i in (0, -1)])
    rim = np.concatenate([rim, *(np.stack([x[:, i], y[:, i]], -1) for i in (0, -1))])
    points = np.concatenate([[[0.5 * (nx - 1), 0.5 * (ny - 1)]], rim])
    u = (0.5 * (nx - 1) + offset[0] - points[:, 0]) * step
    v = (points[:, 1] - 0.5 * (ny - 1) - offset[1]) * step
    if projection == "TAN":
        native = np.stack([np.ones_like(u), u, v], axis=-1)
        native /= np.linalg.norm(native, axis=-1, keepdims=True)
    else:
        native = np.stack([np.cos(v) * np.cos(u), np.cos(v) * np.sin(u), np.sin(v)], axis=-1)
    chord = np.linalg.norm(native[1:] - native[0], axis=-1).max()
    return tuple(map(float, native[0])), 2.0 * math.asin(min(1.0, 0.5 * float(chord)))
