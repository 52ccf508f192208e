"""Cut T, Q and U into FITS cubes, and paste them: `skyfill tiles --stokes TQU`."""

from __future__ import annotations

import argparse
import json
from typing import Any

import skyfill

from . import reading, records, stokes
from .progress import progress

__all__ = ["refuse_of_training", "run"]

#: Options of the store for training, with their values if they are not given, that cubes lack.
_TRAINING: dict[str, Any] = {
    "spacing_deg": None,
    "split": "paper",
    "test_map": None,
    "limit": None,
    "prior": None,
    "cl": None,
    "beam_arcmin": None,
    "beam": None,
    "noise_uk_arcmin": None,
    "pixel_window": None,
    "no_fit": False,
}


def refuse_of_training(args: argparse.Namespace) -> None:
    """Refuse options that cubes do not have."""
    for name, nothing in _TRAINING.items():
        if vars(args).get(name, nothing) != nothing:
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(
                f"{flag} is for the store that networks of T are trained with; drop it, or cut T"
                " with --stokes T"
            )


def run(args: argparse.Namespace) -> int:
    """Cut the cubes, or paste those of --paste into the holes of the map."""
    refuse_of_training(args)
    if args.nside is not None:
        raise ValueError("--nside: a multi-order map of polarization is not read; convert it first")
    if args.projection == "cartesian":
        raise ValueError("cubes are gnomonic squares; drop --projection cartesian")
    if args.pixel_arcmin == 0:
        raise ValueError("--pixel-arcmin must be above 0, got 0")
    if args.paste is None:
        skyfill.dataset.check_cubes(args.output, overwrite=args.overwrite)
    else:
        skyfill.check_writable(args.output, overwrite=args.overwrite, kind="map")
    args = argparse.Namespace(**vars(args) | {"method": "gaussian"})  # columns in float64
    with progress(quiet=args.quiet) as listener:
        listener.stage("read")
        sky = stokes.sky_of(args)
        first = sky.skies[0]
        observed, observed_pol, masks = stokes.masks_of(args, first)
        coord = reading.frame_of(first)
        names = ", ".join(each.column for each in sky.skies)
        listener.done(f"{args.map}, Nside {first.nside}, {names}, {sky.polcconv}{masks}")
        result: dict[str, object] = {"output": str(args.output), "stokes": sky.stokes}
        filled: dict[str, int] = {}
        if args.paste is None:
            files = skyfill.dataset.write_cubes(
                args.output,
                sky.values,
                observed,
                observed_pol,
                size=args.size,
                pixel_arcmin=args.pixel_arcmin,
                polcconv=sky.polcconv,
                coord=coord,
                overwrite=args.overwrite,
                progress=listener,
            )
            result["tiles"] = len(files)
        else:
            fills, holes = skyfill.dataset.paste_cubes(
                args.paste, sky.values, observed, observed_pol, coord=coord, progress=listener
            )
            listener.stage("write")
            skyfill.maps.write_filled_stokes(
                args.output,
                sky,
                fills,
                holes,
                provenance=records.command_cards(args)
                | {"SFFILL": ("tiles", "what the holes hold: pasted tiles")},
                history=[args.command, f"map {args.map.name}, tiles {args.paste.name}"],
                overwrite=args.overwrite,
            )
            listener.done(str(args.output))
            filled = {a: int(b.sum()) for a, b in zip(sky.stokes, holes, strict=True)}
            result["filled_pixels"] = filled
    if args.json:
        print(json.dumps(result))
    elif args.paste is None:
        print("{tiles} tiles of {stokes} around the holes, uK_CMB, in {output}".format_map(result))
    else:
        told = ", ".join(f"{letter}: {count} pixels" for letter, count in filled.items())
        print(f"pasted   {told}\noutput   {args.output}")
    return 0
