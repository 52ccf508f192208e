"""The prior on the command line: completed, printed, saved, brought back, held against the map."""

import json
import re

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import skyfill

NSIDE = 32
FWHM, NOISE = 240, 600
GIVEN = {
    "cl": ("--cl", "cl.txt"),
    "fwhm": ("--beam-arcmin", FWHM),
    "noise_uk_arcmin": ("--noise-uk-arcmin", NOISE),
    "pixel_window": ("--pixel-window",),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("priors")
    truth = skyfill.Prior(NSIDE, skyfill.lcdm(), np.radians(FWHM / 60), NOISE)
    for seed, name in enumerate(("sky.fits", "other.fits")):
        skyfill.write_map(path / name, skyfill.prior.draw(truth, seed=seed, aliased=True))
    observed = skyfill.simulate_mask(NSIDE, seed=3, half_width=0.15, n_holes=10, radii=(0.05, 0.1))
    skyfill.write_map(path / "mask.fits", observed, column="MASK", unit="", dtype="uint8")
    ell = np.arange(2, 2000)
    np.savetxt(path / "cl.txt", np.c_[ell, 1.01 * skyfill.lcdm()[ell]])
    return path


@pytest.fixture
def run(skyfill_main, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)

    def call(verb, *words):
        outcome = skyfill_main(verb, *words, "-q")
        assert outcome.status == 0, outcome.err
        return outcome

    return call


def filled(run, out, *words, sky="sky.fits"):
    return run("inpaint", sky, "mask.fits", "-o", out, "--overwrite", *words, "--json")


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sets(st.sampled_from(sorted(GIVEN))), st.sampled_from(["json", "fits"]))
def test_the_rest_is_fitted_and_all_of_it_comes_back(run, tmp_path, names, kind):
    """Any options leave the others to a fit, and the prior in use gives the same fill again."""
    out, again, saved = (tmp_path / name for name in ("out.fits", "again.fits", "prior.json"))
    words = [word for name in names for word in GIVEN[name]]
    found = json.loads(filled(run, out, *words, "--save-prior", saved).out)
    origin = found["prior"]["origin"]
    for name in names:
        assert origin[name] == "given"
    for name in {"fwhm", "noise_uk_arcmin"} - names:
        assert origin[name] == "fitted"
    assert found["check"]["verdict"] == "good"
    assert found["prior"]["beam_arcmin"] == pytest.approx(FWHM, rel=0.1)
    header = fits.getheader(out, 1)
    assert f"beam={origin['fwhm']}" in header["SFORIGIN"]
    assert header["SFFITTED"] is (not {"fwhm", "noise_uk_arcmin"} <= names)
    source = saved if kind == "json" else out
    brought = json.loads(filled(run, again, "--prior", source).out)
    assert set(brought["prior"]["origin"].values()) == {"given"}
    values = [fits.getdata(path, 1).tobytes() for path in (out, again)]
    assert values[0] == values[1]


def test_the_prior_and_the_share_are_printed_quietly_too(run, tmp_path):
    outcome = run("inpaint", "sky.fits", "mask.fits", "-o", tmp_path / "o.fits")
    assert outcome.out.startswith("prior    Planck 2018 LCDM (assumed), beam ")
    assert "(fitted" in outcome.out
    share = 1 - skyfill.read_mask("mask.fits").mean()
    assert f"filled   {share:.2%} of the sky" in outcome.out
    assert "check    good" in outcome.out


def test_nothing_is_fitted_on_demand(run, tmp_path):
    prior = json.loads(filled(run, tmp_path / "o.fits", "--no-fit", "--beam-arcmin", FWHM).out)[
        "prior"
    ]
    assert prior["noise_uk_arcmin"] == 0
    assert prior["origin"]["noise_uk_arcmin"] == "assumed"
    assert prior["origin"]["fwhm"] == "given"


