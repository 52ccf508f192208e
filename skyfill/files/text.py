"""Read small files: decompress them, and decode text in any usual encoding."""

from __future__ import annotations

import bz2
import codecs
import re
import zlib
from pathlib import Path

from skyfill.files.packing import expanded

__all__ = ["content", "text_of"]

#: Largest size in bytes after decompression. Spectra and catalogues are far smaller; a larger file
#: is something else or a decompression bomb.
_LARGEST = 1 << 30


def content(path: Path) -> bytes:
    """Read a whole file and undo gzip or bzip2.

    Raises
    ------
    ValueError
        The file is damaged, or too large for a table.
    OSError
        The file cannot be read.

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
        raise ValueError(f"{path}: more than {_LARGEST >> 20} MiB, too large for a table")
    return data


def text_of(data: bytes) -> str | None:
    """Decode UTF-8, UTF-16 with a byte-order mark, or Latin-1; None if the data are not text."""
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ("utf-16" if utf16 else "utf-8-sig", "latin-1"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        # Text has no control characters; those beyond ASCII distinguish bytes from Latin-1.
        return None if re.search(r"[\x00-\x08\x0e-\x1a\x7f-\x84\x86-\x9f]", text) else text
    return None
