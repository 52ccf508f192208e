"""Monotone transforms that make the values of a field nearly Gaussian, pixel by pixel.

A transform gives the field x = T(g) of a Gaussian field g, and g of x. Three are known:

- ``log``: g = ln(x + shift), for fields with a lower bound, such as densities;
- ``asinh``: g = asinh((x + shift) / width), for fields with two tails (Johnson 1949, his S_U);
- ``rank``: the quantiles of the observed values become those of a normal distribution.

The statistics of a filled field are those of x only as far as *pairs* of values of g are Gaussian,
which no transform of single values can ensure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize, special

__all__ = ["TRANSFORMS", "Transform", "fitted_transform", "in_unit", "signal_sample"]

Map = NDArray[np.float64]

TRANSFORMS = ("log", "asinh", "rank")
"""Names of the transforms."""
#: Fewest values whose quantiles make a transform: the tail beyond 1 in 1000 would be a guess.
_FEW = 2000
#: Most values from which a shift is fitted: its error is below 1% then.
_MANY = 100_000
#: The same of the width of asinh, which takes longer.
_ENOUGH = 10_000
#: Number of quantiles of ``rank``.
_QUANTILES = 2000
#: Width over which the slope of ``rank`` is taken, in standard deviations of g.
_STEP = 0.1
#: Nodes of the Gauss-Hermite quadrature of a mean: exact to 1e-6 for exponentials of variance 2.
_NODES = 32
#: Range of the searched shift, in standard deviations of the field above its least value.
_SHIFTS = (1e-6, 1e4)
#: Steps of the deconvolution of a histogram: more make it follow the noise of the histogram.
_STEPS = 40
#: Cells of that histogram per standard deviation of the noise.
_CELLS = 6
#: Most cells of it.
_MOST_CELLS = 20_000
#: Most values of the sample that stands for the field without noise.
_SAMPLE = 20_000


class Transform(Protocol):
    """A monotone function T from a Gaussian field g to the field x = T(g)."""

    @property
    def name(self) -> str:
        """One of `TRANSFORMS`."""

    def inverse(self, x: Map) -> Map:
        """Return g of field values; NaN where x has none."""

    def of(self, g: Map) -> Map:
        """Return the field values of g."""

    def slope(self, g: Map) -> Map:
        """Return the derivative dT/dg, above zero."""

    def mean(self, mean: Map, variance: Map) -> Map:
        """Return the mean of T(g) for a normal g of this mean and variance."""


@dataclass(frozen=True)
class Log:
    """The field exp(g) - shift.

    Attributes
    ----------
    shift
        Minus the lower bound of the field, in its unit.
    """

    shift: float
    name: str = "log"

    def __str__(self) -> str:
        return f"log(x + {self.shift:.6g})"

    def inverse(self, x: Map) -> Map:
        """Return ln(x + shift); NaN at and below the bound."""
        above = x + self.shift
        return np.log(np.where(above > 0, above, np.nan))

    def of(self, g: Map) -> Map:
        """Return exp(g) - shift."""
        return np.exp(g) - self.shift

    def slope(self, g: Map) -> Map:
        """Return exp(g)."""
        return np.exp(g)

    def mean(self, mean: Map, variance: Map) -> Map:
        """Return exp(mean + variance / 2) - shift."""
        return np.exp(mean + variance / 2) - self.shift


@dataclass(frozen=True)
class Asinh:
    """The field width * sinh(g) - shift.

    Attributes
    ----------
    shift
        Minus the value of the field at g = 0, in its unit.
    width
        Distance from there within which the transform is nearly linear, in the same unit.
    """

    shift: float
    width: float
    name: str = "asinh"

    def __str__(self) -> str:
        return f"asinh((x + {self.shift:.6g}) / {self.width:.6g})"

    def inverse(self, x: Map) -> Map:
        """Return asinh((x + shift) / width)."""
        return np.arcsinh((x + self.shift) / self.width)

    def of(self, g: Map) -> Map:
        """Return width * sinh(g) - shift."""
        return self.width * np.sinh(g) - self.shift

    def slope(self, g: Map) -> Map:
        """Return width * cosh(g)."""
        return self.width * np.cosh(g)

    def mean(self, mean: Map, variance: Map) -> Map:
        """Return width * sinh(mean) * exp(variance / 2) - shift."""
        return self.width * np.sinh(mean) * np.exp(variance / 2) - self.shift


@dataclass(frozen=True)
class Rank:
    """The field whose quantiles are those of a sample; g has mean 0 and variance 1.

    Beyond the sample the field continues in a straight line.

    Attributes
    ----------
    knots
        ``(n,)``, quantiles of the normal distribution, ascending.
    values
        ``(n,)``, those of the field, ascending.
    """

    knots: Map = field(repr=False)
    values: Map = field(repr=False)
    name: str = "rank"

    def __str__(self) -> str:
        return f"normal scores of {self.knots.size} quantiles"

    @classmethod
    def of_sample(cls, sample: Map) -> Rank:
        """Take the quantiles of a sample."""
        few = np.geomspace(0.5 / sample.size, 0.05, _QUANTILES // 4)
        shares = np.concatenate([few, np.linspace(0.05, 0.95, _QUANTILES // 2 + 2)[1:-1], 1 - few])
        shares = np.unique(shares)
        values = np.quantile(sample, shares)
        # Equal values, of a field with steps, have no order: their ranks are the middle one.
        values, start, count = np.unique(values, return_index=True, return_counts=True)
        shares = shares[start + (count - 1) // 2]
        return cls(special.ndtri(shares), values)

    def inverse(self, x: Map) -> Map:
        """Return the normal quantiles of field values."""
        return _through(x, self.values, self.knots)

    def of(self, g: Map) -> Map:
        """Return the field values at normal quantiles."""
        return _through(g, self.knots, self.values)

    def slope(self, g: Map) -> Map:
        """Return the mean slope over a tenth of a standard deviation."""
        return (self.of(g + _STEP / 2) - self.of(g - _STEP / 2)) / _STEP

    def mean(self, mean: Map, variance: Map) -> Map:
        """Return the mean of the field by Gauss-Hermite quadrature."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
        root = np.sqrt(variance)
        out = np.zeros(np.shape(mean))
        for node, weight in zip(nodes, weights / weights.sum(), strict=True):
            out += weight * self.of(mean + node * root)
        return out


