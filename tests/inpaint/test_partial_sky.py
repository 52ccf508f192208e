"""A patch of the sky: its holes are filled, what lies outside stays as it was."""

import math

import healpy as hp
import numpy as np
import pytest

import skyfill
from skyfill.fidelity import score_sky, validate
from skyfill.holes import UnusableSkyError, discs, enclosed_holes, holes_to_fill, label_holes
from skyfill.inpaint import Inpainter
from skyfill.inpaint.plan import Request, make_plan
from skyfill.mosaic import MosaicConfig
from skyfill.prior import Prior, draw, lcdm

pytestmark = pytest.mark.filterwarnings("ignore:.*of the sky is filled")

NSIDE = 32
NPIX = 12 * NSIDE**2
KNOWN = Prior(NSIDE, lcdm(), fwhm=math.radians(4), noise_uk_arcmin=600.0)
TILES = {"side": 48, "guard": 8, "margin": 12, "small": 6.0, "whole_nside": 16}


def patch_of(nside, *, lon=1.0, lat=0.4, radius=0.5):
    return ~discs(nside, [lon], [lat], radius)


def holed(nside):
    """A patch of 6% and, apart, discs in it, one of which opens into the sky around it."""
    inner = discs(nside, [1.0, 1.25, 0.7], [0.5, 0.3, 0.25], [0.1, 0.07, 0.06])
    edge = discs(nside, [1.0], [0.9], 0.12)
    return patch_of(nside) & inner & edge, ~inner


@pytest.fixture(scope="module")
def patch():
    return holed(NSIDE)


@pytest.fixture(scope="module")
def values():
    return draw(KNOWN, seed=4, threads=1)


def latitude(nside):
    return np.degrees(hp.pix2ang(nside, np.arange(12 * nside**2))[0]) - 90


# --- what is enclosed ---------------------------------------------------------------------------


def test_discs_in_a_patch_are_enclosed_and_a_bay_is_not(patch):
    observed, inner = patch
    assert observed.mean() < 0.06
    np.testing.assert_array_equal(enclosed_holes(observed), inner)


def test_the_sky_around_two_patches_is_outside():
    hole = ~discs(NSIDE, [1.0], [0.4], 0.1)
    two = patch_of(NSIDE) | patch_of(NSIDE, lon=4.0, lat=-0.6)
    np.testing.assert_array_equal(enclosed_holes(two & ~hole), hole)


def test_a_galactic_band_is_enclosed_until_it_is_larger_than_its_caps():
    for width, enclosed in ((20, True), (29, True), (31, False)):
        band = np.abs(latitude(NSIDE)) < width
        found = enclosed_holes(~band)
        np.testing.assert_array_equal(found, band if enclosed else np.zeros_like(band))


def test_a_moat_around_an_island_is_enclosed():
    moat = ~discs(NSIDE, [1.0], [0.4], 0.25) & discs(NSIDE, [1.0], [0.4], 0.12)
    observed = patch_of(NSIDE) & ~moat
    np.testing.assert_array_equal(enclosed_holes(observed), moat)


def test_a_hole_that_touches_the_outside_by_a_corner_is_part_of_it():
    observed = patch_of(NSIDE)
    edge = np.flatnonzero(observed & ~skyfill.grow(observed, 1.2 * hp.nside2resol(NSIDE)))
    around = hp.get_all_neighbours(NSIDE, edge)
    sides, corners = around[[0, 2, 4, 6]], around[[1, 3, 5, 7]]
    only = np.all(observed[sides], axis=0) & ~np.all(observed[corners], axis=0)
    assert only.any()
    for pixel in edge[only][:10]:
        seen = observed.copy()
        seen[pixel] = False
        assert not enclosed_holes(seen).any()


@pytest.mark.parametrize("nside", [1, 2, 8, 16])
def test_enclosed_is_what_is_smaller_than_the_sky_that_touches_it(nside):
    """Against every pixel's neighbours, on masks of any shape."""
    rng = np.random.default_rng(nside)
    for kind in range(12):
        observed = rng.random(12 * nside**2) < rng.uniform(0.1, 0.9)
        if kind % 3 == 0:
            observed = skyfill.simulate_mask(nside, seed=kind, n_holes=8, radii=(0.1, 0.5))
            observed = observed if kind % 2 else ~observed
        holes, sky = label_holes(observed), label_holes(~observed)
        pixels = np.flatnonzero(~observed)
        pairs = set()
        for around in hp.get_all_neighbours(nside, pixels):
            meet = (around >= 0) & observed[around]
            pairs |= set(zip(holes.labels[pixels[meet]], sky.labels[around[meet]], strict=True))
        room = np.zeros(holes.sizes.size, int)
        for hole, region in pairs:
            room[hole] += sky.sizes[region]
        expected = np.zeros_like(observed)
        expected[pixels] = (holes.sizes < room)[holes.labels[pixels]]
        np.testing.assert_array_equal(enclosed_holes(observed), expected)


