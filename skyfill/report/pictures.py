"""Images of a map: the whole sky in Mollweide projection, and close-ups."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill import tiling
from skyfill.healpix import pixel_directions
from skyfill.healpix.arrays import as_map
from skyfill.healpix.checks import check_angle
from skyfill.healpix.picture import mollweide, planck_colours
from skyfill.healpix.stokes import nside_of
from skyfill.lazy import needs
from skyfill.tiling import Layout

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

__all__ = [
    "close_up",
    "close_up_pol",
    "graticule",
    "mollweide",
    "planck_colours",
    "show",
    "show_sky",
]

#: Product of four projected separations below which two directions are one.
_SAME = 1e-60


def graticule(*, step: float = 30, height: int = 400) -> list[NDArray[np.float64]]:
    """Give meridians and parallels, every ``step`` degrees, on an image of `mollweide`.

    Returns
    -------
    For each line ``(2, n)``: columns and rows of the image.
    """
    lat = np.radians(np.arange(-90.0, 90.1, 1.0))
    # The auxiliary angle of a latitude has no formula: that of the latitude is turned round.
    turned = np.linspace(-np.pi / 2, np.pi / 2, 2001)
    auxiliary = np.interp(lat, np.arcsin((2 * turned + np.sin(2 * turned)) / np.pi), turned)
    lines = [
        np.array([-2 * lon / 180 * np.cos(auxiliary), np.sin(auxiliary)])
        for lon in np.arange(-180.0 + step, 180.0, step)
    ]
    for each in np.radians(np.arange(-90.0 + step, 90.0, step)):
        at = np.interp(each, lat, auxiliary)
        lines.append(np.array([2 * np.cos(at) * np.array([-1.0, 1.0]), np.full(2, np.sin(at))]))
    scale = np.array([[(2 * height - 1) / 4], [(height - 1) / 2]])
    return [(line + np.array([[2.0], [1.0]])) * scale for line in lines]


def close_up(
    values: ArrayLike, lon: float, lat: float, *, width: float, pixels: int = 240
) -> NDArray[np.float64]:
    """Sample the nearest pixels of a map on a gnomonic square.

    Parameters
    ----------
    values
        ``(npix,)``, RING.
    lon, lat
        Centre, degrees.
    width
        Width of the square, radians.
    pixels
        Number of pixels along its side.

    Returns
    -------
    ``(pixels, pixels)``, first row at the bottom, longitude growing to the left.
    """
    values = as_map(values, taker="pictures.close_up")
    layout = _square(nside_of(values, "values"), lon, lat, width, pixels)
    return np.asarray(tiling.cut_nearest(values, [layout])[0])


def close_up_pol(
    q: ArrayLike, u: ArrayLike, lon: float, lat: float, *, width: float, pixels: int = 240
) -> NDArray[np.float64]:
    """Sample Q and U as `close_up` does, turned into the axes of the middle of the square.

    Q and U of a pixel refer to its own meridian. Near a pole the meridians run in all directions,
    and plain Q and U look like swirls. Here each pixel is carried to the middle along a great
    circle, so that one polarization has one colour all over the square.

    Parameters
    ----------
    q, u
        ``(npix,)`` each, RING, U with the sign of HEALPix.
    lon, lat, width, pixels
        As for `close_up`.

    Returns
    -------
    ``(2, pixels, pixels)``, Q and U.
    """
    q, u = as_map(q, "q", taker="pictures"), as_map(u, "u", taker="pictures")
    nside = nside_of(q, "q")
    layout = _square(nside, lon, lat, width, pixels)
    nearest = tiling.cut_nearest(np.arange(q.size, dtype=np.float64), [layout])[0].astype(np.int64)
    at, middle = np.radians((lon, lat))
    centre = (
        math.cos(middle) * math.cos(at),
        math.cos(middle) * math.sin(at),
        math.sin(middle),
    )
    towards = pixel_directions(nside, nearest.ravel()).T.reshape(3, *nearest.shape)
    turned = _turns(centre, towards) * (q[nearest] + 1j * u[nearest])
    return np.array([turned.real, turned.imag])


def _square(nside: int, lon: float, lat: float, width: float, pixels: int) -> Layout:
    """Lay out the square of a close-up."""
    step = math.degrees(check_angle(width, "width") / pixels) * 60
    return Layout(nside, lon, lat, (pixels, pixels), step)


def _turns(
    centre: tuple[float, float, float], towards: NDArray[np.float64]
) -> NDArray[np.complex128]:
    """Give what turns Q + iU of many directions into the axes of one, along great circles.

    It is exp 2i(γ_a - γ_b), with γ the angle of the circle at each end, from south towards east.
    """
    x, y, z = towards
    along = centre[0] * x + centre[1] * y
    across = centre[0] * y - centre[1] * x
    # South and east components at each end; a direction and its opposite are one for spin 2.
    at_centre = centre[2] * along - (centre[0] ** 2 + centre[1] ** 2) * z + 1j * across
    at_pixel = z * along - (x**2 + y**2) * centre[2] - 1j * across
    twice = (at_centre * at_pixel.conj()) ** 2
    size = np.abs(twice)
    return np.asarray(np.where(size > _SAME, twice / np.where(size > _SAME, size, 1.0), 1.0))


def show(
    axes: Axes, image: NDArray[np.float64], style: Mapping[str, Any] | None = None
) -> AxesImage:
    """Show an image without a frame, in Planck's colours and ±300 unless ``style`` differs."""
    usual = {"cmap": planck_colours(), "vmin": -300, "vmax": 300, "origin": "lower"}
    axes.axis("off")
    return axes.imshow(image, **{**usual, **(style or {})})


def show_sky(
    axes: Axes, values: ArrayLike, style: Mapping[str, Any] | None = None, *, height: int = 400
) -> AxesImage:
    """Show a map of the whole sky in Mollweide projection, with frame and graticule.

    Parameters
    ----------
    axes
        Matplotlib axes.
    values
        ``(npix,)``, RING; missing pixels are grey.
    style
        As for `show`.
    height
        Rows of the image.

    Returns
    -------
        The image, for a colour bar.
    """
    needs("matplotlib")
    from matplotlib.patches import Ellipse

    image = show(axes, mollweide(values, height=height), style)
    edge: dict[str, Any] = {"transform": axes.transAxes, "fill": False, "ec": "black", "lw": 0.8}
    image.set_clip_path(Ellipse((0.5, 0.5), 1, 1, transform=axes.transAxes))
    axes.add_patch(Ellipse((0.5, 0.5), 1, 1, clip_on=False, **edge))
    for line in graticule(height=height):
        axes.plot(*line, color="black", lw=0.4, alpha=0.3)
    return image
