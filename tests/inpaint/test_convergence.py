"""A fill that has not converged is refused by name, or accepted with a warning."""

import math
import warnings
from functools import partialmethod

import numpy as np
import pytest

from skyfill import gaussian
from skyfill.holes import masks
from skyfill.inpaint import ConvergenceError, ConvergenceWarning, Inpainter
from skyfill.mosaic import MosaicConfig
from skyfill.prior import ARCMIN, Prior, draw, lcdm
from skyfill.prior.simulate import simulate_mask

NSIDE = 32
NPIX = 12 * NSIDE**2
#: Blue, unresolved by the pixels, and without noise: lensing convergence, for one.
BLUE = 1e-7 * (np.maximum(np.arange(3 * NSIDE), 1) / 50.0) ** -0.3 * (np.arange(3 * NSIDE) > 1)
HARD = Prior(NSIDE, BLUE, pixel_window=False)
KNOWN = Prior(NSIDE, lcdm(), fwhm=math.radians(4), noise_uk_arcmin=600.0)
TILES = {"side": 48, "guard": 8, "margin": 12, "small": 6.0, "whole_nside": 16}


@pytest.fixture(scope="module")
def observed():
    return simulate_mask(NSIDE, seed=3, half_width=0.15, n_holes=20, radii=(0.03, 0.06))


@pytest.fixture(scope="module")
def hard(observed):
    return np.where(observed, draw(HARD, seed=1, threads=1), np.nan)


@pytest.fixture
def hasty(monkeypatch):
    """Fewer iterations than a map without noise needs."""
    mean = gaussian.Solver.mean
    monkeypatch.setattr(gaussian.Solver, "mean", partialmethod(mean, max_iterations=300))


@pytest.fixture(scope="module")
def values():
    return draw(KNOWN, seed=1, threads=1)


@pytest.mark.parametrize("method", ["vae", "gaussian"])
@pytest.mark.parametrize("way", ["mean", "realization"])
@pytest.mark.usefixtures("hasty")
def test_a_fill_that_has_not_converged_is_refused_and_the_cause_named(observed, hard, method, way):
    fitter = Inpainter(hard, observed, method=method, prior=HARD, threads=1)
    with pytest.raises(ConvergenceError) as caught:
        getattr(fitter, way)()
    text = str(caught.value)
    assert "NOT CONVERGED" in text
    assert "nearly free of noise" in text
    assert "`noise_uk_arcmin=" in text
    assert "`accept=True`" in text
    assert ("`tolerance`" in text) == (method == "gaussian")
    assert fitter.converged is False
    assert not fitter.certificate.converged


@pytest.mark.usefixtures("hasty")
def test_the_noise_that_is_named_lets_it_converge(observed, hard):
    with pytest.raises(ConvergenceError) as caught:
        Inpainter(hard, observed, prior=HARD, threads=1).mean()
    noise = float(str(caught.value).split("noise_uk_arcmin=")[1].split("`")[0])
    prior = Prior(NSIDE, BLUE, pixel_window=False, noise_uk_arcmin=noise)
    sigma = noise * ARCMIN * math.sqrt(NPIX / (4 * math.pi))
    assert sigma**2 == pytest.approx(0.01 * np.nanvar(hard), rel=0.1)
    fitter = Inpainter(hard, observed, prior=prior, threads=1)
    fitter.mean()
    assert fitter.converged


@pytest.mark.parametrize("method", ["vae", "gaussian"])
@pytest.mark.usefixtures("hasty")
def test_it_can_be_accepted_with_a_warning(observed, hard, method):
    options = {"method": method, "prior": HARD, "threads": 1, "accept": True}
    fitter = Inpainter(hard, observed, **options)
    assert fitter.converged is None
    for way in (fitter.mean, fitter.realization):
        with pytest.warns(ConvergenceWarning, match="the fill has not converged"):
            fill = way()
        assert np.all(np.isfinite(fill))
        assert fitter.converged is False
    assert fitter.unconverged == 2
    other = fitter.with_map(hard, seed=3)
    assert (other.converged, other.unconverged) == (None, 0)
    with pytest.warns(ConvergenceWarning):
        other.mean()


