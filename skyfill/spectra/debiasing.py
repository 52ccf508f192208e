"""Take out of a filled sky's spectrum what its fill did to it.

A fill that is linear in the data gives a filled map W d, whose binned spectrum has the mean

    <P_b> = Σ_b' K_bb' C_b' + L_b + N_b

with the band powers C of the sky, power L from beyond the last multipole, and noise N (Gruetjen et
al. 2015, arXiv:1510.03103, section 3). K is measured: skies with power in one bin only are filled,
and the spectra of the filled skies are averaged. Then C = K⁻¹ (P - L - N) has no bias, whatever the
fill does in the holes, and whether or not its prior is right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill import harmonics
from skyfill.brief import brief
from skyfill.files.cache import Kept, cache_folder
from skyfill.healpix.arrays import as_map, as_mask
from skyfill.healpix.checks import check_whole
from skyfill.healpix.stokes import nside_of
from skyfill.prior import Prior
from skyfill.prior.drawing import alm_of_cl
from skyfill.progress import Progress, listening
from skyfill.spectra.bandpowers import Bins
from skyfill.spectra.binning import Binning, Edges, averaged, bin_edges, summed
from skyfill.spectra.estimators import SINGULAR, FullSky
from skyfill.spectra.expectation import Expectation, expectation

__all__ = [
    "DRAWS",
    "FAINT",
    "FEWEST",
    "SEED",
    "SKIES",
    "Debiased",
    "Response",
    "debias",
    "deciding_of",
    "invertible",
    "mode_of",
    "refuse_another",
    "response_of",
    "steadied",
    "undone",
]

Map = NDArray[np.float64]
Matrix = NDArray[np.float64]

DRAWS = 12
"""Number of draws that are filled for each bin."""
SKIES = 24
"""Number of skies of the theory that are filled for the covariance."""
#: Seed of the draws: the response of a fill is the same each time.
SEED = 0xDEB1A5
#: Largest error of the response, in units of its least singular value, with which it is inverted.
_CHANCE = 0.5
#: Least rms of a draw, in units of the theory's.
FAINT = 0.1
#: Relative difference below which two theories are the same: rounding of a fit.
_SAME = 1e-9
#: Fewest draws: the factor of the masked draw is fitted to all others, and its scatter is measured.
FEWEST = 4


@dataclass(frozen=True, eq=False)
class Response:
    """What a fill makes of the spectrum of a sky, from `response_of`.

    Attributes
    ----------
    edges
        ``(nbin + 1,)``: the first ell of each bin, then one past the last.
    matrix
        ``(nbin, nbin)``, K: the change of the filled sky's bins (rows) with the sky's.
    matrix_sigma
        ``(nbin, nbin)``: standard error of `matrix`, from the scatter of the draws.
    beyond
        ``(nbin,)``, µK²: what the theory's power beyond the last ell adds.
    noise
        ``(nbin,)``, µK²: what the theory's white noise adds.
    covariance
        ``(nbin, nbin)``, µK⁴: of the bins of a filled sky, over skies of the theory.
    expected
        The theory.
    nside
        Resolution of the filled sky.
    """

    __repr__ = brief

    edges: Edges
    matrix: Matrix
    matrix_sigma: Matrix
    beyond: Bins
    noise: Bins
    covariance: Matrix
    expected: Expectation
    nside: int

    @property
    def signal(self) -> Bins:
        """``(nbin,)``, µK²: the theory's signal in the bins."""
        return averaged(self.expected.signal_cl[: self.expected.ell_max + 1], self.edges)

    @property
    def filled(self) -> Bins:
        """``(nbin,)``, µK²: mean of the bins of a filled sky of the theory."""
        return np.asarray(self.matrix @ self.signal + self.beyond + self.noise)

    @property
    def optimum(self) -> Matrix:
        """``(nbin, nbin)``, µK⁴: the least covariance, if the fill is the exact posterior mean.

        The exact mean is C d' with d' the data behind the inverse covariance of the observed
        pixels (Tegmark 1997, arXiv:astro-ph/9611174), zero in the holes. So the response of its
        spectrum is 2 C² / ν times the Fisher matrix of the band powers, and this is the inverse of
        that matrix. It means nothing for other fills.
        """
        ell = np.arange(self.expected.ell_max + 1)
        total = averaged(self.expected.total_cl, self.edges)
        fisher = (summed(2 * ell + 1, self.edges) / (2 * total**2))[:, None] * self.matrix
        return np.asarray(np.linalg.inv((fisher + fisher.T) / 2))


