"""Number the chosen ones of many pixels, in three bits a pixel: where each stands in their list.

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

# All are uint64: numba turns what mixes uint64 and other integers into floats.
_ONE = np.uint64(1)
#: The bits of a pixel's number that say which bit of its word is its own.
_LOW = np.uint64(63)
#: Bits by which a pixel's number is shifted to give the number of its word.
_WORD = np.uint64(6)
#: Every second bit.
_PAIRS = np.uint64(0x5555555555555555)
#: The lower two of every four bits.
_FOURS = np.uint64(0x3333333333333333)
#: The lower four of every eight bits.
_BYTES = np.uint64(0x0F0F0F0F0F0F0F0F)
#: A product with it adds up all bytes in the highest one.
_SUM = np.uint64(0x0101010101010101)
_TWO = np.uint64(2)
_FOUR = np.uint64(4)
#: Shift that brings the highest byte down.
_HIGHEST = np.uint64(56)


class Ranks(NamedTuple):
    """Which pixels are chosen, and how many before each."""

    bits: NDArray[np.uint64]
    """(npix / 64,), a bit for each pixel, the lowest first."""
    before: NDArray[np.int32]
    """(npix / 64,), how many are chosen before the first pixel of a word."""


def ranks(flags: NDArray[np.bool_]) -> Ranks:
    """Give every True one of (n,) flags its number, in their order."""
    words = -(-flags.size // 64)
    bits, count = np.empty(words, np.uint64), np.empty(words, np.int32)
    _fill(np.ascontiguousarray(flags), bits, count)
    before = np.cumsum(count, dtype=np.int32)
    before -= count
    return Ranks(bits, before)


@compiled
def _count(word: np.uint64) -> int:
    """Count the bits of a word (Warren, Hacker's Delight, 5-1)."""
    word = word - ((word >> _ONE) & _PAIRS)
    word = (word & _FOURS) + ((word >> _TWO) & _FOURS)
    word = (word + (word >> _FOUR)) & _BYTES
    return int((word * _SUM) >> _HIGHEST)


@compiled
def chosen(bits: NDArray[np.uint64], pixel: int) -> bool:
    """Tell whether a pixel is chosen."""
    p = np.uint64(pixel)
    return bool((bits[p >> _WORD] >> (p & _LOW)) & _ONE != 0)


@compiled
def rank(bits: NDArray[np.uint64], before: NDArray[np.int32], pixel: int) -> int:
    """Tell where a pixel stands among the chosen ones; -1 where it is none of them."""
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
