"""Infer the latent sky of a masked tile: the encoder, its decoder, and the posterior they make.

The generative model is the paper's (CosmoVAE, arXiv:2001.11651, III.B: spectrum → field → map).
The latent variable ξ is white, ξ ~ N(0, 1), one number per mode of the tile; the decoder colours
it with the prior spectrum, t = Σ^½ ξ, where Σ is diagonal in Fourier space, so that t ~ N(0, P(k));
the observed pixels are M t = M d.

For this model the posterior mean is known up to one operator. With x the unobserved pixels of t
and Q = Σ⁻¹, the negative log density -log p(t) = ½ tᵀ Q t has the gradient r = Q_h t in the holes
and its minimum at x* = x - (Q_hh)⁻¹ r. With v = -Σ^½ r the unknown operator
becomes an orthogonal projector 1 - Π: x* = x + h Σ^½ (1 - Π) v. It depends on the mask alone, and a
network learns it: a linear U-Net whose every scale is gated by a description of the mask. It sees
the gradient through Wiener filters S / (S + n) for a ladder of noise levels n, which keeps its
input within the range of the tile itself, and answers through the same filters. A few such steps,
each given the gradient at the point that the step before has reached, are an *iterative amortised*
encoder (Marino, Yue & Mandt 2018). They begin where a few conjugate-gradient steps on the same
density end, and leave to them what such steps do well. The network is linear in the data; the
warm start is, as far as it has converged.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Architecture:
    """Say how large the network is; stored beside its weights.

    Attributes
    ----------
    warm
        Conjugate-gradient steps before the network's.
    steps
        The network's refinements of the latent mean, each with weights of its own.
    channels
        Width of the data path at each scale, the finest (half the tile's resolution) first.
    gates
        Width of the mask path at each scale.
    bands
        Logarithmic bands of the spectrum that condition the gates.
    scales
        Noise levels of the Wiener filters through which a step sees and answers.
    """

    warm: int = 10
    steps: int = 2
    channels: tuple[int, ...] = (16, 24, 32, 48)
    gates: tuple[int, ...] = (16, 24, 32, 48)
    bands: int = 12
    scales: int = 4

    def as_dict(self) -> dict[str, object]:
        """Give the fields as JSON can hold them."""
        return asdict(self)

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Architecture:
        """Build from `as_dict`'s fields, read back from JSON, where tuples are lists."""
        known: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()
        }
        return cls(**known)


