"""Iterations of the exact fill where signal reaches beyond what pixels resolve.

    python docs/scripts/iterations.py [--tight] [--grid]

The mask is a ragged band of ±10° with 250 holes; tolerance and largest number of iterations are the
default ones. ``--tight`` adds the distance to a solve with a hundredth of the tolerance. ``--grid``
takes many beams and depths at Nside 64 and 128 instead, and a mask of round holes as well; it says
by what factor the estimate of `--dry-run` differs from the iterations.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
from skies import synthesised

import skyfill
from skyfill.gaussian import Solver
from skyfill.gaussian.conditioning import are_slow, divided, expected
from skyfill.prior import ARCMIN, Prior, lcdm

#: Nside, beam in arcmin and noise in µK·arcmin.
MAPS = (
    *((256, 40, 90), (256, 40, 60), (256, 40, 30), (256, 40, 10), (256, 40, 3)),
    *((512, 20, 60), (512, 20, 30), (128, 60, 100), (256, 12.9, 135), (512, 5, 30)),
)
#: The same of --grid, at Nside 64; the lengths shrink with the pixels.
BEAMS, NOISES = (320, 240, 200, 160, 120, 80, 50, 0), (4000, 1000, 400, 150, 50, 20)
GRID = [(fwhm, noise) for fwhm in BEAMS for noise in NOISES]


def grid(threads: int) -> None:
    """Compare the estimated number of iterations with that of many solves."""
    factors = []
    for nside in (64, 128):
        wide = {"half_width": math.radians(10), "n_holes": 250, "radii": np.radians((0.3, 1.5))}
        small = {"kind": "holes", "n_holes": 60, "radii": np.radians((1, 4))}
        masks = [skyfill.simulate_mask(nside, seed=3, **shape) for shape in (wide, small)]
        for fwhm, noise in ((each[0] * 64 / nside, each[1] * 64 / nside) for each in GRID):
            prior = Prior(nside, lcdm(), fwhm=fwhm * ARCMIN, noise_uk_arcmin=noise)
            sky = synthesised(prior, 5)
            for observed in masks:
                solver = Solver.for_prior(observed, prior, threads=threads)
                found = solver.mean(sky).certificate
                wide = solver.small.size < solver.holes.size  # a hole without a block
                guess, corrections = expected(prior.signal_cl(), prior.white_cl, nside, wide=wide)
                if wide and are_slow(guess, corrections):
                    guess = divided(corrections)
                print(
                    f"Nside {nside}, {fwhm:g}', {noise:g} µK·arcmin, {1 - observed.mean():.0%}"
                    f" masked: {found.iterations} + {found.corrections}, {guess:.0f} expected",
                    flush=True,
                )
                factors.append(guess / found.iterations)
    logs = np.abs(np.log(factors))
    print(f"{len(factors)} solves: {np.mean(logs < math.log(2)):.0%} within a factor of 2,")
    print(f"all within {math.exp(logs.max()):.2f}")


def main() -> None:
    """Print a line for each map."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--tight", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--grid", action="store_true")
    args = parser.parse_args()
    if args.grid:
        grid(args.threads)
        return
    for nside, fwhm, noise in MAPS:
        prior = Prior(nside, lcdm(), fwhm=fwhm * ARCMIN, noise_uk_arcmin=noise)
        observed = skyfill.simulate_mask(
            nside, seed=3, half_width=math.radians(10), n_holes=250, radii=np.radians((0.3, 1.5))
        )
        sky = synthesised(prior, 5)
        begun = time.process_time()
        solver = Solver.for_prior(observed, prior, threads=args.threads)
        found = solver.mean(sky)
        said = f"{time.process_time() - begun:.1f} CPU s, {found.certificate}"
        if args.tight:
            exact = solver.mean(sky, start=found.fill, tolerance=3e-5, max_iterations=3000)
            said += f"; in fact {np.sqrt(np.mean((found.fill - exact.fill) ** 2)):.3f} µK"
        print(f"Nside {nside}, {fwhm}', {noise} µK·arcmin: {said}", flush=True)


if __name__ == "__main__":
    main()
