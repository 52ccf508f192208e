"""The mosaic of tiles and coarse level against the solve of the whole sphere."""

import math

import healpy as hp
import numpy as np
import pytest

from skyfill import flatsky, vae
from skyfill.gaussian import Solver, degrade, freed, solver
from skyfill.holes import discs
from skyfill.holes.runs import Runs
from skyfill.mosaic import Mosaic, MosaicConfig, count_tiles, wide_holes
from skyfill.prior import ARCMIN, Prior, draw, lcdm
from skyfill.prior.simulate import simulate_mask

NSIDE = 128
KNOWN = Prior(NSIDE, lcdm(), fwhm=50 * ARCMIN, noise_uk_arcmin=400.0)
#: Tiles of 26 degrees, as curved as a test of Nside 128 can bear.
CONFIG = {"side": 96, "guard": 8, "margin": 24, "whole_nside": 64, "small": 10.0}


def engine_of(network=None, *, tolerance=3e-3, refine=100, batch_size=64):
    """Make an engine, as `skyfill.Inpainter` does; without a network, exact steps alone."""

    def engine(field, *, guard):
        options = {"refine": refine, "tolerance": tolerance, "batch_size": batch_size}
        return vae.TileFiller(network, field, guard=guard, device="cpu", **options)

    return engine


def mosaic_of(observed, *, prior=KNOWN, config=None, **engine):
    config = MosaicConfig(**CONFIG | (config or {}))
    return Mosaic(observed, prior, engine_of(**engine), config=config, threads=1)


def some_holes(nside, small, wide, *, seed=0):
    """Observe all but discs: twelve of the small radii and one wide one."""
    rng = np.random.default_rng(seed)
    radius = [*rng.uniform(*small, 11), wide]
    lon = rng.uniform(0, 2 * np.pi, len(radius))
    return discs(nside, lon, np.arcsin(rng.uniform(-1, 1, len(radius))), np.array(radius))


@pytest.fixture(scope="module")
def observed():
    return some_holes(NSIDE, (0.012, 0.03), 0.12)


@pytest.fixture(scope="module")
def truth():
    return draw(KNOWN, seed=1, threads=1)


@pytest.fixture(scope="module")
def exact(observed, truth):
    return solved(truth, observed, KNOWN)[~observed]


def solved(values, observed, prior, tolerance=1e-3):
    solver = Solver(observed, signal_cl=prior.signal_cl(), noise_cl=prior.white_cl, threads=1)
    out = values.copy()
    out[~observed] = solver.mean(values, tolerance=tolerance).fill
    return out


def test_mean_is_nearly_the_exact_one(observed, truth, exact):
    """The error is that of the exact mean but for some percent of its square."""
    mean = mosaic_of(observed).mean(np.where(observed, truth, np.nan))
    assert mean.shape == (np.count_nonzero(~observed),)
    least = np.mean((exact - truth[~observed]) ** 2)
    assert np.mean((mean - truth[~observed]) ** 2) < 1.10 * least
    assert np.mean((mean - exact) ** 2) < 0.08 * least


def test_tiles_are_near_the_exact_mean_before_polish():
    """A quarter of the sky is masked, a wide band with it, and the monopole is free."""
    prior = Prior(NSIDE, lcdm(), fwhm=80 * ARCMIN, noise_uk_arcmin=480.0)
    seen = simulate_mask(NSIDE, kind="both", seed=61, half_width=math.radians(12.5), n_holes=20)
    sky = draw(prior, seed=1, threads=1)
    exact = Solver.for_prior(seen, prior, threads=1).mean(sky, tolerance=1e-3).fill
    away = mosaic_of(seen, prior=prior, config={"polish": 0}).mean(sky) - exact
    assert math.sqrt(np.mean(away**2)) < 0.2 * np.std(exact)


@pytest.mark.parametrize(
    ("config", "gain"), [({}, 0.1), ({"polished_nside": 0}, 0.8), ({"whole_nside": NSIDE}, 0.1)]
)
def test_again_goes_on_from_a_near_fill(config, gain):
    """With polish of all holes, with that of each kind, and without tiles."""
    prior = Prior(NSIDE, lcdm(), fwhm=80 * ARCMIN, noise_uk_arcmin=100.0)
    seen = simulate_mask(NSIDE, kind="both", seed=61, half_width=math.radians(12.5), n_holes=20)
    sky = np.where(seen, draw(prior, seed=1, threads=1), 0.0)
    exact = Solver.for_prior(seen, prior, threads=1).mean(sky, tolerance=1e-5).fill
    fill = mosaic_of(seen, prior=prior, config=config)
    near = sky.copy()
    near[~seen] = 0.95 * fill.mean(sky)
    before = np.std(near[~seen] - exact)
    assert np.std(fill.again(near) - exact) < gain * before
    assert fill.trouble is None


