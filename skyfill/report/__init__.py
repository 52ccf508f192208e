"""A self-contained HTML page that shows whether a fill can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skyfill.lazy import on_first_use

if TYPE_CHECKING:
    from skyfill.report.findings import Finding as Finding
    from skyfill.report.findings import chi2_findings as chi2_findings
    from skyfill.report.findings import findings as findings
    from skyfill.report.page import Plate as Plate
    from skyfill.report.page import Report as Report
    from skyfill.report.page import check_libraries as check_libraries
    from skyfill.report.plates import close_ups as close_ups
    from skyfill.report.plates import histogram as histogram
    from skyfill.report.plates import skies as skies
    from skyfill.report.plates import spectrum as spectrum
    from skyfill.report.uses import uses as uses

# name -> the module that defines it
_HOMES = {
    "Finding": "findings",
    "check_libraries": "page",
    "chi2_findings": "findings",
    "findings": "findings",
    "Plate": "page",
    "Report": "page",
    "close_ups": "plates",
    "histogram": "plates",
    "skies": "plates",
    "spectrum": "plates",
    "uses": "uses",
}

__all__ = [*_HOMES]

if not TYPE_CHECKING:  # hidden from type checkers, which otherwise would accept any name
    __getattr__ = on_first_use(__name__, _HOMES)

    def __dir__() -> list[str]:
        return sorted([*globals(), *__all__])
