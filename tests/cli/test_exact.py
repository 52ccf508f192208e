"""`skyfill evaluate --exact`, and the tiles that it plans again from a header."""

import json

import numpy as np
import pytest
from astropy.io import fits

import skyfill
from skyfill.prior import ARCMIN

NSIDE = 16
PRIOR = ("--beam-arcmin", 600, "--noise-uk-arcmin", 600)
MASK = ("--mask", "mask.fits")
FAR = ("exact_rms_uk", "exact_99_uk", "exact_999_uk", "exact_worst_uk")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, entry):
    """A map filled by several methods, of several draws."""
    path = tmp_path_factory.mktemp("exact")
    sky = skyfill.simulate_sky(NSIDE, seed=3, fwhm=np.radians(10), noise_uk_arcmin=600)
    observed = skyfill.simulate_mask(NSIDE, seed=3, half_width=0.15, n_holes=10, radii=(0.08, 0.15))
    fewer = skyfill.simulate_mask(NSIDE, seed=3, half_width=0.1)
    skyfill.write_map(path / "map.fits", np.where(observed, sky, np.nan), column="T", unit="uK")
    skyfill.write_map(path / "bare.fits", sky, column="T", unit="uK")
    skyfill.write_map(path / "whole.fits", sky, column="T", unit="uK")
    for name, mask in (("mask", observed), ("fewer", fewer), ("none", np.ones_like(observed))):
        skyfill.write_map(path / f"{name}.fits", mask, column="M", unit="", dtype="uint8")
    runs = {
        "vae": ["--method", "vae", "--seed", 7],
        "vae_mean": ["--method", "vae", "--mean"],
        "vae_signal": ["--method", "vae", "--seed", 7, "--fill", "signal"],
        "vae_fit": ["--method", "vae", "--seed", 7, "--dipole", "fit"],
        "gaussian": ["--method", "gaussian", "--seed", 7],
        "gaussian_8": ["--method", "gaussian", "--seed", 8],
        "gaussian_mean": ["--method", "gaussian", "--mean"],
        "diffuse": ["--method", "diffuse"],
    }
    for name, words in runs.items():
        files = [path / "map.fits", path / "mask.fits", "-o", path / f"{name}.fits"]
        line = ["inpaint", *files, *words, "-q", *([] if name == "diffuse" else PRIOR)]
        assert entry([str(word) for word in line]) == 0
    _off(path / "vae.fits", path / "off.fits", np.flatnonzero(~observed))
    wider = ["inpaint", path / "whole.fits", path / "fewer.fits", "-o", path / "fewer_7.fits"]
    wider += ["--method", "gaussian", "--seed", 7, "-q", *PRIOR]
    assert entry([str(word) for word in wider]) == 0
    sharp = ["inpaint", path / "map.fits", path / "mask.fits", "-o", path / "sharp.fits", "-q"]
    sharp += ["--method", "gaussian", "--seed", 7, "--beam-arcmin", 500, "--noise-uk-arcmin", 600]
    assert entry([str(word) for word in sharp]) == 0
    return path


def _off(source, target, holes):
    """Copy a filled map with an error of 1 µK, and of 30 µK in three pixels."""
    with fits.open(source) as file:
        values = file[1].data["T"].ravel().copy()
        values[holes] += 1
        values[holes[100:103]] += 29
        file[1].data["T"] = values.reshape(file[1].data["T"].shape)
        file.writeto(target)


@pytest.fixture
def evaluate(skyfill_main, folder, monkeypatch):
    monkeypatch.chdir(folder)
    return lambda *words: skyfill_main("evaluate", *words, "-q")


def said_by(outcome):
    assert outcome.status == 0, outcome.err
    return json.loads(outcome.out)


