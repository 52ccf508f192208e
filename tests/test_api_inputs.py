"""Every public function takes maps and masks as users of healpy and astropy hold them."""

import math
import re
from types import SimpleNamespace

import healpy as hp
import numpy as np
import pytest
from astropy import units as u
from hypothesis import given, settings
from hypothesis import strategies as st

import skyfill
from skyfill import tiling
from skyfill.healpix.arrays import as_map, as_mask, as_skies
from skyfill.healpix.checks import check_nside, check_seed, device_name
from skyfill.tiling import blending

NSIDE = 16
NPIX = 12 * NSIDE**2
PRIOR = skyfill.Prior(NSIDE, skyfill.lcdm(), fwhm=0.08, noise_uk_arcmin=300.0)
#: Whole numbers, which lists, integers and float32 hold alike.
SKY = np.rint(skyfill.simulate_sky(NSIDE, seed=1, fwhm=0.08, noise_uk_arcmin=300.0))
MASK = skyfill.simulate_mask(NSIDE, seed=2, half_width=0.2, n_holes=9, radii=(0.1, 0.2))
WINDOW = blending.window((8, 8))
LAYOUT = skyfill.Layout(NSIDE, 40.0, 50.0, (8, 8), 200.0)
WHOLE = skyfill.diffuse.diffuse(SKY, MASK)


def filled(values, observed):
    filler = skyfill.Inpainter(values, observed, method="diffuse")
    return filler.mean()


def posterior(values, observed):
    return skyfill.Inpainter(values, observed, method="gaussian", prior=PRIOR).realization()


def another(values, observed):
    first = skyfill.Inpainter(WHOLE, observed, method="diffuse")
    return first.with_map(values).mean()


def compared(values, observed):
    found = skyfill.spectra.compare(values, PRIOR, observed=observed)
    return np.append(found.full.cl, found.cut.cl)


def judged(values, observed):
    truth = np.where(MASK, WHOLE, 0.9 * WHOLE)
    found = skyfill.fidelity.score_sky(values, observed, truth=truth)
    return np.array([found.figures[name].value for name in sorted(found.figures)])


def cut(values, observed):
    return tiling.cut(values, observed, [LAYOUT])[0]


def dataset_cut(values, observed):
    geometry = skyfill.dataset.TileGeometry(NSIDE, 8, "gnomonic", 60.0)
    return geometry.cut(values, observed, np.array([40.0]), np.array([60.0]))[0]


#: What takes a map and its mask, and what it makes of them. The second group wants whole maps.
PAIRS = {
    "find_holes": skyfill.find_holes,
    "diffuse": skyfill.diffuse.diffuse,
    "diffuse_holes": skyfill.diffuse.diffuse_holes,
    "Inpainter": filled,
    "Inpainter.with_map": another,
    "tiling.cut": cut,
    "TileGeometry.cut": dataset_cut,
    "harmonics.analysis": lambda v, o: skyfill.harmonics.analysis(v, lmax=8, observed=o),
    "gaussian.degrade": lambda v, o: skyfill.gaussian.degrade(v, o, 4)[0],
}
WHOLE_PAIRS = {
    "spectra.compare": compared,
    "fidelity.score_sky": judged,
    "fidelity.one_point": lambda v, o: skyfill.fidelity.one_point(v, o, rotations=3).null_ks,
    "fidelity.seams": lambda v, o: skyfill.fidelity.seams(v, o)["seam_step"].value,
}
MAPS = {
    "tiling.cut_nearest": lambda v: tiling.cut_nearest(v, [LAYOUT]),
    "tiling.gather": lambda v: tiling.gather(v, [LAYOUT], window=WINDOW),
    "batch.binned_cl": skyfill.batch.binned_cl,
    "fidelity.asymmetries": lambda v: skyfill.fidelity.asymmetries(v)["asymmetry_ns_large"].value,
    "pictures.mollweide": lambda v: skyfill.pictures.mollweide(v, height=20),
    "pictures.close_up": lambda v: skyfill.pictures.close_up(v, 10.0, 20.0, width=0.4, pixels=9),
    "harmonics.adjoint": lambda v: skyfill.harmonics.adjoint(v, lmax=4),
}
MASKS = {
    "label_holes": lambda o: skyfill.label_holes(o).labels,
    "fill_islands": lambda o: skyfill.fill_islands(o, 3),
    "distance_to_edge": skyfill.distance_to_edge,
    "grow": lambda o: skyfill.grow(o, 0.1),
    "held_out_holes": lambda o: skyfill.fidelity.held_out_holes(o, seed=1).labels,
    "wide_holes": lambda o: skyfill.mosaic.wide_holes(o, 0.1),
    "plan.make_plan": lambda o: skyfill.plan.make_plan(o, skyfill.plan.Request()).hole_pixels,
    "apodized": lambda o: skyfill.spectra.apodized(as_mask(o), 0.1),
    "tiling.sees": lambda o: tiling.sees(o, [LAYOUT], threshold=0.5),
    "tiling.plan": lambda o: [
        each.lon_deg for each in tiling.plan(o, side=64, pixel_arcmin=60.0, margin=0.0)
    ],
}

