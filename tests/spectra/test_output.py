"""Realizations, known skies, chi², and what is written."""

import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import skyfill
from skyfill import harmonics
from skyfill.prior import Prior, draw, lcdm
from skyfill.spectra import compare

NSIDE = 16
THEORY = Prior(NSIDE, lcdm(), fwhm=0.1, noise_uk_arcmin=300.0)


@pytest.fixture(scope="module")
def skies():
    return np.array([draw(THEORY, seed=2, index=i, lmax=47, aliased=True) for i in range(3)])


@pytest.fixture(scope="module")
def mask():
    return skyfill.simulate_mask(NSIDE, seed=3, kind="band")


@pytest.fixture(scope="module")
def result(skies, mask):
    return compare(skies, THEORY, observed=mask, ranges=[(2, 9), (10, 32)], settings={"map": "a"})


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 2 * NSIDE).flatmap(lambda ell: st.tuples(st.just(ell), st.integers(0, ell))))
def test_a_single_harmonic(pair):
    """Its C_ell is |a|² (twice, for m and -m) / (2 ell + 1), and nothing is anywhere else."""
    ell, m = pair
    lmax = 2 * NSIDE
    alm = np.zeros((lmax + 1) * (lmax + 2) // 2, dtype=complex)
    alm[m * (2 * lmax + 1 - m) // 2 + ell] = 3.0 - (4.0j if m else 0.0)
    expected = np.zeros(lmax + 1)
    expected[ell] = 2 * 25 / (2 * ell + 1) if m else 9 / (2 * ell + 1)
    found = compare(harmonics.synthesis(alm, NSIDE), np.ones(lmax + 1), bins=1).cl
    np.testing.assert_allclose(found, expected[2:], atol=0.02 * expected[ell])


def test_realizations_are_averaged_one_at_a_time(skies, mask):
    together = compare(skies, THEORY, observed=mask)
    in_turn = compare(iter(skies), THEORY, observed=mask)
    alone = [compare(sky, THEORY, observed=mask) for sky in skies]
    assert together.realizations == in_turn.realizations == 3
    assert alone[0].realizations == 1
    for name in ("full", "cut"):
        every = np.array([getattr(one, name).cl for one in alone])
        for several in (together, in_turn):
            band = getattr(several, name)
            np.testing.assert_allclose(band.cl, every.mean(axis=0))
            np.testing.assert_allclose(band.scatter, every.std(axis=0, ddof=1))
            np.testing.assert_allclose(band.sigma, getattr(alone[0], name).sigma)
        assert getattr(alone[0], name).scatter is None
        assert "scatter" not in getattr(alone[0], name).columns()


def test_full_skies_have_cosmic_variance(result):
    modes = result.ell_max.astype(float) + 1
    modes = modes**2 - result.ell_min.astype(float) ** 2
    np.testing.assert_allclose(result.full.modes, modes)
    lonely = compare(np.arange(12.0 * NSIDE**2), THEORY, bins=1).full
    np.testing.assert_allclose(lonely.sigma, lonely.theory * np.sqrt(2 / lonely.modes))
    signal = THEORY.signal_cl(2 * NSIDE)[2:]
    np.testing.assert_allclose(lonely.sigma_signal, signal * np.sqrt(2 / lonely.modes))


def test_chi2_is_scipys(result):
    assert [(t.low, t.high) for t in result.full_tests] == [(2, 9), (10, 32)]
    for band, tests in ((result.full, result.full_tests), (result.cut, result.cut_tests)):
        assert sum(test.bins for test in tests) == result.ell.size
        for test in tests:
            chosen = (result.ell >= test.low) & (result.ell < test.high + 1)
            off = (band.cl - band.theory)[chosen]
            chi2 = off @ np.linalg.inv(band.covariance[np.ix_(chosen, chosen)]) @ off
            assert test.chi2 == pytest.approx(chi2)
            assert test.pte == pytest.approx(1 - stats.chi2.cdf(chi2, chosen.sum()))
            assert test.ell_min == result.ell_min[chosen][0]
            assert test.ell_max == result.ell_max[chosen][-1]
    assert result.full_tests[0].chi2 == pytest.approx(np.sum(result.residual[:4] ** 2))


def test_default_ranges(skies):
    short, long = (compare(skies[0], THEORY, lmax=lmax).full_tests for lmax in (20, 40))
    assert [(t.low, t.high) for t in short] == [(2, 20)]
    assert [(t.low, t.high) for t in long] == [(2, 29), (30, 40), (2, 40)]
    assert long[0].bins + long[1].bins == long[2].bins


@pytest.mark.parametrize("ending", [".ecsv", ".fits", ".fits.gz"])
def test_tables_survive_their_files(result, tmp_path, ending):
    path = tmp_path / f"table{ending}"
    result.write(path)
    back = QTable.read(path)
    for name, values in (result.full.columns() | {"ell_min": result.ell_min}).items():
        np.testing.assert_allclose(getattr(back[name], "value", back[name]), values)
    for name, values in result.cut.columns().items():
        column = back[f"cut_{name}"]
        np.testing.assert_allclose(getattr(column, "value", column), values)
    assert str(back["dl"].unit) == "uK2"
    said = json.dumps(dict(back.meta))
    assert "MASTER" in said
    digits = ".2f" if ".fits" in ending else ""
    assert f"{result.cut_tests[0].chi2:{digits}}" in said
    with pytest.raises(FileExistsError, match="`overwrite=True`"):
        result.write(path)


@pytest.mark.parametrize(("ending", "start"), [(".png", b"\x89PNG"), (".pdf", b"%PDF")])
def test_pictures_are_what_they_are_called(result, tmp_path, ending, start):
    result.plot(tmp_path / f"picture{ending}")
    assert (tmp_path / f"picture{ending}").read_bytes().startswith(start)


def test_the_picture_shows_what_was_measured(result):
    from matplotlib.figure import Figure

    upper, lower = Figure().subplots(2)
    result.draw(upper, lower)
    assert [text.get_text() for text in upper.get_legend().get_texts()] == [
        "theory",
        "filled sky, mean of 3\nbars: cosmic variance and noise of a whole sky",
        (
            "cut sky: pseudo-$C_\\ell$, coupling corrected\n"
            "bars: cosmic variance and noise of the cut sky"
        ),
    ]
    title = upper.get_title()
    for test in (*result.full_tests, *result.cut_tests):
        assert f"{test.chi2:.1f} / {test.bins} ({test.pte:.2g})" in title
    shown = [bars.lines[0].get_ydata() for bars in lower.containers]
    np.testing.assert_allclose(shown, [result.full.residual, result.cut.residual])


def test_json_holds_no_nan(skies):
    """A beam that leaves nothing gives no D_ell, and JSON has no word for that."""
    blind = Prior(NSIDE, lcdm(), fwhm=3.0, noise_uk_arcmin=300.0)
    found = compare(skies[0], blind, bins=8)
    assert not np.isfinite(found.full.dl[-1])
    said = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert said["bins"]["dl"][-1] is None
    assert said["bins"]["ell_min"] == found.ell_min.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ranges": [(30, 20)]}, "must rise within 2 ... lmax = 32, got 30 to 20"),
        ({"ranges": [(2, 33)]}, "must rise within"),
        ({"ranges": [(0, 9)]}, "must rise within"),
        ({"ranges": [(3, 3)], "bins": 9}, "mean ell of no bin"),
        ({"values": []}, "none was given"),
        ({"values": [np.ones(3072), np.ones(768)]}, "one Nside, got 16 and 8"),
        ({"values": np.stack([np.ones(3072), np.full(3072, np.nan)])}, "3072 pixels are missing"),
        ({"theory": lcdm(20)}, "ends at ell = 20"),
        ({"theory": Prior(NSIDE, lcdm(20))}, "ends at ell = 20"),
        ({"theory": -np.ones(48)}, "positive and finite"),
        ({"bins": "cubic"}, "one of default"),
    ],
)
def test_wrong_input_is_refused(skies, change, message):
    with pytest.raises(ValueError, match=message):
        compare(**({"values": skies[0], "theory": THEORY} | change))


