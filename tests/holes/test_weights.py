"""Masks and weights in another frame, at another Nside, and out of files."""

import healpy
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given, settings
from hypothesis import strategies as st

import skyfill
from skyfill import read_weights, regrade_mask, rotate_mask

FRAMES = {"G": "galactic", "C": "icrs", "E": "barycentricmeanecliptic"}
PAIRS = [(a, b) for a in FRAMES for b in FRAMES if a != b]


def turned(lon, lat, start, end):
    """Turn positions, degrees, by astropy, which the code does not use here."""
    there = SkyCoord(lon, lat, unit="deg", frame=FRAMES[start]).transform_to(FRAMES[end])
    return there.spherical.lon.deg, there.spherical.lat.deg


def everywhere(count, seed):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 360, count), np.degrees(np.arcsin(rng.uniform(-1, 1, count)))


def masked_discs(nside, lon, lat, degrees):
    return skyfill.discs(nside, np.radians(lon), np.radians(lat), np.radians(degrees))


def edge(observed):
    """Tell which pixels touch a pixel that is otherwise."""
    nside = healpy.npix2nside(observed.size)
    around = healpy.get_all_neighbours(nside, np.arange(observed.size))
    return ((observed[around] != observed) & (around >= 0)).any(axis=0)


# --- frames -------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["centres", "harmonics"])
@pytest.mark.parametrize(("start", "end"), PAIRS)
def test_sources_are_masked_before_and_after(start, end, by):
    lon, lat = everywhere(30, seed=1)
    before = masked_discs(32, lon, lat, 4.0)
    after = rotate_mask(before, start, end, by=by)
    assert not before[healpy.ang2pix(32, lon, lat, lonlat=True)].any()
    assert not after[healpy.ang2pix(32, *turned(lon, lat, start, end), lonlat=True)].any()
    # And with the sky of discs that are drawn in the new frame, it differs at their edges only.
    expected = masked_discs(32, *turned(lon, lat, start, end), 4.0)
    wrong = after != expected
    assert not (wrong & ~edge(expected)).any()
    assert after.mean() == pytest.approx(before.mean(), abs=0.01)


@pytest.mark.parametrize(("start", "end"), PAIRS)
def test_centres_are_those_of_healpys_rotator(start, end):
    """Where no masked pixel's centre is added, each pixel has what healpy finds at its centre."""
    before = masked_discs(16, *everywhere(20, seed=2), 9.0)
    back = healpy.Rotator(coord=[end, start])(*healpy.pix2ang(16, np.arange(before.size)))
    found = before[healpy.ang2pix(16, *back)]
    after = rotate_mask(before, start, end)
    there = healpy.Rotator(coord=[start, end])(*healpy.pix2ang(16, np.flatnonzero(~before)))
    found[healpy.ang2pix(16, *there)] = False
    np.testing.assert_array_equal(after, found)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), pair=st.sampled_from(PAIRS))
def test_no_hole_is_lost_however_small(seed, pair):
    assert_no_hole_is_lost(seed, pair, "centres")


def test_nor_is_one_lost_in_harmonics():
    assert_no_hole_is_lost(1, ("C", "G"), "harmonics")


def assert_no_hole_is_lost(seed, pair, by):
    before = np.ones(12 * 16**2, bool)
    before[np.random.default_rng(seed).choice(before.size, 40, replace=False)] = False
    after = rotate_mask(before, *pair, by=by)
    lon, lat = healpy.pix2ang(16, np.flatnonzero(~before), lonlat=True)
    assert not after[healpy.ang2pix(16, *turned(lon, lat, *pair), lonlat=True)].any()


@pytest.mark.parametrize("middle", ["C", "E"])
def test_there_and_back_costs_edges_only(middle):
    before = skyfill.simulate_mask(64, seed=1, kind="both")
    there = rotate_mask(before, "G", middle)
    back = rotate_mask(there, middle, "G")
    assert there.mean() == pytest.approx(before.mean(), abs=0.01)
    assert back.mean() == pytest.approx(before.mean(), abs=0.01)
    assert not (back & ~before).any()
    assert not ((back != before) & ~edge(before)).any()


