"""Give the posterior mean of tiles, batch by batch, on whatever device there is."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skyfill.flatsky import TileField
from skyfill.vae.network import TileVAE, conjugate_gradient

__all__ = ["TileFiller"]


class TileFiller:
    """Fill tiles of one prior: the network first, then a few exact steps.

    The network's answer is where conjugate gradients on the same posterior begin (a semi-amortised
    autoencoder, Kim et al. 2018): what the network has not learned, they finish.

    Parameters
    ----------
    network
        From `skyfill.vae.load`; None to begin from nothing, which shows what the network buys.
    field
        Prior of the tiles.
    guard
        Pixels around a tile that are taken as unobserved, so that its periodic images stay apart.
    refine
        Conjugate-gradient steps after the network, at most.
    tolerance
        Relative residual at which a tile needs no further step.
    batch_size
        Tiles at once; changes nothing but rounding.
    device
        ``auto``, ``cpu``, ``cuda`` or another of torch's.

    Raises
    ------
    ValueError
        There is no such device.
    """

    def __init__(
        self,
        network: TileVAE | None,
        field: TileField,
        *,
        guard: int,
        refine: int,
        tolerance: float,
        batch_size: int,
        device: str = "auto",
    ) -> None:
        self.device = pick_device(device)
        self._network: TileVAE | None = None
        if network is not None:
            self._network = network.halved().to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._spectrum = torch.from_numpy(field.spectrum.astype(np.float32))[None].to(self.device)
        self._rms = field.rms
        self._guard = guard
        self._refine = refine
        self._tolerance = tolerance
        self._batch = batch_size + batch_size % 2  # `colour` takes tiles in pairs

    def __call__(self, tiles: NDArray[Any], observed: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Give the posterior mean of every pixel of every tile.

        Parameters
        ----------
        tiles
            ``(ntile, side, side)``, µK; unobserved pixels are not read.
        observed
            ``(ntile, side, side)``.

        Returns
        -------
        ``(ntile, side, side)`` float32, µK: the tile where observed (but for the guard), the mean
        elsewhere; zero in a tile without any observed pixel.
        """
        seen = observed.copy()
        seen[:, : self._guard] = seen[:, -self._guard :] = False
        seen[:, :, : self._guard] = seen[:, :, -self._guard :] = False
        out = np.zeros(tiles.shape, dtype=np.float32)
        useful = np.flatnonzero(seen.any(axis=(1, 2)))
        if useful.size % 2:  # the last one makes a pair with itself
            useful = np.append(useful, useful[-1])
        for begin in range(0, useful.size, self._batch):
            part = useful[begin : begin + self._batch]
            mask = torch.from_numpy(seen[part].astype(np.float32))[:, None].to(self.device)
            data = np.where(seen[part], tiles[part] / self._rms, 0).astype(np.float32)
            tile = torch.from_numpy(data)[:, None].to(self.device)
            with torch.inference_mode():
                first = None
                if self._network is not None:
                    first = self._network(tile, mask, self._spectrum)
                mean = conjugate_gradient(
                    tile,
                    mask,
                    self._spectrum,
                    iterations=self._refine,
                    tolerance=self._tolerance,
                    start=first,
                )
            out[part] = mean[:, 0].cpu().numpy() * self._rms
        return out


def pick_device(name: str, *, threads: int = 0) -> torch.device:
    """Choose a device by name; ``auto`` is CUDA where there is one, else the CPU.

    Parameters
    ----------
    name
        ``auto``, ``cpu``, ``cuda`` or another of torch's.
    threads
        Of torch on the CPU from now on; 0 leaves the number as it is.

    Raises
    ------
    ValueError
        The device is unknown or not there.
    """
    if threads:
        torch.set_num_threads(threads)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError):
        raise ValueError(f"device {name!r} is not to be had here; pass --device cpu") from None
    return device
