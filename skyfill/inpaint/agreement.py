"""Refuse, or warn of, a prior that does not describe the observed sky."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from skyfill.inpaint.observed import ObservedMap
from skyfill.inpaint.options import FillOptions
from skyfill.inpaint.polarobserved import power_over_prior
from skyfill.prior import (
    WRONG_ORDER,
    Plausibility,
    PolarizedPrior,
    Prior,
    Quality,
    UnlikelyPriorError,
    assess_polarization,
    judge,
    wrong_order,
)
from skyfill.prior.dipole import Dipole
from skyfill.prior.plausibility import judged_sky

__all__ = ["describe_prior", "judged", "judged_pol", "judged_quality", "judged_t"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Frames from a warning to the line that made the `Inpainter`.
_CALLER = 4
#: The same for a `PolarizedInpainter`.
_CALLER_POL = 5
#: Standard errors by which the power of the observed Q and U may differ from the prior's.
_ERRORS = 5.0
#: Ratio of the two beyond which, besides, there is a warning.
_DOUBTFUL = 1.05
#: Ratio beyond which the prior is refused.
_REFUSED = 1.5


def judged(
    sky: ObservedMap,
    seen: Mask,
    prior: Prior | None,
    noise_variance: Map | None,
    options: FillOptions,
) -> Plausibility | None:
    """Compare the observed sky with the prior; raise or warn if they disagree.

    Parameters
    ----------
    sky
        The map.
    seen
        ``(npix,)``, RING, True where observed.
    prior
        The prior; None for a method without one: only the pixel order is then checked.
    noise_variance
        ``(npix,)``, µK², in place of the prior's white noise.
    options
        Which say whether the prior is trusted, and what becomes of monopole and dipole.

    Returns
    -------
    The comparison; None without a prior.

    Raises
    ------
    UnlikelyPriorError
        They disagree, or the map is in the other pixel order, and ``trust_prior`` is False.
    """
    if prior is None:
        if wrong_order(sky.values, seen):
            if not options.trust_prior:
                raise UnlikelyPriorError(
                    f"{WRONG_ORDER}. To fill it nevertheless, pass `trust_prior=True`"
                )
            warnings.warn(WRONG_ORDER, stacklevel=_CALLER)
        return None
    found = judged_sky(sky.bare(), seen, prior, noise_variance=noise_variance)
    if found.verdict == "refused" and not options.trust_prior:
        raise UnlikelyPriorError(
            f"the prior does not describe the observed sky: {found}. To fill it nevertheless,"
            " pass `trust_prior=True`"
        )
    if found.verdict in ("doubtful", "refused"):
        warnings.warn(f"the prior may not describe the observed sky: {found}", stacklevel=_CALLER)
    if options.removes_dipole:
        return found
    low = sky.dipole.contradiction(sky.values, prior, noise_variance=noise_variance)
    if low is not None:
        if not options.trust_prior:
            raise UnlikelyPriorError(
                f"{low}; pass `dipole='marginalise'`, or give C_0 and C_1 in `cl`. To fill it"
                " nevertheless, pass `trust_prior=True`"
            )
        warnings.warn(low, stacklevel=_CALLER)
    return found


def judged_pol(
    skies: Sequence[Map],
    seen: Mask,
    prior: PolarizedPrior,
    noise_variance: Map | None,
    *,
    trust_prior: bool,
) -> float:
    """Compare the power of the observed Q and U with the prior's; raise or warn if they disagree.

    Parameters
    ----------
    skies, seen, prior
        As for `power_over_prior`.
    noise_variance
        Its ``noise``.
    trust_prior
        Whether the prior is used, with a warning, if they disagree.

    Returns
    -------
    The observed power over the prior's.

    Raises
    ------
    UnlikelyPriorError
        They disagree by more than a half, and ``trust_prior`` is False.
    """
    ratio, error = power_over_prior(skies, seen, prior, noise_variance)
    away = max(ratio, 1 / ratio) if ratio > 0 else math.inf
    words = (
        f"the observed Q and U have {ratio:.3g} times the power of their prior (signal and"
        f" {prior.noise_pol:.3g} uK.arcmin of noise); give `noise_pol_uk_arcmin`"
    )
    if away > _REFUSED + _ERRORS * error and not trust_prior:
        raise UnlikelyPriorError(f"{words}, or pass `trust_prior=True`")
    if away > _DOUBTFUL + _ERRORS * error:
        warnings.warn(words, stacklevel=_CALLER_POL)
    return ratio


def judged_t(
    sky: Map,
    bare: Map,
    seen: Mask,
    prior: Prior,
    noise_variance: Map | None,
    *,
    dipole: Dipole | None,
    trust_prior: bool,
) -> Plausibility:
    """Compare the observed T of a map with Q and U with its prior; raise or warn if they disagree.

    Parameters
    ----------
    sky, bare
        ``(npix,)``, µK, RING: T, and T without its fitted monopole and dipole, 0 where missing.
    seen
        ``(npix,)``, RING, True where observed.
    prior
        Prior of T.
    noise_variance
        ``(npix,)``, µK², in place of the prior's white noise.
    dipole
        Its fit, to be compared with C_0 and C_1 of the prior; None if it is set aside.
    trust_prior
        Whether the prior is used, with a warning, if they disagree.

    Raises
    ------
    UnlikelyPriorError
        They disagree, and ``trust_prior`` is False.
    """
    found = judge(bare, seen, prior, noise_variance=noise_variance)
    words = f"the prior of T does not describe the observed sky: {found}"
    if found.verdict == "refused" and not trust_prior:
        raise UnlikelyPriorError(f"{words}. To fill it nevertheless, pass `trust_prior=True`")
    if found.verdict in ("doubtful", "refused"):
        warnings.warn(words, stacklevel=_CALLER_POL)
    if dipole is None:
        return found
    low = dipole.contradiction(sky, prior, noise_variance=noise_variance)
    if low is not None and not trust_prior:
        raise UnlikelyPriorError(f"{low}; pass `dipole='marginalise'`")
    if low is not None:
        warnings.warn(low, stacklevel=_CALLER_POL)
    return found


def judged_quality(
    skies: Sequence[Map], seen: Mask, prior: PolarizedPrior, *, threads: int
) -> dict[str, Quality]:
    """Compare EE and BB of the observed sky with the prior, by name; warn if it is far off.

    Parameters
    ----------
    skies, seen, prior
        As for `power_over_prior`.
    threads
        Number of threads.
    """
    found = dict(prior.quality_pol)
    if not found:
        _, found = assess_polarization(np.array(skies), seen, prior, threads=threads)
    for name, quality in found.items():
        if quality.verdict == "bad":
            warnings.warn(
                f"the prior of P does not describe {name} of the observed sky: {quality}",
                stacklevel=_CALLER_POL,
            )
    return found


def describe_prior(prior: Prior) -> str:
    """Describe a prior in one line, with the origin of each number."""
    beam, effective = (math.degrees(x) * 60 for x in (prior.beam_fwhm, prior.effective_fwhm))
    table = "" if prior.beam is None else f"{prior.beam.name}, like "
    origin = prior.origin("fwhm")
    within = f", {effective:.2f} with the pixel window" if prior.pixel_window else ""
    return (
        f"{prior.theory} ({prior.origin('cl')}), beam {table}{beam:.2f} arcmin ({origin}"
        f"{within}), noise {prior.noise_uk_arcmin:.1f} uK.arcmin"
        f" ({prior.origin('noise_uk_arcmin')}), power x {prior.calibration:.3f}"
        f" ({prior.origin('calibration')}), pixel window {'yes' if prior.pixel_window else 'no'}"
        f" ({prior.origin('pixel_window')})"
        + (f", free part {prior.extra_share:.2%} of the variance" if prior.extra_cl.size else "")
    )
