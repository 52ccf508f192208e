"""Σ and its inverse for T, Q and U, against healpy, the scalar covariance and closed forms."""

import healpy as hp
import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, eigsh

from skyfill import harmonics
from skyfill.harmonics import Covariance, DeviceSphere, JointCovariance, correlations
from skyfill.prior import gaussian_beam, lcdm

NSIDE = 8
NPIX = 12 * NSIDE**2
WEIGHTS = harmonics.pixel_weights(NSIDE, cache=False)
LMAX = 12


def spectra(lmax=LMAX, *, bb=1.0, odd=0.0):
    """TT, EE, BB and TE of the shipped table, stretched so that Nside 8 sees the peaks."""
    stretch = 24
    out = np.zeros((3, 3, lmax + 1))
    kept = gaussian_beam(0.15, lmax) ** 2
    for (i, j), name in {(0, 0): "TT", (1, 1): "EE", (2, 2): "BB", (0, 1): "TE"}.items():
        cl = lcdm(stretch * lmax, name)[::stretch] * kept * stretch**2
        out[i, j] = out[j, i] = cl * (bb if i == 2 else 1)
    if odd:
        out[0, 2] = out[2, 0] = odd * np.sqrt(out[0, 0] * out[2, 2])
        out[1, 2] = out[2, 1] = odd * np.sqrt(out[1, 1] * out[2, 2])
    return out


def joint(cl=None, variance=(100.0, 1.0), **options):
    return JointCovariance(WEIGHTS, spectra() if cl is None else cl, variance, **options)


@pytest.mark.parametrize("bb", [0.0, 1.0])
@pytest.mark.parametrize("odd", [0.0, 0.3])
def test_one_is_the_inverse_of_the_other_even_without_b_modes(bb, odd):
    sigma = joint(spectra(bb=bb, odd=odd))
    values = np.random.default_rng(1).standard_normal(3 * NPIX)
    np.testing.assert_allclose(sigma.apply(sigma.inverse(values)), values, atol=1e-4)


@pytest.mark.parametrize("slope", [0.0, -2.0, -4.0, 2.0])
@pytest.mark.parametrize("loud", [1.0, 1e2, 1e5])
def test_the_inverse_is_positive_up_to_2_4_nside(slope, loud):
    """There harmonics are no longer orthogonal: Yᵀ W Y has eigenvalues above one."""
    nside, sigma2 = 16, 1.0
    npix, lmax = 12 * nside**2, int(2.4 * nside)
    weights = harmonics.pixel_weights(nside, cache=False)
    shape = (np.arange(lmax + 1) / nside).clip(0.1) ** slope
    c = loud * shape * (4 * np.pi / npix) * sigma2
    cl = np.array([[c, 0 * c], [0 * c, 0.3 * c]])
    sphere = harmonics.DuccSphere(nside, 1)
    both = JointCovariance(weights, cl, (sigma2,), sphere=sphere)
    root = np.sqrt(np.tile(weights, 2))

    def taken(values):  # what the signal takes from the noise's inverse
        return values - sigma2 * both.inverse(values / root) / root

    size = 2 * npix
    most = eigsh(
        LinearOperator((size, size), taken, dtype=float), k=1, which="LA", tol=1e-6, v0=root
    )[0]
    assert 0 < most[0] < 1


def test_of_q_and_u_alone_one_is_the_inverse_of_the_other():
    sigma = joint(spectra()[1:, 1:], (1.0,))
    values = np.random.default_rng(1).standard_normal(2 * NPIX)
    np.testing.assert_allclose(sigma.apply(sigma.inverse(values)), values, atol=1e-6)


