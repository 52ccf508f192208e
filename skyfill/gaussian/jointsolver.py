"""Solve for the posterior mean of Q and U, or of T, Q and U, on the whole sphere.

The loops are those of `skyfill.gaussian.solver`, with the covariance of several Stokes parameters.
Q and U are missing in the same pixels, T may be missing in others. Vectors are in units of the rms
of each Stokes parameter, so that a tolerance means the same for T and for P, which is a hundred
times fainter; each must meet it. Small holes are solved by blocks of T and of Q with U, wide ones
by `Hybrid`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill import harmonics
from skyfill.files.cache import Kept
from skyfill.gaussian.blocks import Gained, HoleBlocks, Kernel, affordable
from skyfill.gaussian.hybrid import Hybrid
from skyfill.gaussian.loops import Course, Inner, solve
from skyfill.gaussian.memory import check_joint_memory
from skyfill.gaussian.pinned import Pinned, unpinned
from skyfill.gaussian.polarblocks import PolarKernel
from skyfill.gaussian.solution import Certificate
from skyfill.gaussian.solver import APART, NOISE_FLOOR, inner_lmax, labels_of
from skyfill.gaussian.vectors import Vector, rms
from skyfill.harmonics import Covariance, JointCovariance
from skyfill.harmonics.jointcovariance import SPINS
from skyfill.healpix.arrays import as_mask
from skyfill.healpix.stokes import nside_of
from skyfill.holes import distance_to_edge
from skyfill.progress import Progress, Silent

__all__ = ["JointSolution", "JointSolver", "affordable_pol"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Bytes of the blocks of P: a hole has four times the bytes in P that it has in T.
_MEMORY = 2e9
#: Multiplications of their factorisations: eight times those of T.
_OPERATIONS = 4e11


@dataclass(frozen=True)
class JointSolution:
    """The posterior mean of a masked map of several Stokes parameters.

    Attributes
    ----------
    fills
        For each field its mean in the holes, µK, RING order: of T, ``(nhole,)``; of P, Q and U,
        ``(2, nhole)``.
    certificates
        Accuracy, by field: ``T`` and ``P``, or ``P``. Iterations are those of the joint solve.
    """

    fills: tuple[Map, ...]
    certificates: dict[str, Certificate]

    @property
    def converged(self) -> bool:
        """Whether every field has converged."""
        return all(each.converged for each in self.certificates.values())


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
    weights
        ``(npix,)``, RING: `harmonics.pixel_weights`; computed if not given.
    threads
        Number of threads of the transforms.
    kept
        Cache for what depends only on masks and prior.

    Raises
    ------
    ValueError
        Number of masks, spectra and noises do not fit together; a field has no observed pixel; or
        the matrix of the spectra is not positive at some l.
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
    """

    def __init__(
        self,
        observed: Sequence[ArrayLike],
        *,
        signal_cl: Map,
        noise_cl: Sequence[float],
        weights: Map | None = None,
        threads: int = 0,
        kept: Kept | None = None,
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
        check_joint_memory(
            nside, sum(planes), sum(n * h.size for n, h in zip(planes, self.holes, strict=True))
        )
        powers = _powers(signal_cl, spins)
        signal = [float(power[2:].sum()) for power in powers]
        noise = [
            max(cl / area, NOISE_FLOOR * each) for cl, each in zip(noise_cl, signal, strict=True)
        ]
        self.rms = [(s + n) ** 0.5 for s, n in zip(signal, noise, strict=True)]
        lmax = max(
            inner_lmax(np.maximum(*np.diagonal(signal_cl[-2:, -2:]).T), noise[-1] * area, nside),
            inner_lmax(signal_cl[0, 0], noise[0] * area, nside),
        )
        beyond = [float(power[lmax + 1 :].sum()) for power in powers]
        unit = np.repeat(self.rms, planes)
        self._cl = signal_cl / (unit[:, None] * unit)[:, :, None]
        variance = [(n + b) / r**2 for n, b, r in zip(noise, beyond, self.rms, strict=True)]
        self.weights = (
            harmonics.pixel_weights(nside, threads=threads) if weights is None else weights
        )
        sphere = harmonics.DuccSphere(nside, threads)
        inner_cl = self._cl[:, :, : lmax + 1]
        self.sky = JointCovariance(self.weights, inner_cl, variance, sphere=sphere)
        self._noise = np.concatenate(
            [np.full(n * npix, v / r**2) for n, v, r in zip(planes, noise, self.rms, strict=True)]
        )
        self._exact = JointCovariance(self.weights, self._cl, variance, sphere=sphere)
        self._ones = [np.ones(npix) for _ in spins]
        self.inner = JointCovariance(
            self.weights, inner_cl, variance, pixels=self.holes, sphere=sphere
        )
        self.at: Vector = self.inner.at
        self.parts: Sequence[slice] = [p for p in self.inner.parts if p.stop > p.start]
        low = signal_cl[0, 0, :2], signal_cl[0, 0, min(2, signal_cl.shape[2] - 1)]
        self._free_dipole = spins[0] == 0 and bool(np.all(low[0] > low[1]))
        self._prepare(lmax, kept or Kept())

    def _prepare(self, lmax: int, kept: Kept) -> None:
        """Prepare the preconditioner: blocks of small holes, the hybrid of the others."""
        self._blocks: list[tuple[slice, HoleBlocks]] = []
        chosen, depths = [], []
        inner = self.inner
        for number, spin in enumerate(self.spins):
            pixels, here = self.holes[number], self.inner.parts[number]
            mine = kept.of(self._seen[number])
            labels = labels_of(self._seen[number], pixels, APART / (lmax + 1), mine)
            sizes = np.bincount(labels) if labels.size else np.zeros(0, np.int64)
            fits = affordable_pol(sizes) if spin else affordable(sizes)
            small = fits[labels] if labels.size else np.zeros(0, bool)
            if small.any():
                order = np.flatnonzero(small)
                order = order[np.argsort(labels[order], kind="stable")]
                holes = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
                gain = inner.gain[-2:, -2:] if spin else inner.gain[0, 0]
                gained = Gained(gain, inner.area, inner.variance[number])
                make = PolarKernel if spin else Kernel
                kernel = make(gained, self.weights[pixels], self.nside, pixels, holes)
                self._blocks.append(
                    (here, HoleBlocks(kernel, threads=self._threads, kept=mine.needing("prior")))
                )
            wide = ~small
            chosen.append(np.flatnonzero(wide))
            if not spin:
                depths.append(_depths(self._seen[number], pixels, wide, mine))
        self._hybrid: Hybrid | None = None
        self._wide = np.concatenate(
            [
                here.start + plane * pixels.size + wide
                for here, spin, pixels, wide in zip(
                    self.inner.parts, self.spins, self.holes, chosen, strict=True
                )
                for plane in range(2 if spin else 1)
            ]
        )
        if self._wide.size:
            cl = inner.signal_cl.copy()
            if self.spins[0] == 0:
                cl[0, 0] = unpinned(cl[0, 0])
            covariance = JointCovariance(
                self.weights,
                cl,
                inner.variance,
                pixels=[pixels[wide] for pixels, wide in zip(self.holes, chosen, strict=True)],
                sphere=inner.sphere,
            )
            self._hybrid = Hybrid(covariance, depths[0] if depths else np.zeros(0))
        self._pinned: Pinned | None = None
        if self.spins[0] == 0 and self.holes[0].size:
            scalar = Covariance(
                self.weights,
                inner.signal_cl[0, 0],
                inner.variance[0],
                pixels=self.holes[0],
                sphere=inner.sphere,
            )
            padding = inner.parts[1].stop - inner.parts[1].start
            self._pinned = Pinned(self._free, scalar, self.nside, self.holes[0], padding=padding)

    def mean(
        self,
        values: Sequence[Map],
        *,
        tolerance: float = 3e-3,
        max_iterations: int = 2000,
        progress: Progress | None = None,
    ) -> JointSolution:
        """Compute the posterior mean in the holes, given the observed pixels.

        Parameters
        ----------
        values
            For each field its map, µK, RING: of T, ``(npix,)``; of P, Q and U, ``(2, npix)``.
            Unobserved pixels are not read.
        tolerance
            Estimated rms distance to the exact mean at which to stop, of each field in units of
            the rms of its own map.
        max_iterations
            Limit on the total number of inner iterations.
        progress
            Receives every step.

        Returns
        -------
        The solution; ``converged`` is True if every field met the tolerance.
        """
        work = np.concatenate(
            [
                np.ravel(np.where(seen, sky, 0.0)) / scale
                for seen, sky, scale in zip(self._seen, values, self.rms, strict=True)
            ]
        )
        if not self.at.size or not work.any():
            nothing = Certificate(0, 0, 0.0, 0.0, converged=True)
            return JointSolution(self._fields(work[self.at]), dict.fromkeys(self.names, nothing))
        course = Course()
        inner = Inner(self, progress or Silent(), max_iterations, course)
        outer, away = solve(self, work, None, inner, course, allowed=tolerance)
        left = dict(zip((part.start for part in self.parts), away.tolist(), strict=True))
        certificates = {}
        for name, part, scale, rest, size in zip(
            self.names,
            self.inner.parts,
            self.rms,
            self._sizes(outer.rest),
            self._sizes(work),
            strict=True,
        ):
            mine = left[part.start] if part.stop > part.start else 0.0
            certificates[name] = Certificate(
                inner.taken,
                outer.steps,
                rest / (size or 1.0),
                mine * scale,
                converged=mine <= tolerance,
            )
        return JointSolution(self._fields(work[self.at]), certificates)

    def _fields(self, vector: Vector) -> tuple[Map, ...]:
        """Divide a vector of hole pixels into fields, in µK."""
        return tuple(
            scale * (vector[here].reshape(2, -1) if spin else vector[here])
            for here, spin, scale in zip(self.inner.parts, self.spins, self.rms, strict=True)
        )

    def covariance(self, y: Vector) -> tuple[Vector, Vector]:
        """Compute Yᵀ y, ``(k, nalm)``, and Σ y exactly."""
        exact = self._exact
        alm = exact.analysed(y, self._ones, self._cl.shape[2] - 1)
        image = exact.synthesised(exact.sphere.mixed(alm, exact.signal_cl), self._ones)
        image += self._noise * y
        return np.concatenate([np.atleast_2d(each) for each in alm]), image

    def size(self, rest: Vector) -> float:
        """Compute the rms of a residual, in units of the rms of the maps."""
        parts = self.sky.parts
        sizes = self._sizes(rest)
        counts = [part.stop - part.start for part in parts]
        return float(np.sqrt(np.average(np.square(sizes), weights=counts)))

    def _sizes(self, rest: Vector) -> list[float]:
        """Compute the rms of each field of a residual; of T without a free monopole and dipole."""
        found = []
        for number, here in enumerate(self.sky.parts):
            mine = rest[here]
            if self._free_dipole and not number:
                alm = self.sky.sphere.adjoint(mine * self.weights, 1)
                mine = mine - self.sky.sphere.synthesis(alm * self.sky.area)
            found.append(rms(mine))
        return found

    def precondition(self, values: Vector) -> Vector:
        """Apply an approximation of (Q_hh)⁻¹."""
        return self._free(values) if self._pinned is None else self._pinned.apply(values)

    def _free(self, values: Vector) -> Vector:
        """Apply an approximation of (Q_hh)⁻¹ for the `unpinned` spectrum."""
        out = np.zeros_like(values)
        for here, blocks in self._blocks:
            out[here] = blocks.solve(values[here])
        if self._hybrid is not None:
            out[self._wide] = self._hybrid.apply(values[self._wide])
        return out


def affordable_pol(sizes: NDArray[np.int64]) -> Mask:
    """Choose the holes that get a block of Q and U, as `affordable` does; ``(nhole,)`` pixels."""
    return affordable(2 * sizes, memory=_MEMORY, operations=_OPERATIONS)


def _depths(seen: Mask, pixels: NDArray[np.int64], wide: Mask, kept: Kept) -> Map:
    """Give how deep each pixel of a wide hole lies in it, radians."""
    if not wide.any():
        return np.zeros(0)
    depth: Map = kept.array(
        "depths", lambda: distance_to_edge(seen)[pixels], dtype=np.float64, shape=pixels.shape
    )
    return depth[wide]


def _powers(signal_cl: Map, spins: Sequence[int]) -> list[Map]:
    """Give the power of each field by multipole, µK²: of T; of Q, which is that of U."""
    modes = (2 * np.arange(signal_cl.shape[2]) + 1) / (4 * np.pi)
    polar = 0.5 * modes * (signal_cl[-2, -2] + signal_cl[-1, -1])
    return [modes * signal_cl[0, 0], polar] if len(spins) == 2 else [polar]


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
