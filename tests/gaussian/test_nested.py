"""The mean of Q and U by nested multipoles, against a dense solve and the solver of the holes."""

import healpy as hp
import numpy as np
import pytest
from scipy.linalg import solve

from skyfill import harmonics
from skyfill.gaussian import nested
from skyfill.gaussian.jointsolver import JointSolver
from skyfill.gaussian.nested import NestedSolver
from skyfill.harmonics import JointCovariance
from skyfill.prior import gaussian_beam, lcdm


def spectra(nside, lmax, *, bb=1.0, eb=0.0):
    """EE and BB of the shipped table, stretched so that a map sees the peaks, and EB."""
    stretch = 512 // nside // (2 if nside < 16 else 1)
    out = np.zeros((2, 2, lmax + 1))
    kept = gaussian_beam(np.radians(20 / 60) * 512 / nside, lmax) ** 2 * stretch**2
    for row, name in enumerate(("EE", "BB")):
        out[row, row] = lcdm(stretch * lmax, name)[::stretch] * kept * (bb if row else 1)
    out[0, 1] = out[1, 0] = eb * np.sqrt(out[0, 0] * out[1, 1])
    out[:, :, :2] = 0
    return out


def power_of(cl):
    """The variance of Q, which is that of U."""
    return float((2 * np.arange(cl.shape[2]) + 1) @ np.trace(cl)) / (8 * np.pi)


def mask_of(nside, kind):
    z = np.array(hp.pix2vec(nside, np.arange(12 * nside**2)))
    seen = np.abs(z[2] - 0.1 * z[0]) > 0.25
    if kind == "small":
        seen[:] = True
    for centre in (0, 17 * nside, 9 * nside**2):
        seen[hp.query_disc(nside, hp.pix2vec(nside, centre), 2.5 / nside)] = False
    return seen


def sky_of(nside, cl, noise_cl, seed=1):
    """A sky with its noise; by healpy, which has no EB."""
    np.random.seed(seed)  # noqa: NPY002 - healpy draws from it
    alm = hp.synalm([0 * cl[0, 0], cl[0, 0], cl[1, 1], 0 * cl[0, 0]], new=True)
    p = np.array(hp.alm2map(alm, nside, lmax=cl.shape[2] - 1))[1:]
    scale = np.sqrt(noise_cl * p.shape[1] / (4 * np.pi))
    return p + scale * np.random.default_rng(seed).standard_normal(p.shape)


@pytest.mark.parametrize("kind", ["band", "small"])
@pytest.mark.parametrize(
    ("bb", "eb", "noise"), [(1, 0, 0.5), (0, 0, 0.05), (1, 0.4, 5.0), (1, 0, 0)]
)
def test_the_mean_is_that_of_a_dense_solve(kind, bb, eb, noise):
    """Without noise, 1e-4 of the signal's variance is added, as by the other solvers.

    Signal that noise hides is left out, which with the loudest noise is 6e-5 of the rms.
    """
    nside, cl = 8, spectra(8, 20, bb=bb, eb=eb)
    npix = 12 * nside**2
    area, signal = 4 * np.pi / npix, power_of(cl)
    exact = JointCovariance(np.ones(npix), cl, (1.0,))
    covariance = np.array([exact.filtered(row, cl) for row in np.eye(2 * npix)])
    variance = max(noise**2, 1e-4) * signal
    covariance += variance * np.eye(2 * npix)
    random = np.random.default_rng(3)
    sky = np.linalg.cholesky(covariance) @ random.standard_normal(2 * npix)
    seen = mask_of(nside, kind)
    both = np.tile(seen, 2)
    known = covariance[np.ix_(~both, both)] @ solve(covariance[np.ix_(both, both)], sky[both])
    solver = NestedSolver(seen, signal_cl=cl, noise_cl=noise**2 * signal * area, threads=1)
    data = sky.reshape(2, -1).copy()
    data[:, ~seen] = 1e9  # not read
    fill = solver.start()
    fill.add(data)
    found = fill.solve(allowed=1e-8 * solver.rms, leak=1e-4)
    np.testing.assert_allclose(found.ravel(), known, atol=1e-4 * solver.rms)
    assert fill.distance <= 1e-8 * solver.rms
    assert max(fill.leakage) <= 1e-6


@pytest.mark.parametrize(("noise", "levels", "most"), [(85, 1, 6), (10, 1, 13), (2.5, 2, 9)])
@pytest.mark.parametrize("kind", ["band", "small"])
def test_few_steps_lead_to_the_mean_of_the_holes_own_equation(kind, noise, levels, most):
    nside, cl = 64, spectra(64, 192)
    noise_cl = np.radians(8 * noise / 60) ** 2
    seen, sky = mask_of(nside, kind), sky_of(nside, cl, noise_cl)
    joint = JointSolver([seen], signal_cl=cl, noise_cl=[noise_cl], threads=1)
    known = joint.mean([sky], tolerance=1e-6).fills[0]
    solver = NestedSolver(seen, signal_cl=cl, noise_cl=noise_cl, threads=1)
    assert solver.rms == pytest.approx(joint.rms[0], rel=1e-3)
    count, level = 0, solver.level
    while level._below is not None:
        count, level = count + 1, level._below
    assert count == levels
    fill = solver.start()
    fill.add(sky)
    found = fill.solve(allowed=3e-3 * solver.rms, leak=0.25)
    away = np.sqrt(np.mean((found - known) ** 2))
    assert fill.distance <= 3e-3 * solver.rms
    assert 0.3 * away < fill.distance < 30 * away + 1e-6 * solver.rms
    assert fill.iterations < most
    # what is still to come in B, whose true size the fill does not know
    _, over = solver.leakage(found - known)
    assert over < 0.25


