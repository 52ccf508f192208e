"""Compute the posterior mean of a map from tiles and a coarse solve of the whole sphere."""

from skyfill.mosaic.config import MosaicConfig
from skyfill.mosaic.division import count_tiles, polishes_wide, usual_polish, wide_holes
from skyfill.mosaic.mosaic import Mosaic, planned_regions
from skyfill.mosaic.tileset import (
    AT_ONCE,
    FlatEngine,
    TileMean,
    pixel_size,
    tile_field,
    tiles_bytes,
)

__all__ = [
    "AT_ONCE",
    "FlatEngine",
    "Mosaic",
    "MosaicConfig",
    "TileMean",
    "count_tiles",
    "pixel_size",
    "planned_regions",
    "polishes_wide",
    "tile_field",
    "tiles_bytes",
    "usual_polish",
    "wide_holes",
]
