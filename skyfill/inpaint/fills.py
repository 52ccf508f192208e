"""The interface of a fill method: how it is prepared, how it fills and what it costs.

To add a method, write two classes like those of `skyfill.inpaint.diffusing`: a `Fill` and a
`Method`. Then add its name to `skyfill.inpaint.options.METHODS` and its class to
`skyfill.inpaint.methods`.
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.brief import brief
from skyfill.files.cache import Kept
from skyfill.gaussian import Certificate, ConvergenceWarning, Solver
from skyfill.harmonics import device_for
from skyfill.healpix.arrays import as_map
from skyfill.healpix.stokes import nside_of
from skyfill.holes import UnusableSkyError
from skyfill.holes.runs import Runs
from skyfill.inpaint.options import FillOptions
from skyfill.prior import ARCMIN, Given, NoiseEstimate, Prior, estimate_noise
from skyfill.progress import Progress

if TYPE_CHECKING:
    from skyfill.vae import ModelCard

__all__ = [
    "AUTO",
    "PROGRAM",
    "ConvergenceError",
    "Fill",
    "Method",
    "Pace",
    "Setup",
    "estimated_noise",
    "given_noise",
    "held_to_noise",
    "noise_variance",
    "refuse_flat",
    "slow",
    "unconverged",
]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]
Sizes = NDArray[np.int64]

AUTO = "auto"
"""In place of a noise map: the noise is estimated from the observed sky."""
#: Memory of the program and its libraries without torch, bytes.
PROGRAM = 0.30e9
#: Noise variance as a share of the signal's, below which noise hardly helps convergence.
_NOISE_FREE = 2e-3
#: The share with which every fill that was tried has converged.
_SOME_NOISE = 0.01


class ConvergenceError(ValueError):
    """The fill has not converged, and ``accept`` is False."""


class Fill(Protocol):
    """A method prepared for one mask.

    Attributes
    ----------
    certificate
        Accuracy of the last mean; None if the method does not solve for the whole sphere.
    trouble
        The part of the last mean that has not converged; None if all has.
    polish
        Number of exact iterations at the end.
    """

    certificate: Certificate | None
    trouble: str | None
    polish: int

    def mean(self, values: Map, *, overwrite: bool = False) -> Map:
        """Compute the mean in the holes, ``(nhole,)`` in RING order.

        Values in the holes are not read. With ``overwrite`` the method may change ``values``.
        """


@dataclass(frozen=True)
class Setup:
    """The inputs that a method is prepared from.

    Attributes
    ----------
    observed
        ``(npix,)``, RING, True where there are data.
    holes
        ``(npix,)``, RING: True for the unobserved pixels to fill; None for all.
    prior
        Prior of the map; None for a method without one.
    noise_variance
        ``(npix,)``, RING, µK²: noise variance in each pixel, in place of the prior's white noise.
    options
        How the map is filled.
    kept
        Cache for arrays that depend only on mask and prior.
    progress
        Receives the stages.
    """

    __repr__ = brief

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
        """True for the unobserved pixels to fill, ``(nmissing,)``; None for all."""
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
            device=device_for(self.options.device),
        )
        self.progress.done(str(solver))
        return solver


@dataclass(frozen=True)
class Pace:
    """Run time of one map on two CPU cores, fitted to measured runs.

    Attributes
    ----------
    start
        Seconds for any map.
    pixels
        Seconds per million pixels.
    transforms
        Seconds per million pixels times Nside / 1000.
    tiles
        Seconds per thousand tiles.
    """

    start: float = 0.0
    pixels: float = 0.0
    transforms: float = 0.0
    tiles: float = 0.0

    def seconds(self, nside: int, tiles: int) -> float:
        """Add up the terms, seconds."""
        million = 12 * nside**2 / 1e6
        fixed = self.start + self.pixels * million
        return fixed + self.transforms * million * nside / 1000 + self.tiles * tiles / 1000


class Method(ABC):
    """A fill method with its options at one resolution: its requirements, stages and cost.

    Parameters
    ----------
    options, nside
        How the map is filled, and its resolution.
    mapped
        Whether a noise map is given.

    Memory and seconds are fits to measured runs (docs/measured.md, "Memory").

    Attributes
    ----------
    stochastic
        Whether the method draws samples of a posterior.
    batch
        Default number of tiles per batch; None for a method without tiles.
    paces
        Run time of the first map, and of each further map.
    """

    stochastic: ClassVar[bool] = True
    batch: ClassVar[int | None] = None
    paces: ClassVar[tuple[Pace, Pace]]

    def __init__(self, options: FillOptions, nside: int, *, mapped: bool = False) -> None:
        self.options = options
        self.nside = nside
        self.mapped = mapped

    @property
    def informed(self) -> bool:
        """Whether the method needs a prior."""
        return True

    @property
    def unmapped(self) -> str | None:
        """Why the method accepts no noise map (``noise_rms``), and what to change; else None."""
        return None

    @property
    def exact(self) -> bool:
        """Whether the method solves for all unobserved pixels, even if only some are filled."""
        return False

    @property
    def single(self) -> bool:
        """Whether float32 maps may be filled in float32."""
        return False

    def polish(self, holes: int) -> int:  # noqa: ARG002
        """Return the number of exact iterations at the end, for this number of hole pixels."""
        return 0

    def count_tiles(
        self,
        observed: Mask,  # noqa: ARG002
        holes: Mask | None,  # noqa: ARG002
        polish: int,  # noqa: ARG002
    ) -> dict[str, int]:
        """Count the tiles of ``small`` and ``wide`` holes; ``holes`` marks the pixels to fill."""
        return {}

    def guess_tiles(self, observed: Mask, holes: Runs) -> dict[str, int]:  # noqa: ARG002
        """Estimate the number of tiles without planning them."""
        return {}

    @abstractmethod
    def prepare(self, setup: Setup) -> tuple[Fill, ModelCard | None]:
        """Prepare the method for a mask and a prior.

        Returns
        -------
        The prepared fill, and the model card of its network; None without a network.
        """

    @abstractmethod
    def stages(self, sizes: Sizes, tiles: Mapping[str, int]) -> list[str]:
        """Name the displayed stages of a realization, after the prior and before writing.

        Parameters
        ----------
        sizes
            ``(n,)``, number of pixels of each hole that the method solves for.
        tiles
            Number of tiles, from `count_tiles`.
        """

    @abstractmethod
    def memory(self, sizes: Sizes, tiles: Mapping[str, int]) -> float:
        """Estimate the peak memory, bytes; arguments as for `stages`."""

    def deeper(self, sizes: Sizes, prior: Prior | None) -> float:  # noqa: ARG002
        """Estimate what a deep map adds to `memory`, bytes; 0 if its prior is not known."""
        return 0.0

    def seconds(
        self,
        maps: int,
        tiles: Mapping[str, int],
        polish: int,  # noqa: ARG002
        sizes: Sizes | None = None,  # noqa: ARG002
        prior: Prior | None = None,  # noqa: ARG002
    ) -> float:
        """Estimate the run time of this number of maps, seconds, without fitting the prior.

        ``sizes`` are those of `stages`, where they are known, and ``prior`` is that of the map.
        """
        number = sum(tiles.values())
        first, further = (pace.seconds(self.nside, number) for pace in self.paces)
        return first + (maps - 1) * further


def given_noise(
    noise_rms: ArrayLike | NoiseEstimate | None, *, taker: str
) -> tuple[Map | None, NoiseEstimate | None, bool]:
    """Check the noise that a caller passes.

    Returns
    -------
    The noise map, µK; the estimate that it comes from; and whether one is still to be made
    (``auto``).

    Raises
    ------
    ValueError
        It is neither a map nor ``auto``.
    """
    if isinstance(noise_rms, NoiseEstimate):
        return (noise_rms.rms if noise_rms.used else None), noise_rms, False
    if isinstance(noise_rms, str):
        if noise_rms != AUTO:
            raise ValueError(f"noise_rms must be a map or {AUTO!r}, got {noise_rms!r}")
        return None, None, True
    known = None if noise_rms is None else as_map(noise_rms, "noise_rms", taker=taker)
    return known, None, False


def estimated_noise(given: Given, values: Map, observed: Mask, *, threads: int) -> NoiseEstimate:
    """Estimate the noise of a map without monopole and dipole, with a prior fitted to it.

    A noise level that is given, alone or in a whole prior, stays the mean.
    """
    prior = given.complete(nside_of(values, "values"))
    level = None
    if prior is None:
        prior = given.fitted_to(values, observed, threads=threads)
        level = given.noise_uk_arcmin
    else:
        level = prior.noise_uk_arcmin or None
    return estimate_noise(values, observed, prior, level=level, threads=threads)


def noise_variance(noise_rms: Map | None, seen: Mask) -> Map | None:
    """Square a noise map; missing values in holes are replaced by the median."""
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
    """Set the prior's white noise, if not given, to the mean of the noise map."""
    if variance is None or given.base is not None or given.noise_uk_arcmin is not None:
        return given
    white = math.sqrt(float(np.mean(variance[seen])) * 4 * math.pi / seen.size) / ARCMIN
    return replace(given, noise_uk_arcmin=white)


