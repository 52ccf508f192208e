"""The posterior mean of T, Q and U against a dense solve."""

import healpy as hp
import numpy as np
import pytest
from scipy.linalg import solve

from skyfill import harmonics
from skyfill.gaussian import jointsolver, memory
from skyfill.gaussian.blocks import Gained, HoleBlocks
from skyfill.gaussian.jointsolver import JointSolver
from skyfill.gaussian.leakage import leakage
from skyfill.gaussian.polarblocks import PolarKernel
from skyfill.gaussian.solver import Solver
from skyfill.harmonics import JointCovariance
from skyfill.prior import gaussian_beam, lcdm
from skyfill.prior.simulate import simulate_mask

NSIDE = 8
NPIX = 12 * NSIDE**2
AREA = 4 * np.pi / NPIX
WEIGHTS = harmonics.pixel_weights(NSIDE, cache=False)
LMAX = 12


def spectra(*, bb=1.0, odd=0.0, lmax=LMAX):
    """TT, EE, BB and TE of the shipped table, stretched so that Nside 8 sees the peaks."""
    stretch = 24
    out = np.zeros((3, 3, lmax + 1))
    kept = gaussian_beam(0.15, lmax) ** 2 * stretch**2
    for (i, j), name in {(0, 0): "TT", (1, 1): "EE", (2, 2): "BB", (0, 1): "TE"}.items():
        cl = lcdm(stretch * lmax, name)[::stretch] * kept
        out[i, j] = out[j, i] = cl * (bb if i == 2 else 1)
    out[0, 2] = out[2, 0] = odd * np.sqrt(out[0, 0] * out[2, 2])
    return out


def dense(cl, sigma):
    """The covariance of T, Q, U with noise of the same variance in every pixel, by transforms."""
    exact = JointCovariance(WEIGHTS, cl, (1.0, 1.0))
    rows = [exact.filtered(each, exact.signal_cl) for each in np.eye(3 * NPIX)]
    return np.array(rows) + np.diag(np.repeat(np.square(sigma), (NPIX, 2 * NPIX)))


def masks(kind):
    """Masks of T and P that differ, P with more holes."""
    theta, phi = hp.pix2ang(NSIDE, np.arange(NPIX))
    t = np.abs(theta - np.pi / 2) > 0.25
    p = (np.abs(theta - np.pi / 2) > 0.35) & (np.cos(phi) + theta < 3.8)
    if kind == "small":
        t, p = np.ones(NPIX, bool), np.ones(NPIX, bool)
        t[hp.query_disc(NSIDE, hp.pix2vec(NSIDE, 100), 0.3)] = False
        for centre in (100, 300, 0):
            p[hp.query_disc(NSIDE, hp.pix2vec(NSIDE, centre), 0.2)] = False
    return t, p


def drawn(covariance, seed=1):
    root = np.linalg.cholesky(covariance)
    return root @ np.random.default_rng(seed).standard_normal(len(root))


def dense_mean(covariance, data, seen):
    right = solve(covariance[np.ix_(seen, seen)], data[seen], assume_a="pos")
    return covariance[np.ix_(~seen, seen)] @ right


@pytest.mark.parametrize("way", ["joint", "alternate"])
@pytest.mark.parametrize("kind", ["band", "small"])
@pytest.mark.parametrize(("bb", "odd", "noise"), [(1, 0, 0.5), (0, 0, 0.05), (1, 0.4, 5.0)])
def test_the_mean_is_that_of_a_dense_solve(way, kind, bb, odd, noise):
    cl = spectra(bb=bb, odd=odd)
    modes = (2 * np.arange(LMAX + 1) + 1) / (4 * np.pi)
    sigma = 3.0, noise * float(np.sqrt(modes @ (cl[1, 1] + cl[2, 2]) / 2))
    covariance = dense(cl, sigma)
    sky = drawn(covariance)
    t, p = masks(kind)
    seen = np.concatenate([t, p, p])
    expected = dense_mean(covariance, sky, seen)
    solver = JointSolver(
        (t, p),
        signal_cl=cl,
        noise_cl=[AREA * each**2 for each in sigma],
        way=way,
        weights=WEIGHTS,
        threads=1,
    )
    found = solver.mean((sky[:NPIX], sky[NPIX:].reshape(2, -1)), tolerance=1e-7)
    assert found.converged
    parts = np.split(expected, np.cumsum([(~t).sum(), (~p).sum()]))
    for name, mine, theirs, rms in zip(
        "TQU",
        (found.fills[0], *found.fills[1]),
        parts,
        (solver.rms[0], solver.rms[1], solver.rms[1]),
        strict=True,
    ):
        assert np.sqrt(np.mean((mine - theirs) ** 2)) < 1e-5 * rms, name


