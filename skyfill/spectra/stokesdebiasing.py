"""Take out of the spectra of filled T, Q and U what the fill did to them.

As `skyfill.spectra.debiasing`, with all spectra at once: the mean fill of T, Q and U is linear in
the data, so the bins of TT, EE, BB, TE, EB and TB of the filled sky have the mean

    <P_Xb> = Σ_Yb' K_Xb,Yb' C_Yb' + L_Xb + N_Xb

(Gruetjen et al. 2015, arXiv:1510.03103, section 3, for several fields). K holds what goes from one
spectrum to another, such as EE to BB. It is measured by fills of skies that have power in T, E or B
alone, and in one bin: t, e and b, which share their random numbers. The spectra of the filled t are
the column of TT; those of the filled t + e, less those of t and of e, are the column of TE.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill import harmonics
from skyfill.brief import brief
from skyfill.files.cache import Kept, cache_folder
from skyfill.healpix.arrays import as_mask
from skyfill.healpix.checks import check_whole
from skyfill.healpix.stokes import nside_of
from skyfill.prior import PolarizedPrior
from skyfill.progress import Progress, listening
from skyfill.spectra.bandpowers import Bins
from skyfill.spectra.binning import Binning, Edges, averaged, bin_edges
from skyfill.spectra.debiasing import (
    DRAWS,
    FEWEST,
    SEED,
    SKIES,
    Debiased,
    deciding_of,
    invertible,
    refuse_another,
    undone,
)
from skyfill.spectra.stokes import FullStokes, StokesExpectation, skies_of
from skyfill.spectra.stokesdraws import StokesDraws

__all__ = [
    "StokesDebiased",
    "StokesResponse",
    "debias_stokes",
    "debiased_stokes",
    "refuse_another_stokes",
    "response_of_stokes",
]

Map = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class StokesResponse:
    """What a fill makes of the spectra of a sky of T, Q and U, from `response_of_stokes`.

    Rows and columns are the bins of TT, then those of EE, BB, TE, EB and TB; of Q and U alone those
    of EE, BB and EB. Their number is n.

    Attributes
    ----------
    edges
        ``(nbin + 1,)``: the first ell of each bin, then one past the last.
    matrix
        ``(n, n)``, K: the change of the filled sky's bins (rows) with the sky's.
    matrix_sigma
        ``(n, n)``: standard error of `matrix`, from the scatter of the draws.
    beyond
        ``(n,)``, µK²: what the theory adds with its power beyond the last ell, and with the
        shape of its TE within the bins.
    noise
        ``(n,)``, µK²: what the theory's white noise adds.
    covariance
        ``(n, n)``, µK⁴: of the bins of a filled sky, over skies of the theory.
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
    expected: StokesExpectation
    nside: int

    @property
    def names(self) -> tuple[str, ...]:
        """The spectra, in order."""
        return tuple(self.expected.pairs)

    @property
    def signal(self) -> Bins:
        """``(n,)``, µK²: the theory's signal in the bins."""
        inside = self.expected.signal_cl[:, :, : self.expected.ell_max + 1]
        return _listed(inside, self.expected, self.edges)

    @property
    def filled(self) -> Bins:
        """``(n,)``, µK²: mean of the bins of a filled sky of the theory."""
        return np.asarray(self.matrix @ self.signal + self.beyond + self.noise)


@dataclass(frozen=True, eq=False)
class StokesDebiased:
    """Debiased bins of a filled sky of T, Q and U.

    Attributes
    ----------
    names
        The spectra, in order.
    cl
        ``(nspectra, nbin)``, µK²: estimate of the binned C_ell of the sky, with beam, window and
        noise, as `BandPowers.cl` of a whole sky.
    covariance
        ``(n, n)``, µK⁴: of `cl`, one spectrum after another, over skies of the theory and over
        draws of the response.
    """

    __repr__ = brief

    names: tuple[str, ...]
    cl: Matrix
    covariance: Matrix

    @property
    def sigma(self) -> Matrix:
        """``(nspectra, nbin)``, µK²: standard deviation of `cl`."""
        return np.sqrt(np.diagonal(self.covariance)).reshape(self.cl.shape)

    def __getitem__(self, name: str) -> Debiased:
        """Give the bins of one spectrum, with their covariance."""
        at, count = self.names.index(name), self.cl.shape[1]
        own = slice(at * count, (at + 1) * count)
        return Debiased(self.cl[at], self.covariance[own, own])


