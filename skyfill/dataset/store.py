"""Keep tiles of a map and its mask in one Zarr store."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from skyfill._checks import nside_of
from skyfill._progress import Progress, Silent
from skyfill.dataset.geometry import TileGeometry
from skyfill.dipole import Dipole
from skyfill.prior import Prior, fit

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = [
    "SPLITS",
    "Role",
    "TileDataset",
    "open_tiles",
    "write_tiles",
]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

SPLITS = ("paper", "region", "sky")
FORMAT = 1
Store = Any  # a zarr.Group, whose items have too many types to be told apart

#: Middle (longitude, latitude) and radius, degrees, of the cap that a split by region holds out.
_CAP, _CAP_RADIUS = (90.0, 45.0), 60.0
#: Tiles that are cut and written at a time.
_BATCH = 32


class Role(IntEnum):
    """What a tile is for."""

    MASKED = 0  # has missing pixels: lends its mask
    TRAIN = 1
    TEST = 2
    UNUSED = 3  # lies across the border of what is held out


@dataclass(frozen=True)
class TileDataset:
    """Tiles on disk.

    Attributes
    ----------
    path
        The store.
    geometry, prior, split
        How the tiles were cut, what the map is made of, and which tiles are held out.
    about
        What else was said of them: names of files, version.
    fingerprint
        Of all that they were made from.
    role
        ``(n,)`` of `Role`.
    masked
        ``(n,)`` share of the pixels that are missing.
    lon, lat
        ``(n,)`` centres, degrees.
    """

    path: Path
    geometry: TileGeometry
    prior: Prior
    split: str
    about: Mapping[str, Any]
    fingerprint: str
    role: NDArray[np.uint8]
    masked: Map
    lon: Map
    lat: Map
    _group: Store = field(repr=False)

    @property
    def train(self) -> NDArray[np.int64]:
        """Tiles to learn from, all clean."""
        return np.flatnonzero(self.role == Role.TRAIN)

    @property
    def test(self) -> NDArray[np.int64]:
        """Clean tiles to be judged by.

        Of the paper's split these are the training tiles: its truth is nowhere else known.
        """
        return self.train if self.split == "paper" else np.flatnonzero(self.role == Role.TEST)

    @property
    def masks(self) -> NDArray[np.int64]:
        """Tiles that lend their masks: some pixels missing, not all."""
        return np.flatnonzero((self.role == Role.MASKED) & (self.masked < 1))

    def tiles(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read tiles, ``(k, size, size)``, µK."""
        array = self._group["tile"]
        return np.stack([array[int(index)] for index in indices])

    def observed(self, indices: NDArray[np.int64]) -> Mask:
        """Read masks, ``(k, size, size)``, True where observed."""
        array = self._group["observed"]
        return np.stack([array[int(index)] for index in indices])

    def header(self, index: int) -> Header:
        """Give the FITS header of a tile, with its WCS."""
        return self.geometry.header(float(self.lon[index]), float(self.lat[index]))


