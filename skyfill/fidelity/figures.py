"""Figures of a fill with their thresholds and verdicts.

A figure has a value, an expected value, and a standard deviation by chance. It is *good* if the
deviation is within the slack of its threshold plus 2.5 standard deviations, *bad* beyond the slack
plus four, and *doubtful* between. It is also doubtful if its standard deviation is so large that a
bad fill could not be recognised. If several figures are looked at, the 2.5 and four grow, so that
the chance of any false alarm is that of one figure (`allowing`): 3.4 and 4.7 for twenty figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from skyfill.brief import brief

__all__ = [
    "THRESHOLDS",
    "VERDICTS",
    "Figure",
    "Threshold",
    "allowing",
    "as_entries",
    "jackknife",
    "judge",
    "worst",
]

VERDICTS = ("good", "doubtful", "bad")
#: Standard deviations beyond the slack from which a figure is doubtful.
_DOUBTFUL = 2.5
#: Standard deviations beyond the slack from which a figure is bad.
_BAD = 4.0


@dataclass(frozen=True)
class Figure:
    """A measured number with its expected value and verdict.

    Attributes
    ----------
    value
        The measured number.
    expected
        Mean value for a right fill; None if it is unknown.
    error
        Standard deviation of ``value`` about ``expected`` for a right fill; None if unknown.
    verdict
        ``good``, ``doubtful`` or ``bad``; None if there is no expected value.
    """

    __repr__ = brief

    value: float
    expected: float | None = None
    error: float | None = None
    verdict: str | None = None


@dataclass(frozen=True)
class Threshold:
    """Allowed deviation of a figure from its expected value.

    Attributes
    ----------
    slack
        Harmless deviation, even if it is measured precisely.
    reason
        Why it is harmless.
    blind
        Standard deviation beyond which the figure is at best doubtful.
    above
        Whether only values above the expected one are bad.
    """

    __repr__ = brief

    slack: float
    reason: str
    blind: float = math.inf
    above: bool = False


_SPREAD = "error bars that are 3% off change no chi-square of a hundred modes by one sigma"
_STRIKE = "the share that error bars 3% off leave out; ten times the noise of 20,000 free pixels"
_SHAPE = "judged against rotated copies of the same mask, which know the chance"
_EVEN = "no verdict on the fill, since the observed sky may have an asymmetry of its own"
_EDGE = "5% more or less in the differences over an edge is not seen as a line by eye or filter"
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
    name: str,
    value: float,
    expected: float | None = None,
    error: float | None = None,
    *,
    looks: int = 1,
) -> Figure:
    """Give a figure its verdict, by the threshold of its name or family.

    Parameters
    ----------
    name, value, expected, error
        See `Figure`.
    looks
        Number of figures that are looked at together.
    """
    error = None if error is None or not math.isfinite(error) else float(error)
    if expected is None:
        return Figure(float(value), None, error)
    threshold = THRESHOLDS.get(name) or THRESHOLDS[name.partition("_")[0]]
    away = value - expected
    beyond = (away if threshold.above else abs(away)) - threshold.slack
    # If the standard deviation is unknown, the slack replaces it.
    unit = error if error is not None else max(threshold.slack, 1e-12) / _BAD
    if not math.isfinite(value) or beyond > _among(looks, _BAD) * unit:
        verdict = "bad"
    elif beyond > _among(looks, _DOUBTFUL) * unit or (error or 0.0) > threshold.blind:
        verdict = "doubtful"
    else:
        verdict = "good"
    return Figure(float(value), float(expected), error, verdict)


def _among(looks: int, deviations: float) -> float:
    """Give the deviations that one of so many figures exceeds as rarely as one alone exceeds these.

    Šidák's correction (1967), for normal figures; figures that depend on each other exceed it less.
    """
    rare = 2 * special.ndtr(-deviations)
    return float(-special.ndtri(-np.expm1(np.log1p(-rare) / looks) / 2))


def allowing(figures: dict[str, Figure], *others: dict[str, Figure]) -> dict[str, Figure]:
    """Judge figures again, allowing for their number, and for that of others beside them."""
    looks = sum(each.verdict is not None for every in (figures, *others) for each in every.values())
    return {
        name: each
        if each.verdict is None
        else judge(name, each.value, each.expected, each.error, looks=looks)
        for name, each in figures.items()
    }


def worst(figures: dict[str, Figure]) -> str | None:
    """Give the worst verdict of some figures; None if there is none."""
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
        Function of as many arrays as there are sums, each ``(n, ...)``, that gives ``(n,)``.
    sums
        ``(groups, ...)`` each: the contribution of every group. Leave out groups without one.

    Returns
    -------
    The statistic of all groups, and its error, which is None for fewer than two groups.
    """
    totals = [each.sum(axis=0, keepdims=True) for each in sums]
    value = float(statistic(*totals)[0])
    count = len(sums[0])
    if count < 2:
        return value, None
    without = statistic(*(total - each for total, each in zip(totals, sums, strict=True)))
    variance = (count - 1) / count * float(np.sum((without - without.mean()) ** 2))
    return value, math.sqrt(variance) if math.isfinite(variance) else None


def as_entries(figures: Mapping[str, Figure]) -> dict[str, object]:
    """Give values by name, and full entries under ``figures``, in types that JSON supports."""
    out: dict[str, object] = {name: _plain(each.value) for name, each in figures.items()}
    out["figures"] = {
        name: {key: _plain(value) for key, value in asdict(each).items()}
        for name, each in figures.items()
    }
    return out


def _plain(value: object) -> object:
    """Replace NaN and infinity by None, since JSON lacks them."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
