"""The trained part of the encoder: a path for the mask, and a U-Net for the field."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from skyfill.brief import brief


@dataclass(frozen=True)
class Architecture:
    """The size of the network; stored with its weights.

    Attributes
    ----------
    warm
        Number of fixed steps before the network.
    steps
        Number of refinements by the network, each with its own weights.
    channels
        Width of the data path at each scale, the finest (half the tile's resolution) first.
    gates
        Width of the mask path at each scale.
    bands
        Number of logarithmic bands of the spectrum that condition the gates.
    scales
        Number of noise levels of the Wiener filters at the input and output of a refinement.
    linear
        Whether the output is linear in the data, like the mean of a Gaussian field. A network for
        non-Gaussian fields has nonlinear activations.
    """

    __repr__ = brief

    warm: int = 12
    steps: int = 1
    channels: tuple[int, ...] = (16, 24, 32, 48)
    gates: tuple[int, ...] = (16, 24, 32, 48)
    bands: int = 12
    scales: int = 3
    linear: bool = True

    def as_dict(self) -> dict[str, object]:
        """Return the fields as a dictionary for JSON."""
        return asdict(self)

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Architecture:
        """Build from the fields of `as_dict`, read from JSON, where tuples are lists."""
        known: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()
        }
        return cls(**known)


def band_powers(spectrum: Tensor, bands: int) -> Tensor:
    """Average the logarithm of a tile's power in logarithmic rings of the wavenumber.

    Parameters
    ----------
    spectrum
        ``(batch, side, side // 2 + 1)``, dimensionless.

    Returns
    -------
    ``(batch, bands)``. The wavenumber is in units of the pixel, so that the result for a field does
    not depend on the tile's side.
    """
    side = spectrum.shape[-2]
    ky = torch.fft.fftfreq(side, device=spectrum.device)[:, None]
    kx = torch.fft.rfftfreq(side, device=spectrum.device)[None, :]
    ring = torch.log2(torch.hypot(ky, kx).clamp(min=1 / 128) * 128)  # 0 .. 6.5
    ring = (ring / 6.5 * bands).long().clamp(max=bands - 1).flatten()
    log = spectrum.clamp(min=1e-7).log().flatten(1)
    count = log.new_zeros(bands).index_add(0, ring, torch.ones_like(log[0]))
    total = log.new_zeros(log.shape[0], bands).index_add(1, ring, log)
    return total / count.clamp(min=1) / 4


def _conv(inputs: int, outputs: int, kernel: int = 3, *, bias: bool, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=bias)


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
        """Compute ``(batch, gates[i], side / 2**(i + 1), ...)`` for every scale i."""
        bands = band_powers(spectrum, self.bands).to(observed.dtype)
        film = self.film(bands)[:, :, None, None]
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
    """Add to a field a convolution of itself, gated by the mask before and after.

    The output for a zero field is zero, also in the nonlinear case.
    """

    def __init__(self, width: int, gates: int, *, linear: bool) -> None:
        super().__init__()
        self.bend: nn.Module = nn.Identity() if linear else nn.SiLU()
        self.inner = _conv(width, width, bias=False)
        self.outer = _conv(width, width, bias=False)
        self.gates = _conv(gates, 2 * width, 1, bias=True)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Apply the block; the shape stays ``(batch, width, n, n)``."""
        before, after = self.gates(mask).chunk(2, dim=1)
        change: Tensor = self.outer(after * self.bend(self.inner((1 + before) * x)))
        return x + change


class Projector(nn.Module):
    """Approximate the projector 1 - Π of `skyfill.vae.network`: a linear, mask-gated U-Net."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        widths, gates = arch.channels, arch.gates
        self.scales = arch.scales
        self.stem = _conv(4 * arch.scales + 4, widths[0], bias=False)
        self.enter, self.leave = (
            nn.ModuleList(
                GatedBlock(w, g, linear=arch.linear) for w, g in zip(widths, gates, strict=True)
            )
            for widths, gates in ((widths, gates), (widths[:-1], gates[:-1]))
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
        # An untrained network leaves the mean unchanged.
        for last in (self.direct, self.head):
            nn.init.zeros_(last.weight)
        nn.init.zeros_(self.direct.bias)  # type: ignore[arg-type]

    def forward(self, fields: Tensor, masks: list[Tensor]) -> Tensor:
        """Map residuals and previous update, ``(batch, scales + 1, side, side)``, to this shape."""
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
