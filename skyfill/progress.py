"""Say how far a long computation has come, without knowing who listens."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "Silent"]


class Progress(Protocol):
    """Listener of a long computation.

    A computation calls `stage` when it begins something, `advance` as it goes and `done` when that
    something is finished; stages follow each other and do not nest.
    """

    def stage(self, name: str, total: int | None = None) -> None:
        """Begin a stage of ``total`` steps (None: not known beforehand)."""

    def advance(self, n: int = 1) -> None:
        """Count ``n`` more steps of the current stage."""

    def note(self, text: str) -> None:
        """Say in a few words how the current stage stands."""

    def done(self, note: str = "") -> None:
        """End the current stage; ``note`` says in a few words what came of it."""


class Silent:
    """Progress that nobody listens to."""

    def stage(self, name: str, total: int | None = None) -> None:
        """Begin nothing."""

    def advance(self, n: int = 1) -> None:
        """Count nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def done(self, note: str = "") -> None:
        """End nothing."""
