"""Plans hold every hole pixel, with its margin, wherever it lies."""

from __future__ import annotations

import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyfill.holes.runs import Runs
from skyfill.tiling import Layout, plan
from skyfill.tiling.planning import _columns
from skyfill.tiling.search import nearest_points


def depth(layouts: tuple[Layout, ...], nside: int, holes: np.ndarray) -> np.ndarray:
    """How far inside of its best tile each hole pixel lies, in radians, in the tile's plane."""
    vectors = np.stack(hp.pix2vec(nside, holes), axis=-1)
    best = np.full(holes.size, -np.inf)
    for layout in layouts:
        lon, lat = np.radians([layout.lon_deg, layout.lat_deg])
        axis = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
        east = np.array([-np.sin(lon), np.cos(lon), 0])
        a, b, c = vectors @ axis, vectors @ east, vectors @ np.cross(axis, east)
        if layout.projection == "TAN":
            u, v = b / np.maximum(a, 1e-9), c / np.maximum(a, 1e-9)
        else:
            u, v = np.arctan2(b, a), np.arcsin(np.clip(c, -1, 1))
        half = 0.5 * (layout.shape[0] - 1) * layout.step
        best = np.maximum(best, half - np.maximum(abs(u), abs(v)))
    return best


def sparse_holes(nside: int, seed: int) -> np.ndarray:
    """Discs and single pixels at the poles, at the corners of faces, and anywhere."""
    rng = np.random.default_rng(seed)
    npix = 12 * nside**2
    corners = hp.nest2ring(nside, np.arange(12) * nside**2 + nside**2 - 1)
    spots = np.r_[0, npix - 1, corners, rng.integers(npix, size=8)]
    radii = rng.uniform(0, 12, spots.size) / nside
    discs = [
        np.r_[spot, hp.query_disc(nside, hp.pix2vec(nside, spot), radius)]
        for spot, radius in zip(spots, radii, strict=True)
    ]
    return np.unique(np.concatenate(discs))


@pytest.mark.parametrize("projection", ["TAN", "CAR"])
@pytest.mark.parametrize(
    "nside",
    [32, 256, 2048, *(pytest.param(n, marks=pytest.mark.slow) for n in (4096, 8192))],
)
def test_every_hole_pixel_has_its_margin(nside, projection):
    pixel = 0.6 * hp.nside2resol(nside, arcmin=True)
    holes = sparse_holes(nside, seed=nside)
    flags = np.zeros(12 * nside**2, dtype=bool)
    flags[holes] = True
    margin = np.radians(8 * pixel / 60)
    layouts = plan(flags, side=64, pixel_arcmin=pixel, margin=margin, projection=projection)
    assert depth(layouts, nside, holes).min() >= margin - 1e-12
    if nside > 32:  # there the discs merge
        assert len(layouts) <= 22  # no more tiles than holes: each fits into one


@given(
    nside=st.sampled_from([32, 64]),
    side=st.integers(16, 48),
    scale=st.floats(0.4, 1.2),
    margin=st.integers(0, 5),
    cover=st.floats(1, 3),
    latitude=st.floats(0, 90),
    projection=st.sampled_from(["TAN", "CAR"]),
)
@settings(deadline=None, derandomize=True, max_examples=40)
def test_wide_holes_are_covered_too(nside, side, scale, margin, cover, latitude, projection):
    _, lat = hp.pix2ang(nside, np.arange(12 * nside**2), lonlat=True)
    flags = (np.abs(lat) < latitude) | (lat > 75)
    pixel = scale * hp.nside2resol(nside, arcmin=True)
    margin = np.radians(margin * pixel / 60)
    layouts = plan(
        flags, side=side, pixel_arcmin=pixel, margin=margin, projection=projection, cover=cover
    )
    assert depth(layouts, nside, np.flatnonzero(flags)).min() >= margin - 1e-12


