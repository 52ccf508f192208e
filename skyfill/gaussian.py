"""Solve for the posterior mean of a Gaussian sky on the whole sphere.

With Σ = Y S Yᵀ + σ² the covariance of the map and M the observed pixels, the mean of the unobserved
ones is x = Σ_hM y, (M Σ M) y = d. Conjugate gradients apply Σ as it is, two transforms, for every
multipole of the prior; the preconditioner M Q M uses an approximate inverse Q of Σ, which the
HEALPix quadrature spoils a little (YᵀY 4π/npix is one to 0.7% at l = nside / 2, to 6.5% at
1.5 nside). So the quadrature costs iterations, never accuracy. The eigenvalues are 1 / (1 - ρ²), ρ
the canonical correlations of holes and data, the same as for the holes' precision Q_hh.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skyfill import harmonics
from skyfill._checks import nside_of
from skyfill._progress import Progress, Silent

__all__ = ["Solution", "posterior_mean"]

Map = NDArray[np.float64]

#: White noise of at least this share of the signal's variance keeps Σ invertible in float64.
_NOISE_FLOOR = 1e-4


@dataclass(frozen=True)
class Solution:
    """The posterior mean of a masked map.

    Attributes
    ----------
    values
        ``(npix,)``, RING: the data where observed, the posterior mean in the holes.
    whitened
        ``(nalm,)``: Yᵀ y with y = Σ⁻¹ d on the observed pixels; S times it is the mean of the
        signal's alm.
    iterations
        Conjugate-gradient steps taken.
    residual
        Preconditioned norm of what is left of the equation, relative to its right-hand side.
    """

    values: Map
    whitened: NDArray[np.complex128]
    iterations: int
    residual: float


def posterior_mean(
    values: Map,
    observed: NDArray[np.bool_],
    *,
    signal_cl: NDArray[np.float64],
    noise_cl: float,
    tolerance: float = 1e-3,
    max_iterations: int = 1000,
    threads: int = 0,
    progress: Progress | None = None,
) -> Solution:
    """Fill the holes of a map with the mean of what they can be, given the rest.

    Parameters
    ----------
    values
        ``(npix,)``, µK, RING; unobserved pixels are not read.
    observed
        ``(npix,)``, RING, True where observed.
    signal_cl
        ``(lmax + 1,)`` spectrum of the signal on the map, beam and pixel window included, µK².
    noise_cl
        Spectrum of the white noise, µK².
    tolerance
        Relative preconditioned residual to stop at.
    max_iterations
        Steps after which to stop anyway.
    threads
        Of the transforms.
    progress
        Told of every iteration.

    Returns
    -------
    The solution; ``residual`` above ``tolerance`` says that the iterations ran out.

    Raises
    ------
    ValueError
        No pixel is observed.
    """
    nside = nside_of(values.size, "the map to fill")
    if not observed.any():
        raise ValueError("no pixel is observed: nothing is known of the sky")
    progress = progress or Silent()
    lmax = signal_cl.size - 1
    area = 4 * np.pi / values.size
    modes = (2 * np.arange(lmax + 1) + 1) / (4 * np.pi)
    sigma2 = max(noise_cl / area, _NOISE_FLOOR * float(modes @ signal_cl))
    ell_q = min(lmax, 3 * nside // 2)
    # What the preconditioner does not resolve is noise to it; its gain stays below the inverse of
    # the largest quadrature error, without which it would not be positive.
    sigma2_q = sigma2 + float(np.sum((modes * signal_cl)[ell_q + 1 :]))
    error = 0.01 + 0.07 * (np.arange(ell_q + 1) / (1.5 * nside)) ** 2
    gain = signal_cl[: ell_q + 1] / (signal_cl[: ell_q + 1] * (1 + error) + sigma2_q * area)

    def covariance(v: Map) -> Map:
        alm = harmonics.adjoint(v, lmax=lmax, threads=threads)
        full = harmonics.synthesis(harmonics.almxfl(alm, signal_cl), nside, threads=threads)
        return np.where(observed, full + sigma2 * v, 0.0)

    def precision(v: Map) -> Map:
        alm = harmonics.adjoint(v, lmax=ell_q, threads=threads)
        smooth = harmonics.synthesis(harmonics.almxfl(alm, gain), nside, threads=threads)
        return np.where(observed, (v - area * smooth) / sigma2_q, 0.0)

    rest = np.where(observed, values, 0.0)
    y = np.zeros_like(rest)
    z = precision(rest)
    direction = z.copy()
    rho = float(rest @ z)
    first, done = rho, 0
    while done < max_iterations and first > 0 and rho > tolerance**2 * first:
        image = covariance(direction)
        step = rho / float(direction @ image)
        y += step * direction
        rest -= step * image
        z = precision(rest)
        rho, last = float(rest @ z), rho
        direction *= rho / last
        direction += z
        done += 1
        progress.advance()
    whitened = harmonics.adjoint(y, lmax=lmax, threads=threads)
    mean = harmonics.synthesis(harmonics.almxfl(whitened, signal_cl), nside, threads=threads)
    residual = (max(rho, 0.0) / first) ** 0.5 if first > 0 else 0.0
    return Solution(np.where(observed, values, mean), whitened, done, residual)
