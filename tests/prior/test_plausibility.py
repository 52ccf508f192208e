"""A map is held against its prior before it is filled: right ones pass, wrong ones are named."""

import math

import healpy as hp
import numpy as np
import pytest

import skyfill
from skyfill.prior import ARCMIN, Given, Prior, UnlikelyPriorError, judge, lcdm, wrong_order

NSIDE = 64
FWHM, NOISE = math.radians(1.5), 300.0
PRIOR = Prior(NSIDE, lcdm(), fwhm=FWHM, noise_uk_arcmin=NOISE, pixel_window=False)
LMAX = 2000  # of the theory, too: without a beam every multipole counts
OBSERVED = skyfill.simulate_mask(NSIDE, seed=1, half_width=0.15, n_holes=20, radii=(0.03, 0.08))


def sky(seed=1, nside=NSIDE, fwhm=FWHM, noise=NOISE, cl=None):
    """Synthesise by healpy, to 8 Nside."""
    np.random.seed(seed)  # noqa: NPY002 - healpy knows no other
    lmax = min(8 * nside, LMAX) if fwhm else LMAX
    signal = hp.synfast(lcdm(lmax) if cl is None else cl, nside, lmax=lmax, fwhm=fwhm)
    rms = noise * ARCMIN / math.sqrt(4 * math.pi / signal.size)
    return signal + np.random.default_rng(seed).normal(0, rms, signal.size)


SKY = sky()


def test_a_right_prior_is_good():
    found = judge(SKY, OBSERVED, PRIOR)
    assert found.verdict == "good"
    assert found.causes == ()
    assert found.total.ratio == pytest.approx(1, abs=4 * found.total.error)
    for band in found.bands:
        assert band.ratio == pytest.approx(1, abs=4 * band.error)


@pytest.mark.parametrize(
    ("nside", "fwhm", "noise"),
    [(32, 0, 0), (32, 10, 2000), (64, 1, 20), (64, 0, 3000), (128, 0.7, 60)],
)
def test_what_is_predicted_is_what_skies_have(nside, fwhm, noise):
    """The mean over skies of observed over predicted is one, on every scale."""
    fwhm = math.radians(fwhm)
    prior = Prior(nside, lcdm(LMAX), fwhm=fwhm, noise_uk_arcmin=noise, pixel_window=False)
    whole = np.ones(12 * nside**2, bool)
    found = [judge(sky(seed, nside, fwhm, noise), whole, prior) for seed in range(8)]
    assert {each.verdict for each in found} == {"good"}
    ratios = np.array([[band.ratio for band in each.bands] for each in found])
    errors = np.array([band.error for band in found[0].bands])
    assert np.all(abs(ratios.mean(axis=0) - 1) < 0.012 + 3 * errors / math.sqrt(len(found)))
    assert np.all(ratios.std(axis=0) < 1.8 * errors)


def test_noise_that_varies_is_known():
    rms = np.where(np.arange(SKY.size) % 2, 60.0, 20.0)
    noisy = sky(noise=0.0) + np.random.default_rng(2).normal(size=SKY.size) * rms
    assert judge(noisy, OBSERVED, PRIOR, noise_variance=rms**2).verdict == "good"
    assert judge(noisy, OBSERVED, PRIOR, noise_variance=rms**2 / 9).verdict != "good"


GIVEN = {"fwhm": FWHM, "noise_uk_arcmin": NOISE, "pixel_window": False, "theory": "t.txt"}
ELL = np.arange(lcdm().size)
TO_DL = np.maximum(ELL * (ELL + 1), 1) / (2 * math.pi)


MISTAKES = [
    (1e-6, None, "the map is in K"),
    (1e-3, None, "the map is in mK"),
    (1 / 2.7255e6, None, "the map is relative to 2.7255 K"),
    (1e6, None, "the map is in µK, but taken for a larger unit"),
    (1.0, lcdm() * TO_DL, "pass `dl=True`"),
    (1.0, lcdm() / TO_DL, "drop `dl=True`"),
    (1.0, lcdm() * 1e-12, "the spectrum is in K, squared"),
    (1.0, lcdm() * TO_DL / 2.7255e6**2, "relative to 2.7255 K, squared"),
]


@pytest.mark.parametrize(
    ("factor", "cl", "cause", "fitted"),
    [
        # The fit to a map in mK takes ten seconds; those to other wrong units take one.
        pytest.param(*case, fitted, marks=[pytest.mark.slow] if fitted and case[0] == 1e-3 else [])
        for case in MISTAKES
        for fitted in (False, True)
    ],
)
def test_units_and_conventions_are_named(factor, cl, cause, fitted):
    """Whether beam and noise are given, or fitted to what does not fit."""
    words = dict(GIVEN, cl=lcdm() if cl is None else cl)
    if fitted:
        words = {"cl": words["cl"], "theory": "t.txt"}
    with pytest.raises(UnlikelyPriorError) as caught:
        skyfill.Inpainter(factor * SKY, OBSERVED, prior=Given(**words))
    assert cause in str(caught.value)
    assert "pass `trust_prior=True`" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", ["vae", "gaussian", "diffuse"])
@pytest.mark.parametrize("to_ring", [False, True])
def test_the_wrong_pixel_order_is_named(method, to_ring):
    turned = hp.reorder(SKY, n2r=True) if to_ring else hp.reorder(SKY, r2n=True)
    assert wrong_order(turned, OBSERVED)
    with pytest.raises(UnlikelyPriorError, match="keyword ORDERING"):
        skyfill.Inpainter(turned, OBSERVED, method=method)


