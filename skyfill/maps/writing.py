"""Spell FITS headers and write FITS files around bytes that stay as they are."""

from __future__ import annotations

import gzip
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from skyfill.files.atomic import atomic_write
from skyfill.maps.checksum import WordSum, add_words, spell
from skyfill.maps.column import DTYPES
from skyfill.maps.hdu import PIECE, Hdu, is_packed, open_fits, padded, pieces, walk

__all__ = ["Card", "Numbers", "edit", "extension", "new_table", "replaced", "save", "table_cards"]

_READ_BACK = 1 << 20  # bytes: the headers of any map file

Card = tuple[Any, str]
"""Value and comment of a keyword; a value of None takes the keyword out of the header."""

_PRIMARY: dict[str, Card] = {
    "SIMPLE": (True, "conforms to FITS standard"),
    "BITPIX": (8, "array data type"),
    "NAXIS": (0, "number of array dimensions"),
    "EXTEND": (True, ""),
}


def edit(
    cards: Iterable[bytes], keywords: Mapping[str, Card], history: Iterable[str] = ()
) -> tuple[bytes, ...]:
    """Set keywords in a header and append HISTORY; all other cards stay as they are, byte for byte.

    A keyword whose value is None is taken out. Characters that FITS headers cannot hold become "?".
    """
    edited = list(cards)
    for name, (value, comment) in keywords.items():
        key = name.upper()
        text = _ascii(value) if isinstance(value, str) else value
        new = [] if value is None else _split(fits.Card(key, text, _ascii(comment)))
        at = [i for i, card in enumerate(edited) if card[:8].upper() == f"{key:<8}".encode()]
        for i in reversed(at):
            end = i + 1
            while end < len(edited) and edited[end].startswith(b"CONTINUE"):
                end += 1
            del edited[i:end]
        where = at[0] if at else len(edited)
        edited[where:where] = new
    for line in history:
        for part in _ascii(line).splitlines() or [""]:
            starts = range(0, max(len(part), 1), 72)
            edited += [f"HISTORY {part[i : i + 72]:<72}".encode() for i in starts]
    return tuple(edited)


def _ascii(text: str) -> str:
    clean = text.encode("ascii", "replace").decode()
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in clean)


def _split(card: fits.Card) -> list[bytes]:
    """Return the image of a card, which has several of 80 bytes where the value is long."""
    with warnings.catch_warnings():  # a comment cut to fit is no news
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        image = str(card).encode()
    return [image[i : i + 80] for i in range(0, len(image), 80)]


class Amended(NamedTuple):
    """Bytes to put in the place of some that were written before."""

    back: int
    """Bytes between their first one and the end."""
    data: bytes


Content = Iterator[bytes | Amended]


def extension(
    cards: tuple[bytes, ...], data: Callable[[], Iterable[bytes]], size: int, *, ahead: bool
) -> Content:
    """Spell one HDU: header, data and padding, with its checksums.

    Parameters
    ----------
    cards
        The header, without END.
    data
        Starts to read the data.
    size
        Bytes of data.
    ahead
        Whether the header must be right at once, for which the data are read twice; if not, it
        comes again, amended, at the end.

    """
    words = WordSum()
    if ahead:
        for piece in data():
            words.add(piece)
    yield _header(_signed(cards, words.total))
    for piece in data():
        if not ahead:
            words.add(piece)
        yield piece
    yield bytes(padded(size) - size)
    if not ahead:
        header = _header(_signed(cards, words.total))
        yield Amended(len(header) + padded(size), header)


def replaced(
    stream: BinaryIO,
    hdu: Hdu,
    cards: tuple[bytes, ...],
    data: Callable[[], Iterable[bytes]],
    size: int,
    *,
    attached: tuple[str, bytes] | None = None,
    ahead: bool,
) -> Content:
    """Spell a whole file again with one HDU replaced and the bytes around it kept.

    With ``attached``, a name and an HDU, the HDU comes last, in place of any other of that EXTNAME.
    """
    yield from pieces(stream, hdu.path, 0, hdu.begin)
    yield from extension(cards, data, size, ahead=ahead)
    rest = hdu.start + padded(hdu.size)
    if attached is None:
        yield from pieces(stream, hdu.path, rest)
        return
    name, new = attached
    for other in walk(stream, hdu.path, hdu):
        end = other.start + padded(other.size)
        if other.text("EXTNAME") == name:
            yield from pieces(stream, hdu.path, rest, other.begin)
            rest = end
    tail = 0
    for piece in pieces(stream, hdu.path, rest):
        tail += len(piece)
        yield piece
    yield bytes(padded(tail) - tail)  # the last block of a file may lack its padding
    yield new


class Numbers(NamedTuple):
    """The numbers of a column, converted piece by piece: a whole copy is never in memory."""

    dtype: np.dtype[Any]
    """Type in the file, in any byte order."""
    size: int
    """How many there are."""
    part: Callable[[int, int], NDArray[Any]]
    """Return those from one index to another; the second is not included."""


