"""Infer the latent field of a masked tile: encoder, decoder and posterior.

The generative model is the paper's (CosmoVAE, arXiv:2001.11651, III.B: spectrum → field → map).
A tile is t = s + n. The signal s has the spectrum Σ_s = Σ - ν²; n is white with variance ν² in
every pixel, a fraction (`NUGGET`) of the smallest power in Σ. The latent variable ξ ~ N(0, 1) is
white, one number per mode of the tile. The decoder colours it, s = Σ_s^½ ξ; Σ is diagonal in
Fourier space. The observed pixels are M d = M (s + n).

The posterior of ξ follows from one linear operator, the posterior mean t̂ of the tile: the mean of ξ
is Σ_s^½ Σ⁻¹ t̂. Let x be the unobserved pixels of t and Q = Σ⁻¹. The negative log density
-log p(t) = ½ tᵀ Q t has the gradient r = Q_h t in the holes and its minimum at
x* = x - (Q_hh)⁻¹ r. With v = -Σ^½ r, the unknown operator becomes an orthogonal projector 1 - Π:
x* = x + h Σ^½ (1 - Π) v.

The projector depends only on mask and spectrum. A network learns it: a linear U-Net with every
scale gated by a description of the mask. Its input is the gradient, filtered by Wiener filters
S / (S + n) for a ladder of noise levels n, so that it has the range of the tile itself; its output
passes through the same filters. Each step receives the gradient at the point reached by the step
before: an *iterative amortised* encoder (Marino, Yue & Mandt 2018). A few fixed steps on the same
density come first (`skyfill.vae.steps`). The encoder is linear in the data.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from skyfill.vae.modes import colour, split_power
from skyfill.vae.steps import BandedSteps, conjugate_gradient
from skyfill.vae.unet import Architecture, MaskPath, Projector


@dataclass(frozen=True)
class Posterior:
    """The posterior of the latent fields of some tiles.

    Attributes
    ----------
    mean
        ``(batch, 1, side, side)``.
    infer
        Computes the mean for other data with the same mask and spectrum.
    tile, observed, spectrum
        Inputs of the inference; as for `TileVAE.forward`.
    """

    mean: Tensor
    infer: Callable[[Tensor, Tensor, Tensor], Tensor]
    tile: Tensor
    observed: Tensor
    spectrum: Tensor

    def sample(self, prior: Tensor, noise: Tensor) -> Tensor:
        """Draw latent fields from the posterior, by reparameterisation.

        A sample is ξ = ζ + E (d - M (Σ_s^½ ζ + ν ε)): a draw from the prior plus the mean inferred
        from the difference to the data (Hoffman & Ribak 1991). Its mean is `mean`, because E is
        linear.

        Parameters
        ----------
        prior, noise
            ζ and ε, white, ``(batch, 1, side, side)``.
        """
        signal, white = split_power(self.spectrum)
        drawn = colour(prior, signal.sqrt()) + white.sqrt() * noise
        return prior + self.infer(self.tile - drawn, self.observed, self.spectrum)


class TileVAE(nn.Module):
    """Encode a masked tile into its latent field and decode the latent field into a tile."""

    def __repr__(self) -> str:
        count = sum(each.numel() for each in self.parameters())
        return f"TileVAE({count} parameters)"

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.arch = arch
        self.mask_path = MaskPath(arch)
        self.steps = nn.ModuleList(Projector(arch) for _ in range(arch.steps))

    def encode(
        self, tile: Tensor, observed: Tensor, spectrum: Tensor, weights: Tensor | None = None
    ) -> Posterior:
        """Compute the posterior of the latent field ξ, given the observed pixels.

        Shapes are as in `forward`. `skyfill.inpaint` samples with one ζ for the whole sphere.
        """

        def infer(tile: Tensor, observed: Tensor, spectrum: Tensor) -> Tensor:
            return latent_of(self(tile, observed, spectrum, weights), spectrum)

        return Posterior(infer(tile, observed, spectrum), infer, tile, observed, spectrum)

    def decode(self, latent: Tensor, tile: Tensor, observed: Tensor, spectrum: Tensor) -> Tensor:
        """Decode a latent field: the data where observed, the signal Σ_s^½ ξ elsewhere.

        To make the fill look like the data, add the white part n.
        """
        signal, _ = split_power(spectrum)
        return observed * tile + (1 - observed) * colour(latent, signal.sqrt())

    def halved(self) -> TileVAE:
        """Return a copy whose U-Nets compute in bfloat16; Fourier transforms stay in float32.

        The loss of precision adds an error of 2e-5 of the prior's variance.
        """
        half = copy.deepcopy(self)
        half.mask_path.bfloat16()
        half.steps.bfloat16()
        return half

    def forward(
        self, tile: Tensor, observed: Tensor, spectrum: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """Compute the posterior mean of the whole tile.

        Parameters
        ----------
        tile
            ``(batch, 1, side, side)`` in units of the prior's rms; unobserved pixels are not read.
        observed
            ``(batch, 1, side, side)``, 1 where observed, else 0.
        spectrum
            ``(batch or 1, side, side // 2 + 1)``: `TileField.spectrum`.
        weights
            Weights of the fixed steps before the network (`skyfill.vae.steps.fit_weights`),
            ``(steps, terms)``, or ``(batch, steps, terms)`` if spectra differ. If not given,
            ``warm`` conjugate-gradient iterations replace them; the result is then linear only as
            far as they have converged.
        """
        if weights is None:
            mean = conjugate_gradient(tile, observed, spectrum, iterations=self.arch.warm)
        else:
            mean = BandedSteps(observed, spectrum)(tile, weights)
        ladder = 10.0 ** torch.arange(self.arch.scales, device=tile.device).view(1, -1, 1, 1)
        _, white = split_power(spectrum)
        shared = spectrum[:, None]
        wiener = shared / (shared + white * ladder)
        holes = 1 - observed
        dtype = self.mask_path.stem.weight.dtype
        masks = self.mask_path(observed.to(dtype), spectrum.expand(tile.shape[0], -1, -1))
        # The gradient vanishes at the Gaussian mean: a nonlinear network needs the field itself.
        update = torch.zeros_like(mean) if self.arch.linear else mean
        for step in self.steps:
            residual = holes * (colour(mean, wiener) - mean)
            y = step(torch.cat([residual, update], 1).to(dtype), masks).to(mean.dtype)
            update = holes * (colour(y[:, :-1], wiener).sum(1, keepdim=True) + y[:, -1:])
            mean = mean + update
        return mean


def latent_of(tile: Tensor, spectrum: Tensor) -> Tensor:
    """Compute the latent field of a whole tile, Σ_s^½ Σ⁻¹ t: a whitened Wiener filter.

    For a posterior mean, this is the posterior mean of the latent field.

    Parameters
    ----------
    tile
        ``(batch, 1, side, side)``.
    spectrum
        ``(batch or 1, side, side // 2 + 1)``.
    """
    signal, _ = split_power(spectrum)
    return colour(tile, signal.sqrt() / spectrum[:, None])
