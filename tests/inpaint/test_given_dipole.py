"""`dipole='prior'`: monopole and dipole are what C_0 and C_1 say, and nothing else."""

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.polynomial.legendre import legval
from scipy.linalg import solve

import skyfill
from skyfill.healpix import pixel_directions
from skyfill.prior import Prior, UnlikelyPriorError, draw, lcdm
from skyfill.prior.dipole import Dipole

NSIDE = 8
NPIX = 12 * NSIDE**2
#: C_0 and C_1 of a field with a mean of its own, µK².
OWN = lcdm().copy()
OWN[:2] = 3e4, 9e3
PRIORS = {
    "none": Prior(NSIDE, lcdm(), fwhm=0.3, noise_uk_arcmin=2000.0),
    "own": Prior(NSIDE, OWN, fwhm=0.3, noise_uk_arcmin=2000.0),
}


@pytest.fixture(scope="module")
def observed():
    return skyfill.simulate_mask(NSIDE, seed=2, half_width=0.3, n_holes=3, radii=(0.1, 0.2))


def dense(prior, observed):
    """Give the gain and the posterior covariance of the holes, without shortcuts."""
    where = np.transpose(pixel_directions(NSIDE, np.arange(NPIX)))
    where = where if where.shape[1] == 3 else where.T
    cl = prior.signal_cl()
    modes = (2 * np.arange(cl.size) + 1) / (4 * np.pi)
    covariance = legval(np.clip(where @ where.T, -1, 1), modes * cl)
    covariance += np.eye(NPIX) * prior.white_cl * NPIX / (4 * np.pi)
    seen, holes = np.flatnonzero(observed), np.flatnonzero(~observed)
    cross = covariance[np.ix_(seen, holes)]
    gain = solve(covariance[np.ix_(seen, seen)], cross, assume_a="pos").T
    return gain, covariance[np.ix_(holes, holes)] - gain @ cross


def fill(values, observed, prior, method="gaussian", **more):
    words = {"dipole": "prior", "tolerance": 1e-4} | more
    return skyfill.Inpainter(values, observed, method=method, prior=prior, **words)


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("method", ["gaussian", "vae", "diffuse"])
def test_the_mean_is_the_dense_one(observed, name, method):
    prior = PRIORS[name]
    values = draw(prior, seed=4, aliased=True)
    gain, _ = dense(prior, observed)
    more = {"polish": 40} if method == "diffuse" else {}
    if method == "vae":
        more = {"config": skyfill.mosaic.MosaicConfig(tolerance=1e-4)}
    found = fill(values, observed, prior, method, **more).mean()
    within = 4e-3 if method == "diffuse" else 1e-3  # polish ends at 2e-3
    np.testing.assert_allclose(found, gain @ values[observed], atol=within * values.std())


@pytest.mark.parametrize("name", PRIORS)
def test_realizations_scatter_as_the_dense_posterior(observed, name):
    prior = PRIORS[name]
    values = draw(prior, seed=4, aliased=True)
    gain, posterior = dense(prior, observed)
    made = fill(values, observed, prior)
    drawn = np.array([made.realization(index) for index in range(100)])
    white = np.linalg.solve(np.linalg.cholesky(posterior), (drawn - gain @ values[observed]).T)
    assert abs(np.mean(white**2) - 1) < 4 * math.sqrt(2 / white.size)
    # the mean over the holes is where monopole and dipole matter
    ones = np.ones(posterior.shape[0]) / posterior.shape[0]
    spread = np.std((drawn - gain @ values[observed]) @ ones)
    assert spread == pytest.approx(math.sqrt(ones @ posterior @ ones), rel=0.25)


@pytest.mark.slow
def test_it_has_less_error_than_the_others_on_such_skies(observed):
    """20 skies without monopole and dipole: `marginalise` costs a little, `fit` much."""
    prior = PRIORS["none"]
    error = {}
    truths = [draw(prior, seed=seed, aliased=True) for seed in range(20)]
    for dipole in ("prior", "marginalise", "fit"):
        made = fill(truths[0], observed, prior, dipole=dipole, tolerance=1e-3)
        away = [made.with_map(values).mean() - values[~observed] for values in truths]
        error[dipole] = float(np.mean(np.square(away)))
    assert error["prior"] < error["marginalise"] < error["fit"]


def test_a_sky_that_contradicts_it_is_refused(observed):
    prior = PRIORS["none"]
    sky = draw(prior, seed=4, aliased=True)
    for offset, own in ((400.0, "monopole of 4"), (400 * np.linspace(-1, 1, NPIX), "dipole of")):
        with pytest.raises(UnlikelyPriorError, match=own) as error:
            fill(sky + offset, observed, prior)
        assert "pass `dipole='marginalise'`" in str(error.value)
        with pytest.warns(UserWarning, match=own):
            fill(sky + offset, observed, prior, trust_prior=True)
    fill(sky + 60.0, observed, PRIORS["own"])  # one sigma of its C_0
    same = fill(sky, observed, prior)
    with pytest.raises(UnlikelyPriorError):
        same.with_map(sky + 400.0)


def test_skies_of_the_prior_are_not_refused(observed):
    low = Dipole(observed, threads=1)
    for prior in PRIORS.values():
        for seed in range(40):
            assert low.contradiction(draw(prior, seed=seed, aliased=True), prior) is None


def test_a_noise_map_counts_in_the_check(observed):
    """A monopole of 100 µK is nothing where the noise of a pixel is 3000 µK."""
    prior = replace(PRIORS["none"], noise_uk_arcmin=0.0)
    noise = np.full(NPIX, 3000.0)
    random = np.random.default_rng(1)
    sky = draw(prior, seed=4) + noise * random.standard_normal(NPIX)
    fill(sky + 100.0, observed, prior, noise_rms=noise)


@pytest.mark.parametrize("method", ["diffuse", "cosmovae"])
def test_methods_without_a_prior_refuse_it(observed, method):
    with pytest.raises(ValueError, match=f"{method} has no prior to give monopole and dipole"):
        skyfill.inpaint.FillOptions(method=method, dipole="prior")
