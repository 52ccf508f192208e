"""Add up the checksums of FITS files (standard, 4.4.2.7 and appendix J)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

import numpy as np

from skyfill._fits import Hdu, padded, pieces

__all__ = ["add_words", "is_right", "spell"]

_ONES = 0xFFFFFFFF


def is_right(stream: BinaryIO, hdu: Hdu) -> bool | None:
    """Tell whether an HDU adds up to its DATASUM and CHECKSUM; None where it has neither."""
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


def add_words(data: Iterable[bytes], total: int = 0) -> int:
    """Add big-endian 32-bit words in one's complement."""
    at = 0
    for piece in data:
        # A sum does not mind in how many pieces a word comes, if each stands in its place.
        words = np.frombuffer(bytes(at % 4) + piece + bytes(-(at + len(piece)) % 4), ">u4")
        total += int(words.sum(dtype=np.uint64))
        at += len(piece)
    while total >> 32:
        total = (total & _ONES) + (total >> 32)
    return total


def spell(checksum: int) -> str:
    """Write a checksum as 16 letters and digits (standard, appendix J.2)."""
    letters = np.zeros((4, 4), int)
    for i, byte in enumerate(checksum.to_bytes(4, "big")):
        quarter = np.full(4, byte // 4 + ord("0"))
        quarter[0] += byte % 4
        # Move pairs apart, which keeps their sum, until no punctuation is left.
        while any(0x3A <= c <= 0x40 or 0x5B <= c <= 0x60 for c in quarter):
            for pair in (0, 2):
                if any(0x3A <= c <= 0x40 or 0x5B <= c <= 0x60 for c in quarter[pair : pair + 2]):
                    quarter[pair] += 1
                    quarter[pair + 1] -= 1
        letters[:, i] = quarter
    text = "".join(map(chr, letters.ravel()))
    return text[-1] + text[:-1]
