"""What a fill is said to take, before it is begun."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import skyfill
from skyfill.gaussian import Solver
from skyfill.gaussian.conditioning import are_slow, divided, expected
from skyfill.inpaint.plan import GIB, Request, make_plan, within
from skyfill.mosaic import MosaicConfig
from skyfill.prior import ARCMIN
from skyfill.prior.simulate import simulate_mask

NSIDE = 256


@pytest.fixture(scope="module")
def observed():
    return simulate_mask(NSIDE, seed=3, half_width=0.15, n_holes=60, radii=(0.005, 0.01))


def test_a_plan_counts_what_there_is(observed):
    plan = make_plan(observed, Request("vae", known=True))
    assert plan.nside == NSIDE
    assert plan.hole_pixels == np.count_nonzero(~observed)
    assert plan.holes == skyfill.label_holes(observed).sizes.size
    assert plan.masked == pytest.approx(1 - observed.mean())
    assert plan.prior == "given"
    prior = skyfill.Prior(NSIDE, skyfill.lcdm(), fwhm=0.01, noise_uk_arcmin=90)
    sky = skyfill.prior.draw(prior, seed=1)
    fitter = skyfill.Inpainter(sky, observed, method="vae", prior=prior)
    assert plan.polish == fitter.polish > 0
    assert set(plan.tiles) == {"wide"}
    assert set(make_plan(observed, Request("vae", polish=0)).tiles) == {"small", "wide"}
    assert "prior" not in plan.stages


def test_stages_are_those_that_come(observed):
    """What is told beforehand is what a listener hears, cosmovae's weights apart."""
    heard = []

    class Listener(skyfill.Silent):
        def stage(self, name, total=None):
            heard.append(name)

    coarse = skyfill.simulate_mask(32, seed=3, half_width=0.15, n_holes=5, radii=(0.06, 0.12))
    sky = skyfill.simulate_sky(32, seed=1, fwhm=0.04, noise_uk_arcmin=600)
    prior = skyfill.Prior(32, skyfill.lcdm(), fwhm=0.04, noise_uk_arcmin=600)
    for method, mask, known in (
        ("vae", coarse, True),
        ("gaussian", coarse, True),
        ("diffuse", coarse, False),
        ("gaussian", coarse, False),
    ):
        heard.clear()
        fitter = skyfill.Inpainter(
            sky, mask, method=method, prior=prior if known else None, progress=Listener()
        )
        fitter.realization() if fitter.stochastic else fitter.mean()
        plan = make_plan(mask, Request(method=method, known=known))
        assert ["read", *heard, "write"] == list(plan.stages)


def test_too_little_memory_is_refused_with_a_way_out(observed):
    request = Request("vae", known=True)
    with pytest.raises(
        ValueError,
        match=r"vae takes about .*iB .*`limit` is 512 MiB; `method='diffuse'` takes",
    ):
        within(observed, request, 0.5 * GIB)
    with pytest.raises(ValueError, match="nothing fits"):
        within(observed, replace(request, method="diffuse"), 1000.0)


def test_a_limit_lets_fewer_tiles_in_at_once(observed):
    """From none at all over a few to as many as there are without a limit."""
    request = Request("vae", known=True)
    sizes = []
    for limit in np.arange(0.2, 4, 0.05):
        try:
            sizes.append(within(observed, request, limit * GIB).batch_size)
        except ValueError:
            sizes.append(0)
    assert sizes == sorted(sizes)
    assert sizes[0] == 0
    assert sizes[-1] == 64
    assert any(0 < size < 64 for size in sizes)
    assert within(observed, replace(request, batch_size=8), 32 * GIB).batch_size == 8


def test_a_limit_raises_no_batch_beyond_the_usual(observed):
    """cosmovae fills eight tiles at once where nothing is said, with a limit no more."""
    assert within(observed, Request("cosmovae"), 32 * GIB).batch_size == 8


def test_no_polish_is_planned_where_none_is_done(observed):
    """gaussian has none, nor vae where the sphere is solved as a whole."""
    coarse = skyfill.simulate_mask(64, seed=3, half_width=0.15)
    for method, mask, polish in (("gaussian", observed, None), ("vae", coarse, 3)):
        plan = make_plan(mask, Request(method, known=True, polish=polish))
        assert plan.polish == 0
        assert "polish" not in plan.stages
        sky = skyfill.simulate_sky(plan.nside, seed=1, fwhm=0.02, noise_uk_arcmin=300)
        prior = skyfill.Prior(plan.nside, skyfill.lcdm(), fwhm=0.02, noise_uk_arcmin=300)
        fitter = skyfill.Inpainter(sky, mask, method=method, prior=prior, polish=polish)
        assert fitter.polish == 0


