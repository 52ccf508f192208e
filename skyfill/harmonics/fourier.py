"""Fourier transforms along the rings of a HEALPix map, in torch.

Coefficients F_m of each ring (``leg[north or south, ring, m]``, m >= 0; F_{-m} is the conjugate)
become pixels Σ_m F_m e^{im(φ0 + 2πj/n)}, and back by the transpose. The phase φ0 is π/n on the
polar rings and on every second ring between, else 0. Orders beyond n/2 fold onto lower ones:

    H_k = Σ_{m ≡ k} F_m + Σ_{m ≡ -k, m > 0} F_m*   (mod n)

Between the polar caps all rings have 4 nside pixels and lie in the map one after the other: one
batch of real transforms. In the caps ring i has n = 4i. North and south are the real and imaginary
part of one row, which is transformed by convolution (Bluestein's chirp): jk = (j² + k² - (j-k)²)/2,
so any n needs only transforms of lengths 2^a and 3 2^a. The spectra of the chirps are kept.

On CUDA four kernels (`fourier_gpu`) fold, read and write; on a CPU torch's own operations do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

__all__ = ["RingFourier", "row_lengths"]

#: Ring at which the shortest rows end: shorter ones would only mean more launches.
_SHORTEST = 128


def row_lengths(nside: int) -> list[tuple[int, int, int]]:
    """Give the groups of polar rings with a common row length: first ring, end, length.

    A row of ring i, n = 4i, holds a convolution of 2n - 1 numbers or more.
    """
    groups = []
    begin, bound = 1, min(_SHORTEST, max(2, 1 << (nside - 2).bit_length())) if nside > 1 else 0
    while begin < nside:
        groups.append((begin, min(bound + 1, nside), 8 * bound))
        begin = bound + 1
        power_of_two = bound & (bound - 1) == 0
        bound = bound * 3 // 2 if power_of_two else bound * 4 // 3
    return groups


def _unit(number: Tensor, n: Tensor) -> Tensor:
    """Give e^{iπ number/n} for integers."""
    angle = (number % (2 * n)).to(torch.float64) / n * math.pi
    return torch.polar(torch.ones_like(angle), angle)


class RingFourier:
    """The Fourier stage of transforms at one resolution.

    Parameters
    ----------
    nside
        Resolution.
    lmax
        Largest order of the buffers ``leg``, which are ``(2, rings, lmax + 1)`` complex128.
    mlim
        ``(rings,)`` largest order that matters on a ring pair, int32.
    kernels
        Use the kernels of `fourier_gpu`; they run on CUDA, and on a CPU in Triton's interpreter.
    """

    def __init__(self, nside: int, lmax: int, mlim: Tensor, *, kernels: bool) -> None:
        self.nside, self.lmax = nside, lmax
        self.device = mlim.device
        self.mlim = mlim
        self._kernels: Any = None
        if kernels:
            from skyfill.harmonics import fourier_gpu

            self._kernels = fourier_gpu
        self._groups = row_lengths(nside)
        lengths = torch.zeros(max(nside - 1, 0), dtype=torch.int64)
        for begin, end, length in self._groups:
            lengths[begin - 1 : end - 1] = length
        ends = torch.cumsum(lengths, 0)
        self._size = int(ends[-1]) if nside > 1 else 0
        self.offsets = (ends - lengths).to(self.device)
        self.lengths = lengths.to(self.device, torch.int32)
        self.longest = int(lengths.max()) if nside > 1 else 0
        self._chirps = torch.empty(self._size, dtype=torch.complex128, device=self.device)
        for begin, end, length in self._groups:
            n = 4 * torch.arange(begin, end, device=self.device)[:, None]
            t = torch.arange(length, device=self.device)
            t = torch.minimum(t, length - t)
            row = torch.where(t < n, _unit(t * t, n).conj(), 0.0)
            rows = self._rows(self._chirps, begin, end, length)
            rows[:] = torch.fft.fft(row, norm="forward")

    @property
    def tables(self) -> list[Tensor]:
        """What is kept on the device."""
        return [self.mlim, self.offsets, self.lengths, self._chirps]

    def to_map(self, leg: Tensor, lmax: int) -> Tensor:
        """Sum orders up to ``lmax`` on the pixels, ``(npix,)`` float64 in RING order."""
        nside = self.nside
        sky = torch.empty(12 * nside * nside, dtype=torch.float64, device=self.device)
        if self._kernels:
            number = 2 * nside + 1
            folded = torch.empty(number, number, dtype=torch.complex128, device=self.device)
            self._kernels.fold_equator(leg, folded, self.mlim, nside, lmax)
        else:
            folded = self._fold_equator(leg, lmax)
        belt = torch.fft.irfft(folded, n=4 * nside, norm="forward")
        del folded
        self._belt(sky)[:] = belt
        del belt
        if nside == 1:
            return sky
        work = torch.empty(self._size, dtype=torch.complex128, device=self.device)
        if self._kernels:
            self._kernels.fold_poles(leg, work, self, lmax)
        else:
            self._fold_poles(leg, work, lmax)
        for begin, end, length in self._groups:
            rows = self._rows(work, begin, end, length)
            product = torch.fft.fft(rows)
            product *= self._rows(self._chirps, begin, end, length)
            rows[:] = torch.fft.ifft(product, norm="forward")
        if self._kernels:
            self._kernels.write_poles(work, sky, self)
        else:
            self._write_poles(work, sky)
        return sky

    def to_leg(self, sky: Tensor, leg: Tensor, lmax: int) -> None:
        """Fill ``leg`` up to ``lmax`` with Σ_j d_j e^{-imφ_j}: the transpose of `to_map`."""
        spectrum = torch.fft.rfft(self._belt(sky))
        if self._kernels:
            self._kernels.read_equator(spectrum, leg, self.nside, lmax)
        else:
            self._read_equator(spectrum, leg, lmax)
        del spectrum
        if self.nside == 1:
            return
        work = torch.empty(self._size, dtype=torch.complex128, device=self.device)
        if self._kernels:
            self._kernels.take_poles(sky, work, self)
        else:
            self._take_poles(sky, work)
        for begin, end, length in self._groups:
            rows = self._rows(work, begin, end, length)
            product = torch.fft.fft(rows)
            product *= self._rows(self._chirps, begin, end, length).conj()
            rows[:] = torch.fft.ifft(product, norm="forward")
        if self._kernels:
            self._kernels.read_poles(work, leg, self, lmax)
        else:
            self._read_poles(work, leg, lmax)

    def _rows(self, flat: Tensor, begin: int, end: int, length: int) -> Tensor:
        """View the rows of the rings ``begin`` to ``end`` in a flat buffer."""
        at = 0
        for first, last, size in self._groups:
            if first == begin:
                break
            at += size * (last - first)
        return flat[at : at + length * (end - begin)].view(end - begin, length)

    def _belt(self, sky: Tensor) -> Tensor:
        """View the rings nside ... 3 nside of a map as ``(2 nside + 1, 4 nside)``."""
        nside = self.nside
        first = 2 * nside * (nside - 1)
        return sky[first : first + 4 * nside * (2 * nside + 1)].view(-1, 4 * nside)

    # On a CPU.

    def _phases(self, n: Tensor, lmax: int) -> Tensor:
        """Give e^{imπ/n}, ``(rows, lmax + 1)``."""
        return _unit(torch.arange(lmax + 1, device=self.device), n)

    def _belt_phases(self, lmax: int) -> Tensor:
        """Give e^{imφ0} for the rings nside ... 3 nside."""
        nside = self.nside
        n = torch.full((2 * nside + 1, 1), 4 * nside, device=self.device)
        phases = self._phases(n, lmax)
        phases[1::2] = 1.0
        return phases

    def _belt_leg(self, leg: Tensor, lmax: int) -> Tensor:
        nside = self.nside
        north = leg[0, nside - 1 : 2 * nside, : lmax + 1]
        return torch.cat([north, leg[1, nside - 1 : 2 * nside - 1, : lmax + 1].flip(0)])

    @staticmethod
    def _fold(terms: Tensor, n: Tensor, out: Tensor) -> None:
        """Add F_m e^{imφ0} to H_k, ``(rows, n or more)``."""
        m = torch.arange(terms.shape[1], device=terms.device)
        out.scatter_add_(1, (m % n).expand(terms.shape), terms)
        mirrored = (-m % n).expand(terms.shape)
        out.scatter_add_(1, mirrored[:, 1:], terms[:, 1:].conj().resolve_conj())

    def _fold_equator(self, leg: Tensor, lmax: int) -> Tensor:
        terms = self._belt_leg(leg, lmax) * self._belt_phases(lmax)
        n = torch.full((len(terms), 1), 4 * self.nside, device=self.device)
        out = torch.zeros(len(terms), 4 * self.nside, dtype=terms.dtype, device=self.device)
        self._fold(terms, n, out)
        return out[:, : 2 * self.nside + 1].contiguous()

    def _read_equator(self, spectrum: Tensor, leg: Tensor, lmax: int) -> None:
        nside, n = self.nside, 4 * self.nside
        k = torch.arange(lmax + 1, device=self.device) % n
        folded = spectrum[:, torch.minimum(k, n - k)]
        folded = torch.where(k > n // 2, folded.conj(), folded) * self._belt_phases(lmax).conj()
        leg[0, nside - 1 : 2 * nside, : lmax + 1] = folded[: nside + 1]
        leg[1, nside - 1 : 2 * nside - 1, : lmax + 1] = folded[nside + 1 :].flip(0)
        leg[1, 2 * nside - 1 :] = 0.0
        leg[0, 2 * nside :] = 0.0

    def _chirp(self, n: Tensor, length: int) -> Tensor:
        """Give e^{iπk²/n} for k < n, else 0, ``(rows, length)``."""
        k = torch.arange(length, device=self.device)
        return torch.where(k < n, _unit(k * k, n), 0.0)

    def _caps(self) -> Iterator[tuple[int, int, int, Tensor]]:
        for begin, end, length in self._groups:
            yield begin, end, length, 4 * torch.arange(begin, end, device=self.device)[:, None]

    def _fold_poles(self, leg: Tensor, work: Tensor, lmax: int) -> None:
        for begin, end, length, n in self._caps():
            phases = self._phases(n, lmax)
            both = torch.zeros(2, end - begin, length, dtype=leg.dtype, device=self.device)
            for side in (0, 1):
                self._fold(leg[side, begin - 1 : end - 1, : lmax + 1] * phases, n, both[side])
            rows = self._rows(work, begin, end, length)
            rows[:] = (both[0] + 1j * both[1]) * self._chirp(n, length)

    def _pixels(self, begin: int, end: int) -> tuple[Tensor, Tensor, Tensor]:
        """Give the row, and the northern and southern pixel for each of ``n`` columns, flat."""
        ring = torch.arange(begin, end, device=self.device)[:, None]
        j = torch.arange(4 * (end - 1), device=self.device)
        inside = j < 4 * ring
        south = 12 * self.nside * self.nside - 2 * ring * (ring + 1) + j
        return inside, (2 * ring * (ring - 1) + j)[inside], south[inside]

    def _write_poles(self, work: Tensor, sky: Tensor) -> None:
        for begin, end, length, n in self._caps():
            inside, north, south = self._pixels(begin, end)
            rows = self._rows(work, begin, end, length) * self._chirp(n, length)
            values = rows[:, : 4 * (end - 1)][inside]
            sky[north], sky[south] = values.real, values.imag

    def _take_poles(self, sky: Tensor, work: Tensor) -> None:
        for begin, end, length, n in self._caps():
            inside, north, south = self._pixels(begin, end)
            rows = torch.zeros(end - begin, length, dtype=work.dtype, device=self.device)
            rows[:, : 4 * (end - 1)][inside] = torch.complex(sky[north], sky[south])
            self._rows(work, begin, end, length)[:] = rows * self._chirp(n, length).conj()

    def _read_poles(self, work: Tensor, leg: Tensor, lmax: int) -> None:
        m = torch.arange(lmax + 1, device=self.device)
        for begin, end, length, n in self._caps():
            rows = self._rows(work, begin, end, length) * self._chirp(n, length).conj()
            phases = self._phases(n, lmax).conj()
            here = torch.gather(rows, 1, m % n)
            mirrored = torch.gather(rows, 1, -m % n).conj()
            leg[0, begin - 1 : end - 1, : lmax + 1] = (here + mirrored) / 2 * phases
            leg[1, begin - 1 : end - 1, : lmax + 1] = (here - mirrored) / 2j * phases
