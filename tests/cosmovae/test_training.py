"""Training: the same weights whatever happened on the way."""

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import torch
from vgg_file import vgg_state

from skyfill.cosmovae import CosmoConfig, load, session, train, training
from skyfill.cosmovae.batches import Batches
from skyfill.cosmovae.vgg import VGGFeatures
from skyfill.dataset import TileGeometry, write_tiles
from skyfill.holes import discs
from skyfill.prior import ARCMIN, Prior, draw, lcdm

NSIDE = 32
TINY = CosmoConfig(width_factor=0.04, perceptual="none", max_steps=7, save_every=3, seed=5)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    prior = Prior(NSIDE, lcdm(), fwhm=300 * ARCMIN, noise_uk_arcmin=900.0)
    observed = discs(NSIDE, [0.3, 2.0, 4.0], [0.1, -0.5, 0.0], np.array([0.1, 0.25, 0.05]))
    geometry = TileGeometry(NSIDE, size=24, spacing_deg=(36.0, 17.0))
    path = tmp_path_factory.mktemp("tiles") / "t"
    return write_tiles(path, geometry, draw(prior, seed=1, threads=1), observed, prior=prior)


def log_of(folder):
    with (folder / "log.csv").open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["total"]]


def same(one, other):
    for key, value in one.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[key], rtol=1e-6, atol=1e-7, msg=key)


def weights_of(folder):
    return torch.load(folder / "checkpoint.pt", weights_only=True)["modules"][0]


def test_training_logs_its_terms_and_lowers_the_loss(dataset, tmp_path):
    config = replace(TINY, max_steps=60, learning_rate=2e-3)
    network, about = train(config, dataset, tmp_path, device="cpu")
    rows = log_of(tmp_path)
    assert [int(row["step"]) for row in rows] == list(range(1, 61))
    for row in rows[:3]:
        terms = config.reconstruction * float(row["reconstruction"])
        terms += config.divergence * float(row["divergence"])
        terms += config.variation * float(row["variation"])
        assert float(row["total"]) == pytest.approx(terms, rel=1e-5)
        assert float(row["perceptual"]) == 0
    first, last = (
        np.mean([float(r["reconstruction"]) for r in s]) for s in (rows[:10], rows[-10:])
    )
    assert last < 0.9 * first
    assert about["training"]["trained_steps"] == 60
    assert 0 < about["measured"]["held_out_rms_uk"] < 2 * about["training"]["rms_uk"]
    assert network.arch.widths == (3, 5, 10, 20, 20, 20)


def test_a_run_goes_on_as_if_never_stopped(dataset, tmp_path, monkeypatch):
    """A clock that jumps half a minute at every look ends the first session before its time."""
    train(TINY, dataset, tmp_path / "whole", device="cpu")
    ticks = count(step=30)
    with monkeypatch.context() as patched:
        patched.setattr(session.time, "monotonic", lambda: next(ticks))
        train(TINY, dataset, tmp_path / "parts", device="cpu", minutes=1.2)
    stopped = torch.load(tmp_path / "parts" / "checkpoint.pt", weights_only=True)["step"]
    assert 0 < stopped < TINY.max_steps
    train(TINY, dataset, tmp_path / "parts", device="cpu")
    for key, value in weights_of(tmp_path / "whole").items():
        assert torch.equal(value, weights_of(tmp_path / "parts")[key]), key
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "parts")


def test_a_run_stopped_within_its_first_epoch_gives_the_last_network(
    dataset, tmp_path, monkeypatch
):
    """The best network is that before the first step, until a held-out error is measured."""
    config = replace(TINY, max_steps=7, save_every=100)
    ticks = count(step=30)
    with monkeypatch.context() as patched:
        patched.setattr(session.time, "monotonic", lambda: next(ticks))
        network, about = train(config, dataset, tmp_path / "parts", device="cpu", minutes=1.2)
    steps = about["training"]["trained_steps"]
    assert 0 < steps < Batches(dataset, config).epoch_steps
    assert about["training"]["best_step"] == steps
    assert 0 < about["measured"]["held_out_rms_uk"] < 3 * about["training"]["rms_uk"]
    for key, value in weights_of(tmp_path / "parts").items():
        assert torch.equal(value, network.state_dict()[key]), key
    # The run that goes on knows nothing of that.
    _, again = train(config, dataset, tmp_path / "parts", device="cpu")
    _, whole = train(config, dataset, tmp_path / "whole", device="cpu")
    assert again["measured"] == whole["measured"]
    text = (tmp_path / "whole" / "log.csv").read_text(encoding="utf-8")
    assert (tmp_path / "parts" / "log.csv").read_text(encoding="utf-8") == text


def test_a_training_that_has_diverged_gives_no_network(dataset, tmp_path):
    config = replace(TINY, max_steps=3, learning_rate=1e30)
    with pytest.raises(ValueError, match=r"has diverged: after 3 steps .*another `seed`"):
        train(config, dataset, tmp_path, device="cpu")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch": 0}, "batch must be an integer, 1 or more"),
        ({"epochs": 0}, "epochs must be an integer, 1 or more"),
        ({"max_steps": 0}, "max_steps must be an integer, 1 or more"),
        ({"patience": 0}, "patience must be an integer, 1 or more"),
        ({"save_every": 0}, "save_every must be an integer, 1 or more"),
        ({"held_out": (0.1, 0)}, r"held_out\[1\] must be an integer, 1 or more"),
        ({"held_out": (1.0, 64)}, "share of the tiles, must be between 0 and 1"),
        ({"regulariser": "none"}, "regulariser 'none' is unknown; choose one of kl, gan, wgan"),
    ],
)
def test_schedules_that_train_nothing_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        replace(TINY, **changes)


