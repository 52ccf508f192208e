"""Masks of other frames, Nside and projections on the command line."""

import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

import skyfill

PRIOR = ("--beam-arcmin", "600", "--noise-uk-arcmin", "500", "-q")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("masks")
    sky = skyfill.simulate_sky(16, seed=1, fwhm=np.radians(10))
    sky += np.random.default_rng(2).normal(0, 500 / 219.9, sky.size)  # 219.9': side of a pixel
    skyfill.write_map(folder / "map.fits", sky, coord="G")
    mask = skyfill.discs(32, [1.0, 4.0], [0.5, -1.0], [0.3, 0.1])
    skyfill.write_map(folder / "mask_c.fits", mask, unit="", dtype=np.uint8, coord="C")
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cdelt = ["RA---CAR", "DEC--CAR"], [-1.0, 1.0]
    wcs.wcs.crpix = [1, 90.5]
    image = np.ones((180, 360), np.uint8)
    image[100:120, 10:40] = 0
    fits.PrimaryHDU(image, wcs.to_header()).writeto(folder / "car.fits")
    words = {"like": folder / "map.fits", "reproject": True}
    masks = {
        name: skyfill.read_mask(folder / name, **words) for name in ("mask_c.fits", "car.fits")
    }
    return folder, masks


@pytest.mark.parametrize("name", ["mask_c.fits", "car.fits"])
@pytest.mark.parametrize("method", ["gaussian", "diffuse"])
def test_the_map_is_filled_where_any_of_a_pixel_is_masked(
    skyfill_main, files, tmp_path, name, method
):
    folder, masks = files
    words = ["inpaint", folder / "map.fits", folder / name, "-o", tmp_path / "out.fits"]
    prior = PRIOR if method == "gaussian" else ("-q",)
    outcome = skyfill_main(*words, "--reproject-mask", "--method", method, *prior, "--json")
    assert outcome.status == 0, outcome.err
    assert json.loads(outcome.out)["filled_pixels"] == (~masks[name]).sum()
    before, after = (
        skyfill.read_map(path).values for path in (folder / "map.fits", tmp_path / "out.fits")
    )
    np.testing.assert_array_equal(before == after, masks[name])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mask_c.fits", "mask reprojected from frame C and Nside 32"),
        ("car.fits", "mask reprojected from the image car.fits"),
    ],
)
def test_what_is_done_to_the_mask_is_said(skyfill_main, files, tmp_path, name, said):
    folder, _ = files
    words = ["inpaint", folder / "map.fits", folder / name, "-o", tmp_path / "out.fits"]
    outcome = skyfill_main(*words, "--reproject-mask", "--method", "diffuse")
    assert f", {said}: a pixel is observed if all of it is" in outcome.err
    # Cards of HISTORY break words, too.
    history = "".join(map(str, fits.getheader(tmp_path / "out.fits", 1)["HISTORY"]))
    assert "--reproject-mask" in history


def test_without_the_option_its_name_is_told(skyfill_main, files, tmp_path):
    folder, _ = files
    for name in ("mask_c.fits", "car.fits"):
        words = ["inpaint", folder / "map.fits", folder / name, "-o", tmp_path / "out.fits"]
        outcome = skyfill_main(*words)
        assert outcome.status == 2
        assert outcome.err.count("\n") == 1
        assert "--reproject-mask" in outcome.err
    assert not any(tmp_path.iterdir())


def test_other_verbs_take_it(skyfill_main, files, tmp_path):
    folder, masks = files
    common = ("--reproject-mask", "-q")
    words = ["batch", folder / "map.fits", folder / "car.fits", "-o", tmp_path / "batch"]
    outcome = skyfill_main(*words, *common, "--method", "diffuse")
    assert outcome.status == 0, outcome.err
    filled = skyfill.read_map(tmp_path / "batch" / "map.fits").values
    before = skyfill.read_map(folder / "map.fits").values
    np.testing.assert_array_equal(filled == before, masks["car.fits"])
    words = ["spectrum", folder / "map.fits", "-o", tmp_path / "cl.ecsv", *PRIOR]
    outcome = skyfill_main(*words, "--mask", folder / "mask_c.fits", *common)
    assert outcome.status == 0, outcome.err
    words = ["prior", folder / "map.fits", folder / "car.fits", "-o", tmp_path / "p.json", *PRIOR]
    outcome = skyfill_main(*words, *common)
    assert outcome.status == 0, outcome.err


