"""Small holes filled from their surroundings, against dense algebra of the whole sphere."""

import math
from functools import partial

import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial.legendre import legval

from skyfill.files.cache import Kept
from skyfill.gaussian import local
from skyfill.gaussian.local import Local, NotLocalError, worthwhile
from skyfill.gaussian.surroundings import Reach, groups, surroundings
from skyfill.healpix import ring_to_nest
from skyfill.inpaint import Inpainter, exact
from skyfill.inpaint.exact import Exact, ExactMethod, Surrounded
from skyfill.inpaint.options import FillOptions
from skyfill.prior import Prior, draw, lcdm

NSIDE = 16
NPIX = 12 * NSIDE**2
# With monopole and dipole: without them, the whole sky of so few pixels tells of its holes.
CL = lcdm()
CL[:2] = CL[2]
KNOWN = Prior(NSIDE, CL, fwhm=math.radians(9), noise_uk_arcmin=2500.0)
NOISE = KNOWN.white_cl * NPIX / (4 * np.pi)
WHOLE = Reach(near=4 * NSIDE, width=0, levels=0)


@pytest.fixture(scope="module")
def covariance():
    directions = np.transpose(hp.pix2vec(NSIDE, np.arange(NPIX)))
    cl = KNOWN.signal_cl()
    cosine = np.clip(directions @ directions.T, -1, 1)
    signal = legval(cosine, (2 * np.arange(cl.size) + 1) / (4 * np.pi) * cl)
    return signal + NOISE * np.eye(NPIX)


@pytest.fixture(scope="module")
def observed():
    """Holes at a corner of base pixels, at a pole, two that nearly touch, and one pixel."""
    seen = np.ones(NPIX, dtype=bool)
    for lon, lat, radius in ((0, 41.8, 8), (10, 90, 7), (120, -30, 6), (135, -30, 6)):
        seen[hp.query_disc(NSIDE, hp.ang2vec(lon, lat, lonlat=True), math.radians(radius))] = False
    seen[1700] = False
    return seen


def posterior(covariance, values, observed):
    among = covariance[np.ix_(observed, observed)]
    cross = covariance[np.ix_(observed, ~observed)]
    gain = np.linalg.solve(among, cross).T
    return gain @ values[observed], covariance[np.ix_(~observed, ~observed)] - gain @ cross


def local_of(observed, **options):
    given_ = {"signal_cl": KNOWN.signal_cl(), "variance": NOISE, "threads": 1}
    return Local(observed, **given_ | options)


def test_from_the_whole_sky_it_is_the_exact_posterior(covariance, observed):
    values = draw(KNOWN, seed=1, threads=1)
    mean, exact = posterior(covariance, values, observed)
    found = local_of(observed, reach=WHOLE)
    np.testing.assert_array_equal(found.holes, np.flatnonzero(~observed))
    hidden = np.where(observed, values, np.nan)  # values in the holes are not read
    np.testing.assert_allclose(found.mean(hidden), mean, atol=0.1)
    np.testing.assert_allclose(found.variance, exact.diagonal(), rtol=1e-4)
    assert found.certificate.excess < 1e-4


def test_the_surroundings_are_enough_and_the_certificate_says_how_nearly(covariance, observed):
    values = draw(KNOWN, seed=2, threads=1)
    _, exact = posterior(covariance, values, observed)
    for reach in (Reach(), Reach(near=2, width=2, levels=2)):
        found = local_of(observed, reach=reach)
        excess = np.mean(found.variance - exact.diagonal()) / np.mean(exact.diagonal() - NOISE)
        assert 0 <= excess < 0.01
        assert found.certificate.converged
        assert found.certificate.excess <= 0.01
        assert f"{found.certificate.excess:.2%}" in str(found.certificate)


def test_the_estimated_excess_is_the_true_one(covariance):
    """One hole, so that the estimate and the truth are about the same pixels."""
    seen = np.ones(NPIX, dtype=bool)
    seen[hp.query_disc(NSIDE, [1.0, 0.3, 0.4], 0.2)] = False
    _, exact = posterior(covariance, np.zeros(NPIX), seen)
    found = local_of(seen, reach=Reach(near=2, width=2, levels=2), excess=1.0)
    true = np.mean(found.variance - exact.diagonal())
    assert found.certificate.excess > 1e-3
    assert found.certificate.excess == pytest.approx(
        true / np.mean(exact.diagonal() - NOISE), rel=0.3
    )
    assert found.certificate.distance == pytest.approx(math.sqrt(true), rel=0.2)
    with pytest.raises(NotLocalError, match="above that of the exact mean"):
        local_of(seen, reach=Reach(near=2, width=2, levels=2), excess=1e-3)


