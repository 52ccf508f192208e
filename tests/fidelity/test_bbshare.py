"""The prior's share of the BB of a filled sky."""

import math
from dataclasses import replace

import healpy as hp
import numpy as np
import pytest

from skyfill.fidelity import bb_share
from skyfill.gaussian.jointsolver import JointSolver
from skyfill.prior import LCDM, PolarizedPrior, Prior, draw_polarization, lcdm
from skyfill.spectra import whole_spectra

NSIDE = 16
PRIOR = PolarizedPrior.of(Prior(NSIDE, lcdm(), math.radians(10), 10.0, theory=LCDM), 1.0)
EDGES = [4, 25]


def band(half):
    theta = hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2))[0]
    return np.abs(theta - math.pi / 2) > half


def test_it_grows_with_the_holes_of_p_and_not_of_t():
    narrow, wide = (bb_share(PRIOR, band(0.1), band(half), bins=EDGES)[0] for half in (0.15, 0.4))
    assert 0.02 < narrow < wide < 0.8
    assert not bb_share(PRIOR, band(0.4), band(-1.0), bins=EDGES).any()


def test_q_and_u_alone_have_about_the_share_that_they_have_with_t():
    joint = bb_share(PRIOR, band(0.3), bins=EDGES)
    alone = bb_share(PRIOR, band(0.3), stokes="QU", bins=EDGES)
    np.testing.assert_allclose(joint, alone, atol=0.05)


def test_a_filled_sky_with_twice_the_b_of_its_prior_shows_one_less_the_share_of_it():
    """Of 12 skies, filled with the same random numbers: with twice the BB, and with the prior's."""
    seen = band(0.3)
    share = bb_share(PRIOR, seen, stokes="QU", bins=EDGES, skies=6)[0]
    solver = JointSolver([seen], signal_cl=PRIOR.signal_cl()[1:, 1:], noise_cl=PRIOR.white_cl[1:])
    only_b = replace(PRIOR, ee=np.zeros_like(PRIOR.ee), te=np.zeros_like(PRIOR.te))
    more, power = 0.0, 0.0
    for index in range(12):
        truth, latent = (draw_polarization(PRIOR, seed=s, index=index)[0] for s in (1, 2))
        b = draw_polarization(only_b, seed=3, index=index)[0]
        found = []
        for sky in (truth, truth + b, truth - b):
            filled = sky.copy()
            filled[:, ~seen] = latent[:, ~seen] + solver.mean([sky - latent]).fills[0]
            found.append(np.sum((2 * np.arange(25) + 1)[4:] * whole_spectra(filled)["BB"][4:]))
        more += (found[1] + found[2]) / 2 - found[0]  # odd terms cancel
        power += np.sum((2 * np.arange(25) + 1)[4:] * whole_spectra(b)["BB"][4:])
    assert more / power == pytest.approx(1 - share, abs=0.04)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stokes": "T"}, "TQU or QU"),
        ({"observed": np.ones(768, bool)}, "the prior has Nside 16"),
        ({"prior": replace(PRIOR, bb=np.zeros(9))}, "the prior has no BB"),
    ],
)
def test_what_does_not_fit_is_refused(change, words):
    given = {"prior": PRIOR, "observed": band(0.2)} | change
    with pytest.raises(ValueError, match=words):
        bb_share(given.pop("prior"), given.pop("observed"), **given)
