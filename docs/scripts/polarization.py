"""Measure the joint fill of T, Q and U.

    python docs/scripts/polarization.py [NSIDE ...] [leak NSIDE [SKIES]]

For each NSIDE seconds and iterations of T, of Q and U, and of all three, on a ragged band with
discs, for a beam of 2.9 pixels. With `leak` the difference of BB between filled skies and the
truth, in units of lensing BB, for 2.2 µK·arcmin, a band of ±12° with 60 discs, and a sky and a
prior with lensing BB and with none: means over the skies, and their rms. The tolerance is judged by
the exact realization with the same random numbers.
"""

from __future__ import annotations

import math
import sys
import time

import healpy as hp
import numpy as np

from skyfill import harmonics
from skyfill.diffuse import diffuse, diffuse_polarization
from skyfill.gaussian import Solver, freed
from skyfill.gaussian.jointsolver import JointSolver
from skyfill.prior import LCDM, PolarizedPrior, Prior, draw, draw_polarization, lcdm


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
    asked = sys.argv[1:] or ["64", "128", "leak", "64"]
    while asked:
        word = asked.pop(0)
        if word == "leak":
            leak(int(asked.pop(0)), skies=int(asked.pop(0)) if asked else 1)
        else:
            speed(int(word), 85.0 * 256 / int(word))
