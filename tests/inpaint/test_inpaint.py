"""The pipeline from a map with holes to a whole sky."""

import math

import ducc0
import healpy as hp
import numpy as np
import pytest
from numpy.polynomial.legendre import legval
from scipy.linalg import solve

from skyfill.diffuse import diffuse
from skyfill.inpaint import Inpainter, describe_prior
from skyfill.mosaic import MosaicConfig
from skyfill.prior import Prior, draw, lcdm
from skyfill.prior.simulate import simulate_mask

NSIDE = 16
NPIX = 12 * NSIDE**2
KNOWN = Prior(NSIDE, lcdm(), fwhm=math.radians(10), noise_uk_arcmin=2500.0)
TIGHT = MosaicConfig(tolerance=1e-6)


@pytest.fixture(scope="module")
def observed():
    seen = np.ones(NPIX, dtype=bool)
    for lon, lat, radius in ((20, 10, 14), (120, -50, 8), (250, 70, 5), (0, -90, 4)):
        vector = hp.ang2vec(lon, lat, lonlat=True)
        seen[hp.query_disc(NSIDE, vector, math.radians(radius))] = False
    return seen


@pytest.fixture(scope="module")
def values():
    return draw(KNOWN, seed=11, threads=1)


def inpainter(values, observed, **options):
    return Inpainter(values, observed, **{"prior": KNOWN, "threads": 1, "config": TIGHT} | options)


def dipole():
    x, y, z = hp.pix2vec(NSIDE, np.arange(NPIX))
    return np.column_stack([np.ones(NPIX), x, y, z])


@pytest.mark.parametrize("method", ["vae", "gaussian", "diffuse"])
def test_a_monopole_and_a_dipole_come_through(values, observed, method):
    offset = dipole() @ [2.7e6, 3000, -1500, 800]
    plain, shifted = (inpainter(v, observed, method=method) for v in (values, values + offset))
    np.testing.assert_allclose(
        shifted.mean() - offset[~observed], plain.mean(), atol=1e-3 * values.std()
    )
    if method == "vae":
        away = shifted.realization(2) - offset[~observed] - plain.realization(2)
        assert np.abs(away).max() < 1e-3 * values.std()


def test_a_pure_dipole_is_continued(observed):
    """Nothing but a dipole leaves nothing for the prior to say."""
    offset = dipole() @ [5.0, 3.0, -1.0, 2.0]
    with pytest.warns(UserWarning, match="the prior may not describe the observed sky"):
        fill = inpainter(np.where(observed, offset, np.nan), observed, trust_prior=True)
    filled = fill.mean()
    np.testing.assert_allclose(filled, offset[~observed], atol=1e-9)


def test_what_is_in_the_holes_is_not_read(values, observed):
    usual = inpainter(values, observed)
    other = inpainter(np.where(observed, values, np.nan), observed)
    np.testing.assert_array_equal(other.mean(), usual.mean())
    np.testing.assert_array_equal(other.realization(), usual.realization())
    np.testing.assert_array_equal(usual.holes, ~observed)


def test_missing_pixels_are_holes(values, observed):
    lost = values.copy()
    lost[np.flatnonzero(observed)[100:130]] = np.nan
    with pytest.warns(UserWarning, match="30 pixels"):
        fill = inpainter(lost, observed)
    assert np.count_nonzero(fill.holes) == np.count_nonzero(~observed) + 30
    assert np.all(np.isfinite(fill.mean()))
    assert np.all(np.isfinite(fill.realization()))


def test_the_map_that_was_given_stays(values, observed):
    before = values.copy()
    fill = inpainter(values, observed)
    fill.realization()
    fill.mean()
    np.testing.assert_array_equal(values, before)


def test_realizations_differ_by_index_and_by_seed(values, observed):
    first = inpainter(values, observed, seed=4)
    again = inpainter(values, observed, seed=4)
    assert first.stochastic
    np.testing.assert_array_equal(again.realization(3), first.realization(3))
    np.testing.assert_array_equal(again.realization(0), first.realization())
    noise = math.sqrt(KNOWN.noise_cl * NPIX / (4 * np.pi))
    for other in (first.realization(2), inpainter(values, observed, seed=5).realization(3)):
        assert np.std(other - first.realization(3)) > noise


def test_the_mean_is_nearer_than_a_realization(values, observed):
    fill = inpainter(values, observed)
    truth = values[~observed]
    error = np.mean((fill.mean() - truth) ** 2)
    drawn = np.mean([np.mean((fill.realization(i) - truth) ** 2) for i in range(20)])
    assert error < values.var()
    assert 1.3 * error < drawn < 4 * error


