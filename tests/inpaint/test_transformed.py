"""Fields that are not Gaussian, filled through a transform."""

import healpy
import numpy as np
import pytest
from scipy import stats

import skyfill
from skyfill.inpaint import TransformedInpainter
from skyfill.prior import Given

NSIDE = 32
SIGMA = 0.7
PIXEL = np.sqrt(4 * np.pi / (12 * NSIDE**2)) * 60 * 180 / np.pi


def lognormal(seed):
    """Draw a smooth lognormal field of mean 0, and its Gaussian field."""
    ell = np.arange(3 * NSIDE)
    cl = np.where(ell > 0, (ell + 4.0) ** -1.5 * np.exp(-(ell**2) / (2 * 14.0**2)), 0)
    cl *= SIGMA**2 * 4 * np.pi / np.sum((2 * ell + 1) * cl)
    np.random.seed(seed)  # noqa: NPY002 (healpy's own generator)
    g = healpy.synfast(cl, NSIDE, lmax=3 * NSIDE - 1)
    return np.exp(g - SIGMA**2 / 2) - 1, g


@pytest.fixture(scope="module")
def sky():
    return lognormal(3)[0]


@pytest.fixture(scope="module")
def observed():
    return skyfill.simulate_mask(NSIDE, seed=4, n_holes=25, radii=np.radians((4.0, 9.0)))


def filler(sky, observed, transform="log", noise=0.0, **words):
    """Prepare the fill of a sky."""
    given = Given(cl="map", noise_uk_arcmin=noise * PIXEL)
    if transform == "log":
        words = {"shift": 1.0} | words
    masked = np.where(observed, sky, np.nan)
    words = {"method": "gaussian", "seed": 2} | words
    return TransformedInpainter(masked, observed, transform=transform, prior=given, **words)


@pytest.fixture(scope="module")
def made(sky, observed):
    return filler(sky, observed)


@pytest.fixture(scope="module")
def draws(made):
    """Thirty realizations, ``(30, nhole)``."""
    return np.array([made.realization(index) for index in range(30)])


@pytest.fixture(scope="module")
def mean(made):
    return made.mean()


@pytest.mark.filterwarnings("ignore:the prior may not")  # of the linear fill
def test_a_realization_has_the_one_point_statistics_of_the_field(sky, observed, draws):
    drawn = draws.ravel()
    assert drawn.min() > -1
    distance = stats.ks_2samp(drawn, sky[observed]).statistic
    assert distance < 0.08
    linear = skyfill.Inpainter(
        np.where(observed, sky, np.nan),
        observed,
        method="gaussian",
        fill="signal",
        seed=2,
        prior=Given(cl="map", noise_uk_arcmin=0.03 * sky.std() * PIXEL),
    )
    plain = np.concatenate([linear.realization(index) for index in range(3)])
    assert plain.min() < -1.2  # what the transform is for
    assert stats.ks_2samp(plain, sky[observed]).statistic > 1.3 * distance


def test_the_same_seed_gives_the_same_skies(sky, observed, draws):
    assert np.array_equal(filler(sky, observed).realization(1), draws[1])
    assert not np.array_equal(draws[1], draws[2])


def test_the_mean_is_that_of_realizations_and_no_transform_of_a_mean(made, draws, mean):
    scale = draws.std()
    assert np.mean(mean - draws.mean(0)) == pytest.approx(0, abs=0.01 * scale)
    low, middle, high = made.quantiles(0.16, 0.5, 0.84)
    assert np.mean(middle - draws.mean(0)) < -0.02 * scale  # exp(m) is too low
    assert np.mean((draws > low) & (draws < high)) == pytest.approx(0.68, abs=0.06)
    with pytest.raises(ValueError, match="between 0 and 1"):
        made.quantiles(16)


@pytest.mark.parametrize("transform", ["asinh", "rank"])
@pytest.mark.filterwarnings("ignore:rank knows")
def test_other_transforms_fill_nearly_the_same(sky, observed, mean, transform):
    other = filler(sky, observed, transform).mean()
    assert np.std(other - mean) < 0.15 * sky.std()


def signal_and_noise(made):
    """Give the field of a realization in the holes, and its noise."""
    signal = made.transform.of(made.inner.realization(0) / made._unit)
    return signal, made.realization(0) - signal


