"""Read a spectrum from a text or FITS file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_cl"]

_ADVICE = "`cl` takes a table whose first columns are l and C_l"


def read_cl(path: str | Path, *, dl: bool = False) -> NDArray[np.float64]:
    """Read a spectrum from a text or FITS file.

    Parameters
    ----------
    path
        Columns l and C_l (µK²) first; text (a header line is fine), ECSV, or a FITS table. A FITS
        file of one column, as healpy writes it, begins at l = 0.
    dl
        Whether the second column holds D_l = l (l + 1) C_l / 2π.

    Returns
    -------
    ``(lmax + 1,)`` C_l, µK²; multipoles below the first row are zero, gaps are interpolated.

    Raises
    ------
    ValueError
        The file is no such table, or a value is negative or not finite.
    FileNotFoundError
        There is no such file.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; `cl` takes a table of l and C_l")
    ell, values = _read_columns(path)
    if ell.size < 2 or not np.all(np.isfinite(ell)) or np.any(np.diff(ell) <= 0) or ell[0] < 0:
        raise ValueError(f"{path}: the first column must be l, rising; got {ell[:3]} ...")
    if not np.all(np.isfinite(values)):
        raise ValueError(f"{path}: C_l is not finite at l = {ell[~np.isfinite(values)][0]:g}")
    if np.any(values < 0):
        raise ValueError(f"{path}: C_l is negative at l = {ell[values < 0][0]:g}")
    if not values.any():
        raise ValueError(f"{path}: C_l is zero at every l; a prior needs power")
    if dl:
        values = values * 2 * math.pi / np.maximum(ell * (ell + 1), 1)
    every = np.arange(int(ell[-1]) + 1)
    return np.asarray(np.interp(every, ell, values, left=0.0))


def _read_columns(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the first two columns of a table, whatever its kind."""
    with path.open("rb") as file:
        fits = file.read(6) == b"SIMPLE"
    return _from_fits(path) if fits else _from_text(path)


def _from_fits(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read two columns, or healpy's one (or more) that begin at l = 0."""
    from astropy.table import Table

    try:
        table = Table.read(path, format="fits", hdu=1)
        columns = [np.asarray(table[c], dtype=float).ravel() for c in table.colnames[:2]]
    except (OSError, ValueError, TypeError, IndexError, KeyError) as error:
        raise ValueError(f"{path}: no readable FITS table ({error}); {_ADVICE}") from None
    if len(columns) == 1 or columns[0][0] < 0 or np.any(np.diff(columns[0]) <= 0):
        return np.arange(columns[0].size, dtype=float), columns[0]
    return columns[0], columns[1]


def _from_text(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read two columns after any number of header lines."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: neither text nor FITS; {_ADVICE}") from None
    rows: list[tuple[float, float]] = []
    for number, line in enumerate(lines, 1):
        words = line.split("#")[0].replace(",", " ").split()
        if not words:
            continue
        try:
            rows.append((float(words[0]), float(words[1])))
        except (ValueError, IndexError):
            if rows:  # a header comes before the numbers, not among them
                place = f"{path}: line {number} is no pair of numbers"
                raise ValueError(f"{place}; {_ADVICE}") from None
    if not rows:
        raise ValueError(f"{path}: no numbers found; {_ADVICE}")
    ell, values = np.array(rows).T
    return ell, values
