"""Sample the power spectrum of a cut sky: C_ell with the cut in its errors.

Fills of the holes and draws of the spectrum alternate (Gibbs sampling). OUT is a folder with every
sample and a table of medians and intervals. Run again, the same command goes on where it was
stopped; with a larger --samples it goes on with finished chains. For Nside 256 at most.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import skyfill

from . import options, reading, theory
from .progress import progress

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("map", type=Path, metavar="MAP", help="map with holes")
    parser.add_argument("mask", type=Path, metavar="MASK", help="its mask, 1 = observed")
    reading.add_map(parser)
    reading.add_mask(parser)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="folder of the chains"
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace chains of another map, prior, seed or other bins",
    )
    parser.add_argument(
        "--samples",
        type=options.positive,
        default=350,
        metavar="N",
        help="number of samples of each chain (default: 350)",
    )
    parser.add_argument(
        "--chains",
        type=options.positive,
        default=4,
        metavar="N",
        help="number of chains, 2 or more, which begin far apart (default: 4)",
    )
    parser.add_argument(
        "--burn",
        type=options.whole,
        default=20,
        metavar="N",
        help="number of samples at the beginning of each chain that are not used (default: 20)",
    )
    parser.add_argument(
        "--lmax",
        type=options.positive,
        metavar="ELL",
        help="largest ell (default: 1.5 Nside, or where the signal is half of the noise)",
    )
    parser.add_argument(
        "--bins",
        type=options.positive,
        metavar="WIDTH",
        help="width of the bins from ell = 30 on (default: an eighth of ell, at least 5); below "
        "30 every ell is a bin",
    )
    parser.add_argument(
        "--tolerance",
        type=options.fraction,
        default=0.003,
        metavar="X",
        help="accuracy of the fills, in units of the rms of the map (default: 0.003)",
    )
    options.add_seed(parser)
    theory.add_prior(parser, otherwise="Values that are not given are fitted to the observed sky.")
    theory.add_trust(parser)
    options.add_threads(parser)
    options.add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    begun = time.perf_counter()
    options.set_threads(args.threads)
    theory.check(args)
    with progress(quiet=args.quiet) as listener:
        listener.stage("read")
        sky = reading.map_of(args, args.map, like=args.mask)
        observed = reading.mask_of(args, args.mask, like=sky)
        listener.done(f"nside {sky.nside}, {sky.unit}{reading.assumed(args, sky, args.mask)}")
        try:
            found = skyfill.posterior.sample(
                sky.values,
                observed,
                args.output,
                prior=theory.given(args),
                trust_prior=args.trust_prior,
                samples=args.samples,
                chains=args.chains,
                burn=args.burn,
                lmax=args.lmax,
                width=args.bins,
                tolerance=args.tolerance,
                seed=args.seed,
                threads=args.threads or 0,
                overwrite=args.overwrite,
                progress=listener,
            )
        except (skyfill.masks.UnusableSkyError, skyfill.prior.UnlikelyPriorError) as error:
            raise ValueError(f"{args.map} and {args.mask}: {error}") from None
    if args.json:
        print(json.dumps(_summary(args, found, time.perf_counter() - begun)))
    else:
        print("\n".join([*theory.lines(args, found.prior), *_lines(args, found)]))
    return 0


def _lines(args: argparse.Namespace, found: skyfill.posterior.Posterior) -> list[str]:
    """Write the bins as a table."""
    columns = found.columns()
    theory_dl = (columns["theory"] - columns["noise"]) * found.dl_per_cl
    lines = [
        "   ell range    median D_ell [µK²]         16%          84%           theory    ESS  R-hat"
    ]
    for b in range(found.theory.size):
        cells = [columns[name][b] for name in ("dl_median", "dl_16", "dl_84")]
        lines.append(
            f"{columns['ell_min'][b]:6d} – {columns['ell_max'][b]:<6d}"
            f"{cells[0]:16.2f}   {cells[1]:12.2f} {cells[2]:12.2f} {theory_dl[b]:16.2f}"
            f" {columns['ess'][b]:6.0f} {columns['rhat'][b]:6.3f}"
        )
    lines.append(
        "D_ell of the sky: noise subtracted, beam and pixel window divided out; median and 68%"
        " interval, with the cut in them"
    )
    chains, samples = found.draws.shape[:2]
    state = "converged" if found.converged else "too short"
    lines.append(
        f"{chains} chains of {samples} samples used, {state}: ESS at least"
        f" {columns['ess'].min():.0f}, R-hat at most {columns['rhat'].max():.3f}"
    )
    if math.isfinite(found.seconds):
        lines.append(f"{found.seconds:.3g} s a sample")
    return [*lines, f"output   {args.output}/summary.ecsv"]


def _summary(
    args: argparse.Namespace,
    found: skyfill.posterior.Posterior,
    seconds: float,
) -> dict[str, object]:
    """Summarise the run for JSON."""
    columns = found.columns()
    chains, samples = found.draws.shape[:2]
    return {
        "map": str(args.map),
        "mask": str(args.mask),
        "output": str(args.output),
        "table": str(args.output / "summary.ecsv"),
        "prior": theory.as_json(args, found.prior),
        "chains": chains,
        "samples": samples,
        "burn": args.burn,
        "ess": float(columns["ess"].min()),
        "rhat": float(columns["rhat"].max()),
        "converged": found.converged,
        "bins": {name: _plain(values.tolist()) for name, values in columns.items()},
        "seconds_per_sample": found.seconds if math.isfinite(found.seconds) else None,
        "seconds": round(seconds, 2),
    }


def _plain(values: list[float]) -> list[float | None]:
    """Replace numbers that JSON does not have by None."""
    return [value if math.isfinite(value) else None for value in values]
