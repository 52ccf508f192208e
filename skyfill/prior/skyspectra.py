"""The spectra of a polarized sky, TT, EE, BB and TE: of ΛCDM or of a file, with tensor modes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skyfill.brief import brief
from skyfill.prior.model import LCDM, lcdm, shipped
from skyfill.prior.spectrumfile import read_spectra

__all__ = ["SkySpectra", "tensor_spectra"]

Map = NDArray[np.float64]

NAMES = ("TT", "EE", "BB", "TE")
"""The spectra of a sky without parity violation, in the order of CAMB."""
#: Spectra of tensor modes with r = 1.
_TENSORS = "tensors_planck2018.npz"


def tensor_spectra(r: float = 1.0) -> dict[str, Map]:
    """Give what primordial tensor modes add to TT, EE, BB and TE (`docs/scripts/make_lcdm.py`).

    The spectra are those of CAMB in the cosmology of `lcdm`, not lensed, with n_t = 0, and r the
    ratio of tensor to scalar power at k = 0.05 / Mpc. They are proportional to r, and end at
    l = 1200.

    Parameters
    ----------
    r
        Tensor-to-scalar ratio, zero or more.

    Returns
    -------
    By name, ``(1201,)`` C_l, µK², from l = 0.

    Raises
    ------
    ValueError
        ``r`` is negative, or not a finite number.

    Examples
    --------
    >>> from skyfill.prior import tensor_spectra
    >>> ell = 80
    >>> round(float(tensor_spectra(0.01)["BB"][ell] * ell * (ell + 1) / 6.2832), 6)
    0.000647
    """
    given: Any = r
    number = isinstance(given, Real) and not isinstance(given, bool)
    if not (number and math.isfinite(given) and given >= 0):
        raise ValueError(f"`r` must be a number, zero or more, got {r!r}")
    table = shipped(_TENSORS)
    return {name: float(r) * table[name].astype(np.float64) for name in NAMES}


def _of_lcdm() -> dict[str, Map]:
    """Give the spectra of ΛCDM by name."""
    return {
        "TT": lcdm(),
        "EE": lcdm(None, "EE"),
        "BB": lcdm(None, "BB"),
        "TE": lcdm(None, "TE"),
    }


@dataclass(frozen=True, eq=False)
class SkySpectra:
    """TT, EE, BB and TE of one sky, before beam and pixels.

    Attributes
    ----------
    tt, ee, bb, te
        ``(lmax + 1,)`` C_l from l = 0, µK².
    theory
        Name of the spectra, for headers and messages.
    source
        What BB is: ``lensing``, or the name of a file.
    r
        Tensor-to-scalar ratio of the tensor modes that were added.
    said
        Sentences for the user: how a file was read, and what was assumed.
    """

    __repr__ = brief

    tt: Map = field(repr=False)
    ee: Map = field(repr=False)
    bb: Map = field(repr=False)
    te: Map = field(repr=False)
    theory: str
    source: str
    r: float = 0.0
    said: tuple[str, ...] = ()

    @classmethod
    def lcdm(cls) -> SkySpectra:
        """Give those of ΛCDM, lensed and without tensor modes, of `skyfill.lcdm`."""
        tt, ee, bb, te = _of_lcdm().values()
        return cls(tt, ee, bb, te, LCDM, "lensing")

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        dl: bool | None = None,
        unit: str | None = None,
        extend: bool = False,
        hdu: int | str | None = None,
    ) -> SkySpectra:
        """Read them from the columns TT, EE, BB and TE of a file, found by name.

        Parameters
        ----------
        path, dl, unit, hdu
            As for `skyfill.prior.read_spectra`.
        extend
            Whether ΛCDM is used at every l that the file lacks.

        Raises
        ------
        ValueError
            A column is missing; TE² exceeds TT EE; or as for `skyfill.prior.read_spectra`.
        FileNotFoundError
            There is no such file.
        """
        theory = _of_lcdm() if extend else None
        found = read_spectra(path, dl=dl, unit=unit, extend=theory, hdu=hdu)
        said = list(found["TT"].said)
        alike = [name for name in NAMES[1:] if found[name].said[0].count("(as TT)") == 2]
        if alike:
            said.append(f"{', '.join(alike)} as TT")
        for name in NAMES[1:]:
            own = found[name].said[name in alike :]
            said += [f"{name}: {line}" for line in own if line not in found["TT"].said]
        cl = {name: found[name].cl for name in NAMES}
        both = min(each.size for each in cl.values())
        excess = cl["TE"][2:both] ** 2 > (1 + 1e-9) * cl["TT"][2:both] * cl["EE"][2:both]
        if excess.any():
            ell = 2 + int(np.argmax(excess))
            raise ValueError(
                f"{path}: TE² exceeds TT EE at l = {ell}: no sky has these spectra; correct the"
                " names of the columns, or the line of names"
            )
        tt, ee, bb, te = (cl[name] for name in NAMES)
        name = Path(path).name
        return cls(tt, ee, bb, te, name, name, said=tuple(said))

    def with_tensors(self, r: float) -> SkySpectra:
        """Add tensor modes of tensor-to-scalar ratio r; see `tensor_spectra`."""
        if not r:
            return self
        sums: dict[str, Any] = {}
        for name, more in tensor_spectra(r).items():
            own: Map = getattr(self, name.lower())
            total = np.zeros(max(own.size, more.size))
            total[: own.size] += own
            total[: more.size] += more
            sums[name.lower()] = total
        ratio = self.r + float(r)
        theory = self.theory.split(", r = ")[0]
        return replace(self, **sums, r=ratio, theory=f"{theory}, r = {ratio:g}")

    @property
    def words(self) -> str:
        """Name what BB is, as headers do: ``lensing``, ``lensing, r = 0.01``."""
        return f"{self.source}, r = {self.r:g}" if self.r else self.source
