"""Noise maps: deviations, variances, inverse variances and counts, by unit and by name."""

import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import skyfill
from skyfill.maps import read_map, write_map

NSIDE = 4
NPIX = 12 * NSIDE**2
SIGMA = 20.0 + np.arange(NPIX) % 7  # µK


def noise_file(path: Path, numbers, *, unit=None, name="NOISE", form="D", **others) -> Path:
    """Write a noise column, NESTED, and others beside it."""
    columns = [fits.Column(name, form, unit=unit, array=numbers)]
    columns += [fits.Column(key, "D", array=value) for key, value in others.items()]
    hdu = fits.BinTableHDU.from_columns(columns)
    hdu.header.update(NSIDE=NSIDE, ORDERING="NESTED", PIXTYPE="HEALPIX")
    hdu.writeto(path, overwrite=True)
    return path


def nested(values):
    return skyfill.healpix.reorder(np.asarray(values), nest_in=False, nest_out=True)


@pytest.fixture
def sky(tmp_path):
    """A map in mK."""
    write_map(tmp_path / "map.fits", np.arange(NPIX) - 90.0, unit="mK_CMB", coord=None)
    return read_map(tmp_path / "map.fits")


@pytest.mark.parametrize("name", ["NOISE", "TEMPERATURE", "column"])
@pytest.mark.parametrize(
    ("unit", "numbers"),
    [
        ("uK_CMB", SIGMA),
        ("K", SIGMA * 1e-6),
        ("mK,thermodynamic", SIGMA * 1e-3),
    ],
)
def test_a_temperature_is_a_deviation(tmp_path, unit, numbers, name):
    path = noise_file(tmp_path / "n.fits", nested(numbers), unit=unit, name=name)
    np.testing.assert_allclose(skyfill.read_noise(path), SIGMA, rtol=1e-12)


@pytest.mark.parametrize("name", ["II_COV", "VARIANCE", "COV", "TEMPERATURE"])
@pytest.mark.parametrize(
    ("unit", "scale"),
    [("K_CMB^2", 1e-12), ("(K_CMB)^2", 1e-12), ("Kcmb^2", 1e-12), ("uK**2", 1.0), ("mK²", 1e-6)],
)
def test_a_squared_unit_is_a_variance(tmp_path, unit, scale, name):
    path = noise_file(tmp_path / "n.fits", nested(SIGMA**2 * scale), name=name)
    if unit.isascii():
        fits.setval(path, "TUNIT1", value=unit, ext=1)
        np.testing.assert_allclose(skyfill.read_noise(path), SIGMA, rtol=1e-12)
    else:
        np.testing.assert_allclose(skyfill.read_noise(path, unit=unit), SIGMA, rtol=1e-12)


@pytest.mark.parametrize("name", ["WEIGHT", "IVAR", "T"])
def test_an_inverse_variance_is_turned_over(tmp_path, name):
    weights = nested(SIGMA**-2.0 * 1e12)
    weights[5] = 0.0
    path = noise_file(tmp_path / "n.fits", weights, unit="1/K_CMB^2", name=name)
    found = nested(skyfill.read_noise(path))
    assert np.isnan(found[5])
    np.testing.assert_allclose(np.delete(found, 5), np.delete(nested(SIGMA), 5), rtol=1e-12)


def test_numbers_without_unit_are_said_to_be_in_that_of_the_map(tmp_path, sky):
    plain = noise_file(tmp_path / "n.fits", nested(SIGMA * 1e-3), name="STD")
    with pytest.warns(
        UserWarning, match=r"n.fits: column 'STD' has no unit .* in mK_CMB, as .*map"
    ):
        found = skyfill.read_noise(plain, like=sky)
    np.testing.assert_allclose(found, SIGMA, rtol=1e-12)
    squared = noise_file(tmp_path / "v.fits", nested(SIGMA**2 * 1e-6), name="II_COV")
    with pytest.warns(UserWarning, match=r"a variance in \(mK_CMB\)\^2"):
        np.testing.assert_allclose(skyfill.read_noise(squared, like=sky), SIGMA, rtol=1e-12)
    with pytest.raises(ValueError, match=r"no unit \(TUNIT1\); pass `unit`"):
        skyfill.read_noise(plain)


def test_variance_is_for_numbers_whose_file_does_not_say_so(tmp_path, sky):
    path = noise_file(tmp_path / "n.fits", nested(SIGMA**2), name="T")
    for unit in ("uK", "uK^2"):
        found = skyfill.read_noise(path, unit=unit, variance=True)
        np.testing.assert_allclose(found, SIGMA, rtol=1e-12)
    with pytest.warns(UserWarning, match=r"\(mK_CMB\)\^2"):
        found = skyfill.read_noise(path, variance=True, like=sky)
    np.testing.assert_allclose(found, SIGMA * 1e3, rtol=1e-12)


