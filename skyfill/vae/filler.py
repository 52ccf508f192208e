"""Give the posterior mean of tiles, batch by batch, on whatever device there is."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skyfill.flatsky import TileField
from skyfill.healpix.checks import device_name
from skyfill.vae.network import TileVAE
from skyfill.vae.steps import BandedSteps, conjugate_gradient, draw_periodic, terms

__all__ = ["TileFiller", "affordable_batch", "fewer"]

#: Bytes for each pixel of a tile in work, as measured with the shipped network.
_BYTES = 200
#: Share of the free memory that a batch may take.
_SHARE = 0.5
#: Tiles beyond which a batch is slower on a CPU: it leaves the caches.
_MOST_CPU = 64
#: Tiles beyond which a batch gains nothing on a GPU.
_MOST = 1024


class TileFiller:
    """Fill tiles of one prior by steps whose weights depend on masks and prior alone.

    The fill is linear in the data, to rounding: `prepare` finds the weights of the steps on tiles
    that it draws, and every tile is then filled with them. A network, if given, takes over after as
    many steps as it was trained behind, and more steps follow; it is linear, too.

    Parameters
    ----------
    network
        From `skyfill.vae.load`; None for the steps alone.
    field
        Prior of the tiles.
    guard
        Pixels around a tile that are taken as unobserved, so that its periodic images stay apart.
    refine
        Steps at most.
    tolerance
        Relative residual that suffices: of the tiles that are drawn, or, if ``adaptive``, of every
        tile.
    adaptive
        Take conjugate-gradient steps instead, on each tile as many as it needs. The mean is as
        exact as the tolerance says, and as linear: what is left of the residual is not.
    batch_size
        Tiles at once, which changes nothing but rounding; None for what memory allows
        (`affordable_batch`).
    device
        ``auto``, ``cpu``, ``cuda`` or another of torch's.

    Raises
    ------
    ValueError
        There is no such device.

    Attributes
    ----------
    probes
        Masks that `prepare` looks at, at most.
    left
        The largest relative residual of all tiles since it was last set to zero; NaN where numbers
        have overflowed. Much above the tolerance where the steps do not serve a tile.
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
        """The weights of the steps, ``(steps, terms)``; None before they are known."""
        return None if self._weights is None else self._weights.cpu().numpy()

    @scalars.setter
    def scalars(self, values: NDArray[np.float64]) -> None:
        terms = self.terms
        if values.ndim != 2 or values.shape[1] != terms:
            raise ValueError(f"scalars of shape {values.shape}; give (steps, {terms})")
        self._weights = torch.tensor(values, dtype=torch.float64)  # a few, and not to be rounded

    @property
    def terms(self) -> int:
        """Numbers that say how to make a step."""
        return terms(self._spectrum.shape[-2])

    @property
    def deciding(self) -> tuple[object, ...]:
        """What decides the scalars, but for the masks."""
        spectrum = self._spectrum.cpu().numpy()
        deciding = spectrum, self._guard, self._refine, self._tolerance, self.probes
        if self._network is None:
            return deciding
        return *deciding, *(one.float().cpu().numpy() for one in self._network.parameters())

    def prepare(self, observed: NDArray[np.bool_]) -> None:
        """Find the weights of the steps for tiles under masks like these.

        Parameters
        ----------
        observed
            ``(ntile, side, side)``; of more than `probes` useful ones some are taken, evenly.
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
        """Give what is observed and not in the guard."""
        inner = slice(self._guard, observed.shape[-1] - self._guard)
        seen = np.zeros_like(observed)
        seen[:, inner, inner] = observed[:, inner, inner]
        return seen

    def __call__(self, tiles: NDArray[Any], observed: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Give the posterior mean of every pixel of every tile.

        Where neither `prepare` was called nor `scalars` set, these tiles' masks are prepared for.

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

        Raises
        ------
        MemoryError
            The device has no memory for two tiles. Where it has none for a batch, smaller ones
            follow, with a warning.
        """
        if self._weights is None and not self._adaptive:
            self.prepare(observed)
        seen = self._inside(observed)
        out = np.zeros(tiles.shape, dtype=np.float32)
        useful = np.flatnonzero(seen.any(axis=(1, 2)))
        if useful.size % 2:  # the last one makes a pair with itself
            useful = np.append(useful, useful[-1])
        begin = 0
        while begin < useful.size:
            part = useful[begin : begin + self._batch]
            try:
                out[part] = self._mean(tiles[part], seen[part])
            except torch.OutOfMemoryError:
                full = True  # what failed is freed when this block is left
            else:
                full = False
                begin += part.size
            if full:
                self._batch = fewer(part.size, 2, self.device)
        return out

    def _mean(self, tiles: NDArray[Any], seen: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Give the mean of one batch, µK."""
        mask = torch.from_numpy(seen.astype(np.float32))[:, None].to(self.device)
        exact = not self._adaptive and self._network is None and self.device.type != "mps"
        data = np.where(seen, tiles / self._rms, 0).astype(np.float64 if exact else np.float32)
        tile = torch.from_numpy(data)[:, None].to(self.device)
        with torch.inference_mode():
            left = torch.zeros(tile.shape[0], device=self.device)
            mean = self._solve(tile, mask, left)
        self.left = float(np.maximum(self.left, left.max().item()))  # keeps NaN
        return np.asarray(mean[:, 0].cpu().numpy() * self._rms)

    def _solve(self, tile: Tensor, mask: Tensor, left: Tensor) -> Tensor:
        """Give the mean of one batch in units of the rms, and write what is left of residuals."""
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
    """Give the size of the next batch where one was too large for a device, and warn of it.

    Parameters
    ----------
    batch
        Tiles that were too many.
    least
        Tiles that must go at once: 1 or 2; a multiple of them is given.
    device
        Where they were.

    Raises
    ------
    MemoryError
        They were not more than that.
    """
    if batch <= least:
        raise MemoryError(f"{device} has no memory for {batch} tiles; pass `device='cpu'`")
    smaller = -(-batch // (2 * least)) * least
    if device.type == "cuda":
        torch.cuda.empty_cache()
    warnings.warn(
        f"{device} has no memory for {batch} tiles at once, going on with {smaller}; pass"
        f" `batch_size={smaller}` to begin so",
        stacklevel=3,
    )
    return smaller


def affordable_batch(device: torch.device, side: int) -> int:
    """Give how many tiles of a side to fill at once: as many as pay, within half the free memory.

    At least two, even where there is no room for them: the error is then torch's, and says so.
    """
    most = _MOST_CPU if device.type == "cpu" else _MOST
    free = most * _BYTES * side**2 / _SHARE
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    elif device.type == "cpu" and "SC_AVPHYS_PAGES" in getattr(os, "sysconf_names", ()):
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(2, min(most, int(_SHARE * free / (_BYTES * side**2))))


def pick_device(name: str, *, threads: int = 0) -> torch.device:
    """Choose a device by name; ``auto`` is CUDA where there is one, else the CPU.

    Parameters
    ----------
    name
        ``auto``, ``cpu``, ``cuda`` (or ``gpu``, the same), ``cuda:1`` and so on, ``mps``, ``xpu``.
    threads
        Of torch on the CPU from now on; 0 leaves the number as it is.

    Raises
    ------
    ValueError
        The device is unknown or not there.
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
