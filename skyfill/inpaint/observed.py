"""The map to fill, without what is set aside: its fitted monopole and dipole, and a latent sky."""

from __future__ import annotations

import copy

import numpy as np
from numpy.typing import NDArray

from skyfill.harmonics.spheres import DeviceSphere, Vector
from skyfill.prior.dipole import Dipole

__all__ = ["ObservedMap"]

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]


class ObservedMap:
    """A map with its fitted monopole and dipole.

    Parameters
    ----------
    values
        ``(npix,)``, µK, RING; kept unchanged, not copied.
    dipole
        The fit for its mask.
    holes
        ``(npix,)``, RING, True where the map is filled.
    unread
        ``(npix,)``, RING, True where `data` is set to zero, if more than the holes.
    removes_dipole
        Whether `data` is without monopole and dipole, and `restored` adds them back.
    single
        Whether `data` of a float32 map is float32.

    Attributes
    ----------
    points
        ``(n,)``, RING: the only pixels that the method reads; None for all. `data` is zero
        elsewhere.
    sphere
        Transforms on a device. If given, the map is kept there, too, and `data` is a tensor.
    """

    points: NDArray[np.int64] | None = None
    sphere: DeviceSphere | None = None

    def __init__(
        self,
        values: Map,
        dipole: Dipole,
        *,
        holes: Mask,
        unread: Mask | None,
        removes_dipole: bool,
        single: bool,
    ) -> None:
        self.values = values
        self.dipole = dipole
        self.single = single
        self._holes = holes
        self._unread = unread
        self._removes = removes_dipole
        self._fitted_low = dipole.alm(values)
        self._there: tuple[Vector, Vector, Vector] | None = None

    def with_values(self, values: Map) -> ObservedMap:
        """Give another map with the same mask."""
        other = copy.copy(self)
        other.values = values
        other._fitted_low = self.dipole.alm(values)  # noqa: SLF001 - it is of this class
        other._there = None  # noqa: SLF001
        return other

    def bare(self) -> Map:
        """Return the map without its fitted monopole and dipole, to fit and to judge a prior."""
        return self._less(self._fitted_low)

    def data(self, latent: Vector | None = None) -> Vector:
        """Return the map that is filled, minus a latent sky; 0 where missing.

        The array, or tensor, of the latent sky is reused for the result.
        """
        if self.sphere is not None:
            bare, unread, _ = self._on_device(self.sphere)
            out = bare.clone() if latent is None else latent.neg_().add_(bare)
            out[unread] = 0.0
            return out
        if self.points is not None and latent is None:
            out = np.zeros(self.values.size)
            out[self.points] = self.values[self.points]
            if self._removes:
                out[self.points] -= self.dipole.at(self._fitted_low, self.points)
            return out
        return self._less(self._fitted_low if self._removes else None, latent)

    def restored(self, fill: Vector) -> Map:
        """Add monopole and dipole back to a fill, ``(nhole,)``, in place; return an array."""
        if self.sphere is not None:
            sphere, (_, _, low) = self.sphere, self._on_device(self.sphere)
            return sphere.array(fill + low if self._removes else fill)
        out: Map = fill
        if not self._removes:
            return out
        if self.points is not None:
            out += self.dipole.at(self._fitted_low, np.flatnonzero(self._holes))
            return out
        for part, low in self.dipole.parts(self._fitted_low):
            first = int(np.count_nonzero(self._holes[: part.start]))
            chosen = low[self._holes[part]]
            out[first : first + chosen.size] += chosen
        return out

    def _on_device(self, sphere: DeviceSphere) -> tuple[Vector, Vector, Vector]:
        """Return, on the device, what stays there.

        That is the map without monopole and dipole, where it is not read, and monopole and dipole
        in the holes.
        """
        if self._there is None:
            bare = sphere.vector(self.values).double()
            unread = sphere.vector(self._holes if self._unread is None else self._unread)
            low = bare.new_zeros(0)
            if self._removes:
                whole = sphere.synthesis(sphere.vector(self._fitted_low))
                low = whole[sphere.vector(self._holes)]
                bare = bare - whole
            else:
                bare = bare.clone()  # on a CPU it would be the caller's array
            bare[unread] = 0.0
            self._there = bare, unread, low
        return self._there

    def _less(self, low_alm: NDArray[np.complex128] | None, latent: Map | None = None) -> Map:
        """Return the map minus a monopole and dipole and a latent sky; 0 where missing."""
        kind = self.values.dtype if self.single else np.float64
        out = np.empty(self.values.size, kind) if latent is None else latent
        if low_alm is None and latent is None:
            out[:] = self.values
        elif low_alm is None:
            np.subtract(self.values, out, out=out)
        else:
            for part, low in self.dipole.parts(low_alm):
                if latent is None:
                    np.subtract(self.values[part], low, out=out[part], casting="same_kind")
                    continue
                np.subtract(low, self.values[part], out=low)
                out[part] += low
                np.negative(out[part], out=out[part])
        if self._unread is None:
            out[self._holes] = 0.0
        else:
            out[self._unread] = 0.0
        return out
