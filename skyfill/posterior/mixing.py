"""Say how well chains have mixed: effective number of samples, and R-hat.

Gelman et al., Bayesian Data Analysis, 3rd edition, 11.4 and 11.5, with chains split in halves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["effective_samples", "split_rhat"]


def split_rhat(chains: NDArray[np.float64]) -> float:
    """Give R-hat of several chains of one number, each split in halves.

    Parameters
    ----------
    chains
        ``(nchain, n)``.

    Returns
    -------
    About 1 if the chains agree, and each half with the other; NaN for less than four samples.
    """
    halves = _halves(chains)
    n = halves.shape[1]
    if n < 2:
        return float("nan")
    within = halves.var(axis=1, ddof=1).mean()
    between = halves.mean(axis=1).var(ddof=1)
    return float(np.sqrt((n - 1) / n + between / within)) if within > 0 else float("nan")


def effective_samples(chains: NDArray[np.float64]) -> float:
    """Give the number of independent samples that would know the mean as well.

    Autocorrelations are summed over all chains in pairs, while the sums of pairs are positive and
    fall (Geyer 1992). The variance includes that between chains.

    Parameters
    ----------
    chains
        ``(nchain, n)``.

    Returns
    -------
    NaN for less than four samples.
    """
    halves = _halves(chains)
    m, n = halves.shape
    if n < 2:
        return float("nan")
    away = halves - halves.mean(axis=1, keepdims=True)
    size = 2 ** int(np.ceil(np.log2(2 * n)))
    spectrum = np.abs(np.fft.rfft(away, size, axis=1)) ** 2
    covariance = np.fft.irfft(spectrum, size, axis=1)[:, :n] / n
    within = covariance[:, 0].mean() * n / (n - 1)
    total = within * (n - 1) / n + halves.mean(axis=1).var(ddof=1)
    if not total > 0:
        return float("nan")
    rho = 1 - (within - covariance.mean(axis=0)) / total
    rho[0] = 1.0
    pairs = rho[: 2 * (n // 2)].reshape(-1, 2).sum(axis=1)
    ends = np.flatnonzero(pairs <= 0)
    pairs = np.minimum.accumulate(pairs[: ends[0]] if ends.size else pairs)
    time = max(2 * pairs.sum() - 1, 1 / np.log10(m * n))
    return float(m * n / time)


def _halves(chains: NDArray[np.float64]) -> NDArray[np.float64]:
    """Split each chain in two; the middle one of an odd number is left out."""
    half = chains.shape[1] // 2
    return np.concatenate([chains[:, :half], chains[:, chains.shape[1] - half :]])
