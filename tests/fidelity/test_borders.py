"""Errors along the borders of tiles, which figures of edges and of the whole do not see."""

import numpy as np
import pytest

import skyfill
from skyfill.fidelity import border_seams, score_sky, seams, validate
from skyfill.holes import distance_to_edge
from skyfill.mosaic import planned_regions
from skyfill.prior import ARCMIN, Prior, draw, lcdm

NSIDE = 256
PRIOR = Prior(NSIDE, lcdm(), fwhm=20 * ARCMIN, noise_uk_arcmin=60.0)


@pytest.fixture(scope="module")
def observed():
    return skyfill.simulate_mask(NSIDE, seed=3, half_width=0.25, n_holes=40)


@pytest.fixture(scope="module")
def sky():
    return draw(PRIOR, seed=5)


@pytest.fixture(scope="module")
def tiles(observed):
    return planned_regions(observed, PRIOR)


@pytest.fixture(scope="module")
def steps(observed, tiles):
    """What is off by some µK, another number in each tile, and fades towards the hole's edge."""
    offset = np.random.default_rng(0).normal(0, 10.0, tiles.max() + 1)
    depth = np.clip(np.degrees(distance_to_edge(observed)) / 4, 0, 1)
    return np.where(tiles >= 0, depth * offset[tiles], 0.0)


def test_right_skies_are_good(observed, tiles):
    for index in range(3):
        found = border_seams(draw(PRIOR, seed=6, index=index), tiles)
        assert {each.verdict for each in found.values()} == {"good"}


def test_steps_along_tiles_are_seen_and_by_nothing_else(sky, observed, tiles, steps):
    right = score_sky(sky, observed, tiles=tiles, exact=sky).figures
    wrong = score_sky(sky + steps, observed, tiles=tiles, exact=sky).figures
    assert right["border_step"].verdict == "good"
    assert wrong["border_step"].verdict in ("doubtful", "bad")
    others = [name for name in wrong if not name.startswith(("border_", "exact_"))]
    assert "seam_step" in others
    assert {wrong[name].verdict for name in others} <= {"good", None}
    # Without the sky, which hides it, the border stands out far more.
    assert wrong["exact_border_step"].value > 5
    assert wrong["exact_border_step"].verdict is None
    assert wrong["exact_worst_uk"].value > 2 * wrong["exact_rms_uk"].value


def test_no_tiles_no_figures(sky, observed, tiles):
    assert "border_step" not in score_sky(sky, observed).figures
    one = np.where(tiles >= 0, 0, -1)
    assert "border_step" not in score_sky(sky, observed, tiles=one).figures
    with pytest.raises(skyfill.fidelity.NoEdgeError, match="no edge"):
        border_seams(sky, one)


def test_missing_pixels_are_not_looked_at(sky, tiles):
    holed = sky.copy()
    holed[np.flatnonzero(tiles >= 0)[::97]] = np.nan
    found = border_seams(holed, tiles)
    assert found["border_step"].value == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("regions", [np.zeros(12 * 16**2, int), np.zeros(12 * NSIDE**2)])
def test_regions_are_whole_numbers_of_the_same_sky(sky, regions):
    with pytest.raises(ValueError, match="regions must be whole numbers, one for each"):
        border_seams(sky, regions)


def test_the_families_do_not_share_names(sky, observed, tiles):
    assert set(seams(sky, observed)) == {"seam_step", "seam_slope"}
    assert set(border_seams(sky, tiles)) == {"border_step", "border_slope"}


@pytest.mark.slow
def test_a_validation_has_them(sky, observed):
    values = np.where(observed, sky, np.nan)
    found = validate(values, observed, prior=PRIOR, realizations=2, polish=0, share=0.02)
    assert found.figures["border_step"].verdict == "good"


def test_a_validation_of_a_whole_has_none():
    found = validate(
        skyfill.simulate_sky(16, seed=1, fwhm=0.1, noise_uk_arcmin=600),
        skyfill.simulate_mask(16, seed=3, n_holes=5, radii=(0.1, 0.2)),
        prior=Prior(16, lcdm(), fwhm=0.1, noise_uk_arcmin=600),
        realizations=2,
        share=0.2,
    )
    assert "border_step" not in found.figures


@pytest.mark.parametrize("polish", [None, 0])
def test_what_is_planned_again_are_the_tiles_that_filled(sky, observed, polish):
    words = {"method": "vae", "prior": PRIOR, "polish": polish, "device": "cpu"}
    filler = skyfill.Inpainter(np.where(observed, sky, np.nan), observed, **words)
    again = planned_regions(observed, PRIOR, polished=filler.polish > 0)
    np.testing.assert_array_equal(filler.tile_regions(), again)
    assert not np.any((again >= 0) & observed)
    if polish == 0:  # small holes have tiles, too
        assert np.all(again[~observed] >= 0)


def test_only_the_chosen_holes_have_regions(sky, observed):
    north = np.arange(sky.size) < sky.size // 2
    filler = skyfill.Inpainter(
        np.where(observed, sky, np.nan),
        observed,
        prior=PRIOR,
        polish=0,
        footprint=north,
        device="cpu",
    )
    regions = filler.tile_regions()
    np.testing.assert_array_equal(regions >= 0, ~observed & north)


@pytest.mark.parametrize("options", [{"method": "gaussian"}, {"method": "diffuse"}, {}])
def test_fills_without_tiles_have_no_regions(options):
    values = skyfill.simulate_sky(16, seed=1, fwhm=0.1, noise_uk_arcmin=600)
    seen = skyfill.simulate_mask(16, seed=3, n_holes=5, radii=(0.1, 0.2))
    prior = None if options.get("method") == "diffuse" else Prior(16, lcdm(), fwhm=0.1)
    assert skyfill.Inpainter(values, seen, prior=prior, **options).tile_regions() is None
    assert planned_regions(seen, Prior(16, lcdm(), fwhm=0.1)) is None


def test_no_plan_where_memory_does_not_tell_the_holes_that_have_tiles(observed, monkeypatch):
    def no_memory(*_, **__):
        raise MemoryError

    monkeypatch.setattr("skyfill.gaussian.solver.check_memory", no_memory)
    assert planned_regions(observed, PRIOR) is None
