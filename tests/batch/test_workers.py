"""Who fills the maps of a batch, and what becomes of them when a process dies."""

import multiprocessing
import os
import time
from contextlib import closing

import pytest
from deadly_jobs import Deadly, Unloadable

from skyfill import batch

AGAIN = "the map is filled again after the others, with nothing beside it"
TWICE = "its process died twice, the second time with no other map in work"
NAMES = ["a.fits", "b.fits", "c.fits", "d.fits", "e.fits"]


@pytest.fixture
def tasks(tmp_path):
    """Five maps, of which nothing is read."""
    for folder in ("in", "out", "marks"):
        (tmp_path / folder).mkdir()
    for name in NAMES:
        (tmp_path / "in" / name).write_text(name)
    inputs = [tmp_path / "in" / name for name in NAMES]
    return batch.tasks_of(inputs, tmp_path / "out", seed=1)


@pytest.fixture(autouse=True)
def nobody_is_left():
    yield
    # A pool's own thread may have waited for the process first, and not have said so yet.
    ends = time.monotonic() + 10
    while multiprocessing.active_children() and time.monotonic() < ends:
        time.sleep(0.01)
    assert not multiprocessing.active_children()


def fill(tasks, job, workers):
    """Give the names of the maps that were filled, in order, and the errors of the others."""
    records = list(batch.fill_all(tasks, job, batch.Processes(workers)))
    assert sorted(record.name for record in records) == [task.name for task in tasks]
    written = {task.name for task in tasks if task.output.exists()}
    assert written == {record.name for record in records if record.status == "done"}
    for task in tasks:
        if task.name in written:
            assert task.output.read_text() == str(task.seed)
    errors = {record.name: record.error for record in records if record.status == "failed"}
    return [record.name for record in records if record.error is None], errors


@pytest.mark.parametrize("workers", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_only_the_map_that_kills_its_process_fails(tasks, workers):
    with pytest.warns(UserWarning, match=f"at c.fits died.*{AGAIN}") as warned:
        done, errors = fill(tasks, Deadly(("c.fits",)), workers)
    assert len(warned) == 1
    assert sorted(done) == [name for name in NAMES if name != "c.fits"]
    assert list(errors) == ["c.fits"]
    assert errors["c.fits"].startswith(TWICE)


def test_maps_whose_processes_die_once_are_filled_alone(tasks, tmp_path):
    """As where memory is enough for one map but not for two."""
    with pytest.warns(UserWarning, match=AGAIN) as warned:
        done, errors = fill(tasks, Deadly(("a.fits", "b.fits"), tmp_path / "marks"), 2)
    assert len(warned) == 2
    assert not errors
    assert sorted(done[:3]) == NAMES[2:]
    assert sorted(done[3:]) == NAMES[:2]


@pytest.mark.parametrize(
    "job",
    [
        pytest.param(Deadly(tuple(NAMES)), marks=pytest.mark.slow, id="killed"),
        pytest.param(Unloadable(), id="at start"),
    ],
)
def test_every_process_dies(tasks, job):
    with pytest.warns(UserWarning, match=AGAIN) as warned:
        done, errors = fill(tasks[:3], job, 2)
    assert len(warned) == 3
    assert not done
    assert all(error.startswith(TWICE) for error in errors.values())


def test_leaving_early_ends_what_is_in_work(tasks, tmp_path):
    (tmp_path / "marks" / "a.fits.died").touch()
    begun = time.perf_counter()
    job = Deadly(("a.fits",), tmp_path / "marks", seconds=60)
    with closing(batch.fill_all(tasks, job, batch.Processes(2))) as records:
        assert next(records).name == "b.fits"
    assert time.perf_counter() - begun < 50
    assert not tasks[0].output.exists()


@pytest.mark.slow
def test_a_process_that_dies_idle_is_replaced_with_its_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    crew = batch.Processes(2)
    executor = crew.hire()

    def devices():
        asked = [executor.submit(os.getenv, "CUDA_VISIBLE_DEVICES") for _ in range(2)]
        return [one.result() for one in asked]

    assert devices() == ["3", "5"]
    for process in multiprocessing.active_children():
        process.kill()
    while multiprocessing.active_children():  # their pools have noticed then
        time.sleep(0.01)
    assert devices() == ["3", "5"]
    executor.shutdown()
    crew.dismiss()