def write_tiles(
    path: str | Path,
    geometry: TileGeometry,
    values: Map,
    observed: Mask,
    *,
    prior: Prior | None = None,
    split: str = "paper",
    test_values: Map | None = None,
    limit: int | None = None,
    about: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> TileDataset:
    """Cut tiles into a Zarr store, or go on where a killed run has stopped.

    Parameters
    ----------
    path
        The store, a folder.
    geometry
        Where the tiles lie.
    values
        ``(npix,)``, µK, RING; NaN where missing.
    observed
        ``(npix,)``, RING, True where observed.
    prior
        What the map is made of; fitted to its observed part if not given.
    split
        ``paper``: clean tiles are learned from, and judged by. ``region``: clean tiles within a cap
        of 60° about (90°, 45°) are held out, and those that reach across its rim are not used: no
        pixel of the sky is on both sides. ``sky``: the clean tiles of another map are held out.
    test_values
        ``(npix,)``, µK, RING: that other map.
    limit
        Take only so many of the centres, evenly chosen.
    about
        What else to keep with the tiles, as JSON.
    overwrite
        Whether to replace a store that is there.
    progress
        Told of every tile.

    Raises
    ------
    FileExistsError
        There are whole tiles, and ``overwrite`` is not set.
    ValueError
        Maps, mask and geometry do not fit; the folder holds something else, or unfinished tiles of
        another kind.
    """
    progress = progress or Silent()
    path = Path(path)
    maps = [values] if test_values is None else [values, test_values]
    _check(geometry, maps, observed, split)
    if prior is None:
        progress.stage("prior")
        seen = observed & np.isfinite(values)
        sky = np.where(seen, values, 0.0)
        prior = fit(np.where(seen, sky - Dipole(seen, threads=0).of(sky), 0.0), seen)
        progress.done()
    lon, lat = geometry.centres()
    if limit is not None and limit < lon.size:
        chosen = np.arange(limit) * lon.size // limit
        lon, lat = lon[chosen], lat[chosen]
    held_out = _held_out(geometry, split, lon, lat)
    facts = {
        "format": FORMAT,
        "geometry": asdict(geometry),
        "prior": {**asdict(prior), "cl": None, "fitted": list(prior.fitted)},
        "split": split,
        "about": dict(about or {}),
    }
    said = np.frombuffer(json.dumps(facts, sort_keys=True).encode(), dtype=np.uint8)
    facts["fingerprint"] = _fingerprint(said, *maps, observed, prior.cl, lon, lat)
    group = _begin(
        path, facts, lon.size * len(maps), geometry.size, prior.cl.size, overwrite=overwrite
    )
    for name, array in (("lon", lon), ("lat", lat)):
        group[name][:] = np.tile(array, len(maps))
    group["cl"][:] = prior.cl
    progress.stage("tiles", lon.size * len(maps))
    for number, part in _batches(lon.size, len(maps)):
        some = slice(part.start + number * lon.size, part.stop + number * lon.size)
        progress.advance(part.stop - part.start)
        if some.start < group.attrs["done"]:
            continue
        tiles, seen = geometry.cut(maps[number], observed, lon[part], lat[part])
        clean = seen.all(axis=(1, 2))
        role = np.where(clean, held_out[part], Role.MASKED)
        if number:  # the masks are those of the first map
            role = np.where(clean, Role.TEST, Role.UNUSED)
        group["tile"][some], group["observed"][some] = tiles, seen
        group["role"][some] = role.astype(np.uint8)
        group["masked"][some] = 1 - seen.mean(axis=(1, 2))
        group.attrs["done"] = some.stop  # a run that is killed goes on after this
    group.attrs["complete"] = True
    found = open_tiles(path)
    whole = int(np.count_nonzero(found.masked == 0))
    progress.done(f"{found.role.size} tiles: {whole} clean, {found.role.size - whole} masked")
    return found


def _check(geometry: TileGeometry, maps: list[Map], observed: Mask, split: str) -> None:
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is unknown; choose one of {', '.join(SPLITS)}")
    if (split == "sky") != (len(maps) > 1):
        raise ValueError("a split by sky, and no other, has a second map: pass --test-map with it")
    for name, array in (("mask", observed), *(("map", each) for each in maps)):
        nside = nside_of(array.size, name)
        if nside != geometry.nside:
            raise ValueError(f"the {name} has Nside {nside}, not {geometry.nside}; give a pair")


def open_tiles(path: str | Path) -> TileDataset:
    """Open tiles that `write_tiles` has written.

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    ValueError
        It holds no tiles, or not all of them.
    """
    group = _group(path)
    facts = dict(group.attrs)
    if not facts.get("complete"):
        raise ValueError(f"{path}: not all tiles are there; run the same `skyfill tiles` again")
    try:
        geometry = TileGeometry(**{**facts["geometry"], "spacing_deg": _pair(facts["geometry"])})
        prior = dict(facts["prior"])
        prior |= {"cl": group["cl"][:], "fitted": tuple(prior["fitted"])}
        small = {name: group[name][:] for name in ("role", "masked", "lon", "lat")}
        shapes = {small[name].shape for name in small} | {group["tile"].shape[:1]}
        whole = {group[name].shape[1:] for name in ("tile", "observed")}
        if len(shapes) > 1 or whole != {(geometry.size, geometry.size)}:
            raise ValueError("arrays of different lengths")
        return TileDataset(
            Path(path),
            geometry,
            Prior(**prior),
            split=facts["split"],
            about=facts["about"],
            fingerprint=facts["fingerprint"],
            _group=group,
            **small,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: damaged ({error}); make the tiles again") from None


def _group(path: str | Path, mode: Literal["r", "r+"] = "r") -> Store:
    import zarr

    if not Path(path).is_dir():
        raise FileNotFoundError(f"{path}: no such folder of tiles; make it with `skyfill tiles`")
    try:
        group = zarr.open_group(path, mode=mode)
        known = group.attrs.get("format")
    except Exception as error:  # zarr raises what it likes  # noqa: BLE001
        raise ValueError(f"{path}: holds no tiles ({type(error).__name__})") from None
    if known != FORMAT:
        raise ValueError(f"{path}: holds no tiles of format {FORMAT}; give another folder")
    return group


def _begin(
    path: Path, facts: dict[str, Any], n: int, size: int, ncl: int, *, overwrite: bool
) -> Store:
    """Open unfinished tiles of the same kind, or begin."""
    import zarr

    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        group = _group(path, mode="r+")  # never touch what is not ours
        complete = bool(group.attrs.get("complete"))
        if (
            not group.attrs.get("complete")
            and group.attrs.get("fingerprint") == facts["fingerprint"]
        ):
            for stray in path.rglob("*.partial"):
                stray.unlink()
            return group
        if not overwrite:
            if complete:
                raise FileExistsError(f"{path} exists already; pass --overwrite to replace it")
            raise ValueError(
                f"{path}: unfinished tiles of another kind; pass --overwrite to drop them"
            )
        shutil.rmtree(path)
    group = zarr.create_group(path)
    shape = (n, size, size)
    for name, kind in (("tile", "float32"), ("observed", "bool")):
        group.create_array(name, shape=shape, chunks=(1, size, size), dtype=kind)
    for name in ("role", "masked", "lon", "lat"):
        kind = "uint8" if name == "role" else "float64"
        group.create_array(name, shape=(n,), chunks=(n,), dtype=kind)
    group.create_array("cl", shape=(ncl,), chunks=(ncl,), dtype="float64")
    group.attrs.update({**facts, "done": 0, "complete": False})
    return group


def _held_out(geometry: TileGeometry, split: str, lon: Map, lat: Map) -> NDArray[np.int64]:
    """Give the roles that tiles have if they are clean."""
    if split != "region":
        return np.full(lon.size, Role.TRAIN)
    centre, radius = geometry.discs(lon, lat)
    a, b = np.radians(_CAP)
    axis = np.array([math.cos(b) * math.cos(a), math.cos(b) * math.sin(a), math.sin(b)])
    away = np.arccos(np.clip(centre @ axis, -1, 1)) - math.radians(_CAP_RADIUS)
    reach = radius + 2 / geometry.nside  # what interpolation reads beyond
    return np.where(away > reach, Role.TRAIN, np.where(away < -reach, Role.TEST, Role.UNUSED))


def _batches(n: int, maps: int) -> Iterator[tuple[int, slice]]:
    for number in range(maps):
        yield from ((number, slice(a, min(a + _BATCH, n))) for a in range(0, n, _BATCH))


def _pair(geometry: Mapping[str, Any]) -> tuple[float, float] | None:
    spacing = geometry["spacing_deg"]
    return None if spacing is None else (float(spacing[0]), float(spacing[1]))


def _fingerprint(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
