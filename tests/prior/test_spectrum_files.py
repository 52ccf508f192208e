"""Theory spectra in every form that people have them in."""

import gzip
import warnings
from pathlib import Path
from typing import Any

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st
from map_files import REAL

from skyfill.prior import lcdm
from skyfill.prior.spectrumfile import read_cl, read_spectrum

Values = np.ndarray[Any, np.dtype[np.float64]]
ELL = np.arange(2, 60)
CL = lcdm(59)[2:]
DL = CL * ELL * (ELL + 1) / (2 * np.pi)
WHOLE = np.concatenate([[0, 0], CL])
T2 = 2.7255e6**2


def text(path: Path, columns: list[Values], head: str = "", mark: str = " ") -> Path:
    rows = (mark.join(map(repr, row)) for row in np.transpose(columns).tolist())
    path.write_text(head + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def is_right(cl: Values) -> None:
    np.testing.assert_allclose(cl, WHOLE, rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    order=st.permutations(["ell", "tt", "ee", "bb", "te", "pp"]),
    mark=st.sampled_from([" ", ",", "\t", ";", ", "]),
    commented=st.booleans(),
    upper=st.booleans(),
)
def test_names_count_and_order_does_not(
    tmp_path_factory: pytest.TempPathFactory,
    order: list[str],
    mark: str,
    commented: bool,
    upper: bool,
) -> None:
    path = tmp_path_factory.mktemp("s") / "cl.txt"
    values = {name: CL * (2 + number) for number, name in enumerate(order)} | {"tt": CL, "ell": ELL}
    names = mark.join(name.upper() if upper else name for name in order)
    text(path, [values[name] for name in order], "# " * commented + names + "\n", mark)
    is_right(read_cl(path))


@pytest.mark.parametrize(
    "name", ["TT", "tt", "C_l", "Cl", "CL_TT", "C_ell^TT", "TEMPERATURE", "TxT"]
)
def test_names_of_c_ell(tmp_path: Path, name: str) -> None:
    for of_l in ("l", "L", "ell", "multipole", "1:l"):
        is_right(read_cl(text(tmp_path / "a", [ELL, 2 * CL, CL], f"# {of_l} EE {name}\n")))


@pytest.mark.parametrize(
    "name", ["D_l", "Dl", "DlTT", "D_ELL", "D_l^TT", "l(l+1)C_l/2pi", "l(l+1)/(2π)C_l", "Dℓ"]
)
def test_names_of_d_ell(tmp_path: Path, name: str) -> None:
    path = text(tmp_path / "a", [ELL, DL, 2 * DL], f"ell {name} error\n")
    found = read_spectrum(path)
    is_right(found.cl)
    assert found.dl
    assert "is D_l (by its name) in µK² (assumed)" in found.said[0]
    is_right(read_cl(path, dl=True))
    with pytest.raises(ValueError, match=r"holds D_l by its name, `dl=False` says C_l; .*`column="):
        read_cl(path, dl=False)
    np.testing.assert_allclose(read_cl(path, dl=False, column=1)[2:], DL)


def test_what_nobody_says_is_assumed_aloud(tmp_path: Path) -> None:
    path = text(tmp_path / "a", [ELL, CL, 2 * CL], "L TT EE\n")
    found = read_spectrum(path)
    is_right(found.cl)
    assert (found.column, found.dl, found.unit) == ("TT", False, "µK²")
    assert found.said == (
        "column 'TT' is C_l (assumed: pass `dl=True` for D_l) in µK² (assumed)",
        "l = 2 to 59",
    )


CLASS = """# {} total lensed [l(l+1)/2pi] C_l's{}
# for l=2 to 59, i.e. number of multipoles equal to 58
#
# -> if you don't want to see such a header, set 'headers' to 'no' in input file
# -> for CMB lensing (phi), these are C_l^phi-phi for the lensing potential.
#    Remember the conversion factors:
#    C_l^dd (deflection) = l(l+1) C_l^phi-phi
#
# 1:l     2:TT                       3:EE
"""


@pytest.mark.parametrize(
    ("head", "unit"),
    [(CLASS.format("dimensionless", ""), T2), (CLASS.format("", " (units: [microK]^2)"), 1)],
)
def test_class_says_what_its_numbers_are(tmp_path: Path, head: str, unit: float) -> None:
    path = text(tmp_path / "a", [ELL, DL / unit, DL], head)
    found = read_spectrum(path)
    is_right(found.cl)
    assert "by the file's comments" in found.said[0]
    with pytest.raises(ValueError, match="holds D_l by the file's comments"):
        read_cl(path, dl=False)
    with pytest.raises(ValueError, match=r"by the file's comments, `unit='mK\^2'` says another"):
        read_cl(path, unit="mK^2")


@pytest.mark.parametrize(
    "comment", ["C_l, not multiplied by l(l+1)/2pi", "without l(l+1)/2pi", "multiply by l(l+1)/2pi"]
)
def test_comments_may_deny_d_ell(tmp_path: Path, comment: str) -> None:
    is_right(read_cl(text(tmp_path / "a", [ELL, CL], f"# {comment}\n")))


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        *(("K^2", 1e-12), ("K_CMB^2", 1e-12), ("Kelvin-squared", 1e-12), ("mK^2", 1e-6)),
        *(("uK^2", 1), ("muK^2", 1), ("µK²", 1), ("uK_CMB**2", 1), ("(uK)^2", 1), ("", 1)),
        *(("unknown", 1), ("dimensionless", 1 / T2)),
    ],
)
def test_units(tmp_path: Path, unit: str, factor: float) -> None:
    ascii_unit = unit.replace("µK²", "microK^2")
    columns = [
        fits.Column("ELL", "J", array=ELL),
        fits.Column("TT", "D", unit=ascii_unit, array=CL * factor),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "b.fits")
    is_right(read_cl(tmp_path / "b.fits"))
    columns = [
        fits.Column("ELL", "I6", array=ELL, ascii=True),
        fits.Column("TT", "D25.17", unit=ascii_unit, array=CL * factor, ascii=True),
    ]
    fits.TableHDU.from_columns(columns).writeto(tmp_path / "a.fits")  # as CAMB writes it
    is_right(read_cl(tmp_path / "a.fits"))
    if unit not in ("", "unknown"):
        is_right(read_cl(text(tmp_path / "a", [ELL, CL * factor], f"# l C_l [{unit}]\n")))
        is_right(read_cl(text(tmp_path / "a", [ELL, CL * factor], f"l,C_l ({unit})\n", ",")))
        is_right(read_cl(text(tmp_path / "a", [ELL, CL * factor]), unit=unit))


