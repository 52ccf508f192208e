"""Spherical harmonic transforms of HEALPix maps in torch, in float64, on a GPU.

The Legendre stage runs in Triton kernels (`legendre_gpu`, for spin 2 `wigner_gpu`), the Fourier
stage in torch.fft. On a CPU the same formulas run in numba and torch: slower than ducc0, and there
for whatever is built on the class to be tested without a GPU. No atomic additions: the same input
gives the same bits.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from skyfill.harmonics import legendre, wigner
from skyfill.harmonics.fourier import RingFourier, row_lengths
from skyfill.healpix.checks import check_nside

__all__ = ["TorchSphere", "accumulate", "almxfl", "bytes_needed", "coloured", "mixed"]

#: Tables of a plan that the device keeps.
_TABLES = ("x", "x2", "first", "a", "b", "even", "next_even", "odd", "start", "p", "before")
#: Tables of a plan for spin 2 that the device keeps.
_TABLES_OF_SPIN_2 = (
    "x",
    "first",
    "a",
    "b",
    "weight",
    "start",
    "plus",
    "plus_before",
    "minus",
    "minus_before",
)
#: Largest lmax: to here m fits the digits of the plan's logarithms and a launch's second axis.
_LARGEST = 32767
#: Largest Nside: to here squares of pixel numbers in a ring fit 32 bits.
_FINEST = 16384
#: Sums over rings of one order that are kept apart and added at the end.
PARTIAL_SUMS = 4


class TorchSphere:
    """Transforms between alm and a whole HEALPix map, resident on one device.

    Parameters
    ----------
    nside
        Resolution.
    lmax
        Largest multipole of the tables; transforms take any up to it.
    device
        Where tensors live and the work is done: ``"cuda"``, ``"cuda:1"`` or ``"cpu"``.

    Raises
    ------
    ValueError
        ``nside`` is not a power of two, or ``lmax`` is out of range.

    Notes
    -----
    alm are ``(nalm,)`` complex128 in healpy's order with mmax = lmax, maps ``(npix,)`` float64 in
    RING order. E and B are ``(2, nalm)``, Q and U ``(2, npix)``, with the signs of healpy and ducc0
    (spin 2); below l = 2 E and B are not read, and given as zero. Imaginary parts of m = 0 are not
    read. The first transform of E and B makes tables for spin 2. One plan serves one thread at a
    time.
    """

    def __init__(self, nside: int, lmax: int, *, device: str | torch.device = "cuda") -> None:
        self.nside = check_nside(nside)
        if not 0 <= lmax <= _LARGEST:
            raise ValueError(f"`lmax={lmax}`: expected 0 to {_LARGEST}")
        self.lmax = lmax
        if self.nside > _FINEST:
            raise ValueError(f"`nside={nside}`: the transforms in torch go up to {_FINEST}")
        self.device = torch.empty(0, device=device).device  # "cuda" gets its number
        self._plan = legendre.plan(nside, lmax)
        self._kernels: Any = None
        if self.device.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1":
            from skyfill.harmonics import legendre_gpu

            self._kernels = legendre_gpu
            self._tables = {
                name: torch.from_numpy(getattr(self._plan, name)).to(self.device)
                for name in _TABLES
            }
        mlim = torch.from_numpy(self._plan.mlim).to(self.device)
        self._mlim = mlim
        self.fourier = RingFourier(nside, lmax, mlim, kernels=self._kernels is not None)
        self.leg = torch.zeros(
            2, self._plan.rings, lmax + 1, dtype=torch.complex128, device=self.device
        )
        self._spin2: _Spin2 | None = None

    def synthesis(self, alm: Tensor) -> Tensor:
        """Sum harmonics on the pixel centres, Y a.

        Parameters
        ----------
        alm
            ``(nalm,)`` complex128, healpy's order, of any lmax up to the plan's; or ``(2, nalm)``,
            E and B.

        Returns
        -------
            ``(npix,)`` float64, RING; or ``(2, npix)``, Q and U.
        """
        lmax = self._lmax_of(alm)
        alm = alm.resolve_conj().contiguous()
        with self._current():
            if alm.ndim == 1:
                self.to_leg(alm, lmax)
                return self.fourier.to_map(self.leg, lmax)
            spin2 = self.spin2
            spin2.to_leg(alm, self.leg, lmax)
            sky = torch.empty(2, 12 * self.nside**2, dtype=torch.float64, device=self.device)
            spin2.fourier.to_map(self.leg, lmax, sky[0])
            spin2.fourier.to_map(spin2.leg, lmax, sky[1])
            return sky

    def adjoint(self, values: Tensor, lmax: int | None = None) -> Tensor:
        """Apply the transpose of `synthesis`, Yᵀ d: a plain sum over pixels, without weights.

        Parameters
        ----------
        values
            ``(npix,)`` float64, RING; or ``(2, npix)``, Q and U.
        lmax
            Largest multipole of the result; the plan's if not given.

        Returns
        -------
            ``(nalm,)`` complex128; or ``(2, nalm)``, E and B.
        """
        lmax = self.lmax if lmax is None else lmax
        if not 0 <= lmax <= self.lmax:
            raise ValueError(f"`lmax={lmax}`: this plan holds multipoles up to {self.lmax}")
        npix = 12 * self.nside**2
        if values.shape not in ((npix,), (2, npix)) or values.dtype != torch.float64:
            raise ValueError(
                f"values: expected ({npix},) or (2, {npix}) float64, "
                f"got {tuple(values.shape)} {values.dtype}"
            )
        self._same_device(values, "values")
        values = values.contiguous()
        with self._current():
            if values.ndim == 1:
                self.fourier.to_leg(values, self.leg, lmax)
                return self.from_leg(lmax)
            spin2 = self.spin2
            spin2.fourier.to_leg(values[0], self.leg, lmax)
            spin2.fourier.to_leg(values[1], spin2.leg, lmax)
            return spin2.from_leg(self.leg, lmax)

    @property
    def spin2(self) -> _Spin2:
        """The Legendre stage of E and B, made when first asked for."""
        if self._spin2 is None:
            with self._current():
                self._spin2 = _Spin2(self)
        return self._spin2

    def _same_device(self, tensor: Tensor, name: str) -> None:
        if tensor.device != self.device:
            raise ValueError(f"`{name}`: it is on {tensor.device}, the plan on {self.device}")

    def _current(self) -> AbstractContextManager[object]:
        """Make the device the one on which kernels are launched."""
        return torch.cuda.device(self.device) if self.device.type == "cuda" else nullcontext()

    def filtered(
        self, values: Tensor, fl: Tensor, factor: Tensor, pixels: Tensor | None = None
    ) -> Tensor:
        """Apply F Y f Yᵀ F, with F and f diagonal in pixels and in multipoles.

        Parameters
        ----------
        values
            ``(n,)`` float64, one for each of ``pixels``.
        fl
            ``(l + 1,)`` f_l, float64; its length sets the lmax.
        factor
            ``(n,)`` F, float64 or float32.
        pixels
            ``(n,)`` int64, RING, each once. The whole sphere if not given.

        Returns
        -------
            ``(n,)`` float64.
        """
        if pixels is None:
            sky = values * factor
        else:
            sky = torch.zeros(12 * self.nside**2, dtype=torch.float64, device=self.device)
            sky[pixels] = values * factor
        alm = self.adjoint(sky, len(fl) - 1)
        del sky
        sky = self.synthesis(almxfl(alm, fl))
        return (sky if pixels is None else sky[pixels]) * factor

    def _lmax_of(self, alm: Tensor) -> int:
        lmax = _lmax(alm.shape[-1])
        number = (lmax + 1) * (lmax + 2) // 2
        if alm.shape not in ((number,), (2, number)) or alm.dtype != torch.complex128:
            raise ValueError(
                "alm: expected (nalm,) or (2, nalm) complex128, nalm = (lmax + 1)(lmax + 2) / 2, "
                f"got {tuple(alm.shape)} {alm.dtype}"
            )
        if lmax > self.lmax:
            raise ValueError(
                f"alm: its lmax is {lmax}; this plan holds multipoles up to {self.lmax}"
            )
        self._same_device(alm, "alm")
        return lmax

    def to_leg(self, alm: Tensor, lmax: int) -> None:
        """Do the Legendre stage of `synthesis`: fill ``leg`` up to order ``lmax``."""
        if self._kernels:
            coefficients = self._kernels.pack(self._tables, alm, lmax)
            self._kernels.sums(self._tables, coefficients, self._mlim, self.leg, lmax)
        else:
            packed = legendre.packed(self._plan, alm.numpy(), lmax)
            legendre.sums(self._plan, packed, lmax, self.leg.numpy())

    def from_leg(self, lmax: int) -> Tensor:
        """Do the Legendre stage of `adjoint`: turn ``leg`` into alm."""
        if self._kernels:
            found = self._kernels.adjoint_sums(
                self._tables, self._mlim, self.leg, lmax, PARTIAL_SUMS
            )
            alm: Tensor = self._kernels.unpack(self._tables, found, lmax)
            return alm
        found = legendre.adjoint_sums(self._plan, self.leg.numpy(), lmax)
        return torch.from_numpy(legendre.unpacked(self._plan, found, lmax))

    @property
    def has_kernels(self) -> bool:
        """Whether Triton's kernels do the work."""
        return self._kernels is not None

    @property
    def bytes_kept(self) -> int:
        """Bytes of the tables and of the buffer between the two stages."""
        kept = [self.leg, *self.fourier.tables]
        if self._kernels:
            kept += self._tables.values()
        if self._spin2:
            kept += self._spin2.kept
        return sum(tensor.numel() * tensor.element_size() for tensor in kept)


