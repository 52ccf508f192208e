"""Spectra, windows, the fit and the draw of a prior."""

import dataclasses
import math

import healpy as hp
import numpy as np
import pytest
from astropy.table import Table

from skyfill import harmonics
from skyfill.prior import ARCMIN, Prior, draw, fit, gaussian_beam, lcdm, pixel_window, read_cl
from skyfill.prior.latent import latent_sky
from skyfill.prior.model import heard_lmax
from skyfill.prior.simulate import simulate_mask


def d_ell(cl):
    ell = np.arange(cl.size)
    return ell * (ell + 1) * cl / (2 * np.pi)


# --- spectra and windows ------------------------------------------------------------------------


def test_lcdm_is_plancks_sky():
    """Peaks of Planck 2018 V (arXiv:1907.12875, table 5) and VI: measured, not computed."""
    cl = lcdm()
    assert cl.shape == (6001,)
    assert cl.dtype == np.float64
    assert cl[:2].tolist() == [0, 0]
    temperature = d_ell(cl)
    peaks = {220.6: 5733, 538.1: 2586, 809.8: 2518}
    for ell, height in peaks.items():
        near = slice(int(ell) - 60, int(ell) + 60)
        assert np.argmax(temperature[near]) + near.start == pytest.approx(ell, abs=4)
        assert temperature[near].max() == pytest.approx(height, rel=0.012)
    rms = math.sqrt(np.sum((2 * np.arange(cl.size) + 1) * cl) / (4 * np.pi))
    assert 105 < rms < 120


def test_lcdm_polarization():
    auto, cross = d_ell(lcdm(spectrum="EE")), d_ell(lcdm(spectrum="TE"))
    near = slice(340, 460)
    assert np.argmax(auto[near]) + 340 == pytest.approx(397, abs=5)
    assert auto[near].max() == pytest.approx(22.0, rel=0.03)
    assert np.argmin(cross[:240]) == pytest.approx(150, abs=5)
    assert cross[:240].min() == pytest.approx(-47.6, rel=0.05)
    assert np.all(lcdm(spectrum="BB") < lcdm(spectrum="EE") + 1e-30)
    assert np.all(lcdm(spectrum="TE") ** 2 <= lcdm() * lcdm(spectrum="EE"))


def test_lcdm_ends_where_asked():
    np.testing.assert_array_equal(lcdm(30), lcdm()[:31])
    lcdm(30)[:] = 0  # a copy: the next one is whole again
    assert lcdm(30)[2] > 1000
    for lmax, message in ((6001, "ends at l = 6000, got lmax 6001"), (-1, "0 or more, got -1")):
        with pytest.raises(ValueError, match=message):
            lcdm(lmax)


@pytest.mark.parametrize("fwhm", [0.0, 5 * ARCMIN, 0.1])
def test_gaussian_beam(fwhm):
    np.testing.assert_allclose(gaussian_beam(fwhm, 900), hp.gauss_beam(fwhm, 900), rtol=1e-12)


def test_pixel_window():
    window = pixel_window(64, 256)
    assert window.shape == (257,)
    # healpy's table at Nside 64; the tables of all Nside agree to 1e-3 at equal l / Nside.
    assert window[0] == 1
    assert window[64] == pytest.approx(0.9543, abs=2e-3)
    assert window[128] == pytest.approx(0.8275, abs=2e-3)
    assert np.all(np.diff(window) < 0)
    # Near a plane wave averaged over a square of the pixel's area.
    angle = (np.arange(32) + 0.5) / 32 * np.pi / 2
    k = np.arange(129)[:, None] * hp.nside2resol(64) / (2 * np.pi)
    square = np.sqrt(np.mean((np.sinc(k * np.cos(angle)) * np.sinc(k * np.sin(angle))) ** 2, 1))
    np.testing.assert_allclose(window[:129], square, atol=0.01)
    np.testing.assert_allclose(pixel_window(1024, 4096)[::16], window, rtol=1e-12)
    # Beyond its table it falls like a square's; never a step, never negative.
    far = pixel_window(64, 1024)
    np.testing.assert_array_equal(far[:257], window)
    assert np.all(np.diff(far) <= 0)
    assert far[1024] == pytest.approx(far[256] / 4)


