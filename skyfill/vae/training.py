"""Train the tile network on simulated skies: simulate, step, average, checkpoint.

Training needs only torch and numpy, on a CPU or a GPU. It resumes from its last checkpoint as if it
had never stopped. `skyfill train` is its command line.

Under `torchrun`, the batch is divided among processes. Each draws the whole batch, which costs
little, and uses its part, so the number of processes changes only the rounding. All processes must
have access to the same folder.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from skyfill.progress import Progress, listening
from skyfill.vae.card import ModelCard
from skyfill.vae.network import TileVAE
from skyfill.vae.objective import blending_weight, data_term
from skyfill.vae.ranks import Ranks, first_process, joined
from skyfill.vae.recipe import TrainConfig
from skyfill.vae.replay import Replay
from skyfill.vae.simulation import Simulator, Tiles
from skyfill.vae.steps import conjugate_gradient
from skyfill.vae.validation import HeldOut, held_out, measure
from skyfill.vae.weights import save

__all__ = ["Ranks", "TrainConfig", "export", "first_process", "train"]

#: Share of the user's own tiles that is held out.
_HELD_OUT = 0.1
_WARM_UP = 50
_LAST_RATE = 0.005
_RANGES = frozenset({"nside", "pixel", "beam", "noise_uk_arcmin"})


def train(
    config: TrainConfig,
    out: Path,
    *,
    device: str = "auto",
    minutes: float = math.inf,
    cl: NDArray[np.float64] | None = None,
    tiles: Sequence[Tiles] = (),
    start: TileVAE | None = None,
    progress: Progress | None = None,
) -> TileVAE:
    """Train a network, or continue from the checkpoint in ``out``.

    Parameters
    ----------
    config
        Configuration; a checkpoint with another configuration or other data is refused.
    out
        Folder of ``checkpoint.pt`` and ``log.jsonl``.
    device
        ``auto``, ``cpu`` or ``cuda``.
    minutes
        Run time after which to stop with a checkpoint. The learning-rate schedule depends on
        ``config.steps``, not on the number of sessions.
    cl
        Spectrum of the sky before beam and noise, µK²; ΛCDM if not given.
    tiles
        True tiles to train on in place of simulated fields (see `Simulator`); a tenth of each
        source is held out.
    start
        Network of the same architecture to start from.
    progress
        Receives every step.

    Returns
    -------
    The network with averaged weights.

    Raises
    ------
    ValueError
        The checkpoint belongs to another run, there are too few tiles, the architectures differ, or
        the batch cannot be divided among the processes.
    """
    with joined(device) as (ranks, where):
        if config.batch % ranks.number:
            raise ValueError(f"{ranks.number} processes cannot share a batch of {config.batch}")
        session = _Session(config, out, where, ranks, _fingerprint(cl, tiles, start), start)
        kept, held = _parted(tiles)
        simulator = Simulator(config, device=where, cl=cl, tiles=kept)
        told = listening(progress)
        first = ranks.rank == 0
        if first:
            out.mkdir(parents=True, exist_ok=True)
            told.stage("held-out tiles")
            session.tiles = held_out(config, device=where, cl=cl, tiles=held)
            told.done(f"{len(session.tiles.truth)} with exact means")
        begun, stopped = time.monotonic(), False
        while session.step < config.steps and not stopped:
            last = session.step - session.step % config.save_every + config.save_every
            last = min(last, config.steps)
            told.stage("train", last - session.step)
            while session.step < last:
                if stopped := ranks.agree(time.monotonic() - begun >= 60 * minutes, where):
                    break
                session.take(*map(ranks.part, simulator.batch(session.step)))
                told.advance()
            told.done(session.save())
        session.save()
        return session.averaged


class _Session:
    """The state of training, with its training step and checkpoints."""

    def __init__(
        self,
        config: TrainConfig,
        out: Path,
        device: torch.device,
        ranks: Ranks,
        data: str,
        start: TileVAE | None,
    ) -> None:
        self.config, self.out, self.device, self.ranks = config, out, device, ranks
        self.tiles: HeldOut | None = None
        self.step, self._spent, self._saved = 0, 0.0, -1
        self._about = json.dumps({**asdict(config), "data": data})
        torch.manual_seed(config.seed)
        network = TileVAE(config.architecture)
        if start is not None:
            if start.arch != config.architecture:
                raise ValueError("the network to start from has another architecture")
            network.load_state_dict(start.state_dict())
        self.network = network.to(device)
        self.averaged = copy.deepcopy(self.network).requires_grad_(requires_grad=False)
        # A recorded step reads its rate from the device, and may not cross processes.
        recorded = device.type == "cuda" and ranks.number == 1
        rate = config.learning_rate
        self._optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=torch.tensor(rate, device=device) if recorded else rate,
            weight_decay=0,
            capturable=recorded,
        )
        self._update = Replay(self._updated, record=recorded)
        self._read()
        self._shared: nn.Module = self.network
        if ranks.number > 1:
            self._shared = DistributedDataParallel(self.network)
        self._weight = blending_weight(config.side, config.guard, device=device) + 0.02
        self._begun = time.monotonic()

    @property
    def _checkpoint(self) -> Path:
        return self.out / "checkpoint.pt"

    def _read(self) -> None:
        if not self._checkpoint.exists():
            return
        state = torch.load(self._checkpoint, map_location=self.device, weights_only=True)
        if state["about"] != self._about:
            raise ValueError(
                f"{self._checkpoint}: made with another configuration or other data; "
                "give another folder"
            )
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        for kept, own in zip(
            state["optimizer"]["param_groups"], self._optimizer.param_groups, strict=True
        ):  # the checkpoint may be that of another device
            kept.update({name: own[name] for name in ("lr", "capturable")})
        self._optimizer.load_state_dict(state["optimizer"])
        self.step, self._spent = state["step"], state["seconds"]
        self._saved = self.step

    def take(self, truth: Tensor, observed: Tensor, spectrum: Tensor, weights: Tensor) -> None:
        """Take one step, on this process's part of the batch."""
        config = self.config
        rate = 0.5 * (1 + math.cos(math.pi * self.step / config.steps)) + _LAST_RATE
        rate *= config.learning_rate * min(1, (self.step + 1) / _WARM_UP)
        for group in self._optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        self._update(truth, observed, spectrum, weights)
        self.step += 1

    def _updated(self, truth: Tensor, observed: Tensor, spectrum: Tensor, weights: Tensor) -> None:
        """Change the weights by one step."""
        config = self.config
        data = truth * observed
        with torch.autocast(self.device.type, torch.bfloat16):
            mean = self._shared(data, observed, spectrum, weights)
        weight = (1 - observed) * self._weight
        total = self.ranks.mean(weight.sum())
        if config.architecture.linear:
            # Conjugate gradients come closer to the exact mean from the network's output.
            exact = conjugate_gradient(
                data, observed, spectrum, iterations=config.exact, start=mean.detach()
            )
            loss = ((mean - exact) ** 2 * weight).sum() / total
            loss = loss + config.elbo_weight * data_term(mean, observed, spectrum)
        else:  # a nonlinear network learns more than the Gaussian mean: its target is the truth
            loss = ((mean - truth) ** 2 * weight).sum() / total
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), config.clip)
        self._optimizer.step()
        with torch.no_grad():
            pairs = zip(self.averaged.parameters(), self.network.parameters(), strict=True)
            for mean_weight, new in pairs:
                mean_weight.lerp_(new, 1 - config.ema)

    def save(self) -> str:
        """Write a line of the log, then the checkpoint; return a summary of the line."""
        if self._saved == self.step or self.tiles is None:
            return ""
        self._saved = self.step
        seconds = self._spent + time.monotonic() - self._begun
        entry = {"step": self.step, "seconds": round(seconds), **measure(self.averaged, self.tiles)}
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")
        state = {
            "about": self._about,
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "step": self.step,
            "seconds": seconds,
        }
        torch.save(state, self._checkpoint.with_suffix(".new"))
        self._checkpoint.with_suffix(".new").replace(self._checkpoint)
        shown = ("excess", "distance", "reconstruction", "kl")
        errors = [f"{key} {entry[key]:.4g}" for key in shown]
        return ", ".join([f"step {self.step} of {self.config.steps}", *errors])


