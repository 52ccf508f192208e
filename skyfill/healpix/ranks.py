"""Number the chosen pixels of a map, in less than three bits a pixel.

A table of places takes 32 bits a pixel, which at Nside 8192 are three gigabytes. Here a pixel has
one bit, and every 64 of them the count of those before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import prange

from skyfill.healpix.jit import compiled, parallel

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Ranks", "chosen", "rank", "ranks"]

_ONE, _LOW, _WORD = np.uint64(1), np.uint64(63), np.uint64(6)
_M1, _M2 = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
_M4, _SUM = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)
_S1, _S2, _S4, _S56 = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(56)


class Ranks(NamedTuple):
    """Which pixels are chosen, and how many before each."""

    bits: NDArray[np.uint64]
    """(npix / 64,), a bit for each pixel, the lowest first."""
    before: NDArray[np.int32]
    """(npix / 64,), how many are chosen before the first pixel of a word."""


def ranks(flags: NDArray[np.bool_]) -> Ranks:
    """Give numbers to the true entries of ``(n,)`` flags, in order."""
    words = -(-flags.size // 64)
    bits, count = np.empty(words, np.uint64), np.empty(words, np.int32)
    _fill(np.ascontiguousarray(flags), bits, count)
    before = np.cumsum(count, dtype=np.int32)
    before -= count
    return Ranks(bits, before)


@compiled
def _count(word: np.uint64) -> int:
    """Count the bits of a word (Warren, Hacker's Delight, 5-1)."""
    word = word - ((word >> _S1) & _M1)
    word = (word & _M2) + ((word >> _S2) & _M2)
    word = (word + (word >> _S4)) & _M4
    return int((word * _SUM) >> _S56)


@compiled
def chosen(bits: NDArray[np.uint64], pixel: int) -> bool:
    """Tell whether a pixel is chosen."""
    p = np.uint64(pixel)
    return bool((bits[p >> _WORD] >> (p & _LOW)) & _ONE != 0)


@compiled
def rank(bits: NDArray[np.uint64], before: NDArray[np.int32], pixel: int) -> int:
    """Give the number of a pixel among the chosen ones, -1 if it is not chosen."""
    p = np.uint64(pixel)
    word = bits[p >> _WORD]
    one = _ONE << (p & _LOW)
    if not word & one:
        return -1
    return int(before[p >> _WORD]) + _count(word & (one - _ONE))


@parallel
def _fill(flags: NDArray[np.bool_], bits: NDArray[np.uint64], count: NDArray[np.int32]) -> None:
    for w in prange(bits.size):
        word = np.uint64(0)
        first = 64 * int(np.int64(w))
        for k in range(min(64, flags.size - first)):
            if flags[first + k]:
                word |= _ONE << np.uint64(k)
        bits[w] = word
        count[w] = _count(word)