def test_simulations_are_filled_as_the_data_were(run, tmp_path):
    out, other, saved = (tmp_path / name for name in ("a.fits", "b.fits", "p.json"))
    first = json.loads(filled(run, out, "--save-prior", saved).out)["prior"]
    for source in (saved, out):
        second = json.loads(filled(run, other, "--prior", source, sky="other.fits").out)["prior"]
        for name in ("beam_arcmin", "noise_uk_arcmin", "calibration", "pixel_window", "theory"):
            assert second[name] == first[name]


def test_options_replace_numbers_of_a_prior_that_is_brought_back(run, tmp_path):
    saved = tmp_path / "p.json"
    filled(run, tmp_path / "a.fits", "--save-prior", saved)
    words = ("--prior", saved, "--noise-uk-arcmin", 650)
    found = json.loads(filled(run, tmp_path / "b.fits", *words).out)["prior"]
    assert found["noise_uk_arcmin"] == 650
    assert found["beam_arcmin"] == pytest.approx(FWHM, rel=0.1)


def test_a_spectrum_keeps_what_the_header_has(run, tmp_path):
    out = tmp_path / "o.fits"
    filled(run, out, "--beam-arcmin", FWHM, "--noise-uk-arcmin", NOISE)
    whole = json.loads(run("spectrum", out, "--json").out)
    assert set(whole["prior"]["origin"].values()) == {"header"}
    theory = json.loads(run("spectrum", out, "--cl", "cl.txt", "--json").out)
    assert theory["prior"]["origin"]["cl"] == "given"
    assert theory["prior"]["origin"]["fwhm"] == "header"
    assert theory["prior"]["noise_uk_arcmin"] == NOISE
    for one, other in zip(whole["chi2"]["full"], theory["chi2"]["full"], strict=True):
        assert other["chi2"] == pytest.approx(one["chi2"], rel=0.3)
    bare = json.loads(run("spectrum", out, "--cl", "cl.txt", "--no-fit", "--json").out)
    assert bare["prior"]["noise_uk_arcmin"] == 0
    assert bare["chi2"]["full"][-1]["chi2"] > 3 * theory["chi2"]["full"][-1]["chi2"]


def test_a_spectrum_of_a_custom_theory_comes_back(run, tmp_path):
    out = tmp_path / "o.fits"
    filled(run, out, "--cl", "cl.txt")
    found = json.loads(run("spectrum", out, "--json").out)["prior"]
    assert found["theory"] == "cl.txt"
    assert set(found["origin"].values()) == {"header"}


def test_validation_judges_the_prior_of_the_fill(run, tmp_path):
    """It is fitted to the whole observed sky, before anything is hidden."""
    used, judged = tmp_path / "a.json", tmp_path / "b.json"
    filled(run, tmp_path / "o.fits", "--save-prior", used)
    words = ("--realizations", 2, "--save-prior", judged, "--json")
    run("validate", "sky.fits", "mask.fits", *words)
    one, other = (skyfill.prior.read_prior(path) for path in (used, judged))
    for name in ("fwhm", "noise_uk_arcmin", "calibration"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-6)


