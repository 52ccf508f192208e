"""One page that says whether a fill can be believed: a self-contained HTML file."""

from skyfill.report.findings import Finding, chi2_findings, findings
from skyfill.report.page import Plate, Report
from skyfill.report.plates import close_ups, histogram, skies, spectrum
from skyfill.report.uses import uses

__all__ = [
    "Finding",
    "Plate",
    "Report",
    "chi2_findings",
    "close_ups",
    "findings",
    "histogram",
    "skies",
    "spectrum",
    "uses",
]
