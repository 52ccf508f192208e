"""Q and U of images on HEALPix: a known tensor field comes back in the axes of the map."""

import healpy as hp
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from skyfill.maps.wcs import FRAMES, sky_wcs, turn_to_sky
from skyfill.tiling import paste_image, paste_image_pol

NSIDE = 32
_RANDOM = np.random.default_rng(7)
#: M(n) = A + B (k n) in the axes of the image's frame: spin-2 harmonics of ell = 2, 3 and 4 alone.
A, B = ((m + m.T) / 2 for m in _RANDOM.normal(size=(2, 3, 3)))
K = np.array([0.3, -0.8, 0.5])


def directions(lon, lat):
    lon, lat = np.radians(lon), np.radians(lat)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def pattern(n, north, east):
    """Q and U (IAU) at directions with these unit vectors, all in the axes of the image's frame."""
    tensor = A + B * (n @ K)[..., None, None]
    along = np.einsum("...i,...ij,...j", north, tensor, north)
    across = np.einsum("...i,...ij,...j", east, tensor, east)
    both = np.einsum("...i,...ij,...j", north, tensor, east)
    return (along - across) / 2, both


def meridians(lon, lat):
    """Unit vectors to north and to east."""
    lon, lat = np.radians(lon), np.radians(lat)
    zero = np.zeros_like(lon)
    north = [-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)]
    return np.stack(north, axis=-1), np.stack([-np.sin(lon), np.cos(lon), zero], axis=-1)


def truth(wcs, coord):
    """Q and U (IAU) of a HEALPix map in a frame."""
    lonlat = hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2), lonlat=True)
    turn = np.eye(3) if wcs.wcs.ctype[0] == "ELON-CAR" else turn_to_sky(sky_wcs(wcs), coord)
    return pattern(*(v @ turn.T for v in (directions(*lonlat), *meridians(*lonlat))))


def wcs_of(projection, shape, *, axes="RA---,DEC--", step=1.0, crval=(0.0, 0.0), rotated=0.0):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [name + projection for name in axes.split(",")]
    wcs.wcs.cdelt, wcs.wcs.crval = [-step, step], crval
    wcs.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
    c, s = np.cos(np.radians(rotated)), np.sin(np.radians(rotated))
    wcs.wcs.pc = [[c, -s], [s, c]]
    return wcs


def images_of(wcs, shape):
    y, x = np.indices(shape)
    own = wcs.deepcopy()
    own.wcs.bounds_check(False, False)
    lon, lat = own.wcs_pix2world(x.ravel(), y.ravel(), 0)
    found = pattern(directions(lon, lat), *meridians(lon, lat))
    return [each.reshape(shape) for each in found]


@pytest.mark.parametrize("coord", ["C", "G"])
@pytest.mark.parametrize(
    ("projection", "shape", "where"),
    [
        ("CAR", (180, 360), {}),  # rows end at the poles
        ("CAR", (181, 360), {"crval": (50.0, 0.0)}),  # the first and the last row are poles
        ("CAR", (180, 360), {"axes": "GLON-,GLAT-"}),
        ("TAN", (60, 60), {"crval": (30.0, -20.0)}),
        ("ZEA", (70, 70), {"crval": (0.0, -90.0)}),  # the pole in the middle, meridians all around
        ("ZEA", (70, 70), {"crval": (120.0, 75.0), "rotated": 35.0}),  # columns off the meridian
    ],
)
def test_a_field_of_spin_2_comes_back_in_the_axes_of_the_map(projection, shape, where, coord):
    wcs = wcs_of(projection, shape, **where)
    q, u = images_of(wcs, shape)
    (found_q, found_u), footprint = paste_image_pol(
        q, u, wcs, nside=NSIDE, coord=coord, polcconv="IAU"
    )
    assert footprint.sum() > 600
    assert footprint.all() == (projection == "CAR")
    atol = 2e-4 if projection == "CAR" else 1e-3  # a spline ends at the border of an image
    for found, true in zip((found_q, -found_u), truth(wcs, coord), strict=True):
        np.testing.assert_allclose(found[footprint], true[footprint], atol=atol)
        assert np.isnan(found[~footprint]).all()


def test_the_axes_of_one_frame_are_wrong_in_another():
    """What `paste_image` would give: the turn is large, and not seen in the numbers."""
    wcs = wcs_of("CAR", (180, 360))
    q, _ = images_of(wcs, (180, 360))
    plain, _ = paste_image(q, wcs, nside=NSIDE, coord="G")
    assert np.sqrt(np.mean((plain - truth(wcs, "G")[0]) ** 2)) > 0.5 * np.std(q)


