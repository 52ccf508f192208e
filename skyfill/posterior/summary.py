"""The posterior of a spectrum: quantiles, convergence, table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from skyfill.brief import brief
from skyfill.files.atomic import atomic_write
from skyfill.posterior.mixing import effective_samples, split_rhat
from skyfill.prior import Prior

if TYPE_CHECKING:
    from astropy.table import QTable

__all__ = ["LEVELS", "Posterior"]

Bins = NDArray[np.float64]

LEVELS = {"median": 0.5, "16": 0.16, "84": 0.84, "2_5": 0.025, "97_5": 0.975}
"""Names of the quantiles in tables, and their probabilities."""
#: Largest number of samples whose distributions are averaged: more change nothing that is seen.
_MOST = 1000
#: Bisections of log q for a quantile.
_HALVINGS = 32
#: Effective samples from which chains count as converged.
_ENOUGH = 200.0
#: Largest R-hat with which they do.
_AGREE = 1.05


@dataclass(frozen=True, eq=False)
class Posterior:
    """The posterior of the total C_ell of a map, in bins.

    Distributions are Blackwell-Rao estimates: the mean, over the samples, of the distribution of
    C_ell given the filled sky (Chu et al. 2005). They are smoother than histograms of the draws.

    Attributes
    ----------
    prior
        The prior of the map.
    edges
        ``(nbin + 1,)``: first ell of each bin, and one past the last ell.
    theory, noise, modes, least, dl_per_cl
        ``(nbin,)``, see `Gibbs`.
    powers
        ``(nchain, nsample, nbin)``: power of the filled skies in units of the theory's.
    draws
        ``(nchain, nsample, nbin)``: the draws of q, the total C_ell in units of the theory's.
    seconds
        Seconds of a sample, averaged; NaN if none was made in this run.
    """

    __repr__ = brief

    prior: Prior
    edges: NDArray[np.int64]
    theory: Bins
    noise: Bins
    modes: Bins
    least: Bins
    dl_per_cl: Bins
    powers: NDArray[np.float64]
    draws: NDArray[np.float64]
    seconds: float = float("nan")

    @property
    def ell(self) -> Bins:
        """``(nbin,)``: mean ell of each bin, weighted by 2 ell + 1."""
        low, high = self.edges[:-1], self.edges[1:] - 1
        each = [np.arange(a, b + 1) for a, b in zip(low, high, strict=True)]
        return np.array([np.average(one, weights=2 * one + 1) for one in each])

    @property
    def ess(self) -> Bins:
        """``(nbin,)``: effective number of samples of log C_ell, over all chains."""
        logs = np.log(self.draws)
        return np.array([effective_samples(logs[:, :, b]) for b in range(self.theory.size)])

    @property
    def rhat(self) -> Bins:
        """``(nbin,)``: R-hat of log C_ell."""
        logs = np.log(self.draws)
        return np.array([split_rhat(logs[:, :, b]) for b in range(self.theory.size)])

    @property
    def converged(self) -> bool:
        """Whether every bin has 200 effective samples and R-hat of at most 1.05."""
        return bool(np.all(self.ess >= _ENOUGH) and np.all(self.rhat <= _AGREE))

    def probability(self, cl: ArrayLike) -> Bins:
        """Give the posterior probability that each bin's total C_ell is below ``cl``.

        Parameters
        ----------
        cl
            ``(nbin,)``, µK², or a single number.

        Returns
        -------
        ``(nbin,)``.
        """
        q = np.broadcast_to(np.asarray(cl, dtype=np.float64) / self.theory, self.theory.shape)
        return self._below(q, self._kept())

    def quantile(self, probability: float) -> Bins:
        """Give a quantile of the total C_ell of each bin, ``(nbin,)``, µK²."""
        kept = self._kept()
        # the quantile of a mixture lies among those of its parts
        shape, scale = self.modes / 2, self.modes * kept / 2
        most = special.gammainc(shape, scale / self.least)
        y = np.maximum(special.gammaincinv(shape, (1 - probability) * most), 1e-300)
        parts = np.log(np.maximum(scale / y, self.least))
        low, high = parts.min(axis=0), parts.max(axis=0)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            under = self._below(np.exp(middle), kept) < probability
            low, high = np.where(under, middle, low), np.where(under, high, middle)
        return np.asarray(self.theory * np.exp((low + high) / 2))

    def _kept(self) -> NDArray[np.float64]:
        """Give the powers of all chains, thinned; ``(n, nbin)``."""
        powers = self.powers.reshape(-1, self.theory.size)
        return powers[:: -(-len(powers) // _MOST)]

    def _below(self, q: Bins, kept: NDArray[np.float64]) -> Bins:
        shape, scale = self.modes / 2, self.modes * kept / 2
        inside = special.gammainc(shape, scale / np.maximum(q, self.least))
        most = special.gammainc(shape, scale / self.least)
        share = np.divide(inside, most, out=np.ones_like(inside), where=most > 0)
        return np.asarray(np.where(q < self.least, 0.0, 1 - share.mean(axis=0)))

    def columns(self) -> dict[str, NDArray[Any]]:
        """Give all numbers of the bins by their names in tables; µK² where they are powers."""
        levels = {name: self.quantile(level) for name, level in LEVELS.items()}
        signal = {name: (cl - self.noise) * self.dl_per_cl for name, cl in levels.items()}
        return {
            "ell_min": self.edges[:-1],
            "ell_max": self.edges[1:] - 1,
            "ell": self.ell,
            "modes": self.modes,
            "theory": self.theory,
            "noise": self.noise,
            **{f"cl_{name}": values for name, values in levels.items()},
            **{f"dl_{name}": values for name, values in signal.items()},
            "ess": self.ess,
            "rhat": self.rhat,
        }

    def table(self, comments: Sequence[str] = ()) -> QTable:
        """Return the numbers as an astropy table with units, one row a bin."""
        from astropy import units as u  # imported here because it takes half a second
        from astropy.table import QTable

        bare = {"ell_min", "ell_max", "ell", "modes", "ess", "rhat"}
        columns = {
            name: values if name in bare else values * u.uK**2
            for name, values in self.columns().items()
        }
        about = {
            "content": "posterior of the total C_ell of a map (signal and noise), Blackwell-Rao",
            "dl": "D_ell of the sky: noise subtracted, divided by beam and pixel window",
            "chains": self.draws.shape[0],
            "samples": self.draws.shape[1],
        }
        return QTable(columns, meta=about | ({"comments": list(comments)} if comments else {}))

    def write(
        self, path: str | PathLike[str], *, comments: Sequence[str] = (), overwrite: bool = False
    ) -> None:
        """Write the table as ECSV (text).

        Raises
        ------
        OSError
            The file exists already or cannot be written.
        """
        with atomic_write(path, overwrite) as temporary:
            self.table(comments).write(temporary, format="ascii.ecsv", overwrite=True)
