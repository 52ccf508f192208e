"""The incumbent fill: it solves the neighbour-mean equations, and leaves the rest alone."""

from __future__ import annotations

import healpy as hp
import numba
import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.linalg import spsolve

from skyfill.diffuse import diffuse


def ragged(nside: int, *, seed: int = 0) -> np.ndarray:
    """A band with a wavy edge and some discs: True where observed."""
    theta, phi = hp.pix2ang(nside, np.arange(12 * nside**2))
    width = np.radians(12 + 5 * np.sin(5 * phi) * np.cos(3 * phi))
    observed = np.abs(np.pi / 2 - theta) > width
    rng = np.random.default_rng(seed)
    for pixel, radius in zip(
        rng.integers(observed.size, size=20), rng.uniform(0, 0.1, 20), strict=True
    ):
        observed[hp.query_disc(nside, hp.pix2vec(nside, pixel), radius)] = False
    return observed


def exactly(values: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """The slow twin: the same linear equations, solved directly."""
    nside = hp.npix2nside(values.size)
    holes = np.flatnonzero(~observed)
    around = hp.get_all_neighbours(nside, holes).T
    slot = np.full(values.size + 1, -1)
    slot[holes] = np.arange(holes.size)
    there = around >= 0
    unknown = there & (slot[around] >= 0)
    rows = np.nonzero(unknown)[0]
    data = np.r_[there.sum(axis=1).astype(float), -np.ones(rows.size)]
    where = np.r_[np.arange(holes.size), rows], np.r_[np.arange(holes.size), slot[around[unknown]]]
    known = np.where(there & ~unknown, values[around], 0).sum(axis=1)
    filled = values.copy()
    filled[holes] = spsolve(csr_array((data, where)), known)
    return filled


@pytest.fixture(scope="module")
def sky() -> np.ndarray:
    rng = np.random.default_rng(5)
    ell = np.arange(97)
    alm = rng.normal(size=(2, hp.Alm.getsize(96)))
    alm = hp.almxfl(alm[0] + 1j * alm[1], 1 / (ell + 1.0) ** 1.3)
    values = hp.alm2map(alm, 32)
    values.setflags(write=False)
    return values


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("direct", [20, 20_000])
def test_solves_the_neighbour_mean_equations(sky, seed, direct, monkeypatch):
    """By multigrid over four levels, and by elimination on the only one."""
    monkeypatch.setattr("skyfill.diffuse.fill.DIRECT", direct)
    observed = ragged(32, seed=seed)
    truth = exactly(np.where(observed, sky, 0), observed)
    scale = sky[observed].std()
    np.testing.assert_allclose(diffuse(sky, observed, tol=1e-10), truth, atol=1e-8 * scale)
    rms = np.sqrt(np.mean((diffuse(sky, observed) - truth)[~observed] ** 2))
    assert rms < 1e-3 * scale


def test_observed_pixels_stay_and_hidden_ones_are_not_read(sky):
    observed = ragged(32)
    hidden = np.where(observed, sky, np.nan)
    filled = diffuse(hidden, observed)
    np.testing.assert_array_equal(filled[observed], sky[observed])
    np.testing.assert_array_equal(filled, diffuse(sky, observed))
    assert np.isfinite(filled).all()


def test_a_fill_stays_between_what_surrounds_it(sky):
    observed = ragged(32)
    filled = diffuse(sky, observed, tol=1e-8)
    assert filled.min() >= sky[observed].min()
    assert filled.max() <= sky[observed].max()


def test_threads_do_not_matter(sky, monkeypatch):
    monkeypatch.setattr("skyfill.diffuse.fill.DIRECT", 20)
    observed = ragged(32)
    several = diffuse(sky, observed)
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        np.testing.assert_array_equal(diffuse(sky, observed), several)
    finally:
        numba.set_num_threads(threads)


@pytest.mark.parametrize("nside", [1, 2, 4])
def test_one_observed_pixel_is_enough(nside):
    observed = np.zeros(12 * nside**2, dtype=bool)
    observed[3] = True
    values = np.where(observed, 7.0, np.nan)
    np.testing.assert_allclose(diffuse(values, observed, tol=1e-12, max_iter=500), 7.0, rtol=1e-9)


def test_without_holes_nothing_changes(sky):
    filled = diffuse(sky, np.ones(sky.size, dtype=bool))
    np.testing.assert_array_equal(filled, sky)
    assert filled is not sky


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_very_many_tiny_holes(share):
    """So many that even the coarsest level is left to the sweeps."""
    nside = 256
    observed = np.random.default_rng(4).random(12 * nside**2) > share
    values = hp.pix2vec(nside, np.arange(observed.size))[0] ** 3
    filled = diffuse(values, observed, tol=1e-6)
    around = hp.get_all_neighbours(nside, np.flatnonzero(~observed))
    mean = np.where(around >= 0, filled[around], 0).sum(axis=0) / (around >= 0).sum(axis=0)
    np.testing.assert_allclose(filled[~observed], mean, atol=1e-5)


def test_bad_input_is_refused(sky):
    observed = ragged(32)
    with pytest.raises(ValueError, match="nothing to diffuse from"):
        diffuse(sky, np.zeros(sky.size, dtype=bool))
    with pytest.raises(ValueError, match="the map has Nside 32, the mask has Nside 2; give a pair"):
        diffuse(sky, np.ones(48, dtype=bool))
    with pytest.raises(ValueError, match="not finite"):
        diffuse(np.where(observed, np.nan, sky), observed)


@pytest.mark.slow
def test_a_wide_band_at_high_resolution_converges():
    observed = ragged(512)
    values = hp.pix2vec(512, np.arange(observed.size))[0] ** 3
    error = (diffuse(values, observed) - diffuse(values, observed, tol=1e-9))[~observed]
    assert np.sqrt(np.mean(error**2)) < 1e-3 * values.std()


@pytest.mark.parametrize("at_once", [64, 2**22])
def test_without_tables_of_neighbours_nothing_changes(sky, at_once, monkeypatch):
    """Long lists of holes are worked on piece by piece; here every list is long."""
    monkeypatch.setattr("skyfill.diffuse.fill.DIRECT", 20)
    observed = ragged(32)
    usual = diffuse(sky, observed)
    monkeypatch.setattr("skyfill.diffuse.fill.TABLE", 20)
    monkeypatch.setattr("skyfill.diffuse.fill.AT_ONCE", at_once)
    np.testing.assert_allclose(diffuse(sky, observed), usual, atol=1e-12)
