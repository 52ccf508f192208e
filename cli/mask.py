"""Make or change a mask: 1 = observed.

Operations happen in the order of the list below, whatever the order on the command line: MASK is
read, brought to another frame and Nside, and all else happens there. Without MASK the whole sky is
observed at first; then --nside or --map says at which resolution.
"""

from __future__ import annotations

import argparse
import json
import math
import warnings
from functools import reduce
from operator import mul
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import skyfill

from . import options, reading, records, wording
from .progress import progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Values = NDArray[np.bool_] | NDArray[np.float64]

__all__ = ["configure", "run"]

WAYS = ("centres", "harmonics")  # of rotating; named here, too, so that --help stays quick


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
    parser.add_argument(
        "--hdu",
        type=options.field,
        metavar="HDU",
        help="HDU of MASK, by number or by EXTNAME (default: the first that holds a sky)",
    )
    reading.add_missing(parser)
    parser.add_argument(
        "--frame",
        type=_frame,
        metavar="FRAME",
        help="frame of files that name none: G, C (equatorial) or E (ecliptic)",
    )
    parser.add_argument(
        "--as-weights",
        action="store_true",
        help="MASK is apodised and stays so: numbers from 0 to 1, for skyfill spectrum --mask",
    )
    steps = parser.add_argument_group("operations")
    steps.add_argument(
        "--threshold",
        type=options.amount,
        metavar="X",
        help="observed where MASK > X; needed where MASK is apodised",
    )
    steps.add_argument("--invert", action="store_true", help="MASK has 1 = masked")
    reading.add_bits(steps)
    steps.add_argument(
        "--rotate", type=_frame, metavar="FRAME", help="turn MASK to this frame: G, C or E"
    )
    steps.add_argument(
        "--rotate-by",
        choices=WAYS,
        help="what turns it: pixel centres, which lose no hole (default), or harmonics, which keep "
        "an apodised edge smooth (default of --as-weights)",
    )
    steps.add_argument(
        "--nside",
        type=options.positive,
        metavar="N",
        help="bring MASK to this resolution, at the finer of the two if it is rotated, too; the "
        "resolution where there is no MASK",
    )
    steps.add_argument(
        "--keep-share",
        type=options.fraction,
        metavar="X",
        help="a coarser pixel is observed where at least X of the pixels in it are (default: 1)",
    )
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
        help="mask discs: a table with ra and dec, l and b, or lon and lat, and perhaps radius; "
        "text, VizieR, FITS, VOTable, DS9 regions",
    )
    steps.add_argument(
        "--columns",
        type=_columns,
        metavar="lon=A,lat=B",
        help="columns of CATALOGUE by name, or by number from 0: lon=A,lat=B[,radius=C][,frame=G]",
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


def _frame(text: str) -> str:
    """Read a frame: G, C or E, or a word for one."""
    try:
        return skyfill.masks.frame_letter(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _columns(text: str) -> dict[str, str]:
    """Read lon=A,lat=B."""
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(value for _, _, value in pairs):
        raise argparse.ArgumentTypeError(f"must be lon=NAME,lat=NAME, got {text}")
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    options.set_threads(args.threads)
    _check(args)
    skyfill.check_writable(args.output, overwrite=args.overwrite, kind="map")
    said: dict[str, str] = {}
    with progress(quiet=args.quiet) as listener:
        listener.stage("mask")
        values, coord = _begin(args, said)
        values, sources = _operate(args, values, coord)
        _write(args, values, coord, said)
        listener.done(str(args.output))
        listener.stage("holes")
        observed = values > 0
        if not observed.any():
            warnings.warn(
                f"{args.output} leaves no pixel observed: look at what was asked for,"
                " at --threshold and --invert first",
                stacklevel=2,
            )
        holes = skyfill.label_holes(observed)
        listener.done()
    result: dict[str, Any] = {
        "output": str(args.output),
        "nside": _nside(values),
        "frame": coord,
        "fsky": float(observed.mean()),
        "holes": len(holes.sizes),
        "hole_pixels": int(observed.size - observed.sum()),
        "largest_hole_pixels": int(max(holes.sizes, default=0)),
    }
    if values.dtype != bool:
        result["mean_weight"] = float(values.mean())
    if args.json:
        result |= {"said": said} | ({"sources": sources} if sources else {})
        print(json.dumps(result))
    else:
        for line in sources:
            print(line)
        print(
            "Nside {nside}, {fsky:.2%} of the sky observed; {holes} holes, {hole_pixels} pixels, "
            "the largest hole {largest_hole_pixels}".format_map(result)
        )
        if "mean_weight" in result:
            print("weights from 0 to 1, mean {mean_weight:.4f}".format_map(result))
        for what, how in said.items():
            print(f"{what}: {how}")
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot be meant, before anything is read."""
    of_mask = {
        "--threshold": args.threshold is not None,
        "--invert": args.invert,
        "--bits": args.bits is not None,
        "--rotate": args.rotate,
        "--as-weights": args.as_weights,
    }
    given = [name for name, value in of_mask.items() if value]
    if args.mask is None and given:
        raise ValueError(f"{given[0]} says what MASK is or becomes; name a mask")
    if args.rotate_by and not args.rotate:
        raise ValueError("--rotate-by says how a mask is turned; pass --rotate FRAME as well")
    if args.keep_share is not None and (args.mask is None or args.nside is None):
        raise ValueError(
            "--keep-share is about a MASK at a coarser resolution; name a mask and pass --nside N"
        )
    if args.sources is None and (args.radius_arcmin is not None or args.columns is not None):
        flag = "--columns" if args.radius_arcmin is None else "--radius-arcmin"
        raise ValueError(f"{flag} says how sources are read; pass --sources CATALOGUE as well")
    of_binary = {
        "--threshold": args.threshold is not None,
        "--bits": args.bits is not None,
        "--fill-islands": args.fill_islands is not None,
        "--grow-arcmin": args.grow_arcmin is not None,
    }
    given = [name for name, value in of_binary.items() if value]
    if args.as_weights and given:
        raise ValueError(f"{given[0]} makes a mask of 0 and 1; drop it, or drop --as-weights")


def _begin(args: argparse.Namespace, said: dict[str, str]) -> tuple[Values, str | None]:
    """Read MASK, or begin with a whole sky, and take the missing pixels of MAP out.

    Returns what is observed and its frame, None where no file names one. What was done or assumed
    on the way is written into `said`.
    """
    parts: list[Values] = []
    coord: str | None = args.frame
    wanted: int | None = args.nside
    if args.mask is not None:
        coord = skyfill.maps.place_of(args.mask, hdu=args.hdu, frame=args.frame).frame.coord
        values, coord = _carry(args, _read(args), coord, said)
        wanted = _nside(values)
        parts.append(values)
    elif wanted is not None:
        parts.append(skyfill.galactic_cut(wanted, 0.0))
    if args.map is not None:
        sky = skyfill.maps.place_of(args.map, frame=args.frame)
        coord = _shared(args, coord, sky.frame.coord, said)
        if wanted not in (None, sky.nside):
            whose = "--nside says" if args.mask is None else "but the mask has Nside"
            raise ValueError(f"{args.map}: Nside {sky.nside}, {whose} {wanted}; give a pair")
        parts.append(reading.known_of(args, args.map)[0])
    elif args.mask is None and coord is None:
        coord = "G"
        said["frame"] = "G, as no file says another (--frame does)"
    if not parts:
        raise ValueError("name a MASK to begin with, or pass --nside N or --map MAP")
    if coord is None:
        said["frame"] = f"{_frame_in(args, args.mask or args.map)} (--frame says which)"
    return reduce(mul, parts), coord


def _read(args: argparse.Namespace) -> Values:
    """Read MASK, as it is in its file; weights that are all 0 and 1 are a mask."""
    if args.as_weights:
        weights = skyfill.read_weights(
            args.mask, field=args.field, invert=args.invert, hdu=args.hdu, frame=args.frame
        )
        whole = weights == 1
        return whole if (whole | (weights == 0)).all() else weights
    try:
        return reading.mask_of(args, args.mask)
    except skyfill.masks.ApodisedMaskError as error:
        raise ValueError(f"{error}, or --as-weights to keep them as they are") from None


def _frame_in(args: argparse.Namespace, path: Path) -> str:
    """Say what MASK or MAP says of its frame, for a message."""
    return f"{path} is in {_own_frame(args, path)}"


def _own_frame(args: argparse.Namespace, path: Path) -> Any:  # noqa: ANN401 (a Frame)
    """Find the frame that the header of MASK or MAP names."""
    return skyfill.maps.place_of(path, hdu=args.hdu if path == args.mask else None).frame


def _shared(
    args: argparse.Namespace, coord: str | None, theirs: str | None, said: dict[str, str]
) -> str | None:
    """Give the frame of mask and map, which must be one."""
    if args.mask is None:
        return theirs
    if coord and theirs and coord != theirs:
        become = ", to which --rotate turns it" if args.rotate else ""
        raise ValueError(
            f"{args.map} is in frame {theirs}, {args.mask} in {coord}{become}; turn the mask to"
            f" the map's frame: --rotate {theirs}"
        )
    if args.rotate and theirs is None:
        raise ValueError(
            f"{_frame_in(args, args.map)}, and must be in {args.rotate}, to which the mask is"
            " turned; rotate the mask first, then pass --map and --frame with what came of it"
        )
    if (coord is None) != (theirs is None):
        silent, other = (args.mask, args.map) if coord is None else (args.map, args.mask)
        if _own_frame(args, silent).named:
            raise ValueError(
                f"{_frame_in(args, silent)}, {other} in frame {coord or theirs}; pass --frame G, C"
                " or E"
            )
        said["assumed"] = (
            f"{silent} names no frame and is taken to be in that of {other}, {coord or theirs}"
        )
    return coord or theirs


def _carry(
    args: argparse.Namespace, values: Values, coord: str | None, said: dict[str, str]
) -> tuple[Values, str | None]:
    """Bring MASK to the frame of --rotate and the Nside of --nside, where it is the finer."""
    old = _nside(values)
    finer = args.nside is not None and args.nside > old
    if args.keep_share is not None and args.nside >= old:
        raise ValueError(
            f"--keep-share is about a coarser resolution; {args.mask} has Nside {old}, not above"
            f" --nside {args.nside}"
        )
    if finer:
        values = skyfill.regrade_mask(values, args.nside)
        said["resolution"] = f"Nside {args.nside} from {old}: each pixel as the one that holds it"
    if args.rotate:
        if coord is None:
            raise ValueError(
                f"{_frame_in(args, args.mask)}, and --rotate must know from which; pass --frame G,"
                " C or E"
            )
        way: Literal["centres", "harmonics"] = args.rotate_by or (
            "centres" if values.dtype == bool else "harmonics"
        )
        values = skyfill.rotate_mask(values, coord, args.rotate, by=way)
        words = "by pixel centres" if way == "centres" else "in harmonics"
        said["rotated"] = (
            f"{coord} to {args.rotate} {words}: no hole is lost, edges move by up to a pixel"
            if coord != args.rotate
            else f"not at all: {args.mask} is in {coord}"
        )
        coord = args.rotate
    if args.nside is not None and not finer:
        share = args.keep_share or 1.0
        pixels = (old // args.nside) ** 2
        values = skyfill.regrade_mask(values, args.nside, share=share)
        if pixels > 1:
            least = f"all {pixels}" if share == 1 else f"at least {share:g} of {pixels}"
            said["resolution"] = (
                f"Nside {args.nside} from {old}: observed where {least} pixels in it are"
            )
    return values, coord


def _nside(values: Values) -> int:
    return skyfill.healpix.nside_of(values, "mask")


def _operate(
    args: argparse.Namespace, values: Values, coord: str | None
) -> tuple[Values, list[str]]:
    """Apply the operations that were asked for, in their fixed order.

    Returns what is observed and what the catalogue was taken for.
    """
    nside = _nside(values)
    said: list[str] = []
    if args.galactic_cut is not None:
        if coord is None:
            raise ValueError(
                f"{_frame_in(args, args.mask or args.map)}, and --galactic-cut must know where the"
                " Galaxy is; pass --frame G, C or E"
            )
        cut = skyfill.galactic_cut(nside, math.radians(args.galactic_cut), coord=coord)
        values = values * cut
    if args.sources is not None:
        radius = None if args.radius_arcmin is None else math.radians(args.radius_arcmin / 60)
        with wording.naming(coord="--frame"):
            sources = skyfill.masks.read_sources(
                args.sources, radius, coord=coord, columns=args.columns
            )
        said = [f"{sources.lon.size} sources", *sources.said]
        values = values * skyfill.discs(nside, sources.lon, sources.lat, sources.radius)
    if args.fill_islands is not None:
        values = skyfill.fill_islands(values > 0, args.fill_islands)
    if args.grow_arcmin is not None:
        values = skyfill.grow(values > 0, math.radians(args.grow_arcmin / 60))
    return values, said


def _write(
    args: argparse.Namespace, values: Values, coord: str | None, said: dict[str, str]
) -> None:
    """Write the mask, one byte a pixel, or the weights in float32."""
    binary = values.dtype == bool
    cards = {"rotated": "SFROTATE", "resolution": "SFREGRAD"}
    done = {
        card: (said[what].partition(":")[0], "what was done with the mask")
        for what, card in cards.items()
        if what in said
    }
    skyfill.write_map(
        args.output,
        values,
        column="TMASK" if binary else "WEIGHT",
        unit="",
        dtype="uint8" if binary else "float32",
        coord=coord,
        provenance=records.command_cards(args) | done,
        history=[args.command, *(f"{what}: {how}" for what, how in said.items())],
        overwrite=args.overwrite,
    )
