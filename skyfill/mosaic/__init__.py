"""Find the posterior mean of a map from tiles and a coarse solve of the whole sphere."""

from skyfill.mosaic.mosaic import (
    FlatEngine,
    Mosaic,
    MosaicConfig,
    TileMean,
    count_tiles,
    planned_regions,
    tiles_bytes,
    usual_polish,
    wide_holes,
)

__all__ = [
    "FlatEngine",
    "Mosaic",
    "MosaicConfig",
    "TileMean",
    "count_tiles",
    "planned_regions",
    "tiles_bytes",
    "usual_polish",
    "wide_holes",
]
