"""Approximate the posterior covariance of wide holes in T, Q and U, each field for itself.

T is tapered in bands, as alone (`skyfill.gaussian.bands`). P has nothing to taper: EE is nearly
white up to l = 1000, so the variance behind an edge does not grow with depth. Deep inside a hole it
is that of the prior, C. A field at the edge is half E and half B once it ends there: its variance
is that of the noise, N. P takes a mean of the two. The sky around a hole tells fields that are
wider than the hole is deep, so with d the depth of the deepest pixel,

    B = σ² W⁻¹ + Y C' Yᵀ,   C'_l = C_l (1 + C_l / N)^-0.45 min(1, l d / π).

TE is left out: with that of ΛCDM the iterations are about as many, with a larger TE they are more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from skyfill.gaussian.blocks import DeviceBlocks, HoleBlocks
from skyfill.gaussian.vectors import Vector, zeros_like
from skyfill.harmonics import JointCovariance

__all__ = ["Apply", "Hybrid", "Parted", "PolarPrior"]

Apply = Callable[[Vector], Vector]
Map = NDArray[np.float64]

#: Multipoles with C' over noise below this are left out: σ² is near enough to the inverse of the
#: precision there, and at the noise of Planck hardly a multipole is left.
_FAINT = 2.0
#: Power of 1 + C / N by which the prior is reduced: 0 would be the prior, 1 the noise. Neither 0.4
#: nor 0.5 is better throughout: fills take 0.7 to 1.25 times the iterations.
_TOWARDS_NOISE = 0.45


class PolarPrior:
    """The matrix B of P that is defined in this module.

    Parameters
    ----------
    covariance
        Covariance between the pixels of the wide holes, of P or of T and P.
    deepest
        Largest distance of these pixels of P from the observed sky, radians.
    """

    def __init__(self, covariance: JointCovariance, deepest: float) -> None:
        cl, variance = covariance.signal_cl[-2:, -2:], covariance.variance[-1]
        self._covariance, self._rings = covariance, covariance.rings[-1]
        over = cl[[0, 1], [0, 1]] / (covariance.area * variance)
        wide = np.arange(cl.shape[-1]) * deepest / np.pi
        share = np.minimum(wide, 1.0) * (1 + over) ** -_TOWARDS_NOISE
        heard = np.flatnonzero(np.max(share * over, axis=0) > _FAINT)
        end = int(heard[-1]) + 1 if heard.size else 0
        root = np.sqrt(share[:, :end])
        self._cl = root[:, None] * cl[:, :, :end] * root

    def apply(self, values: Vector) -> Vector:
        """Compute B v, ``(2n,)``, Q and U one after the other."""
        out = self._covariance.noisy_of(len(self._covariance.spins) - 1, values)
        if self._cl.size:
            alm = self._rings.adjoint(values.reshape(2, -1), None, self._cl.shape[-1] - 1)
            (alm,) = self._covariance.sphere.mixed([alm], self._cl, overwrite=True)
            self._rings.synthesis(alm, None, out=out.reshape(2, -1), add=True)
        return out


class Parted:
    """The preconditioner of one field: blocks of its small holes, and another of the wide ones."""

    def __init__(
        self,
        blocks: HoleBlocks | DeviceBlocks | None,
        wide: Apply,
        at: Vector,
    ) -> None:
        self._blocks, self._wide, self._at = blocks, wide, at

    def apply(self, values: Vector) -> Vector:
        """Compute the product with the field's part of a vector."""
        if self._blocks is None:
            return self._wide(values)
        out = self._blocks.solve(values)
        if len(self._at):
            out[self._at] = self._wide(values[self._at])
        return out


class Hybrid:
    """The matrices of the fields, side by side.

    Parameters
    ----------
    parts
        For each field its slice of a vector.
    fields
        For each field what applies its matrix; not used where the slice is empty.
    """

    def __init__(self, parts: Sequence[slice], fields: Sequence[Apply]) -> None:
        fields_of = zip(parts, fields, strict=True)
        self._fields = [(part, each) for part, each in fields_of if part.stop > part.start]

    def apply(self, values: Vector) -> Vector:
        """Compute the product with a vector."""
        if len(self._fields) == 1:
            return self._fields[0][1](values)
        out = zeros_like(values)
        for part, each in self._fields:
            out[part] = each(values[part])
        return out
