"""The loss of CosmoVAE (arXiv:2001.11651, section III.C), term by term.

    L = λ₁ L_rec + λ₂ D_KL + λ₃ L_perceptual + λ₄ L_TV

The paper gives no λ ("tuned artificially"). Here the divergence is divided by the number of pixels,
like L_rec, so that λ₁ = λ₂ = 1 gives the evidence lower bound of a Laplace law of unit width. The
perceptual and variation terms are those of Liu et al. 2018 (arXiv:1804.07723, eq. 7); λ₃ / λ₁ and
λ₄ / λ₁ are close to their weights there, relative to the weight of the hole.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["kl_divergence", "perceptual", "reconstruction", "total_variation"]


def reconstruction(output: Tensor, truth: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Give ‖(1 - M)(ŷ - y)‖₁ / N and ‖M (ŷ - y)‖₁ / N, outside and inside the hole.

    The paper's M is 1 inside the hole; ``observed`` is 1 outside. N counts all pixels.

    Parameters
    ----------
    output, truth, observed
        ``(batch, 1, ny, nx)``.
    """
    away = (output - truth).abs()
    return (observed * away).mean(), ((1 - observed) * away).mean()


def kl_divergence(mean: Tensor, variance: Tensor, prior_variance: Tensor) -> Tensor:
    """Give KL(N(µ, σ²) || N(0, C_l)), nats per tile, averaged over the batch.

    ½ Σ_l (µ² + σ²) / C_l - 1 - log(σ² / C_l).

    Parameters
    ----------
    mean, variance
        ``(batch, latent)``, µK and µK².
    prior_variance
        ``(latent,)``, µK².
    """
    ratio = variance / prior_variance
    return 0.5 * (mean**2 / prior_variance + ratio - 1 - ratio.log()).sum(1).mean()


def perceptual(features: Sequence[Tensor], aims: Sequence[Tensor]) -> Tensor:
    """Give Σ_p ‖ψ_p(ŷ) - ψ_p(y)‖₁ / N_p over layers p with N_p values each."""
    return torch.stack([(a - b).abs().mean() for a, b in zip(features, aims, strict=True)]).sum()


def total_variation(tile: Tensor, observed: Tensor) -> Tensor:
    """Give the total variation in the hole and one pixel around it, per hole pixel.

    It is Σ |difference| over pairs of neighbours that both lie in P, the hole dilated by one pixel
    in all eight directions, divided by the number of hole pixels of all tiles. It is zero if there
    is no hole.

    Parameters
    ----------
    tile
        ``(batch, 1, ny, nx)``: the fill with the observed pixels around it.
    observed
        The same shape, 1 where observed, else 0.
    """
    hole = 1 - observed
    near = functional.max_pool2d(hole, 3, stride=1, padding=1)
    across = (tile[..., 1:] - tile[..., :-1]).abs() * near[..., 1:] * near[..., :-1]
    along = (tile[..., 1:, :] - tile[..., :-1, :]).abs() * near[..., 1:, :] * near[..., :-1, :]
    return (across.sum() + along.sum()) / hole.sum().clamp(min=1)
