"""Compare an observed sky with the predictions of a prior, before anything is filled.

The scatter of the observed sky is compared with the predicted one on all scales
(`skyfill.prior.scatter`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.brief import brief
from skyfill.healpix.arrays import pair_of
from skyfill.healpix.stokes import nside_of
from skyfill.prior.mistakes import likely_mistakes
from skyfill.prior.model import Prior
from skyfill.prior.pixelorder import WRONG_ORDER, reordered
from skyfill.prior.scatter import FAR, MINOR, OFF, OFF_SIGMA, Band, any_off, compare, measure

__all__ = ["Plausibility", "UnlikelyPriorError", "judge", "judged_sky"]

Map = NDArray[np.float64]

#: Errors by which a variance must be off, besides `FAR`, to be far off.
_FAR_SIGMA = 6.0
#: A fitted power is off beyond this factor: maps are calibrated to some per cent.
_POWER = 1.12
#: A fitted free part with a larger share of the signal's variance contradicts the spectrum: it is
#: then the map, and the spectrum nothing.
_MOST_FREE = 0.5
#: A smaller free part is worth a warning beyond this share.
_SOME_FREE = 0.12
#: A fitted beam wider than this leaves no structure of the sky.
_WIDEST = math.radians(30)


class UnlikelyPriorError(ValueError):
    """The prior contradicts the observed sky."""


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

    __repr__ = brief

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
    return judged_sky(values, observed, prior, noise_variance=noise_variance)


def judged_sky(
    values: Map,
    observed: NDArray[np.bool_],
    prior: Prior,
    *,
    noise_variance: Map | None = None,
) -> Plausibility:
    """Do as `judge` for a map and a mask that are known to be such."""
    nside = nside_of(values, "values")
    if prior.nside != nside:
        raise ValueError(f"the prior has Nside {prior.nside}, the map has Nside {nside}")
    measured = measure(values, observed, nside)
    if not measured:
        nothing = Band(nside, 0.0, 0.0, 0.0, math.inf)
        return Plausibility(nothing, (), "unknown", ())
    noise = prior.noise_cl * values.size / (4 * math.pi)
    if noise_variance is not None:
        noise = float(np.mean(noise_variance[observed]))
    bands, total = compare(measured, prior, noise)
    if reordered(values, observed):
        return Plausibility(total, tuple(bands), "refused", (WRONG_ORDER,))
    power = prior.calibration if "calibration" in prior.fitted else 1.0
    foreign = "extra_cl" in prior.fitted and prior.extra_share > _MOST_FREE
    blind = "fwhm" in prior.fitted and prior.fwhm > _WIDEST and not _noisy(prior, bands, noise)
    far = any_off(bands, total, FAR, _FAR_SIGMA) or not 1 / FAR < power < FAR
    if blind or foreign or far:
        return Plausibility(total, tuple(bands), "refused", likely_mistakes(measured, prior, noise))
    causes = tuple(_doubts(prior, bands, noise))
    if causes or any_off(bands, total, OFF, OFF_SIGMA):
        return Plausibility(total, tuple(bands), "doubtful", causes)
    return Plausibility(total, tuple(bands), "good", ())


def _noisy(prior: Prior, bands: list[Band], noise: float) -> bool:
    """Tell whether nearly all predicted variance is white noise."""
    white = noise * (1 - (bands[0].nside / prior.nside) ** 2)
    return white > (1 - MINOR) * sum(band.predicted for band in bands)


def _doubts(prior: Prior, bands: list[Band], noise: float) -> Iterator[str]:
    """Describe what is suspicious in a fit that agrees with the map."""
    if "fwhm" in prior.fitted and _noisy(prior, bands, noise):
        yield f"the fit takes nearly all of the map for white noise, {1 - MINOR:.0%} at least"
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
    elif prior.quality is not None and prior.quality.uneven:
        yield (
            f"{prior.quality.unevenness()}: a beam or noise that varies (`noise_map='auto'`), or"
            " foregrounds that are not masked"
        )


def _times(ratio: float) -> str:
    return f"{ratio:.3g} times" if math.isfinite(ratio) else "infinitely many times"


def _finite(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None
