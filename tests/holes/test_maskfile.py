"""Masks as other programs write them: layouts, bit codes, rounding."""

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

import skyfill
from skyfill.holes import ApodisedMaskError, read_mask

NSIDE = 4
NPIX = 12 * NSIDE**2
MASK = np.arange(NPIX) % 7 > 1


def table(path, columns, *, ordering="RING"):
    """Write columns of given numbers, in their own type."""
    forms = {"float64": "D", "float32": "E", "int16": "I", "int32": "J", "int64": "K", "uint8": "B"}
    made = [
        fits.Column(name, "L" if values.dtype == bool else forms[values.dtype.name], array=values)
        for name, values in columns.items()
    ]
    hdu = fits.BinTableHDU.from_columns(made)
    hdu.header.update(NSIDE=NSIDE, ORDERING=ordering, PIXTYPE="HEALPIX")
    hdu.writeto(path, overwrite=True)
    return path


def test_the_column_that_is_the_mask_is_named(tmp_path):
    nested = skyfill.healpix.reorder(MASK, nest_in=False, nest_out=True)
    path = table(
        tmp_path / "wmap.fits",
        {"TEMPERATURE": np.zeros(NPIX, "f4"), "N_OBS": nested.astype("f4")},
        ordering="NESTED",
    )
    for options in ({}, {"invert": True}, {"field": 0}):
        with pytest.raises(ValueError, match=r"'TEMPERATURE' holds 0 only; column 'N_OBS' holds a"):
            read_mask(path, **options)
    assert np.array_equal(read_mask(path, field="N_OBS"), MASK)
    assert not read_mask(path, field="TEMPERATURE").any()  # by name: as you say


@pytest.mark.parametrize(
    "first",
    [
        np.linspace(-300, 300, NPIX),
        np.linspace(0, 1, NPIX),
        np.full(NPIX, hp.UNSEEN),
        np.arange(NPIX) // 3,
    ],
)
def test_a_mask_beside_another_column_is_named(tmp_path, first):
    path = table(tmp_path / "m.fits", {"I": first, "X": np.ones(NPIX), "TMASK": MASK})
    with pytest.raises(ValueError, match=r"column 'TMASK' holds a mask: pass `field='TMASK'`$"):
        read_mask(path)


def test_a_file_of_one_column_of_zeros_is_a_mask(tmp_path):
    assert not read_mask(table(tmp_path / "m.fits", {"M": np.zeros(NPIX, "u1")})).any()
    path = table(tmp_path / "n.fits", {"M": np.zeros(NPIX, "u1"), "HITS": np.arange(NPIX)})
    assert read_mask(path, invert=True).all()


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(["u1", "i2", "i4", "i8", "f4", "f8"]),
    bits=st.sets(st.integers(0, 6), min_size=1),
    seed=st.integers(0, 99),
)
def test_bits_mean_masked(tmp_path_factory, kind, bits, seed):
    codes = np.random.default_rng(seed).integers(0, 128, NPIX).astype(kind)
    path = table(tmp_path_factory.mktemp("m") / "m.fits", {"FLAGS": codes})
    whole = codes.astype(int)
    flagged = np.array([[(code >> bit) & 1 for bit in bits] for code in whole], bool)
    assert np.array_equal(read_mask(path, bits=sorted(bits)), ~flagged.any(1))
    assert np.array_equal(read_mask(path, bits=tuple(bits), invert=True), flagged.all(1))


@pytest.mark.filterwarnings("ignore:.*set in no pixel")
def test_pixels_without_a_code_are_unobserved(tmp_path):
    codes = np.where(MASK, 4.0, hp.UNSEEN)
    path = table(tmp_path / "m.fits", {"FLAGS": codes})
    assert np.array_equal(read_mask(path, bits=0), MASK)
    assert np.array_equal(read_mask(path, bits=2, invert=True), MASK)


