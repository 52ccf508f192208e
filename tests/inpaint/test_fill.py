"""`skyfill.fill`: one call, in the caller's order, unit and type."""

import dataclasses
import logging

import healpy as hp
import numpy as np
import pytest
from astropy import units

import skyfill

NSIDE = 16
PRIOR = skyfill.Prior(NSIDE, skyfill.lcdm(), fwhm=0.15, noise_uk_arcmin=500.0)
OPTIONS = {"prior": PRIOR, "seed": 3, "threads": 1, "device": "cpu", "progress": False}


@pytest.fixture(scope="module")
def sky():
    return skyfill.prior.draw(PRIOR, seed=1, index=0, aliased=True, threads=1)


@pytest.fixture(scope="module")
def observed():
    return skyfill.simulate_mask(NSIDE, seed=2, n_holes=6)


@pytest.fixture(scope="module")
def whole(sky, observed):
    """What `Inpainter` gives, for comparison."""
    words = {name: value for name, value in OPTIONS.items() if name != "progress"}
    filler = skyfill.Inpainter(sky, observed, **words)
    return filler.whole(filler.realization(0))


def test_it_is_what_the_inpainter_gives(sky, observed, whole):
    found = skyfill.fill(np.where(observed, sky, np.nan), observed, **OPTIONS)
    np.testing.assert_array_equal(found, whole)
    np.testing.assert_array_equal(found[observed], sky[observed])


def test_the_map_and_mask_of_healpy_work_as_read(sky, observed, tmp_path):
    m, k = str(tmp_path / "m.fits"), str(tmp_path / "k.fits")
    hp.write_map(m, np.where(observed, sky, hp.UNSEEN).astype(np.float32), dtype=np.float32)
    hp.write_map(k, observed.astype(np.float32), dtype=np.float32)
    found = skyfill.fill(hp.read_map(m), hp.read_map(k), **OPTIONS)
    before = hp.read_map(m)
    assert found.dtype == before.dtype
    assert np.isfinite(found).all()
    assert not (found == np.float32(hp.UNSEEN)).any()
    assert (found[observed].tobytes(), found.shape) == (before[observed].tobytes(), before.shape)


def test_nested_maps_stay_nested(sky, observed, whole):
    nested, mask = hp.reorder(sky, r2n=True), hp.reorder(observed, r2n=True)
    found = skyfill.fill(nested, mask, nest=True, **OPTIONS)
    np.testing.assert_array_equal(hp.reorder(found, n2r=True), whole)


def test_options_that_are_maps_have_the_order_and_unit_of_the_map(sky, observed):
    rms = np.linspace(1.5, 3.0, sky.size)
    footprint = np.arange(sky.size) < sky.size // 2
    plain = skyfill.fill(sky, observed, noise_rms=rms, footprint=footprint, **OPTIONS)
    nested = [hp.reorder(one, r2n=True) for one in (sky / 1e3, observed, rms / 1e3, footprint)]
    found = skyfill.fill(
        *nested[:2], nest=True, unit="mK", noise_rms=nested[2], footprint=nested[3], **OPTIONS
    )
    np.testing.assert_allclose(hp.reorder(found, n2r=True) * 1e3, plain, atol=1e-6)
    assert (plain == sky)[~footprint].all()


@pytest.mark.parametrize("unit", ["K", "mK"])
def test_units_are_kept(sky, observed, whole, unit):
    size = units.Unit(unit).to("uK")
    found = skyfill.fill(sky / size, observed, unit=unit, **OPTIONS)
    np.testing.assert_allclose(found * size, whole, atol=1e-6)
    assert (found[observed] == (sky / size)[observed]).all()
    quantity = skyfill.fill(sky / size * units.Unit(unit), observed, **OPTIONS)
    assert quantity.unit == units.Unit(unit)
    np.testing.assert_allclose(quantity.value, found, rtol=1e-7)


def test_a_map_in_kelvin_is_not_taken_for_another_unit(sky, observed):
    with pytest.raises(skyfill.prior.UnlikelyPriorError, match="the map is in K, but taken for µK"):
        skyfill.fill(sky / 1e6, observed, **OPTIONS)
    with pytest.raises(ValueError, match="has a unit of its own, which is not K: drop `unit`"):
        skyfill.fill(sky * units.uK, observed, unit="K", **OPTIONS)
    with pytest.raises(ValueError, match="not a unit of CMB temperature"):
        skyfill.fill(sky, observed, unit="MJy/sr", **OPTIONS)


def test_masked_arrays_stay_masked_arrays(sky, observed, whole):
    holed = hp.ma(np.where(observed, sky, hp.UNSEEN))
    found = skyfill.fill(holed, observed, **OPTIONS)
    assert isinstance(found, np.ma.MaskedArray)
    assert found.fill_value == holed.fill_value
    assert not found.mask.any()
    np.testing.assert_array_equal(found.data, whole)
    footprint = np.arange(sky.size) < sky.size // 2
    half = skyfill.fill(holed, observed, footprint=footprint, **OPTIONS)
    np.testing.assert_array_equal(half.mask, ~observed & ~footprint)


@pytest.mark.parametrize("dtype", ["float32", ">f4", ">f8", "int32"])
def test_types_are_kept_and_integers_become_floats(sky, observed, dtype):
    given = np.rint(sky).astype(dtype)
    found = skyfill.fill(given, observed, **OPTIONS)
    assert found.dtype == (given.dtype if given.dtype.kind == "f" else np.float64)
    assert (found[observed] == given[observed]).all()
    assert np.isfinite(found).all()


