"""The blocks of small holes: what they are, and that threads change nothing of them."""

import threading
import time

import numpy as np
import pytest
from scipy import linalg
from threadpoolctl import threadpool_info, threadpool_limits

from skyfill import harmonics
from skyfill.gaussian import cholesky
from skyfill.gaussian.blocks import HoleBlocks, Kernel
from skyfill.harmonics import Covariance
from skyfill.holes import disc_pixels
from skyfill.prior import ARCMIN, Prior, lcdm

NSIDE = 64
KNOWN = Prior(NSIDE, lcdm(), fwhm=100 * ARCMIN, noise_uk_arcmin=800.0)


def blocks_of(radii, threads):
    """Prepare discs, one after the other along the equator, and the covariance they are of."""
    lon = np.linspace(0, 6, len(radii))
    centres = np.stack([np.cos(lon), np.sin(lon), np.zeros_like(lon)], axis=1)
    discs = [disc_pixels(NSIDE, c, r) for c, r in zip(centres, radii, strict=True)]
    pixels = np.sort(np.concatenate(discs))
    weights = harmonics.pixel_weights(NSIDE)
    noise = KNOWN.white_cl * weights.size / (4 * np.pi)
    covariance = Covariance(weights, KNOWN.signal_cl()[:97], noise, pixels=pixels)
    holes = [np.searchsorted(pixels, disc) for disc in discs]
    kernel = Kernel(covariance, covariance.weights, NSIDE, pixels, holes)
    return HoleBlocks(kernel, threads=threads), covariance, pixels


def in_turn(do, values):
    for value in values:
        do(value)


def blas_threads():
    return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]


@pytest.mark.parametrize(("large", "tile"), [(4000, 512), (400, 64), (1, 100)])
def test_factors_are_the_same_for_any_number_of_threads(large, tile, monkeypatch):
    """BLAS with two threads rounds otherwise from some 150 rows on: it must never get them."""
    monkeypatch.setattr(cholesky, "_LARGE", large)
    monkeypatch.setattr(cholesky, "_TILE", tile)
    radii = [0.2, 0.03, 0.25, 0.05, 0.22, 0.15, 0.04]
    found = []
    for threads, of_blas in ((1, 1), (1, 2), (2, 2), (5, 4)):
        with threadpool_limits(of_blas, user_api="blas"):
            blocks, *_ = blocks_of(radii, threads)
            assert max(hole.size for hole in blocks.kernel.holes) > 500
            found.append((np.concatenate(blocks._factors), blocks.variance()))
    for factors, variance in found[1:]:
        assert np.array_equal(factors, found[0][0])
        assert np.array_equal(variance, found[0][1])


def test_a_block_times_its_factors_inverse_is_one():
    blocks, covariance, pixels = blocks_of([0.1, 0.02, 0.06], 2)
    rows = np.random.default_rng(0).choice(pixels.size, 5, replace=False)
    solution = np.zeros(pixels.size)
    variance = blocks.variance()
    for hole in blocks.kernel.holes:
        matrix = np.empty((hole.size, hole.size))
        for column, pixel in enumerate(hole):
            unit = np.zeros(pixels.size)
            unit[pixel] = 1.0
            matrix[:, column] = covariance.inverse(unit)[hole]
        solution[hole] = linalg.solve(matrix, np.sin(hole), assume_a="pos")
        assert variance[hole] == pytest.approx(np.diag(np.linalg.inv(matrix)), rel=1e-5)
    solved = blocks.solve(np.sin(np.arange(pixels.size)))
    assert solved[rows] == pytest.approx(solution[rows], rel=1e-4, abs=1e-4 * solution.std())


def test_each_matrix_is_worked_on_once_the_largest_first_within_the_room():
    sizes = np.array([3, 100, 40, 99, 1, 98, 40, 97])
    lock, running, most, began = threading.Lock(), [], [], []

    def work(k, each):
        with lock:
            running.append(k)
            began.append(k)
            most.append(sum(int(sizes[i]) ** 2 for i in running))
        time.sleep(0.01)
        with lock:
            running.remove(k)

    cholesky.for_each(sizes, work, threads=4)
    assert sorted(began) == list(range(sizes.size))
    assert began[0] == 1
    assert max(most) <= 2 * 100**2
    assert max(most) > 100**2  # and it is used


def test_blas_gets_its_threads_back_even_if_work_fails():
    def work(k, each):
        assert set(blas_threads()) == {1}
        if k == 2:
            raise MemoryError("no room for a matrix")

    with threadpool_limits(2, user_api="blas"):
        for threads in (1, 3):
            with pytest.raises(MemoryError, match="no room"):
                cholesky.for_each(np.arange(1, 9), work, threads=threads)
            assert set(blas_threads()) == {2}


def test_no_matrix_no_work():
    cholesky.for_each(np.empty(0, np.int64), lambda k, each: pytest.fail("called"), threads=2)


@pytest.mark.parametrize(("large", "tile"), [(31, 8), (30, 8), (2, 7), (2, 1), (2, 30), (2, 50)])
def test_factor_and_inverse_of_a_lower_triangle(large, tile, monkeypatch):
    monkeypatch.setattr(cholesky, "_LARGE", large)
    monkeypatch.setattr(cholesky, "_TILE", tile)
    rng = np.random.default_rng(1)
    root = rng.normal(size=(30, 60))
    matrix = np.asfortranarray(root @ root.T)
    known = matrix.copy()
    matrix[np.triu_indices(30, 1)] = np.nan  # neither read nor written
    assert cholesky.factorise(matrix)
    assert np.tril(matrix) == pytest.approx(np.linalg.cholesky(known))
    cholesky.invert(matrix)
    assert np.tril(matrix) == pytest.approx(np.tril(np.linalg.inv(known)))
    assert np.isnan(matrix[np.triu_indices(30, 1)]).all()
    known[29, 29] = -1.0  # in the last tile
    assert not cholesky.factorise(np.asfortranarray(known))
    with pytest.raises(ValueError, match="Fortran"):
        cholesky.factorise(np.ascontiguousarray(known[:, ::-1]))


def test_a_block_that_is_not_quite_positive_gets_a_ridge(monkeypatch):
    """The matrix is made anew: a factorisation that fails has spoilt it."""
    blocks, *_ = blocks_of([0.05, 0.02], 1)
    plain = np.tril(blocks._factor(0, in_turn))
    known = plain @ plain.T
    tries = iter([False, False])
    real = cholesky.factorise
    monkeypatch.setattr(
        "skyfill.gaussian.blocks.factorise",
        lambda matrix, each: real(matrix, each) and next(tries, True),
    )
    ridged = np.tril(blocks._factor(0, in_turn))
    assert ridged @ ridged.T == pytest.approx(known + 1e-4 * np.diag(np.diag(known)), rel=1e-9)
