"""Read a theory spectrum from a text or FITS file, and report how it was read.

The column names, TUNIT and comments of the file tell the columns, the unit, and C_l or D_l. What
the file does not say is assumed, and the assumption is reported.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.brief import brief
from skyfill.prior.spectrumtable import ADVICE, Columns, read_columns
from skyfill.prior.spectrumwords import (
    BIN_EDGES,
    L_NAMES,
    T_CMB,
    cmb_power,
    comments_say_dl,
    compact,
    in_uk2,
    is_other,
    is_scaled,
    is_unsaid,
    meaning,
    polarized,
    units_in,
)

__all__ = ["SpectrumFile", "read_cl", "read_spectra", "read_spectrum"]

#: Largest multipole accepted: a map of Nside 8192 ends at 24575.
_LARGEST_L = 1_000_000
# Beyond both of these limits nothing is known between two rows, and a straight line would be an
# invention.
#: A step between two rows is a bin up to this factor in l.
_BIN_FACTOR = 2.0
#: A step between two rows is a bin, too, up to this many multipoles.
_BIN_WIDTH = 10
#: A spectrum within this factor of the CMB's is not suspected. C_l and D_l, and units, differ by
#: more; D_l in K² and ΔT/T by 7.4.
_FAR = 5.0
#: A spectrum within this factor of the CMB's is taken for the CMB's.
_NEAR = 2.5
#: Two columns that hold C_l and D_l of one spectrum agree to this, as printed digits do.
_SAME = 0.01


@dataclass(frozen=True, eq=False)
class SpectrumFile:
    """A spectrum from a file, and how it was read."""

    __repr__ = brief

    cl: NDArray[np.float64] = field(repr=False)
    """``(lmax + 1,)``, C_l from l = 0, µK²."""
    column: str
    """Name of the column, or its number from 0 if it has none."""
    dl: bool
    """Whether the column held D_l = l (l + 1) C_l / 2π."""
    unit: str
    """Unit of the column."""
    said: tuple[str, ...] = ()
    """Sentences for the user: how the file was read, and what was assumed or interpolated."""


def read_cl(
    path: str | Path,
    *,
    dl: bool | None = None,
    unit: str | None = None,
    column: int | str | None = None,
    extend: ArrayLike | None = None,
    hdu: int | str | None = None,
) -> NDArray[np.float64]:
    """Read a spectrum from a text or FITS file.

    `read_spectrum` has the same parameters and also reports what was assumed.

    Returns
    -------
    ``(lmax + 1,)`` C_l from l = 0, µK².

    Raises
    ------
    ValueError
        The file is not such a table, contradicts the parameters, or lacks necessary information.
    FileNotFoundError
        There is no such file.
    """
    return read_spectrum(path, dl=dl, unit=unit, column=column, extend=extend, hdu=hdu).cl


def read_spectrum(
    path: str | Path,
    *,
    dl: bool | None = None,
    unit: str | None = None,
    column: int | str | None = None,
    extend: ArrayLike | None = None,
    hdu: int | str | None = None,
) -> SpectrumFile:
    """Read a spectrum from a text or FITS file, and report how it was read.

    Parameters
    ----------
    path
        Text (white space, commas, semicolons or tabs; comments; a line of names with or without
        "#"; Fortran's 1.0D+03), ECSV, or a FITS table; gzipped or not. The column of the
        temperature is found by its name: TT, C_l, D_l, TEMPERATURE and variants. In a text without
        names it is the second column. l is found by its name (l, ell, multipole); otherwise it is
        the first column of a text. In FITS, a column that counts by one from 0, 1 or 2 is taken for
        l; without such a column, rows count from l = 0, as in healpy's files.
    dl
        Whether the column holds D_l = l (l + 1) C_l / 2π. None: as the file says, or else C_l.
    unit
        Unit of a column whose file names none: K^2, mK^2, uK^2 or dimensionless ((ΔT/T)², as CLASS
        writes). None: as the file says, or else µK².
    column
        The column, by name or by number from 0, to override the search.
    extend
        ``(lmax + 1,)`` C_l in µK², such as `lcdm()`, used below the first row, above the last one
        and in wide gaps. None: a table that begins above l = 2 or has wide gaps is refused.
    hdu
        Table of a FITS file that has several, by number or EXTNAME.

    Returns
    -------
        The spectrum. D_l is interpolated between rows that are more than one multipole apart, as in
        binned tables. l = 0 and 1 are zero if the file does not have them.

    Raises
    ------
    ValueError
        The file is not such a table; it contradicts `dl` or `unit`; several columns are possible;
        it begins above l = 2 or has wide gaps; a value is negative or not finite.
    FileNotFoundError
        There is no such file.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; {ADVICE}")
    table = read_columns(path, hdu)
    at_l, ell = _find_l(path, table)
    which = _find_column(path, table, at_l, column)
    values = table.numbers[which]
    ell = _checked(path, ell, values, "the first column" if at_l == 0 else "the column of l")
    is_dl, why_dl = _is_dl(path, table, which, dl, chosen=column is not None)
    factor, name, why_unit = _unit(path, table, which, unit)
    kind = "D_l" if is_dl else "C_l"
    scale = name if factor != T_CMB**2 else f"units of ({T_CMB / 1e6} K)²"
    said = [f"column {table.label(which)} is {kind} ({why_dl}) in {scale} ({why_unit})"]
    cl = values * factor
    if is_dl:
        cl = cl * 2 * np.pi / np.maximum(ell * (ell + 1), 1)
    _suspect(
        f"{path}: {said[0]}",
        ell,
        values,
        (is_dl, factor),
        kinds=(False, True) if "assumed" in why_dl else (is_dl,),
        units=("µK^2", "mK^2", "K^2", "dimensionless") if why_unit == "assumed" else (name,),
    )
    if at_l is None:
        said.append("no column of l, so the rows count from l = 0 (assumed)")
    # zeros at the lowest l count as missing rows
    power = _with_power(ell, cl)
    whole, more = _every_l(path, ell[power], cl[power], extend, zeros=not power.all())
    label = table.names[which] if table.names else str(which)
    return SpectrumFile(whole, label, is_dl, name, tuple(said + more))


def read_spectra(
    path: str | Path,
    *,
    dl: bool | None = None,
    unit: str | None = None,
    extend: Mapping[str, ArrayLike] | None = None,
    hdu: int | str | None = None,
) -> dict[str, SpectrumFile]:
    """Read TT, EE, BB and TE from the columns of one file, found by name.

    Parameters
    ----------
    path, dl, unit, hdu
        As for `read_spectrum`. What the names of EE, BB and TE do not say of C_l, D_l and the unit
        is as for TT.
    extend
        The spectra of a theory, by name, used as by `read_spectrum`; or None.

    Returns
    -------
    The spectra by name, in the order TT, EE, BB, TE.

    Raises
    ------
    ValueError
        A column is missing, or there are two of one spectrum; or as for `read_spectrum`.
    FileNotFoundError
        There is no such file.
    """
    path = Path(path)
    more = dict(extend or {})
    tt = read_spectrum(path, dl=dl, unit=unit, extend=more.get("TT"), hdu=hdu)
    table = read_columns(path, hdu)
    at_l, ell = _find_l(path, table)
    columns = _find_polarized(path, table)
    rows = _with_power(ell, table.numbers[table.names.index(tt.column)])
    out = {"TT": tt}
    for name, which in columns.items():
        values = table.numbers[which]
        place = "the first column" if at_l == 0 else "the column of l"
        ell = _checked(path, ell, values, place, name)
        found = polarized(table.names[which])
        says = None if found is None else found[1]
        is_dl = says if says is not None else tt.dl
        factor, scale, why = _unit(path, table, which, unit)
        if why == "assumed":
            factor, scale, why = in_uk2(tt.unit) or factor, tt.unit, "as TT"
        cl = values * factor
        if is_dl:
            cl = cl * 2 * np.pi / np.maximum(ell * (ell + 1), 1)
        why_dl = "as TT" if says is None else "by its name"
        kind = "D_l" if is_dl else "C_l"
        said = [f"column {table.label(which)} is {kind} ({why_dl}) in {scale} ({why})"]
        zeros = not rows.all()
        whole, lines = _every_l(path, ell[rows], cl[rows], more.get(name), zeros=zeros)
        out[name] = SpectrumFile(whole, table.names[which], is_dl, scale, tuple(said + lines))
    return out


# --- what the file says -------------------------------------------------------------------------


def _find_l(path: Path, table: Columns) -> tuple[int | None, NDArray[np.float64]]:
    """Find the column of l; None if the rows are counted instead."""
    plain = [compact(name) for name in table.names]
    for name in L_NAMES:
        if name in plain:
            return plain.index(name), table.numbers[plain.index(name)]
    for low, high in BIN_EDGES:
        if low in plain and high in plain:
            first, last = (table.numbers[plain.index(name)] for name in (low, high))
            return plain.index(low), (first + last) / 2
    for number, values in enumerate(table.numbers):
        counted = values.size > 1 and values[0] in (0, 1, 2) and (np.diff(values) == 1).all()
        if counted and (table.fits or number == 0):
            return number, values
    if table.fits:
        return None, np.arange(table.numbers[0].size, dtype=float)
    if any(meaning(name) for name in table.names):
        raise ValueError(f"{path}: no column of l among {', '.join(table.names)}; name it l or ell")
    return 0, table.numbers[0]


def _with_power(ell: NDArray[np.float64], cl: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which rows count: not those from l = 2 on before the first that is not zero."""
    return np.asarray((ell < 2) | (np.cumsum(cl * (ell >= 2)) > 0))


def _find_polarized(path: Path, table: Columns) -> dict[str, int]:
    """Find the columns of EE, BB and TE by their names."""
    known = [polarized(name) for name in table.names]
    found: dict[str, int] = {}
    for name in ("EE", "BB", "TE"):
        columns = [i for i, each in enumerate(known) if each is not None and each[0] == name]
        if not columns:
            listed = ", ".join(table.names) or f"{len(table.numbers)} columns without names"
            zeros = "; for a sky without B-modes give a column BB of zeros" * (name == "BB")
            raise ValueError(
                f"{path}: no column {name} ({listed}); polarization needs four spectra: name them"
                f" in the line above the numbers, as in 'ell TT EE BB TE'{zeros}"
            )
        if len(columns) > 1:
            names = ", ".join(table.names[i] for i in columns)
            raise ValueError(f"{path}: {len(columns)} columns of {name}: {names}; keep one of them")
        found[name] = columns[0]
    return found


def _find_column(path: Path, table: Columns, at_l: int | None, column: int | str | None) -> int:
    """Find the column of the spectrum: as requested, by its name, or as the only one."""
    edges = {edge for pair in BIN_EDGES for edge in pair}
    others = [
        number
        for number in range(len(table.numbers))
        if number != at_l and not (table.names and compact(table.names[number]) in edges)
    ]
    names = ", ".join(table.names[i] for i in others) if table.names else f"{len(others)} unnamed"
    if isinstance(column, str):
        same = [i for i, name in enumerate(table.names) if name == column]
        same = same or [i for i, name in enumerate(table.names) if name.lower() == column.lower()]
        if len(same) != 1:
            raise ValueError(f"{path}: no one column {column!r}; there are {names}")
        return same[0]
    if column is not None:
        if column not in others:
            raise ValueError(
                f"{path}: no column {column} with a spectrum, counted from 0; there are {names}"
            )
        return column
    if not others:
        raise ValueError(f"{path}: no column beside l; {ADVICE}")
    found = {i: meaning(table.names[i]) for i in others} if table.names else {}
    known: dict[int, tuple[bool | None, bool]] = {i: m for i, m in found.items() if m}
    temperature = [i for i, (_, tt) in known.items() if tt] or list(known)
    if temperature:
        return _one_of(path, table, at_l, {i: known[i][0] for i in temperature})
    foreign = [i for i in others if table.names and is_other(table.names[i])]
    named = bool(table.names) and at_l is not None
    if foreign or (len(others) > 1 and named):
        raise ValueError(
            f"{path}: no column of the temperature's spectrum (TT, C_l, D_l); there are {names};"
            f" pass `column={table.names[others[0]]!r}` to take that one"
        )
    return others[0]


def _one_of(path: Path, table: Columns, at_l: int | None, known: dict[int, bool | None]) -> int:
    """Choose among several columns: C_l before D_l if they agree, else raise an error."""
    which = {says: [i for i in known if known[i] is says] for says in (False, True, None)}
    kinds = [columns for columns in which.values() if columns]
    if len(kinds[0]) == 1 and (len(kinds) == 1 or not which[True] or not which[False]):
        return kinds[0][0]
    if len(which[False]) == len(which[True]) == 1:
        ell = table.numbers[at_l] if at_l is not None else np.arange(table.numbers[0].size)
        cl, dl = (table.numbers[which[says][0]] for says in (False, True))
        there = (ell >= 2) & np.isfinite(cl) & np.isfinite(dl)
        expected = (ell * (ell + 1) / (2 * np.pi) * cl)[there]
        if np.allclose(expected, dl[there], rtol=_SAME, atol=0):
            return which[False][0]
    names = [table.names[i] for i in known]
    raise ValueError(
        f"{path}: columns {', '.join(names)} hold different spectra of the temperature; pass"
        f" `column={names[0]!r}` or another one"
    )


def _is_dl(
    path: Path, table: Columns, which: int, dl: bool | None, *, chosen: bool
) -> tuple[bool, str]:
    """Distinguish C_l from D_l, and say how that is known."""
    name = table.names[which] if table.names else ""
    if dl is None and is_scaled(name if meaning(name) or len(name) > 2 else table.comments):
        raise ValueError(
            f"{path}: column {table.label(which)} is neither C_l nor D_l = l (l + 1) C_l / 2π by"
            " its name or the comments; write one of them, or pass `dl=True` if it is D_l"
        )
    found = meaning(name)
    says = found[0] if found else None
    why = "by its name"
    if says is None:
        says, why = comments_say_dl(table.comments), "by the file's comments"
    if dl is None:
        return (False, "assumed: pass `dl=True` for D_l") if says is None else (says, why)
    if says is not None and says is not dl and not chosen:
        raise ValueError(
            f"{path}: column {table.label(which)} holds {'D_l' if says else 'C_l'} {why},"
            f" `dl={dl}` says {'D_l' if dl else 'C_l'}; drop that, or pass"
            f" `column={table.names[which] if table.names else which!r}` as well"
        )
    return dl, "as given"


def _unit(path: Path, table: Columns, which: int, given: str | None) -> tuple[float, str, str]:
    """Give the size of the unit in µK², its name, and how it is known."""
    name = table.units[which].strip()
    own, why = in_uk2(name), "by its unit"
    if own is None and not is_unsaid(name) and given is None:
        raise ValueError(
            f"{path}: column {table.label(which)} has unit {name!r}, which is not a unit of a "
            "spectrum;"
            " pass `unit='uK^2'`, 'mK^2', 'K^2' or 'dimensionless'"
        )
    if own is None:
        factors = units_in(table.comments)
        if len(factors) == 1:
            ((own, name),) = factors.items()
            why = "by the file's comments"
        elif factors and given is None:
            raise ValueError(
                f"{path}: the comments name several units ({', '.join(factors.values())}); pass"
                " `unit='uK^2'`, 'mK^2', 'K^2' or 'dimensionless'"
            )
    if given is None:
        return (1.0, "µK²", "assumed") if own is None else (own, name, why)
    factor = in_uk2(given)
    if factor is None:
        raise ValueError(
            f"`unit={given!r}` is not a unit of a spectrum; pass K^2, mK^2, uK^2 or dimensionless"
        )
    if own is not None and own != factor:
        raise ValueError(
            f"{path}: column {table.label(which)} is in {name} {why}, `unit={given!r}` says another"
            " one; drop that"
        )
    return factor, given, "as given"


def _suspect(
    what: str,
    ell: NDArray[np.float64],
    values: NDArray[np.float64],
    taken: tuple[bool, float],
    *,
    kinds: tuple[bool, ...],
    units: tuple[str, ...],
) -> None:
    """Warn if the assumed reading is far from the CMB's power and another reading is near it."""
    scale = 2 * np.pi / np.maximum(ell * (ell + 1), 1)

    def is_cmb(dl: bool, factor: float, within: float) -> bool | None:
        return cmb_power(ell, values * factor * (scale if dl else 1.0), within=within)

    if is_cmb(*taken, within=_FAR) is not False:
        return
    for dl in kinds:
        for unit in units:
            factor = in_uk2(unit)
            if factor is None or (dl, factor) == taken or not is_cmb(dl, factor, within=_NEAR):
                continue
            mends = [f"`dl={dl}`"] * (dl != taken[0]) + [f"{unit} as its unit"] * (
                factor != taken[1]
            )
            warnings.warn(
                f"{what}, far from the CMB's power, and as {'D_l' if dl else 'C_l'} in {unit} it"
                f" would be near to it; pass {' and '.join(mends)} if that is what it is",
                stacklevel=2,  # one place in the source, so that the warning is shown once
            )
            return


# --- from rows to every l -----------------------------------------------------------------------


def _checked(
    path: Path,
    ell: NDArray[np.float64],
    values: NDArray[np.float64],
    place: str,
    name: str = "C_l",
) -> NDArray[np.float64]:
    """Check the rows, and give l, rounded if it is meant to be whole.

    TE may be negative, and TE and BB may be zero.
    """
    steps = np.diff(ell)
    if ell.size < 2 or not np.all(np.isfinite(ell)) or np.any(steps <= 0) or ell[0] < 0:
        raise ValueError(f"{path}: {place} must be l, rising; got {ell[:3].tolist()} ...")
    near = np.rint(ell)
    if np.allclose(near, ell, rtol=0, atol=1e-3):
        ell = near
    if ell[-1] > _LARGEST_L or np.any(np.diff(ell) < 1):
        raise ValueError(
            f"{path}: {place} must be l, rising by 1 or more up to {_LARGEST_L}; got"
            f" {ell[:3].tolist()} ... {ell[-1]:g}"
        )
    if not np.all(np.isfinite(values)):
        raise ValueError(f"{path}: {name} is not finite at l = {ell[~np.isfinite(values)][0]:g}")
    if name != "TE" and np.any(values < 0):
        raise ValueError(f"{path}: {name} is negative at l = {ell[values < 0][0]:g}")
    if name not in ("BB", "TE") and not values[ell >= 2].any():
        raise ValueError(f"{path}: {name} is zero at every l from 2; a prior needs power")
    return ell


def _every_l(
    path: Path,
    ell: NDArray[np.float64],
    cl: NDArray[np.float64],
    extend: ArrayLike | None,
    *,
    zeros: bool,
) -> tuple[NDArray[np.float64], list[str]]:
    """Give C_l at every l from 0, and say which values are not in the file."""
    theory = None if extend is None else np.asarray(extend, dtype=np.float64)
    if theory is not None and (theory.ndim != 1 or not np.isfinite(theory).all()):
        raise ValueError("`extend` must be C_l from l = 0, (lmax + 1,) finite numbers")
    first, last = int(np.ceil(ell[ell >= 2][0])), int(ell[-1])
    if 2 < ell[0] < 3:  # may be the bin of l = 2 and 3
        ell, cl = np.insert(ell, 0, 2.0), np.insert(cl, 0, cl[0] * ell[0] * (ell[0] + 1) / 6)
        first = 2
    wide = (np.diff(ell) > _BIN_WIDTH) & (ell[1:] > _BIN_FACTOR * ell[:-1]) & (ell[:-1] >= 2)
    gaps = [(int(ell[i]) + 1, int(np.ceil(ell[i + 1])) - 1) for i in np.flatnonzero(wide)]
    if first > 2:
        gaps.insert(0, (2, first - 1))
    said = [f"l = {ell[0]:g} to {ell[-1]:g}"]
    nonzero = ell[np.append(0, np.flatnonzero(cl))[-1]]
    if not cl.any():
        said.append("zero at every l")
    elif nonzero < ell[-1]:
        said.append(f"no power above l = {nonzero:g}, where the file has zeros")
    if gaps and theory is None:
        words = ", ".join(f"{low}-{high}" for low, high in gaps)
        raise ValueError(
            f"{path}: {'only zeros' if zeros else 'no rows'} for l = {words}, where a prior would"
            " have no power; pass `extend` to take them from a theory such as ΛCDM, or give a table"
            " that has them"
        )
    every = np.arange(last + 1)
    scale = np.maximum(every * (every + 1.0), 1.0)
    whole = np.interp(every, ell, cl * np.maximum(ell * (ell + 1), 1.0), left=0.0) / scale
    rows = np.flatnonzero(ell == np.rint(ell))
    whole[ell[rows].astype(np.int64)] = cl[rows]  # unchanged, bit for bit
    kept = np.count_nonzero(ell >= 2)
    if last + 1 - first != kept or rows.size != ell.size:
        said.append("D_l interpolated between the rows")
    if theory is None:
        return whole, said
    whole, more = _completed(whole, theory, gaps)
    return whole, said + more


def _completed(
    whole: NDArray[np.float64], theory: NDArray[np.float64], gaps: list[tuple[int, int]]
) -> tuple[NDArray[np.float64], list[str]]:
    """Use the theory in gaps, below the first row and beyond the last."""
    if theory.size <= max((high for _, high in gaps), default=0):
        raise ValueError(f"`extend` ends at l = {theory.size - 1}, before the table begins")
    for low, high in gaps:
        whole[low : high + 1] = theory[low : high + 1]
    if theory.size > whole.size:
        gaps.append((whole.size, theory.size - 1))
        whole = np.concatenate([whole, theory[whole.size :]])
    return whole, [f"l = {low} to {high} not from the file but from `extend`" for low, high in gaps]
