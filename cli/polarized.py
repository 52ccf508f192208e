"""Fill T, Q and U, or Q and U, of one file: `skyfill inpaint --stokes`."""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import skyfill

from . import filling, options, reading, records, theory, wording
from .progress import progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["add_stokes", "of_one_column", "run"]

#: Options that a fill of polarization does not have, with the value that means not given.
_OTHERS: dict[str, Any] = {
    "field": 0,
    "nside": None,
    "polish": None,
    "holes": None,
    "footprint": None,
    "std": None,
    "std_draws": None,
    "report": None,
    "save_prior": None,
    "cl": None,
    "prior": None,
    "cache": None,
    "memory_limit": None,
    "dry_run": False,
    "weights": None,
}


def add_stokes(parser: argparse.ArgumentParser) -> None:
    """Declare --stokes, and the options of polarization."""
    group = parser.add_argument_group("polarization")
    group.add_argument(
        "--stokes",
        choices=("TQU", "T", "QU"),
        help="fill T, Q and U of the file together, or one of T and QU, with --method gaussian; "
        "their columns are found by name (default: the column of --field alone)",
    )
    group.add_argument(
        "--mask-pol",
        type=Path,
        metavar="FILE",
        help="mask of Q and U, 1 = observed (default: MASK)",
    )
    group.add_argument(
        "--noise-pol-uk-arcmin",
        type=options.amount,
        metavar="RMS",
        help="white noise of Q, and of U, in µK·arcmin (default: √2 times that of T)",
    )
    group.add_argument(
        "--polcconv",
        choices=("COSMO", "IAU"),
        help="sign of U in the file (default: its card POLCCONV, else COSMO)",
    )


def of_one_column(args: argparse.Namespace) -> argparse.Namespace:
    """Give the options that fill one column; refuse those of polarization."""
    for name in ("mask_pol", "noise_pol_uk_arcmin", "polcconv"):
        if vars(args)[name] is not None:
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(f"{flag} is an option of polarization; pass --stokes TQU or QU too")
    if args.stokes is None:
        return args
    if args.field != 0:
        raise ValueError("--stokes T and --field both name a column; drop one of them")
    (name,) = skyfill.maps.stokes_columns(args.map, args.stokes, hdu=args.hdu)
    return argparse.Namespace(**vars(args) | {"field": name})


def _refuse(args: argparse.Namespace, outputs: list[Path]) -> None:
    """Refuse what a fill of polarization cannot do."""
    if args.method != "gaussian":
        raise ValueError(f"--stokes {args.stokes} is filled by --method gaussian; pass that")
    if args.dipole == "fit":
        raise ValueError("--dipole fit is for T alone; pass --dipole marginalise or prior")
    for name, nothing in _OTHERS.items():
        if vars(args)[name] != nothing:
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(f"--stokes {args.stokes} does not take {flag}; drop it")
    if args.noise_map == reading.AUTO:
        raise ValueError("--noise-map auto is for T alone; give a file with II, QQ, QU and UU")
    if args.noise_field is not None or args.noise_variance:
        raise ValueError(
            "with --stokes, --noise-map finds II, QQ, QU and UU by name; drop --noise-field and"
            " --noise-variance"
        )
    filling.refuse(args)
    filling.refuse_same_files(args, outputs)
    if args.mask_pol is not None and args.mask_pol.resolve() in {x.resolve() for x in outputs}:
        raise ValueError(f"--output {args.mask_pol} is also an input; give another name")


def run(args: argparse.Namespace) -> int:
    """Fill the map of --stokes."""
    begun = time.perf_counter()
    outputs = skyfill.batch.outputs_of(args.output, args.realizations)
    _refuse(args, outputs)
    for path in outputs:
        skyfill.check_writable(path, overwrite=args.overwrite, kind="map")
    with progress(quiet=args.quiet) as listener:
        listener.stage("read")
        sky = skyfill.maps.read_stokes(
            args.map,
            args.stokes,
            polcconv=args.polcconv,
            unit=args.unit,
            hdu=args.hdu,
            missing=args.missing,
            frame=args.frame,
            like=args.mask,
        )
        first = sky.skies[0]
        observed = reading.mask_of(args, args.mask, like=first)
        observed_pol = None
        if args.mask_pol is not None:
            with wording.naming(field="--mask-field"):
                observed_pol = reading.mask_of(args, args.mask_pol, like=first)
        noise = None
        if args.noise_map is not None:
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
            if args.stokes == "QU":
                noise = noise[-3:]
        said = "assumed, the file does not say" if sky.assumed else "given"
        listener.done(
            f"nside {first.nside}, {', '.join(each.column for each in sky.skies)}, {first.unit},"
            f" {sky.polcconv} ({said})"
        )
        try:
            fitter = skyfill.inpaint.PolarizedInpainter(
                sky.values,
                observed,
                observed_pol=observed_pol,
                prior=theory.given(args),
                noise_pol_uk_arcmin=args.noise_pol_uk_arcmin,
                noise_variance=noise,
                trust_prior=args.trust_prior,
                fill=args.fill,
                dipole=args.dipole,
                tolerance=args.tolerance,
                accept=args.accept,
                seed=args.seed,
                threads=args.threads or 0,
                progress=listener,
            )
        except (skyfill.masks.UnusableSkyError, skyfill.prior.UnlikelyPriorError) as error:
            raise ValueError(f"{args.map} and {args.mask}: {error}") from None
        converged = True
        for path, (kind, fills) in zip(outputs, _fills(args, fitter), strict=True):
            listener.stage("write")
            skyfill.maps.write_filled_stokes(
                path,
                sky,
                fills,
                fitter.holes,
                provenance=_cards(args, sky, fitter) | {"SFFILL": (kind, "what the holes hold")},
                history=[args.command, f"map {args.map.name}, mask {args.mask.name}"],
                overwrite=args.overwrite,
            )
            converged &= bool(fitter.converged)
            listener.done(f"{path}, {kind}")
    if args.json:
        print(json.dumps(_summary(args, sky, fitter, outputs, time.perf_counter() - begun)))
    else:
        print("\n".join(_lines(args, sky, fitter, outputs)))
    return 0


