"""Tiles in batches: units, guard, exact steps, device."""

import math

import numpy as np
import pytest
import torch

from skyfill import vae
from skyfill.flatsky import TileField
from skyfill.prior import ARCMIN
from skyfill.vae import TileFiller, pick_device
from skyfill.vae.filler import affordable_batch
from skyfill.vae.simulation import FAMILIES, draw_mask, load_lcdm
from skyfill.vae.steps import depth_of

SIDE, GUARD = 32, 4


@pytest.fixture(scope="module")
def field():
    ell = np.arange(4000.0)
    cl = 1e4 / (ell + 100) ** 2 + 0.01
    return TileField.of(cl, side=SIDE, pixel=8 * ARCMIN, share=False, sky_pixel=13 * ARCMIN)


@pytest.fixture(scope="module")
def tiles(field):
    white = np.random.default_rng(1).standard_normal((7, SIDE, SIDE))
    modes = np.fft.rfft2(white) * np.sqrt(field.spectrum) * field.rms
    observed = np.random.default_rng(2).random((7, SIDE, SIDE)) < 0.6
    observed[3] = False
    return np.fft.irfft2(modes, s=(SIDE, SIDE)), observed


def filler(field, network=None, **options):
    given = {"guard": GUARD, "refine": 200, "tolerance": 1e-5, "batch_size": 64, "device": "cpu"}
    return TileFiller(network, field, **given | {"adaptive": True} | options)


def fixed(field, **options):
    return filler(field, **{"adaptive": False, "refine": 40, "tolerance": 5e-4} | options)


def discs_and_bands(number, side, guard, seed):
    rng = np.random.default_rng(seed)
    families = [FAMILIES[i % len(FAMILIES)] for i in range(number)]
    return np.stack([draw_mask(side, guard, rng, family) for family in families])


def prior_of(*, beam, noise, share, side=64):
    """LCDM at Nside 1024; beam in pixels, noise as a share of the signal's variance."""
    pixel = math.sqrt(4 * math.pi / 12) / 1024
    cl = load_lcdm()
    ell = np.arange(cl.size)
    cl = cl * np.exp(-ell * (ell + 1) * (beam * pixel) ** 2 / (8 * math.log(2)))
    white = noise * np.sum((2 * ell + 1) * cl) / (4 * math.pi) * pixel**2
    return TileField.of(
        np.append(cl + white, white), side=side, pixel=0.75 * pixel, share=share, sky_pixel=pixel
    )


def drawn(field, number, seed):
    side = field.spectrum.shape[0]
    white = np.random.default_rng(seed).standard_normal((number, side, side))
    return np.fft.irfft2(np.fft.rfft2(white) * np.sqrt(field.spectrum) * field.rms, s=(side, side))


def inside():
    kept = np.zeros((SIDE, SIDE), dtype=bool)
    kept[GUARD:-GUARD, GUARD:-GUARD] = True
    return kept


def test_mean_is_in_the_units_of_the_tiles(field, tiles):
    """The exact mean of one tile, solved with the covariance of its pixels in µK²."""
    values, observed = tiles
    mean = filler(field)(values, observed)
    assert mean.dtype == np.float32
    seen = (observed[0] & inside()).ravel()
    unit = np.eye(SIDE**2).reshape(-1, SIDE, SIDE)
    covariance = np.fft.irfft2(np.fft.rfft2(unit) * field.spectrum, s=(SIDE, SIDE))
    covariance = covariance.reshape(SIDE**2, -1) * field.rms**2
    weights = np.linalg.solve(covariance[np.ix_(seen, seen)], values[0].ravel()[seen])
    expected = np.where(seen, values[0].ravel(), covariance[:, seen] @ weights)
    np.testing.assert_allclose(mean[0].ravel(), expected, atol=2e-3 * field.rms)


def test_observed_pixels_are_kept_but_for_the_guard(field, tiles):
    values, observed = tiles
    mean = filler(field)(values, observed)
    seen = observed & inside()
    np.testing.assert_allclose(mean[seen], values[seen], rtol=1e-5)
    other = np.where(seen, values, np.nan)
    np.testing.assert_array_equal(filler(field)(other, observed), mean)


def test_a_tile_without_data_is_zero(field, tiles):
    mean = filler(field)(*tiles)
    assert not mean[3].any()
    assert mean[[0, 1, 2, 4, 5, 6]].any(axis=(1, 2)).all()
    nothing = filler(field)(tiles[0][:2], np.zeros((2, SIDE, SIDE), dtype=bool))
    assert not nothing.any()


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_batches_change_nothing(field, tiles, size):
    """Not even where the iterations of a tile stop."""
    usual = filler(field, tolerance=1e-2)(*tiles)
    np.testing.assert_array_equal(filler(field, tolerance=1e-2, batch_size=size)(*tiles), usual)


