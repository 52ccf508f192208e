"""Fill many simulated skies of T, Q and U many times, and ask if truth and realizations agree.

The holes of each sky are filled with `skyfill.inpaint.PolarizedInpainter`, whose solver is prepared
once for all skies, and `skyfill.fidelity.calibrate_stokes` compares realizations with the truth.
Figures of each Stokes parameter are averaged over the skies, with the standard error that their
scatter from sky to sky gives. "right" is within what is asked: width of z within 0.03 of one,
coverage of 68% within 2%; "open" where twice the error is more than that; "wrong" elsewhere.

    python docs/scripts/stokes_calibration.py                       # Nside 32, 50 skies
    python docs/scripts/stokes_calibration.py --nside 64 --skies 10
    python docs/scripts/stokes_calibration.py --nside 128 --method vae
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
from calibration import report

import skyfill
from skyfill.prior import ARCMIN, LCDM, PolarizedPrior, Prior, draw, draw_polarization


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nside", type=int, default=32)
    parser.add_argument("--skies", type=int, default=50)
    parser.add_argument("--realizations", type=int, default=20)
    parser.add_argument("--noise-uk-arcmin", type=float, default=300)
    parser.add_argument("--noise-pol-uk-arcmin", type=float, default=60)
    parser.add_argument("--method", default="gaussian", choices=("gaussian", "vae"))
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    t = Prior(
        args.nside,
        skyfill.lcdm(),
        fwhm=3 * 3600 / args.nside * ARCMIN,
        noise_uk_arcmin=args.noise_uk_arcmin,
        theory=LCDM,
    )
    prior = PolarizedPrior.of(t, args.noise_pol_uk_arcmin)
    seen = [
        skyfill.simulate_mask(args.nside, seed=seed, half_width=width, n_holes=20)
        for seed, width in ((11, 0.1), (12, 0.15))
    ]
    area = 4 * math.pi / seen[0].size
    rows: dict[str, list[dict[str, float]]] = {letter: [] for letter in "TQU"}
    ranks = {letter: np.zeros(args.realizations + 1, np.int64) for letter in "TQU"}
    filler = None
    spent = []
    for sky in range(args.skies):
        polar, white = draw_polarization(prior, seed=1000 + sky)
        polar += white * math.sqrt(prior.white_cl[1] / area)
        truth = np.array([draw(t, seed=1000 + sky, aliased=True), *polar])
        begun = time.process_time()
        if filler is None:
            filler = skyfill.inpaint.PolarizedInpainter(
                truth,
                seen[0],
                observed_pol=seen[1],
                method=args.method,
                prior=prior,
                seed=2000,
                threads=args.threads,
            )
        else:
            filler = filler.with_map(truth, seed=2000 + sky)
        fills = [filler.whole(filler.realization(k)) for k in range(args.realizations)]
        spent.append(time.process_time() - begun)
        found = skyfill.fidelity.calibrate_stokes(
            fills, seen[0], observed_pol=seen[1], truth=truth, threads=args.threads
        )
        for letter, scores in found.stokes.items():
            rows[letter].append({name: x.value for name, x in scores.calibration.figures.items()})
            ranks[letter] += scores.calibration.ranks
        if (sky + 1) % 10 == 0 or sky + 1 == args.skies:
            print(f"{sky + 1} skies, CPU seconds of a sky: {np.mean(spent):.2f}", flush=True)
            for letter in "TQU":
                print(letter, flush=True)
                report(args.nside, [], rows[letter], ranks[letter])


if __name__ == "__main__":
    main()
