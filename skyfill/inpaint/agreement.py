"""Refuse, or warn of, a prior that does not describe the observed sky."""

from __future__ import annotations

import math
import warnings

import numpy as np
from numpy.typing import NDArray

from skyfill.inpaint.observed import ObservedMap
from skyfill.inpaint.options import FillOptions
from skyfill.prior import WRONG_ORDER, Plausibility, Prior, UnlikelyPriorError, judge, wrong_order

__all__ = ["describe_prior", "judged"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Frames from a warning to the line that made the `Inpainter`.
_CALLER = 4


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
    found = judge(sky.bare(), seen, prior, noise_variance=noise_variance)
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
