"""Expected spectrum of a map: signal, noise, aliases, and the sky before beam and pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill import harmonics
from skyfill.brief import brief
from skyfill.prior import Prior

__all__ = ["Expectation", "expectation"]

Cl = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Expectation:
    """Expected spectrum of a map.

    Attributes
    ----------
    signal_cl
        ``(sky_lmax + 1,)``, µK²: the signal of the map, also beyond lmax, since a mask brings in
        power from there. Monopole and dipole are zero, because they are removed from every sky.
    white_cl
        µK²: white noise of the pixels.
    sky_cl
        ``(lmax + 1,)``, µK²: the sky before beam and pixels; equal to `signal_cl` if these are
        unknown.
    alias_cl
        ``(lmax + 1,)``, µK²: what pixels show of the signal beyond lmax at each ell of a whole sky.
    """

    __repr__ = brief

    signal_cl: Cl
    white_cl: float
    sky_cl: Cl
    alias_cl: Cl

    @property
    def ell_max(self) -> int:
        """Largest ell of the analysis."""
        return self.sky_cl.size - 1

    @property
    def total_cl(self) -> Cl:
        """``(lmax + 1,)``, µK²: signal, aliases and noise, without monopole and dipole."""
        total = self.signal_cl[: self.ell_max + 1] + self.alias_cl + self.white_cl
        total[:2] = 0.0
        return total


def expectation(
    theory: Prior | ArrayLike, nside: int, lmax: int, *, threads: int = 0
) -> Expectation:
    """Get the expected spectrum from a prior, or from a spectrum of the map.

    Raises
    ------
    ValueError
        The theory ends before lmax, has another Nside, or is not positive and finite from ell = 2.

    """
    if isinstance(theory, Prior):
        if theory.nside != nside:
            raise ValueError(f"the prior has Nside {theory.nside}, the sky has Nside {nside}")
        known = theory.cl.size
        white = theory.white_cl
        signal = theory.signal_cl(max(lmax, theory.lmax)) if known > lmax else theory.cl.copy()
    else:
        given = np.array(theory, dtype=np.float64)
        known, white, signal = given.size, 0.0, given[: 3 * nside].copy()
    if known <= lmax:
        raise ValueError(
            f"the theory ends at ell = {known - 1}, before lmax = {lmax}; pass `lmax={known - 1}`,"
            " or a theory that goes on"
        )
    total = signal[2 : lmax + 1] + white
    if not np.all(np.isfinite(signal[2:])) or not np.all(total > 0) or np.any(signal[2:] < 0):
        raise ValueError("the theory must be positive and finite at every ell from 2 to lmax")
    signal[:2] = 0.0
    sky = theory.cl if isinstance(theory, Prior) else signal
    sky = sky[: lmax + 1].copy()
    sky[:2] = 0.0
    # An array holds noise, too, which no multipole lends to another: it is taken as it is.
    alias = np.zeros(lmax + 1)
    if isinstance(theory, Prior):
        alias = _alias(signal, nside, lmax, threads)
    return Expectation(signal, white, sky, alias)


def _alias(signal: Cl, nside: int, lmax: int, threads: int) -> Cl:
    """Give the mean power at each ell that sums over pixels take for that of ell beyond lmax.

    Sums over the pixels of a whole sky couple ell and ell' from ell + ell' = 4 nside on.
    """
    first = max(4 * nside - lmax, lmax + 1)
    if signal.size <= first:
        return np.zeros(lmax + 1)
    top = signal.size - 1
    ones = np.full(12 * nside**2, 4 * np.pi / (12 * nside**2))
    window = harmonics.cl_of(harmonics.adjoint(ones, lmax=lmax + top, threads=threads))
    coupling = harmonics.coupling_matrix(window, lmax=lmax, sky_lmax=top, threads=threads)
    return np.asarray(coupling[:, first:] @ signal[first:])
