"""Discs around the sources of a catalogue, on the command line."""

import json

import healpy as hp
import numpy as np
import pytest

import skyfill

NSIDE = 32
RNG = np.random.default_rng(1)
RA = RNG.uniform(0, 360, 12)
DEC = np.degrees(np.arcsin(RNG.uniform(-1, 1, 12)))


@pytest.fixture
def sky(tmp_path):
    """A map in equatorial coordinates."""
    values = RNG.normal(0, 100, 12 * NSIDE**2)
    return skyfill.write_map(tmp_path / "sky.fits", values, coord="C") or tmp_path / "sky.fits"


def masked(path, lon, lat):
    return ~skyfill.read_mask(path)[hp.ang2pix(NSIDE, lon, lat, lonlat=True)]


def test_a_magnitude_is_no_radius(skyfill_main, sky, tmp_path):
    rows = [f"{ra},{dec},18.5,17.5,16.5" for ra, dec in zip(RA, DEC, strict=True)]
    (tmp_path / "a.csv").write_text("\n".join(["ra,dec,g,r,i", *rows]), encoding="utf-8")
    words = ("--map", sky, "--sources", tmp_path / "a.csv", "-o", tmp_path / "o.fits")
    outcome = skyfill_main("mask", *words)
    assert outcome.status == 2
    assert "not every source has a radius" in outcome.err
    assert not (tmp_path / "o.fits").exists()
    outcome = skyfill_main("mask", *words, "--radius-arcmin", 240, "--json")
    assert outcome.status == 0, outcome.err
    result = json.loads(outcome.out)
    assert result["sources"] == [
        "12 sources",
        "text, positions: ra, dec (deg, assumed); equatorial",
        "radius: the given one for all",
    ]
    discs = skyfill.discs(NSIDE, np.radians(RA), np.radians(DEC), np.radians(4))
    np.testing.assert_array_equal(skyfill.read_mask(tmp_path / "o.fits"), discs)


def test_columns_are_chosen(skyfill_main, sky, tmp_path):
    (tmp_path / "a.csv").write_text("n,x,y,s\n1,10,20,180\n2,200,-60,180\n", encoding="utf-8")
    words = ("--map", sky, "--sources", tmp_path / "a.csv", "-o", tmp_path / "o.fits")
    outcome = skyfill_main("mask", *words)
    assert outcome.status == 2
    assert "no positions" in outcome.err
    outcome = skyfill_main("mask", *words, "--columns", "lon=x,lat=y,radius=s")
    assert outcome.status == 0, outcome.err
    assert "positions: x, y (deg, assumed); in the map's frame" in outcome.out
    assert masked(tmp_path / "o.fits", [10, 200], [20, -60]).all()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--columns", "lon=x,lat=y"), "--columns says how sources are read"),
        (("--columns", "lon"), "must be lon=NAME,lat=NAME"),
    ],
)
def test_columns_that_mean_nothing(skyfill_main, tmp_path, words, why):
    outcome = skyfill_main("mask", "--nside", 8, *words, "-o", tmp_path / "o.fits")
    assert outcome.status == 2
    assert why in outcome.err


def test_a_new_mask_is_galactic(skyfill_main, tmp_path):
    (tmp_path / "a.csv").write_text("glon,glat\n10,20\n", encoding="utf-8")
    words = ("--sources", tmp_path / "a.csv", "--radius-arcmin", 180, "-o", tmp_path / "o.fits")
    outcome = skyfill_main("mask", "--nside", NSIDE, *words)
    assert outcome.status == 0, outcome.err
    assert masked(tmp_path / "o.fits", [10], [20]).all()
    assert skyfill.describe(tmp_path / "o.fits").tables[0].coord == "G"


def test_equatorial_sources_need_the_frame_of_the_map(skyfill_main, tmp_path):
    skyfill.write_map(tmp_path / "sky.fits", RNG.normal(0, 100, 768), coord=None)
    (tmp_path / "a.csv").write_text("ra,dec\n10,20\n", encoding="utf-8")
    words = ("--map", tmp_path / "sky.fits", "-o", tmp_path / "o.fits")
    for more in (("--sources", tmp_path / "a.csv", "--radius-arcmin", 60), ("--galactic-cut", 20)):
        outcome = skyfill_main("mask", *words, *more)
        assert outcome.status == 2
        assert "pass --frame G" in outcome.err
