"""Report the progress of a long computation to a listener."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "Silent"]


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
