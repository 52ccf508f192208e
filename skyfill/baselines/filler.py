"""Fill tiles with a baseline."""

from __future__ import annotations

from skyfill.cosmovae.filler import TileNetFiller

__all__ = ["BaselineFiller"]


class BaselineFiller(TileNetFiller):
    """Fill the holes of tiles with the output of a baseline, as `TileNetFiller`."""
