"""Transforms of single values: inverse to themselves, with means and slopes that are right."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from skyfill.transforms import TRANSFORMS, Asinh, Log, Rank, fitted_transform, signal_sample

RNG = np.random.default_rng(5)
NORMAL = RNG.standard_normal(20_000)
LOGNORMAL = np.exp(0.7 * NORMAL - 0.245) - 1
MADE = [Log(1.0), Asinh(0.5, 0.2), Rank.of_sample(LOGNORMAL)]


@pytest.mark.parametrize("made", MADE, ids=str)
@given(g=st.floats(-2.5, 2.5))
def test_the_inverse_undoes_the_transform(made, g):
    at = np.array([g])
    assert made.inverse(made.of(at)) == pytest.approx(at, abs=1e-9)


@pytest.mark.parametrize("made", MADE, ids=str)
@given(g=st.floats(-2.4, 2.4))
def test_the_slope_is_the_derivative(made, g):
    step = 0.05 if made.name == "rank" else 1e-5
    low, high = made.of(np.array([g - step])), made.of(np.array([g + step]))
    assert made.slope(np.array([g])) == pytest.approx((high - low) / (2 * step), rel=1e-4)


@pytest.mark.parametrize("made", MADE, ids=str)
@pytest.mark.parametrize(("mean", "variance"), [(0.0, 0.0), (0.4, 0.3), (-0.7, 0.5)])
def test_the_mean_is_that_over_the_normal_distribution(made, mean, variance):
    found = made.mean(np.array([mean]), np.array([variance]))[0]
    if variance == 0:
        assert found == pytest.approx(made.of(np.array([mean]))[0])
        return
    root = math.sqrt(variance)

    z = np.linspace(-7, 7, 20_001)
    truth = np.average(made.of(mean + root * z), weights=stats.norm.pdf(z))
    assert found == pytest.approx(truth, abs=1e-2 if made.name == "rank" else 1e-6)


def test_the_shift_of_a_lognormal_field_is_found():
    made = fitted_transform("log", LOGNORMAL)
    assert made.shift == pytest.approx(1.0, abs=0.01)


def test_a_given_shift_is_taken():
    assert fitted_transform("log", LOGNORMAL, shift=1.5) == Log(1.5)
    assert fitted_transform("asinh", LOGNORMAL, shift=0.3).shift == 0.3


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_lognormal_field_becomes_normal_in_any_unit(name, scale):
    made = fitted_transform(name, scale * LOGNORMAL)
    g = made.inverse(scale * LOGNORMAL)
    g = (g - g.mean()) / g.std()
    assert stats.kstest(g, "norm").statistic < 0.01
    assert abs(stats.skew(g)) < 0.05


def test_asinh_takes_two_tails():
    heavy = np.sinh(1.2 * NORMAL)
    g = fitted_transform("asinh", heavy).inverse(heavy)
    assert abs(stats.skew(g)) < 0.03
    assert abs(stats.kurtosis(g)) < 0.05


@pytest.mark.parametrize("least", [0.02, 0.1])
def test_noise_is_taken_out_of_a_sample(least):
    noise = least * LOGNORMAL.std()
    sample = signal_sample(LOGNORMAL + noise * RNG.standard_normal(LOGNORMAL.size), noise)
    shares = [0.02, 0.1, 0.5, 0.9, 0.98]
    assert np.quantile(sample, shares) == pytest.approx(np.quantile(LOGNORMAL, shares), abs=0.03)
    assert sample.min() > -1.0 - noise
    assert signal_sample(LOGNORMAL[:500], noise).size == 500  # so that rank refuses few
    assert stats.skew(sample) == pytest.approx(stats.skew(LOGNORMAL), rel=0.05)


@pytest.mark.parametrize(
    ("name", "sample", "words", "said"),
    [
        ("log", LOGNORMAL, {"shift": 0.5}, r"needs x \+ shift above 0, and .*asinh"),
        ("log", NORMAL - NORMAL**2, {}, "is for fields with positive skewness"),
        ("log", LOGNORMAL, {"shift": math.nan}, "shift must be a finite number"),
        ("rank", LOGNORMAL[:500], {}, "needs 2000 observed pixels .* got 500"),
        ("rank", LOGNORMAL, {"shift": 1.0}, "has no shift: drop"),
        ("sqrt", LOGNORMAL, {}, "'sqrt' is unknown; choose one of log, asinh, rank"),
        ("rank", np.ones(3000), {}, "is constant"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(name, sample, words, said):
    with pytest.raises(ValueError, match=said) as refused:
        fitted_transform(name, sample, **words)
    assert "\n" not in str(refused.value)