def test_polarization_and_footprints_take_it(skyfill_main, files, tmp_path):
    folder, masks = files
    tqu = tmp_path / "tqu.fits"
    words = ["simulate", "sky", "-o", tqu, "--nside", "16", "--stokes", "TQU", *PRIOR]
    assert skyfill_main(*words).status == 0
    words = ["inpaint", tqu, folder / "car.fits", "--mask-pol", folder / "mask_c.fits"]
    words += ["--stokes", "TQU", "--method", "diffuse", "-q", "-o", tmp_path / "out.fits"]
    outcome = skyfill_main(*words, "--reproject-mask", "--json")
    assert outcome.status == 0, outcome.err
    found = json.loads(outcome.out)["filled_pixels"]
    assert found["T"] == (~masks["car.fits"]).sum()
    assert found["Q"] == (~masks["mask_c.fits"]).sum()
    words = ["inpaint", folder / "map.fits", folder / "car.fits", "--method", "diffuse", "-q"]
    words += ["--footprint", folder / "mask_c.fits", "-o", tmp_path / "part.fits"]
    outcome = skyfill_main(*words, "--reproject-mask", "--json")
    assert outcome.status == 0, outcome.err


def test_an_image_becomes_a_healpix_mask(skyfill_main, files, tmp_path):
    folder, masks = files
    words = ["mask", folder / "car.fits", "--nside", "16", "-o", tmp_path / "m.fits"]
    outcome = skyfill_main(*words, "--rotate", "G", "-q")
    assert outcome.status == 0, outcome.err
    assert "Nside 16 from an image: a pixel is observed if all of it is" in outcome.out
    np.testing.assert_array_equal(skyfill.read_mask(tmp_path / "m.fits"), masks["car.fits"])
    assert fits.getheader(tmp_path / "m.fits", 1)["COORDSYS"] == "G"
    outcome = skyfill_main(*words, "--overwrite", "-q")
    assert fits.getheader(tmp_path / "m.fits", 1)["COORDSYS"] == "C"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("mask", "car.fits", "-o", "m.fits"), "is an image; pass --nside N"),
        (
            ("mask", "car.fits", "-o", "m.fits", "--nside", "16", "--frame", "C"),
            "--frame is for HEALPix masks",
        ),
        (
            ("spectrum", "map.fits", "-o", "cl.ecsv", "--reproject-mask"),
            "--reproject-mask is an option of the mask",
        ),
        (
            ("inpaint", "car.fits", "mask_c.fits", "-o", "f.fits", "--reproject-mask"),
            "the mask must lie on the pixels of the image",
        ),
    ],
)
def test_what_it_cannot_do_is_refused(skyfill_main, files, tmp_path, monkeypatch, words, error):
    monkeypatch.chdir(files[0])
    words = [tmp_path / one if one in ("m.fits", "cl.ecsv", "f.fits") else one for one in words]
    outcome = skyfill_main(*words)
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1
    assert error in outcome.err


def test_weights_are_not_cut_in_silence(skyfill_main, files, tmp_path):
    soft = tmp_path / "soft.fits"
    weights = np.linspace(0, 1, 12 * 32**2)
    skyfill.write_map(soft, weights, unit="", column="WEIGHT", coord="C")
    words = ["spectrum", files[0] / "map.fits", "--mask", soft, "-o", tmp_path / "cl.ecsv", *PRIOR]
    outcome = skyfill_main(*words, "--reproject-mask")
    assert outcome.status == 2
    assert "is apodised; pass --threshold X" in outcome.err
    assert skyfill_main(*words, "--reproject-mask", "--threshold", "0.5").status == 0
