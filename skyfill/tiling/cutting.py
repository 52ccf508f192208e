"""Cut tiles from maps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from skyfill.healpix import nest_to_ring, pixel_radius, ring_table
from skyfill.healpix.arrays import as_map, as_mask, as_sums
from skyfill.healpix.stokes import nside_of, one_component, same_sky
from skyfill.holes.runs import Runs
from skyfill.tiling import kernels, search
from skyfill.tiling.layout import Frames, frames
from skyfill.tiling.pasting import paste, pixels_near

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from skyfill.tiling.layout import Layout

__all__ = ["cut", "cut_nearest", "gather", "repeated", "sees"]

BLOCKS = 64  # blocks of rows, which threads share: enough for any number of cores
BATCH = 2**23  # tile pixels gathered at a time: 64 MiB


#: Types of maps that are cut without being converted or looked through.
_AS_THEY_ARE = (np.dtype(np.float64), np.dtype(np.float32))
#: A tile with a larger value may have a missing one of the map in it: UNSEEN, even at the least
#: weight that is not zero.
_STRANGE = 1e12


def cut(
    values: ArrayLike,
    observed: ArrayLike | None,
    layouts: Sequence[Layout],
    *,
    nest: bool = False,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Cut a map into tiles, interpolating between observed pixels only.

    Each tile pixel is the weighted mean of those map pixels, of the four around it, that are
    observed. The weights are healpy's bilinear ones. Unobserved pixels are never read, so they may
    be NaN.

    Parameters
    ----------
    values
        ``(npix,)``, any unit; or a mask, which is not copied.
    observed
        ``(npix,)``, True where observed; None if all pixels are.
    layouts
        Tiles of one shape.
    nest
        Ordering of the two maps.

    Returns
    -------
    tiles
        ``(ntile, ny, nx)``, float32 for a float32 map or a mask, else float64; 0 where nothing is
        observed.
    weights
        The same shape: the observed fraction, 0 to 1, of the interpolation weight. Without a mask,
        a read-only array of ones.

    Raises
    ------
    ValueError
        If maps or layouts differ in resolution, or layouts in shape.

    Examples
    --------
    >>> import numpy as np, skyfill
    >>> layout = skyfill.Layout(64, 30.0, 45.0, shape=(32, 32), pixel_arcmin=30.0)
    >>> tiles, weights = skyfill.tiling.cut(np.ones(12 * 64**2), None, [layout])
    >>> tiles.shape, bool(np.allclose(tiles, 1))
    ((1, 32, 32), True)

    """
    plain = _plain_map(values)
    sky = as_sums(values, taker="tiling.cut") if plain is None else plain
    tiles, weights = _cut(sky, observed, layouts, nest=nest)
    if plain is not None and not np.all(np.abs(tiles) < _STRANGE):
        clean = as_sums(plain, taker="tiling.cut")
        if clean is not plain:
            return _cut(clean, observed, layouts, nest=nest)
    return tiles, weights


def _plain_map(values: ArrayLike) -> NDArray[Any] | None:
    """Give the array of a map that needs no conversion, if it is one.

    It is not looked through for UNSEEN and inf, which show in the tiles: for a few tiles that would
    take longer than the cut itself.
    """
    if type(values) is not np.ndarray or values.dtype not in _AS_THEY_ARE or values.ndim != 1:
        return None
    return values if values.flags.c_contiguous else None


