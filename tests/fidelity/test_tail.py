"""The distance of a fill from the exact one, its worst pixels included."""

import numpy as np
import pytest

import skyfill
from skyfill.fidelity import score_sky, tail

FAR = ("exact_rms_uk", "exact_99_uk", "exact_999_uk", "exact_worst_uk")


def test_it_is_that_of_known_differences():
    away = np.random.default_rng(0).permutation(np.arange(10_001) / 100)
    exact = np.random.default_rng(1).normal(0, 100, away.size)
    signs = np.random.default_rng(2).choice((-1, 1), away.size)
    found = tail(exact + signs * away, exact)
    assert tuple(found) == FAR
    values = [each.value for each in found.values()]
    assert values == pytest.approx([np.sqrt(np.mean(away**2)), 99.0, 99.9, 100.0])
    assert {each.verdict for each in found.values()} == {None}


def test_it_sees_a_rectangle_that_the_rms_does_not():
    """20 µK off in two pixels of a thousand, 1 µK elsewhere."""
    rng = np.random.default_rng(3)
    exact = rng.normal(0, 100, 100_000)
    right = exact + rng.normal(0, 1, exact.size)
    wrong = right.copy()
    wrong[5000:5200] += 20
    good, bad = tail(right, exact), tail(wrong, exact)
    assert bad["exact_rms_uk"].value < 1.5 * good["exact_rms_uk"].value
    assert bad["exact_99_uk"].value == pytest.approx(good["exact_99_uk"].value, rel=0.1)
    assert bad["exact_999_uk"].value > 5 * good["exact_999_uk"].value
    assert bad["exact_worst_uk"].value > 20


def test_single_precision_does_not_blur_it():
    exact = np.full(1000, 4000.0, np.float32)
    assert tail(exact + np.float32(0.25), exact)["exact_worst_uk"].value == 0.25


@pytest.mark.parametrize(
    ("fill", "exact", "message"),
    [
        (np.zeros(3), np.zeros(4), "3 pixels and the exact one 4; give those of the same holes"),
        ([1.0, np.nan], [1.0, 2.0], "miss 1 of 2 pixels"),
        ([1.0, 2.0], [1.0, np.inf], "miss 1 of 2 pixels"),
        ([], [], "there is no pixel to compare"),
        (np.zeros((2, 3)), np.zeros((2, 3)), "fill"),
    ],
)
def test_what_does_not_fit_is_refused(fill, exact, message):
    with pytest.raises(ValueError, match=message):
        tail(fill, exact)


@pytest.fixture(scope="module")
def filled():
    """A sky, its mask, and an exact fill that is off by 2 µK."""
    sky = skyfill.simulate_sky(32, seed=3, fwhm=np.radians(5), noise_uk_arcmin=300)
    observed = skyfill.simulate_mask(32, seed=3, n_holes=30, radii=(0.05, 0.12))
    return sky, observed, np.where(observed, sky, sky + 2)


def test_a_score_has_it(filled):
    sky, observed, exact = filled
    figures = score_sky(sky, observed, exact=exact).figures
    assert [figures[name].value for name in FAR] == pytest.approx([2.0] * 4)
    assert not set(FAR) & set(score_sky(sky, observed).figures)
    # A file of single precision, once more in another unit, is of the same map.
    rounded = np.float32(np.float32(exact * 1e-6) * 1e6)
    assert score_sky(sky, observed, exact=rounded).figures["exact_rms_uk"].value > 1.9


def test_a_score_refuses_an_exact_fill_of_something_else(filled):
    sky, observed, exact = filled
    larger = exact.copy()
    larger[np.flatnonzero(observed)[100:110]] += 30
    with pytest.raises(ValueError, match=r"in 10 observed pixels, .* another map or mask"):
        score_sky(sky, observed, exact=larger)
    fewer = exact.copy()
    fewer[np.flatnonzero(~observed)[:7]] = np.nan
    with pytest.raises(ValueError, match=r"misses 7 of \d+ hole pixels"):
        score_sky(sky, observed, exact=fewer)
    with pytest.raises(ValueError, match="the exact fill has Nside 16"):
        score_sky(sky, observed, exact=np.zeros(12 * 16**2))
