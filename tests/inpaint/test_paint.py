"""The problem of CMB-PAInT, against a dense solution.

CMB-PAInT (arXiv:2405.06820) fills T, Q and U by Cholesky's method on the covariance of all pixels.
Its example has Nside 16, multipoles to 48, a beam of 640', a mask of T with 35.5% of the sky, ΛCDM
with lensing BB, no monopole or dipole, and a little noise to make the matrix positive. Its masks
are simulated here, with holes of P that T does not have. At Nside 32 the beam is half as wide.

The dense solution is that of the modes: with the signal K a of unit modes a and noise N, the
modes have the precision A = 1 + Kᵀ N⁻¹ K of the observed pixels, and the holes the mean
K A⁻¹ Kᵀ N⁻¹ d and the covariance K A⁻¹ Kᵀ + N. At Nside 32 A has 21,000 rows.
"""

import math

import healpy as hp
import numpy as np
import pytest
from scipy.linalg import cholesky, solve_triangular

import skyfill
from skyfill.inpaint import PolarizedInpainter
from skyfill.prior import LCDM, PolarizedPrior, Prior, draw, draw_polarization

#: Noise over the rms of T and of Q; it stands for their regularising noise.
NOISE = 0.02
#: Columns of a product of matrices at a time.
BLOCK = 2048


def problem(nside):
    """Prior, sky of T, Q and U, and masks of T and P."""
    npix = 12 * nside**2
    fwhm = math.radians(640 / 60) * 16 / nside
    bare = Prior(nside, skyfill.lcdm(), fwhm, 1.0, theory=LCDM)
    cl = PolarizedPrior.of(bare, 1.0).signal_cl()
    modes = (2 * np.arange(cl.shape[2]) + 1) / (4 * np.pi)
    rms = math.sqrt(modes @ cl[0, 0]), math.sqrt(modes @ (cl[1, 1] + cl[2, 2]) / 2)
    arcmin = math.degrees(math.sqrt(4 * np.pi / npix)) * 60
    noise = [NOISE * each * arcmin for each in rms]
    t_prior = Prior(nside, skyfill.lcdm(), fwhm, noise[0], theory=LCDM)
    prior = PolarizedPrior.of(t_prior, noise[1])
    t = draw(t_prior, seed=1, aliased=True)
    p, white = draw_polarization(prior, seed=1)
    p += white * math.sqrt(prior.white_cl[1] * npix / (4 * math.pi))
    theta, phi = hp.pix2ang(nside, np.arange(npix))
    latitude = np.pi / 2 - theta
    seen_t = np.abs(latitude) > 0.33 + 0.07 * np.sin(3 * phi)
    seen_p = np.abs(latitude + 0.1 * np.cos(phi)) > 0.3
    for centre, seen in ((40, seen_t), (100, seen_p), (2900, seen_p), (200, seen_t)):
        seen[hp.query_disc(nside, hp.pix2vec(16, centre), 0.12)] = False
    return prior, np.array([t, *p]), seen_t, seen_p


def factor(prior):
    """Give K with signal covariance K Kᵀ of all pixels of T, Q and U, by healpy's transforms."""
    cl = prior.signal_cl()
    nside, lmax = prior.temperature.nside, cl.shape[2] - 1
    npix = 12 * nside**2
    zero = np.zeros(hp.Alm.getsize(lmax), complex)
    ell, m = hp.Alm.getlm(lmax)
    rows, row = np.zeros((3 * ((lmax + 1) ** 2 - 4), 3 * npix)), 0
    for index in np.flatnonzero(ell >= 2):
        tt, ee, bb, te = (cl[i, j, ell[index]] for i, j in ((0, 0), (1, 1), (2, 2), (0, 1)))
        for unit in (1.0,) if m[index] == 0 else (math.sqrt(0.5), 1j * math.sqrt(0.5)):
            mode = zero.copy()
            mode[index] = unit
            e = np.array(hp.alm2map([zero, mode, zero], nside))[1:].ravel()
            b = np.array(hp.alm2map([zero, zero, mode], nside))[1:].ravel()
            seen = te / math.sqrt(tt) if tt > 0 else 0.0
            if tt > 0:
                rows[row, :npix] = math.sqrt(tt) * hp.alm2map(mode, nside)
            rows[row, npix:] = seen * e
            rows[row + 1, npix:] = math.sqrt(max(ee - seen**2, 0)) * e
            rows[row + 2, npix:] = math.sqrt(bb) * b
            row += 3
    return rows


