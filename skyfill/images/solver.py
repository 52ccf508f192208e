"""Solve the holes of an image one by one, each in the way that suits the sky around it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from skyfill.brief import brief
from skyfill.gaussian.cholesky import Each, for_each
from skyfill.harmonics import correlation
from skyfill.healpix.checks import check_whole
from skyfill.images.context import Reach
from skyfill.images.grid import Grid
from skyfill.images.kriging import Kriging
from skyfill.images.model import Model, judge
from skyfill.images.noise import Noise
from skyfill.images.regions import Regions
from skyfill.images.tile import Table, Tile, TileShape
from skyfill.maps.units import unit_in_uk
from skyfill.prior import ARCMIN
from skyfill.progress import Progress

__all__ = ["Filled", "Solver"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]
Pixels = NDArray[np.int64]

#: Limit for the energy of the error of y: the mean is then within 0.02 of its standard deviation.
_TOLERANCE = 0.03
#: Least pixels between a hole and the end of its tile. Three times as many change the mean by 0.02
#: of its standard deviation; with 16 the mean is off by 0.02 to 0.06 (pixels of 0.5 arcmin, a beam
#: of 1.4 arcmin, 10 uK.arcmin).
_CONTEXT = 24
#: The same in half wavelengths of the smallest scale at which the signal is above the noise: what
#: 24 pixels are in that image.
_WAVES = 3.7
#: Power of the signal over that of the noise below which it is left out.
_NEGLIGIBLE = 1e-3
#: Share of the hole's size by which that width grows.
_MORE = 0.125
#: Most pixels between a hole and the end of its tile.
_MOST_CONTEXT = 96
#: Factor of the width for the wider tiles that certify a fill.
_WIDER = 1.5
#: Limit for the covariance of one tile, bytes: holes some 380 pixels across.
_MEMORY = 8e8
#: Most pixels of a hole that is solved densely: 0.5 GB, half a minute.
_DENSE = 6000
#: Context of dense means, which are within 0.05 of their standard deviation of the exact ones.
_REACH = Reach(8, 4, 4, 0)
#: Context of standard deviations, which are within 0.3% of the exact ones.
_REACH_OF_STD = Reach(4, 4, 4, 0)
#: Largest relative error of the distances in a tile that counts as a band of parallels, or as flat:
#: it changes the mean by 0.03 of its standard deviation, less than a dense solve does.
_FLAT = 0.01
#: Variance of the offset of the image in dense solves, over 1 / 4π, µK²: 900 µK.
_OFFSET = 1e7
#: Right-hand sides of one solve: more take memory and are no faster.
_AT_ONCE = 8


@dataclass(frozen=True, eq=False)
class Filled:
    """The holes of an image, filled.

    Attributes
    ----------
    pixels
        ``(n, 2)``: rows and columns of the pixels that were filled.
    mean
        ``(n,)``, µK: the posterior mean.
    draws
        ``(count, n)``, µK: realizations, with noise.
    std
        ``(n,)``, µK: the standard deviation of a realization, with noise; None if it was not asked
        for.
    outside
        ``(ny, nx)``: unobserved pixels that stay as they are.
    border
        Number of regions that these form.
    holes
        Number of groups of holes, each solved by itself.
    dense
        How many of them were solved densely.
    whitened
        Rms of the decorrelated observed pixels around the holes; 1 if the model is right.
    distance
        Rms distance, µK, of the means of the largest and the smallest hole to those with wider
        context.
    iterations
        Mean number of iterations of a solve by tile.
    """

    __repr__ = brief

    pixels: Pixels = field(repr=False)
    mean: Map = field(repr=False)
    draws: Map = field(repr=False)
    std: Map | None = field(repr=False)
    outside: Mask = field(repr=False)
    border: int
    holes: int
    dense: int
    whitened: float
    distance: float
    iterations: float

    def paint(
        self, image: NDArray[np.floating], values: Map, *, unit: str = "uK"
    ) -> NDArray[np.floating]:
        """Give a copy of an image, of its dtype, with values in the holes, ``(n,)`` in µK."""
        out = image.copy()
        out[self.pixels[:, 0], self.pixels[:, 1]] = values / unit_in_uk(unit)
        return out


@dataclass
class _One:
    """What was found for a hole."""

    mean: Map
    draws: Map
    misfit: float = 0.0
    points: int = 0
    iterations: int | None = None


class Solver:
    """Solves the holes of one image.

    Parameters
    ----------
    grid
        Where the pixels are.
    model, noise
        What is assumed of signal and noise.
    image
        ``(ny, nx)``, µK.
    observed
        ``(ny, nx)``, True where observed.
    regions
        The holes.
    seed
        Of the random numbers.
    count
        Number of realizations.
    """

    def __init__(
        self,
        grid: Grid,
        model: Model,
        noise: Noise,
        image: NDArray[np.floating],
        observed: Mask,
        regions: Regions,
        seed: int,
        count: int,
    ) -> None:
        self._grid, self._noise, self._image = grid, noise, image
        self._observed, self._regions = observed, regions
        self._seed, self._count = check_whole(seed, "seed"), check_whole(count, "n")
        self._cl = model.signal_cl
        self._table = Table(np.zeros(0), 1.0)
        pixels = regions.pixels
        some = pixels[:: max(len(pixels) // 1000, 1)]
        level = noise.of_pixels(some) * grid.areas(some[:, 0], some[:, 1])
        self._finest = math.pi / self._last_above(float(np.median(level)))
        self._lmax = self._last_above(_NEGLIGIBLE * float(level.min()))

    def _last_above(self, level: float) -> int:
        """Give the last multipole at which the signal is above a level, 2 or more."""
        above = np.flatnonzero(self._cl > level)
        return max(int(above[-1]), 2) if above.size else 2

    def run(self, *, std: bool, trust: bool, threads: int, listener: Progress) -> Filled:
        """Solve every hole."""
        holes = self._regions.holes
        shapes = [self._place(hole) for hole in holes]
        flat = [k for k, shape in enumerate(shapes) if shape is not None]
        others = [k for k, shape in enumerate(shapes) if shape is None]
        self._check(others if not std else range(len(holes)))
        listener.stage("fill", len(holes))
        found: dict[int, _One] = {}

        def make(number: int, _: Each) -> None:
            k = flat[number]
            box, shape = _known(shapes[k])
            found[k] = self._by_tile(k, box, shape)
            listener.advance()

        self._tabulate([_known(shapes[k])[1] for k in flat])
        for_each(self._rows([_known(shapes[k])[1] for k in flat]), make, threads=threads)
        if others:
            self._densely(others, _REACH, found, threads, listener)
        ones = [found[k] for k in range(len(holes))]
        whitened = math.sqrt(sum(x.misfit for x in ones) / max(sum(x.points for x in ones), 1))
        listener.done(f"{len(holes)} groups of holes, decorrelated pixels have rms {whitened:.3f}")
        judge(whitened, trust=trust)
        listener.stage("certify")
        distance = self._distance(flat, found)
        listener.done(f"some {distance:.2g} uK from the exact mean")
        deviations = self._std(threads, listener) if std else None
        steps = [one.iterations for one in ones if one.iterations is not None]
        return Filled(
            pixels=self._regions.pixels,
            mean=np.concatenate([one.mean for one in ones]),
            draws=np.concatenate([one.draws for one in ones], axis=1),
            std=deviations,
            outside=self._regions.outside,
            border=self._regions.border,
            holes=len(holes),
            dense=len(others),
            whitened=whitened,
            distance=distance,
            iterations=float(np.mean(steps)) if steps else 0.0,
        )

    def _place(
        self, hole: Pixels, factor: float = 1.0
    ) -> tuple[tuple[slice, slice], TileShape] | None:
        """Find the tile of a hole; None if it is neither a band of parallels nor flat."""
        middle = np.rint(hole.mean(axis=0)).astype(np.int64)
        self._grid.stretch(*middle)  # raises too near a pole
        (height,), (width,) = self._grid.sides(middle[:1], middle[1:])
        side = max(height, width)
        size = np.ptp(hole, axis=0) * [height, width]
        reach = max(_CONTEXT * side, _WAVES * self._finest) + _MORE * float(size.max())
        reach = factor * min(reach, _MOST_CONTEXT * side)
        margin = np.ceil(reach / np.array([height, width])).astype(np.int64)
        low = np.maximum(hole.min(axis=0) - margin, 0)
        high = np.minimum(hole.max(axis=0) + margin + 1, self._image.shape)
        rows, columns = (int(x) for x in high - low)
        if 8.0 * rows**2 * (columns + 1) > _MEMORY:
            raise ValueError(
                f"a hole of {len(hole)} pixels, around row {middle[0]}, column {middle[1]}, needs a"
                f" tile of {columns} x {rows} pixels, which is too wide for an image; fill wide"
                " bands and large areas on HEALPix: reproject.reproject_to_healpix image and mask,"
                " and skyfill inpaint those"
            )
        shape = self._shape(low, rows, columns)
        return None if shape is None else ((slice(low[0], high[0]), slice(low[1], high[1])), shape)

    def _shape(self, low: Pixels, rows: int, columns: int) -> TileShape | None:
        """Describe a tile as a band of parallels, or as flat, where that is right."""
        row = low[0] + np.arange(rows)
        middle = np.full(rows, low[1] + (columns - 1) / 2)
        along = self._grid.directions(row, middle)
        if not np.isfinite(along).all():
            return None
        centre = np.array([low[0] + (rows - 1) / 2]), middle[:1]
        latitudes = np.arcsin(np.clip(along[2], -1, 1))
        (height,), (width,) = self._grid.sides(*centre)
        step = width / math.cos(math.asin(float(self._grid.directions(*centre)[2, 0])))
        flat = height * (np.arange(rows) - (rows - 1) / 2)
        both = TileShape(latitudes, step, columns), TileShape(flat, width, columns)
        errors = [self._error(shape, low) for shape in both]
        best = int(np.argmin(errors))
        return both[best] if errors[best] < _FLAT else None

    def _error(self, shape: TileShape, low: Pixels) -> float:
        """Give the largest relative error of distances between places of a tile."""
        rows = np.unique(np.linspace(0, shape.latitudes.size - 1, 4).astype(np.int64))
        columns = np.unique(np.linspace(0, shape.columns - 1, 4).astype(np.int64))
        row, column = (x.ravel() for x in np.meshgrid(rows, columns))
        true = self._grid.directions(low[0] + row, low[1] + column)
        latitude, longitude = shape.latitudes[row], shape.step * column
        cosine = np.cos(latitude)
        mine = np.stack([cosine * np.cos(longitude), cosine * np.sin(longitude), np.sin(latitude)])
        if not np.isfinite(true).all():
            return math.inf
        both = [np.linalg.norm(x[:, :, None] - x[:, None, :], axis=0) for x in (mine, true)]
        apart = both[1] > 0
        return float(np.max(np.abs(both[0][apart] / both[1][apart] - 1)))

    def _check(self, dense: range | list[int]) -> None:
        """Refuse holes that are too large for a dense solve."""
        for k in dense:
            hole = self._regions.holes[k]
            if len(hole) > _DENSE:
                row, column = np.rint(hole.mean(axis=0)).astype(int)
                raise ValueError(
                    f"a hole of {len(hole)} pixels, around row {row}, column {column}, is too large"
                    f" for a dense solve (at most {_DENSE}), which `std` and projections whose rows"
                    " are not parallels need; drop `std`, or fill it on HEALPix"
                    " (reproject.reproject_to_healpix)"
                )

    def _tabulate(self, shapes: list[TileShape]) -> None:
        """Tabulate the covariance for the distances within tiles."""
        if not shapes:
            return
        step = min(min(shape.sides) for shape in shapes) / 8
        step = max(step, max(max(shape.sides) for shape in shapes) / 32)
        chord = max(shape.reach for shape in shapes)
        chord = min(_WIDER * chord, 2.0)
        half = np.minimum((np.arange(math.ceil(chord / step) + 4) - 1) * step / 2, 1.0)
        self._table = Table(correlation(self._cl, 1 - 2 * half * half), step)

    def _rows(self, shapes: list[TileShape]) -> NDArray[np.int64]:
        """Give the sides of squares with as many numbers as the tiles hold."""
        numbers = [3.0 * shape.latitudes.size**2 * shape.columns for shape in shapes]
        return np.asarray(np.sqrt(numbers), dtype=np.int64) + 1

    def _tile(self, box: tuple[slice, slice], shape: TileShape) -> tuple[Tile, Mask, Map, float]:
        """Set up a tile: its equations, observed pixels, data without their mean, and the mean."""
        seen = self._observed[box]
        data = np.where(seen, self._image[box], 0.0).astype(np.float64)
        offset = float(data.sum() / seen.sum())
        data = np.where(seen, data - offset, 0.0)
        if self._noise.variance is None:
            variance = np.broadcast_to(
                (self._noise.uk_arcmin * ARCMIN) ** 2 / shape.areas, seen.shape
            )
        else:
            variance = np.nan_to_num(self._noise.variance[box], nan=1.0)
        return (
            Tile(shape, self._cl, self._table, variance, seen, lmax=self._lmax),
            seen,
            data,
            offset,
        )

    def _by_tile(self, k: int, box: tuple[slice, slice], shape: TileShape) -> _One:
        """Solve a hole by conjugate gradients within its tile."""
        tile, seen, data, offset = self._tile(box, shape)
        hole = self._regions.holes[k] - [box[0].start, box[1].start]
        at = hole[:, 1], hole[:, 0]  # arrays of a tile have columns first
        scale = math.sqrt(float(np.sum(data**2)) / int(seen.sum())) or 1.0
        pending = [data.T, np.full(data.T.shape, scale)]
        later: list[tuple[Map, Map]] = []
        draws = np.empty((self._count, len(hole)))
        mean, unit, total, done = np.zeros(0), np.zeros(0), 0.0, 0
        misfit, iterations = 0.0, 0
        index = 0
        while True:
            while index < self._count and len(pending) < _AT_ONCE:
                rng = np.random.default_rng([self._seed, index, k])
                signal, noise = tile.simulate(rng)
                pending.append(data.T - signal - noise)
                later.append((signal[at], noise[at]))
                index += 1
            rhs = np.stack(pending, axis=-1)
            y, steps = tile.solve(rhs, _TOLERANCE)
            iterations = max(iterations, steps)
            part, sums = tile.signal(y)[at], y.sum(axis=(0, 1))
            first = 0
            if not mean.size:
                unit, total, first = part[:, 1] / scale, sums[1] / scale, 2
                shift = sums[0] / total
                mean = part[:, 0] - shift * unit + shift
                misfit = float(np.sum(rhs[..., 0] * y[..., 0]) - shift * sums[0])
            for column, (signal, noise) in enumerate(later, first):
                shift = sums[column] / total
                draws[done] = part[:, column] - shift * unit + shift + signal + noise
                done += 1
            pending, later = [], []
            if index >= self._count:
                break
        return _One(mean + offset, draws + offset, misfit, int(seen.sum()) - 1, iterations)

    def _densely(
        self,
        which: list[int],
        reach: Reach,
        found: dict[int, _One],
        threads: int,
        listener: Progress,
        deviations: dict[int, Map] | None = None,
    ) -> None:
        """Solve holes by kriging."""
        cl = self._cl.copy()
        cl[0] = _OFFSET
        sides = [
            self._grid.sides(*np.rint(self._regions.holes[k].mean(axis=0))[:, None]) for k in which
        ]
        kriging = Kriging(self._grid, cl, self._noise, float(np.min(sides)))
        tasks = kriging.tasks([self._regions.holes[k] for k in which], self._observed, reach)
        count = self._count if deviations is None else 0

        def normals(number: int, size: int) -> Map:
            k = which[number]
            each = [
                np.random.default_rng([self._seed, i, k]).standard_normal(size)
                for i in range(count)
            ]
            return np.array(each).reshape(count, size)

        solved = kriging.solve(
            tasks, self._image, normals, threads=threads, solved=lambda _: listener.advance()
        )
        for k, one in zip(which, solved, strict=True):
            if deviations is None:
                found[k] = _One(one.mean, one.draws, one.misfit, one.points)
            else:
                deviations[k] = one.std

    def _std(self, threads: int, listener: Progress) -> Map:
        """Compute the standard deviation of a draw in every hole."""
        every = list(range(len(self._regions.holes)))
        listener.stage("std", len(every))
        deviations: dict[int, Map] = {}
        self._densely(every, _REACH_OF_STD, {}, threads, listener, deviations)
        listener.done()
        return np.concatenate([deviations[k] for k in every])

    def _distance(self, flat: list[int], found: dict[int, _One]) -> float:
        """Compare the means of the largest and the smallest hole with those of wider tiles."""
        if not flat:
            return math.nan
        order = sorted(flat, key=lambda k: len(self._regions.holes[k]))
        count, self._count = self._count, 0
        squares = []
        for k in {order[0], order[-1]}:
            try:
                place = self._place(self._regions.holes[k], _WIDER)
            except ValueError:  # the wider tile is too large
                continue
            if place is not None:
                squares.append(float(np.mean((self._by_tile(k, *place).mean - found[k].mean) ** 2)))
        self._count = count
        return math.sqrt(max(squares)) if squares else math.nan


def _known(
    place: tuple[tuple[slice, slice], TileShape] | None,
) -> tuple[tuple[slice, slice], TileShape]:
    """Narrow a type."""
    if place is None:
        raise TypeError("this hole has no tile")
    return place
