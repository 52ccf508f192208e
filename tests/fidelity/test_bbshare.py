"""The prior's share of the BB of a filled sky."""

import math
from dataclasses import replace

import healpy as hp
import numpy as np
import pytest

from skyfill.fidelity import bb_share
from skyfill.fidelity.bbshare import _SEED
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


def test_more_b_in_the_sky_shows_in_its_fill_but_for_the_share():
    """Realizations of skies with and without more B, filled with the same random numbers."""
    seen = band(0.3)
    share = bb_share(PRIOR, seen, stokes="QU", bins=EDGES, skies=2, tolerance=1e-3)[0]
    solver = JointSolver([seen], signal_cl=PRIOR.signal_cl()[1:, 1:], noise_cl=PRIOR.white_cl[1:])
    only_b = replace(PRIOR, ee=np.zeros_like(PRIOR.ee), te=np.zeros_like(PRIOR.te))
    modes = (2 * np.arange(25) + 1)[4:]
    more, power = 0.0, 0.0
    for index in range(2):
        truth, latent = (draw_polarization(PRIOR, seed=s, index=index)[0] for s in (1, 2))
        b = 10 * draw_polarization(only_b, seed=_SEED, index=index)[0]
        found = []
        for sky in (truth, truth + b, truth - b):
            filled = sky.copy()
            mean = solver.mean([sky - latent], tolerance=3e-4).fills[0]
            filled[:, ~seen] = latent[:, ~seen] + mean
            found.append(float(modes @ whole_spectra(filled, lmax=24)["BB"][4:]))
        more += (found[1] + found[2]) / 2 - found[0]  # products of B and truth cancel
        power += float(modes @ whole_spectra(b, lmax=24)["BB"][4:])
    assert more / power == pytest.approx(1 - share, abs=0.01)


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
