"""Training of the baselines: the losses of the papers, and the same weights after a stop."""

import csv
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import torch
from vgg_file import vgg_state

from skyfill.baselines import MODELS, BaselineConfig, load, save, train, training
from skyfill.cosmovae import session
from skyfill.cosmovae.vgg import VGGFeatures
from skyfill.dataset import TileGeometry, write_tiles
from skyfill.holes import discs
from skyfill.prior import ARCMIN, Prior, draw, lcdm
from skyfill.vae.ranks import Ranks

NSIDE = 32
TINY = BaselineConfig("pconv", width_factor=0.1, max_steps=5, save_every=2, seed=5)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    prior = Prior(NSIDE, lcdm(), fwhm=300 * ARCMIN, noise_uk_arcmin=900.0)
    observed = discs(NSIDE, [0.3, 2.0, 4.0], [0.1, -0.5, 0.0], np.array([0.1, 0.25, 0.05]))
    geometry = TileGeometry(NSIDE, size=24, spacing_deg=(36.0, 17.0))
    path = tmp_path_factory.mktemp("tiles") / "t"
    return write_tiles(path, geometry, draw(prior, seed=1, threads=1), observed, prior=prior)


def rows_of(folder):
    with (folder / "log.csv").open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["total"]]


def modules_of(folder):
    return torch.load(folder / "checkpoint.pt", weights_only=True)["modules"]


TOTALS = {
    "pconv": lambda row: row["valid"] + 6 * row["hole"] + 0.1 * row["variation"],
    "vaeac": lambda row: row["divergence"] - row["likelihood"] - row["regularisation"],
    "context-encoder": lambda row: 0.999 * row["reconstruction"] + 0.001 * row["adversarial"],
}


@pytest.mark.parametrize("model", MODELS)
def test_training_lowers_the_loss_of_the_paper(dataset, tmp_path, model):
    config = replace(TINY, model=model, max_steps=24, save_every=100, learning_rate=2e-3)
    network, about = train(config, dataset, tmp_path, device="cpu")
    rows = rows_of(tmp_path)
    assert len(rows) == 24
    for row in rows[:3]:
        numbers = {key: float(value) for key, value in row.items() if value}
        assert numbers["total"] == pytest.approx(TOTALS[model](numbers), rel=1e-4)
    first, last = (np.mean([float(r["total"]) for r in part]) for part in (rows[:8], rows[-8:]))
    assert last < first - 0.1 * abs(first)
    assert about["training"]["model"] == model
    assert 0 < about["measured"]["held_out_rms_uk"] < 3 * about["training"]["rms_uk"]
    save(network, tmp_path / "w.safetensors", about=about)
    assert load(tmp_path / "w.safetensors")[0].arch.side == 24


@pytest.mark.parametrize("model", MODELS)
def test_a_run_goes_on_as_if_never_stopped(dataset, tmp_path, monkeypatch, model):
    """A clock that jumps half a minute at every look ends the first session before its time."""
    config = replace(TINY, model=model)
    train(config, dataset, tmp_path / "whole", device="cpu")
    ticks = count(step=30)
    with monkeypatch.context() as patched:
        patched.setattr(session.time, "monotonic", lambda: next(ticks))
        train(config, dataset, tmp_path / "parts", device="cpu", minutes=1.2)
    stopped = torch.load(tmp_path / "parts" / "checkpoint.pt", weights_only=True)["step"]
    assert 0 < stopped < config.max_steps
    train(config, dataset, tmp_path / "parts", device="cpu")
    pairs = zip(modules_of(tmp_path / "whole"), modules_of(tmp_path / "parts"), strict=True)
    for whole, parts in pairs:
        for key, value in whole.items():
            assert torch.equal(value, parts[key]), key
    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "parts")


def test_the_terms_of_features_count(dataset, tmp_path):
    config = replace(TINY, perceptual="imagenet", max_steps=1)
    with pytest.raises(ValueError, match="VGG-16"):
        train(config, dataset, tmp_path, device="cpu")
    train(config, dataset, tmp_path, device="cpu", vgg=VGGFeatures(vgg_state()))
    row = {key: float(value) for key, value in rows_of(tmp_path)[0].items() if value}
    assert row["perceptual"] > 0
    assert row["style"] > 0
    total = TOTALS["pconv"](row) + 0.05 * row["perceptual"] + 120 * row["style"]
    assert row["total"] == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "gan"}, "choose one of pconv, vaeac, context-encoder"),
        ({"perceptual": "sky"}, "choose one of imagenet, none"),
        ({"model": "vaeac", "perceptual": "imagenet"}, "vaeac has no perceptual term"),
        ({"batch": 1}, "needs 2 tiles or more"),
    ],
)
def test_bad_words_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        replace(TINY, **changes)


def test_each_process_needs_two_tiles_to_normalise(dataset, tmp_path):
    config = replace(TINY, batch=4)
    kind = training._SESSIONS["pconv"]
    with pytest.raises(ValueError, match=r"needs 2 or more; train on fewer.*`batch_size=8`"):
        kind(config, dataset, tmp_path, None, torch.device("cpu"), Ranks(0, 4))
    assert not list(tmp_path.iterdir())
