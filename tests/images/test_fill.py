"""Holes of images: the mean is the exact one, draws have the posterior's spread, the rest stays."""

import itertools

import numpy as np
import pytest
from astropy.wcs import WCS
from scipy.interpolate import CubicSpline

import skyfill
from skyfill.images import Model, UnlikelyModelError, fill, solve, solver

ARCMIN = np.pi / 180 / 60
PIXEL, BEAM, NOISE, LMAX = 4.0, 12.0, 60.0, 1500
MODEL = Model(skyfill.lcdm(LMAX), fwhm=BEAM * ARCMIN, noise_uk_arcmin=NOISE)
SIDE = 34


def wcs_of(kind="CAR", dec=0.0, side=SIDE):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"RA---{kind}", f"DEC--{kind}"]
    wcs.wcs.cdelt = [-PIXEL / 60, PIXEL / 60]
    if kind == "CAR":
        wcs.wcs.crval, wcs.wcs.crpix = [30, 0], [side / 2, side / 2 - dec * 60 / PIXEL]
    else:
        wcs.wcs.crval, wcs.wcs.crpix = [30, dec], [side / 2, side / 2]
    return wcs


def vectors_of(wcs, shape):
    rows, columns = np.indices(shape)
    lon, lat = np.radians(wcs.wcs_pix2world(columns.ravel(), rows.ravel(), 0))
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], 1)


def covariance_of(vectors):
    """The signal's covariance, by Legendre sums of numpy."""
    ell = np.arange(LMAX + 1)
    cl = skyfill.lcdm(LMAX) * skyfill.gaussian_beam(BEAM * ARCMIN, LMAX) ** 2
    chord = np.linspace(0, 0.1, 600)
    sums = np.polynomial.legendre.legval(1 - chord**2 / 2, (2 * ell + 1) * cl / 4 / np.pi)
    cosine = np.clip(vectors @ vectors.T, -1, 1)
    return CubicSpline(chord, sums)(np.sqrt(np.maximum(2 - 2 * cosine, 0)))


class Case:
    """A patch with a hole, and its dense answer."""

    def __init__(self, kind, dec, vary, radius=4.5, wcs=None):
        self.wcs = wcs or wcs_of(kind, dec)
        shape = (SIDE, SIDE)
        rng = np.random.default_rng(3)
        rows, columns = np.indices(shape)
        width = np.cos(np.radians(dec)) if kind == "CAR" else 1.0
        apart = np.hypot(rows - 16, (columns - 17) * width)
        self.mask = apart > radius
        variance = (NOISE / PIXEL) ** 2 / width * np.exp(vary * np.sin(columns / 5.0))
        self.ivar = 1 / variance
        covariance = covariance_of(vectors_of(self.wcs, shape))
        floor = 1e-5 * covariance[0, 0] * np.eye(len(covariance))
        self.truth = (
            np.linalg.cholesky(covariance + floor) @ rng.normal(size=shape[0] * shape[1])
        ).reshape(shape)
        self.image = self.truth + np.sqrt(variance) * rng.normal(size=shape) + 500
        seen, hole = self.mask.ravel(), ~self.mask.ravel()
        system = covariance[np.ix_(seen, seen)] + np.diag(variance.ravel()[seen])
        cross = covariance[np.ix_(hole, seen)]
        weights = np.linalg.solve(system, cross.T).T
        ones = np.linalg.solve(system, np.ones(seen.sum()))
        data = self.image.ravel()[seen]
        offset = ones @ data / ones.sum()
        self.mean = weights @ (data - offset) + offset
        left = covariance[np.ix_(hole, hole)] - weights @ cross.T
        less = 1 - weights.sum(axis=1)
        self.signal_variance = np.diag(left) + less**2 / ones.sum()
        self.variance = variance.ravel()[hole]


@pytest.mark.parametrize(
    ("kind", "dec", "vary"),
    [("CAR", 0, 0), ("CAR", 60, 0), ("CAR", 30, 1.5), ("ZEA", -50, 0), ("TAN", 20, 1.5)],
)
def test_the_mean_is_the_dense_one(kind, dec, vary):
    case = Case(kind, dec, vary)
    model = Model(skyfill.lcdm(LMAX), fwhm=BEAM * ARCMIN)
    found = solve(case.image, case.mask, case.wcs, model=model, ivar=case.ivar)
    sd = np.sqrt(case.signal_variance.mean())
    assert np.sqrt(np.mean((found.mean - case.mean) ** 2)) < 0.05 * sd
    assert 0.9 < found.whitened < 1.1