def refuse_flat(values: Map, seen: Mask) -> None:
    """Refuse to fit a prior to a constant map."""
    first = values[np.argmax(seen)]
    if np.all(values == first, where=seen):
        raise UnusableSkyError(
            "the observed sky is constant, so beam and noise cannot be fitted to it; give both"
            " (`fwhm`, `noise_uk_arcmin`), or pass `method='diffuse'`"
        )


def unconverged(trouble: str, *, accept: bool, frames: int = 4) -> None:
    """Refuse a fill that has not converged, or warn of it.

    Parameters
    ----------
    trouble
        What has not converged, why, and what to change.
    accept
        Whether the fill is accepted.
    frames
        Frames from the warning to the line that asked for the fill.

    Raises
    ------
    ConvergenceError
        It is not.
    """
    message = f"the fill has not converged: {trouble}"
    if not accept:
        raise ConvergenceError(f"{message}; to accept it nevertheless, pass `accept=True`")
    warnings.warn(message, ConvergenceWarning, stacklevel=frames)


def slow(prior: Prior | None, variance: Map | None, pixels: int, *, solved: bool) -> str:
    """Explain why a fill may not converge, and what to change, in words that follow the trouble.

    Parameters
    ----------
    prior
        Prior of the map; None for a method without one.
    variance
        ``(npix,)``, µK²: noise variance in each pixel, in place of the prior's white noise.
    pixels
        Number of pixels of the map.
    solved
        Whether the fill is solved to a tolerance.
    """
    words = "; pass a larger `tolerance`" if solved else ""
    if prior is None:
        return words
    cl, area = prior.signal_cl(), 4 * math.pi / pixels
    signal = float(np.sum((2 * np.arange(cl.size) + 1) * cl)) / (4 * math.pi)
    noise = prior.white_cl / area
    if variance is not None:
        noise = float(np.median(variance))
    if noise > _NOISE_FREE * signal:
        return words
    some = math.sqrt(_SOME_NOISE * signal * area) / ARCMIN
    return (
        f"; the prior is nearly free of noise, which slows convergence: give the map's noise"
        f" (`noise_uk_arcmin={some:.2g}` is {_SOME_NOISE:.0%} of its variance)"
        f"{words.replace('; pass', ', or')}"
    )
