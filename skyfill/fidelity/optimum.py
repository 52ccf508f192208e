"""Compute the exact posterior mean of a single tile, given the rest of the tile."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from skyfill.dataset import TileDataset
from skyfill.flatsky import TileField
from skyfill.prior import Prior

__all__ = ["dataset_mean", "tile_mean"]

Tiles = NDArray[np.floating]
Mask = NDArray[np.bool_]

#: Side of the domain in units of the tile's: periodic images must not influence each other.
_ROOM = 1.5
#: Largest number of conjugate gradient steps.
_STEPS = 300
#: Relative residual to stop at.
_ENOUGH = 1e-4
#: Latitude, degrees, beyond which a box of longitude and latitude is too far from flat. There its
#: lower edge is 15% longer than its middle.
_HIGHEST = 60.0


def tile_mean(
    tiles: Tiles,
    observed: Mask,
    *,
    prior: Prior,
    pixel: float | tuple[float, float],
    device: str = "auto",
) -> NDArray[np.float32]:
    """Give the posterior mean of holes in flat tiles, given the rest of each tile alone.

    It is solved for by conjugate gradients (`skyfill.vae.steps.conjugate_gradient`) on a wider
    periodic domain, which is unobserved outside of the tile. The sky is taken to be flat, and the
    map to be interpolated once, as by `skyfill.dataset`.

    Parameters
    ----------
    tiles
        ``(n, side, side)``, µK; values in holes are not read.
    observed
        ``(n, side, side)``.
    prior
        Prior of the map from which the tiles were cut.
    pixel
        Side of a tile's pixel, radians, or its height and width.
    device
        As for `skyfill.vae.TileFiller`.

    Returns
    -------
    ``(n, side, side)``, µK: the tile where observed, the mean elsewhere.

    Raises
    ------
    ValueError
        The tiles are not square.
    """
    from skyfill.vae import TileFiller

    _, ny, nx = tiles.shape
    if ny != nx:
        raise ValueError(f"tiles of {ny} x {nx} pixels are not square; give square ones")
    side = 2 * math.ceil(_ROOM * ny / 2)
    field = TileField.of(
        np.append(prior.total_cl(), prior.white_cl),
        side=side,
        pixel=pixel,
        share=False,
        sky_pixel=math.sqrt(4 * math.pi / 12) / prior.nside,
        passes=1,
    )
    filler = TileFiller(
        None, field, guard=0, refine=_STEPS, tolerance=_ENOUGH, adaptive=True, device=device
    )
    data = np.zeros((len(tiles), side, side), dtype=np.float32)
    known = np.zeros(data.shape, dtype=bool)
    data[:, :ny, :nx] = np.where(observed, tiles, 0)
    known[:, :ny, :nx] = observed
    found = filler(data, known)[:, :ny, :nx]
    return np.where(observed, tiles, found).astype(np.float32)


def dataset_mean(
    dataset: TileDataset,
    indices: NDArray[np.int64],
    tiles: Tiles,
    observed: Mask,
    *,
    device: str = "auto",
) -> tuple[NDArray[np.float32], Mask]:
    """Give the posterior mean of tiles of a data set, each with the pixels of its latitude.

    Parameters
    ----------
    dataset
        Data set, which has the tiles' geometry and the map's prior.
    indices
        ``(n,)``, indices of the tiles in it.
    tiles, observed, device
        As for `tile_mean`.

    Returns
    -------
    The means, ``(n, size, size)``, µK; and ``(n,)``, whether the tile has one. Cartesian tiles
    beyond 60° of latitude are too curved and have none: they are returned unchanged.
    """
    geometry, lat = dataset.geometry, np.abs(dataset.lat[indices])
    pixels = np.array([geometry.pixel(float(each)) for each in lat])
    flat = (lat <= _HIGHEST) | (geometry.projection == "gnomonic")
    means = np.array(tiles, dtype=np.float32)
    for pixel in np.unique(pixels[flat], axis=0):
        alike = flat & (pixels == pixel).all(axis=1)
        means[alike] = tile_mean(
            tiles[alike],
            observed[alike],
            prior=dataset.prior,
            pixel=(float(pixel[0]), float(pixel[1])),
            device=device,
        )
    return means, flat
