"""Measure power spectra of whole and of masked skies, and compare them with a theory.

C_ell is in µK², without ell(ell+1)/2π; D_ell = ell(ell+1)/2π C_ell. Bins weight each ell by its
2 ell + 1 modes, which has the least variance for a flat C_ell.
"""

from skyfill.holes.windows import apodization_width, apodized
from skyfill.spectra.bandpowers import BandPowers, RangeTest
from skyfill.spectra.binning import (
    BINNINGS,
    bin_edges,
    default_edges,
    linear_edges,
    log_edges,
    planck_edges,
)
from skyfill.spectra.comparison import SpectrumComparison
from skyfill.spectra.debiasing import Debiased, Response, debias, response_of
from skyfill.spectra.estimators import CutSky, FullSky
from skyfill.spectra.expectation import Expectation, expectation
from skyfill.spectra.measure import compare
from skyfill.spectra.stokes import SPECTRA, whole_spectra
from skyfill.spectra.stokescomparison import StokesComparison, compare_stokes
from skyfill.spectra.stokesdebiasing import (
    StokesDebiased,
    StokesResponse,
    debias_stokes,
    response_of_stokes,
)

__all__ = [
    "BINNINGS",
    "SPECTRA",
    "BandPowers",
    "CutSky",
    "Debiased",
    "Expectation",
    "FullSky",
    "RangeTest",
    "Response",
    "SpectrumComparison",
    "StokesComparison",
    "StokesDebiased",
    "StokesResponse",
    "apodization_width",
    "apodized",
    "bin_edges",
    "compare",
    "compare_stokes",
    "debias",
    "debias_stokes",
    "default_edges",
    "expectation",
    "linear_edges",
    "log_edges",
    "planck_edges",
    "response_of",
    "response_of_stokes",
    "whole_spectra",
]
