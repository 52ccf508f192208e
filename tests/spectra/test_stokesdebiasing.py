"""The response of a linear fill of T, Q and U, and the six spectra without it."""

import itertools
import math
from dataclasses import replace

import healpy as hp
import numpy as np
import pytest
from skyfill.simulate import simulate_stokes

from skyfill import harmonics
from skyfill.inpaint import LinearStokesFill
from skyfill.prior import LCDM, PolarizedPrior, Prior, lcdm
from skyfill.spectra import compare_stokes, debias_stokes, response_of_stokes, whole_spectra
from skyfill.spectra.binning import averaged
from skyfill.spectra.stokesdebiasing import debiased_stokes

#: Resolution of the dense calculation of the exact mean, with its bins.
SMALL, FEW = 8, [2, 3, 5]
#: Options of the exact fill that are those of the dense calculation.
EXACT = {"dipole": "prior", "tolerance": 1e-4, "threads": 1}


def prior_of(nside):
    t = Prior(nside, lcdm(), math.radians(220 / nside), 1000.0, theory=LCDM)
    return PolarizedPrior.of(t, 5.0)


def masks_of(nside):
    """Bands of unlike shape, of T and of P."""
    theta, phi = hp.pix2ang(nside, np.arange(12 * nside**2))
    away = np.abs(theta - math.pi / 2)
    return away > 0.25, np.abs(theta - math.pi / 2 + 0.1 * np.sin(phi)) > 0.35


def mode_skies(nside, lmax, letter, first=2):
    """Skies of each real mode of T, E or B with variance 1, by healpy: ell and ``(3, npix)``."""
    for ell in range(first, lmax + 1):
        for m, part in itertools.product(range(ell + 1), (1.0, 1j)):
            if m == 0 and part != 1:
                continue
            alm = np.zeros((3, hp.Alm.getsize(lmax)), complex)
            size = part if m == 0 else part * math.sqrt(0.5)
            alm["TEB".index(letter), hp.Alm.getidx(lmax, ell, m)] = size
            yield ell, hp.alm2map(alm, nside, lmax=lmax)


def mean_of(prior, seen):
    """Give the exact mean as a matrix: the covariance of all pixels with the observed ones."""
    nside = prior.temperature.nside
    cl = prior.signal_cl()
    lmax = cl.shape[2] - 1
    own, modes = {}, {}
    for letter in "TEB":
        found = list(mode_skies(nside, lmax, letter, 0 if letter == "T" else 2))
        modes[letter] = np.array([ell for ell, _ in found])
        own[letter] = np.array([sky.ravel() for _, sky in found]).T
    tail = modes["T"] >= 2
    t_low, t = own["T"][:, ~tail], own["T"][:, tail]
    ell = modes["E"]
    signal = t_low * cl[0, 0, modes["T"][~tail]] @ t_low.T
    fields = (t, own["E"], own["B"])
    for i, j in itertools.product(range(3), repeat=2):
        signal += fields[i] * cl[i, j, ell] @ fields[j].T
    npix = 12 * nside**2
    noise = np.repeat(np.array(prior.white_cl)[[0, 1, 1]] * npix / (4 * np.pi), npix)
    seen = np.ravel(seen)
    of_data = signal[np.ix_(seen, seen)] + np.diag(noise[seen])
    out = np.diag(seen.astype(float))
    out[np.ix_(~seen, seen)] = np.linalg.solve(of_data, signal[np.ix_(seen, ~seen)]).T
    return out


@pytest.fixture(scope="module")
def dense():
    """The exact mean of T, Q and U of small skies: prior, masks, matrix, and as a fill."""
    prior, masks = prior_of(SMALL), masks_of(SMALL)
    matrix = mean_of(prior, [masks[0], masks[1], masks[1]])
    return prior, masks, matrix, lambda sky: (matrix @ np.ravel(sky)).reshape(np.shape(sky))


def spectra_of(skies, lmax):
    return np.array(list(whole_spectra(skies, lmax=lmax).values()))


