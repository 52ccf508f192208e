"""Cut and paste tiles on a device, by tables that stay there; nothing is added atomically."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from skyfill.tiling.splines import spline_coefficients
from skyfill.tiling.tables import PADDED, cut_table, paste_tables

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skyfill.tiling.layout import Layout

__all__ = ["ResidentTiles", "resident_bytes"]

#: Tiles whose table is made at a time, on the host.
_TILES = 512
#: Entries of a table for pasting that are evaluated at a time.
_ENTRIES = 2**22
#: Tiles of which spline coefficients are computed at a time.
_SPLINES = 1024
#: Bytes of the table for each pixel that a tile cuts: four pixels with weights, and a flag.
_CUT = 33.0
#: Bytes of the tables for each hole pixel: its number, and 20 for each of the tiles over it, about
#: two at most (measured: 1.6 on average at Nside 512 with the usual cover).
_PASTED = 48.0
#: Bytes for each pixel of a tile while tiles are pasted: the tile and its spline coefficients.
_TILE = 4.0 + 8.0 * 1.05
#: Bytes of what is computed at a time.
_WORK = 1.5e9


class ResidentTiles:
    """Tiles over some holes of maps with one mask.

    Parameters
    ----------
    layouts
        All tiles, of one shape.
    useful
        ``(n,)``: the tiles that contain data. The others are zero.
    observed
        ``(npix,)``, RING, True where pixels are data.
    wanted
        ``(npix,)``, RING, True where tiles are pasted.
    nside
        Resolution of the maps.
    guard
        Number of outermost pixels on each side of a tile that are not cut.
    window
        ``(ny, nx)``, weight of each tile pixel in a blend.
    threshold
        Observed share of the weight from which a tile pixel counts as data.
    device
        Where the tables stay.
    """

    def __init__(
        self,
        layouts: Sequence[Layout],
        useful: NDArray[np.int64],
        *,
        observed: NDArray[np.bool_],
        wanted: NDArray[np.bool_],
        nside: int,
        guard: int,
        window: NDArray[np.float64],
        threshold: float,
        device: torch.device,
    ) -> None:
        self._shape, self._guard, self._device = window.shape, guard, device
        self.count = useful.size

        def there(array: NDArray[Any]) -> Tensor:
            return torch.from_numpy(array).to(device)

        self._cuts: list[tuple[Tensor, ...]] = []
        for start in range(0, useful.size, _TILES):
            some = [layouts[i] for i in useful[start : start + _TILES]]
            table = cut_table(observed, some, nside=nside, guard=guard, threshold=threshold)
            self._cuts.append(tuple(there(each) for each in table))
        tables = paste_tables(wanted, layouts, useful, nside=nside, window=window)
        self._pastes = [
            (*(there(each) for each in table[:5]), table.layers.tolist()) for table in tables
        ]
        self._splines = tuple(there(_spline_matrix(side)) for side in self._shape)

    def cut(self, values: Tensor, tiles: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Cut some of the useful tiles from a map.

        Parameters
        ----------
        values
            ``(npix,)`` float64, RING, finite.
        tiles
            ``(k,)``: their positions among the useful ones, increasing.

        Returns
        -------
        ``(k, ny, nx)`` float64, zero where a pixel does not count as data; and whether it does.
        """
        whole = (tiles.size, *self._shape)
        out, seen = (
            torch.zeros(whole, dtype=kind, device=self._device)
            for kind in (torch.float64, torch.bool)
        )
        g = self._guard
        inner = slice(g, self._shape[0] - g), slice(g, self._shape[1] - g)
        for block in np.unique(tiles // _TILES).tolist():
            begin, end = np.searchsorted(tiles, [block * _TILES, (block + 1) * _TILES]).tolist()
            some = tiles[begin:end] - block * _TILES
            at: Any = slice(int(some[0]), int(some[-1]) + 1)
            if at.stop - at.start != some.size:
                at = torch.from_numpy(some).to(self._device)
            pixels, shares, known = (each[at] for each in self._cuts[block])
            found = values.index_select(0, pixels.reshape(-1)).reshape(shares.shape)
            out[begin:end, *inner] = (found * shares).sum(-1)
            seen[begin:end, *inner] = known
        return out, seen

    def paste(self, tiles: Tensor, values: Tensor) -> None:
        """Blend the useful tiles, ``(n, ny, nx)``, into the wanted pixels of a map, in place.

        Pixels without a tile, or with tiles of zeros only, become zero.
        """
        rows, columns = self._splines
        padded = torch.empty(
            (len(tiles), len(rows), len(columns)), dtype=torch.float64, device=self._device
        )
        for start in range(0, len(tiles), _SPLINES):
            part = slice(start, start + _SPLINES)
            padded[part] = rows @ (tiles[part].double() @ columns.T)
        wide, coefficients = padded.shape[-1], padded.view(-1)
        for pixels, place, base, along, share, layers in self._pastes:
            out = torch.zeros(len(pixels), dtype=torch.float64, device=self._device)
            for first, last in pairwise(layers):
                for start in range(first, last, _ENTRIES):
                    part = slice(start, min(start + _ENTRIES, last))
                    found = _spline_values(coefficients, base[part], along[:, part], wide)
                    # no pixel is twice in a layer
                    where = place[part].long()
                    out[where] += share[part] * found
            values[pixels] = out


def _spline_values(coefficients: Tensor, base: Tensor, along: Tensor, wide: int) -> Tensor:
    """Evaluate splines whose first coefficient is at ``base``."""
    base = base.long()
    columns, rows = (_weights(each.double()) for each in along)
    total = torch.zeros(len(base), dtype=torch.float64, device=base.device)
    for y, row in enumerate(rows):
        line = torch.zeros_like(total)
        for x, column in enumerate(columns):
            line.addcmul_(column, coefficients.index_select(0, base + (y * wide + x)))
        total.addcmul_(row, line)
    return total


def _weights(t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Give the weights of a cubic B-spline's coefficients, as `skyfill.tiling.splines` does."""
    r = 1.0 - t
    return (
        r * r * r / 6.0,
        2.0 / 3.0 - 0.5 * t * t * (2.0 - t),
        2.0 / 3.0 - 0.5 * r * r * (2.0 - r),
        t * t * t / 6.0,
    )


def _spline_matrix(side: int) -> NDArray[np.float64]:
    """Give the matrix from the samples of a row to its spline coefficients, mirrored beyond it."""
    # Rows and columns are filtered alike: of a unit tile, take the row with the unit.
    unit = np.zeros((side, side, side))
    unit[np.arange(side), np.arange(side), 0] = 1.0
    spline_coefficients(unit)
    first = np.zeros((1, side, side))
    first[0, 0, 0] = 1.0
    spline_coefficients(first)
    corner = math.sqrt(float(first[0, 0, 0]))
    matrix = unit[:, :, 0].T / corner
    before, after = PADDED
    at = np.abs(np.arange(-before, side + after))
    return np.ascontiguousarray(matrix[np.minimum(at, 2 * (side - 1) - at)])


def resident_bytes(nside: int, holes: int, tiles: int, *, side: int, guard: int) -> float:
    """Estimate the bytes that tables and tiles take on a device.

    Parameters
    ----------
    nside, holes, tiles
        Resolution, number of hole pixels, number of useful tiles.
    side, guard
        Side of a tile, and the border that is not cut, pixels.
    """
    cut = _CUT * tiles * (side - 2 * guard) ** 2
    return cut + _PASTED * holes + _TILE * tiles * side**2 + 8.0 * 12 * nside**2 + _WORK
