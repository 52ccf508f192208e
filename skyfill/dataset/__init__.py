"""Cut a map and its mask into small flat tiles, the data set of a network that knows tiles only.

The data set of CosmoVAE (Yi et al. 2020, arXiv:2001.11651, section IV.A), and its like: tiles on
equally spaced centres, map and mask on the same ones, kept in one Zarr store. Tiles of a clean sky
are what a network learns from, those with missing pixels lend it their masks.
"""

from skyfill.dataset.geometry import PROJECTIONS, TileGeometry
from skyfill.dataset.reading import Role, TileDataset, open_tiles
from skyfill.dataset.store import SPLITS, check_store, write_tiles

__all__ = [
    "PROJECTIONS",
    "SPLITS",
    "Role",
    "TileDataset",
    "TileGeometry",
    "check_store",
    "open_tiles",
    "write_tiles",
]
