"""TT, EE, BB and TE of ΛCDM and of files, with tensor modes; and the windows of P."""

import math

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits

from skyfill import harmonics
from skyfill.prior import (
    LCDM,
    PolarizedPrior,
    Prior,
    SkySpectra,
    gaussian_beam,
    lcdm,
    pixel_window,
    tensor_spectra,
)

NAMES = ("TT", "EE", "BB", "TE")
LMAX = 400
ELL = np.arange(2, LMAX + 1)
CL = {name: lcdm(LMAX, name) for name in NAMES}


def write(path, columns, *, header, scale=None):
    """Write columns of C_l, or of D_l, as text with a line of names."""
    factor = 1.0 if scale is None else ELL * (ELL + 1) / (2 * math.pi)
    rows = np.column_stack([ELL, *[factor * CL[name][2:] for name in columns]])
    np.savetxt(path, rows, header=header, comments="# ")
    return path


@pytest.mark.parametrize("order", [NAMES, ("TT", "TE", "EE", "BB"), ("BB", "TE", "TT", "EE")])
@pytest.mark.parametrize("dl", [False, True])
def test_four_columns_are_found_by_name_in_any_order(tmp_path, order, dl):
    header = "L " + " ".join(order)
    path = write(tmp_path / "cl.txt", order, header=header, scale="dl" if dl else None)
    found = SkySpectra.read(path, dl=dl or None)
    for name in NAMES:
        np.testing.assert_allclose(getattr(found, name.lower()), CL[name], rtol=1e-12)
    assert found.theory == found.words == "cl.txt"
    assert "EE, BB, TE as TT" in found.said


def test_names_of_classs_and_of_healpy_are_known(tmp_path):
    class_like = write(
        tmp_path / "class.dat",
        ("TT", "EE", "TE", "BB"),
        header="dimensionless [l(l+1)/2pi] C_l's\n 1:l  2:TT  3:EE  4:TE  5:BB",
    )
    found = SkySpectra.read(class_like)
    assert found.ee[100] == pytest.approx(
        CL["EE"][100] * 2.7255e12 * 2.7255 * 2 * math.pi / (100 * 101), rel=1e-9
    )
    hp.write_cl(tmp_path / "hp.fits", [CL[n] for n in NAMES] + [0 * CL["TT"]] * 2, dtype="f8")
    found = SkySpectra.read(tmp_path / "hp.fits")
    for name in NAMES:
        np.testing.assert_array_equal(getattr(found, name.lower()), CL[name])


def test_columns_may_differ_in_kind_and_unit_if_their_names_say_so(tmp_path):
    columns = [CL[name][2:] for name in NAMES]
    columns[1] = columns[1] * ELL * (ELL + 1) / (2 * math.pi) * 1e-12
    names = ["l", "CL_TT", "DL_EE", "CL_BB", "CL_TE"]
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column(name, "D", unit="K2" if name == "DL_EE" else "uK2" if i else None, array=x)
            for i, (name, x) in enumerate(zip(names, [ELL, *columns], strict=True))
        ]
    )
    table.writeto(tmp_path / "mixed.fits")
    found = SkySpectra.read(tmp_path / "mixed.fits")
    np.testing.assert_allclose(found.ee, CL["EE"], rtol=1e-12)
    np.testing.assert_allclose(found.te, CL["TE"], rtol=1e-12)


def test_a_column_of_zeros_is_a_sky_without_b_modes(tmp_path):
    rows = np.column_stack([ELL, CL["TT"][2:], CL["EE"][2:], 0 * ELL, CL["TE"][2:]])
    np.savetxt(tmp_path / "cl.txt", rows, header="ell TT EE BB TE")
    found = SkySpectra.read(tmp_path / "cl.txt", extend=True)
    assert not found.bb[: LMAX + 1].any()
    assert "BB: zero at every l" in found.said
    assert found.ee.size == lcdm().size


@pytest.mark.parametrize(
    ("header", "columns", "words"),
    [
        ("ell TT", ("TT",), "no column EE .*'ell TT EE BB TE'"),
        ("ell TT EE TE", ("TT", "EE", "TE"), "no column BB .*column BB of zeros"),
        ("ell TT EE EE TE", NAMES, "2 columns of EE"),
        ("ell TT TE BB EE", NAMES, "EE is negative at l ="),
        ("ell TT BB EE TE", NAMES, "TE² exceeds TT EE"),
    ],
)
def test_what_is_no_polarized_sky_is_refused_by_name(tmp_path, header, columns, words):
    path = write(tmp_path / "cl.txt", columns, header=header)
    with pytest.raises(ValueError, match=words), np.errstate(all="ignore"):
        SkySpectra.read(path)


