"""Examples in docstrings run and give what they show, each module's in a folder of its own."""

import ast
import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def with_examples():
    for path in sorted((ROOT / "skyfill").rglob("*.py")):
        if ">>> " in path.read_text(encoding="utf-8"):
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = list(with_examples())
#: Functions and classes that users meet first: each shows how it is called.
CENTRAL = """
    maps/skymap.py:read_map maps/filled.py:write_map holes/reading.py:read_mask holes/masks.py:grow
    prior/model.py:Prior prior/model.py:lcdm
    prior/simulate.py:simulate_sky prior/simulate.py:simulate_mask spectra/measure.py:compare
    tiling/cutting.py:cut tiling/pasting.py:paste
""".split()  # noqa: SIM905


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_show(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert found.attempted > 0
    assert found.failed == 0, "see the output above"


@pytest.mark.parametrize("place", CENTRAL)
def test_central_functions_have_an_example(place):
    path, name = place.split(":")
    tree = ast.parse((ROOT / "skyfill" / path).read_text(encoding="utf-8"))
    node = next(
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name
    )
    assert ">>> " in (ast.get_docstring(node) or "")
