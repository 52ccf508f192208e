"""Tiles of Q and U: turned into the axes of the tile, and back, at the poles as elsewhere."""

from __future__ import annotations

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

import skyfill
from skyfill.healpix import nest_to_ring
from skyfill.tiling import (
    Layout,
    PolarizationPaster,
    cut,
    cut_polarization,
    gather_polarization,
    paste_polarization,
    read_tile,
    write_tile,
)
from skyfill.tiling.blending import window

NSIDE = 32
STRETCH = 16  # of the spectra, so that pixels of Nside 32 look like those of Nside 512
ELL = np.arange(3 * NSIDE // 2 + 1)
BEAM = np.exp(-ELL * (ELL + 1) * (2.9 * hp.nside2resol(NSIDE)) ** 2 / (16 * np.log(2)))
EE, BB = (
    STRETCH**2 * skyfill.lcdm(spectrum=name)[STRETCH * ELL] * BEAM**2 for name in ("EE", "BB")
)
ANGLES = (1.0, 0.7, 2.2)
CENTRES = np.stack(hp.pix2ang(4, np.arange(192), lonlat=True), axis=-1)


def drawn(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    size = hp.Alm.getsize(ELL[-1])
    ell, m = hp.Alm.getlm(ELL[-1])
    unit = rng.normal(size=size) + 1j * rng.normal(size=size)
    unit = np.where(m == 0, unit.real, unit / np.sqrt(2))
    return unit * np.sqrt(np.where(ell > 1, EE[ell], 0.0))


def sky_of(e: np.ndarray, angles: tuple[float, ...] | None = None) -> np.ndarray:
    """Q and U of E modes, after a rotation of the sky."""
    alm = np.stack([0 * e, e, 0 * e])
    if angles is not None:
        hp.rotate_alm(alm, *angles)
    return np.array(hp.alm2map(alm, NSIDE, lmax=ELL[-1])[1:])


def layouts_of(pixel: float, degrees: float, centres: np.ndarray, projection: str) -> list[Layout]:
    arcmin = pixel * hp.nside2resol(NSIDE, arcmin=True)
    side = int(np.ceil(degrees * 60 / arcmin))
    return [Layout(NSIDE, lon, lat, (side, side), arcmin, projection) for lon, lat in centres]


def b_power(skies: np.ndarray) -> np.ndarray:
    alm = hp.map2alm(np.stack([0 * skies[0], *skies]), lmax=ELL[-1], iter=3)
    return hp.alm2cl(alm[2])


@pytest.mark.parametrize("projection", ["TAN", "CAR"])
@pytest.mark.parametrize("angles", [None, ANGLES])
def test_e_modes_stay_e_modes_on_the_way_over_tiles_in_any_frame(projection, angles):
    truth = sky_of(drawn(0), angles)
    layouts = layouts_of(0.75, 27.0, CENTRES, projection)
    taper = window(layouts[0].shape, 1)
    tiles = gather_polarization(truth, layouts, window=taper, passes=2)
    back, weight = paste_polarization(tiles, layouts, np.arange(12 * NSIDE**2), window=taper)
    assert weight.min() > 0
    leaked = b_power(back - truth)
    for low, high in [(2, 6), (7, 16), (17, 24), (25, 32)]:
        here = slice(low, high + 1)
        modes = 2 * ELL[here] + 1
        assert modes @ leaked[here] < 1e-3 * (modes @ BB[here])
    # plain sums of the passes give 8e-4 there
    last = slice(NSIDE - 3, NSIDE + 1)
    modes = 2 * ELL[last] + 1
    assert modes @ leaked[last] < 6e-4 * (modes @ BB[last])
    away = np.sum((back - truth) ** 2, axis=0)
    pole = np.abs(hp.pix2vec(NSIDE, np.arange(12 * NSIDE**2))[2]) > np.cos(np.radians(3))
    assert np.mean(away[~pole]) < 0.011**2 * np.mean(np.sum(truth**2, axis=0))
    assert np.mean(away[pole]) < 2**2 * np.mean(away[~pole])


@pytest.mark.parametrize("projection", ["TAN", "CAR"])
@pytest.mark.parametrize("centre", [(0.0, 90.0), (70.0, 83.0), (200.0, -90.0), (123.0, -41.0)])
def test_a_tile_is_that_of_the_rotated_sky_at_the_equator(centre, projection):
    lon, lat = np.radians(centre)
    e = drawn(1)
    there = layouts_of(0.75, 20.0, np.array([centre]), projection)
    here = layouts_of(0.75, 20.0, np.array([(0.0, 0.0)]), projection)
    tile, _ = cut_polarization(sky_of(e), None, there)
    # turns the sky by -lon about the poles, then by lat about the y axis
    moved, _ = cut_polarization(sky_of(e, (-lon, lat, 0.0)), None, here)
    # Both are interpolated, from different pixels: T differs by 4 to 9% of its rms.
    assert np.std(tile - moved) < 0.1 * np.std(moved)


def test_a_tile_of_e_modes_has_e_modes_of_the_flat_sky():
    tile, _ = cut_polarization(sky_of(drawn(2)), None, layouts_of(0.75, 40.0, [(20, 88)], "TAN"))
    side = tile.shape[-1]
    taper = np.outer(np.hanning(side), np.hanning(side))
    q, u = np.fft.fft2(tile[0] * taper)
    # rows go north and columns west: south and east turned by half a circle, the same for spin 2
    rows, columns = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij")
    turn = np.exp(-2j * np.arctan2(columns, rows))
    e = q * turn.real - u * turn.imag
    b = q * turn.imag + u * turn.real
    scales = (np.hypot(rows, columns) > 5 / side) & (np.hypot(rows, columns) < 0.25)
    assert np.sum(np.abs(b[scales]) ** 2) < 0.1 * np.sum(np.abs(e[scales]) ** 2)  # the taper's


def test_missing_pixels_are_not_read_and_weigh_as_in_a_tile_of_t():
    rng = np.random.default_rng(3)
    skies = sky_of(drawn(3))
    observed = rng.random(12 * NSIDE**2) > 0.3
    layouts = layouts_of(0.75, 20.0, CENTRES[::40], "TAN")
    _, weights = cut(skies[0], observed, layouts)
    tiles, mine = cut_polarization(np.where(observed, skies, np.nan), observed, layouts)
    np.testing.assert_array_equal(mine, weights)
    assert np.all(np.isfinite(tiles))
    order = nest_to_ring(NSIDE, np.arange(12 * NSIDE**2))
    nested, _ = cut_polarization(skies[:, order], observed[order], layouts, nest=True)
    np.testing.assert_allclose(nested, tiles, atol=1e-12)


def test_pasting_does_not_depend_on_batches_or_ordering():
    layouts = layouts_of(0.75, 20.0, CENTRES[:12], "TAN")
    tiles, _ = cut_polarization(sky_of(drawn(4)), None, layouts)
    taper = window(layouts[0].shape, 1)
    nested = np.arange(3000)
    both, _ = paste_polarization(tiles, layouts, nested, window=taper, nest=True)
    paster = PolarizationPaster(NSIDE, nest_to_ring(NSIDE, nested))
    paster.add(tiles[:5], layouts[:5], taper)
    paster.add(tiles[5:], layouts[5:], taper)
    np.testing.assert_array_equal(paster.result()[0], both)


@pytest.mark.parametrize("convention", ["COSMO", "IAU"])
@pytest.mark.parametrize("planes", [2, 3])
@pytest.mark.parametrize("lat", [-90.0, 12.5, 90.0])
@pytest.mark.parametrize("projection", ["TAN", "CAR"])
def test_a_cube_comes_back(tmp_path, convention, planes, lat, projection):
    layout = Layout(NSIDE, 123.4, lat, (21, 31), 17.3, projection)
    tile = np.random.default_rng(0).normal(size=(planes, 21, 31))
    write_tile(tmp_path / "tile.fits", tile, layout, polcconv=convention)
    back, where = read_tile(tmp_path / "tile.fits")
    np.testing.assert_allclose(where.directions(), layout.directions(), atol=1e-12)
    np.testing.assert_allclose(back, tile, atol=1e-9)


@pytest.mark.parametrize(("convention", "sign"), [("COSMO", 1), ("IAU", -1)])
@pytest.mark.parametrize("lat", [-88.0, 30.0])
def test_astropy_finds_the_q_and_u_of_the_sky_in_a_cube(tmp_path, convention, sign, lat):
    """Another program takes Q and U for those of the meridian at each pixel."""
    alm = np.where(hp.Alm.getlm(ELL[-1])[0] < 5, drawn(5), 0)  # smooth: interpolation is exact
    skies = sky_of(alm)
    layout = Layout(NSIDE, 40.0, lat, (24, 24), 60.0)
    tiles, _ = cut_polarization(skies, None, [layout])
    write_tile(tmp_path / "tile.fits", tiles[0], layout, polcconv=convention)
    with fits.open(tmp_path / "tile.fits") as hdus:
        cube, header = np.array(hdus[0].data), hdus[0].header
    assert header["POLCCONV"] == convention
    wcs = WCS(header)
    assert [wcs.wcs.ctype[2], *wcs.wcs_pix2world([[0, 0, 0], [0, 0, 1]], 0)[:, 2]] == [
        "STOKES",
        2,
        3,
    ]
    ipix = np.flatnonzero(hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2), lonlat=True)[1] > -100)
    vectors = np.stack(hp.pix2vec(NSIDE, ipix), axis=-1)
    near = ipix[vectors @ layout.centre > np.cos(np.radians(8))]
    lon, phi = hp.pix2ang(NSIDE, near, lonlat=True)
    x, y = np.round(wcs.celestial.wcs_world2pix(lon, phi, 0)).astype(int)
    lon_there, lat_there = wcs.celestial.wcs_pix2world(x, y, 0)
    nearest = hp.ang2pix(NSIDE, lon_there, lat_there, lonlat=True)
    close = (nearest == near) & (np.abs(phi) < 89)
    assert close.sum() > 30
    size = np.sqrt(np.mean(skies[:, near] ** 2))
    turn = np.exp(2j * np.radians(lon_there - lon)) if abs(lat) > 80 else 1.0
    read = (cube[0, y, x] + sign * 1j * cube[1, y, x]) * turn ** np.sign(lat)
    away = np.abs(read - (skies[0, near] + 1j * skies[1, near]))[close]
    assert np.median(away) < 0.1 * size


def test_unknown_signs_and_other_cubes_are_refused(tmp_path):
    layout = Layout(NSIDE, 40.0, 30.0, (24, 24), 60.0)
    with pytest.raises(ValueError, match="only COSMO and IAU"):
        write_tile(tmp_path / "a.fits", np.zeros((2, 24, 24)), layout, polcconv="HEALPIX")
    with pytest.raises(ValueError, match="its layout"):
        write_tile(tmp_path / "a.fits", np.zeros((4, 24, 24)), layout)
    write_tile(tmp_path / "a.fits", np.zeros((2, 24, 24)), layout)
    with fits.open(tmp_path / "a.fits", mode="update") as hdus:
        hdus[0].header["POLCCONV"] = "OTHER"
    with pytest.raises(ValueError, match="only COSMO and IAU"):
        read_tile(tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits", mode="update") as hdus:
        hdus[0].header["CTYPE3"] = "FREQ"
    with pytest.raises(ValueError, match="STOKES"):
        read_tile(tmp_path / "a.fits")
    with pytest.raises(ValueError, match=r"\(2, npix\)"):
        cut_polarization(np.zeros((3, 12 * NSIDE**2)), None, [layout])
