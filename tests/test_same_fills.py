"""The script that compares the fills of two checkouts tells the same from what differs.

Hashes of fills are not kept in the repository: their last bits depend on the processor and on the
versions of libraries, so that on most machines nothing would be compared.
"""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tests" / "benchmarks" / "same_fills.py"
CASES = ("diffuse", "gaussian", "vae")


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("same_fills", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_fills_are_the_same_in_every_process():
    words = ["--before", str(ROOT), "--after", str(ROOT), "--nside", "64", "--case", *CASES]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # Two beams; for each a sky, three means and two realizations.
    assert done.stdout == "0 of 12 hashes differ, 0 have none to compare with\n"


@pytest.mark.parametrize(
    ("after", "status", "said"),
    [
        ({"a": "1", "b": "2"}, 0, "0 of 4 hashes differ"),
        ({"a": "1", "b": "3"}, 1, "differs: b"),
        ({"a": "1", "b": "2", "c": "4"}, 1, "not kept: c"),
    ],
    ids=["same", "another", "new"],
)
def test_what_differs_from_kept_hashes_is_said(
    after, status, said, script, tmp_path, monkeypatch, capsys
):
    kept = tmp_path / "kept.json"
    words = ["--after", str(ROOT), "--nside", "16"]
    monkeypatch.setattr(script, "hashes_of", lambda *_: {"a": "1", "b": "2"})
    assert script.main([*words, "--keep", str(kept)]) == 0
    monkeypatch.setattr(script, "hashes_of", lambda *_: after)
    assert script.main([*words, "--against", str(kept)]) == status
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("other", ["processor", "numpy", "sky"])
def test_nothing_is_said_of_hashes_from_elsewhere(other, script, tmp_path, monkeypatch):
    kept = tmp_path / "kept.json"
    words = ["--after", str(ROOT), "--nside", "16"]
    monkeypatch.setattr(script, "hashes_of", lambda *_: {"a": "1"})
    assert script.main([*words, "--keep", str(kept)]) == 0
    file = json.loads(kept.read_text(encoding="utf-8"))
    if other == "sky":
        file["hashes"]["Nside 16, resolved, sky"] = "of another healpy"
    else:
        file["kind"][other] = "another"
    kept.write_text(json.dumps(file), encoding="utf-8")
    assert script.main([*words, "--against", str(kept)]) == 2
