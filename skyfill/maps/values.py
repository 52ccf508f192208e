"""Read one column of a HEALPix file as a map of the whole sky."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.maps.column import Column
from skyfill.maps.hdu import finish, open_fits
from skyfill.maps.multiorder import at_one_order, read_flat
from skyfill.maps.table import SkyTable, find_table

__all__ = ["SkyColumn", "read_column"]


@dataclass(frozen=True, eq=False)
class SkyColumn:
    """A column of a file and its table."""

    values: NDArray[Any]
    """``(npix,)``, in the file's unit and ordering, NaN where missing."""
    table: SkyTable
    """The table, with the Nside of the file, or of the values if they are flattened."""
    column: Column
    nside: int
    """Resolution of the values."""
    flattened: bool
    """Whether the values come from a multi-order map read at one resolution."""


def read_column(
    path: Path,
    field: int | str,
    *,
    hdu: int | str | None = None,
    nside: int | None = None,
    single: bool = False,
    missing: float | Sequence[float] | None = None,
) -> SkyColumn:
    """Read one column of a HEALPix FITS file.

    Parameters
    ----------
    path
        The file.
    field
        The column, by number from 0 or by name.
    hdu
        The table, by number of its HDU or by EXTNAME; None for the first with a HEALPix map.
    nside
        Resolution at which to read a multi-order map.
    single
        Use float32 if it can hold the numbers of the file.
    missing
        Further values that mean "missing", in the file's unit, besides those in the header.

    Raises
    ------
    ValueError
        The file is damaged or holds no such map.
    OSError
        The file cannot be read.

    """
    sentinels = _sentinels(missing)
    with open_fits(path) as stream:
        table = find_table(stream, path, hdu)
        column = table.column(field)
        table.nest  # noqa: B018 -- refuses a file that does not say its ordering
        plain = table if not table.multiorder else at_one_order(stream, table, nside)
        if plain is None and nside is not None:
            values = read_flat(stream, table, column, nside, single=single, sentinels=sentinels)
            found = SkyColumn(values, table, column, nside, flattened=True)
        else:
            table = plain or table
            if nside not in (None, table.nside):
                raise ValueError(
                    f"{path}: the map has Nside {table.nside}; `nside={nside}` is for multi-order"
                    " maps only; change the resolution with healpy.ud_grade"
                )
            values = table.read(stream, column, single=single, sentinels=sentinels)
            found = SkyColumn(values, table, column, table.nside, flattened=False)
        finish(stream, table.hdu)
    return found


def _sentinels(missing: ArrayLike | None) -> list[float]:
    """Return the values that mean "missing", as numbers."""
    if missing is None:
        return []
    try:
        values = np.asarray(missing, np.float64).ravel()
    except (TypeError, ValueError):
        raise ValueError(f"`missing` takes a number or several, got {missing!r}") from None
    # NaN and infinity are always missing
    return [float(value) for value in values if np.isfinite(value)]
