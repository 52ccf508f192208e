"""Statistics of a whole filled sky: hemispherical asymmetry, and C_2 to C_5."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from skyfill import harmonics
from skyfill.brief import brief
from skyfill.fidelity.figures import Figure, judge
from skyfill.healpix import pixel_directions
from skyfill.healpix.arrays import as_map
from skyfill.healpix.stokes import nside_of

__all__ = [
    "MULTIPOLES",
    "LowMultipoles",
    "asymmetries",
    "asymmetry_scatter",
    "low_cl",
    "multipoles",
]

Map = NDArray[np.float64]
MULTIPOLES = (2, 3, 4, 5)
#: First multipole of the small scales: lower ones have too few modes for a precise figure.
_SMALL = 30
#: Multipoles of a hemisphere's window that are summed; the rest is below 1% of the scatter.
_WINDOW_LMAX = 63
_PIECE = 1 << 20


def asymmetries(values: ArrayLike, *, threads: int = 0) -> dict[str, Figure]:
    """Compare the power of opposite hemispheres, on large and on small scales.

    Parameters
    ----------
    values
        ``(npix,)``, µK, RING, a whole sky.
    threads
        Threads of the transforms.

    Returns
    -------
    ``asymmetry_ns_large``, ``asymmetry_ew_large`` (l = 2 to 29), ``..._small`` (30 to 2 nside, at
    Nside 32 and more): (north - south) / (north + south) of the mean squares, likewise east (of
    longitude 0 to 180°) and west. The error is `asymmetry_scatter` of the sky's own spectrum. There
    is no verdict: most of an asymmetry is that of the observed sky.

    Raises
    ------
    ValueError
        A value is missing.
    """
    values = as_map(values, taker="fidelity.asymmetries")
    nside = nside_of(values, "values")
    if not np.all(np.isfinite(values)):
        raise ValueError("the map is not filled: values are missing")
    lmax = 2 * nside
    alm = harmonics.analysis(values, lmax=lmax, iterations=1, threads=threads)
    cl = harmonics.cl_of(alm)
    bands = {"large": (2, min(_SMALL, lmax + 1)), "small": (_SMALL, lmax + 1)}
    figures: dict[str, Figure] = {}
    for band, (first, stop) in bands.items():
        if stop <= first:
            continue
        chosen = np.zeros(lmax + 1)
        chosen[first:stop] = 1
        part = harmonics.synthesis(harmonics.almxfl(alm, chosen), nside, threads=threads)
        error = asymmetry_scatter(cl * chosen)
        for axes, value in _halves(nside, part).items():
            name = f"asymmetry_{axes}_{band}"
            figures[name] = Figure(value, 0.0, error)
    return figures


def _halves(nside: int, values: Map) -> dict[str, float]:
    """Give (one - other) / (one + other) of the mean squares of north and south, east and west."""
    sums = np.zeros((2, 3))  # less, more, and the pixels on neither side
    for start in range(0, values.size, _PIECE):
        pixels = np.arange(start, min(start + _PIECE, values.size))
        directions = pixel_directions(nside, pixels)
        square = values[pixels] ** 2
        for row, axis in zip(sums, (2, 1), strict=True):
            side = np.sign(np.round(directions[:, axis], 12)).astype(int) + 1
            row += np.bincount(side, square, minlength=3)
    return {
        name: float((more - less) / (more + less))
        for name, (less, _, more) in zip(("ns", "ew"), sums, strict=True)
    }


def asymmetry_scatter(cl: Map) -> float:
    """Give the standard deviation of a hemispherical asymmetry of power on Gaussian skies.

    The square of a Gaussian field with correlation ξ has the correlation 2 ξ². Its projection on
    the sign of a hemisphere, h, has the variance Σ D_l h_l0² / (4π)², with D_l the spectrum of 2 ξ²
    and h_l0² = 4π (2l + 1) (∫₀¹ P_l)² at odd l.

    Parameters
    ----------
    cl
        ``(lmax + 1,)``, µK²: spectrum of the field whose power is compared.
    """
    angle = np.linspace(0, math.pi, 8 * cl.size + 1)
    cosine = np.cos(angle)
    weight = np.sin(angle) * (angle[1] - angle[0])
    correlation = harmonics.correlation(cl, cosine)
    square = weight * correlation**2
    variance = 0.0
    for ell in range(1, _WINDOW_LMAX + 1, 2):
        half = special.eval_legendre(ell - 1, 0.0) - special.eval_legendre(ell + 1, 0.0)
        half /= 2 * ell + 1
        spectrum = 4 * math.pi * float(square @ special.eval_legendre(ell, cosine))
        variance += spectrum * (2 * ell + 1) * half**2 / (4 * math.pi)
    return float(math.sqrt(max(variance, 0.0)) / correlation[0])


@dataclass(frozen=True, eq=False)
class LowMultipoles:
    """C_l of the largest scales, for each realization.

    Attributes
    ----------
    ell
        The multipoles.
    cl
        ``(realizations, len(ell))``, µK².
    truth
        ``(len(ell),)``, µK², of the true sky; None if it is not known everywhere.
    figures
        ``multipole_2`` and so on: the mean over realizations. The expected value is the truth's,
        the error is the scatter of realizations.
    """

    __repr__ = brief

    ell: tuple[int, ...]
    cl: Map
    truth: Map | None
    figures: dict[str, Figure] = field(repr=False)


def low_cl(values: Map, *, threads: int = 0) -> Map:
    """Give the C_l of `MULTIPOLES`, ``(4,)``, µK², of a whole sky."""
    alm = harmonics.analysis(values, lmax=2 * max(MULTIPOLES), iterations=3, threads=threads)
    return harmonics.cl_of(alm)[list(MULTIPOLES)]


def multipoles(cl: Map, truth: Map | None) -> LowMultipoles:
    """Compare the low multipoles of realizations, ``(n, 4)`` of `low_cl`, with the truth's."""
    n = len(cl)
    figures = {}
    for ell, each, at in zip(MULTIPOLES, cl.T, range(len(MULTIPOLES)), strict=True):
        error = float(each.std(ddof=1)) * math.sqrt(1 + 1 / n) if n > 1 else None
        expected = None if truth is None or not error else float(truth[at])
        figures[f"multipole_{ell}"] = judge(f"multipole_{ell}", float(each.mean()), expected, error)
    return LowMultipoles(MULTIPOLES, cl, truth, figures)
