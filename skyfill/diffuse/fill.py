"""Fill holes by diffusion, the common simple method.

The usual algorithm (for example pyilc's "diffusive inpainting") sets each missing pixel to the mean
of its neighbours and repeats. Its fixed point is the discrete solution of Laplace's equation with
the observed pixels as boundary. The iteration needs about n^2 rounds for a hole that is n pixels
wide, so in practice it does not converge in a wide band. Here the same equations are solved by
multigrid, to a given accuracy, in a few cycles for any size.
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

__all__ = ["diffuse", "diffuse_bytes", "diffuse_holes"]

SWEEPS = 2
# A level with at most this many unknowns is the coarsest and is solved by elimination. So is a
# level whose holes are too small for a coarser one, unless there are very many of them.
DIRECT = 20_000
SPARSE = 100_000
# Lists of up to this many pixels have a table of neighbours, 32 bytes a pixel; longer lists do not.
TABLE = 2**25
# Number of pixels processed at a time.
AT_ONCE = 2**22
#: Bytes for each pixel of the map, measured (docs/measured.md, "Memory").
_PIXEL = 12.0
#: The same for each hole pixel.
_HOLE = 58.0
#: The same for each pixel in a table of neighbours.
_TABLED = 32.0


def diffuse(
    values: ArrayLike, observed: ArrayLike, *, tol: float = 1e-3, max_iter: int = 50
) -> NDArray[np.float64]:
    """Fill the holes of a map with the mean of their neighbours, solved until converged.

    Parameters
    ----------
    values
        ``(npix,)``, any unit, RING; unobserved pixels are never read.
    observed
        ``(npix,)``, True where observed.
    tol
        Stop when a multigrid cycle changes the hole pixels by less than this, rms, relative to the
        rms of the observed map about its mean. A cycle reduces the error by a factor of about
        three, so the remaining error is about half of the last change.
    max_iter
        Largest number of cycles.

    Returns
    -------
    ``(npix,)``, RING: the map with its holes filled and the observed pixels unchanged.

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
    """Fill as `diffuse`, without copying the map; give only the holes, ``(nhole,)``, RING."""
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


def diffuse_bytes(nside: int, holes: int) -> float:
    """Estimate the peak memory of `diffuse_holes`, bytes, without the program itself.

    Parameters
    ----------
    nside
        Resolution.
    holes
        Number of pixels in all holes.
    """
    hole = _HOLE + (_TABLED if holes <= TABLE else 0.0)
    return _PIXEL * 12 * nside**2 + hole * holes


# --- multigrid --------------------------------------------------------------------------------


class _Level(NamedTuple):
    """The equations degree x - sum of unknown neighbours = known, at one resolution.

    Attributes
    ----------
    nside
        Resolution.
    pixels
        ``(n,)``, NESTED, sorted: the unknown pixels.
    bits, before
        Their `Ranks`.
    around
        ``(n, 8)``, positions of a pixel's neighbours in the list; -1 for known neighbours, -2 for
        one that does not exist. For a long list (0, 8): neighbours are then found when needed.
    degree
        ``(n,)``, number of neighbours: 8, or 7 where three faces meet.
    known
        ``(n,)``, sum of the known neighbours.
    children
        ``(n,)``, position of a pixel's first child, of four, in the finer level's list.

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
        """Yield the neighbours of all pixels in parts: slice of pixels, and their ``around``."""
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
    """Set up the equations at each resolution, the finest first, and the skies of coarser levels.

    A coarse pixel is unknown if its four children are; otherwise it is the mean of the known ones.
    Skies are NESTED with NaN where unknown, except the finest, which is RING.
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
    """List the true pixels."""
    out = np.empty(np.count_nonzero(flags), dtype=np.int32)
    at = 0
    for start in range(0, flags.size, AT_ONCE):
        here = np.flatnonzero(flags[start : start + AT_ONCE])
        out[at : at + here.size] = here + start
        at += here.size
    return out


def _solve(levels: list[_Level], skies: list[Floats], enough: float, max_iter: int) -> Floats:
    """Solve from the coarsest level to the finest, each starting from the coarser solution.

    Skies are freed as soon as they are not needed.
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
    """Give the mean, outside of the compiled loops because numpy sums pairwise."""
    return float(np.mean(x))


def _direct(level: _Level) -> Callable[[Floats], Floats]:
    """Factorize the equations of the coarsest level; return the function that solves them."""
    n = level.pixels.size
    if n > SPARSE:  # return zero: the sweeps alone solve tiny holes
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
