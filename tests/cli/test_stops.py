"""Runs that are stopped, run out of room, or meet another: whole files, or none."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import pytest
from broken_files import sky_and_mask
from map_files import names

import skyfill

# The installed command, held in one of its stages: it says so, and waits to be stopped.
HELD = """
import importlib, sys, time
from importlib.metadata import entry_points
import skyfill

def hold(*_, **__):
    print("here", flush=True)
    time.sleep(60)

owner, _, name = {place!r}.rpartition(":")
module, _, kind = owner.partition("/")
thing = importlib.import_module(module)
setattr(getattr(thing, kind) if kind else thing, name, hold)
(command,) = entry_points(group="console_scripts", name="skyfill")
sys.exit(command.load()(sys.argv[1:]))
"""
STAGES = {
    "read": "skyfill.maps.table/SkyTable:read",
    "fill": "skyfill.inpaint.diffusing:diffuse_holes",
    "write": "skyfill.files.atomic:_flush",  # all is written, nothing is in place
}
WORDS = ("map.fits", "mask.fits", "-o", "out.fits", "--method", "diffuse", "-q")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    sky_and_mask(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stopped(stage, number):
    """Run until a stage, send a signal, give status and what was said."""
    code = HELD.format(place=STAGES[stage])
    running = subprocess.Popen(
        [sys.executable, "-c", code, "inpaint", *WORDS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout.readline() == "here\n", running.communicate()[1]
    running.send_signal(number)
    _, said = running.communicate(timeout=120)
    return running.returncode, said


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("number", "status", "said"),
    [
        (signal.SIGINT, 130, "skyfill: interrupted\n"),
        pytest.param(signal.SIGTERM, 143, "skyfill: terminated\n", marks=pytest.mark.slow),
    ],
)
def test_stopped_in_any_stage(folder, stage, number, status, said):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert stopped(stage, number) == (status, said)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    "stage", [pytest.param(s, marks=() if s == "write" else pytest.mark.slow) for s in STAGES]
)
def test_killed_in_any_stage(skyfill_main, folder, stage):
    """Nobody can tidy up then; the next run does, when the rest is an hour old."""
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert stopped(stage, signal.SIGKILL) == (-signal.SIGKILL, "")
    left = [path for path in folder.iterdir() if path not in before]
    assert [path.name[:9] for path in left] == [".skyfill-"] * (stage == "write")
    assert {path: path.read_bytes() for path in before} == before
    assert skyfill_main("inpaint", *WORDS).status == 0
    assert set(left) < set(folder.iterdir())
    for path in left:
        os.utime(path, (0, time.time() - 4000))
    assert skyfill_main("inpaint", *WORDS, "--overwrite").status == 0
    assert names(folder) == ["map.fits", "mask.fits", "out.fits"]
    assert skyfill_main("info", "out.fits").status == 0


def test_two_runs_for_one_output(folder):
    """One of them writes it; the other says so. The file is whole at any time."""
    code = (
        "import sys, time; sys.stdin.readline(); from importlib.metadata import entry_points;"
        "(c,) = entry_points(group='console_scripts', name='skyfill');"
        "sys.exit(c.load()(sys.argv[1:]))"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code, "inpaint", *WORDS],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for run in runs:
        run.stdin.write("go\n")
        run.stdin.flush()
    said = [run.communicate(timeout=120)[1] for run in runs]
    assert sorted(run.returncode for run in runs) == [0, 2], said
    (line,) = filter(None, said)
    assert line.startswith("skyfill: error: out.fits ")
    assert "--overwrite to replace it" in line
    assert line.count("\n") == 1
    assert names(folder) == ["map.fits", "mask.fits", "out.fits"]
    assert not skyfill.maps.add_up("out.fits").wrong


@pytest.fixture
def disk(folder):
    """Give a small disk: a mount point in the folder, where one may mount."""
    place = folder / "disk"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    try:
        subprocess.run(words, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


PRIOR = ("--beam-arcmin", 600, "--noise-uk-arcmin", 100, "-q")
WRITERS = {
    "inpaint": ("inpaint", "map.fits", "mask.fits", "-o", "{}.fits", "--method", "diffuse", "-q"),
    "gzip": ("inpaint", "map.fits", "mask.fits", "-o", "{}.fits.gz", "--method", "diffuse", "-q"),
    "batch": ("batch", "map.fits", "mask.fits", "-o", "{}", "--method", "diffuse", "-q"),
    "sky": ("simulate", "sky", "-o", "{}.fits", "--nside", 16, "-q"),
    "holes": ("simulate", "mask", "-o", "{}.fits", "--nside", 16, "-q"),
    "mask": ("mask", "mask.fits", "-o", "{}.fits"),
    "table": ("spectrum", "map.fits", "-o", "{}.ecsv", *PRIOR),
    "plot": ("spectrum", "map.fits", "--plot", "{}.png", *PRIOR),
    "tiles": ("tiles", "map.fits", "mask.fits", "-o", "{}", "--limit", 2, *PRIOR),
}


def refused(skyfill_main, writer, disk, why):
    before = names(disk)
    outcome = skyfill_main(*(str(w).format(disk / "new") for w in WRITERS[writer]))
    assert (outcome.status, outcome.out) == (2, ""), outcome
    assert outcome.err.startswith("skyfill: error: ")
    assert outcome.err.count("\n") == 1
    assert why in outcome.err
    assert str(disk) in outcome.err
    for path in disk.iterdir():  # a store or a folder that is begun, and goes on later
        if path.name == "new":
            assert writer in ("batch", "tiles")
    assert [name for name in names(disk) if name != "new"] == before


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk(skyfill_main, disk, writer):
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    refused(skyfill_main, writer, disk, "No space left on device")


def test_a_disk_that_fills(skyfill_main, folder, disk):
    """There is room for the beginning of a map."""
    rng = np.random.default_rng(1)
    skyfill.write_map("map.fits", rng.standard_normal(12 * 256**2), overwrite=True)
    skyfill.write_map("mask.fits", rng.random(12 * 256**2) < 0.999, unit="", overwrite=True)
    for writer in ("inpaint", "gzip"):
        refused(skyfill_main, writer, disk, "No space left on device")
    assert names(disk) == []


@pytest.mark.parametrize("writer", WRITERS)
def test_a_disk_that_cannot_be_written_to(skyfill_main, disk, writer):
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    outcome = skyfill_main(*(str(w).format(disk / "new") for w in WRITERS[writer]))
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1
    assert str(disk) in outcome.err
    assert "no permission in folder" in outcome.err or "Read-only file system" in outcome.err
    assert names(disk) == []


def test_packages_that_are_not_there(skyfill_main, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    words = ("batch", "map.fits", "mask.fits", "-o", "new", "--scheduler", "tcp://localhost:1")
    outcome = skyfill_main(*words, "--method", "diffuse", "-q")
    assert outcome.status == 2
    assert 'pip install "skyfill[cluster]"' in outcome.err
    assert outcome.err.count("\n") == 1
    monkeypatch.setitem(sys.modules, "pymaster", None)  # ducc0 does its work
    words = ("spectrum", "map.fits", "--mask", "mask.fits", *PRIOR, "--bins", 4)
    assert skyfill_main(*words).status == 0
