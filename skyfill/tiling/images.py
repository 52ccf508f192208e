"""Paste an image in any projection that astropy knows onto a HEALPix map, by reproject."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from numpy.typing import ArrayLike, NDArray

from skyfill.healpix.checks import check_nside
from skyfill.holes.weights import frame_letter
from skyfill.lazy import needs
from skyfill.maps.table import missing
from skyfill.maps.wcs import FRAMES, columns_of_a_turn, frame_of_axes, sky_wcs

__all__ = ["paste_image"]

#: Columns beyond either end of a sphere, and rows beyond a pole, that are copied from the other
#: side: the weights of a cubic spline fall by 3.7 a pixel, here to 1e-7.
_PAD = 12
#: Largest difference of a turn from a whole number of columns that counts as rounding of CDELT.
_WHOLE = 0.01
#: Side of HEALPix pixels in units of the image's beyond which centres miss much of the image.
_COARSE = 2.0


@dataclass(frozen=True)
class _Placed:
    """An image and its WCS."""

    values: NDArray[np.float64]
    wcs: WCS


def paste_image(
    image: Any,  # noqa: ANN401 (an HDU of astropy, or an array)
    wcs: Any = None,  # noqa: ANN401 (a WCS or a header of astropy)
    *,
    nside: int,
    nest: bool = False,
    coord: str = "G",
    order: int = 3,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Paste an image with a WCS onto a HEALPix map.

    Each HEALPix pixel gets the value of the image at its centre, interpolated by
    `reproject.reproject_to_healpix`. Images in CAR and other cylindrical projections may begin at
    any longitude and go around the whole sky; CAR may include the poles.

    The value is that at the centre, not the mean over the pixel: an image with structure smaller
    than the pixel is to be smoothed before. Interpolation averages the noise of neighbouring
    pixels and correlates it. The values are taken as they are, so Q and U keep the axes of the
    image, and are not rotated to those of HEALPix.

    Parameters
    ----------
    image
        An image HDU of astropy, or ``(ny, nx)`` in any unit; NaN, inf and UNSEEN are missing.
    wcs
        ``astropy.wcs.WCS``, or a header with one, of an array. Axes other than those of the sky are
        dropped.
    nside
        Resolution of the map.
    nest
        Whether the map is in NESTED order, else RING.
    coord
        Frame of the map: G (Galactic), C (equatorial, ICRS) or E (ecliptic). That of the image is
        in its WCS.
    order
        3, cubic splines; 1, bilinear; 0, the nearest pixel.

    Returns
    -------
    values
        ``(npix,)``, in the unit of the image. NaN where the image does not reach, or one of the 16
        (cubic), 4 (bilinear) or 1 pixels around the centre is missing or beyond the border.
    footprint
        ``(npix,)``, true where there is a value.

    Raises
    ------
    ValueError
        The image has no two axes of the sky, or no finite value; Nside, frame or order is not
        valid.
    MissingExtraError
        reproject is not installed.

    Examples
    --------
    >>> import numpy as np, skyfill
    >>> from astropy.wcs import WCS
    >>> wcs = WCS(naxis=2)
    >>> wcs.wcs.ctype, wcs.wcs.cdelt = ["RA---CAR", "DEC--CAR"], [-1.0, 1.0]
    >>> wcs.wcs.crpix = [180.5, 90.5]
    >>> dec = np.arange(-89.5, 90)[:, np.newaxis] * np.ones(360)
    >>> values, footprint = skyfill.tiling.paste_image(dec, wcs, nside=32, coord="C")
    >>> bool(footprint.all()), round(float(values[0]), 1)  # the first pixel is near the pole
    (True, 88.5)

    """
    nside = check_nside(nside)
    frame = FRAMES[frame_letter(coord)]
    if order not in {0, 1, 3}:
        raise ValueError(f"order must be 3 (cubic), 1 (bilinear) or 0 (nearest), got {order}")
    placed = _placed(image, wcs)
    if placed.wcs.wcs.ctype[placed.wcs.wcs.lng].startswith("ELON"):
        placed, frame = _renamed(placed, coord), FRAMES["C"]
    needs("reproject")
    _warn_of_coarse(placed, nside)
    values = np.full(12 * nside**2, np.nan)
    for part in _around(placed):
        found = _reprojected(_framed(part), nside, nest, frame, order)
        values = np.where(np.isnan(values), found, values)
    return values, ~np.isnan(values)