@pytest.mark.parametrize("treatment", ["marginalise", "fit"])
def test_scatter_is_that_of_the_posterior(values, observed, treatment):
    """Mean and covariance of 200 realizations against a dense conditional Gaussian.

    Monopole and dipole can be anything, or are fitted to the observed sky with equal weights and
    taken for the truth; the error of that fit is then part of what is not known.
    """
    directions = dipole()[:, 1:]
    cl = KNOWN.signal_cl()
    cl[:2] += 1e7 if treatment == "marginalise" else 0.0
    cosine = np.clip(directions @ directions.T, -1, 1)
    covariance = legval(cosine, (2 * np.arange(cl.size) + 1) / (4 * np.pi) * cl)
    covariance += np.eye(NPIX) * KNOWN.white_cl * NPIX / (4 * np.pi)
    seen, holes = np.flatnonzero(observed), np.flatnonzero(~observed)
    among = covariance[np.ix_(seen, seen)]
    cross = covariance[np.ix_(seen, holes)]
    gain = solve(among, cross, assume_a="pos").T
    modes = dipole()
    fit = np.linalg.pinv(modes[seen])
    rest = (modes[holes] - gain @ modes[seen]) @ fit
    posterior = covariance[np.ix_(holes, holes)] - gain @ cross + rest @ among @ rest.T

    number = 200
    fill = inpainter(values, observed, dipole=treatment, config=MosaicConfig(tolerance=1e-3))
    drawn = np.array([fill.realization(index) for index in range(number)])
    amplitude = fit @ values[seen]
    mean = gain @ (values[seen] - modes[seen] @ amplitude) + modes[holes] @ amplitude
    np.testing.assert_allclose(fill.mean(), mean, atol=1e-3 * values.std())

    std = np.sqrt(np.diag(posterior))
    away = (drawn.mean(axis=0) - mean) / std * math.sqrt(number)
    assert np.abs(away).max() < 5
    relative = (drawn.std(axis=0, ddof=1) / std - 1) * math.sqrt(2 * number)
    assert np.abs(relative).max() < 4.5
    # Whitened, all directions scatter alike: the correlations are right, too.
    white = np.linalg.solve(np.linalg.cholesky(posterior), (drawn - mean).T)
    size = white.size
    assert abs(np.mean(white**2) - 1) < 4 * math.sqrt(2 / size)
    chi2 = np.sum(white**2, axis=0)
    assert chi2.var() == pytest.approx(2 * holes.size, rel=0.4)


# --- methods ------------------------------------------------------------------------------------


def test_diffuse_is_diffusion(values, observed):
    fill = Inpainter(values, observed, method="diffuse")
    assert not fill.stochastic
    assert fill.prior is None
    assert fill.card is None
    modes = dipole()
    amplitude = np.linalg.lstsq(modes[observed], values[observed], rcond=None)[0]
    expected = diffuse(values - modes @ amplitude, observed) + modes @ amplitude
    np.testing.assert_allclose(fill.mean(), expected[~observed], rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match="diffuse has no realizations"):
        fill.realization()


def test_the_card_says_which_weights(values, observed):
    whole = inpainter(values, observed)
    assert whole.card is None  # no network is used
    assert whole.prior is KNOWN
    seen = np.arange(12 * 256**2) > 3
    prior = Prior(256, lcdm(), fwhm=math.radians(1), noise_uk_arcmin=500.0)
    sky = draw(prior, seed=1)
    assert inpainter(sky, seen, prior=prior, polish=0).card is None  # fixed steps alone
    tiled = inpainter(sky, seen, prior=prior, polish=0, network=True)
    assert tiled.card.name.startswith("tilevae")
    assert len(tiled.card.sha256) == 64


def test_a_prior_is_fitted_where_none_is_given(observed):
    loud = Prior(32, lcdm(), fwhm=math.radians(6), noise_uk_arcmin=6000.0)
    seen = hp.ud_grade(observed.astype(float), 32) > 0.5
    sky = draw(loud, seed=2, threads=1) + 1e5
    found = Inpainter(sky, seen, threads=1).prior
    assert set(found.fitted) == {"fwhm", "noise_uk_arcmin", "calibration", "pixel_window"}
    assert found.noise_uk_arcmin == pytest.approx(6000, rel=0.15)
    assert found.fwhm == pytest.approx(loud.fwhm, rel=0.2)


