"""Fill the holes of a map.

The output is a copy of the map with its holes filled. Observed pixels, unit, dtype, ordering, frame
and the other columns are unchanged. The fill is a random sky that continues the observed one (a
constrained realization), or, with --mean, the posterior mean, which has less power.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import skyfill

from . import filling, images, options, pages, polarized, reading, stokes, theory, transforms
from .outlook import tell
from .progress import progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("map", type=Path, metavar="MAP", help="map to fill")
    parser.add_argument("mask", type=Path, metavar="MASK", help="its mask, 1 = observed")
    options.add_output(parser)
    filling.add_fill(parser)
    parser.add_argument(
        "--std",
        type=Path,
        metavar="FILE",
        help="also write a map of the standard deviation over the realizations; gaussian computes "
        "it in small holes without realizations",
    )
    parser.add_argument(
        "--std-draws",
        type=options.positive,
        metavar="N",
        help="number of realizations for --std and for the uncertainty in --report, if fewer are "
        f"written (default: {filling.STD_DRAWS})",
    )
    transforms.add_transform(parser)
    stokes.add_stokes(parser)
    images.add_ivar(parser)
    pages.add_report(parser)
    theory.add_save(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print what would be done, with estimates of memory and time, and write nothing",
    )
    options.add_threads(parser)
    options.add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    options.set_threads(args.threads)
    transforms.refuse(args, report=True)
    if images.is_asked(args):
        return images.run(args)
    chosen = stokes.chosen(args, args.map)
    if stokes.is_polarized(chosen):
        with stokes.or_t_alone(args, chosen):
            return polarized.run(chosen)
    return _fill_column(stokes.of_one_column(chosen))


def _fill_column(args: argparse.Namespace) -> int:
    """Fill one column."""
    begun = time.perf_counter()
    _refuse(args)
    outputs = skyfill.batch.outputs_of(args.output, args.realizations)
    filling.refuse_same_files(args, outputs)
    for path in [*outputs, *filter(None, (args.std,))]:
        skyfill.check_writable(path, overwrite=args.overwrite, kind="map")
    pages.check_report(args)
    with progress(quiet=args.quiet) as listener:
        listener.stage("read")
        # The mask is read first: reading it takes as much memory as the map, and the memory limit
        # is checked with it.
        observed = reading.mask_of(args, args.mask)
        args = filling.settled(args, observed)
        args = filling.stay_within(args, observed)
        scalar = filling.has_scalar_prior(args)
        sky = reading.map_of(args, args.map, like=args.mask, single=True, scalar=scalar)
        frame = reading.assumed(args, sky, args.mask)
        if args.threshold is not None:
            sense = "at or below" if args.invert else "above"
            words = f"observed where the mask is {sense} {args.threshold}"
        else:
            words = f"{sky.unit}, {'NESTED' if sky.nest else 'RING'}"
        listener.done(f"nside {sky.nside}, {words}{frame}")
        if args.dry_run:
            tell(args, sky, observed, outputs)
            return 0
        fitter = filling.inpainter_of(args, sky, observed, listener)
        if args.save_prior is not None and fitter.prior is None:
            theory.save(args, None)  # raises: this method has no prior to save
        spread = skyfill.inpaint.Spread(fitter)
        apart, why = pages.differences_of(args, sky, fitter) if args.report else (None, "")
        skies = _fills(args, sky, fitter, outputs, spread, apart, listener)
        if args.report and apart is not None:
            _report(args, sky, fitter, skies, spread, apart, why, listener)
        for _ in skies:  # the generator writes each file
            pass
        if args.std:
            _write_std(args, sky, fitter, spread, listener)
        # The prior is written last, so that a failed fill leaves nothing behind.
        theory.save(args, theory.used(args, fitter.prior, fitter.noise))
    if args.json:
        print(json.dumps(_summary(args, sky, fitter, outputs, spread, time.perf_counter() - begun)))
    else:
        print("\n".join(_lines(args, fitter, outputs, spread)))
    return 0


def _lines(
    args: argparse.Namespace,
    fitter: skyfill.Inpainter,
    outputs: list[Path],
    spread: skyfill.inpaint.Spread,
) -> list[str]:
    """Summarise the run in lines of text."""
    if isinstance(fitter, skyfill.inpaint.TransformedInpainter):
        lines = transforms.lines(fitter)
    else:
        lines = theory.lines(args, fitter.prior, fitter.noise)
    if fitter.plausibility is not None:
        lines.append(f"check    {fitter.plausibility.verdict}: {fitter.plausibility}")
    lines += filling.method_lines(args)
    share = f"{fitter.holes.mean():.2%} of the sky, {int(fitter.holes.sum())} pixels"
    exact = _is_exact(args, spread)
    lines += [f"filled   {share}", *stokes.left_lines(args, args.map)]
    lines += filling.said_of_spread(args, spread.count, exact=exact)
    return [*lines, *[f"output   {path}" for path in outputs]]


def _fills(
    args: argparse.Namespace,
    sky: skyfill.SkyMap,
    fitter: skyfill.Inpainter,
    outputs: list[Path],
    spread: skyfill.inpaint.Spread,
    apart: skyfill.fidelity.Differences | None,
    listener: skyfill.Progress,
) -> Iterator[NDArray[np.float64]]:
    """Fill, write the requested fills, add up the spread, and yield whole skies for the report."""
    written = 0 if args.mean or args.method in filling.SINGLE else args.realizations
    if written == 0:
        fill = fitter.mean()
        filling.write(args, sky, fitter, outputs[0], fill, None, listener)
        yield fitter.whole(fill) if args.report else fill
    for index in range(max(written, _draws_for_spread(args, spread))):
        fill = fitter.realization(index)
        if (args.std or args.report) and (index < written or not spread.known):
            spread.add(fill)
        if apart is not None:
            apart.add(fitter.whole(fill))
        if index < written:
            filling.write(args, sky, fitter, outputs[index], fill, index, listener)
            yield fitter.whole(fill) if args.report else fill


def _draws_for_spread(args: argparse.Namespace, spread: skyfill.inpaint.Spread) -> int:
    """Give the number of realizations for the spread: 0 if it is known exactly everywhere.

    A report shows what two realizations differ by.
    """
    if args.method in filling.SINGLE or not (args.std or args.report):
        return 0
    if _is_exact(args, spread):
        return 2 if args.report else 0
    return int(args.std_draws or filling.STD_DRAWS)


def _is_exact(args: argparse.Namespace, spread: skyfill.inpaint.Spread) -> bool:
    """Tell whether an uncertainty is asked for, and known without realizations."""
    asked = args.method not in filling.SINGLE and bool(args.std or args.report)
    return asked and spread.known


def _report(
    args: argparse.Namespace,
    sky: skyfill.SkyMap,
    fitter: skyfill.Inpainter,
    skies: Iterator[NDArray[np.float64]],
    spread: skyfill.inpaint.Spread,
    apart: skyfill.fidelity.Differences,
    why: str,
    listener: skyfill.Progress,
) -> None:
    """Evaluate the fills one by one and write the page."""
    first = next(skies)
    unit = transforms.own_unit(args, sky)
    scores = skyfill.fidelity.score_sky(
        (each / unit.uk for each in chain([first], skies)),
        fitter.observed,
        outside=fitter.outside,
        tiles=fitter.tile_regions(),
        seed=args.seed,
        threads=args.threads or 0,
        progress=listener,
    )
    listener.stage("report")
    std = None if args.method in filling.SINGLE else spread.map()
    draws = 0 if _is_exact(args, spread) else spread.count
    made = pages.Made(first, std, draws, apart, why)
    page = pages.fill_page(args, sky, fitter, made, scores, filling.cards_of(args, fitter))
    page.write(args.report, overwrite=args.overwrite)
    listener.done(f"{args.report}, {page.verdict or 'not judged'}")


def _refuse(args: argparse.Namespace) -> None:
    """Refuse options that contradict each other."""
    filling.refuse(args)
    if args.method in filling.SINGLE and args.std:
        raise ValueError(f"{args.method} is deterministic and has no spread; drop --std")
    if args.std_draws is not None and (not (args.std or args.report) or args.std_draws < 2):
        raise ValueError(
            "--std-draws is for --std or --report, and at least 2; pass one of them as well"
        )


def _write_std(
    args: argparse.Namespace,
    sky: skyfill.SkyMap,
    fitter: skyfill.Inpainter,
    spread: skyfill.inpaint.Spread,
    listener: skyfill.Progress,
) -> None:
    """Write the uncertainty map."""
    listener.stage("write")
    skyfill.write_map(
        args.std,
        spread.map(),
        column="STD",
        unit=sky.unit,
        nest=sky.nest,
        coord=sky.coord,
        provenance=filling.cards_of(args, fitter)
        | _converged(fitter)
        | filling.draws_cards(spread.count, exact=_is_exact(args, spread)),
        history=[args.command],
        overwrite=args.overwrite,
    )
    said = filling.drawn(args, spread.count, exact=_is_exact(args, spread))
    listener.done(f"{args.std}, {said}")


def _summary(
    args: argparse.Namespace,
    sky: skyfill.SkyMap,
    fitter: skyfill.Inpainter,
    outputs: list[Path],
    spread: skyfill.inpaint.Spread,
    seconds: float,
) -> dict[str, object]:
    """Summarise the run for JSON."""
    summary: dict[str, object] = {
        "outputs": [str(path) for path in outputs],
        "std": str(args.std) if args.std else None,
        "report": str(args.report) if args.report else None,
        "spread_draws": spread.count,
        "nside": sky.nside,
        "filled_pixels": int(fitter.holes.sum()),
        "left_columns": stokes.left(args, args.map),
        "fsky": 1 - float((~fitter.observed).mean()),
        "prior": theory.as_json(args, fitter.prior, fitter.noise),
        "check": None if fitter.plausibility is None else fitter.plausibility.as_dict(),
        "seconds": round(seconds, 2),
    }
    cards = filling.cards_of(args, fitter) | _converged(fitter)
    return summary | {key.lower(): value for key, (value, _) in cards.items()}


def _converged(fitter: skyfill.Inpainter) -> dict[str, tuple[bool, str]]:
    """Record whether every fill of the run has converged."""
    if fitter.converged is None:
        return {}
    return {"SFCONV": (fitter.unconverged == 0, "have all fills converged?")}