def _placed(image: Any, wcs: Any) -> _Placed:  # noqa: ANN401 (see `paste_image`)
    """Return the image in float64, NaN where missing, with the WCS of its two axes."""
    if wcs is None:
        if not hasattr(image, "header"):
            raise ValueError("image has no header with a WCS; pass wcs")
        image, wcs = image.data, image.header
        if image is None:
            raise ValueError("image is an HDU without data; pass the one that holds the image")
    sky = sky_wcs(wcs)
    frame_of_axes(sky)  # refuses axes that astropy would take for equatorial ones
    return _Placed(_finite(image), sky)


def _renamed(placed: _Placed, coord: str) -> _Placed:
    """Call ecliptic axes equatorial: astropy takes them for these, and a map in E needs no turn."""
    if frame_letter(coord) != "E":
        raise ValueError(
            "the image has ecliptic axes, which astropy does not turn to other frames; pass"
            " `coord='E'` for a map in ecliptic coordinates"
        )
    wcs = placed.wcs.deepcopy()
    names = (("ELON", "RA--"), ("ELAT", "DEC-"))
    kinds = [str(kind) for kind in wcs.wcs.ctype]
    for old, new in names:
        kinds = [kind.replace(old, new) for kind in kinds]
    wcs.wcs.ctype = kinds
    return _Placed(placed.values, wcs)


def _finite(image: ArrayLike) -> NDArray[np.float64]:
    """Return ``(ny, nx)`` in float64, NaN where missing."""
    values = np.ma.filled(np.ma.asarray(image, np.float64), np.nan)
    values = values.reshape(values.shape[-2:]) if math.prod(values.shape[:-2]) == 1 else values
    if values.ndim != 2:
        raise ValueError(f"image must be (ny, nx), one plane of a cube, got {values.shape}")
    values = np.where(missing(values), np.nan, values)
    if np.isnan(values).all():
        raise ValueError("image has no finite value")
    return np.ascontiguousarray(values)


def _warn_of_coarse(placed: _Placed, nside: int) -> None:
    """Warn if pixel centres are much farther apart than the pixels of the image."""
    ny, nx = placed.values.shape
    step = abs(float(np.linalg.det(placed.wcs.pixel_scale_matrix))) ** 0.5
    side = math.degrees(math.sqrt(math.pi / 3) / nside)
    if min(ny, nx) > 1 and side > _COARSE * step:
        warnings.warn(
            f"the pixels of Nside {nside} are {side / step:.3g} times as wide as those of the"
            " image, whose values are taken at their centres only; smooth the image before, or"
            " take a larger `nside`",
            stacklevel=3,
        )


