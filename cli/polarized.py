"""Fill T, Q and U, or Q and U, of one file: `skyfill inpaint --stokes`."""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import skyfill

from . import filling, options, outlook, reading, records, theory, wording
from .progress import progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "add_stokes",
    "fitter_of",
    "masks_of",
    "noise_of",
    "of_one_column",
    "prior_of",
    "prior_as_json",
    "refuse",
    "run",
    "sky_of",
    "within_limit",
    "write",
]

#: Options that a fill of polarization does not have: the value that means not given, and the mend.
_OTHERS: dict[str, tuple[Any, str]] = {
    "nside": (None, "a multi-order map of polarization is not read; convert it first"),
    "polish": (None, "drop it; --method gaussian is exact"),
    "holes": (None, "it fills every hole; drop it"),
    "footprint": (None, "it fills every hole; drop it, or fill T alone with --stokes T"),
    "report": (None, "evaluate T with --stokes T --report, and the spectra of the output"),
    "weights": (None, "drop it; no network fills polarization"),
}
#: The same of --method diffuse, which has neither prior nor realizations.
_PRIOR_ONLY = ("noise_map", "std", "std_draws", "save_prior", "prior", "cache")


def add_stokes(parser: argparse.ArgumentParser) -> None:
    """Declare --stokes, and the options of polarization."""
    group = parser.add_argument_group("polarization")
    group.add_argument(
        "--stokes",
        choices=("TQU", "T", "QU"),
        help="fill T, Q and U of the file together, or one of T and QU, with --method gaussian or "
        "diffuse; their columns are found by name, or named by --field T,Q,U (default: the column "
        "of --field alone)",
    )
    group.add_argument(
        "--mask-pol",
        type=Path,
        metavar="FILE",
        help="mask of Q and U, 1 = observed (default: MASK; its column PMASK, if it has TMASK and "
        "PMASK)",
    )
    group.add_argument(
        "--noise-pol-uk-arcmin",
        type=options.amount,
        metavar="RMS",
        help="white noise of Q, and of U, in µK·arcmin (default: fitted to the observed Q and U; "
        "where that cannot be, √2 times that of T)",
    )
    theory.add_r(group)
    group.add_argument(
        "--polcconv",
        choices=("COSMO", "IAU"),
        help="sign of U in the file (default: its card POLCCONV, else COSMO)",
    )


def of_one_column(args: argparse.Namespace) -> argparse.Namespace:
    """Give the options that fill one column; refuse those of polarization."""
    for name in ("mask_pol", "noise_pol_uk_arcmin", "polcconv", "r"):
        if vars(args)[name] is not None:
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(f"{flag} is an option of polarization; pass --stokes TQU or QU too")
    if args.stokes is None:
        return args
    if args.field != 0:
        raise ValueError("--stokes T and --field both name a column; drop one of them")
    (name,) = skyfill.maps.stokes_columns(args.map, args.stokes, hdu=args.hdu)
    both = _both_masks(args)
    mask = args.mask_field if both is None else both[0]
    return argparse.Namespace(**vars(args) | {"field": name, "mask_field": mask})


def _refuse(args: argparse.Namespace, outputs: list[Path]) -> None:
    """Refuse what a fill of polarization cannot do."""
    refuse(args)
    filling.refuse(args)
    if args.std_draws is not None and (not args.std or args.std_draws < 2):
        raise ValueError("--std-draws is for --std, and at least 2; pass it as well")
    filling.refuse_same_files(args, outputs)
    if args.mask_pol is not None and args.mask_pol.resolve() in {x.resolve() for x in outputs}:
        raise ValueError(f"--output {args.mask_pol} is also an input; give another name")


