"""The statistics of the sky on the command line: options, what is printed, what is kept."""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import skyfill

from . import options, wording

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "add_prior",
    "add_save",
    "add_trust",
    "as_json",
    "attached",
    "cards",
    "check",
    "given",
    "given_cl",
    "lines",
    "save",
    "spectrum",
    "used",
]

Cards = dict[str, tuple[str | int | float | bool, str]]


def add_prior(parser: argparse.ArgumentParser, *, otherwise: str, fits: bool = True) -> None:
    """Declare the statistics of the sky; `otherwise` says what holds where none is given."""
    group = parser.add_argument_group("statistics of the sky", otherwise)
    group.add_argument(
        "--prior",
        type=Path,
        metavar="FILE",
        help="all of it from a file of --save-prior, or from a map that skyfill filled; the "
        "options below replace single numbers",
    )
    group.add_argument(
        "--cl",
        type=Path,
        metavar="FILE",
        help="theory, text or FITS: columns ell and C_ell in µK² (default: Planck 2018 ΛCDM)",
    )
    group.add_argument("--dl", action="store_true", help="FILE holds ell (ell + 1) C_ell / 2π")
    group.add_argument(
        "--cl-column", type=options.field, metavar="COLUMN", help="column of FILE (default: TT)"
    )
    group.add_argument("--cl-unit", metavar="UNIT", help="unit of FILE where it names none: K^2 …")
    group.add_argument("--cl-hdu", type=options.field, metavar="HDU", help="table of a FITS FILE")
    group.add_argument(
        "--cl-extend",
        action="store_true",
        help="take ΛCDM where FILE has no row: below its first l, in gaps, beyond its last l",
    )
    group.add_argument("--beam-arcmin", type=options.arcmin, metavar="FWHM", help="Gaussian beam")
    group.add_argument(
        "--noise-uk-arcmin", type=options.amount, metavar="RMS", help="white noise, µK·arcmin"
    )
    group.add_argument(
        "--pixel-window",
        action=argparse.BooleanOptionalAction,
        help="whether the sky was averaged over its pixels",
    )
    if fits:
        group.add_argument(
            "--no-fit",
            action="store_true",
            help="fit nothing: without --beam-arcmin no beam, without --noise-uk-arcmin no noise",
        )


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Declare --trust-prior."""
    parser.add_argument(
        "--trust-prior",
        action="store_true",
        help="fill, with a warning, where the observed sky contradicts the prior",
    )


def add_save(parser: argparse.ArgumentParser) -> None:
    """Declare --save-prior."""
    parser.add_argument(
        "--save-prior",
        type=Path,
        metavar="FILE.json",
        help="write the prior in use, for --prior",
    )


def check(args: argparse.Namespace) -> None:
    """Refuse options that have no effect, before anything is read."""
    about = {
        "--dl": args.dl,
        "--cl-column": args.cl_column is not None,
        "--cl-unit": args.cl_unit is not None,
        "--cl-hdu": args.cl_hdu is not None,
        "--cl-extend": args.cl_extend,
    }
    for name, is_given in about.items():
        if is_given and args.cl is None:
            raise ValueError(f"{name} says how --cl FILE is read; pass --cl as well")
    if getattr(args, "save_prior", None) is not None:
        skyfill.check_writable(args.save_prior, overwrite=args.overwrite)


def given(args: argparse.Namespace, header: skyfill.Prior | None = None) -> skyfill.prior.Given:
    """Collect what the options say; what they leave open is the header's, if there is one."""
    base = header
    if args.prior is not None:
        base = skyfill.prior.read_prior(args.prior)
        _ask_for_noise(args, base)
    known = spectrum(args)
    words = {} if known is None else {"cl": known.cl, "theory": args.cl.name}
    return skyfill.prior.Given(
        **words,
        fwhm=None if args.beam_arcmin is None else math.radians(args.beam_arcmin / 60),
        noise_uk_arcmin=args.noise_uk_arcmin,
        pixel_window=args.pixel_window,
        base=base,
        fit=not getattr(args, "no_fit", True),
    )


def _ask_for_noise(args: argparse.Namespace, base: skyfill.Prior) -> None:
    """Refuse a prior that was used with a noise map where no noise is given."""
    takes_maps = "noise_map" in args
    if base.noise_map and takes_maps and args.noise_map is None and args.noise_uk_arcmin is None:
        raise ValueError(
            f"{args.prior} was used with the noise map {base.noise_map}; pass --noise-map as well,"
            " or --noise-uk-arcmin for white noise in its place"
        )


