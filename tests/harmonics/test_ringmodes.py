"""Transforms on memory that is kept: those of ducc0, bit by bit, whoever else transforms."""

from concurrent.futures import ThreadPoolExecutor

import ducc0
import numpy as np
import pytest

from skyfill.harmonics.ringmodes import adjoint_on, scratch, synthesis_on
from skyfill.harmonics.sphere import rings


def problem(nside, lmax, spin, seed=0):
    random = np.random.default_rng(seed)
    planes, size = 1 + spin // 2, (lmax + 1) * (lmax + 2) // 2
    alm = random.standard_normal((planes, size)) + 1j * random.standard_normal((planes, size))
    alm[:, : lmax + 1].imag = 0
    return alm, random.standard_normal((planes, 12 * nside**2))


def check(nside, lmax, spin, seed=0):
    """Compare on one thread; on several, ducc0's own last bits vary from call to call (lmax 66)."""
    alm, sky = problem(nside, lmax, spin, seed)
    options = {"spin": spin, "lmax": lmax}
    geometry = rings(nside)
    known = ducc0.sht.synthesis(alm=alm, nthreads=1, **options, **geometry)
    np.testing.assert_array_equal(synthesis_on(geometry, alm, threads=1, **options), known)
    known = ducc0.sht.adjoint_synthesis(map=sky, nthreads=1, **options, **geometry)
    np.testing.assert_array_equal(adjoint_on(geometry, sky, threads=1, **options), known)


@pytest.mark.parametrize("spin", [0, 2])
@pytest.mark.parametrize(("nside", "lmax"), [(32, 95), (4, 3), (64, 255), (16, 40)])
def test_the_bits_of_ducc0_after_larger_and_smaller_transforms(nside, lmax, spin):
    """255 has rows that would share places of the cache, and are longer in memory."""
    check(nside, lmax, spin)


def test_the_result_is_written_where_it_is_wanted():
    alm, _ = problem(16, 30, 2)
    out = np.full((2, 12 * 16**2), np.nan)
    geometry = rings(16)
    found = synthesis_on(geometry, alm, spin=2, lmax=30, threads=1, out=out)
    known = synthesis_on(geometry, alm, spin=2, lmax=30, threads=1)
    np.testing.assert_array_equal(out, known)
    assert np.shares_memory(found, out)
    assert not np.shares_memory(found, known)


def test_threads_that_transform_at_once_do_not_share_memory():
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(check, 32, 60 + k, 2 * (k % 2), k) for k in range(24)]:
            done.result()


def test_scratch_is_lent_to_one_at_a_time():
    with scratch(1, 100) as one, scratch(2, 50) as other:
        assert one.shape == (1, 100)
        assert other.shape == (2, 50)
        assert not np.shares_memory(one, other)
    with scratch(1, 99) as again:
        assert np.shares_memory(again, one)
    with scratch(1, 2**25 + 2) as large, scratch(1, 99) as small:  # more than is kept
        assert np.shares_memory(small, again)
        assert not np.shares_memory(large, small)
    with pytest.raises(KeyError), scratch(1, 10):
        raise KeyError
    with scratch(1, 10) as again:
        assert np.shares_memory(again, one)
