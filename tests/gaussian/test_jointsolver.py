"""The posterior mean of T, Q and U against a dense solve."""

import healpy as hp
import numpy as np
import pytest
from scipy.linalg import solve

from skyfill import harmonics
from skyfill.gaussian.blocks import Gained, HoleBlocks
from skyfill.gaussian.jointsolver import JointSolver
from skyfill.gaussian.polarblocks import PolarKernel
from skyfill.gaussian.solver import Solver
from skyfill.harmonics import JointCovariance
from skyfill.prior import gaussian_beam, lcdm

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
    unit = [np.ones(NPIX)] * 2
    rows = [exact.filtered(each, exact.signal_cl, unit) for each in np.eye(3 * NPIX)]
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


@pytest.mark.parametrize("kind", ["band", "small"])
@pytest.mark.parametrize(("bb", "odd", "noise"), [(1, 0, 0.5), (0, 0, 0.05), (1, 0.4, 5.0)])
def test_the_mean_is_that_of_a_dense_solve(kind, bb, odd, noise):
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


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"observed": (np.zeros(NPIX, bool),) * 2}, "no pixel of T is observed"),
        ({"observed": (np.ones(NPIX, bool), np.zeros(NPIX, bool))}, "no pixel of P is observed"),
        ({"observed": (np.ones(NPIX, bool),)}, "2 masks and noises"),
        ({"observed": (np.ones(NPIX, bool), np.ones(4 * NPIX, bool))}, "one Nside"),
        ({"signal_cl": spectra()[0]}, "signal_cl must be"),
        ({"signal_cl": spectra() * np.array([[1, 9, 1], [9, 1, 1], [1, 1, 1]])[..., None]}, "TE²"),
    ],
)
def test_what_does_not_fit_is_refused(change, words):
    given = {"observed": masks("band"), "signal_cl": spectra(), "noise_cl": [AREA, AREA]} | change
    with pytest.raises(ValueError, match=words):
        JointSolver(**given, weights=WEIGHTS)
