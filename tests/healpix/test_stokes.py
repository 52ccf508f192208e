"""The Stokes axis: one place turns arrays into resolutions, and three components travel as one."""

import doctest

import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import skyfill
from skyfill import harmonics, healpix
from skyfill.healpix import stokes
from skyfill.healpix.arrays import as_map, as_mask, as_stokes_map, as_stokes_mask
from skyfill.healpix.stokes import (
    INTENSITY,
    POLARIZED,
    by_component,
    nside_of,
    nside_of_length,
    one_component,
    same_sky,
    sky_shape,
)

NSIDE = 16
NPIX = 12 * NSIDE**2
NSIDES = st.sampled_from([1, 2, 4, 8, 16, 32])
#: What may lead a map, and its components.
LEADS = st.sampled_from([((), INTENSITY), ((1,), INTENSITY), ((3,), POLARIZED)])


def hollow(shape):
    """Give an array of any shape that takes no memory: only shapes are looked at."""
    return np.broadcast_to(np.float32(0), shape)


def sky_of(seed, nside=NSIDE, lead=(3,)):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 100, (*lead, 12 * nside**2))


def masks_of(seed):
    return np.stack([skyfill.simulate_mask(NSIDE, seed=seed + each) for each in range(3)])


@given(nside=st.sampled_from([2**k for k in range(14)]), lead=LEADS)
def test_a_shape_says_resolution_and_components(nside, lead):
    axes, stokes = lead
    found = sky_shape(hollow((*axes, 12 * nside**2)), "values")
    assert (found.nside, found.stokes, found.axis) == (nside, stokes, bool(axes))
    assert found.shape == (*axes, found.npix)


@given(nside=NSIDES, count=st.integers(0, 30).filter(lambda n: n not in (1, 3)))
def test_another_leading_axis_is_never_taken_for_pixels(nside, count):
    stacked = hollow((count, 12 * nside**2))
    for reads in (sky_shape, nside_of, one_component):
        with pytest.raises(
            ValueError,
            match=r"^values: it has the shape .*; a leading axis holds 1 component \(I\) or 3 "
            rf"components \(I, Q, U\), not {count}. Give one map, \(npix,\): values\[0\]",
        ):
            reads(stacked, "values")


def test_four_maps_of_nside_64_are_not_one_of_nside_128():
    stacked = np.zeros((4, 12 * 64**2))
    assert nside_of_length(stacked.size, "values") == 128  # the trap
    for takes in (as_map, as_mask, as_stokes_map, as_stokes_mask):
        with pytest.raises(ValueError, match=r"the shape \(4, 49152\); a leading axis holds"):
            takes(stacked)


@given(shape=st.lists(st.integers(0, 12), min_size=3, max_size=5).map(tuple))
def test_more_axes_are_no_map(shape):
    for reads in (sky_shape, nside_of, one_component):
        with pytest.raises(ValueError, match=r"it has the shape .*; give one map, \(npix,\)"):
            reads(hollow(shape), "values")


@given(
    npix=st.integers(0, 10**7).filter(lambda n: n not in {12 * 4**k for k in range(14)}),
    lead=LEADS,
)
def test_numbers_of_pixels_that_no_sky_has_are_refused(npix, lead):
    with pytest.raises(ValueError, match=r"12 Nside² pixels|power of two"):
        sky_shape(hollow((*lead[0], npix)), "values")


@given(nside=NSIDES)
def test_who_takes_one_component_says_so(nside):
    three = hollow((3, 12 * nside**2))
    with pytest.raises(
        ValueError,
        match=r"^`values` has 3 components \(I, Q, U\): diffuse takes one; pass values\[0\]$",
    ):
        one_component(three, "values", "diffuse")
    with pytest.raises(ValueError, match=r"^`observed` has 3 .*is wanted; pass observed\[0\]$"):
        nside_of(three, "`observed`")
    assert one_component(three[:1], "values").shape == three[0].shape
    with pytest.raises(ValueError, match=r"1 component \(I\): \(npix,\) is wanted"):
        nside_of(three[:1], "values")


