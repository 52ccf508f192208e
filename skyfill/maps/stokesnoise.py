"""Read the noise of T, Q and U in every pixel: the covariances II, QQ, QU and UU of a file.

As everywhere in the library, U has the sign of HEALPix (COSMO). In a file of the IAU convention the
covariance QU has the other sign, as U has; those of II, QQ and UU are the same.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skyfill.maps.hdu import open_fits
from skyfill.maps.noise import read_noise
from skyfill.maps.reading import read_file
from skyfill.maps.skymap import SkyMap
from skyfill.maps.table import find_table
from skyfill.maps.units import parse_unit, stokes_of

__all__ = ["read_noise_stokes"]

Map = NDArray[np.float64]

#: Covariances that are read, in the order of the result.
_WANTED = ("TT", "QQ", "QU", "UU")


def read_noise_stokes(
    path: str | os.PathLike[str],
    *,
    polcconv: str | None = None,
    unit: str | None = None,
    hdu: int | str | None = None,
    frame: str | None = None,
    like: SkyMap | None = None,
) -> Map:
    """Read the covariance of the noise of T, Q and U in every pixel from a HEALPix FITS file.

    Columns are found by name: II_COV (or TT), QQ_COV, QU_COV and UU_COV, as Planck names them.

    Parameters
    ----------
    path
        The file: RING or NESTED, full sky or partial, plain or gzip.
    polcconv
        Sign of U: ``COSMO`` or ``IAU``; that of the header card POLCCONV if None, else COSMO.
    unit
        Unit of a file that names none: "uK^2". For a file with II alone, as for `read_noise`.
    hdu, frame, like
        As for `read_noise`.

    Returns
    -------
    µK², RING, NaN where missing: ``(4, npix)``, II, QQ, QU and UU; ``(3, npix)`` without II;
    ``(npix,)`` for a file without columns of Q and U, whose first column is that of T.

    Raises
    ------
    ValueError
        One of QQ and UU is missing, or there are several; a column has no unit, or another than
        that of a variance; POLCCONV is unknown; or as for `read_noise`.
    OSError
        The file cannot be read.
    """
    path = Path(path)
    with open_fits(path) as stream:
        table = find_table(stream, path, hdu)
        names = [column.name for column in table.fields]
        said = table.text("POLCCONV").strip().upper()
    found = {stokes: [name for name in names if stokes_of(name) == stokes] for stokes in _WANTED}
    if not any(found[stokes] for stokes in _WANTED[1:]):
        rms = read_noise(path, unit=unit, hdu=hdu, frame=frame, like=like)
        return np.asarray(rms**2)
    for stokes, columns in found.items():
        if len(columns) > 1 or (not columns and stokes in ("QQ", "UU")):
            raise ValueError(
                f"{path} has {len(columns)} columns of {stokes} among {', '.join(names)}; name"
                " them II_COV, QQ_COV, QU_COV and UU_COV (TTYPE)"
            )
    convention = (polcconv or said or "COSMO").strip().upper()
    if convention not in ("COSMO", "IAU"):
        raise ValueError(
            f"{path}: POLCCONV is {convention!r}, and only COSMO and IAU are known; pass"
            " `polcconv='COSMO'` or `polcconv='IAU'`"
        )
    maps = {}
    for stokes, columns in found.items():
        if columns:
            maps[stokes] = _variance(path, columns[0], unit, hdu=hdu, frame=frame, like=like)
    if "QU" in maps and convention == "IAU":
        maps["QU"] = -maps["QU"]
    if "QU" not in maps:
        warnings.warn(f"{path} has no column of QU: it is taken for zero", stacklevel=2)
        maps["QU"] = np.zeros_like(maps["QQ"])
    return np.stack([maps[stokes] for stokes in _WANTED if stokes in maps])


def _variance(
    path: Path,
    name: str,
    given: str | None,
    *,
    hdu: int | str | None,
    frame: str | None,
    like: SkyMap | None,
) -> Map:
    """Read one covariance, µK²."""
    read = read_file(path, name, hdu=hdu, missing=None, frame=frame, like=like)
    own, key = read.table.unit(read.column)
    text = own or given or ""
    unit = parse_unit(text)
    if unit is None or unit.power != 2:
        said = f"is in {text} ({key if own else '`unit`'})" if text else "has no unit"
        raise ValueError(
            f"{read} {said}, and a covariance of noise has the square of a temperature; pass"
            " `unit='uK^2'` if the file names none"
        )
    return np.asarray(read.ring(read.values).astype(np.float64) * unit.uk)