def test_weights_turn_as_a_smooth_function():
    """A weight that is known anywhere: a band that rises with the distance to the plane."""

    def weight(lat):
        return np.sin(np.pi / 2 * np.clip((np.abs(lat) - 10) / 30, 0, 1)) ** 2

    lon, lat = healpy.pix2ang(64, np.arange(12 * 64**2), lonlat=True)
    given_weights = weight(lat)
    after = rotate_mask(given_weights, "G", "C")
    galactic = turned(lon, lat, "C", "G")[1]
    expected = weight(galactic)
    assert after.dtype == np.float64
    assert np.abs(after - expected)[np.abs(galactic) > 12].max() < 5e-4
    assert np.abs(after - expected).max() < 0.01  # at the hole, which is larger by a pixel
    by_centres = rotate_mask(given_weights, "G", "C", by="centres")
    assert np.std(after - expected) < 0.1 * np.std(by_centres - expected)
    assert not after[np.abs(galactic) < 9].any()  # ringing gives nothing to the hole
    assert after.max() <= 1


def test_a_frame_has_many_names_and_its_own_mask():
    before = masked_discs(16, *everywhere(5, seed=3), 9.0)
    expected = rotate_mask(before, "G", "C")
    for words in (("galactic", "ICRS"), ("Galactic", "equatorial"), ("gal", "celestial")):
        np.testing.assert_array_equal(rotate_mask(before, *words), expected)
    same = rotate_mask(before, "ecliptic", "E")
    np.testing.assert_array_equal(same, before)
    assert same is not before


@pytest.mark.parametrize("kind", ["uint8", "int64", "float32", "float64"])
def test_zeros_and_ones_of_any_type_are_a_mask(kind):
    before = masked_discs(16, *everywhere(5, seed=3), 9.0)
    numbers = before.astype(kind)
    np.testing.assert_array_equal(rotate_mask(numbers, "G", "E"), rotate_mask(before, "G", "E"))
    coarse = regrade_mask(numbers, 8)
    assert coarse.dtype == bool
    np.testing.assert_array_equal(coarse, regrade_mask(before, 8))


def test_what_is_missing_is_not_observed():
    before = masked_discs(16, *everywhere(5, seed=3), 9.0)
    expected = rotate_mask(before, "G", "E")
    for kind in (np.nan, healpy.UNSEEN, np.inf):
        np.testing.assert_array_equal(rotate_mask(np.where(before, 1.0, kind), "G", "E"), expected)
    held = np.ma.array(np.ones(before.size), mask=~before)
    np.testing.assert_array_equal(rotate_mask(held, "G", "E"), expected)
    held = np.ma.array(np.ones(before.size, bool), mask=~before)
    np.testing.assert_array_equal(rotate_mask(held, "G", "E"), expected)


# --- resolutions --------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    low=st.sampled_from([1, 2, 8]),
    ratio=st.sampled_from([1, 2, 4]),
    share=st.sampled_from([0.01, 0.25, 0.5, 0.75, 1.0]),
)
def test_coarser_is_observed_where_enough_is(seed, low, ratio, share):
    rng = np.random.default_rng(seed)
    fine = rng.random(12 * (low * ratio) ** 2) < rng.random()
    mean = healpy.ud_grade(fine.astype(float), low)
    np.testing.assert_array_equal(regrade_mask(fine, low, share=share), mean > share - 1e-9)
    # Nothing masked gets in unless asked for.
    assert not (regrade_mask(fine, low) & (mean < 1)).any()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), low=st.sampled_from([1, 2, 8]), ratio=st.sampled_from([2, 4]))
def test_finer_is_as_the_pixel_that_holds_it(seed, low, ratio):
    coarse = np.random.default_rng(seed).random(12 * low**2) < 0.5
    fine = regrade_mask(coarse, low * ratio)
    vectors = healpy.pix2vec(low * ratio, np.arange(fine.size))
    np.testing.assert_array_equal(fine, coarse[healpy.vec2pix(low, *vectors)])
    np.testing.assert_array_equal(regrade_mask(fine, low), coarse)


