"""The prior on the command line: its options, how it is printed, and how it is recorded."""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import skyfill

from . import options, reading, wording

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
    "fits_cl",
    "given",
    "given_cl",
    "has_file",
    "lines",
    "quality_cards",
    "save",
    "sky_spectra",
    "spectrum",
    "used",
]

Cards = dict[str, tuple[str | int | float | bool, str]]


def add_prior(parser: argparse.ArgumentParser, *, otherwise: str, fits: bool = True) -> None:
    """Declare the options of the prior; `otherwise` explains the defaults."""
    group = parser.add_argument_group("prior: statistics of the sky", otherwise)
    group.add_argument(
        "--prior",
        type=Path,
        metavar="FILE",
        help="read the whole prior from a file of --save-prior or from a map that skyfill filled; "
        "the options below replace single values of it",
    )
    group.add_argument(
        "--cl",
        type=_source,
        metavar="FILE",
        help="theory spectrum, text or FITS: columns ell and C_ell in µK²"
        + ("; or the word map: a smooth spectrum fitted to the observed sky" if fits else "")
        + " (default: Planck 2018 ΛCDM)",
    )
    group.add_argument(
        "--dl", action="store_true", help="the file of --cl holds D_ell = ell (ell + 1) C_ell / 2π"
    )
    group.add_argument(
        "--cl-column",
        type=options.field,
        metavar="COLUMN",
        help="column of the spectrum in the file of --cl (default: TT)",
    )
    group.add_argument(
        "--cl-unit", metavar="UNIT", help="unit of a spectrum whose file names no unit: K^2, ..."
    )
    group.add_argument(
        "--cl-hdu", type=options.field, metavar="HDU", help="HDU of the table if --cl is FITS"
    )
    group.add_argument(
        "--cl-extend",
        action="store_true",
        help="use ΛCDM at every ell that the file of --cl lacks: below its first ell, in gaps and "
        "beyond its last",
    )
    group.add_argument(
        "--beam-arcmin",
        type=options.arcmin,
        metavar="FWHM",
        help="full width at half maximum of the Gaussian beam",
    )
    group.add_argument(
        "--beam",
        type=Path,
        metavar="FILE",
        help="tabulated beam in place of the Gaussian: text or FITS, columns ell and b_ell, or one "
        "column from ell = 0; Planck RIMO tables BEAMWF",
    )
    group.add_argument(
        "--beam-squared",
        action=argparse.BooleanOptionalAction,
        help="whether --beam holds B_ell² (default: as its column is named, else b_ell)",
    )
    group.add_argument(
        "--beam-column",
        type=options.field,
        metavar="COLUMN",
        help="column of the beam in the file of --beam",
    )
    group.add_argument(
        "--beam-hdu",
        type=options.field,
        metavar="HDU",
        help="table of the beam if --beam is FITS: BEAMWF_143X143",
    )
    group.add_argument(
        "--noise-uk-arcmin",
        type=options.amount,
        metavar="RMS",
        help="white noise, in µK·arcmin",
    )
    group.add_argument(
        "--pixel-window",
        action=argparse.BooleanOptionalAction,
        help="whether the map includes the HEALPix pixel window",
    )
    if fits:
        group.add_argument(
            "--no-fit",
            action="store_true",
            help="fit nothing: no beam unless --beam-arcmin or --beam is given, no noise "
            "unless --noise-uk-arcmin is given",
        )


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Declare --trust-prior."""
    parser.add_argument(
        "--trust-prior",
        action="store_true",
        help="fill even if the observed sky contradicts the prior, with a warning",
    )


def add_save(parser: argparse.ArgumentParser) -> None:
    """Declare --save-prior."""
    parser.add_argument(
        "--save-prior",
        type=Path,
        metavar="FILE.json",
        help="write the prior of this run to a file that --prior reads",
    )


#: What --cl says if the spectrum itself is to be fitted to the map.
_MAP = "map"


def _source(text: str) -> Path | str:
    """Take a file, or the word that asks for a fitted spectrum (a file of that name is ./map)."""
    return _MAP if text == _MAP else Path(text)


def fits_cl(args: argparse.Namespace) -> bool:
    """Tell whether the spectrum itself is to be fitted to the map."""
    return bool(args.cl == _MAP)


def has_file(args: argparse.Namespace) -> bool:
    """Tell whether --cl names a file."""
    return args.cl is not None and not fits_cl(args)


def check(args: argparse.Namespace) -> None:
    """Refuse options that would have no effect, before any file is read."""
    if fits_cl(args):
        for name in ("prior", "no_fit"):
            if getattr(args, name, None):
                raise ValueError(f"--cl map fits a spectrum; drop --{name.replace('_', '-')}")
    about = {
        "--dl": args.dl,
        "--cl-column": args.cl_column is not None,
        "--cl-unit": args.cl_unit is not None,
        "--cl-hdu": args.cl_hdu is not None,
        "--cl-extend": args.cl_extend,
    }
    for name, is_given in about.items():
        if is_given and not has_file(args):
            raise ValueError(f"{name} is an option of --cl FILE; pass --cl as well")
    about = {
        "--beam-squared": args.beam_squared is not None,
        "--beam-column": args.beam_column is not None,
        "--beam-hdu": args.beam_hdu is not None,
    }
    for name, is_given in about.items():
        if is_given and args.beam is None:
            raise ValueError(f"{name} is an option of --beam FILE; pass --beam as well")
    if args.beam is not None and args.beam_arcmin is not None:
        raise ValueError("--beam-arcmin and --beam are two beams: give one of them")
    if getattr(args, "save_prior", None) is not None:
        skyfill.check_writable(args.save_prior, overwrite=args.overwrite)


def given(args: argparse.Namespace, header: skyfill.Prior | None = None) -> skyfill.prior.Given:
    """Collect the given values; the rest comes from the prior of the header, if there is one."""
    base = header
    if args.prior is not None:
        base = skyfill.prior.read_prior(args.prior)
        _ask_for_noise(args, base)
    known = spectrum(args)
    words: dict[str, Any] = {}
    if known is not None:
        words = {"cl": known.cl, "theory": args.cl.name}
    elif fits_cl(args):
        words, base = {"cl": "map"}, None
    return skyfill.prior.Given(
        **words,
        fwhm=None if args.beam_arcmin is None else math.radians(args.beam_arcmin / 60),
        beam=tabulated(args),
        noise_uk_arcmin=args.noise_uk_arcmin,
        pixel_window=args.pixel_window,
        base=base,
        fit=not getattr(args, "no_fit", True),
    )


def _ask_for_noise(args: argparse.Namespace, base: skyfill.Prior) -> None:
    """Refuse a prior that was used with a noise map if no noise is given."""
    takes_maps = "noise_map" in args
    if base.noise_map and takes_maps and args.noise_map is None and args.noise_uk_arcmin is None:
        raise ValueError(
            f"{args.prior} was used with the noise map {base.noise_map}; pass --noise-map as well,"
            " or --noise-uk-arcmin for white noise in its place"
        )


def used(
    args: argparse.Namespace,
    prior: skyfill.Prior | None,
    noise: skyfill.prior.NoiseEstimate | None = None,
) -> skyfill.Prior | None:
    """Give the prior of this run with the name of the noise map that replaces its white noise.

    A map that was estimated and not used has no name.
    """
    if prior is None:
        return None
    name = "" if noise is not None and not noise.used else reading.name_of_noise(args)
    return replace(prior, noise_map=name or "")


def spectrum(args: argparse.Namespace) -> skyfill.prior.SpectrumFile | None:
    """Read --cl; None without the option."""
    if not has_file(args):
        return None
    # The map has options with the same names, so errors must name those of the spectrum.
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


def sky_spectra(args: argparse.Namespace) -> skyfill.prior.SkySpectra | None:
    """Read TT, EE, BB and TE of --cl and add the tensor modes of --r; None without either."""
    if not has_file(args) and args.r is None:
        return None
    spectra = skyfill.prior.SkySpectra.lcdm()
    if has_file(args):
        if args.cl_column is not None:
            raise ValueError(
                "--cl-column names one spectrum, and polarization needs four, which are found by"
                " name: TT, EE, BB and TE; drop it"
            )
        names = {name: f"--cl-{name}" for name in ("unit", "hdu", "extend")}
        with wording.naming(**names):
            spectra = skyfill.prior.SkySpectra.read(
                args.cl,
                dl=args.dl or None,
                unit=args.cl_unit,
                extend=args.cl_extend,
                hdu=args.cl_hdu,
            )
    return spectra.with_tensors(args.r or 0.0)


def add_r(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Declare --r."""
    parser.add_argument(
        "--r",
        type=options.amount,
        metavar="R",
        help="tensor-to-scalar ratio at k = 0.05 / Mpc: add tensor modes to the spectra of T and P "
        "(default: 0)",
    )


