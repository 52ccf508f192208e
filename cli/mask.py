"""Make or change a mask: 1 = observed.

Operations happen in the order of the list below, whatever the order on the command line. Without
MASK the whole sky is observed at first; then --nside or --map says at which resolution.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import skyfill

from . import options, records
from .progress import progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument(
        "mask", type=Path, nargs="?", metavar="MASK", help="mask to begin with, FITS"
    )
    options.add_output(parser)
    parser.add_argument(
        "--field",
        type=options.field,
        default=0,
        metavar="COLUMN",
        help="column of MASK, by number from 0 or by name (default: the first)",
    )
    parser.add_argument("--nside", type=options.positive, help="resolution where there is no MASK")
    steps = parser.add_argument_group("operations")
    steps.add_argument(
        "--threshold",
        type=options.amount,
        metavar="X",
        help="observed where MASK > X; needed where MASK is apodised",
    )
    steps.add_argument("--invert", action="store_true", help="MASK has 1 = masked")
    steps.add_argument(
        "--map",
        type=Path,
        metavar="MAP",
        help="mask the pixels that are missing in MAP's first column",
    )
    steps.add_argument(
        "--galactic-cut", type=options.latitude, metavar="DEG", help="mask |latitude| below DEG"
    )
    steps.add_argument(
        "--sources",
        type=Path,
        metavar="CATALOGUE",
        help="mask discs: lon, lat and radius, text or FITS",
    )
    steps.add_argument(
        "--radius-arcmin",
        type=options.arcmin,
        metavar="R",
        help="radius of the discs where CATALOGUE has none",
    )
    steps.add_argument(
        "--fill-islands",
        type=options.positive,
        metavar="N",
        help="mask observed islands of up to N pixels",
    )
    steps.add_argument(
        "--grow-arcmin", type=options.arcmin, metavar="R", help="mask what is within R of a hole"
    )
    options.add_threads(parser)
    options.add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    options.set_threads(args.threads)
    skyfill.check_writable(args.output, overwrite=args.overwrite, kind="map")
    with progress(quiet=args.quiet) as listener:
        listener.stage("mask")
        observed, coord = _begin(args)
        observed = _operate(args, observed, coord)
        records.write_mask(args, observed, coord)
        listener.done(str(args.output))
        listener.stage("holes")
        holes = skyfill.label_holes(observed)
        listener.done()
    result = {
        "output": str(args.output),
        "nside": _nside(observed),
        "fsky": float(observed.mean()),
        "holes": len(holes.sizes),
        "hole_pixels": int(observed.size - observed.sum()),
        "largest_hole_pixels": int(max(holes.sizes, default=0)),
    }
    if args.json:
        print(json.dumps(result))
    else:
        print(
            "Nside {nside}, {fsky:.2%} of the sky observed; {holes} holes, {hole_pixels} pixels, "
            "the largest hole {largest_hole_pixels}".format_map(result)
        )
    return 0


def _begin(args: argparse.Namespace) -> tuple[NDArray[np.bool_], str | None]:
    """Read MASK, or begin with a whole sky, and take the missing pixels of MAP out.

    Returns the mask and the frame that the files are in.
    """
    import numpy as np

    observed, coord = None, None
    if args.mask is not None and args.nside is not None:
        raise ValueError(f"{args.mask} has its own Nside; drop --nside")
    if args.mask is not None:
        observed = skyfill.read_mask(
            args.mask, field=args.field, threshold=args.threshold, invert=args.invert
        )
        coord = skyfill.describe(args.mask).tables[0].coord
    elif args.threshold is not None or args.invert:
        raise ValueError("--threshold and --invert say how MASK is read; name a mask")
    elif args.nside is not None:
        observed = skyfill.galactic_cut(args.nside, 0.0)
    if args.map is not None:
        sky = skyfill.read_map(args.map, unit="uK")  # any unit will do
        known = np.isfinite(sky.values)
        if observed is not None and observed.size != known.size:
            raise ValueError(
                f"{args.map}: Nside {sky.nside}, but the mask has Nside {_nside(observed)}"
            )
        observed = known if observed is None else observed & known
        coord = coord or sky.coord
    if observed is None:
        raise ValueError("name a MASK to begin with, or pass --nside N or --map MAP")
    return observed, coord


def _nside(observed: NDArray[np.bool_]) -> int:
    return math.isqrt(observed.size // 12)


def _operate(
    args: argparse.Namespace, observed: NDArray[np.bool_], coord: str | None
) -> NDArray[np.bool_]:
    """Apply the operations that were asked for, in their fixed order."""
    nside = _nside(observed)
    if args.galactic_cut is not None:
        observed &= skyfill.galactic_cut(nside, math.radians(args.galactic_cut), coord=coord)
    if args.sources is not None:
        radius = None if args.radius_arcmin is None else math.radians(args.radius_arcmin / 60)
        observed &= skyfill.discs(nside, *skyfill.read_catalogue(args.sources, radius, coord=coord))
    elif args.radius_arcmin is not None:
        raise ValueError(
            "--radius-arcmin is the radius of sources; pass --sources CATALOGUE as well"
        )
    if args.fill_islands is not None:
        observed = skyfill.fill_islands(observed, args.fill_islands)
    if args.grow_arcmin is not None:
        observed = skyfill.grow(observed, math.radians(args.grow_arcmin / 60))
    return observed
