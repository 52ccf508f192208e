"""The transforms that a solver uses: ducc0's on arrays, or a device's on tensors.

A `Sphere` decides where the work is done and what its vectors are: arrays of numpy, or tensors of
torch that stay on a device. Code above it does arithmetic on these vectors and indexes them by
other vectors, which both kinds understand.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from skyfill.harmonics.sphere import adjoint, adjoint_of_product, parts_of, synthesis
from skyfill.harmonics.transforms import Rings, accumulate, almxfl, filtered, mixed
from skyfill.healpix.jit import by_pieces
from skyfill.lazy import needs

if TYPE_CHECKING:
    from skyfill.harmonics.torchsphere import TorchSphere

__all__ = [
    "DeviceSphere",
    "DuccSphere",
    "Pixels",
    "Sphere",
    "Vector",
    "device_for",
    "device_memory",
    "free_memory",
    "sphere_on",
]

Alm = NDArray[np.complex128]
Map = NDArray[np.float64]
Vector = Any  # an array, or a tensor

#: Compute capabilities of GPUs with a rate of 1/2 in float64.
_DOUBLE = ((6, 0), (7, 0), (8, 0), (9, 0), (10, 0))
#: Exists on Linux where NVIDIA's driver is loaded.
_DRIVER = Path("/proc/driver/nvidia/version")


class Pixels(Protocol):
    """Transforms to and from some pixels, with a diagonal F ``(n,)``; None for F = 1."""

    def adjoint(self, values: Vector, factor: Vector | None, lmax: int) -> Vector:
        """Give Yᵀ F v, with v ``(n,)``."""

    def synthesis(
        self, alm: Vector, factor: Vector | None, *, out: Vector | None = None, add: bool = False
    ) -> Vector:
        """Give F Y a at the pixels, ``(n,)``; in ``out``, or added to it, if that is given."""

    def filtered(self, alm: Vector, fl: Map) -> Vector:
        """Multiply a_lm by f_l; ``alm`` may be overwritten."""


class Sphere(Protocol):
    """Transforms of maps of one resolution, and the vectors that they take."""

    def vector(self, array: Vector) -> Vector:
        """Give an array as a vector; one of another device is moved."""

    def array(self, vector: Vector) -> NDArray[Any]:
        """Give a vector as an array."""

    def synthesis(self, alm: Vector) -> Vector:
        """Give Y a, ``(npix,)``."""

    def adjoint(self, values: Vector, lmax: int) -> Vector:
        """Give Yᵀ v, without weights."""

    def almxfl(self, alm: Vector, fl: Map) -> Vector:
        """Multiply a_lm by f_l, ``(lmax + 1,)``, on the host."""

    def mixed(
        self,
        alm: Sequence[Vector],
        matrix: Map,
        lmax: Sequence[int] | None = None,
        *,
        overwrite: bool = False,
    ) -> list[Vector]:
        """Multiply alm of several components by a matrix of each l, see `transforms.mixed`."""

    def accumulate(self, source: Vector, factor: Map, target: Vector) -> None:
        """Add f_l a_lm to other alm, in place, see `transforms.accumulate`."""

    def pixels(self, chosen: NDArray[np.int64] | None, *, spin: int = 0) -> Pixels:
        """Give the transforms to and from some pixels, RING, increasing; None for all.

        Vectors of spin 2 are ``(2, n)``, Q and U, and alm ``(2, nalm)``, E and B.
        """


class _Whole:
    """Transforms of whole maps, with the methods of `Rings`."""

    filtered = staticmethod(filtered)

    def __init__(self, nside: int, threads: int, spin: int) -> None:
        self._nside = nside
        self._threads = threads
        self._spin = spin

    def adjoint(self, values: Map, factor: NDArray[Any] | None, lmax: int) -> Alm:
        return adjoint_of_product(
            values, factor, self._nside, lmax=lmax, spin=self._spin, threads=self._threads
        )

    def synthesis(
        self,
        alm: Alm,
        factor: NDArray[Any] | None,
        *,
        out: Map | None = None,
        add: bool = False,
    ) -> Map:
        npix = 12 * self._nside**2
        if out is None:
            out = np.empty((2, npix) if self._spin else npix)
        rows = out.reshape(-1, npix)
        for part, sky in parts_of(alm, self._nside, spin=self._spin, threads=self._threads):
            given = sky.reshape(len(rows), -1), None if factor is None else factor[part]
            by_pieces(given[0].shape[1], partial(_put, *given, rows[:, part], add))
        return out


def _put(values: Map, factor: NDArray[Any] | None, out: Map, add: bool, here: slice) -> None:
    """Write F v to a piece, or add it."""
    some, into = values[:, here], out[:, here]
    if factor is not None:
        some *= factor[here]
    if add:
        into += some
    else:
        into[:] = some


class DuccSphere:
    """ducc0's transforms; vectors are arrays.

    Parameters
    ----------
    nside
        Resolution of the maps.
    threads
        Number of threads; 0 for all there are.
    """

    def __init__(self, nside: int, threads: int = 0) -> None:
        self._nside = nside
        self._threads = threads

    def vector(self, array: Vector) -> NDArray[Any]:
        """Return the array itself; copy a tensor from its device."""
        return array if isinstance(array, np.ndarray) else np.asarray(array.cpu().numpy())

    array = vector

    def synthesis(self, alm: Alm) -> Map:
        """Give Y a, ``(npix,)``."""
        return synthesis(alm, self._nside, threads=self._threads)

    def adjoint(self, values: Map, lmax: int) -> Alm:
        """Give Yᵀ v, without weights."""
        return adjoint(values, lmax=lmax, threads=self._threads)

    def almxfl(self, alm: Alm, fl: Map) -> Alm:
        """Multiply a_lm by f_l, ``(lmax + 1,)``."""
        return almxfl(alm, fl)

    def mixed(
        self,
        alm: Sequence[Alm],
        matrix: Map,
        lmax: Sequence[int] | None = None,
        *,
        overwrite: bool = False,
    ) -> list[Alm]:
        """Multiply alm of several components by a matrix of each l, see `transforms.mixed`."""
        return mixed(alm, matrix, lmax, overwrite=overwrite)

    accumulate = staticmethod(accumulate)

    def pixels(self, chosen: NDArray[np.int64] | None, *, spin: int = 0) -> Pixels:
        """Give the transforms to and from some pixels, RING, increasing; None for all."""
        if chosen is None:
            return _Whole(self._nside, self._threads, spin)
        return Rings(self._nside, chosen, spin=spin, threads=self._threads)


class _DevicePixels:
    """Transforms on a device to and from some pixels, with the methods of `Rings`."""

    def __init__(self, sphere: DeviceSphere, chosen: Vector | None) -> None:
        self._sphere = sphere
        self._chosen = chosen

    def adjoint(self, values: Vector, factor: Vector | None, lmax: int) -> Vector:
        values = values if factor is None else factor * values
        if self._chosen is not None:
            sky = values.new_zeros((*values.shape[:-1], self._sphere.npix))
            sky[..., self._chosen] = values
            values = sky
        return self._sphere.adjoint(values, lmax)

    def synthesis(
        self, alm: Vector, factor: Vector | None, *, out: Vector | None = None, add: bool = False
    ) -> Vector:
        sky = self._sphere.synthesis(alm)
        found = sky if self._chosen is None else sky[..., self._chosen]
        found = found if factor is None else factor * found
        if out is None:
            return found
        return out.add_(found.view_as(out)) if add else out.copy_(found.view_as(out))

    def filtered(self, alm: Vector, fl: Map) -> Vector:
        return self._sphere.almxfl(alm, fl)


class DeviceSphere:
    """Transforms on a device; vectors are tensors of float64 that stay there.

    Parameters
    ----------
    transforms
        The transforms, for the largest lmax in use.
    """

    def __init__(self, transforms: TorchSphere) -> None:
        self._transforms = transforms
        self.device = transforms.device
        self.npix = 12 * transforms.nside**2

    def vector(self, array: Vector) -> Vector:
        """Copy an array to the device; return a tensor itself."""
        import torch

        if not isinstance(array, np.ndarray):
            return array
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def array(self, vector: Vector) -> NDArray[Any]:
        """Copy a tensor from the device."""
        return np.asarray(vector.cpu().numpy())

    def gathered(self, parts: Iterable[NDArray[np.float64]], size: int) -> Vector:
        """Copy arrays to the device, one after the other into one tensor, ``(size,)``."""
        import torch

        out = torch.empty(size, dtype=torch.float64, device=self.device)
        start = 0
        for part in parts:
            out[start : start + part.size] = torch.from_numpy(part)
            start += part.size
        return out

    def joined(self, maps: Sequence[Vector], scales: Sequence[float]) -> Vector:
        """Divide maps, arrays or tensors of any shape, by a number each; give one vector of all."""
        import torch

        pairs = zip(maps, scales, strict=True)
        return torch.cat([(self.vector(each) / scale).reshape(-1) for each, scale in pairs])

    def coloured(self, numbers: Vector, cl: Map) -> Vector:
        """Make alm of a spectrum, ``(lmax + 1,)``, from normal numbers, ``((lmax + 1)²,)``.

        Numbers are given l by l: that of m = 0, then real and imaginary part of m = 1, 2, ...
        """
        from skyfill.harmonics.torchsphere import coloured

        return coloured(numbers, self.vector(np.sqrt(cl)))

    def synthesis(self, alm: Vector) -> Vector:
        """Give Y a, ``(npix,)``; of E and B, ``(2, nalm)``, Q and U, ``(2, npix)``."""
        return self._transforms.synthesis(alm)

    def adjoint(self, values: Vector, lmax: int) -> Vector:
        """Give Yᵀ v, without weights."""
        return self._transforms.adjoint(values, lmax)

    def almxfl(self, alm: Vector, fl: Map) -> Vector:
        """Multiply a_lm by f_l, ``(lmax + 1,)``."""
        from skyfill.harmonics.torchsphere import almxfl

        return almxfl(alm, self.vector(fl))

    def mixed(
        self,
        alm: Sequence[Vector],
        matrix: Map,
        lmax: Sequence[int] | None = None,
        *,
        overwrite: bool = False,  # noqa: ARG002 - a tensor is not worth it
    ) -> list[Vector]:
        """Multiply alm of several components by a matrix of each l, see `transforms.mixed`."""
        from skyfill.harmonics.torchsphere import mixed

        return mixed(alm, self.vector(matrix), lmax)

    def accumulate(self, source: Vector, factor: Map, target: Vector) -> None:
        """Add f_l a_lm to other alm, in place, see `transforms.accumulate`."""
        from skyfill.harmonics.torchsphere import accumulate

        if factor.any():
            accumulate(source, self.vector(factor), target)

    def pixels(self, chosen: NDArray[np.int64] | None, *, spin: int = 0) -> Pixels:  # noqa: ARG002
        """Give the transforms to and from some pixels, RING, increasing; None for all."""
        return _DevicePixels(self, None if chosen is None else self.vector(chosen))


def device_for(name: str) -> str | None:
    """Choose where solvers work, by the name of a torch device.

    ``auto`` takes a GPU of NVIDIA whose rate in float64 is half of that in float32, as those of
    data centres have it (A100, H100, H200, B200). On others, with a rate of 1/64, the CPU is
    faster. torch is not imported if there is no such GPU.

    Returns
    -------
    The device; None for the CPU, with ducc0. That is so for ``cpu``, for devices that have no
    float64 (``mps``), and without Triton.

    Raises
    ------
    ValueError
        A GPU is asked for, and there is none.
    """
    kind = name.partition(":")[0]
    if kind not in ("auto", "cuda"):
        return None
    if kind == "auto" and "torch" not in sys.modules and not _DRIVER.exists():
        return None
    if kind == "auto" and find_spec("torch") is None:
        return None
    needs("torch")
    import torch

    if not torch.cuda.is_available():
        if kind == "auto":
            return None
        raise ValueError(f"device {name!r} is not available on this machine; pass `device='cpu'`")
    if kind == "auto":
        good = torch.cuda.get_device_capability() in _DOUBLE
        name = "cuda" if good else "cpu"
    return name if name != "cpu" and find_spec("triton") else None


def device_memory(
    device: str, nside: int, lmax: int, *, spin2: bool = False
) -> tuple[float, float]:
    """Return the bytes that transforms take on a device, and those that are free there."""
    from skyfill.harmonics.torchsphere import bytes_needed

    return float(bytes_needed(nside, lmax, spin2=spin2)), free_memory(device)


def free_memory(device: Any) -> float:  # noqa: ANN401 (a device of torch, or its name)
    """Return the bytes that are free on a device; infinite on the CPU."""
    import torch

    where = torch.device(device)
    if where.type != "cuda":
        return float("inf")
    kept = torch.cuda.memory_reserved(where) - torch.cuda.memory_allocated(where)
    return float(torch.cuda.mem_get_info(where)[0] + kept)


@lru_cache(maxsize=4)
def _device_sphere(device: str, nside: int, lmax: int) -> DeviceSphere:
    from skyfill.harmonics.torchsphere import TorchSphere

    return DeviceSphere(TorchSphere(nside, lmax, device=device))


def sphere_on(device: str | None, nside: int, lmax: int, *, threads: int = 0) -> Sphere:
    """Give the transforms on a device; the last ones made are kept.

    Parameters
    ----------
    device
        A torch device with float64; None for ducc0 on the CPU, without torch.
    nside, lmax
        Resolution and largest multipole.
    threads
        Number of threads of ducc0; 0 for all there are.
    """
    return DuccSphere(nside, threads) if device is None else _device_sphere(device, nside, lmax)
