"""`skyfill train`: weights that `skyfill inpaint` takes, and nothing half-written."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import skyfill
from skyfill import vae
from skyfill.vae import Architecture, training

NSIDE = 256
TINY = training.TrainConfig(
    steps=2,
    batch=2,
    side=32,
    guard=4,
    exact=5,
    nside=(1024, 2048),
    held_out=1,
    architecture=Architecture(warm=1, steps=1, channels=(4, 6), gates=(4, 6), bands=6, scales=2),
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """A recipe of seconds."""
    monkeypatch.setattr(training, "TrainConfig", lambda: TINY)


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    """A map and a mask."""
    folder = tmp_path_factory.mktemp("sky")
    values = skyfill.simulate_sky(NSIDE, seed=1, fwhm=np.radians(0.6), noise_uk_arcmin=40.0)
    observed = skyfill.simulate_mask(NSIDE, seed=2, kind="both", n_holes=20)
    skyfill.write_map(folder / "map.fits", values)
    skyfill.write_map(folder / "mask.fits", observed, unit="", dtype="uint8")
    return folder


def log_of(folder):
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_weights_are_trained_and_listed(skyfill_main, tmp_path):
    out = tmp_path / "mine.safetensors"
    outcome = skyfill_main("train", "-o", out, "--seed", 3, "--json")
    assert outcome.status == 0
    said = json.loads(outcome.out)
    network, card = vae.load(out)
    assert (said["output"], said["run"]) == (str(out), str(tmp_path / "mine.run"))
    assert said["sha256"] == card.sha256
    assert card.training["seed"] == 3
    assert card.training["trained_steps"] == 2
    assert card.training["nside"] == [1024, 2048]
    assert (card.name, network.arch) == ("mine", TINY.architecture)
    (entry,) = log_of(tmp_path / "mine.run")
    assert entry["excess"] == card.measured["excess"]
    assert "train: step 2 of 2, excess" in outcome.err
    assert "reconstruction" in outcome.err
    assert "by_mask discs: floor" in skyfill_main("models", out).out


@pytest.mark.slow
def test_inpaint_takes_them(skyfill_main, tmp_path, sky):
    weights, filled = tmp_path / "mine.safetensors", tmp_path / "filled.fits"
    assert skyfill_main("train", "-o", weights, "-q").status == 0
    outcome = skyfill_main(
        "inpaint", sky / "map.fits", sky / "mask.fits", "-o", filled, "--weights", weights,
        "--beam-arcmin", 36, "--noise-uk-arcmin", 40, "--mean", "-q",
    )  # fmt: skip
    assert (outcome.status, outcome.err) == (0, "")
    (table,) = skyfill.describe(filled).tables
    assert table.keywords["SFMODEL"] == "mine"


def test_an_interrupted_run_is_gone_on_with(skyfill_main, tmp_path):
    out, run = tmp_path / "mine.safetensors", tmp_path / "elsewhere"
    words = ("train", "-o", out, "--run", run, "-q")
    assert skyfill_main(*words, "--minutes", 0).status == 0
    assert vae.load(out)[1].training["trained_steps"] == 0
    out.unlink()
    out.with_suffix(".json").unlink()
    before = (run / "checkpoint.pt").read_bytes()
    outcome = skyfill_main(*words)
    assert (outcome.status, outcome.out) == (2, "")
    assert f"{run / 'checkpoint.pt'} exists already; pass --resume" in outcome.err
    assert (run / "checkpoint.pt").read_bytes() == before
    assert not out.exists()
    assert skyfill_main(*words, "--resume").status == 0
    assert skyfill_main("train", "-o", tmp_path / "whole.safetensors", "-q").status == 0
    resumed, whole = (vae.load(tmp_path / f"{name}.safetensors")[0] for name in ("mine", "whole"))
    for ours, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert [entry["step"] for entry in log_of(run)] == [0, 2]
    assert skyfill_main(*words, "--overwrite", "--steps", 1).status == 0
    assert [entry["step"] for entry in log_of(run)] == [1]


def test_weights_to_begin_from(skyfill_main, tmp_path):
    out = tmp_path / "finer.safetensors"
    outcome = skyfill_main("train", "-o", out, "--weights", "shipped", "--minutes", 0, "-q")
    assert outcome.status == 0
    (ours, _), (theirs, _) = vae.load(out), vae.load()
    assert ours.arch == theirs.arch
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)


def test_an_own_spectrum(skyfill_main, tmp_path):
    table = tmp_path / "mine.txt"
    ell = np.arange(2, 3000)
    np.savetxt(table, np.column_stack([ell, 1e6 / ell**3.0]))
    out = tmp_path / "steep.safetensors"
    assert skyfill_main("train", "-o", out, "--cl", table, "-q").status == 0
    assert skyfill_main("train", "-o", tmp_path / "usual.safetensors", "-q").status == 0
    _, card = vae.load(out)
    assert card.training["data"] == "simulated flat-sky tiles; mine.txt"
    usual = vae.load(tmp_path / "usual.safetensors")[1]
    assert card.measured["floor"] != usual.measured["floor"]


@pytest.mark.parametrize("options", [(), ("--beam-arcmin", 36, "--noise-uk-arcmin", 40)])
def test_own_maps(skyfill_main, tmp_path, sky, options):
    out = tmp_path / "own.safetensors"
    words = ("train", "-o", out, "--maps", sky / "map.fits", "--mask", sky / "mask.fits")
    outcome = skyfill_main(*words, "--nonlinear", *options)
    assert outcome.status == 0
    assert "from map.fits" in outcome.err
    network, card = vae.load(out)
    assert not network.arch.linear
    assert card.training["data"] == "tiles of map.fits"
    assert "nside" not in card.training
    assert card.outside(nside=NSIDE, fwhm=0.01, noise_uk_arcmin=40.0) is None
    assert card.measured["floor"] < card.measured["prior"]


def refused(skyfill_main, folder, message, *words):
    before = sorted(folder.rglob("*"))
    outcome = skyfill_main("train", *words)
    assert (outcome.status, outcome.out) == (2, "")
    assert message in outcome.err
    assert outcome.err.count("skyfill: error") == outcome.err.count("\n") == 1
    assert sorted(folder.rglob("*")) == before


def test_bad_input_is_one_line(skyfill_main, tmp_path, sky):
    out = tmp_path / "mine.safetensors"
    cases = {
        "must end in .safetensors": ("-o", tmp_path / "mine.pt"),
        "there is no folder": ("-o", tmp_path / "none" / "mine.safetensors"),
        "drop --resume to start": ("-o", out, "--resume"),
        "--mask is an option of maps": ("-o", out, "--mask", sky / "mask.fits"),
        "--nonlinear is an option of maps": ("-o", out, "--nonlinear"),
        "--beam-arcmin is an option of maps": ("-o", out, "--beam-arcmin", 5),
        "--dl is an option of --cl FILE": ("-o", out, "--dl"),
        "none.txt": ("-o", out, "--cl", tmp_path / "none.txt"),
        "no such file of weights": ("-o", out, "--weights", tmp_path / "none.safetensors"),
        "pass --device auto": ("-o", out, "--device", "abacus"),
        "none.fits": ("-o", out, "-q", "--maps", tmp_path / "none.fits"),
        "shipped is linear": ("-o", out, "--weights", "shipped", "--nonlinear", "--maps", sky),
    }
    for message, words in cases.items():
        refused(skyfill_main, tmp_path, message, *words, "-q")


def test_a_map_without_whole_tiles(skyfill_main, tmp_path, sky):
    observed = np.zeros(12 * NSIDE**2, dtype=bool)
    observed[:50] = True
    skyfill.write_map(tmp_path / "little.fits", observed, unit="", dtype="uint8")
    out, little = tmp_path / "mine.safetensors", tmp_path / "little.fits"
    words = ("-o", out, "--maps", sky / "map.fits", "-q", "--mask")
    refused(skyfill_main, tmp_path, "map.fits: no tile of", *words, little)


def test_nothing_is_written_over(skyfill_main, tmp_path):
    out = tmp_path / "mine.safetensors"
    out.write_text("precious", encoding="utf-8")
    refused(skyfill_main, tmp_path, "mine.safetensors exists already", "-o", out, "-q")
    assert out.read_text(encoding="utf-8") == "precious"


def test_bad_input_costs_no_checkpoint(skyfill_main, tmp_path):
    """Even where it was to be written over."""
    out = tmp_path / "mine.safetensors"
    assert skyfill_main("train", "-o", out, "-q").status == 0
    bad = ("--cl", tmp_path / "none.txt")
    refused(skyfill_main, tmp_path, "none.txt", "-o", out, "-q", "--overwrite", *bad)


def test_another_run_is_not_gone_on_with(skyfill_main, tmp_path):
    out = tmp_path / "mine.safetensors"
    assert skyfill_main("train", "-o", out, "-q").status == 0
    refused(
        skyfill_main, tmp_path, "another configuration", "-o", out, "-q", "--resume", "--seed", 9
    )
    other = replace(TINY, seed=9)
    assert other != TINY
