"""`skyfill inpaint --stokes`: the prior of P on the command line, and the layouts of files."""

import json
import math
import warnings

import numpy as np
import pytest
from astropy.io import fits

import skyfill
from skyfill.prior import LCDM, PolarizedPrior, Prior, draw, draw_polarization

NSIDE = 8
NPIX = 12 * NSIDE**2
BEAM = ("--beam-arcmin", 900, "--noise-uk-arcmin", 600)
HOW = ("--method", "gaussian", "--threads", 1, "-q", "--mean")
NAMES = ("TEMPERATURE", "Q_POLARISATION", "U_POLARISATION")
LMAX = 60


def write(path, columns, **cards):
    """Write named columns as one map in µK."""
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column(name, "E", unit="uK_CMB", array=np.asarray(values, np.float32))
            for name, values in columns.items()
        ]
    )
    table.header.update(
        {"PIXTYPE": "HEALPIX", "ORDERING": "RING", "NSIDE": NSIDE, "COORDSYS": "G"} | cards
    )
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
    return path


@pytest.fixture(scope="module")
def drawn():
    """A sky of T, Q and U with 60 µK·arcmin of noise in P."""
    t_prior = Prior(NSIDE, skyfill.lcdm(), math.radians(15), 600.0, theory=LCDM)
    prior = PolarizedPrior.of(t_prior, 60.0)
    p, white = draw_polarization(prior, seed=1)
    p += white * math.sqrt(prior.white_cl[1] * NPIX / (4 * math.pi))
    return np.array([draw(t_prior, seed=1, aliased=True), *p])


@pytest.fixture(scope="module")
def files(tmp_path_factory, drawn):
    """The sky, masks of one inside the other, and spectra."""
    path = tmp_path_factory.mktemp("polarized_prior")
    write(path / "tqu.fits", dict(zip(NAMES, drawn, strict=True)))
    latitude = np.abs(np.arange(NPIX) - NPIX / 2)
    narrow, wide = latitude > 40, latitude > 120
    for name, mask in (("narrow", narrow), ("wide", wide)):
        skyfill.write_map(path / f"{name}.fits", mask, column="M", unit="", dtype="uint8")
    both = {"TMASK": narrow, "PMASK": wide}
    table = fits.BinTableHDU.from_columns(
        [fits.Column(name, "B", array=mask.astype(np.uint8)) for name, mask in both.items()]
    )
    table.header.update({"PIXTYPE": "HEALPIX", "ORDERING": "RING", "NSIDE": NSIDE})
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path / "both.fits")
    ell = np.arange(2, 2 * LMAX)
    cl = [skyfill.lcdm(ell[-1], name)[2:] for name in ("TT", "EE", "BB", "TE")]
    np.savetxt(path / "four.txt", np.column_stack([ell, *cl]), header="ell TT EE BB TE")
    np.savetxt(path / "two.txt", np.column_stack([ell, cl[0]]), header="ell TT")
    return path


@pytest.fixture
def fill(files, tmp_path, skyfill_main):
    """Fill a file; give the outcome and the columns."""

    def call(*words, name="tqu", masks=("narrow", None), stokes="TQU", prior=BEAM):
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}.fits"
        pol = () if masks[1] is None else ("--mask-pol", files / f"{masks[1]}.fits")
        words = [str(x).replace("FILES", str(files)) for x in words]
        outcome = skyfill_main(
            *("inpaint", files / f"{name}.fits", files / f"{masks[0]}.fits", *pol, "-o", out),
            *("--stokes", stokes, *HOW, *prior, *words),
        )
        if outcome.status:
            assert not out.exists()
            assert len([x for x in outcome.err.splitlines() if "warning" not in x]) == 1
            return outcome, None
        with fits.open(out) as hdus:
            found = {x: np.ravel(hdus[1].data[x]) for x in hdus[1].columns.names}
            return outcome, found | {"header": dict(hdus[1].header)}

    return call


def test_the_noise_of_p_is_fitted_and_its_misfit_said(fill):
    outcome, found = fill("--json")
    said = json.loads(outcome.out)["prior_pol"]
    assert said["noise_origin"] == "fitted"
    assert said["noise_uk_arcmin"] == pytest.approx(60, rel=0.2)
    assert {name: each["verdict"] for name, each in said["quality"].items()} == {
        "EE": "good",
        "BB": "good",
    }
    header = found["header"]
    assert header["SFNOISEP"] == pytest.approx(said["noise_uk_arcmin"], rel=1e-4)
    assert header["SFORIGP"] == "noise=fitted power=fitted"
    assert header["SFBB"] == "lensing"
    assert header["SFDOFBB"] == said["quality"]["BB"]["freedom"]


