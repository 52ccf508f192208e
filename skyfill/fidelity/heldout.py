"""Place copies of a mask's holes on clean sky, where the truth is known.

A hole is copied by a rotation that moves its centre to a clean place, with a random position angle.
The pixels of the copy are those whose centres, rotated back, lie in the hole, so that there are no
gaps. Holes too wide for any clean place, like a Galactic band, are replaced by discs that fit into
them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.brief import brief
from skyfill.healpix import pixel_directions, pixel_radius, pixels_towards
from skyfill.healpix.arrays import as_mask
from skyfill.healpix.checks import check_seed, check_whole
from skyfill.healpix.stokes import nside_of
from skyfill.holes import disc_pixels, distance_to_edge, label_holes

__all__ = ["HeldOut", "held_out_holes"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Distance kept between holes, in sizes of a pixel: neighbours touch at 1.5, obliquely.
_GAP = 3.0
#: Largest share of the held-out pixels in a single copy: the jackknife needs many copies.
_LARGEST = 0.1
#: Places that are tried together for a copy of a hole: testing many at once is fast.
_TRIES = 512
#: Rounds of such tries after which a hole is skipped, because there is no room for its copy.
_ROUNDS = 16
#: Separates these random numbers from others with the same seed.
_TAG = 0x4E1D


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Copies of holes on observed sky.

    Attributes
    ----------
    labels
        ``(npix,)``, RING: number of the copy, -1 elsewhere.
    centres
        ``(n, 2)``, longitude and latitude of each copy, radians.
    sizes
        ``(n,)``, number of pixels in each copy.
    radii
        ``(n,)``, distance of the farthest pixel from the centre, radians.
    sources
        ``(n,)``, number of the copied hole, as `label_holes` gives it.
    pieces
        ``(n,)``, whether the copy is a disc cut from a wider hole.
    """

    __repr__ = brief

    labels: NDArray[np.int64] = field(repr=False)
    centres: Map
    sizes: NDArray[np.int64]
    radii: Map
    sources: NDArray[np.int64]
    pieces: Mask

    @property
    def held_out(self) -> Mask:
        """``(npix,)``, RING, True in the copies."""
        return self.labels >= 0

    def as_list(self) -> list[dict[str, float | int | bool]]:
        """List the copies in types that JSON supports, angles in degrees."""
        return [
            {
                "lon_deg": math.degrees(lon),
                "lat_deg": math.degrees(lat),
                "pixels": int(size),
                "radius_deg": math.degrees(radius),
                "piece": bool(piece),
            }
            for (lon, lat), size, radius, piece in zip(
                self.centres, self.sizes, self.radii, self.pieces, strict=True
            )
        ]


def held_out_holes(
    observed: ArrayLike,
    *,
    holes: int | None = None,
    share: float = 0.05,
    seed: int = 0,
    sources: Mask | None = None,
) -> HeldOut:
    """Choose places on clean sky for copies of the holes.

    If some holes fit nowhere, half of the held-out pixels are in discs cut from them. A disc has
    the radius of the largest circle in its hole, or a smaller one if clean sky has no room for it.
    The rest are copies of holes drawn at random, repeatedly if there are few holes. No copy touches
    a hole or another copy.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, True where observed.
    holes
        Largest number of copies; as many as ``share`` allows if None.
    share
        Largest share of the observed pixels to hold out, so that the rest still represents the map.
    seed
        The same seed gives the same copies.
    sources
        ``(npix,)``, RING: pixels of the holes that may be copied; all holes if not given.

    Raises
    ------
    ValueError
        The mask has no hole, or there is no clean place for any copy; or ``share`` is not between 0
        and 1/2.
    """
    observed, seed = as_mask(observed, taker="fidelity.held_out_holes"), check_seed(seed)
    nside = nside_of(observed, "observed")
    if holes is not None:
        holes = check_whole(holes, "holes", least=1)
    if not 0 < share <= 0.5:
        raise ValueError(f"the share to hold out must be above 0 and at most 0.5, got {share}")
    if observed.all() or not observed.any():
        raise ValueError("a mask without holes, or without observed sky, has none to hold out")
    budget = share * np.count_nonzero(observed)
    search = _Search(observed, nside, np.random.default_rng([seed, _TAG]))
    lent = observed if sources is None else ~(sources & ~observed)
    if lent.all():
        raise ValueError("there is no hole to be copied")
    shapes = _Shapes(lent, nside, max(_LARGEST * budget, 1.0), search.room)
    wide, small = shapes.wide, shapes.small
    part = 0.5 if wide.size and small.size else 1.0
    count = observed.size if holes is None else holes
    room, many = part * budget, math.ceil(part * count)
    used = 0.0
    for number in range(many if wide.size else 0):
        pixels = search.place_disc(shapes, int(wide[number % wide.size]), room - used)
        if not pixels:
            break
        used += pixels
    room, many = budget - used, count - len(search.sizes)
    drawn = shapes.draw(search.rng, room, many) if small.size else []
    for hole in drawn:
        search.place_copy(shapes, hole)
    return search.found()


