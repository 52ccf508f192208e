"""Estimate how the noise of a map varies over its observed sky.

A stencil of nine pixels, a pixel and its eight neighbours, takes nearly all of the signal out of a
map and leaves u. Where the noise has the variance σ², <u²> = S + k σ², with S from the prior's
spectrum and k the sum of the squared weights. u² is averaged over some degrees.

The weights are those that measure uniform noise best: they minimise the variance of the average of
u², which on a grid is 2 Σ c(Δ)² / (n k²) for n pixels, with c the covariance of u. The same sum
says how much the averages would scatter if the noise were uniform. Only the scatter beyond that is
taken for noise that varies, and the averages are drawn towards the mean by as much.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.polynomial.legendre import legval
from numpy.typing import ArrayLike, NDArray

from skyfill import harmonics
from skyfill.brief import brief
from skyfill.healpix import neighbours, nest_to_ring, pixel_directions, reorder
from skyfill.healpix.arrays import pair_of
from skyfill.healpix.stokes import nside_of
from skyfill.prior.model import ARCMIN, Prior

__all__ = ["NoiseEstimate", "estimate_noise"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Full width at half maximum of the average, degrees.
_WIDTH = 5.0
#: Nside below which the width grows in proportion to the pixels: fewer pixels would be too few to
#: measure a variance.
_FEW = 128
#: Multipoles of the average, in units of one over its standard deviation: its window is 4e-5 there.
_REACH = 4.5
#: Multipoles of the signal, in units of Nside: pixels sample it at points, so all of them count.
_MULTIPOLES = 6
#: Largest Nside at which S is computed for every pixel. Beyond, one pixel stands for those around.
_EACH = 128
#: Half the side of the grid of pixels on which c is summed.
_GRID = 6
#: Largest u² in units of its average over the sky: beyond is a source that the mask misses. It
#: leaves room for noise that varies.
_SOURCE = 100.0
#: The same in units of the average over the surroundings: of Gaussian noise one pixel in 16 000 is
#: beyond.
_OUTLIER = 16.0
#: Median of the square of a standard normal number.
_MEDIAN = 0.455
#: Standard errors by which the scatter must exceed that of uniform noise.
_SURE = 4.0
#: Least relative scatter of the variance beyond it: less does not change the width of z-scores by
#: 0.01.
_LEAST = 0.1
#: Least variance in units of the mean one.
_FLOOR = 0.05
#: Steps of the search for the stencil, over each of two angles.
_STEPS = 24
#: Which of three weights each pixel of the stencil has: the pixel itself, then its neighbours SW,
#: W, NW, N, NE, E, SE, S, of which those with one letter share only a corner with it.
_WEIGHT = np.array([0, 1, 2, 1, 2, 1, 2, 1, 2])
#: Nodes of the table of the signal's correlation.
_NODES = 8192
#: Largest angle in it, in pixel sizes: the corner of the grid is 11.3 away, while two pixels of a
#: stencil are at most 4.5 apart.
_FARTHEST = 12.0


@dataclass(frozen=True, eq=False)
class NoiseEstimate:
    """The noise of a map, pixel by pixel, as its observed sky shows it.

    Attributes
    ----------
    rms
        ``(npix,)``, µK, RING: standard deviation of the noise in each pixel, holes included.
    scatter
        Standard deviation of the measured variance over the observed sky, in units of its mean.
    uniform
        The same, expected if the noise were uniform.
    used
        Whether the noise varies: whether ``scatter`` exceeds ``uniform`` by more than chance and by
        enough to matter. If not, noise that is white everywhere describes the map.
    lost
        Whether the signal hides the noise, so that its variance could not be measured.
    width
        Full width at half maximum over which the noise is averaged, radians.
    """

    __repr__ = brief

    rms: Map = field(repr=False)
    scatter: float
    uniform: float
    used: bool
    lost: bool
    width: float

    def __str__(self) -> str:
        """Say what was found, in one line."""
        if self.lost:
            return "the noise is too faint beside the signal to be mapped: taken as uniform"
        found = (
            f"variance of the noise scatters by {self.scatter:.0%} over the sky, {self.uniform:.0%}"
            " expected of uniform noise"
        )
        return f"{found}: {'noise map used' if self.used else 'taken as uniform'}"

    def as_dict(self) -> dict[str, float | bool]:
        """Give scatter, decision and width in types that JSON supports."""
        return {
            "scatter": self.scatter,
            "uniform": self.uniform,
            "used": self.used,
            "width_deg": math.degrees(self.width),
        }


def estimate_noise(
    values: ArrayLike,
    observed: ArrayLike,
    prior: Prior,
    *,
    level: float | None = None,
    threads: int = 0,
) -> NoiseEstimate:
    """Estimate the variance of the noise in each pixel of a map from its observed sky.

    Parameters
    ----------
    values
        ``(npix,)``, µK, RING; unobserved pixels are not read.
    observed
        ``(npix,)``, RING, True where observed.
    prior
        Prior of the map, for its signal; its noise only chooses the stencil.
    level
        White noise of the map, µK·arcmin. If given, the mean variance is set to it, and only the
        pattern is estimated.
    threads
        Threads of the transforms.

    Raises
    ------
    ValueError
        No observed pixel has eight observed neighbours.

    Examples
    --------
    >>> import numpy as np, skyfill
    >>> from skyfill.prior.localnoise import estimate_noise
    >>> prior = skyfill.Prior(64, skyfill.lcdm(), fwhm=0.05, noise_uk_arcmin=400.0)
    >>> sky = skyfill.prior.draw(prior, seed=1)
    >>> estimate_noise(sky, np.ones(sky.size, bool), prior).used
    False
    """
    values, observed = pair_of(values, observed, taker="prior.estimate_noise")
    nside = nside_of(values, "values")
    pixel = math.sqrt(4 * math.pi / values.size)
    table = _correlation(prior, pixel)
    white = max(prior.noise_cl / pixel**2, 1e-6 * table[0])
    three = _stencil(table, white)
    weights = three[_WEIGHT]
    power, inside = _filtered(values, observed, weights)
    if not inside.any():
        raise ValueError(
            "no observed pixel has eight observed neighbours, so the noise cannot be estimated"
            " from the sky; give a noise map as a file or an array"
        )
    signal = np.where(inside, _signal(nside, weights, table), 0.0)
    width = math.radians(_WIDTH) * max(_FEW / nside, 1.0)
    sigma = width / math.sqrt(8 * math.log(2))
    # Sources first: by the median of the sky, which they do not change, then by their surroundings.
    inside &= power <= _SOURCE * float(np.median(power[inside])) / _MEDIAN
    _, _, local = _averaged(power - signal, inside, sigma, threads)
    inside &= power <= _OUTLIER * (np.maximum(local, 0.0) + signal)
    power = np.where(inside, power - signal, 0.0)
    seen, mean, local = _averaged(power, inside, sigma, threads)
    near = seen > _FLOOR
    # Variance of each average if the noise were uniform. The square of the window is narrower, and
    # the signal's part of u² follows the shapes of the pixels.
    known = max(mean, 0.0)
    covariance = _of_u(three, table, known)
    largest = float(covariance.max())
    one = np.where(inside, 2 * float(np.sum(covariance**2)) * ((signal + known) / largest) ** 2, 0)
    share = pixel**2 / (4 * math.pi * sigma**2)
    chance = share * np.maximum(_smooth(one, sigma / math.sqrt(2), threads), 0.0)
    chance /= np.where(near, seen, 1.0) ** 2
    away = (local - mean)[inside]
    scatter, uniform = float(np.mean(away**2)), float(np.mean(chance[inside]))
    cells = max(np.count_nonzero(inside) * share, 1.0)
    beyond = scatter - uniform
    sure = beyond > _SURE * uniform * math.sqrt(2 / cells)
    used = bool(mean > 0 and sure and beyond > (_LEAST * mean) ** 2)
    variance = np.full(values.size, max(mean, 0.0))
    if used:
        chance = np.where(near, chance, np.inf) * np.maximum(local / mean, _FLOOR) ** 2
        drawn = beyond / (beyond + chance)
        variance = np.maximum(mean + drawn * (local - mean), _FLOOR * mean)
    if level:
        variance *= (level * ARCMIN / pixel) ** 2 / float(np.mean(variance[observed]))
    scale = abs(mean) or 1.0
    return NoiseEstimate(
        rms=np.sqrt(variance),
        scatter=math.sqrt(scatter) / scale,
        uniform=math.sqrt(uniform) / scale,
        used=used,
        lost=mean <= 0,
        width=width,
    )


def _averaged(power: Map, inside: Mask, sigma: float, threads: int) -> tuple[Map, float, Map]:
    """Give the share of the window that is inside, the mean, and the local average."""
    seen = _smooth(inside.astype(np.float64), sigma, threads)
    near = seen > _FLOOR  # elsewhere it would be a ratio of two small numbers
    mean = float(np.mean(power[inside]))
    local = _smooth(np.where(inside, power, 0.0), sigma, threads) / np.where(near, seen, 1.0)
    return seen, mean, np.where(near, local, mean)


def _correlation(prior: Prior, pixel: float) -> Map:
    """Tabulate the signal's correlation, ``(_NODES,)``, µK², to `_FARTHEST` pixel sizes."""
    cl = prior.signal_cl(min(prior.cl.size - 1, _MULTIPOLES * prior.nside))
    angle = np.linspace(0, _FARTHEST * pixel, _NODES)
    terms = (2 * np.arange(cl.size) + 1) / (4 * np.pi) * cl
    return np.asarray(legval(np.cos(np.minimum(angle, np.pi)), terms))


