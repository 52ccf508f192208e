"""The posterior mean of a whole sphere against a dense solve."""

import math

import healpy as hp
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.polynomial.legendre import legval
from scipy.linalg import solve

from skyfill import harmonics
from skyfill.gaussian import Solver, freed, loops
from skyfill.gaussian.blocks import affordable
from skyfill.gaussian.pinned import Pinned, unpinned
from skyfill.harmonics import Covariance
from skyfill.prior import Prior, draw, lcdm
from skyfill.prior.simulate import simulate_mask
from skyfill.tapers import bands_of

NSIDE = 16
UNSHRUNK = (Phase.explicit, Phase.generate)  # dense solves take a second each
NPIX = 12 * NSIDE**2
KNOWN = Prior(NSIDE, lcdm(), fwhm=math.radians(8), noise_uk_arcmin=2000.0)


def covariance_of(prior, variance=None):
    """Covariance of signal and noise between any two pixels, µK²."""
    npix = 12 * prior.nside**2
    directions = np.transpose(hp.pix2vec(prior.nside, np.arange(npix)))
    cosine = np.clip(directions @ directions.T, -1, 1)
    cl = prior.signal_cl()
    terms = (2 * np.arange(cl.size) + 1) / (4 * np.pi) * cl
    signal = np.concatenate([legval(rows, terms) for rows in np.array_split(cosine, npix // 8)])
    noise = prior.white_cl * npix / (4 * np.pi) if variance is None else variance
    return signal + np.diag(np.broadcast_to(noise, npix))


def dense_mean(covariance, values, observed):
    weights = solve(covariance[np.ix_(observed, observed)], values[observed], assume_a="pos")
    return covariance[np.ix_(~observed, observed)] @ weights


def solver_of(observed, prior=KNOWN, **options):
    given_ = {"signal_cl": prior.signal_cl(), "noise_cl": prior.white_cl, "threads": 1}
    return Solver(observed, **given_ | options)


@pytest.fixture(scope="module")
def covariance():
    return covariance_of(KNOWN)


@pytest.fixture(scope="module")
def band():
    theta, _ = hp.pix2ang(NSIDE, np.arange(NPIX))
    return np.abs(theta - np.pi / 2) > 0.3


@st.composite
def masks(draw_one, nside=NSIDE):
    """Draw masks from one pixel to all but one: bands, discs, speckles, poles."""
    npix = 12 * nside**2
    rng = np.random.default_rng(draw_one(st.integers(0, 2**32)))
    kind = draw_one(st.sampled_from(["band", "discs", "speckle", "patch", "poles", "one", "none"]))
    theta, _ = hp.pix2ang(nside, np.arange(npix))
    if kind == "band":
        return np.abs(theta - np.pi / 2) > rng.uniform(0.05, 0.9)
    if kind == "speckle":
        return rng.random(npix) < rng.uniform(0.02, 0.98)
    if kind == "poles":
        return np.abs(theta - np.pi / 2) < rng.uniform(0.3, 1.4)
    if kind in ("one", "none"):
        return (np.arange(npix) == rng.integers(npix)) == (kind == "none")
    observed = np.ones(npix, dtype=bool)
    for centre in rng.integers(0, npix, 1 if kind == "patch" else 9):
        radius = rng.uniform(1, 2.5) if kind == "patch" else rng.uniform(0.05, 0.4)
        observed[hp.query_disc(nside, hp.pix2vec(nside, centre), radius)] = False
    return observed


@st.composite
def priors(draw_one, nside=NSIDE):
    """Draw beams from none to 20 pixels, noise from none to more than the signal."""
    pixel = math.sqrt(4 * np.pi / 12) / nside
    fwhm = pixel * draw_one(st.sampled_from([0.0, 0.5, 1.5, 3.0, 8.0, 20.0]))
    noise = draw_one(st.sampled_from([0.0, 30.0, 1000.0, 2e4])) * 16 / nside
    return Prior(nside, lcdm(), fwhm=fwhm, noise_uk_arcmin=noise)


def check_against_dense(prior, observed, seed):
    values = draw(prior, seed=seed, aliased=True, threads=1)
    # Without noise, a floor of 1e-4 of the variance is added: the dense solve has it, too.
    cl = prior.signal_cl()
    signal = float((2 * np.arange(cl.size) + 1) @ cl) / (4 * np.pi)
    noise = max(prior.white_cl * values.size / (4 * np.pi), 1e-4 * signal)
    expected = dense_mean(covariance_of(prior, noise), values, observed)
    values[~observed] = np.nan
    solver = solver_of(observed, prior)
    found = solver.mean(values, tolerance=1e-4, max_iterations=2000)
    distance = math.sqrt(np.mean((found.fill - expected) ** 2))
    # Wide holes in a sky that is smooth and nearly free of noise may not converge, and say so.
    hard = prior.noise_uk_arcmin < 100 and prior.fwhm > 0.15 and observed.mean() < 0.9
    assert found.certificate.converged or hard
    if found.certificate.converged:
        assert distance < 1e-3 * solver.rms, str(found.certificate)


@settings(max_examples=6, phases=UNSHRUNK)
@given(prior=priors(), observed=masks(), seed=st.integers(0, 1000))
def test_mean_is_that_of_a_dense_solve(prior, observed, seed):
    check_against_dense(prior, observed, seed)


@pytest.mark.slow
@settings(max_examples=12, phases=UNSHRUNK)
@given(prior=priors(32), observed=masks(32), seed=st.integers(0, 1000))
def test_mean_is_that_of_a_dense_solve_at_32(prior, observed, seed):
    check_against_dense(prior, observed, seed)


@settings(max_examples=3)
@given(seed=st.integers(0, 1000), contrast=st.sampled_from([2.0, 10.0, 100.0]))
def test_noise_may_differ_from_pixel_to_pixel(covariance, band, seed, contrast):
    rng = np.random.default_rng(seed)
    theta, phi = hp.pix2ang(NSIDE, np.arange(NPIX))
    scan = contrast ** (0.5 + 0.5 * np.sin(2 * theta) * np.cos(phi))
    white = KNOWN.noise_cl * NPIX / (4 * np.pi)
    variance = white * scan
    values = draw(Prior(NSIDE, lcdm(), fwhm=KNOWN.fwhm), seed=seed, threads=1)
    values += np.sqrt(variance) * rng.standard_normal(NPIX)
    aliased = KNOWN.white_cl * NPIX / (4 * np.pi) - white
    expected = dense_mean(covariance + np.diag(variance - white - aliased), values, band)
    variance[~band] = np.nan  # not read
    solver = solver_of(band, noise_variance=variance)
    found = solver.mean(values, tolerance=1e-4, max_iterations=20_000)
    assert found.certificate.converged
    assert np.sqrt(np.mean((found.fill - expected) ** 2)) < 1e-3 * solver.rms


@pytest.mark.parametrize("bad", [np.nan, -1.0, np.inf])
def test_noise_must_be_a_variance(band, bad):
    with pytest.raises(ValueError, match="noise variance must be finite"):
        solver_of(band, noise_variance=np.full(NPIX, bad))


def test_the_distance_is_told_honestly(covariance, band):
    """Estimated and true distance to the exact mean, over many skies and two tolerances."""
    solver = solver_of(band)
    ratios = []
    skies = [draw(KNOWN, seed=seed, threads=1) for seed in range(12)]
    exact = dense_mean(covariance, np.transpose(skies), band)
    for values, expected in zip(skies, exact.T, strict=True):
        for tolerance in (0.02, 0.005):
            found = solver.mean(values, tolerance=tolerance)
            true = np.sqrt(np.mean((found.fill - expected) ** 2))
            assert found.certificate.distance <= tolerance * solver.rms
            assert true < 2 * tolerance * solver.rms
            ratios.append(true / found.certificate.distance)
    assert 0.05 < np.median(ratios) < 2


def test_more_exact_takes_more_steps_and_comes_nearer(covariance, band):
    values = draw(KNOWN, seed=3, threads=1)
    expected = dense_mean(covariance, values, band)
    last_error, last_steps = np.inf, 0
    for tolerance in (0.3, 1e-3, 1e-5):
        found = solver_of(band).mean(values, tolerance=tolerance)
        error = np.std(found.fill - expected)
        assert found.certificate.iterations > last_steps
        assert error < last_error
        last_error, last_steps = error, found.certificate.iterations
    assert last_error < 1e-4 * values.std()


def test_it_stops_where_it_is_told_and_says_so(band):
    values = draw(KNOWN, seed=3, threads=1)
    stopped = solver_of(band).mean(values, tolerance=1e-6, max_iterations=5)
    assert stopped.certificate.iterations == 5
    assert not stopped.certificate.converged
    assert str(stopped.certificate).endswith("NOT CONVERGED")


def test_polishing_takes_that_many_steps_from_a_start(covariance, band):
    values = draw(KNOWN, seed=5, threads=1)
    expected = dense_mean(covariance, values, band)
    start = expected + 20 * np.random.default_rng(1).standard_normal(expected.size)
    before = np.std(start - expected)
    for steps in (0, 5, 25):
        filled = values.copy()
        filled[~band] = start
        found = solver_of(band).improve(filled, iterations=steps)
        after = np.std(found - expected)
        if steps == 0:
            np.testing.assert_array_equal(found, start)
        else:
            assert after < 1.01 * before  # the last correction leaves its share
            assert after < 1e-3 * 20
            before = after
    exact = solver_of(band).mean(values, start=expected, tolerance=1e-5)
    assert np.std(exact.fill - expected) < 1e-4 * values.std()


def test_the_mean_is_linear(band):
    solver = solver_of(band)
    first, second = (draw(KNOWN, seed=seed, threads=1) for seed in (1, 2))
    together = solver.mean(first + second, tolerance=1e-5).fill
    apart = solver.mean(first, tolerance=1e-5).fill + solver.mean(second, tolerance=1e-5).fill
    assert np.std(together - apart) < 1e-4 * np.std(together)


def test_whitened_is_the_signals_alm(band):
    """S times it is the mean everywhere: near the data where the noise is small."""
    values = draw(KNOWN, seed=2, threads=1)
    found = solver_of(band).mean(values, tolerance=1e-5, whitened=True)
    sky = harmonics.synthesis(harmonics.almxfl(found.whitened, KNOWN.signal_cl()), NSIDE)
    np.testing.assert_allclose(sky[~band], found.fill, atol=1e-3 * values.std())
    noise = math.sqrt(KNOWN.noise_cl * NPIX / (4 * np.pi))
    assert np.std((sky - values)[band]) < 1.1 * noise


@pytest.mark.parametrize("tolerance", [0.3, 0.1, 0.03])
def test_whitened_is_as_near_as_the_fill(band, tolerance):
    """A free monopole magnifies the errors of y, which must not show in S Yᵀ y."""
    cl = freed(KNOWN.signal_cl())
    values = draw(KNOWN, seed=2, threads=1) + 50.0
    solver = solver_of(band, signal_cl=cl)
    rough, fine = (solver.mean(values, tolerance=x, whitened=True) for x in (tolerance, 1e-6))
    away = harmonics.synthesis(harmonics.almxfl(rough.whitened - fine.whitened, cl), NSIDE)
    assert np.std(rough.fill - fine.fill) < tolerance * solver.rms
    assert math.sqrt(np.mean(away**2)) < tolerance * solver.rms


def test_whitened_of_a_whole_sky():
    """Without holes it is that of the map, too."""
    values = draw(KNOWN, seed=2, threads=1)
    found = solver_of(np.ones(NPIX, bool)).mean(values, whitened=True)
    sky = harmonics.synthesis(harmonics.almxfl(found.whitened, KNOWN.signal_cl()), NSIDE)
    noise = math.sqrt(KNOWN.noise_cl * NPIX / (4 * np.pi))
    assert np.std(sky - values) < noise


def test_progress_is_told_of_every_step(band):
    class Steps:
        taken = 0

        def stage(self, name, total=None):
            raise AssertionError

        def advance(self, n=1):
            self.taken += n

        def done(self, note=""):
            raise AssertionError

    steps = Steps()
    found = solver_of(band).mean(draw(KNOWN, seed=4, threads=1), progress=steps)
    assert steps.taken == found.certificate.iterations > 0


def test_a_sky_of_zeros_stays_one(band):
    found = solver_of(band).mean(np.zeros(NPIX))
    assert not found.fill.any()
    assert found.certificate.iterations == 0
    assert found.certificate.converged


def test_without_holes_there_is_nothing_to_do():
    found = solver_of(np.ones(NPIX, dtype=bool)).mean(np.ones(NPIX))
    assert found.fill.size == 0


def test_nothing_observed_is_refused():
    with pytest.raises(ValueError, match="no pixel is observed"):
        solver_of(np.zeros(NPIX, dtype=bool))
    with pytest.raises(ValueError, match="observed: a full sky"):
        solver_of(np.ones(100, dtype=bool))


def test_the_variance_in_small_holes_is_the_posteriors():
    """Against a dense posterior; holes that lie apart hardly see each other."""
    prior = Prior(NSIDE, lcdm(), fwhm=math.radians(12), noise_uk_arcmin=4000.0)
    covariance = covariance_of(prior)
    observed = np.ones(NPIX, dtype=bool)
    for lon, lat in ((10, 5), (100, 60), (220, -40)):
        vector = hp.ang2vec(lon, lat, lonlat=True)
        observed[hp.query_disc(NSIDE, vector, math.radians(9))] = False
    holes = np.flatnonzero(~observed)
    posterior = 1 / np.linalg.inv(covariance).diagonal()[holes]  # given all others: too small
    precision = np.linalg.inv(covariance)[np.ix_(holes, holes)]
    expected = np.linalg.inv(precision).diagonal()
    found = solver_of(observed, prior).variance()
    assert np.all(np.isnan(solver_of(observed, KNOWN).variance()))  # not resolved
    np.testing.assert_allclose(found, expected, rtol=0.02)
    assert np.all(found > posterior)


def test_wide_holes_have_no_blocks(band, monkeypatch):
    from skyfill.gaussian import solver

    monkeypatch.setattr(solver, "affordable", lambda sizes, **_: np.zeros(sizes.size, dtype=bool))
    assert np.all(np.isnan(solver_of(band).variance()))


def test_blocks_and_bands_solve_the_same(covariance, monkeypatch):
    """Holes of all sizes, once all in blocks, once all in bands, once divided."""
    from skyfill.gaussian import solver

    rng = np.random.default_rng(6)
    observed = np.ones(NPIX, dtype=bool)
    for radius in (0.05, 0.1, 0.15, 0.2, 0.35, 0.5):
        observed[hp.query_disc(NSIDE, rng.standard_normal(3), radius)] = False
    values = draw(KNOWN, seed=7, threads=1)
    expected = dense_mean(covariance, values, observed)
    for limit in (0, 30, 10_000):
        monkeypatch.setattr(solver, "affordable", lambda sizes, limit=limit, **_: sizes <= limit)
        found = solver_of(observed).mean(values, tolerance=1e-4)
        assert np.std(found.fill - expected) < 1e-3 * values.std()


def test_wide_holes_that_go_first_do_not_change_the_mean(covariance, monkeypatch):
    """A band is solved on its own rings, and discs at the poles by their blocks."""
    from skyfill.gaussian import solver

    theta, _ = hp.pix2ang(NSIDE, np.arange(NPIX))
    observed = (np.abs(theta - np.pi / 2) > 0.2) & (theta > 0.3) & (theta < np.pi - 0.3)
    values = draw(KNOWN, seed=8, threads=1)
    monkeypatch.setattr(solver, "affordable", lambda sizes, **_: sizes < 100)
    mine = solver_of(observed)
    assert mine._apart is not None
    found = mine.mean(values, tolerance=1e-7)
    assert found.certificate.converged
    expected = dense_mean(covariance, values, observed)
    assert np.std(found.fill - expected) < 1e-5 * values.std()
    # The same of a solver that shares the preconditioner, for another spectrum.
    other = mine.with_signal(0.9 * mine.signal_cl)
    fresh = solver_of(observed, signal_cl=0.9 * mine.signal_cl)
    ways = [each.mean(values, tolerance=1e-7).fill for each in (other, fresh)]
    assert np.std(ways[0] - ways[1]) < 1e-5 * values.std()


# --- the parts of the preconditioner ------------------------------------------------------------


@given(sizes=st.lists(st.integers(1, 5000), min_size=1, max_size=40))
def test_the_smallest_holes_are_affordable(sizes):
    sizes = np.array(sizes)
    chosen = affordable(sizes, memory=1e7, operations=1e9)
    assert 2 * np.sum(sizes[chosen] * (sizes[chosen] + 1.0)) <= 1e7
    assert np.sum(sizes[chosen].astype(float) ** 3) / 6 <= 1e9
    if chosen.any() and not chosen.all():
        assert sizes[chosen].max() <= sizes[~chosen].min()


@given(sizes=st.lists(st.integers(1, 12_000), min_size=1, max_size=40))
def test_blocks_are_not_taken_where_bands_cost_less(sizes):
    sizes = np.array(sizes)
    for nside in (512, 2048):  # there bands cost more than the limit for blocks
        np.testing.assert_array_equal(affordable(sizes, nside=nside), affordable(sizes))
    chosen = affordable(sizes, nside=64)
    assert np.sum(sizes[chosen].astype(float) ** 3) <= 6.3e10  # about a second
    assert not np.any(chosen & ~affordable(sizes))


def test_a_band_at_low_resolution_has_no_blocks():
    """Its blocks would take 4 s, its bands 0.1 s; discs keep theirs."""
    observed = np.abs(hp.pix2vec(64, np.arange(12 * 64**2))[2]) > 0.132
    disc = hp.query_disc(64, [0, 0, 1], 0.1)
    observed[disc] = False
    prior = Prior(64, lcdm(), fwhm=math.radians(160 / 60), noise_uk_arcmin=400.0)
    solver = solver_of(observed, prior)
    np.testing.assert_array_equal(solver.small, np.sort(disc))


@given(lmax=st.integers(1, 3000), depth=st.floats(1e-3, 1.5))
def test_bands_share_out_everything(lmax, depth):
    bands = bands_of(lmax, depth)
    np.testing.assert_allclose(sum(share for share, _ in bands), 1)
    assert all(np.all(share >= 0) for share, _ in bands)
    tapers = [taper for _, taper in bands]
    assert tapers == sorted(tapers)
    assert all(taper <= 10 * depth for taper in tapers[1:])


# --- forbidden modes ----------------------------------------------------------------------------


@pytest.mark.parametrize("few", [[0.0, 0.0], [0.0, 50.0], [1e5, 1e5]])
def test_pinning_is_woodburys_identity(few):
    cl = np.concatenate([few, lcdm(23)[2:]])
    weights = harmonics.pixel_weights(16, threads=1)
    pixels = np.flatnonzero(np.random.default_rng(4).uniform(size=NPIX) < 0.1)
    options = {"pixels": pixels}
    known = Covariance(weights, cl, 500.0, **options)
    # What is brighter than the quadrupole is not forbidden, and left alone.
    lit = np.maximum(cl, np.where(np.arange(cl.size) < 2, unpinned(cl), 0))
    free = Covariance(weights, lit, 500.0, **options)
    unit = np.eye(pixels.size)
    inverse = np.linalg.inv([free.inverse(row) for row in unit])
    pinned = Pinned(lambda v: inverse @ v, known, 16, pixels)
    product = np.array([pinned.apply(known.inverse(row)) for row in unit])
    np.testing.assert_allclose(product, unit, atol=1e-9)


@pytest.mark.slow
def test_a_forbidden_monopole_costs_no_iterations():
    """Left in, the four modes of l < 2 are eigenvalues of 10^4 that come back with rounding."""
    prior = Prior(64, lcdm(), fwhm=math.radians(2), noise_uk_arcmin=100.0)
    theta, _ = hp.pix2ang(64, np.arange(12 * 64**2))
    observed = np.abs(theta - np.pi / 2) > 0.2
    values = draw(prior, seed=8, threads=1)
    known = solver_of(observed, prior).mean(values).certificate
    cl = unpinned(prior.signal_cl())
    free = solver_of(observed, signal_cl=cl, noise_cl=prior.white_cl).mean(values).certificate
    assert known.converged
    assert free.converged
    assert known.iterations <= 1.2 * free.iterations + 4


def test_one_observed_pixel():
    lonely = np.zeros(12 * 64**2, dtype=bool)
    lonely[7] = True
    prior = Prior(64, lcdm(), fwhm=math.radians(2.5), noise_uk_arcmin=400.0)
    assert solver_of(lonely, prior).mean(draw(prior, seed=8, threads=1)).certificate.converged


def test_more_memory_than_there_is(monkeypatch):
    from skyfill.gaussian import memory

    enough = 1.25 * memory.solve_bytes(16, 9, np.array([9]))
    monkeypatch.setattr(memory, "_machine_memory", lambda: enough)
    observed = np.ones(NPIX, dtype=bool)
    observed[:9] = False
    solver_of(observed)
    observed[9] = False
    with pytest.raises(MemoryError, match=r"10 pixels at Nside 16 takes .*`method='vae'`"):
        solver_of(observed)


def test_the_machine_says_how_much_memory_it_has(monkeypatch):
    import os

    from skyfill.gaussian import memory

    assert memory._machine_memory() > 1e8
    monkeypatch.delattr(os, "sysconf")  # as on Windows
    assert memory._machine_memory() == math.inf


def test_an_inner_loop_that_errs_by_a_third_costs_corrections_and_not_the_mean(monkeypatch):
    """What it leaves of y in the holes would otherwise bring the outer loop to a halt."""
    prior = Prior(16, lcdm(), fwhm=math.radians(8), noise_uk_arcmin=400)
    observed = simulate_mask(16, seed=3, half_width=0.25, n_holes=6, radii=(0.1, 0.2))
    sky = draw(prior, seed=1, aliased=True, threads=1)
    model = Solver.for_prior(observed, prior, threads=1)
    exact = model.mean(sky, tolerance=1e-6).fill
    usual, signs = loops.Inner.solve, np.random.default_rng(1)

    def rough(*words, **options):
        x, away = usual(*words, **options)
        return x * (1 + 0.3 * signs.choice([-1, 1], size=x.shape)), away

    monkeypatch.setattr(loops.Inner, "solve", rough)
    found = model.mean(sky, tolerance=1e-3)
    assert found.certificate.converged
    assert math.sqrt(np.mean((found.fill - exact) ** 2)) < 1e-3 * model.rms
