"""Tabulated beams: what is read, what is assumed, and what follows from it."""

import gzip
import json

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

import skyfill
from skyfill.prior import Beam, Given, read_beam, read_prior, recorded_prior, save_prior
from skyfill.prior.plausibility import judge

FWHM = np.radians(1.0)
GAUSS = skyfill.gaussian_beam(FWHM, 400)


def text(path, *columns, header=""):
    np.savetxt(path, np.stack(columns, axis=1), fmt="%.17g", header=header)
    return path


def rimo(path, **tables):
    """Write a file as a Planck RIMO: other tables, then one for each beam."""
    other = fits.BinTableHDU.from_columns([fits.Column("NU", "E", array=np.arange(4.0))])
    other.name = "CHANNEL_PARAMETERS"
    hdus = [fits.PrimaryHDU(), other]
    for name, (column, values, in_one_cell) in tables.items():
        if in_one_cell:
            made = fits.Column(column, f"{values.size}D", array=values[None, :])
        else:
            made = fits.Column(column, "D", array=values)
        table = fits.BinTableHDU.from_columns([made])
        table.name = name
        hdus.append(table)
    fits.HDUList(hdus).writeto(path)
    return path


def test_a_text_of_l_and_b_is_read_bit_for_bit(tmp_path):
    beam = read_beam(text(tmp_path / "b.txt", np.arange(401), GAUSS))
    assert np.array_equal(beam.window, GAUSS)
    assert beam.name == "b.txt"
    assert len(beam.sha256) == 64
    assert "b_l (assumed: pass `squared=True` for B_l²)" in beam.said[0]


def test_one_column_counts_from_zero_and_says_so(tmp_path):
    beam = read_beam(text(tmp_path / "b.txt", GAUSS))
    assert np.array_equal(beam.window, GAUSS)
    assert any("count from l = 0 (assumed)" in line for line in beam.said)


@pytest.mark.parametrize("name", ["B_l^2", "W_ell", "bl2"])
def test_a_square_is_known_by_its_name(tmp_path, name):
    path = text(tmp_path / "b.txt", np.arange(401), GAUSS**2, header=f"ell {name}")
    beam = read_beam(path)
    assert np.allclose(beam.window, GAUSS, rtol=1e-14)
    assert "B_l² (by its name)" in beam.said[0]
    with pytest.raises(ValueError, match="holds B_l² by its name"):
        read_beam(path, squared=False)


def test_a_square_without_a_name_is_read_as_told(tmp_path):
    path = text(tmp_path / "b.txt", np.arange(401), GAUSS**2)
    assert np.allclose(read_beam(path, squared=True).window, GAUSS, rtol=1e-14)
    assert np.array_equal(read_beam(path).window, GAUSS**2)


@pytest.mark.parametrize("column", ["NOMINAL", "BL"])
@pytest.mark.parametrize("in_one_cell", [True, False])
def test_a_planck_rimo_is_read_by_the_name_of_its_table(tmp_path, column, in_one_cell):
    one, two = (column, GAUSS, in_one_cell), (column, GAUSS**1.5, in_one_cell)
    path = rimo(tmp_path / "RIMO.fits", BEAMWF_100X100=one, BEAMWF_143X143=two)
    assert np.array_equal(read_beam(path, hdu="BEAMWF_143X143").window, GAUSS**1.5)
    assert np.array_equal(read_beam(path, hdu="beamwf_100x100").window, GAUSS)
    with pytest.raises(ValueError, match="BEAMWF_100X100, BEAMWF_143X143; pass `hdu='BEAMWF_100"):
        read_beam(path)
    with pytest.raises(ValueError, match=r"no table BEAMWF_9.*CHANNEL_PARAMETERS, BEAMWF_100"):
        read_beam(path, hdu="BEAMWF_9")
    alone = rimo(tmp_path / "one.fits", BEAMWF_100X100=one)
    assert np.array_equal(read_beam(alone).window, GAUSS)


def test_the_beam_beside_a_map_and_healpys_file_are_read(tmp_path):
    import healpy

    hp_file = tmp_path / "cl.fits"
    healpy.write_cl(hp_file, GAUSS, dtype=np.float64)
    assert np.array_equal(read_beam(hp_file).window, GAUSS)
    sky = fits.BinTableHDU.from_columns([fits.Column("I_STOKES", "E", array=np.zeros(768))])
    sky.header["ORDERING"] = "RING"
    columns = [fits.Column(n, "D", array=GAUSS**p) for n, p in (("INT_BEAM", 1), ("POL_BEAM", 2))]
    beside = fits.BinTableHDU.from_columns(columns)
    fits.HDUList([fits.PrimaryHDU(), sky, beside]).writeto(tmp_path / "smica.fits")
    assert np.array_equal(read_beam(tmp_path / "smica.fits").window, GAUSS)
    assert np.array_equal(read_beam(tmp_path / "smica.fits", column="POL_BEAM").window, GAUSS**2)


