"""Compare an observed sky with the predictions of a prior, before anything is filled.

The comparison is local, so that it works with any mask. It uses the scatter of four sibling pixels
about their mean, at the map's resolution and, after averaging four by four, at ever coarser ones.
Each band is sensitive to an octave of multipoles. The prior predicts its variance as a sum over C_l
with the pixel windows of both resolutions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numba import prange
from numpy.typing import ArrayLike, NDArray

from skyfill.healpix import pixel_directions
from skyfill.healpix.arrays import pair_of
from skyfill.healpix.jit import compiled, parallel
from skyfill.healpix.pixel import nest2ring
from skyfill.healpix.stokes import nside_of
from skyfill.prior.model import ARCMIN, LCDM, Prior, pixel_window

__all__ = ["WRONG_ORDER", "Band", "Plausibility", "UnlikelyPriorError", "judge", "wrong_order"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Groups of four pixels that a band needs.
_FEWEST = 40
#: Share of a coarse pixel that must be observed.
_SHARE = 0.8
#: Below this number of fine pixels all must be observed, since the noise of the mean depends on
#: their number.
_ALL_BELOW = 64
#: Factor from computed to true errors of a band; the computation knows the mask only roughly.
_INFLATION = 1.5
#: A variance is far off, and the prior refused, beyond this factor and the next number of errors.
_FAR = 2.0
#: Errors by which a variance must be off, too, to be far off.
_FAR_SIGMA = 6.0
#: A variance is worth a warning beyond this factor and the next number of errors.
_OFF = 1.25
#: Errors by which a variance must be off, too, to be worth a warning.
_OFF_SIGMA = 6.0
#: A fitted power is off beyond this factor: maps are calibrated to some per cent.
_POWER = 1.12
#: A fitted free part with a larger share of the signal's variance contradicts the spectrum: it is
#: then the map, and the spectrum nothing.
_MOST_FREE = 0.5
#: A smaller free part is worth a warning beyond this share.
_SOME_FREE = 0.12
#: Bands with a smaller share of the variance, observed and predicted, are ignored.
_MINOR = 0.02
#: An alternative explains a map whose bands all agree with it to within this factor.
_EXPLAINS = 1.7
#: From this Nside on, the shape of the pixels no longer matters.
_ALIKE = 64
#: Blocks of 1, 4, 16 and 64 pixels are summed over their pairs: finer ones change nothing.
_SIZES = 4
#: Number of blocks that represent those of the whole sky.
_BLOCKS = 200
#: Bins of the distance between two pixels of a block.
_DISTANCES = 400
#: The square of a unit in µK²; the last one is a fraction of the temperature of the CMB.
_UNITS = {"": 1.0, "in mK": 1e6, "in K": 1e12, "relative to 2.7255 K": (2.7255e6) ** 2}
#: A fitted beam wider than this leaves no structure of the sky.
_WIDEST = math.radians(30)
#: Below this l beams hardly matter.
_LARGE_SCALES = 30.0
#: Number of blocks of 4 x 4 pixels examined to distinguish RING from NESTED.
_SAMPLE = 1 << 14
#: The other order is right if the scatter in a block is smaller in it by this factor.
_SMOOTHER = 0.8
#: NESTED numbers taken for RING scatter in a block by more than this share of the map's variance.
_ROUGH = 0.5


class UnlikelyPriorError(ValueError):
    """The prior contradicts the observed sky."""


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
class Plausibility:
    """Result of the comparison of a map with a prior.

    Attributes
    ----------
    total
        The sum of all bands: the variance of the map on all measured scales.
    bands
        From coarse to fine.
    verdict
        ``good``, ``doubtful`` (a warning), ``refused``, or ``unknown`` if too little is observed.
    causes
        Possible causes of a disagreement, the likeliest first.
    """

    total: Band
    bands: tuple[Band, ...]
    verdict: str
    causes: tuple[str, ...]

    def __str__(self) -> str:
        """Describe the result in one sentence."""
        if self.verdict == "unknown":
            return "too little of the sky is observed to compare it with the prior"
        worst = max(self.bands, key=lambda band: abs(math.log(max(band.ratio, 1e-300))))
        text = (
            f"the observed sky has {_times(self.total.ratio)} the variance that the prior predicts"
            f", and {_times(worst.ratio)} at l = {worst.ell:.0f}"
        )
        return f"{text}: {'; or '.join(self.causes)}" if self.causes else text

    def as_dict(self) -> dict[str, object]:
        """Give the result in types that JSON has."""
        return {
            "verdict": self.verdict,
            "variance_ratio": _finite(self.total.ratio),
            "variance_error": _finite(self.total.error),
            "bands": [
                {
                    "ell": round(band.ell, 1),
                    "ratio": _finite(band.ratio),
                    "error": _finite(band.error),
                }
                for band in self.bands
            ],
            "causes": list(self.causes),
        }


def judge(
    values: ArrayLike,
    observed: ArrayLike,
    prior: Prior,
    *,
    noise_variance: Map | None = None,
) -> Plausibility:
    """Compare the observed part of a map with a prior.

    Parameters
    ----------
    values
        ``(npix,)``, µK, RING, without a dipole. Unobserved pixels are not read.
    observed
        ``(npix,)``, RING, True where observed.
    prior
        The prior, given or fitted.
    noise_variance
        ``(npix,)``, µK², replaces the white noise of the prior.

    Raises
    ------
    ValueError
        Map, mask and prior have different Nside, or are not a map, a mask and a prior.
    """
    values, observed = pair_of(values, observed, taker="prior.judge")
    nside = nside_of(values, "values")
    if prior.nside != nside:
        raise ValueError(f"the prior has Nside {prior.nside}, the map has Nside {nside}")
    measured = _measure(values, observed, nside)
    if not measured:
        nothing = Band(nside, 0.0, 0.0, 0.0, math.inf)
        return Plausibility(nothing, (), "unknown", ())
    noise = prior.noise_cl * values.size / (4 * math.pi)
    if noise_variance is not None:
        noise = float(np.mean(noise_variance[observed]))
    bands, total = _compare(measured, prior, noise)
    if wrong_order(values, observed):
        return Plausibility(total, tuple(bands), "refused", (WRONG_ORDER,))
    power = prior.calibration if "calibration" in prior.fitted else 1.0
    foreign = "extra_cl" in prior.fitted and prior.extra_share > _MOST_FREE
    blind = "fwhm" in prior.fitted and prior.fwhm > _WIDEST and not _noisy(prior, bands, noise)
    far = _any_off(bands, total, _FAR, _FAR_SIGMA) or not 1 / _FAR < power < _FAR
    if blind or foreign or far:
        return Plausibility(total, tuple(bands), "refused", _causes(measured, prior, noise))
    causes = tuple(_doubts(prior, bands, noise))
    if causes or _any_off(bands, total, _OFF, _OFF_SIGMA):
        return Plausibility(total, tuple(bands), "doubtful", causes)
    return Plausibility(total, tuple(bands), "good", ())


WRONG_ORDER = (
    "the numbers are smooth in the other pixel order, so the file's keyword ORDERING (RING or"
    " NESTED) is probably wrong: set it right"
)


@dataclass(frozen=True)
class _Scatter:
    """Measurement on one scale."""

    nside: int
    power: float
    parents: int


def _measure(values: Map, observed: Mask, nside: int) -> list[_Scatter]:
    """Measure the scatter of siblings at all resolutions, from coarse to fine."""
    if nside < 2:
        return []
    steps = int(math.log2(nside))
    power, parents = np.zeros(steps), np.zeros(steps, np.int64)
    for face in range(12):  # one base pixel at a time, to save memory
        count = (nside // 2) ** 2
        means, found, shares = np.empty(count), np.empty(count), np.empty(count)
        _finest(nside, face * count, values, observed, means, found, shares)
        for step in range(steps):
            if step:
                count //= 4
                least = 1.0 if 4**step < _ALL_BELOW else _SHARE
                finer = means, shares
                means, found, shares = np.empty(count), np.empty(count), np.empty(count)
                _coarser(*finer, least, means, found, shares)
            known = found >= 0
            power[step] += np.sum(found, where=known)
            parents[step] += np.count_nonzero(known)
    return [
        _Scatter(nside >> (step + 1), float(power[step] / parents[step]), int(parents[step]))
        for step in reversed(range(steps))
        if parents[step] >= _FEWEST
    ]


@compiled
def _siblings(a: float, b: float, c: float, d: float) -> float:
    """Give the mean square of four numbers about their mean."""
    mean = (a + b + c + d) / 4
    return ((a - mean) ** 2 + (b - mean) ** 2 + (c - mean) ** 2 + (d - mean) ** 2) / 4


@parallel
def _finest(
    nside: int,
    start: int,
    values: NDArray[np.floating],
    observed: Mask,
    means: Map,
    power: Map,
    shares: Map,
) -> None:
    """Average the observed of four sibling pixels; give their scatter, -1 unless all are."""
    for parent in prange(means.size):
        first = 4 * (start + parent)
        i, j = nest2ring(nside, first), nest2ring(nside, first + 1)
        k, m = nest2ring(nside, first + 2), nest2ring(nside, first + 3)
        a = values[i] if observed[i] else 0.0
        b = values[j] if observed[j] else 0.0
        c = values[k] if observed[k] else 0.0
        d = values[m] if observed[m] else 0.0
        count = int(observed[i]) + int(observed[j]) + int(observed[k]) + int(observed[m])
        means[parent] = (a + b + c + d) / max(count, 1)
        power[parent] = _siblings(a, b, c, d) if count == 4 else -1.0
        shares[parent] = count / 4


@parallel
def _coarser(
    means: Map, shares: Map, least: float, coarse: Map, power: Map, coarse_shares: Map
) -> None:
    """Average four means by observed share; give their scatter, -1 if a share is too small."""
    for parent in prange(coarse.size):
        i = 4 * parent
        total, seen, lowest = 0.0, 0.0, 1.0
        for child in range(i, i + 4):
            total += means[child] * shares[child]
            seen += shares[child]
            lowest = min(lowest, shares[child])
        coarse[parent] = total / max(seen, 1e-30)
        scatter = _siblings(means[i], means[i + 1], means[i + 2], means[i + 3])
        power[parent] = scatter if lowest >= least else -1.0
        coarse_shares[parent] = seen / 4


def _compare(measured: list[_Scatter], prior: Prior, noise: float) -> tuple[list[Band], Band]:
    """Compare measurements with the prior (noise in µK² a pixel); give bands and their sum."""
    ell = np.arange(prior.cl.size)
    modes = (2 * ell + 1) / (4 * math.pi) * prior.signal_cl(ell[-1])
    modes[:2] = 0.0
    finest = prior.nside
    variances = _block_variances(modes, finest, measured[0].nside)
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


def _block_variances(modes: Map, finest: int, coarsest: int) -> list[float]:
    """Give the signal's variance in blocks of 1, 4, 16 ... pixels, down to a coarse resolution.

    A block is the mean of up to 8 x 8 points, whose correlations are summed over all pairs. The
    points are the pixels of the block, or coarser pixels in a large block, with the signal smoothed
    accordingly.
    """
    fine = pixel_window(finest, modes.size - 1)
    variances: list[float] = []
    nside = finest
    while not variances or finest >> (len(variances) - 1) > coarsest:
        like = min(nside, _ALIKE)
        distances, shares = _separations(like)
        distances = distances * like / nside
        window = 1.0 if nside == finest else pixel_window(nside, modes.size - 1) / fine
        # Averaged over directions, the squared window of a square falls with the third power of l.
        tail = np.minimum(1.0, 4 * nside / np.maximum(np.arange(modes.size), 1))
        seen = modes if nside == finest else modes * window**2 * tail
        found = shares @ _correlation(seen, distances)
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


def _correlation(modes: Map, distances: Map) -> Map:
    """Sum modes times Legendre polynomials at angular distances."""
    total = np.empty_like(distances)
    _legendre(modes, np.cos(distances), total)
    return total


@parallel
def _legendre(modes: Map, x: Map, total: Map) -> None:
    for i in prange(x.size):
        before, now = 1.0, x[i]
        total[i] = modes[0] + modes[1] * now
        for ell in range(1, modes.size - 1):
            before, now = now, ((2 * ell + 1) * x[i] * now - ell * before) / (ell + 1)
            total[i] += modes[ell + 1] * now


def _any_off(bands: list[Band], total: Band, factor: float, sigma: float) -> bool:
    """Tell whether the total is off, or any band with a relevant share of the variance."""
    return total.off(factor, sigma) or any(
        band.off(factor, sigma)
        and (band.observed > _MINOR * total.observed or band.predicted > _MINOR * total.predicted)
        for band in bands
    )


def _noisy(prior: Prior, bands: list[Band], noise: float) -> bool:
    """Tell whether nearly all predicted variance is white noise."""
    white = noise * (1 - (bands[0].nside / prior.nside) ** 2)
    return white > (1 - _MINOR) * sum(band.predicted for band in bands)


def _doubts(prior: Prior, bands: list[Band], noise: float) -> Iterator[str]:
    """Describe what is suspicious in a fit that agrees with the map."""
    if "fwhm" in prior.fitted and _noisy(prior, bands, noise):
        yield f"the fit takes nearly all of the map for white noise, {1 - _MINOR:.0%} at least"
    if "calibration" in prior.fitted and not 1 / _POWER < prior.calibration < _POWER:
        yield (
            f"the map has {prior.calibration:.3g} times the power of the spectrum, where maps are"
            " calibrated to some per cent: another spectrum, or foregrounds that are not masked"
        )
    if "extra_cl" in prior.fitted and prior.extra_share > _SOME_FREE:
        yield (
            f"the spectrum leaves {prior.extra_share:.0%} of the variance to a free part that was"
            " fitted: coloured noise, or foregrounds that are not masked"
        )
    if prior.quality is not None and prior.quality.verdict == "bad":
        yield f"the fit to the observed spectrum is {prior.quality}"


def _causes(measured: list[_Scatter], prior: Prior, noise: float) -> tuple[str, ...]:
    """Name the mistakes that would explain the map, or else general causes."""
    bare = replace(prior, extra_cl=np.zeros(0))
    causes = [
        cause
        for cause, factor, other, white in _alternatives(bare, noise)
        if _explains(measured, factor, other, white)
    ]
    if causes:
        return tuple(causes)
    free = prior.extra_share if "extra_cl" in prior.fitted else 0.0
    *large, small = _compare(measured, prior, noise)[0]
    if small.ratio < 1 / _FAR and not any(band.off(_OFF, _OFF_SIGMA) for band in large):
        causes.append(
            f"the map has too little power about l = {small.ell:.0f} alone: a sky that was"
            " simulated to a smaller l than its pixels show needs its spectrum as `cl`, to that l"
        )
    unsaid = {"fwhm": prior.beam_fwhm, "noise_uk_arcmin": prior.noise_uk_arcmin}
    for name, value in unsaid.items():
        if prior.origin(name) == "assumed" and value == 0:
            causes.append(f"`{name}` was assumed to be 0, not fitted: give it")
    if "fwhm" in prior.fitted:
        causes.append(
            f"no fit of the spectrum {prior.theory} describes this map (the best has a beam of"
            f" {prior.fwhm / ARCMIN:.4g} arcmin, noise of {prior.noise_uk_arcmin:.4g} uK.arcmin and"
            f" {prior.calibration:.3g} times the power"
            + (f", and leaves {free:.1%} of the variance to a free part)" if free else ")")
        )
    if prior.theory == LCDM:
        causes.append(
            "the map may hold foregrounds that are not masked, or a field that is not the CMB: mask"
            " them, give the field's spectrum as `cl`, or have it fitted by `cl='map'`"
        )
    else:
        causes.append("the spectrum given as `cl` is of another field or another unit")
    return tuple(causes)


def _alternatives(prior: Prior, noise: float) -> Iterator[tuple[str, float, Prior, float]]:
    """List common mistakes: the cause, a factor of the map's variance, the prior and the noise."""
    ell = np.arange(prior.cl.size)
    to_dl = np.maximum(ell * (ell + 1), 1) / (2 * math.pi)
    if prior.origin("cl") in ("given", "header") and prior.theory != LCDM:
        kinds = {
            "": 1.0,
            "holds D_l = l (l + 1) C_l / 2 pi: pass `dl=True`": 1 / to_dl,
            "holds C_l, not D_l: drop `dl=True`": to_dl,
        }
        for kind, shape in kinds.items():
            for unit, square in _UNITS.items():
                if kind or unit:
                    words = " and ".join(filter(None, [kind, unit and f"is {unit}, squared"]))
                    cl = replace(prior, cl=prior.cl * shape * square)
                    yield f"the spectrum {words}", 1.0, cl, noise
    for unit, square in _UNITS.items():
        if unit:
            yield f"the map is {unit}, but taken for µK: correct its unit", square, prior, noise
    for power in (1e-6, 1e-12):
        yield "the map is in µK, but taken for a larger unit: correct its unit", power, prior, noise
    for cause, other in _other_beams(prior):
        yield cause, 1.0, other, noise
    if prior.origin("noise_uk_arcmin") == "given" and prior.noise_uk_arcmin:
        words = "`noise_uk_arcmin` is the noise of a square arcminute, not that of a pixel"
        yield words, 1.0, prior, prior.noise_uk_arcmin**2


