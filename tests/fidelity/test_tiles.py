"""Scores of tiles against cases worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyfill.fidelity import hole_power, score_tiles, ssim


def test_the_paper_s_three_and_the_holes():
    """Truth from 0 to 20 uK, four pixels, one of them a hole that is 2 uK off."""
    truth = np.array([[[0.0, 10.0], [20.0, 10.0]]])
    filled = np.array([[[0.0, 10.0], [20.0, 12.0]]])
    observed = np.array([[[True, True], [True, False]]])
    found = score_tiles(filled, truth, observed)
    assert found.mse == pytest.approx(0.1**2 / 4)
    assert found.mae == pytest.approx(0.1 / 4)
    assert found.psnr == pytest.approx(-10 * np.log10(0.1**2 / 4))
    assert (found.hole_rms_uk, found.hole_mae_uk) == (2.0, 2.0)
    assert found.hole_truth_rms_uk == 0.0  # the observed mean is 10
    assert (found.tiles, found.hole_share) == (1, 0.25)


def test_psnr_is_averaged_over_tiles():
    truth = np.array([[[0.0, 1.0]], [[0.0, 1.0]]])
    filled = truth + np.array([[[0.0, 0.1]], [[0.0, 0.01]]])
    found = score_tiles(filled, truth, np.array([[[True, False]], [[True, False]]]))
    assert found.psnr == pytest.approx((23.0103 + 43.0103) / 2, abs=1e-4)
    assert found.hole_rms_uk == pytest.approx(np.sqrt((0.01 + 0.0001) / 2))


@given(scale=st.floats(0.1, 1e3), shift=st.floats(-1e3, 1e3))
@settings(max_examples=20, deadline=None)
def test_units_do_not_matter_to_the_first_three(scale, shift):
    rng = np.random.default_rng(1)
    truth, observed = rng.standard_normal((3, 16, 16)), rng.random((3, 16, 16)) > 0.2
    filled = np.where(observed, truth, 0.0)
    one = score_tiles(filled, truth, observed)
    other = score_tiles(scale * filled + shift, scale * truth + shift, observed)
    assert other.mse == pytest.approx(one.mse, rel=1e-6)
    assert other.psnr == pytest.approx(one.psnr, rel=1e-6)
    assert other.ssim == pytest.approx(one.ssim, rel=1e-6)
    assert other.hole_rms_uk == pytest.approx(scale * one.hole_rms_uk, rel=1e-6)


def test_similarity():
    rng = np.random.default_rng(2)
    a = rng.random((32, 32))
    assert ssim(a, a) == pytest.approx(1)
    assert ssim(a, a + 0.1 * rng.standard_normal(a.shape)) < 0.98
    assert ssim(a, 1 - a) < 0
    # Two flat pictures differ in luminance alone.
    flat = ssim(np.full((8, 8), 0.2), np.full((8, 8), 0.6))
    assert flat == pytest.approx((2 * 0.12 + 1e-4) / (0.04 + 0.36 + 1e-4))


def test_power_in_the_holes():
    rng = np.random.default_rng(3)
    truth, observed = rng.standard_normal((20, 32, 32)), np.ones((20, 32, 32), dtype=bool)
    observed[:, 8:24, 8:24] = False
    k, ratio = hole_power(0.5 * truth, truth, observed)
    np.testing.assert_allclose(ratio, 0.25)
    np.testing.assert_allclose(k, (np.arange(8) + 0.5) / 16)
    smooth = 0.5 * (truth + np.roll(truth, 1, axis=2))
    _, ratio = hole_power(smooth, truth, observed)
    assert ratio[0] > 0.8
    assert ratio[-1] < 0.5
    # Only the holes count.
    _, ratio = hole_power(np.where(observed, 99.0, truth), truth, observed)
    np.testing.assert_allclose(ratio, 1)


def test_bad_input():
    tiles, observed = np.zeros((1, 4, 4)), np.ones((1, 4, 4), dtype=bool)
    with pytest.raises(ValueError, match="no tile has a hole"):
        score_tiles(tiles, tiles, observed)
    observed[0, 0, 0] = False
    with pytest.raises(ValueError, match="same value"):
        score_tiles(tiles, tiles, observed)
    with pytest.raises(ValueError, match="give a set"):
        score_tiles(tiles[0], tiles, observed)