def test_t_tells_of_p_at_multipoles_that_p_does_not_hear():
    cl = spectra()
    modes = (2 * np.arange(LMAX + 1) + 1) / (4 * np.pi)
    sigma = 0.3, 300 * float(np.sqrt(modes @ (cl[1, 1] + cl[2, 2]) / 2))
    covariance = dense(cl, sigma)
    sky = drawn(covariance)
    t, p = np.ones(NPIX, bool), masks("band")[1]
    expected = dense_mean(covariance, sky, np.concatenate([t, p, p])).reshape(2, -1)
    noise_cl = [AREA * each**2 for each in sigma]
    solver = JointSolver((t, p), signal_cl=cl, noise_cl=noise_cl, weights=WEIGHTS, threads=1)
    found = solver.mean((sky[:NPIX], sky[NPIX:].reshape(2, -1)), tolerance=1e-7)
    assert np.sqrt(np.mean((found.fills[1] - expected) ** 2)) < 1e-5 * solver.rms[1]


@pytest.mark.parametrize(("bb", "noise"), [(1, 0.5), (0, 0.05), (1, 0.02)])
def test_wide_holes_that_go_first_do_not_change_the_mean(bb, noise, monkeypatch):
    """A band is solved on its own rings, and discs at the poles by their blocks."""
    for name in ("affordable", "affordable_pol"):
        monkeypatch.setattr(jointsolver, name, lambda sizes, **_: sizes < 40)
    cl = spectra(bb=bb)
    modes = (2 * np.arange(LMAX + 1) + 1) / (4 * np.pi)
    sigma = 3.0, noise * float(np.sqrt(modes @ (cl[1, 1] + cl[2, 2]) / 2))
    covariance = dense(cl, sigma)
    sky = drawn(covariance)
    theta, _ = hp.pix2ang(NSIDE, np.arange(NPIX))
    poles = (theta < 0.3) | (theta > np.pi - 0.3)
    t, p = (~poles & (np.abs(theta - np.pi / 2) > width) for width in (0.15, 0.25))
    expected = dense_mean(covariance, sky, np.concatenate([t, p, p]))
    noise_cl = [AREA * each**2 for each in sigma]
    solver = JointSolver((t, p), signal_cl=cl, noise_cl=noise_cl, weights=WEIGHTS, threads=1)
    assert solver._wide_model is not None
    found = solver.mean((sky[:NPIX], sky[NPIX:].reshape(2, -1)), tolerance=1e-7)
    assert found.converged
    mine = np.concatenate([found.fills[0], *found.fills[1]])
    scale = np.repeat(solver.rms, [(~t).sum(), 2 * (~p).sum()])
    assert np.sqrt(np.mean(((mine - expected) / scale) ** 2)) < 1e-5


def noise_of_pixels(sigma, seed=2):
    """II, and QQ, QU, UU, that vary by ten from pixel to pixel, with QU up to 0.9 of both."""
    random = np.random.default_rng(seed)
    ii, qq, uu = 10.0 ** random.uniform(-0.5, 0.5, (3, NPIX))
    qu = random.uniform(-0.9, 0.9, NPIX) * np.sqrt(qq * uu)
    return sigma[0] ** 2 * ii, sigma[1] ** 2 * np.stack([qq, qu, uu])


def with_noise(cl, ii, polar):
    """The covariance of T, Q, U with noise of each pixel."""
    qq, qu, uu = polar
    out = dense(cl, (0.0, 0.0)) + np.diag(np.concatenate([ii, qq, uu]))
    q, u = np.arange(NPIX, 2 * NPIX), np.arange(2 * NPIX, 3 * NPIX)
    out[q, u] += qu
    out[u, q] += qu
    return out


