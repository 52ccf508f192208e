"""The noise of an image: white by area, or given by an inverse variance for each pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skyfill.images.context import Context
from skyfill.images.grid import Grid
from skyfill.prior import ARCMIN

__all__ = ["Noise"]

Map = NDArray[np.float64]
Pixels = NDArray[np.int64]


@dataclass(frozen=True)
class Noise:
    """Variance of the noise of pixels, which is independent from pixel to pixel.

    Attributes
    ----------
    grid
        Where the pixels are.
    uk_arcmin
        White noise, µK·arcmin: a pixel's variance is its square over the pixel's area. Not used
        with `variance`.
    variance
        ``(ny, nx)``, µK², finite in the pixels that are used.
    """

    grid: Grid
    uk_arcmin: float
    variance: Map | None = None

    def of_pixels(self, pixels: Pixels) -> Map:
        """Give the variance of pixels, ``(n, 2)`` rows and columns, as ``(n,)``."""
        rows, columns = pixels[:, 0], pixels[:, 1]
        if self.variance is not None:
            return np.asarray(self.variance[rows, columns], dtype=np.float64)
        return np.asarray((self.uk_arcmin * ARCMIN) ** 2 / self.grid.areas(rows, columns))

    def of_blocks(self, blocks: Context) -> Map:
        """Give the variance of the means over blocks, ``(n,)``."""
        count = blocks.sides.prod(axis=1)
        if self.variance is not None:
            return np.asarray(blocks.means(self.variance) / count)
        middle = blocks.corner + (blocks.sides - 1) / 2
        areas = self.grid.areas(middle[:, 0], middle[:, 1])
        return np.asarray((self.uk_arcmin * ARCMIN) ** 2 / areas / count)
