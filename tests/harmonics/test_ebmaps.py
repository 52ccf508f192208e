"""Maps of E and B are healpy's, and E does not become B."""

import healpy as hp
import numpy as np
import pytest

from skyfill.harmonics import eb_maps

NSIDE = 16
LMAX = 24


def modes(seed):
    """Draw T, E and B to 1.5 Nside; T is not looked at."""
    rng = np.random.default_rng(seed)
    size = hp.Alm.getsize(LMAX)
    alm = rng.normal(size=(3, size)) + 1j * rng.normal(size=(3, size))
    ell, m = hp.Alm.getlm(LMAX)
    alm[:, m == 0] = alm[:, m == 0].real
    alm[:, ell < 2] = 0
    return alm


def test_maps_are_those_of_healpy():
    alm = modes(1)
    _, q, u = hp.alm2map(alm, NSIDE, lmax=LMAX)
    for found, own in zip(eb_maps(q, u), alm[1:], strict=True):
        expected = hp.alm2map(own, NSIDE, lmax=LMAX)
        assert np.abs(found - expected).max() < 1e-6 * np.abs(expected).max()
    # healpy's own way back, iterated, on a sky that it made
    _, e_alm, b_alm = hp.map2alm([0 * q, q, u], lmax=LMAX, iter=30)
    e, b = eb_maps(q, u)
    assert e == pytest.approx(hp.alm2map(e_alm, NSIDE, lmax=LMAX), abs=1e-4 * np.abs(e).max())
    assert b == pytest.approx(hp.alm2map(b_alm, NSIDE, lmax=LMAX), abs=1e-4 * np.abs(b).max())


@pytest.mark.parametrize("kind", [1, 2])
def test_modes_of_one_kind_leave_nothing_in_the_other(kind):
    alm = modes(2)
    alm[3 - kind] = 0
    _, q, u = hp.alm2map(alm, NSIDE, lmax=LMAX)
    both = eb_maps(q, u)
    assert np.std(both[2 - kind]) < 1e-6 * np.std(both[kind - 1])


def test_lower_multipoles_alone():
    alm = modes(3)
    _, q, u = hp.alm2map(alm, NSIDE, lmax=LMAX)
    low = np.array([1.0] * 9 + [0.0] * (LMAX - 8))
    e, _ = eb_maps(q, u, lmax=8)
    expected = hp.alm2map(hp.almxfl(alm[1], low), NSIDE, lmax=LMAX)
    assert e == pytest.approx(expected, abs=1e-6 * np.abs(expected).max())


def test_what_is_not_a_whole_sky_is_refused():
    q = np.zeros(12 * NSIDE**2)
    holed = q.copy()
    holed[5] = np.nan
    with pytest.raises(ValueError, match="1 pixels are missing; fill them first"):
        eb_maps(q, holed)
    with pytest.raises(ValueError, match="Q has Nside 16, U has Nside 8"):
        eb_maps(q, np.zeros(768))
    with pytest.raises(ValueError, match=r"`lmax` must be from 2 to 1.5 Nside = 24, got 25"):
        eb_maps(q, q, lmax=25)
