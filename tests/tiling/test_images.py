"""Images on HEALPix: a smooth sky, evaluated exactly, comes back from every place in an image."""

import sys

import healpy as hp
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from reproject import reproject_to_healpix
from scipy.special import sph_harm_y

from skyfill.tiling import paste_image

NSIDE = 32
LMAX = 12
EVERYWHERE = hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2), lonlat=True)
_RANDOM = np.random.default_rng(4)
MODES = [(ell, m, _RANDOM.normal() / (ell + 1)) for ell in range(LMAX + 1) for m in range(ell + 1)]


def sky(lon, lat):
    """A band-limited sky at longitudes and latitudes in degrees."""
    theta, phi = np.radians(90 - lat), np.radians(lon)
    return sum(factor * sph_harm_y(ell, m, theta, phi).real for ell, m, factor in MODES)


def wcs_of(projection, shape, *, step=1.0, crval=0.0, crpix=None):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"RA---{projection}", f"DEC--{projection}"]
    wcs.wcs.cdelt, wcs.wcs.crval = [-step, step], [crval, 0.0]
    wcs.wcs.crpix = crpix or [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
    return wcs


def image_of(wcs, shape):
    y, x = np.indices(shape)
    own = wcs.deepcopy()
    own.wcs.bounds_check(False, False)
    return sky(*own.wcs_pix2world(x.ravel(), y.ravel(), 0)).reshape(shape)


def truth(coord):
    if coord == "C":
        return sky(*EVERYWHERE)
    there = SkyCoord(*EVERYWHERE, unit="deg", frame="galactic").icrs
    return sky(there.ra.deg, there.dec.deg)


@pytest.mark.parametrize("coord", ["C", "G"])
@pytest.mark.parametrize(
    ("shape", "where"),
    [
        ((180, 360), {}),  # rows end at the poles
        ((181, 360), {}),  # the first and the last row are poles
        ((181, 361), {}),  # the last column is the first
        ((180, 360), {"crpix": [1, 90.5]}),  # begins at CRVAL1
        ((180, 360), {"crval": 200.0, "crpix": [-130, 90.5]}),  # the reference is outside
    ],
)
def test_a_whole_sky_in_car_comes_back_from_wherever_it_begins(shape, where, coord):
    wcs = wcs_of("CAR", shape, **where)
    values, footprint = paste_image(image_of(wcs, shape), wcs, nside=NSIDE, coord=coord)
    assert footprint.all()
    np.testing.assert_allclose(values, truth(coord), atol=2e-6)


@pytest.mark.parametrize(
    ("projection", "shape", "where"),
    [
        ("CAR", (40, 200), {"crpix": [250, 20.5]}),  # a band across 180 degrees from CRVAL1
        ("CAR", (178, 359), {"step": 360 / 359.5, "crpix": [3, 90.5]}),  # no whole turn
        ("CEA", (100, 360), {"crpix": [1, 50.5]}),
        ("TAN", (60, 60), {}),
        ("AIT", (80, 160), {}),
    ],
)
def test_what_an_image_reaches_is_right_and_the_rest_is_missing(projection, shape, where):
    wcs = wcs_of(projection, shape, **where)
    values, footprint = paste_image(image_of(wcs, shape), wcs, nside=NSIDE, coord="C", order=1)
    assert np.isnan(values[~footprint]).all()
    np.testing.assert_allclose(values[footprint], truth("C")[footprint], atol=0.02)
    x, y = wcs.wcs_world2pix(*EVERYWHERE, 0)
    inside = (x >= 0) & (x <= shape[1] - 1) & (y >= 0) & (y <= shape[0] - 1)
    assert footprint[inside].all()
    assert footprint.sum() >= inside.sum() > 30
    if projection in ("TAN", "AIT"):  # nothing wraps, and the far side of the sky is not shown
        np.testing.assert_array_equal(footprint, inside)


def test_where_nothing_wraps_it_is_reproject():
    wcs = wcs_of("ZEA", (50, 50))
    image = image_of(wcs, (50, 50))
    values, footprint = paste_image(image, wcs.to_header(), nside=NSIDE, nest=True, order=1)
    other, _ = reproject_to_healpix(
        (image, wcs), "galactic", nside=NSIDE, nested=True, order="bilinear"
    )
    np.testing.assert_allclose(values[footprint], other[footprint], atol=1e-12)
    assert footprint.sum() > 200


@pytest.mark.parametrize(("axes", "coord"), [("GLON GLAT", "G"), ("ELON ELAT", "E")])
def test_an_image_and_a_map_of_one_frame_are_not_turned(axes, coord):
    wcs = wcs_of("CAR", (180, 360), crpix=[1, 90.5])
    image = image_of(wcs, (180, 360))
    lon, lat = axes.split()
    wcs.wcs.ctype = [f"{lon}-CAR", f"{lat}-CAR"]
    values, _ = paste_image(image, wcs, nside=NSIDE, coord=coord)
    np.testing.assert_allclose(values, truth("C"), atol=2e-6)
    if coord == "E":  # astropy would take the axes for equatorial ones
        with pytest.raises(ValueError, match="the image has ecliptic axes"):
            paste_image(image, wcs, nside=NSIDE, coord="C")
    wcs.wcs.ctype = ["SLON-CAR", "SLAT-CAR"]
    with pytest.raises(ValueError, match="SLON-CAR and SLAT-CAR are not known"):
        paste_image(image, wcs, nside=NSIDE, coord=coord)


@pytest.mark.parametrize("order", [1, 3])
def test_missing_pixels_spoil_their_surroundings_and_nothing_else(order):
    wcs = wcs_of("CAR", (180, 360))
    image = image_of(wcs, (180, 360))
    whole, _ = paste_image(image, wcs, nside=NSIDE, coord="C", order=order)
    image[60, 100], image[61, 100], image[120, 5] = np.nan, np.inf, hp.UNSEEN
    values, footprint = paste_image(
        fits.ImageHDU(image, wcs.to_header()), nside=NSIDE, coord="C", order=order
    )
    x, y = wcs.wcs_world2pix(*EVERYWHERE, 0)
    x %= 360
    reach = (order + 1) / 2
    near = [
        (np.abs(x - column) < reach) & (np.abs(y - row) < reach)
        for row, column in ((60, 100), (61, 100), (120, 5))
    ]
    np.testing.assert_array_equal(~footprint, np.any(near, axis=0))
    assert (~footprint).any()
    np.testing.assert_allclose(values[footprint], whole[footprint], atol=0.02)


def test_an_image_finer_than_the_map_is_said():
    wcs = wcs_of("CAR", (360, 720), step=0.5)
    with pytest.warns(UserWarning, match=r"Nside 8 are 14\.7 times as wide .* larger `nside`"):
        paste_image(image_of(wcs, (360, 720)), wcs, nside=8)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"image": np.full((9, 9), np.nan)}, "no finite value"),
        ({"image": np.zeros((2, 9, 9))}, r"must be \(ny, nx\), one plane of a cube"),
        ({"wcs": None}, "no header with a WCS"),
        ({"wcs": WCS(naxis=2)}, "no two axes of the sky"),
        ({"nside": 9}, "power of two"),
        ({"coord": "X"}, "no frame is called 'X'"),
        ({"order": 2}, r"order must be 3 \(cubic\)"),
        ({"image": fits.PrimaryHDU(), "wcs": None}, "an HDU without data"),
    ],
)
def test_what_is_no_image_of_the_sky_is_refused(given, error):
    words = {"image": np.zeros((9, 9)), "wcs": wcs_of("CAR", (9, 9)), "nside": 8} | given
    with pytest.raises(ValueError, match=error):
        paste_image(**words)


def test_without_reproject_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "reproject", None)
    with pytest.raises(ImportError, match=r"pip install 'skyfill\[images\]'"):
        paste_image(np.zeros((9, 9)), wcs_of("CAR", (9, 9)), nside=8)
