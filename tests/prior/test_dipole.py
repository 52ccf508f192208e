"""Monopole and dipole of the observed sky, against healpy."""

import healpy as hp
import numpy as np
import pytest

from skyfill.prior.dipole import Dipole
from skyfill.prior.simulate import simulate_mask

NSIDE = 32
PIXELS = np.array(hp.pix2vec(NSIDE, np.arange(12 * NSIDE**2)))


@pytest.fixture(scope="module", params=["band", "holes", "both"])
def observed(request):
    return simulate_mask(NSIDE, kind=request.param, seed=1, half_width=0.3, n_holes=10)


def template(monopole, dipole):
    return monopole + dipole @ PIXELS


def test_the_fit_is_healpys(observed):
    sky = np.random.default_rng(1).normal(50, 100, observed.size) + template(0, [3, -40, 20])
    monopole, dipole = hp.fit_dipole(np.where(observed, sky, hp.UNSEEN))
    found = Dipole(observed, threads=1).of(np.where(observed, sky, np.nan))
    np.testing.assert_allclose(found, template(monopole, dipole), atol=1e-9)


def test_a_dipole_is_its_own_fit(observed):
    sky = template(2.7e6, [3000, -1500, 800])
    np.testing.assert_allclose(Dipole(observed, threads=1).of(sky), sky, rtol=1e-12)


def test_a_sky_too_small_to_tell_gets_what_fits():
    """Three pixels do not fix four numbers; what is fitted to them is theirs all the same."""
    seen = np.zeros(PIXELS.shape[1], dtype=bool)
    seen[[7, 900, 5000]] = True
    found = Dipole(seen, threads=1).of(np.where(seen, 100.0, np.nan))
    np.testing.assert_allclose(found[seen], 100.0, rtol=1e-6)


def test_at_pixels_it_is_what_the_transform_gives(observed):
    rng = np.random.default_rng(4)
    dipole = Dipole(observed, threads=1)
    values = rng.standard_normal(observed.size) + 3 + PIXELS.T @ [1.0, -2.0, 0.5]
    pixels = rng.integers(observed.size, size=50)
    found = dipole.at(dipole.alm(values), pixels)
    np.testing.assert_allclose(found, dipole.of(values)[pixels], atol=1e-12)