class _Spin2:
    """The Legendre stage of E and B: tables, and the buffer of U; that of Q is the sphere's."""

    def __init__(self, sphere: TorchSphere) -> None:
        plan = wigner.plan(sphere.nside, sphere.lmax)
        self._kernels: Any = None
        if sphere.has_kernels:
            from skyfill.harmonics import wigner_gpu

            self._kernels = wigner_gpu
            self._tables = {
                name: torch.from_numpy(getattr(plan, name)).to(sphere.device)
                for name in _TABLES_OF_SPIN_2
            }
        else:
            self._plan = plan
        self._mlim = torch.from_numpy(plan.mlim).to(sphere.device)
        self.fourier = sphere.fourier.limited(self._mlim)
        self.leg = torch.zeros_like(sphere.leg)

    def to_leg(self, alm: Tensor, leg: Tensor, lmax: int) -> None:
        """Fill ``leg``, that of Q, and the own one of U up to order ``lmax``."""
        if self._kernels:
            coefficients = self._kernels.pack(self._tables, alm, lmax)
            self._kernels.sums(self._tables, coefficients, self._mlim, leg, self.leg, lmax)
        else:
            packed = wigner.packed(self._plan, alm.numpy(), lmax)
            wigner.sums(self._plan, packed, lmax, leg.numpy(), self.leg.numpy())

    def from_leg(self, leg: Tensor, lmax: int) -> Tensor:
        """Turn ``leg``, that of Q, and the own one of U into E and B."""
        if self._kernels:
            found = self._kernels.adjoint_sums(
                self._tables, self._mlim, leg, self.leg, lmax, PARTIAL_SUMS
            )
            alm: Tensor = self._kernels.unpack(self._tables, found, lmax)
            return alm
        found = wigner.adjoint_sums(self._plan, leg.numpy(), self.leg.numpy(), lmax)
        return torch.from_numpy(wigner.unpacked(self._plan, found, lmax))

    @property
    def kept(self) -> list[Tensor]:
        """What is kept on the device, besides what the sphere keeps."""
        return [self.leg, self._mlim, *(self._tables.values() if self._kernels else ())]


