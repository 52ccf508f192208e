"""The spectra of T, E and B: of whole skies, and behind masks of T and of P."""

import math
from dataclasses import replace

import healpy as hp
import numpy as np
import pytest
from scipy import stats
from skyfill.simulate import simulate_stokes

from skyfill.prior import LCDM, PolarizedPrior, Prior, draw_polarization, lcdm
from skyfill.spectra import compare_stokes, whole_spectra
from skyfill.spectra.stokes import SPECTRA, StokesExpectation
from skyfill.spectra.stokescut import CutStokes

EDGES = np.array([2, 5, 9, 14, 19, 25])


def prior_of(nside, noise=10.0, noise_pol=3.0):
    """A prior that has little power beyond 1.5 Nside."""
    t = Prior(nside, lcdm(), math.radians(160 / nside), noise, theory=LCDM)
    return PolarizedPrior.of(t, noise_pol)


def masks_of(nside):
    """Bands of unlike width and shape, of T and of P."""
    theta, phi = hp.pix2ang(nside, np.arange(12 * nside**2))
    away = np.abs(theta - math.pi / 2)
    return away > 0.2, np.abs(theta - math.pi / 2 + 0.1 * np.sin(phi)) > 0.3


def units(lmax, rng, count=3):
    """Random alm of unit power."""
    size = (lmax + 1) * (lmax + 2) // 2
    alm = rng.standard_normal((count, size, 2)).view(complex)[..., 0] / math.sqrt(2)
    alm[:, : lmax + 1] = math.sqrt(2) * alm[:, : lmax + 1].real
    return alm


