"""Windows under which overlapping tiles fade into each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["window"]


def window(shape: tuple[int, int], guard: int = 0, power: int = 4) -> NDArray[np.float64]:
    """Taper a tile from 1 at its centre towards 0 at its border.

    The taper is cos^power along rows times cos^power along columns. A blend divides by the sum of
    the windows (`skyfill.tiling.Paster`), so the weights of the tiles over a point sum to one. Each
    window falls to zero with its derivatives, so the blend has no step and no kink where a tile
    ends.

    Parameters
    ----------
    shape
        ``(ny, nx)``, pixels.
    guard
        Number of outermost pixels on each side whose weight is exactly 0.
    power
        Exponent of the cosine; a larger one gives more weight to the middle of a tile.

    Returns
    -------
    ``(ny, nx)``, 0 in the guard and above 0 inside it.

    Raises
    ------
    ValueError
        If the guard leaves no pixel, or the power is below 1.

    """
    if guard < 0 or 2 * guard >= min(shape) or power < 1:
        raise ValueError(f"no window of {shape} pixels has guard {guard} and power {power}")
    rows, columns = (_taper(n, guard, power) for n in shape)
    return np.outer(rows, columns)


def _taper(n: int, guard: int, power: int) -> NDArray[np.float64]:
    inside = n - 2 * guard
    taper = np.zeros(n)
    t = (np.arange(inside) - 0.5 * (inside - 1)) / (inside + 1)  # zero one pixel into the guard
    taper[guard : n - guard] = np.cos(np.pi * t) ** power
    return taper
