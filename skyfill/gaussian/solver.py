"""Solve for the posterior mean of a Gaussian sky on the whole sphere.

With Σ = Y S Yᵀ + N the covariance of the map and M the observed pixels, the mean of the unobserved
ones is x = Σ_hM y, (M Σ M) y = d. Were Σ known by its inverse Q, they would be the solution of
Q_hh x = -Q_hM d, which takes two transforms an iteration, on the rings of the holes alone. There is
such a Q for a sky that is nearly the one meant (`harmonics.Covariance`: signal to l = 1.5 nside,
what lies beyond as noise, noise nearly white). So there are two loops. The inner one solves for the
holes with Q, preconditioned by blocks for small holes and tapered bands for wide ones. The outer one
is conjugate gradients on (M Σ M) y = d with Σ as it is, preconditioned by the inner one: a residual
is filled, Q applied. Where the pixels resolve the sky, one outer step is enough; where they do not,
or where the noise varies, the outer loop does the work, and nothing that Q leaves out is lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skyfill import harmonics
from skyfill._checks import nside_of
from skyfill._jit import compiled
from skyfill._progress import Progress, Silent
from skyfill.gaussian.bands import TaperedBands
from skyfill.gaussian.blocks import HoleBlocks, affordable
from skyfill.harmonics import Covariance, Rings
from skyfill.masks import distance_to_edge, label_holes

__all__ = ["Solution", "Solver", "posterior_mean"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: White noise of at least this share of the signal's variance keeps Σ invertible in float64.
_NOISE_FLOOR = 1e-4
#: Signal over noise below which signal is noise to the inner loop.
_NEGLIGIBLE = 0.03
#: Share of the allowed distance that the inner loop takes up.
_INNER = 0.3
#: Iterations between two looks at how far the solution has moved.
_LOOK = 4


@dataclass(frozen=True)
class Solution:
    """The posterior mean of a masked map.

    Attributes
    ----------
    fill
        ``(nhole,)``: the posterior mean in the holes, RING order.
    whitened
        ``(nalm,)``: Yᵀ y with y = Σ⁻¹ d on the observed pixels; S times it is the mean of the
        signal's alm.
    iterations
        Steps of the inner loop, all told.
    corrections
        Steps of the outer loop.
    residual
        Norm of d - M Σ M y relative to d's, both as multiples of the noise.
    distance
        Estimated rms distance of ``fill`` to the exact mean, µK.
    converged
        Whether the distance is within the tolerance.
    """

    fill: Map
    whitened: NDArray[np.complex128]
    iterations: int
    corrections: int
    residual: float
    distance: float
    converged: bool


class Solver:
    """Posterior means of maps that share a mask and a prior.

    Everything that depends on mask and prior alone is made once, here.

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
    threads
        Of the transforms.

    Raises
    ------
    ValueError
        No pixel is observed, or a variance is not a positive number.
    """

    def __init__(
        self,
        observed: Mask,
        *,
        signal_cl: Map,
        noise_cl: float = 0.0,
        noise_variance: Map | None = None,
        threads: int = 0,
    ) -> None:
        self._nside = nside_of(observed.size, "the map to fill")
        if not observed.any():
            raise ValueError("no pixel is observed: nothing is known of the sky")
        self._observed = observed
        self.holes = np.flatnonzero(~observed)
        self._threads = threads
        self._cl = signal_cl
        area = 4 * np.pi / observed.size
        modes = (2 * np.arange(signal_cl.size) + 1) / (4 * np.pi)
        signal = float(modes @ signal_cl)
        floor = _NOISE_FLOOR * signal
        self._noise: Map | float = max(noise_cl / area, floor)
        white = self._noise
        if noise_variance is not None:
            seen = noise_variance[observed]
            if not np.all(np.isfinite(seen)) or np.any(seen < 0):
                raise ValueError("the noise variance must be finite and not negative where observed")
            self._noise = np.where(observed, np.maximum(noise_variance, floor), white)
            white = float(np.median(self._noise[observed]))
        self.rms = (signal + white) ** 0.5
        lmax = _inner_lmax(signal_cl, white * area, self._nside)
        white += float(np.sum((modes * signal_cl)[lmax + 1 :]))
        weights = harmonics.pixel_weights(self._nside, threads=threads)
        self.sky = Covariance(weights, signal_cl[: lmax + 1], white, threads=threads)
        self._blocks: HoleBlocks | None = None
        self._bands: TaperedBands | None = None
        if not self.holes.size:
            return
        self.inner = Covariance(
            weights, signal_cl[: lmax + 1], white, pixels=self.holes, threads=threads
        )
        self._prepare(weights)

    def _prepare(self, weights: Map) -> None:
        """Divide the holes between blocks and bands."""
        labels = label_holes(self._observed)
        mine = labels.labels[self.holes]
        small = affordable(labels.sizes)
        in_block = small[mine]
        self._wide = np.flatnonzero(~in_block)
        if in_block.any():
            order = np.flatnonzero(in_block)
            order = order[np.argsort(mine[order], kind="stable")]
            cuts = np.flatnonzero(np.diff(mine[order])) + 1
            self._blocks = HoleBlocks(self.inner, self._nside, np.split(order, cuts))
        if self._wide.size:
            pixels = self.holes[self._wide]
            depth = distance_to_edge(self._observed)[pixels]
            covariance = Covariance(
                weights,
                self.inner.signal_cl,
                self.inner.variance,
                pixels=pixels,
                threads=self._threads,
            )
            self._bands = TaperedBands(covariance, depth, self._nside)

    def mean(
        self,
        values: Map,
        *,
        start: Map | None = None,
        tolerance: float = 3e-3,
        iterations: int | None = None,
        max_iterations: int = 1000,
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
        iterations
            Take that many steps of the inner loop, none of the outer, and stop.
        max_iterations
            Steps of the inner loop, all told, after which to stop anyway.
        progress
            Told of every step.

        Returns
        -------
        The solution; ``converged`` says whether the tolerance was met.
        """
        progress = progress or Silent()
        data = np.where(self._observed, values, 0.0)
        if not self.holes.size or not data.any():
            nalm = self._cl.size * (self._cl.size + 1) // 2
            fill = np.zeros(self.holes.size)
            return Solution(fill, np.zeros(nalm, dtype=np.complex128), 0, 0, 0.0, 0.0, True)
        allowed = tolerance * self.rms
        limit = max_iterations if iterations is None else iterations
        inner = _Inner(self, progress, limit)
        fill, distance = inner.solve(
            -self.sky.inverse(data)[self.holes],
            start,
            allowed=0.0 if iterations is not None else _INNER * allowed,
        )
        data[self.holes] = fill
        y = self.sky.inverse(data)
        outer = _Outer(self, data, y)
        first = outer.residual
        while iterations is None and inner.left > 0 and (outer.steps == 0 or distance > allowed):
            step, z, left = outer.correction(inner, _INNER * allowed)
            shrunk = outer.advance(step, z)
            if not shrunk:
                break
            distance = left + _rms(step) * shrunk
        return Solution(
            data[self.holes],
            outer.whitened,
            inner.taken,
            outer.steps,
            outer.residual,
            distance,
            distance <= allowed,
        )

    def variance(self) -> Map:
        """Give the posterior variance in small holes, ``(nhole,)``, µK²; NaN in the others.

        Each small hole is taken as if all others were observed, which changes little unless they
        touch.
        """
        if self._blocks is None:
            return np.full(self.holes.size, np.nan)
        return self._blocks.variance()

    def covariance(self, y: Map) -> tuple[NDArray[np.complex128], Map]:
        """Give Yᵀ y and Σ y, exactly."""
        alm = harmonics.adjoint(y, lmax=self._cl.size - 1, threads=self._threads)
        image = harmonics.synthesis(
            harmonics.almxfl(alm, self._cl), self._nside, threads=self._threads
        )
        image += self._noise * y
        return alm, image

    def precondition(self, values: Map) -> Map:
        """Apply nearly (Q_hh)⁻¹."""
        out = np.zeros_like(values) if self._blocks is None else self._blocks.solve(values)
        if self._bands is not None:
            out[self._wide] = self._bands.apply(values[self._wide])
        return out