@pytest.mark.parametrize("nside", [32, 64])
def test_whole_spectra_are_healpys_in_its_order(nside):
    sky = simulate_stokes(prior_of(nside), seed=1)
    ours = whole_spectra(sky)
    assert tuple(ours) == SPECTRA == ("TT", "EE", "BB", "TE", "EB", "TB")
    theirs = hp.anafast(sky, lmax=3 * nside // 2, iter=3)
    power = dict(zip(SPECTRA, theirs, strict=True))
    for name, cl in ours.items():
        first, second = (power[letter * 2] for letter in name)
        away = np.abs(cl - power[name])[2:] / np.sqrt(first * second)[2:]
        # Three iterations of equal weights leave E in B, most of it at ell = 2.
        assert away.max() < (1e-2 if "B" in name else 2e-3), name


def test_a_sky_of_e_modes_alone_has_no_b():
    """Healpy's three iterations leave less than the noise of experiments, equal weights do not."""
    nside, lmax = 32, 48
    prior = prior_of(nside, 0.0, 0.0)
    alone = replace(prior, bb=np.zeros_like(prior.bb))
    sky, _ = draw_polarization(alone, seed=3, lmax=lmax)
    found = whole_spectra(sky)
    amplitude = np.sqrt(found["BB"][2:] / found["EE"][2:])
    assert tuple(found) == ("EE", "BB", "EB")
    assert amplitude.max() <= 1e-7
    equal = hp.anafast([np.zeros_like(sky[0]), *sky], lmax=lmax, iter=0)
    assert np.sqrt(equal[2][2:] / equal[1][2:]).max() > 1e-4


def test_the_sign_of_te_is_healpys():
    """Power of the sky of one random alm: TE of healpy's own synthesis, sign and all."""
    t, e, b = units(24, np.random.default_rng(1)) * (hp.Alm.getlm(24)[0] > 1)
    alm = np.array([t, 0.9 * t + 0.4 * e, b])
    found = whole_spectra(hp.alm2map(alm, 16, pixwin=False))
    tt, ee, bb, te, eb, tb = hp.alm2cl(alm)
    for name, cl in zip(SPECTRA, (tt, ee, bb, te, eb, tb), strict=True):
        np.testing.assert_allclose(found[name][2:], cl[2:25], atol=2e-7, rtol=1e-6)
    assert found["TE"][2:].min() > 0.3


def test_without_holes_the_cut_sky_is_the_whole_sky():
    prior = prior_of(16)
    sky = simulate_stokes(prior, seed=2)
    ones = np.ones(sky.shape[1])
    found = compare_stokes(sky, prior, observed=ones, bins=EDGES)
    for name, full in found.full.items():
        cut = found.cut[name]
        assert np.all(np.abs(cut.theory - full.theory) < 0.1 * full.sigma), name
        np.testing.assert_allclose(cut.sigma, full.sigma, rtol=0.05)
        # Sums without weights leave some E in B.
        assert np.all(np.abs(cut.cl - full.cl) < 0.3 * full.sigma), name


def ensemble_of(nside, edges, skies, cl=None, first=0, **noise):
    """Measure skies behind masks; with a matrix of spectra, skies that have TB and EB as well."""
    prior = prior_of(nside, **noise)
    expected = StokesExpectation.of(prior, int(edges[-1]) - 1, 3)
    if cl is not None:
        expected = replace(expected, signal_cl=cl(expected.signal_cl))
    cut = CutStokes([each.astype(float) for each in masks_of(nside)], expected, edges)
    root = np.linalg.cholesky(np.moveaxis(expected.signal_cl[:, :, 2:], 2, 0) + 1e-30 * np.eye(3))
    rms = np.sqrt(expected.white_cl * 12 * nside**2 / (4 * math.pi))[:, None]
    rng = np.random.default_rng(first)
    lmax = expected.signal_cl.shape[2] - 1
    ell = hp.Alm.getlm(lmax)[0]
    found = []
    for _ in range(skies):
        unit = units(lmax, rng)
        at = np.maximum(ell - 2, 0)
        alm = np.einsum("nij,jn->in", root[at], unit) * (ell > 1)
        sky = hp.alm2map(alm, nside, lmax=lmax, pixwin=False) + rms * rng.standard_normal(
            (3, 12 * nside**2)
        )
        found.append(cut.powers(sky))
    return np.array(found), cut.band_powers(found)


def parity(cl):
    """Add TB and EB, and enough BB to see them."""
    out = cl.copy()
    out[2, 2] = cl[1, 1] / 4
    out[0, 2] = out[2, 0] = 0.4 * np.sqrt(cl[0, 0] * out[2, 2])
    out[1, 2] = out[2, 1] = 0.3 * np.sqrt(cl[1, 1] * out[2, 2])
    return out


@pytest.mark.parametrize("more", [None, parity], ids=["TB = EB = 0", "TB and EB"])
def test_masks_of_t_and_p_are_undone_without_bias(more):
    found, bands = ensemble_of(16, EDGES, 60, more, first=5)
    away = []
    for number, band in enumerate(bands.values()):
        error = found[:, number].std(axis=0, ddof=1) / math.sqrt(len(found))
        away.append((found[:, number].mean(axis=0) - band.theory) / error)
    assert np.abs(away).max() < 4
    assert 0.5 < np.mean(np.square(away)) < 1.7
    if more:
        for name in ("TB", "EB"):
            assert np.mean(bands[name].theory / bands[name].sigma) * math.sqrt(60) > 3


@pytest.mark.slow
@pytest.mark.parametrize("more", [None, parity], ids=["TB = EB = 0", "TB and EB"])
def test_it_is_unbiased_and_its_errors_are_the_scatter_of_skies_at_nside_32(more):
    edges = np.array([2, 4, 7, 11, 16, 22, 29, 37, 49])
    found, bands = ensemble_of(32, edges, 300, more, first=7)
    away, ratio = [], []
    for number, band in enumerate(bands.values()):
        scatter = found[:, number].std(axis=0, ddof=1)
        away.append((found[:, number].mean(axis=0) - band.theory) / scatter * math.sqrt(300))
        ratio.append(scatter / band.sigma)
    assert np.abs(away).max() < 4
    assert 0.6 < np.mean(np.square(away)) < 1.5
    assert 0.75 < np.min(ratio) < np.max(ratio) < 1.3
    assert np.mean(ratio) == pytest.approx(1, abs=0.04)


def test_chi2_of_deep_maps_is_that_of_its_bins():
    """Without noise E leaks far, so that the bins are correlated unlike those of a white sky."""
    found, bands = ensemble_of(16, EDGES, 200, first=3, noise_pol=0.01)
    for name in ("EE", "BB", "EB"):
        off = found[:, list(bands).index(name)] - bands[name].theory
        chi2 = np.einsum("ki,ki->k", off, np.linalg.solve(bands[name].covariance, off.T).T)
        assert np.mean(chi2) == pytest.approx(EDGES.size - 1, rel=0.25), name
        assert np.mean(chi2 > stats.chi2.isf(1e-3, EDGES.size - 1)) < 0.03, name


def test_errors_of_bb_on_large_scales_are_the_leakage_of_e():
    """They shrink with E, and hardly with B."""
    prior = prior_of(16, 0.0, 0.01)
    window = [each.astype(float) for each in masks_of(16)]

    def sigma(changed):
        cut = CutStokes(window, StokesExpectation.of(changed, 24, 3), EDGES)
        return np.sqrt(np.diagonal(cut._errors["BB"][0]))

    usual = sigma(prior)
    less_e = sigma(replace(prior, ee=prior.ee / 100, te=prior.te / 10))
    less_b = sigma(replace(prior, bb=prior.bb / 100))
    assert np.all(less_e < 0.1 * usual)
    assert np.all(less_b[:3] > 0.9 * usual[:3])


def test_a_monopole_and_a_dipole_of_t_and_masked_pixels_do_not_matter():
    prior = prior_of(16)
    sky = simulate_stokes(prior, seed=8)
    seen_t, seen_p = masks_of(16)
    changed = sky.copy()
    changed[0] += 3000 + 500 * hp.pix2vec(16, np.arange(3072))[0]
    for mask, rows in ((seen_t, [0]), (seen_p, [1, 2])):
        changed[np.ix_(rows, np.flatnonzero(~mask))] = 7.0
    windows = [seen_t.astype(float), seen_p.astype(float)]
    cut = CutStokes(windows, StokesExpectation.of(prior, 24, 3), EDGES)
    found = cut.powers(sky)
    np.testing.assert_allclose(cut.powers(changed), found, atol=1e-7 * np.abs(found).max())
    np.testing.assert_allclose(cut.powers(changed)[1:3], found[1:3], rtol=1e-9)


def test_q_and_u_alone_have_the_spectra_that_they_have_with_t():
    prior = prior_of(16)
    sky = simulate_stokes(prior, seed=9)
    seen = masks_of(16)[1].astype(float)
    joint, alone = (
        CutStokes([seen], StokesExpectation.of(prior, 24, k), EDGES).powers(sky[-k:])
        for k in (3, 2)
    )
    np.testing.assert_allclose(alone, joint[[1, 2, 4]], rtol=1e-9, atol=1e-12)
    found = compare_stokes(sky[1:], prior, bins=EDGES)
    assert found.names == ("EE", "BB", "EB")
    assert found.cut is None


def test_dl_is_the_skys():
    """Beam and noise are taken out: dl scatters about the theory before them."""
    prior = prior_of(16)
    skies = np.array([simulate_stokes(prior, seed=20 + seed) for seed in range(8)])
    found = compare_stokes(skies, prior, bins=EDGES, observed=masks_of(16)[1])
    for bands in (found.full, found.cut):
        for name in ("TT", "EE", "TE"):
            band = bands[name]
            np.testing.assert_allclose(
                band.dl - band.dl_theory, (band.cl - band.theory) * band.dl_per_cl
            )
            assert np.all(np.abs(band.dl - band.dl_theory) < 5 * band.dl_sigma / math.sqrt(8))
            cl = {"TT": lcdm(24), "EE": lcdm(24, "EE"), "TE": lcdm(24, "TE")}[name]
            ell = np.arange(25)
            dl = ell * (ell + 1) * cl / (2 * math.pi)
            modes = (2 * ell + 1)[EDGES[0] : EDGES[1]]
            first = np.average(dl[EDGES[0] : EDGES[1]], weights=modes)
            assert bands[name].dl_theory[0] == pytest.approx(first, rel=0.03)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"values": np.zeros(3072)}, "T, Q and U"),
        ({"values": np.full((3, 3072), np.nan)}, "pixels are missing"),
        ({"lmax": 48}, "must be from 2 to 3 Nside - 1 = 47"),
        ({"observed": None}, "give `observed` as well"),
        ({"observed_pol": np.arange(3072) < 20}, "too little for bins"),
        ({"observed": np.ones(768)}, "Nside 8"),
        ({"bb_share": [0.5]}, "for each of 5 bins"),
        ({"theory": prior_of(32)}, "the prior has Nside 32"),
        ({"theory": replace(prior_of(16), te=lcdm(20, "TE"))}, "the theory ends at ell = 20"),
    ],
)
def test_what_does_not_fit_is_refused(change, words):
    seen_t, seen_p = masks_of(16)
    given = {"values": np.ones((3, 3072)), "theory": prior_of(16), "bins": EDGES}
    given |= {"observed": seen_t, "observed_pol": seen_p} | change
    with pytest.raises(ValueError, match=words):
        compare_stokes(given.pop("values"), given.pop("theory"), **given)