@pytest.mark.parametrize("fill", ["data", "signal"])
def test_draws_have_the_posterior_covariance(covariance, observed, fill):
    """Holes far apart are drawn independently, so each is compared by itself."""
    _, exact = posterior(covariance, np.zeros(NPIX), observed)
    found = local_of(observed)
    less = NOISE if fill == "signal" else 0.0
    rng = np.random.default_rng(3)
    drawn = np.array([found.scatter(rng.standard_normal(len(exact)), less) for _ in range(2000)])
    of = groups(
        NSIDE, ring_to_nest(NSIDE, found.holes), hp_labels(observed, found.holes), local._APART
    )
    for group in np.unique(of):
        mine = np.flatnonzero(of == group)
        eigen, vectors = np.linalg.eigh(exact[np.ix_(mine, mine)] - less * np.eye(mine.size))
        kept = eigen > 1e-2 * NOISE
        white = drawn[:, mine] @ vectors[:, kept] / np.sqrt(eigen[kept])
        size = white.size
        assert abs(np.mean(white**2) - 1) < 0.01 + 4 * math.sqrt(2 / size)


def hp_labels(observed, holes):
    """Number connected holes by their first pixels."""
    labels = np.full(NPIX, -1)
    number = 0
    for pixel in holes:
        if labels[pixel] >= 0:
            continue
        stack = [pixel]
        while stack:
            here = stack.pop()
            if here >= 0 and not observed[here] and labels[here] < 0:
                labels[here] = number
                stack.extend(hp.get_all_neighbours(NSIDE, here))
        number += 1
    return labels[holes]


def test_holes_that_nearly_touch_are_one(covariance, observed):
    """Their errors are correlated, and draws know."""
    found = local_of(observed)
    assert found.count == 4  # of five holes
    values = np.zeros(NPIX)
    _, exact = posterior(covariance, values, observed)
    (pair,) = (hole for hole in found._holes if hole.size == max(h.size for h in found._holes))
    root = found._whole[[hole is pair for hole in found._holes].index(True)]
    np.testing.assert_allclose(root @ root.T, exact[np.ix_(pair, pair)], atol=0.02 * exact.max())


@settings(max_examples=15)
@given(
    nside=st.sampled_from([4, 16, 64]),
    seed=st.integers(0, 2**32),
    reach=st.builds(
        Reach, near=st.integers(1, 8), width=st.integers(1, 4), levels=st.integers(0, 4)
    ),
)
def test_points_are_observed_and_used_once(nside, seed, reach):
    rng = np.random.default_rng(seed)
    npix = 12 * nside**2
    hole = np.sort(hp.query_disc(nside, rng.standard_normal(3), rng.uniform(0.5, 2) / nside))
    if not hole.size:
        hole = rng.integers(npix, size=1)
    observed = rng.random(npix) > 0.1
    observed[hole] = False
    coarse, fine = surroundings(nside, ring_to_nest(nside, hole), observed, reach)
    every = np.concatenate([coarse.ravel(), fine])
    assert np.unique(every).size == every.size
    assert observed[every].all()
    around = np.unique(hp.get_all_neighbours(nside, hole))
    around = around[around >= 0]
    near = around[observed[around]]
    assert np.isin(near, fine).all()


def test_the_number_of_threads_changes_nothing(observed):
    values = draw(KNOWN, seed=4, threads=1)
    normals = np.random.default_rng(0).standard_normal(int((~observed).sum()))
    one, two = (local_of(observed, threads=threads) for threads in (1, 2))
    np.testing.assert_array_equal(one.mean(values), two.mean(values))
    np.testing.assert_array_equal(one.scatter(normals), two.scatter(normals))


def test_weights_are_kept(observed, tmp_path, monkeypatch):
    values = draw(KNOWN, seed=5, threads=1)
    first = local_of(observed, kept=Kept(tmp_path))
    assert any(file.name.startswith("surroundings-") for file in tmp_path.iterdir())
    monkeypatch.setattr(local, "_fill", None)  # nothing is computed again
    again = local_of(observed, kept=Kept(tmp_path))
    np.testing.assert_array_equal(first.mean(values), again.mean(values))
    assert first.certificate == again.certificate


@given(number=st.integers(1, 200), size=st.integers(1, 400))
def test_only_few_and_small_holes_are_worth_it(number, size):
    sizes = np.full(number, size)
    assert not worthwhile(256, sizes)
    if worthwhile(1024, sizes):
        assert worthwhile(1024, sizes[1:]) or number == 1
        assert worthwhile(2048, sizes)
    assert not worthwhile(1024, np.append(sizes, 100_000))


