"""The U-Net of partial convolutions (Liu et al. 2018, arXiv:1804.07723, section 3, appendix).

A partial convolution sees only valid pixels, weights their sum by the share of valid pixels below
its kernel, and passes on a mask: valid is where one pixel below the kernel was. So holes shrink
from layer to layer.

Tiles of 512 pixels have the paper's eight levels down to 2 pixels; smaller ones have as many as
halve them to 2, 3 or 4 pixels, larger ones have eight.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from skyfill.baselines.size import BaselineNet, Size

__all__ = ["PConvNet", "PartialConv"]

#: Channels of the paper's encoder.
_WIDTHS = (64, 128, 256, 512, 512, 512, 512, 512)
#: Kernels of the paper's encoder, pixels.
_KERNELS = (7, 5, 5, 3, 3, 3, 3, 3)
#: Slope of the decoder's leaky ReLU.
_SLOPE = 0.2


class PartialConv(nn.Module):
    """A partial convolution, with a mask for each channel (eqs. 1 and 2).

    Parameters
    ----------
    inputs, outputs, kernel, stride
        As for a convolution of odd kernel, padded by half of it with pixels that are not valid.
    bias
        Whether a bias is added where anything is valid.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, bias: bool = True
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        nn.init.kaiming_normal_(self.convolution.weight)
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self._window = inputs * kernel**2
        self._how = stride, kernel // 2, kernel

    def __repr__(self) -> str:
        inputs, outputs = self.convolution.in_channels, self.convolution.out_channels
        return f"PartialConv({inputs} to {outputs} channels, {self._how[2]} pixels)"

    def forward(self, values: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Convolve the valid values; give the result, 0 where nothing is valid, and its mask.

        Parameters
        ----------
        values, valid
            ``(batch, inputs, ny, nx)``: features, and 1 where they are valid, else 0.

        Returns
        -------
        ``(batch, outputs, my, mx)`` features, and the mask of ``(batch, 1, my, mx)``.
        """
        stride, pad, kernel = self._how
        with torch.no_grad():
            ones = valid.new_ones(1, 1, kernel, kernel)
            count = functional.conv2d(valid.sum(1, keepdim=True), ones, None, stride, pad)
            seen = (count > 0).to(values.dtype)
            weight = self._window * seen / count.clamp(min=1)
        found: Tensor = self.convolution(values * valid) * weight
        if self.bias is not None:
            found = found + self.bias[:, None, None] * seen
        return found, seen


class PConvNet(BaselineNet):
    """The network: an encoder of strided partial convolutions, a decoder with skips.

    Parameters
    ----------
    arch
        Size of the network.

    Raises
    ------
    ValueError
        The tiles are too small, or no channel is left.
    """

    __repr__ = BaselineNet.__repr__

    def __init__(self, arch: Size) -> None:
        super().__init__()
        self.arch = arch
        levels = min(arch.side.bit_length() - 2, len(_WIDTHS))
        if levels < 1:
            raise ValueError(f"pconv needs tiles of 4 pixels or more, these have {arch.side}")
        widths = arch.widths(_WIDTHS[:levels])
        inputs = (1, *widths[:-1])
        # Normalised layers need no bias; as in the paper, the first and the last are not.
        self.down = nn.ModuleList(
            PartialConv(a, b, kernel, 2, bias=number == 0)
            for number, (a, b, kernel) in enumerate(
                zip(inputs, widths, _KERNELS[:levels], strict=True)
            )
        )
        self.down_norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths[1:])
        above = [*reversed(widths)]
        outputs = [*reversed(inputs)]
        self.up = nn.ModuleList(
            PartialConv(a + skip, b, 3, bias=number == levels - 1)
            for number, (a, skip, b) in enumerate(
                zip(above, reversed(inputs), outputs, strict=True)
            )
        )
        self.up_norms = nn.ModuleList(nn.BatchNorm2d(width) for width in outputs[:-1])

    def forward(self, tile: Tensor, observed: Tensor) -> Tensor:
        """Give whole tiles, ``(batch, 1, ny, nx)``."""
        values, valid = torch.where(observed > 0, tile, 0.0), observed
        skips = []
        for number, layer in enumerate(self.down):
            skips.append((values, valid))
            values, seen = layer(values, valid)
            if number:
                values = self.down_norms[number - 1](values)
            values = functional.relu(values)
            valid = seen.expand(-1, values.shape[1], -1, -1)
        for number, layer in enumerate(self.up):
            beside, theirs = skips.pop()
            shape = beside.shape[-2:]
            # The skip of the first level is the tile itself: one channel, and its mask.
            values = torch.cat([functional.interpolate(values, size=shape), beside], 1)
            valid = torch.cat([functional.interpolate(valid, size=shape), theirs], 1)
            values, seen = layer(values, valid)
            if skips:
                values = functional.leaky_relu(self.up_norms[number](values), _SLOPE)
            valid = seen.expand(-1, values.shape[1], -1, -1)
        return values

    def fill(self, tile: Tensor, observed: Tensor, noise: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Give whole tiles, as `BaselineNet.fill`; the network draws nothing."""
        tiles: Tensor = self(tile, observed)
        return tiles
