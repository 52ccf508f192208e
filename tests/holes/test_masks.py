"""Masks and holes, against healpy, scipy and plain Python."""

import math
from pathlib import Path
from typing import Any

import healpy as hp
import numba
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given, settings
from hypothesis import strategies as st
from map_files import REAL
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from skyfill.holes import (
    discs,
    distance_to_edge,
    fill_islands,
    find_holes,
    galactic_cut,
    grow,
    label_holes,
    read_mask,
)
from skyfill.maps import write_map

Mask = np.ndarray[Any, np.dtype[np.bool_]]


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    """Draw masks of all kinds: speckles, discs, lonely pixels, everything or nothing."""
    nside = draw(st.sampled_from([1, 2, 4, 8, 16]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    npix = 12 * nside**2
    kind = draw(st.sampled_from(["speckle", "discs", "lonely", "none", "all"]))
    if kind == "speckle":
        return rng.random(npix) < rng.random()
    observed = np.full(npix, kind != "all")
    if kind == "discs":
        for centre in rng.integers(0, npix, rng.integers(1, 9)):
            inside = hp.query_disc(nside, hp.pix2vec(nside, centre), rng.uniform(0, 0.6))
            observed[inside] = False
    elif kind == "lonely":
        observed[rng.integers(0, npix, 5)] = False
    return observed if draw(st.booleans()) else ~observed


def regions(inside: Mask) -> tuple[int, np.ndarray[Any, Any]]:
    """Label regions by scipy's graph algorithm; numbers are arbitrary."""
    nside = hp.npix2nside(inside.size)
    pixels = np.flatnonzero(inside)
    around = hp.get_all_neighbours(nside, pixels)
    near, which = np.nonzero((around >= 0) & inside[around])
    pairs = pixels[which], around[near, which]
    graph = coo_array((np.ones(which.size), pairs), shape=(inside.size,) * 2)
    _, labels = connected_components(graph, directed=False)
    numbers, labels = np.unique(labels[pixels], return_inverse=True)
    return numbers.size, labels


def angles(inside: Mask) -> np.ndarray[Any, Any]:
    """Measure from the pixels inside to the nearest one outside with a tree: exact."""
    nside = hp.npix2nside(inside.size)
    directions = np.transpose(hp.pix2vec(nside, np.arange(inside.size)))
    chord, _ = cKDTree(directions[~inside]).query(directions[inside])
    return 2 * np.arcsin(np.minimum(chord / 2, 1))


@settings(max_examples=100, deadline=None)
@given(observed=masks())
def test_labels_are_the_connected_regions(observed: Mask) -> None:
    holes = label_holes(observed)
    assert ((holes.labels == -1) == observed).all()
    count, expected = regions(~observed)
    mine = holes.labels[~observed]
    assert holes.sizes.size == count
    assert len(set(zip(mine, expected, strict=True))) == count  # one to one
    assert np.array_equal(np.bincount(mine, minlength=count), holes.sizes)
    first = np.unique(mine, return_index=True)[1]
    assert (np.diff(first) > 0).all()  # numbered in the order of their first pixels


@settings(max_examples=100, deadline=None)
@given(observed=masks(), of_observed=st.booleans())
def test_distances(observed: Mask, of_observed: bool) -> None:
    inside = observed if of_observed else ~observed
    mine = distance_to_edge(observed, of_observed=of_observed)
    assert not mine[~inside].any()
    if inside.all():
        assert np.isinf(mine).all()
    elif inside.any():
        pixel = hp.nside2resol(hp.npix2nside(observed.size))
        excess = (mine[inside] - angles(inside)) / pixel
        assert (excess > -1e-6).all()  # an arc sine near the antipode has half the digits
        assert (excess < 0.3).all()


def test_distances_are_nearly_all_exact() -> None:
    observed = np.ones(12 * 128**2, np.bool_)
    rng = np.random.default_rng(0)
    for centre in rng.integers(0, observed.size, 30):
        inside = hp.query_disc(128, hp.pix2vec(128, centre), rng.uniform(0, 0.4))
        observed[inside] = False
    excess = distance_to_edge(observed)[~observed] - angles(~observed)
    assert (excess > 1e-9).mean() < 0.02


@settings(max_examples=60, deadline=None)
@given(observed=masks(), pixels=st.floats(0, 6))
def test_grow(observed: Mask, pixels: float) -> None:
    resolution = hp.nside2resol(hp.npix2nside(observed.size))
    grown = grow(observed, min(pixels * resolution, np.pi))
    assert not (grown & ~observed).any()
    if observed.any() and not observed.all():
        apart = angles(observed) / resolution
        assert grown[observed][apart > pixels + 1e-6].all()
        assert not grown[observed][apart < pixels - 0.3].any()


@settings(max_examples=60, deadline=None)
@given(observed=masks(), size=st.integers(0, 30))
def test_fill_islands(observed: Mask, size: int) -> None:
    filled = fill_islands(observed, size)
    count, labels = regions(observed)
    large = np.bincount(labels, minlength=count) > size
    assert np.array_equal(filled[observed], large[labels])
    assert not filled[~observed].any()


@pytest.mark.parametrize("nside", [1, 16, 64])
def test_galactic_cut(nside: int) -> None:
    lon, lat = hp.pix2ang(nside, np.arange(12 * nside**2), lonlat=True)
    observed = galactic_cut(nside, math.radians(20.1))
    assert np.array_equal(observed, np.abs(lat) >= 20.1)
    for coord, frame in (("C", "icrs"), ("E", "barycentricmeanecliptic")):
        sky = SkyCoord(lon, lat, unit="deg", frame=frame).galactic
        observed = galactic_cut(nside, math.radians(20.1), coord=coord)
        assert np.array_equal(observed, np.abs(sky.b.deg) >= 20.1)


def test_discs() -> None:
    lon, lat, radius = np.radians([[10, 200, 359.99], [0, -45, 90], [3, 20, 1e-4]])
    expected = np.ones(12 * 64**2, np.bool_)
    for centre in zip(lon, lat, radius, strict=True):
        vector = hp.ang2vec(*np.degrees(centre[:2]), lonlat=True)
        expected[hp.query_disc(64, vector, centre[2])] = False
        expected[hp.vec2pix(64, *vector)] = False  # a disc smaller than a pixel masks one
    assert np.array_equal(discs(64, lon, lat, radius), expected)
    assert discs(4, [], [], 0.1).all()
    assert (~discs(4, 0.3, 0.2, 0.0)).sum() == 1


# --- reading ------------------------------------------------------------------------------------


@pytest.mark.parametrize("nest", [False, True])
@pytest.mark.parametrize("partial", [False, True])
def test_reads_masks(tmp_path: Path, nest: bool, partial: bool) -> None:
    mask = (np.random.default_rng(0).random(3072) < 0.7).astype(np.float32)
    mask[:9] = hp.UNSEEN
    hp.write_map(tmp_path / "m.fits", mask, nest=nest, partial=partial, dtype=np.float32)
    ring = hp.reorder(mask, n2r=True) if nest else mask
    assert np.array_equal(read_mask(tmp_path / "m.fits"), ring == 1)
    assert np.array_equal(read_mask(tmp_path / "m.fits", invert=True), ring == 0)


def test_reads_booleans(tmp_path: Path) -> None:
    mask = np.arange(768) % 3 > 0
    hp.write_map(tmp_path / "m.fits", mask, dtype=bool)
    assert np.array_equal(read_mask(tmp_path / "m.fits"), mask)


def test_apodised_masks_need_a_threshold(tmp_path: Path) -> None:
    mask = np.linspace(0, 1, 768)
    write_map(tmp_path / "m.fits", mask, unit="", dtype=np.float64)
    with pytest.raises(ValueError, match=r"m.fits: .*apodised.*pass `threshold=X`"):
        read_mask(tmp_path / "m.fits")
    assert np.array_equal(read_mask(tmp_path / "m.fits", threshold=0.9), mask > 0.9)
    assert np.array_equal(read_mask(tmp_path / "m.fits", threshold=0.9, invert=True), mask <= 0.9)


def test_a_map_is_no_mask(tmp_path: Path) -> None:
    write_map(tmp_path / "m.fits", np.linspace(-300, 300, 768))
    with pytest.raises(ValueError, match=r"holds -300 to 300, .*give the map first, then the mask"):
        read_mask(tmp_path / "m.fits")


def test_find_holes() -> None:
    values = np.zeros(48)
    observed = np.arange(48) > 7
    assert np.array_equal(find_holes(values, observed), ~observed)
    values[[0, 20, 30]] = np.nan
    with pytest.warns(UserWarning, match="^2 pixels that the mask calls observed are missing"):
        holes = find_holes(values, observed)
    assert np.array_equal(np.flatnonzero(holes), [0, 1, 2, 3, 4, 5, 6, 7, 20, 30])


@pytest.mark.parametrize(
    ("values", "observed", "why"),
    [
        (np.zeros(48), np.zeros(48, bool), "no pixel observed; .* read it with `invert=True`"),
        (np.zeros(48), np.ones(48, bool), "nothing to fill"),
        (np.zeros(48), np.ones(192, bool), "the map has Nside 2, the mask has Nside 4"),
        (
            np.where(np.arange(48) < 8, 1, np.nan),
            np.arange(48) >= 8,
            "nothing is left to fill from",
        ),
    ],
)
def test_pairs_that_do_not_fit(values: Any, observed: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        find_holes(values, observed)


@pytest.mark.skipif(not REAL, reason="SKYFILL_REAL_DATA is not set")
def test_real_masks() -> None:
    observed = read_mask(Path(REAL) / "planck_like_T_mask_n256.fits")
    assert observed.mean() == pytest.approx(0.759, abs=5e-4)
    assert read_mask(Path(REAL) / "wmap7_T_mask_n32.fits").mean() == pytest.approx(0.619, abs=5e-4)
    with pytest.raises(ValueError, match=r"holds -300 to 299.048, so it is not a mask"):
        read_mask(Path(REAL) / "smica2013_raw_n256.fits")


def test_the_number_of_threads_changes_no_distance() -> None:
    """A band around a tilted axis crosses the borders of base pixels, and their quarters."""
    x, y, z = hp.pix2vec(128, np.arange(12 * 128**2))
    observed = np.abs(0.6 * x + 0.3 * y + 0.7 * z) > 0.2
    found = []
    for threads in (1, 2):
        before = numba.get_num_threads()
        numba.set_num_threads(threads)
        try:
            found.append(distance_to_edge(observed))
        finally:
            numba.set_num_threads(before)
    np.testing.assert_array_equal(*found)
    assert (found[0][~observed] - angles(~observed) > 1e-9).mean() < 0.02
