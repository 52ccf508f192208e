"""Fill holes by diffusion: the incumbent, and what every better method must beat.

The rule that people copy between packages (pyilc's "diffusive inpainting" is one) sets each
missing pixel to the mean of its neighbours and repeats. Its fixed point is the discrete solution
of Laplace's equation with the observed pixels as boundary. Repeating creeps inwards by a pixel at
a time and needs of the order of n^2 rounds for a hole of n pixels across, so that a wide band is in
practice left wherever patience ends. Here the same equations are solved by multigrid, to a stated
accuracy, in a few rounds at any size.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.sparse import csc_array
from scipy.sparse.linalg import splu

from skyfill.diffuse.laplace import (
    add_known,
    coarsen,
    connect,
    first_children,
    flag_holes,
    inherit,
    prolong,
    relax,
    residual,
    restrict,
    square,
    to_ring,
)
from skyfill.healpix.arrays import pair_of
from skyfill.healpix.ranks import ranks
from skyfill.healpix.stokes import nside_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Slots = NDArray[np.int32]
    Counts = NDArray[np.int8]

__all__ = ["diffuse", "diffuse_holes"]

SWEEPS = 2
# A level with so few unknowns is the coarsest. It is solved by elimination, and so is one that has
# no coarser level because its holes are tiny, unless there are very many of them.
DIRECT = 20_000
SPARSE = 100_000
# Lists of so many pixels have a table of neighbours, of 32 bytes a pixel; longer ones have none.
TABLE = 2**25
# Pixels that are looked at together.
AT_ONCE = 2**22


def diffuse(
    values: ArrayLike, observed: ArrayLike, *, tol: float = 1e-3, max_iter: int = 50
) -> NDArray[np.float64]:
    """Fill the holes of a map with the mean of their neighbours, solved until converged.

    Parameters
    ----------
    values
        (npix,), any unit, RING; what unobserved pixels hold is never read.
    observed
        (npix,), True where observed.
    tol
        Stop when a multigrid cycle changes the hole pixels by less than this, rms, relative to the
        rms of the observed map about its mean. A cycle shrinks the error about three times, so
        that what is left is half of that.
    max_iter
        Cycles after which to stop in any case.

    Returns
    -------
    (npix,), RING: the observed pixels as they were, the holes filled.

    Raises
    ------
    ValueError
        If map and mask differ in size, nothing is observed, or an observed pixel is not finite.

    """
    sky, seen = pair_of(values, observed, taker="diffuse")
    filled = np.array(sky, dtype=np.float64)
    hole_fill = diffuse_holes(sky, seen, tol=tol, max_iter=max_iter)
    filled[~seen] = hole_fill
    return filled


def diffuse_holes(
    values: ArrayLike, observed: ArrayLike, *, tol: float = 1e-3, max_iter: int = 50
) -> NDArray[np.float64]:
    """Do as `diffuse`, without a copy of the map; give the holes alone, (nhole,) in RING order."""
    values, observed = pair_of(values, observed, taker="diffuse")
    nside = nside_of(values, "values")
    if not observed.any():
        raise ValueError("the mask leaves no pixel observed: there is nothing to diffuse from")
    rms, largest = _spread(values, observed)
    if not math.isfinite(largest):
        raise ValueError("an observed pixel is not finite: add it to the holes")
    if observed.all():
        return np.empty(0)
    levels, skies = _levels(nside, np.ascontiguousarray(values), observed)
    x = _solve(levels, skies, tol * rms + 1e-14 * largest, max_iter)
    out = np.empty_like(x)
    to_ring(nside, levels[0].pixels, *ranks(~observed), x, out)
    return out


def _spread(values: NDArray[Any], observed: NDArray[np.bool_]) -> tuple[float, float]:
    """Give the rms about the mean, and the largest modulus, of the observed pixels."""
    parts = [slice(i, i + AT_ONCE) for i in range(0, values.size, AT_ONCE)]
    number = total = largest = square = 0.0
    for part in parts:
        here = values[part][observed[part]]
        number += here.size
        total += float(here.sum(dtype=np.float64))
        largest = max(largest, float(np.abs(here).max(initial=0.0)))
        if not math.isfinite(total):
            return math.nan, math.inf
    for part in parts:
        here = values[part][observed[part]] - total / number
        square += float(np.vdot(here, here))
    return math.sqrt(square / number), largest


# --- multigrid --------------------------------------------------------------------------------


class _Level(NamedTuple):
    """The equations degree x - sum of unknown neighbours = known, at one resolution.

    Attributes
    ----------
    nside
        Resolution.
    pixels
        (n,), NESTED, sorted: the unknown pixels.
    bits, before
        Their `Ranks`.
    around
        (n, 8), where in the list a pixel's neighbours are; -1 for those that are known, -2 for one
        that does not exist. Of a long list (0, 8): they are looked for whenever they are needed.
    degree
        (n,), how many neighbours there are: 8, or 7 where three faces meet.
    known
        (n,), sum of the known neighbours.
    children
        (n,), where in the finer level's list the first of a pixel's four children is.

    """

    nside: int
    pixels: Slots
    bits: NDArray[np.uint64]
    before: Slots
    around: Slots
    degree: Counts
    known: Floats
    children: Slots

    def tables(self) -> Iterator[tuple[slice, Slots]]:
        """Give the neighbours of some pixels after the other: which, and ``around`` of them."""
        if len(self.around) or not self.pixels.size:
            yield slice(0, self.pixels.size), self.around
            return
        scratch = np.empty((min(AT_ONCE, self.pixels.size), 8), dtype=np.int32)
        for start in range(0, self.pixels.size, AT_ONCE):
            part = slice(start, min(start + AT_ONCE, self.pixels.size))
            table = scratch[: part.stop - start]
            connect(self.nside, self.pixels[part], self.bits, self.before, table)
            yield part, table


def _levels(
    nside: int, sky: NDArray[Any], observed: NDArray[np.bool_]
) -> tuple[list[_Level], list[Floats]]:
    """Set up the equations at each resolution, the finest first; and the skies of the coarser.

    A coarse pixel is unknown if its four children are, and else the mean of the known ones. Skies
    are NESTED, NaN where unknown; but the finest, which is RING.
    """
    levels: list[_Level] = []
    skies: list[Floats] = []
    flags = np.empty(sky.size, dtype=np.bool_)
    flag_holes(nside, observed, flags)
    children = np.empty(0, dtype=np.int32)
    while flags.any() and not (levels and levels[-1].pixels.size <= DIRECT):
        pixels = _listed(flags)
        bits, before = ranks(flags)
        around = np.empty((pixels.size if pixels.size <= TABLE else 0, 8), dtype=np.int32)
        degree, known = np.empty(pixels.size, dtype=np.int8), np.empty(pixels.size)
        ring = not levels
        connect(nside, pixels[: len(around)], bits, before, around)
        levels.append(_Level(nside, pixels, bits, before, around, degree, known, children))
        for part, table in levels[-1].tables():
            add_known(nside, pixels[part], table, sky, ring, degree[part], known[part])
        if not ring:
            skies.append(sky)
        if nside == 1:
            break
        coarse = np.empty(sky.size // 4)
        coarsen(nside, bits, sky, ring, coarse)
        sky = coarse
        nside //= 2
        flags = np.isnan(sky)
        children = np.empty(np.count_nonzero(flags), dtype=np.int32)
        first_children(_listed(flags), bits, before, children)
    return levels, skies


def _listed(flags: NDArray[np.bool_]) -> Slots:
    """List the True ones."""
    out = np.empty(np.count_nonzero(flags), dtype=np.int32)
    at = 0
    for start in range(0, flags.size, AT_ONCE):
        here = np.flatnonzero(flags[start : start + AT_ONCE])
        out[at : at + here.size] = here + start
        at += here.size
    return out


def _solve(levels: list[_Level], skies: list[Floats], enough: float, max_iter: int) -> Floats:
    """Solve from the coarsest level to the finest, each starting from the one before.

    Skies are let go as soon as they are not needed.
    """
    x = np.zeros(levels[-1].pixels.size)
    bottom = _direct(levels[-1])
    for depth in range(len(levels) - 1, -1, -1):
        level = levels[depth]
        if depth + 1 < len(levels):
            coarse, sky = levels[depth + 1], skies.pop()
            sky[coarse.pixels] = x
            x = np.empty(level.pixels.size)
            inherit(level.pixels, sky, x)
            del sky
        for _ in range(max_iter if depth == 0 else 1):
            before = x
            x = _cycle(levels, depth, x, level.known, bottom)
            square(x, before)
            if math.sqrt(_mean(before)) <= enough:
                break
    return x


def _mean(x: Floats) -> float:
    """Give the mean; apart from the loops because numpy sums pairwise."""
    return float(np.mean(x))


def _direct(level: _Level) -> Callable[[Floats], Floats]:
    """Factorize the equations of the coarsest level; return the function that solves them."""
    n = level.pixels.size
    if n > SPARSE:  # as if the answer were zero: leave tiny holes to the sweeps
        return np.zeros_like
    around = level.around
    row, which = np.nonzero(around >= 0)
    diagonal = np.arange(n)
    entries = np.concatenate([level.degree.astype(np.float64), np.full(row.size, -1.0)])
    rows = np.concatenate([diagonal, row])
    columns = np.concatenate([diagonal, around[row, which]])
    solve: Callable[[Floats], Floats] = splu(csc_array((entries, (rows, columns)))).solve
    return solve


def _cycle(
    levels: list[_Level],
    depth: int,
    x: Floats,
    rhs: Floats,
    bottom: Callable[[Floats], Floats],
) -> Floats:
    """Improve x by one W cycle: smooth, correct from the coarser level (twice), smooth."""
    level = levels[depth]
    x, spare = x.copy(), np.empty_like(x)
    for _ in range(SWEEPS):
        x, spare = _apply(relax, level, rhs, x, spare), x
    _apply(residual, level, rhs, x, spare)
    if depth + 1 == len(levels):
        return x + bottom(spare)
    coarse = levels[depth + 1]
    missing = np.empty(coarse.pixels.size)
    restrict(coarse.children, spare, missing)
    correction = np.zeros_like(missing)
    for _ in range(2):
        correction = _cycle(levels, depth + 1, correction, missing, bottom)
    for part, around in coarse.tables():
        prolong(around, part.start, coarse.children[part], correction, x)
    for _ in range(SWEEPS):
        x, spare = _apply(relax, level, rhs, x, spare), x
    return x


def _apply(loop: Callable[..., None], level: _Level, rhs: Floats, x: Floats, out: Floats) -> Floats:
    """Run `relax` or `residual` over all pixels."""
    for part, around in level.tables():
        loop(around, part.start, level.degree[part], rhs[part], x, out[part])
    return out
