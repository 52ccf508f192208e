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
def dense_share(observed):
    """Power of the posterior's covariance in the holes, over that of the prior."""
    directions = np.transpose(hp.pix2vec(NSIDE, np.arange(observed.size)))
    cl = PRIOR.signal_cl()
    cl[:2] += 1e6
    terms = (2 * np.arange(cl.size) + 1) / (4 * np.pi) * cl
    covariance = legval(np.clip(directions @ directions.T, -1, 1), terms)
    covariance += np.eye(observed.size) * PRIOR.white_cl * observed.size / (4 * np.pi)
    cross = covariance[np.ix_(~observed, observed)]
    inside = covariance[np.ix_(~observed, ~observed)]
    inside -= cross @ np.linalg.solve(covariance[np.ix_(observed, observed)], cross.T)
    value, vector = np.linalg.eigh(inside)
    power = np.zeros(2 * NSIDE + 1)
    for size, mode in zip(value, vector.T, strict=True):
        if size < 1e-3 * value[-1]:
            continue
        sky = np.zeros(observed.size)
        sky[~observed] = math.sqrt(size) * mode
        power += harmonics.cl_of(harmonics.analysis(sky, lmax=2 * NSIDE, iterations=3, threads=1))
    modes = 2 * np.arange(2 * NSIDE + 1) + 1
    total = PRIOR.total_cl(2 * NSIDE)
    return np.array(
        [
            np.average(power[a:b], weights=modes[a:b]) / np.average(total[a:b], weights=modes[a:b])
            for a, b in pairwise(EDGES)
        ]
    )


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
