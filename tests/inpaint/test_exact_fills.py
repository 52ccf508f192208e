"""The exact method in the pipeline: realizations, noise, dipole, polish, spread."""

import math

import healpy as hp
import numpy as np
import pytest
from numpy.polynomial.legendre import legval

import skyfill
from skyfill.inpaint import Inpainter
from skyfill.prior import Prior, draw, lcdm

NSIDE = 16
NPIX = 12 * NSIDE**2
KNOWN = Prior(NSIDE, lcdm(), fwhm=math.radians(12), noise_uk_arcmin=4000.0)
NOISE = KNOWN.noise_cl * NPIX / (4 * np.pi)


@pytest.fixture(scope="module")
def observed():
    theta, _ = hp.pix2ang(NSIDE, np.arange(NPIX))
    seen = np.abs(theta - np.pi / 2) > 0.06
    for lon, lat, radius in ((20, 40, 12), (120, -50, 8), (250, 70, 5), (0, -90, 4)):
        vector = hp.ang2vec(lon, lat, lonlat=True)
        seen[hp.query_disc(NSIDE, vector, math.radians(radius))] = False
    return seen


@pytest.fixture(scope="module")
def values():
    return draw(KNOWN, seed=11, threads=1)


def exact(values, observed, **options):
    given = {"method": "gaussian", "prior": KNOWN, "threads": 1, "tolerance": 1e-3}
    given["holes"] = "all"
    return Inpainter(values, observed, **given | options)


def posterior(values, observed, *, marginal=0.0, noise=NOISE):
    """Mean and covariance of the holes by dense algebra."""
    directions = np.transpose(hp.pix2vec(NSIDE, np.arange(NPIX)))
    cosine = np.clip(directions @ directions.T, -1, 1)
    cl = KNOWN.signal_cl()
    cl[:2] += marginal
    covariance = legval(cosine, (2 * np.arange(cl.size) + 1) / (4 * np.pi) * cl)
    covariance += np.diag(np.broadcast_to(noise, NPIX))
    among = covariance[np.ix_(observed, observed)]
    cross = covariance[np.ix_(observed, ~observed)]
    gain = np.linalg.solve(among, cross).T
    return gain @ values[observed], covariance[np.ix_(~observed, ~observed)] - gain @ cross


@pytest.mark.parametrize("fill", ["data", "signal"])
def test_realizations_are_draws_of_the_posterior(values, observed, fill):
    """Whitened by the dense posterior, 200 of them scatter by one, to a per cent."""
    mean, covariance = posterior(values, observed, marginal=1e7)
    if fill == "signal":
        covariance = covariance - NOISE * np.eye(len(covariance))
    fitter = exact(values, observed, dipole="marginalise", fill=fill)
    np.testing.assert_allclose(fitter.mean(), mean, atol=0.02 * values.std())
    drawn = np.array([fitter.realization(index) for index in range(200)])
    eigen, vectors = np.linalg.eigh(covariance)
    kept = eigen > 1e-3 * NOISE  # without noise, some directions are known exactly
    white = (drawn - mean) @ vectors[:, kept] / np.sqrt(eigen[kept])
    size = white.size
    assert abs(np.mean(white**2) - 1) < max(0.01, 4 * math.sqrt(2 / size))
    assert np.abs(white.mean(axis=0)).max() < 5 / math.sqrt(200)


def test_the_noise_in_the_holes_may_vary(values, observed):
    """Realizations have, pixel by pixel, the noise that the map of it says."""
    theta, _ = hp.pix2ang(NSIDE, np.arange(NPIX))
    rms = math.sqrt(NOISE) * (1 + 0.6 * np.cos(theta))
    noisy = draw(Prior(NSIDE, lcdm(), fwhm=KNOWN.fwhm), seed=1, threads=1)
    noisy += rms * np.random.default_rng(2).standard_normal(NPIX)
    given = np.where(observed, rms, np.nan)
    given[~observed] = rms[~observed]
    fitter = exact(noisy, observed, noise_rms=given, dipole="marginalise")
    mean, covariance = posterior(noisy, observed, marginal=1e7, noise=rms**2)
    np.testing.assert_allclose(fitter.mean(), mean, atol=0.02 * noisy.std())
    drawn = np.array([fitter.realization(index) for index in range(100)])
    white = np.linalg.solve(np.linalg.cholesky(covariance), (drawn - mean).T)
    assert abs(np.mean(white**2) - 1) < 4 * math.sqrt(2 / white.size)


def test_the_spread_in_small_holes_needs_no_realizations(values, observed):
    _, covariance = posterior(values, observed, marginal=1e7)
    for fill, noise in (("data", 0.0), ("signal", NOISE)):
        std = exact(values, observed, fill=fill).std()
        expected = np.sqrt(np.diag(covariance) - noise)
        np.testing.assert_allclose(std, expected, rtol=0.03)
    diffuse = Inpainter(values, observed, method="diffuse")
    assert np.all(np.isnan(diffuse.std()))


