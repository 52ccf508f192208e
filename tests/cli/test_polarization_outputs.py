"""`skyfill inpaint --stokes`: what it writes beside the filled map, and --method diffuse."""

import json
import math
import weakref

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits

import skyfill
from skyfill.diffuse import diffuse_polarization
from tests.cli.test_polarization import HOW, NPIX, NSIDE, PRIOR, given, skies

__all__ = ["skies"]  # a fixture


@pytest.fixture
def run(skies, tmp_path, skyfill_main):
    """Fill tqu.fits, or another file, and give the outcome and the output."""

    def call(*words, name="tqu", stokes="TQU", out="out.fits", prior=(*HOW, *PRIOR)):
        path = tmp_path / out
        masks = (skies / "t.fits", "--mask-pol", skies / "p.fits")
        outcome = skyfill_main(
            *("inpaint", skies / f"{name}.fits", *masks, "-o", path, "--stokes", stokes),
            *prior,
            *words,
        )
        return outcome, path

    return call


def columns(path, hdu=1):
    with fits.open(path) as hdus:
        return {each: np.ravel(hdus[hdu].data[each]) for each in hdus[hdu].columns.names}


def test_no_realization_is_kept_when_the_next_one_is_drawn(run, monkeypatch):
    """At Nside 2048 each one would take 0.3 GiB beside the solve of the next."""
    own, before = skyfill.inpaint.PolarizedInpainter.realization, []

    def watched(self, index=0):
        assert all(each() is None for each in before)
        fills = own(self, index)
        before.extend(map(weakref.ref, fills))
        return fills

    monkeypatch.setattr(skyfill.inpaint.PolarizedInpainter, "realization", watched)
    outcome, _ = run("--realizations", 3)
    assert outcome.status == 0, outcome.err
    assert len(before) == 9


def test_std_is_that_of_the_realizations_by_stokes_parameter(run, skies, tmp_path):
    std = tmp_path / "std.fits"
    outcome, path = run("--std", std, "--realizations", 3, "--std-draws", 3, "--json")
    assert outcome.status == 0, outcome.err
    found = columns(std)
    assert list(found) == ["STD_T", "STD_Q", "STD_U"]
    fills = [given(path.with_name(f"out_00{k}.fits")) for k in range(3)]
    before = given(skies / "tqu.fits")
    for name, column in zip(found, before, strict=True):
        hole = before[column] < -1e30
        drawn = np.std([each[column] for each in fills], axis=0, ddof=1)
        assert np.all(found[name][~hole] == 0)
        assert np.allclose(found[name][hole], drawn[hole], rtol=1e-2, atol=1e-3 * drawn.max())
    said = json.loads(outcome.out)
    for name, column in zip("TQU", before, strict=True):
        hole = before[column] < -1e30
        rms = math.sqrt(float(np.mean(found[f"STD_{name}"][hole] ** 2)))
        assert said["std_rms_uk"][name] == pytest.approx(rms, rel=1e-4)


def test_json_has_figures_of_each_field(run):
    said = json.loads(run("--json", "--mean")[0].out)
    assert set(said["filled_pixels"]) == set(said["fsky"]) == {"T", "Q", "U"}
    assert said["fsky"]["Q"] == 1 - said["filled_pixels"]["Q"] / NPIX
    for name in "TP":
        found = said["certificates"][name]
        assert found["converged"]
        assert 0 < found["iterations"] < 200
        assert said[f"sfresid{name.lower()}"] == pytest.approx(found["residual"], rel=1e-3)
    assert said["check"]["verdict"] in ("good", "doubtful", "unknown")


def test_signal_has_no_noise_in_the_holes(run, skies):
    hole = given(skies / "tqu.fits")["Q_POLARISATION"] < -1e30
    data, signal = (
        columns(run("--fill", kind, out=f"{kind}.fits")[1])["Q_POLARISATION"][hole]
        for kind in ("data", "signal")
    )
    noise = math.sqrt(np.mean((data - signal) ** 2))
    white = 60 / math.degrees(math.sqrt(4 * math.pi / NPIX)) / 60
    assert noise == pytest.approx(white, rel=0.15)


def test_the_prior_comes_back_from_its_file_and_from_the_map(run, tmp_path, skies):
    saved = tmp_path / "prior.json"
    outcome, path = run("--save-prior", saved)
    assert outcome.status == 0, outcome.err
    of_file, of_map = (
        skyfill.prior.read_polarization(saved),
        skyfill.prior.recorded_polarization(path),
    )
    for prior in (of_file, of_map):
        assert prior.noise_pol == 60
        assert prior.temperature.nside == NSIDE
        for name in ("EE", "BB", "TE"):
            assert np.array_equal(getattr(prior, name.lower()), skyfill.lcdm(None, name))
    t = skyfill.prior.recorded_prior(path)
    assert t.noise_uk_arcmin == 600
    assert np.array_equal(t.cl, skyfill.prior.read_prior(saved).cl)
    # A run with that prior is the same fill.
    for number, source in enumerate((saved, path)):
        again, other = run("--prior", source, prior=HOW, out=f"{number}.fits")
        assert again.status == 0, again.err
        assert all(np.array_equal(columns(other)[k], v) for k, v in columns(path).items())
        other.unlink()


