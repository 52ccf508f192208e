"""Judge a prior by small patches of the sky, pixel by pixel.

The pixels of a compact patch are Gaussian with the covariance C(θ) of the prior and its noise,
whatever the mask around it. A product over patches is a composite likelihood (Varin, Reid & Firth
2011): it is exact within each patch and takes patches as independent, which they nearly are on the
scales that decide about beam and noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from skyfill import harmonics
from skyfill.brief import brief
from skyfill.healpix import nest_to_ring, pixel_directions
from skyfill.healpix.stokes import nside_of
from skyfill.prior.model import Prior

__all__ = ["Patches", "Variation"]

Map = NDArray[np.float64]

#: Pixels along the side of a patch, and smaller sides where holes leave no room for enough.
_SIDES = (8, 4)
#: Largest number of pixels in patches: the error of the noise is then some per cent.
_PIXELS = 9600
#: Number of patches that is enough.
_ENOUGH = 40
#: Smallest number of patches that judges.
_FEWEST = 12
#: Distances at which the correlation function is computed; a cubic joins them.
_NODES = 256
#: Variance of a constant that is added to every patch, in units of the prior's variance: monopole
#: and dipole of the map are unknown.
_CONSTANT = 100.0
#: Variance of a pixel that no prior falls below, in units of its variance, for the factorization.
_FLOOR = 1e-10


@dataclass(frozen=True)
class Variation:
    """How the fine structure differs from patch to patch, beyond chance.

    Attributes
    ----------
    sigma
        By how many standard deviations the patches differ more than those of a uniform sky do.
    spread
        Standard deviation over the sky of the square of the beam's FWHM that would explain it,
        radians², less what is chance.
    """

    sigma: float
    spread: float


@dataclass(frozen=True, eq=False)
class Patches:
    """Values of patches, and what their covariance is made of.

    Attributes
    ----------
    values
        ``(npatch, n)``, µK: the pixels of each patch.
    distances
        ``(nnode,)``, radians: where the correlation function is computed.
    weights
        ``(npatch n (n + 1) / 2, nnode)``, sparse: from there to the pairs of pixels.
    """

    __repr__ = brief

    values: Map
    distances: Map
    weights: sparse.csr_matrix

    @classmethod
    def of(cls, values: Map, observed: NDArray[np.bool_]) -> Patches | None:
        """Cut patches from the observed sky; None if it has room for too few.

        Parameters
        ----------
        values, observed
            As for `skyfill.prior.fit`.
        """
        nside = nside_of(values, "the map to fit")
        sides = [side for side in _SIDES if side <= nside]
        if not sides:
            return None
        for side in sides:
            parents = _whole(nside, side, observed)
            if parents.size >= _ENOUGH:
                break
        if parents.size < _FEWEST:
            return None
        size = side**2
        number = min(_PIXELS // size, parents.size)
        chosen = parents[np.linspace(0, parents.size - 1, number).astype(int)]
        pixels = nest_to_ring(nside, (chosen[:, None] * size + np.arange(size)).ravel())
        towards = pixel_directions(nside, pixels).reshape(chosen.size, size, 3)
        first, second = np.tril_indices(size)
        chord = np.linalg.norm(towards[:, first] - towards[:, second], axis=2)
        apart = 2 * np.arcsin(np.minimum(chord / 2, 1)).ravel()
        distances = np.linspace(0, 1.001 * apart.max(), _NODES)
        return cls(values[pixels].reshape(chosen.size, size), distances, _cubic(apart, distances))

    def misfit(self, prior: Prior) -> float:
        """Give minus the logarithm of the composite likelihood, up to a constant."""
        factor, white = self._whitened(prior)
        logs = np.log(np.diagonal(factor, axis1=1, axis2=2))
        return float(np.sum(logs) + 0.5 * np.sum(white**2))

    def rms(self, prior: Prior) -> float:
        """Give the rms of the decorrelated pixels, which is one if the prior is right."""
        _, white = self._whitened(prior)
        count, size = white.shape
        return math.sqrt(float(np.sum(white**2)) / (count * (size - 1)))

    def variation(self, prior: Prior) -> Variation:
        """Measure whether patches have beams of their own.

        With the derivative D of the covariance C to the square of the beam's width, each patch has
        the score s = ½ (xᵀ C⁻¹ D C⁻¹ x - tr C⁻¹ D). If one beam is right everywhere, s has the
        variance I = ½ tr (C⁻¹ D)²: the sum of s² / I over patches tells (Rao 1948).
        """
        ell = np.arange(prior.lmax + 1.0)
        narrower = -ell * (ell + 1) / (8 * math.log(2)) * prior.signal_cl(prior.lmax)
        change = self._matrices(harmonics.correlation(narrower, np.cos(self.distances)))
        factor, white = self._whitened(prior)
        half = np.linalg.solve(factor, change)
        inner = np.linalg.solve(factor, half.transpose(0, 2, 1))  # L⁻¹ D L⁻ᵀ
        score = 0.5 * np.einsum("pi,pij,pj->p", white, inner, white)
        score -= 0.5 * np.trace(inner, axis1=1, axis2=2)
        square = inner @ inner
        known = 0.5 * np.trace(square, axis1=1, axis2=2)
        fourth = 3.0 * np.sum(square**2, axis=(1, 2))  # the fourth cumulant of a score
        score -= known * score.sum() / known.sum()  # patches may agree on a beam of their own
        ratio = score**2 / known
        beyond = float(np.sum(ratio - 1)) + 1
        sigma = beyond / math.sqrt(float(np.sum(2 + fourth / known**2)))
        return Variation(sigma, math.sqrt(max(beyond, 0.0) / float(known.sum())))

    def _whitened(self, prior: Prior) -> tuple[Map, Map]:
        """Give the Cholesky factor of each patch, and its decorrelated pixels."""
        lmax = prior.lmax
        correlation = harmonics.correlation(prior.signal_cl(lmax), np.cos(self.distances))
        white = prior.white_cl * 12 * prior.nside**2 / (4 * math.pi)
        total = float(correlation[0]) + white
        covariance = self._matrices(correlation) + _CONSTANT * total
        diagonal = np.arange(self.values.shape[1])
        covariance[:, diagonal, diagonal] += white + _FLOOR * total
        try:
            factor = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:  # nearly singular: no noise, and a wide beam
            covariance[:, diagonal, diagonal] += 1e4 * _FLOOR * total
            factor = np.linalg.cholesky(covariance)
        return np.asarray(factor), np.asarray(
            np.linalg.solve(factor, self.values[..., None])[..., 0]
        )

    def _matrices(self, correlation: Map) -> Map:
        """Give a correlation, known at `distances`, between the pixels of each patch."""
        count, size = self.values.shape
        first, second = np.tril_indices(size)
        out = np.empty((count, size, size))
        out[:, first, second] = (self.weights @ correlation).reshape(count, -1)
        out[:, second, first] = out[:, first, second]
        return out


def _whole(nside: int, side: int, observed: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Find the squares of side x side pixels that are observed, as NESTED numbers."""
    whole = np.ones(12 * (nside // side) ** 2, np.bool_)
    first = np.arange(whole.size) * side**2
    for pixel in range(side**2):  # one pixel of every square at a time, to save memory
        whole &= observed[nest_to_ring(nside, first + pixel)]
    return np.flatnonzero(whole)


def _cubic(at: Map, nodes: Map) -> sparse.csr_matrix:
    """Give the weights of cubic interpolation between equidistant nodes, ``(nat, nnode)``."""
    step = nodes[1] - nodes[0]
    start = np.clip((at / step).astype(np.int64) - 1, 0, nodes.size - 4)
    x = at / step - start
    weights = np.empty((at.size, 4))
    for k in range(4):
        others = [j for j in range(4) if j != k]
        weights[:, k] = np.prod([(x - j) / (k - j) for j in others], axis=0)
    columns = (start[:, None] + np.arange(4)).ravel()
    rows = np.arange(0, 4 * at.size + 1, 4)
    return sparse.csr_matrix((weights.ravel(), columns, rows), shape=(at.size, nodes.size))