@settings(deadline=None, max_examples=60)
@given(
    nside=st.sampled_from([16, 32, 64]),
    degrees=st.floats(4, 60),
    edges=st.lists(st.floats(-90, 90), min_size=2, max_size=2),
    speckle=st.sampled_from([0.0, 0.3]),
    car=st.booleans(),
)
def test_grid_points_nearest_to_runs(nside, degrees, edges, speckle, car):
    """They are those nearest to each pixel, and the farthest pixel is as far off."""
    lon, lat = hp.pix2ang(nside, np.arange(12 * nside**2), lonlat=True)
    flags = (lat >= min(edges)) & (lat <= max(edges))
    flags &= np.random.default_rng(nside).random(flags.size) >= speckle
    columns = _columns(np.radians(degrees))
    starts = np.append(0, np.cumsum(columns))
    theta, phi = np.radians(90 - lat[flags]), np.radians(lon[flags])
    row = np.rint(theta * (columns.size - 1) / np.pi).astype(int)
    column = np.rint(phi * columns[row] / (2 * np.pi)).astype(int)
    middle, east = row * np.pi / (columns.size - 1), phi - column * 2 * np.pi / columns[row]
    a = np.cos(theta) * np.cos(middle) + np.sin(theta) * np.sin(middle) * np.cos(east)
    b = np.sin(theta) * np.sin(east)
    c = np.cos(theta) * np.sin(middle) - np.sin(theta) * np.cos(middle) * np.cos(east)
    if car:
        far = np.maximum(np.abs(np.arctan2(b, a)), np.abs(np.arcsin(np.clip(c, -1, 1))))
    else:
        far = np.where(a > 0, np.maximum(np.abs(b), np.abs(c)) / np.maximum(a, 1e-300), np.inf)
    # Pixels halfway between two points go to either of them; two of a row are as far away.
    halfway = np.isclose(theta * (columns.size - 1) / np.pi % 1, 0.5, atol=1e-9)
    tied = halfway | np.isclose(phi * columns[row] / (2 * np.pi) % 1, 0.5, atol=1e-9)
    sure = np.zeros(starts[-1], dtype=bool)
    sure[starts[row[~tied]] + column[~tied] % columns[row[~tied]]] = True
    runs, wanted = Runs.of(flags), np.zeros(starts[-1], dtype=bool)
    found = nearest_points(nside, runs.first, runs.stop, columns, starts, car, wanted)
    assert wanted[sure].all()
    assert np.count_nonzero(wanted & ~sure) <= np.count_nonzero(tied)
    if not halfway.any():
        assert found == pytest.approx(far.max(initial=0.0), rel=1e-9, abs=1e-12)


def test_wide_holes_lie_in_as_many_tiles_as_asked():
    nside, side = 256, 64
    pixel = 0.6 * hp.nside2resol(nside, arcmin=True)
    flags = np.ones(12 * nside**2, dtype=bool)
    for cover in (1.0, 2.0, 3.0):
        layouts = plan(flags, side=side, pixel_arcmin=pixel, margin=0.0, cover=cover)
        area = len(layouts) * np.radians((side - 1) * pixel / 60) ** 2 / (4 * np.pi)
        assert cover <= area < 1.25 * cover


def test_only_tiles_that_touch_a_hole_are_planned():
    nside = 128
    holes = sparse_holes(nside, seed=3)
    flags = np.zeros(12 * nside**2, dtype=bool)
    flags[holes] = True
    pixel = 0.6 * hp.nside2resol(nside, arcmin=True)
    layouts = plan(flags, side=48, pixel_arcmin=pixel, margin=np.radians(4 * pixel / 60))
    for layout in layouts:
        assert depth((layout,), nside, holes).max() > 0
    assert plan(np.zeros_like(flags), side=48, pixel_arcmin=pixel, margin=0.0) == ()


def test_plans_repeat_themselves():
    flags = np.random.default_rng(0).random(12 * 32**2) < 0.2
    keys = {"side": 24, "pixel_arcmin": 60.0, "margin": 0.03}
    assert plan(flags, **keys) == plan(flags, **keys)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"margin": 0.2}, "does not fit a tile of 24 pixels"),
        ({"margin": -0.1}, "does not fit"),
        ({"cover": 0.5}, "at least 1"),
        ({"projection": "ZEA"}, "use TAN or CAR"),
    ],
)
def test_impossible_plans_are_refused(change, message):
    keys = {"side": 24, "pixel_arcmin": 60.0, "margin": 0.03}
    with pytest.raises(ValueError, match=message):
        plan(np.ones(12 * 32**2, dtype=bool), **keys | change)
