"""Find the nearest pixel of another kind by passing it from neighbour to neighbour.

All indices are RING. The loop is serial, because each step depends on the one before, and its speed
is limited by memory access.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from skyfill.healpix.jit import compiled
from skyfill.healpix.pixel import (
    neighbour_xyf,
    neighbours_ring,
    pix2zsphi_ring,
    ring2xyf,
    xyf2ring,
    xyf2zsphi,
)

__all__ = ["spread"]


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
    around = np.empty(8, np.int64)
    # Neighbours are searched from the side that has fewer pixels; the queue is the same.
    fewer = bool(2 * np.count_nonzero(inside) <= inside.size)
    _mark(nside, inside, fewer, queued, around)
    first = np.flatnonzero(queued)
    queue = np.empty(inside.size, np.int32)
    queue[: first.size] = first
    _spread(nside, inside, limit, chord, source, queue, queued, first.size)
    return chord


@compiled
def _mark(
    nside: int,
    inside: NDArray[np.bool_],
    fewer: bool,
    queued: NDArray[np.bool_],
    around: NDArray[np.int64],
) -> None:
    """Mark the pixels outside with neighbours inside; ``fewer`` says which side is searched."""
    for p in range(inside.size):
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
) -> None:
    """Pass sources on, in the order of the queue, until no pixel changes.

    A pixel that gets a nearer source passes it on. ``chord`` has squared chords, ``source`` the
    pixels at their other ends; ``queue`` is a ring buffer with one place for each pixel, of which
    the first ``waiting`` are in use, and ``queued`` marks the pixels in it.
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
