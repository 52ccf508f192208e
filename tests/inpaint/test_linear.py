"""The mean fill as a linear map."""

import numpy as np
import pytest

import skyfill
from skyfill.inpaint import LinearFill

PRIOR = skyfill.Prior(16, skyfill.lcdm(), fwhm=0.1, noise_uk_arcmin=300.0)
OBSERVED = skyfill.simulate_mask(16, kind="both", seed=1, half_width=0.2, n_holes=5)
METHODS = [
    {"method": "gaussian"},
    {"method": "vae"},
    {"method": "diffuse"},
    {"method": "diffuse", "polish": 4, "accept": True},
    {"method": "gaussian", "dipole": "fit"},
]


def sky_of(index):
    return 500.0 + skyfill.prior.draw(PRIOR, seed=3, index=index)


@pytest.mark.parametrize("options", METHODS, ids=str)
def test_it_is_the_mean_of_an_inpainter(options):
    sky = sky_of(0)
    filler = skyfill.Inpainter(sky, OBSERVED, prior=PRIOR, holes="all", threads=1, **options)
    filled = LinearFill(OBSERVED, PRIOR, threads=1, **options)(sky)
    np.testing.assert_array_equal(filled, filler.whole(filler.mean()))


@pytest.mark.parametrize("options", METHODS, ids=str)
def test_it_is_linear(options):
    fill = LinearFill(OBSERVED, PRIOR, threads=1, **options)
    one, two = sky_of(0), sky_of(1)
    apart = fill(2 * one - two) - (2 * fill(one) - fill(two))
    # Conjugate gradients are linear only as far as they have converged.
    assert np.sqrt(np.mean(apart**2)) < (0.3 if "polish" in options else 0.02) * np.std(one)


def test_what_is_not_linear_is_refused_by_name():
    with pytest.raises(ValueError, match="the fill of cosmovae is not linear"):
        LinearFill(OBSERVED, PRIOR, method="cosmovae")
    with pytest.raises(ValueError, match="gaussian needs a prior"):
        LinearFill(OBSERVED, None, method="gaussian")
