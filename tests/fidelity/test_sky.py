"""What a filled sky says of itself: seams, distributions, isotropy, low multipoles."""

import math

import healpy
import numpy as np
import pytest

import skyfill
from skyfill.fidelity import (
    asymmetries,
    asymmetry_scatter,
    border_seams,
    one_point,
    score_sky,
    seams,
)
from skyfill.fidelity.figures import Figure, allowing, judge, worst
from skyfill.prior import ARCMIN, Prior, draw, lcdm

NSIDE = 32
PRIOR = Prior(NSIDE, lcdm(), fwhm=300 * ARCMIN, noise_uk_arcmin=300)


@pytest.fixture(scope="module")
def observed():
    return skyfill.simulate_mask(NSIDE, seed=3, n_holes=30, radii=(0.05, 0.12))


@pytest.fixture(scope="module")
def skies():
    return [draw(PRIOR, seed=8, index=index) for index in range(8)]


def test_a_sky_without_seams(observed, skies):
    for sky in skies[:4]:
        for each in seams(sky, observed).values():
            assert abs(each.value - 1) < 4 * each.error
            assert each.verdict == "good"


def test_white_noise_has_no_seams_to_the_per_cent():
    sky = np.random.default_rng(1).standard_normal(12 * 64**2)
    observed = skyfill.simulate_mask(64, seed=3, n_holes=30)
    found = seams(sky, observed)
    for each in found.values():
        assert each.value == pytest.approx(1, abs=4 * each.error)
        assert each.error < 0.1


def test_a_sharp_edge_is_seen(observed, skies):
    sky = skies[0] + np.where(observed, 0.0, 150.0)
    found = seams(sky, observed)
    assert found["seam_step"].verdict == found["seam_slope"].verdict == "bad"
    assert found["seam_step"].value > 2
    # A fill that is smoother than the sky is no seam to the eye, but it is one to the statistic.
    flat = seams(np.where(observed, skies[0], skies[0][observed].mean()), observed)
    assert flat["seam_slope"].verdict != "good"