def _fills(
    args: argparse.Namespace, fitter: skyfill.inpaint.PolarizedInpainter
) -> Iterator[tuple[str, list[NDArray[np.float64]]]]:
    """Give the mean, or the realizations one by one."""
    if args.mean:
        yield "mean", fitter.mean()
        return
    for index in range(args.realizations):
        yield f"realization {index}", fitter.realization(index)


def _cards(
    args: argparse.Namespace,
    sky: skyfill.maps.StokesMap,
    fitter: skyfill.inpaint.PolarizedInpainter,
) -> dict[str, tuple[str | int | float | bool, str]]:
    """Record in header cards how the map was filled."""
    cards: dict[str, tuple[str | int | float | bool, str]] = {**records.command_cards(args)}
    cards["SFMETHOD"] = (args.method, "how the holes were filled")
    cards["SFSTOKES"] = (sky.stokes, "filled together")
    if not args.mean:
        cards["SFLIKE"] = (args.fill, "noise in the holes (data) or none (signal)")
    if args.dipole != "marginalise":
        cards["SFDIPOLE"] = (args.dipole, "treatment of monopole and dipole")
    cards |= theory.cards(fitter.prior.temperature)
    cards["SFNOISEP"] = (
        float(f"{fitter.prior.noise_pol:.6g}"),
        "[uK arcmin] white noise of Q, of U",
    )
    cards["SFBB"] = ("lensing", "BB of the prior, which the holes share")
    if fitter.plausibility is not None:
        cards["SFCHECK"] = (fitter.plausibility.verdict, "does the prior fit the observed T?")
    cards["SFPOWERP"] = (round(fitter.power_pol, 4), "power of the observed Q, U over the prior's")
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


def _lines(
    args: argparse.Namespace,
    sky: skyfill.maps.StokesMap,
    fitter: skyfill.inpaint.PolarizedInpainter,
    outputs: list[Path],
) -> list[str]:
    """Summarise the run in lines of text."""
    lines = theory.lines(args, fitter.prior.temperature)
    lines.append(
        f"         Q and U: noise {fitter.prior.noise_pol:.1f} uK.arcmin"
        f" ({'given' if args.noise_pol_uk_arcmin is not None else '√2 times that of T'}), EE, BB"
        " and TE of the same theory, lensed, r = 0"
    )
    if fitter.plausibility is not None:
        lines.append(f"check    T {fitter.plausibility.verdict}: {fitter.plausibility}")
    lines.append(f"check    P has {fitter.power_pol:.3f} times the power of its prior")
    for name, each in fitter.certificates.items():
        lines.append(f"exact    {name}: {each}")
    if sky.assumed:
        lines.append("assumed  U as in COSMO, since the file has no POLCCONV")
    for letter, hole in zip(sky.stokes, fitter.holes, strict=True):
        lines.append(f"filled   {letter}: {hole.mean():.2%} of the sky, {int(hole.sum())} pixels")
    lines.append("note     BB in the holes is the prior's: measure r on the observed sky")
    return [*lines, *[f"output   {path}" for path in outputs]]


def _summary(
    args: argparse.Namespace,
    sky: skyfill.maps.StokesMap,
    fitter: skyfill.inpaint.PolarizedInpainter,
    outputs: list[Path],
    seconds: float,
) -> dict[str, object]:
    """Summarise the run for JSON."""
    cards = _cards(args, sky, fitter)
    return {
        "outputs": [str(path) for path in outputs],
        "stokes": sky.stokes,
        "polcconv": sky.polcconv,
        "polcconv_assumed": sky.assumed,
        "nside": sky.skies[0].nside,
        "filled_pixels": {
            letter: int(hole.sum()) for letter, hole in zip(sky.stokes, fitter.holes, strict=True)
        },
        "prior": theory.as_json(args, fitter.prior.temperature),
        "noise_pol_uk_arcmin": fitter.prior.noise_pol,
        "way": fitter.way,
        "b_leakage": [float(f"{share:.3e}") for share in fitter.certificates["P"].leakage or ()],
        "seconds": round(seconds, 2),
    } | {key.lower(): value for key, (value, _) in cards.items()}