@pytest.mark.parametrize("way", ["joint", "alternate"])
def test_the_mean_is_exact_with_noise_of_each_pixel(way):
    cl, (t, p) = spectra(), masks("band")
    ii, polar = noise_of_pixels((3.0, 0.1))
    covariance = with_noise(cl, ii, polar)
    sky = drawn(covariance)
    expected = dense_mean(covariance, sky, np.concatenate([t, p, p]))
    solver = JointSolver(
        (t, p),
        signal_cl=cl,
        noise_cl=[0.0, 0.0],
        noise_variance=(np.where(t, ii, np.nan), np.where(p, polar, np.nan)),
        way=way,
        weights=WEIGHTS,
        threads=1,
    )
    found = solver.mean((sky[:NPIX], sky[NPIX:].reshape(2, -1)), tolerance=1e-7)
    assert found.converged
    count = (~t).sum()
    np.testing.assert_allclose(found.fills[0], expected[:count], atol=1e-5 * solver.rms[0])
    np.testing.assert_allclose(found.fills[1].ravel(), expected[count:], atol=1e-5 * solver.rms[1])


@pytest.mark.slow
def test_realizations_have_the_covariance_of_the_posterior():
    """χ² of 200 draws, whitened by the dense posterior covariance."""
    cl, sigma = spectra(), (3.0, 0.02)
    covariance = dense(cl, sigma)
    root = np.linalg.cholesky(covariance)
    t, p = masks("band")
    seen = np.concatenate([t, p, p])
    gain = solve(covariance[np.ix_(seen, seen)], covariance[np.ix_(seen, ~seen)], assume_a="pos")
    posterior = covariance[np.ix_(~seen, ~seen)] - covariance[np.ix_(~seen, seen)] @ gain
    whiten = np.linalg.cholesky(np.linalg.inv(posterior)).T
    solver = JointSolver(
        (t, p),
        signal_cl=cl,
        noise_cl=[AREA * each**2 for each in sigma],
        weights=WEIGHTS,
        threads=1,
    )
    random, chi2 = np.random.default_rng(3), []
    for _ in range(200):
        z = root @ random.standard_normal(len(root))
        found = solver.mean((-z[:NPIX], -z[NPIX:].reshape(2, -1)), tolerance=1e-4)
        draw = z[~seen] + np.concatenate([found.fills[0], found.fills[1].ravel()])
        chi2.append(np.sum((whiten @ draw) ** 2) / draw.size)
    error = np.sqrt(2 / (200 * draw.size))
    assert abs(np.mean(chi2) - 1) < 3 * error


def sky_of(nside, cl, sigma, seed=1):
    """T, Q and U with their noise."""
    lmax, random = cl.shape[2] - 1, np.random.default_rng(seed)
    np.random.seed(seed)  # noqa: NPY002 - healpy draws from it
    alm = hp.synalm([cl[0, 0], cl[1, 1], cl[2, 2], cl[0, 1]], lmax=lmax, new=True)
    sky = harmonics.synthesis(np.array(alm), nside)
    return sky + np.array(sigma)[[0, 1, 1], None] * random.standard_normal(sky.shape)


@pytest.mark.parametrize("nside", [16, pytest.param(64, marks=pytest.mark.slow)])
@pytest.mark.parametrize("noise", [3.0, 0.3])
def test_both_ways_lead_to_one_mean(nside, noise):
    """At two levels of noise of P, each with tolerance 1e-4: within 2e-4 of each rms."""
    lmax, stretch = 2 * nside, 512 // nside
    cl = np.zeros((3, 3, lmax + 1))
    kept = gaussian_beam(2.9 * hp.nside2resol(nside), lmax) ** 2 * stretch**2
    for (i, j), name in {(0, 0): "TT", (1, 1): "EE", (2, 2): "BB", (0, 1): "TE"}.items():
        cl[i, j] = cl[j, i] = lcdm(stretch * lmax, name)[::stretch] * kept
    modes = (2 * np.arange(lmax + 1) + 1) / (4 * np.pi)
    sigma = 9.0, noise * float(np.sqrt(modes @ (cl[1, 1] + cl[2, 2]) / 2))
    sky = sky_of(nside, cl, sigma)
    theta, phi = hp.pix2ang(nside, np.arange(12 * nside**2))
    t = np.abs(theta - np.pi / 2) > 0.12 + 0.04 * np.sin(5 * phi)
    p = np.abs(theta - np.pi / 2) > 0.17 + 0.05 * np.sin(5 * phi)
    p[hp.query_disc(nside, hp.pix2vec(nside, 100), 3 * hp.nside2resol(nside))] = False
    area = 4 * np.pi / t.size
    options = {"signal_cl": cl, "noise_cl": [area * each**2 for each in sigma], "threads": 1}
    found = []
    for way in ("joint", "alternate"):
        solver = JointSolver((t, p), **options, way=way)
        found.append(solver.mean((sky[0], sky[1:]), tolerance=1e-4))
        assert found[-1].converged
    for one, other, rms in zip(found[0].fills, found[1].fills, solver.rms, strict=True):
        assert np.sqrt(np.mean((one - other) ** 2)) < 2e-4 * rms