def test_a_footprint_says_what_the_inside_is(patch):
    observed, _ = patch
    footprint = patch_of(NSIDE)
    found = holes_to_fill(observed, footprint=footprint)
    np.testing.assert_array_equal(found, footprint & ~observed)  # the bay at the edge, too
    with pytest.raises(ValueError, match="the footprint has Nside 16, the mask has Nside 32"):
        enclosed_holes(observed, patch_of(16))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({}, r"9\d.\d% of the sky is missing: pass `holes='enclosed'`.*`footprint=.*`holes='all'`"),
        ({"holes": "some"}, "`holes='some'` is unknown; choose one of all, enclosed"),
        ({"holes": "all", "footprint": np.ones(NPIX, bool)}, "pass one of them"),
        ({"footprint": np.zeros(NPIX, bool)}, "the footprint has no hole"),
    ],
)
def test_what_does_not_say_what_to_fill_is_refused(patch, values, words, message):
    with pytest.raises(ValueError, match=message):
        Inpainter(values, patch[0], prior=KNOWN, **words)


def test_a_patch_without_holes_has_nothing_to_fill():
    with pytest.raises(UnusableSkyError, match="no hole is enclosed by observed sky"):
        holes_to_fill(patch_of(NSIDE), holes="enclosed")


def test_a_decision_is_asked_for_above_sixty_per_cent():
    for share in (0.59, 0.61):
        observed = np.arange(NPIX) >= share * NPIX
        if share < 0.6:
            np.testing.assert_array_equal(holes_to_fill(observed), ~observed)
        else:
            with pytest.raises(UnusableSkyError, match="61% of the sky is missing"):
                holes_to_fill(observed)
        np.testing.assert_array_equal(holes_to_fill(observed, holes="all"), ~observed)


# --- the fill -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"method": "gaussian"},
        {"method": "gaussian", "fill": "signal", "noise_rms": np.full(NPIX, 5.5)},
        {"method": "vae"},  # the sphere as a whole
        {"method": "vae", "config": MosaicConfig(**TILES)},
        {"method": "diffuse", "polish": 3},
    ],
)
def test_an_enclosed_hole_holds_what_a_fill_of_the_sphere_has_there(patch, values, options):
    """Bit by bit: data, latent sky and what is solved for are the same."""
    observed, inner = patch
    given = {"prior": KNOWN, "threads": 1} | options
    part = Inpainter(values, observed, holes="enclosed", **given)
    whole = Inpainter(values, observed, holes="all", **given)
    np.testing.assert_array_equal(part.holes, inner)
    np.testing.assert_array_equal(part.observed, observed)
    some = inner[~observed]
    np.testing.assert_array_equal(part.mean(), whole.mean()[some])
    np.testing.assert_array_equal(part.std(), whole.std()[some])
    if part.stochastic:
        np.testing.assert_array_equal(part.realization(2), whole.realization(2)[some])


@pytest.mark.parametrize("inside", ["enclosed", "footprint"])
def test_diffusion_solves_for_what_is_asked(patch, values, inside):
    observed, inner = patch
    half = patch_of(NSIDE, lon=1.1)  # cuts the bay and the sky around it
    words = {"holes": "enclosed"} if inside == "enclosed" else {"footprint": half}
    part = Inpainter(values, observed, method="diffuse", **words)
    whole = Inpainter(values, observed, method="diffuse", holes="all")
    filled = inner if inside == "enclosed" else half & ~observed
    np.testing.assert_array_equal(part.holes, filled)
    expected = whole.mean()[filled[~observed]]
    np.testing.assert_allclose(part.mean(), expected, atol=3e-3 * values.std())


def test_tiles_fill_enclosed_holes_as_those_of_the_sphere_do():
    """As beyond Nside 512: the mean and the samples of the whole sphere, nearly."""
    nside = 64
    prior = Prior(nside, lcdm(), fwhm=math.radians(2), noise_uk_arcmin=300.0)
    sky = draw(prior, seed=2, threads=1)
    observed, inner = holed(nside)
    config = MosaicConfig(**TILES | {"whole_nside": 32, "polished_nside": 32, "rim": 24.0})
    given = {"prior": prior, "threads": 1}
    part = Inpainter(sky, observed, holes="enclosed", config=config, **given)
    whole = Inpainter(sky, observed, holes="all", config=config, **given)
    exact = Inpainter(sky, observed, holes="enclosed", method="gaussian", tolerance=1e-3, **given)
    np.testing.assert_array_equal(part.holes, inner)
    some = inner[~observed]
    uncertain = np.std(exact.mean() - sky[inner])
    ways = [lambda fitter: fitter.mean(), lambda fitter: fitter.realization(1)]
    for way in ways:
        best = way(exact)
        away = np.std(way(part) - best)
        assert away < 0.25 * uncertain
        assert away < 1.2 * np.std(way(whole)[some] - best) + 0.02 * uncertain
    assert part.converged


