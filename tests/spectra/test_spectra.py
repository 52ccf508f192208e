"""The comparison of a sky's spectrum with a theory."""

import dataclasses

import ducc0
import healpy
import numpy as np
import pytest
from astropy.table import QTable

from skyfill.prior import PolarizedPrior, Prior
from skyfill.spectra import compare, default_edges
from skyfill.spectra.expectation import expectation
from skyfill.spectra.stokes import StokesExpectation

NSIDE = 32
LMAX = 64


@pytest.fixture(scope="module")
def theory():
    ell = np.arange(3 * NSIDE)
    return 1000.0 / (ell + 10.0) ** 2


def sky(theory, seed):
    """Draw a sky without skyfill's own simulation."""
    ell, m = healpy.Alm.getlm(theory.size - 1)
    real, imaginary = np.random.default_rng(seed).standard_normal((2, ell.size))
    alm = np.sqrt(theory[ell] / 2) * (real + 1j * imaginary)
    alm[m == 0] = np.sqrt(2) * alm[m == 0].real
    return healpy.alm2map(alm, NSIDE)


@pytest.mark.parametrize("lmax", [2, 3, 5, 17, 64, 512, 4096, 6000])
def test_default_edges_partition_every_ell(lmax):
    edges = default_edges(lmax)
    assert edges[0] == 2
    assert edges[-1] == lmax + 1
    assert np.all(np.diff(edges) >= 1)
    assert np.max(np.diff(edges)) <= 1.5 * max(30, lmax // 40)


def test_bins_are_those_of_anafast(theory):
    values = sky(theory, 1)
    result = compare(values, theory, bins=1, lmax=LMAX)
    expected = healpy.anafast(healpy.remove_dipole(values), lmax=LMAX, iter=3)
    np.testing.assert_allclose(result.cl, expected[2:], rtol=1e-12)
    np.testing.assert_array_equal(result.ell, np.arange(2, LMAX + 1))

    wide = compare(values, theory, bins=[5, 10, 40])
    modes = 2 * np.arange(LMAX + 1) + 1
    np.testing.assert_allclose(wide.cl[0], np.average(expected[5:10], weights=modes[5:10]))
    np.testing.assert_allclose(wide.theory[1], np.average(theory[10:40], weights=modes[10:40]))
    assert wide.ell_min.tolist() == [5, 10]
    assert wide.ell_max.tolist() == [9, 39]


def test_monopole_and_dipole_do_not_matter(theory):
    values = sky(theory, 2)
    x, y, z = healpy.pix2vec(NSIDE, np.arange(values.size))
    offset = values + 2.7e6 + 3000 * x - 1000 * y + 500 * z
    plain, shifted = (compare(v, theory) for v in (values, offset))
    np.testing.assert_allclose(shifted.cl, plain.cl, rtol=1e-3)


def test_residuals_have_unit_variance(theory):
    residuals = np.array([compare(sky(theory, seed), theory).residual for seed in range(30)])
    assert abs(residuals.mean()) < 4 / np.sqrt(residuals.size)
    # A C_ell of few modes is skewed, so its variance scatters more than a Gaussian's.
    assert residuals.var() == pytest.approx(1, abs=0.25)


def test_the_result_cannot_be_changed(theory):
    result = compare(sky(theory, 3), theory)
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.lmax = 3


def test_table_survives_its_file(theory, tmp_path):
    result = compare(sky(theory, 3), theory, settings={"map": "sky.fits"})
    path = tmp_path / "spectrum.ecsv"
    result.write(path)
    back = QTable.read(path)
    np.testing.assert_allclose(back["cl"].to_value("uK2"), result.cl)
    np.testing.assert_allclose(back["residual"], result.residual)
    assert back.meta["map"] == "sky.fits"
    assert back.meta["lmax"] == LMAX
    with pytest.raises(FileExistsError, match="`overwrite=True`"):
        result.write(path)
    result.write(path, overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["spectrum.ecsv"]


def test_plot_is_a_png(theory, tmp_path):
    path = tmp_path / "spectrum.png"
    compare(sky(theory, 3), theory).plot(path)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.zeros(100)}, "12 Nside"),
        ({"values": np.full(12 * NSIDE**2, np.nan)}, "12288 pixels are missing"),
        ({"lmax": 3 * NSIDE}, "3 Nside - 1 = 95, got 96"),
        ({"lmax": 1}, "got 1"),
        ({"theory": np.ones(10)}, "ends at ell = 9, before lmax = 64"),
        ({"theory": np.full(96, np.nan)}, "positive and finite"),
        ({"theory": np.zeros(96)}, "positive and finite"),
        ({"bins": 0}, "1 or more, got 0"),
        ({"bins": [5, 5, 9]}, "must rise"),
        ({"bins": [2, 90]}, "must rise within 2"),
    ],
)
def test_wrong_input_is_refused(theory, change, message):
    arguments = {"values": np.ones(12 * NSIDE**2), "theory": theory} | change
    with pytest.raises(ValueError, match=message):
        compare(**arguments)


def test_power_beyond_3_nside_arrives_where_the_theory_says():
    nside, only = 16, np.full(54, 1e-9)
    only[53] = 100.0
    prior = Prior(nside, only, fwhm=0.0, noise_uk_arcmin=0.0, pixel_window=False)
    np.random.seed(5)  # noqa: NPY002 - healpy draws with it
    skies = [healpy.synfast(only, nside, lmax=53) for _ in range(200)]
    found = np.mean([healpy.anafast(one, lmax=32, iter=3) for one in skies], axis=0)
    arrived = expectation(prior, nside, 32).alias_cl
    assert arrived[:11].max() < 0.01 * arrived.max()
    np.testing.assert_allclose(found, arrived, atol=0.1 * arrived.max())


def test_the_theory_takes_no_more_threads_than_asked_for(monkeypatch):
    """The last bits of a transform on several threads vary."""
    prior = Prior(16, np.ones(60), fwhm=0.0, noise_uk_arcmin=0.0, pixel_window=False)
    taken = set()
    for name in ("map2leg", "leg2alm"):
        own = getattr(ducc0.sht, name)

        def counted(*, own=own, **words):
            taken.add(words["nthreads"])
            return own(**words)

        monkeypatch.setattr(ducc0.sht, name, counted)
    aliases = expectation(prior, 16, 32, threads=1).alias_cl
    pol = PolarizedPrior(prior, np.ones(60), np.ones(60), np.zeros(60))
    StokesExpectation.of(pol, 32, 3, threads=1)
    assert aliases.any()
    assert taken == {1}
