"""Read multi-order maps (NUNIQ), as LIGO, Virgo and KAGRA write them, at one resolution.

A cell of order k is a pixel of Nside 2^k; its number is 4 * 4^k + its NESTED index. Values are
treated as densities, so that all parts of a cell have its value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from skyfill.healpix.checks import MAX_NSIDE, check_nside
from skyfill.maps.column import Column
from skyfill.maps.table import SkyTable

__all__ = ["at_one_order", "orders", "read_flat"]

_ORDERS = 30
_FIRST = 4 * 4 ** np.arange(_ORDERS, dtype=np.int64)  # number of the first cell of each order


def orders(stream: BinaryIO, table: SkyTable) -> tuple[int, int]:
    """Return the lowest and the highest order of the cells of a multi-order map.

    Raises
    ------
    ValueError
        A number is not that of a cell, or there are no cells.

    """
    low, high = _ORDERS, -1
    for rows in table.hdu.rows(stream):
        found = _order(table, table.listed(rows, table.fields[0]))
        low, high = min(low, int(found.min())), max(high, int(found.max()))
    if high < 0:
        raise ValueError(f"{table.path}: a multi-order map without cells")
    return low, high


def at_one_order(stream: BinaryIO, table: SkyTable, nside: int | None) -> SkyTable | None:
    """Return a multi-order map as a map of one order; None if it must be flattened first.

    Parameters
    ----------
    stream, table
        The multi-order map.
    nside
        Wanted resolution; None for that of the map, if all its cells have the same order.

    Raises
    ------
    ValueError
        The cells have several orders and `nside` is None.

    """
    low, high = orders(stream, table)
    if low == high and nside in (None, 1 << low):
        own = check_nside(1 << low, what=f"{table.path}: order {low}")
        return replace(table, nside=own, multiorder=False, offset=4 * own * own)
    if nside is None:
        best = min(1 << high, MAX_NSIDE)
        raise ValueError(
            f"{table.path}: a multi-order map of orders {low} to {high} (Nside {1 << low} to"
            f" {1 << high}); pass `nside={best}` to read it at one resolution, or flatten the file"
            " with ligo-skymap-flatten"
        )
    return None


def read_flat(
    stream: BinaryIO,
    table: SkyTable,
    column: Column,
    nside: int,
    *,
    single: bool = False,
    sentinels: Sequence[float] = (),
) -> NDArray[Any]:
    """Read a column of a multi-order map at one resolution.

    Parameters
    ----------
    stream, table, column
        The map.
    nside
        Resolution of the result. The pixels of a larger cell get its value. A pixel with smaller
        cells gets their mean, weighted by area, without cells that have no value.
    single
        Use float32 if it can hold the numbers of the file.
    sentinels
        Further values that mean "missing".

    Returns
    -------
        ``(npix,)``, in the unit of the file, NESTED, NaN where no cell has a value.

    Raises
    ------
    ValueError
        Cells overlap, or a number is not that of a cell.

    """
    check_nside(nside)
    cells = []
    for rows, part in table.parts(stream, column, sentinels):
        cells.append((table.listed(rows, column), part))
    numbers = np.concatenate([number for number, _ in cells])
    values = np.concatenate([part for _, part in cells])
    order = _order(table, numbers)
    pixels = numbers - _FIRST[order]
    _check_overlap(table, order, pixels)

    target = nside.bit_length() - 1
    flat = np.full(12 * nside * nside, np.nan, table.dtype(column, single=single))
    for level in range(target + 1):
        here = order == level
        flat.reshape(12 * 4**level, -1)[pixels[here]] = values[here, np.newaxis]
    fine = (order > target) & np.isfinite(values)
    if fine.any():
        depth = order[fine] - target
        parents = pixels[fine] >> (2 * depth)
        area = 0.25**depth
        covered = np.bincount(parents, area, flat.size)
        total = np.bincount(parents, area * values[fine], flat.size)
        some = covered > 0
        flat[some] = total[some] / covered[some]
    return flat


def _order(table: SkyTable, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the orders of cells; ValueError if a number is not that of a cell."""
    order = np.searchsorted(_FIRST, numbers, side="right") - 1
    if numbers.size and (order.min() < 0 or numbers.max() >= 4 * int(_FIRST[-1])):
        raise ValueError(
            f"{table.path}: {table.pixel.name if table.pixel else 'UNIQ'} lists cells"
            f" {numbers.min()} to {numbers.max()}, NUNIQ has 4 to {4 * int(_FIRST[-1]) - 1}"
        )
    return order


def _check_overlap(table: SkyTable, order: NDArray[np.int64], pixels: NDArray[np.int64]) -> None:
    """Refuse cells that overlap."""
    depth = 2 * (_ORDERS - 1 - order)
    begin = pixels << depth
    along = np.argsort(begin)
    end = begin[along] + (np.int64(1) << depth[along])
    if (end[:-1] > begin[along][1:]).any():
        raise ValueError(
            f"{table.path}: cells of the multi-order map overlap; flatten the file with the"
            " program that wrote it"
        )
