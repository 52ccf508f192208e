"""Missing values of other programs are found, and no sky's own values are taken for them."""

from pathlib import Path

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from skyfill.holes import find_holes
from skyfill.maps import read_map, write_filled
from skyfill.maps.sentinels import find_sentinel, repeated_value

SENTINELS = (
    *(hp.UNSEEN * scale for scale in (1e6, 1e3, 1e-3, 1e-6, 1e-9, -1.0)),
    *(-1e30, 1e30, 1e20, -1e20, 9.96921e36, float(np.finfo(np.float32).max)),
    *(-32768.0, 32767.0, -9999.0, -99999.0, 1e10, -2147483648.0, -12345.0, 54321.0),
)


def sky_file(path: Path, values: np.ndarray, form: str = "E", **cards: object) -> Path:
    hdu = fits.BinTableHDU.from_columns([fits.Column("T", form, unit="uK", array=values)])
    nside = hp.npix2nside(len(values))
    hdu.header.update({"NSIDE": nside, "ORDERING": "RING", **cards})
    hdu.writeto(path, overwrite=True)
    return path


def cmb(nside: int, seed: int) -> np.ndarray:
    """Make a map of some hundred µK at most, with noise."""
    rng = np.random.default_rng(seed)
    smooth = np.repeat(rng.normal(0, 70, 12), nside * nside)
    return smooth + rng.normal(0, 10 ** rng.uniform(0, 1.9), 12 * nside**2)


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    nside=st.sampled_from((2, 4, 8, 16, 32)),
    sentinel=st.sampled_from(SENTINELS),
    share=st.floats(0.02, 0.95),
    single=st.booleans(),
)
def test_any_sentinel_is_found(
    seed: int, nside: int, sentinel: float, share: float, single: bool
) -> None:
    values = cmb(nside, seed)
    holes = np.random.default_rng(seed + 1).random(values.size) < share
    assume(np.count_nonzero(holes) >= 3)
    assume(np.count_nonzero(~holes) >= 8)
    values[holes] = sentinel
    found = find_sentinel(values.astype(np.float32 if single else np.float64))
    assert found is not None
    assert found.value == pytest.approx(sentinel, rel=1e-6)
    assert found.count == np.count_nonzero(holes)
    assert (found.low, found.high) == pytest.approx(
        (values[~holes].min(), values[~holes].max()), rel=1e-5
    )


def gaussian(rng: np.random.Generator, size: int) -> np.ndarray:
    return rng.normal(rng.normal() * 1e3, 10 ** rng.uniform(-6, 6), size)


def lognormal(rng: np.random.Generator, size: int) -> np.ndarray:
    return np.exp(rng.normal(0, rng.uniform(0.1, 3), size)) * 10 ** rng.uniform(-6, 6)


def power_law(rng: np.random.Generator, size: int) -> np.ndarray:
    return rng.pareto(rng.uniform(1, 5), size)


def hits(rng: np.random.Generator, size: int) -> np.ndarray:
    return rng.poisson(10 ** rng.uniform(-1, 4), size) * (rng.random(size) < rng.random())