def test_units_that_are_none(tmp_path: Path) -> None:
    table = Table({"ell": ELL, "tt": CL})
    table["tt"].unit = "uK"
    table.write(tmp_path / "a.fits")
    with pytest.raises(
        ValueError, match=r"unit 'uK', which is not a unit of a spectrum; pass `unit="
    ):
        read_cl(tmp_path / "a.fits")
    is_right(read_cl(tmp_path / "a.fits", unit="uK^2"))
    with pytest.raises(ValueError, match="is not a unit of a spectrum"):
        read_cl(tmp_path / "a.fits", unit="Jy")
    path = text(tmp_path / "a", [ELL, CL], "# TT in muK^2, PP dimensionless\n")
    with pytest.raises(ValueError, match="comments name several units"):
        read_cl(path)
    is_right(read_cl(path, unit="uK^2"))


def test_fortran_writes_d_for_e(tmp_path: Path) -> None:
    rows = [f"{ell:6d} {value:.15E} {value:.7E}" for ell, value in zip(ELL, CL, strict=True)]
    rows[3] = rows[3].replace(rows[3].split()[2], "0.1234-101")
    (tmp_path / "a").write_text("\n".join(rows).replace("E", "D"))
    np.testing.assert_allclose(read_cl(tmp_path / "a"), WHOLE, rtol=1e-12)
    (tmp_path / "a").write_text("2 1.0D+03\n3 5.0d+02\n")
    np.testing.assert_array_equal(read_cl(tmp_path / "a"), [0, 0, 1000, 500])


@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_fits_column_is_l_where_it_counts(tmp_path: Path, first: int) -> None:
    rows = slice(first, None)
    table = Table({"index": np.arange(WHOLE.size)[rows], "TEMPERATURE": WHOLE[rows]})
    table.write(tmp_path / "a.fits")
    is_right(read_cl(tmp_path / "a.fits"))


