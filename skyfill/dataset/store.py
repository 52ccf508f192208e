"""Write tiles of a map and its mask into one Zarr store."""

from __future__ import annotations

import hashlib
import json
import math
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.dataset.geometry import TileGeometry
from skyfill.dataset.reading import (
    FORMAT,
    KIND,
    LARGE,
    SMALL,
    Role,
    Store,
    TileDataset,
    open_group,
    open_tiles,
)
from skyfill.healpix.arrays import as_map, as_mask
from skyfill.healpix.checks import check_whole
from skyfill.healpix.stokes import nside_of
from skyfill.lazy import needs
from skyfill.prior import Given, Prior, for_map
from skyfill.progress import Progress, listening

__all__ = [
    "SPLITS",
    "check_store",
    "write_tiles",
]

#: Attributes of the prior that are stored as JSON; its spectrum is stored as an array.
_NUMBERS = ("nside", "fwhm", "noise_uk_arcmin", "pixel_window", "calibration", "fitted")

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

SPLITS = ("paper", "region", "sky")

#: Middle of the cap that a split by region holds out: longitude and latitude, degrees.
_CAP = (90.0, 45.0)
#: Radius of that cap, degrees: a quarter of the sphere.
_CAP_RADIUS = 60.0
#: Number of tiles cut and written at a time.
_BATCH = 32


