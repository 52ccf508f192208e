"""Overlapping segments of wide holes."""

import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import solve

from skyfill.gaussian import Solver, jointsolver, segments, solver
from skyfill.gaussian.blocks import affordable
from skyfill.gaussian.jointsolver import JointSolver
from skyfill.gaussian.segments import Segments, affordable_segments, guessed, segments_of
from skyfill.harmonics import Covariance, pixel_weights
from skyfill.prior import ARCMIN, PolarizedPrior, Prior, draw, draw_polarization, lcdm
from skyfill.prior.simulate import simulate_mask

NSIDE = 32
#: A smooth sky with little noise, on which bands take hundreds of iterations.
DEEP = Prior(NSIDE, lcdm(), fwhm=500 * ARCMIN, noise_uk_arcmin=40.0)
#: The same with as few pixels as a dense solve takes.
SMALL = Prior(16, lcdm(), fwhm=1000 * ARCMIN, noise_uk_arcmin=80.0)
SMALL_BAND = np.abs(np.pi / 2 - hp.pix2ang(16, np.arange(3072))[0]) > 0.4
BAND = np.abs(np.pi / 2 - hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2))[0]) > 0.2


@pytest.fixture
def small_only(monkeypatch):
    """Let no hole of more than a hundred pixels have a block, so that the band is wide."""
    for one in (solver, jointsolver):
        monkeypatch.setattr(one, "affordable", lambda sizes, **_: sizes < 100)


@settings(max_examples=20, deadline=None)
@given(
    nside=st.sampled_from([16, 32, 64]),
    lmax=st.integers(16, 192),
    width=st.floats(0.02, 1.5),
    seed=st.integers(0, 100),
)
def test_each_pixel_shares_a_segment_with_all_that_are_near(nside, lmax, width, seed):
    npix = 12 * nside**2
    theta, _ = hp.pix2ang(nside, np.arange(npix))
    rng = np.random.default_rng(seed)
    pixels = np.flatnonzero((np.abs(theta - np.pi / 2) < width) & (rng.random(npix) < 0.7))
    found = segments_of(nside, pixels, lmax)
    assert all(np.array_equal(each, np.unique(each)) for each in found)
    together = np.zeros(pixels.size, bool)
    one = int(rng.integers(pixels.size))
    for each in found:
        if one in each:
            together[each] = True
    away = np.transpose(hp.pix2vec(nside, pixels)) @ hp.pix2vec(nside, pixels[one])
    near = np.arccos(np.clip(away, -1, 1)) < 1.5 * 2 * np.pi / (lmax + 1) - 1e-6
    assert together[near].all()
    assert np.array_equal(np.unique(np.concatenate(found)), np.arange(pixels.size))


def covariance_of(pixels, lmax=48):
    cl = DEEP.signal_cl()[: lmax + 1].copy()
    cl[:2] = cl[2]
    noise = DEEP.white_cl * 12 * NSIDE**2 / (4 * np.pi)
    return Covariance(pixel_weights(NSIDE), cl, noise, pixels=pixels)


def test_one_segment_is_the_inverse_and_more_are_symmetric_and_positive():
    pixels = np.flatnonzero(~BAND)
    covariance = covariance_of(pixels)
    rng = np.random.default_rng(1)
    one, other = rng.standard_normal((2, pixels.size))
    whole = Segments(covariance, NSIDE, pixels, [np.arange(pixels.size)])
    found = whole.apply(covariance.inverse(one))
    assert np.std(found - one) < 0.01  # factors are in float32, and this sky has little noise
    few = segments_of(NSIDE, pixels, 48)
    assert len(few) > 10
    assert sum(each.size for each in few) > 1.5 * pixels.size
    parts = Segments(covariance, NSIDE, pixels, few)
    assert one @ parts.apply(other) == pytest.approx(other @ parts.apply(one), rel=1e-4)
    assert one @ parts.apply(one) > 0


@pytest.mark.usefixtures("small_only")
def test_a_deep_map_is_solved_in_segments_and_its_mean_is_that_of_a_dense_solve():
    prior, observed = SMALL, SMALL_BAND
    solver = Solver.for_prior(observed, prior, marginal=False, threads=1)
    assert isinstance(solver._of_wide, Segments)
    sky = draw(prior, seed=3, aliased=True)
    found = solver.mean(sky, tolerance=1e-4)
    assert found.certificate.converged
    assert found.certificate.iterations < 100
    directions = np.transpose(hp.pix2vec(16, np.arange(3072)))
    cl = prior.signal_cl()
    terms = (2 * np.arange(cl.size) + 1) / (4 * np.pi) * cl
    cosine = np.clip(directions @ directions.T, -1, 1)
    covariance = np.polynomial.legendre.legval(cosine, terms)
    noise = max(prior.white_cl * 3072 / (4 * np.pi), 1e-4 * float(terms.sum()))
    covariance += noise * np.eye(3072)
    known = solve(covariance[np.ix_(observed, observed)], sky[observed], assume_a="pos")
    truth = covariance[np.ix_(~observed, observed)] @ known
    assert np.sqrt(np.mean((found.fill - truth) ** 2)) < 3e-4 * solver.rms


