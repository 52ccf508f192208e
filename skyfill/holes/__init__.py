"""Read, make and measure masks and their holes.

A mask is ``(npix,)`` booleans in RING order, true where the sky is *observed*. The public names
are those of `skyfill.holes.masks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skyfill.lazy import on_first_use

if TYPE_CHECKING:
    from skyfill.holes.masks import HOLES as HOLES
    from skyfill.holes.masks import MOST_MISSING as MOST_MISSING
    from skyfill.holes.masks import ApodisedMaskError as ApodisedMaskError
    from skyfill.holes.masks import Holes as Holes
    from skyfill.holes.masks import Sources as Sources
    from skyfill.holes.masks import UnusableSkyError as UnusableSkyError
    from skyfill.holes.masks import disc_pixels as disc_pixels
    from skyfill.holes.masks import discs as discs
    from skyfill.holes.masks import distance_to_edge as distance_to_edge
    from skyfill.holes.masks import enclosed_holes as enclosed_holes
    from skyfill.holes.masks import fill_islands as fill_islands
    from skyfill.holes.masks import find_holes as find_holes
    from skyfill.holes.masks import frame_letter as frame_letter
    from skyfill.holes.masks import galactic_cut as galactic_cut
    from skyfill.holes.masks import grow as grow
    from skyfill.holes.masks import holes_to_fill as holes_to_fill
    from skyfill.holes.masks import label_holes as label_holes
    from skyfill.holes.masks import read_catalogue as read_catalogue
    from skyfill.holes.masks import read_mask as read_mask
    from skyfill.holes.masks import read_sources as read_sources
    from skyfill.holes.masks import read_weights as read_weights
    from skyfill.holes.masks import regions_with as regions_with
    from skyfill.holes.masks import regrade_mask as regrade_mask
    from skyfill.holes.masks import reproject_mask as reproject_mask
    from skyfill.holes.masks import rotate_mask as rotate_mask

# name -> the module that defines it
_HOMES = {
    "HOLES": "masks",
    "MOST_MISSING": "masks",
    "ApodisedMaskError": "masks",
    "Holes": "masks",
    "Sources": "masks",
    "UnusableSkyError": "masks",
    "disc_pixels": "masks",
    "discs": "masks",
    "distance_to_edge": "masks",
    "enclosed_holes": "masks",
    "fill_islands": "masks",
    "find_holes": "masks",
    "frame_letter": "masks",
    "galactic_cut": "masks",
    "grow": "masks",
    "holes_to_fill": "masks",
    "label_holes": "masks",
    "read_catalogue": "masks",
    "read_mask": "masks",
    "read_sources": "masks",
    "read_weights": "masks",
    "regions_with": "masks",
    "regrade_mask": "masks",
    "reproject_mask": "masks",
    "rotate_mask": "masks",
}

__all__ = [*_HOMES]

if not TYPE_CHECKING:  # hidden from type checkers, which otherwise would accept any name
    __getattr__ = on_first_use(__name__, _HOMES)

    def __dir__() -> list[str]:
        return sorted([*globals(), *__all__])
