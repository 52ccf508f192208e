"""What an exact fill is, and how exact."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Certificate", "ConvergenceWarning", "Solution"]

Map = NDArray[np.float64]


class ConvergenceWarning(UserWarning):
    """A fill that has not converged was accepted."""


@dataclass(frozen=True)
class Certificate:
    """How exact a fill is.

    Attributes
    ----------
    iterations
        Steps of the inner loop, all told.
    corrections
        Steps of the outer loop.
    residual
        Rms of d + x - Σ y over that of d + x, without monopole and dipole where the prior lets them
        be anything; zero for the exact mean.
    distance
        Estimated rms distance of the fill to the exact mean, µK; infinite after too few iterations
        to tell.
    converged
        Whether the distance is within the tolerance.
    """

    iterations: int
    corrections: int
    residual: float
    distance: float
    converged: bool

    def __str__(self) -> str:
        """Say it in a few words."""
        text = (
            f"{self.iterations} iterations, {self.corrections} corrections, residual "
            f"{self.residual:.1e}"
        )
        if math.isfinite(self.distance):
            text += f", some {self.distance:.2g} uK from the exact mean"
        return text if self.converged else f"{text}: NOT CONVERGED"


@dataclass(frozen=True)
class Solution:
    """The posterior mean of a masked map.

    Attributes
    ----------
    fill
        ``(nhole,)``: the posterior mean in the holes, RING order.
    whitened
        ``(nalm,)``: Yᵀ y with y = Σ⁻¹ d on the observed pixels; S times it is the mean of the
        signal's alm.
    certificate
        How exact they are.
    """

    fill: Map
    whitened: NDArray[np.complex128]
    certificate: Certificate
