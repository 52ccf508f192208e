"""The losses of the baselines, in units of the rms of a tile."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["divergence", "log_likelihood", "regularisation", "squared", "style"]

#: Widths of the priors of the latent Gaussian's mean and deviation in VAEAC (section 4.4).
_MEANS = 1e4
#: Weight of the prior of the deviation.
_SPREADS = 1e-4


def style(features: Sequence[Tensor], aims: Sequence[Tensor]) -> Tensor:
    """Give Σ_p ‖G(ψ_p(ŷ)) - G(ψ_p(y))‖₁ / C_p², with G the Gram matrix over C_p H W.

    Liu et al. 2018, eqs. 4 and 5; the mean over tiles.
    """
    terms = [(_gram(a) - _gram(b)).abs().mean() for a, b in zip(features, aims, strict=True)]
    return torch.stack(terms).sum()


def _gram(features: Tensor) -> Tensor:
    """Give Gram matrices, ``(batch, channels, channels)``."""
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])


def log_likelihood(pixels: tuple[Tensor, Tensor], truth: Tensor, observed: Tensor) -> Tensor:
    """Give log p(truth in the holes) of independent Gaussian pixels, nats a tile.

    Ivanov et al. 2019, eq. 5, first term; the mean over tiles.
    """
    mean, spread = pixels
    each = -0.5 * ((truth - mean) / spread) ** 2 - spread.log() - 0.5 * math.log(2 * math.pi)
    return ((1 - observed) * each).sum((1, 2, 3)).mean()


def divergence(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> Tensor:
    """Give KL(one || other) of Gaussians of independent components, nats a tile.

    Parameters
    ----------
    one, other
        Mean and standard deviation, ``(batch, latent)`` each.
    """
    ratio = (one[1] / other[1]) ** 2
    each = ratio + ((one[0] - other[0]) / other[1]) ** 2 - 1 - ratio.log()
    return 0.5 * each.sum(1).mean()


def regularisation(prior: tuple[Tensor, Tensor]) -> Tensor:
    """Give the weak log prior of the prior network's Gaussian (Ivanov et al. 2019, section 4.4)."""
    mean, spread = prior
    each = -(mean**2) / (2 * _MEANS**2) + _SPREADS * (spread.log() - spread)
    return each.sum(1).mean()


def squared(output: Tensor, truth: Tensor, observed: Tensor) -> Tensor:
    """Give the mean square error in the holes (Pathak et al. 2016, eq. 1), a hole pixel."""
    hole = 1 - observed
    return (hole * (output - truth) ** 2).sum() / hole.sum().clamp(min=1)
