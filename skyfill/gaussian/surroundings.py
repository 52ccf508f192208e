"""Choose the observed pixels around a small hole that decide what is in it.

Close to the hole every pixel counts. Farther away only larger scales matter, so points there are
means of four pixels, one in each quarter of a pixel of a coarser Nside. Each level has the same
width in its own pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from skyfill.healpix import neighbours, nest_to_ring

__all__ = ["Reach", "groups", "surroundings"]

Mask = NDArray[np.bool_]
Pixels = NDArray[np.int64]


@dataclass(frozen=True)
class Reach:
    """How far the surroundings of a hole reach.

    Attributes
    ----------
    near
        Width of the surroundings in which every pixel is a point, pixels.
    width
        Width of each coarser level, in pixels of its own Nside.
    levels
        Number of coarser levels; each has half the Nside of the one before.
    """

    near: int = 6
    width: int = 4
    levels: int = 3

    def wider(self) -> Reach:
        """Give a reach against which this one is compared."""
        return replace(self, near=2 * self.near, width=self.width + 3, levels=self.levels + 1)

    def points(self, size: float) -> float:
        """Estimate the number of points around a round hole of so many pixels."""
        radius = (size / np.pi) ** 0.5
        total = 8 * radius * self.near + 4.0 * self.near**2
        side = 2 * (radius + self.near)
        for _ in range(self.levels):
            side = side / 2 + 1  # rounded up to whole pixels of the next level
            total += (side + 2 * self.width) ** 2 - side**2
            side += 2 * self.width
        return float(total)


def surroundings(nside: int, hole: Pixels, observed: Mask, reach: Reach) -> tuple[Pixels, Pixels]:
    """List the points around a hole.

    Parameters
    ----------
    nside
        Nside of the map.
    hole
        ``(n,)``, NESTED: the pixels of the hole.
    observed
        ``(npix,)``, RING, True where observed. Points with an unobserved pixel are left out.
    reach
        How far the points reach.

    Returns
    -------
    ``(ncoarse, 4)``, RING: pixels whose means are the points of the coarser levels; and
    ``(nfine,)``, RING: pixels that are points themselves.
    """
    parents = np.unique(_grown(nside, hole, reach.near) >> 2)
    fine = nest_to_ring(nside, np.setdiff1d(_children(parents), hole))
    coarse = [np.zeros((0, 4), np.int64)]
    for level in range(1, reach.levels + 1):
        side = nside >> level
        if not side:
            break
        covered = _grown(side, parents, reach.width)
        if level < reach.levels and side > 1:
            above = np.unique(covered >> 2)
            covered = _children(above)
        new = np.setdiff1d(covered, parents, assume_unique=True)
        corner = 3 * 4 ** (level - 1) // 4  # the pixel after the centre of each quarter
        chosen = _children(new) * 4 ** (level - 1) + corner
        coarse.append(nest_to_ring(nside, chosen).reshape(-1, 4))
        if level < reach.levels and side > 1:
            parents = above
    means = np.concatenate(coarse)
    return means[observed[means].all(axis=1)], fine[observed[fine]]


def groups(nside: int, pixels: Pixels, labels: Pixels, apart: int) -> Pixels:
    """Merge holes that are close to each other.

    Parameters
    ----------
    nside
        Nside of the map.
    pixels, labels
        ``(n,)``, NESTED: hole pixels, and the number of the hole of each, from 0.
    apart
        Holes with fewer than twice as many pixels between them are merged.

    Returns
    -------
    ``(n,)``, the group of each pixel, numbered from 0 in the order of ``labels``.
    """
    count = int(labels.max()) + 1
    reached, of = pixels, labels
    for _ in range(apart):
        around = neighbours(nside, reached, nest=True)
        more = np.concatenate([reached, around.ravel()])
        whose = np.concatenate([of, np.repeat(of, 8)])
        both = np.unique(np.stack([more, whose], axis=1)[more >= 0], axis=0)
        reached, of = both[:, 0], both[:, 1]
    same = reached[1:] == reached[:-1]
    edges = of[:-1][same], of[1:][same]
    graph = coo_array((np.ones(edges[0].size), edges), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1][labels], dtype=np.int64)


def _children(pixels: Pixels) -> Pixels:
    """List the four pixels of the next Nside in each pixel, NESTED."""
    return (4 * pixels[:, None] + np.arange(4)).ravel()


def _grown(nside: int, pixels: Pixels, width: int) -> Pixels:
    """Add all pixels within so many steps to a set, NESTED; sorted."""
    grown = edge = np.unique(pixels)
    for _ in range(width):
        around = np.unique(neighbours(nside, edge, nest=True))
        edge = np.setdiff1d(around[around >= 0], grown, assume_unique=True)
        grown = np.union1d(grown, edge)
    return grown
