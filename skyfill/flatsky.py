"""Model the sky within a tile as a flat Gaussian field with a power spectrum."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ARCMIN = math.pi / 180 / 60

#: Power that belongs to the coarse level is set to this fraction of the tile's mean power, so that
#: the tile's covariance is invertible.
_FLOOR = 1e-3


def wavenumbers(side: int, pixel: float) -> NDArray[np.float64]:
    """Give the modulus of the wave vector of every mode of ``rfft2``.

    Parameters
    ----------
    side
        Number of pixels along the square domain.
    pixel
        Pixel size, radians.

    Returns
    -------
    ``(side, side // 2 + 1)``, in multipoles (1/radian).
    """
    ky = 2 * np.pi * np.fft.fftfreq(side, pixel)
    kx = 2 * np.pi * np.fft.rfftfreq(side, pixel)
    return np.asarray(np.hypot(ky[:, None], kx[None, :]))


def power(
    cl: NDArray[np.float64],
    side: int | tuple[int, int],
    pixel: float | tuple[float, float],
) -> NDArray[np.float64]:
    """Turn an angular power spectrum into the pixel variance of each mode of a flat tile.

    The spectrum is averaged over the cell of each mode, because C_ell is steep on scales where a
    tile has few modes. The zero mode thus carries all power on scales larger than the tile.

    Parameters
    ----------
    cl
        ``(lmax + 1,)`` C_ell, µK²; beyond lmax its last value is used (white noise).
    side
        Number of pixels along the square domain, or of its rows and columns.
    pixel
        Side of a pixel, or its height and width, radians.

    Returns
    -------
    ``(rows, columns // 2 + 1)``: P such that a field is ``irfft2(sqrt(P) * rfft2(white))`` with
    white noise of unit variance; units of ``cl`` per squared radian.
    """
    ell = np.arange(cl.size)
    height, width = np.broadcast_to(pixel, 2)
    rows, columns = (int(each) for each in np.broadcast_to(side, 2))
    ky = 2 * np.pi * np.fft.fftfreq(rows, height)[:, None]
    kx = 2 * np.pi * np.fft.rfftfreq(columns, width)[None, :]
    high, wide = 2 * np.pi / (rows * height), 2 * np.pi / (columns * width)
    total = np.zeros(np.broadcast_shapes(ky.shape, kx.shape))
    nodes = (np.arange(5) - 2) / 5
    for dy in nodes:
        for dx in nodes:
            k = np.hypot(ky + dy * high, kx + dx * wide)
            total += np.where(k < 1.5, 0.0, np.interp(k, ell, cl))
    return np.asarray(total / nodes.size**2 / (height * width))


def floored(spectrum: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keep a tile's power spectrum above zero, so that it can be inverted."""
    return np.asarray(np.maximum(spectrum, _FLOOR * spectrum.mean()))


def coarse_share(ell: NDArray[np.float64], tile: float) -> NDArray[np.float64]:
    """Give the share of C_ell that belongs to the coarse level for tiles of a given size.

    It is one below the multipole whose half wavelength is 1.2 tiles, zero above that whose half
    wavelength is a third of a tile, and a squared cosine in log(l) between.

    Parameters
    ----------
    ell
        Multipoles, any shape.
    tile
        Side of the tile, radians.
    """
    low, high = math.pi / (1.2 * tile), 3 * math.pi / tile
    x = np.log(np.maximum(ell, 1e-3) / low) / math.log(high / low)
    return np.asarray(np.cos(0.5 * np.pi * np.clip(x, 0, 1)) ** 2)


def gather_transfer(ell: NDArray[np.float64], pixel: float, passes: int = 2) -> NDArray[np.float64]:
    """Give the mean amplitude transfer of bilinear interpolation from HEALPix pixels.

    One bilinear pass multiplies a plane wave by about T = sinc²(k_x Δ/2) sinc²(k_y Δ/2). A second
    pass on the remainder gives 1 - (1 - T)², and so on. The transfer is averaged over directions.

    Parameters
    ----------
    ell
        Multipoles, any shape.
    pixel
        Size of a HEALPix pixel, radians.
    passes
        Number of passes, the first included.
    """
    angle = (np.arange(8) + 0.5) / 8 * np.pi / 4
    kx, ky = np.multiply.outer(np.cos(angle), ell), np.multiply.outer(np.sin(angle), ell)
    along_x, along_y = (np.sinc(k * pixel / 2 / np.pi) ** 2 for k in (kx, ky))
    once = np.mean(along_x * along_y, axis=0)
    return np.asarray(1 - (1 - once) ** passes)


def tile_cl(
    cl: NDArray[np.float64],
    *,
    tile: float,
    pixel: float,
    share: bool,
    sky_pixel: float,
    passes: int = 2,
) -> NDArray[np.float64]:
    """Give the spectrum of the field in a tile; arguments as for `TileField.of`."""
    ell = np.arange(max(cl.size, int(1.5 * math.pi / pixel)), dtype=float)
    full = np.interp(ell, np.arange(cl.size), cl)
    full *= gather_transfer(ell, sky_pixel, passes) ** 2
    return np.asarray(full * (1 - coarse_share(ell, tile)) if share else full)


@dataclass(frozen=True)
class TileField:
    """The Gaussian prior of a tile: its power per mode, normalised to unit variance per pixel.

    Attributes
    ----------
    spectrum
        ``(side, side // 2 + 1)``, dimensionless, with mean one over all modes.
    rms
        Standard deviation of a pixel, µK.
    """

    spectrum: NDArray[np.float64]
    rms: float

    @classmethod
    def of(
        cls,
        cl: NDArray[np.float64],
        *,
        side: int,
        pixel: float | tuple[float, float],
        share: bool,
        sky_pixel: float,
        passes: int = 2,
    ) -> TileField:
        """Give the prior of tiles cut from a HEALPix map.

        Parameters
        ----------
        cl
            ``(lmax + 1,)`` total spectrum of the map (signal, beam and window, and noise), µK².
        side, pixel
            Tile side in pixels; side of a tile pixel, or its height and width, radians.
        share
            Whether a coarse level has removed the large scales (`coarse_share`).
        sky_pixel
            Size of a HEALPix pixel, radians (`gather_transfer`).
        passes
            Number of passes of the interpolation.
        """
        full = tile_cl(
            cl,
            tile=side * float(np.max(pixel)),
            pixel=float(np.min(pixel)),
            share=share,
            sky_pixel=sky_pixel,
            passes=passes,
        )
        variance = power(full, side, pixel)
        # rfft2 holds half of the modes, so most of them count twice.
        twice = np.full(variance.shape[1], 2.0)
        twice[0] = 1.0
        if side % 2 == 0:
            twice[-1] = 1.0
        mean = float((variance * twice).sum() / side**2)
        return cls(floored(variance / mean), math.sqrt(mean))
