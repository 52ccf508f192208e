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
from skyfill.maps.units import noise_of_name, stokes_of
from skyfill.maps.writing import Card

__all__ = [
    "StokesMap",
    "mask_columns",
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
#: Names of copies that are filled already, as Planck's I_STOKES_INP.
_FILLED = re.compile(r"(?:.*[^A-Z])?INP(?:AINT(?:ED|ING)?)?(?:[^A-Z].*)?")
#: Names of masks of T and of P in one file: Planck's.
_MASKS = (r"(?:T|I|INT)_?MASK", r"(?:P|POL)_?MASK")


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
    def components(self) -> list[NDArray[np.floating[Any]]]:
        """The maps of `values` one by one, ``(npix,)``, of the dtype in which they were read."""
        out = [sky.values for sky in self.skies]
        if self.sign < 0:
            out[-1] = -out[-1]
        return out

    @property
    def sign(self) -> int:
        """Factor of the last column between file and library: -1 for a U of the IAU, else 1."""
        return -1 if self.polcconv == "IAU" and self.stokes != "T" else 1


def read_stokes(
    path: str | os.PathLike[str],
    stokes: str = "TQU",
    *,
    columns: Sequence[int | str] | None = None,
    polcconv: str | None = None,
    unit: str | None = None,
    single: bool = False,
    hdu: int | str | None = None,
    missing: float | Sequence[float] | None = None,
    frame: str | None = None,
    like: SkyMap | str | os.PathLike[str] | None = None,
) -> StokesMap:
    """Read the columns T, Q and U of a HEALPix FITS file as one map.

    Parameters
    ----------
    path, unit, single, hdu, missing, frame, like
        As for `read_map`.
    stokes
        ``TQU``, ``QU`` or ``T``.
    columns
        The columns of ``stokes`` in that order, by name or number; found by `stokes_columns` if
        None.
    polcconv
        Sign of U: ``COSMO`` or ``IAU``; that of the header card POLCCONV if None, else COSMO.

    Raises
    ------
    ValueError
        A column is missing or cannot be told from others by its name; the columns differ in unit;
        POLCCONV is unknown; Q and U are zero everywhere; or as for `read_map`.
    OSError
        The file cannot be read.
    """
    if stokes not in STOKES:
        raise ValueError(f"stokes must be one of {', '.join(STOKES)}, got {stokes!r}")
    path = Path(path)
    names = stokes_columns(path, stokes, columns=columns, hdu=hdu)
    with open_fits(path) as stream:
        said = find_table(stream, path, hdu).text("POLCCONV").strip().upper()
    convention = (polcconv or said or "COSMO").strip().upper()
    if stokes != "T" and convention not in ("COSMO", "IAU"):
        raise ValueError(
            f"{path}: POLCCONV is {convention!r}, and only COSMO and IAU are known; pass"
            " `polcconv='COSMO'` or `polcconv='IAU'`"
        )
    skies = tuple(
        read_map(
            path,
            field=name,
            unit=unit,
            single=single,
            hdu=hdu,
            missing=missing,
            frame=frame,
            like=like,
        )
        for name in names
    )
    if len({sky.unit_to_uk for sky in skies}) > 1:
        units = ", ".join(f"{sky.column} in {sky.unit}" for sky in skies)
        raise ValueError(f"{path}: {units}; columns of one map must have one unit")
    if stokes != "T" and all(np.all((x.values == 0) | np.isnan(x.values)) for x in skies[-2:]):
        raise ValueError(
            f"{path}: {skies[-2].column} and {skies[-1].column} are zero in every pixel, so they"
            " hold no polarization; choose `stokes` by what the file has"
        )
    return StokesMap(skies, stokes, convention, not (polcconv or said))


def stokes_columns(
    path: str | os.PathLike[str],
    stokes: str = "TQU",
    *,
    columns: Sequence[int | str] | None = None,
    hdu: int | str | None = None,
) -> list[str]:
    """Find the columns of Stokes parameters by their names.

    Columns of noise, and Planck's copies that are filled already (I_STOKES_INP), are never taken
    but if ``columns`` names them.

    Parameters
    ----------
    path, stokes, columns, hdu
        As for `read_stokes`.

    Raises
    ------
    ValueError
        A column is missing; several have names of one Stokes parameter; or ``columns`` names one
        that is of another by its own name.
    """
    path = Path(path)
    names = _names(path, hdu)
    if columns is not None:
        return _as_named(path, names, stokes, columns)
    for named in _NAMED:
        found = [
            [at for at, name in enumerate(names) if re.fullmatch(named[letter], name.upper())]
            for letter in stokes
        ]
        if all(len(each) == 1 for each in found):
            return [names[each[0]] for each in found]
    said = [
        None if noise_of_name(name) or _FILLED.fullmatch(name.upper()) else stokes_of(name, names)
        for name in names
    ]
    if "T" in stokes and "T" not in said and said.count("Q") == 1:  # T150 beside Q150
        q = names[said.index("Q")].upper()
        like = {f"{q[:at]}{t}{q[at + 1 :]}" for at in range(len(q)) if q[at] == "Q" for t in "TI"}
        said = ["T" if name.upper() in like else x for name, x in zip(names, said, strict=True)]
    found = [[at for at, other in enumerate(said) if other == letter] for letter in stokes]
    for letter, each in zip(stokes, found, strict=True):
        listed = ", ".join(names)
        if not each:
            raise ValueError(
                f"{path} has no column of Stokes {letter} among {listed}; choose `stokes` by what"
                " the file has, or name its columns by `columns`"
            )
        if len(each) > 1:
            several = ", ".join(names[at] for at in each)
            raise ValueError(
                f"{path} has {len(each)} columns of Stokes {letter}: {several}; name those of the"
                " map by `columns`"
            )
    return [names[each[0]] for each in found]


def _names(path: Path, hdu: int | str | None) -> list[str]:
    """Give the names of the columns of the table with a map."""
    with open_fits(path) as stream:
        return [column.name for column in find_table(stream, path, hdu).fields]


def _as_named(path: Path, names: list[str], stokes: str, columns: Sequence[int | str]) -> list[str]:
    """Give the names of columns that the caller has chosen."""
    if len(columns) != len(stokes):
        raise ValueError(
            f"`columns` must name {len(stokes)} columns, those of {', '.join(stokes)}, got"
            f" {', '.join(map(str, columns))}"
        )
    out = []
    for letter, column in zip(stokes, columns, strict=True):
        alike = [name for name in names if name.upper() == str(column).upper()]
        if isinstance(column, int) and column < len(names):
            alike = [names[column]]
        if len(alike) != 1:
            raise ValueError(f"{path} has no one column {column!r} among {', '.join(names)}")
        said = stokes_of(alike[0], names)
        if said not in (None, letter):
            raise ValueError(
                f"{path}: column {alike[0]!r} is Stokes {said} by its name, and `columns` names it"
                f" for {letter}; give the columns in the order {', '.join(stokes)}"
            )
        out.append(alike[0])
    if len(set(out)) < len(out):
        raise ValueError(f"`columns` names one column twice: {', '.join(out)}")
    return out


def mask_columns(
    path: str | os.PathLike[str], *, hdu: int | str | None = None
) -> tuple[str, str] | None:
    """Find the columns of a mask of T and of a mask of P, such as Planck's TMASK and PMASK.

    Parameters
    ----------
    path, hdu
        As for `read_map`.

    Returns
    -------
    Their names; None if the file does not have one of each.
    """
    names = _names(Path(path), hdu)
    found = [[x for x in names if re.fullmatch(words, x.upper())] for words in _MASKS]
    if len(found[0]) == len(found[1]) == 1:
        return found[0][0], found[1][0]
    return None


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
    attached: tuple[str, bytes] | None = None,
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
    provenance, history, attached, overwrite
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
                attached=attached if final else None,
                overwrite=overwrite and final,
            )
            before = target
