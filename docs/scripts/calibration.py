"""Fill many skies many times by `--method vae`, and ask if truth and realizations have one law.

For every sky the truth is ranked, pixel by pixel, among its realizations; z is its distance to the
posterior mean in units of the realizations' spread about their means (of all skies together, since
the spread does not depend on the data). The ratio of C_l is that of the first realization to the
truth, by healpy's anafast.

    python docs/scripts/calibration.py --skies 50 --realizations 20
    python docs/scripts/calibration.py --skies 100 --realizations 1
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import pairwise

import healpy as hp
import numpy as np

from skyfill import Inpainter
from skyfill.prior import ARCMIN, Prior, draw, lcdm
from skyfill.simulate import simulate_mask

EDGES = (2, 5, 10, 20, 40, 80, 120, 160, 200, 250, 300, 350, 400, 450, 513)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nside", type=int, default=256)
    parser.add_argument("--beam-arcmin", type=float, default=40)
    parser.add_argument("--noise-uk-arcmin", type=float, default=90)
    parser.add_argument("--skies", type=int, default=50)
    parser.add_argument("--realizations", type=int, default=20)
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    prior = Prior(
        args.nside, lcdm(), fwhm=args.beam_arcmin * ARCMIN, noise_uk_arcmin=args.noise_uk_arcmin
    )
    observed = simulate_mask(args.nside, kind="both", seed=11, n_holes=250)
    holes = ~observed
    n = args.realizations
    ranks = np.zeros(n + 1)
    spread = np.zeros(np.count_nonzero(holes))
    errors: list[np.ndarray] = []
    ratios: list[list[float]] = []
    begun = time.perf_counter()
    for sky in range(args.skies):
        truth = draw(prior, seed=1000, index=sky, aliased=True)
        masked = np.where(observed, truth, np.nan)
        fill = Inpainter(masked, observed, prior=prior, seed=2000 + sky, threads=args.threads)
        drawn = np.array([fill.realization(index) for index in range(n)])
        if n > 1:
            below = np.count_nonzero(drawn < truth[holes], axis=0)
            ranks += np.bincount(below, minlength=n + 1)
            spread += drawn.var(axis=0, ddof=1)
            errors.append(truth[holes] - fill.mean())
        filled = np.where(holes, 0.0, truth)
        filled[holes] = drawn[0]
        power = [hp.anafast(m, lmax=EDGES[-1] - 1, pol=False) for m in (filled, truth)]
        ratios.append([np.divide(*(bins(p, a, b) for p in power)) for a, b in pairwise(EDGES)])
        if (sky + 1) % 10 == 0 or sky + 1 == args.skies:
            print(f"{sky + 1} skies, {time.perf_counter() - begun:.0f} s")
            report(ratios, ranks, errors, spread / (sky + 1))


def report(
    ratios: list[list[float]], ranks: np.ndarray, errors: list[np.ndarray], variance: np.ndarray
) -> None:
    """Print what is known so far."""
    ratio = np.mean(ratios, axis=0)
    error = np.std(ratios, axis=0, ddof=1) / len(ratios) ** 0.5
    for (low, high), r, e in zip(pairwise(EDGES), ratio, error, strict=True):
        print(f"l {low:3d}-{high - 1:3d}: {r:.4f} +- {e:.4f}, {(r - 1) / e:+.1f}")
    if errors:
        z = np.array(errors) / np.sqrt(variance)
        width, inside = np.sqrt(np.mean(z**2, axis=1)), np.mean(np.abs(z) < 1, axis=1)
        found = {
            "ranks": np.round(ranks / ranks.mean(), 3).tolist(),
            "z_width": [float(np.sqrt(np.mean(z**2))), scatter(width)],
            "inside_one_sigma": [float(inside.mean()), scatter(inside)],
        }
        print(json.dumps(found), flush=True)


def bins(cl: np.ndarray, low: int, high: int) -> float:
    """Average C_l over its modes."""
    weight = 2.0 * np.arange(low, high) + 1
    return float(weight @ cl[low:high] / weight.sum())


def scatter(values: np.ndarray) -> float:
    """Give the standard error of a mean over skies."""
    return float(values.std(ddof=1) / np.sqrt(values.size))


if __name__ == "__main__":
    main()
