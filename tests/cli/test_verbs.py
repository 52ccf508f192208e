"""What simulate, mask, spectrum and info do with files."""

import json

import healpy
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable

import skyfill

NSIDE = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory, entry):
    """A folder that holds a simulated sky and mask."""
    path = tmp_path_factory.mktemp("skies")
    sky = ["-o", str(path / "sky.fits"), "--beam-arcmin", "120", "--noise-uk-arcmin", "90"]
    mask = ["-o", str(path / "mask.fits"), "--holes", "20", "--radius-arcmin", "120", "300"]
    assert entry(["simulate", "sky", *sky, "--nside", str(NSIDE), "--seed", "7", "-q"]) == 0
    assert entry(["simulate", "mask", *mask, "--nside", str(NSIDE), "--seed", "7", "-q"]) == 0
    return path


def test_the_whole_chain_as_a_program(skyfill_program, tmp_path):
    made = skyfill_program("simulate", "sky", "-o", "a.fits", "--nside", "16", cwd=tmp_path)
    assert made.status == 0, made.err
    assert made.out == ""
    assert "sky: a.fits, Nside 16" in made.err
    seen = skyfill_program("spectrum", "a.fits", "-o", "a.ecsv", "--plot", "a.png", cwd=tmp_path)
    assert seen.status == 0, seen.err
    assert "D_ell [µK²]     σ [µK²]      theory" in seen.out
    row = next(line for line in seen.out.splitlines() if line.startswith("     4 –"))
    table = QTable.read(tmp_path / "a.ecsv")
    (at,) = np.flatnonzero(table["ell_min"] == 4)
    expected = [table[name][at].value for name in ("dl", "dl_sigma", "dl_theory")]
    np.testing.assert_allclose(np.array(row.split()[3:6], float), expected, atol=0.006)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ecsv", "a.fits", "a.png"]


def test_a_simulated_sky_is_that_of_the_library(folder):
    sky = skyfill.read_map(folder / "sky.fits")
    expected = skyfill.simulate_sky(NSIDE, seed=7, fwhm=np.radians(2), noise_uk_arcmin=90)
    np.testing.assert_allclose(sky.values, expected, rtol=1e-6, atol=1e-3)
    assert sky.unit == "uK_CMB"
    (table,) = skyfill.describe(folder / "sky.fits").tables
    assert table.keywords["SFSEED"] == 7
    assert table.keywords["SFBEAM"] == 120.0
    assert "simulate sky" in "".join(table.history)


def test_a_simulated_mask_is_that_of_the_library(folder):
    radii = (np.radians(2), np.radians(5))
    expected = skyfill.simulate_mask(NSIDE, seed=7, n_holes=20, radii=radii)
    np.testing.assert_array_equal(skyfill.read_mask(folder / "mask.fits"), expected)


def test_others_can_read_what_we_write(folder):
    sky = healpy.read_map(folder / "sky.fits", dtype=np.float64)
    np.testing.assert_array_equal(sky, skyfill.read_map(folder / "sky.fits").values)
    mask = healpy.read_map(folder / "mask.fits", dtype=np.uint8)
    np.testing.assert_array_equal(mask, skyfill.read_mask(folder / "mask.fits"))


def test_spectrum_takes_the_prior_from_the_header(skyfill_main, folder, tmp_path):
    sky = folder / "sky.fits"
    recorded = skyfill_main("spectrum", sky, "--json")
    assert recorded.status == 0
    assert (
        "beam 120.00 arcmin (header, 142.78 with the pixel window), noise 90.0 uK.arcmin (header)"
        in recorded.err
    )
    given = skyfill_main(
        "spectrum", sky, "--beam-arcmin", 120, "--noise-uk-arcmin", 90, "--json", "-q"
    )
    assert given.err == ""
    assert json.loads(given.out)["bins"] == json.loads(recorded.out)["bins"]


def test_spectrum_writes_what_it_prints(skyfill_main, folder, tmp_path):
    table, plot = tmp_path / "s.ecsv", tmp_path / "s.png"
    words = (
        "spectrum",
        folder / "sky.fits",
        "-o",
        table,
        "--plot",
        plot,
        "--lmax",
        40,
        "--bins",
        5,
    )
    outcome = skyfill_main(*words, "--json", "-q")
    printed = json.loads(outcome.out)
    written = QTable.read(table)
    assert printed["lmax"] == written.meta["lmax"] == 40
    np.testing.assert_allclose(written["cl"].value, printed["bins"]["cl"])
    assert printed["bins"]["ell_min"][:2] == [2, 7]
    assert np.all(np.abs(printed["bins"]["residual"]) < 6)
    assert plot.read_bytes().startswith(b"\x89PNG")

    again = skyfill_main(*words)
    assert again.status == 2
    assert "s.ecsv exists already; pass --overwrite" in again.err
    assert skyfill_main(*words, "--overwrite").status == 0