@pytest.mark.parametrize("exact", ["gaussian.fits", None])
def test_a_realization_beside_the_exact_one(evaluate, folder, exact):
    words = ["off.fits", *MASK, "--exact", *filter(None, [exact])]
    said = said_by(evaluate(*words, "--json"))
    assert said["exact"] == (exact or "solved")
    holes = ~skyfill.read_mask(folder / "mask.fits")
    ours, theirs = (
        skyfill.read_map(folder / name).values[holes] for name in ("off.fits", "gaussian.fits")
    )
    expected = skyfill.fidelity.tail(ours, theirs)
    for name in FAR:
        assert said[name] == pytest.approx(expected[name].value, rel=1e-3)
        assert said["figures"][name]["verdict"] is None
    assert said["exact_99_uk"] == pytest.approx(1, abs=0.2)
    assert said["exact_worst_uk"] == pytest.approx(30, abs=0.2)
    assert said["tiles"] is None  # of Nside 16, a whole
    assert "exact_999_uk" in evaluate(*words).out


@pytest.mark.parametrize("name", ["vae_mean", "vae_signal", "vae_fit"])
def test_what_is_solved_for_is_of_the_same_draw(evaluate, name):
    said = said_by(evaluate(f"{name}.fits", *MASK, "--json", "--exact"))
    assert 0 < said["exact_worst_uk"] < 1e-2


def test_a_mean_beside_the_exact_mean(evaluate):
    said = said_by(evaluate("diffuse.fits", *MASK, "--json", "--exact", "gaussian_mean.fits"))
    assert said["exact_worst_uk"] > said["exact_999_uk"] > said["exact_rms_uk"] > 1


def test_a_map_of_other_programs_has_a_tail_too(evaluate):
    said = said_by(evaluate("bare.fits", *MASK, "--json", "--exact", "gaussian.fits"))
    assert said["exact_rms_uk"] > 10


def test_without_it_nothing_is_solved_for(evaluate):
    said = said_by(evaluate("vae.fits", *MASK, "--json"))
    assert said["exact"] is None
    assert not set(FAR) & set(said)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--exact", "gaussian_8.fits"), "its SFSEED is 8, and 7 in vae.fits; write it with"),
        (("--exact", "gaussian_8.fits"), "--method gaussian --seed 7 -o FILE"),
        (("--exact", "gaussian_mean.fits"), "its SFFILL is mean, and realization"),
        (("--exact", "diffuse.fits"), "was filled by diffuse, not exactly"),
        (("--exact", "vae.fits"), "is the filled map itself"),
        (("--exact", "sharp.fits"), "with another prior than vae.fits"),
        (("--exact", "fewer_7.fits"), "its SFFILLED is"),
        (("--exact", "whole.fits"), "the exact fill differs"),
        (("--exact", "map.fits"), "the exact fill misses"),
        (("--exact", "missing.fits"), "missing.fits"),
    ],
)
def test_what_is_not_the_exact_fill_is_refused(evaluate, folder, words, message):
    if "whole.fits" in words:  # of another map, by a program that says nothing
        sky = skyfill.simulate_sky(NSIDE, seed=4, fwhm=np.radians(10), noise_uk_arcmin=600)
        skyfill.write_map(folder / "whole.fits", sky, column="T", unit="uK", overwrite=True)
    outcome = evaluate("vae.fits", *MASK, *words)
    assert outcome.status == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("gaussian.fits", *MASK, "--exact"), "is the exact fill already; drop --exact"),
        (("diffuse.fits", *MASK, "--exact"), "not a map that skyfill filled by vae"),
        (("bare.fits", *MASK, "--exact"), "-o FILE`, and pass --exact FILE"),
        (("vae_signal.fits", *MASK, "--exact", "gaussian.fits"), "its SFLIKE is data"),
        (("vae_fit.fits", *MASK, "--exact", "gaussian.fits"), "with --dipole marginalise"),
        (("vae.fits", "--mask", "fewer.fits", "--exact"), "of the sky was filled (SFFILLED)"),
        (("vae.fits", "vae_mean.fits", *MASK, "--exact"), "give one FILLED"),
        (("--exact", "vae.fits", *MASK), "--exact took vae.fits for the exact fill"),
        (("--exact", *MASK), "needs their mask"),
        (("vae.fits", "--exact"), "needs their mask"),
    ],
)
def test_what_cannot_be_compared_is_refused(evaluate, words, message):
    outcome = evaluate(*words)
    assert outcome.status == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.fixture(scope="module")
