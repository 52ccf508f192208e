"""Skies and masks to try things on."""

import dataclasses

import healpy
import numpy as np
import pytest

from skyfill.prior import LCDM, PolarizedPrior, Prior, lcdm
from skyfill.prior.simulate import simulate_mask, simulate_sky, simulate_stokes

NSIDE = 64


def test_a_seed_is_a_sky():
    one, again, other = (simulate_sky(NSIDE, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.2


def test_power_is_that_of_theory_beam_window_and_noise():
    fwhm, noise = np.deg2rad(2.0), 600.0
    lmax = 2 * NSIDE
    ell = np.arange(lmax + 1)
    sigma = fwhm / np.sqrt(8 * np.log(2))
    beam = np.exp(-ell * (ell + 1) * sigma**2 / 2)
    # The pixel window is close to that of a square of the pixel's area.
    pixel = healpy.nside2resol(NSIDE)
    window = np.exp(-(ell**2) * pixel**2 / 24)
    expected = lcdm(lmax) * (beam * window) ** 2 + np.deg2rad(noise / 60) ** 2

    cl = np.mean(
        [
            healpy.anafast(
                simulate_sky(NSIDE, seed=seed, fwhm=fwhm, noise_uk_arcmin=noise), lmax=lmax, iter=3
            )
            for seed in range(6)
        ],
        axis=0,
    )
    modes = 2 * ell + 1
    for low, high in [(2, 20), (20, 60), (60, 100), (100, 128)]:
        bins = slice(low, high)
        ratio = np.sum(modes[bins] * cl[bins]) / np.sum(modes[bins] * expected[bins])
        scatter = np.sqrt(2 / np.sum(modes[bins]) / 6)
        assert ratio == pytest.approx(1, abs=5 * scatter + 0.005)


@pytest.mark.parametrize("noise", [0.0, 5.0])
def test_what_a_wide_beam_leaves_is_there_down_to_the_noise(noise):
    words = {"seed": 5, "fwhm": np.radians(160 / 60), "noise_uk_arcmin": noise}
    sky = simulate_sky(NSIDE, **words)
    missing = np.std(sky - simulate_sky(NSIDE, **words, lmax=8 * NSIDE))
    pixel = noise / (healpy.nside2resol(NSIDE, arcmin=True))
    assert missing < 0.01 * pixel or missing < 3e-5 * np.std(sky)


def test_what_a_wide_beam_leaves_of_polarization_is_there_down_to_the_noise():
    t = Prior(NSIDE, lcdm(), np.radians(160 / 60), noise_uk_arcmin=1.0, theory=LCDM)
    prior = dataclasses.replace(PolarizedPrior.of(t), noise_pol_uk_arcmin=0.1)
    sky = simulate_stokes(prior, seed=5)
    missing = np.std(sky - simulate_stokes(prior, seed=5, lmax=8 * NSIDE), axis=1)
    pixel = np.array([1.0, 0.1, 0.1]) / healpy.nside2resol(NSIDE, arcmin=True)
    assert np.all(missing < 0.05 * pixel)


def test_polarization_without_power_is_noise():
    t = Prior(NSIDE, lcdm(), 0.1)
    sky = simulate_stokes(PolarizedPrior(t, *np.zeros((3, 200)), noise_pol_uk_arcmin=9.0), seed=5)
    assert np.std(sky[1:]) == pytest.approx(9 / healpy.nside2resol(NSIDE, arcmin=True), rel=0.02)


def test_a_spectrum_of_ones_own_and_an_end():
    cl = np.zeros(11)
    cl[10] = 100.0
    sky = simulate_sky(NSIDE, seed=3, cl=cl, pixel_window=False)
    measured = healpy.anafast(sky, lmax=40, iter=3)
    assert measured[10] > 1e6 * np.max(np.delete(measured, 10))
    np.testing.assert_array_equal(
        sky, simulate_sky(NSIDE, seed=3, cl=np.append(cl, [5.0, 5.0]), lmax=10, pixel_window=False)
    )


@pytest.mark.parametrize("lmax", [-1, 6001])
def test_lmax_beyond_the_spectrum_is_refused(lmax):
    with pytest.raises(ValueError, match=f"lmax`? must be .* got {lmax}"):
        simulate_sky(NSIDE, seed=0, lmax=lmax)


def test_pixels_show_what_they_do_not_resolve():
    """A sky has the power beyond 3 Nside; a cut of it there lacks it."""
    whole, cut = (
        simulate_sky(NSIDE, seed=1, fwhm=0.01, pixel_window=False, lmax=lmax)
        for lmax in (None, 3 * NSIDE - 1)
    )
    ell = np.arange(3 * NSIDE, 8 * NSIDE + 1)
    beyond = lcdm(8 * NSIDE)[ell] * healpy.gauss_beam(0.01, 8 * NSIDE)[ell] ** 2
    expected = np.sum((2 * ell + 1) * beyond) / (4 * np.pi)
    assert np.var(whole - cut) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("kind", ["band", "holes", "both"])
def test_a_seed_is_a_mask(kind):
    one, again, other = (simulate_mask(NSIDE, seed=seed, kind=kind) for seed in (1, 1, 2))
    assert one.dtype == np.bool_
    assert one.shape == (12 * NSIDE**2,)
    np.testing.assert_array_equal(one, again)
    assert np.any(one != other)


def test_both_is_band_and_holes():
    band, holes, both = (
        simulate_mask(NSIDE, seed=5, kind=kind) for kind in ("band", "holes", "both")
    )
    np.testing.assert_array_equal(both, band & holes)


def test_a_mask_is_the_same_at_every_resolution():
    coarse, fine = (simulate_mask(nside, seed=5) for nside in (64, 256))
    downgraded = healpy.ud_grade(fine.astype(float), 64)
    assert np.mean(np.abs(downgraded - coarse)) < 0.03


def test_the_band_lies_in_the_plane():
    observed = simulate_mask(NSIDE, seed=1, kind="band", half_width=np.deg2rad(8))
    _, lat = healpy.pix2ang(NSIDE, np.arange(observed.size), lonlat=True)
    assert observed[np.abs(lat) > 40].all()
    assert not observed[np.abs(lat) < 0.5].any()
    assert 0.75 < observed.mean() < 0.92


def test_holes_are_where_and_as_many_as_asked():
    observed = simulate_mask(128, seed=1, kind="holes", n_holes=30, radii=(0.02, 0.03))
    area = 30 * np.pi * 0.025**2 / (4 * np.pi)
    assert 1 - observed.mean() == pytest.approx(area, rel=0.25)
    assert simulate_mask(NSIDE, seed=1, kind="holes", n_holes=0).all()
    tiny = simulate_mask(NSIDE, seed=1, kind="holes", n_holes=20, radii=(1e-5, 1e-5))
    assert 1 <= np.count_nonzero(~tiny) <= 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "moon"}, "band, holes or both, got 'moon'"),
        ({"half_width": 0.0}, "half_width"),
        ({"raggedness": -1.0}, "raggedness"),
        ({"n_holes": -1}, "n_holes"),
        ({"radii": (0.2, 0.1)}, "smallest <= largest"),
    ],
)
def test_wrong_masks_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        simulate_mask(NSIDE, seed=0, **change)