def test_a_rising_spectrum_is_not_taken_for_l(tmp_path: Path) -> None:
    rising = np.concatenate([[0, 0], np.arange(2, 60) ** 1.5])
    hp.write_cl(tmp_path / "a.fits", [rising, *np.ones((3, rising.size))], dtype=np.float64)
    found = read_spectrum(tmp_path / "a.fits")
    np.testing.assert_array_equal(found.cl, rising)
    assert found.column == "TEMPERATURE"


def test_names_count_in_fits_too(tmp_path: Path) -> None:
    Table({"EE": 2 * CL, "TT": CL, "ELL": ELL}).write(tmp_path / "a.fits")
    is_right(read_cl(tmp_path / "a.fits"))
    Table({"D_ELL": DL, "ELL": ELL, "ERR": DL}).write(tmp_path / "b.fits")
    is_right(read_cl(tmp_path / "b.fits"))
    (tmp_path / "b.fits.gz").write_bytes(gzip.compress((tmp_path / "b.fits").read_bytes()))
    is_right(read_cl(tmp_path / "b.fits.gz"))


def test_several_tables_need_a_choice(tmp_path: Path) -> None:
    hdus = [fits.table_to_hdu(Table({"ELL": ELL, "D_ELL": k * DL})) for k in (1.0, 2.0)]
    hdus[0].name, hdus[1].name = "TTLOW", "TTHIGH"
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "a.fits")
    with pytest.raises(ValueError, match=r"2 tables .*TTLOW, TTHIGH.*pass `hdu='TTLOW'`"):
        read_cl(tmp_path / "a.fits")
    is_right(read_cl(tmp_path / "a.fits", hdu="TTLOW"))
    np.testing.assert_allclose(read_cl(tmp_path / "a.fits", hdu=2), 2 * WHOLE)
    with pytest.raises(ValueError, match="no readable FITS table"):
        read_cl(tmp_path / "a.fits", hdu="EE")
    hdus[1].name = "TTLOW"
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "b.fits")
    with pytest.raises(ValueError, match=r"2 tables .*\(1, 2\); pass `hdu=1`"):
        read_cl(tmp_path / "b.fits")


def test_a_map_is_no_spectrum(tmp_path: Path) -> None:
    hp.write_map(tmp_path / "m.fits", np.ones(48), dtype=np.float64)
    with pytest.raises(ValueError, match="a HEALPix map, not its spectrum"):
        read_cl(tmp_path / "m.fits")


def test_gzip_and_other_encodings(tmp_path: Path) -> None:
    plain = text(tmp_path / "a", [ELL, CL], "# ℓ Cℓ\n").read_text(encoding="utf-8")
    for name, content in {
        "a.txt.gz": gzip.compress(plain.encode()),
        "bom.txt": plain.encode("utf-8-sig"),
        "utf16.txt": plain.encode("utf-16"),
        "latin.txt": plain.replace("ℓ Cℓ", "l Cl [µK²]").encode("latin-1"),
        "crlf.txt": plain.replace("\n", "\r\n").encode(),
    }.items():
        (tmp_path / name).write_bytes(content)
        is_right(read_cl(tmp_path / name))


def test_what_the_table_lacks_comes_from_theory_only_if_asked(tmp_path: Path) -> None:
    theory = lcdm(80)
    late = text(tmp_path / "late", [ELL[45:], DL[45:]], "l Dl\n")
    with pytest.raises(ValueError, match=r"no rows for l = 2-46, .*pass `extend` to"):
        read_cl(late)
    found = read_spectrum(late, extend=2 * theory)
    np.testing.assert_allclose(found.cl[:47], 2 * theory[:47])
    np.testing.assert_allclose(found.cl[47:60], WHOLE[47:], rtol=1e-12)
    np.testing.assert_allclose(found.cl[60:], 2 * theory[60:])
    assert "l = 2 to 46 not from the file but from `extend`" in found.said
    assert "l = 60 to 80 not from the file but from `extend`" in found.said
    two = [np.delete(values, slice(5, 40)) for values in (ELL, CL)]
    with pytest.raises(ValueError, match="no rows for l = 7-41"):
        read_cl(text(tmp_path / "hole", two))
    np.testing.assert_allclose(read_cl(tmp_path / "hole", extend=lcdm(59)), WHOLE, rtol=1e-12)
    with pytest.raises(ValueError, match="`extend` ends at l = 20, before"):
        read_cl(late, extend=lcdm(20))