def test_other_verbs_read_the_prior_of_t_in_a_filled_map(run, skyfill_main):
    _, path = run()
    outcome = skyfill_main("spectrum", path, "--json", "-q", "--lmax", 24)
    assert outcome.status == 0, outcome.err
    assert json.loads(outcome.out)["prior"]["origin"]["noise_uk_arcmin"] == "header"


def test_the_cache_serves_a_second_run_with_the_same_fill(run, tmp_path):
    cache = tmp_path / "cache"
    plain = columns(run(out="0.fits")[1])
    first, path = run("--cache", cache, out="1.fits")
    assert first.status == 0, first.err
    stored = {each.name: each.stat().st_mtime_ns for each in cache.iterdir()}
    assert any(name.startswith("labels") for name in stored)
    assert any(name.startswith("factors") for name in stored)
    second = columns(run("--cache", cache, out="2.fits")[1])
    assert {each.name: each.stat().st_mtime_ns for each in cache.iterdir()} == stored
    for name, values in plain.items():
        assert np.array_equal(columns(path)[name], values)
        assert np.array_equal(second[name], values)


def test_a_dry_run_plans_by_field_and_writes_nothing(run, skies):
    outcome, path = run("--dry-run", "--json")
    assert outcome.status == 0, outcome.err
    assert not path.exists()
    said = json.loads(outcome.out)
    before = given(skies / "tqu.fits")
    for name, column in (("T", "TEMPERATURE"), ("P", "Q_POLARISATION")):
        assert said["fields"][name]["hole_pixels"] == np.count_nonzero(before[column] < -1e30)
    assert said["prior"] == "given"
    assert said["memory"] > 3e8
    told = run("--dry-run", prior=("--method", "diffuse", "-q"))[0].out
    assert "diffuse, no prior" in told
    assert "P: " in told


def test_too_little_memory_is_refused_before_the_work(run):
    outcome, path = run("--memory-limit", "100M")
    assert outcome.status == 2
    assert "--memory-limit" in outcome.err
    assert not path.exists()


DIFFUSE = ("--method", "diffuse", "-q", "--threads", 1)


def test_diffuse_fills_t_as_alone_and_q_and_u_together(run, skies, tmp_path, skyfill_main):
    outcome, path = run(prior=DIFFUSE)
    assert outcome.status == 0, outcome.err
    alone = tmp_path / "alone.fits"
    assert not skyfill_main(
        *("inpaint", skies / "tqu.fits", skies / "t.fits", "-o", alone, *DIFFUSE, "--stokes", "T")
    ).status
    found, before = columns(path), given(skies / "tqu.fits")
    assert np.array_equal(found["TEMPERATURE"], columns(alone)["TEMPERATURE"])
    q, u = (before[f"{name}_POLARISATION"] for name in "QU")
    hole = q < -1e30
    filled = diffuse_polarization(np.array([q, u]), ~hole)
    for name, values, mine in zip("QU", (q, u), filled, strict=True):
        column = found[f"{name}_POLARISATION"]
        assert np.array_equal(column[~hole], values[~hole])
        assert np.allclose(column[hole], mine, atol=1e-5 * np.std(values[~hole]))


def test_diffuse_keeps_sign_of_u_order_and_says_what_bb_is(run):
    outcome, path = run(prior=DIFFUSE)
    assert "BB in the holes is made by diffusion" in outcome.out
    u = columns(path)["U_POLARISATION"]
    iau = columns(run(name="iau", prior=DIFFUSE, out="iau.fits")[1])["U_POLARISATION"]
    nest = columns(run(name="nest", prior=DIFFUSE, out="nest.fits")[1])["U_POLARISATION"]
    assert np.array_equal(iau, -u)
    assert np.array_equal(hp.reorder(nest, n2r=True), u)
    assert skyfill.prior.recorded_polarization(path) is None


def test_diffuse_fills_q_and_u_alone(run):
    outcome, path = run("--json", name="qu", stokes="QU", prior=DIFFUSE)
    assert outcome.status == 0, outcome.err
    said = json.loads(outcome.out)
    assert said["prior"] is None
    assert said["sfconv"]
    assert columns(path)["Q_POLARISATION"].min() > -100


@pytest.mark.parametrize(
    ("words", "prior", "said"),
    [
        (("--realizations", 3), DIFFUSE, "drop --realizations"),
        (("--std", "std.fits"), DIFFUSE, "drop --std, or pass --method gaussian"),
        (("--save-prior", "p.json"), DIFFUSE, "drop --save-prior"),
        (("--cache", "c"), DIFFUSE, "drop --cache"),
        (("--cl", "map"), (*HOW, *PRIOR), "--cl FILE with four spectra"),
        (("--r", 0.1), DIFFUSE, "drop --r"),
        (("--noise-map", "auto"), (*HOW, *PRIOR), "auto is for T alone"),
        (("--noise-map", "n.fits"), DIFFUSE, "drop --noise-map"),
        (("--footprint", "f.fits"), (*HOW, *PRIOR), "--stokes T"),
        (("--std-draws", 4), (*HOW, *PRIOR), "--std-draws is for --std or --report"),
    ],
)
def test_what_is_not_there_is_refused_with_what_to_do_instead(run, words, prior, said):
    outcome, path = run(*words, prior=prior)
    assert outcome.status == 2
    assert said in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert not path.exists()
