"""Wide holes that are solved before all holes."""

import numpy as np

from skyfill.gaussian.widefirst import fewer_rings
from skyfill.harmonics.sphere import rings

NSIDE = 16


def ring_pixels(*numbers):
    """Give the first two pixels of some rings."""
    first = np.asarray(rings(NSIDE)["ringstart"]).astype(np.int64)[list(numbers)]
    return np.sort(np.concatenate([first, first + 1]))


def test_wide_holes_go_first_only_if_they_are_on_fewer_rings():
    every, few = ring_pixels(*range(0, 60, 3)), ring_pixels(27, 30, 33)
    most = ring_pixels(*range(0, 57, 3))
    nothing = np.zeros(0, np.int64)
    assert fewer_rings(NSIDE, [every, every], [few, few], [1, 2])
    assert not fewer_rings(NSIDE, [every, every], [most, most], [1, 2])
    assert not fewer_rings(NSIDE, [every, every], [nothing, nothing], [1, 2])
    assert not fewer_rings(NSIDE, [every, every], [few, every], [1, 2])  # P's count twice
