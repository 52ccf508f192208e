"""Check resolutions, seeds, angles and other numbers, with one wording for their errors."""

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

#: Devices of torch on which fills can run; its device `meta` computes nothing.
_DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")
#: Spelling of a device: its kind, then a number if there are several.
_DEVICE = re.compile(r"(?P<kind>[a-z]+)(?P<number>:\d+)?")


def check_nside(nside: SupportsIndex | float, *, what: str = "nside", of_map: bool = False) -> int:
    """Return `nside`, or raise ValueError if it is not a power of two from 1 to 8192.

    Parameters
    ----------
    nside
        HEALPix resolution. A float such as 64.0 is accepted, since headers and divisions give it.
    what
        Name of the argument or file, for the error message.
    of_map
        Whether it is that of a map which is there, so that the message says how to convert it.

    """
    whole = _whole(nside, floats=True)
    if whole is None or not 1 <= whole <= MAX_NSIDE or whole & (whole - 1):
        mend = ""
        if of_map and whole is not None and 1 < whole < MAX_NSIDE:
            near = 1 << whole.bit_length()
            mend = (
                f"; the methods divide pixels by four, which Nside {whole} does not allow:"
                f" interpolate map (NaN where missing) and mask to Nside {near}, in Python:"
                f" healpy.get_interp_val(m, *healpy.pix2ang({near}, range({12 * near**2})))"
            )
        raise ValueError(
            f"{what}: Nside must be a power of two from 1 to {MAX_NSIDE}, got {_shown(nside)}{mend}"
        )
    return whole


def check_seed(seed: SupportsIndex, *, what: str = "seed") -> int:
    """Return a seed as int, or raise ValueError if it is not an integer, 0 or more.

    None is refused, too: with it numpy would give a new sky at each call.
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
    """Convert an astropy Quantity of angle to radians; return anything else unchanged."""
    if not hasattr(value, "to_value"):
        return value
    try:
        return value.to_value("rad")
    except ValueError:  # astropy's UnitsError is one
        raise ValueError(f"{what}: {value.unit} is not a unit of angles") from None


def device_name(name: str) -> str:
    """Return torch's name of a device, without checking that the machine has it.

    Parameters
    ----------
    name
        ``auto``, ``cpu``, ``cuda``, ``mps``, ``xpu``, in any case; ``gpu`` means ``cuda``. A number
        may follow: ``cuda:1``.

    Raises
    ------
    ValueError
        The name is unknown.

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
    """Return a number as int; None if it is a bool or not a whole number."""
    if _is_bool(value):
        return None
    if isinstance(value, Integral):
        return int(value)
    if floats and isinstance(value, Real) and float(value).is_integer():
        return int(float(value))
    return None


def _is_bool(value: object) -> bool:
    """Recognise True and False, of Python and of numpy."""
    return isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")


def _shown(value: object) -> str:
    """Format a value for a message: numbers without their type, anything else up to 60 letters."""
    text = str(value) if isinstance(value, Real) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}..."
