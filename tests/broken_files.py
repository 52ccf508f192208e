"""FITS files as disks, networks and foreign programs break them."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np

from skyfill import simulate_mask, simulate_sky, write_map

BLOCK, CARD = 2880, 80
_VALUES = (
    *("0", "-1", "1", "-8", "3", "12", "16", "999999999999", "99999999999999999999999", "1E300"),
    *("NaN", "T", "F", "'RING'", "'NESTED'", "'EXPLICIT'", "'PARTIAL'", "'1E'", "'4D'", "'8192E'"),
    *("'99999999999E'", "'0E'", "'-1E'", "'PE(9)'", "'1X'", "'K_RJ'", "'", "''", "(1, 2)", "1/0"),
    *("'\\xff\\xfe'", "=", "2147483648", "-32", "' '", "1.5", "'3000A'", "64", "8192"),
)


def card_value(rng: np.random.Generator, data: bytes) -> bytes:
    """Give one card another value."""
    at = _card(rng, data)
    value = _VALUES[rng.integers(len(_VALUES))]
    return _put(data, at, data[at : at + 8] + f"= {value:>20}".encode("latin-1"))


def card_deleted(rng: np.random.Generator, data: bytes) -> bytes:
    at = _card(rng, data)
    return data[:at] + data[at + CARD :] if rng.random() < 0.5 else _put(data, at, b"")


def card_doubled(rng: np.random.Generator, data: bytes) -> bytes:
    """Write a card over another, END among them."""
    one, other = _card(rng, data, end=True), _card(rng, data, end=True)
    return _put(data, other, data[one : one + CARD])


def cards_swapped(rng: np.random.Generator, data: bytes) -> bytes:
    one, other = _card(rng, data, end=True), _card(rng, data, end=True)
    first = data[one : one + CARD]
    return _put(_put(data, one, data[other : other + CARD]), other, first)


def card_garbled(rng: np.random.Generator, data: bytes) -> bytes:
    """Put bytes that no header may hold into a card."""
    at = _card(rng, data) + int(rng.integers(CARD - 8))
    return data[:at] + rng.bytes(8) + data[at + 8 :]


def bits_flipped(rng: np.random.Generator, data: bytes) -> bytes:
    flipped = bytearray(data)
    top = len(data) if rng.random() < 0.5 else min(len(data), 3 * BLOCK)
    for at in rng.integers(0, top, rng.integers(1, 20)):
        flipped[at] ^= 1 << int(rng.integers(8))
    return bytes(flipped)


def cut(rng: np.random.Generator, data: bytes) -> bytes:
    return data[: rng.integers(len(data))]


def inserted(rng: np.random.Generator, data: bytes) -> bytes:
    at = int(rng.integers(len(data)))
    return data[:at] + rng.bytes(int(rng.integers(1, 3000))) + data[at:]


def taken_out(rng: np.random.Generator, data: bytes) -> bytes:
    at = int(rng.integers(len(data)))
    return data[:at] + data[at + int(rng.integers(1, 3000)) :]


def zeroed(rng: np.random.Generator, data: bytes) -> bytes:
    at, length = int(rng.integers(len(data))), int(rng.integers(1, BLOCK))
    return data[:at] + bytes(min(length, len(data) - at)) + data[at + length :]


def block_moved(rng: np.random.Generator, data: bytes) -> bytes:
    """Write a block of 2880 bytes over another."""
    one, other = (BLOCK * int(rng.integers(len(data) // BLOCK)) for _ in range(2))
    return data[:other] + data[one : one + BLOCK] + data[other + BLOCK :]


def packed_and_broken(rng: np.random.Generator, data: bytes) -> bytes:
    """Compress, then break the gzip file."""
    breaks = (bits_flipped, cut, inserted, taken_out, zeroed)
    return breaks[rng.integers(len(breaks))](rng, gzip.compress(data, mtime=0))


def broken_and_packed(rng: np.random.Generator, data: bytes) -> bytes:
    """Break, then compress."""
    breaks = (card_value, card_deleted, bits_flipped, cut, zeroed)
    return gzip.compress(breaks[rng.integers(len(breaks))](rng, data), mtime=0)


KINDS: tuple[Callable[[np.random.Generator, bytes], bytes], ...] = (
    card_value,
    card_deleted,
    card_doubled,
    cards_swapped,
    card_garbled,
    bits_flipped,
    cut,
    inserted,
    taken_out,
    zeroed,
    block_moved,
    packed_and_broken,
    broken_and_packed,
)


def with_cards(data: bytes, **values: str) -> bytes:
    """Set the values of cards that are there, spelled as given, wherever they are."""
    for key, value in values.items():
        at = data.index(f"{key:<8}=".encode())
        data = _put(data, at, f"{key:<8}= {value:>20}".encode("latin-1"))
    return data


def bomb(path: Path, head: bytes, expanded: int) -> Path:
    """Write a gzip file of a few MB that expands to a header and GBs of zeros."""
    member = 1 << 26
    zeros = gzip.compress(bytes(member), mtime=0)
    with path.open("wb") as file:
        file.write(gzip.compress(head, mtime=0))
        for _ in range(expanded // member):
            file.write(zeros)
    return path


def sky_and_mask(folder: Path, nside: int = 16) -> tuple[Path, Path]:
    """Write a small map and its mask."""
    sky = simulate_sky(nside, seed=3, fwhm=0.3, noise_uk_arcmin=100)
    mask = simulate_mask(nside, seed=3, half_width=0.2, n_holes=5, radii=(0.1, 0.2))
    write_map(folder / "map.fits", sky)
    write_map(folder / "mask.fits", mask, column="MASK", unit="", dtype="uint8")
    return folder / "map.fits", folder / "mask.fits"


def _card(rng: np.random.Generator, data: bytes, *, end: bool = False) -> int:
    """Choose a card of the headers that lie in the first blocks."""
    top = min(len(data), 4 * BLOCK)
    cards = [
        at
        for at in range(0, top, CARD)
        if data[at : at + 8].strip()
        and (end or data[at : at + 4] != b"END ")
        and all(32 <= byte < 127 for byte in data[at : at + CARD])
    ]
    return cards[rng.integers(len(cards))] if cards else 0


def _put(data: bytes, at: int, card: bytes) -> bytes:
    return data[:at] + card[:CARD].ljust(CARD) + data[at + CARD :]
