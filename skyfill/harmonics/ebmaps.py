"""Maps of E and B of a whole sky of Q and U."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.harmonics.quadrature import pixel_weights, quadrature_lmax
from skyfill.harmonics.sphere import adjoint_of, synthesis
from skyfill.healpix.arrays import as_map
from skyfill.healpix.checks import check_whole
from skyfill.healpix.stokes import nside_of

__all__ = ["eb_maps"]

Map = NDArray[np.float64]


def eb_maps(
    q: ArrayLike, u: ArrayLike, *, lmax: int | None = None, threads: int = 0
) -> tuple[Map, Map]:
    """Give the maps of E and B of a whole sky.

    E(n) = Σ a^E_lm Y_lm(n), and B likewise: scalar fields with the harmonics of E and B, as
    ``alm2map`` of healpy makes them, with its signs (Zaldarriaga & Seljak 1997, eq. 10). Pixel
    weights make the quadrature exact to ell = 1.5 Nside: a sky of E modes without power beyond has
    B of less than 1e-7 of its amplitude. Power beyond ``lmax`` is left out, and lends a little to
    both.

    E and B of a pixel depend on Q and U of the whole sky, mostly of its surroundings. So the holes
    of a filled sky influence E and B around them as well.

    Parameters
    ----------
    q, u
        ``(npix,)`` each: RING, finite, U with the sign of HEALPix (COSMO).
    lmax
        Largest ell, at most 1.5 Nside, which is the default.
    threads
        Number of threads; 0 for all cores.

    Returns
    -------
        E and B, ``(npix,)`` each, RING, in the unit of Q and U, zero below ell = 2. Beam and pixel
        window are those of Q and U.

    Raises
    ------
    ValueError
        Pixels are missing, Q and U have several Nside, or ``lmax`` is not from 2 to 1.5 Nside.

    Examples
    --------
    >>> import numpy as np, skyfill
    >>> alm = np.zeros((3, 325), dtype=complex)  # T, E and B to ell = 24
    >>> alm[1, 3] = 1.0
    >>> _, q, u = skyfill.harmonics.synthesis(alm, 16)
    >>> e, b = skyfill.harmonics.eb_maps(q, u)
    >>> bool(np.abs(e).max() > 0.1), bool(np.abs(b).max() < 1e-9)
    (True, True)

    """
    both = [as_map(q, "q", taker="harmonics.eb_maps"), as_map(u, "u", taker="harmonics.eb_maps")]
    nside = nside_of(both[0], "q")
    if nside_of(both[1], "u") != nside:
        raise ValueError(f"Q has Nside {nside}, U has Nside {nside_of(both[1], 'u')}")
    missing = int(np.count_nonzero(~(np.isfinite(both[0]) & np.isfinite(both[1]))))
    if missing:
        raise ValueError(
            f"E and B need a whole sky, {missing} pixels are missing; fill them first (skyfill"
            " inpaint)"
        )
    most = quadrature_lmax(nside)
    lmax = most if lmax is None else check_whole(lmax, "lmax")
    if not 2 <= lmax <= most:
        raise ValueError(f"`lmax` must be from 2 to 1.5 Nside = {most}, got {lmax}")
    weights = pixel_weights(nside, threads=threads) * (4 * np.pi / both[0].size)
    alm = adjoint_of(
        lambda part: np.array([each[part] * weights[part] for each in both]),
        nside,
        lmax=lmax,
        spin=2,
        threads=threads,
    )
    alm[:, [0, 1, lmax + 1]] = 0.0  # spin 2 has no monopole and no dipole
    e, b = (synthesis(each, nside, threads=threads) for each in alm)
    return e, b
