"""HealSparse and HDF5 maps are read as FITS maps are, and filled maps are FITS."""

import sys

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits

import skyfill

NSIDE = 16
NPIX = 12 * NSIDE**2
VALUES = np.random.default_rng(5).normal(0, 1e-4, NPIX)  # K, NESTED
RING = hp.reorder(VALUES, n2r=True) * 1e6


def open_sparse(path, dtype, pixels, values, **metadata):
    healsparse = pytest.importorskip("healsparse")
    words = {"wide_mask_maxbits": 12} if dtype == "wide" else {}
    kind = healsparse.WIDE_MASK if dtype == "wide" else dtype
    primary = {"primary": "A"} if isinstance(dtype, list) else {}
    kind = np.dtype(kind) if isinstance(dtype, list) else kind
    found = healsparse.HealSparseMap.make_empty(4, NSIDE, kind, **words, **primary)
    if dtype == "wide":
        found.set_bits_pix(pixels, values)
    else:
        found[pixels] = values
    found.metadata = metadata or None
    found.write(str(path))


def open_hdf5(path, **datasets):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, (values, attributes) in datasets.items():
            dataset = file.create_dataset(name.replace("__", "/"), data=values)
            dataset.attrs.update(attributes)


def test_a_healsparse_map_is_a_partial_sky(tmp_path):
    seen = np.arange(0, NPIX, 3)
    path = tmp_path / "map.hsp"
    open_sparse(path, np.float64, seen, VALUES[seen], UNIT="K_CMB", COORDSYS="C")
    sky = skyfill.read_map(path)
    assert (sky.nside, sky.unit, sky.coord, sky.nest, sky.partial) == (
        *(NSIDE, "K_CMB", "C", True, True),
    )
    expected = np.full(NPIX, np.nan)
    expected[seen] = VALUES[seen] * 1e6
    np.testing.assert_allclose(sky.values, hp.reorder(expected, n2r=True), equal_nan=True)


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.int64])
def test_numbers_of_every_type_are_read(tmp_path, dtype):
    whole = np.arange(1, NPIX + 1).astype(dtype)
    open_sparse(tmp_path / "map.hsp", dtype, np.arange(NPIX), whole)
    sky = skyfill.read_map(tmp_path / "map.hsp", unit="uK")
    np.testing.assert_array_equal(sky.values, hp.reorder(whole.astype(float), n2r=True))


def test_fields_of_a_record_are_columns(tmp_path):
    record = np.zeros(NPIX, [("A", "f8"), ("B", "f4")])
    record["A"], record["B"] = VALUES, 2 * VALUES
    open_sparse(tmp_path / "map.hsp", [("A", "f8"), ("B", "f4")], np.arange(NPIX), record)
    sky = skyfill.read_map(tmp_path / "map.hsp", field="B", unit="K")
    np.testing.assert_allclose(sky.values, 2 * RING, rtol=1e-6)
    assert sky.columns == ("A", "B")


def test_a_healsparse_mask_is_false_where_it_has_no_pixels(tmp_path):
    inside = np.arange(700)
    open_sparse(tmp_path / "mask.hsp", np.bool_, inside, True)
    expected = hp.reorder(np.arange(NPIX) < 700, n2r=True)
    np.testing.assert_array_equal(skyfill.read_mask(tmp_path / "mask.hsp"), expected)
    other = skyfill.read_mask(tmp_path / "mask.hsp", invert=True)
    np.testing.assert_array_equal(other, ~expected)


def test_a_wide_mask_is_read_by_its_bits(tmp_path):
    open_sparse(tmp_path / "mask.hsp", "wide", np.arange(700), [2, 11])
    expected = hp.reorder(np.arange(NPIX) >= 700, n2r=True)
    for bit in (2, 11):
        np.testing.assert_array_equal(skyfill.read_mask(tmp_path / "mask.hsp", bits=bit), expected)
    with pytest.raises(ValueError, match="pass `bits`"):
        skyfill.read_mask(tmp_path / "mask.hsp")


@pytest.mark.parametrize("nest", [True, False])
def test_maps_of_toast_are_read(tmp_path, nest):
    path = tmp_path / "map.h5"
    rows = np.stack([VALUES, 2 * VALUES, 3 * VALUES]).astype(np.float32)
    order = {"ORDERING": "NESTED" if nest else "RING", "NSIDE": NSIDE, "UNITS": "K"}
    open_hdf5(path, map=(rows, order))
    sky = skyfill.read_map(path, field="map_1")
    assert (sky.unit, sky.coord, sky.nest) == ("K", None, nest)
    expected = 2e6 * (hp.reorder(VALUES, n2r=True) if nest else VALUES)
    np.testing.assert_allclose(sky.values, expected, rtol=1e-6)


