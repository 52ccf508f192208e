"""`skyfill inpaint --stokes`: T, Q and U of a file filled together."""

import json
import math
import warnings

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits

import skyfill
from skyfill.prior import LCDM, PolarizedPrior, Prior, draw, draw_polarization

NSIDE = 16
NPIX = 12 * NSIDE**2
PRIOR = ("--beam-arcmin", 600, "--noise-uk-arcmin", 600, "--noise-pol-uk-arcmin", 60)
HOW = ("--method", "gaussian", "--threads", 1, "-q")
NAMES = ("TEMPERATURE", "Q_POLARISATION", "U_POLARISATION")


def write(path, values, *, names=NAMES, units="uK_CMB", nest=False, **cards):
    """Write columns as healpy does, with other columns and cards."""
    units = [units] * len(values) if isinstance(units, str) else units
    values = [hp.reorder(each, r2n=True) if nest else each for each in values]
    columns = [
        fits.Column(name, "E", unit=unit, array=np.asarray(each, np.float32))
        for name, unit, each in zip(names, units, values, strict=True)
    ]
    table = fits.BinTableHDU.from_columns(columns)
    table.header.update(
        {"PIXTYPE": "HEALPIX", "ORDERING": "NESTED" if nest else "RING", "NSIDE": NSIDE}
        | {"COORDSYS": "G"}
        | cards
    )
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)


@pytest.fixture(scope="module")
def skies(tmp_path_factory):
    """A map of T, Q and U in several forms, and masks of T and of P that differ."""
    path = tmp_path_factory.mktemp("polarized")
    t_prior = Prior(NSIDE, skyfill.lcdm(), math.radians(10), 600.0, theory=LCDM)
    prior = PolarizedPrior.of(t_prior, 60.0)
    t = draw(t_prior, seed=1, aliased=True) + 50
    p, white = draw_polarization(prior, seed=1)
    p += white * math.sqrt(prior.white_cl[1] * NPIX / (4 * math.pi))
    theta, phi = hp.pix2ang(NSIDE, np.arange(NPIX))
    seen_t = np.abs(theta - math.pi / 2) > 0.2
    seen_p = np.abs(theta - math.pi / 2 + 0.1 * np.sin(phi)) > 0.3
    sky = np.array([t, *p])
    seen_t[5] = False  # there T alone is missing
    sky[0, ~seen_t] = hp.UNSEEN
    sky[1:, ~seen_p] = hp.UNSEEN
    flipped = np.where(sky == hp.UNSEEN, sky, sky * np.array([[1], [1], [-1]]))
    write(path / "tqu.fits", sky)
    write(path / "cosmo.fits", sky, POLCCONV="COSMO")
    write(path / "iau.fits", flipped, POLCCONV="IAU")
    write(path / "odd.fits", sky, POLCCONV="LEFT")
    write(path / "nest.fits", sky, nest=True)
    write(
        path / "planck.fits",
        [np.arange(NPIX) + 1.0, *sky[::-1], sky[0]],
        names=("II_COV", "U_STOKES", "Q_STOKES", "I_STOKES", "I_STOKES_INP"),
    )
    write(path / "qu.fits", sky[1:], names=NAMES[1:])
    write(path / "q.fits", sky[:2], names=NAMES[:2])
    write(path / "units.fits", sky, units=("uK_CMB", "uK_CMB", "K_CMB"))
    write(path / "unpolarized.fits", [sky[0], *np.zeros((2, NPIX))])
    write(path / "blind.fits", [sky[0], *np.full((2, NPIX), hp.UNSEEN)])
    holed = sky.copy()
    holed[2, 7:10] = hp.UNSEEN
    write(path / "holed.fits", holed)
    noise = np.array([7.0, 0.06, 0.015, 0.08])[:, None] * np.linspace(0.5, 1.5, NPIX)
    noises = ("II_COV", "QQ_COV", "QU_COV", "UU_COV")
    write(path / "noise.fits", noise, names=noises, units="uK_CMB^2")
    flipped = noise * np.array([[1], [1], [-1], [1]])
    write(path / "noise_iau.fits", flipped, names=noises, units="uK_CMB^2", POLCCONV="IAU")
    write(path / "noise_ii.fits", noise[:1], names=noises[:1], units="uK_CMB^2")
    write(path / "noise_q.fits", noise[:2], names=noises[:2], units="uK_CMB^2")
    write(path / "noise_hits.fits", noise, names=("N_OBS", "N_QQ", "N_QU", "N_UU"), units="counts")
    for name, mask in (("t", seen_t), ("p", seen_p), ("none", np.zeros(NPIX, bool))):
        skyfill.write_map(path / f"{name}.fits", mask, column="M", unit="", dtype="uint8")
    skyfill.write_map(path / "p8.fits", np.ones(768), column="M", unit="", dtype="uint8")
    return path


