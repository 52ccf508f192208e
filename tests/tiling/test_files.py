"""Tiles on disk: written, changed by another program, read back, pasted."""

from __future__ import annotations

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from skyfill.tiling import Layout, cut, paste, plan, read_tile, write_tile
from skyfill.tiling.blending import window

NSIDE = 32
SIDE = 24
PIXEL = 60.0
LAYOUT = Layout(NSIDE, 33.3, -71.7, (SIDE, SIDE), PIXEL)


@pytest.mark.parametrize("projection", ["TAN", "CAR"])
@pytest.mark.parametrize("coord", ["G", "C", "E"])
@pytest.mark.parametrize("lat", [-90.0, -40.3, 0.0, 61.7, 90.0])
def test_a_tile_comes_back(tmp_path, projection, coord, lat):
    layout = Layout(NSIDE, 123.4, lat, (20, 30), 17.3, projection, coord, offset=(0.5, -3.0))
    tile = np.random.default_rng(0).normal(size=(20, 30))
    write_tile(tmp_path / "tile.fits", tile, layout)
    back, where = read_tile(tmp_path / "tile.fits")
    np.testing.assert_array_equal(back, tile)
    assert (where.projection, where.coord, where.nside) == (projection, coord, NSIDE)
    np.testing.assert_allclose(where.directions(), layout.directions(), atol=1e-12)


def test_the_sky_makes_the_round_trip_over_files(tmp_path):
    """Cut, write, let astropy double the values, read, paste: the doubled holes."""
    vectors = np.stack(hp.pix2vec(NSIDE, np.arange(12 * NSIDE**2)), axis=-1)
    sky = vectors[:, 0] + 2 * vectors[:, 1] * vectors[:, 2]
    holes = np.flatnonzero((vectors[:, 2] > 0.9) | (vectors[:, 0] > 0.95))
    flags = np.zeros(sky.size, dtype=bool)
    flags[holes] = True
    layouts = plan(flags, side=SIDE, pixel_arcmin=PIXEL, margin=np.radians(3))
    tiles, _ = cut(sky, None, layouts)
    for k, (tile, layout) in enumerate(zip(tiles, layouts, strict=True)):
        path = tmp_path / f"{k}.fits"
        write_tile(path, tile, layout)
        with fits.open(path, mode="update") as hdus:
            hdus[0].data = 2 * hdus[0].data
    read = [read_tile(tmp_path / f"{k}.fits") for k in range(len(layouts))]
    taper = window((SIDE, SIDE), 1)
    back, _ = paste(
        np.stack([tile for tile, _ in read]),
        [layout for _, layout in read],
        holes,
        window=taper,
    )
    truth, _ = paste(2 * tiles, layouts, holes, window=taper)
    np.testing.assert_allclose(back, truth, atol=1e-12)
    np.testing.assert_allclose(back, 2 * sky[holes], atol=0.02)


def foreign(projection: str, **cards: float) -> fits.Header:
    """The header of a program that does not know us."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"RA---{projection}", f"DEC--{projection}"]
    wcs.wcs.crval = [83.6, 22.0 if projection == "TAN" else 0.0]
    wcs.wcs.crpix = [10.25, 12.0]
    wcs.wcs.cdelt = [-0.25, 0.25]
    header = wcs.to_header()
    header.update(cards)
    return header


@pytest.mark.parametrize("projection", ["TAN", "CAR"])
def test_a_foreign_tile_reads_too(tmp_path, projection):
    header = foreign(projection)
    image = np.arange(20.0 * 30).reshape(20, 30).astype(np.float32)
    empty = fits.PrimaryHDU()
    fits.HDUList([empty, fits.ImageHDU(image, header)]).writeto(tmp_path / "image.fits")
    tile, layout = read_tile(tmp_path / "image.fits", nside=64)
    np.testing.assert_array_equal(tile, image)
    y, x = np.indices(image.shape)
    lon, lat = np.radians(WCS(header).wcs_pix2world(x, y, 0))
    truth = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
    np.testing.assert_allclose(layout.directions(), truth, atol=1e-9)


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        (
            {"PC1_1": 0.8, "PC1_2": -0.6, "PC2_1": 0.6, "PC2_2": 0.8},
            "is rotated",
        ),
        ({"CDELT1": -0.3}, "is rotated"),
        ({"CDELT1": 0.25}, "is rotated"),
        ({"LONPOLE": 90.0}, "is rotated"),
        ({"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN"}, "axes RA---SIN, DEC--SIN"),
        ({"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"}, "axes LINEAR, LINEAR"),
    ],
)
def test_a_wcs_that_no_layout_can_say_is_refused(tmp_path, cards, message):
    path = tmp_path / "image.fits"
    fits.PrimaryHDU(np.zeros((20, 30)), foreign("TAN", **cards)).writeto(path)
    with pytest.raises(ValueError, match=message) as caught:
        read_tile(path, nside=64)
    assert str(path) in str(caught.value)


def test_what_is_no_tile_is_refused(tmp_path):
    path = tmp_path / "tile.fits"
    with pytest.raises(FileNotFoundError):
        read_tile(path)
    path.write_text("no FITS")
    with pytest.raises(ValueError, match="is not a complete FITS file"):
        read_tile(path)
    fits.PrimaryHDU().writeto(path, overwrite=True)
    with pytest.raises(ValueError, match="no two-dimensional image"):
        read_tile(path)
    fits.PrimaryHDU(np.zeros((20, 30)), foreign("TAN")).writeto(path, overwrite=True)
    with pytest.raises(ValueError, match="no keyword NSIDE; pass nside"):
        read_tile(path)
    write_tile(path, np.zeros((SIDE, SIDE)), LAYOUT, overwrite=True)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match="is not a complete FITS file"):
        read_tile(path)


def test_files_are_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "tile.fits"
    tile = np.zeros((SIDE, SIDE))
    write_tile(path, tile, LAYOUT)
    with pytest.raises(FileExistsError):
        write_tile(path, tile, LAYOUT)
    write_tile(path, tile + 1, LAYOUT, overwrite=True)
    assert read_tile(path)[0].min() == 1
    with pytest.raises(ValueError, match="its layout"):
        write_tile(tmp_path / "other.fits", tile[1:], LAYOUT)
    assert [p.name for p in tmp_path.iterdir()] == ["tile.fits"]
