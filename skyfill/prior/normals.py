"""Draw one long stream of normal numbers on several threads, bit by bit as one thread draws it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

__all__ = ["normal_array", "normal_numbers"]

Numbers = NDArray[np.float64]

#: Raw numbers between the starts of two pieces: 10 ms of work, and 8 MB.
_APART = 2**20
#: Raw numbers that a normal number takes on average (numpy's ziggurat, measured on 2e7).
_RAW = 1.0221
#: Normal numbers by which a piece reaches into the next: over ten standard deviations of the
#: raw numbers that it takes, and some more.
_BEYOND = 4096
#: Numbers that a piece skips: it may begin within a normal number of the stream that took several
#: raw ones. After a few numbers both walk through the same raw numbers.
_SETTLED = 64
#: Numbers of two pieces that must agree where they are joined; chance makes 2 agree in 1e15 tries.
_ALIKE = 16
#: Numbers that are drawn at a time on one thread.
_AT_ONCE = 2**22


def normal_numbers(
    seed: np.random.SeedSequence, count: int, *, threads: int = 0
) -> Iterator[Numbers]:
    """Give the normal numbers of ``default_rng(seed)``, in order, in parts of any size.

    A normal number takes one raw number of the stream, or rarely several, so no place in the stream
    is known before all numbers before it are drawn. But each thread can begin anywhere: after a few
    numbers its normal numbers are those of the whole stream. Pieces are joined where their numbers
    agree, so the result is that of one thread, for any number of threads.

    Parameters
    ----------
    seed
        Seed of the stream.
    count
        Number of normal numbers in all.
    threads
        Number of threads; 0 for all cores.
    """
    threads = threads or _cores()
    if threads == 1 or count * _RAW < 2 * _APART:
        random = np.random.default_rng(seed)
        for start in range(0, count, _AT_ONCE):
            yield random.standard_normal(min(_AT_ONCE, count - start))
        return
    number = int(count * _RAW) // _APART + 1
    coming: deque[Future[_Piece]] = deque()
    asked, skipped, left = 0, 0, count
    with ThreadPoolExecutor(threads) as pool:
        while left:
            while asked < number and len(coming) <= threads:
                coming.append(pool.submit(_Piece, seed, asked * _APART))
                asked += 1
            piece = coming.popleft().result()
            if coming:
                stop = piece.joined(coming[0].result(), skipped + left)
            else:
                stop = piece.reaching(skipped + left)
            part = piece.numbers[skipped:stop][:left]
            skipped, left = _SETTLED, left - part.size
            yield part


def normal_array(
    seed: np.random.SeedSequence, shape: tuple[int, ...], *, threads: int = 0
) -> Numbers:
    """Give the array ``default_rng(seed).standard_normal(shape)``, see `normal_numbers`."""
    out = np.empty(shape)
    flat, start = out.reshape(-1), 0
    for part in normal_numbers(seed, flat.size, threads=threads):
        flat[start : start + part.size] = part
        start += part.size
    return out


class _Piece:
    """Normal numbers from some raw number of a stream on."""

    def __init__(self, seed: np.random.SeedSequence, start: int) -> None:
        bits = np.random.PCG64(seed)
        bits.advance(start)
        self._random = np.random.Generator(bits)
        self.numbers = self._random.standard_normal(int(_APART / _RAW) + _BEYOND)

    def reaching(self, count: int) -> int:
        """Draw more numbers if there are fewer; return how many there shall be."""
        if count > self.numbers.size:
            self.extend(count - self.numbers.size)
        return count

    def extend(self, count: int) -> None:
        """Draw more numbers."""
        self.numbers = np.concatenate([self.numbers, self._random.standard_normal(count)])

    def joined(self, following: _Piece, most: int) -> int:
        """Find the place of the following piece's number `_SETTLED`, drawing more if needed.

        ``most`` is returned if it is not among so many numbers.
        """
        wanted = following.numbers[_SETTLED : _SETTLED + _ALIKE]
        begin, known = max(self.numbers.size - 3 * _BEYOND, 0), False
        while True:
            for at in np.flatnonzero(self.numbers[begin:] == wanted[0]) + begin:
                if np.array_equal(self.numbers[at : at + _ALIKE], wanted):
                    return int(at)
            if begin and not known:  # this piece is longer than expected
                begin = 0
                continue
            if self.numbers.size >= most:
                return most
            begin, known = self.numbers.size - _ALIKE, True
            self.extend(_BEYOND)


def _cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
