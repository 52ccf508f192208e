"""Make and change masks, and find the holes in them.

A mask is (npix,) booleans in RING order, true where the sky is *observed*; (3, npix) where each
Stokes component (I, Q, U) has its own. A hole is a connected set of unobserved pixels; pixels that
share a side or a corner are connected.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.brief import brief
from skyfill.healpix import pixel_directions
from skyfill.healpix.arrays import as_mask, as_stokes_map, as_stokes_mask, check_angles
from skyfill.healpix.checks import check_angle, check_nside, check_whole
from skyfill.healpix.jit import by_pieces
from skyfill.healpix.stokes import by_component, nside_of, one_component, same_sky, sky_shape
from skyfill.holes.catalogue import Sources, pole_of_galaxy, read_catalogue, read_sources
from skyfill.holes.reading import ApodisedMaskError, read_mask, read_weights
from skyfill.holes.reprojection import reproject_mask
from skyfill.holes.runs import Runs
from skyfill.holes.spread import spread
from skyfill.holes.weights import frame_letter, regrade_mask, rotate_mask
from skyfill.maps.sentinels import repeated_value

__all__ = [
    "HOLES",
    "MOST_MISSING",
    "ApodisedMaskError",
    "Holes",
    "Sources",
    "UnusableSkyError",
    "disc_pixels",
    "discs",
    "distance_to_edge",
    "enclosed_holes",
    "fill_islands",
    "find_holes",
    "frame_letter",
    "galactic_cut",
    "grow",
    "holes_of",
    "holes_to_fill",
    "label_holes",
    "read_catalogue",
    "read_mask",
    "read_sources",
    "read_weights",
    "regions_with",
    "regrade_mask",
    "reproject_mask",
    "rotate_mask",
]


#: Choices of the holes to fill.
HOLES = ("all", "enclosed")
#: Missing share of the sky above which filling all of it must be requested explicitly. Galactic
#: masks are below it, patches of the sky above.
MOST_MISSING = 0.6
#: Largest plausible temperature, µK. Even the Galaxy at 857 GHz stays below it in K_CMB.
_HOTTEST = 1e15


class UnusableSkyError(ValueError):
    """The map and the mask do not allow a fill."""


@dataclass(frozen=True, eq=False)
class Holes:
    """The connected holes of a mask."""

    __repr__ = brief

    labels: NDArray[np.int32] = field(repr=False)
    """``(npix,)``, RING: the number of the hole, -1 where observed. Holes are numbered from 0 in
    the order of their first pixels."""
    sizes: NDArray[np.int64]
    """``(nhole,)``: the number of pixels in each hole."""


def find_holes(values: ArrayLike, observed: ArrayLike) -> NDArray[np.bool_]:
    """Combine the unobserved pixels of a mask and the missing pixels of a map.

    A warning gives the number of missing pixels that the mask marks as observed. Of three
    components, Q and U get the same holes, because neither is of use without the other.

    Parameters
    ----------
    values
        (npix,) or (3, npix), RING, NaN where missing.
    observed
        (npix,), RING, for all components; or in the shape of ``values``.

    Returns
    -------
        In the shape of ``values``, RING, true in the holes.

    Raises
    ------
    UnusableSkyError
        (A ValueError.) Map and mask have different Nside, there is no hole, or a component has no
        observed pixel.

    """
    values, observed = as_stokes_map(values), as_stokes_mask(observed)
    try:
        observed = same_sky(values, observed)
    except ValueError as error:
        raise UnusableSkyError(str(error)) from None
    return holes_of(values, observed, stacklevel=3)


def holes_of(
    values: NDArray[np.floating], observed: NDArray[np.bool_], *, stacklevel: int = 2
) -> NDArray[np.bool_]:
    """Do as `find_holes` for a map and a mask of one shape that are known to be such."""
    if not observed.any(axis=-1).all():
        raise UnusableSkyError(
            "the mask leaves no pixel observed; if its 1 means masked, read it with `invert=True`"
        )
    holes: NDArray[np.bool_] = np.isnan(values)
    holes |= ~observed
    if len(sky_shape(values, "values").stokes) > 1:
        holes[1] |= holes[2]
        holes[2] = holes[1]
    _refuse_impossible(values, observed)
    if not holes.any():
        raise UnusableSkyError(
            "there is nothing to fill: the mask has no hole and the map misses nothing"
        )
    if holes.all(axis=-1).any():
        raise UnusableSkyError(
            "nothing is left to fill from: the map misses every pixel that is observed"
        )
    # All pixels that are not observed are holes: what is more in the two is in both.
    forgotten = int(np.count_nonzero(holes) + np.count_nonzero(observed)) - observed.size
    if forgotten:
        warnings.warn(
            f"{forgotten} pixels that the mask calls observed are missing in the map;"
            " they are holes, too",
            stacklevel=stacklevel,
        )
    known = ~holes
    for sky, seen in zip(np.atleast_2d(values), np.atleast_2d(known), strict=True):
        _warn_of_repeats(sky, seen, stacklevel=stacklevel + 1)
    return holes


def _warn_of_repeats(
    values: NDArray[np.floating], observed: NDArray[np.bool_], *, stacklevel: int
) -> None:
    """Warn if many observed pixels share one value, for example 0 for "no data"."""
    found = repeated_value(values, observed)
    if found is not None:
        value, count = found
        warnings.warn(
            f"{count} pixels that the mask calls observed hold exactly {value:.9g} µK, and no other"
            " value is nearly as frequent; if that means no data, pass `missing` with this value in"
            " the file's unit, or mask these pixels",
            stacklevel=stacklevel,
        )


def _refuse_impossible(values: NDArray[np.floating], observed: NDArray[np.bool_]) -> None:
    """Refuse observed values that are too large for a temperature."""
    low, high = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
    extreme = max(-float(low), float(high))
    if not extreme > _HOTTEST:
        return
    wrong = (np.abs(values) > _HOTTEST) & observed
    if wrong.any():
        raise UnusableSkyError(
            f"{np.count_nonzero(wrong)} observed pixels hold numbers such as "
            f"{values.flat[np.argmax(wrong)]:.6g}, no temperatures in µK; set them to NaN where "
            "nothing was observed"
        )


def enclosed_holes(
    observed: NDArray[np.bool_], footprint: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_]:
    """Find the holes enclosed by an observed patch of the sky.

    Without a footprint, a hole is *enclosed* if it has fewer pixels than the observed regions that
    touch it have together. Otherwise it is outside. The sky around one or several patches is
    outside, and so is a hole that is connected to it through a side or a corner of a pixel. Discs
    in a patch are enclosed, and so is a moat around an island of observed pixels. A Galactic band
    is enclosed if it is smaller than the two observed caps together. If a patch covers more than
    half of the sky, the rest of the sky counts as enclosed; only a footprint can exclude it.

    Parameters
    ----------
    observed
        ``(npix,)``, RING.
    footprint
        ``(npix,)``, RING, true inside. Then the enclosed pixels are the unobserved ones inside.

    Returns
    -------
        ``(npix,)``, RING, true in enclosed holes.

    Raises
    ------
    ValueError
        The footprint has another Nside.

    """
    nside, observed = _mask(observed, "enclosed_holes")
    if footprint is not None:
        footprint = one_component(footprint, "footprint", "enclosed_holes")
        if footprint.shape != observed.shape:
            other = nside_of(footprint, "footprint")
            raise ValueError(
                f"the footprint has Nside {other}, the mask has Nside {nside}; give a pair"
            )
        inside: NDArray[np.bool_] = ~observed & footprint
        return inside
    holes, sky = Runs.of(observed, False), Runs.of(observed)
    labels, sizes = holes.regions
    around = np.zeros(sizes.size, np.int64)
    hole, region = holes.touching(sky)
    np.add.at(around, hole, sky.regions[1][region])
    enclosed = np.zeros_like(observed)
    holes.paint((sizes < around)[labels], enclosed)
    return enclosed


def regions_with(pixels: NDArray[np.bool_], some: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Choose the connected regions of a set of pixels that contain one of some pixels.

    Parameters
    ----------
    pixels, some
        ``(npix,)``, RING.

    Returns
    -------
        ``(npix,)``, RING, true in these regions.

    """
    runs = Runs.of(np.ascontiguousarray(pixels, np.bool_))
    labels, sizes = runs.regions
    has = np.add.reduceat(some, runs.first) if runs.first.size else np.zeros(0, np.int64)
    out = np.zeros_like(pixels)
    runs.paint((np.bincount(labels, has, minlength=sizes.size) > 0)[labels], out)
    return out