@pytest.fixture
def fill(skies, tmp_path, skyfill_main):
    """Fill a file, and give its columns by name."""

    def call(name, *words, stokes="TQU", masks=("t", "p")):
        out = tmp_path / f"{name}_out.fits"
        pol = () if masks[1] is None else ("--mask-pol", skies / f"{masks[1]}.fits")
        outcome = skyfill_main(
            *("inpaint", skies / f"{name}.fits", skies / f"{masks[0]}.fits", *pol, "-o", out),
            *("--stokes", stokes, *HOW, *PRIOR, *words),
        )
        if outcome.status:
            assert not out.exists()
            return outcome, None
        with fits.open(out) as hdus:
            return outcome, {each: np.ravel(hdus[1].data[each]) for each in hdus[1].columns.names}

    return call


def given(path):
    with fits.open(path) as hdus:
        return {each: np.ravel(hdus[1].data[each]) for each in hdus[1].columns.names}


@pytest.mark.parametrize("name", ["tqu", "nest", "planck"])
def test_holes_are_filled_and_observed_pixels_are_bit_identical(fill, skies, name):
    outcome, found = fill(name)
    assert outcome.status == 0, outcome.err
    before = given(skies / f"{name}.fits")
    assert list(found) == list(before)
    for column, values in before.items():
        if column in ("II_COV", "I_STOKES_INP"):
            assert np.array_equal(found[column], values)
            continue
        seen = values > -1e30
        assert 0.05 < 1 - seen.mean() < 0.4
        assert np.array_equal(found[column][seen], values[seen])
        assert np.all(np.isfinite(found[column]))
        assert found[column].min() > -1e4


def test_the_fill_does_not_depend_on_order_names_and_sign_of_u(fill):
    fills = {name: fill(name)[1] for name in ("tqu", "cosmo", "iau", "nest", "planck")}
    q = fills["tqu"]["Q_POLARISATION"]
    u = fills["tqu"]["U_POLARISATION"]
    assert np.array_equal(fills["cosmo"]["U_POLARISATION"], u)
    assert np.array_equal(fills["iau"]["Q_POLARISATION"], q)
    assert np.array_equal(fills["iau"]["U_POLARISATION"], -u)
    assert np.array_equal(fills["planck"]["Q_STOKES"], q)
    assert np.array_equal(fills["planck"]["U_STOKES"], u)
    assert np.array_equal(hp.reorder(fills["nest"]["Q_POLARISATION"], n2r=True), q)


def test_q_and_u_alone_are_filled(fill):
    outcome, found = fill("qu", "--json", stokes="QU", masks=("p", None))
    assert outcome.status == 0, outcome.err
    said = json.loads(outcome.out)
    assert said["sfconv"]
    assert set(said["filled_pixels"]) == {"Q", "U"}
    assert found["Q_POLARISATION"].min() > -100


