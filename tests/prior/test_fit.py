"""Fits of simulated skies: how near they are to the truth, and how well they know it.

Skies are synthesised by healpy to 8 Nside, so that pixels show multipoles they do not resolve.
"""

import dataclasses
import json
import math
from functools import lru_cache

import healpy as hp
import numpy as np
import pytest

import skyfill
from skyfill.prior import (
    ARCMIN,
    FROM_MAP,
    Given,
    Patches,
    Prior,
    Quality,
    assess,
    examine,
    fit,
    judge,
    lcdm,
    pixel_window,
    prior_hdu,
    read_prior,
    save_prior,
)

NSIDE, FWHM, NOISE = 64, 120.0, 400.0
LMAX = 8 * NSIDE
BEAM = hp.gauss_beam(FWHM * ARCMIN, LMAX) ** 2 * pixel_window(NSIDE, LMAX) ** 2
WHITE = (NOISE * ARCMIN) ** 2
TRUTH = lcdm(LMAX) * BEAM
MASK = skyfill.simulate_mask(NSIDE, seed=1, half_width=0.2, n_holes=20)


def sky(seed, cl=TRUTH, noise=NOISE):
    np.random.seed(seed)  # noqa: NPY002 - healpy knows no other
    signal = hp.synfast(cl, NSIDE, lmax=LMAX)
    rms = noise * ARCMIN / math.sqrt(4 * math.pi / signal.size)
    return signal + np.random.default_rng(seed).normal(0, rms, signal.size)


def bump():
    """Give seven times the power around l = 100."""
    ell = np.arange(LMAX + 1)
    return 6 * TRUTH[100] * np.exp(-0.5 * ((ell - 100) / 15) ** 2) * (ell > 1)


@lru_cache
def bumpy():
    return fit(sky(1, TRUTH + bump()), MASK)


def around(cl, ell):
    modes = 2 * np.arange(cl.size) + 1
    near = slice(ell - 5, ell + 6)
    return float(np.sum((modes * cl)[near]))


def test_the_noise_is_found_on_every_sky():
    """Today's fault was a noise between none and 1.3 times the truth."""
    found = [fit(sky(seed), MASK) for seed in range(6)]
    noise = [each.noise_uk_arcmin for each in found]
    np.testing.assert_allclose(noise, NOISE, rtol=0.05)
    assert np.mean(noise) == pytest.approx(NOISE, rel=0.02)
    assert [each.quality.verdict for each in found] == ["good"] * 6
    assert not any(each.extra_cl.size for each in found)
    for each in found:
        assert each.quality.whitened == pytest.approx(1, abs=0.04)
        assert each.quality.pte > 0.01


@pytest.mark.parametrize("share", [0.04, pytest.param(0.3, marks=pytest.mark.slow), 0.95])
def test_the_noise_is_found_on_little_sky_and_on_much(share):
    theta, _ = hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2))
    cap = theta < math.acos(1 - 2 * share)
    found = [fit(sky(seed), cap) for seed in range(3)]
    rtol = 0.02 + 0.02 / share**0.5
    np.testing.assert_allclose([each.noise_uk_arcmin for each in found], NOISE, rtol=rtol)
    assert {each.quality.verdict for each in found} == {"good"}


def test_where_holes_leave_no_soft_edge_patches_decide():
    """Bins hold then little but what leaked into them, and fit anything."""
    holes = skyfill.simulate_mask(NSIDE, seed=1, kind="holes", n_holes=2200, radii=(0.02, 0.05))
    assert 0.4 < holes.mean() < 0.7
    found = fit(sky(2), holes)
    assert found.noise_uk_arcmin == pytest.approx(NOISE, rel=0.06)
    assert found.quality.whitened == pytest.approx(1, abs=0.05)


