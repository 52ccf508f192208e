"""Fill T, Q and U, or Q and U, of one file: `skyfill inpaint --stokes`."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import skyfill

from . import filling, outlook, polarcards, polarpages, stokes, theory, wording
from .progress import progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["engine_of", "fitter_of", "prior_as_json", "prior_of", "run", "within_limit", "write"]


def _refuse(args: argparse.Namespace, outputs: list[Path]) -> None:
    """Refuse what a fill of polarization cannot do."""
    stokes.refuse(args)
    filling.refuse(args)
    if args.std_draws is not None and (not (args.std or args.report) or args.std_draws < 2):
        raise ValueError(
            "--std-draws is for --std or --report, and at least 2; pass one of them as well"
        )
    filling.refuse_same_files(args, outputs)


def run(args: argparse.Namespace) -> int:
    """Fill the map of --stokes."""
    begun = time.perf_counter()
    outputs = skyfill.batch.outputs_of(args.output, args.realizations)
    _refuse(args, outputs)
    for path in [*outputs, *filter(None, (args.std,))]:
        skyfill.check_writable(path, overwrite=args.overwrite, kind="map")
    if args.report:
        skyfill.check_writable(args.report, overwrite=args.overwrite, kind="page")
    with progress(quiet=args.quiet) as listener:
        sky, observed, observed_pol, noise = stokes.read(args, listener)
        seen = stokes.seen_of(sky, observed, observed_pol)
        args = stokes.settled(args, seen)
        plan = _planned(args, seen, outputs)
        if args.dry_run:
            outlook.tell_polarized(args, sky, plan, outputs)
            return 0
        fitter = fitter_of(args, sky, (observed, observed_pol), noise, listener)
        spread = skyfill.inpaint.PolarizedSpread(fitter)
        written = _written(args, sky, fitter, outputs, spread, listener)
        if args.report:
            polarpages.write(args, sky, fitter, map(fitter.whole, written), spread, listener)
        deque(written, maxlen=0)  # writes each file, and keeps no fill
        if args.std:
            _write_std(args, sky, fitter, spread, listener)
        if args.save_prior is not None and fitter.prior is not None:
            skyfill.prior.save_prior(args.save_prior, fitter.prior, overwrite=args.overwrite)
    if args.json:
        seconds = time.perf_counter() - begun
        print(json.dumps(_summary(args, sky, fitter, outputs, spread, seconds)))
    else:
        print("\n".join(_lines(args, sky, fitter, outputs, spread)))
    return 0


def engine_of(args: argparse.Namespace) -> skyfill.inpaint.FillOptions | None:
    """Collect the options by which T is filled; None for a method that has none."""
    if args.method != "vae":
        return None
    return skyfill.inpaint.FillOptions(
        method="vae", weights=args.weights, device=args.device, batch_size=args.batch_size
    )


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
    if args.method == "diffuse" or not (args.std or args.report):
        return 0
    return args.std_draws or filling.STD_DRAWS


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
            device=args.device,
            cache=args.cache,
            engine=engine_of(args),
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
        if args.std or args.report or args.json:
            spread.add(fills)
        if index < written:
            yield outputs[index], f"realization {index}", fills
        del fills  # before the next one is there


def _written(
    args: argparse.Namespace,
    sky: skyfill.maps.StokesMap,
    fitter: skyfill.inpaint.PolarizedInpainter,
    outputs: list[Path],
    spread: skyfill.inpaint.PolarizedSpread,
    listener: skyfill.Progress,
) -> Iterator[list[NDArray[np.float64]]]:
    """Write each fill, and yield it."""
    for path, kind, fills in _fills(args, fitter, outputs, spread):
        write(args, sky, fitter, path, kind, fills, listener)
        yield fills
        del fills


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
        provenance=polarcards.cards_of(args, sky, fitter)
        | {"SFFILL": (kind, "what the holes hold")},
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
        provenance=polarcards.cards_of(args, sky, fitter)
        | {"SFCONV": (fitter.unconverged == 0, "have all fills converged?")}
        | filling.draws_cards(spread.count),
        history=[args.command],
        overwrite=args.overwrite,
    )
    listener.done(f"{args.std}, {filling.drawn(args, spread.count)}")


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
    spread: skyfill.inpaint.PolarizedSpread,
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
    if stokes.shares_mask(args):
        lines.append("assumed  the mask of T for Q and U; --mask-pol gives them their own")
    lines += filling.method_lines(args)
    for letter, hole in zip(sky.stokes, fitter.holes, strict=True):
        lines.append(f"filled   {letter}: {hole.mean():.2%} of the sky, {int(hole.sum())} pixels")
    lines += filling.said_of_spread(args, spread.count)
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

    cards = polarcards.cards_of(args, sky, fitter)
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
        "report": str(args.report) if args.report else None,
        "spread_draws": spread.count,
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
                "residual": each.residual if math.isfinite(each.residual) else None,
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