#: The same map in other clothes: NaN where it is missing.
WAYS = {
    "float32": lambda x: x.astype(np.float32),
    "big-endian": lambda x: x.astype(">f8"),
    "big-endian float32": lambda x: x.astype(">f4"),
    "list": lambda x: x.tolist(),
    "UNSEEN": lambda x: np.where(np.isnan(x), hp.UNSEEN, x),
    "float32 UNSEEN": lambda x: np.where(np.isnan(x), hp.UNSEEN, x).astype(np.float32),
    "inf": lambda x: np.where(np.isnan(x), -np.inf, x),
    "hp.ma": lambda x: hp.ma(np.where(np.isnan(x), hp.UNSEEN, x)),
    "numpy.ma": lambda x: np.ma.array(np.where(np.isnan(x), 7.0, x), mask=np.isnan(x)),
    "integers in numpy.ma": lambda x: np.ma.array(
        np.where(np.isnan(x), 7, x).astype(np.int32), mask=np.isnan(x)
    ),
    "not contiguous": lambda x: np.repeat(x, 2)[::2],
    "uK": lambda x: x * u.uK,
    "read-only": lambda x: np.frombuffer(x.tobytes()),
    "a SkyMap": lambda x: SimpleNamespace(values=x, unit_to_uk=1.0, nside=NSIDE),
}
MASK_WAYS = {
    "0 and 1": lambda m: m.astype(np.int64),
    "uint8": lambda m: m.astype(np.uint8),
    "big-endian": lambda m: m.astype(">i2"),
    "floats": lambda m: m.astype(float),
    "big-endian floats": lambda m: m.astype(">f4"),
    "rounded": lambda m: m * np.float32(1.0000017) + 1e-7,
    "list": lambda m: m.tolist(),
    "list of 0 and 1": lambda m: m.astype(int).tolist(),
    "not contiguous": lambda m: np.repeat(m, 2)[::2],
    "numpy.ma": lambda m: np.ma.array(np.ones(m.size), mask=~m),
    "hp.ma": lambda m: hp.ma(np.where(m, 1.0, hp.UNSEEN)),
    "NaN where masked": lambda m: np.where(m, 1.0, np.nan),
}


def missing_some(values=SKY):
    """Give the map with some observed pixels missing."""
    out = values.copy()
    out[::97] = np.nan
    return out


def same(ours, theirs):
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


@pytest.mark.filterwarnings("ignore:.*missing in the map")
@pytest.mark.parametrize("way", ["hp.ma", "float32 UNSEEN", "list", "uK", "a SkyMap"])
@pytest.mark.parametrize("name", PAIRS)
def test_a_map_and_a_mask_mean_the_same_in_any_form(name, way):
    values = missing_some()
    values[~MASK] = np.nan
    if name in ("diffuse", "diffuse_holes", "harmonics.analysis", "gaussian.degrade"):
        values = np.where(MASK, SKY, np.nan)  # these want every observed pixel
    theirs = PAIRS[name](values, MASK)
    ours = PAIRS[name](WAYS[way](values), MASK_WAYS["0 and 1"](MASK))
    if way == "float32 UNSEEN":  # some work in the precision of the map
        np.testing.assert_allclose(ours, theirs, atol=2e-2)
    else:
        same(ours, theirs)


@pytest.mark.parametrize("way", ["big-endian", "list", "uK", "a SkyMap"])
@pytest.mark.parametrize("name", WHOLE_PAIRS)
def test_whole_maps_too(name, way):
    theirs = WHOLE_PAIRS[name](WHOLE, MASK)
    same(WHOLE_PAIRS[name](WAYS[way](WHOLE), MASK_WAYS["numpy.ma"](MASK)), theirs)


