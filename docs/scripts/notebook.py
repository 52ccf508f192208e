"""Run the cells of a notebook from top to bottom, and store or check what they show.

It needs no Jupyter: cells run in one namespace, and what a cell prints, the value of its last line
and its figures become its outputs.

    python docs/scripts/notebook.py examples/first_steps.ipynb
    python docs/scripts/notebook.py examples/first_steps.ipynb --check
"""

from __future__ import annotations

import argparse
import ast
import base64
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt


def run(source: str, names: dict[str, Any], number: int) -> list[dict[str, Any]]:
    """Run a cell; give its outputs in the notebook's format."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    said = io.StringIO()
    value = None
    with contextlib.redirect_stdout(said):
        exec(compile(tree, f"cell {number}", "exec"), names)  # noqa: S102 (that is its task)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)  # noqa: S307
    outputs: list[dict[str, Any]] = []
    if said.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": lines(said.getvalue())})
    if value is not None:
        data: dict[str, Any] = {"text/plain": lines(repr(value))}
        if hasattr(value, "_repr_html_"):
            data["text/html"] = lines(value._repr_html_())
        outputs.append(
            {
                "output_type": "execute_result",
                "execution_count": number,
                "data": data,
                "metadata": {},
            }
        )
    for figure in map(plt.figure, plt.get_fignums()):
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=80)
        image = base64.b64encode(picture.getvalue()).decode("ascii")
        data = {"image/png": image, "text/plain": ["<Figure>"]}
        outputs.append({"output_type": "display_data", "data": data, "metadata": {}})
    plt.close("all")
    return outputs


def lines(text: str) -> list[str]:
    """Divide a text as notebooks do."""
    return text.splitlines(keepends=True)


def words(outputs: list[dict[str, Any]]) -> list[list[str]]:
    """Give the texts among outputs; pictures depend on the version of matplotlib."""
    return [output.get("text") or output["data"]["text/plain"] for output in outputs]


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--check", action="store_true", help="compare texts, and write nothing")
    args = parser.parse_args()
    notebook = json.loads(args.notebook.read_text(encoding="utf-8"))
    names: dict[str, Any] = {"__name__": "__main__"}
    number = 0
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        number += 1
        outputs = run("".join(cell["source"]), names, number)
        if args.check and words(outputs) != words(cell["outputs"]):
            print(f"cell {number} shows {words(outputs)}, stored {words(cell['outputs'])}")
            return 1
        cell |= {"outputs": outputs, "execution_count": number}
    if not args.check:
        args.notebook.write_text(json.dumps(notebook, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