def refuse(args: argparse.Namespace) -> None:
    """Refuse methods and options that do not exist for polarization, of any verb."""
    methods = skyfill.inpaint.POLARIZED_METHODS
    if args.method not in methods:
        raise ValueError(
            f"--stokes {args.stokes} is not filled by --method {args.method}; pass --method"
            f" {' or '.join(methods)}"
        )
    if args.dipole == "fit":
        raise ValueError("--dipole fit is for T alone; pass --dipole marginalise or prior")
    for name, (nothing, mend) in _OTHERS.items():
        if vars(args).get(name, nothing) != nothing:
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(f"--stokes {args.stokes} does not take {flag}: {mend}")
    if theory.fits_cl(args):
        raise ValueError(
            "--cl map fits a spectrum of T, and EE, BB and TE are not known then; drop it, or pass"
            " --cl FILE with four spectra"
        )
    if args.prior is not None and (args.r is not None or args.cl is not None):
        raise ValueError("--prior holds four spectra; drop it, or --cl and --r")
    if args.noise_map == reading.AUTO:
        raise ValueError("--noise-map auto is for T alone; give a file with II, QQ, QU and UU")
    if args.noise_field is not None or args.noise_variance:
        raise ValueError(
            "with --stokes, --noise-map finds II, QQ, QU and UU by name; drop --noise-field and"
            " --noise-variance"
        )
    _refuse_of_diffuse(args)


def _refuse_of_diffuse(args: argparse.Namespace) -> None:
    """Refuse options of the prior with a method that has none."""
    if args.method != "diffuse":
        return
    for name in (*_PRIOR_ONLY, "noise_pol_uk_arcmin", "r"):
        if vars(args).get(name) is not None:
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(
                f"diffuse has no prior and no realizations; drop {flag}, or pass --method gaussian"
            )


def _both_masks(args: argparse.Namespace) -> tuple[str, str] | None:
    """Name the masks of T and of P that one file holds; None if that is not asked for."""
    if args.mask_pol is not None or args.mask_field != 0:
        return None
    return skyfill.maps.mask_columns(args.mask)


def masks_of(
    args: argparse.Namespace, like: skyfill.SkyMap | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None, str]:
    """Read the masks of T and of P, and say where they are if one file holds both."""
    both = _both_masks(args)
    if both is not None:
        t, p = (
            reading.mask_of(
                argparse.Namespace(**vars(args) | {"mask_field": name}), args.mask, like=like
            )
            for name in both
        )
        return t, p, f", masks {both[0]} and {both[1]} of {args.mask.name}"
    observed = reading.mask_of(args, args.mask, like=like)
    if args.mask_pol is None:
        return observed, None, ""
    with wording.naming(field="--mask-field"):
        return observed, reading.mask_of(args, args.mask_pol, like=like), ""


def run(args: argparse.Namespace) -> int:
    """Fill the map of --stokes."""
    begun = time.perf_counter()
    outputs = skyfill.batch.outputs_of(args.output, args.realizations)
    _refuse(args, outputs)
    for path in [*outputs, *filter(None, (args.std,))]:
        skyfill.check_writable(path, overwrite=args.overwrite, kind="map")
    with progress(quiet=args.quiet) as listener:
        sky, observed, observed_pol, noise = _read(args, listener)
        seen = _seen(sky, observed, observed_pol)
        plan = _planned(args, seen, outputs)
        if args.dry_run:
            outlook.tell_polarized(args, sky, plan, outputs)
            return 0
        fitter = fitter_of(args, sky, (observed, observed_pol), noise, listener)
        spread = skyfill.inpaint.PolarizedSpread(fitter)
        for path, kind, fills in _fills(args, fitter, outputs, spread):
            write(args, sky, fitter, path, kind, fills, listener)
        if args.std:
            _write_std(args, sky, fitter, spread, listener)
        if args.save_prior is not None and fitter.prior is not None:
            skyfill.prior.save_prior(args.save_prior, fitter.prior, overwrite=args.overwrite)
    if args.json:
        seconds = time.perf_counter() - begun
        print(json.dumps(_summary(args, sky, fitter, outputs, spread, seconds)))
    else:
        print("\n".join(_lines(args, sky, fitter, outputs)))
    return 0


def _read(
    args: argparse.Namespace, listener: skyfill.Progress
) -> tuple[
    skyfill.maps.StokesMap,
    NDArray[np.bool_],
    NDArray[np.bool_] | None,
    NDArray[np.float64] | None,
]:
    """Read the map, the mask, the mask of P, and the noise map."""
    listener.stage("read")
    sky = sky_of(args)
    first = sky.skies[0]
    observed, observed_pol, masks = masks_of(args, first)
    noise = noise_of(args, first)
    said = "assumed, the file does not say" if sky.assumed else "given"
    listener.done(
        f"nside {first.nside}, {', '.join(each.column for each in sky.skies)}, {first.unit},"
        f" {sky.polcconv} ({said}){masks}"
    )
    return sky, observed, observed_pol, noise


