"""Read maps, masks and noise maps with the options of the command line.

All files of a run must share Nside and frame. `--unit` and `--field` apply to the map; the mask and
the noise map have their own options, and the unit of a truth or a spread is read from its file.
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import skyfill

from . import options, wording

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "AUTO",
    "add_bits",
    "add_map",
    "add_mask",
    "add_missing",
    "add_noise_map",
    "assumed",
    "beside",
    "beside_of",
    "frame_of",
    "known_of",
    "map_of",
    "mask_of",
    "name_of_noise",
    "noise_of",
    "refuse_without_mask",
    "refuse_without_noise_map",
    "said_of_mask",
    "weights_of",
]

AUTO = "auto"
"""In place of the file of a noise map: estimate it."""
_NEGATIVE = re.compile(r"-(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$")
_ROTATE = re.compile(r"`skyfill\.rotate_mask\(observed, '.', '(.)'\)`")
#: Stokes parameters that are filled: temperature, or not named.
_SCALAR = (None, "T")


def add_map(parser: argparse.ArgumentParser) -> None:
    """Declare how a map is read: --field, --unit, --hdu, --missing and --frame."""
    parser.add_argument(
        "--field",
        type=options.field,
        default=0,
        metavar="COLUMN",
        help="column of the map, by number from 0 or by name (default: the first)",
    )
    parser.add_argument("--unit", help="unit of a map whose file names no unit: K, mK or uK")
    parser.add_argument(
        "--hdu",
        type=options.field,
        metavar="HDU",
        help="HDU of the map, by number or by EXTNAME (default: the first with a HEALPix map)",
    )
    parser.add_argument(
        "--nside",
        type=options.positive,
        metavar="N",
        help="Nside at which a multi-order map is read",
    )
    add_missing(parser)
    parser.add_argument(
        "--frame",
        metavar="G|E|C",
        help="frame of files that name no frame or an unknown one: G (Galactic), E (ecliptic), "
        "C (equatorial)",
    )


def add_missing(parser: argparse.ArgumentParser) -> None:
    """Declare --missing."""
    # argparse takes -1 for a number but -1e30 for an option; this pattern accepts both.
    parser._negative_number_matcher = _NEGATIVE  # noqa: SLF001
    parser.add_argument(
        "--missing",
        type=float,
        action="append",
        metavar="VALUE",
        help="a value that means missing in the map, besides UNSEEN and NaN; may be repeated",
    )


def add_mask(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Declare how the mask of a map is read: --mask-field, --threshold, --invert and --bits."""
    parser.add_argument(
        "--mask-field",
        type=options.field,
        default=0,
        metavar="COLUMN",
        help="column of the mask, by number from 0 or by name (default: the first)",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="X",
        help="a pixel is observed if the mask is above X (required for an apodised mask)",
    )
    parser.add_argument("--invert", action="store_true", help="in the mask, 1 means masked")
    add_bits(parser)
    parser.add_argument(
        "--reproject-mask",
        action="store_true",
        help="bring a mask of another frame or Nside, or an image (CAR, ...), to the map's pixels: "
        "a pixel is observed if all of it is",
    )


