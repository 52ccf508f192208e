"""Read masks and weights of pixels from HEALPix FITS files.

A mask is ``(npix,)`` booleans in RING order, true where the sky is *observed*. Files store it as 0
and 1, as bit codes, or as weights from 0 to 1 with a soft edge.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skyfill.healpix.arrays import MASK_ROUNDING
from skyfill.holes.reprojection import reproject_mask
from skyfill.maps.frames import frame_of_word
from skyfill.maps.hdu import open_fits
from skyfill.maps.image import is_image, read_image
from skyfill.maps.reading import Frame, Placed, Read, place_of, read_file

__all__ = ["ApodisedMaskError", "read_mask", "read_weights"]

#: Words in column names which mean that 1 is masked, and words that reverse the meaning.
_MASKED_NAMES = {
    "MASKED",
    "MASKEDPIX",
    "BAD",
    "BADPIX",
    "BADPIXELS",
    "EXCLUDED",
    "EXCLUSION",
    "EXCLUDE",
    "HOLE",
    "HOLES",
    "FLAG",
    "FLAGS",
    "FLAGGED",
    "REJECT",
    "REJECTED",
    "INVALID",
    "MISSING",
    "UNOBSERVED",
    "CONTAMINATED",
    "CONTAMINATION",
    "VETO",
    "MASKBITS",
    "BITMASK",
}
_NOT = {"NOT", "NO", "UN", "INV", "INVERTED"}
_PART = 2**22  # pixels compared at a time
_FLOAT_BITS = 53  # bits of a whole number that a float64 represents
#: Units of maps: a column with one of them is not a mask, whatever its numbers are.
_SKY_UNIT = re.compile(r"\W*(?:|m|u|mu|micro|n|k|M|µ|μ) ?(?:K|Jy)")


class ApodisedMaskError(ValueError):
    """A mask with values between 0 and 1, read without a threshold; see `read_weights`."""


def read_mask(
    path: str | os.PathLike[str],
    *,
    field: int | str = 0,
    threshold: float | None = None,
    invert: bool = False,
    hdu: int | str | None = None,
    nside: int | None = None,
    bits: int | Sequence[int] | None = None,
    frame: str | None = None,
    like: Placed | str | os.PathLike[str] | None = None,
    reproject: bool = False,
) -> NDArray[np.bool_]:
    """Read a mask from a HEALPix FITS file, or bring one to the pixels of a map.

    Parameters
    ----------
    path
        The file: RING, NESTED or multi-order (NUNIQ), full sky or partial, plain, gzip or bzip2.
    field
        The column, by number from 0 or by name.
    threshold
        A pixel is observed if its value is above the threshold. Required for a mask with values
        other than 0 and 1. Without it, values within 1e-4 of 0 or 1 are rounded.
    invert
        In the file, 1 means *masked*.
    hdu
        The table, by number of its HDU from 0 or by its name (EXTNAME); the first with a HEALPix
        map if None.
    nside
        Resolution at which to read a multi-order mask with cells of several sizes.
    bits
        For a mask of bit codes: the bits, numbered from 0 for the lowest, that mean *masked*. A
        pixel is observed if none of them is set. With `invert` they mean *observed*, and a pixel
        is observed if all of them are set.
    frame
        Frame of a file that names none or an unknown one: G, E, C or a word for it.
    like
        A `SkyMap`, or the path of a map, that must have the same Nside and frame.
    reproject
        Bring the mask to Nside and frame of `like` instead, by `skyfill.masks.reproject_mask`: a
        pixel is observed if all of it is. The file may then also be an image with a WCS, such as a
        mask in CAR.

    Returns
    -------
        ``(npix,)``, RING, true where observed. Pixels without a value are unobserved, also with
        `invert`.

    Raises
    ------
    ValueError
        The mask has values other than 0 and 1 and neither `threshold` nor `bits` is given, another
        column of the file holds the mask, Nside or frame differs from that of `like`, or the file
        is damaged.
    OSError
        The file cannot be read.

    Examples
    --------
    >>> import numpy as np, skyfill
    >>> band = skyfill.galactic_cut(16, np.radians(20))
    >>> skyfill.write_map("mask.fits", band, unit="", dtype="uint8", column="MASK")
    >>> observed = skyfill.read_mask("mask.fits")
    >>> observed.dtype, bool((observed == band).all())
    (dtype('bool'), True)

    """
    if bits is not None and threshold is not None:
        raise ValueError("`bits` and `threshold` are two ways to read a mask; drop one of them")
    goal = _goal(like, frame) if reproject else None
    if goal is not None and is_image(path, hdu=hdu):
        if bits is not None or field != 0:
            raise ValueError(f"{path} is an image, which has neither `field` nor `bits`; drop them")
        return _of_image(Path(path), goal, hdu=hdu, threshold=threshold, invert=invert)
    read = read_file(
        Path(path),
        field,
        hdu=hdu,
        nside=nside,
        single=True,
        frame=frame,
        like=None if reproject else like,
        mask=True,
    )
    values = read.values
    chosen = None if bits is None else _bit_code(read, bits)
    by_name = isinstance(field, str) and not field.isdecimal()
    if threshold is None and chosen is None:
        _refuse_no_mask(read, by_name=by_name)
        if not invert:
            _warn_of_name(read)
    observed = np.empty(values.size, np.bool_)
    for start in range(0, values.size, _PART):
        part = values[start : start + _PART]
        known = ~np.isnan(part)
        if chosen is not None:
            codes = np.where(known, part, 0).astype(np.int64) & chosen
            seen = codes == (chosen if invert else 0)
        else:
            limit = part.dtype.type(0.5 if threshold is None else threshold)
            seen = (part <= limit) if invert else (part > limit)
        observed[start : start + _PART] = known & seen
    ring: NDArray[np.bool_] = read.ring(observed)
    return ring if goal is None else _brought(ring, read, goal)


def _goal(like: Placed | str | os.PathLike[str] | None, frame: str | None) -> tuple[int, Frame]:
    """Return the Nside and the frame to which a mask is brought."""
    if like is None:
        raise ValueError("`reproject` brings a mask to the pixels of a map; pass it as like")
    place = place_of(like) if isinstance(like, str | os.PathLike) else like
    if place.nside is None:
        raise ValueError(
            f"{place.path} is a multi-order map; read it first with `nside`, and pass the SkyMap"
        )
    given = None if frame is None else frame_of_word(frame)
    return place.nside, place.frame if place.frame.coord else Frame(given, place.frame.unknown)


def _brought(observed: NDArray[np.bool_], read: Read, goal: tuple[int, Frame]) -> NDArray[np.bool_]:
    """Bring a HEALPix mask to the pixels of a map; one that names no frame has the map's."""
    nside, frame = goal
    for each in (frame, read.frame):
        if each.named and not each.coord:
            raise ValueError(f"{read}: mask and map, one is in {each}; pass `frame` G, E or C")
    theirs = read.frame.coord or frame.coord or "G"
    return reproject_mask(observed, nside, frame.coord or theirs, frame=theirs)


