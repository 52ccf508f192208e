"""Find the nearest pixel of another kind by passing it from neighbour to neighbour.

All indices are RING. The loop is serial, because each step depends on the one before, and its speed
is limited by memory access.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from skyfill.healpix.jit import compiled, inner
from skyfill.healpix.pixel import (
    neighbour_xyf,
    neighbours_ring,
    pix2zsphi_ring,
    ring2xyf,
    xyf2ring,
    xyf2zsphi,
)

__all__ = ["spread"]


@inner
def _begin(
    nside: int,
    inside: NDArray[np.bool_],
    chord: NDArray[np.float64],
    source: NDArray[np.int32],
    queue: NDArray[np.int32],
    queued: NDArray[np.bool_],
    around: NDArray[np.int64],
) -> int:
    """Make every pixel outside its own source, and queue those with neighbours inside.

    Neighbours are searched from the side that has fewer pixels; the queue is the same.
    """
    within = 0
    for p in range(inside.size):
        queued[p] = False
        source[p] = -1 if inside[p] else p
        chord[p] = np.inf if inside[p] else 0.0
        within += inside[p]
    fewer = 2 * within <= inside.size
    for p in range(inside.size):
        if inside[p] != fewer:
            continue
        neighbours_ring(nside, p, around)
        for k in range(8):
            q = around[k]
            if q >= 0 and inside[q] != fewer:
                queued[q if fewer else p] = True
    waiting = 0
    for p in range(inside.size):
        if queued[p]:
            queue[waiting] = p
            waiting += 1
    return waiting


@compiled
def spread(
    nside: int,
    inside: NDArray[np.bool_],
    limit: float,
    chord: NDArray[np.float64],
    source: NDArray[np.int32],
    queue: NDArray[np.int32],
    queued: NDArray[np.bool_],
    around: NDArray[np.int64],
) -> None:
    """Give every pixel inside its nearest pixel outside, from neighbour to neighbour.

    A pixel that gets a nearer source passes it on, in the order of the queue, until no pixel
    changes.

    ``chord`` gets squared chords, up to ``limit`` (infinite beyond, 0 outside); ``source`` the
    pixels at their other ends; ``queue`` is a ring buffer with one place for each pixel inside or
    touching the inside, ``queued`` marks the pixels in it.
    """
    head = 0
    waiting = _begin(nside, inside, chord, source, queue, queued, around)
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