def _at(table: Map, pixels: NDArray[np.floating]) -> Map:
    """Interpolate the table at angles in pixel sizes."""
    where = np.minimum(pixels / _FARTHEST * (_NODES - 1), _NODES - 1)
    return np.asarray(np.interp(where, np.arange(_NODES), table))


def _covariance_on_grid(table: Map, white: float) -> Map:
    """Covariance of map pixels on a square grid, by their offset."""
    offset = np.arange(-_GRID - 2, _GRID + 3)
    apart = np.hypot(*np.meshgrid(offset, offset))
    out = _at(table, apart)
    out[_GRID + 2, _GRID + 2] += white
    return out


def _of_u(weights: Map, table: Map, white: float) -> Map:
    """Covariance of u on a square grid, by its offset: the map's, filtered twice."""
    stencil = np.empty((3, 3))
    stencil[1, 1] = weights[0]
    stencil[[0, 1, 1, 2], [1, 0, 2, 1]] = weights[1]
    stencil[[0, 0, 2, 2], [0, 2, 0, 2]] = weights[2]
    out = _covariance_on_grid(table, white)
    for _ in range(2):
        n = out.shape[0] - 2
        out = sum(stencil[i, j] * out[i : i + n, j : j + n] for i in range(3) for j in range(3))
    return np.asarray(out)


