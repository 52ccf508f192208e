r"""Hold `--method vae` for T, Q and U against the exact joint fill, and take time and memory.

*Excess* is the mean squared distance to the exact mean over that one's mean squared error in the
holes; *of the signal*, where the error is that against the sky without noise. *leak* is the power
of B of the distance, 0 outside the holes, over that of lensing BB on the map, by bin of multipoles;
*SFBLEAK* is what the fill itself says of it. Beam and noise are 5' and 30 (T) and 42 (P) uK.arcmin
at Nside 2048, and as many pixels at others; T and P have masks of their own, a band and discs.
Each fill runs in a process of its own, whose peak of memory is that of the whole program.

    python docs/scripts/turns.py                                   # Nside 128 and 256
    python docs/scripts/turns.py --nside 512
    python docs/scripts/turns.py --nside 256 --noise 6 8.5 --kind band
    python docs/scripts/turns.py --nside 2048 --threads 2 --cost

With --cost `vae` for T alone runs too, `gaussian` stops at its usual tolerance, and all make a
realization, whose seconds are the second number; nothing is compared.

At Nside 128 `vae` has no tiles by default; here it is made to have them (``--whole-nside 64``).
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import resource
import time
from typing import Any

import numpy as np

import skyfill
from skyfill import harmonics
from skyfill.gaussian.solution import LEAKAGE_BINS
from skyfill.inpaint import FillOptions, PolarizedInpainter
from skyfill.mosaic import MosaicConfig
from skyfill.prior import ARCMIN, LCDM, PolarizedPrior, Prior, draw_polarization, draw_signal, lcdm
from skyfill.prior.drawing import draw_white
from skyfill.prior.simulate import simulate_mask


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nside", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--kind", default="both", choices=("holes", "band", "both"))
    parser.add_argument("--seed", type=int, default=61, help="of masks and sky")
    parser.add_argument("--noise", type=float, nargs=2, default=(30.0, 42.0), metavar=("T", "P"))
    parser.add_argument("--half-width", type=float, default=12.5, help="of T's band, degrees")
    parser.add_argument("--tolerance", type=float, default=3e-4, help="of the exact mean")
    parser.add_argument("--no-exact", action="store_true", help="without the exact mean")
    parser.add_argument("--cost", action="store_true", help="seconds and memory only")
    parser.add_argument("--whole-nside", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    for nside in args.nside:
        found: dict[str, Any] = {"nside": nside, "kind": args.kind, "noise": args.noise}
        runs = ["vae"] if args.no_exact else ["vae", "gaussian"]
        if args.cost:
            runs = ["vae", "gaussian", "vae of T"]
        fills = {}
        for method in runs:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found[method], fills[method] = pool.apply(fill, (nside, method, args))
            print(json.dumps({method: found[method]}), flush=True)
        if not (args.no_exact or args.cost):
            print(json.dumps(found | compared(nside, fills, args)), flush=True)


def problem(
    nside: int, args: argparse.Namespace
) -> tuple[PolarizedPrior, list[np.ndarray], np.ndarray, np.ndarray]:
    """Give prior, masks of T and P, the sky without noise, and the map."""
    size = 2048 / nside
    t = Prior(
        nside, lcdm(), fwhm=5 * size * ARCMIN, noise_uk_arcmin=args.noise[0] * size, theory=LCDM
    )
    prior = PolarizedPrior.of(t, args.noise[1] * size)
    seen = [
        simulate_mask(
            nside,
            kind=args.kind,
            seed=args.seed + more,
            half_width=math.radians(args.half_width + 2 * more),
            n_holes=int(4000 / size**2),
            radii=tuple(np.radians(np.array([6, 30]) * size / 60)),
        )
        for more in (0, 1)
    ]
    skies = np.empty((3, 12 * nside**2))
    skies[0] = draw_signal(t, seed=args.seed, threads=args.threads)
    skies[1:], white = draw_polarization(prior, seed=args.seed, threads=args.threads)
    area = 4 * math.pi / skies.shape[1]
    noisy = skies.copy()
    for part, unit in draw_white(skies.shape[1], seed=args.seed, index=0):
        noisy[0, part] += math.sqrt(t.white_cl / area) * unit
    noisy[1:] += white * math.sqrt(prior.white_cl[1] / area)
    return prior, seen, skies, noisy


def fill(nside: int, method: str, args: argparse.Namespace) -> tuple[dict[str, Any], list[Any]]:
    """Fill; give seconds, the peak of memory and what the fill says of itself."""
    prior, seen, skies, noisy = problem(nside, args)
    del skies
    engine = None
    if method == "vae":
        engine = FillOptions(method="vae", config=MosaicConfig(whole_nside=args.whole_nside))
    begun = time.perf_counter()
    if method == "vae of T":
        alone = skyfill.Inpainter(
            noisy[0].copy(), seen[0], method="vae", prior=prior.temperature, threads=args.threads
        )
        del noisy
        alone.mean()
        spent = [round(time.perf_counter() - begun, 1)]
        begun = time.perf_counter()
        alone.realization(0)
        spent.append(round(time.perf_counter() - begun, 1))
        return {"seconds": spent, "GiB": peak()}, []
    filler = PolarizedInpainter(
        noisy,
        seen[0],
        observed_pol=seen[1],
        method=method,
        prior=prior,
        engine=engine,
        tolerance=args.tolerance if method == "gaussian" and not args.cost else 3e-3,
        accept=True,
        threads=args.threads,
    )
    fills = filler.mean()
    spent = [round(time.perf_counter() - begun, 1)]
    if args.cost:
        certificates = filler.certificates
        begun = time.perf_counter()
        filler.realization(0)
        spent.append(round(time.perf_counter() - begun, 1))
        filler.certificates = certificates  # of the mean
    said = {
        "masked": [round(1 - float(each.mean()), 4) for each in seen],
        "seconds": spent,
        "GiB": peak(),
        "SFBLEAK": [float(f"{x:.1e}") for x in filler.certificates["P"].leakage or ()],
        "converged": filler.converged,
    }
    return said | {name: str(each) for name, each in filler.certificates.items()}, fills


def peak() -> float:
    """Give the peak of memory of this process, GiB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