def test_a_plan_follows_the_division_into_tiles(observed):
    """Fewer, larger tiles; and none where the map is solved as a whole."""
    usual = make_plan(observed, Request("vae", known=True))
    larger = make_plan(observed, Request("vae", known=True, config=MosaicConfig(side=192)))
    assert 0 < larger.tiles["wide"] < usual.tiles["wide"]
    whole = make_plan(observed, Request("vae", known=True, config=MosaicConfig(whole_nside=NSIDE)))
    assert not whole.tiles
    assert "whole sky" in whole.stages


@pytest.mark.slow
@pytest.mark.parametrize("method", ["diffuse", "gaussian", "vae"])
def test_memory_is_what_a_run_takes(method, tmp_path):
    """Within 25% at Nside 512, in a process of its own."""
    sky = skyfill.simulate_sky(512, seed=1, fwhm=np.radians(20 / 60), noise_uk_arcmin=120)
    observed = simulate_mask(512, seed=3, half_width=0.2, n_holes=300, radii=(0.002, 0.008))
    skyfill.write_map(tmp_path / "sky.fits", sky)
    skyfill.write_map(tmp_path / "mask.fits", observed, unit="", dtype="uint8")
    words = [sys.executable, "-m", "cli", "inpaint", "sky.fits", "mask.fits", "-o", "out.fits"]
    words += ["--method", method, "--beam-arcmin", "20", "--noise-uk-arcmin", "120", "-q"]
    root = os.fspath(Path(skyfill.__path__[0]).parent)
    environment = os.environ | {"PYTHONPATH": root}
    with subprocess.Popen(words, cwd=tmp_path, env=environment) as child:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    estimate = make_plan(observed, Request(method=method, known=True)).memory
    assert estimate == pytest.approx(1024 * usage.ru_maxrss, rel=0.25)


@pytest.mark.parametrize(
    ("fwhm", "noise"),
    [(320, 150), (160, 4000), (160, 150), (120, 150), (80, 400), (50, 400), (0, 400)],
)
@pytest.mark.parametrize("wide", [False, True])
def test_the_iterations_are_expected_from_the_depth_of_the_map(fwhm, noise, wide):
    """They are 6 to 220, and expected to within a factor of two."""
    nside = 64
    shape = {"half_width": 0.17, "n_holes": 250, "radii": (0.005, 0.026)}
    if not wide:
        shape = {"kind": "holes", "n_holes": 60, "radii": (0.017, 0.07)}
    mask = simulate_mask(nside, seed=3, **shape)
    prior = skyfill.Prior(nside, skyfill.lcdm(), fwhm=fwhm * ARCMIN, noise_uk_arcmin=noise)
    sky = skyfill.prior.draw(prior, seed=5, aliased=True)
    found = Solver.for_prior(mask, prior, threads=1).mean(sky).certificate
    guess, corrections = expected(prior.signal_cl(), prior.white_cl, nside, wide=wide)
    if wide and are_slow(guess, corrections):
        guess = divided(corrections)
    assert found.iterations / 2 < guess < 2 * found.iterations
    assert found.corrections / 2 < corrections < 2 * found.corrections


def test_a_plan_for_a_deep_map_takes_longer(observed):
    """7.6 CPU seconds were measured at 10 uK.arcmin, and 0.8 at 90."""
    usual, deep, unknown = (
        make_plan(observed, Request("gaussian", known=True, prior=prior)).seconds
        for prior in (
            *(
                skyfill.Prior(NSIDE, skyfill.lcdm(), fwhm=40 * ARCMIN, noise_uk_arcmin=noise)
                for noise in (90, 10)
            ),
            None,
        )
    )
    assert usual == pytest.approx(unknown, rel=0.1)
    assert 2 < deep - usual < 14


def test_a_plan_for_a_deep_map_counts_its_segments(observed):
    prior = skyfill.Prior(NSIDE, skyfill.lcdm(), fwhm=40 * ARCMIN, noise_uk_arcmin=10)
    usual, deep = (Request("gaussian", known=True, prior=each) for each in (None, prior))
    memory = [make_plan(observed, each).memory for each in (usual, deep)]
    assert memory[1] > memory[0] + 1e8
    limit = sum(memory) / 2
    assert within(observed, usual, limit) == usual
    with pytest.raises(ValueError, match="gaussian takes about"):
        within(observed, deep, limit)


def test_small_holes_need_fewer_iterations_than_wide_ones():
    prior = skyfill.Prior(NSIDE, skyfill.lcdm(), fwhm=40 * ARCMIN, noise_uk_arcmin=45)
    holes = skyfill.masks.discs(NSIDE, np.linspace(0, 6, 40), 0.1, 0.02)
    band = skyfill.galactic_cut(NSIDE, 0.2)
    few, many = (
        make_plan(mask, Request("gaussian", known=True, prior=prior)).seconds
        for mask in (holes, band)
    )
    assert few < many - 1
