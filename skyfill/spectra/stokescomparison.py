"""Compare the spectra of skies of T, Q and U with a theory, bin by bin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill import harmonics
from skyfill.brief import card
from skyfill.healpix.checks import check_whole
from skyfill.healpix.stokes import nside_of
from skyfill.holes.windows import window_of
from skyfill.prior import PolarizedPrior
from skyfill.spectra import stokesfigure, tables
from skyfill.spectra.bandpowers import COUNTED, RangeTest, checked_ranges, range_test
from skyfill.spectra.binning import Binning, averaged, bin_edges
from skyfill.spectra.measure import checked_share
from skyfill.spectra.stokes import FullStokes, StokesExpectation, StokesPowers, skies_of
from skyfill.spectra.stokescut import CutStokes
from skyfill.spectra.stokesdebiasing import (
    StokesDebiased,
    StokesResponse,
    debiased_stokes,
    refuse_another_stokes,
)

if TYPE_CHECKING:
    from astropy.table import QTable
    from matplotlib.axes import Axes

__all__ = ["LEAKED", "SHARED", "StokesComparison", "compare_stokes"]

Map = NDArray[np.float64]

LEAKED = (
    "below about ell = 50, the error of BB of a cut sky is the variance of the E that the mask"
    " turns into B: its mean is subtracted, its scatter is not"
)
"""What the error of BB of a cut sky is."""
SHARED = (
    "BB of the filled sky is (1 - share) BB of the sky + share BB of the prior; divide nothing by"
    " it: measure r on the cut sky, or forward-model the fill"
)
"""What BB of a filled sky is."""


@dataclass(frozen=True, eq=False)
class StokesComparison:
    """Binned spectra of whole and of masked skies of T, Q and U, compared with a theory.

    Attributes
    ----------
    ell_min, ell_max, ell
        ``(nbin,)``: first, last and mean ell of each bin, the mean weighted by 2 ell + 1.
    full
        Bins of the whole sky by spectrum: TT, EE, BB, TE, EB, TB, in this order; of Q and U alone
        EE, BB, EB.
    cut
        Bins of the masked sky; None without a mask.
    full_tests, cut_tests
        χ² for ranges of ell, by spectrum.
    theory_dl
        By spectrum ``(lmax + 1,)``: D_ell of the theory's sky, before beam and window, µK².
    lmax, nside
        Largest ell of the analysis, and the resolution of the sky.
    realizations
        Number of skies that were averaged.
    settings
        Further information to write with the table.
    debiased
        Bins of the whole sky without what its fill did to them, see `debias_stokes`; None if this
        is not asked for.

    """

    ell_min: NDArray[np.int64]
    ell_max: NDArray[np.int64]
    ell: NDArray[np.float64]
    full: Mapping[str, StokesPowers]
    cut: Mapping[str, StokesPowers] | None
    full_tests: Mapping[str, tuple[RangeTest, ...]]
    cut_tests: Mapping[str, tuple[RangeTest, ...]]
    theory_dl: Mapping[str, NDArray[np.float64]]
    lmax: int
    nside: int
    realizations: int
    settings: Mapping[str, str | float] = field(default_factory=dict)
    debiased: StokesDebiased | None = None

    def __repr__(self) -> str:
        skies = "1 sky" if self.realizations == 1 else f"{self.realizations} skies"
        kinds = "whole" if self.cut is None else "whole and cut"
        return (
            f"StokesComparison({skies}, {kinds}, {' '.join(self.names)}, Nside {self.nside},"
            f" {self.ell.size} bins of l {self.ell_min[0]} to {self.ell_max[-1]})"
        )

    def _repr_html_(self) -> str:
        """Show the comparison in a notebook."""
        rows: dict[str, object] = {
            "skies": self.realizations,
            "Nside": self.nside,
            "bins": f"{self.ell.size}, l = {self.ell_min[0]} to {self.ell_max[-1]}",
        }
        panels = self._panels(self.names)
        drawn = panels, self.ell, self.ell_min, self.ell_max
        return card("Spectra beside a theory", rows, lambda: stokesfigure.thumbnail(*drawn))

    @property
    def names(self) -> tuple[str, ...]:
        """The spectra, in order."""
        return tuple(self.full)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Give the columns by name: ``TE_cl`` of the whole sky, ``cut_TE_cl`` of the cut sky.

        And ``TE_debiased_cl``, with its error, if that is asked for.
        """
        named: dict[str, NDArray[Any]] = {
            "ell_min": self.ell_min,
            "ell_max": self.ell_max,
            "ell": self.ell,
        }
        for prefix, bands in (("", self.full), ("cut_", self.cut or {})):
            for name, band in bands.items():
                named |= {f"{prefix}{name}_{key}": each for key, each in band.columns().items()}
        if self.debiased is not None:
            for name in self.debiased.names:
                own = self.debiased[name]
                named |= {f"{name}_debiased_cl": own.cl, f"{name}_debiased_sigma": own.sigma}
        return named

    def about(self) -> dict[str, Any]:
        """Give the meaning of the columns, and the χ²."""
        said: dict[str, Any] = {
            "content": "binned C_ell without ell(ell+1)/2pi; bins weighted by 2 ell + 1",
            "spectra": ", ".join(self.names),
            "sign": "U as in HEALPix (COSMO)",
            "sigma": "of one sky: cosmic variance of the binned theory, noise included",
            "residual": "(cl - theory) / sigma",
            "dl": "ell(ell+1)/2pi C_ell of the sky: noise subtracted, beam and window divided out",
            "about_chi2": COUNTED,
            "estimator": "pixel weights that make the quadrature exact to ell = 1.5 Nside",
            "filled": SHARED,
            "lmax": self.lmax,
            "nside": self.nside,
            "realizations": self.realizations,
            **{f"{name}_chi2": [asdict(each) for each in t] for name, t in self.full_tests.items()},
        }
        if self.full["BB"].prior_share is not None:
            said["prior_share"] = "share of BB of the filled sky that follows from the prior"
        if self.cut is not None:
            said["cut"] = (
                "sky behind the masks, coupling undone (MASTER for spin 0 and 2), monopole and "
                "dipole of T fitted and removed"
            )
            said["cut_BB"] = LEAKED
            for name, tests in self.cut_tests.items():
                said[f"cut_{name}_chi2"] = [asdict(each) for each in tests]
        if self.debiased is not None:
            said["debiased"] = tables.DEBIASED
        return said | dict(self.settings)

    def table(self) -> QTable:
        """Return the comparison as an astropy table with units, one row a bin."""
        return tables.with_units(self.columns(), self.about())

    def as_dict(self) -> dict[str, Any]:
        """Return everything in types that JSON has; numbers that are not finite become None."""
        tests = {"full": self.full_tests}
        if self.cut is not None:
            tests["cut"] = self.cut_tests
        return {
            "nside": self.nside,
            "lmax": self.lmax,
            "realizations": self.realizations,
            "spectra": list(self.names),
            "settings": dict(self.settings),
            "about_bb": [SHARED, *([LEAKED] if self.cut is not None else [])],
            "chi2": {
                sky: {name: [asdict(each) for each in found] for name, found in named.items()}
                for sky, named in tests.items()
            },
            "bins": {name: tables.listed(values) for name, values in self.columns().items()},
        }

    def write(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write the table: FITS if the name ends in .fits or .fits.gz, .npz, else ECSV (text).

        FITS and npz also hold covariances and windows of each spectrum: ``TE_covariance``,
        ``cut_TE_windows``. Windows are the response of a spectrum to itself. The covariance of the
        debiased bins, ``debiased_covariance``, is that of all spectra, one after another.

        Raises
        ------
        OSError
            The file exists and `overwrite` is false, or it cannot be written.

        """
        arrays = {}
        for prefix, bands in (("", self.full), ("cut_", self.cut or {})):
            for name, band in bands.items():
                arrays[f"{prefix}{name}_covariance"] = band.covariance
                if band.windows is not None:
                    arrays[f"{prefix}{name}_windows"] = band.windows
        if self.debiased is not None:
            arrays["debiased_covariance"] = self.debiased.covariance
        tables.write_columns(path, self.columns(), self.about(), arrays, overwrite=overwrite)

    def plot(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Plot D_ell of every spectrum with the theory, as PDF or PNG by the name's ending.

        Raises
        ------
        OSError
            The file exists and `overwrite` is false, or it cannot be written.

        """
        panels = self._panels(self.names)
        stokesfigure.save(panels, self.ell, self.ell_min, self.ell_max, path, overwrite=overwrite)

    def draw(self, axes: Sequence[Axes], names: Sequence[str] | None = None) -> None:
        """Plot D_ell of some spectra with the theory, each on matplotlib axes of its own.

        Parameters
        ----------
        axes
            As many as spectra.
        names
            The spectra; all if None.

        """
        panels = self._panels(self.names if names is None else names)
        stokesfigure.draw(panels, self.ell, self.ell_min, self.ell_max, axes)

    def _panels(self, names: Sequence[str]) -> list[stokesfigure.Panel]:
        """Give what is plotted of some spectra."""
        return [
            stokesfigure.Panel(
                name,
                self.theory_dl[name],
                self.full[name],
                None if self.cut is None else self.cut[name],
                {
                    sky: tests[name][-1]
                    for sky, tests in (("cut", self.cut_tests), ("filled", self.full_tests))
                    if tests.get(name)
                },
            )
            for name in names
        ]


def compare_stokes(
    values: ArrayLike | Iterable[ArrayLike],
    theory: PolarizedPrior,
    *,
    lmax: int | None = None,
    bins: int | Binning | Sequence[int] | NDArray[np.int64] | None = None,
    observed: ArrayLike | None = None,
    observed_pol: ArrayLike | None = None,
    apodize: float = 0.0,
    apodization: Literal["C1", "C2"] = "C2",
    ranges: Iterable[Sequence[int]] | None = None,
    bb_share: ArrayLike | None = None,
    response: StokesResponse | None = None,
    settings: Mapping[str, str | float] | None = None,
    threads: int = 0,
) -> StokesComparison:
    """Measure all spectra of whole skies of T, Q and U and compare them with a theory.

    Parameters
    ----------
    values
        ``(3, npix)``, T, Q and U, or ``(2, npix)``, Q and U: µK, RING, whole, U with the sign of
        HEALPix. Or several realizations, ``(n, k, npix)`` or an iterable, which are averaged.
    theory
        The prior of the sky.
    lmax
        Largest ell; 1.5 Nside if None, to which the pixel weights are exact.
    bins
        As for `compare`.
    observed, observed_pol
        ``(npix,)``, RING: masks, 1 = observed, or weights, of T and of Q and U; ``observed_pol`` is
        ``observed`` if None.
    apodize, apodization
        Width (radians) and kind of the soft edges of masks of 0 and 1.
    ranges
        As for `compare`.
    bb_share
        ``(nbin,)``: share of BB of the filled sky that follows from the prior, see
        `skyfill.fidelity.bb_share`.
    response
        Response of the fill of one sky, in these bins, from `response_of_stokes`; the result then
        has its debiased bins, see `debias_stokes`.
    settings
        Further information to keep in the result.
    threads
        Number of threads; 0 for all cores.

    Returns
    -------
        Bins of the whole sky and, with a mask, of the observed part, with χ² tests.

    Raises
    ------
    ValueError
        Pixels are missing; lmax is beyond 3 nside - 1 or the theory; a mask of P is given without
        one of T; ``response`` is of other bins, components, another Nside or another theory, or
        given for several skies; or as for `compare`.

    Examples
    --------
    >>> import skyfill
    >>> t = skyfill.Prior(16, skyfill.lcdm(), 0.1, 300.0, theory=skyfill.prior.LCDM)
    >>> prior = skyfill.prior.PolarizedPrior.of(t, 3.0)
    >>> sky = skyfill.simulate.simulate_stokes(prior, seed=1)
    >>> found = skyfill.spectra.compare_stokes(sky, prior)
    >>> found.names, found.lmax
    (('TT', 'EE', 'BB', 'TE', 'EB', 'TB'), 24)

    """
    first, skies = _several(values)
    nside = nside_of(first[0], "values")
    if theory.temperature.nside != nside:
        raise ValueError(
            f"the prior has Nside {theory.temperature.nside}, the sky has Nside {nside}"
        )
    lmax = harmonics.quadrature_lmax(nside) if lmax is None else check_whole(lmax, "lmax")
    if not 2 <= lmax < 3 * nside:
        raise ValueError(f"`lmax` must be from 2 to 3 Nside - 1 = {3 * nside - 1}, got {lmax}")
    expected = StokesExpectation.of(theory, lmax, len(first), threads=threads)
    edges = bin_edges(bins, lmax)
    ell = averaged(np.arange(lmax + 1), edges)
    wanted = checked_ranges(ranges, ell, lmax)
    share = None if bb_share is None else checked_share(bb_share, ell.size, "bb_share")
    if response is not None:
        refuse_another_stokes(response, edges, nside, expected)
    full = FullStokes(expected, edges, threads=threads)
    cut: CutStokes | None = None
    about = dict(settings or {})
    windows, edge = _windows(observed, observed_pol, nside, apodize, apodization)
    if windows:
        cut = CutStokes(windows[-len(first) + 1 :], expected, edges, threads=threads)
        about |= {"apodization": edge, "mask_mean": float(windows[0].mean())}
        about |= {"mask_mean_pol": float(windows[-1].mean())}

    measured: list[Map] = []
    behind: list[Map] = []
    for sky in chain([first], skies):
        if sky.shape != first.shape:
            raise ValueError(f"realizations must have one shape, got {first.shape} and {sky.shape}")
        measured.append(full.powers(sky))
        if cut is not None:
            behind.append(cut.powers(sky))

    if response is not None and len(measured) > 1:
        raise ValueError(
            f"a response is of one filled sky, got {len(measured)}; debias each with debias_stokes"
        )
    bands = full.band_powers(measured)
    bands["BB"] = replace(bands["BB"], prior_share=share)
    masked = None if cut is None else cut.band_powers(behind)
    every = np.arange(lmax + 1)
    per_cl = every * (every + 1) / (2 * np.pi)

    def tests(named: Mapping[str, StokesPowers]) -> dict[str, tuple[RangeTest, ...]]:
        return {
            name: tuple(range_test(band, pair, ell, edges) for pair in wanted)
            for name, band in named.items()
        }

    return StokesComparison(
        ell_min=edges[:-1],
        ell_max=edges[1:] - 1,
        ell=ell,
        full=bands,
        cut=masked,
        full_tests=tests(bands),
        cut_tests=tests(masked or {}),
        theory_dl={name: per_cl * expected.sky_cl[pair] for name, pair in expected.pairs.items()},
        lmax=lmax,
        nside=nside,
        realizations=len(measured),
        settings=about,
        debiased=None if response is None else debiased_stokes(measured[0], response),
    )


def _several(values: ArrayLike | Iterable[ArrayLike]) -> tuple[Map, Iterator[Map]]:
    """Give the first sky, and the others one after another."""
    if isinstance(values, np.ndarray) and values.ndim < 3:
        return skies_of(values), iter(())
    skies = (skies_of(each) for each in values)  # type: ignore[union-attr]
    first = next(skies, None)
    if first is None:
        raise ValueError("the spectra need a sky, none was given")
    return first, skies


def _windows(
    observed: ArrayLike | None,
    observed_pol: ArrayLike | None,
    nside: int,
    width: float,
    kind: Literal["C1", "C2"],
) -> tuple[list[Map], str]:
    """Give the windows of T and of P, or none without a mask, and how their edges are."""
    windows: list[Map] = []
    given = []
    if observed is None and observed_pol is not None:
        raise ValueError("`observed_pol` is the mask of Q and U; give `observed` as well")
    for mask, name in ((observed, "observed"), (observed_pol, "observed_pol")):
        if mask is None:
            continue
        theirs = nside_of(np.asanyarray(mask), name)
        if theirs != nside:
            raise ValueError(f"the sky has Nside {nside}, the mask has Nside {theirs}; give a pair")
        window, weighted = window_of(mask, width, kind)
        windows.append(window)
        given.append(weighted)
    if len(windows) == 1:
        windows *= 2
    edge = f"{kind}, {np.degrees(width):g} deg" if width else "none"
    return windows, "as given: the mask holds weights" if any(given) else edge