def _cut(
    values: NDArray[Any], observed: ArrayLike | None, layouts: Sequence[Layout], *, nest: bool
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Cut a map whose missing values are NaN, see `cut`."""
    where, nside = _prepare(values, layouts)
    observed = None if observed is None else as_mask(observed, taker="tiling.cut")
    seen = np.empty(0, dtype=np.bool_) if observed is None else same_sky(values, observed)
    dtype = np.float32 if values.dtype.type in (np.float32, np.bool_) else np.float64
    shape = _shape(layouts)
    tiles = np.empty(shape, dtype)
    weights = np.empty(shape if seen.size else (0, 0, 0), dtype)
    kernels.cut_bilinear(
        nside,
        ring_table(nside),
        *where.grid,
        _plain(values, np.bool_ if values.dtype.type is np.bool_ else dtype),
        seen,
        nest,
        np.empty((BLOCKS, 3, shape[2])),
        tiles,
        weights,
    )
    return tiles, weights if seen.size else np.broadcast_to(dtype(1), shape)


def cut_nearest(
    values: ArrayLike, layouts: Sequence[Layout], *, nest: bool = False
) -> NDArray[Any]:
    """Cut a map into tiles, copying the map pixel in which each tile pixel's centre lies.

    Parameters
    ----------
    values
        ``(npix,)``, any dtype: a mask, labels, a map.
    layouts
        Tiles of one shape.
    nest
        Ordering of the map.

    Returns
    -------
    ``(ntile, ny, nx)``, in the map's dtype.

    Raises
    ------
    ValueError
        If map or layouts differ in resolution, or layouts in shape.

    """
    values = _any_map(values)
    where, nside = _prepare(values, layouts)
    dtype = values.dtype.newbyteorder("=")
    tiles = np.empty(_shape(layouts), dtype=dtype)
    kernels.cut_nearest(nside, *where.grid, _plain(values, dtype), nest, tiles)
    return tiles


def sees(
    observed: ArrayLike, layouts: Sequence[Layout], *, guard: int = 0, threshold: float
) -> NDArray[np.bool_]:
    """Tell which tiles contain data: at least one pixel with enough weight from `cut`.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, True where observed.
    layouts
        Tiles of one shape.
    guard
        Number of pixels along the border that are ignored.
    threshold
        Smallest weight that counts, above 0.

    Returns
    -------
    ``(ntile,)``.

    Raises
    ------
    ValueError
        If mask and layouts differ in resolution, layouts in shape, the guard leaves no pixel, or
        the threshold is not above 0.

    """
    if not threshold > 0:
        raise ValueError(f"a weight that counts is above 0, got {threshold}")
    observed = as_mask(observed, taker="tiling.sees")
    where, nside = _prepare(observed, layouts)
    out = np.zeros(len(layouts), np.bool_)
    if not out.size:
        return out
    ny, nx = layouts[0].shape
    inner = replace(layouts[0], shape=(ny - 2 * guard, nx - 2 * guard))
    dark = Runs.of(observed, False)
    search.sees(
        nside,
        ring_table(nside),
        (dark.first, dark.stop, dark.begin),
        # the pixels around a point lie within two of their radii; a third one allows for rounding
        (where.centre, np.full(out.size, inner.radius + 3 * pixel_radius(nside))),
        where.grid,
        (ny, nx, guard),
        _plain(observed, np.bool_),
        threshold,
        out,
    )
    return out


def gather(
    values: ArrayLike,
    layouts: Sequence[Layout],
    *,
    window: NDArray[np.float64],
    passes: int = 3,
    nest: bool = False,
) -> NDArray[np.float64]:
    """Cut a whole map into tiles that reproduce it when pasted.

    A single bilinear cut smooths: at the wavelengths of ell = nside it keeps about 93% of the
    amplitude. Each further pass cuts the residual, map - paste(tiles), and adds it. With n passes
    the relative loss is raised to the power n. Two passes return C_ell within 1% up to ell = nside,
    three within 0.2%.

    Parameters
    ----------
    values
        ``(npix,)``, finite. Fill a map with holes first, for example by `skyfill.diffuse`.
    layouts
        Tiles of one shape.
    window
        ``(ny, nx)``, the window under which the tiles will be pasted.
    passes
        1 for a plain cut.
    nest
        Ordering of the map.

    Returns
    -------
    ``(ntile, ny, nx)``.

    Raises
    ------
    ValueError
        As `cut` and `Paster` do, and for fewer than one pass.

    """
    values = np.asarray(as_map(values, taker="tiling.gather"), dtype=np.float64)
    return repeated(values, layouts, cut, paste, window=window, passes=passes, nest=nest, planes=())


def repeated(
    values: NDArray[np.float64],
    layouts: Sequence[Layout],
    cutter: Callable[..., tuple[NDArray[Any], NDArray[Any]]],
    paster: Callable[..., tuple[NDArray[np.float64], NDArray[np.float64]]],
    *,
    window: NDArray[np.float64],
    passes: int,
    nest: bool,
    planes: tuple[int, ...],
    relaxation: float = 1.0,
) -> NDArray[np.float64]:
    """Cut a whole map in several passes with one cutter and paster: `gather` of any field.

    Tiles of the residual are multiplied by ``relaxation`` before they are added.
    """
    if passes < 1:
        raise ValueError(f"gathering takes at least one pass, got {passes}")
    missing = int(np.count_nonzero(np.isnan(values)))
    if missing:
        raise ValueError(
            f"a map to gather must be whole, {missing} pixels are missing; fill it first"
        )
    nside = nside_of(values[0] if planes else values, "values")
    count, *shape = _shape(layouts)
    tiles = np.empty((count, *planes, *shape))
    residual = np.zeros(values.shape if passes > 1 else (*planes, 0))
    size = max(1, BATCH // window.size)
    for start in range(0, len(layouts), size):
        part = slice(start, start + size)
        some = layouts[part]
        tiles[part], _ = cutter(values, None, some, nest=nest)
        pixels = pixels_near(nside, some) if passes > 1 else np.empty(0, dtype=np.int64)
        here = pixels if nest else nest_to_ring(nside, pixels)
        for _ in range(passes - 1):
            pasted, _ = paster(tiles[part], some, pixels, window=window, nest=True)
            residual[..., here] = np.nan_to_num(values[..., here] - pasted)
            more = cutter(residual, None, some, nest=nest)[0]
            tiles[part] += more if relaxation == 1.0 else relaxation * more
        residual[..., here] = 0.0
    return tiles


def _any_map(values: ArrayLike) -> NDArray[Any]:
    """Return a map of any dtype of numbers; integers, such as labels, stay integers."""
    masked = isinstance(values, np.ma.MaskedArray)
    if isinstance(values, np.ndarray) and not masked and values.dtype.kind in "biu":
        return one_component(values, "values", "tiling.cut_nearest")
    return as_map(values, taker="tiling.cut_nearest")


def _prepare(values: NDArray[Any], layouts: Sequence[Layout]) -> tuple[Frames, int]:
    nside = nside_of(values, "values")
    if any(layout.nside != nside for layout in layouts):
        raise ValueError(f"the layouts are not for a map of Nside {nside}")
    return frames(layouts), nside


def _shape(layouts: Sequence[Layout]) -> tuple[int, int, int]:
    return (len(layouts), *(layouts[0].shape if layouts else (0, 0)))


def _plain(values: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    return np.ascontiguousarray(values, dtype=dtype)
