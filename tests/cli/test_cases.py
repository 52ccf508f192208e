"""Inputs that came out wrong without a word: now right, or refused by name with the mend."""

import json

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits
from case_files import ELL, MASK, SKY, write_cases

import skyfill

HOLES = MASK == 0


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    write_cases(folder)
    return folder


@pytest.fixture
def run(skyfill_main, cases, tmp_path, monkeypatch):
    """Run a command among the cases, quietly; the output goes to out.fits of an empty folder."""
    monkeypatch.chdir(cases)

    def call(*words, out=True):
        more = ("-o", tmp_path / "out.fits") if out else ()
        return skyfill_main(*words, *more, "-q")

    return call


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.fits"


def refused(outcome, out, *words):
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1
    assert "Traceback" not in outcome.err
    assert not out.exists()
    for word in words:
        assert word in outcome.err


def spread(path):
    """Give the rms in the holes, µK; observed pixels must be as they were."""
    values = skyfill.read_map(path).values
    return np.std(values[HOLES])


@pytest.mark.parametrize("frame", ["equatorial", "icrs", "c", "g"])
def test_all_sources_are_masked_in_every_frame(run, out, cases, frame):
    words = ("mask", "--map", f"frame_{frame}.fits", "--sources", "sources.csv")
    outcome = run(*words, "--radius-arcmin", 60)
    assert outcome.status == 0, outcome.err
    table = np.genfromtxt(cases / "sources.csv", delimiter=",", names=True)
    lon, lat = table["RA"], table["DEC"]
    if frame == "g":
        lon, lat = hp.Rotator(coord=["C", "G"])(lon, lat, lonlat=True)
    observed = skyfill.read_mask(out)
    assert not observed[hp.ang2pix(32, lon, lat, lonlat=True)].any()
    assert fits.getheader(out, 1)["COORDSYS"] == ("G" if frame == "g" else "C")


def test_a_mask_of_another_frame_is_refused(run, out):
    refused(run("inpaint", "map.fits", "mask_c.fits"), out, "map.fits", "--rotate G")


def test_a_list_of_pixels_in_the_second_column_is_read(run, out):
    assert run("inpaint", "pixel_second.fits", "mask.fits").status == 0
    filled = skyfill.read_map(out).values
    np.testing.assert_array_equal(filled[~HOLES], SKY.astype(np.float32)[~HOLES])
    assert np.all(filled[HOLES] != SKY.astype(np.float32)[HOLES])


def test_the_noise_map_keeps_its_own_unit(run, out):
    more = ("mask.fits", "--method", "gaussian", "--noise-map", "sigma_uK.fits", "--overwrite")
    prior = ("--cl", "cl.txt", "--beam-arcmin", 120, "--noise-uk-arcmin", 0)
    assert run("inpaint", "noisy_uK.fits", *more, *prior).status == 0
    expected = skyfill.read_map(out).values
    assert run("inpaint", "noisy_mK_nounit.fits", *more, *prior, "--unit", "mK").status == 0
    found = skyfill.read_map(out, unit="mK").values
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert np.std(found[HOLES]) > 40  # the noise alone is 30 and 60


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("name", "value"), [("unseen_times_1e6", "-1.6375e+36"), ("minus_32768", "-32768")]
)
def test_missing_values_of_other_programs(run, out, name, value):
    path = f"{name}.fits"
    words = (path, f"{HOLES.sum()} pixels hold exactly {value}", f"--missing {value}")
    refused(run("inpaint", path, "one_hole.fits"), out, *words)
    refused(run("mask", "--map", path), out, *words)
    assert run("mask", "--map", path, "--missing", value).status == 0
    np.testing.assert_array_equal(skyfill.read_mask(out), ~HOLES)
    outcome = run("inpaint", path, "ones.fits", "--missing", value, "--overwrite")
    assert outcome.status == 0
    assert f"{HOLES.sum()} pixels that the mask calls observed are missing" in outcome.err
    assert 30 < spread(out) < 150


@pytest.mark.filterwarnings("default")
def test_d_l_given_as_c_l_is_refused(run, out):
    outcome = run("inpaint", "map.fits", "mask.fits", "--cl", "dl_camb.txt")
    assert outcome.status == 2
    assert "error: map.fits and mask.fits: the prior does not describe" in outcome.err
    assert "holds D_l = l (l + 1) C_l / 2 pi: pass --dl." in outcome.err
    assert not out.exists()
    assert run("inpaint", "map.fits", "mask.fits", "--cl", "dl_camb.txt", "--dl").status == 0
    assert 50 < spread(out) < 100


def test_class_says_that_its_table_has_no_unit(run, out):
    assert run("inpaint", "map.fits", "mask.fits", "--cl", "dl_class.dat", "--dl").status == 0
    assert 50 < spread(out) < 100


def test_columns_are_known_by_name(run, out, cases):
    found = skyfill.read_cl(cases / "named.csv")
    np.testing.assert_allclose(found[ELL], skyfill.read_cl(cases / "cl.txt")[ELL], rtol=1e-12)
    assert run("inpaint", "map.fits", "mask.fits", "--cl", "named.csv").status == 0
    assert 50 < spread(out) < 100