def sky_of(args: argparse.Namespace) -> skyfill.maps.StokesMap:
    """Read the columns of --stokes."""
    columns = None if args.field == 0 else [options.field(x) for x in str(args.field).split(",")]
    return skyfill.maps.read_stokes(
        args.map,
        args.stokes,
        columns=columns,
        polcconv=args.polcconv,
        unit=args.unit,
        single=args.method == "diffuse",  # as for T alone
        hdu=args.hdu,
        missing=args.missing,
        frame=args.frame,
        like=args.mask,
    )


def noise_of(args: argparse.Namespace, first: skyfill.SkyMap) -> NDArray[np.float64] | None:
    """Read --noise-map: II, QQ, QU and UU, or those of them that are there; None without it."""
    if args.noise_map is None:
        return None
    with wording.naming(unit="--noise-unit"):
        noise = skyfill.maps.read_noise_stokes(
            args.noise_map,
            polcconv=args.polcconv,
            unit=args.noise_unit,
            frame=args.frame,
            like=first,
        )
    if args.stokes == "QU" and noise.ndim == 1:
        raise ValueError(
            f"--noise-map {args.noise_map} has no QQ, QU and UU, and Q and U are filled;"
            " give their white noise by --noise-pol-uk-arcmin"
        )
    return noise[-3:] if args.stokes == "QU" else noise


def _seen(
    sky: skyfill.maps.StokesMap,
    observed: NDArray[np.bool_],
    observed_pol: NDArray[np.bool_] | None,
) -> dict[str, NDArray[np.bool_]]:
    """Say of T and of P where it is observed and in the map."""
    import numpy as np

    pol = observed if observed_pol is None else observed_pol
    out = {"P": pol & np.isfinite(sky.components[-1]) & np.isfinite(sky.components[-2])}
    if sky.stokes == "TQU":
        out = {"T": observed & np.isfinite(sky.components[0]), **out}
    return out


def _planned(
    args: argparse.Namespace, seen: dict[str, NDArray[np.bool_]], outputs: list[Path]
) -> skyfill.plan.JointPlan:
    """Plan the fill; refuse it if it takes more than --memory-limit, or cannot be made."""
    if args.dry_run:
        try:
            for each in seen.values():
                if not each.all():
                    skyfill.masks.holes_to_fill(each)
        except skyfill.masks.UnusableSkyError as error:
            raise ValueError(f"{args.map} and {args.mask}: {error}") from None
    return within_limit(args, seen, maps=max(len(outputs), _draws_for_spread(args)))


def within_limit(
    args: argparse.Namespace, seen: dict[str, NDArray[np.bool_]], *, maps: int = 1, shares: int = 1
) -> skyfill.plan.JointPlan:
    """Plan the fill; refuse it if it takes more than a share of --memory-limit."""
    plan = skyfill.plan.make_joint_plan(
        seen, method=args.method, known=not theory.given(args).fits, maps=maps
    )
    if args.memory_limit is not None and plan.memory > args.memory_limit / shares:
        less = "" if args.method == "diffuse" else ", or pass --method diffuse"
        raise ValueError(
            f"{args.method} takes about {plan.memory / 2**30:.2g} GiB for this map,"
            f" --memory-limit is {args.memory_limit / shares / 2**30:.2g} GiB; raise it{less}"
        )
    return plan


def _draws_for_spread(args: argparse.Namespace) -> int:
    """Give the number of realizations for --std."""
    return (args.std_draws or filling.STD_DRAWS) if args.std else 0


