"""Read and write images of the sky: FITS arrays with a WCS, in CAR or any other projection."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from skyfill.brief import brief
from skyfill.files.atomic import check_ending
from skyfill.maps.filled import FILL_CARDS
from skyfill.maps.hdu import Hdu, finish, open_fits, pieces, walk
from skyfill.maps.units import parse_unit, stated_unit, unit_in_uk
from skyfill.maps.writing import Card, edit, replaced, save

__all__ = ["ImageFile", "is_image", "read_image", "refuse_integers", "write_filled_image"]

#: Types of pixels by BITPIX that are read as they are.
_FLOATS = {-32: ">f4", -64: ">f8"}
_INTEGERS = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8"}
#: CTYPE of the first axis of a sky.
_SKY = re.compile(r"(RA--|DEC-|[A-Z]LON|[A-Z]LAT)-")


@dataclass(frozen=True)
class ImageFile:
    """One plane of an image HDU.

    Attributes
    ----------
    path
        The file.
    hdu, plane
        Number of the HDU, and of the plane in its cube.
    planes
        Number of planes.
    values
        ``(ny, nx)``, in the file's unit and type, in native byte order.
    unit
        As the file states it, or as given; "" if neither does.
    header
        Header of the HDU.
    """

    __repr__ = brief

    path: Path
    hdu: int
    plane: int
    planes: int
    values: NDArray[Any] = field(repr=False)
    unit: str
    header: fits.Header = field(repr=False)

    @property
    def coord(self) -> str:
        """Frame of its axes, by CTYPE: G (Galactic), E (ecliptic), C (equatorial and others)."""
        kinds = {str(self.header.get(f"CTYPE{n}", ""))[:4].upper() for n in (1, 2)}
        return "G" if "GLON" in kinds else "E" if "ELON" in kinds else "C"

    @property
    def unit_to_uk(self) -> float:
        """Size of the unit in µK.

        Raises
        ------
        ValueError
            No unit is known, or it is no CMB temperature.
        """
        if not self.unit:
            raise ValueError(f"{self.path} names no unit (BUNIT); pass `unit='K'`, mK or uK")
        try:
            return unit_in_uk(self.unit)
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from None

    def in_uk(self) -> NDArray[Any]:
        """Give the values in µK, in the file's type.

        Raises
        ------
        ValueError
            As for `unit_to_uk`.
        """
        return np.asarray(self.values * self.values.dtype.type(self.unit_to_uk))

    def inverse_variance(self, unit: str) -> NDArray[np.float64]:
        """Give the values as an inverse variance in µK⁻².

        Parameters
        ----------
        unit
            Unit of the image, whose power -2 is assumed if the file names no unit.

        Raises
        ------
        ValueError
            The file states another quantity.
        """
        values = np.asarray(self.values, dtype=np.float64)
        if not self.unit:
            return values / unit_in_uk(unit) ** 2
        stated = parse_unit(self.unit)
        if stated is None or stated.power != -2:
            raise ValueError(
                f"{self.path} has the unit {self.unit}, which is no inverse variance; give 1/uK^2"
                " (or no BUNIT: then in the image's unit)"
            )
        return values * stated.uk


def is_image(path: str | os.PathLike[str], *, hdu: int | str | None = None) -> bool:
    """Tell whether a file holds an image of the sky, and no HEALPix map before it.

    Parameters
    ----------
    path
        The file. One that cannot be read is no image: reading it as a map says what is wrong.
    hdu
        Number or EXTNAME of the HDU to look at; the first with data if not given.
    """
    try:
        path = Path(path)
        with open_fits(path) as stream:
            for one in walk(stream, path):
                if hdu is not None and not _is(one, hdu):
                    continue
                if _is_sky(one) or one.text("ZIMAGE") == "True":
                    return True
                if one.is_table:
                    return False
    except (OSError, ValueError):
        return False
    return False


def read_image(
    path: str | os.PathLike[str],
    *,
    hdu: int | str | None = None,
    stokes: str | None = None,
    unit: str | None = None,
    what: str = "image",
) -> ImageFile:
    """Read one plane of an image of the sky.

    Parameters
    ----------
    path
        The file, gzipped or not.
    hdu
        Number or EXTNAME of the HDU; needed if several hold images of the sky.
    stokes
        T chooses the first plane of a cube of Stokes parameters (the plane of I if CTYPE3 is
        STOKES). Without it a cube of several planes is refused.
    unit
        Unit, for a file that names none.
    what
        What the file is, for messages.

    Raises
    ------
    ValueError
        It holds no such image.
    OSError
        It cannot be read.
    """
    path = Path(path)
    with open_fits(path) as stream:
        found, last = [], None
        for one in walk(stream, path):
            last = one
            wanted = hdu is None or _is(one, hdu)
            if wanted and one.text("ZIMAGE") == "True":
                raise ValueError(
                    f"{path}: HDU {one.index} is a compressed image; expand it with funpack first"
                )
            if wanted and _is_sky(one):
                found.append(one)
        if not found or last is None:
            where = "" if hdu is None else f" in HDU {hdu}"
            raise ValueError(
                f"{path} holds no image of the sky{where} (CTYPE1 and CTYPE2 of two axes); give the"
                f" {what} as FITS with a WCS"
            )
        if len(found) > 1:
            names = ", ".join(f"{one.index} {one.text('EXTNAME')}".strip() for one in found)
            raise ValueError(f"{path} has images of the sky in HDUs {names}; choose one by `hdu`")
        one = found[0]
        planes, plane = _plane(one, stokes, what)
        values = _values(stream, one, plane)
        finish(stream, last)
    stated = stated_unit(one.text("BUNIT"))
    if unit and stated and parse_unit(unit) != parse_unit(stated):
        raise ValueError(f"{path} states the unit {stated}; drop `unit`, which is {unit}")
    return ImageFile(path, one.index, plane, planes, values, stated or unit or "", one.header)


def _is(hdu: Hdu, wanted: int | str) -> bool:
    """Tell whether an HDU has a number or a name."""
    if isinstance(wanted, str) and hdu.text("EXTNAME").upper() == wanted.strip().upper():
        return True
    return str(wanted).strip() == str(hdu.index)


def _is_sky(hdu: Hdu) -> bool:
    """Tell whether an HDU is an array whose first axes are those of the sky."""
    kind = hdu.text("XTENSION")
    if kind not in ("", "IMAGE") or len(hdu.axes) < 2 or not hdu.size:
        return False
    return all(_SKY.match(f"{hdu.text(f'CTYPE{n}').upper():-<5}") for n in (1, 2))


def _plane(hdu: Hdu, stokes: str | None, what: str) -> tuple[int, int]:
    """Give the number of planes, and the plane of T."""
    planes = 1
    for length in hdu.axes[2:]:
        planes *= length
    if planes == 1:
        return 1, 0
    if stokes is None:
        raise ValueError(
            f"{hdu.path}: the {what} is a cube of {planes} planes; pass `stokes='T'` to take the"
            " plane of T (images are filled in temperature only; other planes stay as they are)"
        )
    if hdu.text("CTYPE3").upper() == "STOKES":
        first = hdu.number("CRVAL3", 1.0) - (hdu.number("CRPIX3", 1.0) - 1) * (
            step := hdu.number("CDELT3", 1.0)
        )
        place = round((1 - first) / step)  # I is 1
        if len(hdu.axes) != 3 or not 0 <= place < planes:
            raise ValueError(f"{hdu.path}: no plane of the cube holds Stokes I; write it alone")
        return planes, place
    if len(hdu.axes) != 3 or planes != 3:
        raise ValueError(
            f"{hdu.path}: a cube of {planes} planes that CTYPE3 does not name STOKES; write the"
            " plane of T as an image of its own"
        )
    return planes, 0


def _values(stream: BinaryIO, hdu: Hdu, plane: int) -> NDArray[Any]:
    """Read a plane."""
    nx, ny = hdu.axes[:2]
    bits = hdu.integer("BITPIX")
    dtype = np.dtype({**_FLOATS, **_INTEGERS}[bits])
    start = hdu.start + plane * nx * ny * dtype.itemsize
    raw = b"".join(pieces(stream, hdu.path, start, start + nx * ny * dtype.itemsize))
    stored = np.frombuffer(raw, dtype).reshape(ny, nx)
    scale, zero = hdu.number("BSCALE", 1.0), hdu.number("BZERO", 0.0)
    values = stored.astype(dtype.newbyteorder("="))
    if (scale, zero) != (1.0, 0.0):
        values = values * scale + zero
    if bits > 0 and hdu.text("BLANK"):
        values = np.where(stored == hdu.integer("BLANK"), np.nan, values)
    return values


def write_filled_image(
    path: str | os.PathLike[str],
    image: ImageFile,
    pixels: NDArray[np.int64],
    values: NDArray[np.float64],
    *,
    provenance: Mapping[str, Card] | None = None,
    history: Sequence[str] = (),
    overwrite: bool = False,
) -> None:
    """Write a copy of an image's file with some pixels replaced and nothing else changed.

    Parameters
    ----------
    path
        The file to write, compressed if its name ends in .gz.
    image
        From `read_image`; its file is read again.
    pixels
        ``(n, 2)``: rows and columns.
    values
        ``(n,)``, in the image's unit.
    provenance
        Keywords to set in the header of the HDU, each with value and comment. Those of an earlier
        fill (`FILL_CARDS`) are removed.
    history
        Lines to append as HISTORY.
    overwrite
        Whether an existing file may be replaced.

    Raises
    ------
    ValueError
        Pixels are stored as integers or scaled, the file has changed, or a value is not finite.
    OSError
        The output cannot be written.
    """
    check_ending(path, "map")
    if not np.isfinite(values).all():
        raise ValueError(f"{image.path}: the fill is not finite")
    with open_fits(image.path) as stream:
        hdu = next((one for one in walk(stream, image.path) if one.index == image.hdu), None)
        if hdu is None or tuple(hdu.axes[1::-1]) != image.values.shape:
            raise ValueError(f"{image.path}: the file has changed since it was read; start again")
        refuse_integers(image)
        dtype = np.dtype(_FLOATS[hdu.integer("BITPIX")])
        ny, nx = image.values.shape
        flat = (image.plane * ny + pixels[:, 0]) * nx + pixels[:, 1]
        order = np.argsort(flat)
        flat, stored = flat[order], values[order].astype(dtype)

        def data() -> Iterator[bytes]:
            at = 0
            for piece in pieces(stream, hdu.path, hdu.start, hdu.start + hdu.size):
                if len(piece) % dtype.itemsize:
                    raise ValueError(f"{image.path}: damaged FITS file; fetch it again")
                numbers = np.frombuffer(bytearray(piece), dtype)
                low, high = np.searchsorted(flat, [at, at + numbers.size])
                numbers[flat[low:high] - at] = stored[low:high]
                at += numbers.size
                yield numbers.tobytes()

        before: dict[str, Card] = dict.fromkeys(FILL_CARDS, (None, ""))
        cards = edit(hdu.cards, before | dict(provenance or {}), history)
        save(path, partial(replaced, stream, hdu, cards, data, hdu.size), overwrite=overwrite)


def refuse_integers(image: ImageFile) -> None:
    """Refuse an image that cannot hold the numbers of a fill.

    Raises
    ------
    ValueError
        Its pixels are integers, or numbers that BSCALE and BZERO scale.
    """
    bits = int(image.header.get("BITPIX", 0))
    scale = float(image.header.get("BSCALE", 1.0)), float(image.header.get("BZERO", 0.0))
    if bits not in _FLOATS or scale != (1.0, 0.0):
        raise ValueError(
            f"{image.path} stores its pixels as integers or scaled (BITPIX {bits}), which cannot"
            " hold a fill beside unchanged ones; write it as float32 first"
        )
