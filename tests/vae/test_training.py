"""Training: it goes, it stops, it goes on, and it needs little."""

import json
import subprocess
import sys
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import torch

from skyfill import flatsky
from skyfill.vae import Architecture, load, training
from skyfill.vae.network import TileVAE
from skyfill.vae.simulation import draw_fields, draw_mask
from skyfill.vae.training import Simulator, TrainConfig, train

TINY = TrainConfig(
    steps=3,
    batch=2,
    side=32,
    guard=4,
    exact=5,
    architecture=Architecture(warm=1, steps=1, channels=(4, 6), gates=(4, 6), bands=6, scales=2),
)


def log_of(folder):
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def checkpoint_of(folder):
    return torch.load(folder / "checkpoint.pt", weights_only=True)


def test_training_stops_and_goes_on(tmp_path, monkeypatch):
    """A clock that jumps half a minute at every look ends the first session after one step."""
    ticks = count(step=30)
    with monkeypatch.context() as patched:
        patched.setattr(training.time, "monotonic", lambda: next(ticks))
        train(TINY, tmp_path, device="cpu", minutes=0.8)
    first = checkpoint_of(tmp_path)
    assert first["step"] == 1
    averaged = train(TINY, tmp_path, device="cpu")
    second = checkpoint_of(tmp_path)
    assert second["step"] == 3
    assert second["seconds"] >= first["seconds"] > 0
    moved = [not torch.equal(first["network"][key], second["network"][key])
             for key in first["network"]]  # fmt: skip
    assert all(moved)
    for key, value in averaged.state_dict().items():
        assert torch.equal(value, second["averaged"][key])
    assert {int(entry["step"]) for entry in second["optimizer"]["state"].values()} == {3}
    assert [entry["step"] for entry in log_of(tmp_path)] == [1, 3]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["checkpoint.pt", "log.jsonl"]
    # Done is done.
    train(TINY, tmp_path, device="cpu")
    for key, value in checkpoint_of(tmp_path)["network"].items():
        assert torch.equal(value, second["network"][key])


def test_another_configuration_is_refused(tmp_path):
    train(replace(TINY, steps=0), tmp_path, device="cpu")
    with pytest.raises(ValueError, match=r"checkpoint\.pt: made with another configuration"):
        train(TINY, tmp_path, device="cpu")


def test_export_is_loaded(tmp_path):
    network = train(TINY, tmp_path / "run", device="cpu")
    path = tmp_path / "small.safetensors"
    card = training.export(network, TINY, tmp_path / "run", path)
    back, read = load(path)
    assert read.name == card.name == "small"
    assert read.training["trained_steps"] == 3
    assert read.training["batch"] == 2
    assert 0 < read.measured["floor"] < read.measured["prior"]
    for ours, theirs in zip(back.parameters(), network.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_training_learns(tmp_path):
    """In 150 steps a network of a few hundred weights halves its distance to the exact mean."""
    arch = replace(TINY.architecture, warm=0)
    config = replace(
        TINY, steps=150, batch=8, exact=30, ema=0.9, learning_rate=3e-3, architecture=arch
    )
    train(config, tmp_path, device="cpu")
    held_out = training.validation_set(config, tiles=64, device=torch.device("cpu"))
    weight = training.blending_weight(config.side, config.guard)
    untrained = training.excess(TileVAE(arch), held_out, weight)
    assert log_of(tmp_path)[-1]["distance"] < 0.6 * untrained["distance"]


def test_excess_of_the_exact_mean_is_none():
    held_out = training.validation_set(TINY, tiles=16, device=torch.device("cpu"))
    weight = training.blending_weight(TINY.side, TINY.guard)
    found = training.excess(lambda *_: held_out[3], held_out, weight)
    assert found["excess"] == found["distance"] == 0
    assert 0 < found["floor"] == found["network"] < found["prior"]


# --- simulation ---------------------------------------------------------------------------------


def test_batches_are_tiles_of_their_prior():
    simulator = Simulator(TINY, seed=1, device=torch.device("cpu"))
    variance = []
    for _ in range(30):
        truth, observed, spectrum = simulator.batch(16)
        assert truth.shape == observed.shape == (16, 1, 32, 32)
        assert spectrum.shape == (16, 32, 17)
        assert set(observed.unique().tolist()) <= {0.0, 1.0}
        assert not observed[..., :4, :].any()
        assert not observed[..., -4:].any()
        assert (spectrum > 0).all()
        variance.append(float(truth.var()))
    assert np.mean(variance) == pytest.approx(1, abs=0.15)


def test_a_seed_is_a_batch():
    batches = [Simulator(TINY, seed=s, device=torch.device("cpu")).batch(4) for s in (5, 5, 6)]
    for one, other in zip(batches[0], batches[1], strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(batches[0][0], batches[2][0])


def test_fields_have_their_spectrum_and_no_period():
    side = 24
    k = flatsky.wavenumbers(2 * side, 1.0)
    domain = torch.from_numpy(1 / (k + 0.05) ** 3).float()[None].expand(400, -1, -1)
    fields = draw_fields(domain, torch.Generator().manual_seed(1))
    assert fields.shape == (400, 1, side, side)
    correlation = np.fft.irfft2(domain[0].numpy(), s=(2 * side, 2 * side))
    for lag in (0, 1, 5, 12, side - 1):
        seen = (fields[..., lag:] * fields[..., : side - lag]).mean()
        assert float(seen) == pytest.approx(
            correlation[0, lag], abs=0.06 * float(correlation[0, 0])
        )


@pytest.mark.parametrize(("side", "guard"), [(32, 4), (128, 8)])
def test_masks_are_of_all_kinds(side, guard):
    rng = np.random.default_rng(1)
    masks = np.stack([draw_mask(side, guard, rng) for _ in range(300)])
    assert masks.dtype == bool
    inner = masks[:, guard:-guard, guard:-guard]
    assert inner.sum() == masks.sum()
    share = inner.mean(axis=(1, 2))
    assert share.min() < 0.1
    assert share.max() > 0.9
    assert 0.3 < share.mean() < 0.8
    assert np.unique(share).size > 200


# --- what it needs ------------------------------------------------------------------------------

BLOCKED = ("healpy", "ducc0", "astropy", "scipy", "numba", "safetensors", "matplotlib", "rich")
PROGRAM = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError("blocked: " + name)

sys.meta_path.insert(0, Block())
from skyfill.vae.training import TrainConfig, Simulator, load_lcdm
import torch
config = TrainConfig(side=32, guard=4)
Simulator(config, seed=1, device=torch.device("cpu"))._spectra()
print(load_lcdm().size, *sorted({blocked!r}.intersection(sys.modules)))
"""


def test_training_needs_torch_and_numpy_alone():
    program = PROGRAM.format(blocked=set(BLOCKED))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout == "6001\n"