def sources(rng: np.random.Generator, size: int) -> np.ndarray:
    bright = rng.integers(0, size, max(1, size // 200))
    sky = rng.normal(0, 100, size)
    sky[bright] += 10 ** rng.uniform(2, 5, bright.size)
    return sky


def upgraded(rng: np.random.Generator, size: int) -> np.ndarray:
    """Make each pixel of a coarse map, with one bright pixel, many."""
    coarse = rng.normal(0, 100, max(12, size // 64))
    coarse[0] = 10 ** rng.uniform(2, 5)
    return np.repeat(coarse, size // coarse.size)


@settings(max_examples=400, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    nside=st.sampled_from((1, 2, 4, 8, 16, 32)),
    kind=st.sampled_from((gaussian, lognormal, power_law, hits, sources, upgraded)),
    clip=st.floats(0.5, 1.0),
    whole=st.booleans(),
    sign=st.sampled_from((1, -1)),
)
def test_no_sky_has_one(seed: int, nside: int, kind, clip: float, whole: bool, sign: int) -> None:
    rng = np.random.default_rng(seed)
    values = sign * kind(rng, 12 * nside**2).astype(np.float64)
    if whole:
        values = np.rint(values)
    for sky in (values, np.clip(values, *np.quantile(values, (1 - clip, clip)))):
        assert find_sentinel(sky) is None
        assert find_sentinel(sky.astype(np.float32)) is None


def test_saturated_skies_stay_far_from_the_threshold() -> None:
    """A factor of five: what n saturated pixels of a skewed sky leave is below the limit of n."""
    rng = np.random.default_rng(5)
    for _ in range(300):
        values = np.sort(np.exp(rng.normal(0, 2, 768)))
        for count in (20, 100):
            clipped = np.minimum(values, values[-count])
            assert (values[-count] - values[-count - 1]) / values[-count - 1] < 1.0
            assert find_sentinel(clipped) is None


def test_a_refusal_names_value_count_and_mend(tmp_path: Path) -> None:
    values = cmb(16, 0)
    values[100:340] = -32768
    path = sky_file(tmp_path / "a.fits", values)
    with pytest.raises(ValueError, match=r"240 pixels hold exactly -32768, while the") as caught:
        read_map(path)
    assert str(path) in str(caught.value)
    assert "pass `missing=-32768` if that means no data" in str(caught.value)
    assert "\n" not in str(caught.value)
    sky = read_map(path, missing=-32768)
    assert np.flatnonzero(np.isnan(sky.values)).tolist() == list(range(100, 340))
    fill = np.full(values.size, 5.0)
    write_filled(tmp_path / "b.fits", sky, fill, np.isnan(sky.values), provenance={}, history=[])
    filled = read_map(tmp_path / "b.fits").values
    assert (filled[100:340] == 5.0).all()
    assert np.array_equal(
        np.delete(filled, range(100, 340)), np.delete(sky.values, range(100, 340))
    )


@pytest.mark.parametrize("scale", [1e6, 1e3, 1e-3])
def test_a_scaled_unseen_is_spelled_shortly(tmp_path: Path, scale: float) -> None:
    values = cmb(8, 1)
    values[5:30] = hp.UNSEEN * scale
    path = sky_file(tmp_path / "a.fits", values)
    with pytest.raises(ValueError, match=rf"`missing=-1\.6375e\+{np.log10(scale) + 30:.0f}`"):
        read_map(path)
    assert read_map(path, missing=hp.UNSEEN * scale).n_missing == 25


def test_several_values_can_be_missing(tmp_path: Path) -> None:
    values = cmb(16, 2)
    values[:50], values[50:90] = -9999, 1e20
    path = sky_file(tmp_path / "a.fits", values)
    with pytest.raises(ValueError, match=r"pass `missing=1e\+20`"):
        read_map(path)
    with pytest.raises(ValueError, match=r"50 pixels hold exactly -9999"):
        read_map(path, missing=1e20)
    assert read_map(path, missing=(-9999, 1e20)).n_missing == 90
    assert read_map(path, missing=[np.nan, -9999.0, 1e20]).n_missing == 90
    with pytest.raises(ValueError, match="`missing` takes a number or several, got 'none'"):
        read_map(path, missing="none")


def test_two_sentinels_close_to_each_other_are_found(tmp_path: Path) -> None:
    values = cmb(16, 3)
    values[:50], values[50:90] = -32768, -32767
    path = sky_file(tmp_path / "a.fits", values)
    with pytest.raises(ValueError, match="-32768"):
        read_map(path)
    with pytest.raises(ValueError, match="-32767"):
        read_map(path, missing=-32768)
    assert read_map(path, missing=(-32768, -32767)).n_missing == 90


def test_one_pixel_of_an_absurd_size_is_found(tmp_path: Path) -> None:
    values = cmb(32, 4)
    values[77] = -3.7e29
    with pytest.raises(ValueError, match=r"1 pixel holds -3\.7e\+29, while"):
        read_map(sky_file(tmp_path / "a.fits", values))


@pytest.mark.parametrize("key", ["BAD_DATA", "BLANK", "TNULL1", "BADVALUE", "NODATA"])
@pytest.mark.parametrize("form", ["E", "D", "J"])
def test_what_the_header_calls_missing_is_missing(tmp_path: Path, key: str, form: str) -> None:
    values = np.rint(cmb(16, 6))
    values[3:20] = -9999
    path = sky_file(tmp_path / "a.fits", values, form, **{key: -9999})
    sky = read_map(path)
    assert np.flatnonzero(np.isnan(sky.values)).tolist() == list(range(3, 20))
    fill = np.full(values.size, -9999.0)  # this fill must not be taken for missing
    write_filled(tmp_path / "b.fits", sky, fill, np.isnan(sky.values), provenance={}, history=[])
    stored = fits.getdata(tmp_path / "b.fits")["T"][3:20]
    assert stored == pytest.approx(-9999, rel=2e-4)
    if key in {"BLANK", "TNULL1"}:
        assert (stored != -9999).all()
        assert read_map(tmp_path / "b.fits", missing=stored[0]).n_missing == 17


def test_a_count_is_no_missing_value(tmp_path: Path) -> None:
    values = np.rint(cmb(16, 6))
    assert read_map(sky_file(tmp_path / "a.fits", values, NODATA=0)).n_missing == 0
    zeros = np.count_nonzero(values == 0)
    assert read_map(sky_file(tmp_path / "a.fits", values, BAD_DATA=0)).n_missing == zeros


def test_zeros_in_observed_pixels_are_told() -> None:
    values = cmb(16, 7)
    observed = np.ones(values.size, np.bool_)
    observed[:40] = False
    values[:1000] = 0.0
    with pytest.warns(UserWarning, match="960 pixels .* hold exactly 0 µK.* pass `missing`"):
        holes = find_holes(values, observed)
    assert np.array_equal(holes, ~observed)  # they are told, not taken
    values[1000:1400] = -99.0
    values[:1000] = cmb(16, 8)[:1000]  # no zeros any more
    with pytest.warns(UserWarning, match="400 pixels .* hold exactly -99 µK"):
        find_holes(values, observed)


def test_values_that_end_a_distribution_are_told_where_it_is_not_clipped() -> None:
    rng = np.random.default_rng(9)
    everywhere = np.ones(3072, np.bool_)
    everywhere[0] = False
    monopole = (2.7255e6 + rng.normal(0, 100, 3072)).astype(np.float32)
    dust = np.exp(rng.normal(0, 2, 3072))
    for values, missing in ((monopole, 0.0), (dust, -1.0), (dust, 0.0)):
        values[:100] = missing
        with pytest.warns(UserWarning, match=f"99 pixels .* hold exactly {missing:.9g} µK"):
            find_holes(values, everywhere)


@pytest.mark.filterwarnings("error")
def test_zeros_that_mean_something_are_not_told() -> None:
    rng = np.random.default_rng(0)
    observed = np.arange(3072) > 100
    behind = np.where(observed, cmb(16, 9), 0.0)  # zero where the mask is
    for values in (
        behind,
        np.clip(cmb(16, 9), -30, 30),
        rng.poisson(0.5, 3072).astype(float),
        np.rint(cmb(16, 9) / 30),
        np.repeat(cmb(4, 9), 16),
    ):
        find_holes(values, observed)
    assert repeated_value(np.zeros(48), np.ones(48, np.bool_)) is None
