"""Sets of pixels as runs along rings: connected regions, their positions and sizes.

Holes and observed regions consist of long runs of consecutive pixels on each ring. There are about
a hundred times fewer runs than pixels, so that regions are found without visiting every pixel. All
indices are RING. Two pixels are connected if they share a side or a corner.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from skyfill.healpix import neighbours
from skyfill.healpix.grid import ring_pixels
from skyfill.healpix.jit import compiled, inner
from skyfill.healpix.pixel import (
    TWO_PI,
    neighbours_ring,
    pix2zsphi_ring,
    ring2xyf,
    ring_start,
    xyf2ring,
)
from skyfill.healpix.stokes import nside_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Indices = NDArray[np.int32]
    Integers = NDArray[np.int64]

__all__ = ["Runs"]

#: Pixels read at a time.
_AT_ONCE = 2**22
#: Pixels at each end of a run that are examined one by one, and length up to which all pixels of a
#: run are. Only the last pixels of a ring touch its beginning, and at most two in a row lack a
#: neighbour.
_END = 4


@dataclass(frozen=True, eq=False)
class Runs:
    """A set of pixels.

    Attributes
    ----------
    nside
        Resolution.
    first, stop
        ``(n,)``: the first pixel of each run, and the pixel after its last, ascending. A run ends
        at the end of its ring.
    begin
        ``(4 nside + 1,)``: the first run of each ring, from 1; the last is their number.
    """

    nside: int
    first: Indices
    stop: Indices
    begin: Integers

    @classmethod
    def of(cls, flags: Flags, value: bool = True) -> Runs:
        """Find the runs of the pixels of a map, ``(npix,)``, that have a given value."""
        nside = nside_of(flags, "flags")
        edges = [np.zeros(int(bool(flags[0]) == value), np.int64)]
        for start in range(0, flags.size, _AT_ONCE):
            part = flags[max(start - 1, 0) : start + _AT_ONCE]
            edges.append(np.flatnonzero(part[1:] != part[:-1]) + (max(start - 1, 0) + 1))
        edges.append(np.full(int(bool(flags[-1]) == value), flags.size))
        bounds = np.concatenate(edges)
        rings = np.append(ring_pixels(nside)[0, 1:], flags.size)
        # Rings that begin within a run cut it.
        before = np.searchsorted(bounds, rings, side="right")
        within = before % 2 == 1
        within[within] = bounds[before[within] - 1] < rings[within]
        cuts = rings[within]
        place = np.searchsorted(bounds[::2], cuts)
        first = np.insert(bounds[::2], place, cuts)
        stop = np.insert(bounds[1::2], place - 1, cuts)
        begin = np.append(0, np.searchsorted(first, rings))
        return cls(nside, first.astype(np.int32), stop.astype(np.int32), begin)

    @property
    def sizes(self) -> Integers:
        """``(n,)``, number of pixels of each run."""
        return (self.stop - self.first).astype(np.int64)

    @cached_property
    def regions(self) -> tuple[Indices, Integers]:
        """Connected regions, numbered by their first pixels.

        Returns the region of each run, ``(n,)``, and the number of pixels of each region,
        ``(nregion,)``.
        """
        labels = np.empty(self.first.size, np.int32)
        around = np.empty(8, np.int64)
        count = _label(self.nside, self.first, self.stop, self.begin, labels, around)
        sizes = np.bincount(labels, self.sizes, minlength=count)
        return labels, sizes.astype(np.int64)

    def discs(self) -> tuple[Floats, Floats]:
        """Find the centres and the radii of connected regions.

        Returns
        -------
        centres
            ``(nregion, 3)``, unit vectors: the mean direction of the pixels; zero if it is
            undefined.
        chords
            ``(nregion,)``, chord from the centre to the centre of the farthest pixel.
        """
        labels, sizes = self.regions
        centres, chords = np.zeros((sizes.size, 3)), np.zeros(sizes.size)
        runs = self.nside, self.first, self.stop, self.begin, labels
        _add_directions(*runs, centres)
        centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-300)
        _reach(*runs, centres, chords)
        return centres, np.sqrt(chords)

    def paint(self, values: NDArray[Any], out: NDArray[Any]) -> None:
        """Write a value for each run, ``(n,)``, into a map."""
        _paint(self.first, self.stop, values, out)

    def some(self, which: Flags) -> Runs:
        """Select some of the runs."""
        begin = np.append(0, np.cumsum(which))[self.begin]
        return Runs(self.nside, self.first[which], self.stop[which], begin)

    def pixels(self) -> Integers:
        """List the pixels, ascending."""
        sizes = self.sizes
        pixels = np.arange(sizes.sum())
        pixels += np.repeat(self.first - np.append(0, np.cumsum(sizes))[:-1], sizes)
        return pixels

    def touching(self, other: Runs) -> tuple[Indices, Indices]:
        """Find the regions of this set that touch regions of another, disjoint set.

        If two runs touch, an end of one lies beside the other, so that only ends are examined.

        Returns
        -------
        ``(n,)`` each: region numbers in this set and in the other, as in `regions`; each pair once.
        """
        here, there = self._beside(other)
        back, forth = other._beside(self)
        pairs = np.unique(
            np.stack([np.concatenate([here, forth]), np.concatenate([there, back])]), axis=1
        )
        return pairs[0], pairs[1]

    def _beside(self, other: Runs) -> tuple[Indices, Indices]:
        """Give the regions of both sets that touch at the ends of runs of this set."""
        mine, theirs = self.regions[0], other.regions[0]
        if not mine.size or not theirs.size:
            return mine[:0], theirs[:0]
        found = []
        for ends in (self.first, self.stop - 1):
            around = neighbours(self.nside, ends)
            run = np.searchsorted(other.first, around.ravel(), side="right") - 1
            inside = (run >= 0) & (around.ravel() < other.stop[run])
            found.append((np.repeat(mine, 8)[inside], theirs[run[inside]]))
        return np.concatenate([a for a, _ in found]), np.concatenate([b for _, b in found])

    def degraded(self, nside: int) -> Runs:
        """Find the pixels of a lower resolution that contain a pixel of this set."""
        runs = self
        while runs.nside > nside:
            flags = np.zeros(3 * runs.nside**2, np.bool_)
            _halve(runs.nside, runs.first, runs.stop, runs.begin, flags)
            runs = Runs.of(flags)
        return runs


@inner
def _root(parent: Indices, i: int) -> int:
    """Find the representative of a run's set, halving the path to it."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@inner
