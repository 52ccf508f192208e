"""What the maps of a batch have in common is made once, wherever they are filled."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from skyfill.cli import batch as verb

import skyfill

NSIDE = 32
BLUR = ("--beam-arcmin", "200", "--noise-uk-arcmin", "100", "--method", "gaussian")
NAMES = ["a.fits", "b.fits", "c.fits"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("setup")
    observed = skyfill.simulate_mask(NSIDE, seed=3, half_width=0.1, n_holes=10, radii=(0.05, 0.1))
    for seed, name in enumerate(NAMES):
        sky = skyfill.simulate_sky(NSIDE, seed=seed, fwhm=np.radians(200 / 60), noise_uk_arcmin=100)
        skyfill.write_map(path / name, sky)
    skyfill.write_map(path / "mask.fits", observed, column="MASK", unit="", dtype="uint8")
    return path


@pytest.fixture
def batch(skyfill_main, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*more, maps=folder / "?.fits", out="out"):
        return skyfill_main("batch", maps, folder / "mask.fits", "-o", out, *BLUR, *more, "-q")

    return call


def contents(path):
    return {one.name: one.read_bytes() for one in Path(path).glob("*.fits")}


def kinds(path):
    return sorted(one.name.partition("-")[0] for one in Path(path).iterdir())


@pytest.fixture
def made(monkeypatch):
    """Count what is made, by the labels."""
    from skyfill.gaussian import blocks

    label, calls = blocks.label_holes, []
    monkeypatch.setattr(blocks, "label_holes", lambda mask: calls.append(1) or label(mask))
    monkeypatch.setattr(verb, "_LAST", {})
    return calls


def test_a_folder_of_ones_own_is_kept_and_found(batch, skyfill_main, folder, made):
    assert batch(out="plain").status == 0
    verb._LAST.clear()  # as in another process
    assert batch("--cache", "kept", out="one").status == 0
    assert kinds("kept") == ["factors", "labels"]
    assert len(made) == 2
    verb._LAST.clear()  # as in another process
    assert batch("--cache", "kept", out="two").status == 0
    assert len(made) == 2
    words = (folder / "a.fits", folder / "mask.fits", *BLUR, "--cache", "kept")
    seed = skyfill.batch.seed_of(0, 0)
    assert skyfill_main("inpaint", *words, "-o", "alone.fits", "--seed", seed, "-q").status == 0
    assert len(made) == 2
    assert contents("plain") == contents("one") == contents("two")  # headers, too
    fills = [skyfill.read_map(path).values for path in ("alone.fits", "one/a.fits")]
    assert np.array_equal(*fills)


def test_a_batch_that_is_done_leaves_nothing(batch):
    assert batch().status == 0
    assert not list(Path("out").glob(".*"))
    Path("out", ".setup").mkdir()
    Path("out", ".setup", "labels-of-a-run-that-was-killed-at-its-end").touch()
    assert batch().status == 0
    assert not list(Path("out").glob(".*"))


def test_what_failed_finds_it_the_next_time(batch, folder, tmp_path, made):
    (tmp_path / "in").mkdir()
    for name in NAMES:
        (tmp_path / "in" / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "in" / "c.fits").write_bytes(b"no map")
    assert batch(maps="in/*").status == 1
    Path("out/.setup/.skyfill-0123456789ab").touch()
    assert batch(maps="in/*").status == 1
    assert kinds("out/.setup") == ["factors", "labels"]
    (tmp_path / "in" / "c.fits").write_bytes((folder / "c.fits").read_bytes())
    verb._LAST.clear()  # as in another process
    assert batch(maps="in/*").status == 0
    assert len(made) == 1
    assert not Path("out/.setup").exists()


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_killed_batch_leaves_it_to_the_next(batch, folder, made, workers):
    assert batch(out="calm").status == 0
    words = ["batch", str(folder / "?.fits"), str(folder / "mask.fits"), "-o", "out", *BLUR]
    command = [sys.executable, "-m", "skyfill.cli", *words, "--workers", str(workers)]
    killed = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while killed.poll() is None and not contents("out"):
        time.sleep(0.001)
    killed.kill()
    killed.communicate()  # its processes have ended, too: they hold these pipes
    if len(contents("out")) == len(NAMES):
        pytest.skip("it was done before")
    assert "labels" in kinds("out/.setup")
    made.clear()
    verb._LAST.clear()  # as in another process
    assert batch().status == 0
    assert not made
    assert contents("out") == contents("calm")
    assert not list(Path("out").glob(".*"))


def test_a_file_is_no_folder(batch):
    Path("kept").touch()
    outcome = batch("--cache", "kept")
    assert outcome.status == 2
    assert "kept is a file; --cache takes a folder" in outcome.err
    assert outcome.err.count("\n") == 1
    assert not Path("out").exists()


def test_a_folder_that_cannot_be_made_is_no_error(batch):
    Path("file").touch()
    assert batch("--cache", "file/kept").status == 0
    assert len(contents("out")) == len(NAMES)
