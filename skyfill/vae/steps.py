"""Go to the posterior mean of masked tiles by steps: fixed ones, or each tile's own.

The holes h of a tile solve Q_hh x = -Q_hM d, with Q = Σ⁻¹ on the periodic tile. Conjugate gradients
(`conjugate_gradient`) choose the length of every step by the data, so what they give after a few
steps is not linear in the data. `BandedSteps` are: a step goes along

    p ← w_0 ν² r + Σ_b w_b D_b F⁻¹ C_b F D_b r + w_p p,    r = -(Q t)_h,

where the terms are those of the preconditioner of `skyfill.gaussian.bands`, on the flat tile, and
p on the right is the step before. The weights w of every step are numbers that all tiles of a prior
share. `fit_weights` finds them: on tiles drawn from the prior, under some masks of the map, each
step takes the weights that bring the sum of rᵀ Q_hh⁻¹ r over all tiles lowest. They depend on
masks and prior alone. A step along several terms at once costs no more transforms than one of
conjugate gradients, and gains more.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skyfill.tapers import bands_of
from skyfill.vae.modes import all_modes, apart, colour, colour_pairs, pairs_of, shared, split_power

__all__ = [
    "BandedSteps",
    "conjugate_gradient",
    "depth_of",
    "draw_periodic",
    "fit_each",
    "fit_weights",
    "terms",
]

# The weights are free: these two keep the largest eigenvalues of tiles alike, so that a fixed
# number of steps does for all.
#: Depth of a band's taper in wavelengths of its middle.
_TAPER = 0.35
#: Power of a band's taper.
_POWER = 1.2
#: The weights are divided by this: tiles outside the sample may have larger eigenvalues, which the
#: steps would otherwise amplify.
_MARGIN = 1.3
#: Directions that are combinations of others to this relative accuracy are left out of a step.
_ALIKE = 1e-7


def _bands(side: int) -> list[tuple[NDArray[np.float64], float]]:
    """Divide a tile's modes: shares ``(side, side // 2 + 1)``, and depths of tapers in pixels."""
    modes = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij"))
    unit = side / (2 * np.pi)
    bands = bands_of(side // 2, math.inf, taper=_TAPER, at=modes * side)
    return [(share, reach * unit) for share, reach in bands]


def terms(side: int) -> int:
    """Give how many weights a step has on tiles of a side."""
    return len(_bands(side)) + 2


def depth_of(observed: Tensor, reach: float) -> Tensor:
    """Give the distance of each pixel of a periodic tile from the nearest observed one.

    Parameters
    ----------
    observed
        ``(..., side, side)``, 1 where observed, else 0.
    reach
        Larger distances are given as this; pixels.
    """
    far = min(math.ceil(reach), observed.shape[-1] // 2)
    square = torch.where(observed > 0, 0.0, float(reach) ** 2)
    for axis in (-1, -2):
        nearest = square.clone()
        for step in range(1, far + 1):
            for shift in (step, -step):
                torch.minimum(nearest, square.roll(shift, axis) + step**2, out=nearest)
        square = nearest
    return square.sqrt()


def draw_periodic(observed: Tensor, spectrum: Tensor, seed: int = 0) -> Tensor:
    """Draw a periodic tile of the prior under each mask, zero in the holes.

    Drawn on the CPU in double precision, so that every device has the same.
    """
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(observed.shape, generator=generator, dtype=torch.float64)
    white = white.to(observed.device, observed.dtype)
    return observed * colour(white, spectrum[:, None].sqrt())


class BandedSteps:
    """Take steps with given weights on tiles under some masks: linear in the data.

    Parameters
    ----------
    observed, spectrum
        As for `TileVAE.forward`.
    """

    def __init__(self, observed: Tensor, spectrum: Tensor) -> None:
        self._together = shared(observed, spectrum)
        holes = 1 - observed
        signal, white = split_power(spectrum)
        power = spectrum[:, None]
        bands = _bands(observed.shape[-1])
        depth = depth_of(observed, max(reach for _, reach in bands))
        self._white = white
        self._bands: list[tuple[Tensor, Tensor]] = []
        for share, reach in bands:
            taper = holes * (depth / reach).clamp(max=1.0) ** _POWER
            part = torch.from_numpy(share).to(signal) * signal
            self._bands.append((self._modes(part), self._tiles(taper)))
        self._power, self._precision = self._modes(power), self._modes(1 / power)
        self._holes = self._tiles(holes)
        self._filtered: Callable[[Tensor, Tensor], Tensor] = (
            colour_pairs if self._together else colour
        )
        self._axes = (-3, -2) if self._together else (-2, -1)

    def _modes(self, amplitude: Tensor) -> Tensor:
        return all_modes(amplitude, amplitude.shape[-2]) if self._together else amplitude

    def _tiles(self, tile: Tensor) -> Tensor:
        return pairs_of(tile) if self._together else tile

    def _image(self, values: Tensor) -> Tensor:
        """Give Q_hh v, or the gradient's rows in the holes of any tile."""
        return self._holes * self._filtered(values, self._precision.to(values.dtype))

    def _directions(self, residual: Tensor) -> list[Tensor]:
        """Give the terms of the preconditioner, applied to a residual."""
        tapered = [taper * self._filtered(taper * residual, part) for part, taper in self._bands]
        return [self._white * residual, *tapered]

    def _size(self, residual: Tensor) -> Tensor:
        """Give rᵀ Σ_hh r, tile by tile."""
        return (residual * self._filtered(residual, self._power)).sum(self._axes, keepdim=True)

    def __call__(
        self,
        tile: Tensor,
        weights: Tensor,
        *,
        start: Tensor | None = None,
        left: Tensor | None = None,
    ) -> Tensor:
        """Give the tile where observed, what the steps give elsewhere.

        Parameters
        ----------
        tile
            ``(batch, 1, side, side)``; unobserved pixels are not read, if finite. In double
            precision the first residual is, too, whose rounding would be the largest.
        weights
            ``(steps, terms)`` from `fit_weights`; ``(batch, steps, terms)`` where tiles differ.
        start
            A tile like the result to start from; nothing in the holes if not given.
        left
            ``(batch,)``, written to if given: the preconditioned residual at the end, as a share of
            that of an empty start.
        """
        weights = weights.to(self._holes)
        if weights.ndim == 3:  # the steps first, tiles where the loop wants them
            weights = weights.movedim(0, 2)[..., None, None, None]
            weights = pairs_of(weights.movedim(2, 0)).movedim(0, 2) if self._together else weights
        known = self._tiles(tile) * (1 - self._holes)
        residual = -self._image(known)
        mean, residual = known.to(self._holes), residual.to(self._holes)
        first = residual
        if start is not None:
            mean = mean + self._holes * self._tiles(start)
            residual = -self._image(mean)
        direction = torch.zeros_like(mean)
        for step in weights:
            direction = step[-1] * direction
            for weight, term in zip(step[:-1], self._directions(residual), strict=True):
                direction = direction + weight * term
            mean = mean + direction
            residual = residual - self._image(direction)
        if left is not None:
            empty, end = self._size(first), self._size(residual)
            share = torch.where(empty == 0, empty, end / empty).clamp(min=0).sqrt()
            left.copy_((apart(share) if self._together else share).flatten())
        return apart(mean) if self._together else mean

    def fit(
        self, tile: Tensor, *, iterations: int, tolerance: float = 0.0, start: Tensor | None = None
    ) -> Tensor:
        """Find the weights that serve these tiles best, all together; see `fit_weights`.

        They are those of the steps after ``start``, if it is given.
        """
        mean = self._tiles(tile) * (1 - self._holes)
        residual = -self._image(mean)
        enough = tolerance**2 * self._size(residual).double().sum()
        if start is not None:
            residual = -self._image(mean + self._holes * self._tiles(start))
        step = image = torch.zeros_like(mean)
        found = []
        for _ in range(iterations):
            if not self._size(residual).double().sum() > enough:
                break
            some = self._directions(residual)
            directions = [*some, step]
            images = [*(self._image(one) for one in some), image]
            best = _least(
                [[_total(one, other) for other in images] for one in directions],
                [_total(one, residual) for one in directions],
            )
            found.append(best)
            step, image = _mixed(best, directions), _mixed(best, images)
            residual = residual - image
        weights = np.reshape(found, (-1, len(self._bands) + 2))
        weights[:, :-1] /= _MARGIN
        return torch.from_numpy(weights)


def _total(one: Tensor, other: Tensor) -> float:
    """Multiply all tiles; not by a matrix product, whose rounding hangs on where memory lies."""
    return float((one * other).double().sum())


def _mixed(weights: NDArray[np.float64], tiles: list[Tensor]) -> Tensor:
    """Add tiles with weights."""
    out = torch.zeros_like(tiles[0])
    for weight, one in zip(weights.tolist(), tiles, strict=True):
        out = out + weight * one
    return out


def _least(normal: list[list[float]], wanted: list[float]) -> NDArray[np.float64]:
    """Solve a few normal equations, without the directions that say nothing new."""
    full = np.array(normal)
    size = np.sqrt(np.maximum(np.diagonal(full), 0))
    scale = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
    scaled = 0.5 * (full + full.T) * scale[:, None] * scale
    inverse = np.linalg.pinv(scaled, rcond=_ALIKE, hermitian=True)
    return np.asarray(scale * (inverse @ (scale * np.array(wanted))))


def fit_weights(
    observed: Tensor,
    spectrum: Tensor,
    *,
    iterations: int,
    tolerance: float = 0.0,
    seed: int = 0,
) -> Tensor:
    """Find the weights of the steps for tiles of a prior.

    Parameters
    ----------
    observed
        ``(batch, 1, side, side)``: a sample of the masks.
    spectrum
        ``(1, side, side // 2 + 1)``.
    iterations
        Steps at most.
    tolerance
        Residual of all tiles together, as a share of that of an empty start, at which steps end.
    seed
        Of the tiles that are drawn.

    Returns
    -------
    ``(steps, terms)``, float64: of the noise, of each band, and of the step before.
    """
    tile = draw_periodic(observed, spectrum, seed)
    return BandedSteps(observed, spectrum).fit(tile, iterations=iterations, tolerance=tolerance)


def fit_each(observed: Tensor, spectra: Tensor, *, iterations: int) -> Tensor:
    """Find the weights for tiles of several priors, as `fit_weights` does for one.

    Parameters
    ----------
    observed
        ``(batch, 1, side, side)``: masks of tiles of every prior.
    spectra
        ``(priors, side, side // 2 + 1)``.
    iterations
        Steps.

    Returns
    -------
    ``(priors, iterations, terms)``: steps that a prior does not need are zero.
    """
    found = spectra.new_zeros(len(spectra), iterations, terms(spectra.shape[-2]))
    with torch.no_grad():
        for one, spectrum in zip(found, spectra, strict=True):
            weights = fit_weights(observed, spectrum[None], iterations=iterations)
            one[: len(weights)] = weights.to(one)
    return found


def conjugate_gradient(
    tile: Tensor,
    observed: Tensor,
    spectrum: Tensor,
    *,
    iterations: int,
    tolerance: float = 0.0,
    start: Tensor | None = None,
    left: Tensor | None = None,
) -> Tensor:
    """Refine the posterior mean of masked tiles by conjugate gradients on their holes.

    Solves Q_hh x = -Q_hM d, Q = Σ⁻¹ on the periodic tile, preconditioned by Σ_hh.

    Parameters
    ----------
    tile, observed, spectrum
        As for `TileVAE.forward`.
    iterations
        Steps to take at most; two Fourier transforms and back in each.
    tolerance
        A tile stands still once its preconditioned residual is below this share of that of an
        empty start; each tile for itself, so that the others of its batch change nothing.
    start
        A tile like the result to start from; nothing in the holes if not given.
    left
        ``(batch,)``, written to if given: the preconditioned residual at the end, as a share of
        that of an empty start. NaN where numbers have overflowed.

    Returns
    -------
    ``(batch, 1, side, side)``: the tile where observed, its posterior mean elsewhere.
    """
    spectrum = spectrum[:, None]
    holes = 1 - observed
    mean = tile * observed
    filtered: Callable[[Tensor, Tensor], Tensor] = colour
    axes = -2, -1
    together = shared(tile, spectrum)
    if together:  # tiles stay two by two from the first transform to the last
        spectrum = all_modes(spectrum, tile.shape[-1])
        holes, mean = pairs_of(holes), pairs_of(mean)
        start = None if start is None else pairs_of(start)
        filtered, axes = colour_pairs, (-3, -2)
    precision = 1 / spectrum

    def residual_of(mean: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        residual = -holes * filtered(mean, precision)
        z = holes * filtered(residual, spectrum)
        return residual, z, _dot(residual, z, axes)

    residual, z, rho = residual_of(mean)
    empty = rho
    enough = tolerance**2 * rho
    if start is not None:
        mean = mean + holes * start
        residual, z, rho = residual_of(mean)
    direction = z
    active = torch.ones_like(rho, dtype=torch.bool)
    for _ in range(iterations):
        active = active & (rho > enough)
        if not active.any():
            break
        image = holes * filtered(direction, precision)
        curvature = _dot(direction, image, axes)
        # Where rounding has eaten the curvature nothing is left to gain.
        active = active & (curvature > 0)
        alpha = torch.where(active, rho / curvature, 0)
        mean = mean + alpha * direction
        residual = residual - alpha * image
        z = holes * filtered(residual, spectrum)
        rho, last = _dot(residual, z, axes), rho
        direction = z + torch.where(active, rho / last, 0) * direction
    if left is not None:
        # Data of zero ask for nothing. Rounding may leave a square below zero.
        share = torch.where(empty == 0, empty, rho / empty).clamp(min=0).sqrt()
        left.copy_((apart(share) if together else share).flatten())
    return apart(mean) if together else mean


def _dot(one: Tensor, other: Tensor, axes: tuple[int, int]) -> Tensor:
    """Multiply tile by tile."""
    return (one * other).sum(axes, keepdim=True)
