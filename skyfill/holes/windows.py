"""Apodise a mask, so that it couples only neighbouring multipoles."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.holes import distance_to_edge
from skyfill.holes.weights import mask_or_weights

__all__ = ["apodization_width", "apodized", "rising", "window_of"]

#: Widths of apodisation to choose from, degrees: beyond the first, a band at the Galaxy loses sky
#: and gains little.
_WIDTHS = (4.0, 3.0, 2.0, 1.5, 1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.1)
#: Least part of the observed sky's weight that an apodisation leaves. Of a Planck-like mask with
#: holes at sources, 2 degrees leave 0.57, and errors grow by half.
_LEAST = 0.9
#: Least width in units of the side of a pixel: below, nearly all weights are one.
_NARROWEST = 1.5


def apodization_width(observed: NDArray[np.bool_]) -> float:
    """Give the width of an apodisation that suits a mask.

    A soft edge couples fewer multipoles, and a narrow one loses less sky. This is the widest of 4,
    3, 2, 1.5, 1, ... 0.1 degrees that leaves nine tenths of the weight of the observed pixels, and
    is at least one and a half pixels wide.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, True where observed.

    Returns
    -------
        Radians; 0 if no such width is left: holes are too close to each other.

    Raises
    ------
    ValueError
        Nothing is observed.

    Examples
    --------
    >>> import numpy as np, skyfill
    >>> band = skyfill.simulate_mask(64, kind="band", seed=1)
    >>> float(np.degrees(skyfill.spectra.apodization_width(band)).round(1))
    4.0

    """
    seen = np.asarray(observed, np.bool_)
    if not np.any(seen):
        raise ValueError("the mask leaves no pixel observed")
    if np.all(seen):
        return 0.0
    distance = distance_to_edge(seen, of_observed=True)[seen]
    narrowest = _NARROWEST * np.sqrt(4 * np.pi / seen.size)
    for width in np.radians(_WIDTHS):
        if width >= narrowest and float(np.mean(rising(distance, width))) >= _LEAST:
            return float(width)
    return 0.0


def window_of(
    observed: ArrayLike, width: float = 0.0, kind: Literal["C1", "C2"] = "C2"
) -> tuple[NDArray[np.float64], bool]:
    """Give the weights of pixels from a mask or from weights, with a maximum of 1.

    Parameters
    ----------
    observed
        ``(npix,)``, RING: True or 1 where observed, which is then `apodized`; or weights of 0 or
        more, which are used unchanged, except for a common factor.
    width, kind
        Width and kind of the apodisation of a mask of 0 and 1.

    Returns
    -------
    weights
        ``(npix,)``, RING, from 0 to 1.
    given
        Whether weights were given.

    Raises
    ------
    ValueError
        As for `apodized`; or weights are negative or would be apodised a second time.

    """
    mask = mask_or_weights(observed, taker="spectra.compare")
    if mask.dtype == np.bool_:
        return apodized(np.asarray(mask, np.bool_), width, kind), False
    if width != 0:
        raise ValueError(
            "`observed` holds weights between 0 and 1, so it is apodised already; leave `apodize`"
            " out, or give a mask of 0 and 1"
        )
    return np.asarray(mask / mask.max(), np.float64), True


def apodized(
    observed: NDArray[np.bool_], width: float = 0.0, kind: Literal["C1", "C2"] = "C2"
) -> NDArray[np.float64]:
    """Apodise a mask over a width at its edges (Grain, Tristram & Stompor 2009).

    With x² = (1 - cos θ) / (1 - cos width), θ the distance to the nearest hole, the mask rises from
    0 as x - sin(2πx) / 2π (C1) or (1 - cos πx) / 2 (C2).

    Parameters
    ----------
    observed
        ``(npix,)``, RING, True where observed.
    width
        Radians; 0 leaves the mask unchanged.
    kind
        C1 or C2: which derivatives are continuous.

    Returns
    -------
        ``(npix,)``, RING, from 0 (masked) to 1.

    Raises
    ------
    ValueError
        The width is not from 0 to below π, the kind is unknown, or nothing is observed.

    """
    if not 0 <= width < np.pi:
        raise ValueError(f"the width of the apodisation must be from 0 to below 180°, got {width}")
    if kind not in ("C1", "C2"):
        raise ValueError(f"the kind of apodisation must be C1 or C2, got {kind!r}")
    if not np.any(observed):
        raise ValueError(
            "the mask leaves no pixel observed; if its 1 means masked, read it with `invert=True`"
        )
    window = np.asarray(observed, dtype=np.float64)
    if width == 0 or np.all(observed):
        return window
    return window * rising(distance_to_edge(observed, of_observed=True), width, kind)


def rising(
    distance: NDArray[np.float64], width: float, kind: Literal["C1", "C2"] = "C2"
) -> NDArray[np.float64]:
    """Give the weight at a distance from the nearest hole, radians; see `apodized`."""
    x = np.minimum(np.sin(np.minimum(distance, np.pi) / 2) / np.sin(width / 2), 1.0)
    if kind == "C1":
        return np.asarray(x - np.sin(2 * np.pi * x) / (2 * np.pi))
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * x))
