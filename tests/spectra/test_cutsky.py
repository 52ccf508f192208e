"""The spectrum behind a mask: coupling undone, unbiased, errors that skies have."""

import healpy
import numpy as np
import pytest

import skyfill
from skyfill import harmonics
from skyfill.prior import Prior, draw, lcdm
from skyfill.spectra import apodized, compare

NSIDE = 32
LMAX = 64


def prior_of(nside):
    """Give a beam of two pixels and noise that is seen in the last bins only."""
    pixel = healpy.nside2resol(nside)
    return Prior(nside, lcdm(), fwhm=2 * pixel, noise_uk_arcmin=2e4 / nside)


def skies_of(prior, count, seed):
    last = 3 * prior.nside - 1
    return (draw(prior, seed=seed, index=i, lmax=last, aliased=True) for i in range(count))


@pytest.fixture(scope="module")
def mask():
    return skyfill.simulate_mask(NSIDE, seed=3, kind="both", n_holes=60)


@pytest.fixture(scope="module")
def ensemble(mask):
    prior = prior_of(NSIDE)
    return compare(skies_of(prior, 200, seed=11), prior, observed=mask), 200


def test_without_holes_it_is_the_whole_sky():
    prior = prior_of(NSIDE)
    (sky,) = skies_of(prior, 1, seed=4)
    whole = np.ones(sky.size, dtype=bool)
    result = compare(sky, prior, lmax=LMAX, bins=4, observed=whole)
    # Plain sums over pixels here, iterated ones there: they differ by the pixels' quadrature.
    low = result.ell_max < NSIDE
    np.testing.assert_allclose(result.cut.cl[low], result.full.cl[low], rtol=2e-3)
    np.testing.assert_allclose(result.cut.cl, result.full.cl, rtol=2e-2)
    np.testing.assert_allclose(result.cut.theory, result.full.theory, rtol=1e-4)
    np.testing.assert_allclose(result.cut.sigma, result.full.sigma, rtol=2e-2)
    np.testing.assert_allclose(result.cut.modes, result.full.modes)


def test_it_is_unbiased(ensemble):
    result, count = ensemble
    for band in (result.full, result.cut):
        error = band.scatter / np.sqrt(count)
        assert np.all(np.abs(band.cl - band.theory) < 3.5 * error)
        assert np.all(error < 0.08 * band.theory)


def test_errors_are_the_scatter_of_skies(ensemble):
    result, _ = ensemble
    for band in (result.full, result.cut):
        # The scatter of few modes scatters more than a Gaussian's 5%.
        np.testing.assert_allclose(band.scatter, band.sigma, rtol=0.25)
        assert np.mean(band.scatter / band.sigma) == pytest.approx(1, abs=0.06)
        total = np.hypot(band.sigma_signal, band.sigma_noise)
        np.testing.assert_allclose(total, band.sigma, rtol=1e-10)
        assert np.all(band.sigma_noise[:3] < 0.1 * band.sigma[:3])
        assert band.sigma_noise[-1] > 0.2 * band.sigma[-1]


def test_modes_are_those_of_a_smaller_sky(ensemble, mask):
    result, _ = ensemble
    np.testing.assert_allclose(result.cut.modes, mask.mean() * result.full.modes)
    assert np.all(result.cut.sigma > 0.98 * result.full.sigma)


def test_dl_is_the_skys(ensemble):
    """Noise subtracted, beam and window divided out: ΛCDM as it was before them."""
    result, count = ensemble
    ell = np.arange(LMAX + 1)
    dl = ell * (ell + 1) / (2 * np.pi) * lcdm(LMAX)
    for band in (result.full, result.cut):
        for index, (low, high) in enumerate(zip(result.ell_min, result.ell_max, strict=True)):
            part = slice(low, high + 1)
            expected = np.average(dl[part], weights=2 * ell[part] + 1)
            assert band.dl_theory[index] == pytest.approx(expected)
        assert np.all(np.abs(band.dl - band.dl_theory) < 3.5 * band.dl_sigma / np.sqrt(count) * 1.3)


def test_steep_spectra_leak_no_more(mask):
    """What is there at high ell is a thousandth of what the mask brings from low ell."""
    cl = np.zeros(3 * NSIDE)
    cl[2:] = 1e3 / np.arange(2, cl.size) ** 5.0
    prior = Prior(NSIDE, cl, pixel_window=False)
    result = compare(skies_of(prior, 100, seed=8), prior, observed=mask, bins=8)
    error = result.cut.scatter / 10
    assert np.all(np.abs(result.cut.cl - result.cut.theory) < 4 * error)


