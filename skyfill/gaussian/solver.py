"""Solve for the posterior mean of a Gaussian sky on the whole sphere.

Let Σ = Y S Yᵀ + N be the covariance of the map and M the observed pixels. The mean of the
unobserved pixels is x = Σ_hM y with (M Σ M) y = d. With the inverse Q = Σ⁻¹ it would be the
solution of Q_hh x = -Q_hM d, which needs two transforms per iteration, on the rings of the holes
only. Q is known for an approximate sky (`harmonics.Covariance`: signal up to l = 1.5 nside, signal
beyond treated as noise, noise nearly white). So there are two loops:

- The inner loop solves for the holes with the approximate Q, preconditioned by blocks for small
  holes, and for wide ones by tapered bands, or by overlapping segments if bands would take many
  iterations. Wide holes on few rings go first.
- The outer loop is conjugate gradients on (M Σ M) y = d with the exact Σ. Its preconditioner fills
  the holes of a residual by the inner loop, then applies Q.

If the pixels resolve the sky, one outer iteration is enough. If they do not, or if the noise
varies, more outer iterations correct the approximation of Q; the result is exact in any case.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill import harmonics
from skyfill.files.cache import Kept
from skyfill.gaussian.bands import TaperedBands
from skyfill.gaussian.blocks import DeviceBlocks, HoleBlocks, Kernel, affordable, labels_of
from skyfill.gaussian.conditioning import are_slow, expected
from skyfill.gaussian.loops import Course, Inner, Outer, improve, solve
from skyfill.gaussian.memory import check_memory, has_device_memory
from skyfill.gaussian.pinned import Pinned, freed, unpinned
from skyfill.gaussian.segments import Segments, affordable_segments
from skyfill.gaussian.solution import Certificate, Solution
from skyfill.gaussian.vectors import Vector, add, copied, like, rms, zeros_like
from skyfill.gaussian.widefirst import Wide, WideFirst, fewer_rings
from skyfill.harmonics import Covariance, DeviceSphere, Sphere
from skyfill.harmonics.quadrature import shared_weights
from skyfill.healpix.arrays import as_map, as_mask
from skyfill.healpix.stokes import nside_of
from skyfill.holes import distance_to_edge
from skyfill.prior import Prior
from skyfill.prior.model import heard_lmax
from skyfill.progress import Progress, Silent

__all__ = ["NOISE_FLOOR", "Solver", "inner_lmax"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]
Labels = NDArray[np.int32]

NOISE_FLOOR = 1e-4
"""White noise of at least this share of the signal's variance keeps Σ invertible in float64."""
#: Signal over noise below which the inner loop treats signal as noise.
_NEGLIGIBLE = 0.1
#: Multipoles, in units of Nside, up to which the inner loop is nearly exact.
_NEARLY = 1.75
#: Largest signal beyond them, in units of the noise's variance, for which the pixels count as
#: resolving the sky.
_UNRESOLVED = 0.05
#: Polish iterations in a round, which is followed by corrections.
_ROUND = 4
#: Corrections after each round begun if the pixels do not resolve the sky: the inner loop's Q is
#: then a poor approximation. If they do, one follows each whole round.
_MANY = 7
#: Inner iterations of a correction: two corrections of two leave a smaller error in the power than
#: one of four. If the pixels do not resolve the sky, more of them bring no correction nearer.
_SHORT = 2
#: The same if the pixels resolve the sky and the noise varies.
_VARIED = 4
#: Distance to the exact mean, in units of the map's rms, at which corrections end early.
_ENOUGH = 2e-3
#: Distance above which polish has not converged, in the same units: ten times the distance in
#: converged runs (docs/measured.md, "Convergence").
_FAR = 0.3
#: Largest number of bands of wide holes: in a solve of all holes, and in polish of wide holes only.
#: In the few iterations of polish, further bands (the lowest multipoles) cost more than they gain.
_BANDS = (9, 3)


