"""Paste tiles onto the sphere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skyfill.healpix import check_pixels, pixel_directions, pixel_radius, ring_to_nest
from skyfill.healpix.checks import check_nside
from skyfill.tiling import kernels
from skyfill.tiling.layout import frames
from skyfill.tiling.splines import spline_coefficients

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from skyfill.tiling.layout import Frames, Layout

__all__ = ["Paster", "paste"]

CELL = 16  # side, in pixels, of the cells of pixels that are compared with a tile at once
BLOCKS = 256  # blocks of these cells, which threads share: enough for any number of cores
BATCH = 2**22  # tile pixels whose spline coefficients are in memory at a time: 32 MiB


class Paster:
    """Blend tiles, batch by batch, at the centres of chosen pixels.

    The value at a pixel is sum_t w_t tile_t / sum_t w_t over the tiles t that cover it. Both
    are interpolated at its centre: the tile by cubic B-splines or bilinearly, its window
    bilinearly. Sums are float64 and follow the order in which tiles are added, so the result does
    not depend on the size of the batches or the number of threads.

    Parameters
    ----------
    nside
        Resolution of the map.
    ipix
        ``(n,)``, the pixels to evaluate, each at most once.
    nest
        Ordering of `ipix`.
    order
        3, cubic, or 1, bilinear.

    Raises
    ------
    ValueError
        For another order, or a pixel that is out of range.

    """

    _planes: tuple[int, ...] = ()
    _kernel = staticmethod(kernels.add_tiles)

    def __init__(self, nside: int, ipix: ArrayLike, *, nest: bool = False, order: int = 3) -> None:
        if order not in {1, 3}:
            raise ValueError(f"order {order} is not known: use 3 (cubic) or 1 (bilinear)")
        self._nside = check_nside(nside)
        self._cubic = order == 3
        pixels = check_pixels(nside, ipix) if nest else ring_to_nest(nside, ipix)
        cell_nside = max(1, nside // CELL)
        cell = pixels // (nside // cell_nside) ** 2
        count = np.bincount(cell, minlength=12 * cell_nside**2)
        self._order = np.empty(cell.size, dtype=np.int64)
        kernels.by_cell(cell, np.cumsum(count) - count, self._order)
        self._pixels = pixels[self._order]
        used = np.flatnonzero(count)
        self._bounds = np.append(0, np.cumsum(count[used]))
        self._cells = pixel_directions(cell_nside, used, nest=True)
        self._cell_radius = pixel_radius(cell_nside)
        self._total = np.zeros((*self._planes, cell.size))
        self._weight = np.zeros(cell.size)

    def add(
        self, tiles: NDArray[Any], layouts: Sequence[Layout], window: NDArray[np.float64]
    ) -> None:
        """Add tiles.

        Parameters
        ----------
        tiles
            ``(ntile, ny, nx)``, finite.
        layouts
            Where they lie.
        window
            ``(ny, nx)``, weight of each tile pixel, from `skyfill.blending.window`.

        Raises
        ------
        ValueError
            If shapes or resolutions do not agree, or a tile holds NaN.

        """
        if any(layout.nside != self._nside for layout in layouts):
            raise ValueError(f"the layouts are not for a map of Nside {self._nside}")
        where = frames(layouts)
        shape = layouts[0].shape if layouts else window.shape
        if tiles.shape != (len(layouts), *self._planes, *shape) or window.shape != shape:
            raise ValueError(
                f"{len(layouts)} layouts of {shape} pixels do not describe tiles {tiles.shape} "
                f"with a window {window.shape}"
            )
        near, slack = reach(where, self._cell_radius)
        scratch = np.empty((BLOCKS, int(np.diff(self._bounds).max(initial=0)), 3))
        window = np.ascontiguousarray(window, dtype=np.float64)
        size = max(1, BATCH // window.size)
        for start in range(0, len(layouts), size):
            part = slice(start, start + size)
            here = where.part(part)
            batch = np.array(tiles[part], dtype=np.float64, order="C")
            if not np.isfinite(batch).all():
                raise ValueError("a tile holds NaN or infinity: replace them before pasting")
            if self._cubic:
                spline_coefficients(batch.reshape(-1, *shape))
            self._kernel(
                self._nside,
                self._pixels,
                self._bounds,
                self._cells,
                near[part],
                slack[part],
                *here.grid,
                here.centre,
                batch,
                window,
                self._cubic,
                scratch,
                self._total,
                self._weight,
            )

    def result(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give the blend of the tiles added so far.

        Returns
        -------
        values
            ``(n,)``, in the order of ``ipix``; NaN at pixels without a tile.
        weight
            ``(n,)``, sum of the windows there.

        """
        weight = np.empty_like(self._weight)
        weight[self._order] = self._weight
        values = np.full_like(self._total, np.nan)
        reached = self._weight > 0
        values[..., self._order[reached]] = self._total[..., reached] / self._weight[reached]
        return values, weight