@pytest.mark.parametrize("way", ["big-endian", "list", "uK", "a SkyMap", "not contiguous"])
@pytest.mark.parametrize("name", MAPS)
def test_maps_alone_too(name, way):
    same(MAPS[name](WAYS[way](WHOLE)), MAPS[name](WHOLE))


@pytest.mark.parametrize("way", MASK_WAYS)
@pytest.mark.parametrize("name", MASKS)
def test_masks_alone_too(name, way):
    same(MASKS[name](MASK_WAYS[way](MASK)), MASKS[name](MASK))


def test_the_exact_posterior_is_the_same():
    values = np.where(MASK, SKY, np.nan)
    theirs = posterior(values, MASK)
    masked = posterior(hp.ma(np.where(MASK, SKY, hp.UNSEEN)), MASK.astype(np.uint8).tolist())
    # ducc0's transforms of small maps round differently at times
    np.testing.assert_allclose(masked, theirs, rtol=1e-9, atol=1e-6)
    in_kelvin = np.where(MASK, SKY * 1e-6, hp.UNSEEN) * u.K  # UNSEEN is no temperature
    np.testing.assert_allclose(posterior(in_kelvin, MASK), theirs, rtol=1e-9, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    holes=st.floats(0, 1),
    way=st.sampled_from(sorted(WAYS)),
    nside=st.sampled_from([1, 2, 4, 8]),
)
def test_any_form_of_a_map_gives_the_same_bits(seed, holes, way, nside):
    rng = np.random.default_rng(seed)
    values = np.rint(rng.normal(0, 100, 12 * nside**2))
    values[rng.random(values.size) < holes] = np.nan
    given = WAYS[way](values)
    kept = given.copy() if isinstance(given, np.ndarray) else given
    same(as_map(given), values)
    if isinstance(given, np.ndarray):  # the caller's array is as it was
        same(np.ma.getdata(given), np.ma.getdata(kept))
        same(np.ma.getmaskarray(given), np.ma.getmaskarray(kept))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), way=st.sampled_from(sorted(MASK_WAYS)))
def test_any_form_of_a_mask_gives_the_same_bits(seed, way):
    observed = np.random.default_rng(seed).random(192) < 0.5
    found = as_mask(MASK_WAYS[way](observed))
    assert found.dtype == np.bool_
    same(found, observed)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_what_fits_already_is_not_copied(kind):
    values = missing_some().astype(kind)
    assert as_map(values) is values
    assert as_mask(MASK) is MASK


@pytest.mark.parametrize(
    ("unit", "factor"), [(u.K, 1e6), (u.mK, 1e3), (u.uK, 1.0), (u.def_unit("K_CMB"), 1e6)]
)
def test_quantities_become_microkelvin(unit, factor):
    np.testing.assert_allclose(as_map(SKY * unit), SKY * factor)
    assert np.isnan(as_map(np.full(12, hp.UNSEEN) * unit)).all()


@pytest.mark.parametrize(
    "unit", [u.Jy / u.sr, u.dimensionless_unscaled, u.def_unit("K_RJ"), u.K**2]
)
def test_other_units_are_refused(unit):
    with pytest.raises(ValueError, match="is not a CMB temperature; convert it to K, mK or uK"):
        as_map(SKY * unit)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.zeros((4, 12)), r"it has the shape \(4, 12\)"),  # in all as many pixels as a map has
        (np.zeros((3, 1, 12)), r"it has the shape \(3, 1, 12\); give one map, \(npix,\)"),
        (np.zeros(NPIX - 1), "a full sky has 12 Nside² pixels"),
        (np.zeros(12 * 9), "power of two"),
        (5.0, r"it has the shape \(\)"),
        ([], "a full sky"),
        (None, "not real numbers"),
        ("map.fits", "not real numbers"),
        (np.zeros(12, complex), "not real numbers"),
        (np.zeros(12, bool), "holds True and False, so it is a mask"),
        (np.zeros(12, [("T", "f4"), ("Q", "f4")]), "a table with columns T, Q"),
        ([[1.0], [1.0, 2.0]], "not an array of numbers"),
    ],
)
def test_what_is_no_map_is_refused_by_name(values, why):
    with pytest.raises(ValueError, match=f"values: .*{why}"):
        as_map(values)


