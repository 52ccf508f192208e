"""What small files hold: their bytes, compressed or not, and their text in any usual encoding."""

from __future__ import annotations

import bz2
import codecs
import re
import zlib
from pathlib import Path

from skyfill.files.packing import expanded

__all__ = ["content", "text_of"]

#: Bytes. Tables of this package are far smaller; what is larger is no such table, or a gzip bomb.
_LARGEST = 1 << 30


def content(path: Path) -> bytes:
    """Read a whole file and undo gzip or bzip2.

    Raises
    ------
    ValueError
        It is damaged, or larger than any table that is meant.
    OSError
        It cannot be read.

    """
    with path.open("rb") as plain:
        stream = expanded(plain)
        try:
            data = stream.read(_LARGEST + 1)
        except (EOFError, zlib.error, OSError) as error:
            if stream is plain:
                raise
            kind = "bzip2" if isinstance(stream, bz2.BZ2File) else "gzip"
            raise ValueError(f"{path}: damaged or truncated {kind} file; fetch it again") from error
    if len(data) > _LARGEST:
        raise ValueError(f"{path}: more than {_LARGEST >> 20} MiB, so it is no such table")
    return data


def text_of(data: bytes) -> str | None:
    """Decode UTF-8, UTF-16 with its mark, or Latin-1; None for what is no text."""
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ("utf-16" if utf16 else "utf-8-sig", "latin-1"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        # Control characters are in no text; beyond ASCII they tell bytes from Latin-1.
        return None if re.search(r"[\x00-\x08\x0e-\x1a\x7f-\x84\x86-\x9f]", text) else text
    return None
