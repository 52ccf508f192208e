"""Say how far the fill of your map is to be trusted, without knowing the truth.

Copies of the mask's holes are put where the map is observed, hidden, filled like all others, and
held against what was observed there: errors, z-scores and coverage of the realizations, beside
what a filled sky says of itself.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import skyfill

from . import filling, judgement, options, pages
from .progress import progress

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("map", type=Path, metavar="MAP", help="map to fill")
    parser.add_argument("mask", type=Path, metavar="MASK", help="its mask, 1 = observed")
    options.add_read(parser)
    options.add_read_mask(parser)
    parser.add_argument(
        "--method",
        choices=("vae", "gaussian", "cosmovae"),
        default="vae",
        help="as for `skyfill inpaint` (default: vae)",
    )
    parser.add_argument(
        "--polish",
        type=options.whole,
        metavar="N",
        help="exact iterations after vae, as for `skyfill inpaint`",
    )
    parser.add_argument(
        "--realizations",
        type=options.positive,
        default=20,
        metavar="N",
        help="fills that the spread is known from, 2 or more (default: 20)",
    )
    parser.add_argument(
        "--holes",
        type=options.positive,
        metavar="N",
        help="copies of holes, at most (default: as many as --share allows)",
    )
    parser.add_argument(
        "--share",
        type=options.fraction,
        default=0.05,
        metavar="X",
        help="of the observed sky, to be hidden at most (default: 0.05)",
    )
    pages.add_report(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace a report that exists")
    filling.add_partial(parser)
    options.add_dipole(parser)
    options.add_seed(parser)
    options.add_prior(parser, otherwise="Where nothing is given: fitted to the observed sky.")
    options.add_noise_map(parser)
    options.add_engine(parser)
    options.add_threads(parser)
    options.add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    begun = time.perf_counter()
    options.set_threads(args.threads)
    prior_given = options.has_prior(args)
    if args.realizations < 2:
        raise ValueError("a spread needs two realizations at least; pass --realizations 2 or more")
    if args.method == "gaussian" and args.polish:
        raise ValueError("gaussian is exact already; drop --polish, or pass a smaller --tolerance")
    if args.report:
        skyfill.check_writable(args.report, overwrite=args.overwrite)
    with progress(quiet=args.quiet) as listener:
        listener.stage("read")
        sky = skyfill.read_map(args.map, field=args.field, unit=args.unit)
        observed = skyfill.read_mask(
            args.mask, field=args.mask_field, threshold=args.threshold, invert=args.invert
        )
        listener.done(f"nside {sky.nside}, {sky.unit}")
        found = skyfill.fidelity.validate(
            sky.values,
            observed,
            realizations=args.realizations,
            holes=args.holes,
            share=args.share,
            footprint=filling.footprint_of(args),
            accept=args.accept,
            seed=args.seed,
            threads=args.threads or 0,
            progress=listener,
            method=args.method,
            prior=options.given_prior(args, sky.nside) if prior_given else None,
            noise_rms=options.noise_rms(args),
            dipole=args.dipole,
            polish=args.polish,
            tolerance=args.tolerance,
            weights=args.weights,
            device=args.device,
            batch_size=args.batch_size,
        )
        if args.report:
            listener.stage("report")
            page = pages.validation_page(args, sky, found)
            page.write(args.report, overwrite=args.overwrite)
            listener.done(f"{args.report}, {page.verdict}")
    if args.json:
        print(json.dumps(_summary(args, found, time.perf_counter() - begun)))
        return 0
    copies = found.holes
    print(
        f"{len(copies.sizes)} held-out holes, {int(copies.sizes.sum())} pixels, "
        f"{args.realizations} realizations by {args.method}; errors by leaving holes out"
    )
    print(judgement.table(found.figures, found.verdict))
    return 0


def _summary(
    args: argparse.Namespace, found: skyfill.fidelity.Validation, seconds: float
) -> dict[str, object]:
    """Say for a machine what was found."""
    prior, card = found.filler.prior, found.filler.card
    return {
        **found.as_dict(),
        "map": str(args.map),
        "mask": str(args.mask),
        "method": args.method,
        "seed": args.seed,
        "report": str(args.report) if args.report else None,
        "sfconv": found.filler.unconverged == 0 if found.filler.converged is not None else None,
        "prior": None if prior is None else skyfill.inpaint.describe_prior(prior),
        "weights": None if card is None else card.name,
        "seconds": round(seconds, 2),
    }
