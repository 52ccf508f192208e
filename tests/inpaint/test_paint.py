"""The problem of CMB-PAInT, against a dense solution.

CMB-PAInT (arXiv:2405.06820) fills T, Q and U by Cholesky's method on the covariance of all pixels.
Its example has Nside 16, multipoles to 48, a beam of 640', a mask of T with 35.5% of the sky, ΛCDM
with lensing BB, no monopole or dipole, and a little noise to make the matrix positive. Its masks
are simulated here, with holes of P that T does not have.
"""

import math

import healpy as hp
import numpy as np
import pytest
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular

import skyfill
from skyfill.inpaint import PolarizedInpainter
from skyfill.prior import LCDM, PolarizedPrior, Prior, draw, draw_polarization

NSIDE = 16
NPIX = 12 * NSIDE**2
FWHM = 640.0
#: Noise over the rms of T and of Q; it stands for their regularising noise.
NOISE = 0.02


def problem():
    """Prior, sky of T, Q and U, and masks of T and P."""
    bare = Prior(NSIDE, skyfill.lcdm(), math.radians(FWHM / 60), 1.0, theory=LCDM)
    cl = PolarizedPrior.of(bare, 1.0).signal_cl()
    modes = (2 * np.arange(cl.shape[2]) + 1) / (4 * np.pi)
    rms = math.sqrt(modes @ cl[0, 0]), math.sqrt(modes @ (cl[1, 1] + cl[2, 2]) / 2)
    arcmin = math.degrees(math.sqrt(4 * np.pi / NPIX)) * 60
    noise = [NOISE * each * arcmin for each in rms]
    t_prior = Prior(NSIDE, skyfill.lcdm(), math.radians(FWHM / 60), noise[0], theory=LCDM)
    prior = PolarizedPrior.of(t_prior, noise[1])
    t = draw(t_prior, seed=1, aliased=True)
    p, white = draw_polarization(prior, seed=1)
    p += white * math.sqrt(prior.white_cl[1] * NPIX / (4 * math.pi))
    theta, phi = hp.pix2ang(NSIDE, np.arange(NPIX))
    latitude = np.pi / 2 - theta
    seen_t = np.abs(latitude) > 0.33 + 0.07 * np.sin(3 * phi)
    seen_p = np.abs(latitude + 0.1 * np.cos(phi)) > 0.3
    for centre, seen in ((40, seen_t), (100, seen_p), (2900, seen_p), (200, seen_t)):
        seen[hp.query_disc(NSIDE, hp.pix2vec(NSIDE, centre), 0.12)] = False
    return prior, np.array([t, *p]), seen_t, seen_p


def factor(prior):
    """Give K with signal covariance K Kᵀ of all pixels of T, Q and U, by healpy's transforms."""
    cl = prior.signal_cl()
    lmax = cl.shape[2] - 1
    zero = np.zeros(hp.Alm.getsize(lmax), complex)
    columns = []
    ell, m = hp.Alm.getlm(lmax)
    for index in np.flatnonzero(ell >= 2):
        tt, ee, bb, te = (cl[i, j, ell[index]] for i, j in ((0, 0), (1, 1), (2, 2), (0, 1)))
        for unit in (1.0,) if m[index] == 0 else (math.sqrt(0.5), 1j * math.sqrt(0.5)):
            mode = zero.copy()
            mode[index] = unit
            t = np.zeros(NPIX) if tt == 0 else hp.alm2map(mode, NSIDE)
            e = np.array(hp.alm2map([zero, mode, zero], NSIDE))[1:].ravel()
            b = np.array(hp.alm2map([zero, zero, mode], NSIDE))[1:].ravel()
            seen = te / math.sqrt(tt) if tt > 0 else 0.0
            columns.append(np.concatenate([math.sqrt(tt) * t, seen * e]))
            columns.append(np.concatenate([0 * t, math.sqrt(max(ee - seen**2, 0)) * e]))
            columns.append(np.concatenate([0 * t, math.sqrt(bb) * b]))
    return np.array(columns).T


@pytest.mark.slow
def test_mean_and_covariance_of_realizations_are_those_of_the_dense_solution():
    prior, sky, seen_t, seen_p = problem()
    seen = np.concatenate([seen_t, seen_p, seen_p])
    assert 0.30 < 1 - seen_t.mean() < 0.40
    root = factor(prior)
    noise = np.repeat(np.multiply(prior.white_cl, NPIX / (4 * np.pi)), (NPIX, 2 * NPIX))
    inside, outside = root[~seen], root[seen]
    del root
    observed = outside @ outside.T + np.diag(noise[seen])
    observed = cho_factor(observed, lower=True, overwrite_a=True)
    across = inside @ outside.T
    mean = across @ cho_solve(observed, sky.ravel()[seen])
    left = solve_triangular(observed[0], across.T, lower=True, overwrite_b=True)
    covariance = inside @ inside.T + np.diag(noise[~seen]) - left.T @ left
    del observed, across, left, inside, outside

    whole = np.where([seen_t, seen_p, seen_p], sky, np.nan)
    words = {"prior": prior, "dipole": "prior", "tolerance": 1e-5, "seed": 3, "threads": 1}
    filler = PolarizedInpainter(whole, seen_t, observed_pol=seen_p, **words)
    sizes = [int(hole.sum()) for hole in filler.holes]
    parts = np.split(mean, np.cumsum(sizes)[:-1])
    away = [
        math.sqrt(float(np.mean((mine - theirs) ** 2))) / float(np.std(each))
        for mine, theirs, each in zip(filler.mean(), parts, sky, strict=True)
    ]

    number, n = 200, mean.size
    draws = np.array([np.concatenate(filler.realization(k)) for k in range(number)]) - mean
    white = solve_triangular(cholesky(covariance, lower=True), draws.T, lower=True)
    chi2, error = float(np.mean(white**2)), math.sqrt(2 / (number * n))
    # The covariance of whitened draws is one, apart from the scatter of few draws. The squares of
    # its n² numbers have the sum of those of this matrix of number² numbers.
    gram = white.T @ white / number
    squares = float(np.sum(gram**2))
    expected = n + n * (n + 1) / number
    scatter = 2 * n / number * math.sqrt(1 + 2 * n / number)
    ratio = np.std(draws, axis=0, ddof=1) / np.sqrt(np.diag(covariance))
    spread = [float(each.mean()) for each in np.split(ratio, np.cumsum(sizes)[:-1])]
    print(  # noqa: T201 - the figures of docs/measured.md
        f"holes {sizes}; mean: distance over the map's rms {away}; chi² {chi2:.4f} ± {error:.4f};"
        f" squares of the covariance {squares / expected:.4f} ± {scatter / expected:.4f};"
        f" spread {spread}"
    )
    assert max(away) < 1e-4
    assert abs(chi2 - 1) < 4 * error
    assert abs(squares - expected) < 5 * scatter
    assert max(abs(each - 1) for each in spread) < 0.01
