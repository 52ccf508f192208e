"""Choose the data around a hole of an image that decide what is in it.

Close to the hole the data are pixels, or means of blocks of two by two; farther away only larger
scales matter, so they are means of larger blocks. Each level of blocks has twice the sides of the
one before, and the same width in its own blocks. A block of which a part is not observed is divided
into smaller ones. Where pixels are long and narrow on the sky (CAR far from the equator), blocks
hold more pixels along the narrow side, so that they are about square.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

__all__ = ["Context", "Reach", "context"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]
Pixels = NDArray[np.int64]

_TWO = np.array([2, 2])


@dataclass(frozen=True)
class Reach:
    """How far the context of a hole reaches.

    Attributes
    ----------
    near
        Width of the ring of the finest data, pixels.
    width
        Width of each further level, in its own blocks.
    levels
        Number of levels of blocks; those of the first hold two by two pixels.
    finest
        Level of the finest data: 0 for pixels, 1 for blocks of two by two.
    """

    near: int = 6
    width: int = 4
    levels: int = 4
    finest: int = 1

    def wider(self) -> Reach:
        """Give a reach against which this one is compared."""
        return replace(
            self,
            near=self.near + 6,
            width=self.width + 3,
            levels=self.levels + 1,
            finest=0,
        )

    @property
    def margin(self) -> int:
        """Most pixels, without stretch, between a hole and the end of its context."""
        blocks = sum(2**one for one in range(1, self.levels + 1))
        return self.near + 2 + (self.width + 1) * int(blocks)


@dataclass(frozen=True)
class Context:
    """The blocks of pixels around a hole, the coarsest last.

    Attributes
    ----------
    level
        ``(n,)``: a block has 2^level times the sides of `stretch`; a pixel has level 0.
    corner
        ``(n, 2)``: row and column of the first pixel of each block.
    stretch
        Height and width of the blocks of level 1, over two.
    """

    level: NDArray[np.int64]
    corner: Pixels
    stretch: tuple[int, int]

    @property
    def sides(self) -> Pixels:
        """``(n, 2)``: height and width of each block, pixels."""
        sides = (2**self.level)[:, None] * np.array(self.stretch)
        sides[self.level == 0] = 1
        return np.asarray(sides)

    def means(self, values: NDArray[np.floating[Any]]) -> Map:
        """Give the mean of an image, ``(ny, nx)``, over each block, ``(n,)``."""
        out = np.empty(self.level.size)
        sides = self.sides
        for level in np.unique(self.level):
            here = np.flatnonzero(self.level == level)
            height, width = sides[here[0]]
            row = self.corner[here, 0][:, None, None] + np.arange(height)[:, None]
            column = self.corner[here, 1][:, None, None] + np.arange(width)
            out[here] = values[row, column].mean(axis=(1, 2), dtype=np.float64)
        return out


def context(hole: Pixels, observed: Mask, reach: Reach, stretch: tuple[int, int]) -> Context:
    """List the blocks around a hole.

    Parameters
    ----------
    hole
        ``(n, 2)``: rows and columns of the hole's pixels.
    observed
        ``(ny, nx)``, True where observed.
    reach
        How far the context reaches.
    stretch
        Factors of the height and the width of blocks, powers of two (`Grid.stretch`).
    """
    unit = np.array([2**reach.levels * one for one in stretch])
    margin = np.array([reach.margin * one for one in stretch])
    origin = hole.min(axis=0) - margin
    size = -(-(hole.max(axis=0) + margin + 1 - origin) // unit) * unit
    inside = np.zeros(size, np.bool_)
    inside[tuple((hole - origin).T)] = True
    full = [_window(observed, origin, size)]
    block = 2 * np.array(stretch)
    full.append(_blocks(full[0], block, whole=True))
    for _ in range(1, reach.levels):
        full.append(_blocks(full[-1], _TWO, whole=True))

    chosen = [np.zeros_like(each) for each in full]
    near = _grown(inside, reach.near * stretch[0], reach.near * stretch[1])
    parents = _blocks(near, block)
    if reach.finest:
        _choose(parents, 1, full, chosen, block)
    else:
        _choose(_spread(parents, block), 0, full, chosen, block)
    for level in range(1, reach.levels + 1):
        covered = _grown(parents, reach.width, reach.width)
        if level < reach.levels:
            above = _blocks(covered, _TWO)
            covered = _spread(above, _TWO)
        _choose(covered & ~parents, level, full, chosen, block)
        if level < reach.levels:
            parents = above
    levels, corners = [], []
    for level, flags in enumerate(chosen):
        found = np.argwhere(flags)
        levels.append(np.full(len(found), level))
        corners.append(found * (2 ** (level - 1) * block if level else 1) + origin)
    return Context(np.concatenate(levels), np.concatenate(corners), stretch)


def _choose(wanted: Mask, level: int, full: list[Mask], chosen: list[Mask], block: Pixels) -> None:
    """Choose the blocks that are observed as a whole, and divide the others."""
    while level >= 0:
        chosen[level] |= wanted & full[level]
        wanted = wanted & ~full[level]
        if level:
            wanted = _spread(wanted, block if level == 1 else _TWO)
        level -= 1


def _window(flags: Mask, origin: Pixels, size: Pixels) -> Mask:
    """Cut a window, false beyond the image."""
    out = np.zeros(size, np.bool_)
    low, high = np.maximum(origin, 0), np.minimum(origin + size, flags.shape)
    to = tuple(slice(a, b) for a, b in zip(low - origin, high - origin, strict=True))
    out[to] = flags[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    return out


def _grown(flags: Mask, down: int, along: int) -> Mask:
    """Add all pixels within so many rows and columns."""
    grown = flags.view(np.uint8)
    for axis, steps in enumerate((down, along)):
        grown = maximum_filter1d(grown, 2 * steps + 1, axis=axis, mode="constant")
    return np.asarray(grown.view(np.bool_))


def _blocks(flags: Mask, block: Pixels, *, whole: bool = False) -> Mask:
    """Find the blocks of which any pixel, or the whole, is flagged."""
    ny, nx = np.array(flags.shape) // block
    divided = flags.reshape(ny, block[0], nx, block[1])
    return np.asarray(divided.all(axis=(1, 3)) if whole else divided.any(axis=(1, 3)))


def _spread(flags: Mask, block: Pixels) -> Mask:
    """Find the pixels of flagged blocks."""
    return np.repeat(np.repeat(flags, block[0], axis=0), block[1], axis=1)
