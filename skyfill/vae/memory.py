"""What filling tiles takes of memory: for the filler, and for who plans a fill without torch."""

from __future__ import annotations

__all__ = ["LEFT", "MOST", "MOST_CPU", "TORCH", "batch_bytes"]

#: Bytes for each pixel of a tile in work, as measured with the shipped network.
_PIXEL = 200
#: Tiles beyond which a batch gains nothing on a CPU: it leaves the caches, and is slower.
MOST_CPU = 64
#: The same on a GPU.
MOST = 1024
#: Bytes of torch itself.
TORCH = 0.34e9
#: Bytes that torch keeps when the tiles are done.
LEFT = 0.3e9


def batch_bytes(tiles: int, side: int) -> float:
    """Estimate what a batch of tiles takes, bytes, ``side`` pixels along each."""
    return float(_PIXEL * side**2 * tiles)