@pytest.mark.parametrize(
    ("observed", "why"),
    [
        (np.linspace(0, 1, 12), "values between 0 and 1"),
        (np.full(12, 0.999), "values between 0 and 1"),
        (np.arange(12), "it holds 0 to 11, so it is not a mask of 0 and 1"),
        (np.full(12, 255, np.uint8), "it holds 0 to 255"),
        (np.full(12, -1), "it holds -1 to 1"),
        (SKY, "so it is not a mask of 0 and 1; give the map first"),
        (hp.ma(SKY), "so it is not a mask of 0 and 1"),
        (np.ones((4, 12)), r"it has the shape \(4, 12\)"),
        (np.ones(13), "a full sky has 12 Nside² pixels"),
        (["yes"] * 12, "not real numbers"),
        (np.ones(12) * u.K, "a mask has no unit"),
        (SimpleNamespace(values=np.ones(12), unit_to_uk=1e6), "it is a SkyMap"),
    ],
)
def test_what_is_no_mask_is_refused_by_name(observed, why):
    with pytest.raises(ValueError, match=f"observed: .*{why}"):
        as_mask(observed)


REFUSING = {**PAIRS, **WHOLE_PAIRS}


@pytest.mark.parametrize("name", REFUSING)
def test_every_function_refuses_several_maps_and_soft_masks(name):
    soft = np.where(MASK, 1.0, 0.5)
    if name != "spectra.compare":  # which takes weights
        with pytest.raises(ValueError, match="between 0 and 1"):
            REFUSING[name](WHOLE, soft)
    if name not in ("spectra.compare", "fidelity.score_sky"):  # they take realizations
        with pytest.raises(ValueError, match=r"the shape \(4, 3072\); a leading axis holds"):
            REFUSING[name](np.stack([WHOLE] * 4), MASK)
    with pytest.raises(ValueError, match=r"Nside|pixels"):
        REFUSING[name](WHOLE, np.arange(12) > 5)


@pytest.mark.parametrize("name", MASKS)
def test_every_function_of_masks_refuses_what_is_none(name):
    with pytest.raises(ValueError, match="between 0 and 1"):
        MASKS[name](np.where(MASK, 1.0, 0.5))
    with pytest.raises(ValueError, match="not a mask of 0 and 1"):
        MASKS[name](SKY)


def test_realizations_come_as_an_array_a_list_or_one_by_one():
    pair = np.stack([WHOLE, WHOLE[::-1]])
    for form in (pair, list(pair), iter(pair), pair * u.uK, np.ma.array(pair)):
        same(list(as_skies(form)), pair)
    same(list(as_skies(WHOLE.tolist())), [WHOLE])
    with pytest.raises(ValueError, match=r"values\[1\]: it has the shape"):
        list(as_skies([WHOLE, np.zeros((2, 12))]))
    with pytest.raises(ValueError, match="it is not a map"):
        list(as_skies(3.0))


def test_numbers_that_no_sky_has_are_refused_where_they_are_observed():
    values = SKY.copy()
    values[np.flatnonzero(~MASK)[:3]] = hp.UNSEEN * 1e6  # nobody reads these
    skyfill.find_holes(values, MASK)
    values[np.flatnonzero(MASK)[:3]] = hp.UNSEEN * 1e6
    with pytest.raises(ValueError, match=r"3 observed pixels hold numbers such as -1\.6375e"):
        skyfill.Inpainter(values, MASK, method="diffuse")


# --- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [None, -1, 1.0, 1.5, True, "1", np.float64(2), np.nan])
@pytest.mark.parametrize(
    "call",
    [
        lambda seed: skyfill.simulate_sky(4, seed=seed),
        lambda seed: skyfill.simulate_mask(4, seed=seed),
        lambda seed: skyfill.Inpainter(SKY, MASK, method="diffuse", seed=seed),
        lambda seed: skyfill.fidelity.validate(SKY, MASK, seed=seed),
        lambda seed: skyfill.fidelity.score_sky(WHOLE, MASK, seed=seed),
        lambda seed: skyfill.fidelity.held_out_holes(MASK, seed=seed),
        lambda seed: skyfill.fidelity.one_point(WHOLE, MASK, seed=seed),
        lambda seed: skyfill.batch.seed_of(seed, 0),
        lambda seed: skyfill.owntiles.cut_tiles(SKY, MASK, seed=seed),
    ],
)
def test_seeds_are_integers(call, seed):
    with pytest.raises(ValueError, match="seed must be an integer, 0 or more"):
        call(seed)


