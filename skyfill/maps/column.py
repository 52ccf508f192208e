"""Locate a column of a FITS table, and convert its stored numbers to values and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["DTYPES", "ROUNDING", "WIDTHS", "Column", "equal"]

ROUNDING = 2.0**-23
"""Largest relative difference between a number and its float32 value, with one step of margin."""

# TFORM letter -> bytes of an element (standard, table 18), and -> dtype if it is one real number
WIDTHS = {"L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "A": 1, "E": 4, "D": 8, "C": 8, "M": 16}
WIDTHS |= {"P": 8, "Q": 16}
DTYPES = {"L": "u1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}


@dataclass(frozen=True)
class Column:
    """Place of a column in a binary table, and the meaning of its numbers (standard, 7.3)."""

    name: str
    number: int
    """Number from 1, the n of its TTYPEn."""
    form: str
    """The letter of TFORMn."""
    repeat: int
    """Elements in each row."""
    offset: int
    """Offset of its first byte in a row."""
    width: int
    """Number of its bytes in a row."""
    unit: str = ""
    scale: float = 1.0
    zero: float = 0.0
    null: int | None = None
    """The integer that means "undefined"."""
    sentinel: float | None = None
    """The number that means "undefined" in a column of floats."""

    @property
    def numeric(self) -> bool:
        """Whether an element is one real number."""
        return self.form in DTYPES

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of an element on disk, big-endian; raw bytes if it is not one real number."""
        return np.dtype(DTYPES.get(self.form, f"V{WIDTHS.get(self.form, 1)}"))

    def of(self, rows: NDArray[np.uint8]) -> NDArray[Any]:
        """View the column in `rows`, ``(nrow, bytes of a row)``; the view is writable."""
        cells: NDArray[Any] = self.raw(rows).view(self.dtype)
        return cells

    def raw(self, rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """View the bytes of the column in `rows`."""
        return rows[:, self.offset : self.offset + self.width]

    def decode(self, raw: NDArray[Any]) -> NDArray[np.float64]:
        """Convert elements as stored to physical values; undefined ones are NaN."""
        if self.form == "L":
            return np.where(raw == 0, np.nan, (raw == ord("T")).astype(np.float64))
        # Signalling NaN and overflow are no errors here: both mean a missing value.
        with np.errstate(invalid="ignore", over="ignore"):
            values: NDArray[np.float64] = raw.astype(np.float64)
            if (self.scale, self.zero) != (1.0, 0.0):
                values = values * self.scale + self.zero
        if self.null is not None:
            values[raw == self.null] = np.nan
        if self.sentinel is not None:
            values[equal(raw, self.sentinel)] = np.nan
        return values

    def whole(self, raw: NDArray[Any]) -> NDArray[np.int64]:
        """Convert elements as stored to integers, exactly.

        Raises
        ------
        ValueError
            An element is undefined or not a whole number.

        """
        if self.null is not None and (raw == self.null).any():
            raise ValueError(f"column {self.name!r} has undefined numbers")
        # Unsigned integers: float64 cannot represent every integer of 64 bits.
        if self.dtype.kind in "iu" and self.scale == 1.0 and self.zero.is_integer():
            if self.form == "K" and self.zero == 2.0**63:
                values = (raw.astype(np.int64).view(np.uint64) ^ np.uint64(1 << 63)).view(np.int64)
            else:
                values = raw.astype(np.int64) + int(self.zero)
        else:
            numbers = self.decode(raw)
            if not (np.abs(numbers) < 2.0**53).all() or (numbers != np.rint(numbers)).any():
                raise ValueError(f"column {self.name!r} has numbers that are not whole")
            values = numbers.astype(np.int64)
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
        if self.null is not None:  # rounding must not produce the value that means "undefined"
            raw[raw == self.null] = self.null + (1 if self.null < limits.max else -1)
        if self.sentinel is not None:
            beside = self.sentinel * (1 - 4 * ROUNDING) or np.finfo(np.float32).tiny
            raw[equal(raw.astype(np.float64), self.sentinel)] = beside
        return raw


def equal(values: ArrayLike, number: float) -> NDArray[np.bool_]:
    """Tell which values equal a number, to the rounding of float32."""
    return np.asarray(np.abs(np.asarray(values) - number) <= ROUNDING * abs(number), np.bool_)
