"""Σ, its inverse, and both between some pixels only."""

import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial.legendre import legval

from skyfill import harmonics
from skyfill.harmonics import Covariance
from skyfill.harmonics.covariance import excess
from skyfill.prior import Prior, lcdm

NSIDE = 16
NPIX = 12 * NSIDE**2
WEIGHTS = harmonics.pixel_weights(NSIDE, cache=False)


def covariance(fwhm=0.1, noise=1000.0, pixels=None):
    prior = Prior(NSIDE, lcdm(), fwhm=fwhm, noise_uk_arcmin=noise)
    variance = prior.noise_cl * NPIX / (4 * np.pi)
    return Covariance(WEIGHTS, prior.signal_cl(24), variance, pixels=pixels)


@settings(max_examples=20, deadline=None)
@given(
    fwhm=st.floats(0, 0.5), noise=st.floats(100, 1e5), seed=st.integers(0, 100), first=st.booleans()
)
def test_one_is_the_inverse_of_the_other(fwhm, noise, seed, first):
    """To 1e-8 of signal over noise."""
    sigma = covariance(fwhm, noise)
    values = np.random.default_rng(seed).standard_normal(NPIX)
    back = sigma.apply(sigma.inverse(values)) if first else sigma.inverse(sigma.apply(values))
    contrast = float(np.max(sigma.gain / (1 - sigma.gain)))
    assert np.abs(back - values).max() < 1e-8 * (1 + contrast)


def test_sigma_is_the_covariance_of_the_sky():
    sigma = covariance()
    directions = np.transpose(hp.pix2vec(NSIDE, np.arange(NPIX)))
    cosine = np.clip(directions @ directions[700], -1, 1)
    ell = np.arange(sigma.signal_cl.size)
    expected = legval(cosine, (2 * ell + 1) / (4 * np.pi) * sigma.signal_cl)
    expected[700] += sigma.variance / WEIGHTS[700]
    np.testing.assert_allclose(sigma.apply(np.eye(NPIX)[700]), expected, atol=1e-9 * expected[700])


@pytest.mark.parametrize("kind", ["band", "speckle", "pole", "one"])
def test_between_some_pixels_it_is_a_part_of_the_whole(kind):
    rng = np.random.default_rng(1)
    theta, _ = hp.pix2ang(NSIDE, np.arange(NPIX))
    chosen = {
        "band": np.abs(theta - np.pi / 2) < 0.2,
        "speckle": rng.random(NPIX) < 0.1,
        "pole": theta > 3,
        "one": np.arange(NPIX) == 1234,
    }[kind]
    pixels = np.flatnonzero(chosen)
    whole, part = covariance(), covariance(pixels=pixels)
    values = rng.standard_normal(pixels.size)
    padded = np.zeros(NPIX)
    padded[pixels] = values
    for _ in range(2):  # nothing is left behind in the buffers
        for name in ("apply", "inverse"):
            expected = getattr(whole, name)(padded)[pixels]
            scale = np.abs(expected).max()
            np.testing.assert_allclose(getattr(part, name)(values), expected, atol=1e-12 * scale)


def test_a_taper_is_applied_twice():
    pixels = np.arange(500, 900)
    rng = np.random.default_rng(2)
    values, factor = rng.standard_normal((2, pixels.size))
    fl = rng.random(20)
    part = covariance(pixels=pixels)
    expected = factor * part.tapered(factor * values, fl, np.ones(pixels.size))
    np.testing.assert_allclose(part.tapered(values, fl, factor), expected, rtol=1e-10, atol=1e-12)


def test_the_inverse_of_a_map_is_known_from_the_alm_of_its_parts():
    pixels = np.concatenate([np.arange(30, 40), np.arange(500, 900)])
    elsewhere = np.delete(np.arange(NPIX), pixels)
    values = np.random.default_rng(3).standard_normal(NPIX)
    whole, part, rest = (covariance(pixels=each) for each in (None, pixels, elsewhere))
    expected = whole.inverse(values)
    tolerance = 1e-12 * np.abs(expected).max()
    alm = rest.wiener(values[elsewhere])
    padded = values.copy()
    padded[pixels] = 0
    np.testing.assert_allclose(
        part.inverse_of(alm, None), whole.inverse(padded)[pixels], atol=tolerance
    )
    alm = part.wiener(values[pixels], onto=alm)
    for covered, some in ((whole, values), (part, values[pixels]), (rest, values[elsewhere])):
        here = slice(None) if covered is whole else pixels if covered is part else elsewhere
        np.testing.assert_allclose(covered.inverse_of(alm, some), expected[here], atol=tolerance)


@pytest.fixture(scope="module")
def products():
    """Give l of every harmonic up to 2 nside, and what their products lack of orthogonality."""
    lmax = 2 * NSIDE
    ell, m = hp.Alm.getlm(lmax)
    kept, maps = [], []
    for index, (own, order) in enumerate(zip(ell, m, strict=True)):
        for unit in (1.0,) if order == 0 else (0.5**0.5, 1j * 0.5**0.5):
            alm = np.zeros(ell.size, complex)
            alm[index] = unit
            kept.append(own)
            maps.append(hp.alm2map(alm, NSIDE, lmax=lmax))
    maps = np.array(maps)
    gram = 4 * np.pi / NPIX * (maps * harmonics.pixel_weights(NSIDE)) @ maps.T
    return np.array(kept), gram - np.eye(len(gram))


@given(
    lmax=st.integers(NSIDE, 2 * NSIDE),
    slope=st.floats(0, 20),
    bump=st.floats(0, 100),
    centre=st.floats(1, 2),
)
@settings(max_examples=15, deadline=None)
def test_the_bound_holds_for_smooth_spectra(products, lmax, slope, bump, centre):
    ell = np.arange(lmax + 1)
    loud = 1e3 * (np.maximum(ell, 1) / (1.5 * NSIDE)) ** -slope
    loud *= 1 + bump * np.exp(-0.5 * ((ell / NSIDE - centre) / 0.1) ** 2)
    bound = excess(loud, NSIDE)
    assert np.all(bound >= 0)
    assert not bound[ell + lmax <= 3 * NSIDE].any()
    of, wrong = products
    inside = of <= lmax
    least = np.linalg.eigvalsh(np.diag(bound[of[inside]]) - wrong[np.ix_(inside, inside)])[0]
    assert least > -1e-5  # what the weights themselves lack


def test_a_spectrum_far_beyond_the_pixels_has_a_bound():
    assert np.all(np.isfinite(excess(np.geomspace(1e6, 1e-6, 6 * NSIDE), NSIDE)))


def test_correlation_is_a_sum_of_legendre_polynomials():
    cl = np.random.default_rng(4).random(60)
    x = np.cos(np.linspace(0, np.pi, 50))
    expected = legval(x, (2 * np.arange(60) + 1) / (4 * np.pi) * cl)
    np.testing.assert_allclose(harmonics.correlation(cl, x), expected, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(harmonics.correlation(cl[:1], x), cl[0] / (4 * np.pi))
