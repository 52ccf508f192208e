"""What an exact fill takes of memory: one law, for those who tell it and for those who refuse."""

from __future__ import annotations

import math
import os

import numpy as np
from numpy.typing import NDArray

__all__ = ["block_bytes", "check_memory", "fits", "polish_bytes", "solve_bytes", "wide_bytes"]

#: Bytes for each pixel of the map and for each hole pixel: of a solve, of it while blocks are made,
#: and of polish of small holes. Measured (docs/measured.md, "Memory") at Nside 512 to 2048, with 1%
#: to 55% in holes, of polish to 4096.
_SOLVE, _MAKING, _POLISH = (82.0, 165.0), (66.0, 66.0), (33.0, 16.0)
#: The same of polish of wide holes, measured at Nside 1024 and 2048 with 5% to 57% in holes.
_WIDE = (32.0, 140.0)
#: Bytes of a solve that do not grow with the map.
_FIXED = 0.06e9
#: Bytes of a block of n hole pixels, over n², and while the largest is made.
_BLOCK, _LARGEST = 2.0, 10.0
#: What is refused would take more than the machine has, were it so many times the law: the rest is
#: for the program, for what the law leaves out, and for the system.
_MARGIN = 1.25


def solve_bytes(nside: int, holes: int, blocks: NDArray[np.int64]) -> float:
    """Estimate the peak of a solve, bytes, the program's own apart.

    Parameters
    ----------
    nside
        Resolution.
    holes
        Pixels in all holes.
    blocks
        ``(n,)``, pixels of each hole that gets a block, see `skyfill.gaussian.blocks.affordable`.
    """
    solve, making = (pixel * 12 * nside**2 + hole * holes for pixel, hole in (_SOLVE, _MAKING))
    kept, largest = block_bytes(blocks)
    return _FIXED + kept + max(solve, making + largest)


def polish_bytes(nside: int, holes: int, blocks: NDArray[np.int64]) -> float:
    """Estimate the peak of polish of small holes alone, bytes, as `solve_bytes` does."""
    return _POLISH[0] * 12 * nside**2 + _POLISH[1] * holes + sum(block_bytes(blocks))


def wide_bytes(nside: int, holes: int, blocks: NDArray[np.int64]) -> float:
    """Estimate the peak of polish of wide holes alone, bytes, as `solve_bytes` does."""
    return _WIDE[0] * 12 * nside**2 + _WIDE[1] * holes + sum(block_bytes(blocks))


def block_bytes(blocks: NDArray[np.int64]) -> tuple[float, float]:
    """Give what all blocks take, and the largest while it is made."""
    n = blocks.astype(np.float64)
    return _BLOCK * float(n @ n), _LARGEST * float(n.max(initial=0.0)) ** 2


def check_memory(nside: int, holes: int, blocks: NDArray[np.int64], *, only: str | None) -> None:
    """Refuse what would end in the operating system's killing us, hours later.

    Raises
    ------
    MemoryError
        The machine has less than the law and a quarter of it.
    """
    law = {None: solve_bytes, "small": polish_bytes, "wide": wide_bytes}[only]
    need = _MARGIN * law(nside, holes, blocks)
    have = _machine_memory()
    if need > have:
        raise MemoryError(
            f"an exact fill of {holes} pixels at Nside {nside} takes up to {need / 2**30:.0f} GiB, "
            f"this machine has {have / 2**30:.0f}: use `method='vae'`, or lower the resolution"
        )


def fits(nside: int, holes: int) -> bool:
    """Tell whether this machine could polish a map with so many hole pixels, blocks apart."""
    return _MARGIN * polish_bytes(nside, holes, np.empty(0, np.int64)) <= _machine_memory()


def _machine_memory() -> float:
    """Give the bytes of memory there are; infinite where the system does not tell."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return math.inf