def test_two_columns_without_names_are_refused(tmp_path):
    np.savetxt(tmp_path / "cl.txt", np.column_stack([ELL, CL["TT"][2:]]))
    with pytest.raises(ValueError, match=r"no column EE .2 columns without names"):
        SkySpectra.read(tmp_path / "cl.txt")


def test_tensor_modes_are_proportional_to_r_and_those_of_a_sky():
    """D_80 of BB for r = 0.01 is 6.5e-4 µK² (CAMB), and T, E, B have a positive spectrum."""
    ell = 80
    tensors = tensor_spectra(0.01)
    assert tensors["BB"][ell] * ell * (ell + 1) / (2 * math.pi) == pytest.approx(6.5e-4, rel=0.02)
    assert np.all(tensors["TE"] ** 2 <= (1 + 1e-5) * tensors["TT"] * tensors["EE"])
    base = SkySpectra.lcdm()
    added = base.with_tensors(0.01)
    for name in NAMES:
        mine, more = getattr(added, name.lower()), tensor_spectra(0.02)[name]
        expected = lcdm(None, name)
        expected[: more.size] += more / 2
        np.testing.assert_allclose(mine, expected, rtol=1e-12, atol=1e-30)
    assert added.theory == f"{LCDM}, r = 0.01"
    assert added.words == "lensing, r = 0.01"
    assert base.with_tensors(0) is base
    for bad in (-0.1, math.nan, "0.1"):
        with pytest.raises(ValueError, match="`r` must be a number"):
            tensor_spectra(bad)


def test_a_prior_with_tensors_has_their_bb_and_te():
    spectra = SkySpectra.lcdm().with_tensors(0.05)
    t = Prior(32, spectra.tt, math.radians(5), 40.0, theory=spectra.theory)
    prior = PolarizedPrior.of(t, 10.0, spectra=spectra)
    cl = prior.signal_cl()
    assert cl[2, 2, 5] / prior.window_pol(5)[5] ** 2 == pytest.approx(spectra.bb[5])
    assert np.linalg.eigvalsh(np.moveaxis(cl, 2, 0)).min() >= -1e-9 * cl.max()
    assert prior.bb_source == "lensing, r = 0.05"


def test_the_beam_of_p_is_healpys():
    t = Prior(64, lcdm(), math.radians(2), 40.0, pixel_window=False)
    window = PolarizedPrior(t, *(lcdm(None, x) for x in ("EE", "BB", "TE"))).window_pol(180)
    expected = hp.gauss_beam(math.radians(2), lmax=180, pol=True)[:, 1]
    np.testing.assert_allclose(window[2:], expected[2:], rtol=1e-12)


def test_a_tabulated_gaussian_acts_on_p_as_the_gaussian():
    """exp(2σ²) is the first order in σ² of the exact window; σ⁴ is 3e-5 for 10 degrees."""
    fwhm = math.radians(10)
    table = gaussian_beam(fwhm, 150)
    window = harmonics.spin2_window(table)
    sigma2 = fwhm**2 / (8 * math.log(2))
    np.testing.assert_allclose(window[2:40], (table * math.exp(2 * sigma2))[2:40], rtol=5e-5)
    assert not window[:2].any()


def test_the_window_of_p_does_not_depend_on_what_the_table_holds_beyond():
    long = harmonics.spin2_window(gaussian_beam(0.05, 120))
    np.testing.assert_allclose(harmonics.spin2_window(gaussian_beam(0.05, 60)), long[:61])


def test_averages_over_pixels_leave_of_p_what_its_window_says():
    """Power of E after averaging a fine E-only sky, over that of T, at Nside 8."""
    nside, lmax, random = 8, 12, np.random.default_rng(3)
    ratio = []
    for _ in range(12):
        alm = random.standard_normal((2, (lmax + 1) * (lmax + 2) // 2)) + 0j
        alm[:, [0, 1, lmax + 1]] = 0
        sky = harmonics.synthesis(np.stack([alm[0], alm[1], 0 * alm[0]]), 16 * nside)
        low = np.array(hp.ud_grade(sky, nside)) * harmonics.pixel_weights(nside)
        found = harmonics.adjoint(low, lmax=lmax) * 4 * math.pi / low[0].size
        gain = [np.vdot(a, b).real / np.vdot(a, a).real for a, b in zip(alm, found, strict=False)]
        ratio.append(gain[1] / gain[0])
    t = Prior(nside, lcdm(), 0.0, 40.0)
    prior = PolarizedPrior(t, *(lcdm(None, x) for x in ("EE", "BB", "TE")))
    modeled = prior.window_pol(6)[6] / pixel_window(nside, 6)[6]
    assert np.mean(ratio) == pytest.approx(modeled, abs=3e-3)