def _around(placed: _Placed) -> list[_Placed]:
    """Return parts of an image such that each pixel lies where astropy looks for it.

    astropy gives a direction the column within half a turn of the reference column. Columns of a
    cylindrical projection that lie farther out are moved by a turn, and an image of the whole
    sphere is continued at its ends and beyond its poles.
    """
    turn = columns_of_a_turn(placed.wcs)
    if turn is None:
        return [placed]
    nx = placed.values.shape[1]
    if abs(turn - round(turn)) > _WHOLE:  # no column falls on another
        return [_moved(placed, shift) for shift in (0.0, turn, -turn)]
    whole = round(turn)
    middle = placed.wcs.wcs.crpix[0] - 1
    first = math.floor(middle - turn / 2) - _PAD
    columns = np.arange(first, math.ceil(middle + turn / 2) + _PAD + 1)
    # of two columns with one longitude, the first counts
    source = columns % whole
    inside = source < nx
    rows, turned = _rows_beyond_poles(placed, whole)
    strip = np.full((len(rows), len(columns)), np.nan)
    for place, (row, half) in enumerate(zip(rows, turned, strict=True)):
        if half:
            source_here = (columns + whole // 2) % whole
            inside_here = source_here < nx
            strip[place, inside_here] = placed.values[row, source_here[inside_here]]
        else:
            strip[place, inside] = placed.values[row, source[inside]]
    moved = _moved(placed, -first, float(np.flatnonzero(~turned)[0]))
    return [_Placed(strip, moved.wcs)]


def _framed(placed: _Placed) -> _Placed:
    """Frame an image by missing pixels: reproject would continue it by half a pixel."""
    moved = _moved(placed, 1.0, 1.0)
    return _Placed(np.pad(placed.values, 1, constant_values=np.nan), moved.wcs)


def _moved(placed: _Placed, columns: float, rows: float = 0.0) -> _Placed:
    """Move an image by columns and rows."""
    wcs = placed.wcs.deepcopy()
    wcs.wcs.crpix = [wcs.wcs.crpix[0] + columns, wcs.wcs.crpix[1] + rows]
    return _Placed(placed.values, wcs)


def _rows_beyond_poles(placed: _Placed, turn: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Give the rows of an image, with those beyond a native pole that are seen across it.

    Returns their numbers in the image, and whether they are seen half a turn away.
    """
    ny = placed.values.shape[0]
    rows, turned = np.arange(ny), np.zeros(ny, np.bool_)
    step = float(placed.wcs.pixel_scale_matrix[1, 1])
    if placed.wcs.wcs.ctype[0][-3:] != "CAR" or turn % 2 or not step:
        return rows, turned
    middle = placed.wcs.wcs.crpix[1] - 1
    for pole in sorted((middle - 90 / step, middle + 90 / step)):
        across = 2 * pole  # a row and the one across the pole add up to this
        if abs(across - round(across)) > _WHOLE or not -1 <= pole <= ny:
            continue
        low = pole < ny / 2
        beyond = np.arange(-_PAD, 0) if low else np.arange(ny, ny + _PAD)
        seen = round(across) - beyond
        seen = seen[(seen >= 0) & (seen < ny)]
        if low and round(across) - (-1) == seen[-1:]:
            rows = np.concatenate([seen, rows])
            turned = np.concatenate([np.ones(seen.size, np.bool_), turned])
        elif not low and round(across) - ny == seen[:1]:
            rows = np.concatenate([rows, seen])
            turned = np.concatenate([turned, np.ones(seen.size, np.bool_)])
    return rows, turned


def _reprojected(
    placed: _Placed, nside: int, nest: bool, frame: str, order: int
) -> NDArray[np.float64]:
    """Interpolate an image at the centres of HEALPix pixels; NaN where a pixel used is missing."""
    from reproject import reproject_to_healpix  # takes a second to load

    system = SkyCoord(0, 0, unit="deg", frame=frame).frame.replicate_without_data()
    where = {"nside": nside, "nested": nest}

    def at_centres(values: NDArray[np.float64], order: int) -> NDArray[np.float64]:
        with warnings.catch_warnings():  # directions that the projection cannot show
            warnings.simplefilter("ignore")
            found, _ = reproject_to_healpix((values, placed.wcs), system, order=order, **where)
        return np.asarray(found, np.float64)

    gaps = np.isnan(placed.values)
    if order < 3:
        return at_centres(placed.values, order)
    from scipy import ndimage

    # A spline takes in every pixel, so that one NaN would make all of them NaN.
    nearest = ndimage.distance_transform_edt(gaps, return_distances=False, return_indices=True)
    values = at_centres(placed.values[tuple(nearest)], order)
    # The cubic polynomial between four pixels has the coefficients of the sixteen around them.
    near = ndimage.binary_dilation(gaps, np.ones((3, 3)))
    return np.where(np.isnan(at_centres(np.where(near, np.nan, 0.0), 1)), np.nan, values)