def test_a_mask_and_a_map_may_share_an_hdf5_file(tmp_path):
    path = tmp_path / "both.hdf5"
    mask = np.arange(NPIX) > 500
    open_hdf5(
        path,
        sky__T=(VALUES, {"nest": False, "unit": "K", "coord": "G"}),
        sky__mask=(mask, {"order": b"ring"}),
        freqs=(np.arange(12), {}),  # as long as a map of Nside 1
    )
    sky = skyfill.read_map(path, field="T")
    np.testing.assert_allclose(sky.values, VALUES * 1e6)
    assert sky.coord == "G"
    np.testing.assert_array_equal(skyfill.read_mask(path, field="mask", like=sky), mask)


@pytest.mark.parametrize(
    ("datasets", "error"),
    [
        ({"map": (VALUES, {})}, r"no attribute ORDERING .* h5py\.File"),
        ({"map": (VALUES, {"ORDERING": "RING", "NSIDE": 32})}, "says Nside 32"),
        ({"freqs": (np.arange(7), {})}, r"no HEALPix map .* freqs \(7,\)"),
        (
            {"a": (VALUES, {"nest": 1}), "b": (np.zeros(12 * 8**2), {"nest": 1})},
            "maps of Nside 8 and 16",
        ),
        ({"a": (VALUES, {"nest": 1}), "b": (VALUES, {"nest": 0})}, "several orders"),
        (
            {
                "a": (VALUES, {"nest": 1, "coord": "G"}),
                "b": (VALUES, {"nest": 1, "coord": "C"}),
            },
            "several frames",
        ),
        ({}, "no dataset"),
        ({"map": (np.zeros((1000, 12)), {"nest": 1})}, "1000 maps .* 999 are read"),
    ],
)
def test_another_layout_is_refused_by_name(tmp_path, datasets, error):
    open_hdf5(tmp_path / "map.h5", **datasets)
    with pytest.raises(ValueError, match=error):
        skyfill.read_map(tmp_path / "map.h5")


def test_damaged_files_are_refused(tmp_path):
    open_hdf5(tmp_path / "map.h5", map=(VALUES, {"ORDERING": "RING"}))
    whole = (tmp_path / "map.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="damaged or truncated HDF5 file"):
        skyfill.read_map(tmp_path / "cut.h5")


def test_damaged_healsparse_files_are_refused(tmp_path):
    open_sparse(tmp_path / "map.hsp", np.float64, np.arange(NPIX), VALUES)
    whole = (tmp_path / "map.hsp").read_bytes()
    (tmp_path / "cut.hsp").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut\.hsp: damaged HealSparse file"):
        skyfill.read_map(tmp_path / "cut.hsp")


def test_a_file_that_changes_is_read_again(tmp_path):
    path = tmp_path / "map.h5"
    open_hdf5(path, map=(VALUES, {"ORDERING": "RING", "UNITS": "K"}))
    first = skyfill.read_map(path).values
    open_hdf5(path, map=(2 * VALUES, {"ORDERING": "RING", "UNITS": "K"}))
    np.testing.assert_allclose(skyfill.read_map(path).values, 2 * first)


def test_a_filled_map_is_fits_with_observed_pixels_as_they_were(tmp_path):
    seen = np.arange(NPIX - 200)
    open_sparse(tmp_path / "map.hsp", np.float32, seen, VALUES[seen].astype(np.float32), UNIT="K")
    sky = skyfill.read_map(tmp_path / "map.hsp")
    holes = np.isnan(sky.values)
    skyfill.write_filled(tmp_path / "filled.fits", sky, np.full(NPIX, 5.0), holes)
    back = skyfill.read_map(tmp_path / "filled.fits")
    stored = hp.reorder(VALUES.astype(np.float32), n2r=True)[~holes]
    np.testing.assert_array_equal((back.values[~holes] / 1e6).astype(np.float32), stored)
    np.testing.assert_allclose(back.values[holes], 5.0, rtol=1e-6)
    with pytest.raises(ValueError, match=r"cannot write .*\.hsp: the output is a FITS map"):
        skyfill.write_filled(tmp_path / "filled.hsp", sky, np.full(NPIX, 5.0), holes)


@pytest.mark.parametrize(
    ("library", "extra", "name"), [("healsparse", "healsparse", "m.hsp"), ("h5py", "hdf5", "m.h5")]
)
def test_without_its_package_one_line_says_what_to_install(
    tmp_path, monkeypatch, library, extra, name
):
    if library == "healsparse":
        cover = fits.PrimaryHDU(np.zeros(12))
        cover.header["PIXTYPE"] = "HEALSPARSE"
        cover.writeto(tmp_path / name)
    else:
        (tmp_path / name).write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    monkeypatch.setitem(sys.modules, library, None)
    for read in (skyfill.read_map, skyfill.read_mask, skyfill.describe):
        with pytest.raises(
            ValueError, match=rf"{name}: .* not installed: pip install 'skyfill\[{extra}\]'"
        ):
            read(tmp_path / name)
