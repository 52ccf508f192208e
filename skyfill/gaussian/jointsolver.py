"""Solve for the posterior mean of Q and U, or of T, Q and U, on the whole sphere.

The loops are those of `skyfill.gaussian.solver`, with the covariance of several Stokes parameters.
Q and U are missing in the same pixels, T may be missing in others. Vectors are in units of the rms
of each Stokes parameter, so that a tolerance means the same for T and for P, which is a hundred
times fainter; each must meet it. T and P have multipoles, rings and preconditioners of their own:
small holes are solved by blocks of T and of Q with U, wide ones by the bands of T and by a reduced
prior of P (`skyfill.gaussian.hybrid`). T and P are solved together, or in turn (`Alternation`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill import harmonics
from skyfill.files.cache import Kept
from skyfill.gaussian.alternation import Alternation, given_the_other
from skyfill.gaussian.bands import TaperedBands
from skyfill.gaussian.blocks import (
    DeviceBlocks,
    Gained,
    HoleBlocks,
    Kernel,
    affordable,
    labels_of,
)
from skyfill.gaussian.conditioning import are_slow, expected
from skyfill.gaussian.hybrid import Apply, Hybrid, Parted, PolarPrior
from skyfill.gaussian.leakage import leakage
from skyfill.gaussian.loops import Course, Inner, Outer, go_on, solve
from skyfill.gaussian.memory import check_joint_memory, has_joint_device_memory
from skyfill.gaussian.pinned import Pinned, unpinned
from skyfill.gaussian.pixelnoise import PixelNoise, checked_variance
from skyfill.gaussian.polarblocks import MEMORY, PolarKernel, affordable_pol
from skyfill.gaussian.segments import Segments, affordable_segments
from skyfill.gaussian.solution import LEAKAGE_BINS, Certificate, JointSolution
from skyfill.gaussian.solver import NOISE_FLOOR, inner_lmax
from skyfill.gaussian.vectors import Vector, add, rms, zeros_like
from skyfill.gaussian.widefirst import Wide, WideFirst, fewer_rings
from skyfill.harmonics import Covariance, DeviceSphere, JointCovariance, Sphere
from skyfill.harmonics.jointcovariance import SPINS
from skyfill.harmonics.quadrature import shared_weights
from skyfill.harmonics.spheres import Pixels
from skyfill.healpix import pixel_directions, pixel_radius, pixels_towards
from skyfill.healpix.arrays import as_mask
from skyfill.healpix.jit import by_pieces
from skyfill.healpix.stokes import nside_of
from skyfill.holes import distance_to_edge
from skyfill.prior.model import heard_lmax
from skyfill.progress import Progress, Silent

__all__ = ["JointSolver"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Shares of the tolerance that the inner loop may leave in the first solve, and in a correction.
#: Fills were at most 0.7 of the tolerance away from the mean, and took 6% more iterations with 0.7
#: and 0.3. With much more in a correction, these are many: what the inner loop leaves at the edges
#: of holes is E inside and partly B outside.
_FIRST, _SHARE = 1.0, 0.5
#: Nside of the map on which the depth of P's holes is measured.
_COARSE = 64
#: Largest multipole of P in the inner loop, in units of Nside. Where the noise is low, corrections
#: are a third of those with 2, as long as the signal there is not far above the noise.
_REACH_OF_P = 2.4
#: P keeps the multipoles at which T tells of it, even where its own noise hides it. They end where
#: what T tells is 1e-5 of the map's rms. This takes the place of noise in `heard_lmax`, in units of
#: the map's variance.
_FAINT = 1e-5
#: Least part of a correction's residual that a later one is taken to remove.
_SLOWEST = 0.05
#: Tolerances that are tried in addition if too much of B is still to come, each smaller.
_TRIES = 3
#: Factor by which the tolerance is at most lowered at a time.
_LOWER = 0.1


class JointSolver:
    """Compute posterior means of maps of Q and U, or of T, Q and U, that share masks and a prior.

    Parameters
    ----------
    observed
        For each field, T and P or P alone, ``(npix,)``, RING, True where observed.
    signal_cl
        ``(k, k, lmax + 1)``, µK², symmetric: spectra of T, E, B on the map (k = 3), or of E, B
        (k = 2), with beam and pixel window.
    noise_cl
        For each field the spectrum of its white noise, µK²; of P that of E, equal to that of B.
    noise_variance
        For each field the variance of the noise of each pixel, µK², RING, in place of its white
        noise, or None: of T ``(npix,)``; of P ``(3, npix)``, QQ, QU and UU, or ``(npix,)`` for Q
        and U alike. Not read in the holes.
    way
        ``joint``: T and P are solved together; ``alternate``: in turn, each given the other. Both
        lead to one mean. T and P together take as long as in turn at the noise of Planck, half as
        long at low noise, and as much memory.
    weights
        ``(npix,)``, RING: `harmonics.pixel_weights`; computed if not given.
    threads
        Number of threads of the transforms.
    kept
        Cache for what depends only on masks and prior.
    device
        Torch device on which a joint solve is done; None for the CPU without torch. Turns are
        taken on the CPU.

    Raises
    ------
    ValueError
        Number of masks, spectra and noises do not fit together; a field has no observed pixel; the
        matrix of the spectra is not positive at some l; or a variance is negative or not finite.
    MemoryError
        The machine has too little memory.

    Attributes
    ----------
    nside
        Nside of the maps.
    holes
        For each field its pixels that are filled, ``(n,)``, RING.
    rms
        For each field the rms of a component of the map, µK.
    way
        ``joint`` or ``alternate``.
    """

    def __init__(
        self,
        observed: Sequence[ArrayLike],
        *,
        signal_cl: Map,
        noise_cl: Sequence[float],
        noise_variance: Sequence[ArrayLike | None] | None = None,
        way: Literal["joint", "alternate"] = "joint",
        weights: Map | None = None,
        threads: int = 0,
        kept: Kept | None = None,
        device: str | None = None,
    ) -> None:
        seen = [as_mask(each, taker="gaussian.JointSolver") for each in observed]
        _check(seen, signal_cl, noise_cl)
        self._seen, self._threads = seen, threads
        self.nside = nside = nside_of(seen[0], "observed")
        self.spins = spins = SPINS[len(signal_cl)]
        self.names = ("T", "P") if len(spins) == 2 else ("P",)
        npix = seen[0].size
        area = 4 * np.pi / npix
        self.holes = [np.flatnonzero(~each) for each in seen]
        planes = [2 if spin else 1 for spin in spins]
        self._last = signal_cl.shape[2] - 1
        self._check_memory(np.empty(0, np.int64))  # before large arrays are allocated
        powers = _powers(signal_cl, spins)
        signal = [float(power[2:].sum()) for power in powers]
        floors = [NOISE_FLOOR * each for each in signal]
        variance: list[Map | float] = [cl / area for cl in noise_cl]
        for number, own in enumerate(noise_variance or ()):
            if own is not None:
                given = self.names[number], planes[number], seen[number]
                variance[number] = checked_variance(own, given[1], given[2], given[0])
        pixels = PixelNoise(variance, floors, seen)
        noise = pixels.typical
        self.rms = [(s + n) ** 0.5 for s, n in zip(signal, noise, strict=True)]
        self._noise = pixels.scaled(self.rms)
        loud = [np.max(signal_cl[[-2, -1], [-2, -1]], axis=0)]
        if len(spins) == 2:
            loud.insert(0, signal_cl[0, 0])
        lmax = [
            inner_lmax(cl, n * area, nside, reach=_REACH_OF_P)
            if spin
            else inner_lmax(cl, n * area, nside)
            for cl, n, spin in zip(loud, noise, spins, strict=True)
        ]
        beyond = [float(power[end + 1 :].sum()) for power, end in zip(powers, lmax, strict=True)]
        unit = np.repeat(self.rms, planes)
        cl = signal_cl / (unit[:, None] * unit)[:, :, None]
        white = [(n + b) / r**2 for n, b, r in zip(noise, beyond, self.rms, strict=True)]
        self.weights = shared_weights(nside, threads=threads) if weights is None else weights
        if way == "alternate" or (device and not self._fits_on(device)):
            device = None
        sphere = harmonics.sphere_on(device, nside, self._last, threads=threads)
        self.sky = JointCovariance(self.weights, cl, white, lmax=lmax, sphere=sphere)
        ends = [heard_lmax(power, n) for power, n in zip(powers, noise, strict=True)]
        if len(spins) == 2:  # P is heard in T, too
            told = _told(signal_cl, noise[0] * area)
            ends[1] = max(ends[1], heard_lmax(told, _FAINT * self.rms[1] ** 2))
        self._exact = JointCovariance(self.weights, cl, white, lmax=ends, sphere=sphere)
        self._noise = self._noise.on(sphere)
        self.inner = JointCovariance(
            self.weights, cl, white, pixels=self.holes, lmax=lmax, sphere=sphere
        )
        self.at: Vector = self.inner.at
        every = list(enumerate(self.inner.parts))
        self.filled = [number for number, part in every if part.stop > part.start]
        self.parts: Sequence[slice] = [self.inner.parts[number] for number in self.filled]
        low = signal_cl[0, 0, :2], signal_cl[0, 0, min(2, signal_cl.shape[2] - 1)]
        self._free_dipole = spins[0] == 0 and bool(np.all(low[0] > low[1]))
        self._bb, self._noise_pol = signal_cl[-1, -1], noise[-1] * area
        if way not in ("joint", "alternate"):
            raise ValueError(f"way must be joint or alternate, got {way!r}")
        self.way = way if len(self.parts) == 2 else "joint"
        self._kept = [(kept or Kept()).of(each) for each in seen]
        t_alone = expected(signal_cl[0, 0], noise[0] * area, nside, wide=True)
        self._prepare(slow=spins[0] == 0 and are_slow(*t_alone))

    def _prepare(self, *, slow: bool) -> None:
        """Prepare the preconditioners: blocks of small holes, the prior or segments of others."""
        labels = [self._labels(number) for number in range(len(self.spins))]
        small = [self._small(number, each) for number, each in enumerate(labels)]
        sizes = [
            planes * np.bincount(each[chosen])
            for planes, each, chosen in zip(self.inner.planes, labels, small, strict=True)
        ]
        wide = [np.flatnonzero(~each) for each in small]
        inner = self.inner
        deep = self.holes[0][wide[0]] if slow else self.holes[0][:0]
        segments, more = affordable_segments(self.nside, deep, inner.lmax[0])
        self._check_memory(np.concatenate([*sizes, more]))
        self._blocks = [
            self._blocks_of(number, *each)
            for number, each in enumerate(zip(labels, small, strict=True))
        ]
        at = [
            np.concatenate([plane * pixels.size + chosen for plane in range(planes)])
            for planes, pixels, chosen in zip(inner.planes, self.holes, wide, strict=True)
        ]
        self._wide = at
        chosen = [pixels[each] for pixels, each in zip(self.holes, wide, strict=True)]
        prior = self._prior(chosen)
        of_wide = self._of_wide(prior, chosen, wide, segments)
        self._preconditions: list[Apply] = [
            Parted(blocks, apply, inner.sphere.vector(where)).apply
            for blocks, apply, where in zip(self._blocks, of_wide, at, strict=True)
        ]
        self._preconditions[0] = self._pinned(self._preconditions[0], self.holes[0], inner)
        self._hybrid = Hybrid(inner.parts, self._preconditions)
        self._wide_model: Wide | None = None
        if self.way == "joint" and fewer_rings(self.nside, self.holes, chosen, inner.planes):
            joint = prior.with_signal(inner.signal_cl)
            of_wide[0] = self._pinned(of_wide[0], chosen[0], joint)
            parts = [part for part in joint.parts if part.stop > part.start]
            self._wide_model = Wide(joint, Hybrid(joint.parts, of_wide).apply, parts)

    @property
    def sphere(self) -> Sphere:
        """The transforms in use."""
        return self.sky.sphere

    def _of_wide(
        self,
        prior: JointCovariance,
        chosen: Sequence[NDArray[np.int64]],
        wide: Sequence[NDArray[np.int64]],
        segments: list[NDArray[np.int64]],
    ) -> list[Apply]:
        """Give the preconditioner of each field in its wide holes."""
        found: list[Apply] = [zeros_like] * len(self.spins)
        if self.spins[0] == 0 and wide[0].size:
            scalar = self._scalar(prior.signal_cl[0, 0], chosen[0], prior.rings[0])
            found[0] = self._of_t(scalar, chosen[0], wide[0], segments)
        if wide[-1].size:
            found[-1] = PolarPrior(prior, self._deepest_of_p).apply
        return found

    def _of_t(
        self,
        scalar: Covariance,
        pixels: NDArray[np.int64],
        wide: NDArray[np.int64],
        segments: list[NDArray[np.int64]],
    ) -> Apply:
        """Give the preconditioner of T's wide holes: bands if there are no segments."""
        if not segments:
            return TaperedBands(scalar, self._depth_of_t(wide)).apply
        kept = self._kept[0].needing("prior")
        every = scalar, self.nside, pixels, segments
        return Segments(*every, threads=self._threads, kept=kept).apply

    def _pinned(self, free: Apply, pixels: NDArray[np.int64], joint: JointCovariance) -> Apply:
        """Correct a preconditioner of T between some pixels for monopole and dipole."""
        if self.spins[0] or not pixels.size:
            return free
        scalar = self._scalar(self.inner.signal_cl[0, 0], pixels, joint.rings[0])
        return Pinned(free, scalar, self.nside, pixels).apply

    def _check_memory(self, blocks: NDArray[np.int64]) -> None:
        """Refuse a solve for which the machine has too little memory."""
        check_joint_memory(self.nside, *self._size, blocks, lmax=self._last)

    def _fits_on(self, device: str) -> bool:
        """Tell whether a device has the memory, with the largest blocks that there may be."""
        most = np.full(int(MEMORY / 2e6), 1000)
        return has_joint_device_memory(device, self.nside, *self._size, most, self._last)

    @property
    def _size(self) -> tuple[int, int]:
        """Number of components, and of their hole pixels."""
        planes = [2 if spin else 1 for spin in self.spins]
        return sum(planes), sum(n * each.size for n, each in zip(planes, self.holes, strict=True))

    def _labels(self, number: int) -> NDArray[np.int32]:
        """Label the hole pixels of a field by their hole."""
        pixels, lmax = self.holes[number], self.inner.lmax[number]
        if not pixels.size:
            return np.zeros(0, np.int32)
        return labels_of(self._seen[number], pixels, lmax, self._kept[number])

    def _small(self, number: int, labels: NDArray[np.int32]) -> Mask:
        """Mark the pixels of a field that are in holes with a block."""
        if not labels.size:
            return np.zeros(0, bool)
        sizes = np.bincount(labels)
        if self.spins[number]:
            return np.asarray(affordable_pol(sizes)[labels])
        return np.asarray(affordable(sizes)[labels])

    def _depth_of_t(self, wide: NDArray[np.int64]) -> Map:
        """Give the distance of the pixels of T's wide holes from its observed sky, radians."""
        pixels = self.holes[0]
        return self._kept[0].array(
            "depths",
            lambda: np.asarray(distance_to_edge(self._seen[0]), np.float64)[pixels],
            dtype=np.float64,
            shape=pixels.shape,
        )[wide]

    @property
    def _deepest_of_p(self) -> float:
        """Largest distance in P's holes from its observed sky, on a coarse map, radians."""
        coarse = min(self.nside, _COARSE)
        centres = pixel_directions(coarse, np.arange(12 * coarse**2))
        seen = self._seen[-1][pixels_towards(self.nside, centres)]
        return float(np.clip(distance_to_edge(seen).max(), pixel_radius(coarse), np.pi))

    def _blocks_of(
        self, number: int, labels: NDArray[np.int32], small: Mask
    ) -> HoleBlocks | DeviceBlocks | None:
        """Give the blocks of the small holes of a field."""
        if not small.any():
            return None
        pixels, inner = self.holes[number], self.inner
        order = np.flatnonzero(small)
        order = order[np.argsort(labels[order], kind="stable")]
        holes = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
        rows = inner.rows[number]
        gain = inner.gain[rows, rows] if self.spins[number] else inner.gain[0, 0]
        gained = Gained(gain, inner.area, inner.variance[number])
        make = PolarKernel if self.spins[number] else Kernel
        kernel = make(gained, self.weights[pixels], self.nside, pixels, holes)
        if isinstance(inner.sphere, DeviceSphere):
            return DeviceBlocks(kernel, inner.sphere)
        kept = self._kept[number].needing("prior")
        return HoleBlocks(kernel, threads=self._threads, kept=kept)

    def _prior(self, pixels: Sequence[NDArray[np.int64]]) -> JointCovariance:
        """Give the prior between some pixels of each field, without a pinned monopole of T.

        Where fields take turns it is that of each, given the other.
        """
        inner, cl = self.inner, self.inner.signal_cl.copy()
        if self.way == "alternate":
            cl[0, 0], cl[1:, 1:] = given_the_other(cl, inner.area, inner.variance)
        if self.spins[0] == 0:
            cl[0, 0] = unpinned(cl[0, 0])
        if all(each.size == holes.size for each, holes in zip(pixels, self.holes, strict=True)):
            return inner.with_signal(cl)  # shares the transforms
        return JointCovariance(
            *(self.weights, cl, inner.variance),
            pixels=pixels,
            lmax=inner.lmax,
            sphere=inner.sphere,
        )

    def _scalar(
        self, signal_cl: Map, pixels: NDArray[np.int64], rings: Pixels | None = None
    ) -> Covariance:
        """Give the covariance of T alone between some pixels, with their transforms if known."""
        cl, inner = signal_cl[: self.inner.lmax[0] + 1], self.inner
        variance, sphere = inner.variance[0], inner.sphere
        return Covariance(self.weights, cl, variance, pixels=pixels, sphere=sphere, rings=rings)

    def _scaled(self, given: Sequence[Vector], *, overwrite: bool) -> Vector:
        """Give the maps of all fields as one vector, 0 in the holes, in units of their rms."""
        values = given if isinstance(given, list) else list(given)
        if isinstance(self.inner.sphere, DeviceSphere):
            there = self.inner.sphere.joined(values, self.rms)
            there[self.at] = 0.0
            if overwrite:
                values.clear()
            return there
        fields = zip(self._seen, self.rms, self.sky.parts, strict=True)
        if overwrite and len(values) == 1:
            ((seen, scale, _),) = fields
            alone: Map = values.pop()
            alone[:, ~seen] = 0.0
            alone /= scale
            return alone.reshape(-1)
        work = np.empty(self.sky.size)
        for number, (seen, scale, part) in enumerate(fields):
            sky = values.pop(0) if overwrite else values[number]
            given = sky.reshape(-1, seen.size), seen, scale, work[part].reshape(-1, seen.size)
            by_pieces(seen.size, partial(_scale, *given))
        return work

    def mean(
        self,
        values: Sequence[Map],
        *,
        tolerance: float = 3e-3,
        max_iterations: int = 2000,
        progress: Progress | None = None,
        overwrite: bool = False,
    ) -> JointSolution:
        """Compute the posterior mean in the holes, given the observed pixels.

        Parameters
        ----------
        values
            For each field its map, µK, RING: of T, ``(npix,)``; of P, Q and U, ``(2, npix)``.
            Unobserved pixels are not read. Where the solver is on a device, tensors may be given.
        tolerance
            Estimated rms distance to the exact mean at which to stop, of each field in units of
            the rms of its own map.
        max_iterations
            Limit on the total number of inner iterations.
        progress
            Receives every step.
        overwrite
            Whether ``values``, then a list, is emptied and its maps may be changed, which saves a
            copy of them.

        Returns
        -------
        The solution; ``converged`` is True if every field met the tolerance.
        """
        work = self._scaled(values, overwrite=overwrite)
        if not self.inner.size or not work.any():
            nothing = Certificate(0, 0, 0.0, 0.0, converged=True)
            return JointSolution(self._fields(work[self.at]), dict.fromkeys(self.names, nothing))
        course, allowed = Course(), tolerance
        inner = self._inner_of(progress or Silent(), max_iterations, course)
        outer, away = solve(
            *(self, work, None, inner, course),
            allowed=allowed,
            first=_FIRST,
            share=_SHARE,
        )
        leaks, excess = self._leakage(inner, float(away[-1]), outer)
        for _ in range(_TRIES):
            if excess <= 1 or not inner.left or np.any(away > allowed):
                break
            # What is still to come is small against P, and not against B.
            allowed *= max(_LOWER, 0.7 / excess**0.5)
            away = go_on(outer, inner, away, allowed=allowed, share=_SHARE)
            leaks, excess = self._leakage(inner, float(away[-1]), outer)
        apart = dict(zip((part.start for part in self.parts), away.tolist(), strict=True))
        certificates = {}
        for name, part, scale, rest, size in zip(
            self.names,
            self.inner.parts,
            self.rms,
            outer.rests,
            outer.sizes,
            strict=True,
        ):
            mine = apart[part.start] if part.stop > part.start else 0.0
            pure = name == "T" or excess <= 1
            certificates[name] = Certificate(
                *(inner.taken, outer.steps, rest / (size or 1.0), mine * scale),
                converged=mine <= tolerance and pure,
                leakage=leaks if name == "P" else None,
            )
        return JointSolution(self._fields(outer.fill), certificates)

    def _inner_of(self, progress: Progress, limit: int, course: Course) -> Inner | Alternation:
        """Give what solves for the holes with the approximate Q."""
        if self.way == "alternate":
            return Alternation(self.inner, self._preconditions, progress, limit, course)
        if self._wide_model is None:
            return Inner(self, progress, limit, course, wary=True)
        parts = zip(self.inner.parts, self._wide, strict=True)
        at = self.inner.sphere.vector(np.concatenate([here.start + each for here, each in parts]))
        return WideFirst(
            *(self, self._wide_model, at, self._small_blocks, progress, limit, course),
            wary=True,
        )

    def _leakage(
        self, inner: Inner | Alternation, away: float, outer: Outer
    ) -> tuple[tuple[float, ...], float]:
        """Compare the B modes of what P still lacks with those of the prior, see `leakage`.

        What the inner loop left is taken to look like its last step on the holes of P, and what
        later corrections would add like the last one.
        """
        here = self.inner.parts[-1]
        if here.stop == here.start or not np.isfinite(away):
            return (), 0.0
        last = inner.move[-1] if isinstance(inner, Alternation) else inner.move
        lmax = min(self.inner.lmax[-1], LEAKAGE_BINS[-1][1])
        b = np.zeros((lmax + 1) * (lmax + 2) // 2)
        left, shares, ahead = outer.coming or (np.array([away]), np.zeros(1), None)
        shrunk = float(shares[-1])
        if last is not None:
            step = last[1] if isinstance(inner, Alternation) else last[1][here]
            factor = float(left[-1]) * self.rms[-1] / (rms(step) or 1.0)
            b = factor * np.abs(self.analysed(step.reshape(2, -1), lmax)[1])
        if shrunk and ahead is not None:  # a geometric series; at worst the two have one sign
            factor = shrunk / max(1 - shrunk, _SLOWEST) * self.rms[-1]
            b = b + factor * np.abs(self.analysed(ahead[here].reshape(2, -1), lmax)[1])
        return leakage(b, self._bb, self._noise_pol)

    def analysed(self, values: Map, lmax: int) -> NDArray[np.complex128]:
        """Give E and B of a P that is ``values``, ``(2, nhole)``, in its holes and zero outside."""
        sphere, weights = self.inner.sphere, self.inner.weights[-1]
        alm = self.inner.rings[-1].adjoint(sphere.vector(values), weights, lmax)
        return np.asarray(sphere.array(alm), np.complex128) * self.inner.area

    def _fields(self, vector: Vector) -> tuple[Map, ...]:
        """Divide a vector of hole pixels into fields, in µK."""
        vector = self.inner.sphere.array(vector)
        return tuple(
            scale * (vector[here].reshape(2, -1) if spin else vector[here])
            for here, spin, scale in zip(self.inner.parts, self.spins, self.rms, strict=True)
        )

    def covariance(self, y: Vector, *, out: Vector | None = None) -> tuple[Vector, Vector]:
        """Compute Σ y exactly; Yᵀ y, which is not asked for, is left empty."""
        exact = self._exact
        image = exact.filtered(y, exact.signal_cl, out=out)
        self._noise.add(y, image, exact.parts)
        return np.zeros(0), image

    def size(self, sizes: Sequence[float]) -> float:
        """Compute the rms of a residual from that of its fields, in units of those of the maps."""
        parts = self.sky.parts
        counts = [part.stop - part.start for part in parts]
        return float(np.sqrt(np.average(np.square(sizes), weights=counts)))

    def sizes(self, rest: Vector) -> list[float]:
        """Compute the rms of each field of a residual; of T without a free monopole and dipole."""
        found = []
        for number, here in enumerate(self.sky.parts):
            mine = rest[here]
            if self._free_dipole and not number:
                whole = self.sky.rings[0]
                alm = whole.adjoint(mine, self.sky.weights[0], 1)
                low = whole.synthesis(alm * self.sky.area, None)
                add(low, mine, -1.0)
                mine = low
            found.append(rms(mine))
        return found

    def precondition(self, values: Vector) -> Vector:
        """Apply an approximation of (Q_hh)⁻¹."""
        return self._hybrid.apply(values)

    def _small_blocks(self, values: Vector) -> Vector:
        """Solve for the small holes by their blocks; zero in the others."""
        out = zeros_like(values)
        for here, blocks in zip(self.inner.parts, self._blocks, strict=True):
            if blocks is not None:
                out[here] = blocks.solve(values[here])
        return out


def _scale(values: Map, seen: Mask, scale: float, out: Map, here: slice) -> None:
    """Divide a piece of a map by a number, with 0 where it is not observed."""
    out[:, here] = np.where(seen[here], values[:, here], 0.0)
    out[:, here] /= scale


def _powers(signal_cl: Map, spins: Sequence[int]) -> list[Map]:
    """Give the power of each field by multipole, µK²: of T; of Q, which is that of U."""
    modes = (2 * np.arange(signal_cl.shape[2]) + 1) / (4 * np.pi)
    polar = 0.5 * modes * (signal_cl[-2, -2] + signal_cl[-1, -1])
    return [modes * signal_cl[0, 0], polar] if len(spins) == 2 else [polar]


def _told(signal_cl: Map, noise_cl: float) -> Map:
    """Give the power of Q that a whole T tells, by multipole, µK²."""
    modes = (2 * np.arange(signal_cl.shape[2]) + 1) / (8 * np.pi)
    cross = np.sum(signal_cl[0, 1:] ** 2, axis=0)
    whole = signal_cl[0, 0] + noise_cl
    np.divide(cross, whole, out=cross, where=whole > 0)
    return np.asarray(modes * cross)


def _check(observed: Sequence[Mask], signal_cl: Map, noise_cl: Sequence[float]) -> None:
    """Refuse masks, spectra and noises that do not fit together."""
    if signal_cl.ndim != 3 or len(signal_cl) not in (2, 3) or len(signal_cl) != signal_cl.shape[1]:
        raise ValueError(f"signal_cl must be (2, 2, n) or (3, 3, n), got {signal_cl.shape}")
    count = len(SPINS[len(signal_cl)])
    if (len(observed), len(noise_cl)) != (count, count):
        raise ValueError(
            f"{count} masks and noises are needed with these spectra, got {len(observed)} and"
            f" {len(noise_cl)}"
        )
    if len({each.shape for each in observed}) > 1:
        raise ValueError("the masks of T and of P must have one Nside")
    for name, each in zip(("T", "P")[-count:], observed, strict=True):
        if not each.any():
            raise ValueError(f"no pixel of {name} is observed: nothing is known of its sky")
    least = np.linalg.eigvalsh(np.moveaxis(signal_cl, 2, 0)).min(axis=1)
    bad = least < -1e-9 * np.trace(signal_cl)
    if np.any(bad):
        raise ValueError(
            f"the spectra are no covariance at l = {int(np.flatnonzero(bad)[0])}: TE² must not"
            " exceed TT EE"
        )
