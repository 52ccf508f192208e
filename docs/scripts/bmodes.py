"""Measure the B modes that fills of Q and U add, or lack.

    python docs/scripts/bmodes.py [NSIDE [SKIES]]

The difference of BB between filled skies and the truth, in units of lensing BB, for 2.2 µK·arcmin,
a band of ±12° with 60 discs, and a sky and a prior with lensing BB and with none: means over the
skies, and their rms. The tolerance is judged by the exact realization with the same random numbers.
"""

from __future__ import annotations

import math
import sys
import time

import healpy as hp
import numpy as np

from skyfill import harmonics
from skyfill.diffuse import diffuse, diffuse_polarization
from skyfill.gaussian.jointsolver import JointSolver
from skyfill.prior import LCDM, PolarizedPrior, Prior, draw_polarization, lcdm


def band(nside: int, degrees: float, discs: int) -> np.ndarray:
    """Mask a ragged band and discs."""
    theta, phi = hp.pix2ang(nside, np.arange(12 * nside**2))
    seen = np.abs(90 - np.degrees(theta)) > degrees + degrees / 3 * np.sin(5 * phi)
    random = np.random.default_rng(0)
    for centre in random.integers(0, seen.size, discs):
        disc = hp.query_disc(nside, hp.pix2vec(nside, centre), 2.5 * hp.nside2resol(nside))
        seen[disc] = False
    return seen


def leak(nside: int = 64, skies: int = 1) -> None:
    """Print how far BB of filled skies is from that of the truth, in units of lensing BB."""
    seen = band(nside, 12, 60)
    last = 3 * nside // 2
    bins = [(2, 8), (9, 30), (31, 49), (50, 110), (111, 160), (161, 192)]
    bins = [(low, min(high, last)) for low, high in bins if low < last]
    fwhm = 80 * 128 / nside
    t_prior = Prior(nside, lcdm(), math.radians(fwhm / 60), 100.0, theory=LCDM)
    weights = harmonics.pixel_weights(nside)
    ell = np.arange(last + 1)
    lensing = (2 * ell + 1) * lcdm(last, "BB") * t_prior.transfer(last)

    def shares(sky: np.ndarray) -> np.ndarray:
        alm = harmonics.adjoint(np.vstack([0 * sky[:1], sky]) * weights, lmax=last)
        cl = (2 * ell + 1) * hp.alm2cl(alm[2] * 4 * np.pi / seen.size)
        return np.array([cl[a : b + 1].sum() / lensing[a : b + 1].sum() for a, b in bins])

    def drawn(prior: PolarizedPrior, seed: int) -> np.ndarray:
        sky, white = draw_polarization(prior, seed=seed, threads=1)
        return sky + white * math.sqrt(prior.white_cl[1] * seen.size / (4 * math.pi))

    print(f"Nside {nside}, {(~seen).mean():.1%} masked, beam {fwhm:.0f}', {skies} skies; l {bins}")
    for name, factor in (("lensing BB", 1.0), ("BB = 0", 0.0)):
        bb = factor * lcdm(None, "BB")
        prior = PolarizedPrior(t_prior, lcdm(None, "EE"), bb, lcdm(None, "TE"), 2.2)
        cl, noise = prior.signal_cl()[1:, 1:], prior.white_cl[1:]
        solver = JointSolver((seen,), signal_cl=cl, noise_cl=noise, weights=weights, threads=1)
        found: dict[str, list[np.ndarray]] = {}
        for seed in range(skies):
            sky, z = drawn(prior, 100 + seed), drawn(prior, 200 + seed)
            truth = shares(sky)

            def put(fill: np.ndarray, sky: np.ndarray = sky) -> np.ndarray:
                out = sky.copy()
                out[:, ~seen] = fill
                return shares(out)

            fills = {"zero": 0.0}
            fills["neighbour mean"] = np.array([diffuse(each, seen)[~seen] for each in sky])
            fills["transported neighbour mean"] = diffuse_polarization(sky, seen)
            begun = time.perf_counter()
            exact = solver.mean((sky - z,), tolerance=1e-4)
            middle = time.perf_counter()
            usual = solver.mean((sky - z,))
            spent = middle - begun, time.perf_counter() - middle
            fills["exact realization"] = z[:, ~seen] + exact.fills[0]
            for key, fill in fills.items():
                found.setdefault(key, []).append(put(fill) - truth)
            away = put(z[:, ~seen] + usual.fills[0]) - put(fills["exact realization"])
            found.setdefault("default tolerance - exact", []).append(away)
            for each, seconds in zip((exact, usual), spent, strict=True):
                print(f"    {seconds:.1f} s, {each.certificates['P']}", flush=True)
        for key, each in found.items():
            rms = np.sqrt(np.mean(np.square(each), axis=0))
            words = " ".join(f"{x:9.1e}" for x in np.mean(each, axis=0))
            print(f"{name}, {key}: {words}   rms {' '.join(f'{x:.1e}' for x in rms)}", flush=True)


if __name__ == "__main__":
    leak(*map(int, sys.argv[1:]))