@pytest.mark.parametrize(
    ("unit", "name", "given", "why"),
    [
        ("K", "II_COV", {}, "a standard deviation by its unit, K .*its name says a variance"),
        ("K", "T", {"variance": True}, "by its unit, K .*`variance=True` says a variance"),
        ("1/K^2", "T", {"variance": True}, "an inverse variance by its unit"),
        ("K^2", "STD", {}, "a variance by its unit, K.2 .*its name says a standard deviation"),
        ("K^2", "WEIGHT", {}, "its name says weights"),
        ("uK", "STD", {"unit": "K"}, "is in uK .* and not in K; drop `unit`"),
        ("uK^2", "VAR", {"unit": "uK"}, "is in uK.2 .* and not in uK"),
        (None, "STD", {"unit": "MJy/sr"}, "not a unit of noise"),
        ("MJy/sr", "STD", {}, "is in MJy/sr .*not a unit of noise"),
        ("K_RJ", "STD", {"unit": "K"}, "is in K_RJ"),
        (None, "HITS", {}, "counts observations.*sigma_0 / sqrt"),
        ("counts", "N_OBS", {}, "counts observations"),
        ("counts", "T", {}, "counts observations"),
        (None, "HITS", {"unit": "uK"}, "its name says a number of observations"),
        (None, "WEIGHT", {}, r"weights without a unit.*`unit='1/uK\^2'`"),
        (None, "IVAR", {}, "an inverse variance without a unit"),
        ("K^2", "QQ_COV", {}, "is the noise of Stokes QQ"),
        ("K", "Q_STD", {}, "is the noise of Stokes Q"),
    ],
)
def test_contradictions_are_refused(tmp_path, unit, name, given, why):
    path = noise_file(tmp_path / "n.fits", SIGMA, unit=unit, name=name)
    with pytest.raises(ValueError, match=why) as caught:
        skyfill.read_noise(path, **given)
    assert str(path) in str(caught.value)


def test_whole_numbers_without_unit_are_counts(tmp_path, sky):
    path = noise_file(tmp_path / "n.fits", np.arange(NPIX), name="T", form="J")
    with pytest.raises(ValueError, match="counts observations"):
        skyfill.read_noise(path, like=sky)


def test_a_map_with_its_noise_beside_it_is_no_noise(tmp_path):
    path = noise_file(
        tmp_path / "n.fits", SIGMA, unit="K_CMB", name="I_STOKES", QQ_COV=SIGMA, II_COV=SIGMA
    )
    with pytest.raises(ValueError, match=r"pass `field='II_COV'`"):
        skyfill.read_noise(path)
    fits.setval(path, "TUNIT3", value="K_CMB^2", ext=1)
    found = skyfill.read_noise(path, field="II_COV")
    np.testing.assert_allclose(nested(found), np.sqrt(SIGMA) * 1e6, rtol=1e-12)


def test_negative_numbers_are_no_noise(tmp_path):
    path = noise_file(tmp_path / "n.fits", SIGMA - 22, unit="uK", name="T")
    with pytest.raises(ValueError, match="holds -2, and a standard deviation is not negative"):
        skyfill.read_noise(path)


def test_missing_pixels_stay_missing(tmp_path):
    numbers = SIGMA.copy()
    numbers[[3, 9]] = -1.6375e30
    path = noise_file(tmp_path / "n.fits", nested(numbers), unit="uK^2", name="VAR")
    assert np.flatnonzero(np.isnan(skyfill.read_noise(path))).tolist() == [3, 9]
    path = noise_file(tmp_path / "n.fits", np.full(NPIX, np.nan), unit="uK", name="STD")
    with pytest.raises(ValueError, match="no valid pixel"):
        skyfill.read_noise(path)


def test_noise_of_another_place_is_refused(tmp_path, sky):
    path = tmp_path / "n.fits"
    write_map(path, np.ones(48), column="STD")
    with pytest.raises(ValueError, match=re.escape("has Nside 2, ")):
        skyfill.read_noise(path, like=sky)


@pytest.mark.parametrize("value", [1e30, 9999.0, 1.6375e30, -1.0])
def test_a_value_that_means_no_data_is_missing(tmp_path, value):
    rng = np.random.default_rng(3)
    sigma = rng.uniform(3, 6, 3072)
    out = rng.random(3072) < 0.1
    numbers = np.where(out, value, sigma)
    write_map(tmp_path / "n.fits", numbers, column="STD", unit="uK_CMB", dtype="float64")
    with pytest.warns(
        UserWarning, match=f"{out.sum()} pixels hold exactly .* taken for missing data"
    ):
        found = skyfill.read_noise(tmp_path / "n.fits")
    np.testing.assert_allclose(found, np.where(out, np.nan, sigma))


def test_whole_numbers_in_floats_are_counts_too(tmp_path, sky):
    hits = 5.0 + np.arange(NPIX) % 9
    path = noise_file(tmp_path / "n.fits", hits, name="SCAN")
    with pytest.raises(ValueError, match="holds whole numbers, like counts of observations"):
        skyfill.read_noise(path, like=sky)
    np.testing.assert_allclose(np.sort(skyfill.read_noise(path, unit="uK")), np.sort(hits))
    path = noise_file(tmp_path / "n.fits", np.full(NPIX, 4.0), name="SCAN")
    with pytest.warns(UserWarning, match="has no unit"):
        np.testing.assert_allclose(skyfill.read_noise(path, like=sky), 4000.0)


def test_a_given_unit_against_the_name_is_refused_with_the_mend(tmp_path):
    path = noise_file(tmp_path / "n.fits", nested(SIGMA**-2), name="IVAR")
    with pytest.raises(ValueError, match=re.escape("pass `unit='1/uK^2'`")):
        skyfill.read_noise(path, unit="uK")
    np.testing.assert_allclose(skyfill.read_noise(path, unit="1/uK^2"), SIGMA)


def test_the_unit_of_a_map_is_not_that_of_its_variance(tmp_path, sky):
    """BUNIT is said of the whole table."""
    path = noise_file(tmp_path / "n.fits", nested(SIGMA**2 * 1e-6), name="II_COV")
    fits.setval(path, "BUNIT", value="K", ext=1)
    with pytest.warns(UserWarning, match="has no unit"):
        np.testing.assert_allclose(skyfill.read_noise(path, like=sky), SIGMA)
    path = noise_file(tmp_path / "n.fits", nested(SIGMA * 1e-6), name="STD")
    fits.setval(path, "BUNIT", value="K", ext=1)
    np.testing.assert_allclose(skyfill.read_noise(path, like=sky), SIGMA)
