"""Precondition wide holes by overlapping segments, each of which is solved directly.

Where the sky is smooth and nearly free of noise, the data determine it deep into a hole, from all
sides. `bands` describe the posterior by the prior, which is then far too wide. But Σ⁻¹ couples
pixels over a few correlation lengths only, so it can be solved in segments that overlap by as much,
and the solutions added (additive Schwarz; Toselli & Widlund 2005, chapter 1). Each segment takes
the values around it as known, so only what reaches farther than a segment is left to iterations.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from skyfill.files.cache import Kept
from skyfill.gaussian.blocks import DeviceBlocks, HoleBlocks, Kernel, affordable
from skyfill.gaussian.vectors import Vector, zeros_like
from skyfill.harmonics import Covariance, DeviceSphere
from skyfill.healpix import pixel_directions, pixels_towards

__all__ = ["Segments", "affordable_segments", "guessed", "segments_of"]

Pixels = NDArray[np.int64]

#: Overlap of segments with their neighbours, in units of 2π / lmax.
_OVERLAP = 1.5
#: Least side of a segment, in units of its overlap.
_SIDE = 2.0


def segments_of(nside: int, pixels: Pixels, lmax: int) -> list[Pixels]:
    """Divide holes into overlapping segments: those in a large pixel, and what is near.

    Parameters
    ----------
    nside
        Nside of the map.
    pixels
        ``(n,)``, RING: the pixels of the holes.
    lmax
        Largest multipole of the signal, which says how far pixels are coupled.

    Returns
    -------
    For each segment the indices of its pixels in ``pixels``.
    """
    overlap = _overlap(lmax)
    directions = pixel_directions(nside, pixels)
    home = pixels_towards(_coarse(nside, lmax), directions)
    every, chord = cKDTree(directions), 2 * math.sin(min(overlap, math.pi) / 2)
    segments = []
    order = np.argsort(home, kind="stable")
    for own in np.split(order, np.flatnonzero(np.diff(home[order])) + 1):
        centre = directions[own].mean(0)
        reach = np.linalg.norm(directions[own] - centre, axis=1).max() + chord
        near = np.sort(every.query_ball_point(centre, reach))
        away, _ = cKDTree(directions[own]).query(directions[near], distance_upper_bound=chord)
        segments.append(near[np.isfinite(away)])
    return segments


def _overlap(lmax: int) -> float:
    """Return the overlap of segments, radians."""
    return _OVERLAP * 2 * math.pi / (lmax + 1)


def _coarse(nside: int, lmax: int) -> int:
    """Return the Nside of the large pixels."""
    side = math.sqrt(math.pi / 3) / (_SIDE * _overlap(lmax))  # of a pixel at Nside 1
    return min(1 << max(int(math.log2(side)), 0), nside)


def guessed(nside: int, count: int, lmax: int) -> Pixels:
    """Guess the sizes of the segments of ``count`` pixels; none if these are not affordable."""
    coarse = _coarse(nside, lmax)
    alone = (nside // coarse) ** 2
    # Of two overlaps on each axis, some are beyond the edge of a hole.
    side = math.sqrt(math.pi / 3) / coarse
    whole = int(alone * (1 + 1.5 * _overlap(lmax) / side) ** 2)
    guess = np.full(-(-count // alone), whole)
    return guess if affordable(guess, nside=nside).all() else guess[:0]


def affordable_segments(nside: int, pixels: Pixels, lmax: int) -> tuple[list[Pixels], Pixels]:
    """Divide holes into segments, or into none if these are not affordable.

    Parameters
    ----------
    nside, pixels, lmax
        As for `segments_of`; there may be no pixels.

    Returns
    -------
    The segments, and ``(nsegment,)``, their numbers of pixels.
    """
    if guessed(nside, pixels.size, lmax).size:
        segments = segments_of(nside, pixels, lmax)
        sizes = np.array([each.size for each in segments])
        if affordable(sizes, nside=nside).all():
            return segments, sizes
    return [], pixels[:0]


class Segments:
    """The sum of the inverses of (Σ⁻¹)_hh of overlapping segments.

    Parameters
    ----------
    covariance
        Covariance of the map between the pixels of the holes.
    nside, pixels
        Nside of the map, and ``(n,)``, RING, these pixels.
    segments
        For each segment the indices of its pixels in ``pixels``; together they hold them all.
    threads, kept
        As for `HoleBlocks`.
    """

    def __init__(
        self,
        covariance: Covariance,
        nside: int,
        pixels: Pixels,
        segments: list[Pixels],
        *,
        threads: int = 0,
        kept: Kept | None = None,
    ) -> None:
        sphere, every = covariance.sphere, np.concatenate(segments)
        # Blocks of a vector in which each pixel stands once for every segment that it belongs to.
        cuts = np.cumsum([each.size for each in segments])[:-1]
        apart = np.split(np.arange(every.size), cuts)
        weights = sphere.array(covariance.weights)[every]
        kernel = Kernel(covariance, weights, nside, pixels[every], apart)
        self._blocks: HoleBlocks | DeviceBlocks
        if isinstance(sphere, DeviceSphere):
            self._blocks = DeviceBlocks(kernel, sphere)
        else:
            self._blocks = HoleBlocks(kernel, threads=threads, kept=kept)
        self._every = sphere.vector(every)
        order = np.argsort(every, kind="stable")
        times = np.bincount(every, minlength=pixels.size)
        first = np.cumsum(times) - times
        # The first place of each pixel, the second of those that have one, and so on: sums have one
        # order on every device.
        self._places = [
            (sphere.vector(having), sphere.vector(order[first[having] + k]))
            for k in range(int(times.max()))
            for having in [np.flatnonzero(times > k)]
        ]

    def apply(self, values: Vector) -> Vector:
        """Solve each segment for its part of ``values``, and add the solutions, ``(n,)``."""
        found, out = self._blocks.solve(values[self._every]), zeros_like(values)
        for having, places in self._places:
            out[having] += found[places]
        return out