def test_a_mask_that_leaves_nothing_to_judge_by_is_doubted():
    holes = np.ones(12 * NSIDE**2, bool)
    holes[np.random.default_rng(1).permutation(holes.size)[: holes.size // 2]] = False
    found = fit(sky(2), holes)
    assert found.quality.whitened is None
    assert found.quality.verdict == "doubtful"
    assert "no patches" in str(found.quality)


def test_a_spectrum_that_the_theory_lacks_becomes_a_free_part():
    truth = TRUTH + bump()
    found = fit(sky(1, truth), MASK)
    assert "extra_cl" in found.fitted
    assert found.quality.verdict == "good"
    whole = found.signal_cl(LMAX) + found.white_cl
    for ell in (50, 80, 100, 120, 160):
        assert around(whole, ell) == pytest.approx(around(truth + WHITE, ell), rel=0.12)
    assert found.noise_uk_arcmin == pytest.approx(NOISE, rel=0.05)
    rigid, quality = assess(sky(1, truth), MASK, dataclasses.replace(found, extra_cl=np.zeros(0)))
    assert rigid.data.size == rigid.freedom.size
    assert quality is found.quality  # as fitted: a prior knows its own


def test_what_does_not_fit_is_named():
    wrong = Prior(NSIDE, lcdm(), fwhm=FWHM * ARCMIN, noise_uk_arcmin=2 * NOISE)
    _, quality = assess(sky(1), MASK, wrong)
    assert quality.verdict == "bad"
    first, last, ratio, sigma = quality.worst[0]
    assert first > NSIDE
    assert last > first
    assert ratio < 0.5
    assert sigma < -4
    assert quality.whitened < 0.75
    right = Prior(NSIDE, lcdm(), fwhm=FWHM * ARCMIN, noise_uk_arcmin=NOISE)
    measured, quality = assess(sky(1), MASK, right)
    assert quality.verdict == "good"
    parts = measured.parts(right)
    np.testing.assert_allclose(sum(parts.values()), measured.expected(right), rtol=1e-12)


def test_patches_know_the_right_prior_from_wrong_ones():
    right = Prior(NSIDE, lcdm(), fwhm=FWHM * ARCMIN, noise_uk_arcmin=NOISE)
    patches = [Patches.of(sky(seed), MASK) for seed in range(4)]
    assert np.mean([each.rms(right) for each in patches]) == pytest.approx(1, abs=0.01)
    for change in ({"noise_uk_arcmin": 1.2 * NOISE}, {"fwhm": 0.8 * FWHM * ARCMIN}):
        wrong = dataclasses.replace(right, **change)
        assert sum(each.misfit(wrong) - each.misfit(right) for each in patches) > 20
    assert Patches.of(sky(1), np.arange(12 * NSIDE**2) % 5 > 0) is None


def two_beams(seed):
    """Give a sky whose beam grows from 120' on one side to 200' on the other."""
    share = 0.5 + 0.5 * hp.pix2vec(NSIDE, np.arange(12 * NSIDE**2))[0]
    window = pixel_window(NSIDE, LMAX) ** 2
    narrow, wide = (
        sky(seed, lcdm(LMAX) * hp.gauss_beam(fwhm * ARCMIN, LMAX) ** 2 * window, noise=1e-3)
        for fwhm in (120, 200)
    )
    return narrow * share + wide * (1 - share) + sky(seed, 0 * TRUTH)


def test_a_beam_that_varies_over_the_sky_is_doubted():
    found = fit(two_beams(5), MASK)
    assert found.quality.verdict == "doubtful"
    assert found.quality.varies > 8
    low, high = found.quality.beams
    assert 120 < low < found.effective_fwhm / ARCMIN < high < 200
    assert "differ by" in str(found.quality)
    checked = judge(two_beams(5), MASK, found)
    assert checked.verdict == "doubtful"
    assert "a beam or noise that varies" in str(checked)
    assert Quality.from_dict(found.quality.as_dict()) == found.quality


def test_patches_of_a_uniform_sky_differ_by_chance():
    right = Prior(NSIDE, lcdm(), fwhm=FWHM * ARCMIN, noise_uk_arcmin=NOISE)
    found = [Patches.of(sky(seed), MASK).variation(right).sigma for seed in range(10)]
    assert abs(np.mean(found)) < 3 / 10**0.5
    assert 0.4 < np.std(found) < 2
    assert max(found) < 4


# --- a spectrum from the map ---------------------------------------------------------------------


def power_law(seed=3):
    cl = np.zeros(LMAX + 1)
    cl[2:] = 1e6 * np.arange(2.0, LMAX + 1) ** -1.8
    return cl, sky(seed, cl * BEAM, noise=3e3)


def test_a_field_that_is_not_the_cmb_gets_its_own_spectrum():
    cl, values = power_law()
    found = fit(values, MASK, cl="map")
    assert found.theory == FROM_MAP
    assert found.origin("cl") == "fitted"
    assert found.quality.verdict == "good"
    whole = found.signal_cl(LMAX) + found.white_cl
    for ell in (20, 40, 80, 120):
        assert around(whole, ell) == pytest.approx(
            around(cl * BEAM + (3e3 * ARCMIN) ** 2, ell), rel=0.25
        )
    assert found.noise_uk_arcmin == pytest.approx(3e3, rel=0.1)
    assert np.all(found.cl >= 0)


def test_a_given_beam_is_undone_in_a_fitted_spectrum():
    cl, values = power_law()
    found = fit(values, MASK, cl="map", fwhm=FWHM * ARCMIN, noise_uk_arcmin=3e3)
    assert (found.fwhm, found.noise_uk_arcmin) == (FWHM * ARCMIN, 3e3)
    assert found.pixel_window
    for ell in (20, 40, 80):
        assert around(found.cl, ell) == pytest.approx(around(cl, ell), rel=0.25)


@pytest.mark.parametrize("seed", [4, 5, 6])
def test_small_scales_of_a_steep_sky_do_not_change_its_largest_ones(seed):
    """The edges of a fill leave power at high l, where the largest scales leak to."""
    ell = np.arange(LMAX + 1.0)
    cl = (ell + 1) ** -3 * hp.gauss_beam(220 * ARCMIN, LMAX) ** 2 * (ell > 1)
    values = sky(seed, cl, noise=0.0)
    disc = ~skyfill.simulate_mask(NSIDE, seed=seed, n_holes=15, radii=np.radians((2.0, 6.0)))
    values = hp.remove_dipole(np.where(disc, 1.03, 1.0) * values)
    found = fit(values, np.ones(values.size, bool), cl="map", noise_uk_arcmin=0.0)
    modes = 2 * ell + 1
    for band in (slice(2, 6), slice(6, 20), slice(20, 80)):
        there = modes[:128][band] @ hp.anafast(values, lmax=127)[band]
        assert modes[band] @ found.cl[band] == pytest.approx(there, rel=0.15)


def test_fills_take_a_spectrum_from_the_map():
    _, values = power_law()
    prior = Given(cl="map")
    filler = skyfill.Inpainter(values, MASK, prior=prior)
    assert filler.plausibility.verdict == "good"
    assert "fitted to the map (fitted)" in skyfill.inpaint.describe_prior(filler.prior)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"cl": "sky"}, "`cl` must be a spectrum, or `cl='map'`"),
        ({"cl": "map", "fit": False}, "`cl='map'` fits a spectrum to the map; drop `no_fit`"),
        ({"cl": "map", "base": Prior(NSIDE, lcdm())}, "drop `prior`"),
    ],
)
def test_a_spectrum_from_the_map_allows_no_other(words, message):
    with pytest.raises(ValueError, match=message):
        Given(**words)


