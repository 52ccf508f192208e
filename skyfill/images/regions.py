"""The regions of an image that are not observed: holes, and the outside of the survey."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label, maximum_filter1d

from skyfill.images.grid import Grid

__all__ = ["Regions", "find_regions"]

Mask = NDArray[np.bool_]
Pixels = NDArray[np.int64]

#: Holes with fewer than twice as many pixels between them are filled together.
_APART = 4
_CORNERS = np.ones((3, 3), np.int8)


@dataclass(frozen=True)
class Regions:
    """Holes of an image, and what lies outside the survey.

    Attributes
    ----------
    holes
        Rows and columns of the pixels of each group of holes, ``(n, 2)`` each.
    outside
        ``(ny, nx)``: True for unobserved pixels that stay as they are.
    border
        Number of regions of `outside`.
    """

    holes: list[Pixels]
    outside: Mask
    border: int

    @property
    def pixels(self) -> Pixels:
        """Rows and columns of all pixels that are filled, ``(n, 2)``, in the order of `holes`."""
        return np.concatenate([np.zeros((0, 2), np.int64), *self.holes])


def find_regions(observed: Mask, grid: Grid, *, every: bool = False) -> Regions:
    """Find the holes of an image.

    Parameters
    ----------
    observed
        ``(ny, nx)``, True where observed.
    grid
        Where the pixels are; pixels beyond the sky (corners of an all-sky projection) are outside.
    every
        Whether regions that reach the image's border are holes, too; otherwise they are outside.

    Returns
    -------
    The regions. Pixels that share a side or a corner are connected.

    Raises
    ------
    ValueError
        Nothing is observed, or there is no hole.
    """
    if not observed.any():
        raise ValueError(
            "the mask leaves no pixel observed; if its 1 means masked, read it with `invert=True`"
        )
    missing = ~observed
    outside = np.zeros_like(missing)
    labels, _ = label(missing, _CORNERS)
    edges = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    at_border = np.unique(edges[edges > 0])
    if not every:
        reaching = np.zeros(labels.max() + 1, np.bool_)
        reaching[at_border] = True
        outside = reaching[labels]
    del labels
    holes = missing & ~outside
    if every:
        where = np.argwhere(holes)
        beyond = ~np.isfinite(grid.directions(where[:, 0], where[:, 1])).all(axis=0)
        outside[tuple(where[beyond].T)] = True
        holes &= ~outside
    if not holes.any():
        if at_border.size and not every:
            raise ValueError(
                f"no hole is enclosed by observed pixels: all {at_border.size} unobserved regions"
                " reach the image's border and stay as they are; pass `holes='all'` to fill them"
            )
        raise ValueError(
            "there is nothing to fill: the mask has no hole and the image misses nothing"
        )
    near = holes.view(np.uint8)
    for axis in (0, 1):
        near = maximum_filter1d(near, 2 * _APART + 1, axis=axis, mode="constant")
    groups, count = label(near, _CORNERS)
    groups[~holes] = 0
    found = []
    for number, place in enumerate(find_objects(groups, count), 1):
        if place is not None:
            inside = np.argwhere(groups[place] == number)
            found.append(inside + [part.start for part in place])
    return Regions(found, outside, 0 if every else int(at_border.size))
