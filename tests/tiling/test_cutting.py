"""Cutting agrees with healpy, reads no hidden pixel, and repeated passes lose nothing."""

from __future__ import annotations

import healpy as hp
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyfill.healpix import reorder
from skyfill.tiling import Layout, cut, cut_nearest, gather, paste, plan, sees
from skyfill.tiling.blending import window

NSIDE = 64
RNG = np.random.default_rng(11)
SKY = RNG.normal(size=12 * NSIDE**2)
SEEN = RNG.random(SKY.size) > 0.3
tiles_anywhere = st.builds(
    Layout,
    nside=st.just(NSIDE),
    lon_deg=st.floats(0, 360),
    lat_deg=st.one_of(st.floats(-90, 90), st.sampled_from([-90, 0, 90])),
    shape=st.tuples(st.integers(4, 20), st.integers(4, 20)),
    pixel_arcmin=st.floats(10, 100),
    projection=st.sampled_from(["TAN", "CAR"]),
)


def slowly(values, observed, layout):
    """The twin: healpy's neighbours and weights, renormalised over the observed ones."""
    theta, phi = hp.vec2ang(layout.directions().reshape(-1, 3))
    pixels, weights = hp.get_interp_weights(NSIDE, theta, phi)
    weights = weights * observed[pixels]
    weight = weights.sum(axis=0)
    total = (weights * np.where(observed, values, 0)[pixels]).sum(axis=0)
    tile = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
    return tile.reshape(layout.shape), weight.reshape(layout.shape)


@given(tiles_anywhere)
@settings(deadline=None, derandomize=True)
def test_a_whole_map_is_interpolated_as_by_healpy(layout):
    tiles, weights = cut(SKY, None, [layout])
    theta, phi = hp.vec2ang(layout.directions().reshape(-1, 3))
    truth = hp.get_interp_val(SKY, theta, phi).reshape(layout.shape)
    np.testing.assert_allclose(tiles[0], truth, atol=1e-11)
    assert np.all(weights == 1)


@given(tiles_anywhere)
@settings(deadline=None, derandomize=True)
def test_holes_are_left_out_of_the_mean(layout):
    tiles, weights = cut(np.where(SEEN, SKY, np.nan), SEEN, [layout])
    truth, weight = slowly(SKY, SEEN, layout)
    np.testing.assert_allclose(weights[0], weight, atol=1e-11)
    solid = weight > 1e-6  # below, the quotient of two roundings
    np.testing.assert_allclose(tiles[0][solid], truth[solid], atol=1e-4)
    np.testing.assert_allclose(tiles[0] * weights[0], truth * weight, atol=1e-11)
    assert np.all(tiles[weights == 0] == 0)


@given(tiles_anywhere)
@settings(deadline=None, derandomize=True)
def test_nearest_takes_the_pixel_around(layout):
    theta, phi = hp.vec2ang(layout.directions().reshape(-1, 3))
    truth = hp.ang2pix(NSIDE, theta, phi).reshape(layout.shape)
    (tile,) = cut_nearest(np.arange(SKY.size), [layout])
    assert tile.dtype == np.int64
    assert np.mean(tile == truth) > 0.98  # a direction on a border may round to either side
    (mask,) = cut_nearest(SEEN, [layout])
    np.testing.assert_array_equal(mask, SEEN[tile])


LAYOUTS = [
    Layout(NSIDE, lon, lat, (18, 25), 40.0, projection)
    for projection in ("TAN", "CAR")
    for lon, lat in [(0, 90), (10, 50), (20, 0), (45, 41.8), (300, -60), (0, -90)]
]


def test_orderings_give_the_same_tiles():
    ring = cut(SKY, SEEN, LAYOUTS)
    nest = cut(reorder(SKY, False, True), reorder(SEEN, False, True), LAYOUTS, nest=True)
    np.testing.assert_array_equal(ring, nest)
    np.testing.assert_array_equal(
        cut_nearest(SKY, LAYOUTS), cut_nearest(reorder(SKY, False, True), LAYOUTS, nest=True)
    )


def test_threads_and_batches_do_not_matter():
    several = cut(SKY, SEEN, LAYOUTS)
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        np.testing.assert_array_equal(several, cut(SKY, SEEN, LAYOUTS))
    finally:
        numba.set_num_threads(threads)
    singly = np.concatenate([cut(SKY, SEEN, [layout]) for layout in LAYOUTS], axis=1)
    np.testing.assert_array_equal(several, singly)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4", ">f8", np.int16])
def test_a_map_of_any_type_is_cut(dtype):
    sky = (100 * SKY).astype(dtype)
    tiles, weights = cut(sky, SEEN, LAYOUTS)
    assert tiles.dtype == weights.dtype
    assert tiles.dtype == (np.float32 if sky.dtype.itemsize == 4 else np.float64)
    truth, _ = cut(sky.astype(np.float64), SEEN, LAYOUTS)
    np.testing.assert_allclose(tiles, truth, rtol=1e-6, atol=1e-3)
    assert cut_nearest(sky, LAYOUTS).dtype == sky.dtype.newbyteorder("=")


def test_no_layouts_no_tiles():
    tiles, weights = cut(SKY, None, [])
    assert len(tiles) == len(weights) == 0
    assert len(gather(SKY, [], window=np.ones((4, 4)))) == 0


