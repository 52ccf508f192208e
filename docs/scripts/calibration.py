"""Fill many skies many times by `--method vae`, and ask if truth and realizations have one law.

For every sky the truth is ranked, pixel by pixel, among its realizations; z is its distance to the
posterior mean in units of the realizations' spread about their means (of all skies together, since
the spread does not depend on the data). The ratio of C_l is that of the first realization to the
truth, by healpy's anafast.

    python docs/scripts/calibration.py
    python docs/scripts/calibration.py --method gaussian
    python docs/scripts/calibration.py --ranked 0 --dipole fit
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any

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
    parser.add_argument("--skies", type=int, default=100)
    parser.add_argument("--realizations", type=int, default=20)
    parser.add_argument("--ranked", type=int, default=50, help="skies with more than one of them")
    parser.add_argument("--method", default="vae")
    parser.add_argument("--dipole", default="marginalise")
    parser.add_argument("--workers", type=int, default=2, help="skies at once, a thread each")
    args = parser.parse_args()
    ranks, spread = np.zeros(args.realizations + 1), np.zeros(1)
    errors, ratios = [], []
    begun = time.perf_counter()
    with ProcessPoolExecutor(args.workers) as pool:
        for sky, found in enumerate(pool.map(partial(fill_sky, args), range(args.skies)), 1):
            ratios.append(found[0])
            if len(found) > 1:
                ranks += found[1]
                spread = spread + found[2]
                errors.append(found[3])
            if sky % 10 == 0 or sky == args.skies:
                print(f"{sky} skies, {time.perf_counter() - begun:.0f} s")
                report(ratios, ranks, errors, spread / max(len(errors), 1))


def fill_sky(args: argparse.Namespace, sky: int) -> tuple[Any, ...]:
    """Give ratios of C_l, and of a ranked sky ranks, variances and errors of the mean."""
    prior = Prior(
        args.nside, lcdm(), fwhm=args.beam_arcmin * ARCMIN, noise_uk_arcmin=args.noise_uk_arcmin
    )
    observed = simulate_mask(args.nside, kind="both", seed=11, n_holes=250)
    holes = ~observed
    truth = draw(prior, seed=1000, index=sky, aliased=True)
    fill = Inpainter(
        np.where(observed, truth, np.nan),
        observed,
        method=args.method,
        prior=prior,
        dipole=args.dipole,
        seed=2000 + sky,
        threads=1,
    )
    n = args.realizations if sky < args.ranked else 1
    drawn = np.array([fill.realization(index) for index in range(n)])
    filled = truth.copy()
    filled[holes] = drawn[0]
    power = [hp.anafast(m, lmax=EDGES[-1] - 1, pol=False) for m in (filled, truth)]
    ratios = [np.divide(*(bins(p, a, b) for p in power)) for a, b in pairwise(EDGES)]
    if n == 1:
        return (ratios,)
    below = np.count_nonzero(drawn < truth[holes], axis=0)
    ranks = np.bincount(below, minlength=n + 1).astype(float)
    return ratios, ranks, drawn.var(axis=0, ddof=1), truth[holes] - fill.mean()


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
