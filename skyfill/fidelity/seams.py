"""Look for seams: lines along which a filled map does not go on as it does elsewhere.

Two neighbours on either side of a hole's edge should differ as much as any two neighbours of the
observed sky, and so should the slopes on either side. The mean squares of both, first and second
differences over the edge, are divided by those in the observed sky, at the same distance from the
equator, where HEALPix pixels have the same shapes. The borders of tiles inside holes are looked at
in the same way, beside lines inside holes that are no border.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.fidelity.figures import Figure, jackknife, judge
from skyfill.healpix import neighbours, pixel_directions, pixels_towards
from skyfill.healpix.arrays import as_map, pair_of
from skyfill.healpix.stokes import nside_of

__all__ = ["PATCH_NSIDE", "NoEdgeError", "border_seams", "patches", "seams"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]
#: Resolution of the patches, of 15° each, that errors are jackknifed over.
PATCH_NSIDE = 4
_BELTS = 24
_PIECE = 1 << 19
#: Pixels of the observed sky that are looked at, at most.
_SAMPLE = 1 << 21


class NoEdgeError(ValueError):
    """There is no edge, or nothing away from edges to compare it with."""


def patches(nside: int, pixels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the patch of the sky, a pixel of Nside 4, that each RING pixel lies in."""
    out = np.empty(pixels.size, np.int64)
    for start in range(0, pixels.size, _PIECE):
        part = slice(start, start + _PIECE)
        out[part] = pixels_towards(PATCH_NSIDE, pixel_directions(nside, pixels[part]))
    return out


def seams(values: ArrayLike, observed: ArrayLike, outside: Mask | None = None) -> dict[str, Figure]:
    """Compare differences over the edges of holes with those in the observed sky.

    Parameters
    ----------
    values
        ``(npix,)``, µK, RING, filled.
    observed
        ``(npix,)``, RING, False in the holes.
    outside
        ``(npix,)``, RING: what is neither observed nor filled, which has no seams.

    Returns
    -------
    ``seam_step`` and ``seam_slope``: mean squares of first and second differences over the edge,
    over those of the observed sky; one for a fill like the sky around it, less for one that is
    smoother, errors jackknifed over patches of 15°.

    Raises
    ------
    ValueError
        There is no hole, or no observed pixel whose neighbours are all observed.
    """
    values, observed = pair_of(values, observed, taker="fidelity.seams")
    regions = (~observed).astype(np.int64)
    if outside is not None:
        regions[outside] = -1
    return _compare("seam", values, regions, regions == 1, observed)


def border_seams(values: ArrayLike, regions: NDArray[np.int64]) -> dict[str, Figure]:
    """Compare differences over the borders of regions, such as tiles, with those inside them.

    Parameters
    ----------
    values
        ``(npix,)``, µK, RING.
    regions
        ``(npix,)``, RING: number of the region (of the tile that has most weight, as
        `skyfill.Inpainter.tile_regions` gives it); -1 where nothing is to be looked at.

    Returns
    -------
    ``border_step`` and ``border_slope``: mean squares of first and second differences over the
    borders between regions, over those inside regions; one where a border is like any other line,
    errors jackknifed over patches of 15°.

    Raises
    ------
    ValueError
        The regions are not whole numbers, or of another Nside; there is one region only, or none
        has an inside (`NoEdgeError`).
    """
    values, regions = as_map(values, taker="fidelity.border_seams"), np.asarray(regions)
    if regions.dtype.kind not in "iu" or regions.shape != values.shape:
        raise ValueError(
            f"regions must be whole numbers, one for each of the {values.size} pixels of the map;"
            f" got {regions.dtype} of shape {regions.shape}"
        )
    looked_at = (regions >= 0) & np.isfinite(values)
    regions = np.where(looked_at, regions, -1).astype(np.int64, copy=False)
    return _compare("border", values, regions, looked_at, looked_at)


def _compare(
    family: str, values: Map, regions: NDArray[np.int64], border: Mask, inside: Mask
) -> dict[str, Figure]:
    """Sum squares over borders from the pixels of one mask, and elsewhere from those of another."""
    over = np.flatnonzero(border)
    within = np.flatnonzero(inside)
    within = within[:: max(1, within.size // _SAMPLE)]
    # Axes: step or slope; patch; belt; sum and count.
    edge, sky = (np.zeros((2, 12 * PATCH_NSIDE**2, _BELTS, 2)) for _ in range(2))
    for where, kind, square, crosses in _differences(values, regions, over):
        _add(edge[kind], where, square, crosses)
    for where, kind, square, crosses in _differences(values, regions, within):
        _add(sky[kind], where, square, ~crosses)
    figures = {}
    names = (f"{family}_step", f"{family}_slope")
    for name, ours, theirs in zip(names, edge, sky, strict=True):
        if not ours[..., 1].any() or not theirs[..., 1].any():
            raise NoEdgeError("there is no edge, or no sky away from edges to compare it with")
        used = (ours + theirs)[..., 1].any(axis=1)
        value, error = jackknife(_ratio, ours[used], theirs[used])
        figures[name] = judge(name, value, 1.0, error)
    return figures


def _differences(
    values: Map, regions: NDArray[np.int64], pixels: NDArray[np.int64]
) -> Iterator[tuple[tuple[NDArray[np.int64], NDArray[np.int64]], int, Map, Mask]]:
    """Give patch and belt, kind (0 step, 1 slope), squares, and whether they cross a border."""
    nside = nside_of(values, "values")
    for start in range(0, pixels.size, _PIECE):
        part = pixels[start : start + _PIECE]
        directions = pixel_directions(nside, part)
        where = (
            pixels_towards(PATCH_NSIDE, directions),
            np.minimum((np.abs(directions[:, 2]) * _BELTS).astype(np.int64), _BELTS - 1),
        )
        around = neighbours(nside, part)[:, ::2]  # through sides: SW, NW, NE, SE; all exist
        here, there = values[part], values[around]
        known = (regions[around] >= 0) & np.isfinite(there)
        other = regions[around] != regions[part, None]
        for side in range(4):
            square = (here - there[:, side]) ** 2
            yield _only(where, 0, square, other[:, side], known[:, side])
        for side in (0, 1):
            bend = (there[:, side] - 2 * here + there[:, side + 2]) ** 2
            both = known[:, side] & known[:, side + 2]
            yield _only(where, 1, bend, other[:, side] | other[:, side + 2], both)


def _only(
    where: tuple[NDArray[np.int64], NDArray[np.int64]],
    kind: int,
    square: Map,
    crosses: Mask,
    known: Mask,
) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], int, Map, Mask]:
    return (where[0][known], where[1][known]), kind, square[known], crosses[known]


def _add(
    sums: Map, where: tuple[NDArray[np.int64], NDArray[np.int64]], square: Map, taken: Mask
) -> None:
    place = (where[0] * _BELTS + where[1])[taken]
    size = sums.shape[0] * _BELTS
    sums[..., 0] += np.bincount(place, square[taken], minlength=size).reshape(-1, _BELTS)
    sums[..., 1] += np.bincount(place, minlength=size).reshape(-1, _BELTS)


def _ratio(edge: Map, sky: Map) -> Map:
    """Give the mean square over edges over that of the sky in the same belts, ``(n,)``."""
    known = sky[..., 1] > 0
    mean = np.divide(sky[..., 0], sky[..., 1], out=np.zeros(known.shape), where=known)
    expected = np.sum(mean * edge[..., 1] * known, axis=1)
    found = np.sum(edge[..., 0] * known, axis=1)
    out = np.full(len(expected), np.nan)
    np.divide(found, expected, out=out, where=expected > 0)
    return out