def colour(tile: Tensor, amplitude: Tensor) -> Tensor:
    """Multiply every Fourier mode of a tile by an amplitude.

    Parameters
    ----------
    tile
        ``(..., side, side)``.
    amplitude
        ``(..., side, side // 2 + 1)``, broadcast against the modes.

    Notes
    -----
    Where all tiles share the amplitude they are taken two by two as the parts of a complex field,
    which a transform without symmetries does in less than half the time.
    """
    half, odd = divmod(tile.shape[0], 2)
    if odd or amplitude.shape[0] > 1 or tile.dtype != amplitude.dtype:
        field: Tensor = torch.fft.irfft2(torch.fft.rfft2(tile) * amplitude, s=tile.shape[-2:])
        return field
    mirrored = amplitude[..., 1 : (tile.shape[-1] + 1) // 2].flip(-1, -2).roll(1, -2)
    pairs = torch.fft.fft2(torch.complex(tile[:half], tile[half:]))
    pairs = torch.fft.ifft2(pairs * torch.cat([amplitude, mirrored], -1))
    return torch.cat([pairs.real, pairs.imag])


def band_powers(spectrum: Tensor, bands: int) -> Tensor:
    """Average the logarithm of a tile's power in logarithmic rings of the wave number.

    Parameters
    ----------
    spectrum
        ``(batch, side, side // 2 + 1)``, dimensionless.

    Returns
    -------
    ``(batch, bands)``: the wave number is in units of the pixel, so that one tile side and another
    give the same numbers for the same field.
    """
    side = spectrum.shape[-2]
    ky = torch.fft.fftfreq(side, device=spectrum.device)[:, None]
    kx = torch.fft.rfftfreq(side, device=spectrum.device)[None, :]
    ring = torch.log2(torch.hypot(ky, kx).clamp(min=1 / 128) * 128)  # 0 .. 6.5
    ring = (ring / 6.5 * bands).long().clamp(max=bands - 1).flatten()
    log = spectrum.clamp(min=1e-7).log().flatten(1)
    count = torch.zeros(bands, device=log.device).index_add(0, ring, torch.ones_like(log[0]))
    total = torch.zeros(log.shape[0], bands, device=log.device).index_add(1, ring, log)
    return total / count.clamp(min=1) / 4


def _conv(inputs: int, outputs: int, kernel: int = 3, *, bias: bool, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=bias)


def conjugate_gradient(
    tile: Tensor,
    observed: Tensor,
    spectrum: Tensor,
    *,
    iterations: int,
    tolerance: float = 0.0,
    start: Tensor | None = None,
) -> Tensor:
    """Refine the posterior mean of masked tiles by conjugate gradients on their holes.

    Solves Q_hh x = -Q_hM d, Q = Σ⁻¹ on the periodic tile, preconditioned by Σ_hh.

    Parameters
    ----------
    tile, observed, spectrum
        As for `TileVAE.forward`.
    iterations
        Steps to take at most; two Fourier transforms and back in each.
    tolerance
        A tile stands still once its preconditioned residual is below this share of that of an
        empty start; each tile for itself, so that the others of its batch change nothing.
    start
        A tile like the result to start from; nothing in the holes if not given.

    Returns
    -------
    ``(batch, 1, side, side)``: the tile where observed, its posterior mean elsewhere.
    """
    spectrum = spectrum[:, None]
    precision = 1 / spectrum
    holes = 1 - observed
    tiny = torch.finfo(tile.dtype).tiny

    def residual_of(mean: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        residual = -holes * colour(mean, precision)
        z = holes * colour(residual, spectrum)
        return residual, z, (residual * z).sum((-1, -2), keepdim=True)

    mean = tile * observed
    residual, z, rho = residual_of(mean)
    enough = tolerance**2 * rho
    if start is not None:
        mean = mean + holes * start
        residual, z, rho = residual_of(mean)
    direction = z
    for _ in range(iterations):
        active = rho > enough
        if not active.any():
            break
        image = holes * colour(direction, precision)
        alpha = rho / (direction * image).sum((-1, -2), keepdim=True).clamp(min=tiny)
        alpha = torch.where(active, alpha, 0)
        mean = mean + alpha * direction
        residual = residual - alpha * image
        z = holes * colour(residual, spectrum)
        rho, last = (residual * z).sum((-1, -2), keepdim=True), rho
        direction = z + rho / last.clamp(min=tiny) * direction
    return mean


class MaskPath(nn.Module):
    """Describe the mask and the spectrum at every scale; the only non-linear part."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        widths = arch.gates
        self.bands = arch.bands
        self.stem = _conv(4, widths[0], bias=True)
        self.down = nn.ModuleList(_conv(a, b, bias=True, stride=2) for a, b in pairwise(widths))
        self.mix = nn.ModuleList(_conv(w, w, bias=True) for w in widths)
        self.up = nn.ModuleList(_conv(b, a, 1, bias=True) for a, b in pairwise(widths))
        self.out = nn.ModuleList(_conv(w, w, bias=True) for w in widths)
        self.film = nn.Sequential(
            nn.Linear(arch.bands, 64), nn.SiLU(), nn.Linear(64, 2 * sum(widths))
        )
        self.widths = widths

    def forward(self, observed: Tensor, spectrum: Tensor) -> list[Tensor]:
        """Give ``(batch, gates[i], side / 2**(i + 1), ...)`` for every scale i."""
        film = self.film(band_powers(spectrum, self.bands))[:, :, None, None]
        shift, scale = film.chunk(2, dim=1)
        shifts, scales = shift.split(self.widths, 1), scale.split(self.widths, 1)
        x = self.stem(functional.pixel_unshuffle(observed, 2))
        features = []
        for i, mix in enumerate(self.mix):
            if i:
                x = self.down[i - 1](x)
            x = functional.silu(x * (1 + scales[i]) + shifts[i])
            x = x + functional.silu(mix(x))
            features.append(x)
        for i in reversed(range(len(self.up))):
            coarse = self.up[i](features[i + 1])
            features[i] = features[i] + functional.interpolate(coarse, scale_factor=2)
        return [f + functional.silu(out(f)) for f, out in zip(features, self.out, strict=True)]


class GatedBlock(nn.Module):
    """Add to a field a convolution of itself, gated by the mask before and after."""

    def __init__(self, width: int, gates: int) -> None:
        super().__init__()
        self.inner = _conv(width, width, bias=False)
        self.outer = _conv(width, width, bias=False)
        self.gates = _conv(gates, 2 * width, 1, bias=True)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Keep the shape ``(batch, width, n, n)``."""
        before, after = self.gates(mask).chunk(2, dim=1)
        change: Tensor = self.outer(after * self.inner((1 + before) * x))
        return x + change


class Projector(nn.Module):
    """Approximate the projector 1 - Π of the module's docstring: a linear, mask-gated U-Net."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        widths, gates = arch.channels, arch.gates
        self.scales = arch.scales
        self.stem = _conv(4 * arch.scales + 4, widths[0], bias=False)
        self.enter = nn.ModuleList(GatedBlock(w, g) for w, g in zip(widths, gates, strict=True))
        self.leave = nn.ModuleList(
            GatedBlock(w, g) for w, g in zip(widths[:-1], gates[:-1], strict=True)
        )
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, 2, bias=False) for a, b in pairwise(widths))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(b, a, 2, 2, bias=False) for a, b in pairwise(widths)
        )
        self.skips = nn.ModuleList(
            _conv(g, w, 1, bias=True) for w, g in zip(widths[:-1], gates[:-1], strict=True)
        )
        self.head = _conv(widths[0], 4 * arch.scales, bias=False)
        self.direct = _conv(gates[0], 4 * (arch.scales**2 + arch.scales + 1), 1, bias=True)
        # Untrained, a step changes nothing.
        for last in (self.direct, self.head):
            nn.init.zeros_(last.weight)
        nn.init.zeros_(self.direct.bias)  # type: ignore[arg-type]

    def forward(self, fields: Tensor, masks: list[Tensor]) -> Tensor:
        """Map residuals and last update, ``(batch, scales + 1, side, side)``, to the same shape."""
        packed = functional.pixel_unshuffle(fields, 2)
        x = self.stem(packed)
        kept = []
        for i, block in enumerate(self.enter):
            if i:
                kept.append(x)
                x = self.down[i - 1](x)
            x = block(x, masks[i])
        for i in reversed(range(len(self.up))):
            x = self.up[i](x) + (1 + self.skips[i](masks[i])) * kept[i]
            x = self.leave[i](x, masks[i])
        n, h, w = x.shape[0], x.shape[2], x.shape[3]
        s = self.scales
        mix, scale, memory = self.direct(masks[0]).split([4 * s * s, 4 * s, 4], dim=1)
        residual = packed[:, :-4].view(n, 1, s, 4, h, w)
        y = (mix.view(n, s, s, 4, h, w) * residual).sum(2).view(n, 4 * s, h, w)
        y = y + (1 + scale) * self.head(x)
        packed = torch.cat([y, memory * packed[:, -4:]], 1)
        return functional.pixel_shuffle(packed, 2)


class TileVAE(nn.Module):
    """Encode a masked tile into its latent field and decode the latent field into a tile."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.arch = arch
        self.mask_path = MaskPath(arch)
        self.steps = nn.ModuleList(Projector(arch) for _ in range(arch.steps))

    def encode(self, tile: Tensor, observed: Tensor, spectrum: Tensor) -> Tensor:
        """Give the mean of the latent field ξ given the observed pixels; shapes as in `forward`.

        A sample of its posterior is ζ + encode(d - M decode(ζ)), ζ white: the reparameterisation
        that `skyfill.inpaint` makes with one ζ for the whole sphere.
        """
        return colour(self(tile, observed, spectrum), spectrum[:, None].rsqrt())

    def decode(self, latent: Tensor, tile: Tensor, observed: Tensor, spectrum: Tensor) -> Tensor:
        """Give the tile of a latent field: the data where observed, Σ^½ ξ elsewhere."""
        return observed * tile + (1 - observed) * colour(latent, spectrum[:, None].sqrt())

    def forward(self, tile: Tensor, observed: Tensor, spectrum: Tensor) -> Tensor:
        """Give the posterior mean of the whole tile.

        Parameters
        ----------
        tile
            ``(batch, 1, side, side)`` in units of the prior's rms; unobserved pixels are not read.
        observed
            ``(batch, 1, side, side)``, 1 where observed, else 0.
        spectrum
            ``(batch or 1, side, side // 2 + 1)``: `TileField.spectrum`.
        """
        mean = conjugate_gradient(tile, observed, spectrum, iterations=self.arch.warm)
        spectrum = spectrum[:, None]
        noise = (
            spectrum.amin((-1, -2), keepdim=True)
            * 0.5
            * 10.0 ** torch.arange(self.arch.scales, device=tile.device).view(1, -1, 1, 1)
        )
        wiener = spectrum / (spectrum + noise)
        holes = 1 - observed
        masks = self.mask_path(observed, spectrum[:, 0].expand(tile.shape[0], -1, -1))
        update = torch.zeros_like(mean)
        for step in self.steps:
            residual = holes * (colour(mean, wiener) - mean)
            y = step(torch.cat([residual, update], 1), masks).float()
            update = holes * (colour(y[:, :-1], wiener).sum(1, keepdim=True) + y[:, -1:])
            mean = mean + update
        return mean
