"""The posterior mean of a whole sphere against a dense solve."""

import math

import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial.legendre import legval
from scipy.linalg import solve

from skyfill.gaussian import posterior_mean
from skyfill.prior import Prior, draw, lcdm

NSIDE = 16
NPIX = 12 * NSIDE**2
KNOWN = Prior(NSIDE, lcdm(), fwhm=math.radians(8), noise_uk_arcmin=2000.0)


@pytest.fixture(scope="module")
def covariance():
    """Covariance of signal and noise between any two pixels, µK²."""
    directions = np.transpose(hp.pix2vec(NSIDE, np.arange(NPIX)))
    cosine = np.clip(directions @ directions.T, -1, 1)
    cl = KNOWN.signal_cl()
    signal = legval(cosine, (2 * np.arange(cl.size) + 1) / (4 * np.pi) * cl)
    return signal + np.eye(NPIX) * KNOWN.noise_cl * NPIX / (4 * np.pi)


def solve_holes(values, observed, **options):
    given = {"signal_cl": KNOWN.signal_cl(), "noise_cl": KNOWN.noise_cl, "threads": 1}
    return posterior_mean(values, observed, **given | options)


@st.composite
def masks(draw_one):
    """Draw masks from a few pixels to nearly the whole sky: bands, discs, speckles."""
    rng = np.random.default_rng(draw_one(st.integers(0, 2**32)))
    kind = draw_one(st.sampled_from(["band", "discs", "speckle", "patch"]))
    theta, _ = hp.pix2ang(NSIDE, np.arange(NPIX))
    if kind == "band":
        return np.abs(theta - np.pi / 2) > rng.uniform(0.05, 0.9)
    if kind == "speckle":
        return rng.random(NPIX) < rng.uniform(0.02, 0.98)
    observed = np.ones(NPIX, dtype=bool)
    for centre in rng.integers(0, NPIX, 1 if kind == "patch" else 9):
        radius = rng.uniform(1, 2.5) if kind == "patch" else rng.uniform(0.05, 0.4)
        observed[hp.query_disc(NSIDE, hp.pix2vec(NSIDE, centre), radius)] = False
    return observed


@settings(max_examples=8, deadline=None)
@given(observed=masks(), seed=st.integers(0, 1000))
def test_mean_is_that_of_a_dense_solve(covariance, observed, seed):
    values = draw(KNOWN, seed=seed, threads=1)
    holes = ~observed
    weights = solve(covariance[np.ix_(observed, observed)], values[observed], assume_a="pos")
    expected = covariance[np.ix_(holes, observed)] @ weights
    values[holes] = np.nan
    found = solve_holes(values, observed, tolerance=1e-6)
    rms = math.sqrt(covariance[0, 0])
    assert found.residual <= 1e-6
    assert np.abs(found.values[holes] - expected).max(initial=0) < 1e-3 * rms
    np.testing.assert_array_equal(found.values[observed], values[observed])


def test_the_noise_floor_changes_little(covariance):
    """Without noise the solver adds a hundredth of the signal's rms: no more than that is seen."""
    theta, _ = hp.pix2ang(NSIDE, np.arange(NPIX))
    observed = np.abs(theta - np.pi / 2) > 0.1
    quiet = Prior(NSIDE, lcdm(), fwhm=KNOWN.fwhm)
    values = draw(quiet, seed=1, threads=1)
    floor = solve_holes(values, observed, noise_cl=0.0, tolerance=1e-4)
    more = solve_holes(values, observed, noise_cl=KNOWN.noise_cl, tolerance=1e-4)
    error = [np.std((x.values - values)[~observed]) for x in (floor, more)]
    assert error[0] < error[1]
    assert error[0] < 0.2 * math.sqrt(covariance[0, 0])


def test_whitened_is_the_signals_alm():
    """S times it is the mean everywhere: near the data where the noise is small."""
    from skyfill import harmonics

    theta, _ = hp.pix2ang(NSIDE, np.arange(NPIX))
    observed = np.abs(theta - np.pi / 2) > 0.3
    values = draw(KNOWN, seed=2, threads=1)
    found = solve_holes(values, observed, tolerance=1e-5)
    sky = harmonics.synthesis(harmonics.almxfl(found.whitened, KNOWN.signal_cl()), NSIDE)
    np.testing.assert_allclose(sky[~observed], found.values[~observed], rtol=1e-10)
    noise = math.sqrt(KNOWN.noise_cl * NPIX / (4 * np.pi))
    assert np.std((sky - values)[observed]) < 1.1 * noise


def test_residual_says_how_far_it_came(covariance):
    theta, _ = hp.pix2ang(NSIDE, np.arange(NPIX))
    observed = np.abs(theta - np.pi / 2) > 0.6
    values = draw(KNOWN, seed=3, threads=1)
    exact = solve_holes(values, observed, tolerance=1e-8)
    last_error, last_steps = np.inf, 0
    for tolerance in (0.3, 1e-2, 1e-4):
        found = solve_holes(values, observed, tolerance=tolerance)
        error = np.std(found.values - exact.values)
        assert 0 < found.residual <= tolerance
        assert found.iterations > last_steps
        assert error < last_error
        last_error, last_steps = error, found.iterations
    stopped = solve_holes(values, observed, tolerance=1e-8, max_iterations=3)
    assert stopped.iterations == 3
    assert stopped.residual > 1e-8


def test_progress_is_told_of_every_step():
    class Steps:
        taken = 0

        def stage(self, name, total=None):
            raise AssertionError

        def advance(self, n=1):
            self.taken += n

        def done(self, note=""):
            raise AssertionError

    steps = Steps()
    observed = np.arange(NPIX) > 400
    found = solve_holes(draw(KNOWN, seed=4, threads=1), observed, progress=steps)
    assert steps.taken == found.iterations > 0


def test_a_sky_of_zeros_stays_one():
    found = solve_holes(np.zeros(NPIX), np.arange(NPIX) > 400)
    assert not found.values.any()
    assert found.iterations == 0
    assert found.residual == 0


def test_nothing_observed_is_refused():
    with pytest.raises(ValueError, match="no pixel is observed"):
        solve_holes(np.zeros(NPIX), np.zeros(NPIX, dtype=bool))
    with pytest.raises(ValueError, match="the map to fill"):
        solve_holes(np.zeros(100), np.ones(100, dtype=bool))
