"""Solve for the mean of Q and U by their harmonics, on nested sets of multipoles.

The mean in the holes is Y s there, with s the Wiener filter of the observed pixels. With S² = C,
the matrix of EE, BB and EB, over σ², the noise variance of a pixel, and M the mask,

    (1 + S Yᵀ M Y S) z = S Yᵀ M d / σ,   s = σ S z.

It holds for any mask, for every multipole of the signal, and without BB. Its eigenvalues lie
between one and one plus the signal over noise of a multipole, which for E is small: so conjugate
gradients converge fast where noise exceeds signal, and for the lower multipoles the preconditioner
is the same equation, solved on a coarser map by some steps of its own. Its lowest multipoles have
a still coarser map. (Smith, Zahn and Doré 2007, arXiv:0705.3980, filter T so.)

For P this takes a fraction of the time of the holes' own equation (`skyfill.gaussian.jointsolver`),
whose iterations are many at the edges, where fields are E inside and partly B outside. For T, whose
signal is 10⁴ times its noise, the holes' own equation is the better one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill import harmonics
from skyfill.gaussian.coarse import degrade
from skyfill.gaussian.leakage import leakage, of_one_percent
from skyfill.gaussian.memory import has_nested_device_memory
from skyfill.gaussian.solution import LEAKAGE_BINS, Certificate, JointSolution
from skyfill.gaussian.solver import NOISE_FLOOR
from skyfill.gaussian.vectors import Vector, copied, dot, rms
from skyfill.harmonics.quadrature import shared_weights
from skyfill.healpix.arrays import as_mask
from skyfill.healpix.stokes import nside_of
from skyfill.prior.model import heard_lmax
from skyfill.progress import Progress, Silent

__all__ = ["Fill", "NestedSolver", "suits"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Signal over noise of a multipole from which a coarser map has a say in it.
_LOUD = 0.6
#: Nside of the coarsest map, its largest multipole, and its steps.
_COARSEST = (32, 60, 10)
#: Largest multipole of a coarser map, in units of its Nside.
_REACH = 2
#: Steps on a coarser map: at least, and per root of the largest eigenvalue.
_STEPS = (4, 1.3)
#: Signal over noise of a multipole, beyond the lowest, up to which this takes less time than the
#: holes' own equation. The number of steps grows with its root, and that of the other ends at EE
#: over BB.
_DEEP = 200.0
#: Smallest number of steps from which their rate is known, and the rate that is assumed at least;
#: and at least from two steps, since the first has the largest part of the fill.
_FEWEST = 3
_QUICKEST = 0.1
_OF_TWO = 0.3
_SLOWEST = 0.95
#: Square of a residual, in units of the first, below which only rounding is left.
_ROUNDING = 1e-26


class _Level:
    """The equation for multipoles up to ``lmax``, on a map of some Nside.

    Parameters
    ----------
    sphere
        Transforms of that map.
    share
        ``(npix,)``, the observed share of each of its pixels, times the number of pixels of the
        full map that one of these has.
    root
        ``(2, 2, lmax + 1)``, S.
    below
        The level of the lower multipoles, or None.
    steps
        Steps that are taken to solve it, as a part of another one.
    """

    def __init__(
        self,
        sphere: harmonics.Sphere,
        share: NDArray[np.float32],
        root: Map,
        below: _Level | None,
        steps: int,
    ) -> None:
        self._sphere, self._below, self._steps = sphere, below, steps
        self.lmax = root.shape[2] - 1
        self.pixels = sphere.pixels(None, spin=2)
        self.share = sphere.vector(share)
        self.root = root
        mean = float(share.mean(dtype=np.float64))
        square = np.einsum("ijl,jkl->lik", root, root)
        inverse = np.linalg.inv(np.eye(2) + mean * share.size / (4 * np.pi) * square)
        self._diagonal = np.ascontiguousarray(np.moveaxis(inverse, 0, 2))
        self._low = None if below is None else sphere.vector(_lowest(self.lmax, below.lmax))

    def scaled(self, alm: Vector) -> Vector:
        """Give S a."""
        (found,) = self._sphere.mixed([alm], self.root)
        return found

    def told(self, sky: Vector) -> Vector:
        """Give S Yᵀ M v; M is the share of the pixels."""
        return self.scaled(self.pixels.adjoint(sky, self.share, self.lmax))

    def sky(self, z: Vector) -> Vector:
        """Give Y S z, ``(2, npix)``."""
        return self.pixels.synthesis(self.scaled(z), None)

    def precondition(self, rest: Vector) -> Vector:
        """Give an approximate solution for a right-hand side."""
        (z,) = self._sphere.mixed([rest], self._diagonal)
        if self._below is not None:
            z[:, self._low] = self._below.solution(rest[:, self._low])
        return z

    def dot(self, one: Vector, other: Vector) -> float:
        """Give the sum over all m, of E and B, of the products of two alm of real fields."""
        total = 0.0
        for a, b in zip(one, other, strict=True):
            zero = slice(self.lmax + 1)  # m = 0
            total += 2 * dot(_real(a), _real(b)) - dot(_real(a[zero]), _real(b[zero]))
        return total

    def solution(self, right: Vector) -> Vector:
        """Give the approximate solution after the steps of this level."""
        z, rest = 0.0 * right, copied(right)
        path = _Directions(self)
        for _ in range(self._steps):
            if not path.turn(rest):
                break
            length = path.step(rest, self.told(self.sky(path.direction)))
            z += length * path.direction
        return z


class _Directions:
    """Conjugate gradients whose preconditioner differs a little from step to step."""

    def __init__(self, level: _Level) -> None:
        self._level = level
        self.direction: Vector = None
        self._rho = self._first = self._length = 0.0
        self._image: Vector = None

    def turn(self, rest: Vector) -> bool:
        """Choose a direction for a residual; False if there is only rounding left."""
        level = self._level
        z = level.precondition(rest)
        rho = level.dot(rest, z)
        self._first = self._first or rho
        if rho <= _ROUNDING * self._first or not rho:
            return False
        if self.direction is not None:
            # (r - r before) · z, with r = r before - length * image
            z += (-self._length * level.dot(self._image, z) / self._rho) * self.direction
        self.direction, self._rho = z, rho
        return True

    def step(self, rest: Vector, told: Vector) -> float:
        """Take a direction's step from the residual; give its length.

        ``told`` is S Yᵀ M Y S p, and is overwritten.
        """
        told += self.direction
        self._image = told
        self._length = self._rho / self._level.dot(self.direction, told)
        rest -= self._length * told
        return self._length


@dataclass
class Fill:
    """What is known of a map of Q and U, and its fill so far.

    Attributes
    ----------
    iterations
        Steps taken on the full map.
    distance
        Estimated rms distance to the mean, µK, for all that is known.
    allowed
        The distance that the last solve was to reach, µK.
    leakage
        As `Certificate.leakage`.
    pure
        Whether the last solve brought the B modes that are still to come below their share.
    residual
        Rms of the residual over that of the right-hand side, of the whitened modes.
    """

    model: NestedSolver
    _rest: Vector = None
    _first: float = 0.0
    iterations: int = 0
    distance: float = math.inf
    allowed: float = 0.0
    leakage: tuple[float, ...] = ()
    pure: bool = False
    residual: float = 0.0
    _rates: list[float] = field(default_factory=list)

    def add(self, sky: Vector) -> None:
        """Add a map, ``(2, npix)``, µK, to what is observed; finite, and of no effect, in holes."""
        self._add(self.model.told(sky))

    def subtract(self, alm: Vector) -> Vector:
        """Subtract Y a, of E and B, ``(2, nalm)``, µK, from what is observed.

        Returns
        -------
        Y a in the holes, ``(2, nhole)``.
        """
        sky = self.model.synthesis(alm)
        self._add(-1.0 * self.model.told(sky))
        return sky[:, self.model.at]

    def _add(self, told: Vector) -> None:
        self._rest = told if self._rest is None else self._rest + told
        self._first = max(self._first, self._size())

    def _size(self) -> float:
        return math.sqrt(self.model.level.dot(self._rest, self._rest))

    def solve(
        self,
        *,
        allowed: float,
        leak: float,
        limit: int = 2000,
        progress: Progress | None = None,
    ) -> Vector:
        """Solve for what was added since the last solve, and for what that has left.

        Parameters
        ----------
        allowed
            Estimated rms distance to the mean at which to stop, µK.
        leak
            Share of 1% of BB, and of BB and noise, that the B modes of what is still to come may
            have at most.
        limit
            Largest number of steps on the full map.
        progress
            Receives every step.

        Returns
        -------
        What is added to the fill, ``(2, nhole)``, µK.
        """
        model, level = self.model, self.model.level
        listener = progress or Silent()
        added: Vector = model.sphere.vector(np.zeros((2, len(model.at))))
        path, before = _Directions(level), math.nan
        self.distance, self.allowed, self.leakage = math.inf, allowed, ()
        self.pure = False
        for number in range(1, limit + 1):
            if not path.turn(self._rest):
                self.distance, self.pure = 0.0, True
                break
            sky = level.sky(path.direction)
            length = path.step(self._rest, level.told(sky))
            move = sky[:, model.at]
            del sky
            move *= length * model.sigma
            added += move
            self.iterations += 1
            listener.advance()
            size = rms(move.reshape(-1))
            if before and (number >= _FEWEST or number == limit > 1):
                least = 0.0 if number >= _FEWEST else _OF_TWO
                self._rates = [*self._rates[-1:], max(size / before, least)]
            before = size
            if not self._rates:
                continue
            rate = min(max(*self._rates, _QUICKEST), _SLOWEST)
            factor = rate / (1 - rate)
            self.distance = factor * size
            if self.distance > allowed and number < limit:
                continue
            self.leakage, over = model.leakage(factor * move)
            self.pure = max(over, of_one_percent(self.leakage)) <= leak
            if self.distance <= allowed and self.pure:
                break
        self.residual = self._size() / (self._first or 1.0)
        return added


class NestedSolver:
    """Compute posterior means of maps of Q and U that share a mask and a prior.

    Parameters
    ----------
    observed
        ``(npix,)``, RING, True where observed.
    signal_cl
        ``(2, 2, lmax + 1)``, µK², symmetric: spectra of E and B on the map, with beam and pixel
        window.
    noise_cl
        Spectrum of the white noise of E, equal to that of B, µK².
    weights
        ``(npix,)``, RING: `harmonics.pixel_weights`; computed if not given.
    threads
        Number of threads of the transforms.
    device
        Torch device on which it works; None for the CPU without torch.

    Attributes
    ----------
    at
        The hole pixels, ``(nhole,)``, RING.
    rms
        The rms of a component of the map, µK.
    sigma
        Standard deviation of the noise of a pixel, µK; at least 1% of that of the signal.

    Raises
    ------
    ValueError
        No pixel is observed.
    """

    def __init__(
        self,
        observed: ArrayLike,
        *,
        signal_cl: Map,
        noise_cl: float,
        weights: Map | None = None,
        threads: int = 0,
        device: str | None = None,
    ) -> None:
        seen = as_mask(observed, taker="gaussian.NestedSolver")
        if not seen.any():
            raise ValueError("no pixel of P is observed: nothing is known of its sky")
        nside, area = nside_of(seen, "observed"), 4 * np.pi / seen.size
        weights = shared_weights(nside, threads=threads) if weights is None else weights
        power = (2 * np.arange(signal_cl.shape[2]) + 1) / (8 * np.pi)
        power = power * np.trace(signal_cl)
        signal = float(power[2:].sum())
        variance = max(noise_cl / area, NOISE_FLOOR * signal)
        self.sigma, self.rms = variance**0.5, (signal + variance) ** 0.5
        self._bb, self._noise = signal_cl[1, 1], variance * area
        lmax = heard_lmax(power, variance)
        if device and not has_nested_device_memory(device, nside, signal_cl.shape[2] - 1):
            device = None
        root = _root(signal_cl[:, :, : lmax + 1] / variance)
        over = np.trace(signal_cl[:, :, : lmax + 1]) / self._noise
        below = None
        for side, end, steps in _levels(nside, over):
            share = degrade(seen.astype(np.float64), seen, side)[1]
            below = _Level(
                harmonics.sphere_on(device, side, end, threads=threads),
                (share * (nside / side) ** 2).astype(np.float32),
                np.ascontiguousarray(root[:, :, : end + 1]),
                below,
                steps,
            )
        last = signal_cl.shape[2] - 1
        self.sphere = sphere = harmonics.sphere_on(device, nside, last, threads=threads)
        self.level = _Level(sphere, seen.astype(np.float32), root, below, 0)
        holes = np.flatnonzero(~seen)
        self.at: Vector = sphere.vector(holes)
        self._in_holes = sphere.pixels(holes, spin=2)
        self._weights, self._area = sphere.vector(weights[holes]), area

    def start(self) -> Fill:
        """Give the fill of a map of which nothing is known yet."""
        return Fill(self)

    def mean(
        self,
        values: Sequence[Vector],
        *,
        tolerance: float = 3e-3,
        progress: Progress | None = None,
        overwrite: bool = False,
    ) -> JointSolution:
        """Compute the posterior mean in the holes, given the observed pixels of one map.

        Parameters
        ----------
        values
            The map, ``(2, npix)``, as the one element of a sequence.
        tolerance
            Estimated rms distance to the exact mean at which to stop, in units of the rms of the
            map. The B modes that are still to come are then below 1% of BB, too.
        progress
            Receives every step.
        overwrite
            Whether ``values``, then a list, is emptied and its map may be changed.
        """
        (given,) = values
        sky = self.sphere.vector(given if overwrite else copied(given))
        sky[:, self.at] = 0.0  # it may be NaN
        fill = self.start()
        fill.add(sky)
        del given, sky
        if overwrite and isinstance(values, list):
            values.clear()
        found = fill.solve(allowed=tolerance * self.rms, leak=1.0, progress=progress)
        certificate = Certificate(
            *(fill.iterations, 0, fill.residual, fill.distance),
            converged=fill.pure and fill.distance <= fill.allowed,
            leakage=fill.leakage,
        )
        return JointSolution((self.sphere.array(found),), {"P": certificate})

    def told(self, sky: Vector) -> Vector:
        """Give S Yᵀ M v / σ, which is what a map tells of its modes."""
        alm = self.level.told(sky)
        alm /= self.sigma
        return alm

    def synthesis(self, alm: Vector) -> Vector:
        """Give Y a, ``(2, npix)``."""
        return self.level.pixels.synthesis(alm, None)

    def analysed(self, values: Vector, lmax: int) -> Vector:
        """Give E and B of a P that is ``values``, ``(2, nhole)``, in its holes and zero outside."""
        return self._area * self._in_holes.adjoint(values, self._weights, lmax)

    def leakage(self, move: Vector) -> tuple[tuple[float, ...], float]:
        """Compare the B modes of a step in the holes with those of the prior, see `leakage`."""
        last = min(self.level.lmax, LEAKAGE_BINS[-1][1])
        b = self.sphere.array(self.analysed(move, last)[1])
        return leakage(np.abs(b).astype(complex), self._bb, self._noise)


def suits(signal_cl: Map, noise_cl: float) -> bool:
    """Tell whether a map of Q and U is filled sooner by `NestedSolver` than by `JointSolver`.

    Parameters
    ----------
    signal_cl, noise_cl
        As for `NestedSolver`.
    """
    over = np.max(signal_cl[[0, 1], [0, 1]], axis=0)
    return noise_cl > 0 and bool(over[_COARSEST[1] :].max(initial=0.0) <= _DEEP * noise_cl)


def _levels(nside: int, over: Map) -> list[tuple[int, int, int]]:
    """Choose Nside, lmax and steps of the coarser maps, from the coarsest.

    ``over`` is the signal over the noise of each multipole.
    """
    found: list[tuple[int, int, int]] = []
    side, last, steps = _COARSEST
    if nside > side and over.size > _REACH * last:
        found.append((side, last, steps))
    else:
        last = 0
    loud = np.flatnonzero(over > _LOUD)
    end = int(loud[-1]) if loud.size else 0
    if end <= _REACH * max(last, _COARSEST[1]) or 1.2 * end > over.size:
        return found
    # A little less than all of them, if a coarser map then does.
    side = 2 ** math.ceil(math.log2(0.8 * end / _REACH))
    side = min(side, nside)
    most = float(over[last + 1 :].max())
    steps = max(_STEPS[0], math.ceil(_STEPS[1] * (1 + most) ** 0.5))
    found.append((side, min(end, _REACH * side) if side < nside else end, steps))
    return found


def _root(matrix: Map) -> Map:
    """Give the symmetric root of ``(2, 2, n)``, without what belongs to l = 0 and 1."""
    values, vectors = np.linalg.eigh(np.moveaxis(matrix, 2, 0))
    values = np.sqrt(np.maximum(values, 0.0))
    root = np.einsum("lij,lj,lkj->ikl", vectors, values, vectors)
    root[:, :, :2] = 0.0
    return np.ascontiguousarray(root)


def _lowest(lmax: int, last: int) -> NDArray[np.int64]:
    """Give the places, among alm that end at lmax, of those that end at ``last``."""
    m = np.repeat(np.arange(last + 1), np.arange(last + 1, 0, -1))
    ell = np.concatenate([np.arange(each, last + 1) for each in range(last + 1)])
    return np.asarray(m * (2 * lmax + 1 - m) // 2 + ell, np.int64)


def _real(alm: Vector) -> Vector:
    """Give real and imaginary parts as one vector of floats."""
    if isinstance(alm, np.ndarray):
        return alm.view(np.float64)
    import torch

    return torch.view_as_real(alm).reshape(-1)
