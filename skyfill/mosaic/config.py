"""Parameters of the division of the sphere into tiles."""

from __future__ import annotations

from dataclasses import dataclass

from skyfill.brief import brief

__all__ = ["MosaicConfig"]


@dataclass(frozen=True)
class MosaicConfig:
    """How the sphere is divided into tiles; lengths are in tile pixels unless stated otherwise.

    Attributes
    ----------
    side
        Side of a tile.
    pixel
        Size of a tile pixel, in units of the HEALPix pixel.
    guard
        Width of the unused border of a tile. It separates the tile's periodic images, and holes cut
        by the tile's edge.
    margin
        Smallest distance of a hole pixel from the border of a tile that fills it.
    cover
        Mean number of tiles, without their margins, over a point of a wide hole.
    small
        Largest radius of a small hole. Small holes are filled before wide ones, with the whole C_l;
        0 for none.
    polish
        Number of exact iterations at the end, see `skyfill.gaussian.Polish`. None: 8 up to
        ``polished_nside``, where they cost little, and 5 above it.
    polished_nside
        Largest Nside at which all holes are polished together, with corrections. Above it, wide
        holes are polished without corrections and on their own rings only; small holes are then
        filled again by their blocks.
    wide_nside
        Largest Nside at which wide holes are polished, if ``polish`` is None: beyond, polish would
        take several times as long as the tiles.
    near
        Observed pixels within this distance of a hole (in HEALPix pixels) are gathered a second
        time; 0 for one pass only. None: 0 where wide holes are polished, 4 where only small
        ones are, else 8.
    rim
        If only some holes are filled: other unobserved pixels within this distance of a filled one
        (in HEALPix pixels) get tiles, too. Polish needs values there.
    threshold
        Share of the interpolation weight that must be observed for a tile pixel to count as data.
    coarse_nside
        Largest Nside of the coarse level; 0 for no coarse level: tiles then use the whole C_l.
    whole_nside
        Maps of this Nside or below are solved without tiles, because their tiles would be curved.
    tolerance
        Distance to the exact mean at which the coarse solve stops, in units of the map's rms. Six
        times as much is allowed if all holes are polished together; a tenth if the whole map is
        solved without tiles.
    """

    __repr__ = brief

    side: int = 128
    pixel: float = 0.75
    guard: int = 20
    margin: int = 24
    cover: float = 1.2
    small: float = 20.0
    polish: int | None = None
    polished_nside: int = 512
    wide_nside: int = 2048
    near: float | None = None
    rim: float = 64.0
    threshold: float = 0.9
    coarse_nside: int = 256
    whole_nside: int = 128
    tolerance: float = 3e-2
