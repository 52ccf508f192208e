"""Iterations of the exact fill where signal reaches beyond what pixels resolve.

    python docs/scripts/iterations.py [--tight]

The mask is a ragged band of ±10° with 250 holes; tolerance and largest number of iterations are the
default ones. ``--tight`` adds the distance to a solve with a hundredth of the tolerance.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
from skies import synthesised

import skyfill
from skyfill.gaussian import Solver
from skyfill.prior import ARCMIN, Prior, lcdm

#: Nside, beam in arcmin and noise in µK·arcmin.
MAPS = (
    *((256, 40, 90), (256, 40, 60), (256, 40, 30), (256, 40, 10), (256, 40, 3)),
    *((512, 20, 60), (512, 20, 30), (128, 60, 100), (256, 12.9, 135), (512, 5, 30)),
)


def main() -> None:
    """Print a line for each map."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--tight", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
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
