"""`--noise-map` with every method that has a prior, and `--noise-map auto`."""

import json

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits

import skyfill

NSIDE = 32
BEAM = ("--beam-arcmin", 300)
RMS = 12.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Skies whose noise is uniform, and whose noise varies by nine; the noise, and a mask."""
    path = tmp_path_factory.mktemp("noise")
    theta, _ = hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2))
    rms = RMS * 9 ** (0.5 * np.cos(theta))
    observed = skyfill.simulate_mask(NSIDE, seed=3, half_width=0.1, n_holes=10, radii=(0.05, 0.1))
    signal = skyfill.simulate_sky(NSIDE, seed=3, fwhm=np.radians(5), noise_uk_arcmin=0)
    unit = np.random.default_rng(7).standard_normal(signal.size)
    skyfill.write_map(path / "even.fits", signal + RMS * unit)
    skyfill.write_map(path / "uneven.fits", signal + rms * unit)
    skyfill.write_map(path / "rms.fits", rms, column="RMS")
    skyfill.write_map(path / "mask.fits", observed, unit="", dtype="uint8")
    return path


@pytest.fixture
def call(skyfill_main, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    return skyfill_main


@pytest.mark.parametrize("method", [("vae",), ("gaussian",), ("diffuse", "--polish", 8)])
def test_every_method_with_a_prior_takes_a_noise_map(call, tmp_path, method):
    words = ("inpaint", "uneven.fits", "mask.fits", "--mean", *BEAM, "--method", *method, "-q")
    assert call(*words, "--noise-map", "rms.fits", "-o", "with.fits").status == 0
    assert fits.getheader(tmp_path / "with.fits", 1)["SFNOIMAP"] == "rms.fits"
    exact = call(*words[:-1], "-q", "--noise-map", "rms.fits", "-o", "again.fits", "--json")
    assert json.loads(exact.out)["prior"]["noise_map"] == "rms.fits"


def test_auto_says_what_it_found(call, tmp_path):
    words = ("mask.fits", *BEAM, "--noise-map", "auto", "--mean", "--save-prior")
    used = call("inpaint", "uneven.fits", *words, "used.json", "-o", "uneven_filled.fits")
    assert used.status == 0, used.err
    assert "expected of uniform noise: noise map used" in used.err
    header = fits.getheader(tmp_path / "uneven_filled.fits", 1)
    assert header["SFNOIMAP"] == "auto"
    assert header["SFNOISCA"] > 2 * header["SFNOIUNI"]
    assert json.loads((tmp_path / "used.json").read_text())["noise_map"] == "auto"
    plain = call("inpaint", "even.fits", *words, "plain.json", "-o", "even_filled.fits", "--json")
    assert plain.status == 0, plain.err
    found = json.loads(plain.out)["prior"]["noise_estimate"]
    assert found["used"] is False
    assert 0 < found["scatter"] < 1.5 * found["uniform"]
    assert "SFNOIMAP" not in fits.getheader(tmp_path / "even_filled.fits", 1)
    assert not json.loads((tmp_path / "plain.json").read_text())["noise_map"]


def test_a_batch_estimates_the_noise_of_each_map(call, tmp_path):
    words = ("batch", "even.fits", "uneven.fits", "mask.fits", "-o", "out", *BEAM, "-q")
    done = call(*words, "--noise-map", "auto", "--mean")
    assert done.status == 0, done.err
    for name, used in (("even", False), ("uneven", True)):
        header = fits.getheader(tmp_path / "out" / f"{name}.fits", 1)
        assert ("SFNOIMAP" in header) == used
        words = ("inpaint", f"{name}.fits", "mask.fits", "--mean", *BEAM, "-q", "--threads", 1)
        alone = call(*words, "--noise-map", "auto", "-o", "alone.fits", "--overwrite")
        assert alone.status == 0
        np.testing.assert_array_equal(
            fits.getdata(tmp_path / "out" / f"{name}.fits", 1),
            fits.getdata(tmp_path / "alone.fits", 1),
        )


def test_a_validation_takes_both(call):
    words = ("validate", "uneven.fits", "mask.fits", *BEAM, "--realizations", 2, "--json", "-q")
    for given in ("rms.fits", "auto"):
        outcome = call(*words, "--noise-map", given)
        assert outcome.status == 0, outcome.err
        said = json.loads(outcome.out)
        assert ("noise_estimate" in said["prior"]) == (given == "auto")
    assert said["prior"]["noise_estimate"]["used"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--noise-map", "auto", "--noise-field", 0), "--noise-map auto reads no file"),
        (("--noise-map", "auto", "--noise-unit", "uK"), "--noise-map auto reads no file"),
        (("--noise-map", "auto", "--method", "diffuse"), "pass --polish, or drop --noise-map"),
        (("--noise-map", "rms.fits", "--method", "cosmovae"), "does not accept a noise map"),
        (("--noise-map", "rms.fits", "--noise-unit", "uK^2"), "--noise-unit"),
        (("--noise-map", "uneven.fits"), "is not negative"),
        (("--noise-map", "./auto"), "auto"),
    ],
)
def test_what_makes_no_sense_is_refused(call, tmp_path, more, message):
    outcome = call("inpaint", "uneven.fits", "mask.fits", *BEAM, *more, "-o", "out.fits", "-q")
    assert outcome.status == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "out.fits").exists()
