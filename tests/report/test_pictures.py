"""Images of maps show the right places the right way round."""

from pathlib import Path

import healpy as hp
import numpy as np
import pytest

from skyfill.report.pictures import (
    close_up,
    graticule,
    mollweide,
    planck_colours,
    show,
    show_sky,
)

NSIDE = 64
LON, LAT = hp.pix2ang(NSIDE, np.arange(hp.nside2npix(NSIDE)), lonlat=True)


def test_mollweide_against_healpy():
    from healpy.projector import MollweideProj

    ours = mollweide(LAT, height=201)
    theirs = MollweideProj(xsize=402).projmap(LAT, lambda x, y, z: hp.vec2pix(NSIDE, x, y, z))
    theirs = np.where(np.isfinite(theirs), theirs, np.nan)
    inside = np.isfinite(ours) & np.isfinite(theirs)
    assert inside.mean() == pytest.approx(np.pi / 4, abs=0.02)
    # healpy samples at slightly other places: a row is 0.9 degrees, a pixel as much.
    assert np.nanmax(np.abs(ours[inside] - theirs[inside])) < 4
    assert np.median(np.abs(ours[inside] - theirs[inside])) < 0.8


def test_mollweide_has_longitude_growing_to_the_left():
    image = mollweide(LON, height=101)
    left, right = image[50, 51], image[50, 150]
    assert (left, right) == (pytest.approx(90, abs=3), pytest.approx(270, abs=3))
    assert np.isnan(image[0, 0])
    assert mollweide(LAT, height=101)[95, 101] > 60  # north is up: rows run from the bottom


def test_close_up():
    lat = close_up(LAT, 70.0, 30.0, width=np.radians(10), pixels=41)
    lon = close_up(LON, 70.0, 30.0, width=np.radians(10), pixels=41)
    assert (lon[20, 20], lat[20, 20]) == (pytest.approx(70, abs=1), pytest.approx(30, abs=1))
    assert lat[40, 20] == pytest.approx(35, abs=1)
    assert lon[20, 0] > 74


def test_show_marks_what_is_missing():
    from matplotlib.figure import Figure

    image = np.array([[np.nan, 0.0], [-900.0, 900.0]])
    drawn = show(Figure().subplots(), image)
    colours = drawn.to_rgba(drawn.get_array())
    assert colours[0, 0, :3] == pytest.approx([0x9A / 255] * 3, abs=0.01)
    assert colours[1, 0, 2] == 1
    assert colours[1, 1, 0] == pytest.approx(0x64 / 255, abs=0.01)
    assert planck_colours("red")(np.nan)[0] == 1


def test_graticule_follows_the_map():
    lon, lat = mollweide(LON, height=201), mollweide(LAT, height=201)
    lines = graticule(step=45, height=201)
    assert len(lines) == 7 + 3
    for number, (x, y) in enumerate(lines):
        inside = np.abs(x - 200.5) < 0.9 * np.max(np.abs(x - 200.5), initial=1.0) + 1
        x, y = (np.rint(each[inside]).astype(int) for each in (x, y))
        if number < 7:
            middle = np.abs(y - 100) < 60
            away = (lon[y[middle], x[middle]] - (-135 + 45 * number) + 180) % 360 - 180
            assert np.nanmax(np.abs(away)) < 4
        else:
            assert lat[y, 200] == pytest.approx(np.full(y.size, -45 + 45 * (number - 7)), abs=2)


def test_a_sky_is_shown_in_its_frame():
    from matplotlib.figure import Figure
    from matplotlib.patches import Ellipse

    axes = Figure().subplots()
    values = np.where(LAT > 80, np.nan, LON)
    image = show_sky(axes, values, {"vmin": 0, "vmax": 360}, height=101)
    np.testing.assert_array_equal(
        np.ma.filled(image.get_array(), np.nan), mollweide(values, height=101)
    )
    assert image.get_clim() == (0, 360)
    assert image.get_clip_path() is not None
    assert [type(patch) for patch in axes.patches] == [Ellipse]
    assert len(axes.lines) == len(graticule(height=101))


def test_the_colours_are_planck_s_and_zero_is_the_middle_one():
    from healpy.pixelfunc import __file__ as healpy_file

    theirs = np.loadtxt(Path(healpy_file).parent / "data" / "planck_cmap.dat")
    ours = 255 * planck_colours()(np.linspace(0, 1, 256))[:, :3]
    assert np.abs(ours - theirs).max() < 5
    assert 255 * np.array(planck_colours()(0.5)[:3]) == pytest.approx([255, 237, 217], abs=6)
