"""Windows: their shape, and blends without seams."""

from __future__ import annotations

import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyfill.tiling import Layout, Paster, plan
from skyfill.tiling.blending import window

NSIDE = 64
SIDE = 64
PIXEL = 0.6 * hp.nside2resol(NSIDE, arcmin=True)


@given(st.integers(4, 60), st.integers(4, 60), st.integers(0, 8), st.integers(1, 8))
@settings(deadline=None, derandomize=True)
def test_window_tapers_from_its_centre(ny, nx, guard, power):
    if 2 * guard >= min(ny, nx):
        with pytest.raises(ValueError, match="no window"):
            window((ny, nx), guard, power)
        return
    weight = window((ny, nx), guard, power)
    inside = np.zeros((ny, nx), dtype=bool)
    inside[guard : ny - guard, guard : nx - guard] = True
    assert np.all(weight[inside] > 0)
    assert np.all(weight[~inside] == 0)
    assert weight.max() <= 1
    np.testing.assert_allclose(weight, weight[::-1, ::-1], atol=1e-15)
    assert weight[ny // 2, nx // 2] == weight.max()


@pytest.fixture(scope="module")
def layouts() -> tuple[Layout, ...]:
    everywhere = np.ones(12 * NSIDE**2, dtype=bool)
    return plan(everywhere, side=SIDE, pixel_arcmin=PIXEL, margin=np.radians(4 * PIXEL / 60))


def test_weights_sum_to_one(layouts):
    paster = Paster(NSIDE, np.arange(12 * NSIDE**2))
    for layout in layouts:  # one by one, as a pipeline that is short of memory would
        paster.add(np.full((1, SIDE, SIDE), 3.0), [layout], window((SIDE, SIDE), 2))
    values, weight = paster.result()
    np.testing.assert_allclose(values, 3.0, rtol=1e-13)
    assert weight.min() > 0


def test_a_smooth_field_has_no_seams(layouts):
    """Tiles of the same field agree: their blend is the field, borders or not."""
    tiles = np.stack([field(layout.directions()) for layout in layouts])
    paster = Paster(NSIDE, np.arange(12 * NSIDE**2))
    paster.add(tiles, layouts, window((SIDE, SIDE), 2))
    values, _ = paster.result()
    truth = field(np.stack(hp.pix2vec(NSIDE, np.arange(12 * NSIDE**2)), axis=-1))
    np.testing.assert_allclose(values, truth, atol=2e-4 * truth.std())


def test_tiles_that_disagree_fade_without_a_step(layouts):
    """Each tile a constant of its own: where a hard border steps by 1, the blend takes a slope.

    Between two tiles, each at 0.7 of its half width (0.3 SIDE map pixels), a share of windows
    cos^4 changes by pi / (0.6 SIDE) * 4 * tan(0.7 pi / 2) / 2 = 0.33 per pixel.
    """
    rng = np.random.default_rng(2)
    levels = rng.choice([-0.5, 0.5], len(layouts))
    tiles = np.broadcast_to(levels[:, None, None], (len(layouts), SIDE, SIDE))
    paster = Paster(NSIDE, np.arange(12 * NSIDE**2))
    paster.add(tiles, layouts, window((SIDE, SIDE), 2))
    values, _ = paster.result()
    around = hp.get_all_neighbours(NSIDE, np.arange(values.size))
    steps = np.abs(np.where(around >= 0, values[around], values) - values)
    assert steps.max() < 0.5
    assert np.sqrt(np.mean(steps**2)) < 0.1


def field(directions: np.ndarray) -> np.ndarray:
    x, y, z = np.moveaxis(directions, -1, 0)
    return np.sin(9 * x + 1) * np.cos(7 * y) + np.sin(8 * z * x)