def test_a_run_goes_on_beyond_its_end(dataset, tmp_path):
    train(replace(TINY, max_steps=3), dataset, tmp_path / "longer", device="cpu")
    train(TINY, dataset, tmp_path / "longer", device="cpu")
    train(TINY, dataset, tmp_path / "whole", device="cpu")
    for key, value in weights_of(tmp_path / "whole").items():
        assert torch.equal(value, weights_of(tmp_path / "longer")[key]), key


def test_another_configuration_is_refused(dataset, tmp_path):
    train(replace(TINY, max_steps=1), dataset, tmp_path, device="cpu")
    with pytest.raises(ValueError, match="another configuration"):
        train(replace(TINY, max_steps=1, seed=6), dataset, tmp_path, device="cpu")
    with pytest.raises(ValueError, match="another configuration"):
        train(replace(TINY, max_steps=1), dataset, tmp_path, device="cpu", cl=2 * lcdm())


@pytest.mark.parametrize("regulariser", ["gan", "wgan"])
def test_an_adversary_takes_the_place_of_the_divergence(dataset, tmp_path, regulariser):
    config = replace(TINY, regulariser=regulariser)
    train(config, dataset, tmp_path / "whole", device="cpu")
    state = torch.load(tmp_path / "whole" / "checkpoint.pt", weights_only=True)
    assert len(state["modules"]) == 2
    assert all(row["adversary"] for row in log_of(tmp_path / "whole"))
    torch.manual_seed(0)
    again, _ = train(config, dataset, tmp_path / "again", device="cpu")
    for key, value in again.state_dict().items():
        assert torch.isfinite(value).all(), key
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "again")


def test_the_perceptual_term_counts(dataset, tmp_path):
    config = replace(TINY, perceptual="imagenet", max_steps=2, perceptual_weight=0.5)
    with pytest.raises(ValueError, match="VGG-16"):
        train(config, dataset, tmp_path, device="cpu")
    train(config, dataset, tmp_path, device="cpu", vgg=VGGFeatures(vgg_state()))
    row = log_of(tmp_path)[0]
    assert float(row["perceptual"]) > 0
    rest = float(row["reconstruction"]) + float(row["divergence"])
    rest += config.variation * float(row["variation"])
    assert float(row["total"]) == pytest.approx(rest + 0.5 * float(row["perceptual"]), rel=1e-5)


def test_training_stops_where_nothing_is_gained(dataset, tmp_path):
    config = replace(TINY, max_steps=None, learning_rate=0.0, patience=2, batch=16)
    _, about = train(config, dataset, tmp_path, device="cpu")
    assert about["training"]["trained_steps"] == 3 * Batches(dataset, config).epoch_steps
    assert about["training"]["best_step"] == Batches(dataset, config).epoch_steps


def test_every_tile_is_seen_once_an_epoch(dataset):
    batches = Batches(dataset, TINY)
    assert set(batches.kept) & set(batches.held) == set()
    assert set(batches.kept) | set(batches.held) == set(dataset.train)
    sums = [
        float(t[0].double().std()) for s in range(batches.epoch_steps) for t in batches.at(s)[0]
    ]
    assert len(sums) == batches.epoch_steps * TINY.batch
    assert len(set(sums)) == len(sums)


SCRIPT = """
import sys
from skyfill.cosmovae import CosmoConfig, train
from skyfill.dataset import open_tiles
config = CosmoConfig(width_factor=0.04, perceptual="none", max_steps={steps}, save_every=3, seed=5)
train(config, open_tiles(sys.argv[1]), __import__("pathlib").Path(sys.argv[2]), device="cpu")
"""


def start(dataset, folder, steps, **environment):
    words = [sys.executable, "-c", SCRIPT.format(steps=steps), str(dataset.path), str(folder)]
    return subprocess.Popen(words, env=os.environ | {"OMP_NUM_THREADS": "1"} | environment)


@pytest.mark.slow
def test_a_killed_run_goes_on(dataset, tmp_path):
    """kill -9 at whatever moment: after the first checkpoint is seen."""
    folder, steps = tmp_path / "killed", 40
    with start(dataset, folder, steps) as child:
        while not (folder / "checkpoint.pt").exists():
            assert child.poll() is None
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
    assert torch.load(folder / "checkpoint.pt", weights_only=True)["step"] < steps
    for where in (folder, tmp_path / "whole"):
        with start(dataset, where, steps) as child:
            assert child.wait() == 0
    for key, value in weights_of(tmp_path / "whole").items():
        torch.testing.assert_close(value, weights_of(folder)[key], rtol=1e-6, atol=1e-7)
    assert log_of(folder) == log_of(tmp_path / "whole")


def test_two_processes_have_the_loss_curve_of_one(dataset, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    both = [
        start(dataset, tmp_path / "two", 7, **shared, RANK=str(rank), LOCAL_RANK=str(rank))
        for rank in range(2)
    ]
    assert [child.wait() for child in both] == [0, 0]
    train(TINY, dataset, tmp_path / "one", device="cpu")
    one, two = (
        np.array([[float(row[key]) for key in ("total", *training.TERMS)] for row in log_of(f)])
        for f in (tmp_path / "one", tmp_path / "two")
    )
    np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="weights"):
        load(tmp_path / "one" / "checkpoint.pt")
