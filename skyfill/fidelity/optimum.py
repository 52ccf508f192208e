"""Find the best that a fill of a single tile can do: the exact mean, given the rest of the tile."""

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

#: Side of the domain in units of the tile's: its periodic images must not feel each other.
_ROOM = 1.5
#: Steps of conjugate gradients at most.
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

    By conjugate gradients on a wider periodic domain, of which all that is not the tile is
    unobserved (`skyfill.vae.steps.conjugate_gradient`). The sky is flat, and the map was
    interpolated once, as `skyfill.dataset` does.

    Parameters
    ----------
    tiles
        ``(n, side, side)``, µK; what stands in the holes is not read.
    observed
        ``(n, side, side)``.
    prior
        What the map is made of that tiles were cut from.
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
        Tiles have not as many rows as columns.
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
        Says where the tiles lie, and what the map is made of.
    indices
        ``(n,)``: which of its tiles they are.
    tiles, observed, device
        As for `tile_mean`.

    Returns
    -------
    The means, ``(n, size, size)``, µK; and ``(n,)``, whether there is one. Cartesian tiles beyond
    60° of latitude are too curved and have none: they come back as they are.
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
