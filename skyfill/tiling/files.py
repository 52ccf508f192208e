"""Write and read tiles as FITS images, for other programs to display and change."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skyfill.files.atomic import atomic_write
from skyfill.tiling.layout import AXES, Layout

if TYPE_CHECKING:
    import os

    from astropy.io.fits import Header
    from numpy.typing import NDArray

__all__ = ["read_tile", "write_tile"]


def write_tile(
    path: str | os.PathLike[str], tile: NDArray[Any], layout: Layout, *, overwrite: bool = False
) -> None:
    """Write a tile as a FITS image with its WCS.

    Parameters
    ----------
    path
        The file.
    tile
        ``(ny, nx)``, any unit.
    layout
        Where it lies.
    overwrite
        Whether an existing file may be replaced.

    Raises
    ------
    ValueError
        If the shapes of tile and layout differ.
    OSError
        If the file exists or cannot be written.

    """
    from astropy.io import fits

    if tile.shape != layout.shape:
        raise ValueError(f"the tile has {tile.shape} pixels, its layout {layout.shape}")
    with atomic_write(path, overwrite) as temporary:
        fits.PrimaryHDU(tile, layout.header()).writeto(temporary, overwrite=True)


def read_tile(
    path: str | os.PathLike[str], *, nside: int | None = None
) -> tuple[NDArray[np.float64], Layout]:
    """Read a tile from the first image of a FITS file.

    Parameters
    ----------
    path
        A file of `write_tile`, which may have been changed, or any image with a TAN or CAR WCS,
        north up and with square pixels.
    nside
        Nside of its map, for an image whose header does not give it.

    Returns
    -------
    tile
        ``(ny, nx)``.
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
            images = [hdu for hdu in hdus if hdu.is_image and hdu.header["NAXIS"] == 2]
            if not images:
                raise ValueError(f"{path}: holds no two-dimensional image")
            tile = np.array(images[0].data, dtype=np.float64)
            header = images[0].header
    except (OSError, TypeError, KeyError, AstropyUserWarning) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{path}: is not a complete FITS file ({error})") from error
    return tile, _layout(path, header, tile.shape, nside)


def _layout(
    path: str | os.PathLike[str], header: Header, shape: tuple[int, ...], nside: int | None
) -> Layout:
    from astropy.wcs import WCS, FITSFixedWarning

    nside = header.get("NSIDE", nside)
    if nside is None:
        raise ValueError(f"{path}: has no keyword NSIDE; pass nside")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        wcs = WCS(header)
    axes, projection = wcs.wcs.ctype[0][:4], wcs.wcs.ctype[0][-3:]
    coord = next((key for key, names in AXES.items() if names[0] == axes), None)
    if coord is None or projection not in {"TAN", "CAR"}:
        raise ValueError(
            f"{path}: its WCS has axes {', '.join(wcs.wcs.ctype)}, not longitude and latitude in "
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
