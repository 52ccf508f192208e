"""What a fill method is: how it is prepared, what it fills and what it costs.

A method of your own is a class like those of `skyfill.inpaint.diffusing`: derive it from `Method`,
name it in `skyfill.inpaint.options.METHODS` and in `skyfill.inpaint.methods`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from skyfill.files.cache import Kept
from skyfill.gaussian import Certificate, Solver
from skyfill.healpix.stokes import nside_of
from skyfill.holes import UnusableSkyError
from skyfill.holes.runs import Runs
from skyfill.inpaint.options import FillOptions
from skyfill.prior import ARCMIN, Given, Prior
from skyfill.progress import Progress

if TYPE_CHECKING:
    from skyfill.vae import ModelCard

__all__ = [
    "PROGRAM",
    "ConvergenceError",
    "Fill",
    "Method",
    "Pace",
    "Setup",
    "held_to_noise",
    "noise_variance",
    "refuse_flat",
]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]
Sizes = NDArray[np.int64]

#: Bytes of the program with its libraries, without torch.
PROGRAM = 0.30e9


class ConvergenceError(ValueError):
    """A fill that has not converged, and was not accepted."""


class Fill(Protocol):
    """What the pipeline asks of a method once it is prepared for a mask.

    Attributes
    ----------
    certificate
        How exact the last mean is, where one of the whole sphere was solved for.
    trouble
        What has not converged in it; None where all has.
    polish
        Exact iterations at the end.
    """

    certificate: Certificate | None
    trouble: str | None
    polish: int

    def mean(self, values: Map, *, overwrite: bool = False) -> Map:
        """Give the mean in the holes, ``(nhole,)`` in RING order; values there are not read.

        With ``overwrite`` the map is scratch memory: it may be changed.
        """


@dataclass(frozen=True)
class Setup:
    """What a method is prepared from.

    Attributes
    ----------
    observed
        ``(npix,)``, RING, True where there are data.
    holes
        ``(npix,)``, RING: the unobserved pixels to be filled; None for all.
    prior
        What the map is made of; None for a method that needs none.
    noise_variance
        ``(npix,)``, RING, µK², in place of the prior's white noise.
    options
        How the map is filled.
    kept
        Cache for arrays that depend only on mask and prior.
    progress
        Told of every stage.
    """

    observed: Mask
    holes: Mask | None
    prior: Prior | None
    noise_variance: Map | None
    options: FillOptions
    kept: Kept
    progress: Progress

    @property
    def known_prior(self) -> Prior:
        """The prior of a method that needs one."""
        if self.prior is None:
            raise ValueError("the method has no prior")
        return self.prior

    @property
    def chosen(self) -> Mask | None:
        """Which of the unobserved pixels are to be filled, ``(nmissing,)``; None for all."""
        return None if self.holes is None else self.holes[~self.observed]

    def solver(self) -> Solver:
        """Prepare the exact solver for all unobserved pixels."""
        self.progress.stage("prepare")
        solver = Solver.for_prior(
            self.observed,
            self.known_prior,
            marginal=self.options.marginal,
            noise_variance=self.noise_variance,
            threads=self.options.threads,
            kept=self.kept,
        )
        self.progress.done(str(solver))
        return solver


@dataclass(frozen=True)
class Pace:
    """Seconds of one map on two CPU cores, a fit to measured runs.

    Attributes
    ----------
    start
        Of any map.
    pixels
        For each million of pixels.
    transforms
        For each million of pixels times Nside / 1000.
    tiles
        For each thousand of tiles.
    """

    start: float = 0.0
    pixels: float = 0.0
    transforms: float = 0.0
    tiles: float = 0.0

    def seconds(self, nside: int, tiles: int) -> float:
        """Add them up."""
        million = 12 * nside**2 / 1e6
        fixed = self.start + self.pixels * million
        return fixed + self.transforms * million * nside / 1000 + self.tiles * tiles / 1000


class Method(ABC):
    """A fill method with its options, at one resolution: what it needs, builds and costs.

    Memory and seconds are fits to measured runs (docs/measured.md, "Memory").

    Attributes
    ----------
    stochastic
        Whether it draws samples of a posterior.
    noisy
        Whether it takes a map of the noise in each pixel.
    batch
        Tiles at once where nothing is said; None where there are no tiles.
    paces
        Of the first map, and of each further one.
    """

    stochastic: ClassVar[bool] = True
    noisy: ClassVar[bool] = False
    batch: ClassVar[int | None] = None
    paces: ClassVar[tuple[Pace, Pace]]

    def __init__(self, options: FillOptions, nside: int) -> None:
        self.options = options
        self.nside = nside

    @property
    def informed(self) -> bool:
        """Whether it needs a prior."""
        return True

    @property
    def exact(self) -> bool:
        """Whether it solves for all unobserved pixels, whichever of them are to be filled."""
        return False

    @property
    def single(self) -> bool:
        """Whether the numbers of a float32 map need no more digits."""
        return False

    def polish(self, holes: int) -> int:  # noqa: ARG002
        """Give the exact iterations at the end, for so many hole pixels."""
        return 0

    def count_tiles(
        self,
        observed: Mask,  # noqa: ARG002
        holes: Mask | None,  # noqa: ARG002
        polish: int,  # noqa: ARG002
    ) -> dict[str, int]:
        """Count the tiles of ``small`` and ``wide`` holes; ``holes`` are those to be filled."""
        return {}

    def guess_tiles(self, observed: Mask, holes: Runs) -> dict[str, int]:  # noqa: ARG002
        """Guess the number of tiles without planning them."""
        return {}

    @abstractmethod
    def prepare(self, setup: Setup) -> tuple[Fill, ModelCard | None]:
        """Prepare for a mask and a prior; give the model card, too, where a network is used."""

    @abstractmethod
    def stages(self, sizes: Sizes, tiles: Mapping[str, int]) -> list[str]:
        """Name the stages of a realization, as they are shown, between prior and writing.

        Parameters
        ----------
        sizes
            ``(n,)``, pixels of each hole that is worked on.
        tiles
            From `count_tiles`.
        """

    @abstractmethod
    def memory(self, sizes: Sizes, tiles: Mapping[str, int]) -> float:
        """Estimate the peak, bytes; the arguments are those of `stages`."""

    def seconds(self, maps: int, tiles: Mapping[str, int], polish: int) -> float:  # noqa: ARG002
        """Estimate the time of so many maps, that of fitting a prior apart."""
        number = sum(tiles.values())
        first, further = (pace.seconds(self.nside, number) for pace in self.paces)
        return first + (maps - 1) * further


def noise_variance(noise_rms: Map | None, seen: Mask) -> Map | None:
    """Square a map of noise, and put its median where it is missing in holes."""
    if noise_rms is None:
        return None
    if noise_rms.shape != seen.shape:
        raise ValueError(
            f"the noise map has Nside {nside_of(noise_rms, 'noise_rms')}, the map "
            f"{nside_of(seen, 'observed')}"
        )
    known = np.isfinite(noise_rms) & (noise_rms > 0)
    unknown = int(np.count_nonzero(seen & ~known))
    if unknown:
        raise ValueError(
            f"the noise map must be a positive number in every observed pixel; in {unknown} of"
            f" {np.count_nonzero(seen)} it is 0, negative or missing: mask these pixels, or put"
            " their noise into the map"
        )
    return np.where(known, noise_rms, np.median(noise_rms[seen])) ** 2


def held_to_noise(given: Given, variance: Map | None, seen: Mask) -> Given:
    """Take a map of noise for the white noise of a prior that has none: its mean, not a fit."""
    if variance is None or given.base is not None or given.noise_uk_arcmin is not None:
        return given
    white = math.sqrt(float(np.mean(variance[seen])) * 4 * math.pi / seen.size) / ARCMIN
    return replace(given, noise_uk_arcmin=white)


def refuse_flat(values: Map, seen: Mask) -> None:
    """Refuse to fit a prior to one value."""
    first = values[np.argmax(seen)]
    if np.all(values == first, where=seen):
        raise UnusableSkyError(
            "the observed sky has one value only, which says nothing of beam and noise; give both"
            " (`fwhm`, `noise_uk_arcmin`), or pass `method='diffuse'`"
        )
