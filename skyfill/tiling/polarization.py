"""Cut tiles of Q and U from maps, and paste them, with the rotation that spin 2 needs.

A tile holds Q and U with respect to its own axes: south and east at its reference point, carried
along great circles (gnomonic), or its own meridians (plate carrée). Each of the four source pixels
is turned into these axes before they are interpolated, and each pasted value is turned back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skyfill.healpix import ring_table
from skyfill.healpix.arrays import as_map, as_mask
from skyfill.healpix.stokes import nside_of, same_sky
from skyfill.tiling import turning
from skyfill.tiling.cutting import BLOCKS, repeated
from skyfill.tiling.layout import frames
from skyfill.tiling.pasting import Paster

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from skyfill.tiling.layout import Layout

__all__ = [
    "PolarizationPaster",
    "cut_polarization",
    "gather_polarization",
    "meridian_turns",
    "paste_polarization",
]

#: Factor of the tiles of the residual in a further pass. A cut keeps 93% of the amplitude at the
#: wavelengths of ell = nside; what it loses of E is in part turned into B. With 1.12, measured
#: among 1 to 1.2, a second pass leaves half as much B at ell = nside, and no more at low ell.
_RELAXATION = 1.12


def cut_polarization(
    values: ArrayLike,
    observed: ArrayLike | None,
    layouts: Sequence[Layout],
    *,
    nest: bool = False,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Cut Q and U into tiles, in the axes of each tile; otherwise as `cut`.

    Parameters
    ----------
    values
        ``(2, npix)``, Q and U, any unit, U with the sign of HEALPix (COSMO).
    observed
        ``(npix,)``, True where observed; None if all pixels are.
    layouts
        Tiles of one shape.
    nest
        Ordering of the maps.

    Returns
    -------
    tiles
        ``(ntile, 2, ny, nx)``, Q and U, float32 for float32 maps, else float64; 0 where nothing is
        observed. The axes are south and east at the tile's reference point, carried along great
        circles, for a gnomonic tile; those of its own meridians for plate carrée.
    weights
        ``(ntile, ny, nx)``, as from `cut`.

    Raises
    ------
    ValueError
        If maps or layouts differ in resolution, layouts in shape, or ``values`` are not two maps.

    Examples
    --------
    >>> import numpy as np, skyfill
    >>> layout = skyfill.Layout(64, 30.0, 0.0, shape=(32, 32), pixel_arcmin=30.0)
    >>> maps = np.stack([np.ones(12 * 64**2), np.zeros(12 * 64**2)])
    >>> tiles, weights = skyfill.tiling.cut_polarization(maps, None, [layout])
    >>> tiles.shape, bool(np.allclose(np.hypot(*tiles[0]), 1, atol=0.01))
    ((1, 2, 32, 32), True)

    """
    maps = _two_maps(values, "tiling.cut_polarization")
    nside = nside_of(maps[0], "values")
    if any(layout.nside != nside for layout in layouts):
        raise ValueError(f"the layouts are not for a map of Nside {nside}")
    seen = np.empty(0, dtype=np.bool_)
    if observed is not None:
        seen = same_sky(maps[0], as_mask(observed, taker="tiling.cut_polarization"))
    where = frames(layouts)
    shape = layouts[0].shape if layouts else (0, 0)
    tiles = np.empty((len(layouts), 2, *shape), maps.dtype)
    weights = np.empty((len(layouts), *shape) if seen.size else (0, 0, 0), maps.dtype)
    turning.cut_bilinear(
        nside,
        ring_table(nside),
        *where.grid,
        maps,
        np.ascontiguousarray(seen),
        nest,
        np.empty((BLOCKS, 3, shape[1])),
        tiles,
        weights,
    )
    if not seen.size:
        weights = np.broadcast_to(maps.dtype.type(1), (len(layouts), *shape))
    return tiles, weights


class PolarizationPaster(Paster):
    """Blend tiles of Q and U, turned into the axes of each pixel; otherwise as `Paster`.

    `add` takes tiles ``(ntile, 2, ny, nx)``, as `cut_polarization` gives them; the values of
    `result` are ``(2, n)``.

    Parameters
    ----------
    nside, ipix, nest, order
        As for `Paster`.

    Raises
    ------
    ValueError
        As for `Paster`.

    """

    _planes = (2,)
    _kernel = staticmethod(turning.add_tiles)


