"""Memory needed to fill tiles; without torch, so that a plan can use it."""

from __future__ import annotations

__all__ = ["LEFT", "MOST", "MOST_CPU", "TORCH", "batch_bytes"]

#: Bytes per pixel of a tile while it is filled, measured with the shipped network.
_PIXEL = 200
#: Largest useful batch on a CPU: larger ones do not fit into the caches and are slower.
MOST_CPU = 64
#: Largest useful batch on a GPU.
MOST = 1024
#: Memory of torch itself, bytes.
TORCH = 0.34e9
#: Memory that torch keeps after the tiles are filled, bytes.
LEFT = 0.3e9


def batch_bytes(tiles: int, side: int) -> float:
    """Estimate the memory of a batch of tiles of ``side``² pixels, bytes."""
    return float(_PIXEL * side**2 * tiles)
