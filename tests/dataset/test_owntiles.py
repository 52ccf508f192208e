"""Tiles of one's own maps: whole ones, of the power their prior says."""

import numpy as np
import pytest

import skyfill
from skyfill.dataset.owntiles import cut_tiles
from skyfill.healpix import pixel_directions

NSIDE = 256
PRIOR = skyfill.Prior(NSIDE, skyfill.lcdm(), fwhm=np.radians(0.6), noise_uk_arcmin=40.0)


@pytest.fixture(scope="module")
def sky():
    return skyfill.simulate_sky(NSIDE, seed=4, fwhm=PRIOR.fwhm, noise_uk_arcmin=40.0)


@pytest.fixture(scope="module")
def tiles(sky):
    return cut_tiles(sky, prior=PRIOR, side=64)


def test_tiles_have_the_power_of_their_prior(tiles):
    values, field = tiles
    assert values.shape[1:] == (64, 64)
    assert len(values) > 100
    # Most of it is in scales larger than a tile, of which this sky has what it has.
    assert values.std() == pytest.approx(field.rms, rel=0.1)
    # Rings of modes between what windows a tile and the floor under its spectrum.
    taper = np.hanning(64)[:, None] * np.hanning(64)
    power = (np.abs(np.fft.rfft2(values * taper)) ** 2).mean(0) / (taper**2).sum() / field.rms**2
    k = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.rfftfreq(64))
    for low, high in ((0.04, 0.07), (0.07, 0.1), (0.1, 0.15)):
        ring = (k >= low) & (k < high)
        assert power[ring].mean() == pytest.approx(field.spectrum[ring].mean(), rel=0.1)


def test_monopole_and_dipole_are_not_in_them(sky, tiles):
    x = pixel_directions(NSIDE, np.arange(sky.size))
    moved, _ = cut_tiles(sky + 1e4 + x @ [3e3, -1e3, 2e3], prior=PRIOR, side=64)
    np.testing.assert_allclose(moved, tiles[0], atol=0.01)


def test_only_wholly_observed_tiles_are_cut(sky, tiles):
    observed = np.ones(sky.size, bool)
    observed[pixel_directions(NSIDE, np.arange(sky.size))[:, 2] < 0.5] = False
    holed = np.where(observed, sky, np.nan)
    some, _ = cut_tiles(holed, observed, prior=PRIOR, side=64)
    assert 5 < len(some) < 0.4 * len(tiles[0])
    assert np.isfinite(some).all()
    assert some.std() == pytest.approx(tiles[1].rms, rel=0.1)
    wild = np.where(observed, sky, 1e9)
    np.testing.assert_array_equal(cut_tiles(wild, observed, prior=PRIOR, side=64)[0], some)


def test_the_prior_is_fitted_where_none_is_given(sky, tiles):
    _, field = cut_tiles(sky, side=64)
    assert field.rms == pytest.approx(tiles[1].rms, rel=0.03)


def test_what_gives_no_tile(sky):
    for observed, message in (
        (np.zeros(sky.size, bool), "gives no flat tile"),
        (np.arange(sky.size) < 40, "is wholly observed; give another mask"),
        (np.ones(12 * 4, bool), "the mask has Nside 2; give a pair"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            cut_tiles(sky, observed, prior=PRIOR, side=64)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="gives no flat tile"):
        cut_tiles(np.zeros(12 * 16**2), prior=PRIOR)
