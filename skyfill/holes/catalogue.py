"""Read catalogues of sources: positions, and radii of the discs to mask."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.table import Table
from numpy.typing import NDArray

from skyfill.brief import brief
from skyfill.holes.angles import angle_unit, is_unsaid, radians
from skyfill.holes.sourcetable import read_tables
from skyfill.holes.sourcewords import (
    EQUATORIAL,
    POSITIONS,
    RADII,
    UNDATED,
    frame_of,
    frame_said,
    split_name,
)
from skyfill.maps.frames import frame_of_word

__all__ = ["Sources", "pole_of_galaxy", "read_catalogue", "read_sources"]

_FRAMES = {"G": "galactic", "C": "icrs", "E": "barycentricmeanecliptic", "B": "fk4"}
_FRAME_NAMES = {"G": "Galactic", "C": "equatorial", "E": "ecliptic", "B": "equatorial, B1950"}
#: Number of rows from which positions that are all within 2π and ±π/2 (or 24) are suspected to be
#: radians (or hours).
_MANY = 10
_KEYS = ("lon", "lat", "radius", "frame")


@dataclass(frozen=True, eq=False)
class Sources:
    """Sources of a catalogue, and how it was read."""

    __repr__ = brief

    lon: NDArray[np.float64] = field(repr=False)
    """``(n,)``, longitude in the frame of the map, radians."""
    lat: NDArray[np.float64] = field(repr=False)
    """``(n,)``, latitude, radians."""
    radius: NDArray[np.float64] = field(repr=False)
    """``(n,)``, radius of the disc to mask, radians."""
    said: tuple[str, ...] = ()
    """Sentences for the user: the columns of positions and radii, and what was assumed."""


def read_catalogue(
    path: str | os.PathLike[str],
    radius: float | None = None,
    *,
    coord: str | None = "G",
    columns: Mapping[str, str | int] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Read positions and radii of sources from a table.

    `read_sources` has the same parameters and also reports what was assumed.

    Returns
    -------
        Longitudes, latitudes and radii, ``(n,)`` each, in the frame of the map, radians.

    Raises
    ------
    ValueError
        The table cannot be understood, has no positions or no radii, or impossible ones; or its
        positions have a frame and the map's is unknown.
    OSError
        The file cannot be read.

    """
    sources = read_sources(path, radius, coord=coord, columns=columns)
    return sources.lon, sources.lat, sources.radius


