"""Degrade a map and its prior to a lower resolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.brief import brief
from skyfill.gaussian.vectors import Vector
from skyfill.harmonics import Sphere
from skyfill.healpix import nest_to_ring, reorder, ring_to_nest
from skyfill.healpix.arrays import pair_of
from skyfill.healpix.checks import check_nside
from skyfill.healpix.jit import PIECE, by_parts
from skyfill.healpix.stokes import nside_of
from skyfill.prior import pixel_window

__all__ = ["CoarseModel", "Degraded", "degrade"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class CoarseModel:
    """Prior of a Gaussian sky whose pixels are averaged over coarser ones.

    Attributes
    ----------
    nside
        Nside of the coarse pixels.
    signal_cl
        ``(lmax + 1,)``, spectrum of the signal on coarse pixels, up to at most 3 nside - 1, µK².
    noise_cl
        White spectrum on coarse pixels: the noise and the aliased signal, µK².
    window
        ``(lmax + 1,)``: the coarse pixel window over the fine one. The mean of the signal's alm on
        the fine map is ``window * fine_cl`` times the coarse `Solution.whitened`.
    """

    __repr__ = brief

    nside: int
    signal_cl: Map
    noise_cl: float
    window: Map

    @classmethod
    def of(cls, nside: int, *, fine_nside: int, signal_cl: Map, noise_cl: float) -> CoarseModel:
        """Build the model from the fine map's prior; arguments as for `Solver`."""
        ratio = pixel_window(nside, signal_cl.size - 1) / pixel_window(
            fine_nside, signal_cl.size - 1
        )
        cl = signal_cl * ratio**2
        lmax = min(3 * nside, signal_cl.size) - 1
        modes = (2 * np.arange(signal_cl.size) + 1) / (12 * nside**2)
        aliased = float(np.sum((modes * cl)[lmax + 1 :]))
        return cls(nside, cl[: lmax + 1], noise_cl + aliased, ratio[: lmax + 1])


def degrade(values: ArrayLike, observed: ArrayLike, nside: int) -> tuple[Map, Map]:
    """Average the observed pixels within each coarser pixel.

    Parameters
    ----------
    values, observed
        ``(npix,)``, RING; unobserved pixels are not read.
    nside
        Nside of the coarse pixels.

    Returns
    -------
    Two maps ``(12 nside²,)``, RING: the averages, zero where nothing is observed, and the observed
    share of each coarse pixel.
    """
    (values, observed), nside = (
        pair_of(values, observed, taker="gaussian.degrade"),
        check_nside(nside),
    )
    fine = nside_of(values, "values")
    if nside > fine:
        raise ValueError(f"a map of Nside {fine} is not degraded to Nside {nside}")
    ratio = (fine // nside) ** 2
    mean, share = np.empty((2, 12 * nside**2))
    step = max(1, PIECE // ratio)

    def average(part: slice) -> None:
        for first in range(part.start, part.stop, step):
            here = slice(first, min(first + step, part.stop))
            ring = nest_to_ring(fine, np.arange(here.start * ratio, here.stop * ratio))
            seen = observed.take(ring).reshape(-1, ratio)
            count = np.count_nonzero(seen, axis=1)
            total = np.where(seen, values.take(ring).reshape(-1, ratio), 0.0).sum(1)
            mean[here], share[here] = total / np.maximum(count, 1), count / ratio

    by_parts(mean.size, average, least=step)
    return reorder(mean, nest_in=True, nest_out=False), reorder(share, nest_in=True, nest_out=False)


class Degraded:
    """Average the observed pixels of maps of one mask on a device, as `degrade` does.

    Parameters
    ----------
    observed
        ``(npix,)``, RING.
    nside
        Nside of the coarse pixels.
    sphere
        Decides where the work is done. Four bytes for each pixel stay there.

    Attributes
    ----------
    share
        ``(12 nside²,)``, RING: the observed share of each coarse pixel.
    """

    def __init__(self, observed: Mask, nside: int, sphere: Sphere) -> None:
        fine = nside_of(observed, "observed")
        self._ratio = (fine // nside) ** 2
        nest = ring_to_nest(nside, np.arange(12 * nside**2))
        children = np.empty((nest.size, self._ratio), dtype=np.int32)
        step = max(1, 2**22 // self._ratio)
        for start in range(0, nest.size, step):
            part = slice(start, start + step)
            all_nest = nest[part, None] * self._ratio + np.arange(self._ratio)
            children[part] = nest_to_ring(fine, all_nest.ravel()).reshape(all_nest.shape)
        count = np.count_nonzero(observed[children], axis=1)
        self.share: Map = count / self._ratio
        self._over = sphere.vector(1.0 / np.maximum(count, 1))
        self._children = sphere.vector(children.ravel())

    def __call__(self, values: Vector) -> Vector:
        """Average a map, ``(npix,)``, that is zero in unobserved pixels."""
        each = values.index_select(0, self._children).reshape(-1, self._ratio)
        return each.sum(1) * self._over