def test_again_without_polish_is_the_mean(observed, truth):
    fill = mosaic_of(observed, config={"polish": 0})
    np.testing.assert_array_equal(fill.again(truth.copy()), fill.mean(truth))


@pytest.mark.slow
@pytest.mark.parametrize("shipped", [False, True])
def test_mean_is_nearly_the_exact_one_as_it_is_used(shipped):
    """At Nside 256 with the usual tiles, with the shipped network and without one."""
    prior = Prior(256, lcdm(), fwhm=25 * ARCMIN, noise_uk_arcmin=60.0)
    seen = some_holes(256, (0.006, 0.03), 0.12)
    sky = draw(prior, seed=1, threads=1)
    best = solved(sky, seen, prior)[~seen]
    network = vae.load()[0] if shipped else None
    mean = Mosaic(seen, prior, engine_of(network), threads=1).mean(sky)
    least = np.mean((best - sky[~seen]) ** 2)
    assert np.mean((mean - sky[~seen]) ** 2) < 1.10 * least
    assert np.mean((mean - best) ** 2) < 0.10 * least


def test_mean_is_linear_in_the_map(observed, truth):
    """To a thousandth of the sky's rms, where the iterations are run to 1e-5; polish is one step
    of conjugate gradients, whose length depends on the map a little.
    """
    fill = mosaic_of(observed, config={"tolerance": 1e-5}, tolerance=1e-5, refine=500)
    other = draw(KNOWN, seed=2, threads=1)
    together = fill.mean(truth + other)
    apart = fill.mean(truth) + fill.mean(other)
    assert np.std(together) > 0.3 * truth.std()
    assert np.std(together - apart) < 1e-3 * truth.std()
    np.testing.assert_allclose(together, apart, rtol=0, atol=1e-2 * truth.std())


def test_batches_change_nothing(observed, truth):
    usual = mosaic_of(observed).mean(truth)
    for size in (1, 6):
        np.testing.assert_array_equal(mosaic_of(observed, batch_size=size).mean(truth), usual)


def test_what_is_in_the_holes_is_not_read(observed, truth):
    fill = mosaic_of(observed)
    usual = fill.mean(truth)
    for garbage in (np.nan, np.inf, 1e30):
        values = np.where(observed, truth, garbage)
        np.testing.assert_array_equal(fill.mean(values), usual)
        assert np.array_equal(values, np.where(observed, truth, garbage), equal_nan=True)


@pytest.mark.parametrize(
    ("worse", "better", "gain"),
    [
        ({"polish": 0, "near": 0.0}, {"polish": 0}, 0.95),
        ({"polish": 0}, {"polish": 4}, 0.05),
    ],
)
def test_what_small_holes_gain_by(observed, truth, exact, worse, better, gain):
    """A second gather feels less smoothing, polish none."""
    small = ~wide_holes(observed, 7.5 * hp.nside2resol(NSIDE))[~observed]
    errors = [
        np.mean((mosaic_of(observed, config=config).mean(truth) - exact)[small] ** 2)
        for config in (worse, better)
    ]
    assert errors[1] < gain * errors[0]


def test_large_maps_are_polished_in_wide_holes_and_in_small_ones(observed, monkeypatch):
    """Beyond ``polished_nside``: wide holes by steps, small ones by their blocks."""
    monkeypatch.setattr(solver, "affordable", lambda sizes, **_: sizes < 200)
    prior = Prior(NSIDE, lcdm(), fwhm=80 * ARCMIN, noise_uk_arcmin=400.0)
    sky = draw(prior, seed=1, threads=1)
    best = Solver(observed, signal_cl=freed(prior.signal_cl()), noise_cl=prior.white_cl, threads=1)
    exact = best.mean(sky, tolerance=1e-4).fill
    wide = wide_holes(observed, 7.5 * hp.nside2resol(NSIDE))[~observed]
    none, some, more = (
        mosaic_of(observed, prior=prior, config={"polished_nside": 0, "polish": n}).mean(sky)
        - exact
        for n in (0, 3, 8)
    )
    for where, gain in ((wide, 0.3), (~wide, 0.05)):
        before, after, last = (np.mean(error[where] ** 2) for error in (none, some, more))
        assert after < gain * before
        assert last < 1.01 * after  # blocks have no further to go