class _Shapes:
    """Holes that are copied, and holes that are too wide to be copied."""

    def __init__(self, observed: Mask, nside: int, largest: float, room: float) -> None:
        found = label_holes(observed)
        pixels = np.flatnonzero(~observed)
        self.labels, self.sizes, self.nside = found.labels, found.sizes, nside
        self._pixels = pixels
        depth = distance_to_edge(observed)[pixels]
        self.depth = np.zeros(found.sizes.size)
        np.maximum.at(self.depth, found.labels[pixels], depth)
        # Radius of a disc with the largest number of pixels of a copy.
        self.limit = math.acos(1 - min(2 * largest / observed.size, 1.0))
        fits = found.sizes <= largest
        self._centres, self._reach = self._frames(fits)
        fits &= self._reach <= room
        self.small, self.wide = np.flatnonzero(fits), np.flatnonzero(~fits)
        self.wide = self.wide[np.argsort(-self.sizes[self.wide], kind="stable")]
        # Thin wide holes beside a band are skipped: their discs would be too small.
        if self.wide.size:
            self.wide = self.wide[self.depth[self.wide] >= 0.5 * self.depth[self.wide].max()]

    def _frames(self, chosen: Mask) -> tuple[Map, Map]:
        """Give centres of chosen holes, and the angle to the farthest pixel of each."""
        label = self.labels[self._pixels]
        taken = chosen[label]
        label, directions = label[taken], pixel_directions(self.nside, self._pixels[taken])
        count = chosen.size
        mean = np.stack([np.bincount(label, x, minlength=count) for x in directions.T], axis=1)
        length = np.linalg.norm(mean, axis=1) / np.maximum(self.sizes, 1)
        centres = mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-300)
        away = np.arccos(np.clip(np.sum(directions * centres[label], axis=1), -1, 1))
        reach = np.zeros(count)
        np.maximum.at(reach, label, away)
        reach[length < 1e-6] = math.pi  # a ring around the sphere has no centre
        return centres, reach

    def frame(self, hole: int) -> tuple[Map, float]:
        """Give the centre of a hole and the angle to its farthest pixel."""
        return self._centres[hole], float(self._reach[hole])

    def draw(self, rng: np.random.Generator, room: float, many: int) -> list[int]:
        """Draw holes at random, with equal frequency, until they fill the room."""
        drawn: list[int] = []
        used = 0
        while len(drawn) < many:
            for hole in rng.permutation(self.small):
                if used + self.sizes[hole] > room and drawn:
                    return self._largest_first(drawn)
                used += int(self.sizes[hole])
                drawn.append(int(hole))
                if len(drawn) == many:
                    break
        return self._largest_first(drawn)

    def _largest_first(self, holes: list[int]) -> list[int]:
        return sorted(holes, key=lambda hole: -int(self.sizes[hole]))


