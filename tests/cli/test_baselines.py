"""The other published networks by commands: train, evaluate, inpaint."""

import json

import numpy as np
import pytest

import skyfill

NSIDE = 64
MAP = ["--beam-arcmin", "150", "--noise-uk-arcmin", "300"]
MODELS = ("pconv", "vaeac", "context-encoder")
SMALL = ("--width-factor", 0.1, "--max-steps", 2, "--perceptual", "none", "--device", "cpu", "-q")


@pytest.fixture(scope="module")
def made(tmp_path_factory, entry):
    """A map, a mask, tiles, and weights of two steps of every network."""
    folder = tmp_path_factory.mktemp("baselines")
    words = ["--nside", str(NSIDE), "-q"]
    sky, mask, tiles = (str(folder / name) for name in ("map.fits", "mask.fits", "tiles"))
    assert entry(["simulate", "sky", "-o", sky, *MAP, *words, "--seed", "3"]) == 0
    holes = ["--kind", "holes", "--holes", "6", "--radius-arcmin", "200", "300"]
    assert entry(["simulate", "mask", "-o", mask, *holes, *words, "--seed", "4"]) == 0
    shape = ["--size", "24", "--projection", "gnomonic", "--pixel-arcmin", "45"]
    assert entry(["tiles", sky, mask, "-o", tiles, *shape, "--split", "region", "-q"]) == 0
    for model in MODELS:
        train = [
            "train",
            "--model",
            model,
            "--tiles",
            tiles,
            "-o",
            str(folder / f"{model}.safetensors"),
        ]
        assert entry([*train, *map(str, SMALL)]) == 0
    return folder


@pytest.mark.parametrize("model", MODELS)
def test_evaluate_and_models_take_the_weights(skyfill_main, made, model):
    weights = made / f"{model}.safetensors"
    words = ("evaluate", "--tiles", made / "tiles", "--weights", weights, "--limit", 4, "--json")
    outcome = skyfill_main(*words, "--device", "cpu", "-q")
    assert outcome.status == 0, outcome.err
    found = json.loads(outcome.out)
    assert (found["tiles"], found["weights"]) == (4, model)
    assert found["ratio_to_optimum"] > 1
    told = json.loads(skyfill_main("models", weights, "--json").out)["models"][0]
    assert (told["training"]["model"], told["training"]["trained_steps"]) == (model, 2)


@pytest.mark.parametrize("model", MODELS)
def test_inpaint_fills_the_sphere(skyfill_main, made, tmp_path, model):
    out = tmp_path / "filled.fits"
    words = ("inpaint", made / "map.fits", made / "mask.fits", "-o", out, "--method", model)
    outcome = skyfill_main(
        *words, "--weights", made / f"{model}.safetensors", "--device", "cpu", "-q"
    )
    assert outcome.status == 0, outcome.err
    before, after = (skyfill.read_map(made / "map.fits").values, skyfill.read_map(out).values)
    observed = skyfill.read_mask(made / "mask.fits")
    np.testing.assert_array_equal(after[observed], before[observed])
    assert np.isfinite(after).all()
    (table,) = skyfill.describe(out).tables[:1]
    assert table.keywords["SFMETHOD"] == model
    assert table.keywords["SFMODEL"] == model
    assert table.keywords["SFFILL"] == ("realization 0" if model == "vaeac" else "mean")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("inpaint", "--method", "pconv"), "no weights of pconv are shipped"),
        (("inpaint", "--method", "pconv", "--realizations", 2), "deterministic and has one fill"),
        (("inpaint", "--method", "pconv", "--std", "s.fits"), "deterministic and has no spread"),
        (("inpaint", "--method", "vaeac", "--polish", 3), "vaeac has no prior to polish with"),
        (
            ("inpaint", "--method", "vaeac", "--weights", "pconv.safetensors"),
            "weights of a pconv, not of a vaeac",
        ),
        (("train", "--model", "pconv"), "pconv is trained on tiles; pass --tiles DIR"),
        (
            ("train", "--model", "vaeac", "--tiles", "tiles", "--regulariser", "gan"),
            "--regulariser is for --model cosmovae",
        ),
        (
            ("train", "--model", "vaeac", "--tiles", "tiles", "--perceptual", "imagenet"),
            "vaeac has no perceptual term",
        ),
        (
            ("train", "--model", "context-encoder", "--tiles", "tiles", "--batch-size", 1),
            "pass --batch-size 4",
        ),
        (
            ("evaluate", "--tiles", "tiles", "--weights", "pconv.safetensors", "--sample"),
            "pconv draws nothing",
        ),
    ],
)
def test_bad_words(skyfill_main, made, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(made)
    verb, *rest = words
    if verb == "inpaint":
        rest = ["map.fits", "mask.fits", "-o", tmp_path / "out.fits", *rest]
    elif verb == "train":
        rest = ["-o", tmp_path / "out.safetensors", *rest]
    outcome = skyfill_main(verb, *rest, "-q")
    assert outcome.status == 2
    assert said in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())
