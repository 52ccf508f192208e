"""Measure the power spectrum of filled skies and compare it with a theory.

Prints the binned D_ell beside the theory's, residuals in units of the error, and chi² for ranges of
ell; optionally writes a table, with C_ell as well, and a plot. Several realizations are averaged.
With --mask, the spectrum of the observed sky alone, corrected for the mask (MASTER), is printed
beside, and the share of the filled sky's power that follows from the prior, with the error that
remains.

With --stokes, or if the map was filled or simulated with Q and U, the spectra are TT, EE, BB, TE,
EB and TB, in this order.
"""

from __future__ import annotations

import argparse
import json
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import skyfill

from . import debiasing, options, reading, sixspectra, theory
from .progress import progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["configure", "run"]

#: Largest Nside at which the prior's share is measured by two fills of a simulated sky, and their
#: accuracy in units of its rms: a hundredth changes a share by a ten-thousandth.
SHARE_NSIDE, SHARE_TOLERANCE = 512, 0.01
#: Kinds of bins. Repeated here so that --help need not import the library.
BINNINGS = ("default", "linear", "log", "planck")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument(
        "maps",
        type=Path,
        nargs="+",
        metavar="FILLED",
        help="filled maps of the whole sky, FITS; several realizations are averaged",
    )
    reading.add_map(parser)
    options.add_output(parser, required=False)
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="plot the spectrum to FILE, a PNG or PDF by its ending",
    )
    parser.add_argument(
        "--lmax", type=options.positive, metavar="ELL", help="largest ell (default: 2 Nside)"
    )
    parser.add_argument(
        "--binning",
        choices=BINNINGS,
        help="default: width grows with ell; linear: constant width; log: 12 bins a decade; "
        "planck: the bins of Planck 2018, single ell below 30 and 30 wide from there",
    )
    parser.add_argument(
        "--bins",
        type=options.positive,
        metavar="WIDTH",
        help="width of linear bins; implies --binning linear (default: 30)",
    )
    parser.add_argument(
        "--range",
        type=int,
        nargs=2,
        action="append",
        metavar=("LOW", "HIGH"),
        help="first and last ell of a chi²; may be repeated (default: 2 29, 30 lmax and 2 lmax)",
    )
    group = parser.add_argument_group("cut sky")
    group.add_argument(
        "--mask",
        type=Path,
        metavar="MASK",
        help="also measure the spectrum of the sky observed by MASK, 1 = observed",
    )
    reading.add_mask(group)
    group.add_argument(
        "--apodize-deg",
        type=options.amount,
        default=0.0,
        metavar="WIDTH",
        help="apodise the mask over WIDTH inside its edges (default: 0)",
    )
    debiasing.add(group)
    sixspectra.add(parser)
    theory.add_prior(
        parser,
        otherwise="Values that are not given are read from the header of the first map, or fitted.",
    )
    options.add_threads(parser)
    options.add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    options.set_threads(args.threads)
    _check(args)
    stokes = sixspectra.chosen(args)
    debiasing.refuse(args)
    if stokes != "T":
        return sixspectra.run(args, stokes)
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
        prior = _prior(args, sky, observed if args.debias else None)
        words = skyfill.inpaint.describe_prior(prior)
        listener.done(words)
        share = _share(args, sky, observed, prior, listener)
        response = debiasing.response_of(args, sky, observed, prior, listener)
        listener.stage("spectrum")
        comparison = skyfill.spectra.compare(
            _skies(args, sky),
            prior,
            lmax=args.lmax,
            bins=args.bins or args.binning,
            observed=observed,
            apodize=math.radians(args.apodize_deg),
            ranges=args.range,
            prior_share=share,
            response=response,
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
    """Refuse options that contradict each other, before any file is read."""
    theory.check(args)
    if args.output and args.plot and args.output.resolve() == args.plot.resolve():
        raise ValueError(f"-o and --plot both name {args.plot}; give two files")
    if args.output:
        skyfill.check_writable(args.output, overwrite=args.overwrite, kind="table")
    if args.plot:
        skyfill.check_writable(args.plot, overwrite=args.overwrite, kind="picture")
    if args.bins and args.binning not in (None, "linear"):
        raise ValueError(f"--bins WIDTH sets linear bins; drop --bins, or --binning {args.binning}")
    if args.mask is None:
        if args.apodize_deg:
            raise ValueError("--apodize-deg is an option of the mask; pass --mask as well")
        reading.refuse_without_mask(args)
    elif args.apodize_deg >= 180:
        raise ValueError(f"--apodize-deg must be below 180, got {args.apodize_deg:g}")


def _prior(
    args: argparse.Namespace,
    sky: skyfill.SkyMap,
    observed: NDArray[np.bool_] | NDArray[np.float64] | None,
) -> skyfill.Prior:
    """Find the prior of the sky: given, read from the header, or fitted, to some pixels or all."""
    import numpy as np

    header = None if args.no_fit else skyfill.prior.recorded_prior(sky.path)
    known = theory.given(args, header)
    there = np.isfinite(sky.values)
    if observed is not None:
        there &= observed > 0
    prior = known.of_map(sky.values, there, threads=args.threads or 0)
    # A map with missing pixels is refused later.
    if prior.fitted and (observed is not None or there.all()):
        found = skyfill.prior.judge(sky.values, there, prior)
        if found.verdict == "refused":
            warnings.warn(
                f"{sky.path}: the fitted prior does not describe the sky, so the theory below is"
                f" not reliable: {found}",
                stacklevel=2,
            )
    return prior


def _share(
    args: argparse.Namespace,
    sky: skyfill.SkyMap,
    observed: NDArray[np.bool_] | NDArray[np.float64] | None,
    prior: skyfill.Prior,
    listener: skyfill.Progress,
) -> NDArray[np.float64] | None:
    """Give the prior's share of each bin of one filled map; of several their differences tell."""
    alone = len(args.maps) == 1 and sky.nside <= SHARE_NSIDE
    if (args.lmax or 0) >= 3 * sky.nside:
        return None  # refused by the comparison, in its own words
    if not alone or observed is None or observed.dtype != bool or observed.all():
        return None
    listener.stage("prior's share")
    share = skyfill.fidelity.prior_share(
        prior,
        observed,
        lmax=args.lmax,
        bins=args.bins or args.binning,
        method="gaussian",
        tolerance=SHARE_TOLERANCE,
        accept=True,
        threads=args.threads or 0,
    )
    listener.done(f"{share.min():.0%} to {share.max():.0%} of a bin's power, from two fills")
    return share


def _mask(
    args: argparse.Namespace, sky: skyfill.SkyMap
) -> NDArray[np.bool_] | NDArray[np.float64] | None:
    """Read --mask, or its weights if it is apodised; refuse another Nside or frame."""
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
    """Say how much of the sky is observed, and whether the mask is read as weights."""
    sky = f"{path}, {(observed > 0).mean():.2%} of the sky"
    if observed.dtype == bool:
        return sky
    return f"{sky}, weights up to {observed.max():.4g}, mean {observed.mean():.4f}: apodised"


def _skies(args: argparse.Namespace, sky: skyfill.SkyMap) -> Iterator[NDArray[np.float64]]:
    """Yield the skies one at a time, so that one is in memory."""
    yield sky.values
    for path in args.maps[1:]:
        other = reading.map_of(args, path, like=sky)
        yield other.values


def _as_text(comparison: skyfill.SpectrumComparison) -> str:
    """Write the bins, as D_ell of the sky, and the tests as a table."""
    full, cut, undone = comparison.full, comparison.cut, comparison.debiased
    share = full.prior_share
    head = "   ell range      D_ell [µK²]     σ [µK²]      theory   residual [σ]"
    if share is not None:
        head += "   prior's share   error [µK²]"
    if undone is not None:
        head += "   debiased [µK²]     σ [µK²]"
    if cut is not None:
        head += "   cut sky: D_ell     σ [µK²]   residual [σ]"
    lines = ["D_ell of the sky: noise subtracted, beam and pixel window divided out", head]
    for at, (low, high) in enumerate(zip(comparison.ell_min, comparison.ell_max, strict=True)):
        line = f"{low:6d} – {high:<6d} {full.dl[at]:13.2f} {full.dl_sigma[at]:11.2f}"
        line += f" {full.dl_theory[at]:11.2f} {full.residual[at]:+14.2f}"
        if share is not None:
            line += f" {share[at]:15.1%} {full.dl_error[at]:13.2f}"
        if undone is not None:
            found = (undone.cl[at] - full.noise[at]) * full.dl_per_cl[at]
            line += f" {found:16.2f} {undone.sigma[at] * full.dl_per_cl[at]:11.2f}"
        if cut is not None:
            line += f" {cut.dl[at]:16.2f} {cut.dl_sigma[at]:11.2f} {cut.residual[at]:+14.2f}"
        lines.append(line)
    lines += _about_errors(comparison)
    for name, tests in (("cut sky", comparison.cut_tests), ("whole sky", comparison.full_tests)):
        lines += [
            f"{name}, ell {test.ell_min} – {test.ell_max}: chi² {test.chi2:.1f} of {test.bins} "
            f"bins, PTE {test.pte:.3g}"
            for test in tests
        ]
    return "\n".join(lines)


def _about_errors(comparison: skyfill.SpectrumComparison) -> list[str]:
    """Say what the errors of the whole sky and of the cut sky are."""
    first = "σ is the scatter of whole skies drawn from the theory: cosmic variance and noise. "
    if comparison.full.prior_share is None:
        first += (
            "How much of a filled sky follows from the prior is not known here: pass its mask "
            f"(--mask), and beyond Nside {SHARE_NSIDE} two realizations of it"
        )
    else:
        first += "The error of the filled sky as a measurement is σ / (1 - prior's share)"
    lines = [first]
    if comparison.cut is not None:
        lines.append(
            "cut sky: pseudo-C_ell, coupling corrected (MASTER); its σ is the error of a "
            "measurement, and its chi² tests the theory; chi² of a filled sky counts what follows "
            "from the prior as data"
        )
    else:
        lines.append(
            "chi² of a filled sky counts what follows from the prior as data: that of the observed"
            " part, which --mask adds, tests the theory"
        )
    return lines


def _as_json(
    args: argparse.Namespace, comparison: skyfill.SpectrumComparison, prior: skyfill.Prior
) -> str:
    """Write the outputs and the bins as JSON."""
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
