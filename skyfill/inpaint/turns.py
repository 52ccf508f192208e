"""``vae`` for T, Q and U: T by its mosaic of tiles and P by its harmonics, in turn.

Given P on the whole sky, T is a sky without polarization whose spectrum is the part of TT that P
does not tell, and whose map is T less what P tells of it; given T, P likewise:

    T given P:  T - Y f a^E(P),  f = TE / (EE + N_P),  spectrum TT - f TE
    P given T:  P - ₂Y g a^T(T),  g = TE / (TT + N_T),  spectra EE - g TE and BB

with what is subtracted added back to the fill. The joint posterior mean stays as it is in a turn of
either, and turns lead to it (block Gauss-Seidel, as in `skyfill.gaussian.alternation`).

P is solved at every Nside by `skyfill.gaussian.nested`, which goes on in a later turn with what an
earlier one has left.

The network sees tiles of T, of the spectrum TT - f TE, and nothing of Q and U: the spectra of P
have no feature that a tile would miss, and its solver takes few steps for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from skyfill import harmonics
from skyfill.files.cache import Kept
from skyfill.gaussian import freed
from skyfill.gaussian.blocks import affordable
from skyfill.gaussian.leakage import allowed_leakage, of_one_percent
from skyfill.gaussian.memory import block_bytes, check_bytes
from skyfill.gaussian.nested import Fill, NestedSolver
from skyfill.gaussian.solution import Certificate, JointSolution
from skyfill.gaussian.vectors import Vector, copied, rms, stack
from skyfill.harmonics.quadrature import shared_weights
from skyfill.harmonics.spheres import Sphere
from skyfill.healpix.stokes import nside_of
from skyfill.holes.runs import Runs
from skyfill.inpaint.fills import PROGRAM, Setup
from skyfill.inpaint.options import FillOptions
from skyfill.inpaint.tiled import TileMethod
from skyfill.mosaic import Mosaic
from skyfill.prior import PolarizedPrior, Prior
from skyfill.progress import Progress
from skyfill.vae.memory import TORCH

if TYPE_CHECKING:
    from skyfill.vae import ModelCard

__all__ = ["Turns", "engine_of", "refuse_of_turns", "turns_bytes"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Largest number of turns of T and P. Each divides the distance to the mean by 5 to 12 on bands.
_SWEEPS = 5
#: Distance of T from the exact mean that is allowed, in units of the rms of the map: that of T's
#: own engine without polarization. The excess of the squared error is then below 1%.
_ALLOWED_T = 0.03
#: The same of P, in units of the rms of its signal, for what its solver does not reach: how it
#: follows T, and multipoles that the pixels do not resolve.
_ALLOWED_P = 0.1
#: Multipoles, in units of Nside, up to which analysis tells one field all that the other knows, and
#: the share of the rest that is missing: at Nside 256 0.04 to 0.22 was measured.
_EXACT = 2.4
_INEXACT = 0.5
#: Share of what one field tells of the other that analysis misses at lower multipoles: up to 0.003
#: was measured.
_MISSED = 0.003
#: What one field tells of the other that is left out, as an rms, in units of that of the map.
_NOTHING = 1.5e-4
#: Bytes per map pixel, per hole pixel of P and per hole pixel of T in a turn of P, without T's
#: blocks; at Nside 1024 with 24% and 29% masked the whole program took 3.3 GiB.
_TURN = (140.0, 160.0, 100.0)
#: Bytes per map pixel and per hole pixel of P that lie beside T's engine in a turn of T.
_BESIDE = (34.0, 76.0)
#: Largest ratio of the moves of two turns from which the remaining distance is estimated.
_SLOWEST = 0.95
#: Shares of the amplitude of 1% of BB: that a turn of P may leave, and that it may leave together
#: with the turns still to come. How P follows an error of T has the rest.
_SHARE = 0.4
_LEFT = 0.6
#: Largest number of steps of P in its first turn, which T will change, and in a later one.
_BEGUN = 2
_MOST = 2000
#: Distance at which a turn of P stops, in units of the tolerance.
_NEAR = 0.5


class Turns:
    """Compute the posterior means of maps of T, Q and U that share masks and a prior.

    Parameters
    ----------
    seen
        Of T and of P, ``(npix,)``, RING, True where observed.
    prior
        The prior; its noise is white.
    options
        How T is filled, a `FillOptions` of ``vae``.
    kept
        Cache for what depends only on masks and prior.
    progress
        Receives the stages.

    Attributes
    ----------
    way
        ``alternate``.
    card
        Model card of the network; None if none is used.

    Raises
    ------
    ValueError
        As for `skyfill.Inpainter`.
    """

    def __init__(
        self,
        seen: Sequence[Mask],
        prior: PolarizedPrior,
        *,
        options: FillOptions,
        kept: Kept,
        progress: Progress,
    ) -> None:
        self._seen, self._progress = list(seen), progress
        self._nside = nside = prior.temperature.nside
        self.way: Literal["alternate"] = "alternate"
        self._threads = options.threads
        self._weights = shared_weights(nside, threads=options.threads)
        cl = prior.signal_cl()
        if options.marginal:
            cl[0, 0] = freed(cl[0, 0])
        noise_t, noise_p = prior.white_cl
        tt, ee, te = cl[0, 0], cl[1, 1], cl[0, 1]
        from_p = _over(te, ee + noise_p)
        from_t = _over(te, tt + noise_t)
        self._bb, self._noise_pol = cl[2, 2], noise_p
        self.card: ModelCard | None = None
        polar = cl[1:, 1:].copy()
        polar[0, 0] -= from_t * te
        self._of_t: Mosaic | None = None
        if not seen[0].all():
            given_p = _scaled(prior, 1 - _over(from_p * te, tt))
            setup = Setup(
                observed=seen[0],
                holes=None,
                prior=given_p,
                noise_variance=None,
                options=options,
                kept=kept,
                progress=progress,
            )
            self._of_t, self.card = TileMethod(options, nside).prepare(setup)
        self._of_p: NestedSolver | None = None
        there = self._of_t is None or self._of_t.sphere is not None
        if not seen[1].all():
            self._of_p = NestedSolver(
                seen[1],
                signal_cl=polar,
                noise_cl=noise_p,
                weights=self._weights,
                threads=options.threads,
                device=harmonics.device_for(options.device) if there else None,
            )
        # Maps stay on a device where both engines work there.
        self._sphere: Sphere = harmonics.DuccSphere(nside, options.threads)
        if self._of_p is not None:
            self._sphere = self._of_p.sphere
        self._at = [self._sphere.vector(np.flatnonzero(~each)) for each in seen]
        self._factor = self._sphere.vector(self._weights)
        modes = (2 * np.arange(tt.size) + 1) / (4 * np.pi)
        white = np.array([noise_t, noise_p]) * self._weights.size / (4 * np.pi)
        power = np.array([modes[2:] @ tt[2:], 0.5 * modes[2:] @ (ee + cl[2, 2])[2:]])
        self._rms = np.sqrt(power + white)
        self._allowed = np.array([_ALLOWED_T * self._rms[0], _ALLOWED_P * power[1] ** 0.5])
        # What one field tells of the other beyond a multipole, as an rms.
        told = modes * te * np.array([from_p, 0.5 * from_t])
        beyond = np.sqrt(np.cumsum(told[:, ::-1], axis=1)[:, ::-1])
        heard = np.flatnonzero(np.any(beyond > _NOTHING * self._rms[:, None], axis=0))
        end = int(heard.max(initial=2)) + 1
        self._from = from_p[:end], from_t[:end]
        self._gain = float(np.max(np.abs(from_t)))  # of P in T
        narrow = _INEXACT * beyond[:, min(int(_EXACT * nside), tt.size - 1)]
        left = beyond[:, end] if end < tt.size else 0.0
        self._inexact = narrow + _MISSED * beyond[:, 2] + left

    @property
    def sphere(self) -> Sphere:
        """The transforms in use, which decide what maps are: arrays, or tensors on a device."""
        return self._sphere

    def mean(
        self,
        values: list[Vector],
        *,
        tolerance: float = 3e-3,
        progress: Progress | None = None,
        overwrite: bool = False,
    ) -> JointSolution:
        """Compute the posterior mean in the holes, given the observed pixels.

        Parameters
        ----------
        values, tolerance, progress
            As for `JointSolver.mean`. T may be farther from the exact mean, by what its mosaic
            reaches without polarization.
        overwrite
            Whether ``values`` is emptied and its maps may be changed, which saves copies of them.

        Returns
        -------
        The solution. The distances are those of the turns, of T given P and of P given T, with
        what later turns would add; the residuals are those of T given P, infinite if T is solved
        in tiles, and of P given T; corrections are turns.
        """
        listener, vector = progress or self._progress, self._sphere.vector
        t, p = (vector(sky if overwrite else copied(sky)) for sky in values)
        t[self._at[0]] = 0.0
        p[:, self._at[1]] = 0.0
        modes: Vector = np.zeros(0, np.complex128)  # of E, of P with its fill so far
        if self._of_t is not None:
            modes = self._analysed(p, self._from[0].size - 1)[0]
        of_p = self._begun(p)
        del p
        if overwrite:
            values.clear()  # whole maps, which are not read again
        fill = vector(np.zeros((2, len(self._at[1]))))
        allowed = np.maximum(tolerance * self._rms, [self._allowed[0], 0.0])
        both = self._of_t is not None and of_p is not None
        moved, rates, ahead = np.full(2, np.nan), np.full(2, np.nan), np.zeros(2)
        of_t = Certificate(0, 0, 0.0, 0.0, converged=True)
        more: tuple[float, ...] = ()
        sweep = 0
        while sweep < _SWEEPS:
            sweep += 1
            before, moved = moved, np.zeros(2)
            new = step = vector(np.zeros(0))
            if self._of_t is not None:
                new, of_t = self._turn_of_t(self._of_t, t, modes, of_t.iterations)
                moved[0] = _rms(new)
            if of_p is not None:
                listener.stage("P given T")
                step = self._turn_of_p(of_p, t, None if sweep == 1 else new, tolerance, listener)
                listener.done(str(self._of_turns(of_p, sweep, of_p.distance, ())))
                del new
                moved[1] = _rms(step)
                fill += step
                if both:
                    modes += of_p.model.analysed(step, self._from[0].size - 1)[0]
            if not both:
                break
            ratio = np.divide(moved, before, out=np.full(2, np.nan), where=before > 0)
            rates = np.where(np.isfinite(ratio), np.minimum(ratio, _SLOWEST), rates)
            factor = rates / (1 - rates)
            ahead = np.where(np.isfinite(factor), moved * factor, np.inf)
            if of_p is not None and np.isfinite(factor[1]):
                more, _ = of_p.model.leakage(factor[1] * step)
                left = of_one_percent(_together(of_p.leakage, more))
                if np.all(ahead <= allowed / 2) and left <= _LEFT**2:
                    break
        followed = self._following(of_t.distance, float(moved[0]), step)
        found = self._judged(of_t, of_p, sweep, ahead, allowed, more, followed)
        return JointSolution(tuple(map(self._sphere.array, (t[self._at[0]], fill))), found)

    def _begun(self, p: Vector) -> Fill | None:
        """Start the fill of P with its map; None if it is whole."""
        if self._of_p is None:
            return None
        of_p = self._of_p.start()
        of_p.add(p)
        return of_p

    def _judged(
        self,
        of_t: Certificate,
        of_p: Fill | None,
        sweep: int,
        ahead: Map,
        allowed: Map,
        more: tuple[float, ...],
        followed: Vector,
    ) -> dict[str, Certificate]:
        """Give the accuracy of T and of P.

        Each certificate adds to that of the last turn what lies ``ahead`` in later turns and what
        analysis misses. That of P adds what it ``followed`` of an error of T, and ``more`` of B.
        """
        away = ahead + self._inexact
        away += [of_t.distance, 0.0 if of_p is None else of_p.distance + _rms(followed)]
        # The distance of a T without polish is not known.
        near = ~np.isfinite(away) | (away <= np.maximum(allowed, self._allowed))
        near &= ahead <= allowed / 2
        whole = Certificate(0, sweep, 0.0, 0.0, converged=True)
        found = {"T": whole, "P": whole}
        if self._of_t is not None:
            good = of_t.converged and bool(near[0])
            found["T"] = replace(of_t, corrections=sweep, distance=float(away[0]), converged=good)
        if of_p is not None:
            more = _together(more, of_p.model.leakage(followed)[0])
            found["P"] = self._of_turns(of_p, sweep, float(away[1]), more, near=bool(near[1]))
        return found

    def _of_turns(
        self,
        of_p: Fill,
        sweep: int,
        away: float,
        more: tuple[float, ...],
        *,
        near: bool = True,
    ) -> Certificate:
        """Give the accuracy of P after its turns; ``more`` of B is still to come in later ones."""
        leaks = _together(of_p.leakage, more)
        most = allowed_leakage(self._bb, self._noise_pol, len(leaks))
        pure = all(leak <= limit for leak, limit in zip(leaks, most, strict=True))
        return Certificate(
            *(of_p.iterations, sweep, of_p.residual, away),
            converged=bool(near and pure and of_p.distance <= of_p.allowed),
            leakage=leaks,
        )

    def _turn_of_t(
        self, engine: Mosaic, t: Vector, modes: Vector, before: int
    ) -> tuple[Vector, Certificate]:
        """Fill T given P, in place; give its move, ``(nhole,)``, and its accuracy given P.

        ``modes`` are those of E of the whole P, which is all that T needs of it. A later turn,
        after ``before`` iterations, goes on from the fill of the last one.
        """
        holes, work = self._at[0], copied(t)
        self._subtract(work, self._sphere.almxfl(modes, self._from[0]))
        told = t[holes] - work[holes]
        fill = engine.again(work) if before else engine.mean(work, overwrite=True)
        fill += told
        moved = fill - t[holes]
        t[holes] = fill
        known = engine.certificate or Certificate(
            *(engine.polish, 0, np.inf),
            engine.distance,
            converged=True,
        )
        good = engine.trouble is None
        return moved, replace(known, iterations=before + known.iterations, converged=good)

    def _turn_of_p(
        self,
        of_p: Fill,
        t: Vector,
        change: Vector | None,
        tolerance: float,
        progress: Progress,
    ) -> Vector:
        """Fill P given T; give the step of its fill, ``(2, nhole)``.

        The fill is linear in the map. So a later turn, for which ``change`` is that of T in its
        holes, solves for what that change adds, and for what earlier turns have left.
        """
        if change is not None:
            t = 0.0 * t
            t[self._at[0]] = change
        e = self._sphere.almxfl(self._modes_of_t(t), self._from[1])
        step = of_p.subtract(stack([e, 0.0 * e]))  # T tells nothing of B
        first = change is None and self._of_t is not None
        step += of_p.solve(
            allowed=_NEAR * tolerance * self._rms[1],
            leak=_SHARE**2,
            limit=_BEGUN if first else _MOST,
            progress=progress,
        )
        return step

    def _subtract(self, sky: Vector, alm: Vector) -> None:
        """Subtract Y a from a map in place: T, or Q and U with E and B."""
        pixels = self._sphere.pixels(None, spin=2 * (alm.ndim - 1))
        pixels.synthesis(-alm, None, out=sky, add=True)

    def _following(self, distance: float, moved: float, step: Vector) -> Vector:
        """Estimate by what P follows an error of T, ``(2, nhole)``.

        P follows it as it followed, by ``step``, the last move of T, but no farther than T tells.
        """
        size = _rms(step)
        if not np.isfinite(distance) or not moved or not size:
            return 0.0 * step
        return distance * min(1 / moved, self._gain / size) * step

    def _analysed(self, maps: Vector, lmax: int) -> Vector:
        """Give a Yᵀ W v of Q and U, E and B."""
        alm = self._sphere.pixels(None, spin=2).adjoint(maps, self._factor, lmax)
        return alm * (4 * np.pi / self._weights.size)

    def _modes_of_t(self, t: Vector) -> Vector:
        """Give a Yᵀ W v of T."""
        alm = self._sphere.pixels(None).adjoint(t, self._factor, self._from[1].size - 1)
        return alm * (4 * np.pi / self._weights.size)


def turns_bytes(observed: Mask, observed_pol: Mask, options: FillOptions) -> tuple[float, int]:
    """Estimate the peak memory of `Turns`, bytes, and count its hole pixels.

    That of the larger turn: the engine of the other field stays in memory.

    Parameters
    ----------
    observed, observed_pol
        Of T and of P, ``(npix,)``, RING, True where observed.
    options
        How T is filled, a `FillOptions` of ``vae``.
    """
    nside = nside_of(observed, "observed")
    of_t, of_p = (Runs.of(each, False) for each in (observed, observed_pol))
    sizes, polar = of_t.regions[1], of_p.regions[1]
    method = TileMethod(options, nside)
    npix, of_p_holes = 12 * nside**2, int(polar.sum())
    beside = _BESIDE[0] * npix + _BESIDE[1] * of_p_holes
    turn_of_t = beside + method.memory(sizes, method.guess_tiles(observed, of_t))
    kept = sizes[affordable(sizes, nside=nside)] if method.polish(int(sizes.sum())) else sizes[:0]
    turn_of_p = PROGRAM + TORCH + block_bytes(kept)[0]
    turn_of_p += _TURN[0] * npix + _TURN[1] * of_p_holes + _TURN[2] * int(sizes.sum())
    return max(turn_of_t, turn_of_p), int(sizes.sum() + polar.sum())


def refuse_of_turns(
    seen: Sequence[Mask], noise: Sequence[Map | None], options: FillOptions
) -> None:
    """Refuse maps that ``vae`` does not fill with polarization.

    Parameters
    ----------
    seen
        Masks of T and of P, or of P, ``(npix,)``.
    noise
        For each the noise of its pixels, or None.
    options
        How T is filled, a `FillOptions` of ``vae``.

    Raises
    ------
    ValueError
        There is no T, or a noise of each pixel is given.
    MemoryError
        The machine has too little memory.
    """
    if len(seen) == 1:
        raise ValueError(
            "vae has a network for T only, and Q and U alone are solved exactly; pass"
            " `method='gaussian'`"
        )
    if any(own is not None for own in noise):
        raise ValueError(
            "vae fills T, Q and U with white noise only; drop `noise_variance`, or pass"
            " `method='gaussian'`"
        )
    need, holes = turns_bytes(seen[0], seen[1], options)
    check_bytes(
        *(need, nside_of(seen[0], "observed"), holes),
        fill="a fill by vae, with the exact solver for Q and U,",
        instead="lower the resolution",
    )


def engine_of(given: FillOptions | None) -> FillOptions:
    """Return the options by which T is filled, those of ``vae`` if none are given."""
    options = FillOptions(method="vae") if given is None else given
    if options.method != "vae":
        raise ValueError(f"an engine must be of the method vae, got {options.method!r}")
    return options


def _over(a: Map, b: Map) -> Map:
    """Divide, with zero where nothing is divided by nothing."""
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)


def _scaled(prior: PolarizedPrior, share: Map) -> Prior:
    """Give the prior of T whose power on the map is a share of that of the prior."""
    of_t = prior.temperature

    def kept(cl: Map) -> Map:
        out = cl.copy()
        n = min(cl.size, share.size)
        out[:n] *= share[:n]
        return out

    return replace(of_t, cl=kept(of_t.cl), extra_cl=kept(of_t.extra_cl))


def _together(one: Sequence[float], other: Sequence[float]) -> tuple[float, ...]:
    """Add two leakages by bin as if they were of one sign, the worst case."""
    return tuple((a**0.5 + b**0.5) ** 2 for a, b in zip_longest(one, other, fillvalue=0.0))


def _rms(values: Vector) -> float:
    return rms(values.reshape(-1)) if values.shape[-1] else 0.0
