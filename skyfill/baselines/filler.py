"""Fill tiles with a baseline."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skyfill.baselines.size import BaselineNet
from skyfill.cosmovae.filler import TileNetFiller
from skyfill.cosmovae.tilefill import USUAL_BATCH
from skyfill.vae.card import ModelCard

__all__ = ["BaselineFiller"]


class BaselineFiller(TileNetFiller):
    """Fill the holes of tiles with the output of a baseline.

    Parameters
    ----------
    network, card
        From `skyfill.baselines.load`.
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
        network: BaselineNet,
        card: ModelCard,
        *,
        device: str = "auto",
        batch_size: int = USUAL_BATCH,
    ) -> None:
        super().__init__(card, device=device, batch_size=batch_size)
        self._network = network.to(self._device)
        self._model = str(card.training["model"])

    def _white_size(self) -> int:
        return self._network.latent

    def _filled(
        self, scaled: torch.Tensor, seen: torch.Tensor, noise: torch.Tensor | None
    ) -> torch.Tensor:
        return self._network.fill(scaled, seen, noise)

    def __call__(
        self,
        tiles: NDArray[Any],
        observed: NDArray[np.bool_],
        *,
        seed: tuple[int, ...] | None = None,
        first: int = 0,
    ) -> NDArray[np.float32]:
        """Fill the holes of tiles, as `skyfill.cosmovae.CosmoFiller`.

        Raises
        ------
        ValueError
            A seed is given, and the network draws nothing.
        """
        if seed is not None and not self._network.latent:
            raise ValueError(f"{self._model} draws nothing; fill without `sample`")
        return super().__call__(tiles, observed, seed=seed, first=first)
