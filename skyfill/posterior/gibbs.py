"""One step of Gibbs sampling: fill the holes given the spectrum, draw the spectrum given the sky.

The spectrum is the *total* one of the map, signal and noise. So only the unobserved pixels are
augmented, not the signal below the noise, and successive samples are nearly independent: lag-1
correlations are about the unobserved share of the sky. In each bin the total C_ell is q_b times the
prior's. A full sky has ν x̂ / q ~ χ²_ν, with ν the modes of the bin and x̂ its power over the
prior's. With the Jeffreys prior 1/q, under which intervals of a full sky have exactly their
frequency, q has the inverse gamma distribution of shape ν/2 and scale ν x̂ / 2. It is cut off where
the total would be less than the noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from skyfill import harmonics
from skyfill.gaussian import Solver
from skyfill.healpix.arrays import as_map, as_mask
from skyfill.healpix.stokes import nside_of
from skyfill.holes import UnusableSkyError
from skyfill.prior import Prior
from skyfill.prior.dipole import Dipole
from skyfill.prior.drawing import draw_of_cl
from skyfill.spectra.binning import averaged, summed

__all__ = ["Gibbs", "posterior_edges", "truncated_draw"]

Map = NDArray[np.float64]
Bins = NDArray[np.float64]
Edges = NDArray[np.int64]

#: First ell of the bins that hold several multipoles; Planck's likelihoods meet here, too.
_SINGLE = 30
#: Width of wider bins: their ell over this.
_SHARE = 8
#: Least width of them.
_LEAST = 5
#: Least signal in units of the noise at the last ell: with less the total could come near to the
#: noise alone, which the fill cannot represent.
_SIGNAL = 0.5
#: Iterations of the analysis of the filled sky, as in healpy's anafast.
_ITERATIONS = 3
#: How far chains begin from the prior's spectrum, in units of the width of the posterior.
_APART = 2.0


def posterior_edges(prior: Prior, lmax: int | None = None, width: int | None = None) -> Edges:
    """Choose the bins: single ell below 30, then wider.

    Parameters
    ----------
    prior
        Prior of the map.
    lmax
        Largest ell. If None, 1.5 Nside, or where the signal is half of the noise.
    width
        Width of the bins from ell = 30 on; an eighth of ell, at least 5, if None.

    Returns
    -------
    ``(nbin + 1,)``: the first ell of each bin, and one past the last ell.

    Raises
    ------
    ValueError
        ``lmax`` is beyond 1.5 Nside or where noise dominates, or below 2.
    """
    most = min(3 * prior.nside // 2, prior.cl.size - 1, prior.lmax)
    weak = np.flatnonzero(prior.signal_cl(most)[2:] < _SIGNAL * prior.white_cl)
    seen = most if not weak.size else int(weak[0]) + 1
    if seen < 2:
        raise ValueError(
            "the prior has more noise than signal at ell = 2: there is no spectrum to sample; give"
            " the right `cl` and `noise_uk_arcmin`"
        )
    last = seen if lmax is None else lmax
    if not 2 <= last <= seen:
        why = f"1.5 Nside is {most}" if seen == most else "noise dominates beyond"
        raise ValueError(f"lmax must be from 2 to {seen} here ({why}), got {last}; lower `lmax`")
    edges = list(range(2, min(_SINGLE, last + 1)))
    at = _SINGLE
    while at <= last:
        edges.append(at)
        at += width or max(_LEAST, at // _SHARE)
    if width is None and edges[-1] > _SINGLE and last + 1 - edges[-1] < _LEAST:
        del edges[-1]  # a narrow rest joins the last bin
    return np.array([*edges, last + 1], dtype=np.int64)


class Gibbs:
    """The two steps of the sampler, prepared for a mask, a prior and bins.

    Parameters
    ----------
    values
        ``(npix,)``, µK, RING. Unobserved pixels are not read.
    observed
        ``(npix,)``, RING, True where observed.
    prior
        Prior of the map. It gives the shape of the spectrum within bins, the spectrum beyond the
        last bin, and the white noise.
    edges
        ``(nbin + 1,)``, from `posterior_edges`.
    tolerance
        Accuracy of the fills, see `skyfill.gaussian.Solver.mean`.
    threads
        Threads of the transforms.

    Attributes
    ----------
    modes
        ``(nbin,)``: Σ (2 ell + 1).
    theory
        ``(nbin,)``, µK²: the prior's total C_ell in the bins, for q = 1.
    noise
        ``(nbin,)``, µK²: the white noise included in it.
    least
        ``(nbin,)``: the q at which a bin has no more than noise at some ell.
    dl_per_cl
        ``(nbin,)``: ratio of the sky's D_ell to the C_ell of the map's signal, for the prior's
        shape.

    Raises
    ------
    UnusableSkyError
        A ValueError: nothing is missing, or nothing is observed.
    ValueError
        Map, mask and prior do not fit together.
    """

    def __init__(
        self,
        values: ArrayLike,
        observed: ArrayLike,
        prior: Prior,
        edges: Edges,
        *,
        tolerance: float = 3e-3,
        threads: int = 0,
    ) -> None:
        values = as_map(values, taker="posterior.Gibbs")
        observed = as_mask(observed, taker="posterior.Gibbs") & np.isfinite(values)
        if nside_of(values, "values") != prior.nside:
            raise ValueError(
                f"the prior has Nside {prior.nside}, the map has Nside {nside_of(values, 'values')}"
            )
        if observed.all():
            raise UnusableSkyError(
                "no pixel is missing, so there is nothing to sample; the errors of a whole sky are"
                " those of `skyfill spectrum`"
            )
        self._threads, self._tolerance = threads, tolerance
        self._nside = prior.nside
        self._holes = ~observed
        self._signal = prior.signal_cl()
        self._white = prior.white_cl
        self._edges = edges
        low = Dipole(observed, threads=threads)
        self._data = np.where(observed, values, 0.0)
        self._data -= np.where(observed, low.of(self._data), 0.0)
        self._solver = Solver.for_prior(observed, prior, threads=threads)
        self._free = self._solver.signal_cl[:2].copy()
        end = int(edges[-1])
        self._total = self._signal[:end] + self._white
        ell = np.arange(end)
        self.modes = summed(2.0 * ell + 1, edges)
        self.theory = averaged(self._total, edges)
        self.noise = np.full(self.theory.size, self._white)
        self.least = np.maximum.reduceat((self._white / self._total)[:end], edges[:-1])
        dl = averaged(ell * (ell + 1) / (2 * np.pi) * prior.cl[:end], edges)
        self.dl_per_cl = dl / averaged(self._signal[:end], edges)
        self.fsky = float(observed.mean())

    def start(self, random: np.random.Generator) -> Bins:
        """Draw a beginning for a chain, further apart than the posterior is wide; ``(nbin,)``."""
        wide = _APART * np.sqrt(2 / (self.modes * self.fsky))
        drawn = np.exp(wide * random.standard_normal(self.modes.size))
        return np.maximum(drawn, 1.001 * self.least)

    def step(self, q: Bins, random: np.random.Generator) -> tuple[Bins, Bins]:
        """Take one step of both kinds.

        Parameters
        ----------
        q
            ``(nbin,)``: total C_ell of the bins in units of the prior's.
        random
            Random numbers of this step.

        Returns
        -------
        ``(nbin,)`` twice: the power of the filled sky in units of the prior's, and the new q.

        Raises
        ------
        ValueError
            The fill has not converged.
        """
        power = self.power(self.fill(q, random))
        return power, truncated_draw(power, self.modes, self.least, random)

    def fill(self, q: Bins, random: np.random.Generator) -> Map:
        """Fill the holes with signal and noise, given the spectrum; ``(npix,)``, µK, RING.

        Monopole and dipole of the observed sky are removed, and free in the holes.

        Raises
        ------
        ValueError
            The fill has not converged.
        """
        cl = self._signal.copy()
        first, end = self._edges[0], self._edges[-1]
        scaled = self._total[first:] * np.repeat(q, np.diff(self._edges))
        cl[first:end] = np.maximum(scaled - self._white, 0.0)
        latent = draw_of_cl(cl, self._nside, random, threads=self._threads)
        area = 4 * np.pi / latent.size
        latent += np.sqrt(self._white / area) * random.standard_normal(latent.size)
        freed = cl.copy()
        freed[:2] = self._free
        solution = self._solver.with_signal(freed).mean(
            self._data - latent, tolerance=self._tolerance
        )
        if not solution.certificate.converged:
            raise ValueError(
                f"a fill has not converged ({solution.certificate}); pass a larger `tolerance`, or"
                " give the map's noise (`noise_uk_arcmin`)"
            )
        sky = self._data.copy()
        sky[self._holes] = latent[self._holes] + solution.fill
        return sky

    def power(self, sky: Map) -> Bins:
        """Measure a whole sky: its power in the bins in units of the prior's, ``(nbin,)``."""
        alm = harmonics.analysis(
            sky, lmax=int(self._edges[-1]) - 1, iterations=_ITERATIONS, threads=self._threads
        )
        return averaged(harmonics.cl_of(alm) / self._total, self._edges)


def truncated_draw(
    power: Bins, modes: Bins, least: Bins, random: np.random.Generator
) -> NDArray[np.float64]:
    """Draw q from the inverse gamma of shape ν/2 and scale ν x̂/2, above ``least``; ``(nbin,)``."""
    shape, scale = modes / 2, modes * power / 2
    most = special.gammainc(shape, scale / least)
    y = special.gammaincinv(shape, random.random(power.size) * most)
    # where rounding leaves nothing above `least`, the draw lies there
    return np.where(y > 0, np.maximum(scale / np.where(y > 0, y, 1.0), least), least)
