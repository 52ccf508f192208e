"""Measure the spectra of whole skies of T, Q and U: TT, EE, BB, TE, EB and TB, in this order.

This is healpy's order. CAMB's is TT, EE, BB, TE. Skies of Q and U alone have EE, BB and EB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill import harmonics
from skyfill.brief import brief
from skyfill.healpix.arrays import as_map
from skyfill.healpix.checks import check_whole
from skyfill.healpix.stokes import nside_of
from skyfill.prior import PolarizedPrior
from skyfill.spectra.bandpowers import BandPowers, Bins
from skyfill.spectra.binning import Edges, averaged, summed
from skyfill.spectra.estimators import crossed, scatter_of

__all__ = [
    "SPECTRA",
    "FullStokes",
    "StokesExpectation",
    "StokesPowers",
    "adjoint_pol",
    "analysed",
    "pairs_of",
    "skies_of",
    "spectra_of",
    "whole_spectra",
]

Map = NDArray[np.float64]
Alm = NDArray[np.complex128]

SPECTRA = ("TT", "EE", "BB", "TE", "EB", "TB")
"""Names of the spectra of T, Q and U, in healpy's order."""
#: Jacobi iterations beyond the multipoles where the pixel weights are exact, as in anafast.
_ITERATIONS = 3


def pairs_of(components: int) -> dict[str, tuple[int, int]]:
    """Give the spectra of 3 components, T, Q, U, or of 2, Q, U, with the rows of alm they join."""
    letters = "TEB"[-components:]
    return {
        name: (letters.index(name[0]), letters.index(name[1]))
        for name in SPECTRA
        if set(name) <= set(letters)
    }


def skies_of(values: ArrayLike, what: str = "values") -> Map:
    """Check a sky of T, Q and U, ``(3, npix)``, or of Q and U, ``(2, npix)``."""
    shape = np.shape(values)
    if len(shape) != 2 or shape[0] not in (2, 3):
        raise ValueError(
            f"`{what}` must be (3, npix), T, Q and U, or (2, npix), Q and U, got {shape}"
        )
    return np.array([as_map(sky, what) for sky in np.asanyarray(values)], dtype=np.float64)


def whole_spectra(
    values: ArrayLike, *, lmax: int | None = None, threads: int = 0
) -> dict[str, NDArray[np.float64]]:
    """Measure the spectra of a whole sky with weights that make the quadrature exact.

    Up to ell = 1.5 Nside, E leaves less than 1e-7 of its amplitude in B, if the sky has no power
    beyond. For a larger ``lmax`` the harmonics are iterated as in healpy's ``anafast``.

    Parameters
    ----------
    values
        ``(3, npix)``, T, Q and U, or ``(2, npix)``, Q and U: RING, finite, U with the sign of
        HEALPix.
    lmax
        Largest ell; 1.5 Nside if None.
    threads
        Number of threads; 0 for all cores.

    Returns
    -------
        By name ``(lmax + 1,)``, from ell = 0, in the square of the unit of the map: TT, EE, BB, TE,
        EB, TB, in this order; of Q and U alone EE, BB, EB. Monopole and dipole of T are zero.

    Raises
    ------
    ValueError
        The sky has another shape, missing pixels, or ``lmax`` is beyond 3 Nside - 1.

    Examples
    --------
    >>> import numpy as np, skyfill
    >>> prior = skyfill.Prior(16, skyfill.lcdm(), fwhm=0.1, theory=skyfill.prior.LCDM)
    >>> prior = skyfill.prior.PolarizedPrior.of(prior)
    >>> sky = skyfill.simulate.simulate_stokes(prior, seed=1, lmax=24)
    >>> list(skyfill.spectra.whole_spectra(sky))
    ['TT', 'EE', 'BB', 'TE', 'EB', 'TB']

    """
    skies = skies_of(values)
    missing = int(skies.size - np.count_nonzero(np.isfinite(skies)))
    if missing:
        raise ValueError(
            f"the spectra need a whole sky, {missing} pixels are missing; fill them first "
            "(skyfill inpaint)"
        )
    nside = nside_of(skies[0], "values")
    lmax = harmonics.quadrature_lmax(nside) if lmax is None else check_whole(lmax, "lmax")
    if not 2 <= lmax < 3 * nside:
        raise ValueError(f"`lmax` must be from 2 to 3 Nside - 1 = {3 * nside - 1}, got {lmax}")
    return spectra_of(analysed(skies, nside, lmax, threads))


