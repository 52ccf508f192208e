"""Write a prior to a file and read it back exactly: JSON, or an HDU beside a map in FITS."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skyfill.files.atomic import atomic_write, check_ending
from skyfill.maps.hdu import Hdu, open_fits, walk
from skyfill.maps.writing import edit, extension, table_cards
from skyfill.prior.beam import Beam
from skyfill.prior.model import ARCMIN, LCDM, NUMBERS, Prior, lcdm
from skyfill.prior.polarized import PolarizedPrior
from skyfill.prior.quality import Quality

__all__ = [
    "PRIOR_HDU",
    "prior_hdu",
    "read_polarization",
    "read_prior",
    "recorded_polarization",
    "recorded_prior",
    "save_prior",
]

PRIOR_HDU = "SKYFILL_PRIOR"
"""EXTNAME of the table that holds the prior of a filled map."""
_KIND = "skyfill prior"
#: Version of the format; raise it if the same keys change their meaning.
_FORMAT = 1
#: Version of a prior with a tabulated beam or a free part, which a program that knows only 1 would
#: leave out.
_MORE = 2
#: Digits to which the beam in arcmin is rounded.
_BEAM_ROUNDING = 1e-4
#: First bytes of compressed files: gzip and bzip2.
_PACKED = (b"\x1f\x8b", b"BZh")
#: Keyword of the card that holds everything except C_l and b_l, as JSON.
_CARD = "SFPRIOR"
#: Column of the table with b_l of a tabulated beam.
_BEAM = "BEAM"
#: Column of the table with the free part.
_EXTRA = "EXTRA_CL"
#: Key of what a prior of T, Q and U has besides that of T; a program that does not know it reads T.
_POL = "polarization"
#: Spectra of a prior of T, Q and U besides TT: keys, and in capitals columns of the table.
_SPECTRA = ("ee", "bb", "te")


def save_prior(
    path: str | os.PathLike[str], prior: Prior | PolarizedPrior, *, overwrite: bool = False
) -> None:
    """Write a prior as JSON; `read_prior` gives back exactly the same prior.

    From a prior of T, Q and U it gives back that of T, and `read_polarization` the whole.

    Parameters
    ----------
    path
        The file to write.
    prior
        The prior, of T or of T, Q and U.
    overwrite
        Whether an existing file may be replaced.

    Raises
    ------
    ValueError
        `prior` is no prior, or the name has the ending of another format.
    OSError
        The file exists already or cannot be written.
    """
    polarized = prior if isinstance(prior, PolarizedPrior) else None
    prior = prior if polarized is None else polarized.temperature
    if not isinstance(prior, Prior):
        raise ValueError(  # noqa: TRY004 (as all that does not fit)
            f"prior must be a skyfill.Prior, got {type(prior).__name__}"
        )
    check_ending(path, "prior")
    record = _numbers(prior) | {"cl": prior.cl.tolist()}
    if polarized is not None:
        spectra = {name: getattr(polarized, name).tolist() for name in _SPECTRA}
        record[_POL] = _polarized_numbers(polarized) | spectra
    if prior.beam is not None:
        record["beam"] = prior.beam.record()
    if prior.extra_cl.size:
        record["extra_cl"] = prior.extra_cl.tolist()
    with atomic_write(path, overwrite) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def read_prior(path: str | os.PathLike[str]) -> Prior:
    """Read a prior from a file of `save_prior`, or from a map that skyfill wrote.

    Parameters
    ----------
    path
        JSON or FITS file.

    Returns
    -------
    The prior; all its numbers count as given.

    Raises
    ------
    ValueError
        The file holds no prior, or a damaged one.
    OSError
        The file cannot be read.
    """
    found = _read(Path(path))
    return found.temperature if isinstance(found, PolarizedPrior) else found


def read_polarization(path: str | os.PathLike[str]) -> PolarizedPrior | None:
    """Read the prior of T, Q and U that `read_prior` reads that of T from.

    Parameters
    ----------
    path
        JSON or FITS file.

    Returns
    -------
    The prior; None if the file has one of T alone.

    Raises
    ------
    ValueError, OSError
        As for `read_prior`.
    """
    found = _read(Path(path))
    return found if isinstance(found, PolarizedPrior) else None


def _read(path: Path) -> Prior | PolarizedPrior:
    """Read a prior from a file of either format."""
    try:
        with path.open("rb") as file:
            head = file.read(6)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such file") from error
    except OSError as error:
        raise OSError(f"{path}: cannot be read: {error.strerror}") from error
    is_fits = head == b"SIMPLE" or head.startswith(_PACKED)
    found = _from_fits(path) if is_fits else _from_json(path)
    if found is None:
        raise ValueError(
            f"{path}: no prior in it; give a file of `save_prior`, or a map that skyfill filled"
        )
    return found


def recorded_prior(path: str | os.PathLike[str]) -> Prior | None:
    """Read the prior of a FITS map, with the origin "header"; None if the file has none.

    Raises
    ------
    ValueError
        The prior in the file is damaged.
    OSError
        The file cannot be read.
    """
    found = _from_fits(Path(path))
    if isinstance(found, PolarizedPrior):
        found = found.temperature
    return None if found is None else replace(found, recorded=NUMBERS)


def recorded_polarization(path: str | os.PathLike[str]) -> PolarizedPrior | None:
    """Read the prior of T, Q and U with which a FITS map was filled; None if it has none.

    The origin of its numbers of T is "header", as in `recorded_prior`.

    Raises
    ------
    ValueError
        The prior in the file is damaged.
    OSError
        The file cannot be read.
    """
    found = _from_fits(Path(path))
    if not isinstance(found, PolarizedPrior):
        return None
    return replace(found, temperature=replace(found.temperature, recorded=NUMBERS))


def prior_hdu(prior: Prior | PolarizedPrior) -> bytes:
    """Write a prior as a FITS table, to append to a map."""
    polarized = prior if isinstance(prior, PolarizedPrior) else None
    prior = prior.temperature if isinstance(prior, PolarizedPrior) else prior
    columns = {"CL": np.asarray(prior.cl, dtype=">f8")}
    if prior.extra_cl.size:
        columns[_EXTRA] = np.asarray(prior.extra_cl, dtype=">f8")
    record = _numbers(prior)
    if polarized is not None:
        record[_POL] = _polarized_numbers(polarized)
        for name in _SPECTRA:
            columns[name.upper()] = np.asarray(getattr(polarized, name), dtype=">f8")
    named: dict[str, tuple[str, str]] = {
        "EXTNAME": (PRIOR_HDU, "prior with which the map was made"),
        _CARD: (json.dumps(record), ""),
    }
    if prior.beam is not None:
        columns[_BEAM] = np.asarray(prior.beam.window, dtype=">f8")
        named["TUNIT1"] = ("uK2", "")
    rows = max(values.size for values in columns.values())
    for name, values in columns.items():  # of different lengths: NaN pads the shorter ones
        end = (0, rows - values.size)
        columns[name] = np.pad(values, end, constant_values=np.nan).astype(">f8")
    cards = table_cards(columns, unit="" if prior.beam else "uK2", repeat=1)
    data = np.stack(list(columns.values()), axis=1).astype(">f8").tobytes()
    content = extension(edit(cards, named), lambda: [data], len(data), ahead=True)
    return b"".join(piece for piece in content if isinstance(piece, bytes))


def _numbers(prior: Prior) -> dict[str, Any]:
    """Return everything except C_l and b_l, for JSON, which keeps numbers exactly."""
    beam = {} if prior.beam is None else {"beam": {**prior.beam.record(), "b_l": None}}
    return {
        "kind": _KIND,
        "format": _MORE if beam or prior.extra_cl.size else _FORMAT,
        "nside": prior.nside,
        "theory": prior.theory,
        "fwhm_radians": prior.fwhm,
        "fwhm_arcmin": round(prior.fwhm / ARCMIN, 4),
        "noise_uk_arcmin": prior.noise_uk_arcmin,
        "calibration": prior.calibration,
        "pixel_window": prior.pixel_window,
        "noise_map": prior.noise_map,
        "origin": {name: prior.origin(name) for name in NUMBERS},
        **beam,
        **({} if prior.quality is None else {"quality": prior.quality.as_dict()}),
    }


def _polarized_numbers(prior: PolarizedPrior) -> dict[str, Any]:
    """Return what a prior of T, Q and U has besides that of T, without its spectra."""
    return {
        "noise_pol_uk_arcmin": prior.noise_pol_uk_arcmin,
        "calibration_pol": prior.calibration_pol,
        "bb_source": prior.bb_source,
        "fitted_pol": list(prior.fitted_pol),
    }


def _prior_of(
    record: Mapping[str, Any],
    cl: object,
    extra: object,
    path: Path,
    spectra: Mapping[str, Any] | None = None,
) -> Prior | PolarizedPrior:
    """Build a prior from the read values."""
    try:
        if record["format"] not in (_FORMAT, _MORE):
            raise ValueError(
                f"{path}: a prior of format {record['format']}, this version reads {_FORMAT} and"
                f" {_MORE}; update skyfill"
            )
        if not isinstance(record["pixel_window"], bool):
            raise TypeError("pixel_window is neither true nor false")
        for name in ("nside", "fwhm_radians", "noise_uk_arcmin", "calibration"):
            number = record[name]
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise TypeError(f"{name} is not a number")
        prior = _checked(record, cl, extra, path)
        if record.get(_POL) is None:
            return prior
        polarized = record[_POL]
        spectra = polarized if spectra is None else spectra
        ee, bb, te = (np.asarray(spectra[name], dtype=np.float64) for name in _SPECTRA)
        return PolarizedPrior(
            *(prior, ee, bb, te, polarized["noise_pol_uk_arcmin"]),
            calibration_pol=polarized["calibration_pol"],
            bb_source=str(polarized["bb_source"]),
            fitted_pol=tuple(polarized["fitted_pol"]),
        )
    except KeyError as error:
        raise ValueError(f"{path}: the prior in it lacks {error}; write it again") from None
    except (AttributeError, TypeError, ValueError) as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path}: the prior in it is damaged ({error}); write it again") from None


def _checked(record: Mapping[str, Any], cl: object, extra: object, path: Path) -> Prior:
    """Build a prior; refuse a beam that differs between its two units."""
    prior = Prior(
        record["nside"],
        np.asarray(cl, dtype=np.float64),
        fwhm=float(record["fwhm_radians"]),
        noise_uk_arcmin=float(record["noise_uk_arcmin"]),
        pixel_window=record["pixel_window"],
        calibration=float(record["calibration"]),
        theory=str(record["theory"]),
        noise_map=str(record.get("noise_map", "")),
        beam=None if record.get("beam") is None else Beam.of_record(record["beam"]),
        extra_cl=np.asarray(extra, dtype=np.float64),
        quality=Quality.from_dict(record["quality"]) if record.get("quality") else None,
    )
    # the value in arcmin is for people, who may edit it
    said = float(record.get("fwhm_arcmin", prior.fwhm / ARCMIN))
    if abs(prior.fwhm / ARCMIN - said) > _BEAM_ROUNDING * (1 + said):
        raise ValueError(
            f"{path}: fwhm_arcmin is {said}, but fwhm_radians is {prior.fwhm / ARCMIN:.4f} arcmin;"
            " change both, or leave the file as it is and pass `fwhm`"
        )
    return prior


def _from_json(path: Path) -> Prior | PolarizedPrior | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        return None
    if not isinstance(record, dict) or record.get("kind") != _KIND:
        return None
    return _prior_of(record, record.get("cl"), record.get("extra_cl", []), path)


def _from_fits(path: Path) -> Prior | PolarizedPrior | None:
    """Read the table of `prior_hdu`, or the cards of a map by an older skyfill."""
    cards: dict[str, Any] | None = None
    with open_fits(path) as stream:
        for hdu in walk(stream, path):
            if hdu.text("EXTNAME") == PRIOR_HDU:
                columns = [column.name for column in hdu.columns]
                cells = {name: _cells(hdu, stream, n) for n, name in enumerate(columns)}
                return _from_table(hdu, cells, path)
            if cards is None and hdu.is_table and hdu.text("SFCL") and not hdu.text(_TABLE):
                cards = {key: hdu.header.get(key) for key in ("SFCL", *_OLD)}
                cards["nside"] = hdu.integer("NSIDE", 0)
    return None if cards is None else _from_cards(cards, path)


def _cells(hdu: Hdu, stream: Any, number: int) -> NDArray[np.float64]:  # noqa: ANN401
    """Read a column, without the NaN at its end that pad it to the length of another one."""
    column = hdu.columns[number]
    parts = [column.decode(column.of(rows)).ravel() for rows in hdu.rows(stream)]
    values = np.concatenate(parts).astype(np.float64)
    known = np.flatnonzero(~np.isnan(values))
    return values[: known[-1] + 1] if len(hdu.columns) > 1 and known.size else values


def _from_table(
    hdu: Hdu, cells: Mapping[str, NDArray[np.float64]], path: Path
) -> Prior | PolarizedPrior:
    try:
        record = json.loads(hdu.text(_CARD))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: the prior in it is damaged ({error}); write it again") from None
    if isinstance(record.get("beam"), dict):
        record["beam"]["b_l"] = cells.get(_BEAM)
    extra = cells.get(_EXTRA, np.zeros(0))
    spectra = {name: cells[name.upper()] for name in _SPECTRA if name.upper() in cells}
    return _prior_of(record, next(iter(cells.values())), extra, path, spectra)


#: Cards of older maps without the table: beam, noise, calibration, pixel window.
_OLD = ("SFBEAM", "SFNOISE", "SFCALIB", "SFPIXWIN")
#: Card that names a tabulated beam, which no other card holds.
_TABLE = "SFBEAMF"


def _from_cards(cards: Mapping[str, Any], path: Path) -> Prior | None:
    """Rebuild the prior from the cards of a map, if they name the shipped spectrum."""
    beam, noise, calibration, window = (cards[key] for key in _OLD)
    if cards["SFCL"] != LCDM or not isinstance(beam, float) or not isinstance(noise, float):
        return None
    nside = cards["nside"]
    if not nside:
        raise ValueError(f"{path}: its prior is of no Nside; the header lacks NSIDE")
    try:
        return Prior(
            nside,
            lcdm(),
            fwhm=math.radians(beam / 60),
            noise_uk_arcmin=noise,
            pixel_window=window is not False,
            calibration=float(calibration if isinstance(calibration, float) else 1.0),
            theory=LCDM,
        )
    except ValueError as error:
        raise ValueError(
            f"{path}: its header holds no prior ({error}); correct SFBEAM or SFNOISE,"
            " or remove SFCL"
        ) from None
