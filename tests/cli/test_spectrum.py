"""What `skyfill spectrum` does with several skies, a mask, bins and ranges."""

import importlib
import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable

import skyfill

NSIDE = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of two skies, a mask, and what is no pair with them."""
    path = tmp_path_factory.mktemp("skies")
    prior = skyfill.Prior(NSIDE, skyfill.lcdm(), fwhm=0.1, noise_uk_arcmin=300.0)
    for index in range(2):
        sky = skyfill.prior.draw(prior, seed=4, index=index)
        skyfill.write_map(path / f"sky_{index}.fits", sky)
    observed = skyfill.simulate_mask(NSIDE, seed=3, kind="band")
    masks = {
        "mask": observed,
        "inverted": ~observed,
        "turned": observed[::-1],
        "tiny": np.arange(observed.size) < 5,
        "nothing": np.zeros(observed.size, bool),
        "small": np.ones(12 * 8**2, bool),
    }
    for name, mask in masks.items():
        skyfill.write_map(path / f"{name}.fits", mask, column="M", unit="", dtype="uint8")
    soft = 0.5 * observed
    others = {
        "soft": soft,
        "hits": 900.0 * observed,
        "negative": soft - 0.5 * ~observed,
        "soft_small": np.linspace(0, 1, 12 * 8**2),
    }
    for name, weights in others.items():
        skyfill.write_map(path / f"{name}.fits", weights, column="M", unit="")
    skyfill.write_map(path / "spread.fits", 0.5 * ~observed, column="STD", unit="uK_CMB")
    skyfill.write_map(path / "equatorial.fits", observed, unit="", dtype="uint8", coord="C")
    skyfill.write_map(path / "soft_equatorial.fits", soft, unit="", coord="C")
    skyfill.write_map(path / "low.fits", np.linspace(-1, 1, 12 * 8**2))
    return path


PRIOR = ("--beam-arcmin", 343.7746770784939, "--noise-uk-arcmin", 300)


def test_a_mask_and_two_realizations(skyfill_main, folder, tmp_path):
    skies = [folder / f"sky_{index}.fits" for index in range(2)]
    table, plot = tmp_path / "s.fits", tmp_path / "s.pdf"
    words = ("--mask", folder / "mask.fits", "--apodize-deg", 5, "--range", 2, 9, "--range", 10, 32)
    outcome = skyfill_main(
        "spectrum", *skies, *words, *PRIOR, "-o", table, "--plot", plot, "--json", "-q"
    )
    assert outcome.status == 0, outcome.err
    found = json.loads(outcome.out)
    prior = skyfill.Prior(NSIDE, skyfill.lcdm(), fwhm=0.1, noise_uk_arcmin=300.0)
    expected = skyfill.spectra.compare(
        [skyfill.read_map(sky).values for sky in skies],
        prior,
        observed=skyfill.read_mask(folder / "mask.fits"),
        apodize=np.radians(5),
        ranges=[(2, 9), (10, 32)],
    )
    for name, values in expected.as_dict()["bins"].items():
        np.testing.assert_allclose(found["bins"][name], values, rtol=1e-6)
    assert found["realizations"] == 2
    assert found["maps"] == [str(sky) for sky in skies]
    assert found["settings"]["mask"] == "mask.fits"
    assert [test["low"] for test in found["chi2"]["cut"]] == [2, 10]
    np.testing.assert_allclose(QTable.read(table)["cut_cl"].value, expected.cut.cl)
    assert plot.read_bytes().startswith(b"%PDF")


def test_what_is_printed(skyfill_main, folder):
    outcome = skyfill_main(
        "spectrum", folder / "sky_0.fits", "--mask", folder / "mask.fits", *PRIOR, "-q"
    )
    assert outcome.status == 0
    assert "cut sky: D_ell" in outcome.out
    assert "whole sky, ell 2 – 32: chi²" in outcome.out
    assert "cut sky, ell 2 – 32: chi²" in outcome.out


def test_an_inverted_mask_is_the_same(skyfill_main, folder):
    ways = (("mask.fits",), ("inverted.fits", "--invert"), ("soft.fits", "--threshold", 0.2))
    cut = []
    for name, *more in ways:
        words = ("spectrum", folder / "sky_0.fits", "--mask", folder / name, *more, *PRIOR)
        cut.append(json.loads(skyfill_main(*words, "--json", "-q").out)["bins"]["cut_cl"])
    np.testing.assert_allclose(cut[1], cut[0])
    np.testing.assert_allclose(cut[2], cut[0])


@pytest.mark.parametrize("invert", [False, True])
def test_an_apodised_mask_gives_its_weights(skyfill_main, folder, tmp_path, invert):
    observed = skyfill.read_mask(folder / "mask.fits")
    weights = skyfill.spectra.apodized(observed, np.radians(15))
    stored = 1 - weights if invert else weights
    skyfill.write_map(tmp_path / "w.fits", stored, unit="", dtype="float64")
    words = ("spectrum", folder / "sky_0.fits", "--mask", tmp_path / "w.fits", *PRIOR, "--json")
    outcome = skyfill_main(*words, *(["--invert"] if invert else []))
    assert outcome.status == 0, outcome.err
    assert f"{observed.mean():.2%} of the sky, weights up to 1" in outcome.err
    found = json.loads(outcome.out)
    assert found["settings"]["apodization"] == "as given: the mask holds weights"
    prior = skyfill.Prior(NSIDE, skyfill.lcdm(), fwhm=0.1, noise_uk_arcmin=300.0)
    sky = skyfill.read_map(folder / "sky_0.fits").values
    expected = skyfill.spectra.compare(sky, prior, observed=observed, apodize=np.radians(15)).cut
    np.testing.assert_allclose(found["bins"]["cut_cl"], expected.cl, rtol=1e-3)
    np.testing.assert_allclose(found["bins"]["cut_sigma"], expected.sigma, rtol=1e-3)


@pytest.mark.parametrize(
    ("words", "edges"),
    [
        (("--binning", "linear"), [2]),
        (("--binning", "linear", "--bins", 10), [2, 12, 22, 32]),
        (("--bins", 10), [2, 12, 22, 32]),
        (("--binning", "planck"), list(range(2, 31))),
        (("--binning", "default"), [2, 4, 6, 8, 10, 12, 15, 18, 22, 27]),
    ],
)
def test_binnings(skyfill_main, folder, words, edges):
    outcome = skyfill_main("spectrum", folder / "sky_0.fits", *words, *PRIOR, "--json", "-q")
    assert json.loads(outcome.out)["bins"]["ell_min"][: len(edges)] == edges


def test_the_verb_names_the_librarys_binnings(entry):
    verb = importlib.import_module(f"{entry.__module__.rpartition('.')[0]}.spectrum")
    assert verb.BINNINGS == skyfill.spectra.BINNINGS


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--mask", "small.fits"), "small.fits has Nside 8; give files of one Nside"),
        (("--mask", "nothing.fits"), "nothing.fits leaves no pixel observed"),
        (("--mask", "soft.fits", "--apodize-deg", 3), "soft.fits is apodised already"),
        (("--mask", "hits.fits"), "holds 0 to 900, so it is not a mask of 0 and 1"),
        (("--mask", "negative.fits"), "holds -0.5 to 0.5"),
        (("--mask", "spread.fits"), "has the unit uK_CMB, so it is a map"),
        (
            ("--mask", "equatorial.fits"),
            "equatorial.fits in equatorial coordinates (C); rotate the mask",
        ),
        (("--mask", "soft_equatorial.fits"), "soft_equatorial.fits in equatorial coordinates (C)"),
        (("--mask", "soft_small.fits"), "soft_small.fits has Nside 8"),
        (("--mask", "none.fits"), "none.fits"),
        (("--mask", "mask.fits", "--apodize-deg", 180), "below 180"),
        (("--mask", "tiny.fits"), "of the sky, too little"),
        (("--apodize-deg", 2), "--apodize-deg is an option of the mask; pass --mask"),
        (("--invert",), "--invert is an option of the mask"),
        (("--binning", "log", "--bins", 5), "drop --bins, or --binning log"),
        (("--range", 9, 3), "got 9 to 3"),
        (("--range", 2, 40), "2 ... lmax = 32"),
        (("--lmax", 48), "3 Nside - 1"),
        (("-o", "a.png", "--plot", "a.png"), "-o and --plot both name a.png"),
        (("low.fits",), "low.fits has Nside 8, sky_0.fits has Nside 16; give files of one"),
    ],
)
def test_wrong_input_is_one_line(skyfill_main, folder, monkeypatch, words, message):
    before = sorted(path.name for path in folder.iterdir())
    monkeypatch.chdir(folder)
    outcome = skyfill_main("spectrum", "sky_0.fits", *words, *PRIOR, "-q")
    assert outcome.status == 2
    assert outcome.err.startswith("skyfill: error: ")
    assert outcome.err.count("\n") == 1
    assert message in outcome.err
    assert outcome.out == ""
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.filterwarnings("default")
def test_a_fit_that_does_not_describe_the_sky_is_said(skyfill_main, tmp_path):
    """K taken for µK, for one."""
    values = skyfill.simulate_sky(32, seed=1, fwhm=0.05)
    skyfill.write_map(tmp_path / "right.fits", values)
    skyfill.write_map(tmp_path / "wrong.fits", values * 1e-6)
    assert skyfill_main("spectrum", tmp_path / "right.fits", "-q").err == ""
    outcome = skyfill_main("spectrum", tmp_path / "wrong.fits", "-q")
    assert outcome.status == 0
    assert "the fitted prior does not describe the sky" in outcome.err


def test_the_priors_share_stands_beside_each_bin(skyfill_main, folder, tmp_path):
    """Of one map from two fills of a simulated sky; without a mask nothing is known of it."""
    words = ("spectrum", folder / "sky_0.fits", *PRIOR, "--bins", 8, "-q")
    known = skyfill_main(*words, "--mask", folder / "mask.fits")
    assert known.status == 0, known.err
    assert "prior's share" in known.out.splitlines()[2]
    assert "σ / (1 - prior's share)" in known.out
    outcome = skyfill_main(
        *words, "--mask", folder / "mask.fits", "--json", "-o", tmp_path / "a.npz"
    )
    found = json.loads(outcome.out)["bins"]
    share = np.array(found["prior_share"])
    assert np.all((share > 0) & (share < 1))
    np.testing.assert_allclose(found["error"], np.array(found["sigma"]) / (1 - share))
    with np.load(tmp_path / "a.npz") as written:
        np.testing.assert_allclose(written["prior_share"], share)
        assert written["covariance"].shape == (share.size, share.size)
    alone = skyfill_main(*words)
    assert "is not known here: pass its mask (--mask)" in alone.out
    assert "prior_share" not in json.loads(skyfill_main(*words, "--json").out)["bins"]


@pytest.fixture(scope="module")
def filled(folder, entry):
    """Mean fills, and what is none."""
    sky, mask = folder / "sky_0.fits", folder / "mask.fits"
    for name, words in {
        "smooth": ("--method", "diffuse"),
        "mean": ("--method", "gaussian", "--mean", *PRIOR),
        "drawn": ("--method", "gaussian", *PRIOR),
    }.items():
        arguments = ["inpaint", sky, mask, *words, "-o", folder / f"{name}.fits", "-q"]
        assert entry([str(each) for each in arguments]) == 0
    return folder


@pytest.mark.parametrize(("name", "prior"), [("smooth", PRIOR), ("mean", ())])
def test_a_mean_fill_is_debiased(skyfill_main, filled, tmp_path, name, prior):
    words = ("--mask", filled / "mask.fits", "--debias", "--bins", 16, *prior, "--threads", 1)
    table = tmp_path / "s.npz"
    outcome = skyfill_main("spectrum", filled / f"{name}.fits", *words, "-o", table, "--json", "-q")
    assert outcome.status == 0, outcome.err
    bins = json.loads(outcome.out)["bins"]
    ours, cut = np.array(bins["debiased_cl"]), np.array(bins["cut_cl"])
    assert np.abs((ours - cut) / np.array(bins["cut_sigma"])).max() < 3
    share = np.array(bins["debiased_sigma"]) / np.array(bins["sigma"])
    assert (share > 0.85).all()
    assert share[-1] > 1
    with np.load(table) as found:
        variance = np.diagonal(found["debiased_covariance"])
        np.testing.assert_allclose(np.sqrt(variance), bins["debiased_sigma"])
    text = skyfill_main("spectrum", filled / f"{name}.fits", *words, "-q")
    assert "debiased [µK²]" in text.out
    per_cl = bins["dl_sigma"][0] / bins["sigma"][0]
    assert f" {(ours[0] - bins['noise'][0]) * per_cl:.2f} " in text.out


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("drawn", ("--mask", "mask.fits"), "holds realization 0, and --debias undoes mean fills"),
        ("sky_1", ("--mask", "mask.fits"), "does not say how it was filled (no SFMETHOD)"),
        ("mean", (), "pass --mask"),
        ("mean", ("--mask", "soft.fits"), "holds weights"),
        ("mean", ("--mask", "inverted.fits"), "of the sky was filled (SFFILLED), but"),
        ("mean", ("--mask", "mask.fits", "--apodize-deg", 5), "exclude each other"),
        ("mean", ("smooth.fits", "--mask", "mask.fits"), "takes one mean fill, got 2 maps"),
        ("mean", ("--mask", "turned.fits"), "do not hold the fill that its header describes"),
    ],
)
def test_what_cannot_be_debiased_is_refused_by_name(
    skyfill_main, filled, monkeypatch, name, words, said
):
    monkeypatch.chdir(filled)
    outcome = skyfill_main("spectrum", f"{name}.fits", *words, *PRIOR, "--debias", "-q")
    assert outcome.status == 2
    assert said in outcome.err
    assert len(outcome.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"nside": 32}, "has Nside 16, and the prior in its header is of Nside 32"),
        ({"fwhm_radians": 0.4, "fwhm_arcmin": 0.4 * 10800 / np.pi}, "do not hold the fill that"),
        ({"noise_uk_arcmin": 30000.0}, "do not hold the fill that its header describes"),
    ],
)
def test_a_prior_that_is_not_that_of_the_fill_is_refused(
    skyfill_main, filled, tmp_path, changed, said
):
    other = tmp_path / "other.fits"
    with fits.open(filled / "mean.fits") as hdus:
        header = hdus[skyfill.prior.PRIOR_HDU].header
        header["SFPRIOR"] = json.dumps(json.loads(header["SFPRIOR"]) | changed)
        hdus.writeto(other)
    words = ("--mask", filled / "mask.fits", *PRIOR, "--no-fit", "--debias", "-q")
    outcome = skyfill_main("spectrum", other, *words)
    assert outcome.status == 2
    assert said in outcome.err
    assert len(outcome.err.splitlines()) == 1
