"""`skyfill validate`, and `skyfill evaluate` of filled maps."""

import json

import numpy as np
import pytest

import skyfill

NSIDE = 16
PRIOR = ("--beam-arcmin", 600, "--noise-uk-arcmin", 600)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, entry):
    """A true map, its mask, five realizations, the exact mean and the spread, as inpaint does."""
    path = tmp_path_factory.mktemp("trust")
    sky = skyfill.simulate_sky(NSIDE, seed=3, fwhm=np.radians(10), noise_uk_arcmin=600)
    observed = skyfill.simulate_mask(NSIDE, seed=3, half_width=0.15, n_holes=10, radii=(0.08, 0.15))
    skyfill.write_map(path / "truth.fits", sky, column="T", unit="uK")
    skyfill.write_map(path / "map.fits", np.where(observed, sky, np.nan), column="T", unit="uK")
    for name, mask in (("mask", observed), ("whole", np.ones_like(observed))):
        skyfill.write_map(path / f"{name}.fits", mask, column="M", unit="", dtype="uint8")
    skyfill.write_map(path / "coarse.fits", np.arange(12.0 * 64), column="T", unit="uK")
    words = ["inpaint", path / "map.fits", path / "mask.fits", "--method", "gaussian", "-q", *PRIOR]
    runs = [["-o", path / "fill.fits", "--realizations", 5, "--std", path / "std.fits"]]
    runs.append(["-o", path / "mean.fits", "--mean"])
    for run in runs:
        assert entry([str(word) for word in (*words, *run)]) == 0
    return path


@pytest.fixture
def evaluate(skyfill_main, folder, monkeypatch):
    monkeypatch.chdir(folder)
    return lambda *words: skyfill_main("evaluate", *words, "-q")


FILLS = [f"fill_{index:03d}.fits" for index in range(5)]
KNOWN = ("--mask", "mask.fits", "--truth", "truth.fits")


def test_realizations_against_the_truth(evaluate, folder):
    outcome = evaluate(*FILLS, *KNOWN, "--optimum", "mean.fits", "--json")
    assert outcome.status == 0, outcome.err
    said = json.loads(outcome.out)
    truth, mean = (skyfill.read_map(folder / name).values for name in ("truth.fits", "mean.fits"))
    observed = skyfill.read_mask(folder / "mask.fits")
    skies = [skyfill.read_map(folder / name).values for name in FILLS]
    found = skyfill.fidelity.score_sky(skies, observed, truth=truth, optimum=mean)
    for name, each in found.figures.items():
        assert said[name] == pytest.approx(each.value, rel=1e-6, abs=1e-6)
        assert said["figures"][name]["verdict"] == each.verdict
    assert said["realizations"] == 5
    assert said["judged_pixels"] == said["hole_pixels"] == np.count_nonzero(~observed)
    assert sum(said["ranks"]) == said["judged_pixels"]
    assert said["figures"]["z_width"]["verdict"] != "bad"
    assert said["figures"]["excess_over_optimum"]["verdict"] != "bad"


def test_a_mean_with_its_spread(evaluate):
    outcome = evaluate("mean.fits", *KNOWN, "--std", "std.fits", "--json")
    assert outcome.status == 0, outcome.err
    said = json.loads(outcome.out)
    assert said["realizations"] == 1
    assert said["figures"]["z_width"]["value"] == pytest.approx(1, abs=0.3)
    assert "ranks" not in said


def test_words_for_people(evaluate):
    outcome = evaluate(*FILLS, *KNOWN)
    assert outcome.status == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0].startswith("prior    Planck 2018 LCDM (header), beam 600.00 arcmin (header")
    assert lines[1].startswith("5 filled maps, ")
    (width,) = (line for line in lines if line.startswith("z_width"))
    assert width.split()[4] in ("good", "doubtful", "bad")
    assert width.endswith("width of the z-scores: above 1, the error bars are too small")
    alone = evaluate(FILLS[0], "--mask", "mask.fits")
    assert alone.status == 0, alone.err
    assert "without a truth" in alone.out
    assert "z_width" not in alone.out
    assert "seam_step" in alone.out
    assert "give several fills, or a mean with --std" in evaluate(FILLS[0], *KNOWN).out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "nothing to evaluate; give filled maps and --mask, or --tiles and --weights"),
        (("--tiles", "tiles"), "nothing to evaluate"),
        ((FILLS[0],), "needs their mask"),
        (KNOWN, "needs their mask"),
        ((*FILLS, *KNOWN, "--tiles", "tiles"), "not both"),
        ((*FILLS, *KNOWN, "--limit", 3), "not both"),
        ((*FILLS, *KNOWN, "--std", "std.fits"), "belongs to a mean"),
        ((*FILLS, "--mask", "mask.fits", "--optimum", "mean.fits"), "pass --truth"),
        ((*FILLS, "--mask", "mask.fits", "--truth", "coarse.fits"), "coarse.fits has Nside 8"),
        (("coarse.fits", *KNOWN), "coarse.fits has Nside 8"),
        ((*FILLS, "--mask", "whole.fits", "--truth", "truth.fits"), "the mask has no hole"),
        (("mean.fits", "mean.fits", *KNOWN), "a mean has no scatter to judge"),
        (("map.fits", *KNOWN), "a fill misses"),
        ((*FILLS, "--mask", "mask.fits", "--truth", "map.fits"), "truth is missing in every hole"),
        (("none.fits", *KNOWN), "none.fits"),
    ],
)
def test_what_evaluate_refuses(evaluate, words, message):
    outcome = evaluate(*words)
    assert outcome.status == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_validate(skyfill_main, folder):
    words = ("validate", folder / "map.fits", folder / "mask.fits", *PRIOR, "--share", 0.2)
    words += ("--realizations", 4, "--method", "gaussian", "-q")
    outcome = skyfill_main(*words, "--json")
    assert outcome.status == 0, outcome.err
    said = json.loads(outcome.out)
    assert {"z_width", "coverage_68", "coverage_95", "rms_uk"} <= set(said)
    assert 0 < said["coverage_68"] < said["coverage_95"] <= 1
    assert len(said["holes"]) == said["held_out"] > 1
    assert sum(hole["pixels"] for hole in said["holes"]) == said["held_out_pixels"]
    assert said["figures"]["z_width"]["error"] > 0
    assert said["method"] == "gaussian"
    again = json.loads(skyfill_main(*words, "--json").out)
    assert again["z_width"] == said["z_width"]
    other = json.loads(skyfill_main(*words, "--json", "--seed", 1, "--holes", 3).out)
    assert other["held_out"] == 3
    text = skyfill_main(*words).out
    assert f"{said['held_out']} held-out holes" in text
    assert "z_width" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("map.fits", "mask.fits", "--realizations", 1), "--realizations 2 or more"),
        (("truth.fits", "whole.fits"), "nothing to fill"),
        (("coarse.fits", "mask.fits"), "coarse.fits has Nside 8, mask.fits has Nside 16"),
        (("map.fits", "mask.fits", "--share", 0.9), "at most 0.5"),
        (("map.fits", "mask.fits", "--share", 1e-9), "no clean place"),
        (("map.fits", "mask.fits", "--method", "gaussian", "--polish", 2), "drop --polish"),
        (("map.fits", "mask.fits", "--noise-map", "none.fits"), "none.fits"),
    ],
)
def test_what_validate_refuses(skyfill_main, folder, monkeypatch, words, message):
    monkeypatch.chdir(folder)
    outcome = skyfill_main("validate", *words, "-q", *PRIOR)
    assert outcome.status == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
