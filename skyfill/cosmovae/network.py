"""The network of CosmoVAE (Yi et al. 2020, arXiv:2001.11651, sections III and IV.B).

A U-Net of six blocks down and six up, with plain convolutions. At its bottom lies a latent vector
z of 2,507 components, one for each multipole from l = 2 to 2508, whose prior is N(0, C_l): three
fully connected layers give its mean and variance, and take a sample of it back.

Choices that the paper leaves open:

- Kernels of 7, 5, 5, 3, 3, 3 pixels, as in the network whose partial convolutions the paper
  replaces by plain ones (Liu et al. 2018, arXiv:1804.07723, its reference 17). No normalisation
  layers: the amplitude of a tile is part of the data.
- "Channel-wise": every component is a channel. The lowest features are averaged over the tile, and
  the decoded z is added everywhere in it, so that tiles may have any size and shape.
- z is in µK. The layers see it in units of √C_l. Otherwise its components, whose variances span
  nine orders of magnitude, could not be learned at one rate. KL(q || N(0, C_l)) is invariant under
  this change of units and therefore does not depend on C_l: see docs/cosmovae.md.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from skyfill.brief import brief
from skyfill.cosmovae.filler import TileNet

__all__ = ["CosmoArchitecture", "CosmoVAE", "Encoding"]

_KERNELS = (7, 5, 5, 3, 3, 3)
_SLOPE = 0.2
#: Least and largest log variance of z in units of its prior. The posterior is rarely wider.
_RANGE = (-20.0, 3.0)


@dataclass(frozen=True)
class CosmoArchitecture:
    """Describe the size of the network.

    Attributes
    ----------
    widths
        Channels of the encoder's blocks; the decoder has them in reverse.
    latent
        Components of z.
    first_ell
        Multipole of the first component.
    """

    __repr__ = brief

    widths: tuple[int, ...] = (64, 128, 256, 512, 512, 512)
    latent: int = 2507
    first_ell: int = 2

    @classmethod
    def scaled(cls, factor: float) -> CosmoArchitecture:
        """Give the paper's network with scaled widths and an unchanged latent vector.

        Raises
        ------
        ValueError
            No channel is left after scaling.
        """
        widths = tuple(round(width * factor) for width in cls.widths)
        if min(widths) < 1:
            raise ValueError(f"a width factor of {factor:g} leaves no channel; give 0.02 or more")
        return cls(widths)

    def as_dict(self) -> dict[str, object]:
        """Give the fields as types that JSON supports."""
        return asdict(self)

    @classmethod
    def of(cls, fields: dict[str, Any]) -> CosmoArchitecture:
        """Build from `as_dict`'s fields, read back from JSON."""
        return cls(tuple(fields["widths"]), int(fields["latent"]), int(fields["first_ell"]))


class Encoding(NamedTuple):
    """Output of the encoder.

    Attributes
    ----------
    mean, log_variance
        ``(batch, latent)``: q(z | tile), z in units of √C_l.
    skips
        The tile and the features of every block, finest first.
    """

    mean: Tensor
    log_variance: Tensor
    skips: list[Tensor]

    def __repr__(self) -> str:
        return brief(self)

    def sample(self, noise: Tensor) -> Tensor:
        """Draw z in units of √C_l by reparameterisation, from white ``(batch, latent)``."""
        return self.mean + torch.exp(0.5 * self.log_variance) * noise


class CosmoVAE(TileNet):
    """The network. Its tiles are in units of a fixed rms, with their observed mean subtracted.

    Parameters
    ----------
    arch
        Size of the network.
    prior_variance
        ``(latent,)``: C_l of the components of z, µK². It is stored with the weights.

    Raises
    ------
    ValueError
        The number of variances is not that of the components, or one is not above zero.
    """

    prior_variance: Tensor

    __repr__ = TileNet.__repr__

    def __init__(self, arch: CosmoArchitecture, prior_variance: Tensor) -> None:
        super().__init__()
        if prior_variance.shape != (arch.latent,) or not bool((prior_variance > 0).all()):
            last = arch.first_ell + arch.latent - 1
            raise ValueError(
                f"the latent prior needs C_l above zero for l = {arch.first_ell} to {last}"
            )
        self.arch, self.latent = arch, arch.latent
        self.register_buffer("prior_variance", prior_variance.to(torch.float32))
        widths = arch.widths
        inputs = (2, *widths[:-1])
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, kernel, 2, kernel // 2)
            for a, b, kernel in zip(inputs, widths, _KERNELS, strict=True)
        )
        self.to_mean = nn.Linear(widths[-1], arch.latent)
        self.to_log_variance = nn.Linear(widths[-1], arch.latent)
        self.from_latent = nn.Linear(arch.latent, widths[-1])
        above = [widths[-1], *reversed(widths)]
        self.up = nn.ModuleList(
            nn.Conv2d(a + skip, b, 3, 1, 1)
            for a, skip, b in zip(above, reversed(inputs), reversed(widths), strict=False)
        )
        self.head = nn.Conv2d(widths[0], 1, 3, 1, 1)
        for block in (*self.down, *self.up):
            # torch's default initialisation halves a signal in every layer: nothing is left after
            # twelve.
            nn.init.kaiming_normal_(block.weight, a=_SLOPE)

    def encode(self, tile: Tensor, observed: Tensor) -> Encoding:
        """Infer z of tiles with holes.

        Parameters
        ----------
        tile
            ``(batch, 1, ny, nx)``; values in the holes are not read.
        observed
            The same shape, 1 where observed, else 0.
        """
        x = torch.cat([torch.where(observed > 0, tile, 0.0), observed], 1)
        skips = [x]
        for block in self.down:
            x = functional.leaky_relu(block(x), _SLOPE)
            skips.append(x)
        bottom = x.mean((-1, -2))
        log_variance = self.to_log_variance(bottom).clamp(*_RANGE)
        return Encoding(self.to_mean(bottom), log_variance, skips)

    def decode(self, latent: Tensor, encoding: Encoding) -> Tensor:
        """Decode whole tiles, ``(batch, 1, ny, nx)``, from z (in units of √C_l) and the skips."""
        *skips, x = encoding.skips
        x = x + self.from_latent(latent)[:, :, None, None]
        for block, skip in zip(self.up, reversed(skips), strict=True):
            x = torch.cat([functional.interpolate(x, size=skip.shape[-2:]), skip], 1)
            x = functional.leaky_relu(block(x), _SLOPE)
        tiles: Tensor = self.head(x)
        return tiles

    def forward(self, tile: Tensor, observed: Tensor, noise: Tensor) -> tuple[Tensor, Encoding]:
        """Encode, sample and decode; give whole tiles and q(z | tile)."""
        encoding = self.encode(tile, observed)
        return self.decode(encoding.sample(noise), encoding), encoding

    def fill(self, tile: Tensor, observed: Tensor, noise: Tensor | None = None) -> Tensor:
        """Give whole tiles, as `TileNet.fill`."""
        encoding = self.encode(tile, observed)
        return self.decode(encoding.mean if noise is None else encoding.sample(noise), encoding)

    def latent_sample(self, encoding: Encoding, noise: Tensor) -> Tensor:
        """Give a sample of z in µK, ``(batch, latent)``."""
        return encoding.sample(noise) * self.prior_variance.sqrt()
