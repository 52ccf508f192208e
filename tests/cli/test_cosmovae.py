"""The published network by commands: tiles, train, evaluate, inpaint."""

import json

import healpy as hp
import numpy as np
import pytest
from vgg_file import vgg_state

import skyfill

NSIDE = 64
MAP = ["--beam-arcmin", "150", "--noise-uk-arcmin", "300"]


@pytest.fixture(scope="module")
def made(tmp_path_factory, entry):
    """A map, a mask, tiles, and weights of a few steps."""
    folder = tmp_path_factory.mktemp("cosmovae")
    words = ["--nside", str(NSIDE), "-q"]
    sky, mask, tiles = (str(folder / name) for name in ("map.fits", "mask.fits", "tiles"))
    assert entry(["simulate", "sky", "-o", sky, *MAP, *words, "--seed", "3"]) == 0
    holes = ["--kind", "holes", "--holes", "6", "--radius-arcmin", "200", "300"]
    assert entry(["simulate", "mask", "-o", mask, *holes, *words, "--seed", "4"]) == 0
    shape = ["--size", "24", "--projection", "gnomonic", "--pixel-arcmin", "45"]
    assert entry(["tiles", sky, mask, "-o", tiles, *shape, "--split", "region", "-q"]) == 0
    weights = str(folder / "mine.safetensors")
    small = ["--width-factor", "0.04", "--max-steps", "4", "--perceptual", "none", "-q"]
    train = ["train", "--model", "cosmovae", "--tiles", tiles, "-o", weights, *small]
    assert entry([*train, "--device", "cpu", "--seed", "5"]) == 0
    return folder


def test_the_card_says_what_was_done(made):
    _, card = skyfill.cosmovae.load(made / "mine.safetensors")
    found = {key: card.training[key] for key in ("trained_steps", "perceptual", "width_factor")}
    assert found == {"trained_steps": 4, "perceptual": "none", "width_factor": 0.04}
    assert card.training["split"] == "region"
    assert card.measured["held_out_rms_uk"] > 0


def test_models_tells_of_both_kinds(skyfill_main, made):
    outcome = skyfill_main("models", made / "mine.safetensors", skyfill.vae.shipped()[0], "--json")
    assert outcome.status == 0, outcome.err
    mine = json.loads(outcome.out)["models"][0]
    assert (mine["name"], mine["training"]["regulariser"]) == ("mine", "kl")


def test_training_goes_on(skyfill_main, made, tmp_path):
    words = ("train", "--model", "cosmovae", "--tiles", made / "tiles", "--perceptual", "none")
    words += ("--width-factor", 0.04, "--max-steps", 3, "-o", tmp_path / "a.safetensors")
    assert skyfill_main(*words).status == 0
    again = skyfill_main(*words, "--resume", "--json")
    assert again.status == 0, again.err
    assert json.loads(again.out)["training"]["trained_steps"] == 3
    refused = skyfill_main(*words)
    assert refused.status == 2
    assert "--overwrite" in refused.err


def test_evaluate(skyfill_main, made):
    words = ("evaluate", "--tiles", made / "tiles", "--weights", made / "mine.safetensors")
    outcome = skyfill_main(*words, "--limit", 5, "--json")
    assert outcome.status == 0, outcome.err
    said = json.loads(outcome.out)
    dataset = skyfill.dataset.open_tiles(made / "tiles")
    tiles, masks = dataset.pairs(5, seed=0)
    assert set(tiles) <= set(dataset.test)
    truth, observed = dataset.tiles(tiles), dataset.observed(masks)
    filler = skyfill.cosmovae.CosmoFiller(*skyfill.cosmovae.load(made / "mine.safetensors"))
    filled = filler(truth, observed)
    np.testing.assert_array_equal(filled[observed], truth[observed])
    scores = skyfill.fidelity.score_tiles(filled, truth, observed)
    for key in ("mse", "mae", "psnr", "ssim", "hole_rms_uk"):
        assert said[key] == pytest.approx(getattr(scores, key), rel=1e-5)
    assert (said["tiles"], said["seen_in_training"]) == (5, False)
    assert said["ratio_to_optimum"] == pytest.approx(
        (said["hole_rms_uk"] / said["hole_optimum_rms_uk"]) ** 2
    )
    assert said["hole_optimum_rms_uk"] < said["hole_rms_uk"]
    assert "PSNR" in skyfill_main(*words, "-q").out


def test_inpaint(skyfill_main, made, tmp_path):
    out, std = tmp_path / "filled.fits", tmp_path / "std.fits"
    words = ("inpaint", made / "map.fits", made / "mask.fits", "-o", out, "--method", "cosmovae")
    weights = made / "mine.safetensors"
    outcome = skyfill_main(
        *words, "--weights", weights, "--std", std, "--std-draws", 3, "--json", "-q"
    )
    assert outcome.status == 0, outcome.err
    sky, filled = (hp.read_map(path, dtype=np.float64) for path in (made / "map.fits", out))
    observed = skyfill.read_mask(made / "mask.fits")
    np.testing.assert_array_equal(filled[observed], sky[observed])
    assert np.all(filled[~observed] != sky[~observed])
    spread = hp.read_map(std, dtype=np.float64)
    assert np.all(spread[~observed] > 0)
    fitter = skyfill.Inpainter(sky, observed, method="cosmovae", weights=weights)
    draws = [fitter.realization(k) for k in range(3)]
    np.testing.assert_allclose(spread[~observed], np.std(draws, axis=0, ddof=1), rtol=1e-4)
    assert json.loads(outcome.out)["sfmodel"] == "mine"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--model", "cosmovae", "--perceptual", "none"), "pass --tiles DIR"),
        (("--max-steps", "3"), "--max-steps is for --model cosmovae"),
        (("--model", "cosmovae", "--tiles", "TILES", "--steps", "3"), "--steps is for --model vae"),
        (("--model", "cosmovae", "--tiles", "TILES"), "vgg16-397923af.pth"),
        (("--model", "cosmovae", "--tiles", "/nowhere", "--perceptual", "none"), "skyfill tiles"),
        (
            ("--model", "cosmovae", "--tiles", "TILES", "--perceptual", "none", "--cl", "CL"),
            "up to l = 2508",
        ),
    ],
)
def test_bad_words(skyfill_main, made, tmp_path, monkeypatch, words, said):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    table = tmp_path / "cl.txt"
    np.savetxt(table, np.column_stack([np.arange(100), np.ones(100)]))
    places = {"TILES": made / "tiles", "CL": table}
    words = [places.get(word, word) for word in words]
    outcome = skyfill_main("train", "-o", tmp_path / "w.safetensors", *words)
    assert outcome.status == 2
    assert said in outcome.err.strip().splitlines()[-1]
    assert not (tmp_path / "w.safetensors").exists()


def test_imagenet_features_by_the_command(skyfill_main, made, tmp_path):
    import torch

    torch.save(vgg_state(), tmp_path / "vgg.pth")
    words = ("train", "--model", "cosmovae", "--tiles", made / "tiles", "--width-factor", 0.04)
    words += ("--max-steps", 1, "--vgg-weights", tmp_path / "vgg.pth")
    outcome = skyfill_main(*words, "-o", tmp_path / "w.safetensors", "--json")
    assert outcome.status == 0, outcome.err
    assert json.loads(outcome.out)["training"]["perceptual"] == "imagenet"