@pytest.mark.parametrize("way", ["joint", "alternate"])
def test_the_certificate_bounds_the_b_modes_that_are_still_to_come(way):
    """Power of B in the distance to the dense mean, against the estimate and its limit of 1%."""
    cl, sigma = spectra(), (3.0, 0.02)
    covariance = dense(cl, sigma)
    sky = drawn(covariance)
    t, p = masks("band")
    expected = dense_mean(covariance, sky, np.concatenate([t, p, p]))[(~t).sum() :]
    noise = [AREA * each**2 for each in sigma]
    solver = JointSolver((t, p), signal_cl=cl, noise_cl=noise, way=way, weights=WEIGHTS, threads=1)
    found = solver.mean((sky[:NPIX], sky[NPIX:].reshape(2, -1)), tolerance=1e-2)
    left = np.zeros((3, NPIX))
    left[1:, ~p] = found.fills[1] - expected.reshape(2, -1)
    ell = np.arange(2, 9)
    power = hp.alm2cl(harmonics.adjoint(left * WEIGHTS, lmax=8)[2] * AREA)[2:]
    share = np.sum((2 * ell + 1) * power) / np.sum((2 * ell + 1) * cl[2, 2, 2:9])
    certificate = found.certificates["P"]
    assert found.certificates["T"].leakage is None
    assert share < 0.01 * (1 + noise[1] / np.mean(cl[2, 2, 2:9]))
    assert share < 30 * certificate.leakage[0]  # an estimate from the last step
    assert "B leakage" in str(certificate)


def test_a_fill_within_the_tolerance_goes_on_until_its_b_modes_are_clean():
    """With hardly any BB and noise, 3% of the rms of P is far too much."""
    cl = spectra(bb=1e-3)
    sky = drawn(dense(cl, (3.0, 1e-3)))
    t, p = masks("band")
    noise = [AREA * 9.0, AREA * 1e-6]
    solver = JointSolver((t, p), signal_cl=cl, noise_cl=noise, weights=WEIGHTS, threads=1)
    found = solver.mean((sky[:NPIX], sky[NPIX:].reshape(2, -1)), tolerance=3e-2)
    certificate = found.certificates["P"]
    assert certificate.converged
    assert certificate.distance < 1e-2 * solver.rms[1]


def test_q_and_u_alone_are_solved_without_t():
    cl, sigma = spectra(), 0.1
    covariance = dense(cl, (1.0, sigma))[NPIX:, NPIX:]
    sky = drawn(covariance)
    _, p = masks("band")
    expected = dense_mean(covariance, sky, np.concatenate([p, p]))
    solver = JointSolver(
        (p,), signal_cl=cl[1:, 1:], noise_cl=[AREA * sigma**2], weights=WEIGHTS, threads=1
    )
    found = solver.mean((sky.reshape(2, -1),), tolerance=1e-7)
    assert set(found.certificates) == {"P"}
    np.testing.assert_allclose(found.fills[0].ravel(), expected, atol=1e-5 * solver.rms[0])


def test_t_and_p_may_be_overwritten_together():
    cl, sigma = spectra(), (3.0, 0.05)
    sky = drawn(dense(cl, sigma)).reshape(3, -1)
    noise = [AREA * each**2 for each in sigma]
    solver = JointSolver(masks("band"), signal_cl=cl, noise_cl=noise, weights=WEIGHTS, threads=1)
    usual, maps = solver.mean([sky[0], sky[1:]]), [sky[0].copy(), sky[1:].copy()]
    mine = solver.mean(maps, overwrite=True)
    assert not maps
    for one, other in zip(mine.fills, usual.fills, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-9)  # BLAS rounds as it likes


