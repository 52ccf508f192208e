"""Bins of spectra."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from map_files import REAL

from skyfill.spectra import bin_edges, linear_edges, log_edges, planck_edges


@pytest.mark.parametrize("bins", ["default", "linear", "log", "planck", 7, None])
@pytest.mark.parametrize("lmax", [2, 3, 17, 29, 30, 31, 64, 512, 2507])
def test_bins_partition_every_ell(bins, lmax):
    edges = bin_edges(bins, lmax)
    assert edges[0] == 2
    assert edges[-1] == lmax + 1
    assert np.all(np.diff(edges) >= 1)


def test_planck_has_83_wide_bins_and_single_ells_below():
    edges = planck_edges(3000)
    assert np.sum(edges[:-1] >= 30) == 83
    assert edges[:29].tolist() == list(range(2, 31))
    assert edges[-1] == 2509
    assert planck_edges(100)[28:].tolist() == [30, 60, 90, 101]


@pytest.mark.skipif(not REAL, reason="SKYFILL_REAL_DATA is not set")
def test_planck_centres():
    """Every bin has the published centre, and not by chance: no other weights give it."""
    published = np.loadtxt(Path(REAL) / "planck2018_TT_binned_R3.01.txt")[:, 0]
    edges = planck_edges(2508)[28:]
    bins = [np.arange(low, high) for low, high in pairwise(edges)]
    centres = np.array([np.average(ell, weights=ell * (ell + 1)) for ell in bins])
    np.testing.assert_allclose(centres, published, atol=1e-5)


def test_log_bins_are_even_in_log():
    edges = log_edges(2000, per_decade=10)
    ratio = edges[11:] / edges[10:-1]
    np.testing.assert_allclose(ratio, 10**0.1, rtol=0.03)


def test_linear_bins_are_of_one_width():
    assert linear_edges(13, 5).tolist() == [2, 7, 12, 14]


@pytest.mark.parametrize(
    ("bins", "message"),
    [("cubic", "one of default, linear, log, planck"), (0, "got 0"), ([[2, 3]], "must rise")],
)
def test_wrong_bins_are_refused(bins, message):
    with pytest.raises(ValueError, match=message):
        bin_edges(bins, 64)


def test_no_bin_a_decade_is_refused():
    with pytest.raises(ValueError, match="a decade"):
        log_edges(64, 0)
