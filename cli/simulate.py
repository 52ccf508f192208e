"""Make a sky or a mask to try things on.

A sky is Gaussian, with beam and white noise; a mask is a ragged Galactic band, holes of point
sources, or both. The same seed gives the same shapes at every resolution.
"""

from __future__ import annotations

import argparse
import json
import math
import warnings

import skyfill

from . import options, records, theory
from .progress import progress

__all__ = ["configure", "run"]

#: Factor of the beam beyond which an end of the spectrum shows in the map.
_SHOWN = 1e-3


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    kinds = parser.add_subparsers(dest="what", metavar="WHAT", required=True, title="what to make")

    sky = kinds.add_parser("sky", help="a CMB sky", description="Draw a Gaussian sky, in µK.")
    _add_common(sky)
    theory.add_prior(sky, otherwise="Where nothing is given: ΛCDM, no beam, no noise.", fits=False)
    sky.add_argument(
        "--lmax",
        type=options.positive,
        metavar="ELL",
        help="largest ell (default: all that beam and pixels let through)",
    )

    mask = kinds.add_parser("mask", help="a mask, 1 = observed", description="Draw a mask.")
    _add_common(mask)
    mask.add_argument("--kind", choices=("band", "holes", "both"), default="both")
    mask.add_argument(
        "--band-deg",
        type=options.latitude,
        default=8.0,
        metavar="HALF_WIDTH",
        help="half the width of the band (default: 8)",
    )
    mask.add_argument("--holes", type=options.whole, default=400, metavar="N", help="default: 400")
    mask.add_argument(
        "--radius-arcmin",
        type=options.arcmin,
        nargs=2,
        default=(12.0, 60.0),
        metavar=("MIN", "MAX"),
        help="radii of the holes (default: 12 60)",
    )


def _add_common(parser: argparse.ArgumentParser) -> None:
    """Declare what skies and masks have in common."""
    options.add_output(parser)
    parser.add_argument("--nside", type=options.positive, required=True, help="resolution")
    options.add_seed(parser)
    options.add_threads(parser)
    options.add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    options.set_threads(args.threads)
    skyfill.check_writable(args.output, overwrite=args.overwrite, kind="map")
    with progress(quiet=args.quiet) as listener:
        listener.stage(args.what)
        summary = _sky(args) if args.what == "sky" else _mask(args)
        listener.done(f"{args.output}, {summary}")
    if args.json:
        print(json.dumps({"output": str(args.output), "nside": args.nside, "seed": args.seed}))
    return 0


def _sky(args: argparse.Namespace) -> str:
    """Draw and write a sky; return a few words about it."""
    theory.check(args)
    prior = theory.given(args).complete(args.nside)
    if prior is None:
        raise ValueError("a prior to simulate from cannot be fitted; give all of it")
    _warn_of_short(args, prior)
    values = skyfill.simulate_sky(
        args.nside,
        seed=args.seed,
        cl=prior.cl,
        fwhm=prior.fwhm,
        noise_uk_arcmin=prior.noise_uk_arcmin,
        pixel_window=prior.pixel_window,
        calibration=prior.calibration,
        lmax=args.lmax,
    )
    skyfill.write_map(
        args.output,
        values,
        provenance={**records.command_cards(args), **theory.cards(prior)},
        history=[args.command],
        attached=theory.attached(prior),
        overwrite=args.overwrite,
    )
    return f"Nside {args.nside}, rms {values.std():.1f} µK"


def _warn_of_short(args: argparse.Namespace, prior: skyfill.Prior) -> None:
    """Warn where --cl ends before what beam and pixels would show."""
    last, shown = prior.cl.size - 1, 2 * args.nside
    if args.cl is None or args.lmax is not None or last >= shown:
        return
    if math.exp(-last * (last + 1) * prior.fwhm**2 / (8 * math.log(2))) > _SHOWN:
        warnings.warn(
            f"{args.cl} ends at l = {last}, and Nside {args.nside} shows l to {shown}: the sky has"
            " no power beyond; pass --cl-extend to take it from ΛCDM, or --lmax"
            f" {last} if that is meant",
            stacklevel=2,
        )


def _mask(args: argparse.Namespace) -> str:
    """Draw and write a mask; return a few words about it."""
    smallest, largest = (math.radians(radius / 60) for radius in args.radius_arcmin)
    observed = skyfill.simulate_mask(
        args.nside,
        seed=args.seed,
        kind=args.kind,
        half_width=math.radians(args.band_deg),
        n_holes=args.holes,
        radii=(smallest, largest),
    )
    records.write_mask(args, observed)
    return f"Nside {args.nside}, {observed.mean():.1%} of the sky observed"
