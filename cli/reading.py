"""Read maps, masks and noise maps as the options say, and only what goes together.

All files of a run share Nside and frame. `--unit` and `--field` are about the map; a mask and a
noise map have options of their own, and a truth or a spread states its own unit.
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
    "add_bits",
    "add_map",
    "add_mask",
    "add_missing",
    "add_noise_map",
    "assumed",
    "beside_of",
    "frame_of",
    "known_of",
    "map_of",
    "mask_of",
    "noise_of",
    "refuse_without_mask",
    "refuse_without_noise_map",
    "weights_of",
]

_NEGATIVE = re.compile(r"-(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$")
_ROTATE = re.compile(r"`skyfill\.rotate_mask\(observed, '.', '(.)'\)`")
#: Temperature, or nothing that says otherwise.
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
    parser.add_argument("--unit", help="unit of the map where its file names none: K, mK or uK")
    parser.add_argument(
        "--hdu",
        type=options.field,
        metavar="HDU",
        help="HDU of the map, by number or by EXTNAME (default: the first that holds a sky)",
    )
    parser.add_argument(
        "--nside",
        type=options.positive,
        metavar="N",
        help="resolution at which a multi-order map is read",
    )
    add_missing(parser)
    parser.add_argument(
        "--frame",
        metavar="G|E|C",
        help="frame of the files that name none, or an unknown one: Galactic, ecliptic, equatorial",
    )


def add_missing(parser: argparse.ArgumentParser) -> None:
    """Declare --missing."""
    # A value such as -1e30 is no option, which argparse knows of plain numbers only.
    parser._negative_number_matcher = _NEGATIVE  # noqa: SLF001
    parser.add_argument(
        "--missing",
        type=float,
        action="append",
        metavar="VALUE",
        help="value that stands for missing in the map, beside UNSEEN and NaN; may be repeated",
    )


def add_mask(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Declare how a mask beside a map is read: --mask-field, --threshold, --invert and --bits."""
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
        help="observed is what the mask has above X (needed for an apodised mask)",
    )
    parser.add_argument("--invert", action="store_true", help="the mask has 1 where masked")
    add_bits(parser)


