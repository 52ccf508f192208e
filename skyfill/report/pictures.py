"""Images of a map: the whole sky in Mollweide's projection, and closer looks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill import tiling
from skyfill.healpix.arrays import as_map
from skyfill.healpix.checks import check_angle
from skyfill.healpix.stokes import nside_of
from skyfill.tiling import Layout

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.image import AxesImage

__all__ = ["close_up", "mollweide", "planck_colours", "show"]

#: The colours of Planck's own maps, from cold to hot.
_PLANCK = ("#0000ff", "#00ddff", "#ffedd9", "#ffb400", "#ff4b00", "#640000")


def planck_colours(missing: str = "#9a9a9a") -> Colormap:
    """Give Planck's colour map, with a colour for what is NaN."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("planck", list(_PLANCK)).with_extremes(bad=missing)


def mollweide(values: ArrayLike, *, height: int = 400) -> NDArray[np.float64]:
    """Sample a map on an image of the whole sky, nearest pixels.

    Parameters
    ----------
    values
        ``(npix,)``, RING.
    height
        Rows of the image.

    Returns
    -------
    ``(height, 2 height)``, first row at the bottom: longitude 0 in the middle, growing to the left;
    NaN outside the ellipse.
    """
    import healpy

    values = as_map(values, taker="pictures.mollweide")
    y, x = np.mgrid[-1 : 1 : height * 1j, -2 : 2 : 2 * height * 1j]
    inside = x**2 / 4 + y**2 < 1
    turned = np.arcsin(y[inside])
    lat = np.arcsin((2 * turned + np.sin(2 * turned)) / np.pi)
    lon = -np.pi * x[inside] / (2 * np.cos(turned))
    image = np.full(x.shape, np.nan)
    image[inside] = values[healpy.ang2pix(nside_of(values, "values"), np.pi / 2 - lat, lon)]
    return image


def close_up(
    values: ArrayLike, lon: float, lat: float, *, width: float, pixels: int = 240
) -> NDArray[np.float64]:
    """Sample a map on a gnomonic square, nearest pixels.

    Parameters
    ----------
    values
        ``(npix,)``, RING.
    lon, lat
        Middle, degrees.
    width
        Of the square, radians.
    pixels
        Along its side.

    Returns
    -------
    ``(pixels, pixels)``, first row at the bottom, longitude growing to the left.
    """
    values, width = as_map(values, taker="pictures.close_up"), check_angle(width, "width")
    step = math.degrees(width / pixels) * 60
    layout = Layout(nside_of(values, "values"), lon, lat, (pixels, pixels), step)
    return np.asarray(tiling.cut_nearest(values, [layout])[0])


def show(
    axes: Axes, image: NDArray[np.float64], style: Mapping[str, Any] | None = None
) -> AxesImage:
    """Show an image without a frame, in Planck's colours and ±300 unless ``style`` says another."""
    usual = {"cmap": planck_colours(), "vmin": -300, "vmax": 300, "origin": "lower"}
    axes.axis("off")
    return axes.imshow(image, **{**usual, **(style or {})})