def test_gzipped_text_is_read(tmp_path):
    plain = text(tmp_path / "b.txt", np.arange(401), GAUSS)
    packed = tmp_path / "b.txt.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert np.array_equal(read_beam(packed).window, GAUSS)


def test_missing_low_l_are_one_and_gaps_are_interpolated(tmp_path):
    ell = np.arange(2, 401, 2)
    beam = read_beam(text(tmp_path / "b.txt", ell, GAUSS[ell]))
    assert beam.window[0] == 1.0
    assert np.array_equal(beam.window[ell], GAUSS[ell])
    assert np.allclose(beam.window, GAUSS[: beam.window.size], atol=2e-5)
    assert "b_l interpolated between the rows" in beam.said


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([np.arange(401), GAUSS * 40], "b_l is 40 at l = 0, where a beam has 1; divide"),
        ([np.arange(401), np.where(np.arange(401) == 9, np.nan, GAUSS)], "not finite at l = 9"),
        ([np.arange(401), 2 - GAUSS], "at l = 400, but a beam has at most"),
        ([np.arange(5, 401), GAUSS[5:]], "l must begin at 0, 1 or 2"),
        ([np.arange(401), GAUSS, GAUSS], r"which column .* It has ell, one, two; pass `column"),
        ([np.arange(2), GAUSS[:2]], "three rows or more"),
    ],
)
def test_what_is_no_beam_is_refused(tmp_path, columns, message):
    header = "ell one two" if len(columns) == 3 else ""
    path = text(tmp_path / "b.txt", *columns, header=header)
    with pytest.raises(ValueError, match=message):
        read_beam(path)


def test_files_of_other_kinds_are_refused_in_one_line(tmp_path):
    (tmp_path / "noise").write_bytes(bytes(range(256)))
    (tmp_path / "words").write_text("no numbers here\n")
    for name in ("noise", "words"):
        with pytest.raises(ValueError, match="a beam is a table") as error:
            read_beam(tmp_path / name)
        assert "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_beam(tmp_path / "nothing")


@settings(max_examples=30, deadline=None)
@given(st.floats(0.3, 5.0), st.integers(200, 900))
def test_a_gaussian_goes_on_beyond_the_end_of_its_table(degrees, lmax):
    fwhm = np.radians(degrees)
    whole = skyfill.gaussian_beam(fwhm, 1200)
    beam = Beam(whole[: lmax + 1])
    seen = beam.window[-1] > 1e-300
    assert np.allclose(beam.at(1200)[lmax:], whole[lmax:], rtol=1e-9) or not seen
    assert beam.fwhm == pytest.approx(fwhm, rel=0.02)
    if seen:
        assert beam.end_fwhm == pytest.approx(fwhm, rel=1e-9)


def test_a_table_that_ends_where_the_map_goes_on_is_refused():
    short = Beam(skyfill.gaussian_beam(np.radians(0.1), 100))
    with pytest.raises(ValueError, match=r"ends at l = 100 with b_l = 0\.99.*Nside 64"):
        skyfill.Prior(64, skyfill.lcdm(), beam=short)
    assert skyfill.Prior(32, skyfill.lcdm(), beam=Beam(GAUSS[:65])).lmax > 60


def test_the_prior_of_a_gaussian_table_is_that_of_the_gaussian():
    gaussian = skyfill.Prior(64, skyfill.lcdm(), fwhm=FWHM, noise_uk_arcmin=50.0)
    table = skyfill.Prior(64, skyfill.lcdm(), beam=Beam(GAUSS), noise_uk_arcmin=50.0)
    assert gaussian.lmax == table.lmax
    assert np.array_equal(gaussian.total_cl(), table.total_cl())
    assert table.effective_fwhm == pytest.approx(gaussian.effective_fwhm, rel=0.01)
    skies = [skyfill.simulate_sky(64, seed=3, **beam) for beam in ({"fwhm": FWHM}, {"beam": GAUSS})]
    np.testing.assert_allclose(*skies, atol=1e-9)  # beyond the table the two differ by rounding


