"""The exact mean of a tile against a dense solve, and against what is near to it."""

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.polynomial.legendre import legval

from skyfill.dataset import TileGeometry
from skyfill.fidelity.optimum import dataset_mean, tile_mean
from skyfill.flatsky import TileField, tile_cl
from skyfill.prior import ARCMIN, Prior, lcdm

PRIOR = Prior(64, lcdm(), fwhm=120 * ARCMIN, noise_uk_arcmin=300.0)
PIXEL = 40 * ARCMIN
SIDE = 16


def domain():
    """Covariance of the pixels of a tile within a domain half as wide again, and its rms."""
    cl = np.append(PRIOR.total_cl(), PRIOR.white_cl)
    sky_pixel = np.sqrt(4 * np.pi / 12) / PRIOR.nside
    field = TileField.of(cl, side=24, pixel=PIXEL, share=False, sky_pixel=sky_pixel, passes=1)
    kernel = field.rms**2 * np.fft.irfft2(field.spectrum, s=(24, 24))
    y, x = np.mgrid[:SIDE, :SIDE].reshape(2, -1)
    dy, dx = y[:, None] - y[None], x[:, None] - x[None]
    return kernel[dy % 24, dx % 24]


@pytest.fixture(scope="module")
def drawn():
    covariance = domain()
    tiles = np.random.default_rng(1).multivariate_normal(np.zeros(SIDE**2), covariance, size=3)
    observed = np.ones((3, SIDE, SIDE), dtype=bool)
    observed[:, 5:10, 4:12] = False
    observed[2, :, 9:] = False
    return covariance, tiles.reshape(-1, SIDE, SIDE), observed


def test_dense_solve(drawn):
    covariance, tiles, observed = drawn
    found = tile_mean(tiles, observed, prior=PRIOR, pixel=PIXEL, device="cpu")
    for k in range(3):
        seen = observed[k].ravel()
        gain = np.linalg.solve(covariance[np.ix_(seen, seen)], covariance[np.ix_(seen, ~seen)])
        expected = tiles[k].ravel()[seen] @ gain
        np.testing.assert_allclose(found[k].ravel()[~seen], expected, atol=0.02 * tiles.std())
        np.testing.assert_allclose(found[k][observed[k]], tiles[k][observed[k]], rtol=1e-6)


def test_holes_are_not_read(drawn):
    _, tiles, observed = drawn
    usual = tile_mean(tiles, observed, prior=PRIOR, pixel=PIXEL, device="cpu")
    other = np.where(observed, tiles, np.nan)
    np.testing.assert_array_equal(
        usual, tile_mean(other, observed, prior=PRIOR, pixel=PIXEL, device="cpu")
    )


def test_oblong_tiles_are_refused():
    with pytest.raises(ValueError, match="not square"):
        tile_mean(np.zeros((1, 4, 8)), np.ones((1, 4, 8), bool), prior=PRIOR, pixel=PIXEL)


BOX = TileGeometry(64, SIDE)


def box_covariance(lat):
    """Covariance of the pixels of a box of longitude and latitude, on the sphere."""
    y = np.radians(lat - 5 + (np.arange(SIDE) + 0.5) * 10 / SIDE)[:, None]
    x = np.radians(-10 + (np.arange(SIDE) + 0.5) * 20 / SIDE)[None]
    vectors = np.broadcast_arrays(np.cos(y) * np.cos(x), np.cos(y) * np.sin(x), np.sin(y))
    flat = np.reshape(vectors, (3, -1))
    cl = tile_cl(
        np.append(PRIOR.total_cl(), PRIOR.white_cl),
        tile=1.0,
        pixel=min(BOX.pixel(lat)),
        share=False,
        sky_pixel=np.sqrt(4 * np.pi / 12) / PRIOR.nside,
        passes=1,
    )
    return legval(np.clip(flat.T @ flat, -1, 1), (2 * np.arange(cl.size) + 1) / (4 * np.pi) * cl)


@pytest.mark.parametrize("lat", [0.0, -45.0, 60.0])
def test_boxes_against_a_dense_solve_on_the_sphere(lat):
    covariance = box_covariance(lat)
    seen = np.ones((SIDE, SIDE), dtype=bool)
    seen[5:10, 4:12] = seen[-2:, -3:] = False
    tiles = np.random.default_rng(0).multivariate_normal(np.zeros(SIDE**2), covariance, size=64)
    known = seen.ravel()
    gain = np.linalg.solve(covariance[np.ix_(known, known)], covariance[np.ix_(known, ~known)])
    truth = tiles[:, ~known]
    exact = np.mean((tiles[:, known] @ gain - truth) ** 2)

    def excess(pixel):
        observed = np.repeat(seen[None], 64, axis=0)
        squares = tiles.reshape(-1, SIDE, SIDE)
        found = tile_mean(squares, observed, prior=PRIOR, pixel=pixel, device="cpu")
        return np.mean((found[:, ~seen] - truth) ** 2) / exact

    assert 1 < excess(BOX.pixel(lat)) < 1.06
    if lat != 60.0:  # where twice as wide in longitude is square
        assert excess(BOX.pixel(lat)[0]) > 1.15


def test_each_tile_has_the_pixels_of_its_latitude():
    lat = np.array([0.0, 40.0, -40.0, 80.0])
    dataset = SimpleNamespace(geometry=BOX, lat=np.append(-10.0, lat), prior=PRIOR)
    tiles = np.random.default_rng(3).normal(0, 50, (4, SIDE, SIDE)).astype(np.float32)
    observed = np.ones(tiles.shape, dtype=bool)
    observed[:, 4:9, 6:12] = False
    found, judged = dataset_mean(dataset, np.arange(1, 5), tiles, observed, device="cpu")
    assert judged.tolist() == [True, True, True, False]
    np.testing.assert_array_equal(found[3], tiles[3])
    for k in range(3):
        alone = tile_mean(
            tiles[[k]], observed[[k]], prior=PRIOR, pixel=BOX.pixel(lat[k]), device="cpu"
        )
        np.testing.assert_allclose(found[k], alone[0], atol=0.05)