def debias_stokes(values: ArrayLike, response: StokesResponse) -> StokesDebiased:
    """Measure the spectra of a filled sky of T, Q and U and undo the response of its fill.

    Parameters
    ----------
    values
        ``(3, npix)``, T, Q and U, or ``(2, npix)``, Q and U, as the response has it: µK, RING, U
        with the sign of HEALPix. The fill is the one of `response`.
    response
        From `response_of_stokes`.

    Returns
    -------
    The band powers and their covariance, in the bins of the response. Within a bin, the spectra are
    taken to be the theory's, but for a factor of TT, EE and BB, and a multiple of √(XX YY) in the
    others.

    Raises
    ------
    ValueError
        Pixels are missing, or the response is of another Nside or of other components.

    Examples
    --------
    >>> import skyfill
    >>> t = skyfill.Prior(8, skyfill.lcdm(), 0.3, 300.0, theory=skyfill.prior.LCDM)
    >>> prior = skyfill.prior.PolarizedPrior.of(t, 5.0)
    >>> observed = skyfill.simulate_mask(8, kind="band", seed=1, half_width=0.2)
    >>> fill = skyfill.inpaint.LinearStokesFill(observed, None, method="diffuse")
    >>> response = skyfill.spectra.response_of_stokes(
    ...     fill, observed, prior, bins=[2, 5, 13], draws=8, skies=8
    ... )
    >>> filled = fill(skyfill.simulate.simulate_stokes(prior, seed=1))
    >>> found = skyfill.spectra.debias_stokes(filled, response)
    >>> found["EE"].cl.shape, bool((found["BB"].sigma > 0).all())
    ((2,), True)

    """
    skies = skies_of(values)
    if len(skies) != len(response.expected.white_cl):
        raise ValueError(
            f"the response is of {len(response.expected.white_cl)} components, the sky has"
            f" {len(skies)}; measure the response of its own fill"
        )
    nside = nside_of(skies[0], "values")
    if nside != response.nside:
        raise ValueError(
            f"the response is of Nside {response.nside}, the sky has Nside {nside}; measure the"
            " response of its own fill"
        )
    return debiased_stokes(FullStokes(response.expected, response.edges).powers(skies), response)


def debiased_stokes(power: Matrix, response: StokesResponse) -> StokesDebiased:
    """Undo the response of a fill on the bins of a filled sky, from `FullStokes.powers`."""
    expected = response.expected
    beside = expected.total_cl - expected.signal_cl[:, :, : expected.ell_max + 1]
    cl, covariance = undone(np.ravel(power), response, _listed(beside, expected, response.edges))
    return StokesDebiased(response.names, cl.reshape(np.shape(power)), covariance)


def refuse_another_stokes(
    response: StokesResponse, edges: Edges, nside: int, expected: StokesExpectation
) -> None:
    """Refuse a response that is not of these bins, this Nside, these components and this theory.

    Raises
    ------
    ValueError
        One of them differs.
    """
    ours = response.expected
    if len(ours.white_cl) != len(expected.white_cl):
        raise ValueError(
            f"the response is of {len(ours.white_cl)} components, the sky has"
            f" {len(expected.white_cl)}; measure it with the same `stokes`"
        )
    refuse_another(
        (response.edges, edges),
        (response.nside, nside),
        ((ours.signal_cl, ours.white_cl), (expected.signal_cl, expected.white_cl)),
    )


