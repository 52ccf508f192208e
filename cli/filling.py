"""Fill a map as options say: what `inpaint` and `batch` have in common."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

import skyfill

from . import options, records

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "STD_DRAWS",
    "add_fill",
    "add_partial",
    "cards_of",
    "footprint_of",
    "inpainter_of",
    "observed_of",
    "outside_of",
    "refuse",
    "request_of",
    "stay_within",
    "whole_of",
    "write",
]

STD_DRAWS = 16  # realizations behind --std where fewer are written


def add_fill(parser: argparse.ArgumentParser) -> None:
    """Declare how maps are filled, and how often."""
    options.add_read(parser)
    options.add_read_mask(parser)
    parser.add_argument(
        "--method",
        choices=("vae", "gaussian", "diffuse", "cosmovae"),
        default="vae",
        help="vae: posterior under the prior, by the network; gaussian: the same, exactly; "
        "diffuse: neighbour means; cosmovae: the published network, for comparison (default: vae)",
    )
    parser.add_argument(
        "--polish",
        type=options.whole,
        metavar="N",
        help="N exact iterations after vae or diffuse (default: for vae 8 up to Nside 512, 1 in "
        "small holes beyond; for diffuse 0)",
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--mean", action="store_true", help="the posterior mean, not a realization")
    kind.add_argument(
        "--realizations",
        type=options.positive,
        default=1,
        metavar="N",
        help="write N of them: OUT_000.fits, OUT_001.fits, ... (default: one, OUT.fits)",
    )
    parser.add_argument(
        "--fill",
        choices=("data", "signal"),
        default="data",
        help="realizations with noise in the holes, like the noise around them, or without "
        "(default: data)",
    )
    parser.add_argument(
        "--holes",
        choices=("all", "enclosed"),
        help="which holes to fill: all, or enclosed, those in an observed patch, which leaves the "
        "sky around it as it is (default: all; to be said where more than 60%% of the sky is "
        "missing)",
    )
    add_partial(parser)
    options.add_dipole(parser)
    options.add_seed(parser)
    options.add_prior(parser, otherwise="Where nothing is given: fitted to the observed sky.")
    options.add_noise_map(parser)
    options.add_engine(parser)
    options.add_memory(parser)
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="keep in DIR, for other runs, what is made of mask and prior alone, and look for it "
        "there (default: batch has a folder of its own until it is done)",
    )


def add_partial(parser: argparse.ArgumentParser) -> None:
    """Declare --footprint, and --accept."""
    parser.add_argument(
        "--footprint",
        type=Path,
        metavar="FILE",
        help="where holes may be filled: a mask, 1 = inside; the rest stays as it is",
    )
    parser.add_argument(
        "--accept",
        action="store_true",
        help="take a fill that has not converged, too, with a warning (default: an error)",
    )


def refuse(args: argparse.Namespace) -> None:
    """Refuse options that say nothing together."""
    options.has_prior(args)
    if args.method == "diffuse" and args.realizations > 1:
        raise ValueError("diffuse has one fill and no spread; drop --realizations")
    if args.method == "cosmovae" and args.fill == "signal":
        raise ValueError("cosmovae cannot tell noise from signal; drop --fill, or use vae")
    if args.method == "gaussian" and args.polish:
        raise ValueError("gaussian is exact already; drop --polish, or pass a smaller --tolerance")
    if args.holes == "all" and args.footprint is not None:
        raise ValueError(
            "--holes all fills the whole sphere, --footprint a part of it; drop one of them"
        )
    if args.cache is not None and args.cache.exists() and not args.cache.is_dir():
        raise NotADirectoryError(f"{args.cache} is a file; --cache takes a folder")


def observed_of(args: argparse.Namespace) -> NDArray[np.bool_]:
    """Read the mask."""
    return skyfill.read_mask(
        args.mask, field=args.mask_field, threshold=args.threshold, invert=args.invert
    )


def footprint_of(args: argparse.Namespace) -> NDArray[np.bool_] | None:
    """Read --footprint."""
    return None if args.footprint is None else skyfill.read_mask(args.footprint)


def request_of(args: argparse.Namespace, *, maps: int = 1) -> skyfill.plan.Request:
    """Say what is asked for."""
    return skyfill.plan.Request(
        method=args.method,
        known=options.has_prior(args),
        polish=args.polish,
        batch_size=args.batch_size,
        maps=maps,
    )


def stay_within(args: argparse.Namespace, observed: NDArray[np.bool_], *, shares: int = 1) -> None:
    """Refuse what takes more than a share of --memory-limit; let so many tiles in as it allows."""
    if args.memory_limit is not None:
        limit = args.memory_limit / shares
        holes = None
        if args.footprint is not None or args.holes == "enclosed":
            holes = skyfill.masks.enclosed_holes(observed, footprint_of(args))
        request = skyfill.plan.within(observed, request_of(args), limit, holes=holes)
        args.batch_size = request.batch_size


def inpainter_of(
    args: argparse.Namespace,
    sky: skyfill.SkyMap,
    observed: NDArray[np.bool_],
    listener: skyfill.Progress,
) -> skyfill.Inpainter:
    """Prepare to fill a map as the options say."""
    try:
        return skyfill.Inpainter(
            sky.values,
            observed,
            method=args.method,
            prior=options.given_prior(args, sky.nside) if options.has_prior(args) else None,
            noise_rms=options.noise_rms(args),
            holes=args.holes,
            footprint=footprint_of(args),
            accept=args.accept,
            fill=args.fill,
            dipole=args.dipole,
            polish=args.polish,
            tolerance=args.tolerance,
            seed=args.seed,
            weights=args.weights,
            device=args.device,
            batch_size=args.batch_size,
            threads=args.threads or 0,
            cache=args.cache,
            progress=listener,
        )
    except skyfill.masks.UnusableSkyError as error:
        raise ValueError(f"{args.map} and {args.mask}: {error}") from None


def whole_of(
    sky: skyfill.SkyMap, fitter: skyfill.Inpainter, fill: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Give the sky with a fill in its holes; NaN where it is neither observed nor filled."""
    whole = sky.values.astype("float64")
    whole[~fitter.observed] = float("nan")
    whole[fitter.holes] = fill
    return whole


