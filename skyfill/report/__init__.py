"""A self-contained HTML page that shows whether a fill can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skyfill.lazy import on_first_use

if TYPE_CHECKING:
    from skyfill.report.findings import Finding as Finding
    from skyfill.report.findings import accuracy_findings as accuracy_findings
    from skyfill.report.findings import chi2_findings as chi2_findings
    from skyfill.report.findings import findings as findings
    from skyfill.report.findings import quality_findings as quality_findings
    from skyfill.report.findings import stokes_chi2_findings as stokes_chi2_findings
    from skyfill.report.page import Plate as Plate
    from skyfill.report.page import Report as Report
    from skyfill.report.page import check_libraries as check_libraries
    from skyfill.report.plates import DIFFERENCE as DIFFERENCE
    from skyfill.report.plates import close_ups as close_ups
    from skyfill.report.plates import histogram as histogram
    from skyfill.report.plates import skies as skies
    from skyfill.report.plates import spectrum as spectrum
    from skyfill.report.shares import PriorShare as PriorShare
    from skyfill.report.shares import prior_share_of_bb as prior_share_of_bb
    from skyfill.report.shares import prior_share_of_bins as prior_share_of_bins
    from skyfill.report.shares import share_findings as share_findings
    from skyfill.report.stokesplates import close_ups_pol as close_ups_pol
    from skyfill.report.stokesplates import eb_skies as eb_skies
    from skyfill.report.stokesplates import six_spectra as six_spectra
    from skyfill.report.uses import b_modes as b_modes
    from skyfill.report.uses import uses as uses

# name -> the module that defines it
_HOMES = {
    "DIFFERENCE": "plates",
    "Finding": "findings",
    "check_libraries": "page",
    "Plate": "page",
    "PriorShare": "shares",
    "Report": "page",
    "accuracy_findings": "findings",
    "b_modes": "uses",
    "chi2_findings": "findings",
    "close_ups": "plates",
    "close_ups_pol": "stokesplates",
    "eb_skies": "stokesplates",
    "findings": "findings",
    "histogram": "plates",
    "prior_share_of_bb": "shares",
    "prior_share_of_bins": "shares",
    "quality_findings": "findings",
    "share_findings": "shares",
    "six_spectra": "stokesplates",
    "skies": "plates",
    "spectrum": "plates",
    "stokes_chi2_findings": "findings",
    "uses": "uses",
}

__all__ = [*_HOMES]

if not TYPE_CHECKING:  # hidden from type checkers, which otherwise would accept any name
    __getattr__ = on_first_use(__name__, _HOMES)

    def __dir__() -> list[str]:
        return sorted([*globals(), *__all__])
