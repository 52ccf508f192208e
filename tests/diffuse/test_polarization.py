"""The diffusive fill of Q and U: neighbours are turned into the axes of the filled pixel."""

from __future__ import annotations

import healpy as hp
import numba
import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.linalg import spsolve

from skyfill.diffuse import diffuse_polarization
from tests.diffuse.test_diffuse import ragged

NSIDE = 32
#: Euler angles that carry the north pole to the equator.
TURN = (0.3, np.pi / 2, 0.0)


def turns(nside: int, here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Give exp 2i(γ_here - γ_there), by the angles of the great circle, with arctan2."""
    theta, phi = hp.pix2ang(nside, here)
    theta_2, phi_2 = hp.pix2ang(nside, there)

    def angle(t, f, t_2, f_2):  # from south towards east
        east = np.sin(t_2) * np.sin(f_2 - f)
        north = np.sin(t) * np.cos(t_2) - np.cos(t) * np.sin(t_2) * np.cos(f_2 - f)
        return np.arctan2(east, -north)

    mine = angle(theta, phi, theta_2, phi_2)
    theirs = angle(theta_2, phi_2, theta, phi)
    return np.exp(2j * (mine - theirs))


def exactly(p: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """The slow twin: the same linear equations, from angles, solved directly."""
    nside = hp.npix2nside(p.size)
    holes = np.flatnonzero(~observed)
    around = hp.get_all_neighbours(nside, holes).T
    slot = np.full(p.size + 1, -1)
    slot[holes] = np.arange(holes.size)
    there = around >= 0
    turn = np.where(there, turns(nside, holes[:, None] + 0 * around, np.maximum(around, 0)), 0)
    unknown = there & (slot[around] >= 0)
    rows = np.nonzero(unknown)[0]
    data = np.r_[there.sum(axis=1).astype(complex), -turn[unknown]]
    where = np.r_[np.arange(holes.size), rows], np.r_[np.arange(holes.size), slot[around[unknown]]]
    known = np.where(there & ~unknown, turn * p[around], 0).sum(axis=1)
    return spsolve(csr_array((data, where)).tocsc(), known)


def e_modes(lmax: int = 30) -> np.ndarray:
    """Draw alm of smooth E modes."""
    random = np.random.default_rng(5)
    alm = random.normal(size=(2, hp.Alm.getsize(lmax)))
    alm[1, : lmax + 1] = 0  # m = 0 is real
    ell = np.arange(lmax + 1)
    return hp.almxfl(alm[0] + 1j * alm[1], np.where(ell > 1, (ell + 1.0) ** -1.5, 0))


def sky_of(e: np.ndarray, nside: int = NSIDE) -> np.ndarray:
    """Give Q and U of E modes."""
    return np.array(hp.alm2map([0 * e, e, 0 * e], nside))[1:]


@pytest.fixture(scope="module")
def sky() -> np.ndarray:
    """Smooth Q and U."""
    values = sky_of(e_modes())
    values.setflags(write=False)
    return values


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("direct", [20, 20_000])
def test_solves_the_equations_of_transported_neighbours(sky, seed, direct, monkeypatch):
    """By multigrid over four levels, and by elimination on the only one; the poles are holes."""
    monkeypatch.setattr("skyfill.diffuse.fill.DIRECT", direct)
    observed = ragged(NSIDE, seed=seed)
    observed[:50] = observed[-30:] = False
    p = sky[0] + 1j * sky[1]
    truth = exactly(p, observed)
    scale = np.sqrt(np.mean(np.abs(p[observed]) ** 2))
    q, u = diffuse_polarization(np.where(observed, sky, np.nan), observed, tol=1e-10)
    np.testing.assert_allclose(q + 1j * u, truth, atol=1e-8 * scale)
    q, u = diffuse_polarization(sky, observed)
    assert np.sqrt(np.mean(np.abs(q + 1j * u - truth) ** 2)) < 1e-3 * scale


def rms_of_fill(alm: np.ndarray, centre: tuple[float, float], *, plain: bool = False) -> float:
    """Fill a hole of 8° and give the rms of its error over that of the sky."""
    truth = sky_of(alm)
    observed = np.ones(truth.shape[1], bool)
    observed[hp.query_disc(NSIDE, hp.ang2vec(*centre), np.radians(8))] = False
    if plain:
        from skyfill.diffuse import diffuse

        found = np.array([diffuse(each, observed)[~observed] for each in truth])
    else:
        found = diffuse_polarization(truth, observed)
    return float(np.sqrt(np.mean((found - truth[:, ~observed]) ** 2) / np.mean(truth**2)))


def test_a_hole_at_the_pole_is_filled_as_one_at_the_equator():
    """Means of plain neighbours, which know no axes, are three times worse at the pole."""
    here = e_modes(12)
    there = here.copy()
    hp.rotate_alm([np.zeros_like(there), there, np.zeros_like(there)], *TURN)
    rotated = [np.zeros_like(here), here.copy(), np.zeros_like(here)]
    hp.rotate_alm(rotated, *TURN)
    # Where the rotation has carried the north pole: the peak of a zonal sky that it turns.
    zonal = np.zeros(hp.Alm.getsize(12), complex)
    zonal[:13] = np.sqrt((2 * np.arange(13) + 1) / (4 * np.pi))
    hp.rotate_alm(zonal, *TURN)
    centre = hp.pix2ang(256, int(np.argmax(hp.alm2map(zonal, 256))))
    assert abs(centre[0] - np.pi / 2) < 0.02
    pole, equator = rms_of_fill(here, (0.0, 0.0)), rms_of_fill(rotated[1], centre)
    assert pole == pytest.approx(equator, rel=0.1)
    assert rms_of_fill(here, (0.0, 0.0), plain=True) > 3 * pole


def test_e_modes_are_not_exchanged_for_b_modes():
    """Axes turned by half the right angle, or the other way round, would put E into B."""
    truth = sky_of(e_modes(12))
    observed = np.ones(truth.shape[1], bool)
    for centre in ((0.0, 0.0), (0.4, 1.0), (np.pi, 0.0)):
        observed[hp.query_disc(NSIDE, hp.ang2vec(*centre), np.radians(10))] = False
    filled = truth.copy()
    filled[:, ~observed] = diffuse_polarization(truth, observed)
    e, b = hp.anafast(np.vstack([0 * filled[:1], filled]), lmax=12, iter=3)[1:3]
    plain = np.where(observed, truth, 0)
    lost = hp.anafast(np.vstack([0 * plain[:1], plain]), lmax=12, iter=3)[2]
    assert b.sum() < 2e-3 * e.sum()
    assert b.sum() < 0.2 * lost.sum()


def test_observed_pixels_do_not_matter_beyond_the_edge_and_threads_never(sky, monkeypatch):
    monkeypatch.setattr("skyfill.diffuse.fill.DIRECT", 20)
    observed = ragged(NSIDE)
    several = diffuse_polarization(sky, observed)
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        np.testing.assert_array_equal(diffuse_polarization(sky, observed), several)
    finally:
        numba.set_num_threads(threads)
    monkeypatch.setattr("skyfill.diffuse.fill.TABLE", 20)
    monkeypatch.setattr("skyfill.diffuse.fill.AT_ONCE", 64)
    np.testing.assert_allclose(diffuse_polarization(sky, observed), several, atol=1e-12)


def test_the_sign_of_u_does_not_matter(sky):
    """In the convention of the IAU angles run the other way in the numbers and in the axes."""
    observed = ragged(NSIDE)
    q, u = diffuse_polarization(sky, observed, tol=1e-8)
    mirrored = np.array([sky[0], -sky[1]])
    q_2, u_2 = diffuse_polarization(mirrored, observed, tol=1e-8)
    assert not np.allclose(u, -u_2, atol=1e-3 * sky.std())
    assert np.isfinite(q_2).all()
    assert np.isfinite(q).all()


def test_without_holes_there_is_nothing(sky):
    assert diffuse_polarization(sky, np.ones(sky.shape[1], bool)).shape == (2, 0)


@pytest.mark.parametrize("nside", [1, 2, 4])
def test_very_coarse_skies_are_filled(nside):
    observed = np.zeros(12 * nside**2, dtype=bool)
    observed[3] = True
    values = np.where(observed, 7.0, np.nan)
    found = diffuse_polarization(np.array([values, values]), observed, max_iter=500)
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= 7 * np.sqrt(2) + 1e-6


def test_bad_input_is_refused(sky):
    observed = ragged(NSIDE)
    with pytest.raises(ValueError, match=r"values must be \(2, npix\), Q and U"):
        diffuse_polarization(sky[0], observed)
    with pytest.raises(ValueError, match="nothing to diffuse from"):
        diffuse_polarization(sky, np.zeros(sky.shape[1], bool))
    with pytest.raises(ValueError, match="not finite"):
        diffuse_polarization(np.where(observed, np.nan, sky), observed)
