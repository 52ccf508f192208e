"""Several skies, several realizations each: are the error bars right?"""

import math

import numpy as np
import pytest

import skyfill
from skyfill.fidelity import calibrate
from skyfill.prior import ARCMIN, Prior, draw, lcdm

NSIDE = 16
PRIOR = Prior(NSIDE, lcdm(), fwhm=600 * ARCMIN, noise_uk_arcmin=600)


@pytest.mark.parametrize("method", ["vae", "gaussian"])
def test_skies_are_as_often_within_the_bands_as_they_should(method):
    """12 skies of 6 realizations; the tolerance is four standard errors, counted sky by sky."""
    observed = skyfill.simulate_mask(NSIDE, seed=3, n_holes=30, radii=(0.05, 0.12))
    rows = []
    for index in range(12):
        truth = draw(PRIOR, seed=31, index=index, aliased=True)
        filler = skyfill.Inpainter(
            np.where(observed, truth, np.nan),
            observed,
            method=method,
            prior=PRIOR,
            seed=index,
            threads=1,
        )
        fills = (filler.realization(k) for k in range(6))
        found = calibrate(truth[filler.holes], fills).figures
        rows.append([found[name].value for name in ("coverage_68", "coverage_95")])
        rows[-1].append(found["z_width"].value ** 2)
    mean, error = np.mean(rows, axis=0), np.std(rows, axis=0, ddof=1) / math.sqrt(len(rows))
    assert np.all(np.abs(mean - [0.68, 0.95, 1.0]) < 4 * error)
    assert np.all(error < [0.02, 0.01, 0.06])  # tight enough to fail
