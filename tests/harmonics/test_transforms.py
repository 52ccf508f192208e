"""Harmonic transforms against healpy, the mask's coupling against Wigner symbols and skies."""

from itertools import pairwise
from math import lgamma

import healpy as hp
import numpy as np
import pytest

from skyfill import harmonics
from skyfill.harmonics import sphere, transforms

NSIDE, LMAX = 32, 70


def random_alm(lmax, seed, cl=None):
    """Draw the alm of a real sky without skyfill's own draw."""
    ell, m = hp.Alm.getlm(lmax)
    real, imaginary = np.random.default_rng(seed).standard_normal((2, ell.size))
    alm = (real + 1j * imaginary) / np.sqrt(2)
    alm[m == 0] = np.sqrt(2) * alm[m == 0].real
    return alm if cl is None else alm * np.sqrt(cl[ell])


def inner(a, b):
    """Multiply two real fields given by their alm of m >= 0."""
    _, m = hp.Alm.getlm(harmonics.lmax_of(a))
    return float(np.sum(np.where(m == 0, 1, 2) * (a * b.conj()).real))


@pytest.mark.parametrize("lmax", [0, 1, 2, 95, 767, 6143, 24575])
def test_lmax_of(lmax):
    assert harmonics.lmax_of(np.empty((lmax + 1) * (lmax + 2) // 2, dtype=np.complex64)) == lmax


@pytest.mark.parametrize("lmax", [0, 1, 64, 95])
def test_synthesis_is_healpys(lmax):
    alm = random_alm(lmax, seed=1)
    expected = hp.alm2map(alm, NSIDE)
    np.testing.assert_allclose(harmonics.synthesis(alm, NSIDE), expected, atol=1e-10)


def test_adjoint_is_the_transpose():
    alm = random_alm(LMAX, seed=2)
    values = np.random.default_rng(3).standard_normal(12 * NSIDE**2)
    ours = inner(harmonics.adjoint(values, lmax=LMAX), alm)
    assert ours == pytest.approx(values @ harmonics.synthesis(alm, NSIDE), rel=1e-10)


@pytest.mark.parametrize("iterations", [0, 1, 3])
def test_analysis_is_healpys(iterations):
    values = np.random.default_rng(4).standard_normal(12 * NSIDE**2)
    expected = hp.map2alm(values, lmax=LMAX, iter=iterations)
    ours = harmonics.analysis(values, lmax=LMAX, iterations=iterations)
    np.testing.assert_allclose(ours, expected, atol=1e-12)


def test_iterations_make_analysis_exact():
    alm = random_alm(LMAX, seed=5)
    values = harmonics.synthesis(alm, NSIDE)
    error = [
        np.abs(harmonics.analysis(values, lmax=LMAX, iterations=n) - alm).max() for n in (0, 1, 6)
    ]
    assert error[0] > error[1] > 1e2 * error[2]
    assert error[2] < 1e-5


@pytest.mark.parametrize("size", [LMAX - 20, LMAX + 1, LMAX + 9])
def test_almxfl(size):
    alm = random_alm(LMAX, seed=6)
    before = alm.copy()
    fl = np.random.default_rng(7).standard_normal(size)
    np.testing.assert_allclose(harmonics.almxfl(alm, fl), hp.almxfl(alm, fl), rtol=1e-14)
    np.testing.assert_array_equal(alm, before)


def test_cl_of():
    alm = random_alm(LMAX, seed=8)
    np.testing.assert_allclose(harmonics.cl_of(alm), hp.alm2cl(alm), rtol=1e-13)


@pytest.mark.parametrize("lmax", [0, 1, 30, LMAX])
def test_truncated(lmax):
    alm = random_alm(LMAX, seed=9)
    expected = hp.resize_alm(alm, LMAX, LMAX, lmax, lmax)
    np.testing.assert_array_equal(harmonics.truncated(alm, lmax), expected)


@pytest.mark.parametrize("npix", [0, 100, 12 * 9])
def test_maps_of_no_sky_are_refused(npix):
    for transform in (harmonics.adjoint, harmonics.analysis):
        with pytest.raises(ValueError, match="values: "):
            transform(np.zeros(npix), lmax=2)


# --- coupling -----------------------------------------------------------------------------------


def wigner_squared(a, b, c):
    """Give the square of the 3j symbol of three multipoles, m = 0 (Edmonds 1957, eq. 3.7.17)."""
    total = a + b + c
    if total % 2 or c < abs(a - b) or c > a + b:
        return 0.0
    log = sum(lgamma(total - 2 * one + 1) for one in (a, b, c)) - lgamma(total + 2)
    half = total // 2
    log += 2 * (lgamma(half + 1) - sum(lgamma(half - one + 1) for one in (a, b, c)))
    return float(np.exp(log))


def test_a_whole_sky_couples_nothing():
    whole = np.array([4 * np.pi])  # w_00 = √4π
    edges = np.arange(2, 41)
    response = harmonics.coupling(whole, edges, lmax=60)
    np.testing.assert_allclose(response, np.eye(61)[2:40], atol=1e-12)
    wide = harmonics.coupling(whole, np.array([2, 5, 9]), lmax=60)
    modes = 2.0 * np.arange(61) + 1
    for row, (low, high) in zip(wide, [(2, 5), (5, 9)], strict=True):
        expected = np.zeros(61)
        expected[low:high] = modes[low:high] / modes[low:high].sum()
        np.testing.assert_allclose(row, expected, atol=1e-12)


def test_coupling_is_that_of_wigner_symbols():
    lmax, edges = 24, np.array([2, 3, 7, 15])
    mask_cl = np.random.default_rng(10).random(18)
    full = np.array(
        [
            [
                (2 * sky + 1)
                / (4 * np.pi)
                * sum((2 * k + 1) * w * wigner_squared(seen, sky, k) for k, w in enumerate(mask_cl))
                for sky in range(lmax + 1)
            ]
            for seen in range(edges[-1])
        ]
    )
    modes = 2.0 * np.arange(edges[-1]) + 1
    expected = [
        np.average(full[low:high], axis=0, weights=modes[low:high]) for low, high in pairwise(edges)
    ]
    ours = harmonics.coupling(mask_cl, edges, lmax=lmax)
    np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-12)


def test_coupling_is_the_mean_of_masked_skies():
    """A steep spectrum behind a narrow mask: what leaks is many times what is there."""
    cl = 1.0 / (np.arange(61) + 1.0) ** 4
    theta, _ = hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2))
    observed = (theta < 1).astype(float)
    edges = np.array([2, 4, 8, 14, 22, 32])
    modes = 2.0 * np.arange(32) + 1
    mask_cl = harmonics.cl_of(harmonics.analysis(observed, lmax=90, iterations=3))

    def binned(cl):
        return np.add.reduceat(modes * cl[:32], edges[:-1]) / np.add.reduceat(modes, edges[:-1])

    seen = np.array(
        [
            binned(
                harmonics.cl_of(
                    harmonics.analysis(
                        observed * harmonics.synthesis(random_alm(60, seed, cl), NSIDE),
                        lmax=60,
                        iterations=1,
                    )
                )
            )
            for seed in range(400)
        ]
    )
    expected = harmonics.coupling(mask_cl, edges, lmax=60) @ cl
    error = seen.std(axis=0) / 20
    assert np.all(np.abs(seen.mean(axis=0) - expected) < 4 * error)
    assert np.all(error < 0.08 * expected)
    assert expected[-1] > 3 * observed.mean() * binned(cl)[-1]


