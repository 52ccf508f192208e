"""Draw flat-sky tiles and masks for training, with only torch and numpy.

A tile is a patch of a Gaussian field drawn by FFT on a domain twice its side. So it is not
periodic, like a tile cut from the sphere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skyfill.flatsky import ARCMIN, TileField, power, tile_cl, wavenumbers
from skyfill.vae.recipe import NOISE_GROWTH, TrainConfig
from skyfill.vae.steps import fit_each

__all__ = ["FAMILIES", "Simulator", "Tiles", "draw_fields", "draw_mask", "load_lcdm"]

Tiles = tuple[NDArray[Any], TileField]
"""Tiles ``(n, side, side)`` in µK, and their prior."""

FAMILIES = ("discs", "band", "both", "most")
"""Mask families: point sources, the Galaxy, both, and most of the tile masked."""

_OFTEN = (0.45, 0.3, 0.18, 0.07)
_LCDM = Path(__file__).parents[1] / "data" / "lcdm_planck2018.npz"
#: Number of training steps that share a pool of priors and masks.
_POOL = 250
#: Number of masks on which the weights of the fixed steps before the network are fitted.
_PROBES = 16


def load_lcdm() -> NDArray[np.float64]:
    """Read the shipped TT spectrum, µK², from l = 0."""
    with np.load(_LCDM) as table:
        return np.asarray(table["TT"], dtype=np.float64)


def draw_fields(spectrum: Tensor, generator: torch.Generator) -> Tensor:
    """Draw one Gaussian tile for each spectrum.

    Parameters
    ----------
    spectrum
        ``(batch, 2 side, side + 1)``, variance per mode on a domain of twice the tile's side.

    Returns
    -------
    ``(batch, 1, side, side)``: a quarter of the periodic domain.
    """
    batch, domain = spectrum.shape[:2]
    white = torch.randn(batch, domain, domain, generator=generator, device=spectrum.device)
    field = torch.fft.irfft2(torch.fft.rfft2(white) * spectrum.sqrt(), s=(domain, domain))
    part: Tensor = field[:, None, : domain // 2, : domain // 2]
    return part


def draw_mask(
    side: int, guard: int, rng: np.random.Generator, family: str | None = None
) -> NDArray[np.bool_]:
    """Draw the mask of one tile, with at least one observed pixel.

    Parameters
    ----------
    side
        Side of the tile, pixels.
    guard
        Width of the unobserved border that separates periodic images, pixels. Holes are drawn
        inside it and scale with the inner size.
    rng
        Random generator.
    family
        One of `FAMILIES`; drawn at random if not given.

    Returns
    -------
    ``(side, side)``, True where observed.
    """
    y, x = np.mgrid[:side, :side]
    inner = side - 2 * guard
    observed = np.zeros((side, side), dtype=bool)
    observed[guard : side - guard, guard : side - guard] = True
    kind = family or str(rng.choice(FAMILIES, p=_OFTEN))
    if kind != "discs":
        angle = rng.uniform(0, 2 * np.pi)
        along = (x - side / 2) * np.cos(angle) + (y - side / 2) * np.sin(angle)
        scale = rng.uniform(2, 12)
        kernel = np.exp(-2 * (np.pi * scale) ** 2 * wavenumbers(side, 2 * np.pi) ** 2)
        ragged = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((side, side))) * kernel, s=x.shape)
        along += ragged / ragged.std() * rng.uniform(0, 0.1) * inner
        edge = inner * (rng.uniform(0.3, 0.6) if kind == "most" else rng.uniform(-0.5, 0.5))
        hole = along < edge
        if kind != "most" and rng.random() < 0.3:
            hole &= along > edge - rng.uniform(0.15, 0.8) * inner
        observed &= ~hole
    if kind in {"discs", "both"}:
        number = rng.integers(1, 12)
        largest = (0.28 if number < 6 else 0.1) * inner
        for _ in range(number):
            radius = np.exp(rng.uniform(np.log(1.5), np.log(max(largest, 2.0))))
            cx, cy = rng.uniform(guard, side - guard, 2)
            observed &= (x - cx) ** 2 + (y - cy) ** 2 > radius**2
    # Fills never include a tile without observed pixels, so training needs none: draw again.
    return observed if observed.any() else draw_mask(side, guard, rng, family)


class Simulator:
    """Draw tiles of many priors with many masks, determined by the seed and the training step.

    Parameters
    ----------
    config
        Configuration of the training.
    device
        Device of the tiles.
    cl
        ``(lmax + 1,)``, spectrum of the sky before beam and noise, µK²; ΛCDM if not given.
    tiles
        True tiles in place of simulated fields: for each source, tiles ``(n, side, side)`` in µK
        and their prior.
    """

    def __init__(
        self,
        config: TrainConfig,
        *,
        device: torch.device,
        cl: NDArray[np.float64] | None = None,
        tiles: Sequence[Tiles] = (),
    ) -> None:
        self.config = config
        self.device = device
        self._theory = load_lcdm() if cl is None else cl
        self._pool = -1
        self._truth: Tensor | None = None
        if tiles:
            self._truth = self._tensor(np.concatenate([t / field.rms for t, field in tiles]))
            self._truth = self._truth[:, None]
            self._source = np.repeat(np.arange(len(tiles)), [len(t) for t, _ in tiles])
            self._spectra = self._tensor(np.stack([field.spectrum for _, field in tiles]))

    def prior(
        self, rng: np.random.Generator, nside: int | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Draw one prior: its spectrum on the tile, and on the domain on which fields are drawn.

        Parameters
        ----------
        rng
            Random generator.
        nside
            Nside of the map; drawn at random if not given.
        """
        c = self.config
        if nside is None:
            low, high = (int(math.log2(n)) for n in c.nside)
            nside = 2 ** int(rng.integers(low, high + 1))
        sky_pixel = math.sqrt(4 * math.pi / 12) / nside
        pixel = rng.uniform(*c.pixel) * sky_pixel
        fwhm = math.exp(rng.uniform(*np.log(c.beam))) * sky_pixel
        noise = math.exp(rng.uniform(*np.log(c.noise_uk_arcmin)))
        noise *= (2048 / nside) ** rng.uniform(*NOISE_GROWTH)
        ell = np.arange(int(1.5 * math.pi / pixel) + 1, dtype=float)
        cl = np.interp(ell, np.arange(self._theory.size), self._theory)
        cl *= np.minimum(1, (self._theory.size / np.maximum(ell, 1)) ** 6)  # beyond the table
        cl *= np.exp(-ell * (ell + 1) * fwhm**2 / (8 * math.log(2)))
        cl += (noise * ARCMIN) ** 2
        share = bool(rng.random() < 0.5)
        tile = TileField.of(cl, side=c.side, pixel=pixel, share=share, sky_pixel=sky_pixel)
        shown = tile_cl(cl, tile=c.side * pixel, pixel=pixel, share=share, sky_pixel=sky_pixel)
        return tile.spectrum, power(shown, 2 * c.side, pixel) / tile.rms**2

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draw true tiles and masks ``(batch, 1, side, side)``, with their spectra and weights.

        The weights belong to the fixed steps before the network, as for `TileVAE.forward`. The
        batch depends only on the seed and the step, so that training can resume at any step.
        """
        c = self.config
        self._fill_pool(step // _POOL)
        rng = np.random.default_rng((c.seed, 0, step))
        mask = torch.from_numpy(rng.integers(0, len(self._masks), c.batch)).to(self.device)
        turns, flip = int(rng.integers(4)), rng.random() < 0.5
        observed = _turned(self._masks[mask], turns, flip=flip)
        if self._truth is not None:
            chosen = rng.integers(0, len(self._truth), c.batch)
            turns, flip = int(rng.integers(4)), rng.random() < 0.5
            truth = _turned(self._truth[torch.from_numpy(chosen)], turns, flip=flip)
            source = torch.from_numpy(self._source[chosen]).to(self.device)
            return truth, observed, self._spectra[source], self._weights[source]
        prior = torch.from_numpy(rng.integers(0, len(self._spectra), c.batch)).to(self.device)
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        truth = draw_fields(self._domains[prior], generator)
        return truth, observed, self._spectra[prior], self._weights[prior]

    def _fill_pool(self, pool: int) -> None:
        if pool == self._pool:
            return
        c, rng = self.config, np.random.default_rng((self.config.seed, 1, pool))
        self._pool = pool
        masks = np.stack([draw_mask(c.side, c.guard, rng) for _ in range(1024)])
        self._masks = self._tensor(masks)[:, None]
        if self._truth is None:
            pairs = [self.prior(rng) for _ in range(64)]
            self._spectra = self._tensor(np.stack([p[0] for p in pairs]))
            self._domains = self._tensor(np.stack([p[1] for p in pairs]))
        warm = c.architecture.warm
        self._weights = fit_each(self._masks[:_PROBES], self._spectra, iterations=warm)

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array.astype(np.float32)).to(self.device)


def _turned(tiles: Tensor, turns: int, *, flip: bool) -> Tensor:
    """Rotate tiles by multiples of 90 degrees, and mirror them if ``flip``."""
    turned = torch.rot90(tiles, turns, (-1, -2))
    return (turned.flip(-1) if flip else turned).contiguous()
