"""Train a CosmoVAE on the tiles of a data set: step, log, checkpoint, stop early.

Seed and step determine the tiles, the masks and every random number of a step. A run that is killed
at any moment continues from its last checkpoint to the same weights. Under `torchrun` several
processes share each batch, with the same loss curve as a single process.
"""

from __future__ import annotations

import copy
import csv
import hashlib
import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from skyfill.cosmovae.adversary import Adversary
from skyfill.cosmovae.batches import BETWEEN, LATENT, PRIOR, Batches
from skyfill.cosmovae.losses import kl_divergence, perceptual, reconstruction, total_variation
from skyfill.cosmovae.network import CosmoArchitecture, CosmoVAE
from skyfill.cosmovae.recipe import CosmoConfig
from skyfill.cosmovae.vgg import VGGFeatures
from skyfill.dataset import TileDataset
from skyfill.progress import Progress, listening
from skyfill.vae.ranks import Ranks, joined

__all__ = ["TERMS", "latent_prior", "train"]

TERMS = ("reconstruction", "divergence", "perceptual", "variation")
_COLUMNS = ("step", "epoch", "total", *TERMS, "adversary", "held_out_mae", "held_out_rms")

#: Settings that end a training; they may change when a run continues.
_ENDS = frozenset({"epochs", "max_steps", "patience", "save_every"})


def latent_prior(arch: CosmoArchitecture, cl: NDArray[np.float64]) -> Tensor:
    """Give C_l of the components of z, µK².

    Raises
    ------
    ValueError
        The spectrum ends before the last component.
    """
    last = arch.first_ell + arch.latent - 1
    if cl.size <= last:
        raise ValueError(f"the latent prior needs C_l up to l = {last}, these end at {cl.size - 1}")
    return torch.from_numpy(cl[arch.first_ell : last + 1].astype(np.float32))


def train(
    config: CosmoConfig,
    dataset: TileDataset,
    out: Path,
    *,
    cl: NDArray[np.float64] | None = None,
    vgg: VGGFeatures | None = None,
    device: str = "auto",
    minutes: float = math.inf,
    progress: Progress | None = None,
) -> tuple[CosmoVAE, dict[str, Any]]:
    """Train a network, or continue from the checkpoint in ``out``.

    Parameters
    ----------
    config
        Network and schedule. A checkpoint of another configuration or of other tiles is refused.
    dataset
        Clean tiles for training, and masks, combined at random.
    out
        Folder of ``checkpoint.pt`` and ``log.csv``, which has a line for every step.
    cl
        C_l of the latent prior, µK²; the data set's theory if not given.
    vgg
        From `load_vgg`; needed where ``config.perceptual`` is ``imagenet``.
    device
        ``auto``, ``cpu`` or ``cuda``.
    minutes
        Stop after this time, with a checkpoint; None for no limit.
    progress
        Listener, informed of every step and of the terms of the loss.

    Returns
    -------
    The network with the best held-out error, and the model card's description of the training.

    Raises
    ------
    ValueError
        The checkpoint has another configuration or other tiles, there are too few tiles or no
        masks, the spectrum is too short, or the processes cannot share the batch.
    """
    if (vgg is None) != (config.perceptual == "none"):
        raise ValueError("the perceptual term needs VGG-16's weights, and nothing else does")
    told = listening(progress)
    with joined(device) as (ranks, where):
        if config.batch % ranks.number:
            raise ValueError(f"{ranks.number} processes cannot share a batch of {config.batch}")
        session = _Session(config, dataset, out, cl, vgg, where, ranks)
        begun, stopped = time.monotonic(), False
        while not (session.finished or stopped):
            until = session.until
            told.stage("train", until - session.step)
            while session.step < until and not stopped:
                terms = session.take()
                told.note(" ".join(f"{key[:3]} {terms[key]:.3g}" for key in ("total", *TERMS)))
                told.advance()
                stopped = ranks.agree(time.monotonic() - begun >= 60 * minutes, where)
            told.done(session.close())
        return session.best, session.about()


