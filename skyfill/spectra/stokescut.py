"""Measure the spectra of masked skies of T, Q and U, with a mask of T and a mask of P.

MASTER for spin 0 and 2 (Hivon et al. 2002; Kogut et al. 2003). E and B of a masked sky mix, and are
undone together. B modes that E leaves behind the mask are subtracted in the mean, not in each sky:
the pseudo-spectrum is not purified.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from skyfill import harmonics
from skyfill.healpix.stokes import nside_of
from skyfill.spectra.bandpowers import Bins
from skyfill.spectra.binning import Edges, averaged, summed
from skyfill.spectra.estimators import CutSky, crossed, scatter_of
from skyfill.spectra.expectation import Expectation
from skyfill.spectra.scatter import COARSE, SEED, degraded, skies_at, smoothed
from skyfill.spectra.stokes import StokesExpectation, StokesPowers, adjoint_pol, spectra_of

__all__ = ["GROUPS", "CutStokes", "blocks_of", "drawn_alm", "root_of"]

Map = NDArray[np.float64]
Alm = NDArray[np.complex128]

#: Condition number of the binned coupling above which rounding errors dominate the result.
_SINGULAR = 1e8
#: Largest number of skies from which errors are calibrated: 300 leave 4%, and take some seconds.
_MOST = 300
#: Skies a bin that the correlations of the theory are worth beside those of simulated skies: of 0,
#: 1, 2 and 4, the tests of deep maps are right most often with 4.
_TRUSTED = 4
GROUPS = (("TE",), ("TB",), ("EE", "BB"), ("EB",))
"""Groups of spectra that a mask mixes, and that are undone together."""


class CutStokes:
    """Spectra of masked skies, corrected for the masks.

    Of T, `CutSky` measures the spectrum. The pseudo-spectra of the others have the means of
    `harmonics.stokes_coupling`, with noise N <W²> in EE and in BB. Binned with P and flat within
    bins, they are undone: TE and TB by M⁰², EB by M⁺⁺ - M⁻⁻, EE and BB together.

    The fit of monopole and dipole, which is subtracted from the masked T, takes some of TE and TB.
    This, and the power from beyond the bins, is added back, or subtracted, as the theory has it.

    Parameters
    ----------
    windows
        ``(npix,)`` weights, RING, from 0 to 1, of T and of P; or of P alone.
    expected
        The theory, of T, E and B; or of E and B.
    edges
        ``(nbin + 1,)``, see `binning`.
    threads
        Number of threads; 0 for all cores.

    Raises
    ------
    ValueError
        A mask leaves too little of the sky for these bins.
    """

    def __init__(
        self,
        windows: Sequence[Map],
        expected: StokesExpectation,
        edges: Edges,
        *,
        threads: int = 0,
    ) -> None:
        self._windows = [windows[0], windows[-1]]
        self._expected, self._edges, self._threads = expected, edges, threads
        self._names = tuple(expected.pairs)
        self._area = 4 * np.pi / windows[-1].size
        self._nside = nside_of(windows[-1], "observed")
        self._means = _means(self._windows)
        self._t: CutSky | None = None
        if "TT" in self._names:
            t = Expectation(
                expected.signal_cl[0, 0],
                float(expected.white_cl[0]),
                expected.sky_cl[0, 0],
                expected.alias_cl[0, 0],
            )
            self._t = CutSky(windows[0], t, edges, threads=threads)
        lmax, end = expected.ell_max, edges[-1]
        matrices = self._coupling(self._windows, lmax, expected.signal_cl.shape[2] - 1)
        self._groups = [group for group in GROUPS if group[0] in self._names]
        self._undo: dict[tuple[str, ...], Map] = {}
        self._responses: dict[str, Map] = {}
        for group in self._groups:
            blocks = blocks_of(group, matrices)
            binned = np.block(
                [
                    [summed(averaged(each[:, :end], edges), edges, axis=1) for each in row]
                    for row in blocks
                ]
            )
            if not np.linalg.cond(binned) < _SINGULAR:
                shares = " and ".join(f"{np.mean(each > 0):.2%}" for each in windows)
                raise ValueError(
                    f"the masks leave {shares} of the sky, too little for bins this narrow in "
                    f"{' and '.join(group)}; widen the bins (`bins`), or apodise less"
                )
            self._undo[group] = np.linalg.inv(binned)
            whole = self._undo[group] @ np.vstack([averaged(each, edges) for each in blocks[0]])
            if len(group) == 2:  # the response of EE to EE and of BB to BB
                whole = self._undo[group] @ np.block(
                    [[averaged(each, edges) for each in row] for row in blocks]
                )
            count, size = edges.size - 1, expected.signal_cl.shape[2]
            for at, name in enumerate(group):
                self._responses[name] = whole[at * count : (at + 1) * count, at * size :][:, :size]
        self._signal = self._pseudo(matrices, expected.signal_cl, white=False)
        self._total = self._pseudo(matrices, expected.signal_cl, white=True)
        inside = np.zeros_like(expected.signal_cl)
        inside[:, :, edges[0] : end] = expected.total_cl[:, :, edges[0] : end]
        known = self._pseudo(matrices, inside, white=False)
        self._leak = {name: self._total[name] - known[name] for name in self._total}
        self._lost = self._taken()

    def _coupling(self, windows: Sequence[Map], lmax: int, sky_lmax: int) -> Map:
        """Give M⁰⁰, M⁰², M⁺⁺ and M⁻⁻ of two windows."""
        t, p = (
            self._area * harmonics.adjoint(each, lmax=lmax + sky_lmax, threads=self._threads)
            for each in windows
        )
        return harmonics.stokes_coupling(
            np.array([harmonics.cl_of(t), crossed(t, p), harmonics.cl_of(p)]),
            lmax=lmax,
            sky_lmax=sky_lmax,
            threads=self._threads,
        )

    def _pseudo(self, matrices: Map, cl: Map, *, white: bool) -> dict[str, NDArray[np.float64]]:
        """Give the mean pseudo-spectra of all but TT, with or without white noise."""
        pairs = self._expected.pairs
        found = {}
        for group in self._groups:
            for name, row in zip(group, blocks_of(group, matrices), strict=True):
                inputs = (cl[pairs[each]] for each in group)
                found[name] = sum(
                    (matrix @ each for matrix, each in zip(row, inputs, strict=True)),
                    np.zeros(len(matrices[0])),
                )
                if white and name in ("EE", "BB"):
                    found[name] += self._expected.white_cl[-1] * self._means["P"]
        return found

    def _taken(self) -> dict[str, NDArray[np.float64]]:
        """Give what the fit of monopole and dipole takes from TE and TB, from the theory."""
        lmax = self._expected.ell_max
        lost = {name: np.zeros(lmax + 1) for name in ("TE", "TB")}
        if self._t is None:
            return lost
        signal = self._expected.signal_cl
        taken, duals = self._t.fit()
        for own, dual in zip(taken, duals, strict=True):
            alm = harmonics.adjoint(dual, lmax=signal.shape[2] - 1, threads=self._threads)
            pol = np.array([harmonics.almxfl(alm, signal[row, 0]) for row in (1, 2)])
            masked = self._masked_pol(self._synthesised(pol))
            alm = self._area * harmonics.adjoint(own, lmax=lmax, threads=self._threads)
            for name, each in zip(lost, masked, strict=True):
                lost[name] += crossed(alm, each)
        return lost

    def _synthesised(self, alm: Alm) -> Map:
        """Give Q and U of E and B."""
        alm[:, [0, 1, harmonics.lmax_of(alm) + 1]] = 0.0
        sky = np.empty((2, self._windows[-1].size))
        for part, values in harmonics.parts_of(alm, self._nside, spin=2, threads=self._threads):
            sky[:, part] = values
        return sky

    def _masked_pol(self, values: Map) -> Alm:
        """Give E and B of masked Q and U."""
        window = self._windows[-1]
        sky = np.where(window > 0, values, 0.0)
        missing = int(sky.size - np.count_nonzero(np.isfinite(sky)))
        if missing:
            raise ValueError(
                f"{missing} pixels of Q and U are missing where their mask has a weight; set it to"
                " 0 there"
            )
        sky *= window * self._area
        return adjoint_pol(sky, self._nside, self._expected.ell_max, self._threads)

    def powers(self, values: Map) -> Map:
        """Measure one sky: ``(k, npix)`` to ``(nspectra, nbin)``, µK²; masked pixels are not read.

        Raises
        ------
        ValueError
            Pixels with a weight above 0 are missing.
        """
        alm = self._masked_pol(values[-2:])
        found: dict[str, Bins] = {}
        if self._t is not None:
            t = self._t.masked(values[0])
            found["TT"] = self._t.powers_of(t)
            alm = np.concatenate([t[None], alm])
        pseudo = spectra_of(alm)
        for group in self._groups:
            binned = [
                averaged(pseudo[name] + self._lost.get(name, 0.0) - self._leak[name], self._edges)
                for name in group
            ]
            undone = self._undo[group] @ np.concatenate(binned)
            found |= dict(zip(group, np.split(undone, len(group)), strict=True))
        return np.array([found[name] for name in self._names])

    def band_powers(self, measured: Sequence[Map]) -> dict[str, StokesPowers]:
        """Compare the mean of the measurements with the theory, with the errors of one sky.

        The pseudo-spectrum of XY has about the covariance (c_XX c_YY + c_XY²) M[W²] / (2l + 1),
        with c the mean pseudo-spectrum over the mean of W² (Efstathiou 2004). It gives the errors
        and, for a white spectrum, the correlations of bins; simulated skies correct both. In BB, c
        is mostly the E that the mask turns into B.
        """
        expected, edges, pairs = self._expected, self._edges, self._expected.pairs
        bands: dict[str, StokesPowers] = {}
        for number, name in enumerate(self._names):
            mine = [each[number] for each in measured]
            dl_sky, dl_per_cl = expected.dl(name, edges)
            if name == "TT" and self._t is not None:
                t = self._t.band_powers(mine)
                words = {key: getattr(t, key) for key in t.__dataclass_fields__}
                dl_sky = t.dl_theory
                bands[name] = StokesPowers(**words, dl_sky=dl_sky)
                continue
            group = next(each for each in self._groups if name in each)
            covariance, signal = self._errors[name]
            scale, correlation = self._simulated[name]
            sigma = np.sqrt(np.diagonal(covariance)) * scale
            i, j = pairs[name]
            noise = averaged(expected.alias_cl[i, j], edges)
            if i == j:
                noise += expected.white_cl[i]
            both = [averaged(self._total[each] - self._leak[each], edges) for each in group]
            theory = np.split(self._undo[group] @ np.concatenate(both), len(group))
            squared, fourth = self._means[name], self._means[f"{name}²"]
            bands[name] = StokesPowers(
                cl=np.mean(mine, axis=0),
                scatter=scatter_of(mine),
                theory=theory[group.index(name)],
                noise=noise,
                covariance=correlation * np.outer(sigma, sigma),
                sigma_signal=signal * scale,
                modes=summed(2.0 * np.arange(expected.ell_max + 1) + 1, edges)
                * squared**2
                / fourth,
                dl_per_cl=dl_per_cl,
                windows=self._responses[name],
                dl_sky=dl_sky,
            )
        return bands

    @cached_property
    def _errors(self) -> dict[str, tuple[NDArray[np.float64], Bins]]:
        """For all but TT the covariance of the bins, and the errors of the signal alone."""
        edges = self._edges
        lmax = self._expected.ell_max
        squared = self._coupling([each**2 for each in self._windows], lmax, lmax)
        squared /= 2.0 * np.arange(lmax + 1) + 1
        levels = [self._levels(white=white) for white in (True, False)]
        found: dict[str, tuple[NDArray[np.float64], Bins]] = {}
        count = edges.size - 1
        for group in self._groups:
            matrix = squared[1] if group[0][0] == "T" else squared[2]
            plain = _binned(matrix, edges)
            correlation = _correlation(plain)
            covariances = []
            for level in levels:
                whole = np.zeros((len(group) * count,) * 2)
                for at, name in enumerate(group):
                    own = _binned(matrix * np.outer(level[name], level[name]), edges)
                    size = np.sqrt(np.diagonal(own))
                    here = slice(at * count, (at + 1) * count)
                    whole[here, here] = correlation * np.outer(size, size)
                covariances.append(self._undo[group] @ whole @ self._undo[group].T)
            for at, name in enumerate(group):
                here = slice(at * count, (at + 1) * count)
                total, signal = (each[here, here] for each in covariances)
                found[name] = total, np.sqrt(np.diagonal(signal))
        return found

    def _levels(self, *, white: bool) -> dict[str, NDArray[np.float64]]:
        """Give √(c_XX c_YY + c_XY²) of all but TT."""
        pseudo = self._total if white else self._signal
        level = {name: cl / self._means[name] for name, cl in pseudo.items()}
        if self._t is not None:
            level["TT"] = self._t.level(white=white)
        out = {}
        for name in pseudo:
            first, second = (level[letter * 2] for letter in name)
            out[name] = np.sqrt(np.maximum(first * second + level[name] ** 2, 0.0))
        return out

    @cached_property
    def _simulated(self) -> dict[str, tuple[Bins, NDArray[np.float64]]]:
        """For all but TT the factors of the errors, and the correlations, from simulated skies.

        Bins up to ell = 32 are simulated at Nside 32; of the others, factors are averaged over
        neighbours.
        """
        edges, nside, expected = self._edges, self._nside, self._expected
        roots = {
            name: np.linalg.cholesky(_correlation(covariance))
            for name, (covariance, _) in self._errors.items()
        }
        if all(np.all(each == each[0]) for each in self._windows):
            return {name: (np.ones(len(root)), root @ root.T) for name, root in roots.items()}
        skies = min(skies_at(nside), _MOST)
        found = self.scatter_over_errors(skies)
        coarse = int(np.count_nonzero(edges[1:] <= COARSE + 1)) if nside > COARSE else 0
        low: dict[str, tuple[Bins, NDArray[np.float64]]] = {}
        if coarse:
            end = edges[coarse]
            low = CutStokes(
                [degraded(each, COARSE) for each in self._windows],
                StokesExpectation(
                    expected.signal_cl[:, :, : 3 * COARSE],
                    expected.white_cl,
                    expected.sky_cl[:, :, :end],
                    expected.alias_cl[:, :, :end],
                ),
                edges[: coarse + 1],
                threads=self._threads,
            ).scatter_over_errors(_MOST)
        result = {}
        for name, (factors, rest) in found.items():
            if nside > COARSE:
                factors = smoothed(factors, skies)
            if coarse:
                factors[:coarse] = low[name][0]
                rest[:coarse, coarse:] = rest[coarse:, :coarse] = 0.0
                rest[:coarse, :coarse] = low[name][1]
            result[name] = factors, _correlation(roots[name] @ rest @ roots[name].T)
        return result

    def scatter_over_errors(self, skies: int) -> dict[str, tuple[Bins, NDArray[np.float64]]]:
        """Simulate skies of the theory; compare the scatter of their bins with `_errors`.

        Returns
        -------
        The standard deviations over the errors, ``(nbin,)``; and the correlations of the bins with
        those of `_errors` taken out, ``(nbin, nbin)``: the identity where these are right. Few
        skies do not tell them, so the identity counts as `_TRUSTED` skies a bin beside them.
        """
        cl, white = self._expected.signal_cl, self._expected.white_cl
        root = root_of(cl)
        rms = np.sqrt(white / self._area)[:, None]
        rng = np.random.default_rng(SEED)
        k, found = len(cl), []
        for _ in range(skies):
            alm = drawn_alm(root, rng)
            sky = np.empty((k, self._windows[-1].size))
            sky[-2:] = self._synthesised(np.array(alm[-2:]))
            if k == 3:
                sky[0] = harmonics.synthesis(np.asarray(alm[0]), self._nside, threads=self._threads)
            sky += rms * rng.standard_normal(sky.shape)
            found.append(self.powers(sky))
        result = {}
        for name, bins in zip(self._names, np.array(found).swapaxes(0, 1), strict=True):
            if name not in self._errors:
                continue
            covariance = self._errors[name][0]
            apart = np.linalg.inv(np.linalg.cholesky(_correlation(covariance)))
            told = apart @ np.corrcoef(bins.T).reshape(apart.shape) @ apart.T
            share = skies / (skies + _TRUSTED * len(apart))
            result[name] = (
                np.std(bins, axis=0, ddof=1) / np.sqrt(np.diagonal(covariance)),
                share * told + (1 - share) * np.eye(len(apart)),
            )
        return result


def blocks_of(group: tuple[str, ...], matrices: Map) -> list[list[Map]]:
    """Give the coupling of the pseudo-spectra of a group to the spectra of the same group."""
    _, mixed, plus, minus = matrices
    if group == ("EB",):
        return [[plus - minus]]
    if len(group) == 2:
        return [[plus, minus], [minus, plus]]
    return [[mixed]]


def _binned(per_ell: Map, edges: Edges) -> NDArray[np.float64]:
    """Bin a covariance of multipoles."""
    return np.asarray(averaged(averaged(per_ell, edges).T, edges))


def _correlation(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the correlations of a covariance."""
    size = np.sqrt(np.diagonal(covariance))
    return np.asarray(covariance / np.outer(size, size))


