"""Mistakes that would explain why a prior does not describe the observed sky."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from skyfill.prior.model import ARCMIN, LCDM, Prior
from skyfill.prior.scatter import FAR, OFF, OFF_SIGMA, Scatter, any_off, compare

__all__ = ["likely_mistakes"]

#: An alternative explains a map whose bands all agree with it to within this factor.
_EXPLAINS = 1.7
#: The square of a unit in µK²; the last one is a fraction of the temperature of the CMB.
_UNITS = {"": 1.0, "in mK": 1e6, "in K": 1e12, "relative to 2.7255 K": (2.7255e6) ** 2}
#: Below this l beams hardly matter.
_LARGE_SCALES = 30.0


def likely_mistakes(measured: list[Scatter], prior: Prior, noise: float) -> tuple[str, ...]:
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
    *large, small = compare(measured, prior, noise)[0]
    if small.ratio < 1 / FAR and not any(band.off(OFF, OFF_SIGMA) for band in large):
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


def _explains(measured: list[Scatter], factor: float, prior: Prior, noise: float) -> bool:
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
    bands, total = compare(scaled, prior, noise)
    factor = FAR if fitted else _EXPLAINS
    return total.predicted > 0 and not any_off(bands, total, factor, 0.0)
