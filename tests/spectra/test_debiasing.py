"""The response of a linear fill's spectrum, and the spectrum without it."""

from itertools import pairwise

import numpy as np
import pytest

import skyfill
from skyfill import harmonics
from skyfill.inpaint import LinearFill
from skyfill.prior import Prior, draw, lcdm
from skyfill.spectra import FullSky, debias, expectation, response_of
from skyfill.spectra.binning import averaged

NSIDE = 16
EDGES = [2, 5, 9, 16, 33]
PRIOR = Prior(NSIDE, lcdm(), fwhm=0.1, noise_uk_arcmin=300.0)
OBSERVED = skyfill.simulate_mask(NSIDE, kind="band", seed=1, half_width=0.25)


def response(fill, observed=OBSERVED, bins=EDGES, **more):
    return response_of(fill, observed, PRIOR, bins=bins, threads=1, **more)


def test_a_fill_that_changes_nothing_has_no_response_but_one():
    """The first bin has twelve modes, which are filled one by one."""
    found = response(lambda sky: sky, np.ones(12 * NSIDE**2, bool), [2, 4, 9, 16, 33], skies=4)
    np.testing.assert_allclose(found.matrix, np.eye(4), atol=2e-3)
    assert (found.matrix_sigma[:, 0] == 0).all()
    np.testing.assert_allclose(found.noise, found.expected.white_cl, rtol=0.02)


def test_holes_of_zeros_have_the_coupling_of_master():
    found = response(lambda sky: np.where(OBSERVED, sky, 0.0), skies=4)
    expected = expectation(PRIOR, NSIDE, 32)
    cl = expected.signal_cl
    window = 4 * np.pi / OBSERVED.size * harmonics.adjoint(OBSERVED * 1.0, lmax=32 + cl.size - 1)
    mixed = averaged(
        harmonics.coupling_matrix(harmonics.cl_of(window), lmax=32, sky_lmax=cl.size - 1),
        np.array(EDGES),
    )
    for number, (first, end) in enumerate(pairwise(EDGES)):
        ell = np.arange(first, end)
        shape = cl[ell] / np.average(cl[ell], weights=2 * ell + 1)
        # anafast iterates, and removes monopole and dipole: not quite a sum over pixels
        np.testing.assert_allclose(found.matrix[:, number], mixed[:, ell] @ shape, atol=0.015)
    assert found.matrix[-1, -1] < 0.9


def skies_of(truth, count):
    for index in range(count):
        yield draw(truth, seed=8, index=index, aliased=True, threads=1)


@pytest.mark.parametrize("method", ["gaussian", "diffuse"])
def test_debiased_skies_have_no_bias_though_the_prior_is_wrong(method):
    """The truth has twice the prior's power; the prior's shape within a bin is right."""
    fill = LinearFill(OBSERVED, PRIOR, method=method, threads=1)
    found = response(fill, draws=8, skies=3)
    truth = Prior(NSIDE, 2 * lcdm(), fwhm=0.1, noise_uk_arcmin=300.0)
    count = 40
    bins = np.array([debias(fill(sky), found).cl for sky in skies_of(truth, count)])
    expected = averaged(expectation(truth, NSIDE, 32).total_cl, found.edges)
    error = bins.std(axis=0, ddof=1) / np.sqrt(count)
    assert np.abs((bins.mean(axis=0) - expected) / error).max() < 3
    whole = FullSky(found.expected, found.edges)
    filled = [whole.powers(fill(sky))[-1] for sky in skies_of(truth, 5)]
    assert np.mean(filled) < 0.93 * expected[-1]  # the holes lack power


@pytest.mark.slow
def test_its_errors_are_the_scatter_of_skies_and_that_of_the_optimum():
    fill = LinearFill(OBSERVED, PRIOR, method="gaussian", threads=1)
    found = response(fill, draws=16, skies=40)
    bins = [debias(fill(sky), found) for sky in skies_of(PRIOR, 60)]
    scatter = np.std([each.cl for each in bins], axis=0, ddof=1)
    np.testing.assert_allclose(scatter / bins[0].sigma, 1, atol=0.35)
    least = np.sqrt(np.diagonal(found.optimum))
    np.testing.assert_allclose(bins[0].sigma / least, 1, atol=0.15)


