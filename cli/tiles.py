"""Cut a map and its mask into tiles to train and to judge a network of tiles.

Writes one Zarr store: tiles of the map in µK and of the mask on the same centres, with their places
on the sky. Clean tiles are for training, those with missing pixels lend their masks. A run that was
killed goes on where it stopped when the same command is given again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import skyfill

from . import options, records
from .progress import progress

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("map", type=Path, metavar="MAP", help="map to cut")
    parser.add_argument("mask", type=Path, metavar="MASK", help="its mask, 1 = observed")
    options.add_output(parser)
    options.add_read(parser)
    parser.add_argument(
        "--mask-field", type=options.field, default=0, metavar="COLUMN", help="column of the mask"
    )
    parser.add_argument(
        "--size", type=options.positive, default=400, metavar="N", help="pixels a side (400)"
    )
    parser.add_argument(
        "--projection",
        choices=("cartesian", "gnomonic"),
        default="cartesian",
        help="boxes of longitude ±10° and latitude ±5°, or squares (default: cartesian)",
    )
    parser.add_argument(
        "--pixel-arcmin",
        type=options.arcmin,
        metavar="X",
        help="pixel of a gnomonic tile (default: 1.5)",
    )
    parser.add_argument(
        "--spacing-deg",
        type=float,
        nargs=2,
        metavar=("LON", "LAT"),
        help="of the centres (default: cartesian 7.66 2, which makes 4,042; gnomonic half a tile)",
    )
    parser.add_argument(
        "--split",
        choices=("paper", "region", "sky"),
        default="paper",
        help="paper: train on clean tiles, and be judged by them; region: hold a part of the sky "
        "out; sky: hold the clean tiles of --test-map out (default: paper)",
    )
    parser.add_argument("--test-map", type=Path, metavar="FILE", help="another sky, held out")
    parser.add_argument(
        "--limit", type=options.positive, metavar="N", help="cut only N of the tiles, evenly chosen"
    )
    options.add_prior(
        parser, otherwise="Where nothing is given: what the map's header says, else fitted."
    )
    options.add_threads(parser)
    options.add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    options.set_threads(args.threads)
    given = options.has_prior(args)
    if args.pixel_arcmin is not None and args.projection != "gnomonic":
        raise ValueError("--pixel-arcmin is for gnomonic tiles; pass --projection gnomonic")
    with progress(quiet=args.quiet) as listener:
        listener.stage("read")
        sky = skyfill.read_map(args.map, field=args.field, unit=args.unit)
        observed = skyfill.read_mask(args.mask, field=args.mask_field)
        other = None
        if args.test_map is not None:
            other = skyfill.read_map(args.test_map, field=args.field, unit=args.unit).values
        listener.done()
        found = skyfill.dataset.write_tiles(
            args.output,
            skyfill.dataset.TileGeometry(
                sky.nside,
                size=args.size,
                projection=args.projection,
                pixel_arcmin=args.pixel_arcmin or 1.5,
                spacing_deg=None if args.spacing_deg is None else tuple(args.spacing_deg),
                coord=sky.coord or "G",
            ),
            sky.values,
            observed,
            prior=options.given_prior(args, sky.nside) if given else records.recorded_prior(sky),
            split=args.split,
            test_values=other,
            limit=args.limit,
            about={
                "map": args.map.name,
                "mask": args.mask.name,
                "test_map": None if args.test_map is None else args.test_map.name,
                "skyfill": skyfill.__version__,
            },
            overwrite=args.overwrite,
            progress=listener,
        )
    if args.json:
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
        print(json.dumps(result))
    return 0
