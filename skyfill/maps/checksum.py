"""Compute the checksums of FITS files (standard, 4.4.2.7 and appendix J)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

import numpy as np

from skyfill.maps.hdu import Hdu, padded, pieces

__all__ = ["WordSum", "add_words", "is_right", "spell"]

_ONES = 0xFFFFFFFF


def is_right(stream: BinaryIO, hdu: Hdu) -> bool | None:
    """Tell whether an HDU agrees with its DATASUM and CHECKSUM; None if it has neither."""
    datasum, checksum = hdu.text("DATASUM"), hdu.text("CHECKSUM")
    if not datasum and not checksum:
        return None
    end = hdu.start + padded(hdu.size)
    total = add_words(pieces(stream, hdu.path, hdu.start, end))
    if datasum and datasum != str(total):
        return False
    if not checksum:
        return True
    head = pieces(stream, hdu.path, hdu.begin, hdu.start)
    return add_words(head, total) in (0, _ONES)


class WordSum:
    """Add big-endian 32-bit words in one's complement, piece by piece."""

    def __init__(self, total: int = 0) -> None:
        self.total = total
        self._at = 0

    def add(self, piece: bytes) -> None:
        """Add the next bytes."""
        # A word may be split between pieces: each piece is padded to its place within the word.
        before, after = self._at % 4, -(self._at + len(piece)) % 4
        whole = bytes(before) + piece + bytes(after) if before or after else piece
        self.total += int(np.frombuffer(whole, ">u4").sum(dtype=np.uint64))
        while self.total >> 32:
            self.total = (self.total & _ONES) + (self.total >> 32)
        self._at += len(piece)


def add_words(data: Iterable[bytes], total: int = 0) -> int:
    """Add the words of all pieces."""
    words = WordSum(total)
    for piece in data:
        words.add(piece)
    return words.total


def spell(checksum: int) -> str:
    """Write a checksum as 16 letters and digits (standard, appendix J.2)."""
    letters = np.zeros((4, 4), int)
    for i, byte in enumerate(checksum.to_bytes(4, "big")):
        quarter = np.full(4, byte // 4 + ord("0"))
        quarter[0] += byte % 4
        # Raise one of a pair and lower the other, which keeps the sum, until no punctuation is
        # left.
        while any(0x3A <= c <= 0x40 or 0x5B <= c <= 0x60 for c in quarter):
            for pair in (0, 2):
                if any(0x3A <= c <= 0x40 or 0x5B <= c <= 0x60 for c in quarter[pair : pair + 2]):
                    quarter[pair] += 1
                    quarter[pair + 1] -= 1
        letters[:, i] = quarter
    text = "".join(map(chr, letters.ravel()))
    return text[-1] + text[:-1]