def test_without_te_the_part_of_t_is_the_scalar_covariance():
    cl = spectra()
    cl[0, 1:] = cl[1:, 0] = 0
    both, alone = joint(cl), Covariance(WEIGHTS, cl[0, 0], 100.0)
    values = np.random.default_rng(1).standard_normal(3 * NPIX)
    for name in ("apply", "inverse"):
        found = getattr(both, name)(values)[:NPIX]
        expected = getattr(alone, name)(values[:NPIX])
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def test_skies_of_healpy_have_this_covariance():
    """<v (u.v)> of skies synthesised from harmonics is Σ u without noise, with healpy's signs."""
    cl = spectra(odd=0.3)
    sigma = joint(cl, (1e-12, 1e-12))
    probe = np.zeros(3 * NPIX)
    probe[[100, NPIX + 500, 2 * NPIX + 300]] = 1.0, -2.0, 0.5
    # the exact mean over skies: one sky for each column of the root of each l, m
    roots = np.moveaxis(cl, 2, 0)
    values, vectors = np.linalg.eigh(roots)
    roots = vectors * np.sqrt(np.maximum(values, 0))[:, None]
    expected = np.zeros(3 * NPIX)
    for ell in range(LMAX + 1):
        for m in range(ell + 1):
            for unit in (1.0, 1j) if m else (1.0,):
                for column in range(3):
                    alm = np.zeros((3, hp.Alm.getsize(LMAX)), complex)
                    scale = 1 / np.sqrt(2) if m else 1.0
                    alm[:, hp.Alm.getidx(LMAX, ell, m)] = roots[ell, :, column] * unit * scale
                    if not alm.any():
                        continue
                    sky = np.ravel(hp.alm2map(alm, NSIDE, lmax=LMAX, pol=True))
                    expected += sky * (sky @ probe)
    np.testing.assert_allclose(sigma.apply(probe), expected, atol=1e-9 * np.abs(expected).max())


def test_between_some_pixels_it_is_a_part_of_the_whole():
    rng = np.random.default_rng(2)
    pixels = [np.flatnonzero(rng.random(NPIX) < share) for share in (0.1, 0.3)]
    whole, part = joint(), joint(pixels=pixels)
    values = rng.standard_normal(part.size)
    padded = np.zeros(3 * NPIX)
    padded[part.at] = values
    for name in ("apply", "inverse"):
        expected = getattr(whole, name)(padded)[part.at]
        np.testing.assert_allclose(getattr(part, name)(values), expected, rtol=1e-9, atol=1e-9)
    data = rng.standard_normal(3 * NPIX)
    data[part.at] = 0
    both = data + padded
    alm = part.wiener(values, onto=whole.wiener(data))
    expected = whole.inverse(both)
    np.testing.assert_allclose(whole.inverse_of(alm, both), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(part.inverse_of(alm, values), expected[part.at], atol=1e-9)


def test_tensors_give_the_same_as_arrays():
    torch = pytest.importorskip("torch")
    from skyfill.harmonics.torchsphere import TorchSphere

    rng = np.random.default_rng(2)
    pixels = [np.flatnonzero(rng.random(NPIX) < share) for share in (0.1, 0.3)]
    values = rng.standard_normal(sum((1, 2)[i] * p.size for i, p in enumerate(pixels)))
    expected = joint(pixels=pixels).inverse(values)
    sphere = DeviceSphere(TorchSphere(NSIDE, LMAX, device="cpu"))
    found = joint(pixels=pixels, sphere=sphere).inverse(torch.from_numpy(values))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize("lmax", [(12, 8), (7, 12)])
def test_fields_that_end_at_different_multipoles_are_as_with_spectra_that_end_there(lmax):
    cl = spectra(odd=0.3)
    ended = cl.copy()
    ended[0, :, lmax[0] + 1 :] = ended[:, 0, lmax[0] + 1 :] = 0
    ended[1:, :, lmax[1] + 1 :] = ended[:, 1:, lmax[1] + 1 :] = 0
    rng = np.random.default_rng(1)
    pixels = [np.flatnonzero(rng.random(NPIX) < share) for share in (0.1, 0.3)]
    alike, apart = joint(ended, pixels=pixels), joint(cl, pixels=pixels, lmax=lmax)
    values = rng.standard_normal(apart.size)
    for name in ("apply", "inverse"):
        expected = getattr(alike, name)(values)
        found = getattr(apart, name)(values)
        np.testing.assert_allclose(found, expected, atol=1e-10 * np.abs(expected).max())


def test_the_inverse_is_the_sum_of_what_is_between_the_fields():
    rng = np.random.default_rng(1)
    pixels = [np.flatnonzero(rng.random(NPIX) < share) for share in (0.1, 0.3)]
    sigma = joint(spectra(odd=0.3), pixels=pixels, lmax=(12, 9))
    values = rng.standard_normal(sigma.size)
    expected = sigma.inverse(values)
    for to, here in enumerate(sigma.parts):
        found = sum(sigma.between(to, of, values[part]) for of, part in enumerate(sigma.parts))
        np.testing.assert_allclose(found, expected[here], atol=1e-12 * np.abs(expected).max())


def test_with_another_signal_it_is_the_covariance_of_that_signal():
    rng = np.random.default_rng(1)
    pixels = [np.flatnonzero(rng.random(NPIX) < share) for share in (0.1, 0.3)]
    sigma = joint(pixels=pixels, lmax=(12, 9))
    values = rng.standard_normal(sigma.size)
    expected = joint(spectra(bb=0.0), pixels=pixels, lmax=(12, 9)).inverse(values)
    np.testing.assert_array_equal(sigma.with_signal(spectra(bb=0.0)).inverse(values), expected)


def test_a_device_mixes_fields_that_end_at_different_multipoles():
    torch = pytest.importorskip("torch")
    from skyfill.harmonics import torchsphere

    rng = np.random.default_rng(1)
    lmax = 9, 6
    alm = [
        rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
        for shape in (55, (2, 28))  # of T to 9, of E and B to 6
    ]
    matrix = rng.standard_normal((3, 3, 10))
    expected = harmonics.transforms.mixed(alm, matrix, lmax)
    found = torchsphere.mixed(
        [torch.from_numpy(each) for each in alm], torch.from_numpy(matrix), lmax
    )
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs, atol=1e-12)


