"""Which tiles a set of holes needs."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import KDTree

from skyfill._checks import nside_of
from skyfill.healpix import pixel_directions, pixel_radius
from skyfill.tiling.layout import Layout
from skyfill.tiling.search import any_child, label, nearest_centre

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["plan"]

AT_ONCE = 2**22  # pixels whose nearest tiles are looked for at a time


def plan(
    holes: NDArray[np.bool_],
    *,
    side: int,
    pixel_arcmin: float,
    margin: float,
    projection: str = "TAN",
    coord: str = "G",
    cover: float = 2.0,
) -> tuple[Layout, ...]:
    """Choose square tiles so that every hole pixel lies well inside one of them.

    Holes that fit into a tile, alone or with the holes close by, get one centred on them, unless a
    tile chosen before holds them already. Wider ones are covered from a grid of rows of equal
    latitude with a tile at each pole: of its points those stay that are the nearest to some hole
    pixel. North-up squares fit such rows more closely than the centres of HEALPix pixels.

    Parameters
    ----------
    holes
        (npix,), RING, True for the pixels to be covered.
    side
        Pixels along each side of a tile.
    pixel_arcmin
        Side of a tile pixel.
    margin
        Least distance of a hole pixel's centre from the border of the tile that covers it, in
        radians, measured in the tile's own projection.
    projection, coord
        As for `Layout`.
    cover
        Mean number of tiles, less their margins, over a point of a wide hole; at least 1.

    Returns
    -------
    Layouts, none if there are no holes.

    Raises
    ------
    ValueError
        If the margin leaves nothing of a tile, or ``cover`` is below 1.

    Notes
    -----
    Holes are read in place. All further arrays are as long as the list of hole pixels at the
    coarsest Nside whose pixels are small against a tile.

    """
    nside = nside_of(holes.size, "holes")
    pattern = Layout(nside, 0.0, 0.0, (side, side), float(pixel_arcmin), projection, coord)
    reach = 0.5 * (side - 1) * pattern.step - margin
    if margin < 0 or reach < pattern.step:
        raise ValueError(
            f"a margin of {math.degrees(margin) * 60:.4g} arcmin does not fit a tile of {side} "
            f"pixels of {pixel_arcmin:.4g} arcmin"
        )
    if not 1 <= cover < math.inf:
        raise ValueError(f"cover is a number of tiles, at least 1, got {cover}")
    flags = np.ascontiguousarray(holes, dtype=np.bool_)
    clumps = _Clumps(nside, flags, reach, tan=projection == "TAN")
    wide = _cover_wide(nside, flags, clumps, reach, cover)
    points = np.concatenate([wide, clumps.centres_beyond(wide)])
    lon = np.degrees(np.arctan2(points[:, 1], points[:, 0])) % 360.0
    lat = np.degrees(np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1])))
    return tuple(
        replace(pattern, lon_deg=x, lat_deg=y)
        for x, y in zip(lon.tolist(), lat.tolist(), strict=True)
    )


class _Clumps:
    """Holes, joined with those close by: connected sets of coarse pixels that touch a hole.

    Each has a disc, of which ``small`` ones fit into the circle of radius ``disc`` inside a tile.
    """

    def __init__(self, nside: int, holes: NDArray[np.bool_], reach: float, *, tan: bool) -> None:
        self.tan = tan
        self.disc = math.atan(reach) if tan else reach
        self.nside = _fine_enough(nside, self.disc / 8)
        self.pixels = _touched(nside, holes, self.nside)
        labels = np.full(12 * self.nside**2, -1)
        n = label(
            self.nside, self.pixels, labels, np.empty_like(self.pixels), np.empty(8, np.int64)
        )
        self.labels = labels[self.pixels]
        directions = pixel_directions(self.nside, self.pixels, nest=True)
        total = np.stack([np.bincount(self.labels, d, n) for d in directions.T], axis=-1)
        norm = np.linalg.norm(total, axis=-1, keepdims=True)
        self.centres = total / np.maximum(norm, 1e-300)
        chord = np.linalg.norm(directions - self.centres[self.labels], axis=-1)
        self.radii = np.zeros(n)
        np.maximum.at(self.radii, self.labels, 2 * np.arcsin(np.minimum(chord / 2, 1)))
        self.radii += pixel_radius(self.nside)
        self.small = (self.radii <= self.disc) & (norm[:, 0] > 0)

    def centres_beyond(self, chosen: NDArray[np.float64]) -> NDArray[np.float64]:
        """Choose the centres of small clumps that neither ``chosen`` tiles nor each other hold."""
        centres, room = self.centres[self.small], self.disc - self.radii[self.small]
        held = np.zeros(len(centres), dtype=np.bool_)
        if len(chosen):
            distance, _ = KDTree(chosen).query(centres)
            held |= 2 * np.arcsin(distance / 2) <= room
        tree = KDTree(centres) if len(centres) else None
        keep = []
        for i in np.argsort(room, kind="stable"):  # the widest first
            if held[i] or tree is None:
                continue
            keep.append(i)
            near = np.array(tree.query_ball_point(centres[i], 2 * math.sin(self.disc / 2)))
            distance = 2 * np.arcsin(np.linalg.norm(centres[near] - centres[i], axis=-1) / 2)
            held[near[distance <= room[near]]] = True
        return np.take(centres, keep, axis=0)


def _cover_wide(
    nside: int, holes: NDArray[np.bool_], clumps: _Clumps, reach: float, cover: float
) -> NDArray[np.float64]:
    """Choose the grid points, as unit vectors, that the clumps need which fit into no tile."""
    if clumps.small.all():
        return np.empty((0, 3))
    # a length in the plane of the tile, at its corner, over the same length on the sky
    stretch = 1.0 + 2.0 * (reach if clumps.tan else math.tan(reach)) ** 2
    fine = max(clumps.nside, _fine_enough(nside, reach / 32 / stretch))
    flags = np.empty(12 * fine**2, dtype=np.bool_)
    any_child(nside, holes, fine, flags)
    if fine < nside:
        reach -= pixel_radius(fine) * stretch
    spacing = 2.0 * (math.atan(reach) if clumps.tan else reach) / math.sqrt(cover)
    while True:
        columns = _columns(spacing)
        starts = np.concatenate([[0], np.cumsum(columns)])
        wanted, far = np.zeros(starts[-1], dtype=np.bool_), 0.0
        for start in range(0, flags.size, AT_ONCE):
            pixels = np.flatnonzero(flags[start : start + AT_ONCE]) + start
            parent = np.searchsorted(clumps.pixels, pixels // (fine // clumps.nside) ** 2)
            pixels = pixels[~clumps.small[clumps.labels[parent]]]
            owner, distance = np.empty(pixels.size, dtype=np.int64), np.empty(pixels.size)
            nearest_centre(fine, pixels, columns, starts, not clumps.tan, owner, distance)
            wanted[owner] = True
            far = max(far, float(distance.max(initial=0.0)))
        if far <= reach:
            break
        spacing *= 0.97  # only tiles as curved as the sky come here
    chosen = np.flatnonzero(wanted)
    row = np.searchsorted(starts, chosen, side="right") - 1
    theta = row * math.pi / (columns.size - 1)
    phi = (chosen - starts[row]) * 2.0 * math.pi / columns[row]
    sine = np.sin(theta)
    return np.stack([sine * np.cos(phi), sine * np.sin(phi), np.cos(theta)], axis=-1)


def _columns(spacing: float) -> NDArray[np.int64]:
    """Count the points along each row of a grid no wider than ``spacing`` in either direction."""
    rows = math.ceil(math.pi / spacing)
    theta = np.arange(rows + 1) * math.pi / rows
    widest = np.minimum(np.minimum(theta, math.pi - theta) + 0.5 * math.pi / rows, math.pi / 2)
    columns = np.ceil(2.0 * math.pi * np.sin(widest) / spacing).astype(np.int64)
    columns[[0, -1]] = 1
    return columns


def _fine_enough(nside: int, radius: float) -> int:
    """Find the lowest Nside, up to a map's own, whose pixels are no larger than a radius."""
    coarse = 1
    while coarse < nside and pixel_radius(coarse) > radius:
        coarse *= 2
    return coarse


def _touched(nside: int, holes: NDArray[np.bool_], coarse: int) -> NDArray[np.int64]:
    """List the NESTED pixels of a coarser Nside that touch a hole, sorted."""
    flags = np.empty(12 * coarse**2, dtype=np.bool_)
    any_child(nside, holes, coarse, flags)
    return np.flatnonzero(flags)