def test_monopole_dipole_and_masked_pixels_do_not_matter(mask):
    prior = prior_of(NSIDE)
    (sky,) = skies_of(prior, 1, seed=5)
    x, y, z = healpy.pix2vec(NSIDE, np.arange(sky.size))
    other = sky + 2.7e6 + 3000 * x - 1000 * y + 500 * z
    other[~mask] = 1e5
    plain, shifted = (compare(v, prior, observed=mask).cut for v in (sky, other))
    np.testing.assert_allclose(shifted.cl, plain.cl, rtol=1e-6)


def test_a_theory_of_double_power_halves_the_ratio(mask):
    """What the fit of monopole and dipole takes is made up for by a factor, not by an amount."""
    cl = 1000.0 / (np.arange(3 * NSIDE) + 10.0) ** 4
    prior = Prior(NSIDE, cl, pixel_window=False)
    (sky,) = skies_of(prior, 1, seed=6)
    once, twice = (compare(sky, factor * cl, observed=mask).cut for factor in (1, 2))
    np.testing.assert_allclose(twice.cl[:4], once.cl[:4], rtol=1e-3)


@pytest.mark.parametrize("kind", ["C1", "C2"])
def test_apodisation_rises_over_its_width(kind):
    width = np.radians(20)
    centre = healpy.vec2pix(64, 0, 0, 1)
    observed = np.ones(12 * 64**2, dtype=bool)
    observed[centre] = False
    direction = np.array(healpy.pix2vec(64, np.arange(observed.size)))
    angle = np.arccos(np.clip(direction[:, centre] @ direction, -1, 1))
    x = np.minimum(np.sqrt((1 - np.cos(angle)) / (1 - np.cos(width))), 1)
    expected = {"C1": x - np.sin(2 * np.pi * x) / (2 * np.pi), "C2": (1 - np.cos(np.pi * x)) / 2}
    window = apodized(observed, width, kind)
    np.testing.assert_allclose(window, expected[kind], atol=0.01)
    np.testing.assert_array_equal(apodized(observed, 0), observed)


def test_apodised_masks_are_unbiased_too(mask):
    prior = prior_of(NSIDE)
    result = compare(
        skies_of(prior, 60, seed=12), prior, observed=mask, apodize=np.radians(6), bins=6
    )
    cut = result.cut
    assert np.all(np.abs(cut.cl - cut.theory) < 3.5 * cut.scatter / np.sqrt(60))
    assert np.all(cut.modes < mask.mean() * result.full.modes)
    assert result.settings["apodization"] == "C2, 6 deg"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"observed": np.ones(12 * 16**2, dtype=bool)}, "mask has Nside 16"),
        ({"observed": np.ones(10, dtype=bool)}, "12 Nside"),
        ({"observed": np.zeros(12 * NSIDE**2, dtype=bool)}, "no pixel observed"),
        ({"observed": np.arange(12 * NSIDE**2) < 9}, "too little for bins"),
        ({"apodize": -0.1}, "from 0 to below"),
        ({"apodize": 0.1, "apodization": "C3"}, "C1 or C2"),
        ({"theory": Prior(16, lcdm())}, "prior has Nside 16"),
    ],
)
def test_wrong_input_is_refused(mask, change, message):
    arguments = {"values": np.ones(mask.size), "theory": prior_of(NSIDE), "observed": mask}
    with pytest.raises(ValueError, match=message):
        compare(**(arguments | change))


@pytest.mark.slow
def test_it_is_unbiased_at_nside_128():
    prior = prior_of(128)
    mask = skyfill.simulate_mask(128, seed=1, kind="both")
    result = compare(skies_of(prior, 100, seed=1), prior, observed=mask)
    for band in (result.full, result.cut):
        assert np.all(np.abs(band.cl - band.theory) < 3 * band.scatter / 10)
        np.testing.assert_allclose(band.scatter, band.sigma, rtol=0.3)


def test_harmonics_beyond_three_nside_are_sums_over_pixels():
    """The mask's spectrum is needed to 5 nside: a sum of delta functions has one at any ell."""
    pixel, lmax = 1000, 5 * 8 - 1
    values = np.zeros(12 * 8**2)
    values[pixel % values.size] = 1.0
    found = harmonics.cl_of(harmonics.adjoint(values, lmax=lmax))
    np.testing.assert_allclose(found, 1 / (4 * np.pi), rtol=1e-10)
