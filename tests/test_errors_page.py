"""The catalogue of errors quotes the messages of the code, as the command line says them."""

import ast
import re
from pathlib import Path

import pytest
from skyfill.cli.wording import as_options

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"^\| `([^`]*)` \|", PAGE, re.MULTILINE)


def text_of(node: ast.AST) -> str:
    """Give a string as the page writes it: … for what is filled in."""
    if isinstance(node, ast.JoinedStr):
        return "".join(map(text_of, node.values))
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.replace("{}", "…")
    return "…"


MESSAGES = {
    as_options(text_of(node))
    for folder in ("skyfill", "cli")
    for path in (ROOT / folder).rglob("*.py")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if isinstance(node, ast.JoinedStr | ast.Constant)
}


def pattern(message: str) -> str:
    """Let a … stand for some words, too: the code may build a line of several strings."""
    return ".*".join(re.escape(part) for part in message.split("…"))


@pytest.mark.parametrize("quoted", QUOTED)
def test_it_is_said_so(quoted: str) -> None:
    words = quoted.removeprefix("…: ")
    known = any(re.search(pattern(words), message) for message in MESSAGES)
    assert known, f"no message reads {quoted!r}"


def test_there_are_many() -> None:
    assert len(QUOTED) > 40
