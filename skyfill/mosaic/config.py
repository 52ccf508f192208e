"""Say how the sphere is divided into tiles."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MosaicConfig"]


@dataclass(frozen=True)
class MosaicConfig:
    """Say how the sphere is divided; lengths are in tile pixels unless said.

    Attributes
    ----------
    side
        Of a tile.
    pixel
        Of a tile, in units of the HEALPix pixel.
    guard
        Pixels around a tile that are not used: its periodic images must not feel each other, nor
        a hole that is cut by the border.
    margin
        Least distance of a hole pixel from the border of a tile that fills it.
    cover
        Mean number of tiles, less their margins, over a point of a wide hole.
    small
        Largest radius of a hole that is filled with the whole C_l, before wide ones; 0 for none.
    polish
        Exact iterations at the end, see `skyfill.gaussian.Polish`; None for 8 up to
        ``polished_nside``, where they cost little, and 5 beyond.
    polished_nside
        Largest resolution at which all holes are polished together, with corrections. Beyond it
        wide holes are polished without corrections, on whose rings alone the steps are taken; small
        ones are filled by their blocks again.
    near
        Observed pixels this far from a hole (in HEALPix pixels) are gathered a second time; 0 for
        one pass only, None for 8 where no polish follows and 0 where one does.
    rim
        Where not every hole is to be filled: other unobserved pixels this far from one that is (in
        HEALPix pixels) have tiles, too, so that polish finds there what a hole can see.
    threshold
        Share of the interpolation weight that must be observed for a tile pixel to count as data.
    coarse_nside
        Largest resolution of the coarse level; 0 for none: tiles have the whole C_l.
    whole_nside
        Maps of this resolution or below, whose tiles would be curved, are solved as a whole.
    tolerance
        Distance to the exact mean at which the coarse solve stops, in units of the map's rms; six
        times as much where polish of every hole follows, a tenth where maps are solved as a whole.
    """

    side: int = 128
    pixel: float = 0.75
    guard: int = 20
    margin: int = 24
    cover: float = 1.2
    small: float = 20.0
    polish: int | None = None
    polished_nside: int = 512
    near: float | None = None
    rim: float = 64.0
    threshold: float = 0.9
    coarse_nside: int = 256
    whole_nside: int = 128
    tolerance: float = 3e-2
