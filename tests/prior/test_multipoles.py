"""The axis of multipoles: logarithmic at low ones, linear above, and invertible."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from skyfill.prior.multipoles import draw_multipoles


def places_of(lmax, ells):
    axes = Figure().subplots()
    draw_multipoles(axes, lmax)
    transform = axes.transData
    found = transform.transform(np.column_stack([ells, np.zeros(len(ells))]))[:, 0]
    back = transform.inverted().transform(np.column_stack([found, np.zeros(len(ells))]))[:, 0]
    np.testing.assert_allclose(back, ells, rtol=1e-6)
    left, right = axes.transAxes.transform([[0, 0], [1, 0]])[:, 0]
    return axes, (found - left) / (right - left)


@pytest.mark.parametrize("lmax", [90, 512, 4096])
def test_equal_factors_are_as_wide_below_30_and_equal_steps_above(lmax):
    high = np.linspace(30, lmax, 5)
    axes, places = places_of(lmax, [2, 4, 8, 16, *high])
    np.testing.assert_allclose(np.diff(places[:4]), places[1] - places[0])
    np.testing.assert_allclose(np.diff(places[4:]), (places[-1] - places[4]) / 4)
    assert places[4] == pytest.approx(0.3)
    assert places[0] > 0
    assert places[-1] < 1
    ticks = axes.get_xticks()
    assert np.unique(ticks).size == ticks.size  # no two numbers on top of each other
    assert {2, 10, 30} <= set(ticks)
    assert 1 <= np.sum(ticks > 30) <= 7
    assert "logarithmic below 30" in axes.get_xlabel()


def test_a_short_spectrum_is_logarithmic_throughout():
    axes, places = places_of(64, [2, 4, 8, 16, 32, 64])
    np.testing.assert_allclose(np.diff(places), places[1] - places[0])
    assert axes.get_xscale() == "log"
