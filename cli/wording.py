"""Translate the parameters in messages of the library into options of the command line.

Messages of the library name parameters in backticks, `overwrite=True` or `noise_rms`, as they are
passed in Python. Most have an option of the same name; the others are listed here.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

__all__ = ["OTHER_NAMES", "as_options", "naming"]

#: Parameters whose options have other names.
OTHER_NAMES = {
    "apodize": "--apodize-deg",
    "by": "--rotate-by",
    "columns": "--field",
    "coord": "--frame",
    "extend": "--cl-extend",
    "fwhm": "--beam-arcmin",
    "half_width": "--band-deg",
    "latitude": "--galactic-cut",
    "max_pixels": "--fill-islands",
    "n_holes": "--holes",
    "n": "--realizations",
    "noise_rms": "--noise-map",
    "observed": "--mask",
    "observed_pol": "--mask-pol",
    "radii": "--radius-arcmin",
    "radius": "--radius-arcmin",
    "reproject": "--reproject-mask",
    "squared": "--beam-squared",
    "test_values": "--test-map",
    "variance": "--noise-variance",
}

#: Matches `name` or `name=value`; other text in backticks, such as `skyfill.grow(mask)`, stays.
_PARAMETER = re.compile(r"`(?P<name>[a-z][a-z0-9_]*)(?:=(?P<value>[^`]+))?`")


def as_options(message: str, names: Mapping[str, str] | None = None) -> str:
    """Replace the parameters that a message names by options: `overwrite=True` by --overwrite.

    Parameters
    ----------
    message
        Message of the library.
    names
        Options that differ from the usual ones: ``{"field": "--mask-field"}``.

    """
    known = OTHER_NAMES | dict(names or {})

    def option(found: re.Match[str]) -> str:
        name, value = found["name"], found["value"]
        flag = known.get(name, "--" + name.replace("_", "-"))
        if value is None or value == "True":
            return flag
        if value == "False":
            return flag.replace("--", "--no-", 1)
        text = value.strip(chr(39) + chr(34))
        return f"{flag} {shlex.quote(text) if ' ' in text else text}"

    return _PARAMETER.sub(option, message)


@contextmanager
def naming(**names: str) -> Iterator[None]:
    """Use other option names in the errors of a block: ``naming(field="--mask-field")``."""
    try:
        yield
    except (ValueError, OSError, MemoryError) as error:
        if len(error.args) == 1 and isinstance(error.args[0], str):  # else worded by the system
            error.args = (as_options(error.args[0], names),)
        raise
