"""Train a baseline on the tiles of a data set, as `skyfill.cosmovae` is trained.

Under `torchrun` each process normalises over its own part of a batch, so that the loss curve is not
quite that of a single process.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from skyfill.baselines.contextencoder import Discriminator
from skyfill.baselines.losses import divergence, log_likelihood, regularisation, squared, style
from skyfill.baselines.recipe import BaselineConfig
from skyfill.baselines.size import BaselineNet, Size
from skyfill.baselines.weights import network_of
from skyfill.cosmovae.batches import LATENT
from skyfill.cosmovae.losses import perceptual, total_variation
from skyfill.cosmovae.session import Session, trained
from skyfill.cosmovae.vgg import VGGFeatures
from skyfill.dataset import TileDataset
from skyfill.progress import Progress
from skyfill.vae.ranks import Ranks

__all__ = ["train"]

#: Weights of the terms of ``pconv`` besides that of the observed pixels (Liu et al. 2018, eq. 7).
_HOLE, _PERCEPTUAL, _STYLE, _VARIATION = 6.0, 0.05, 120.0, 0.1
#: Weights of reconstruction and adversary of ``context-encoder`` (Pathak et al. 2016, section 4).
_RECONSTRUCTION, _ADVERSARIAL = 0.999, 0.001


def train(
    config: BaselineConfig,
    dataset: TileDataset,
    out: Path,
    *,
    vgg: VGGFeatures | None = None,
    device: str = "auto",
    minutes: float = math.inf,
    progress: Progress | None = None,
) -> tuple[BaselineNet, dict[str, Any]]:
    """Train a network, or continue from the checkpoint in ``out``.

    Parameters
    ----------
    config
        Network and schedule. A checkpoint of another configuration or of other tiles is refused.
    dataset, out, vgg, device, minutes, progress
        As for `skyfill.cosmovae.train`.

    Returns
    -------
    The network with the best held-out error, and the model card's description of the training.

    Raises
    ------
    ValueError
        As for `skyfill.cosmovae.train`, or the tiles have a side that the network cannot fill.
    """
    return trained(
        lambda where, ranks: _SESSIONS[config.model](config, dataset, out, vgg, where, ranks),
        config,
        vgg=vgg,
        device=device,
        minutes=minutes,
        progress=progress,
    )


class _Baseline(Session[BaselineNet]):
    """What the trainings of all baselines share."""

    def __init__(
        self,
        config: BaselineConfig,
        dataset: TileDataset,
        out: Path,
        vgg: VGGFeatures | None,
        device: torch.device,
        ranks: Ranks,
    ) -> None:
        if config.batch // ranks.number < 2:
            raise ValueError(
                f"{config.model} normalises over the tiles of each process, which needs 2 or more;"
                f" train on fewer processes, or pass `batch_size={2 * ranks.number}`"
            )
        self.model = config.model
        self.arch = Size(dataset.geometry.size, config.width_factor)
        super().__init__(config, dataset, out, vgg, device, ranks)

    def _made(self) -> BaselineNet:
        return network_of(self.model, self.arch)


class _PConv(_Baseline):
    """``pconv``."""

    terms = ("valid", "hole", "perceptual", "style", "variation")

    def _descended(self, truth: Tensor, observed: Tensor) -> dict[str, Tensor]:
        output = self._shared[0](truth, observed)
        away, hole = (output - truth).abs(), 1 - observed
        filled = torch.where(observed > 0, truth, output)
        # The paper's variation is a mean over all pixels, `total_variation` one over hole pixels.
        share = hole.sum() / hole.numel()
        terms = {
            "valid": (observed * away).mean(),
            "hole": (hole * away).mean(),
            "perceptual": output.new_zeros(()),
            "style": output.new_zeros(()),
            "variation": total_variation(filled, observed) * share,
        }
        if self.vgg is not None:
            aims, ours, both = (self.vgg(each) for each in (truth, output, filled))
            terms["perceptual"] = perceptual(ours, aims) + perceptual(both, aims)
            terms["style"] = style(ours, aims) + style(both, aims)
        terms["total"] = (
            terms["valid"]
            + _HOLE * terms["hole"]
            + _PERCEPTUAL * terms["perceptual"]
            + _STYLE * terms["style"]
            + _VARIATION * terms["variation"]
        )
        self._descend(0, terms["total"])
        return terms


class _Vaeac(_Baseline):
    """``vaeac``."""

    terms = ("likelihood", "divergence", "regularisation")

    def _descended(self, truth: Tensor, observed: Tensor) -> dict[str, Tensor]:
        found = self._shared[0](truth, observed, self._white(LATENT))
        pixels = truth[0].numel()  # the loss is that of a pixel, as the authors scale it
        terms = {
            "likelihood": log_likelihood(found.pixels, truth, observed) / pixels,
            "divergence": divergence(found.proposal, found.prior) / pixels,
            "regularisation": regularisation(found.prior) / pixels,
        }
        bound = terms["likelihood"] - terms["divergence"] + terms["regularisation"]
        terms["total"] = -bound
        self._descend(0, terms["total"])
        return terms


class _ContextEncoder(_Baseline):
    """``context-encoder``."""

    terms = ("reconstruction", "adversarial")

    def _others(self) -> list[nn.Module]:
        self.judge = Discriminator(self.arch)
        return [self.judge]

    def _descended(self, truth: Tensor, observed: Tensor) -> dict[str, Tensor]:
        output = self._shared[0](truth, observed)
        filled = torch.where(observed > 0, truth, output)
        self.judge.requires_grad_(requires_grad=False)
        hole = (1 - observed).sum()  # the mean over the holes of all processes
        share = hole / self.ranks.mean(hole.clone()).clamp(min=1)
        terms = {
            "reconstruction": squared(output, truth, observed) * share,
            "adversarial": Discriminator.fooled(self.judge(filled)),
        }
        self.judge.requires_grad_(requires_grad=True)
        terms["total"] = (
            _RECONSTRUCTION * terms["reconstruction"] + _ADVERSARIAL * terms["adversarial"]
        )
        self._descend(0, terms["total"])
        scores = self._shared[1](torch.cat([truth, filled.detach()]))
        terms["adversary"] = Discriminator.told_apart(*scores.chunk(2))
        self._descend(1, terms["adversary"])
        return terms


_SESSIONS: dict[str, type[_Baseline]] = {
    "pconv": _PConv,
    "vaeac": _Vaeac,
    "context-encoder": _ContextEncoder,
}
