"""Noise that differs from pixel to pixel: given as a map, or estimated from the sky."""

import math

import healpy as hp
import numpy as np
import pytest
from numpy.polynomial.legendre import legval

import skyfill
from skyfill.inpaint import Inpainter
from skyfill.mosaic import MosaicConfig
from skyfill.mosaic.tileset import TileSet, tile_field
from skyfill.prior import ARCMIN, NoiseEstimate, Prior, draw_signal, estimate_noise, lcdm


def known(nside, pixels=2.5, noise=None):
    """A prior with a beam of some pixels, and noise of a tenth of the signal's rms."""
    pixel = math.sqrt(4 * math.pi / 12) / nside
    white = 10.0 if noise is None else noise
    return Prior(nside, lcdm(), fwhm=pixels * pixel, noise_uk_arcmin=white * pixel / ARCMIN)


def varying(nside, rms=10.0, contrast=3.0):
    """Noise whose rms varies by `contrast` over the sky."""
    theta, phi = hp.pix2ang(nside, np.arange(12 * nside**2))
    return rms * contrast ** (0.5 * np.sin(2 * theta) * np.cos(phi))


def seen_of(nside):
    theta, _ = hp.pix2ang(nside, np.arange(12 * nside**2))
    seen = np.abs(theta - np.pi / 2) > 0.1
    for lon, lat, radius in ((20, 40, 9), (120, -50, 7), (250, 70, 4)):
        vector = hp.ang2vec(lon, lat, lonlat=True)
        seen[hp.query_disc(nside, vector, math.radians(radius))] = False
    return seen


def sky_of(prior, rms, seed=0):
    sky = draw_signal(prior, seed=seed, threads=1)
    return sky + rms * np.random.default_rng([seed, 1]).standard_normal(sky.size)


def dense_mean(prior, values, seen, rms):
    directions = np.transpose(hp.pix2vec(prior.nside, np.arange(values.size)))
    cl = prior.signal_cl()
    cl[:2] += 1e7  # any monopole and dipole
    terms = (2 * np.arange(cl.size) + 1) / (4 * np.pi) * cl
    covariance = legval(np.clip(directions @ directions.T, -1, 1), terms)
    covariance += np.diag(rms**2 + prior.aliased_cl * values.size / (4 * np.pi))
    weights = np.linalg.solve(covariance[np.ix_(seen, seen)], values[seen])
    return covariance[np.ix_(~seen, seen)] @ weights


@pytest.mark.filterwarnings("ignore:the prior may not describe")  # a white one, for comparison
@pytest.mark.parametrize("nside", [8, 16])
@pytest.mark.parametrize(
    "options", [{"method": "gaussian"}, {"method": "vae"}, {"method": "diffuse", "polish": 24}]
)
def test_a_fill_with_a_noise_map_is_that_of_a_dense_solve(nside, options):
    prior, rms, seen = known(nside), varying(nside, 30, contrast=9), seen_of(nside)
    values = sky_of(prior, rms)
    fitter = Inpainter(values, seen, prior=prior, noise_rms=rms, threads=1, **options)
    uniform = Prior(nside, prior.cl, fwhm=prior.fwhm, noise_uk_arcmin=3 * prior.noise_uk_arcmin)
    white = Inpainter(values, seen, prior=uniform, trust_prior=True, threads=1, **options).mean()
    expected = dense_mean(prior, values, seen, rms)
    away = np.std(fitter.mean() - expected)
    assert away < 0.01 * values.std()
    assert away < 0.3 * np.std(white - expected)


def test_vae_is_exact_where_it_solves_the_whole_sphere():
    prior, rms, seen = known(64), varying(64), seen_of(64)
    words = {"prior": prior, "noise_rms": rms, "threads": 1}
    values = sky_of(prior, rms)
    exact = Inpainter(values, seen, method="gaussian", **words).mean()
    assert np.std(Inpainter(values, seen, **words).mean() - exact) < 0.005 * values.std()


def test_tiles_and_polish_come_to_the_same_fill():
    """Tiles at an Nside at which the sphere could be solved as a whole."""
    prior, rms, seen = known(64), varying(64), seen_of(64)
    words = {"prior": prior, "threads": 1}
    values = sky_of(prior, rms)
    exact = Inpainter(values, seen, method="gaussian", noise_rms=rms, **words).mean()
    config = MosaicConfig(whole_nside=32, side=64, guard=8, margin=10)
    tiled = Inpainter(values, seen, noise_rms=rms, config=config, **words)
    away = np.std(tiled.mean() - exact)
    assert tiled.converged
    assert tiled.polish
    assert away < 0.01 * values.std()
    assert away < 0.5 * np.std(Inpainter(values, seen, config=config, **words).mean() - exact)


