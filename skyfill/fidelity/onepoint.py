"""Compare the distribution of values inside the holes with that outside.

Neighbouring pixels are correlated, so the usual p-value of a Kolmogorov-Smirnov distance, for
independent values, is wrong by orders of magnitude. Instead the mask is rotated rigidly at random
and the distance is computed again. If the sky is statistically the same everywhere, holes included,
the original mask is like one of these rotations, which makes p = (1 + rotations with a distance as
large) / (1 + rotations) exact, whatever the correlations (Hemerik & Goeman 2018, TEST 27, 811,
theorem 2).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from skyfill.brief import brief
from skyfill.fidelity.figures import Figure, judge
from skyfill.healpix import pixel_directions, pixels_towards
from skyfill.healpix.arrays import pair_of
from skyfill.healpix.checks import check_seed, check_whole
from skyfill.healpix.stokes import nside_of

__all__ = ["OnePoint", "one_point", "random_rotation"]

Map = NDArray[np.float64]
#: Largest number of pixels compared, inside and outside each.
_SAMPLE = 1 << 14


@dataclass(frozen=True, eq=False)
class OnePoint:
    """Moments of the filled and of the observed part of a map, and their distance.

    Attributes
    ----------
    figures
        ``onepoint_ks``, the Kolmogorov-Smirnov distance; ``onepoint_variance``, inside over
        outside; ``onepoint_skewness`` and ``onepoint_kurtosis``, inside minus outside. Expected
        value and error are mean and standard deviation over rotations of the mask.
    p_value
        Share of rotations whose distance is at least as large, the original mask included.
    inside, outside
        Mean (µK), standard deviation (µK), skewness and excess kurtosis.
    null_ks
        ``(rotations,)`` distances of the rotated masks.
    sample_inside, sample_outside
        ``(n,)``, µK: the values that were compared, for a plot.
    """

    __repr__ = brief

    figures: dict[str, Figure]
    p_value: float
    inside: tuple[float, float, float, float]
    outside: tuple[float, float, float, float]
    null_ks: Map = field(repr=False)
    sample_inside: Map = field(repr=False)
    sample_outside: Map = field(repr=False)


def random_rotation(rng: np.random.Generator) -> Map:
    """Draw a rotation, ``(3, 3)``, uniformly (a normalised quaternion of normals)."""
    w, x, y, z = (q := rng.standard_normal(4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def one_point(
    values: ArrayLike, observed: ArrayLike, *, rotations: int = 199, seed: int = 0
) -> OnePoint:
    """Compare the values in the holes of a filled map with those outside.

    Parameters
    ----------
    values
        ``(npix,)``, µK, RING, filled, with monopole and dipole removed.
    observed
        ``(npix,)``, RING, False in the holes.
    rotations
        Number of rotations of the mask from which the scatter by chance is computed.
    seed
        Seed of the rotations, and of the choice of pixels if there are very many.

    Raises
    ------
    ValueError
        There is no hole or no observed pixel, or a value is missing.
    """
    (values, observed), seed = (
        pair_of(values, observed, taker="fidelity.one_point"),
        check_seed(seed),
    )
    rotations = check_whole(rotations, "rotations", least=2)
    nside = nside_of(values, "values")
    if observed.all() or not observed.any():
        raise ValueError("a distribution inside and one outside of holes needs both")
    if not np.all(np.isfinite(values)):
        raise ValueError("the map is not filled: values are missing")
    rng = np.random.default_rng([seed, 0x0E90])
    sides = [_some(np.flatnonzero(part), rng) for part in (~observed, observed)]
    directions = [pixel_directions(nside, side) for side in sides]
    inside, outside = (values[side] for side in sides)
    found = _statistics(inside, outside)
    null = np.empty((rotations, 4))
    for row in null:
        turn = random_rotation(rng)
        turned = [pixels_towards(nside, each @ turn.T) for each in directions]
        row[:] = _statistics(*(values[each] for each in turned))
    names = ("onepoint_ks", "onepoint_variance", "onepoint_skewness", "onepoint_kurtosis")
    figures = {
        name: judge(name, value, float(chance.mean()), float(chance.std(ddof=1)))
        for name, value, chance in zip(names, found, null.T, strict=True)
    }
    return OnePoint(
        figures=figures,
        p_value=float((1 + np.count_nonzero(null[:, 0] >= found[0])) / (1 + rotations)),
        inside=_moments(inside),
        outside=_moments(outside),
        null_ks=null[:, 0].copy(),
        sample_inside=inside,
        sample_outside=outside,
    )


def _some(pixels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    if pixels.size <= _SAMPLE:
        return pixels
    return np.sort(rng.choice(pixels, _SAMPLE, replace=False))


def _moments(values: Map) -> tuple[float, float, float, float]:
    """Give mean, standard deviation, skewness and excess kurtosis; 0 if there is no spread."""
    mean, std = float(values.mean()), float(values.std())
    z = (values - mean) / std if std > 0 else np.zeros_like(values)
    square = z * z
    skewness, kurtosis = float(np.mean(square * z)), float(np.mean(square**2)) - 3 * (std > 0)
    return mean, std, skewness, kurtosis


def _statistics(inside: Map, outside: Map) -> tuple[float, float, float, float]:
    a, b = _moments(inside), _moments(outside)
    ratio = (a[1] / b[1]) ** 2 if b[1] else np.inf
    distance = float(stats.ks_2samp(inside, outside, method="asymp").statistic)
    return distance, ratio, a[2] - b[2], a[3] - b[3]