def test_a_given_noise_is_not_fitted_and_no_fit_assumes_that_of_t(fill):
    given = fill("--noise-pol-uk-arcmin", 61)[0].out
    assert "noise 61.0 uK.arcmin (given), power x 1.000 (as T)" in given
    assert "fit      BB good" in given
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assumed = fill("--no-fit", "--trust-prior")[0]
    assert "noise 848.5 uK.arcmin (assumed: √2 times that of T)" in assumed.out
    assert "the prior of P does not describe EE of the observed sky" in assumed.err


def test_q_and_u_alone_need_a_beam_and_no_noise(fill):
    beam = ("--beam-arcmin", 900)
    outcome, _ = fill("--json", stokes="QU", prior=beam)
    assert outcome.status == 0, outcome.err
    assert json.loads(outcome.out)["prior_pol"]["noise_uk_arcmin"] == pytest.approx(60, rel=0.2)
    outcome, _ = fill(stokes="QU", prior=())
    assert outcome.status == 2
    assert "give --beam-arcmin or --beam" in outcome.err


def test_four_columns_of_a_file_are_the_prior(fill):
    outcome, found = fill("--cl", "FILES/four.txt", "--noise-pol-uk-arcmin", 60)
    assert outcome.status == 0, outcome.err
    assert "four.txt: EE, BB, TE as TT" in outcome.out
    assert found["header"]["SFBB"] == "four.txt"
    lensed = fill("--noise-pol-uk-arcmin", 60)[1]
    np.testing.assert_allclose(found["Q_POLARISATION"], lensed["Q_POLARISATION"], atol=1e-4)


