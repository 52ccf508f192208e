"""The mean fill as a linear map."""

import numpy as np
import pytest

import skyfill
from skyfill.inpaint import ConvergenceError, ConvergenceWarning, LinearFill
from skyfill.inpaint.tiled import TileMethod
from skyfill.vae import ModelCard

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
    with pytest.raises(ValueError, match="fills every unobserved pixel; drop `holes`"):
        LinearFill(OBSERVED, PRIOR, method="gaussian", holes="enclosed")


def test_a_fill_that_has_not_converged_is_told_once_or_refused():
    """The response of a fill takes hundreds of fills, which say the same."""

    class Stuck:
        trouble = "the polish"

        def mean(self, values, *, overwrite=False):
            return np.zeros(int((~OBSERVED).sum()))

    fill = LinearFill(OBSERVED, None, method="diffuse", accept=True, threads=1)
    fill._fill = Stuck()
    with pytest.warns(ConvergenceWarning, match="has not converged: the polish") as told:
        fill(sky_of(0))
    assert len(told) == 1
    fill(sky_of(0))  # warnings are errors here
    assert told[0].filename == __file__
    assert fill.unconverged == 2
    fill = LinearFill(OBSERVED, None, method="diffuse", threads=1)
    fill._fill = Stuck()
    with pytest.raises(ConvergenceError, match="the polish; to accept it"):
        fill(sky_of(0))


def test_numbers_that_have_overflowed_are_no_fill():
    class Broken:
        trouble = None

        def mean(self, values, *, overwrite=False):
            return np.full(int((~OBSERVED).sum()), np.inf)

    fill = LinearFill(OBSERVED, None, method="diffuse", threads=1)
    fill._fill = Broken()
    with pytest.raises(ConvergenceError, match="its numbers have overflowed"):
        fill(sky_of(0))


def test_a_network_that_is_not_linear_is_refused(monkeypatch):
    card = ModelCard("bent", "", {"architecture": {"linear": False}}, {})
    monkeypatch.setattr(TileMethod, "prepare", lambda *_: (None, card))
    with pytest.raises(ValueError, match="bent is not linear in the data; pass other `weights`"):
        LinearFill(OBSERVED, PRIOR, method="vae", network=True)
