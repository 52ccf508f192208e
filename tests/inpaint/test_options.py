"""Options as one record, and what is made of fills: whole maps and their spread."""

import inspect
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

import skyfill
from skyfill.holes import discs
from skyfill.inpaint import FillOptions, Inpainter, PolarizedInpainter, Spread

NSIDE = 32
PRIOR = skyfill.Prior(NSIDE, skyfill.lcdm(), fwhm=np.radians(6), noise_uk_arcmin=3000.0)


@pytest.fixture(scope="module")
def sky():
    return skyfill.prior.draw(PRIOR, seed=1, threads=1)


@pytest.fixture(scope="module")
def observed():
    return discs(NSIDE, [1.0, 4.0], [0.3, -0.8], [0.1, 0.2])


def test_every_option_is_a_keyword_with_the_same_default():
    keywords = inspect.signature(Inpainter).parameters
    for option in fields(FillOptions):
        assert keywords[option.name].default == option.default, option.name
        assert keywords[option.name].kind is inspect.Parameter.KEYWORD_ONLY
    apart = {"values", "observed", "prior", "noise_rms", "footprint", "seed", "progress"}
    assert set(keywords) == apart | {option.name for option in fields(FillOptions)}


def test_a_record_fills_as_the_keywords_do(sky, observed):
    options = FillOptions(method="gaussian", fill="signal", dipole="fit", threads=1)
    one = Inpainter.of(sky, observed, options, prior=PRIOR, seed=3)
    two = Inpainter(
        sky,
        observed,
        prior=PRIOR,
        seed=3,
        method="gaussian",
        fill="signal",
        dipole="fit",
        threads=1,
    )
    assert one.options == two.options == options
    np.testing.assert_array_equal(one.realization(2), two.realization(2))
    other = Inpainter.of(sky, observed, replace(options, dipole="marginalise"), prior=PRIOR, seed=3)
    assert not np.array_equal(other.realization(2), two.realization(2))


def test_options_are_normalised():
    options = FillOptions(weights="a.safetensors", cache="folder", device="GPU")
    assert options.weights == (Path("a.safetensors"),)
    assert options.cache == Path("folder")
    assert options.device == "cuda"
    assert FillOptions(**vars(options)) == options
    assert FillOptions(weights=["a", Path("b")]).files == (Path("a"), Path("b"))
    assert FillOptions(polish=3).mosaic.polish == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "nearest"}, "method 'nearest' is unknown; choose one of auto, vae, gaussian"),
        ({"fill": "noise"}, "fill 'noise' is unknown"),
        ({"dipole": "keep"}, "dipole 'keep' is unknown"),
        ({"method": "cosmovae", "polish": 2}, "has no prior to polish with"),
        ({"polish": -1}, "polish"),
        ({"batch_size": 0}, "batch_size"),
        ({"tolerance": 0}, "tolerance must be a number above 0"),
        ({"tolerance": True}, "tolerance must be a number above 0"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        FillOptions(**options)


def test_a_whole_map_has_data_fill_and_nothing_else(sky, observed):
    footprint = np.zeros(observed.size, bool)
    footprint[observed.size // 2 :] = True
    missing = np.where(observed, sky, np.nan)
    fitter = Inpainter(missing, observed, method="diffuse", footprint=footprint, threads=1)
    fill = fitter.mean()
    whole = fitter.whole(fill)
    np.testing.assert_array_equal(whole[observed], sky[observed])
    np.testing.assert_array_equal(whole[fitter.holes], fill)
    np.testing.assert_array_equal(np.isnan(whole), fitter.outside)
    assert fitter.outside.any()
    assert Inpainter(missing, observed, method="diffuse", threads=1).outside is None


@pytest.mark.parametrize("method", ["vae", "gaussian"])
def test_the_spread_is_exact_where_that_is_known_and_sampled_elsewhere(sky, observed, method):
    fitter = Inpainter(sky, observed, method=method, prior=PRIOR, threads=1, device="cpu")
    spread = Spread(fitter)
    known = np.isfinite(fitter.std())
    assert spread.known == known.all() == (method == "gaussian")
    np.testing.assert_array_equal(np.isnan(spread.std()), ~known)
    fills = [fitter.realization(index) for index in range(5)]
    for fill in fills:
        spread.add(fill)
    assert spread.count == 5
    drawn = np.std(fills, axis=0, ddof=1)
    np.testing.assert_allclose(spread.std(), np.where(known, fitter.std(), drawn), rtol=1e-9)
    np.testing.assert_array_equal(spread.map()[fitter.holes], spread.std())
    assert np.all(spread.map()[observed] == 0)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"holes": "enclosd"}, "choose one of all, enclosed"),
        ({"config": {"side": 96}}, "config must be a skyfill.mosaic.MosaicConfig, got dict"),
        ({"tolerance": float("nan")}, "tolerance must be a number"),
    ],
)
def test_options_of_no_meaning_are_refused_before_there_is_a_map(options, named):
    with pytest.raises(ValueError, match=named):
        FillOptions(**options)


@pytest.mark.parametrize("options", [None, {"method": "gaussian"}, "gaussian"])
def test_a_record_of_another_kind_is_refused_by_name(options):
    sky = np.random.default_rng(0).standard_normal(768)
    with pytest.raises(ValueError, match=r"options must be a skyfill\.inpaint\.FillOptions"):
        Inpainter.of(sky, sky > -1, options)


def test_the_exact_method_has_nothing_to_polish():
    with pytest.raises(ValueError, match="gaussian is exact already; drop `polish`"):
        FillOptions(method="gaussian", polish=3)
    assert FillOptions(method="gaussian", polish=0).polish == 0


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"tolerance": 0}, "tolerance must be a number above 0"),
        ({"tolerance": "1e-3"}, "tolerance must be a number above 0"),
        ({"threads": -1}, "threads must be an integer, 0 or more"),
        ({"threads": 1.5}, "threads must be an integer, 0 or more"),
        ({"method": "diffuse", "noise_variance": np.ones(3072)}, "drop `noise_variance`"),
        ({"method": "diffuse", "noise_pol_uk_arcmin": 3.0}, "drop `noise_pol_uk_arcmin`"),
    ],
)
def test_a_fill_of_polarization_refuses_what_a_fill_of_t_refuses(options, named):
    whole, observed = np.ones((3, 3072)), np.arange(3072) > 9
    with pytest.raises(ValueError, match=named):
        PolarizedInpainter(whole, observed, **options)
