"""The examples run, from beginning to end, as a user runs them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
SAID = {
    "fill_a_planck_map": "observed pixels that changed: 0",
    "is_the_fill_right": "held-out holes: z width",
    "your_own_field": "squared error",
    "fill_many_maps": "go on: 8 of 8 maps are done",
    "fill_polarization": "observed pixels that changed: 0",
}


def test_none_is_forgotten():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*SAID, "demo"}


#: Those that take longest; `make docs` runs them as well.
SLOW = {"is_the_fill_right", "your_own_field"}


@pytest.mark.parametrize(
    "name", [pytest.param(x, marks=pytest.mark.slow if x in SLOW else ()) for x in SAID]
)
def test_example(name, tmp_path):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")],
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert SAID[name] in done.stdout
    assert not list(tmp_path.iterdir())


def test_the_notebook_shows_what_its_cells_show_now():
    run = [sys.executable, str(EXAMPLES.parent / "docs" / "scripts" / "notebook.py"), "--check"]
    done = subprocess.run(
        [*run, str(EXAMPLES / "first_steps.ipynb")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
