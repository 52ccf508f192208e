"""`skyfill spectrum` of maps of T, Q and U."""

import json
import math

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable
from skyfill.simulate import simulate_stokes

import skyfill
from skyfill.prior import LCDM, PolarizedPrior, Prior

NSIDE = 16
PRIOR = ("--beam-arcmin", 600, "--noise-uk-arcmin", 100, "--noise-pol-uk-arcmin", 5)
BINS = ("--bins", 6, "--lmax", 24)


@pytest.fixture(scope="module")
def prior():
    t = Prior(NSIDE, skyfill.lcdm(), math.radians(10), 100.0, theory=LCDM)
    return PolarizedPrior.of(t, 5.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, prior):
    """A sky in several forms, and masks of T and of P."""
    path = tmp_path_factory.mktemp("six")
    sky = simulate_stokes(prior, seed=3)
    names = ("TEMPERATURE", "Q_POLARISATION", "U_POLARISATION")
    for name, u, sign in (("cosmo", 1, "COSMO"), ("iau", -1, "IAU")):
        columns = dict(zip(names, sky * np.array([[1], [1], [u]]), strict=True))
        card = {"POLCCONV": (sign, "")}
        skyfill.write_map(path / f"{name}.fits", columns, dtype="float64", provenance=card)
    skyfill.write_map(path / "silent.fits", dict(zip(names, sky, strict=True)), dtype="float64")
    skyfill.write_map(path / "t.fits", sky[0], dtype="float64")
    theta, phi = hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2))
    masks = {
        "mask": np.abs(theta - math.pi / 2) > 0.2,
        "maskp": np.abs(theta - math.pi / 2 + 0.1 * np.sin(phi)) > 0.3,
        "small": np.ones(768),
    }
    for name, mask in masks.items():
        skyfill.write_map(path / f"{name}.fits", mask, column="M", unit="", dtype="uint8")
    return path


def masked(folder):
    return ("--mask", folder / "mask.fits", "--mask-pol", folder / "maskp.fits")


def test_table_json_and_figure_of_six_spectra(skyfill_main, folder, tmp_path, prior):
    table, plot = tmp_path / "s.fits", tmp_path / "s.png"
    outcome = skyfill_main(
        *("spectrum", folder / "cosmo.fits", "--stokes", "TQU", *masked(folder), *PRIOR, *BINS),
        *("-o", table, "--plot", plot, "--json", "-q"),
    )
    assert outcome.status == 0, outcome.err
    found = json.loads(outcome.out)
    assert found["spectra"] == ["TT", "EE", "BB", "TE", "EB", "TB"]
    observed, observed_pol = (skyfill.read_mask(folder / f"{n}.fits") for n in ("mask", "maskp"))
    share = skyfill.fidelity.bb_share(prior, observed, observed_pol, lmax=24, bins=6)
    expected = skyfill.spectra.compare_stokes(
        simulate_stokes(prior, seed=3),
        prior,
        lmax=24,
        bins=6,
        observed=observed,
        observed_pol=observed_pol,
        bb_share=share,
    )
    for name, values in expected.as_dict()["bins"].items():
        np.testing.assert_allclose(found["bins"][name], values, rtol=1e-5, err_msg=name)
    assert 0 < found["bins"]["BB_prior_share"][0] < 1
    assert "divide nothing by it" in found["about_bb"][0]
    assert [test["low"] for test in found["chi2"]["cut"]["TE"]] == [2]
    assert plot.read_bytes().startswith(b"\x89PNG")
    rows = QTable.read(table, hdu=1)
    np.testing.assert_allclose(rows["cut_TE_cl"].value, expected.cut["TE"].cl, rtol=1e-5)
    assert rows["BB_cl"].unit == "uK2"
    with fits.open(table) as hdus:
        assert hdus["CUT_BB_COVARIANCE"].data.shape == (len(rows), len(rows))
        assert "leaks" in str(hdus[1].header["COMMENT"]) or "turns" in str(
            hdus[1].header["COMMENT"]
        )


def test_what_is_printed(skyfill_main, folder):
    outcome = skyfill_main(
        *("spectrum", folder / "silent.fits", *masked(folder), *PRIOR, *BINS, "-q")
    )
    assert outcome.status == 0, outcome.err
    said = outcome.out
    for words in (
        "TB  ell range",
        "prior's share",
        "divide nothing by it: measure r on the cut sky, or forward-model the fill",
        "below about ell = 50, the error of BB of a cut sky is the variance of the E",
        "U as in COSMO, since the file has no POLCCONV",
        "cut sky, BB, ell 2",
    ):
        assert words in said


