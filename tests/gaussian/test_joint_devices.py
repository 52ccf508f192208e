"""The joint solver of T, Q and U on the vectors of a device gives the fill of the CPU."""

import healpy as hp
import numpy as np
import pytest

from skyfill import harmonics
from skyfill.gaussian.blocks import DeviceBlocks, Gained, HoleBlocks
from skyfill.gaussian.jointsolver import JointSolver
from skyfill.gaussian.polarblocks import PolarKernel
from skyfill.harmonics import JointCovariance
from skyfill.prior import gaussian_beam, lcdm

torch = pytest.importorskip("torch")

NSIDE = 8
NPIX = 12 * NSIDE**2
AREA = 4 * np.pi / NPIX
LMAX = 12
WEIGHTS = harmonics.pixel_weights(NSIDE, cache=False)
#: Largest difference of fills, in units of their rms; blocks are stored in float32.
SAME = 1e-6
SIGMA = 3.0, 1.0


def spectra():
    """TT, EE, BB and TE of the shipped table, stretched so that Nside 8 sees the peaks."""
    out = np.zeros((3, 3, LMAX + 1))
    kept = gaussian_beam(0.15, LMAX) ** 2 * 24**2
    for (i, j), name in {(0, 0): "TT", (1, 1): "EE", (2, 2): "BB", (0, 1): "TE"}.items():
        out[i, j] = out[j, i] = lcdm(24 * LMAX, name)[::24] * kept
    return out


def masks(kind):
    """Masks of T and P that differ: a band, small holes or both."""
    theta, _ = hp.pix2ang(NSIDE, np.arange(NPIX))
    t, p = np.ones(NPIX, bool), np.ones(NPIX, bool)
    if kind != "small":
        t, p = np.abs(theta - np.pi / 2) > 0.25, np.abs(theta - np.pi / 2) > 0.35
    if kind != "band":
        for centre, radius in ((20, 0.25), (740, 0.2), (0, 0.2)):
            p[hp.query_disc(NSIDE, hp.pix2vec(NSIDE, centre), radius)] = False
        t[hp.query_disc(NSIDE, hp.pix2vec(NSIDE, 20), 0.2)] = False
    return t, p


def sky():
    """A sky of the spectra, but for TE, with white noise."""
    random = np.random.default_rng(3)
    cl, size = spectra(), (LMAX + 1) * (LMAX + 2) // 2
    alm = [
        harmonics.almxfl(random.standard_normal((size, 2)) @ (0.7, 0.7j), np.sqrt(cl[k, k]))
        for k in range(3)
    ]
    noise = random.standard_normal((3, NPIX)) * np.array([SIGMA[0], SIGMA[1], SIGMA[1]])[:, None]
    return harmonics.synthesis(np.stack(alm), NSIDE) + noise


def variance(kind, seen):
    """Noise of each pixel; that of Q and U is correlated."""
    if kind == "white":
        return None
    shape = 2.0 ** np.sin(np.arange(NPIX) / 50)
    t, p = SIGMA[0] ** 2 * shape, SIGMA[1] ** 2 * shape
    return np.where(seen[0], t, np.nan), np.where(seen[1], [p, 0.2 * p, 1.1 * p], np.nan)


