"""Tiles of a data set: where they lie, what they hold, and what a killed run leaves."""

import signal
import subprocess
import sys

import healpy as hp
import numpy as np
import pytest
import zarr
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from skyfill import dataset
from skyfill.dataset import Role, TileGeometry, open_tiles, store, write_tiles
from skyfill.holes import discs
from skyfill.prior import ARCMIN, Prior, draw, lcdm

NSIDE = 32
PRIOR = Prior(NSIDE, lcdm(), fwhm=300 * ARCMIN, noise_uk_arcmin=900.0)
BOXES = TileGeometry(NSIDE, size=20, spacing_deg=(36.0, 17.0))


@pytest.fixture(scope="module")
def sky():
    return draw(PRIOR, seed=1, threads=1)


@pytest.fixture(scope="module")
def observed():
    return discs(NSIDE, [0.3, 2.0, 4.0], [0.1, -0.5, 0.0], np.array([0.1, 0.25, 0.05]))


def by_hand(size, lon, lat):
    """Longitudes and latitudes, degrees, of the pixels of a Cartesian tile, east to the left."""
    step = (np.arange(size) - 0.5 * (size - 1)) / size
    return lon - 20 * step[None, :] + 0 * step[:, None], lat + 10 * step[:, None] + 0 * step[None]


def test_as_many_tiles_as_the_paper_has():
    lon, lat = TileGeometry(2048).centres()
    assert lon.size == 4042
    assert (lat.min(), lat.max()) == (-85, 85)
    np.testing.assert_allclose(np.diff(np.unique(lon)), 360 / 47)
    np.testing.assert_allclose(np.diff(np.unique(lat)), 2)
    assert TileGeometry(2048).size == 400


