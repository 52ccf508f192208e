"""Pasting: interpolation as scipy's, sums that depend on nothing but the tiles and their order."""

from __future__ import annotations

import healpy as hp
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates, spline_filter

from skyfill.healpix import ring_to_nest
from skyfill.tiling import Layout, Paster, paste
from skyfill.tiling.blending import window
from skyfill.tiling.splines import spline_coefficients

NSIDE = 64
EVERYWHERE = np.arange(12 * NSIDE**2)
LAYOUTS = [
    Layout(NSIDE, lon, lat, (18, 25), 40.0, projection)
    for projection in ("TAN", "CAR")
    for lon, lat in [(0, 90), (10, 84), (20, 0), (45, 41.8), (300, -60), (0, -90)]
]
TILES = np.random.default_rng(3).normal(size=(len(LAYOUTS), 18, 25))
TAPER = window((18, 25), 2)


def slowly(tiles, layouts, taper, order):
    """The twin: astropy places the pixels, scipy interpolates."""
    lon, lat = hp.pix2ang(NSIDE, EVERYWHERE, lonlat=True)
    vectors = np.stack(hp.pix2vec(NSIDE, EVERYWHERE), axis=-1)
    total, weight = np.zeros(EVERYWHERE.size), np.zeros(EVERYWHERE.size)
    for tile, layout in zip(tiles, layouts, strict=True):
        x, y = layout.wcs.wcs_world2pix(lon, lat, 0)
        front = vectors @ layout.centre > 0
        inside = front & (x >= 0) & (x <= tile.shape[1] - 1) & (y >= 0) & (y <= tile.shape[0] - 1)
        here = np.stack([y[inside], x[inside]])
        w = map_coordinates(taper, here, order=1, mode="mirror")
        total[inside] += w * map_coordinates(tile, here, order=order, mode="mirror")
        weight[inside] += w
    return np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0), weight


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(4, 70), st.integers(4, 70)),
    seed=st.integers(0, 99),
)
@settings(deadline=None, derandomize=True)
def test_spline_coefficients_are_scipys(shape, seed):
    tiles = np.random.default_rng(seed).normal(size=shape)
    truth = [spline_filter(tile, order=3, mode="mirror") for tile in tiles]
    spline_coefficients(tiles)
    np.testing.assert_allclose(tiles, truth, atol=1e-12)


@pytest.mark.parametrize("order", [1, 3])
def test_blends_agree_with_scipy_and_astropy(order):
    values, weight = paste(TILES, LAYOUTS, EVERYWHERE, window=TAPER, order=order)
    truth, truth_weight = slowly(TILES, LAYOUTS, TAPER, order)
    np.testing.assert_allclose(weight, truth_weight, atol=1e-10)
    solid = truth_weight > 1e-8
    np.testing.assert_allclose(values[solid], truth[solid], atol=1e-5)
    assert np.isnan(values[weight == 0]).all()
    assert (weight == 0).any()
    assert (weight > 0).sum() > 500


def test_neither_batches_nor_threads_nor_order_of_pixels_matter():
    truth = paste(TILES, LAYOUTS, EVERYWHERE, window=TAPER)
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        np.testing.assert_array_equal(truth, paste(TILES, LAYOUTS, EVERYWHERE, window=TAPER))
    finally:
        numba.set_num_threads(threads)
    shuffled = np.random.default_rng(0).permutation(EVERYWHERE)[:20_000]
    for size in (1, 5, 12):
        paster = Paster(NSIDE, shuffled)
        for start in range(0, len(LAYOUTS), size):
            part = slice(start, start + size)
            paster.add(TILES[part], LAYOUTS[part], TAPER)
        np.testing.assert_array_equal(np.array(truth)[:, shuffled], paster.result())


def test_orderings_give_the_same_values():
    ring = paste(TILES, LAYOUTS, EVERYWHERE, window=TAPER)
    nest = paste(TILES, LAYOUTS, ring_to_nest(NSIDE, EVERYWHERE), window=TAPER, nest=True)
    np.testing.assert_array_equal(ring, nest)


@pytest.mark.parametrize("nside", [1, 8, 16, 256])
@pytest.mark.parametrize("projection", ["TAN", "CAR"])
@pytest.mark.parametrize("lat", [0.0, 60.0, 90.0])
def test_no_pixel_of_a_tile_is_missed(nside, projection, lat):
    """Wide tiles and narrow ones: the search by cells finds all that astropy finds."""
    layout = Layout(nside, 40.0, lat, (40, 50), 120.0, projection)
    ipix = np.arange(12 * nside**2)
    values, weight = paste(np.ones((1, 40, 50)), [layout], ipix, window=np.ones((40, 50)))
    x, y = layout.wcs.wcs_world2pix(*hp.pix2ang(nside, ipix, lonlat=True), 0)
    front = np.stack(hp.pix2vec(nside, ipix), axis=-1) @ layout.centre > 0
    margin = np.minimum(np.minimum(x, 49 - x), np.minimum(y, 39 - y))
    inside = front & (margin > 1e-9)
    np.testing.assert_allclose(values[inside], 1, atol=1e-12)
    np.testing.assert_allclose(weight[inside], 1, atol=1e-12)
    assert np.all(weight[~front | (margin < -1e-9)] == 0)


def test_a_plain_longitude_latitude_box_is_pasted_whole():
    layout = Layout(NSIDE, 350.0, 0.0, (20, 300), 60.0, "CAR", offset=(0.0, -60.0))
    lon, lat = hp.pix2ang(NSIDE, EVERYWHERE, lonlat=True)
    east = (lon - 350 + 180) % 360 - 180
    inside = (np.abs(lat - 60) < 9.4) & (np.abs(east) < 149.4)
    _, weight = paste(np.ones((1, 20, 300)), [layout], EVERYWHERE, window=np.ones((20, 300)))
    assert np.all(weight[inside] == 1)
    assert np.all(weight[(np.abs(lat - 60) > 9.6) | (np.abs(east) > 149.6)] == 0)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="no tile to paste"):
        paste(TILES[:0], [], EVERYWHERE, window=TAPER)
    with pytest.raises(ValueError, match="do not describe tiles"):
        paste(TILES[:2], LAYOUTS, EVERYWHERE, window=TAPER)
    with pytest.raises(ValueError, match="do not describe tiles"):
        paste(TILES, LAYOUTS, EVERYWHERE, window=TAPER[:-1])
    with pytest.raises(ValueError, match="holds NaN"):
        paste(np.full_like(TILES, np.nan), LAYOUTS, EVERYWHERE, window=TAPER)
    with pytest.raises(ValueError, match="use 3"):
        Paster(NSIDE, EVERYWHERE, order=2)
    with pytest.raises(ValueError, match="not for a map of Nside 32"):
        Paster(32, [0]).add(TILES, LAYOUTS, TAPER)
    with pytest.raises(ValueError, match="run from 0"):
        Paster(NSIDE, [-1])
    with pytest.raises(ValueError, match="run from 0"):
        Paster(NSIDE, [12 * NSIDE**2], nest=True)
