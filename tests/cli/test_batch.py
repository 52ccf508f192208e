"""`skyfill batch`: the fills of `inpaint`, whoever does them, however often it is killed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.table import QTable
from map_files import sims_and_mask

import skyfill

NSIDE = 16
BLUR = ("--beam-arcmin", "400", "--noise-uk-arcmin", "100")
NAMES = ["a.fits", "b.fits", "c.fits", "d.fits"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four maps, one of which misses a pixel that the others have, and their mask."""
    path = tmp_path_factory.mktemp("batch")
    sims_and_mask(path, NAMES, NSIDE)
    return path


@pytest.fixture
def batch(skyfill_main, folder, tmp_path, monkeypatch):
    """Run the verb on these, into ``out`` of an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*more, maps=folder / "sims" / "*.fits", out="out"):
        return skyfill_main("batch", maps, folder / "mask.fits", "-o", out, *BLUR, *more, "-q")

    return call


def contents(path):
    return {one.name: one.read_bytes() for one in Path(path).glob("*.fits")}


def lines(path):
    return [json.loads(line) for line in (Path(path) / "manifest.jsonl").read_text().splitlines()]


def program(folder, out, *more):
    """Start the command as a program of its own."""
    words = ["batch", str(folder / "sims" / "*.fits"), str(folder / "mask.fits"), "-o", str(out)]
    command = [sys.executable, "-m", "skyfill.cli", *words, *BLUR, *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.filterwarnings("default")  # b.fits misses a pixel
@pytest.mark.parametrize("options", [(), ("--method", "gaussian"), ("--method", "diffuse")])
def test_each_map_is_what_inpaint_makes_of_it(batch, skyfill_main, folder, tmp_path, options):
    outcome = batch(*options, "--seed", 7)
    assert outcome.status == 0
    assert "missing in the map" in outcome.err  # b.fits
    records = lines(tmp_path / "out")[1:]
    assert [one["name"] for one in records] == NAMES
    assert len({one["seed"] for one in records}) == len(NAMES)
    for one in records:
        alone = ("-o", "alone.fits", "--overwrite", "--seed", one["seed"], *BLUR, *options, "-q")
        skyfill_main("inpaint", one["input"], folder / "mask.fits", *alone)
        values = [
            skyfill.read_map(p).values for p in ("alone.fits", tmp_path / "out" / one["name"])
        ]
        assert np.array_equal(*values)
        assert np.all(np.isfinite(values[0]))


def test_a_prior_is_fitted_to_each_map_where_none_is_given(skyfill_main, folder, tmp_path):
    words = (folder / "sims" / "[ac].fits", folder / "mask.fits", "-o", tmp_path / "out", "-q")
    assert skyfill_main("batch", *words).status == 0
    for one in lines(tmp_path / "out")[1:]:
        alone = ("-o", tmp_path / "alone.fits", "--overwrite", "--seed", one["seed"], "-q")
        skyfill_main("inpaint", one["input"], folder / "mask.fits", *alone)
        values = [
            skyfill.read_map(tmp_path / name).values
            for name in ("alone.fits", f"out/{one['name']}")
        ]
        assert np.array_equal(*values)


def test_neither_workers_nor_order_matter(batch, folder, tmp_path):
    assert batch(out="one").status == 0
    assert batch("--workers", 2, "--threads", 1, out="two").status == 0
    assert contents("one") == contents("two")
    assert len(contents("one")) == len(NAMES)
    # the seed of a map is that of its place, wherever else the work begins
    for name in NAMES[:3]:
        Path("one", name).unlink()
    assert batch(out="one").status == 0
    assert contents("one") == contents("two")


@pytest.mark.slow
def test_tiles_do_not_see_the_threads(skyfill_main, tmp_path):
    nside, blur = 256, ("--beam-arcmin", 40, "--noise-uk-arcmin", 60, "-q")
    sky = skyfill.simulate_sky(nside, seed=1, fwhm=np.radians(40 / 60), noise_uk_arcmin=60)
    observed = skyfill.simulate_mask(nside, seed=1, half_width=0.05, n_holes=20, radii=(0.01, 0.02))
    skyfill.write_map(tmp_path / "sky.fits", sky)
    skyfill.write_map(tmp_path / "mask.fits", observed, column="MASK", unit="", dtype="uint8")
    files = (tmp_path / "sky.fits", tmp_path / "mask.fits", *blur)
    for threads in (1, 2):
        out = ("-o", tmp_path / str(threads), "--threads", threads)
        assert skyfill_main("batch", *files, *out).status == 0
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    seed = skyfill.batch.seed_of(0, 0)
    alone = ("-o", tmp_path / "alone.fits", "--threads", 1, "--seed", seed)
    skyfill_main("inpaint", *files, *alone)
    fills = (skyfill.read_map(tmp_path / name).values for name in ("alone.fits", "1/sky.fits"))
    assert np.array_equal(*fills)


def test_another_seed_gives_other_skies(batch):
    batch(out="one")
    batch("--seed", 1, out="two")
    one, two = contents("one"), contents("two")
    assert all(one[name] != two[name] for name in NAMES)


def test_a_second_run_does_what_is_left(batch, tmp_path):
    batch()
    before, stamps = (
        contents("out"),
        [p.stat().st_mtime_ns for p in sorted(Path("out").glob("*.f*"))],
    )
    assert batch().status == 0
    assert stamps == [p.stat().st_mtime_ns for p in sorted(Path("out").glob("*.f*"))]
    Path("out", "a.fits").unlink()
    Path("out", "b.fits").write_bytes(b"no map")
    os.utime("out/c.fits")  # its time says nothing, its sha256 does
    assert batch().status == 0
    assert contents("out") == before
    assert [one.get("name") for one in lines("out")[-3:]] == [None, "a.fits", "b.fits"]


def test_a_changed_input_is_filled_again(skyfill_main, folder, tmp_path):
    (tmp_path / "in").mkdir()
    for name in NAMES[:2]:
        (tmp_path / "in" / name).write_bytes((folder / "sims" / "a.fits").read_bytes())
    words = ("batch", tmp_path / "in" / "*", folder / "mask.fits", "-o", tmp_path / "out", *BLUR)
    assert skyfill_main(*words, "-q").status == 0
    first = contents(tmp_path / "out")
    (tmp_path / "in" / "b.fits").write_bytes((folder / "sims" / "c.fits").read_bytes())
    assert skyfill_main(*words, "-q").status == 0
    second = contents(tmp_path / "out")
    assert first["a.fits"] == second["a.fits"]
    assert first["b.fits"] != second["b.fits"]


def test_links_keep_their_names(tmp_path):
    (tmp_path / "archive").touch()
    (tmp_path / "sim_2.fits").symlink_to(tmp_path / "archive")
    (tmp_path / "sim_1.fits").touch()
    inputs = skyfill.batch.inputs_of([str(tmp_path / "sim_2.fits"), str(tmp_path / "sim*")])
    tasks = skyfill.batch.tasks_of(inputs, tmp_path / "out", seed=4)
    assert [task.name for task in tasks] == ["sim_1.fits", "sim_2.fits"]
    assert [task.seed for task in tasks] == [skyfill.batch.seed_of(4, i) for i in range(2)]


def test_a_new_map_may_not_shift_the_seeds(skyfill_main, folder, tmp_path):
    (tmp_path / "in").mkdir()
    words = ("batch", tmp_path / "in" / "*", folder / "mask.fits", "-o", tmp_path / "out", *BLUR)

    def add(name):
        (tmp_path / "in" / name).write_bytes((folder / "sims" / "a.fits").read_bytes())
        return skyfill_main(*words, "-q")

    assert add("b.fits").status == 0
    assert add("c.fits").status == 0  # sorts last
    outcome = add("a.fits")
    assert outcome.status == 2
    assert "another seed" in outcome.err
    assert skyfill_main(*words, "-q", "--overwrite").status == 0


def test_other_settings_are_refused(batch, tmp_path):
    batch()
    before = contents("out")
    outcome = batch("--method", "vae", "--mean")
    assert outcome.status == 2
    assert "other settings (mean, method)" in outcome.err
    assert outcome.err.count("\n") == 1
    assert contents("out") == before
    assert batch("--method", "vae", "--mean", "--overwrite").status == 0
    after = contents("out")
    assert all(before[name] != after[name] for name in NAMES)
    assert batch("--method", "vae", "--mean").status == 0
    assert contents("out") == after


def test_a_broken_map_stops_no_other(skyfill_main, folder, tmp_path):
    (tmp_path / "in").mkdir()
    for name in NAMES:
        (tmp_path / "in" / name).write_bytes((folder / "sims" / name).read_bytes())
    (tmp_path / "in" / "a.fits").write_bytes(b"SIMPLE  = nothing of the kind")
    words = ("batch", tmp_path / "in" / "*", folder / "mask.fits", "-o", tmp_path / "out", *BLUR)
    outcome = skyfill_main(*words, "-q", "--json")
    assert outcome.status == 1
    (line,) = [line for line in outcome.err.splitlines() if "failed" in line]
    assert line.startswith("skyfill: failed: a.fits: ")
    summary = json.loads(outcome.out)
    assert (summary["done"], summary["failed"]) == (3, 1)
    assert summary["outputs"] == NAMES[1:]
    (failed,) = [one for one in lines(tmp_path / "out")[1:] if one["status"] == "failed"]
    assert failed["name"] == "a.fits"
    assert failed["error"] in line
    assert sorted(contents(tmp_path / "out")) == NAMES[1:]
    (tmp_path / "in" / "a.fits").write_bytes((folder / "sims" / "a.fits").read_bytes())
    assert skyfill_main(*words, "-q").status == 0


def test_a_torn_line_is_passed_over(batch):
    batch()
    before = contents("out")
    path = Path("out", "manifest.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole[: -len(whole.splitlines()[-1]) // 2])
    assert batch().status == 0
    assert contents("out") == before
    last = path.read_text().splitlines()[-1]
    assert json.loads(last)["name"] == "d.fits"
    assert batch().status == 0  # with the torn line in the middle
    assert path.read_text().splitlines()[-1] == last


def test_the_summary_is_the_mean_of_the_spectra(batch):
    batch()
    table = QTable.read("out/summary.ecsv", format="ascii.ecsv")
    spectra = [one["outputs"][0]["cl"] for one in lines("out")[1:]]
    np.testing.assert_allclose(table["cl"].to_value("uK2"), np.mean(spectra, 0), rtol=1e-12)
    np.testing.assert_allclose(
        table["scatter"].to_value("uK2"), np.std(spectra, 0, ddof=1), rtol=1e-12
    )
    assert table.meta["maps"] == len(NAMES)
    import healpy

    filled = skyfill.read_map("out/a.fits").values
    modes = 2 * np.arange(3 * NSIDE // 2 + 1) + 1
    cl = healpy.anafast(filled, lmax=modes.size - 1, iter=10)
    bins = zip(table["ell_min"], table["ell_max"] + 1, strict=True)
    plain = [np.average(cl[a:b], weights=modes[a:b]) for a, b in bins]
    np.testing.assert_allclose(spectra[0], plain, rtol=2e-3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"maps": "nothing*.fits"}, "no file matches 'nothing*.fits'"),
        ({"out": "file"}, "file is a file; -o takes a folder"),
        ({"out": "sims"}, "is the folder of the input"),
        ({"maps": "all"}, "is the name of several inputs"),
        ({"maps": "mask"}, "is the mask and among the maps"),
    ],
)
def test_bad_usage(batch, folder, tmp_path, change, words):
    Path("file").touch()
    Path("a.fits").touch()
    places = {"sims": folder / "sims", "mask": folder / "mask.fits"}
    change = {key: places.get(value, value) for key, value in change.items()}
    if change.get("maps") == "all":
        change["maps"] = str(folder.parent / "**" / "a.fits")
        (folder / "more").mkdir(exist_ok=True)
        (folder / "more" / "a.fits").touch()
    outcome = batch(**change)
    assert outcome.status == 2
    assert words in outcome.err
    assert outcome.err.count("\n") == 1
    assert not Path("out").exists()


def test_foreign_files_are_not_replaced(batch):
    Path("out").mkdir()
    Path("out", "b.fits").write_text("mine")
    outcome = batch()
    assert outcome.status == 2
    assert "b.fits exists already" in outcome.err
    assert Path("out", "b.fits").read_text() == "mine"
    Path("out", "manifest.jsonl").write_text('{"some": "thing"}\n')
    assert "is no manifest" in batch().err


def test_two_runs_do_not_share_a_folder(batch, tmp_path):
    settings = {"any": 1}
    with skyfill.batch.Manifest(tmp_path / "out", settings):
        outcome = batch()
    assert outcome.status == 2
    assert "another skyfill batch is at work" in outcome.err


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_ctrl_c_leaves_nothing_behind(folder, tmp_path, workers):
    done = program(folder, tmp_path / "out", "--workers", str(workers))
    while not contents(tmp_path / "out"):
        assert done.poll() is None
        time.sleep(0.002)
    done.send_signal(signal.SIGINT)
    _, err = done.communicate()
    if done.returncode == 0:
        pytest.skip("it was done before")
    assert done.returncode == 130
    assert "the same command continues" in err
    assert "Traceback" not in err
    # what maps share is kept for the command that continues, without unfinished files
    hidden = {path.name for path in (tmp_path / "out").glob(".*")}
    assert hidden <= {skyfill.batch.Manifest.SETUP}
    assert not list((tmp_path / "out" / skyfill.batch.Manifest.SETUP).glob(".*"))


def test_without_dask_the_extra_is_named(batch, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    outcome = batch("--scheduler", "tcp://127.0.0.1:1")
    assert outcome.status == 2
    assert 'pip install "skyfill[cluster]"' in outcome.err


@pytest.mark.parametrize(
    ("options", "kills"),
    [
        (("--method", "diffuse"), 2),
        pytest.param((), 6, marks=pytest.mark.slow),
        pytest.param(("--workers", "2"), 6, marks=pytest.mark.slow),
    ],
)
def test_killed_at_any_moment_it_goes_on(folder, tmp_path, batch, options, kills):
    assert batch(*options, out="calm").status == 0
    chance = random.Random(5)
    manifest = tmp_path / "out" / "manifest.jsonl"
    for _ in range(kills):
        size = manifest.stat().st_size if manifest.exists() else 0
        killed = program(folder, tmp_path / "out", *options)
        while killed.poll() is None and not (manifest.exists() and manifest.stat().st_size > size):
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.1))
        killed.kill()
        killed.communicate()  # its processes have ended, too: they hold these pipes
    (tmp_path / "out" / ".skyfill-0123456789ab.fits").touch()
    last = program(folder, tmp_path / "out", *options)
    _, err = last.communicate()
    assert last.returncode == 0, err
    assert contents("out") == contents("calm")
    kept = {"manifest.jsonl", "summary.ecsv", *NAMES}
    assert {path.name for path in (tmp_path / "out").iterdir()} == kept
    filled = [one["name"] for one in lines("out") if one["status"] == "done"]
    assert len(filled) <= len(NAMES) + kills  # each kill costs one map at most, or one a worker