def products(rows):
    """Give the lower half of rows rowsᵀ, block by block: a product at once is beyond OpenBLAS."""
    number = len(rows)
    lower = np.zeros((number, number), order="F")
    for start in range(0, number, BLOCK):
        lower[start:, start : start + BLOCK] = rows[start:] @ rows[start : start + BLOCK].T
    return lower


@pytest.mark.slow
@pytest.mark.parametrize(("nside", "number"), [(16, 200), (32, 40)])
def test_mean_and_covariance_of_realizations_are_those_of_the_dense_solution(nside, number):
    prior, sky, seen_t, seen_p = problem(nside)
    npix = 12 * nside**2
    seen = np.concatenate([seen_t, seen_p, seen_p])
    assert 0.30 < 1 - seen_t.mean() < 0.40
    root = factor(prior)
    noise = np.repeat(np.multiply(prior.white_cl, npix / (4 * np.pi)), (npix, 2 * npix))
    inside, outside = root[:, ~seen], root[:, seen]
    del root
    outside /= np.sqrt(noise[seen])
    precision = products(outside)
    precision[np.diag_indices(len(precision))] += 1
    precision = cholesky(precision, lower=True, overwrite_a=True, check_finite=False)
    known = outside @ (sky.ravel()[seen] / np.sqrt(noise[seen]))
    del outside
    words = {"lower": True, "check_finite": False}
    left = solve_triangular(precision, inside, overwrite_b=True, **words)
    mean = left.T @ solve_triangular(precision, known, **words)
    del precision, inside
    covariance = products(np.ascontiguousarray(left.T))
    del left
    covariance[np.diag_indices(len(covariance))] += noise[~seen]

    whole = np.where([seen_t, seen_p, seen_p], sky, np.nan)
    options = {"prior": prior, "dipole": "prior", "tolerance": 1e-5, "seed": 3, "threads": 1}
    filler = PolarizedInpainter(whole, seen_t, observed_pol=seen_p, **options)
    sizes = [int(hole.sum()) for hole in filler.holes]
    parts = np.split(mean, np.cumsum(sizes)[:-1])
    away = [
        math.sqrt(float(np.mean((mine - theirs) ** 2))) / float(np.std(each))
        for mine, theirs, each in zip(filler.mean(), parts, sky, strict=True)
    ]

    n = mean.size
    draws = np.array([np.concatenate(filler.realization(k)) for k in range(number)]) - mean
    variance = np.diag(covariance).copy()
    covariance = cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
    white = solve_triangular(covariance, draws.T, **words)
    chi2, error = float(np.mean(white**2)), math.sqrt(2 / (number * n))
    # The covariance of whitened draws is one, apart from the scatter of few draws. The squares of
    # its n² numbers have the sum of those of this matrix of number² numbers.
    gram = white.T @ white / number
    squares = float(np.sum(gram**2))
    expected = n + n * (n + 1) / number
    scatter = 2 * n / number * math.sqrt(1 + 2 * n / number)
    ratio = np.std(draws, axis=0, ddof=1) / np.sqrt(variance)
    spread = [float(each.mean()) for each in np.split(ratio, np.cumsum(sizes)[:-1])]
    print(  # noqa: T201 - the figures of docs/peers.md
        f"holes {sizes}; mean: distance over the map's rms {away}; chi² {chi2:.4f} ± {error:.4f};"
        f" squares of the covariance {squares / expected:.4f} ± {scatter / expected:.4f};"
        f" spread {spread}"
    )
    assert max(away) < 1e-4
    assert abs(chi2 - 1) < 4 * error
    assert abs(squares - expected) < 5 * scatter
    assert max(abs(each - 1) for each in spread) < 0.14 / math.sqrt(number)