def test_the_certificate_tells_of_the_last_fill(values, observed):
    fitter = exact(values, observed)
    assert fitter.certificate is None
    fitter.mean()
    assert fitter.certificate.converged
    assert fitter.card is None  # no weights are read
    assert Inpainter(values, observed, method="diffuse").certificate is None


def test_polish_comes_nearer(values, observed):
    best = exact(values, observed, tolerance=1e-5).mean()
    away = [
        np.std(exact(values, observed, method="diffuse", polish=n).mean() - best)
        for n in (0, 6, 60)
    ]
    slack = 1e-6 * values.std()  # blocks alone are solved at once
    assert away[2] - slack <= away[1] <= away[0] + slack
    assert away[2] < 0.01 * values.std()


def test_a_polished_method_has_no_certificate(values, observed):
    fitter = exact(values, observed, method="diffuse", polish=2)
    fitter.mean()
    assert fitter.certificate is None
    with pytest.raises(ValueError, match="diffuse has no realizations"):
        fitter.realization()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fill": "both"}, "fill 'both' is unknown; choose one of data, signal"),
        ({"dipole": "keep"}, "dipole 'keep' is unknown; choose one of marginalise, fit"),
        ({"noise_rms": np.ones(48)}, "noise map has Nside 2, the map 16"),
        ({"noise_rms": np.zeros(NPIX)}, "positive number in every observed pixel"),
    ],
)
def test_wrong_input_is_refused(values, observed, change, message):
    with pytest.raises(ValueError, match=message) as caught:
        exact(values, observed, **change)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:.* of the sky is filled:UserWarning")
@pytest.mark.parametrize("nside", [1, 2, 4, 8])
@pytest.mark.parametrize("holes", ["one", "all but one"])
def test_the_smallest_maps(nside, holes):
    prior = Prior(nside, lcdm(), fwhm=2.0 / nside, noise_uk_arcmin=5000.0)
    sky = draw(prior, seed=1, threads=1)
    seen = (np.arange(sky.size) == 5) == (holes == "all but one")
    fitter = Inpainter(sky, seen, method="gaussian", prior=prior, holes="all", threads=1)
    for fill in (fitter.mean(), fitter.realization()):
        assert np.all(np.isfinite(fill))
    assert fitter.certificate.converged


def test_it_says_where_it_does_not_converge(values, observed):
    fitter = exact(values, observed, tolerance=1e-9)
    fitter._fill.solver.mean = lambda *a, _f=fitter._fill.solver.mean, **k: _f(
        *a, **k, max_iterations=3
    )
    with pytest.raises(ValueError, match=r"has not converged.*`tolerance`"):
        fitter.mean()


@pytest.mark.filterwarnings("ignore:.*of the sky is filled")
@pytest.mark.parametrize("nside", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("seed", range(6))
def test_small_spheres(nside, seed):
    prior = Prior(nside, lcdm(), fwhm=math.radians(10), noise_uk_arcmin=300.0)
    observed = np.random.default_rng(seed).random(12 * nside**2) < 0.6
    theta, _ = hp.pix2ang(nside, np.arange(observed.size))
    observed &= (np.abs(theta - np.pi / 2) > 0.4) | (seed % 2 == 0)
    observed[0], observed[-1] = True, False
    values = draw(prior, seed=seed, aliased=True, threads=1)
    fitter = exact(values, observed, prior=prior)
    assert np.all(np.isfinite(fitter.mean()))
    assert fitter.certificate.converged


def test_the_noise_of_a_map_is_not_fitted():
    """The white noise of the prior is then the map's mean, for a fill and for its validation."""
    nside, white = 32, 2000.0
    truth = Prior(nside, lcdm(), fwhm=math.radians(4), noise_uk_arcmin=white)
    sky = draw(truth, seed=2, threads=1)
    seen = np.arange(sky.size) % 12 != 3
    rms = np.full(sky.size, math.sqrt(truth.noise_cl * sky.size / (4 * math.pi)))
    words = {"method": "gaussian", "noise_rms": rms, "threads": 1}
    found = Inpainter(sky, seen, **words).prior
    assert found.origin("noise_uk_arcmin") == "given"
    assert found.noise_uk_arcmin == pytest.approx(white)
    assert found.fwhm == pytest.approx(truth.fwhm, rel=0.15)
    again = Inpainter(sky, seen, prior=found, **words)
    np.testing.assert_array_equal(again.mean(), Inpainter(sky, seen, **words).mean())
    judged = skyfill.fidelity.validate(sky, seen, realizations=2, share=0.01, **words)
    assert judged.filler.prior.noise_uk_arcmin == found.noise_uk_arcmin
    assert judged.filler.prior.fwhm == pytest.approx(found.fwhm, rel=1e-6)
