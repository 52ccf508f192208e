"""Translate HealSparse and HDF5 maps to FITS tables, which the rest of the package reads.

A filled map is a copy of the table, so it is written in FITS.
"""

from __future__ import annotations

import math
import os
import re
import tempfile
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from skyfill.healpix.checks import MAX_NSIDE
from skyfill.lazy import MissingExtraError, needs

__all__ = ["translated"]

_HDF5 = b"\x89HDF\r\n\x1a\n"
_HEALSPARSE = re.compile(rb"PIXTYPE = 'HEALSPARSE *'", re.IGNORECASE)
#: Bytes at the start of a file that show what it is.
_HEAD = 2880
#: Translated files that are kept, in the folder for temporary files: a map and a mask.
_KEPT = 2
#: Most maps of a file: they become columns of a FITS table, which has 999 at most.
_COLUMNS = 999
#: Most bytes of a wide mask whose bits fit into one positive integer.
_WIDE = 7
#: Attributes and cards with the unit, the frame and the order of a map, in small letters.
_UNITS = ("tunit1", "tunit", "bunit", "unit", "units")
_FRAMES = ("coordsys", "coord", "skycoord", "coordinates", "frame")
_ORDERS = ("ordering", "order", "nest", "nested", "scheme")
_NSIDES = ("nside", "hpxnside")
#: Values of attributes that mean the order.
_NESTED = {"NESTED": True, "NEST": True, "TRUE": True, "1": True}
_RING = {"RING": False, "FALSE": False, "0": False}


@dataclass(frozen=True)
class _Table:
    """What a file holds, as columns of one table."""

    columns: dict[str, NDArray[Any]]
    """``(npix,)`` each, or ``(n,)`` with `pixels`."""
    nside: int
    nest: bool
    pixels: NDArray[np.int64] | None = None
    units: dict[str, str] | None = None
    frame: str = ""


def translated(path: Path, plain: BinaryIO) -> Path | None:
    """Return a FITS file with the maps of a HealSparse or HDF5 file; None for other files.

    The file is deleted when the process ends, or when others have taken its place.

    Parameters
    ----------
    path, plain
        The file, open at its start.

    Raises
    ------
    ValueError
        The file is damaged, or has another layout than the known ones.
    MissingExtraError
        healsparse or h5py is not installed.
    """
    head = plain.read(_HEAD)
    plain.seek(0)
    if head.startswith(_HDF5):
        kind = "hdf5"
    elif _HEALSPARSE.search(head):
        kind = "healsparse"
    else:
        return None
    about = os.fstat(plain.fileno())
    try:
        needs("h5py" if kind == "hdf5" else "healsparse")
    except MissingExtraError as error:
        raise MissingExtraError(f"{path}: {error}", name=error.name) from None
    return Path(_translated(kind, path, about.st_mtime_ns, about.st_size).name)


@lru_cache(maxsize=_KEPT)
def _translated(kind: str, path: Path, time: int, size: int) -> IO[bytes]:  # noqa: ARG001 (a changed file is another)
    """Write the FITS file."""
    table = _from_hdf5(path) if kind == "hdf5" else _from_healsparse(path)
    units = table.units or {}
    columns = [
        fits.Column(name, _format(values), unit=units.get(name) or None, array=values)
        for name, values in table.columns.items()
    ]
    if table.pixels is not None:
        columns.insert(0, fits.Column("PIXEL", "K", array=table.pixels))
    hdu = fits.BinTableHDU.from_columns(columns)
    hdu.header["PIXTYPE"] = "HEALPIX"
    hdu.header["ORDERING"] = "NESTED" if table.nest else "RING"
    hdu.header["NSIDE"] = table.nside
    hdu.header["INDXSCHM"] = "IMPLICIT" if table.pixels is None else "EXPLICIT"
    if table.frame:
        hdu.header["COORDSYS"] = table.frame
    file = tempfile.NamedTemporaryFile(prefix="skyfill-", suffix=".fits")  # noqa: SIM115 (kept open)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(file)
    file.flush()
    return file