def test_a_network_changes_with_the_batch_by_rounding_only(field, tiles):
    network = vae.load()[0]
    one, other = (fixed(field, network=network, batch_size=n)(*tiles) for n in (2, 64))
    np.testing.assert_allclose(one, other, rtol=0, atol=0.01 * field.rms)


def test_good_tiles_are_left_alone(field, tiles):
    """Steps are for tiles that need them."""
    exact = filler(field)(*tiles)
    rough = filler(field, tolerance=0.3)(*tiles)
    few = filler(field, refine=2)(*tiles)
    away = [np.std(fill - exact) for fill in (few, rough, filler(field, tolerance=0.01)(*tiles))]
    assert away[0] > away[1] > away[2] > 0


PRIORS = [
    {"beam": 0, "noise": 0.1, "share": True},
    {"beam": 3, "noise": 0.1, "share": False},
    {"beam": 6, "noise": 1.0, "share": True},
]


@pytest.mark.parametrize("prior", PRIORS)
def test_fixed_steps_come_close_to_the_exact_mean_of_tiles_they_have_not_seen(prior):
    field = prior_of(**prior)
    engine = fixed(field, guard=10)
    engine.prepare(discs_and_bands(64, 64, 10, seed=1))
    observed = discs_and_bands(24, 64, 10, seed=2)
    values = drawn(field, 24, seed=3)
    exact = filler(field, guard=10, refine=600, tolerance=1e-5)(values, observed)
    away = np.square(engine(values, observed) - exact)[:, 10:-10, 10:-10].mean((1, 2))
    hole = np.square(exact)[:, 10:-10, 10:-10][~observed[:, 10:-10, 10:-10]].mean()
    assert math.sqrt(away.mean() / hole) < 0.1
    assert math.sqrt(away.max() / hole) < 0.3
    assert engine.left < 0.05


def test_fixed_steps_are_linear(field, tiles):
    """To the rounding of single precision."""
    values, observed = tiles
    engine = fixed(field)
    engine.prepare(observed)
    other = drawn(field, len(values), seed=8)
    apart = engine(values, observed) + engine(other, observed)
    away = engine(values + other, observed) - apart
    assert np.std(away) < 2e-5 * field.rms
    twice = engine(2 * values, observed)  # only the exponents of the numbers differ
    np.testing.assert_allclose(twice, 2 * engine(values, observed), rtol=1e-6, atol=1e-6)


def test_fixed_steps_do_not_amplify_rounding(field, tiles):
    values, observed = tiles
    engine = fixed(field)
    usual = engine(values, observed)
    noise = 1e-7 * np.random.default_rng(0).standard_normal(values.shape)
    away = engine(values * (1 + noise), observed) - usual
    assert np.abs(away).max() < 1e-4 * field.rms


def test_the_scalars_depend_on_masks_alone(field, tiles):
    """Not on the data, the batch or the order of calls."""
    values, observed = tiles
    engine = fixed(field, batch_size=2)
    assert engine.scalars is None
    first = engine(values[:2], observed[:2])
    assert engine.scalars.shape[1] == engine.terms
    engine.prepare(observed)
    some = engine.scalars
    usual = engine(values, observed)
    assert not np.array_equal(usual[:2], first)
    other = fixed(field)
    other(np.flip(values), observed)
    np.testing.assert_array_equal(other.scalars, some)
    np.testing.assert_array_equal(other(values, observed), usual)
    given = fixed(field, batch_size=4)
    given.scalars = some
    np.testing.assert_array_equal(given(values, observed), usual)
    with pytest.raises(ValueError, match=r"scalars of shape \(3, 9\)"):
        given.scalars = np.zeros((3, 9))


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_batches_change_nothing_of_fixed_steps(field, tiles, size):
    np.testing.assert_array_equal(fixed(field, batch_size=size)(*tiles), fixed(field)(*tiles))


def test_masks_without_data_prepare_nothing(field, tiles):
    engine = fixed(field)
    engine.prepare(np.zeros_like(tiles[1]))
    assert engine.scalars is None
    assert not engine(tiles[0], np.zeros_like(tiles[1])).any()


def test_what_fixed_steps_do_not_mend_is_told(field, tiles):
    """Weights that are those of other tiles."""
    engine = fixed(field)
    engine.prepare(tiles[1])
    engine(*tiles)
    assert engine.left < 0.05
    engine.scalars = 3 * engine.scalars
    engine(*tiles)
    assert not engine.left < 1


