"""A training of a network for tiles: its steps, log, checkpoints and early stop.

What a step does is that of a class of each network; everything else is here. Seed and step
determine the tiles, the masks and every random number of a step. A run that is killed at any moment
continues from its last checkpoint to the same weights. Under `torchrun` several processes share
each batch, with the same loss curve as a single process.
"""

from __future__ import annotations

import copy
import csv
import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from skyfill.cosmovae.batches import Batches
from skyfill.cosmovae.filler import TileNet
from skyfill.cosmovae.recipe import Schedule
from skyfill.cosmovae.vgg import VGGFeatures
from skyfill.dataset import TileDataset
from skyfill.progress import Progress, listening
from skyfill.vae.ranks import Ranks, joined

__all__ = ["Session", "trained"]

Net = TypeVar("Net", bound=TileNet)


#: Settings that end a training; they may change when a run continues.
_ENDS = frozenset({"epochs", "max_steps", "patience", "save_every"})


def trained(
    make: Callable[[torch.device, Ranks], Session[Net]],
    config: Schedule,
    *,
    vgg: VGGFeatures | None,
    device: str,
    minutes: float,
    progress: Progress | None,
) -> tuple[Net, dict[str, Any]]:
    """Run a session, or go on with it, until it is finished or the minutes are over.

    Parameters
    ----------
    make
        Makes the session on a device, as one of several processes.
    config
        Its configuration.
    vgg, device, minutes, progress
        As for `skyfill.cosmovae.train`.

    Returns
    -------
    The network with the best held-out error, ready to fill, and the model card's description of the
    training. If the minutes are over before a held-out error is measured, it is the last network.

    Raises
    ------
    ValueError
        ``vgg`` is missing or of no use, the processes cannot share the batch, or the training has
        diverged; or as for the session.
    """
    if (vgg is None) != (config.perceptual == "none"):
        raise ValueError("the perceptual term needs VGG-16's weights, and nothing else does")
    told = listening(progress)
    with joined(device) as (ranks, where):
        if config.batch % ranks.number:
            raise ValueError(f"{ranks.number} processes cannot share a batch of {config.batch}")
        session = make(where, ranks)
        begun, stopped = time.monotonic(), False
        while not (session.finished or stopped):
            until = session.until
            told.stage("train", until - session.step)
            while session.step < until and not stopped:
                terms = session.take()
                shown = ("total", *session.terms)
                told.note(" ".join(f"{key[:3]} {terms[key]:.3g}" for key in shown))
                told.advance()
                stopped = ranks.agree(time.monotonic() - begun >= 60 * minutes, where)
            told.done(session.close())
        session.settle()
        session.best.eval()
        return session.best, session.about()


