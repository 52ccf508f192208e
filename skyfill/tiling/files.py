"""Write and read tiles as FITS images, for other programs to display and change.

A tile of Stokes parameters is a cube with an axis STOKES. Its Q and U are written with respect to
south and east, or, in a file with POLCCONV = IAU, north and east, of the sky at each pixel: that is
what other programs take them for. In memory they refer to the axes of the tile
(`skyfill.tiling.cut_polarization`).
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from skyfill.files.atomic import atomic_write
from skyfill.tiling.layout import AXES, Layout
from skyfill.tiling.polarization import meridian_turns

if TYPE_CHECKING:
    import os

    from astropy.io.fits import Header
    from numpy.typing import NDArray

__all__ = ["read_tile", "write_tile"]

#: Values of the axis STOKES (Greisen & Calabretta 2002, A&A 395, 1061, table 7) of the tiles.
_STOKES = {2: (2, 3), 3: (1, 2, 3)}
#: Axes of a cube: Stokes parameters, rows and columns.
_CUBE = 3


def write_tile(
    path: str | os.PathLike[str],
    tile: NDArray[Any],
    layout: Layout,
    *,
    overwrite: bool = False,
    polcconv: Literal["COSMO", "IAU"] = "COSMO",
) -> None:
    """Write a tile as a FITS image with its WCS, or as a cube of Stokes parameters.

    Parameters
    ----------
    path
        The file.
    tile
        ``(ny, nx)``, any unit; or ``(2, ny, nx)``, Q and U, or ``(3, ny, nx)``, T, Q and U, in the
        axes of the tile, with the sign of HEALPix (COSMO).
    layout
        Where it lies.
    overwrite
        Whether an existing file may be replaced.
    polcconv
        Sign of U in the file, header card POLCCONV of a tile of Stokes parameters.

    Raises
    ------
    ValueError
        If the shapes of tile and layout differ, or ``polcconv`` is unknown.
    OSError
        If the file exists or cannot be written.

    """
    from astropy.io import fits

    header = layout.header()
    if tile.ndim == _CUBE and len(tile) in _STOKES:
        _check_sign(polcconv)
        tile = _turned(tile, meridian_turns(layout), polcconv)
        header["CTYPE3"] = "STOKES"
        header["CRPIX3"], header["CRVAL3"] = 1.0, float(_STOKES[len(tile)][0])
        header["CDELT3"] = 1.0
        header["POLCCONV"] = (polcconv, "sign of U")
    if tile.shape[-2:] != layout.shape or tile.ndim - 2 != ("CTYPE3" in header):
        raise ValueError(f"the tile has {tile.shape} pixels, its layout {layout.shape}")
    with atomic_write(path, overwrite) as temporary:
        fits.PrimaryHDU(tile, header).writeto(temporary, overwrite=True)


def _turned(tile: NDArray[Any], turns: NDArray[np.complex128], convention: str) -> NDArray[Any]:
    """Turn Q and U, the last two planes, from the axes of the tile into those of the sky."""
    polarization = (tile[-2] + 1j * tile[-1]) * turns
    out = tile.copy()
    out[-2], out[-1] = polarization.real, polarization.imag
    if convention == "IAU":
        out[-1] *= -1
    return out


def _check_sign(convention: str, path: str | os.PathLike[str] | None = None) -> None:
    """Refuse a sign of U that is not known."""
    if convention not in ("COSMO", "IAU"):
        where = "`polcconv`" if path is None else f"{path}: POLCCONV"
        raise ValueError(f"{where} is {convention!r}, and only COSMO and IAU are known")


def read_tile(
    path: str | os.PathLike[str], *, nside: int | None = None
) -> tuple[NDArray[np.float64], Layout]:
    """Read a tile from the first image of a FITS file.

    Parameters
    ----------
    path
        A file of `write_tile`, which may have been changed, or any image with a TAN or CAR WCS,
        north up and with square pixels; or a cube of such images with an axis STOKES of Q and U, or
        of I, Q and U, with respect to the meridians of the sky. Without a header card POLCCONV
        their sign is that of HEALPix (COSMO).
    nside
        Nside of its map, for an image whose header does not give it.

    Returns
    -------
    tile
        ``(ny, nx)``; of a cube ``(2, ny, nx)``, Q and U, or ``(3, ny, nx)``, T, Q and U, in the
        axes of the tile, with the sign of HEALPix.
    layout
        Where it lies, to the precision of the file's own WCS.

    Raises
    ------
    ValueError
        If the file holds no such image.
    OSError
        If it cannot be read.

    """
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyUserWarning

    try:
        with warnings.catch_warnings(), Path(path).open("rb") as file, fits.open(file) as hdus:
            warnings.filterwarnings("error", message="File may have been truncated")
            images = [hdu for hdu in hdus if hdu.is_image and _is_tile(hdu.header)]
            if not images:
                raise ValueError(
                    f"{path}: holds no two-dimensional image, and no cube whose third axis is"
                    " STOKES with Q and U, or I, Q and U"
                )
            tile = np.array(images[0].data, dtype=np.float64)
            header = images[0].header
    except (OSError, TypeError, KeyError, AstropyUserWarning) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{path}: is not a complete FITS file ({error})") from error
    layout = _layout(path, header, tile.shape[-2:], nside)
    if tile.ndim == _CUBE:
        convention = str(header.get("POLCCONV", "COSMO")).strip().upper()
        _check_sign(convention, path)
        if convention == "IAU":
            tile[-1] *= -1
        tile = _turned(tile, meridian_turns(layout).conj(), "COSMO")
    return tile, layout


def _is_tile(header: Header) -> bool:
    """Tell whether an image is a tile, or a cube of the Stokes parameters of one."""
    if header["NAXIS"] != _CUBE:
        return bool(header["NAXIS"] == _CUBE - 1)
    if str(header.get("CTYPE3", "")).strip() != "STOKES":
        return False
    first = header.get("CRVAL3", 0.0) + (1 - header.get("CRPIX3", 0.0)) * header.get("CDELT3", 1.0)
    planes = header["NAXIS3"]
    values = tuple(first + k * header.get("CDELT3", 1.0) for k in range(planes))
    return bool(values == _STOKES.get(planes))


def _layout(
    path: str | os.PathLike[str], header: Header, shape: tuple[int, ...], nside: int | None
) -> Layout:
    from astropy.wcs import WCS, FITSFixedWarning

    nside = header.get("NSIDE", nside)
    if nside is None:
        raise ValueError(f"{path}: has no keyword NSIDE; pass nside")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        whole = WCS(header)
        wcs = whole.celestial
    axes, projection = "", ""
    if wcs.naxis:
        axes, projection = wcs.wcs.ctype[0][:4], wcs.wcs.ctype[0][-3:]
    coord = next((key for key, names in AXES.items() if names[0] == axes), None)
    if coord is None or projection not in {"TAN", "CAR"}:
        raise ValueError(
            f"{path}: its WCS has axes {', '.join(whole.wcs.ctype)}, not longitude and latitude in "
            "TAN or CAR; reproject it"
        )
    ny, nx = shape
    lon, lat = map(float, wcs.wcs.crval)
    if projection == "CAR" and lat == 90:
        lon -= 180.0  # see Layout.header
    x, y = wcs.wcs.crpix
    layout = Layout(
        nside=int(nside),
        lon_deg=lon,
        lat_deg=lat,
        shape=(ny, nx),
        pixel_arcmin=60.0 * float(wcs.pixel_scale_matrix[1, 1]),
        projection=projection,
        coord=coord,
        offset=(float(x) - 0.5 * (nx + 1), float(y) - 0.5 * (ny + 1)),
    )
    # A WCS that a layout cannot represent (rotation, oblong pixels, distortion, another pole)
    # differs.
    corners = np.array([[0, 0], [nx - 1, 0], [0, ny - 1], [nx - 1, ny - 1]])
    lon, lat = np.radians(wcs.all_pix2world(corners, 0).T)
    truth = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
    ours = layout.directions()[corners[:, 1], corners[:, 0]]
    if not np.abs(truth - ours).max() < 1e-3 * layout.step:
        raise ValueError(
            f"{path}: its WCS is rotated, distorted or has oblong pixels; reproject it to one with "
            "square pixels and north up"
        )
    return layout