@pytest.mark.parametrize(
    ("name", "words", "left", "why"),
    [
        ("planck", ("--dipole", "fit"), ["Q_STOKES", "U_STOKES"], "--dipole fit is for T alone"),
        ("tqu", ("--holes", "all"), list(NAMES[1:]), "does not take --holes"),
        ("tqu", ("--cl", "TT"), list(NAMES[1:]), "polarization needs four spectra"),
        ("planck", ("--field", "I_STOKES"), ["Q_STOKES", "U_STOKES"], "--stokes TQU"),
        ("tqu", ("--stokes", "T"), [], ""),
        ("q", (), ["Q_POLARISATION"], ""),
    ],
)
def test_columns_that_keep_their_holes_are_said(
    skies, tmp_path, skyfill_main, name, words, left, why
):
    """With an option of T alone T is filled, and Q and U are as they were."""
    spectrum = tmp_path / "cl.txt"
    np.savetxt(spectrum, np.transpose([np.arange(2, 2000), skyfill.lcdm()[2:2000]]))
    words = [spectrum if word == "TT" else word for word in words]
    fill = ("inpaint", skies / f"{name}.fits", skies / "t.fits", *HOW, *PRIOR[:4], *words)
    outcome = skyfill_main(*fill, "-o", tmp_path / "a.fits")
    assert outcome.status == 0, outcome.err
    lines = [line for line in outcome.out.splitlines() if line.startswith("left ")]
    assert len(lines) == bool(left)
    assert all(said in line for said in (*left, why) for line in lines)
    said = json.loads(skyfill_main(*fill, "-o", tmp_path / "b.fits", "--json").out)
    assert said["left_columns"] == left
    before, after = given(skies / f"{name}.fits"), given(tmp_path / "a.fits")
    t = "I_STOKES" if name == "planck" else "TEMPERATURE"
    assert [each for each in before if not np.array_equal(before[each], after[each])] == [t]


@pytest.mark.parametrize(
    ("name", "said"), [("unpolarized", "are zero in every pixel"), ("blind", "no valid pixel")]
)
def test_a_file_without_polarization_can_be_filled_in_t(skies, tmp_path, skyfill_main, name, said):
    fill = ("inpaint", skies / f"{name}.fits", skies / "t.fits", "-o", tmp_path / "a.fits")
    outcome = skyfill_main(*fill, *HOW, *PRIOR[:4])
    assert outcome.status == 2
    assert said in outcome.err
    assert outcome.err.strip().endswith("; --stokes T takes T alone")
    assert outcome.err.count("\n") == 1
    assert skyfill_main(*fill, *HOW, *PRIOR[:4], "--stokes", "T").status == 0
    batch = ("batch", skies / f"{name}.fits", skies / "t.fits", "-o", tmp_path / "batch")
    failed = skyfill_main(*batch, *HOW, *PRIOR[:4], "-q")
    assert failed.status
    (line,) = [line for line in failed.err.splitlines() if said in line]
    assert line.endswith("; --stokes T takes T alone")
    again = ("--stokes", "T", "--overwrite", "-q")
    assert skyfill_main(*batch, *HOW, *PRIOR[:4], *again).status == 0


def test_an_error_that_t_has_too_does_not_offer_t(skies, tmp_path, skyfill_main):
    mask = tmp_path / "other.fits"
    hp.write_map(mask, np.ones(12 * 4**2, np.float32), dtype=np.float32)
    outcome = skyfill_main("inpaint", skies / "planck.fits", mask, "-o", tmp_path / "a.fits")
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1
    assert "--reproject-mask" in outcome.err
    assert "--stokes" not in outcome.err


def test_an_error_of_q_and_u_alone_does_not_name_t(skies, tmp_path, skyfill_main):
    fill = ("inpaint", skies / "qu.fits", skies / "p8.fits", "-o", tmp_path / "a.fits", *HOW)
    outcome = skyfill_main(*fill, *PRIOR)
    assert outcome.status == 2
    assert "--stokes T" not in outcome.err


