"""Draw the pictures of a fill of T, Q and U: maps of E and B, views of holes, six spectra."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill import harmonics
from skyfill.healpix.arrays import as_map, as_mask
from skyfill.healpix.stokes import nside_of
from skyfill.prior import PolarizedPrior
from skyfill.report.page import Plate
from skyfill.report.pictures import close_up, close_up_pol
from skyfill.report.plates import (
    DIFFERENCE,
    canvas,
    edge_of,
    edge_words,
    places,
    png_of,
    reach_apart,
    reach_of,
    whole_sky,
    zoom,
)
from skyfill.spectra import StokesComparison

__all__ = ["close_ups_pol", "eb_skies", "six_spectra"]

Map = NDArray[np.float64]

#: What the errors in the plots of spectra are.
_ERRORS = (
    "D_l of the sky: noise is subtracted, beam and pixel window are divided out. The filled sky's "
    "error bars are those of a whole sky that was observed; {holes}, so they are no errors of a "
    "measurement{bb}."
)
#: What the holes hold, by the kind of the fill.
_HOLES = {
    "realization": "its holes hold the prior's power",
    "mean": "a mean lacks power in its holes",
    "guess": "its holes have not the right power",
}
#: What the cut sky is.
_CUT = (
    " The cut sky has pseudo-C_l with the coupling by the masks corrected (MASTER): errors of this "
    "are errors of a measurement. Below l = 50 those of BB are the scatter of the E that the mask "
    "turns into B. {edge}"
)


def eb_skies(
    q: ArrayLike,
    u: ArrayLike,
    observed: ArrayLike,
    prior: PolarizedPrior | None,
    *,
    unit: str = "µK",
    threads: int = 0,
) -> list[Plate]:
    """Draw maps of E and B of a filled sky, with the borders of the holes.

    Parameters
    ----------
    q, u
        ``(npix,)`` each, RING, whole.
    observed
        ``(npix,)``, RING, False in the holes of Q and U.
    prior
        Prior of the fill, which says how much of E and B is signal; None if there is none.
    unit
        Unit of the maps.
    threads
        Number of threads; 0 for all cores.
    """
    seen = as_mask(observed, taker="report")
    both = harmonics.eb_maps(q, u, threads=threads)
    lmax = harmonics.quadrature_lmax(nside_of(seen, "observed"))
    plates = []
    for row, (name, values) in enumerate(zip("EB", both, strict=True), start=1):
        caption = f"E{_WHAT}" if name == "E" else f"B{_WHAT}"
        caption = caption.format(lmax=lmax)
        if prior is not None:
            share = _signal(prior, row, lmax)
            caption += f" Signal makes {share:.2g} of its variance, noise the rest."
        if name == "B":
            caption += " Inside the lines B is a draw from the prior; it is no measurement."
        reach = reach_of(values)
        plates.append(
            whole_sky(
                f"{name} of the filled sky",
                caption,
                values,
                unit,
                edge=seen,
                vmin=-reach,
                vmax=reach,
            )
        )
    return plates


#: What a map of E or B is.
_WHAT = (
    ": the scalar field of its harmonics, l = 2–{lmax}, by exact pixel weights, beam and pixel "
    "window as in Q and U. Black lines are the borders of the holes of Q and U."
)


def _signal(prior: PolarizedPrior, row: int, lmax: int) -> float:
    """Give the share of the signal in the variance of E (1) or B (2) from ell = 2 to lmax."""
    signal = prior.signal_cl(lmax)[row, row, 2 : lmax + 1]
    modes = 2 * np.arange(2, lmax + 1) + 1.0
    power = float(modes @ signal)
    return power / (power + float(modes.sum()) * prior.white_cl[1] or 1.0)


def close_ups_pol(
    observed: ArrayLike,
    before: Sequence[ArrayLike] | Map,
    filled: Sequence[ArrayLike] | Map,
    std: Sequence[ArrayLike] | None,
    *,
    truth: Sequence[ArrayLike] | Map | None = None,
    difference: Sequence[ArrayLike] | None = None,
    count: int = 4,
    unit: str = "µK",
) -> list[Plate]:
    """Draw Q and U at the deepest places, before and after, as `close_ups` does a single map.

    Q and U are turned into the axes of the middle of each picture, see `close_up_pol`. The
    uncertainty is the rms of those of Q and U, which is the same in all axes.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, False in the holes of Q and U.
    before, filled
        Q and U, ``(npix,)`` each, RING.
    std
        Standard deviations of Q and U, ``(npix,)`` each, zero where observed; None if unknown.
    truth
        The observed Q and U of holes that were held out, ``(npix,)`` each, RING; None for others.
    difference
        One realization of Q and U minus another, ``(npix,)`` each, RING, zero where observed; None
        if there are none.
    count
        Largest number of holes.
    unit
        Unit of the maps.
    """
    old, new, known, apart = (
        [as_map(sky, taker="report") for sky in skies]
        for skies in (before, filled, () if truth is None else truth, difference or ())
    )
    spread: Map | None = None
    if std is not None:
        squares = [np.square(as_map(each, "std", taker="report")) for each in std]
        spread = np.sqrt((squares[0] + squares[1]) / 2)
    reach = reach_of(np.array(old))
    scale = reach_apart(apart) if apart else None
    plates = []
    seen = as_mask(observed, taker="report")
    for place in places(seen, count):
        was, now = (
            close_up_pol(q, u, place.lon, place.lat, width=place.width) for q, u in (old, new)
        )
        rows: list[dict[str, Map]] = [
            {f"{name}, before": was[at], f"{name}, filled": now[at]} for at, name in enumerate("QU")
        ]
        if known:
            true = close_up_pol(known[0], known[1], place.lon, place.lat, width=place.width)
            for at, name in enumerate("QU"):
                rows[at][f"{name}, observed"] = true[at]
        if spread is not None:
            look = close_up(spread, place.lon, place.lat, width=place.width)
            for views, name in zip(rows, "QU", strict=True):
                views[f"{name}, uncertainty"] = look
        if apart:
            other = close_up_pol(apart[0], apart[1], place.lon, place.lat, width=place.width)
            for at, name in enumerate("QU"):
                rows[at][f"{name}, {DIFFERENCE}"] = other[at]
        more = _AXES if spread is None else _AXES + _SPREAD
        edge = edge_of(seen, place)
        plates.append(zoom(place, rows, reach, unit, more, edge=edge, apart=scale))
    return plates


#: What Q and U of a picture refer to.
_AXES = " Q and U are in the axes of the middle: each pixel is carried there along a great circle."
#: What the uncertainty of a picture is.
_SPREAD = " The uncertainty is the rms of those of Q and U."


def six_spectra(comparison: StokesComparison, *, kind: str = "realization") -> Plate:
    """Draw all spectra of T, E and B with the theory; the kinds of fills are those of `uses`."""
    rows = math.ceil(len(comparison.names) / 3)
    figure = canvas(11.0, 3.1 * rows + 0.3)
    comparison.draw(np.ravel(figure.subplots(rows, 3, sharex=True)).tolist())
    known = comparison.full["BB"].prior_share is not None
    bb = "; those of BB are divided by 1 - α" if known else ""
    errors = _ERRORS.format(holes=_HOLES[kind], bb=bb)
    return Plate(
        "Spectra of the filled sky" + (", and of the cut sky" if comparison.cut else ""),
        errors + (_CUT.format(edge=edge_words(comparison.settings)) if comparison.cut else ""),
        png_of(figure),
        wide=True,
    )