def _means(windows: Sequence[Map]) -> dict[str, float]:
    """Give the means of W² and W⁴ over the sphere: of P, and of the pair of masks of each name."""
    t, p = windows
    means = {"P": float(np.mean(p**2))}
    for name in ("TT", "EE", "BB", "TE", "EB", "TB"):
        first, second = (t if letter == "T" else p for letter in name)
        means[name] = float(np.mean(first * second))
        means[f"{name}²"] = float(np.mean((first * second) ** 2))
    return means


def root_of(cl: Map) -> NDArray[np.float64]:
    """Give the symmetric root of the matrix of spectra at each ell, ``(k, k, lmax + 1)``."""
    values, vectors = np.linalg.eigh(np.moveaxis(cl, 2, 0))
    scaled = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
    return np.asarray(np.moveaxis(scaled @ vectors.swapaxes(1, 2), 0, 2))


def drawn_alm(root: Map, rng: np.random.Generator) -> list[Alm]:
    """Draw alm of each component, with the spectra whose root is given, from `root_of`."""
    k, lmax = len(root), root.shape[2] - 1
    unit = rng.standard_normal((k, (lmax + 1) * (lmax + 2))).view(np.complex128) * 0.5**0.5
    unit[:, : lmax + 1] = unit[:, : lmax + 1].real * 2**0.5
    return [
        np.asarray(sum((harmonics.almxfl(unit[j], root[i, j]) for j in range(k)), 0j))
        for i in range(k)
    ]
