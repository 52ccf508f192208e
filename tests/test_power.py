"""Realizations keep the power of the sky, and the mean loses what it must."""

import sys
from itertools import pairwise

import numpy as np
import pytest

from skyfill import flatsky, harmonics, vae
from skyfill.gaussian import Solver
from skyfill.mosaic import Mosaic
from skyfill.prior import ARCMIN, Prior, draw, lcdm
from skyfill.prior.simulate import simulate_mask

NSIDE, LMAX, SKIES, MEANS = 256, 512, 20, 4


def vae_engine(cl, *, guard, **geometry):
    """Make the shipped network fill tiles, as `skyfill.Inpainter` does."""
    field = flatsky.TileField.of(cl, **geometry)
    return vae.TileFiller(
        vae.load()[0], field, guard=guard, refine=40, tolerance=3e-2, batch_size=64, device="cpu"
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["holes", "both"])
def test_filled_power_is_the_skys(kind):
    """On 20 skies the mean ratio of filled to true C_l is one within three standard errors."""
    prior = Prior(NSIDE, lcdm(), fwhm=20 * ARCMIN, noise_uk_arcmin=60.0)
    observed = simulate_mask(NSIDE, kind=kind, seed=11, n_holes=250)
    holes = ~observed
    fill = Mosaic(observed, prior, vae_engine)
    edges = np.array([2, 10, 30, 60, 100, 150, 200, 260, 320, 380, 440, LMAX + 1])
    weight = 2.0 * np.arange(LMAX + 1) + 1

    def binned(values):
        alm = harmonics.analysis(values, lmax=LMAX, iterations=3)
        return np.add.reduceat(weight * harmonics.cl_of(alm), edges[:-1])[: edges.size - 1]

    realizations, means = [], []
    for sky in range(SKIES):
        truth = draw(prior, seed=100, index=sky)
        latent = draw(prior, seed=200, index=sky)
        filled, power = truth.copy(), binned(truth)
        filled[holes] = latent[holes] + fill.mean(truth - latent)
        realizations.append(binned(filled) / power)
        if sky < MEANS:
            filled[holes] = fill.mean(truth)
            means.append(binned(filled) / power)
    ratio, error = np.mean(realizations, axis=0), np.std(realizations, axis=0) / SKIES**0.5
    deficit = np.mean(means, axis=0)
    lines = [
        f"{kind} l {low:3d}-{high - 1:3d}: realization {r:.4f} +- {e:.4f}, mean {d:.4f}"
        for (low, high), r, e, d in zip(pairwise(edges), ratio, error, deficit, strict=True)
    ]
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
    assert np.all(np.abs(ratio - 1) < 3 * error * SKIES**0.5 / (SKIES - 1) ** 0.5)
    # Above l = 100 the mean leaves out what the holes hide: at least half of the share of the sky
    # that holes wider than a wavelength take.
    assert np.all(deficit[4:] < 1)
    if kind == "both":
        assert np.all(deficit[4:] < 1 - 0.5 * holes.mean())


@pytest.mark.slow
def test_exact_realizations_have_the_skys_power():
    """On 100 skies at Nside 128: within three standard errors, and those within half a per cent."""
    nside, lmax, skies = 128, 256, 100
    prior = Prior(nside, lcdm(), fwhm=80 * ARCMIN, noise_uk_arcmin=240.0)
    observed = simulate_mask(nside, kind="both", seed=11, n_holes=100)
    holes = ~observed
    solver = Solver(observed, signal_cl=prior.signal_cl(), noise_cl=prior.white_cl)
    edges = np.array([2, 10, 30, 60, 90, 120, 150, 180, 220, lmax + 1])
    weight = 2.0 * np.arange(lmax + 1) + 1

    def binned(values):
        alm = harmonics.analysis(values, lmax=lmax, iterations=3)
        return np.add.reduceat(weight * harmonics.cl_of(alm), edges[:-1])

    ratios = []
    for sky in range(skies):
        truth = draw(prior, seed=100, index=sky, aliased=True)
        latent = draw(prior, seed=200, index=sky, aliased=True)
        filled = truth.copy()
        filled[holes] = latent[holes] + solver.mean(truth - latent).fill
        ratios.append(binned(filled) / binned(truth))
    ratio, error = np.mean(ratios, axis=0), np.std(ratios, axis=0, ddof=1) / skies**0.5
    lines = [
        f"exact l {low:3d}-{high - 1:3d}: {r:.4f} +- {e:.4f}"
        for (low, high), r, e in zip(pairwise(edges), ratio, error, strict=True)
    ]
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
    assert np.all(np.abs(ratio - 1) < 3 * error)
    assert np.all(error[edges[:-1] >= 30] < 0.005)
