"""Transform whole maps, ring by ring, with little memory besides the map's own.

Maps are ``(npix,)`` in RING order; alm are ``((lmax + 1)(lmax + 2) / 2,)`` complex128 in healpy's
order (m-major, m >= 0). Three components I, Q, U are ``(3, npix)``, and T, E, B ``(3, nalm)``. The
transforms are ducc0's (Reinecke & Seljebotn 2013). They store the Fourier modes of every ring,
which at Nside 8192 take more memory than the map. Here they are given some rings at a time,
together with their mirror images, since two such rings cost as much as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import ducc0
import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.harmonics.ringmodes import adjoint_on, scratch, synthesis_on
from skyfill.healpix.arrays import as_stokes_mask, as_sums
from skyfill.healpix.checks import check_nside
from skyfill.healpix.jit import by_pieces
from skyfill.healpix.stokes import (
    INTENSITY,
    POLARIZED,
    SkyShape,
    Stokes,
    same_sky,
    sky_shape,
)

__all__ = [
    "adjoint",
    "adjoint_of",
    "adjoint_of_product",
    "analysis",
    "lmax_of",
    "parts_of",
    "rings",
    "synthesis",
]

Alm = NDArray[np.complex128]
Map = NDArray[np.float64]
Mask = NDArray[np.bool_]
Part = Callable[[slice], NDArray[Any]]
#: Gives a part of a map, ``(planes, n)``: in the array that it is given, if it has to make it.
Given = Callable[[slice, Map], NDArray[Any]]

#: Largest number of values in a block of rings: maps of T up to Nside 1024 are one block, and of Q
#: and U as well.
_PIXELS = 2**25
#: Largest size, bytes, of the Fourier modes of a block's rings.
_MODES = 2**29


@lru_cache(maxsize=4)
def rings(nside: int) -> dict[str, Any]:
    """Give the rings of a map in ducc0's form: theta, phi0, nphi, ringstart."""
    return dict(ducc0.healpix.Healpix_Base(nside, "RING").sht_info())


class _Block(NamedTuple):
    """Some rings, and their mirror images."""

    geometry: dict[str, Any]
    """Geometry in ducc0's form, for a map of these rings alone."""
    parts: tuple[slice, ...]
    """Slices of the whole map: north and south, or one that contains the equator."""
    size: int