def analysed(skies: Map, nside: int, lmax: int, threads: int) -> Alm:
    """Give T, E and B, or E and B, ``(k, nalm)``."""
    weights = harmonics.pixel_weights(nside, threads=threads) * (4 * np.pi / skies.shape[1])
    bare = skies.copy()
    if len(skies) == 3:
        bare[0] -= bare[0].mean()
    rest = bare.copy()
    rounds = 0 if lmax <= harmonics.quadrature_lmax(nside) else _ITERATIONS
    alm = np.zeros((len(skies), (lmax + 1) * (lmax + 2) // 2), dtype=complex)
    for number in range(rounds + 1):
        alm[-2:] += adjoint_pol(rest[-2:] * weights, nside, lmax, threads)
        if len(skies) == 3:
            alm[0] += harmonics.adjoint(rest[0] * weights, lmax=lmax, threads=threads)
        if number < rounds:
            for part, values in harmonics.parts_of(alm[-2:], nside, spin=2, threads=threads):
                rest[-2:, part] = bare[-2:, part] - values
            if len(skies) == 3:
                rest[0] = bare[0] - harmonics.synthesis(alm[0], nside, threads=threads)
    if len(skies) == 3:
        alm[0, [0, 1, lmax + 1]] = 0.0  # monopole and dipole
    return alm


def adjoint_pol(values: Map, nside: int, lmax: int, threads: int) -> Alm:
    """Give Yᵀ of Q and U, ``(2, nalm)``, a plain sum over pixels, zero below ell = 2."""
    found = harmonics.adjoint_of(
        lambda part: values[:, part], nside, lmax=lmax, spin=2, threads=threads
    )
    found[:, [0, 1, lmax + 1]] = 0.0
    return found


def spectra_of(alm: Alm) -> dict[str, NDArray[np.float64]]:
    """Give all spectra of T, E and B, or of E and B."""
    return {
        name: harmonics.cl_of(alm[i]) if i == j else crossed(alm[i], alm[j])
        for name, (i, j) in pairs_of(len(alm)).items()
    }


@dataclass(frozen=True, eq=False)
class StokesExpectation:
    """Expected spectra of a map of T, Q and U, or of Q and U.

    Attributes
    ----------
    signal_cl
        ``(k, k, sky_lmax + 1)``, µK²: the signal of T, E and B, or of E and B, on the map, also
        beyond lmax. Monopole and dipole are zero.
    white_cl
        ``(k,)``, µK²: white noise of each.
    sky_cl
        ``(k, k, lmax + 1)``, µK²: the sky before beam and pixels.
    alias_cl
        ``(k, k, lmax + 1)``, µK²: what pixels show of the signal beyond lmax at each ell of a whole
        sky.
    """

    __repr__ = brief

    signal_cl: Map
    white_cl: Map
    sky_cl: Map
    alias_cl: Map

    @classmethod
    def of(
        cls, prior: PolarizedPrior, lmax: int, components: int, *, threads: int = 0
    ) -> StokesExpectation:
        """Get the expected spectra of 3 components, T, Q, U, or of 2, Q, U, from a prior.

        Raises
        ------
        ValueError
            A spectrum ends before lmax, or is not positive from ell = 2.
        """
        t = prior.temperature
        last = min(cl.size for cl in (t.cl, prior.ee, prior.te)[3 - components :]) - 1
        if last < lmax:
            raise ValueError(
                f"the theory ends at ell = {last}, before lmax = {lmax}; pass `lmax={last}`, or a "
                "theory that goes on"
            )
        signal = prior.signal_cl()
        if signal.shape[2] <= lmax:
            signal = prior.signal_cl(lmax)
        signal[:, :, :2] = 0.0
        white = np.array(prior.white_cl)[[0, 1, 1]]
        sky = np.zeros((3, 3, lmax + 1))
        for name, cl in (("TT", t.cl), ("EE", prior.ee), ("BB", prior.bb), ("TE", prior.te)):
            i, j = pairs_of(3)[name]
            n = min(cl.size, lmax + 1)
            sky[i, j, 2:n] = sky[j, i, 2:n] = cl[2:n]
        kept = slice(3 - components, 3)
        total = np.array([signal[i, i, 2 : lmax + 1] + white[i] for i in range(3)])[kept]
        if not np.all(total > 0):
            raise ValueError("the theory must be positive at every ell from 2 to lmax")
        alias = _alias(signal, t.nside, lmax, threads)
        return cls(signal[kept, kept], white[kept], sky[kept, kept], alias[kept, kept])

    @property
    def ell_max(self) -> int:
        """Largest ell of the analysis."""
        return int(self.sky_cl.shape[2]) - 1

    @property
    def pairs(self) -> dict[str, tuple[int, int]]:
        """The spectra, with their rows."""
        return pairs_of(len(self.signal_cl))

    @property
    def total_cl(self) -> Map:
        """``(k, k, lmax + 1)``, µK²: signal, aliases and noise, without monopole and dipole."""
        total = self.signal_cl[:, :, : self.ell_max + 1] + self.alias_cl
        total += np.diag(self.white_cl)[:, :, None]
        total[:, :, :2] = 0.0
        return np.asarray(total)

    def transfer(self, letter: int) -> NDArray[np.float64]:
        """Give the share of the power of T, E or B of the sky that is on the map."""
        rows = [letter, -2] if letter >= len(self.sky_cl) - 2 else [letter]
        out = np.zeros(self.ell_max + 1)
        for row in rows[::-1]:  # of B as of E where the theory has no B
            sky = self.sky_cl[row, row]
            seen = self.signal_cl[row, row, : sky.size]
            np.divide(seen, sky, out=out, where=sky > 0)
        return out

    def dl(self, name: str, edges: Edges) -> tuple[Bins, Bins]:
        """Give the binned D_ell of the sky, and the factor from C_ell of the map to D_ell.

        The factor is that of a spectrum with the shape of √(XX YY) in the bin, which has no zero.
        It is NaN if the beam leaves nothing.
        """
        i, j = self.pairs[name]
        ell = np.arange(self.ell_max + 1)
        per_cl = ell * (ell + 1) / (2 * np.pi)
        shape = np.sqrt(self.sky_cl[i, i] * self.sky_cl[j, j])
        if not shape.any():
            shape = np.where(ell > 1, 1 / np.maximum(per_cl, 1), 0.0)
        seen = averaged(shape * np.sqrt(self.transfer(i) * self.transfer(j)), edges)
        sky = averaged(shape * per_cl, edges)
        told = seen > 0
        factor = np.where(told, sky, np.nan) / np.where(told, seen, 1.0)
        return averaged(self.sky_cl[i, j] * per_cl, edges), factor


def _alias(signal: Map, nside: int, lmax: int, threads: int) -> Map:
    """Give the mean power at each ell that weighted sums over pixels take for that beyond lmax.

    The weights are a mask of the whole sky. It couples ell and ell' from ell + ell' = 3 nside on,
    also E and B.
    """
    out = np.zeros((3, 3, lmax + 1))
    first, top = max(3 * nside - lmax, lmax + 1), signal.shape[2] - 1
    if top < first:
        return out
    weights = harmonics.pixel_weights(nside, threads=threads) * (4 * np.pi / (12 * nside**2))
    alm = harmonics.adjoint(weights, lmax=lmax + top, threads=threads)
    mask = np.tile(harmonics.cl_of(alm), (3, 1))
    coupling = harmonics.stokes_coupling(mask, lmax=lmax, sky_lmax=top, threads=threads)
    none, mixed, plus, minus = (matrix[:, first:] for matrix in coupling)
    beyond = signal[:, :, first:]
    out[0, 0] = none @ beyond[0, 0]
    out[0, 1] = out[1, 0] = mixed @ beyond[0, 1]
    out[1, 1] = plus @ beyond[1, 1] + minus @ beyond[2, 2]
    out[2, 2] = minus @ beyond[1, 1] + plus @ beyond[2, 2]
    out[:, :, :2] = 0.0
    return out


@dataclass(frozen=True, eq=False)
class StokesPowers(BandPowers):
    """Bins of one spectrum of T, E and B, as `BandPowers`.

    ``dl`` is the D_ell of the theory and the distance of sky and theory, divided by beam and pixel
    window. ``ratio`` has no meaning where the theory is zero.

    Attributes
    ----------
    dl_sky
        D_ell of the theory's sky, binned, µK².
    """

    __repr__ = brief

    dl_sky: Bins = field(default_factory=lambda: np.zeros(0))

    @property
    def dl(self) -> Bins:
        """D_ell of the sky, µK²."""
        return self.dl_sky + (self.cl - self.theory) * self.dl_per_cl

    @property
    def dl_theory(self) -> Bins:
        """The theory's D_ell, binned, µK²."""
        return self.dl_sky

    def columns(self) -> dict[str, Bins]:
        """Give all quantities with one number a bin, by their names in tables."""
        names = ["modes", "cl", "theory", "noise", "sigma", "sigma_signal", "residual"]
        names += ["dl", "dl_theory", "dl_sigma"]
        if self.scatter is not None:
            names.append("scatter")
        if self.prior_share is not None:
            names += ["prior_share", "error", "dl_error"]
        return {name: np.asarray(getattr(self, name)) for name in names}


class FullStokes:
    """Spectra of whole skies, by `whole_spectra`.

    Parameters
    ----------
    expected
        The theory.
    edges
        ``(nbin + 1,)``, see `binning`.
    threads
        Number of threads; 0 for all cores.
    """

    def __init__(self, expected: StokesExpectation, edges: Edges, *, threads: int = 0) -> None:
        self._expected, self._edges, self._threads = expected, edges, threads

    def powers(self, values: Map) -> Map:
        """Measure one sky: ``(k, npix)`` to ``(nspectra, nbin)``, µK²."""
        found = whole_spectra(values, lmax=self._expected.ell_max, threads=self._threads)
        return np.array([averaged(cl, self._edges) for cl in found.values()])

    def band_powers(self, measured: Sequence[Map]) -> dict[str, StokesPowers]:
        """Compare the mean of the measurements with the theory, with the errors of one sky.

        The variance of XY is (XX YY + XY²) / (2 ell + 1) in each multipole.
        """
        expected, edges = self._expected, self._edges
        total = expected.total_cl
        signal = expected.signal_cl[:, :, : total.shape[2]]
        modes = summed(2 * np.arange(total.shape[2]) + 1, edges)
        bands = {}
        for number, (name, (i, j)) in enumerate(expected.pairs.items()):
            mine = [each[number] for each in measured]
            dl_sky, dl_per_cl = expected.dl(name, edges)
            power, bare = (cl[i, i] * cl[j, j] + cl[i, j] ** 2 for cl in (total, signal))
            bands[name] = StokesPowers(
                cl=np.mean(mine, axis=0),
                scatter=scatter_of(mine),
                theory=averaged(total[i, j], edges),
                noise=averaged(total[i, j] - signal[i, j], edges),
                covariance=np.diag(averaged(power, edges) / modes),
                sigma_signal=np.sqrt(averaged(bare, edges) / modes),
                modes=modes,
                dl_per_cl=dl_per_cl,
                windows=averaged(np.eye(total.shape[2]), edges),
                dl_sky=dl_sky,
            )
        return bands
