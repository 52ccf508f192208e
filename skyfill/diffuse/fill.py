"""Fill holes by diffusion, the common simple method.

The usual algorithm (for example pyilc's "diffusive inpainting") sets each missing pixel to the mean
of its neighbours and repeats. Its fixed point is the discrete solution of Laplace's equation with
the observed pixels as boundary. The iteration needs about n^2 rounds for a hole that is n pixels
wide, so in practice it does not converge in a wide band. Here the same equations are solved by
multigrid, to a given accuracy, in a few cycles for any size.

Q and U are filled as P = Q + iU, with each neighbour turned into the axes of the pixel that is
filled (`skyfill.diffuse.transport`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.sparse import csc_array
from scipy.sparse.linalg import splu

from skyfill.diffuse.laplace import (
    TEMPERATURE,
    Field,
    connect,
    first_children,
    flag_holes,
    to_ring,
)
from skyfill.diffuse.transport import POLARIZATION, place
from skyfill.healpix.arrays import pair_of
from skyfill.healpix.ranks import ranks
from skyfill.healpix.stokes import nside_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    #: Values of a field: float64 of T, complex128 of P = Q + iU.
    Numbers = NDArray[Any]
    Slots = NDArray[np.int32]
    Counts = NDArray[np.int8]

__all__ = ["diffuse", "diffuse_bytes", "diffuse_holes", "diffuse_polarization"]

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
#: Bytes of Q and U for each pixel of the map: complex, with the copy of the input.
_PIXEL_POL = 44.0
#: The same for each hole pixel, with its direction.
_HOLE_POL = 130.0


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
    nside_of(values, "values")
    if not observed.any():
        raise ValueError("the mask leaves no pixel observed: there is nothing to diffuse from")
    rms, largest = _spread(values, observed)
    if not math.isfinite(largest):
        raise ValueError("an observed pixel is not finite: add it to the holes")
    if observed.all():
        return np.empty(0)
    return _filled(TEMPERATURE, values, observed, tol * rms + 1e-14 * largest, max_iter)


def diffuse_polarization(
    values: ArrayLike, observed: ArrayLike, *, tol: float = 1e-3, max_iter: int = 50
) -> NDArray[np.float64]:
    """Fill the holes of Q and U with the mean of their neighbours, each turned into the same axes.

    Neighbours are carried along great circles to the pixel that is filled, so that the fill does
    not depend on where the poles are. The fill is neither a posterior mean nor free of B modes.

    Parameters
    ----------
    values
        ``(2, npix)``, Q and U, any unit, RING, U of either sign; unobserved pixels are never read.
    observed
        ``(npix,)``, True where observed.
    tol
        As for `diffuse`, relative to the rms of P over the observed sky.
    max_iter
        Largest number of cycles.

    Returns
    -------
    ``(2, nhole)``: Q and U in the holes, RING order.

    Raises
    ------
    ValueError
        As for `diffuse`, or there are not two maps.
    """
    skies = np.asarray(values)
    if skies.ndim != 2 or len(skies) != 2:
        raise ValueError(f"values must be (2, npix), Q and U, got {skies.shape}")
    seen = np.ones(0, dtype=np.bool_)
    p = np.empty(skies.shape[1], dtype=np.complex128)
    for sky, part in zip(skies, (p.real, p.imag), strict=True):
        part[:], seen = pair_of(sky, observed, taker="diffuse")
    nside_of(p, "values")
    if not seen.any():
        raise ValueError("the mask leaves no pixel observed: there is nothing to diffuse from")
    power = [np.square(np.abs(p[i : i + AT_ONCE][seen[i : i + AT_ONCE]])) for i in _starts(p)]
    largest = math.sqrt(max(float(each.max(initial=0.0)) for each in power))
    rms = math.sqrt(sum(float(each.sum()) for each in power) / np.count_nonzero(seen))
    if not math.isfinite(rms):
        raise ValueError("an observed pixel is not finite: add it to the holes")
    if seen.all():
        return np.empty((2, 0))
    found = _filled(POLARIZATION, p, seen, tol * rms + 1e-14 * largest, max_iter)
    return np.stack([found.real, found.imag])


def _starts(sky: NDArray[Any]) -> range:
    """Give where each part of a map starts."""
    return range(0, sky.size, AT_ONCE)


def _filled(
    field: Field, sky: NDArray[Any], observed: NDArray[np.bool_], enough: float, max_iter: int
) -> Numbers:
    """Fill the holes of one field, ``(nhole,)``, RING."""
    nside = nside_of(observed, "observed")
    levels, skies = _levels(field, nside, np.ascontiguousarray(sky), observed)
    x = _solve(field, levels, skies, enough, max_iter)
    out = np.empty_like(x)
    to_ring(nside, levels[0].pixels, *ranks(~observed), x, out)
    return out


def _spread(values: NDArray[Any], observed: NDArray[np.bool_]) -> tuple[float, float]:
    """Give the rms about the mean, and the largest modulus, of the observed pixels."""
    parts = [slice(i, i + AT_ONCE) for i in _starts(values)]
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


def diffuse_bytes(nside: int, holes: int, *, polarized: bool = False) -> float:
    """Estimate the peak memory of `diffuse_holes`, bytes, without the program itself.

    Parameters
    ----------
    nside
        Resolution.
    holes
        Number of pixels in all holes.
    polarized
        Whether Q and U are filled, by `diffuse_polarization`.
    """
    if polarized:
        return _PIXEL_POL * 12 * nside**2 + (_HOLE_POL + (_TABLED * (holes <= TABLE))) * holes
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
    axes
        The directions of the pixels, ``(n, 3)``, if the field has axes; else nothing.

    """

    nside: int
    pixels: Slots
    bits: NDArray[np.uint64]
    before: Slots
    around: Slots
    degree: Counts
    known: Numbers
    children: Slots
    axes: tuple[Floats, ...]

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
    field: Field, nside: int, sky: NDArray[Any], observed: NDArray[np.bool_]
) -> tuple[list[_Level], list[Numbers]]:
    """Set up the equations at each resolution, the finest first, and the skies of coarser levels.

    A coarse pixel is unknown if its four children are; otherwise it is the mean of the known ones.
    Skies are NESTED with NaN where unknown, except the finest, which is RING.
    """
    levels: list[_Level] = []
    skies: list[Numbers] = []
    flags = np.empty(sky.size, dtype=np.bool_)
    flag_holes(nside, observed, flags)
    children = np.empty(0, dtype=np.int32)
    while flags.any() and not (levels and levels[-1].pixels.size <= DIRECT):
        pixels = _listed(flags)
        bits, before = ranks(flags)
        around = np.empty((pixels.size if pixels.size <= TABLE else 0, 8), dtype=np.int32)
        degree, known = np.empty(pixels.size, dtype=np.int8), np.empty(pixels.size, field.dtype)
        axes = (place(nside, pixels),) if field.turned else ()
        ring = not levels
        connect(nside, pixels[: len(around)], bits, before, around)
        levels.append(_Level(nside, pixels, bits, before, around, degree, known, children, axes))
        for part, table in levels[-1].tables():
            field.add_known(nside, pixels[part], table, sky, ring, degree[part], known[part])
        if not ring:
            skies.append(sky)
        if nside == 1:
            break
        coarse = np.empty(sky.size // 4, field.dtype)
        field.coarsen(nside, bits, sky, ring, coarse)
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


def _solve(
    field: Field, levels: list[_Level], skies: list[Numbers], enough: float, max_iter: int
) -> Numbers:
    """Solve from the coarsest level to the finest, each starting from the coarser solution.

    Skies are freed as soon as they are not needed.
    """
    x = np.zeros(levels[-1].pixels.size, field.dtype)
    bottom = _direct(field, levels[-1])
    for depth in range(len(levels) - 1, -1, -1):
        level = levels[depth]
        if depth + 1 < len(levels):
            coarse, sky = levels[depth + 1], skies.pop()
            sky[coarse.pixels] = x
            x = np.empty(level.pixels.size, field.dtype)
            field.inherit(level.pixels, *level.axes, sky, x)
            del sky
        for _ in range(max_iter if depth == 0 else 1):
            before = x
            x = _cycle(field, levels, depth, x, level.known, bottom)
            field.square(x, before)
            if math.sqrt(_mean(before.real)) <= enough:
                break
    return x


def _mean(x: Floats) -> float:
    """Give the mean, outside of the compiled loops because numpy sums pairwise."""
    return float(np.mean(x))


def _direct(field: Field, level: _Level) -> Callable[[Numbers], Numbers]:
    """Factorize the equations of the coarsest level; return the function that solves them."""
    n = level.pixels.size
    if n > SPARSE:  # return zero: the sweeps alone solve tiny holes
        return np.zeros_like
    around = level.around
    row, which = np.nonzero(around >= 0)
    diagonal = np.arange(n)
    links = np.empty(around.shape, field.dtype)
    field.links(around, *level.axes, links)
    entries = np.concatenate([level.degree.astype(field.dtype), links[row, which]])
    rows = np.concatenate([diagonal, row])
    columns = np.concatenate([diagonal, around[row, which]])
    solve: Callable[[Numbers], Numbers] = splu(csc_array((entries, (rows, columns)))).solve
    return solve


def _cycle(
    field: Field,
    levels: list[_Level],
    depth: int,
    x: Numbers,
    rhs: Numbers,
    bottom: Callable[[Numbers], Numbers],
) -> Numbers:
    """Improve x by one W cycle: smooth, correct from the coarser level (twice), smooth."""
    level = levels[depth]
    x, spare = x.copy(), np.empty_like(x)
    for _ in range(SWEEPS):
        x, spare = _apply(field.relax, level, rhs, x, spare), x
    _apply(field.residual, level, rhs, x, spare)
    if depth + 1 == len(levels):
        return x + bottom(spare)
    coarse = levels[depth + 1]
    missing = np.empty(coarse.pixels.size, field.dtype)
    field.restrict(coarse.children, *coarse.axes, *level.axes, spare, missing)
    correction = np.zeros_like(missing)
    for _ in range(2):
        correction = _cycle(field, levels, depth + 1, correction, missing, bottom)
    for part, around in coarse.tables():
        first, children = part.start, coarse.children[part]
        field.prolong(around, *coarse.axes, *level.axes, first, children, correction, x)
    for _ in range(SWEEPS):
        x, spare = _apply(field.relax, level, rhs, x, spare), x
    return x


def _apply(
    loop: Callable[..., None], level: _Level, rhs: Numbers, x: Numbers, out: Numbers
) -> Numbers:
    """Run `relax` or `residual` over all pixels."""
    for part, around in level.tables():
        loop(around, *level.axes, part.start, level.degree[part], rhs[part], x, out[part])
    return out
