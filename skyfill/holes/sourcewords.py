"""The words by which tables name positions and radii."""

from __future__ import annotations

import re
from collections.abc import Mapping

from skyfill.maps.frames import frame_of_cards, frame_of_word

__all__ = [
    "EQUATORIAL",
    "POSITIONS",
    "RADII",
    "UNDATED",
    "frame_of",
    "frame_said",
    "is_position",
    "split_name",
]

#: Names of longitude and latitude, as `split_name` writes them, and their frame; the first pair
#: that a table has is taken. Equatorial names come first: they have no other meaning, while l and
#: b may be a multipole and a magnitude. None is the frame of the map.
POSITIONS: tuple[tuple[str, str, str | None], ...] = (
    ("ra", "dec", "C"),
    ("ra", "de", "C"),
    ("ra", "decl", "C"),
    ("raj2000", "dej2000", "C"),
    ("raj2000", "decj2000", "C"),
    ("raicrs", "deicrs", "C"),
    ("raicrs", "decicrs", "C"),
    ("rafk5", "decfk5", "C"),
    ("alphaj2000", "deltaj2000", "C"),
    ("alphawinj2000", "deltawinj2000", "C"),
    ("raj", "decj", "C"),
    ("rajd", "decjd", "C"),
    ("ra2000", "dec2000", "C"),
    ("rightascension", "declination", "C"),
    ("rab1950", "deb1950", "B"),
    ("rab1950", "decb1950", "B"),
    ("ra1950", "dec1950", "B"),
    ("rafk4", "decfk4", "B"),
    ("glon", "glat", "G"),
    ("gallon", "gallat", "G"),
    ("lii", "bii", "G"),
    ("galacticlongitude", "galacticlatitude", "G"),
    ("galacticlon", "galacticlat", "G"),
    ("l", "b", "G"),
    ("elon", "elat", "E"),
    ("ecllon", "ecllat", "E"),
    ("eclipticlon", "eclipticlat", "E"),
    ("eclipticlongitude", "eclipticlatitude", "E"),
    ("lon", "lat", None),
    ("longitude", "latitude", None),
)
#: Frames in which sexagesimal longitudes count hours.
EQUATORIAL = ("C", "B")
#: Names of right ascension that say no equinox.
UNDATED = ("ra", "rightascension")
#: Words of comments that name the frame of positions: the Galactic plane is no frame.
_IN_COMMENTS = {
    "G": r"\bgalactic\b(?!\W+(?:plane|mask|cut|cent|emission|foreground|bulge|dis[ck]|halo|source"
    r"|object|latitudes?\W*(?:cut|above|below|[<>|])))",
    "E": r"\becliptic\b(?!\W+(?:plane|pole))",
    "C": r"\b(?:equatorial|icrs|fk5|j ?2000|right ascension)\b|\bra\b\W+(?:\w+\W+)?dec",
    "B": r"\b(?:fk4|b ?1950(?:\.0)?|equinox\W+1950)\b",
}
_OF_2000 = re.compile(r"\b(?:icrs|fk5|j ?2000)\b|\b2000\.0", re.IGNORECASE)
#: What stands in brackets behind a name and is no unit.
_EQUINOX = re.compile(
    r"\s*[\[(]\s*((?:[JB]?\s*(?:2000|1950)(?:\.0)?)|ICRS|FK[45]|II)\s*[\])]", re.IGNORECASE
)
#: Names of a disc's radius. r is a magnitude and rad may be a unit: they are radii only where they
#: have a unit of angle.
RADII = ("radius", "discradius", "diskradius", "maskradius", "holeradius", "rmask", "r", "rad")
_SUFFIX = re.compile(
    r"(?P<name>.+?)(?:\s*[\[(](?P<bracket>[^\[\]()]+)[\])]"
    r"|[ _-]+(?P<word>deg|degrees?|rad|radians?|hms|dms|hours?|hr|arcmin|arcminutes?|arcsec"
    r"|arcseconds?|mas)"
    r"|(?<=ra|de)(?P<glued>deg|rad)|(?<=dec|lon|lat)(?P<glued2>deg|rad))",
    re.IGNORECASE,
)


def split_name(name: str) -> tuple[str, str]:
    """Write a name in small letters and digits only, and take the unit off: _RAJ2000, ra_deg."""
    name = _EQUINOX.sub(lambda found: f"_{found[1].removesuffix('.0')}", name)
    match = _SUFFIX.fullmatch(name.strip())
    unit = ""
    if match:
        name = match["name"]
        unit = next(filter(None, (match[key] for key in ("bracket", "word", "glued", "glued2"))))
    return re.sub(r"[^a-z0-9]", "", name.lower()), unit


def is_position(names: list[str]) -> bool:
    """Tell whether a pair of names among these is that of a position."""
    plain = {split_name(name)[0] for name in names}
    return any(lon in plain and lat in plain for lon, lat, _ in POSITIONS)


def frame_of(lon: str, lat: str) -> str | None:
    """Give the frame that the names of two columns say, None where they say none.

    What both names have in common does not count: ra_1 and dec_1, TARGET_RA and TARGET_DEC.
    """
    plain = split_name(lon)[0], split_name(lat)[0]
    for x, y, frame in POSITIONS:
        if (x, y) == plain:
            return frame
    for x, y, frame in sorted(POSITIONS, key=lambda pair: -len(pair[0])):
        before, found, after = plain[0].partition(x)
        if found and plain[1] == before + y + after:
            return frame or frame_of_word(before) or frame_of_word(after)
    return None


def frame_said(cards: Mapping[str, str], comments: str) -> tuple[str | None, str]:
    """Give the frame that a table's header, or else its comments, name for its positions.

    Returns
    -------
        G, E, C, B (B1950), "" for one that is not understood, or None; and where it stands.

    """
    frame, words = frame_of_cards(lambda key: cards.get(key, ""))
    if frame is not None:
        return frame, "by its header"
    if words is not None:
        of_1950 = re.search(r"FK4|1950", words) and not re.search(r"(?i)ecl|= 'E'|gal", words)
        return ("B" if of_1950 else ""), words
    found = {
        frame
        for frame, sign in _IN_COMMENTS.items()
        if re.search(sign, comments, re.IGNORECASE) is not None
    }
    if "B" in found and not _OF_2000.search(comments):
        found -= {"C"}
    return (found.pop(), "by its comments") if len(found) == 1 else (None, "")