def add_bits(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Declare --bits."""
    parser.add_argument(
        "--bits",
        type=_bits,
        metavar="N,N",
        help="bits that mean masked in a mask of bit codes, 0 the lowest; with --invert the bits "
        "that mean observed",
    )


def add_noise_map(parser: argparse.ArgumentParser) -> None:
    """Declare --noise-map and how it is read."""
    parser.add_argument(
        "--noise-map",
        type=Path,
        metavar="FILE",
        help="standard deviation of the noise in every pixel, or its variance (gaussian only)",
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
        help="unit of the noise map where its file names none: uK, uK^2, 1/uK^2",
    )
    parser.add_argument(
        "--noise-variance",
        action="store_true",
        help="the noise map is a variance, though its file does not say so",
    )


def map_of(
    args: argparse.Namespace,
    path: Path,
    *,
    like: skyfill.SkyMap | Path | None = None,
    single: bool = False,
    scalar: bool = True,
) -> skyfill.SkyMap:
    """Read a map as the options say.

    Parameters
    ----------
    args
        The options of `add_map`.
    path
        The file.
    like
        A map that was read, or the path of a mask, which must have the same Nside and frame.
    single
        Keep float32 where the file has no more.
    scalar
        Whether the map will be held against statistics of the temperature, so that a column of
        polarization is refused.

    """
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


def beside_of(
    args: argparse.Namespace, path: Path, sky: skyfill.SkyMap, *, field: int | str = 0
) -> skyfill.SkyMap:
    """Read a truth, a spread or the like: in its own unit, with the Nside and frame of a map."""
    return skyfill.read_map(path, field=field, frame=args.frame, like=sky)


def mask_of(
    args: argparse.Namespace, path: Path, *, like: skyfill.SkyMap | None = None
) -> NDArray[np.bool_]:
    """Read a mask, (npix,), true where observed, as the options of `add_mask` say."""
    own = "mask_field" in args  # `skyfill mask` calls it --field
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
            like=like,
        )


def noise_of(args: argparse.Namespace, sky: skyfill.SkyMap) -> NDArray[np.float64] | None:
    """Read --noise-map, (npix,), the standard deviation in µK; None where it is not given."""
    refuse_without_noise_map(args)
    if args.noise_map is None:
        return None
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
    """Read the weights of an apodised mask, (npix,), as the options of `add_mask` say."""
    with _rotating(path), wording.naming(field="--mask-field"):
        return skyfill.read_weights(
            path, field=args.mask_field, invert=args.invert, frame=args.frame, like=like
        )


def known_of(args: argparse.Namespace, path: Path) -> tuple[NDArray[np.bool_], str | None]:
    """Find the pixels of a map's first column that have a value, and the frame of the map."""
    known = skyfill.maps.known_pixels(path, missing=args.missing, frame=args.frame)
    return known, skyfill.maps.place_of(path, frame=args.frame).frame.coord


def _check_among(
    args: argparse.Namespace, sky: skyfill.SkyMap, *paths: Path | None
) -> list[skyfill.maps.Place]:
    """Find the places of the files beside a map; refuse them in two frames if it names none."""
    masks = (args.mask, vars(args).get("footprint"))
    places = [skyfill.maps.place_of(path, mask=path in masks) for path in paths if path is not None]
    said = [place for place in places if place.frame.named]
    if not sky.frame.named:
        for other in said[1:]:
            skyfill.maps.check_alike(said[0], other)
    return places


def assumed(args: argparse.Namespace, sky: skyfill.SkyMap, *paths: Path | None) -> str:
    """Say in words which frame is assumed, and for which files; "" where none has to be.

    Files beside a map without a named frame must not be in two.
    """
    places = _check_among(args, sky, *paths)
    said = [place.frame for place in places if place.frame.named]
    silent = [place.path.name for place in places if not place.frame.named]
    if sky.coord and silent:
        return f", frame {sky.coord}, assumed of {' and '.join(silent)}, too"
    if not sky.frame.named and said:
        return f", frame assumed to be that of the other file: {said[0]}"
    return ""


def frame_of(sky: skyfill.SkyMap) -> str:
    """Give the frame of a map where it matters; Galactic where the file names none."""
    if sky.unknown_frame:
        raise ValueError(f"{sky.path} is in {sky.frame}; pass --frame G, E or C")
    return sky.coord or "G"


def refuse_without_mask(args: argparse.Namespace) -> None:
    """Refuse options about a mask where there is none."""
    given = {
        "--mask-field": args.mask_field,
        "--threshold": args.threshold is not None,
        "--invert": args.invert,
        "--bits": args.bits is not None,
    }
    for name, value in given.items():
        if value and args.mask is None:
            raise ValueError(f"{name} is about a mask; pass --mask as well")


def refuse_without_noise_map(args: argparse.Namespace) -> None:
    """Refuse options about a noise map where there is none."""
    given = {
        "--noise-field": args.noise_field is not None,
        "--noise-unit": args.noise_unit is not None,
        "--noise-variance": args.noise_variance,
    }
    for name, value in given.items():
        if value and args.noise_map is None:
            raise ValueError(f"{name} is about a noise map; pass --noise-map as well")


def _refuse_polarization(sky: skyfill.SkyMap) -> None:
    """Refuse a column that is not of temperature."""
    if sky.stokes in _SCALAR:
        return
    table = next(each for each in skyfill.describe(sky.path).tables if each.hdu == sky.hdu)
    mend = f"TTYPE of column {sky.column!r}"
    raise ValueError(
        f"{sky.path}: column {sky.column!r} is Stokes {sky.stokes}, and skyfill cannot judge or "
        "fill polarization yet: its prior is that of temperature; pass --field with a temperature "
        f"column of {', '.join(column.name for column in table.columns)}, or, if it is one, "
        f"correct the {mend}"
    )


@contextmanager
def _rotating(mask: Path | None) -> Iterator[None]:
    """Name the command that rotates a mask where the library names its function."""
    try:
        yield
    except ValueError as error:
        begin = f"`skyfill mask {shlex.quote(str(mask))} --rotate"
        error.args = (_ROTATE.sub(lambda found: f"{begin} {found[1]} -o OUT`", str(error)),)
        raise


def _bits(text: str) -> tuple[int, ...]:
    """Read numbers of bits: 5, or 0,2."""
    try:
        return tuple(options.whole(word) for word in text.split(","))
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(
            f"must be numbers of bits from 0, such as 0,2; got {text}"
        ) from None