def fitter_of(
    args: argparse.Namespace,
    sky: skyfill.maps.StokesMap,
    masks: tuple[NDArray[np.bool_], NDArray[np.bool_] | None],
    noise: NDArray[np.float64] | None,
    listener: skyfill.Progress,
) -> skyfill.inpaint.PolarizedInpainter:
    """Make the inpainter of a map from the options."""
    spectra = theory.sky_spectra(args)
    try:
        return skyfill.inpaint.PolarizedInpainter(
            sky.components,
            masks[0],
            observed_pol=masks[1],
            method=args.method,
            prior=prior_of(args, sky.skies[0].nside, spectra),
            spectra=spectra,
            noise_pol_uk_arcmin=args.noise_pol_uk_arcmin,
            noise_variance=noise,
            trust_prior=args.trust_prior,
            fill=args.fill,
            dipole=args.dipole,
            tolerance=args.tolerance,
            accept=args.accept,
            seed=args.seed,
            threads=args.threads or 0,
            cache=args.cache,
            progress=listener,
        )
    except (skyfill.masks.UnusableSkyError, skyfill.prior.UnlikelyPriorError) as error:
        raise ValueError(f"{args.map} and {args.mask}: {error}") from None


def prior_of(
    args: argparse.Namespace, nside: int, spectra: skyfill.prior.SkySpectra | None
) -> skyfill.prior.PolarizedPrior | skyfill.prior.Given:
    """Collect the given values; the rest is fitted, or that of ΛCDM."""
    known = theory.given(args)
    if spectra is not None:
        return replace(known, cl=None)  # which is one of four
    recorded = None if args.prior is None else skyfill.prior.read_polarization(args.prior)
    temperature = known.complete(nside)
    if recorded is None or temperature is None:
        return known
    return theory.polarized(args, temperature, recorded)


def _fills(
    args: argparse.Namespace,
    fitter: skyfill.inpaint.PolarizedInpainter,
    outputs: list[Path],
    spread: skyfill.inpaint.PolarizedSpread,
) -> Iterator[tuple[Path, str, list[NDArray[np.float64]]]]:
    """Give the fills to write, each with its file; those for --std alone are not given."""
    written = args.realizations if fitter.stochastic and not args.mean else 0
    if written == 0:
        yield outputs[0], "mean", fitter.mean()
    for index in range(max(written, _draws_for_spread(args))):
        fills = fitter.realization(index)
        spread.add(fills)
        if index < written:
            yield outputs[index], f"realization {index}", fills


def write(
    args: argparse.Namespace,
    sky: skyfill.maps.StokesMap,
    fitter: skyfill.inpaint.PolarizedInpainter,
    path: Path,
    kind: str,
    fills: list[NDArray[np.float64]],
    listener: skyfill.Progress,
) -> None:
    """Write one filled map, with its prior."""
    listener.stage("write")
    prior = fitter.prior
    skyfill.maps.write_filled_stokes(
        path,
        sky,
        fills,
        fitter.holes,
        provenance=_cards(args, sky, fitter) | {"SFFILL": (kind, "what the holes hold")},
        history=[args.command, f"map {args.map.name}, mask {args.mask.name}"],
        attached=(
            skyfill.prior.PRIOR_HDU,
            b"" if prior is None else skyfill.prior.prior_hdu(prior),
        ),
        overwrite=args.overwrite,
    )
    listener.done(f"{path}, {kind}")


def _write_std(
    args: argparse.Namespace,
    sky: skyfill.maps.StokesMap,
    fitter: skyfill.inpaint.PolarizedInpainter,
    spread: skyfill.inpaint.PolarizedSpread,
    listener: skyfill.Progress,
) -> None:
    """Write the uncertainty maps, one column for each Stokes parameter."""
    listener.stage("write")
    first = sky.skies[0]
    names = [f"STD_{letter}" for letter in sky.stokes]
    skyfill.write_map(
        args.std,
        dict(zip(names, spread.maps(), strict=True)),
        unit=first.unit,
        nest=first.nest,
        coord=first.coord,
        provenance=_cards(args, sky, fitter)
        | {"SFCONV": (fitter.unconverged == 0, "have all fills converged?")}
        | {"SFDRAWS": (spread.count, "number of realizations used")},
        history=[args.command],
        overwrite=args.overwrite,
    )
    listener.done(f"{args.std}, from {spread.count} realizations")