def column_of(fill, letters, cl, bins):
    """Sum the spectra of all filled modes of two letters, less those of each letter alone."""
    lmax = bins[-1] - 1
    total = 0
    nside = SMALL
    fields = [mode_skies(nside, lmax, letter) for letter in letters]
    for (ell, one), (_, other) in zip(*fields, strict=True):
        one, other = (fill(each) * math.sqrt(cl[ell]) for each in (one, other))
        if letters[0] == letters[1]:
            total = total + spectra_of(one, lmax)
        else:
            apart = spectra_of(one + other, lmax) - spectra_of(one - other, lmax)
            total = total + apart / 2
    return np.ravel([averaged(each, np.array(bins)) for each in total])


@pytest.fixture(scope="module")
def response(dense):
    prior, masks, _, fill = dense
    return response_of_stokes(
        *(fill, masks[0], prior),
        observed_pol=masks[1],
        bins=FEW,
        lmax=FEW[-1] - 1,
        draws=16,
        skies=12,
        threads=1,
    )


def test_the_fill_is_that_of_the_dense_covariance(dense):
    prior, masks, matrix, _ = dense
    fill = LinearStokesFill(masks[0], prior, observed_pol=masks[1], **EXACT)
    sky = simulate_stokes(prior, seed=2)
    ours = fill(sky)
    theirs = (matrix @ sky.ravel()).reshape(sky.shape)
    for one, other, plane in zip(ours, theirs, sky, strict=True):
        assert np.abs(one - other).max() < 1e-3 * plane.std()


@pytest.mark.parametrize("name", ["TT", "EE", "BB", "TE", "EB", "TB"])
def test_the_response_is_that_of_the_dense_map_mode_by_mode(dense, response, name):
    """Each mode of the bins is filled, so no chance is left."""
    fill = dense[3]
    at = response.names.index(name)
    for number, (first, end) in enumerate(itertools.pairwise(FEW)):
        cl = np.zeros(FEW[-1])
        rows = [{"T": 0, "E": 1, "B": 2}[letter] for letter in name]
        ell = np.arange(first, end)
        shape = [response.expected.signal_cl[row, row, ell] for row in rows]
        shape = np.sqrt(np.prod([s / np.average(s, weights=2 * ell + 1) for s in shape], axis=0))
        cl[first:end] = shape / np.average(shape, weights=2 * ell + 1)
        known = column_of(fill, name, cl, FEW)
        own = response.matrix[:, at * (len(FEW) - 1) + number]
        np.testing.assert_allclose(own, known, atol=1e-9)
    assert (response.matrix_sigma == 0).all()


def test_draws_agree_with_all_modes_within_their_errors(dense, response):
    """The second bin has 16 modes, of which 8 draws are an average."""
    prior, masks, _, fill = dense
    words = {"bins": FEW, "lmax": FEW[-1] - 1, "draws": 8, "skies": 3, "threads": 1}
    some = response_of_stokes(fill, masks[0], prior, observed_pol=masks[1], **words)
    drawn = some.matrix_sigma > 1e-12
    assert drawn.reshape(6, 2, 6, 2)[0, :, 0].tolist() == [[False, True], [False, True]]
    off = (some.matrix - response.matrix)[drawn] / some.matrix_sigma[drawn]
    assert np.sqrt(np.mean(off**2)) < 1.6
    np.testing.assert_allclose(some.matrix[~drawn], response.matrix[~drawn], atol=1e-9)


def test_debiased_spectra_are_those_of_any_truth(dense, response):
    """The mean of the filled spectra follows from the dense map; the truth is not the prior."""
    fill, count = dense[3], len(FEW) - 1
    factors = dict(zip(response.names, (2.0, 1.5, 3.0, 0.5, 0.2, 0.1), strict=True))
    expected = response.expected
    power, truth = response.beyond + response.noise, []
    for name, (i, j) in expected.pairs.items():
        for number, (first, end) in enumerate(itertools.pairwise(FEW)):
            cl = np.zeros(FEW[-1])
            mixed = np.sqrt(expected.signal_cl[i, i] * expected.signal_cl[j, j])
            cl[first:end] = factors[name] * mixed[first:end]
            truth.append(averaged(cl, np.array(FEW))[number])
            power = power + column_of(fill, name, cl, FEW)
    found = debiased_stokes(power.reshape(6, count), response)
    beside = expected.total_cl - expected.signal_cl[:, :, : FEW[-1]]
    more = [averaged(beside[pair], np.array(FEW)) for pair in expected.pairs.values()]
    np.testing.assert_allclose(found.cl.ravel(), np.ravel(truth) + np.ravel(more), rtol=1e-8)
    assert found["BB"].cl.shape == (count,)
    np.testing.assert_array_equal(found["TE"].sigma, found.sigma[3])