@pytest.mark.parametrize(
    ("values", "bits", "why"),
    [
        (np.arange(NPIX, dtype="u1"), 8, "has bits 0 to 7, counted from the lowest; `bits` says 8"),
        (np.arange(NPIX, dtype="i2"), (0, -1), "`bits` says -1"),
        (np.arange(NPIX, dtype="i2"), (), "`bits` says none"),
        (np.linspace(0, 3, NPIX), 1, "holds no whole numbers"),
        (np.full(NPIX, 2**60), 1, "beyond 2.53"),
    ],
)
def test_bits_that_cannot_be_are_refused(tmp_path, values, bits, why):
    path = table(tmp_path / "m.fits", {"M": values})
    with pytest.raises(ValueError, match=why):
        read_mask(path, bits=bits)


def test_bits_and_threshold_exclude_each_other(tmp_path):
    path = table(tmp_path / "m.fits", {"M": np.arange(NPIX)})
    with pytest.raises(ValueError, match="two ways to read a mask"):
        read_mask(path, bits=0, threshold=0.5)


def test_whole_numbers_may_be_bit_codes(tmp_path):
    path = table(tmp_path / "m.fits", {"M": np.arange(NPIX, dtype="i2") % 13})
    with pytest.raises(
        ValueError, match=r"holds 0 to 12, .* whole numbers are bit codes, pass `bits`"
    ):
        read_mask(path)


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("off", [1.6e-6, -7.5e-15, 9e-5, -9e-5])
def test_rounding_is_tolerated(tmp_path, off, kind):
    path = table(tmp_path / "m.fits", {"W": (MASK + off).astype(kind)})
    assert np.array_equal(read_mask(path), MASK)
    assert np.array_equal(read_mask(path, invert=True), ~MASK)


@pytest.mark.parametrize("soft", [0.5, 0.999, 0.001])
def test_a_soft_edge_is_not_rounding(tmp_path, soft):
    values = MASK.astype(float)
    values[8] = soft
    path = table(tmp_path / "m.fits", {"W": values})
    for field in (0, "W"):
        with pytest.raises(ApodisedMaskError, match=r"apodised.*pass `threshold=X`"):
            read_mask(path, field=field)


def test_weights_by_name_beside_a_mask_are_weights(tmp_path):
    values = np.linspace(0, 1, NPIX)
    path = table(tmp_path / "m.fits", {"W": values, "TMASK": MASK})
    with pytest.raises(ApodisedMaskError):
        read_mask(path, field="W")
    np.testing.assert_allclose(skyfill.read_weights(path, field="W"), values, atol=1e-4)


def test_logical_columns_are_masks(tmp_path):
    assert np.array_equal(read_mask(table(tmp_path / "m.fits", {"M": MASK})), MASK)


@pytest.mark.parametrize("name", ["MASKED", "BADPIX", "FLAG", "excluded"])
def test_a_name_that_says_masked_is_told(tmp_path, name):
    path = table(tmp_path / "m.fits", {name: (~MASK).astype("u1")})
    with pytest.warns(UserWarning, match="may say that 1 means masked; if so, pass `invert=True`"):
        read_mask(path)
    assert np.array_equal(read_mask(path, invert=True), MASK)


@pytest.mark.parametrize("name", ["TMASK", "MASK", "NOT_MASKED", "OBSERVED", "GOOD"])
def test_other_names_of_masks_are_not_told(tmp_path, name):
    assert np.array_equal(read_mask(table(tmp_path / "m.fits", {name: MASK.astype("u1")})), MASK)


def test_bits_that_mask_nothing_are_doubted(tmp_path):
    """Some count bits from 1."""
    path = table(tmp_path / "m.fits", {"FLAGS": np.where(MASK, 0, 4).astype(np.int16)})
    with pytest.warns(UserWarning, match="has bit 3 set in no pixel; set somewhere are 2"):
        assert read_mask(path, bits=3).all()
    assert np.array_equal(read_mask(path, bits=(2, 3)), MASK)
