"""Hold the six spectra of filled skies against the theory: TE shows a fill that does not know it.

Skies of T, Q and U are synthesised by healpy to 8 Nside, with beam and pixel window, and have white
noise. Masks of T and P differ. For each spectrum and bin: the mean over skies less the theory, in
standard errors of the mean, asked to be within 3. The last line is JSON.

    python docs/scripts/polar_skies.py --skies 100
    python docs/scripts/polar_skies.py --skies 50 --nside 256 --method vae
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial

import healpy as hp
import numpy as np

import skyfill
from skyfill.inpaint import PolarizedInpainter
from skyfill.prior import ARCMIN, LCDM, PolarizedPrior, Prior, lcdm, pixel_window
from skyfill.spectra import compare_stokes

NAMES = ("TT", "EE", "BB", "TE")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nside", type=int, default=64)
    parser.add_argument("--skies", type=int, default=100)
    parser.add_argument("--noise-uk-arcmin", type=float, default=60)
    parser.add_argument("--noise-pol-uk-arcmin", type=float, default=5)
    parser.add_argument("--method", default="gaussian", choices=("gaussian", "vae"))
    parser.add_argument("--first", type=int, default=0, help="number of the first sky")
    parser.add_argument("--workers", type=int, default=1, help="skies at once, a thread each")
    args = parser.parse_args()
    nside, begun = args.nside, time.perf_counter()
    noise = args.noise_uk_arcmin
    t = Prior(nside, lcdm(), 160 * 64 / nside * ARCMIN, noise_uk_arcmin=noise, theory=LCDM)
    prior = PolarizedPrior.of(t, args.noise_pol_uk_arcmin)
    with ProcessPoolExecutor(args.workers) as pool:
        skies = pool.map(partial(filled, args, prior), range(args.first, args.first + args.skies))
        found = compare_stokes(skies, prior, threads=1)
    print(f"Nside {nside}, {args.skies} skies, {time.perf_counter() - begun:.0f} s")
    rows = {}
    for name, band in found.full.items():
        off = (band.cl - band.theory) / (band.scatter / args.skies**0.5)
        ratio = band.scatter / band.sigma
        rows[name] = {"off": off.round(2).tolist(), "scatter": ratio.round(3).tolist()}
        print(f"{name}: in standard errors {np.round(off, 1)}, scatter over error {ratio.round(2)}")
    worst = max(abs(x) for row in rows.values() for x in row["off"])
    print(json.dumps({"right": worst < 3, "worst": worst, "spectra": rows}))


def filled(args: argparse.Namespace, prior: PolarizedPrior, seed: int) -> np.ndarray:
    """Give a filled sky."""
    sky = synthesised(args.nside, prior, seed)
    filler = prepared(args.nside, args.method, prior).with_map(sky, seed=seed)
    for plane, hole, fill in zip(sky, filler.holes, filler.realization(), strict=True):
        plane[hole] = fill
    return sky


@cache
def prepared(nside: int, method: str, prior: PolarizedPrior) -> PolarizedInpainter:
    """Prepare what the skies of a process share."""
    masks = [
        skyfill.simulate_mask(nside, seed=number, half_width=width, n_holes=60)
        for number, width in ((1, 0.15), (2, 0.22))
    ]
    first = synthesised(nside, prior, 0)
    return PolarizedInpainter(
        first, masks[0], observed_pol=masks[1], method=method, prior=prior, threads=1
    )


def synthesised(nside: int, prior: PolarizedPrior, seed: int) -> np.ndarray:
    """Give T, Q and U, with noise, µK."""
    lmax = 8 * nside
    of_t = prior.temperature
    beams = hp.gauss_beam(of_t.fwhm, lmax, pol=True)[:, :2].T * pixel_window(nside, lmax)
    cl = [lcdm(lmax, name) for name in NAMES]
    np.random.seed(seed)  # noqa: NPY002 - healpy knows no other
    alm = hp.synalm(cl, lmax=lmax, new=True)
    alm = [hp.almxfl(one, beams[min(number, 1)]) for number, one in enumerate(alm)]
    sky = hp.alm2map(alm, nside, lmax=lmax)
    rms = np.array([of_t.noise_uk_arcmin, prior.noise_pol, prior.noise_pol]) * ARCMIN
    noise = np.random.default_rng(seed).standard_normal(sky.shape)
    return sky + noise * rms[:, None] / hp.nside2resol(nside)


if __name__ == "__main__":
    main()
