"""Images of a map: the whole sky in Mollweide projection, and close-ups."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill import tiling
from skyfill.healpix.arrays import as_map
from skyfill.healpix.checks import check_angle
from skyfill.healpix.picture import mollweide, planck_colours
from skyfill.healpix.stokes import nside_of
from skyfill.tiling import Layout

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

__all__ = ["close_up", "mollweide", "planck_colours", "show"]


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
    values, width = as_map(values, taker="pictures.close_up"), check_angle(width, "width")
    step = math.degrees(width / pixels) * 60
    layout = Layout(nside_of(values, "values"), lon, lat, (pixels, pixels), step)
    return np.asarray(tiling.cut_nearest(values, [layout])[0])


def show(
    axes: Axes, image: NDArray[np.float64], style: Mapping[str, Any] | None = None
) -> AxesImage:
    """Show an image without a frame, in Planck's colours and ±300 unless ``style`` differs."""
    usual = {"cmap": planck_colours(), "vmin": -300, "vmax": 300, "origin": "lower"}
    axes.axis("off")
    return axes.imshow(image, **{**usual, **(style or {})})