def test_a_projection_that_is_neither_is_solved_densely():
    oblique = wcs_of()
    oblique.wcs.crval, oblique.wcs.crpix = [30, 50], [SIDE / 2 + 300, SIDE / 2 + 900]
    case = Case("oblique CAR", 0, 0, wcs=oblique)
    model = Model(skyfill.lcdm(LMAX), fwhm=BEAM * ARCMIN)
    found = solve(case.image, case.mask, case.wcs, model=model, ivar=case.ivar)
    assert found.dense == 1
    sd = np.sqrt(case.signal_variance.mean())
    assert np.sqrt(np.mean((found.mean - case.mean) ** 2)) < 0.08 * sd


def test_draws_and_std_have_the_posterior_spread():
    case = Case("CAR", 30, 0.0, radius=3.0)
    model = Model(skyfill.lcdm(LMAX), fwhm=BEAM * ARCMIN)
    found = solve(case.image, case.mask, case.wcs, model=model, ivar=case.ivar, n=200, std=True)
    exact = np.sqrt(case.signal_variance + case.variance)
    np.testing.assert_allclose(found.std, exact, rtol=0.01)
    width = np.sqrt(np.mean((found.draws - case.mean) ** 2) / np.mean(exact**2))
    assert abs(width - 1) < 0.03
    np.testing.assert_allclose(
        found.draws.mean(axis=0), case.mean, atol=4.5 * exact.max() / 200**0.5
    )


@pytest.fixture(scope="module")
def patch():
    rng = np.random.default_rng(5)
    side = 90
    image = rng.normal(0, NOISE / PIXEL, (side, side)).astype(np.float32)
    image[:6] = np.nan
    mask = np.isfinite(image)
    for row, column in itertools.product((25, 70), (20, 70)):
        mask[row : row + 3, column : column + 4] = False
    return image, mask, wcs_of(side=side), Model(1e-6 * skyfill.lcdm(LMAX), noise_uk_arcmin=NOISE)


def test_all_but_holes_stays_bit_by_bit(patch):
    image, mask, wcs, model = patch
    out = fill(image, mask, wcs, model=model, seed=3)
    assert out.dtype == image.dtype
    hole = ~mask
    hole[:6] = False
    assert np.array_equal(out[~hole].view(np.uint32), image[~hole].view(np.uint32))
    assert np.isfinite(out[hole]).all()
    assert not np.isin(out[hole], image[hole]).any()


def test_a_realization_depends_on_seed_and_number_alone(patch):
    image, mask, wcs, model = patch
    three = fill(image, mask, wcs, model=model, seed=3, n=9, threads=1)
    one = fill(image, mask, wcs, model=model, seed=3, threads=2)
    hole = ~mask & np.isfinite(image)
    np.testing.assert_allclose(three[0][hole], one[hole], atol=1e-3)
    assert np.abs(three[8] - three[1])[hole].min() > 0
    assert np.abs(fill(image, mask, wcs, model=model, seed=4) - one)[hole].min() > 0


def test_units_scale_the_fill(patch):
    image, mask, wcs, model = patch
    uk = fill(image, mask, wcs, model=model, mean=True)
    kelvin = fill(image.astype(np.float64) * 1e-6, mask, wcs, model=model, mean=True, unit="K")
    hole = ~mask & np.isfinite(image)
    np.testing.assert_allclose(kelvin[hole] * 1e6, uk[hole], rtol=1e-3, atol=1e-3)


def test_regions_at_the_border_are_filled_on_request(patch):
    image, mask, wcs, model = patch
    mask = mask.copy()
    mask[40:44, :3] = False
    found = solve(image, mask, wcs, model=model)
    assert found.border == 2
    assert found.outside[:6].all()
    assert found.outside[40:44, :3].all()
    every = solve(image[6:], mask[6:], wcs_of(side=90), model=model, holes="all")
    assert not every.outside.any()
    assert len(every.pixels) == len(found.pixels) + 12


