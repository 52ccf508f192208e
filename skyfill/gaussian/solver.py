"""Solve for the posterior mean of a Gaussian sky on the whole sphere.

With Σ = Y S Yᵀ + N the covariance of the map and M the observed pixels, the mean of the unobserved
ones is x = Σ_hM y, (M Σ M) y = d. Were Σ known by its inverse Q, they would be the solution of
Q_hh x = -Q_hM d, which takes two transforms an iteration, on the rings of the holes alone. There is
such a Q for a sky that is nearly the one meant (`harmonics.Covariance`: signal to l = 1.5 nside,
what lies beyond as noise, noise nearly white). So there are two loops. The inner one solves for
the holes with Q, preconditioned by blocks for small holes and tapered bands for wide ones. The
outer one is conjugate gradients on (M Σ M) y = d with Σ as it is, preconditioned by the inner one:
a residual is filled, Q applied. Where the pixels resolve the sky, one outer step is enough; where
they do not, or where the noise varies, the outer loop does the work, and nothing that Q leaves out
is lost.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill import harmonics
from skyfill.files.cache import Kept
from skyfill.gaussian.bands import TaperedBands
from skyfill.gaussian.blocks import HoleBlocks, affordable
from skyfill.gaussian.loops import Course, Inner, Outer, rms
from skyfill.gaussian.memory import check_memory
from skyfill.gaussian.pinned import Pinned, unpinned
from skyfill.gaussian.solution import Certificate, Solution
from skyfill.harmonics import Covariance
from skyfill.healpix.arrays import as_map, as_mask
from skyfill.healpix.stokes import nside_of
from skyfill.holes import distance_to_edge, grow, label_holes
from skyfill.progress import Progress, Silent

__all__ = ["Solver"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]
Labels = NDArray[np.int32]

#: White noise of at least this share of the signal's variance keeps Σ invertible in float64.
_NOISE_FLOOR = 1e-4
#: Signal over noise below which signal is noise to the inner loop.
_NEGLIGIBLE = 0.1
#: Share of the allowed distance that the inner loop takes up.
_INNER = 0.5
#: Distance of the inner loop from its solution in a correction, in units of the correction; less
#: where the residual shrinks by less than the second number.
_RELATIVE, _SLOW = 0.1, 0.8
#: Signal beyond the inner loop's multipoles, in units of the noise's variance, that it bears.
_UNRESOLVED = 0.05
#: Steps of polish to a correction, with so many inner steps (two corrections of two leave less of
#: an error in the power than one of four); fewer have none. Where the pixels do not resolve the
#: sky: corrections to each round begun, and their inner steps at most.
_ROUND, _SHORT, _MANY, _LONG = 4, 2, 6, 10
#: Distance to the exact mean, in units of the rms of the map, at which corrections end early.
_ENOUGH = 2e-3
#: Distance to it at which polish has not converged: ten times that of healthy runs
#: (docs/measured.md, "Convergence").
_FAR = 0.3
#: Holes nearer to each other than twice this over lmax, some seven pixels, are one.
_APART = 2 * np.pi


class Solver:
    """Posterior means of maps that share a mask and a prior.

    What depends on mask and prior alone is made once: here, or (blocks) at its first use.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, True where observed.
    signal_cl
        ``(lmax + 1,)`` spectrum of the signal on the map, beam and pixel window included, µK²; lmax
        at most 3 nside - 1.
    noise_cl
        Spectrum of the white noise, µK².
    noise_variance
        ``(npix,)``, RING: variance of the noise in each pixel, µK², in place of ``noise_cl``; not
        read in the holes.
    only
        ``small``: fill the small holes alone, whose blocks are affordable, and take the others as
        observed. ``wide``: take none for small; `improve` without corrections is then all that
        there is memory for.
    among
        ``(npix,)``, RING: of small holes, only those that have one of these pixels.
    weights
        ``(npix,)``, RING: `harmonics.pixel_weights`, where they are at hand.
    threads
        Of the transforms.
    kept
        Where what mask and prior alone decide is kept, and looked for.

    Raises
    ------
    ValueError
        No pixel is observed, or a variance is not a positive number.
    MemoryError
        The machine has less memory than it takes.

    Attributes
    ----------
    nside, signal_cl, noise_cl
        As they were given.
    holes
        ``(n,)``, RING: the pixels that are filled.
    resolved
        Whether the pixels resolve the sky, so that the inner loop is nearly exact.
    left
        Estimated rms distance to the exact mean after `improve`, µK; from its last step alone where
        that has no more than two.
    """

    def __init__(
        self,
        observed: ArrayLike,
        *,
        signal_cl: Map,
        noise_cl: float = 0.0,
        noise_variance: ArrayLike | None = None,
        only: Literal["small", "wide"] | None = None,
        among: Mask | None = None,
        weights: Map | None = None,
        threads: int = 0,
        kept: Kept | None = None,
    ) -> None:
        observed = as_mask(observed, taker="gaussian.Solver")
        if noise_variance is not None:
            noise_variance = as_map(noise_variance, "noise_variance", taker="gaussian.Solver")
        self.nside = nside_of(observed, "observed")
        if not observed.any():
            raise ValueError("no pixel is observed: nothing is known of the sky")
        # Before anything large is made; what blocks take comes on top.
        nhole = observed.size - int(np.count_nonzero(observed))
        check_memory(self.nside, nhole, np.empty(0, np.int64), only=only)
        self._threads = threads
        area = 4 * np.pi / observed.size
        modes = (2 * np.arange(signal_cl.size) + 1) / (4 * np.pi)
        # A monopole and a dipole that can be anything are no measure of the map.
        signal = float(np.sum((modes * signal_cl)[min(2, signal_cl.size - 1) :]))
        floor = _NOISE_FLOOR * signal
        self._noise: Map | float = max(noise_cl / area, floor)
        white = self._noise
        if noise_variance is not None:
            _check_variance(noise_variance[observed])
            self._noise = np.where(observed, np.maximum(noise_variance, floor), white)
            white = float(np.median(self._noise[observed]))
        self.rms = (signal + white) ** 0.5
        lmax = _inner_lmax(signal_cl, white * area, self.nside)
        beyond = float(np.sum((modes * signal_cl)[lmax + 1 :]))
        self.resolved = beyond < _UNRESOLVED * white
        white += beyond
        pixels = np.flatnonzero(~observed)
        kept = (kept or Kept()).of(observed)
        labels = np.zeros(pixels.size, np.int32)
        small = labels > 0
        if only != "wide":
            labels = _labels(observed, pixels, _APART / (lmax + 1), kept)
            small = _affordable(labels, None if among is None else among[pixels])
        if only == "small" and not small.all():
            observed = observed.copy()
            observed[pixels[~small]] = True
            # Small holes must not make up for the monopole of a wide one's error.
            signal_cl = unpinned(signal_cl)
            pixels, labels, small = pixels[small], labels[small], small[small]
        check_memory(self.nside, nhole, np.bincount(labels[small]), only=only)
        self._observed, self.holes = observed, pixels
        self.signal_cl, self.noise_cl = signal_cl, noise_cl
        self._free_dipole = bool(np.all(signal_cl[:2] > signal_cl[min(2, signal_cl.size - 1)]))
        if weights is None:
            weights = harmonics.pixel_weights(self.nside, threads=threads)
        self.sky = Covariance(weights, signal_cl[: lmax + 1], white, threads=threads)
        self.small = self.holes[:0]
        self._blocks: HoleBlocks | None = None
        self._bands: TaperedBands | None = None
        self.left = 0.0
        self._pinned: Pinned | None = None
        if not self.holes.size:
            return
        self.inner = Covariance(
            weights, signal_cl[: lmax + 1], white, pixels=self.holes, threads=threads
        )
        # Of the holes, those that have no block; as a slice, they are not copied at every step.
        self._wide = np.flatnonzero(~small) if small.any() else slice(None)
        self.small = self.holes[small]
        if small.any():
            order = np.flatnonzero(small)
            order = order[np.argsort(labels[order], kind="stable")]
            cuts = np.flatnonzero(np.diff(labels[order])) + 1
            self._blocks = HoleBlocks(
                self.inner,
                self.nside,
                self.holes,
                np.split(order, cuts),
                threads=threads,
                kept=kept.of_prior(),
            )
        if not small.all():
            self._bands = self._tapered(weights, kept)

    def __str__(self) -> str:
        """Say in a few words what was prepared."""
        small, wide = self.small.size, self.holes.size - self.small.size
        return (
            f"{small} pixels in small holes, {wide} in wide ones, l up to "
            f"{self.sky.signal_cl.size - 1} of {self.signal_cl.size - 1}"
        )

    def _tapered(self, weights: Map, kept: Kept) -> TaperedBands:
        """Prepare the wide holes."""
        signal_cl = unpinned(self.inner.signal_cl)
        if self.small.size:
            pixels = self.holes[self._wide]
            covariance = Covariance(
                weights, signal_cl, self.inner.variance, pixels=pixels, threads=self._threads
            )
        else:
            covariance = self.inner.with_signal(signal_cl)
        depth = kept.array(
            "depths",
            lambda: distance_to_edge(self._observed)[self.holes],
            dtype=np.float64,
            shape=self.holes.shape,
        )
        return TaperedBands(covariance, depth[self._wide])

    def mean(
        self,
        values: Map,
        *,
        start: Map | None = None,
        tolerance: float = 3e-3,
        max_iterations: int = 1000,
        course: Course | None = None,
        progress: Progress | None = None,
    ) -> Solution:
        """Fill the holes with the mean of what they can be, given the rest.

        Parameters
        ----------
        values
            ``(npix,)``, µK, RING; unobserved pixels are not read.
        start
            ``(nhole,)``: a fill to begin with; nothing if not given.
        tolerance
            Estimated rms distance to the exact mean to stop at, in units of the rms of the map.
        max_iterations
            Steps of the inner loop, all told, after which to stop anyway.
        course
            To be recorded, or followed: then the fill is linear in the map, and the tolerance says
            no more than whether it is met.
        progress
            Told of every step.

        Returns
        -------
        The solution; ``certificate.converged`` says whether the tolerance was met.
        """
        progress, course = progress or Silent(), course or Course()
        data = np.where(self._observed, values, 0.0)
        if not self.holes.size or not data.any():
            nalm = self.signal_cl.size * (self.signal_cl.size + 1) // 2
            fill = np.zeros(self.holes.size)
            nothing = np.zeros(nalm, dtype=np.complex128)
            return Solution(fill, nothing, Certificate(0, 0, 0.0, 0.0, converged=True))
        allowed = tolerance * self.rms
        inner = Inner(self, progress, max_iterations, course)
        fill, distance = inner.solve(
            -self.inner.inverse_of(self.sky, data), start, allowed=_INNER * allowed
        )
        data[self.holes] = fill
        y = self.sky.inverse(data)
        outer = Outer(self, data, y, course)
        relative = _RELATIVE
        while course.take(inner.left > 0 and (outer.steps == 0 or distance > allowed)):
            step, z, left = outer.correction(inner, _INNER * allowed, relative)
            shrunk = outer.advance(step, z)
            if shrunk > _SLOW:  # it may be the inner loop that holds it up
                relative = max(0.3 * relative, 1e-5)
            if course.take(not shrunk):
                break
            distance = left + rms(step) * shrunk
        certificate = Certificate(
            inner.taken, outer.steps, outer.residual, distance, converged=distance <= allowed
        )
        return Solution(data[self.holes], outer.whitened, certificate)

    def small_fill(self, values: Map) -> Map:
        """Fill the small holes, each for itself, as if all others held what is in ``values``.

        Parameters
        ----------
        values
            ``(npix,)``, µK, RING; zero in wide holes, and in those to be filled.

        Returns
        -------
        ``(nsmall,)``, of the pixels ``small``.
        """
        return self._small(self.inner.inverse_of(self.sky, values))

    def small_change(self, other: Solver, values: Map) -> Map:
        """Give what `small_fill` changes by if the holes of another solver hold something else.

        Parameters
        ----------
        other
            Of the same sky, with none of these small holes.
        values
            ``(n,)``: by how much its holes change.

        Returns
        -------
        ``(nsmall,)``, of the pixels ``small``.
        """
        return self._small(self.inner.inverse_of(other.inner, values))

    def _small(self, image: Map) -> Map:
        """Fill the small holes from Σ⁻¹ d at all ``holes``."""
        if self._blocks is None:
            return np.empty(0)
        return np.delete(self._blocks.solve(-image), self._wide)

    def improve(
        self,
        filled: Map,
        *,
        iterations: int,
        corrections: int | None = None,
        course: Course | None = None,
        progress: Progress | None = None,
    ) -> Map:
        """Bring a fill nearer to the mean.

        By steps of the inner loop, and one of the outer for every four of these: the inner loop's
        sky is not quite the one meant. Where the pixels do not resolve the sky, so that it leads
        astray, there are six of the outer for every four begun, or until the fill is as near to the
        exact mean as `mean` comes by default.

        Parameters
        ----------
        filled
            ``(npix,)``, µK, RING; the holes hold the fill. It is not changed.
        iterations
            How many steps of the inner loop.
        corrections
            How many of the outer, at most, in place of these numbers.
        course
            To be recorded, or followed: then it is linear in the map.
        progress
            Told of every step.

        Returns
        -------
        ``(nhole,)``; how far it is from the mean, says ``left`` then.
        """
        course = course or Course()
        inner = Inner(self, progress or Silent(), iterations, course)
        right = -self.inner.inverse_of(self.sky, filled)
        step, self.left = inner.solve(right, allowed=0.0)
        del right
        if math.isinf(self.left):  # so few steps tell no more than how far they went
            self.left = rms(step)
        fill = np.asarray(filled[self.holes] + step)
        if corrections is None:
            rounds = iterations // _ROUND, _MANY * -(-iterations // _ROUND)
            corrections = rounds[not self.resolved]
        if not corrections:
            return fill
        steps = _SHORT if self.resolved else _LONG
        data = filled.copy()
        data[self.holes] = fill
        outer = Outer(self, data, self.sky.inverse(data), course)
        for number in range(1, corrections + 1):
            inner.left = steps
            step, z, left = outer.correction(inner, 0.0, _RELATIVE)
            if self.resolved and number == corrections:
                # Nothing follows, and its length is right to some percent.
                data[self.holes] += step
                self.left = rms(step)
                continue
            moved = rms(step) * outer.advance(step, z)
            self.left = moved + (left if math.isfinite(left) else rms(step))
            if course.take(left + moved <= _ENOUGH * self.rms):
                break
        return data[self.holes]

    def unpolished(self) -> str | None:
        """Say how far the last `improve` has left a fill from the mean, if that is too far."""
        away = self.left / self.rms
        return None if away <= _FAR else f"polish, some {away:.2g} of the map's rms from the mean"

    def variance(self) -> Map:
        """Give the posterior variance in small holes, ``(nhole,)``, µK².

        Each small hole is taken as if all others were observed, which changes little unless they
        touch. NaN in wide holes, and everywhere where the noise varies or the pixels do not resolve
        the signal (signal above noise at `harmonics.quadrature_lmax`), so that Σ⁻¹ is not known.
        """
        nothing = np.full(self.holes.size, np.nan)
        lmax = min(harmonics.quadrature_lmax(self.nside), self.signal_cl.size - 1)
        if self._blocks is None or isinstance(self._noise, np.ndarray):
            return nothing
        if self.signal_cl[lmax] > self._noise * self.sky.area:
            return nothing
        modes = (2 * np.arange(self.signal_cl.size) + 1) / (4 * np.pi)
        beyond = float(np.sum((modes * self.signal_cl)[lmax + 1 :]))
        exact = Covariance(
            self.sky.weights, self.signal_cl[: lmax + 1], self._noise + beyond, pixels=self.holes
        )
        variance = HoleBlocks(
            exact, self.nside, self.holes, self._blocks.holes, threads=self._threads
        ).variance()
        # A pixel's own noise is σ², not σ² / w.
        return variance + self._noise * (1 - 1 / exact.weights)

    def covariance(self, y: Map) -> tuple[NDArray[np.complex128], Map]:
        """Give Yᵀ y and Σ y, exactly."""
        alm = harmonics.adjoint(y, lmax=self.signal_cl.size - 1, threads=self._threads)
        image = harmonics.synthesis(
            harmonics.almxfl(alm, self.signal_cl), self.nside, threads=self._threads
        )
        image += self._noise * y
        return alm, image

    def size(self, rest: Map) -> float:
        """Give the rms of a residual, without what of it can be anything.

        A free monopole's variance over the noise's is so large that rounding alone leaves a
        residual there; it is no error of the fill.
        """
        if not self._free_dipole:
            return rms(rest)
        alm = harmonics.adjoint(rest * self.sky.weights, lmax=1, threads=self._threads)
        free = harmonics.synthesis(alm * self.sky.area, self.nside, threads=self._threads)
        return rms(rest - free)

    def precondition(self, values: Map) -> Map:
        """Apply nearly (Q_hh)⁻¹."""
        if self._pinned is None:
            self._pinned = Pinned(self._free, self.inner, self.nside, self.holes)
        return self._pinned.apply(values)

    def _free(self, values: Map) -> Map:
        """Apply nearly (Q_hh)⁻¹ of a sky whose monopole and dipole are free."""
        if self._blocks is None and self._bands is not None:
            return self._bands.apply(values)
        out = np.zeros_like(values) if self._blocks is None else self._blocks.solve(values)
        if self._bands is not None:
            out[self._wide] = self._bands.apply(values[self._wide])
        return out


def _labels(observed: Mask, pixels: NDArray[np.int64], apart: float, kept: Kept) -> Labels:
    """Say of which hole pixels are, those that are near each other being one."""
    labels: Labels = kept.of(apart).array(
        "labels",
        lambda: label_holes(grow(observed, apart)).labels[pixels],
        dtype=np.int32,
        shape=pixels.shape,
    )
    return labels


def _check_variance(seen: Map) -> None:
    """Refuse a variance that is none."""
    if not np.all(np.isfinite(seen)) or np.any(seen < 0):
        raise ValueError("the noise variance must be finite and not negative where observed")


def _affordable(labels: Labels, among: Mask | None) -> Mask:
    """Mark the pixels of holes that get a block; of those alone that have one ``among`` them."""
    sizes = np.bincount(labels)
    if among is not None:
        sizes[np.bincount(labels, among) == 0] = np.iinfo(np.int32).max  # too many for a block
    chosen: Mask = affordable(sizes)[labels]
    return chosen


def _inner_lmax(signal_cl: Map, noise_cl: float, nside: int) -> int:
    """Give the largest multipole of the inner loop: where the noise has long taken over.

    Beyond 1.5 nside the inverse is not exact, but better than none up to 1.75 nside: up to 2 nside,
    a smooth sky with little noise would not converge. Below Nside 16 it would not be positive.
    """
    seen = np.flatnonzero(signal_cl > _NEGLIGIBLE * noise_cl)
    last = int(seen[-1]) if seen.size else 0
    exact = harmonics.quadrature_lmax(nside)
    reach = 7 * nside // 4 if nside >= 16 else exact
    return min(max(last, nside), reach, signal_cl.size - 1)
