"""Pixel arithmetic against healpy, at every resolution."""

from __future__ import annotations

import math

import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit, prange

from skyfill import healpix as px
from skyfill.healpix import pixel as kernels

NSIDES = [1, 2, 4, 16, 64, 512, 2048, 8192]
nsides = st.sampled_from([2**k for k in range(14)])


def some_pixels(nside: int) -> np.ndarray:
    """All pixels of a small map; of a large one those around the poles, the edges and more."""
    npix = 12 * nside**2
    if npix <= 200_000:
        return np.arange(npix)
    cap = 2 * nside * (nside - 1)
    edges = np.r_[0, cap, npix // 2, npix - cap, npix - 1]
    near = (edges[:, None] + np.arange(-300, 300)).ravel()
    rng = np.random.default_rng(nside)
    corners = hp.nest2ring(nside, np.arange(12) * nside**2)
    return np.unique(
        np.r_[near[(near >= 0) & (near < npix)], corners, rng.integers(npix, size=50_000)]
    )


@njit(parallel=True)
def _interpolate(nside, rings, theta, phi):
    pixels = np.empty((4, theta.size), np.int64)
    weights = np.empty((4, theta.size))
    for i in prange(theta.size):
        p0, p1, p2, p3, w0, w1, w2, w3 = kernels.interpolate_ring(
            nside, rings, math.cos(theta[i]), math.sin(theta[i]), phi[i]
        )
        pixels[0, i], pixels[1, i], pixels[2, i], pixels[3, i] = p0, p1, p2, p3
        weights[0, i], weights[1, i], weights[2, i], weights[3, i] = w0, w1, w2, w3
    return pixels, weights


@njit
def _find(nside, theta, phi, nest):
    out = np.empty(theta.size, np.int64)
    for i in range(theta.size):
        z, s = math.cos(theta[i]), math.sin(theta[i])
        out[i] = (
            kernels.ang2pix_nest(nside, z, s, phi[i])
            if nest
            else kernels.ang2pix_ring(nside, z, s, phi[i])
        )
    return out


@njit
def _convert(nside, ipix):
    nest = np.empty(ipix.size, np.int64)
    ring = np.empty(ipix.size, np.int64)
    for i in range(ipix.size):
        nest[i] = kernels.ring2nest(nside, ipix[i])
        ring[i] = kernels.nest2ring(nside, ipix[i])
    return nest, ring


@pytest.mark.parametrize("nside", NSIDES)
def test_orderings_agree_with_healpy(nside):
    ipix = some_pixels(nside)
    nest, ring = _convert(nside, ipix)
    np.testing.assert_array_equal(nest, hp.ring2nest(nside, ipix))
    np.testing.assert_array_equal(ring, hp.nest2ring(nside, ipix))


@pytest.mark.parametrize("nest", [False, True])
@pytest.mark.parametrize("nside", NSIDES)
def test_directions_agree_with_healpy(nside, nest):
    ipix = some_pixels(nside)
    truth = np.stack(hp.pix2vec(nside, ipix, nest=nest), axis=-1)
    np.testing.assert_allclose(px.pixel_directions(nside, ipix, nest), truth, atol=4e-16)


@pytest.mark.parametrize("nest", [False, True])
@pytest.mark.parametrize("nside", NSIDES)
def test_neighbours_agree_with_healpy(nside, nest):
    ipix = some_pixels(nside)
    truth = hp.get_all_neighbours(nside, ipix, nest=nest).T
    np.testing.assert_array_equal(px.neighbours(nside, ipix, nest), truth)


@pytest.mark.parametrize("nest", [False, True])
@pytest.mark.parametrize("nside", NSIDES)
def test_a_direction_finds_its_pixel(nside, nest):
    ipix = some_pixels(nside)
    theta, phi = hp.pix2ang(nside, ipix, nest=nest)
    np.testing.assert_array_equal(_find(nside, theta, phi, nest), ipix)
    rng = np.random.default_rng(nside)
    theta, phi = np.arccos(rng.uniform(-1, 1, 20_000)), rng.uniform(-4 * np.pi, 4 * np.pi, 20_000)
    np.testing.assert_array_equal(
        _find(nside, theta, phi, nest), hp.ang2pix(nside, theta, phi, nest=nest)
    )


@pytest.mark.parametrize("nside", NSIDES)
def test_interpolation_weights_agree_with_healpy(nside):
    rng = np.random.default_rng(nside)
    small = rng.uniform(0, 3 / nside, 2000)
    theta = np.r_[np.arccos(rng.uniform(-1, 1, 20_000)), small, np.pi - small, 0.0, np.pi]
    phi = rng.uniform(0, 2 * np.pi, theta.size)
    pixels, weights = _interpolate(nside, px.ring_table(nside), theta, phi)
    truth, truth_weights = hp.get_interp_weights(nside, theta, phi)
    np.testing.assert_allclose(weights.sum(axis=0), 1, rtol=1e-14)
    order, truth_order = pixels.argsort(axis=0), truth.argsort(axis=0)
    np.testing.assert_array_equal(
        np.take_along_axis(pixels, order, 0), np.take_along_axis(truth, truth_order, 0)
    )
    np.testing.assert_allclose(
        np.take_along_axis(weights, order, 0),
        np.take_along_axis(truth_weights, truth_order, 0),
        atol=1e-15 * 8 * nside,
    )


@given(nsides, st.data())
@settings(deadline=None, derandomize=True)
def test_neighbourhood_is_mutual(nside, data):
    pixel = data.draw(st.integers(0, 12 * nside**2 - 1))
    around = px.neighbours(nside, [pixel])[0]
    around = around[around >= 0]
    assert np.all((px.neighbours(nside, around) == pixel).any(axis=1))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int32, np.bool_, ">f4"])
def test_reorder_goes_there_and_back(dtype):
    sky = (np.random.default_rng(1).integers(0, 100, 12 * 16**2) > 50).astype(dtype)
    nest = px.reorder(sky, False, True)
    np.testing.assert_array_equal(nest, hp.reorder(sky, r2n=True))
    assert nest.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(px.reorder(nest, True, False), sky)
    same = px.reorder(sky, True, True)
    assert same is not sky
    np.testing.assert_array_equal(same, sky)


@pytest.mark.parametrize("nside", NSIDES)
def test_pixel_radius_is_healpys(nside):
    assert px.pixel_radius(nside) == pytest.approx(hp.max_pixrad(nside), rel=1e-12)


@pytest.mark.parametrize("bad", [-1, 12 * 16**2])
def test_a_pixel_outside_the_map_is_refused(bad):
    with pytest.raises(ValueError, match="run from 0 to 3071"):
        px.neighbours(16, [bad])
    with pytest.raises(ValueError, match="run from 0 to 3071"):
        px.pixel_directions(16, [bad])


@pytest.mark.parametrize("nside", [1, 4, 64])
def test_pixels_towards_directions(nside):
    rng = np.random.default_rng(nside)
    directions = rng.standard_normal((5000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    np.testing.assert_array_equal(
        px.pixels_towards(nside, directions), hp.vec2pix(nside, *directions.T)
    )
    every = np.arange(12 * nside**2)
    np.testing.assert_array_equal(
        px.pixels_towards(nside, px.pixel_directions(nside, every)), every
    )
    with pytest.raises(ValueError, match=r"\(n, 3\)"):
        px.pixels_towards(nside, directions.T)
