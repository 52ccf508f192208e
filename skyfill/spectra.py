"""Compare the power spectrum of a whole sky with a theory, bin by bin.

C_ell in µK² without ell(ell+1)/2π; D_ell = ell(ell+1)/2π C_ell is always called so. Bins weight
each ell by its 2 ell + 1 modes, the estimate of least variance for a flat C_ell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill._checks import nside_of
from skyfill._files import atomic_write

if TYPE_CHECKING:
    from astropy.table import QTable
    from matplotlib.axes import Axes

__all__ = ["SpectrumComparison", "compare", "default_edges"]


@dataclass(frozen=True, eq=False)
class SpectrumComparison:
    """Binned C_ell of a whole sky beside a theory.

    All arrays but `theory_cl` have one entry a bin, ``(nbin,)``.

    Attributes
    ----------
    ell_min, ell_max
        First and last ell of each bin, both inclusive.
    ell
        Mean ell of each bin, weighted by 2 ell + 1.
    cl
        Estimate from the sky, µK².
    theory
        The theory, binned alike, µK².
    sigma
        Standard deviation of `cl` over skies drawn from the theory (cosmic variance of everything
        that is in it: signal, beam and noise), full sky, µK².
    theory_cl
        ``(lmax + 1,)``: the theory ell by ell, µK².
    lmax, nside
        Largest ell of the analysis, and the resolution of the sky.
    settings
        What else should be remembered: file names, beam, noise. Written with the table.

    """

    ell_min: NDArray[np.int64]
    ell_max: NDArray[np.int64]
    ell: NDArray[np.float64]
    cl: NDArray[np.float64]
    theory: NDArray[np.float64]
    sigma: NDArray[np.float64]
    theory_cl: NDArray[np.float64]
    lmax: int
    nside: int
    settings: Mapping[str, str | float] = field(default_factory=dict)

    @property
    def residual(self) -> NDArray[np.float64]:
        """``(nbin,)``: sky minus theory in units of `sigma`."""
        return (self.cl - self.theory) / self.sigma

    @property
    def ratio(self) -> NDArray[np.float64]:
        """``(nbin,)``: sky over theory."""
        return self.cl / self.theory

    def table(self) -> QTable:
        """Return the comparison as an astropy table with units, one row a bin."""
        from astropy import units as u  # half a second, for those who write
        from astropy.table import QTable

        power = u.uK**2
        columns = {
            "ell_min": self.ell_min,
            "ell_max": self.ell_max,
            "ell": self.ell,
            "cl": self.cl * power,
            "theory": self.theory * power,
            "sigma": self.sigma * power,
            "ratio": self.ratio,
            "residual": self.residual,
        }
        about = {
            "content": "binned C_ell without ell(ell+1)/2pi; bins weighted by 2 ell + 1",
            "sigma": "cosmic variance of the binned theory, full sky",
            "residual": "(cl - theory) / sigma",
            "estimator": "healpy.anafast(iter=3), monopole and dipole removed",
            "lmax": self.lmax,
            "nside": self.nside,
        }
        return QTable(columns, meta=about | dict(self.settings))

    def write(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write the table as ECSV: text that astropy, pandas and people read.

        Raises
        ------
        OSError
            The file exists and `overwrite` is false, or it cannot be written.

        """
        with atomic_write(path, overwrite) as temporary:
            self.table().write(temporary, format="ascii.ecsv", overwrite=True)

    def plot(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Draw D_ell over the theory, and the residuals below, as a PNG picture.

        Raises
        ------
        OSError
            The file exists and `overwrite` is false, or it cannot be written.

        """
        from matplotlib.figure import Figure  # no pyplot: no window system, no state

        figure = Figure(figsize=(7.2, 5.2), layout="constrained")
        upper, lower = figure.subplots(2, sharex=True, height_ratios=[3, 1])
        self.draw(upper, lower)
        with atomic_write(path, overwrite) as temporary:
            figure.savefig(temporary, format="png", dpi=160)

    def draw(self, upper: Axes, lower: Axes) -> None:
        """Draw D_ell with error bars on one pair of axes and residuals on the other."""
        every = np.arange(2, self.lmax + 1)
        norm = self.ell * (self.ell + 1) / (2 * np.pi)
        width = (self.ell - self.ell_min, self.ell_max - self.ell)
        theory = every * (every + 1) / (2 * np.pi) * self.theory_cl[2 : self.lmax + 1]
        dots: dict[str, Any] = {"fmt": "o", "ms": 3.5, "lw": 1.0, "color": "#c1440e"}

        upper.plot(every, theory, color="#1f3b57", lw=1.2, label="theory")
        upper.errorbar(self.ell, norm * self.cl, norm * self.sigma, width, **dots, label="this sky")
        upper.set_ylabel(r"$D_\ell\ [\mu\mathrm{K}^2]$")
        upper.set_ylim(0, 1.15 * float(np.max(norm * np.maximum(self.cl, self.theory))))
        upper.legend(frameon=False)

        lower.axhspan(-1, 1, color="#1f3b57", alpha=0.12, lw=0)
        lower.axhline(0, color="#1f3b57", lw=1.2)
        lower.errorbar(self.ell, self.residual, 1.0, width, **dots)
        reach = max(3.5, 1.1 * float(np.max(np.abs(self.residual))) + 1)
        lower.set(ylim=(-reach, reach), xlabel=r"multipole $\ell$", ylabel=r"residual / $\sigma$")
        for axes in (upper, lower):
            axes.set_xscale("log")
            axes.set_xlim(1.8, 1.05 * self.lmax)
            axes.xaxis.set_major_formatter("{x:.0f}")


def default_edges(lmax: int) -> NDArray[np.int64]:
    """Choose bins from ell = 2: about a quarter of ell wide, and never wider than 30 (or lmax/40).

    Returns
    -------
        ``(nbin + 1,)``: the first ell of each bin, then lmax + 1.

    """
    widest = max(30, lmax // 40)
    edges = [2]
    while edges[-1] <= lmax:
        edges.append(edges[-1] + min(max(2, edges[-1] // 4), widest))
    if len(edges) > 2 and lmax + 1 - edges[-2] < (edges[-1] - edges[-2]) / 2:
        del edges[-2]  # a sliver at the end joins its neighbour
    edges[-1] = lmax + 1
    return np.array(edges, dtype=np.int64)


def compare(
    values: NDArray[np.float64],
    theory_total_cl: ArrayLike,
    *,
    lmax: int | None = None,
    bins: int | Sequence[int] | NDArray[np.int64] | None = None,
    settings: Mapping[str, str | float] | None = None,
) -> SpectrumComparison:
    """Measure the spectrum of a whole sky and set it beside a theory.

    Monopole and dipole are fitted and removed first; the harmonic transform is healpy's
    ``anafast(iter=3)`` with equal pixel weights.

    Parameters
    ----------
    values
        ``(npix,)``, µK, RING: a whole sky.
    theory_total_cl
        ``(>= lmax + 1,)``, µK², from ell = 0: what the sky should have, beam, pixel window and
        noise included (`Prior.total_cl`).
    lmax
        Largest ell; 2 nside where not given, beyond which equal pixel weights lose accuracy.
    bins
        Width of all bins, or the first ell of each bin and one past the last; `default_edges`
        where not given.
    settings
        Remembered in the result.

    Raises
    ------
    ValueError
        Pixels are missing; lmax is beyond 3 nside - 1 or beyond the theory; the theory is not
        positive and finite from ell = 2; bins are out of order or outside 2 ... lmax.

    """
    nside = nside_of(values.size, "sky")
    missing = int(values.size - np.count_nonzero(np.isfinite(values)))
    if missing:
        raise ValueError(
            f"the spectrum needs a whole sky, {missing} pixels are missing; fill them first "
            "(skyfill inpaint)"
        )
    lmax = 2 * nside if lmax is None else lmax
    if not 2 <= lmax < 3 * nside:
        raise ValueError(f"lmax must be from 2 to 3 Nside - 1 = {3 * nside - 1}, got {lmax}")
    theory_cl = np.asarray(theory_total_cl, dtype=np.float64)
    if theory_cl.size <= lmax:
        raise ValueError(f"the theory ends at ell = {theory_cl.size - 1}, before lmax = {lmax}")
    theory_cl = theory_cl[: lmax + 1]
    if not np.all(theory_cl[2:] > 0) or not np.all(np.isfinite(theory_cl[2:])):
        raise ValueError("the theory must be positive and finite at every ell from 2 to lmax")
    edges = _edges(bins, lmax)

    import healpy  # 1.4 s, paid by those who transform

    sky = healpy.remove_dipole(np.asarray(values, dtype=np.float64), copy=True)
    cl = healpy.anafast(sky, lmax=lmax, iter=3, pol=False)

    ell = np.arange(lmax + 1)
    modes = _sum(2 * ell + 1, edges)
    theory = _sum((2 * ell + 1) * theory_cl, edges) / modes
    variance = 2 * _sum((2 * ell + 1) * theory_cl**2, edges) / modes**2
    return SpectrumComparison(
        ell_min=edges[:-1],
        ell_max=edges[1:] - 1,
        ell=_sum((2 * ell + 1) * ell, edges) / modes,
        cl=_sum((2 * ell + 1) * cl, edges) / modes,
        theory=theory,
        sigma=np.sqrt(variance),
        theory_cl=theory_cl,
        lmax=lmax,
        nside=nside,
        settings=dict(settings or {}),
    )


def _edges(bins: int | Sequence[int] | NDArray[np.int64] | None, lmax: int) -> NDArray[np.int64]:
    """Turn a width, edges or nothing into edges within 2 ... lmax + 1."""
    if bins is None:
        return default_edges(lmax)
    if isinstance(bins, int | np.integer):
        if bins < 1:
            raise ValueError(f"the width of a bin must be 1 or more, got {bins}")
        return np.append(np.arange(2, lmax + 1, bins, dtype=np.int64), lmax + 1)
    edges = np.asarray(bins, dtype=np.int64)
    inside = edges.size > 1 and edges[0] >= 2 and edges[-1] <= lmax + 1
    if not inside or np.any(np.diff(edges) < 1):
        raise ValueError(f"edges of bins must rise within 2 ... lmax + 1 = {lmax + 1}")
    return edges


def _sum(per_ell: NDArray[np.number], edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """Add the values of each bin up."""
    return np.add.reduceat(per_ell[: edges[-1]].astype(np.float64), edges[:-1])
