"""Tabulated beams: b_l at every l, read from text or FITS, with how the file was read."""

from __future__ import annotations

import hashlib
import io
import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skyfill.brief import brief
from skyfill.files.text import content, text_of
from skyfill.healpix.checks import check_whole

__all__ = ["Beam", "as_beam", "read_beam"]

Window = NDArray[np.float64]

ADVICE = "a beam is a table with columns l and b_l, or one column from l = 0, text or FITS"
#: Largest distance of b_0 from 1: a beam moves power, it neither adds nor removes any. Tables are
#: printed and integrated to better than this; beams normalised elsewhere are off by more.
_OFF = 0.02
#: Largest distance from 1 of the first value of a table that begins at l = 1 or 2: a beam of 10
#: degrees has b_2 = 0.985.
_OFF_LATER = 0.05
#: A table may end below 2 nside if b_l has fallen to this there. Above it, the width of the
#: Gaussian that continues the table would be decided by the last digits.
_FALLEN = 0.5
#: Largest l accepted: a map of Nside 8192 needs 36864.
_LARGEST_L = 1_000_000
#: Names of columns that hold b_l and its square. Planck's: NOMINAL in HFI RIMOs, BL in LFI RIMOs,
#: TEMPERATURE (or T) in the files Bl_*.fits, INT_BEAM in maps of 2015 and 2018, BEAM_WF in those
#: of 2013.
_AMPLITUDE = {"bl", "bell", "beam", "nominal", "tbeam", "intbeam", "beamwf", "beamtf", "t", "tt"}
_AMPLITUDE |= {"temperature", "transfer", "beamtransfer", "beamtransferfunction", "blt", "btl"}
_SQUARE = {"wl", "well", "bl2", "bell2", "b2l", "blsq", "blsquared", "bellsquared", "beam2"}
_SQUARE |= {"beamsquared", "bl²", "b²l"}
#: Names of columns that hold l.
_ELL = {"l", "ell", "multipole", "index"}


@dataclass(frozen=True, eq=False)
class Beam:
    """A symmetric beam, tabulated at every multipole.

    Attributes
    ----------
    window
        ``(lmax + 1,)``: b_l from l = 0. The map has b_l² of the sky's power.
    name
        Name of the file, for headers and messages.
    sha256
        Checksum of the file, in hexadecimal digits; empty for an array.
    said
        Sentences for the user: how the file was read, and what was assumed.

    Raises
    ------
    ValueError
        ``window`` is not one row of finite numbers; b_0 is not 1 within 2%; or b_l exceeds 1 by
        more than that.

    Examples
    --------
    >>> import numpy as np, skyfill
    >>> beam = skyfill.prior.Beam(skyfill.gaussian_beam(np.radians(0.5), 600))
    >>> round(float(np.degrees(beam.fwhm)), 3)
    0.5
    >>> prior = skyfill.Prior(64, skyfill.lcdm(), beam=beam, noise_uk_arcmin=100.0)

    """

    __repr__ = brief

    window: Window = field(repr=False)
    name: str = "given b_l"
    sha256: str = ""
    said: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        window = np.array(self.window, dtype=np.float64)
        if window.ndim != 1 or window.size < 3:
            raise ValueError(
                f"{self.name}: a beam is b_l from l = 0, (lmax + 1,), not {window.shape}"
            )
        bad = np.flatnonzero(~np.isfinite(window))
        if bad.size:
            raise ValueError(f"{self.name}: b_l is not finite at l = {bad[0]}; correct the table")
        if abs(window[0] - 1) > _OFF:
            raise ValueError(
                f"{self.name}: b_l is {window[0]:.5g} at l = 0, where a beam has 1; divide the"
                " table by this number"
            )
        largest = int(np.argmax(np.abs(window)))
        if abs(window[largest]) > 1 + _OFF:
            raise ValueError(
                f"{self.name}: b_l is {window[largest]:.5g} at l = {largest}, but a beam has at"
                " most 1; give another column or table"
            )
        window.setflags(write=False)
        object.__setattr__(self, "window", window)

    def __eq__(self, other: object) -> bool:
        """Compare names, checksums and all b_l."""
        if not isinstance(other, Beam):
            return NotImplemented
        same = (self.name, self.sha256) == (other.name, other.sha256)
        return same and np.array_equal(self.window, other.window)

    def __hash__(self) -> int:
        """Hash what `==` compares."""
        return hash((self.name, self.sha256, self.window.tobytes()))

    @property
    def last(self) -> int:
        """Last multipole of the table."""
        return self.window.size - 1

    @property
    def end_fwhm(self) -> float:
        """FWHM of the Gaussian that continues the table beyond its end, radians; inf for zeros."""
        last = min(abs(float(self.window[-1])), 1.0)
        if not last:
            return math.inf
        return _fwhm(last, self.last)

    @property
    def fwhm(self) -> float:
        """FWHM of the Gaussian with the same l at which b_l falls to exp(-1/2), radians.

        A table that ends before gives that of its last value.
        """
        below = np.flatnonzero(self.window <= math.exp(-0.5))
        ell = max(int(below[0]), 1) if below.size else self.last
        value = min(abs(float(self.window[ell])), 1.0)
        return _fwhm(value, ell) if value else math.pi

    def at(self, lmax: int) -> Window:
        """Give b_l up to any l, ``(lmax + 1,)``.

        Beyond its end the table goes on as the Gaussian through its last value, of width
        `end_fwhm`; as zeros if that is zero.
        """
        lmax = check_whole(lmax, "lmax")
        if lmax <= self.last:
            return self.window[: lmax + 1].copy()
        ell = np.arange(self.window.size, lmax + 1, dtype=np.float64)
        last = min(abs(float(self.window[-1])), 1.0)
        end = self.last * (self.last + 1.0)
        return np.concatenate([self.window, last ** (ell * (ell + 1) / end)])

    def check_reach(self, nside: int) -> None:
        """Refuse a table that ends before the map's resolution and before the beam has fallen.

        Raises
        ------
        ValueError
            It ends below l = 2 nside with b_l above one half.
        """
        last = abs(float(self.window[-1]))
        if self.last < 2 * nside and last > _FALLEN:
            raise ValueError(
                f"{self.name}: the beam ends at l = {self.last} with b_l = {last:.4g}, but a map of"
                f" Nside {nside} goes on to l = {2 * nside} and beyond; give a table that does"
            )

    def lines(self, lmax: int) -> list[str]:
        """Say how the file was read, and what is beyond its end if ``lmax`` lies there."""
        lines = list(self.said)
        if lmax > self.last:
            how = "zero"
            if math.isfinite(self.end_fwhm):
                how = f"like a Gaussian of {math.degrees(self.end_fwhm) * 60:.4g} arcmin"
            lines.append(f"the beam ends at l = {self.last}, beyond it is {how}")
        return lines

    def record(self) -> dict[str, Any]:
        """Give everything in types that JSON has; `of_record` gives the beam back exactly."""
        return {"name": self.name, "sha256": self.sha256, "b_l": self.window.tolist()}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Beam:
        """Rebuild a beam from `record`.

        Raises
        ------
        ValueError, KeyError, TypeError
            It is not such a record.
        """
        window = np.array(record["b_l"], dtype=np.float64)
        return cls(window, str(record["name"]), str(record["sha256"]))