def _of_image(
    path: Path,
    goal: tuple[int, Frame],
    *,
    hdu: int | str | None,
    threshold: float | None,
    invert: bool,
) -> NDArray[np.bool_]:
    """Read a mask in the pixels of an image, and bring it to those of a map."""
    nside, frame = goal
    if frame.coord is None:
        raise ValueError(
            f"{path} is an image, whose frame is known, and the map is in {frame}; pass `frame` G,"
            " E or C"
        )
    image = read_image(path, hdu=hdu, what="mask")
    values = np.asarray(image.values, np.float64)
    known = np.isfinite(values)
    if threshold is None and not (_is_binary(values[known]) and (values[known] > 0.5).any()):
        raise ApodisedMaskError(f"{path} {_not_binary(values[known])}")
    limit = 0.5 if threshold is None else threshold
    seen = (values <= limit) if invert else (values > limit)
    return reproject_mask(known & seen, nside, frame.coord, wcs=image.header)


def _is_binary(values: NDArray[np.floating]) -> bool:
    """Tell whether all values are 0 or 1 within rounding, or missing."""
    parts = (values[start : start + _PART] for start in range(0, values.size, _PART))
    return all(
        (
            (np.abs(part) <= MASK_ROUNDING) | (np.abs(part - 1) <= MASK_ROUNDING) | np.isnan(part)
        ).all()
        for part in parts
    )


def _refuse_no_mask(read: Read, *, by_name: bool) -> None:
    """Refuse a column that is not a mask, and name a column of the file that is one."""
    values = read.values
    binary = _is_binary(values)
    if binary and (by_name or np.fmax.reduce(values, initial=0) > 1 / 2):
        return
    known = values[~np.isnan(values)]
    soft = not binary and known.min() >= -MASK_ROUNDING and known.max() <= 1 + MASK_ROUNDING
    other = None if soft and by_name else _mask_beside(read)
    if binary and other is None:
        return
    if known.size == 0:
        what = "holds no value"
    elif binary:
        what = "holds 0 only"
    else:
        what = _not_binary(known)
    if other is not None:
        what = f"{what.partition(';')[0]}; column {other!r} holds a mask: pass `field={other!r}`"
    elif soft:
        raise ApodisedMaskError(f"{read} {what}")
    raise ValueError(f"{read} {what}")


def _warn_of_name(read: Read) -> None:
    """Warn if the name of a column suggests that 1 means masked."""
    words = re.findall(r"[A-Z0-9]+", read.column.name.upper())
    said = [word for word in words if word in _MASKED_NAMES]
    if said and not _NOT & set(words):
        warnings.warn(
            f"{read} is read with 1 for observed sky, though its name may say that 1 means masked;"
            " if so, pass `invert=True`",
            stacklevel=3,
        )


def _mask_beside(read: Read) -> str | None:
    """Find another column of the file that holds both 0 and 1 and nothing else."""
    if read.found.flattened:  # the cells of a multi-order mask are not pixels
        return None
    for column in read.table.fields:
        if column == read.column or not column.numeric:
            continue
        if read.table.stored(column) != read.table.stored(read.column):
            continue
        with open_fits(read.table.path) as stream:
            values = read.table.read(stream, column, single=True)
        if _is_binary(values) and (values > 0.5).any() and (values < 0.5).any():
            return column.name
    return None


