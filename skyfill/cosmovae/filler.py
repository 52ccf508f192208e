"""Fill tiles with a CosmoVAE."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skyfill.cosmovae.batches import normalised
from skyfill.cosmovae.network import CosmoVAE
from skyfill.vae.filler import pick_device
from skyfill.vae.weights import ModelCard

__all__ = ["CosmoFiller"]


class CosmoFiller:
    """Fill the holes of tiles with what the network makes of them.

    Parameters
    ----------
    network, card
        From `skyfill.cosmovae.load`.
    device
        ``auto``, ``cpu``, ``cuda`` or another of torch's.
    batch_size
        Tiles at once, which changes nothing but rounding.

    Raises
    ------
    ValueError
        There is no such device.
    """

    def __init__(
        self, network: CosmoVAE, card: ModelCard, *, device: str = "auto", batch_size: int = 8
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
        """Give tiles whose holes are filled and whose other pixels are as they were.

        Parameters
        ----------
        tiles
            ``(n, ny, nx)``, µK; unobserved pixels are not read.
        observed
            ``(n, ny, nx)``.
        seed
            Of the latent samples; the latent mean is decoded if not given.
        first
            Number of the first of these tiles: with the seed it says all of a tile's sample.
        """
        out = np.empty(tiles.shape, dtype=np.float32)
        for begin in range(0, len(tiles), self._batch):
            part = slice(begin, begin + self._batch)
            seen = torch.from_numpy(observed[part].astype(np.float32))[:, None].to(self._device)
            data = torch.from_numpy(np.where(observed[part], tiles[part], 0).astype(np.float32))
            scaled, mean = normalised(data[:, None].to(self._device), seen, self._rms)
            with torch.inference_mode():
                encoding = self._network.encode(scaled, seen)
                latent = encoding.mean
                if seed is not None:
                    numbers = range(first + begin, first + begin + len(latent))
                    latent = encoding.sample(self._white(seed, numbers))
                made = self._network.decode(latent, encoding) * self._rms + mean
            out[part] = np.where(observed[part], tiles[part], made[:, 0].cpu().numpy())
        return out

    def _white(self, seed: tuple[int, ...], numbers: range) -> torch.Tensor:
        size = self._network.arch.latent
        rows = [
            np.random.default_rng((*seed, k)).standard_normal(size, dtype=np.float32)
            for k in numbers
        ]
        return torch.from_numpy(np.stack(rows)).to(self._device)