@pytest.mark.parametrize("method", ["vae", "gaussian", "diffuse"])
def test_a_fill_that_has_converged_says_so_without_a_warning(observed, values, method):
    fitter = Inpainter(values, observed, method=method, prior=KNOWN, threads=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitter.mean()
    assert fitter.converged is True
    assert fitter.unconverged == 0


def tiled(values, observed, *, accept=True, network=False, refine=40, trust_prior=False, **config):
    return Inpainter(
        values,
        observed,
        prior=KNOWN,
        trust_prior=trust_prior,
        threads=1,
        accept=accept,
        network=network,
        refine=refine,
        config=MosaicConfig(**TILES | config),
    )


def test_tiles_with_too_few_steps_are_told(observed, values):
    what = "tiles of small holes, with a relative residual of .*; tiles of wide holes"
    with pytest.warns(ConvergenceWarning, match=what):
        tiled(values, observed, refine=1, polish=0).mean()
    with pytest.raises(ConvergenceError, match=what):
        tiled(values, observed, refine=1, polish=0, accept=False).mean()
    healthy = tiled(values, observed, accept=False, network=True, polish=0)
    healthy.mean()
    assert healthy.converged


def test_a_coarse_level_that_has_not_converged_is_told(observed, values, monkeypatch):
    usual = gaussian.Solver.mean
    monkeypatch.setattr(gaussian.Solver, "mean", partialmethod(usual, max_iterations=1))
    with pytest.warns(ConvergenceWarning, match=r"the coarse level .*NOT CONVERGED"):
        tiled(values, observed, polish=0).mean()


@pytest.mark.filterwarnings("ignore:the prior may not describe")
def test_tiles_that_overflow_are_told(observed, values, monkeypatch):
    """Squares of 1e30 are beyond float32, of which tiles are."""
    monkeypatch.setattr(masks, "_HOTTEST", np.inf)  # which would refuse such numbers
    wild = values * 1e30
    with pytest.raises(ConvergenceError, match="with a relative residual of nan"):
        tiled(wild, observed, accept=False, polish=0, trust_prior=True).mean()


def test_polish_that_is_far_from_its_end_is_told(observed, values, monkeypatch):
    """From far away one step goes far, and there is more to go."""
    monkeypatch.setattr(gaussian.solver, "affordable", lambda sizes, **_: sizes < 0)
    fitter = Inpainter(values, observed, method="diffuse", polish=1, prior=KNOWN, threads=1)
    solver = fitter._fill._solver
    filled = values.copy()
    filled[solver.holes] = 30 * values.std()
    solver.improve(filled, iterations=1)
    assert "polish, some" in solver.unpolished()
    filled[solver.holes] = solver.mean(values).fill
    solver.improve(filled, iterations=1)
    assert solver.unpolished() is None
    fitter._fill._first.mean = lambda _: np.full(solver.holes.size, 30 * values.std())
    with pytest.raises(ConvergenceError, match=r"polish, some .* of the map's rms from the mean"):
        fitter.mean()


@pytest.mark.parametrize("unit", [1e-9, 1e9])
@pytest.mark.parametrize(
    "options",
    [
        {"method": "vae"},
        {"method": "vae", "config": MosaicConfig(**TILES)},
        {"method": "gaussian"},
        {"method": "diffuse"},
        {"method": "diffuse", "polish": 3},
    ],
)
def test_the_unit_changes_nothing(observed, values, unit, options):
    """No threshold is in µK: numbers of 1e-7 and of 1e11 are filled alike."""
    scaled = Prior(
        NSIDE, KNOWN.cl * unit**2, fwhm=KNOWN.fwhm, noise_uk_arcmin=KNOWN.noise_uk_arcmin * unit
    )
    usual = Inpainter(values, observed, prior=KNOWN, threads=1, **options)
    other = Inpainter(values * unit, observed, prior=scaled, threads=1, **options)
    np.testing.assert_allclose(
        other.mean() / unit, usual.mean(), rtol=1e-4, atol=1e-4 * values.std()
    )
    assert other.converged
    if usual.stochastic:
        np.testing.assert_allclose(
            other.realization() / unit, usual.realization(), rtol=1e-4, atol=1e-4 * values.std()
        )
