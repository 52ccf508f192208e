"""Fields that are not Gaussian: the options --transform and --shift, and what is said of them."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import skyfill

from . import theory

__all__ = ["Own", "add_transform", "as_json", "cards_of", "lines", "own_unit", "refuse", "words_of"]


def add_transform(parser: argparse.ArgumentParser) -> None:
    """Declare --transform and --shift."""
    group = parser.add_argument_group("fields that are not Gaussian")
    group.add_argument(
        "--transform",
        choices=("log", "asinh", "rank"),
        help="fill the log, the asinh or the normal ranks of the field, with the spectrum of --cl "
        "map, and transform back; noise is added in the map itself (default: none)",
    )
    group.add_argument(
        "--shift",
        type=float,
        metavar="X",
        help="number added before log or asinh, in the map's unit: minus the lower bound of the "
        "field, 1 for a density contrast (default: fitted)",
    )


@dataclass(frozen=True)
class Own:
    """The unit in which a field is shown: its name, and its size in µK."""

    name: str = "µK"
    uk: float = 1.0


def own_unit(args: argparse.Namespace, sky: skyfill.SkyMap) -> Own:
    """Give the unit in which the report shows a map: µK, or that of a transformed field."""
    if getattr(args, "transform", None) is None:
        return Own()
    # a unit from the command line may only stand for one that skyfill does not know
    return Own("the map's unit" if args.unit else sky.unit, sky.unit_to_uk)


def refuse(args: argparse.Namespace, *, report: bool = False) -> None:
    """Refuse options that contradict --transform, before any file is read.

    `report` says whether the verb shows transformed fields in its report.
    """
    if args.transform is None:
        if args.shift is not None:
            raise ValueError("--shift is an option of --transform log and asinh; pass one of them")
        return
    if not theory.fits_cl(args):
        raise ValueError(
            f"--transform {args.transform} needs the spectrum of the transformed field: pass --cl"
            " map (the CMB is Gaussian, and needs no transform)"
        )
    for name in ("stokes", "report", "save_prior"):
        if getattr(args, name, None) and not (report and name == "report"):
            mend = "; it prints the figures" if name == "report" else ""
            raise ValueError(
                f"--transform {args.transform} does not take --{name.replace('_', '-')}; drop"
                f" it{mend}"
            )


def words_of(args: argparse.Namespace, sky: skyfill.SkyMap) -> dict[str, Any]:
    """Give the arguments of the filler that the options stand for; none without --transform."""
    if getattr(args, "transform", None) is None:
        return {}
    shift = None if args.shift is None else args.shift * skyfill.maps.unit_in_uk(sky.unit)
    return {"transform": args.transform, "shift": shift}


def lines(fitter: skyfill.inpaint.TransformedInpainter) -> list[str]:
    """Say which field was filled, and what was found of its noise."""
    said = [f"prior    spectrum fitted to g = {fitter.transform}, x in µK"]
    prior = fitter.inner.prior
    if prior is not None and prior.quality is not None:
        said.append(f"         fit      {prior.quality}")
    share = f"{fitter.noise_share:.2g} of the variance"
    return [*said, f"         noise {fitter.noise_std:.4g} µK in a pixel, {share}"]


def as_json(fitter: skyfill.inpaint.TransformedInpainter) -> dict[str, Any]:
    """Describe the prior of a transformed field for the manifest of a batch."""
    return {"text": f"spectrum fitted to g = {fitter.transform}, x in µK"}


def cards_of(
    fitter: skyfill.inpaint.TransformedInpainter,
) -> dict[str, tuple[str | int | float | bool, str]]:
    """Record the transform in header cards."""
    cards: dict[str, tuple[str | int | float | bool, str]] = {
        "SFTRANS": (str(fitter.transform), "g, filled in place of x [uK]"),
        "SFTNOISE": (float(f"{fitter.noise_std:.6g}"), "[uK] noise in a pixel"),
    }
    return cards
