"""Cut a map of one's own into tiles to train on: `skyfill.vae` knows squares of pixels alone."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill import tiling
from skyfill.flatsky import TileField
from skyfill.healpix import pixel_directions
from skyfill.healpix.arrays import as_map, as_mask
from skyfill.healpix.checks import check_seed, check_whole
from skyfill.healpix.stokes import nside_of, same_sky
from skyfill.mosaic import MosaicConfig
from skyfill.prior import Given, Prior, for_map
from skyfill.tiling import blending

__all__ = ["cut_tiles"]

#: Tiles of one map at most: those of a whole sky at Nside 2048 would fill a gigabyte.
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
    """Cut the wholly observed tiles of a map, and describe their field.

    They have all scales of the map but monopole and dipole, like the tiles of small holes.

    Parameters
    ----------
    values
        ``(npix,)``, µK, RING; NaN where missing.
    observed
        ``(npix,)``, RING, True where observed; all that is not missing if not given.
    prior
        What the map is made of; fitted to its observed part if not given.
    side
        Pixels along a tile, of the size that maps are filled with.
    seed
        Of the choice where there are more tiles than training wants.
    threads
        Of the transforms; 0 for all.

    Returns
    -------
    Tiles ``(n, side, side)``, µK, and their prior.

    Raises
    ------
    ValueError
        Map and mask do not fit, or no tile is wholly observed.
    """
    values = as_map(values, taker="owntiles.cut_tiles")
    seed, side = check_seed(seed), check_whole(side, "side", least=4)
    nside = nside_of(values, "values")
    seen = np.isfinite(values)
    if observed is not None:
        seen &= same_sky(values, as_mask(observed, taker="owntiles.cut_tiles"))
    sky_pixel = math.sqrt(4 * math.pi / 12) / nside
    pixel = MosaicConfig.pixel * sky_pixel
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
    sky -= np.where(seen, _dipole(sky, seen), 0.0)
    prior = for_map(prior, sky, seen, threads=threads)
    tiles = tiling.gather(
        sky, [layouts[i] for i in chosen], window=blending.window((side, side)), passes=2
    )
    cl = np.append(prior.total_cl(), prior.white_cl)
    return tiles, TileField.of(cl, side=side, pixel=pixel, share=False, sky_pixel=sky_pixel)


def _dipole(sky: NDArray[np.float64], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Fit monopole and dipole to the observed sky, pixel by pixel alike; give a whole map."""
    nside = nside_of(sky, "sky")
    parts = [np.arange(i, min(i + 2**20, sky.size)) for i in range(0, sky.size, 2**20)]
    normal, right = np.zeros((4, 4)), np.zeros(4)
    for part in parts:
        here = part[seen[part]]
        base = np.column_stack([np.ones(here.size), pixel_directions(nside, here)])
        normal += base.T @ base
        right += base.T @ sky[here]
    found = np.linalg.lstsq(normal, right, rcond=1e-10)[0]
    return np.concatenate([found[0] + pixel_directions(nside, p) @ found[1:] for p in parts])
