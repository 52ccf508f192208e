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

from skyfill.healpix import pixel_directions
from skyfill.healpix.checks import check_nside
from skyfill.holes.weights import frame_letter
from skyfill.lazy import needs
from skyfill.maps.table import missing
from skyfill.maps.wcs import FRAMES, columns_of_a_turn, frame_of_axes, sky_wcs, turn_to_sky

__all__ = ["paste_image", "paste_image_pol"]

#: Columns beyond either end of a sphere, and rows beyond a pole, that are copied from the other
#: side: the weights of a cubic spline fall by 3.7 a pixel, here to 1e-7.
_PAD = 12
#: Largest difference of a turn from a whole number of columns that counts as rounding of CDELT.
_WHOLE = 0.01
#: Half the step along a column that gives its direction on the sky, pixels.
_STEP = 0.05
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
    pixels and correlates it. Q and U are for `paste_image_pol`, which turns them into the axes of
    the map.

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
        valid; or the header says that it is Q or U.
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
    nside, placed = check_nside(nside), _placed(image, wcs)
    letter = _stokes_of(image if wcs is None else wcs)
    if letter in ("Q", "U"):
        raise ValueError(
            f"the header says that the image is Stokes {letter}, whose axes turn with the map's;"
            " paste Q and U together with paste_image_pol"
        )
    values = _pasted(placed, nside, nest, coord, order)
    return values, ~np.isnan(values)


def _pasted(placed: _Placed, nside: int, nest: bool, coord: str, order: int) -> NDArray[np.float64]:
    """Interpolate an image at the centres of HEALPix pixels, with what lies around its ends."""
    frame = FRAMES[frame_letter(coord)]
    if order not in {0, 1, 3}:
        raise ValueError(f"order must be 3 (cubic), 1 (bilinear) or 0 (nearest), got {order}")
    if _is_ecliptic(placed):
        placed, frame = _renamed(placed, coord), FRAMES["C"]
    needs("reproject")
    _warn_of_coarse(placed, nside)
    values = np.full(12 * nside**2, np.nan)
    for part in _around(placed):
        found = _reprojected(_framed(part), nside, nest, frame, order)
        values = np.where(np.isnan(values), found, values)
    return values


