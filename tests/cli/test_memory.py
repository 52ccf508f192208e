"""Arrays of the command are made in the memory of freed ones."""

import platform
import subprocess
import sys

import pytest

_PROGRAM = """
import resource
import numpy as np
from skyfill.cli.main import _keep_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        np.ones(50_000_000 // 8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
_keep_memory()
faults()
print(before, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_a_freed_array_leaves_its_memory_to_the_next_one():
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True
    )
    before, after = map(int, done.stdout.split())
    assert before > 100  # five arrays in pages of 4 KiB to 2 MiB
    assert after < before / 20