def test_rows_of_one_spin_are_transformed_together():
    assert POLARIZED.rows() == ((0, slice(0, 1)), (2, slice(1, 3)))
    assert INTENSITY.rows() == ((0, slice(0, 1)),)
    for each in (INTENSITY, POLARIZED):
        assert len(each.components) == len(each.harmonics) == len(each.spins) == len(each)


@given(nside=NSIDES, sky=LEADS, seen=LEADS)
def test_one_mask_serves_all_components_and_each_may_have_its_own(nside, sky, seen):
    values = hollow((*sky[0], 12 * nside**2))
    observed = np.arange(12 * nside**2) % 3 > 0
    given_mask = np.stack([observed] * seen[0][0]) if seen[0] else observed
    if len(seen[1]) > len(sky[1]):
        with pytest.raises(ValueError, match=r"the map has 1 component .* the mask has 3"):
            same_sky(values, given_mask)
        return
    found = same_sky(values, given_mask)
    assert found.shape == values.shape
    np.testing.assert_array_equal(found, np.broadcast_to(observed, values.shape))
    with pytest.raises(ValueError, match=f"the map has Nside {nside}, the mask has Nside"):
        same_sky(values, np.repeat(observed, 4))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    lead=LEADS,
    kind=st.sampled_from([np.float32, np.float64, ">f4", ">f8"]),
    masked=st.booleans(),
)
def test_components_are_converted_as_single_maps_are(seed, lead, kind, masked):
    values = sky_of(seed, 4, lead[0]).astype(kind)
    values.reshape(-1)[::5] = hp.UNSEEN
    values.reshape(-1)[::7] = np.inf
    values = np.ma.masked_where(np.arange(values.size).reshape(values.shape) % 11 == 0, values)
    values = values if masked else np.asarray(np.ma.getdata(values))
    found = as_stokes_map(values)
    assert found.shape == values.shape
    for ours, theirs in zip(np.atleast_2d(found), np.ma.atleast_2d(values), strict=True):
        np.testing.assert_array_equal(ours, as_map(theirs))
        assert ours.dtype == as_map(theirs).dtype


@given(seed=st.integers(0, 2**32), lead=LEADS, kind=st.sampled_from([bool, int, float]))
@settings(max_examples=40, deadline=None)
def test_masks_of_components_are_converted_as_single_masks_are(seed, lead, kind):
    observed = np.random.default_rng(seed).random((*lead[0], 192)) < 0.5
    found = as_stokes_mask(observed.astype(kind))
    assert found.dtype == np.bool_
    np.testing.assert_array_equal(found, observed)


def test_what_fits_already_is_not_copied():
    values, observed = sky_of(1), masks_of(1)
    assert as_stokes_map(values) is values
    assert as_stokes_mask(observed) is observed
    assert np.shares_memory(as_map(values[:1]), values)


def test_a_soft_mask_of_one_component_is_refused_in_any():
    observed = masks_of(1).astype(float)
    observed[2, 7] = 0.5
    with pytest.raises(ValueError, match="between 0 and 1"):
        as_stokes_mask(observed)


MASK_FUNCTIONS = {
    "grow": lambda m: skyfill.grow(m, 0.05),
    "fill_islands": lambda m: skyfill.fill_islands(m, 4),
    "distance_to_edge": skyfill.distance_to_edge,
    "distance in the observed sky": lambda m: skyfill.distance_to_edge(m, of_observed=True),
    "regrade_mask, coarser": lambda m: skyfill.regrade_mask(m, 8, share=0.5),
    "regrade_mask, finer": lambda m: skyfill.regrade_mask(m, 32),
    "rotate_mask": lambda m: skyfill.rotate_mask(m, "G", "C"),
    "rotate_mask in harmonics": lambda m: skyfill.rotate_mask(m, "G", "C", by="harmonics"),
    "reorder": lambda m: healpix.reorder(m, nest_in=False, nest_out=True),
    "find_holes": lambda m: skyfill.find_holes(np.ones(m.shape), m),
}


