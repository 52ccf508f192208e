"""Train a CosmoVAE on the tiles of a data set: step, log, checkpoint, stop early.

Seed and step determine the tiles, the masks and every random number of a step. A run that is killed
at any moment continues from its last checkpoint to the same weights. Under `torchrun` several
processes share each batch, with the same loss curve as a single process.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skyfill.cosmovae.adversary import Adversary
from skyfill.cosmovae.batches import BETWEEN, LATENT, PRIOR
from skyfill.cosmovae.losses import kl_divergence, perceptual, reconstruction, total_variation
from skyfill.cosmovae.network import CosmoArchitecture, CosmoVAE
from skyfill.cosmovae.recipe import CosmoConfig
from skyfill.cosmovae.session import Session, trained
from skyfill.cosmovae.vgg import VGGFeatures
from skyfill.dataset import TileDataset
from skyfill.progress import Progress
from skyfill.vae.ranks import Ranks

__all__ = ["TERMS", "latent_prior", "train"]

TERMS = ("reconstruction", "divergence", "perceptual", "variation")


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
        Stop after this time, with a checkpoint; infinite for no limit.
    progress
        Listener, informed of every step and of the terms of the loss.

    Returns
    -------
    The network with the best held-out error, and the model card's description of the training. If
    the minutes are over before a held-out error is measured, it is the last network.

    Raises
    ------
    ValueError
        The checkpoint has another configuration or other tiles, there are too few tiles or no
        masks, the spectrum is too short, the processes cannot share the batch, or the training has
        diverged.
    """
    return trained(
        lambda where, ranks: _Session(config, dataset, out, vgg, where, ranks, cl=cl),
        config,
        vgg=vgg,
        device=device,
        minutes=minutes,
        progress=progress,
    )


class _Session(Session[CosmoVAE]):
    """The steps of a CosmoVAE."""

    terms = TERMS

    def __init__(
        self,
        config: CosmoConfig,
        dataset: TileDataset,
        out: Path,
        vgg: VGGFeatures | None,
        device: torch.device,
        ranks: Ranks,
        *,
        cl: NDArray[np.float64] | None,
    ) -> None:
        self.config = config
        self.arch = CosmoArchitecture.scaled(config.width_factor)
        self.prior = latent_prior(self.arch, dataset.prior.cl if cl is None else cl)
        self.adversary: Adversary | None = None
        super().__init__(config, dataset, out, vgg, device, ranks)

    def _made(self) -> CosmoVAE:
        return CosmoVAE(self.arch, self.prior)

    def _others(self) -> list[nn.Module]:
        if self.config.regulariser == "kl":
            return []
        wasserstein = self.config.regulariser == "wgan"
        self.adversary = Adversary(self.arch.latent, wasserstein=wasserstein)
        return [self.adversary]

    def _digest(self) -> str:
        """Give a digest of tiles and latent prior, to recognise other sources."""
        digest = hashlib.sha256(self.dataset.fingerprint.encode())
        digest.update(self.prior.numpy().tobytes())
        return digest.hexdigest()

    def _descended(self, truth: Tensor, observed: Tensor) -> dict[str, Tensor]:
        """Take a step of the network, and of the adversary if there is one."""
        config, ranks = self.config, self.ranks
        noise = self._white(LATENT)
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
            scale = self.arch.latent / pixels
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
        return terms

    def _teach(self, latent: Tensor) -> Tensor:
        """Take a step of the adversary."""
        prior = self._white(PRIOR)
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
