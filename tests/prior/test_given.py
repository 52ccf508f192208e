"""A prior that is half given is completed by a fit; one that is saved comes back bit by bit."""

import bz2
import json
import math
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import skyfill
from skyfill.prior import (
    LCDM,
    NUMBERS,
    Given,
    Prior,
    draw,
    lcdm,
    prior_hdu,
    read_prior,
    recorded_prior,
    save_prior,
)

NSIDE = 32
TRUE = Prior(NSIDE, lcdm(), fwhm=math.radians(4), noise_uk_arcmin=600.0)
SKY = draw(TRUE, seed=5, aliased=True) + 40.0
OBSERVED = skyfill.simulate_mask(NSIDE, seed=1, half_width=0.15, n_holes=20, radii=(0.03, 0.08))

CHOICES = {
    "cl": 1.02 * lcdm(),
    "fwhm": math.radians(4.1),
    "noise_uk_arcmin": 610.0,
    "pixel_window": True,
}


def same(one: Prior, other: Prior, *, but: tuple[str, ...] = ()) -> None:
    for field in fields(Prior):
        if field.name not in but:
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


@settings(max_examples=10, deadline=None)
@given(st.sets(st.sampled_from(sorted(CHOICES))))
def test_what_is_given_is_held_and_the_rest_is_fitted(names):
    known = {name: CHOICES[name] for name in names}
    found = Given(**known).of_map(SKY, OBSERVED)
    for name, value in known.items():
        np.testing.assert_array_equal(getattr(found, name), value)
        assert found.origin(name) == "given"
    unfitted = "given" if "cl" in names else "assumed"
    assert found.origin("cl") == unfitted
    for name in ("fwhm", "noise_uk_arcmin"):
        if name not in names:
            assert found.origin(name) == "fitted"
    if {"fwhm", "noise_uk_arcmin"} <= names:
        assert found.origin("calibration") == "assumed"
        assert found.calibration == 1
    else:
        assert found.origin("calibration") == "fitted"
        # What is half given must not change what the sky has.
        ratio = found.total_cl(60)[10:] / TRUE.total_cl(60)[10:]
        assert np.all(abs(ratio - 1) < 0.25)


def test_a_beam_alone_leaves_the_noise_to_the_map():
    found = Given(fwhm=TRUE.fwhm).of_map(SKY, OBSERVED)
    assert 300 < found.noise_uk_arcmin < 900


def test_nothing_is_fitted_where_nothing_shall_be():
    bare = Given(fit=False).complete(NSIDE)
    assert (bare.fwhm, bare.noise_uk_arcmin, bare.pixel_window) == (0, 0, True)
    assert {bare.origin(name) for name in NUMBERS} == {"assumed"}
    assert bare.theory == LCDM
    assert Given().complete(NSIDE) is None
    assert Given().fits
    assert not Given(fwhm=0.1, noise_uk_arcmin=3.0).fits


def test_what_is_given_replaces_numbers_of_the_base():
    base = Prior(NSIDE, lcdm(), 0.1, 5.0, pixel_window=False, recorded=NUMBERS)
    found = Given(noise_uk_arcmin=7.0, base=base).complete(NSIDE)
    same(found, base, but=("noise_uk_arcmin", "recorded"))
    assert found.noise_uk_arcmin == 7.0
    assert found.origin("noise_uk_arcmin") == "given"
    assert found.origin("fwhm") == "header"
    # A fitted beam may hold the pixel window, a given one does not.
    beam = Given(fwhm=0.05, base=base).complete(NSIDE)
    assert beam.pixel_window
    assert beam.origin("pixel_window") == "assumed"
    assert Given(base=base).complete(NSIDE) is base


def test_a_prior_of_another_nside_is_refused():
    with pytest.raises(ValueError, match="the prior has Nside 32, the map has Nside 64"):
        Given(base=TRUE).complete(64)
    with pytest.raises(ValueError, match="the prior has Nside 32, the map has Nside 16"):
        skyfill.Inpainter(np.zeros(3072), np.arange(3072) > 9, prior=TRUE)


