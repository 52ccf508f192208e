"""Layouts agree with the FITS WCS that they write, everywhere on the sky."""

from __future__ import annotations

import healpy as hp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from skyfill.tiling import Layout
from skyfill.tiling.layout import frames
from skyfill.tiling.projections import project

longitudes = st.floats(-180, 540)
latitudes = st.one_of(
    st.floats(-90, 90), st.sampled_from([-90, -89.999, -1e-9, 0, 1e-9, 89.999, 90])
)
layouts = st.builds(
    Layout,
    nside=st.just(64),
    lon_deg=longitudes,
    lat_deg=latitudes,
    shape=st.tuples(st.integers(4, 24), st.integers(4, 24)),
    pixel_arcmin=st.floats(0.1, 120),
    projection=st.sampled_from(["TAN", "CAR"]),
    coord=st.sampled_from("GCE"),
)


def unit(lon_deg: np.ndarray, lat_deg: np.ndarray) -> np.ndarray:
    lon, lat = np.radians(lon_deg), np.radians(lat_deg)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def on_the_sky(layout: Layout) -> np.ndarray:
    """Directions of a tile's pixels according to astropy."""
    y, x = np.indices(layout.shape)
    return unit(*layout.wcs.wcs_pix2world(x, y, 0))


@given(layouts)
@settings(deadline=None, derandomize=True, max_examples=200)
@example(Layout(64, 30.0, 90.0, (9, 12), 30.0, "CAR"))
@example(Layout(64, 30.0, -90.0, (9, 12), 30.0, "CAR"))
@example(Layout(64, 30.0, 90.0, (9, 12), 30.0, "TAN"))
def test_pixels_lie_where_astropy_says(layout):
    np.testing.assert_allclose(layout.directions(), on_the_sky(layout), atol=1e-9)


@given(layouts)
@settings(deadline=None, derandomize=True)
def test_projecting_undoes_deprojecting(layout):
    where = frames([layout])
    axes, step, origin, car = (array[0] for array in where.grid)
    ny, nx = layout.shape
    for y, x in [(0, 0), (0, nx - 1), (ny - 1, 0), (ny // 2, nx // 2)]:
        here = project(axes, step, origin, car, nx, *layout.directions()[y, x])
        np.testing.assert_allclose(here, (x, y), atol=1e-9 / layout.step)


@given(layouts)
@settings(deadline=None, derandomize=True)
def test_the_disc_holds_the_tile(layout):
    cosine = layout.directions() @ layout.centre
    assert np.arccos(np.clip(cosine, -1, 1)).max() <= layout.radius + 1e-7


def test_a_plain_longitude_latitude_box():
    """lat_deg = 0 and an offset: rows are parallels, as in the tiles of CosmoVAE's authors."""
    layout = Layout(64, 100.0, 0.0, (20, 30), 60.0, "CAR", offset=(0.0, -50.0))
    lon, lat = hp.vec2ang(layout.directions().reshape(-1, 3), lonlat=True)
    y, x = (grid.ravel() for grid in np.indices((20, 30)))
    np.testing.assert_allclose(lat, 50 + y - 9.5, atol=1e-9)
    np.testing.assert_allclose(lon, 100 + 14.5 - x, atol=1e-9)
    np.testing.assert_allclose(layout.directions(), on_the_sky(layout), atol=1e-9)
    np.testing.assert_allclose(hp.vec2ang(layout.centre, lonlat=True), [[100], [50]], atol=1e-9)


def test_north_is_up_and_east_to_the_left():
    directions = Layout(64, 30.0, 20.0, (5, 5), 10.0).directions()
    lon, lat = hp.vec2ang(directions.reshape(-1, 3), lonlat=True)
    lon, lat = lon.reshape(5, 5), lat.reshape(5, 5)
    assert np.all(np.diff(lat, axis=0) > 0)
    assert np.all(np.diff(lon, axis=1) < 0)
    np.testing.assert_allclose((lon[2, 2], lat[2, 2]), (30, 20), atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"projection": "SIN"}, "'SIN' is not known: use TAN or CAR"),
        ({"coord": "H"}, "'H' is not known: use G, C or E"),
        ({"lat_deg": 91.0}, "latitude 91.0"),
        ({"shape": (2, 20)}, "no tile has"),
        ({"pixel_arcmin": 0.0}, "no tile has"),
        ({"nside": 65}, "power of two"),
        ({"projection": "CAR", "shape": (200, 20), "pixel_arcmin": 60.0}, "90 degrees"),
    ],
)
def test_impossible_tiles_are_refused(change, message):
    possible = {
        "nside": 64,
        "lon_deg": 0.0,
        "lat_deg": 0.0,
        "shape": (20, 20),
        "pixel_arcmin": 10.0,
    }
    with pytest.raises(ValueError, match=message):
        Layout(**possible | change)


def test_layouts_of_one_batch_share_their_shape():
    with pytest.raises(ValueError, match="share their shape"):
        frames([Layout(64, 0, 0, (8, 8), 1.0), Layout(64, 0, 0, (8, 9), 1.0)])