def test_the_largest_maps_are_polished_in_small_holes_only(observed, monkeypatch):
    """Beyond ``wide_nside``, unless a number of iterations is asked for."""
    monkeypatch.setattr(solver, "affordable", lambda sizes, **_: sizes < 200)
    prior = Prior(NSIDE, lcdm(), fwhm=80 * ARCMIN, noise_uk_arcmin=400.0)
    sky = draw(prior, seed=1, threads=1)
    best = Solver(observed, signal_cl=freed(prior.signal_cl()), noise_cl=prior.white_cl, threads=1)
    exact = best.mean(sky, tolerance=1e-4).fill
    wide = wide_holes(observed, 7.5 * hp.nside2resol(NSIDE))[~observed]
    beyond = {"polished_nside": 0, "wide_nside": NSIDE // 2, "near": 0.0}
    none, some, asked = (
        np.abs(mosaic_of(observed, prior=prior, config=beyond | more).mean(sky) - exact)
        for more in ({"polish": 0}, {}, {"polish": 5})
    )
    np.testing.assert_allclose(np.mean(some[wide] ** 2), np.mean(none[wide] ** 2), rtol=0.01)
    assert np.mean(some[~wide] ** 2) < 0.5 * np.mean(none[~wide] ** 2)
    assert np.mean(asked[wide] ** 2) < 0.3 * np.mean(some[wide] ** 2)


def test_blocks_take_the_place_of_tiles(observed, truth, exact, monkeypatch):
    """Small holes have no tiles then, and are nearer to the exact mean than polish brings tiles."""
    monkeypatch.setattr(solver, "affordable", lambda sizes, **_: sizes < 200)
    small = ~wide_holes(observed, 7.5 * hp.nside2resol(NSIDE))[~observed]
    asked = []

    def engine(field, *, guard):
        asked.append(field.rms)
        return engine_of()(field, guard=guard)

    def error(**config):
        config = MosaicConfig(**CONFIG | config)
        fill = Mosaic(observed, KNOWN, engine, config=config, threads=1).mean(truth)
        return np.mean((fill - exact)[small] ** 2)

    tiles = error(polish=0)
    whole, rest = asked
    assert rest < whole
    blocks = error(polish=1, polished_nside=0)
    assert asked == [whole, rest, rest]
    assert blocks < 0.05 * tiles


def test_small_holes_take_only_what_the_wide_ones_changed(observed, monkeypatch):
    """The large scales that tiles do not see are taken off and put back, which leaves rounding."""
    monkeypatch.setattr(solver, "affordable", lambda sizes, **_: sizes < 200)
    prior = Prior(NSIDE, lcdm(), fwhm=80 * ARCMIN, noise_uk_arcmin=400.0)
    truth = draw(prior, seed=1, threads=1)
    mosaic = mosaic_of(observed, prior=prior, config={"polished_nside": 0, "polish": 3})
    polisher = mosaic._polisher
    assert polisher is not None
    assert polisher.small.size
    fills = []
    known = polisher.fill_small
    monkeypatch.setattr(polisher, "fill_small", lambda values: (fills.append(1), known(values)))
    mean = mosaic.mean(np.where(observed, truth, np.nan))
    assert len(fills) == 1
    monkeypatch.setattr("skyfill.gaussian.polish.alike", lambda *_: False)  # all of it again
    afresh = mosaic.mean(np.where(observed, truth, np.nan))
    assert len(fills) == 3
    np.testing.assert_allclose(mean, afresh, rtol=0, atol=1e-2)  # blocks are in single precision


def test_small_maps_are_solved_as_a_whole():
    prior = Prior(16, lcdm(), fwhm=math.radians(8), noise_uk_arcmin=2000.0)
    seen = np.arange(3072) > 500
    values = draw(prior, seed=3, threads=1)

    def no_tiles(*_, **__):
        raise AssertionError

    config = MosaicConfig(tolerance=1e-5)
    fill = Mosaic(seen, prior, no_tiles, marginal=False, config=config, threads=1)
    expected = solved(values, seen, prior, tolerance=1e-6)[~seen]
    np.testing.assert_allclose(fill.mean(values), expected, rtol=1e-6, atol=1e-6)


# --- small and wide -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pixels", "wide"), [(0.1, False), (9.0, False), (11.0, True), (40.0, True)]
)
def test_discs_are_small_or_wide(pixels, wide):
    """Ten tile pixels are the limit here; a disc's farthest pixel lies within its radius."""
    size = 0.75 * hp.nside2resol(NSIDE)
    seen = discs(NSIDE, [1.0], [0.5], pixels * size)
    found = wide_holes(seen, 10 * size)
    np.testing.assert_array_equal(found, ~seen if wide else np.zeros_like(seen))