def test_batches_record_what_they_used(run, tmp_path):
    words = ("sky.fits", "other.fits", "mask.fits", "-o", tmp_path / "b", "--json")
    found = json.loads(run("batch", *words, "--beam-arcmin", FWHM).out)
    assert found["prior"] is None  # the noise is fitted to each
    lines = (tmp_path / "b" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    about = [json.loads(line)["about"] for line in lines if '"about"' in line]
    assert len(about) == 2
    for each in about:
        assert each["prior"]["origin"]["fwhm"] == "given"
        assert each["prior"]["origin"]["noise_uk_arcmin"] == "fitted"
        assert each["check"]["verdict"] == "good"
        assert 0 < each["filled"] < 0.5


def test_a_prior_that_went_with_a_noise_map_asks_for_it(run, skyfill_main, tmp_path):
    skyfill.write_map("sigma.fits", np.full(12 * NSIDE**2, 5.5), column="SIGMA")
    saved, out = tmp_path / "p.json", tmp_path / "a.fits"
    told = run(
        *("inpaint", "sky.fits", "mask.fits", "-o", out, "--method", "gaussian"),
        *("--noise-map", "sigma.fits", "--save-prior", saved),
    )
    assert "sigma.fits: noise map, replaces the white noise above" in told.out
    for source in (saved, out):
        words = ("inpaint", "sky.fits", "mask.fits", "-o", tmp_path / "b.fits", "--prior", source)
        outcome = skyfill_main(*words, "--method", "gaussian", "-q")
        assert outcome.status == 2
        assert "was used with the noise map sigma.fits; pass --noise-map as well" in outcome.err
        again = run(*words, "--method", "gaussian", "--noise-map", "sigma.fits", "--overwrite")
        assert again.status == 0
        values = [fits.getdata(path, 1).tobytes() for path in (out, tmp_path / "b.fits")]
        assert values[0] == values[1]
        (tmp_path / "b.fits").unlink()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--dl",), "--dl is an option of --cl FILE; pass --cl as well"),
        (("--cl-extend",), "--cl-extend is an option of"),
        (("--prior", "sky.fits"), "no prior in it"),
        (("--prior", "none.json"), "none.json: no such file"),
        (("--method", "diffuse", "--save-prior", "x.json"), "drop --save-prior"),
        (("--save-prior", "sky.fits"), "exists already"),
    ],
)
def test_what_says_nothing_is_refused(skyfill_main, folder, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(folder)
    outcome = skyfill_main("inpaint", "sky.fits", "mask.fits", "-o", tmp_path / "o.fits", *words)
    assert outcome.status == 2
    assert message in outcome.err
    assert not list(tmp_path.iterdir())
    assert not (folder / "x.json").exists()


def test_a_fill_by_another_method_takes_no_stale_prior_along(run, tmp_path):
    out, again = tmp_path / "a.fits", tmp_path / "b.fits"
    filled(run, out)
    run("inpaint", out, "mask.fits", "-o", again, "--method", "diffuse")
    with pytest.raises(ValueError, match="no prior in it"):
        skyfill.prior.read_prior(again)
    header = fits.getheader(again, 1)
    assert header["SFMETHOD"] == "diffuse"
    assert not {"SFCL", "SFBEAM", "SFNOISE", "SFCHECK"} & set(header)


@pytest.fixture(scope="module")
def beam(folder):
    """B_l² of the beam of `folder`, which ends below the map's last multipole."""
    window = skyfill.gaussian_beam(np.radians(FWHM / 60), 80) ** 2
    np.savetxt(folder / "wl.txt", np.c_[np.arange(81), window], header="ell W_ell", fmt="%.17g")
    return "--beam", "wl.txt"


def test_a_tabulated_beam_is_used_recorded_and_comes_back(run, tmp_path, beam):
    out, again, saved = (tmp_path / name for name in ("out.fits", "again.fits", "prior.json"))
    words = *beam, "--noise-uk-arcmin", NOISE
    found = json.loads(filled(run, out, *words, "--save-prior", saved).out)["prior"]
    assert found["beam_table"]["file"] == "wl.txt"
    assert found["beam_table"]["lmax"] == 80
    assert found["origin"]["fwhm"] == "given"
    assert "W_ell is B_l² (by its name)" in found["said"][0]
    assert "ends at l = 80, beyond it is like a Gaussian of 240 arcmin" in found["said"][-1]
    assert "beam wl.txt, like 240" in found["text"]
    header = fits.getheader(out, 1)
    assert header["SFBEAMF"] == "wl.txt"
    assert header["SFBEAMSH"] == found["beam_table"]["sha256"]
    for prior in (saved, out):
        filled(run, again, "--prior", prior)
        assert np.array_equal(*(fits.getdata(each, 1).field(0) for each in (out, again)))
    gaussian = filled(run, again, "--beam-arcmin", FWHM, "--noise-uk-arcmin", NOISE)
    assert "beam_table" in json.loads(gaussian.out)["prior"]
    one, two = (np.float64(fits.getdata(each, 1).field(0)) for each in (out, again))
    assert np.abs(one - two).max() < 1e-3 * one.std()
    assert "SFBEAMF" not in fits.getheader(again, 1)


def test_spectrum_and_simulate_use_the_table(run, tmp_path, beam):
    sky = tmp_path / "sky.fits"
    words = "--nside", NSIDE, "--seed", 4, "--noise-uk-arcmin", NOISE
    run("simulate", "sky", *words, *beam, "-o", sky)
    run("simulate", "sky", *words, "--beam-arcmin", FWHM, "-o", tmp_path / "gauss.fits")
    values = [skyfill.read_map(each).values for each in (sky, tmp_path / "gauss.fits")]
    assert np.allclose(*values, atol=0.01)
    # spectrum takes the beam from the header, or from the option
    noise = "--noise-uk-arcmin", NOISE
    spectra = [
        json.loads(run("spectrum", sky, *more, "--json").out)["bins"]
        for more in ((), (*beam, *noise), ("--beam-arcmin", FWHM, *noise))
    ]
    for other in spectra[1:]:
        assert np.allclose(spectra[0]["dl"], other["dl"], rtol=1e-6)
    bare = json.loads(run("spectrum", sky, "--beam-arcmin", 1, *noise, "--json").out)["bins"]
    assert bare["dl"][-1] < 0.5 * spectra[0]["dl"][-1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--beam", "wl.txt", "--beam-arcmin", 5), "--beam-arcmin and --beam are two beams"),
        (("--beam-squared",), "--beam-squared is an option of --beam FILE"),
        (("--beam-hdu", "BEAMWF"), "--beam-hdu is an option of --beam FILE"),
        (("--beam", "wl.txt", "--beam-hdu", 1), "`--beam-hdu 1` is for FITS|--beam-hdu 1 is for"),
        (("--beam", "wl.txt", "--no-beam-squared"), "--no-beam-squared says b_l; drop that"),
        (("--beam", "wl.txt", "--beam-column", "Q"), "pass --beam-column W_ell or"),
        (("--beam", "none.txt"), "none.txt: no such file"),
        (("--beam", "sky.fits"), "sky.fits: "),
    ],
)
def test_a_beam_that_does_not_fit_is_refused_in_one_line(
    skyfill_main, folder, beam, tmp_path, monkeypatch, words, message
):
    monkeypatch.chdir(folder)
    outcome = skyfill_main(
        "inpaint", "sky.fits", "mask.fits", "-o", tmp_path / "o.fits", *words, "-q"
    )
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1
    assert re.search(message, outcome.err), outcome.err
    assert not (tmp_path / "o.fits").exists()


def test_the_prior_may_have_monopole_and_dipole(run, tmp_path, skyfill_main):
    words = "--method", "gaussian", "--dipole", "prior", "--beam-arcmin", FWHM
    words = *words, "--noise-uk-arcmin", NOISE
    out = tmp_path / "out.fits"
    said = json.loads(filled(run, out, *words).out)
    assert said["sfdipole"] == "prior"
    assert fits.getheader(out, 1)["SFDIPOLE"] == "prior"
    shifted = tmp_path / "shifted.fits"
    skyfill.write_map(shifted, skyfill.read_map("sky.fits").values + 500.0)
    refused = skyfill_main("inpaint", shifted, "mask.fits", "-o", tmp_path / "o.fits", *words, "-q")
    assert refused.status == 2
    assert re.search("monopole of 5.* do not allow.*pass --dipole marginalise", refused.err)
    plain = "--method", "diffuse", "--dipole", "prior"
    refused = skyfill_main(
        "inpaint", "sky.fits", "mask.fits", "-o", tmp_path / "o.fits", *plain, "-q"
    )
    assert refused.status == 2
    assert "diffuse has no prior to give monopole and dipole; drop --dipole prior" in refused.err
