"""ducc0's transforms (Reinecke & Seljebotn 2013), with memory that is kept between them.

A transform goes through the Fourier modes of every ring. ``ducc0.sht.synthesis`` takes fresh memory
for them each time, which the system clears page by page: a tenth of a transform on two cores, and
more on many. Its two stages are called apart here, on memory that the next transform uses again.
The numbers are the same, on one thread bit by bit; on several, ducc0's own last bits may vary.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ducc0
import numpy as np
from numpy.typing import NDArray

__all__ = ["adjoint_on", "scratch", "synthesis_on"]

Alm = NDArray[np.complex128]
Map = NDArray[np.float64]
Geometry = dict[str, Any]


#: Numbers that are kept at most, 256 MB; for more, numpy takes pages of 2 MB where there are any.
_MOST = 2**24


class _Memory:
    """One piece of memory for one user at a time; others take their own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept = np.empty(0, np.complex128)

    @contextmanager
    def lent(self, size: int) -> Iterator[Alm]:
        """Lend ``(size,)`` numbers of any value."""
        if size > _MOST or not self._lock.acquire(blocking=False):
            yield np.empty(size, np.complex128)
            return
        try:
            if self._kept.size < size:
                self._kept = np.empty(0, np.complex128)  # before the larger one is there
                self._kept = np.empty(size, np.complex128)
            yield self._kept[:size]
        finally:
            self._lock.release()


_MODES, _PIXELS = _Memory(), _Memory()


@contextmanager
def scratch(planes: int, size: int) -> Iterator[Map]:
    """Lend ``(planes, size)`` values, of any value, for a transform's pixels."""
    with _PIXELS.lent((planes * size + 1) // 2) as memory:
        yield memory.view(np.float64)[: planes * size].reshape(planes, size)


@contextmanager
def _modes(planes: int, geometry: Geometry, lmax: int) -> Iterator[Alm]:
    """Lend ``(planes, rings, lmax + 1)`` Fourier modes."""
    rings, width = geometry["theta"].size, lmax + 1
    if width % 256 == 0:  # rows at multiples of a page share places of the cache
        width += 3
    with _MODES.lent(planes * rings * width) as memory:
        yield memory.reshape(planes, rings, width)[..., : lmax + 1]


def _of_maps(geometry: Geometry) -> Geometry:
    return {key: geometry[key] for key in ("nphi", "phi0", "ringstart")}


def synthesis_on(
    geometry: Geometry,
    alm: Alm,
    *,
    spin: int,
    lmax: int,
    threads: int,
    out: Map | None = None,
) -> Map:
    """Give the pixels of rings, ``(planes, n)``, for alm ``(planes, nalm)`` with mmax = lmax.

    Parameters
    ----------
    geometry
        Rings in ducc0's form: theta, phi0, nphi, ringstart.
    alm
        One plane for spin 0; E and B for spin 2.
    out
        Array for the result.
    """
    with _modes(len(alm), geometry, lmax) as leg:
        ducc0.sht.alm2leg(
            alm=alm, leg=leg, spin=spin, lmax=lmax, theta=geometry["theta"], nthreads=threads
        )
        return np.asarray(
            ducc0.sht.leg2map(leg=leg, map=out, nthreads=threads, **_of_maps(geometry))
        )


def adjoint_on(geometry: Geometry, values: Map, *, spin: int, lmax: int, threads: int) -> Alm:
    """Apply the transpose of `synthesis_on`."""
    with _modes(len(values), geometry, lmax) as leg:
        ducc0.sht.map2leg(map=values, leg=leg, mmax=lmax, nthreads=threads, **_of_maps(geometry))
        return np.asarray(
            ducc0.sht.leg2alm(
                leg=leg, spin=spin, lmax=lmax, theta=geometry["theta"], nthreads=threads
            )
        )
