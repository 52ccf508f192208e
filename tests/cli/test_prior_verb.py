"""`skyfill prior`, and `--cl map`."""

import json

import numpy as np
import pytest

import skyfill

NSIDE = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prior")
    sky = skyfill.simulate_sky(NSIDE, seed=1, fwhm=0.08, noise_uk_arcmin=500)
    skyfill.write_map(folder / "map.fits", sky)
    skyfill.write_map(folder / "kelvin.fits", 1e-6 * sky, unit="uK")
    observed = skyfill.simulate_mask(NSIDE, seed=2, half_width=0.2, n_holes=5)
    skyfill.write_map(folder / "mask.fits", observed, column="MASK", unit="", dtype="uint8")
    return folder


def test_a_prior_is_fitted_judged_drawn_and_taken_again(folder, skyfill_main, tmp_path):
    words = (folder / "map.fits", folder / "mask.fits")
    file, plot = tmp_path / "prior.json", tmp_path / "prior.png"
    found = json.loads(
        skyfill_main("prior", *words, "-o", file, "--plot", plot, "--json", "-q").out
    )
    assert found["quality"]["verdict"] == "good"
    assert found["check"]["verdict"] == "good"
    assert found["prior"]["noise_uk_arcmin"] == pytest.approx(500, rel=0.1)
    assert found["prior"]["quality"] == found["quality"]
    bins = found["bins"]
    assert len({len(each) for each in bins.values()}) == 1
    ratio = np.divide(bins["observed"], bins["expected"])
    assert np.median(ratio) == pytest.approx(1, abs=0.1)
    assert plot.read_bytes().startswith(b"\x89PNG")
    filled = tmp_path / "filled.fits"
    summary = json.loads(
        skyfill_main("inpaint", *words, "-o", filled, "--prior", file, "--json", "-q").out
    )
    assert summary["prior"]["noise_uk_arcmin"] == found["prior"]["noise_uk_arcmin"]
    # The verdict is part of the record of the fill.
    assert summary["sfqual"] == "good"
    assert summary["prior"]["quality"] == found["quality"]
    assert skyfill.prior.read_prior(filled).quality == skyfill.prior.read_prior(file).quality


@pytest.mark.filterwarnings("default")
def test_the_verdict_is_said_in_words(folder, skyfill_main):
    outcome = skyfill_main("prior", folder / "map.fits", folder / "mask.fits", "-q")
    assert outcome.status == 0
    assert "fit      good: chi2" in outcome.out
    assert "times the expected power" in outcome.out
    assert "check    good" in outcome.out
    wrong = skyfill_main("prior", folder / "kelvin.fits", folder / "mask.fits", "-q")
    assert "warning: the prior may not describe the observed sky" in wrong.err
    assert "fit      bad" in wrong.out


@pytest.mark.filterwarnings("default")
def test_what_is_given_is_judged_and_not_fitted(folder, skyfill_main):
    words = ("--beam-arcmin", "275", "--noise-uk-arcmin", "2000", "--json", "-q")
    found = json.loads(skyfill_main("prior", folder / "map.fits", folder / "mask.fits", *words).out)
    assert found["prior"]["origin"]["noise_uk_arcmin"] == "given"
    assert found["quality"]["verdict"] == "bad"
    assert found["quality"]["worst"][0]["ratio"] < 0.5


def test_a_spectrum_may_be_fitted_to_the_map(folder, skyfill_main, tmp_path):
    words = (folder / "map.fits", folder / "mask.fits", "--cl", "map")
    out = tmp_path / "filled.fits"
    outcome = skyfill_main("inpaint", *words, "-o", out, "-q")
    assert outcome.status == 0
    assert "fitted to the map (fitted)" in outcome.out
    assert skyfill.prior.read_prior(out).theory == skyfill.prior.FROM_MAP


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--cl", "map", "--no-fit"), "drop --no-fit"),
        (("--cl", "map", "--prior", "p.json"), "drop --prior"),
        (("--cl", "map", "--dl"), "--dl is an option of --cl FILE"),
        (("-o", "prior.png"), "its name must end in .json"),
        (("--plot", "prior.json"), "its name must end in .png, .pdf"),
    ],
)
def test_options_that_contradict_each_other_are_refused(folder, skyfill_main, words, message):
    outcome = skyfill_main("prior", folder / "map.fits", folder / "mask.fits", *words)
    assert outcome.status == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_simulation_has_no_map_to_fit_a_spectrum_to(skyfill_main, tmp_path):
    words = ("-o", tmp_path / "s.fits", "--nside", 8, "--cl", "map")
    outcome = skyfill_main("simulate", "sky", *words)
    assert outcome.status == 2
    assert "no map to fit a spectrum to" in outcome.err