def _other_beams(prior: Prior) -> Iterator[tuple[str, Prior]]:
    """List the other reading of a tabulated beam."""
    if prior.beam is None or prior.origin("fwhm") != "given":
        return
    window = prior.beam.window
    for kind, table in (
        ("holds B_l², not b_l: pass `squared=True`", np.sqrt(np.abs(window))),
        ("holds b_l, not B_l²: pass `squared=False`", window**2),
    ):
        yield f"the beam {kind}", replace(prior, beam=replace(prior.beam, window=table))


def _explains(measured: list[_Scatter], factor: float, prior: Prior, noise: float) -> bool:
    """Tell whether an alternative agrees with the map on every scale that counts.

    Beam and noise fitted to a wrong spectrum are wrong as well. Then only the large scales are
    compared, which beams do not affect.
    """
    fitted = "fwhm" in prior.fitted or "noise_uk_arcmin" in prior.fitted
    if fitted:
        prior, noise = (
            replace(prior, fwhm=0.0, beam=None, pixel_window=True, calibration=1.0),
            0.0,
        )
        large = [each for each in measured if 2.5 * each.nside < _LARGE_SCALES]
        measured = large or measured[:1]
    scaled = [replace(each, power=each.power * factor) for each in measured]
    bands, total = _compare(scaled, prior, noise)
    factor = _FAR if fitted else _EXPLAINS
    return total.predicted > 0 and not _any_off(bands, total, factor, 0.0)


