"""Verbs that fill nothing start fast: they load no torch."""

import subprocess
import sys

import numpy as np
import pytest

import skyfill

PROGRAM = """
import sys
from skyfill.cli import main
status = main({words!r})
heavy = [name for name in {heavy!r} if name in sys.modules]
sys.exit(f"status {{status}}, loaded {{heavy}}" if status or heavy else 0)
"""


@pytest.mark.parametrize(
    ("words", "heavy"),
    [
        (["models"], ["torch", "numba", "healpy", "scipy", "matplotlib"]),
        (["info", "map.fits"], ["torch", "healpy", "matplotlib"]),
        (
            ["mask", "--nside", "8", "-o", "cut.fits", "--galactic-cut", "20"],
            ["torch", "matplotlib"],
        ),
        (["simulate", "sky", "-o", "sky.fits", "--nside", "8"], ["torch", "matplotlib"]),
        (
            ["inpaint", "map.fits", "mask.fits", "-o", "filled.fits", "--method", "diffuse"],
            ["torch"],
        ),
    ],
    ids=lambda words: words[0],
)
def test_light_verbs_load_no_torch(words, heavy, tmp_path):
    values = skyfill.simulate_sky(8, seed=1)
    values[100:103] = np.nan
    skyfill.write_map(tmp_path / "map.fits", values)
    skyfill.write_map(tmp_path / "mask.fits", np.isfinite(values), unit="", dtype=np.uint8)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(words=words, heavy=heavy)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
