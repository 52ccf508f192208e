"""Cut a user's map into square tiles for training `skyfill.vae`."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill import tiling
from skyfill.flatsky import TileField
from skyfill.healpix.arrays import as_map, as_mask
from skyfill.healpix.checks import check_seed, check_whole
from skyfill.healpix.stokes import nside_of, same_sky
from skyfill.mosaic import MosaicConfig, pixel_size, tile_field
from skyfill.prior import Given, Prior, for_map
from skyfill.prior.dipole import Dipole
from skyfill.tiling import blending

__all__ = ["cut_tiles"]

#: Largest number of tiles of one map; all tiles of a sky at Nside 2048 would take a gigabyte.
_MOST = 2000


def cut_tiles(
    values: ArrayLike,
    observed: ArrayLike | None = None,
    *,
    prior: Prior | Given | None = None,
    side: int = MosaicConfig.side,
    seed: int = 0,
    threads: int = 0,
) -> tuple[NDArray[np.float64], TileField]:
    """Cut the fully observed tiles of a map, and give their prior.

    The tiles contain all scales of the map except monopole and dipole, like those of small holes.

    Parameters
    ----------
    values
        ``(npix,)``, µK, RING; NaN where missing.
    observed
        ``(npix,)``, RING, True where observed; if not given, wherever ``values`` is not missing.
    prior
        Prior of the map; fitted to its observed part if not given.
    side
        Pixels along a tile. Their size is that of the tiles with which maps are filled.
    seed
        Seed of the choice if there are more tiles than training needs.
    threads
        Threads of the transforms; 0 for all cores.

    Returns
    -------
    Tiles ``(n, side, side)``, µK, and their prior.

    Raises
    ------
    ValueError
        Map and mask differ in Nside, or no tile is fully observed.
    """
    values = as_map(values, taker="owntiles.cut_tiles")
    seed, side = check_seed(seed), check_whole(side, "side", least=4)
    nside = nside_of(values, "values")
    seen = np.isfinite(values)
    if observed is not None:
        seen &= same_sky(values, as_mask(observed, taker="owntiles.cut_tiles"))
    config = MosaicConfig(side=side)
    pixel = config.pixel * pixel_size(nside)
    if not seen.any() or side * pixel > 1:
        raise ValueError(f"Nside {nside} with {seen.mean():.1%} observed gives no flat tile")
    layouts = tiling.plan(
        seen, side=side, pixel_arcmin=math.degrees(pixel) * 60, margin=0.0, cover=1.0
    )
    whole = []
    mask = seen.astype(np.float32)
    for start in range(0, len(layouts), 256):
        weight, _ = tiling.cut(mask, None, layouts[start : start + 256])
        whole += [start + int(i) for i in np.flatnonzero((weight > 1 - 1e-5).all(axis=(1, 2)))]
    if not whole:
        raise ValueError(
            f"no tile of {math.degrees(side * pixel):.1f}° is wholly observed; give another mask"
        )
    chosen = np.random.default_rng(seed).permutation(whole)[:_MOST]
    sky = np.where(seen, values, 0.0)
    sky -= np.where(seen, Dipole(seen, threads=threads).of(sky), 0.0)
    prior = for_map(prior, sky, seen, threads=threads)
    tiles = tiling.gather(
        sky, [layouts[i] for i in chosen], window=blending.window((side, side)), passes=2
    )
    return tiles, tile_field(prior, config, share=False)
