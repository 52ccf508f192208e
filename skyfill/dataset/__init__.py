"""Cut a map and its mask into small flat tiles, a data set for training networks.

These are data sets like that of CosmoVAE (Yi et al. 2020, arXiv:2001.11651, section IV.A): tiles of
map and mask on equally spaced centres, in one Zarr store. Networks are trained on the tiles without
missing pixels, under the masks of the other tiles.

Tiles of Q and U are no data set: `write_cubes` writes them for other programs, and `paste_cubes`
puts what those have made of them into the map.
"""

from skyfill.dataset.cubes import check_cubes, paste_cubes, write_cubes
from skyfill.dataset.geometry import PROJECTIONS, TileGeometry
from skyfill.dataset.reading import Role, TileDataset, open_tiles
from skyfill.dataset.store import SPLITS, check_store, write_tiles

__all__ = [
    "PROJECTIONS",
    "SPLITS",
    "Role",
    "TileDataset",
    "TileGeometry",
    "check_cubes",
    "check_store",
    "open_tiles",
    "paste_cubes",
    "write_cubes",
    "write_tiles",
]
