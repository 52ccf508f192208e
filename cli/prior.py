"""Fit the prior of a map: spectrum, beam, pixel window and noise; and say how well it fits.

Compares the spectrum of the observed sky with that of the prior, bin by bin, and the pixels of
small patches with its correlations. What is given is kept, the rest is fitted. `--prior` of the
other verbs takes the file of -o.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

import skyfill

from . import options, reading, theory
from .progress import progress

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("map", type=Path, metavar="MAP", help="map of the sky, FITS")
    parser.add_argument("mask", type=Path, metavar="MASK", help="its mask, 1 = observed")
    options.add_output(parser, required=False)
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="plot the observed spectrum over the prior, with its parts and the residuals, to "
        "FILE, a PNG or PDF by its ending",
    )
    reading.add_map(parser)
    reading.add_mask(parser)
    theory.add_prior(parser, otherwise="Values that are not given are fitted to the observed sky.")
    options.add_threads(parser)
    options.add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    options.set_threads(args.threads)
    theory.check(args)
    if args.output:
        skyfill.check_writable(args.output, overwrite=args.overwrite, kind="prior")
    if args.plot:
        skyfill.check_writable(args.plot, overwrite=args.overwrite, kind="picture")
    threads = args.threads or 0
    with progress(quiet=args.quiet) as listener:
        listener.stage("read")
        sky = reading.map_of(args, args.map, like=args.mask)
        observed = reading.mask_of(args, args.mask, like=sky)
        listener.done(f"nside {sky.nside}, {sky.unit}{reading.assumed(args, sky, args.mask)}")
        listener.stage("prior")
        found = skyfill.prior.examine(sky.values, observed, theory.given(args), threads=threads)
        listener.done(found.quality.verdict)
    prior, checked = found.prior, found.check
    if checked.verdict in ("refused", "doubtful"):
        warnings.warn(f"the prior may not describe the observed sky: {checked}", stacklevel=2)
    if args.output:
        skyfill.prior.save_prior(args.output, prior, overwrite=args.overwrite)
    if args.plot:
        skyfill.prior.save_fit(args.plot, found.spectrum, prior, overwrite=args.overwrite)
    if args.json:
        print(json.dumps(_summary(args, found)))
        return 0
    print("\n".join(theory.lines(args, prior)))
    for low, high, ratio, sigma in found.quality.worst:
        print(
            f"         l = {low}-{high}: {ratio:.2f} times the expected power ({sigma:+.1f} sigma)"
        )
    print(f"check    {checked.verdict}: {checked}")
    return 0


def _summary(args: argparse.Namespace, found: skyfill.prior.Examined) -> dict[str, object]:
    """Say for a machine what was found."""
    return {
        "map": str(args.map),
        "mask": str(args.mask),
        "output": str(args.output) if args.output else None,
        "plot": str(args.plot) if args.plot else None,
        "prior": theory.as_json(args, found.prior),
        "quality": found.quality.as_dict(),
        "check": found.check.as_dict(),
        "bins": found.spectrum.as_dict(found.prior),
    }
