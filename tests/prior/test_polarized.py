"""The prior of T, Q and U."""

import math

import healpy as hp
import numpy as np
import pytest

import skyfill
from skyfill import harmonics
from skyfill.prior import (
    LCDM,
    PRIOR_HDU,
    Beam,
    PolarizedPrior,
    Prior,
    draw_polarization,
    draw_signal,
    lcdm,
    prior_hdu,
    read_polarization,
    read_prior,
    recorded_polarization,
    recorded_prior,
    save_prior,
)

NSIDE = 32
PRIOR = Prior(NSIDE, lcdm(), fwhm=math.radians(5), noise_uk_arcmin=400.0, theory=LCDM)


def test_noise_of_p_is_root_two_times_that_of_t_unless_given():
    assert PolarizedPrior.of(PRIOR).noise_pol == pytest.approx(math.sqrt(2) * 400)
    assert PolarizedPrior.of(PRIOR, 10.0).noise_pol == 10.0


def test_t_of_the_joint_spectra_is_that_of_its_prior():
    prior = PolarizedPrior.of(PRIOR)
    cl = prior.signal_cl()
    np.testing.assert_array_equal(cl[0, 0, : PRIOR.lmax + 1], PRIOR.signal_cl())
    assert not cl[0, 0, PRIOR.lmax + 1 :].any()
    assert prior.white_cl[0] == PRIOR.white_cl
    assert np.linalg.eigvalsh(np.moveaxis(cl, 2, 0)).min() >= -1e-9 * cl.max()


def test_skies_have_the_spectra_of_the_prior_and_te_with_the_t_of_the_same_seed():
    """Means of 60 skies, each multipole and their sum within five standard errors."""
    prior = PolarizedPrior.of(PRIOR)
    cl, lmax = prior.signal_cl(), 40
    found = np.zeros((4, lmax + 1))
    weights = harmonics.pixel_weights(NSIDE)
    for index in range(60):
        t = draw_signal(PRIOR, seed=7, index=index)
        p, _ = draw_polarization(prior, seed=7, index=index)
        alm = harmonics.adjoint(np.vstack([t[None], p]) * weights, lmax=lmax)
        alm *= 4 * np.pi / t.size
        tt, ee, bb, te, *_ = hp.alm2cl(alm)
        found += np.array([tt, ee, bb, te]) / 60
    pairs = [(0, 0), (1, 1), (2, 2), (0, 1)]
    for (i, j), mine in zip(pairs, found, strict=True):
        rows = slice(2, lmax + 1)
        power = cl[i, i, rows] * cl[j, j, rows] + cl[i, j, rows] ** 2
        error = np.sqrt(power / (2 * np.arange(2, lmax + 1) + 1) / 60)
        assert np.all(np.abs(mine[rows] - cl[i, j, rows]) < 5 * error)
        assert np.sum(mine[rows] - cl[i, j, rows]) ** 2 < 25 * np.sum(error**2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ee": -lcdm(None, "EE")}, "ee must be"),
        ({"te": 9 * lcdm(None, "TE")}, "TE² exceeds TT EE"),
        ({"noise_pol_uk_arcmin": -1.0}, "noise_pol_uk_arcmin"),
    ],
)
def test_spectra_of_no_sky_are_refused(change, words):
    given = {name.lower(): lcdm(None, name) for name in ("EE", "BB", "TE")} | change
    with pytest.raises(ValueError, match=words):
        PolarizedPrior(PRIOR, **given)


def test_other_spectra_of_t_need_their_own_ee_bb_and_te():
    other = Prior(NSIDE, np.ones(100), fwhm=0.1)
    with pytest.raises(ValueError, match="give a PolarizedPrior"):
        PolarizedPrior.of(other)


def test_a_sky_without_b_modes_is_no_special_case():
    ee, te = lcdm(None, "EE"), lcdm(None, "TE")
    prior = PolarizedPrior(PRIOR, ee, np.zeros(1), te)
    assert not prior.signal_cl()[2].any()
    p, _ = draw_polarization(prior, seed=1)
    alm = harmonics.adjoint(np.vstack([p[:1], p]) * harmonics.pixel_weights(NSIDE), lmax=40)
    assert np.abs(alm[2]).max() < 1e-4 * np.abs(alm[1]).max()


@pytest.mark.parametrize("noise", [None, 12.5])
@pytest.mark.parametrize("beam", [None, Beam(np.exp(-np.arange(90) / 20.0))])
def test_a_file_gives_it_back_to_the_last_bit_and_to_verbs_of_t_their_part(tmp_path, noise, beam):
    short = 70  # spectra of other lengths than TT
    t = Prior(NSIDE, lcdm(), 0.0 if beam else 0.08, 400.0, beam=beam, theory=LCDM)
    prior = PolarizedPrior(t, lcdm(short, "EE"), 0 * lcdm(9, "BB"), lcdm(short, "TE"), noise)
    save_prior(tmp_path / "prior.json", prior)
    skyfill.write_map(
        tmp_path / "map.fits", np.zeros(12 * NSIDE**2), attached=(PRIOR_HDU, prior_hdu(prior))
    )
    for path in (tmp_path / "prior.json", tmp_path / "map.fits"):
        again = read_polarization(path)
        for name in ("ee", "bb", "te"):
            np.testing.assert_array_equal(getattr(again, name), getattr(prior, name))
        assert again.noise_pol_uk_arcmin == noise
        np.testing.assert_array_equal(again.signal_cl(), prior.signal_cl())
        np.testing.assert_array_equal(read_prior(path).signal_cl(), t.signal_cl())
    assert recorded_polarization(tmp_path / "map.fits").temperature.origin("fwhm") == "header"
    assert recorded_prior(tmp_path / "map.fits").origin("fwhm") == "header"


def test_a_prior_of_t_alone_has_no_polarization(tmp_path):
    save_prior(tmp_path / "prior.json", PRIOR)
    skyfill.write_map(
        tmp_path / "map.fits", np.zeros(12 * NSIDE**2), attached=(PRIOR_HDU, prior_hdu(PRIOR))
    )
    assert read_polarization(tmp_path / "prior.json") is None
    assert recorded_polarization(tmp_path / "map.fits") is None


def test_a_damaged_prior_of_polarization_is_refused_by_name(tmp_path):
    path = tmp_path / "prior.json"
    save_prior(path, PolarizedPrior.of(PRIOR))
    path.write_text(path.read_text().replace('"te"', '"et"'))
    with pytest.raises(ValueError, match="lacks 'te'"):
        read_prior(path)
