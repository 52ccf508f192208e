"""Multiply the Fourier modes of tiles, and split their power into signal and white noise."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "NUGGET",
    "all_modes",
    "apart",
    "colour",
    "colour_pairs",
    "pairs_of",
    "shared",
    "split_power",
]

#: Variance of the white part of a tile, as a share of the least power of its spectrum.
NUGGET = 0.5


def split_power(spectrum: Tensor) -> tuple[Tensor, Tensor]:
    """Split a tile's spectrum into the signal's spectrum and the white variance ν² of a pixel.

    Parameters
    ----------
    spectrum
        ``(batch or 1, side, side // 2 + 1)``.

    Returns
    -------
    Σ_s and ν², ``(batch or 1, 1, ...)``, which broadcast against modes and pixels.
    """
    white = NUGGET * spectrum.amin((-1, -2), keepdim=True)
    return (spectrum - white)[:, None], white[:, None]


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
    If all tiles share the amplitude, pairs of tiles are transformed as the real and imaginary parts
    of a complex field, in less than half the time. Pairs are neighbours in the batch, so the
    rounding does not depend on the batch size if it is even.
    """
    if shared(tile, amplitude):
        return apart(colour_pairs(pairs_of(tile), all_modes(amplitude, tile.shape[-1])))
    field: Tensor = torch.fft.irfft2(torch.fft.rfft2(tile) * amplitude, s=tile.shape[-2:])
    return field


def shared(tile: Tensor, amplitude: Tensor) -> bool:
    """Return whether tiles can be transformed in pairs."""
    return not tile.shape[0] % 2 and amplitude.shape[0] == 1 and tile.dtype == amplitude.dtype


def pairs_of(tile: Tensor) -> Tensor:
    """Combine pairs of tiles into complex fields, ``(batch / 2, ..., side, side, 2)``."""
    return torch.stack([tile[::2], tile[1::2]], -1)


def apart(pairs: Tensor) -> Tensor:
    """Undo `pairs_of`."""
    return pairs.movedim(-1, 1).flatten(0, 1)


def all_modes(amplitude: Tensor, side: int) -> Tensor:
    """Add the amplitude of the modes with kx < 0, ``(..., side, side)``."""
    mirrored = amplitude[..., 1 : (side + 1) // 2].flip(-1, -2).roll(1, -2)
    return torch.cat([amplitude, mirrored], -1)


def colour_pairs(pairs: Tensor, amplitude: Tensor) -> Tensor:
    """Multiply the modes of pairs by an amplitude from `all_modes`."""
    modes = torch.fft.fft2(torch.view_as_complex(pairs))
    wide = torch.broadcast_shapes(modes.shape, amplitude.shape)  # type: ignore[no-untyped-call]
    field: Tensor = torch.fft.ifft2(
        modes.mul_(amplitude) if wide == modes.shape else modes * amplitude
    )
    return torch.view_as_real(field)