def outside_of(fitter: skyfill.Inpainter) -> NDArray[np.bool_] | None:
    """Mark what is neither observed nor filled; None where there is no such pixel."""
    outside: NDArray[np.bool_] = ~(fitter.observed | fitter.holes)
    return outside if outside.any() else None


def cards_of(
    args: argparse.Namespace, fitter: skyfill.Inpainter
) -> dict[str, tuple[str | int | float | bool, str]]:
    """Record what was done."""
    cards: dict[str, tuple[str | int | float | bool, str]] = {**records.command_cards(args)}
    cards["SFMETHOD"] = (args.method, "how the holes were filled")
    if args.method in ("vae", "gaussian") and not args.mean:
        cards["SFLIKE"] = (args.fill, "what realizations are like: data or signal")
    if fitter.prior is not None:
        theory = args.cl.name if args.cl else records.LCDM
        cards |= records.prior_cards(fitter.prior, theory)
        cards["SFFITTED"] = (bool(fitter.prior.fitted), "beam and noise fitted to this map?")
    if fitter.polish:
        cards["SFPOLISH"] = (fitter.polish, "exact iterations after the method")
    if fitter.certificate is not None:
        found = fitter.certificate
        cards["SFITER"] = (found.iterations, "iterations on the holes")
        cards["SFCORR"] = (found.corrections, "corrections on the whole sphere")
        cards["SFRESID"] = (float(f"{found.residual:.3e}"), "residual, relative")
        if math.isfinite(found.distance):
            cards["SFDIST"] = (float(f"{found.distance:.3e}"), "[uK] estimated rms from exact mean")
    if fitter.converged is not None:
        cards["SFCONV"] = (fitter.converged, "is that within the tolerance?")
    if outside_of(fitter) is not None:
        how = "footprint" if args.footprint is not None else "enclosed"
        cards["SFHOLES"] = (how, "which holes were filled; the others stay")
    if fitter.card is not None:
        cards["SFMODEL"] = (fitter.card.name, "model card")
        cards["SFSHA256"] = (fitter.card.sha256, "sha256 of the weights")
    if args.weights and len(args.weights) > 1:
        cards["SFMODELS"] = (len(args.weights), "models that take turns, SFMODEL the first")
    return cards


def write(
    args: argparse.Namespace,
    sky: skyfill.SkyMap,
    fitter: skyfill.Inpainter,
    path: Path,
    fill: NDArray[np.float64],
    index: int | None,
    listener: skyfill.Progress,
) -> None:
    """Write one filled map."""
    listener.stage("write")
    kind = "mean" if index is None else f"realization {index}"
    skyfill.write_filled(
        path,
        sky,
        fill,
        fitter.holes,
        provenance=cards_of(args, fitter) | {"SFFILL": (kind, "what stands in the holes")},
        history=[args.command, f"map {args.map.name}, mask {args.mask.name}"],
        overwrite=args.overwrite,
    )
    listener.done(f"{path}, {kind}")