def _format(values: NDArray[Any]) -> str:
    """Return the FITS format of a column."""
    return {"f4": "E", "f8": "D", "u1": "B", "i2": "I", "i4": "J", "i8": "K"}[values.dtype.str[1:]]


def _storable(values: NDArray[Any]) -> NDArray[Any]:
    """Return numbers in a type that FITS has."""
    dtype = values.dtype
    if dtype.kind == "b":
        return values.astype(np.uint8)
    if dtype.kind in "iu" and dtype.str[1:] not in ("u1", "i2", "i4", "i8"):
        return values.astype(np.int64)
    return values.astype(np.float32) if dtype.str[1:] == "f2" else values


def _check(path: Path, nside: int, mend: str) -> None:
    """Refuse a resolution before the map is expanded."""
    if nside > MAX_NSIDE:
        raise ValueError(f"{path}: Nside {nside} is above {MAX_NSIDE}, the largest; {mend}")


def _from_healsparse(path: Path) -> _Table:
    """Read a HealSparse map; its pixels without a value are missing, in a mask they are 0."""
    import healsparse

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "File may have been truncated")
            found = healsparse.HealSparseMap.read(str(path))
    except (OSError, ValueError, KeyError, IndexError, RuntimeError, UserWarning) as error:
        raise ValueError(f"{path}: damaged HealSparse file; fetch it again") from error
    nside = int(found.nside_sparse)
    mend = f"in Python: healsparse.HealSparseMap.read({str(path)!r}).degrade({MAX_NSIDE // 2})"
    _check(path, nside, mend)
    said = {str(key).lower(): str(value) for key, value in (found.metadata or {}).items()}
    frame = _first(said, _FRAMES)
    pixels = np.asarray(found.valid_pixels, np.int64)
    if found.is_wide_mask_map or found.dtype == np.bool_:
        values = np.asarray(found.get_values_pix(pixels))
        if found.is_wide_mask_map:
            values = _codes(path, values)
        whole = np.zeros(12 * nside**2, values.dtype)
        whole[pixels] = values
        return _Table({"MASK": _storable(whole)}, nside, True, frame=frame)
    if not pixels.size:
        raise ValueError(f"{path}: a HealSparse map without any valid pixel")
    values = found.get_values_pix(pixels)
    names = values.dtype.names
    columns = {"VALUE": values} if names is None else {name: values[name] for name in names}
    unit = _first(said, _UNITS)
    units = {name: said.get(f"tunit{n}", unit) for n, name in enumerate(columns, 1)}
    return _Table(
        {name: _storable(np.asarray(each)) for name, each in columns.items()},
        nside,
        True,
        pixels,
        units,
        frame,
    )


def _codes(path: Path, values: NDArray[Any]) -> NDArray[np.int64]:
    """Return the bits of a wide mask, ``(n, bytes)``, as one integer a pixel."""
    if values.shape[1] > _WIDE:
        raise ValueError(
            f"{path}: a wide mask of {8 * values.shape[1]} bits, of which {8 * _WIDE} are read; "
            "write the bits that are needed to a map of their own"
        )
    return np.asarray(values.astype(np.int64) @ (1 << 8 * np.arange(values.shape[1])))


