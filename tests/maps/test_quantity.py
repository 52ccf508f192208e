"""Units, kinds of noise and Stokes parameters, as map files spell them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyfill.maps.units import (
    noise_of_name,
    parse_unit,
    stated_unit,
    stokes_of,
    unit_in_name,
    unit_in_uk,
)

PREFIXES = {"": 1e6, "m": 1e3, "milli": 1e3, "u": 1.0, "mu": 1.0, "micro": 1.0, "µ": 1.0, "μ": 1.0}
ENDS = ["", "_CMB", "cmb", " CMB", "(CMB)", ",thermodynamic", ", thermodynamic", "-CMB", "_thermo"]
POWERS = {1: ["{}"], 2: ["{}^2", "{}**2", "({})^2", "({})**2", "({})²", "{}^{{2}}", "{} squared"]}
POWERS[-2] = ["1/{}^2", "1/({})^2", "1 / {}**2", "({})^-2", "{}^-2", "{}**(-2)", "({})⁻²"]


@given(
    prefix=st.sampled_from(sorted(PREFIXES)),
    kelvin=st.sampled_from(["K", " K", "Kelvin"]),
    end=st.sampled_from(ENDS),
    power=st.sampled_from(sorted(POWERS)),
    data=st.data(),
)
def test_every_spelling_is_the_same_unit(prefix, kelvin, end, power, data):
    shape = data.draw(st.sampled_from(POWERS[power]))
    unit = parse_unit(shape.format(prefix + kelvin + end))
    assert unit is not None
    assert unit.power == power
    assert unit.uk == pytest.approx(PREFIXES[prefix] ** power)


@pytest.mark.parametrize(
    ("uk", "units"),
    [
        (1e6, ["KELVIN", "'K'", "K.CMB", "K_CMB (thermodynamic)"]),
        (1e3, ["MILLIKELVIN", "milli-K", "mk", "0.001 K", "10^-3 K"]),
        (1.0, ["MICROKELVIN", "micro-K", "uk", "UK", r"uK_{\rm CMB}", "1e-6 K", "10**(-6) K"]),
    ],
)
def test_odd_spellings_of_a_temperature(uk, units):
    assert [parse_unit(unit) for unit in units] == [(pytest.approx(uk), 1)] * len(units)


@pytest.mark.parametrize(
    ("unit", "names"),
    [
        ("mK", ["T [mK]", "T_mK", "TEMPERATURE (mK)"]),
        ("uK_CMB", ["T_uK_CMB", "I [uK_CMB]"]),
        ("", ["MAP_K", "T", "T [Jy]", "Q (U)", "TMASK", "T_mK_RJ"]),
    ],
)
def test_names_may_end_in_a_unit(unit, names):
    assert {unit_in_name(name) for name in names} == {unit}


@pytest.mark.parametrize("unit", ["K2", "K_CMB2", "uK2", "mK_CMB2", "K^2_CMB", "K_CMB^2.0"])
def test_a_bare_two_is_a_square(unit):
    assert parse_unit(unit).power == 2


@pytest.mark.parametrize(
    "unit",
    [
        "",
        "K_RJ",
        "mK_RJ",
        "K antenna",
        "MK",
        "MJy/sr",
        "K^3",
        "counts",
        "Kay",
        "K arcmin",
        "Jy",
        "K2X",
        "k",
        "0 K",
        "2 K^2",
        "MKELVIN",
    ],
)
def test_other_units_are_none(unit):
    assert parse_unit(unit) is None
    with pytest.raises(ValueError, match=r"pass `unit` K, mK or uK"):
        unit_in_uk(unit)


@pytest.mark.parametrize("unit", ["K^2", "1/uK^2", "K^-1"])
def test_a_power_is_no_temperature(unit):
    with pytest.raises(ValueError, match="is not a unit of CMB temperature"):
        unit_in_uk(unit)


@pytest.mark.parametrize("word", ["", " ", "None", "unknown", "n/a", "1", "dimensionless", "-"])
def test_words_for_no_unit_state_none(word):
    assert stated_unit(word) == ""


@pytest.mark.parametrize(
    ("stokes", "names"),
    [
        ("T", "T I TEMPERATURE I_STOKES INTENSITY STOKES_I I_STOKES_INP TMAP TEMPERATURE_V T_B"),
        (
            "Q",
            "Q q Q_STOKES Q_POLARISATION Q-POLARISATION Q_POLARIZATION STOKES_Q QPOL Q_STOKES_INP",
        ),
        ("Q", "QMAP MAP_Q stokesQ Q_STD"),
        ("U", "U U_STOKES U_POLARISATION U-POLARISATION UPOL StokesU"),
        ("V", "V V_STOKES STOKES_V"),
        ("E", "E E_MODE EMODE E_POLARISATION"),
        ("B", "B B_MODE B-MODE BMODE"),
        ("P", "P P_STOKES POLARIZED_INTENSITY POLARISATION POLANGLE POL_FRAC"),
        ("QQ", "QQ QQ_COV QQCOV QQ_COVARIANCE"),
        ("TQ", "IQ_COV IQ TQ"),
        ("TT", "II_COV II TT"),
        (None, "SIGNAL MAP_B HITS N_OBS TMASK KAPPA BETA V_BAND Q_BAND COLUMN_2 II2 STD PIXEL"),
    ],
)
def test_names_say_the_stokes_parameter(stokes, names):
    assert {name: stokes_of(name) for name in names.split()} == dict.fromkeys(names.split(), stokes)


@pytest.mark.parametrize(
    ("columns", "stokes"),
    [
        ("dT dQ dU", [None, "Q", "U"]),
        ("T150 Q150 U150", [None, "Q", "U"]),
        ("T_map E_map B_map", ["T", "E", "B"]),
        ("cmbI cmbQ cmbU", [None, "Q", "U"]),
        ("MAP_A MAP_B", [None, None]),
        ("K1 Ka1 Q1 V1 W1", [None] * 5),
        ("SIGNAL HITS", [None, None]),
    ],
)
def test_columns_say_of_each_other_what_they_are(columns, stokes):
    names = columns.split()
    assert [stokes_of(name, names) for name in names] == stokes


@pytest.mark.parametrize("name", ["POLARIZATION Q", "Stokes Q", "Q Polarisation"])
def test_names_of_several_words_say_it_too(name):
    assert stokes_of(name) == "Q"


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (
            "variance",
            "II_COV COV VAR VARIANCE II_COVARIANCE TT_COV COV_II II TVAR NOISE_VAR SIGMA2",
        ),
        ("variance", "COVARIANCE SIGMA_SQ STD^2 RMS**2 SIGMA_2 ERROR_SQUARED"),
        ("inverse variance", "IVAR INV_COV INVVAR INVERSE_VARIANCE INVCOV II_IVAR NINV INV_NOISE"),
        ("weights", "WEIGHT WEIGHTS WGT WHT W WEIGHTS_TT"),
        ("hits", "HITS N_OBS NHITS HIT NOBS N_HITS HIT_COUNT COUNTS HITMAP"),
        (
            "rms",
            "STD SIGMA RMS ERROR NOISE STDDEV ERR NOISE_RMS WHITENOISE UNCERT SIGMA_T_2 SIGMA_W",
        ),
        (None, "TEMPERATURE I_STOKES T SIGNAL TMASK"),
    ],
)
def test_names_say_the_kind_of_noise(kind, names):
    assert {name: noise_of_name(name) for name in names.split()} == dict.fromkeys(
        names.split(), kind
    )