def test_pixel_window_is_what_averaging_does():
    """Average a band-limited sky over pixels 16 times finer: its spectrum falls by W²."""
    nside, ell = 16, 24
    rng = np.random.default_rng(1)
    ratio = []
    for _ in range(20):
        alm = np.zeros((ell + 1) * (ell + 2) // 2, dtype=np.complex128)
        mine = [hp.Alm.getidx(ell, ell, m) for m in range(ell + 1)]
        alm[mine] = rng.standard_normal(ell + 1) + 1j * rng.standard_normal(ell + 1)
        alm[mine[0]] = alm[mine[0]].real
        fine = harmonics.synthesis(alm, 16 * nside)
        ratio.append(hp.ud_grade(fine, nside).var() / fine.var())
    assert np.sqrt(np.mean(ratio)) == pytest.approx(pixel_window(nside, ell)[ell], abs=5e-3)


# --- the prior ----------------------------------------------------------------------------------


def test_spectra_of_a_prior():
    known = Prior(32, lcdm(), fwhm=0.04, noise_uk_arcmin=30.0, calibration=1.1)
    ell = 50
    signal = (
        1.1 * lcdm()[ell] * hp.gauss_beam(0.04, ell)[ell] ** 2 * pixel_window(32, ell)[ell] ** 2
    )
    assert known.signal_cl()[ell] == pytest.approx(signal, rel=1e-12)
    assert known.noise_cl == pytest.approx((30 * math.radians(1 / 60)) ** 2)
    assert known.total_cl()[ell] == pytest.approx(signal + known.white_cl, rel=1e-12)
    bare = dataclasses.replace(known, pixel_window=False)
    ratio = known.signal_cl(80) / np.where(bare.signal_cl(80) > 0, bare.signal_cl(80), 1)
    np.testing.assert_allclose(ratio[2:], pixel_window(32, 80)[2:] ** 2)


def test_what_lies_beyond_every_multipole_of_the_signal_is_white():
    """Power beyond l = 4.5 nside does not vanish from a map: its pixels vary with it."""
    sharp = Prior(16, lcdm(), noise_uk_arcmin=30.0, pixel_window=False)
    last = sharp.lmax
    assert last == 72
    modes = (2 * np.arange(sharp.cl.size) + 1) / (4 * np.pi)
    area = 4 * np.pi / (12 * 16**2)
    beyond = float(modes[last + 1 :] @ sharp.cl[last + 1 :])
    assert sharp.aliased_cl / area == pytest.approx(beyond, rel=1e-12)
    assert sharp.white_cl == sharp.aliased_cl + sharp.noise_cl
    assert Prior(16, lcdm(), fwhm=0.3).aliased_cl < 1e-8
    assert Prior(16, lcdm(40)).aliased_cl == 0
    white = draw(sharp, seed=1, aliased=True) - draw(sharp, seed=1)
    extra = math.sqrt(sharp.white_cl / area) - math.sqrt(sharp.noise_cl / area)
    assert white.std() == pytest.approx(extra, rel=0.05)


def test_lmax_leaves_nothing_out():
    for fwhm in (0.0, 0.02, 0.2):
        known = Prior(32, lcdm(), fwhm=fwhm)
        assert 64 <= known.lmax <= 144
        modes = 2 * np.arange(145) + 1
        power = np.cumsum(modes * known.signal_cl(144))
        assert power[known.lmax] >= (1 - 1e-5) * power[-1]
    assert Prior(32, lcdm(40)).lmax == 40


def test_pixels_are_drawn_as_they_sample_the_sky():
    """Variance of a pixel and covariance of neighbours: with every multipole that has power."""
    nside, fwhm = 32, 1.1 * hp.nside2resol(32)
    known = Prior(nside, lcdm(), fwhm=fwhm, pixel_window=False)
    assert known.lmax > 3 * nside
    ell = np.arange(8 * nside + 1)
    cl = lcdm(8 * nside) * hp.gauss_beam(fwhm, 8 * nside) ** 2
    ring = slice(nside * (2 * nside - 2) * 2, nside * (2 * nside - 2) * 2 + 4 * nside)
    skies = np.array([draw(known, seed=3, index=i)[ring] for i in range(300)])
    towards = np.transpose(hp.pix2vec(nside, np.arange(ring.start, ring.stop)))
    for step in (0, 1, 2):
        cosine = float(towards[0] @ towards[step])
        legendre = np.polynomial.legendre.legval(cosine, (2 * ell + 1) * cl / (4 * np.pi))
        found = np.mean(skies * np.roll(skies, -step, axis=1))
        apart = skies - np.roll(skies, -step, axis=1)
        assert found == pytest.approx(legendre, rel=0.1)
        if step:  # differences of neighbours have little cosmic variance
            zero = float(np.sum((2 * ell + 1) * cl) / (4 * np.pi))
            assert np.mean(apart**2) == pytest.approx(2 * (zero - legendre), rel=0.03)


def test_a_free_part_adds_to_the_signal_as_it_is():
    more = np.zeros(60)
    more[30:50] = 2.0
    plain = Prior(32, lcdm(), fwhm=0.2, noise_uk_arcmin=30.0, calibration=1.1)
    free = dataclasses.replace(plain, extra_cl=more)
    np.testing.assert_allclose(free.signal_cl(80)[:60] - plain.signal_cl(80)[:60], more, atol=1e-9)
    assert free.signal_cl(80)[70] == plain.signal_cl(80)[70]
    modes = 2 * np.arange(free.lmax + 1) + 1
    share = modes[30:50].sum() * 2 / (modes @ free.signal_cl())
    assert free.extra_share == pytest.approx(share)
    assert plain.extra_share == 0
    for wrong, message in (
        (np.array([1.0, -1.0]), "extra_cl must be one spectrum"),
        (np.array([1.0, np.nan]), "extra_cl must be one spectrum"),
        (np.ones(7000), "extra_cl ends at l = 6999, beyond cl, at 6000"),
    ):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(plain, extra_cl=wrong)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nside": 3}, "power of two"),
        ({"fwhm": -1.0}, "fwhm must be"),
        ({"noise_uk_arcmin": math.nan}, "noise_uk_arcmin must be"),
        ({"calibration": math.inf}, "calibration must be"),
        ({"cl": np.zeros(10)}, "with some power"),
        ({"cl": np.array([0, 1, -1.0])}, "not negative"),
        ({"cl": np.array([0, 1, np.nan])}, "finite"),
    ],
)
def test_wrong_priors_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Prior(**{"nside": 16, "cl": lcdm(40)} | change)