def read_sources(
    path: str | os.PathLike[str],
    radius: float | None = None,
    *,
    coord: str | None = "G",
    columns: Mapping[str, str | int] | None = None,
) -> Sources:
    """Read positions and radii of sources from a table, and report how it was read.

    Parameters
    ----------
    path
        Text (separated by white space, commas, semicolons, tabs or bars; with or without column
        names; also in VizieR's form), ECSV, IPAC, AAS and CDS machine-readable tables, FITS,
        VOTable, or circles of DS9 (.reg); gzipped or not. Positions are the first of these pairs of
        columns in the table: ra and dec and variants (RAJ2000 and DEJ2000, RA_ICRS and DE_ICRS
        ...), B1950 likewise; glon and glat, then l and b; elon and elat; lon and lat in the frame
        of the map. A table without names has lon, lat and optionally radius in this order. Numbers
        are in degrees unless the column or its name (ra_rad) has a unit. Text may be sexagesimal,
        with hours in right ascension. Radii are in a column called radius, in arcmin unless it has
        a unit; columns r and rad are used only if they have a unit of angle.
    radius
        Radius of sources without a radius in the table, radians.
    coord
        Frame of the map, to which positions are rotated: G, E or C (equatorial). None if it is
        unknown; only columns lon and lat can then be read.
    columns
        Columns to use instead: ``{"lon": name, "lat": name}``, optionally with "radius" and "frame"
        (G, E or C). Columns are given by name or by number from 0. Without "frame" the names of the
        columns tell the frame, or else it is that of the map.

    Returns
    -------
        The sources.

    Raises
    ------
    ValueError
        The table cannot be understood, has no positions or no radii, or impossible ones; or its
        positions have a frame and the map's is unknown.
    OSError
        The file cannot be read.

    """
    path = Path(path)
    if coord not in (None, "G", "E", "C"):
        raise ValueError(f"`coord` must be G, E, C or None, got {coord!r}")
    kind, tables = read_tables(path)
    table, places = _table_with_positions(path, tables, columns, coord)
    lon, lat, frame, said = places
    if frame is not None and coord is None:
        raise ValueError(
            f"{path}: positions are {_FRAME_NAMES[frame]} ({said}), and the frame of the map is"
            " unknown; pass `coord='G'`, 'E' or 'C'"
        )
    _check_positions(path, lon, lat)
    size, of_radius = _radii(path, table, columns, radius)
    size = np.where(np.isnan(size), np.nan if radius is None else radius, size)
    if np.isnan(size).any():
        raise ValueError(
            f"{path}: not every source has a radius (row {_first(np.isnan(size))}, for one); pass"
            " `radius`"
        )
    impossible = ~((size >= 0) & (size <= np.pi))
    if impossible.any():
        raise ValueError(
            f"{path}: a radius is negative or larger than the sky, in row {_first(impossible)}"
        )
    turned = "" if frame in (None, coord) else f", turned to {_FRAME_NAMES[coord or 'G']}"
    where = "in the map's frame" if frame is None else _FRAME_NAMES[frame]
    lines = (f"positions: {said}; {where}{turned}", f"radius: {of_radius}")
    return Sources(*_turned(lon, lat, frame, coord or "G"), size, (f"{kind}, {lines[0]}", lines[1]))


def pole_of_galaxy(coord: str) -> NDArray[np.float64]:
    """Give the unit vector of the north Galactic pole, ``(3,)``, in the frame G, E or C."""
    lon, lat = _turned(np.zeros(1), np.full(1, 0.5 * np.pi), "G", coord)
    return np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])[:, 0]


# --- which columns ------------------------------------------------------------------------------

_Places = tuple[NDArray[np.float64], NDArray[np.float64], str | None, str]


def _table_with_positions(
    path: Path, tables: list[Table], columns: Mapping[str, str | int] | None, coord: str | None
) -> tuple[Table, _Places]:
    """Find the table that has positions, and read it."""
    if columns is not None:
        return _chosen(path, tables, columns, coord)
    for number, table in enumerate(tables, 1):
        places = _positions(path, table, coord)
        if places is not None:
            lon, lat, frame, said = places
            which = f"table {number} of {len(tables)}, " * (len(tables) > 1)
            return table, (lon, lat, frame, which + said)
    names = "; ".join(", ".join(table.colnames) for table in tables)
    raise ValueError(
        f"{path}: no positions; name columns lon and lat, glon and glat, or ra and dec, or pass"
        f" `columns` with lon=… and lat=…; there are {names}"
    )


def _chosen(
    path: Path, tables: list[Table], columns: Mapping[str, str | int], coord: str | None
) -> tuple[Table, _Places]:
    """Read the positions that `columns` names."""
    unknown = [key for key in columns if key not in _KEYS]
    if unknown or not {"lon", "lat"} <= set(columns):
        raise ValueError(
            f"`columns` needs lon and lat, and takes radius and frame as well; got"
            f" {', '.join(columns) or 'nothing'}"
        )
    frame = columns.get("frame")
    if frame is not None and str(frame).upper() not in _FRAMES:
        frame = frame_of_word(str(frame)) or frame
    frame = str(frame).upper() if len(str(frame)) == 1 else frame
    if frame not in (None, *_FRAMES):
        raise ValueError(f"`columns`: frame must be G, E, C or B (B1950), got {frame!r}")
    wanted = [columns[key] for key in ("lon", "lat", "radius") if key in columns]
    for table in tables:
        found = [_name(table, which) for which in wanted]
        if None not in found:
            lon, lat = str(found[0]), str(found[1])
            if frame:
                return table, _pair(path, table, lon, lat, str(frame))
            return table, _pair_of_table(path, table, lon, lat, frame_of(lon, lat), coord)
    missing = next(which for which in wanted if _name(tables[0], which) is None)
    raise ValueError(f"{path}: no column {missing!r}; there are {', '.join(tables[0].colnames)}")


