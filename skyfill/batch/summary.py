"""Summarise the spectra of many filled maps."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill import harmonics
from skyfill.files.atomic import atomic_write
from skyfill.healpix.arrays import as_map
from skyfill.healpix.stokes import nside_of
from skyfill.spectra import default_edges, whole_spectra

__all__ = ["binned_cl", "binned_pol", "write_summary"]

#: Spectra of a polarized sky beside TT that a summary has; EB and TB have no place in a prior.
_OF_P = ("EE", "BB", "TE")


def binned_cl(sky: ArrayLike, *, threads: int = 1) -> NDArray[np.float64]:
    """Give the binned C_ell of a whole sky by exact quadrature, a tenth of the time of anafast.

    Parameters
    ----------
    sky
        ``(npix,)``, µK, RING.
    threads
        Threads of the transform.

    Returns
    -------
    ``(nbin,)``, µK², bins of `skyfill.spectra.default_edges` to `harmonics.quadrature_lmax`, each
    ell weighted by its modes.
    """
    sky = as_map(sky, "sky", taker="batch.binned_cl")
    missing = int(np.count_nonzero(np.isnan(sky)))
    if missing:
        raise ValueError(f"the spectrum needs a whole sky, {missing} pixels are missing")
    nside = nside_of(sky, "sky")
    lmax = harmonics.quadrature_lmax(nside)
    weighted = sky * harmonics.pixel_weights(nside, threads=threads)
    alm = harmonics.adjoint(weighted, lmax=lmax, threads=threads)
    cl = harmonics.cl_of(alm) * (4 * np.pi / sky.size) ** 2
    return _mean(cl, default_edges(lmax))


def binned_pol(sky: ArrayLike, *, threads: int = 1) -> dict[str, NDArray[np.float64]]:
    """Give the binned EE, BB and TE of a whole sky by exact quadrature.

    Parameters
    ----------
    sky
        ``(3, npix)``, T, Q and U, or ``(2, npix)``, Q and U: µK, RING, U with the sign of HEALPix.
    threads
        Threads of the transform.

    Returns
    -------
    By name ``(nbin,)``, µK², in the bins of `binned_cl`; of Q and U without TE.
    """
    found = whole_spectra(sky, threads=threads)
    edges = default_edges(found["EE"].size - 1)
    return {name: _mean(found[name], edges) for name in _OF_P if name in found}


def write_summary(
    path: str | os.PathLike[str],
    nside: int,
    spectra: Sequence[Sequence[Sequence[float]]]
    | Mapping[str, Sequence[Sequence[Sequence[float]]]],
    about: Mapping[str, str | float],
) -> None:
    """Write the mean spectrum and its scatter, as ECSV.

    Parameters
    ----------
    path
        File; a former summary is replaced.
    nside
        Resolution of the maps.
    spectra
        `binned_cl` of each fill of each map; all maps have the same number of fills. Or such
        spectra by name: TT, whose columns have the names of those of T alone, and EE, BB and TE,
        whose columns end in ``_ee``, ``_bb`` and ``_te``.
    about
        Metadata of the table.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    from astropy import units as u
    from astropy.table import QTable

    lmax = harmonics.quadrature_lmax(nside)
    edges = default_edges(lmax)
    columns = {
        "ell_min": edges[:-1],
        "ell_max": edges[1:] - 1,
        "ell": _mean(np.arange(lmax + 1.0), edges),
    }
    maps = realizations = 0
    for name, found in (spectra if isinstance(spectra, Mapping) else {"TT": spectra}).items():
        end = "" if name == "TT" else f"_{name.lower()}"
        each = np.asarray(found, dtype=np.float64)
        maps, realizations, bins = each.shape
        cl = each.reshape(-1, bins)
        scatter = cl.std(axis=0, ddof=1) if len(cl) > 1 else np.full(bins, np.nan)
        columns |= {f"cl{end}": cl.mean(axis=0) * u.uK**2, f"scatter{end}": scatter * u.uK**2}
        if realizations > 1:
            spread = np.sqrt(each.var(axis=1, ddof=1).mean(axis=0))
            columns[f"fill_scatter{end}"] = spread * u.uK**2
    head = {
        "content": "mean binned C_ell of the filled maps, without ell(ell+1)/2pi",
        "scatter": "standard deviation from fill to fill of all maps, with n - 1",
        "estimator": "exact quadrature, bins weighted by 2 ell + 1",
        "lmax": lmax,
        "nside": nside,
        "maps": maps,
        "realizations": realizations,
    }
    with atomic_write(path, overwrite=True) as temporary:
        QTable(columns, meta=head | dict(about)).write(
            temporary, format="ascii.ecsv", overwrite=True
        )


def _mean(per_ell: NDArray[np.float64], edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """Average over bins, weighted by modes."""
    modes = 2.0 * np.arange(per_ell.size) + 1
    total: NDArray[np.float64] = np.add.reduceat(modes * per_ell, edges[:-1])
    return total / np.add.reduceat(modes, edges[:-1])
