"""Fills of T, Q and U with noise that differs from pixel to pixel."""

import math

import healpy as hp
import numpy as np
import pytest

import skyfill
from skyfill.inpaint import PolarizedInpainter
from skyfill.inpaint.polarnoise import coloured, noise_of_fields
from skyfill.prior import LCDM, PolarizedPrior, Prior, draw, draw_polarization

NSIDE = 16
NPIX = 12 * NSIDE**2
THETA = hp.pix2ang(NSIDE, np.arange(NPIX))[0]
SEEN = np.abs(THETA - math.pi / 2) > 0.2
#: II, QQ, QU and UU of a pixel, µK².
LEVELS = np.array([7.0, 0.06, 0.02, 0.09])[:, None]


def problem():
    """A prior, a sky of it, and its noise, which varies by nine over the sky."""
    t_prior = Prior(NSIDE, skyfill.lcdm(), math.radians(10), 600.0, theory=LCDM)
    prior = PolarizedPrior.of(t_prior, 60.0)
    noise = (1 + 2 * np.cos(THETA) ** 2) ** 2
    noise = LEVELS * noise / noise[SEEN].mean()
    t, (q, u) = draw(t_prior, seed=1), draw_polarization(prior, seed=1)[0]
    white = np.random.default_rng(1).standard_normal((3, NPIX))
    t = t + np.sqrt(noise[0]) * white[0]
    p = np.array([q, u]) + coloured(white[1:], noise[1:])
    return prior, np.vstack([t[None], p]), noise


def filled(way="joint", *, noise, index=None, **options):
    prior, sky, _ = problem()
    fitter = PolarizedInpainter(
        sky, SEEN, prior=prior, noise_variance=noise, way=way, threads=1, **options
    )
    return fitter.mean() if index is None else fitter.realization(index)


def test_coloured_noise_has_the_covariance_of_its_pixel():
    qq, qu, uu = 2.0, -0.9, 0.5
    white = np.random.default_rng(1).standard_normal((2, 400_000))
    found = np.cov(coloured(white, np.array([[qq], [qu], [uu]]) * np.ones(400_000)))
    np.testing.assert_allclose(found, [[qq, qu], [qu, uu]], atol=0.02)


def test_both_ways_fill_alike_and_otherwise_than_white_noise():
    _, _, noise = problem()
    joint = filled(noise=noise, tolerance=1e-5)
    turns = filled("alternate", noise=noise, tolerance=1e-5)
    white = filled(noise=None, tolerance=1e-5)
    for mine, theirs, other in zip(joint, turns, white, strict=True):
        size = np.std(mine)
        np.testing.assert_allclose(mine, theirs, atol=1e-3 * size)
        assert np.std(mine - other) > 3e-3 * size


def test_uniform_noise_of_each_pixel_is_white_noise():
    prior, _, _ = problem()
    area = 4 * math.pi / NPIX
    level = prior.temperature.noise_cl / area, prior.noise_pol_cl / area
    uniform = np.array([level[0], level[1], 0.0, level[1]])[:, None] * np.ones(NPIX)
    for index in (None, 3):
        pairs = zip(
            filled(noise=uniform, tolerance=1e-6, index=index),
            filled(noise=None, tolerance=1e-6, index=index),
            strict=True,
        )
        for mine, theirs in pairs:
            np.testing.assert_allclose(mine, theirs, atol=1e-4 * np.std(theirs))


def test_missing_noise_in_holes_is_the_median():
    _, _, noise = problem()
    seen = [SEEN, SEEN]
    holed = np.where(SEEN, noise, np.nan)
    ii, polar = noise_of_fields(holed, seen)
    assert np.all(ii[~SEEN] == np.median(noise[0, SEEN]))
    np.testing.assert_array_equal(polar[:, SEEN], noise[1:, SEEN])
    assert noise_of_fields(noise[1:], seen)[0] is None
    assert noise_of_fields(noise[0], seen)[1] is None
    assert noise_of_fields(noise[0], seen[:1])[0].shape == (3, NPIX)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda noise: noise[:2], r"noise_variance must be \(4, 3072\)"),
        (lambda noise: noise * 0, "noise variance of T is 0 in"),
        (lambda noise: np.where(SEEN, np.nan, noise), "must be finite where observed"),
        (lambda noise: noise * np.array([[1], [1], [9], [1]]), "QU² exceeds QQ UU"),
    ],
)
def test_noise_that_does_not_fit_is_refused(change, words):
    _, _, noise = problem()
    with pytest.raises(ValueError, match=words):
        noise_of_fields(change(noise), [SEEN, SEEN])
