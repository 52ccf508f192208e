"""Measure an encoder: its evidence lower bound, and its error in the holes.

The model is that of `skyfill.vae.network`: latent field ξ ~ N(0, 1), observed pixels
M d ~ N(M Σ_s^½ ξ, ν²). The encoder's distribution q(ξ | d) is that of its samples, with mean ξ̂ and
covariance C. The negative evidence lower bound (Kingma & Welling 2014, eq. 3) is -log p(d) at the
exact posterior and more elsewhere:

    -ELBO = -E_q log p(d | ξ) + KL(q || p)
          = ½ [ |M (d - Σ_s^½ ξ̂)|² + tr M Σ_s^½ C Σ_s^½ M ] / ν² + ½ n_o log 2πν²
            + ½ [ |ξ̂|² + tr C - n - log det C ].

The exact posterior has the smallest covariance of all linear encoders, so the entropy of q is at
least that of the exact posterior. Replacing log det C by the exact posterior's value
-log det(Σ_oo / ν²) therefore keeps a lower bound, only a less tight one, and removes the only term
that is expensive to compute.

The rest depends on the network through ξ̂ (the data part) and through C. Averaged over data drawn
from the model, both exceed their minima by the same quadratic form of the network's error, so the
data part has the same minimiser (docs/vae.md). The bound weights all modes equally; the squared
error in the map weights modes by their power. Training minimises the sum of both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from skyfill.vae.modes import colour, split_power
from skyfill.vae.network import Posterior


@dataclass(frozen=True)
class Elbo:
    """The two terms of a negative evidence lower bound: nats per pixel of the tile, batch means.

    Attributes
    ----------
    reconstruction
        Negative expected log likelihood of the observed pixels.
    kl
        Divergence of the posterior from the prior, without the constant `information`.
    """

    reconstruction: Tensor
    kl: Tensor

    @property
    def total(self) -> Tensor:
        """The sum of both terms."""
        return self.reconstruction + self.kl


def negative_elbo(posterior: Posterior, sample: Tensor) -> Elbo:
    """Estimate both terms from the mean of a posterior and one sample.

    The contribution of the mean is exact. That of the covariance is estimated from the difference
    between sample and mean.

    Parameters
    ----------
    posterior
        From `TileVAE.encode`.
    sample
        ``(batch, 1, side, side)``, from `Posterior.sample`.
    """
    signal, white = split_power(posterior.spectrum)
    observed, amplitude = posterior.observed, signal.sqrt()
    away = sample - posterior.mean
    missed = observed * (posterior.tile - colour(posterior.mean, amplitude))
    spread = observed * colour(away, amplitude)
    noise = observed * (2 * math.pi * white).log()
    return Elbo(
        0.5 * ((missed**2 + spread**2) / white + noise).mean(),
        0.5 * (posterior.mean**2 + away**2 - 1).mean(),
    )


def information(observed: Tensor, spectrum: Tensor) -> Tensor:
    """Compute the information of the observed pixels on the latent field, ½ log det(Σ_oo / ν²).

    This term of the bound depends only on mask and spectrum. It needs the dense covariance of a
    tile's pixels, so it is for small tiles.

    Parameters
    ----------
    observed, spectrum
        As for `TileVAE.forward`.

    Returns
    -------
    ``(batch,)``, nats per tile.
    """
    side = observed.shape[-1]
    unit = torch.eye(side**2, dtype=spectrum.dtype, device=spectrum.device).view(-1, side, side)
    found = []
    for mask, power in zip(observed, spectrum.expand(len(observed), -1, -1), strict=True):
        _, white = split_power(power[None])
        seen = mask.flatten() > 0
        covariance = colour(unit, power[None] / white[0]).view(side**2, -1)[seen][:, seen]
        found.append(torch.linalg.cholesky(covariance).diagonal().log().sum())
    return torch.stack(found)


def data_term(mean: Tensor, observed: Tensor, spectrum: Tensor) -> Tensor:
    """Compute the data part of the negative bound, nats per pixel, averaged over the batch.

    ½ [ |M (d - Σ_s^½ ξ̂)|² / ν² + |ξ̂|² ] = ½ [ tᵀ Q t - ν² |r_h|² ], where t is the filled tile,
    Q = Σ⁻¹ and r_h = Q t in the holes. It is smallest at the exact mean, where r_h is zero. The
    true tile is not needed.

    Parameters
    ----------
    mean
        ``(batch, 1, side, side)`` filled tiles in units of the prior's rms.
    observed, spectrum
        As for `TileVAE.forward`.
    """
    _, white = split_power(spectrum)
    gradient = colour(mean, 1 / spectrum[:, None])
    return 0.5 * (mean * gradient - white * (1 - observed) * gradient**2).mean()


def hole_error(mean: Tensor, truth: Tensor, observed: Tensor, weight: Tensor) -> Tensor:
    """Compute the mean squared error in the holes, in units of the prior's variance.

    Parameters
    ----------
    mean, truth, observed
        ``(batch, 1, side, side)``.
    weight
        ``(1, 1, side, side)``, weight of each pixel when tiles are blended.
    """
    holes = (1 - observed) * weight
    return ((mean - truth) ** 2 * holes).sum() / holes.sum()


def blending_weight(side: int, guard: int, *, device: torch.device | str = "cpu") -> Tensor:
    """Compute squared-cosine pixel weights of a tile, ``(1, 1, side, side)``; 0 in the guard."""
    x = (torch.arange(side, device=device) + 0.5 - side / 2) / (side - 2 * guard)
    w = torch.cos(torch.pi * x.clamp(-0.5, 0.5)) ** 2
    return torch.outer(w, w)[None, None]
