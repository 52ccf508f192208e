"""Transform whole maps, ring by ring, so that no more memory is needed than the map's own.

Maps are ``(npix,)`` in RING order; alm are ``((lmax + 1)(lmax + 2) / 2,)`` complex128 in healpy's
order (m-major, m >= 0). The transforms are ducc0's (Reinecke & Seljebotn 2013), which hold, for
every ring, its Fourier modes: at Nside 8192 more than the map itself. Here they see some rings at
a time, and those that mirror them, since two such rings cost as much as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import ducc0
import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.healpix.arrays import as_mask, as_sums
from skyfill.healpix.checks import check_nside, nside_of

__all__ = ["adjoint", "adjoint_of", "analysis", "lmax_of", "parts_of", "rings", "synthesis"]

Alm = NDArray[np.complex128]
Map = NDArray[np.float64]
Mask = NDArray[np.bool_]
Part = Callable[[slice], NDArray[Any]]

#: Pixels of a block of rings, and bytes of the Fourier modes of its rings, at most. Maps up to
#: Nside 1024 are one block.
_PIXELS, _MODES = 2**25, 2**29


@lru_cache(maxsize=4)
def rings(nside: int) -> dict[str, Any]:
    """Give the rings of a map as ducc0 wants them: theta, phi0, nphi, ringstart."""
    return dict(ducc0.healpix.Healpix_Base(nside, "RING").sht_info())


class _Block(NamedTuple):
    """Some rings, and those that mirror them."""

    geometry: dict[str, Any]
    """As ducc0 wants it, for a map of these rings alone."""
    parts: tuple[slice, ...]
    """Where they lie in the whole map: north, south; or one part that holds the equator."""
    size: int


@lru_cache(maxsize=8)
def _blocks(nside: int, lmax: int) -> tuple[_Block, ...]:
    table = {key: np.asarray(value) for key, value in rings(nside).items()}
    length = table["nphi"].astype(np.int64)
    first = table["ringstart"].astype(np.int64)
    last = length.size - 1  # the equator is its middle ring
    most = max(_MODES // (16 * (lmax + 1)), 2)
    blocks = []
    begin = 0
    while 2 * begin <= last:
        end, pixels = begin, 0
        while 2 * end <= last and (
            end == begin or (pixels + 2 * length[end] <= _PIXELS and 2 * (end - begin) < most)
        ):
            pixels += 2 * length[end]
            end += 1
        if 2 * (end - 1) == last:
            runs = [(begin, last + 1 - begin)]
        else:
            runs = [(begin, end), (last + 1 - end, last + 1 - begin)]
        chosen = np.concatenate([np.arange(*run) for run in runs])
        stop = np.cumsum(length[chosen])
        geometry = {key: table[key][chosen] for key in ("theta", "phi0", "nphi")}
        geometry["ringstart"] = (stop - length[chosen]).astype(np.uint64)
        parts = tuple(slice(int(first[a]), int(first[b - 1] + length[b - 1])) for a, b in runs)
        blocks.append(_Block(geometry, parts, int(stop[-1])))
        begin = end
    return tuple(blocks)


def lmax_of(alm: Alm) -> int:
    """Give the largest multipole of a set of alm with mmax = lmax."""
    return int(np.sqrt(2 * alm.shape[-1] + 0.25) - 1.5 + 1e-6)


def synthesis(alm: Alm, nside: int, *, threads: int = 0) -> Map:
    """Sum harmonics on the pixel centres, Y a (healpy's ``alm2map``).

    Parameters
    ----------
    alm
        ``(nalm,)``, mmax = lmax.
    nside
        Resolution of the map.
    threads
        Number of threads; 0 for all cores.
    """
    out = np.empty(0)
    for part, values in parts_of(alm, nside, threads=threads):
        if values.size == 12 * nside**2:
            return values
        if not out.size:
            out = np.empty(12 * nside**2)
        out[part] = values
    return out


def parts_of(alm: Alm, nside: int, *, threads: int = 0) -> Iterator[tuple[slice, Map]]:
    """Yield the map of `synthesis` in parts: slice and values, valid until the next part."""
    lmax = lmax_of(alm)
    alm = np.ascontiguousarray(alm, dtype=np.complex128)[None]
    for block in _blocks(check_nside(nside), lmax):
        values = ducc0.sht.synthesis(
            alm=alm, spin=0, lmax=lmax, mmax=lmax, nthreads=threads, **block.geometry
        )[0]
        at = 0
        for part in block.parts:
            yield part, np.asarray(values[at : at + part.stop - part.start])
            at += part.stop - part.start


def adjoint(
    values: ArrayLike, *, lmax: int, observed: ArrayLike | None = None, threads: int = 0
) -> Alm:
    """Apply the transpose of `synthesis`, Yᵀ d: a plain sum over pixels, without weights.

    Pixels that are not ``observed`` count as zero and are not read. No copy of the map is made.
    """
    values = as_sums(values, "the map to transform")
    nside = nside_of(values.size, "the map to transform")
    return adjoint_of(_seen(values, observed), nside, lmax=lmax, threads=threads)


def adjoint_of(values: Part, nside: int, *, lmax: int, threads: int = 0) -> Alm:
    """As `adjoint`, for a map that is read in parts: ``values(slice)`` gives one."""
    total: Alm | None = None
    for block in _blocks(nside, lmax):
        if len(block.parts) == 1:
            local = np.ascontiguousarray(values(block.parts[0]), dtype=np.float64)
        else:
            local = np.empty(block.size)
            at = 0
            for part in block.parts:
                local[at : at + part.stop - part.start] = values(part)
                at += part.stop - part.start
        found = ducc0.sht.adjoint_synthesis(
            map=local[None], spin=0, lmax=lmax, mmax=lmax, nthreads=threads, **block.geometry
        )[0]
        total = found if total is None else np.add(total, found, out=total)
    return np.asarray(total)


def analysis(
    values: ArrayLike,
    *,
    lmax: int,
    iterations: int = 0,
    observed: ArrayLike | None = None,
    threads: int = 0,
) -> Alm:
    """Give the alm of a map (healpy's ``map2alm`` with equal weights).

    Parameters
    ----------
    values
        ``(npix,)``, RING, no missing pixel that is observed.
    lmax
        Largest multipole; equal weights are good to 1% below 1.5 nside only when iterated.
    iterations
        Jacobi iterations, each one more pair of transforms.
    observed
        ``(npix,)``: the others count as zero and are not read; all if not given.
    threads
        Number of threads; 0 for all cores.
    """
    values = as_sums(values, "the map to transform")
    nside = nside_of(values.size, "the map to transform")
    area = 4 * np.pi / values.size
    seen = _seen(values, observed)
    alm = area * adjoint_of(seen, nside, lmax=lmax, threads=threads)
    for _ in range(iterations):
        step = np.zeros_like(alm)
        for block in _blocks(nside, lmax):
            rest = ducc0.sht.synthesis(
                alm=alm[None], spin=0, lmax=lmax, mmax=lmax, nthreads=threads, **block.geometry
            )
            at = 0
            for part in block.parts:
                here = rest[0, at : at + part.stop - part.start]
                np.subtract(seen(part), here, out=here)
                at += part.stop - part.start
            step += ducc0.sht.adjoint_synthesis(
                map=rest, spin=0, lmax=lmax, mmax=lmax, nthreads=threads, **block.geometry
            )[0]
        step *= area
        alm += step
    return np.asarray(alm)


def _seen(values: NDArray[Any], observed: ArrayLike | None) -> Part:
    if observed is None:
        return values.__getitem__
    seen = as_mask(observed)
    if seen.shape != values.shape:
        raise ValueError(f"the mask has {seen.size} pixels, the map {values.size}")
    return lambda part: np.where(seen[part], values[part], 0.0)