@pytest.mark.usefixtures("small_only")
def test_segments_take_far_fewer_iterations_than_bands(monkeypatch):
    sky = draw(DEEP, seed=5)
    divided = Solver.for_prior(BAND, DEEP, threads=1)
    monkeypatch.setattr(solver, "are_slow", lambda *_: False)
    bands = Solver.for_prior(BAND, DEEP, threads=1)
    assert isinstance(divided._of_wide, Segments)
    assert not isinstance(bands._of_wide, Segments)
    few, many = (one.mean(sky, tolerance=1e-4) for one in (divided, bands))
    assert few.certificate.iterations < many.certificate.iterations / 4
    assert np.std(few.fill - many.fill) < 1e-3 * divided.rms


@pytest.mark.usefixtures("small_only")
def test_a_noisy_map_is_solved_with_bands():
    noisy = Prior(NSIDE, lcdm(), fwhm=500 * ARCMIN, noise_uk_arcmin=2000.0)
    assert not isinstance(Solver.for_prior(BAND, noisy, threads=1)._of_wide, Segments)


@pytest.mark.usefixtures("small_only")
def test_segments_are_the_same_on_a_device(device):
    observed = BAND & simulate_mask(NSIDE, kind="holes", seed=3, n_holes=9, radii=(0.06, 0.1))
    here, there = (Solver.for_prior(observed, DEEP, device=one) for one in (None, device))
    assert isinstance(there._of_wide, Segments)
    assert 0 < there.small.size < there.holes.size
    sky = draw(DEEP, seed=5)
    known, found = here.mean(sky), there.mean(sky)
    assert found.certificate.iterations == known.certificate.iterations
    assert np.abs(found.fill - known.fill).max() < 1e-5 * np.std(known.fill)


def joint_problem():
    """A deep sky of T, Q and U: spectra, noise and maps."""
    prior = PolarizedPrior(SMALL, *(lcdm(None, name) for name in ("EE", "BB", "TE")), 160.0)
    sky, _ = draw_polarization(prior, seed=5, threads=1)
    words = {"signal_cl": prior.signal_cl(), "noise_cl": prior.white_cl}
    return words, [draw(SMALL, seed=5, threads=1), sky]


@pytest.mark.usefixtures("small_only")
def test_a_deep_t_is_solved_in_segments_with_q_and_u(monkeypatch):
    words, values = joint_problem()
    divided = JointSolver([SMALL_BAND, SMALL_BAND], **words, threads=1)
    monkeypatch.setattr(jointsolver, "are_slow", lambda *_: False)
    bands = JointSolver([SMALL_BAND, SMALL_BAND], **words, threads=1)
    few, many = (one.mean(values, tolerance=3e-4) for one in (divided, bands))
    assert few.converged
    taken = [each.certificates["T"].iterations for each in (few, many)]
    assert taken[0] < taken[1] / 2
    for one, other, rms in zip(few.fills, many.fills, divided.rms, strict=True):
        assert np.std(one - other) < 1e-3 * rms


@pytest.mark.usefixtures("small_only")
def test_they_are_the_same_on_a_device(device):
    """To a third of the tolerance in the deepest sky, where factors in float32 tell."""
    words, values = joint_problem()
    here, there = (
        JointSolver([SMALL_BAND, SMALL_BAND], **words, device=one) for one in (None, device)
    )
    known, found = (one.mean(values) for one in (here, there))
    for one, other, rms in zip(known.fills, found.fills, here.rms, strict=True):
        assert np.std(one - other) < 1e-3 * rms


def test_segments_that_take_too_much_are_not_made(monkeypatch):
    """Those of half a sky of Nside 2048 are not even looked for."""
    pixels = np.flatnonzero(~BAND)
    found, sizes = affordable_segments(NSIDE, pixels, 48)
    assert sizes.tolist() == [each.size for each in found]
    assert found
    monkeypatch.setattr(
        segments, "affordable", lambda sizes, **more: affordable(sizes, memory=1e6, **more)
    )
    found, sizes = affordable_segments(NSIDE, pixels, 48)
    assert not found
    assert not sizes.size
    monkeypatch.undo()
    assert guessed(256, 200_000, 400).size
    assert not guessed(2048, 6 * 2048**2, 3000).size
    assert not guessed(256, 0, 400).size


def test_their_sizes_are_guessed():
    for half, lmax in ((0.1, 170), (0.2, 200), (0.3, 256)):
        theta, _ = hp.pix2ang(128, np.arange(12 * 128**2))
        pixels = np.flatnonzero(np.abs(theta - np.pi / 2) < half)
        guess = guessed(128, pixels.size, lmax)
        true = np.array([each.size for each in segments_of(128, pixels, lmax)])
        assert 0.6 < guess @ guess / (true @ true) < 1.6
