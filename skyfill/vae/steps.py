"""Compute the posterior mean of masked tiles by fixed steps, or by conjugate gradients.

The holes h of a tile solve Q_hh x = -Q_hM d, with Q = Σ⁻¹ on the periodic tile. Conjugate gradients
(`conjugate_gradient`) compute the length of each step from the data, so their result after a few
steps is not linear in the data. `BandedSteps` is linear. One step is

    p ← w_0 ν² r + Σ_b w_b D_b F⁻¹ C_b F D_b r + w_p p,    r = -(Q t)_h,

where p on the right is the previous step. The terms are the same as in the preconditioner of
`skyfill.gaussian.bands`, on the flat tile. All tiles of a prior share the weights of each step.
`fit_weights` fits them on tiles drawn from the prior, with some masks of the map: the weights of
each step minimise the sum of rᵀ Q_hh⁻¹ r over all these tiles. They depend only on masks and prior.
A step with several terms needs no more transforms than one of conjugate gradients, and reduces the
residual more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

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

# With these two values the largest eigenvalues of all tiles are similar, so that a fixed number of
# steps serves all of them.
#: Depth of a band's taper, in wavelengths at the middle of the band.
_TAPER = 0.35
#: Exponent of a band's taper.
_POWER = 1.2
#: The weights are divided by this: tiles outside the sample may have larger eigenvalues, and the
#: steps would amplify their errors.
_MARGIN = 1.3
#: Directions that are linear combinations of others to this relative accuracy are left out.
_ALIKE = 1e-7


@lru_cache(maxsize=8)
def _bands(side: int, device: torch.device, dtype: torch.dtype) -> list[tuple[Tensor, float]]:
    """Divide a tile's modes: shares ``(side, side // 2 + 1)``, and depths of tapers in pixels."""
    modes = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij"))
    unit = side / (2 * np.pi)
    bands = bands_of(side // 2, math.inf, taper=_TAPER, at=modes * side)
    return [(torch.from_numpy(share).to(device, dtype), reach * unit) for share, reach in bands]


def terms(side: int) -> int:
    """Return the number of weights of a step, for tiles of this side."""
    return len(_bands(side, torch.device("cpu"), torch.float32)) + 2


def depth_of(observed: Tensor, reach: float) -> Tensor:
    """Compute the distance of each pixel of a periodic tile from the nearest observed one, pixels.

    Parameters
    ----------
    observed
        ``(..., side, side)``, 1 where observed, else 0.
    reach
        Upper limit of the distances, pixels.
    """
    far = min(math.ceil(reach), observed.shape[-1] // 2)
    along = torch.where(observed > 0, 0.0, float(reach))
    step = 1
    while step <= far:  # distances along a row add up, so each step doubles what is reached
        for shift in (step, -step):
            torch.minimum(along, along.roll(shift, -1) + step, out=along)
        step *= 2
    square = along.square_()
    nearest = square.clone()
    for step in range(1, far + 1):
        farther = square + step**2
        for here, there in ((slice(step, None), slice(-step)), (slice(step), slice(-step, None))):
            for one, other in ((here, there), (there, here)):
                out = nearest[..., one, :]
                torch.minimum(out, farther[..., other, :], out=out)
    return nearest.sqrt_()


def draw_periodic(observed: Tensor, spectrum: Tensor, seed: int = 0) -> Tensor:
    """Draw a periodic tile from the prior for each mask, zero in the holes.

    Random numbers are drawn on the CPU in double precision, so that all devices use the same.
    """
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(observed.shape, generator=generator, dtype=torch.float64)
    white = white.to(observed.device, observed.dtype)
    return observed * colour(white, spectrum[:, None].sqrt())


class BandedSteps:
    """Apply steps with given weights to masked tiles; the result is linear in the data.

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
        bands = _bands(observed.shape[-1], signal.device, signal.dtype)
        depth = depth_of(observed, max(reach for _, reach in bands))
        self._white = white
        self._bands: list[tuple[Tensor, Tensor]] = []
        for share, reach in bands:
            taper = holes * (depth / reach).clamp(max=1.0) ** _POWER
            self._bands.append((self._modes(share * signal), self._tiles(taper)))
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
        """Compute Q_hh v for values in the holes, or (Q t)_h for a whole tile."""
        return self._filtered(values, self._precision.to(values.dtype)).mul_(self._holes)

    def _directions(self, residual: Tensor) -> list[Tensor]:
        """Apply each term of the preconditioner to a residual."""
        tapered = [
            self._filtered(taper * residual, part).mul_(taper) for part, taper in self._bands
        ]
        return [self._white * residual, *tapered]

    def _size(self, residual: Tensor) -> Tensor:
        """Compute rᵀ Σ_hh r of each tile."""
        return (residual * self._filtered(residual, self._power)).sum(self._axes, keepdim=True)

    def __call__(
        self,
        tile: Tensor,
        weights: Tensor,
        *,
        start: Tensor | None = None,
        left: Tensor | None = None,
    ) -> Tensor:
        """Fill the holes by the steps; observed pixels are unchanged.

        Parameters
        ----------
        tile
            ``(batch, 1, side, side)``; values in unobserved pixels must be finite and have no
            effect. If it is in double precision, so is the first residual, whose rounding error
            would be the largest.
        weights
            ``(steps, terms)`` from `fit_weights`; ``(batch, steps, terms)`` if tiles differ.
        start
            Filled tiles, ``(batch, 1, side, side)``, to start from; zero in the holes if not given.
        left
            ``(batch,)``, output: the final preconditioned residual, relative to that with empty
            holes.
        """
        weights = weights.to(self._holes)
        if weights.ndim == 3:  # move the steps to the first axis, and tiles to their axis
            weights = weights.movedim(0, 2)[..., None, None, None]
            weights = pairs_of(weights.movedim(2, 0)).movedim(0, 2) if self._together else weights
        known = self._tiles(tile) * (1 - self._holes)
        residual = -self._image(known)
        mean, residual = known.to(self._holes), residual.to(self._holes)
        empty = None if left is None else self._size(residual)
        if start is not None:
            mean = mean + self._holes * self._tiles(start)
            residual = -self._image(mean)
        direction = torch.zeros_like(mean)
        for step in weights:
            direction.mul_(step[-1])
            for weight, term in zip(step[:-1], self._directions(residual), strict=True):
                direction.add_(term.mul_(weight))
            mean.add_(direction)
            residual.sub_(self._image(direction))
        if left is not None and empty is not None:
            end = self._size(residual)
            share = torch.where(empty == 0, empty, end / empty).clamp(min=0).sqrt()
            left.copy_((apart(share) if self._together else share).flatten())
        return apart(mean) if self._together else mean

    def fit(
        self, tile: Tensor, *, iterations: int, tolerance: float = 0.0, start: Tensor | None = None
    ) -> Tensor:
        """Fit the weights of the steps to these tiles, see `fit_weights`.

        If ``start`` is given, the steps start there.
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
            best = _least(*_totals(directions, [*images, residual]))
            found.append(best)
            step, image = _mixed(best, directions), _mixed(best, images)
            residual = residual - image
        weights = np.reshape(found, (-1, len(self._bands) + 2))
        weights[:, :-1] /= _MARGIN
        return torch.from_numpy(weights)


def _totals(
    directions: list[Tensor], others: list[Tensor]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute dot products of all tiles with all others but the last, and with the last.

    Products are one by one, since a matrix product's rounding would depend on memory. The numbers
    leave the device together.
    """
    found = [(one * other).double().sum() for one in directions for other in others]
    table = torch.stack(found).view(len(directions), -1).cpu().numpy()
    return table[:, :-1], table[:, -1]


def _mixed(weights: NDArray[np.float64], tiles: list[Tensor]) -> Tensor:
    """Compute a weighted sum of tiles."""
    out = torch.zeros_like(tiles[0])
    for weight, one in zip(weights.tolist(), tiles, strict=True):
        out = out + weight * one
    return out


def _least(full: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve a few normal equations, without linearly dependent directions."""
    size = np.sqrt(np.maximum(np.diagonal(full), 0))
    scale = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
    scaled = 0.5 * (full + full.T) * scale[:, None] * scale
    inverse = np.linalg.pinv(scaled, rcond=_ALIKE, hermitian=True)
    return np.asarray(scale * (inverse @ (scale * wanted)))


def fit_weights(
    observed: Tensor,
    spectrum: Tensor,
    *,
    iterations: int,
    tolerance: float = 0.0,
    seed: int = 0,
) -> Tensor:
    """Fit the weights of the steps for tiles of one prior.

    Parameters
    ----------
    observed
        ``(batch, 1, side, side)``, a sample of the masks.
    spectrum
        ``(1, side, side // 2 + 1)``, spectrum of the prior.
    iterations
        Largest number of steps.
    tolerance
        Joint residual of all tiles at which steps end, relative to that with empty holes.
    seed
        Seed of the drawn tiles.

    Returns
    -------
    ``(steps, terms)``, float64: the weights of the noise, of each band and of the previous step.
    """
    tile = draw_periodic(observed, spectrum, seed)
    return BandedSteps(observed, spectrum).fit(tile, iterations=iterations, tolerance=tolerance)


def fit_each(observed: Tensor, spectra: Tensor, *, iterations: int) -> Tensor:
    """Fit the weights of the steps for each of several priors, see `fit_weights`.

    Parameters
    ----------
    observed
        ``(batch, 1, side, side)``, masks; the same for all priors.
    spectra
        ``(priors, side, side // 2 + 1)``.
    iterations
        Number of steps.

    Returns
    -------
    ``(priors, iterations, terms)``; zero for steps that a prior does not need.
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
        Largest number of iterations, each with two Fourier transforms and their inverses.
    tolerance
        Preconditioned residual, relative to that with empty holes, at which a tile stops. Each tile
        stops separately, so the result does not depend on the other tiles of the batch.
    start
        Filled tiles, ``(batch, 1, side, side)``, to start from; zero in the holes if not given.
    left
        ``(batch,)``, output: the final preconditioned residual, relative to that with empty holes;
        NaN after an overflow.

    Returns
    -------
    ``(batch, 1, side, side)``: the data where observed, the posterior mean elsewhere.
    """
    spectrum = spectrum[:, None]
    holes = 1 - observed
    mean = tile * observed
    filtered: Callable[[Tensor, Tensor], Tensor] = colour
    axes = -2, -1
    together = shared(tile, spectrum)
    if together:  # tiles stay in pairs from the first transform to the last
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
        if tolerance and not active.any():  # which waits for the device
            break
        image = holes * filtered(direction, precision)
        curvature = _dot(direction, image, axes)
        # A curvature that is not positive is rounding: the tile has converged.
        active = active & (curvature > 0)
        alpha = torch.where(active, rho / curvature, 0)
        mean = mean + alpha * direction
        residual = residual - alpha * image
        z = holes * filtered(residual, spectrum)
        rho, last = _dot(residual, z, axes), rho
        direction = z + torch.where(active, rho / last, 0) * direction
    if left is not None:
        # The residual of zero data is zero. Rounding may make a square negative.
        share = torch.where(empty == 0, empty, rho / empty).clamp(min=0).sqrt()
        left.copy_((apart(share) if together else share).flatten())
    return apart(mean) if together else mean


def _dot(one: Tensor, other: Tensor, axes: tuple[int, int]) -> Tensor:
    """Compute the dot product of each tile."""
    return (one * other).sum(axes, keepdim=True)
