"""Read a theory spectrum from a text or FITS file, and say what was taken for what.

The columns, the unit and C_l or D_l are taken from the file's own words: names of columns, TUNIT,
comments. What the file does not say is assumed, and the assumption is put into words.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
    units_in,
)

__all__ = ["SpectrumFile", "read_cl", "read_spectrum"]

#: Larger numbers are no multipoles: a map of Nside 8192 ends at 24575.
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
    """A spectrum that was read, and what was taken for what."""

    cl: NDArray[np.float64] = field(repr=False)
    """(lmax + 1,) C_l from l = 0, µK²."""
    column: str
    """Name of the column that was taken, or its number from 0 where it has none."""
    dl: bool
    """Whether the column held D_l = l (l + 1) C_l / 2π."""
    unit: str
    """Unit of the column."""
    said: tuple[str, ...] = ()
    """What was taken for what, assumed and made up: sentences for the user."""


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

    `read_spectrum` has the same parameters, and tells beside the spectrum what was assumed.

    Returns
    -------
    ``(lmax + 1,)`` C_l from l = 0, µK².

    Raises
    ------
    ValueError
        The file is no such table, says something else than the parameters, or leaves open what
        must be known.
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
    """Read a spectrum from a text or FITS file, and say what was taken for what.

    Parameters
    ----------
    path
        Text (white space, commas, semicolons or tabs; comments; a line of names with or without
        "#"; Fortran's 1.0D+03), ECSV, or a FITS table; gzipped or not. The temperature's column is
        found by its name: TT, C_l, D_l, TEMPERATURE and their kin; without names it is the second
        of a text. l is found by its name (l, ell, multipole), else it is the first column of a
        text. In FITS a column without such a name is l where it counts by one from 0, 1 or 2;
        where none does, the rows count from l = 0, as in healpy's files.
    dl
        Whether the column holds D_l = l (l + 1) C_l / 2π. None: what the file says, else no.
    unit
        Unit of the column where the file does not say it: K^2, mK^2, uK^2 or dimensionless
        ((ΔT/T)², as CLASS writes it). None: what the file says, else µK².
    column
        The column, by name or by number from 0, where it is another one.
    extend
        ``(lmax + 1,)`` C_l in µK², such as `lcdm()`: taken below the first row, above the last
        one and in wide gaps. None: a table that begins above l = 2 or has wide gaps is refused.
    hdu
        Table of a FITS file that has several, by number or EXTNAME.

    Returns
    -------
        The spectrum. Between rows that are more than one multipole apart, as in binned tables, D_l
        is interpolated. l = 0 and 1 are zero where the file does not have them.

    Raises
    ------
    ValueError
        The file is no such table; it contradicts `dl` or `unit`; several columns could be meant;
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
    power = (ell < 2) | (np.cumsum(cl * (ell >= 2)) > 0)  # zeros at the lowest l stand for no row
    whole, more = _every_l(path, ell[power], cl[power], extend, zeros=not power.all())
    label = table.names[which] if table.names else str(which)
    return SpectrumFile(whole, label, is_dl, name, tuple(said + more))


# --- what the file says -------------------------------------------------------------------------


def _find_l(path: Path, table: Columns) -> tuple[int | None, NDArray[np.float64]]:
    """Find the column of l; None where the rows are counted."""
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


def _find_column(path: Path, table: Columns, at_l: int | None, column: int | str | None) -> int:
    """Find the spectrum's column: by order, by its name, or as the only one."""
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
    """Choose among columns of one spectrum: C_l before D_l if they agree, else none."""
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
    """Tell C_l from D_l, and how that is known."""
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
    """Give µK² in one unit, the unit's name, and how it is known."""
    name = table.units[which].strip()
    own, why = in_uk2(name), "by its unit"
    if own is None and not is_unsaid(name) and given is None:
        raise ValueError(
            f"{path}: column {table.label(which)} has unit {name!r}, which is none of a spectrum;"
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
            f"`unit={given!r}` is no unit of a spectrum; pass K^2, mK^2, uK^2 or dimensionless"
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
    """Warn where what is assumed is far from the CMB, and something else would be near to it."""
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
                stacklevel=2,  # one place, so that it is shown once
            )
            return


# --- from rows to every l -----------------------------------------------------------------------


def _checked(
    path: Path, ell: NDArray[np.float64], values: NDArray[np.float64], place: str
) -> NDArray[np.float64]:
    """Check the rows, and give l, whole where it is meant so."""
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
        raise ValueError(f"{path}: C_l is not finite at l = {ell[~np.isfinite(values)][0]:g}")
    if np.any(values < 0):
        raise ValueError(f"{path}: C_l is negative at l = {ell[values < 0][0]:g}")
    if not values[ell >= 2].any():
        raise ValueError(f"{path}: C_l is zero at every l from 2; a prior needs power")
    return ell


def _every_l(
    path: Path,
    ell: NDArray[np.float64],
    cl: NDArray[np.float64],
    extend: ArrayLike | None,
    *,
    zeros: bool,
) -> tuple[NDArray[np.float64], list[str]]:
    """Give C_l at every l from 0, and say what of it is in no row."""
    theory = None if extend is None else np.asarray(extend, dtype=np.float64)
    if theory is not None and (theory.ndim != 1 or not np.isfinite(theory).all()):
        raise ValueError("`extend` must be C_l from l = 0, (lmax + 1,) finite numbers")
    first, last = int(np.ceil(ell[ell >= 2][0])), int(ell[-1])
    if 2 < ell[0] < 3:  # the bin of l = 2 and 3
        ell, cl = np.insert(ell, 0, 2.0), np.insert(cl, 0, cl[0] * ell[0] * (ell[0] + 1) / 6)
        first = 2
    wide = (np.diff(ell) > _BIN_WIDTH) & (ell[1:] > _BIN_FACTOR * ell[:-1]) & (ell[:-1] >= 2)
    gaps = [(int(ell[i]) + 1, int(np.ceil(ell[i + 1])) - 1) for i in np.flatnonzero(wide)]
    if first > 2:
        gaps.insert(0, (2, first - 1))
    said = [f"l = {ell[0]:g} to {ell[-1]:g}"]
    nonzero = ell[np.flatnonzero(cl)[-1]]
    if nonzero < ell[-1]:
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
    whole[ell[rows].astype(np.int64)] = cl[rows]  # as in the file, to the last bit
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
    """Take from theory what is in no row, and what is beyond the last one."""
    if theory.size <= max((high for _, high in gaps), default=0):
        raise ValueError(f"`extend` ends at l = {theory.size - 1}, before the table begins")
    for low, high in gaps:
        whole[low : high + 1] = theory[low : high + 1]
    if theory.size > whole.size:
        gaps.append((whole.size, theory.size - 1))
        whole = np.concatenate([whole, theory[whole.size :]])
    return whole, [f"l = {low} to {high} not from the file but from `extend`" for low, high in gaps]
