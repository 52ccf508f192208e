"""Draw flat-sky tiles and masks to train on, with torch and numpy alone.

A tile is a patch of a Gaussian field made by FFT on a domain twice its side, so that, like a tile
cut from the sphere, it is not periodic.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skyfill.flatsky import wavenumbers

__all__ = ["draw_fields", "draw_mask"]


def draw_fields(spectrum: Tensor, generator: torch.Generator) -> Tensor:
    """Draw one Gaussian tile for each spectrum.

    Parameters
    ----------
    spectrum
        ``(batch, 2 side, side + 1)`` variance per mode on a domain of twice the tile's side.

    Returns
    -------
    ``(batch, 1, side, side)``: a quarter of the periodic domain.
    """
    batch, domain = spectrum.shape[:2]
    white = torch.randn(batch, domain, domain, generator=generator, device=spectrum.device)
    field = torch.fft.irfft2(torch.fft.rfft2(white) * spectrum.sqrt(), s=(domain, domain))
    part: Tensor = field[:, None, : domain // 2, : domain // 2]
    return part


def draw_mask(side: int, guard: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw the observed pixels of one tile: discs, a ragged band, both, or next to nothing.

    Parameters
    ----------
    side
        Pixels along the tile.
    guard
        Pixels around the tile that are never observed, which part its periodic images.
    rng
        Source of the mask.

    Returns
    -------
    ``(side, side)``, True where observed.
    """
    y, x = np.mgrid[:side, :side]
    observed = np.zeros((side, side), dtype=bool)
    observed[guard:-guard, guard:-guard] = True
    kind = rng.choice(4, p=(0.45, 0.3, 0.18, 0.07))  # discs, band, both, most of the tile
    if kind:
        angle = rng.uniform(0, 2 * np.pi)
        along = (x - side / 2) * np.cos(angle) + (y - side / 2) * np.sin(angle)
        scale = rng.uniform(2, 12)
        kernel = np.exp(-2 * (np.pi * scale) ** 2 * wavenumbers(side, 2 * np.pi) ** 2)
        ragged = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((side, side))) * kernel, s=x.shape)
        along += ragged / ragged.std() * rng.uniform(0, 8)
        edge = side * (rng.uniform(0.45, 0.75) if kind == 3 else rng.uniform(-0.5, 0.5))
        hole = along < edge
        if kind < 3 and rng.random() < 0.3:
            hole &= along > edge - rng.uniform(0.15, 0.8) * side
        observed &= ~hole
    if kind in (0, 2):
        number = rng.integers(1, 12)
        for _ in range(number):
            radius = np.exp(rng.uniform(np.log(1.5), np.log(22 if number < 6 else 8)))
            cx, cy = rng.uniform(guard, side - guard, 2)
            observed &= (x - cx) ** 2 + (y - cy) ** 2 > radius**2
    return observed
