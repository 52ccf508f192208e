"""Say how good an encoder is: its evidence lower bound, and the error it leaves.

For the model of `skyfill.vae.network` the observed pixels are the decoded tile itself, so the
reconstruction term of the evidence lower bound (Kingma & Welling 2014, eq. 3) is the same for every
posterior that keeps them, and what is left of it is the prior term. With the posterior
q(t | d): t = z + W (d - M z), z ~ N(0, Σ), its mean over data is, but for a constant and to second
order in the distance from the optimal W,

    -ELBO = E[ tᵀ Σ⁻¹ t ],     t = M d + h W d,

the precision-weighted power of the filled tile: least at the exact posterior mean, no truth needed.
It counts every mode alike. The squared error, which a map's user feels, weighs modes by their
power; training takes the sum of the two.
"""

from __future__ import annotations

import torch
from torch import Tensor

from skyfill.vae.network import colour


def prior_term(mean: Tensor, spectrum: Tensor) -> Tensor:
    """Give tᵀ Σ⁻¹ t per pixel, averaged over the batch.

    Parameters
    ----------
    mean
        ``(batch, 1, side, side)`` filled tiles in units of the prior's rms.
    spectrum
        ``(batch, side, side // 2 + 1)``, `TileField.spectrum`.
    """
    return (mean * colour(mean, 1 / spectrum[:, None])).mean()


def hole_error(mean: Tensor, truth: Tensor, observed: Tensor, weight: Tensor) -> Tensor:
    """Give the mean squared error in the holes, in units of the prior's variance.

    Parameters
    ----------
    mean, truth, observed
        ``(batch, 1, side, side)``.
    weight
        ``(1, 1, side, side)``: how much a pixel of the tile counts when tiles are blended.
    """
    holes = (1 - observed) * weight
    return ((mean - truth) ** 2 * holes).sum() / holes.sum()


def blending_weight(side: int, guard: int, *, device: torch.device | str = "cpu") -> Tensor:
    """Give the squared-cosine weight of a tile's pixels, ``(1, 1, side, side)``."""
    x = (torch.arange(side, device=device) + 0.5 - side / 2) / (side - 2 * guard)
    w = torch.cos(torch.pi * x.clamp(-0.5, 0.5)) ** 2
    return torch.outer(w, w)[None, None]