def test_axes_of_the_columns_are_those_of_a_flat_map():
    """A constant Q along the columns of a rotated image is the turn of its columns."""
    shape = (41, 41)
    wcs = wcs_of("TAN", shape, crval=(80.0, 30.0), rotated=25.0)
    one, nothing = np.ones(shape), np.zeros(shape)
    given = {"nside": NSIDE, "coord": "C", "polcconv": "COSMO"}
    (q, u), footprint = paste_image_pol(one, nothing, wcs, axes="image", **given)
    middle = hp.ang2pix(NSIDE, 80.0, 30.0, lonlat=True)
    assert footprint[middle]
    lon, lat = (own[0] for own in hp.pix2ang(NSIDE, np.array([middle]), lonlat=True))
    x, y = wcs.wcs_world2pix(lon, lat, 0)
    ahead = SkyCoord(*wcs.wcs_pix2world(x, y + 0.1, 0), unit="deg")
    angle = SkyCoord(lon, lat, unit="deg").position_angle(ahead).rad
    np.testing.assert_allclose(
        [q[middle], -u[middle]], [np.cos(2 * angle), np.sin(2 * angle)], atol=1e-4
    )
    same, _ = paste_image_pol(one, nothing, wcs, axes="sky", **given)
    assert abs(same[0][middle] - q[middle]) > 0.1


def test_the_sign_of_u_and_what_is_missing():
    wcs = wcs_of("CAR", (180, 360))
    q, u = images_of(wcs, (180, 360))
    given = {"nside": NSIDE, "coord": "C"}
    iau, _ = paste_image_pol(q, u, wcs, polcconv="IAU", **given)
    cosmo, _ = paste_image_pol(q, -u, wcs, polcconv="COSMO", **given)
    np.testing.assert_array_equal(iau, cosmo)
    header = wcs.to_header()
    header["POLCCONV"] = "IAU"
    files = [fits.ImageHDU(each, header) for each in (q, u)]
    np.testing.assert_array_equal(paste_image_pol(*files, **given)[0], iau)
    np.testing.assert_array_equal(
        paste_image_pol(q, u, wcs, polcconv="IAU", nest=True, **given)[0],
        [hp.reorder(each, r2n=True) for each in iau],
    )
    u[90, 200] = np.nan
    holed, footprint = paste_image_pol(q, u, wcs, polcconv="IAU", **given)
    assert np.isnan(holed[:, ~footprint]).all()
    assert 0 < (~footprint).sum() < 30


def test_ecliptic_images_keep_the_axes_of_ecliptic_maps():
    wcs = wcs_of("CAR", (180, 360), axes="ELON-,ELAT-")
    found, footprint = paste_image_pol(
        *images_of(wcs, (180, 360)), wcs, nside=NSIDE, coord="E", polcconv="IAU"
    )
    assert footprint.all()
    q, u = truth(wcs, "E")
    np.testing.assert_allclose(found, [q, -u], atol=2e-4)
    assert FRAMES["E"]  # astropy does not turn such axes, so other frames are refused
    with pytest.raises(ValueError, match="ecliptic axes"):
        paste_image_pol(*images_of(wcs, (180, 360)), wcs, nside=NSIDE, coord="G", polcconv="IAU")


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({}, r"sign of U is not known \(the header has no card POLCCONV\); pass `polcconv='IAU'`"),
        ({"polcconv": "HEALPIX"}, "it is 'HEALPIX'"),
        ({"polcconv": "IAU", "axes": "pixel"}, "axes must be sky or image, got 'pixel'"),
        ({"polcconv": "IAU", "u": np.zeros((9, 8))}, "one shape"),
    ],
)
def test_what_is_not_known_is_refused(given, error):
    words = {"q": np.zeros((9, 9)), "u": np.zeros((9, 9)), "wcs": wcs_of("TAN", (9, 9)), "nside": 8}
    with pytest.raises(ValueError, match=error):
        paste_image_pol(**words | given)


@pytest.mark.parametrize(("number", "letter"), [(1, None), (2, "Q"), (3, "U")])
def test_an_image_that_says_it_is_q_or_u_is_not_pasted_alone(number, letter):
    header = wcs_of("CAR", (180, 360)).to_header()
    header["NAXIS"], header["CTYPE3"], header["CRVAL3"] = 3, "STOKES", float(number)
    header["CRPIX3"], header["CDELT3"], header["WCSAXES"] = 1.0, 1.0, 3
    plane = fits.ImageHDU(np.ones((1, 180, 360)), header)
    if letter is None:
        assert paste_image(plane, nside=8 * 4)[1].all()
        return
    with pytest.raises(ValueError, match=f"Stokes {letter}.*paste_image_pol"):
        paste_image(plane, nside=NSIDE)
