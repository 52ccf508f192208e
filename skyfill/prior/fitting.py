"""Fit beam, noise and calibration to the observed part of a map."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from skyfill import harmonics
from skyfill.healpix.arrays import pair_of
from skyfill.healpix.stokes import nside_of
from skyfill.prior.beam import Beam
from skyfill.prior.model import ARCMIN, LCDM, Prior, lcdm

__all__ = ["fit"]

#: Prior uncertainty of the calibration of the power (Planck's releases differ by 2%).
_CALIBRATION = 0.03
#: Further starting points of the descent: factors to the likely beam and noise.
_ELSEWHERE = ({"fwhm": 4.0}, {"fwhm": 10.0}, {"fwhm": 2.0, "noise_uk_arcmin": 0.05})
#: Misfit of impossible parameters: finite, because the optimiser takes differences.
_IMPOSSIBLE = 1e30


def fit(
    values: NDArray[np.float64],
    observed: NDArray[np.bool_],
    *,
    cl: ArrayLike | None = None,
    fwhm: float | None = None,
    noise_uk_arcmin: float | None = None,
    pixel_window: bool | None = None,
    beam: Beam | None = None,
    threads: int = 0,
) -> Prior:
    """Fit beam, noise and calibration to the observed part of a map.

    The pseudo-spectrum of the masked map is compared with the model's own pseudo-spectrum
    (`harmonics.coupling`, so any mask will do) by the likelihood of Γ-distributed bins (Hamimeche &
    Lewis 2008, eq. 8), between l = 2 and 2 nside (2500 at most).

    Parameters
    ----------
    values
        ``(npix,)``, µK, RING, without monopole and dipole. Unobserved pixels are not read; missing
        pixels (NaN) count as unobserved.
    observed
        ``(npix,)``, RING, True where observed.
    cl
        Spectrum of the sky, µK²; Planck-2018 ΛCDM if not given.
    fwhm, noise_uk_arcmin
        Fixed if given, fitted if None. If one of them is fitted, the calibration of the signal's
        power is fitted as well, within the few per cent to which maps are calibrated.
    pixel_window
        Whether to multiply the beam by the pixel window. If None, a given beam is multiplied, and
        for a fitted one both are tried and the better is kept, since not every map has a pixel
        window.
    beam
        A tabulated beam in place of the Gaussian; it is not fitted.
    threads
        Threads of the transforms.

    Returns
    -------
    The prior; ``fitted`` names the fitted numbers.

    Raises
    ------
    ValueError
        No pixel is observed.
    """
    values, observed = pair_of(values, observed, taker="prior.fit")
    nside = nside_of(values, "values")
    observed = observed & np.isfinite(values)
    known = Prior(  # which checks them
        nside,
        lcdm() if cl is None else np.asarray(cl, dtype=np.float64),
        fwhm=0.0 if fwhm is None else fwhm,
        noise_uk_arcmin=0.0 if noise_uk_arcmin is None else noise_uk_arcmin,
        beam=beam,
    )
    theory = known.cl
    if theory.size < 3 or not theory[2:].any():
        raise ValueError("C_l must have power at l = 2 and beyond, to fit anything")
    free = {"fwhm": fwhm is None and beam is None, "noise_uk_arcmin": noise_uk_arcmin is None}
    free["calibration"] = any(free.values())
    names = tuple(name for name, is_free in free.items() if is_free)
    either = free["fwhm"] and pixel_window is None
    assumed = {
        "cl": cl is None,
        "pixel_window": pixel_window is None and not either,
        "calibration": not names,
    }
    start = Prior(
        nside,
        theory,
        known.fwhm,
        known.noise_uk_arcmin,
        pixel_window is not False,
        theory=LCDM if cl is None else Prior.theory,
        fitted=(*names, "pixel_window") if either else names,
        assumed=tuple(name for name, is_assumed in assumed.items() if is_assumed),
        beam=known.beam,
    )
    if not observed.any():
        raise ValueError("no pixel is observed: there is nothing to fit a prior to")
    if not names:
        return start
    last = min(2 * nside, 2500, theory.size - 1)
    # The mask brings power from beyond into the fitted range.
    lmax = min(5 * last // 3, 3 * nside - 1, theory.size - 1)
    again = 3 if last > 1.5 * nside else 1  # beyond, equal pixel weights are inaccurate
    sky = observed.mean()
    pseudo = harmonics.cl_of(
        harmonics.analysis(values, lmax=lmax, iterations=again, observed=observed, threads=threads)
    )
    # The power of the mask is on large scales, where plain sums are accurate enough.
    mask_cl = harmonics.cl_of(harmonics.analysis(observed, lmax=lmax, threads=threads))
    edges = np.unique(np.geomspace(2, last + 1, 60).astype(np.int64))
    modes = 2.0 * np.arange(last + 1) + 1
    count = np.add.reduceat(modes, edges[:-1])
    data = np.add.reduceat(modes * pseudo[: last + 1], edges[:-1]) / count
    response = harmonics.coupling(mask_cl, edges, lmax=lmax)
    pixel = math.sqrt(4 * math.pi / values.size)

    def model(parameters: NDArray[np.float64], *, window: bool) -> Prior:
        found = dict(zip(names, np.exp(parameters), strict=True))
        return replace(start, pixel_window=window, **found)

    def misfit(parameters: NDArray[np.float64], window: bool) -> float:
        found = dict(zip(names, parameters, strict=True))
        if np.any(parameters < -30) or np.any(parameters > 12):
            return _IMPOSSIBLE
        if found.get("fwhm", 0.0) > math.log(math.pi):
            return _IMPOSSIBLE
        prior = model(parameters, window=window)
        ratio = data / (response @ prior.total_cl(lmax))
        known = 0.5 * (math.log(prior.calibration) / _CALIBRATION) ** 2
        return known + float(np.sum(0.5 * sky * count * (ratio - 1 - np.log(ratio))))

    # The power of the last bin limits the noise; the pixel size suggests the beam.
    ceiling = math.sqrt(data[-1] / sky) / ARCMIN
    guesses = {
        "fwhm": math.log(2 * pixel),
        "noise_uk_arcmin": math.log(0.3 * ceiling),
        "calibration": 0.0,
    }
    steps = {"fwhm": -0.5, "noise_uk_arcmin": -1.0, "calibration": 0.1}
    windows = (True, False) if either else (start.pixel_window,)

    def descend(**factors: float) -> tuple[float, NDArray[np.float64], bool]:
        """Find the best parameters and window, starting from the guesses times factors."""
        first = np.array([guesses[n] + math.log(factors.get(n, 1.0)) for n in names])
        simplex = np.vstack([first, first + np.diag([steps[n] for n in names])])
        options = {"xatol": 1e-3, "fatol": 1e-2, "initial_simplex": simplex}
        fits = [
            (optimize.minimize(misfit, first, (window,), "Nelder-Mead", options=options), window)
            for window in windows
        ]
        return min(((float(fit.fun), fit.x, window) for fit, window in fits), key=lambda f: f[0])

    best = descend()
    if best[0] > data.size:  # a good fit reaches half of this; a descent may end in a local minimum
        others = [descend(**factors) for factors in _ELSEWHERE]
        best = min([best, *others], key=lambda found: found[0])
    return model(best[1], window=best[2])
