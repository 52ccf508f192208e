"""Simulate skies and masks."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.harmonics import synthesis
from skyfill.healpix import pixel_directions
from skyfill.healpix.checks import check_angle, check_nside, check_seed, check_whole
from skyfill.holes import discs
from skyfill.prior import Beam, PolarizedPrior, Prior, draw, draw_polarization, lcdm

__all__ = ["simulate_mask", "simulate_sky", "simulate_stokes"]

PIECE = 1 << 20
"""Pixels processed at once, so that memory stays bounded at any resolution."""

FINEST = 8.0
"""Largest multipole of a simulated sky, in units of Nside."""

#: Variance that may be missing beyond the last multipole of a simulated sky, in units of the
#: noise's: more would be seen.
_HIDDEN = 1e-5
#: Least and largest variance that may be missing, in units of the signal's.
_ENDS = (1e-10, 1e-5)

RAGGED_LMAX = 64
"""Largest ell of the field that roughens the edge of a band; the same at every resolution."""


def simulate_sky(
    nside: int,
    *,
    seed: int,
    cl: ArrayLike | None = None,
    fwhm: float = 0.0,
    noise_uk_arcmin: float = 0.0,
    pixel_window: bool = True,
    calibration: float = 1.0,
    extra_cl: ArrayLike | None = None,
    lmax: int | None = None,
    beam: Beam | None = None,
) -> NDArray[np.float64]:
    """Draw a Gaussian sky with beam and white noise.

    Parameters
    ----------
    nside
        Resolution.
    seed
        Seed of the random numbers. The same seed gives the same sky at every resolution, up to the
        smaller lmax.
    cl
        ``(lmax + 1,)``, µK², from ell = 0; Planck 2018 ΛCDM if None.
    fwhm
        Full width at half maximum of a Gaussian beam, radians.
    noise_uk_arcmin
        Standard deviation of the noise in a pixel of one square arcminute, µK.
    pixel_window
        Whether to apply the HEALPix pixel window, as in an observed map.
    calibration
        Factor of the signal's power.
    extra_cl
        ``(any,)``, µK²: further power on the map, not changed by beam and pixels.
    lmax
        Largest ell, also beyond what the pixels resolve: their values are those of the sky at their
        centres. By default so large that what beam and pixels leave beyond is nothing beside the
        noise (1e-5 of its variance; without noise 1e-10 of the signal's), at most 8 nside.
    beam
        A tabulated beam in place of the Gaussian: a `skyfill.prior.Beam`, or b_l from ell = 0.

    Returns
    -------
        ``(npix,)``, µK, RING.

    Raises
    ------
    ValueError
        Beam or noise is negative, two beams are given, or ``lmax`` is beyond the spectrum.

    Examples
    --------
    >>> import skyfill
    >>> sky = skyfill.simulate_sky(32, seed=1, noise_uk_arcmin=50.0)
    >>> sky.shape, bool(50 < sky.std() < 200)  # µK
    ((12288,), True)

    """
    nside, seed = check_nside(nside, what="`nside`"), check_seed(seed)
    fwhm = check_angle(fwhm, "fwhm", most=np.pi / 2)
    theory = lcdm() if cl is None else np.asarray(cl, dtype=np.float64)
    if theory.ndim != 1:
        raise ValueError(f"cl must be (lmax + 1,), from l = 0, got the shape {theory.shape}")
    largest = theory.size - 1
    lmax = None if lmax is None else check_whole(lmax, "lmax")
    if lmax is not None and not 0 <= lmax <= largest:
        raise ValueError(f"`lmax` must be from 0 to {largest} here, got {lmax}")
    prior = Prior(
        nside,
        theory,
        fwhm=fwhm,
        noise_uk_arcmin=noise_uk_arcmin,
        pixel_window=pixel_window,
        calibration=calibration,
        beam=beam,
        extra_cl=np.zeros(0) if extra_cl is None else np.asarray(extra_cl, dtype=np.float64),
    )
    return draw(prior, seed=seed, lmax=_reach(prior) if lmax is None else lmax)


def simulate_stokes(
    prior: PolarizedPrior, *, seed: int, lmax: int | None = None
) -> NDArray[np.float64]:
    """Draw a Gaussian sky of T, Q and U with beam and white noise.

    Parameters
    ----------
    prior
        Spectra, beam, pixel window and noise of the sky, and its Nside.
    seed
        Seed of the random numbers. T is the sky of `simulate_sky` with the same seed and settings.
    lmax
        Largest ell. By default that of T as in `simulate_sky`, of Q and U likewise.

    Returns
    -------
        ``(3, npix)``, T, Q and U, µK, RING, U with the sign of HEALPix (COSMO).

    Raises
    ------
    ValueError
        ``lmax`` is beyond the spectrum of T.

    Examples
    --------
    >>> import numpy as np, skyfill
    >>> t = skyfill.Prior(16, skyfill.lcdm(), fwhm=0.1, theory=skyfill.prior.LCDM)
    >>> sky = skyfill.simulate.simulate_stokes(skyfill.prior.PolarizedPrior.of(t), seed=1)
    >>> sky.shape, np.array_equal(sky[0], skyfill.simulate_sky(16, seed=1, fwhm=0.1))
    ((3, 3072), True)

    """
    seed, t = check_seed(seed), prior.temperature
    lmax = None if lmax is None else check_whole(lmax, "lmax")
    if lmax is not None and not 0 <= lmax < t.cl.size:
        raise ValueError(f"`lmax` must be from 0 to {t.cl.size - 1} here, got {lmax}")
    # E follows T up to the last multipole of T, so Q and U are drawn at least as far.
    mine = _reach(t) if lmax is None else lmax
    lost = _lost(prior.signal_cl()[1, 1], prior.noise_pol_cl, t.nside)
    reach = max(mine, prior.reach_pol(FINEST, lost=lost)) if lmax is None else lmax
    sky = np.empty((3, 12 * t.nside**2))
    sky[0] = draw(t, seed=seed, lmax=mine)
    sky[1:], white = draw_polarization(prior, seed=seed, lmax=reach)
    sky[1:] += white * np.sqrt(prior.noise_pol_cl * sky.shape[1] / (4 * np.pi))
    return sky


def _reach(prior: Prior) -> int:
    """Give the last multipole that a simulated sky shows."""
    return prior.reach(FINEST, lost=_lost(prior.signal_cl(), prior.noise_cl, prior.nside))


def _lost(cl: NDArray[np.float64], noise_cl: float, nside: int) -> float:
    """Give the share of the signal's variance that may be missing."""
    signal = float((2 * np.arange(cl.size) + 1) @ cl)
    noise = 12 * nside**2 * noise_cl
    return float(np.clip(_HIDDEN * noise / signal, *_ENDS)) if signal else _ENDS[1]


def simulate_mask(
    nside: int,
    *,
    seed: int,
    kind: Literal["band", "holes", "both"] = "both",
    half_width: float = np.deg2rad(8.0),
    raggedness: float = 0.35,
    n_holes: int = 400,
    radii: tuple[float, float] = (np.deg2rad(0.2), np.deg2rad(1.0)),
) -> NDArray[np.bool_]:
    """Draw a mask like those of CMB maps: a Galactic band, holes of point sources, or both.

    The band is widest towards (0, 0), like the Galactic bulge, and its edge follows a smooth random
    field. The centres of holes are uniform on the sphere and their radii uniform in the logarithm.
    A seed gives the same mask at every resolution.

    Parameters
    ----------
    nside
        Resolution.
    seed
        The same seed and settings give the same mask.
    kind
        ``band``, ``holes`` or ``both``.
    half_width
        Half the typical width of the band, radians.
    raggedness
        Rms deviation of the logarithm of the width; 0 for a smooth edge.
    n_holes
        Number of holes; some may overlap.
    radii
        Smallest and largest radius of a hole, radians. A hole smaller than a pixel masks the pixel
        that contains its centre.

    Returns
    -------
        ``(npix,)``, RING, True = observed.

    Raises
    ------
    ValueError
        A width, number or radius is out of range, or `kind` is unknown.

    Examples
    --------
    >>> import skyfill
    >>> observed = skyfill.simulate_mask(32, seed=1, n_holes=20)
    >>> observed.dtype, bool(0.5 < observed.mean() < 1)
    (dtype('bool'), True)

    """
    nside, seed = check_nside(nside, what="`nside`"), check_seed(seed)
    n_holes = check_whole(n_holes, "n_holes")
    half_width = check_angle(half_width, "half_width", most=np.pi / 2)
    smallest, largest = (check_angle(radius, "radii") for radius in radii)
    if kind not in ("band", "holes", "both"):
        raise ValueError(f"kind must be band, holes or both, got {kind!r}")
    if not 0 < half_width < np.pi / 2 or raggedness < 0:
        raise ValueError("a band needs 0 < `half_width` < 90 degrees and raggedness >= 0")
    if not 0 < smallest <= largest < np.pi:
        raise ValueError("holes need 0 < smallest <= largest of `radii`")
    edge, sources = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    observed = np.ones(12 * nside * nside, dtype=np.bool_)
    if kind != "holes":
        observed &= _ragged_band(nside, half_width, raggedness, edge)
    if kind != "band" and n_holes:
        lon = sources.uniform(0, 2 * np.pi, n_holes)
        lat = np.arcsin(sources.uniform(-1, 1, n_holes))
        radius = smallest * (largest / smallest) ** sources.uniform(size=n_holes)
        observed &= discs(nside, lon, lat, radius)
    return observed


def _ragged_band(
    nside: int, half_width: float, raggedness: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Mask latitudes below a half width that varies smoothly with direction."""
    # Power begins at scales of 10° and falls so fast that the edge is ragged but has few islands.
    m, ell = np.triu_indices(RAGGED_LMAX + 1)  # m-major, the order of alm
    cl = 1.0 / (1.0 + (ell / 12.0) ** 4)
    alm = np.sqrt(cl / 2) * (rng.normal(size=ell.size) + 1j * rng.normal(size=ell.size))
    alm[m == 0] = np.sqrt(2.0) * alm[m == 0].real
    variance = np.sum(np.where(m == 0, 1, 2) * cl) / (4 * np.pi)
    rough = synthesis(alm, nside) / np.sqrt(variance)

    observed = np.empty(rough.size, dtype=np.bool_)
    for start in range(0, rough.size, PIECE):
        piece = slice(start, min(start + PIECE, rough.size))
        x, y, z = pixel_directions(nside, np.arange(piece.start, piece.stop)).T
        bulge = 0.8 + 0.6 * np.exp(-0.5 * (np.arctan2(y, x) / np.deg2rad(35.0)) ** 2)
        width = half_width * bulge * np.exp(raggedness * rough[piece])
        observed[piece] = np.abs(np.arcsin(z)) > width
    return observed
