"""Count how often the check of a prior doubts a right one, and time it.

Skies are synthesised by healpy to 8 Nside (or to the end of the theory, l = 6000), not by skyfill's
own draw; every other one up to Nside 128 is averaged over its pixels from four times as fine ones.
Beam, noise and mask are drawn at random.

    python docs/scripts/plausibility.py
    python docs/scripts/plausibility.py --fitted --largest 256
    python docs/scripts/plausibility.py --time 2048
"""

import argparse
import math
import time
from collections import Counter

import healpy as hp
import numpy as np

import skyfill
from skyfill.prior import ARCMIN, Given, Prior, judge, lcdm

LAST = 6000
SKIES = {32: 60, 64: 50, 128: 40, 256: 30, 512: 12, 1024: 8}


def sky_and_prior(nside: int, seed: int) -> tuple[np.ndarray, np.ndarray, Prior, str]:
    """Draw a sky, its mask and the prior that it was drawn from."""
    rng = np.random.default_rng(seed)
    averaged = nside <= 128 and seed % 2 == 1
    pixel = math.sqrt(4 * math.pi / (12 * nside**2))
    fwhm = float(rng.choice([0.0, 1.0, 2.0, 4.0, 8.0])) * pixel
    noise = float(rng.choice([0.0, 10.0, 100.0, 1000.0]))
    cl = lcdm(LAST)
    fine = 4 * nside if averaged else nside
    lmax = LAST if fwhm == 0 else min(8 * nside, LAST)
    np.random.seed(seed)  # noqa: NPY002 - healpy knows no other
    sky = hp.synfast(cl, fine, lmax=lmax, fwhm=fwhm)
    if averaged:
        sky = hp.ud_grade(sky, nside)
    sky += rng.normal(0, 1, sky.size) * noise * ARCMIN / pixel
    kind = rng.choice(["band", "holes", "both"])
    observed = skyfill.simulate_mask(
        nside, seed=seed, kind=kind, half_width=0.05 + 0.3 * rng.random()
    )
    prior = Prior(nside, cl, fwhm=fwhm, noise_uk_arcmin=noise, pixel_window=averaged)
    words = f"beam {fwhm / ARCMIN:.0f}', noise {noise:g}, {kind}, {'averaged' if averaged else ''}"
    return sky, observed, prior, words


def count(scale: float, largest: int, *, fitted: bool) -> None:
    """Judge skies of every resolution, by the right prior or by one that is fitted to them."""
    for nside, skies in SKIES.items():
        if nside > largest:
            break
        verdicts: Counter[str] = Counter()
        worst = 0.0
        for seed in range(max(1, round(skies * scale))):
            sky, observed, prior, words = sky_and_prior(nside, seed)
            if fitted:
                prior = Given().of_map(sky, observed)
            found = judge(sky - sky[observed].mean(), observed, prior)
            verdicts[found.verdict] += 1
            for band in found.bands:
                worst = max(worst, abs(band.ratio - 1) / band.error)
            if found.verdict != "good":
                print(nside, seed, words, found)
        print(f"Nside {nside}: {dict(verdicts)}, largest deviation {worst:.1f} errors", flush=True)


def clock(nside: int) -> None:
    """Time the check alone, twice: the first time compiles."""
    prior = Prior(nside, lcdm(), fwhm=5 * ARCMIN, noise_uk_arcmin=30.0)
    sky = skyfill.prior.draw(prior, seed=1)
    observed = skyfill.simulate_mask(nside, seed=1, half_width=0.2)
    for _ in range(3):
        begun = time.perf_counter()
        found = judge(sky, observed, prior)
        print(f"Nside {nside}: {found.verdict}, {time.perf_counter() - begun:.2f} s")


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--scale", type=float, default=1.0, help="of the number of skies")
parser.add_argument("--time", type=int, metavar="NSIDE")
parser.add_argument("--largest", type=int, default=1024, metavar="NSIDE")
parser.add_argument("--fitted", action="store_true", help="beam and noise are fitted to the skies")
args = parser.parse_args()
if args.time:
    clock(args.time)
else:
    count(args.scale, args.largest, fitted=args.fitted)
