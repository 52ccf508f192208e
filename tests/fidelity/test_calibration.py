"""z-scores, coverage and errors against cases where all is known."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from skyfill.fidelity import THRESHOLDS, calibrate, judge
from skyfill.fidelity.calibration import normal_scores
from skyfill.fidelity.figures import jackknife

PIXELS = 40_000


def white(n, *, scale=1.0, shift=0.0, seed=1):
    """Truth and n realizations about one mean, of the same scatter but for `scale` and `shift`."""
    rng = np.random.default_rng(seed)
    mean, spread = 50 * rng.standard_normal(PIXELS), rng.uniform(1, 9, PIXELS)
    truth = mean + spread * rng.standard_normal(PIXELS)
    drawn = mean + shift * spread + scale * spread * rng.standard_normal((n, PIXELS))
    return truth, drawn, spread


@pytest.mark.parametrize("n", [2, 3, 5, 20])
def test_few_realizations_are_no_excuse(n):
    """Width, bands and error of a right fill do not depend on how many there are."""
    truth, drawn, spread = white(n)
    found = calibrate(truth, drawn).figures
    assert found["z_width"].value == pytest.approx(1, abs=4 / math.sqrt(2 * PIXELS))
    assert found["z_mean"].value == pytest.approx(0, abs=4 / math.sqrt(PIXELS))
    for name, share in (("coverage_68", 0.68), ("coverage_95", 0.95)):
        chance = math.sqrt(share * (1 - share) / PIXELS)
        assert found[name].value == pytest.approx(share, abs=4 * chance)
        assert found[name].error == pytest.approx(chance, rel=0.05)
    rms = math.sqrt(np.mean(spread**2))
    assert found["rms_uk"].value == pytest.approx(rms, rel=0.03)
    assert found["expected_rms_uk"].value == pytest.approx(rms, rel=0.03)
    assert {each.verdict for each in found.values()} == {None, "good"}


def test_ranks_are_flat_and_scores_normal():
    truth, drawn, _ = white(9)
    found = calibrate(truth, drawn)
    assert found.ranks.sum() == PIXELS
    assert found.ranks.shape == (10,)
    assert stats.chisquare(found.ranks).pvalue > 1e-3
    assert stats.kstest(found.z, "norm").pvalue > 1e-3
    counts, edges = found.z_histogram()
    assert counts.sum() == PIXELS
    assert edges.size == counts.size + 1


def test_a_known_width():
    """Realizations of half the scatter: z is twice too wide, and 68% bands hold what they hold."""
    truth, drawn, _ = white(400, scale=0.5)
    found = calibrate(truth, drawn).figures
    assert found["z_width"].value == pytest.approx(2, rel=0.02)
    assert found["coverage_68"].value == pytest.approx(
        math.erf(0.9945 / 2 / math.sqrt(2)), abs=0.01
    )
    assert found["rms_over_expected"].value == pytest.approx(2, rel=0.02)
    for name in ("z_width", "coverage_68", "coverage_95", "rms_over_expected"):
        assert found[name].verdict == "bad"
    assert calibrate(truth, drawn).ranks[0] > 10 * PIXELS / 401


def test_an_offset_is_the_mean_of_z():
    truth, drawn, _ = white(400, shift=0.5)
    found = calibrate(truth, drawn).figures
    assert found["z_mean"].value == pytest.approx(-0.5, abs=0.02)
    assert found["z_mean"].verdict == "bad"


def test_half_of_the_power_is_bad():
    rng = np.random.default_rng(3)
    truth, drawn = (rng.standard_normal(shape) for shape in (PIXELS, (20, PIXELS)))
    good = calibrate(truth, drawn).figures["hole_power"]
    assert good.value == pytest.approx(1, abs=0.05)
    assert good.verdict == "good"
    bad = calibrate(truth, drawn * math.sqrt(0.5)).figures
    assert bad["hole_power"].value == pytest.approx(0.5, abs=0.02)
    assert bad["hole_power"].verdict == bad["z_width"].verdict == "bad"
    one = calibrate(truth, drawn[:1] * math.sqrt(0.5))
    assert one.figures["hole_power"].verdict == "bad"
    assert one.z.size == 0


def test_a_mean_and_its_spread():
    """The exact mean and spread need no correction; the spread of 5 realizations does."""
    rng = np.random.default_rng(4)
    truth = 3 * rng.standard_normal(PIXELS)
    exact = calibrate(truth, [], mean=np.zeros(PIXELS), std=np.full(PIXELS, 3.0)).figures
    assert exact["z_width"].value == pytest.approx(np.sqrt(np.mean(truth**2)) / 3)
    spread = (3 * rng.standard_normal((5, PIXELS))).std(axis=0, ddof=1)
    found = calibrate(truth, [], mean=np.zeros(PIXELS), std=spread, std_draws=5).figures
    assert found["z_width"].value == pytest.approx(1, abs=0.02)
    assert found["hole_power"].value == pytest.approx(1, abs=0.05)


def test_the_optimum():
    """A fill twice the optimum's distance away, in quadrature."""
    rng = np.random.default_rng(5)
    truth, off = rng.standard_normal((2, PIXELS))
    found = calibrate(truth, [], mean=0.5 * off, optimum=np.zeros(PIXELS)).figures
    assert found["excess_over_optimum"].value == pytest.approx(0.25, abs=0.01)
    assert found["excess_over_optimum"].verdict == "bad"
    assert found["mse_over_optimum"].value == pytest.approx(1.25, abs=0.03)
    assert found["optimum_distance_uk"].value == pytest.approx(0.5, abs=0.01)
    # The mean of twenty realizations is off by a twentieth of the variance, which is not its fault.
    drawn = rng.standard_normal((20, PIXELS))
    found = calibrate(truth, drawn, optimum=np.zeros(PIXELS)).figures
    assert found["excess_over_optimum"].value == pytest.approx(0, abs=0.003)
    assert found["excess_over_optimum"].verdict == "good"


