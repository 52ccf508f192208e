"""Measure the joint fill of T, Q and U.

    python docs/scripts/polarization.py [NSIDE ...]

First, seconds and iterations of T, of Q and U, and of all three, on a ragged band with discs, for a
beam of 2.9 pixels. Then, at Nside 64, the B modes that fills of a sky of E modes alone (BB = 0, no
noise, a prior with BB = 0 and 2.2 µK·arcmin) have, in units of lensing BB.
"""

from __future__ import annotations

import math
import sys
import time

import healpy as hp
import numpy as np

from skyfill import harmonics
from skyfill.gaussian import Solver, freed
from skyfill.gaussian.jointsolver import JointSolver
from skyfill.prior import LCDM, PolarizedPrior, Prior, draw, draw_polarization, lcdm

BINS = (2, 8), (9, 30), (31, 49), (50, 96)


def band(nside: int, degrees: float, discs: int) -> np.ndarray:
    """Mask a ragged band and discs."""
    theta, phi = hp.pix2ang(nside, np.arange(12 * nside**2))
    seen = np.abs(90 - np.degrees(theta)) > degrees + degrees / 3 * np.sin(5 * phi)
    random = np.random.default_rng(0)
    for centre in random.integers(0, seen.size, discs):
        disc = hp.query_disc(nside, hp.pix2vec(nside, centre), 2.5 * hp.nside2resol(nside))
        seen[disc] = False
    return seen


def speed(nside: int, noise_pol: float) -> None:
    """Print seconds and iterations."""
    t_prior = Prior(
        nside,
        lcdm(),
        fwhm=2.9 * hp.nside2resol(nside),
        noise_uk_arcmin=noise_pol / math.sqrt(2),
        theory=LCDM,
    )
    prior = PolarizedPrior.of(t_prior)
    npix = 12 * nside**2
    t = draw(t_prior, seed=1, aliased=True)
    p, white = draw_polarization(prior, seed=1)
    p += white * math.sqrt(prior.white_cl[1] * npix / (4 * math.pi))
    seen_t, seen_p = band(nside, 6, 30), band(nside, 10, 60)
    cl = prior.signal_cl()
    cl[0, 0] = freed(cl[0, 0])
    for again in ("compiling", "measured"):
        begun = time.perf_counter()
        alone = Solver.for_prior(seen_t, t_prior, threads=1).mean(t).certificate
        first = time.perf_counter() - begun
        print(f"Nside {nside}, {again}: T {first:.1f} s, {alone}")
        for name, seen, spectra, noise, sky in (
            ("P", (seen_p,), cl[1:, 1:], prior.white_cl[1:], (p,)),
            ("TQU", (seen_t, seen_p), cl, prior.white_cl, (t, p)),
        ):
            begun = time.perf_counter()
            found = JointSolver(seen, signal_cl=spectra, noise_cl=noise, threads=1).mean(sky)
            spent = time.perf_counter() - begun
            each = "; ".join(f"{x} {c}" for x, c in found.certificates.items())
            print(f"    {name} {spent:.1f} s ({spent / first:.1f} T): {each}")


def leak(nside: int = 64) -> None:
    """Print the B modes of fills of a sky of E modes alone."""
    t_prior = Prior(nside, lcdm(), math.radians(160 / 60), 100.0, theory=LCDM)
    nothing = np.zeros(3)
    prior = PolarizedPrior(t_prior, lcdm(None, "EE"), nothing, lcdm(None, "TE"), 2.2)
    sky, _ = draw_polarization(prior, seed=3)
    seen = band(nside, 12, 30)
    weights = harmonics.pixel_weights(nside)
    ell = np.arange(BINS[-1][1] + 1)
    lensing = (2 * ell + 1) * lcdm(ell[-1], "BB") * t_prior.transfer(ell[-1])
    solver = JointSolver(
        (seen,), signal_cl=prior.signal_cl()[1:, 1:], noise_cl=prior.white_cl[1:], threads=1
    )
    zero, mean = sky * seen, sky.copy()
    mean[:, ~seen] = solver.mean((sky,)).fills[0]
    for name, filled in (("truth", sky), ("zero", zero), ("mean", mean)):
        alm = harmonics.adjoint(np.vstack([0 * filled[:1], filled]) * weights, lmax=ell[-1])
        cl = (2 * ell + 1) * hp.alm2cl(alm[2] * 4 * np.pi / seen.size)
        shares = (cl[a : b + 1].sum() / lensing[a : b + 1].sum() for a, b in BINS)
        print(f"{name:6} BB over lensing BB at l {BINS}:", *(f"{share:.1e}" for share in shares))


if __name__ == "__main__":
    for each in map(int, sys.argv[1:] or ["64", "128"]):
        speed(each, 85.0 * 256 / each)
    leak()
