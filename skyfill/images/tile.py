"""Solve a hole of an image within a tile of the image's own pixels, by conjugate gradients.

Rows of CAR, CEA and Mercator images are parallels, so the signal's covariance between two rows
depends on the distance of the columns alone: a Fourier transform along the rows makes it one small
matrix for each frequency, with the great-circle distance of each pair of pixels. The columns are
embedded in more than twice their number, so nothing wraps; frequencies at which there is no signal
are left out. A small tile of another projection is handled in the same way where its pixels are as
far from each other as in a flat one.

With O the observed pixels of the tile, S the signal's covariance and N the noise variance of each
pixel, y = (S_OO + N)⁻¹ d is found by conjugate gradients, and the mean in the hole is S_hO y. The
preconditioner is (S + N̄)⁻¹ for a flat periodic tile with one noise. An unknown offset of the image
is marginalised by one more right-hand side. Draws are s' + mean(d - s' - n') for a simulated signal
s' and noise n' (Hoffman & Ribak 1991).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft as transforms
from numpy.typing import NDArray

from skyfill.flatsky import power
from skyfill.healpix.jit import compiled

__all__ = ["NotConvergedError", "Table", "Tile", "TileShape"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Pixels of padding of the preconditioner's periodic tile.
_PADDING = 16
#: Columns beyond the largest distance in a tile over which its covariance is made level, so that it
#: goes on periodically without a kink, which would have power at all frequencies.
_LEVEL = 24
#: Frequencies, as a share of the largest with signal, that are kept beyond it.
_BEYOND = 0.25
#: Most iterations. Some 30 are usual, 200 with the noise of deep maps.
_MOST = 1000
#: Steps of the covariance's table per pixel: the beam spans two pixels or more, and the table is
#: interpolated by cubics.
_FINE = 8


class NotConvergedError(ValueError):
    """Conjugate gradients have not reached their tolerance."""


@dataclass(frozen=True)
class TileShape:
    """Where the pixels of a tile are.

    Attributes
    ----------
    latitudes
        ``(ny,)``: of the rows, radians; of a flat tile around zero.
    step
        Longitude from column to column, radians.
    columns
        Their number.
    """

    latitudes: Map
    step: float
    columns: int

    @property
    def areas(self) -> Map:
        """Solid angle of a pixel of each row, ``(ny, 1)``."""
        return np.abs(np.gradient(self.latitudes) * np.cos(self.latitudes) * self.step)[:, None]

    @property
    def reach(self) -> float:
        """Largest distance at which the covariance is needed, radians."""
        return math.hypot(float(np.ptp(self.latitudes)), self.step * (self.columns + _LEVEL))

    @property
    def sides(self) -> tuple[float, float]:
        """Height and width of a pixel at the middle row, radians."""
        middle = self.latitudes.size // 2
        height = abs(float(np.gradient(self.latitudes)[middle]))
        return height, self.step * math.cos(self.latitudes[middle])


@dataclass(frozen=True)
class Table:
    """The signal's covariance at multiples of a step of the chord, from -1 on.

    Attributes
    ----------
    values
        ``(n,)``, µK².
    step
        Chord, radians.
    """

    values: Map
    step: float


class Tile:
    """The normal equations of one tile.

    Parameters
    ----------
    shape
        Where the pixels are.
    signal_cl
        ``(lmax + 1,)``, spectrum of the signal in the image, with the beam, µK².
    table
        Its covariance.
    variance
        ``(ny, nx)``, noise variance, µK²; finite everywhere.
    observed
        ``(ny, nx)``, True where observed.
    lmax
        Multipole beyond which the signal is far below the noise.
    """

    def __init__(
        self,
        shape: TileShape,
        signal_cl: Map,
        table: Table,
        variance: Map,
        observed: Mask,
        *,
        lmax: float,
    ) -> None:
        ny, nx = observed.shape
        self._shape, self._cl = shape, np.append(signal_cl, 0.0)
        half = nx - 1 + _LEVEL
        rows = np.empty((half + 1, ny, ny))
        _rows(shape.latitudes, shape.step * _lags(nx), table.values, 1 / table.step, rows)
        period = 2 * half
        spacing = 2 * math.pi / (period * shape.step * float(np.cos(shape.latitudes).max()))
        most = min(math.ceil((1 + _BEYOND) * lmax / spacing) + 1, half)
        phase = 2 * math.pi / period * np.outer(np.arange(most + 1), np.arange(half + 1))
        weight = np.full(half + 1, 2.0)
        weight[[0, half]] = 1.0
        modes = np.tensordot(np.cos(phase) * weight, rows, axes=1)
        # sines have the same matrices as cosines; those of frequency 0 are zero
        self._signal = np.concatenate([modes, modes[1:]])
        waves = np.concatenate([np.cos(phase[:, :nx]), np.sin(phase[1:, :nx])])
        norm = np.full(most + 1, 2.0 / period)
        norm[0] = 1.0 / period
        if most == half:
            norm[half] = 1.0 / period
        share = np.append(norm, norm[1:])[:, None]
        self._waves, self._back = waves, np.ascontiguousarray((waves * share).T)
        self._drawn = np.ascontiguousarray((waves * np.sqrt(share)).T)
        self._roots: Map | None = None
        # arrays of pixels are (nx, ny, count) here: transforms along the rows need no copies
        self._noise = np.ascontiguousarray(variance.T[..., None])
        self._observed = np.ascontiguousarray(observed.T[..., None])
        self._periodic = tuple(
            transforms.next_fast_len(n + _PADDING, real=real)
            for n, real in ((nx, False), (ny, True))
        )
        self._filter = 1 / (self._power(*self._periodic[::-1]) + self._typical())[..., None]

    def _typical(self) -> float:
        """Give the geometric mean of the noise variance over the observed pixels."""
        return float(np.exp(np.log(self._noise[self._observed]).mean()))

    def _power(self, rows: int, columns: int) -> Map:
        """Give the power of the modes of a flat periodic tile, ``(columns, rows // 2 + 1)``."""
        height, width = self._shape.sides
        return power(self._cl, (columns, rows), (width, height))

    def signal(self, values: Map) -> Map:
        """Apply S, ``(nx, ny, count)``."""
        columns, rows, count = values.shape
        modes = (self._waves @ values.reshape(columns, -1)).reshape(-1, rows, count)
        product = np.matmul(self._signal, modes).reshape(-1, rows * count)
        return np.asarray((self._back @ product).reshape(columns, rows, count))

    def _normal(self, values: Map) -> Map:
        """Apply S + N between observed pixels."""
        return np.where(self._observed, self.signal(values) + self._noise * values, 0.0)

    def _preconditioned(self, values: Map) -> Map:
        """Apply (S + N̄)⁻¹ of the periodic tile between observed pixels."""
        modes = transforms.rfft2(values, self._periodic, axes=(0, 1))
        modes *= self._filter
        whole = transforms.irfft2(modes, self._periodic, axes=(0, 1))
        return np.where(self._observed, whole[: values.shape[0], : values.shape[1]], 0.0)

    def solve(self, data: Map, tolerance: float) -> tuple[Map, int]:
        """Solve (S_OO + N) y = d.

        Parameters
        ----------
        data
            ``(nx, ny, count)``, µK.
        tolerance
            Limit for the square root of the error's energy, (y - y')ᵀ (S + N) (y - y'), as the
            preconditioned residual estimates it.

        Returns
        -------
        y, and the number of iterations.
        """
        x = np.zeros_like(data)
        rest = np.where(self._observed, data, 0.0)
        step = self._preconditioned(rest)
        direction = step.copy()
        energy = np.einsum("ijk,ijk->k", rest, step)
        for iteration in range(_MOST):
            if np.all(energy <= tolerance**2):
                return x, iteration
            product = self._normal(direction)
            along = np.einsum("ijk,ijk->k", direction, product)
            alpha = np.divide(energy, along, out=np.zeros_like(energy), where=along > 0)
            x += alpha * direction
            rest -= alpha * product
            step = self._preconditioned(rest)
            new = np.einsum("ijk,ijk->k", rest, step)
            direction *= np.divide(new, energy, out=np.zeros_like(energy), where=energy > 0)
            direction += step
            energy = new
        raise NotConvergedError(
            f"conjugate gradients have not converged in {_MOST} iterations: the noise is too low"
            " for a beam that spans so many pixels; give the noise of the image"
            " (`noise_uk_arcmin`, `ivar`)"
        )

    def simulate(self, rng: np.random.Generator) -> tuple[Map, Map]:
        """Draw a signal of covariance S and a noise, ``(nx, ny)`` each, µK."""
        if self._roots is None:
            count = (len(self._signal) + 1) // 2
            values, vectors = np.linalg.eigh(self._signal[:count])
            # made level, the covariance has slightly negative values at a few frequencies
            roots = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
            self._roots = np.concatenate([roots, roots[1:]])
        nx, ny = self._observed.shape[:2]
        normals = rng.standard_normal((len(self._roots), ny, 1))
        signal = self._drawn @ np.matmul(self._roots, normals)[..., 0]
        noise = np.sqrt(self._noise[..., 0]) * rng.standard_normal((nx, ny))
        return np.asarray(signal), np.asarray(noise)


def _lags(columns: int) -> Map:
    """Give the distances of columns, as they are within a tile, then ever slower and level."""
    t = np.arange(1, _LEVEL + 1) / _LEVEL
    more = t - t**4 * (2.5 - 3 * t + t * t)  # its slope is 1 - t³ (10 - 15 t + 6 t²)
    return np.concatenate([np.arange(columns), columns - 1 + _LEVEL * more])


@compiled
def _rows(latitudes: Map, apart: Map, table: Map, scale: float, out: Map) -> None:
    """Fill out[m, i, j] with the covariance of pixels of rows i and j, apart[m] in longitude."""
    last = table.size - 4
    for m in range(out.shape[0]):
        sine = math.sin(0.5 * apart[m])
        for i in range(latitudes.size):
            for j in range(i + 1):
                high = 2 * math.sin(0.5 * (latitudes[i] - latitudes[j]))
                wide = 4 * math.cos(latitudes[i]) * math.cos(latitudes[j]) * sine * sine
                s = math.sqrt(high * high + wide) * scale
                k = min(int(s), last)
                t = s - k
                # Lagrange's cubic through the points k - 1 ... k + 2 (Abramowitz & Stegun 25.2.13)
                value = (
                    table[k] * (-t * (t - 1) * (t - 2) / 6)
                    + table[k + 1] * ((t * t - 1) * (t - 2) / 2)
                    - table[k + 2] * (t * (t + 1) * (t - 2) / 2)
                    + table[k + 3] * (t * (t * t - 1) / 6)
                )
                out[m, i, j] = value
                out[m, j, i] = value