@dataclass(frozen=True, eq=False)
class Debiased:
    """Debiased bins of a filled sky.

    Attributes
    ----------
    cl
        ``(nbin,)``, µK²: estimate of the binned C_ell of the sky, with beam, window and noise, as
        `BandPowers.cl` of a whole sky.
    covariance
        ``(nbin, nbin)``, µK⁴: of `cl` over skies of the theory and over draws of the response.
    """

    __repr__ = brief

    cl: Bins
    covariance: Matrix

    @property
    def sigma(self) -> Bins:
        """``(nbin,)``, µK²: standard deviation of `cl`."""
        return np.sqrt(np.diagonal(self.covariance))


def debias(values: ArrayLike, response: Response) -> Debiased:
    """Measure the spectrum of a filled sky and undo the response of its fill.

    Parameters
    ----------
    values
        ``(npix,)``, µK, RING: the filled sky, whose fill is the one of `response`.
    response
        From `response_of`.

    Returns
    -------
    The band powers and their covariance, in the bins of the response. Within a bin the spectrum is
    taken to have the theory's shape.

    Raises
    ------
    ValueError
        Pixels are missing, or the response is of another Nside.

    Examples
    --------
    >>> import skyfill
    >>> prior = skyfill.Prior(16, skyfill.lcdm(), fwhm=0.1, noise_uk_arcmin=300.0)
    >>> observed = skyfill.simulate_mask(16, kind="band", seed=1, half_width=0.2)
    >>> fill = skyfill.inpaint.LinearFill(observed, prior, method="gaussian")
    >>> response = skyfill.spectra.response_of(
    ...     fill, observed, prior, bins=[2, 9, 17, 33], draws=8, skies=8
    ... )
    >>> filled = fill(skyfill.prior.draw(prior, seed=1, aliased=True))
    >>> found = skyfill.spectra.debias(filled, response)
    >>> found.cl.shape, bool((found.sigma > 0).all())
    ((3,), True)

    """
    sky = as_map(values, taker="spectra.debias")
    missing = int(sky.size - np.count_nonzero(np.isfinite(sky)))
    if missing:
        raise ValueError(f"debias needs a whole sky, {missing} pixels are missing; fill them first")
    nside = nside_of(sky, "values")
    if nside != response.nside:
        raise ValueError(
            f"the response is of Nside {response.nside}, the sky has Nside {nside}; measure the"
            " response of its own fill"
        )
    power = FullSky(response.expected, response.edges).powers(sky)
    return debiased(power, response)


def debiased(power: Bins, response: Response) -> Debiased:
    """Undo the response of a fill on the bins of a filled sky, from `FullSky.powers`."""
    expected = response.expected
    beside = expected.total_cl - expected.signal_cl[: expected.ell_max + 1]
    return Debiased(*undone(power, response, averaged(beside, response.edges)))


class Measured(Protocol):
    """What undoing takes of a response, see `Response`."""

    @property
    def matrix(self) -> Matrix:
        """K."""

    @property
    def matrix_sigma(self) -> Matrix:
        """Its standard error."""

    @property
    def beyond(self) -> Bins:
        """What comes from beyond the last ell, µK²."""

    @property
    def noise(self) -> Bins:
        """What comes from the noise, µK²."""

    @property
    def covariance(self) -> Matrix:
        """Of the bins of a filled sky, µK⁴."""

    @property
    def signal(self) -> Bins:
        """The theory's signal in the bins, µK²."""