def test_the_sign_of_u_is_that_of_the_file(skyfill_main, folder):
    def bins(name, *words):
        outcome = skyfill_main(
            *("spectrum", folder / name, "--stokes", "TQU", *words, *PRIOR, *BINS, "--json", "-q")
        )
        assert outcome.status == 0, outcome.err
        return json.loads(outcome.out)["bins"]

    cosmo, iau = bins("cosmo.fits"), bins("iau.fits")
    assert cosmo == iau
    wrong = bins("iau.fits", "--polcconv", "COSMO")
    assert wrong["TT_cl"] == cosmo["TT_cl"]
    assert wrong["EE_cl"] != cosmo["EE_cl"]


def test_a_simulated_or_filled_map_says_what_it_is_and_its_noise(skyfill_main, tmp_path):
    out = tmp_path / "sky.fits"
    words = ("--nside", NSIDE, "--seed", 1, *PRIOR, "-o", out, "-q")
    assert skyfill_main("simulate", "sky", "--stokes", "QU", *words).status == 0
    outcome = skyfill_main("spectrum", out, *BINS, "--json", "-q")
    assert outcome.status == 0, outcome.err
    found = json.loads(outcome.out)
    assert found["noise_pol_origin"] == "header"
    outcome = skyfill_main("spectrum", out, *BINS, *PRIOR[:4], "-q")
    assert "noise 5.0 uK.arcmin (header)" in outcome.out
    outcome = skyfill_main("spectrum", out, *BINS, *PRIOR[:4], "--no-fit", "-q")
    assert "noise 141.4 uK.arcmin (assumed: √2 times that of T)" in outcome.out
    assert found["spectra"] == ["EE", "BB", "EB"]
    assert found["noise_pol_uk_arcmin"] == 5.0
    assert not found["polcconv_assumed"]


