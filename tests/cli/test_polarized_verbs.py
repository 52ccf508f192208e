"""validate, evaluate, info and tiles with maps of T, Q and U."""

import json
import math

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits

import skyfill
from skyfill.inpaint import PolarizedInpainter
from skyfill.prior import LCDM, PolarizedPrior, Prior, draw, draw_polarization
from tests.cli.test_reports import text_of

NSIDE = 16
NPIX = 12 * NSIDE**2
PRIOR = ("--beam-arcmin", 600, "--noise-uk-arcmin", 600, "--noise-pol-uk-arcmin", 60)
COLUMNS = ("TEMPERATURE", "Q_POLARISATION", "U_POLARISATION")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A true map of T, Q and U, three fills of its holes, and masks of T and of P."""
    path = tmp_path_factory.mktemp("verbs")
    of_t = Prior(NSIDE, skyfill.lcdm(), math.radians(10), 600.0, theory=LCDM)
    prior = PolarizedPrior.of(of_t, 60.0)
    p, white = draw_polarization(prior, seed=1)
    p += white * math.sqrt(prior.white_cl[1] * NPIX / (4 * math.pi))
    truth = np.array([draw(of_t, seed=1, aliased=True), *p])
    seen = [skyfill.simulate_mask(NSIDE, seed=k, half_width=0.1, n_holes=8) for k in (1, 2)]
    filler = PolarizedInpainter(truth, seen[0], observed_pol=seen[1], prior=prior, threads=1)
    write(path / "truth.fits", truth)
    write(path / "iau.fits", truth * np.array([[1], [1], [-1]]), POLCCONV="IAU")
    for index in range(3):
        write(path / f"fill_{index}.fits", filler.whole(filler.realization(index)))
    both = dict(zip(("TMASK", "PMASK"), seen, strict=True))
    skyfill.write_map(path / "masks.fits", both, unit="", dtype="uint8")
    return path


def write(path, sky, **cards):
    columns = [
        fits.Column(n, "D", unit="uK_CMB", array=x) for n, x in zip(COLUMNS, sky, strict=True)
    ]
    table = fits.BinTableHDU.from_columns(columns)
    table.header.update(
        {"PIXTYPE": "HEALPIX", "ORDERING": "RING", "NSIDE": NSIDE, "COORDSYS": "G"} | cards
    )
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)


@pytest.fixture
def evaluate(folder, skyfill_main):
    def call(*more, fills=3):
        names = [folder / f"fill_{index}.fits" for index in range(fills)]
        given = ("--mask", folder / "masks.fits", "--threads", 1, "-q", *more)
        return skyfill_main("evaluate", *names, *given)

    return call


@pytest.mark.parametrize("method", ["gaussian", "vae"])
def test_validate_hides_the_same_holes_in_t_q_and_u(folder, skyfill_main, method):
    given = ("validate", folder / "truth.fits", folder / "masks.fits", "--stokes", "TQU", *PRIOR)
    how = ("--method", method, "--realizations", 3, "--share", 0.1, "--threads", 1, "-q")
    outcome = skyfill_main(*given, *how, "--json")
    assert outcome.status == 0, outcome.err
    said = json.loads(outcome.out)
    assert set(said["stokes"]) == {"T", "Q", "U"}
    assert {each["judged_pixels"] for each in said["stokes"].values()} == {said["held_out_pixels"]}
    for name in ("rms_uk", "z_width", "coverage_68"):
        assert said[name] == said["stokes"]["T"][name]
        assert math.isfinite(said["stokes"]["Q"][name])
    assert said["sfconv"]
    assert said["method"] == method
    assert said["prior_pol"]["noise_uk_arcmin"] == 60


def test_validate_prints_a_table_for_each(folder, skyfill_main):
    given = ("validate", folder / "truth.fits", folder / "masks.fits", "--stokes", "QU", *PRIOR)
    how = ("--method", "gaussian", "--realizations", 2, "--share", 0.1, "--threads", 1, "-q")
    outcome = skyfill_main(*given, *how)
    assert outcome.status == 0, outcome.err
    assert "the same of Q, U" in outcome.out
    assert [line for line in outcome.out.splitlines() if line in ("T:", "Q:", "U:")] == ["Q:", "U:"]
    assert outcome.out.count("z_width") == 2
    assert outcome.out.count("all in all") == 1


def test_validate_draws_a_page_of_t_q_and_u(folder, skyfill_main, tmp_path):
    page = tmp_path / "page.html"
    given = ("validate", folder / "truth.fits", folder / "masks.fits", *PRIOR)
    how = ("--realizations", 2, "--share", 0.1, "--threads", 1, "-q", "--report", page, "--json")
    outcome = skyfill_main(*given, *how)
    assert outcome.status == 0, outcome.err
    assert json.loads(outcome.out)["report"] == str(page)
    text = text_of(page)
    for said in (
        "truth.fits, validated",
        *("Held-out holes: T", "Held-out holes: Q and U", "U, filled"),
        *("Z-scores of T", "Z-scores of Q", "Z-scores of U", "Q: width of the z-scores"),
        *("filled sky's TB", "P: distance from the exact fill", "SFBLEAK"),
        *("What the B modes may be used for", "copies of the masks' holes"),
    ):
        assert said in text, said


def test_evaluate_compares_each_stokes_parameter_with_the_truth(folder, evaluate):
    outcome = evaluate("--stokes", "TQU", "--truth", folder / "truth.fits", "--json")
    assert outcome.status == 0, outcome.err
    said = json.loads(outcome.out)
    alone = json.loads(evaluate("--truth", folder / "truth.fits", "--json").out)
    assert said["rms_uk"] == said["stokes"]["T"]["rms_uk"] == alone["rms_uk"]
    masks = fits.getdata(folder / "masks.fits")
    holes = np.ravel(masks["PMASK"]) == 0
    truth, fills = (
        np.array([hp.read_map(folder / f"{name}.fits", field=1) for name in names])[:, holes]
        for names in (["truth"], [f"fill_{k}" for k in range(3)])
    )
    # The error of the mean of three, without what their number adds.
    expected = np.mean((truth - fills.mean(axis=0)) ** 2) - np.mean(fills.var(axis=0, ddof=1)) / 3
    assert said["stokes"]["Q"]["rms_uk"] == pytest.approx(math.sqrt(expected), rel=1e-6)
    text = evaluate("--stokes", "TQU", "--truth", folder / "truth.fits").out
    assert text.count("rms_over_expected") == 3


def test_evaluate_knows_the_sign_of_u(folder, evaluate):
    ours, iau = (
        json.loads(evaluate("--stokes", "QU", "--truth", folder / name, "--json").out)
        for name in ("truth.fits", "iau.fits")
    )
    assert ours["stokes"] == iau["stokes"]


def test_evaluate_without_a_truth_tells_a_fill_that_is_too_smooth(folder, evaluate, skyfill_main):
    outcome = evaluate("--stokes", "TQU", "--json")
    assert outcome.status == 0, outcome.err
    said = json.loads(outcome.out)
    assert said["truth"] is None
    assert set(said["stokes"]) == {"T", "Q", "U"}
    assert said["verdict"] in ("good", "doubtful")
    assert 0 <= said["stokes"]["Q"]["onepoint_p_value"] <= 1
    text = evaluate("--stokes", "QU").out
    assert "3 filled maps of Q, U, without a truth" in text
    assert "no z-scores" not in text
    seen = [np.ravel(fits.getdata(folder / "masks.fits")[name]) for name in ("TMASK", "PMASK")]
    sky = np.array([hp.read_map(folder / "truth.fits", field=k) for k in range(3)])
    if not (folder / "zero.fits").exists():
        write(folder / "zero.fits", sky * np.array([seen[0], seen[1], seen[1]]))
    words = ("--mask", folder / "masks.fits", "--stokes", "TQU", "--threads", 1, "-q", "--json")
    zero = json.loads(skyfill_main("evaluate", folder / "zero.fits", *words).out)
    assert {zero["stokes"][letter]["verdict"] for letter in "QU"} == {"bad"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--stokes", "TQU", "--std", "s.fits", "--truth", "t"), "does not take --std"),
        (("--mask-pol", "p.fits"), "pass --stokes TQU or QU too"),
        (("--stokes", "QU", "--truth", "t", "--exact"), "does not take --exact"),
    ],
)
def test_what_evaluate_cannot_do_is_refused(folder, evaluate, words, said):
    words = [folder / "truth.fits" if word == "t" else word for word in words]
    outcome = evaluate(*words, fills=1)
    assert outcome.status == 2
    assert said in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--method", "cosmovae"), "is not filled by --method cosmovae"),
        (("--footprint", "masks.fits"), "does not take --footprint"),
        (("--report", "nowhere/page.html"), "there is no folder"),
    ],
)
def test_what_validate_cannot_do_is_refused(folder, skyfill_main, words, said, monkeypatch):
    monkeypatch.chdir(folder)
    given = ("validate", "truth.fits", "masks.fits", "--stokes", "TQU", "--method", "gaussian")
    outcome = skyfill_main(*given, *words, "-q")
    assert outcome.status == 2
    assert said in outcome.err
    assert outcome.err.count("\n") == 1


def test_info_names_columns_and_masks(folder, skyfill_main):
    text = skyfill_main("info", folder / "truth.fits").out
    assert "Stokes: T is TEMPERATURE, Q is Q_POLARISATION, U is U_POLARISATION" in text
    assert "masks: T is TMASK, P is PMASK" in skyfill_main("info", folder / "masks.fits").out
    (table,) = json.loads(skyfill_main("info", folder / "truth.fits", "--json").out)["tables"]
    assert table["stokes"] == dict(zip("TQU", COLUMNS, strict=True))
    assert table["masks"] is None


def test_tiles_go_through_another_program_into_the_holes(folder, skyfill_main, tmp_path):
    """Cut cubes of the whole sky, double them with astropy, paste them into the holes."""
    every, cubes, out = tmp_path / "every.fits", tmp_path / "cubes", tmp_path / "out.fits"
    skyfill.write_map(every, np.ones(NPIX), column="M", unit="", dtype="uint8")
    how = ("--stokes", "TQU", "-q")
    cut = ("tiles", folder / "iau.fits", every, "-o", cubes, "--size", 64)
    outcome = skyfill_main(*cut, *how, "--json")
    assert outcome.status == 0, outcome.err
    files = sorted(cubes.iterdir())
    assert json.loads(outcome.out)["tiles"] == len(files) > 4
    for file in files:
        with fits.open(file, mode="update") as hdus:
            header = hdus[0].header
            assert (header["CTYPE3"], header["POLCCONV"]) == ("STOKES", "IAU")
            assert header["CTYPE1"].startswith("GLON")
            hdus[0].data = 2 * hdus[0].data
    words = ("tiles", folder / "truth.fits", folder / "masks.fits", "--paste", cubes, "-o", out)
    outcome = skyfill_main(*words, *how)
    assert outcome.status == 0, outcome.err
    seen = [np.ravel(fits.getdata(folder / "masks.fits")[name]) for name in ("TMASK", "PMASK")]
    for k, name in enumerate(COLUMNS):
        truth, filled = (
            np.ravel(fits.getdata(path)[name]) for path in (folder / "truth.fits", out)
        )
        hole = seen[min(k, 1)] == 0
        np.testing.assert_array_equal(filled[~hole], truth[~hole])
        away = filled[hole] - 2 * truth[hole]
        assert np.std(away) < 0.1 * np.std(2 * truth[hole]), name
    assert fits.getheader(out, 1)["SFFILL"] == "tiles"
    again = skyfill_main(*cut, *how)
    assert again.status == 2
    assert "--overwrite" in again.err


def test_tiles_around_holes_have_no_values_there_and_are_not_pasted(folder, skyfill_main, tmp_path):
    cubes = tmp_path / "cubes"
    given = (folder / "truth.fits", folder / "masks.fits", "--stokes", "QU", "-q")
    outcome = skyfill_main("tiles", *given, "-o", cubes, "--size", 48)
    assert outcome.status == 0, outcome.err
    assert "tiles of QU around the holes" in outcome.out
    tile = fits.getdata(min(cubes.iterdir()))
    assert tile.shape == (2, 48, 48)
    assert 0 < np.isnan(tile[0]).mean() < 1
    np.testing.assert_array_equal(np.isnan(tile[0]), np.isnan(tile[1]))
    outcome = skyfill_main("tiles", *given, "--paste", cubes, "-o", tmp_path / "out.fits")
    assert outcome.status == 2
    assert "missing pixels lie under no whole tile" in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "out.fits").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--stokes", "TQU", "--limit", "4"), "--limit is for the store"),
        (("--stokes", "TQU", "--beam-arcmin", "4"), "--beam-arcmin is for the store"),
        (("--stokes", "TQU", "--projection", "cartesian"), "gnomonic squares"),
        (("--paste", "cubes"), "pass --stokes TQU or QU too"),
        (("--stokes", "TQU", "--paste", "nowhere"), "no folder with tile_"),
        (("--field", "Q_POLARISATION"), "Stokes Q"),
    ],
)
def test_what_tiles_of_q_and_u_cannot_do_is_refused(folder, skyfill_main, tmp_path, words, said):
    given = ("tiles", folder / "truth.fits", folder / "masks.fits", "-o", tmp_path / "o.fits", "-q")
    outcome = skyfill_main(*given, *words)
    assert outcome.status == 2
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
