"""Map files: what is read and written, as healpy and astropy see it."""

from pathlib import Path

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits
from map_files import NPIX, NSIDE, REAL, planck_like

from skyfill.maps import describe, known_pixels, read_map, write_map


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("nest", [False, True])
def test_reads_what_healpy_writes(tmp_path: Path, nest: bool, partial: bool) -> None:
    rng = np.random.default_rng(0)
    sky = rng.normal(size=NPIX)
    sky[rng.random(NPIX) < 0.3] = hp.UNSEEN
    hp.write_map(
        tmp_path / "in.fits",
        [sky, np.where(sky == hp.UNSEEN, sky, 2 * sky)],
        nest=nest,
        partial=partial,
        coord="C",
        column_units="K",
        dtype=np.float64,
    )
    got = read_map(tmp_path / "in.fits", field=1)
    want = hp.reorder(sky, n2r=True) if nest else sky
    assert np.array_equal(np.isnan(got.values), want == hp.UNSEEN)
    assert np.allclose(got.values[want != hp.UNSEEN], 2e6 * want[want != hp.UNSEEN], rtol=1e-15)
    assert (got.coord, got.nest, got.partial, got.nside) == ("C", nest, partial, NSIDE)


def test_columns_go_by_number_or_name(tmp_path: Path) -> None:
    path = planck_like(tmp_path / "in.fits", layout="partial")
    for field in (1, "1", "q_stokes", "Q_STOKES"):
        sky = read_map(path, field=field)
        assert (sky.column, sky.column_index) == ("Q_STOKES", 1)


def test_infinite_and_rounded_sentinels_are_missing(tmp_path: Path) -> None:
    values = np.arange(12.0) + 1
    values[:6] = [np.inf, -np.inf, np.nan, -1.6375e30, np.float32(-1.6375e30), -1.637499e30]
    hdu = fits.BinTableHDU.from_columns([fits.Column("T", "D", unit="uK", array=values)])
    hdu.header.update(NSIDE=1, ORDERING="RING")
    hdu.writeto(tmp_path / "a.fits")
    assert np.isnan(read_map(tmp_path / "a.fits").values).tolist() == [True] * 6 + [False] * 6
    hdu.header["BAD_DATA"] = 9.0
    hdu.writeto(tmp_path / "b.fits")
    assert read_map(tmp_path / "b.fits").n_missing == 7


@pytest.mark.parametrize("unit", ["mK", "mK_CMB", "mK,thermodynamic", "milliKelvin"])
def test_the_same_unit_in_another_spelling_is_fine(tmp_path: Path, unit: str) -> None:
    path = planck_like(tmp_path / "in.fits")
    sky = read_map(path, unit=unit)
    assert (sky.unit, sky.unit_to_uk) == ("mK_CMB", 1e3)
    assert np.array_equal(sky.values, read_map(path).values, equal_nan=True)


@pytest.mark.parametrize("unit", ["K", "uK", "K_CMB", "uK_CMB"])
def test_another_unit_than_the_files_is_refused(tmp_path: Path, unit: str) -> None:
    path = planck_like(tmp_path / "in.fits")
    with pytest.raises(ValueError, match=rf"is in mK_CMB \(TUNIT1\), not in {unit}; drop `unit`"):
        read_map(path, unit=unit)


@pytest.mark.parametrize("own", ["none", "unknown", "1", " "])
def test_a_word_for_no_unit_leaves_it_open(tmp_path: Path, own: str) -> None:
    path = tmp_path / "in.fits"
    write_map(path, np.arange(NPIX))
    fits.setval(path, "TUNIT1", value=own, ext=1)
    assert read_map(path, unit="mK").values[1] == 1e3
    with pytest.raises(ValueError, match=r"no unit \(TUNIT1\); pass `unit`"):
        read_map(path)


def test_the_unit_of_another_map_is_taken_with_a_warning(tmp_path: Path) -> None:
    like = read_map(planck_like(tmp_path / "in.fits"))
    write_map(tmp_path / "bare.fits", np.arange(NPIX), unit="")
    with pytest.warns(
        UserWarning, match=r"bare.fits: .*; mK_CMB, the unit of .*in.fits, is assumed"
    ):
        sky = read_map(tmp_path / "bare.fits", like=like)
    assert sky.values[3] == 3e3
    write_map(tmp_path / "own.fits", np.arange(NPIX), unit="K")
    assert read_map(tmp_path / "own.fits", like=like).unit == "K"


