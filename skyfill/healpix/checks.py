"""Check resolutions, seeds, angles and other numbers; the only place that words these errors."""

from __future__ import annotations

import math
import re
from numbers import Integral, Real
from typing import Any, SupportsIndex

__all__ = [
    "MAX_NSIDE",
    "check_angle",
    "check_frame",
    "check_nside",
    "check_seed",
    "check_whole",
    "device_name",
    "in_radians",
]

MAX_NSIDE = 8192
"""The largest resolution that skyfill is tested at (805 million pixels)."""

#: Names of devices that torch knows, of which CMB sites have some; `meta` computes nothing.
_DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")
#: What people write for a device.
_DEVICE = re.compile(r"(?P<kind>[a-z]+)(?P<number>:\d+)?")


def check_nside(nside: SupportsIndex | float, *, what: str = "nside") -> int:
    """Return `nside`, or raise ValueError if it is not a power of two from 1 to 8192.

    Parameters
    ----------
    nside
        HEALPix resolution; a float such as 64.0 is taken, as headers and divisions give it.
    what
        What the number is, for the error message: an argument or a file.

    """
    whole = _whole(nside, floats=True)
    if whole is None or not 1 <= whole <= MAX_NSIDE or whole & (whole - 1):
        raise ValueError(
            f"{what}: Nside must be a power of two from 1 to {MAX_NSIDE}, got {_shown(nside)}"
        )
    return whole


def check_seed(seed: SupportsIndex, *, what: str = "seed") -> int:
    """Return a seed as int, or raise ValueError if it is not an integer, 0 or more.

    None is refused, too: numpy would take it for "a new sky at each call".
    """
    whole = _whole(seed)
    if whole is None or whole < 0:
        raise ValueError(
            f"{what} must be an integer, 0 or more, since the same {what} gives the same sky; "
            f"got {_shown(seed)}"
        )
    return whole


def check_whole(value: SupportsIndex, what: str, *, least: int = 0) -> int:
    """Return a count as int, or raise ValueError if it is not an integer of at least `least`."""
    whole = _whole(value)
    if whole is None or whole < least:
        raise ValueError(f"{what} must be an integer, {least} or more, got {_shown(value)}")
    return whole


def check_frame(coord: str | None, what: str = "coord") -> str | None:
    """Return a frame, G, E or C, or None; raise ValueError for anything else."""
    if coord not in ("G", "E", "C", None):
        raise ValueError(
            f"{what} must be G (Galactic), E (ecliptic), C (equatorial) or None, got "
            f"{_shown(coord)}"
        )
    return coord


def check_angle(
    value: Any,  # noqa: ANN401 (numbers and quantities)
    what: str,
    *,
    least: float = 0.0,
    most: float = math.pi,
) -> float:
    """Return an angle in radians, or raise ValueError if it is outside of a range.

    Parameters
    ----------
    value
        The angle, radians; or an astropy Quantity of an angle.
    what
        Name of the argument, for the error message.
    least, most
        The range, radians, both inclusive.

    """
    try:
        number = math.nan if isinstance(value, bool | str) else float(in_radians(value, what))
    except TypeError:
        number = math.nan
    if not least <= number <= most:
        low, high = (f"{math.degrees(limit):.6g}" for limit in (least, most))
        degrees = (
            f"; {what}={number:.6g} degrees is {math.radians(number):.4g}"
            if most < number <= math.degrees(most)
            else ""
        )
        raise ValueError(
            f"{what} must be in radians, from {least:.4g} to {most:.4g} ({low} to {high} degrees), "
            f"got {_shown(value)}{degrees}"
        )
    return number


def in_radians(value: Any, what: str) -> Any:  # noqa: ANN401 (numbers, arrays and quantities)
    """Take an angle out of an astropy Quantity, in radians; anything else is returned as it is."""
    if not hasattr(value, "to_value"):
        return value
    try:
        return value.to_value("rad")
    except ValueError:  # astropy's UnitsError is one
        raise ValueError(f"{what}: {value.unit} is no unit of angles") from None


def device_name(name: str) -> str:
    """Return the name of a device as torch has it, whether the machine has one or not.

    Parameters
    ----------
    name
        ``auto``, ``cpu``, ``cuda``, ``mps``, ``xpu``, in any case; ``gpu`` means ``cuda``. A number
        may follow: ``cuda:1``.

    Raises
    ------
    ValueError
        There is no such name.

    """
    found = _DEVICE.fullmatch(str(name).strip().lower())
    kind = found["kind"] if found else ""
    kind = "cuda" if kind == "gpu" else kind
    if found is None or kind not in _DEVICES or (kind == "auto" and found["number"]):
        raise ValueError(
            f"device {name!r} is unknown; pass `device` {', '.join(_DEVICES)} or cuda:1 and so on "
            "(gpu means cuda)"
        )
    return kind + (found["number"] or "")


def _whole(value: object, *, floats: bool = False) -> int | None:
    """Return a number as int; None where it is no whole number, or a truth value."""
    if _is_bool(value):
        return None
    if isinstance(value, Integral):
        return int(value)
    if floats and isinstance(value, Real) and float(value).is_integer():
        return int(float(value))
    return None


def _is_bool(value: object) -> bool:
    """Tell True and False, numpy's too, which calls them no integers."""
    return isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")


def _shown(value: object) -> str:
    """Word a value: numbers without their type, anything else in full but not for pages."""
    text = str(value) if isinstance(value, Real) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}..."