def undone(power: Bins, response: Measured, beside: Bins) -> tuple[Bins, Matrix]:
    """Undo a response; give the bins and their covariance.

    ``beside`` is what a whole sky shows beside the signal, its noise and aliases, in the bins.
    """
    undo = np.linalg.inv(response.matrix)
    cl = undo @ (power - response.beyond - response.noise) + beside
    drawn = response.matrix_sigma**2 @ response.signal**2
    covariance = undo @ (response.covariance + np.diag(drawn)) @ undo.T
    return np.asarray(cl), np.asarray(covariance)


def deciding_of(fill: Callable[[Map], Map], *, cache: bool) -> tuple[Any, ...]:
    """Give what decides a fill, by which its response is kept; refuse a fill that does not say."""
    deciding = getattr(fill, "deciding", None)
    if cache and deciding is None:
        raise ValueError(
            "the fill has no attribute named deciding, so its response cannot be kept; switch the"
            " cache off"
        )
    return tuple(deciding or ())


def invertible(matrix: Matrix, sigma: Matrix) -> bool:
    """Tell whether a matrix, in units of the theory, can be inverted in spite of its errors."""
    if not np.linalg.cond(matrix) < SINGULAR:
        return False
    return bool(np.linalg.norm(np.linalg.inv(matrix), 2) * np.linalg.norm(sigma, 2) < _CHANCE)


def refuse_another(
    edges: tuple[Edges, Edges], nside: tuple[int, int], theory: tuple[Sequence[Map], Sequence[Map]]
) -> None:
    """Refuse a response that is not of these bins, this Nside and this theory.

    Parameters
    ----------
    edges, nside, theory
        Of the response, and of the sky: the bins, the resolution, and the spectra on the map with
        the white noise.

    Raises
    ------
    ValueError
        One of them differs.
    """
    if nside[0] != nside[1]:
        raise ValueError(
            f"the response is of Nside {nside[0]}, the sky has Nside {nside[1]}; measure it for"
            " this Nside"
        )
    if not np.array_equal(*edges):
        raise ValueError("the response is of other bins; measure it with the same lmax and bins")
    for ours, theirs, what in zip(*theory, ("signal (spectrum or beam)", "noise"), strict=True):
        if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=_SAME, atol=0.0):
            raise ValueError(
                f"the response is of a theory with another {what}; measure it for the theory of"
                " the sky"
            )