def test_coarser_weights_are_means_where_all_weigh():
    fine = np.clip(np.random.default_rng(0).uniform(-0.2, 1, 12 * 16**2), 0, 1)
    mean = healpy.ud_grade(fine, 8)
    least = healpy.ud_grade((fine > 0).astype(float), 8)
    np.testing.assert_allclose(regrade_mask(fine, 8), np.where(least == 1, mean, 0))
    np.testing.assert_allclose(regrade_mask(fine, 8, share=0.5), np.where(least >= 0.5, mean, 0))
    np.testing.assert_allclose(healpy.ud_grade(regrade_mask(fine, 32), 16), fine)


# --- what is refused ----------------------------------------------------------------------------

MASK = np.arange(768) % 7 > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rotate_mask(MASK, "G", "X"), "no frame is called 'X'"),
        (lambda: rotate_mask(MASK, "supergalactic", "G"), "'supergalactic': give G"),
        (lambda: rotate_mask(MASK, "G", "C", by="magic"), "`by` must be 'centres' or 'harmonics'"),
        (lambda: rotate_mask(MASK[:-1], "G", "C"), "12 Nside² pixels, got 767"),
        (lambda: rotate_mask(np.linspace(-1, 1, 768), "G", "C"), "holds -1 to 1"),
        (lambda: rotate_mask(["a"] * 768, "G", "C"), "must be booleans or numbers"),
        (
            lambda: rotate_mask(MASK.reshape(2, -1), "G", "C"),
            r"the shape \(2, 384\); a leading axis",
        ),
        (lambda: regrade_mask(MASK, 12), "power of two .* got 12"),
        (lambda: regrade_mask(MASK, 4, share=0), "`share` must be above 0"),
        (lambda: regrade_mask(MASK, 4, share=1.1), "at most 1, got 1.1"),
        (lambda: regrade_mask(MASK, 4, share=float("nan")), "`share` must be"),
    ],
)
def test_what_cannot_be_meant_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("nest", [False, True])
@pytest.mark.parametrize("partial", [False, True])
def test_weights_are_read(tmp_path, nest, partial):
    weights = np.linspace(0, 1, 3072)
    weights[100:110] = healpy.UNSEEN
    healpy.write_map(tmp_path / "w.fits", weights, nest=nest, partial=partial, dtype=np.float64)
    ring = healpy.reorder(weights, n2r=True) if nest else weights
    known = np.where(ring > 1e-4, ring, 0)
    np.testing.assert_allclose(read_weights(tmp_path / "w.fits"), known)
    inverted = np.where(ring < 0, 0, 1 - ring)
    inverted[inverted < 1e-4] = 0
    np.testing.assert_allclose(read_weights(tmp_path / "w.fits", invert=True), inverted)


def test_roundings_are_no_weights(tmp_path):
    stored = np.resize([1.0000016666803668, -7.49e-15, 3e-6, 0.5, -5e-5], 768)
    skyfill.write_map(tmp_path / "w.fits", stored, unit="", dtype="float64")
    expected = np.resize([1, 0, 0, 0.5, 0], 768)
    np.testing.assert_array_equal(read_weights(tmp_path / "w.fits"), expected)


@pytest.mark.parametrize(
    ("values", "unit", "message"),
    [
        (np.linspace(0, 1000, 768), "", r"holds 0 to 1000; .* divide hits"),
        (np.linspace(-300, 300, 768), "", r"holds -300 to 300; weights are from 0"),
        (np.resize([0, 1, 2, 63], 768), "", r"holds 0 to 63"),
        (np.zeros(768), "", r"gives no pixel a weight"),
        (np.linspace(0, 50, 768), "uK_CMB", r"has the unit uK_CMB, so it is a map"),
        (np.linspace(0, 50, 768), "K", r"has the unit K, so it is a map"),
    ],
)
def test_what_is_no_weight_is_refused(tmp_path, values, unit, message):
    skyfill.write_map(tmp_path / "w.fits", values, unit=unit, dtype="float64")
    with pytest.raises(ValueError, match=message) as caught:
        read_weights(tmp_path / "w.fits")
    assert str(tmp_path / "w.fits") in str(caught.value)