@pytest.mark.slow
def test_tiles_at_256_come_to_the_same_fill():
    prior, rms = known(256), varying(256)
    seen = skyfill.simulate_mask(256, kind="both", seed=11, n_holes=250)
    words = {"prior": prior, "threads": 1}
    values = sky_of(prior, rms)
    exact = Inpainter(values, seen, method="gaussian", noise_rms=rms, **words).mean()
    away = np.std(Inpainter(values, seen, noise_rms=rms, **words).mean() - exact)
    assert away < 0.01 * values.std()
    assert away < 0.5 * np.std(Inpainter(values, seen, **words).mean() - exact)


def test_every_tile_has_the_noise_of_its_pixels():
    """The engines are asked for fields whose variance is that of the signal and the local noise."""
    nside = 64
    prior, rms, seen = known(nside, noise=20.0), varying(nside, 20, contrast=9), seen_of(nside)
    config = MosaicConfig(side=64, guard=8, margin=10)
    asked = []

    def engine(field, *, guard):
        asked.append(field.rms)
        return lambda tiles, observed: tiles

    tiles = TileSet(~seen, seen, None, prior, engine, config, share=False, noise_variance=rms**2)
    assert len(set(asked)) == len(asked) > 2
    assert asked == sorted(asked)
    lowest, highest = (
        tile_field(known(nside, noise=noise), config, share=False).rms
        for noise in (rms[seen].min(), rms[seen].max())
    )
    assert lowest < asked[0] < asked[-1] < highest
    levels = tiles._levels
    assert levels.min() == 0
    assert levels.max() == len(asked) - 1
    for number, layout in enumerate(np.array(tiles._layouts, object)[tiles._useful]):
        centre = hp.ang2vec(layout.lon_deg, layout.lat_deg, lonlat=True)
        near = hp.query_disc(nside, centre, math.radians(15))
        local = np.median(rms[near][seen[near]])
        field = tile_field(known(nside, noise=local), config, share=False).rms
        assert asked[levels[number]] == pytest.approx(field, rel=0.25)


def test_white_noise_as_a_map_gives_the_fill_of_white_noise():
    prior, seen = known(32), seen_of(32)
    values = sky_of(prior, 10.0)
    words = {"method": "gaussian", "prior": prior, "threads": 1, "tolerance": 1e-4}
    flat = Inpainter(values, seen, noise_rms=np.full(values.size, 10.0), **words).mean()
    np.testing.assert_allclose(
        flat, Inpainter(values, seen, **words).mean(), atol=1e-3 * values.std()
    )


@pytest.mark.parametrize("seed", range(3))
def test_uniform_noise_is_never_taken_for_noise_that_varies(seed):
    """At three beams, from smooth to not resolved."""
    seen = seen_of(64)
    for pixels in (1.3, 2.5, 6.0):
        prior = known(64, pixels, noise=20.0)
        sky = draw_signal(prior, seed=seed, lmax=6 * 64, threads=1)
        sky += 20 * np.random.default_rng([seed, 2]).standard_normal(sky.size)
        found = estimate_noise(sky, seen, prior, threads=1)
        assert not found.used
        assert np.ptp(found.rms) == 0.0
        assert found.scatter == pytest.approx(found.uniform, rel=0.3)
        assert found.rms[0] == pytest.approx(20, rel=0.05)


def test_the_noise_that_varies_is_found():
    prior, rms, seen = known(128, noise=20.0), varying(128, 20), seen_of(128)
    found = estimate_noise(sky_of(prior, rms), seen, prior, threads=1)
    assert found.used
    assert found.scatter > 2 * found.uniform
    ratio = (found.rms / rms)[seen] ** 2
    assert abs(ratio.mean() - 1) < 0.05
    assert ratio.std() < 0.25
    assert np.all(found.rms > 0)


def test_a_given_noise_level_stays_the_mean():
    prior, rms, seen = known(64, noise=20.0), varying(64, 20), seen_of(64)
    values = sky_of(prior, rms)
    level = 1.5 * prior.noise_uk_arcmin
    found = estimate_noise(values, seen, prior, level=level, threads=1)
    per_pixel = np.mean(found.rms[seen] ** 2) * 4 * math.pi / values.size
    assert math.sqrt(per_pixel) / ARCMIN == pytest.approx(level)


def test_one_bright_source_is_no_noise():
    prior, seen = known(128, noise=20.0), seen_of(128)
    values = sky_of(prior, 20.0)
    clean = estimate_noise(values, seen, prior, threads=1)
    values[np.flatnonzero(seen)[5000:5004]] += 1e4
    found = estimate_noise(values, seen, prior, threads=1)
    assert not found.used
    assert found.rms[0] == pytest.approx(clean.rms[0], rel=1e-3)


