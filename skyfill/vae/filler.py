"""Compute the posterior mean of tiles in batches, on CPU or GPU."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skyfill.flatsky import TileField
from skyfill.healpix.checks import device_name
from skyfill.vae.memory import MOST, MOST_CPU, batch_bytes
from skyfill.vae.network import TileVAE
from skyfill.vae.steps import BandedSteps, conjugate_gradient, draw_periodic, terms

__all__ = ["TileFiller", "affordable_batch", "fewer"]

#: Share of the free memory that a batch may use.
_SHARE = 0.5


class TileFiller:
    """Fill tiles of one prior by steps whose weights depend only on masks and prior.

    The fill is linear in the data, up to rounding: `prepare` fits the weights of the steps on drawn
    tiles, and all tiles are then filled with these weights. A network, if given, follows after the
    number of steps with which it was trained, and further steps follow the network. It is linear,
    too.

    Parameters
    ----------
    network
        From `skyfill.vae.load`; None for the steps only.
    field
        Prior of the tiles.
    guard
        Width of the border of a tile that is treated as unobserved, to separate the tile from its
        periodic images; pixels.
    refine
        Largest number of steps.
    tolerance
        Relative residual at which steps end: of the drawn tiles, or, if ``adaptive``, of each tile.
    adaptive
        Whether to use conjugate gradients instead, with as many iterations as each tile needs. The
        mean is then exact and linear only to within the tolerance.
    batch_size
        Number of tiles per batch, which changes only the rounding; None for the number that memory
        allows (`affordable_batch`).
    device
        ``auto``, ``cpu``, ``cuda`` or another torch device.

    Raises
    ------
    ValueError
        There is no such device.

    Attributes
    ----------
    probes
        Largest number of masks that `prepare` uses.
    left
        The largest relative residual of all tiles since ``left`` was last set to zero; NaN after an
        overflow. It is far above the tolerance if the shared steps do not suit a tile.
    """

    probes = 64

    def __init__(
        self,
        network: TileVAE | None,
        field: TileField,
        *,
        guard: int,
        refine: int,
        tolerance: float,
        adaptive: bool = False,
        batch_size: int | None = None,
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
        self._adaptive = adaptive
        self._weights: Tensor | None = None
        size = batch_size or affordable_batch(self.device, field.spectrum.shape[0])
        self._batch = size + size % 2  # `colour` takes tiles in pairs
        self.left = 0.0

    @property
    def scalars(self) -> NDArray[np.float64] | None:
        """The weights of the steps, ``(steps, terms)``; None before they are fitted."""
        return None if self._weights is None else self._weights.cpu().numpy()

    @scalars.setter
    def scalars(self, values: NDArray[np.float64]) -> None:
        terms = self.terms
        if values.ndim != 2 or values.shape[1] != terms:
            raise ValueError(f"scalars of shape {values.shape}; give (steps, {terms})")
        self._weights = torch.tensor(values, dtype=torch.float64)  # few numbers: keep them exact

    @property
    def terms(self) -> int:
        """Number of weights of a step."""
        return terms(self._spectrum.shape[-2])

    @property
    def deciding(self) -> tuple[object, ...]:
        """All inputs of the scalars except the masks, for the key of the cache."""
        spectrum = self._spectrum.cpu().numpy()
        deciding = spectrum, self._guard, self._refine, self._tolerance, self.probes
        if self._network is None:
            return deciding
        return *deciding, *(one.float().cpu().numpy() for one in self._network.parameters())

    def prepare(self, observed: NDArray[np.bool_]) -> None:
        """Fit the weights of the steps for tiles with masks like these.

        Parameters
        ----------
        observed
            ``(ntile, side, side)``; at most `probes` masks with observed pixels are used, evenly
            spaced.
        """
        seen = self._inside(observed)
        useful = np.flatnonzero(seen.any(axis=(1, 2)))
        if not useful.size:
            return
        number = min(useful.size, self.probes)
        some = seen[useful[np.linspace(0, useful.size - 1, number + number % 2).astype(int)]]
        mask = torch.from_numpy(some.astype(np.float32))[:, None].to(self.device)
        steps, tile = BandedSteps(mask, self._spectrum), draw_periodic(mask, self._spectrum)
        with torch.inference_mode():
            found = mask.new_zeros(0, self.terms)
            first = None
            if self._network is not None:
                found = steps.fit(tile, iterations=min(self._refine, self._network.arch.warm))
                first = self._network(tile, mask, self._spectrum, found)
            rest = self._refine - len(found)
            more = steps.fit(tile, iterations=rest, tolerance=self._tolerance, start=first)
            self._weights = torch.cat([found.cpu(), more.cpu()])

    def _inside(self, observed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Mark pixels that are observed and outside the guard."""
        inner = slice(self._guard, observed.shape[-1] - self._guard)
        seen = np.zeros_like(observed)
        seen[:, inner, inner] = observed[:, inner, inner]
        return seen

    def __call__(self, tiles: NDArray[Any], observed: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Compute the posterior mean of every pixel of every tile.

        If `scalars` are not known yet, `prepare` is called with these tiles' masks.

        Parameters
        ----------
        tiles
            ``(ntile, side, side)``, µK; unobserved pixels are not read.
        observed
            ``(ntile, side, side)``.

        Returns
        -------
        ``(ntile, side, side)`` float32, µK: the data where observed and outside the guard, the mean
        elsewhere; zero in a tile without observed pixels.

        Raises
        ------
        MemoryError
            The device has no memory for two tiles. If it has none for a larger batch, smaller
            batches are used, with a warning.
        """
        if self._weights is None and not self._adaptive:
            self.prepare(observed)
        seen = self._inside(observed)
        out = np.zeros(tiles.shape, dtype=np.float32)

        def fill(part: NDArray[np.int64]) -> None:
            out[part] = self._mean(tiles[part], seen[part])

        self._in_batches(np.flatnonzero(seen.any(axis=(1, 2))), fill)
        return out

    def on_device(self, tiles: Tensor, observed: Tensor) -> Tensor:
        """Compute the same for tensors on the device, ``(ntile, side, side)`` float32.

        ``tiles`` are finite float64; `scalars` must be known.
        """
        inner = slice(self._guard, observed.shape[-1] - self._guard)
        seen = torch.zeros_like(observed)
        seen[:, inner, inner] = observed[:, inner, inner]
        out = torch.zeros(tiles.shape, dtype=torch.float32, device=tiles.device)

        def fill(part: NDArray[np.int64]) -> None:
            at = torch.from_numpy(part).to(tiles.device)
            mask = seen[at]
            data = torch.where(mask, tiles[at] / self._rms, 0.0)
            mean = self._filled(data.to(self._precision), mask.to(torch.float32))
            once = len(part) - int(len(part) > 1 and part[-1] == part[-2])
            out[at[:once]] = (mean[:once] * self._rms).to(out.device)

        self._in_batches(seen.any(-1).any(-1).nonzero()[:, 0].cpu().numpy(), fill)
        return out

    def _in_batches(
        self, useful: NDArray[np.int64], fill: Callable[[NDArray[np.int64]], None]
    ) -> None:
        """Fill tiles batch by batch, fewer at a time after one was too large."""
        if useful.size % 2:  # the last tile is paired with itself
            useful = np.append(useful, useful[-1])
        begin = 0
        while begin < useful.size:
            part = useful[begin : begin + self._batch]
            try:
                fill(part)
            except torch.OutOfMemoryError:
                full = True  # memory of the failed batch is freed after this block
            else:
                full = False
                begin += part.size
            if full:
                self._batch = fewer(part.size, 2, self.device)

    @property
    def _precision(self) -> torch.dtype:
        """Precision of the data that the steps take."""
        exact = not self._adaptive and self._network is None and self.device.type != "mps"
        return torch.float64 if exact else torch.float32

    def _mean(self, tiles: NDArray[Any], seen: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Compute the mean of one batch, µK."""
        kind = np.float64 if self._precision == torch.float64 else np.float32
        data = np.where(seen, tiles / self._rms, 0).astype(kind)
        mean = self._filled(torch.from_numpy(data), torch.from_numpy(seen.astype(np.float32)))
        return np.asarray(mean.cpu().numpy() * self._rms)

    def _filled(self, data: Tensor, seen: Tensor) -> Tensor:
        """Compute the mean of one batch in units of the rms, ``(ntile, side, side)``."""
        mask, tile = seen[:, None].to(self.device), data[:, None].to(self.device)
        with torch.inference_mode():
            left = torch.zeros(tile.shape[0], device=self.device)
            mean = self._solve(tile, mask, left)
        self.left = float(np.maximum(self.left, left.max().item()))  # keeps NaN
        return mean[:, 0]

    def _solve(self, tile: Tensor, mask: Tensor, left: Tensor) -> Tensor:
        """Compute the mean of one batch in units of the rms; write relative residuals to `left`."""
        if self._adaptive:
            return conjugate_gradient(
                tile,
                mask,
                self._spectrum,
                iterations=self._refine,
                tolerance=self._tolerance,
                left=left,
            )
        steps, weights = BandedSteps(mask, self._spectrum), self._weights
        if weights is None:
            raise RuntimeError("the weights of the steps are not known")
        if self._network is None:
            return steps(tile, weights, left=left)
        warm = self._network.arch.warm
        first = self._network(tile, mask, self._spectrum, weights[:warm])
        return steps(tile, weights[warm:], start=first, left=left)


def fewer(batch: int, least: int, device: torch.device) -> int:
    """Return a smaller batch size after one was too large for a device, with a warning.

    Parameters
    ----------
    batch
        Number of tiles that was too large.
    least
        Smallest possible batch, 1 or 2; the result is a multiple of it.
    device
        The device that ran out of memory.

    Raises
    ------
    MemoryError
        The batch cannot be made smaller.
    """
    if batch <= least:
        raise MemoryError(f"{device} has no memory for {batch} tiles; pass `device='cpu'`")
    smaller = -(-batch // (2 * least)) * least
    if device.type == "cuda":
        torch.cuda.empty_cache()
    warnings.warn(
        f"{device} has no memory for {batch} tiles at once, going on with {smaller}; pass"
        f" `batch_size={smaller}` to start with it",
        stacklevel=3,
    )
    return smaller


def affordable_batch(device: torch.device, side: int) -> int:
    """Return the batch size for tiles of this side, within half the free memory.

    The result is at least two. If the device has no memory for two tiles, torch raises the error.
    """
    most = MOST_CPU if device.type == "cpu" else MOST
    free = batch_bytes(most, side) / _SHARE
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    elif device.type == "cpu" and "SC_AVPHYS_PAGES" in getattr(os, "sysconf_names", ()):
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(2, min(most, int(_SHARE * free / batch_bytes(1, side))))


def pick_device(name: str, *, threads: int = 0) -> torch.device:
    """Choose a device by name; ``auto`` is CUDA if available, else the CPU.

    Parameters
    ----------
    name
        ``auto``, ``cpu``, ``cuda`` (or ``gpu``, the same), ``cuda:1`` and so on, ``mps``, ``xpu``.
    threads
        Number of torch's CPU threads from now on; 0 does not change it.

    Raises
    ------
    ValueError
        The device is unknown or not available.
    """
    name = device_name(name)
    if threads:
        torch.set_num_threads(threads)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError):
        raise ValueError(
            f"device {name!r} is not available on this machine; pass `device='cpu'`"
        ) from None
    return device