def test_t_alone_is_as_before(skyfill_main, folder):
    def out(name, *words):
        outcome = skyfill_main(
            *("spectrum", folder / name, *PRIOR[:4], *BINS, *words, "--json", "-q")
        )
        assert outcome.status == 0, outcome.err
        return json.loads(outcome.out)["bins"]

    assert out("silent.fits") == out("t.fits") == out("cosmo.fits", "--stokes", "T")


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("t.fits", ("--stokes", "TQU"), "no column of Stokes Q"),
        ("t.fits", ("--polcconv", "IAU"), "--polcconv is an option of polarization"),
        ("cosmo.fits", ("--stokes", "TQU", "--field", "TEMPERATURE"), "drop one of them"),
        ("cosmo.fits", ("--stokes", "TQU", "--mask-pol", "maskp.fits"), "pass --mask as well"),
        ("cosmo.fits", ("--stokes", "TQU", "--mask", "small.fits"), "Nside 8"),
        ("cosmo.fits", ("--stokes", "TQU", "--lmax", 48), "--lmax must be from 2 to"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(skyfill_main, folder, name, words, said):
    words = [folder / each if str(each).endswith(".fits") else each for each in words]
    outcome = skyfill_main("spectrum", folder / name, *PRIOR[:4], *words, "-q")
    assert outcome.status == 2
    assert said in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


@pytest.fixture(scope="module")
def filled(tmp_path_factory, entry):
    """Mean fills of a small sky, and what is none."""
    path = tmp_path_factory.mktemp("debias")
    t = Prior(8, skyfill.lcdm(), math.radians(25), 1000.0, theory=LCDM)
    sky = simulate_stokes(PolarizedPrior.of(t, 5.0), seed=3)
    names = ("TEMPERATURE", "Q_POLARISATION", "U_POLARISATION")
    columns = dict(zip(names, sky, strict=True))
    skyfill.write_map(path / "sky.fits", columns, dtype="float64")
    theta, phi = hp.pix2ang(8, np.arange(768))
    masks = {
        "mask": np.abs(theta - math.pi / 2) > 0.2,
        "maskp": np.abs(theta - math.pi / 2 + 0.1 * np.sin(phi)) > 0.3,
        "turned": np.abs(theta - math.pi / 2 - 0.1 * np.sin(phi)) > 0.3,
    }
    for name, mask in masks.items():
        skyfill.write_map(path / f"{name}.fits", mask, column="M", unit="", dtype="uint8")
    assert masks["maskp"].sum() == masks["turned"].sum()
    pair = (path / "mask.fits", "--mask-pol", path / "maskp.fits")
    for name, words in {
        "mean": ("--stokes", "TQU", "--method", "gaussian", "--mean", *SMALL),
        "smooth": ("--stokes", "TQU", "--method", "diffuse"),
        "drawn": ("--stokes", "TQU", "--method", "gaussian", *SMALL),
    }.items():
        arguments = ["inpaint", path / "sky.fits", *pair, *words, "-o", path / f"{name}.fits", "-q"]
        assert entry([str(each) for each in arguments]) == 0
    arguments = ["inpaint", path / "sky.fits", pair[0], "--method", "diffuse", "-q"]
    arguments += ["--stokes", "T"]
    assert entry([str(each) for each in [*arguments, "-o", path / "t.fits"]]) == 0
    return path


SMALL = ("--beam-arcmin", 1500, "--noise-uk-arcmin", 1000, "--noise-pol-uk-arcmin", 5)
FEW = ("--lmax", 8, "--bins", 4, "--threads", 1)


@pytest.mark.parametrize("name", ["mean", "smooth"])
def test_a_mean_fill_of_t_q_and_u_is_debiased(skyfill_main, filled, tmp_path, name):
    table = tmp_path / "s.npz"
    words = ("--mask", filled / "mask.fits", "--mask-pol", filled / "maskp.fits", *SMALL, *FEW)
    map_ = filled / f"{name}.fits"
    outcome = skyfill_main("spectrum", map_, *words, "--debias", "-o", table, "--json", "-q")
    assert outcome.status == 0, outcome.err
    bins = json.loads(outcome.out)["bins"]
    for each in ("TT", "EE", "BB", "TE", "EB", "TB"):
        ours, sigma = (np.array(bins[f"{each}_debiased_{key}"]) for key in ("cl", "sigma"))
        cut, error = (np.array(bins[f"cut_{each}_{key}"]) for key in ("cl", "sigma"))
        assert np.abs((ours - cut) / np.hypot(sigma, error)).max() < 4, each
        assert (sigma > 0.7 * np.array(bins[f"{each}_sigma"])).all(), each
    share = np.array(bins["BB_debiased_sigma"]) / np.array(bins["cut_BB_sigma"])
    assert (share < 0.7).all()  # a fill tells E from B that a mask mixes
    with np.load(table) as found:
        sigma = np.sqrt(np.diagonal(found["debiased_covariance"])).reshape(6, -1)
        np.testing.assert_allclose(sigma[4], bins["EB_debiased_sigma"])
    text = skyfill_main("spectrum", map_, *words, "--debias", "-q")
    assert "debiased [µK²]" in text.out
    plain = skyfill_main("spectrum", map_, *words, "--json", "-q")
    known = json.loads(plain.out)["bins"]
    assert known == {key: value for key, value in bins.items() if "debiased" not in key}


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("drawn", (), "holds realization 0, and --debias undoes mean fills"),
        ("sky", ("--stokes", "TQU"), "does not say how it was filled (no SFMETHOD)"),
        ("t", ("--stokes", "TQU"), "TQU"),
        ("mean", ("--stokes", "QU"), "TQU were filled together, and --debias undoes the fill of Q"),
        ("mean", ("--apodize-deg", 5), "exclude each other"),
        ("mean", ("smooth.fits",), "takes one mean fill, got 2 maps"),
        ("mean", ("--mask-pol", "mask.fits"), "of the sky was filled (SFFILLED), but"),
        ("mean", ("--mask-pol", "turned.fits"), "do not hold the fill that its header describes"),
    ],
)
def test_what_of_t_q_and_u_cannot_be_debiased_is_refused_by_name(
    skyfill_main, filled, monkeypatch, name, words, said
):
    monkeypatch.chdir(filled)
    if "--mask-pol" not in words:
        words = (*words, "--mask-pol", "maskp.fits")
    maps = (f"{name}.fits", *(each for each in words if str(each) == "smooth.fits"))
    rest = tuple(each for each in words if str(each) != "smooth.fits")
    outcome = skyfill_main(
        "spectrum", *maps, "--mask", "mask.fits", *rest, *SMALL, *FEW, "--debias", "-q"
    )
    assert outcome.status == 2
    assert said in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_t_of_a_joint_fill_is_not_debiased_alone(skyfill_main, filled):
    outcome = skyfill_main(
        *("spectrum", filled / "mean.fits", "--stokes", "T", "--mask", filled / "mask.fits"),
        *("--beam-arcmin", 1500, "--noise-uk-arcmin", 1000, *FEW, "--debias", "-q"),
    )
    assert outcome.status == 2
    assert "TQU were filled together (SFSTOKES)" in outcome.err
    assert "pass --stokes TQU" in outcome.err