def test_known_pixels_need_no_unit(tmp_path: Path) -> None:
    path = planck_like(tmp_path / "in.fits", nest=True)
    known = known_pixels(path)
    assert np.array_equal(known, ~np.isnan(read_map(path).values))
    fits.setval(path, "TUNIT1", value="MJy/sr", ext=1)
    assert np.array_equal(known_pixels(path), known)


def test_a_column_says_its_stokes_parameter(tmp_path: Path) -> None:
    path = planck_like(tmp_path / "in.fits")
    assert [read_map(path, field=field, unit="mK").stokes for field in (0, 1)] == ["T", "Q"]
    hp.write_map(
        tmp_path / "iqu.fits", np.arange(3.0 * NPIX).reshape(3, -1), column_units="K", dtype=float
    )
    found = [read_map(tmp_path / "iqu.fits", field=field).stokes for field in range(3)]
    assert found == ["T", "Q", "U"]


@pytest.mark.parametrize("end", [".fits", ".fits.gz"])
@pytest.mark.parametrize("nside", [1, 8, 32])
@pytest.mark.parametrize("nest", [False, True])
def test_written_maps_read_back(tmp_path: Path, nest: bool, nside: int, end: str) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / f"a{end}"
    skies = {"T": rng.normal(0, 1e2, 12 * nside**2), "STD": rng.uniform(1, 2, 12 * nside**2)}
    skies["T"][0] = np.nan
    write_map(path, skies, unit="K_CMB", nest=nest, coord="E", dtype=np.float64, history=["x"])
    for name, sky in skies.items():
        got = read_map(path, field=name)
        assert (got.unit, got.nest, got.coord, got.nside) == ("K_CMB", nest, "E", nside)
        assert np.allclose(got.values, sky, rtol=1e-14, equal_nan=True)
    theirs = hp.read_map(path, field=0)
    assert np.allclose(theirs[1:], skies["T"][1:] * 1e-6, rtol=1e-6)
    assert theirs[0] == pytest.approx(hp.UNSEEN)
    with fits.open(path) as file:
        file.verify("exception")


def test_written_masks_are_bytes(tmp_path: Path) -> None:
    mask = np.arange(NPIX) % 3 > 0
    write_map(tmp_path / "m.fits", mask, column="MASK", unit="", coord=None, dtype=np.uint8)
    assert np.array_equal(hp.read_map(tmp_path / "m.fits", dtype=bool), mask)
    info = describe(tmp_path / "m.fits").tables[0]
    assert (info.columns[0].dtype, info.columns[0].unit, info.coord) == ("uint8", "", None)


def test_equal_maps_are_equal_files(tmp_path: Path) -> None:
    for name in ("a.fits.gz", "b.fits.gz"):
        write_map(tmp_path / name, np.arange(NPIX))
    assert (tmp_path / "a.fits.gz").read_bytes() == (tmp_path / "b.fits.gz").read_bytes()


def test_describe(tmp_path: Path) -> None:
    info = describe(planck_like(tmp_path / "in.fits", layout="partial", nest=True))
    (table,) = info.tables
    assert (table.hdu, table.nside, table.npix, table.partial) == (1, NSIDE, NPIX // 3, True)
    assert (table.ordering, table.coord) == ("NESTED", "G")
    assert [(c.name, c.unit, c.dtype) for c in table.columns] == [
        ("I_STOKES", "mK_CMB", "float32"),
        ("Q_STOKES", "mK_CMB", "float32"),
        ("HITS", "", "int32"),
        ("TMASK", "", "uint8"),
    ]
    assert table.keywords["FREQ"] == 143.0
    assert "NAXIS" not in table.keywords
    assert table.history == ("made for a test",)


@pytest.mark.skipif(not REAL, reason="SKYFILL_REAL_DATA is not set")
def test_wmap_has_no_unit() -> None:
    path = Path(REAL) / "wmap7_V_iqu_n32.fits"
    with pytest.raises(ValueError, match=r"no unit \(TUNIT1\); pass `unit` K, mK or uK"):
        read_map(path)
    sky = read_map(path, unit="mK")
    assert np.allclose(sky.values, hp.read_map(path, dtype=np.float64) * 1e3)


def test_single_precision_is_kept_where_the_file_has_no_more(tmp_path: Path) -> None:
    sky = np.random.default_rng(8).normal(size=NPIX)
    for dtype in (np.float32, np.float64):
        write_map(tmp_path / "sky.fits", sky, unit="K_CMB", dtype=dtype, overwrite=True)
        double = read_map(tmp_path / "sky.fits").values
        single = read_map(tmp_path / "sky.fits", single=True).values
        assert double.dtype == np.float64
        assert single.dtype == dtype
        np.testing.assert_allclose(single, double, rtol=2**-23)