def test_holes_of_zeros_have_the_coupling_of_master():
    """Also of EE to BB, of the noise, and of TE whose shape in a bin is not that of √(TT EE)."""
    nside, bins = 16, np.array([2, 6, 25])
    prior, masks = prior_of(nside), masks_of(nside)
    behind = np.array([masks[0], masks[1], masks[1]])
    found = response_of_stokes(
        *(lambda sky: np.where(behind, sky, 0.0), masks[0], prior),
        observed_pol=masks[1],
        bins=bins,
        draws=12,
        skies=3,
        threads=1,
    )
    cl = found.expected.signal_cl
    top = cl.shape[2] - 1
    windows = [4 * np.pi / m.size * harmonics.adjoint(m * 1.0, lmax=24 + top) for m in masks]
    spectra = [hp.alm2cl(*pair) for pair in itertools.combinations_with_replacement(windows, 2)]
    none, mixed, plus, minus = harmonics.stokes_coupling(np.array(spectra), lmax=24, sky_lmax=top)
    blocks = found.matrix.reshape(6, 2, 6, 2)
    at = found.names.index
    for row, column, matrix in (
        ("TT", "TT", none),
        ("TE", "TE", mixed),
        ("TB", "TB", mixed),
        ("EE", "EE", plus),
        ("BB", "EE", minus),
        ("EE", "BB", minus),
        ("EB", "EB", plus - minus),
    ):
        i, j = found.expected.pairs[column]
        for number, (first, end) in enumerate(itertools.pairwise(bins)):
            ell = np.arange(first, end)
            shape = np.sqrt(cl[i, i] * cl[j, j])[ell]
            shape /= np.average(shape, weights=2 * ell + 1)
            known = averaged(matrix[:, ell] @ shape, bins)
            own = blocks[at(row), :, at(column), number]
            # pixel weights, and monopole and dipole, which are removed: not quite a sum over pixels
            np.testing.assert_allclose(own, known, atol=0.02, err_msg=f"{row} of {column}")
    assert blocks[at("BB"), 0, at("EE"), 1] > 0.01
    apart = {tuple(sorted(pair)) for pair in itertools.product("TEB", repeat=2)}
    assert len(apart) == 6
    assert np.abs(blocks[at("TT"), :, at("EE")]).max() == 0
    whole = mixed[:, bins[0] :] @ cl[0, 1, bins[0] :]
    ours = found.filled.reshape(6, 2)[at("TE")]
    np.testing.assert_allclose(ours, averaged(whole, bins), rtol=0.02)
    noise = found.noise.reshape(6, 2)
    np.testing.assert_allclose(
        noise[:3], np.outer(found.expected.white_cl * behind.mean(axis=1), [1, 1]), rtol=0.03
    )


class Zeros:
    """Fills holes with zeros, counts its fills, and says what decides them."""

    def __init__(self, *masks):
        self.seen, self.calls = np.array(masks), 0
        self.deciding = ("zeros", self.seen)

    def __call__(self, sky):
        self.calls += 1
        return np.where(self.seen, sky, 0.0)


def test_q_and_u_alone_have_three_spectra():
    prior, (_, mask) = prior_of(SMALL), masks_of(SMALL)
    fill = Zeros(mask, mask)
    words = {"stokes": "QU", "bins": [2, 5, 13], "draws": 6, "skies": 4, "threads": 1}
    found = response_of_stokes(fill, mask, prior, **words)
    assert found.names == ("EE", "BB", "EB")
    assert found.matrix.shape == (6, 6)
    sky = fill(simulate_stokes(prior, seed=1)[1:])
    compared = compare_stokes(sky, prior, bins=[2, 5, 13], lmax=12, response=found)
    np.testing.assert_allclose(compared.columns()["BB_debiased_cl"], compared.debiased["BB"].cl)
    np.testing.assert_allclose(compared.debiased.cl, debias_stokes(sky, found).cl)