def _parted(tiles: Sequence[Tiles]) -> tuple[list[Tiles], list[Tiles]]:
    """Split own tiles into training tiles and held-out ones, the last of each source."""
    kept, held = [], []
    for values, field in tiles:
        number = max(1, round(_HELD_OUT * len(values)))
        if number >= len(values):
            raise ValueError(f"{len(values)} tiles of one source; give 2 or more to train on")
        kept.append((values[:-number], field))
        held.append((values[-number:], field))
    return kept, held


def _fingerprint(
    cl: NDArray[np.float64] | None, tiles: Sequence[Tiles], start: TileVAE | None
) -> str:
    """Compute a hash of the training data and the start; empty for the default."""
    arrays = [] if cl is None else [cl]
    for values, field in tiles:
        arrays += [values, field.spectrum]
    if start is not None:
        arrays += [weight.cpu().numpy() for weight in start.state_dict().values()]
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest() if arrays else ""


def export(
    network: TileVAE,
    config: TrainConfig,
    run: Path,
    path: Path,
    *,
    data: str = "simulated flat-sky tiles; LCDM spectrum shipped with skyfill",
    overwrite: bool = False,
) -> ModelCard:
    """Write trained weights and their card, with the errors from the log of the run.

    Parameters
    ----------
    network, config
        Result and configuration of `train`.
    run
        Folder of the run.
    path
        File to write, ``.safetensors``; its stem becomes the name of the model.
    data
        Description of the training data.
    overwrite
        Whether to replace a file that exists.

    Raises
    ------
    FileExistsError
        The file exists and ``overwrite`` is not set.
    """
    last = json.loads((run / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    about = json.loads(json.dumps(asdict(config)))
    if "by_nside" not in last:  # own tiles: the ranges of the configuration were not used
        about = {key: value for key, value in about.items() if key not in _RANGES}
    training = {
        **about,
        "trained_steps": last.pop("step"),
        "seconds": last.pop("seconds"),
        "data": data,
    }
    return save(
        network, path, name=path.stem, training=training, measured=last, overwrite=overwrite
    )
