"""Tiles in batches: units, guard, exact steps, device."""

import numpy as np
import pytest
import torch

from skyfill import vae
from skyfill.flatsky import TileField
from skyfill.prior import ARCMIN
from skyfill.vae import Architecture, TileFiller, TileVAE, pick_device
from skyfill.vae.filler import affordable_batch

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
    return TileFiller(network, field, **given | options)


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


def test_batches_change_only_the_networks_rounding(field, tiles):
    network = vae.load()[0]
    one, other = (filler(field, network, refine=0, batch_size=n)(*tiles) for n in (2, 64))
    np.testing.assert_allclose(one, other, rtol=0, atol=0.01 * field.rms)


def test_good_tiles_are_left_alone(field, tiles):
    """Steps are for tiles that need them."""
    exact = filler(field)(*tiles)
    rough = filler(field, tolerance=0.3)(*tiles)
    few = filler(field, refine=2)(*tiles)
    away = [np.std(fill - exact) for fill in (few, rough, filler(field, tolerance=0.01)(*tiles))]
    assert away[0] > away[1] > away[2] > 0


def test_whatever_the_network_says_the_exact_steps_mend(field, tiles):
    import torch

    torch.manual_seed(3)
    arch = Architecture(warm=0, steps=1, channels=(4, 6), gates=(4, 6), bands=6, scales=2)
    network = TileVAE(arch).requires_grad_(requires_grad=False)
    network.steps[0].head.weight.normal_(0, 0.02)
    exact = filler(field)(*tiles)
    assert np.abs(filler(field, network, refine=0)(*tiles) - exact).max() > 0.1 * field.rms
    np.testing.assert_allclose(filler(field, network)(*tiles), exact, atol=2e-3 * field.rms)


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
    assert "pass `batch_size=2` to begin so" in str(seen[-1].message)

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(vae.filler, "conjugate_gradient", full)
    with pytest.raises(MemoryError, match="no memory for 2 tiles; pass `device='cpu'`"):
        filler(field, batch_size=2)(*tiles)
