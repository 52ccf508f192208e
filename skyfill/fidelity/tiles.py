"""Errors of filled tiles.

The first three measures are those of the CosmoVAE paper (arXiv:2001.11651, section IV.C): errors of
whole tiles whose truth is scaled to the range 0 to 1. Most of a tile is observed, so they depend
more on the mask than on the fill. The relevant figures are the errors in the holes, in µK, relative
to the posterior uncertainty.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from skyfill.brief import brief

__all__ = ["TileScores", "hole_power", "score_tiles", "ssim"]

Tiles = NDArray[np.floating]

#: Standard deviation of SSIM's window, pixels. This and the next two: Wang et al. 2004.
_WINDOW = 1.5
#: Keeps SSIM's ratio of means finite.
_K1 = 0.01
#: Keeps SSIM's ratio of variances finite.
_K2 = 0.03


@dataclass(frozen=True)
class TileScores:
    """Errors of filled tiles.

    Attributes
    ----------
    mse, mae, psnr
        Mean squared and absolute error of whole tiles, truth from 0 to 1, averaged over tiles, and
        the mean of -10 log₁₀ of each tile's squared error, dB.
    ssim
        Structural similarity of whole tiles, likewise.
    hole_rms_uk, hole_mae_uk
        Errors in the holes, µK, over the hole pixels of all tiles.
    hole_truth_rms_uk
        Rms of the truth in the holes about the observed mean of its tile: the error of a fill with
        this mean.
    tiles, hole_share
        Number of tiles, and the share of hole pixels in them.
    """

    __repr__ = brief

    mse: float
    mae: float
    psnr: float
    ssim: float
    hole_rms_uk: float
    hole_mae_uk: float
    hole_truth_rms_uk: float
    tiles: int
    hole_share: float

    def as_dict(self) -> dict[str, float]:
        """Give the fields in types that JSON supports."""
        return asdict(self)


def score_tiles(filled: Tiles, truth: Tiles, observed: NDArray[np.bool_]) -> TileScores:
    """Compare filled tiles with the truth.

    Parameters
    ----------
    filled, truth
        ``(n, ny, nx)``, µK.
    observed
        ``(n, ny, nx)``, False in the holes.

    Raises
    ------
    ValueError
        The shapes differ, there is no tile, no hole, or a tile of one value.
    """
    if not filled.shape == truth.shape == observed.shape or filled.ndim != 3:
        raise ValueError(f"tiles of {filled.shape}, {truth.shape}, {observed.shape}; give a set")
    holes = ~observed
    if not holes.any():
        raise ValueError("no tile has a hole: there is nothing to judge")
    lowest = truth.min(axis=(1, 2), keepdims=True)
    width = truth.max(axis=(1, 2), keepdims=True) - lowest
    if not width.all():
        raise ValueError("a tile has the same value everywhere; it cannot run from 0 to 1")
    ours, theirs = ((each - lowest) / width for each in (filled, truth))
    squared = np.mean((ours - theirs) ** 2, axis=(1, 2))
    away = (filled - truth)[holes]
    count = np.maximum(observed.sum(axis=(1, 2), keepdims=True), 1)
    known = np.where(observed, truth, 0).sum(axis=(1, 2), keepdims=True) / count
    return TileScores(
        mse=float(squared.mean()),
        mae=float(np.abs(ours - theirs).mean()),
        psnr=float(np.mean(-10 * np.log10(np.maximum(squared, 1e-30)))),
        ssim=float(np.mean([ssim(a, b) for a, b in zip(ours, theirs, strict=True)])),
        hole_rms_uk=float(np.sqrt(np.mean(away**2))),
        hole_mae_uk=float(np.mean(np.abs(away))),
        hole_truth_rms_uk=float(np.sqrt(np.mean((truth - known)[holes] ** 2))),
        tiles=len(truth),
        hole_share=float(holes.mean()),
    )


def ssim(a: Tiles, b: Tiles) -> float:
    """Give the structural similarity of two pictures whose range is 1.

    Wang et al. 2004 (IEEE Trans. Image Proc. 13, 600, eq. 13), with their Gaussian window, averaged
    over all pixels.

    Parameters
    ----------
    a, b
        ``(ny, nx)``.
    """

    def local(x: Tiles) -> Tiles:
        return np.asarray(gaussian_filter(x, _WINDOW, truncate=3.5))

    mean_a, mean_b = local(a), local(b)
    var_a, var_b = local(a * a) - mean_a**2, local(b * b) - mean_b**2
    both = local(a * b) - mean_a * mean_b
    c1, c2 = _K1**2, _K2**2
    top = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    return float(np.mean(top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))))


def hole_power(
    filled: Tiles, truth: Tiles, observed: NDArray[np.bool_], *, bins: int = 8
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the power in the holes over that of the truth, in rings of the wave number.

    Tiles are set to zero outside of their holes and transformed. The holes' edges mix wave numbers,
    in the fill and in the truth alike.

    Parameters
    ----------
    filled, truth, observed
        As for `score_tiles`.
    bins
        Rings of equal width between 0 and the Nyquist frequency.

    Returns
    -------
    Middles of the rings, cycles per pixel, and the ratios, ``(bins,)``.
    """
    ny, nx = truth.shape[1:]
    ky, kx = np.fft.fftfreq(ny)[:, None], np.fft.rfftfreq(nx)[None]
    ring = np.minimum((np.hypot(ky, kx) * 2 * bins).astype(int), bins)
    inside = ~observed
    powers = []
    for tiles in (filled, truth):
        total = (np.abs(np.fft.rfft2(np.where(inside, tiles, 0))) ** 2).sum(axis=0)
        powers.append(np.bincount(ring.ravel(), total.ravel(), bins + 1)[:bins])
    return (np.arange(bins) + 0.5) / (2 * bins), powers[0] / powers[1]
