"""The exact mean of a tile against a dense solve, and against what is near to it."""

import numpy as np
import pytest

from skyfill.flatsky import TileField
from skyfill.optimum import tile_mean
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
