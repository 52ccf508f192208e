"""Train a baseline on the tiles of a data set, as `skyfill.cosmovae` is trained."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
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
    if (vgg is None) != (config.perceptual == "none"):
        raise ValueError("the perceptual term needs VGG-16's weights, and nothing else does")
    kind = _SESSIONS[config.model]
    network, about = trained(
        lambda where, ranks: kind(config, dataset, out, vgg, where, ranks),
        config.batch,
        device=device,
        minutes=minutes,
        progress=progress,
    )
    if not isinstance(network, BaselineNet):
        raise TypeError(type(network).__name__)
    return network.eval(), about


class _Baseline(Session):
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
        self.vgg = None if vgg is None else vgg.to(device)
        torch.manual_seed(config.seed)
        arch = Size(dataset.geometry.size, config.width_factor)
        self.network = network_of(config.model, arch).to(device)
        modules: list[nn.Module] = [self.network, *self._others(arch)]
        digest = dataset.fingerprint
        super().__init__(config, dataset, out, device, ranks, modules=modules, digest=digest)

    def _others(self, arch: Size) -> list[nn.Module]:  # noqa: ARG002
        """Make the modules that are trained beside the network."""
        return []

    def _mean(self, truth: Tensor, observed: Tensor) -> Tensor:
        return self.network.fill(truth, observed)


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
        shape = (self.schedule.batch, self.network.latent)
        random = self.batches.random(LATENT, self.step)
        white = torch.from_numpy(random.standard_normal(shape, dtype=np.float32))
        noise = self.ranks.part(white).to(self.device)
        found = self._shared[0](truth, observed, noise)
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

    def _others(self, arch: Size) -> list[nn.Module]:
        self.judge = Discriminator(arch)
        return [self.judge]

    def _descended(self, truth: Tensor, observed: Tensor) -> dict[str, Tensor]:
        output = self._shared[0](truth, observed)
        filled = torch.where(observed > 0, truth, output)
        self.judge.requires_grad_(requires_grad=False)
        terms = {
            "reconstruction": squared(output, truth, observed),
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
