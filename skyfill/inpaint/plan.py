"""Say before a fill what it will take: tiles, memory, time.

Memory and seconds are fits to measured runs (docs/measured.md, "Memory"): on two CPU cores, within
25% and within a factor of two. They are no bounds: another machine is faster or slower, and
another mask may ask for more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.diffuse.fill import TABLE
from skyfill.gaussian.blocks import affordable
from skyfill.gaussian.memory import block_bytes, fits, polish_bytes, solve_bytes, wide_bytes
from skyfill.healpix.arrays import as_mask
from skyfill.healpix.stokes import nside_of
from skyfill.holes.runs import Runs
from skyfill.mosaic import MosaicConfig, count_tiles, usual_polish

__all__ = ["Plan", "Request", "make_plan", "within"]

Mask = NDArray[np.bool_]

GIB = 2**30
#: Tiles that a network fills at once where nothing is said; bytes of each, and of a tile that is
#: kept.
_BATCH = 64
_TILE_WORK, _TILE = 200 * MosaicConfig.side**2, 4 * MosaicConfig.side**2

#: Bytes of the program with its libraries, with torch or without.
_TORCH, _PLAIN = 0.64e9, 0.30e9
#: Bytes of a tile that is cut and of a pixel that is pasted, with how many there are at a time; and
#: of what torch keeps when it is done.
_CUT, _CUTS, _PASTED, _PASTES = 1.0e6, 256, 64.0, 2**23
_KEPT = 0.3e9
#: Bytes for each pixel and each hole pixel: of tiles, and of the diffusive fill, whose long lists
#: of holes have no table of neighbours. Those of exact fills are told by `skyfill.gaussian.memory`.
_TILES, _TILES_HOLE = 21.0, 8.0
_DIFFUSE, _DIFFUSE_HOLE, _TABLE_HOLE = 12.0, 58.0, 32.0
#: Seconds of a first map and of each further one: of any, for each million of pixels, for their
#: number (in millions) times Nside / 1000, and for each thousand of tiles.
_SECONDS = {
    "vae": ((5.0, 0.33, 0.0, 5.6), (1.0, 0.17, 0.003, 5.6)),
    "gaussian": ((3.0, 0.5, 0.8, 0.0), (1.0, 0.4, 0.65, 0.0)),
    "diffuse": ((2.0, 0.12, 0.04, 0.0), (0.5, 0.1, 0.04, 0.0)),
    "cosmovae": ((5.0, 0.2, 0.0, 50.0), (1.0, 0.2, 0.0, 50.0)),
}
#: What polish of wide holes adds to these.
_POLISH = np.array([(0.0, 0.0, 0.36, 0.0), (0.0, 0.0, 0.12, 0.0)])
#: Seconds for each million of pixels that fitting beam and noise takes.
_FIT = 0.25


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes
    ----------
    method
        Of `skyfill.Inpainter`.
    known
        Whether the prior is given; if not, it is fitted.
    polish, batch_size
        As for `skyfill.Inpainter`.
    maps
        How many fills: realizations, or those behind a spread.
    """

    method: str = "vae"
    known: bool = False
    polish: int | None = None
    batch_size: int | None = None
    maps: int = 1


@dataclass(frozen=True)
class Plan:
    """What will be done, and what it takes."""

    nside: int
    holes: int
    """Connected ones that are filled."""
    hole_pixels: int
    masked: float
    """Share of the sky that is filled."""
    method: str
    prior: str
    """``given``, ``fitted``, or ``none`` where the method has none."""
    stages: tuple[str, ...]
    tiles: Mapping[str, int]
    """Of ``small`` and ``wide`` holes, for ``vae``."""
    polish: int
    memory: float
    """Peak, bytes."""
    seconds: float
    """Of all maps."""


