"""Which tile has most weight at a pixel."""

import numpy as np
import pytest

from skyfill import Layout, tiling
from skyfill.tiling import blending

NSIDE = 64
LAYOUTS = [
    Layout(NSIDE, lon, lat, (24, 24), 45.0)
    for lon, lat in (
        (0.0, 0.0),
        (9.0, 2.0),
        (5.0, 8.0),
        (180.0, 89.0),
        (30.0, 88.0),
        (250.0, -60.0),
    )
]
WINDOW = blending.window((24, 24), guard=3)


def weights(layouts, pixels):
    """Of each tile by itself, (ntile, n), as `paste` has them."""
    tile = np.zeros((1, 24, 24), np.float32)
    return np.stack([tiling.paste(tile, [each], pixels, window=WINDOW)[1] for each in layouts])


def test_the_owner_weighs_most():
    pixels = np.arange(12 * NSIDE**2)
    each = weights(LAYOUTS, pixels)
    expected = np.where(each.max(axis=0) > 0, each.argmax(axis=0), -1)
    found = tiling.owners(LAYOUTS, pixels, window=WINDOW)
    np.testing.assert_array_equal(found, expected)
    assert set(found.tolist()) == {-1, *range(len(LAYOUTS))}


def test_pixels_come_in_any_order_and_in_parts(monkeypatch):
    pixels = np.arange(12 * NSIDE**2)
    expected = tiling.owners(LAYOUTS, pixels, window=WINDOW)
    shuffled = np.random.default_rng(0).permutation(pixels)
    monkeypatch.setattr("skyfill.tiling.owning._PIXELS", 1000)
    found = tiling.owners(LAYOUTS, shuffled, window=WINDOW)
    np.testing.assert_array_equal(found, expected[shuffled])
    assert tiling.owners(LAYOUTS, [], window=WINDOW).shape == (0,)


def test_of_equals_the_first_owns():
    found = tiling.owners([LAYOUTS[0]] * 3, np.arange(12 * NSIDE**2), window=WINDOW)
    assert set(found.tolist()) == {-1, 0}


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="no tile"):
        tiling.owners([], [0], window=WINDOW)
    with pytest.raises(ValueError, match="no window"):
        tiling.owners(LAYOUTS, [0], window=WINDOW[1:])
    with pytest.raises(ValueError, match="pixel"):
        tiling.owners(LAYOUTS, [12 * NSIDE**2], window=WINDOW)
