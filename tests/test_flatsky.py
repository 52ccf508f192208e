"""The flat sky of a tile against integrals of C_l and against the sphere."""

import math

import numpy as np
import pytest
from scipy.special import j0

from skyfill import flatsky, harmonics, tiling
from skyfill.flatsky import TileField
from skyfill.prior import ARCMIN, Prior, draw

SIDE, PIXEL = 128, 8 * ARCMIN
SKY_PIXEL = PIXEL / 0.6


def beamed(fwhm=25 * ARCMIN, lmax=3000):
    """A spectrum that the pixels resolve and whose tile holds nearly all power."""
    ell = np.arange(lmax + 1.0)
    cl = 1 / (ell + 100) ** 2 * np.exp(-ell * (ell + 1) * fwhm**2 / (8 * math.log(2)))
    cl[:2] = 0
    return cl


def doubled(spectrum):
    """Weights of rfft2's modes: those that stand for their mirror, too, count twice."""
    twice = np.full(spectrum.shape[1], 2.0)
    twice[0] = 1
    if spectrum.shape[0] % 2 == 0:
        twice[-1] = 1
    return twice


@pytest.mark.parametrize("side", [8, 9, 128])
def test_wavenumbers_are_those_of_waves(side):
    k = flatsky.wavenumbers(side, PIXEL)
    assert k.shape == (side, side // 2 + 1)
    y, x = np.mgrid[:side, :side] * PIXEL
    cell = 2 * np.pi / (side * PIXEL)
    for ny, nx in ((0, 1), (-2, 3), (1, 0), (3, 2)):
        modes = np.abs(np.fft.rfft2(np.cos(cell * (ny * y + nx * x))))
        strongest = np.unravel_index(np.argmax(modes), modes.shape)
        assert k[strongest] == pytest.approx(cell * math.hypot(ny, nx))


def test_correlation_is_that_of_the_spectrum():
    """The field's correlation at a lag is ∫ l dl J0(l θ) C_l / 2π."""
    cl = beamed()
    spectrum = flatsky.power(cl, SIDE, PIXEL)
    correlation = np.fft.irfft2(spectrum, s=(SIDE, SIDE))
    ell = np.arange(2.0, cl.size)
    for dy, dx in ((0, 0), (0, 3), (5, 0), (4, 9), (20, 10)):
        lag = PIXEL * math.hypot(dy, dx)
        expected = np.sum(ell * cl[2:] * j0(ell * lag)) / (2 * np.pi)
        assert correlation[dy, dx] == pytest.approx(expected, abs=0.01 * correlation[0, 0])


@pytest.mark.parametrize("side", [63, 64])
def test_drawn_fields_have_the_power_that_was_asked_for(side):
    """Coloured white noise, seen as an observer does: by its variance in rings of l."""
    field = TileField.of(beamed(), side=side, pixel=PIXEL, share=False, sky_pixel=SKY_PIXEL)
    white = np.random.default_rng(1).standard_normal((400, side, side))
    tiles = np.fft.irfft2(np.fft.rfft2(white) * np.sqrt(field.spectrum), s=(side, side))
    tiles *= field.rms
    assert tiles.var() == pytest.approx(field.rms**2, rel=0.01)
    cl = flatsky.tile_cl(beamed(), tile=side * PIXEL, pixel=PIXEL, share=False, sky_pixel=SKY_PIXEL)
    k = flatsky.wavenumbers(side, PIXEL)
    seen = np.mean(np.abs(np.fft.rfft2(tiles)) ** 2, axis=0) * (PIXEL / side) ** 2
    for low in (100, 200, 400):
        ring = (k > low) & (k < 1.4 * low)
        weight = np.broadcast_to(doubled(k), k.shape)[ring]
        expected = np.average(np.interp(k[ring], np.arange(cl.size), cl), weights=weight)
        assert np.average(seen[ring], weights=weight) == pytest.approx(expected, rel=0.04)


def test_variance_is_the_integral_of_the_spectrum():
    for share in (False, True):
        field = TileField.of(beamed(), side=SIDE, pixel=PIXEL, share=share, sky_pixel=SKY_PIXEL)
        kept = flatsky.gather_transfer(np.arange(3001.0), SKY_PIXEL) ** 2
        if share:
            kept = kept * (1 - flatsky.coarse_share(np.arange(3001.0), SIDE * PIXEL))
        modes = (2 * np.arange(3001) + 1) / (4 * np.pi)
        assert field.rms**2 == pytest.approx(float(modes @ (kept * beamed())), rel=0.01)
        total = float((field.spectrum * doubled(field.spectrum)).sum()) / SIDE**2
        assert total == pytest.approx(1, abs=2e-3)  # but for the floor


def test_floor_keeps_the_inverse():
    field = TileField.of(
        beamed(200 * ARCMIN), side=SIDE, pixel=PIXEL, share=True, sky_pixel=SKY_PIXEL
    )
    assert field.spectrum.min() > 0.9e-3
    given = np.array([[0.0, 1.0], [5e-4, 2.0]])
    np.testing.assert_allclose(flatsky.floored(given), [[0.00075, 1], [0.00075, 2]], rtol=0.01)


def test_noise_goes_on_beyond_the_spectrum():
    """Past lmax the last value counts: white noise has no end."""
    cl = np.full(50, 3.0)
    spectrum = flatsky.power(cl, SIDE, PIXEL)
    k = flatsky.wavenumbers(SIDE, PIXEL)
    np.testing.assert_allclose(spectrum[k > 200], 3.0 / PIXEL**2)


def test_coarse_share_splits():
    tile = SIDE * PIXEL
    ell = np.arange(5000.0)
    share = flatsky.coarse_share(ell, tile)
    assert np.all((share >= 0) & (share <= 1))
    assert np.all(np.diff(share) <= 0)
    assert np.all(share[ell < math.pi / (1.2 * tile)] == 1)  # half wavelengths over 1.2 tiles
    assert np.all(share[ell > 3 * math.pi / tile] < 1e-30)
    assert np.any((share > 0.3) & (share < 0.7))
    cl = beamed()
    parts = [
        flatsky.tile_cl(cl, tile=tile, pixel=PIXEL, share=s, sky_pixel=SKY_PIXEL)
        for s in (False, True)
    ]
    large = parts[0] * flatsky.coarse_share(np.arange(float(parts[0].size)), tile)
    np.testing.assert_allclose(parts[1] + large, parts[0], rtol=1e-12)


def test_gather_transfer():
    ell = np.arange(0.0, 3 * math.pi / SKY_PIXEL)
    transfer = flatsky.gather_transfer(ell, SKY_PIXEL)
    assert transfer[0] == 1
    inside = transfer[: int(math.pi / SKY_PIXEL)]
    assert np.all(np.diff(inside) < 0)
    assert np.all((inside > 0) & (inside <= 1))


def test_gather_transfer_is_what_two_gathers_do():
    """Cut, paste, cut the rest, at two bands of multipoles: the rms that is left in a tile."""
    nside, side = 128, 128
    sky_pixel = math.sqrt(4 * math.pi / 12) / nside
    pixel = 0.6 * sky_pixel
    layouts = [
        tiling.Layout(
            nside=nside,
            lon_deg=lon,
            lat_deg=lat,
            shape=(side, side),
            pixel_arcmin=pixel / ARCMIN,
            projection="TAN",
        )
        for lon, lat in ((10.0, 5.0), (100.0, 50.0), (200.0, -30.0))
    ]
    everywhere = np.arange(12 * nside**2)
    window = np.ones((side, side))
    for low in (128, 220):
        cl = np.zeros(3 * nside)
        cl[low : low + 15] = 1.0
        sky = draw(Prior(nside, cl, pixel_window=False), seed=low)
        tiles, _ = tiling.cut(sky, None, layouts)
        pasted, weight = tiling.paste(tiles, layouts, everywhere, window=window)
        rest = np.where(weight > 0, sky - np.nan_to_num(pasted), 0)
        tiles = tiles + tiling.cut(rest, None, layouts)[0]
        inner = tiles[:, 16:-16, 16:-16]
        ell = np.arange(cl.size)
        kept = flatsky.gather_transfer(ell.astype(float), sky_pixel)
        modes = (2 * ell + 1) / (4 * np.pi)
        expected = math.sqrt(modes @ (cl * kept**2))
        alm = harmonics.analysis(sky, lmax=300, iterations=3)
        modes = modes[:301]
        # The sky's own power scatters: compare with what this one has.
        have = math.sqrt(modes @ harmonics.cl_of(alm) / (modes @ cl[:301]))
        assert inner.std() == pytest.approx(expected * have, rel=0.06)