# --- reading ------------------------------------------------------------------------------------

ELL = np.arange(2, 40)
CL = 1000.0 / (ELL + 3.0) ** 2


def expected_cl():
    return np.concatenate([[0, 0], CL])


@pytest.mark.parametrize("header", ["", "# l C_l\n", "L, TT\n", "# a\n#\n\nl Cl\n"])
def test_reads_text(tmp_path, header):
    path = tmp_path / "cl.txt"
    rows = "\n".join(f"{ell} {c!r} 7" for ell, c in zip(ELL.tolist(), CL.tolist(), strict=True))
    path.write_text(header + rows + "\n", encoding="utf-8")
    np.testing.assert_allclose(read_cl(path), expected_cl(), rtol=1e-14)
    path.write_text(header + rows.replace(" ", ",") + " # end\n", encoding="utf-8")
    np.testing.assert_allclose(read_cl(str(path)), expected_cl(), rtol=1e-14)


@pytest.mark.parametrize(("name", "form"), [("cl.ecsv", "ascii.ecsv"), ("cl.fits", "fits")])
def test_reads_tables(tmp_path, name, form):
    Table({"ELL": ELL, "TT": CL}).write(tmp_path / name, format=form)
    np.testing.assert_allclose(read_cl(tmp_path / name), expected_cl(), rtol=1e-14)


@pytest.mark.parametrize("columns", [1, 4])
def test_reads_healpys_spectra(tmp_path, columns):
    """What healpy writes begins at l = 0 and has no column of l."""
    others = [2 * expected_cl(), 3 * expected_cl(), 0 * expected_cl()]
    spectra = [expected_cl(), *others] if columns == 4 else expected_cl()
    hp.write_cl(tmp_path / "cl.fits", spectra, dtype=np.float64)
    np.testing.assert_allclose(read_cl(tmp_path / "cl.fits"), expected_cl(), rtol=1e-14)


def test_reads_d_ell(tmp_path):
    np.savetxt(tmp_path / "dl.txt", np.column_stack([ELL, d_ell(expected_cl())[2:]]))
    np.testing.assert_allclose(read_cl(tmp_path / "dl.txt", dl=True), expected_cl(), rtol=1e-12)


def test_gaps_are_interpolated_in_d_ell(tmp_path):
    """C_l falls so steeply that a straight line between two bins lies far above it."""
    (tmp_path / "cl.txt").write_text("2 10\n4 30\n8 10\n", encoding="utf-8")
    ell = np.arange(2, 9)
    d_l = np.array([60, 330, 600, 630, 660, 690, 720]) / (ell * (ell + 1))
    np.testing.assert_allclose(read_cl(tmp_path / "cl.txt"), [0, 0, *d_l])


