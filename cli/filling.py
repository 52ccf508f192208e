"""Fill a map as options say: what `inpaint` and `batch` have in common."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

import skyfill

from . import options, reading, records, theory, wording

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "STD_DRAWS",
    "add_fill",
    "add_partial",
    "cards_of",
    "footprint_of",
    "has_scalar_prior",
    "inpainter_of",
    "options_of",
    "refuse",
    "refuse_same_files",
    "request_of",
    "stay_within",
    "write",
]

#: Files that a fill writes beside the map, and those that it reads.
_WRITTEN = ("std", "report", "save_prior")
_READ = ("map", "mask", "noise_map", "footprint", "cl")
STD_DRAWS = 16  # realizations behind --std where fewer are written


def add_fill(parser: argparse.ArgumentParser) -> None:
    """Declare how maps are filled, and how often."""
    reading.add_map(parser)
    reading.add_mask(parser)
    parser.add_argument(
        "--method",
        choices=("vae", "gaussian", "diffuse", "cosmovae"),
        default="vae",
        help="vae: posterior under the prior, from tiles; gaussian: the same, exactly; "
        "diffuse: neighbour means; cosmovae: the published network, for comparison (default: vae)",
    )
    parser.add_argument(
        "--polish",
        type=options.whole,
        metavar="N",
        help="N exact iterations after vae or diffuse (default: for vae 8 up to Nside 512, 5 "
        "beyond; for diffuse 0)",
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
    theory.add_prior(parser, otherwise="What is not given is fitted to the observed sky.")
    theory.add_trust(parser)
    reading.add_noise_map(parser)
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
    theory.check(args)
    reading.refuse_without_noise_map(args)
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


def refuse_same_files(args: argparse.Namespace, outputs: list[Path]) -> None:
    """Refuse two outputs of one name, and outputs that would replace what is read."""
    named: list[tuple[str, Path | None]] = [("--output", path) for path in outputs]
    named += [(f"--{name.replace('_', '-')}", vars(args).get(name)) for name in _WRITTEN]
    written: dict[Path, str] = {}
    for flag, path in named:
        if path is not None and written.setdefault(path.resolve(), flag) != flag:
            raise ValueError(
                f"{written[path.resolve()]} and {flag} are both {path}; give two names"
            )
    for name in _READ:
        found: Path | None = vars(args).get(name)
        owner = None if found is None else written.get(found.resolve())
        if owner is not None and (owner, name) != ("--output", "map"):  # that is filled in place
            raise ValueError(f"{owner} {found} is read here, too; give another name")
    if args.save_prior is not None:
        skyfill.check_writable(args.save_prior, overwrite=args.overwrite, kind="prior")


def has_scalar_prior(args: argparse.Namespace) -> bool:
    """Tell whether a fill holds the map against the statistics of a temperature."""
    return args.method != "diffuse" or bool(args.polish) or bool(vars(args).get("report"))


def footprint_of(
    args: argparse.Namespace, sky: skyfill.SkyMap | None = None
) -> NDArray[np.bool_] | None:
    """Read --footprint, in the frame of the map, or of the mask where the map names none."""
    if args.footprint is None:
        return None
    like = args.mask if sky is None or not sky.frame.named else sky
    # The options about the mask are not about the footprint, which another verb prepares.
    verb = f"the output of skyfill mask {args.footprint}"
    names = ("threshold", "field", "bits", "invert", "hdu")
    with wording.naming(**{name: f"{verb} --{name}" for name in names}):
        return skyfill.read_mask(args.footprint, frame=args.frame, like=like)


def request_of(args: argparse.Namespace, *, maps: int = 1) -> skyfill.plan.Request:
    """Say what is asked for."""
    known = not theory.given(args).fits
    return skyfill.plan.Request.of(options_of(args), known=known, maps=maps)


def stay_within(
    args: argparse.Namespace, observed: NDArray[np.bool_], *, shares: int = 1
) -> argparse.Namespace:
    """Refuse what takes more than a share of --memory-limit; else give options that fit into it."""
    if args.memory_limit is None:
        return args
    limit = args.memory_limit / shares
    holes = None
    if args.footprint is not None or args.holes == "enclosed":
        holes = skyfill.masks.enclosed_holes(observed, footprint_of(args))
    with wording.naming(limit="--memory-limit"):
        request = skyfill.plan.within(observed, request_of(args), limit, holes=holes)
    return argparse.Namespace(**vars(args) | {"batch_size": request.batch_size})


def options_of(args: argparse.Namespace) -> skyfill.inpaint.FillOptions:
    """Say how maps are filled."""
    return skyfill.inpaint.FillOptions(
        method=args.method,
        trust_prior=args.trust_prior,
        holes=args.holes,
        fill=args.fill,
        dipole=args.dipole,
        polish=args.polish,
        accept=args.accept,
        tolerance=args.tolerance,
        weights=args.weights,
        device=args.device,
        batch_size=args.batch_size,
        threads=args.threads or 0,
        cache=args.cache,
    )


def inpainter_of(
    args: argparse.Namespace,
    sky: skyfill.SkyMap,
    observed: NDArray[np.bool_],
    listener: skyfill.Progress,
) -> skyfill.Inpainter:
    """Prepare to fill a map as the options say."""
    skyfill.maps.refuse_flattened(sky)
    try:
        return skyfill.Inpainter.of(
            sky.values,
            observed,
            options_of(args),
            prior=theory.given(args),
            noise_rms=reading.noise_of(args, sky),
            footprint=footprint_of(args, sky),
            seed=args.seed,
            progress=listener,
        )
    except (skyfill.masks.UnusableSkyError, skyfill.prior.UnlikelyPriorError) as error:
        raise ValueError(f"{args.map} and {args.mask}: {error}") from None


def cards_of(
    args: argparse.Namespace, fitter: skyfill.Inpainter
) -> dict[str, tuple[str | int | float | bool, str]]:
    """Record what was done."""
    cards: dict[str, tuple[str | int | float | bool, str]] = {**records.command_cards(args)}
    cards["SFMETHOD"] = (args.method, "how the holes were filled")
    if args.method in ("vae", "gaussian") and not args.mean:
        cards["SFLIKE"] = (args.fill, "what realizations are like: data or signal")
    if args.method in ("vae", "gaussian") and args.dipole != "marginalise":
        cards["SFDIPOLE"] = (args.dipole, "what became of monopole and dipole")
    if fitter.prior is not None:
        cards |= theory.cards(fitter.prior)
    if args.noise_map is not None:
        cards["SFNOIMAP"] = (args.noise_map.name, "noise in each pixel, in place of SFNOISE")
    if fitter.plausibility is not None:
        cards["SFCHECK"] = (fitter.plausibility.verdict, "observed sky beside the prior")
    cards["SFFILLED"] = (round(float(fitter.holes.mean()), 6), "share of the sky that is filled")
    cards |= _accuracy(fitter)
    if fitter.outside is not None:
        how = "footprint" if args.footprint is not None else "enclosed"
        cards["SFHOLES"] = (how, "which holes were filled; the others stay")
    if fitter.card is not None:
        cards["SFMODEL"] = (fitter.card.name, "model card")
        cards["SFSHA256"] = (fitter.card.sha256, "sha256 of the weights")
    if args.weights and len(args.weights) > 1:
        cards["SFMODELS"] = (len(args.weights), "models that take turns, SFMODEL the first")
    return cards


def _accuracy(fitter: skyfill.Inpainter) -> dict[str, tuple[str | int | float | bool, str]]:
    """Record how exact the last fill is."""
    cards: dict[str, tuple[str | int | float | bool, str]] = {}
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
        attached=theory.attached(theory.used(args, fitter.prior)),
        overwrite=args.overwrite,
    )
    listener.done(f"{path}, {kind}")
