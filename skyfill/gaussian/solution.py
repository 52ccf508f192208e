"""The result of an exact solve, and its accuracy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skyfill.brief import brief

__all__ = ["LEAKAGE_BINS", "Certificate", "ConvergenceWarning", "JointSolution", "Solution"]

Map = NDArray[np.float64]

LEAKAGE_BINS = ((2, 8), (9, 49), (50, 150))
"""First and last multipoles of the bins of `Certificate.leakage`: the bump of reionization, that of
recombination, and what lies between."""


class ConvergenceWarning(UserWarning):
    """A fill has not converged, and was accepted."""


@dataclass(frozen=True)
class Certificate:
    """The accuracy of a fill.

    Attributes
    ----------
    iterations
        Total number of inner iterations.
    corrections
        Number of outer iterations.
    residual
        Rms of d + x - Σ y over that of d + x, without monopole and dipole if they are
        unconstrained; zero for the exact mean.
    distance
        Estimated rms distance of the fill to the exact mean, µK; infinite after too few iterations
        to tell.
    converged
        Whether the distance is within the tolerance, and the leakage small.
    leakage
        Of Q and U: for each of `LEAKAGE_BINS` that the map has, the power of B in what is still to
        come, over that of the prior's BB; over that of the noise where BB is zero.
    excess
        If the holes are filled from their surroundings (`skyfill.gaussian.local`): the estimated
        excess of the squared error over that of the exact mean. None for a solve on the sphere.
    """

    __repr__ = brief

    iterations: int
    corrections: int
    residual: float
    distance: float
    converged: bool
    leakage: tuple[float, ...] | None = None
    excess: float | None = None

    def __str__(self) -> str:
        """Summarise the accuracy."""
        if self.excess is not None:
            return (
                f"from the surroundings, some {self.distance:.2g} uK from the exact mean, with a "
                f"squared error {self.excess:.2%} larger"
            )
        text = f"{self.iterations} iterations, {self.corrections} corrections"
        if math.isfinite(self.residual):
            text += f", residual {self.residual:.1e}"
        if math.isfinite(self.distance):
            text += f", some {self.distance:.2g} uK from the exact mean"
        if self.leakage:
            text += f", B leakage {max(self.leakage):.1e}"
        return text if self.converged else f"{text}: NOT CONVERGED"


@dataclass(frozen=True)
class Solution:
    """The posterior mean of a masked map.

    Attributes
    ----------
    fill
        ``(nhole,)``, the posterior mean in the holes, µK, RING order.
    whitened
        ``(nalm,)``, Yᵀ y with y = Σ⁻¹ d on the observed pixels, up to the last multipole that is
        heard in the noise; S times it is the mean of the signal's alm. None unless asked for.
    certificate
        Accuracy of both.

    Both are arrays, or tensors if the map was one.
    """

    __repr__ = brief

    fill: Any
    whitened: Any
    certificate: Certificate


@dataclass(frozen=True)
class JointSolution:
    """The posterior mean of a masked map of several Stokes parameters.

    Attributes
    ----------
    fills
        For each field its mean in the holes, µK, RING order: of T, ``(nhole,)``; of P, Q and U,
        ``(2, nhole)``.
    certificates
        Accuracy, by field: ``T`` and ``P``, or ``P``. Iterations are those of the joint solve.
    """

    fills: tuple[Map, ...]
    certificates: dict[str, Certificate]

    @property
    def converged(self) -> bool:
        """Whether every field has converged."""
        return all(each.converged for each in self.certificates.values())
