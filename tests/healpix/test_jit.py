"""Loops that are compiled twice: two programs, of one result, also from numba's cache on disk."""

import os
import subprocess
import sys

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
