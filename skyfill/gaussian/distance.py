"""Estimate the distance of conjugate gradients to the solution from the steps so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEWEST", "Path", "ahead_of"]

Map = NDArray[np.float64]

FEWEST = 3
"""Smallest number of iterations from which the remaining distance is estimated."""


class Path:
    """The steps of conjugate gradients so far, as their lengths and the angles between them.

    Steps that converge slowly have nearly one direction, so together they are far longer than their
    squares tell. Their angles follow from the scalars, in the norm of the preconditioner.
    """

    def __init__(self, parts: int) -> None:
        self.lengths: list[list[float]] = [[] for _ in range(parts)]
        self._rho: list[float] = []
        self._size: list[float] = []

    def add(self, lengths: Sequence[float], rho: float, size: float) -> None:
        """Add a step: its length in each part, r·z before it, and p·M p of its direction."""
        for mine, length in zip(self.lengths, lengths, strict=True):
            mine.append(length)
        self._rho.append(rho)
        self._size.append(size)

    def __len__(self) -> int:
        return len(self._rho)

    def ahead(self, rate: float = 0.0) -> Map:
        """Estimate the rms distance of each part to the solution, see `ahead_of`."""
        return np.array([ahead_of(steps, self._along, rate) for steps in self.lengths])

    def _along(self, steps: Map, here: slice) -> float:
        """Give the length of the sum of some steps."""
        rho, size = (np.array(each[here]) for each in (self._rho, self._size))
        # p_i · M p_j = p_i · M p_i ρ_j / ρ_i for i < j; ρ is 0 where a map is
        over = np.divide(np.sqrt(size), rho, out=np.zeros(rho.size), where=rho > 0)
        before = np.cumsum(steps * over)[:-1]
        after = np.divide(steps, over, out=np.zeros(rho.size), where=over > 0)[1:]
        return float(np.sqrt(steps @ steps + 2 * before @ after))


def ahead_of(
    moves: Sequence[float] | Map,
    along: Callable[[Map, slice], float] | None = None,
    rate: float = 0.0,
) -> float:
    """Estimate the remaining distance from the lengths of the steps so far.

    Let q be the length of the last third of the steps over that of the third before. If the steps
    keep shrinking by q, the remaining distance is q / (1 - q) times the last third. ``along`` adds
    steps up; without it they are added in quadrature, as if they were at right angles. Estimates
    from fewer steps would mistake a few short steps for convergence. ``rate`` is the factor by
    which a step is known to shrink the distance; they are not taken to shrink it faster.
    """
    third = -(-len(moves) // 3)
    if len(moves) < FEWEST:
        return np.inf
    steps = np.asarray(moves)
    last, earlier = (
        along(steps[here], here) if along else float(np.linalg.norm(steps[here]))
        for here in (slice(-third, None), slice(-2 * third, -third))
    )
    q = min(max(last / earlier if earlier else 0.0, rate**third), 0.95)
    return last * max(q, 0.1) / (1 - q)
