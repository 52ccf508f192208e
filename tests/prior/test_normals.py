"""Normal numbers that many threads draw are those that one thread draws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyfill.prior import normals
from skyfill.prior.normals import normal_array, normal_numbers


def of_one_thread(seed, count):
    return np.random.default_rng(np.random.SeedSequence(seed)).standard_normal(count)


def of_threads(seed, count, threads=2):
    return np.concatenate(
        list(normal_numbers(np.random.SeedSequence(seed), count, threads=threads))
    )


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_any_number_of_threads_draws_the_same_numbers(threads):
    count = 3_300_000
    np.testing.assert_array_equal(of_threads([7, 1], count, threads), of_one_thread([7, 1], count))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**63), count=st.integers(1, 40_000), reach=st.integers(100, 600))
def test_short_pieces_are_joined_where_the_stream_passes(seed, count, reach):
    """Pieces that end before the next one begins, or far behind it, are joined all the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(normals, "_APART", 5000)
        patch.setattr(normals, "_BEYOND", reach)
        np.testing.assert_array_equal(of_threads([seed], count), of_one_thread([seed], count))


@pytest.mark.parametrize("rate", [0.9, 1.2])
def test_a_wrong_guess_of_the_raw_numbers_costs_time_only(monkeypatch, rate):
    monkeypatch.setattr(normals, "_APART", 20_000)
    monkeypatch.setattr(normals, "_RAW", rate)
    np.testing.assert_array_equal(of_threads([5], 150_000), of_one_thread([5], 150_000))


def test_a_reader_may_stop_early():
    numbers = normal_numbers(np.random.SeedSequence(3), 5_000_000, threads=2)
    first = next(numbers)
    numbers.close()
    np.testing.assert_array_equal(first, of_one_thread(3, first.size))


def test_an_array_is_that_of_one_thread(monkeypatch):
    monkeypatch.setattr(normals, "_APART", 5000)
    found = normal_array(np.random.SeedSequence(3), (2, 10_000), threads=2)
    np.testing.assert_array_equal(found, of_one_thread(3, 20_000).reshape(2, -1))
