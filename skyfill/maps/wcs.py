"""The WCS of an image: its two axes of the sky, and where its columns repeat."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from astropy.coordinates import CartesianRepresentation, SkyCoord
from astropy.wcs import WCS
from astropy.wcs.utils import wcs_to_celestial_frame
from numpy.typing import NDArray

__all__ = ["FRAMES", "columns_of_a_turn", "frame_of_axes", "sky_wcs", "turn_to_sky"]

#: Projections whose columns are equally far apart in longitude, so that an image can go around.
_CYLINDERS = ("CAR", "CEA", "CYP", "MER")
FRAMES = {"G": "galactic", "C": "icrs", "E": "barycentricmeanecliptic"}
"""Names of the frames in astropy. That of ecliptic maps is the one of healpy and of catalogues."""


def sky_wcs(wcs: Any) -> WCS:  # noqa: ANN401 (a WCS or a header of astropy)
    """Return the two axes of the sky of a WCS or of a FITS header.

    CAR is not cut at 180 degrees from CRVAL1, since images that reach beyond show sky there, too.

    Raises
    ------
    ValueError
        It has no such axes, or distortions (SIP, lookup tables).
    """
    with warnings.catch_warnings():  # old headers are tidied
        warnings.simplefilter("ignore")
        own = wcs if isinstance(wcs, WCS) else WCS(wcs)
        sky = own.celestial
    if sky.naxis != 2:
        raise ValueError("the WCS has no two axes of the sky (CTYPE of RA and DEC, GLON and GLAT)")
    if own.has_distortion:
        raise ValueError(
            "the WCS has distortions (SIP, lookup tables), which are not read; reproject"
            " the image to a WCS without"
        )
    sky = sky.deepcopy()
    # directions that a projection cannot show, such as the far side of TAN, stay out of the image
    sky.wcs.bounds_check(False, True)
    return sky


def frame_of_axes(wcs: WCS) -> Any:  # noqa: ANN401 (a frame of astropy)
    """Return the frame of an image in astropy.

    astropy takes ecliptic axes for ICRS, and other axes that it does not know as well.

    Raises
    ------
    ValueError
        The axes are neither equatorial, Galactic nor ecliptic.
    """
    axes = wcs.wcs.ctype[wcs.wcs.lng][:4]
    if axes == "ELON":
        return SkyCoord(0, 0, unit="deg", frame=FRAMES["E"]).frame.replicate_without_data()
    if axes not in ("RA--", "GLON"):
        raise ValueError(
            f"the axes {' and '.join(wcs.wcs.ctype)} are not known; RA and DEC, GLON and GLAT, ELON"
            " and ELAT are"
        )
    return wcs_to_celestial_frame(wcs)


def columns_of_a_turn(wcs: WCS) -> float | None:
    """Count the columns of 360 degrees of native longitude; None if columns are no meridians."""
    scale = wcs.pixel_scale_matrix
    projection = wcs.wcs.ctype[0][-3:]
    if wcs.wcs.lng != 0 or projection not in _CYLINDERS:
        return None
    if scale[0, 1] or scale[1, 0] or not scale[0, 0]:
        return None
    # x of CYP is the longitude times its second parameter
    stretch = {m: value for i, m, value in wcs.wcs.get_pv() if i == 2}.get(2, 1.0)
    return float(abs(360.0 * (stretch if projection == "CYP" else 1.0) / scale[0, 0]))


def turn_to_sky(wcs: WCS, coord: str) -> NDArray[np.float64]:
    """Return the rotation, ``(3, 3)``, from directions in the frame of a map to those of an image.

    Parameters
    ----------
    wcs
        From `sky_wcs`.
    coord
        Frame of the map: G, C or E.

    Raises
    ------
    ValueError
        The frame of the image is not known.
    """
    axes = SkyCoord(
        CartesianRepresentation(np.eye(3)), frame=FRAMES[coord], representation_type="cartesian"
    )
    there = axes.transform_to(frame_of_axes(wcs))
    return np.asarray(there.cartesian.xyz.to_value())