def _cards(
    args: argparse.Namespace,
    sky: skyfill.maps.StokesMap,
    fitter: skyfill.inpaint.PolarizedInpainter,
) -> dict[str, tuple[str | int | float | bool, str]]:
    """Record in header cards how the map was filled."""
    cards: dict[str, tuple[str | int | float | bool, str]] = {**records.command_cards(args)}
    cards["SFMETHOD"] = (args.method, "how the holes were filled")
    cards["SFSTOKES"] = (sky.stokes, "filled together")
    if fitter.stochastic and not args.mean:
        cards["SFLIKE"] = (args.fill, "noise in the holes (data) or none (signal)")
    if args.dipole != "marginalise":
        cards["SFDIPOLE"] = (args.dipole, "treatment of monopole and dipole")
    if fitter.prior is not None:
        cards |= _prior_cards(fitter, fitter.prior)
    if fitter.plausibility is not None:
        cards["SFCHECK"] = (fitter.plausibility.verdict, "does the prior fit the observed T?")
    if fitter.power_pol is not None:
        words = "power of the observed Q, U over the prior's"
        cards["SFPOWERP"] = (round(fitter.power_pol, 4), words)
    t, p = fitter.holes[0].mean(), fitter.holes[-1].mean()
    cards["SFFILLED"] = (round(float(t), 6), f"share of {sky.stokes[0]} that is filled")
    cards["SFFILLEP"] = (round(float(p), 6), "share of Q and U that is filled")
    for name, found in fitter.certificates.items():
        cards["SFITER"] = (found.iterations, "iterations on the holes")
        cards["SFCORR"] = (found.corrections, "corrections on the whole sphere")
        cards[f"SFRESID{name}"[:8]] = (
            float(f"{found.residual:.3e}"),
            f"residual of {name}, relative",
        )
        if math.isfinite(found.distance):
            words = f"[uK] estimated rms of {name} from exact mean"
            cards[f"SFDIST{name}"] = (float(f"{found.distance:.3e}"), words)
        if found.leakage:
            words = "B still to come over BB of the prior"
            cards["SFBLEAK"] = (float(f"{max(found.leakage):.3e}"), words)
    if fitter.converged is not None:
        cards["SFCONV"] = (fitter.converged, "has the fill converged to its tolerance?")
    return cards


def _prior_cards(
    fitter: skyfill.inpaint.PolarizedInpainter, prior: skyfill.prior.PolarizedPrior
) -> dict[str, tuple[str | int | float | bool, str]]:
    """Record the prior and how well it describes Q and U."""
    cards: dict[str, tuple[str | int | float | bool, str]] = {**theory.cards(prior.temperature)}
    cards["SFNOISEP"] = (float(f"{prior.noise_pol:.6g}"), "[uK arcmin] white noise of Q, of U")
    power = "fitted" if "calibration_pol" in prior.fitted_pol else "as T"
    cards["SFORIGP"] = (f"noise={prior.origin_noise_pol} power={power}", "origin, of Q and U")
    cards["SFCALIBP"] = (round(prior.calibration_of_pol, 5), "factor of the power of EE and BB")
    cards["SFBB"] = (prior.bb_source, "BB of the prior, which the holes share")
    for name, misfit in fitter.quality_pol.items():
        cards[f"SFCHI2{name}"] = (round(misfit.chi2, 1), f"misfit of {name} of the observed sky")
        cards[f"SFDOF{name}"] = (misfit.freedom, "its degrees of freedom")
    return cards


def prior_as_json(
    fitter: skyfill.inpaint.PolarizedInpainter, prior: skyfill.prior.PolarizedPrior
) -> dict[str, object]:
    """Describe the prior of Q and U for JSON."""
    return {
        "noise_uk_arcmin": prior.noise_pol,
        "noise_origin": prior.origin_noise_pol,
        "calibration": prior.calibration_of_pol,
        "bb": prior.bb_source,
        "quality": {name: each.as_dict() for name, each in fitter.quality_pol.items()},
    }


def _lines(
    args: argparse.Namespace,
    sky: skyfill.maps.StokesMap,
    fitter: skyfill.inpaint.PolarizedInpainter,
    outputs: list[Path],
) -> list[str]:
    """Summarise the run in lines of text."""
    prior = fitter.prior
    lines = theory.lines(args, None if prior is None else prior.temperature)
    if prior is not None:
        lines += _lines_of_pol(args, fitter, prior)
    if fitter.plausibility is not None:
        lines.append(f"check    T {fitter.plausibility.verdict}: {fitter.plausibility}")
    if fitter.power_pol is not None:
        lines.append(f"check    P has {fitter.power_pol:.3f} times the power of its prior")
    for name, each in fitter.certificates.items():
        lines.append(f"exact    {name}: {each}")
    if sky.assumed:
        lines.append("assumed  U as in COSMO, since the file has no POLCCONV")
    for letter, hole in zip(sky.stokes, fitter.holes, strict=True):
        lines.append(f"filled   {letter}: {hole.mean():.2%} of the sky, {int(hole.sum())} pixels")
    whose = "the prior's" if prior is not None else "made by diffusion"
    lines.append(f"note     BB in the holes is {whose}: measure r on the observed sky")
    return [*lines, *[f"output   {path}" for path in outputs]]


