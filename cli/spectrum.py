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

from . import options, reading, theory
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
    reading.add_map(parser)
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
    reading.add_mask(group)
    group.add_argument(
        "--apodize-deg",
        type=options.amount,
        default=0.0,
        metavar="WIDTH",
        help="soften the edges of the mask over WIDTH, inwards (default: 0)",
    )
    theory.add_prior(
        parser,
        otherwise="What is not given is what the header of the first map records, or else fitted.",
    )
    options.add_threads(parser)
    options.add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    options.set_threads(args.threads)
    _check(args)
    with progress(quiet=args.quiet) as listener:
        listener.stage("read")
        sky = reading.map_of(args, args.maps[0], like=args.mask)
        more = f" and {len(args.maps) - 1} more" if len(args.maps) > 1 else ""
        frame = reading.assumed(args, sky, *args.maps[1:], args.mask)
        listener.done(f"{args.maps[0]}{more}, Nside {sky.nside}, {sky.column}{frame}")
        if args.mask is not None:
            listener.stage("mask")
        observed = _mask(args, sky)
        if observed is not None:
            listener.done(_described(args.mask, observed))
        listener.stage("theory")
        prior = _prior(args, sky)
        words = skyfill.inpaint.describe_prior(prior)
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
                **({"frame": sky.coord} if sky.coord else {}),
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
    if args.json:
        print(_as_json(args, comparison, prior))
    else:
        print("\n".join([*theory.lines(args, prior), _as_text(comparison)]))
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot be meant, before anything is read."""
    theory.check(args)
    if args.output and args.plot and args.output.resolve() == args.plot.resolve():
        raise ValueError(f"-o and --plot both name {args.plot}; give two files")
    if args.output:
        skyfill.check_writable(args.output, overwrite=args.overwrite, kind="table")
    if args.plot:
        skyfill.check_writable(args.plot, overwrite=args.overwrite, kind="picture")
    if args.bins and args.binning not in (None, "linear"):
        raise ValueError(f"--bins WIDTH is of linear bins, not of --binning {args.binning}")
    if args.mask is None:
        if args.apodize_deg:
            raise ValueError("--apodize-deg is about a mask; pass --mask as well")
        reading.refuse_without_mask(args)
    elif args.apodize_deg >= 180:
        raise ValueError(f"--apodize-deg must be below 180, got {args.apodize_deg:g}")


def _prior(args: argparse.Namespace, sky: skyfill.SkyMap) -> skyfill.Prior:
    """Find the statistics of the sky: as given, as the header records them, or fitted."""
    import numpy as np

    header = None if args.no_fit else skyfill.prior.recorded_prior(sky.path)
    known = theory.given(args, header)
    return known.of_map(sky.values, np.isfinite(sky.values), threads=args.threads or 0)


def _mask(
    args: argparse.Namespace, sky: skyfill.SkyMap
) -> NDArray[np.bool_] | NDArray[np.float64] | None:
    """Read --mask, or the weights of one that is apodised, and refuse what is not of this sky."""
    if args.mask is None:
        return None
    observed: NDArray[np.bool_] | NDArray[np.float64]
    try:
        observed = reading.mask_of(args, args.mask, like=sky)
    except skyfill.masks.ApodisedMaskError:
        if args.apodize_deg:
            raise ValueError(
                f"{args.mask} is apodised already; drop --apodize-deg, or pass --threshold X for a"
                " mask of 0 and 1"
            ) from None
        observed = reading.weights_of(args, args.mask, like=sky)
    if not observed.any():
        raise ValueError(
            f"{args.mask} leaves no pixel observed; if its 1 means masked, pass --invert"
        )
    return observed


def _described(path: Path, observed: NDArray[np.bool_] | NDArray[np.float64]) -> str:
    """Say whether the mask is taken for 0 and 1 or for weights, and how much it leaves."""
    sky = f"{path}, {(observed > 0).mean():.2%} of the sky"
    if observed.dtype == bool:
        return sky
    return f"{sky}, weights up to {observed.max():.4g}, mean {observed.mean():.4f}: apodised"


def _skies(args: argparse.Namespace, sky: skyfill.SkyMap) -> Iterator[NDArray[np.float64]]:
    """Give the skies, of which one is held at a time."""
    yield sky.values
    for path in args.maps[1:]:
        other = reading.map_of(args, path, like=sky)
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


def _as_json(
    args: argparse.Namespace, comparison: skyfill.SpectrumComparison, prior: skyfill.Prior
) -> str:
    """Name the files written and list the bins."""
    return json.dumps(
        {
            "map": str(args.maps[0]),
            "maps": [str(path) for path in args.maps],
            "mask": str(args.mask) if args.mask else None,
            "table": str(args.output) if args.output else None,
            "plot": str(args.plot) if args.plot else None,
            "prior": theory.as_json(args, prior),
            **comparison.as_dict(),
        }
    )
