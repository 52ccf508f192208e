"""HEALPix pixels: arrays of them, their directions, neighbours and ordering.

The lowest room. Its public names are those of `skyfill.healpix.grid`, and `nside_of` and
`sky_shape` of `stokes`, which turns arrays into resolutions; `checks` and `arrays` take what users
pass, `pixel` holds the arithmetic of one pixel for compiled loops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skyfill.lazy import on_first_use

if TYPE_CHECKING:
    from skyfill.healpix.grid import check_pixels as check_pixels
    from skyfill.healpix.grid import neighbours as neighbours
    from skyfill.healpix.grid import nest_to_ring as nest_to_ring
    from skyfill.healpix.grid import pixel_directions as pixel_directions
    from skyfill.healpix.grid import pixel_radius as pixel_radius
    from skyfill.healpix.grid import pixels_towards as pixels_towards
    from skyfill.healpix.grid import reorder as reorder
    from skyfill.healpix.grid import ring_table as ring_table
    from skyfill.healpix.grid import ring_to_nest as ring_to_nest
    from skyfill.healpix.stokes import nside_of as nside_of
    from skyfill.healpix.stokes import sky_shape as sky_shape

# name -> the module that holds it
_HOMES = {
    "check_pixels": "grid",
    "neighbours": "grid",
    "nest_to_ring": "grid",
    "nside_of": "stokes",
    "pixel_directions": "grid",
    "pixel_radius": "grid",
    "pixels_towards": "grid",
    "reorder": "grid",
    "ring_table": "grid",
    "ring_to_nest": "grid",
    "sky_shape": "stokes",
}

__all__ = [*_HOMES]

if not TYPE_CHECKING:  # hidden from type checkers, which would accept any name otherwise
    __getattr__ = on_first_use(__name__, _HOMES)

    def __dir__() -> list[str]:
        return sorted([*globals(), *__all__])
