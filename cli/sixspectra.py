"""Measure the spectra of T, E and B of filled skies: `skyfill spectrum --stokes`."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import skyfill

from . import debiasing, options, reading, theory
from .progress import progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_] | NDArray[np.float64]

__all__ = ["add", "chosen", "run"]

#: Largest Nside at which the prior's share of BB is measured, by the fill of a sky of B modes.
SHARE_NSIDE = 512
#: Options of polarization, which T alone does not have.
_POL = ("mask_pol", "noise_pol_uk_arcmin", "polcconv", "r")


def add(parser: argparse.ArgumentParser) -> None:
    """Declare --stokes, and the options of polarization."""
    group = parser.add_argument_group("polarization")
    group.add_argument(
        "--stokes",
        choices=("T", "TQU", "QU"),
        help="spectra of these columns, found by name (default: those that skyfill filled or drew "
        "together; of other files TQU with --mask-pol, else the column of --field)",
    )
    group.add_argument(
        "--mask-pol",
        type=Path,
        metavar="FILE",
        help="mask of Q and U, 1 = observed (default: that of --mask)",
    )
    group.add_argument(
        "--noise-pol-uk-arcmin",
        type=options.amount,
        metavar="RMS",
        help="white noise of Q, and of U, in µK·arcmin (default: that of the header, else √2 times "
        "that of T)",
    )
    theory.add_r(group)
    group.add_argument(
        "--polcconv",
        choices=("COSMO", "IAU"),
        help="sign of U in the files (default: their card POLCCONV, else COSMO)",
    )


def chosen(args: argparse.Namespace) -> str:
    """Give T, TQU or QU, and refuse options that do not go with it; T sets --field."""
    stokes = args.stokes
    if stokes is not None and args.field != 0:
        raise ValueError("--stokes and --field both name columns; drop one of them")
    if stokes is None and args.field == 0 and args.nside is None:
        stokes, _ = skyfill.maps.recorded_stokes(args.maps[0], hdu=args.hdu)
        if stokes is None and args.mask_pol is not None:
            stokes = "TQU"
    if stokes in (None, "T"):
        for name in _POL:
            if vars(args)[name] is not None:
                flag = f"--{name.replace('_', '-')}"
                raise ValueError(f"{flag} is an option of polarization; pass --stokes TQU or QU")
        if stokes == "T":
            (args.field,) = skyfill.maps.stokes_columns(args.maps[0], "T", hdu=args.hdu)
        return "T"
    if args.nside is not None:
        raise ValueError(f"--stokes {stokes} does not take --nside; drop it")
    if args.mask_pol is not None and args.mask is None:
        raise ValueError("--mask-pol is the mask of Q and U; pass --mask as well")
    return str(stokes)


def run(args: argparse.Namespace, stokes: str) -> int:
    """Measure the spectra of --stokes."""
    with progress(quiet=args.quiet) as listener:
        listener.stage("read")
        sky = _read(args, args.maps[0], stokes, like=reading.beside(args, args.mask))
        first = sky.skies[0]
        said = "assumed, the file does not say" if sky.assumed else "given"
        columns = ", ".join(each.column for each in sky.skies)
        listener.done(f"{args.maps[0]}, Nside {first.nside}, {columns}, {sky.polcconv} ({said})")
        masks = _masks(args, first)
        listener.stage("theory")
        prior, origin = _prior(args, sky, masks)
        words = skyfill.inpaint.describe_prior(prior.temperature)
        words += f", {prior.noise_pol:.1f} uK.arcmin in Q and U ({origin})"
        listener.done(words)
        response = debiasing.response_of_stokes(args, sky, masks, prior, listener)
        share = _share(args, stokes, masks, prior, listener)
        listener.stage("spectra")
        comparison = skyfill.spectra.compare_stokes(
            _skies(args, sky, stokes),
            prior,
            lmax=args.lmax,
            bins=args.bins or args.binning,
            observed=masks[0] if masks else None,
            observed_pol=masks[1] if len(masks) > 1 else None,
            apodize=math.radians(args.apodize_deg),
            ranges=args.range,
            bb_share=share,
            response=response,
            settings={
                "map": ", ".join(path.name for path in args.maps),
                "columns": columns,
                "polcconv": f"{sky.polcconv} ({said})",
                **({"frame": first.coord} if first.coord else {}),
                "theory": words,
                **({"mask": args.mask.name} if args.mask else {}),
                **({"mask_pol": args.mask_pol.name} if args.mask_pol else {}),
            },
            threads=args.threads or 0,
        )
        listener.done(f"{comparison.ell.size} bins up to ell = {comparison.lmax}")
    if args.output:
        comparison.write(args.output, overwrite=args.overwrite)
    if args.plot:
        comparison.plot(args.plot, overwrite=args.overwrite)
    if args.json:
        about = {
            "map": str(args.maps[0]),
            "maps": [str(path) for path in args.maps],
            "mask": str(args.mask) if args.mask else None,
            "mask_pol": str(args.mask_pol) if args.mask_pol else None,
            "table": str(args.output) if args.output else None,
            "plot": str(args.plot) if args.plot else None,
            "polcconv": sky.polcconv,
            "polcconv_assumed": sky.assumed,
            "prior": theory.as_json(args, prior.temperature),
            "noise_pol_uk_arcmin": prior.noise_pol,
            "noise_pol_origin": origin,
        }
        print(json.dumps(about | comparison.as_dict()))
        return 0
    lines = theory.lines(args, prior.temperature)
    lines.append(f"         Q and U: noise {prior.noise_pol:.1f} uK.arcmin ({origin})")
    if sky.assumed:
        lines.append("assumed  U as in COSMO, since the file has no POLCCONV")
    print("\n".join([*lines, *_text(comparison)]))
    return 0


def _read(
    args: argparse.Namespace, path: Path, stokes: str, *, like: skyfill.SkyMap | Path | None
) -> skyfill.maps.StokesMap:
    """Read the columns of one file."""
    return skyfill.maps.read_stokes(
        path,
        stokes,
        polcconv=args.polcconv,
        unit=args.unit,
        hdu=args.hdu,
        missing=args.missing,
        frame=args.frame,
        like=like,
    )


def _skies(
    args: argparse.Namespace, sky: skyfill.maps.StokesMap, stokes: str
) -> Iterator[NDArray[np.float64]]:
    """Yield the skies one at a time, so that one is in memory."""
    yield sky.values
    for path in args.maps[1:]:
        yield _read(args, path, stokes, like=sky.skies[0]).values


def _masks(args: argparse.Namespace, like: skyfill.SkyMap) -> list[Mask]:
    """Read --mask and --mask-pol; an apodised mask gives weights."""
    found: list[Mask] = []
    for path in (args.mask, args.mask_pol):
        if path is None:
            continue
        try:
            observed: Mask = reading.mask_of(args, path, like=like)
        except skyfill.masks.ApodisedMaskError:
            if args.apodize_deg:
                raise ValueError(
                    f"{path} is apodised already; drop --apodize-deg, or pass --threshold X for a"
                    " mask of 0 and 1"
                ) from None
            observed = reading.weights_of(args, path, like=like)
        if not observed.any():
            raise ValueError(
                f"{path} leaves no pixel observed; if its 1 means masked, pass --invert"
            )
        found.append(observed)
    return found


def _prior(
    args: argparse.Namespace, sky: skyfill.maps.StokesMap, masks: list[Mask]
) -> tuple[skyfill.prior.PolarizedPrior, str]:
    """Find the prior of T, given, recorded or fitted, and the noise of P with its origin."""
    import numpy as np

    path, first = args.maps[0], sky.skies[0]
    header = None if args.no_fit else skyfill.prior.recorded_prior(path)
    known = theory.given(args, header)
    t = known.complete(first.nside)
    if t is None and sky.stokes == "QU":
        raise ValueError(
            "Q and U alone: the beam and the noise cannot be fitted; pass --beam-arcmin or --beam,"
            " and --noise-uk-arcmin of T with --noise-pol-uk-arcmin"
        )
    if t is None:
        there = np.isfinite(first.values)
        if args.debias and masks:  # the holes of a mean fill have too little power
            there &= masks[0] > 0
        t = known.of_map(first.values, there, threads=args.threads or 0)
    whole = None
    if args.prior is not None:
        whole = skyfill.prior.read_polarization(args.prior)
    elif header is not None:
        whole = skyfill.prior.recorded_polarization(path)
    prior = theory.polarized(args, t, whole)
    if args.noise_pol_uk_arcmin is not None:
        return prior, "given"
    if prior.noise_pol_uk_arcmin is not None:
        return prior, "prior" if args.prior is not None else "header"
    _, recorded = skyfill.maps.recorded_stokes(path, hdu=args.hdu)
    if recorded is not None and args.noise_uk_arcmin is None and not args.no_fit:
        return replace(prior, noise_pol_uk_arcmin=recorded), "header"
    return prior, "assumed: √2 times that of T"


def _share(
    args: argparse.Namespace,
    stokes: str,
    masks: list[Mask],
    prior: skyfill.prior.PolarizedPrior,
    listener: skyfill.Progress,
) -> NDArray[np.float64] | None:
    """Give the prior's share of BB, if the masks are of 0 and 1 and P has holes."""
    nside = prior.temperature.nside
    if not masks or nside > SHARE_NSIDE or (args.lmax or 0) >= 3 * nside:
        return None
    seen = [mask.astype(bool) for mask in masks if mask.dtype == bool]
    if len(seen) < len(masks) or seen[-1].all() or not prior.bb.any():
        return None
    listener.stage("prior's share of BB")
    share = skyfill.fidelity.bb_share(
        prior,
        seen[0],
        seen[-1],
        stokes=stokes,
        lmax=args.lmax,
        bins=args.bins or args.binning,
        threads=args.threads or 0,
    )
    listener.done(f"{share.min():.0%} to {share.max():.0%}, from the fill of a sky of B modes")
    return share