def wrong_order(values: ArrayLike, observed: ArrayLike) -> bool:
    """Tell whether a map is smooth in the other pixel order but not in its own.

    Parameters
    ----------
    values
        ``(npix,)``, assumed to be in RING order. Unobserved pixels are not read.
    observed
        ``(npix,)``.
    """
    values, observed = pair_of(values, observed, taker="prior.wrong_order")
    nside = nside_of(values, "values")
    if nside < 8:
        return False
    blocks = 12 * (nside // 4) ** 2
    scatter, sums = np.zeros((3, 2)), np.zeros(2)
    _orders(nside, values, observed, max(1, blocks // _SAMPLE), scatter, sums)
    logs, count = scatter.T
    if count.min() < _FEWEST:
        return False
    own, nested, ring = np.exp(logs / count)
    # A Galactic plane is also smooth along RING order, but then most of the sky is not rough as
    # read.
    rough = own > _ROUGH * max(sums[1] / count[0] - (sums[0] / count[0]) ** 2, 0.0)
    return bool((rough and nested < _SMOOTHER * own) or ring < _SMOOTHER * own)


@compiled
def _orders(
    nside: int, values: NDArray[np.floating], observed: Mask, step: int, scatter: Map, sums: Map
) -> None:
    """Sum the logarithm of the scatter in blocks of 4 x 4 pixels: as read, and reordered.

    Row 0 is of the map as it was read; row 1 of NESTED numbers that were taken for RING; row 2 of
    RING numbers that were taken for NESTED. The sums are of means, and of squares, of row 0.
    """
    block = np.empty(16)
    for parent in range(0, 12 * (nside // 4) ** 2, step):
        for order in range(3):
            mean = 0.0
            whole = True
            for child in range(16):
                pixel = 16 * parent + child
                if order != 1:
                    pixel = nest2ring(nside, pixel)
                if order == 2:
                    pixel = nest2ring(nside, pixel)
                whole = whole and observed[pixel]
                block[child] = values[pixel] if observed[pixel] else 0.0
                mean += block[child] / 16
            if whole:
                power = 1e-300
                for child in range(16):
                    power += (block[child] - mean) ** 2 / 16
                if order == 0:
                    sums[0] += mean
                    sums[1] += mean**2 + power
                scatter[order, 0] += math.log(power)
                scatter[order, 1] += 1


def _times(ratio: float) -> str:
    return f"{ratio:.3g} times" if math.isfinite(ratio) else "infinitely many times"


def _finite(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None
