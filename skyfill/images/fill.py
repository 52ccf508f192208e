"""Fill the holes of an image in CAR or any other projection, in its own pixels.

Each hole is solved from the pixels around it (`skyfill.images.tile`; where the sky within a tile is
neither a band between parallels nor flat, `skyfill.images.kriging`). The signal is Gaussian with
the spectrum C_l b_l², the noise is independent from pixel to pixel, and an unknown offset of the
image is marginalised.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.healpix.checks import check_whole
from skyfill.images.grid import Grid
from skyfill.images.model import Model
from skyfill.images.noise import Noise
from skyfill.images.regions import Regions, find_regions
from skyfill.images.solver import Filled, Solver
from skyfill.maps.sentinels import repeated_value
from skyfill.maps.units import unit_in_uk
from skyfill.progress import Progress, Silent

__all__ = ["fill", "solve"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]
Pixels = NDArray[np.int64]

#: Values of other programs for "no data".
_UNSEEN = -1.6375e30
#: Pixels around a hole whose median variance those of the hole get that have none.
_AROUND = 24


def fill(
    image: ArrayLike,
    mask: ArrayLike,
    wcs: object,
    *,
    model: Model,
    ivar: ArrayLike | None = None,
    unit: str = "uK",
    mean: bool = False,
    n: int = 1,
    seed: int = 0,
    holes: str = "enclosed",
    trust_prior: bool = False,
    threads: int = 0,
    progress: Progress | None = None,
) -> NDArray[np.floating]:
    """Fill the holes of an image in CAR or any other projection.

    Parameters
    ----------
    image
        ``(ny, nx)``, temperature; NaN where missing.
    mask
        ``(ny, nx)``, **1 = observed**.
    wcs
        ``astropy.wcs.WCS`` of the image, or its header.
    model
        Spectrum, beam and noise.
    ivar
        ``(ny, nx)``, inverse variance of the noise of each pixel, in ``unit`` to the power -2, in
        place of the white noise of ``model``. Pixels with 0 are unobserved.
    unit
        Of the image: K, mK or uK.
    mean
        Whether to give the posterior mean instead of realizations.
    n
        Number of realizations.
    seed
        Of the random numbers. A realization depends on it and on its own number, not on ``n``.
    holes
        ``"enclosed"``: regions that reach the image's border stay as they are; ``"all"``: they are
        filled, too.
    trust_prior
        Whether to fill, with a warning, if the observed pixels contradict the model.
    threads
        Number of threads; 0 for all cores. The result does not depend on it.
    progress
        Listener.

    Returns
    -------
    ``(ny, nx)``, or ``(n, ny, nx)`` if ``n`` is above 1, of the image's dtype and unit; observed
    pixels are bit-identical.

    Raises
    ------
    ValueError
        Shapes differ, there is no hole, a hole is too wide, or the observed pixels contradict the
        model (`UnlikelyModelError`).

    Examples
    --------
    >>> import numpy as np, skyfill
    >>> from astropy.wcs import WCS
    >>> wcs = WCS(naxis=2)
    >>> wcs.wcs.ctype, wcs.wcs.cdelt = ["RA---CAR", "DEC--CAR"], [-0.1, 0.1]
    >>> wcs.wcs.crpix = [40, 40]
    >>> image = np.random.default_rng(0).normal(0, 100, (80, 80)).astype(np.float32)
    >>> mask = np.ones((80, 80), bool)
    >>> mask[38:42, 38:42] = False
    >>> model = skyfill.images.Model(1e-9 * skyfill.lcdm(), noise_uk_arcmin=600.0)
    >>> filled = skyfill.images.fill(image, mask, wcs, model=model, seed=1)
    >>> filled.dtype.name, bool(np.array_equal(filled[mask], image[mask]))
    ('float32', True)

    """
    n = check_whole(n, "n")
    if n < 1:
        raise ValueError(f"n must be 1 or more, got {n}")
    plain = np.asarray(image)
    if plain.dtype.kind != "f":
        plain = plain.astype(np.float64)
    scale = unit_in_uk(unit)
    found = solve(
        plain * scale,
        mask,
        wcs,
        model=model,
        ivar=None if ivar is None else np.asarray(ivar, dtype=np.float64) / scale**2,
        n=0 if mean else n,
        seed=seed,
        holes=holes,
        trust_prior=trust_prior,
        threads=threads,
        progress=progress,
    )
    if mean:
        return found.paint(plain, found.mean, unit=unit)
    whole = [found.paint(plain, each, unit=unit) for each in found.draws]
    return whole[0] if n == 1 else np.stack(whole)


def solve(
    image: ArrayLike,
    mask: ArrayLike,
    wcs: object,
    *,
    model: Model,
    ivar: ArrayLike | None = None,
    n: int = 0,
    std: bool = False,
    seed: int = 0,
    holes: str = "enclosed",
    trust_prior: bool = False,
    threads: int = 0,
    progress: Progress | None = None,
) -> Filled:
    """Solve the holes of an image: posterior mean, realizations and standard deviation.

    Parameters
    ----------
    image
        ``(ny, nx)``, µK; NaN where missing.
    ivar
        ``(ny, nx)``, µK⁻².
    n
        Number of realizations.
    std
        Whether to compute the standard deviation, densely.
    mask, wcs, model, seed, holes, trust_prior, threads, progress
        As for `fill`.

    Raises
    ------
    ValueError
        As for `fill`.
    """
    listener = progress or Silent()
    values = np.asarray(image)
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    if values.ndim != 2:
        raise ValueError(f"the image must be (ny, nx), got {values.shape}; give one plane")
    observed = _observed(values, mask)
    grid = Grid.of(wcs, values.shape)
    variance = None
    if ivar is not None:
        if model.noise_uk_arcmin is not None:
            raise ValueError("`ivar` and `noise_uk_arcmin` both give the noise; drop one of them")
        variance, seen = _variance(ivar, values.shape)
        observed &= seen
    elif model.noise_uk_arcmin is None:
        raise ValueError("the noise is not known; give `noise_uk_arcmin` or `ivar`")
    if holes not in ("enclosed", "all"):
        raise ValueError(f"`holes` must be enclosed or all, got {holes!r}")
    listener.stage("holes")
    regions = find_regions(observed, grid, every=holes == "all")
    if variance is not None:
        _complete(variance, observed, regions)
    listener.done(f"{len(regions.holes)} groups, {len(regions.pixels)} pixels")
    noise = Noise(grid, model.noise_uk_arcmin or 0.0, variance)
    work = Solver(grid, model, noise, values, observed, regions, seed, n)
    return work.run(std=std, trust=trust_prior, threads=threads, listener=listener)


def _observed(values: NDArray[np.floating], mask: ArrayLike) -> Mask:
    """Give the observed pixels, without those that hold no data."""
    flags = np.asarray(mask)
    if flags.shape != values.shape:
        raise ValueError(f"the image is {values.shape}, the mask {flags.shape}; give a pair")
    if flags.dtype.kind not in "biuf" or not np.isin(np.nan_to_num(flags), (0, 1)).all():
        raise ValueError(
            "`mask` must hold 0 and 1 (observed); mask > 0.5 says which pixels are meant"
        )
    observed = np.nan_to_num(flags) == 1
    observed &= np.isfinite(values) & (values > 0.9 * _UNSEEN)
    repeated = repeated_value(values.ravel(), observed.ravel())
    if repeated is not None and repeated[0] == 0.0:
        warnings.warn(
            f"{repeated[1]} pixels that the mask calls observed hold exactly 0; they are taken as"
            " unobserved",
            stacklevel=3,
        )
        observed &= values != 0
    return np.asarray(observed)


def _variance(ivar: ArrayLike, shape: tuple[int, ...]) -> tuple[Map, Mask]:
    """Turn an inverse variance into a variance, and the pixels that have one."""
    inverse = np.asarray(ivar, dtype=np.float64)
    if inverse.shape != shape:
        raise ValueError(f"the image is {shape}, `ivar` {inverse.shape}; give a pair")
    if np.any(inverse < 0):
        raise ValueError("`ivar` has negative values; an inverse variance is 0 or more")
    seen = np.isfinite(inverse) & (inverse > 0)
    if not seen.any():
        raise ValueError("`ivar` is 0 everywhere: no pixel is observed")
    return np.divide(1.0, inverse, out=np.full(shape, np.nan), where=seen), seen


def _complete(variance: Map, observed: Mask, regions: Regions) -> None:
    """Give hole pixels without a variance the median of the observed ones around their hole."""
    for hole in regions.holes:
        here = variance[hole[:, 0], hole[:, 1]]
        if np.isnan(here).any():
            low = np.maximum(hole.min(axis=0) - _AROUND, 0)
            high = hole.max(axis=0) + _AROUND + 1
            box = slice(low[0], high[0]), slice(low[1], high[1])
            around = variance[box][observed[box]]
            typical = np.median(around) if around.size else np.nanmedian(variance)
            variance[hole[:, 0], hole[:, 1]] = np.where(np.isnan(here), typical, here)
