"""Training: it goes, it stops, it goes on, and it needs little."""

import json
import os
import socket
import subprocess
import sys
import traceback
from contextlib import nullcontext
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from skyfill import flatsky
from skyfill.vae import Architecture, load, replay, training
from skyfill.vae.network import TileVAE
from skyfill.vae.simulation import FAMILIES, Simulator
from skyfill.vae.steps import conjugate_gradient
from skyfill.vae.training import TrainConfig, train
from skyfill.vae.validation import held_out, measure

CPU = torch.device("cpu")
TINY = TrainConfig(
    steps=3,
    batch=2,
    side=32,
    guard=4,
    exact=5,
    nside=(1024, 2048),
    held_out=1,
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


def test_stopping_changes_nothing(tmp_path, monkeypatch):
    """Four steps in one go and two and two give the same bits."""
    config = replace(TINY, steps=4)
    train(config, tmp_path / "one", device="cpu")
    ticks = count(step=30)
    with monkeypatch.context() as patched:
        patched.setattr(training.time, "monotonic", lambda: next(ticks))
        train(config, tmp_path / "two", device="cpu", minutes=1.2)
    assert checkpoint_of(tmp_path / "two")["step"] == 2
    train(config, tmp_path / "two", device="cpu")
    one, two = (checkpoint_of(tmp_path / name) for name in ("one", "two"))
    for kind in ("network", "averaged"):
        for key, value in one[kind].items():
            assert torch.equal(two[kind][key], value), key
    drop = ("seconds",)
    last = [{k: v for k, v in log_of(tmp_path / n)[-1].items() if k not in drop}
            for n in ("one", "two")]  # fmt: skip
    assert last[0] == last[1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_recorded_steps_train_as_launched_ones(tmp_path, monkeypatch):
    """Steps after the third are replayed; also from a checkpoint of the CPU, whose skies differ.

    Sums on a GPU may round differently each time, so runs of launched steps can be apart, too.
    """
    config = replace(TINY, steps=12)
    begin = TileVAE(TINY.architecture)

    def trained(name, before, **options):
        with monkeypatch.context() as patched:
            patched.setattr(replay, "_BEFORE", before)
            return train(config, tmp_path / name, device="cuda", start=begin, **options)

    def apart(one, other):
        pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
        return sum(((a.cpu() - b.cpu()) ** 2).sum().item() for a, b in pairs) ** 0.5

    recorded = trained("recorded", 3)
    launched = [trained(f"launched {k}", 1000) for k in range(3)]
    way = apart(launched[0], begin)
    usual = max(apart(launched[0], other) for other in launched[1:])
    assert apart(recorded, launched[0]) <= 3 * usual + 1e-6 * way
    assert way > 0
    ticks = count(step=30)
    with monkeypatch.context() as patched:
        patched.setattr(training.time, "monotonic", lambda: next(ticks))
        train(config, tmp_path / "two", device="cpu", start=begin, minutes=1.2)
    assert checkpoint_of(tmp_path / "two")["step"] == 2
    assert 0.1 * way < apart(trained("two", 3), begin) < 10 * way
    states = checkpoint_of(tmp_path / "two")["optimizer"]["state"].values()
    assert {int(state["step"]) for state in states} == {12}


def test_a_checkpoint_of_a_gpu_goes_on_on_a_cpu(tmp_path, monkeypatch):
    """There the rate is a tensor, and the optimizer counts its steps on the device."""
    for name in ("cpu", "gpu"):
        ticks = count(step=30)
        with monkeypatch.context() as patched:
            patched.setattr(training.time, "monotonic", lambda ticks=ticks: next(ticks))
            train(TINY, tmp_path / name, device="cpu", minutes=0.8)
    state = checkpoint_of(tmp_path / "gpu")
    (group,) = state["optimizer"]["param_groups"]
    group.update(lr=torch.tensor(0.5), capturable=True)
    torch.save(state, tmp_path / "gpu" / "checkpoint.pt")
    one, other = (train(TINY, tmp_path / name, device="cpu") for name in ("cpu", "gpu"))
    for key, value in one.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key


def test_steps_on_a_device_need_nothing_of_the_host(tmp_path):
    """What a graph records may read no number of a tensor."""
    read = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if "local_scalar" in str(function):
                read.append(traceback.format_stack(limit=12))
            return function(*args, **(kwargs or {}))

    session = training._Session(TINY, tmp_path, CPU, training.Ranks(), "", None)
    batch = Simulator(TINY, device=CPU).batch(0)
    session._updated(*batch)
    session._optimizer.step = lambda: None  # on a CPU it counts its steps there
    with Watch():
        session._updated(*batch)
    assert not read, "".join(read[0])
    with Watch():
        conjugate_gradient(*batch[:3], iterations=3, tolerance=1e-3)
    assert read, "a tolerance is looked at"


def test_another_configuration_or_other_data_is_refused(tmp_path):
    nothing = replace(TINY, steps=0)
    train(nothing, tmp_path, device="cpu")
    train(nothing, tmp_path, device="cpu")
    for config, more in (
        (TINY, {}),
        (nothing, {"cl": 1 / np.arange(1, 3000.0) ** 2}),
        (nothing, {"start": TileVAE(TINY.architecture)}),
    ):
        with pytest.raises(ValueError, match=r"checkpoint\.pt: made with another") as caught:
            train(config, tmp_path, device="cpu", **more)
        assert "\n" not in str(caught.value)


def test_training_goes_on_from_another_network(tmp_path):
    start = TileVAE(TINY.architecture)
    back = train(replace(TINY, steps=0), tmp_path / "same", device="cpu", start=start)
    for ours, theirs in zip(back.parameters(), start.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    other = replace(TINY, architecture=replace(TINY.architecture, scales=1))
    with pytest.raises(ValueError, match="another architecture"):
        train(other, tmp_path / "other", device="cpu", start=start)


def test_own_tiles_are_trained_on_and_held_out(tmp_path):
    spectrum = np.ones((32, 17))
    field = flatsky.TileField(spectrum, rms=3.0)
    tiles = 3 * np.random.default_rng(1).standard_normal((20, 32, 32))
    train(TINY, tmp_path, device="cpu", tiles=[(tiles, field)])
    (entry,) = log_of(tmp_path)
    # White noise: nothing can be known of what is not seen.
    assert entry["floor"] == pytest.approx(entry["prior"]) == pytest.approx(1, abs=0.35)
    assert set(entry["by_mask"]) == set(FAMILIES)
    assert "by_nside" not in entry
    seen = Simulator(TINY, device=CPU, tiles=[(tiles[:18], field)])
    drawn = {float(tile[0].abs().sum()) for k in range(30) for tile in seen.batch(k)[0]}
    expected = [float(abs(tile / 3).sum()) for tile in tiles[:18]]
    assert len({round(total) for total in drawn}) > 10
    assert all(min(abs(total - e) for e in expected) < 1e-2 for total in drawn)
    with pytest.raises(ValueError, match="give 2 or more"):
        train(TINY, tmp_path / "few", device="cpu", tiles=[(tiles[:1], field)])


def test_a_bent_network_learns_from_the_truth(tmp_path):
    """Tiles all alike: the truth is known, though the Gaussian mean says nothing of the holes."""
    red = 1 / (flatsky.wavenumbers(32, 1.0) + 0.1) ** 2
    field = flatsky.TileField(red / red.mean(), rms=1.0)
    tiles = np.broadcast_to(np.cos(np.arange(32) * np.pi / 4), (20, 32, 32))
    found = {}
    for linear in (True, False):
        arch = replace(TINY.architecture, linear=linear)
        config = replace(TINY, architecture=arch, steps=150, batch=8, ema=0.9, learning_rate=1e-2)
        train(config, tmp_path / str(linear), device="cpu", tiles=[(tiles, field)])
        found[linear] = log_of(tmp_path / str(linear))[-1]["network"]
    assert found[False] < 0.9 * found[True]


def test_progress_tells_what_the_log_says(tmp_path):
    class Heard:
        def __init__(self):
            self.stages, self.steps, self.notes = [], 0, []

        def stage(self, name, total=None):
            self.stages.append((name, total))

        def advance(self, n=1):
            self.steps += n

        def done(self, note=""):
            self.notes.append(note)

    heard = Heard()
    train(replace(TINY, save_every=2), tmp_path, device="cpu", progress=heard)
    assert heard.stages[1:] == [("train", 2), ("train", 1)]
    assert heard.steps == 3
    entries = log_of(tmp_path)
    assert [entry["step"] for entry in entries] == [2, 3]
    for entry, note in zip(entries, heard.notes[1:], strict=True):
        assert note.startswith(f"step {entry['step']} of 3, excess {entry['excess']:.4g}, ")
        assert f"kl {entry['kl']:.4g}" in note


def test_an_own_spectrum_is_what_is_simulated(tmp_path):
    steep = 1e4 / np.arange(1, 4000.0) ** 4
    ours, usual = (Simulator(TINY, device=CPU, cl=cl).batch(0) for cl in (steep, None))
    assert torch.equal(ours[1], usual[1])
    assert not torch.equal(ours[2], usual[2])
    assert (ours[2] > 0).all()


# Single precision and few conjugate gradients, which amplify rounding: Adam's first steps follow a
# gradient's sign.
SHARED = """
import sys
from contextlib import nullcontext
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_training import TINY
from dataclasses import replace
from skyfill.vae import training
training.torch.autocast = lambda *_: nullcontext()
training.train(replace(TINY, steps=2, exact=1), Path(sys.argv[2]), device="cpu")
"""


def test_two_processes_train_as_one(tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    here = str(Path(__file__).parent)
    both = [
        subprocess.Popen(
            [sys.executable, "-c", SHARED, here, str(tmp_path / "two")],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in (0, 1)
    ]
    assert [process.wait(timeout=300) for process in both] == [0, 0]
    monkeypatch.setattr(training.torch, "autocast", lambda *_: nullcontext())
    train(replace(TINY, steps=2, exact=1), tmp_path / "one", device="cpu")
    torch.manual_seed(TINY.seed)
    begun = TileVAE(TINY.architecture).state_dict()
    one, two = (checkpoint_of(tmp_path / name)["network"] for name in ("one", "two"))
    moved = sum(float((one[key] - begun[key]).square().sum()) for key in one) ** 0.5
    apart = sum(float((one[key] - two[key]).square().sum()) for key in one) ** 0.5
    assert moved > 1e-4
    assert apart < 0.01 * moved
    assert len(log_of(tmp_path / "two")) == 1


def test_a_batch_that_cannot_be_shared(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "joined", lambda _: nullcontext((training.Ranks(0, 3), CPU)))
    with pytest.raises(ValueError, match="3 processes cannot share a batch of 2"):
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
    untrained = measure(TileVAE(arch), held_out(config, device=CPU))
    assert log_of(tmp_path)[-1]["distance"] < 0.6 * untrained["distance"]


# --- what it needs ------------------------------------------------------------------------------

BLOCKED = ("healpy", "ducc0", "astropy", "scipy", "numba", "safetensors", "matplotlib", "rich")
PROGRAM = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError("blocked: " + name)

sys.meta_path.insert(0, Block())
from skyfill.vae.training import TrainConfig, train
from skyfill.vae.simulation import Simulator, load_lcdm
import numpy as np, torch
config = TrainConfig(side=32, guard=4)
Simulator(config, device=torch.device("cpu")).prior(np.random.default_rng(1))
print(load_lcdm().size, *sorted({blocked!r}.intersection(sys.modules)))
"""


def test_training_needs_torch_and_numpy_alone():
    program = PROGRAM.format(blocked=set(BLOCKED))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout == "6001\n"
