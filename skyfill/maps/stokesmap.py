"""Read the columns T, Q and U of a file as one map, and write them back filled.

Columns are found by name, never by place: covariances and hit counts stand where other files have
Q and U. Inside the library U has the sign of HEALPix (COSMO). The header card POLCCONV of the file
says which sign it has there; with IAU, U changes sign on reading and on writing.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skyfill.brief import brief
from skyfill.files.atomic import check_writable
from skyfill.maps.filled import write_filled
from skyfill.maps.hdu import open_fits
from skyfill.maps.skymap import SkyMap, read_map, refuse_flattened
from skyfill.maps.table import find_table
from skyfill.maps.units import stokes_of
from skyfill.maps.writing import Card

__all__ = [
    "StokesMap",
    "read_stokes",
    "recorded_stokes",
    "stokes_columns",
    "write_filled_stokes",
]

Map = NDArray[np.float64]

STOKES = ("TQU", "T", "QU")
"""What can be read as one map."""
#: Names of the columns of one map, the commonest first: Planck's, healpy's, letters.
_NAMED = (
    {"T": r"I_STOKES", "Q": r"Q_STOKES", "U": r"U_STOKES"},
    {
        "T": r"TEMPERATURE|SIGNAL|I",
        "Q": r"Q[_-]POLARI[SZ]ATION",
        "U": r"U[_-]POLARI[SZ]ATION",
    },
    {"T": r"[IT]", "Q": r"Q", "U": r"U"},
)


@dataclass(frozen=True, eq=False)
class StokesMap:
    """The columns T, Q and U of a file, or Q and U, or T, as one map."""

    __repr__ = brief

    skies: tuple[SkyMap, ...]
    """The columns, as `read_map` reads each: U with the sign of the file."""
    stokes: str
    """TQU, QU or T."""
    polcconv: str
    """COSMO or IAU: the sign of U in the file."""
    assumed: bool
    """Whether neither the file nor the caller said so, and COSMO is assumed."""

    @property
    def values(self) -> Map:
        """``(k, npix)``, µK, RING, NaN where missing, with U in the COSMO convention."""
        out = np.array([sky.values for sky in self.skies], dtype=np.float64)
        out[-1] *= self.sign
        return out

    @property
    def sign(self) -> int:
        """Factor of the last column between file and library: -1 for a U of the IAU, else 1."""
        return -1 if self.polcconv == "IAU" and self.stokes != "T" else 1


def read_stokes(
    path: str | os.PathLike[str],
    stokes: str = "TQU",
    *,
    polcconv: str | None = None,
    unit: str | None = None,
    hdu: int | str | None = None,
    missing: float | Sequence[float] | None = None,
    frame: str | None = None,
    like: SkyMap | str | os.PathLike[str] | None = None,
) -> StokesMap:
    """Read the columns T, Q and U of a HEALPix FITS file as one map.

    Parameters
    ----------
    path, unit, hdu, missing, frame, like
        As for `read_map`.
    stokes
        ``TQU``, ``QU`` or ``T``.
    polcconv
        Sign of U: ``COSMO`` or ``IAU``; that of the header card POLCCONV if None, else COSMO.

    Raises
    ------
    ValueError
        A column is missing or cannot be told from others by its name; the columns differ in unit;
        POLCCONV is unknown; or as for `read_map`.
    OSError
        The file cannot be read.
    """
    if stokes not in STOKES:
        raise ValueError(f"stokes must be one of {', '.join(STOKES)}, got {stokes!r}")
    path = Path(path)
    names = stokes_columns(path, stokes, hdu=hdu)
    with open_fits(path) as stream:
        said = find_table(stream, path, hdu).text("POLCCONV").strip().upper()
    convention = (polcconv or said or "COSMO").strip().upper()
    if stokes != "T" and convention not in ("COSMO", "IAU"):
        raise ValueError(
            f"{path}: POLCCONV is {convention!r}, and only COSMO and IAU are known; pass"
            " `polcconv='COSMO'` or `polcconv='IAU'`"
        )
    skies = tuple(
        read_map(path, field=name, unit=unit, hdu=hdu, missing=missing, frame=frame, like=like)
        for name in names
    )
    if len({sky.unit_to_uk for sky in skies}) > 1:
        units = ", ".join(f"{sky.column} in {sky.unit}" for sky in skies)
        raise ValueError(f"{path}: {units}; columns of one map must have one unit")
    return StokesMap(skies, stokes, convention, not (polcconv or said))


def stokes_columns(
    path: str | os.PathLike[str], stokes: str = "TQU", *, hdu: int | str | None = None
) -> list[str]:
    """Find the columns of Stokes parameters by their names.

    Parameters
    ----------
    path, stokes, hdu
        As for `read_stokes`.

    Raises
    ------
    ValueError
        A column is missing, or several have names of one Stokes parameter.
    """
    path = Path(path)
    with open_fits(path) as stream:
        names = [column.name for column in find_table(stream, path, hdu).fields]
    for named in _NAMED:
        found = [
            [at for at, name in enumerate(names) if re.fullmatch(named[letter], name.upper())]
            for letter in stokes
        ]
        if all(len(each) == 1 for each in found):
            return [names[each[0]] for each in found]
    said = [stokes_of(name, names) for name in names]
    found = [[at for at, other in enumerate(said) if other == letter] for letter in stokes]
    for letter, each in zip(stokes, found, strict=True):
        listed = ", ".join(names)
        if not each:
            raise ValueError(
                f"{path} has no column of Stokes {letter} among {listed}; choose `stokes` by what"
                " the file has, or correct its TTYPE"
            )
        if len(each) > 1:
            several = ", ".join(names[at] for at in each)
            raise ValueError(
                f"{path} has {len(each)} columns of Stokes {letter}: {several}; name those of the"
                f" map I_STOKES, Q_STOKES and U_STOKES (TTYPE)"
            )
    return [names[each[0]] for each in found]


def recorded_stokes(
    path: str | os.PathLike[str], *, hdu: int | str | None = None
) -> tuple[str | None, float | None]:
    """Read what skyfill has filled or drawn together: Stokes parameters, and the noise of P.

    Parameters
    ----------
    path, hdu
        As for `read_map`.

    Returns
    -------
    stokes
        TQU or QU, from the card SFSTOKES; None if the file is of T alone, or of another program.
    noise
        White noise of Q, and of U, µK·arcmin, from the card SFNOISEP; None without it.

    Raises
    ------
    ValueError, OSError
        The file cannot be read, or holds no map.
    """
    path = Path(path)
    with open_fits(path) as stream:
        table = find_table(stream, path, hdu)
        said, noise = (table.text(card).strip() for card in ("SFSTOKES", "SFNOISEP"))
    try:
        rms = float(noise) if noise else None
    except ValueError:
        raise ValueError(f"{path}: SFNOISEP is {noise!r}, not a number; correct the card") from None
    return (said if said in STOKES and said != "T" else None), rms


def write_filled_stokes(
    path: str | os.PathLike[str],
    sky: StokesMap,
    fills: Sequence[NDArray[Any]],
    holes: Sequence[NDArray[np.bool_]],
    *,
    provenance: Mapping[str, Card] | None = None,
    history: Sequence[str] = (),
    overwrite: bool = False,
) -> None:
    """Write a copy of a file with the holes of several columns filled, as `write_filled` does.

    Parameters
    ----------
    path
        The file to write.
    sky
        The map from `read_stokes`.
    fills
        For each column the values in its holes, ``(nhole,)``, µK, RING; U as in COSMO.
    holes
        For each column ``(npix,)``, RING, True where it is filled.
    provenance, history, overwrite
        As for `write_filled`.

    Raises
    ------
    ValueError, OSError
        As for `write_filled`.
    """
    path = Path(path)
    check_writable(path, overwrite=overwrite, kind="map")
    for each in sky.skies:
        refuse_flattened(each)
    number = [at for at, hole in enumerate(holes) if hole.any()]
    # One column at a time: each pass copies the file before it.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".skyfill-") as folder:
        before = sky.skies[0].path
        for at in number:
            final = at == number[-1]
            target = path if final else Path(folder) / f"{at}.fits"
            sign = sky.sign if at == len(sky.skies) - 1 else 1
            write_filled(
                target,
                replace(sky.skies[at], path=before),
                sign * np.asarray(fills[at]),
                holes[at],
                provenance=provenance if final else None,
                history=history if final else (),
                overwrite=overwrite and final,
            )
            before = target