@pytest.mark.parametrize(("name", "stokes"), [("planck", "TQU"), ("nest", "TQU"), ("qu", "QU")])
def test_what_the_file_has_is_filled(fill, skies, tmp_path, skyfill_main, name, stokes):
    _, asked = fill(name, stokes=stokes)
    out = tmp_path / "unasked.fits"
    masks = (skies / "t.fits", "--mask-pol", skies / "p.fits")
    outcome = skyfill_main("inpaint", skies / f"{name}.fits", *masks, "-o", out, *HOW, *PRIOR)
    assert outcome.status == 0, outcome.err
    found = given(out)
    assert all(np.array_equal(found[each], asked[each]) for each in asked)


def test_stokes_t_is_the_fill_of_its_column_alone(fill, skies, tmp_path, skyfill_main):
    words = ("--method", "gaussian", "--threads", 1, "-q", *PRIOR[:4])
    outs = []
    for number, how in enumerate((("--stokes", "T"), ("--field", "I_STOKES"))):
        outs.append(tmp_path / f"{number}.fits")
        done = skyfill_main(
            *("inpaint", skies / "planck.fits", skies / "t.fits", "-o", outs[-1], *how, *words)
        )
        assert done.status == 0, done.err
    one, other = (given(each) for each in outs)
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_it_says_what_it_assumed(fill):
    said = fill("tqu")[0].out
    assert "U as in COSMO, since the file has no POLCCONV" in said
    assert "the mask of T for Q and U" not in said
    with warnings.catch_warnings():
        warnings.simplefilter("always")  # P is missing where the mask of T is 1
        outcome, _ = fill("tqu", "--overwrite", masks=("t", None))
    assert "the mask of T for Q and U" in outcome.out
    assert "BB in the holes is the prior's" in said
    assert "POLCCONV" not in fill("cosmo")[0].out


def test_a_pixel_with_q_but_no_u_is_missing_in_both(fill, skies):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        outcome, found = fill("holed")
    assert outcome.status == 0, outcome.err
    assert "3 pixels have only one of Q and U" in outcome.err
    assert np.all(found["U_POLARISATION"][7:10] > -1e4)
    assert not np.any(
        found["Q_POLARISATION"][7:10] == given(skies / "holed.fits")["Q_POLARISATION"][7:10]
    )


def test_realizations_differ_and_the_mean_has_less_power(fill):
    mean = fill("tqu", "--mean")[1]["Q_POLARISATION"]
    one = fill("tqu", "--seed", 1, "--overwrite")[1]["Q_POLARISATION"]
    other = fill("tqu", "--seed", 2, "--overwrite")[1]["Q_POLARISATION"]
    holes = one != other
    assert 0.1 < holes.mean() < 0.4
    assert np.std(mean[holes]) < np.std(one[holes])


def test_vae_fills_by_turns_what_gaussian_fills_at_once(fill, skies):
    outcome, turns = fill("tqu", "--mean", "--method", "vae")
    assert outcome.status == 0
    _, exact = fill("cosmo", "--mean")
    before = given(skies / "tqu.fits")
    for name in NAMES:
        holes = before[name] == hp.UNSEEN
        assert np.std(turns[name] - exact[name]) < 0.05 * np.std(exact[name])
        np.testing.assert_array_equal(turns[name][~holes], before[name][~holes])
    outcome, _ = fill("qu", "--method", "vae", stokes="QU")
    assert outcome.status == 2
    assert "vae has a network for T only" in outcome.err
    assert "--method gaussian" in outcome.err