def check_holes(holes: object) -> None:
    """Raise ValueError unless a choice of holes is one of `HOLES`, or None."""
    if holes not in (None, *HOLES):
        raise ValueError(f"`holes={holes!r}` is unknown; choose one of {', '.join(HOLES)}")


def holes_to_fill(
    observed: NDArray[np.bool_],
    *,
    holes: str | None = None,
    footprint: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Choose the unobserved pixels that are to be filled.

    Parameters
    ----------
    observed
        ``(npix,)``, RING.
    holes
        ``all``, or ``enclosed`` (see `enclosed_holes`). None means all, and is refused if more than
        60% of the sky is missing.
    footprint
        ``(npix,)``, RING, true inside. Only holes inside are filled.

    Returns
    -------
        ``(npix,)``, RING.

    Raises
    ------
    UnusableSkyError
        (A ValueError.) More than 60% of the sky is missing and neither argument is given, there is
        nothing to fill, or the arguments contradict each other.

    """
    check_holes(holes)
    if footprint is not None:
        if holes == "all":
            raise UnusableSkyError(
                "`holes='all'` fills the whole sphere and `footprint` a part of it; pass one of"
                " them"
            )
        chosen = enclosed_holes(observed, footprint)
        if not chosen.any():
            raise UnusableSkyError("the footprint has no hole: all its pixels are observed")
        return chosen
    if holes == "enclosed":
        chosen = enclosed_holes(observed)
        if not chosen.any():
            raise UnusableSkyError(
                "no hole is enclosed by observed sky; pass `footprint=...` to define the inside, "
                "or `holes='all'`"
            )
        return chosen
    observed = one_component(observed, "observed", "holes_to_fill")
    missing = 1 - np.count_nonzero(observed) / observed.size
    if holes is None and missing > MOST_MISSING:
        raise UnusableSkyError(
            f"{100 * missing:.3g}% of the sky is missing: pass `holes='enclosed'` to fill only the"
            " holes inside the observed patch, `footprint=...` to define its inside, or"
            " `holes='all'` to fill the whole sphere"
        )
    return ~observed


def label_holes(observed: ArrayLike) -> Holes:
    """Label the connected holes of a mask.

    Parameters
    ----------
    observed
        ``(npix,)``, RING.

    """
    observed = as_mask(observed, taker="label_holes")
    runs = Runs.of(observed, False)
    numbers, sizes = runs.regions
    labels = np.full(observed.size, -1, np.int32)
    runs.paint(numbers, labels)
    return Holes(labels, sizes)


def fill_islands(observed: ArrayLike, max_pixels: int) -> NDArray[np.bool_]:
    """Mask the small observed islands within holes.

    Parameters
    ----------
    observed
        (npix,) or (3, npix), RING.
    max_pixels
        Largest number of pixels of an island that is masked.

    Returns
    -------
        In the shape of `observed`, RING, the mask without connected observed regions of up to
        `max_pixels`.

    """
    most = check_whole(max_pixels, "max_pixels")
    return by_component(lambda seen: _without_islands(seen, most), as_stokes_mask(observed))


def _without_islands(seen: NDArray[np.bool_], most: int) -> NDArray[np.bool_]:
    """Mask the small islands of one component."""
    regions = label_holes(~seen)
    # One more for the label -1 of pixels outside: numpy takes it from the end.
    large = np.append(regions.sizes > most, False)
    kept: NDArray[np.bool_] = large[regions.labels]
    return kept


def distance_to_edge(observed: ArrayLike, *, of_observed: bool = False) -> NDArray[np.float64]:
    """Measure how far each hole pixel is from the nearest observed pixel.

    A vector distance transform passes the nearest pixel from neighbour to neighbour. About 99% of
    the pixels get their nearest pixel; the others get one that is up to 0.3 pixels farther.

    Parameters
    ----------
    observed
        (npix,) or (3, npix), RING.
    of_observed
        Measure from the observed pixels to the nearest hole pixel instead.

    Returns
    -------
        In the shape of `observed`, RING, radians between pixel centres; 0 in the other pixels,
        infinite if there is nothing to measure to.

    """
    seen = as_stokes_mask(observed)
    nside = sky_shape(seen, "observed").nside
    return by_component(lambda each: _distance(nside, each if of_observed else ~each), seen)


def grow(observed: ArrayLike, radius: float) -> NDArray[np.bool_]:
    """Enlarge the holes of a mask by a radius.

    Parameters
    ----------
    observed
        (npix,) or (3, npix), RING.
    radius
        Radians between pixel centres; `distance_to_edge` says how accurate the new edge is.

    Returns
    -------
        In the shape of `observed`, RING, the mask with larger holes.

    Raises
    ------
    ValueError
        The radius is not from 0 to π.

    Examples
    --------
    >>> import numpy as np, skyfill
    >>> observed = skyfill.galactic_cut(16, np.radians(10))
    >>> larger = skyfill.grow(observed, np.radians(5))
    >>> bool(larger.sum() < observed.sum()), bool((larger <= observed).all())
    (True, True)

    """
    radius = check_angle(radius, "radius")
    seen = as_stokes_mask(observed)
    nside = sky_shape(seen, "observed").nside
    return by_component(lambda each: each & np.isinf(_chords(nside, each, limit=radius)), seen)


def _distance(nside: int, inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Give the distance of pixels inside to the nearest one outside; infinite if there is none."""
    chord = _chords(nside, inside, limit=math.pi)

    def angle(here: slice) -> None:
        some = chord[here]
        known = np.flatnonzero((some > 0.0) & np.isfinite(some))
        some[known] = 2.0 * np.arcsin(0.5 * np.sqrt(np.minimum(some[known], 4.0)))

    by_pieces(chord.size, angle)
    return chord


def _chords(nside: int, inside: NDArray[np.bool_], *, limit: float) -> NDArray[np.float64]:
    """Give the squared chord to the nearest pixel outside; infinite beyond an angle, `limit`."""
    # Slightly above the limit, so that rounding loses no pixel at the edge.
    longest = (2.0 * math.sin(0.5 * min(limit, math.pi)) * (1.0 + 1e-9)) ** 2
    return spread(nside, inside, longest)


def galactic_cut(nside: int, latitude: float, *, coord: str | None = "G") -> NDArray[np.bool_]:
    """Mask a band around the Galactic plane.

    Parameters
    ----------
    nside
        Resolution.
    latitude
        Half width of the band, radians.
    coord
        Frame of the map: G, E (ecliptic) or C (equatorial).

    Returns
    -------
        ``(npix,)``, RING, true where the absolute Galactic latitude is at least `latitude`.

    Raises
    ------
    ValueError
        The latitude is not from 0 to π/2, or the frame is None.

    """
    latitude = check_angle(latitude, "latitude", most=math.pi / 2)
    nside = check_nside(nside)
    if coord not in ("G", "E", "C"):
        raise ValueError(
            f"the Galactic plane depends on the frame, and the map's is {coord or 'unknown'};"
            " pass `coord='G'`, 'E' or 'C'"
        )
    pole = pole_of_galaxy(coord)
    observed = np.empty(12 * nside**2, np.bool_)
    step = 1 << 22  # pixels per step
    for start in range(0, observed.size, step):
        pixels = np.arange(start, min(start + step, observed.size))
        height = pixel_directions(nside, pixels) @ pole
        observed[start : start + step] = np.abs(height) >= math.sin(latitude)
    return observed


def discs(nside: int, lon: ArrayLike, lat: ArrayLike, radius: ArrayLike) -> NDArray[np.bool_]:
    """Mask discs around points of the sky.

    Parameters
    ----------
    nside
        Resolution.
    lon, lat
        ``(n,)``, centres in the frame of the map, radians.
    radius
        ``(n,)`` or one for all, radians. Pixels with their centres in a disc are masked. The pixel
        that contains the centre of a disc is always masked.

    Returns
    -------
        ``(npix,)``, RING.

    Raises
    ------
    ValueError
        An angle is not finite, a latitude is beyond ±π/2, a longitude beyond ±4π, or a radius not
        from 0 to π. The angles may be degrees.

    """
    import healpy  # imported here because it takes a second to load

    nside = check_nside(nside)
    lon = check_angles(lon, "lon", least=-4 * math.pi, most=4 * math.pi)
    lat = check_angles(lat, "lat", least=-math.pi / 2, most=math.pi / 2)
    radius = check_angles(radius, "radius")
    if len({lon.size, lat.size, radius.size} - {1}) > 1:
        raise ValueError(
            f"lon, lat and radius must be of one length, or one for all; got {lon.size}, "
            f"{lat.size} and {radius.size}"
        )
    lon, lat, radius = np.broadcast_arrays(lon, lat, radius)
    observed = np.ones(12 * nside**2, np.bool_)
    if not lon.size:
        return observed
    centres = healpy.ang2vec(0.5 * np.pi - lat, lon)
    observed[healpy.vec2pix(nside, *centres.T)] = False
    for centre, size in zip(centres, radius, strict=True):
        observed[healpy.query_disc(nside, centre, size)] = False
    return observed


def disc_pixels(nside: int, centre: NDArray[np.float64], radius: float) -> NDArray[np.int64]:
    """Find the pixels with their centres in a disc.

    Parameters
    ----------
    nside
        Resolution.
    centre
        (3,), unit vector.
    radius
        Radians.

    Returns
    -------
        ``(n,)``, RING, ascending; empty if the disc contains no pixel centre.

    """
    import healpy  # takes a second to load

    radius = check_angle(radius, "radius")
    return np.sort(healpy.query_disc(check_nside(nside), centre, radius))


def _mask(observed: ArrayLike, taker: str) -> tuple[int, NDArray[np.bool_]]:
    """Return the Nside of a mask of one component, and the mask in the type that the loops need."""
    seen = as_mask(observed, taker=taker)
    return nside_of(seen, "observed"), seen