def test_depth_is_the_distance_on_the_periodic_tile():
    observed = np.random.default_rng(3).random((2, 20, 20)) < 0.02
    observed[:, 0, 0] = True
    y, x = np.mgrid[:20, :20]
    for reach in (4.5, 100.0):
        depth = depth_of(torch.from_numpy(observed.astype(np.float32)), reach).numpy()
        for one, seen in zip(depth, observed, strict=True):
            away = np.inf
            for i, j in np.argwhere(seen):
                dy, dx = (np.minimum(abs(a - b), 20 - abs(a - b)) for a, b in ((y, i), (x, j)))
                away = np.minimum(away, np.hypot(dy, dx))
            np.testing.assert_allclose(one, np.minimum(away, reach), rtol=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_cuda_gives_what_the_cpu_gives(field, tiles):
    cpu, cuda = (fixed(field, device=device) for device in ("cpu", "cuda"))
    one, other = cpu(*tiles), cuda(*tiles)
    np.testing.assert_allclose(cuda.scalars, cpu.scalars, atol=1e-2)
    np.testing.assert_allclose(other, one, atol=2e-3 * field.rms)
    cuda.scalars = cpu.scalars
    np.testing.assert_allclose(cuda(*tiles), one, atol=2e-4 * field.rms)


def test_devices():
    assert pick_device("cpu").type == "cpu"
    assert pick_device("auto").type in {"cpu", "cuda"}
    for name in ("abacus", "cuda:99"):
        with pytest.raises(ValueError, match="pass `device") as caught:
            pick_device(name)
        assert "\n" not in str(caught.value)


def test_a_batch_fits_into_the_free_memory(monkeypatch):
    cpu = torch.device("cpu")
    pages = {"SC_AVPHYS_PAGES": 2**20, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr("os.sysconf", pages.__getitem__)
    assert affordable_batch(cpu, 128) == 64  # more would be slower
    pages["SC_AVPHYS_PAGES"] = 2**15  # 128 MiB, half of it for 3.1 MiB a tile
    assert affordable_batch(cpu, 128) == 20
    assert affordable_batch(cpu, 256) == 5
    pages["SC_AVPHYS_PAGES"] = 0
    assert affordable_batch(cpu, 128) == 2
    # What a device does not tell is taken for enough.
    assert affordable_batch(torch.device("meta"), 128) == 1024


def test_what_is_left_of_a_residual_is_told(field, tiles):
    """The largest of all tiles, against the residual of the fill itself."""
    engine = filler(field, refine=3, tolerance=1e-6)
    values, observed = tiles
    mean = engine(values, observed)
    seen = np.zeros_like(observed)
    seen[:, GUARD:-GUARD, GUARD:-GUARD] = observed[:, GUARD:-GUARD, GUARD:-GUARD]

    def size(tile):
        modes = np.fft.rfft2(tile / field.rms)
        rest = np.where(seen, 0, np.fft.irfft2(modes / field.spectrum, s=tile.shape[1:]))
        z = np.fft.irfft2(np.fft.rfft2(rest) * field.spectrum, s=tile.shape[1:])
        return np.sum(rest * z * ~seen, axis=(1, 2))

    known = np.where(seen, values, 0.0)
    some = seen.any(axis=(1, 2))  # a tile without data asks for nothing
    expected = np.sqrt((size(np.where(seen, values, mean))[some] / size(known)[some]).max())
    assert engine.left == pytest.approx(expected, rel=0.02)
    assert engine.left > 1e-3
    engine.left = 0.0
    exact = filler(field)
    exact(values, observed)
    assert exact.left < 1e-5 * 1.01


def test_smaller_batches_where_memory_ends(field, tiles, monkeypatch):
    """The same numbers, and a warning that says what to pass."""
    usual = filler(field)(*tiles)
    solve = vae.filler.conjugate_gradient
    sizes = []

    def small(tile, *more, **options):
        sizes.append(len(tile))
        if len(tile) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return solve(tile, *more, **options)

    monkeypatch.setattr(vae.filler, "conjugate_gradient", small)
    with pytest.warns(UserWarning, match=r"no memory for \d tiles at once, going on with") as seen:
        got = filler(field)(*tiles)
    np.testing.assert_array_equal(got, usual)
    assert sizes == [6, 4, 2, 2, 2]
    assert "pass `batch_size=2` to start with it" in str(seen[-1].message)

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(vae.filler, "conjugate_gradient", full)
    with pytest.raises(MemoryError, match="no memory for 2 tiles; pass `device='cpu'`"):
        filler(field, batch_size=2)(*tiles)