def write_tiles(
    path: str | Path,
    geometry: TileGeometry,
    values: ArrayLike,
    observed: ArrayLike,
    *,
    prior: Prior | Given | None = None,
    split: str = "paper",
    test_values: ArrayLike | None = None,
    limit: int | None = None,
    about: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> TileDataset:
    """Cut tiles into a Zarr store, or continue a run that was killed.

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
        Prior of the map; fitted to its observed part if not given.
    split
        ``paper``: clean tiles are used for training and testing. ``region``: clean tiles within a
        cap of 60° about (90°, 45°) are held out, and those across its rim are not used, so no pixel
        of the sky is in both sets. ``sky``: the clean tiles of another map are held out.
    test_values
        ``(npix,)``, µK, RING: the other map, for ``sky``.
    limit
        Largest number of centres; evenly chosen if there are more.
    about
        Further information to store with the tiles, as JSON.
    overwrite
        Whether to replace an existing store.
    progress
        Listener, informed of every tile.

    Raises
    ------
    FileExistsError
        There is a finished store, and ``overwrite`` is not set.
    ValueError
        Maps, mask and geometry differ in Nside; the folder holds something else, or unfinished
        tiles of other inputs.
    """
    progress = listening(progress)
    path = Path(path)
    values, observed = as_map(values, taker="write_tiles"), as_mask(observed, taker="write_tiles")
    maps = (
        [values]
        if test_values is None
        else [values, as_map(test_values, "test_values", taker="write_tiles")]
    )
    if limit is not None:
        limit = check_whole(limit, "limit", least=1)
    _check(geometry, maps, observed, split)
    check_store(path, overwrite=overwrite)
    progress.stage("prior")
    prior = for_map(prior, values, observed & np.isfinite(values))
    progress.done()
    lon, lat = geometry.centres()
    if limit is not None and limit < lon.size:
        # Every k-th centre would lie on one meridian if k is a multiple of a row. Multiples
        # of the golden section, modulo 1, are spread evenly over rows and columns of any length.
        turns = np.arange(lon.size) * (math.sqrt(5) - 1) / 2 % 1
        chosen = np.sort(np.argsort(turns, kind="stable")[:limit])
        lon, lat = lon[chosen], lat[chosen]
    held_out = _held_out(geometry, split, lon, lat)
    beam = {} if prior.beam is None else {"beam": prior.beam.record()}
    facts = {
        "kind": KIND,
        "format": FORMAT,
        "unit": "uK",
        "geometry": asdict(geometry),
        "prior": {name: getattr(prior, name) for name in _NUMBERS}
        | beam
        | {"cl": None}
        | _free(prior),
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
        group.attrs["done"] = some.stop  # a later run continues from here
    group.attrs["complete"] = True
    found = open_tiles(path)
    whole = int(np.count_nonzero(found.masked == 0))
    progress.done(f"{found.role.size} tiles: {whole} clean, {found.role.size - whole} masked")
    return found


def _free(prior: Prior) -> dict[str, list[float]]:
    """Give the free part of the prior, if it has one, for JSON."""
    return {"extra_cl": prior.extra_cl.tolist()} if prior.extra_cl.size else {}


def _check(geometry: TileGeometry, maps: list[Map], observed: Mask, split: str) -> None:
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is unknown; choose one of {', '.join(SPLITS)}")
    if (split == "sky") != (len(maps) > 1):
        raise ValueError(
            "a split by sky, and no other, has a second map: pass `test_values` with it"
        )
    for name, array in (("mask", observed), *(("map", each) for each in maps)):
        nside = nside_of(array, name)
        if nside != geometry.nside:
            raise ValueError(f"the {name} has Nside {nside}, not {geometry.nside}; give a pair")


def check_store(path: str | Path, *, overwrite: bool = False) -> None:
    """Refuse a folder to which tiles cannot be written, before any work is done.

    Parameters
    ----------
    path
        Folder for the tiles: it does not exist, is empty, or holds tiles.
    overwrite
        Whether existing tiles may be replaced.

    Raises
    ------
    FileExistsError
        There is a finished store, and `overwrite` is false.
    OSError
        The parent folder is missing.
    ValueError
        The folder holds other files, which are never replaced.
    """
    path = Path(path)
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {path.absolute().parent}")
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not path.is_dir():
        raise ValueError(f"{path}: is a file, not a folder of tiles; give another name")
    complete = open_group(path).attrs.get("complete")
    # Other files would be deleted with the tiles.
    strangers = {each.name for each in path.iterdir()} - {*LARGE, *SMALL, "cl", "zarr.json"}
    strangers = {name for name in strangers if not name.endswith(".partial")}
    if strangers:
        raise ValueError(f"{path}: holds {min(strangers)}, too, which is no part of the tiles")
    if complete and not overwrite:
        raise FileExistsError(f"{path} exists already; pass `overwrite=True` to replace it")


def _begin(
    path: Path, facts: dict[str, Any], n: int, size: int, ncl: int, *, overwrite: bool
) -> Store:
    """Open unfinished tiles of the same inputs, or create a store."""
    check_store(path, overwrite=overwrite)  # a fit may have taken hours
    path = path.resolve()
    if path.exists() and any(path.iterdir()):
        group = open_group(path, mode="r+")
        same = group.attrs.get("fingerprint") == facts["fingerprint"]
        if same and not group.attrs.get("complete"):
            for stray in path.rglob("*.partial"):
                stray.unlink()
            return group
        if not overwrite:
            raise ValueError(
                f"{path}: unfinished tiles of another kind; pass `overwrite=True` to drop them"
            )
    # If a run is killed here, its remains must not block the next run.
    new, old = (path.parent / f".skyfill-{secrets.token_hex(6)}" for _ in range(2))
    try:
        _create(new, facts, n, size, ncl)
        if path.exists():
            path.rename(old)
        new.rename(path)
    finally:
        for folder in (new, old):
            shutil.rmtree(folder, ignore_errors=True)
    return open_group(path, mode="r+")


def _create(path: Path, facts: dict[str, Any], n: int, size: int, ncl: int) -> None:
    """Create an empty store: one file for each tile, and one for each small array."""
    needs("zarr")
    import zarr

    group = zarr.create_group(path, zarr_format=3)
    names: dict[str, Any] = {"name": "default", "separator": "."}  # no folder for each file
    for name, kind in LARGE.items():
        group.create_array(
            name,
            shape=(n, size, size),
            chunks=(1, size, size),
            dtype=kind,
            fill_value=math.nan if name == "tile" else False,
            chunk_key_encoding=names,
            dimension_names=("tile", "y", "x"),
        )
    for name, kind in SMALL.items():
        group.create_array(name, shape=(n,), chunks=(n,), dtype=kind)
    group.create_array("cl", shape=(ncl,), chunks=(ncl,), dtype="float64")
    group.attrs.update({**facts, "done": 0, "complete": False})


def _held_out(geometry: TileGeometry, split: str, lon: Map, lat: Map) -> NDArray[np.int64]:
    """Give the role of each tile, provided that it is clean."""
    if split != "region":
        return np.full(lon.size, Role.TRAIN)
    centre, radius = geometry.discs(lon, lat)
    a, b = np.radians(_CAP)
    axis = np.array([math.cos(b) * math.cos(a), math.cos(b) * math.sin(a), math.sin(b)])
    away = np.arccos(np.clip(centre @ axis, -1, 1)) - math.radians(_CAP_RADIUS)
    reach = radius + 2 / geometry.nside  # interpolation reads this far beyond a tile
    return np.where(away > reach, Role.TRAIN, np.where(away < -reach, Role.TEST, Role.UNUSED))


def _batches(n: int, maps: int) -> Iterator[tuple[int, slice]]:
    for number in range(maps):
        yield from ((number, slice(a, min(a + _BATCH, n))) for a in range(0, n, _BATCH))


def _fingerprint(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
