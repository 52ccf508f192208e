"""Make or change a mask: 1 = observed.

Operations are applied in the order of the list below, not in the order on the command line: MASK is
read and brought to the new frame and Nside, and the other operations follow there. Without MASK
the whole sky is observed at first, and --nside or --map gives the resolution.
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

#: Ways to rotate a mask. Repeated here so that --help need not import the library.
WAYS = ("centres", "harmonics")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument(
        "mask",
        type=Path,
        nargs="?",
        metavar="MASK",
        help="mask to start from, FITS: HEALPix, or an image in CAR or another projection, which "
        "--nside brings to HEALPix",
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
        help="HDU of MASK, by number or by EXTNAME (default: the first with a HEALPix map)",
    )
    reading.add_missing(parser)
    parser.add_argument(
        "--frame",
        type=_frame,
        metavar="FRAME",
        help="frame of files that do not name one: G (Galactic), C (equatorial) or E (ecliptic)",
    )
    parser.add_argument(
        "--as-weights",
        action="store_true",
        help="keep the weights of an apodised MASK, numbers from 0 to 1, for `skyfill spectrum "
        "--mask`",
    )
    steps = parser.add_argument_group("operations")
    steps.add_argument(
        "--threshold",
        type=options.amount,
        metavar="X",
        help="a pixel is observed if MASK > X; required for an apodised MASK",
    )
    steps.add_argument("--invert", action="store_true", help="in MASK, 1 means masked")
    reading.add_bits(steps)
    steps.add_argument(
        "--rotate", type=_frame, metavar="FRAME", help="rotate MASK to this frame: G, C or E"
    )
    steps.add_argument(
        "--rotate-by",
        choices=WAYS,
        help="how to rotate: centres uses pixel centres and loses no hole (default); harmonics "
        "keeps apodised edges smooth (default with --as-weights)",
    )
    steps.add_argument(
        "--nside",
        type=options.positive,
        metavar="N",
        help="change MASK to this Nside (with --rotate, it is rotated at the finer of the two); "
        "without MASK, the Nside of the new mask",
    )
    steps.add_argument(
        "--keep-share",
        type=options.fraction,
        metavar="X",
        help="a coarser pixel is observed if at least a share X of its pixels is (default: 1)",
    )
    steps.add_argument(
        "--map",
        type=Path,
        metavar="MAP",
        help="mask the pixels that have no value in the first column of MAP",
    )
    steps.add_argument(
        "--galactic-cut", type=options.latitude, metavar="DEG", help="mask |latitude| below DEG"
    )
    steps.add_argument(
        "--sources",
        type=Path,
        metavar="CATALOGUE",
        help="mask discs around the sources of a table with columns ra and dec, l and b, or lon "
        "and lat, and optionally radius; text, VizieR, FITS, VOTable or DS9 regions",
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
        help="radius of the discs for sources without a radius in CATALOGUE",
    )
    steps.add_argument(
        "--fill-islands",
        type=options.positive,
        metavar="N",
        help="mask observed islands of up to N pixels",
    )
    steps.add_argument(
        "--grow-arcmin",
        type=options.arcmin,
        metavar="R",
        help="mask pixels within R of a hole",
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
                f"{args.output} leaves no pixel observed: check the options, --threshold and"
                " --invert first",
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
    """Refuse options that contradict each other, before any file is read."""
    of_mask = {
        "--threshold": args.threshold is not None,
        "--invert": args.invert,
        "--bits": args.bits is not None,
        "--rotate": args.rotate,
        "--as-weights": args.as_weights,
    }
    given = [name for name, value in of_mask.items() if value]
    if args.mask is None and given:
        raise ValueError(f"{given[0]} needs a mask to work on; give MASK")
    if args.rotate_by and not args.rotate:
        raise ValueError("--rotate-by says how a mask is rotated; pass --rotate FRAME as well")
    if args.keep_share is not None and (args.mask is None or args.nside is None):
        raise ValueError(
            "--keep-share is for bringing a mask to a coarser resolution; give MASK and --nside N"
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
    """Read MASK, or start with a whole sky, and mask the missing pixels of MAP.

    Returns the mask and its frame, None if no file names a frame. `said` collects in words what was
    done or assumed.
    """
    parts: list[Values] = []
    coord: str | None = args.frame
    wanted: int | None = args.nside
    if args.mask is not None and skyfill.maps.is_image(args.mask, hdu=args.hdu):
        values, coord = _of_image(args, said)
        parts.append(values)
    elif args.mask is not None:
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
        said["frame"] = "G, since no file names a frame (--frame sets it)"
    if not parts:
        raise ValueError(
            "there is no mask to start from; give MASK, or pass --nside N or --map MAP"
        )
    if coord is None:
        said["frame"] = f"{_frame_in(args, args.mask or args.map)} (--frame sets it)"
    return reduce(mul, parts), coord


def _of_image(args: argparse.Namespace, said: dict[str, str]) -> tuple[Values, str]:
    """Bring MASK, an image in CAR or another projection, to HEALPix pixels."""
    of_healpix = {
        "--as-weights": args.as_weights,
        "--rotate-by": args.rotate_by,
        "--keep-share": args.keep_share is not None,
        "--bits": args.bits is not None,
        "--field": args.field,
        "--frame": args.frame,
    }
    given = [name for name, value in of_healpix.items() if value]
    if given:
        raise ValueError(f"{args.mask} is an image, and {given[0]} is for HEALPix masks; drop it")
    if args.nside is None:
        raise ValueError(f"{args.mask} is an image; pass --nside N, the Nside of the new mask")
    coord = args.rotate or skyfill.maps.read_image(args.mask, hdu=args.hdu, what="mask").coord
    goal = skyfill.maps.Place(args.output, args.nside, skyfill.maps.Frame(coord))
    observed = skyfill.read_mask(
        args.mask,
        threshold=args.threshold,
        invert=args.invert,
        hdu=args.hdu,
        like=goal,
        reproject=True,
    )
    said["resolution"] = (
        f"Nside {args.nside} from an image: a pixel is observed if all of it is, in frame {coord}"
    )
    return observed, coord


def _read(args: argparse.Namespace) -> Values:
    """Read MASK unchanged; weights that are all 0 or 1 become a mask of booleans."""
    if args.as_weights:
        weights = skyfill.read_weights(
            args.mask, field=args.field, invert=args.invert, hdu=args.hdu, frame=args.frame
        )
        whole = weights == 1
        return whole if (whole | (weights == 0)).all() else weights
    try:
        return reading.mask_of(args, args.mask)
    except skyfill.masks.ApodisedMaskError as error:
        raise ValueError(f"{error}, or --as-weights to keep the weights") from None


def _frame_in(args: argparse.Namespace, path: Path) -> str:
    """Describe the frame of MASK or MAP for a message."""
    return f"{path} is in {_own_frame(args, path)}"


def _own_frame(args: argparse.Namespace, path: Path) -> Any:  # noqa: ANN401 (a Frame)
    """Find the frame that the header of MASK or MAP names."""
    return skyfill.maps.place_of(path, hdu=args.hdu if path == args.mask else None).frame


def _shared(
    args: argparse.Namespace, coord: str | None, theirs: str | None, said: dict[str, str]
) -> str | None:
    """Give the common frame of mask and map; refuse two different frames."""
    if args.mask is None:
        return theirs
    if coord and theirs and coord != theirs:
        become = ", to which --rotate brings it" if args.rotate else ""
        raise ValueError(
            f"{args.map} is in frame {theirs}, {args.mask} in {coord}{become}; rotate the mask to"
            f" the map's frame: --rotate {theirs}"
        )
    if args.rotate and theirs is None:
        raise ValueError(
            f"{_frame_in(args, args.map)}, and must be in {args.rotate}, the frame to which the"
            " mask is rotated; rotate the mask first, then use the result with --map and --frame"
        )
    if (coord is None) != (theirs is None):
        silent, other = (args.mask, args.map) if coord is None else (args.map, args.mask)
        if _own_frame(args, silent).named:
            raise ValueError(
                f"{_frame_in(args, silent)}, {other} in frame {coord or theirs}; pass --frame G, C"
                " or E"
            )
        said["assumed"] = (
            f"{silent} names no frame; the frame of {other}, {coord or theirs}, is assumed"
        )
    return coord or theirs


def _carry(
    args: argparse.Namespace, values: Values, coord: str | None, said: dict[str, str]
) -> tuple[Values, str | None]:
    """Bring MASK to the frame of --rotate and the Nside of --nside; rotate at the finer Nside."""
    old = _nside(values)
    finer = args.nside is not None and args.nside > old
    if args.keep_share is not None and args.nside >= old:
        raise ValueError(
            f"--keep-share is for a coarser resolution; {args.mask} has Nside {old}, not above"
            f" --nside {args.nside}"
        )
    if finer:
        values = skyfill.regrade_mask(values, args.nside)
        said["resolution"] = f"Nside {args.nside} from {old}: each pixel copies its parent pixel"
    if args.rotate:
        if coord is None:
            raise ValueError(
                f"{_frame_in(args, args.mask)}, and --rotate needs its present frame; pass --frame"
                " G, C or E"
            )
        way: Literal["centres", "harmonics"] = args.rotate_by or (
            "centres" if values.dtype == bool else "harmonics"
        )
        values = skyfill.rotate_mask(values, coord, args.rotate, by=way)
        words = "by pixel centres" if way == "centres" else "in harmonics"
        said["rotated"] = (
            f"{coord} to {args.rotate} {words}: no hole is lost, edges move by up to a pixel"
            if coord != args.rotate
            else f"not needed: {args.mask} is in {coord} already"
        )
        coord = args.rotate
    if args.nside is not None and not finer:
        share = args.keep_share or 1.0
        pixels = (old // args.nside) ** 2
        values = skyfill.regrade_mask(values, args.nside, share=share)
        if pixels > 1:
            least = f"all {pixels}" if share == 1 else f"at least {share:g} of {pixels}"
            said["resolution"] = (
                f"Nside {args.nside} from {old}: observed if {least} pixels in it are observed"
            )
    return values, coord


def _nside(values: Values) -> int:
    return skyfill.healpix.nside_of(values, "mask")


def _operate(
    args: argparse.Namespace, values: Values, coord: str | None
) -> tuple[Values, list[str]]:
    """Apply the requested operations in their fixed order.

    Returns the mask, and in words how the catalogue was read.
    """
    nside = _nside(values)
    said: list[str] = []
    if args.galactic_cut is not None:
        if coord is None:
            raise ValueError(
                f"{_frame_in(args, args.mask or args.map)}, and --galactic-cut needs the frame to"
                " find the Galactic plane; pass --frame G, C or E"
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
        card: (said[what].partition(":")[0], "operation on the mask")
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
