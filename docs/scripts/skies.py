"""Skies for the measurements of these pages: synthesised by healpy, not by skyfill, to 8 Nside."""

from __future__ import annotations

import math

import healpy as hp
import numpy as np

from skyfill.prior import Prior, pixel_window

__all__ = ["synthesised"]

#: Largest multipole of a sky, whatever the Nside: beyond it no beam used here leaves power.
_MOST = 6000


def synthesised(prior: Prior, seed: int, extra: np.ndarray | None = None) -> np.ndarray:
    """Give a sky of a prior's spectrum, Gaussian beam, pixel window and white noise, µK.

    Parameters
    ----------
    prior
        The spectrum with all its multipoles, and the rest.
    seed
        Seed of the signal and of the noise.
    extra
        ``(any,)``, a further spectrum, with beam and window, µK².
    """
    np.random.seed(seed)  # noqa: NPY002 - healpy knows no other
    lmax = min(8 * prior.nside, prior.cl.size - 1, _MOST)
    window = hp.gauss_beam(prior.fwhm, lmax) * pixel_window(prior.nside, lmax)
    cl = prior.calibration * prior.cl[: lmax + 1] * window**2
    if extra is not None:
        cl[: extra.size] += extra
    signal = hp.synfast(cl, prior.nside, lmax=lmax)
    rms = math.sqrt(prior.noise_cl * signal.size / (4 * math.pi))
    return np.asarray(signal + np.random.default_rng(seed).normal(0, rms, signal.size))
