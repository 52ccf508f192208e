"""Tiles against reproject and healpy, on two threads, in one run.

Not collected by default: ``make bench``, or ``pytest tests/benchmarks -s`` to see the ratios.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import healpy as hp
import numba
import numpy as np
import pytest
from reproject import reproject_from_healpix

from skyfill.tiling import Layout, cut, plan

NSIDE = 2048
ROUNDS = 15


@pytest.fixture(scope="module")
def sky() -> np.ndarray:
    return np.random.default_rng(0).normal(size=12 * NSIDE**2)


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    threads = numba.get_num_threads()
    numba.set_num_threads(min(2, threads))
    yield
    numba.set_num_threads(threads)


def race(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """Best time of each, in turns, so that both see the same machine."""
    best = [np.inf, np.inf]
    for _ in range(rounds):
        for k, run in enumerate((ours, theirs)):
            start = time.perf_counter()
            run()
            best[k] = min(best[k], time.perf_counter() - start)
    return best[0], best[1]


@pytest.mark.parametrize("lat", [0.0, 40.0, 80.0])
@pytest.mark.parametrize("projection", ["TAN", "CAR"])
def test_cutting_a_tile_against_reproject(benchmark, sky, projection, lat):
    layout = Layout(NSIDE, 30.0, lat, (400, 400), 1.0, projection)
    header = layout.header()

    def ours():
        return cut(sky, None, [layout])[0][0]

    def theirs():
        return reproject_from_healpix(
            (sky, "galactic"), header, shape_out=layout.shape, order="bilinear", nested=False
        )[0]

    np.testing.assert_allclose(ours(), theirs(), atol=1e-9)
    benchmark(ours)
    mine, other = race(ours, theirs, ROUNDS)
    benchmark.extra_info["ratio"] = other / mine
    line = f"{1e3 * mine:.2f} ms, reproject {1e3 * other:.1f} ms: {other / mine:.1f} times"
    print(f"\n{projection} {lat:2.0f}: {line}")  # noqa: T201 - what `make bench` is for
    assert other / mine >= 20


@pytest.mark.parametrize("masked", [False, True])
def test_gathering_against_healpy(benchmark, sky, masked):
    """Many tiles, all over the sky; healpy is given the angles, which we have to find."""
    flags = np.zeros(sky.size, dtype=bool)
    flags[np.random.default_rng(1).integers(sky.size, size=100)] = True
    layouts = plan(flags, side=128, pixel_arcmin=1.0, margin=0.01)[:64]
    observed = ~flags if masked else None
    theta, phi = hp.vec2ang(np.stack([t.directions() for t in layouts]).reshape(-1, 3))

    def ours():
        return cut(sky, observed, layouts)[0].ravel()

    def theirs():
        return hp.get_interp_val(sky, theta, phi)

    if not masked:
        np.testing.assert_allclose(ours(), theirs(), atol=1e-10)
    benchmark(ours)
    mine, other = race(ours, theirs, ROUNDS)
    benchmark.extra_info["ratio"] = other / mine
    line = (
        f"{theta.size / mine / 1e6:.0f} million samples a second: {other / mine:.1f} times healpy"
    )
    print(f"\nmasked={masked}: {line}")  # noqa: T201 - what `make bench` is for
    assert other / mine >= (3 if masked else 5)  # healpy knows no mask