@lru_cache(maxsize=8)
def _blocks(nside: int, lmax: int, planes: int = 1) -> tuple[_Block, ...]:
    table = {key: np.asarray(value) for key, value in rings(nside).items()}
    length = table["nphi"].astype(np.int64)
    first = table["ringstart"].astype(np.int64)
    last = length.size - 1  # the equator is its middle ring
    most = max(_MODES // (16 * (lmax + 1) * planes), 2)
    blocks = []
    begin = 0
    while 2 * begin <= last:
        end, pixels = begin, 0
        while 2 * end <= last and (
            end == begin
            or (planes * (pixels + 2 * length[end]) <= _PIXELS and 2 * (end - begin) < most)
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
        ``(nalm,)``, mmax = lmax; or ``(1, nalm)``, or ``(3, nalm)`` for T, E and B. E and B are not
        read below l = 2.
    nside
        Resolution of the map.
    threads
        Number of threads; 0 for all there are.

    Returns
    -------
        ``(npix,)``; or ``(1, npix)``, or ``(3, npix)`` for I, Q and U, with healpy's signs.

    Raises
    ------
    ValueError
        The leading axis has another length than 1 or 3.
    """
    npix = 12 * check_nside(nside) ** 2
    if np.ndim(alm) == 1:
        out = np.empty((1, npix))
        _synthesis_into(out, alm[None], nside, 0, threads)
        return np.asarray(out[0])
    stokes, alm = _stokes_of(alm), _without_low(alm)
    sky = np.empty((len(stokes), npix))
    for spin, rows in stokes.rows():
        _synthesis_into(sky[rows], alm[rows], nside, spin, threads)
    return sky


def parts_of(
    alm: Alm, nside: int, *, spin: int = 0, threads: int = 0
) -> Iterator[tuple[slice, Map]]:
    """Yield the map of `synthesis` in parts: slice and values, which may be overwritten.

    Their memory is lent: it is that of other transforms from the next part on.

    With ``spin=2``, ``alm`` is ``(2, nalm)``, E and B, zero below l = 2, and values are Q and U,
    ``(2, n)``.
    """
    for part, values in _synthesis(alm if spin else alm[None], nside, spin, threads):
        yield part, values if spin else values[0]


def _synthesis(alm: Alm, nside: int, spin: int, threads: int) -> Iterator[tuple[slice, Map]]:
    """Give ``(1, n)`` values of spin 0, or ``(2, n)`` of spin 2, part by part."""
    lmax = lmax_of(alm)
    alm = np.ascontiguousarray(alm, dtype=np.complex128)
    options: dict[str, Any] = {"spin": spin, "lmax": lmax, "threads": threads}
    for block in _blocks(check_nside(nside), lmax, len(alm)):
        with scratch(len(alm), block.size) as values:
            synthesis_on(block.geometry, alm, out=values, **options)
            at = 0
            for part in block.parts:
                yield part, np.asarray(values[:, at : at + part.stop - part.start])
                at += part.stop - part.start


def _synthesis_into(sky: Map, alm: Alm, nside: int, spin: int, threads: int) -> None:
    """Write Y a into a map, ``(planes, npix)``."""
    lmax = lmax_of(alm)
    blocks = _blocks(nside, lmax, len(alm))
    if len(blocks) > 1:
        for part, values in _synthesis(alm, nside, spin, threads):
            sky[:, part] = values
        return
    alm = np.ascontiguousarray(alm, dtype=np.complex128)
    synthesis_on(blocks[0].geometry, alm, spin=spin, lmax=lmax, threads=threads, out=sky)


def adjoint(
    values: ArrayLike, *, lmax: int, observed: ArrayLike | None = None, threads: int = 0
) -> Alm:
    """Apply the transpose of `synthesis`, Yᵀ d: a plain sum over pixels, without weights.

    Pixels that are not ``observed`` count as zero and are not read. The map is not copied. Maps and
    alm have the shapes of `synthesis`. There is one mask for all components, or one for each.
    """
    values = as_sums(values, stokes=True)
    sky, seen = sky_shape(values, "values"), _seen(values, observed)
    alm = [
        _adjoint(_of(seen, rows), sky.nside, rows.stop - rows.start, lmax, spin, threads)
        for spin, rows in sky.stokes.rows()
    ]
    return _stacked(alm, axis=sky.axis)


def adjoint_of(values: Part, nside: int, *, lmax: int, spin: int = 0, threads: int = 0) -> Alm:
    """Apply `adjoint` to a map that is read in parts: ``values(slice)`` gives one.

    With ``spin=2``, a part is Q and U, ``(2, n)``, and the result E and B, ``(2, nalm)``.
    """
    planes = 2 if spin else 1

    def given(part: slice, _: Map) -> NDArray[Any]:
        return values(part).reshape(planes, -1)

    alm = _adjoint(given, nside, planes, lmax, spin, threads)
    return alm if spin else np.asarray(alm[0])


def adjoint_of_product(
    values: Map,
    factor: NDArray[Any] | None,
    nside: int,
    *,
    lmax: int,
    spin: int = 0,
    threads: int = 0,
) -> Alm:
    """Apply `adjoint` to F v, with the diagonal F ``(npix,)``: v is ``(npix,)``, or Q and U."""
    rows = values.reshape(2 if spin else 1, -1)

    def given(part: slice, out: Map) -> Map:
        mine = rows[:, part]
        if factor is None:
            return mine
        some = factor[part]
        by_pieces(
            out.shape[1], lambda here: np.multiply(mine[:, here], some[here], out=out[:, here])
        )
        return out

    alm = _adjoint(given, nside, len(rows), lmax, spin, threads)
    return alm if spin else np.asarray(alm[0])


def _adjoint(values: Given, nside: int, planes: int, lmax: int, spin: int, threads: int) -> Alm:
    """Give ``(planes, nalm)`` for values of spin 0 (one plane) or 2 (two)."""
    total: Alm | None = None
    for block in _blocks(nside, lmax, planes):
        with scratch(planes, block.size) as memory:
            local: NDArray[Any] = memory
            at = 0
            for part in block.parts:
                here = memory[:, at : at + part.stop - part.start]
                found = values(part, here)
                if len(block.parts) == 1:
                    local = np.ascontiguousarray(found, dtype=np.float64)
                elif found is not here:
                    here[:] = found
                at += part.stop - part.start
            alm = adjoint_on(block.geometry, local, spin=spin, lmax=lmax, threads=threads)
        total = alm if total is None else np.add(total, alm, out=total)
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
        ``(npix,)``, ``(1, npix)`` or ``(3, npix)``, RING, finite in observed pixels.
    lmax
        Largest multipole. Equal weights need iterations to be accurate to 1% below 1.5 nside.
    iterations
        Jacobi iterations, each one more pair of transforms.
    observed
        ``(npix,)``, or one for each component. Other pixels count as zero and are not read. If not
        given, all pixels are observed.
    threads
        Number of threads; 0 for all there are.

    Returns
    -------
        In the shapes of `synthesis`.
    """
    values = as_sums(values, stokes=True)
    sky, seen = sky_shape(values, "values"), _seen(values, observed)
    found = [
        _analysis(
            _of(seen, rows), sky, rows, lmax=lmax, spin=spin, jacobi=iterations, threads=threads
        )
        for spin, rows in sky.stokes.rows()
    ]
    return _stacked(found, axis=sky.axis)


def _analysis(
    seen: Given, sky: SkyShape, rows: slice, *, lmax: int, spin: int, jacobi: int, threads: int
) -> Alm:
    """Give the alm of some rows of a map with a common spin."""
    area, planes = 4 * np.pi / sky.npix, rows.stop - rows.start
    alm = area * _adjoint(seen, sky.nside, planes, lmax, spin, threads)
    for _ in range(jacobi):
        step = np.zeros_like(alm)
        for block in _blocks(sky.nside, lmax, planes):
            rest = synthesis_on(block.geometry, alm, spin=spin, lmax=lmax, threads=threads)
            at = 0
            for part in block.parts:
                here = rest[:, at : at + part.stop - part.start]
                np.subtract(seen(part, np.empty_like(here)), here, out=here)
                at += part.stop - part.start
            step += adjoint_on(block.geometry, rest, spin=spin, lmax=lmax, threads=threads)
        step *= area
        alm += step
    return np.asarray(alm)


def _seen(values: NDArray[Any], observed: ArrayLike | None) -> tuple[NDArray[Any], Mask | None]:
    """Give a map and its mask, both ``(components, npix)``."""
    planes = values.reshape(-1, values.shape[-1])
    if observed is None:
        return planes, None
    return planes, same_sky(values, as_stokes_mask(observed)).reshape(planes.shape)


def _of(seen: tuple[NDArray[Any], Mask | None], rows: slice) -> Given:
    """Give some rows of a map part by part, with 0 in unobserved pixels."""
    values, observed = seen

    def given(part: slice, out: Map) -> NDArray[Any]:
        mine = values[rows, part]
        if observed is None:
            return mine
        out[:] = 0.0
        np.copyto(out, mine, where=observed[rows, part])
        return out

    return given


def _stokes_of(alm: Alm) -> Stokes:
    """Give the components of alm, from the leading axis."""
    for stokes in (INTENSITY, POLARIZED):
        if alm.ndim == 2 and len(alm) == len(stokes):
            return stokes
    raise ValueError(
        f"alm: it has the shape {alm.shape}; give (nalm,), (1, nalm), or (3, nalm) for T, E and B"
    )


def _without_low(alm: Alm) -> Alm:
    """Copy T, E and B; set E and B to zero below l = 2, where spin 2 has no modes."""
    alm = np.array(alm, dtype=np.complex128)
    alm[1:, :2] = 0.0
    alm[1:, lmax_of(alm) + 1 : lmax_of(alm) + 2] = 0.0  # l = m = 1
    return alm


def _stacked(alm: list[Alm], *, axis: bool) -> Alm:
    if not axis:
        return np.asarray(alm[0][0])
    return _without_low(np.concatenate(alm))
