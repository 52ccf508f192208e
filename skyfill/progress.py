"""Report the progress of a long computation to a listener: a bar, lines, a log."""

from __future__ import annotations

import logging
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from html import escape
from types import TracebackType
from typing import Any, Protocol, Self

__all__ = ["Bar", "Lines", "Logged", "Notebook", "Progress", "Silent", "listening", "shown"]

#: Seconds between two updates of a notebook's cell.
_PAUSE = 0.2
_LOG = logging.getLogger("skyfill")
_LOG.addHandler(logging.NullHandler())  # silent until the caller configures logging


class Progress(Protocol):
    """Listener of a long computation.

    A computation calls `stage` at the beginning of a stage, `advance` during it and `done` at its
    end. Stages follow each other and are not nested.
    """

    def stage(self, name: str, total: int | None = None) -> None:
        """Begin a stage of ``total`` steps (None if the number is unknown)."""

    def advance(self, n: int = 1) -> None:
        """Count ``n`` more steps of the current stage."""

    def note(self, text: str) -> None:
        """Describe the state of the current stage in a few words."""

    def done(self, note: str = "") -> None:
        """End the current stage; ``note`` describes its result in a few words."""


class Silent:
    """A listener that ignores all progress."""

    def stage(self, name: str, total: int | None = None) -> None:
        """Begin nothing."""

    def advance(self, n: int = 1) -> None:
        """Count nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def done(self, note: str = "") -> None:
        """End nothing."""


class Logged:
    """A listener that passes everything on, and writes each finished stage to the log ``skyfill``.

    Parameters
    ----------
    listener
        The other listener.
    """

    def __init__(self, listener: Progress) -> None:
        self._listener = listener
        self._stage: str | None = None
        self._begun = 0.0

    def stage(self, name: str, total: int | None = None) -> None:
        """Begin a stage."""
        self._stage, self._begun = name, time.perf_counter()
        self._listener.stage(name, total)

    def advance(self, n: int = 1) -> None:
        """Count steps."""
        self._listener.advance(n)

    def note(self, text: str) -> None:
        """Pass a note on."""
        self._listener.note(text)

    def done(self, note: str = "") -> None:
        """End the stage."""
        if self._stage is not None:
            seconds = time.perf_counter() - self._begun
            _LOG.info("%s%s%s (%.1f s)", self._stage, ": " if note else "", note, seconds)
            self._stage = None
        self._listener.done(note)


def listening(progress: Progress | None) -> Progress:
    """Return a listener that also writes to the log; with None, one that only does that."""
    return progress if isinstance(progress, Logged) else Logged(progress or Silent())


def shown() -> AbstractContextManager[Progress]:
    """Choose a listener for the caller's screen: a notebook's cell, a terminal, or else none."""
    if _in_notebook():
        return Notebook()
    return Bar() if sys.stderr.isatty() else nullcontext(Silent())


def _in_notebook() -> bool:
    """Tell whether this runs in a cell of a notebook; a notebook has loaded IPython already."""
    loaded = sys.modules.get("IPython")
    shell = None if loaded is None else loaded.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


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
            sys.stderr.write(f"{self._line(note)}\n")
            sys.stderr.flush()
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


class Notebook(Lines):
    """One line in the output of a notebook's cell: the stage, and how far it is."""

    def __init__(self) -> None:
        super().__init__()
        self._handle: Any = None
        self._total: int | None = None
        self._count = 0
        self._shown = 0.0

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stage = None
        if kind is None:
            self._show("")

    def stage(self, name: str, total: int | None = None) -> None:
        """Begin a stage."""
        self._stage, self._begun = name, time.perf_counter()
        self._total, self._count = total, 0
        self._show(name)

    def advance(self, n: int = 1) -> None:
        """Count, and show the count a few times a second."""
        self._count += n
        if self._stage is not None and time.perf_counter() - self._shown > _PAUSE:
            of = f" of {self._total}" if self._total else ""
            self._show(f"{self._stage}: {self._count}{of}")

    def note(self, text: str) -> None:
        """Show a note, a few times a second."""
        if self._stage is not None and time.perf_counter() - self._shown > _PAUSE:
            self._show(f"{self._stage} {text}")

    def done(self, note: str = "") -> None:
        """Show the line of the finished stage."""
        if self._stage is not None:
            self._show(self._line(note))
            self._stage = None

    def _show(self, text: str) -> None:
        from IPython.display import HTML, display  # a notebook has it

        self._shown = time.perf_counter()
        cell = HTML(f"<small>{escape(text)}</small>" if text else "")
        if self._handle is None:
            self._handle = display(cell, display_id=True)
        else:
            self._handle.update(cell)