def test_r_adds_b_modes_and_is_said(fill):
    outcome, found = fill("--r", 0.5, "--noise-pol-uk-arcmin", 60)
    assert outcome.status == 0, outcome.err
    assert found["header"]["SFBB"] == "lensing, r = 0.5"
    assert "Planck 2018 LCDM, r = 0.5" in outcome.out
    other = fill("--noise-pol-uk-arcmin", 60)[1]["Q_POLARISATION"]
    assert np.abs(found["Q_POLARISATION"] - other).max() > 1e-3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--cl", "FILES/two.txt"), "no column EE (ell, TT)"),
        (("--cl", "map"), "EE, BB and TE are not known"),
        (("--cl", "FILES/four.txt", "--cl-column", "TT"), "--cl-column names one spectrum"),
        (("--r", "-0.1"), "--r"),
        (("--field", "TEMPERATURE,Q_POLARISATION"), "--field must name 3 columns"),
        (("--field", "TEMPERATURE,U_POLARISATION,Q_POLARISATION"), "is Stokes U by its name"),
        (("--field", "TEMPERATURE,Q_POLARISATION,X"), "no one column 'X'"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(fill, words, said):
    outcome, _ = fill(*words)
    assert outcome.status == 2
    assert said in outcome.err


def test_masks_of_t_and_of_p_in_one_file_are_two_masks(fill):
    outcome, found = fill("--noise-pol-uk-arcmin", 60, masks=("both", None))
    assert outcome.status == 0, outcome.err
    apart = fill("--noise-pol-uk-arcmin", 60, masks=("narrow", "wide"))[1]
    for name in NAMES:
        assert np.array_equal(found[name], apart[name])
    assert found["header"]["SFFILLEP"] > found["header"]["SFFILLED"]


@pytest.mark.parametrize("masks", [("narrow", "wide"), ("wide", "narrow")])
def test_one_mask_inside_the_other_is_right_both_ways(fill, files, masks, drawn):
    outcome, found = fill("--noise-pol-uk-arcmin", 60, masks=masks)
    assert outcome.status == 0, outcome.err
    for number, name in enumerate(NAMES):
        seen = skyfill.read_mask(files / f"{masks[min(number, 1)]}.fits")
        assert np.array_equal(found[name][seen], drawn[number].astype(np.float32)[seen])
        assert np.all(found[name][~seen] != drawn[number].astype(np.float32)[~seen])


#: Names as other programs write them, with columns beside them that must not be taken.
LAYOUTS = {
    "healpy": (NAMES, ()),
    "Planck frequency": (
        ("I_STOKES", "Q_STOKES", "U_STOKES"),
        ("HITS", "II_COV", "IQ_COV", "IU_COV", "QQ_COV", "QU_COV", "UU_COV"),
    ),
    "Planck CMB": (
        ("I_STOKES", "Q_STOKES", "U_STOKES"),
        ("TMASK", "PMASK", "I_STOKES_INP", "Q_STOKES_INP", "U_STOKES_INP"),
    ),
    "WMAP": (NAMES, ("N_OBS",)),
    "litebird_sim": (("I", "Q", "U"), ()),
    "noise beside": (("I", "Q", "U"), ("Q_STD", "U_STD", "N_QQ", "N_QU", "N_UU")),
    "frequencies": (("T150", "Q150", "U150"), ("Q150_RMS",)),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_are_found_by_name_whatever_their_order(tmp_path, drawn, name):
    own, others = LAYOUTS[name]
    columns = {other: np.full(NPIX, 7.0) for other in others}
    columns |= dict(reversed(list(zip(own, drawn, strict=True))))
    path = write(tmp_path / "map.fits", columns)
    assert tuple(skyfill.maps.stokes_columns(path, "TQU")) == own
    assert tuple(skyfill.maps.stokes_columns(path, "QU")) == own[1:]
    assert np.array_equal(skyfill.maps.read_stokes(path).values, drawn.astype(np.float32))


@pytest.mark.parametrize(
    "names",
    [
        ("I_STOKES_INP", "Q_STOKES_INP", "U_STOKES_INP"),
        ("TEMPERATURE", "QQ_COV", "UU_COV"),
        ("TEMPERATURE", "N_QQ", "N_UU"),
        ("TEMPERATURE", "Q_SIGMA", "U_SIGMA"),
        ("COLUMN_0", "COLUMN_1", "COLUMN_2"),
    ],
)
def test_filled_copies_noise_and_unnamed_columns_are_never_taken(tmp_path, drawn, names):
    path = write(tmp_path / "map.fits", dict(zip(names, drawn, strict=True)))
    with pytest.raises(ValueError, match=r"no column of Stokes .*`columns`"):
        skyfill.maps.stokes_columns(path)


def test_field_names_three_columns(tmp_path, drawn):
    path = write(tmp_path / "map.fits", dict(zip("XYZ", drawn, strict=True)))
    found = skyfill.maps.read_stokes(path, columns=["X", 1, "z"]).values
    assert np.array_equal(found, drawn.astype(np.float32))
    with pytest.raises(ValueError, match="one column twice"):
        skyfill.maps.read_stokes(path, columns=["X", "Y", "Y"])


def test_a_seed_gives_the_same_latent_t_with_and_without_p(drawn):
    """The realization less the mean, of T alone and of T with a P that knows nothing of it."""
    seen = np.abs(np.arange(NPIX) - NPIX / 2) > 40
    spectra = skyfill.prior.SkySpectra.lcdm()
    t = Prior(NSIDE, spectra.tt, math.radians(15), 600.0, theory=LCDM)
    blind = PolarizedPrior(t, spectra.ee, spectra.bb, 0 * spectra.te, 60.0)
    one = skyfill.Inpainter(drawn[0], seen, method="gaussian", prior=t, seed=4, tolerance=1e-5)
    both = skyfill.inpaint.PolarizedInpainter(
        drawn, seen, prior=blind, seed=4, tolerance=1e-5, trust_prior=True
    )
    alone, joint = one.realization(1), both.realization(1)[0]
    assert np.abs(joint - alone).max() < 1e-2 * np.std(alone)


def test_tensor_modes_go_from_the_simulation_through_the_fill_to_the_spectrum(
    tmp_path, skyfill_main
):
    sky, mask, filled = (tmp_path / f"{name}.fits" for name in ("sky", "mask", "filled"))
    known = ("--beam-arcmin", 300, "--noise-uk-arcmin", 300, "--noise-pol-uk-arcmin", 20)
    size = ("--nside", 16, "--seed", 1)
    drawn = skyfill_main("simulate", "sky", *size, "--stokes", "TQU", "--r", 0.1, *known, "-o", sky)
    assert drawn.status == 0, drawn.err
    assert skyfill_main("simulate", "mask", *size, "-o", mask).status == 0
    fill = skyfill_main(
        *("inpaint", sky, mask, "-o", filled, "--stokes", "TQU", "--method", "gaussian"),
        *("--prior", sky),
    )
    assert fill.status == 0, fill.err
    assert "r = 0.1" in fill.out
    measured = skyfill_main("spectrum", filled, "--json")
    assert measured.status == 0, measured.err
    assert "r = 0.1" in json.loads(measured.out)["settings"]["theory"]
    plain = skyfill_main(
        "simulate", "sky", *size, "--r", 0.1, *known[:4], "-o", tmp_path / "t.fits"
    )
    assert plain.status == 2
    assert "pass --stokes TQU" in plain.err
