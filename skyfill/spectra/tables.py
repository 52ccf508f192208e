"""Convert a comparison of spectra to a table and to JSON."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skyfill.files.atomic import atomic_write
from skyfill.spectra.bandpowers import COUNTED
from skyfill.spectra.compared import ComparedSpectra

if TYPE_CHECKING:
    from astropy.table import QTable

__all__ = ["DEBIASED", "dict_of", "listed", "table_of", "with_units", "write", "write_columns"]

#: What the images of a FITS file hold.
_IMAGES = {
    "covariance": "of the bins of cl over skies drawn from the theory",
    "windows": "response of each bin (a row) to the signal's C_ell from ell = 0",
}
DEBIASED = (
    "of the filled sky, the response of the fill undone (Gruetjen et al. 2015), with beam, window "
    "and noise as cl; debiased_sigma over skies drawn from the theory"
)
"""What a debiased spectrum is."""
FITS = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fts.gz")
#: What precedes the name of a quantity: of the cut sky, of a spectrum of T, E and B.
_PREFIX = re.compile(r"^(cut_)?([TEB]{2}_)?")
#: Columns without a unit; all others are in µK².
_BARE = ("ell_min", "ell_max", "ell", "modes", "ratio", "residual", "prior_share")


def columns_of(comparison: ComparedSpectra) -> dict[str, NDArray[Any]]:
    """Give the columns by name; names of the cut sky begin with cut_."""
    named: dict[str, NDArray[Any]] = {
        name: getattr(comparison, name) for name in ("ell_min", "ell_max", "ell")
    }
    named |= comparison.full.columns()
    if comparison.debiased is not None:
        named["debiased_cl"] = comparison.debiased.cl
        named["debiased_sigma"] = comparison.debiased.sigma
    if comparison.cut is not None:
        named |= {f"cut_{name}": values for name, values in comparison.cut.columns().items()}
    return named


def about(comparison: ComparedSpectra) -> dict[str, Any]:
    """Give the metadata: the meaning of the columns, and the χ²."""
    cut = {
        "cut": "sky behind the mask, coupling undone (MASTER, Hivon et al. 2002), monopole and "
        "dipole fitted and removed",
        "cut_chi2": [asdict(test) for test in comparison.cut_tests],
    }
    return {
        "content": "binned C_ell without ell(ell+1)/2pi; bins weighted by 2 ell + 1",
        "about_chi2": COUNTED,
        "sigma": "of one sky: cosmic variance of the binned theory, noise included",
        "residual": "(cl - theory) / sigma",
        **_about_share(comparison),
        "dl": "ell(ell+1)/2pi C_ell of the sky: noise subtracted, beam and window divided out",
        "estimator": "healpy.anafast(iter=3), monopole and dipole removed",
        "lmax": comparison.lmax,
        "nside": comparison.nside,
        "realizations": comparison.realizations,
        "chi2": [asdict(test) for test in comparison.full_tests],
        **(cut if comparison.cut is not None else {}),
        **({} if comparison.debiased is None else {"debiased": DEBIASED}),
        **comparison.settings,
    }


def _about_share(comparison: ComparedSpectra) -> dict[str, str]:
    """Say how much of the filled sky's spectrum is a measurement."""
    if comparison.full.prior_share is None:
        return {
            "filled": "sigma is no error of a measurement: part of the filled sky follows from the "
            "prior, and this part is not known here"
        }
    return {
        "prior_share": "share of the power that follows from the prior, not from observed pixels",
        "error": "sigma / (1 - prior_share): error of the filled sky as a measurement",
    }


def arrays_of(comparison: ComparedSpectra) -> dict[str, NDArray[np.float64]]:
    """Give covariances (µK⁴) and windows (a row a bin, from ell = 0) by name."""
    bands = {"": comparison.full, "cut_": comparison.cut}
    found = {}
    for prefix, band in bands.items():
        if band is None:
            continue
        found[f"{prefix}covariance"] = band.covariance
        if band.windows is not None:
            found[f"{prefix}windows"] = band.windows
    if comparison.debiased is not None:
        found["debiased_covariance"] = comparison.debiased.covariance
    return found


