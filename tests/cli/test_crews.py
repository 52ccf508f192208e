"""`skyfill batch`: processes that die, and Dask clusters."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dask
import distributed
import pytest
from deadly_jobs import Deadly

from skyfill import batch

NAMES = ["a.fits", "b.fits", "c.fits", "d.fits"]
WORDS = ("sims/*.fits", "mask.fits", "-o", "out", "-q")
BLUR = ("--beam-arcmin", "400", "--noise-uk-arcmin", "100")
#: Modules beside the tests' folders are found by processes, too.
PLACES = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])

# The command, with the job of tests/deadly_jobs.py: processes find that module by its place.
DEADLY = """
import importlib, sys
from importlib.metadata import entry_points
import deadly_jobs
(command,) = entry_points(group="console_scripts", name="skyfill")
verb = importlib.import_module(command.value.partition(":")[0] + ".batch")
verb._Job = deadly_jobs.HeldAtB
if __name__ == "__main__":
    sys.exit(command.load()(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two workers; a map that kills one is not tried again."""
    options = {
        "n_workers": 2,
        "threads_per_worker": 1,
        "dashboard_address": None,
        "memory_limit": 0,
        "local_directory": str(tmp_path_factory.mktemp("dask")),
    }
    config = {"distributed.scheduler.allowed-failures": 0}
    with dask.config.set(config), distributed.LocalCluster(**options) as cluster:
        yield cluster


def contents(path):
    return {one.name: one.read_bytes() for one in Path(path).glob("*.fits")}


@pytest.mark.parametrize(
    ("number", "status", "word"),
    [
        (signal.SIGINT, 130, "interrupted"),
        pytest.param(signal.SIGTERM, 143, "terminated", marks=pytest.mark.slow),
    ],
)
def test_stopped_while_a_map_is_filled_again(sims, number, status, word):
    running = subprocess.Popen(
        [sys.executable, "-c", DEADLY, "batch", *WORDS, *BLUR, "--workers", "2"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": PLACES, "MARKS": str(sims)},
    )
    while not (sims / "b.fits.again").exists():
        assert running.poll() is None, running.communicate()[1]
        time.sleep(0.01)
    running.send_signal(number)
    _, err = running.communicate(timeout=50)  # its processes have ended, too: they hold the pipe
    assert running.returncode == status
    warning, stopped, last = err.splitlines()
    assert warning.startswith("skyfill: warning: the process that was at b.fits died")
    assert stopped.startswith("skyfill: 3 of 4 maps were filled; the same command continues")
    assert last == f"skyfill: {word}"
    assert not list((sims / "out").glob(".*"))
    records = (sims / "out" / "manifest.jsonl").read_text().splitlines()[1:]
    assert sorted(json.loads(one)["name"] for one in records) == ["a.fits", "c.fits", "d.fits"]


def test_a_dask_cluster_gives_the_same(skyfill_main, sims, cluster):
    words = ("batch", *WORDS, *BLUR, "--method", "gaussian")
    assert skyfill_main(*words).status == 0
    alone = contents("out")
    (sims / "out").rename("alone")
    address = ("--scheduler", cluster.scheduler_address)
    assert skyfill_main(*words, *address).status == 0
    assert contents("out") == alone
    assert sorted(alone) == NAMES
    assert not list(Path("out").glob(".*"))


def test_a_map_that_kills_its_dask_worker_fails(sims, cluster):
    (sims / "out").mkdir()
    inputs = batch.inputs_of([str(sims / "sims" / "*.fits")])
    tasks = batch.tasks_of(inputs, sims / "out", seed=0)
    job = Deadly(("b.fits",))

    def fill(some):
        return list(batch.fill_all(some, job, batch.Cluster(cluster.scheduler_address)))

    (failed,) = fill(tasks[1:2])
    assert failed.error.startswith("KilledWorker: ")
    assert [one.error for one in fill([tasks[0], *tasks[2:]])] == [None] * 3


def test_a_scheduler_that_is_none(skyfill_main, sims):
    Path("1.json").write_text("{}")
    for place, why in {
        "1.json": "1.json is no scheduler file of Dask",
        "2.json": "2.json is neither the address of a Dask scheduler",
        "host": "host is neither the address of a Dask scheduler",
    }.items():
        outcome = skyfill_main("batch", *WORDS, "--scheduler", place)
        assert outcome.status == 2
        assert why in outcome.err
        assert outcome.err.count("\n") == 1
        assert not Path("out").exists()


@pytest.mark.slow
def test_workers_that_find_the_scheduler_by_its_file(skyfill_main, sims):
    """As the script for Slurm in docs/batch.md does it."""
    dask_words = [sys.executable, "-m", "dask"]
    where = ["--scheduler-file", "1.json"]
    log = sims / "log"
    with log.open("w") as stream:
        running = [
            subprocess.Popen([*dask_words, *words, *where], stdout=stream, stderr=stream)
            for words in (
                ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"],
                *[["worker", "--nworkers", "1", "--nthreads", "1", "--no-dashboard"]] * 2,
            )
        ]
        try:
            while not Path("1.json").exists():
                assert running[0].poll() is None, log.read_text()
                time.sleep(0.05)
            outcome = skyfill_main("batch", *WORDS, "--method", "diffuse", "--scheduler", "1.json")
        finally:
            for one in reversed(running):
                one.terminate()
            for one in running:
                one.wait(timeout=60)
    assert outcome.status == 0, outcome.err
    assert sorted(contents("out")) == NAMES
