"""Read FITS files byte by byte.

Unchanged parts of a file must be copied bit for bit, whatever program wrote them. So this module
handles bytes and 80-character cards; astropy only parses and writes single cards. Sections refer to
the FITS standard 4.0.
"""

from __future__ import annotations

import bz2
import gzip
import math
import os
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from skyfill.files.packing import expanded, is_packed, kind_of, most_packed
from skyfill.maps.column import DTYPES, WIDTHS, Column
from skyfill.maps.translation import translated

__all__ = ["PIECE", "Hdu", "finish", "is_packed", "open_fits", "padded", "pieces", "walk"]

_BLOCK = 2880
PIECE = 1 << 20
"""Bytes moved at once: memory stays flat at any Nside, and larger pieces are no faster."""
_MOST_CARDS = 1 << 16  # Planck's longest headers have some hundreds
_WHOLE = 2.0**53  # beyond it, a float does not tell one integer from the next
_MOST_FIELDS = 999  # columns, and axes (standard, 4.4.1.1 and 7.2.1)
#: Bytes of expanded data from which a compressed file may be one that is meant to do harm.
_BOMB_BYTES = 1 << 32
#: Bytes that one byte of such a file expands to. Masks, which are small, come near what gzip packs
#: at most; maps of gigabytes do not.
_BOMB_RATIO = 100
#: Cards that define the meaning of numbers; two different values of one are refused.
_DECISIVE = re.compile(r"ORDERING|COORDSYS|COORD|SKYCOORD|NSIDE|INDXSCHM|(TUNIT|TSCAL|TZERO)\d+")