class _Session:
    """The state of a training, and its steps."""

    def __init__(
        self,
        config: CosmoConfig,
        dataset: TileDataset,
        out: Path,
        cl: NDArray[np.float64] | None,
        vgg: VGGFeatures | None,
        device: torch.device,
        ranks: Ranks,
    ) -> None:
        self.config, self.dataset, self.out = config, dataset, out
        self.device, self.ranks = device, ranks
        self.vgg = None if vgg is None else vgg.to(device)
        self.batches = Batches(dataset, config)
        arch = CosmoArchitecture.scaled(config.width_factor)
        prior = latent_prior(arch, dataset.prior.cl if cl is None else cl)
        torch.manual_seed(config.seed)
        self.network = CosmoVAE(arch, prior).to(device)
        self.adversary: Adversary | None = None
        modules: list[nn.Module] = [self.network]
        if config.regulariser != "kl":
            wasserstein = config.regulariser == "wgan"
            self.adversary = Adversary(arch.latent, wasserstein=wasserstein).to(device)
            modules.append(self.adversary)
        self._optimizers = [
            torch.optim.Adam(m.parameters(), lr=config.learning_rate, betas=(config.beta1, 0.999))
            for m in modules
        ]
        self.best = copy.deepcopy(self.network).requires_grad_(requires_grad=False)
        self.step, self._spent = 0, 0.0
        self._error, self._rms_error, self._best_step, self._stale = math.inf, math.inf, 0, 0
        self._modules = modules
        told = {key: value for key, value in asdict(config).items() if key not in _ENDS}
        self._told = json.dumps({**told, "data": _digest(dataset, prior)}, sort_keys=True)
        self._read()
        self._shared = modules
        if ranks.number > 1:
            self._shared = [DistributedDataParallel(module) for module in modules]
        self._begun = time.monotonic()

    @property
    def last(self) -> int:
        """Give the largest step of the training."""
        most = self.config.epochs * self.batches.epoch_steps
        return most if self.config.max_steps is None else min(most, self.config.max_steps)

    @property
    def until(self) -> int:
        """Give the next step to pause at: an end of an epoch, a checkpoint, the last step."""
        every, epoch = self.config.save_every, self.batches.epoch_steps
        ends = (self.step // every + 1) * every, (self.step // epoch + 1) * epoch, self.last
        return min(ends)

    @property
    def finished(self) -> bool:
        """Tell whether the training is complete."""
        return self.step >= self.last or self._stale >= self.config.patience

    def take(self) -> dict[str, float]:
        """Take one step; give the terms of the loss before it."""
        config, ranks = self.config, self.ranks
        truth, observed, noise = (
            ranks.part(each).to(self.device)
            for each in (*self.batches.at(self.step), self._white(LATENT))
        )
        output, encoding = self._shared[0](truth, observed, noise)
        latent = encoding.sample(noise)
        pixels = truth[0].numel()
        outside, inside = reconstruction(output, truth, observed)
        # In units of √C_l the prior is N(0, 1), and the divergence is the same.
        units = torch.ones_like(noise[0])
        divergence = kl_divergence(encoding.mean, encoding.log_variance.exp(), units) / pixels
        hole = (1 - observed).sum()
        filled = torch.where(observed > 0, truth, output)
        variation = total_variation(filled, observed) * hole / ranks.mean(hole.clone()).clamp(min=1)
        terms = {
            "reconstruction": outside + inside,
            "divergence": divergence,
            "perceptual": output.new_zeros(()),
            "variation": variation,
        }
        if self.vgg is not None:
            terms["perceptual"] = perceptual(self.vgg(output), self.vgg(truth))
        pull = divergence
        if self.adversary is not None:
            scale = self.network.arch.latent / pixels
            self.adversary.requires_grad_(requires_grad=False)
            pull = scale * self.adversary.fooled(self.adversary(latent))
            self.adversary.requires_grad_(requires_grad=True)
        total = (
            config.reconstruction * terms["reconstruction"]
            + config.divergence * pull
            + config.perceptual_weight * terms["perceptual"]
            + config.variation * variation
        )
        self._descend(0, total)
        terms["total"] = total
        if self.adversary is not None:
            terms["adversary"] = self._teach(latent.detach())
        told = {key: float(ranks.mean(value.detach().clone())) for key, value in terms.items()}
        self.step += 1
        self._log({"epoch": (self.step - 1) // self.batches.epoch_steps, **told})
        return told

    def _white(self, what: int) -> Tensor:
        """Draw white latent vectors for the whole batch of this step."""
        shape = (self.config.batch, self.network.arch.latent)
        random = self.batches.random(what, self.step)
        return torch.from_numpy(random.standard_normal(shape, dtype=np.float32))

    def _teach(self, latent: Tensor) -> Tensor:
        """Take a step of the adversary."""
        prior = self.ranks.part(self._white(PRIOR)).to(self.device)
        random = self.batches.random(BETWEEN, self.step)
        share = random.random((self.config.batch, 1), dtype=np.float32)
        mix = self.ranks.part(torch.from_numpy(share)).to(self.device)
        scores = self._shared[1](torch.cat([prior, latent]))
        adversary = self.adversary
        if adversary is None:
            return latent.new_zeros(())
        loss = adversary.told_apart(*scores.chunk(2))
        loss = loss + adversary.penalty(mix * prior + (1 - mix) * latent)
        self._descend(1, loss)
        return loss

    def _descend(self, which: int, loss: Tensor) -> None:
        self._optimizers[which].zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._modules[which].parameters(), self.config.clip)
        self._optimizers[which].step()

    def _log(self, row: dict[str, Any]) -> None:
        """Add a line to the log."""
        if self.ranks.rank:
            return
        path = self.out / "log.csv"
        new = not path.exists()
        with path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, _COLUMNS)
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
                self._error, self._rms_error = mae, rms
                self._best_step, self._stale = self.step, 0
                self.best.load_state_dict(self.network.state_dict())
            self._log({"held_out_mae": mae, "held_out_rms": rms})
            note += f", error in held-out holes {rms * self.batches.rms:.1f} uK"
        self._save()
        return note

    @torch.no_grad()
    def _held_out_error(self) -> tuple[float, float]:
        """Give mean absolute and rms error in the holes of held-out tiles, for the mean of z."""
        absolute = squared = count = 0.0
        for batch in self.batches.held_out():
            truth, observed = (each.to(self.device) for each in batch)
            encoding = self.network.encode(truth, observed)
            away = (self.network.decode(encoding.mean, encoding) - truth) * (1 - observed)
            absolute += float(away.abs().sum())
            squared += float((away**2).sum())
            count += float((1 - observed).sum())
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
        dataset, config = self.dataset, asdict(self.config)
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


def _digest(dataset: TileDataset, prior: Tensor) -> str:
    """Give a digest of tiles and latent prior, to recognise other sources."""
    digest = hashlib.sha256(dataset.fingerprint.encode())
    digest.update(prior.numpy().tobytes())
    return digest.hexdigest()
