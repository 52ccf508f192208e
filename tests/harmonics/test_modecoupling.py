"""The coupling of multipoles by a mask."""

import sys
import types

import ducc0
import numpy as np
import pytest

from skyfill import harmonics

NSIDE = 16


def window_alm(lmax, seed=0):
    """Draw a window of few multipoles, whose products with harmonics are exact on the pixels."""
    rng = np.random.default_rng(seed)
    alm = rng.standard_normal((lmax + 1) * (lmax + 2) // 2) + 0j
    alm[lmax + 1 :] += 1j * rng.standard_normal(alm.size - lmax - 1)
    return alm


def test_it_is_the_sum_over_all_orders():
    """Mask each harmonic of a small lmax, transform it, and sum what it gives over m and m'."""
    lmax, width = 5, 4
    alm = window_alm(width)
    window = harmonics.synthesis(alm, NSIDE)
    expected = np.zeros((lmax + 1, lmax + 1))
    for ell in range(lmax + 1):
        for m in range(ell + 1):
            for part in (1, 1j) if m else (1,):
                one = np.zeros((lmax + 1) * (lmax + 2) // 2, dtype=complex)
                one[m * (2 * lmax + 1 - m) // 2 + ell] = part / np.sqrt(2 if m else 1)
                masked = window * harmonics.synthesis(one, NSIDE)
                seen = harmonics.analysis(masked, lmax=lmax + width, iterations=6)
                expected[:, ell] += harmonics.cl_of(seen)[: lmax + 1]
    ours = harmonics.coupling_matrix(harmonics.cl_of(alm), lmax=lmax, library="ducc0")
    np.testing.assert_allclose(ours, expected, rtol=1e-8, atol=1e-12)


def test_it_is_what_correlation_functions_give():
    mask_cl = np.random.default_rng(1).random(23)
    ours = harmonics.coupling_matrix(mask_cl, lmax=15, sky_lmax=24, library="ducc0")
    assert ours.shape == (16, 25)
    theirs = harmonics.coupling(mask_cl, np.arange(17), lmax=24)
    np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def test_a_mask_of_ones_couples_nothing():
    whole = harmonics.coupling_matrix(np.array([4 * np.pi]), lmax=6, library="ducc0")
    np.testing.assert_allclose(whole, np.eye(7), atol=1e-14)


def test_ducc0_is_used_with_and_without_namaster(monkeypatch):
    """A stand-in for NaMaster is asked only by name, with the mask's spectrum padded."""
    asked = []

    def matrix(pcl_mask, *spins):
        asked.append((pcl_mask, spins))
        return np.arange(pcl_mask.size**2).reshape(pcl_mask.size, -1) * 1.0

    stand_in = types.ModuleType("pymaster")
    stand_in.get_general_coupling_matrix = matrix
    monkeypatch.setitem(sys.modules, "pymaster", stand_in)
    assert harmonics.coupling_library() == "ducc0"
    harmonics.coupling_matrix(np.ones(3), lmax=1, sky_lmax=4)
    assert not asked
    got = harmonics.coupling_matrix(np.ones(3), lmax=1, sky_lmax=4, library="pymaster")
    np.testing.assert_array_equal(got, np.arange(25).reshape(5, 5)[:2])
    ((mask_cl, spins),) = asked
    np.testing.assert_array_equal(mask_cl, [1, 1, 1, 0, 0])
    assert spins == (0, 0, 0, 0)


def test_namaster_gives_the_same():
    """The referee, where it is installed."""
    pytest.importorskip("pymaster")
    mask_cl = np.random.default_rng(2).random(40)
    ours, theirs = (
        harmonics.coupling_matrix(mask_cl, lmax=20, sky_lmax=30, library=library)
        for library in ("ducc0", "pymaster")
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-8)


def test_the_coupling_of_e_and_b_is_that_of_3j_symbols():
    """`coupling_pol` against ducc0's sums for M⁺⁺ and M⁻⁻."""
    mask = 1 / (1 + np.arange(60.0)) ** 2
    lmax, edges = 50, np.arange(2, 42)
    sums = np.empty((4, 42, lmax + 1))
    ducc0.misc.experimental.coupling_matrix_rect(
        spec=np.stack([mask] * 3), optype=(0, 1, 4), res=sums, nthreads=1
    )
    sums *= 2 * np.arange(lmax + 1) + 1
    plus, minus = harmonics.coupling_pol(mask, edges, lmax=lmax)
    np.testing.assert_allclose(plus, (sums[2] + sums[3])[2:41], atol=1e-14)
    np.testing.assert_allclose(minus, (sums[2] - sums[3])[2:41], atol=1e-14)


def test_of_t_and_p_it_is_the_sum_over_all_orders():
    """Mask every harmonic of T and of E by windows of their own, and sum T, E and B over m, m'."""
    lmax, width = 4, 3
    alms = [window_alm(width, seed) for seed in (0, 1)]
    windows = [harmonics.synthesis(alm, NSIDE) for alm in alms]
    weights = harmonics.pixel_weights(NSIDE) * 4 * np.pi / (12 * NSIDE**2)
    expected = np.zeros((4, lmax + 1, lmax + 1))
    for ell in range(lmax + 1):
        for m in range(ell + 1):
            for part in (1, 1j) if m else (1,):
                one = np.zeros((3, (lmax + 1) * (lmax + 2) // 2), dtype=complex)
                one[:2, m * (2 * lmax + 1 - m) // 2 + ell] = part / np.sqrt(2 if m else 1)
                sky = harmonics.synthesis(one, NSIDE)
                sky[0] *= windows[0]
                sky[1:] *= windows[1]
                t, e, b = harmonics.adjoint(sky * weights, lmax=lmax)
                powers = [harmonics.cl_of(each) for each in (t, t + e, t - e, e, b)]
                expected[0, :, ell] += powers[0]
                expected[1, :, ell] += (powers[1] - powers[2]) / 4
                expected[2, :, ell] += powers[3]
                expected[3, :, ell] += powers[4]
    t, p = (harmonics.cl_of(alm) for alm in alms)
    both, apart = (harmonics.cl_of(alms[0] + sign * alms[1]) for sign in (1, -1))
    ours = harmonics.stokes_coupling(np.array([t, (both - apart) / 4, p]), lmax=lmax)
    np.testing.assert_allclose(ours[0], expected[0], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ours[1:, 2:, 2:], expected[1:, 2:, 2:], rtol=1e-6, atol=1e-6)
    scalar = harmonics.coupling_matrix(t, lmax=lmax, library="ducc0")
    np.testing.assert_allclose(ours[0], scalar, rtol=1e-12)
