"""Pixels as runs along the rings, against healpy, scipy and plain numpy."""

import os
import subprocess
import sys
from typing import Any

import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyfill.holes.runs import Runs

Flags = np.ndarray[Any, np.dtype[np.bool_]]


@st.composite
def sets(draw: st.DrawFn) -> Flags:
    """Draw speckles, discs with speckles, bands about any axis, stretches of rings, all or none."""
    nside = draw(st.sampled_from([1, 2, 4, 8, 16, 32]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    npix = 12 * nside**2
    directions = np.transpose(hp.pix2vec(nside, np.arange(npix)))
    kind = draw(st.sampled_from(["speckle", "discs", "band", "stretches", "all"]))
    if kind == "speckle":
        return rng.random(npix) < rng.random() ** 2
    flags = np.full(npix, kind == "all")
    if kind == "discs":
        flags = rng.random(npix) < 0.02
        for centre in directions[rng.integers(npix, size=rng.integers(1, 12))]:
            flags |= directions @ centre > np.cos(1.5 * rng.random() ** 3)
    elif kind == "band":
        flags = np.abs(directions @ directions[rng.integers(npix)]) < rng.random() ** 2
        flags ^= rng.random(npix) < rng.choice([0, 0.001, 0.02])
    elif kind == "stretches":
        for first in rng.integers(npix, size=rng.integers(1, 10)):
            flags[first : first + rng.integers(1, 8 * nside)] = True
    return flags if draw(st.booleans()) else ~flags


@settings(max_examples=100, deadline=None)
@given(flags=sets(), value=st.booleans())
def test_runs_are_the_pixels(flags: Flags, value: bool) -> None:
    runs = Runs.of(flags, value)
    pixels = np.flatnonzero(flags == value)
    np.testing.assert_array_equal(runs.pixels(), pixels)
    assert runs.sizes.sum() == pixels.size
    # Each lies in one ring, and is as long as it can be there.
    ring = hp.pix2ring(runs.nside, runs.first.astype(int))
    np.testing.assert_array_equal(ring, hp.pix2ring(runs.nside, runs.stop.astype(int) - 1))
    touching = runs.first[1:] == runs.stop[:-1]
    assert (ring[1:][touching] > ring[:-1][touching]).all()
    first = np.searchsorted(ring, np.arange(1, 4 * runs.nside + 1))
    np.testing.assert_array_equal(runs.begin[1:], first)


@settings(max_examples=100, deadline=None)
@given(flags=sets(), seed=st.integers(0, 99))
def test_some_of_them_are_painted(flags: Flags, seed: int) -> None:
    runs = Runs.of(flags)
    which = np.random.default_rng(seed).random(runs.first.size) < 0.5
    some = runs.some(which)
    painted = np.zeros(flags.size, np.bool_)
    runs.paint(which, painted)
    np.testing.assert_array_equal(some.pixels(), np.flatnonzero(painted))
    np.testing.assert_array_equal(some.begin, Runs.of(painted).begin)


@settings(max_examples=150, deadline=None)
@given(flags=sets(), steps=st.integers(0, 5))
def test_degrading_keeps_what_holds_one(flags: Flags, steps: int) -> None:
    nside = hp.npix2nside(flags.size)
    coarse = max(nside >> steps, 1)
    nested = hp.ring2nest(nside, np.flatnonzero(flags)) // (nside // coarse) ** 2
    expected = np.unique(hp.nest2ring(coarse, np.unique(nested))) if nested.size else []
    np.testing.assert_array_equal(Runs.of(flags).degraded(coarse).pixels(), expected)


@settings(max_examples=150, deadline=None)
@given(flags=sets())
def test_discs(flags: Flags) -> None:
    """Centres are means of directions, chords reach the farthest pixel."""
    runs = Runs.of(flags)
    labels, sizes = runs.regions
    centres, chords = runs.discs()
    directions = np.transpose(hp.pix2vec(runs.nside, runs.pixels()))
    owner = np.repeat(labels, runs.sizes)
    for k in range(sizes.size):
        mine = directions[owner == k]
        assert len(mine) == sizes[k]
        total = mine.sum(axis=0)
        if np.linalg.norm(total) < 1e-6:  # all around: no direction is the mean
            continue
        np.testing.assert_allclose(centres[k], total / np.linalg.norm(total), atol=1e-7)
        farthest = np.linalg.norm(mine - centres[k], axis=1).max()
        assert chords[k] == pytest.approx(farthest, abs=1e-9)


def test_a_gap_between_faces_is_no_bridge() -> None:
    """In the southern cap two pixels of a ring have none two rings below them."""
    nside = 8
    ring = np.arange(4 * nside)
    start = np.append(0, np.cumsum(np.bincount(hp.pix2ring(nside, np.arange(768)))[1:]))
    flags = np.zeros(768, np.bool_)
    low = int(ring[27])  # five pixels to a face, and seven two rings above
    flags[start[low - 1] : start[low]] = True
    lonely = start[low - 3] + 6  # the last of a face
    flags[lonely] = True
    assert lonely not in hp.get_all_neighbours(nside, np.flatnonzero(flags))
    assert Runs.of(flags).regions[1].tolist() == [1, 20]


@pytest.mark.slow
def test_kernels_for_pixels_are_compiled_once(tmp_path):
    """A second specialisation, for int32, would lengthen the first run on a machine."""
    code = """
import numpy as np
from skyfill.holes import distance_to_edge
from skyfill.holes.runs import Runs
observed = np.arange(12 * 16**2) % 50 > 3
Runs.of(observed, False).discs()
distance_to_edge(observed)
"""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    # FUNCTION-LINE.VERSION.nbi, and FUNCTION-LINE.VERSION.NUMBER.nbc for each specialisation
    functions = [path.name.removesuffix(".nbi") for path in tmp_path.rglob("*.nbi")]
    assert any("ring2xyf" in each for each in functions)
    compiled = [path.name.rsplit(".", 2)[0] for path in tmp_path.rglob("*.nbc")]
    assert sorted(compiled) == sorted(functions)