@pytest.mark.parametrize("seed", [0, 5, np.int32(5), np.uint64(2**60)])
def test_integers_of_any_kind_are_seeds(seed):
    assert check_seed(seed) == int(seed)
    assert type(check_seed(seed)) is int


def test_indices_are_integers_too():
    filler = skyfill.Inpainter(SKY, MASK, method="gaussian", prior=PRIOR)
    for index in (-1, None, 1.0):
        with pytest.raises(ValueError, match="index must be an integer"):
            filler.realization(index)


@pytest.mark.parametrize("nside", [64, 64.0, np.int16(64), np.float32(64)])
def test_an_nside_may_be_a_float(nside):
    assert check_nside(nside) == 64
    assert type(check_nside(nside)) is int


@pytest.mark.parametrize("nside", [64.5, "64", True, None, np.nan, np.inf, 0, -2, 3, 16384])
def test_what_is_no_nside_is_refused(nside):
    with pytest.raises(ValueError, match="Nside must be a power of two"):
        check_nside(nside)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: skyfill.galactic_cut(NSIDE, 20), "latitude"),
        (lambda: skyfill.galactic_cut(NSIDE, -0.1), "latitude"),
        (lambda: skyfill.galactic_cut(NSIDE, np.nan), "latitude"),
        (lambda: skyfill.galactic_cut(NSIDE, "20"), "latitude"),
        (lambda: skyfill.grow(MASK, 10.0), "radius"),
        (lambda: skyfill.grow(MASK, -1.0), "radius"),
        (lambda: skyfill.discs(NSIDE, 1.0, 45.0, 0.1), "lat"),
        (lambda: skyfill.discs(NSIDE, [1.0, 266.0], [0.1, 0.2], 0.1), "lon"),
        (lambda: skyfill.discs(NSIDE, 1.0, 0.5, 4.0), "radius"),
        (lambda: skyfill.discs(NSIDE, 1.0, 0.5, [np.nan]), "radius"),
        (lambda: skyfill.simulate_sky(NSIDE, seed=1, fwhm=5.0), "fwhm"),
        (lambda: skyfill.simulate_mask(NSIDE, seed=1, half_width=8.0), "half_width"),
        (lambda: skyfill.simulate_mask(NSIDE, seed=1, radii=(0.2, 12.0)), "radii"),
        (lambda: skyfill.pictures.close_up(SKY, 0.0, 0.0, width=10.0), "width"),
    ],
)
def test_angles_that_cannot_be_meant_are_refused(call, name):
    with pytest.raises(ValueError, match=f"^{name} must be in radians, from .* degrees"):
        call()


def test_degrees_are_named_where_they_are_likely():
    with pytest.raises(ValueError, match=r"got 20; latitude=20 degrees is 0.3491"):
        skyfill.galactic_cut(NSIDE, 20)


def test_angles_may_have_units():
    same(skyfill.galactic_cut(NSIDE, 20 * u.deg), skyfill.galactic_cut(NSIDE, math.radians(20)))
    same(skyfill.grow(MASK, 60 * u.arcmin), skyfill.grow(MASK, math.radians(1)))
    lon, lat = np.array([10.0, 266.0]) * u.deg, np.array([-45.0, 90.0]) * u.deg
    theirs = skyfill.discs(NSIDE, lon.to_value("rad"), lat.to_value("rad"), math.radians(3))
    same(skyfill.discs(NSIDE, lon, lat, 3 * u.deg), theirs)
    with pytest.raises(ValueError, match="K is not a unit of angles"):
        skyfill.grow(MASK, 1 * u.K)


def test_a_prior_must_be_of_the_map():
    other = skyfill.Prior(2 * NSIDE, skyfill.lcdm())
    with pytest.raises(ValueError, match="the prior has Nside 32, the map has Nside 16"):
        skyfill.Inpainter(SKY, MASK, method="gaussian", prior=other)
    with pytest.raises(ValueError, match=r"must be a skyfill.Prior, got ndarray"):
        skyfill.Inpainter(SKY, MASK, method="gaussian", prior=skyfill.lcdm())
    with pytest.raises(ValueError, match="noise map has Nside 1, the map 16"):
        skyfill.Inpainter(SKY, MASK, method="gaussian", prior=PRIOR, noise_rms=np.ones(12))


