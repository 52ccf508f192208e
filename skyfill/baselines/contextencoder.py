"""The context encoder (Pathak et al. 2016, arXiv:1604.07379, section 3 and appendix).

An encoder of strided convolutions halves a tile to some pixels and takes these to a vector; a
decoder takes the vector back. There are no skips. The paper cuts squares, and holes of random
shape (section 3.3); here the holes are those of the masks. The paper's pixels are bounded (tanh), a
sky is not: the last layer is linear.

Tiles of 128 pixels have the paper's five levels down to 4 pixels; others have as many as halve them
to 4 pixels or more.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from skyfill.baselines.size import BaselineNet, Size

__all__ = ["ContextEncoder", "Discriminator"]

#: Channels of the encoder; the decoder has those of the second and later ones in reverse.
_WIDTHS = (64, 64, 128, 256, 512)
#: Components of the vector in the middle.
_VECTOR = 4000
#: Channels of the discriminator.
_JUDGE = (64, 128, 256, 512)
#: Fewest pixels along a tile at the last level.
_FEWEST = 4
#: Slope of the leaky ReLU.
_SLOPE = 0.2


def _levels(side: int, most: int) -> int:
    """Count the halvings of a side to `_FEWEST` pixels or more."""
    levels = 0
    while levels < most and side % 2 == 0 and side // 2 >= _FEWEST:
        side, levels = side // 2, levels + 1
    if not levels:
        raise ValueError(
            f"a context encoder halves its tiles, and {side} pixels cannot be halved to {_FEWEST}"
            " or more; cut tiles of another size"
        )
    return levels


class ContextEncoder(BaselineNet):
    """Encoder and decoder. Holes hold 0, the observed mean.

    Parameters
    ----------
    arch
        Size of the network; it fills tiles of this side only.

    Raises
    ------
    ValueError
        The side cannot be halved, or no channel is left.
    """

    __repr__ = BaselineNet.__repr__

    def __init__(self, arch: Size) -> None:
        super().__init__()
        self.arch = arch
        levels = _levels(arch.side, len(_WIDTHS))
        widths = arch.widths(_WIDTHS[:levels])
        (vector,) = arch.widths((_VECTOR,))
        rest = arch.side >> levels
        layers: list[nn.Module] = [nn.Conv2d(1, widths[0], 4, 2, 1), nn.LeakyReLU(_SLOPE)]
        for a, b in pairwise(widths):
            layers += [nn.Conv2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b)]
            layers.append(nn.LeakyReLU(_SLOPE))
        layers += [nn.Conv2d(widths[-1], vector, rest, bias=False), nn.BatchNorm2d(vector)]
        layers.append(nn.LeakyReLU(_SLOPE))
        back = [*reversed(widths)]
        layers.append(nn.ConvTranspose2d(vector, back[0], rest, bias=False))
        for a, b in pairwise(back):
            layers += [nn.BatchNorm2d(a), nn.ReLU(), nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False)]
        layers += [nn.BatchNorm2d(back[-1]), nn.ReLU(), nn.ConvTranspose2d(back[-1], 1, 4, 2, 1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, tile: Tensor, observed: Tensor) -> Tensor:
        """Give whole tiles, ``(batch, 1, ny, nx)``.

        Raises
        ------
        ValueError
            The tiles have another side than the network.
        """
        side = self.arch.side
        if tile.shape[-2:] != (side, side):
            ny, nx = tile.shape[-2:]
            raise ValueError(
                f"this context encoder fills tiles of {side} by {side} pixels, got {ny} by {nx};"
                " cut tiles of its size"
            )
        tiles: Tensor = self.layers(torch.where(observed > 0, tile, 0.0))
        return tiles

    def fill(self, tile: Tensor, observed: Tensor, noise: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Give whole tiles, as `BaselineNet.fill`; the network draws nothing."""
        tiles: Tensor = self(tile, observed)
        return tiles


class Discriminator(nn.Module):
    """Score tiles, ``(batch, 1, side, side)``: high for true ones, low for filled ones."""

    def __init__(self, arch: Size) -> None:
        super().__init__()
        levels = _levels(arch.side, len(_JUDGE))
        widths = arch.widths(_JUDGE[:levels])
        layers: list[nn.Module] = [nn.Conv2d(1, widths[0], 4, 2, 1), nn.LeakyReLU(_SLOPE)]
        for a, b in pairwise(widths):
            layers += [nn.Conv2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b)]
            layers.append(nn.LeakyReLU(_SLOPE))
        layers.append(nn.Conv2d(widths[-1], 1, arch.side >> levels))
        self.layers = nn.Sequential(*layers)

    def forward(self, tiles: Tensor) -> Tensor:
        """Give the scores, ``(batch,)``."""
        scores: Tensor = self.layers(tiles)[:, 0, 0, 0]
        return scores

    @staticmethod
    def fooled(scores: Tensor) -> Tensor:
        """Give the loss of the context encoder, from the scores of its fills."""
        return functional.softplus(-scores).mean()

    @staticmethod
    def told_apart(true: Tensor, filled: Tensor) -> Tensor:
        """Give the loss of the discriminator itself (eq. 2)."""
        return functional.softplus(-true).mean() + functional.softplus(filled).mean()
