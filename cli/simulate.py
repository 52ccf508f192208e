"""Simulate a sky or a mask.

A sky is Gaussian, with a beam and white noise. A mask is a ragged Galactic band, holes like those
of point sources, or both. The same seed gives the same shapes at every resolution.
"""

from __future__ import annotations

import argparse
import json
import math
import warnings

import skyfill

from . import options, records, theory
from .progress import progress

__all__ = ["configure", "run"]

#: Beam factor b_l^2 at the last l of a spectrum above which its end is visible in the map.
_SHOWN = 1e-3
#: Names of the columns T, Q and U, as healpy writes them.
_COLUMNS = ("TEMPERATURE", "Q_POLARISATION", "U_POLARISATION")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    kinds = parser.add_subparsers(dest="what", metavar="WHAT", required=True, title="what to make")

    sky = kinds.add_parser("sky", help="a CMB sky", description="Draw a Gaussian sky, in µK.")
    _add_common(sky)
    theory.add_prior(sky, otherwise="Defaults: ΛCDM, no beam, no noise.", fits=False)
    sky.add_argument(
        "--lmax",
        type=options.positive,
        metavar="ELL",
        help="largest ell (default: as far as beam and pixels leave power)",
    )
    group = sky.add_argument_group("polarization")
    group.add_argument(
        "--stokes",
        choices=("T", "TQU", "QU"),
        default="T",
        help="columns of the sky; T is the same for a seed with and without Q and U (default: T)",
    )
    group.add_argument(
        "--noise-pol-uk-arcmin",
        type=options.amount,
        metavar="RMS",
        help="white noise of Q, and of U, in µK·arcmin (default: √2 times that of T)",
    )
    theory.add_r(group)

    mask = kinds.add_parser("mask", help="a mask, 1 = observed", description="Draw a mask.")
    _add_common(mask)
    mask.add_argument(
        "--kind",
        choices=("band", "holes", "both"),
        default="both",
        help="what is masked (default: both)",
    )
    mask.add_argument(
        "--band-deg",
        type=options.latitude,
        default=8.0,
        metavar="HALF_WIDTH",
        help="half the width of the band (default: 8)",
    )
    mask.add_argument(
        "--holes",
        type=options.whole,
        default=400,
        metavar="N",
        help="number of holes (default: 400)",
    )
    mask.add_argument(
        "--radius-arcmin",
        type=options.arcmin,
        nargs=2,
        default=(12.0, 60.0),
        metavar=("MIN", "MAX"),
        help="smallest and largest radius of the holes (default: 12 60)",
    )


def _add_common(parser: argparse.ArgumentParser) -> None:
    """Declare the options that skies and masks share."""
    options.add_output(parser)
    parser.add_argument("--nside", type=options.positive, required=True, help="Nside of the output")
    options.add_seed(parser)
    options.add_threads(parser)
    options.add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    options.set_threads(args.threads)
    skyfill.check_writable(args.output, overwrite=args.overwrite, kind="map")
    with progress(quiet=args.quiet) as listener:
        listener.stage(args.what)
        summary = _sky(args) if args.what == "sky" else _mask(args)
        listener.done(f"{args.output}, {summary}")
    if args.json:
        print(json.dumps({"output": str(args.output), "nside": args.nside, "seed": args.seed}))
    return 0


def _sky(args: argparse.Namespace) -> str:
    """Draw and write a sky; return a few words about it."""
    theory.check(args)
    if theory.fits_cl(args):
        raise ValueError("a simulation has no map to fit a spectrum to; give the file of --cl")
    prior = theory.given(args).complete(args.nside)
    if prior is None:
        raise ValueError("a simulation has no map to fit a prior to; give the whole prior")
    _warn_of_short(args, prior)
    if args.stokes != "T":
        return _polarized(args, prior)
    for name in ("noise_pol_uk_arcmin", "r"):
        if vars(args)[name] is not None:
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(f"{flag} is an option of polarization; pass --stokes TQU")
    values = skyfill.simulate_sky(
        args.nside,
        seed=args.seed,
        cl=prior.cl,
        fwhm=prior.fwhm,
        beam=prior.beam,
        noise_uk_arcmin=prior.noise_uk_arcmin,
        pixel_window=prior.pixel_window,
        calibration=prior.calibration,
        extra_cl=prior.extra_cl,
        lmax=args.lmax,
    )
    skyfill.write_map(
        args.output,
        values,
        provenance={**records.command_cards(args), **theory.cards(prior)},
        history=[args.command],
        attached=theory.attached(prior),
        overwrite=args.overwrite,
    )
    return f"Nside {args.nside}, rms {values.std():.1f} µK"


def _polarized(args: argparse.Namespace, temperature: skyfill.Prior) -> str:
    """Draw and write Q and U, with T or without; return a few words about them."""
    recorded = None if args.prior is None else skyfill.prior.read_polarization(args.prior)
    prior = theory.polarized(args, temperature, recorded)
    sky = skyfill.simulate.simulate_stokes(prior, seed=args.seed, lmax=args.lmax)
    columns = dict(zip(_COLUMNS, sky, strict=True))
    if args.stokes == "QU":
        del columns["TEMPERATURE"]
    noise = float(f"{prior.noise_pol:.6g}")
    skyfill.write_map(
        args.output,
        columns,
        provenance={
            "POLCCONV": ("COSMO", "sign of U, as in HEALPix"),
            **records.command_cards(args),
            **theory.cards(prior.temperature),
            "SFBB": (prior.bb_source, "BB of the sky"),
            "SFSTOKES": (args.stokes, "drawn together"),
            "SFNOISEP": (noise, "[uK arcmin] white noise of Q, of U"),
        },
        history=[args.command],
        attached=(skyfill.prior.PRIOR_HDU, skyfill.prior.prior_hdu(prior)),
        overwrite=args.overwrite,
    )
    rms = ", ".join(f"{name[0]} {values.std():.3g}" for name, values in columns.items())
    return f"Nside {args.nside}, rms {rms} µK"


def _warn_of_short(args: argparse.Namespace, prior: skyfill.Prior) -> None:
    """Warn if --cl ends at an l where beam and pixels still leave power."""
    last, shown = prior.cl.size - 1, 2 * args.nside
    if not theory.has_file(args) or args.lmax is not None or last >= shown:
        return
    if float(prior.beam_window(last)[-1]) ** 2 > _SHOWN:
        warnings.warn(
            f"{args.cl} ends at l = {last}, but Nside {args.nside} resolves l up to {shown}: the"
            " sky has no power beyond the end; pass --cl-extend to continue with ΛCDM, or --lmax"
            f" {last} if that is intended",
            stacklevel=2,
        )


def _mask(args: argparse.Namespace) -> str:
    """Draw and write a mask; return a few words about it."""
    smallest, largest = (math.radians(radius / 60) for radius in args.radius_arcmin)
    observed = skyfill.simulate_mask(
        args.nside,
        seed=args.seed,
        kind=args.kind,
        half_width=math.radians(args.band_deg),
        n_holes=args.holes,
        radii=(smallest, largest),
    )
    records.write_mask(args, observed)
    return f"Nside {args.nside}, {observed.mean():.1%} of the sky observed"