def make_plan(observed: ArrayLike, request: Request, *, holes: Mask | None = None) -> Plan:
    """Plan a fill, tiles included, without filling.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, True where observed, and not missing in the map.
    request
        What is asked for.
    holes
        ``(npix,)``, RING: the unobserved pixels to be filled; all if not given.
    """
    observed = as_mask(observed, taker="plan.make_plan")
    nside = nside_of(observed, "observed")
    config = MosaicConfig()
    runs = Runs.of(observed, False)
    worked = _worked(observed, request, holes)
    tiled = request.method == "vae" and nside > config.whole_nside
    polish = _polish(request, nside, int(worked.sum()))
    tiles = (
        count_tiles(observed, runs, config, polished=bool(polish), wanted=holes) if tiled else {}
    )
    filled = runs.regions[1] if holes is None else Runs.of(holes).regions[1]
    informed = request.method in ("vae", "gaussian") or bool(request.polish)
    return Plan(
        nside=nside,
        holes=filled.size,
        hole_pixels=int(filled.sum()),
        masked=int(filled.sum()) / observed.size,
        method=request.method,
        prior=("given" if request.known else "fitted") if informed else "none",
        stages=_stages(request, worked, tiles, nside=nside, polish=bool(polish)),
        tiles=tiles,
        polish=polish,
        memory=_memory(request, nside, worked, sum(tiles.values()), wide="wide" in tiles),
        seconds=_seconds(
            request, nside, sum(tiles.values()), wide=bool(polish) and "wide" in tiles
        ),
    )


def _worked(observed: Mask, request: Request, holes: Mask | None) -> NDArray[np.int64]:
    """Give the sizes of the holes that are worked on: exact means want all that is missing."""
    config = MosaicConfig()
    nside = nside_of(observed, "observed")
    exact = request.method == "gaussian" or (request.method == "diffuse" and bool(request.polish))
    exact = exact or (request.method == "vae" and nside <= config.polished_nside)
    if holes is None or exact:
        return Runs.of(observed, False).regions[1]
    return Runs.of(holes).regions[1]