@pytest.mark.parametrize("sigma", [0.05, 1.0])
def test_the_estimate_of_the_b_modes_to_come_is_above_the_truth_but_not_far(sigma, monkeypatch):
    """Above all where many corrections are made, and nothing is left by the inner loop."""
    cl, (_, p) = spectra(), masks("band")
    covariance = dense(cl, (1.0, sigma))[NPIX:, NPIX:]
    options = {"signal_cl": cl[1:, 1:], "noise_cl": [AREA * sigma**2], "weights": WEIGHTS}
    solver = JointSolver([p], **options, threads=1)
    for seed, tolerance in ((0, 1e-2), (1, 1e-2), (2, 1e-3)):
        sky = drawn(covariance, seed).reshape(2, -1)
        best = solver.mean([sky], tolerance=1e-8).fills[0]
        with monkeypatch.context() as patched:
            patched.setattr(jointsolver, "_TRIES", 0)  # it does not go on for the sake of B
            found = solver.mean([sky], tolerance=tolerance)
        b = solver.analysed(found.fills[0] - best, LMAX)[1]
        true = leakage(b, cl[2, 2], AREA * sigma**2)[0][0]
        assert 1 < found.certificates["P"].leakage[0] / true < 15


def test_t_whole_and_p_whole_are_no_special_cases():
    cl = spectra()
    sky = np.random.default_rng(1).standard_normal((3, NPIX))
    t, p = masks("band")
    whole = np.ones(NPIX, bool)
    for pair in ((whole, p), (t, whole), (whole, whole)):
        solver = JointSolver(pair, signal_cl=cl, noise_cl=[AREA, AREA], weights=WEIGHTS, threads=1)
        found = solver.mean((sky[0], sky[1:]))
        assert found.converged
        assert [each.shape[-1] for each in found.fills] == [(~each).sum() for each in pair]


def test_without_te_t_is_that_of_the_scalar_solver():
    cl = spectra()
    cl[0, 1:] = cl[1:, 0] = 0
    sky = drawn(dense(cl, (3.0, 0.1)))
    t, p = masks("band")
    joint = JointSolver(
        (t, p), signal_cl=cl, noise_cl=[9 * AREA, 0.01 * AREA], weights=WEIGHTS, threads=1
    )
    alone = Solver(t, signal_cl=cl[0, 0], noise_cl=9 * AREA, weights=WEIGHTS, threads=1)
    found = joint.mean((sky[:NPIX], sky[NPIX:].reshape(2, -1)), tolerance=1e-7).fills[0]
    expected = alone.mean(sky[:NPIX], tolerance=1e-7).fill
    np.testing.assert_allclose(found, expected, atol=1e-5 * alone.rms)


def test_each_stokes_parameter_meets_the_tolerance_in_units_of_its_own_rms():
    """Polarization is a hundred times fainter: a tolerance of T's would leave it unfilled."""
    cl, sigma = spectra(), (3.0, 0.02)
    covariance = dense(cl, sigma)
    sky = drawn(covariance)
    t, p = masks("band")
    expected = dense_mean(covariance, sky, np.concatenate([t, p, p]))[(~t).sum() :]
    solver = JointSolver(
        (t, p),
        signal_cl=cl,
        noise_cl=[AREA * each**2 for each in sigma],
        weights=WEIGHTS,
        threads=1,
    )
    assert solver.rms[0] > 20 * solver.rms[1]
    found = solver.mean((sky[:NPIX], sky[NPIX:].reshape(2, -1)), tolerance=3e-3)
    distance = np.sqrt(np.mean((found.fills[1].ravel() - expected) ** 2))
    assert distance < 4 * 3e-3 * solver.rms[1]  # the distance is an estimate
    assert found.certificates["P"].distance <= 3e-3 * solver.rms[1]


def test_blocks_of_p_invert_the_precision_of_holes_at_poles_and_equator():
    """Elements from closed forms against columns of the operator, with EB on."""
    cl = spectra(odd=0.0)[1:, 1:]
    cl[0, 1] = cl[1, 0] = 0.3 * np.sqrt(cl[0, 0] * cl[1, 1])
    covariance = JointCovariance(WEIGHTS, cl[:, :, :13], (0.5,))
    for centre in (0, 300, NPIX - 1):
        hole = np.sort(hp.query_disc(NSIDE, hp.pix2vec(NSIDE, centre), 0.3))
        part = JointCovariance(WEIGHTS, cl[:, :, :13], (0.5,), pixels=[hole])
        expected = np.array([part.inverse(each) for each in np.eye(2 * hole.size)])
        gained = Gained(covariance.gain, covariance.area, 0.5)
        kernel = PolarKernel(gained, WEIGHTS[hole], NSIDE, hole, [np.arange(hole.size)])
        matrix = np.zeros((2 * hole.size, 2 * hole.size), order="F")
        kernel.filler(0)(matrix, (0, 1))
        np.testing.assert_allclose(
            np.tril(matrix), np.tril(expected), atol=1e-6 * np.abs(expected).max()
        )
        values = np.random.default_rng(1).standard_normal(2 * hole.size)
        back = expected @ HoleBlocks(kernel, threads=1).solve(values)
        np.testing.assert_allclose(back, values, atol=1e-3)