def _text(comparison: skyfill.spectra.StokesComparison) -> list[str]:
    """Write a table for each spectrum, and what BB is."""
    lines = []
    for name in comparison.names:
        full = comparison.full[name]
        share = full.prior_share
        cut = None if comparison.cut is None else comparison.cut[name]
        undone = None if comparison.debiased is None else comparison.debiased[name]
        head = f"{name}  ell range     D_ell [µK²]     σ [µK²]      theory   residual [σ]"
        head += "" if share is None else "   prior's share"
        head += "" if undone is None else "   debiased [µK²]     σ [µK²]"
        head += "" if cut is None else "   cut sky: D_ell     σ [µK²]   residual [σ]"
        lines += ["", head]
        for at, (low, high) in enumerate(zip(comparison.ell_min, comparison.ell_max, strict=True)):
            line = f"{low:6d} – {high:<6d} {full.dl[at]:13.5g} {full.dl_sigma[at]:11.3g}"
            line += f" {full.dl_theory[at]:11.5g} {full.residual[at]:+14.2f}"
            line += "" if share is None else f" {share[at]:15.1%}"
            if undone is not None:
                there = full.dl_sky[at] + (undone.cl[at] - full.theory[at]) * full.dl_per_cl[at]
                line += f" {there:16.5g} {undone.sigma[at] * full.dl_per_cl[at]:11.3g}"
            if cut is not None:
                line += f" {cut.dl[at]:16.5g} {cut.dl_sigma[at]:11.3g} {cut.residual[at]:+14.2f}"
            lines.append(line)
        for sky, tests in (
            ("cut sky", comparison.cut_tests.get(name, ())),
            ("whole sky", comparison.full_tests[name]),
        ):
            lines += [
                f"{sky}, {name}, ell {test.ell_min} – {test.ell_max}: chi² {test.chi2:.1f} of "
                f"{test.bins} bins, PTE {test.pte:.3g}"
                for test in tests
            ]
    lines.append("")
    lines.append("note     D_ell of the sky: noise subtracted, beam and pixel window divided out")
    lines.append(
        "note     σ is the scatter of skies drawn from the theory: cosmic variance and noise, of a"
        " whole sky or of the cut sky"
    )
    if comparison.cut is not None:
        lines.append("note     cut sky: pseudo-C_ell, coupling corrected (MASTER for spin 0 and 2)")
    lines.append(
        "note     chi² of the cut sky (--mask) tests the theory; that of a filled sky counts what"
        " follows from the prior as data"
    )
    lines += [f"note     {line}" for line in comparison.as_dict()["about_bb"]]
    if comparison.full["BB"].prior_share is None:
        lines.append(
            "note     the prior's share of BB is not known here: pass the masks of the fill, of 0"
            f" and 1 (--mask, --mask-pol), up to Nside {SHARE_NSIDE}"
        )
    return lines