@pytest.mark.parametrize(
    "options", [{"polish": -1}, {"polish": 1.5}, {"batch_size": 0}, {"refine": -1}, {"threads": -1}]
)
def test_counts_that_cannot_be_meant_are_refused(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"{name} must be an integer"):
        skyfill.Inpainter(SKY, MASK, method="diffuse", **options)


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda: skyfill.Inpainter(SKY, MASK, method="diffuse", tolerance=0), "tolerance must be"),
        (
            lambda: skyfill.Inpainter(SKY, MASK, method="diffuse", tolerance="1"),
            "tolerance must be",
        ),
        (lambda: skyfill.spectra.compare(WHOLE, PRIOR, lmax=10.5), "lmax must be an integer"),
        (lambda: skyfill.simulate_sky(4, seed=1, lmax=5.5), "lmax must be an integer"),
        (lambda: skyfill.simulate_sky(4, seed=1, cl=np.ones((2, 9))), "cl must be"),
        (lambda: skyfill.fill_islands(MASK, 2.5), "max_pixels must be an integer"),
        (lambda: skyfill.galactic_cut(4, 0.1, coord="Galactic"), "pass `coord='G'`"),
        (lambda: skyfill.write_map("never.fits", SKY, coord="J2000"), "coord must be G"),
        (lambda: skyfill.discs(4, [1, 2], [0.1, 0.2, 0.3], 0.1), "lon, lat and radius"),
        (lambda: skyfill.Layout(NSIDE, 40.0, 50.0, (8.5, 8), 10.0), "shape must be an integer"),
        (lambda: skyfill.Layout(NSIDE, 4000.0, 50.0, (8, 8), 10.0), "longitude 4000"),
        (lambda: skyfill.dataset.TileGeometry(NSIDE, 8.5), "size must be an integer"),
        (lambda: tiling.plan(~MASK, side=8.5, pixel_arcmin=9, margin=0), "side must be an integer"),
    ],
)
def test_numbers_and_words_that_cannot_be_meant_are_refused(call, why):
    with pytest.raises(ValueError, match=why):
        call()


def test_an_nside_that_is_a_float_becomes_an_integer_in_tiles():
    assert skyfill.Layout(16.0, 40.0, 50.0, (8, 8), 200.0) == LAYOUT
    assert type(skyfill.dataset.TileGeometry(16.0).nside) is int


def test_a_noise_map_may_have_units():
    noise = np.full(NPIX, 1.5)
    fills = [
        skyfill.Inpainter(SKY, MASK, method="gaussian", prior=PRIOR, noise_rms=each).mean()
        for each in (noise, noise.tolist(), hp.ma(noise), noise * u.uK)
    ]
    for each in fills[1:]:
        same(each, fills[0])


@pytest.mark.parametrize(
    ("name", "meant"),
    [("gpu", "cuda"), ("GPU", "cuda"), ("CUDA", "cuda"), ("gpu:1", "cuda:1"), ("cuda:0", "cuda:0"),
     ("auto", "auto"), ("CPU", "cpu"), ("mps", "mps")],
)  # fmt: skip
def test_devices_by_the_names_that_people_use(name, meant):
    assert device_name(name) == meant


@pytest.mark.parametrize("name", ["abacus", "", "cuda:", "cuda:x", "auto:1", "tpu", "cuda 0"])
@pytest.mark.parametrize("method", ["diffuse", "gaussian"])
def test_devices_that_do_not_exist_are_refused_by_every_method(name, method):
    with pytest.raises(ValueError, match="is unknown; pass `device` auto, cpu, cuda"):
        skyfill.Inpainter(SKY, MASK, method=method, prior=PRIOR, device=name)


# --- files ---------------------------------------------------------------------------------------


def test_maps_of_any_form_are_written(tmp_path):
    values = missing_some()
    for number, way in enumerate(WAYS.values()):
        path = tmp_path / f"{number}.fits"
        skyfill.write_map(path, way(values))
        same(skyfill.read_map(path).values, values)
    skyfill.write_map(tmp_path / "k.fits", WAYS["UNSEEN"](values), unit="K", dtype=np.float64)
    assert skyfill.read_map(tmp_path / "k.fits").n_missing == np.isnan(values).sum()