@given(size=st.integers(4, 60), lon=st.floats(0, 359), lat=st.floats(-85, 85), boxes=st.booleans())
@settings(max_examples=40, deadline=None)
def test_headers_say_where_pixels_are(size, lon, lat, boxes):
    projection = "cartesian" if boxes else "gnomonic"
    geometry = TileGeometry(NSIDE, size=size, projection=projection, pixel_arcmin=5.0)
    header = geometry.header(lon, lat)
    y, x = np.mgrid[:size, :size]
    found = np.array(WCS(header).all_pix2world(x, y, 0))
    layout = geometry.layout(lon, lat)
    pixels = layout.directions()[:, :: layout.shape[1] // size]
    ours = np.array(hp.vec2ang(pixels.reshape(-1, 3), lonlat=True)).reshape(2, size, size)
    if boxes:
        np.testing.assert_allclose(ours[1], by_hand(size, lon, lat)[1], atol=1e-9)
        turns = (ours[0] - by_hand(size, lon, lat)[0]) / 360
        np.testing.assert_allclose(turns, np.round(turns), atol=1e-10)
    ours, found = (hp.ang2vec(*each.reshape(2, -1), lonlat=True) for each in (ours, found))
    np.testing.assert_allclose(ours, found, atol=1e-9)


def test_tiles_hold_the_interpolated_map_and_the_nearest_of_the_mask(sky, observed):
    lon, lat = np.array([10.0, 200.0]), np.array([0.0, -40.0])
    tiles, seen = BOXES.cut(sky, observed, lon, lat)
    for k in range(2):
        where = by_hand(BOXES.size, lon[k], lat[k])
        expected = hp.get_interp_val(sky, *where, lonlat=True)
        np.testing.assert_allclose(tiles[k], expected, rtol=1e-5, atol=1e-3)
        np.testing.assert_array_equal(seen[k], observed[hp.ang2pix(NSIDE, *where, lonlat=True)])


def test_what_the_map_misses_is_not_observed(sky, observed):
    broken = sky.copy()
    broken[hp.query_disc(NSIDE, hp.ang2vec(200, -40, lonlat=True), 0.05)] = np.nan
    tiles, seen = BOXES.cut(broken, observed, np.array([200.0]), np.array([-40.0]))
    assert np.isnan(tiles).any()
    assert not seen[np.isnan(tiles)].any()


def test_the_paper_judges_by_what_it_has_learned_from(sky, observed, tmp_path):
    found = write_tiles(tmp_path / "t", BOXES, sky, observed, prior=PRIOR)
    clean = found.masked == 0
    assert 0 < clean.sum() < clean.size
    np.testing.assert_array_equal(found.role == Role.TRAIN, clean)
    np.testing.assert_array_equal(found.train, found.test)
    np.testing.assert_array_equal(found.role == Role.MASKED, ~clean)
    some = np.array([3, 0, found.masks[0]])
    tiles, seen = BOXES.cut(sky, observed, found.lon[some], found.lat[some])
    np.testing.assert_array_equal(found.tiles(some), tiles)
    np.testing.assert_array_equal(found.observed(some), seen)
    again = open_tiles(tmp_path / "t")
    np.testing.assert_array_equal(again.prior.cl, PRIOR.cl)
    assert (again.geometry, again.prior.fwhm, again.split) == (BOXES, PRIOR.fwhm, "paper")
    assert again.header(3)["CRVAL1"] == found.lon[3]


@pytest.mark.parametrize("projection", dataset.PROJECTIONS)
def test_a_region_shares_no_pixel_with_the_rest(projection):
    """Not even those that interpolation reads."""
    geometry = TileGeometry(NSIDE, size=20, projection=projection, pixel_arcmin=30.0)
    lon, lat = geometry.centres()
    roles = store._held_out(geometry, "region", lon, lat)
    assert set(roles.tolist()) == {Role.TRAIN, Role.TEST, Role.UNUSED}
    used = {}
    for role in (Role.TRAIN, Role.TEST):
        used[role] = np.zeros(12 * NSIDE**2, dtype=bool)
        for k in np.flatnonzero(roles == role):
            pixels = geometry.layout(lon[k], lat[k]).directions().reshape(-1, 3)
            theta, phi = hp.vec2ang(pixels)
            used[role][hp.get_interp_weights(NSIDE, theta, phi)[0]] = True
    assert not (used[Role.TRAIN] & used[Role.TEST]).any()


def test_another_sky_is_held_out(sky, observed, tmp_path):
    other = draw(PRIOR, seed=2, threads=1)
    found = write_tiles(
        tmp_path / "t", BOXES, sky, observed, prior=PRIOR, split="sky", test_values=other
    )
    half = found.role.size // 2
    assert found.train.max() < half <= found.test.min()
    np.testing.assert_array_equal(found.train + half, found.test)
    assert found.masks.max() < half
    k = found.test[0]
    expected, _ = BOXES.cut(other, observed, found.lon[[k]], found.lat[[k]])
    np.testing.assert_array_equal(found.tiles(np.array([k])), expected)


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_a_killed_run_goes_on(sky, observed, tmp_path, monkeypatch, kept):
    monkeypatch.setattr(store, "_BATCH", 40)
    whole = write_tiles(tmp_path / "whole", BOXES, sky, observed, prior=PRIOR)
    cut, calls = TileGeometry.cut, []

    def dying(self, *arguments):
        calls.append(1)
        if len(calls) > kept:
            raise KeyboardInterrupt
        return cut(self, *arguments)

    monkeypatch.setattr(TileGeometry, "cut", dying)
    with pytest.raises(KeyboardInterrupt):
        write_tiles(tmp_path / "t", BOXES, sky, observed, prior=PRIOR)
    with pytest.raises(ValueError, match="run the same"):
        open_tiles(tmp_path / "t")
    with pytest.raises(ValueError, match="of another kind"):
        write_tiles(tmp_path / "t", BOXES, sky + 1, observed, prior=PRIOR)
    calls.clear()

    def counting(self, *arguments):
        calls.append(1)
        return cut(self, *arguments)

    monkeypatch.setattr(TileGeometry, "cut", counting)
    again = write_tiles(tmp_path / "t", BOXES, sky, observed, prior=PRIOR)
    assert len(calls) == -(-again.role.size // 40) - kept
    every = np.arange(again.role.size)
    np.testing.assert_array_equal(again.tiles(every), whole.tiles(every))
    np.testing.assert_array_equal(again.observed(every), whole.observed(every))
    np.testing.assert_array_equal(again.role, whole.role)


def test_nothing_is_lost(sky, observed, tmp_path):
    write_tiles(tmp_path / "t", BOXES, sky, observed, prior=PRIOR, limit=5)
    with pytest.raises(FileExistsError, match="`overwrite=True`"):
        write_tiles(tmp_path / "t", BOXES, sky, observed, prior=PRIOR, limit=5)
    more = write_tiles(tmp_path / "t", BOXES, sky, observed, prior=PRIOR, limit=6, overwrite=True)
    assert more.role.size == 6
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("words")
    with pytest.raises(ValueError, match="no tiles"):
        write_tiles(mine, BOXES, sky, observed, prior=PRIOR, overwrite=True)
    assert (mine / "thesis.txt").read_text() == "words"


def test_a_prior_is_fitted_where_none_is_given(sky, observed, tmp_path):
    found = write_tiles(tmp_path / "t", BOXES, sky + 500, observed, limit=2)
    assert found.prior.fitted
    assert found.prior.noise_uk_arcmin == pytest.approx(900, rel=0.3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"split": "thirds"}, "unknown"),
        ({"split": "sky"}, "`test_values`"),
        ({"test_values": np.zeros(12 * NSIDE**2)}, "`test_values`"),
        ({"observed": np.ones(12, dtype=bool)}, "mask has Nside 1, not 32"),
    ],
)
def test_bad_input(sky, observed, tmp_path, change, said):
    with pytest.raises(ValueError, match=said):
        write_tiles(tmp_path / "t", BOXES, sky, change.pop("observed", observed), **change)
    assert not (tmp_path / "t").exists()


