"""Polish along a course: linear in the map, the same whatever the map, and as good as its own."""

import math

import healpy as hp
import numpy as np
import pytest

from skyfill.files.cache import Kept
from skyfill.gaussian import Course, Polish, Solver, freed
from skyfill.gaussian.rehearsal import rehearse
from skyfill.prior import Prior, draw, lcdm
from skyfill.prior.simulate import simulate_mask
from skyfill.progress import Silent

NSIDE = 64
KNOWN = Prior(NSIDE, lcdm(), fwhm=math.radians(2.7), noise_uk_arcmin=900.0)
#: Of a beam that the pixels do not resolve.
SHARP = Prior(NSIDE, lcdm(), fwhm=math.radians(0.5), noise_uk_arcmin=900.0)


@pytest.fixture(scope="module")
def observed():
    return simulate_mask(
        NSIDE, kind="both", seed=4, half_width=0.25, n_holes=20, radii=(0.02, 0.06)
    )


def prior_of(prior):
    return {"signal_cl": freed(prior.signal_cl()), "noise_cl": prior.white_cl, "threads": 1}


def polish_of(observed, prior, *, steps=5, every=False, near=None, kept=None):
    return Polish(
        observed,
        **prior_of(prior),
        steps=steps,
        every=every,
        near=near,
        kept=kept or Kept(),
        progress=Silent(),
    )


def rough(observed, prior, seed):
    """Give a sky, its exact mean and a fill that is wrong by a tenth of the sky, smoothly."""
    sky = draw(prior, seed=seed, aliased=True, threads=1)
    exact = Solver(observed, **prior_of(prior)).mean(sky, tolerance=1e-5).fill
    error = hp.smoothing(draw(prior, seed=seed + 50, threads=1), fwhm=math.radians(4))
    filled = sky.copy()
    filled[~observed] = exact + 0.1 * error[~observed]
    return filled, exact


def test_along_its_own_course_nothing_changes(observed):
    filled, _ = rough(observed, KNOWN, 1)
    solver, course = Solver(observed, **prior_of(KNOWN)), Course()
    usual = solver.improve(filled, iterations=8, course=course)
    again = solver.improve(filled, iterations=8, course=Course(course.numbers))
    np.testing.assert_array_equal(again, usual)
    mean = solver.mean(filled, course=(course := Course()))
    again = solver.mean(filled, course=Course(course.numbers))
    np.testing.assert_array_equal(again.fill, mean.fill)
    assert again.certificate == mean.certificate


@pytest.mark.parametrize("prior", [KNOWN, SHARP], ids=["resolved", "unresolved"])
@pytest.mark.parametrize("every", [True, False])
def test_polish_is_linear(observed, prior, every):
    polish = polish_of(observed, prior, every=every)
    first, second = (rough(observed, prior, seed)[0] for seed in (1, 2))
    together = first + second
    for each in (first, second, together):
        polish.finish(each)
    assert np.std((together - first - second)[~observed]) < 1e-7 * together.std()


@pytest.mark.parametrize("every", [True, False])
def test_polish_nears_the_exact_mean(observed, every):
    filled, exact = rough(observed, KNOWN, 3)
    before = np.std(filled[~observed] - exact)
    polish_of(observed, KNOWN, steps=8, every=every).finish(filled)
    assert np.std(filled[~observed] - exact) < 0.15 * before


def test_observed_pixels_and_holes_that_are_not_near_stay_what_they_are(observed):
    filled, _ = rough(observed, KNOWN, 3)
    lon, _ = hp.pix2ang(NSIDE, np.arange(observed.size), lonlat=True)
    before = filled.copy()
    polish = polish_of(observed, KNOWN, near=~observed & (lon < 180))
    polish.finish(filled)
    changed = np.flatnonzero(filled != before)
    assert changed.size > 0
    np.testing.assert_array_equal(changed, polish.small)


def test_a_sky_of_zeros_stays_one(observed):
    for prior in (KNOWN, SHARP):
        for every in (True, False):
            filled = np.zeros(observed.size)
            polish_of(observed, prior, every=every).finish(filled)
            assert not filled.any()


def test_a_course_depends_on_mask_and_prior_alone(observed, tmp_path):
    numbers = [
        rehearse(Solver(observed, **prior_of(KNOWN), only="wide"), iterations=5, corrections=0)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*numbers)
    filled, _ = rough(observed, KNOWN, 3)
    fills = []
    for _ in range(2):  # the second finds what the first has kept
        again = filled.copy()
        polish_of(observed, KNOWN, kept=Kept(tmp_path)).finish(again)
        fills.append(again)
    np.testing.assert_array_equal(*fills)
    assert any(path.name.startswith("course") for path in tmp_path.iterdir())


def test_a_rehearsal_is_as_good_as_the_maps_own_course(observed):
    filled, exact = rough(observed, KNOWN, 6)
    solver = Solver(observed, **prior_of(KNOWN), only="wide")
    steps = {"iterations": 6, "corrections": 0}
    numbers = rehearse(solver, **steps)
    own = np.std(solver.improve(filled, **steps) - exact)
    along = np.std(solver.improve(filled, **steps, course=Course(numbers)) - exact)
    assert along < 1.5 * own
    assert own < 0.3 * np.std(filled[~observed] - exact)


def test_the_small_holes_end_the_same_whether_or_not_they_were_filled_first(observed, monkeypatch):
    """The second fill of small holes adds what the wide holes change, or fills them afresh."""
    filled, _ = rough(observed, KNOWN, 3)
    polish = polish_of(observed, KNOWN)
    polish.rehearse()
    ((wide, *_),) = polish._stages
    start = np.where(observed, filled, 0.0)
    polish.fill_small(start)
    start[wide.holes] = filled[wide.holes]
    first, afresh = start[polish.small].copy(), start.copy()
    polish_of(observed, KNOWN).finish(afresh)  # it has filled nothing before
    monkeypatch.setattr(polish, "fill_small", None)  # the short way is the one that is taken
    polish.finish(start)
    assert np.abs(start[polish.small] - first).max() > 0.1
    np.testing.assert_allclose(start, afresh, rtol=0, atol=1e-3)  # blocks are in single precision