@pytest.mark.parametrize("dl", [False, True])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no numbers found"),
        (b"a spectrum, honestly\n", "no numbers found"),
        (b"2\n3\n", "no numbers found"),
        (b"2 10\n3 ten\n", "line 2 is not a pair of numbers"),
        (b"2 10\n\n3\n", "line 3 is not a pair of numbers"),
        (b"3 10\n2 20\n", "must be l, rising"),
        (b"2 10\n2 20\n", "must be l, rising"),
        (b"-2 10\n2 20\n", "must be l, rising"),
        (b"2 10\n", "must be l, rising"),
        (b"2 10\ninf 4\n", "must be l, rising"),
        (b"2 10\n3 nan\n", "not finite at l = 3"),
        (b"2 10\n3 -1\n", "negative at l = 3"),
        (b"2 0\n3 0\n", "zero at every l"),
        (bytes(range(128, 256)), "neither text nor FITS"),
        (b"SIMPLE  = no", "no readable FITS table"),
    ],
)
def test_bad_spectra_are_refused(tmp_path, content, message, dl):
    path = tmp_path / "cl.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_cl(path, dl=dl)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_fits_that_hold_no_spectrum_are_refused(tmp_path):
    from astropy.io import fits

    image, words, cut = (tmp_path / name for name in ("i.fits", "w.fits", "c.fits"))
    fits.PrimaryHDU(np.ones((4, 4))).writeto(image)
    Table({"name": ["a", "b"], "more": ["c", "d"]}).write(words)
    Table({"ELL": ELL, "TT": CL}).write(cut)
    cut.write_bytes(cut.read_bytes()[:3000])
    for path in (image, words, cut):
        with pytest.raises(ValueError, match="no readable FITS table") as caught:
            read_cl(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


def test_a_spectrum_that_is_not_there(tmp_path):
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(OSError, match=str(path)):
            read_cl(path)


# --- fitting ------------------------------------------------------------------------------------

TRUE = Prior(128, lcdm(), fwhm=80 * ARCMIN, noise_uk_arcmin=800.0)


@pytest.fixture(scope="module", params=[0, 3])
def masked(request):
    observed = simulate_mask(128, kind="both", seed=request.param, half_width=0.2, n_holes=50)
    values = draw(TRUE, seed=request.param)
    values[~observed] = np.nan
    return values, observed


def test_fit_finds_beam_and_noise(masked):
    found = fit(*masked, pixel_window=True)
    assert found.fwhm == pytest.approx(TRUE.fwhm, rel=0.02)
    assert found.noise_uk_arcmin == pytest.approx(TRUE.noise_uk_arcmin, rel=0.05)
    assert found.calibration == pytest.approx(1, rel=0.03)
    assert set(found.fitted) == {"fwhm", "noise_uk_arcmin", "calibration"}
    assert found.nside == 128


def test_unasked_the_better_window_is_taken(masked):
    found = fit(*masked)
    assert found.effective_fwhm == pytest.approx(TRUE.effective_fwhm, rel=0.03)
    ratio = found.signal_cl(150)[2:] / TRUE.signal_cl(150)[2:]
    np.testing.assert_allclose(ratio, 1, atol=0.06)


def test_the_effective_beam_holds_the_window():
    ell = TRUE.nside
    gauss = gaussian_beam(TRUE.effective_fwhm, ell)[-1]
    expected = gaussian_beam(TRUE.fwhm, ell)[-1] * pixel_window(TRUE.nside, ell)[-1]
    assert gauss == pytest.approx(expected, rel=0.01)
    plain = Prior(128, lcdm(), fwhm=0.02, pixel_window=False)
    assert plain.effective_fwhm == plain.fwhm


def test_what_is_given_is_held(masked):
    beam = fit(*masked, fwhm=TRUE.fwhm)
    assert set(beam.fitted) == {"noise_uk_arcmin", "calibration"}
    assert beam.pixel_window
    assert beam.fwhm == TRUE.fwhm
    assert beam.noise_uk_arcmin == pytest.approx(TRUE.noise_uk_arcmin, rel=0.04)
    noise = fit(*masked, noise_uk_arcmin=TRUE.noise_uk_arcmin, pixel_window=True)
    assert set(noise.fitted) == {"fwhm", "calibration"}
    assert noise.noise_uk_arcmin == TRUE.noise_uk_arcmin
    assert noise.fwhm == pytest.approx(TRUE.fwhm, rel=0.02)
    both = fit(*masked, fwhm=0.01, noise_uk_arcmin=3.0, pixel_window=False)
    assert (both.fwhm, both.noise_uk_arcmin, both.pixel_window) == (0.01, 3.0, False)
    assert both.fitted == ()


def test_a_narrow_mask_does_not_mislead_the_fit():
    """Power that leaks from large scales looks like noise to who forgets the mask."""
    theta, _ = hp.pix2ang(128, np.arange(12 * 128**2))
    found = [
        fit(draw(TRUE, seed=seed), theta < 0.35, fwhm=TRUE.fwhm).noise_uk_arcmin
        for seed in range(6)
    ]
    assert np.mean(found) == pytest.approx(TRUE.noise_uk_arcmin, rel=0.1)


def test_nothing_to_fit():
    with pytest.raises(ValueError, match="no pixel is observed"):
        fit(np.zeros(768), np.zeros(768, dtype=bool))


# --- drawing ------------------------------------------------------------------------------------


def test_a_seed_is_a_sky():
    known = Prior(16, lcdm(), noise_uk_arcmin=100.0)
    first = draw(known, seed=3, index=1)
    np.testing.assert_array_equal(draw(known, seed=3, index=1, threads=1), first)
    for other in ({"seed": 3, "index": 0}, {"seed": 4, "index": 1}, {"seed": 1, "index": 3}):
        assert abs(np.corrcoef(first, draw(known, **other))[0, 1]) < 0.5
        assert not np.any(first == draw(known, **other))


def test_a_seed_is_the_same_sky_at_every_resolution():
    ell = np.arange(200)
    cl = np.where(ell < 30, 1.0, 0.5) * (ell < 56)
    skies = [draw(Prior(nside, cl, pixel_window=False), seed=5) for nside in (32, 64)]
    low = [harmonics.analysis(sky, lmax=60, iterations=30) for sky in skies]
    scale = np.abs(low[1]).std()
    np.testing.assert_allclose(low[0], low[1], atol=1e-6 * scale)


def test_noise_and_signal_are_apart():
    quiet, loud = (Prior(32, lcdm(), fwhm=0.03, noise_uk_arcmin=n) for n in (0.0, 50.0))
    noise = draw(loud, seed=6) - draw(quiet, seed=6)
    rms = 50 / hp.nside2resol(32, arcmin=True)
    assert noise.std() == pytest.approx(rms, rel=0.03)
    assert abs(noise.mean()) < 4 * rms / math.sqrt(noise.size)
    assert np.unique(noise).size > 0.99 * noise.size  # no part repeats another


def test_draws_have_the_spectrum_of_the_prior():
    known = Prior(32, lcdm(), fwhm=3 * math.pi / 180, noise_uk_arcmin=700.0)
    skies = [draw(known, seed=7, index=index) for index in range(60)]
    alm = [harmonics.analysis(sky, lmax=60, iterations=3) for sky in skies]
    mean = np.mean([harmonics.cl_of(a) for a in alm], axis=0)
    ell = np.arange(2, 61)
    theory = known.total_cl(60)[2:]
    away = (mean[2:] / theory - 1) / np.sqrt(2 / (2 * ell + 1) / len(skies))
    assert np.abs(away).max() < 4.5
    assert away.std() == pytest.approx(1, abs=0.35)
    assert abs(away.mean()) < 4 / math.sqrt(ell.size)
    # Real and imaginary parts alike, m = 0 real.
    every = np.array(alm)
    ell, m = hp.Alm.getlm(60)
    white = every[:, ell > 1] / np.sqrt(known.total_cl(60)[ell[ell > 1]])
    m = m[ell > 1]
    assert np.abs(white[:, m == 0].imag).max() < 1e-10
    for part in (white.real, white.imag):
        assert np.mean(part[:, m > 0] ** 2) == pytest.approx(0.5, rel=0.02)


def test_what_is_heard_is_all_but_a_hundred_thousandth_of_the_noise():
    power = np.array([5.0, 0.0, 3.0, 1e-4, 4e-6, 5e-6, 0.0])
    assert heard_lmax(power, 1.0) == 3
    assert heard_lmax(power, 0.7) == 4  # 9e-6 are left beyond l = 3, and 5e-6 beyond 4
    assert heard_lmax(power, 0.4) == 5
    assert heard_lmax(power, 0.0) == 5
    assert heard_lmax(power, 1e9) == 2
    assert heard_lmax(power[:1], 1.0) == 0
    assert heard_lmax(power, np.nan) == 6


def test_a_latent_sky_is_the_drawn_one_but_for_what_noise_hides():
    prior = Prior(64, lcdm(), fwhm=100 * ARCMIN, noise_uk_arcmin=1000.0)
    holes = np.zeros(12 * 64**2, bool)
    latent, _ = latent_sky(prior, holes, seed=(3, 1))
    whole = draw(prior, seed=3, index=1, aliased=True)
    noise = prior.white_cl * holes.size / (4 * np.pi)
    assert 0 < np.var(latent - whole) < 1.5e-5 * noise
