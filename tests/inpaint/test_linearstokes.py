"""The mean fill of T, Q and U as a linear map."""

import math

import numpy as np
import pytest
from skyfill.simulate import simulate_stokes

import skyfill
from skyfill.inpaint import FillOptions, LinearStokesFill, PolarizedInpainter
from skyfill.prior import LCDM, PolarizedPrior, Prior, lcdm

NSIDE = 16
PRIOR = PolarizedPrior.of(Prior(NSIDE, lcdm(), math.radians(10), 300.0, theory=LCDM), 5.0)
MASKS = tuple(
    skyfill.simulate_mask(NSIDE, kind="band", seed=seed, half_width=width)
    for seed, width in ((1, 0.12), (2, 0.2))
)
ENGINE = {"method": "vae", "engine": FillOptions(method="vae", network=False)}
SKIES = [simulate_stokes(PRIOR, seed=seed) for seed in (1, 2)]


@pytest.mark.parametrize(
    ("planes", "options"),
    [
        (3, {}),
        (3, {"dipole": "prior"}),
        (2, {}),
        (3, {"method": "diffuse"}),
        (2, {"method": "diffuse"}),
        (3, ENGINE),
    ],
    ids=str,
)
def test_it_is_the_mean_of_the_inpainter_bit_for_bit(planes, options):
    sky = SKIES[0][-planes:]
    prior = None if options.get("method") == "diffuse" else PRIOR
    fill = LinearStokesFill(
        MASKS[0], prior, observed_pol=MASKS[1], stokes="TQU"[-planes:], threads=1, **options
    )
    whole = PolarizedInpainter(
        sky, MASKS[0], observed_pol=MASKS[1], prior=prior, threads=1, **options
    )
    np.testing.assert_array_equal(fill(sky), whole.whole(whole.mean()))
    changed = sky.copy()
    changed[:, ~MASKS[1]] = np.nan
    if planes == 3:
        changed[0] = np.where(MASKS[0], sky[0], np.nan)
    np.testing.assert_array_equal(fill(changed), fill(sky))


@pytest.mark.parametrize(
    ("options", "error"),
    [({"tolerance": 1e-4}, 3e-4), ({"method": "diffuse"}, 5e-3), (ENGINE, 0.05)],
    ids=str,
)
def test_it_is_linear(options, error):
    prior = None if options.get("method") == "diffuse" else PRIOR
    fill = LinearStokesFill(MASKS[0], prior, observed_pol=MASKS[1], threads=1, **options)
    one, two = SKIES
    together, apart = fill(0.7 * one - 0.4 * two), 0.7 * fill(one) - 0.4 * fill(two)
    for ours, theirs in zip(together, apart, strict=True):
        assert np.sqrt(np.mean((ours - theirs) ** 2)) < error * ours.std()


def test_what_is_not_linear_or_has_no_prior_is_refused_by_name():
    for options, said in (
        ({"method": "cosmovae"}, "cosmovae is not linear"),
        ({"stokes": "T"}, "must be TQU or QU"),
        ({"dipole": "fit"}, "marginalise or prior"),
        ({"method": "vae", "stokes": "QU"}, "vae fills T with Q and U"),
        ({"prior": None}, "gaussian needs a prior"),
        ({"observed_pol": np.ones(768, bool)}, "must have one Nside"),
        ({"observed_pol": np.zeros(3072, bool)}, "no pixel is observed"),
        ({"observed": np.ones(768, bool)}, "the prior has Nside 16, the masks have Nside 8"),
    ):
        given = {"observed": MASKS[0], "prior": PRIOR, "threads": 1} | options
        with pytest.raises(ValueError, match=said):
            LinearStokesFill(**given)
    fill = LinearStokesFill(MASKS[0], None, method="diffuse", threads=1)
    with pytest.raises(ValueError, match=r"must be \(3, npix\), T, Q, U"):
        fill(SKIES[0][1:])


def test_a_fill_that_has_not_converged_is_refused_or_told_of_once(monkeypatch):
    fill = LinearStokesFill(MASKS[0], PRIOR, tolerance=1e-3, threads=1)
    solver = fill._solver

    def short(*args, **words):
        found = solver.__class__.mean(solver, *args, **words)
        for name, each in found.certificates.items():
            found.certificates[name] = type(each)(
                each.iterations, each.corrections, each.residual, each.distance, converged=False
            )
        return found

    monkeypatch.setattr(solver, "mean", short)
    with pytest.raises(skyfill.inpaint.ConvergenceError, match="has not converged"):
        fill(SKIES[0])
    fill._accept = True
    fill.unconverged = 0
    with pytest.warns(skyfill.inpaint.ConvergenceWarning, match="has not converged"):
        fill(SKIES[0])
    fill(SKIES[0])
    assert fill.unconverged == 2
