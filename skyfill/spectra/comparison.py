"""The result of a comparison of spectra, with its tables and plots."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

from skyfill.brief import card
from skyfill.spectra import figure, tables
from skyfill.spectra.compared import ComparedSpectra

if TYPE_CHECKING:
    from astropy.table import QTable
    from matplotlib.axes import Axes

__all__ = ["SpectrumComparison"]


@dataclass(frozen=True, eq=False)
class SpectrumComparison(ComparedSpectra):
    """Binned C_ell of whole and of masked skies, compared with a theory.

    Attributes
    ----------
    ell_min, ell_max
        ``(nbin,)``: first and last ell of each bin, both inclusive.
    ell
        ``(nbin,)``: mean ell of each bin, weighted by 2 ell + 1.
    full
        Bins of the whole sky.
    cut
        Bins of the masked sky, corrected for the coupling of the mask; None without a mask.
    full_tests, cut_tests
        χ² for ranges of ell.
    theory_cl
        ``(lmax + 1,)``: the theory, with beam, window and noise, µK².
    theory_dl
        ``(lmax + 1,)``: D_ell of the theory's sky, before beam and window, µK².
    lmax, nside
        Largest ell of the analysis, and the resolution of the sky.
    realizations
        Number of skies that were averaged.
    settings
        Further information to write with the table: file names, beam, noise.
    debiased
        Bins of the whole sky without what its fill did to them, see `debias`; None if this is not
        asked for.

    """

    def __repr__(self) -> str:
        skies = "1 sky" if self.realizations == 1 else f"{self.realizations} skies"
        kinds = "whole" if self.cut is None else "whole and cut"
        return (
            f"SpectrumComparison({skies}, {kinds}, Nside {self.nside}, {self.ell.size} bins of l"
            f" {self.ell_min[0]} to {self.ell_max[-1]})"
        )

    def _repr_html_(self) -> str:
        """Show the comparison in a notebook."""
        rows = {
            "skies": self.realizations,
            "Nside": self.nside,
            "bins": f"{self.ell.size}, l = {self.ell_min[0]} to {self.ell_max[-1]}",
        }
        for name, tests in (("cut sky", self.cut_tests or ()), ("whole sky", self.full_tests)):
            for test in tests:
                ells = f"l {test.ell_min} to {test.ell_max}"
                rows[f"{name}, {ells}"] = f"χ² {test.chi2:.1f} for {test.bins}, PTE {test.pte:.2g}"
        return card("Spectra beside a theory", rows, lambda: figure.thumbnail(self))

    def table(self) -> QTable:
        """Return the comparison as an astropy table with units, one row a bin."""
        return tables.table_of(self)

    def as_dict(self) -> dict[str, Any]:
        """Return everything in types that JSON has; numbers that are not finite become None."""
        return tables.dict_of(self)

    def write(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write the table: FITS if the name ends in .fits or .fits.gz, .npz, else ECSV (text).

        FITS and npz also hold covariances and windows: images, or arrays, ``covariance``,
        ``windows``, ``cut_covariance`` and ``cut_windows``.

        Raises
        ------
        OSError
            The file exists and `overwrite` is false, or it cannot be written.

        """
        tables.write(self, path, overwrite=overwrite)

    def plot(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Plot D_ell with the theory, and the residuals below, as PDF or PNG by the name's ending.

        Raises
        ------
        OSError
            The file exists and `overwrite` is false, or it cannot be written.

        """
        figure.save(self, path, overwrite=overwrite)

    def draw(self, upper: Axes, lower: Axes) -> None:
        """Draw D_ell with error bars on one pair of axes and residuals on the other."""
        figure.draw(self, upper, lower)