def test_what_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="skyfill tiles"):
        open_tiles(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no tiles"):
        open_tiles(tmp_path)
    for wrong in ({"projection": "mercator"}, {"size": 3}, {"spacing_deg": (0.0, 1.0)}):
        with pytest.raises(ValueError, match=r"unknown|size must be|impossible"):
            TileGeometry(NSIDE, **wrong)


def test_damage_is_found(sky, observed, tmp_path):
    write_tiles(tmp_path / "t", BOXES, sky, observed, prior=PRIOR, limit=3)
    (tmp_path / "t" / "role" / "zarr.json").unlink()
    with pytest.raises(ValueError, match="damaged"):
        open_tiles(tmp_path / "t")


def test_a_folder_of_somebody_else_stays(sky, observed, tmp_path):
    """Neither another's Zarr group nor what was put beside the tiles is deleted."""
    theirs = zarr.create_group(tmp_path / "theirs")
    theirs.attrs.update({"format": 1, "complete": False})
    theirs.create_array("precious", data=np.arange(5.0))
    write_tiles(tmp_path / "t", BOXES, sky, observed, prior=PRIOR, limit=2)
    (tmp_path / "t" / "thesis.txt").write_text("words")
    for name, kept, said in (
        ("theirs", "precious", "holds no tiles"),
        ("t", "thesis.txt", "thesis.txt"),
    ):
        with pytest.raises(ValueError, match=said):
            write_tiles(tmp_path / name, BOXES, sky, observed, prior=PRIOR, overwrite=True)
        assert (tmp_path / name / kept).exists()


def test_a_store_half_made_is_in_nobodys_way(sky, observed, tmp_path, monkeypatch):
    create = zarr.Group.create_array

    def dying(self, name, **options):
        if name == "masked":
            raise KeyboardInterrupt
        return create(self, name, **options)

    with monkeypatch.context() as patched:
        patched.setattr(zarr.Group, "create_array", dying)
        with pytest.raises(KeyboardInterrupt):
            write_tiles(tmp_path / "t", BOXES, sky, observed, prior=PRIOR, limit=3)
    assert list(tmp_path.iterdir()) == []
    assert write_tiles(tmp_path / "t", BOXES, sky, observed, prior=PRIOR, limit=3).role.size == 3


def test_some_of_the_centres_are_spread_evenly(sky, observed, tmp_path):
    lon, lat = BOXES.centres()
    rows = np.unique(lat).size
    found = write_tiles(tmp_path / "t", BOXES, sky, observed, prior=PRIOR, limit=rows)
    assert np.unique(found.lon).size > 4  # every k-th would stay on one meridian
    assert np.unique(found.lat).size > 0.6 * rows
    pairs = set(zip(found.lon.tolist(), found.lat.tolist(), strict=True))
    assert len(pairs) == rows
    assert pairs < set(zip(lon.tolist(), lat.tolist(), strict=True))


def test_a_lost_tile_is_not_taken_for_a_black_one(sky, observed, tmp_path):
    found = write_tiles(tmp_path / "t", BOXES, sky, observed, prior=PRIOR)
    clean = found.train[:2]
    (tmp_path / "t" / "tile" / f"c.{clean[1]}.0.0").unlink()
    assert np.isfinite(found.tiles(clean[:1])).all()
    with pytest.raises(ValueError, match=f"tile {clean[1]} is lost"):
        open_tiles(tmp_path / "t").tiles(clean)
    assert found.tiles(clean[:0]).shape == (0, BOXES.size, BOXES.size)


KILLED = """
import os, signal, sys, numpy as np, zarr
from skyfill.dataset import TileGeometry, store, write_tiles
from skyfill.prior import Prior, lcdm
folder, last = sys.argv[1], int(sys.argv[2])
values, calls, write = np.arange(3072.0), [], zarr.Array.__setitem__
def dying(self, part, data):
    write(self, part, data)
    calls.append(1)
    if len(calls) == last:
        os.kill(os.getpid(), signal.SIGKILL)
zarr.Array.__setitem__ = dying
store._BATCH = 7
observed = values % 700 > 2
write_tiles(folder, TileGeometry(16, size=12, spacing_deg=(36.0, 17.0)), values, observed,
            prior=Prior(16, lcdm()), limit=20)
"""


def test_a_killed_process_goes_on(tmp_path):
    """Killed after any write, in the middle of a batch, too; every file is as if undisturbed."""

    def run(folder, last):
        words = [sys.executable, "-c", KILLED, str(folder), str(last)]
        return subprocess.run(words, check=False).returncode

    assert run(tmp_path / "whole", 0) == 0
    for last in (2, 9, 9):  # before the first batch, within the second, within the third
        assert run(tmp_path / "t", last) == -signal.SIGKILL
        with pytest.raises(ValueError, match="run the same command again"):
            open_tiles(tmp_path / "t")
    assert run(tmp_path / "t", 0) == 0
    files = [
        {str(f.relative_to(top)): f.read_bytes() for f in top.rglob("*") if f.is_file()}
        for top in (tmp_path / "whole", tmp_path / "t")
    ]
    assert files[0].keys() == files[1].keys()
    assert files[0] == files[1]
