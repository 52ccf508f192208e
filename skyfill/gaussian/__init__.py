"""The exact posterior mean of a Gaussian sky on the sphere."""

from skyfill.gaussian.coarse import CoarseModel, Degraded, degrade
from skyfill.gaussian.loops import Course
from skyfill.gaussian.pinned import freed, unpinned
from skyfill.gaussian.polish import Polish
from skyfill.gaussian.rehearsal import drawn
from skyfill.gaussian.solution import Certificate, ConvergenceWarning, Solution
from skyfill.gaussian.solver import Solver

__all__ = [
    "Certificate",
    "CoarseModel",
    "ConvergenceWarning",
    "Course",
    "Degraded",
    "Polish",
    "Solution",
    "Solver",
    "degrade",
    "drawn",
    "freed",
    "unpinned",
]