def _meet(
    i: int,
    pixels: tuple[int, int],
    runs: tuple[int, int],
    first: Indices,
    stop: Indices,
    parent: Indices,
) -> None:
    """Join a run with all runs of a range that contain a pixel of an interval."""
    low, high = runs
    while low < high:
        middle = (low + high) // 2
        if stop[middle] <= pixels[0]:
            low = middle + 1
        else:
            high = middle
    while low < runs[1] and first[low] <= pixels[1]:
        mine, other = _root(parent, i), _root(parent, low)
        parent[max(mine, other)] = min(mine, other)
        low += 1


@compiled
def _label(
    nside: int, first: Indices, stop: Indices, begin: Integers, parent: Indices, around: Integers
) -> int:
    """Label connected regions, numbered by their first runs, and count them.

    This is union-find. Sets are joined to the one with the smaller representative, so that a parent
    always precedes its children. ``parent`` is overwritten with the labels; ``around`` is work
    space for eight pixels.
    """
    for ring in range(1, 4 * nside):
        start, length, _ = ring_start(nside, ring)
        for i in range(begin[ring], begin[ring + 1]):
            parent[i] = i
            low = int(np.int64(first[i]))  # int64: kernels for pixels are compiled once
            while low < stop[i]:
                high = int(np.int64(stop[i]))
                # In the southern cap the neighbours two rings above have gaps between faces.
                if ring > 3 * nside:
                    quarter = length >> 2
                    high = min(high, start + ((low - start) // quarter + 1) * quarter)
                _join_above(nside, ring, i, (low, high), first, stop, begin, parent, around)
                low = high
    count = 0
    for i in range(first.size):
        if parent[i] == i:
            parent[i] = count
            count += 1
        else:
            parent[i] = parent[parent[i]]  # the parent precedes it and has its label already
    return count


@inner
def _join_above(
    nside: int,
    ring: int,
    i: int,
    piece: tuple[int, int],
    first: Indices,
    stop: Indices,
    begin: Integers,
    parent: Indices,
    around: Integers,
) -> None:
    """Join a run with earlier runs that a piece of it touches.

    The inner pixels of a long piece touch one interval on each of the two rings above.
    """
    start, _, _ = ring_start(nside, ring)
    above, _, _ = ring_start(nside, max(ring - 1, 1))
    low, high = piece
    long = high - low > 2 * _END
    none = min(start, 0) - 1  # -1, not a literal, of which `_meet` would be compiled again
    near, far = (start, none), (start, none)
    for k in range(2 * _END if long else high - low):
        p = high - 2 * _END + k if long and k >= _END else low + k
        neighbours_ring(nside, p, around)
        inner = long and 0 < k < 2 * _END - 1
        for m in range(8):
            q = around[m]
            if q < 0 or q >= first[i]:
                continue
            if q >= start:
                _meet(i, (q, q), (begin[ring], i), first, stop, parent)
            elif q >= above:
                _meet(i, (q, q), (begin[ring - 1], begin[ring]), first, stop, parent)
                near = (min(near[0], q), max(near[1], q)) if inner else near
            else:
                _meet(i, (q, q), (begin[ring - 2], begin[ring - 1]), first, stop, parent)
                far = (min(far[0], q), max(far[1], q)) if inner else far
    if near[1] >= 0:
        _meet(i, near, (begin[ring - 1], begin[ring]), first, stop, parent)
    if far[1] >= 0:
        _meet(i, far, (begin[ring - 2], begin[ring - 1]), first, stop, parent)


@compiled
def _add_directions(
    nside: int, first: Indices, stop: Indices, begin: Integers, labels: Indices, total: Floats
) -> None:
    """Add up the directions of the pixels of each region.

    The sum of n phases at equal steps d is the middle one times sin(n d / 2) / sin(d / 2).
    """
    for ring in range(1, 4 * nside):
        _, length, _ = ring_start(nside, ring)
        half = 0.5 * TWO_PI / length
        for i in range(begin[ring], begin[ring + 1]):
            z, s, phi = pix2zsphi_ring(nside, int(np.int64(first[i])))
            n = stop[i] - first[i]
            s *= math.sin(n * half) / math.sin(half)
            phi += (n - 1) * half
            total[labels[i], 0] += s * math.cos(phi)
            total[labels[i], 1] += s * math.sin(phi)
            total[labels[i], 2] += n * z


@compiled
def _reach(
    nside: int,
    first: Indices,
    stop: Indices,
    begin: Integers,
    labels: Indices,
    centres: Floats,
    chords: Floats,
) -> None:
    """Find the largest squared chord from the centre of each region to its pixels.

    Along a run the maximum is at an end, or where the run crosses the opposite meridian.
    """
    for ring in range(1, 4 * nside):
        _, length, _ = ring_start(nside, ring)
        for i in range(begin[ring], begin[ring + 1]):
            x, y, w = centres[labels[i], 0], centres[labels[i], 1], centres[labels[i], 2]
            t, psi = math.hypot(x, y), math.atan2(y, x)
            z, s, phi = pix2zsphi_ring(nside, int(np.int64(first[i])))
            beyond = (psi + 0.5 * TWO_PI - phi) * (length / TWO_PI)
            beyond -= length * math.floor(beyond / length)
            n = stop[i] - first[i]
            opposite = min(int(beyond), n - 1)
            sine = 0.0
            for k in (0, opposite, min(opposite + 1, n - 1), n - 1):
                sine = max(sine, abs(math.sin(0.5 * (phi + k * (TWO_PI / length) - psi))))
            chord = (z - w) ** 2 + (s - t) ** 2 + 4.0 * s * t * sine * sine
            chords[labels[i]] = max(chords[labels[i]], chord)


@compiled
def _paint(first: Indices, stop: Indices, values: NDArray[Any], out: NDArray[Any]) -> None:
    """Write each run's value into its pixels."""
    for i in range(first.size):
        for p in range(first[i], stop[i]):
            out[p] = values[i]


@compiled
def _parent(nside: int, p: int) -> int:
    """Find the pixel of half the resolution that contains a pixel."""
    face, x, y = ring2xyf(nside, int(np.int64(p)))
    return xyf2ring(nside // 2, face, x >> 1, y >> 1)


@compiled
def _halve(nside: int, first: Indices, stop: Indices, begin: Integers, out: Flags) -> None:
    """Flag the pixels of half the resolution that contain one of these pixels.

    The pixels of a run lie in one or two coarser rings, consecutively in each. The ends are flagged
    separately, because the coarser ring may begin at another longitude.
    """
    for ring in range(1, 4 * nside):
        below, _, _ = ring_start(nside // 2, (ring + 1) // 2)
        for i in range(begin[ring], begin[ring + 1]):
            last = stop[i] - first[i] - 1
            out[_parent(nside, first[i])] = True
            out[_parent(nside, first[i] + last)] = True
            upper, lower = (below, -1), (out.size, -1)
            for k in range(1, min(2 * _END, last)):
                p = first[i] + (k if k < _END or last <= 2 * _END else last - 2 * _END + k)
                q = _parent(nside, p)
                if q < below:
                    upper = (min(upper[0], q), max(upper[1], q))
                else:
                    lower = (min(lower[0], q), max(lower[1], q))
            for q in range(upper[0], upper[1] + 1):
                out[q] = True
            for q in range(lower[0], lower[1] + 1):
                out[q] = True
