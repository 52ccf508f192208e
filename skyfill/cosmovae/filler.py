"""Fill tiles with a network: what a network for tiles does, and how it is applied to many."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skyfill.cosmovae.batches import normalised
from skyfill.cosmovae.tilefill import USUAL_BATCH
from skyfill.vae.card import ModelCard
from skyfill.vae.filler import fewer, pick_device

__all__ = ["CosmoFiller", "TileNet", "TileNetFiller"]


class TileNet(nn.Module, ABC):
    """A network for tiles in units of a fixed rms, with their observed mean subtracted.

    Attributes
    ----------
    latent
        Components of the latent vector; 0 if the network draws none.
    """

    latent: int = 0

    def __repr__(self) -> str:
        count = sum(each.numel() for each in self.parameters())
        return f"{type(self).__name__}({count} parameters)"

    @abstractmethod
    def fill(self, tile: Tensor, observed: Tensor, noise: Tensor | None = None) -> Tensor:
        """Give whole tiles, ``(batch, 1, ny, nx)``.

        Parameters
        ----------
        tile
            ``(batch, 1, ny, nx)``; values in the holes are not read.
        observed
            The same shape, 1 where observed, else 0.
        noise
            White ``(batch, latent)``, of which a latent vector is drawn; its mean if None.
        """


class TileNetFiller:
    """Fill the holes of tiles with the output of a network, batch by batch.

    Parameters
    ----------
    network, card
        From `skyfill.cosmovae.load` or `skyfill.baselines.load`.
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
        network: TileNet,
        card: ModelCard,
        *,
        device: str = "auto",
        batch_size: int = USUAL_BATCH,
    ) -> None:
        self.card = card
        self._device = pick_device(device)
        self._network = network.to(self._device)
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
        ValueError
            A seed is given, and the network draws nothing.
        MemoryError
            The device lacks memory for a single tile. If it lacks memory for a batch, smaller
            batches are used, with a warning.
        """
        if seed is not None and not self._network.latent:
            raise ValueError(f"{self.card.training['model']} draws nothing; fill without `sample`")
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
            made = self._network.fill(scaled, seen, noise) * self._rms + mean
        return np.asarray(made[:, 0].cpu().numpy())

    def _white(self, seed: tuple[int, ...], numbers: range) -> torch.Tensor:
        size = self._network.latent
        rows = [
            np.random.default_rng((*seed, k)).standard_normal(size, dtype=np.float32)
            for k in numbers
        ]
        return torch.from_numpy(np.stack(rows)).to(self._device)


class CosmoFiller(TileNetFiller):
    """Fill the holes of tiles with the output of a CosmoVAE, as `TileNetFiller`."""