def test_bins_are_interpolated_in_d_ell(tmp_path: Path) -> None:
    centres = np.array([2.0, 4.5, 9.2, 15.0, 25.5, 40.0])
    path = text(tmp_path / "a", [centres, 1000 + centres], "ell D_ell\n")
    found = read_spectrum(path)
    ell = np.arange(2, 41)
    np.testing.assert_allclose(found.cl[2:] * ell * (ell + 1) / (2 * np.pi), 1000 + ell)
    assert "D_l interpolated between the rows" in found.said


BAD = {
    "ell,ee,bb\n2,1,1\n3,1,1\n": r"no column of the temperature.*ee, bb; pass `column='ee'`",
    "ell ee\n2 1\n3 1\n": r"no column of the temperature's spectrum .*ee",
    "ell foo bar\n2 1 1\n3 1 1\n": "no column of the temperature's spectrum",
    "tt,ee\n3,1\n4,2\n": "no column of l among tt, ee",
    "ell cl dl\n2 1 1\n3 1 1\n": "columns cl, dl hold different spectra",
    "a b c\n2 1 1\n3 1 1\n": "names none of their 3 columns: 'a b c'",
    "2 1\n2.5 1\n": "must be l, rising by 1 or more",
    "2 1\n1e30 1\n": "must be l, rising by 1 or more up to 1000000",
    "2;1,5\n3;1,5\n": "line 1 is not a pair of numbers",
    "2 1 1\n3 1\n": "line 2 is not a pair of numbers",
    "2,1\n3,\n": "not finite at l = 3|line 2 is not a pair",
}


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("l^2 C_l/2pi", 1.0),
        ("l(l+1)C_l", 1.0),
        ("l(2l+1)C_l/4pi", 1.0),
        ("l*C_l", 1.0),
        ("sqrt(D_l)", 1.0),
        (r"[\ell(\ell+1)]^2 C_\ell/2\pi", 1.0),
    ],
)
def test_other_powers_of_l_are_refused(tmp_path: Path, name: str, factor: float) -> None:
    path = text(tmp_path / "a", [ELL, DL * factor], f"# l, {name}\n", ", ")
    with pytest.raises(ValueError, match="neither C_l nor D_l = l"):
        read_cl(path)
    is_right(read_cl(path, dl=True))


@pytest.mark.parametrize(
    "name", [r"\ell(\ell+1)C_\ell/2\pi", r"$\ell(\ell+1)C_\ell/(2\pi)$", r"$\mathcal{D}_\ell$"]
)
def test_tex_is_understood(tmp_path: Path, name: str) -> None:
    is_right(read_cl(text(tmp_path / "a", [ELL, DL], f"# \\ell  {name}\n")))


def test_bins_by_their_edges(tmp_path: Path) -> None:
    """The second column is the last l of the bins, and no D_l."""
    low, high = np.arange(2.0, 58, 4), np.arange(5.0, 60, 4)
    middle = (low + high) / 2
    path = text(tmp_path / "a", [low, high, np.interp(middle, ELL, DL)], "# l_min l_max D_l\n")
    found = read_spectrum(path, extend=lcdm(59))
    assert found.dl
    np.testing.assert_allclose(found.cl[10:56], WHOLE[10:56], rtol=0.02)


def test_zeros_at_the_lowest_l_are_no_power(tmp_path: Path) -> None:
    path = text(tmp_path / "a", [np.arange(60.0), np.where(np.arange(60) < 30, 0, WHOLE)])
    with pytest.raises(ValueError, match="only zeros for l = 2-29, where a prior"):
        read_cl(path)
    is_right(read_cl(path, extend=lcdm(59)))
    end = text(tmp_path / "b", [ELL, np.where(ELL > 40, 0, CL)])
    assert "no power above l = 40" in " ".join(read_spectrum(end).said)


