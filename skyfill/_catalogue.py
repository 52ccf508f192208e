"""Read lists of sources: where they are and how much sky they spoil."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.table import Table
from numpy.typing import NDArray

__all__ = ["pole_of_galaxy", "read_catalogue"]

_FRAMES = {"G": "galactic", "C": "icrs", "E": "barycentricmeanecliptic"}

# Names of longitude and latitude, and their frame; None is the frame of the map.
_POSITIONS = (
    ("glon", "glat", "G"),
    ("l", "b", "G"),
    ("ra", "dec", "C"),
    ("raj2000", "dej2000", "C"),
    ("_raj2000", "_dej2000", "C"),
    ("elon", "elat", "E"),
    ("lon", "lat", None),
    ("longitude", "latitude", None),
    ("col1", "col2", None),  # text without a line of names
)
_RADII = ("radius", "radius_arcmin", "r", "rad", "col3")


def read_catalogue(
    path: str | os.PathLike[str], radius: float | None = None, *, coord: str | None = "G"
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Read positions and radii of sources from a table.

    Parameters
    ----------
    path
        Text (columns with or without names, CSV, ECSV), FITS or VOTable. Positions are columns
        glon and glat, l and b, ra and dec, RAJ2000 and DEJ2000, elon and elat, or in the frame of
        the map lon and lat; in degrees where the column has no unit. Radii are a column radius, in
        arcmin where it has no unit. Text without names has lon, lat and radius in this order.
    radius
        Radius where the table has none, radians.
    coord
        Frame of the map, to which positions are turned: G, E or C (equatorial); None is taken
        for G.

    Returns
    -------
    lon, lat, radius
        (n,) each, radians.

    Raises
    ------
    ValueError
        The table cannot be understood, has no positions or no radii, or impossible ones.
    OSError
        The file cannot be read.

    """
    path = Path(path)
    table = _read_table(path)
    columns = {name.lower(): name for name in table.colnames}
    pairs = [pair for pair in _POSITIONS if pair[0] in columns and pair[1] in columns]
    if not pairs:
        raise ValueError(
            f"{path}: no positions; name columns lon and lat, glon and glat, or ra and dec"
            f" (degrees); there are {', '.join(table.colnames)}"
        )
    *position, frame = pairs[0]
    lon, lat = (_angles(path, table, columns[name], units.deg) for name in position)
    radii = np.full(lon.shape, np.nan)
    for name in _RADII:
        if name in columns:
            radii = _angles(path, table, columns[name], units.arcmin)
            break
    radii = np.where(np.isnan(radii), np.nan if radius is None else radius, radii)
    if np.isnan(radii).any():
        raise ValueError(f"{path}: not every source has a radius; pass `radius`")
    if not (np.isfinite(lon).all() and (np.abs(lat) <= 0.5 * np.pi).all()):
        raise ValueError(
            f"{path}: not every source has a position with latitude within ±90 degrees"
        )
    if not ((radii >= 0) & (radii <= np.pi)).all():
        raise ValueError(f"{path}: a radius is negative or larger than the sky")
    return (*_turned(lon, lat, frame, coord or "G"), radii)


def pole_of_galaxy(coord: str) -> NDArray[np.float64]:
    """Point to the north Galactic pole: (3,), in the frame G, E or C."""
    lon, lat = _turned(np.zeros(1), np.full(1, 0.5 * np.pi), "G", coord)
    return np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])[:, 0]


def _read_table(path: Path) -> Table:
    """Read a table by its name's ending, or as text."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    binary = {".fits": "fits", ".gz": "fits", ".fit": "fits", ".vot": "votable", ".xml": "votable"}
    kind = binary.get(path.suffix.lower(), "ascii.ecsv" if path.suffix == ".ecsv" else "ascii")
    try:
        table = Table.read(path, format=kind)
    except (ValueError, TypeError, IndexError, OSError) as error:
        why = str(error).strip().splitlines() or ["unknown"]
        raise ValueError(f"{path}: cannot be read as a table ({kind}): {why[0]}") from error
    return table


def _angles(path: Path, table: Table, name: str, default: Any) -> NDArray[np.float64]:  # noqa: ANN401
    """Return a column in radians, NaN where it has no value."""
    column = table[name]
    try:
        numbers = np.ma.filled(np.ma.asarray(column).astype(np.float64), np.nan)
        angles: NDArray[np.float64] = (numbers * (column.unit or default)).to_value(units.rad)
    except (ValueError, TypeError, units.UnitsError) as error:
        raise ValueError(f"{path}: column {name} is no angle: {error}") from error
    return angles


def _turned(
    lon: NDArray[np.float64], lat: NDArray[np.float64], frame: str | None, coord: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Turn positions from one frame to another; None is the frame they shall have."""
    if frame is None or frame == coord:
        return lon, lat
    there = SkyCoord(lon, lat, unit="rad", frame=_FRAMES[frame]).transform_to(_FRAMES[coord])
    angles = there.spherical
    return angles.lon.to_value(units.rad), angles.lat.to_value(units.rad)
