"""Cut a map and its mask into tiles for training and testing a network.

Writes one Zarr store with tiles of the map, in µK, and of the mask, with their positions. Clean
tiles are used for training; tiles with missing pixels provide masks. A run that was killed
continues when the same command is given again.

With --stokes TQU or QU, writes FITS cubes that cover the holes, one a tile, with WCS and an axis
STOKES, for any other program to fill; --paste puts the filled cubes into the holes of the map.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import skyfill

from . import cubes, options, reading, stokes, theory
from .progress import progress

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("map", type=Path, metavar="MAP", help="map to cut")
    parser.add_argument("mask", type=Path, metavar="MASK", help="its mask, 1 = observed")
    options.add_output(parser)
    reading.add_map(parser)
    reading.add_mask(parser)
    parser.add_argument(
        "--size",
        type=options.positive,
        default=400,
        metavar="N",
        help="pixels on each side of a tile (default: 400)",
    )
    parser.add_argument(
        "--projection",
        choices=("cartesian", "gnomonic"),
        help="cartesian: boxes of longitude ±10° and latitude ±5°; gnomonic: squares (default: "
        "cartesian; gnomonic with --stokes TQU or QU)",
    )
    parser.add_argument(
        "--pixel-arcmin",
        type=options.arcmin,
        metavar="X",
        help="pixel size of a gnomonic tile (default: 1.5; with --stokes TQU or QU, three "
        "quarters of a map pixel)",
    )
    parser.add_argument(
        "--spacing-deg",
        type=float,
        nargs=2,
        metavar=("LON", "LAT"),
        help="spacing of the tile centres (default: cartesian 7.66 2, which gives 4,042 tiles; "
        "gnomonic half a tile)",
    )
    parser.add_argument(
        "--split",
        choices=("paper", "region", "sky"),
        default="paper",
        help="paper: train and test on the same clean tiles; region: hold out a part of the sky; "
        "sky: hold out the clean tiles of --test-map (default: paper)",
    )
    parser.add_argument(
        "--test-map", type=Path, metavar="FILE", help="map of another sky to test on"
    )
    parser.add_argument(
        "--limit", type=options.positive, metavar="N", help="cut only N tiles, evenly spread"
    )
    stokes.add_cut(parser)
    theory.add_prior(
        parser, otherwise="Values that are not given are read from the map's header, or fitted."
    )
    options.add_threads(parser)
    options.add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    options.set_threads(args.threads)
    theory.check(args)
    if stokes.is_polarized(args):
        return cubes.run(args)
    if args.paste is not None:
        raise ValueError("--paste is for cubes of Q and U; pass --stokes TQU or QU too")
    args = stokes.of_one_column(args)
    args.projection = args.projection or "cartesian"
    if args.pixel_arcmin is not None and args.projection != "gnomonic":
        raise ValueError("--pixel-arcmin is for gnomonic tiles; pass --projection gnomonic")
    if args.pixel_arcmin == 0:
        raise ValueError("--pixel-arcmin must be above 0, got 0")
    if (args.split == "sky") != (args.test_map is not None):
        raise ValueError("--test-map and --split sky go together; pass both, or neither")
    skyfill.dataset.check_store(args.output, overwrite=args.overwrite)
    with progress(quiet=args.quiet) as listener:
        listener.stage("read")
        sky = reading.map_of(args, args.map, like=args.mask)
        coord = reading.frame_of(sky)
        observed = reading.mask_of(args, args.mask, like=sky)
        other = None
        if args.test_map is not None:
            other = reading.map_of(args, args.test_map, like=sky).values
        frame = reading.assumed(args, sky, args.mask, args.test_map)
        listener.done(f"{args.map}, Nside {sky.nside}, {sky.column}{frame}")
        header = None if args.no_fit else skyfill.prior.recorded_prior(sky.path)
        known = theory.given(args, header)
        found = skyfill.dataset.write_tiles(
            args.output,
            skyfill.dataset.TileGeometry(
                sky.nside,
                size=args.size,
                projection=args.projection,
                pixel_arcmin=args.pixel_arcmin or 1.5,
                spacing_deg=None if args.spacing_deg is None else tuple(args.spacing_deg),
                coord=coord,
            ),
            sky.values,
            observed,
            prior=known,
            split=args.split,
            test_values=other,
            limit=args.limit,
            about=_about(args, sky, known),
            overwrite=args.overwrite,
            progress=listener,
        )
    clean = int((found.masked == 0).sum())
    result = {
        "output": str(args.output),
        "tiles": int(found.role.size),
        "clean": clean,
        "masked": int(found.role.size) - clean,
        "train": int(found.train.size),
        "test": int(found.test.size),
        "size": args.size,
        "projection": args.projection,
    }
    if args.json:
        print(json.dumps(result))
    else:
        print("{tiles} tiles: {clean} clean, {masked} with missing pixels".format_map(result))
    return 0


def _about(
    args: argparse.Namespace, sky: skyfill.SkyMap, known: skyfill.prior.Given
) -> dict[str, Any]:
    """Record the files and the prior that the tiles come from."""
    tables = skyfill.describe(args.map).tables
    header = next((table.keywords for table in tables if table.hdu == sky.hdu), {})
    seed = header.get("SFSEED")
    about: dict[str, Any] = {
        "skyfill": skyfill.__version__,
        "theory": known.named,
        "seed": seed if isinstance(seed, int) else None,
        "sha256": {},
    }
    for name in ("map", "mask", "test_map"):
        path = getattr(args, name)
        about[name] = None if path is None else path.name
        if path is not None:
            with path.open("rb") as file:
                about["sha256"][name] = hashlib.file_digest(file, "sha256").hexdigest()
    return about