@pytest.mark.parametrize("nside", [8, 16, 128])
def test_the_right_pixel_order_is_not_doubted(nside):
    whole = np.ones(12 * nside**2, bool)
    for seed in range(5):
        assert not wrong_order(sky(seed, nside), whole)
        assert not wrong_order(sky(seed, nside, noise=1e5), whole)


def fields():
    lat = abs(90 - np.degrees(hp.pix2ang(NSIDE, np.arange(SKY.size))[0]))
    power = np.zeros(3 * NSIDE)
    power[1:] = 1e9 * np.arange(1.0, 3 * NSIDE) ** -2.6
    kappa = np.zeros(3 * NSIDE)
    kappa[2:] = 1e-7
    return {
        "a foreground": sky(cl=np.pad(power, (0, 9 * NSIDE))) + 2e7,
        "a Galaxy that is not masked": SKY + 3000 * np.exp(-lat / 12),
        "a convergence": hp.synfast(kappa, NSIDE),
        "dust": 1e3 * np.exp(SKY / 40),
    }


SLOW = pytest.param("a convergence", marks=pytest.mark.slow)


@pytest.mark.parametrize("name", [SLOW if x == "a convergence" else x for x in fields()])
def test_a_map_that_is_no_cmb_finds_no_fit(name):
    with pytest.raises(UnlikelyPriorError, match=r"no fit of the spectrum .* describes this map"):
        skyfill.Inpainter(fields()[name], OBSERVED)


def test_a_fit_that_finds_hardly_any_signal_is_doubted():
    noise = np.random.default_rng(1).normal(size=SKY.size) * 100
    with pytest.warns(UserWarning, match="nearly all of the map for white noise"):
        fill = skyfill.Inpainter(noise, OBSERVED)
    assert fill.plausibility.verdict == "doubtful"


def test_a_fitted_power_that_no_calibration_explains_is_doubted():
    with pytest.warns(UserWarning, match="times the power of the spectrum"):
        skyfill.Inpainter(1.25 * SKY, OBSERVED)


@pytest.mark.parametrize("take", [list, lambda a: a.astype(">f8"), hp.ma])
def test_maps_are_taken_as_users_hold_them(take):
    assert judge(take(SKY), take(OBSERVED * 1.0), PRIOR) == judge(SKY, OBSERVED, PRIOR)


def test_what_is_no_pair_is_refused():
    for values, observed in (
        (SKY, OBSERVED[:768]),
        (np.stack([SKY] * 4), OBSERVED),
        (SKY, 255 * OBSERVED),
    ):
        with pytest.raises(ValueError, match=r"Nside|shape|mask"):
            judge(values, observed, PRIOR)
    with pytest.raises(ValueError, match="the prior has Nside 32"):
        judge(SKY, OBSERVED, Prior(32, lcdm()))


def test_noise_that_was_left_out_is_named():
    loud = sky(noise=6000.0)
    with pytest.raises(UnlikelyPriorError, match="`noise_uk_arcmin` was assumed to be 0"):
        skyfill.Inpainter(loud, OBSERVED, prior=Given(fwhm=FWHM, fit=False))
    rms = 6000 * ARCMIN / math.sqrt(4 * math.pi / SKY.size)
    with pytest.raises(UnlikelyPriorError, match="square arcminute"):
        skyfill.Inpainter(loud, OBSERVED, prior=Given(fwhm=FWHM, noise_uk_arcmin=rms))


def test_a_prior_that_is_trusted_fills_with_a_warning():
    prior = Given(**dict(GIVEN, cl=4 * lcdm()))
    with pytest.warns(UserWarning, match="the prior may not describe the observed sky"):
        fill = skyfill.Inpainter(SKY, OBSERVED, prior=prior, method="gaussian", trust_prior=True)
    assert fill.plausibility.verdict == "refused"
    assert np.all(np.isfinite(fill.mean()))


def test_a_mild_misfit_is_a_warning():
    with pytest.warns(UserWarning, match="the prior may not describe"):
        fill = skyfill.Inpainter(SKY, OBSERVED, prior=Given(**dict(GIVEN, cl=1.5 * lcdm())))
    assert fill.plausibility.verdict == "doubtful"


def test_every_map_of_a_mask_is_looked_at():
    first = skyfill.Inpainter(SKY, OBSERVED, prior=PRIOR)
    assert first.with_map(sky(2)).plausibility.verdict == "good"
    with pytest.raises(UnlikelyPriorError, match="the map is in K"):
        first.with_map(1e-6 * sky(2))


def test_too_little_sky_is_no_judge():
    few = np.zeros(SKY.size, bool)
    few[:30] = True
    found = judge(SKY, few, PRIOR)
    assert found.verdict == "unknown"
    assert "too little" in str(found)


@pytest.mark.slow
def test_right_priors_are_never_doubted():
    """Skies of many kinds at Nside 32 to 128; `docs/scripts/plausibility.py` has larger ones."""
    rng = np.random.default_rng(7)
    for seed in range(120):
        nside = int(rng.choice([32, 64, 128]))
        fwhm = math.radians(rng.choice([0.0, 0.5, 1, 3, 8]))
        noise = float(rng.choice([0.0, 30, 300, 3000]))
        prior = Prior(nside, lcdm(LMAX), fwhm=fwhm, noise_uk_arcmin=noise, pixel_window=False)
        seen = skyfill.simulate_mask(nside, seed=seed, half_width=0.2)
        assert judge(sky(seed, nside, fwhm, noise), seen, prior).verdict == "good", seed
