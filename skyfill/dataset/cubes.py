"""Cut T, Q and U around the holes of a map into FITS cubes, and paste the cubes into the holes.

Any program may fill the cubes in between. Each is an image with a celestial WCS and an axis STOKES,
see `skyfill.tiling.write_tile`; missing pixels are NaN.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill import tiling
from skyfill.healpix.arrays import as_map, as_mask
from skyfill.healpix.checks import check_whole
from skyfill.healpix.stokes import nside_of
from skyfill.progress import Progress, listening
from skyfill.tiling import Layout, blending

__all__ = ["CUBES", "check_cubes", "paste_cubes", "write_cubes"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

CUBES = "tile_*.fits"
"""Names of the cubes in their folder."""

#: Side of a tile pixel, in units of the map's: with larger ones, tiles turn E modes into B modes.
_PIXEL = 0.75
#: Distance of a hole from the border of the tile that covers it, in units of the tile's side: what
#: is around a hole is what it is filled from.
_MARGIN = 1 / 8
#: Smallest observed interpolation weight for which a tile pixel has a value.
_WHOLE = 0.999
#: Number of tiles cut, or pasted, at a time.
_BATCH = 32


def write_cubes(
    path: str | Path,
    values: ArrayLike,
    observed: ArrayLike,
    observed_pol: ArrayLike | None = None,
    *,
    size: int = 400,
    pixel_arcmin: float | None = None,
    coord: str = "G",
    polcconv: str = "COSMO",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[Path]:
    """Write tiles that cover the holes of T, Q and U, one cube each; of a whole map, all of it.

    Tiles of a whole map reproduce it when they are pasted (`skyfill.tiling.gather_polarization`);
    others are interpolated from the observed pixels.

    Parameters
    ----------
    path
        The folder, which appears once all cubes are there.
    values
        ``(3, npix)``, T, Q and U, or ``(2, npix)``, Q and U; any unit, RING, NaN where missing, U
        with the sign of HEALPix.
    observed, observed_pol
        ``(npix,)``, RING, True where observed: of T, and of Q and U (``observed`` if None).
    size
        Pixels along each side of a tile.
    pixel_arcmin
        Side of a tile pixel; 0.75 of that of a map pixel if None.
    coord
        Frame of the map: G, C or E.
    polcconv
        Sign of U in the files, COSMO or IAU.
    overwrite
        Whether a folder of cubes may be replaced.
    progress
        Listener, informed of every tile.

    Returns
    -------
    The files.

    Raises
    ------
    FileExistsError
        There is a folder of cubes, and ``overwrite`` is not set.
    ValueError
        Map and masks differ in Nside, the sign of U is unknown, or the folder holds something else.
    """
    listener, path = listening(progress), Path(path)
    sky, seen = _sky(values, observed, observed_pol, "write_cubes")
    size = check_whole(size, "size", least=8)
    if polcconv not in ("COSMO", "IAU"):
        raise ValueError(f"polcconv is {polcconv!r}, and only COSMO and IAU are known")
    sign: Literal["COSMO", "IAU"] = "IAU" if polcconv == "IAU" else "COSMO"
    check_cubes(path, overwrite=overwrite)
    nside = nside_of(seen[0], "observed")
    pixel = pixel_arcmin or _PIXEL * np.degrees((np.pi / 3) ** 0.5 / nside) * 60
    missing = ~(seen[0] & seen[-1])
    whole = not missing.any()
    layouts = tiling.plan(
        missing | whole,
        side=size,
        pixel_arcmin=pixel,
        margin=_MARGIN * size * np.radians(pixel / 60),
        coord=coord,
    )
    listener.stage("tiles", len(layouts))
    new = path.absolute().parent / f".skyfill-{secrets.token_hex(6)}"
    new.mkdir()
    try:
        for first in range(0, len(layouts), _BATCH):
            some = layouts[first : first + _BATCH]
            for number, tile in enumerate(_cut(sky, None if whole else seen, some), first):
                file = new / CUBES.replace("*", f"{number:05d}")
                tiling.write_tile(file, tile, layouts[number], polcconv=sign)
                listener.advance()
        if path.exists():
            shutil.rmtree(path)
        new.rename(path)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    listener.done(f"{len(layouts)} tiles")
    return sorted(path.glob(CUBES))


def _cut(sky: Map, seen: list[Mask] | None, layouts: Sequence[Layout]) -> NDArray[np.float32]:
    """Cut tiles, ``(ntile, k, ny, nx)``, NaN where missing; ``seen`` is None for a whole map."""
    planes = []
    if seen is None:
        window = blending.window(layouts[0].shape, 1)
        if len(sky) == 3:
            planes.append(tiling.gather(sky[0], layouts, window=window)[:, None])
        planes.append(tiling.gather_polarization(sky[-2:], layouts, window=window))
    else:
        if len(sky) == 3:
            tiles, weights = tiling.cut(sky[0], seen[0], layouts)
            planes.append(np.where(weights > _WHOLE, tiles, np.nan)[:, None])
        tiles, weights = tiling.cut_polarization(sky[-2:], seen[-1], layouts)
        planes.append(np.where(weights[:, None] > _WHOLE, tiles, np.nan))
    return np.concatenate(planes, axis=1).astype(np.float32)


def paste_cubes(
    path: str | Path,
    values: ArrayLike,
    observed: ArrayLike,
    observed_pol: ArrayLike | None = None,
    *,
    coord: str = "G",
    progress: Progress | None = None,
) -> tuple[list[Map], list[Mask]]:
    """Blend the cubes of a folder in the holes of T, Q and U, turned into the axes of the pixels.

    Parameters
    ----------
    path
        The folder, from `write_cubes`; any program may have filled its cubes. Cubes with missing
        pixels are left out.
    values, observed, observed_pol, coord, progress
        As for `write_cubes`.

    Returns
    -------
    fills
        For each component ``(nhole,)``, in the unit of the cubes, RING order of its holes.
    holes
        For each component ``(npix,)``, RING, True where it is filled.

    Raises
    ------
    FileNotFoundError
        The folder holds no cubes.
    ValueError
        A cube has other Stokes parameters, Nside, frame or size than the rest, or a missing pixel
        lies under no cube without missing pixels.
    """
    listener, path = listening(progress), Path(path)
    sky, seen = _sky(values, observed, observed_pol, "paste_cubes")
    files = sorted(path.glob(CUBES)) if path.is_dir() else []
    if not files:
        raise FileNotFoundError(f"{path}: no folder with {CUBES}; make it with `skyfill tiles`")
    nside = nside_of(seen[0], "observed")
    pixels = [np.flatnonzero(~each) for each in seen]
    pasters: list[Any] = [tiling.PolarizationPaster(nside, pixels[-1])]
    if len(sky) == 3:
        pasters.insert(0, tiling.Paster(nside, pixels[0]))
    listener.stage("tiles", len(files))
    left, shape = 0, None
    for file in files:
        tile, layout = tiling.read_tile(file)
        shape = shape or tile.shape
        _check_cube(file, tile, layout, shape, (len(sky), nside, coord))
        listener.advance()
        if not np.isfinite(tile).all():
            left += 1
            continue
        window = blending.window(layout.shape, 1)
        pasters[-1].add(tile[None, -2:], [layout], window)
        if len(sky) == 3:
            pasters[0].add(tile[None, 0], [layout], window)
    fills: list[Map] = []
    for paster in pasters:
        found, _ = paster.result()
        fills += [found] if found.ndim == 1 else list(found)
    listener.done(
        f"{len(files)} tiles" + (f", {left} with missing pixels left out" if left else "")
    )
    bare = int(np.count_nonzero(np.isnan(fills[-1]))) + int(
        np.count_nonzero(np.isnan(fills[0])) if len(sky) == 3 else 0
    )
    if bare:
        raise ValueError(
            f"{path}: {bare} missing pixels lie under no whole tile, and {left} of {len(files)}"
            " tiles have missing pixels; fill them, or cut tiles with these masks"
        )
    return fills, [*([~seen[0]] if len(sky) == 3 else []), ~seen[-1], ~seen[-1]]


def _check_cube(
    file: Path,
    tile: Map,
    layout: Layout,
    shape: tuple[int, ...],
    wanted: tuple[int, int, str],
) -> None:
    """Refuse a cube that does not belong to the map, or to the other cubes."""
    count, nside, coord = wanted
    if tile.ndim != len(shape) or tile.ndim != 3 or len(tile) != count:
        names = "T, Q and U" if count == 3 else "Q and U"
        raise ValueError(f"{file}: is no cube of {names}; pass the Stokes parameters it has")
    if layout.nside != nside:
        raise ValueError(f"{file}: is of a map of Nside {layout.nside}, not {nside}")
    if layout.coord != coord:
        raise ValueError(f"{file}: is in frame {layout.coord}, the map in {coord}")


def check_cubes(path: str | Path, *, overwrite: bool = False) -> None:
    """Refuse a folder to which cubes cannot be written, before any work is done.

    Parameters
    ----------
    path
        Folder for the cubes: it does not exist, is empty, or holds cubes and nothing else.
    overwrite
        Whether existing cubes may be replaced.

    Raises
    ------
    FileExistsError
        It holds cubes, and ``overwrite`` is false.
    OSError
        The parent folder is missing.
    ValueError
        It is a file, or holds other files, which are never replaced.
    """
    path = Path(path)
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {path.absolute().parent}")
    if not path.exists():
        return
    if not path.is_dir():
        raise ValueError(f"{path}: is a file, not a folder of tiles; give another name")
    strangers = {each.name for each in path.iterdir()} - {each.name for each in path.glob(CUBES)}
    if strangers:
        raise ValueError(f"{path}: holds {min(strangers)}, too, which is no cube; empty it first")
    if any(path.iterdir()) and not overwrite:
        raise FileExistsError(f"{path} exists already; pass `overwrite=True` to replace it")


def _sky(
    values: ArrayLike, observed: ArrayLike, observed_pol: ArrayLike | None, taker: str
) -> tuple[Map, list[Mask]]:
    """Return T, Q and U, or Q and U, and where T, and where both of Q and U, are observed."""
    listed = values if isinstance(values, list | tuple) else np.asanyarray(values)
    if len(listed) not in (2, 3) or any(np.ndim(each) != 1 for each in listed):
        raise ValueError(f"values must be T, Q and U, or Q and U, got {np.shape(listed)}")
    sky = np.array([as_map(each, taker=taker) for each in listed], dtype=np.float64)
    seen = [as_mask(observed, taker=taker)]
    pol = seen[0] if observed_pol is None else as_mask(observed_pol, "observed_pol", taker=taker)
    if any(each.size != sky.shape[1] for each in (*seen, pol)):
        raise ValueError("map and masks must have one Nside")
    both = pol & np.isfinite(sky[-1]) & np.isfinite(sky[-2])
    return sky, [seen[0] & np.isfinite(sky[0]) if len(sky) == 3 else both, both]