@pytest.mark.parametrize("nside", [8, 32])
def test_the_scalar_weights_make_quadrature_of_spin_2_exact(nside):
    lmax = harmonics.quadrature_lmax(nside)
    weights = harmonics.pixel_weights(nside, cache=False)
    rng = np.random.default_rng(3)
    alm = rng.standard_normal((3, hp.Alm.getsize(lmax))) + 1j * rng.standard_normal(
        (3, hp.Alm.getsize(lmax))
    )
    alm[:, : lmax + 1].imag = 0
    alm[1:, [0, 1, lmax + 1]] = 0
    sky = harmonics.synthesis(alm, nside)
    back = harmonics.adjoint(sky * weights, lmax=lmax) * (4 * np.pi / weights.size)
    assert np.sqrt(np.mean(np.abs(back - alm) ** 2)) < 2e-7


@pytest.mark.parametrize("n", [2, -2, 0])
def test_correlations_are_sums_of_wigner_functions(n):
    """Against Wigner's own sum over factorials."""
    from math import cos, factorial, sin

    def wigner(ell, m, k, angle):
        total = 0.0
        for s in range(max(0, k - m), min(ell + k, ell - m) + 1):
            below = factorial(ell + k - s) * factorial(s) * factorial(m - k + s)
            total += (
                (-1) ** (m - k + s)
                * cos(angle / 2) ** (2 * ell + k - m - 2 * s)
                * sin(angle / 2) ** (m - k + 2 * s)
                / (below * factorial(ell - m - s))
            )
        square = factorial(ell + m) * factorial(ell - m) * factorial(ell + k) * factorial(ell - k)
        return square**0.5 * total

    cl = np.random.default_rng(4).random(11)
    for angle in (0.3, 1.2, 2.9):
        expected = sum(
            (2 * ell + 1) * cl[ell] * wigner(ell, 2, n, angle) for ell in range(2, 11)
        ) / (4 * np.pi)
        found = correlations(cl, np.array([np.cos(angle)]), n)[0]
        assert abs(found - expected) < 1e-11
