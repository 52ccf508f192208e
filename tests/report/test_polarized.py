"""Pictures and words of a fill of T, Q and U."""

import healpy as hp
import numpy as np
import pytest
from skyfill.simulate import simulate_stokes

from skyfill import report
from skyfill.fidelity import score_stokes
from skyfill.gaussian import Certificate
from skyfill.gaussian.leakage import allowed_leakage
from skyfill.holes import discs
from skyfill.prior import LCDM, PolarizedPrior, Prior, draw, lcdm
from skyfill.report.pictures import close_up, close_up_pol

NSIDE = 16
PRIOR = PolarizedPrior.of(Prior(NSIDE, lcdm(), np.radians(8), 500, theory=LCDM), 50.0)


def smooth_sky(nside):
    """Draw T, E and B of few multipoles."""
    rng = np.random.default_rng(7)
    lmax = 6
    alm = rng.normal(size=(3, hp.Alm.getsize(lmax))) + 0j
    alm[:, hp.Alm.getlm(lmax)[0] < 2] = 0
    alm[:, hp.Alm.getlm(lmax)[1] > 0] *= 1 + 0.5j
    return alm, np.array(hp.alm2map(alm, nside, lmax=lmax)), lmax


def test_a_view_of_a_pole_is_that_of_the_sky_turned_to_the_equator():
    alm, sky, lmax = smooth_sky(64)
    turned = alm.copy()
    hp.rotate_alm(turned, 0, np.pi / 2, 0, lmax=lmax)
    other = np.array(hp.alm2map(turned, 64, lmax=lmax))
    width = np.radians(20)
    assert close_up(sky[0], 0, 90, width=width) == pytest.approx(
        close_up(other[0], 0, 0, width=width), abs=0.12 * np.std(sky[0])
    )
    pole = close_up_pol(*sky[1:], 0, 90, width=width)
    equator = close_up_pol(*other[1:], 0, 0, width=width)
    scatter = np.std(sky[1:])
    assert pole == pytest.approx(equator, abs=0.25 * scatter)
    assert np.sqrt(np.mean((pole - equator) ** 2)) < 0.06 * scatter
    # Q and U as they are swirl around the pole.
    plain = np.array([close_up(each, 0, 90, width=width) for each in sky[1:]])
    assert np.sqrt(np.mean((plain - equator) ** 2)) > 0.5 * scatter


def test_a_view_of_the_equator_hardly_turns():
    _, sky, _ = smooth_sky(64)
    width = np.radians(4)
    plain = np.array([close_up(each, 50, 0, width=width) for each in sky[1:]])
    turned = close_up_pol(*sky[1:], 50, 0, width=width)
    assert turned == pytest.approx(plain, abs=0.01 * np.std(sky))


def test_accuracy_has_a_verdict_for_b():
    allowed = allowed_leakage(PRIOR.signal_cl()[2, 2], PRIOR.white_cl[1], 2)
    assert min(allowed) > 0.02  # noise is stronger than B here
    found = report.accuracy_findings(
        {
            "T": Certificate(9, 2, 1e-3, 0.1, converged=True),
            "P": Certificate(9, 2, 1e-3, np.inf, converged=False, leakage=(0.009, 0.012)),
        },
        PRIOR,
    )
    assert [each.verdict for each in found] == ["good", "bad", "good", "doubtful"]
    assert found[1].value.startswith("not known")
    (worse,) = report.accuracy_findings(
        {"P": Certificate(9, 2, 1e-3, 0.1, converged=True, leakage=(1.1 * allowed[0],))}, PRIOR
    )[1:]
    assert worse.verdict == "bad"


def test_what_is_allowed_to_leak_is_one_percent_of_b_and_noise():
    bb = np.full(200, 2.0)
    assert allowed_leakage(bb, 0.0, 3) == pytest.approx((0.01,) * 3)
    assert allowed_leakage(bb, 2.0, 1) == pytest.approx((0.02,))
    assert allowed_leakage(np.zeros(3), 5.0, 2) == pytest.approx((0.01,) * 2)


def test_figures_name_their_stokes_parameter_and_find_a_wrong_fill():
    sky = simulate_stokes(PRIOR, seed=1)
    observed = discs(NSIDE, 1.0, 0.5, 0.5)
    right = score_stokes([sky], observed)
    assert set(right.figures) == set(right.one_points) == set("TQU")
    assert right.verdict in ("good", "doubtful")
    wrong = sky.copy()
    wrong[1, ~observed] *= 6
    found = score_stokes([wrong], observed).figures
    assert found["Q"]["onepoint_variance"].verdict == "bad"
    assert (
        found["U"]["onepoint_variance"].verdict == right.figures["U"]["onepoint_variance"].verdict
    )
    rows = report.findings(found["Q"], of="Q")
    assert all(row.name.startswith("Q: ") for row in rows)


def test_skies_of_q_and_u_alone_and_what_is_no_sky():
    sky = simulate_stokes(PRIOR, seed=2)
    observed = discs(NSIDE, 1.0, 0.5, 0.5)
    assert set(score_stokes([sky[1:]], observed).figures) == set("QU")
    assert score_stokes([sky], np.ones_like(observed), observed).figures.keys() == set("QU")
    with pytest.raises(ValueError, match="there is no fill to judge"):
        score_stokes([], observed)
    with pytest.raises(ValueError, match="a fill must be"):
        score_stokes([draw(PRIOR.temperature, seed=1, index=0)], observed)


def test_b_modes_of_every_kind():
    for kind in ("realization", "mean", "guess"):
        assert any("cut sky" in line for line in report.b_modes(kind))
    with pytest.raises(ValueError, match="choose one"):
        report.b_modes("fine")
