"""What fills holes: the seam between the pipeline and its methods."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from skyfill.diffuse import diffuse_holes
from skyfill.gaussian import Certificate, Solver
from skyfill.healpix.stokes import nside_of
from skyfill.holes import UnusableSkyError
from skyfill.prior import ARCMIN, Given
from skyfill.progress import Progress

__all__ = [
    "DIPOLES",
    "FILLS",
    "METHODS",
    "ConvergenceError",
    "Diffuse",
    "Exact",
    "Fill",
    "Polished",
    "check_words",
    "held_to_noise",
    "noise_variance",
    "refuse_flat",
]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

METHODS = ("vae", "gaussian", "diffuse", "cosmovae")
FILLS = ("data", "signal")
DIPOLES = ("marginalise", "fit")


class ConvergenceError(ValueError):
    """A fill that has not converged, and was not accepted."""


class Fill(Protocol):
    """What the pipeline asks of a fill method.

    Attributes
    ----------
    certificate
        How exact the last mean is, where one of the whole sphere was solved for.
    trouble
        What has not converged in it; None where all has.
    """

    certificate: Certificate | None
    trouble: str | None

    def mean(self, values: Map, *, overwrite: bool = False) -> Map:
        """Give the mean in the holes, ``(nhole,)`` in RING order; values there are not read.

        With ``overwrite`` the map is scratch memory: it may be changed.
        """


class Diffuse:
    """Neighbour means until they stand still: what people use today."""

    def __init__(self, observed: Mask, *, progress: Progress) -> None:
        self.certificate: Certificate | None = None
        self.trouble: str | None = None
        self._observed = observed
        self._progress = progress

    def mean(self, values: Map, *, overwrite: bool = False) -> Map:  # noqa: ARG002
        """Give the Laplace fill of the holes."""
        self._progress.stage("diffuse")
        fill = diffuse_holes(values, self._observed)
        self._progress.done()
        return fill


class Exact:
    """The posterior mean itself."""

    def __init__(self, solver: Solver, *, tolerance: float, progress: Progress) -> None:
        self.solver = solver
        self.certificate: Certificate | None = None
        self.trouble: str | None = None
        self._tolerance = tolerance
        self._progress = progress

    def mean(self, values: Map, *, overwrite: bool = False) -> Map:  # noqa: ARG002
        """Solve, and keep the certificate."""
        self._progress.stage("exact mean")
        solution = self.solver.mean(values, tolerance=self._tolerance, progress=self._progress)
        self.certificate = solution.certificate
        self._progress.done(str(self.certificate))
        converged = self.certificate.converged
        self.trouble = None if converged else f"the exact mean ({self.certificate})"
        return solution.fill


class Polished:
    """Another method's fill, and some exact steps from there."""

    def __init__(self, first: Fill, solver: Solver, *, iterations: int, progress: Progress) -> None:
        self.certificate: Certificate | None = None
        self.trouble: str | None = None
        self._first = first
        self._solver = solver
        self._iterations = iterations
        self._progress = progress

    def mean(self, values: Map, *, overwrite: bool = False) -> Map:
        """Fill, and polish."""
        filled = values if overwrite else values.copy()
        filled[self._solver.holes] = self._first.mean(values)
        self._progress.stage("polish", self._iterations)
        fill = self._solver.improve(filled, iterations=self._iterations, progress=self._progress)
        self._progress.done()
        self.trouble = self._solver.unpolished()
        return fill


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


def check_words(method: str, fill: str, dipole: str, polish: int | None) -> None:
    """Refuse words that are unknown, or say nothing together."""
    for name, value, known in (
        ("method", method, METHODS),
        ("fill", fill, FILLS),
        ("dipole", dipole, DIPOLES),
    ):
        if value not in known:
            raise ValueError(f"{name} {value!r} is unknown; choose one of {', '.join(known)}")
    if method == "cosmovae" and polish:
        raise ValueError("cosmovae knows no prior to polish with; use vae, or drop `polish`")


def refuse_flat(values: Map, seen: Mask) -> None:
    """Refuse to fit a prior to one value."""
    first = values[np.argmax(seen)]
    if np.all(values == first, where=seen):
        raise UnusableSkyError(
            "the observed sky has one value only, which says nothing of beam and noise; give both"
            " (`fwhm`, `noise_uk_arcmin`), or pass `method='diffuse'`"
        )
