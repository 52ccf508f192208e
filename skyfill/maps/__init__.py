"""Read sky maps from FITS files and write them back with every observed pixel unchanged.

Inside the library a map is ``(npix,)``, in µK and RING order, NaN where missing. This package
converts at the border: files keep their unit, dtype, ordering, frame, other columns and header
cards.
"""

from skyfill.maps.description import Checksums, ColumnInfo, MapInfo, TableInfo, add_up, describe
from skyfill.maps.filled import FILL_CARDS, FILL_PRIOR, write_filled, write_map
from skyfill.maps.frames import frame_of_word
from skyfill.maps.image import (
    ImageFile,
    is_image,
    read_image,
    refuse_integers,
    write_filled_image,
)
from skyfill.maps.reading import Frame, Place, check_alike, place_of
from skyfill.maps.skymap import SkyMap, known_pixels, read_map, refuse_flattened
from skyfill.maps.stokesmap import (
    StokesMap,
    mask_columns,
    read_stokes,
    recorded_stokes,
    stokes_columns,
    write_filled_stokes,
)
from skyfill.maps.stokesnoise import read_noise_stokes
from skyfill.maps.units import unit_in_uk

__all__ = [
    "FILL_CARDS",
    "FILL_PRIOR",
    "Checksums",
    "ColumnInfo",
    "Frame",
    "ImageFile",
    "MapInfo",
    "Place",
    "SkyMap",
    "StokesMap",
    "TableInfo",
    "add_up",
    "check_alike",
    "describe",
    "frame_of_word",
    "is_image",
    "known_pixels",
    "mask_columns",
    "place_of",
    "read_image",
    "read_map",
    "read_noise_stokes",
    "read_stokes",
    "recorded_stokes",
    "refuse_flattened",
    "refuse_integers",
    "stokes_columns",
    "unit_in_uk",
    "write_filled",
    "write_filled_image",
    "write_filled_stokes",
    "write_map",
]