def _from_hdf5(path: Path) -> _Table:
    """Read the HEALPix maps of an HDF5 file, as TOAST writes them."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return _of_datasets(path, file, h5py)
    except OSError as error:
        raise ValueError(f"{path}: damaged or truncated HDF5 file; fetch it again") from error


def _of_datasets(path: Path, file: Any, h5py: Any) -> _Table:  # noqa: ANN401 (h5py has no types)
    """Read all datasets that are maps."""
    every: dict[str, Any] = {}
    file.visititems(
        lambda name, each: every.update({name: each}) if isinstance(each, h5py.Dataset) else None
    )
    maps = {name: each for name, each in every.items() if _is_map(each)}
    # a list of 12 frequencies has the length of a map; what states an order is one
    stated = {name: each for name, each in maps.items() if _first(_attributes(each), _ORDERS)}
    maps = stated or maps
    layout = (
        "it must hold datasets (npix,) or (n, npix) with npix = 12 Nside² and an attribute"
        " ORDERING, as TOAST writes them"
    )
    if not maps:
        found = ", ".join(f"{name} {each.shape}" for name, each in list(every.items())[:8])
        raise ValueError(
            f"{path}: no HEALPix map in this HDF5 file, but {found or 'no dataset'}; {layout}"
        )
    sides = {math.isqrt(each.shape[-1] // 12) for each in maps.values()}
    if len(sides) > 1:
        raise ValueError(
            f"{path}: maps of Nside {' and '.join(map(str, sorted(sides)))} in one HDF5 file"
            f" ({', '.join(maps)}); write those of one Nside to a file of their own"
        )
    (nside,) = sides
    _check(path, nside, "degrade it first with healpy.ud_grade")
    count = sum(each.size // each.shape[-1] for each in maps.values())
    if count > _COLUMNS:
        raise ValueError(
            f"{path}: {count} maps in one HDF5 file, of which {_COLUMNS} are read at most; write"
            " those that are needed to a file of their own"
        )
    orders, frames = set(), set()
    columns: dict[str, NDArray[Any]] = {}
    units: dict[str, str] = {}
    for name, each in maps.items():
        said = {**_attributes(file), **_attributes(each.parent), **_attributes(each)}
        orders.add(_order(path, name, said, nside))
        frames |= {_first(said, _FRAMES)} - {""}
        rows = each[()].reshape(-1, each.shape[-1])
        short = name if sum(one.endswith(f"/{name}") for one in maps) else name.rpartition("/")[2]
        for index, row in enumerate(rows):
            column = short if len(rows) == 1 else f"{short}_{index}"
            columns[column] = _storable(row)
            units[column] = _first(said, _UNITS)
    for what, values in (("orders", orders), ("frames", frames)):
        if len(values) > 1:
            raise ValueError(
                f"{path}: maps of several {what} in one HDF5 file ({', '.join(maps)}); write each"
                " to a file of its own"
            )
    return _Table(columns, nside, orders.pop(), units=units, frame="".join(frames))


def _is_map(dataset: Any) -> bool:  # noqa: ANN401
    """Tell whether a dataset has the shape of one or more maps."""
    if dataset.dtype.kind not in "biuf" or not 1 <= len(dataset.shape) <= 2:
        return False
    length = dataset.shape[-1]
    side = math.isqrt(length // 12)
    return bool(length) and length == 12 * side**2 and not side & (side - 1)


def _attributes(group: Any) -> dict[str, str]:  # noqa: ANN401
    """Return attributes as text, their names in small letters."""
    found = {}
    for name, value in group.attrs.items():
        if isinstance(value, bytes):
            value = value.decode("ascii", "replace")
        elif isinstance(value, np.ndarray):
            if value.size != 1:
                continue
            value = value.item()
        found[str(name).lower()] = str(value).strip()
    return found


def _order(path: Path, name: str, said: dict[str, str], nside: int) -> bool:
    """Return whether a dataset is in NESTED order; refuse one that does not say it."""
    own = _first(said, _NSIDES)
    if own and own.partition(".")[0] != str(nside):
        raise ValueError(
            f"{path}: dataset {name} has {12 * nside**2} pixels, Nside {nside}, and its attribute"
            f" says Nside {own}; correct the attribute"
        )
    order = {**_NESTED, **_RING}.get(_first(said, _ORDERS).upper())
    if order is None:
        raise ValueError(
            f"{path}: dataset {name} has no attribute ORDERING that says RING or NESTED; set it, in"
            f" Python: h5py.File({str(path)!r}, 'a')[{name!r}].attrs['ORDERING'] = 'RING'"
        )
    return order


def _first(said: dict[str, str], names: tuple[str, ...]) -> str:
    """Return the first of some attributes that is there, "" if none is."""
    return next((said[name] for name in names if said.get(name)), "")