def _inner_lmax(signal_cl: Map, noise_cl: float, nside: int) -> int:
    """Give the largest multipole of the inner loop: where the noise has long taken over.

    Beyond 1.5 nside the inverse is not exact, but better than none up to 2 nside.
    """
    seen = np.flatnonzero(signal_cl > _NEGLIGIBLE * noise_cl)
    last = int(seen[-1]) if seen.size else 0
    return min(max(last, nside), 2 * nside, signal_cl.size - 1)


@compiled
def _dot(a: Map, b: Map) -> float:
    """Multiply without BLAS, whose idle threads spin while the transforms' need the cores."""
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


def _rms(values: Map) -> float:
    return float(np.sqrt(_dot(values, values) / values.size))


class _Inner:
    """Solve for the holes with the nearly exact Q; counts its iterations."""

    def __init__(self, solver: Solver, progress: Progress, limit: int) -> None:
        self._solver = solver
        self._progress = progress
        self.left = limit
        self.taken = 0

    def solve(
        self, right: Map, start: Map | None = None, *, allowed: float, relative: float = 0.0
    ) -> tuple[Map, float]:
        """Solve Q_hh x = right by conjugate gradients.

        Parameters
        ----------
        right
            ``(nhole,)``.
        start
            ``(nhole,)``: where to begin; at zero if not given.
        allowed, relative
            Stop at this distance from the solution, µK, or in units of the rms of x.

        Returns
        -------
        x, and its estimated rms distance from the solution. The distance is told from how far x has
        moved of late: moves that shrink by q from one look to the next add up to q / (1 - q) times
        the last.
        """
        precision, precondition = self._solver.inner.inverse, self._solver.precondition
        x = np.zeros_like(right) if start is None else np.array(start, dtype=np.float64)
        rest = right.copy() if start is None else right - precision(x)
        z = precondition(rest)
        direction = z.copy()
        rho = _dot(rest, z)
        before, moved, distance = x.copy(), np.inf, np.inf
        for count in range(1, self.left + 1):
            if rho <= 0:
                return x, 0.0 if count == 1 else distance
            image = precision(direction)
            step = rho / _dot(direction, image)
            x += step * direction
            rest -= step * image
            self.left -= 1
            self.taken += 1
            self._progress.advance()
            if count % _LOOK == 0:
                now = _rms(x - before)
                before[:] = x
                q = min(max(now / moved, 0.5), 0.95) if moved else 0.5
                distance = now * q / (1 - q) if count > _LOOK else np.inf
                moved = now
                if distance <= max(allowed, relative * _rms(x)):
                    break
            z = precondition(rest)
            rho, last = _dot(rest, z), rho
            direction *= rho / last
            direction += z
        return x, distance


