"""``gaussian``: the exact posterior mean, and exact iterations after another method.

Few small holes are filled from their surroundings (`skyfill.gaussian.local`), all others on the
whole sphere. The choice depends only on Nside, on the sizes of the holes and on the tolerance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skyfill.gaussian import Certificate, Solver
from skyfill.gaussian.blocks import affordable
from skyfill.gaussian.conditioning import USUAL, are_slow, divided, expected
from skyfill.gaussian.local import Local, NotLocalError, local_bytes, local_work, worthwhile
from skyfill.gaussian.memory import block_bytes, solve_bytes
from skyfill.gaussian.segments import guessed
from skyfill.gaussian.solver import NOISE_FLOOR, inner_lmax
from skyfill.gaussian.vectors import Vector
from skyfill.harmonics import DeviceSphere
from skyfill.holes.runs import Runs
from skyfill.inpaint.fills import PROGRAM, Fill, Method, Pace, Setup
from skyfill.inpaint.options import FillOptions
from skyfill.prior import Prior
from skyfill.prior.drawing import streams
from skyfill.progress import Progress

if TYPE_CHECKING:
    from skyfill.vae import ModelCard

__all__ = ["Exact", "ExactMethod", "Polished", "Surrounded", "exact_bytes", "takes_long"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]
Sizes = NDArray[np.int64]

#: Bytes per map pixel of a fill from surroundings: the map, its data and masks.
_MAPS = 40.0
#: Multiplications per second of two cores.
_SPEED = 2e10
#: Run time of a fill from surroundings, without the work on the holes.
_LOCAL = Pace(2.0, 0.25), Pace(0.1, 0.1)
#: Run time of one iteration of a solve.
_ITERATION = Pace(0.0, 0.03, 0.025)
#: Run time of a correction, in iterations.
_CORRECTION = 2.0
#: Run time of an iteration with segments, in units of one with bands.
_DIVIDED = 2.0


class Exact:
    """The posterior mean itself.

    Parameters
    ----------
    solver
        Solver prepared for the mask.
    tolerance
        Distance to the exact mean at which the solve stops, in units of the rms of the map.
    progress
        Receives the stages.
    chosen
        ``(nmissing,)``: True for the unobserved pixels to return; all if not given.
    """

    polish = 0

    def __init__(
        self, solver: Solver, *, tolerance: float, progress: Progress, chosen: Mask | None = None
    ) -> None:
        self.solver = solver
        self.certificate: Certificate | None = None
        self.trouble: str | None = None
        self._tolerance = tolerance
        self._progress = progress
        self._chosen = chosen

    @property
    def sphere(self) -> DeviceSphere | None:
        """The transforms on a device where maps are solved there, as tensors."""
        sphere = self.solver.sphere
        return sphere if isinstance(sphere, DeviceSphere) else None

    def mean(self, values: Vector, *, overwrite: bool = False) -> Vector:  # noqa: ARG002
        """Solve for the posterior mean, and store the certificate."""
        self._progress.stage("exact mean")
        solution = self.solver.mean(values, tolerance=self._tolerance, progress=self._progress)
        self.certificate = solution.certificate
        self._progress.done(str(self.certificate))
        converged = self.certificate.converged
        self.trouble = None if converged else f"the exact mean ({self.certificate})"
        if self._chosen is None:
            return solution.fill
        chosen = self._chosen if self.sphere is None else self.sphere.vector(self._chosen)
        return solution.fill[chosen]

    def variance(self) -> Map:
        """Return the variance of realizations in the holes, µK²; NaN where it is unknown."""
        variance = self.solver.variance()
        return variance if self._chosen is None else variance[self._chosen]


class Surrounded:
    """The posterior mean of few small holes, each given the observed pixels around it.

    Parameters
    ----------
    setup
        What is filled. If monopole and dipole are fitted and subtracted, the rest of them has the
        variance of a quadrupole.

    Raises
    ------
    NotLocalError
        The surroundings do not determine the holes well enough.
    """

    polish = 0

    def __init__(self, setup: Setup) -> None:
        self.certificate: Certificate | None = None
        self.trouble: str | None = None
        prior, options = setup.known_prior, setup.options
        per_pixel = setup.observed.size / (4 * np.pi)
        cl = prior.signal_cl()
        if options.removes_dipole:
            cl[:2] = cl[2]  # what the fit leaves is less; zero would be taken for knowledge
        signal = float(np.sum((2 * np.arange(cl.size) + 1) * cl)) / (4 * np.pi)
        noise: Map | float = prior.noise_cl * per_pixel
        if setup.noise_variance is not None:
            noise = setup.noise_variance
        aliased = prior.aliased_cl * per_pixel
        variance: Map | float = np.maximum(noise + aliased, NOISE_FLOOR * signal)
        self.solver = Local(
            setup.observed,
            signal_cl=cl,
            variance=variance,
            threads=options.threads,
            kept=setup.kept,
        )
        drawn = aliased if options.fill == "signal" else noise + aliased
        everywhere = np.broadcast_to(variance - drawn, setup.observed.shape)
        self._less = everywhere[self.solver.holes]
        self._progress = setup.progress
        self._chosen = setup.chosen

    def mean(self, values: Map, *, overwrite: bool = False) -> Map:  # noqa: ARG002
        """Compute the mean."""
        self._progress.stage("mean")
        mean = self.solver.mean(values)
        self.certificate = self.solver.certificate
        self._progress.done(str(self.certificate))
        return mean if self._chosen is None else mean[self._chosen]

    def scatter(self, seed: int, index: int) -> Map:
        """Draw a realization's difference to the mean, ``(nhole,)``, µK.

        Its random numbers are those of the seed and index, one for each unobserved pixel in RING
        order; they do not depend on how the holes are grouped, nor on the number of threads.
        """
        random = np.random.default_rng(streams(seed, index)[0])
        drawn = self.solver.scatter(random.standard_normal(self.solver.holes.size), self._less)
        return drawn if self._chosen is None else drawn[self._chosen]

    def variance(self) -> Map:
        """Return the variance of realizations in the holes, with noise, µK²."""
        variance = self.solver.variance
        return variance if self._chosen is None else variance[self._chosen]


class Polished:
    """Another method's fill, improved by a fixed number of exact iterations.

    Parameters
    ----------
    first
        The other fill; it must cover all unobserved pixels.
    solver
        Solver prepared for the mask.
    iterations
        Number of exact iterations.
    progress
        Receives the stages.
    chosen
        As for `Exact`.
    """

    def __init__(
        self,
        first: Fill,
        solver: Solver,
        *,
        iterations: int,
        progress: Progress,
        chosen: Mask | None = None,
    ) -> None:
        self.certificate: Certificate | None = None
        self.trouble: str | None = None
        self.polish = iterations
        self._first = first
        self._solver = solver
        self._progress = progress
        self._chosen = chosen

    def mean(self, values: Map, *, overwrite: bool = False) -> Map:
        """Fill the holes, then polish the fill."""
        filled = values if overwrite else values.copy()
        filled[self._solver.holes] = self._first.mean(values)
        self._progress.stage("polish", self.polish)
        steps = self.polish
        fill: Map = self._solver.improve(filled, iterations=steps, progress=self._progress)
        self._progress.done()
        self.trouble = self._solver.unpolished()
        return fill if self._chosen is None else fill[self._chosen]


class ExactMethod(Method):
    """``gaussian``."""

    paces = Pace(3.0, 0.5, 0.8), Pace(1.0, 0.4, 0.65)

    @property
    def exact(self) -> bool:
        """Whether the method solves for all unobserved pixels: always."""
        return True

    def local(self, sizes: Sizes) -> bool:
        """Whether holes of these sizes, ``(n,)`` pixels, are filled from their surroundings."""
        precise = self.options.tolerance < FillOptions.tolerance
        return not precise and worthwhile(self.nside, sizes)

    def prepare(self, setup: Setup) -> tuple[Fill, ModelCard | None]:
        """Prepare the solver."""
        if self.local(Runs.of(setup.observed, False).regions[1]):
            setup.progress.stage("surroundings")
            try:
                near = Surrounded(setup)
            except NotLocalError as error:
                setup.progress.done(f"{error}: all holes are solved on the whole sphere")
            else:
                setup.progress.done(str(near.solver))
                return near, None
        fill = Exact(
            setup.solver(),
            tolerance=self.options.tolerance,
            progress=setup.progress,
            chosen=setup.chosen,
        )
        return fill, None

    def stages(self, sizes: Sizes, tiles: Mapping[str, int]) -> list[str]:  # noqa: ARG002
        """Name the stages."""
        if self.local(sizes):
            return ["surroundings", "mean"]
        return ["prepare", "latent sky", "exact mean"]

    def memory(self, sizes: Sizes, tiles: Mapping[str, int]) -> float:  # noqa: ARG002
        """Estimate the peak memory, bytes."""
        if self.local(sizes):
            return PROGRAM + _MAPS * 12 * self.nside**2 + local_bytes(sizes)
        return exact_bytes(self.nside, sizes)

    def deeper(self, sizes: Sizes, prior: Prior | None) -> float:
        """Estimate the memory of the segments of wide holes, bytes."""
        if prior is None or self.local(sizes):
            return 0.0
        return block_bytes(_segments(self.nside, sizes, prior))[0]

    def seconds(
        self,
        maps: int,
        tiles: Mapping[str, int],
        polish: int,
        sizes: Sizes | None = None,
        prior: Prior | None = None,
    ) -> float:
        """Estimate the run time of this number of maps, seconds.

        With a prior the number of iterations follows its depth; else it is the usual one.
        """
        if sizes is None or not self.local(sizes):
            usual = super().seconds(maps, tiles, polish)
            if sizes is None or prior is None:
                return usual
            small = affordable(sizes, nside=self.nside)
            cl, noise = prior.signal_cl(), prior.white_cl
            iterations, corrections = expected(cl, noise, self.nside, wide=not small.all())
            if _segments(self.nside, sizes, prior).size:
                iterations = _DIVIDED * divided(corrections)
            more = max(iterations + _CORRECTION * corrections - USUAL, 0.0)
            return usual + maps * more * _ITERATION.seconds(self.nside, 0)
        first, further = (pace.seconds(self.nside, 0) for pace in _LOCAL)
        return first + local_work(sizes) / _SPEED + (maps - 1) * further


def takes_long(observed: Mask, prior: Prior) -> bool:
    """Tell whether a fill takes hundreds of iterations, because segments are not affordable."""
    sizes, nside = Runs.of(observed, False).regions[1], prior.nside
    wide = not affordable(sizes, nside=nside).all()
    return wide and _is_slow(nside, prior) and not _segments(nside, sizes, prior).size


def _is_slow(nside: int, prior: Prior) -> bool:
    """Tell whether bands would take many iterations."""
    return are_slow(*expected(prior.signal_cl(), prior.white_cl, nside, wide=True))


def _segments(nside: int, sizes: Sizes, prior: Prior) -> Sizes:
    """Guess the sizes of the segments of wide holes; none if these are solved with bands."""
    if not _is_slow(nside, prior):
        return sizes[:0]
    wide = int(sizes[~affordable(sizes, nside=nside)].sum())
    return guessed(nside, wide, inner_lmax(prior.signal_cl(), prior.white_cl, nside))


def exact_bytes(nside: int, sizes: Sizes) -> float:
    """Estimate the peak memory of an exact fill of holes of these sizes, bytes."""
    return PROGRAM + solve_bytes(nside, int(sizes.sum()), sizes[affordable(sizes, nside=nside)])
