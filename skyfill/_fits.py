"""Read FITS files byte by byte.

Bytes that nobody asked to change must come back as they were, whatever wrote them, so this module
moves bytes and 80-character cards, and leaves to astropy only the meaning and the spelling of a
single card. The format is that of the FITS standard 4.0, cited by its sections.
"""

from __future__ import annotations

import gzip
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

__all__ = ["DTYPES", "PIECE", "Column", "Hdu", "open_fits", "padded", "pieces", "walk"]

_BLOCK = 2880
PIECE = 1 << 24
"""Bytes moved at once: memory stays flat at any Nside."""

# TFORM letter -> bytes of an element (standard, table 18); -> dtype, where it is one real number
_WIDTHS = {"L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "A": 1, "E": 4, "D": 8, "C": 8, "M": 16}
_WIDTHS |= {"P": 8, "Q": 16}
DTYPES = {"L": "u1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}


@dataclass(frozen=True)
class Column:
    """Where a column of a binary table lies and what its numbers mean (standard, 7.3)."""

    name: str
    number: int
    """Number from 1, the n of its TTYPEn."""
    form: str
    """The letter of TFORMn."""
    repeat: int
    """Elements in each row."""
    offset: int
    """Its first byte in a row."""
    width: int
    """Its bytes in a row."""
    unit: str = ""
    scale: float = 1.0
    zero: float = 0.0
    null: int | None = None
    """The integer that means "undefined"."""

    @property
    def numeric(self) -> bool:
        """Whether an element is one real number."""
        return self.form in DTYPES

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of an element on disk, big-endian; bytes where it is not one real number."""
        return np.dtype(DTYPES.get(self.form, f"V{_WIDTHS.get(self.form, 1)}"))

    def of(self, rows: NDArray[np.uint8]) -> NDArray[Any]:
        """View the column in `rows`, (nrow, bytes of a row); writing to the view changes them."""
        cells: NDArray[Any] = self.raw(rows).view(self.dtype)
        return cells

    def raw(self, rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """View the bytes of the column in `rows`."""
        return rows[:, self.offset : self.offset + self.width]

    def decode(self, raw: NDArray[Any]) -> NDArray[np.float64]:
        """Convert elements as stored to physical values; undefined ones are NaN."""
        if self.form == "L":
            return np.where(raw == 0, np.nan, (raw == ord("T")).astype(np.float64))
        with np.errstate(invalid="ignore"):  # a signalling NaN is as good as any other
            values: NDArray[np.float64] = raw.astype(np.float64)
        if (self.scale, self.zero) != (1.0, 0.0):
            values = values * self.scale + self.zero
        if self.null is not None:
            values[raw == self.null] = np.nan
        return values

    def encode(self, values: NDArray[np.float64]) -> NDArray[Any]:
        """Convert finite physical values to elements as stored: the inverse of `decode`.

        Raises
        ------
        ValueError
            A value is beyond the range of the type, or the type cannot hold numbers.

        """
        if not self.numeric or self.form == "L":
            raise ValueError(f"column {self.name!r} of type {self.form} cannot hold a sky")
        if (self.scale, self.zero) != (1.0, 0.0):
            values = (values - self.zero) / self.scale
        limits: Any
        if self.dtype.kind == "f":
            limits = np.finfo(self.dtype)
        else:
            limits = np.iinfo(self.dtype)
            values = np.rint(values)
        if values.size and not (limits.min <= values.min() and values.max() <= limits.max):
            raise ValueError(
                f"column {self.name!r} stores {self.dtype.name}, which cannot hold the values"
                f" {values.min():.6g} to {values.max():.6g}"
            )
        raw = values.astype(self.dtype)
        if self.null is not None:  # no value may turn into "undefined" by rounding
            raw[raw == self.null] = self.null + (1 if self.null < limits.max else -1)
        return raw


@dataclass(frozen=True)
class Hdu:
    """One header and the place of its data."""

    path: Path
    index: int
    cards: tuple[bytes, ...] = field(repr=False)
    """The header as it is, 80 bytes a card, without END and padding."""
    start: int
    """Byte where the data begin."""

    @cached_property
    def header(self) -> fits.Header:
        """The header, parsed."""
        with warnings.catch_warnings():  # strange cards are the business of those who wrote them
            warnings.simplefilter("ignore")
            return fits.Header.fromstring(b"".join(self.cards))

    def text(self, key: str) -> str:
        """Return the value of a keyword as text, "" where it is absent or cannot be parsed."""
        try:
            value = self.header.get(key)
        except fits.VerifyError:
            return ""
        return "" if value is None or isinstance(value, fits.card.Undefined) else str(value).strip()

    def number(self, key: str, default: float) -> float:
        """Return the value of a keyword as a number, `default` where it is absent or none."""
        try:
            return float(self.text(key) or default)
        except ValueError:
            return default

    def integer(self, key: str, default: int | None = None) -> int:
        """Return the value of an integer keyword; ValueError where it is none."""
        text = self.text(key)
        if not text and default is not None:
            return default
        try:
            return int(text)
        except ValueError:
            found = f"{key} = {text}" if text else f"no {key}"
            raise ValueError(
                f"{self.path}: damaged header, HDU {self.index} has {found}; fetch the file again"
            ) from None

    @property
    def size(self) -> int:
        """Bytes of data, without padding (standard, equations 1 and 2)."""
        axes = [self.integer(f"NAXIS{i + 1}") for i in range(self.integer("NAXIS"))]
        if not axes:
            return 0
        if axes[0] == 0 and self.text("GROUPS") == "True":
            axes = axes[1:]
        count = int(np.prod(axes, dtype=np.int64)) + self.integer("PCOUNT", 0)
        return abs(self.integer("BITPIX")) // 8 * self.integer("GCOUNT", 1) * count

    @property
    def is_table(self) -> bool:
        """Whether this is a binary table, and not an image compressed into one."""
        return self.text("XTENSION") == "BINTABLE" and self.text("ZIMAGE") != "True"

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns of a binary table."""
        columns = []
        offset = 0
        for n in range(1, self.integer("TFIELDS") + 1):
            tform = self.text(f"TFORM{n}")
            match = re.match(r"(\d*)([A-Z])", tform)
            if match is None or (form := match[2]) not in {*_WIDTHS, "X"}:
                raise ValueError(f"{self.path}: TFORM{n} = {tform!r} is no FITS column format")
            repeat = int(match[1] or 1)
            width = (repeat + 7) // 8 if form == "X" else repeat * _WIDTHS[form]
            columns.append(
                Column(
                    name=self.text(f"TTYPE{n}") or f"column {n}",
                    number=n,
                    form=form,
                    repeat=repeat,
                    offset=offset,
                    width=width,
                    unit=self.text(f"TUNIT{n}"),
                    scale=self.number(f"TSCAL{n}", 1.0),
                    zero=self.number(f"TZERO{n}", 0.0),
                    null=self.integer(f"TNULL{n}") if self.text(f"TNULL{n}") else None,
                )
            )
            offset += width
        if offset != self.integer("NAXIS1"):
            raise ValueError(
                f"{self.path}: damaged header, the columns of HDU {self.index} take {offset} bytes,"
                f" NAXIS1 says {self.integer('NAXIS1')}; fetch the file again"
            )
        return tuple(columns)

    def rows(self, stream: BinaryIO) -> Iterator[NDArray[np.uint8]]:
        """Read the rows of a table in pieces of whole rows: writable, (nrow, bytes of a row)."""
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
    """Open a FITS file for reading, gzip or not, and word what is wrong with it."""
    path = Path(path)
    try:
        plain = path.open("rb")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such file") from error
    except OSError as error:
        raise OSError(f"{path}: cannot be read: {error.strerror}") from error
    with plain:
        head = plain.read(2)
        plain.seek(0)
        stream = gzip.GzipFile(fileobj=plain) if head == b"\x1f\x8b" else plain
        try:
            yield cast("BinaryIO", stream)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path}: damaged or truncated gzip file; fetch it again") from error


def walk(stream: BinaryIO, path: Path) -> Iterator[Hdu]:
    """Go through the HDUs of a file; between two, the caller may read what it likes.

    Raises
    ------
    ValueError
        The file is no FITS file, or ends before its header says so.

    """
    position = index = 0
    while True:
        stream.seek(position)
        cards = _read_cards(stream, path, b"XTENSION" if index else b"SIMPLE  ")
        if cards is None:
            return
        hdu = Hdu(path, index, cards, stream.tell())
        yield hdu
        if hdu.size:  # a seek beyond the end fails to tell, reading the last byte does not
            stream.seek(hdu.start + hdu.size - 1)
            _read_into(stream, bytearray(1), path)
        position = hdu.start + padded(hdu.size)
        index += 1


def _read_cards(stream: BinaryIO, path: Path, first: bytes) -> tuple[bytes, ...] | None:
    """Read one header; None where no further one begins."""
    cards: list[bytes] = []
    while True:
        block = stream.read(_BLOCK)
        if not cards and not block.startswith(first):
            if first == b"XTENSION":
                return None  # the end, or the special records that may follow (standard, 3.5)
            if not block:
                raise ValueError(f"{path}: the file is empty")
            raise ValueError(f"{path}: not a FITS file")
        if len(block) < _BLOCK:
            raise ValueError(f"{path}: truncated FITS file, it ends in a header; fetch it again")
        for at in range(0, _BLOCK, 80):
            card = block[at : at + 80]
            if card.rstrip() == b"END":
                return tuple(cards)
            cards.append(card)


def _read_into(stream: BinaryIO, data: bytearray, path: Path) -> None:
    """Fill `data` from the stream, or raise ValueError where the file ends."""
    view = memoryview(data)
    while view:
        count = cast("Any", stream).readinto(view)
        if not count:
            raise ValueError(f"{path}: truncated FITS file, data are missing; fetch it again")
        view = view[count:]


def pieces(stream: BinaryIO, start: int, end: int | None = None) -> Iterator[bytes]:
    """Read the bytes from `start` to `end`, or all that follow, piece by piece."""
    stream.seek(start)
    while end is None or start < end:
        data = stream.read(PIECE if end is None else min(PIECE, end - start))
        if not data:
            return
        yield data
        start += len(data)