def _leakage(fitter: skyfill.inpaint.PolarizedInpainter) -> tuple[float, ...]:
    """Give the shares of B that are still to come, by bin; none without a certificate."""
    found = fitter.certificates.get("P")
    return () if found is None else tuple(found.leakage or ())


def _lines_of_pol(
    args: argparse.Namespace,
    fitter: skyfill.inpaint.PolarizedInpainter,
    prior: skyfill.prior.PolarizedPrior,
) -> list[str]:
    """Describe the prior of Q and U in lines of text."""
    origin = prior.origin_noise_pol
    noise = "assumed: √2 times that of T" if origin == "assumed" else origin
    power = "fitted" if "calibration_pol" in prior.fitted_pol else "as T"
    first = f"Q and U: noise {prior.noise_pol:.1f} uK.arcmin ({noise}), power x"
    first += f" {prior.calibration_of_pol:.3f} ({power}), BB {prior.bb_source}"
    lines = [f"         {first}"]
    spectra = theory.sky_spectra(args)
    if spectra is not None:
        told = theory.lines(args, prior.temperature)
        named = [f"         {args.cl.name}: {wording.as_options(x)}" for x in spectra.said]
        lines += [line for line in named if line not in told]
    lines += [f"fit      {name} {found}" for name, found in fitter.quality_pol.items()]
    return lines


def _summary(
    args: argparse.Namespace,
    sky: skyfill.maps.StokesMap,
    fitter: skyfill.inpaint.PolarizedInpainter,
    outputs: list[Path],
    spread: skyfill.inpaint.PolarizedSpread,
    seconds: float,
) -> dict[str, object]:
    """Summarise the run for JSON, with figures for each Stokes parameter."""
    import numpy as np

    cards = _cards(args, sky, fitter)
    if fitter.converged is not None:
        cards["SFCONV"] = (fitter.unconverged == 0, "have all fills converged?")
    prior = fitter.prior
    stds = {
        letter: float(np.sqrt(np.mean(np.square(std[hole])))) if hole.any() else None
        for letter, std, hole in zip(sky.stokes, spread.maps(), fitter.holes, strict=True)
        if spread.count > 1
    }
    said: dict[str, object] = {
        "outputs": [str(path) for path in outputs],
        "std": str(args.std) if args.std else None,
        "std_rms_uk": stds or None,
        "stokes": sky.stokes,
        "polcconv": sky.polcconv,
        "polcconv_assumed": sky.assumed,
        "nside": sky.skies[0].nside,
        "filled_pixels": {
            letter: int(hole.sum()) for letter, hole in zip(sky.stokes, fitter.holes, strict=True)
        },
        "fsky": {
            letter: 1 - float(hole.mean())
            for letter, hole in zip(sky.stokes, fitter.holes, strict=True)
        },
        "prior": theory.as_json(args, None if prior is None else prior.temperature),
        "noise_pol_uk_arcmin": None if prior is None else prior.noise_pol,
        "prior_pol": None if prior is None else prior_as_json(fitter, prior),
        "check": None if fitter.plausibility is None else fitter.plausibility.as_dict(),
        "certificates": {
            name: {
                "iterations": each.iterations,
                "corrections": each.corrections,
                "residual": each.residual,
                "distance_uk": each.distance if math.isfinite(each.distance) else None,
                "converged": each.converged,
            }
            for name, each in fitter.certificates.items()
        },
        "way": fitter.way,
        "b_leakage": [float(f"{share:.3e}") for share in _leakage(fitter)],
        "seconds": round(seconds, 2),
    }
    return said | {key.lower(): value for key, (value, _) in cards.items()}