def add_bits(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Declare --bits."""
    parser.add_argument(
        "--bits",
        type=_bits,
        metavar="N,N",
        help="for a mask of bit codes: numbers of the bits that mean masked, 0 the lowest (with "
        "--invert, of the bits that mean observed)",
    )


def add_noise_map(parser: argparse.ArgumentParser) -> None:
    """Declare --noise-map and how it is read."""
    parser.add_argument(
        "--noise-map",
        type=_noise_map,
        metavar="FILE|auto",
        help="map of the noise: its standard deviation or variance in every pixel; auto: estimate "
        "it from the observed sky, and use it only if the noise varies",
    )
    parser.add_argument(
        "--noise-field",
        type=options.field,
        metavar="COLUMN",
        help="column of the noise map (default: the first)",
    )
    parser.add_argument(
        "--noise-unit",
        metavar="UNIT",
        help="unit of a noise map whose file names no unit: uK, uK^2, 1/uK^2",
    )
    parser.add_argument(
        "--noise-variance",
        action="store_true",
        help="the noise map is a variance; for files that do not say so themselves",
    )


def map_of(
    args: argparse.Namespace,
    path: Path,
    *,
    like: skyfill.SkyMap | Path | None = None,
    single: bool = False,
    scalar: bool = True,
) -> skyfill.SkyMap:
    """Read a map with the options of `add_map`.

    Parameters
    ----------
    args
        The options of `add_map`.
    path
        The file.
    like
        Another map, or the path of a mask, that must have the same Nside and frame.
    single
        Keep the values in float32 if the file holds float32.
    scalar
        Refuse columns of polarization, because the map will be compared with a temperature prior.

    """
    if isinstance(like, Path):
        like = beside(args, like)
    with _rotating(like if isinstance(like, Path) else None):
        sky = skyfill.read_map(
            path,
            field=args.field,
            unit=args.unit,
            frame=args.frame,
            like=like,
            single=single,
            hdu=args.hdu,
            missing=args.missing,
            nside=args.nside,
        )
    if scalar:
        _refuse_polarization(sky)
    return sky


def beside(args: argparse.Namespace, mask: Path) -> Path | None:
    """Give the mask if the map must have its Nside and frame; None with --reproject-mask."""
    return None if vars(args).get("reproject_mask") else mask


def beside_of(
    args: argparse.Namespace, path: Path, sky: skyfill.SkyMap, *, field: int | str = 0
) -> skyfill.SkyMap:
    """Read a truth or a spread, with its own unit and the Nside and frame of a map."""
    return skyfill.read_map(path, field=field, frame=args.frame, like=sky)


def mask_of(
    args: argparse.Namespace, path: Path, *, like: skyfill.SkyMap | None = None
) -> NDArray[np.bool_]:
    """Read a mask with the options of `add_mask`: ``(npix,)``, true where observed."""
    own = "mask_field" in args  # `skyfill mask` calls it --field
    reproject = bool(vars(args).get("reproject_mask"))
    goal: skyfill.SkyMap | Path | None = like
    if reproject and like is None:
        goal = args.map if "map" in args else args.maps[0]
    nside = None
    if not own and skyfill.maps.place_of(path, hdu=args.hdu).nside is None:
        nside = args.nside
    with _rotating(path), wording.naming(field="--mask-field" if own else "--field"):
        return skyfill.read_mask(
            path,
            field=args.mask_field if own else args.field,
            threshold=args.threshold,
            invert=args.invert,
            bits=args.bits,
            hdu=None if own else args.hdu,
            nside=nside,
            frame=args.frame,
            like=goal,
            reproject=reproject,
        )


def noise_of(args: argparse.Namespace, sky: skyfill.SkyMap) -> NDArray[np.float64] | str | None:
    """Read --noise-map: ``(npix,)``, the standard deviation in µK, or auto; None without it."""
    refuse_without_noise_map(args)
    if args.noise_map is None or args.noise_map == AUTO:
        return None if args.noise_map is None else AUTO
    _check_among(args, sky, args.mask, args.noise_map)
    with wording.naming(field="--noise-field", unit="--noise-unit"):
        return skyfill.read_noise(
            args.noise_map,
            field=0 if args.noise_field is None else args.noise_field,
            unit=args.noise_unit,
            variance=args.noise_variance,
            frame=args.frame,
            like=sky,
        )


def weights_of(
    args: argparse.Namespace, path: Path, *, like: skyfill.SkyMap | None = None
) -> NDArray[np.float64]:
    """Read the weights of an apodised mask, ``(npix,)``, with the options of `add_mask`."""
    if vars(args).get("reproject_mask"):
        raise ValueError(
            f"--reproject-mask makes a mask of 0 and 1, and {path} is apodised; pass --threshold X,"
            f" or rotate its weights: skyfill mask {shlex.quote(str(path))} --as-weights --rotate"
            " FRAME -o OUT"
        )
    with _rotating(path), wording.naming(field="--mask-field"):
        return skyfill.read_weights(
            path, field=args.mask_field, invert=args.invert, frame=args.frame, like=like
        )


def known_of(args: argparse.Namespace, path: Path) -> tuple[NDArray[np.bool_], str | None]:
    """Find the pixels with a value in a map's first column, and the frame of the map."""
    known = skyfill.maps.known_pixels(path, missing=args.missing, frame=args.frame)
    return known, skyfill.maps.place_of(path, frame=args.frame).frame.coord


def _check_among(
    args: argparse.Namespace, sky: skyfill.SkyMap, *paths: Path | None
) -> list[skyfill.maps.Place]:
    """Locate the files beside a map; if the map names no frame, refuse files in two frames."""
    masks = (args.mask, vars(args).get("footprint"))
    if vars(args).get("reproject_mask"):  # they may be in any frame
        paths = tuple(path for path in paths if path not in masks)
    places = [skyfill.maps.place_of(path, mask=path in masks) for path in paths if path is not None]
    said = [place for place in places if place.frame.named]
    if not sky.frame.named:
        for other in said[1:]:
            skyfill.maps.check_alike(said[0], other)
    return places


def assumed(args: argparse.Namespace, sky: skyfill.SkyMap, *paths: Path | None) -> str:
    """Say in words which frame is assumed for which files; an empty string if none is assumed.

    If the map names no frame, the files beside it must share one frame.
    """
    places = _check_among(args, sky, *paths)
    brought = said_of_mask(args, sky)
    said = [place.frame for place in places if place.frame.named]
    silent = [place.path.name for place in places if not place.frame.named]
    if sky.coord and silent:
        return f", frame {sky.coord}, also assumed for {' and '.join(silent)}{brought}"
    if not sky.frame.named and said:
        return f", frame assumed to be that of the other file: {said[0]}{brought}"
    return brought


def said_of_mask(args: argparse.Namespace, sky: skyfill.SkyMap) -> str:
    """Say from where --reproject-mask brings the mask; an empty string if it lies there already."""
    if not vars(args).get("reproject_mask") or args.mask is None:
        return ""
    rule = "a pixel is observed if all of it is"
    if skyfill.maps.is_image(args.mask):
        return f", mask reprojected from the image {args.mask.name}: {rule}"
    place = skyfill.maps.place_of(args.mask, frame=args.frame)
    words = [] if place.nside in (None, sky.nside) else [f"Nside {place.nside}"]
    if place.frame.coord != sky.coord:
        if place.frame.coord and sky.coord:
            words.insert(0, f"frame {place.frame.coord}")
        elif place.frame.coord or sky.coord:
            words.append(f"frame {place.frame.coord or sky.coord} assumed for both")
    return f", mask reprojected from {' and '.join(words)}: {rule}" if words else ""


def frame_of(sky: skyfill.SkyMap) -> str:
    """Give the frame of a map; Galactic if its file names no frame."""
    if sky.unknown_frame:
        raise ValueError(f"{sky.path} is in {sky.frame}; pass --frame G, E or C")
    return sky.coord or "G"


def refuse_without_mask(args: argparse.Namespace) -> None:
    """Refuse options about a mask if no mask is given."""
    given = {
        "--mask-field": args.mask_field,
        "--threshold": args.threshold is not None,
        "--invert": args.invert,
        "--bits": args.bits is not None,
        "--reproject-mask": args.reproject_mask,
    }
    for name, value in given.items():
        if value and args.mask is None:
            raise ValueError(f"{name} is an option of the mask; pass --mask as well")


def refuse_without_noise_map(args: argparse.Namespace) -> None:
    """Refuse options about a noise map if no noise map is given."""
    given = {
        "--noise-field": args.noise_field is not None,
        "--noise-unit": args.noise_unit is not None,
        "--noise-variance": args.noise_variance,
    }
    for name, value in given.items():
        if value and args.noise_map is None:
            raise ValueError(f"{name} is an option of the noise map; pass --noise-map as well")
        if value and args.noise_map == AUTO:
            raise ValueError(f"--noise-map auto reads no file; drop {name}")


def _refuse_polarization(sky: skyfill.SkyMap) -> None:
    """Refuse a column of polarization."""
    if sky.stokes in _SCALAR:
        return
    table = next(each for each in skyfill.describe(sky.path).tables if each.hdu == sky.hdu)
    mend = f"TTYPE of column {sky.column!r}"
    raise ValueError(
        f"{sky.path}: column {sky.column!r} is Stokes {sky.stokes}, and the prior of one column "
        "describes temperature; fill Q and U together with --stokes TQU or QU (inpaint, batch, "
        "validate, evaluate), pass --field with a temperature column of "
        f"{', '.join(column.name for column in table.columns)}, or, if this is one, correct the "
        f"{mend}"
    )


@contextmanager
def _rotating(mask: Path | None) -> Iterator[None]:
    """In errors, replace the library function that rotates a mask by the command that does it."""
    try:
        yield
    except ValueError as error:
        begin = f"`skyfill mask {shlex.quote(str(mask))} --rotate"
        error.args = (_ROTATE.sub(lambda found: f"{begin} {found[1]} -o OUT`", str(error)),)
        raise


def name_of_noise(args: argparse.Namespace) -> str | None:
    """Name the noise map: the name of its file, or auto; None without the option."""
    given: Path | str | None = vars(args).get("noise_map")
    return given.name if isinstance(given, Path) else given


def _noise_map(text: str) -> Path | str:
    """Read the name of a noise map; a file named auto is ./auto."""
    return AUTO if text == AUTO else Path(text)


def _bits(text: str) -> tuple[int, ...]:
    """Read a list of bit numbers: 5, or 0,2."""
    try:
        return tuple(options.whole(word) for word in text.split(","))
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(
            f"must be numbers of bits from 0, such as 0,2; got {text}"
        ) from None
