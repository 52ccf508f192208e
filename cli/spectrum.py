"""Measure the power spectrum of filled skies and set it beside a theory.

Prints binned C_ell over theory, residuals in units of the error, and chi² by ranges of ell; writes
them as a table and draws them where asked to. Of several realizations the mean is taken. With a
mask, the spectrum of what it leaves, its coupling of multipoles undone, stands beside.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import skyfill

from . import options, records
from .progress import progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["configure", "run"]

BINNINGS = ("default", "linear", "log", "planck")  # named here, too, so that --help stays quick


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument(
        "maps", type=Path, nargs="+", metavar="FILLED", help="whole sky, FITS; or realizations"
    )
    options.add_read(parser)
    options.add_output(parser, required=False)
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the spectrum: PNG, or PDF if so named"
    )
    parser.add_argument(
        "--lmax", type=options.positive, metavar="ELL", help="largest ell (default: 2 Nside)"
    )
    parser.add_argument(
        "--binning",
        choices=BINNINGS,
        help="default: growing with ell; linear: one width; log: 12 a decade; planck: those of "
        "Planck 2018, 30 wide from 30 on and single ell below",
    )
    parser.add_argument(
        "--bins",
        type=options.positive,
        metavar="WIDTH",
        help="width of all bins, which makes them linear (default of linear: 30)",
    )
    parser.add_argument(
        "--range",
        type=int,
        nargs=2,
        action="append",
        metavar=("LOW", "HIGH"),
        help="ells of a chi²; may be repeated (default: 2 29, 30 lmax and 2 lmax)",
    )
    group = parser.add_argument_group("cut sky")
    group.add_argument(
        "--mask", type=Path, metavar="MASK", help="measure also what it leaves, 1 = observed"
    )
    options.add_read_mask(group)
    group.add_argument(
        "--apodize-deg",
        type=options.amount,
        default=0.0,
        metavar="WIDTH",
        help="soften the edges of the mask over WIDTH, inwards (default: 0)",
    )
    options.add_prior(
        parser,
        otherwise="Where none is given: what the header of the first map records, or else a beam "
        "and a noise fitted to it.",
    )
    options.add_threads(parser)
    options.add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    options.set_threads(args.threads)
    _check(args)
    with progress(quiet=args.quiet) as listener:
        listener.stage("read")
        sky = skyfill.read_map(args.maps[0], field=args.field, unit=args.unit)
        more = f" and {len(args.maps) - 1} more" if len(args.maps) > 1 else ""
        listener.done(f"{args.maps[0]}{more}, Nside {sky.nside}, {sky.column}")
        observed = _mask(args, sky)
        listener.stage("theory")
        prior, words = records.prior_of(args, sky)
        listener.done(words)
        listener.stage("spectrum")
        comparison = skyfill.spectra.compare(
            _skies(args, sky),
            prior,
            lmax=args.lmax,
            bins=args.bins or args.binning,
            observed=observed,
            apodize=math.radians(args.apodize_deg),
            ranges=args.range,
            settings={
                "map": ", ".join(path.name for path in args.maps),
                "column": sky.column,
                "theory": words,
                **({"mask": args.mask.name} if args.mask else {}),
            },
            threads=args.threads or 0,
        )
        listener.done(f"{comparison.ell.size} bins up to ell = {comparison.lmax}")
    if args.output:
        comparison.write(args.output, overwrite=args.overwrite)
    if args.plot:
        comparison.plot(args.plot, overwrite=args.overwrite)
    print(_as_json(args, comparison) if args.json else _as_text(comparison))
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot be meant, before anything is read."""
    if args.output and args.plot and args.output.resolve() == args.plot.resolve():
        raise ValueError(f"-o and --plot both name {args.plot}; give two files")
    if args.output:
        skyfill.check_writable(args.output, overwrite=args.overwrite, kind="table")
    if args.plot:
        skyfill.check_writable(args.plot, overwrite=args.overwrite, kind="picture")
    if args.bins and args.binning not in (None, "linear"):
        raise ValueError(f"--bins WIDTH is of linear bins, not of --binning {args.binning}")
    if args.mask is None:
        cut = {
            "--apodize-deg": args.apodize_deg,
            "--threshold": args.threshold is not None,
            "--invert": args.invert,
            "--mask-field": args.mask_field,
        }
        given = [name for name, value in cut.items() if value]
        if given:
            raise ValueError(f"{given[0]} is about a mask; pass --mask as well")
    elif args.apodize_deg >= 180:
        raise ValueError(f"--apodize-deg must be below 180, got {args.apodize_deg:g}")


def _mask(args: argparse.Namespace, sky: skyfill.SkyMap) -> NDArray[np.bool_] | None:
    """Read --mask, and refuse one that is not of this sky."""
    if args.mask is None:
        return None
    observed = skyfill.read_mask(
        args.mask, field=args.mask_field, threshold=args.threshold, invert=args.invert
    )
    if observed.size != sky.values.size:
        nside = math.isqrt(observed.size // 12)
        raise ValueError(
            f"{args.maps[0]} has Nside {sky.nside}, {args.mask} has Nside {nside}; give a pair"
        )
    if not observed.any():
        raise ValueError(
            f"{args.mask} leaves no pixel observed; if its 1 means masked, pass --invert"
        )
    frame = skyfill.describe(args.mask).tables[0].coord
    if sky.coord and frame and sky.coord != frame:
        raise ValueError(
            f"{args.maps[0]} is in frame {sky.coord}, {args.mask} in {frame}; give a pair"
        )
    return observed


def _skies(args: argparse.Namespace, sky: skyfill.SkyMap) -> Iterator[NDArray[np.float64]]:
    """Give the skies, of which one is held at a time."""
    yield sky.values
    for path in args.maps[1:]:
        other = skyfill.read_map(path, field=args.field, unit=args.unit)
        if other.nside != sky.nside:
            raise ValueError(
                f"{args.maps[0]} has Nside {sky.nside}, {path} has Nside {other.nside}; "
                "give realizations of one map"
            )
        yield other.values


def _as_text(comparison: skyfill.SpectrumComparison) -> str:
    """Lay the bins and the tests out for reading."""
    lines = ["   ell range        C_ell [µK²]   sky/theory   residual [σ]"]
    bands = [comparison.full]
    if comparison.cut is not None:
        lines[0] += "     cut sky: C_ell   sky/theory   residual [σ]"
        bands.append(comparison.cut)
    for index, (low, high) in enumerate(
        zip(comparison.ell_min, comparison.ell_max, strict=True),
    ):
        cells = [
            f"{band.cl[index]:14.4e} {band.ratio[index]:12.4f} {band.residual[index]:+14.2f}"
            for band in bands
        ]
        lines.append(f"{low:6d} – {high:<6d} " + "     ".join(cells))
    for name, tests in (("whole sky", comparison.full_tests), ("cut sky", comparison.cut_tests)):
        lines += [
            f"{name}, ell {test.ell_min} – {test.ell_max}: chi² {test.chi2:.1f} of {test.bins} "
            f"bins, PTE {test.pte:.3g}"
            for test in tests
        ]
    return "\n".join(lines)


def _as_json(args: argparse.Namespace, comparison: skyfill.SpectrumComparison) -> str:
    """Name the files written and list the bins."""
    return json.dumps(
        {
            "map": str(args.maps[0]),
            "maps": [str(path) for path in args.maps],
            "mask": str(args.mask) if args.mask else None,
            "table": str(args.output) if args.output else None,
            "plot": str(args.plot) if args.plot else None,
            **comparison.as_dict(),
        }
    )
