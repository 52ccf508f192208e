"""Loops that are compiled twice, also from numba's cache on disk; loops in several threads."""

import math
import os
import signal
import subprocess
import sys

import numba
import numpy as np
import pytest

from skyfill.healpix.jit import PIECE, by_parts, by_pieces, total_of

MODULE = """
import numpy as np
from numba import prange
from skyfill.healpix.jit import parallel_beyond

@parallel_beyond(10)
def twice(values, out):
    for i in prange(values.size):
        out[i] = 2 * values[i]

def run(size):
    values, out = np.arange(float(size)), np.zeros(size)
    loop = twice(size)
    loop(values, out)
    assert np.array_equal(out, 2 * values)
    return loop
"""
PROGRAM = """
import sys
import loops
short, long = loops.run(10), loops.run(11)
assert short is not long
assert not short.targetoptions.get("parallel") and long.targetoptions["parallel"]
hits = [sum(loop.stats.cache_hits.values()) for loop in (short, long)]
print(*hits)
"""


@pytest.fixture
def few_threads(monkeypatch):
    """Set the number of threads, whatever the machine has."""
    return lambda number: monkeypatch.setattr(numba, "get_num_threads", lambda: number)


def test_the_cache_tells_the_parallel_loop_from_the_serial_one(tmp_path):
    """Under one name numba would give whichever was compiled first for both."""
    (tmp_path / "loops.py").write_text(MODULE, encoding="utf-8")
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    found = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for _ in range(2)
    ]
    assert found == [["0", "0"], ["1", "1"]]
    names = {path.name.partition("-")[0] for path in (tmp_path / "cache").rglob("*.nbi")}
    assert names == {"loops.twice", "loops.twice_parallel"}


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("size", [0, 1, PIECE, PIECE + 1, 8 * PIECE, 40 * PIECE + 7])
def test_pieces_cover_a_range_once(few_threads, threads, size):
    few_threads(threads)
    seen = np.zeros(size, int)

    def work(here):
        seen[here] += 1

    by_pieces(size, work)
    assert (seen == 1).all()


def test_a_total_has_the_same_bits_with_every_number_of_threads(few_threads):
    values = np.random.default_rng(1).standard_normal(33 * PIECE + 5) * 1e3
    found = []
    for threads in (1, 2, 3):
        few_threads(threads)
        found.append(total_of(values.size, lambda here: values[here].sum()))
    assert found[0] == found[1] == found[2]
    assert found[0] == pytest.approx(math.fsum(values), abs=1e-12 * np.abs(values).sum())


def test_work_in_work_is_done_and_errors_come_back(few_threads):
    """A part that divided its own work among the same threads would wait for itself."""
    few_threads(2)
    seen = np.zeros((64, 9 * PIECE), np.int8)

    def row(part):
        for k in range(part.start, part.stop):
            by_pieces(seen.shape[1], lambda here, k=k: seen[k].__setitem__(here, 1))

    by_parts(64, row, least=1)
    assert seen.all()

    def fails(part):
        raise KeyError(part.start)

    with pytest.raises(KeyError):
        by_parts(64, fails, least=1)
    by_parts(64, row, least=1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own(few_threads):
    few_threads(2)
    by_pieces(64 * PIECE, lambda _: None)
    child = os.fork()
    if not child:
        signal.alarm(20)  # one that waits for threads that are not there
        total = total_of(64 * PIECE, lambda here: float(here.stop - here.start))
        os._exit(0 if total == 64 * PIECE else 1)
    assert os.waitpid(child, 0)[1] == 0
