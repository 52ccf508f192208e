"""What a figure must be for a fill to be trusted: the one place of thresholds and verdicts.

A figure has a value, what is expected of it, and how far chance takes it (one standard deviation).
It is *good* while chance and the slack of its threshold explain the distance, *bad* where four
standard deviations beyond the slack do not, *doubtful* between, and where so little was measured
that it could not have told a bad fill from a good one. With a dozen figures to a page, 2.5
standard deviations let a good fill be called doubtful once in ten pages, four call it bad once in
a thousand.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["THRESHOLDS", "VERDICTS", "Figure", "Threshold", "jackknife", "judge", "worst"]

VERDICTS = ("good", "doubtful", "bad")
#: Standard deviations beyond the slack from which a figure is doubtful.
_DOUBTFUL = 2.5
#: Standard deviations beyond the slack from which a figure is bad.
_BAD = 4.0


@dataclass(frozen=True)
class Figure:
    """One number and what it says.

    Attributes
    ----------
    value
        What was measured.
    expected
        What a right fill gives on average; None where nothing is expected.
    error
        Standard deviation of ``value`` about ``expected`` for a right fill; None where unknown.
    verdict
        ``good``, ``doubtful`` or ``bad``; None where nothing is expected.
    """

    value: float
    expected: float | None = None
    error: float | None = None
    verdict: str | None = None


@dataclass(frozen=True)
class Threshold:
    """How far a figure may be from what is expected.

    Attributes
    ----------
    slack
        Distance that does no harm, however well it is measured.
    reason
        Why.
    blind
        Error beyond which the figure tells nothing: it is never better than doubtful then.
    above
        Whether only values above the expected one are bad.
    """

    slack: float
    reason: str
    blind: float = math.inf
    above: bool = False


_SPREAD = "error bars that are 3% off change no chi-square of a hundred modes by one sigma"
_STRIKE = "the share that error bars 3% off leave out; ten times the noise of 20,000 free pixels"
_SHAPE = "judged against rotated copies of the same mask, which know the chance"
_EVEN = "judged against the scatter of a Gaussian sky of the same spectrum"
_EDGE = "5% more or less in the differences over an edge is no line that an eye or a filter sees"
_LINE = "2% more in the mean square is a step of a seventh of what neighbours differ by"

THRESHOLDS: dict[str, Threshold] = {
    "z_mean": Threshold(0.05, "an offset of a twentieth of the error bar is lost in it", 0.25),
    "z_width": Threshold(0.03, _SPREAD, 0.15),
    "coverage_68": Threshold(0.02, _STRIKE, 0.08),
    "coverage_95": Threshold(0.01, _STRIKE, 0.04),
    "rms_over_expected": Threshold(0.03, _SPREAD, 0.15),
    "excess_over_optimum": Threshold(
        0.02, "2% of squared error is less than what a prior fitted to the map costs", above=True
    ),
    "hole_power": Threshold(0.05, "holes are a tenth of the sky: 5% in them is 0.5% of C_l", 0.25),
    "seam_step": Threshold(0.05, _EDGE, 0.25),
    "seam_slope": Threshold(0.05, _EDGE, 0.25),
    "border_step": Threshold(0.02, _LINE, 0.25),
    "border_slope": Threshold(0.02, _LINE, 0.25),
    "onepoint_ks": Threshold(0.0, _SHAPE, above=True),
    "onepoint_variance": Threshold(0.02, _SHAPE, 0.5),
    "onepoint_skewness": Threshold(0.0, _SHAPE),
    "onepoint_kurtosis": Threshold(0.0, _SHAPE),
    "asymmetry": Threshold(0.0, _EVEN),
    "multipole": Threshold(0.0, "judged against the scatter over realizations"),
}
"""By the name of the figure; figures of a family (asymmetry_..., multipole_...) share one."""


def judge(
    name: str, value: float, expected: float | None = None, error: float | None = None
) -> Figure:
    """Give a figure its verdict, by the threshold of its name or of its family."""
    error = None if error is None or not math.isfinite(error) else float(error)
    if expected is None:
        return Figure(float(value), None, error)
    threshold = THRESHOLDS.get(name) or THRESHOLDS[name.partition("_")[0]]
    away = value - expected
    beyond = (away if threshold.above else abs(away)) - threshold.slack
    # Where chance is unknown the slack stands for it.
    unit = error if error is not None else max(threshold.slack, 1e-12) / _BAD
    if not math.isfinite(value) or beyond > _BAD * unit:
        verdict = "bad"
    elif beyond > _DOUBTFUL * unit or (error or 0.0) > threshold.blind:
        verdict = "doubtful"
    else:
        verdict = "good"
    return Figure(float(value), float(expected), error, verdict)


def worst(figures: dict[str, Figure]) -> str | None:
    """Give the worst verdict of some figures; None where there is none."""
    found = [VERDICTS.index(each.verdict) for each in figures.values() if each.verdict]
    return VERDICTS[max(found)] if found else None


def jackknife(
    statistic: Callable[..., NDArray[np.float64]], *sums: NDArray[np.float64]
) -> tuple[float, float | None]:
    """Give a statistic of sums, and its standard error by leaving one group out at a time.

    Efron & Stein 1981 (Ann. Statist. 9, 586, eq. 1.4).

    Parameters
    ----------
    statistic
        Takes as many arrays as there are sums, each ``(n, ...)``, and gives ``(n,)``.
    sums
        ``(groups, ...)`` each: what every group adds. Groups that add nothing should not be there.

    Returns
    -------
    The statistic of all groups, and its error; None where there are fewer than two groups.
    """
    totals = [each.sum(axis=0, keepdims=True) for each in sums]
    value = float(statistic(*totals)[0])
    count = len(sums[0])
    if count < 2:
        return value, None
    without = statistic(*(total - each for total, each in zip(totals, sums, strict=True)))
    variance = (count - 1) / count * float(np.sum((without - without.mean()) ** 2))
    return value, math.sqrt(variance) if math.isfinite(variance) else None