def _through(at: Map, places: Map, heights: Map) -> Map:
    """Interpolate, and continue the outer tenth of a percent in a straight line."""
    out = np.asarray(np.interp(at, places, heights))
    far = max(places.size // 20, 1)
    for edge, inner, beyond in ((0, far, at < places[0]), (-1, -1 - far, at > places[-1])):
        slope = (heights[edge] - heights[inner]) / (places[edge] - places[inner])
        out = np.where(beyond, heights[edge] + slope * (at - places[edge]), out)
    return out


def fitted_transform(name: str, sample: Map, *, shift: float | None = None) -> Transform:
    """Choose a transform for a field from a sample of its values.

    Parameters
    ----------
    name
        One of `TRANSFORMS`.
    sample
        ``(n,)``, values of the field, without noise.
    shift
        Added to the field before its logarithm or asinh, in its unit. If not given, it is fitted:
        for ``log``, so that the logarithm has no skewness; for ``asinh``, together with the width,
        so that skewness and excess kurtosis are least.

    Raises
    ------
    ValueError
        The name is unknown; the field is constant; ``log`` has values at or below zero, or would be
        fitted to a field whose skewness is not positive; ``rank`` has a shift, or too few values.
    """
    if name not in TRANSFORMS:
        raise ValueError(f"transform {name!r} is unknown; choose one of {', '.join(TRANSFORMS)}")
    if shift is not None and not math.isfinite(shift):
        raise ValueError(f"shift must be a finite number, got {shift!r}")
    if np.all(sample == sample[0]):
        raise ValueError("the observed field is constant: there is nothing to transform")
    if name == "rank":
        return _ranked(sample, shift)
    if name == "asinh":
        return _asinh(sample[:: max(sample.size // _ENOUGH, 1)], shift)
    if shift is None:
        shift = _fitted_shift(sample[:: max(sample.size // _MANY, 1)], float(sample.min()))
    below = int(np.count_nonzero(sample + shift <= 0))
    if below:
        raise ValueError(
            f"`transform='log'` needs x + shift above 0, and {below} of {sample.size} observed"
            f" pixels are not (the least is {sample.min() + shift:.6g}): pass a larger `shift`, or"
            " `transform='asinh'` or `transform='rank'`, which take every value"
        )
    return Log(shift)


def in_unit(transform: Transform, size: float) -> str:
    """Return the formula of a transform for a field in another unit.

    Parameters
    ----------
    transform
        Of the field in its own unit.
    size
        Size of the other unit in the own one.
    """
    if isinstance(transform, Log):
        return str(Log(transform.shift / size))
    if isinstance(transform, Asinh):
        return str(Asinh(transform.shift / size, transform.width / size))
    return str(transform)


def _ranked(sample: Map, shift: float | None) -> Rank:
    """Make ``rank`` from a sample."""
    if shift is not None:
        raise ValueError("`transform='rank'` has no shift: drop `shift`")
    if sample.size < _FEW:
        raise ValueError(
            f"`transform='rank'` needs {_FEW} observed pixels for its quantiles, got {sample.size}:"
            " use `transform='log'` or `transform='asinh'`"
        )
    return Rank.of_sample(sample)


def _skewness(values: Map) -> float:
    """Return the third moment of standardised values."""
    away = values - values.mean()
    return float(np.mean(away**3) / np.mean(away**2) ** 1.5)


def _fitted_shift(sample: Map, least: float) -> float:
    """Find the shift whose logarithm has no skewness."""
    spread = float(sample.std())

    def skewness(step: float) -> float:
        return _skewness(np.log(sample - least + math.exp(step) * spread))

    low, high = map(math.log, _SHIFTS)
    found = _skewness(sample)
    if found <= 0 or skewness(high) <= 0:
        raise ValueError(
            f"`transform='log'` is for fields with positive skewness, and this one has {found:.2g}:"
            " give its lower bound as `shift`, or use `transform='asinh'` or `transform='rank'`"
        )
    if skewness(low) >= 0:
        return math.exp(low) * spread - least
    return math.exp(optimize.brentq(skewness, low, high, xtol=1e-6)) * spread - least


def _asinh(sample: Map, shift: float | None) -> Asinh:
    """Find the width, and the shift if it is not given, with least skewness and kurtosis."""
    middle, spread = float(np.median(sample)), float(sample.std())

    def made(numbers: Map) -> Asinh:
        width = spread * math.exp(float(np.clip(numbers[0], -12, 6)))
        return Asinh(-middle - spread * float(numbers[1]) if shift is None else shift, width)

    def cost(numbers: Map) -> float:
        g = made(numbers).inverse(sample)
        g = (g - g.mean()) / g.std()
        return float(np.mean(g**3) ** 2 + (np.mean(g**4) - 3) ** 2 / 4)

    starts = [np.array([0.0, 0.0]), np.array([-2.0, -1.0]), np.array([-2.0, 1.0])]
    if shift is not None:
        starts = [start[:1] for start in starts[:2]]
    found = [
        optimize.minimize(cost, start, method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-8})
        for start in starts
    ]
    return made(min(found, key=lambda each: float(each.fun)).x)


def signal_sample(values: Map, noise: float) -> Map:
    """Give a sample of a field without its noise, from values with noise.

    The histogram of the values is that of the field convolved with the noise. It is deconvolved by
    the steps of Richardson (1972) and Lucy (1974), which keep it positive.

    Parameters
    ----------
    values
        ``(n,)``, the field with noise.
    noise
        Standard deviation of the noise, in the unit of the field.

    Returns
    -------
    ``(min(n, 20000),)``, ascending: equally probable values of the field.
    """
    low, high = float(values.min()), float(values.max())
    cells = int(np.clip((high - low) / noise * _CELLS, 50, _MOST_CELLS))
    counts, edges = np.histogram(values, cells, (low, high))
    width = noise / (edges[1] - edges[0])
    seen = counts / counts.sum()
    field_ = ndimage.gaussian_filter1d(seen, width, mode="nearest")
    for _ in range(_STEPS):
        expected = ndimage.gaussian_filter1d(field_, width, mode="constant")
        ratio = seen / np.maximum(expected, 1e-300)
        field_ = field_ * ndimage.gaussian_filter1d(ratio, width, mode="constant")
    total = np.concatenate([[0.0], np.cumsum(field_ / field_.sum())])
    size = min(values.size, _SAMPLE)
    shares = (np.arange(size) + 0.5) / size
    rising = np.concatenate([[True], np.diff(total) > 0])
    return np.asarray(np.interp(shares, total[rising], edges[rising]))
