"""Adversarial network that can replace the divergence: it separates samples of q(z | x) and prior.

The paper leaves it to future work (arXiv:2001.11651, section V). With ``gan`` this is the
adversarial autoencoder (Makhzani et al. 2015, arXiv:1511.05644). With ``wgan`` the critic has a
gradient penalty (Gulrajani et al. 2017, arXiv:1704.00028, eq. 3). Both pull the *aggregate* of q
over all tiles towards N(0, C_l), whereas the divergence pulls each q.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Adversary"]

_WIDTH = 256
_PENALTY = 10.0


class Adversary(nn.Module):
    """Score latent vectors, ``(batch, latent)`` in units of √C_l: high for samples of the prior."""

    def __init__(self, latent: int, *, wasserstein: bool) -> None:
        super().__init__()
        self.wasserstein = wasserstein
        self.layers = nn.Sequential(
            nn.Linear(latent, _WIDTH),
            nn.LeakyReLU(0.2),
            nn.Linear(_WIDTH, _WIDTH),
            nn.LeakyReLU(0.2),
            nn.Linear(_WIDTH, 1),
        )

    def forward(self, latent: Tensor) -> Tensor:
        """Give the scores, ``(batch, 1)``."""
        scores: Tensor = self.layers(latent)
        return scores

    def fooled(self, scores: Tensor) -> Tensor:
        """Give the loss of the encoder, from the scores of its samples."""
        return -scores.mean() if self.wasserstein else functional.softplus(-scores).mean()

    def told_apart(self, prior: Tensor, posterior: Tensor) -> Tensor:
        """Give the loss of the adversary itself, from its scores."""
        if self.wasserstein:
            return posterior.mean() - prior.mean()
        return functional.softplus(-prior).mean() + functional.softplus(posterior).mean()

    def penalty(self, between: Tensor) -> Tensor:
        """Give the penalty for slopes other than one between samples, if ``wasserstein``."""
        if not self.wasserstein:
            return between.new_zeros(())
        at = between.detach().requires_grad_()
        (slope,) = torch.autograd.grad(self(at).sum(), at, create_graph=True)
        penalty: Tensor = _PENALTY * ((slope.norm(dim=1) - 1) ** 2).mean()
        return penalty