def test_maps_that_do_not_fit_are_refused():
    other = [Layout(2 * NSIDE, 0, 0, (8, 8), 10.0)]
    with pytest.raises(ValueError, match="not for a map of Nside 64"):
        cut(SKY, None, other)
    with pytest.raises(ValueError, match="not for a map of Nside 64"):
        cut_nearest(SKY, other)
    with pytest.raises(ValueError, match="the map has Nside 64, the mask has Nside 2; give a pair"):
        cut(SKY, SEEN[:48], LAYOUTS)
    with pytest.raises(ValueError, match="at least one pass"):
        gather(SKY, LAYOUTS, window=np.ones((18, 25)), passes=0)


def band_limited_sky(nside: int) -> np.ndarray:
    """A sky up to lmax = 1.5 nside under the beam that is 5 arcmin at Nside 2048."""
    lmax = 3 * nside // 2
    ell = np.arange(lmax + 1)
    rng = np.random.default_rng(nside)
    alm = rng.normal(size=(2, hp.Alm.getsize(lmax)))
    alm = hp.almxfl(alm[0] + 1j * alm[1], 1 / np.maximum(ell, 2))
    return hp.smoothing(hp.alm2map(alm, nside), fwhm=np.radians(5 / 60 * 2048 / nside))


@pytest.mark.parametrize("projection", ["TAN", "CAR"])
@pytest.mark.parametrize("scale", [0.5, 0.75])
def test_a_round_trip_keeps_the_spectrum(scale, projection):
    """Cut the whole sky and paste it back: C_ell within 1% up to ell = nside in three passes."""
    nside, side = 64, 48
    sky = band_limited_sky(nside)
    pixel = scale * hp.nside2resol(nside, arcmin=True)
    everywhere = np.ones(sky.size, dtype=bool)
    layouts = plan(
        everywhere,
        side=side,
        pixel_arcmin=pixel,
        margin=np.radians(6 * pixel / 60),
        projection=projection,
    )
    taper = window((side, side), 2)
    truth = hp.anafast(sky, lmax=nside)[2:]
    worst = []
    for passes in (1, 2, 3):
        tiles = gather(sky, layouts, window=taper, passes=passes)
        back, _ = paste(tiles, layouts, np.arange(sky.size), window=taper)
        worst.append(np.abs(hp.anafast(back, lmax=nside)[2:] / truth - 1).max())
    assert worst[0] > 0.05  # what a plain cut loses
    assert worst[1] < 0.03
    assert worst[2] < 0.01


def test_passes_do_not_depend_on_the_ordering():
    sky = band_limited_sky(NSIDE)
    layouts = LAYOUTS[:3]
    taper = window((18, 25), 1)
    ring = gather(sky, layouts, window=taper)
    nest = gather(reorder(sky, False, True), layouts, window=taper, nest=True)
    np.testing.assert_allclose(ring, nest, rtol=1e-13)


@settings(deadline=None, max_examples=150)
@given(
    layout=st.builds(
        Layout,
        nside=st.just(NSIDE),
        lon_deg=st.floats(0, 360),
        lat_deg=st.one_of(st.floats(-90, 90), st.sampled_from([-90, 0, 90])),
        shape=st.tuples(st.integers(10, 24), st.integers(10, 24)),
        pixel_arcmin=st.floats(10, 80),
        projection=st.sampled_from(["TAN", "CAR"]),
    ),
    guard=st.integers(0, 3),
    radius=st.floats(0.02, 0.6),
    shift=st.floats(-1, 1),
    speckle=st.sampled_from([0.0, 1e-3, 0.3]),
    threshold=st.sampled_from([1e-6, 0.5, 0.9, 1.0]),
)
def test_tiles_see_what_is_cut(layout, guard, radius, shift, speckle, threshold):
    """In a dark disc about as large as the tile, which covers it or leaves a corner to be seen."""
    middle = layout.centre + shift * radius * np.array([0.5, -0.5, 0.5])
    seen = np.ones(SKY.size, np.bool_)
    dark = hp.query_disc(NSIDE, middle, radius)
    seen[dark] = np.random.default_rng(3).random(dark.size) < speckle
    inner = slice(guard, -guard or None)
    weight, _ = cut(seen, None, [layout])
    expected = (weight[:, inner, inner] >= threshold).any(axis=(1, 2))
    np.testing.assert_array_equal(sees(seen, [layout], guard=guard, threshold=threshold), expected)


def test_seeing_bad_input():
    layout = Layout(NSIDE, 0.0, 0.0, (16, 16), 30.0)
    assert sees(SEEN, [], threshold=0.5).size == 0
    with pytest.raises(ValueError, match="above 0"):
        sees(SEEN, [layout], threshold=0.0)
    with pytest.raises(ValueError, match="no tile has"):
        sees(SEEN, [layout], guard=7, threshold=0.5)
    with pytest.raises(ValueError, match="Nside 64"):
        sees(SEEN, [Layout(32, 0.0, 0.0, (16, 16), 30.0)], threshold=0.5)


@pytest.mark.parametrize("value", [-1.6375e30, np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_missing_value_of_the_map_is_missing_in_the_tile(value, dtype):
    layout = Layout(64, 30.0, 45.0, shape=(32, 32), pixel_arcmin=30.0)
    sky = np.ones(12 * 64**2, dtype)
    centre = np.unique(cut_nearest(np.arange(sky.size), [layout]))[50]
    sky[centre] = value
    before = sky.copy()
    tile = cut(sky, None, [layout])[0]
    assert np.isnan(tile).any()
    assert np.all(np.isnan(tile) | (np.abs(tile - 1) < 1e-6))
    np.testing.assert_array_equal(sky, before)
