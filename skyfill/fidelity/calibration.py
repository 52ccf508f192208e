"""Test whether the truth is statistically like a realization: errors, z-scores, coverage, ranks.

If n realizations are right, the truth has the distribution of a further realization. With their
mean m and variance s² (divisor n - 1), (truth - m) / (s √(1 + 1/n)) has Student's distribution with
n - 1 degrees of freedom. The z-score here is the normal number at the same quantile. It has width
one for any n, while the plain quotient would be too wide (by 6% for n = 20).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import special

from skyfill.brief import brief
from skyfill.fidelity.figures import Figure, jackknife, judge

__all__ = ["Calibration", "calibrate", "normal_scores"]

Map = NDArray[np.float64]
#: Half widths of the bands, in standard deviations: 68% and 95% of a normal distribution.
_BANDS = {"coverage_68": (0.68, special.ndtri(0.84)), "coverage_95": (0.95, special.ndtri(0.975))}


@dataclass(frozen=True, eq=False)
class Calibration:
    """Comparison of the truth with the realizations of a fill, by pixel and by hole.

    Attributes
    ----------
    figures
        ``rms_uk`` (error of the posterior mean, corrected for the finite number of realizations),
        ``expected_rms_uk`` (scatter of realizations), ``rms_over_expected``, ``z_mean``,
        ``z_width``, ``coverage_68``, ``coverage_95``, ``hole_power`` (variance of realizations over
        the truth's, in the same pixels). With an optimum also ``optimum_distance_uk``,
        ``excess_over_optimum`` (its square over the optimum's squared error) and
        ``mse_over_optimum`` (averaged over many skies this is one plus the excess; for one sky it
        scatters). Without realizations only the figures that need none. Errors are jackknifed over
        groups.
    realizations
        Number of realizations.
    z
        ``(npixel,)``, z-scores, normal if the fill is right; empty without realizations.
    ranks
        ``(realizations + 1,)``, number of pixels with 0, 1, ... realizations below the truth; flat
        if the fill is right, for any distribution.
    groups
        ``(npixel,)``, group of each pixel, from 0: a hole, or a patch of the sky.
    sizes
        ``(ngroup,)``, number of pixels in each group.
    group_rms_uk, group_z_mean, group_z_width, group_coverage_68
        ``(ngroup,)``, the same figures for each group; the last three empty without realizations.
    """

    __repr__ = brief

    figures: dict[str, Figure]
    realizations: int
    z: Map = field(repr=False)
    ranks: NDArray[np.int64]
    groups: NDArray[np.int64] = field(repr=False)
    sizes: NDArray[np.int64] = field(repr=False)
    group_rms_uk: Map = field(repr=False)
    group_z_mean: Map = field(repr=False)
    group_z_width: Map = field(repr=False)
    group_coverage_68: Map = field(repr=False)

    def z_histogram(self, edges: Map | None = None) -> tuple[NDArray[np.int64], Map]:
        """Give counts of z-scores in bins, and their edges (if not given, 0.25 from -5 to 5)."""
        edges = np.linspace(-5, 5, 41) if edges is None else edges
        inside = np.clip(self.z, edges[0], edges[-1])
        return np.histogram(inside, edges)[0].astype(np.int64), edges


def normal_scores(t: Map, freedom: float) -> Map:
    """Convert values of Student's distribution to normal ones at the same quantiles."""
    if math.isinf(freedom):
        return t
    tail = np.maximum(special.stdtr(freedom, -np.abs(t)), 1e-300)
    return np.asarray(-np.sign(t) * special.ndtri(tail))


def calibrate(
    truth: Map,
    realizations: Iterable[Map],
    *,
    groups: NDArray[np.int64] | None = None,
    mean: Map | None = None,
    std: Map | None = None,
    std_draws: int | None = None,
    optimum: Map | None = None,
) -> Calibration:
    """Compare realizations of some pixels, or their mean and spread, with the truth.

    Parameters
    ----------
    truth
        ``(npixel,)``, µK: the truth in the filled pixels.
    realizations
        ``(npixel,)``, µK, each; read one by one, so they need not be in memory. One realization
        gives errors without a spread; with ``mean`` there are none.
    groups
        ``(npixel,)``, number of the hole or patch of the sky in which pixels are correlated. If not
        given, each pixel is a group, as for white noise.
    mean, std
        ``(npixel,)``, µK: posterior mean and spread in place of realizations.
    std_draws
        Number of realizations from which ``std`` was computed; None if it is exact.
    optimum
        ``(npixel,)``, µK: the exact posterior mean.

    Raises
    ------
    ValueError
        There is no pixel, shapes differ, values are missing, or the realizations are all the same.
    """
    if not truth.size:
        raise ValueError("no filled pixel has a known truth: there is nothing to judge")
    drawn = _moments(truth, realizations)
    posterior = _posterior(drawn, truth, mean, std, std_draws)
    if optimum is not None:
        _check_known("optimum", optimum, truth)
    label = np.arange(truth.size) if groups is None else np.unique(groups, return_inverse=True)[1]
    sums = _Sums(label)
    away = truth - posterior.mean
    error = sums.of(away**2 - posterior.excess)
    figures: dict[str, Figure] = {"rms_uk": _figure("rms_uk", None, _root, error, sums.sizes)}
    z = np.empty(0)
    variance = posterior.variance
    if variance is not None:
        z = normal_scores(away / np.sqrt(variance * posterior.more), posterior.freedom)
        spread = sums.of(variance)
        figures["expected_rms_uk"] = _figure("expected_rms_uk", None, _root, spread, sums.sizes)
        figures["rms_over_expected"] = _figure("rms_over_expected", 1.0, _root, error, spread)
        figures |= _scores(z, sums)
    level = truth.mean()
    power = (posterior.mean - level) ** 2 + posterior.scatter
    figures["hole_power"] = _figure(
        "hole_power", 1.0, _ratio, sums.of(power), sums.of((truth - level) ** 2)
    )
    if optimum is not None:
        best = sums.of((truth - optimum) ** 2)
        away = sums.of((posterior.mean - optimum) ** 2 - posterior.excess)
        figures |= {
            "mse_over_optimum": _figure("mse_over_optimum", None, _ratio, error, best),
            "excess_over_optimum": _figure("excess_over_optimum", 0.0, _ratio, away, best),
            "optimum_distance_uk": _figure("optimum_distance_uk", None, _root, away, sums.sizes),
        }
    scored = z.size > 0
    inside = (np.abs(z) < _BANDS["coverage_68"][1]).astype(np.float64)
    return Calibration(
        figures=figures,
        realizations=drawn.count,
        z=z,
        ranks=np.bincount(drawn.below, minlength=drawn.count + 1),
        groups=label,
        sizes=sums.sizes.astype(np.int64),
        group_rms_uk=_root(error, sums.sizes),
        group_z_mean=sums.of(z) / sums.sizes if scored else z,
        group_z_width=_root(sums.of(z**2), sums.sizes) if scored else z,
        group_coverage_68=sums.of(inside) / sums.sizes if scored else z,
    )


class _Sums:
    """Sums over groups."""

    def __init__(self, label: NDArray[np.int64]) -> None:
        self._label = label
        self.sizes = np.bincount(label).astype(np.float64)

    def of(self, values: Map) -> Map:
        return np.bincount(self._label, values, minlength=self.sizes.size).astype(np.float64)


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Number, mean and sum of squares of fills, and number of fills below the truth."""

    count: int
    mean: Map
    squares: Map
    below: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Posterior:
    """Mean and variance of the posterior, with the variance's degrees of freedom.

    The expected squared error of the mean is ``more`` variances. ``excess`` is the part of it that
    comes from the finite number of realizations. ``scatter`` is the power that a realization adds
    to the mean.
    """

    mean: Map
    variance: Map | None
    freedom: float
    more: float
    excess: Map | float
    scatter: Map | float


def _posterior(
    drawn: _Drawn, truth: Map, mean: Map | None, std: Map | None, std_draws: int | None
) -> _Posterior:
    """Get the posterior from realizations, or from the given mean and spread."""
    n = drawn.count
    if mean is not None:
        if n:
            raise ValueError("give realizations, or a mean and its spread, not both")
        _check_known("mean", mean, truth)
        if std is None:
            return _Posterior(mean, None, math.inf, 1.0, 0.0, 0.0)
        _check_known("spread", std, truth)
        if std_draws is not None and std_draws < 2:
            raise ValueError(f"a spread needs 2 or more realizations, got {std_draws}")
        freedom = math.inf if std_draws is None else std_draws - 1.0
        found = _Posterior(mean, std**2, freedom, 1.0, 0.0, std**2)
    elif n == 0:
        raise ValueError("there is neither a realization nor a mean to judge")
    elif n == 1:
        return _Posterior(drawn.mean, None, math.inf, 1.0, 0.0, 0.0)
    else:
        variance = drawn.squares / (n - 1)
        found = _Posterior(
            drawn.mean, variance, n - 1.0, 1 + 1 / n, variance / n, variance * (1 - 1 / n)
        )
    none = truth.size - np.count_nonzero(found.scatter)
    if none:
        raise ValueError(
            f"the fills do not differ in {none} of {truth.size} pixels: a mean has no scatter to "
            "judge; give several (`realizations=N`)"
        )
    return found


def _check_known(name: str, values: Map, truth: Map) -> None:
    if values.shape != truth.shape or not np.all(np.isfinite(values)):
        raise ValueError(f"the {name} is missing in pixels whose truth is known")


def _figure(name: str, expected: float | None, statistic: Callable[..., Map], *sums: Map) -> Figure:
    value, error = jackknife(statistic, *sums)
    return judge(name, value, expected, error)


def _scores(z: Map, sums: _Sums) -> dict[str, Figure]:
    """Give the figures of z-scores: mean, width, and shares within the bands."""
    figures = {
        "z_mean": _figure("z_mean", 0.0, _ratio, sums.of(z), sums.sizes),
        "z_width": _figure("z_width", 1.0, _root, sums.of(z**2), sums.sizes),
    }
    for name, (share, reach) in _BANDS.items():
        inside = sums.of((np.abs(z) < reach).astype(np.float64))
        figures[name] = _figure(name, share, _ratio, inside, sums.sizes)
    return figures


def _moments(truth: Map, realizations: Iterable[Map]) -> _Drawn:
    """Accumulate fills one by one (Welford 1962, Technometrics 4, 419)."""
    n, mean, squares = 0, np.zeros_like(truth), np.zeros_like(truth)
    below = np.zeros(truth.size, np.int64)
    for fill in realizations:
        _check_known("fill", fill, truth)
        n += 1
        away = fill - mean
        mean = mean + away / n
        squares = squares + away * (fill - mean)
        below += fill < truth
    return _Drawn(n, mean, squares, below)


def _ratio(a: Map, b: Map) -> Map:
    return np.asarray(a / b)


def _root(a: Map, b: Map) -> Map:
    return np.sqrt(np.maximum(a / b, 0.0))