@pytest.mark.parametrize(("pixels", "modes"), [(1000, 2**29), (2**25, 9000), (1, 1)])
def test_some_rings_at_a_time_are_all_of_them(pixels, modes, monkeypatch):
    """By few pixels and by few Fourier modes: polar caps, the equator alone, a ring a time."""
    values = np.random.default_rng(5).standard_normal(12 * NSIDE**2)
    observed = values > -1
    masked = np.where(observed, values, 0.0)
    alm = harmonics.analysis(masked, lmax=LMAX, iterations=2)
    sky = harmonics.synthesis(alm, NSIDE)
    monkeypatch.setattr("skyfill.harmonics.sphere._PIXELS", pixels)
    monkeypatch.setattr("skyfill.harmonics.sphere._MODES", modes)
    sphere._blocks.cache_clear()
    try:
        assert len(sphere._blocks(NSIDE, LMAX)) > 5
        hidden = np.where(observed, values, np.nan).astype(np.float64)
        found = harmonics.analysis(hidden, lmax=LMAX, iterations=2, observed=observed)
        np.testing.assert_allclose(found, alm, atol=1e-12)
        np.testing.assert_allclose(harmonics.synthesis(alm, NSIDE), sky, atol=1e-12)
    finally:
        sphere._blocks.cache_clear()