def _name(table: Table, which: str | int) -> str | None:
    """Find a column by its name, in upper or lower case, or by its number from 0."""
    names: list[str] = table.colnames
    if which in names:
        return str(which)
    same = [name for name in names if name.lower() == str(which).lower()]
    if len(same) == 1:
        return same[0]
    if str(which).isdecimal() and int(which) < len(names):
        return names[int(which)]
    return None


def _positions(path: Path, table: Table, coord: str | None) -> _Places | None:
    """Read the first known pair of columns; None if there is none."""
    for name in table.colnames:
        if isinstance(table[name], SkyCoord):
            sky = table[name].icrs
            return sky.ra.to_value("rad"), sky.dec.to_value("rad"), "C", f"{name} (sky coordinates)"
    if {"RAh", "RAm", "DEd", "DEm"} <= set(table.colnames):
        return *_in_parts(path, table), "C", "RAh ... DEd ... (sexagesimal)"
    plain: dict[str, str] = {}
    for name in table.colnames:
        base = split_name(name)[0]
        # columns of numbers are preferred to text
        if base not in plain or table[plain[base]].dtype.kind in "OSU":
            plain[base] = name
    for lon, lat, frame in POSITIONS:
        if lon in plain and lat in plain:
            return _pair_of_table(path, table, plain[lon], plain[lat], frame, coord)
    if table.colnames[:2] == ["col1", "col2"]:
        _refuse_nameless(path, table)
        return _pair_of_table(path, table, "col1", "col2", None, coord)
    return None


def _refuse_nameless(path: Path, table: Table) -> None:
    """Refuse columns without names that may not be lon, lat and optionally radius."""
    if len(table.colnames) > 3:
        raise ValueError(
            f"{path}: {len(table.colnames)} columns without names; put a line of names above"
            " them, or pass `columns` with lon=0, lat=1 and the others by number"
        )
    first = np.ma.filled(np.ma.asarray(table["col1"]), -1)
    if len(table.colnames) == 3 and _counts(first):
        raise ValueError(
            f"{path}: the first of 3 columns without names counts by one, so it may number the"
            " rows; put a line of names above them, or pass `columns` with lon=1, lat=2"
        )


def _counts(values: NDArray[Any]) -> bool:
    """Tell whether a column counts 0, 1, 2 ... or 1, 2, 3 ..."""
    if values.size < 3 or values.dtype.kind not in "iuf" or values[0] not in (0, 1):
        return False
    return bool((np.diff(values) == 1).all())


def _pair_of_table(
    path: Path, table: Table, lon: str, lat: str, frame: str | None, coord: str | None
) -> _Places:
    """Read longitude and latitude in the frame given by names, header or comments."""
    if frame is not None and not (frame == "C" and split_name(lon)[0] in UNDATED):
        return _pair(path, table, lon, lat, frame)
    # a VOTable names the frame of each column
    meta = {**table.meta, **(table[lon].info.meta or {})}
    lines = meta.get("comments", [])
    said, where = frame_said(
        {str(key).upper(): str(value) for key, value in meta.items()},
        lines if isinstance(lines, str) else "\n".join(map(str, lines)),
    )
    if said == "":
        raise ValueError(
            f"{path}: {lon}, {lat} are in a frame that is not understood ({where}); pass `columns`"
            f" with lon={lon}, lat={lat} and frame=G, E, C or B (B1950)"
        )
    if frame == "C":
        return _pair(path, table, lon, lat, said if said == "B" else "C")
    if said is None or said == coord:
        return _pair(path, table, lon, lat, None)
    if "comments" in where and coord is not None:
        raise ValueError(
            f"{path}: the comments speak of {_FRAME_NAMES[said]} positions, {lon}, {lat} say no"
            f" frame, and that of the map is {_FRAME_NAMES[coord]}; pass `columns` with lon={lon},"
            f" lat={lat} and frame={said}, or frame={coord}"
        )
    return _pair(path, table, lon, lat, None if "comments" in where else said)