def paste_polarization(
    tiles: NDArray[Any],
    layouts: Sequence[Layout],
    ipix: ArrayLike,
    *,
    window: NDArray[np.float64],
    nest: bool = False,
    order: int = 3,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Blend tiles of Q and U at the centres of chosen pixels, turned into the pixels' axes.

    Parameters
    ----------
    tiles
        ``(ntile, 2, ny, nx)``, finite, in the axes of the tiles.
    layouts
        Where they lie, at least one.
    ipix, window, nest, order
        As for `paste`.

    Returns
    -------
    The values, and their weights
        ``(2, n)``, Q and U, NaN at pixels without a tile; and ``(n,)``.

    Raises
    ------
    ValueError
        There are no layouts, or as for `Paster`.

    Examples
    --------
    >>> import numpy as np, skyfill
    >>> layout = skyfill.Layout(64, 30.0, 85.0, shape=(32, 32), pixel_arcmin=30.0)
    >>> known = {"fwhm": 0.05, "noise_uk_arcmin": 0.0, "theory": skyfill.prior.LCDM}
    >>> prior = skyfill.Prior(64, skyfill.lcdm(), **known)
    >>> prior = skyfill.prior.PolarizedPrior.of(prior)
    >>> skies = skyfill.prior.draw_polarization(prior, seed=1)[0]
    >>> tiles, _ = skyfill.tiling.cut_polarization(skies, None, [layout])
    >>> ipix = np.flatnonzero(skyfill.discs(64, np.radians([30]), np.radians([85]), 0.05) == 0)
    >>> window = skyfill.blending.window((32, 32))
    >>> values, weight = skyfill.tiling.paste_polarization(tiles, [layout], ipix, window=window)
    >>> bool(np.corrcoef(values.ravel(), skies[:, ipix].ravel())[0, 1] > 0.99)
    True

    """
    if not layouts:
        raise ValueError("there is no tile to paste")
    paster = PolarizationPaster(layouts[0].nside, ipix, nest=nest, order=order)
    paster.add(tiles, layouts, window)
    return paster.result()


def gather_polarization(
    values: ArrayLike,
    layouts: Sequence[Layout],
    *,
    window: NDArray[np.float64],
    passes: int = 3,
    nest: bool = False,
) -> NDArray[np.float64]:
    """Cut whole maps of Q and U into tiles that reproduce them when pasted, as `gather` does.

    With tile pixels of 0.75 of a map pixel, two passes turn less than 1e-3 of the lensing B modes'
    power out of the E modes of ΛCDM, at any l up to Nside.

    Parameters
    ----------
    values
        ``(2, npix)``, Q and U, finite.
    layouts, window, passes, nest
        As for `gather`.

    Returns
    -------
    ``(ntile, 2, ny, nx)``, in the axes of the tiles.

    Raises
    ------
    ValueError
        As `cut_polarization` and `PolarizationPaster` do, and for fewer than one pass.

    """
    maps = np.asarray(_two_maps(values, "tiling.gather_polarization"), dtype=np.float64)
    return repeated(
        *(maps, layouts, cut_polarization, paste_polarization),
        window=window,
        passes=passes,
        nest=nest,
        planes=(2,),
        relaxation=_RELAXATION,
    )


def meridian_turns(layout: Layout) -> NDArray[np.complex128]:
    """Give e^{2iκ} of each tile pixel: P in the sky's south and east is e^{2iκ} P of the tile.

    Parameters
    ----------
    layout
        Where the tile lies.

    Returns
    -------
    ``(ny, nx)``. Within 1e-7 of a pole, south is that of longitude zero.
    """
    out = np.empty(layout.shape, np.complex128)
    turning.turns(*frames([layout]).grid, out[None])
    return out


def _two_maps(values: ArrayLike, taker: str) -> NDArray[Any]:
    """Return Q and U as one contiguous array, float32 or float64."""
    listed = values if isinstance(values, list | tuple) else np.asanyarray(values)
    if len(listed) != 2 or any(np.ndim(each) != 1 for each in listed):
        raise ValueError(f"values must be (2, npix), Q and U, got {np.shape(listed)}")
    maps = [as_map(each, taker=taker) for each in listed]
    kind = np.float32 if all(each.dtype == np.float32 for each in maps) else np.float64
    return np.ascontiguousarray(np.stack(maps), dtype=kind)