def test_noise_below_the_signal_is_not_made_up():
    prior, seen = known(32, 1.0, noise=0.01), seen_of(32)
    values = draw_signal(prior, seed=4, lmax=6 * 32, threads=1)
    found = estimate_noise(values, seen, prior, threads=1)
    assert not found.used
    assert "taken as uniform" in str(found)


def test_no_pixel_may_have_all_its_neighbours():
    seen = np.arange(12 * 16**2) % 2 == 0
    with pytest.raises(ValueError, match="eight observed neighbours"):
        estimate_noise(np.ones(seen.size), seen, known(16))


def test_auto_uses_the_estimate_and_says_so():
    prior, rms, seen = known(64, noise=20.0), varying(64, 20), seen_of(64)
    values = sky_of(prior, rms)
    words = {"method": "gaussian", "prior": prior, "threads": 1}
    fitter = Inpainter(values, seen, noise_rms="auto", **words)
    assert fitter.noise.used
    again = Inpainter(values, seen, noise_rms=fitter.noise, **words)
    np.testing.assert_array_equal(fitter.mean(), again.mean())
    by_map = Inpainter(values, seen, noise_rms=fitter.noise.rms, **words)
    np.testing.assert_array_equal(fitter.mean(), by_map.mean())
    assert by_map.noise is None
    white = sky_of(prior, 20.0)
    other = fitter.with_map(white)
    assert not other.noise.used
    np.testing.assert_array_equal(other.mean(), Inpainter(white, seen, **words).mean())


def test_a_validation_estimates_the_noise_of_the_whole_map():
    prior, rms, seen = known(64, noise=20.0), varying(64, 20), seen_of(64)
    values = sky_of(prior, rms)
    judged = skyfill.fidelity.validate(
        values, seen, realizations=2, noise_rms="auto", prior=prior, threads=1
    )
    whole = Inpainter(values, seen, noise_rms="auto", prior=prior, threads=1).noise
    np.testing.assert_allclose(judged.filler.noise.rms, whole.rms, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise_rms": np.ones(48)}, "noise map has Nside 2, the map 16"),
        ({"noise_rms": -np.ones(3072)}, "positive number in every observed pixel"),
        ({"noise_rms": np.full(3072, np.nan)}, "positive number in every observed pixel"),
        ({"noise_rms": "none"}, "must be a map or 'auto', got 'none'"),
        ({"method": "diffuse"}, "diffuse without polish does not use the noise"),
        ({"method": "cosmovae"}, "cosmovae does not accept a noise map"),
    ],
)
@pytest.mark.parametrize("method", ["vae", "gaussian"])
def test_what_is_no_noise_map_is_refused(method, change, message):
    prior, seen = known(16), seen_of(16)
    given = {"method": method, "prior": prior, "noise_rms": np.ones(3072)} | change
    with pytest.raises(ValueError, match=message) as caught:
        Inpainter(sky_of(prior, 1.0), seen, **given)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gaussian", "vae"])
def test_z_scores_have_width_one_where_noise_is_low_and_where_it_is_high(method):
    """Nside 128, two skies, noise that varies by three, estimated: every tertile within 6%."""
    nside = 128
    prior = Prior(nside, lcdm(), fwhm=60 * ARCMIN, noise_uk_arcmin=200.0)
    pixel = math.sqrt(4 * math.pi / 12) / nside
    rms = varying(nside, 200 * ARCMIN / pixel)
    seen = skyfill.simulate_mask(nside, kind="both", seed=11, n_holes=250)
    squares = np.zeros(3)
    for seed in range(4):
        values = draw_signal(prior, seed=seed, lmax=6 * nside, threads=1)
        values += rms * np.random.default_rng([seed, 1]).standard_normal(values.size)
        fitter = Inpainter(
            values, seen, method=method, prior=prior, noise_rms="auto", seed=seed, threads=1
        )
        assert fitter.noise.used
        drawn = np.array([fitter.realization(index) for index in range(12)])
        z = (values[fitter.holes] - drawn.mean(axis=0)) / (drawn.std(axis=0, ddof=1))
        z *= math.sqrt(1 / (1 + 1 / 12) * 9 / 11)  # the mean's error; z is Student's with 11
        tertile = np.searchsorted(np.quantile(rms, [1 / 3, 2 / 3]), rms[fitter.holes])
        squares += [np.mean(z[tertile == k] ** 2) / 4 for k in range(3)]
    assert np.all(np.abs(np.sqrt(squares) - 1) < 0.06), np.sqrt(squares)


def test_an_estimate_reads_well():
    found = NoiseEstimate(np.ones(12), 0.6, 0.18, used=True, lost=False, width=math.radians(5))
    assert str(found) == (
        "variance of the noise scatters by 60% over the sky, 18% expected of uniform noise: noise"
        " map used"
    )
    assert found.as_dict() == {
        "scatter": 0.6,
        "uniform": 0.18,
        "used": True,
        "width_deg": pytest.approx(5.0),
    }
