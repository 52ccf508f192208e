"""Solve for the wide holes before all holes.

The small holes of a map lie all over the sphere, so the transforms of all hole pixels are those of
nearly all rings. A band along the equator has a quarter of them. Small holes take a few iterations
with their blocks, wide ones take dozens. So most iterations are those of the wide holes alone, with
their own rings, while the small holes are filled by their blocks. The corrections of the outer loop
then treat all holes together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from skyfill.gaussian.loops import Course, Inner, Model, Precision
from skyfill.gaussian.vectors import Vector
from skyfill.harmonics.sphere import rings
from skyfill.progress import Progress

__all__ = ["Wide", "WideFirst", "fewer_rings"]

Map = NDArray[np.float64]
Pixels = NDArray[np.int64]

#: Share of all holes' rings that those of the wide holes may be: with more, an iteration costs
#: nearly as much, and the first correction takes more of them.
_FEWER = 0.7


def fewer_rings(
    nside: int, holes: Sequence[Pixels], wide: Sequence[Pixels], planes: Sequence[int]
) -> bool:
    """Tell whether the wide holes, of each field, lie on so few rings that they go first.

    Parameters
    ----------
    nside
        Nside of the maps.
    holes, wide
        For each field the pixels of its holes, and of its wide ones, RING.
    planes
        For each field the number of its components, as which its rings count.
    """
    first = np.asarray(rings(nside)["ringstart"]).astype(np.int64)
    every, mine = (
        sum(
            count * np.unique(np.searchsorted(first, pixels, side="right")).size
            for count, pixels in zip(planes, some, strict=True)
        )
        for some in (holes, wide)
    )
    return 0 < mine <= _FEWER * every


class Wide:
    """The problem of the wide holes alone, as `Inner` takes it.

    Parameters
    ----------
    inner
        Covariance between the pixels of the wide holes.
    precondition
        Applies an approximate inverse of the precision there.
    parts
        Slices of vectors of these pixels whose distances are measured apart.
    """

    def __init__(
        self,
        inner: Precision,
        precondition: Callable[[Vector], Vector],
        parts: Sequence[slice] = (slice(None),),
    ) -> None:
        self.inner, self.parts = inner, parts
        self._precondition = precondition

    def precondition(self, values: Vector) -> Vector:
        """Apply an approximate inverse of the precision."""
        return self._precondition(values)


class WideFirst(Inner):
    """Solve for the holes as `Inner` does, but the first time for the wide holes alone.

    Parameters
    ----------
    model
        The solver.
    wide, at
        The problem of the wide holes, and the index of their elements among those of all holes.
    blocks
        Solves for the small holes by their blocks, and gives zero elsewhere.
    progress, limit, course, patient, wary
        As of `loops.Inner`.
    """

    def __init__(
        self,
        model: Model,
        wide: Wide,
        at: Vector,
        blocks: Callable[[Vector], Vector],
        progress: Progress,
        limit: int,
        course: Course,
        *,
        patient: bool = False,
        wary: bool = False,
    ) -> None:
        super().__init__(model, progress, limit, course, patient=patient, wary=wary)
        self._first: tuple[Inner, Wide, Vector] | None = (
            Inner(wide, progress, limit, course, patient=patient, wary=wary),
            wide,
            at,
        )
        self._blocks, self._all = blocks, model

    def solve(
        self, right: Vector, start: Vector | None = None, *, allowed: float, relative: float = 0.0
    ) -> tuple[Vector, Map]:
        """Solve Q_hh x = right, see `Inner.solve`.

        The distance of the first solve is infinite: the wide and the small holes do not know of
        each other, and what that costs is known only from a correction.
        """
        if self._first is None or start is not None:
            return super().solve(right, start, allowed=allowed, relative=relative)
        (first, wide, at), self._first = self._first, None
        x = self._blocks(right)
        rest = right[at] - wide.inner.inverse_of(self._all.inner.wiener(x), x[at])
        x[at], _ = first.solve(rest, allowed=allowed, relative=relative)
        self.taken, self.left = first.taken, first.left
        self.rate, self.fewest = first.rate, first.fewest
        self._patient = self._wary = False
        return x, np.full(len(self._all.parts), np.inf)