@pytest.mark.parametrize("noise", ["white", pytest.param("map", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["band", "small", "both"])
def test_joint_means_are_the_same_on_a_device(device, kind, noise, monkeypatch):
    """With both kinds, T has a block, and P, whose band takes in its discs, has none."""
    from skyfill.gaussian import jointsolver

    most = {"both": 300, "band": 0}.get(kind)
    if most is not None:
        for name in ("affordable", "affordable_pol"):
            monkeypatch.setattr(jointsolver, name, lambda sizes, **_: sizes < most)
    t, q, u = sky()
    seen = masks(kind)
    found = []
    for where in (None, device):
        solver = JointSolver(
            seen,
            signal_cl=spectra(),
            noise_cl=[AREA * each**2 for each in SIGMA],
            noise_variance=variance(noise, seen),
            weights=WEIGHTS,
            threads=1,
            device=where,
        )
        found.append(solver.mean((t, np.stack([q, u])), tolerance=3e-3))
        if where is not None and kind != "band":
            assert isinstance(solver._blocks[0], DeviceBlocks)
        assert any(each.size for each in solver._wide) == (kind != "small")
    here, there = found
    assert there.converged == here.converged
    for name in ("T", "P"):
        assert there.certificates[name].iterations == here.certificates[name].iterations
    for one, other in zip(there.fills, here.fills, strict=True):
        assert isinstance(one, np.ndarray)
        assert np.abs(one - other).max() < SAME * np.std(other)


def test_blocks_of_p_are_the_same_on_a_device(device):
    """Holes of several sizes at a pole and at the equator share an array, with EB on."""
    cl = spectra()[1:, 1:]
    cl[0, 1] = cl[1, 0] = 0.3 * np.sqrt(cl[0, 0] * cl[1, 1])
    covariance = JointCovariance(WEIGHTS, cl, (0.5,))
    discs = [
        hp.query_disc(NSIDE, hp.pix2vec(NSIDE, centre), radius)
        for centre, radius in ((0, 0.3), (300, 0.25), (NPIX - 1, 0.2))
    ]
    pixels = np.sort(np.concatenate(discs))
    holes = [np.searchsorted(pixels, np.sort(disc)) for disc in discs]
    gained = Gained(covariance.gain, covariance.area, 0.5)
    kernel = PolarKernel(gained, WEIGHTS[pixels], NSIDE, pixels, holes)
    values = np.random.default_rng(1).standard_normal(2 * pixels.size)
    known = HoleBlocks(kernel, threads=1).solve(values)
    sphere = harmonics.sphere_on(device, NSIDE, LMAX)
    found = DeviceBlocks(kernel, sphere).solve(sphere.vector(values)).cpu().numpy()
    np.testing.assert_allclose(found, known, atol=1e-5 * np.abs(known).max())
    chosen = np.arange(3)
    _, real = kernel.padded(chosen)
    matrices = kernel.matrices(chosen, sphere).cpu().numpy()
    for k, (matrix, mine) in enumerate(zip(matrices, real, strict=True)):
        size = int(kernel.sizes[k])
        lower = np.zeros((size, size), order="F")
        kernel.filler(k)(lower, (0, 1))
        whole = np.tril(lower) + np.tril(lower, -1).T
        np.testing.assert_allclose(matrix[np.ix_(mine, mine)], whole, atol=1e-12)
        assert not matrix[~mine].any()


def test_a_device_without_memory_leaves_a_joint_solve_to_the_cpu(monkeypatch):
    monkeypatch.setattr(harmonics, "device_memory", lambda *_, **__: (1e5, 2e5))
    seen, (t, q, u) = masks("small"), sky()
    noise = [AREA * each**2 for each in SIGMA]
    options = {"signal_cl": spectra(), "noise_cl": noise, "weights": WEIGHTS, "threads": 1}
    with pytest.warns(UserWarning, match=r"joint fill of .* values .* it runs on the CPU"):
        solver = JointSolver(seen, **options, device="cpu")
    known = JointSolver(seen, **options).mean((t, np.stack([q, u])))
    found = solver.mean((t, np.stack([q, u])))
    for one, other in zip(found.fills, known.fills, strict=True):
        np.testing.assert_array_equal(one, other)


def test_turns_stay_on_the_cpu(device):
    noise = [AREA * each**2 for each in SIGMA]
    solver = JointSolver(
        masks("band"),
        signal_cl=spectra(),
        noise_cl=noise,
        weights=WEIGHTS,
        threads=1,
        way="alternate",
        device=device,
    )
    assert not isinstance(solver.sky.sphere, harmonics.DeviceSphere)