def test_two_beams_are_refused():
    for make in (
        lambda: skyfill.Prior(32, skyfill.lcdm(), fwhm=FWHM, beam=Beam(GAUSS)),
        lambda: Given(fwhm=FWHM, beam=Beam(GAUSS)),
        lambda: skyfill.simulate_sky(32, seed=1, fwhm=FWHM, beam=GAUSS),
    ):
        with pytest.raises(ValueError, match="`fwhm` and `beam` are two beams"):
            make()
    with pytest.raises(ValueError, match="a file is read by skyfill"):
        Given(beam="beam.fits")


def test_a_given_beam_replaces_that_of_a_whole_prior_and_back():
    base = skyfill.Prior(64, skyfill.lcdm(), fwhm=FWHM, pixel_window=False)
    table = Given(base=base, beam=Beam(GAUSS)).complete(64)
    assert (table.fwhm, table.beam, table.pixel_window) == (0.0, Beam(GAUSS), True)
    assert table.origin("fwhm") == "given"
    back = Given(base=table, fwhm=FWHM).complete(64)
    assert (back.fwhm, back.beam) == (FWHM, None)


def test_a_fit_keeps_a_table_that_is_not_gaussian():
    """A beam with a wide shoulder, which no Gaussian describes."""
    window = 0.9 * skyfill.gaussian_beam(np.radians(1.0), 400) + 0.1 * skyfill.gaussian_beam(
        np.radians(6.0), 400
    )
    truth = skyfill.Prior(64, skyfill.lcdm(), beam=Beam(window), noise_uk_arcmin=150.0)
    sky = skyfill.prior.draw(truth, seed=5, aliased=True)
    seen = skyfill.simulate_mask(64, seed=1, n_holes=20)
    found = Given(beam=Beam(window)).of_map(sky, seen)
    assert found.beam == truth.beam
    assert found.fwhm == 0.0
    assert "fwhm" not in found.fitted
    assert found.pixel_window
    assert judge(sky, seen, found).verdict == "good"


@pytest.mark.parametrize("cl_size", [200, 401, 700])
def test_a_record_of_a_beam_is_exact(tmp_path, cl_size):
    beam = Beam(GAUSS, "own.txt", "ab" * 32)
    prior = skyfill.Prior(32, skyfill.lcdm(cl_size), beam=beam, noise_uk_arcmin=50.0)
    save_prior(tmp_path / "prior.json", prior)
    sky = skyfill.prior.draw(prior, seed=1)
    hdu = skyfill.prior.prior_hdu(prior)
    skyfill.write_map(tmp_path / "sky.fits", sky, attached=(skyfill.prior.PRIOR_HDU, hdu))
    again = read_prior(tmp_path / "prior.json"), recorded_prior(tmp_path / "sky.fits")
    for one in again:
        assert one.beam == beam
        assert np.array_equal(one.cl, prior.cl)
        assert one.fwhm == 0.0
    with fits.open(tmp_path / "sky.fits", checksum=True) as hdus:
        table = hdus[skyfill.prior.PRIOR_HDU]
        assert table.columns.names == ["CL", "BEAM"]
        assert table.columns["BEAM"].unit is None
        assert np.array_equal(table.data["BEAM"][: GAUSS.size], GAUSS)


def test_older_versions_refuse_a_prior_with_a_table(tmp_path):
    """They read format 1, and would take the table for no beam at all."""
    prior = skyfill.Prior(32, skyfill.lcdm(), beam=Beam(GAUSS))
    save_prior(tmp_path / "prior.json", prior)
    assert json.loads((tmp_path / "prior.json").read_text())["format"] == 2
    bare = skyfill.Prior(32, skyfill.lcdm(), fwhm=FWHM)
    save_prior(tmp_path / "bare.json", bare)
    assert json.loads((tmp_path / "bare.json").read_text())["format"] == 1


def test_a_wrong_reading_of_the_table_is_named():
    """B_l² taken for b_l: the map has more small scales than the prior predicts."""
    sky = skyfill.simulate_sky(128, seed=2, fwhm=np.radians(1.5))
    window = skyfill.gaussian_beam(np.radians(1.5), 400)
    wrong = skyfill.Prior(128, skyfill.lcdm(), beam=Beam(window**2))
    found = judge(sky - sky.mean(), np.ones(sky.size, bool), wrong)
    assert found.verdict == "refused"
    assert any("holds B_l², not b_l" in cause for cause in found.causes)
