"""Print the figures of `evaluate` and `validate` as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skyfill.fidelity import Figure

__all__ = ["table"]


def table(figures: Mapping[str, Figure], verdict: str | None) -> str:
    """Write figures as a table: value, error, expected value, verdict."""
    lines = ["figure                      value      error   expected   verdict"]
    for name, each in figures.items():
        cells = [_number(x) for x in (each.value, each.error, each.expected)]
        lines.append(f"{name:22s} {cells[0]:>10s} {cells[1]:>10s} {cells[2]:>10s}   ".rstrip())
        if each.verdict:
            lines[-1] = f"{lines[-1]:58s}{each.verdict}"
    lines.append(f"all in all: {verdict or 'no verdict'} (docs/trust.md explains the figures)")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