def _pair(path: Path, table: Table, lon: str, lat: str, frame: str | None) -> _Places:
    """Read longitude and latitude, and describe their unit."""
    hours = frame in EQUATORIAL
    x, unit, assumed = _angles(path, table, lon, units.deg, hours=hours)
    if frame is None and unit == "sexagesimal" and not _says_unit(table[lon]):
        raise ValueError(
            f"{path}: column {lon} is sexagesimal and may be hours or degrees; name it ra or glon,"
            f" or pass `columns` with lon={lon}, lat={lat} and frame=C for hours, G or E for"
            " degrees"
        )
    y, _, _ = _angles(path, table, lat, units.deg)
    said = f"{lon}, {lat} ({unit})"
    if assumed and x.size >= _MANY:
        _suspect(path, said, np.degrees(x), np.degrees(y), hours=hours)
    return x, y, frame, said


def _says_unit(column: Any) -> bool:  # noqa: ANN401
    """Tell whether sexagesimal text has unit letters: 12h34m, 188d44m."""
    return all(re.match(r"\s*[-+]?\d+\s*[hd°]", str(word), re.IGNORECASE) for word in column)


def _suspect(
    path: Path, said: str, lon: NDArray[np.float64], lat: NDArray[np.float64], *, hours: bool
) -> None:
    """Warn if numbers that were read as degrees look like radians or hours."""
    if np.abs(lat).max() <= 0.5 * np.pi and lon.min() >= -np.pi and lon.max() <= 2 * np.pi:
        warnings.warn(
            f"{path}: {said}: all of {lon.size} positions are within 2π and ±π/2; if they are"
            " radians, name the columns lon_rad and lat_rad",
            stacklevel=4,
        )
    elif hours and lon.min() >= 0 and lon.max() <= 24 and np.ptp(lat) > 90:
        warnings.warn(
            f"{path}: {said}: all of {lon.size} right ascensions are within 24; if they are hours,"
            " name the column ra_hours",
            stacklevel=4,
        )


