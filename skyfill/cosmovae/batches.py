"""Batches of tiles and masks for each step of training, in units of the rms."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skyfill.cosmovae.recipe import Schedule
from skyfill.dataset import TileDataset

__all__ = ["BETWEEN", "LATENT", "PRIOR", "Batches", "normalised", "tile_rms"]

#: Number of tiles from which the rms of the field is computed.
_SOME = 64
# Numbers of the random streams. Each purpose has its own stream, so that drawing more numbers for
# one purpose does not change the others.
#: The order of the tiles in an epoch.
_ORDER = 0
#: The masks of a batch.
_MASKS = 1
#: The tiles that are held out.
_SPLIT = 2
#: The latent variables.
LATENT = 3
#: Draws of the latent prior, with which the encoder's samples are compared.
PRIOR = 4
#: Points between samples of prior and encoder, at which the critic's slope is penalised.
BETWEEN = 5


def normalised(tiles: Tensor, observed: Tensor, rms: float) -> tuple[Tensor, Tensor]:
    """Subtract the observed mean from tiles and divide by an rms; values in holes are not used.

    Parameters
    ----------
    tiles, observed
        ``(batch, 1, ny, nx)``, µK, and 1 where observed.
    rms
        Rms of the field, µK, the same for all tiles.

    Returns
    -------
    The tiles, holes included, and the means subtracted from them, ``(batch, 1, 1, 1)``, µK.
    """
    count = observed.sum((-1, -2), keepdim=True).clamp(min=1)
    mean = torch.where(observed > 0, tiles, 0.0).sum((-1, -2), keepdim=True) / count
    return (tiles - mean) / rms, mean


def tile_rms(tiles: NDArray[np.float32]) -> float:
    """Give the rms of tiles about their own means."""
    return float(np.sqrt(tiles.var(axis=(1, 2), dtype=np.float64).mean()))


class Batches:
    """Batches as a function of seed and step.

    Attributes
    ----------
    kept, held
        Tiles for training, and held-out tiles; both are the same at every step.
    rms
        Rms of the field, µK.
    epoch_steps
        Number of steps in which every tile is used once.
    """

    def __init__(self, dataset: TileDataset, config: Schedule) -> None:
        self._dataset, self._config = dataset, config
        order = self.random(_SPLIT).permutation(dataset.train)
        share, most = config.held_out
        held = min(max(1, round(share * order.size)), most)
        self.held, self.kept = np.sort(order[:held]), np.sort(order[held:])
        if self.kept.size < config.batch:
            raise ValueError(
                f"{dataset.path}: {order.size} clean tiles are too few for batches of "
                f"{config.batch}; cut more or smaller ones, or mask less"
            )
        if not dataset.masks.size:
            raise ValueError(f"{dataset.path}: no tile provides a mask; cut more, or mask more")
        self.rms = tile_rms(dataset.tiles(self.kept[:_SOME]))
        self.epoch_steps = self.kept.size // config.batch

    def random(self, *what: int) -> np.random.Generator:
        """Make the random generator of one purpose."""
        return np.random.default_rng((self._config.seed, *what))

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """Give the tiles of a step, in units of the rms, and their masks."""
        batch = self._config.batch
        epoch, place = divmod(step, self.epoch_steps)
        order = self.random(_ORDER, epoch).permutation(self.kept)
        masks = self.random(_MASKS, step).choice(self._dataset.masks, batch)
        return self._pair(order[place * batch : (place + 1) * batch], masks)

    def held_out(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the held-out tiles and their masks, batch by batch."""
        masks = self.random(_MASKS).choice(self._dataset.masks, self.held.size)
        for start in range(0, self.held.size, self._config.batch):
            part = slice(start, start + self._config.batch)
            yield self._pair(self.held[part], masks[part])

    def _pair(self, tiles: NDArray[np.int64], masks: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        seen = self._dataset.observed(masks).astype(np.float32)
        observed = torch.from_numpy(seen)[:, None]
        truth = torch.from_numpy(self._dataset.tiles(tiles))[:, None]
        return normalised(truth, observed, self.rms)[0], observed