def test_describe_prior():
    assert describe_prior(KNOWN) == (
        "given C_l (given), beam 600.00 arcmin (given, 619.63 with the pixel window), "
        "noise 2500.0 uK.arcmin (given), power x 1.000 (given), pixel window yes (given)"
    )
    fitted = Prior(
        16,
        lcdm(),
        fwhm=0.01,
        pixel_window=False,
        calibration=1.02,
        theory="Planck 2018 LCDM",
        fitted=("fwhm",),
        recorded=("calibration",),
        assumed=("cl",),
    )
    assert describe_prior(fitted) == (
        "Planck 2018 LCDM (assumed), beam 34.38 arcmin (fitted), noise 0.0 uK.arcmin (given), "
        "power x 1.020 (header), pixel window no (given)"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"method": "magic"},
            "method 'magic' is unknown; choose one of auto, vae, gaussian, diffuse",
        ),
        ({"device": "abacus"}, "device 'abacus' is unknown"),
        ({"observed": np.ones(NPIX, dtype=bool)}, "nothing to fill"),
        ({"observed": np.zeros(NPIX, dtype=bool)}, "no pixel observed"),
        ({"observed": np.ones(48, dtype=bool)}, "Nside"),
        ({"values": np.zeros(100)}, "100"),
    ],
)
def test_wrong_input_is_refused(values, observed, change, message):
    with pytest.raises(ValueError, match=message) as caught:
        inpainter(**{"values": values, "observed": observed} | change)
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_there(values, observed, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors"):
        inpainter(values, observed, weights=tmp_path / "none.safetensors")


def test_stages_are_told(values, observed):
    class Stages:
        def __init__(self):
            self.names, self.open = [], 0

        def stage(self, name, total=None):
            self.names.append(name)
            self.open += 1

        def advance(self, n=1):
            pass

        def done(self, note=""):
            self.open -= 1

    stages = Stages()
    inpainter(values, observed, prior=None, progress=stages).realization()
    assert stages.names == ["prior", "latent sky", "whole sky"]
    assert stages.open == 0


def test_a_simulated_sky_is_not_filled_with_itself(observed):
    """Of one seed for both, as the command line has it if nothing is said."""
    truth = draw(KNOWN, seed=0, index=0, threads=1)
    away = inpainter(truth, observed, seed=0).realization(0) - truth[~observed]
    expected = inpainter(truth, observed, seed=1).realization(0) - truth[~observed]
    assert np.std(away) > 0.5 * np.std(expected)


@pytest.mark.parametrize(
    "options",
    [
        {"method": "gaussian", "fill": "signal"},
        {"method": "gaussian", "dipole": "fit", "noise_rms": np.full(NPIX, 12.0)},
        {"method": "vae"},
        {"method": "diffuse", "polish": 2},
        {"method": "vae", "prior": None},
    ],
)
def test_another_map_of_the_mask_is_filled_as_if_it_were_the_first(values, observed, options):
    first = inpainter(values, observed, **options)
    first.mean()
    other = draw(KNOWN, seed=12, threads=1)
    shared, new = first.with_map(other, seed=4), inpainter(other, observed, seed=4, **options)
    np.testing.assert_array_equal(shared.mean(), new.mean())
    if shared.stochastic:
        np.testing.assert_array_equal(shared.realization(3), new.realization(3))
    again = first.with_map(values)
    np.testing.assert_array_equal(again.mean(), first.mean())


def test_another_map_may_miss_other_pixels(values, observed):
    first = inpainter(values, observed, method="gaussian")
    other = values.copy()
    other[np.flatnonzero(observed)[7]] = np.nan
    with pytest.warns(UserWarning, match="1 pixels"):
        shared, new = first.with_map(other), inpainter(other, observed, method="gaussian")
    np.testing.assert_array_equal(shared.holes, ~observed | np.isnan(other))
    np.testing.assert_array_equal(shared.mean(), new.mean())
    with pytest.raises(ValueError, match="the map has Nside 8"):
        first.with_map(values[:768])


def test_tiles_and_their_coarse_level_serve_many_maps():
    prior = Prior(64, lcdm(), fwhm=math.radians(2.5), noise_uk_arcmin=100.0)
    observed = simulate_mask(64, seed=1, half_width=0.12, n_holes=10, radii=(0.03, 0.05))
    config = MosaicConfig(side=48, guard=8, margin=12, small=10.0, whole_nside=32)
    options = {"prior": prior, "threads": 1, "config": config}
    one, two = (draw(prior, seed=seed, threads=1) for seed in (1, 2))
    first = Inpainter(one, observed, **options)
    first.realization(0)
    shared, new = first.with_map(two, seed=9), Inpainter(two, observed, seed=9, **options)
    np.testing.assert_array_equal(shared.realization(0), new.realization(0))


def test_no_transform_takes_more_threads_than_asked_for(monkeypatch):
    """The last bits of a transform on several threads vary, so courses recorded there would."""
    prior = Prior(64, lcdm(), fwhm=math.radians(2.5), noise_uk_arcmin=100.0)
    observed = simulate_mask(64, seed=1, half_width=0.12, n_holes=10, radii=(0.03, 0.05))
    config = MosaicConfig(side=48, guard=8, margin=12, small=10.0, whole_nside=32)
    given = draw(prior, seed=1, threads=1)
    taken, own = set(), ducc0.sht.alm2leg

    def counted(**words):
        taken.add(words["nthreads"])
        return own(**words)

    monkeypatch.setattr(ducc0.sht, "alm2leg", counted)
    Inpainter(given, observed, prior=prior, threads=1, config=config).realization(0)
    assert taken == {1}