class Session(ABC, Generic[Net]):
    """The state of a training, and its steps.

    Parameters
    ----------
    config
        Schedule and network.
    dataset, out, vgg, device, ranks
        As for `skyfill.cosmovae.train`.

    Attributes
    ----------
    terms
        Names of the terms of the loss, columns of the log.
    network, best
        The network, and its state with the best held-out error.
    """

    terms: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        config: Schedule,
        dataset: TileDataset,
        out: Path,
        vgg: VGGFeatures | None,
        device: torch.device,
        ranks: Ranks,
    ) -> None:
        schedule = config
        self.schedule, self.dataset, self.out = schedule, dataset, out
        self._settings = dict(vars(config))
        self.device, self.ranks = device, ranks
        self.vgg = None if vgg is None else vgg.to(device)
        self.batches = Batches(dataset, schedule)
        torch.manual_seed(schedule.seed)
        self.network = self._made().to(device)
        self._modules: list[nn.Module] = [
            self.network,
            *(module.to(device) for module in self._others()),
        ]
        self._optimizers = [
            torch.optim.Adam(
                m.parameters(), lr=schedule.learning_rate, betas=(schedule.beta1, 0.999)
            )
            for m in self._modules
        ]
        self.best = copy.deepcopy(self.network).requires_grad_(requires_grad=False)
        self.step, self._spent = 0, 0.0
        self._error, self._rms_error, self._best_step, self._stale = math.inf, math.inf, 0, 0
        told = {key: value for key, value in self._settings.items() if key not in _ENDS}
        self._told = json.dumps({**told, "data": self._digest()}, sort_keys=True)
        self._read()
        self._shared: list[nn.Module] = self._modules
        if ranks.number > 1:
            self._shared = [DistributedDataParallel(module) for module in self._modules]
        self._begun = time.monotonic()

    @abstractmethod
    def _made(self) -> Net:
        """Make the network; the random numbers of torch are those of the seed."""

    def _others(self) -> list[nn.Module]:
        """Make modules that have an optimiser of their own, such as an adversary."""
        return []

    def _digest(self) -> str:
        """Give a digest of all that decides the training besides the configuration."""
        return self.dataset.fingerprint

    @abstractmethod
    def _descended(self, truth: Tensor, observed: Tensor) -> dict[str, Tensor]:
        """Take a step of every optimiser; give the terms of the loss before it, and the total."""

    def _white(self, what: int) -> Tensor:
        """Draw white latent vectors for this process's part of the batch of this step."""
        shape = (self.schedule.batch, self.network.latent)
        random = self.batches.random(what, self.step)
        white = torch.from_numpy(random.standard_normal(shape, dtype=np.float32))
        return self.ranks.part(white).to(self.device)

    @property
    def last(self) -> int:
        """Give the largest step of the training."""
        most = self.schedule.epochs * self.batches.epoch_steps
        return most if self.schedule.max_steps is None else min(most, self.schedule.max_steps)

    @property
    def until(self) -> int:
        """Give the next step to pause at: an end of an epoch, a checkpoint, the last step."""
        every, epoch = self.schedule.save_every, self.batches.epoch_steps
        ends = (self.step // every + 1) * every, (self.step // epoch + 1) * epoch, self.last
        return min(ends)

    @property
    def finished(self) -> bool:
        """Tell whether the training is complete."""
        return self.step >= self.last or self._stale >= self.schedule.patience

    def take(self) -> dict[str, float]:
        """Take one step; give the terms of the loss before it."""
        truth, observed = (
            self.ranks.part(each).to(self.device) for each in self.batches.at(self.step)
        )
        terms = self._descended(truth, observed)
        told = {key: float(self.ranks.mean(value.detach().clone())) for key, value in terms.items()}
        self.step += 1
        self._log({"epoch": (self.step - 1) // self.batches.epoch_steps, **told})
        return told

    def _descend(self, which: int, loss: Tensor) -> None:
        self._optimizers[which].zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._modules[which].parameters(), self.schedule.clip)
        self._optimizers[which].step()

    def _log(self, row: dict[str, Any]) -> None:
        """Add a line to the log."""
        if self.ranks.rank:
            return
        path = self.out / "log.csv"
        ends = ("adversary", "held_out_mae", "held_out_rms")
        columns = ("step", "epoch", "total", *self.terms, *ends)
        new = not path.exists()
        with path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns)
            if new:
                writer.writeheader()
            writer.writerow({"step": self.step, **row})

    def close(self) -> str:
        """Measure the held-out error at the end of an epoch, write a checkpoint, describe both."""
        note = f"step {self.step} of at most {self.last}"
        if self.step == self.last or self.step % self.batches.epoch_steps == 0:
            mae, rms = self._held_out_error()
            self._stale += 1
            if mae < self._error:
                self._choose(mae, rms)
            self._log({"held_out_mae": mae, "held_out_rms": rms})
            note += f", error in held-out holes {rms * self.batches.rms:.1f} uK"
        self._save()
        return note

    def settle(self) -> None:
        """Choose the last network if no held-out error has been measured, not in the checkpoint.

        Raises
        ------
        ValueError
            No held-out error is a number.
        """
        if self._best_step:
            return
        mae, rms = self._held_out_error()
        if not math.isfinite(mae):
            raise ValueError(
                f"the training has diverged: after {self.step} steps the held-out error is {mae};"
                " train in another folder with another `seed`, or from Python with a lower"
                " learning rate or clip"
            )
        self._choose(mae, rms)

    def _choose(self, mae: float, rms: float) -> None:
        """Take the network of this step, with these held-out errors, for the best."""
        self._error, self._rms_error = mae, rms
        self._best_step, self._stale = self.step, 0
        self.best.load_state_dict(self.network.state_dict())

    @torch.no_grad()
    def _held_out_error(self) -> tuple[float, float]:
        """Give mean absolute and rms error in the holes of held-out tiles, without chance."""
        absolute = squared = count = 0.0
        self.network.eval()
        for batch in self.batches.held_out():
            truth, observed = (each.to(self.device) for each in batch)
            away = (self.network.fill(truth, observed) - truth) * (1 - observed)
            absolute += float(away.abs().sum())
            squared += float((away**2).sum())
            count += float((1 - observed).sum())
        self.network.train()
        return absolute / count, math.sqrt(squared / count)

    @property
    def _checkpoint(self) -> Path:
        return self.out / "checkpoint.pt"

    def _save(self) -> None:
        if self.ranks.rank:
            return
        state = {
            "told": self._told,
            "modules": [module.state_dict() for module in self._modules],
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "best": self.best.state_dict(),
            "step": self.step,
            "errors": [self._error, self._rms_error, self._best_step, self._stale],
            "seconds": self._spent + time.monotonic() - self._begun,
        }
        torch.save(state, self._checkpoint.with_suffix(".new"))
        self._checkpoint.with_suffix(".new").replace(self._checkpoint)

    def _read(self) -> None:
        """Continue from the checkpoint; drop later lines of the log."""
        self.out.mkdir(parents=True, exist_ok=True)
        if not self._checkpoint.exists():
            if not self.ranks.rank:
                (self.out / "log.csv").unlink(missing_ok=True)
            return
        state = torch.load(self._checkpoint, map_location=self.device, weights_only=True)
        if state.get("told") != self._told:
            raise ValueError(
                f"{self._checkpoint}: made with another configuration or other tiles; give "
                "another folder"
            )
        for module, theirs in zip(self._modules, state["modules"], strict=True):
            module.load_state_dict(theirs)
        for optimizer, theirs in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(theirs)
        self.best.load_state_dict(state["best"])
        self.step, self._spent = state["step"], state["seconds"]
        self._error, self._rms_error, self._best_step, self._stale = state["errors"]
        if not self.ranks.rank:
            path = self.out / "log.csv"
            head, *lines = path.read_text(encoding="utf-8").splitlines()
            kept = [head, *(line for line in lines if int(line.split(",")[0]) <= self.step)]
            path.write_text("\n".join(kept) + "\n", encoding="utf-8")

    def about(self) -> dict[str, Any]:
        """Give the entries of the model card: how the network was trained, and its error."""
        dataset, config = self.dataset, self._settings
        geometry = dataset.geometry
        training = {
            **config,
            "trained_steps": self.step,
            "best_step": self._best_step,
            "seconds": round(self._spent + time.monotonic() - self._begun),
            "device": str(self.device),
            "data": dict(dataset.about),
            "split": dataset.split,
            "tiles_fingerprint": dataset.fingerprint,
            "tiles": int(self.batches.kept.size),
            "masks": int(dataset.masks.size),
            "nside": geometry.nside,
            "projection": geometry.projection,
            "size": geometry.size,
            "pixel_arcmin": geometry.pixel_arcmin,
            "beam_arcmin": round(math.degrees(dataset.prior.effective_fwhm) * 60, 3),
            "noise_uk_arcmin": dataset.prior.noise_uk_arcmin,
            "rms_uk": self.batches.rms,
        }
        measured = {
            "held_out_tiles": int(self.batches.held.size),
            "held_out_rms_uk": self._rms_error * self.batches.rms,
            "held_out_mae_uk": self._error * self.batches.rms,
        }
        return {"training": training, "measured": measured}