numbers = st.floats(0, 3, allow_subnormal=False)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(numbers, numbers, st.floats(0.01, 3), st.booleans(), st.integers(2, 50), st.integers(0, 9))
def test_a_saved_prior_comes_back_bit_by_bit(tmp_path, fwhm, noise, calibration, window, n, seed):
    cl = np.random.default_rng(seed).uniform(1e-9, 1e5, n)
    prior = Prior(
        NSIDE,
        cl,
        fwhm=fwhm,
        noise_uk_arcmin=noise,
        calibration=calibration,
        pixel_window=window,
        theory="theory, 2nd \u00b5K.txt",
        fitted=("fwhm",),
    )
    save_prior(tmp_path / "p.json", prior, overwrite=True)
    same(read_prior(tmp_path / "p.json"), prior, but=("fitted",))
    attached = (skyfill.prior.PRIOR_HDU, prior_hdu(prior))
    for name in ("map.fits", "map.fits.gz", "map.fits.bz2"):
        if name.endswith("bz2"):
            (tmp_path / name).write_bytes(bz2.compress((tmp_path / "map.fits").read_bytes()))
        else:
            skyfill.write_map(tmp_path / name, SKY, attached=attached, overwrite=True)
        same(read_prior(tmp_path / name), prior, but=("fitted",))
        same(recorded_prior(tmp_path / name), prior, but=("fitted", "recorded"))
    assert recorded_prior(tmp_path / "map.fits").recorded == NUMBERS


def test_the_table_of_the_prior_is_plain_fits(tmp_path):
    from astropy.io import fits

    path = tmp_path / "map.fits"
    skyfill.write_map(path, SKY, attached=(skyfill.prior.PRIOR_HDU, prior_hdu(TRUE)))
    with fits.open(path, checksum=True) as file:
        table = file[skyfill.prior.PRIOR_HDU]
        np.testing.assert_array_equal(table.data["CL"], TRUE.cl)
        assert json.loads(table.header["SFPRIOR"])["fwhm_radians"] == TRUE.fwhm
    assert skyfill.maps.add_up(path).wrong == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no prior in it"),
        ('{"kind": "something else"}', "no prior in it"),
        ('{"kind": "skyfill prior", "format": 9}', "a prior of format 9"),
        ('{"kind": "skyfill prior", "format": 1}', "lacks 'pixel_window'"),
        ('{"kind": "skyfill prior", "format": 1, "pixel_window": "yes"}', "damaged"),
        ("\x00\x01", "no prior in it"),
    ],
)
def test_what_is_no_prior_is_named(tmp_path, content, message):
    path = tmp_path / "p.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        read_prior(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_map_without_prior_says_so(tmp_path):
    path = tmp_path / "map.fits"
    skyfill.write_map(path, SKY)
    assert recorded_prior(path) is None
    with pytest.raises(ValueError, match="no prior in it"):
        read_prior(path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_prior(tmp_path / "none.json")


def test_damaged_numbers_are_refused(tmp_path):
    path = tmp_path / "p.json"
    save_prior(path, TRUE)
    record = json.loads(path.read_text(encoding="utf-8"))
    for key, value in (("fwhm_radians", -1), ("noise_uk_arcmin", "x"), ("cl", []), ("nside", 7)):
        path.write_text(json.dumps(record | {key: value}), encoding="utf-8")
        with pytest.raises(ValueError, match="the prior in it is damaged"):
            read_prior(path)
    path.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(OSError, match="exists already"):
        save_prior(path, TRUE)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("fwhm_arcmin", 5.0, "change both, or leave the file"),
        ("fwhm_radians", True, "fwhm_radians is not a number"),
        ("nside", 16.5, "power of two"),
        ("noise_uk_arcmin", "3", "noise_uk_arcmin is not a number"),
        ("cl", [[1.0, 2.0]], "one spectrum"),
    ],
)
def test_an_edited_prior_is_refused_where_it_contradicts_itself(tmp_path, name, value, message):
    path = tmp_path / "prior.json"
    skyfill.prior.save_prior(path, TRUE)
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {name: value}))
    with pytest.raises(ValueError, match=message) as caught:
        skyfill.prior.read_prior(path)
    assert str(path) in str(caught.value)


def test_a_header_of_impossible_numbers_is_refused_by_file(tmp_path):
    path = tmp_path / "map.fits"
    cards = {"SFCL": (skyfill.prior.LCDM, ""), "SFBEAM": (1e5, ""), "SFNOISE": (1.0, "")}
    skyfill.write_map(path, SKY, provenance=cards)
    with pytest.raises(ValueError, match="its header holds no prior") as caught:
        skyfill.prior.recorded_prior(path)
    assert str(path) in str(caught.value)