def new_table(
    columns: Mapping[str, Numbers],
    *,
    unit: str,
    repeat: int,
    keywords: Mapping[str, Card],
    history: Iterable[str],
    attached: tuple[str, bytes] | None = None,
    ahead: bool,
) -> Content:
    """Spell a whole new file with one binary table.

    Parameters
    ----------
    columns
        Numbers by column name, all of one size n and of any dtype that FITS has.
    unit
        Unit of them all; "" for none.
    repeat
        Numbers in each row of a column; divides n.
    keywords, history
        Header cards after those that say how the bytes lie.
    attached
        EXTNAME and bytes of an HDU to put last.
    ahead
        As in `extension`.

    """
    size = next(iter(columns.values())).size
    width = sum(numbers.dtype.itemsize for numbers in columns.values()) * repeat
    step = max(1, PIECE // width) * repeat

    def data() -> Iterator[bytes]:
        for start in range(0, size, step):
            rows = np.empty((min(step, size - start) // repeat, width), np.uint8)
            at = 0
            for numbers in columns.values():
                part = numbers.part(start, min(start + step, size)).reshape(len(rows), repeat)
                cells = part.astype(part.dtype.newbyteorder(">")).view(np.uint8)
                rows[:, at : at + cells.shape[1]] = cells
                at += cells.shape[1]
            yield rows.tobytes()

    cards = edit(table_cards(columns, unit=unit, repeat=repeat), keywords, history)
    yield from extension(edit((), _PRIMARY), tuple, 0, ahead=True)
    yield from extension(cards, data, size // repeat * width, ahead=ahead)
    if attached is not None:
        yield attached[1]


def table_cards(
    columns: Mapping[str, Numbers | NDArray[Any]], *, unit: str, repeat: int
) -> tuple[bytes, ...]:
    """Spell the cards that say how the bytes of a table lie; the arguments are `new_table`'s."""
    forms = {np.dtype(dtype): form for form, dtype in DTYPES.items() if form != "L"}
    header: dict[str, Card] = {}
    width = 0
    for n, (name, values) in enumerate(columns.items(), 1):
        dtype = values.dtype.newbyteorder(">")
        if dtype not in forms:
            raise ValueError(f"column {name!r}: FITS has no type for {values.dtype.name}")
        header[f"TTYPE{n}"] = (name, "")
        header[f"TFORM{n}"] = (f"{repeat}{forms[dtype]}", "")
        if unit:
            header[f"TUNIT{n}"] = (unit, "")
        width += dtype.itemsize * repeat
    structure: dict[str, Card] = {
        "XTENSION": ("BINTABLE", "binary table extension"),
        "BITPIX": (8, "array data type"),
        "NAXIS": (2, "number of array dimensions"),
        "NAXIS1": (width, "length of dimension 1"),
        "NAXIS2": (values.size // repeat, "length of dimension 2"),
        "PCOUNT": (0, "number of group parameters"),
        "GCOUNT": (1, "number of groups"),
        "TFIELDS": (len(columns), "number of table fields"),
    }
    return edit((), {**structure, **header})


def save(
    path: str | os.PathLike[str], content: Callable[..., Content], *, overwrite: bool = False
) -> None:
    """Write a file, compressed if its name ends in .gz, as `atomic_write` does.

    `content` is called with ``ahead``, true where nothing can be amended.
    """
    with atomic_write(path, overwrite) as temporary:
        zipped = temporary.suffix == ".gz"
        begin = bytearray()
        at = 0
        with temporary.open("wb") as plain, _packing(plain, zipped=zipped) as file:
            for piece in content(ahead=zipped):
                if isinstance(piece, Amended):
                    plain.seek(at - piece.back)
                    plain.write(piece.data)
                    plain.seek(at)
                    begin[at - piece.back : at - piece.back + len(piece.data)] = piece.data
                    del begin[_READ_BACK:]
                    continue
                begin += piece[: _READ_BACK - len(begin)]
                file.write(piece)
                at += len(piece)
        _read_back(temporary, bytes(begin), Path(path))


def _packing(plain: BinaryIO, *, zipped: bool) -> AbstractContextManager[BinaryIO | gzip.GzipFile]:
    """Compress what is written, if the name says so."""
    if not zipped:
        return nullcontext(plain)
    # No name and no time inside, so that equal maps are equal files. The last bits of a map
    # are noise: more effort than the least gains some percent and takes three times as long.
    return gzip.GzipFile("", "wb", compresslevel=1, fileobj=plain, mtime=0)


def _read_back(temporary: Path, begin: bytes, path: Path) -> None:
    """Look whether the headers can be read from the disk as they were meant."""
    with open_fits(temporary) as stream:
        if stream.read(len(begin)) != begin:
            raise OSError(f"cannot write {path}: the disk gives back other bytes than it was given")
        if not is_packed(stream):
            for _ in walk(stream, path):
                pass


def _header(cards: tuple[bytes, ...]) -> bytes:
    text = b"".join(cards) + b"END".ljust(80)
    return text.ljust(padded(len(text)))


def _signed(cards: tuple[bytes, ...], datasum: int) -> tuple[bytes, ...]:
    """Set DATASUM, and CHECKSUM with it."""
    cards = edit(cards, {"DATASUM": (str(datasum), "data unit checksum")})
    blank = edit(cards, {"CHECKSUM": ("0" * 16, "HDU checksum")})
    total = add_words([_header(blank)], datasum)
    return edit(cards, {"CHECKSUM": (spell(~total & 0xFFFFFFFF), "HDU checksum")})
