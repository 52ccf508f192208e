"""Open compressed files, and recognise files that are not FITS."""

from __future__ import annotations

import bz2
import gzip
import re
from typing import BinaryIO, cast

__all__ = ["expanded", "is_packed", "kind_of", "most_packed"]

#: Largest expansion: 1032 for deflate; bzip2 packs a block of 46 MB of zeros into about 40 bytes.
_MOST: dict[type, int] = {gzip.GzipFile: 1032, bz2.BZ2File: 1 << 21}

_REPACK = "expand it first"
_CONVERT = "read it with its own program and write it with healpy.write_map"
_KINDS = (
    # offset of the mark, the mark, kind of file, what to do
    (0, rb"\xfd7zXZ\x00", "an xz file", f"{_REPACK}: xz -dk FILE"),
    (0, rb"\x28\xb5\x2f\xfd", "a Zstandard file", f"{_REPACK}: zstd -d FILE"),
    (0, rb"\x04\x22\x4d\x18", "an lz4 file", f"{_REPACK}: lz4 -d FILE"),
    (0, rb"\x1f\x9d", "a file of compress (.Z)", f"{_REPACK}: gunzip FILE"),
    (0, rb"7z\xbc\xaf\x27\x1c", "a 7z archive", f"{_REPACK}: 7z x FILE"),
    (0, rb"Rar!", "a RAR archive", f"{_REPACK}: unrar x FILE"),
    (
        0,
        rb"PK\x03\x04.{26}\w[^\x00]*\.npy",
        "a NumPy archive (.npz)",
        "load it with numpy.load and write it with healpy.write_map",
    ),
    (0, rb"PK\x03\x04", "a zip archive", f"{_REPACK}: unzip FILE"),
    (257, rb"ustar", "a tar archive", f"{_REPACK}: tar -xf FILE"),
    (
        0,
        rb"\x93NUMPY",
        "a NumPy array (.npy)",
        "load it with numpy.load and write it with healpy.write_map",
    ),
    (0, rb"\x89HDF\r\n\x1a\n", "an HDF5 file", _CONVERT),
    (512, rb"\x89HDF\r\n\x1a\n", "an HDF5 file", _CONVERT),
    (0, rb"CDF[\x01\x02\x05]", "a netCDF file", _CONVERT),
    (0, rb"PAR1", "a Parquet file", _CONVERT),
    (0, rb"ARROW1", "an Arrow file", _CONVERT),
    (0, rb"#ASDF", "an ASDF file", _CONVERT),
    (0, rb"root\x00", "a ROOT file", _CONVERT),
    (0, rb"SR\x00\x04", "an IDL save file", _CONVERT),
    (0, rb"MATLAB", "a MATLAB file", _CONVERT),
    (0, rb"\x80[\x02-\x05]", "a Python pickle", _CONVERT),
    (0, rb"\x89PNG", "a PNG picture", "give the map that it shows"),
    (0, rb"\xff\xd8\xff", "a JPEG picture", "give the map that it shows"),
    (0, rb"%PDF", "a PDF file", "give the map that it shows"),
    (0, rb"version https://git-lfs", "a Git LFS pointer", "fetch the file: git lfs pull"),
    (
        0,
        rb"(?i)\s*<(!doctype )?html",
        "a web page",
        "fetch the file again; you may have to log in first",
    ),
    (0, rb"(?i)\s*<\?xml", "an XML file", _CONVERT),
    (0, rb"[\t\n\r\x20-\x7e]{16}", "text", "give a HEALPix FITS file"),
)


def expanded(plain: BinaryIO) -> BinaryIO:
    """Return the stream, decompressed if its first bytes are those of gzip or bzip2."""
    head = plain.read(3)
    plain.seek(0)
    if head[:2] == b"\x1f\x8b":
        return cast("BinaryIO", gzip.GzipFile(fileobj=plain))
    return cast("BinaryIO", bz2.BZ2File(plain)) if head == b"BZh" else plain


def is_packed(stream: object) -> bool:
    """Tell whether a file is compressed."""
    return isinstance(stream, tuple(_MOST))


def most_packed(stream: object) -> int:
    """Return the largest number of bytes that one byte of the file can expand to."""
    return _MOST.get(type(stream), 1)


def kind_of(head: bytes) -> tuple[str, str] | None:
    """Give the kind of a file and what to do with it, from its first bytes; None if unknown."""
    for at, mark, name, mend in _KINDS:
        if re.match(mark, head[at : at + 300], re.DOTALL):
            return name, mend
    return None