# --- the record -----------------------------------------------------------------------------------


def test_free_part_and_quality_are_recorded(tmp_path):
    found = bumpy()
    save_prior(tmp_path / "prior.json", found)
    skyfill.write_map(
        tmp_path / "map.fits", sky(1), attached=(skyfill.prior.PRIOR_HDU, prior_hdu(found))
    )
    for name in ("prior.json", "map.fits"):
        again = read_prior(tmp_path / name)
        np.testing.assert_array_equal(again.cl, found.cl)
        n = found.extra_cl.size
        np.testing.assert_array_equal(again.extra_cl[:n], found.extra_cl)
        assert not again.extra_cl[n:].any()
        assert again.quality == found.quality
        np.testing.assert_array_equal(again.signal_cl(), found.signal_cl())
    record = json.loads((tmp_path / "prior.json").read_text())
    assert record["format"] == 2  # a program that knows no free part must not leave it out
    assert record["quality"]["verdict"] == found.quality.verdict
    assert Quality.from_dict(record["quality"]) == found.quality


def test_a_prior_that_is_changed_forgets_how_well_it_was():
    found = bumpy()
    assert Given(base=found).complete(NSIDE).quality == found.quality
    louder = Given(base=found, noise_uk_arcmin=7.0).complete(NSIDE)
    assert louder.quality is None
    assert louder.extra_cl.size
    assert not Given(base=found, cl=lcdm()).complete(NSIDE).extra_cl.size


def test_a_prior_is_examined_as_given_or_fitted(tmp_path):
    found = examine(sky(1) + 300.0, MASK, threads=1)
    assert found.prior.noise_uk_arcmin == pytest.approx(NOISE, rel=0.05)
    assert (found.quality.verdict, found.check.verdict) == ("good", "good")
    wrong = examine(sky(1), MASK, Prior(NSIDE, lcdm(), noise_uk_arcmin=NOISE))
    assert (wrong.quality.verdict, wrong.check.verdict) == ("bad", "refused")
    skyfill.prior.save_fit(tmp_path / "p.png", found.spectrum, found.prior)
    skyfill.prior.save_fit(tmp_path / "p.pdf", wrong.spectrum, wrong.prior)
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "p.pdf").read_bytes().startswith(b"%PDF")
    for values, mask, message in (
        (np.ones(MASK.size), MASK, "constant"),
        (sky(1), np.zeros(MASK.size, bool), "no pixel is observed"),
    ):
        with pytest.raises(ValueError, match=message):
            examine(values, mask)
