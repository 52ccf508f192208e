"""Test the posterior of a cut sky's spectrum: its frequencies, its speed, and against MASTER.

Skies are drawn from the prior, cut, and sampled. The share of the posterior below the truth must be
uniform over skies and bins (standard deviation 0.289), and the medians must agree with MASTER where
a bin has many modes.

    python docs/scripts/posterior.py --nside 16 --skies 100
    python docs/scripts/posterior.py --nside 64 --skies 1 --samples 30
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import skyfill
from skyfill.posterior import sample
from skyfill.prior import ARCMIN, Prior, draw, lcdm


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nside", type=int, default=16)
    parser.add_argument("--skies", type=int, default=100)
    parser.add_argument("--samples", type=int, default=350)
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--burn", type=int, default=20)
    parser.add_argument("--cut-deg", type=float, default=15.0, help="half width of the band")
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="number of the first sky")
    parser.add_argument("--workers", type=int, default=1, help="skies at once, a thread each")
    parser.add_argument("--keep", help="file to add the numbers of each sky to, .npz")
    args = parser.parse_args()
    nside = args.nside
    prior = Prior(nside, lcdm(), 9600 / nside * ARCMIN, noise_uk_arcmin=24000 / nside)
    observed = skyfill.simulate_mask(
        nside, seed=1, half_width=np.radians(args.cut_deg), n_holes=20, radii=(0.03, 0.08)
    )
    kept: dict[str, list[Any]] = {name: [] for name in ("pit", "ess", "off", "seconds")}
    if args.keep is not None and Path(args.keep).exists():
        with np.load(args.keep) as before:
            kept = {name: list(before[name]) for name in kept}
    begin = args.first + len(kept["pit"])
    with ProcessPoolExecutor(args.workers) as pool:
        work = partial(sampled, args, prior, observed)
        for bins, theirs in pool.map(work, range(begin, args.first + args.skies)):
            ell, edges = bins
            for name, value in theirs.items():
                kept[name].append(value)
            if args.keep is not None:
                np.savez(args.keep, **{name: np.array(each) for name, each in kept.items()})
    pit, ess, off, seconds = (np.array(each) for each in kept.values())
    print(f"Nside {nside}, fsky {observed.mean():.3f}, {len(pit)} skies, {pit[0].size} bins")
    print(f"{np.median(seconds):.3f} s a sample, ESS at least {np.min(ess):.0f}")
    values, low = pit, ell < 30
    for name, chosen in (
        ("all", low | ~low),
        ("l < 10", ell < 10),
        ("l >= 10", ell >= 10),
    ):
        part = values[:, chosen]
        inside = np.mean((part > 0.16) & (part < 0.84))
        print(
            f"{name:8s} PIT mean {part.mean():.4f}, standard deviation {part.std():.4f} (0.2887),"
            f" in the 68% band {inside:.3f}"
        )
    far = off
    print("median minus MASTER, in units of its error: mean and scatter")
    for b in range(far.shape[1]):
        print(
            f"  l = {edges[b]:3d} - {edges[b + 1] - 1:3d}: {far[:, b].mean():+.2f}"
            f" {far[:, b].std():.2f}; PIT {values[:, b].mean():.3f} {values[:, b].std():.3f}"
        )


def sampled(
    args: argparse.Namespace, prior: Prior, observed: np.ndarray, index: int
) -> tuple[tuple[np.ndarray, np.ndarray], dict[str, Any]]:
    """Sample the posterior of a sky; give its bins, and the numbers that are kept of it."""
    sky = draw(prior, seed=args.seed, index=index, aliased=True)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = sample(
            sky,
            observed,
            folder,
            prior=prior,
            samples=args.samples,
            chains=args.chains,
            burn=args.burn,
            seed=index,
            threads=1,
        )
    off = np.full(found.ell.size, np.nan)
    if found.ell[-1] >= 30:  # bins of single ell are too narrow to invert the mask's coupling
        master = skyfill.spectra.compare(
            *(sky, prior),
            lmax=int(found.edges[-1]) - 1,
            bins=found.edges,
            observed=observed,
            threads=1,
        ).cut
        off = (found.quantile(0.5) - master.cl) / master.sigma
    pit = found.probability(found.theory)
    return (found.ell, found.edges), {
        "seconds": found.seconds,
        "ess": found.ess,
        "pit": pit,
        "off": off,
    }


if __name__ == "__main__":
    start = time.perf_counter()
    main()
    print(f"{time.perf_counter() - start:.0f} s")
