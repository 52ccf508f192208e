"""``vae`` for T, Q and U: T by its mosaic of tiles and P by the exact solver, in turn.

Given P on the whole sky, T is a sky without polarization whose spectrum is the part of TT that P
does not tell, and whose map is T less what P tells of it; given T, P likewise:

    T given P:  T - Y f a^E(P),  f = TE / (EE + N_P),  spectrum TT - f TE
    P given T:  P - ₂Y g a^T(T),  g = TE / (TT + N_T),  spectra EE - g TE and BB

with what is subtracted added back to the fill. The joint posterior mean stays as it is in a turn of
either, and turns lead to it (block Gauss-Seidel, as in `skyfill.gaussian.alternation`).

The network sees tiles of T, of the spectrum TT - f TE, and nothing of Q and U: the spectra of P
have no feature that a tile would miss, and the exact solver takes few iterations for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from skyfill import harmonics
from skyfill.files.cache import Kept
from skyfill.gaussian import freed
from skyfill.gaussian.jointsolver import JointSolution, JointSolver
from skyfill.gaussian.leakage import leakage
from skyfill.gaussian.solution import LEAKAGE_BINS, Certificate
from skyfill.healpix.stokes import nside_of
from skyfill.inpaint.fills import Fill, Setup
from skyfill.inpaint.options import FillOptions
from skyfill.inpaint.tiled import TileMethod
from skyfill.mosaic import Mosaic
from skyfill.prior import PolarizedPrior, Prior
from skyfill.progress import Progress

if TYPE_CHECKING:
    from skyfill.vae import ModelCard

__all__ = ["LARGEST_NSIDE", "Turns", "engine_of", "refuse_of_turns"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

LARGEST_NSIDE = 512
"""Largest Nside of ``vae`` for T, Q and U: up to it, all holes of T are polished together."""

#: Largest number of turns of T and P. Each divides the distance to the mean by 5 to 12 on bands.
_SWEEPS = 5
#: Distance of T from the exact mean that is allowed, in units of the rms of the map: that of T's
#: own engine without polarization. The excess of the squared error is then below 1%.
_ALLOWED_T = 0.03
#: Largest ratio of the moves of two turns from which the remaining distance is estimated.
_SLOWEST = 0.95


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
    MemoryError
        The machine has too little memory.
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
        self._weights = harmonics.pixel_weights(nside, threads=options.threads)
        cl = prior.signal_cl()
        if options.marginal:
            cl[0, 0] = freed(cl[0, 0])
        noise_t, noise_p = prior.white_cl
        tt, ee, te = cl[0, 0], cl[1, 1], cl[0, 1]
        lmax = min(harmonics.quadrature_lmax(nside), tt.size - 1)
        from_p = _over(te, ee + noise_p)
        from_t = _over(te, tt + noise_t)
        self._from = from_p[: lmax + 1], from_t[: lmax + 1]
        self._bb, self._noise_pol = cl[2, 2], noise_p
        self.card: ModelCard | None = None
        self._of_t: Fill | None = None
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
        polar = cl[1:, 1:].copy()
        polar[0, 0] -= from_t * te
        self._of_p: JointSolver | None = None
        if not seen[1].all():
            self._of_p = JointSolver(
                [seen[1]],
                signal_cl=polar,
                noise_cl=[noise_p],
                weights=self._weights,
                threads=options.threads,
                kept=kept,
            )
        modes = (2 * np.arange(tt.size) + 1) / (4 * np.pi)
        white = np.array([noise_t, noise_p]) * self._weights.size / (4 * np.pi)
        power = modes[2:] @ tt[2:], 0.5 * modes[2:] @ (ee + cl[2, 2])[2:]
        self._rms = np.sqrt(power + white)

    def mean(
        self, values: Sequence[Map], *, tolerance: float = 3e-3, progress: Progress | None = None
    ) -> JointSolution:
        """Compute the posterior mean in the holes, given the observed pixels.

        Parameters
        ----------
        values, tolerance, progress
            As for `JointSolver.mean`. T may be farther from the exact mean, by what its mosaic
            reaches without polarization.

        Returns
        -------
        The solution. The distances are those of the last turn, of T given P and of P given T, with
        what later turns would add; the residuals are those of T given P, infinite if T is solved
        in tiles, and of P given T; corrections are turns.
        """
        listener = progress or self._progress
        t, p = (np.where(seen, sky, 0.0) for seen, sky in zip(self._seen, values, strict=True))
        allowed = np.array([max(tolerance, _ALLOWED_T), tolerance]) * self._rms
        both = self._of_t is not None and self._of_p is not None
        moved, rates, ahead = np.full(2, np.nan), np.full(2, np.nan), np.zeros(2)
        of_t, of_p = Certificate(0, 0, 0.0, 0.0, converged=True), None
        more: tuple[float, ...] = ()
        excess, sweep = 0.0, 0
        while sweep < _SWEEPS:
            sweep += 1
            before, moved = moved, np.zeros(2)
            if self._of_t is not None:
                moved[0], of_t = self._turn_of_t(self._of_t, t, p, of_t.iterations)
            step = np.zeros_like(p)
            if self._of_p is not None:
                listener.stage("P given T")
                step, of_p = self._turn_of_p(self._of_p, t, p, tolerance / 2, of_p, listener)
                moved[1] = _rms(step[:, ~self._seen[1]])
                listener.done(str(of_p))
            if not both:
                break
            ratio = np.divide(moved, before, out=np.full(2, np.nan), where=before > 0)
            rates = np.where(np.isfinite(ratio), np.minimum(ratio, _SLOWEST), rates)
            factor = rates / (1 - rates)
            ahead = np.where(np.isfinite(factor), moved * factor, np.inf)
            if np.isfinite(factor[1]):
                more, excess = self._still(factor[1] * step)
                if np.all(ahead <= allowed / 2) and excess <= 1:
                    break
        settled = ahead <= allowed / 2
        found = {}
        for number, (name, mine) in enumerate((("T", of_t), ("P", of_p))):
            if mine is None:
                mine = Certificate(0, 0, 0.0, 0.0, converged=True)
            of_b = name == "P" and mine.leakage is not None
            found[name] = Certificate(
                mine.iterations,
                sweep,
                mine.residual,
                mine.distance + float(ahead[number]),
                converged=mine.converged and bool(settled[number]) and not (of_b and excess > 1),
                leakage=_together(mine.leakage or (), more) if of_b else None,
            )
        return JointSolution((t[~self._seen[0]], p[:, ~self._seen[1]]), found)

    def _turn_of_t(self, engine: Fill, t: Map, p: Map, before: int) -> tuple[float, Certificate]:
        """Fill T given P, in place; give the rms of its move, and its accuracy given P."""
        holes = ~self._seen[0]
        shift = self._told_by_p(p)
        fill = engine.mean(t - shift, overwrite=True) + shift[holes]
        moved = _rms(fill - t[holes])
        t[holes] = fill
        known = engine.certificate or Certificate(
            *(engine.polish, 0, np.inf),
            engine.distance if isinstance(engine, Mosaic) else np.inf,
            converged=True,
        )
        good = engine.trouble is None
        return moved, replace(known, iterations=before + known.iterations, converged=good)

    def _turn_of_p(
        self,
        engine: JointSolver,
        t: Map,
        p: Map,
        tolerance: float,
        before: Certificate | None,
        progress: Progress,
    ) -> tuple[Map, Certificate]:
        """Fill P given T, in place; give its move, ``(2, npix)``, and its accuracy given T."""
        holes = ~self._seen[1]
        shift = self._told_by_t(t)
        found = engine.mean([p - shift], tolerance=tolerance, progress=progress)
        step = np.zeros_like(p)
        step[:, holes] = found.fills[0] + shift[:, holes] - p[:, holes]
        p += step
        mine = found.certificates["P"]
        taken = mine.iterations + (0 if before is None else before.iterations)
        return step, replace(mine, iterations=taken)

    def _still(self, step: Map) -> tuple[tuple[float, ...], float]:
        """Compare with the prior the B modes of later turns, which look like a step of P."""
        lmax = min(self._from[0].size - 1, LEAKAGE_BINS[-1][1])
        return leakage(self._analysed(step, lmax)[1], self._bb, self._noise_pol)

    def _analysed(self, maps: Map, lmax: int) -> NDArray[np.complex128]:
        """Give a Yᵀ W v of Q and U, E and B."""
        sphere = harmonics.DuccSphere(self._nside, self._threads)
        alm = sphere.pixels(None, spin=2).adjoint(maps, self._weights, lmax)
        return np.asarray(alm, np.complex128) * (4 * np.pi / self._weights.size)

    def _told_by_p(self, p: Map) -> Map:
        """Give the mean of T given a whole map of P, ``(npix,)``."""
        f = self._from[0]
        e = self._analysed(p, f.size - 1)[0]
        return harmonics.synthesis(harmonics.almxfl(e, f), self._nside, threads=self._threads)

    def _told_by_t(self, t: Map) -> Map:
        """Give the mean of P given a whole map of T, ``(2, npix)``; it has no B modes."""
        f = self._from[1]
        area = 4 * np.pi / t.size
        alm = harmonics.adjoint(t * self._weights, lmax=f.size - 1, threads=self._threads) * area
        e = harmonics.almxfl(alm, f)
        zero = np.zeros_like(e)
        skies = harmonics.synthesis(np.stack([zero, e, zero]), self._nside, threads=self._threads)
        return np.asarray(skies[1:])


def refuse_of_turns(seen: Sequence[Mask], noise: Sequence[Map | None]) -> None:
    """Refuse maps that ``vae`` does not fill with polarization.

    Parameters
    ----------
    seen
        Masks of T and of P, or of P, ``(npix,)``.
    noise
        For each the noise of its pixels, or None.

    Raises
    ------
    ValueError
        There is no T, a noise of each pixel is given, or the Nside is above `LARGEST_NSIDE`.
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
    nside = nside_of(seen[0], "observed")
    if nside > LARGEST_NSIDE:
        raise ValueError(
            f"vae fills T, Q and U up to Nside {LARGEST_NSIDE}, the map has Nside {nside}; pass"
            " `method='gaussian'`"
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
    more = [*other, *[0.0] * (len(one) - len(other))]
    return tuple((a**0.5 + b**0.5) ** 2 for a, b in zip(one, more, strict=False))


def _rms(values: Map) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else 0.0