def test_the_response_is_kept_with_all_that_decides_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SKYFILL_CACHE", str(tmp_path))
    prior, masks = prior_of(SMALL), masks_of(SMALL)

    def measured(pol, theory=prior):
        fill = Zeros(masks[0], pol, pol)
        words = {"bins": [2, 5, 13], "draws": 8, "skies": 3, "cache": True, "threads": 1}
        found = response_of_stokes(fill, masks[0], theory, observed_pol=pol, **words)
        return found, fill.calls

    first, fills = measured(masks[1])
    again, none = measured(masks[1])
    assert (fills, none) == (3 * 3 * 8 + 2 * 8 + 2 * 8 + 3, 0)
    np.testing.assert_array_equal(first.matrix, again.matrix)
    np.testing.assert_array_equal(first.covariance, again.covariance)
    other, more = measured(masks[0])
    assert more == fills
    assert not np.array_equal(other.matrix, first.matrix)
    wide = replace(prior, temperature=replace(prior.temperature, fwhm=0.55))
    assert measured(masks[1], wide)[1] == fills


def test_what_has_no_response_is_refused_by_name(response):
    prior, masks = prior_of(SMALL), masks_of(SMALL)

    def same(sky):
        return sky

    for words, said in (
        ({"stokes": "T"}, "must be TQU or QU"),
        ({"theory": prior.temperature}, "must be a PolarizedPrior"),
        ({"theory": prior_of(16)}, "must have one Nside"),
        ({"observed": np.zeros(768, bool)}, "no pixel is observed"),
        ({"draws": 3}, "draws must be"),
        ({"cache": True}, "no attribute named deciding"),
        ({"fill": lambda sky: np.where(masks[0], sky, np.nan)}, "must give whole skies"),
    ):
        given = {"fill": same, "observed": masks[0], "theory": prior, "threads": 1} | words
        with pytest.raises(ValueError, match=said):
            response_of_stokes(**given)
    few = np.arange(768) < 3
    with pytest.raises(ValueError, match="too little for bins this narrow"):
        response_of_stokes(
            lambda sky: np.where(few, sky, 0.0), few, prior, draws=4, skies=2, threads=1
        )


def test_a_response_of_another_sky_or_theory_is_refused_by_name(response):
    prior = prior_of(SMALL)
    sky = simulate_stokes(prior, seed=1)
    words = {"bins": FEW, "lmax": FEW[-1] - 1, "response": response}
    assert compare_stokes(sky, prior, **words).debiased is not None
    with pytest.raises(ValueError, match="is of Nside 8, the sky has Nside 16"):
        debias_stokes(simulate_stokes(prior_of(16), seed=1), response)
    with pytest.raises(ValueError, match="is of 3 components, the sky has 2"):
        debias_stokes(sky[1:], response)
    t = prior.temperature
    for other, said in (
        (replace(prior, temperature=replace(t, fwhm=0.6)), "signal .spectrum or beam."),
        (replace(prior, ee=1.1 * prior.ee), "signal .spectrum or beam."),
        (replace(prior, noise_pol_uk_arcmin=6.0), "another noise"),
    ):
        with pytest.raises(ValueError, match=said):
            compare_stokes(sky, other, **words)
    with pytest.raises(ValueError, match="is of 3 components"):
        compare_stokes(sky[1:], prior, **words)
    with pytest.raises(ValueError, match="of other bins"):
        compare_stokes(sky, prior, bins=[2, 4, 5], lmax=4, response=response)
    with pytest.raises(ValueError, match="Nside 8, the sky has Nside 16"):
        compare_stokes(simulate_stokes(prior_of(16), seed=1), prior_of(16), **words)
    with pytest.raises(ValueError, match="one filled sky, got 2"):
        compare_stokes([sky, sky], prior, **words)