@pytest.mark.filterwarnings("default")
def test_a_foreground_has_no_fit(run, out):
    outcome = run("inpaint", "synchrotron.fits", "mask.fits")
    refused(outcome, out, "the prior does not describe the observed sky", "--trust-prior")
    outcome = run("inpaint", "synchrotron.fits", "mask.fits", "--trust-prior")
    assert outcome.status == 0
    assert "warning: the prior may not describe" in outcome.err


@pytest.mark.filterwarnings("default")
def test_what_has_not_converged_is_refused(run, out):
    words = ("inpaint", "kappa.fits", "mask.fits", "--cl", "kappa_cl.txt", "--unit", "uK")
    words = (*words, "--no-fit", "--tolerance", "1e-12")
    outcome = run(*words)
    assert outcome.status == 2
    assert not out.exists()
    assert "error: the fill has not converged" in outcome.err
    assert "--accept" in outcome.err
    outcome = run(*words, "--accept", "--json")
    assert outcome.status == 0
    assert "warning: the fill has not converged" in outcome.err
    assert json.loads(outcome.out)["sfconv"] is False
    assert fits.getheader(out, 1)["SFCONV"] is False


def test_the_magnitude_r_is_no_radius(run, out):
    words = ("mask", "--map", "map.fits", "--sources", "magnitudes_gri.csv", "--radius-arcmin")
    assert run(*words, 60).status == 0
    assert np.count_nonzero(~skyfill.read_mask(out)) < 60
    refused(run(*words[:-1], "--overwrite"), out.with_name("none"), "--radius-arcmin")


@pytest.mark.parametrize("name", ["unit_degrees.fits", "vizier.tsv"])
def test_catalogues_of_archives_are_read(run, out, name):
    words = ("mask", "--map", "frame_c.fits", "--radius-arcmin", 60, "--overwrite", "--sources")
    assert run(*words, "sources.csv").status == 0
    expected = skyfill.read_mask(out)
    assert run(*words, name).status == 0
    np.testing.assert_array_equal(skyfill.read_mask(out), expected)


def test_the_column_that_holds_a_mask_is_named(run, out):
    refused(run("inpaint", "map.fits", "wmap_like_mask.fits"), out, "--mask-field N_OBS")
    assert run("inpaint", "map.fits", "wmap_like_mask.fits", "--mask-field", "N_OBS").status == 0
    changed = skyfill.read_map(out).values != SKY.astype(np.float32)
    np.testing.assert_array_equal(changed, HOLES)


def test_a_multi_order_map_is_said_to_be_one(run, out):
    outcome = run("inpaint", "multiorder.fits", "mask.fits")
    refused(outcome, out, "multi-order", "orders 4 to 5", "--nside")


def test_the_primary_header_is_read(run, out):
    assert run("inpaint", "ordering_in_primary.fits", "mask.fits").status == 0
    filled = skyfill.read_map(out).values
    np.testing.assert_array_equal(filled[~HOLES], SKY.astype(np.float32)[~HOLES])


def test_an_apodised_mask_is_a_weight_for_spectra(run, tmp_path):
    table = tmp_path / "s.ecsv"
    words = ("spectrum", "map.fits", "--mask", "apodised.fits", "--cl", "cl.txt", "-o", table)
    outcome = run(*words, "--lmax", 60, out=False)
    assert outcome.status == 0, outcome.err
    refused(run("inpaint", "map.fits", "apodised.fits"), tmp_path / "out.fits", "--threshold")


def test_the_rounding_of_a_mask_is_tolerated(run, out):
    assert run("inpaint", "map.fits", "apodised_rounding.fits").status == 0
    changed = skyfill.read_map(out).values != SKY.astype(np.float32)
    np.testing.assert_array_equal(changed, HOLES)


@pytest.mark.filterwarnings("default")
def test_a_patch_asks_for_a_decision(run, out, cases):
    words = ("inpaint", "patch.fits", "patch_mask.fits", "--cl", "cl.txt")
    words = (*words, "--beam-arcmin", 60, "--noise-uk-arcmin", 275, "--no-pixel-window")
    refused(run(*words), out, "95.1% of the sky is missing", "--holes enclosed", "--footprint")
    assert run(*words, "--holes", "enclosed").status == 0
    before, after = (skyfill.read_map(path).values for path in (cases / "patch.fits", out))
    seen = skyfill.read_mask(cases / "patch_mask.fits")
    inside = np.isfinite(before)
    np.testing.assert_array_equal(np.isfinite(after), inside)
    np.testing.assert_array_equal(after[seen], before[seen])
    assert np.all(after[inside & ~seen] != before[inside & ~seen])
    assert skyfill.read_map(out).partial
    outcome = run(*words, "--holes", "all", "--overwrite")
    assert outcome.status == 0
    assert "warning: 95.1% of the sky is filled" in outcome.err
    assert np.isfinite(skyfill.read_map(out).values).all()
