"""Say how well a fitted prior describes the spectrum of the observed sky."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["Quality"]

Map = NDArray[np.float64]

#: Probability below which a model is doubted, and below which it does not describe the sky.
_DOUBTFUL = 1e-3
_BAD = 1e-9
#: Bins that are named.
_WORST = 3


@dataclass(frozen=True)
class Quality:
    """The misfit of a fitted prior.

    Attributes
    ----------
    chi2
        Twice the sum over bins of minus the logarithm of the Γ likelihood, relative to its peak.
    freedom
        Number of bins less the number of fitted parameters.
    pte
        Probability to exceed ``chi2`` with so many degrees of freedom.
    worst
        First and last multipole of the worst bins, observed over expected power, and how many
        standard deviations that is from one.
    """

    chi2: float
    freedom: int
    pte: float
    worst: tuple[tuple[int, int, float, float], ...]

    @classmethod
    def of(
        cls, data: Map, expected: Map, freedom: Map, edges: NDArray[np.int64], fitted: int
    ) -> Quality:
        """Compare bins with what is expected of them.

        Parameters
        ----------
        data, expected, freedom
            ``(nbin,)``: power, its expectation, degrees of freedom.
        edges
            ``(nbin + 1,)``.
        fitted
            Number of parameters.
        """
        ratio = data / expected
        misfit = freedom * (ratio - 1 - np.log(ratio))
        chi2, left = float(np.sum(misfit)), max(int(data.size) - fitted, 1)
        worst = tuple(
            (
                int(edges[i]),
                int(edges[i + 1]) - 1,
                round(float(ratio[i]), 3),
                round(float((ratio[i] - 1) * np.sqrt(freedom[i] / 2)), 1),
            )
            for i in np.argsort(-misfit)[:_WORST]
        )
        return cls(round(chi2, 1), left, float(stats.chi2.sf(chi2, left)), worst)

    @property
    def verdict(self) -> str:
        """``good``, ``doubtful`` or ``bad``."""
        if self.pte >= _DOUBTFUL:
            return "good"
        return "doubtful" if self.pte >= _BAD else "bad"

    def __str__(self) -> str:
        """Say it in one sentence."""
        first, last, ratio, sigma = self.worst[0]
        return (
            f"the fit is {self.verdict}: chi2 {self.chi2:.1f} for {self.freedom} degrees of"
            f" freedom; worst at l = {first}-{last}, {ratio:.2f} of what the model expects"
            f" ({sigma:+.1f} sigma)"
        )

    def as_dict(self) -> dict[str, Any]:
        """Give what JSON can hold."""
        return asdict(self) | {"verdict": self.verdict}
