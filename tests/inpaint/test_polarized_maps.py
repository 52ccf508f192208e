"""`PolarizedInpainter.with_map`: other maps with the same masks, bit for bit."""

import math
import warnings

import numpy as np
import pytest

import skyfill
from skyfill.inpaint import PolarizedInpainter
from skyfill.inpaint.polarobserved import power_over_prior
from skyfill.prior import (
    LCDM,
    Given,
    PolarizedPrior,
    Prior,
    UnlikelyPriorError,
    draw,
    draw_polarization,
)

NSIDE = 8
NPIX = 12 * NSIDE**2
PRIOR = PolarizedPrior.of(Prior(NSIDE, skyfill.lcdm(), math.radians(20), 1200.0, theory=LCDM), 120)
SEEN = skyfill.simulate_mask(NSIDE, seed=1, half_width=0.2, n_holes=2)
SEEN_P = skyfill.simulate_mask(NSIDE, seed=2, half_width=0.3, n_holes=2)


def sky(seed):
    """A sky of the prior with its noise, and a monopole."""
    p, white = draw_polarization(PRIOR, seed=seed)
    p += white * math.sqrt(PRIOR.white_cl[1] * NPIX / (4 * math.pi))
    return np.array([draw(PRIOR.temperature, seed=seed, aliased=True) + 30, *p])


def inpainter(values, seed, **options):
    given = {"prior": PRIOR} | options
    return PolarizedInpainter(values, SEEN, observed_pol=SEEN_P, seed=seed, threads=1, **given)


def same(one, other):
    """The same but for rounding: ducc0's transforms of small maps round differently at times."""
    return all(np.allclose(a, b, rtol=0, atol=1e-6) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("way", ["joint", "alternate"])
@pytest.mark.parametrize("components", [slice(0, 3), slice(1, 3)], ids=["TQU", "QU"])
def test_a_further_map_is_filled_as_by_an_inpainter_of_its_own(components, way):
    maps = [sky(seed)[components] for seed in (1, 2)]
    first = inpainter(maps[0], 5, way=way)
    before = first.realization(0)
    other = first.with_map(maps[1], seed=6)
    assert other._solver is first._solver  # what is prepared serves both
    alone = inpainter(maps[1], 6, way=way)
    assert same(other.realization(1), alone.realization(1))
    assert same(other.mean(), alone.mean())
    assert (other.power_pol, other.plausibility) == (alone.power_pol, alone.plausibility)
    assert same(first.realization(0), before)  # the first has not changed


def test_diffuse_takes_further_maps():
    first = PolarizedInpainter(sky(1), SEEN, observed_pol=SEEN_P, method="diffuse", threads=1)
    alone = PolarizedInpainter(sky(2), SEEN, observed_pol=SEEN_P, method="diffuse", threads=1)
    assert same(first.with_map(sky(2)).mean(), alone.mean())


def test_a_map_that_misses_other_pixels_has_holes_of_its_own():
    other = sky(2)
    other[2, np.flatnonzero(SEEN_P)[3]] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = inpainter(sky(1), 5).with_map(other, seed=6)
        alone = inpainter(other, 6)
    assert found.holes[1].sum() == 1 + (~SEEN_P).sum()
    assert same(found.mean(), alone.mean())


def test_a_prior_fitted_to_one_map_does_not_serve_another():
    given = Given(fwhm=PRIOR.temperature.fwhm, noise_uk_arcmin=1200.0)
    first = inpainter(sky(1), 5, prior=given)
    other = first.with_map(sky(2), seed=6)
    assert other._solver is not first._solver
    alone = inpainter(sky(2), 6, prior=given)
    assert other.prior.noise_pol == alone.prior.noise_pol
    assert same(other.mean(), alone.mean())


def test_every_map_is_judged():
    first = inpainter(sky(1), 5)
    with pytest.raises(UnlikelyPriorError, match="Q and U have"):
        first.with_map(sky(2) * np.array([[1], [3], [3]]))
    with pytest.raises(UnlikelyPriorError, match="prior of T"):
        first.with_map(sky(2) * np.array([[3], [1], [1]]))
    with pytest.raises(ValueError, match="Nside"):
        first.with_map(np.zeros((3, 48)))


def test_a_prior_without_power_and_noise_is_refused_not_divided_by():
    of_t = Prior(NSIDE, np.ones(30), fwhm=0.1, noise_uk_arcmin=0.0)
    none = PolarizedPrior(of_t, np.zeros(30), np.zeros(30), np.zeros(30), 0.0)
    ratio, error = power_over_prior(np.ones((2, NPIX)), np.ones(NPIX, bool), none, None)
    assert (ratio, error) == (np.inf, 0.0)


def test_warnings_of_a_prior_point_to_the_line_that_made_the_inpainter():
    with pytest.warns(UserWarning, match=r"prior of|times the power") as told:
        inpainter(sky(1) * np.array([[1], [3], [3]]), 5, trust_prior=True)
    about_prior = [each for each in told if "prior" in str(each.message)]
    assert about_prior
    assert {each.filename for each in about_prior} == {__file__}