def test_fills_of_any_form_are_written(tmp_path):
    skyfill.write_map(tmp_path / "map.fits", np.where(MASK, SKY, np.nan), dtype=np.float64)
    sky = skyfill.read_map(tmp_path / "map.fits")
    forms = (WHOLE, WHOLE.tolist(), WHOLE * u.uK, WHOLE * 1e-6 * u.K, WHOLE[~MASK] * u.uK)
    for number, fill in enumerate(forms):
        path = tmp_path / f"{number}.fits"
        skyfill.write_filled(path, sky, fill, (~MASK).astype(int), provenance={}, history=[])
        np.testing.assert_allclose(skyfill.read_map(path).values, WHOLE, rtol=1e-12)
    with pytest.raises(
        ValueError, match=r"cannot write .*: the output is a FITS map; its name must end in"
    ):
        skyfill.write_filled("x.npy", sky, WHOLE, ~MASK, provenance={}, history=[])
    with pytest.raises(
        ValueError, match=r"cannot write .*: the output is a FITS map; its name must end in"
    ):
        skyfill.write_map(tmp_path / "x.txt", SKY)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: skyfill.gaussian_beam(300.0, 10), "fwhm must be in radians"),
        (lambda: skyfill.gaussian_beam(-0.1, 10), "fwhm must be in radians"),
        (lambda: skyfill.lcdm(10.5), "lmax must be an integer"),
        (lambda: skyfill.lcdm(10, "XX"), "spectrum must be TT"),
        (lambda: skyfill.Prior(NSIDE, skyfill.lcdm(), fwhm="5"), "fwhm must be in radians"),
        (
            lambda: skyfill.Prior(NSIDE, skyfill.lcdm(), noise_uk_arcmin="5"),
            "noise_uk_arcmin must be",
        ),
        (
            lambda: skyfill.Prior(NSIDE, skyfill.lcdm(), calibration=None),
            "calibration must be a number",
        ),
        (lambda: skyfill.prior.Given(base="p.json"), "base must be a skyfill.Prior, got str"),
        (lambda: skyfill.prior.save_prior("p.json", None), "must be a skyfill.Prior, got NoneType"),
        (lambda: skyfill.prior.fit(SKY, MASK, cl=[0.0, 1.0]), "power at l = 2 and beyond"),
        (lambda: skyfill.prior.fit(SKY, MASK, fwhm=300.0), "fwhm must be in radians"),
        (lambda: skyfill.prior.fit(SKY * np.nan, MASK), "no pixel is observed"),
        (lambda: skyfill.prior.Given().of_map(SKY * np.nan, MASK), "no pixel is observed"),
        (lambda: skyfill.Inpainter([u.Quantity(1, "uK")] * NPIX, MASK), "not an array of numbers"),
        (lambda: skyfill.discs(NSIDE, [[1.0, 2.0]], [[0.1, 0.2]], 0.1), "one-dimensional"),
    ],
)
def test_what_is_no_prior_and_no_angle_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_a_prior_takes_quantities():
    beam, noise = u.Quantity(5, "arcmin"), u.Quantity(3e-3, "mK arcmin")
    prior = skyfill.Prior(NSIDE, skyfill.lcdm(), fwhm=beam, noise_uk_arcmin=noise)
    assert prior.fwhm == pytest.approx(np.radians(5 / 60))
    assert prior.noise_uk_arcmin == pytest.approx(3)
    found = skyfill.prior.fit(SKY, MASK, fwhm=beam, noise_uk_arcmin=noise)
    assert found.fwhm == prior.fwhm
    np.testing.assert_array_equal(
        skyfill.gaussian_beam(beam, 9), skyfill.gaussian_beam(prior.fwhm, 9)
    )


def test_a_fit_does_not_read_missing_pixels():
    holed, lost = MASK.copy(), SKY.copy()
    lost[np.flatnonzero(MASK)[:20]] = np.nan
    holed[np.flatnonzero(MASK)[:20]] = False
    for fit in (skyfill.prior.fit, skyfill.prior.Given().of_map):
        one, other = fit(lost, MASK), fit(np.nan_to_num(lost), holed)
        assert (one.fwhm, one.noise_uk_arcmin) == (other.fwhm, other.noise_uk_arcmin)