class Solver:
    """Compute posterior means of maps that share a mask and a prior.

    Arrays that depend only on mask and prior are computed once: here, or (blocks) at first use.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, True where observed.
    signal_cl
        ``(lmax + 1,)``, spectrum of the signal on the map, with beam and pixel window, µK²; lmax at
        most 3 nside - 1.
    noise_cl
        Spectrum of the white noise, µK².
    noise_variance
        ``(npix,)``, RING: variance of the noise in each pixel, µK², in place of ``noise_cl``; not
        read in the holes.
    only
        ``small``: fill only the small holes, whose blocks are affordable, and treat the other holes
        as observed. ``wide``: use no blocks; memory is checked only for `improve` without
        corrections.
    among
        ``(npix,)``, RING: use only small holes with at least one of these pixels.
    weights
        ``(npix,)``, RING: `harmonics.pixel_weights`; computed if not given.
    threads
        Number of threads of the transforms.
    kept
        Cache for arrays that depend only on mask and prior.
    device
        Torch device on which all iterations are done; None for the CPU without torch.

    Raises
    ------
    ValueError
        No pixel is observed, or a variance is negative or not finite.
    MemoryError
        The machine has too little memory.

    Attributes
    ----------
    nside
        Nside of the maps.
    signal_cl, noise_cl
        The spectra in use.
    noise_variance
        ``(npix,)``, RING: variance of the noise in each pixel, µK²; None if the noise is white.
    holes
        ``(n,)``, RING: the pixels that are filled.
    resolved
        Whether the pixels resolve the sky and the noise is white, so that the inner loop is nearly
        exact.
    left
        Estimated rms distance to the exact mean after `improve`, µK. After one or two iterations it
        is the length of the step.
    """

    #: All holes are one part: the solver has one Stokes parameter.
    parts: Sequence[slice] = (slice(None),)
    filled: Sequence[int] = (0,)

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
        device: str | None = None,
    ) -> None:
        observed = as_mask(observed, taker="gaussian.Solver")
        if noise_variance is not None:
            noise_variance = as_map(noise_variance, "noise_variance", taker="gaussian.Solver")
        self.nside = nside_of(observed, "observed")
        if not observed.any():
            raise ValueError("no pixel is observed: nothing is known of the sky")
        # Checked before large arrays are allocated; blocks are added below.
        nhole = observed.size - int(np.count_nonzero(observed))
        last = signal_cl.size - 1
        check_memory(self.nside, nhole, np.empty(0, np.int64), only=only, lmax=last)
        self._threads = threads
        area = 4 * np.pi / observed.size
        modes = (2 * np.arange(signal_cl.size) + 1) / (4 * np.pi)
        # Exclude the unconstrained monopole and dipole from the rms.
        signal = float(np.sum((modes * signal_cl)[min(2, signal_cl.size - 1) :]))
        floor = NOISE_FLOOR * signal
        self._noise: Map | float = max(noise_cl / area, floor)
        self.noise_variance: Map | None = None
        white = quietest = self._noise
        if noise_variance is not None:
            _check_variance(noise_variance[observed])
            self._noise = np.where(observed, np.maximum(noise_variance, floor), white)
            self.noise_variance = self._noise
            seen = self._noise[observed]
            white, quietest = float(np.median(seen)), float(seen.min())
        self.rms = (signal + white) ** 0.5
        lmax = inner_lmax(signal_cl, white * area, self.nside)
        power = modes * signal_cl
        beyond = float(np.sum(power[lmax + 1 :]))
        fine = np.sum(power[min(lmax, int(_NEARLY * self.nside)) + 1 :]) < _UNRESOLVED * white
        self.resolved = bool(fine) and noise_variance is None
        self._steps = _VARIED if fine and noise_variance is not None else _SHORT
        slow = are_slow(*expected(signal_cl, white * area, self.nside, wide=True))
        white += beyond
        pixels = np.flatnonzero(~observed)
        kept = (kept or Kept()).of(observed)
        labels = np.zeros(pixels.size, np.int32)
        small = labels > 0
        if only != "wide":
            labels = labels_of(observed, pixels, lmax, kept)
            small = _affordable(self.nside, labels, None if among is None else among[pixels])
        if only == "small" and not small.all():
            observed = observed.copy()
            observed[pixels[~small]] = True
            # Otherwise small holes would compensate the monopole of the error in wide ones.
            signal_cl = unpinned(signal_cl)
            pixels, labels, small = pixels[small], labels[small], small[small]
        sizes = np.bincount(labels[small])
        wide = pixels[~small & (slow and only is None)]
        segments, more = affordable_segments(self.nside, wide, lmax)
        sizes = np.append(sizes, more)
        check_memory(self.nside, nhole, sizes, only=only, lmax=last)
        self._observed, self.holes = observed, pixels
        self.signal_cl, self.noise_cl = signal_cl, noise_cl
        self._last = heard_lmax(modes * signal_cl, quietest)
        self._free_dipole = bool(np.all(signal_cl[:2] > signal_cl[min(2, signal_cl.size - 1)]))
        if weights is None:
            weights = shared_weights(self.nside, threads=threads)
        self.weights = weights
        if device is not None and not has_device_memory(
            device, self.nside, pixels.size, sizes, last
        ):
            device = None
        self._sphere = sphere = harmonics.sphere_on(device, self.nside, last, threads=threads)
        self.sky = Covariance(weights, signal_cl[: lmax + 1], white, sphere=sphere)
        self.at = sphere.vector(pixels)
        if isinstance(self._noise, np.ndarray):
            self._noise = sphere.vector(self._noise)
        self.small = self.holes[:0]
        self._blocks: HoleBlocks | DeviceBlocks | None = None
        self._of_wide: TaperedBands | Segments | None = None
        self._apart: Covariance | None = None
        self._wide_model: Wide | None = None
        self.left = 0.0
        self._pinned: Pinned | None = None
        if not self.holes.size:
            return
        self.inner = Covariance(
            weights, signal_cl[: lmax + 1], white, pixels=self.holes, sphere=sphere
        )
        self.small = self.holes[small]
        self._narrow, self._wide = (sphere.vector(np.flatnonzero(x)) for x in (small, ~small))
        self._prepare_small(small, labels, kept)
        self._prepare_wide(~small, kept, segments, _BANDS[only == "wide"])

    def _prepare_small(self, small: Mask, labels: Labels, kept: Kept) -> None:
        """Prepare the preconditioner of the small holes: blocks."""
        if not small.any():
            return
        order = np.flatnonzero(small)
        order = order[np.argsort(labels[order], kind="stable")]
        holes = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
        kernel = Kernel(self.inner, self.weights[self.holes], self.nside, self.holes, holes)
        if isinstance(self._sphere, DeviceSphere):
            self._blocks = DeviceBlocks(kernel, self._sphere)
        else:
            kept = kept.needing("prior")
            self._blocks = HoleBlocks(kernel, threads=self._threads, kept=kept)

    @classmethod
    def for_prior(
        cls,
        observed: ArrayLike,
        prior: Prior,
        *,
        marginal: bool = True,
        noise_variance: Map | None = None,
        threads: int = 0,
        kept: Kept | None = None,
        device: str | None = None,
    ) -> Solver:
        """Build a solver for all holes of maps with a given prior.

        Parameters
        ----------
        observed, threads, kept, device
            As for `Solver`.
        prior
            Prior of the maps.
        marginal
            Whether monopole and dipole are unconstrained; if not, they have the prior's spectrum.
        noise_variance
            ``(npix,)``, RING, µK²: noise variance in each pixel, in place of the prior's. Signal
            that the pixels do not resolve is added to it.
        """
        if noise_variance is not None:
            noise_variance = noise_variance + prior.aliased_cl * noise_variance.size / (4 * np.pi)
        return cls(
            observed,
            signal_cl=freed(prior.signal_cl()) if marginal else prior.signal_cl(),
            noise_cl=prior.white_cl,
            noise_variance=noise_variance,
            threads=threads,
            kept=kept,
            device=device,
        )

    def with_signal(self, signal_cl: Map) -> Solver:
        """Give a solver for another spectrum of the signal that shares the blocks of this one.

        Its means are exact for the new spectrum. Blocks and bands of the old one only speed the
        inner loop up, and the less the two differ, the more. The tolerance stays in units of the
        old rms. `variance`, `small_fill` and `small_change` remain those of the old spectrum.

        Parameters
        ----------
        signal_cl
            ``(lmax + 1,)``, µK², with the same lmax.

        Raises
        ------
        ValueError
            The spectrum has another length.
        """
        if signal_cl.shape != self.signal_cl.shape:
            raise ValueError(
                f"signal_cl must be {self.signal_cl.shape} as before, got {signal_cl.shape}"
            )
        other = copy.copy(self)
        other.signal_cl = signal_cl
        inner_cl = signal_cl[: self.sky.signal_cl.size]
        other.sky = self.sky.with_signal(inner_cl)
        if self.holes.size:
            other.inner = self.inner.with_signal(inner_cl)
            other._pinned = other._wide_model = None  # noqa: SLF001 - they are of this class
        return other

    def __str__(self) -> str:
        """Summarise the holes and multipoles."""
        small, wide = self.small.size, self.holes.size - self.small.size
        return (
            f"{small} pixels in small holes, {wide} in wide ones, l up to "
            f"{self.sky.signal_cl.size - 1} of {self.signal_cl.size - 1}"
            + (f", on {self._sphere.device}" if isinstance(self._sphere, DeviceSphere) else "")
        )

    def _prepare_wide(
        self, wide: Mask, kept: Kept, segments: list[NDArray[np.int64]], most: int
    ) -> None:
        """Prepare the preconditioner of the wide holes: bands if there are no segments."""
        if not wide.any():
            return
        signal_cl = unpinned(self.inner.signal_cl)
        pixels = self.holes[wide]
        if self.small.size:
            covariance = Covariance(
                *(self.weights, signal_cl, self.inner.variance), pixels=pixels, sphere=self._sphere
            )
            if fewer_rings(self.nside, [self.holes], [pixels], [1]):
                self._apart = covariance
        else:
            covariance = self.inner.with_signal(signal_cl)
        if segments:
            self._of_wide = Segments(
                *(covariance, self.nside, pixels, segments),
                threads=self._threads,
                kept=kept.needing("prior"),
            )
            return
        depth = kept.array(
            "depths",
            lambda: distance_to_edge(self._observed)[self.holes],
            dtype=np.float64,
            shape=self.holes.shape,
        )
        self._of_wide = TaperedBands(covariance, depth[wide], most=most)

    def mean(
        self,
        values: Vector,
        *,
        start: Map | None = None,
        tolerance: float = 3e-3,
        max_iterations: int = 2000,
        whitened: bool = False,
        course: Course | None = None,
        progress: Progress | None = None,
    ) -> Solution:
        """Compute the posterior mean in the holes, given the observed pixels.

        Parameters
        ----------
        values
            ``(npix,)``, µK, RING; unobserved pixels are not read. An array, or a tensor on any
            device: the solution then has tensors on that device.
        start
            ``(nhole,)``, µK, starting point; zero if not given.
        tolerance
            Estimated rms distance to the exact mean at which to stop, in units of the map's rms.
        max_iterations
            Limit on the total number of inner iterations.
        whitened
            Whether the solution has `Solution.whitened`, which takes three more transforms.
        course
            Scalars to record or to follow. If followed, the fill is linear in the map, and the
            tolerance only decides whether the fill counts as converged.
        progress
            Receives every step.

        Returns
        -------
        The solution; ``certificate.converged`` is True if the tolerance was met.
        """
        progress, course = progress or Silent(), course or Course()
        if not hasattr(values, "new_tensor"):
            values = np.asarray(values)
            work = self._sphere.vector(np.where(self._observed, values, 0.0))
        else:
            work = copied(self._sphere.vector(values))
            work[self.at] = 0.0
        if not self.holes.size or not bool((work != 0).any()):
            fill = like(values, np.zeros(self.holes.size))
            known = Certificate(0, 0, 0.0, 0.0, converged=True)
            if not whitened:
                return Solution(fill, None, known)
            outer = Outer(self, work, self.sky.inverse(work), course)
            return Solution(fill, like(values, self._whitened(outer)), known)
        allowed, inner = tolerance * self.rms, self._inner_of(progress, max_iterations, course)
        outer, away = solve(
            self,
            work,
            None if start is None else self._sphere.vector(start),
            inner,
            course,
            allowed=allowed,
        )
        distance = float(away[0])
        certificate = Certificate(
            inner.taken, outer.steps, outer.residual, distance, converged=distance <= allowed
        )
        modes = like(values, self._whitened(outer)) if whitened else None
        return Solution(like(values, outer.fill), modes, certificate)

    def _inner_of(self, progress: Progress, limit: int, course: Course) -> Inner:
        """Give what solves for the holes with the approximate Q."""
        patient = isinstance(self._of_wide, Segments)
        if self._apart is None or self._of_wide is None or self._blocks is None:
            return Inner(self, progress, limit, course, patient=patient)
        if self._wide_model is None:
            wide = self._apart.with_signal(self.inner.signal_cl)
            pixels = self.holes[self._sphere.array(self._wide)]
            pinned = Pinned(self._of_wide.apply, wide, self.nside, pixels)
            self._wide_model = Wide(wide, pinned.apply)
        blocks = self._blocks.solve
        return WideFirst(
            *(self, self._wide_model, self._wide, blocks, progress, limit, course), patient=patient
        )

    def _whitened(self, outer: Outer) -> Vector:
        """Compute Yᵀ y after the corrections, from y and from what the residual says it lacks.

        Without that part, y = 0 in the holes leaves a free monopole far from the map's, because its
        prior magnifies the errors of y.
        """
        lacks = self._sphere.adjoint(self.sky.inverse(outer.rest), self._last)
        return outer.whitened + lacks

    @property
    def sphere(self) -> Sphere:
        """The transforms in use."""
        return self._sphere

    def small_fill(self, values: Vector) -> Vector:
        """Fill each small hole by its block, taking ``values`` in all other pixels as data.

        Parameters
        ----------
        values
            ``(npix,)``, µK, RING; zero in the small holes, and in wide holes not filled yet.

        Returns
        -------
        ``(nsmall,)``, µK, in the pixels ``small``.
        """
        return like(values, self._small(self.sky, values))

    def small_change(self, other: Solver, values: Vector) -> Vector:
        """Compute the change of `small_fill` when the values in another solver's holes change.

        Parameters
        ----------
        other
            Solver for the same sky whose holes do not overlap with the small holes of this one.
        values
            ``(n,)``, µK, change of the values in its holes.

        Returns
        -------
        ``(nsmall,)``, µK, change in the pixels ``small``.
        """
        return like(values, self._small(other.inner, values))

    def _small(self, at: Covariance, values: Vector) -> Vector:
        """Fill the small holes from values at the pixels of a covariance; all others are zero."""
        alm = self.inner.wiener(self._sphere.vector(values), at=at)
        image = self.inner.inverse_of(alm, None)
        if self._blocks is None:
            return image[:0]
        return self._blocks.solve(-image)[self._narrow]

    def improve(
        self,
        filled: Vector,
        *,
        iterations: int,
        corrections: int | None = None,
        course: Course | None = None,
        progress: Progress | None = None,
    ) -> Vector:
        """Improve a fill towards the exact mean.

        It takes iterations of the inner loop, then one of the outer loop for every four of these,
        because the inner loop's Q is approximate. If the pixels do not resolve the sky, or the
        noise varies, Q is a poor approximation: then there are seven outer iterations for every
        four inner ones begun, or fewer if the fill gets within 0.002 of the map's rms of the exact
        mean.

        Parameters
        ----------
        filled
            ``(npix,)``, µK, RING, with the fill in the holes. It is not changed.
        iterations
            Number of inner iterations.
        corrections
            Largest number of outer iterations, in place of the default above.
        course
            Scalars to record or to follow. If followed, the result is linear in the map.
        progress
            Receives every step.

        Returns
        -------
        ``(nhole,)``, µK, the improved fill; ``left`` is its estimated distance to the exact mean.
        """
        course = course or Course()
        if corrections is None:
            corrections = iterations // _ROUND
            if not self.resolved:
                corrections = _MANY * -(-iterations // _ROUND)
        fill, self.left = improve(
            self,
            self._sphere.vector(filled),
            Inner(self, progress or Silent(), iterations, course),
            course,
            corrections=corrections,
            inner_steps=self._steps,
            resolved=self.resolved,
            enough=_ENOUGH * self.rms,
        )
        return like(filled, fill)

    def unpolished(self) -> str | None:
        """Describe the distance to the mean after `improve`; None if it has converged."""
        away = self.left / self.rms
        return None if away <= _FAR else f"polish, some {away:.2g} of the map's rms from the mean"

    def variance(self) -> Map:
        """Compute the posterior variance in small holes, ``(nhole,)``, µK².

        For each small hole, all other holes are treated as observed, which changes little unless
        they touch. The result is NaN in wide holes. It is NaN everywhere if Σ⁻¹ is not known: if
        the noise varies, or if the pixels do not resolve the signal (signal above noise at
        `harmonics.quadrature_lmax`).
        """
        nothing = np.full(self.holes.size, np.nan)
        lmax = min(harmonics.quadrature_lmax(self.nside), self.signal_cl.size - 1)
        if self._blocks is None or not isinstance(self._noise, float):
            return nothing
        if self.signal_cl[lmax] > self._noise * self.sky.area:
            return nothing
        modes = (2 * np.arange(self.signal_cl.size) + 1) / (4 * np.pi)
        beyond = float(np.sum((modes * self.signal_cl)[lmax + 1 :]))
        exact = Covariance(
            self.weights, self.signal_cl[: lmax + 1], self._noise + beyond, pixels=self.holes
        )
        holes = self._blocks.kernel.holes
        kernel = Kernel(exact, exact.weights, self.nside, self.holes, holes)
        variance = HoleBlocks(kernel, threads=self._threads).variance()
        # A pixel's own noise is σ², not σ² / w.
        return np.asarray(variance + self._noise * (1 - 1 / exact.weights))

    def covariance(self, y: Vector, *, out: Vector | None = None) -> tuple[Vector, Vector]:
        """Compute Yᵀ y and Σ y, without signal that is nothing beside the noise."""
        alm = self._sphere.adjoint(y, self._last)
        told = self._sphere.almxfl(alm, self.signal_cl[: self._last + 1])
        image = self._sphere.pixels(None).synthesis(told, None, out=out, add=out is not None)
        add(image, y, self._noise)
        return alm, image

    def size(self, sizes: Sequence[float]) -> float:
        """Compute the rms of a residual from that of its only field."""
        return float(sizes[0])

    def sizes(self, rest: Vector) -> list[float]:
        """Compute the rms of a residual, without unconstrained monopole and dipole.

        The variance of an unconstrained monopole is so large against the noise's that rounding
        leaves a residual there, which is not an error of the fill.
        """
        if not self._free_dipole:
            return [rms(rest)]
        alm = self.sky.rings.adjoint(rest, self.sky.weights, 1)
        low = self.sky.rings.synthesis(alm * self.sky.area, None)
        add(low, rest, -1.0)
        return [rms(low)]

    def precondition(self, values: Vector) -> Vector:
        """Apply an approximation of (Q_hh)⁻¹."""
        if self._pinned is None:
            self._pinned = Pinned(self._free, self.inner, self.nside, self.holes)
        return self._pinned.apply(values)

    def _free(self, values: Vector) -> Vector:
        """Apply an approximation of (Q_hh)⁻¹ for the `unpinned` spectrum."""
        if self._blocks is None:
            return zeros_like(values) if self._of_wide is None else self._of_wide.apply(values)
        out = self._blocks.solve(values)
        if self._of_wide is not None:
            out[self._wide] = self._of_wide.apply(values[self._wide])
        return out


def _check_variance(seen: Map) -> None:
    """Refuse a variance that is negative or not finite."""
    if not np.all(np.isfinite(seen)) or np.any(seen < 0):
        raise ValueError("the noise variance must be finite and not negative where observed")


def _affordable(nside: int, labels: Labels, among: Mask | None) -> Mask:
    """Mark the pixels of holes with a block; only holes with a pixel in ``among`` if given."""
    sizes = np.bincount(labels)
    if among is not None:
        sizes[np.bincount(labels, among) == 0] = np.iinfo(np.int32).max  # too many for a block
    chosen: Mask = affordable(sizes, nside=nside)[labels]
    return chosen


def inner_lmax(signal_cl: Map, noise_cl: float, nside: int, *, reach: float = 2.0) -> int:
    """Return the largest multipole of the inner loop, where noise dominates the signal.

    It is at least nside. Beyond 1.5 nside the inverse is not exact, but up to ``reach``
    nside, at most 2.4, it is better than none. Below Nside 16 the limit is 1.5 nside, because the
    bound of its error was not measured there.
    """
    seen = np.flatnonzero(signal_cl > _NEGLIGIBLE * noise_cl)
    last = int(seen[-1]) if seen.size else 0
    exact = harmonics.quadrature_lmax(nside)
    most = int(reach * nside) if nside >= 16 else exact
    return min(max(last, nside), most, signal_cl.size - 1)