def paste(
    tiles: NDArray[Any],
    layouts: Sequence[Layout],
    ipix: ArrayLike,
    *,
    window: NDArray[np.float64],
    nest: bool = False,
    order: int = 3,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Blend tiles at the centres of chosen pixels: `Paster` for a single batch.

    Parameters
    ----------
    tiles
        ``(ntile, ny, nx)``, finite.
    layouts
        Where they lie, at least one.
    ipix
        ``(n,)``, the pixels to evaluate, each at most once.
    window
        ``(ny, nx)``, weight of each tile pixel.
    nest
        Ordering of `ipix`.
    order
        3, cubic, or 1, bilinear.

    Returns
    -------
    The values, and their weights
        ``(n,)`` each, as `Paster.result` gives them.

    Raises
    ------
    ValueError
        There are no layouts, or as for `Paster`.

    Examples
    --------
    >>> import numpy as np, skyfill
    >>> layout = skyfill.Layout(64, 30.0, 45.0, shape=(32, 32), pixel_arcmin=30.0)
    >>> sky = skyfill.simulate_sky(64, seed=1, fwhm=0.05)
    >>> tiles, _ = skyfill.tiling.cut(sky, None, [layout])
    >>> ipix = np.flatnonzero(skyfill.discs(64, np.radians([30]), np.radians([45]), 0.05) == 0)
    >>> window = skyfill.blending.window((32, 32))
    >>> values, weight = skyfill.tiling.paste(tiles, [layout], ipix, window=window)
    >>> bool(np.corrcoef(values, sky[ipix])[0, 1] > 0.99)
    True

    """
    if not layouts:
        raise ValueError("there is no tile to paste")
    paster = Paster(layouts[0].nside, ipix, nest=nest, order=order)
    paster.add(tiles, layouts, window)
    return paster.result()


def pixels_near(nside: int, layouts: Sequence[Layout]) -> NDArray[np.int64]:
    """List the NESTED pixels under or close to any of the tiles, sorted."""
    cell_nside = max(1, nside // CELL)
    cells = pixel_directions(cell_nside, np.arange(12 * cell_nside**2), nest=True)
    where = frames(layouts)
    near, _ = reach(where, pixel_radius(cell_nside))
    touched = np.zeros(len(cells), dtype=np.bool_)
    for start in range(0, len(layouts), 16):
        some = slice(start, start + 16)
        touched |= (cells @ where.centre[some].T >= near[some]).any(axis=-1)
    children = np.arange((nside // cell_nside) ** 2)
    return (np.flatnonzero(touched)[:, None] * children.size + children).ravel()


def reach(where: Frames, cell_radius: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the largest distance at which a disc can touch each tile.

    Returns
    -------
    near
        ``(ntile,)``, smallest cosine of the distance between the centres.
    slack
        ``(ntile,)``, largest distance of the disc's centre from the tile, in tile pixels; infinite
        for tiles so wide that the projection stretches without bounds.

    """
    near = np.cos(np.minimum(where.radius + cell_radius + 1e-9, np.pi))
    off_axis = np.arccos(np.clip(np.sum(where.centre * where.axes[:, 0], axis=-1), -1.0, 1.0))
    outermost = off_axis + where.radius + 2 * cell_radius
    narrow = outermost < 0.5
    stretch = 1.0 / np.cos(np.where(narrow, outermost, 0.0)) ** 2  # of lengths, in any projection
    slack = np.where(narrow, cell_radius * stretch / where.step + 1e-6, np.inf)
    return near, slack
