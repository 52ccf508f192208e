"""A picture of the whole sky in Mollweide projection."""

from __future__ import annotations

import math
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.healpix.arrays import as_map
from skyfill.healpix.grid import pixels_towards
from skyfill.healpix.stokes import nside_of
from skyfill.lazy import needs

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

__all__ = ["mollweide", "planck_colours", "thumbnail"]

#: The colours of Planck's own maps, from cold to hot in equal steps; the middle one is zero.
_PLANCK = ("#0000ff", "#0070ff", "#00ddff", "#ffedd9", "#ffb400", "#ff4b00", "#640000")
#: Rows of a thumbnail.
_HEIGHT = 120
#: Percentile of the absolute values at which the colours of a thumbnail end.
_MOST = 99.0


def planck_colours(missing: str = "#9a9a9a") -> Colormap:
    """Give Planck's colour map, with a colour for NaN."""
    needs("matplotlib")
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("planck", list(_PLANCK)).with_extremes(bad=missing)


def mollweide(values: ArrayLike, *, height: int = 400) -> NDArray[np.float64]:
    """Sample the nearest pixels of a map on an image of the whole sky.

    Parameters
    ----------
    values
        ``(npix,)``, RING.
    height
        Rows of the image.

    Returns
    -------
    ``(height, 2 height)``, first row at the bottom, longitude 0 in the middle and growing to the
    left; NaN outside the ellipse.
    """
    return _sampled(as_map(values, taker="pictures.mollweide"), height)


def _sampled(values: NDArray[Any], height: int) -> NDArray[np.float64]:
    """Sample a map or a mask, see `mollweide`."""
    inside, directions = _ellipse(height)
    image = np.full(inside.shape, np.nan)
    image[inside] = values[pixels_towards(nside_of(values, "values"), directions)]
    return image


def _ellipse(height: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return which pixels of the image show the sky, and their directions, ``(n, 3)``."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -2 : 2 : 2 * height * 1j]
    inside = x**2 / 4 + y**2 < 1
    turned = np.arcsin(y[inside])
    lat = np.arcsin((2 * turned + np.sin(2 * turned)) / np.pi)
    lon = -np.pi * x[inside] / (2 * np.cos(turned))
    parts = np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)
    return inside, np.stack(parts, axis=-1)


def thumbnail(
    values: ArrayLike, observed: NDArray[np.bool_] | None = None, *, height: int = _HEIGHT
) -> bytes:
    """Draw a small picture of a map, PNG, with a transparent background.

    Parameters
    ----------
    values
        ``(npix,)``, RING; missing pixels are grey.
    observed
        ``(npix,)``, RING: pixels where it is False are grey, too.
    height
        Rows of the picture.
    """
    needs("matplotlib")
    from matplotlib.image import imsave

    image = mollweide(values, height=height)
    if observed is not None:
        image[_sampled(observed, height) == 0] = np.nan
    seen = np.abs(image[np.isfinite(image)])
    most = float(np.percentile(seen, _MOST)) if seen.size else 1.0
    most = most if math.isfinite(most) and most > 0 else 1.0
    colours = planck_colours()(np.ma.masked_invalid(np.clip(image / most, -1, 1) / 2 + 0.5))
    colours[~_ellipse(height)[0]] = 0.0
    stream = BytesIO()
    imsave(stream, colours, format="png", origin="lower")
    return stream.getvalue()