def test_fifty_holes_are_worth_it():
    assert worthwhile(1024, np.full(50, 106))
    assert not worthwhile(1024, np.full(2000, 106))
    assert ExactMethod(FillOptions(method="gaussian"), 1024).local(np.full(50, 106))
    precise = FillOptions(method="gaussian", tolerance=1e-3)
    assert not ExactMethod(precise, 1024).local(np.full(50, 106))


# --- in the pipeline ----------------------------------------------------------------------------


@pytest.fixture
def low(monkeypatch):
    """Let the small sphere of the tests count as a large one."""
    monkeypatch.setattr(local, "_LEAST", NSIDE)
    monkeypatch.setattr(local, "_SHARE", 0.1)
    monkeypatch.setattr(local, "_WHOLE", 1e9)


def fitter_of(values, observed, **options):
    given_ = {"method": "gaussian", "prior": KNOWN, "threads": 1}
    return Inpainter(values, observed, **given_ | options)


@pytest.mark.usefixtures("low")
def test_the_inpainter_gives_the_fill_of_the_whole_sphere(observed):
    values = draw(KNOWN, seed=6, threads=1) + 40.0  # a monopole, which is fitted
    near = fitter_of(values, observed)
    far = fitter_of(values, observed, tolerance=1e-4)
    assert isinstance(near._fill, Surrounded)
    assert isinstance(far._fill, Exact)
    mean, exact = near.mean(), far.mean()
    assert near.converged
    assert np.sqrt(np.mean(((mean - exact) / near.std()) ** 2)) < 0.02
    whole = near.whole(mean)
    np.testing.assert_array_equal(whole[observed], values[observed])
    signal = fitter_of(values, observed, fill="signal")
    noise = KNOWN.noise_cl * NPIX / (4 * np.pi)
    np.testing.assert_allclose(signal.std() ** 2, near.std() ** 2 - noise, rtol=1e-9)


@pytest.mark.usefixtures("low")
def test_realizations_of_many_skies_cover_the_truth(observed):
    """The truth is as far from the mean as realizations are, over 12 skies of one geometry."""
    first = fitter_of(draw(KNOWN, seed=0, threads=1), observed)
    scores, scatter = [], []
    for seed in range(12):
        values = draw(KNOWN, seed=seed, threads=1)
        fitter = first.with_map(values, seed=seed)
        assert fitter._fill is first._fill
        mean = fitter.mean()
        scores.append((values[~observed] - mean) / fitter.std())
        scatter.append((fitter.realization(1) - mean) / fitter.std())
    assert np.std(scores) == pytest.approx(1, abs=0.12)
    assert np.std(scatter) == pytest.approx(1, abs=0.12)


@pytest.mark.usefixtures("low")
def test_a_seed_gives_one_sky_and_a_footprint_its_part(observed):
    values = draw(KNOWN, seed=7, threads=1)
    fitter = fitter_of(values, observed, seed=3)
    drawn = fitter.realization(2)
    np.testing.assert_array_equal(drawn, fitter_of(values, observed, seed=3).realization(2))
    assert np.std(drawn - fitter.realization(3)) > 1
    north = np.arange(NPIX) < NPIX // 2
    part = fitter_of(values, observed, seed=3, footprint=north)
    np.testing.assert_array_equal(part.realization(2), drawn[north[~observed]])


@pytest.mark.usefixtures("low")
def test_noise_may_vary(observed):
    values = draw(KNOWN, seed=8, threads=1)
    rms = math.sqrt(NOISE) * (1 + 0.5 * np.cos(hp.pix2ang(NSIDE, np.arange(NPIX))[0]))
    near = fitter_of(values, observed, noise_rms=rms)
    far = fitter_of(values, observed, noise_rms=rms, tolerance=1e-4)
    assert isinstance(near._fill, Surrounded)
    assert np.std(near.mean() - far.mean()) < 0.1 * near.std().mean()


@pytest.mark.usefixtures("low")
def test_holes_that_need_more_are_solved_on_the_whole_sphere(observed, monkeypatch):
    told = []

    class Listener:
        def stage(self, name, total=None):
            told.append(name)

        def advance(self, n=1):
            pass

        def done(self, note=""):
            told.append(note)

    monkeypatch.setattr(exact, "Local", partial(Local, excess=-1.0))
    fitter = fitter_of(draw(KNOWN, seed=9, threads=1), observed, progress=Listener())
    assert isinstance(fitter._fill, Exact)
    assert any("all holes are solved on the whole sphere" in each for each in told)