@pytest.mark.parametrize("ending", [".fits", ".npz"])
def test_covariances_and_windows_are_written(result, tmp_path, ending):
    path = tmp_path / f"table{ending}"
    result.write(path)
    names = ("covariance", "windows", "cut_covariance", "cut_windows")
    if ending == ".npz":
        with np.load(path) as found:
            arrays = {name: found[name] for name in names}
            np.testing.assert_array_equal(found["cl"], result.cl)
    else:
        with fits.open(path) as hdus:
            arrays = {name: np.array(hdus[name.upper()].data) for name in names}
            assert hdus["COVARIANCE"].header["BUNIT"] == "uK4"
    np.testing.assert_array_equal(arrays["covariance"], result.full.covariance)
    np.testing.assert_array_equal(arrays["cut_covariance"], result.cut.covariance)
    np.testing.assert_array_equal(arrays["cut_windows"], result.cut.windows)
    np.testing.assert_allclose(arrays["windows"].sum(axis=1), 1)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_windows_are_the_response_of_the_bins(mask):
    """Skies with more power in one multipole have more in each bin by what the windows say."""
    theory = np.ones(48)
    more = theory.copy()
    more[12] += 4.0
    rng = np.random.default_rng(3)
    found = []
    for _ in range(200):
        alm = rng.standard_normal(48 * 49).view(complex) * 0.5**0.5
        alm[:48] = alm[:48].real * 2**0.5
        one, two = (
            harmonics.synthesis(harmonics.almxfl(alm, np.sqrt(cl)), NSIDE) for cl in (theory, more)
        )
        found.append((one, two))
    pairs = [
        compare([pair[i] for pair in found], theory, observed=mask, bins=4).cut for i in (0, 1)
    ]
    change = pairs[1].cl - pairs[0].cl
    expected = 4.0 * pairs[0].windows[:, 12]
    error = np.hypot(pairs[0].scatter, pairs[1].scatter) / 200**0.5
    assert np.all(np.abs(change - expected) < 4 * error)
    assert expected.max() > 10 * error.max()


def test_the_plot_says_that_the_prior_s_share_is_allowed_for(skies, mask):
    from matplotlib.figure import Figure

    known = compare(skies[0], THEORY, observed=mask, prior_share=np.full(10, 0.2))
    upper, lower = Figure().subplots(2)
    known.draw(upper, lower)
    label = upper.get_legend().get_texts()[1].get_text()
    assert label.endswith("of a whole sky,\nover 1 - prior's share")
