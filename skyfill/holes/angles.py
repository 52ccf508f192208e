"""Read angles from tables: numbers in any unit, or sexagesimal text."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
from astropy import units
from astropy.coordinates import Angle
from numpy.typing import NDArray

__all__ = ["angle_unit", "is_unsaid", "radians"]

_WORDS = {
    "deg degs degree degrees degr decimaldegrees ° angle[deg]": units.deg,
    "d:m:s dms dd:mm:ss dd:mm:ss.s ±dd:mm:ss": units.deg,
    "rad rads radian radians": units.rad,
    "h hr hrs hour hours hourangle h:m:s hms hh:mm:ss hh:mm:ss.s hh:mm:ss.ss": units.hourangle,
    "arcmin arcmins arcminute arcminutes amin '": units.arcmin,
    'arcsec arcsecs arcsecond arcseconds asec as "': units.arcsec,
    "mas milliarcsec milliarcsecond milliarcseconds": units.mas,
}
_UNITS = {word: unit for words, unit in _WORDS.items() for word in words.split()}
_UNSAID = {"", "none", "-", "--", "---", "unitless", "unknown", "n/a", "char"}

#: Characters that editors and journals use for a minus sign.
_MINUS = str.maketrans("\u2212\u2013\u2012", "---")
#: Words that tables use for a missing value.
_MISSING = {"-", "--", "---", "...", "n/a", "na", "none", "null", "*"}


def angle_unit(word: object) -> Any:  # noqa: ANN401
    """Give the astropy unit of angle that a word names; None if it is another word."""
    text = re.sub(r"[\s\[\]()]", "", str(word)).lower()
    if len(text) > 2:  # VizieR writes "h:m:s" in quotes; single quotes mean minutes and seconds
        text = text.strip("\"'")
    return _UNITS.get(text)


def is_unsaid(word: object) -> bool:
    """Tell whether a word means "no unit"."""
    return word is None or str(word).strip().lower() in _UNSAID


def radians(
    column: Any,  # noqa: ANN401
    unit: Any,  # noqa: ANN401
    *,
    hours: bool = False,
) -> tuple[NDArray[np.float64], bool]:
    """Convert a column of a table to radians, NaN where a value is missing.

    Parameters
    ----------
    column
        ``(n,)``: numbers, or text such as 12:34:56.7, "12 34 56.7", -05d23m28s.
    unit
        The astropy unit of numbers.
    hours
        Whether sexagesimal text without unit letters counts hours.

    Returns
    -------
        ``(n,)``, radians, and whether the rows are sexagesimal.

    Raises
    ------
    ValueError
        A row does not hold an angle; the message gives its number, from 1.

    """
    values = np.ma.asarray(column)
    if values.ndim != 1:
        raise ValueError(f"{values.ndim} numbers a row")
    if values.dtype.kind not in "OSU":
        numbers = np.ma.filled(values.astype(np.float64), np.nan)
        return (numbers * unit).to_value(units.rad), False
    words = [
        (word.decode("latin-1") if isinstance(word, bytes) else str(word)).translate(_MINUS).strip()
        for word in np.ma.filled(values.astype(object), "")
    ]
    words = ["" if word.lower() in _MISSING else word for word in words]
    plain = [_number(word) if word else np.nan for word in words]
    if None not in plain:
        return (np.array(plain, dtype=np.float64) * unit).to_value(units.rad), False
    sexagesimal = units.hourangle if hours else units.deg
    out = np.full(len(words), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 60 seconds is 59.9996, rounded in print
        for row, (word, number) in enumerate(zip(words, plain, strict=True)):
            if number is None:
                try:
                    out[row] = Angle(word.lower(), sexagesimal).to_value(units.rad)
                except (ValueError, TypeError, units.UnitsError) as error:
                    raise ValueError(f"row {row + 1} has {word[:40]!r}") from error
    mixed = [row for row, number in enumerate(plain) if number is not None and words[row]]
    if mixed:  # in a sexagesimal column a plain number may be hours or degrees
        raise ValueError(f"row {mixed[0] + 1} has {words[mixed[0]]!r} among sexagesimal rows")
    return out, True


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None
