"""How much of a filled sky's spectrum the prior decides, and the error that follows."""

import math
from itertools import pairwise

import healpy as hp
import numpy as np
import pytest
from numpy.polynomial.legendre import legval

import skyfill
from skyfill import harmonics
from skyfill.fidelity import Differences, prior_share
from skyfill.prior import Prior, draw, lcdm
from skyfill.spectra import compare

NSIDE = 8
PRIOR = Prior(NSIDE, lcdm(), fwhm=math.radians(18), noise_uk_arcmin=3000.0)
EDGES = [2, 4, 7, 11, 17]


@pytest.fixture(scope="module")
def observed():
    theta, _ = hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2))
    return np.abs(theta - np.pi / 2) > 0.4


@pytest.fixture(scope="module")
def fitter(observed):
    sky = draw(PRIOR, seed=4, aliased=True, threads=1)
    return skyfill.Inpainter(sky, observed, method="gaussian", prior=PRIOR, threads=1)


@pytest.fixture(scope="module")
def patch():
    """A part of the sky, 60%, of which the holes in the band are filled."""
    _, phi = hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2))
    return phi < 1.2 * np.pi


def posterior_power(seen, holes, power_of):
    """Add up the powers of the modes of the posterior's covariance in the holes (dense)."""
    directions = np.transpose(hp.pix2vec(NSIDE, np.arange(seen.size)))
    cl = PRIOR.signal_cl()
    cl[:2] += 1e6
    terms = (2 * np.arange(cl.size) + 1) / (4 * np.pi) * cl
    covariance = legval(np.clip(directions @ directions.T, -1, 1), terms)
    covariance += np.eye(seen.size) * PRIOR.white_cl * seen.size / (4 * np.pi)
    cross = covariance[np.ix_(holes, seen)]
    inside = covariance[np.ix_(holes, holes)]
    inside -= cross @ np.linalg.solve(covariance[np.ix_(seen, seen)], cross.T)
    value, vector = np.linalg.eigh(inside)
    power = np.zeros(2 * NSIDE + 1)
    for size, mode in zip(value, vector.T, strict=True):
        if size < 1e-3 * value[-1]:
            continue
        sky = np.zeros(seen.size)
        sky[holes] = math.sqrt(size) * mode
        power += power_of(sky)
    return power


def binned(cl):
    modes = 2 * np.arange(cl.size) + 1
    return np.array([np.average(cl[a:b], weights=modes[a:b]) for a, b in pairwise(EDGES)])


@pytest.fixture(scope="module")
def dense_share(observed):
    """Power of the posterior's covariance in the holes, over that of the prior."""

    def power_of(sky):
        return harmonics.cl_of(harmonics.analysis(sky, lmax=2 * NSIDE, iterations=3, threads=1))

    power = posterior_power(observed, ~observed, power_of)
    return binned(power) / binned(PRIOR.total_cl(2 * NSIDE))


def pseudo(sky, patch):
    """Pseudo-spectrum of a patch by healpy, monopole and dipole fitted and subtracted."""
    cleaned = hp.remove_dipole(np.where(patch, sky, hp.UNSEEN))
    return hp.anafast(np.where(patch, cleaned, 0.0), lmax=2 * NSIDE, iter=0)


@pytest.fixture(scope="module")
def dense_share_of_patch(observed, patch):
    """The same in pseudo-spectra of the patch, over that of 400 skies of the prior."""
    power = posterior_power(observed & patch, ~observed & patch, lambda sky: pseudo(sky, patch))
    skies = (draw(PRIOR, seed=8, index=k, aliased=True, threads=1) for k in range(400))
    return binned(power) / binned(np.mean([pseudo(sky, patch) for sky in skies], axis=0))


def test_the_share_is_that_of_the_posterior_covariance(observed, dense_share):
    found = prior_share(PRIOR, observed, bins=EDGES, realizations=60, method="gaussian", threads=1)
    modes = np.diff(np.square(EDGES)) * found
    assert np.all(np.abs(found / dense_share - 1) < 4 * np.sqrt(2 / (30 * modes)) + 0.05)


def test_realizations_of_one_map_tell_it(fitter, observed, dense_share):
    skies = np.array([fitter.whole(fitter.realization(index)) for index in range(30)])
    found = compare(skies, PRIOR, bins=EDGES, observed=observed).full
    expected = dense_share
    modes = np.diff(np.square(EDGES)) * expected
    assert np.all(np.abs(found.prior_share / expected - 1) < 4 * np.sqrt(2 / (29 * modes)) + 0.05)
    np.testing.assert_allclose(found.error, found.sigma / (1 - found.prior_share))
    np.testing.assert_allclose(found.dl_error, found.error * found.dl_per_cl)
    assert {"prior_share", "error", "dl_error"} <= found.columns().keys()


def test_other_skies_tell_nothing_of_it(fitter, observed):
    one = fitter.whole(fitter.realization(0))
    skies = np.array([one, draw(PRIOR, seed=9, threads=1)])
    for values, seen in ((skies, observed), (one, observed), (skies, None)):
        found = compare(values, PRIOR, bins=EDGES, observed=seen).full
        assert found.prior_share is None
        assert "error" not in found.columns()
        np.testing.assert_array_equal(found.error, found.sigma)
    found = compare(one, PRIOR, bins=EDGES, observed=observed)
    assert "not known here" in found.table().meta["filled"]