def test_near_holes_are_filled_together(patch):
    image, mask, wcs, model = patch
    mask = mask.copy()
    mask[25:28, 28:30] = False  # four pixels beside another
    assert solve(image, mask, wcs, model=model).holes == 4


def test_zeros_that_the_mask_calls_observed_are_not_used(patch):
    image, mask, wcs, model = patch
    zeros = np.where(np.isfinite(image), image, 0.0)
    with pytest.warns(UserWarning, match="540 pixels that the mask calls observed hold exactly 0"):
        out = fill(zeros, mask | ~np.isfinite(image), wcs, model=model, seed=3)
    assert np.array_equal(out[:6], zeros[:6])


def test_pixels_without_weight_are_unobserved(patch):
    image, mask, wcs, model = patch
    ivar = np.where(np.isfinite(image), (PIXEL / NOISE) ** 2, 0.0)
    ivar[50, 50] = ivar[25:28, 20:24] = 0
    own = Model(model.cl)
    found = solve(image, mask, wcs, model=own, ivar=ivar, n=1)
    assert [50, 50] in found.pixels.tolist()
    assert np.isfinite(found.draws).all()


def wrong(patch, **options):
    image, mask, wcs, model = patch
    values = {"image": image, "mask": mask, "wcs": wcs, "model": model} | options
    return fill(values.pop("image"), values.pop("mask"), values.pop("wcs"), **values)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask": np.ones((3, 3), bool)}, "the image is .*, the mask"),
        ({"mask": np.full((90, 90), 0.5)}, "must hold 0 and 1"),
        ({"mask": np.zeros((90, 90), bool)}, "the mask leaves no pixel observed"),
        ({"mask": np.ones((90, 90), bool)}, "no hole is enclosed"),
        ({"ivar": np.ones((90, 90))}, "both give the noise"),
        ({"model": Model()}, "the noise is not known"),
        ({"model": Model(), "ivar": np.ones((2, 2))}, "give a pair"),
        ({"model": Model(), "ivar": -np.ones((90, 90))}, "negative"),
        ({"holes": "some"}, "must be enclosed or all"),
        ({"image": np.zeros((3, 90, 90))}, "the image is|one plane"),
        ({"wcs": WCS(naxis=2)}, "no two axes of the sky"),
        ({"n": 0}, "n must be 1 or more"),
        ({"unit": "furlong"}, "furlong"),
    ],
)
def test_what_does_not_fit_is_refused(patch, options, message):
    with pytest.raises(ValueError, match=message):
        wrong(patch, **options)


def test_a_model_that_the_pixels_contradict_is_refused(patch):
    model = Model(patch[3].cl, noise_uk_arcmin=3 * NOISE)
    with pytest.raises(UnlikelyModelError, match=r"2\.98 times smaller"):
        wrong(patch, model=model)
    with pytest.warns(UserWarning, match=r"2\.98 times smaller"):
        wrong(patch, model=model, trust_prior=True)


def test_a_hole_near_a_pole_is_refused():
    image = np.random.default_rng(0).normal(size=(60, 60))
    mask = np.ones((60, 60), bool)
    mask[29:32, 29:32] = False
    with pytest.raises(ValueError, match="too near a pole"):
        fill(image, mask, wcs_of("CAR", 87.0, 60), model=Model(noise_uk_arcmin=1.0))


def test_a_hole_that_is_too_wide_is_refused_with_the_way_out(patch, monkeypatch):
    monkeypatch.setattr(solver, "_MEMORY", 1e4)
    with pytest.raises(ValueError, match=r"reproject\.reproject_to_healpix image and mask"):
        wrong(patch)


def test_a_hole_that_is_too_large_for_std_is_refused(patch, monkeypatch):
    image, mask, wcs, model = patch
    monkeypatch.setattr(solver, "_DENSE", 5)
    with pytest.raises(ValueError, match=r"too large for a dense solve \(at most 5\)"):
        solve(image, mask, wcs, model=model, std=True)
    assert solve(image, mask, wcs, model=model).std is None


def test_distortions_are_refused(patch):
    header = patch[2].to_header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
    header["A_ORDER"], header["B_ORDER"], header["A_2_0"], header["B_2_0"] = 2, 2, 1e-5, 1e-5
    with pytest.raises(ValueError, match="has distortions"):
        wrong(patch, wcs=header)
