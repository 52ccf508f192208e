"""Find the nearest pixel of another kind by passing it from neighbour to neighbour.

All indices are RING. Each step depends on the one before, so quarters of the base pixels are done
in several threads, each to its end, and what crosses their borders is passed on afterwards.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from skyfill.healpix.jit import by_parts, compiled
from skyfill.healpix.pixel import (
    neighbour_xyf,
    neighbours_ring,
    pix2zsphi_ring,
    ring2xyf,
    xyf2ring,
    xyf2zsphi,
)

__all__ = ["spread"]

#: Quarters of the base pixels, 0 to 47. Neighbours in this list are of different latitudes, so
#: threads share a hole along the equator.
_ORDER = [4 * (face + 4 * row) + part for part in range(4) for face in range(4) for row in range(3)]
#: Pixels below which one thread is quicker.
_FEW = 2**16


def spread(nside: int, inside: NDArray[np.bool_], limit: float) -> NDArray[np.float64]:
    """Give every pixel inside its nearest pixel outside, from neighbour to neighbour.

    Parameters
    ----------
    nside
        Resolution.
    inside
        ``(npix,)``, RING.
    limit
        Largest squared chord.

    Returns
    -------
    ``(npix,)``, squared chord to the nearest pixel outside; infinite beyond the limit, 0 outside.
    """
    chord = np.where(inside, np.inf, 0.0)
    source = np.arange(inside.size, dtype=np.int32)
    source[inside] = -1
    queued = np.zeros(inside.size, np.bool_)
    # Neighbours are searched from the side that has fewer pixels; the queue is the same.
    fewer = bool(2 * np.count_nonzero(inside) <= inside.size)

    def mark(part: slice) -> None:
        _mark(nside, inside, fewer, queued, np.empty(8, np.int64), part.start, part.stop)

    by_parts(inside.size, mark, least=_FEW)
    first = np.flatnonzero(queued).astype(np.int32)
    crossing = np.zeros(inside.size, np.bool_)
    quarter = _quarters(nside, first, np.empty(first.size, np.int8))
    begun = [first[quarter == each] for each in _ORDER]

    def within(part: slice) -> None:
        for each, some in zip(_ORDER[part], begun[part], strict=True):
            _pass_on(nside, inside, limit, chord, source, queued, some, each, crossing)

    by_parts(len(_ORDER), within, least=1 if inside.size >= _FEW else len(_ORDER))
    rest = np.flatnonzero(crossing).astype(np.int32)
    queued[rest] = True
    _pass_on(nside, inside, limit, chord, source, queued, rest, -1, crossing)
    return chord


def _pass_on(
    nside: int,
    inside: NDArray[np.bool_],
    limit: float,
    chord: NDArray[np.float64],
    source: NDArray[np.int32],
    queued: NDArray[np.bool_],
    first: NDArray[np.int32],
    quarter: int,
    crossing: NDArray[np.bool_],
) -> None:
    """Pass sources on within a quarter of a base pixel, or everywhere (-1), from `first` on."""
    # A queue has one place for each pixel that can be in it.
    queue = np.empty(inside.size if quarter < 0 else ((nside + 1) // 2) ** 2, np.int32)
    queue[: first.size] = first
    _spread(
        *(nside, inside, limit, chord, source, queue, queued, first.size),
        *(quarter, crossing),
    )


@compiled
def _quarters(nside: int, pixels: NDArray[np.int32], out: NDArray[np.int8]) -> NDArray[np.int8]:
    """Give the quarter of a base pixel in which each pixel lies, 0 to 47."""
    for k in range(pixels.size):
        face, x, y = ring2xyf(nside, int(np.int64(pixels[k])))
        out[k] = 4 * face + 2 * (2 * x >= nside) + (2 * y >= nside)
    return out


@compiled
def _mark(
    nside: int,
    inside: NDArray[np.bool_],
    fewer: bool,
    queued: NDArray[np.bool_],
    around: NDArray[np.int64],
    start: int,
    stop: int,
) -> None:
    """Mark the pixels outside with neighbours inside; ``fewer`` says which side is searched."""
    for p in range(start, stop):
        if inside[p] != fewer:
            continue
        neighbours_ring(nside, p, around)
        for k in range(8):
            q = around[k]
            if q >= 0 and inside[q] != fewer:
                queued[q if fewer else p] = True


@compiled
def _spread(
    nside: int,
    inside: NDArray[np.bool_],
    limit: float,
    chord: NDArray[np.float64],
    source: NDArray[np.int32],
    queue: NDArray[np.int32],
    queued: NDArray[np.bool_],
    waiting: int,
    quarter: int,
    crossing: NDArray[np.bool_],
) -> None:
    """Pass sources on, in the order of the queue, until no pixel changes.

    A source stays in its ``quarter``, and pixels from which one would leave are marked in
    ``crossing``; with -1 it goes everywhere. A pixel that gets a nearer source passes it on.
    ``chord`` has squared chords, ``source`` the pixels at their other ends. ``queue`` is a ring
    buffer with one place for each pixel, of which the first ``waiting`` are in use, and ``queued``
    marks the pixels in it.
    """
    head = 0
    while waiting:
        p = int(np.int64(queue[head]))  # int64: kernels for pixels are compiled once
        head = head + 1 if head + 1 < queue.size else 0
        waiting -= 1
        queued[p] = False
        w, t, psi = pix2zsphi_ring(nside, int(np.int64(source[p])))
        face, x, y = ring2xyf(nside, p)
        for k in range(8):
            f, i, j = neighbour_xyf(nside, face, x, y, k)
            if f < 0:
                continue
            q = xyf2ring(nside, f, i, j)
            if quarter >= 0 and quarter != 4 * f + 2 * (2 * i >= nside) + (2 * j >= nside):
                crossing[p] = crossing[p] or inside[q]
                continue
            if not inside[q] or source[q] == source[p]:
                continue
            z, s, phi = xyf2zsphi(nside, f, i, j)
            turn = math.sin(0.5 * (phi - psi))
            new = (z - w) ** 2 + (s - t) ** 2 + 4.0 * s * t * turn * turn
            if new < chord[q] and new <= limit:
                chord[q] = new
                source[q] = source[p]
                if not queued[q]:
                    place = head + waiting
                    queue[place if place < queue.size else place - queue.size] = q
                    queued[q] = True
                    waiting += 1
