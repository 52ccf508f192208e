"""Pixel weights: integrals that are exact, and a cache that cannot lie."""

import healpy as hp
import numpy as np
import pytest

from skyfill import harmonics
from skyfill.harmonics import quadrature


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SKYFILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def random_alm(lmax, seed):
    real, imaginary = np.random.default_rng(seed).standard_normal((2, hp.Alm.getsize(lmax)))
    alm = real + 1j * imaginary
    alm[: lmax + 1] = alm[: lmax + 1].real
    return alm


@pytest.mark.parametrize("nside", [1, 2, 4, 8, 16, 32, 128])
def test_harmonics_are_orthonormal_under_the_weights(nside):
    weights = harmonics.pixel_weights(nside, cache=False)
    lmax = harmonics.quadrature_lmax(nside)
    assert lmax >= nside
    alm = random_alm(lmax, seed=nside)
    values = harmonics.synthesis(alm, nside)
    back = 4 * np.pi / values.size * harmonics.adjoint(weights * values, lmax=lmax)
    assert np.abs(back - alm).max() < 1e-4
    assert np.sqrt(np.mean(np.abs(back - alm) ** 2)) < 2e-6
    plain = 4 * np.pi / values.size * harmonics.adjoint(values, lmax=lmax)
    assert np.abs(plain - alm).max() > 0.005  # without them it is not so


@pytest.mark.parametrize("nside", [1, 8, 16, 64])
def test_weights_are_as_symmetric_as_the_pixels(nside):
    weights = harmonics.pixel_weights(nside, cache=False)
    x, y, z = hp.pix2vec(nside, np.arange(weights.size))
    for turned in ((-y, x, z), (x, y, -z), (x, -y, z)):
        np.testing.assert_allclose(weights[hp.vec2pix(nside, *turned)], weights, atol=1e-7)
    assert weights.mean() == pytest.approx(1, abs=1e-7)
    assert weights.min() > 0


def test_every_harmonic_to_three_nside_integrates_to_nothing():
    weights = harmonics.pixel_weights(32, cache=False)
    ring = harmonics.adjoint(weights, lmax=95)
    expected = np.zeros_like(ring)
    expected[0] = weights.size / np.sqrt(4 * np.pi)
    assert np.abs(ring - expected).max() < 1e-6 * expected[0].real


def test_the_cache_gives_the_same_and_notices_damage(cache, monkeypatch):
    first = harmonics.pixel_weights(16)
    (path,) = cache.iterdir()
    solved = quadrature._solve
    monkeypatch.setattr(quadrature, "_solve", lambda *_: pytest.fail("solved again"))
    np.testing.assert_array_equal(harmonics.pixel_weights(16), first)
    monkeypatch.setattr(quadrature, "_solve", solved)
    content = bytearray(path.read_bytes())
    content[13] ^= 1
    path.write_bytes(content)
    np.testing.assert_array_equal(harmonics.pixel_weights(16), first)
    path.write_bytes(path.read_bytes()[:200])
    np.testing.assert_array_equal(harmonics.pixel_weights(16), first)
    path.write_bytes(b"")
    np.testing.assert_array_equal(harmonics.pixel_weights(16), first)
    assert [p.name for p in cache.iterdir()] == [path.name]


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SKYFILL_CACHE", str(tmp_path / "file" / "cache"))
    assert harmonics.pixel_weights(8).size == 768


def test_no_weights_beyond_their_reach():
    with pytest.raises(ValueError, match="reach lmax 24, not 25"):
        harmonics.pixel_weights(16, lmax=25)
    assert harmonics.pixel_weights(16, lmax=10, cache=False).size == 3072
