"""Draw skies of T, E or B alone, fill them, and measure the spectra of each and of each pair."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from skyfill import harmonics
from skyfill.files.cache import Kept
from skyfill.healpix.stokes import nside_of
from skyfill.prior.drawing import alm_of_cl
from skyfill.progress import Progress
from skyfill.spectra.bandpowers import Bins
from skyfill.spectra.binning import Edges, averaged
from skyfill.spectra.debiasing import FAINT, SEED, mode_of, steadied
from skyfill.spectra.estimators import crossed
from skyfill.spectra.stokes import StokesExpectation, adjoint_pol, analysed, pairs_of
from skyfill.spectra.stokescut import GROUPS, blocks_of, drawn_alm, root_of

__all__ = ["StokesDraws"]

Map = NDArray[np.float64]
Matrix = NDArray[np.float64]
Alm = NDArray[np.complex128]
Mask = NDArray[np.bool_]


class StokesDraws:
    """Spectra of drawn skies of T, Q and U that a fill has filled."""

    def __init__(
        self,
        fill: Callable[[Map], Map],
        seen: Sequence[Mask],
        expected: StokesExpectation,
        edges: Edges,
        number: int,
        threads: int,
    ) -> None:
        self._fill, self._expected, self._edges = fill, expected, edges
        self._number, self._threads = number, threads
        self._nside = nside_of(seen[0], "observed")
        self._area = 4 * np.pi / seen[0].size
        cl, lmax = expected.signal_cl, expected.ell_max
        self._k = len(cl)
        self._letters = "TEB"[-self._k :]
        self._pairs = pairs_of(self._k)
        self.size = len(self._pairs) * (edges.size - 1)
        self._seen = np.array([seen[0], seen[1], seen[1]][-self._k :])
        # The rms of T, and that of Q or U, for each letter.
        self._rms = np.array([self._rms_of(x, np.arange(cl.shape[2])) for x in self._letters])
        self._rms = np.hypot(self._rms, np.sqrt(expected.white_cl / self._area))
        windows = [
            self._area
            * harmonics.adjoint(
                mask.astype(np.float64), lmax=lmax + cl.shape[2] - 1, threads=threads
            )
            for mask in seen
        ]
        matrices = harmonics.stokes_coupling(
            np.array(
                [
                    harmonics.cl_of(windows[0]),
                    crossed(windows[0], windows[1]),
                    harmonics.cl_of(windows[1]),
                ]
            ),
            lmax=lmax,
            sky_lmax=cl.shape[2] - 1,
            threads=threads,
        )
        self._coupling = np.array([averaged(each, edges) for each in matrices])

    def _rms_of(self, letter: str, ell: NDArray[np.int64]) -> float:
        """Give the rms of the theory's T, or of its Q, that multipoles leave on the map, µK."""
        cl = self._expected.signal_cl
        power = cl[0, 0, ell] if letter == "T" else 0.5 * (cl[-2, -2, ell] + cl[-1, -1, ell])
        return math.sqrt(float((2 * ell + 1) @ power) / (4 * np.pi))

    def _templates(self, ends: tuple[int, int]) -> Map:
        """Give the spectra of draws of T, E, B, ``(k, lmax + 1)``: a mean of 1 in the bin.

        They have the theory's shape; if that is zero somewhere, they are flat.
        """
        signal, part = self._expected.signal_cl, slice(*ends)
        out = np.zeros((self._k, signal.shape[2]))
        modes = 2 * np.arange(*ends) + 1
        for row, each in enumerate(out):
            each[part] = signal[row, row, part]
            if not np.all(each[part] > 0):
                each[part] = 1.0  # no shape is known
            each[part] *= modes.sum() / (modes @ each[part])
        return out

    def _mixed(self, cl: Map) -> Map:
        """Give √(XX YY) of spectra ``(k, lmax + 1)``, ``(nspectra, lmax + 1)``."""
        return np.array([np.sqrt(cl[i] * cl[j]) for i, j in self._pairs.values()])

    def _exact(self, ends: tuple[int, int]) -> bool:
        """Tell whether a bin has so few modes that each of them is filled."""
        return ends[1] ** 2 - ends[0] ** 2 <= self._number

    def _count(self, ends: tuple[int, int]) -> int:
        """Give the number of draws of a bin."""
        return int(min(ends[1] ** 2 - ends[0] ** 2, self._number))

    def fills(self, ranges: Sequence[tuple[int, int]]) -> int:
        """Count the fills, without those of the covariance."""
        of_bins = self._k * sum(map(self._count, ranges))
        return of_bins + 2 * self._number * (1 if self._k == 2 else 2)

    def response(self, ends: tuple[int, int], kept: Kept, listener: Progress) -> tuple[Map, Map]:
        """Give what a bin of each spectrum adds to the filled bins, ``(nspectra, size)``.

        With its standard error.
        """
        cl = self._templates(ends)
        mixed = self._mixed(cl)
        modes = np.where(mixed[0] > 0, 2 * np.arange(cl.shape[1]) + 1, 0)
        # Where the shapes of T and E differ, their cross-spectrum is less than 1 in the mean.
        shared = mixed @ modes / modes.sum()
        found = self._kept(ends, cl, kept, listener) / shared[:, None]
        known = self._pseudo(mixed / shared[:, None])
        if self._exact(ends):
            total = found[:, 0].sum(axis=0)
            return total, np.zeros_like(total)
        return steadied(found[:, 0], found[:, 1], known)

    def beyond(self, ends: tuple[int, int], kept: Kept, listener: Progress) -> tuple[Bins, Bins]:
        """Give what TT, EE and BB beyond the last ell add to the filled bins."""
        cl = np.zeros(self._expected.signal_cl.shape[::2])
        cl[:, slice(*ends)] = np.einsum("iil->il", self._expected.signal_cl)[:, slice(*ends)]
        if not cl.any():
            return np.zeros(self.size), np.zeros(self.size)
        autos = [at for at, (i, j) in enumerate(self._pairs.values()) if i == j]
        found = self._kept(ends, cl, kept, listener)[:, :, autos]
        known = self._pseudo(self._mixed(cl))[autos]
        # The fills of T, of E and of B are independent.
        mean, sigma = steadied(found[:, 0], found[:, 1], known)
        return mean.sum(axis=0), np.sqrt((sigma**2).sum(axis=0))

    def _kept(self, ends: tuple[int, int], cl: Map, kept: Kept, listener: Progress) -> Map:
        """Fill the draws of a range, or read them: ``(draws, 2, nspectra, size)``.

        The spectra that each pair of T, E and B adds to those of the filled, and of the masked sky.
        """
        number = self._count(ends)
        return np.asarray(
            kept.of(ends, cl).array(
                "debias-stokes-bin",
                lambda: np.array(
                    [self._drawn(ends, index, cl, listener) for index in range(number)]
                ),
                dtype=np.float64,
                shape=(number, 2, len(self._pairs), self.size),
            )
        )

    def _drawn(self, ends: tuple[int, int], index: int, cl: Map, listener: Progress) -> Map:
        """Fill one draw of T, of E and of B."""
        one = np.zeros(cl.shape[1])
        one[slice(*ends)] = 1.0
        exact = self._exact(ends)
        unit = mode_of(ends, index, one) if exact else _unit(one, (SEED, *ends, index))
        both = []
        for row, letter in enumerate(self._letters):
            alm = harmonics.almxfl(unit, np.sqrt(cl[row]))
            both.append(self._both({row: alm}, self._loud(letter, ends), row))
            listener.advance()
        return np.array(
            [
                [
                    self._joined(both[i][kind], both[j][kind], same=i == j)
                    for i, j in self._pairs.values()
                ]
                for kind in (0, 1)
            ]
        )

    def _joined(self, one: Alm, other: Alm, *, same: bool) -> Bins:
        """Give the spectra of one sky, or what two add to their own in those of their sum."""
        found = []
        for i, j in self._pairs.values():
            if same:
                cl = crossed(one[i], other[j])
            elif i == j:
                cl = 2 * crossed(one[i], other[i])
            else:
                cl = crossed(one[i], other[j]) + crossed(other[i], one[j])
            found.append(averaged(cl, self._edges))
        return np.concatenate(found)

    def _pseudo(self, cl: Map) -> Map:
        """Give the mean spectra behind the masks of each spectrum alone, ``(nspectra, size)``."""
        names, count = list(self._pairs), self._edges.size - 1
        out = np.zeros((len(names), len(names), count))
        if self._k == 3:
            out[0, 0] = self._coupling[0] @ cl[0]
        for group in GROUPS:
            if group[0] not in names:
                continue
            for row, name in zip(blocks_of(group, self._coupling), group, strict=True):
                for matrix, source in zip(row, group, strict=True):
                    at = names.index(source)
                    out[at, names.index(name)] = matrix @ cl[at]
        return out.reshape(len(names), self.size)

    def _loud(self, letter: str, ends: tuple[int, int]) -> float:
        """Give the rms, µK, with which draws of a bin are filled: the theory's, or not far below.

        As in `skyfill.spectra.debiasing`: fainter draws would be filled badly.
        """
        rms = self._rms[self._letters.index(letter)]
        return max(self._rms_of(letter, np.arange(*ends)), FAINT * float(rms))

    def _both(self, alms: Mapping[int, Alm], rms: float, row: int) -> tuple[Alm, Alm]:
        """Give T, E and B of the filled and of the masked sky of some alm.

        The sky is scaled for the fill, so that T or P, whichever the row is of, has this rms.
        """
        if not any(each.any() for each in alms.values()):
            lmax = self._expected.ell_max
            nothing = np.zeros((self._k, (lmax + 1) * (lmax + 2) // 2), np.complex128)
            return nothing, nothing
        return self._measured(self._synthesised(alms), rms, row)

    def _measured(self, sky: Map, rms: float, row: int) -> tuple[Alm, Alm]:
        """Give T, E and B of a sky, filled and masked."""
        own = sky[0] if self._letters[row] == "T" else sky[-2:]
        scale = rms / np.sqrt(np.mean(own**2))
        behind = np.where(self._seen, sky, 0.0)
        lmax = self._expected.ell_max
        filled = analysed(self._whole(behind * scale), self._nside, lmax, self._threads) / scale
        behind *= self._area
        masked = adjoint_pol(behind[-2:], self._nside, lmax, self._threads)
        if self._k == 3:
            t = harmonics.adjoint(behind[0], lmax=lmax, threads=self._threads)
            masked = np.concatenate([t[None], masked])
        return filled, masked

    def _synthesised(self, alms: Mapping[int, Alm]) -> Map:
        """Give the sky of the alm of some components."""
        sky = np.zeros((self._k, self._seen.shape[1]))
        rows = [alms.get(row) for row in range(self._k)]
        if self._k == 3 and rows[0] is not None:
            sky[0] = harmonics.synthesis(rows[0], self._nside, threads=self._threads)
        some = next((each for each in rows[-2:] if each is not None), None)
        if some is not None:
            e, b = (np.zeros_like(some) if each is None else each for each in rows[-2:])
            pol = np.array([e, b])
            for part, values in harmonics.parts_of(pol, self._nside, spin=2, threads=self._threads):
                sky[-2:, part] = values
        return sky

    def _whole(self, sky: Map) -> Map:
        """Fill a sky; refuse what is not a whole sky."""
        filled = np.asarray(self._fill(sky))
        if filled.shape != sky.shape or not np.isfinite(filled).all():
            raise ValueError(
                f"the fill must give whole skies of {sky.shape}, without missing pixels; it gave"
                f" {filled.shape} with {np.count_nonzero(~np.isfinite(filled))} missing"
            )
        return filled

    def shape(self, kept: Kept, listener: Progress) -> tuple[Bins, Bins]:
        """Give what the theory's TE adds beyond a multiple of √(TT EE) in each bin.

        T of the theory and E of the same random numbers, with a cross-spectrum that is the rest.
        """
        rest = np.zeros(self._expected.signal_cl.shape[2])
        if self._k == 3:
            signal, at = self._expected.signal_cl, list(self._pairs).index("TE")
            rest = signal[0, 1].copy()
            for first, end in pairwise(self._edges):
                part, modes = slice(first, end), 2 * np.arange(first, end) + 1
                mixed = self._mixed(self._templates((int(first), int(end))))[at, part]
                rest[part] -= mixed * (modes @ rest[part]) / (modes @ mixed)
            rest[: self._edges[0]] = 0.0
            rest[signal[0, 0] <= 0] = 0.0
        if not rest.any():
            return np.zeros(self.size), np.zeros(self.size)
        root = np.sqrt(np.where(rest == 0, 0.0, signal[0, 0]))
        other = np.divide(rest, root, out=np.zeros_like(rest), where=root > 0)

        def make() -> Map:
            rows = []
            for index in range(self._number):
                unit = _unit(np.where(rest == 0, 0.0, 1.0), (SEED, 0, index))
                t = self._both({0: harmonics.almxfl(unit, root)}, float(self._rms[0]), 0)
                e = harmonics.almxfl(unit, other)
                p = self._both({1: e}, FAINT * float(self._rms[1]), 1)
                rows.append([self._joined(t[kind], p[kind], same=False) for kind in (0, 1)])
                listener.advance(2)
            return np.array(rows)

        found = kept.array(
            "debias-stokes-shape", make, dtype=np.float64, shape=(self._number, 2, self.size)
        )
        cl = np.zeros((len(self._pairs), rest.size))
        cl[at] = rest
        return steadied(found[:, 0], found[:, 1], self._pseudo(cl)[at])

    def white(self, kept: Kept, listener: Progress) -> tuple[Bins, Bins]:
        """Give what the theory's white noise adds to the filled bins."""
        total, variance = np.zeros(self.size), np.zeros(self.size)
        names, count = list(self._pairs), self._edges.size - 1
        for planes in [[0], [1, 2]] if self._k == 3 else [[0, 1]]:
            level = float(self._expected.white_cl[planes[-1]])
            if level == 0:
                continue
            row = planes[0]
            rms = max(math.sqrt(level / self._area), FAINT * float(self._rms[row]))

            def make(planes: list[int] = planes, row: int = row, rms: float = rms) -> Map:
                rows = []
                for index in range(self._number):
                    random = np.random.default_rng((SEED, 1, row, index))
                    sky = np.zeros(self._seen.shape)
                    unit = random.standard_normal((len(planes), self._seen[0].size))
                    sky[planes] = unit / np.sqrt(self._area)
                    both = self._measured(sky, rms, row)
                    rows.append([self._joined(each, each, same=True) for each in both])
                    listener.advance()
                return np.array(rows)

            found = kept.of(planes).array(
                "debias-stokes-white", make, dtype=np.float64, shape=(self._number, 2, self.size)
            )
            # The same pseudo-spectrum at every multipole: the mean of the mask, in EE and in BB.
            known = np.zeros((len(names), count))
            for plane in planes:
                known[names.index(self._letters[plane] * 2)] = self._seen[plane].mean()
            mean, sigma = steadied(found[:, 0], found[:, 1], known.ravel())
            total += level * mean
            variance += (level * sigma) ** 2
        return total, np.sqrt(variance)

    def crossed(self, count: int, listener: Progress) -> Matrix:
        """Fill skies of the theory; give the bins of the cross-spectra of each pair of skies.

        As in `skyfill.spectra.debiasing`; here XY is the mean of X Y' and of Y X'.
        """
        expected, alms = self._expected, []
        root = root_of(expected.signal_cl)
        rms = np.sqrt(expected.white_cl / self._area)[:, None]
        for index in range(count):
            random = np.random.default_rng((SEED, 2, count, index))
            sky = self._synthesised(dict(enumerate(drawn_alm(root, random))))
            sky += rms * random.standard_normal(sky.shape)
            filled = self._whole(np.where(self._seen, sky, 0.0))
            lmax = expected.ell_max
            alms.append(analysed(filled, self._nside, lmax, self._threads))
            listener.advance()
        pairs = [
            self._joined(one, two, same=False) / 2
            for number, one in enumerate(alms)
            for two in alms[:number]
        ]
        return np.array(pairs)


def _unit(cl: NDArray[np.float64], seed: tuple[int, ...]) -> Alm:
    """Draw alm with exactly the power of a spectrum of 0 and 1."""
    alm = alm_of_cl(cl, np.random.default_rng(seed))
    power = harmonics.cl_of(alm)
    return np.asarray(harmonics.almxfl(alm, np.sqrt(cl / np.where(cl > 0, power, 1.0))))