def test_borders_of_tiles(skies):
    lon, lat = healpy.pix2ang(NSIDE, np.arange(12 * NSIDE**2), lonlat=True)
    tiles = (lon // 30).astype(np.int64)
    tiles[np.abs(lat) > 60] = -1
    clean = border_seams(skies[1], tiles)
    assert {each.verdict for each in clean.values()} == {"good"}
    steps = border_seams(skies[1] + 60 * (tiles % 2), tiles)
    assert steps["border_step"].verdict == "bad"
    with pytest.raises(ValueError, match="no edge"):
        border_seams(skies[1], np.zeros(tiles.size, np.int64))


def test_the_same_field_in_and_out(observed, skies):
    """p-values of right fills are uniform: none of eight is tiny, and not all are small."""
    found = [one_point(sky, observed, rotations=99, seed=k) for k, sky in enumerate(skies)]
    p = np.array([each.p_value for each in found])
    assert p.min() >= 0.01
    assert p.max() > 0.3
    assert all(each.figures["onepoint_ks"].verdict == "good" for each in found)
    # The textbook's p-value would have called most of them bad.
    from scipy import stats

    naive = [stats.ks_2samp(sky[observed], sky[~observed]).pvalue for sky in skies]
    assert np.median(naive) < 0.01


def test_another_distribution_is_seen(skies):
    """Noise, of which there is enough to see: a fill of half the power, and one that is skewed."""
    rng = np.random.default_rng(2)
    sky = rng.standard_normal(12 * NSIDE**2)
    mask = skyfill.simulate_mask(NSIDE, seed=3, kind="band")
    half = one_point(np.where(mask, sky, sky * math.sqrt(0.5)), mask, rotations=99)
    assert half.p_value == 0.01
    assert half.figures["onepoint_ks"].verdict == "bad"
    assert half.figures["onepoint_variance"].value == pytest.approx(0.5, abs=0.06)
    assert half.inside[1] == pytest.approx(math.sqrt(0.5), abs=0.05)
    skewed = rng.exponential(size=sky.size) - 1
    odd = one_point(np.where(mask, sky, skewed), mask, rotations=99)
    assert odd.figures["onepoint_skewness"].verdict == "bad"
    assert odd.inside[2] == pytest.approx(2, abs=0.4)


def test_isotropy(skies):
    found = [asymmetries(sky) for sky in skies]
    assert set(found[0]) == {f"asymmetry_{a}_{b}" for a in ("ns", "ew") for b in ("large", "small")}
    pulls = np.array([[each.value / each.error for each in one.values()] for one in found])
    assert np.abs(pulls).max() < 4
    assert np.sqrt(np.mean(pulls**2)) == pytest.approx(1, abs=0.35)
    north = np.arange(skies[0].size) < skies[0].size // 2
    hot = asymmetries(np.where(north, 1.3, 1.0) * skies[0])
    assert hot["asymmetry_ns_small"].value > 0.15  # north is hotter
    assert hot["asymmetry_ns_small"].value > 4 * hot["asymmetry_ns_small"].error
    assert abs(hot["asymmetry_ew_small"].value) < 4 * hot["asymmetry_ew_small"].error
    assert all(each.verdict is None for each in hot.values())  # the sky's own, not the fill's
    east = np.sin(healpy.pix2ang(NSIDE, np.arange(north.size))[1]) > 0
    assert asymmetries(np.where(east, 1.3, 1.0) * skies[0])["asymmetry_ew_small"].value > 0.15


def test_many_looks_raise_a_false_alarm_no_more_often_than_one():
    """Normal figures of a right fill: 1.2% of one, and of any among thirty."""
    rng = np.random.default_rng(1)
    assert judge("z_mean", 0.05 + 2.6, 0.0, 1.0, looks=1).verdict == "doubtful"
    alarms = []
    for _ in range(2000):
        figures = {
            f"multipole_{k}": judge(f"multipole_{k}", rng.standard_normal(), 0.0, 1.0)
            for k in range(30)
        }
        alarms.append((worst(figures), worst(allowing(figures))))
    alone, together = (np.mean([a[k] != "good" for a in alarms]) for k in (0, 1))
    assert alone > 0.2
    assert together == pytest.approx(0.0124, abs=0.008)
    grave = {f"multipole_{k}": judge(f"multipole_{k}", 8.0 * (k == 3), 0.0, 1.0) for k in range(30)}
    assert worst(allowing(grave)) == "bad"
    assert allowing({"a": Figure(1.0)}) == {"a": Figure(1.0)}


def test_the_scatter_of_asymmetries_is_that_of_skies():
    """300 skies at Nside 16 with a red spectrum, against the formula."""
    cl = np.zeros(33)
    cl[2:] = 1 / (np.arange(2, 33) * (np.arange(2, 33) + 1.0))
    prior = Prior(16, cl, pixel_window=False)
    rows = []
    for index in range(300):
        square = draw(prior, seed=4, index=index, lmax=32) ** 2
        north, south = square[: square.size // 2].sum(), square[square.size // 2 :].sum()
        rows.append((north - south) / (north + south))
    assert asymmetry_scatter(cl) == pytest.approx(np.std(rows), rel=0.2)


def test_a_right_fill_is_good_and_a_wrong_one_is_not(observed):
    """Exact realizations of one sky, and the same without a third of their scatter."""
    truth = draw(PRIOR, seed=11, aliased=True)
    masked = np.where(observed, truth, np.nan)
    filler = skyfill.Inpainter(masked, observed, method="gaussian", prior=PRIOR, seed=3)
    mean = filler.mean()
    fills = [filler.realization(index) for index in range(10)]

    def whole(fill):
        sky = truth.copy()
        sky[~observed] = fill
        return sky

    exact = whole(mean)
    right = score_sky(map(whole, fills), observed, truth=truth, optimum=exact, threads=1)
    assert right.verdict != "bad"
    assert right.figures["excess_over_optimum"].verdict == "good"
    assert right.realizations == 10
    assert right.pixels.tolist() == np.flatnonzero(~observed).tolist()
    assert right.low_multipoles.cl.shape == (10, 4)
    assert right.low_multipoles.figures["multipole_2"].expected is not None
    narrow = (whole(mean + 0.6 * (fill - mean)) for fill in fills)
    wrong = score_sky(narrow, observed, truth=truth, threads=1)
    assert wrong.verdict == "bad"
    assert wrong.figures["z_width"].verdict == "bad"
    expected, known = (each.figures["expected_rms_uk"].value for each in (wrong, right))
    assert expected == pytest.approx(0.6 * known)
    said = wrong.as_dict()
    assert said["z_width"] == said["figures"]["z_width"]["value"]
    assert sum(said["ranks"]) == said["judged_pixels"] == np.count_nonzero(~observed)

    blind = score_sky([whole(fills[0])], observed, threads=1)
    assert blind.calibration is None
    assert "z_width" not in blind.figures
    assert blind.figures["multipole_2"].verdict is None
    spread = np.zeros(truth.size)
    spread[~observed] = np.std(fills, axis=0, ddof=1)
    given = score_sky([exact], observed, truth=truth, std=spread, std_draws=10, threads=1)
    assert given.figures["z_width"].value == pytest.approx(right.figures["z_width"].value, rel=0.1)


def test_bad_input(observed, skies):
    sky = skies[0]
    with pytest.raises(ValueError, match="no hole"):
        score_sky([sky], np.ones(sky.size, bool))
    with pytest.raises(ValueError, match="`invert=True`"):
        score_sky([sky], np.zeros(sky.size, bool))
    with pytest.raises(ValueError, match="the truth has Nside 16, the mask has Nside 32"):
        score_sky([sky], observed, truth=np.zeros(12 * 16**2))
    with pytest.raises(ValueError, match="a fill has Nside 16"):
        score_sky([np.zeros(12 * 16**2)], observed)
    with pytest.raises(ValueError, match="a fill misses"):
        score_sky([np.where(observed, sky, np.nan)], observed)
    with pytest.raises(ValueError, match="no fill"):
        score_sky([], observed)
    with pytest.raises(ValueError, match="truth is missing in every hole"):
        score_sky([sky], observed, truth=np.where(observed, sky, np.nan))
    with pytest.raises(ValueError, match="one mean"):
        score_sky([sky, sky], observed, truth=sky, std=sky)
    for check in (one_point, seams):
        with pytest.raises(ValueError, match=r"hole|edge"):
            check(sky, np.ones(sky.size, bool))
    with pytest.raises(ValueError, match="not filled"):
        one_point(np.where(observed, sky, np.nan), observed)
    with pytest.raises(ValueError, match="not filled"):
        asymmetries(np.where(observed, sky, np.nan))


def test_a_fill_that_is_the_truth_is_no_fill(observed, skies):
    """As where a mask is taken the wrong way round."""
    truth, other = skies[:2]
    filled = np.where(observed, truth, other)
    with pytest.raises(ValueError, match=r"nothing was filled there; .*`invert=True`"):
        score_sky([filled], ~observed, truth=truth)


@pytest.mark.parametrize("change", [lambda sky: 1e-3 * sky, lambda sky: sky[::-1]])
def test_a_truth_of_another_map_is_doubted(observed, skies, change):
    truth, other = skies[:2]
    filled = np.where(observed, truth, other)
    with pytest.warns(UserWarning, match="is this the truth of this map, in its unit"):
        score_sky([filled], observed, truth=change(truth))
    noisy = truth + np.random.default_rng(0).normal(0, 0.2 * truth.std(), truth.size)
    score_sky([filled], observed, truth=noisy)  # nothing is said of other noise


def test_realizations_are_of_one_map(observed, skies):
    truth, *others = skies
    fills = [np.where(observed, truth, other).astype(np.float32) for other in others[:3]]
    score_sky(fills, observed, truth=truth)
    with pytest.warns(UserWarning, match="fill 4 differs from the first by"):
        score_sky([*fills, others[3]], observed, truth=truth)


@pytest.mark.parametrize("std", [np.zeros, lambda n: -np.ones(n)])
def test_a_spread_is_not_negative(observed, skies, std):
    truth, other = skies[:2]
    filled = np.where(observed, truth, other)
    with pytest.raises(ValueError, match="a spread is not negative, and above 0 in holes"):
        score_sky([filled], observed, truth=truth, std=std(truth.size))