@pytest.mark.filterwarnings("ignore:the prior may not")  # of the linear fill
def test_noise_is_that_of_the_map_not_of_the_transform(sky, observed):
    noise = 0.15 * sky.std()
    noisy = sky + noise * np.random.default_rng(8).standard_normal(sky.size)
    made = filler(noisy, observed, noise=noise)
    signal, drawn = signal_and_noise(made)
    assert signal.min() > -1
    assert np.std(drawn) == pytest.approx(noise, rel=0.06)
    assert abs(stats.skew(drawn)) < 0.15  # the log of noisy values would have made it skewed
    given = Given(cl="map", noise_uk_arcmin=noise * PIXEL)
    masked = np.where(observed, noisy, np.nan)
    linear = skyfill.Inpainter(masked, observed, method="gaussian", prior=given).mean()
    bent = made.transform.of(made.inner.mean() / made._unit)
    assert np.std(bent - sky[~observed]) < 1.03 * np.std(linear - sky[~observed])


def test_a_noise_map_is_taken(sky, observed):
    level = 0.1 * sky.std() * np.where(np.arange(sky.size) < sky.size // 2, 0.5, 1.5)
    rng = np.random.default_rng(9)
    noisy = np.where(observed, sky + level * rng.standard_normal(sky.size), np.nan)
    words = {"transform": "log", "shift": 1.0, "method": "gaussian", "prior": Given(cl="map")}
    _, drawn = signal_and_noise(TransformedInpainter(noisy, observed, noise_rms=level, **words))
    away = drawn / level[~observed]
    half = np.flatnonzero(~observed) < sky.size // 2
    assert np.std(away[half]) == pytest.approx(1, abs=0.08)
    assert np.std(away[~half]) == pytest.approx(1, abs=0.08)


def steep(seed, nside=64):
    """Draw a Gaussian field with next to no power at high l, and a mask with a band."""
    ell = np.arange(8 * nside + 1.0)
    cl = (ell + 1) ** -3 * healpy.gauss_beam(np.radians(220 / 60), 8 * nside) ** 2 * (ell > 0)
    np.random.seed(seed)  # noqa: NPY002
    g = healpy.synfast(cl * 4 * np.pi / np.sum((2 * ell + 1) * cl), nside, lmax=8 * nside)
    band = skyfill.simulate_mask(nside, kind="band", seed=seed, half_width=np.radians(10))
    return g, band & skyfill.simulate_mask(nside, seed=seed, n_holes=15)


def test_what_leaks_through_the_mask_does_not_enter_a_steep_spectrum():
    g, observed = steep(3)
    masked = np.where(observed, np.exp(g) - 1, np.nan)
    given = Given(cl="map", noise_uk_arcmin=0.0)
    words = {"transform": "log", "shift": 1.0, "prior": given, "method": "gaussian"}
    made = TransformedInpainter(masked, observed, **words)
    g *= made._unit
    truth = healpy.anafast(healpy.remove_dipole(g), lmax=128)
    leaked = given.of_map(np.where(observed, g, 0.0), observed).cl
    found = made.inner.prior.cl
    for first, last, within in ((6, 20, 0.15), (20, 50, 0.1), (50, 75, 0.1)):
        here = slice(first, last)
        assert found[here].sum() == pytest.approx(truth[here].sum(), rel=within)
    assert leaked[90:128].sum() > 10 * truth[90:128].sum()
    assert found[90:128].sum() < 2 * truth[90:128].sum()
    assert np.array_equal(
        TransformedInpainter(masked, observed, seed=5, **words).inner.prior.cl, found
    )


def test_a_patch_of_the_sky_has_a_spectrum_too(sky, observed):
    north = np.arange(sky.size) < 0.7 * sky.size
    made = filler(sky, observed & north, footprint=north)
    assert not made.holes[~north].any()
    power = made.inner.prior.cl[10:40].sum()
    assert power == pytest.approx(filler(sky, observed).inner.prior.cl[10:40].sum(), rel=0.3)


def test_fill_takes_a_transform_in_the_unit_and_order_of_the_map(sky, observed, made, draws):
    nest = healpy.reorder(np.where(observed, sky, np.nan) * 1e-3, r2n=True)
    whole = skyfill.fill(
        nest,
        healpy.reorder(observed.astype(float), r2n=True) > 0.5,
        nest=True,
        unit="mK",
        seed=2,
        transform="log",
        shift=1e-3,
        method="gaussian",
        prior=Given(cl="map", noise_uk_arcmin=0.0),
    )
    expected = made.whole(draws[0])
    assert healpy.reorder(whole, n2r=True) * 1e3 == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_validate_takes_a_transform(sky, observed):
    found = skyfill.fidelity.validate(
        np.where(observed, sky, np.nan),
        observed,
        realizations=4,
        share=0.02,
        transform="log",
        shift=1.0,
        method="gaussian",
        prior=Given(cl="map", noise_uk_arcmin=0.0),
    )
    assert isinstance(found.filler, TransformedInpainter)
    assert np.isfinite(found.figures["z_width"].value)


def test_the_repr_is_short(made):
    assert repr(made).startswith("TransformedInpainter(log(x + 1), Inpainter(gaussian, Nside 32")
    assert len(repr(made)) < 200


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"prior": None}, "needs the spectrum of the transformed field"),
        ({"prior": Given()}, "cl='map'"),
        ({"prior": Given(cl="map", fwhm=0.1)}, "the beam of a map is not that of its transform"),
        ({"prior": Given(cl="map")}, "needs the noise of the map"),
        ({"shift": 0.2}, "needs x \\+ shift above 0"),
        ({"method": "diffuse"}, "diffuse has no spectrum"),
        ({"method": "vaeac"}, "vaeac has no spectrum"),
        ({"dipole": "prior"}, "are fitted: drop `dipole`"),
        ({"noise_rms": "auto"}, "is not estimated from the sky"),
        ({"transform": "rank", "noise_rms": np.ones(12 * NSIDE**2)}, "takes white noise"),
        ({"fill": "both"}, "fill 'both' is unknown"),
        ({"transform": "sqrt"}, "'sqrt' is unknown; choose one of log, asinh, rank"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(sky, observed, words, said):
    words = {"transform": "log", "prior": Given(cl="map", noise_uk_arcmin=0.0)} | words
    if words["transform"] == "log":
        words = {"shift": 1.0} | words
    with pytest.raises(ValueError, match=said) as refused:
        TransformedInpainter(np.where(observed, sky, np.nan), observed, **words)
    assert "\n" not in str(refused.value)


def test_a_shift_is_not_fitted_to_noise(sky, observed):
    noise = 0.15 * sky.std()
    noisy = sky + noise * np.random.default_rng(8).standard_normal(sky.size)
    with pytest.raises(ValueError, match="a fitted shift would take for part of the field"):
        filler(noisy, observed, noise=noise, shift=None)


def test_values_far_below_the_bound_are_no_noise(sky, observed):
    noisy = sky + 0.02 * sky.std() * np.random.default_rng(8).standard_normal(sky.size)
    noisy[np.flatnonzero(observed)[0]] = -3.0
    with pytest.raises(ValueError, match="standard deviations of the noise below"):
        filler(noisy, observed, noise=0.02 * sky.std())


@pytest.mark.parametrize(("method", "share"), [("auto", 0.01), ("gaussian", 0.01), ("vae", 0.03)])
def test_a_map_without_noise_is_solved_with_as_little_as_the_method_bears(
    sky, observed, method, share
):
    made = filler(sky, observed, method=method)
    g = made.transform.inverse(sky)[observed]
    solved = made.inner.prior.noise_uk_arcmin / PIXEL / made._unit
    assert solved == pytest.approx(share * g.std(), rel=1e-3)
    assert made.noise_std == 0


def test_a_map_that_would_take_long_is_solved_with_more(sky, observed, monkeypatch):
    """With bands, where segments are not affordable."""
    from skyfill.gaussian import segments
    from skyfill.inpaint import exact

    monkeypatch.setattr(exact, "affordable", lambda sizes, **_: sizes < 100)
    usual = filler(sky, observed)
    monkeypatch.setattr(segments, "affordable", lambda sizes, **_: sizes < 0)
    long = filler(sky, observed)
    noises = [each.inner.prior.noise_uk_arcmin for each in (usual, long)]
    assert noises[1] == pytest.approx(3 * noises[0])
