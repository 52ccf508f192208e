"""The variational autoencoder with arbitrary conditioning (Ivanov et al. 2019, arXiv:1806.02382).

A proposal network sees the whole tile and the mask, a prior network the observed pixels and the
mask; each gives a Gaussian of the latent vector. A generative network turns a latent vector into a
Gaussian of every pixel. Skip connections lead from the prior network to it (section 4.3 and
appendix).

Tiles of 128 pixels have the authors' seven levels down to 1 pixel; smaller ones have as many as
halve them to 1 pixel, larger ones have seven. Where pixels are left, their mean is taken.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from skyfill.baselines.size import BaselineNet, Size

__all__ = ["VAEAC", "Inference"]

#: Channels of the levels, finest first; the last is also the number of latent components.
_WIDTHS = (8, 8, 16, 32, 64, 128, 256)
#: Residual blocks of a level.
_BLOCKS = 4
#: Fewest channels within a residual block.
_INNER = 8
#: Least standard deviation of a Gaussian: of the latent vector, and of a pixel in units of its rms.
_LEAST = 1e-3, 1e-2


class Inference(NamedTuple):
    """Output of the networks for training.

    Attributes
    ----------
    proposal, prior
        Mean and standard deviation of the latent vector, ``(batch, latent)`` each: with the whole
        tile known, and with its observed pixels.
    pixels
        Mean and standard deviation of the pixels, ``(batch, 1, ny, nx)``, for a draw of the
        proposal.
    """

    proposal: tuple[Tensor, Tensor]
    prior: tuple[Tensor, Tensor]
    pixels: tuple[Tensor, Tensor]


class _Residual(nn.Module):
    """A residual block: 1, 3 and 1 pixels wide, normalised before each convolution."""

    def __init__(self, width: int, factor: float) -> None:
        super().__init__()
        inner = max(width // 2, min(width, round(_INNER * factor)), 1)
        layers: list[nn.Module] = []
        for a, b, kernel in ((width, inner, 1), (inner, inner, 3), (inner, width, 1)):
            # What is normalised next needs no bias.
            plain = nn.Conv2d(a, b, kernel, 1, kernel // 2, bias=len(layers) == 6)
            layers += [nn.BatchNorm2d(a), nn.LeakyReLU(), plain]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Add the block's change."""
        changed: Tensor = x + self.layers(x)
        return changed


def _blocks(width: int, factor: float) -> nn.Sequential:
    return nn.Sequential(*(_Residual(width, factor) for _ in range(_BLOCKS)))


class _Encoder(nn.Module):
    """From a tile and its mask to a Gaussian of the latent vector."""

    def __init__(self, widths: tuple[int, ...], factor: float) -> None:
        super().__init__()
        inputs = (2, *widths[:-1])
        self.enter = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(inputs, widths, strict=True))
        self.levels = nn.ModuleList(_blocks(width, factor) for width in widths)
        last = 2 * widths[-1]
        self.leave = nn.Sequential(
            nn.Conv2d(widths[-1], last, 1), *(nn.Conv2d(last, last, 1) for _ in range(3))
        )

    def forward(self, x: Tensor) -> tuple[tuple[Tensor, Tensor], list[Tensor]]:
        """Give mean and standard deviation, and the features of every level, finest first."""
        skips = [x]
        for enter, level in zip(self.enter, self.levels, strict=True):
            x = level(enter(x))
            skips.append(x)
            x = functional.avg_pool2d(x, 2)
        # A tile whose side is no power of two may end with more than a pixel.
        found = self.leave(x.mean((-1, -2), keepdim=True))[:, :, 0, 0]
        return _gaussian(found, _LEAST[0]), skips


class VAEAC(BaselineNet):
    """The three networks.

    Parameters
    ----------
    arch
        Size of the networks; the latent vector has as many components as the last level channels.

    Raises
    ------
    ValueError
        The tiles are too small, or no channel is left.
    """

    __repr__ = BaselineNet.__repr__

    def __init__(self, arch: Size) -> None:
        super().__init__()
        self.arch = arch
        levels = min(arch.side.bit_length() - 1, len(_WIDTHS))
        if levels < 1:
            raise ValueError(f"vaeac needs tiles of 2 pixels or more, these have {arch.side}")
        widths = arch.widths(_WIDTHS[:levels])
        self.latent = widths[-1]
        self.proposal = _Encoder(widths, arch.factor)
        self.prior = _Encoder(widths, arch.factor)
        last = widths[-1]
        self.enter = nn.Sequential(*(nn.Conv2d(last, last, 1) for _ in range(4)))
        outputs = [*reversed(widths[:-1]), widths[0]]
        above = [last, *outputs[:-1]]
        self.join = nn.ModuleList(
            nn.Conv2d(a + skip, b, 1)
            for a, skip, b in zip(above, reversed(widths), outputs, strict=True)
        )
        self.levels = nn.ModuleList(_blocks(width, arch.factor) for width in outputs)
        self.last_join = nn.Conv2d(widths[0] + 2, widths[0], 1)
        self.last_level = _blocks(widths[0], arch.factor)
        self.head = nn.Conv2d(widths[0], 2, 1)

    def _known(self, tile: Tensor, observed: Tensor) -> tuple[tuple[Tensor, Tensor], list[Tensor]]:
        """Infer the latent vector from the observed pixels."""
        hidden = torch.where(observed > 0, tile, 0.0)
        found: tuple[tuple[Tensor, Tensor], list[Tensor]] = self.prior(
            torch.cat([hidden, 1 - observed], 1)
        )
        return found

    def generate(self, latent: Tensor, skips: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Give mean and standard deviation of the pixels, ``(batch, 1, ny, nx)``."""
        tile, *rest = skips
        x = self.enter(latent[:, :, None, None])
        for join, level, skip in zip(self.join, self.levels, reversed(rest), strict=True):
            x = functional.interpolate(x, size=skip.shape[-2:])
            x = level(join(torch.cat([x, skip], 1)))
        x = self.last_level(self.last_join(torch.cat([x, tile], 1)))
        return _gaussian(self.head(x), _LEAST[1])

    def forward(self, tile: Tensor, observed: Tensor, noise: Tensor) -> Inference:
        """Infer from whole tiles and from observed pixels, and generate from the former."""
        proposal, _ = self.proposal(torch.cat([tile, 1 - observed], 1))
        prior, skips = self._known(tile, observed)
        mean, spread = proposal
        return Inference(proposal, prior, self.generate(mean + spread * noise, skips))

    def fill(self, tile: Tensor, observed: Tensor, noise: Tensor | None = None) -> Tensor:
        """Give whole tiles, as `BaselineNet.fill`: the mean of the pixels for a latent vector.

        As in the paper, pixels have no noise of their own.
        """
        (mean, spread), skips = self._known(tile, observed)
        return self.generate(mean if noise is None else mean + spread * noise, skips)[0]


def _gaussian(found: Tensor, least: float) -> tuple[Tensor, Tensor]:
    """Split channels into mean and standard deviation."""
    mean, spread = found.chunk(2, 1)
    return mean, functional.softplus(spread).clamp(min=least)