def test_each_hole_is_judged_for_itself():
    size = 0.75 * hp.nside2resol(NSIDE)
    small = discs(NSIDE, [1.0, 4.0, 0.0], [0.5, -1.2, np.pi / 2], 6 * size)
    wide = discs(NSIDE, [2.0], [0.0], 15 * size)
    # A thin strip is no smaller than it is long.
    theta, phi = hp.pix2ang(NSIDE, np.arange(small.size))
    wide &= ~((np.abs(theta - 2.0) < 1.5 * size) & (np.abs(phi - 4.0) < 20 * size))
    found = wide_holes(small & wide, 10 * size)
    np.testing.assert_array_equal(found, ~wide)


@pytest.mark.parametrize("kind", ["pixel", "discs", "band", "both", "real"])
def test_the_tiles_counted_are_those_that_come(kind):
    """At Nside 256, where most tiles over the band see nothing."""
    seen = np.ones(12 * 256**2, dtype=bool)
    if kind == "pixel":
        seen[12345] = False
    elif kind == "discs":
        seen = simulate_mask(256, seed=3, n_holes=80, radii=(0.005, 0.08))
    elif kind == "band":
        seen = simulate_mask(256, seed=3, half_width=0.5)
    elif kind == "both":
        seen = simulate_mask(256, seed=3, half_width=0.3, n_holes=80, radii=(0.005, 0.02))
    else:  # a band with sources in and about it, and lonely pixels that were never seen
        seen = simulate_mask(256, seed=5, half_width=0.15, n_holes=300, radii=(0.003, 0.008))
        seen[np.random.default_rng(0).integers(seen.size, size=200)] = False
    prior = Prior(256, lcdm(), fwhm=math.radians(0.6), noise_uk_arcmin=100.0)
    for polish in (0, 1):
        config = MosaicConfig(polish=polish, near=0.0)
        mosaic = Mosaic(seen, prior, engine_of(), config=config, threads=1)
        made = {name: tiles._useful.size for name, tiles in mosaic._sets.items()}
        told = count_tiles(seen, Runs.of(seen, False), config, polished=bool(polish))
        if not polish:
            assert told == made
        # Of small holes next to wide ones, which have no block after all, it knows nothing.
        assert sum(told.values()) == pytest.approx(sum(made.values()), rel=0.12, abs=15)


@pytest.mark.parametrize("kind", ["small", "wide", "both"])
def test_tiles_are_made_for_the_holes_there_are(kind):
    size = 0.75 * hp.nside2resol(NSIDE)
    seen = np.ones(12 * NSIDE**2, dtype=bool)
    if kind != "wide":
        seen &= discs(NSIDE, [1.0], [0.5], 5 * size)
    if kind != "small":
        seen &= discs(NSIDE, [4.0], [-0.5], 15 * size)
    asked = []

    def engine(field, *, guard):
        assert guard == 8
        asked.append(field)

    Mosaic(seen, KNOWN, engine, config=MosaicConfig(**CONFIG, polish=0))
    whole, rest = (
        flatsky.TileField.of(
            np.append(KNOWN.total_cl(), KNOWN.white_cl),
            side=96,
            pixel=0.75 * hp.nside2resol(NSIDE),
            share=share,
            sky_pixel=hp.nside2resol(NSIDE),
        )
        for share in (False, True)
    )
    expected = {"small": [whole], "wide": [rest], "both": [whole, rest]}[kind]
    assert len(asked) == len(expected)
    for field, known in zip(asked, expected, strict=True):
        assert field.rms == pytest.approx(known.rms, rel=1e-9)
        np.testing.assert_allclose(field.spectrum, known.spectrum, rtol=1e-9)


def test_degrading_is_healpys(observed, truth):
    values = np.where(observed, truth, hp.UNSEEN)
    expected = hp.ud_grade(values, 32)
    mean, share = degrade(np.where(observed, truth, np.nan), observed, 32)
    np.testing.assert_allclose(share, hp.ud_grade(observed.astype(float), 32), atol=1e-15)
    np.testing.assert_allclose(mean[share > 0], expected[share > 0], rtol=1e-9, atol=1e-9)


def test_no_polish_where_memory_is_too_small(observed, truth, monkeypatch):
    """A second gather takes its place."""

    def no_memory(*_, **__):
        raise MemoryError

    expected = mosaic_of(observed, config={"polish": 0}).mean(truth)
    monkeypatch.setattr("skyfill.gaussian.solver.check_memory", no_memory)
    poor = mosaic_of(observed)
    monkeypatch.undo()
    assert poor.polish == 0
    np.testing.assert_array_equal(poor.mean(truth), expected)
