"""The scatter of pixels by scale: measured on the observed sky, and predicted by a prior.

It is the scatter of four sibling pixels about their mean, at the map's resolution and, after
averaging four by four, at ever coarser ones. Each band is sensitive to an octave of multipoles. It
is local, so that it can be measured with any mask. The prior predicts its variance as a sum over
C_l with the pixel windows of both resolutions.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial

import numba
import numpy as np
from numpy.typing import NDArray

from skyfill.brief import brief
from skyfill.harmonics import correlation
from skyfill.healpix import pixel_directions
from skyfill.healpix.grid import face_rings
from skyfill.healpix.jit import compiled, inner
from skyfill.healpix.pixel import nest2xy
from skyfill.prior.model import Prior, pixel_window

__all__ = ["FAR", "MINOR", "OFF", "OFF_SIGMA", "Band", "Scatter", "any_off", "compare", "measure"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

FAR = 2.0
"""A variance is far off, and the prior refused, beyond this factor and a number of errors."""
OFF = 1.25
"""A variance is worth a warning beyond this factor and the next number of errors."""
OFF_SIGMA = 6.0
"""Errors by which a variance must be off, too, to be worth a warning."""
MINOR = 0.02
"""Bands with a smaller share of the variance, observed and predicted, are ignored."""
#: Base pixels of the sphere.
_FACES = 12
#: Groups of four pixels that a band needs.
_FEWEST = 40
#: Share of a coarse pixel that must be observed.
_SHARE = 0.8
#: Below this number of fine pixels all must be observed, since the noise of the mean depends on
#: their number.
_ALL_BELOW = 64
#: Factor from computed to true errors of a band; the computation knows the mask only roughly.
_INFLATION = 1.5
#: From this Nside on, the shape of the pixels no longer matters.
_ALIKE = 64
#: Blocks of 1, 4, 16 and 64 pixels are summed over their pairs: finer ones change nothing.
_SIZES = 4
#: Number of blocks that represent those of the whole sky.
_BLOCKS = 200
#: Bins of the distance between two pixels of a block.
_DISTANCES = 400


@dataclass(frozen=True)
class Band:
    """The variance of a map on one scale.

    Attributes
    ----------
    nside
        Resolution of the pixels whose four children are compared.
    ell
        The multipole to which the band is most sensitive, 2.5 nside.
    observed, predicted
        Variance of the children about their mean, µK².
    error
        Error of ``observed``, relative to ``predicted``, if the prior is right.
    """

    __repr__ = brief

    nside: int
    ell: float
    observed: float
    predicted: float
    error: float

    @property
    def ratio(self) -> float:
        """Observed over predicted."""
        return self.observed / self.predicted if self.predicted > 0 else math.inf

    def off(self, factor: float, sigma: float) -> bool:
        """Tell whether the ratio is off by more than a factor and a number of errors."""
        away = abs(math.log(max(self.ratio, 1e-300)))
        return away > math.log(factor) and away > math.log1p(sigma * self.error)


@dataclass(frozen=True)
class Scatter:
    """Measurement on one scale."""

    nside: int
    power: float
    parents: int


def measure(values: Map, observed: Mask, nside: int) -> list[Scatter]:
    """Measure the scatter of siblings at all resolutions, from coarse to fine."""
    if nside < 2:
        return []
    with ThreadPoolExecutor(min(numba.get_num_threads(), _FACES)) as pool:
        faces = list(pool.map(partial(_measured, values, observed, nside), range(_FACES)))
    power, parents = (np.array(every).sum(axis=0) for every in zip(*faces, strict=True))
    steps = power.size
    return [
        Scatter(nside >> (step + 1), float(power[step] / parents[step]), int(parents[step]))
        for step in reversed(range(steps))
        if parents[step] >= _FEWEST
    ]


def _measured(values: Map, observed: Mask, nside: int, face: int) -> tuple[Map, NDArray[np.int64]]:
    """Measure one base pixel, to save memory: sums of the scatter and numbers, from fine on."""
    steps = int(math.log2(nside))
    power, parents = np.zeros(steps), np.zeros(steps, np.int64)
    count = (nside // 2) ** 2
    rows, top = face_rings(nside, face)
    means, shares = np.empty(count), np.empty(count)
    power[0], parents[0] = _finest(rows, top, values, observed, means, shares)
    for step in range(1, steps):
        count //= 4
        least = 1.0 if 4**step < _ALL_BELOW else _SHARE
        power[step], parents[step] = _coarser(means, shares, least, count)
    return power, parents


@inner
def _pixel(rows: NDArray[np.int64], ring: int, along: int) -> int:
    """Find a pixel by its ring and its steps from the meridian of the base pixel."""
    pixel: int = (rows[2, ring] + along) >> 1
    if pixel < rows[0, ring]:
        pixel += rows[1, ring]
    return pixel


@inner
def _siblings(a: float, b: float, c: float, d: float) -> float:
    """Give the mean square of four numbers about their mean."""
    mean = (a + b + c + d) / 4
    return ((a - mean) ** 2 + (b - mean) ** 2 + (c - mean) ** 2 + (d - mean) ** 2) / 4


@compiled
def _finest(
    rows: NDArray[np.int64],
    top: int,
    values: NDArray[np.floating],
    observed: Mask,
    means: Map,
    shares: Map,
) -> tuple[float, int]:
    """Average the observed of four sibling pixels; sum and count the scatter where all are.

    ``rows`` has the rings of the base pixel, see `face_rings`, of which ``top`` is that of its
    southern corner.
    """
    power, parents = 0.0, 0
    for parent in range(means.size):
        x, y = nest2xy(parent)
        # The four lie on three rings: two of them beside each other on the middle one.
        ring, along = top - 2 * (x + y), 2 * (x - y)
        i, m = _pixel(rows, ring, along), _pixel(rows, ring - 2, along)
        j, k = _pixel(rows, ring - 1, along + 1), _pixel(rows, ring - 1, along - 1)
        if observed[i] and observed[j] and observed[k] and observed[m]:
            a, b, c, d = values[i], values[j], values[k], values[m]
            means[parent] = (a + b + c + d) / 4
            shares[parent] = 1.0
            power += _siblings(a, b, c, d)
            parents += 1
            continue
        a = values[i] if observed[i] else 0.0
        b = values[j] if observed[j] else 0.0
        c = values[k] if observed[k] else 0.0
        d = values[m] if observed[m] else 0.0
        count = int(observed[i]) + int(observed[j]) + int(observed[k]) + int(observed[m])
        means[parent] = (a + b + c + d) / max(count, 1)
        shares[parent] = count / 4
    return power, parents


@compiled
def _coarser(means: Map, shares: Map, least: float, count: int) -> tuple[float, int]:
    """Average four means by observed share, in place; sum and count the scatter of large shares."""
    power, parents = 0.0, 0
    for parent in range(count):
        i = 4 * parent
        total, seen, lowest = 0.0, 0.0, 1.0
        for child in range(i, i + 4):
            total += means[child] * shares[child]
            seen += shares[child]
            lowest = min(lowest, shares[child])
        if lowest >= least:
            power += _siblings(means[i], means[i + 1], means[i + 2], means[i + 3])
            parents += 1
        means[parent] = total / max(seen, 1e-30)
        shares[parent] = seen / 4
    return power, parents


def compare(measured: list[Scatter], prior: Prior, noise: float) -> tuple[list[Band], Band]:
    """Compare measurements with the prior (noise in µK² a pixel); give bands and their sum."""
    ell = np.arange(prior.cl.size)
    cl = np.array(prior.signal_cl(ell[-1]))
    cl[:2] = 0.0
    modes = (2 * ell + 1) / (4 * math.pi) * cl
    finest = prior.nside
    variances = _block_variances(cl.tobytes(), finest, measured[0].nside)
    fine = pixel_window(finest, ell[-1])
    bands: list[Band] = []
    squares = np.zeros(ell.size)
    white = 0.0
    for each in measured:
        at = int(math.log2(finest // each.nside))
        # The share of the band's signal by multipole gives its error.
        kept = _window(2 * each.nside, finest, fine) - _window(each.nside, finest, fine)
        share = modes * np.maximum(kept, 0.0)
        signal = max(variances[at - 1] - variances[at], 0.0)
        own = noise * (4.0 ** (1 - at) - 4.0**-at)
        seen = each.parents / (12 * each.nside**2)
        error = _error(share, signal, own, 3 * each.parents, seen)
        predicted = signal + own
        bands.append(Band(each.nside, 2.5 * each.nside, each.power, predicted, error))
        squares += share * (signal / max(float(share.sum()), 1e-300))
        white += own
    observed = sum(band.observed for band in bands)
    predicted = sum(band.predicted for band in bands)
    centre = sum(band.ell * band.predicted for band in bands) / max(predicted, 1e-300)
    seen = min(each.parents / (12 * each.nside**2) for each in measured)
    count = 3 * measured[-1].parents
    error = _error(squares, float(squares.sum()), white, count, seen)
    return bands, Band(0, centre, observed, predicted, error)


def _error(share: Map, signal: float, white: float, count: int, seen: float) -> float:
    """Give the relative error of a variance, from its share by multipole and that of white noise.

    The error of the signal is its cosmic variance on the observed part of the sky. For white noise
    ``count`` coefficients are independent; there are never more.
    """
    ell = np.arange(share.size)
    total = max(float(share.sum()), 1e-300)
    cosmic = 2 * float(np.sum(share**2 / (2 * ell + 1))) / total**2 / max(seen, 1e-300)
    weight = signal / max(signal + white, 1e-300)
    chance = 2 / count
    return _INFLATION * math.sqrt(max(weight**2 * cosmic + (1 - weight) ** 2 * chance, chance))


def _window(nside: int, finest: int, fine: Map) -> Map:
    """Give the squared transfer of averaging over coarser pixels, by multipole."""
    if nside == finest:
        return np.ones_like(fine)
    return np.asarray((pixel_window(nside, fine.size - 1) / fine) ** 2)


@lru_cache(maxsize=8)
def _block_variances(packed: bytes, finest: int, coarsest: int) -> list[float]:
    """Give the signal's variance in blocks of 1, 4, 16 ... pixels, down to a coarse resolution.

    A block is the mean of up to 8 x 8 points, whose correlations are summed over all pairs. The
    points are the pixels of the block, or coarser pixels in a large block, with the signal smoothed
    accordingly. ``packed`` has the spectrum, as bytes: many maps share one prior.
    """
    cl = np.frombuffer(packed).copy()  # writable, as all others: else compiled twice
    fine = pixel_window(finest, cl.size - 1)
    variances: list[float] = []
    nside = finest
    while not variances or finest >> (len(variances) - 1) > coarsest:
        like = min(nside, _ALIKE)
        distances, shares = _separations(like)
        distances = distances * like / nside
        window = 1.0 if nside == finest else pixel_window(nside, cl.size - 1) / fine
        # Averaged over directions, the squared window of a square falls with the third power of l.
        tail = np.minimum(1.0, 4 * nside / np.maximum(np.arange(cl.size), 1))
        seen = cl if nside == finest else cl * window**2 * tail
        found = shares @ correlation(seen, np.cos(distances))
        variances += found.tolist() if nside == finest else [float(found[-1])]
        nside //= 2
    return variances


@lru_cache(maxsize=16)
def _separations(nside: int) -> tuple[Map, Map]:
    """Give distances of pixels, and the share of pairs at each, in blocks of 1, 4, 16, 64."""
    blocks = min(_SIZES, int(math.log2(nside)) + 1)
    side = 2 ** (blocks - 1)
    parents = 12 * (nside // side) ** 2
    # Multiples of the golden section, modulo 1, are spread evenly over all faces.
    turns = np.arange(1, _BLOCKS + 1) * (math.sqrt(5) - 1) / 2 % 1
    chosen = (turns * parents).astype(np.int64)
    largest = 4.0 * side * math.sqrt(math.pi / 3) / nside
    edges = np.append(0.0, np.linspace(1e-9, largest, _DISTANCES))
    shares = np.zeros((blocks, _DISTANCES))
    for parent in chosen:
        pixels = parent * side**2 + np.arange(side**2)
        towards = pixel_directions(nside, pixels, nest=True)
        for block in range(blocks):
            count = 4**block
            # One block of each size, at the beginning of the largest.
            chord = np.linalg.norm(towards[:count, None] - towards[None, :count], axis=2)
            angle = 2 * np.arcsin(np.minimum(chord / 2, 1))
            shares[block] += np.histogram(angle, edges)[0] / (count**2 * chosen.size)
    middle = 0.5 * (edges[1:] + edges[:-1])
    middle[0] = 0.0
    return middle, shares


def any_off(bands: list[Band], total: Band, factor: float, sigma: float) -> bool:
    """Tell whether the total is off, or any band with a relevant share of the variance."""
    return total.off(factor, sigma) or any(
        band.off(factor, sigma)
        and (band.observed > MINOR * total.observed or band.predicted > MINOR * total.predicted)
        for band in bands
    )