@pytest.mark.parametrize(
    ("name", "words", "masks", "said"),
    [
        ("q", (), ("t", "p"), "no column of Stokes U among TEMPERATURE, Q_POLARISATION"),
        ("qu", (), ("t", "p"), "no column of Stokes T"),
        ("units", (), ("t", "p"), "columns of one map must have one unit"),
        ("odd", (), ("t", "p"), "POLCCONV is 'LEFT'"),
        ("tqu", (), ("t", "p8"), "Nside 8"),
        ("tqu", (), ("t", "none"), "no pixel"),
        ("blind", (), ("t", "p"), "no valid pixel at all"),
        ("tqu", ("--method", "cosmovae"), ("t", "p"), "--method gaussian"),
        ("tqu", ("--weights", "x.safetensors"), ("t", "p"), "only --method vae has a network"),
        ("tqu", ("--dipole", "fit"), ("t", "p"), "--dipole marginalise"),
        ("tqu", ("--polish", 3), ("t", "p"), "does not take --polish"),
        ("tqu", ("--noise-pol-uk-arcmin", 6000), ("t", "p"), "times the power of their prior"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(fill, name, words, masks, said):
    outcome, _ = fill(name, *words, masks=masks)
    assert outcome.status == 2
    assert said in outcome.err
    assert "Traceback" not in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


def test_noise_of_each_pixel_is_read_by_name_with_the_sign_of_u(fill, skies):
    """In a file of the IAU convention QU has the other sign."""
    outcome, alike = fill("tqu", "--mean", "--noise-map", skies / "noise.fits")
    assert outcome.status == 0, outcome.err
    _, iau = fill("tqu", "--mean", "--overwrite", "--noise-map", skies / "noise_iau.fits")
    _, alone = fill("tqu", "--mean", "--overwrite", "--noise-map", skies / "noise_ii.fits")
    _, white = fill("tqu", "--mean", "--overwrite")
    for name in NAMES:
        np.testing.assert_array_equal(alike[name], iau[name])
    assert not np.array_equal(alike[NAMES[1]], white[NAMES[1]])
    assert not np.array_equal(alone[NAMES[0]], white[NAMES[0]])
    outcome, qu = fill("qu", "--mean", "--noise-map", skies / "noise.fits", stokes="QU")
    assert outcome.status == 0, outcome.err
    assert not np.array_equal(qu[NAMES[1]], white[NAMES[1]])


@pytest.mark.parametrize(
    ("noise", "words", "stokes", "said"),
    [
        ("noise_q", (), "TQU", "has 0 columns of UU"),
        ("noise_hits", (), "TQU", "square of a temperature"),
        ("noise_ii", (), "QU", "--noise-pol-uk-arcmin"),
        ("noise", ("--noise-field", "1"), "TQU", "--noise-field"),
    ],
)
def test_noise_that_does_not_fit_is_refused_in_one_line(fill, skies, noise, words, stokes, said):
    name = "tqu" if stokes == "TQU" else "qu"
    given = "--noise-map", skies / f"{noise}.fits", *words
    outcome, _ = fill(name, "--mean", *given, stokes=stokes)
    assert outcome.status == 2
    assert said in outcome.err
    assert outcome.err.count("\n") == 1


def test_leakage_and_way_are_said(fill, skies, tmp_path):
    outcome, _ = fill("tqu", "--mean", "--json")
    said = json.loads(outcome.out)
    assert said["way"] in ("joint", "alternate")
    assert 0 <= said["sfbleak"] < 1
    assert max(said["b_leakage"]) == pytest.approx(said["sfbleak"], rel=1e-3)
    with fits.open(tmp_path / "tqu_out.fits") as hdus:
        assert hdus[1].header["SFBLEAK"] == said["sfbleak"]


def test_options_of_polarization_need_it(skies, skyfill_main, tmp_path):
    outcome = skyfill_main(
        *("inpaint", skies / "tqu.fits", skies / "t.fits", "-o", tmp_path / "o.fits"),
        *("--mask-pol", skies / "p.fits", "--field", "TEMPERATURE"),
    )
    assert outcome.status == 2
    assert "pass --stokes TQU or QU" in outcome.err
