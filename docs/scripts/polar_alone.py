"""Fill Q and U alone by their harmonics, and by the equation of the holes.

    python docs/scripts/polar_alone.py [--threads 2] [--noise 90 45] NSIDE ...

The sky is LCDM with a beam of 2.9 pixels; a band and discs, 24% of the sky, are masked. ``--noise``
is that of Q and of U, uK.arcmin. Printed are steps, seconds with set-up, the estimated distance to
the exact mean, and the true one, which is that to a solve of the holes' own equation with a
tolerance of 5e-5.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from skyfill.gaussian.jointsolver import JointSolver
from skyfill.gaussian.nested import NestedSolver
from skyfill.prior import ARCMIN, LCDM, PolarizedPrior, Prior, draw_polarization, lcdm
from skyfill.prior.simulate import simulate_mask


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nside", type=int, nargs="+")
    parser.add_argument("--noise", type=float, nargs="+", default=[90.0, 45.0])
    parser.add_argument("--tolerance", type=float, default=7.5e-4)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    for nside in args.nside:
        size = 2048 / nside
        seen = simulate_mask(
            nside,
            kind="both",
            seed=71,
            half_width=np.deg2rad(12.5),
            n_holes=max(int(4000 / size**2), 20),
            radii=tuple(np.deg2rad(np.array([6, 30]) * min(size, 8) / 60)),
        )
        for noise in args.noise:
            t = Prior(nside, lcdm(), fwhm=5 * size * ARCMIN, noise_uk_arcmin=noise, theory=LCDM)
            prior = PolarizedPrior.of(t, noise)
            sky, white = draw_polarization(prior, seed=72, index=0, threads=args.threads)
            sky += white * np.sqrt(prior.white_cl[1] * seen.size / (4 * np.pi))
            compare(seen, sky, prior, args)


def compare(
    seen: np.ndarray, sky: np.ndarray, prior: PolarizedPrior, args: argparse.Namespace
) -> None:
    """Fill by both solvers, and print what each takes."""
    cl, noise_cl = prior.signal_cl()[1:, 1:], prior.white_cl[1]
    over = float(np.max(cl[[0, 1], [0, 1]], axis=0)[60:].max() / noise_cl)
    print(f"Nside {prior.temperature.nside}, signal at most {over:.0f} times the noise", flush=True)
    best = JointSolver([seen], signal_cl=cl, noise_cl=[noise_cl], threads=args.threads)
    known = best.mean([sky], tolerance=5e-5).fills[0]
    del best
    for name in ("harmonics", "holes"):
        begun = time.perf_counter()
        options = {"signal_cl": cl, "threads": args.threads}
        solver = (
            NestedSolver(seen, noise_cl=noise_cl, **options)
            if name == "harmonics"
            else JointSolver([seen], noise_cl=[noise_cl], **options)
        )
        found = solver.mean([sky], tolerance=args.tolerance)
        seconds = time.perf_counter() - begun
        away = np.sqrt(np.mean((found.fills[0] - known) ** 2))
        print(f"  {name}: {seconds:.1f} s, true {away:.1e}, {found.certificates['P']}", flush=True)


if __name__ == "__main__":
    main()
