"""`skyfill simulate sky --stokes`: T, Q and U of one sky."""

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits
from skyfill.simulate import simulate_stokes

import skyfill
from skyfill.prior import LCDM, PolarizedPrior, Prior

NSIDE = 32
SKY = ("simulate", "sky", "--nside", NSIDE, "--seed", 5, "-q")
PRIOR = ("--beam-arcmin", 300, "--noise-uk-arcmin", 400)


@pytest.fixture
def column(skyfill_main, tmp_path):
    """Simulate a sky and give its columns, and its header."""

    def call(name, *words):
        out = tmp_path / f"{name}.fits"
        outcome = skyfill_main(*SKY, *PRIOR, "-o", out, *words)
        assert outcome.status == 0, outcome.err
        with fits.open(out) as hdus:
            table = hdus[1]
            return {n: np.ravel(table.data[n]) for n in table.columns.names}, table.header

    return call


def test_a_seed_gives_the_same_t_with_and_without_polarization(column):
    alone, _ = column("t")
    joint, header = column("tqu", "--stokes", "TQU")
    assert list(joint) == ["TEMPERATURE", "Q_POLARISATION", "U_POLARISATION"]
    assert joint["TEMPERATURE"].tobytes() == alone["TEMPERATURE"].tobytes()
    assert header["POLCCONV"] == "COSMO"
    assert header["SFNOISEP"] == pytest.approx(400 * 2**0.5, rel=1e-5)
    polarization, _ = column("qu", "--stokes", "QU")
    assert list(polarization) == ["Q_POLARISATION", "U_POLARISATION"]
    for name, values in polarization.items():
        assert values.tobytes() == joint[name].tobytes()


def test_the_file_is_read_back_as_one_map_and_by_healpy(skyfill_main, tmp_path):
    out = tmp_path / "sky.fits"
    assert skyfill_main(*SKY, *PRIOR, "--stokes", "TQU", "-o", out).status == 0
    sky = skyfill.maps.read_stokes(out)
    assert (sky.polcconv, sky.assumed) == ("COSMO", False)
    t = Prior(NSIDE, skyfill.lcdm(), np.radians(5), 400.0, theory=LCDM)
    drawn = simulate_stokes(PolarizedPrior.of(t), seed=5)
    np.testing.assert_allclose(sky.values, drawn, rtol=2e-7, atol=1e-5)
    np.testing.assert_allclose(hp.read_map(out, field=(0, 1, 2)), drawn, rtol=2e-7, atol=1e-5)


def test_noise_of_p_is_as_given():
    t = Prior(NSIDE, skyfill.lcdm(), np.radians(5), theory=LCDM)
    quiet, loud = (simulate_stokes(PolarizedPrior.of(t, n), seed=1) for n in (0.0, 900.0))
    assert np.array_equal(quiet[0], loud[0])
    rms = 900.0 / (60 * hp.nside2resol(NSIDE) * 180 / np.pi)
    assert np.std(loud[1:] - quiet[1:]) == pytest.approx(rms, rel=0.02)


def test_without_a_beam_power_beyond_three_nside_is_drawn():
    """The pixels sample what they do not resolve: their variance is that of the whole spectrum."""
    t = Prior(16, skyfill.lcdm(), theory=LCDM)
    prior = PolarizedPrior.of(t, 0.0)
    ell = np.arange(prior.reach_pol(8.0) + 1)
    modes = (2 * ell + 1) / (8 * np.pi)
    cl = prior.signal_cl(ell[-1])
    expected = float(modes @ (cl[1, 1] + cl[2, 2]))
    skies = [simulate_stokes(prior, seed=seed)[1:] for seed in range(6)]
    assert ell[-1] > 4.5 * 16
    assert np.var(skies) == pytest.approx(expected, rel=0.05)


def test_noise_of_p_without_p_is_refused(skyfill_main, tmp_path):
    out = tmp_path / "sky.fits"
    outcome = skyfill_main(*SKY, *PRIOR, "--noise-pol-uk-arcmin", 1, "-o", out)
    assert outcome.status == 2
    assert "pass --stokes TQU" in outcome.err
    assert not out.exists()
