"""What small files hold: their bytes, gzipped or not, and their text in any usual encoding."""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from pathlib import Path

__all__ = ["content", "text_of"]

#: Bytes. Tables of this package are far smaller; what is larger is no such table, or a gzip bomb.
_LARGEST = 1 << 30


def content(path: Path) -> bytes:
    """Read a whole file and undo gzip.

    Raises
    ------
    ValueError
        It is damaged, or larger than any table that is meant.
    OSError
        It cannot be read.

    """
    with path.open("rb") as plain:
        packed = plain.read(2) == b"\x1f\x8b"
        plain.seek(0)
        stream = gzip.GzipFile(fileobj=plain) if packed else plain
        try:
            data = stream.read(_LARGEST + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path}: damaged or truncated gzip file; fetch it again") from error
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
