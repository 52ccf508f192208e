"""Fill many simulated skies many times, and ask if truth and realizations have one law.

Skies are synthesised by healpy to 8 Nside.

For every sky and method `skyfill.fidelity.calibrate` holds the truth against the realizations:
z-scores, coverage of the bands of 68% and 95%, ranks, each averaged over the skies, with the
standard error that the scatter from sky to sky gives. The ratio of C_l is that of the first
realization to the truth, by healpy's anafast. The last line is JSON: each figure with its error,
"right" where it is within what is asked (coverage of 68% within 2%, width of z within 0.03 of
one), "open" where twice its error is more than that, "wrong" elsewhere. Up to Nside 128 `vae`
solves the sphere as a whole: its network is judged at Nside 256.

    python docs/scripts/calibration.py                       # Nside 128, 50 skies, vae and gaussian
    python docs/scripts/calibration.py --skies 5 --workers 1
    python docs/scripts/calibration.py --nside 256 --methods vae --skies 100 --ranked 50
    python docs/scripts/calibration.py --nside 256 --methods vae --ranked 0 --dipole fit
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
from skies import synthesised

from skyfill import Inpainter
from skyfill.fidelity import calibrate
from skyfill.prior import ARCMIN, Prior, lcdm
from skyfill.prior.simulate import simulate_mask

EDGES = (2, 5, 10, 20, 40, 80, 120, 160, 200, 250, 300, 350, 400, 450, 513)
#: What is asked of the averages: expected value, and how far it may be off.
ASKED = {"z_mean": (0.0, 0.05), "z_width": (1.0, 0.03)}
ASKED |= {"coverage_68": (0.68, 0.02), "coverage_95": (0.95, 0.01)}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nside", type=int, default=128)
    parser.add_argument("--beam-arcmin", type=float, help="default: 40 at Nside 256, and in scale")
    parser.add_argument("--noise-uk-arcmin", type=float, default=90)
    parser.add_argument("--skies", type=int, default=50)
    parser.add_argument("--realizations", type=int, default=20)
    parser.add_argument(
        "--ranked", type=int, help="skies with more than one of them (default: all)"
    )
    parser.add_argument("--methods", nargs="+", default=["vae", "gaussian"])
    parser.add_argument("--dipole", default="marginalise")
    parser.add_argument("--workers", type=int, default=2, help="skies at once, a thread each")
    args = parser.parse_args()
    if args.ranked is None:
        args.ranked = args.skies
    if args.beam_arcmin is None:
        args.beam_arcmin = 40 * 256 / args.nside
    found = {method: run(args, method) for method in args.methods}
    print(json.dumps({"nside": args.nside, "realizations": args.realizations, "methods": found}))


def run(args: argparse.Namespace, method: str) -> dict[str, Any]:
    """Fill all skies by one method, and report as it goes."""
    begun = time.perf_counter()
    ratios: list[list[float]] = []
    rows: list[dict[str, float]] = []
    ranks = np.zeros(args.realizations + 1, np.int64)
    found: dict[str, Any] = {}
    with ProcessPoolExecutor(args.workers) as pool:
        skies = pool.map(partial(fill_sky, args, method), range(args.skies))
        for sky, (ratio, figures, below) in enumerate(skies, 1):
            ratios.append(ratio)
            if figures:
                rows.append(figures)
                ranks += below
            if sky % 10 == 0 or sky == args.skies:
                print(f"{method}: {sky} skies, {time.perf_counter() - begun:.0f} s", flush=True)
                found = report(args.nside, ratios, rows, ranks)
    return found | {"skies": args.skies, "seconds": round(time.perf_counter() - begun, 1)}


def edges(nside: int) -> list[int]:
    """Give the bins that this Nside resolves, to 2 nside."""
    return [edge for edge in EDGES if edge < 2 * nside] + [2 * nside + 1]


def fill_sky(
    args: argparse.Namespace, method: str, sky: int
) -> tuple[list[float], dict[str, float], np.ndarray]:
    """Give ratios of C_l, and of a ranked sky figures and ranks."""
    prior = Prior(
        args.nside, lcdm(), fwhm=args.beam_arcmin * ARCMIN, noise_uk_arcmin=args.noise_uk_arcmin
    )
    observed = simulate_mask(args.nside, kind="both", seed=11, n_holes=250)
    holes = ~observed
    truth = synthesised(prior, 1000 + sky)
    fill = Inpainter(
        np.where(observed, truth, np.nan),
        observed,
        method=method,
        prior=prior,
        dipole=args.dipole,
        seed=2000 + sky,
        threads=1,
    )
    n = args.realizations if sky < args.ranked else 1
    drawn = np.array([fill.realization(index) for index in range(n)])
    filled = truth.copy()
    filled[holes] = drawn[0]
    bins = list(pairwise(edges(args.nside)))
    power = [hp.anafast(m, lmax=bins[-1][1] - 1, pol=False) for m in (filled, truth)]
    ratios = [np.divide(*(binned(p, a, b) for p in power)) for a, b in bins]
    if n == 1:
        return ratios, {}, np.zeros(0, np.int64)
    found = calibrate(truth[holes], drawn)
    return ratios, {name: each.value for name, each in found.figures.items()}, found.ranks


def report(
    nside: int, ratios: list[list[float]], rows: list[dict[str, float]], ranks: np.ndarray
) -> dict[str, Any]:
    """Print what is known so far, and give it."""
    if len(ratios) > 1:
        ratio = np.mean(ratios, axis=0)
        error = np.std(ratios, axis=0, ddof=1) / len(ratios) ** 0.5
        for (low, high), r, e in zip(pairwise(edges(nside)), ratio, error, strict=True):
            print(f"l {low:3d}-{high - 1:3d}: {r:.4f} +- {e:.4f}, {(r - 1) / e:+.1f}")
    if len(rows) < 2:
        return {}
    found: dict[str, Any] = {"ranks": np.round(ranks / ranks.mean(), 3).tolist()}
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        error = values.std(ddof=1) / np.sqrt(values.size)
        value = values.mean()
        if name == "z_width":  # a mean of squares, as pixels are averaged
            value = np.sqrt(np.mean(values**2))
        found[name] = [round(float(value), 5), round(float(error), 5)]
        if name in ASKED:
            expected, slack = ASKED[name]
            right = abs(value - expected) <= slack
            open_ = abs(value - expected) <= slack + 2 * error and 2 * error > slack
            found[name].append("open" if open_ else "right" if right else "wrong")
    print(json.dumps(found), flush=True)
    return found


def binned(cl: np.ndarray, low: int, high: int) -> float:
    """Average C_l over its modes."""
    weight = 2.0 * np.arange(low, high) + 1
    return float(weight @ cl[low:high] / weight.sum())


if __name__ == "__main__":
    main()
