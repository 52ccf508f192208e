"""Test how well a map can be filled, without knowing the true sky in its holes.

Copies of the mask's holes are placed on observed sky, hidden, filled like the other holes, and
compared with the observed values: errors, z-scores and coverage of the realizations. Seams,
isotropy and the one-point distribution of the filled sky are tested as well. With --stokes the same
copies are hidden in T, Q and U, and each has figures of its own.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import skyfill

from . import (
    filling,
    judgement,
    options,
    pages,
    polarized,
    polarpages,
    reading,
    stokes,
    theory,
    transforms,
)
from .progress import progress

if TYPE_CHECKING:
    from skyfill.fidelity import StokesValidation

__all__ = ["configure", "run"]

#: Methods whose fills of Q and U have a spread.
_STOKES_METHODS = ("gaussian", "vae")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("map", type=Path, metavar="MAP", help="map to fill")
    parser.add_argument("mask", type=Path, metavar="MASK", help="its mask, 1 = observed")
    reading.add_map(parser)
    reading.add_mask(parser)
    parser.add_argument(
        "--method",
        choices=("auto", "vae", "gaussian", "cosmovae"),
        default="auto",
        help="as for `skyfill inpaint` (default: auto)",
    )
    parser.add_argument(
        "--polish",
        type=options.whole,
        metavar="N",
        help="number of iterations of the exact solver after vae, as for `skyfill inpaint`",
    )
    parser.add_argument(
        "--realizations",
        type=options.positive,
        default=20,
        metavar="N",
        help="number of fills from which the spread is estimated, 2 or more (default: 20)",
    )
    parser.add_argument(
        "--holes",
        type=options.positive,
        metavar="N",
        help="largest number of copies of holes (default: as many as --share allows)",
    )
    parser.add_argument(
        "--share",
        type=options.fraction,
        default=0.05,
        metavar="X",
        help="largest share of the observed sky that is hidden (default: 0.05)",
    )
    transforms.add_transform(parser)
    stokes.add_stokes(parser)
    pages.add_report(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    filling.add_partial(parser)
    options.add_dipole(parser)
    options.add_seed(parser)
    theory.add_prior(parser, otherwise="Values that are not given are fitted to the observed sky.")
    theory.add_trust(parser)
    theory.add_save(parser)
    reading.add_noise_map(parser)
    options.add_engine(parser)
    options.add_threads(parser)
    options.add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    begun = time.perf_counter()
    options.set_threads(args.threads)
    theory.check(args)
    transforms.refuse(args)
    if args.realizations < 2:
        raise ValueError("a spread needs at least two realizations; pass --realizations 2 or more")
    if args.method == "gaussian" and args.polish:
        raise ValueError("gaussian is exact already; drop --polish, or pass a smaller --tolerance")
    reading.refuse_without_noise_map(args)
    filling.refuse_same_files(args, [])
    chosen = stokes.chosen(args, args.map, _STOKES_METHODS)
    if stokes.is_polarized(chosen):
        with stokes.or_t_alone(args, chosen):
            return _polarized(chosen, begun)
    args = stokes.of_one_column(chosen)
    pages.check_report(args)
    with progress(quiet=args.quiet) as listener:
        listener.stage("read")
        sky = reading.map_of(args, args.map, like=args.mask)
        observed = reading.mask_of(args, args.mask, like=sky)
        args = filling.settled(args, observed)
        listener.done(f"nside {sky.nside}, {sky.unit}{reading.assumed(args, sky, args.mask)}")
        found = skyfill.fidelity.validate(
            sky.values,
            observed,
            realizations=args.realizations,
            holes=args.holes,
            share=args.share,
            footprint=filling.footprint_of(args, sky),
            accept=args.accept,
            seed=args.seed,
            threads=args.threads or 0,
            progress=listener,
            method=args.method,
            prior=theory.given(args),
            trust_prior=args.trust_prior,
            noise_rms=reading.noise_of(args, sky),
            dipole=args.dipole,
            polish=args.polish,
            tolerance=args.tolerance,
            weights=args.weights,
            device=args.device,
            batch_size=args.batch_size,
            **transforms.words_of(args, sky),
        )
        theory.save(args, theory.used(args, found.filler.prior, found.filler.noise))
        if args.report:
            listener.stage("report")
            page = pages.validation_page(args, sky, found)
            page.write(args.report, overwrite=args.overwrite)
            listener.done(f"{args.report}, {page.verdict}")
    if args.json:
        print(json.dumps(_summary(args, found, time.perf_counter() - begun)))
        return 0
    copies = found.holes
    if isinstance(found.filler, skyfill.inpaint.TransformedInpainter):
        lines = transforms.lines(found.filler)
    else:
        lines = theory.lines(args, found.filler.prior, found.filler.noise)
    print("\n".join([*lines, *filling.method_lines(args)]))
    print(
        f"{len(copies.sizes)} held-out holes, {int(copies.sizes.sum())} pixels, "
        f"{args.realizations} realizations by {args.method}; errors by leaving holes out"
    )
    print(judgement.table(found.figures, found.verdict))
    return 0


def _polarized(args: argparse.Namespace, begun: float) -> int:
    """Validate fills of T, Q and U, or of Q and U."""
    pages.check_report(args)
    stokes.refuse(args, _STOKES_METHODS)
    with progress(quiet=args.quiet) as listener:
        sky, observed, observed_pol, noise = stokes.read(args, listener)
        args = stokes.settled(args, stokes.seen_of(sky, observed, observed_pol))
        spectra = theory.sky_spectra(args)
        try:
            found = skyfill.fidelity.validate_stokes(
                sky.values,
                observed,
                observed_pol=observed_pol,
                realizations=args.realizations,
                holes=args.holes,
                share=args.share,
                accept=args.accept,
                seed=args.seed,
                threads=args.threads or 0,
                progress=listener,
                prior=polarized.prior_of(args, sky.skies[0].nside, spectra),
                spectra=spectra,
                noise_pol_uk_arcmin=args.noise_pol_uk_arcmin,
                noise_variance=noise,
                trust_prior=args.trust_prior,
                dipole=args.dipole,
                tolerance=args.tolerance,
                method=args.method,
                device=args.device,
                engine=polarized.engine_of(args),
            )
        except (skyfill.masks.UnusableSkyError, skyfill.prior.UnlikelyPriorError) as error:
            raise ValueError(f"{args.map} and {args.mask}: {error}") from None
        prior = found.filler.prior
        if args.save_prior is not None and prior is not None:
            skyfill.prior.save_prior(args.save_prior, prior, overwrite=args.overwrite)
        if args.report:
            page = polarpages.validation_page(args, sky, found, listener)
            page.write(args.report, overwrite=args.overwrite)
            listener.done(f"{args.report}, {page.verdict}")
    if args.json:
        print(json.dumps(_summary_of_stokes(args, found, time.perf_counter() - begun)))
        return 0
    copies = found.holes
    print("\n".join(theory.lines(args, None if prior is None else prior.temperature)))
    print(
        f"{len(copies.sizes)} held-out holes, the same of {', '.join(sky.stokes)}, "
        f"{int(copies.sizes.sum())} pixels, {args.realizations} realizations by {args.method}; "
        "errors by leaving holes out"
    )
    print(judgement.tables(found.figures, found.verdict))
    return 0


def _summary_of_stokes(
    args: argparse.Namespace, found: StokesValidation, seconds: float
) -> dict[str, object]:
    """Say for a machine what was found of each Stokes parameter."""
    filler = found.filler
    prior, checked = filler.prior, filler.plausibility
    return {
        **found.as_dict(),
        "map": str(args.map),
        "mask": str(args.mask),
        "mask_pol": str(args.mask_pol) if args.mask_pol else None,
        "method": args.method,
        "seed": args.seed,
        "report": str(args.report) if args.report else None,
        "sfconv": filler.unconverged == 0,
        "prior": theory.as_json(args, None if prior is None else prior.temperature),
        "prior_pol": None if prior is None else polarized.prior_as_json(filler, prior),
        "check": None if checked is None else checked.as_dict(),
        "weights": None if filler.card is None else filler.card.name,
        "seconds": round(seconds, 2),
    }


def _summary(
    args: argparse.Namespace, found: skyfill.fidelity.Validation, seconds: float
) -> dict[str, object]:
    """Say for a machine what was found."""
    checked, card = found.filler.plausibility, found.filler.card
    return {
        **found.as_dict(),
        "map": str(args.map),
        "mask": str(args.mask),
        "method": args.method,
        "why": args.why,
        "seed": args.seed,
        "report": str(args.report) if args.report else None,
        "sfconv": found.filler.unconverged == 0 if found.filler.converged is not None else None,
        "prior": theory.as_json(args, found.filler.prior, found.filler.noise),
        "check": None if checked is None else checked.as_dict(),
        "weights": None if card is None else card.name,
        "seconds": round(seconds, 2),
    }