def test_blocks_solve_small_holes_in_a_few_iterations():
    cl, sigma = spectra(), (3.0, 0.02)
    sky = drawn(dense(cl, sigma))
    t, p = masks("small")
    noise = [AREA * each**2 for each in sigma]
    solver = JointSolver((t, p), signal_cl=cl, noise_cl=noise, weights=WEIGHTS, threads=1)
    found = solver.mean((sky[:NPIX], sky[NPIX:].reshape(2, -1)))
    assert found.converged
    assert found.certificates["P"].iterations <= 12


def test_a_solve_that_the_machine_has_no_memory_for_is_refused(monkeypatch):
    """With the blocks, which are known only after the holes."""
    options = {"signal_cl": spectra(), "noise_cl": [AREA, AREA], "weights": WEIGHTS, "threads": 1}
    solver = JointSolver(masks("small"), **options)
    count = sum(n * holes.size for n, holes in zip((1, 2), solver.holes, strict=True))
    alone = 1.25 * memory.joint_bytes(NSIDE, 3, count, np.empty(0, np.int64))
    monkeypatch.setattr(memory, "_machine_memory", lambda: alone - 1)
    with pytest.raises(MemoryError, match=r"at Nside 8 takes up to .*: lower the resolution"):
        JointSolver(masks("small"), **options)
    monkeypatch.setattr(memory, "_machine_memory", lambda: alone + 1)
    with pytest.raises(MemoryError, match="lower the resolution"):
        JointSolver(masks("small"), **options)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"observed": (np.zeros(NPIX, bool),) * 2}, "no pixel of T is observed"),
        ({"observed": (np.ones(NPIX, bool), np.zeros(NPIX, bool))}, "no pixel of P is observed"),
        ({"observed": (np.ones(NPIX, bool),)}, "2 masks and noises"),
        ({"observed": (np.ones(NPIX, bool), np.ones(4 * NPIX, bool))}, "one Nside"),
        ({"signal_cl": spectra()[0]}, "signal_cl must be"),
        ({"way": "auto"}, "way must be joint or alternate"),
        ({"noise_variance": (None, np.ones((2, NPIX)))}, "noise variance of P must be"),
        ({"noise_variance": (-np.ones(NPIX), None)}, "noise variance of T must not be negative"),
        ({"noise_variance": (np.full(NPIX, np.inf), None)}, "variance of T must be finite"),
        (
            {"noise_variance": (None, np.array([1, 2, 1])[:, None] * np.ones((3, NPIX)))},
            "QU² exceeds QQ UU",
        ),
        ({"signal_cl": spectra() * np.array([[1, 9, 1], [9, 1, 1], [1, 1, 1]])[..., None]}, "TE²"),
    ],
)
def test_what_does_not_fit_is_refused(change, words):
    given = {"observed": masks("band"), "signal_cl": spectra(), "noise_cl": [AREA, AREA]} | change
    with pytest.raises(ValueError, match=words):
        JointSolver(**given, weights=WEIGHTS)


def test_a_wide_hole_of_low_noise_takes_few_iterations():
    """It takes 70 with the prior's covariance as the preconditioner of its edges, too."""
    nside, stretch, lmax = 64, 8, 191  # like Nside 512, 20' and 2.5 µK·arcmin
    kept = stretch**2 * gaussian_beam(np.radians(stretch * 20 / 60), lmax) ** 2
    ee, bb = (kept * lcdm(stretch * lmax, name)[::stretch] for name in ("EE", "BB"))
    noise_cl = np.radians(stretch * 2.5 / 60) ** 2
    cl = np.array([[ee, 0 * ee], [0 * ee, bb]])
    seen = simulate_mask(nside, kind="band", seed=1, half_width=np.radians(20))
    np.random.seed(1)  # noqa: NPY002 (healpy's own generator)
    sky = np.array(hp.synfast([0 * ee, ee + noise_cl, bb + noise_cl, 0 * ee], nside, new=True)[1:])
    solver = JointSolver((seen,), signal_cl=cl, noise_cl=[noise_cl], threads=1)
    found = solver.mean((sky,)).certificates["P"]
    assert found.converged
    assert found.iterations <= 45