@pytest.mark.parametrize("at_once", [50, 3000])
def test_the_rings_of_some_pixels_are_those_of_the_whole(at_once, monkeypatch):
    rng = np.random.default_rng(6)
    pixels = np.flatnonzero(rng.random(12 * NSIDE**2) < 0.05)
    values, factor = rng.standard_normal((2, pixels.size))
    fl = rng.random(LMAX + 1)
    full = np.zeros(12 * NSIDE**2)
    full[pixels] = values * factor
    alm = harmonics.almxfl(harmonics.adjoint(full, lmax=LMAX), fl)
    expected = harmonics.synthesis(alm, NSIDE)[pixels] * factor
    monkeypatch.setattr("skyfill.harmonics.transforms._PIXELS", at_once)
    rings = harmonics.Rings(NSIDE, pixels, threads=1)
    for _ in range(2):  # nothing is left behind
        alm = harmonics.almxfl(rings.adjoint(values, factor, LMAX), fl)
        np.testing.assert_allclose(rings.synthesis(alm, factor), expected, atol=1e-10)


@pytest.mark.parametrize("ends", [(9, 6), (6, 9), (None, 8)])
@pytest.mark.parametrize("length", [5, 12])
@pytest.mark.parametrize("overwrite", [False, True])
def test_t_e_and_b_are_mixed_as_each_l_and_m_is_by_its_matrix(ends, length, overwrite):
    """T and P end at different l, the matrix before or after them."""
    last = [end for end in ends if end is not None]
    rows = [random_alm(end, seed) for seed, end in enumerate((*last, last[-1]))]
    alm = [*rows[:-2], np.array(rows[-2:])]
    matrix = np.random.default_rng(5).standard_normal((len(rows), len(rows), length))
    expected = [np.zeros_like(row) for row in rows]
    for into, target in enumerate(expected):
        lmax = harmonics.lmax_of(target)
        for at, (ell, m) in enumerate(zip(*hp.Alm.getlm(lmax), strict=True)):
            for of, row in enumerate(rows):
                end = harmonics.lmax_of(row)
                if ell <= end and ell < length:
                    target[at] += matrix[into, of, ell] * row[hp.Alm.getidx(end, ell, m)]
    found = transforms.mixed(alm, matrix, overwrite=overwrite)
    flat = [row for each in found for row in np.atleast_2d(each)]
    for mine, theirs in zip(flat, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-12)
    assert (found[0] is alm[0]) == overwrite


def test_a_part_of_a_map_is_written_or_added():
    """To a vector of any values, at some pixels and at all, with a factor and without."""
    rng = np.random.default_rng(6)
    alm = np.array([random_alm(20, seed) for seed in (1, 2)])
    some = np.flatnonzero(rng.random(12 * NSIDE**2) < 0.1)
    ducc = harmonics.DuccSphere(NSIDE)
    for spin, given in ((0, alm[0]), (2, alm)):
        whole = np.zeros((2, 12 * NSIDE**2) if spin else 12 * NSIDE**2)
        for part, values in harmonics.parts_of(given, NSIDE, spin=spin):
            whole[..., part] = values
        for chosen in (None, some):
            sky = whole if chosen is None else whole[..., chosen]
            factor = rng.random(sky.shape[-1])
            pixels = ducc.pixels(chosen, spin=spin)
            for f, told in ((None, sky), (factor, factor * sky)):
                out = np.full(sky.shape, np.nan)
                assert pixels.synthesis(given, f, out=out) is out
                np.testing.assert_allclose(out, told, atol=1e-12)
                pixels.synthesis(given, f, out=out, add=True)
                np.testing.assert_allclose(out, 2 * told, atol=1e-12)
                back = pixels.adjoint(sky, f, 20)
                bare = pixels.adjoint(told, None, 20)
                np.testing.assert_allclose(back, bare, atol=1e-9)


def test_a_matrix_of_other_rows_is_refused():
    alm = [np.array([random_alm(6, seed) for seed in (1, 2)])]
    with pytest.raises(ValueError, match="2 rows of alm need 2 x 2"):
        transforms.mixed(alm, np.zeros((3, 3, 7)))
