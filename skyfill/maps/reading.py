"""Read one column of a HEALPix file, and check that two files have the same Nside and frame.

A file that names no frame is assumed to have the frame of the other file, because healpy writes
maps without a frame by default. A file with an unknown frame is refused.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from skyfill.brief import brief
from skyfill.healpix import reorder
from skyfill.maps.column import Column
from skyfill.maps.frames import frame_of_word
from skyfill.maps.hdu import open_fits
from skyfill.maps.table import SkyTable, find_table
from skyfill.maps.values import SkyColumn, read_column

__all__ = ["Frame", "Place", "Placed", "Read", "check_alike", "place_of", "read_file"]


_NAMES = {"G": "Galactic", "E": "ecliptic", "C": "equatorial"}


class Frame(NamedTuple):
    """The frame of a file."""

    coord: str | None
    """G, E or C; None if the file names no frame or an unknown one."""
    unknown: str | None = None
    """The header cards of a frame that is not understood."""

    @property
    def named(self) -> bool:
        """Whether the file names a frame, known or not."""
        return bool(self.coord or self.unknown)

    def __str__(self) -> str:
        if self.coord:
            return f"{_NAMES[self.coord]} coordinates ({self.coord})"
        return f"an unknown frame ({self.unknown})" if self.unknown else "no named frame"


class Placed(Protocol):
    """Anything that has a place on the sky, such as a SkyMap."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def nside(self) -> int | None:
        """HEALPix resolution."""

    @property
    def frame(self) -> Frame:
        """The frame."""


@dataclass(frozen=True)
class Place:
    """Resolution and frame of a file."""

    __repr__ = brief

    path: Path
    nside: int | None
    """None for a multi-order file, whose resolution depends on how it is read."""
    frame: Frame
    mask: bool = False
    """Whether the file holds a mask."""


@dataclass(frozen=True)
class Read:
    """One column in the unit and order of its file, with its frame."""

    found: SkyColumn
    frame: Frame

    @property
    def table(self) -> SkyTable:
        """The table of the column."""
        return self.found.table

    @property
    def column(self) -> Column:
        """The column."""
        return self.found.column

    @property
    def values(self) -> NDArray[Any]:
        """``(npix,)``, in the unit and order of the file, NaN where missing."""
        return self.found.values

    @property
    def nside(self) -> int:
        """Resolution of the values."""
        return self.found.nside

    def ring(self, values: NDArray[Any]) -> NDArray[Any]:
        """Reorder ``(npix,)`` values from the file's order to RING."""
        return reorder(values, nest_in=True, nest_out=False) if self.table.nest else values

    def __str__(self) -> str:
        return f"{self.table.path}: column {self.column.name!r}"


def place_of(
    path: str | os.PathLike[str],
    *,
    hdu: int | str | None = None,
    frame: str | None = None,
    mask: bool = False,
) -> Place:
    """Find the resolution and the frame of a file from its headers.

    Parameters
    ----------
    path
        A HEALPix FITS file.
    hdu
        The table, by number of its HDU or by EXTNAME; the first with a HEALPix map if None.
    frame
        Frame of a file whose header names none or an unknown one.
    mask
        Whether the file holds a mask, for messages.

    Raises
    ------
    ValueError
        The file holds no HEALPix map, or names another frame than `frame`.
    OSError
        The file cannot be read.

    """
    path = Path(path)
    with open_fits(path) as stream:
        table = find_table(stream, path, hdu)
        nside = None if table.multiorder else table.nside
        return Place(path, nside, _frame_of(table, frame), mask)


def read_file(
    path: Path,
    field: int | str,
    *,
    hdu: int | str | None = None,
    missing: float | Sequence[float] | None = None,
    nside: int | None = None,
    single: bool = False,
    frame: str | None = None,
    like: Placed | str | os.PathLike[str] | None = None,
    mask: bool = False,
) -> Read:
    """Read one column in the unit and order of its file, and check it against another file.

    Parameters
    ----------
    path, field, hdu, missing, nside, single
        As for `skyfill.maps.values.read_column`.
    frame
        Frame of a file that names none or an unknown one.
    like
        A map or the path of a mask that must have the same Nside and frame.
    mask
        Whether the column is a mask, for messages.

    """
    # Compare the headers before reading any data.
    place = place_of(path, hdu=hdu, frame=frame, mask=mask)
    if place.nside is None and nside is not None:
        place = replace(place, nside=nside)
    if like is not None:
        check_alike(place, _beside(like, place, given=frame is not None))
    found = read_column(path, field, hdu=hdu, nside=nside, single=single, missing=missing)
    return Read(found, place.frame)


def _frame_of(table: SkyTable, given: str | None) -> Frame:
    """Combine the frame of the file and the frame given by the caller."""
    own = Frame(table.coord, table.unknown_frame)
    if given is None:
        return own
    coord = frame_of_word(given)
    if coord is None:
        raise ValueError(f"{given!r} is not a known frame; pass `frame` G, E or C")
    if own.coord and own.coord != coord:
        raise ValueError(
            f"{table.path} is in {own} by its header, not in {Frame(coord)}; drop `frame`, which "
            "is for files that name no frame or an unknown one"
        )
    return Frame(coord)


def _beside(like: Placed | str | os.PathLike[str], place: Place, *, given: bool) -> Placed:
    """Locate the other file; a frame given by the caller applies to both."""
    if not isinstance(like, str | os.PathLike):
        return like
    other = place_of(like, mask=True)
    return replace(other, frame=place.frame) if given and other.frame.coord is None else other


def check_alike(one: Placed, other: Placed) -> None:
    """Refuse two files of different Nside, or of different frames.

    Raises
    ------
    ValueError
        The Nside or the frames differ, or a frame is unknown and the other file names another one.

    """
    if None not in (one.nside, other.nside) and one.nside != other.nside:
        masks = any(getattr(each, "mask", False) for each in (one, other))
        mend = ", or pass `reproject=True` to bring the mask to the map's" if masks else ""
        raise ValueError(
            f"{one.path} has Nside {one.nside}, {other.path} has Nside {other.nside}; give files"
            f" of one Nside{mend}"
        )
    ours, theirs = one.frame, other.frame
    if not (ours.named and theirs.named) or ours == theirs:
        return  # a file without a frame is assumed to have the frame of the other
    if ours.coord and theirs.coord:
        mend = _mend(one, other)
    else:
        mend = "pass `frame` G, E or C for the unknown one"
    raise ValueError(f"{one.path} is in {ours}, {other.path} in {theirs}; {mend}")


def _mend(one: Placed, other: Placed) -> str:
    """Say how to bring two files to one frame."""
    for mask, sky in ((one, other), (other, one)):
        if getattr(mask, "mask", False):
            frames = f"{mask.frame.coord!r}, {sky.frame.coord!r}"
            return (
                f"rotate the mask with `skyfill.rotate_mask(observed, {frames})`, or pass"
                " `reproject=True`"
            )
    return "give files of one frame"
