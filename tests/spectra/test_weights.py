"""The spectrum behind weights: an apodised mask, hits, inverse variances."""

import healpy
import numpy as np
import pytest

import skyfill
from skyfill.prior import Prior, lcdm
from skyfill.spectra import CutSky, apodized, bin_edges, compare, expectation


def prior_of(nside):
    return Prior(nside, lcdm(), fwhm=2 * healpy.nside2resol(nside), noise_uk_arcmin=2e4 / nside)


def synfast(prior, count, seed):
    """Simulate skies by healpy: beam, pixel window and white noise of the prior."""
    nside = prior.nside
    rng = np.random.default_rng(seed)
    cl, npix = prior.signal_cl(3 * nside - 1), 12 * nside**2
    for index in range(count):
        np.random.seed(1000 * seed + index)  # noqa: NPY002 (synfast has no other seed)
        noise = rng.normal(0, np.sqrt(prior.white_cl * npix / (4 * np.pi)), npix)
        yield healpy.synfast(cl, nside) + noise


def soft_band(nside):
    """Smooth a band and two holes, as other programs do, and keep what was observed."""
    observed = skyfill.galactic_cut(nside, np.radians(15))
    observed &= skyfill.discs(nside, np.radians([20, 100]), np.radians([50, -40]), np.radians(8))
    soft = healpy.smoothing(observed.astype(float), fwhm=6 / nside)
    return np.clip(soft, 0, 1) * observed


def hits(nside):
    """Give weights that grow towards the poles of a scan, in hits."""
    z = np.cos(healpy.pix2ang(nside, np.arange(12 * nside**2))[0])
    return 700 * (0.2 + z**2) * skyfill.galactic_cut(nside, np.radians(15))


def assert_right(result, count, *, worst):
    """Hold the mean against the theory, and the scatter against the quoted errors."""
    cut = result.cut
    off = (cut.cl - cut.theory) / (cut.scatter / np.sqrt(count))
    assert np.abs(off).max() < worst
    assert np.mean(off**2) < 1.8
    share = cut.scatter / cut.sigma
    high = result.ell_min > 20
    assert np.mean(share[high]) == pytest.approx(1, abs=0.1)
    np.testing.assert_allclose(share[high], 1, atol=4 / np.sqrt(2 * count))


@pytest.mark.parametrize("make", [soft_band, hits])
def test_weights_are_unbiased_with_the_errors_that_skies_have(make):
    prior = prior_of(32)
    result = compare(synfast(prior, 60, seed=2), prior, observed=make(32), bins=8)
    assert_right(result, 60, worst=3.3)


@pytest.mark.slow
@pytest.mark.parametrize("make", [soft_band, hits])
def test_weights_are_right_at_nside_64(make):
    prior = prior_of(64)
    result = compare(synfast(prior, 300, seed=7), prior, observed=make(64), bins=8)
    assert_right(result, 300, worst=3.3)


def test_weights_are_more_than_their_support():
    """Weights of a soft edge measure with fewer modes, and another result, than 0 and 1 do."""
    prior, weights = prior_of(32), soft_band(32)
    (sky,) = synfast(prior, 1, seed=3)
    soft = compare(sky, prior, observed=weights).cut
    hard = compare(sky, prior, observed=weights > 0).cut
    share = np.mean(weights**2) ** 2 / np.mean(weights**4)
    np.testing.assert_allclose(soft.modes / hard.modes, share / np.mean(weights > 0))
    assert np.abs(soft.cl / hard.cl - 1).max() > 0.01


def test_an_apodised_mask_is_as_one_that_we_apodise():
    prior, observed = prior_of(32), skyfill.galactic_cut(32, np.radians(20))
    (sky,) = synfast(prior, 1, seed=4)
    width = np.radians(8)
    ours = compare(sky, prior, observed=observed, apodize=width)
    given = compare(sky, prior, observed=apodized(observed, width))
    np.testing.assert_allclose(given.cut.cl, ours.cut.cl)
    np.testing.assert_allclose(given.cut.covariance, ours.cut.covariance)
    assert given.settings["apodization"] == "as given: the mask holds weights"


def test_a_common_factor_does_not_matter():
    prior, weights = prior_of(16), hits(16)
    (sky,) = synfast(prior, 1, seed=5)
    once, other = (compare(sky, prior, observed=f * weights, bins=4).cut for f in (1, 3e-12))
    np.testing.assert_allclose(other.cl, once.cl)
    np.testing.assert_allclose(other.sigma, once.sigma)


@pytest.mark.parametrize("kind", ["int64", "uint8", "float32"])
def test_a_mask_of_numbers_is_a_mask(kind):
    prior, observed = prior_of(16), skyfill.galactic_cut(16, np.radians(20))
    (sky,) = synfast(prior, 1, seed=6)
    expected = compare(sky, prior, observed=observed, apodize=0.2, bins=4)
    found = compare(sky, prior, observed=observed.astype(kind), apodize=0.2, bins=4)
    np.testing.assert_array_equal(found.cut.cl, expected.cut.cl)


def test_what_weighs_nothing_is_not_looked_at():
    prior, weights = prior_of(16), soft_band(16)
    (sky,) = synfast(prior, 1, seed=8)
    weights[:40] = 0
    edges = bin_edges(4, 32)
    estimator = CutSky(weights, expectation(prior, 16, 32), edges)
    plain = estimator.powers(sky)
    sky[weights == 0] = np.nan
    np.testing.assert_array_equal(estimator.powers(sky), plain)
    sky[np.flatnonzero(weights)[:3]] = np.nan
    with pytest.raises(ValueError, match="3 pixels are missing where the mask has a weight"):
        estimator.powers(sky)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"apodize": 0.1}, "is apodised already; leave `apodize` out"),
        ({"observed": np.linspace(-1, 1, 3072)}, "holds -1 to 1; .* weights are 0 or more"),
        ({"observed": np.zeros(3072)}, "no pixel observed"),
        ({"observed": np.linspace(0, 1, 768)}, "mask has Nside 8"),
        ({"observed": np.full(3072, "a")}, "must be booleans or numbers"),
    ],
)
def test_wrong_weights_are_refused(change, message):
    arguments = {"theory": prior_of(16), "observed": np.linspace(0, 1, 3072)}
    with pytest.raises(ValueError, match=message):
        compare(np.ones(3072), **(arguments | change))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("band", 4.0), ("holes", 3.0), ("dust", 0.0)],
)
def test_the_width_of_an_apodisation_suits_the_mask(name, expected):
    """Wide where holes are wide and few; narrow between many; none where they are too close."""
    masks = {
        "band": skyfill.simulate_mask(64, kind="band", seed=1),
        "holes": skyfill.simulate_mask(64, seed=2, n_holes=150, radii=np.radians((1, 2))),
        "dust": np.random.default_rng(1).random(12 * 64**2) > 0.2,
    }
    width = skyfill.spectra.apodization_width(masks[name])
    assert np.degrees(width) == pytest.approx(expected)
    if width:
        kept = skyfill.spectra.apodized(masks[name], width).mean() / masks[name].mean()
        assert 0.9 <= kept < 1
    if expected == 3.0:  # the next wider one leaves too little
        wider = skyfill.spectra.apodized(masks[name], np.radians(4))
        assert wider.mean() < 0.9 * masks[name].mean()
    assert skyfill.spectra.apodization_width(np.ones(768, bool)) == 0
    with pytest.raises(ValueError, match="no pixel observed"):
        skyfill.spectra.apodization_width(np.zeros(768, bool))
