"""Fill tiles with a CosmoVAE."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skyfill.cosmovae.batches import normalised
from skyfill.cosmovae.network import CosmoVAE
from skyfill.cosmovae.tilefill import USUAL_BATCH
from skyfill.vae.card import ModelCard
from skyfill.vae.filler import fewer, pick_device

__all__ = ["CosmoFiller", "TileNetFiller"]


class TileNetFiller(ABC):
    """Fill the holes of tiles with the output of a network, batch by batch.

    Parameters
    ----------
    card
        Model card of the network.
    device, batch_size
        As for `CosmoFiller`.
    """

    def __init__(self, card: ModelCard, *, device: str, batch_size: int) -> None:
        self.card = card
        self._device = pick_device(device)
        self._rms = float(card.training["rms_uk"])
        self._batch = batch_size

    def __call__(
        self,
        tiles: NDArray[Any],
        observed: NDArray[np.bool_],
        *,
        seed: tuple[int, ...] | None = None,
        first: int = 0,
    ) -> NDArray[np.float32]:
        """Fill the holes of tiles and leave their observed pixels unchanged.

        Parameters
        ----------
        tiles
            ``(n, ny, nx)``, µK; unobserved pixels are not read.
        observed
            ``(n, ny, nx)``, True where observed.
        seed
            Seed of the latent samples; the latent mean is decoded if not given.
        first
            Index of the first of these tiles. Seed and index determine the sample of a tile.

        Raises
        ------
        MemoryError
            The device lacks memory for a single tile. If it lacks memory for a batch, smaller
            batches are used, with a warning.
        """
        out = np.empty(tiles.shape, dtype=np.float32)
        begin = 0
        while begin < len(tiles):
            part = slice(begin, min(begin + self._batch, len(tiles)))
            try:
                made = self._made(tiles[part], observed[part], seed, first + begin)
            except torch.OutOfMemoryError:
                full = True  # the failed batch is freed when this block ends
            else:
                full = False
                out[part] = np.where(observed[part], tiles[part], made)
                begin = part.stop
            if full:
                self._batch = fewer(part.stop - part.start, 1, self._device)
        return out

    def _made(
        self,
        tiles: NDArray[Any],
        observed: NDArray[np.bool_],
        seed: tuple[int, ...] | None,
        first: int,
    ) -> NDArray[np.float32]:
        """Give the network's output for one batch, µK."""
        seen = torch.from_numpy(observed.astype(np.float32))[:, None].to(self._device)
        data = torch.from_numpy(np.where(observed, tiles, 0).astype(np.float32))
        scaled, mean = normalised(data[:, None].to(self._device), seen, self._rms)
        noise = None
        if seed is not None:
            noise = self._white(seed, range(first, first + len(tiles)))
        with torch.inference_mode():
            made = self._filled(scaled, seen, noise) * self._rms + mean
        return np.asarray(made[:, 0].cpu().numpy())

    def _white(self, seed: tuple[int, ...], numbers: range) -> torch.Tensor:
        size = self._white_size()
        rows = [
            np.random.default_rng((*seed, k)).standard_normal(size, dtype=np.float32)
            for k in numbers
        ]
        return torch.from_numpy(np.stack(rows)).to(self._device)

    @abstractmethod
    def _white_size(self) -> int:
        """Give the number of random numbers of a tile."""

    @abstractmethod
    def _filled(self, scaled: Tensor, seen: Tensor, noise: Tensor | None) -> Tensor:
        """Give whole tiles of the network, ``(batch, 1, ny, nx)``, without chance if no noise."""


class CosmoFiller(TileNetFiller):
    """Fill the holes of tiles with the output of the network.

    Parameters
    ----------
    network, card
        From `skyfill.cosmovae.load`.
    device
        ``auto``, ``cpu``, ``cuda`` or another device of torch.
    batch_size
        Number of tiles filled at once. It changes the result only by rounding.

    Raises
    ------
    ValueError
        The device is not available.
    """

    def __init__(
        self,
        network: CosmoVAE,
        card: ModelCard,
        *,
        device: str = "auto",
        batch_size: int = USUAL_BATCH,
    ) -> None:
        super().__init__(card, device=device, batch_size=batch_size)
        self._network = network.to(self._device)

    def _white_size(self) -> int:
        return self._network.arch.latent

    def _filled(self, scaled: Tensor, seen: Tensor, noise: Tensor | None) -> Tensor:
        encoding = self._network.encode(scaled, seen)
        latent = encoding.mean if noise is None else encoding.sample(noise)
        return self._network.decode(latent, encoding)