def _stencil(table: Map, white: float) -> Map:
    """Choose the stencil; give its three weights, of which one, four and four make k = 1."""
    best, least = np.zeros(3), math.inf
    for polar in np.linspace(0, np.pi / 2, _STEPS):
        for azimuth in np.linspace(0, 2 * np.pi, 2 * _STEPS, endpoint=False):
            one = np.array(
                [
                    math.cos(polar),
                    math.sin(polar) * math.cos(azimuth) / 2,
                    math.sin(polar) * math.sin(azimuth) / 2,
                ]
            )
            spread = float(np.sum(_of_u(one, table, white) ** 2))
            if spread < least:
                best, least = one, spread
    return best


def _filtered(values: Map, observed: Mask, weights: Map) -> tuple[Map, Mask]:
    """Give u², ``(npix,)``, and where the whole stencil is observed."""
    nside = nside_of(values, "values")
    power, inside = np.zeros(values.size), np.zeros(values.size, np.bool_)
    for start in range(0, values.size, 2**20):
        pixels = np.arange(start, min(start + 2**20, values.size))
        pixels = pixels[observed[pixels]]
        around = neighbours(nside, pixels)
        whole = np.all(around >= 0, axis=1) & np.all(observed[around], axis=1)
        pixels, around = pixels[whole], around[whole]
        inside[pixels] = True
        power[pixels] = (weights[0] * values[pixels] + values[around] @ weights[1:]) ** 2
    return power, inside


def _signal(nside: int, weights: Map, table: Map) -> Map:
    """Give S in every pixel, ``(npix,)``, RING: it depends on the shapes of the pixels."""
    coarse = min(nside, _EACH)
    ratio = nside // coarse
    # The pixel in the middle of each coarse one, by its number within: bits of x and y alternate.
    middle = 3 * (ratio // 2) ** 2 if ratio > 1 else 0
    nest = np.arange(12 * coarse**2) * ratio**2 + middle
    around = neighbours(nside, nest, nest=True)
    stencil = np.column_stack([nest, np.where(around < 0, nest[:, None], around)])
    pixel = math.sqrt(4 * math.pi / 12) / nside
    places = np.stack([_directions(nside, column) for column in stencil.T])
    out = np.full(nest.size, table[0] * float(np.sum(weights**2)))
    for i in range(9):
        for j in range(i):
            apart = np.linalg.norm(places[i] - places[j], axis=1)
            apart = 2 * np.arcsin(np.minimum(apart / 2, 1.0)) / pixel
            out += 2 * weights[i] * weights[j] * _at(table, apart)
    return reorder(np.repeat(out, ratio**2), nest_in=True, nest_out=False)


def _directions(nside: int, nest: NDArray[np.int64]) -> Map:
    return pixel_directions(nside, nest_to_ring(nside, nest))


def _smooth(values: Map, sigma: float, threads: int) -> Map:
    """Average with a Gaussian of standard deviation sigma, radians."""
    nside = nside_of(values, "values")
    lmax = min(math.ceil(_REACH / sigma), 2 * nside)
    ell = np.arange(lmax + 1)
    alm = harmonics.adjoint(values, lmax=lmax, threads=threads) * (4 * np.pi / values.size)
    alm = harmonics.almxfl(alm, np.exp(-0.5 * ell * (ell + 1) * sigma**2))
    return harmonics.synthesis(alm, nside, threads=threads)
