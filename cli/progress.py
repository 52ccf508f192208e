"""Show progress on stderr: a bar on a terminal, one line a stage in logs."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Self

import skyfill

__all__ = ["Bar", "Lines", "progress"]


def progress(*, quiet: bool) -> AbstractContextManager[skyfill.Progress]:
    """Choose a listener: none, a bar on a terminal, or plain lines."""
    if quiet:
        return nullcontext(skyfill.Silent())
    return Bar() if sys.stderr.isatty() else Lines()


class Lines:
    """One line a stage, written when it ends: ``tiles: 812 planned (1.3 s)``."""

    def __init__(self) -> None:
        self._stage: str | None = None
        self._begun = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.done()
        self._stage = None

    def stage(self, name: str, total: int | None = None) -> None:  # noqa: ARG002 (the protocol's)
        """Begin a stage, ending the one before."""
        self.done()
        self._stage, self._begun = name, time.perf_counter()

    def advance(self, n: int = 1) -> None:
        """Do nothing: lines show no progress within a stage."""

    def note(self, text: str) -> None:
        """Do nothing: lines show notes only at the end."""

    def done(self, note: str = "") -> None:
        """Write the line of the finished stage."""
        if self._stage is not None:
            print(self._line(note), file=sys.stderr, flush=True)
            self._stage = None

    def _line(self, note: str) -> str:
        seconds = time.perf_counter() - self._begun
        return f"{self._stage}{': ' if note else ''}{note} ({seconds:.1f} s)"


class Bar(Lines):
    """A moving bar, replaced by the stage's line when it ends."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console  # imported late: only terminals need it
        from rich.progress import (
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        self._rich = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True, highlight=False),
            transient=True,
        )

    def __enter__(self) -> Self:
        self._rich.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        self._rich.stop()

    def stage(self, name: str, total: int | None = None) -> None:
        """Begin a stage with a bar of its own."""
        super().stage(name, total)
        self._task = self._rich.add_task(name, total=total)

    def advance(self, n: int = 1) -> None:
        """Move the bar."""
        if self._stage is not None:
            self._rich.advance(self._task, n)

    def note(self, text: str) -> None:
        """Show a note beside the bar."""
        if self._stage is not None:
            self._rich.update(self._task, description=f"{self._stage} {text}")

    def done(self, note: str = "") -> None:
        """Replace the bar with the line of the finished stage."""
        if self._stage is not None:
            self._rich.remove_task(self._task)
            self._rich.console.print(self._line(note), markup=False)
            self._stage = None