def test_the_response_is_kept_with_all_that_decides_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SKYFILL_CACHE", str(tmp_path))

    class Counted(LinearFill):
        calls = 0

        def __call__(self, values):
            Counted.calls += 1
            return super().__call__(values)

    def measured(**more):
        Counted.calls = 0
        fill = Counted(OBSERVED, PRIOR, method="diffuse", accept=True, threads=1, **more)
        found = response(fill, bins=[2, 9, 33], draws=4, skies=3, cache=True)
        return found, Counted.calls

    first, fills = measured()
    again, none = measured()
    assert (fills, none) == (3 * 4 + 4 + 3, 0)
    np.testing.assert_array_equal(first.matrix, again.matrix)
    np.testing.assert_array_equal(first.covariance, again.covariance)
    polished, more = measured(polish=2)
    assert more == fills
    assert not np.array_equal(polished.matrix, first.matrix)


def test_what_has_no_response_is_refused_by_name():
    with pytest.raises(ValueError, match="no attribute named deciding"):
        response(lambda sky: sky, cache=True)
    with pytest.raises(ValueError, match="draws must be"):
        response(lambda sky: sky, draws=3)
    with pytest.raises(ValueError, match="no pixel is observed"):
        response(lambda sky: sky, np.zeros(12 * NSIDE**2, bool))
    for fill, said in (
        (lambda sky: np.where(OBSERVED, sky, np.nan), "must give whole skies of .* missing"),
        (lambda sky: sky[~OBSERVED], "must give whole skies"),
    ):
        with pytest.raises(ValueError, match=said):
            response(fill, draws=4, skies=2)
    few = np.arange(12 * NSIDE**2) < 4
    with pytest.raises(ValueError, match="too little for bins this narrow"):
        response(lambda sky: np.where(few, sky, 0.0), few, draws=4, skies=2)
    good = response(lambda sky: sky, np.ones(12 * NSIDE**2, bool), draws=4, skies=2)
    with pytest.raises(ValueError, match="12 pixels are missing"):
        debias(np.where(np.arange(12 * NSIDE**2) < 12, np.nan, 1.0), good)
    sky = draw(PRIOR, seed=1)
    with pytest.raises(ValueError, match="of other bins"):
        skyfill.spectra.compare(sky, PRIOR, bins=10, response=good)
    with pytest.raises(ValueError, match="one filled sky, got 2"):
        skyfill.spectra.compare([sky, sky], PRIOR, bins=EDGES, response=good)


def test_a_response_of_another_sky_or_theory_is_refused_by_name():
    found = response(lambda sky: sky, np.ones(12 * NSIDE**2, bool), draws=4, skies=2)
    sky = draw(PRIOR, seed=1)
    assert skyfill.spectra.compare(sky, PRIOR, bins=EDGES, response=found).debiased is not None
    with pytest.raises(ValueError, match="is of Nside 16, the sky has Nside 32"):
        debias(np.zeros(12 * 32**2), found)
    for other, said in (
        (Prior(NSIDE, lcdm(), fwhm=0.12, noise_uk_arcmin=300.0), "signal .spectrum or beam."),
        (Prior(NSIDE, 1.1 * lcdm(), fwhm=0.1, noise_uk_arcmin=300.0), "signal .spectrum or beam."),
        (Prior(NSIDE, lcdm(), fwhm=0.1, noise_uk_arcmin=310.0), "another noise"),
    ):
        with pytest.raises(ValueError, match=said):
            skyfill.spectra.compare(sky, other, bins=EDGES, response=found)
    large = Prior(32, lcdm(), fwhm=0.1, noise_uk_arcmin=300.0)
    with pytest.raises(ValueError, match="Nside 16, the sky has Nside 32"):
        skyfill.spectra.compare(draw(large, seed=1), large, bins=EDGES, lmax=32, response=found)