def test_what_is_told_in_parts_has_the_fill_of_the_whole():
    """A later solve goes on with what earlier ones have left."""
    nside, cl = 16, spectra(16, 40)
    noise_cl = np.radians(32 * 10 / 60) ** 2
    seen, sky = mask_of(nside, "band"), sky_of(nside, cl, noise_cl)
    solver = NestedSolver(seen, signal_cl=cl, noise_cl=noise_cl, threads=1)
    other = hp.map2alm([sky[0], *sky], lmax=30, iter=0)[1:]
    smooth = solver.synthesis(other)
    whole = solver.start()
    whole.add(sky - smooth)
    known = whole.solve(allowed=1e-9, leak=1.0)
    parts = solver.start()
    parts.add(sky)
    found = parts.solve(allowed=0.3 * solver.rms, leak=1e6)
    assert np.std(found - known) > 0.01 * solver.rms  # it stopped early
    told = parts.subtract(other)
    np.testing.assert_allclose(told, smooth[:, ~seen], atol=1e-12 * solver.rms)
    found = found + parts.solve(allowed=1e-9, leak=1.0)
    np.testing.assert_allclose(found, known, atol=1e-8 * solver.rms)


def test_a_solve_that_is_cut_short_tells_how_far_it_is():
    nside, cl = 64, spectra(64, 192)
    noise_cl = np.radians(8 * 2.5 / 60) ** 2
    seen, sky = mask_of(nside, "band"), sky_of(nside, cl, noise_cl)
    solver = NestedSolver(seen, signal_cl=cl, noise_cl=noise_cl, threads=1)
    best = solver.start()
    best.add(sky)
    known = best.solve(allowed=1e-9, leak=1.0)
    fill = solver.start()
    fill.add(sky)
    found = fill.solve(allowed=1e-9, leak=1.0, limit=3)
    assert fill.iterations == 3
    assert fill.distance > fill.allowed
    away = np.sqrt(np.mean((found - known) ** 2))
    assert away / 3 < fill.distance < 10 * away


def test_a_sky_of_zeros_is_filled_with_zeros():
    cl = spectra(16, 40)
    solver = NestedSolver(mask_of(16, "band"), signal_cl=cl, noise_cl=1e-3, threads=1)
    fill = solver.start()
    fill.add(np.zeros((2, 12 * 16**2)))
    assert not fill.solve(allowed=1e-3, leak=1.0).any()
    assert fill.distance == 0


def test_a_mask_without_observed_pixels_is_refused():
    with pytest.raises(ValueError, match="no pixel of P is observed"):
        NestedSolver(np.zeros(3072, bool), signal_cl=spectra(16, 40), noise_cl=1e-3)


@pytest.mark.parametrize("noise", [85, 2.5])
def test_fills_are_the_same_on_a_device(device, noise):
    nside, cl = 64, spectra(64, 130)
    noise_cl = np.radians(8 * noise / 60) ** 2
    seen, sky = mask_of(nside, "band"), sky_of(nside, cl, noise_cl)
    found = []
    for where in (None, device):
        solver = NestedSolver(seen, signal_cl=cl, noise_cl=noise_cl, threads=1, device=where)
        fill = solver.start()
        fill.add(solver.sphere.vector(sky))
        step = fill.solve(allowed=3e-3 * solver.rms, leak=0.25)
        found.append((solver.sphere.array(step), fill))
    (here, mine), (there, other) = found
    assert np.abs(here - there).max() < 1e-6 * np.std(here)
    assert mine.iterations == other.iterations
    assert mine.distance == pytest.approx(other.distance, rel=1e-4)


def test_a_device_without_memory_leaves_the_solve_to_the_cpu(monkeypatch):
    monkeypatch.setattr(harmonics, "device_memory", lambda *_, **__: (1e5, 2e5))
    cl = spectra(16, 40)
    with pytest.warns(UserWarning, match=r"fill of Q and U .* it runs on the CPU"):
        solver = NestedSolver(
            mask_of(16, "band"), signal_cl=cl, noise_cl=1e-3, threads=1, device="cpu"
        )
    assert isinstance(solver.sphere, harmonics.DuccSphere)


def test_a_coarser_map_takes_the_multipoles_where_signal_exceeds_noise():
    over = np.full(3000, 1e-3)
    assert nested._levels(1024, over) == [(32, 60, 10)]
    over[:900] = 3.0
    assert nested._levels(1024, over) == [(32, 60, 10), (512, 899, 4)]
    over[:900] = 100.0
    ((_, _, _), (side, last, steps)) = nested._levels(1024, over)
    assert (side, last) == (512, 899)
    assert steps == 14
    assert nested._levels(16, np.full(40, 100.0)) == []
