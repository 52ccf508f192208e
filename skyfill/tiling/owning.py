"""Find the tile with the largest weight at each pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skyfill.healpix import check_pixels, pixel_directions, pixel_radius, ring_to_nest
from skyfill.healpix.checks import check_nside
from skyfill.tiling import kernels
from skyfill.tiling.layout import frames
from skyfill.tiling.pasting import CELL, reach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from skyfill.tiling.layout import Layout

__all__ = ["owners"]

#: Pixels that are searched at once: 300 MiB of memory.
_PIXELS = 2**22


def owners(
    layouts: Sequence[Layout], ipix: ArrayLike, *, window: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Find the tile with the largest weight at each pixel in the blend of `paste`.

    Parameters
    ----------
    layouts
        Where the tiles lie, at least one.
    ipix
        ``(n,)`` RING pixels.
    window
        ``(ny, nx)``, weight of each tile pixel.

    Returns
    -------
    ``(n,)``, indices into ``layouts``, the first of equal weights; -1 if no tile covers the pixel.

    Raises
    ------
    ValueError
        There is no tile, tiles and window differ in shape, or a pixel is out of range.
    """
    if not layouts:
        raise ValueError("there is no tile to own a pixel")
    if window.shape != layouts[0].shape:
        raise ValueError(f"tiles of {layouts[0].shape} pixels have no window of {window.shape}")
    nside = check_nside(layouts[0].nside)
    pixels = check_pixels(nside, ipix)
    where = frames(layouts)
    cell_nside = max(1, nside // CELL)
    near, slack = reach(where, pixel_radius(cell_nside))
    window = np.ascontiguousarray(window, dtype=np.float64)
    out = np.empty(pixels.size, dtype=np.int64)
    for start in range(0, pixels.size, _PIXELS):
        nested = ring_to_nest(nside, pixels[start : start + _PIXELS])
        order = np.argsort(nested)
        nested = nested[order]
        cell = nested // (nside // cell_nside) ** 2
        first = np.flatnonzero(np.diff(cell, prepend=-1))
        found = np.full(nested.size, -1, dtype=np.int64)
        kernels.heaviest_tiles(
            nside,
            nested,
            np.append(first, nested.size),
            pixel_directions(cell_nside, cell[first], nest=True),
            near,
            slack,
            *where.grid,
            where.centre,
            window,
            np.zeros(nested.size),
            found,
        )
        out[start : start + _PIXELS][order] = found
    return out
