"""Print the figures of `evaluate` and `validate` as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import skyfill

if TYPE_CHECKING:
    from skyfill.fidelity import Figure

__all__ = ["table", "tables"]

#: Head of the table.
_HEAD = "figure                      value      error   expected unit verdict   what it is"


def table(figures: Mapping[str, Figure], verdict: str | None) -> str:
    """Write figures as a table: value, error, expected value, unit, verdict, and what each is."""
    lines = [_HEAD]
    for name, figure in figures.items():
        each, what = skyfill.fidelity.readable(name, figure), skyfill.fidelity.meaning(name)
        cells = [_number(x) for x in (each.value, each.error, each.expected)]
        lines.append(
            f"{name:22s} {cells[0]:>10s} {cells[1]:>10s} {cells[2]:>10s} {what.unit:4s} "
            f"{each.verdict or '':9s} {what.words}"
        )
    lines.append(f"all in all: {verdict or 'no verdict'} (docs/trust.md explains the figures)")
    return "\n".join(lines)


def tables(figures: Mapping[str, Mapping[str, Figure]], verdict: str | None) -> str:
    """Write the figures of each Stokes parameter as a table."""
    lines: list[str] = []
    for letter, each in figures.items():
        head, *rows, _ = table(each, None).splitlines()
        lines += [*([] if lines else [head]), f"{letter}:", *rows]
    return "\n".join([*lines, table({}, verdict).splitlines()[-1]])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