def used(args: argparse.Namespace, prior: skyfill.Prior | None) -> skyfill.Prior | None:
    """Give the prior in use with the name of the noise map, which stands for its white noise."""
    noise = vars(args).get("noise_map")
    if prior is None:
        return None
    return replace(prior, noise_map="" if noise is None else noise.name)


def spectrum(args: argparse.Namespace) -> skyfill.prior.SpectrumFile | None:
    """Read --cl; None where it is not given."""
    if args.cl is None:
        return None
    # The map has options of these names, too.
    names = {name: f"--cl-{name}" for name in ("unit", "column", "hdu", "extend")}
    with wording.naming(**names):
        return skyfill.prior.read_spectrum(
            args.cl,
            dl=args.dl or None,
            unit=args.cl_unit,
            column=args.cl_column,
            extend=skyfill.lcdm() if args.cl_extend else None,
            hdu=args.cl_hdu,
        )


def given_cl(args: argparse.Namespace) -> NDArray[np.float64]:
    """Give the spectrum of --cl, or ΛCDM."""
    known = spectrum(args)
    return skyfill.lcdm() if known is None else known.cl


def save(args: argparse.Namespace, prior: skyfill.Prior | None) -> None:
    """Write --save-prior."""
    if args.save_prior is None:
        return
    if prior is None:
        raise ValueError(f"{args.method} has no prior; drop --save-prior")
    skyfill.prior.save_prior(args.save_prior, prior, overwrite=args.overwrite)


def lines(args: argparse.Namespace, prior: skyfill.Prior | None) -> list[str]:
    """Say for people what the prior is, and what was taken for what in the file of --cl."""
    if prior is None:
        return ["prior    none: this method has no prior"]
    known = spectrum(args)
    said = [f"{args.cl.name}: {line}" for line in _said(known)]
    if vars(args).get("noise_map") is not None:
        said.append(f"{args.noise_map.name}: the noise, in place of the white noise above")
    return [f"prior    {skyfill.inpaint.describe_prior(prior)}", *[f"         {x}" for x in said]]


def as_json(args: argparse.Namespace, prior: skyfill.Prior | None) -> dict[str, Any] | None:
    """Say the same for a machine."""
    if prior is None:
        return None
    known = spectrum(args)
    return {
        "text": skyfill.inpaint.describe_prior(prior),
        "theory": prior.theory,
        "beam_arcmin": math.degrees(prior.fwhm) * 60,
        "noise_uk_arcmin": prior.noise_uk_arcmin,
        "calibration": prior.calibration,
        "pixel_window": prior.pixel_window,
        "noise_map": str(vars(args).get("noise_map") or "") or None,
        "origin": {name: prior.origin(name) for name in skyfill.prior.NUMBERS},
        "said": _said(known),
    }


def _said(known: skyfill.prior.SpectrumFile | None) -> list[str]:
    """Say what was taken for what in the file of --cl, in the words of the command line."""
    return [] if known is None else [wording.as_options(line) for line in known.said]


def cards(prior: skyfill.Prior) -> Cards:
    """Record the prior in a header, for people; `attached` is what programs read back."""
    short = {
        "cl": "theory",
        "fwhm": "beam",
        "noise_uk_arcmin": "noise",
        "calibration": "power",
        "pixel_window": "window",
    }
    origins = " ".join(f"{word}={prior.origin(name)}" for name, word in short.items())
    return {
        "SFCL": (prior.theory, "theory C_ell"),
        "SFBEAM": (float(f"{math.degrees(prior.fwhm) * 60:.6g}"), "[arcmin] FWHM of the beam"),
        "SFNOISE": (float(f"{prior.noise_uk_arcmin:.6g}"), "[uK arcmin] white noise"),
        "SFCALIB": (round(prior.calibration, 5), "factor of the power of the theory"),
        "SFPIXWIN": (prior.pixel_window, "is the sky averaged over its pixels?"),
        "SFORIGIN": (origins, ""),
        "SFFITTED": (bool(prior.fitted), "is any of it fitted to this map?"),
    }


def attached(prior: skyfill.Prior | None) -> tuple[str, bytes]:
    """Give the HDU that brings the prior back, bit by bit; an empty one removes any other."""
    return skyfill.prior.PRIOR_HDU, b"" if prior is None else skyfill.prior.prior_hdu(prior)