def paste_image_pol(
    q: Any,  # noqa: ANN401 (an HDU of astropy, or an array)
    u: Any,  # noqa: ANN401
    wcs: Any = None,  # noqa: ANN401 (a WCS or a header of astropy)
    *,
    nside: int,
    polcconv: str | None = None,
    axes: str = "sky",
    nest: bool = False,
    coord: str = "G",
    order: int = 3,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Paste images of Q and U with a WCS onto HEALPix, in the axes of the HEALPix map.

    Q + iU of the image is turned into the axes along its columns, where it is as smooth as the
    sky, interpolated as by `paste_image`, and turned into the meridians of the map's frame.

    Parameters
    ----------
    q, u
        Image HDUs of astropy, or ``(ny, nx)`` each in any unit; NaN, inf and UNSEEN are missing. A
        pixel without Q or without U is missing in both.
    wcs
        As for `paste_image`.
    nside, nest, coord, order
        As for `paste_image`.
    polcconv
        Sign of U in the image: ``IAU`` (angles from north through east) or ``COSMO``; that of the
        header card POLCCONV if None.
    axes
        What Q and U of the image refer to: ``sky``, the meridian of the image's frame at each
        pixel, as in files of ACT and SO; ``image``, its columns, upwards, as in flat maps. Angles
        grow to the east in both.

    Returns
    -------
    values
        ``(2, npix)``, Q and U in the unit of the image, U with the sign of HEALPix (COSMO); NaN as
        for `paste_image`.
    footprint
        ``(npix,)``, true where there is a value.

    Raises
    ------
    ValueError
        As for `paste_image`; or Q and U have two shapes, or neither ``polcconv`` nor the header
        says the sign of U.
    MissingExtraError
        reproject is not installed.

    Examples
    --------
    >>> import numpy as np, skyfill
    >>> from astropy.wcs import WCS
    >>> wcs = WCS(naxis=2)
    >>> wcs.wcs.ctype, wcs.wcs.cdelt = ["RA---CAR", "DEC--CAR"], [-1.0, 1.0]
    >>> wcs.wcs.crpix = [180.5, 90.5]
    >>> q = np.cos(np.radians(np.arange(-89.5, 90)))[:, np.newaxis] ** 2 * np.ones(360)
    >>> both, _ = skyfill.tiling.paste_image_pol(
    ...     q, 0 * q, wcs, nside=32, polcconv="COSMO", coord="G"
    ... )
    >>> bool(np.abs(both[1]).max() > 0.9)  # Q of one frame is U of another
    True

    """
    nside, coord = check_nside(nside), frame_letter(coord)
    if axes not in ("sky", "image"):
        raise ValueError(f"axes must be sky or image, got {axes!r}")
    iau = _sign_of_u(q if wcs is None else wcs, polcconv)
    one, other = _placed(q, wcs), _placed(u, wcs if wcs is not None or hasattr(u, "header") else q)
    if one.values.shape != other.values.shape:
        raise ValueError(
            f"Q and U must have one shape, got {one.values.shape} and {other.values.shape}"
        )
    both = one.values + 1j * iau * other.values  # Q + iU with the sign of IAU
    if axes == "sky":
        rows, columns = np.indices(both.shape)
        north = _up(one.wcs, columns.ravel(), rows.ravel(), np.eye(3)).reshape(both.shape)
        both = both * north.conj()
    gaps = np.isnan(both)
    found = 1j * _pasted(
        _Placed(np.where(gaps, np.nan, both.imag), one.wcs), nside, nest, coord, order
    )
    found += _pasted(_Placed(np.where(gaps, np.nan, both.real), one.wcs), nside, nest, coord, order)
    there = np.flatnonzero(~np.isnan(found))
    turn = np.eye(3) if _is_ecliptic(one) else turn_to_sky(one.wcs, coord)
    x, y = _pixels_of(one.wcs, pixel_directions(nside, there, nest=nest) @ turn.T)
    found[there] *= _up(one.wcs, x, y, turn)
    return np.stack([found.real, -found.imag]), ~np.isnan(found)


def _stokes_of(header: Any) -> str | None:  # noqa: ANN401 (an HDU, a header or a WCS of astropy)
    """Return the Stokes parameter of an image of one plane, by the axis STOKES of its header."""
    header = getattr(header, "header", header)
    if isinstance(header, WCS):
        return None
    for axis in range(3, int(header.get("NAXIS", 0)) + 1):
        if str(header.get(f"CTYPE{axis}", "")).strip() == "STOKES":
            step = (1 - header.get(f"CRPIX{axis}", 1)) * header.get(f"CDELT{axis}", 1)
            return {2: "Q", 3: "U"}.get(round(header.get(f"CRVAL{axis}", 0) + step))
    return None


def _sign_of_u(header: Any, given: str | None) -> int:  # noqa: ANN401
    """Return the factor that gives U the sign of IAU, from what is given or in a header."""
    header = getattr(header, "header", header)
    said = given
    if said is None and not isinstance(header, WCS) and hasattr(header, "get"):
        said = header.get("POLCCONV")
    convention = str(said or "").strip().upper()
    if convention not in ("IAU", "COSMO"):
        missing_card = "the header has no card POLCCONV" if said is None else f"it is {said!r}"
        raise ValueError(
            f"the sign of U is not known ({missing_card}); pass `polcconv='IAU'` or"
            " `polcconv='COSMO'`"
        )
    return 1 if convention == "IAU" else -1


def _is_ecliptic(placed: _Placed) -> bool:
    """Tell whether an image has ecliptic axes."""
    return str(placed.wcs.wcs.ctype[placed.wcs.wcs.lng]).startswith("ELON")


def _directions(wcs: WCS, x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
    """Return the directions of pixels in the frame of the image, ``(n, 3)``."""
    own = wcs.deepcopy()
    own.wcs.bounds_check(False, False)  # a step beyond a pole is wanted
    world = own.wcs_pix2world(np.ravel(x), np.ravel(y), 0)
    lon, lat = (np.radians(world[axis]) for axis in (wcs.wcs.lng, wcs.wcs.lat))
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)


def _pixels_of(
    wcs: WCS, directions: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the columns and rows of directions, ``(n, 3)`` in the frame of the image."""
    lon = np.degrees(np.arctan2(directions[:, 1], directions[:, 0]))
    lat = np.degrees(np.arcsin(np.clip(directions[:, 2], -1, 1)))
    world = [lon, lat] if wcs.wcs.lng == 0 else [lat, lon]
    x, y = wcs.wcs_world2pix(*world, 0)
    return x, y


def _up(wcs: WCS, x: ArrayLike, y: ArrayLike, turn: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Return exp 2iψ, ψ the angle of an image's columns, upwards, from a map's north through east.

    It turns Q + iU (IAU) of the image's columns into the map's axes; NaN where the projection shows
    no sky. ``turn`` is that of `turn_to_sky`.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    ahead = (_directions(wcs, x, y + _STEP) - _directions(wcs, x, y - _STEP)) @ turn
    n = _directions(wcs, x, y) @ turn
    # East and north at n, times the sine of its distance from the pole.
    east = ahead[:, 1] * n[:, 0] - ahead[:, 0] * n[:, 1]
    north = ahead[:, 2] * (n[:, 0] ** 2 + n[:, 1] ** 2) - n[:, 2] * (
        ahead[:, 0] * n[:, 0] + ahead[:, 1] * n[:, 1]
    )
    along = north + 1j * east
    size = np.abs(along)
    return np.asarray(np.where(size > 0, along / np.where(size > 0, size, 1.0), 1.0) ** 2)


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
            stacklevel=4,
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
