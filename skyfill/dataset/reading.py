"""Read the tiles of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from skyfill.brief import brief
from skyfill.dataset.geometry import TileGeometry
from skyfill.healpix.checks import check_seed
from skyfill.lazy import needs
from skyfill.prior import Beam, Prior

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = [
    "FORMAT",
    "KIND",
    "LARGE",
    "SMALL",
    "Role",
    "Store",
    "TileDataset",
    "open_group",
    "open_tiles",
]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

KIND = "skyfill tiles"
"""Marks a store as one of tiles."""
FORMAT = 1
"""Version of the format; increase it if older programs cannot read new stores."""
Store = Any  # a zarr.Group; the types of its items are not checked

#: Arrays of a store and their dtypes: one image or one number for each tile.
LARGE = {"tile": "float32", "observed": "bool"}
SMALL = {"role": "uint8", "masked": "float64", "lon": "float64", "lat": "float64"}


class Role(IntEnum):
    """Use of a tile in training."""

    MASKED = 0  # has missing pixels; provides its mask
    TRAIN = 1
    TEST = 2
    UNUSED = 3  # lies across the border of the held-out region


@dataclass(frozen=True, eq=False)
class TileDataset:
    """Tiles on disk.

    Attributes
    ----------
    path
        The store.
    geometry
        Geometry of the tiles.
    prior
        Prior of the map.
    split
        The choice of held-out tiles.
    about
        Further information: names of files, version.
    fingerprint
        Digest of all inputs from which the tiles were made.
    role
        ``(n,)``, the `Role` of each tile.
    masked
        ``(n,)``, share of missing pixels in each tile.
    lon, lat
        ``(n,)``, centres, degrees.
    """

    __repr__ = brief

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
        """Clean tiles for training."""
        return np.flatnonzero(self.role == Role.TRAIN)

    @property
    def test(self) -> NDArray[np.int64]:
        """Clean tiles for testing.

        With the paper's split these are the training tiles, since only they have a known truth.
        """
        return self.train if self.split == "paper" else np.flatnonzero(self.role == Role.TEST)

    @property
    def masks(self) -> NDArray[np.int64]:
        """Tiles that provide masks: some, but not all, of their pixels are missing."""
        return np.flatnonzero((self.role == Role.MASKED) & (self.masked < 1))

    def tiles(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read tiles, ``(k, size, size)``, µK; NaN where the map has no value.

        Raises
        ------
        ValueError
            A clean tile is incomplete: a file of the store is lost.
        """
        tiles = self._read("tile", indices, np.float32)
        which = np.asarray(indices, dtype=np.int64)
        lost = ~np.isfinite(tiles).all(axis=(1, 2)) & (self.masked[which] == 0)
        if lost.any():
            raise ValueError(f"{self.path}: tile {which[lost][0]} is lost; make the tiles again")
        return tiles

    def observed(self, indices: NDArray[np.int64]) -> Mask:
        """Read masks, ``(k, size, size)``, True where observed."""
        return self._read("observed", indices, np.bool_)

    def pairs(self, limit: int, *, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Choose tiles for testing, each at most once, and a mask for each.

        Parameters
        ----------
        limit
            Largest number of tiles.
        seed
            Seed of the choice.

        Returns
        -------
        Indices of `test` tiles and of `masks`, ``(k,)`` each.

        Raises
        ------
        ValueError
            There are no clean tiles for testing, or no masks.
        """
        if not self.test.size or not self.masks.size:
            raise ValueError(
                f"{self.path}: {self.test.size} clean tiles to judge by and {self.masks.size} "
                "masks; cut more tiles"
            )
        random = np.random.default_rng(check_seed(seed))
        tiles = random.permutation(self.test)[:limit]
        return tiles, random.choice(self.masks, tiles.size)

    def _read(self, name: str, indices: NDArray[np.int64], kind: type[Any]) -> NDArray[Any]:
        array = self._group[name]  # one tile at a time, since each is compressed separately
        found = np.empty((len(indices), *array.shape[1:]), dtype=kind)
        for k, index in enumerate(indices):
            found[k] = array[int(index)]
        return found

    def header(self, index: int) -> Header:
        """Give the FITS header of a tile, with its WCS."""
        return self.geometry.header(float(self.lon[index]), float(self.lat[index]))


def open_tiles(path: str | Path) -> TileDataset:
    """Open tiles that `write_tiles` has written.

    Raises
    ------
    FileNotFoundError
        The folder does not exist.
    ValueError
        It holds no tiles, or not all of them.
    """
    group = open_group(path)
    facts = dict(group.attrs)
    if not facts.get("complete"):
        raise ValueError(
            f"{path}: not all tiles are there; run the same command again to finish it"
        )
    try:
        geometry = TileGeometry(**{**facts["geometry"], "spacing_deg": _pair(facts["geometry"])})
        prior = dict(facts["prior"])
        prior |= {"cl": group["cl"][:], "fitted": tuple(prior["fitted"])}
        if "beam" in prior:
            prior["beam"] = Beam.of_record(prior["beam"])
        small = {name: group[name][:] for name in SMALL}
        n, size = small["role"].size, geometry.size
        shapes = dict.fromkeys(small, (n,)) | dict.fromkeys(LARGE, (n, size, size))
        for name, shape in shapes.items():
            if group[name].shape != shape:
                raise ValueError(f"{name} has shape {group[name].shape}, not {shape}")
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


def open_group(path: str | Path, mode: Literal["r", "r+"] = "r") -> Store:
    """Open a store, finished or not, with the errors of `open_tiles`."""
    needs("zarr")
    import zarr

    if not Path(path).is_dir():
        raise FileNotFoundError(f"{path}: no such folder of tiles; make it with `skyfill tiles`")
    try:
        group = zarr.open_group(path, mode=mode)
        known = group.attrs.get("kind"), group.attrs.get("format")
    except Exception as error:  # zarr raises many types of errors  # noqa: BLE001
        raise ValueError(f"{path}: holds no tiles ({type(error).__name__})") from None
    if known != (KIND, FORMAT):
        raise ValueError(f"{path}: holds no tiles of format {FORMAT}; give another folder")
    return group


def _pair(geometry: Mapping[str, Any]) -> tuple[float, float] | None:
    spacing = geometry["spacing_deg"]
    return None if spacing is None else (float(spacing[0]), float(spacing[1]))
