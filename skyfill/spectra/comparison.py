"""Say what a comparison of spectra offers: its numbers, tables and pictures."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

from skyfill.spectra import figure, tables
from skyfill.spectra.compared import ComparedSpectra

if TYPE_CHECKING:
    from astropy.table import QTable
    from matplotlib.axes import Axes

__all__ = ["SpectrumComparison"]


@dataclass(frozen=True, eq=False)
class SpectrumComparison(ComparedSpectra):
    """Binned C_ell of whole skies, and of the part that a mask leaves, beside a theory.

    Attributes
    ----------
    ell_min, ell_max
        ``(nbin,)``: first and last ell of each bin, both inclusive.
    ell
        ``(nbin,)``: mean ell of each bin, weighted by 2 ell + 1.
    full
        Bins of the whole sky.
    cut
        Bins of the sky behind the mask, the mask's coupling undone; None without a mask.
    full_tests, cut_tests
        χ² by ranges of ell.
    theory_cl
        ``(lmax + 1,)``: the theory ell by ell, beam, window and noise included, µK².
    theory_dl
        ``(lmax + 1,)``: D_ell of the theory's sky, before beam and window, µK².
    lmax, nside
        Largest ell of the analysis, and the resolution of the sky.
    realizations
        Number of skies that were averaged.
    settings
        What else should be remembered: file names, beam, noise. Written with the table.

    """

    def table(self) -> QTable:
        """Return the comparison as an astropy table with units, one row a bin."""
        return tables.table_of(self)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as what JSON can hold, numbers that are not finite as None."""
        return tables.dict_of(self)

    def write(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write the table: FITS where the name ends so (.fits, .fits.gz), else ECSV, which is text.

        Raises
        ------
        OSError
            The file exists and `overwrite` is false, or it cannot be written.

        """
        tables.write(self, path, overwrite=overwrite)

    def plot(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Draw D_ell over the theory, and the residuals below: PDF where named so, else PNG.

        Raises
        ------
        OSError
            The file exists and `overwrite` is false, or it cannot be written.

        """
        figure.save(self, path, overwrite=overwrite)

    def draw(self, upper: Axes, lower: Axes) -> None:
        """Draw D_ell with error bars on one pair of axes and residuals on the other."""
        figure.draw(self, upper, lower)
