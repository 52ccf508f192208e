"""Measure the binned spectrum of whole and of masked skies.

An estimator is set up once for the theory, the bins and the mask, and then measures any number of
skies.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from skyfill import harmonics
from skyfill.healpix.stokes import nside_of
from skyfill.spectra.bandpowers import BandPowers, Bins
from skyfill.spectra.binning import Edges, averaged, summed
from skyfill.spectra.expectation import Cl, Expectation
from skyfill.spectra.scatter import COARSE, SEED, degraded, skies_at, smoothed

__all__ = ["SINGULAR", "CutSky", "Estimator", "FullSky", "PseudoSky", "crossed", "scatter_of"]

Map = NDArray[np.float64]
SINGULAR = 1e8
"""Condition number of the binned coupling above which rounding errors dominate the result."""
#: Share of signal in a bin below which it is lost in the rounding of the noise.
_ROUNDING = 1e-10


class Estimator(Protocol):
    """An estimator of binned spectra."""

    def powers(self, values: Map) -> Bins:
        """Measure one sky: ``(npix,)``, µK, RING, to ``(nbin,)``, µK²."""

    def band_powers(self, measured: Sequence[Bins]) -> BandPowers:
        """Compare the mean of the measurements with the theory."""


class FullSky:
    """Spectrum of whole skies: healpy's ``anafast(iter=3)``, monopole and dipole removed.

    Parameters
    ----------
    expected
        The theory.
    edges
        ``(nbin + 1,)``, see `binning`.
    """

    def __init__(self, expected: Expectation, edges: Edges) -> None:
        self._expected = expected
        self._edges = edges

    def powers(self, values: Map) -> Bins:
        """Measure one sky, ``(npix,)``, in µK²."""
        import healpy  # imported here because it takes 1.4 s

        sky = healpy.remove_dipole(np.asarray(values, dtype=np.float64), copy=True)
        cl = healpy.anafast(sky, lmax=self._expected.ell_max, iter=3, pol=False)
        return averaged(cl, self._edges)

    def alm(self, values: Map) -> NDArray[np.complex128]:
        """Give the alm, ``(nalm,)``, µK, of which `powers` averages the power."""
        import healpy  # imported here because it takes 1.4 s

        sky = healpy.remove_dipole(np.asarray(values, dtype=np.float64), copy=True)
        found = healpy.map2alm(sky, lmax=self._expected.ell_max, iter=3, pol=False)
        return np.asarray(found, dtype=np.complex128)

    def band_powers(self, measured: Sequence[Bins]) -> BandPowers:
        """Compare the mean of the measurements with the theory; the variance is 2 C² / (2 ell + 1).

        The errors are those of one sky for any number of realizations, because realizations of one
        map share the observed pixels.
        """
        edges, expected = self._edges, self._expected
        ell = np.arange(expected.ell_max + 1)
        modes = summed(2 * ell + 1, edges)
        total = expected.total_cl
        signal = expected.signal_cl[: ell.size]
        theory = averaged(total, edges)
        noise = averaged(total - signal, edges)
        return BandPowers(
            cl=np.mean(measured, axis=0),
            scatter=scatter_of(measured),
            theory=theory,
            noise=noise,
            covariance=np.diag(2 * averaged(total**2, edges) / modes),
            sigma_signal=np.sqrt(2 * averaged(signal**2, edges) / modes),
            modes=modes,
            dl_per_cl=_dl_per_cl(expected, theory, noise, edges),
            windows=averaged(np.eye(ell.size), edges),
        )


class PseudoSky:
    """Pseudo-spectrum of a masked sky: that of the sky times a window, beside its expectation.

    Monopole and dipole are fitted to the masked sky and subtracted. The fit also removes power of
    other multipoles, which for four modes is computed exactly from the theory.

    A pixel mask is a sum of delta functions. With unweighted sums over pixels, both for the map and
    for the spectrum of the mask, the coupling matrix M is exact, pixelisation included.

    Parameters
    ----------
    window
        ``(npix,)``, RING, from 0 (masked) to 1: a mask, apodised or not, or other weights.
    expected
        The theory.
    edges
        ``(nbin + 1,)``, see `binning`.
    threads
        Threads of the transforms; 0 for all cores.

    Attributes
    ----------
    library
        The library that summed the 3j symbols.
    """

    def __init__(
        self, window: Map, expected: Expectation, edges: Edges, *, threads: int = 0
    ) -> None:
        self.library = harmonics.coupling_library()
        self._expected = expected
        self._edges = edges
        self._threads = threads
        self._nside = nside_of(window, "observed")
        self._window = window
        self._area = 4 * np.pi / window.size
        self._mean2 = float(np.mean(window**2))
        lmax, sky_lmax = expected.ell_max, expected.signal_cl.size - 1
        self._normal = np.linalg.pinv(
            [self._moments(window * self._template(unit)) for unit in np.eye(4)], hermitian=True
        )
        matrix = harmonics.coupling_matrix(
            harmonics.cl_of(self._transform(window, lmax + sky_lmax)),
            lmax=lmax,
            sky_lmax=sky_lmax,
            library=self.library,
            threads=threads,
        )
        # White noise is white at every multipole, so its pseudo-spectrum needs no sum over them.
        self._pseudo_signal = matrix @ expected.signal_cl
        self._pseudo = self._pseudo_signal + expected.white_cl * self._mean2
        self._couple(matrix)
        self._kept = np.ones(lmax + 1)
        self._kept[2:] = (1 - self._lost() / self._pseudo)[2:]

    def _couple(self, matrix: NDArray[np.float64]) -> None:
        """Keep what is needed of the coupling, ``(lmax + 1, sky_lmax + 1)``: here nothing."""

    def _transform(self, values: Map, lmax: int) -> NDArray[np.complex128]:
        return self._area * harmonics.adjoint(values, lmax=lmax, threads=self._threads)

    def _template(self, amplitudes: NDArray[np.float64]) -> Map:
        """Evaluate a monopole and a dipole, with four orthogonal amplitudes, on the pixels."""
        mono, z, x, y = amplitudes
        alm = np.array([mono, z, (x + 1j * y) / np.sqrt(2)])
        return harmonics.synthesis(alm, self._nside, threads=self._threads)

    def _moments(self, values: Map) -> NDArray[np.float64]:
        """Sum a map times each template: the transpose of `_template`."""
        mono, z, one = harmonics.adjoint(values, lmax=1, threads=self._threads)
        return np.array([mono.real, z.real, np.sqrt(2) * one.real, np.sqrt(2) * one.imag])

    def _lost(self) -> Cl:
        """Give the power that the fit of monopole and dipole takes from the pseudo-spectrum."""
        expected, lmax = self._expected, self._expected.ell_max
        variance = expected.white_cl / self._area  # of a pixel's noise
        fits, skies, masked = [], [], []
        for unit in np.eye(4):
            weight = self._window * self._template(unit)
            masked.append(self._transform(weight, lmax))
            alm = harmonics.adjoint(weight, lmax=expected.signal_cl.size - 1, threads=self._threads)
            alm = harmonics.almxfl(alm, expected.signal_cl)
            sky = harmonics.synthesis(alm, self._nside, threads=self._threads)
            sky += variance * weight
            sky *= self._window  # W <T Tᵀ> W x
            fits.append(self._moments(sky))
            skies.append(self._transform(sky, lmax))
        # Fitted amplitudes are c = G⁻¹ Xᵀ W T; <T c> and <c c> follow from the covariance of T.
        with_sky = np.tensordot(self._normal, np.array(skies), axes=1)
        amplitudes = self._normal @ np.array(fits) @ self._normal
        mixed = np.tensordot(amplitudes, np.array(masked), axes=1)
        taken = [
            2 * crossed(sky, own) - crossed(mix, own)
            for sky, mix, own in zip(with_sky, mixed, masked, strict=True)
        ]
        return np.asarray(np.sum(taken, axis=0))

    def masked(self, values: Map) -> NDArray[np.complex128]:
        """Give the alm of a masked sky, ``(nalm,)``, without its fitted monopole and dipole.

        Raises
        ------
        ValueError
            Pixels with a weight above 0 are missing.
        """
        sky = np.where(self._window > 0, values, 0.0)
        missing = int(sky.size - np.count_nonzero(np.isfinite(sky)))
        if missing:
            raise ValueError(
                f"{missing} pixels are missing where the mask has a weight; set it to 0 there"
            )
        sky -= self._template(self._normal @ self._moments(self._window * sky))
        sky *= self._window
        return self._transform(sky, self._expected.ell_max)

    def share(self, values: Map) -> Bins:
        """Give the power of a part of the masked sky over that expected of all of it.

        Both are pseudo-spectra, averaged in each bin, ``(nbin,)``: a share has no need of the
        inverted coupling, which would make it noisy.

        Raises
        ------
        ValueError
            As for `masked`.
        """
        pseudo = harmonics.cl_of(self.masked(values))
        whole = averaged(self._pseudo * self._kept, self._edges)
        return np.asarray(averaged(pseudo, self._edges) / whole)


class CutSky(PseudoSky):
    """Spectrum of a masked sky, corrected for the mask (MASTER; Hivon et al. 2002).

    The pseudo-spectrum C̃ of the masked sky has the mean M C. Binned with P (weights 2l + 1) and
    flat within bins (Q), it is inverted with K = P M Q: Ĉ = K⁻¹ P (F C̃ - L).

    F corrects for the fit of monopole and dipole. L is the power that the mask brings into the bins
    from beyond lmax, from the theory.

    Parameters
    ----------
    window, expected, edges, threads
        As for `PseudoSky`.

    Attributes
    ----------
    library
        The library that summed the 3j symbols.

    Raises
    ------
    ValueError
        The mask leaves too little of the sky for these bins.
    """

    def _couple(self, matrix: NDArray[np.float64]) -> None:
        """Invert the coupling of the bins."""
        edges, expected, window = self._edges, self._expected, self._window
        self._mean4 = float(np.mean(window**4))
        first, end = edges[0], edges[-1]
        coupling = summed(averaged(matrix[:, :end], edges), edges, axis=1)
        if not np.linalg.cond(coupling) < SINGULAR:
            raise ValueError(
                f"the mask leaves {np.mean(window > 0):.2%} of the sky, too little for bins this "
                "narrow; widen the bins (`bins`), or apodise less"
            )
        self._undo = np.linalg.inv(coupling)
        self._windows = np.asarray(self._undo @ averaged(matrix, edges))
        self._leak = self._pseudo - matrix[:, first:end] @ expected.total_cl[first:end]

    def powers(self, values: Map) -> Bins:
        """Measure one sky, ``(npix,)``, in µK²; masked pixels are not read.

        Raises
        ------
        ValueError
            Pixels with a weight above 0 are missing.
        """
        return self.powers_of(self.masked(values))

    def powers_of(self, masked: NDArray[np.complex128]) -> Bins:
        """Measure a sky of which the alm of `masked` are given."""
        pseudo = harmonics.cl_of(masked)
        return np.asarray(self._undo @ averaged(pseudo / self._kept - self._leak, self._edges))

    def level(self, *, white: bool) -> Cl:
        """Give the mean pseudo-spectrum over the mean of W², ``(lmax + 1,)``, µK²."""
        return np.asarray((self._pseudo if white else self._pseudo_signal) / self._mean2)

    def fit(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give the fit of monopole and dipole as f and g, ``(4, npix)``.

        The masked sky of T loses Σ_i f_i (g_i · T).
        """
        taken = np.array([self._window * self._template(unit) for unit in np.eye(4)])
        return taken, self._normal @ taken

    def band_powers(self, measured: Sequence[Bins]) -> BandPowers:
        """Compare the mean of the measurements with the theory, with the errors of one sky.

        The pseudo-spectrum has the covariance 2 c_l c_l' M_ll'[W²] / (2l' + 1) (Efstathiou 2004),
        where c is the mean pseudo-spectrum over <W²>, leakage included. It gives the errors, up to
        factors from simulated skies, which are far from one where a sharp mask scatters much power.
        The correlations of bins are those of a white spectrum (c = 1), because for a steep spectrum
        this covariance overestimates them. The modes are (2l + 1) <W²>² / <W⁴> (Hivon et al. 2002,
        their ν_b).
        """
        expected, edges = self._expected, self._edges
        white, signal = self._errors
        scale = self._factors
        theory = self._undo @ averaged(self._pseudo - self._leak, edges)
        noise = expected.white_cl + averaged(expected.alias_cl, edges)
        return BandPowers(
            cl=np.mean(measured, axis=0),
            scatter=scatter_of(measured),
            theory=theory,
            noise=noise,
            covariance=white * np.outer(scale, scale),
            sigma_signal=signal * scale,
            modes=summed(2.0 * np.arange(expected.ell_max + 1) + 1, edges)
            * self._mean2**2
            / self._mean4,
            dl_per_cl=_dl_per_cl(expected, theory, noise, edges),
            windows=self._windows,
        )

    @cached_property
    def _errors(self) -> tuple[NDArray[np.float64], Bins]:
        """Efstathiou's covariance of the bins, and the errors of the signal alone."""
        expected, edges = self._expected, self._edges
        lmax = expected.ell_max
        modes = 2.0 * np.arange(lmax + 1) + 1
        squared = harmonics.coupling_matrix(
            harmonics.cl_of(self._transform(self._window**2, 2 * lmax)),
            lmax=lmax,
            library=self.library,
            threads=self._threads,
        )
        squared *= 2 / modes

        def covariance(level: Cl) -> NDArray[np.float64]:
            per_ell = squared * level[:, None] * level
            binned = averaged(averaged(per_ell, edges).T, edges)
            return np.asarray(self._undo @ binned @ self._undo.T)

        def error(pseudo: Cl) -> Bins:
            return np.sqrt(np.diagonal(covariance(pseudo / self._mean2)))

        white = covariance(np.ones(lmax + 1))
        scale = error(self._pseudo) / np.sqrt(np.diagonal(white))
        return white * np.outer(scale, scale), error(self._pseudo_signal)

    @cached_property
    def _factors(self) -> Bins:
        """Factors of the errors in each bin: the scatter of simulated skies over `_errors`.

        Bins below `COARSE` are simulated at that Nside, where many skies take little time; of the
        others, neighbours are averaged.
        """
        edges, nside = self._edges, self._nside
        if np.all(self._window == self._window[0]):
            return np.ones(edges.size - 1)
        skies = skies_at(nside)
        found = self._scatter_over_errors(skies)
        if nside <= COARSE:
            return found
        found = smoothed(found, skies)
        coarse = int(np.count_nonzero(edges[1:] <= COARSE + 1))
        if coarse:
            expected, end = self._expected, edges[coarse]
            low = CutSky(
                degraded(self._window, COARSE),
                Expectation(
                    expected.signal_cl[: 3 * COARSE],
                    expected.white_cl,
                    expected.sky_cl[:end],
                    expected.alias_cl[:end],
                ),
                edges[: coarse + 1],
                threads=self._threads,
            )
            found[:coarse] = low._scatter_over_errors(skies_at(COARSE))
        return found

    def _scatter_over_errors(self, skies: int) -> Bins:
        """Simulate skies of the theory; give the scatter of their bins over `_errors`."""
        expected = self._expected
        rms = np.sqrt(expected.white_cl / self._area)
        root = np.sqrt(expected.signal_cl)
        rng = np.random.default_rng(SEED)
        found = []
        lmax = root.size - 1
        for _ in range(skies):
            alm = rng.standard_normal((lmax + 1) * (lmax + 2)).view(np.complex128) * 0.5**0.5
            alm[: lmax + 1] = alm[: lmax + 1].real * 2**0.5
            alm = harmonics.almxfl(alm, root)
            sky = harmonics.synthesis(alm, self._nside, threads=self._threads)
            sky += rms * rng.standard_normal(sky.size)
            found.append(self.powers(sky))
        return np.asarray(np.std(found, axis=0, ddof=1) / np.sqrt(np.diagonal(self._errors[0])))


def crossed(one: NDArray[np.complex128], other: NDArray[np.complex128]) -> Cl:
    """Give the cross-spectrum of two sets of alm, from that of their sum and difference."""
    return np.asarray((harmonics.cl_of(one + other) - harmonics.cl_of(one - other)) / 4)


def scatter_of(measured: Sequence[Bins]) -> Bins | None:
    """Give the standard deviation over realizations, if there are several."""
    return np.asarray(np.std(measured, axis=0, ddof=1)) if len(measured) > 1 else None


def _dl_per_cl(expected: Expectation, theory: Bins, noise: Bins, edges: Edges) -> Bins:
    """Give the factor from the map's C_ell to the sky's D_ell, for the theory's shape in a bin.

    It is NaN if the beam leaves no signal above rounding.
    """
    ell = np.arange(expected.ell_max + 1)
    dl = averaged(ell * (ell + 1) / (2 * np.pi) * expected.sky_cl, edges)
    signal = theory - noise
    seen = signal > _ROUNDING * theory
    return np.asarray(np.where(seen, dl, np.nan) / np.where(seen, signal, 1.0))