def _lmax(number: int) -> int:
    """Give the lmax of so many alm."""
    return int((2 * number + 0.25) ** 0.5 - 1.5 + 1e-6)


def almxfl(alm: Tensor, fl: Tensor) -> Tensor:
    """Multiply a_lm by f_l on the device; ``fl``, float64, beyond its end counts as zero.

    alm are ``(nalm,)``, or ``(2, nalm)`` with one ``(l + 1,)`` for both or ``(2, l + 1)``.
    """
    lmax = _lmax(alm.shape[-1])
    if fl.shape[-1] <= lmax:
        fl = torch.nn.functional.pad(fl, (0, lmax + 1 - fl.shape[-1]))
    return alm * fl[..., _ell(lmax, alm.device)]


def coloured(numbers: Tensor, root: Tensor) -> Tensor:
    """Make alm from normal numbers.

    Parameters
    ----------
    numbers
        ``((lmax + 1)²,)`` float64, l by l: that of m = 0, then real and imaginary parts of m > 0.
    root
        ``(lmax + 1,)``, √C_l.
    """
    lmax = len(root) - 1
    ell = _ell(lmax, numbers.device).to(torch.int64)
    each = torch.arange(lmax + 1, device=numbers.device)
    at = ell * ell + 2 * torch.repeat_interleave(each, lmax + 1 - each)  # of the imaginary part
    alm = torch.empty(len(ell), dtype=torch.complex128, device=numbers.device)
    alm.imag = numbers[at]
    alm.imag[: lmax + 1] = 0.0
    at[lmax + 1 :] -= 1
    alm.real = numbers[at]
    scale = root[ell] * 0.7071067811865476
    scale[: lmax + 1] = root
    return alm * scale


