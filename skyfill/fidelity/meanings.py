"""What each figure is, for readers: its unit and a few words."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from skyfill.brief import brief
from skyfill.fidelity.figures import Figure

__all__ = ["Meaning", "meaning", "readable"]


@dataclass(frozen=True)
class Meaning:
    """What a figure is.

    Attributes
    ----------
    words
        A few words.
    unit
        Its unit; empty for a pure number.
    """

    __repr__ = brief

    words: str
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.words}, {self.unit}" if self.unit else self.words


_UK = "µK"
_MEANINGS = {
    "rms_uk": Meaning("rms error of the mean of the fills", _UK),
    "expected_rms_uk": Meaning("rms error that the scatter of the fills predicts", _UK),
    "rms_over_expected": Meaning("rms error over the predicted one"),
    "z_mean": Meaning("mean of the z-scores: (truth - mean) / scatter of the fills"),
    "z_width": Meaning("width of the z-scores: above 1, the error bars are too small"),
    "coverage_68": Meaning("share of pixels with the truth within the 68% interval"),
    "coverage_95": Meaning("share of pixels with the truth within the 95% interval"),
    "hole_power": Meaning("variance in the holes over that of the truth there"),
    "mse_over_optimum": Meaning("mean squared error over that of the exact mean"),
    "excess_over_optimum": Meaning("squared distance from the exact mean over its squared error"),
    "optimum_distance_uk": Meaning("rms distance from the exact mean", _UK),
    "seam_step": Meaning("squared steps across the edges of holes, over those elsewhere"),
    "seam_slope": Meaning("squared kinks across the edges of holes, over those elsewhere"),
    "border_step": Meaning("squared steps across borders of tiles in holes, over those elsewhere"),
    "border_slope": Meaning("squared kinks across borders of tiles in holes, over those elsewhere"),
    "exact_rms_uk": Meaning("distance from the exact fill, rms", _UK),
    "exact_99_uk": Meaning("distance from the exact fill, 99th percentile", _UK),
    "exact_999_uk": Meaning("distance from the exact fill, 99.9th percentile", _UK),
    "exact_worst_uk": Meaning("distance from the exact fill, worst pixel", _UK),
    "exact_border_step": Meaning(
        "squared steps of that distance across borders of tiles, over those elsewhere"
    ),
    "onepoint_ks": Meaning(
        "distribution in the holes against outside: Kolmogorov-Smirnov distance"
    ),
    "onepoint_variance": Meaning("variance in the holes over that outside"),
    "onepoint_skewness": Meaning("skewness in the holes minus that outside"),
    "onepoint_kurtosis": Meaning("kurtosis in the holes minus that outside"),
    "asymmetry_ns_large": Meaning("power, (north - south) / (north + south), l = 2-29"),
    "asymmetry_ew_large": Meaning("power, (east - west) / (east + west), l = 2-29"),
    "asymmetry_ns_small": Meaning("power, (north - south) / (north + south), l from 30"),
    "asymmetry_ew_small": Meaning("power, (east - west) / (east + west), l from 30"),
}


def meaning(name: str) -> Meaning:
    """Say what a figure is; one without words of its own is called by its name.

    Parameters
    ----------
    name
        Its name, as in `SkyScores.figures`.

    Examples
    --------
    >>> import skyfill
    >>> str(skyfill.fidelity.meaning("exact_99_uk"))
    'distance from the exact fill, 99th percentile, µK'

    """
    ell = _multipole(name)
    if ell is not None:
        return Meaning(f"D_{ell} of the filled sky, mean of the fills", f"{_UK}²")
    return _MEANINGS.get(name, Meaning(name))


def readable(name: str, figure: Figure) -> Figure:
    """Give a figure as people read it: C_l of a multipole as D_l = l (l + 1) C_l / 2π.

    Parameters
    ----------
    name, figure
        A figure with its name, as in `SkyScores.figures`.
    """
    ell = _multipole(name)
    if ell is None:
        return figure
    factor = ell * (ell + 1) / (2 * math.pi)
    return replace(
        figure,
        value=factor * figure.value,
        expected=None if figure.expected is None else factor * figure.expected,
        error=None if figure.error is None else factor * figure.error,
    )


def _multipole(name: str) -> int | None:
    """Give the ell of ``multipole_...``; None for other figures."""
    family, _, ell = name.partition("_")
    return int(ell) if family == "multipole" and ell.isdigit() else None
