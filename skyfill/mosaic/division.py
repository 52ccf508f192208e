"""Divide the holes of a map into small and wide ones, and count the tiles of both."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.gaussian.blocks import affordable
from skyfill.healpix.arrays import as_mask
from skyfill.healpix.stokes import nside_of
from skyfill.holes import grow
from skyfill.holes.runs import Runs
from skyfill.mosaic.config import MosaicConfig
from skyfill.mosaic.tileset import pixel_size, plan_tiles

__all__ = [
    "count_tiles",
    "near_holes",
    "polishes_wide",
    "small_and_wide",
    "usual_polish",
    "wide_holes",
]

Mask = NDArray[np.bool_]

#: Iterations if all holes are polished together.
_POLISH = 8
#: Iterations if only wide holes are polished.
_WIDE_POLISH = 5


def usual_polish(nside: int, config: MosaicConfig) -> int:
    """Return the number of exact iterations at the end: the configured one, or the default."""
    if config.polish is not None:
        return config.polish
    return _POLISH if nside <= config.polished_nside else _WIDE_POLISH


def polishes_wide(nside: int, config: MosaicConfig) -> bool:
    """Whether polish includes the wide holes."""
    return nside <= config.wide_nside or config.polish is not None


def count_tiles(
    observed: Mask,
    holes: Runs,
    config: MosaicConfig,
    *,
    polished: bool,
    wanted: Mask | None = None,
) -> dict[str, int]:
    """Count the tiles of ``small`` and of ``wide`` holes that a `Mosaic` would fill.

    With polish the count is approximate: small holes close to wide ones have tiles, not blocks, and
    the limit depends on the prior. ``wanted`` marks the pixels to fill; all if not given.
    """
    regions, sizes = holes.regions
    wide = _wide_runs(holes, _small_radius(holes.nside, config))
    if wanted is not None and holes.nside > config.polished_nside:
        near = Runs.of(near_holes(observed, wanted, config))
        of = np.searchsorted(holes.first, near.first, side="right") - 1
        touched = np.zeros(sizes.size, np.bool_)
        touched[regions[of]] = True
        sizes = np.where(touched, sizes, observed.size)  # too many for a block
        holes, regions, wide = near, regions[of], wide[of]
    blocks = affordable(sizes, nside=holes.nside)[regions] & polished
    tiles, seen = {}, observed.copy()
    holes.paint(blocks, seen)
    for name, chosen in (("small", ~wide & ~blocks), ("wide", wide & ~blocks)):
        if chosen.any():
            tiles[name] = plan_tiles(holes.some(chosen), seen, config)[1].size
        holes.paint(~wide | blocks, seen)
    return tiles


def near_holes(observed: Mask, holes: Mask, config: MosaicConfig) -> Mask:
    """Mark the unobserved pixels in and around some holes, within ``config.rim``."""
    nside = nside_of(observed, "observed")
    near = ~grow(~holes, config.rim * pixel_size(nside))
    near &= ~observed
    return near


def small_and_wide(observed: Mask, config: MosaicConfig, near: Mask | None) -> tuple[Mask, Mask]:
    """Mark the pixels of small and of wide holes; only those in ``near`` if given."""
    wide = wide_holes(observed, _small_radius(nside_of(observed, "observed"), config))
    small = ~(observed | wide)
    if near is not None:
        small &= near
        wide &= near
    return small, wide


def _small_radius(nside: int, config: MosaicConfig) -> float:
    """Return the largest radius of a small hole, radians."""
    return config.small * config.pixel * pixel_size(nside)


def wide_holes(observed: ArrayLike, radius: float) -> NDArray[np.bool_]:
    """Mark the pixels of holes that do not fit into a disc around their centre.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, True where observed.
    radius
        Radius of the disc, radians. A hole's centre is the mean direction of its pixels.

    Returns
    -------
    ``(npix,)``, RING.
    """
    seen = as_mask(observed, taker="mosaic.wide_holes")
    holes = Runs.of(seen, False)
    marked = np.zeros_like(seen)
    holes.paint(_wide_runs(holes, radius), marked)
    return marked


def _wide_runs(holes: Runs, radius: float) -> Mask:
    """Mark the runs of wide holes."""
    _, chords = holes.discs()
    wide: Mask = chords > 2 * math.sin(min(radius, math.pi) / 2)
    return wide[holes.regions[0]]
