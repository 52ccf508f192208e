"""Which tiles a set of holes needs."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import KDTree

from skyfill.healpix import nest_to_ring, pixel_directions, pixel_radius, ring_to_nest
from skyfill.healpix.arrays import as_mask
from skyfill.healpix.checks import check_whole
from skyfill.holes.runs import Runs
from skyfill.tiling.layout import Layout
from skyfill.tiling.search import nearest_points

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Flags = NDArray[np.bool_]

__all__ = ["plan"]


def plan(
    holes: ArrayLike | Runs,
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
        (npix,), RING, True for the pixels to be covered; or these pixels as runs.
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
    Holes are read in place, as runs along the rings. All further arrays are as long as the list of
    runs, or of the pixels of small holes, beside flags for the pixels of half the Nside.

    """
    side = check_whole(side, "side", least=4)
    runs = (
        holes if isinstance(holes, Runs) else Runs.of(as_mask(holes, "holes", taker="tiling.plan"))
    )
    pattern = Layout(runs.nside, 0.0, 0.0, (side, side), float(pixel_arcmin), projection, coord)
    reach = 0.5 * (side - 1) * pattern.step - margin
    if margin < 0 or reach < pattern.step:
        raise ValueError(
            f"a margin of {math.degrees(margin) * 60:.4g} arcmin does not fit a tile of {side} "
            f"pixels of {pixel_arcmin:.4g} arcmin"
        )
    if not 1 <= cover < math.inf:
        raise ValueError(f"cover is a number of tiles, at least 1, got {cover}")
    clumps = _Clumps(runs, reach, tan=projection == "TAN")
    wide = _cover_wide(runs, clumps, reach, cover)
    points = np.concatenate([wide, clumps.centres_beyond(wide)])
    lon = np.degrees(np.arctan2(points[:, 1], points[:, 0])) % 360.0
    lat = np.degrees(np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1])))
    return tuple(
        replace(pattern, lon_deg=x, lat_deg=y)
        for x, y in zip(lon.tolist(), lat.tolist(), strict=True)
    )


class _Clumps:
    """Holes, joined with those close by: connected sets of coarse pixels that touch a hole.

    Each has a disc, of which ``small`` ones fit into the circle of radius ``disc`` inside a tile;
    these have ``centres`` and ``radii``, in the order of their first NESTED pixels.
    """

    def __init__(self, holes: Runs, reach: float, *, tan: bool) -> None:
        self.tan = tan
        self.disc = math.atan(reach) if tan else reach
        self.nside = _fine_enough(holes.nside, self.disc / 8)
        self._runs = holes.degraded(self.nside)
        self._labels, _ = self._runs.regions
        _, chords = self._runs.discs()
        most = 2 * np.arcsin(np.minimum(chords / 2, 1)) + pixel_radius(self.nside)
        self._small = most <= self.disc * (1 + 1e-9)  # for want of digits a few too many
        self._measure()

    def _measure(self) -> None:
        """Measure the small ones pixel by pixel."""
        which = self._small[self._labels]
        runs = self._runs.some(which)
        pixels = ring_to_nest(self.nside, runs.pixels())
        order = np.argsort(pixels)
        owner = np.repeat(self._labels[which], runs.sizes)[order]
        names, first, labels = np.unique(owner, return_index=True, return_inverse=True)
        rank = np.argsort(first)
        labels = np.argsort(rank)[labels]
        n = names.size
        directions = pixel_directions(self.nside, pixels[order], nest=True)
        total = np.stack([np.bincount(labels, d, n) for d in directions.T], axis=-1)
        norm = np.linalg.norm(total, axis=-1, keepdims=True)
        centres = total / np.maximum(norm, 1e-300)
        chord = np.linalg.norm(directions - centres[labels], axis=-1)
        radii = np.zeros(n)
        np.maximum.at(radii, labels, 2 * np.arcsin(np.minimum(chord / 2, 1)))
        radii += pixel_radius(self.nside)
        small = (radii <= self.disc) & (norm[:, 0] > 0)
        self.centres, self.radii = centres[small], radii[small]
        self._small[names[rank]] = small

    def wide(self, holes: Runs) -> Flags:
        """Tell which runs of hole pixels, none coarser, lie in clumps that fit into no tile."""
        down = (holes.nside // self.nside) ** 2
        parents = nest_to_ring(self.nside, ring_to_nest(holes.nside, holes.first) // down)
        inside = np.searchsorted(self._runs.first, parents, side="right") - 1
        chosen: Flags = ~self._small[self._labels[inside]]
        return chosen

    def centres_beyond(self, chosen: NDArray[np.float64]) -> NDArray[np.float64]:
        """Choose the centres of small clumps that neither ``chosen`` tiles nor each other hold."""
        centres, room = self.centres, self.disc - self.radii
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


def _cover_wide(holes: Runs, clumps: _Clumps, reach: float, cover: float) -> NDArray[np.float64]:
    """Choose the grid points, as unit vectors, that the clumps need which fit into no tile."""
    # a length in the plane of the tile, at its corner, over the same length on the sky
    stretch = 1.0 + 2.0 * (reach if clumps.tan else math.tan(reach)) ** 2
    fine = max(clumps.nside, _fine_enough(holes.nside, reach / 32 / stretch))
    runs = holes.degraded(fine)
    runs = runs.some(clumps.wide(runs))
    if not runs.first.size:
        return np.empty((0, 3))
    if fine < holes.nside:
        reach -= pixel_radius(fine) * stretch
    spacing = 2.0 * (math.atan(reach) if clumps.tan else reach) / math.sqrt(cover)
    while True:
        columns = _columns(spacing)
        starts = np.concatenate([[0], np.cumsum(columns)])
        wanted = np.zeros(starts[-1], dtype=np.bool_)
        far = nearest_points(fine, runs.first, runs.stop, columns, starts, not clumps.tan, wanted)
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