def response_of_stokes(
    fill: Callable[[Map], Map],
    observed: ArrayLike,
    theory: PolarizedPrior,
    *,
    observed_pol: ArrayLike | None = None,
    stokes: str = "TQU",
    lmax: int | None = None,
    bins: int | Binning | Sequence[int] | NDArray[np.int64] | None = None,
    draws: int = DRAWS,
    skies: int = SKIES,
    cache: bool = False,
    threads: int = 0,
    progress: Progress | None = None,
) -> StokesResponse:
    """Measure the response of the spectra of a linear fill of T, Q and U, by fills of drawn skies.

    It fills ``draws`` skies of T, of E and of B alone for each bin and for what lies beyond the
    last ell, then as many of the noise of T and of P and for the shape of TE within bins, and
    ``skies`` skies of the theory. As in `response_of`, draws have exactly the same power in every
    multipole, and the same draws behind the masks without a fill, whose mean is known (Kogut et al.
    2003), take most of the chance away. A bin with no more modes than draws is filled mode by mode.

    Parameters
    ----------
    fill
        Fills the holes of a map, ``(3, npix)`` or ``(2, npix)`` in µK and RING, of which it reads
        the observed pixels only; gives the whole map. It must be linear, such as
        `skyfill.inpaint.LinearStokesFill`.
    observed, observed_pol
        ``(npix,)``, RING, True where observed: of T and of Q and U; ``observed_pol`` is
        ``observed`` if None.
    theory
        The prior of the sky. It gives the shape within bins, the noise, the power beyond lmax and
        the covariance.
    stokes
        What is filled together: ``TQU`` or ``QU``.
    lmax, bins
        As for `skyfill.spectra.compare_stokes`.
    draws, skies, cache, threads, progress
        As for `response_of`.

    Raises
    ------
    ValueError
        As for `skyfill.spectra.compare_stokes` and `response_of`.
    """
    if stokes not in ("TQU", "QU"):
        raise ValueError(f"`stokes` must be TQU or QU, got {stokes!r}")
    if not isinstance(theory, PolarizedPrior):
        raise ValueError(  # noqa: TRY004 (as all that does not fit)
            f"theory must be a PolarizedPrior, which has EE, BB and TE, got {type(theory).__name__}"
        )
    masks = [as_mask(observed, taker="spectra.response_of_stokes")]
    if observed_pol is not None:
        masks.append(as_mask(observed_pol, "observed_pol", taker="spectra.response_of_stokes"))
    nside = nside_of(masks[0], "observed")
    if masks[-1].size != masks[0].size or theory.temperature.nside != nside:
        raise ValueError("the masks of T and of P, and the theory, must have one Nside")
    seen = [masks[0], masks[-1]] if stokes == "TQU" else [masks[-1], masks[-1]]
    if not all(mask.any() for mask in seen):
        raise ValueError("no pixel is observed, so no spectrum follows from the fill")
    number = check_whole(draws, "draws", least=FEWEST)
    count = check_whole(skies, "skies", least=2)
    lmax = harmonics.quadrature_lmax(nside) if lmax is None else check_whole(lmax, "lmax")
    if not 2 <= lmax < 3 * nside:
        raise ValueError(f"`lmax` must be from 2 to 3 Nside - 1 = {3 * nside - 1}, got {lmax}")
    expected = StokesExpectation.of(theory, lmax, len(stokes), threads=threads)
    edges = bin_edges(bins, lmax)
    deciding = deciding_of(fill, cache=cache)
    drawn = StokesDraws(fill, seen, expected, edges, number, threads)
    cl = expected.signal_cl
    kept = Kept(cache_folder() if cache else None)
    key = *seen, cl, expected.white_cl, lmax, edges, number, SEED
    keyed = kept.of(*deciding, stokes, *key)
    listener = listening(progress)
    ranges = [(int(first), int(end)) for first, end in pairwise([*edges, cl.shape[2]])]
    listener.stage("response", total=drawn.fills(ranges) + count)
    columns = [drawn.response(each, keyed, listener) for each in ranges[:-1]]
    rest = [drawn.beyond(ranges[-1], keyed, listener), drawn.shape(keyed, listener)]
    white, white_sigma = drawn.white(keyed, listener)
    cross = keyed.of(count).array(
        "debias-stokes-skies",
        lambda: drawn.crossed(count, listener),
        dtype=np.float64,
        shape=(count * (count - 1) // 2, drawn.size),
    )
    # (spectrum of the sky, rows) of each bin, to (rows, spectrum of the sky and bin)
    matrix, sigma = (
        np.stack(each, axis=-1).transpose(1, 0, 2).reshape(drawn.size, drawn.size)
        for each in zip(*columns, strict=True)
    )
    tail = rest[0][0] + rest[1][0]
    error = np.sqrt(rest[0][1] ** 2 + rest[1][1] ** 2 + white_sigma**2)
    covariance = 2 * cross.T @ cross / len(cross) + np.diag(error**2)
    found = StokesResponse(edges, matrix, sigma, tail, white, covariance, expected, nside)
    if not _sure(found):
        shares = " and ".join(f"{mask.mean():.2%}" for mask in seen[-len(stokes) + 1 :])
        raise ValueError(
            f"the holes leave {shares} of the sky, too little for bins this narrow; widen the bins"
            " (`bins`), or fill more draws"
        )
    listener.done(f"{edges.size - 1} bins of {len(found.names)} spectra, {number} draws of each")
    return found


def _listed(cl: Map, expected: StokesExpectation, edges: Edges) -> Bins:
    """Bin each spectrum of a matrix ``(k, k, lmax + 1)``, one after another."""
    return np.concatenate([averaged(cl[pair], edges) for pair in expected.pairs.values()])


def _sure(response: StokesResponse) -> bool:
    """Tell whether a matrix can be inverted in spite of its errors.

    They count in units of the theory's filled sky, whose BB contains what leaks from EE.
    """
    pairs, count = response.expected.pairs, response.edges.size - 1
    filled = dict(zip(pairs, response.filled.reshape(-1, count), strict=True))
    signal = dict(zip(pairs, response.signal.reshape(-1, count), strict=True))
    auto = {
        name[0]: np.maximum(np.abs(filled[name]), signal[name])
        for name, (i, j) in pairs.items()
        if i == j
    }
    unit = np.concatenate([np.sqrt(auto[name[0]] * auto[name[1]]) for name in pairs])
    if not np.all(unit > 0):
        return False
    both = response.matrix, response.matrix_sigma
    return invertible(*(each * unit / unit[:, None] for each in both))
