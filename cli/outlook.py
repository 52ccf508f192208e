"""Print the plan of `skyfill inpaint --dry-run`: steps, memory, time, outputs."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import skyfill

from . import filling, theory

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["tell", "tell_polarized"]


def tell(
    args: argparse.Namespace,
    sky: skyfill.SkyMap,
    observed: NDArray[np.bool_],
    outputs: list[Path],
) -> None:
    """Print the plan of a fill, for people or as JSON."""
    maps = len(outputs)
    if (args.std or args.report) and args.method != "diffuse":
        maps = max(maps, args.std_draws or filling.STD_DRAWS)
    seen = ~skyfill.find_holes(sky.values, observed)  # unnamed, so that the holes are freed
    holes = None
    try:
        chosen = skyfill.masks.holes_to_fill(
            seen, holes=args.holes, footprint=filling.footprint_of(args)
        )
    except skyfill.masks.UnusableSkyError as error:
        raise ValueError(f"{args.map} and {args.mask}: {error}") from None
    if chosen.sum() + seen.sum() < seen.size:
        holes = chosen
    del chosen
    request = filling.request_of(args, maps=maps, prior=_prior(args, sky, seen))
    plan = skyfill.plan.make_plan(seen, request, holes=holes)
    sizes = _sizes(args, sky, outputs)
    if args.json:
        told = asdict(plan) | {"maps": maps, "memory": int(plan.memory), "outputs": sizes}
        print(json.dumps(told | {"why": args.why, "seconds": round(plan.seconds, 1)}))
        return
    prior = {"given": "prior as given", "fitted": "prior to be fitted to the map"}
    words = [args.method, prior.get(plan.prior, "no prior")]
    if plan.polish:
        times = "iteration" if plan.polish == 1 else "iterations"
        words.append(f"{plan.polish} {times} of the exact solver")
    print(
        f"map      Nside {plan.nside}, {plan.holes} holes of {plan.hole_pixels} pixels in all, "
        f"{plan.masked:.2%} of the sky"
    )
    why = "" if args.why is None else f": {args.why}"
    print(f"method   {', '.join(words)}{why}")
    print(f"stages   {', '.join(plan.stages)}")
    if plan.tiles:
        print("tiles    " + ", ".join(f"{n} for {name} holes" for name, n in plan.tiles.items()))
    print(f"memory   about {plan.memory / 2**30:.1f} GiB at the peak")
    print(f"time     {_time(plan.seconds, maps, len(outputs))}")
    for path, size in sizes.items():
        print(f"output   {path}{f', {size / 1e6:.1f} MB' if size else ''}")


def tell_polarized(
    args: argparse.Namespace,
    sky: skyfill.maps.StokesMap,
    plan: skyfill.plan.JointPlan,
    outputs: list[Path],
) -> None:
    """Print the plan of a fill of polarization, for people or as JSON."""
    sizes = _sizes(args, sky.skies[0], outputs)
    if args.std and args.std.suffix != ".gz":
        sizes[str(args.std)] = 4 * 12 * plan.nside**2 * len(sky.stokes)
    if args.json:
        told = asdict(plan) | {"memory": int(plan.memory), "outputs": sizes}
        print(json.dumps(told | {"seconds": round(plan.seconds, 1)}))
        return
    prior = {"given": "prior as given", "fitted": "prior to be fitted to the map"}
    print(f"map      Nside {plan.nside}")
    for name, field in plan.fields.items():
        print(
            f"         {name}: {field.holes} holes of {field.hole_pixels} pixels in all, "
            f"{field.masked:.2%} of the sky"
        )
    why = "" if args.why is None else f": {args.why}"
    by = " for T, the exact solver for Q and U" if plan.method == "vae" else ""
    print(f"method   {plan.method}{by}, {prior.get(plan.prior, 'no prior')}{why}")
    print(f"stages   {', '.join(plan.stages)}")
    print(f"memory   about {plan.memory / 2**30:.1f} GiB at the peak")
    print(f"time     {_time(plan.seconds, plan.maps, len(outputs))}")
    for path, size in sizes.items():
        print(f"output   {path}{f', {size / 1e6:.1f} MB' if size else ''}")


def _prior(
    args: argparse.Namespace, sky: skyfill.SkyMap, seen: NDArray[np.bool_]
) -> skyfill.Prior | None:
    """Give, or fit, the prior of a map for `gaussian`, whose time depends on the map's depth."""
    if args.method != "gaussian" or args.transform is not None:
        return None
    return theory.given(args).of_map(sky.values, seen, threads=args.threads or 0)


def _sizes(
    args: argparse.Namespace, sky: skyfill.SkyMap, outputs: list[Path]
) -> dict[str, int | None]:
    """Give the sizes of the outputs in bytes; None if unknown."""
    npix = 12 * sky.nside**2
    alike = ".gz" not in args.map.suffixes and not sky.partial
    size = args.map.stat().st_size if alike else None
    sizes = {str(path): None if path.suffix == ".gz" else size for path in outputs}
    if args.std:
        sizes[str(args.std)] = None if args.std.suffix == ".gz" else 4 * npix
    if args.report:
        sizes[str(args.report)] = None
    return sizes


def _time(seconds: float, fills: int, written: int) -> str:
    """Write the time of so many fills, some of which may serve --std and --report alone."""
    times = "1 fill" if fills == 1 else f"{fills} fills"
    if fills > written:
        times += f", {fills - written} of them for --std and --report alone (--std-draws N),"
    return f"about {_span(seconds)} for {times} on two CPU cores"


def _span(seconds: float) -> str:
    """Write a duration to about two digits."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