def test_observed_pixels_outside_a_footprint_are_data(patch, values):
    observed, inner = patch
    tight = skyfill.grow(inner, 0.0) & inner  # the discs themselves
    part = Inpainter(values, observed, method="gaussian", prior=KNOWN, footprint=tight)
    whole = Inpainter(values, observed, method="gaussian", prior=KNOWN, holes="all")
    np.testing.assert_array_equal(part.mean(), whole.mean()[inner[~observed]])


def test_another_map_of_the_patch_is_filled_in_the_same_holes(patch, values):
    observed, inner = patch
    first = Inpainter(values, observed, prior=KNOWN, holes="enclosed", threads=1)
    first.mean()
    other = draw(KNOWN, seed=5, threads=1)
    other[np.flatnonzero(~observed & ~inner)[:50]] = np.nan  # as missing as the mask says
    shared = first.with_map(other, seed=3)
    new = Inpainter(other, observed, prior=KNOWN, holes="enclosed", threads=1, seed=3)
    assert shared._fill is first._fill
    np.testing.assert_array_equal(shared.realization(1), new.realization(1))


# --- what is told -------------------------------------------------------------------------------


def test_a_plan_counts_the_holes_that_are_filled():
    nside = 256
    observed, inner = holed(nside)
    plan = make_plan(observed, Request("vae", known=True), holes=inner)
    assert plan.holes == 3
    assert plan.hole_pixels == np.count_nonzero(inner)
    assert plan.masked == pytest.approx(inner.mean())
    whole = make_plan(observed, Request("diffuse", known=True))
    assert make_plan(observed, Request("diffuse", known=True), holes=inner).memory < whole.memory


@pytest.mark.parametrize("polish", [0, 1])
def test_the_tiles_counted_are_those_of_enclosed_holes(polish):
    from skyfill.holes.runs import Runs
    from skyfill.mosaic import count_tiles

    nside = 128
    observed, inner = holed(nside)
    prior = Prior(nside, lcdm(), fwhm=math.radians(1.2), noise_uk_arcmin=300.0)
    config = MosaicConfig(
        **TILES | {"polish": polish, "polished_nside": 32, "near": 0.0, "rim": 4.0}
    )
    options = {"prior": prior, "holes": "enclosed", "config": config, "network": False}
    fitter = Inpainter(draw(prior, seed=1), observed, **options)
    made = {name: tiles._useful.size for name, tiles in fitter._fill._sets.items()}
    told = count_tiles(
        observed, Runs.of(observed, False), config, polished=bool(polish), wanted=inner
    )
    assert told == made
    whole = count_tiles(observed, Runs.of(observed, False), config, polished=bool(polish))
    assert sum(made.values()) < sum(whole.values())


def test_validation_copies_and_judges_enclosed_holes(patch, values):
    observed, inner = patch
    found = validate(
        np.where(observed, values, np.nan),
        observed,
        method="gaussian",
        prior=KNOWN,
        realizations=4,
        share=0.2,
        seed=1,
    )
    copies = found.holes.held_out
    assert copies.any()
    assert not np.any(copies & ~observed)
    np.testing.assert_array_equal(found.filler.holes, inner | copies)
    assert found.scores.hole_pixels == np.count_nonzero(inner | copies)
    assert max(found.holes.sizes) <= label_holes(~inner).sizes.max() * 1.2
    assert 0.5 < found.figures["rms_over_expected"].value < 1.6
    assert found.scores.one_point is None  # wants a whole sky
    assert "seam_step" in found.figures
    assert found.as_dict()["onepoint_p_value"] is None
    footprint = patch_of(NSIDE)
    found = validate(
        np.where(observed, values, np.nan),
        observed,
        method="gaussian",
        prior=KNOWN,
        realizations=2,
        footprint=footprint,
    )
    copies = found.holes.held_out
    np.testing.assert_array_equal(found.filler.holes, (footprint & ~observed) | copies)


def test_a_fill_that_misses_what_it_should_fill_is_not_judged(patch, values):
    observed, inner = patch
    outside = ~(observed | inner)
    sky = np.where(outside, np.nan, values)
    scores = score_sky([sky], observed, outside=outside)
    assert scores.hole_pixels == np.count_nonzero(inner)
    sky[np.flatnonzero(inner)[0]] = np.nan
    with pytest.raises(ValueError, match="a fill misses 1 pixels"):
        score_sky([sky], observed, outside=outside)
