"""The binned pseudo-spectrum of a map's observed part, and what a prior expects of it.

The map is multiplied by an apodised window w and its pseudo-spectrum taken by plain sums over
pixels. Its expectation is known exactly, aliasing included: a product of two harmonics is a sum of
harmonics, so the coupling of l and l' is that of the *sampled* window's own plain spectrum up to
l + l' (`harmonics.coupling`). White noise adds the mean of w² times its spectrum at every l.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from skyfill import harmonics
from skyfill.brief import brief
from skyfill.healpix.stokes import nside_of
from skyfill.holes import distance_to_edge
from skyfill.holes.windows import rising
from skyfill.prior.model import ARCMIN, Prior
from skyfill.prior.patches import Patches
from skyfill.prior.quality import Quality

__all__ = ["Pseudo", "Windowed"]

Map = NDArray[np.float64]

#: Widths of the window's soft edge, radians: the widest that leaves enough of what is observed.
_EDGES = np.radians([1.0, 0.5, 0.25, 0.1])
#: Smallest width of the soft edge, in pixels.
_EDGE_PIXELS = 2.7
#: Share of what is observed that the window must leave.
_LEFT = 0.5
#: Last multipole of the bins in units of Nside: a map's noise is known from there.
_REACH = 3.5
#: Largest last multipole of the bins.
_LAST = 2500
#: A map whose fitted multipoles end below this many Nside resolves its beam.
_RESOLVED = 1.5
#: Number of logarithmic bins up to 2 Nside.
_BINS = 60
#: Beyond 2 Nside, a bin has Nside over this many multipoles.
_WIDE = 16
#: A bin's own power is of multipoles up to this factor away.
_NEAR = 1.3
#: Multipoles of the window that matter where nothing is aliased.
_SMOOTH = 1500


@dataclass(frozen=True)
class Windowed:
    """The apodised window of a mask, and the multipoles and bins of what is measured in it.

    Attributes
    ----------
    window
        ``(npix,)``, RING, from 0 to 1.
    edges
        ``(nbin + 1,)`` first multipole of each bin; the last one ends the last bin.
    last
        Last multipole that is measured.
    lmax
        Largest multipole of the signal that matters to the bins.
    cl
        Spectrum of the window by plain sums over pixels, as far as it matters.
    white
        What every bin gets of a white spectrum, ⟨w²⟩.
    modes
        ``(nbin,)``: sum of 2l + 1 over the bin.
    share
        Share of the sky that the window keeps, ⟨w²⟩² / ⟨w⁴⟩.
    """

    __repr__ = brief

    window: Map
    edges: NDArray[np.int64]
    last: int
    lmax: int
    cl: Map
    white: float
    modes: Map
    share: float

    @classmethod
    def of(cls, observed: NDArray[np.bool_], nside: int, lmax: int, threads: int) -> Windowed:
        """Soften the edges of a mask, for a map with signal up to a multipole."""
        window = _window(observed)
        last = min(int(_REACH * nside), _LAST)
        if last < _RESOLVED * nside:  # these pixels resolve all that is fitted: nothing is aliased
            lmax = min(lmax, int(_REACH * nside) - last)
        aliased = last + lmax > _REACH * nside
        lmax = lmax if aliased else min(lmax, last + _SMOOTH)
        reach = last + lmax if aliased else min(last + lmax, _SMOOTH)
        area = 4 * math.pi / observed.size
        own = area**2 * harmonics.cl_of(harmonics.adjoint(window, lmax=reach, threads=threads))
        edges = _edges(nside, last)
        count = np.add.reduceat(2.0 * np.arange(last + 1) + 1, edges[:-1])
        square = window**2
        mean_square = float(np.mean(square))
        share = mean_square**2 / float(np.mean(square**2))
        return cls(window, edges, last, lmax, own, mean_square, count, share)

    def binned(self, alm: NDArray[np.complex128]) -> Map:
        """Bin the pseudo-spectrum of harmonics that are plain sums over pixels, ``(nbin,)``."""
        area = 4 * math.pi / self.window.size
        modes = 2.0 * np.arange(self.last + 1) + 1
        power = modes * (area**2 * harmonics.cl_of(alm))
        return np.asarray(np.add.reduceat(power, self.edges[:-1]) / self.modes)

    def near(self, number: int) -> slice:
        """Give the multipoles whose power is a bin's own."""
        low, high = self.edges[number] / _NEAR, self.edges[number + 1] * _NEAR
        return slice(int(low), int(high) + 1)


