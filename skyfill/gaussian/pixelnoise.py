"""The noise of each pixel of T, Q and U, as the exact covariance of a joint solve has it.

Noise of T is independent of that of Q and U. Noise of Q and U of one pixel may be correlated: its
covariance is QQ, QU, UU. The inner loop needs one variance for all pixels, and one for Q and U: the
median of (QQ + UU) / 2. The outer loop takes every pixel as it is, so the result is exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.gaussian.vectors import Vector, add
from skyfill.harmonics import Sphere

__all__ = ["PixelNoise", "checked_variance"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]


def checked_variance(variance: ArrayLike, planes: int, seen: Mask, name: str) -> Map:
    """Give the variance of the noise of a field as an array, or refuse it.

    Parameters
    ----------
    variance
        ``(npix,)`` of T; ``(3, npix)`` of P: QQ, QU and UU; or ``(npix,)``: the variance of Q and
        of U, not correlated.
    planes
        Number of components of the field.
    seen
        ``(npix,)``, RING, True where observed: the variance is not read elsewhere.
    name
        Name of the field, for messages.

    Returns
    -------
    ``(npix,)`` of T, ``(3, npix)`` of P.

    Raises
    ------
    ValueError
        The shape is another one; or a variance is negative or not finite in an observed pixel, or
        QU² exceeds QQ UU there.
    """
    found = np.asarray(variance, dtype=np.float64)
    if planes == 2 and found.shape == seen.shape:
        found = np.stack([found, np.zeros_like(found), found])
    shape = seen.shape if planes == 1 else (3, *seen.shape)
    if found.shape != shape:
        raise ValueError(f"the noise variance of {name} must be {shape}, got {found.shape}")
    here = found[..., seen]
    if not np.all(np.isfinite(here)):
        raise ValueError(f"the noise variance of {name} must be finite where observed")
    diagonal = here if planes == 1 else here[[0, 2]]
    if np.any(diagonal < 0):
        raise ValueError(f"the noise variance of {name} must not be negative where observed")
    if planes == 2 and np.any(here[1] ** 2 > (1 + 1e-6) * here[0] * here[2]):
        raise ValueError("the noise of Q and U is no covariance: QU² exceeds QQ UU in a pixel")
    return found


class PixelNoise:
    """The covariance of the noise, pixel by pixel.

    Parameters
    ----------
    variance
        For each field the variance of white noise; or of each pixel, from `checked_variance`.
    floors
        For each field the least variance: smaller ones, and smaller eigenvalues of the covariance
        of Q and U, are raised to it.
    seen
        For each field its observed pixels. In the others the noise is white, with the typical
        variance: the result does not depend on it.

    Attributes
    ----------
    typical
        For each field the variance of the inner loop.
    varies
        Whether a field has a variance of each pixel.
    """

    def __init__(
        self, variance: Sequence[Map | float], floors: Sequence[float], seen: Sequence[Mask]
    ) -> None:
        self.typical: list[float] = []
        self._fields: list[Vector] = []
        for own, floor, observed in zip(variance, floors, seen, strict=True):
            if not isinstance(own, np.ndarray):
                self._fields.append(max(float(own), floor))
                self.typical.append(max(float(own), floor))
                continue
            raised = np.maximum(own, floor) if own.ndim == 1 else _raised(own, floor)
            power = raised if own.ndim == 1 else (raised[0] + raised[2]) / 2
            typical = float(np.median(power[observed]))
            white = typical if own.ndim == 1 else np.array([[typical], [0.0], [typical]])
            self._fields.append(np.where(observed, raised, white))
            self.typical.append(typical)
        self.varies = any(isinstance(each, np.ndarray) for each in self._fields)

    def scaled(self, rms: Sequence[float]) -> PixelNoise:
        """Give the noise of maps in other units: the value of the unit for each field."""
        new = object.__new__(PixelNoise)
        new._fields = [each / unit**2 for each, unit in zip(self._fields, rms, strict=True)]
        new.typical = [each / unit**2 for each, unit in zip(self.typical, rms, strict=True)]
        new.varies = self.varies
        return new

    def on(self, sphere: Sphere) -> PixelNoise:
        """Give the noise for vectors of a sphere."""
        new = object.__new__(PixelNoise)
        new._fields = [
            sphere.vector(each) if isinstance(each, np.ndarray) else each for each in self._fields
        ]
        new.typical, new.varies = self.typical, self.varies
        return new

    def add(self, values: Vector, image: Vector, parts: Sequence[slice]) -> None:
        """Add N v to a vector; ``parts`` are the slices of its fields on the whole sphere."""
        for own, here in zip(self._fields, parts, strict=True):
            if getattr(own, "ndim", 0) == 2:
                q, u = values[here].reshape(2, -1)
                into = image[here].reshape(2, -1)
                into[0] += own[0] * q + own[1] * u
                into[1] += own[1] * q + own[2] * u
            else:
                add(image[here], values[here], own)


def _raised(covariance: Map, floor: float) -> Map:
    """Raise the eigenvalues of QQ, QU, UU, ``(3, npix)``, to at least ``floor``."""
    qq, qu, uu = covariance
    mean, half = (qq + uu) / 2, (qq - uu) / 2
    apart = np.hypot(half, qu)
    high, low = np.maximum(mean + apart, floor), np.maximum(mean - apart, floor)
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.where(apart > 0, (high - low) / (2 * apart), 0.0)
    middle = (high + low) / 2
    return np.stack([middle + half * scale, qu * scale, middle - half * scale])
