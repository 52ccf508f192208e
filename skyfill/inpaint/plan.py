"""Estimate the cost of a fill before it starts: tiles, memory, time.

Memory and run time are fits to runs on two CPU cores (docs/measured.md, "Memory"). Memory is within
25% of the measured values, run time within a factor of two; of ``gaussian`` only if the prior is
known, since a deep map takes more iterations. They are estimates, not bounds: another machine may
be slower, and another mask may need more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.brief import brief
from skyfill.diffuse import diffuse_bytes
from skyfill.gaussian.memory import joint_bytes
from skyfill.healpix.arrays import as_mask
from skyfill.healpix.stokes import nside_of
from skyfill.holes.runs import Runs
from skyfill.inpaint.choice import choose_method
from skyfill.inpaint.fills import PROGRAM, Method
from skyfill.inpaint.jointmean import joint_size
from skyfill.inpaint.methods import method_of
from skyfill.inpaint.options import AUTO, FillOptions
from skyfill.inpaint.turns import turns_bytes
from skyfill.mosaic import MosaicConfig
from skyfill.prior import Prior
from skyfill.vae.memory import batch_bytes

__all__ = ["FieldPlan", "JointPlan", "Plan", "Request", "make_joint_plan", "make_plan", "within"]

Mask = NDArray[np.bool_]
Sizes = NDArray[np.int64]

GIB = 2**30
#: Time to fit beam and noise, seconds per million pixels.
_FIT = 0.25
#: Run time of Q and U, and of T, Q and U, over that of T alone; more if P has little noise.
_JOINT_TIME = {("P",): 1.2, ("T", "P"): 2.5}
#: Run time of T, Q and U over that of T alone, by ``vae``.
_TURNS = 3.2
#: Smallest number of tiles per batch.
_LEAST = 2


@dataclass(frozen=True)
class Request:
    """The fill to plan.

    Attributes
    ----------
    method, polish, batch_size, config
        As for `skyfill.Inpainter`.
    known
        Whether the prior is given; if not, it is fitted.
    maps
        Number of fills: realizations, or the fills from which a spread is computed.
    mapped
        Whether a noise map is given.
    prior
        Prior of the map, given or fitted. ``gaussian`` takes more time the deeper the map is; if no
        prior is given, it is planned for the noise of Planck.
    """

    __repr__ = brief

    method: str = FillOptions.method
    known: bool = False
    polish: int | None = None
    batch_size: int | None = None
    maps: int = 1
    config: MosaicConfig | None = None
    mapped: bool = False
    prior: Prior | None = None

    @classmethod
    def of(
        cls,
        options: FillOptions,
        *,
        known: bool,
        maps: int = 1,
        mapped: bool = False,
        prior: Prior | None = None,
    ) -> Request:
        """Build a request from the options of a fill."""
        return cls(
            method=options.method,
            known=known,
            polish=options.polish,
            batch_size=options.batch_size,
            maps=maps,
            config=options.config,
            mapped=mapped,
            prior=prior,
        )

    def at(self, nside: int) -> Method:
        """Build the requested method at one resolution."""
        return method_of(self._options(), nside, mapped=self.mapped)

    def _options(self) -> FillOptions:
        """Return what the request says of the options of a fill."""
        return FillOptions(
            method=self.method,
            polish=self.polish,
            batch_size=self.batch_size,
            config=self.config,
        )

    def settled(self, observed: Mask, *, limit: float | None = None) -> Request:
        """Return the request with a method in place of ``auto``, see `choose_method`.

        Parameters
        ----------
        observed
            ``(npix,)``, RING, True where observed.
        limit
            Memory limit, bytes; that of the machine if None.
        """
        if self.method != AUTO:
            return self
        choice = choose_method(self._options(), observed, mapped=self.mapped, limit=limit)
        return replace(self, method=choice.method)


@dataclass(frozen=True)
class Plan:
    """The stages of a fill and their estimated cost."""

    __repr__ = brief

    nside: int
    holes: int
    """Number of connected holes that are filled."""
    hole_pixels: int
    masked: float
    """Share of the sky that is filled."""
    method: str
    prior: str
    """``given``, ``fitted``, or ``none`` for a method without a prior."""
    stages: tuple[str, ...]
    tiles: Mapping[str, int]
    """Number of tiles for ``small`` and ``wide`` holes, for ``vae``."""
    polish: int
    memory: float
    """Peak memory, bytes."""
    seconds: float
    """Run time of all maps."""


@dataclass(frozen=True)
class FieldPlan:
    """What is filled of T, or of Q and U."""

    __repr__ = brief

    holes: int
    """Number of connected holes."""
    hole_pixels: int
    masked: float
    """Share of the sky that is filled."""


@dataclass(frozen=True)
class JointPlan:
    """The stages of a fill of polarization and their estimated cost."""

    __repr__ = brief

    nside: int
    fields: Mapping[str, FieldPlan]
    """By field: ``T`` and ``P``, or ``P``."""
    method: str
    prior: str
    """``given``, ``fitted``, or ``none``, as in `Plan`."""
    stages: tuple[str, ...]
    maps: int
    memory: float
    """Peak memory, bytes."""
    seconds: float
    """Run time of all maps; it depends on the noise of Q and U, and is a rough guess."""


def make_joint_plan(
    observed: Mapping[str, Mask], *, method: str = "gaussian", known: bool = False, maps: int = 1
) -> JointPlan:
    """Plan a fill of polarization without filling.

    Parameters
    ----------
    observed
        For each field, ``T`` and ``P`` or ``P``, ``(npix,)``, RING, True where observed and not
        missing in the map.
    method
        ``gaussian``, ``diffuse`` or, for T with P, ``vae``.
    known
        Whether the prior is given; if not, it is fitted.
    maps
        Number of fills.
    """
    seen = {name: as_mask(each, taker="plan.make_joint_plan") for name, each in observed.items()}
    nside = nside_of(seen["P"], "observed")
    sizes = {name: Runs.of(each, False).regions[1] for name, each in seen.items()}
    npix = seen["P"].size
    fields = {
        name: FieldPlan(each.size, int(each.sum()), int(each.sum()) / npix)
        for name, each in sizes.items()
    }
    alone = Request(method, known=known).at(nside)
    pixels = {name: each.hole_pixels for name, each in fields.items()}
    seconds = alone.seconds(maps, {}, 0) * _JOINT_TIME[tuple(fields)]
    if method == "diffuse":
        memory = PROGRAM + diffuse_bytes(nside, pixels["P"], polarized=True)
        if "T" in pixels:  # its fill lies in memory beside that of Q and U
            memory += 4 * npix
        prior = "none"
        stages: tuple[str, ...] = ("diffuse",)
    else:
        memory = PROGRAM + joint_bytes(nside, *joint_size(sizes))
        prior = "given" if known else "fitted"
        stages = (*(["prior"] if not known else []), "latent sky", "exact mean")
        seconds += 0.0 if known else _FIT * npix / 1e6
        if method == "vae" and "T" in sizes:
            tiles = alone.guess_tiles(seen["T"], Runs.of(seen["T"], False))
            memory, _ = turns_bytes(seen["T"], seen["P"], FillOptions(method="vae"))
            of_t = [name for name in alone.stages(sizes["T"], tiles) if name != "latent sky"]
            stages = (*stages[:-1], *of_t, "P given T")
            seconds += _TURNS * alone.seconds(maps, tiles, alone.polish(pixels["T"]))
            seconds -= alone.seconds(maps, {}, 0) * _JOINT_TIME[tuple(fields)]
    return JointPlan(
        nside=nside,
        fields=fields,
        method=method,
        prior=prior,
        stages=("read", *stages, "write"),
        maps=maps,
        memory=memory,
        seconds=seconds,
    )


def make_plan(observed: ArrayLike, request: Request, *, holes: Mask | None = None) -> Plan:
    """Plan a fill, including its tiles, without filling.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, True where observed and not missing in the map.
    request
        The fill to plan.
    holes
        ``(npix,)``, RING: True for the unobserved pixels to fill; all if not given.
    """
    observed = as_mask(observed, taker="plan.make_plan")
    nside = nside_of(observed, "observed")
    request = request.settled(observed)
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
        memory=method.memory(worked, tiles) + method.deeper(worked, request.prior),
        seconds=method.seconds(request.maps, tiles, polish, worked, request.prior)
        + (_FIT * observed.size / 1e6 if fitted else 0.0),
    )


def _worked(observed: Mask, method: Method, holes: Mask | None) -> Sizes:
    """Return the sizes of the holes that the method solves for; exact methods solve for all."""
    if holes is None or method.exact:
        return Runs.of(observed, False).regions[1]
    return Runs.of(holes).regions[1]


def within(
    observed: ArrayLike, request: Request, limit: float, *, holes: Mask | None = None
) -> Request:
    """Refuse a fill that needs more memory than the limit; else set the number of tiles per batch.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, True where observed.
    request
        The fill to plan.
    limit
        Memory limit, bytes.
    holes
        As for `make_plan`.

    Raises
    ------
    ValueError
        The fill needs more; the message says how much, and suggests what to change.
    """
    observed = as_mask(observed, taker="plan.make_plan")
    nside = nside_of(observed, "observed")
    request = request.settled(observed, limit=limit)
    method = replace(request, batch_size=_LEAST).at(nside)
    sizes = _worked(observed, method, holes)
    wanted = Runs.of(observed, False) if holes is None else Runs.of(holes)
    tiles = method.guess_tiles(observed, wanted)
    least = method.memory(sizes, tiles) + method.deeper(sizes, request.prior)
    if least > limit:
        raise ValueError(
            f"{request.method} takes about {_amount(least)} for {sizes.sum()} hole pixels at Nside "
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
    """Suggest a fill that fits into the limit."""
    plain = replace(request, polish=0, batch_size=_LEAST)
    polish = request.at(nside).polish(int(sizes.sum()))
    if polish and plain.at(nside).memory(sizes, tiles) <= limit:
        return "it fits without polish (`polish=0`)"
    other = Request("diffuse").at(nside).memory(sizes, {})
    if request.method != "diffuse" and other <= limit:
        return f"`method='diffuse'` takes {_amount(other)}"
    lower = nside // 2
    while lower and plain.at(lower).memory(sizes // (nside // lower) ** 2, tiles) > limit:
        lower //= 2
    return f"at Nside {lower} it fits" if lower else "nothing fits; raise `limit`"


def _amount(memory: float) -> str:
    """Format a number of bytes in GiB or MiB."""
    return f"{memory / GIB:.1f} GiB" if memory >= GIB else f"{memory / 2**20:.0f} MiB"
