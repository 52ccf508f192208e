"""Say how well a fitted prior describes the spectrum of the observed sky."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from skyfill.brief import brief

__all__ = ["Quality"]

Map = NDArray[np.float64]

#: Rms of decorrelated pixels, away from one, that is doubted, and that is bad.
_OFF = (0.06, 0.2)
#: Share of the modes below which bins alone are no judge.
_BLIND = 0.5
#: Standard deviations beyond which patches differ too much for one beam and one noise.
_VARIES = 5.0
#: Least relative change of the beam's width: the shapes of pixels alone change it by 3%.
_UNEVEN = 0.05
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
    whitened
        Rms of the decorrelated pixels of small patches, one if the prior is right; None where the
        observed sky has no room for patches.
    known
        Share of the modes that tells something of its own; the others hold what leaked into them
        through the mask.
    varies
        By how many standard deviations patches differ from one another more than those of a
        uniform sky do (`Patches.variation`); None without patches.
    beams
        FWHM of beams that would make such patches, arcmin: a standard deviation below the fitted
        one, and above.
    """

    __repr__ = brief

    chi2: float
    freedom: int
    pte: float
    worst: tuple[tuple[int, int, float, float], ...]
    whitened: float | None = None
    known: float = 1.0
    varies: float | None = None
    beams: tuple[float, float] | None = None

    DOUBTFUL: ClassVar[float] = 1e-3
    """Probability below which a prior is doubted."""
    BAD: ClassVar[float] = 1e-9
    """Probability below which a prior does not describe the sky."""

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
        """``good``, ``doubtful`` or ``bad``: of bins and patches the worse."""
        away = 0.0 if self.whitened is None else abs(self.whitened - 1)
        if self.pte < self.BAD or away > _OFF[1]:
            return "bad"
        blind = self.whitened is None and self.known < _BLIND
        doubtful = blind or self.pte < self.DOUBTFUL or away > _OFF[0] or self.uneven
        return "doubtful" if doubtful else "good"

    @property
    def uneven(self) -> bool:
        """Whether patches differ too much for one beam and one noise on the whole sky.

        Only a prior that is right on average can tell.
        """
        if self.varies is None or self.beams is None or self.far(self.whitened):
            return False
        low, high = self.beams
        return self.varies > _VARIES and high - low > _UNEVEN * (high + low)

    def unevenness(self) -> str:
        """Say how much patches differ."""
        low, high = self.beams or (0.0, 0.0)
        return (
            f"patches of the sky differ by {self.varies:.1f} sigma, as beams from {low:.3g}' to"
            f" {high:.3g}' would make them"
        )

    @staticmethod
    def far(whitened: float | None) -> bool:
        """Tell whether the rms of decorrelated pixels is so far from one that it is doubted."""
        return whitened is not None and abs(whitened - 1) > _OFF[0]

    def __str__(self) -> str:
        """Say it in one sentence."""
        first, last, ratio, sigma = self.worst[0]
        patches = ""
        if self.whitened is not None:
            patches = f"; decorrelated pixels of patches have rms {self.whitened:.3f} (1 if right)"
        elif self.known < _BLIND:
            patches = f"; the mask leaves {self.known:.1%} of the modes to judge by, and no patches"
        uneven = f"; {self.unevenness()}" if self.uneven else ""
        return (
            f"{self.verdict}: chi2 {self.chi2:.1f} for {self.freedom} degrees of freedom (PTE"
            f" {self.pte:.2g}); worst at l = {first}-{last}, {ratio:.2f} times the expected power"
            f" ({sigma:+.1f} sigma){patches}{uneven}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Give what JSON can hold."""
        bins = [
            {"ell_min": low, "ell_max": high, "ratio": ratio, "sigma": sigma}
            for low, high, ratio, sigma in self.worst
        ]
        return {
            "verdict": self.verdict,
            "chi2": self.chi2,
            "freedom": self.freedom,
            "pte": self.pte,
            "whitened": self.whitened,
            "known": self.known,
            "varies": self.varies,
            "beams_arcmin": None if self.beams is None else list(self.beams),
            "worst": bins,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Quality:
        """Build it again from `as_dict`."""
        names = ("ell_min", "ell_max", "ratio", "sigma")
        worst = tuple(tuple(each[name] for name in names) for each in record["worst"])
        whitened, varies, beams = (
            record.get(name) for name in ("whitened", "varies", "beams_arcmin")
        )
        return cls(
            float(record["chi2"]),
            int(record["freedom"]),
            float(record["pte"]),
            worst,
            None if whitened is None else float(whitened),
            float(record.get("known", 1.0)),
            None if varies is None else float(varies),
            None if beams is None else (float(beams[0]), float(beams[1])),
        )
