"""Measure the power spectrum of a whole sky and set it beside a theory.

Prints binned C_ell over theory, and residuals in units of cosmic variance; writes them as a table
and draws them where asked to.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import skyfill

from . import options, records
from .progress import progress

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("map", type=Path, metavar="MAP", help="whole sky, FITS")
    options.add_read(parser)
    options.add_output(parser, required=False)
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw the spectrum")
    parser.add_argument(
        "--lmax", type=options.positive, metavar="ELL", help="largest ell (default: 2 Nside)"
    )
    parser.add_argument(
        "--bins",
        type=options.positive,
        metavar="WIDTH",
        help="width of all bins (default: growing with ell)",
    )
    options.add_prior(
        parser,
        otherwise="Where none is given: what the header of the map records, or else a beam and a "
        "noise fitted to the map.",
    )
    options.add_threads(parser)
    options.add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    options.set_threads(args.threads)
    for path in filter(None, (args.output, args.plot)):
        skyfill.check_writable(path, overwrite=args.overwrite)
    with progress(quiet=args.quiet) as listener:
        listener.stage("read")
        sky = skyfill.read_map(args.map, field=args.field, unit=args.unit)
        listener.done(f"{args.map}, Nside {sky.nside}, {sky.column}")
        listener.stage("theory")
        prior, words = records.prior_of(args, sky)
        listener.done(words)
        listener.stage("spectrum")
        lmax = args.lmax or 2 * sky.nside
        known = min(lmax, 3 * sky.nside - 1, prior.cl.size - 1)
        comparison = skyfill.spectra.compare(
            sky.values,
            prior.total_cl(known),
            lmax=lmax,
            bins=args.bins,
            settings={
                "map": args.map.name,
                "column": sky.column,
                "theory": words,
            },
        )
        listener.done(f"{comparison.ell.size} bins up to ell = {comparison.lmax}")
    if args.output:
        comparison.write(args.output, overwrite=args.overwrite)
    if args.plot:
        comparison.plot(args.plot, overwrite=args.overwrite)
    print(_as_json(args, comparison) if args.json else _as_text(comparison))
    return 0


def _as_text(comparison: skyfill.SpectrumComparison) -> str:
    """Lay the bins out for reading."""
    lines = ["   ell range        C_ell [µK²]   sky/theory   residual [σ]"]
    lines += [
        f"{low:6d} – {high:<6d} {cl:14.4e} {ratio:12.4f} {residual:+14.2f}"
        for low, high, cl, ratio, residual in zip(
            comparison.ell_min,
            comparison.ell_max,
            comparison.cl,
            comparison.ratio,
            comparison.residual,
            strict=True,
        )
    ]
    return "\n".join(lines)


def _as_json(args: argparse.Namespace, comparison: skyfill.SpectrumComparison) -> str:
    """Name the files written and list the bins."""
    columns = ("ell_min", "ell_max", "ell", "cl", "theory", "sigma", "ratio", "residual")
    return json.dumps(
        {
            "map": str(args.map),
            "table": str(args.output) if args.output else None,
            "plot": str(args.plot) if args.plot else None,
            "nside": comparison.nside,
            "lmax": comparison.lmax,
            "settings": dict(comparison.settings),
            "bins": {name: getattr(comparison, name).tolist() for name in columns},
        }
    )
