"""`skyfill batch --stokes`: the fills of `inpaint --stokes`, however often it is killed."""

import json
import math
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable

import skyfill
from skyfill.prior import LCDM, PolarizedPrior, Prior, draw, draw_polarization

NSIDE = 16
NPIX = 12 * NSIDE**2
NAMES = ["a.fits", "b.fits", "c.fits", "d.fits"]
COLUMNS = ("TEMPERATURE", "Q_POLARISATION", "U_POLARISATION")
PRIOR = ("--beam-arcmin", "600", "--noise-uk-arcmin", "600", "--noise-pol-uk-arcmin", "60")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four maps, one of which misses a pixel of P that the others have, and masks of T and P."""
    path = tmp_path_factory.mktemp("batch")
    (path / "sims").mkdir()
    prior = PolarizedPrior.of(
        Prior(NSIDE, skyfill.lcdm(), math.radians(10), 600.0, theory=LCDM), 60
    )
    seen = [skyfill.simulate_mask(NSIDE, seed=k, half_width=0.15, n_holes=6) for k in (1, 2)]
    for seed, name in enumerate(NAMES):
        p, white = draw_polarization(prior, seed=seed)
        p += white * math.sqrt(prior.white_cl[1] * NPIX / (4 * math.pi))
        sky = [draw(prior.temperature, seed=seed, aliased=True), *p]
        if name == "b.fits":
            sky[1][np.flatnonzero(seen[1])[5]] = np.nan
        columns = dict(zip(COLUMNS, sky, strict=True))
        skyfill.write_map(path / "sims" / name, columns, unit="uK_CMB", dtype="float64")
    for name, mask in zip(("t.fits", "p.fits"), seen, strict=True):
        skyfill.write_map(path / name, mask, column="MASK", unit="", dtype="uint8")
    return path


@pytest.fixture
def words(folder):
    """The command, but for the folder of its outputs."""

    def give(*more, stokes="TQU"):
        masks = (folder / "t.fits", "--mask-pol", folder / "p.fits")
        how = ("--stokes", stokes, "--method", "gaussian", "--threads", 1)
        return [*masks, *how, *PRIOR, *more, "-q"]

    return give


def contents(path):
    return {one.name: one.read_bytes() for one in Path(path).glob("*.fits")}


def lines(path):
    return [json.loads(line) for line in (Path(path) / "manifest.jsonl").read_text().splitlines()]


def columns_of(path):
    with fits.open(path) as hdus:
        return np.array([np.ravel(hdus[1].data[name]) for name in COLUMNS])


@pytest.mark.filterwarnings("default")  # b.fits misses a pixel
@pytest.mark.parametrize(
    ("stokes", "more"),
    [
        ("TQU", ("--realizations", 2)),
        ("QU", ()),
        ("TQU", ("--method", "diffuse")),
        ("TQU", ("--method", "vae")),
    ],
)
def test_each_map_is_what_inpaint_makes_of_it(skyfill_main, folder, tmp_path, words, stokes, more):
    given = words(*more, stokes=stokes)
    if "diffuse" in more:
        given = [word for word in given if word not in PRIOR[4:]]
    outcome = skyfill_main("batch", folder / "sims" / "[abc].fits", *given, "-o", tmp_path / "out")
    assert outcome.status == 0, outcome.err
    assert "have only one of Q and U" in outcome.err  # b.fits
    records = lines(tmp_path / "out")[1:]
    assert [one["name"] for one in records] == NAMES[:3]
    for one in records:
        alone = ("-o", tmp_path / "alone.fits", "--overwrite", "--seed", one["seed"])
        assert skyfill_main("inpaint", one["input"], *given, *alone).status == 0
        for output in one["outputs"]:
            made = tmp_path / output["name"].replace(Path(one["name"]).stem, "alone")
            found, other = columns_of(tmp_path / "out" / output["name"]), columns_of(made)
            assert np.array_equal(found, other)
            assert stokes == "QU" or np.all(np.isfinite(found))


def test_manifest_and_summary_have_the_spectra(skyfill_main, folder, tmp_path, words):
    out = tmp_path / "out"
    given = ("batch", folder / "sims" / "[acd].fits", *words("--mean"), "-o", out, "--json")
    outcome = skyfill_main(*given)
    assert outcome.status == 0, outcome.err
    records = lines(out)[1:]
    table = QTable.read(out / "summary.ecsv", format="ascii.ecsv")
    for end, name in (("", None), ("_ee", "EE"), ("_bb", "BB"), ("_te", "TE")):
        first = [one["outputs"][0] for one in records]
        each = [one["cl"] if name is None else one["cl_pol"][name] for one in first]
        mean = table[f"cl{end}"].to_value("uK2")
        np.testing.assert_allclose(mean, np.mean(each, axis=0), rtol=1e-12)
    power = skyfill.spectra.whole_spectra(columns_of(out / "a.fits"))
    last = int(table["ell_min"][-1])
    modes = 2 * np.arange(last, power["EE"].size) + 1
    found = records[0]["outputs"][0]["cl_pol"]["EE"][-1]
    assert found == pytest.approx(np.average(power["EE"][last:], weights=modes), rel=1e-5)
    assert set(records[0]["about"]["filled"]) == {"T", "Q", "U"}
    assert records[0]["about"]["prior_pol"]["noise_uk_arcmin"] == 60
    assert json.loads(outcome.out)["done"] == 3


def test_stokes_t_fills_the_column_of_t(skyfill_main, folder, tmp_path):
    given = (folder / "sims" / "a.fits", folder / "t.fits", "--method", "diffuse", "-q")
    for out, how in (("one", ("--stokes", "T")), ("two", ("--field", "TEMPERATURE"))):
        assert skyfill_main("batch", *given, *how, "-o", tmp_path / out).status == 0
    found = [columns_of(tmp_path / out / "a.fits") for out in ("one", "two")]
    assert np.array_equal(*found)


@pytest.mark.parametrize(
    "method",
    ["diffuse", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gaussian", "vae"))],
)
def test_killed_at_any_moment_it_goes_on(skyfill_main, folder, tmp_path, words, method):
    pattern = folder / "sims" / "[acd].fits"
    given = words("--method", method)
    if method == "diffuse":
        given = [word for word in given if word not in PRIOR[4:]]
    assert skyfill_main("batch", pattern, *given, "-o", tmp_path / "calm").status == 0
    out, chance = tmp_path / "out", random.Random(5)
    command = [sys.executable, "-m", "skyfill.cli", "batch", pattern, *given, "-o", out]
    command = [str(word) for word in command]
    for _ in range(2):
        done = len(contents(out))
        killed = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while killed.poll() is None and len(contents(out)) == done:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.1))
        killed.kill()
        killed.communicate()
    (out / ".skyfill-0123abcd").mkdir()  # as a kill between two columns leaves it
    (out / ".skyfill-0123abcd" / "0.fits").touch()
    last = subprocess.run(command, capture_output=True, text=True, check=False)
    assert last.returncode == 0, last.stderr
    assert contents(out) == contents(tmp_path / "calm")
    assert {path.name for path in out.iterdir()} == {"manifest.jsonl", "summary.ecsv"} | {
        name for name in NAMES if name != "b.fits"
    }


@pytest.mark.slow
def test_neither_workers_nor_order_matter(skyfill_main, folder, tmp_path, words):
    pattern = folder / "sims" / "*.fits"
    assert skyfill_main("batch", pattern, *words(), "-o", tmp_path / "one").status == 0
    more = ("--workers", 2, "-o", tmp_path / "two")
    assert skyfill_main("batch", pattern, *words(), *more).status == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--method", "cosmovae"), "is not filled by --method cosmovae"),
        (("--holes", "enclosed"), "does not take --holes"),
        (("--memory-limit", "1M"), "--memory-limit is"),
        (("--mask-pol", "nowhere.fits"), "nowhere.fits"),
        (("--stokes", "T"), "--mask-pol is an option of polarization"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_map(
    skyfill_main, folder, tmp_path, words, more, said
):
    given = ("batch", folder / "sims" / "*.fits", *words(*more), "-o", tmp_path / "out")
    outcome = skyfill_main(*given)
    assert outcome.status == 2
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_columns_that_keep_their_holes_are_said(folder, tmp_path, skyfill_main):
    words = (folder / "t.fits", "--method", "gaussian", "--threads", 1, *PRIOR[:4], "-q")
    words = ("batch", folder / "sims" / "a.fits", *words, "--dipole", "fit")
    outcome = skyfill_main(*words, "-o", tmp_path / "out")
    assert outcome.status == 0, outcome.err
    assert "left     Q_POLARISATION and U_POLARISATION, whose holes remain" in outcome.out


def test_what_the_files_have_is_filled(folder, tmp_path, skyfill_main, words):
    """Without --stokes the outputs are those with it, and the same folder goes on."""
    asked, masks = words(), (folder / "t.fits", "--mask-pol", folder / "p.fits")
    unasked = [*masks, *asked[len(masks) + 2 :]]
    maps = ("batch", folder / "sims" / "a.fits")
    for words_of, out in ((asked, "one"), (unasked, "two"), (unasked, "one")):
        outcome = skyfill_main(*maps, *words_of, "-o", tmp_path / out)
        assert outcome.status == 0, outcome.err
    assert (tmp_path / "one/a.fits").read_bytes() == (tmp_path / "two/a.fits").read_bytes()