class _Outer:
    """Make d, with its holes filled by x, equal Σ y with y zero in the holes.

    Conjugate gradients on what is left of it, r = d + x - Σ y, on the whole sphere; x and y change
    together, in place. The preconditioner is the inner loop, which is not quite the same at every
    step, so a step is made conjugate to the one before explicitly.
    """

    def __init__(self, solver: Solver, filled: Map, y: Map) -> None:
        self._solver = solver
        self._filled = filled
        self._y = y
        self.whitened, image = solver.covariance(y)
        self._scale = _rms(filled)
        self._rest = filled - image
        self._step: Map | None = None
        self._direction = self._image = np.empty(0)
        self._curvature = 1.0
        self.steps = 0
        self.residual = _rms(self._rest) / self._scale

    def correction(self, inner: _Inner, allowed: float) -> tuple[Map, Map, float]:
        """Give what x lacks, what y lacks, and how well the former is known."""
        s = self._solver
        z = s.sky.inverse(self._rest)
        step, left = inner.solve(-(z + self._y)[s.holes], allowed=allowed, relative=0.1)
        padded = np.zeros_like(z)
        padded[s.holes] = step
        z += s.sky.inverse(padded)
        return step, z, left

    def advance(self, step: Map, z: Map) -> float:
        """Go along a correction; give the factor by which the residual shrinks, 0 for not at all."""
        s = self._solver
        if self._step is not None:
            conjugate = -_dot(z, self._image) / self._curvature
            z += conjugate * self._direction
            step = step + conjugate * self._step
        alm, image = s.covariance(z)
        image[s.holes] -= step
        curvature = _dot(z, image)
        if curvature <= 0:
            return 0.0
        length = _dot(z, self._rest) / curvature
        self._rest -= length * image
        self._y += length * z
        self._filled[s.holes] += length * step
        self.whitened += length * alm
        self._step, self._direction, self._image = step, z, image
        self._curvature = curvature
        self.steps += 1
        before, self.residual = self.residual, _rms(self._rest) / self._scale
        return min(self.residual / before, 1.0)


def posterior_mean(
    values: Map,
    observed: Mask,
    *,
    signal_cl: Map,
    noise_cl: float,
    tolerance: float = 3e-3,
    max_iterations: int = 1000,
    threads: int = 0,
    progress: Progress | None = None,
) -> Solution:
    """Fill the holes of one map: `Solver` and its `mean` in one call."""
    solver = Solver(observed, signal_cl=signal_cl, noise_cl=noise_cl, threads=threads)
    return solver.mean(
        values, tolerance=tolerance, max_iterations=max_iterations, progress=progress
    )
