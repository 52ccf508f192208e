"""The fit of the noise and the calibration of Q and U."""

import math
from dataclasses import replace

import numpy as np
import pytest

import skyfill
from skyfill.prior import (
    LCDM,
    PolarizedPrior,
    Prior,
    assess_polarization,
    draw_polarization,
    fit_polarization,
    lcdm,
)

NSIDE = 16
NPIX = 12 * NSIDE**2
T = Prior(NSIDE, lcdm(), fwhm=math.radians(9), noise_uk_arcmin=60.0, theory=LCDM)
OBSERVED = skyfill.simulate_mask(NSIDE, kind="band", seed=1, half_width=0.3)


def sky(prior, index=0):
    """Draw Q and U with their noise."""
    signal, white = draw_polarization(prior, seed=5, index=index)
    return signal + white * math.sqrt(prior.white_cl[1] * NPIX / (4 * math.pi))


@pytest.mark.parametrize(("noise", "error"), [(3.0, 0.08), (30.0, 0.013), (900.0, 0.012)])
def test_the_noise_is_found_from_far_below_the_signal_to_far_above(noise, error):
    """Means of 8 skies within four standard errors; errors of one sky are those of 24 skies."""
    prior = PolarizedPrior.of(T, noise)
    found = [fit_polarization(sky(prior, i), OBSERVED, PolarizedPrior.of(T)) for i in range(8)]
    ratio = np.array([each.noise_pol / noise for each in found])
    assert ratio.mean() == pytest.approx(1, abs=4 * error / math.sqrt(8))
    assert ratio.std() < 2 * error
    power = np.array([each.calibration_of_pol for each in found])
    assert power.mean() == pytest.approx(1, abs=0.03)
    assert all(each.origin_noise_pol == "fitted" for each in found)


def test_the_misfit_of_the_right_prior_is_good_and_of_a_wrong_one_is_not():
    prior = PolarizedPrior.of(T, 30.0)
    drawn = sky(prior)
    _, right = assess_polarization(drawn, OBSERVED, prior)
    assert {name: each.verdict for name, each in right.items()} == {"EE": "good", "BB": "good"}
    _, loud = assess_polarization(drawn, OBSERVED, replace(prior, noise_pol_uk_arcmin=60.0))
    assert all(each.verdict == "bad" for each in loud.values())
    quiet = PolarizedPrior.of(T, 3.0)
    other = replace(quiet, ee=9 * quiet.ee, te=0 * quiet.te)
    fitted = fit_polarization(sky(quiet), OBSERVED, other)
    assert fitted.quality_pol["EE"].verdict == "bad"


def test_what_leaks_from_e_to_b_is_expected():
    """Pseudo-BB of a sky without B-modes and noise is what the coupling says, 12 skies."""
    spectra = {name.lower(): lcdm(None, name) for name in ("EE", "TE")}
    prior = PolarizedPrior(T, bb=np.zeros(1), noise_pol_uk_arcmin=0.0, **spectra)
    skies = [draw_polarization(prior, seed=9, index=i)[0] for i in range(12)]
    found = [assess_polarization(each, OBSERVED, prior)[0] for each in skies]
    mean = np.mean([each.data[1] for each in found], axis=0)
    expected = found[0].expected(prior)[1]
    white = found[0].windowed.white * prior.aliased_pol_cl
    low = slice(0, 20)
    assert np.all(expected[low] > 10 * white)
    assert mean[low].sum() / (expected[low] - white).sum() == pytest.approx(1, abs=0.15)


def test_bb_is_never_fitted():
    prior = PolarizedPrior.of(T, 30.0)
    found = fit_polarization(sky(prior), OBSERVED, PolarizedPrior.of(T))
    np.testing.assert_array_equal(found.bb, prior.bb)
    np.testing.assert_array_equal(found.ee, prior.ee)


def test_unobserved_pixels_are_not_read():
    drawn = sky(PolarizedPrior.of(T, 30.0))
    holed = np.where(OBSERVED, drawn, np.nan)
    one, other = (fit_polarization(x, OBSERVED, PolarizedPrior.of(T)) for x in (drawn, holed))
    assert one.noise_pol == other.noise_pol


def test_too_little_sky_is_not_fitted():
    few = np.zeros(NPIX, bool)
    few[:40] = True
    assert fit_polarization(sky(PolarizedPrior.of(T, 30.0)), few, PolarizedPrior.of(T)) is None


def test_wrong_shapes_are_refused():
    prior = PolarizedPrior.of(T)
    with pytest.raises(ValueError, match="Q and U"):
        fit_polarization(np.zeros(NPIX), OBSERVED, prior)
    with pytest.raises(ValueError, match="Nside of the prior, 16"):
        fit_polarization(np.zeros((2, 768)), np.ones(768, bool), prior)