class _Search:
    """Clean places, and the copies placed there."""

    def __init__(self, observed: Mask, nside: int, rng: np.random.Generator) -> None:
        self.rng = rng
        self.sizes: list[int] = []
        self._nside = nside
        self._clear = distance_to_edge(observed, of_observed=True)
        self._gap = _GAP * math.sqrt(4 * math.pi / observed.size)
        self._labels = np.full(observed.size, -1, np.int64)
        self._centres: list[Map] = []
        self._radii: list[float] = []
        self._sources: list[int] = []
        self._pieces: list[bool] = []
        #: Radius of the largest disc that fits anywhere.
        self.room = float(self._clear.max()) - self._gap

    def place_disc(self, shapes: _Shapes, hole: int, room: float) -> int:
        """Place a disc of a wide hole, smaller if necessary; give its number of pixels, or 0."""
        per_pixel = 4 * math.pi / self._clear.size
        afford = math.acos(1 - min(room * per_pixel / (2 * math.pi), 2.0)) if room > 0 else 0.0
        radius = min(float(shapes.depth[hole]), shapes.limit, self.room, afford)
        while radius > 0.25 * min(shapes.depth[hole], shapes.limit):
            target = self._place(radius)
            if target is not None:
                pixels = disc_pixels(self._nside, target, radius)
                if pixels.size:
                    self._keep(target, pixels, radius, hole, piece=True)
                return int(pixels.size)
            radius *= 0.85
        return 0

    def place_copy(self, shapes: _Shapes, hole: int) -> None:
        """Place a copy of a hole, if there is room."""
        centre, reach = shapes.frame(hole)
        target = self._place(reach)
        if target is None:
            return
        turn = _carry(centre, target, float(self.rng.uniform(0, 2 * math.pi)))
        around = disc_pixels(self._nside, target, reach + 2 * pixel_radius(self._nside))
        back = pixel_directions(self._nside, around) @ turn  # the inverse: turn is orthogonal
        pixels = around[shapes.labels[pixels_towards(self._nside, back)] == hole]
        if not pixels.size:  # a hole of one pixel may fall between pixel centres
            pixels = pixels_towards(self._nside, target[None])
        self._keep(target, pixels, reach, hole, piece=False)

    def _place(self, reach: float) -> Map | None:
        """Find a random place where a disc of this radius touches no hole and no copy."""
        for _ in range(_ROUNDS):
            tried = self.rng.integers(self._clear.size, size=_TRIES)
            tried = tried[self._clear[tried] > reach + self._gap]
            if not tried.size:
                continue
            directions = pixel_directions(self._nside, tried)
            if self._centres:
                cosine = np.clip(directions @ np.array(self._centres).T, -1, 1)
                apart = np.arccos(cosine) > reach + np.array(self._radii) + self._gap
                directions = directions[apart.all(axis=1)]
            if len(directions):
                return np.asarray(directions[0])
        return None

    def _keep(
        self, target: Map, pixels: NDArray[np.int64], reach: float, hole: int, *, piece: bool
    ) -> None:
        self._labels[pixels] = len(self.sizes)
        self.sizes.append(int(pixels.size))
        self._centres.append(target)
        self._radii.append(reach)
        self._sources.append(hole)
        self._pieces.append(piece)

    def found(self) -> HeldOut:
        """Give the placed copies."""
        if not self.sizes:
            raise ValueError(
                "no clean place for a copy of any hole: the observed sky is too narrow, or its "
                "share (`share`) too small; judge the fill of a simulated sky, whose truth is known"
            )
        x, y, z = np.array(self._centres).T
        return HeldOut(
            labels=self._labels,
            centres=np.stack(
                [np.arctan2(y, x) % (2 * np.pi), np.arcsin(np.clip(z, -1, 1))], axis=1
            ),
            sizes=np.array(self.sizes),
            radii=np.array(self._radii),
            sources=np.array(self._sources),
            pieces=np.array(self._pieces),
        )


def _carry(start: Map, end: Map, angle: float) -> Map:
    """Give the rotation, ``(3, 3)``, that carries one direction to another, then turns about it."""

    def frame(z: Map, turn: float) -> Map:
        x = np.cross(z, np.eye(3)[np.argmin(np.abs(z))])
        x /= np.linalg.norm(x)
        y = np.cross(z, x)
        c, s = math.cos(turn), math.sin(turn)
        return np.stack([c * x + s * y, c * y - s * x, z], axis=1)

    return np.asarray(frame(end, angle) @ frame(start, 0.0).T)
