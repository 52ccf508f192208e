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
from numpy.typing import NDArray

from skyfill._checks import nside_of
from skyfill.masks import label_holes
from skyfill.mosaic import MosaicConfig, count_tiles
from skyfill.tiling.search import any_child

__all__ = ["Plan", "Request", "make_plan", "within"]

Mask = NDArray[np.bool_]

GIB = 2**30
#: Tiles that a network fills at once where nothing is said, and bytes that each of them takes.
_BATCH, _TILE_WORK = 64, 5_000_000
#: Bytes of a tile that is kept.
_TILE = 4 * MosaicConfig.side**2


@dataclass(frozen=True)
class _Cost:
    """What a method takes.

    Attributes
    ----------
    fixed
        Bytes of program and libraries.
    pixel, hole
        Bytes for each pixel of the map, and for each of its holes.
    begin, further
        Seconds of a first map, and of each further one: of any, for each million of pixels, for
        their number (in millions) times Nside / 1000, for each thousand of tiles.
    """

    fixed: float
    pixel: float
    hole: float
    begin: tuple[float, float, float, float]
    further: tuple[float, float, float, float]


_COSTS = {
    "vae": _Cost(1.0e9, 40.0, 30.0, (5.0, 0.4, 0.1, 4.0), (2.0, 0.2, 0.0, 4.0)),
    "gaussian": _Cost(0.3e9, 115.0, 60.0, (3.0, 0.5, 0.7, 0.0), (1.0, 0.4, 0.6, 0.0)),
    "diffuse": _Cost(0.2e9, 14.0, 80.0, (2.0, 0.15, 0.0, 0.0), (0.5, 0.1, 0.0, 0.0)),
    "cosmovae": _Cost(0.9e9, 40.0, 80.0, (5.0, 0.2, 0.0, 50.0), (1.0, 0.2, 0.0, 50.0)),
}
#: Bytes for each pixel that polish adds to a method that does without.
_POLISH = 20.0
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
    """Connected ones."""
    hole_pixels: int
    masked: float
    """Share of the sky."""
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


def make_plan(observed: Mask, request: Request) -> Plan:
    """Plan a fill, tiles included, without filling.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, True where observed, and not missing in the map.
    request
        What is asked for.
    """
    nside = nside_of(observed.size, "mask")
    config = MosaicConfig()
    holes = int(np.count_nonzero(~observed))
    tiled = request.method == "vae" and nside > config.whole_nside
    tiles = count_tiles(observed, config) if tiled else {}
    informed = request.method in ("vae", "gaussian") or bool(request.polish)
    return Plan(
        nside=nside,
        holes=int(label_holes(observed).sizes.size),
        hole_pixels=holes,
        masked=holes / observed.size,
        method=request.method,
        prior=("given" if request.known else "fitted") if informed else "none",
        stages=_stages(request, nside, tiles),
        tiles=tiles,
        polish=_polish(request, nside),
        memory=_memory(request, nside, holes, sum(tiles.values())),
        seconds=_seconds(request, nside, sum(tiles.values())),
    )


def within(observed: Mask, request: Request, limit: float) -> Request:
    """Refuse a fill that takes more memory than it may; else say how many tiles fit at once.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, True where observed.
    request
        What is asked for.
    limit
        Bytes.

    Raises
    ------
    ValueError
        It takes more; the message says how much, and what could be done.
    """
    nside = nside_of(observed.size, "mask")
    holes = int(np.count_nonzero(~observed))
    tiles = _guess_tiles(observed) if request.method == "vae" else 0
    least = _memory(replace(request, batch_size=2), nside, holes, tiles)
    if least > limit:
        raise ValueError(
            f"{request.method} takes some {_amount(least)} for {holes} hole pixels at Nside "
            f"{nside}, --memory-limit is {_amount(limit)}; "
            f"{_advice(request, nside, holes, tiles, limit)}"
        )
    if request.method not in ("vae", "cosmovae"):
        return request
    most = int((limit - least) // _TILE_WORK) + 2
    return replace(request, batch_size=min(request.batch_size or _BATCH, most))


def _advice(request: Request, nside: int, holes: int, tiles: int, limit: float) -> str:
    """Say what fits."""
    if (
        request.method == "vae"
        and _memory(replace(request, polish=0), nside, holes, tiles) <= limit
    ):
        return "without polish it fits (--polish 0)"
    other = Request("diffuse")
    if request.method != "diffuse" and _memory(other, nside, holes, 0) <= limit:
        return f"--method diffuse takes {_amount(_memory(other, nside, holes, 0))}"
    lower, pixels = nside, holes
    while lower > 1 and _memory(request, lower, pixels, tiles) > limit:
        lower, pixels, tiles = lower // 2, pixels // 4, tiles // 2
    if lower > 1:
        return f"at Nside {lower} it fits"
    return "nothing fits; raise it"


def _amount(memory: float) -> str:
    """Write bytes for people."""
    return f"{memory / GIB:.1f} GiB" if memory >= GIB else f"{memory / 2**20:.0f} MiB"


def _memory(request: Request, nside: int, holes: int, tiles: int) -> float:
    """Estimate the peak, bytes."""
    cost = _COSTS[request.method]
    whole = request.method == "vae" and nside <= MosaicConfig.whole_nside
    if whole:
        cost = _COSTS["gaussian"]
    npix = 12 * nside**2
    total = cost.fixed + cost.pixel * npix + cost.hole * holes + _TILE * tiles
    if request.method in ("vae", "diffuse") and not whole and _polish(request, nside):
        total += _POLISH * npix
    if request.method in ("vae", "cosmovae") and not whole:
        total += _TILE_WORK * (request.batch_size or _BATCH)
    return total


def _seconds(request: Request, nside: int, tiles: int) -> float:
    """Estimate the time from start to end."""
    cost = _COSTS[request.method]
    if request.method == "vae" and nside <= MosaicConfig.whole_nside:
        cost = _COSTS["gaussian"]
    million = 12 * nside**2 / 1e6
    terms = np.array([1.0, million, million * nside / 1000, tiles / 1000])
    fit = 0.0 if request.known or request.method in ("diffuse", "cosmovae") else _FIT * million
    return float(terms @ cost.begin + (request.maps - 1) * (terms @ cost.further) + fit)


def _polish(request: Request, nside: int) -> int:
    """Give the exact iterations at the end."""
    if request.polish is not None:
        return request.polish
    config = MosaicConfig()
    if request.method != "vae" or nside <= config.whole_nside:
        return 0
    return 4 if nside <= config.polished_nside else 1


def _stages(request: Request, nside: int, tiles: Mapping[str, int]) -> tuple[str, ...]:
    """Name the stages as they will be shown."""
    fitted = not request.known and (request.method in ("vae", "gaussian") or bool(request.polish))
    polish = bool(_polish(request, nside))
    stages = ["read"] + ["prior"] * fitted
    drawn = ["latent sky"] * (request.method in ("vae", "gaussian"))
    if request.method == "vae" and nside > MosaicConfig.whole_nside:
        stages += ["prepare"] * polish + ["plan", *drawn]
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


def _guess_tiles(observed: Mask) -> int:
    """Guess the number of tiles without planning them: cells where holes and data meet."""
    nside = nside_of(observed.size, "mask")
    cell = max(nside // 64, 1)
    holes, data = np.empty(12 * cell**2, np.bool_), np.empty(12 * cell**2, np.bool_)
    any_child(nside, ~observed, cell, holes)
    any_child(nside, observed, cell, data)
    return math.ceil(1.5 * np.count_nonzero(holes & data))