def _bit_code(read: Read, bits: int | Sequence[int]) -> int:
    """Combine bits into one number; refuse a column that cannot have these bits."""
    numbers = [bits] if isinstance(bits, int | np.integer) else list(bits)
    width = 8 * read.column.dtype.itemsize if read.column.dtype.kind in "iu" else _FLOAT_BITS
    wrong = [bit for bit in numbers if not 0 <= int(bit) < width]
    if wrong or not numbers:
        said = ", ".join(map(str, wrong)) or "none"
        raise ValueError(
            f"{read} has bits 0 to {width - 1}, counted from the lowest; `bits` says {said}"
        )
    known = read.values[~np.isnan(read.values)]
    if not np.array_equal(known, np.rint(known)):
        raise ValueError(f"{read} holds no whole numbers, so no bit codes; drop `bits`")
    if known.size and np.abs(known).max() > 2.0**_FLOAT_BITS:
        raise ValueError(f"{read} holds numbers beyond 2^{_FLOAT_BITS}, too large for bit codes")
    codes = known.astype(np.int64)
    never = [str(bit) for bit in sorted(set(map(int, numbers))) if not (codes >> bit & 1).any()]
    if len(never) == len(set(map(int, numbers))):  # no bit is set anywhere
        there = [str(bit) for bit in range(width) if (codes >> bit & 1).any()]
        warnings.warn(
            f"{read} has bit {', '.join(never)} set in no pixel; set somewhere are"
            f" {', '.join(there) or 'none'}, counted from 0",
            stacklevel=3,
        )
    return int(sum(1 << int(bit) for bit in set(map(int, numbers))))


def _not_binary(values: NDArray[np.floating]) -> str:
    """Describe a column that is not a mask of 0 and 1, and say what to do."""
    low, high = values.min(), values.max()
    if low >= 0 and high > 1 and np.array_equal(values, np.rint(values)):
        return (
            f"holds {low:.6g} to {high:.6g}, so it is not a mask of 0 and 1; if these whole numbers"
            " are bit codes, pass `bits`, the numbers of the bits that mean masked; otherwise give"
            " the map first, then the mask, or pass `threshold=X` (observed above X)"
        )
    if low < -MASK_ROUNDING or high > 1 + MASK_ROUNDING:
        return (
            f"holds {low:.6g} to {high:.6g}, so it is not a mask of 0 and 1; give the map first,"
            " then the mask, or pass `threshold=X` (observed above X)"
        )
    return "holds values between 0 and 1 (apodised?); pass `threshold=X` (observed above X)"


def read_weights(
    path: str | os.PathLike[str],
    *,
    field: int | str = 0,
    invert: bool = False,
    hdu: int | str | None = None,
    nside: int | None = None,
    frame: str | None = None,
    like: Placed | str | os.PathLike[str] | None = None,
) -> NDArray[np.float64]:
    """Read the weights of an apodised mask from a HEALPix FITS file.

    Parameters
    ----------
    path
        The file: RING, NESTED or multi-order (NUNIQ), full sky or partial, plain, gzip or bzip2.
    field
        The column, by number from 0 or by name.
    invert
        The file has 1 where the sky is *masked*.
    hdu, nside, frame, like
        As for `read_mask`.

    Returns
    -------
        ``(npix,)``, RING, from 0 (masked) to 1. Pixels without a value have weight 0, also with
        `invert`. Weights within 1e-4 of 0 become 0, and weights up to 1e-4 above 1 become 1.

    Raises
    ------
    ValueError
        Values lie outside 0 to 1, all are 0, or the column has the unit of a map.
    OSError
        The file cannot be read.

    """
    read = read_file(Path(path), field, hdu=hdu, nside=nside, frame=frame, like=like, mask=True)
    values = np.asarray(read.values, np.float64)
    if _SKY_UNIT.match(read.column.unit):
        raise ValueError(
            f"{read} has the unit {read.column.unit}, so it is a map; weights"
            " are numbers from 0 to 1"
        )
    known = ~np.isnan(values)
    low, high = (float(limit(values[known], initial=0.0)) for limit in (np.min, np.max))
    if low < -MASK_ROUNDING or high > 1 + MASK_ROUNDING:
        raise ValueError(
            f"{read} holds {low:.6g} to {high:.6g}; weights are from 0"
            " (masked) to 1: divide hits or inverse variances by their largest"
        )
    weights = np.clip(np.where(known, 1 - values if invert else values, 0.0), 0.0, 1.0)
    # Rounding errors in a hole must not give its pixels a weight.
    weights[weights <= MASK_ROUNDING] = 0.0
    if not weights.any():
        raise ValueError(
            f"{read} gives no pixel a weight; if its 1 means masked, pass `invert=True`"
        )
    ring: NDArray[np.float64] = read.ring(weights)
    return ring
