"""Fill a map as the options ask: the code that `inpaint` and `batch` share."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

import skyfill

from . import options, reading, records, theory, transforms, wording

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "NETWORKS",
    "SINGLE",
    "STD_DRAWS",
    "add_fill",
    "add_partial",
    "cards_of",
    "drawn",
    "draws_cards",
    "footprint_of",
    "has_scalar_prior",
    "inpainter_of",
    "method_lines",
    "options_of",
    "refuse",
    "refuse_same_files",
    "request_of",
    "said_of_spread",
    "settled",
    "stay_within",
    "write",
]

#: Options that name files which a fill writes beside the map, and files which it reads.
_WRITTEN = ("std", "report", "save_prior")
_READ = ("map", "mask", "mask_pol", "noise_map", "ivar", "footprint", "cl")
#: Methods with one fill of a map.
SINGLE = ("diffuse", "pconv", "context-encoder")
#: Methods that are networks for single tiles, without a prior.
NETWORKS = ("cosmovae", "pconv", "vaeac", "context-encoder")
#: Number of realizations for --std if fewer are written.
STD_DRAWS = 16


def add_fill(parser: argparse.ArgumentParser) -> None:
    """Declare how maps are filled, and how often."""
    reading.add_map(parser)
    reading.add_mask(parser)
    parser.add_argument(
        "--method",
        choices=("auto", "vae", "gaussian", "diffuse", *NETWORKS),
        default="auto",
        help="gaussian: exact posterior; vae: approximate Gaussian posterior, from tiles; "
        "diffuse: means of neighbours; cosmovae: the published network, for comparison; "
        "pconv, vaeac, context-encoder: other published networks, with --weights; auto: "
        "gaussian up to Nside 512 and on GPUs with float64, where memory allows, else vae "
        "(default: auto)",
    )
    parser.add_argument(
        "--polish",
        type=options.whole,
        metavar="N",
        help="number of iterations of the exact solver after vae or diffuse (default: for vae 8 up "
        "to Nside 512 and 5 beyond; for diffuse 0)",
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--mean", action="store_true", help="write the posterior mean instead of a realization"
    )
    kind.add_argument(
        "--realizations",
        type=options.positive,
        default=1,
        metavar="N",
        help="write N realizations: OUT_000.fits, OUT_001.fits, ... (default: one, OUT.fits)",
    )
    parser.add_argument(
        "--fill",
        choices=("data", "signal"),
        default="data",
        help="data: realizations have noise in the holes, like the noise around them; signal: no "
        "noise in the holes (default: data)",
    )
    parser.add_argument(
        "--holes",
        choices=("all", "enclosed"),
        help="all: fill every hole; enclosed: fill only the holes inside an observed patch and "
        "leave the sky around it unchanged (default: all; required if more than 60%% of the sky "
        "is missing)",
    )
    add_partial(parser)
    options.add_dipole(parser)
    options.add_seed(parser)
    theory.add_prior(parser, otherwise="Values that are not given are fitted to the observed sky.")
    theory.add_trust(parser)
    reading.add_noise_map(parser)
    options.add_engine(parser)
    options.add_memory(parser)
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="cache for arrays that depend only on mask and prior; later runs reuse it (default: "
        "none; batch uses its own folder until it is done)",
    )


def add_partial(parser: argparse.ArgumentParser) -> None:
    """Declare --footprint, and --accept."""
    parser.add_argument(
        "--footprint",
        type=Path,
        metavar="FILE",
        help="mask of the region whose holes are filled, 1 = inside; the rest stays unchanged",
    )
    parser.add_argument(
        "--accept",
        action="store_true",
        help="write a fill that has not converged, with a warning (default: an error)",
    )


def refuse(args: argparse.Namespace) -> None:
    """Refuse options that contradict each other."""
    theory.check(args)
    reading.refuse_without_noise_map(args)
    if args.method in SINGLE and args.realizations > 1:
        raise ValueError(f"{args.method} is deterministic and has one fill; drop --realizations")
    if args.method in NETWORKS and args.fill == "signal":
        raise ValueError(f"{args.method} cannot tell noise from signal; drop --fill, or use vae")
    if args.method == "gaussian" and args.polish:
        raise ValueError("gaussian is exact already; drop --polish, or pass a smaller --tolerance")
    if args.holes == "all" and args.footprint is not None:
        raise ValueError(
            "--holes all fills the whole sphere and --footprint a part of it; drop one of them"
        )
    if args.cache is not None and args.cache.exists() and not args.cache.is_dir():
        raise NotADirectoryError(f"{args.cache} is a file; --cache takes a folder")


def said_of_spread(args: argparse.Namespace, count: int, *, exact: bool = False) -> list[str]:
    """Say how many realizations --std and --report made, and how many are not written.

    ``exact``: the standard deviation is known without realizations.
    """
    said = drawn(args, count, exact=exact)
    if not said:
        return []
    more = "" if exact or " not written" not in said else "; --std-draws N sets the number"
    return [f"spread   {said}{more}"]


def drawn(args: argparse.Namespace, count: int, *, exact: bool = False) -> str:
    """Say how many realizations an uncertainty is from, its error, and how many are not written."""
    if not (args.std or args.report):
        return ""
    if exact:
        return "exact, without realizations"
    if count < 2:
        return ""
    said = f"from {count} realizations, known to {skyfill.inpaint.relative_error(count):.0%}"
    said += " in a pixel"
    more = count - (0 if args.mean else args.realizations)
    return f"{said}, {more} of them not written" if more > 0 else said


def draws_cards(count: int, *, exact: bool = False) -> dict[str, tuple[int | float, str]]:
    """Record how many realizations a map of standard deviations is from, and its error."""
    cards: dict[str, tuple[int | float, str]] = {"SFDRAWS": (count, "number of realizations used")}
    if exact:
        cards["SFSTDERR"] = (0.0, "relative error of a pixel: exact, without realizations")
    elif count > 1:
        error = round(skyfill.inpaint.relative_error(count), 4)
        cards["SFSTDERR"] = (error, "relative error of a pixel, 1/sqrt(2(n-1))")
    return cards


def refuse_same_files(args: argparse.Namespace, outputs: list[Path]) -> None:
    """Refuse two outputs with the same name, and outputs that would replace an input."""
    named: list[tuple[str, Path | None]] = [("--output", path) for path in outputs]
    named += [(f"--{name.replace('_', '-')}", vars(args).get(name)) for name in _WRITTEN]
    written: dict[Path, str] = {}
    for flag, path in named:
        if path is not None and written.setdefault(path.resolve(), flag) != flag:
            raise ValueError(
                f"{written[path.resolve()]} and {flag} are both {path}; give two names"
            )
    for name in _READ:
        found: Path | str | None = vars(args).get(name)
        owner = written.get(found.resolve()) if isinstance(found, Path) else None
        if owner is not None and (owner, name) != ("--output", "map"):  # a map may fill in place
            raise ValueError(f"{owner} {found} is also an input; give another name")
    if args.save_prior is not None:
        skyfill.check_writable(args.save_prior, overwrite=args.overwrite, kind="prior")


def has_scalar_prior(args: argparse.Namespace) -> bool:
    """Tell whether a fill uses the temperature prior, so that polarization must be refused."""
    return args.method != "diffuse" or bool(args.polish) or bool(vars(args).get("report"))


def footprint_of(
    args: argparse.Namespace, sky: skyfill.SkyMap | None = None
) -> NDArray[np.bool_] | None:
    """Read --footprint in the frame of the map, or of the mask if the map names no frame."""
    if args.footprint is None:
        return None
    like: skyfill.SkyMap | Path = args.mask if sky is None or not sky.frame.named else sky
    if args.reproject_mask and like is args.mask:
        like = args.map if sky is None else sky
    # The mask options do not apply to the footprint; `skyfill mask` prepares it.
    verb = f"the output of skyfill mask {args.footprint}"
    names = ("threshold", "field", "bits", "invert", "hdu")
    with wording.naming(**{name: f"{verb} --{name}" for name in names}):
        return skyfill.read_mask(
            args.footprint, frame=args.frame, like=like, reproject=args.reproject_mask
        )


def request_of(
    args: argparse.Namespace, *, maps: int = 1, prior: skyfill.Prior | None = None
) -> skyfill.plan.Request:
    """Describe the requested fill, and the prior if it is known, for the planner."""
    known = not theory.given(args).fits
    mapped = args.noise_map is not None
    return skyfill.plan.Request.of(
        options_of(args), known=known, maps=maps, mapped=mapped, prior=prior
    )


def settled(
    args: argparse.Namespace, observed: NDArray[np.bool_], *, shares: int = 1
) -> argparse.Namespace:
    """Give options with a method in place of `auto`, and the reason for it as ``why``."""
    limit: float | None = vars(args).get("memory_limit")
    asked = skyfill.inpaint.FillOptions(
        method=args.method,
        polish=args.polish,
        tolerance=args.tolerance,
        weights=args.weights,
        device=args.device,
    )
    choice = skyfill.inpaint.choose_method(
        asked,
        observed,
        mapped=args.noise_map is not None,
        limit=None if limit is None else limit / shares,
    )
    return argparse.Namespace(**vars(args) | {"method": choice.method, "why": choice.reason})


def method_lines(args: argparse.Namespace) -> list[str]:
    """Say which method `auto` became, and why; nothing if the method was given."""
    return [] if args.why is None else [f"method   {args.method}: {args.why}"]


def stay_within(
    args: argparse.Namespace, observed: NDArray[np.bool_], *, shares: int = 1
) -> argparse.Namespace:
    """Give options that keep to a share of --memory-limit, or refuse the fill."""
    if args.memory_limit is None:
        return args
    limit = args.memory_limit / shares
    holes = None
    if args.footprint is not None or args.holes == "enclosed":
        holes = skyfill.masks.enclosed_holes(observed, footprint_of(args))
    nside = skyfill.healpix.nside_of(observed, "mask")
    prior = theory.given(args).complete(nside) if args.method == "gaussian" else None
    with wording.naming(limit="--memory-limit"):
        asked = request_of(args, prior=prior)
        request = skyfill.plan.within(observed, asked, limit, holes=holes)
    return argparse.Namespace(**vars(args) | {"batch_size": request.batch_size})


def options_of(args: argparse.Namespace) -> skyfill.inpaint.FillOptions:
    """Give the options of a fill from those of the command line."""
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
    """Make the inpainter of a map from the options."""
    skyfill.maps.refuse_flattened(sky)
    bent = transforms.words_of(args, sky)
    try:
        if bent:
            return skyfill.inpaint.TransformedInpainter(
                sky.values,
                observed,
                prior=theory.given(args),
                noise_rms=reading.noise_of(args, sky),
                footprint=footprint_of(args, sky),
                seed=args.seed,
                progress=listener,
                **vars(options_of(args)),
                **bent,
            )
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


def _noise_cards(
    args: argparse.Namespace, fitter: skyfill.Inpainter
) -> dict[str, tuple[str | float, str]]:
    """Record the noise map, and how it was estimated."""
    cards: dict[str, tuple[str | float, str]] = {}
    if args.noise_map is not None and (fitter.noise is None or fitter.noise.used):
        name = str(reading.name_of_noise(args))
        cards["SFNOIMAP"] = (name, "noise in each pixel, in place of SFNOISE")
    if fitter.noise is not None:
        cards["SFNOISCA"] = (round(fitter.noise.scatter, 4), "scatter of the noise's variance")
        cards["SFNOIUNI"] = (round(fitter.noise.uniform, 4), "the same if it were uniform")
    return cards


def cards_of(
    args: argparse.Namespace, fitter: skyfill.Inpainter
) -> dict[str, tuple[str | int | float | bool, str]]:
    """Record in header cards how the map was filled."""
    cards: dict[str, tuple[str | int | float | bool, str]] = {**records.command_cards(args)}
    cards |= records.method_cards(args)
    if args.method in ("vae", "gaussian") and not args.mean:
        cards["SFLIKE"] = (args.fill, "noise in the holes (data) or none (signal)")
    treated = args.method in ("vae", "gaussian") or args.dipole == "prior"
    if treated and args.dipole != "marginalise":
        cards["SFDIPOLE"] = (args.dipole, "treatment of monopole and dipole")
    if isinstance(fitter, skyfill.inpaint.TransformedInpainter):
        cards |= transforms.cards_of(fitter)
    if fitter.prior is not None:
        cards |= theory.cards(fitter.prior)
    cards |= _noise_cards(args, fitter)
    if fitter.prior is not None and fitter.prior.quality is not None:
        cards |= theory.quality_cards(fitter.prior.quality)
    if fitter.plausibility is not None:
        cards["SFCHECK"] = (fitter.plausibility.verdict, "does the prior fit the observed sky?")
    cards["SFFILLED"] = (round(float(fitter.holes.mean()), 6), "share of the sky that is filled")
    cards |= _accuracy(fitter)
    if fitter.outside is not None:
        how = "footprint" if args.footprint is not None else "enclosed"
        cards["SFHOLES"] = (how, "which holes were filled; others are unchanged")
    if fitter.card is not None:
        cards["SFMODEL"] = (fitter.card.name, "model card")
        cards["SFSHA256"] = (fitter.card.sha256, "sha256 of the weights")
    if args.weights and len(args.weights) > 1:
        cards["SFMODELS"] = (len(args.weights), "models used in turn, SFMODEL the first")
    return cards


def _accuracy(fitter: skyfill.Inpainter) -> dict[str, tuple[str | int | float | bool, str]]:
    """Record the accuracy of the last fill."""
    cards: dict[str, tuple[str | int | float | bool, str]] = {}
    if fitter.polish:
        cards["SFPOLISH"] = (fitter.polish, "iterations of the exact solver afterwards")
    if fitter.certificate is not None:
        found = fitter.certificate
        if found.excess is None:
            cards["SFITER"] = (found.iterations, "iterations on the holes")
            cards["SFCORR"] = (found.corrections, "corrections on the whole sphere")
            cards["SFRESID"] = (float(f"{found.residual:.3e}"), "residual, relative")
        else:
            words = "from surroundings: squared error / exact - 1"
            cards["SFLOCAL"] = (float(f"{found.excess:.3e}"), words)
        if math.isfinite(found.distance):
            cards["SFDIST"] = (float(f"{found.distance:.3e}"), "[uK] estimated rms from exact mean")
    if fitter.converged is not None:
        cards["SFCONV"] = (fitter.converged, "has the fill converged to its tolerance?")
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
        provenance=cards_of(args, fitter) | {"SFFILL": (kind, "what the holes hold")},
        history=[args.command, f"map {args.map.name}, mask {args.mask.name}"],
        attached=theory.attached(theory.used(args, fitter.prior, fitter.noise)),
        overwrite=args.overwrite,
    )
    listener.done(f"{path}, {kind}")