def tiled(tmp_path_factory, entry):
    """A map that is filled from tiles."""
    path = tmp_path_factory.mktemp("tiled")
    sky = skyfill.simulate_sky(256, seed=3, fwhm=20 * ARCMIN, noise_uk_arcmin=60)
    observed = skyfill.simulate_mask(256, seed=3, half_width=0.2, n_holes=20)
    skyfill.write_map(path / "map.fits", np.where(observed, sky, np.nan), column="T", unit="uK")
    skyfill.write_map(path / "mask.fits", observed, column="M", unit="", dtype="uint8")
    observed[np.argmin(observed)] = True
    skyfill.write_map(path / "other.fits", observed, column="M", unit="", dtype="uint8")
    words = ["inpaint", path / "map.fits", path / "mask.fits", "-o", path / "vae.fits", "-q"]
    words += ["--beam-arcmin", 20, "--noise-uk-arcmin", 60, "--device", "cpu", "--polish", 0]
    assert entry([str(word) for word in words]) == 0
    return path


def test_tiles_are_planned_again_and_their_borders_judged(skyfill_main, tiled, monkeypatch):
    monkeypatch.chdir(tiled)
    outcome = skyfill_main("evaluate", "vae.fits", *MASK, "--json")
    said = said_by(outcome)
    assert said["tiles"] > 50
    assert {"border_step", "border_slope"} <= set(said)
    assert said["figures"]["border_step"]["verdict"] in ("good", "doubtful")
    assert "tile borders" in outcome.err
    assert "exact_border_step" not in said


@pytest.mark.slow
def test_a_page_of_the_fill_tells_of_borders(skyfill_main, tiled, monkeypatch):
    monkeypatch.chdir(tiled)
    words = ("map.fits", "mask.fits", "-o", "again.fits", "--device", "cpu", "--polish", 0, "-q")
    words += ("--beam-arcmin", 20, "--noise-uk-arcmin", 60, "--std-draws", 2)
    outcome = skyfill_main("inpaint", *words, "--report", "page.html")
    assert outcome.status == 0, outcome.err
    page = (tiled / "page.html").read_text(encoding="utf-8")
    assert "steps across the borders of tiles in holes" in page


@pytest.mark.filterwarnings("default")
def test_tiles_of_another_mask_are_not_guessed(skyfill_main, tiled, monkeypatch):
    monkeypatch.chdir(tiled)
    outcome = skyfill_main("evaluate", "vae.fits", "--mask", "other.fits", "--json", "-q")
    assert "warning: vae.fits: 20.7985% of the sky was filled (SFFILLED), but" in outcome.err
    assert "the borders of its tiles are not evaluated" in outcome.err
    assert said_by(outcome)["tiles"] is None


@pytest.mark.filterwarnings("default")
def test_tiles_of_another_version_are_said_to_be(skyfill_main, tiled, tmp_path, monkeypatch):
    monkeypatch.chdir(tiled)
    old = tmp_path / "old.fits"
    old.write_bytes((tiled / "vae.fits").read_bytes())
    fits.setval(old, "CREATOR", value="skyfill 0.0.1", ext=1)
    outcome = skyfill_main("evaluate", old, *MASK, "--json", "-q")
    assert "was written by skyfill 0.0.1; its tiles are reconstructed by" in outcome.err
    assert said_by(outcome)["tiles"] > 50


def test_a_large_map_wants_a_file(skyfill_main, tiled, monkeypatch):
    monkeypatch.chdir(tiled)
    monkeypatch.setattr("skyfill.cli.origin._AFFORDABLE", 128)
    outcome = skyfill_main("evaluate", "vae.fits", *MASK, "--exact", "-q")
    assert outcome.status == 2
    assert "vae.fits has Nside 256, and --exact computes exact fills up to Nside 128" in outcome.err


def test_a_header_without_a_draw_is_refused(skyfill_main, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    lost = tmp_path / "lost.fits"
    lost.write_bytes((folder / "vae.fits").read_bytes())
    fits.delval(lost, "SFFILL", ext=1)
    outcome = skyfill_main("evaluate", lost, *MASK, "--exact", "-q")
    assert outcome.status == 2
    assert "SFFILL or SFSEED is missing in its header" in outcome.err