def compared(
    nside: int, fills: dict[str, list[np.ndarray]], args: argparse.Namespace
) -> dict[str, Any]:
    """Compare with the exact mean of the same map."""
    prior, seen, skies, noisy = problem(nside, args)
    away = np.zeros_like(skies)
    found: dict[str, Any] = {"excess": {}, "of the signal": {}, "worst": {}}
    for number, letter in enumerate("TQU"):
        hole = ~seen[min(number, 1)]
        mine, best = (fills[method][number] for method in ("vae", "gaussian"))
        away[number, hole] = mine - best
        for name, truth in (("excess", noisy), ("of the signal", skies)):
            error = np.mean((best - truth[number, hole]) ** 2)
            found[name][letter] = float(f"{np.mean((mine - best) ** 2) / error:.2e}")
        found["worst"][letter] = round(float(np.abs(mine - best).max()), 3)
    lmax = min(LEAKAGE_BINS[-1][1], nside)
    weights = harmonics.pixel_weights(nside, threads=args.threads)
    alm = harmonics.adjoint(away * weights, lmax=lmax, threads=args.threads)
    modes = 2 * np.arange(lmax + 1) + 1
    cl = modes * harmonics.cl_of(alm[2] * (4 * math.pi / away.shape[1]))
    lensing = modes * prior.signal_cl()[2, 2][: lmax + 1]
    found["leak"] = [
        float(f"{cl[first : last + 1].sum() / lensing[first : last + 1].sum():.1e}")
        for first, last in LEAKAGE_BINS
    ]
    return found


if __name__ == "__main__":
    main()