def test_a_given_share_is_used(fitter, tmp_path):
    one = fitter.whole(fitter.realization(0))
    share = np.array([0.0, 0.1, 0.5, 1.0])
    found = compare(one, PRIOR, bins=EDGES, prior_share=share)
    np.testing.assert_allclose(found.full.error[:3], found.full.sigma[:3] / [1, 0.9, 0.5])
    assert np.isinf(found.full.error[3])
    assert found.as_dict()["bins"]["error"][3] is None
    assert "prior_share" in found.table().meta
    found.plot(tmp_path / "figure.png")
    for bad in (np.ones(3), np.full(4, 1.1), np.full(4, np.nan)):
        with pytest.raises(ValueError, match="from 0 to 1 for each of 4 bins"):
            compare(one, PRIOR, bins=EDGES, prior_share=bad)


@pytest.mark.filterwarnings("ignore:the prior may not")  # it is wrong on purpose
def test_a_truth_with_more_power_shows_by_one_minus_the_share(observed):
    """The mean over skies of a linear fill, to their errors."""
    share = prior_share(PRIOR, observed, bins=EDGES, realizations=30, method="gaussian", threads=1)
    powers = []
    words = {"method": "gaussian", "prior": PRIOR, "threads": 1, "trust_prior": True}
    first = draw(PRIOR, seed=3, aliased=True, threads=1)
    filler = skyfill.Inpainter(first, observed, **words)
    for index in range(20):
        sky = draw(PRIOR, seed=3, index=index, aliased=True, threads=1)
        pair = []
        for factor in (1.0, 1.5):
            one = filler.with_map(factor**0.5 * sky, seed=index)
            pair.append(compare(one.whole(one.realization()), PRIOR, bins=EDGES).cl)
        powers.append(np.diff(pair, axis=0)[0] / 0.5)
    theory = compare(sky, PRIOR, bins=EDGES).theory
    error = np.std(powers, axis=0, ddof=1) / math.sqrt(20) / theory
    assert np.all(np.abs(np.mean(powers, axis=0) / theory - (1 - share)) < 4 * error)


def test_fewer_than_two_realizations_are_refused(observed):
    with pytest.raises(ValueError, match="realizations must be"):
        prior_share(PRIOR, observed, realizations=1, method="gaussian")


def test_differences_of_realizations_tell_the_share_and_what_is_unknown(
    observed, fitter, dense_share
):
    apart = Differences(observed, PRIOR, bins=EDGES)
    skies = [fitter.whole(fitter.realization(index)) for index in range(30)]
    apart.add(skies[0])
    assert apart.share is None
    assert apart.first is None
    for sky in skies[1:]:
        apart.add(sky)
    np.testing.assert_array_equal(apart.first, skies[1] - skies[0])
    assert not apart.first[observed].any()
    modes = np.diff(np.square(EDGES))
    error = dense_share * np.sqrt(2 / (29 * modes)) / np.sqrt(dense_share)
    assert np.all(np.abs(apart.share - dense_share) < 4 * error + 0.05 * dense_share)
    few = Differences(observed, PRIOR, bins=EDGES, most=2)
    for sky in skies[:5]:
        few.add(sky)
    alone = Differences(observed, PRIOR, bins=EDGES)
    for sky in skies[:3]:
        alone.add(sky)
    np.testing.assert_array_equal(few.share, alone.share)


def test_without_a_prior_or_a_whole_sky_there_is_a_difference_and_no_share(observed):
    skies = [np.where(observed, 1.0, value) for value in (2.0, 5.0)]
    plain, part = Differences(observed, None), Differences(observed, PRIOR)
    for sky in skies:
        plain.add(sky)
        part.add(np.where(np.arange(sky.size) > 9, sky, np.nan))
    seen = observed.copy()
    np.testing.assert_array_equal(plain.first, np.where(seen, 0.0, 3.0))
    assert plain.share is None
    with pytest.raises(ValueError, match="Nside of the mask"):
        plain.add(np.ones(12))


def test_of_a_patch_it_is_that_of_its_pseudo_spectrum(observed, patch, dense_share_of_patch):
    sky = draw(PRIOR, seed=4, aliased=True, threads=1)
    words = {"method": "gaussian", "prior": PRIOR, "threads": 1, "footprint": patch}
    fitter = skyfill.Inpainter(np.where(patch, sky, np.nan), observed & patch, **words)
    apart = Differences(fitter.observed, PRIOR, bins=EDGES, patch=patch, threads=1)
    unknown = Differences(fitter.observed, PRIOR, bins=EDGES)
    for index in range(40):
        whole = fitter.whole(fitter.realization(index))
        assert not np.isfinite(whole[~patch]).any()
        apart.add(whole)
        unknown.add(whole)
    assert unknown.share is None
    np.testing.assert_array_equal(apart.edges, EDGES)
    modes = np.diff(np.square(EDGES)) * patch.mean() * dense_share_of_patch
    error = 4 * np.sqrt(2 / (39 * modes)) + 0.05
    assert np.all(np.abs(apart.share / dense_share_of_patch - 1) < error)


def test_a_mean_lacks_the_share(observed, fitter, dense_share):
    """The power of mean fills over 40 skies of the prior, to its error."""
    found = []
    for index in range(40):
        one = fitter.with_map(draw(PRIOR, seed=6, index=index, aliased=True, threads=1), seed=1)
        found.append(compare(one.whole(one.mean()), PRIOR, bins=EDGES).cl)
    theory = binned(PRIOR.total_cl(2 * NSIDE))
    error = np.std(found, axis=0, ddof=1) / math.sqrt(40) / theory
    lacking = 1 - np.mean(found, axis=0) / theory
    assert np.all(np.abs(lacking - dense_share) < 4 * error)
    assert np.any(dense_share > 4 * error)  # it could have been found to lack nothing
