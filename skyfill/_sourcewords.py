"""The words by which tables name positions and radii."""

from __future__ import annotations

import re

__all__ = ["EQUATORIAL", "POSITIONS", "RADII", "frame_of", "is_position", "split_name"]

#: Names of longitude and latitude, as `split_name` writes them, and their frame; the first pair
#: that a table has is taken. Equatorial names come first: they have no other meaning, while l and
#: b may be a multipole and a magnitude. None is the frame of the map.
POSITIONS: tuple[tuple[str, str, str | None], ...] = (
    ("ra", "dec", "C"),
    ("ra", "de", "C"),
    ("raj2000", "dej2000", "C"),
    ("raj2000", "decj2000", "C"),
    ("raicrs", "deicrs", "C"),
    ("raicrs", "decicrs", "C"),
    ("alphaj2000", "deltaj2000", "C"),
    ("ra2000", "dec2000", "C"),
    ("rightascension", "declination", "C"),
    ("rab1950", "deb1950", "B"),
    ("rab1950", "decb1950", "B"),
    ("ra1950", "dec1950", "B"),
    ("glon", "glat", "G"),
    ("gallon", "gallat", "G"),
    ("lii", "bii", "G"),
    ("galacticlongitude", "galacticlatitude", "G"),
    ("l", "b", "G"),
    ("elon", "elat", "E"),
    ("ecllon", "ecllat", "E"),
    ("eclipticlongitude", "eclipticlatitude", "E"),
    ("lon", "lat", None),
    ("longitude", "latitude", None),
)
#: Frames in which sexagesimal longitudes count hours.
EQUATORIAL = ("C", "B")
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
    """Give the frame that the names of two columns say, None where they say none."""
    plain = split_name(lon)[0], split_name(lat)[0]
    return next((frame for *pair, frame in POSITIONS if tuple(pair) == plain), None)
