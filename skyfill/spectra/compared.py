"""The numbers of a comparison of spectra."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from skyfill.brief import brief
from skyfill.spectra.bandpowers import BandPowers, RangeTest
from skyfill.spectra.debiasing import Debiased

__all__ = ["ComparedSpectra"]


@dataclass(frozen=True, eq=False)
class ComparedSpectra:
    """The numbers of a `skyfill.spectra.SpectrumComparison`, documented there."""

    __repr__ = brief

    ell_min: NDArray[np.int64]
    ell_max: NDArray[np.int64]
    ell: NDArray[np.float64]
    full: BandPowers
    cut: BandPowers | None
    full_tests: tuple[RangeTest, ...]
    cut_tests: tuple[RangeTest, ...]
    theory_cl: NDArray[np.float64]
    theory_dl: NDArray[np.float64]
    lmax: int
    nside: int
    realizations: int
    settings: Mapping[str, str | float] = field(default_factory=dict)
    debiased: Debiased | None = None

    @property
    def cl(self) -> NDArray[np.float64]:
        """``(nbin,)``: estimate of the whole sky, µK²."""
        return self.full.cl

    @property
    def theory(self) -> NDArray[np.float64]:
        """``(nbin,)``: the theory in the same bins, µK²."""
        return self.full.theory

    @property
    def sigma(self) -> NDArray[np.float64]:
        """``(nbin,)``: standard deviation of `cl` over skies drawn from the theory, µK²."""
        return self.full.sigma

    @property
    def residual(self) -> NDArray[np.float64]:
        """``(nbin,)``: whole sky minus theory in units of `sigma`."""
        return self.full.residual

    @property
    def ratio(self) -> NDArray[np.float64]:
        """``(nbin,)``: whole sky over theory."""
        return self.full.ratio