def response_of(
    fill: Callable[[Map], Map],
    observed: ArrayLike,
    theory: Prior | ArrayLike,
    *,
    lmax: int | None = None,
    bins: int | Binning | Sequence[int] | NDArray[np.int64] | None = None,
    draws: int = DRAWS,
    skies: int = SKIES,
    cache: bool = False,
    threads: int = 0,
    progress: Progress | None = None,
) -> Response:
    """Measure the response of a linear fill's spectrum, by fills of drawn skies.

    It fills ``draws`` skies for each bin, for the noise and for what lies beyond the last ell, and
    then ``skies`` skies of the theory. Within its bin a draw has the theory's shape and exactly the
    same power, which leaves only the chance of the directions. The same draw behind the mask
    without a fill, whose mean is known exactly (Hivon et al. 2002, eq. A31), takes most of that
    away, too. A bin with no more modes than draws is filled mode by mode, which leaves no chance.

    Parameters
    ----------
    fill
        Fills the holes of a map, ``(npix,)`` in µK and RING, of which it reads the observed pixels
        only; gives the whole map. It must be linear, such as `skyfill.inpaint.LinearFill`.
    observed
        ``(npix,)``, RING, True where observed; all other pixels are filled.
    theory, lmax, bins
        As for `skyfill.spectra.compare`. The theory gives the shape within bins, the noise, the
        power beyond lmax and the covariance.
    draws
        Number of draws of a bin, 4 or more.
    skies
        Number of skies for the covariance, 2 or more. All n (n - 1) / 2 cross-spectra count, so the
        relative error of a variance is 2 / n.
    cache
        Whether to keep the spectra of the draws on disk (`skyfill.files.cache.cache_folder`), so
        that other maps of this mask and fill need no fills; for fills that say what decides them,
        as `skyfill.inpaint.LinearFill` does.
    threads
        Threads of the transforms; 0 for all cores.
    progress
        Receives a step a fill.

    Raises
    ------
    ValueError
        As for `skyfill.spectra.compare`; nothing is observed; the fill leaves pixels missing; the
        holes leave too little for these bins; or ``cache`` is set, and the fill does not say what
        decides it (``deciding``).
    """
    observed = as_mask(observed, taker="spectra.response_of")
    if not observed.any():
        raise ValueError("no pixel is observed, so no spectrum follows from the fill")
    number = check_whole(draws, "draws", least=FEWEST)
    count = check_whole(skies, "skies", least=2)
    nside = nside_of(observed, "observed")
    lmax = 2 * nside if lmax is None else check_whole(lmax, "lmax")
    if not 2 <= lmax < 3 * nside:
        raise ValueError(f"lmax must be from 2 to 3 Nside - 1 = {3 * nside - 1}, got {lmax}")
    expected = expectation(theory, nside, lmax, threads=threads)
    edges = bin_edges(bins, lmax)
    deciding = deciding_of(fill, cache=cache)
    drawn = _Drawn(fill, observed, expected, edges, number, threads)
    cl = expected.signal_cl
    kept = Kept(cache_folder() if cache else None)
    keyed = kept.of(*deciding, observed, cl, expected.white_cl, lmax, edges, number, SEED)
    listener = listening(progress)
    ranges = [(int(first), int(end)) for first, end in pairwise([*edges, cl.size])]
    listener.stage("response", total=sum(map(drawn.fills, ranges)) + number + count)
    columns = [drawn.response(each, keyed, listener) for each in ranges]
    white, white_sigma = drawn.white(keyed, listener)
    cross = keyed.of(count).array(
        "debias-skies",
        lambda: drawn.crossed(count, listener),
        dtype=np.float64,
        shape=(count * (count - 1) // 2, edges.size - 1),
    )
    matrix, sigma = (np.stack(each, axis=1) for each in zip(*columns[:-1], strict=True))
    total = averaged(expected.total_cl, edges)
    if not invertible(*(each * total / total[:, None] for each in (matrix, sigma))):
        raise ValueError(
            f"the holes leave {observed.mean():.2%} of the sky, too little for bins this narrow;"
            " widen the bins (`bins`), or fill more draws"
        )
    tail, tail_sigma = columns[-1]
    noise = expected.white_cl
    covariance = 2 * cross.T @ cross / len(cross)
    covariance += np.diag(tail_sigma**2 + (white_sigma * noise) ** 2)
    listener.done(f"{edges.size - 1} bins, {number} draws of each")
    return Response(edges, matrix, sigma, tail, white * noise, covariance, expected, nside)


class _Drawn:
    """Spectra of drawn skies that a fill has filled."""

    def __init__(
        self,
        fill: Callable[[Map], Map],
        observed: NDArray[np.bool_],
        expected: Expectation,
        edges: Edges,
        number: int,
        threads: int,
    ) -> None:
        self._fill, self._observed, self._expected = fill, observed, expected
        self._edges, self._number, self._threads = edges, number, threads
        self._nside = nside_of(observed, "observed")
        self._area = 4 * np.pi / observed.size
        self._whole = FullSky(expected, edges)
        cl, lmax = expected.signal_cl, expected.ell_max
        ell = np.arange(cl.size)
        variance = float((2 * ell + 1) @ cl) / (4 * np.pi) + expected.white_cl / self._area
        self._rms = math.sqrt(variance)
        window = self._area * harmonics.adjoint(
            observed.astype(np.float64), lmax=lmax + cl.size - 1, threads=threads
        )
        coupling = harmonics.coupling_matrix(
            harmonics.cl_of(window), lmax=lmax, sky_lmax=cl.size - 1, threads=threads
        )
        self._coupling = averaged(coupling, edges)

    def _shape(self, ends: tuple[int, int]) -> NDArray[np.float64]:
        """Give the spectrum of draws: the theory's shape, a mean of 1 in the bin, 0 elsewhere.

        Beyond the last ell of the bins it is the theory itself.
        """
        first, end = ends
        cl = np.zeros(self._expected.signal_cl.size)
        part = slice(first, end)
        cl[part] = self._expected.signal_cl[part]
        if first >= self._edges[-1]:
            return cl
        if not np.all(cl[part] > 0):
            cl[part] = 1.0  # a beam that leaves nothing has no shape
        modes = 2 * np.arange(first, end) + 1
        cl[part] *= modes.sum() / (modes @ cl[part])
        return cl

    def _exact(self, ends: tuple[int, int]) -> bool:
        """Tell whether a bin has so few modes that each of them is filled."""
        return ends[1] ** 2 - ends[0] ** 2 <= self._number

    def fills(self, ends: tuple[int, int]) -> int:
        """Count the fills of a bin."""
        return int(min(ends[1] ** 2 - ends[0] ** 2, self._number))

    def response(self, ends: tuple[int, int], kept: Kept, listener: Progress) -> tuple[Bins, Bins]:
        """Give the mean bins of filled draws of one bin, and their standard errors."""
        cl = self._shape(ends)
        if not cl.any():
            return np.zeros(self._edges.size - 1), np.zeros(self._edges.size - 1)
        number = self.fills(ends)
        found = kept.of(ends).array(
            "debias-bin",
            lambda: self._filled(ends, cl, listener),
            dtype=np.float64,
            shape=(number, 2, self._edges.size - 1),
        )
        if self._exact(ends):
            return np.asarray(found[:, 0].sum(axis=0)), np.zeros(self._edges.size - 1)
        return steadied(found[:, 0], found[:, 1], self._coupling @ cl)

    def _filled(
        self, ends: tuple[int, int], cl: NDArray[np.float64], listener: Progress
    ) -> NDArray[np.float64]:
        """Fill the draws of a bin: bins of the filled and of the masked sky, a row a draw."""
        rows = []
        for index in range(self.fills(ends)):
            if self._exact(ends):
                alm = mode_of(ends, index, cl)
            else:
                random = np.random.default_rng((SEED, *ends, index))
                alm = alm_of_cl(np.where(cl > 0, 1.0, 0.0), random)
                power = harmonics.cl_of(alm)
                alm = harmonics.almxfl(alm, np.sqrt(cl / np.where(cl > 0, power, 1.0)))
            sky = harmonics.synthesis(alm, self._nside, threads=self._threads)
            rows.append(self._both(sky, self._loud(ends)))
            listener.advance()
        return np.array(rows)

    def _loud(self, ends: tuple[int, int]) -> float:
        """Give the rms, µK, with which draws of a bin are filled: the theory's, or not far below.

        Fills stop at a distance in units of the theory's whole rms: fainter draws would be filled
        badly, and louder ones contradict the prior, so that the exact mean converges slowly.
        """
        ell = np.arange(*ends)
        variance = float((2 * ell + 1) @ self._expected.signal_cl[ell]) / (4 * np.pi)
        return max(math.sqrt(variance), FAINT * self._rms)

    def _both(self, sky: Map, rms: float) -> NDArray[np.float64]:
        """Measure a sky filled, scaled to an rms for that, and masked: ``(2, nbin)``."""
        scale = rms / np.sqrt(np.mean(sky**2))
        filled = self._whole_of(np.where(self._observed, sky, 0.0) * scale)
        masked = self._area * harmonics.adjoint(
            np.where(self._observed, sky, 0.0),
            lmax=self._expected.ell_max,
            threads=self._threads,
        )
        plain = averaged(harmonics.cl_of(masked), self._edges)
        return np.array([self._whole.powers(filled) / scale**2, plain])

    def _whole_of(self, sky: Map) -> Map:
        """Fill a sky; refuse what is not a whole sky."""
        filled = np.asarray(self._fill(sky))
        if filled.shape != sky.shape or not np.isfinite(filled).all():
            raise ValueError(
                f"the fill must give whole skies of {sky.shape}, without missing pixels; it gave"
                f" {filled.shape} with {np.count_nonzero(~np.isfinite(filled))} missing"
            )
        return filled

    def white(self, kept: Kept, listener: Progress) -> tuple[Bins, Bins]:
        """Give the mean bins of filled white noise of C_ell = 1, and their standard errors."""
        bins = self._edges.size - 1
        if self._expected.white_cl == 0:
            return np.zeros(bins), np.zeros(bins)

        def make() -> NDArray[np.float64]:
            rows = []
            rms = max(math.sqrt(self._expected.white_cl / self._area), FAINT * self._rms)
            for index in range(self._number):
                random = np.random.default_rng((SEED, index))
                unit = random.standard_normal(self._observed.size) / np.sqrt(self._area)
                rows.append(self._both(unit, rms))
                listener.advance()
            return np.array(rows)

        found = kept.array("debias-white", make, dtype=np.float64, shape=(self._number, 2, bins))
        # White noise has the same pseudo-spectrum at every multipole: the mean of the mask.
        return steadied(found[:, 0], found[:, 1], np.full(bins, self._observed.mean()))

    def crossed(self, count: int, listener: Progress) -> NDArray[np.float64]:
        """Fill skies of the theory; give the bins of the cross-spectrum of each pair.

        For two independent skies of one covariance, the mean product of two bins of their
        cross-spectrum is half of the covariance of these bins in the spectrum of one sky.
        """
        expected, alms = self._expected, []
        for index in range(count):
            random = np.random.default_rng((SEED, count, index))
            alm = alm_of_cl(expected.signal_cl, random)
            sky = harmonics.synthesis(alm, self._nside, threads=self._threads)
            rms = np.sqrt(expected.white_cl / self._area)
            sky += rms * random.standard_normal(sky.size)
            alms.append(self._whole.alm(self._whole_of(np.where(self._observed, sky, 0.0))))
            listener.advance()
        pairs = [
            averaged(harmonics.cl_of(one + two) - harmonics.cl_of(one - two), self._edges) / 4
            for number, one in enumerate(alms)
            for two in alms[:number]
        ]
        return np.array(pairs)


def mode_of(ends: tuple[int, int], index: int, cl: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Give the alm of one real mode of a bin, with its variance as power."""
    place = ends[0] ** 2 + index
    ell = int(np.sqrt(place))
    turn, lmax = place - ell**2, cl.size - 1
    alm = np.zeros((lmax + 1) * (lmax + 2) // 2, dtype=np.complex128)
    m = (turn + 1) // 2
    root = np.sqrt(cl[ell])
    part = root if m == 0 else root * np.sqrt(0.5) * (1 if turn % 2 else 1j)
    alm[m * (2 * lmax + 1 - m) // 2 + ell] = part
    return alm


def steadied(measured: Matrix, beside: Matrix, known: Bins) -> tuple[Bins, Bins]:
    """Average measurements, ``(n, nbin)``, with the help of others whose mean is known.

    The factor of the others is fitted, for each measurement to all but itself, so that it adds no
    bias.
    """
    n = len(measured)
    away, off = beside - beside.mean(axis=0), measured - measured.mean(axis=0)
    # Sums over all draws but one, of products of distances from the mean of these draws.
    both = (away * off).sum(axis=0) - away * off * n / (n - 1)
    square = (away**2).sum(axis=0) - away**2 * n / (n - 1)
    factor = np.divide(both, square, out=np.zeros_like(both), where=square > 0)
    steady = measured - factor * (beside - known)
    return np.asarray(steady.mean(axis=0)), np.asarray(steady.std(axis=0, ddof=1) / np.sqrt(n))