def as_beam(beam: object) -> Beam | None:
    """Convert b_l of an array to a `Beam`; a `Beam` and None are given back.

    Raises
    ------
    ValueError
        The array is no beam.
    """
    if beam is None or isinstance(beam, Beam):
        return beam
    if isinstance(beam, str | Path):
        raise ValueError(  # noqa: TRY004 (as all that does not fit)
            f"`beam` must be b_l or a skyfill.prior.Beam, got {beam!r}; a file is read by"
            " skyfill.prior.read_beam"
        )
    return Beam(np.asarray(beam, dtype=np.float64))


def _fwhm(value: float, ell: int) -> float:
    """Give the FWHM of a Gaussian beam from one of its b_l."""
    return math.sqrt(-16 * math.log(2) * math.log(value) / (ell * (ell + 1)))


def read_beam(
    path: str | Path,
    *,
    squared: bool | None = None,
    column: int | str | None = None,
    hdu: int | str | None = None,
) -> Beam:
    """Read a tabulated beam from a text or FITS file.

    Parameters
    ----------
    path
        Text with one column (b_l from l = 0) or more (l and b_l, a line of names before them or
        not); or a FITS table: a Planck RIMO (extensions BEAMWF_*), the beam beside a Planck map, a
        file of `healpy.write_cl`. gzipped or not.
    squared
        Whether the column holds B_l² (W_l), the factor of the power. None: as the name of the
        column says; without a telling name b_l is assumed, which `Beam.said` says.
    column
        The column, by name or by number from 0, to override the search.
    hdu
        Table of a FITS file that has several, by number or EXTNAME: ``BEAMWF_143X143``.

    Returns
    -------
    The beam. b_l is interpolated between rows that are more than one multipole apart; it is 1 below
    the first row, which may be at l = 2 at most.

    Raises
    ------
    ValueError
        The file is not such a table; several tables or columns are possible; a name contradicts
        ``squared``; or the numbers are no beam (see `Beam`).
    FileNotFoundError
        There is no such file.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: no such file; {ADVICE}; the width of a Gaussian beam is given as `fwhm`"
        )
    data = content(path)
    if data.startswith(b"SIMPLE"):
        place, columns = _from_fits(path, data, hdu)
    elif hdu is not None:
        raise ValueError(f"{path}: `hdu={hdu!r}` is for FITS files")
    else:
        place, columns = "", _from_text(path, data)
    ell, values, label, name = _chosen(path, columns, column)
    square, why = _is_square(path, label, name, squared)
    said = [f"{place}{label} is {'B_l²' if square else 'b_l'} ({why})"]
    if ell is None:
        said.append("no column of l, so the rows count from l = 0 (assumed)")
        ell = np.arange(values.size, dtype=np.float64)
    if square:
        if np.any(values < 0):
            raise ValueError(f"{path}: B_l² is negative at l = {ell[values < 0][0]:g}")
        values = np.sqrt(values)
    window, more = _every_l(path, ell, values)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return Beam(window, path.name, sha256, tuple(said + more))


def _chosen(
    path: Path, columns: dict[str, Window], column: int | str | None
) -> tuple[Window | None, Window, str, str]:
    """Find l and the beam among the columns: l or None, values, a label, and the name."""
    names = list(columns)
    at_l = next((name for name in names if _plain(name) in _ELL), None)
    if at_l is None and len(names) > 1 and _counts(columns[names[0]]):
        at_l = names[0]
    others = [name for name in names if name != at_l]
    if column is not None:
        number = int(column) if str(column).isdecimal() and column not in names else None
        alike = [name for name in names if name.lower() == str(column).lower()]
        if number is not None and number < len(names):
            alike = [names[number]]
        if not alike:
            raise ValueError(
                f"{path}: there is no column {column!r}; it has {', '.join(names)}: pass"
                f" `column={names[-1]!r}` or another one"
            )
        which = alike[0]
    elif len(others) == 1:
        which = others[0]
    else:
        known = [name for name in others if _plain(name) in _AMPLITUDE | _SQUARE]
        unnamed = all(name.startswith("column ") for name in others)
        if not others or (len(known) != 1 and not (unnamed and at_l is not None)):
            raise ValueError(
                f"{path}: which column holds the beam? It has {', '.join(names)}; pass"
                f" `column={(known or others or names)[0]!r}` or another one"
            )
        which = known[0] if known else others[0]
    ell = None if at_l is None or which == at_l else columns[at_l]
    return ell, columns[which], f"column {which.removeprefix('column ')}", which


def _plain(name: str) -> str:
    """Give a name without case, spaces, marks and brackets: ``B_l^2 `` is ``bl2``."""
    return re.sub(r"[\s_^*{}()\[\]\\$-]+", "", name.lower())


def _counts(values: Window) -> bool:
    """Tell whether a column without a name is l: whole numbers that rise."""
    rising = values.size > 1 and bool(np.all(np.diff(values) >= 1))
    return rising and bool(np.all(values == np.rint(values)))


def _is_square(path: Path, label: str, name: str, given: bool | None) -> tuple[bool, str]:
    """Distinguish b_l from its square, and say how that is known."""
    plain = _plain(name)
    says = True if plain in _SQUARE else False if plain in _AMPLITUDE else None
    if given is None:
        if says is None:
            return False, "assumed: pass `squared=True` for B_l²"
        return says, "by its name"
    if says is True and given is False:
        raise ValueError(
            f"{path}: {label} holds B_l² by its name, `squared=False` says b_l; drop that, or"
            " rename the column"
        )
    return given, "as given"


def _every_l(path: Path, ell: Window, values: Window) -> tuple[Window, list[str]]:
    """Give the values at every l from 0, and say which are not in the file."""
    if ell.size < 3 or np.any(np.diff(ell) <= 0) or not np.all(np.isfinite(ell)) or ell[0] < 0:
        raise ValueError(
            f"{path}: l must rise over three rows or more, got {ell[:3].tolist()} ...; {ADVICE}"
        )
    if ell[-1] > _LARGEST_L or ell[0] > 2:
        raise ValueError(
            f"{path}: l must begin at 0, 1 or 2 and end below {_LARGEST_L}, got {ell[0]:g} to"
            f" {ell[-1]:g}; {ADVICE}"
        )
    bad = ~np.isfinite(values)
    if bad.any():
        raise ValueError(f"{path}: the beam is not finite at l = {ell[bad][0]:g}")
    first = float(values[0])
    if ell[0] > 0:
        if abs(first - 1) > _OFF_LATER:
            raise ValueError(
                f"{path}: b_l is {first:.5g} at l = {ell[0]:g}, where a beam is near 1; divide the"
                " table by its value at l = 0"
            )
        ell, values = np.insert(ell, 0, 0.0), np.insert(values, 0, 1.0)
    every = np.arange(int(ell[-1]) + 1)
    window = np.interp(every, ell, values)
    rows = ell == np.rint(ell)
    window[ell[rows].astype(np.int64)] = values[rows]  # unchanged, bit for bit
    interpolated = bool(np.any(np.diff(ell) > 1)) and ell.size < every.size
    return window, ["b_l interpolated between the rows"] * interpolated


# --- files --------------------------------------------------------------------------------------


def _from_fits(path: Path, data: bytes, chosen: int | str | None) -> tuple[str, dict[str, Window]]:
    """Read the columns of the one table that holds a beam, and name the table."""
    from astropy.io import fits

    tables: dict[str | int, dict[str, Window]] = {}
    trouble = (OSError, ValueError, TypeError, IndexError, KeyError, AttributeError)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unusual headers, which do not concern the numbers
            with fits.open(io.BytesIO(data)) as hdus:
                for number, each in enumerate(hdus):
                    if not isinstance(each, fits.BinTableHDU | fits.TableHDU):
                        continue
                    if "ORDERING" in each.header:  # a map, whose beam may be beside it
                        continue
                    found = {
                        column.name: np.array(each.data[column.name], dtype=np.float64).ravel()
                        for column in each.columns
                        if np.asarray(each.data[column.name]).dtype.kind in "iuf"
                    }
                    taken = each.name in tables
                    tables[number if taken or not each.name else each.name] = found
                    if chosen is not None and _is_chosen(chosen, number, each.name):
                        tables = {each.name or number: found}
                        break
                else:
                    if chosen is not None:
                        names = ", ".join(map(str, tables))
                        raise ValueError(f"there is no table {chosen}; it has {names}")
    except trouble as error:
        why = (str(error).strip().splitlines() or ["unknown"])[0]
        raise ValueError(f"{path}: no readable beam in it ({why}); {ADVICE}") from None
    if len(tables) > 1:
        of_beams = {name: t for name, t in tables.items() if "BEAM" in str(name).upper()}
        of_beams = of_beams or {
            name: t for name, t in tables.items() if any(_plain(n) in _BEAMS for n in t)
        }
        if len(of_beams) != 1:
            names = ", ".join(map(str, of_beams or tables))
            raise ValueError(
                f"{path}: which table holds the beam? It has {names}; pass"
                f" `hdu={next(iter(of_beams or tables))!r}` or another one"
            )
        tables = of_beams
    if not tables or not next(iter(tables.values())):
        raise ValueError(f"{path}: no table of a beam in it; {ADVICE}")
    ((name, columns),) = tables.items()
    longest = max(values.size for values in columns.values())
    return f"table {name}, ", {n: v for n, v in columns.items() if v.size == longest}


#: Names of columns that tell the table of a beam from others without the name of the table.
_BEAMS = _AMPLITUDE - {"t", "tt", "temperature", "nominal"} | _SQUARE


def _is_chosen(chosen: int | str, number: int, name: str) -> bool:
    return str(chosen) == str(number) or str(chosen).upper() == name.upper()


def _from_text(path: Path, data: bytes) -> dict[str, Window]:
    """Read the columns of a table of numbers that follows any number of lines of text."""
    text = text_of(data)
    if text is None:
        raise ValueError(f"{path}: neither text nor FITS; {ADVICE}")
    before: list[str] = []
    rows: list[list[float]] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = _words(line.partition("#")[0])
        cells = [_number(word) for word in words]
        if not words or (None in cells and not rows):
            before += [line.strip().lstrip("#%!; ")] if line.strip() and not rows else []
        elif None in cells or (rows and len(cells) != len(rows[0])):
            raise ValueError(
                f"{path}: line {number} is not as many numbers as the first row; {ADVICE}"
            )
        else:
            rows.append([cell for cell in cells if cell is not None])
    if not rows:
        raise ValueError(f"{path}: no numbers found; {ADVICE}")
    table = np.array(rows).T
    names = [f"column {number}" for number in range(len(table))]
    for line in reversed(before):
        words = _words(line)
        telling = any(_plain(word) in _ELL | _AMPLITUDE | _SQUARE for word in words)
        if len(words) == len(table) == len(set(words)) and telling:
            names = words
            break
    return dict(zip(names, table, strict=True))


def _words(line: str) -> list[str]:
    return [word for word in re.split(r"[,;\s]+", line) if word]


def _number(word: str) -> float | None:
    """Read a number, also Fortran's 1.0D+03; None for anything else."""
    try:
        return float(re.sub(r"(?<=[\d.])[dD](?=[+-]?\d)", "e", word))
    except ValueError:
        return None