@dataclass(frozen=True)
class Hdu:
    """One header and the position of its data."""

    path: Path
    index: int
    cards: tuple[bytes, ...] = field(repr=False)
    """The header, unchanged, 80 bytes a card, without END and padding."""
    start: int
    """Offset of the first byte of data."""

    @cached_property
    def header(self) -> fits.Header:
        """The header, parsed."""
        with warnings.catch_warnings():  # unusual cards are not an error here
            warnings.simplefilter("ignore")
            return fits.Header.fromstring(b"".join(self.cards))

    def text(self, key: str) -> str:
        """Return the value of a keyword as text, "" if it is missing or cannot be parsed."""
        try:
            value = self.header.get(key)
            if _DECISIVE.fullmatch(key) and key in self.header and self.header.count(key) > 1:
                self._refuse_two(key)
        except fits.VerifyError:
            return ""
        return "" if value is None or isinstance(value, fits.card.Undefined) else str(value).strip()

    def _refuse_two(self, key: str) -> None:
        """Refuse a keyword with two different values."""
        said = dict.fromkeys(
            str(self.header[key, i]).strip() for i in range(self.header.count(key))
        )
        if len(said) > 1:
            raise ValueError(
                f"{self.path}: HDU {self.index} has {key} more than once, with different values"
                f" ({', '.join(said)}); delete the wrong card"
            )

    def number(self, key: str, default: float) -> float:
        """Return the value of a keyword as a number, `default` if it is missing or not a number."""
        try:
            return float(self.text(key) or default)
        except ValueError:
            return default

    def count(self, key: str, default: int | None = None, *, most: int | None = None) -> int:
        """Return the value of a keyword that counts something; ValueError if it is out of range."""
        value = self.integer(key, default)
        if value < 0 or (most is not None and value > most):
            raise ValueError(
                f"{self.path}: damaged header, HDU {self.index} has {key} = {value};"
                " fetch the file again"
            )
        return value

    def integer(self, key: str, default: int | None = None) -> int:
        """Return the value of an integer keyword; ValueError if it is not an integer."""
        text = self.text(key)
        if not text and default is not None:
            return default
        try:
            return int(text)
        except ValueError:
            pass
        whole = self.number(key, math.nan)  # some programs write 32.0
        if abs(whole) < _WHOLE and whole.is_integer():
            return int(whole)
        found = f"{key} = {text}" if text else f"no {key}"
        raise ValueError(
            f"{self.path}: damaged header, HDU {self.index} has {found}; fetch the file again"
        )

    @property
    def begin(self) -> int:
        """Offset of the first byte of the header."""
        return self.start - padded(80 * (len(self.cards) + 1))

    @property
    def size(self) -> int:
        """Number of bytes of data, without padding (standard, equations 1 and 2)."""
        axes = self.axes
        if not axes:
            return 0
        if axes[0] == 0 and self.text("GROUPS") == "True":
            axes = axes[1:]
        count = math.prod(axes) + self.count("PCOUNT", 0)
        return abs(self.integer("BITPIX")) // 8 * self.count("GCOUNT", 1) * count

    @property
    def axes(self) -> list[int]:
        """Lengths of the axes; for a table the bytes of a row and the number of rows."""
        return [self.count(f"NAXIS{i + 1}") for i in range(self.count("NAXIS", most=_MOST_FIELDS))]

    @property
    def is_table(self) -> bool:
        """Whether this is a binary table, and not a compressed image stored in one."""
        packed = "True" in (self.text("ZIMAGE"), self.text("ZTABLE"))
        return self.text("XTENSION") == "BINTABLE" and not packed

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns of a binary table."""
        columns = []
        offset = 0
        if len(self.axes) != 2 or self.integer("BITPIX") != 8:
            raise ValueError(
                f"{self.path}: damaged header, the table in HDU {self.index} must have NAXIS = 2"
                " and BITPIX = 8; fetch the file again"
            )
        for n in range(1, self.count("TFIELDS", most=_MOST_FIELDS) + 1):
            tform = self.text(f"TFORM{n}")
            match = re.match(r"(\d*)([A-Z])", tform)
            if match is None or (form := match[2]) not in {*WIDTHS, "X"}:
                raise ValueError(f"{self.path}: TFORM{n} = {tform!r} is not a FITS column format")
            repeat = int(match[1] or 1)
            width = (repeat + 7) // 8 if form == "X" else repeat * WIDTHS[form]
            columns.append(
                Column(
                    name=self.text(f"TTYPE{n}") or f"column {n}",
                    number=n,
                    form=form,
                    repeat=repeat,
                    offset=offset,
                    width=width,
                    unit=self.text(f"TUNIT{n}"),
                    scale=self._finite(f"TSCAL{n}", 1.0),
                    zero=self._finite(f"TZERO{n}", 0.0),
                    null=self._null(f"TNULL{n}", form),
                    sentinel=self._sentinel(f"TNULL{n}", form),
                )
            )
            offset += width
        if offset != self.integer("NAXIS1"):
            raise ValueError(
                f"{self.path}: damaged header, the columns of HDU {self.index} take {offset} bytes,"
                f" NAXIS1 says {self.integer('NAXIS1')}; fetch the file again"
            )
        return tuple(columns)

    def _null(self, key: str, form: str) -> int | None:
        """Return the integer that means "undefined"; None if there is none."""
        dtype = np.dtype(DTYPES.get(form, "V1"))
        # BLANK is defined for images, but some programs write it for tables.
        key = key if self.text(key) else "BLANK"
        if dtype.kind not in "iu" or not self.text(key):
            return None
        value = self.integer(key)
        limits = np.iinfo(dtype)
        return value if limits.min <= value <= limits.max else None

    def _sentinel(self, key: str, form: str) -> float | None:
        """Return the number that means "undefined" in a column of floats; None if there is none."""
        if form not in {"E", "D"}:
            return None
        value = self.number(key, self.number("BLANK", math.nan))
        return value if math.isfinite(value) else None

    def _finite(self, key: str, default: float) -> float:
        """Return the value of a keyword that scales numbers."""
        value = self.number(key, default)
        if not math.isfinite(value) or (default and not value):
            raise ValueError(
                f"{self.path}: damaged header, HDU {self.index} has {key} = {value}; fetch the file"
                " again"
            )
        return value

    def rows(self, stream: BinaryIO) -> Iterator[NDArray[np.uint8]]:
        """Read a table in pieces of whole rows, each a writable ``(nrow, bytes of a row)``."""
        length = self.integer("NAXIS1")
        left = self.integer("NAXIS2")
        stream.seek(self.start)
        while left:
            count = min(left, max(1, PIECE // length))
            data = bytearray(count * length)
            _read_into(stream, data, self.path)
            yield np.frombuffer(data, np.uint8).reshape(count, length)
            left -= count


def padded(size: int) -> int:
    """Round a size up to whole FITS blocks."""
    return -(-size // _BLOCK) * _BLOCK


@contextmanager
def open_fits(path: str | Path) -> Iterator[BinaryIO]:
    """Open a FITS file, plain, gzip or bzip2, for reading, with clear errors.

    HealSparse and HDF5 maps are read as the FITS tables to which `translated` brings them.
    """
    path = Path(path)
    try:
        plain = path.open("rb")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such file") from error
    except OSError as error:
        raise OSError(f"{path}: cannot be read: {error.strerror}") from error
    with plain, ExitStack() as stack:
        other = translated(path, plain)
        stream = expanded(plain) if other is None else stack.enter_context(other.open("rb"))
        kind = "bzip2" if isinstance(stream, bz2.BZ2File) else "gzip"
        try:
            yield stream
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path}: damaged or truncated {kind} file; fetch it again") from error
        except OSError as error:
            if kind == "bzip2" and error.errno is None and str(error) == "Invalid data stream":
                raise ValueError(
                    f"{path}: damaged or truncated {kind} file; fetch it again"
                ) from error
            raise
        except MemoryError as error:
            raise MemoryError(f"{path}: not enough memory for a map of this size") from error


def finish(stream: BinaryIO, last: Hdu) -> None:
    """Check the file from an HDU to its end, so that no damaged part is copied.

    Raises
    ------
    ValueError
        The file is shorter than its headers say, or the checksum of the compression is wrong.

    """
    for hdu in walk(stream, last.path, last):
        last = hdu
    if is_packed(stream):  # the checksum of the compression is at the end
        for _ in pieces(stream, last.path, last.start + padded(last.size)):
            pass


def walk(stream: BinaryIO, path: Path, after: Hdu | None = None) -> Iterator[Hdu]:
    """Iterate over the HDUs of a file; the caller may read from the stream in between.

    With `after`, start after that HDU.

    Raises
    ------
    ValueError
        The file is not a FITS file, or is shorter than its headers say.

    """
    position = index = 0
    if after is not None:
        _check_end(stream, after)
        position, index = after.start + padded(after.size), after.index + 1
    while True:
        stream.seek(position)
        cards = _read_cards(stream, path, b"XTENSION" if index else b"SIMPLE  ")
        if cards is None:
            return
        hdu = Hdu(path, index, cards, stream.tell())
        _check_length(stream, path, hdu.start + hdu.size)
        yield hdu
        _check_end(stream, hdu)
        position = hdu.start + padded(hdu.size)
        index += 1


def _check_end(stream: BinaryIO, hdu: Hdu) -> None:
    """Refuse incomplete data."""
    if hdu.size:  # a seek beyond the end raises no error; reading the last byte does
        stream.seek(hdu.start + hdu.size - 1)
        _read_into(stream, bytearray(1), hdu.path)


def _check_length(stream: BinaryIO, path: Path, end: int) -> None:
    """Refuse an impossible or suspicious length before any data are read."""
    size = os.fstat(stream.fileno()).st_size
    packed = is_packed(stream)
    if end > size * most_packed(stream):
        raise ValueError(f"{path}: truncated FITS file, data are missing; fetch it again")
    if packed and end > max(_BOMB_BYTES, size * _BOMB_RATIO):
        kind, tool = ("bzip2", "bunzip2") if isinstance(stream, bz2.BZ2File) else ("gzip", "gunzip")
        raise ValueError(
            f"{path}: a {kind} file of {size} bytes that expands to {end} or more, too large"
            f" for a map; if you trust it, expand it with {tool} first"
        )


def _read_cards(stream: BinaryIO, path: Path, first: bytes) -> tuple[bytes, ...] | None:
    """Read one header; None at the end of the file."""
    cards: list[bytes] = []
    while True:
        block = stream.read(_BLOCK)
        if not cards and not block.startswith(first):
            if first == b"XTENSION":
                return None  # the end, or special records after the last HDU (standard, 3.5)
            if not block:
                raise ValueError(f"{path}: the file is empty")
            kind = kind_of(block)
            if kind is None:
                raise ValueError(f"{path}: not a FITS file")
            raise ValueError(f"{path}: not a FITS file, but {kind[0]}; {kind[1]}")
        if len(block) < _BLOCK:
            raise ValueError(f"{path}: truncated FITS file, it ends in a header; fetch it again")
        for at in range(0, _BLOCK, 80):
            card = block[at : at + 80]
            if card.rstrip() == b"END":
                return tuple(cards)
            cards.append(card)
        if len(cards) > _MOST_CARDS:
            raise ValueError(
                f"{path}: damaged header, no END in its first {_MOST_CARDS} cards; fetch it again"
            )


def _read_into(stream: BinaryIO, data: bytearray, path: Path) -> None:
    """Fill `data` from the stream; raise ValueError if the file ends first."""
    view = memoryview(data)
    while view:
        count = cast("Any", stream).readinto(view)
        if not count:
            raise ValueError(f"{path}: truncated FITS file, data are missing; fetch it again")
        view = view[count:]


def pieces(stream: BinaryIO, path: Path, start: int, end: int | None = None) -> Iterator[bytes]:
    """Read the bytes from `start` to `end`, or to the end of the file, in pieces."""
    stream.seek(start)
    while end is None or start < end:
        data = stream.read(PIECE if end is None else min(PIECE, end - start))
        if not data:
            return
        yield data
        start += len(data)
        _check_length(stream, path, start)
