"""Masks brought to other pixels: nothing masked is lost, and holes grow by little."""

import healpy as hp
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from reproject import reproject_to_healpix
from skyfill.masks import reproject_mask

import skyfill

TURN = hp.Rotator(coord=["C", "G"])


def car(step, shape, crpix=None):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cdelt = ["RA---CAR", "DEC--CAR"], [-step, step]
    wcs.wcs.crpix = crpix or [1, (shape[0] + 1) / 2]
    return wcs


def corners(nside, pixels, step=3):
    """Points on the borders of pixels, drawn in a little: as far from their centres as can be."""
    edge = np.concatenate([hp.boundaries(nside, int(p), step=step).T for p in pixels])
    centre = np.repeat(np.stack(hp.pix2vec(nside, pixels), axis=1), 4 * step, axis=0)
    return centre + 0.7 * (edge - centre)


@given(
    old=st.sampled_from([8, 16, 32, 64]),
    lon=st.floats(0, 6.28),
    lat=st.floats(-1.57, 1.57),
    radius=st.floats(0.0, 0.6),
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_a_point_of_an_observed_pixel_is_observed_in_the_other_frame(old, lon, lat, radius):
    mask = skyfill.discs(old, [lon], [lat], [radius])
    there = reproject_mask(mask, 16, "G", frame="C")
    seen = np.flatnonzero(there)
    back = TURN.mat.T @ corners(16, seen[:: max(1, seen.size // 200)]).T
    assert mask[hp.vec2pix(old, *back)].all()
    near = skyfill.discs(16, *_turned(lon, lat), [radius + 0.12 + 1.6 / old])
    assert there[near].all()  # far from the hole nothing is lost


def _turned(lon, lat):
    theta, phi = TURN(np.pi / 2 - lat, lon)
    return [phi], [np.pi / 2 - theta]


def test_in_one_frame_it_is_a_change_of_nside():
    mask = skyfill.discs(64, [1.0, 4.0], [0.5, -1.0], [0.3, 0.01])
    for nside in (16, 64, 128):
        np.testing.assert_array_equal(
            reproject_mask(mask, nside, "E", frame="E"), skyfill.regrade_mask(mask, nside)
        )


def test_a_hole_of_one_pixel_survives_a_map_of_far_larger_pixels():
    mask = np.ones(12 * 256**2, bool)
    mask[123456] = False
    assert (~reproject_mask(mask, 16, "G", frame="C")).sum() in (1, 2, 3)
    image = np.ones((720, 1440), bool)
    image[400, 7] = False
    assert (~reproject_mask(image, 16, "E", wcs=car(0.25, image.shape))).sum() in (1, 2, 3)


@pytest.mark.parametrize("coord", ["C", "G"])
@pytest.mark.parametrize("step", [0.5, 4.0])
def test_an_image_masks_at_least_what_reproject_masks(step, coord):
    shape = (round(180 / step), round(360 / step))
    image = np.ones(shape, bool)
    image[shape[0] // 3 :, : shape[1] // 5] = False
    wcs = car(step, shape, crpix=[shape[1] / 2, (shape[0] + 1) / 2])
    seen = reproject_mask(image.astype(np.uint8), 32, coord, wcs=wcs.to_header())
    frame = SkyCoord(0, 0, unit="deg", frame={"C": "icrs", "G": "galactic"}[coord]).frame
    other, _ = reproject_to_healpix(
        (image.astype(float), wcs),
        frame.replicate_without_data(),
        nside=32,
        order="nearest-neighbor",
    )
    masked = other == 0  # NaN at the seam of the image, which reproject does not close
    assert not seen[masked].any()
    grown = skyfill.grow(~masked, np.radians(1.5 * 1.83 + step))
    assert seen[grown & np.isfinite(other)].all()


def test_the_sky_beyond_an_image_is_unobserved_and_its_seam_is_none():
    band = np.ones((40, 360), bool)
    seen = reproject_mask(band, 32, "C", wcs=car(1.0, band.shape, crpix=[100, 20.5]))
    _, lat = hp.pix2ang(32, np.arange(seen.size), lonlat=True)
    assert seen[np.abs(lat) < 18].all()
    assert not seen[np.abs(lat) > 20].any()
    # a patch across 180 degrees from CRVAL1
    patch = np.ones((20, 20), bool)
    seen = reproject_mask(patch, 32, "C", wcs=car(1.0, patch.shape, crpix=[190, 10.5]))
    lon, _ = hp.pix2ang(32, np.flatnonzero(seen), lonlat=True)
    assert 50 < seen.sum() < 400 * 0.3
    assert lon.min() > 160
    assert lon.max() < 200


@pytest.mark.parametrize("projection", ["TAN", "SIN", "ZEA", "ARC"])
def test_the_far_side_of_the_sky_is_not_in_the_image(projection):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cdelt = [f"RA---{projection}", f"DEC--{projection}"], [-1.0, 1.0]
    wcs.wcs.crpix = [30.5, 30.5]
    seen = reproject_mask(np.ones((60, 60), bool), 32, "C", wcs=wcs)
    x, _, _ = hp.pix2vec(32, np.flatnonzero(seen))
    assert 600 < seen.sum() < 1200  # 60° x 60° are 1070 pixels
    assert x.min() > 0.6


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ({}, "give `frame` for a HEALPix mask, or wcs for an image"),
        ({"frame": "C", "wcs": car(1.0, (9, 9))}, "one of them"),
        ({"frame": "moon"}, "no frame is called 'moon'"),
        ({"frame": "C", "nside": 12}, "power of two"),
        ({"frame": "C", "observed": np.full(3072, 0.5)}, "between 0 and 1|apodised"),
        ({"wcs": car(1.0, (9, 9)), "observed": np.full((9, 9), 0.5)}, "not a mask of 0 and 1"),
        ({"wcs": car(1.0, (9, 9)), "observed": np.ones(9)}, r"must be \(ny, nx\)"),
        ({"wcs": WCS(naxis=2), "observed": np.ones((9, 9))}, "no two axes of the sky"),
    ],
)
def test_what_does_not_fit_is_refused(words, error):
    given = {"observed": np.ones(3072), "nside": 16, "coord": "G"} | words
    with pytest.raises(ValueError, match=error):
        reproject_mask(**given)


@pytest.fixture
def files(tmp_path):
    mask = skyfill.discs(32, [1.0], [0.5], [0.2])
    skyfill.write_map(tmp_path / "c.fits", mask, unit="", dtype="uint8", coord="C")
    skyfill.write_map(tmp_path / "none.fits", mask, unit="", dtype="uint8", coord=None)
    skyfill.write_map(tmp_path / "map.fits", np.arange(3072.0), coord="G")
    skyfill.write_map(tmp_path / "silent.fits", np.arange(3072.0), coord=None)
    image = np.ones((90, 180), np.float32)
    image[40:50, 3:9] = np.nan
    image[20:30, 70:80] = 0
    fits.PrimaryHDU(image, car(2.0, image.shape).to_header()).writeto(tmp_path / "car.fits")
    return tmp_path


def test_read_mask_brings_a_file_to_a_map(files):
    mask = skyfill.read_mask(files / "c.fits")
    sky = skyfill.read_map(files / "map.fits")
    read = skyfill.read_mask
    there = read(files / "c.fits", like=sky, reproject=True)
    np.testing.assert_array_equal(there, reproject_mask(mask, 16, "G", frame="C"))
    np.testing.assert_array_equal(
        there, read(files / "c.fits", like=files / "map.fits", reproject=True)
    )
    # a file that names no frame has the map's
    silent = read(files / "none.fits", like=sky, reproject=True)
    np.testing.assert_array_equal(silent, skyfill.regrade_mask(mask, 16))
    framed = read(files / "none.fits", frame="C", like=sky, reproject=True)
    np.testing.assert_array_equal(framed, there)


def test_read_mask_takes_an_image(files):
    image = fits.getdata(files / "car.fits")
    seen = skyfill.read_mask(files / "car.fits", like=files / "map.fits", reproject=True)
    wcs = car(2.0, image.shape)
    np.testing.assert_array_equal(seen, reproject_mask(image == 1, 16, "G", wcs=wcs))
    other = skyfill.read_mask(
        files / "car.fits", like=files / "map.fits", reproject=True, invert=True
    )
    np.testing.assert_array_equal(other, reproject_mask(image == 0, 16, "G", wcs=wcs))


@pytest.mark.parametrize(
    ("name", "words", "error"),
    [
        ("c.fits", {"like": None}, "pass it as like"),
        ("car.fits", {"like": "silent.fits"}, "the map is in no named frame; pass `frame`"),
        ("car.fits", {"bits": 1}, "neither `field` nor `bits`"),
        ("car.fits", {"reproject": False}, "`reproject=True`"),
        ("c.fits", {"reproject": False}, "Nside 32.*or pass `reproject=True`"),
    ],
)
def test_read_mask_says_what_reprojection_needs(files, name, words, error):
    words = {"like": "map.fits", "reproject": True} | words
    like = None if words["like"] is None else files / words["like"]
    with pytest.raises(ValueError, match=error):
        skyfill.read_mask(files / name, **words | {"like": like})


def test_an_apodised_image_needs_a_threshold(files):
    image = np.clip(np.linspace(-1, 2, 180), 0, 1) * np.ones((90, 1))
    wcs = car(2.0, image.shape)
    fits.PrimaryHDU(image, wcs.to_header()).writeto(files / "soft.fits")
    words = {"like": files / "map.fits", "reproject": True}
    with pytest.raises(skyfill.masks.ApodisedMaskError, match="apodised"):
        skyfill.read_mask(files / "soft.fits", **words)
    seen = skyfill.read_mask(files / "soft.fits", threshold=0.9, **words)
    np.testing.assert_array_equal(seen, reproject_mask(image > 0.9, 16, "G", wcs=wcs))


@pytest.mark.parametrize(("axes", "coord"), [("GLON GLAT", "G"), ("ELON ELAT", "E")])
def test_an_image_is_in_the_frame_of_its_axes(tmp_path, axes, coord):
    image = np.ones((90, 180), np.uint8)
    image[60:70, 20:40] = 0
    equatorial, other = car(2.0, image.shape), car(2.0, image.shape)
    lon, lat = axes.split()
    other.wcs.ctype = [f"{lon}-CAR", f"{lat}-CAR"]
    fits.PrimaryHDU(image, other.to_header()).writeto(tmp_path / "car.fits")
    assert skyfill.maps.read_image(tmp_path / "car.fits").coord == coord
    np.testing.assert_array_equal(
        reproject_mask(image, 16, coord, wcs=other), reproject_mask(image, 16, "C", wcs=equatorial)
    )
    turned = reproject_mask(image, 16, "C", wcs=other)
    assert not np.array_equal(turned, reproject_mask(image, 16, "C", wcs=equatorial))
    # to a pixel, the way through a HEALPix mask gives the same
    through = skyfill.rotate_mask(reproject_mask(image, 64, coord, wcs=other), coord, "C")
    through = skyfill.regrade_mask(through, 16)
    assert (turned != through).mean() < 0.01