def polarized(
    args: argparse.Namespace,
    temperature: skyfill.Prior,
    recorded: skyfill.prior.PolarizedPrior | None,
) -> skyfill.prior.PolarizedPrior:
    """Add EE, BB, TE and the noise of P to a prior of T: those given, else recorded, or ΛCDM."""
    spectra, noise = sky_spectra(args), args.noise_pol_uk_arcmin
    if spectra is not None:
        if args.prior is not None:
            raise ValueError("--prior holds four spectra; drop it, or --cl and --r")
        temperature = replace(temperature, cl=spectra.tt, theory=spectra.theory)
    if spectra is not None or recorded is None:
        return skyfill.prior.PolarizedPrior.of(temperature, noise, spectra=spectra)
    if noise is None:
        return replace(recorded, temperature=temperature)
    return replace(recorded, temperature=temperature, noise_pol_uk_arcmin=noise, fitted_pol=())


def tabulated(args: argparse.Namespace) -> skyfill.prior.Beam | None:
    """Read --beam; None without the option."""
    if args.beam is None:
        return None
    names = {name: f"--beam-{name}" for name in ("column", "hdu")}
    with wording.naming(**names):
        return skyfill.prior.read_beam(
            args.beam, squared=args.beam_squared, column=args.beam_column, hdu=args.beam_hdu
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


def lines(
    args: argparse.Namespace,
    prior: skyfill.Prior | None,
    noise: skyfill.prior.NoiseEstimate | None = None,
) -> list[str]:
    """Describe the prior, and how the file of --cl was read, in lines of text."""
    if prior is None:
        return ["prior    none: this method has no prior"]
    known = spectrum(args)
    said = [f"{args.cl.name}: {line}" for line in _said(known)]
    said += _said_of_beam(prior)
    if noise is not None:
        said.append(f"noise map auto: {noise}")
    elif reading.name_of_noise(args) is not None:
        said.append(f"{args.noise_map.name}: noise map, replaces the white noise above")
    if prior.quality is not None:
        said.append(f"fit      {prior.quality}")
    first = f"prior    {skyfill.inpaint.describe_prior(prior)}"
    return [first, *[x if x.startswith("fit  ") else f"         {x}" for x in said]]


def as_json(
    args: argparse.Namespace,
    prior: skyfill.Prior | None,
    noise: skyfill.prior.NoiseEstimate | None = None,
) -> dict[str, Any] | None:
    """Describe the prior for JSON."""
    if prior is None:
        return None
    known = spectrum(args)
    return {
        "text": skyfill.inpaint.describe_prior(prior),
        "theory": prior.theory,
        "beam_arcmin": math.degrees(prior.beam_fwhm) * 60,
        "beam_table": _table(prior.beam),
        "noise_uk_arcmin": prior.noise_uk_arcmin,
        "calibration": prior.calibration,
        "pixel_window": prior.pixel_window,
        "extra_share": prior.extra_share,
        "quality": None if prior.quality is None else prior.quality.as_dict(),
        "noise_map": str(vars(args).get("noise_map") or "") or None,
        **({} if noise is None else {"noise_estimate": noise.as_dict()}),
        "origin": {name: prior.origin(name) for name in skyfill.prior.NUMBERS},
        "said": _said(known) + _said_of_beam(prior),
    }


def _said(known: skyfill.prior.SpectrumFile | None) -> list[str]:
    """Say how the file of --cl was read, with the options of the command line."""
    return [] if known is None else [wording.as_options(line) for line in known.said]


def _said_of_beam(prior: skyfill.Prior) -> list[str]:
    """Say how a tabulated beam was read, and what is beyond its end."""
    if prior.beam is None:
        return []
    lines = map(wording.as_options, prior.beam.lines(prior.lmax))
    return [f"{prior.beam.name}: {line}" for line in lines]


def _table(beam: skyfill.prior.Beam | None) -> dict[str, Any] | None:
    """Name a tabulated beam for JSON."""
    if beam is None:
        return None
    return {"file": beam.name, "sha256": beam.sha256, "lmax": beam.last}


def cards(prior: skyfill.Prior) -> Cards:
    """Record the prior in header cards, for people; programs read the HDU of `attached`."""
    short = {
        "cl": "theory",
        "fwhm": "beam",
        "noise_uk_arcmin": "noise",
        "calibration": "power",
        "pixel_window": "window",
    }
    origins = " ".join(f"{word}={prior.origin(name)}" for name, word in short.items())
    beam = {} if prior.beam is None else _beam_cards(prior.beam)
    return {
        "SFCL": (prior.theory, "theory C_ell"),
        "SFBEAM": (float(f"{math.degrees(prior.beam_fwhm) * 60:.6g}"), "[arcmin] FWHM of the beam"),
        **beam,
        "SFNOISE": (float(f"{prior.noise_uk_arcmin:.6g}"), "[uK arcmin] white noise"),
        "SFCALIB": (round(prior.calibration, 5), "factor of the power of the theory"),
        "SFPIXWIN": (prior.pixel_window, "does the map include the pixel window?"),
        "SFORIGIN": (origins, ""),
        "SFFITTED": (bool(prior.fitted), "is any of the prior fitted to this map?"),
    }


def _beam_cards(beam: skyfill.prior.Beam) -> Cards:
    """Record a tabulated beam; the SFBEAM of its fill is that of the nearest Gaussian."""
    cards: Cards = {"SFBEAMF": (beam.name, "tabulated beam; SFBEAM: nearest Gaussian")}
    if beam.sha256:
        cards["SFBEAMSH"] = (beam.sha256, "sha256 of its file")
    return cards


def quality_cards(quality: skyfill.prior.Quality) -> Cards:
    """Record in header cards how well the prior was found to describe the observed sky."""
    cards: Cards = {
        "SFQUAL": (quality.verdict, "how well the fitted prior describes the sky"),
        "SFCHI2": (round(quality.chi2, 1), "misfit of the spectrum, chi2"),
        "SFDOF": (quality.freedom, "its degrees of freedom"),
    }
    if quality.whitened is not None:
        cards["SFWHITE"] = (round(quality.whitened, 4), "rms of decorrelated pixels, 1 if right")
    return cards


def attached(prior: skyfill.Prior | None) -> tuple[str, bytes]:
    """Give the HDU that stores the prior exactly; an empty one removes a stored prior."""
    return skyfill.prior.PRIOR_HDU, b"" if prior is None else skyfill.prior.prior_hdu(prior)