def _in_parts(path: Path, table: Table) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read RAh RAm RAs and DE- DEd DEm DEs of machine-readable tables."""

    def sixtieths(names: tuple[str, ...]) -> NDArray[np.float64]:
        total = np.zeros(len(table))
        for power, name in enumerate(names):
            if name in table.colnames:
                column = np.ma.filled(np.ma.asarray(table[name]).astype(np.float64), np.nan)
                total += np.where(np.isnan(column) & (power == 2), 0.0, column) / 60**power
        return total

    try:
        lon, lat = sixtieths(("RAh", "RAm", "RAs")), sixtieths(("DEd", "DEm", "DEs"))
    except ValueError as error:
        raise ValueError(f"{path}: columns RAh ... DEs hold no sexagesimal numbers") from error
    if "DE-" in table.colnames:
        signs = np.ma.filled(np.ma.asarray(table["DE-"]).astype(str), "+")
        lat = np.where(np.char.strip(signs) == "-", -lat, lat)
    return np.radians(15 * lon), np.radians(lat)


def _radii(
    path: Path,
    table: Table,
    columns: Mapping[str, str | int] | None,
    radius: float | None,
) -> tuple[NDArray[np.float64], str]:
    """Read the column of radii and describe it; NaN where a radius is missing."""
    given = "the given one for all" if radius is not None else "none"
    if columns is not None:
        name = _name(table, columns["radius"]) if "radius" in columns else None
    else:
        plain = {split_name(name)[0]: name for name in reversed(table.colnames)}
        radii = [plain[name] for name in RADII if name in plain]
        # r may be a magnitude and rad anything, unless their unit is one of angle
        radii = [n for n in radii if split_name(n)[0] not in ("r", "rad") or _is_angle(table, n)]
        name = radii[0] if radii else None
        if name is None and table.colnames == ["col1", "col2", "col3"]:
            name = "col3"
    if name is None:
        return np.full(len(table), np.nan), given
    sizes, unit, _ = _angles(path, table, name, units.arcmin)
    said = f"column {name} ({unit})"
    if radius is not None:
        said += (
            ", the given one where it has none" if np.isnan(sizes).any() else ", not the given one"
        )
    return sizes, said


# --- what is in them ----------------------------------------------------------------------------


def _is_angle(table: Table, name: str) -> bool:
    return any(angle_unit(word) is not None for word in (table[name].unit, split_name(name)[1]))


def _angles(
    path: Path,
    table: Table,
    name: str,
    default: Any,  # noqa: ANN401
    *,
    hours: bool = False,
) -> tuple[NDArray[np.float64], str, bool]:
    """Read a column in radians; give the name of its unit, and whether it is assumed."""
    column = table[name]
    words = [
        str(w) for w in (getattr(column, "unit", None), split_name(name)[1]) if not is_unsaid(w)
    ]
    found = [angle_unit(word) for word in words]
    if None in found or len({str(unit) for unit in found}) > 1:
        raise ValueError(
            f"{path}: column {name} is no angle: its unit is {' and '.join(words)}; name other"
            " columns with `columns`"
        )
    try:
        sexagesimal = hours or units.hourangle in found
        values, worded = radians(column, found[0] if found else default, hours=sexagesimal)
    except (ValueError, TypeError, units.UnitsError) as error:
        raise ValueError(f"{path}: column {name} is no angle: {error}") from error
    if worded:
        return values, "sexagesimal, hours" if sexagesimal else "sexagesimal", False
    unit = str(found[0] if found else default)
    return values, unit if found else f"{unit}, assumed", not found


def _check_positions(path: Path, lon: NDArray[np.float64], lat: NDArray[np.float64]) -> None:
    """Refuse rows without a valid position."""
    slack = 1e-9  # rounding of degrees that were radians
    turn = 2 * np.pi + slack
    there = (np.abs(lat) <= 0.5 * np.pi + slack) & (lon >= -turn) & (lon <= 2 * turn)
    if not there.all():  # also true for NaN
        row = _first(~there)
        if np.isnan(lon[row - 1]) or np.isnan(lat[row - 1]):
            raise ValueError(f"{path}: row {row} has no position; take it out")
        place = f"{np.degrees(lon[row - 1]):g}, {np.degrees(lat[row - 1]):g}"
        raise ValueError(
            f"{path}: row {row} has no position with longitude within -360 to 720 and latitude"
            f" within ±90 degrees, but {place}"
        )


def _first(wrong: NDArray[np.bool_]) -> int:
    """Give the number, from 1, of the first row that is true."""
    return int(np.argmax(wrong)) + 1


def _turned(
    lon: NDArray[np.float64], lat: NDArray[np.float64], frame: str | None, coord: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotate positions from one frame to another; None means that no rotation is needed."""
    if frame is None or frame == coord:
        return lon, lat
    there = SkyCoord(lon, lat, unit="rad", frame=_FRAMES[frame]).transform_to(_FRAMES[coord])
    angles = there.spherical
    return angles.lon.to_value(units.rad), angles.lat.to_value(units.rad)