@pytest.mark.filterwarnings("ignore:.*hold exactly 1 µK")
@pytest.mark.parametrize("name", MASK_FUNCTIONS)
def test_masks_of_three_components_are_three_masks(name):
    function, masks = MASK_FUNCTIONS[name], masks_of(3)
    masks[2] = masks[1]  # Q and U are observed together
    found = function(masks)
    for ours, each in zip(found, masks, strict=True):
        np.testing.assert_array_equal(ours, function(each))
    assert not np.array_equal(found[0], found[1])
    np.testing.assert_array_equal(function(masks[:1]), found[:1])


def test_weights_of_three_components_keep_their_values():
    weights = masks_of(3) * np.linspace(0.1, 1, NPIX)
    found = skyfill.regrade_mask(weights, 8, share=0.5)
    assert found.shape == (3, NPIX // 4)
    for ours, each in zip(found, weights, strict=True):
        np.testing.assert_array_equal(ours, skyfill.regrade_mask(each, 8, share=0.5))


def test_q_without_u_is_a_hole_of_both():
    values, observed = sky_of(1), masks_of(1)[0]
    first, second = np.flatnonzero(observed)[:2]
    values[1, first] = values[2, second] = np.nan
    with pytest.warns(UserWarning, match=r"^4 pixels that the mask calls observed are missing"):
        holes = skyfill.find_holes(values, observed)
    np.testing.assert_array_equal(holes[0], ~observed)
    assert holes[1:, [first, second]].all()
    np.testing.assert_array_equal(holes[1], holes[2])
    assert np.count_nonzero(holes[1]) == np.count_nonzero(~observed) + 2


def test_a_component_that_is_wholly_missing_is_refused():
    values, observed = sky_of(1), masks_of(1)
    observed[2] = False
    with pytest.raises(skyfill.masks.UnusableSkyError, match="leaves no pixel observed"):
        skyfill.find_holes(values, observed)
    values[1] = np.nan
    observed[2] = observed[1]
    with pytest.raises(skyfill.masks.UnusableSkyError, match="nothing is left to fill from"):
        skyfill.find_holes(values, observed)


def test_one_component_may_be_whole():
    values, observed = sky_of(1), masks_of(1)
    observed[0], observed[2] = True, observed[1]
    holes = skyfill.find_holes(values, observed)
    np.testing.assert_array_equal(holes, ~observed)


# Harmonics


def alm_of(seed, lmax=2 * NSIDE):
    cl = 1 / (1.0 + np.arange(lmax + 1)) ** 2
    polarized = np.where(np.arange(lmax + 1) < 2, 0, cl)  # spin 2 begins at l = 2
    np.random.seed(seed)  # noqa: NPY002 - healpy draws from it
    return hp.synalm([cl, polarized, 0.3 * polarized, 0.5 * polarized], new=True)


@pytest.mark.parametrize("seed", [1, 2])
def test_three_components_are_those_of_healpy(seed):
    """Independent code, and the sign of U: that of COSMO, as healpy's."""
    alm = alm_of(seed)
    sky = harmonics.synthesis(alm, NSIDE, threads=1)
    theirs = np.array(hp.alm2map(list(alm), NSIDE, pixwin=False))
    np.testing.assert_allclose(sky, theirs, atol=1e-12 * np.abs(theirs).max())
    found = harmonics.analysis(sky, lmax=2 * NSIDE, iterations=3, threads=1)
    theirs = np.array(hp.map2alm(sky, lmax=2 * NSIDE, iter=3, pol=True))
    np.testing.assert_allclose(found, theirs, atol=1e-11 * np.abs(theirs).max())
    np.testing.assert_allclose(found, alm, atol=5e-4 * np.abs(alm).max())


def test_the_temperature_of_three_components_is_that_of_one_bit_by_bit():
    sky, observed = sky_of(5), masks_of(5)
    for transform in (
        lambda m, o: harmonics.adjoint(m, lmax=20, observed=o, threads=1),
        lambda m, o: harmonics.analysis(m, lmax=20, observed=o, iterations=2, threads=1),
    ):
        one = transform(sky[0], observed[0])
        np.testing.assert_array_equal(transform(sky, observed)[0], one)
        np.testing.assert_array_equal(transform(sky[:1], observed[0]), one[None])
    alm = alm_of(5)
    one = harmonics.synthesis(alm[0], NSIDE, threads=1)
    np.testing.assert_array_equal(harmonics.synthesis(alm, NSIDE, threads=1)[0], one)
    np.testing.assert_array_equal(harmonics.synthesis(alm[:1], NSIDE, threads=1), one[None])


def inner(one, other):
    """Sum over all m of real fields: m > 0 counts twice."""
    lmax = harmonics.lmax_of(one)
    twice = np.where(np.arange(one.shape[-1]) > lmax, 2.0, 1.0)
    return float(np.sum(twice * (one * np.conj(other)).real))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_adjoint_is_the_transpose_of_synthesis_for_three_components(seed):
    alm, sky = alm_of(seed), sky_of(seed)
    alm[1:, [0, 1, harmonics.lmax_of(alm) + 1]] = 7.0  # spin 2 has no such modes
    observed = masks_of(seed % 100)
    there = float(np.sum(np.where(observed, sky, 0) * harmonics.synthesis(alm, NSIDE, threads=1)))
    back = harmonics.adjoint(sky, lmax=2 * NSIDE, observed=observed, threads=1)
    assert there == pytest.approx(inner(back, alm), rel=1e-10, abs=1e-6)


def test_the_pixel_weights_of_temperature_serve_polarization():
    """Q and U of a pixel have one weight; then sums over pixels are exact to 1.5 Nside."""
    lmax = int(1.5 * NSIDE)
    alm = alm_of(3, lmax)
    weighted = harmonics.synthesis(alm, NSIDE, threads=1) * harmonics.pixel_weights(NSIDE)
    found = harmonics.adjoint(weighted, lmax=lmax, threads=1) * (4 * np.pi / NPIX)
    assert np.abs(found - alm).max() < 1e-6 * np.abs(alm).max()
    equal = harmonics.analysis(harmonics.synthesis(alm, NSIDE, threads=1), lmax=lmax, threads=1)
    assert np.abs(equal - alm)[1:].max() > 1e-5 * np.abs(alm).max()


def test_large_maps_are_transformed_in_blocks_of_rings(monkeypatch):
    from skyfill.harmonics import sphere

    alm = alm_of(4)
    whole = harmonics.synthesis(alm, NSIDE, threads=1)
    back = harmonics.analysis(whole, lmax=20, iterations=1, threads=1)
    monkeypatch.setattr(sphere, "_PIXELS", 500)
    sphere._blocks.cache_clear()
    try:
        assert len(sphere._blocks(NSIDE, 2 * NSIDE, 2)) > 3
        parts = harmonics.synthesis(alm, NSIDE, threads=1)
        np.testing.assert_allclose(parts, whole, atol=1e-13 * np.abs(whole).max())
        ours = harmonics.analysis(whole, lmax=20, iterations=1, threads=1)
        np.testing.assert_allclose(ours, back, atol=1e-12 * np.abs(back).max())
    finally:
        sphere._blocks.cache_clear()


@pytest.mark.parametrize("count", [0, 2, 4])
def test_other_numbers_of_coefficients_are_refused(count):
    with pytest.raises(ValueError, match=r"alm: it has the shape .*\(3, nalm\) for T, E and B"):
        harmonics.synthesis(np.zeros((count, 45), complex), NSIDE)


@given(seed=st.integers(0, 2**32), lead=LEADS, nside=NSIDES)
@settings(max_examples=20, deadline=None)
def test_reordering_there_and_back_keeps_every_component(seed, lead, nside):
    values = sky_of(seed, nside, lead[0])
    nested = healpix.reorder(values, nest_in=False, nest_out=True)
    assert nested.shape == values.shape
    for ours, each in zip(np.atleast_2d(nested), np.atleast_2d(values), strict=True):
        np.testing.assert_array_equal(ours, hp.reorder(each, r2n=True))
    np.testing.assert_array_equal(healpix.reorder(nested, nest_in=True, nest_out=False), values)


@given(lead=LEADS, nside=NSIDES)
def test_a_function_of_one_component_is_applied_to_each(lead, nside):
    values = sky_of(1, nside, lead[0])
    np.testing.assert_array_equal(by_component(lambda m: m[::-2], values), values[..., ::-2])


def test_the_examples_are_right():
    found = doctest.testmod(stokes)
    assert found.attempted > 3
    assert not found.failed
