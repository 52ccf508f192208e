"""Understand the words that files and people use for celestial frames."""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["frame_of_cards", "frame_of_word"]

#: Words for each frame, in small letters. FK5 and ICRS differ by less than 0.1 arcseconds.
_WORDS = {
    "G": "g gal galac galactic galactical galaxy glon glat",
    "E": "e ecl eclip eclipt ecliptic ecliptical elon elat barycentrictrueecliptic"
    " barycentricmeanecliptic geocentrictrueecliptic geocentricmeanecliptic"
    " heliocentrictrueecliptic heliocentricmeanecliptic",
    "C": "c q cel celest celestial equ eq equat equator equatorial ra dec de radec rade radecl icrs"
    " icrf fk5 j2000",
}
_FRAME = {word: frame for frame, words in _WORDS.items() for word in words.split()}
#: Words that stand beside a frame and do not change it.
_BESIDE = {
    "coordinate",
    "coordinates",
    "coord",
    "coords",
    "coordsys",
    "position",
    "positions",
    "system",
    "sys",
    "frame",
    "reference",
    "standard",
    "sky",
    "mean",
    "the",
    "of",
    "in",
    "equinox",
    "epoch",
    "2000",
}
#: Words that say that the frame is not known.
_SILENT = {"unknown", "none", "undefined", "unspecified", "null", "nan", "n/a", "na", "-", "?", "u"}
_FRAME_KEYS = ("COORDSYS", "COORD", "SKYCOORD")
#: These have other meanings, too, so only a word that is understood counts.
_RARE_KEYS = (
    "COORSYS",
    "COORTYPE",
    "COORDTYP",
    "COORDTYPE",
    "COORDS",
    "COORD_SYS",
    "COORDREF",
    "SKYFRAME",
    "SKYSYS",
    "FRAME",
    "REFFRAME",
    "SYSTEM",
    "HPXFRAME",
    "HPXCOORD",
)
_EQUATORIAL_KEYS = ("RADESYS", "RADECSYS")
_EQUINOX_KEYS = ("EQUINOX", "EPOCH")
_YEAR = 0.01  # in 4 days the equinox moves by 0.5 arcseconds
_FK5_YEAR = 1984.0  # equinoxes before it are of FK4 (FITS standard, 8.3)


def frame_of_word(text: str) -> str | None:
    """Return the celestial frame that a word names.

    Parameters
    ----------
    text
        A letter or words in upper or lower case: G, GAL, Galactic; E, ECL, Ecliptic; C, Q, CEL,
        Celestial, EQ, EQU, Equatorial, RA/DEC, ICRS, FK5, J2000.

    Returns
    -------
        "G" (Galactic), "E" (ecliptic), "C" (equatorial, ICRS or J2000); None for any other word, in
        particular for FK4 and B1950, which are equatorial frames of another epoch.

    """
    words = set(re.findall(r"[a-z0-9]+", re.sub(r"2000\.0*", "2000", text.lower()))) - _BESIDE
    if len(words) > 1:
        words -= {"j2000"}  # of an ecliptic frame, too
    found = {_FRAME.get(word) or _FRAME.get(re.sub("j?2000$", "", word)) for word in words}
    return found.pop() if len(found) == 1 else None


def frame_of_cards(text: Callable[[str], str]) -> tuple[str | None, str | None]:
    """Return the frame that a header names, and the words where it cannot be understood.

    COORDSYS, COORD and SKYCOORD name the frame. RADESYS and EQUINOX do where these are silent, and
    can say that an equatorial or ecliptic frame is not that of J2000.

    Parameters
    ----------
    text
        Gives the value of a keyword, "" where there is none.

    Returns
    -------
        The frame, G, E or C, or None; and, where cards are there that name no frame or contradict
        each other, these cards as text, otherwise None.

    """
    rare = {key: value for key, value in _given(text, _RARE_KEYS).items() if frame_of_word(value)}
    named = _given(text, _FRAME_KEYS) or rare
    system = _given(text, _EQUATORIAL_KEYS)
    fixed = any(value.upper().startswith("IC") for value in system.values())  # has no equinox
    old = {} if fixed else _old_equinox(text)
    frames = {frame_of_word(value) for value in named.values()}
    if not frames:
        equinox = _given(text, _EQUINOX_KEYS[:1])
        frames = {frame_of_word(value) for value in system.values()}
        named = system | old or equinox
        frames = {None} if old else frames or ({"C"} if equinox else set())
    elif frames <= {"C", "E"}:  # the date of the axes matters
        wrong = {key: value for key, value in system.items() if frame_of_word(value) != "C"} | old
        if wrong:
            named, frames = named | wrong, {None}
    if not frames:
        return None, None
    if len(frames) == 1 and None not in frames:
        return frames.pop(), None
    words = ", ".join(f"{key} = {value!r}" for key, value in named.items())
    return None, words


def _given(text: Callable[[str], str], keys: tuple[str, ...]) -> dict[str, str]:
    """Collect the keywords that say something."""
    found = {key: text(key).strip("' ") for key in keys}
    return {key: value for key, value in found.items() if value.lower() not in _SILENT | {""}}


def _old_equinox(text: Callable[[str], str]) -> dict[str, str]:
    """Collect the cards that name an equinox other than J2000."""
    found = {}
    for key, value in _given(text, _EQUINOX_KEYS).items():
        match = re.fullmatch(r"([BJ]?)\s*(\d{4}(?:\.\d*)?)", value.upper())
        if match is None:
            continue
        letter, year = match[1], float(match[2])
        # A bare EPOCH means the equinox in old files only; in later ones it dates an observation.
        if letter or key != "EPOCH":
            other = letter == "B" or abs(year - 2000) > _YEAR
        else:
            other = year < _FK5_YEAR
        if other:
            found[key] = value
    return found