def table_of(comparison: ComparedSpectra) -> QTable:
    """Return an astropy table with units, one row a bin."""
    return with_units(columns_of(comparison), about(comparison))


def with_units(columns: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> QTable:
    """Return an astropy table of columns by name, with units."""
    from astropy import units as u  # imported here because it takes half a second
    from astropy.table import QTable

    power = u.uK**2
    return QTable(
        {
            name: values if re.sub(_PREFIX, "", name) in _BARE else values * power
            for name, values in columns.items()
        },
        meta=dict(meta),
    )


def dict_of(comparison: ComparedSpectra) -> dict[str, Any]:
    """Return the comparison in types that JSON has."""
    tests = {"full": comparison.full_tests}
    if comparison.cut is not None:
        tests["cut"] = comparison.cut_tests
    return {
        "nside": comparison.nside,
        "lmax": comparison.lmax,
        "realizations": comparison.realizations,
        "settings": dict(comparison.settings),
        "chi2": {name: [asdict(test) for test in found] for name, found in tests.items()},
        "bins": {name: listed(values) for name, values in columns_of(comparison).items()},
    }


def listed(values: NDArray[Any]) -> list[int] | list[float | None]:
    """Give numbers as JSON has them; those that are not finite become None."""
    return values.tolist() if values.dtype.kind == "i" else _finite(values)


def write(
    comparison: ComparedSpectra, path: str | PathLike[str], *, overwrite: bool = False
) -> None:
    """Write FITS, npz or ECSV, by the ending of the name."""
    write_columns(
        path, columns_of(comparison), about(comparison), arrays_of(comparison), overwrite=overwrite
    )


def write_columns(
    path: str | PathLike[str],
    columns: Mapping[str, NDArray[Any]],
    meta: Mapping[str, Any],
    arrays: Mapping[str, NDArray[np.float64]],
    *,
    overwrite: bool,
) -> None:
    """Write a table of bins, with arrays beside it, as FITS, npz or ECSV by the name's ending."""
    if fspath(path).lower().endswith(".npz"):
        with atomic_write(path, overwrite) as temporary, temporary.open("wb") as stream:
            named: dict[str, Any] = {**columns, **arrays}
            np.savez(stream, **named)
        return
    table = with_units(columns, meta)
    if fspath(path).lower().endswith(FITS):
        # FITS keywords have eight letters and cannot hold lists, so metadata go into comments.
        table.meta = {"comments": [line for pair in table.meta.items() for line in _cards(*pair)]}
        with atomic_write(path, overwrite) as temporary:
            table.write(temporary, format="fits", overwrite=True)
            _append(temporary, arrays)
        return
    with atomic_write(path, overwrite) as temporary:
        table.write(temporary, format="ascii.ecsv", overwrite=True)


def _append(path: Path, arrays: Mapping[str, NDArray[np.float64]]) -> None:
    """Add arrays to a FITS file, an image each."""
    from astropy.io import fits  # imported here because it takes a while

    with fits.open(path, memmap=False) as hdus:  # fits.append does not know compressed files
        for name, values in arrays.items():
            image = fits.ImageHDU(values, name=name.upper())
            if name.endswith("covariance"):
                image.header["BUNIT"] = "uK4"
            image.header["COMMENT"] = _IMAGES[name.rpartition("_")[2]]
            hdus.append(image)
        hdus.writeto(path, overwrite=True)


def _cards(name: str, value: object) -> list[str]:
    """Write metadata as lines, each χ² on its own."""
    if isinstance(value, list):
        return [
            f"{name}: ell {test['ell_min']} to {test['ell_max']}, {test['bins']} bins, "
            f"chi2 {test['chi2']:.2f}, PTE {test['pte']:.4f}"
            for test in value
        ]
    return [f"{name}: {value}".encode("ascii", "replace").decode()]


def _finite(values: Iterable[np.floating]) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]