def test_spectrum_fits_where_nothing_is_known(skyfill_main, folder, tmp_path):
    bare = tmp_path / "bare.fits"
    skyfill.write_map(bare, skyfill.read_map(folder / "sky.fits").values)
    outcome = skyfill_main("spectrum", bare)
    assert outcome.status == 0, outcome.err
    assert "arcmin (fitted" in outcome.err


def test_spectrum_reads_a_theory(skyfill_main, folder, tmp_path):
    theory = tmp_path / "cl.txt"
    cl = skyfill.lcdm()
    np.savetxt(theory, np.column_stack([np.arange(2, cl.size), cl[2:]]))
    words = ("spectrum", folder / "sky.fits", "--beam-arcmin", 120, "--noise-uk-arcmin", 90)
    ours, theirs = (
        json.loads(skyfill_main(*words, *more, "--json", "-q").out)["bins"]["ratio"]
        for more in ((), ("--cl", theory))
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_mask_does_its_operations(skyfill_main, folder, tmp_path):
    catalogue = tmp_path / "sources.csv"
    catalogue.write_text("lon,lat,radius\n10,60,90\n200,-45,120\n", encoding="utf-8")
    out = tmp_path / "out.fits"
    outcome = skyfill_main(
        "mask",
        folder / "mask.fits",
        *("--galactic-cut", 20, "--sources", catalogue, "--grow-arcmin", 60, "-o", out, "--json"),
    )
    assert outcome.status == 0, outcome.err
    result = json.loads(outcome.out)
    observed = skyfill.read_mask(out)
    assert result["fsky"] == pytest.approx(observed.mean())
    assert result["hole_pixels"] == np.count_nonzero(~observed)
    assert result["holes"] == len(skyfill.label_holes(observed).sizes)
    assert not np.any(observed & ~skyfill.read_mask(folder / "mask.fits"))
    for lon, lat in [(10, 60), (200, -45), (0, 19)]:
        assert not observed[healpy.ang2pix(NSIDE, lon, lat, lonlat=True)]


def test_mask_begins_with_a_whole_sky(skyfill_main, tmp_path):
    out = tmp_path / "cut.fits"
    outcome = skyfill_main("mask", "--nside", 16, "--galactic-cut", 10, "-o", out)
    assert outcome.status == 0, outcome.err
    assert outcome.out.startswith("Nside 16, 8")
    assert "1 holes" in outcome.out or "1 hole" in outcome.out
    np.testing.assert_array_equal(skyfill.read_mask(out), skyfill.galactic_cut(16, np.radians(10)))


def test_mask_takes_the_missing_pixels_of_a_map(skyfill_main, folder, tmp_path):
    values = skyfill.read_map(folder / "sky.fits").values.copy()
    values[100:150] = np.nan
    skyfill.write_map(tmp_path / "sky.fits", values)
    out = tmp_path / "out.fits"
    assert skyfill_main("mask", "--map", tmp_path / "sky.fits", "-o", out).status == 0
    np.testing.assert_array_equal(skyfill.read_mask(out), np.isfinite(values))


def test_mask_inverts(skyfill_main, folder, tmp_path):
    out = tmp_path / "out.fits"
    assert skyfill_main("mask", folder / "mask.fits", "--invert", "-o", out).status == 0
    np.testing.assert_array_equal(skyfill.read_mask(out), ~skyfill.read_mask(folder / "mask.fits"))


def test_info_says_what_is_there(skyfill_main, folder):
    text = skyfill_main("info", folder / "sky.fits").out
    for word in ("Nside 32", "RING", "frame G", "TEMPERATURE", "uK_CMB", "float32", "SFBEAM"):
        assert word in text
    (table,) = json.loads(skyfill_main("info", folder / "sky.fits", "--json").out)["tables"]
    assert table["nside"] == NSIDE
    assert table["columns"] == [{"name": "TEMPERATURE", "unit": "uK_CMB", "dtype": "float32"}]
    assert table["keywords"]["SFNOISE"] == 90.0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("info", "none.fits"), "none.fits"),
        (("info", "text.fits"), "not a FITS file"),
        (("spectrum", "mask.fits"), "mask"),
        (("spectrum", "sky.fits", "--lmax", 1000), "3 Nside - 1"),
        (("spectrum", "sky.fits", "--field", "Q"), "TEMPERATURE"),
        (("spectrum", "sky.fits", "--dl"), "pass --cl as well"),
        (("spectrum", "sky.fits", "--cl", "none.txt"), "none.txt"),
        (("spectrum", "sky.fits", "-o", "none/s.ecsv"), "no folder"),
        (("spectrum", "holed.fits", "--beam-arcmin", 5), "50 pixels are missing"),
        (("simulate", "sky", "-o", "new.fits", "--nside", 30), "power of two"),
        (("simulate", "sky", "-o", "sky.fits", "--nside", 8), "--overwrite"),
        (("simulate", "sky", "-o", "new.fits", "--nside", 8, "--lmax", 99999), "from 0 to"),
        (("mask", "-o", "new.fits"), "--nside"),
        (("mask", "-o", "new.fits", "--nside", 100), "power of two"),
        (("mask", "-o", "new.fits", "--nside", 8, "--invert"), "give MASK"),
        (("mask", "mask.fits", "-o", "new.fits", "--nside", 9), "power of two"),
        (("mask", "-o", "new.fits", "--nside", 8, "--radius-arcmin", 9), "--sources"),
        (("mask", "mask.fits", "-o", "new.fits", "--map", "small.fits"), "Nside"),
        (("mask", "-o", "new.fits", "--nside", 8, "--sources", "none.csv"), "none.csv"),
    ],
)
def test_wrong_input_is_one_line(skyfill_main, folder, tmp_path, monkeypatch, words, message):
    for name in ("sky.fits", "mask.fits"):
        (tmp_path / name).symlink_to(folder / name)
    (tmp_path / "text.fits").write_text("no FITS at all", encoding="utf-8")
    holed = skyfill.read_map(folder / "sky.fits").values.copy()
    holed[:50] = np.nan
    skyfill.write_map(tmp_path / "holed.fits", holed)
    skyfill.write_map(tmp_path / "small.fits", np.linspace(-1, 1, 12 * 16**2))
    before = sorted(path.name for path in tmp_path.iterdir())
    monkeypatch.chdir(tmp_path)

    outcome = skyfill_main(*words, *(("-q",) if words[0] != "info" else ()))
    assert outcome.status == 2
    assert outcome.err.startswith("skyfill: error: ")
    assert outcome.err.count("\n") == 1
    assert message in outcome.err
    assert outcome.out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_info_tells_what_it_does_not_understand(skyfill_main, folder, tmp_path):
    """A frame that is none of the three, and cells of several orders."""
    content = (folder / "sky.fits").read_bytes()
    card = b"COORDSYS= 'G       '"
    assert card in content
    path = tmp_path / "fk4.fits"
    path.write_bytes(content.replace(card, b"COORDSYS= 'FK4     '"))
    outcome = skyfill_main("info", path)
    assert "frame unknown (COORDSYS = 'FK4')" in outcome.out
    cells = np.r_[16 + np.arange(24), 64 + np.arange(96, 192)]
    hdu = fits.BinTableHDU.from_columns(
        [fits.Column("UNIQ", "K", array=cells), fits.Column("T", "E", array=cells)]
    )
    hdu.header.update(ORDERING="NUNIQ", COORDSYS="C")
    hdu.writeto(tmp_path / "cells.fits")
    outcome = skyfill_main("info", tmp_path / "cells.fits")
    assert "Nside 4, 120 cells of orders 1 to 2, NUNIQ, frame C" in outcome.out


@pytest.mark.filterwarnings("default")
def test_a_theory_that_ends_too_early_is_said(skyfill_main, tmp_path):
    """A sky without small scales is no sky of its theory."""
    cl = skyfill.lcdm(40)
    np.savetxt(tmp_path / "cl.txt", np.c_[np.arange(41), cl], header="ell cl")
    words = ("simulate", "sky", "--nside", 32, "-o", tmp_path / "a.fits", "--overwrite", "-q")
    short = (*words, "--cl", tmp_path / "cl.txt")
    outcome = skyfill_main(*short)
    assert outcome.status == 0
    assert "ends at l = 40, but Nside 32 resolves l up to 64" in outcome.err
    for more in (("--cl-extend",), ("--lmax", 40), ("--beam-arcmin", 1200)):
        assert skyfill_main(*short, *more).err == ""
    outcome = skyfill_main("spectrum", tmp_path / "a.fits", "--cl", tmp_path / "cl.txt", "-q")
    assert outcome.status == 2
    assert "pass --lmax 40" in outcome.err