def test_a_list_and_a_leading_axis(sky, observed, whole):
    np.testing.assert_array_equal(skyfill.fill(list(sky), observed, **OPTIONS), whole)
    np.testing.assert_array_equal(skyfill.fill(sky[None], observed[None], **OPTIONS), whole[None])


def test_a_sky_map_stays_one(sky, observed, tmp_path):
    skyfill.write_map(tmp_path / "sky.fits", np.where(observed, sky, np.nan), nest=True)
    read = skyfill.read_map(tmp_path / "sky.fits")
    found = skyfill.fill(read, observed, n=2, **OPTIONS)
    assert [type(one) for one in found] == [skyfill.SkyMap] * 2
    assert found[0].path == read.path
    assert found[0].n_missing == 0
    with pytest.raises(ValueError, match="in RING order, whatever its file has: drop nest=True"):
        skyfill.fill(read, observed, nest=True, **OPTIONS)


def test_several_realizations_are_stacked(sky, observed, whole):
    found = skyfill.fill(sky, observed, n=2, **OPTIONS)
    assert found.shape == (2, sky.size)
    np.testing.assert_array_equal(found[0], whole)
    assert (found[:, observed] == sky[observed]).all()
    assert (found[0] != found[1])[~observed].all()
    assert isinstance(skyfill.fill(np.ma.array(sky), observed, n=2, **OPTIONS), np.ma.MaskedArray)


def test_the_mean_is_one(sky, observed):
    mean = skyfill.fill(sky, observed, mean=True, **OPTIONS)
    np.testing.assert_array_equal(mean, skyfill.fill(sky, observed, 0, "uK", True, **OPTIONS))
    assert mean[~observed].std() < sky[~observed].std()
    with pytest.raises(ValueError, match="only one mean: drop `mean=True` or `n`"):
        skyfill.fill(sky, observed, mean=True, n=2, **OPTIONS)
    diffuse = OPTIONS | {"method": "diffuse"}
    assert np.isfinite(skyfill.fill(sky, observed, **diffuse)).all()
    with pytest.raises(ValueError, match="diffuse has one fill and no realizations: drop `n`"):
        skyfill.fill(sky, observed, n=2, **diffuse)


def test_a_method_of_one_fill_is_named(sky, observed, monkeypatch):
    """`pconv` and `context-encoder` have one fill, too, and are not diffuse."""
    monkeypatch.setattr(skyfill.Inpainter, "stochastic", False)
    with pytest.raises(ValueError, match="gaussian has one fill and no realizations: drop `n`"):
        skyfill.fill(sky, observed, n=2, **OPTIONS | {"method": "gaussian"})


def test_the_callers_arrays_are_not_changed(sky, observed):
    given, mask = np.where(observed, sky, hp.UNSEEN), observed.astype(float)
    before = given.copy(), mask.copy()
    skyfill.fill(given, mask, **OPTIONS)
    np.testing.assert_array_equal(given, before[0])
    np.testing.assert_array_equal(mask, before[1])


def test_the_log_says_what_is_done(sky, observed, caplog):
    with caplog.at_level(logging.INFO, logger="skyfill"):
        skyfill.fill(sky, observed, **OPTIONS)
    assert "method gaussian: exact, and no slower than vae up to Nside 512" in caplog.text
    assert "exact mean: " in caplog.text


@pytest.fixture(scope="module")
def stokes(sky, observed):
    """T, Q and U, with a mask of T and one of Q and U."""
    temperature = dataclasses.replace(PRIOR, theory=skyfill.prior.LCDM)
    prior = skyfill.prior.PolarizedPrior.of(temperature, 60.0)
    t, (q, u) = sky, skyfill.prior.draw_polarization(prior, seed=1)[0]
    side = 60 * np.degrees(hp.nside2resol(NSIDE))
    noise = np.random.default_rng(4).normal(size=(2, sky.size)) * 60.0 / side
    mask = np.stack([observed, *[observed & (np.arange(sky.size) > 200)] * 2])
    words = {"prior": prior, "seed": 3, "threads": 1, "progress": False}
    return np.stack([t, q + noise[0], u + noise[1]]), mask, words


def test_t_q_and_u_are_filled_together(stokes):
    skies, mask, words = stokes
    found = skyfill.fill(np.where(mask, skies, hp.UNSEEN), mask, **words)
    assert found.shape == skies.shape
    np.testing.assert_array_equal(found[mask], skies[mask])
    assert (np.abs(found) < 1e4).all()
    nested = [hp.reorder(one, r2n=True) for one in (skies / 1e6, mask)]
    again = skyfill.fill(*nested, nest=True, unit="K", n=2, **words)
    assert again.shape == (2, *skies.shape)
    np.testing.assert_allclose(hp.reorder(again[0], n2r=True) * 1e6, found, atol=1e-5)
    with pytest.raises(ValueError, match="the mask has three components already"):
        skyfill.fill(skies, mask, observed_pol=mask[1], **words)


def test_diffuse_fills_q_and_u_as_well(stokes):
    skies, mask, words = stokes
    words = {**words, "method": "diffuse", "prior": None}
    found = skyfill.fill(skies, mask[0], **words)
    np.testing.assert_array_equal(found[:, mask[0]], skies[:, mask[0]])
    assert np.isfinite(found).all()
    with pytest.raises(ValueError, match="`method` must be gaussian, diffuse or vae with Q and U"):
        skyfill.fill(skies, mask[0], **(words | {"method": "cosmovae"}))