def within(
    observed: ArrayLike, request: Request, limit: float, *, holes: Mask | None = None
) -> Request:
    """Refuse a fill that takes more memory than it may; else say how many tiles fit at once.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, True where observed.
    request
        What is asked for.
    limit
        Bytes.
    holes
        As for `make_plan`.

    Raises
    ------
    ValueError
        It takes more; the message says how much, and what could be done.
    """
    observed = as_mask(observed, taker="plan.make_plan")
    nside = nside_of(observed, "observed")
    sizes = _worked(observed, request, holes)
    wanted = Runs.of(observed, False) if holes is None else Runs.of(holes)
    tiles = _guess_tiles(observed, wanted) if request.method == "vae" else 0
    least = _memory(replace(request, batch_size=2), nside, sizes, tiles)
    if least > limit:
        raise ValueError(
            f"{request.method} takes some {_amount(least)} for {sizes.sum()} hole pixels at Nside "
            f"{nside}, `limit` is {_amount(limit)}; "
            f"{_advice(request, nside, sizes, tiles, limit)}"
        )
    if request.method not in ("vae", "cosmovae"):
        return request
    most = int((limit - least) // _TILE_WORK) + 2
    return replace(request, batch_size=min(request.batch_size or _BATCH, most))


def _advice(
    request: Request, nside: int, sizes: NDArray[np.int64], tiles: int, limit: float
) -> str:
    """Say what fits."""
    plain = replace(request, polish=0, batch_size=2)
    if request.method == "vae" and _memory(plain, nside, sizes, tiles) <= limit:
        return "without polish it fits (`polish=0`)"
    other = _memory(Request("diffuse"), nside, sizes, 0)
    if request.method != "diffuse" and other <= limit:
        return f"`method='diffuse'` takes {_amount(other)}"
    lower = nside // 2
    while lower and _memory(plain, lower, sizes // (nside // lower) ** 2, tiles) > limit:
        lower //= 2
    return f"at Nside {lower} it fits" if lower else "nothing fits; raise it"


def _amount(memory: float) -> str:
    """Write bytes for people."""
    return f"{memory / GIB:.1f} GiB" if memory >= GIB else f"{memory / 2**20:.0f} MiB"


def _memory(
    request: Request, nside: int, sizes: NDArray[np.int64], tiles: int, *, wide: bool = True
) -> float:
    """Estimate the peak, bytes: that of the stage which takes most."""
    npix, holes = 12 * nside**2, int(sizes.sum())
    polish = bool(_polish(request, nside, holes))
    work = float(_TILE_WORK * (request.batch_size or _BATCH))
    small = sizes[affordable(sizes)]
    law = wide_bytes if wide and nside > MosaicConfig.polished_nside else polish_bytes
    polishing = _PLAIN + law(nside, holes, small)
    exact = _PLAIN + solve_bytes(nside, holes, small)
    if request.method == "diffuse":
        hole = _DIFFUSE_HOLE + (_TABLE_HOLE if holes <= TABLE else 0.0)
        diffusing = _PLAIN + _DIFFUSE * npix + hole * holes
        return max(diffusing, exact) if polish else diffusing
    if request.method == "gaussian":
        return exact
    if request.method == "vae" and nside <= MosaicConfig.whole_nside:
        return exact + _TORCH - _PLAIN
    if request.method == "cosmovae":
        tiles = _CUTS  # as many as it likes, none of which is kept
    work += _CUT * min(tiles, _CUTS) + _PASTED * min(holes, _PASTES)
    tiling = _TORCH + _TILES * npix + _TILES_HOLE * holes + _TILE * tiles + work
    if not polish:
        return tiling
    kept = 8.0 * npix + block_bytes(small)[0]
    return max(tiling + kept, polishing + _TORCH - _PLAIN + _KEPT)


def _seconds(request: Request, nside: int, tiles: int, *, wide: bool = False) -> float:
    """Estimate the time from start to end."""
    whole = request.method == "vae" and nside <= MosaicConfig.whole_nside
    begin, further = _SECONDS["gaussian" if whole else request.method]
    million = 12 * nside**2 / 1e6
    terms = np.array([1.0, million, million * nside / 1000, tiles / 1000])
    if wide and not whole and nside > MosaicConfig.polished_nside:
        begin, further = np.array(begin) + _POLISH[0], np.array(further) + _POLISH[1]
    fit = 0.0 if request.known or request.method in ("diffuse", "cosmovae") else _FIT * million
    return float(terms @ begin + (request.maps - 1) * (terms @ further) + fit)


def _polish(request: Request, nside: int, holes: int) -> int:
    """Give the exact iterations at the end; none after vae where memory is too small for them."""
    if request.method == "vae" and not fits(nside, holes):
        return 0
    if request.polish is not None:
        return request.polish
    config = MosaicConfig()
    if request.method != "vae" or nside <= config.whole_nside:
        return 0
    return usual_polish(nside, config)


def _stages(
    request: Request,
    sizes: NDArray[np.int64],
    tiles: Mapping[str, int],
    *,
    nside: int,
    polish: bool,
) -> tuple[str, ...]:
    """Name the stages as they will be shown."""
    fitted = not request.known and (request.method in ("vae", "gaussian") or bool(request.polish))
    stages = ["read"] + ["prior"] * fitted
    drawn = ["latent sky"] * (request.method in ("vae", "gaussian"))
    if request.method == "vae" and nside > MosaicConfig.whole_nside:
        stages += ["prepare"] * polish + ["plan", *drawn]
        stages += ["blocks"] * (polish and bool(affordable(sizes).any()))
        stages += ["small holes"] * ("small" in tiles)
        stages += ["coarse level", "wide holes"] * ("wide" in tiles)
    elif request.method == "vae":
        stages += [*drawn, "whole sky"]
    elif request.method == "gaussian":
        stages += ["prepare", *drawn, "exact mean"]
    elif request.method == "diffuse":
        stages += ["prepare"] * polish + ["diffuse"]
    else:
        stages += ["plan", "tiles"]
    return (*stages, *["polish"] * polish, "write")


def _guess_tiles(observed: Mask, holes: Runs) -> int:
    """Guess the number of tiles without planning them: cells where holes and data meet."""
    cell = max(holes.nside // 64, 1)
    data = Runs.of(observed).degraded(cell)
    both = np.intersect1d(holes.degraded(cell).pixels(), data.pixels(), assume_unique=True)
    return math.ceil(1.5 * both.size)