@pytest.mark.parametrize(
    ("values", "mend"),
    [
        (DL, r"as D_l in µK\^2 .*; pass `dl=True` if"),
        (CL * 1e-12, r"as C_l in K\^2 .*; pass K\^2 as its unit if"),
        (DL / T2, "as D_l in dimensionless .*; pass `dl=True` and dimensionless as its unit if"),
    ],
)
def test_an_assumption_that_is_far_off_is_doubted(
    tmp_path: Path, values: Values, mend: str
) -> None:
    with pytest.warns(UserWarning, match=rf"far from the CMB's power, and {mend}"):
        read_cl(text(tmp_path / "a", [ELL, values]))


@pytest.mark.parametrize("factor", [0.3, 1.0, 3.0])
def test_what_is_near_the_cmb_is_not_doubted(tmp_path: Path, factor: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_cl(text(tmp_path / "a", [ELL, factor * CL]))
        read_cl(text(tmp_path / "a", [ELL, factor * DL]), dl=True)
        read_cl(text(tmp_path / "a", [ELL, 1e-7 / ELL]))  # of lensing, and nothing else


def test_a_unit_that_is_none_of_a_spectrum_is_refused(tmp_path: Path) -> None:
    for unit in ("MJy^2/sr", "uK", "K_RJ"):
        path = text(tmp_path / "a", [ELL, CL], f"# ell, Cl [{unit}]\n", ", ")
        with pytest.raises(ValueError, match="not a unit of a spectrum; pass `unit="):
            read_cl(path)


@pytest.mark.parametrize(("content", "why"), BAD.items())
def test_what_leaves_a_choice_is_refused(tmp_path: Path, content: str, why: str) -> None:
    (tmp_path / "a").write_text(content)
    with pytest.raises(ValueError, match=why) as caught:
        read_cl(tmp_path / "a")
    assert str(caught.value).startswith(f"{tmp_path / 'a'}: ")
    assert "\n" not in str(caught.value)


def test_a_choice_settles_it(tmp_path: Path) -> None:
    path = text(tmp_path / "a", [ELL, 2 * CL, CL], "ell cl dl\n")
    is_right(read_cl(path, column="dl", dl=False))
    np.testing.assert_allclose(read_cl(path, column=1), 2 * WHOLE)
    is_right(read_cl(text(tmp_path / "b", [ELL, CL, DL], "ell cl dl\n")))  # one spectrum, twice
    with pytest.raises(ValueError, match=r"no column 'tt'|no one column 'tt'"):
        read_cl(path, column="tt")
    with pytest.raises(ValueError, match="no column 0 with a spectrum"):
        read_cl(path, column=0)


@pytest.mark.skipif(not REAL, reason="SKYFILL_REAL_DATA is not set")
def test_plancks_own_tables() -> None:
    best = read_spectrum(Path(REAL) / "planck2018_best_fit_lcdm_R3.01.txt", dl=True)
    assert (best.column, best.cl.size) == ("TT", 2509)
    assert np.abs(best.cl[2:2501] / lcdm(2500)[2:] - 1).max() < 0.004
    binned = Path(REAL) / "planck2018_TT_binned_R3.01.txt"
    with pytest.raises(ValueError, match="no rows for l = 2-47"):
        read_cl(binned)
    theory = read_spectrum(binned, column="BestFit", dl=True, extend=lcdm())
    assert np.abs(theory.cl[2:2400] / lcdm(2399)[2:] - 1).max() < 0.07  # bins cut the peaks
    measured = read_spectrum(binned, extend=lcdm())
    assert measured.dl
    assert np.abs(measured.cl[100:1000] / lcdm(999)[100:] - 1).max() < 0.15
    with pytest.raises(ValueError, match="negative at l = 2302"):
        read_cl(Path(REAL) / "planck2018_TT_full_R3.01.txt")


def test_a_first_bin_of_two_multipoles_reaches_to_l_2(tmp_path: Path) -> None:
    ell = np.r_[2.5, np.arange(4, 60)]
    path = text(tmp_path / "a", [ell, np.interp(ell, ELL, DL)], "ell Dl\n")
    np.testing.assert_allclose(read_cl(path)[2:], WHOLE[2:], rtol=0.05)