@dataclass(frozen=True)
class Pseudo:
    """The binned pseudo-spectrum of a windowed map, and what the model expects of it.

    Attributes
    ----------
    edges
        ``(nbin + 1,)`` first multipole of each bin; the last one ends the last bin.
    data
        ``(nbin,)``, µK²: mean of Σ_m |ã_lm|² / (2l + 1) over a bin, with weights 2l + 1.
    response
        ``(nbin, lmax + 1)``: what a bin gets of the spectrum of the signal on the map.
    white
        What every bin gets of a white spectrum, ⟨w²⟩.
    modes
        ``(nbin,)``: degrees of freedom ν = (2l + 1) ⟨w²⟩² / ⟨w⁴⟩, summed over the bin.
    freedom
        ``(nbin,)``: those of them that count, see `trusting`.
    sky
        Share of the sky that the window keeps, ⟨w²⟩² / ⟨w⁴⟩.
    """

    __repr__ = brief

    edges: NDArray[np.int64]
    data: Map
    response: Map
    white: float
    modes: Map
    freedom: Map
    sky: float

    @classmethod
    def of(cls, values: Map, observed: NDArray[np.bool_], lmax: int, threads: int) -> Pseudo:
        """Measure; the arguments are those of `fit`, with the largest multipole of the signal."""
        nside = nside_of(values, "the map to fit")
        windowed = Windowed.of(observed, nside, lmax, threads)
        window, edges, count = windowed.window, windowed.edges, windowed.modes
        clean = np.where(window > 0, values, 0.0) * window
        alm = harmonics.adjoint(clean, lmax=windowed.last, threads=threads)
        return cls(
            edges,
            windowed.binned(alm),
            harmonics.coupling(windowed.cl, edges, lmax=windowed.lmax),
            windowed.white,
            count * windowed.share,
            count * windowed.share,
            windowed.share,
        )

    def expected(self, prior: Prior) -> Map:
        """Give what a prior expects of every bin, ``(nbin,)``, µK²."""
        lmax = self.response.shape[1] - 1
        white = prior.noise_cl + prior.white_beyond(lmax)
        return np.asarray(self.response @ prior.signal_cl(lmax) + self.white * white)

    def misfit(self, expected: Map) -> Map:
        """Give minus the logarithm of the likelihood of every bin, zero where it fits exactly."""
        ratio = self.data / expected
        return np.asarray(0.5 * self.freedom * (ratio - 1 - np.log(ratio)))

    def parts(self, prior: Prior) -> dict[str, Map]:
        """Give what the sky, the noise and the free part of a prior add to `expected`."""
        lmax = self.response.shape[1] - 1
        free = np.zeros(lmax + 1)
        n = min(lmax + 1, prior.extra_cl.size)
        free[:n] = prior.extra_cl[:n]
        sky = self.response @ (prior.signal_cl(lmax) - free)
        white = self.white * (prior.noise_cl + prior.white_beyond(lmax))
        return {
            "sky": sky,
            "noise": np.full(sky.size, white),
            "free part": np.asarray(self.response @ free),
        }

    def as_dict(self, prior: Prior) -> dict[str, list[float] | list[int]]:
        """Give the bins in types that JSON has: ranges, power and expected power, µK², freedom."""
        return {
            "ell_min": self.edges[:-1].tolist(),
            "ell_max": (self.edges[1:] - 1).tolist(),
            "observed": (self.data / self.white).tolist(),
            "expected": (self.expected(prior) / self.white).tolist(),
            "freedom": self.freedom.tolist(),
        }

    def logs(self, power: Map, ell: NDArray[np.int64]) -> Map:
        """Give the logarithm of the spectrum at some multipoles from the power of the bins."""
        middle = np.sqrt(self.edges[:-1] * (self.edges[1:] - 1.0))
        least = 1e-12 * float(self.data.max())
        return np.interp(ell, middle, np.log(np.maximum(power, least) / self.white))

    def cost(self, prior: Prior) -> float:
        """Give minus the logarithm of the likelihood of a prior."""
        return float(np.sum(self.misfit(self.expected(prior))))

    def quality(self, prior: Prior, fitted: int, patches: Patches | None = None) -> Quality:
        """Say how well a prior with so many fitted parameters describes bins and patches."""
        found = Quality.of(self.data, self.expected(prior), self.freedom, self.edges, fitted)
        known = float(np.sum(self.freedom) / np.sum(self.modes))
        if patches is None:
            return replace(found, known=known)
        variation, square = patches.variation(prior), prior.effective_fwhm**2
        beams = square - variation.spread, square + variation.spread
        return replace(
            found,
            whitened=patches.rms(prior),
            known=known,
            varies=round(variation.sigma, 2),
            beams=(
                round(math.sqrt(max(beams[0], 0.0)) / ARCMIN, 2),
                round(math.sqrt(beams[1]) / ARCMIN, 2),
            ),
        )

    def trusting(self, prior: Prior, *, free: bool = False) -> Pseudo:
        """Count of a bin's freedom what is its own: power that leaked from afar is shared.

        The window couples all multipoles a little. Where a beam has taken the sky's power, bins
        hold little else than what the brightest ones leave there, all of them the same. What they
        leave has the scatter of their own few modes besides. A spectrum that is ``free`` would
        follow it.
        """
        lmax = self.response.shape[1] - 1
        ell = np.arange(lmax + 1)
        low, high = self.edges[:-1, None] / _NEAR, self.edges[1:, None] * _NEAR
        near = (ell >= low.astype(int)) & (ell <= high.astype(int))
        parts = self.response * prior.signal_cl(lmax)
        white = self.white * (prior.noise_cl + prior.white_beyond(lmax))
        own = np.sum(parts, axis=1, where=near) + white
        variance = self.expected(prior) ** 2 / self.modes
        if free:
            afar = np.where(near, 0.0, parts) ** 2 @ (1 / ((2 * ell + 1) * self.sky))
            variance = np.maximum(variance, own**2 / self.modes + afar)
        return replace(self, freedom=own**2 / variance)


def _window(observed: NDArray[np.bool_]) -> Map:
    """Soften the edges as much as the mask allows."""
    if observed.all():
        return np.ones(observed.size)
    distance = distance_to_edge(observed, of_observed=True)
    pixel = math.sqrt(4 * math.pi / observed.size)
    least = _LEFT * float(np.mean(observed))
    window = observed.astype(np.float64)
    for width in np.unique(np.maximum(_EDGES, _EDGE_PIXELS * pixel))[::-1]:
        soft = window * rising(distance, float(width), "C1")
        if np.mean(soft**2) >= least:
            return soft
    return window


def _edges(nside: int, last: int) -> NDArray[np.int64]:
    """Divide the multipoles from 2 to the last one into bins."""
    turn = min(2 * nside, last)
    fine = np.geomspace(2, turn + 1, _BINS).astype(np.int64)
    wide = np.arange(turn + 1, last + 2, max(nside // _WIDE, 1))
    return np.unique(np.concatenate([fine, wide]))
