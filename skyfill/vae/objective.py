"""Say how good an encoder is: its evidence lower bound, and the error it leaves.

The model is that of `skyfill.vae.network`: latent field ξ ~ N(0, 1), observed pixels
M d ~ N(M Σ_s^½ ξ, ν²). The encoder's law q(ξ | d) is that of its samples, with mean ξ̂ and
covariance C. The negative evidence lower bound (Kingma & Welling 2014, eq. 3) is -log p(d) at the
exact posterior and more elsewhere:

    -ELBO = -E_q log p(d | ξ) + KL(q || p)
          = ½ [ |M (d - Σ_s^½ ξ̂)|² + tr M Σ_s^½ C Σ_s^½ M ] / ν² + ½ n_o log 2πν²
            + ½ [ |ξ̂|² + tr C - n - log det C ].

The entropy of q is at least that of the exact posterior, which has the least covariance of all
linear encoders; putting the latter's log det C = -log det(Σ_oo / ν²) in its place keeps the bound
(it is only less tight), and leaves nothing that a network cannot cheaply be scored by.

What is left of it depends on the network in two ways: through ξ̂ (the data part) and through C.
Averaged over data that the model made, both exceed their least by the same quadratic form of the
network's error, so that the data part alone has the same minimiser (docs/vae.md). It counts every
mode alike. The squared error, which a map's user feels, weighs modes by their power; training takes
the sum of the two.
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
        How badly the decoded latent field explains the observed pixels.
    kl
        How far the posterior is from the prior, without `information`, which no network changes.
    """

    reconstruction: Tensor
    kl: Tensor

    @property
    def total(self) -> Tensor:
        """Their sum: what training may lower."""
        return self.reconstruction + self.kl


def negative_elbo(posterior: Posterior, sample: Tensor) -> Elbo:
    """Estimate the terms from the mean of a posterior and a sample of it.

    What the mean adds is exact; what the covariance adds comes from how far the sample is from it.

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
    """Give what the observed pixels can tell of the latent field, ½ log det(Σ_oo / ν²).

    The term of the bound that depends on mask and spectrum alone. Needs the dense covariance of a
    tile's pixels: for small tiles.

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
    """Give the part of the negative bound that the data add, per pixel and averaged over the batch.

    ½ [ |M (d - Σ_s^½ ξ̂)|² / ν² + |ξ̂|² ] = ½ [ tᵀ Q t - ν² |r_h|² ], where t is the filled tile,
    Q = Σ⁻¹ and r_h = Q t in the holes. Least at the exact mean, where r_h is zero; needs no truth.

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
    """Give the squared-cosine weight of a tile's pixels, ``(1, 1, side, side)``; 0 in the guard."""
    x = (torch.arange(side, device=device) + 0.5 - side / 2) / (side - 2 * guard)
    w = torch.cos(torch.pi * x.clamp(-0.5, 0.5)) ** 2
    return torch.outer(w, w)[None, None]