def mixed(alm: Sequence[Tensor], matrix: Tensor, lmax: Sequence[int] | None = None) -> list[Tensor]:
    """Multiply the vector of alm of each l and m by a matrix, see `transforms.mixed`."""
    last = matrix.shape[-1] - 1
    rows = torch.cat([_ending(each.reshape(-1, each.shape[-1]), last) for each in alm])
    each = matrix[:, :, _ell(last, rows.device)]
    mixture = torch.stack([(row * rows).sum(0) for row in each])
    if lmax is None:
        lmax = [_lmax_of(part) for part in alm]
    rest = len(mixture) - len(lmax) + 1
    parts = torch.split(mixture, [1] * (len(lmax) - 1) + [rest])
    found = [_ending(part, end) for part, end in zip(parts, lmax, strict=True)]
    return [part[0] if len(part) == 1 else part for part in found]


def accumulate(source: Tensor, factor: Tensor, target: Tensor) -> None:
    """Add f_l a_lm to other alm, in place, see `transforms.accumulate`."""
    target += _ending(almxfl(source, factor)[None], _lmax(len(target)))[0]


def _lmax_of(alm: Tensor) -> int:
    """Give the largest multipole of alm."""
    return int((2 * alm.shape[-1] + 0.25) ** 0.5 - 1.5 + 1e-6)


def _ending(alm: Tensor, lmax: int) -> Tensor:
    """Give alm, ``(k, nalm)``, up to another multipole, zero beyond their own."""
    old = _lmax_of(alm)
    if old == lmax:
        return alm
    ell = _ell(lmax, alm.device).to(torch.int64)
    each = torch.arange(lmax + 1, device=alm.device)
    m = torch.repeat_interleave(each, lmax + 1 - each)
    known = ell <= old
    out = alm.new_zeros((len(alm), len(ell)))
    out[:, known] = alm[:, (m * (2 * old + 1 - m) // 2 + ell)[known]]
    return out


@lru_cache(maxsize=4)
def _ell(lmax: int, device: torch.device) -> Tensor:
    """Give the l of every alm in healpy's order, int32."""
    m = torch.arange(lmax + 1, dtype=torch.int32, device=device)
    order = torch.repeat_interleave(m, lmax + 1 - m)
    begin = order.to(torch.int64) * (2 * lmax + 1 - order) // 2
    return (torch.arange(len(order), device=device) - begin).to(torch.int32)


def bytes_needed(nside: int, lmax: int, *, spin2: bool = False) -> int:
    """Give the largest number of bytes that transforms take on a device, with their tables.

    The map and the alm that a caller passes are not counted; what is returned is. ``spin2`` counts
    E and B, Q and U too.
    """
    rings = -(-2 * nside // legendre.TILE) * legendre.TILE
    number = (lmax + 2) ** 2 // 4 + legendre.STEP * (lmax + 1)
    orders = (lmax + 1) * rings
    poles = sum((end - begin) * length for begin, end, length in row_lengths(nside))
    row = max(((end - begin) * length for begin, end, length in row_lengths(nside)), default=0)
    kept = 5 * 8 * number + 2 * 8 * orders + 2 * 16 * orders + 16 * poles
    belt = 4 * nside * (2 * nside + 1)
    fourier = max(16 * poles + 2 * 16 * row, 2 * 8 * belt + 2 * 8 * belt)
    sky = 8 * 12 * nside**2
    if spin2:
        number = wigner.size(lmax)
        kept += 3 * 8 * number + 4 * 8 * orders + 2 * 16 * orders
        sky *= 2
    alm = (2 if spin2 else 1) * 8 * (lmax + 1) * (lmax + 2)
    legendre_stage = PARTIAL_SUMS * 4 * 8 * number + alm
    return kept + max(legendre_stage, fourier + sky)
