"""Say before a fill what it will take: tiles, memory, time.

Memory and seconds are fits to measured runs (docs/measured.md, "Memory"): on two CPU cores, within
25% and within a factor of two. They are no bounds: another machine is faster or slower, and
another mask may ask for more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.healpix.arrays import as_mask
from skyfill.healpix.stokes import nside_of
from skyfill.holes.runs import Runs
from skyfill.inpaint.fills import Method
from skyfill.inpaint.methods import method_of
from skyfill.inpaint.options import FillOptions
from skyfill.mosaic import MosaicConfig
from skyfill.vae.memory import batch_bytes

__all__ = ["Plan", "Request", "make_plan", "within"]

Mask = NDArray[np.bool_]
Sizes = NDArray[np.int64]

GIB = 2**30
#: Seconds for each million of pixels that fitting beam and noise takes.
_FIT = 0.25
#: Fewest tiles at once.
_LEAST = 2


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes
    ----------
    method
        Of `skyfill.Inpainter`.
    known
        Whether the prior is given; if not, it is fitted.
    polish, batch_size, config
        As for `skyfill.Inpainter`.
    maps
        How many fills: realizations, or those behind a spread.
    """

    method: str = FillOptions.method
    known: bool = False
    polish: int | None = None
    batch_size: int | None = None
    maps: int = 1
    config: MosaicConfig | None = None

    @classmethod
    def of(cls, options: FillOptions, *, known: bool, maps: int = 1) -> Request:
        """Ask for what options say."""
        return cls(
            method=options.method,
            known=known,
            polish=options.polish,
            batch_size=options.batch_size,
            maps=maps,
            config=options.config,
        )

    def at(self, nside: int) -> Method:
        """Give the method that is asked for, at a resolution."""
        options = FillOptions(
            method=self.method,
            polish=self.polish,
            batch_size=self.batch_size,
            config=self.config,
        )
        return method_of(options, nside)


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
    method = request.at(nside)
    worked = _worked(observed, method, holes)
    polish = method.polish(int(worked.sum()))
    tiles = method.count_tiles(observed, holes, polish)
    filled = (Runs.of(observed, False) if holes is None else Runs.of(holes)).regions[1]
    fitted = method.informed and not request.known
    prior = ["prior"] if fitted else []
    return Plan(
        nside=nside,
        holes=filled.size,
        hole_pixels=int(filled.sum()),
        masked=int(filled.sum()) / observed.size,
        method=request.method,
        prior=("fitted" if fitted else "given") if method.informed else "none",
        stages=("read", *prior, *method.stages(worked, tiles), "write"),
        tiles=tiles,
        polish=polish,
        memory=method.memory(worked, tiles),
        seconds=method.seconds(request.maps, tiles, polish)
        + (_FIT * observed.size / 1e6 if fitted else 0.0),
    )


def _worked(observed: Mask, method: Method, holes: Mask | None) -> Sizes:
    """Give the sizes of the holes that are worked on: exact means want all that is missing."""
    if holes is None or method.exact:
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
    method = replace(request, batch_size=_LEAST).at(nside)
    sizes = _worked(observed, method, holes)
    wanted = Runs.of(observed, False) if holes is None else Runs.of(holes)
    tiles = method.guess_tiles(observed, wanted)
    least = method.memory(sizes, tiles)
    if least > limit:
        raise ValueError(
            f"{request.method} takes some {_amount(least)} for {sizes.sum()} hole pixels at Nside "
            f"{nside}, `limit` is {_amount(limit)}; "
            f"{_advice(request, nside, sizes, tiles, limit)}"
        )
    if method.batch is None:
        return request
    tile = batch_bytes(1, method.options.mosaic.side)
    most = int((limit - least) // tile) + _LEAST
    return replace(request, batch_size=min(request.batch_size or method.batch, most))


def _advice(
    request: Request, nside: int, sizes: Sizes, tiles: Mapping[str, int], limit: float
) -> str:
    """Say what fits."""
    plain = replace(request, polish=0, batch_size=_LEAST)
    polish = request.at(nside).polish(int(sizes.sum()))
    if polish and plain.at(nside).memory(sizes, tiles) <= limit:
        return "without polish it fits (`polish=0`)"
    other = Request("diffuse").at(nside).memory(sizes, {})
    if request.method != "diffuse" and other <= limit:
        return f"`method='diffuse'` takes {_amount(other)}"
    lower = nside // 2
    while lower and plain.at(lower).memory(sizes // (nside // lower) ** 2, tiles) > limit:
        lower //= 2
    return f"at Nside {lower} it fits" if lower else "nothing fits; raise it"


def _amount(memory: float) -> str:
    """Write bytes for people."""
    return f"{memory / GIB:.1f} GiB" if memory >= GIB else f"{memory / 2**20:.0f} MiB"
