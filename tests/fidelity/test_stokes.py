"""Figures of fills of T, Q and U: against a truth, and in holes that were held out."""

import math

import numpy as np
import pytest

import skyfill
from skyfill.fidelity import calibrate, calibrate_stokes, validate_stokes
from skyfill.inpaint import PolarizedInpainter
from skyfill.prior import LCDM, PolarizedPrior, Prior, draw, draw_polarization

NSIDE = 16
NPIX = 12 * NSIDE**2
PRIOR = PolarizedPrior.of(Prior(NSIDE, skyfill.lcdm(), math.radians(10), 600.0, theory=LCDM), 60)
SEEN = skyfill.simulate_mask(NSIDE, seed=1, half_width=0.1, n_holes=8)
SEEN_P = skyfill.simulate_mask(NSIDE, seed=2, half_width=0.15, n_holes=8)


def sky(seed):
    """A sky of the prior with its noise."""
    p, white = draw_polarization(PRIOR, seed=seed)
    p += white * math.sqrt(PRIOR.white_cl[1] * NPIX / (4 * math.pi))
    return np.array([draw(PRIOR.temperature, seed=seed, aliased=True), *p])


@pytest.fixture(scope="module")
def fills():
    """A true sky, and fills of its holes."""
    truth = sky(3)
    filler = PolarizedInpainter(truth, SEEN, observed_pol=SEEN_P, prior=PRIOR, seed=4, threads=1)
    return truth, [filler.whole(filler.realization(index)) for index in range(6)]


def test_every_stokes_parameter_has_figures_of_its_own(fills):
    truth, filled = fills
    found = calibrate_stokes(iter(filled), SEEN, observed_pol=SEEN_P, truth=truth, threads=1)
    assert list(found.stokes) == ["T", "Q", "U"]
    for number, letter in enumerate("TQU"):
        holes = ~(SEEN if letter == "T" else SEEN_P)
        alone = calibrate(truth[number][holes], [each[number][holes] for each in filled])
        figures = found.figures[letter]
        for name in ("rms_uk", "z_width", "coverage_68"):
            assert figures[name].value == pytest.approx(alone.figures[name].value, rel=1e-12)
        assert found.stokes[letter].hole_pixels == holes.sum()
    said = found.as_dict()
    assert said["rms_uk"] == found.figures["T"]["rms_uk"].value
    assert said["stokes"]["U"]["rms_uk"] == found.figures["U"]["rms_uk"].value
    assert said["verdict"] == found.verdict
    assert "seam_step" in said["stokes"]["T"]
    assert "seam_step" not in said["stokes"]["Q"]


def test_q_and_u_alone(fills):
    truth, filled = fills
    both = calibrate_stokes(iter(filled), SEEN, observed_pol=SEEN_P, truth=truth, threads=1)
    alone = calibrate_stokes([each[1:] for each in filled], SEEN_P, truth=truth[1:])
    assert list(alone.stokes) == ["Q", "U"]
    assert alone.figures["Q"]["z_width"].value == both.figures["Q"]["z_width"].value


def test_a_fill_with_the_wrong_sign_of_u_is_found(fills):
    truth, filled = fills
    wrong = [each * np.array([[1], [1], [-1]]) for each in filled]
    with pytest.warns(UserWarning, match="U: where the mask calls the sky observed"):
        found = calibrate_stokes(wrong, SEEN, observed_pol=SEEN_P, truth=truth, threads=1)
    assert found.figures["U"]["rms_uk"].value > 1.2 * found.figures["Q"]["rms_uk"].value
    assert found.verdict == "bad"


def test_what_does_not_fit_is_refused(fills):
    truth, filled = fills
    with pytest.raises(ValueError, match="one Nside"):
        calibrate_stokes(filled, np.ones(48, bool), truth=truth)
    with pytest.raises(ValueError, match="components"):
        calibrate_stokes([each[1:] for each in filled], SEEN, truth=truth)
    with pytest.raises(ValueError, match="no fill"):
        calibrate_stokes([], np.ones(NPIX, bool), observed_pol=SEEN_P, truth=truth)
    with pytest.raises(ValueError, match="missing in every hole"):
        calibrate_stokes(filled, SEEN, truth=np.where(SEEN, truth, np.nan))


def test_the_same_holes_are_held_out_of_every_stokes_parameter():
    values = sky(5)
    found = validate_stokes(
        np.where([SEEN, SEEN_P, SEEN_P], values, np.nan),
        SEEN,
        observed_pol=SEEN_P,
        prior=PRIOR,
        realizations=4,
        share=0.1,
        seed=1,
        threads=1,
    )
    held = found.holes.held_out
    assert 0.02 < held.sum() / (SEEN & SEEN_P).sum() < 0.12
    assert not np.any(held & ~(SEEN & SEEN_P))
    for holes, seen in zip(found.filler.holes, (SEEN, SEEN_P, SEEN_P), strict=True):
        assert np.array_equal(holes, ~seen | held)
    for letter in "TQU":
        assert found.scores.stokes[letter].pixels.size == held.sum()
        assert 0.6 < found.figures[letter]["z_width"].value < 1.6
    said = found.as_dict()
    assert said["held_out"] == len(said["holes"])
    assert set(said["holes"][0]["stokes"]) == {"T", "Q", "U"}
    assert said["holes"][0]["rms_uk"] == said["holes"][0]["stokes"]["T"]["rms_uk"]
    # The prior is that of the whole map.
    assert found.filler.prior is PRIOR


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"realizations": 1}, "2 realizations"),
        ({"method": "diffuse"}, "no spread"),
        ({"fill": "signal"}, "have noise"),
    ],
)
def test_fills_without_a_spread_or_noise_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        validate_stokes(sky(5), SEEN, prior=PRIOR, **change)