def test_errors_know_what_varies_together():
    """Groups of a hundred equal pixels: the error is that of the groups, not of the pixels."""
    rng = np.random.default_rng(6)
    groups = np.repeat(np.arange(400), 100)
    truth = rng.standard_normal(400)[groups]
    found = calibrate(truth, [], mean=np.zeros(PIXELS), std=np.ones(PIXELS), groups=groups + 7)
    assert found.figures["z_mean"].error == pytest.approx(1 / 20, rel=0.15)
    assert found.sizes.tolist() == [100] * 400
    np.testing.assert_allclose(found.group_rms_uk, np.abs(truth[::100]))
    np.testing.assert_allclose(found.group_z_mean, truth[::100])


def test_student_s_quantiles_become_normal_ones():
    t = np.array([-40.0, -1.0, 0.0, 2.5])
    np.testing.assert_allclose(
        normal_scores(t, 4.0), stats.norm.ppf(stats.t.cdf(t, 4)), rtol=1e-9, atol=1e-12
    )
    assert np.isfinite(normal_scores(np.array([1e12]), 60.0)).all()
    np.testing.assert_array_equal(normal_scores(t, math.inf), t)


def test_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(7).standard_normal(50)
    value, error = jackknife(lambda a, b: a / b, values, np.ones(50))
    assert value == pytest.approx(values.mean())
    assert error == pytest.approx(values.std(ddof=1) / math.sqrt(50))
    assert jackknife(lambda a: a, np.ones(1)) == (1.0, None)


@pytest.mark.parametrize(
    ("value", "error", "verdict"),
    [
        (1.02, 0.001, "good"),  # within the slack, however significant
        (1.07, 0.02, "good"),
        (1.10, 0.02, "doubtful"),
        (1.12, 0.02, "bad"),
        (1.00, 0.20, "doubtful"),  # measured too badly to tell
        (0.5, 0.01, "bad"),
        (math.nan, 0.01, "bad"),
        (1.02, None, "good"),
        (1.10, None, "bad"),
    ],
)
def test_verdicts(value, error, verdict):
    assert judge("z_width", value, 1.0, error).verdict == verdict
    assert judge("z_width", value, None, error).verdict is None


def test_every_threshold_has_a_reason():
    assert all(len(each.reason) > 20 and each.slack >= 0 for each in THRESHOLDS.values())
    assert judge("onepoint_ks", 0.0, 0.1, 0.01).verdict == "good"  # only large ones are bad
    assert judge("multipole_2", 9.0, 1.0, 1.0).verdict == "bad"


def test_bad_input():
    truth, drawn, _ = white(2)
    with pytest.raises(ValueError, match="no filled pixel"):
        calibrate(truth[:0], [])
    with pytest.raises(ValueError, match="do not differ in 40000 of 40000"):
        calibrate(truth, [drawn[0], drawn[0]])
    with pytest.raises(ValueError, match="neither a realization nor a mean"):
        calibrate(truth, [])
    with pytest.raises(ValueError, match="not both"):
        calibrate(truth, drawn, mean=truth)
    with pytest.raises(ValueError, match="the fill is missing"):
        calibrate(truth, [drawn[0], drawn[1] * np.nan])
    with pytest.raises(ValueError, match="the optimum is missing"):
        calibrate(truth, drawn, optimum=truth[:5])
    with pytest.raises(ValueError, match="2 or more"):
        calibrate(truth, [], mean=truth, std=truth, std_draws=1)


def test_the_page_says_what_the_code_does():
    page = (Path(__file__).parents[2] / "docs" / "trust.md").read_text(encoding="utf-8")
    table = page.partition("## Held-out holes")[0].splitlines()
    rows = [line.split("|") for line in table if line.startswith("| `")]
    said = {row[1].strip().strip("`"): (float(row[3]), "above" in row[4]) for row in rows}
    assert said == {name: (each.slack, each.above) for name, each in THRESHOLDS.items()}
